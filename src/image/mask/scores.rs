//! How far a mask agrees with a reference.

use super::Mask;
use crate::error::{Error, Result};
use std::fmt;

/// Agreement of two masks, class by class.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// By class number.
    pub classes: Vec<ClassScore>,
}

/// Agreement of two masks in a class; `None` where neither has it.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassScore {
    /// Its name.
    pub name: String,
    /// Pixels that both give the class over pixels that either does: the Jaccard index.
    pub iou: Option<f64>,
    /// Twice the pixels that both give the class over the sum of each one's: the F1 score.
    pub dice: Option<f64>,
}

impl Mask {
    /// IoU and Dice of every class against a reference.
    ///
    /// # Errors
    /// When the reference has another size.
    pub fn scores(&self, reference: &Mask) -> Result<Scores> {
        if [self.width, self.height] != [reference.width, reference.height] {
            let expected = format!("{}x{} pixels, as the mask has", self.width, self.height);
            return Err(Error::shape(
                "the reference",
                expected,
                format!("{}x{}", reference.width, reference.height),
            ));
        }
        let (names, counts) = (self.names.iter().zip(self.counts()), reference.counts());
        let mut both = vec![0; self.colors.len()];
        for (&class, _) in self.classes.iter().zip(&reference.classes).filter(|(a, b)| a == b) {
            both[usize::from(class)] += 1;
        }
        let score = |(i, (name, own)): (usize, (&String, usize))| {
            let sum = own + counts.get(i).copied().unwrap_or(0);
            let ratio = |over: usize, under: usize| (under > 0).then(|| over as f64 / under as f64);
            ClassScore {
                name: name.clone(),
                iou: ratio(both[i], sum - both[i]),
                dice: ratio(2 * both[i], sum),
            }
        };
        Ok(Scores { classes: names.enumerate().map(score).collect() })
    }
}

impl Scores {
    /// The mean IoU of the classes that either mask has.
    pub fn mean_iou(&self) -> f64 {
        mean(self.classes.iter().filter_map(|class| class.iou))
    }

    /// The mean Dice of the classes that either mask has.
    pub fn mean_dice(&self) -> f64 {
        mean(self.classes.iter().filter_map(|class| class.dice))
    }
}

/// A table with a line a class and one of the means; `-` for classes that neither mask has.
impl fmt::Display for Scores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.classes.iter().map(|class| class.name.chars().count());
        let width = names.max().unwrap_or(0).max("class".len());
        let number = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.4}"));
        writeln!(f, "{:width$}  {:>6}  {:>6}", "class", "IoU", "Dice")?;
        for ClassScore { name, iou, dice } in &self.classes {
            writeln!(f, "{name:width$}  {:>6}  {:>6}", number(*iou), number(*dice))?;
        }
        write!(f, "{:width$}  {:>6.4}  {:>6.4}", "mean", self.mean_iou(), self.mean_dice())
    }
}

/// The mean; a mask has at least one pixel, so that there is always a value.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    sum / f64::from(count)
}
