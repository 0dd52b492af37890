//! Functions made of several of our operators.

use super::*;

/// Longest axis whose running sums are a product with a triangular matrix.
const SUMMED: usize = 1 << 10;

impl<'a> Builder<'a> {
    /// `Clip`, whose bounds may be computed.
    pub(super) fn clip(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let mut live = self.live(reader, 0)?;
        let mut bounds = [f32::NEG_INFINITY, f32::INFINITY];
        for (i, (name, kind)) in [("min", BinaryKind::Max), ("max", BinaryKind::Min)].into_iter().enumerate()
        {
            match self.optional(reader, i + 1)? {
                Some(Value::Constant(array)) => {
                    bounds[i] = array.floats().first().copied().unwrap_or(bounds[i])
                }
                Some(Value::Live(bound)) => live = self.pair(reader.name(), kind, &live, &bound)?,
                None => bounds[i] = reader.float(name, bounds[i]),
            }
        }
        let [min, max] = bounds;
        if bounds == [f32::NEG_INFINITY, f32::INFINITY] {
            return Ok(live);
        }
        self.apply(reader.name(), &live, Activation::Clip { min, max })
    }

    /// `x - max - log(sum(exp(x - max)))`, which stays exact where softmax is 0.
    pub(super) fn log_softmax(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let live = self.live(reader, 0)?;
        self.along(reader, &live, reader.opset < 13, |builder, name, live, along| {
            let below = builder.below_largest(name, live, &[along])?.0;
            let sum = builder.apply(name, &below, Activation::Exp)?;
            let sum = builder.reduced(name, &sum, ReduceKind::Sum, &[along], true)?;
            let sum = builder.apply(name, &sum, Activation::Log)?;
            builder.pair(name, BinaryKind::Sub, &below, &sum)
        })
    }

    pub(super) fn log_sum_exp(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let (name, live) = (reader.name(), self.live(reader, 0)?);
        let Some(axes) = self.reduced_axes(reader, live.view.rank())? else { return Ok(live) };
        let (below, largest) = self.below_largest(name, &live, &axes)?;
        let sum = self.apply(name, &below, Activation::Exp)?;
        let sum = self.reduced(name, &sum, ReduceKind::Sum, &axes, true)?;
        let sum = self.apply(name, &sum, Activation::Log)?;
        let result = self.pair(name, BinaryKind::Add, &sum, &largest)?;
        match reader.int("keepdims", 1) {
            0 => {
                let dims = result.dims();
                let left: Vec<usize> =
                    (0..dims.len()).filter(|a| !axes.contains(a)).map(|a| dims[a]).collect();
                self.reshaped_live(&result, &left)
            }
            _ => Ok(result),
        }
    }

    /// The elements less the largest one over these axes, and that one.
    fn below_largest(&mut self, name: &str, live: &Live, axes: &[usize]) -> Result<(Live, Live)> {
        let largest = self.reduced(name, live, ReduceKind::Max, axes, true)?;
        Ok((self.pair(name, BinaryKind::Sub, live, &largest)?, largest))
    }

    /// Running sums, as a product with a triangular matrix.
    pub(super) fn cum_sum(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let live = self.live(reader, 0)?;
        let along = self.constant(reader, 1)?.ints().first().copied().unwrap_or(0);
        let along = axis(along, live.view.rank())?;
        let (exclusive, reverse) = (reader.int("exclusive", 0) != 0, reader.int("reverse", 0) != 0);
        let extent = live.dims()[along];
        if extent > SUMMED {
            return Err(reader.unsupported(&format!("it sums along an axis of more than {SUMMED}")));
        }
        let adds = |i: usize| {
            let (to, from) = if reverse { (i % extent, i / extent) } else { (i / extent, i % extent) };
            if from < to || (from == to && !exclusive) { 1.0 } else { 0.0 }
        };
        let matrix = Tensor::from_fn(Shape::new(extent, extent, 1, 1), adds);
        self.linear(reader.name(), &live, matrix, None, along)
    }

    /// A triangle of a computed matrix, as a product with a mask.
    pub(super) fn triangle(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let live = self.live(reader, 0)?;
        let dims = live.dims();
        let &[.., rows, columns] = &dims[..] else {
            return Err(Error::shape("operand 0", "at least 2 axes", format!("{dims:?}")));
        };
        let shift = self.optional_constant(reader, 1)?;
        let shift = shift.and_then(|shift| shift.ints().first().copied()).unwrap_or(0);
        let upper = reader.int("upper", 1) != 0;
        let kept = |i: usize| {
            let beyond = (i % columns) as i64 - (i / columns) as i64;
            f32::from(u8::from(if upper { beyond >= shift } else { beyond <= shift }))
        };
        let elements = any_shape(&[rows, columns])?.elements();
        let mask = Array::of_floats(vec![rows, columns], (0..elements).map(kept).collect())?;
        let mask = self.constant_node(&mask)?;
        self.pair(reader.name(), BinaryKind::Mul, &live, &mask)
    }

    /// 1 at the first of the largest elements along an axis, else 0.
    pub(super) fn hardmax(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let live = self.live(reader, 0)?;
        self.along(reader, &live, reader.opset < 13, |builder, name, live, along| {
            let (x, moved) = builder.channels(live, along)?;
            let id = builder.push(name, ArgMax, &[x])?;
            let largest = builder.put_back(id, moved)?;
            let mut dims = vec![1; live.view.rank()];
            dims[along] = live.dims()[along];
            let numbers = (0..dims[along]).map(|i| i as f32).collect();
            let places = builder.constant_node(&Array::of_floats(dims, numbers)?)?;
            builder.pair(name, BinaryKind::Equal, &largest, &places)
        })
    }

    /// `alpha * elu(x / alpha)`.
    pub(super) fn celu(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let (name, live, alpha) = (reader.name(), self.live(reader, 0)?, reader.float("alpha", 1.0));
        let scaled = self.affine(name, &live, vec![1.0 / alpha], vec![0.0])?;
        let elu = self.apply(name, &scaled, Activation::Elu(1.0))?;
        self.affine(name, &elu, vec![alpha], vec![0.0])
    }

    /// `x * sigmoid(alpha * x)`.
    pub(super) fn swish(&mut self, reader: &Reader<'a>, alpha: f32) -> Result<Live> {
        let (name, live) = (reader.name(), self.live(reader, 0)?);
        let scaled = self.affine(name, &live, vec![alpha], vec![0.0])?;
        let gate = self.apply(name, &scaled, Activation::Sigmoid)?;
        self.pair(name, BinaryKind::Mul, &live, &gate)
    }

    /// 1 where `factor * x` is above the bound, else 0.
    fn above(&mut self, name: &str, live: &Live, factor: f32, bound: f32) -> Result<Live> {
        let beyond = self.affine(name, live, vec![factor], vec![-bound])?;
        let beyond = self.apply(name, &beyond, Activation::Relu)?;
        self.apply(name, &beyond, Activation::Sign)
    }

    /// `x` where it is above `alpha`, else 0.
    pub(super) fn thresholded(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let (name, live) = (reader.name(), self.live(reader, 0)?);
        let above = self.above(name, &live, 1.0, reader.float("alpha", 1.0))?;
        self.pair(name, BinaryKind::Mul, &live, &above)
    }

    /// `x - bias` above `lambd`, `x + bias` below `-lambd`, else 0.
    pub(super) fn shrink(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let (name, live, bound) = (reader.name(), self.live(reader, 0)?, reader.float("lambd", 0.5));
        let (above, below) = (self.above(name, &live, 1.0, bound)?, self.above(name, &live, -1.0, bound)?);
        let either = self.pair(name, BinaryKind::Add, &above, &below)?;
        let sign = self.pair(name, BinaryKind::Sub, &above, &below)?;
        let kept = self.pair(name, BinaryKind::Mul, &live, &either)?;
        let shift = self.affine(name, &sign, vec![-reader.float("bias", 0.0)], vec![0.0])?;
        self.pair(name, BinaryKind::Add, &kept, &shift)
    }

    /// `x / norm(x)` along an axis; 0 where the norm is 0.
    pub(super) fn lp_norm(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let (name, live) = (reader.name(), self.live(reader, 0)?);
        let along = axis(reader.int("axis", -1), live.view.rank())?;
        let (before, behind) = match reader.int("p", 2) {
            1 => (Activation::Abs, Activation::None),
            2 => (Activation::Square, Activation::Sqrt),
            other => return Err(Error::shape("attribute p", "1 or 2", other)),
        };
        let norm = self.apply(name, &live, before)?;
        let norm = self.reduced(name, &norm, ReduceKind::Sum, &[along], true)?;
        let norm = self.apply(name, &norm, behind)?;
        let norm =
            self.apply(name, &norm, Activation::Clip { min: f32::MIN_POSITIVE, max: f32::INFINITY })?;
        self.pair(name, BinaryKind::Div, &live, &norm)
    }

    /// `(x - mean) / (deviation + 1e-9)`, as ONNX defines it.
    pub(super) fn mean_variance(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let (name, live) = (reader.name(), self.live(reader, 0)?);
        let axes = axes(reader.ints("axes").unwrap_or_else(|| vec![0, 2, 3]), live.view.rank())?;
        let mean = self.reduced(name, &live, ReduceKind::Mean, &axes, true)?;
        let centred = self.pair(name, BinaryKind::Sub, &live, &mean)?;
        let spread = self.apply(name, &centred, Activation::Square)?;
        let spread = self.reduced(name, &spread, ReduceKind::Mean, &axes, true)?;
        let spread = self.apply(name, &spread, Activation::Sqrt)?;
        let spread = self.affine(name, &spread, vec![1.0], vec![1e-9])?;
        self.pair(name, BinaryKind::Div, &centred, &spread)
    }

    pub(super) fn rms_norm(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let live = self.live(reader, 0)?;
        let first = axis(reader.int("axis", -1), live.view.rank())?;
        let scale = self.operand(reader, 1)?;
        self.rms(reader, &live, &scale, first)
    }

    /// `x / sqrt(mean(x^2) + eps) * scale` over the axes from `first` on.
    pub(super) fn rms(
        &mut self,
        reader: &Reader<'a>,
        live: &Live,
        scale: &Value,
        first: usize,
    ) -> Result<Live> {
        let name = reader.name();
        let axes: Vec<usize> = (first..live.view.rank()).collect();
        let square = self.apply(name, live, Activation::Square)?;
        let mean = self.reduced(name, &square, ReduceKind::Mean, &axes, true)?;
        let mean = self.affine(name, &mean, vec![1.0], vec![reader.float("epsilon", 1e-5)])?;
        let root = self.apply(name, &mean, Activation::Sqrt)?;
        let normed = self.pair(name, BinaryKind::Div, live, &root)?;
        self.combined(name, BinaryKind::Mul, &Value::Live(normed), scale)
    }
}
