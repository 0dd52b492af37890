//! The classes of masks and scores: their names and colours, and which of them stand for nothing.

use super::OutputRecipe;
use crate::error::{Error, Result};
use serde::{Deserialize, Deserializer, Serialize};

/// Names of the class of pixels that belong to nothing, in small letters.
const BACKGROUND: [&str; 8] = ["background", "back", "backdrop", "bg", "none", "nothing", "null", "outside"];
/// Names of classes that do not count in comparisons, in small letters.
const VOID: [&str; 6] = ["void", "unlabeled", "unlabelled", "not labeled", "ignore", "ignored"];
/// In place of a background: there is none.
const NO_BACKGROUND: &str = "none";

/// A class of a mask or of scores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Class {
    /// Name of the class.
    pub name: String,
    /// Colour of the class: red, green, blue. If absent, the palette decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub color: Option<[u8; 3]>,
}

/// A text, or a number as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Name {
    Text(String),
    Number(u16),
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        match name {
            Name::Text(text) => text,
            Name::Number(number) => number.to_string(),
        }
    }
}

/// A text, or a number as text.
pub(super) fn name<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<Name>::deserialize(from)?.map(String::from))
}

/// A list of texts, and numbers as texts.
pub(super) fn names<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(Vec::<Name>::deserialize(from)?.into_iter().map(String::from).collect())
}

/// What a recipe says about the classes that stand for nothing. The names of the classes say the rest.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Roles {
    background: Option<String>,
    void: Vec<String>,
    /// Whether class 0 is all that the network does not look for.
    tells_one_from_rest: bool,
}

/// Pixels of a reference that do not count.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Void {
    /// Class numbers, also beyond the classes.
    pub(crate) numbers: Vec<u16>,
    pub(crate) colors: Vec<[u8; 3]>,
}

impl OutputRecipe {
    /// The roles of the classes of a result of `channels` channels.
    pub(crate) fn roles(&self, channels: usize) -> Roles {
        let tells_one_from_rest = self.decode == Some(super::Decode::Labels)
            || !self.regions.is_empty()
            || channels == 1 && self.decode != Some(super::Decode::Classes);
        Roles { background: self.background.clone(), void: self.void.clone(), tells_one_from_rest }
    }

    /// Refuses roles of classes that do not exist.
    pub(super) fn check_roles(&self) -> Result<()> {
        let names: Vec<&str> = self.classes.iter().map(|class| class.name.as_str()).collect();
        // Names may come from a palette.
        if names.is_empty() {
            return Ok(());
        }
        let known = |name: &str| names.contains(&name) || name.parse::<u16>().is_ok();
        let refuse = |field: &str, more: &str, name: &str| {
            let expected = format!("one of its classes ({}), a class number{more}", names.join(", "));
            Err(Error::shape(format!("the recipe's output.{field}"), expected, name))
        };
        if let Some(name) = self.background.as_deref().filter(|name| !known(name) && *name != NO_BACKGROUND) {
            return refuse("background", " or \"none\"", name);
        }
        match self.void.iter().find(|name| !known(name) && hex_color(name).is_none()) {
            Some(name) => refuse("void", " or a colour (#rrggbb)", name),
            None => Ok(()),
        }
    }
}

impl Roles {
    /// The class of pixels that belong to nothing, and whether that is only assumed because the classes have no names.
    ///
    /// The recipe says it, or the name of a class. Class 0 is the background where the network tells one thing from the
    /// rest, and where no class has a name.
    pub(crate) fn background(&self, names: &[String], is_named: bool) -> (Option<u16>, bool) {
        if let Some(said) = &self.background {
            let place = |name: &String| names.iter().position(|known| known == name);
            let number = place(said).and_then(|number| u16::try_from(number).ok());
            return (number.or_else(|| said.parse().ok()), false);
        }
        if self.tells_one_from_rest {
            return (Some(0), false);
        }
        if !is_named {
            return (Some(0), true);
        }
        let called = |list: &[&str]| names.iter().position(|name| list.contains(&&*plain(name)));
        let found = called(&BACKGROUND).or_else(|| called(&VOID));
        (found.and_then(|number| u16::try_from(number).ok()), false)
    }

    /// What does not count in a reference: what the recipe says, and classes called void, unlabeled or ignore. The
    /// background of a network that tells one thing from the rest always counts.
    pub(crate) fn void(&self, names: &[String]) -> Void {
        let mut void = Void::default();
        for said in &self.void {
            let number = names.iter().position(|name| name == said).and_then(|i| u16::try_from(i).ok());
            void.numbers.extend(number.or_else(|| said.parse().ok()));
            void.colors.extend(hex_color(said));
        }
        if !self.tells_one_from_rest {
            let called = names.iter().enumerate().filter(|(_, name)| VOID.contains(&&*plain(name)));
            let called = called.filter_map(|(i, _)| u16::try_from(i).ok());
            let further: Vec<u16> = called.filter(|number| !void.numbers.contains(number)).collect();
            void.numbers.extend(further);
        }
        void
    }
}

/// A name in small letters, without the marks that some tools put around it: `_background_`, `__ignore__`.
fn plain(name: &str) -> String {
    name.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase()
}

/// Whether a class of this name stands for nothing.
#[cfg(feature = "image")]
pub(crate) fn is_nothing(name: &str) -> bool {
    let name = plain(name);
    BACKGROUND.contains(&&*name) || VOID.contains(&&*name)
}

/// A colour as `#rrggbb`.
pub(crate) fn hex_color(text: &str) -> Option<[u8; 3]> {
    let digits = text.strip_prefix('#')?;
    let is_color = digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u32::from_str_radix(digits, 16).ok().filter(|_| is_color)?;
    let [_, color @ ..] = number.to_be_bytes();
    Some(color)
}
