//! Compares a mask with a reference.

use super::Mask;
use crate::error::{Error, Result};
use std::fmt;

/// Agreement of two masks, or of the masks of several pictures, for each class.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Scores {
    /// By class number, without classes that do not count.
    pub classes: Vec<ClassScore>,
    /// Number of pixels.
    pub pixels: u64,
    /// Pixels of the reference that do not count.
    pub void: u64,
}

/// Agreement of two masks in one class; `None` if neither has it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ClassScore {
    /// Name of the class.
    pub name: String,
    /// Jaccard index: pixels in both masks divided by pixels in either.
    pub iou: Option<f64>,
    /// F1 score: twice the pixels in both masks divided by the sum of the pixels in each.
    pub dice: Option<f64>,
    /// Pixels in the mask, in the reference, and in both.
    counts: [u64; 3],
}

/// A reference mask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    pub(super) width: usize,
    pub(super) height: usize,
    /// `None` for pixels that do not count.
    pub(super) classes: Vec<Option<u16>>,
}

impl Reference {
    /// The class of each pixel, row by row; `None` for pixels that do not count.
    pub fn classes(&self) -> &[Option<u16>] {
        &self.classes
    }
}

impl From<&Mask> for Reference {
    fn from(mask: &Mask) -> Reference {
        let void = mask.void().numbers;
        let classes =
            mask.classes.iter().map(|class| Some(*class).filter(|class| !void.contains(class))).collect();
        Reference { width: mask.width, height: mask.height, classes }
    }
}

impl Mask {
    /// IoU and Dice of each class against a reference. Classes that are void have none; where the mask is void and the
    /// reference is not, the class of the reference is missed.
    ///
    /// # Errors
    /// When the reference has another size.
    pub fn scores(&self, reference: &Reference) -> Result<Scores> {
        if [self.width, self.height] != [reference.width, reference.height] {
            let expected = format!("{}x{} pixels, the size of the mask", self.width, self.height);
            return Err(Error::shape(
                "the reference",
                expected,
                format!("{}x{}", reference.width, reference.height),
            ));
        }
        // For each class: pixels in the mask, in the reference, in both.
        let mut counts = vec![[0; 3]; self.names.len()];
        let mut scores = Scores { pixels: self.classes.len() as u64, ..Scores::default() };
        for (&own, class) in self.classes.iter().zip(&reference.classes) {
            let Some(class) = *class else {
                scores.void += 1;
                continue;
            };
            counts[usize::from(own)][0] += 1;
            if let Some(theirs) = counts.get_mut(usize::from(class)) {
                theirs[1] += 1;
                theirs[2] += u64::from(own == class);
            }
        }
        let void = self.void().numbers;
        let is_void = |class: usize| void.iter().any(|&void| usize::from(void) == class);
        let all = self.names.iter().zip(counts).enumerate().filter(|(class, _)| !is_void(*class));
        scores.classes = all.map(|(_, (name, counts))| ClassScore::new(name.clone(), counts)).collect();
        Ok(scores)
    }
}

impl ClassScore {
    fn new(name: String, counts @ [own, theirs, both]: [u64; 3]) -> ClassScore {
        let ratio = |over: u64, under: u64| (under > 0).then(|| over as f64 / under as f64);
        ClassScore {
            name,
            iou: ratio(both, own + theirs - both),
            dice: ratio(2 * both, own + theirs),
            counts,
        }
    }
}

impl Scores {
    /// Adds the pixels of another picture. Classes are matched by their names.
    pub fn add(&mut self, other: &Scores) {
        self.pixels += other.pixels;
        self.void += other.void;
        for class in &other.classes {
            match self.classes.iter_mut().find(|known| known.name == class.name) {
                Some(known) => {
                    let sum = std::array::from_fn(|i| known.counts[i] + class.counts[i]);
                    *known = ClassScore::new(std::mem::take(&mut known.name), sum);
                }
                None => self.classes.push(class.clone()),
            }
        }
    }

    /// The mean IoU of the classes in either mask.
    pub fn mean_iou(&self) -> f64 {
        mean(self.classes.iter().filter_map(|class| class.iou))
    }

    /// The mean Dice of the classes in either mask.
    pub fn mean_dice(&self) -> f64 {
        mean(self.classes.iter().filter_map(|class| class.dice))
    }
}

/// A table with one line for each class and one for the means; `-` for classes in neither mask. Below it, the share of
/// pixels that do not count.
impl fmt::Display for Scores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.classes.iter().map(|class| class.name.chars().count());
        let width = names.max().unwrap_or(0).max("class".len());
        let number = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.4}"));
        writeln!(f, "{:width$}  {:>6}  {:>6}", "class", "IoU", "Dice")?;
        for ClassScore { name, iou, dice, .. } in &self.classes {
            writeln!(f, "{name:width$}  {:>6}  {:>6}", number(*iou), number(*dice))?;
        }
        write!(f, "{:width$}  {:>6.4}  {:>6.4}", "mean", self.mean_iou(), self.mean_dice())?;
        match self.void {
            0 => Ok(()),
            void => {
                let share = 100.0 * void as f64 / self.pixels as f64;
                write!(f, "\n{share:.1} % of the reference is void and does not count")
            }
        }
    }
}

/// The mean; NaN if there are no values.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    sum / f64::from(count)
}
