//! ONNX's operators as this project's. What is not understood is refused by name; nothing is skipped over.

use super::array::Array;
use super::build::{Builder, Live, Value, per_channel};
use super::node::{Reader, axes, axis, extent};
use super::view::{View, broadcast};
use crate::error::{Error, Result};
use crate::graph::{
    Activation, ArgMax, Axis, BatchNorm, Binary, BinaryKind, Concat, Conv, ConvTranspose, Coordinates,
    Interpolation, MatMul, Norm, NormOver, Op, PRelu, Pad, PadAmount, PadMode, Pool, PoolKind, Reduce,
    ReduceKind, Resize, ResizeTo, Rounding, Softmax, ValueId,
};
use crate::tensor::{Shape, Tensor};
use std::sync::Arc;

impl<'a> Builder<'a> {
    /// A node that computes something from computed tensors.
    pub(super) fn operator(&mut self, reader: &Reader<'a>) -> Result<Live> {
        if let Some(activation) = activation(reader) {
            return self.activate(reader, activation);
        }
        match reader.op() {
            "Clip" => {
                let bound = |i: usize, name: &str, default: f32| match self.optional_constant(reader, i)? {
                    Some(array) => Ok::<_, Error>(array.floats().first().copied().unwrap_or(default)),
                    None => Ok(reader.float(name, default)),
                };
                let (min, max) = (bound(1, "min", f32::NEG_INFINITY)?, bound(2, "max", f32::INFINITY)?);
                self.activate(reader, Activation::Clip { min, max })
            }
            "Conv" => self.conv(reader),
            "ConvTranspose" => self.conv_transpose(reader),
            "MaxPool" | "AveragePool" => self.pool(reader),
            "GlobalAveragePool" => self.global(reader, ReduceKind::Mean),
            "GlobalMaxPool" => self.global(reader, ReduceKind::Max),
            "ReduceMean" => self.reduce(reader, ReduceKind::Mean),
            "ReduceSum" => self.reduce(reader, ReduceKind::Sum),
            "ReduceMax" => self.reduce(reader, ReduceKind::Max),
            "ReduceMin" => self.reduce(reader, ReduceKind::Min),
            "ReduceL2" | "ReduceSumSquare" => self.reduce(reader, ReduceKind::Sum),
            "BatchNormalization" => self.batch_norm(reader),
            "InstanceNormalization" | "GroupNormalization" => self.group_norm(reader),
            "LayerNormalization" => self.layer_norm(reader),
            "PRelu" => self.prelu(reader),
            "Add" | "Sub" | "Mul" | "Div" | "Pow" => self.arithmetic(reader),
            "Sum" | "Min" | "Max" | "Mean" => self.variadic(reader),
            "Selu" => {
                let (alpha, gamma) = (reader.float("alpha", 1.673_263_2), reader.float("gamma", 1.050_701));
                let elu = self.activate(reader, Activation::Elu(alpha))?;
                self.affine(reader.name(), &elu, vec![gamma], vec![0.0])
            }
            "Attention" => self.attention(reader),
            "MatMul" => self.matmul(reader),
            "Gemm" => self.gemm(reader),
            "Softmax" => self.softmax(reader),
            "ArgMax" => self.arg_max(reader),
            "Concat" => self.concat(reader),
            "Pad" => self.pad(reader),
            "Resize" | "Upsample" => self.resize(reader),
            _ => Err(reader.unsupported("there is no kernel for it")),
        }
    }

    // ---- one element at a time ----

    /// Applies a function to every element; where they stand does not matter.
    fn activate(&mut self, reader: &Reader<'a>, activation: Activation) -> Result<Live> {
        let live = self.live(reader, 0)?;
        self.apply(reader.name(), &live, activation)
    }

    fn apply(&mut self, name: &str, live: &Live, op: impl Into<Op>) -> Result<Live> {
        let op = op.into();
        if matches!(op, Op::Activation(Activation::None)) {
            return Ok(live.clone());
        }
        // A view of a part: its elements are moved out first when they are less than half.
        let whole = self.shape(live.id).elements();
        if matches!(op, Op::Activation(_)) && live.view.elements() < whole / 2 && live.view.rank() <= 4 {
            let (id, _) = self.nchw(live)?;
            return Ok(Live { id: self.push(name, op, &[id])?, view: View::whole(&live.dims()) });
        }
        Ok(Live { id: self.push(name, op, &[live.id])?, view: live.view.clone() })
    }

    /// `x * scale + shift` with a number, or one for each channel of the underlying value.
    fn affine(&mut self, name: &str, live: &Live, scale: Vec<f32>, shift: Vec<f32>) -> Result<Live> {
        let channels = self.shape(live.id).c;
        let each = |values: Vec<f32>| -> Arc<[f32]> {
            if values.len() == 1 { vec![values[0]; channels].into() } else { values.into() }
        };
        if scale.iter().chain(&shift).any(|v| !v.is_finite()) {
            return Err(Error::shape("constant", "finite numbers", "an infinity"));
        }
        self.apply(
            name,
            live,
            BatchNorm { scale: each(scale), shift: each(shift), activation: Activation::None },
        )
    }

    /// The numbers by which a constant operand stands against the channels of the value beneath a view: one, or one a
    /// channel. `None` when it varies along more than that.
    fn along_channels(&self, live: &Live, array: &Array) -> Option<Vec<f32>> {
        let values = array.floats();
        let dims = live.dims();
        if values.iter().all(|v| *v == values[0]) && array.dims.len() <= dims.len() {
            return Some(vec![*values.first()?]);
        }
        let s = self.shape(live.id);
        let missing = dims.len().checked_sub(array.dims.len())?;
        let mut varying = (0..array.dims.len()).filter(|&a| array.dims[a] != 1);
        let (axis, None) = (varying.next()?, varying.next()) else { return None };
        let stride = live.view.stride(axis + missing)?;
        let is_channel = dims[axis + missing] == s.c && values.len() == s.c && stride == s.pixels() as isize;
        // With several pictures the batch must be an axis of its own, which it is unless the view joined the two.
        is_channel.then(|| values.into_owned())
    }

    fn arithmetic(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let (a, b) = (self.operand(reader, 0)?, self.operand(reader, 1)?);
        let name = reader.name();
        let (live, array, swapped) = match (&a, &b) {
            (Value::Live(live), Value::Constant(array)) => (live, array, false),
            (Value::Constant(array), Value::Live(live)) => (live, array, true),
            _ => return self.binary(reader),
        };
        let dims = broadcast(&[&live.dims(), &array.dims])?;
        if dims == live.dims()
            && let Some(values) = self.along_channels(live, array)
        {
            let map = |f: fn(f32) -> f32| values.iter().map(|&v| f(v)).collect::<Vec<_>>();
            let (zero, one) = (vec![0.0; values.len()], vec![1.0; values.len()]);
            match (reader.op(), swapped) {
                ("Add", _) => return self.affine(name, live, one, values),
                ("Sub", false) => return self.affine(name, live, one, map(|v| -v)),
                ("Sub", true) => return self.affine(name, live, map(|_| -1.0), values),
                ("Mul", _) => return self.affine(name, live, values, zero),
                ("Div", false) => return self.affine(name, live, map(|v| 1.0 / v), zero),
                ("Div", true) => {
                    let inverse = self.apply(name, live, Activation::Reciprocal)?;
                    return self.affine(name, &inverse, values, zero);
                }
                ("Pow", false) if values.len() == 1 => {
                    return self.apply(name, live, Activation::power(values[0]));
                }
                _ => {}
            }
        }
        self.binary(reader)
    }

    fn binary(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let (a, b) = (self.live(reader, 0)?, self.live(reader, 1)?);
        let kind = match reader.op() {
            "Add" | "Sum" | "Mean" => BinaryKind::Add,
            "Sub" => BinaryKind::Sub,
            "Mul" => BinaryKind::Mul,
            "Div" => BinaryKind::Div,
            "Min" => BinaryKind::Min,
            "Max" => BinaryKind::Max,
            _ => BinaryKind::Pow,
        };
        self.pair(reader.name(), kind, &a, &b)
    }

    fn pair(&mut self, name: &str, kind: BinaryKind, a: &Live, b: &Live) -> Result<Live> {
        let op = Binary::new(kind);
        if a.view == b.view && self.shape(a.id) == self.shape(b.id) {
            return Ok(Live { id: self.push(name, op, &[a.id, b.id])?, view: a.view.clone() });
        }
        let dims = broadcast(&[&a.dims(), &b.dims()])?;
        // Both in the places of the larger, where that is a value as it stands: nothing is moved then.
        for (x, y) in [(a, b), (b, a)] {
            let shape = self.shape(x.id);
            if x.dims() == dims
                && x.view.elements() == shape.elements()
                && let Some(y) = self.beneath(x, y)?
            {
                let inputs = if x == a { [x.id, y] } else { [y, x.id] };
                return Ok(Live { id: self.push(name, op, &inputs)?, view: x.view.clone() });
            }
        }
        if dims.len() > 4 {
            return Err(Error::shape("operands", "at most 4 axes", format!("{dims:?}")));
        }
        let ((a, _), (b, _)) = (self.nchw(a)?, self.nchw(b)?);
        Ok(Live { id: self.push(name, op, &[a, b])?, view: View::whole(&dims) })
    }

    /// An operand in the places of the value beneath `x`, where its axes are those of `x` or 1, and each of those is an
    /// axis of that value.
    fn beneath(&mut self, x: &Live, y: &Live) -> Result<Option<ValueId>> {
        let s = self.shape(x.id);
        let strides = [s.c * s.pixels(), s.pixels(), s.w, 1];
        let extents = [s.n, s.c, s.h, s.w];
        let dims = x.dims();
        let own = y.dims();
        let missing = dims.len() - own.len();
        // For each axis of the value beneath, the axis of `x` that is it.
        let mut from = [None; 4];
        for (axis, &dim) in dims.iter().enumerate() {
            if dim == 1 {
                continue;
            }
            let Some(stride) = x.view.stride(axis) else { return Ok(None) };
            let place = (0..4).find(|&i| extents[i] == dim && strides[i] as isize == stride);
            match place {
                Some(place) if from[place].is_none() => from[place] = Some(axis),
                _ => return Ok(None),
            }
        }
        if (0..4).any(|i| extents[i] != 1 && from[i].is_none()) {
            return Ok(None);
        }
        // `y` with its axes in that order, absent ones 1.
        let mut order: Vec<usize> =
            from.iter().flatten().filter(|&&a| a >= missing).map(|a| a - missing).collect();
        order.extend((0..own.len()).filter(|a| !from.iter().flatten().any(|&f| f == a + missing)));
        let extent = |i: usize| from[i].filter(|&a| a >= missing).map_or(1, |a| own[a - missing]);
        let shape = Shape::new(extent(0), extent(1), extent(2), extent(3));
        let view = y.view.permuted(&order)?;
        if view.elements() != shape.elements() {
            return Ok(None);
        }
        self.placed(&Live { id: y.id, view }, shape).map(Some)
    }

    /// `Sum`, `Mean`, `Min` and `Max` of any number of operands.
    fn variadic(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let count = reader.node.input.len();
        if let (2, "Min" | "Max") = (count, reader.op()) {
            let pair = (self.operand(reader, 0)?, self.operand(reader, 1)?);
            if let (Value::Live(live), Value::Constant(array)) | (Value::Constant(array), Value::Live(live)) =
                &pair
                && array.len() == 1
            {
                let bound = array.floats()[0];
                let (min, max) =
                    if reader.op() == "Min" { (f32::NEG_INFINITY, bound) } else { (bound, f32::INFINITY) };
                return self.apply(reader.name(), live, Activation::Clip { min, max });
            }
        }
        let mut all = self.live(reader, 0)?;
        let kind = match reader.op() {
            "Min" => BinaryKind::Min,
            "Max" => BinaryKind::Max,
            _ => BinaryKind::Add,
        };
        for i in 1..count {
            let next = self.live(reader, i)?;
            all = self.pair(reader.name(), kind, &all, &next)?;
        }
        match reader.op() {
            "Mean" => self.affine(reader.name(), &all, vec![1.0 / count as f32], vec![0.0]),
            _ => Ok(all),
        }
    }

    fn prelu(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let (live, slope) = (self.live(reader, 0)?, self.constant(reader, 1)?);
        match self.along_channels(&live, &slope) {
            Some(values) if values.len() == 1 => {
                self.apply(reader.name(), &live, Activation::LeakyRelu(values[0]))
            }
            Some(values) => self.apply(reader.name(), &live, PRelu { slope: values.into() }),
            // A slope for each place: what is below 0 times that, and what is above.
            None => {
                let below =
                    self.apply(reader.name(), &live, Activation::Clip { min: f32::NEG_INFINITY, max: 0.0 })?;
                let slope = self.constant_node(&slope)?;
                let below = self.pair(reader.name(), BinaryKind::Mul, &below, &slope)?;
                let above = self.apply(reader.name(), &live, Activation::Relu)?;
                self.pair(reader.name(), BinaryKind::Add, &above, &below)
            }
        }
    }

    // ---- windows ----

    /// Four extents, as the operators of pictures need them.
    fn picture(&mut self, reader: &Reader<'a>, i: usize) -> Result<(ValueId, Shape)> {
        let live = self.live(reader, i)?;
        if live.view.rank() != 4 {
            let expected = "4 axes (2-D networks)";
            return Err(Error::shape(format!("operand {i}"), expected, format!("{:?}", live.dims())));
        }
        self.nchw(&live)
    }

    fn computed(&mut self, reader: &Reader<'a>, op: impl Into<Op>, input: ValueId) -> Result<Live> {
        let id = self.push(reader.name(), op, &[input])?;
        Ok(self.plain(id))
    }

    /// A value of the graph as it stands.
    fn plain(&self, id: ValueId) -> Live {
        let Shape { n, c, h, w } = self.shape(id);
        Live { id, view: View::whole(&[n, c, h, w]) }
    }

    fn weight(&self, reader: &Reader<'a>) -> Result<Arc<Tensor>> {
        let array = self.constant(reader, 1)?;
        match array.dims[..] {
            [n, c, h, w] => finite(array.tensor(Shape::new(n, c, h, w))?),
            _ => Err(Error::shape("weight", "4 extents (2-D convolutions)", format!("{:?}", array.dims))),
        }
    }

    fn bias(&self, reader: &Reader<'a>) -> Result<Option<Arc<[f32]>>> {
        Ok(self.optional_constant(reader, 2)?.map(|bias| bias.floats().iter().copied().collect()))
    }

    fn conv(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let (x, s) = self.picture(reader, 0)?;
        let weight = self.weight(reader)?;
        let kernel = [weight.shape().h, weight.shape().w];
        let (stride, dilation) = (reader.sizes("strides", [1, 1])?, reader.sizes("dilations", [1, 1])?);
        let conv = Conv {
            stride,
            dilation,
            padding: reader.padding([s.h, s.w], kernel, stride, dilation)?,
            groups: extent(reader.int("group", 1))?,
            ..Conv::new(weight, self.bias(reader)?)
        };
        self.computed(reader, conv, x)
    }

    fn conv_transpose(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let (x, s) = self.picture(reader, 0)?;
        let weight = self.weight(reader)?;
        if reader.sizes("dilations", [1, 1])? != [1, 1] {
            return Err(reader.unsupported("its kernel is dilated"));
        }
        let (kernel, stride) = ([weight.shape().h, weight.shape().w], reader.sizes("strides", [1, 1])?);
        let mut output_padding = reader.sizes("output_padding", [0, 0])?;
        let (input, auto) = ([s.h, s.w], reader.text("auto_pad", "NOTSET"));
        let natural = [0, 1].map(|a| {
            (input[a] - 1)
                .saturating_mul(stride[a])
                .saturating_add(kernel[a])
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
            None => reader.padding(input, kernel, stride, [1, 1])?,
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
            padding,
            output_padding,
            groups: extent(reader.int("group", 1))?,
            ..ConvTranspose::new(weight, self.bias(reader)?, 1)
        };
        self.computed(reader, conv, x)
    }

    fn pool(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let (x, s) = self.picture(reader, 0)?;
        if reader.node.output.iter().skip(1).any(|o| !o.is_empty()) {
            return Err(reader.unsupported("it also gives indices"));
        }
        let kind = match (reader.op(), reader.int("count_include_pad", 0)) {
            ("MaxPool", _) => PoolKind::Max,
            (_, 0) => PoolKind::Average,
            _ => PoolKind::AverageWithPadding,
        };
        let kernel = reader.sizes("kernel_shape", [1, 1])?;
        let (stride, dilation) = (reader.sizes("strides", [1, 1])?, reader.sizes("dilations", [1, 1])?);
        let padding = reader.padding([s.h, s.w], kernel, stride, dilation)?;
        let ceil = reader.int("ceil_mode", 0) != 0;
        self.computed(reader, Pool { kind, kernel, stride, dilation, padding, ceil }, x)
    }

    fn pad(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let live = self.live(reader, 0)?;
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
            "constant" => PadMode::Zero,
            "edge" => PadMode::Edge,
            "reflect" => PadMode::Reflect,
            other => return Err(Error::shape("attribute mode", "constant, edge or reflect", other)),
        };
        let value = match self.optional_constant(reader, 2)? {
            Some(array) => array.floats().first().copied().unwrap_or(0.0),
            None => reader.float("value", 0.0),
        };
        let (mut before, mut behind) = (vec![0; rank], vec![0; rank]);
        for (i, &axis) in axes.iter().enumerate() {
            let amount = |v: i64| isize::try_from(v).unwrap_or(isize::MAX);
            (before[axis], behind[axis]) = (amount(amounts[i]), amount(amounts[axes.len() + i]));
        }
        let touched: Vec<usize> = (0..rank).filter(|&a| (before[a], behind[a]) != (0, 0)).collect();
        if touched.is_empty() {
            return Ok(live);
        }
        if touched.len() > 2 || rank > 4 {
            return Err(reader.unsupported("it pads more than two axes"));
        }
        // The padded axes become rows and columns.
        let mut order: Vec<usize> = (0..rank).filter(|a| !touched.contains(a)).collect();
        order.extend(&touched);
        let moved = Live { id: live.id, view: live.view.permuted(&order)? };
        let (mut x, s) = self.nchw(&moved)?;
        let last = rank - 1;
        let fill = mode == PadMode::Zero && value != 0.0;
        let shifted = |shift: f32, c: usize| BatchNorm {
            scale: vec![1.0; c].into(),
            shift: vec![shift; c].into(),
            activation: Activation::None,
        };
        if fill {
            x = self.push(reader.name(), shifted(-value, s.c), &[x])?;
        }
        let rows = if touched.len() == 2 { [before[touched[0]], behind[touched[0]]] } else { [0, 0] };
        let columns = [before[order[last]], behind[order[last]]];
        let amount = PadAmount::Fixed([rows[0], columns[0], rows[1], columns[1]]);
        x = self.push(reader.name(), Pad { amount, mode }, &[x])?;
        if fill {
            x = self.push(reader.name(), shifted(value, s.c), &[x])?;
        }
        self.reordered(x, &moved.dims(), &order)
    }

    /// A value whose last four axes are `dims` with other rows and columns, with its axes put back from `order`.
    fn reordered(&self, id: ValueId, dims: &[usize], order: &[usize]) -> Result<Live> {
        let Shape { n, c, h, w } = self.shape(id);
        let rank = dims.len();
        let all = [n, c, h, w];
        Ok(Live { id, view: View::whole(&all[4 - rank..]).permuted(&inverse(order))? })
    }

    fn resize(&mut self, reader: &Reader<'a>) -> Result<Live> {
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
            let axes = super::node::axes(axes, 4)?;
            let named = |i: usize| axes.iter().position(|&a| a == i);
            scales = scales
                .map(|s| (0..4).map(|i| named(i).and_then(|at| s.get(at).copied()).unwrap_or(1.0)).collect());
            sizes = sizes.map(|s| {
                (0..4).map(|i| named(i).and_then(|at| s.get(at).copied()).unwrap_or(dims[i] as i64)).collect()
            });
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
        reader.only("exclude_outside", 0)?;
        reader.only_text("keep_aspect_ratio_policy", "stretch")?;
        let default = if old { "asymmetric" } else { "half_pixel" };
        let coordinates = match reader.text("coordinate_transformation_mode", default).as_str() {
            "asymmetric" => Coordinates::Asymmetric,
            "half_pixel" => Coordinates::HalfPixel,
            "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
            "align_corners" => Coordinates::AlignCorners,
            other => {
                let expected = "asymmetric, half_pixel, pytorch_half_pixel or align_corners";
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
            ("cubic", _) => Interpolation::Cubic(reader.float("cubic_coeff_a", -0.75)),
            (mode, _) => return Err(Error::shape("attribute mode", "nearest, linear or cubic", mode)),
        };
        let order = if rows == 2 { [0, 1, 2, 3] } else { [0, 3, 1, 2] };
        let moved = Live { id: live.id, view: live.view.permuted(&order)? };
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

    // ---- along axes ----

    /// The value with an axis in the place of the channels. Pictures with channels second are taken as they stand.
    fn channels(&mut self, live: &Live, axis: usize) -> Result<(ValueId, Moved)> {
        let rank = live.view.rank();
        let mut order: Vec<usize> = (0..rank).collect();
        if axis > 0 {
            order.remove(axis);
            order.insert(1, axis);
        }
        let view = live.view.permuted(&order)?;
        let dims = view.dims();
        let shape = match (axis, &dims[..]) {
            (0, [c, rest @ ..]) => Shape::new(1, *c, 1, rest.iter().product()),
            (_, [n, c, h, w]) => Shape::new(*n, *c, *h, *w),
            (_, [n, c, rest @ ..]) => Shape::new(*n, *c, 1, rest.iter().product()),
            _ => return Err(Error::shape("operand", "at least 1 axis", "none")),
        };
        let id = self.placed(&Live { id: live.id, view }, shape.check("operand")?)?;
        Ok((id, Moved { dims, order, at: axis.min(1) }))
    }

    /// A result of as many channels as it has, with its axes back in their places.
    fn put_back(&self, id: ValueId, mut moved: Moved) -> Result<Live> {
        moved.dims[moved.at] = self.shape(id).c;
        Ok(Live { id, view: View::whole(&moved.dims).permuted(&inverse(&moved.order))? })
    }

    fn global(&mut self, reader: &Reader<'a>, kind: ReduceKind) -> Result<Live> {
        let (x, _) = self.picture(reader, 0)?;
        self.computed(reader, Reduce { kind, axes: [false, true, true] }, x)
    }

    fn reduce(&mut self, reader: &Reader<'a>, kind: ReduceKind) -> Result<Live> {
        let mut live = self.live(reader, 0)?;
        let rank = live.view.rank();
        let listed = match self.optional_constant(reader, 1)? {
            Some(array) => Some(array.ints()),
            None => reader.ints("axes"),
        };
        let axes = match listed.filter(|list| !list.is_empty()) {
            Some(list) => axes(list, rank)?,
            None if reader.int("noop_with_empty_axes", 0) != 0 => return Ok(live),
            None => (0..rank).collect(),
        };
        if matches!(reader.op(), "ReduceL2" | "ReduceSumSquare") {
            live = self.apply(reader.name(), &live, Activation::Square)?;
        }
        let dims = live.dims();
        let first = axes.iter().copied().min().unwrap_or(0);
        let in_a_row = (first..first + axes.len()).all(|a| axes.contains(&a));
        let over = |place: usize| axes.iter().any(|&a| a + 4 == place + rank);
        let (x, reduced) = if rank <= 4 && !(over(0) && dims[0] > 1) {
            (self.nchw(&live)?.0, [over(1), over(2), over(3)])
        } else if in_a_row {
            let shape = around(&dims, first..first + axes.len())?;
            (self.placed(&live, shape)?, [true, false, false])
        } else {
            return Err(reader.unsupported("it joins the pictures of a batch"));
        };
        let id = match reduced.contains(&true) {
            true => self.push(reader.name(), Reduce { kind, axes: reduced }, &[x])?,
            false => x,
        };
        let keep = reader.int("keepdims", 1) != 0;
        let left = (0..rank).filter(|a| keep || !axes.contains(a));
        let left: Vec<usize> = left.map(|a| if axes.contains(&a) { 1 } else { dims[a] }).collect();
        let result = Live { id, view: View::whole(&left) };
        match reader.op() {
            "ReduceL2" => self.apply(reader.name(), &result, Activation::Sqrt),
            _ => Ok(result),
        }
    }

    fn softmax(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let live = self.live(reader, 0)?;
        let dims = live.dims();
        let old = reader.opset < 13;
        let along = axis(reader.int("axis", if old { 1 } else { -1 }), dims.len())?;
        // Before opset 13 all axes from this one on were one.
        if old && dims[along + 1..].iter().any(|&d| d != 1) {
            let flat = [dims[..along].iter().product(), dims[along..].iter().product()];
            let Value::Live(joined) = self.reshaped(&Value::Live(live), &flat)? else {
                unreachable!("live stays live")
            };
            let result = self.softmax_along(reader.name(), &joined, 1)?;
            let Value::Live(result) = self.reshaped(&Value::Live(result), &dims)? else {
                unreachable!("live stays live")
            };
            return Ok(result);
        }
        self.softmax_along(reader.name(), &live, along)
    }

    fn softmax_along(&mut self, name: &str, live: &Live, along: usize) -> Result<Live> {
        let rank = live.view.rank();
        let place = along + 4_usize.saturating_sub(rank);
        if rank <= 4 && place > 0 && live.view.is_whole(self.shape(live.id).elements()) {
            let (x, _) = self.nchw(live)?;
            let axis = [Axis::C, Axis::H, Axis::W][place - 1];
            return Ok(Live {
                id: self.push(name, Softmax { axis }, &[x])?,
                view: View::whole(&live.dims()),
            });
        }
        let (x, moved) = self.channels(live, along)?;
        let id = self.push(name, Softmax { axis: Axis::C }, &[x])?;
        self.put_back(id, moved)
    }

    fn arg_max(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let live = self.live(reader, 0)?;
        let along = axis(reader.int("axis", 0), live.view.rank())?;
        reader.only("select_last_index", 0)?;
        let (x, moved) = self.channels(&live, along)?;
        let id = self.push(reader.name(), ArgMax, &[x])?;
        let result = self.put_back(id, moved)?;
        if reader.int("keepdims", 1) != 0 {
            return Ok(result);
        }
        let mut left = result.dims();
        left.remove(along);
        match self.reshaped(&Value::Live(result), &left)? {
            Value::Live(live) => Ok(live),
            Value::Constant(_) => Err(reader.unsupported("its operand is constant")),
        }
    }

    fn concat(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let parts = (0..reader.node.input.len()).map(|i| self.live(reader, i)).collect::<Result<Vec<_>>>()?;
        let first = parts.first().ok_or_else(|| Error::shape("concat", "operands", "none"))?;
        let rank = first.view.rank();
        let along = axis(reader.int("axis", 1), rank)?;
        if let Some(part) = parts.iter().find(|part| part.view.rank() != rank) {
            return Err(Error::shape("concat", format!("{rank} axes"), format!("{:?}", part.dims())));
        }
        // Any order of axes that all parts share will do: that in which the first is a value as it stands.
        let mut order: Vec<usize> = (0..rank).collect();
        if rank == 4
            && along == 3
            && first.view.permuted(&[0, 3, 1, 2])?.is_whole(self.shape(first.id).elements())
        {
            order = vec![0, 3, 1, 2];
        }
        let place = order.iter().position(|&a| a == along).unwrap_or(0) + 4_usize.saturating_sub(rank);
        if place == 0 || rank > 4 {
            return self.joined(reader, &parts, along);
        }
        let mut ids = Vec::with_capacity(parts.len());
        for part in &parts {
            let moved = Live { id: part.id, view: part.view.permuted(&order)? };
            ids.push(self.nchw(&moved)?.0);
        }
        let axis = [Axis::C, Axis::H, Axis::W][place - 1];
        let id = self.push(reader.name(), Concat { axis }, &ids)?;
        let dims: Vec<usize> = order.iter().map(|&a| first.dims()[a]).collect();
        self.reordered(id, &dims, &order)
    }

    /// A concatenation along any axis of any rank: extents before it are pictures, it is the channels, and what is
    /// behind it rows and columns.
    pub(super) fn joined(&mut self, reader: &Reader<'a>, parts: &[Live], along: usize) -> Result<Live> {
        let mut dims = parts[0].dims();
        let mut ids = Vec::with_capacity(parts.len());
        for part in parts {
            let own = part.dims();
            if (0..dims.len()).any(|a| a != along && own[a] != dims[a]) {
                return Err(Error::shape(
                    "concat",
                    format!("{dims:?} but for axis {along}"),
                    format!("{own:?}"),
                ));
            }
            ids.push(self.placed(part, around(&own, along..along + 1)?)?);
        }
        dims[along] = parts.iter().map(|part| part.dims()[along]).sum();
        Ok(Live { id: self.push(reader.name(), Concat { axis: Axis::C }, &ids)?, view: View::whole(&dims) })
    }

    // ---- norms ----

    fn batch_norm(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let live = self.live(reader, 0)?;
        reader.only("training_mode", 0)?;
        let [gamma, beta, mean, var] = [1, 2, 3, 4].map(|i| self.constant(reader, i));
        let eps = f64::from(reader.float("epsilon", 1e-5));
        let norm = BatchNorm::new(&gamma?.floats(), &beta?.floats(), &mean?.floats(), &var?.floats(), eps)?;
        let (x, moved) = self.channels(&live, 1.min(live.view.rank().saturating_sub(1)))?;
        let id = self.push(reader.name(), norm, &[x])?;
        self.put_back(id, moved)
    }

    /// Instance and group norm. Exporters write the latter as the former on channels that a reshape joined to groups,
    /// which is a group norm of the value beneath.
    fn group_norm(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let live = self.live(reader, 0)?;
        let (scale, shift) = (self.constant(reader, 1)?, self.constant(reader, 2)?);
        let dims = live.dims();
        let &[n, second, ..] = &dims[..] else {
            return Err(Error::shape("operand 0", "at least 2 axes", format!("{dims:?}")));
        };
        let s = self.shape(live.id);
        let joined = live.view.is_whole(s.elements()) && s.n == n && s.c.is_multiple_of(second);
        let (x, view) = match joined {
            true => (live.id, live.view.clone()),
            false => {
                let shape = match dims[..] {
                    [n, c, h, w] => Shape::new(n, c, h, w),
                    _ => Shape::new(n, second, 1, dims[2..].iter().product()),
                };
                (self.placed(&live, shape.check("operand 0")?)?, View::whole(&dims))
            }
        };
        let channels = self.shape(x).c;
        let groups = match reader.op() {
            "GroupNormalization" => extent(reader.int("num_groups", 1))?,
            _ => second,
        };
        let vector = |array: &Array| -> Result<Arc<[f32]>> {
            let values = array.floats();
            if values.is_empty() || !channels.is_multiple_of(values.len()) {
                return Err(Error::shape(
                    "scale",
                    format!("a number for each of {channels} channels"),
                    values.len(),
                ));
            }
            Ok((0..channels).map(|c| values[c / (channels / values.len())]).collect())
        };
        let eps = reader.float("epsilon", 1e-5);
        let norm = Norm {
            scale: Some(vector(&scale)?),
            shift: Some(vector(&shift)?),
            ..Norm::new(NormOver::Groups(groups), eps)
        };
        Ok(Live { id: self.push(reader.name(), norm, &[x])?, view })
    }

    fn layer_norm(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let live = self.live(reader, 0)?;
        let rank = live.view.rank();
        let first = axis(reader.int("axis", -1), rank)?;
        if first != rank - 1 {
            // All of the axes from this one on are one group of channels.
            let dims = live.dims();
            let s = around(&dims, first..rank)?;
            let x = self.placed(&live, s)?;
            let scale = per_channel(&self.constant(reader, 1)?, s.c)?;
            let shift = self.optional_constant(reader, 2)?.map(|b| per_channel(&b, s.c)).transpose()?;
            let norm = Norm {
                scale: Some(scale),
                shift,
                ..Norm::new(NormOver::Groups(1), reader.float("epsilon", 1e-5))
            };
            return Ok(Live { id: self.push(reader.name(), norm, &[x])?, view: View::whole(&dims) });
        }
        let extent = live.dims()[rank - 1];
        let scale = per_channel(&self.constant(reader, 1)?, extent)?;
        let shift = self.optional_constant(reader, 2)?.map(|b| per_channel(&b, extent)).transpose()?;
        let eps = reader.float("epsilon", 1e-5);
        let (x, moved) = self.channels(&live, rank - 1)?;
        let norm = Norm { scale: Some(scale), shift, ..Norm::new(NormOver::Channels, eps) };
        let id = self.push(reader.name(), norm, &[x])?;
        self.put_back(id, moved)
    }

    // ---- matrices ----

    /// A product of the last axis with constant weights `(out, in)`: a 1x1 convolution.
    fn linear(
        &mut self,
        name: &str,
        live: &Live,
        weight: Tensor,
        bias: Option<Arc<[f32]>>,
        axis: usize,
    ) -> Result<Live> {
        let (x, moved) = self.channels(live, axis)?;
        let id = self.push(name, Conv::new(finite(Arc::new(weight))?, bias), &[x])?;
        self.put_back(id, moved)
    }

    /// A matrix of constants as weights `(out, in)`.
    fn matrix(array: &Array, transposed: bool, factor: f32) -> Result<Tensor> {
        let &[rows, columns] = &array.dims[..] else {
            return Err(Error::shape("weight", "2 axes", format!("{:?}", array.dims)));
        };
        let values = array.floats();
        Ok(match transposed {
            false => {
                Tensor::new(Shape::new(rows, columns, 1, 1), values.iter().map(|v| v * factor).collect())?
            }
            true => Tensor::new(
                Shape::new(columns, rows, 1, 1),
                (0..values.len()).map(|i| values[i % rows * columns + i / rows] * factor).collect(),
            )?,
        })
    }

    fn gemm(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let mut live = self.live(reader, 0)?;
        if live.view.rank() != 2 {
            return Err(Error::shape("operand 0", "2 axes", format!("{:?}", live.dims())));
        }
        if reader.int("transA", 0) != 0 {
            live.view = live.view.permuted(&[1, 0])?;
        }
        let weight = self.constant(reader, 1)?;
        let weight = Self::matrix(&weight, reader.int("transB", 0) == 0, reader.float("alpha", 1.0))?;
        let beta = reader.float("beta", 1.0);
        let outs = weight.shape().n;
        match self.optional_constant(reader, 2)? {
            Some(bias) if bias.len() != 1 && (bias.len() != outs || bias.dims.last() != Some(&outs)) => {
                let product = self.linear(reader.name(), &live, weight, None, 1)?;
                let bias = self.constant_node(&bias)?;
                let bias = self.affine(reader.name(), &bias, vec![beta], vec![0.0])?;
                self.pair(reader.name(), BinaryKind::Add, &product, &bias)
            }
            bias => {
                let each = bias.map(|bias| per_channel(&bias, outs)).transpose()?;
                let bias = each.map(|each| each.iter().map(|v| v * beta).collect());
                self.linear(reader.name(), &live, weight, bias, 1)
            }
        }
    }

    fn matmul(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let (a, b) = (self.operand(reader, 0)?, self.operand(reader, 1)?);
        match (&a, &b) {
            (Value::Live(live), Value::Constant(array)) if array.dims.len() == 2 => {
                let last = live.view.rank().saturating_sub(1);
                return self.linear(reader.name(), live, Self::matrix(array, true, 1.0)?, None, last);
            }
            (Value::Constant(array), Value::Live(live)) if array.dims.len() == 2 && live.view.rank() >= 2 => {
                let rows = live.view.rank() - 2;
                return self.linear(reader.name(), live, Self::matrix(array, false, 1.0)?, None, rows);
            }
            _ => {}
        }
        let (a, b) = (self.live(reader, 0)?, self.live(reader, 1)?);
        self.product(reader.name(), &a, &b)
    }

    /// Scaled dot product attention: `softmax(Q Kt / sqrt(d)) V`, on (batch, heads, length, d).
    fn attention(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let (q, k, v) = (self.live(reader, 0)?, self.live(reader, 1)?, self.live(reader, 2)?);
        let dims = q.dims();
        let extras = reader.node.input.iter().skip(3).chain(reader.node.output.iter().skip(1));
        let plain = reader.int("is_causal", 0) == 0 && reader.float("softcap", 0.0) == 0.0;
        if dims.len() != 4
            || k.view.rank() != 4
            || dims[1] != k.dims()[1]
            || !plain
            || extras.into_iter().any(|name| !name.is_empty())
        {
            return Err(
                reader.unsupported("only plain attention on 4 axes, as many heads in keys as in queries, is")
            );
        }
        let scale = reader.float("scale", 1.0 / (dims[3] as f32).sqrt());
        let q = self.affine(reader.name(), &q, vec![scale], vec![0.0])?;
        let k = Live { id: k.id, view: k.view.permuted(&[0, 1, 3, 2])? };
        let scores = self.product(reader.name(), &q, &k)?;
        let shares = self.softmax_along(reader.name(), &scores, 3)?;
        self.product(reader.name(), &shares, &v)
    }

    fn product(&mut self, name: &str, a: &Live, b: &Live) -> Result<Live> {
        let (left, right) = (a.dims(), b.dims());
        if left.len() < 2 || right.len() < 2 || left.len().max(right.len()) > 4 {
            return Err(Error::shape("operands", "2 to 4 axes each", format!("{left:?} and {right:?}")));
        }
        let mut dims = broadcast(&[&left[..left.len() - 2], &right[..right.len() - 2]])?;
        dims.extend([left[left.len() - 2], right[right.len() - 1]]);
        let ((a, _), (b, _)) = (self.nchw(a)?, self.nchw(b)?);
        Ok(Live { id: self.push(name, MatMul, &[a, b])?, view: View::whole(&dims) })
    }
}

/// How [`Builder::channels`] moved the axes: the extents behind the move, the axis that each of them was, and which of
/// them are the channels.
struct Moved {
    dims: Vec<usize>,
    order: Vec<usize>,
    at: usize,
}

/// The extents before some axes as pictures, theirs as channels, and those behind them as rows and columns.
fn around(dims: &[usize], axes: std::ops::Range<usize>) -> Result<Shape> {
    let product = |dims: &[usize]| dims.iter().fold(1, |n: usize, &d| n.saturating_mul(d));
    let w = if axes.end < dims.len() { dims[dims.len() - 1] } else { 1 };
    let behind = product(&dims[axes.end..]);
    let h = behind.checked_div(w).unwrap_or(0);
    Shape::new(product(&dims[..axes.start]), product(&dims[axes]), h, w).check("operand")
}

/// The order of axes that undoes another.
fn inverse(order: &[usize]) -> Vec<usize> {
    let mut back = vec![0; order.len()];
    order.iter().enumerate().for_each(|(place, &axis)| back[axis] = place);
    back
}

/// Functions of one element.
fn activation(reader: &Reader<'_>) -> Option<Activation> {
    Some(match reader.op() {
        "Relu" => Activation::Relu,
        "LeakyRelu" => Activation::LeakyRelu(reader.float("alpha", 0.01)),
        "Sigmoid" => Activation::Sigmoid,
        "Tanh" => Activation::Tanh,
        "HardSigmoid" => {
            Activation::HardSigmoid { alpha: reader.float("alpha", 0.2), beta: reader.float("beta", 0.5) }
        }
        "HardSwish" => Activation::HardSwish,
        "Elu" => Activation::Elu(reader.float("alpha", 1.0)),
        "Softplus" => Activation::Softplus,
        "Softsign" => Activation::Softsign,
        "Mish" => Activation::Mish,
        "Swish" if !reader.has("alpha") => Activation::Silu,
        "Gelu" if reader.text("approximate", "none") == "tanh" => Activation::GeluTanh,
        "Gelu" => Activation::Gelu,
        "Erf" => Activation::Erf,
        "Exp" => Activation::Exp,
        "Log" => Activation::Log,
        "Sqrt" => Activation::Sqrt,
        "Abs" => Activation::Abs,
        "Neg" => Activation::Neg,
        "Reciprocal" => Activation::Reciprocal,
        "Sin" => Activation::Sin,
        "Cos" => Activation::Cos,
        "Floor" => Activation::Floor,
        "Ceil" => Activation::Ceil,
        "Round" => Activation::Round,
        "Sign" => Activation::Sign,
        _ => return None,
    })
}

/// Refuses weights that no kernel could multiply: zeros in a vec4's lanes would become NaN.
fn finite(weight: Arc<Tensor>) -> Result<Arc<Tensor>> {
    match weight.data().iter().find(|v| !v.is_finite()) {
        Some(v) => Err(Error::shape("weight", "finite numbers", v)),
        None => Ok(weight),
    }
}
