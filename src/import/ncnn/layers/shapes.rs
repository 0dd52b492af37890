//! Layers that move, cut, pad and resample.

use super::{Attribute, END, Network, UNSET, axis};
use crate::error::Result;
use crate::import::ncnn::param::Layer;

use Attribute::{Float, Int, Ints, Text};

impl<'a> Network<'a> {
    /// Parts of an axis: of given lengths, or as many equal ones as there are outputs.
    pub(super) fn slice(&mut self, layer: &Layer<'a>) -> Result<Vec<String>> {
        let (x, at, lengths) = (self.input(layer, 0)?, axis(layer, layer.int(1, 0))?, layer.array(0));
        let count = layer.outputs.len();
        if !layer.array(2).is_empty() || lengths.len() != count || count == 0 {
            return Err(layer.error("expected a length for each output"));
        }
        if lengths.iter().all(|&length| length as i64 == UNSET) {
            let names: Vec<String> = (0..count).map(|_| self.name(layer)).collect();
            let outputs: Vec<&str> = names.iter().map(String::as_str).collect();
            self.emit.node("Split", &[&x], &outputs, &[("axis", Int(at))]);
            return Ok(names);
        }
        let mut start = 0i64;
        let mut parts = Vec::new();
        for (i, &length) in lengths.iter().enumerate() {
            let end = match length as i64 {
                UNSET if i + 1 == count => END,
                length if length > 0 => start.saturating_add(length),
                _ => return Err(layer.error("only the last length may be open")),
            };
            parts.push(self.cut(layer, &x, &[start], &[end], &[at])?);
            start = end;
        }
        Ok(parts)
    }

    fn cut(
        &mut self,
        layer: &Layer<'a>,
        x: &str,
        starts: &[i64],
        ends: &[i64],
        axes: &[i64],
    ) -> Result<String> {
        let (starts, ends, axes) =
            (self.ints(layer, starts)?, self.ints(layer, ends)?, self.ints(layer, axes)?);
        Ok(self.node(layer, "Slice", &[x, &starts, &ends, &axes], &[]))
    }

    /// One extent of a value.
    fn extent(&mut self, layer: &Layer<'a>, x: &str, axis: i64) -> Result<String> {
        let shape = self.node(layer, "Shape", &[x], &[]);
        let at = self.ints(layer, &[axis])?;
        Ok(self.node(layer, "Gather", &[&shape, &at], &[("axis", Int(0))]))
    }

    /// A part of the map: between given corners, of a given size, or as large as another map.
    pub(super) fn crop(&mut self, layer: &Layer<'a>) -> Result<String> {
        let x = self.input(layer, 0)?;
        let number = |value: &f64| if *value as i64 == UNSET { END } else { *value as i64 };
        let (starts, ends) = (layer.array(9), layer.array(10));
        if !starts.is_empty() || !ends.is_empty() {
            let axes: Vec<i64> = match layer.array(11) {
                [] => (0..starts.len() as i64).collect(),
                given => given.iter().map(|&axis| axis as i64).collect(),
            };
            if starts.len() != ends.len() || starts.len() != axes.len() || starts.len() > 3 {
                return Err(layer.error("expected a start and an end for each axis"));
            }
            let axes: Vec<i64> = axes.into_iter().map(|at| axis(layer, at)).collect::<Result<_>>()?;
            let starts: Vec<i64> =
                starts.iter().map(|s| if *s as i64 == UNSET { 0 } else { *s as i64 }).collect();
            let ends: Vec<i64> = ends.iter().map(number).collect();
            return self.cut(layer, &x, &starts, &ends, &axes);
        }
        let offsets = [layer.int(2, 0), layer.int(1, 0), layer.int(0, 0)];
        if offsets.iter().any(|offset| *offset < 0) {
            return Err(layer.error("cutting out the middle is not supported"));
        }
        if layer.inputs.len() > 1 {
            let like = self.input(layer, 1)?;
            let mut ends = Vec::new();
            for (at, &offset) in (2..4).zip(&offsets[1..]) {
                let (extent, offset) = (self.extent(layer, &like, at)?, self.ints(layer, &[offset])?);
                ends.push(self.node(layer, "Add", &[&extent, &offset], &[]));
            }
            let ends = self.node(layer, "Concat", &[&ends[0], &ends[1]], &[("axis", Int(0))]);
            let (starts, axes) = (self.ints(layer, &offsets[1..])?, self.ints(layer, &[2, 3])?);
            return Ok(self.node(layer, "Slice", &[&x, &starts, &ends, &axes], &[]));
        }
        let end = |offset: i64, size: i64, behind: i64| match (size, behind) {
            (size, _) if size > 0 => offset.saturating_add(size),
            (_, behind) if behind > 0 => -behind,
            _ => END,
        };
        let ends = [
            end(offsets[0], layer.int(5, 0), layer.int(8, 0)),
            end(offsets[1], layer.int(4, 0), layer.int(7, 0)),
            end(offsets[2], layer.int(3, 0), layer.int(6, 0)),
        ];
        self.cut(layer, &x, &offsets, &ends, &[1, 2, 3])
    }

    pub(super) fn padding(&mut self, layer: &Layer<'a>) -> Result<String> {
        if layer.int(6, 0) != 0 || layer.int(7, 0) != 0 || layer.int(8, 0) != 0 {
            return Err(layer.error("padding of channels, or by a number for each channel, is not supported"));
        }
        let mode = match layer.int(4, 0) {
            0 => "constant",
            1 => "edge",
            2 => "reflect",
            other => return Err(layer.error(format!("padding of kind {other} is not supported"))),
        };
        let pads = [layer.int(0, 0), layer.int(2, 0), layer.int(1, 0), layer.int(3, 0)];
        if pads.iter().any(|pad| !(0..=1 << 16).contains(pad)) {
            return Err(layer.error(format!("a padding of {pads:?}")));
        }
        let x = self.input(layer, 0)?;
        self.padded(layer, &x, pads, mode, layer.float(5, 0.0))
    }

    /// A map with more rows above, columns left, rows below and columns right.
    pub(super) fn padded(
        &mut self,
        layer: &Layer<'a>,
        x: &str,
        [top, left, bottom, right]: [i64; 4],
        mode: &str,
        value: f64,
    ) -> Result<String> {
        let pads = self.ints(layer, &[0, 0, top, left, 0, 0, bottom, right])?;
        let name = self.name(layer);
        let value = self.emit.scalar(name, value as f32)?;
        Ok(self.node(layer, "Pad", &[x, &pads, &value], &[("mode", Text(mode))]))
    }

    /// Resampling by factors, to a size, or to the size of another map.
    pub(super) fn interp(&mut self, layer: &Layer<'a>) -> Result<String> {
        let x = self.input(layer, 0)?;
        let aligned = if layer.flag(6) { "align_corners" } else { "half_pixel" };
        let mut attributes = match layer.int(0, 0) {
            1 => vec![
                ("mode", Text("nearest")),
                ("coordinate_transformation_mode", Text("asymmetric")),
                ("nearest_mode", Text("floor")),
            ],
            2 => vec![("mode", Text("linear")), ("coordinate_transformation_mode", Text(aligned))],
            3 => vec![("mode", Text("cubic")), ("coordinate_transformation_mode", Text(aligned))],
            other => return Err(layer.error(format!("resampling of kind {other} is not supported"))),
        };
        if layer.int(0, 0) == 3 {
            attributes.push(("cubic_coeff_a", Float(-0.75)));
        }
        let size = [layer.int(3, 0), layer.int(4, 0)];
        if layer.inputs.len() > 1 || size.iter().all(|side| *side > 0) {
            let front = self.node(layer, "Shape", &[&x], &[]);
            let front = self.cut(layer, &front, &[0], &[2], &[0])?;
            let back = match layer.inputs.len() {
                0 | 1 => self.ints(layer, &size)?,
                _ => {
                    let like = self.input(layer, 1)?;
                    let shape = self.node(layer, "Shape", &[&like], &[]);
                    self.cut(layer, &shape, &[2], &[4], &[0])?
                }
            };
            let sizes = self.node(layer, "Concat", &[&front, &back], &[("axis", Int(0))]);
            return Ok(self.node(layer, "Resize", &[&x, "", "", &sizes], &attributes));
        }
        let scales = [layer.float(1, 1.0), layer.float(2, 1.0)].map(|scale| scale as f32);
        let scales = self.floats(layer, &[4], vec![1.0, 1.0, scales[0], scales[1]])?;
        Ok(self.node(layer, "Resize", &[&x, "", &scales], &attributes))
    }

    /// Squares of pixels to channels; the channels of a square are adjacent, or those of a place in it.
    pub(super) fn reorg(&mut self, layer: &Layer<'a>) -> Result<String> {
        let (x, size) = (self.input(layer, 0)?, layer.int(0, 1));
        let y = self.node(layer, "SpaceToDepth", &[&x], &[("blocksize", Int(size))]);
        if layer.flag(1) {
            return Ok(y);
        }
        let (channels, rows, columns) =
            (self.extent(layer, &x, 1)?, self.extent(layer, &y, 2)?, self.extent(layer, &y, 3)?);
        let (one, squares) = (self.ints(layer, &[1])?, self.ints(layer, &[size.saturating_mul(size)])?);
        let parts = [&one[..], &squares, &channels, &rows, &columns];
        let shape = self.node(layer, "Concat", &parts, &[("axis", Int(0))]);
        let whole = self.node(layer, "Shape", &[&y], &[]);
        let y = self.node(layer, "Reshape", &[&y, &shape], &[]);
        let y = self.node(layer, "Transpose", &[&y], &[("perm", Ints(&[0, 2, 1, 3, 4]))]);
        Ok(self.node(layer, "Reshape", &[&y, &whole], &[]))
    }

    /// Channels in another order: the first of each group, then the second of each.
    pub(super) fn shuffle_channels(&mut self, layer: &Layer<'a>) -> Result<String> {
        let (x, groups) = (self.input(layer, 0)?, layer.int(0, 1));
        let (rows, columns) = (self.extent(layer, &x, 2)?, self.extent(layer, &x, 3)?);
        let split = if layer.flag(1) { [1, -1, groups] } else { [1, groups, -1] };
        let split = self.ints(layer, &split)?;
        let shape = self.node(layer, "Concat", &[&split, &rows, &columns], &[("axis", Int(0))]);
        let whole = self.node(layer, "Shape", &[&x], &[]);
        let y = self.node(layer, "Reshape", &[&x, &shape], &[]);
        let y = self.node(layer, "Transpose", &[&y], &[("perm", Ints(&[0, 2, 1, 3, 4]))]);
        Ok(self.node(layer, "Reshape", &[&y, &whole], &[]))
    }

    pub(super) fn reshape(&mut self, layer: &Layer<'a>) -> Result<String> {
        let [w, h, c] = [layer.int(0, UNSET), layer.int(1, UNSET), layer.int(2, UNSET)];
        if layer.get(11).is_some() || [w, h, c].iter().any(|side| *side < -1 && *side != UNSET) {
            return Err(layer.error("this shape is not supported"));
        }
        let x = self.input(layer, 0)?;
        match [c, h, w] {
            [UNSET, UNSET, w] if w != UNSET => self.one_axis(layer),
            [c, h, w] if ![c, h, w].contains(&UNSET) => {
                let shape = self.ints(layer, &[1, c, h, w])?;
                Ok(self.node(layer, "Reshape", &[&x, &shape], &[]))
            }
            _ => Err(layer.error("expected a shape of one or three axes")),
        }
    }

    /// All elements as channels of one pixel.
    pub(super) fn one_axis(&mut self, layer: &Layer<'a>) -> Result<String> {
        let x = self.input(layer, 0)?;
        let shape = self.ints(layer, &[1, -1, 1, 1])?;
        Ok(self.node(layer, "Reshape", &[&x, &shape], &[]))
    }

    /// The orders are columns, rows, channels, each as one of the input's.
    pub(super) fn permute(&mut self, layer: &Layer<'a>) -> Result<String> {
        let x = self.input(layer, 0)?;
        let order = match layer.int(0, 0) {
            0 => return Ok(x),
            1 => [0, 1, 3, 2],
            2 => [0, 2, 1, 3],
            3 => [0, 2, 3, 1],
            4 => [0, 3, 1, 2],
            5 => [0, 3, 2, 1],
            other => return Err(layer.error(format!("order {other} is not supported"))),
        };
        Ok(self.node(layer, "Transpose", &[&x], &[("perm", Ints(&order))]))
    }

    pub(super) fn reduction(&mut self, layer: &Layer<'a>) -> Result<String> {
        let op = match layer.int(0, 0) {
            0 => "ReduceSum",
            3 => "ReduceMean",
            4 => "ReduceMax",
            5 => "ReduceMin",
            other => return Err(layer.error(format!("operation {other} is not supported"))),
        };
        let axes: Vec<i64> = match (layer.int(1, 1), layer.array(3)) {
            (0, given) => given.iter().map(|&at| axis(layer, at as i64)).collect::<Result<_>>()?,
            _ => vec![1, 2, 3],
        };
        if layer.int(4, 0) == 0 && axes != [2, 3] {
            return Err(layer.error("dropping axes is not supported"));
        }
        let x = self.input(layer, 0)?;
        let y = match op {
            "ReduceSum" => {
                let axes = self.ints(layer, &axes)?;
                self.node(layer, op, &[&x, &axes], &[("keepdims", Int(1))])
            }
            _ => self.node(layer, op, &[&x], &[("axes", Ints(&axes)), ("keepdims", Int(1))]),
        };
        let factor = layer.float(2, 1.0);
        if factor == 1.0 {
            return Ok(y);
        }
        let factor = self.number(layer, factor)?;
        Ok(self.node(layer, "Mul", &[&y, &factor], &[]))
    }
}
