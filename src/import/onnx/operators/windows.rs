//! Convolutions, pools, padding and resizing.

use super::*;

impl<'a> Builder<'a> {
    /// Four extents, as the operators of pictures need them.
    pub(super) fn picture(&mut self, reader: &Reader<'a>, i: usize) -> Result<(ValueId, Shape)> {
        let live = self.live(reader, i)?;
        self.picture_of(&live).map_err(|e| e.at(&format!("operand {i}")))
    }

    fn picture_of(&mut self, live: &Live) -> Result<(ValueId, Shape)> {
        if live.view.rank() != 4 {
            return Err(Error::shape("operand", "4 axes (2-D networks)", format!("{:?}", live.dims())));
        }
        self.nchw(live)
    }

    pub(super) fn computed(
        &mut self,
        reader: &Reader<'a>,
        op: impl Into<Op>,
        input: ValueId,
    ) -> Result<Live> {
        let id = self.push(reader.name(), op, &[input])?;
        Ok(self.plain(id))
    }

    /// A value of the graph as it stands.
    pub(super) fn plain(&self, id: ValueId) -> Live {
        let Shape { n, c, h, w } = self.shape(id);
        Live::new(id, View::whole(&[n, c, h, w]))
    }

    pub(super) fn weight(&self, reader: &Reader<'a>) -> Result<Arc<Tensor>> {
        let array = self.constant(reader, 1)?;
        match array.dims[..] {
            [n, c, h, w] => finite(array.tensor(Shape::new(n, c, h, w))?),
            [n, c, w] => finite(array.tensor(Shape::new(n, c, 1, w))?),
            _ => Err(Error::shape("weight", "3 or 4 extents (2-D networks)", format!("{:?}", array.dims))),
        }
    }

    pub(super) fn bias(&self, reader: &Reader<'a>) -> Result<Option<Arc<[f32]>>> {
        Ok(self.optional_constant(reader, 2)?.map(|bias| bias.floats().iter().copied().collect()))
    }

    pub(super) fn conv(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let x = self.live(reader, 0)?;
        let (weight, bias) = (self.weight(reader)?, self.bias(reader)?);
        self.conv_of(reader, &x, weight, bias)
    }

    /// A convolution with the node's attributes.
    pub(super) fn conv_of(
        &mut self,
        reader: &Reader<'a>,
        x: &Live,
        weight: Arc<Tensor>,
        bias: Option<Arc<[f32]>>,
    ) -> Result<Live> {
        // A convolution over a line, as channel attention has it, is one over a single row.
        if let [n, c, w] = x.dims()[..] {
            let row = self.reshaped_live(x, &[n, c, 1, w])?;
            let result = self.conv_of(&Reader { is_line: true, ..*reader }, &row, weight, bias)?;
            let dims = result.dims();
            return self.reshaped_live(&result, &[dims[0], dims[1], dims[3]]);
        }
        let (x, s) = self.picture_of(x)?;
        let kernel = [weight.shape().h, weight.shape().w];
        let (stride, dilation) = (reader.sizes("strides", [1, 1])?, reader.sizes("dilations", [1, 1])?);
        let conv = Conv {
            stride,
            dilation,
            padding: reader.padding([s.h, s.w], kernel, stride, dilation)?,
            groups: extent(reader.int("group", 1))?,
            ..Conv::new(weight, bias)
        };
        self.computed(reader, conv, x)
    }

    pub(super) fn conv_transpose(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let (x, s) = self.picture(reader, 0)?;
        let weight = self.weight(reader)?;
        let (stride, dilation) = (reader.sizes("strides", [1, 1])?, reader.sizes("dilations", [1, 1])?);
        let kernel = [weight.shape().h, weight.shape().w];
        let reach = [0, 1].map(|a| kernel[a].saturating_sub(1).saturating_mul(dilation[a]).saturating_add(1));
        let mut output_padding = reader.sizes("output_padding", [0, 0])?;
        let (input, auto) = ([s.h, s.w], reader.text("auto_pad", "NOTSET"));
        let natural = [0, 1].map(|a| {
            (input[a] - 1)
                .saturating_mul(stride[a])
                .saturating_add(reach[a])
                .saturating_add(output_padding[a])
        });
        let wanted = match (reader.has("output_shape"), auto.as_str()) {
            (true, _) => {
                let list = reader.ints("output_shape").unwrap_or_default();
                let last = list.len().saturating_sub(2);
                let sizes = list[last..].iter().map(|&v| extent(v)).collect::<Result<Vec<_>>>()?;
                Some(
                    <[usize; 2]>::try_from(sizes)
                        .map_err(|_| Error::shape("output_shape", "2 numbers", "others"))?,
                )
            }
            (false, "SAME_UPPER" | "SAME_LOWER") => Some([0, 1].map(|a| input[a].saturating_mul(stride[a]))),
            _ => None,
        };
        let padding = match wanted {
            None => reader.padding(input, kernel, stride, dilation)?,
            Some(wanted) => {
                let mut total = [0; 2];
                for a in [0, 1] {
                    total[a] = natural[a].saturating_sub(wanted[a]);
                    // A result larger than the convolution makes has zeros behind.
                    output_padding[a] =
                        output_padding[a].saturating_add(wanted[a].saturating_sub(natural[a]));
                }
                let first = total.map(|t| if auto == "SAME_UPPER" { t / 2 } else { t.div_ceil(2) });
                [first[0], first[1], total[0] - first[0], total[1] - first[1]]
            }
        };
        let conv = ConvTranspose {
            stride,
            dilation,
            padding,
            output_padding,
            groups: extent(reader.int("group", 1))?,
            ..ConvTranspose::new(weight, self.bias(reader)?, 1)
        };
        self.computed(reader, conv, x)
    }

    pub(super) fn pool(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let x = self.live(reader, 0)?;
        self.pool_of(reader, &x)
    }

    /// A pool with the node's attributes.
    pub(super) fn pool_of(&mut self, reader: &Reader<'a>, x: &Live) -> Result<Live> {
        let (x, s) = self.picture_of(x)?;
        if reader.node.output.iter().skip(1).any(|o| !o.is_empty()) {
            return Err(reader.unsupported("it also gives indices"));
        }
        let kind = match (reader.op(), reader.int("count_include_pad", 0)) {
            ("MaxPool" | "NhwcMaxPool", _) => PoolKind::Max,
            (_, 0) => PoolKind::Average,
            _ => PoolKind::AverageWithPadding,
        };
        let kernel = reader.sizes("kernel_shape", [1, 1])?;
        let (stride, dilation) = (reader.sizes("strides", [1, 1])?, reader.sizes("dilations", [1, 1])?);
        let padding = reader.padding([s.h, s.w], kernel, stride, dilation)?;
        let ceil = reader.int("ceil_mode", 0) != 0;
        self.computed(reader, Pool { kind, kernel, stride, dilation, padding, ceil }, x)
    }

    pub(super) fn pad(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let mut live = self.live(reader, 0)?;
        let rank = live.view.rank();
        let amounts = match reader.opset {
            ..11 => reader.ints("pads").or_else(|| reader.ints("paddings")).unwrap_or_default(),
            _ => self.constant(reader, 1)?.ints(),
        };
        let axes = match self.optional_constant(reader, 3)? {
            Some(array) => axes(array.ints(), rank)?,
            None => (0..rank).collect(),
        };
        if amounts.len() != 2 * axes.len() {
            return Err(Error::shape("pads", format!("{} numbers", 2 * axes.len()), amounts.len()));
        }
        let mode = match reader.text("mode", "constant").as_str() {
            "constant" => PadMode::constant(match self.optional_constant(reader, 2)? {
                Some(array) => array.floats().first().copied().unwrap_or(0.0),
                None => reader.float("value", 0.0),
            }),
            "edge" => PadMode::Edge,
            "reflect" => PadMode::Reflect,
            "wrap" => PadMode::Wrap,
            other => return Err(Error::shape("attribute mode", "constant, edge, reflect or wrap", other)),
        };
        let (mut before, mut behind) = (vec![0; rank], vec![0; rank]);
        for (i, &axis) in axes.iter().enumerate() {
            let amount = |v: i64| isize::try_from(v).unwrap_or(isize::MAX);
            (before[axis], behind[axis]) = (amount(amounts[i]), amount(amounts[axes.len() + i]));
        }
        let touched: Vec<usize> = (0..rank).filter(|&a| (before[a], behind[a]) != (0, 0)).collect();
        // Two axes at a time become rows and columns.
        for pair in touched.rchunks(2) {
            let mut order: Vec<usize> = (0..rank).filter(|a| !pair.contains(a)).collect();
            order.extend(pair);
            let moved = Live::new(live.id, live.view.permuted(&order)?);
            let mut dims = moved.dims();
            let x = self.placed(&moved, any_shape(&dims)?)?;
            let [rows, columns] = match *pair {
                [rows, columns] => [[before[rows], behind[rows]], [before[columns], behind[columns]]],
                _ => [[0, 0], [before[pair[0]], behind[pair[0]]]],
            };
            let amount = PadAmount::Fixed([rows[0], columns[0], rows[1], columns[1]]);
            let id = self.push(reader.name(), Pad { amount, mode }, &[x])?;
            let Shape { h, w, .. } = self.shape(id);
            dims[rank - 1] = w;
            if let [_, _] = pair {
                dims[rank - 2] = h;
            }
            live = Live::new(id, View::whole(&dims).permuted(&inverse(&order))?);
        }
        Ok(live)
    }

    /// A value whose last four axes are `dims` with other rows and columns, with its axes put back from `order`.
    pub(super) fn reordered(&self, id: ValueId, dims: &[usize], order: &[usize]) -> Result<Live> {
        let Shape { n, c, h, w } = self.shape(id);
        let rank = dims.len();
        let all = [n, c, h, w];
        Ok(Live::new(id, View::whole(&all[4 - rank..]).permuted(&inverse(order))?))
    }

    /// Means over a given number of windows along rows and columns; 0 leaves an axis as it is.
    pub(super) fn adaptive_pool(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let (mut x, _) = self.picture(reader, 0)?;
        let sizes = reader.ints("output_size").unwrap_or_default();
        for (axis, &to) in [Axis::H, Axis::W].into_iter().zip(&sizes) {
            if to != 0 {
                x = self.push(reader.name(), AdaptivePool { axis, to: extent(to)? }, &[x])?;
            }
        }
        let Shape { n, c, h, w } = self.shape(x);
        Ok(Live::new(x, View::whole(&[n, c, h, w])))
    }

    pub(super) fn resize(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let live = self.live(reader, 0)?;
        let dims = live.dims();
        if dims.len() != 4 {
            return Err(Error::shape("operand 0", "4 axes (2-D networks)", format!("{dims:?}")));
        }
        let old = reader.opset < 11;
        let floats = |array: Option<Array>| array.map(|a| a.floats().into_owned()).filter(|v| !v.is_empty());
        let (mut scales, mut sizes) = match (reader.op(), reader.opset) {
            ("Upsample", ..9) => (reader.floats("scales"), None),
            ("Upsample", _) | ("Resize", ..11) => (floats(self.optional_constant(reader, 1)?), None),
            _ => {
                let sizes = self.optional_constant(reader, 3)?.map(|a| a.ints()).filter(|v| !v.is_empty());
                (floats(self.optional_constant(reader, 2)?), sizes)
            }
        };
        if let Some(axes) = reader.ints("axes") {
            // Axes that are not named stay as they are.
            let axes = super::super::node::axes(axes, 4)?;
            let named = |i: usize| axes.iter().position(|&a| a == i);
            scales = scales
                .map(|s| (0..4).map(|i| named(i).and_then(|at| s.get(at).copied()).unwrap_or(1.0)).collect());
            sizes = sizes.map(|s| {
                (0..4).map(|i| named(i).and_then(|at| s.get(at).copied()).unwrap_or(dims[i] as i64)).collect()
            });
        }
        if let Some(stated) = &sizes {
            let own = stated.iter().map(|&size| extent(size)).collect::<Result<Vec<_>>>()?;
            match self.exported {
                None => self.traced.note_resize(reader.name(), &own, &dims),
                Some(exported) => {
                    let read = exported.resize(reader.name(), &own, &dims);
                    sizes = read.map(|sizes| sizes.iter().map(|&size| size as i64).collect()).or(sizes);
                }
            }
        }
        let changed = |i: usize| match (&sizes, &scales) {
            (Some(sizes), _) => sizes.get(i).is_some_and(|&s| s != dims[i] as i64),
            (None, Some(scales)) => scales.get(i).is_some_and(|&s| s != 1.0),
            _ => false,
        };
        // Channels are the second axis, or in some exports the last.
        let rows = match [0, 1, 2, 3].map(changed) {
            [false, false, _, _] => 2,
            [false, true, _, false] => 1,
            _ => return Err(reader.unsupported("it changes more than height and width")),
        };
        let to = match (&sizes, &scales) {
            (Some(sizes), _) if sizes.len() == 4 => {
                ResizeTo::Size([extent(sizes[rows])?, extent(sizes[rows + 1])?])
            }
            (None, Some(scales)) if scales.len() == 4 => ResizeTo::Scale([scales[rows], scales[rows + 1]]),
            _ => return Err(Error::shape("resize", "four scales or four sizes", "others")),
        };
        reader.only("antialias", 0)?;
        let to = match (to, reader.text("keep_aspect_ratio_policy", "stretch").as_str()) {
            (to, "stretch") | (to @ (ResizeTo::Scale(_) | ResizeTo::Like), _) => to,
            (ResizeTo::Size(wanted), policy) => {
                kept_aspect(reader, policy, wanted, [dims[rows], dims[rows + 1]])?
            }
        };
        let default = if old { "asymmetric" } else { "half_pixel" };
        let coordinates = match reader.text("coordinate_transformation_mode", default).as_str() {
            "asymmetric" => Coordinates::Asymmetric,
            "half_pixel" => Coordinates::HalfPixel,
            "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
            "half_pixel_symmetric" => Coordinates::HalfPixelSymmetric,
            "tf_half_pixel_for_nn" => Coordinates::TfHalfPixel,
            "align_corners" => Coordinates::AlignCorners,
            other => {
                let expected = "asymmetric, half_pixel, half_pixel_symmetric, pytorch_half_pixel, \
                                tf_half_pixel_for_nn or align_corners";
                return Err(Error::shape("attribute coordinate_transformation_mode", expected, other));
            }
        };
        let nearest = reader.text("nearest_mode", if old { "floor" } else { "round_prefer_floor" });
        let interpolation = match (reader.text("mode", "nearest").as_str(), nearest.as_str()) {
            ("nearest", "floor") => Interpolation::Nearest(Rounding::Floor),
            ("nearest", "ceil") => Interpolation::Nearest(Rounding::Ceil),
            ("nearest", "round_prefer_floor") => Interpolation::Nearest(Rounding::PreferFloor),
            ("nearest", "round_prefer_ceil") => Interpolation::Nearest(Rounding::PreferCeil),
            ("linear" | "bilinear", _) => Interpolation::Linear,
            // Other modes give the same result with and without the pixels outside.
            ("cubic", _) if reader.int("exclude_outside", 0) != 0 => {
                Interpolation::CubicInside(reader.float("cubic_coeff_a", -0.75))
            }
            ("cubic", _) => Interpolation::Cubic(reader.float("cubic_coeff_a", -0.75)),
            (mode, _) => return Err(Error::shape("attribute mode", "nearest, linear or cubic", mode)),
        };
        let order = if rows == 2 { [0, 1, 2, 3] } else { [0, 3, 1, 2] };
        let moved = Live::new(live.id, live.view.permuted(&order)?);
        let (x, shape) = self.nchw(&moved)?;
        // A size that is a whole multiple is that factor, which can be told without knowing the picture.
        let to = match to {
            ResizeTo::Size([h, w]) if h.is_multiple_of(shape.h) && w.is_multiple_of(shape.w) => {
                ResizeTo::Scale([(h / shape.h) as f32, (w / shape.w) as f32])
            }
            to => to,
        };
        let id = self.push(reader.name(), Resize { to, interpolation, coordinates }, &[x])?;
        self.reordered(id, &moved.dims(), &order)
    }
}

/// The new size with one factor for both sides, by which the result lies within the wanted size or around it.
fn kept_aspect(reader: &Reader<'_>, policy: &str, wanted: [usize; 2], own: [usize; 2]) -> Result<ResizeTo> {
    let factors = [0, 1].map(|side| wanted[side] as f32 / own[side] as f32);
    let factor = match policy {
        "not_larger" => factors[0].min(factors[1]),
        "not_smaller" => factors[0].max(factors[1]),
        other => {
            let expected = "stretch, not_larger or not_smaller";
            return Err(Error::shape("attribute keep_aspect_ratio_policy", expected, other));
        }
    };
    let exact = own.map(|side| side as f32 * factor);
    let rounded = exact.map(|side| (side + 0.5).floor() as usize);
    let aligned = reader.text("coordinate_transformation_mode", "half_pixel") == "align_corners";
    match (exact.map(|side| side as usize) == rounded, aligned) {
        (true, _) => Ok(ResizeTo::Scale([factor; 2])),
        // Places depend on the sizes alone.
        (false, true) => Ok(ResizeTo::Size(rounded)),
        (false, false) => {
            let [h, w] = exact;
            Err(reader.unsupported(&format!("it keeps the aspect ratio and rounds {h}x{w} pixels up")))
        }
    }
}
