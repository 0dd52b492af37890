//! The size of a network's input as a recipe gives it.

use serde::{Deserialize, Serialize};

/// The size of a network's input: `[height, width]`, or `"native"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub enum Size {
    /// That of each picture, whatever size the network's file was made for.
    Native,
    /// Height and width, pixels.
    Fixed([usize; 2]),
}

impl Size {
    /// Height and width, if they are fixed.
    pub fn fixed(self) -> Option<[usize; 2]> {
        match self {
            Size::Native => None,
            Size::Fixed(size) => Some(size),
        }
    }
}

/// As it is written.
#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected [height, width], a list of length 2, or \"native\"")]
enum Written {
    Fixed([usize; 2]),
    Word(Word),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Native,
}

impl From<Written> for Size {
    fn from(written: Written) -> Size {
        match written {
            Written::Fixed(size) => Size::Fixed(size),
            Written::Word(Word::Native) => Size::Native,
        }
    }
}

impl From<Size> for Written {
    fn from(size: Size) -> Written {
        match size {
            Size::Native => Written::Word(Word::Native),
            Size::Fixed(size) => Written::Fixed(size),
        }
    }
}
