//! Measures the memory that decoding a file would take, before decoding it. In protobuf, two bytes can stand for a
//! message of hundreds.
//!
//! Only keys and lengths are read. Malformed data counts as nothing here; the decoder refuses it.

use super::proto;
use crate::error::{Error, Result};
use prost::encoding::{WireType, decode_key, decode_varint};
use std::mem::size_of;

/// Bytes for messages, names and small numbers, in addition to twice the size of the file.
const MOST: usize = 32 << 20;

/// The nesting limit of the decoder.
const DEPTH: usize = 100;

/// The content of a field.
#[derive(Clone, Copy)]
enum Part {
    /// A message, with its size as an element of its list.
    Message(Kind, usize),
    /// Text, or bytes that are copied.
    Text,
    /// Varints in the file, with their size in memory.
    Varints(usize),
    /// Numbers of fixed size.
    Numbers,
    /// Skipped, or a reference into the file.
    Nothing,
}

#[derive(Clone, Copy)]
enum Kind {
    Model,
    Function,
    Graph,
    Node,
    Attribute,
    Tensor,
    Entry,
    ValueInfo,
    Type,
    TensorType,
    Shape,
    Dimension,
}

/// The fields of [`proto`] that take memory.
fn part(kind: Kind, tag: u32) -> Part {
    use Part::{Message, Nothing, Numbers, Text, Varints};
    match (kind, tag) {
        (Kind::Model, 7) => Message(Kind::Graph, 0),
        (Kind::Model, 8) => Message(Kind::Entry, size_of::<proto::OperatorSet>()),
        (Kind::Model, 25) => Message(Kind::Function, size_of::<proto::Function>()),
        (Kind::Function, 7) => Message(Kind::Node, size_of::<proto::Node>()),
        (Kind::Function, 9) => Message(Kind::Entry, size_of::<proto::OperatorSet>()),
        (Kind::Function, 11) => Message(Kind::Attribute, size_of::<proto::Attribute>()),
        (Kind::Model, 14) | (Kind::Tensor, 13) => Message(Kind::Entry, size_of::<proto::Entry>()),
        (Kind::Graph, 1) => Message(Kind::Node, size_of::<proto::Node>()),
        (Kind::Graph, 5) => Message(Kind::Tensor, size_of::<proto::Tensor>()),
        (Kind::Graph, 11 | 12) => Message(Kind::ValueInfo, size_of::<proto::ValueInfo>()),
        (Kind::Node, 5) => Message(Kind::Attribute, size_of::<proto::Attribute>()),
        (Kind::Attribute, 5) => Message(Kind::Tensor, 0),
        (Kind::Attribute, 6) => Message(Kind::Graph, size_of::<proto::Graph>()),
        (Kind::ValueInfo, 2) => Message(Kind::Type, 0),
        (Kind::Type, 1) => Message(Kind::TensorType, 0),
        (Kind::TensorType, 2) => Message(Kind::Shape, 0),
        (Kind::Shape, 1) => Message(Kind::Dimension, size_of::<proto::Dimension>()),
        (Kind::Node, 1..=4 | 7 | 8) | (Kind::Attribute, 1 | 4 | 21) | (Kind::Tensor, 8) => Text,
        (Kind::Function, 1 | 4 | 5 | 10 | 13) => Text,
        (Kind::Entry, 1 | 2) | (Kind::ValueInfo, 1) | (Kind::Dimension, 2) => Text,
        (Kind::Tensor, 5) => Varints(4),
        (Kind::Tensor, 1 | 7) | (Kind::Attribute, 8) => Varints(8),
        (Kind::Tensor, 4 | 10) | (Kind::Attribute, 7) => Numbers,
        _ => Nothing,
    }
}

/// Errors if decoding the file would take far more memory than the file.
pub(super) fn check(file: &[u8]) -> Result<()> {
    let limit = file.len().saturating_mul(2).saturating_add(MOST);
    let mut scale = Scale { left: limit };
    scale.weigh(file, Kind::Model, DEPTH).ok_or_else(|| {
        let got = format!("more than {limit} bytes of nodes, names and small numbers in {}", file.len());
        Error::Model(format!("not a readable ONNX file: {got}"))
    })
}

struct Scale {
    /// Bytes that remain.
    left: usize,
}

impl Scale {
    /// `None` if the limit is exceeded.
    fn weigh(&mut self, mut rest: &[u8], kind: Kind, depth: usize) -> Option<()> {
        while let Ok((tag, wire)) = decode_key(&mut rest) {
            let part = part(kind, tag);
            let len = match wire {
                WireType::Varint => decode_varint(&mut rest).map(|_| 0).ok(),
                WireType::ThirtyTwoBit => Some(4),
                WireType::SixtyFourBit => Some(8),
                WireType::LengthDelimited => decode_varint(&mut rest).ok(),
                WireType::StartGroup | WireType::EndGroup => None,
            };
            let content = len.and_then(|len| rest.split_at_checked(usize::try_from(len).ok()?));
            let Some((content, after)) = content else { return Some(()) };
            rest = after;
            // A growing list may reserve twice its size.
            self.take(match part {
                Part::Nothing => 0,
                Part::Text => 2 * size_of::<String>() + content.len(),
                Part::Numbers => 2 * content.len(),
                Part::Varints(size) if wire == WireType::LengthDelimited => {
                    // A varint ends with the first byte whose highest bit is 0.
                    2 * size * content.iter().filter(|&&byte| byte < 128).count()
                }
                Part::Varints(size) => 2 * size,
                Part::Message(_, size) => 2 * size,
            })?;
            if let (Part::Message(inner, _), true) = (part, depth > 0) {
                self.weigh(content, inner, depth - 1)?;
            }
        }
        Some(())
    }

    fn take(&mut self, bytes: usize) -> Option<()> {
        self.left = self.left.checked_sub(bytes)?;
        Some(())
    }
}
