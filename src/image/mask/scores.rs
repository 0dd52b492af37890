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

/// The right answer for a mask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    pub(super) width: usize,
    pub(super) height: usize,
    /// `None` for pixels that do not count.
    pub(super) classes: Vec<Option<u16>>,
}

impl Reference {
    /// A class for every pixel, row by row; `None` for pixels that do not count.
    pub fn classes(&self) -> &[Option<u16>] {
        &self.classes
    }
}

impl From<&Mask> for Reference {
    fn from(mask: &Mask) -> Reference {
        let classes = mask.classes.iter().map(|&class| Some(class)).collect();
        Reference { width: mask.width, height: mask.height, classes }
    }
}

impl Mask {
    /// IoU and Dice of every class against a reference.
    ///
    /// # Errors
    /// When the reference has another size.
    pub fn scores(&self, reference: &Reference) -> Result<Scores> {
        if [self.width, self.height] != [reference.width, reference.height] {
            let expected = format!("{}x{} pixels, as the mask has", self.width, self.height);
            return Err(Error::shape(
                "the reference",
                expected,
                format!("{}x{}", reference.width, reference.height),
            ));
        }
        // Of each class: pixels that the mask gives it, that the reference does, that both do.
        let mut counts = vec![[0; 3]; self.names.len()];
        for (&own, class) in self.classes.iter().zip(&reference.classes) {
            let Some(class) = *class else { continue };
            counts[usize::from(own)][0] += 1;
            if let Some(theirs) = counts.get_mut(usize::from(class)) {
                theirs[1] += 1;
                theirs[2] += usize::from(own == class);
            }
        }
        let score = |(name, [own, theirs, both]): (&String, [usize; 3])| {
            let ratio = |over: usize, under: usize| (under > 0).then(|| over as f64 / under as f64);
            ClassScore {
                name: name.clone(),
                iou: ratio(both, own + theirs - both),
                dice: ratio(2 * both, own + theirs),
            }
        };
        Ok(Scores { classes: self.names.iter().zip(counts).map(score).collect() })
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

/// The mean; not a number where no pixel counts.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    sum / f64::from(count)
}
