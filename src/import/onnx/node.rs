//! The attributes of a node, with defaults and checks.

use super::proto;
use crate::error::{Error, Result};

/// A node, and the opset that defines its meaning.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) node: &'a proto::Node,
    pub(super) opset: i64,
    /// Whether it works on lines, so that it has numbers for columns but none for rows.
    pub(super) is_line: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn op(&self) -> &'a str {
        &self.node.op_type
    }

    /// The node's name, or the name of its output.
    pub(super) fn name(&self) -> &'a str {
        if self.node.name.is_empty() {
            self.node.output.first().map_or("", String::as_str)
        } else {
            &self.node.name
        }
    }

    /// The node's name and operator, for errors.
    pub(super) fn place(&self) -> String {
        format!("{} ({})", self.name(), self.op())
    }

    pub(super) fn unsupported(&self, why: &str) -> Error {
        let domain =
            if self.node.domain.is_empty() { String::new() } else { format!("{}.", self.node.domain) };
        Error::Model(format!(
            "operator {domain}{} of opset {} is not supported: {why}",
            self.op(),
            self.opset
        ))
    }

    fn find(&self, name: &str) -> Option<&'a proto::Attribute> {
        self.node.attribute.iter().find(|a| a.name == name)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    pub(super) fn int(&self, name: &str, default: i64) -> i64 {
        self.find(name).map_or(default, |a| a.i)
    }

    pub(super) fn float(&self, name: &str, default: f32) -> f32 {
        self.find(name).map_or(default, |a| a.f)
    }

    pub(super) fn text(&self, name: &str, default: &str) -> String {
        self.find(name).map_or(default.into(), |a| String::from_utf8_lossy(&a.s).into_owned())
    }

    pub(super) fn ints(&self, name: &str) -> Option<Vec<i64>> {
        self.find(name).map(|a| a.ints.clone())
    }

    pub(super) fn floats(&self, name: &str) -> Option<Vec<f32>> {
        self.find(name).map(|a| a.floats.clone())
    }

    pub(super) fn tensor(&self, name: &str) -> Option<&'a proto::Tensor> {
        self.find(name)?.t.as_ref()
    }

    pub(super) fn graph(&self, name: &str) -> Option<&'a proto::Graph> {
        self.find(name)?.g.as_deref()
    }

    /// Errors if an attribute has a value other than the supported one.
    pub(super) fn only(&self, name: &str, value: i64) -> Result<()> {
        match self.int(name, value) {
            v if v == value => Ok(()),
            other => Err(Error::shape(format!("attribute {name}"), value, other)),
        }
    }

    pub(super) fn only_text(&self, name: &str, value: &str) -> Result<()> {
        match self.text(name, value) {
            v if v == value => Ok(()),
            other => Err(Error::shape(format!("attribute {name}"), value, other)),
        }
    }

    /// Integers that are not negative, as many as the default has.
    pub(super) fn sizes<const N: usize>(&self, name: &str, default: [usize; N]) -> Result<[usize; N]> {
        let Some(ints) = self.ints(name).filter(|ints| !ints.is_empty()) else { return Ok(default) };
        let wrong =
            Error::shape(format!("attribute {name}"), format!("{N} numbers (2-D networks)"), ints.len());
        let mut sizes = ints.into_iter().map(extent).collect::<Result<Vec<_>>>()?;
        if self.is_line && 2 * sizes.len() == N {
            sizes = sizes.iter().enumerate().flat_map(|(i, &size)| [default[2 * i], size]).collect();
        }
        sizes.try_into().map_err(|_| wrong)
    }

    /// Rows above, columns left, rows below, columns right, from `pads` or `auto_pad`, for an input of this height and
    /// width.
    pub(super) fn padding(
        &self,
        input: [usize; 2],
        kernel: [usize; 2],
        stride: [usize; 2],
        dilation: [usize; 2],
    ) -> Result<[usize; 4]> {
        let total = [0, 1].map(|axis| {
            let (stride, window) =
                (stride[axis].max(1), dilation[axis].saturating_mul(kernel[axis].saturating_sub(1)));
            let outputs = input[axis].div_ceil(stride).max(1);
            ((outputs - 1) * stride).saturating_add(window).saturating_add(1).saturating_sub(input[axis])
        });
        let split = |first: [usize; 2]| [first[0], first[1], total[0] - first[0], total[1] - first[1]];
        match self.text("auto_pad", "NOTSET").as_str() {
            "NOTSET" | "" => self.sizes("pads", [0; 4]),
            "VALID" => Ok([0; 4]),
            "SAME_UPPER" => Ok(split(total.map(|t| t / 2))),
            "SAME_LOWER" => Ok(split(total.map(|t| t.div_ceil(2)))),
            other => {
                Err(Error::shape("attribute auto_pad", "NOTSET, VALID, SAME_UPPER or SAME_LOWER", other))
            }
        }
    }
}

pub(super) fn extent(value: i64) -> Result<usize> {
    usize::try_from(value).map_err(|_| Error::shape("extent", "a number that is not negative", value))
}

/// A list of axes without duplicates.
pub(super) fn axes(list: impl IntoIterator<Item = i64>, rank: usize) -> Result<Vec<usize>> {
    let mut named = vec![false; rank];
    let once = |a: i64| match axis(a, rank)? {
        a if std::mem::replace(&mut named[a], true) => Err(Error::Model(format!("axis {a} is named twice"))),
        a => Ok(a),
    };
    list.into_iter().map(once).collect()
}

/// The index of an axis. Negative numbers count from the end.
pub(super) fn axis(axis: i64, rank: usize) -> Result<usize> {
    let from_front = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
    usize::try_from(from_front)
        .ok()
        .filter(|&a| a < rank)
        .ok_or_else(|| Error::shape("axis", format!("one of {rank}"), axis))
}
