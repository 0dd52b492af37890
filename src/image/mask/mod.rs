//! Masks: a class number for each pixel, with names and colours.

mod colors;
mod components;
mod contours;
mod cutout;
mod file;
mod foreground;
mod paint;
mod palette;
mod scores;
mod statistics;

pub use components::{Component, Components};
pub(super) use cutout::NO_BACKGROUND;
pub use cutout::{cutout, opacity, probabilities};
pub use foreground::foreground;
pub use palette::Palette;
pub use scores::{ClassScore, Reference, Scores};
pub use statistics::{ClassStatistics, Statistics};

use crate::error::{Error, Result};
use crate::image::Georeference;
use crate::recipe::{Decode, OutputRecipe, Roles, Void};
use crate::tensor::{Shape, Tensor};
use std::sync::Arc;

/// Most classes: their numbers have 16 bits.
const MAX_CLASSES: usize = 1 << 16;

/// A class number for each pixel.
#[derive(Debug, Clone, PartialEq)]
pub struct Mask {
    width: usize,
    height: usize,
    /// Class numbers, each below the number of colours.
    classes: Vec<u16>,
    /// One colour for each class; names likewise.
    colors: Vec<[u8; 3]>,
    names: Vec<String>,
    roles: Roles,
    georeference: Option<Arc<Georeference>>,
}

impl Mask {
    /// Decides the class of each pixel from a network's result `(1, channels, height, width)`.
    ///
    /// With one channel, class 1 is above the threshold, class 0 elsewhere, or the values are class numbers, as the
    /// recipe says. With several, the class has the largest value, the first one if several are equal; or the channels
    /// paint the recipe's regions, later ones over earlier ones. Labels that may overlap are painted likewise, as the
    /// classes 1, 2 and so on.
    ///
    /// Names and colours come from the recipe. Without them, names are numbers and colours those of PASCAL VOC; classes
    /// with a name but no colour get colours that differ from each other.
    ///
    /// # Errors
    /// When the result has several pictures, more than 65,536 channels, or values that are no class numbers, and when
    /// the recipe has not one region for each channel.
    pub fn new(result: &Tensor, recipe: &OutputRecipe) -> Result<Mask> {
        let shape = result.shape();
        if shape.n != 1 || shape.c > MAX_CLASSES {
            let expected = format!("one picture of at most {MAX_CLASSES} classes (or write .npy)");
            return Err(Error::shape("mask", expected, shape));
        }
        let labels: Vec<u16> = match recipe.decode {
            Some(Decode::Labels) => (1..=u16::try_from(shape.c).unwrap_or(u16::MAX)).collect(),
            _ => recipe.regions.clone(),
        };
        let classes = match (recipe.decode, shape.c) {
            (Some(Decode::Classes), 1) => numbers(result)?,
            (Some(Decode::Classes), _) => {
                let expected = "one channel, or decode = \"mask\" for a channel of each class";
                return Err(Error::shape("class numbers", expected, format!("{} channels", shape.c)));
            }
            _ if !labels.is_empty() => painted(result, &labels, recipe.threshold)?,
            (_, 1) => result.data().iter().map(|&v| u16::from(v > recipe.threshold)).collect(),
            _ => largest(result),
        };
        let most = match labels.is_empty() {
            true => classes.iter().copied().max().unwrap_or(0),
            false => labels.iter().copied().max().unwrap_or(0),
        };
        let is_direct = labels.is_empty() && recipe.decode != Some(Decode::Classes);
        // The names of labels do not count the background.
        let is_labels = recipe.decode == Some(Decode::Labels);
        let named = recipe.classes.len() + usize::from(is_labels);
        // The recipe may have classes that the network never gives, such as void.
        let count = named.max(if is_direct { shape.c } else { usize::from(most) + 1 }).clamp(2, MAX_CLASSES);
        let named = |i: usize| match (is_labels, i) {
            (false, _) => recipe.classes.get(i),
            (true, 0) => None,
            (true, _) => recipe.classes.get(i - 1),
        };
        let names =
            (0..count).map(|i| named(i).map_or_else(|| number_as_name(i), |class| class.name.clone()));
        let names: Vec<String> = names.collect();
        let given = (0..count).map(|i| named(i).and_then(|class| class.color)).collect::<Vec<_>>();
        let roles = recipe.roles(shape.c);
        let mut mask = Mask {
            width: shape.w,
            height: shape.h,
            classes,
            colors: Vec::new(),
            names,
            roles,
            georeference: None,
        };
        mask.colors = colors::completed(&given, &mask.names, mask.background(), mask.is_named());
        Ok(mask)
    }

    /// A mask of each channel by itself: class 1 where its value is above the threshold.
    ///
    /// # Errors
    /// When the result has several pictures.
    pub(crate) fn of_labels(result: &Tensor, recipe: &OutputRecipe) -> Result<Vec<Mask>> {
        let shape = Shape { c: 1, ..result.shape() };
        // As where all labels are painted.
        let one = Tensor::zeros(Shape { h: 1, w: 1, ..result.shape() });
        let colors =
            Mask::new(&one, &OutputRecipe { decode: Some(Decode::Labels), ..recipe.clone() })?.colors;
        let channel = |c: usize| {
            let plane = Tensor::new(shape, result.plane(0, c).to_vec())?;
            let mut mask =
                Mask::new(&plane, &OutputRecipe { decode: None, regions: Vec::new(), ..recipe.clone() })?;
            let class = recipe.classes.get(c);
            mask.colors[1] = colors[c + 1];
            mask.names =
                vec![number_as_name(0), class.map_or_else(|| format!("label {}", c + 1), |c| c.name.clone())];
            Ok(mask)
        };
        (0..result.shape().c).map(channel).collect()
    }

    /// The same mask with the colours of a palette. Classes without a name get the palette's name.
    pub fn with_palette(mut self, palette: &Palette) -> Mask {
        for (i, (color, name)) in self.colors.iter_mut().zip(&mut self.names).enumerate() {
            *color = palette.color(i);
            if let Some(known) = palette.name(i).filter(|_| *name == number_as_name(i)) {
                *name = known.into();
            }
        }
        self
    }

    /// The same mask at a place on the earth. A class number never stands for pixels without data.
    pub fn with_georeference(mut self, georeference: Option<Arc<Georeference>>) -> Mask {
        let is_class = |value: f64| (0..self.colors.len()).any(|class| class as f64 == value);
        self.georeference = georeference.map(|tags| match tags.nodata().is_some_and(is_class) {
            true => Arc::new(Georeference { nodata: String::new(), ..(*tags).clone() }),
            false => tags,
        });
        self
    }

    /// Where it lies on the earth, if the picture says it.
    pub fn georeference(&self) -> Option<&Arc<Georeference>> {
        self.georeference.as_ref()
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Class numbers, row by row.
    pub fn classes(&self) -> &[u16] {
        &self.classes
    }

    /// Colours by class number.
    pub fn colors(&self) -> &[[u8; 3]] {
        &self.colors
    }

    /// Names by class number.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The class of pixels that belong to nothing, if there is one: the recipe says it, or the name of a class
    /// (background, void and the like). It is class 0 where the network tells one thing from the rest, and where no
    /// class has a name.
    pub fn background(&self) -> Option<u16> {
        let (class, _) = self.roles.background(&self.names, self.is_named());
        class.filter(|class| usize::from(*class) < self.names.len())
    }

    /// Whether class 0 is taken for the background only because no class has a name.
    pub fn assumes_background(&self) -> bool {
        self.roles.background(&self.names, self.is_named()).1
    }

    /// The numbers of classes by their names, or as they are.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with the names there are.
    pub(super) fn numbers_of(&self, names: &[String]) -> Result<Vec<u16>> {
        let number = |name: &String| {
            let named = self.names.iter().position(|known| known == name);
            let number =
                named.or_else(|| name.parse().ok().filter(|&number: &usize| number < self.names.len()));
            number.and_then(|number| u16::try_from(number).ok()).ok_or_else(|| Error::UnknownName {
                kind: "class",
                name: name.clone(),
                known: self.names.join(", "),
            })
        };
        names.iter().map(number).collect()
    }

    /// What does not count in a reference.
    fn void(&self) -> Void {
        self.roles.void(&self.names)
    }

    fn is_named(&self) -> bool {
        self.names.iter().enumerate().any(|(i, name)| *name != number_as_name(i))
    }

    /// Name of each class and its share of the pixels in percent.
    pub fn shares(&self) -> Vec<(&str, f64)> {
        let percent = |count: usize| 100.0 * count as f64 / self.classes.len() as f64;
        self.names.iter().zip(self.counts()).map(|(name, count)| (name.as_str(), percent(count))).collect()
    }

    /// Number of pixels of each class.
    fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.colors.len()];
        self.classes.iter().for_each(|&class| counts[usize::from(class)] += 1);
        counts
    }
}

/// The name of a class without a name.
fn number_as_name(class: usize) -> String {
    format!("class {class}")
}

/// Class numbers that the network gives.
fn numbers(result: &Tensor) -> Result<Vec<u16>> {
    let number = |&v: &f32| match v.round() {
        number if (0.0..MAX_CLASSES as f32).contains(&number) && (v - number).abs() < 1e-3 => {
            Ok(number as u16)
        }
        _ => Err(Error::shape("class numbers", format!("whole numbers below {MAX_CLASSES}"), v)),
    };
    result.data().iter().map(number).collect()
}

/// The class that the last channel above the threshold paints; 0 where none is.
fn painted(result: &Tensor, labels: &[u16], threshold: f32) -> Result<Vec<u16>> {
    if labels.len() != result.shape().c {
        let expected = format!("{} channels, one for each of the recipe's output.regions", labels.len());
        return Err(Error::shape("the result", expected, result.shape().c));
    }
    let mut classes = vec![0; result.shape().pixels()];
    for (c, &label) in labels.iter().enumerate() {
        let plane = classes.iter_mut().zip(result.plane(0, c));
        plane.filter(|(_, v)| **v > threshold).for_each(|(class, _)| *class = label);
    }
    Ok(classes)
}

/// The channel with the largest value, for each pixel.
fn largest(result: &Tensor) -> Vec<u16> {
    let mut best = result.plane(0, 0).to_vec();
    let mut classes = vec![0; best.len()];
    for c in 1..result.shape().c {
        for ((best, class), &v) in best.iter_mut().zip(&mut classes).zip(result.plane(0, c)) {
            if v > *best {
                (*best, *class) = (v, c as u16);
            }
        }
    }
    classes
}
