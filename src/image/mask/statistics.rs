//! Statistics of a mask, as tables and JSON.

use super::{Component, Mask};
use serde::Serialize;

/// Pixels and components of each class.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Statistics {
    /// Columns of the mask.
    pub width: usize,
    /// Rows of the mask.
    pub height: usize,
    /// By class number.
    pub classes: Vec<ClassStatistics>,
}

/// Pixels and components of one class.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ClassStatistics {
    /// Class number.
    pub class: usize,
    /// Its name.
    pub name: String,
    /// Number of pixels.
    pub pixels: usize,
    /// Share of all pixels, percent.
    pub percent: f64,
    /// Connected components, largest first; none for the background.
    pub components: Vec<Component>,
}

impl Mask {
    /// Pixels and components of labels that may overlap. Their masks have one label each; this one is where they are
    /// all painted, and its class 0 is where no label is.
    pub(crate) fn statistics_of(&self, labels: &[Mask]) -> Statistics {
        let mut all = self.statistics();
        for (class, label) in labels.iter().enumerate().map(|(i, label)| (i + 1, label)) {
            if let (Some(place), Some(own)) =
                (all.classes.get_mut(class), label.statistics().classes.into_iter().nth(1))
            {
                *place = ClassStatistics { class, ..own };
            }
        }
        all
    }

    /// Pixels and [components](Mask::components) of each class.
    pub fn statistics(&self) -> Statistics {
        let shares = self.shares().into_iter().zip(self.counts()).enumerate();
        let mut classes: Vec<ClassStatistics> = shares
            .map(|(class, ((name, percent), pixels))| {
                let name = name.to_string();
                ClassStatistics { class, name, pixels, percent, components: Vec::new() }
            })
            .collect();
        for component in self.components().list() {
            classes[usize::from(component.class)].components.push(*component);
        }
        for class in &mut classes {
            class.components.sort_by_key(|component| std::cmp::Reverse(component.area));
        }
        Statistics { width: self.width, height: self.height, classes }
    }
}

impl Statistics {
    /// A CSV table with one row for each component, after the columns of its class. A class without components has one
    /// row with empty columns.
    ///
    /// Percent has 4 decimals, centers have 2. Names are quoted if necessary (RFC 4180).
    pub fn to_csv(&self) -> String {
        let mut rows =
            String::from("class,name,pixels,percent,component,area,x,y,width,height,center_x,center_y\n");
        for class in &self.classes {
            let start =
                format!("{},{},{},{:.4}", class.class, quoted(&class.name), class.pixels, class.percent);
            if class.components.is_empty() {
                rows += &format!("{start},,,,,,,,\n");
            }
            for (i, component) in class.components.iter().enumerate() {
                let Component { area, x, y, width, height, center, .. } = component;
                rows += &format!("{start},{},{area},{x},{y},{width},{height},", i + 1);
                rows += &format!("{:.2},{:.2}\n", center[0], center[1]);
            }
        }
        rows
    }

    /// The same as JSON, with all digits.
    pub fn to_json(&self) -> String {
        let text = serde_json::to_string_pretty(self).expect("numbers and text are always JSON");
        text + "\n"
    }
}

/// A text as a field of a CSV file.
fn quoted(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_string(),
    }
}
