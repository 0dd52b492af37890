//! Arithmetic and pointwise functions.

use super::*;

impl<'a> Builder<'a> {
    /// Applies a function to every element; the order of elements does not matter.
    pub(super) fn activate(&mut self, reader: &Reader<'a>, activation: Activation) -> Result<Live> {
        let live = self.live(reader, 0)?;
        self.apply(reader.name(), &live, activation)
    }

    pub(super) fn apply(&mut self, name: &str, live: &Live, op: impl Into<Op>) -> Result<Live> {
        let op = op.into();
        if matches!(op, Op::Activation(Activation::None)) {
            return Ok(live.clone());
        }
        // A view of a part. If it has less than half of the elements, they are moved out first.
        let whole = self.shape(live.id).elements();
        if matches!(op, Op::Activation(_)) && live.view.elements() < whole / 2 && live.view.rank() <= 4 {
            let (id, _) = self.nchw(live)?;
            return Ok(Live::new(self.push(name, op, &[id])?, View::whole(&live.dims())));
        }
        Ok(Live::new(self.push(name, op, &[live.id])?, live.view.clone()))
    }

    /// `x * scale + shift` with one number, or one for each channel of the underlying value.
    pub(super) fn affine(
        &mut self,
        name: &str,
        live: &Live,
        scale: Vec<f32>,
        shift: Vec<f32>,
    ) -> Result<Live> {
        let channels = self.shape(live.id).c;
        let each = |values: Vec<f32>| -> Arc<[f32]> {
            if values.len() == 1 { vec![values[0]; channels].into() } else { values.into() }
        };
        if scale.iter().chain(&shift).any(|v| !v.is_finite()) {
            return Err(Error::shape("constant", "finite numbers", "an infinity"));
        }
        if scale.iter().all(|&v| v == 1.0) && shift.iter().all(|&v| v == 0.0) {
            return Ok(live.clone());
        }
        self.apply(
            name,
            live,
            BatchNorm { scale: each(scale), shift: each(shift), activation: Activation::None },
        )
    }

    /// A constant operand as numbers for the channels of the value beneath a view: one, or one for each channel. `None`
    /// if it varies along other axes.
    pub(super) fn along_channels(&self, live: &Live, array: &Array) -> Option<Vec<f32>> {
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
        // With several pictures, the batch must be an axis of its own; the view may have joined it with another.
        is_channel.then(|| values.into_owned())
    }

    pub(super) fn arithmetic(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let (a, b) = (self.operand(reader, 0)?, self.operand(reader, 1)?);
        let whole = [&a, &b].iter().any(|x| x.live().is_some_and(|live| live.kind.is_whole()));
        let kind = match reader.op() {
            "Add" => BinaryKind::Add,
            "Sub" => BinaryKind::Sub,
            "Mul" => BinaryKind::Mul,
            "Div" if whole => BinaryKind::Quotient,
            "Div" => BinaryKind::Div,
            _ => BinaryKind::Pow,
        };
        self.combined(reader.name(), kind, &a, &b)
    }

    /// Arithmetic on two operands. A constant for each channel becomes a part of a cheaper operator.
    pub(super) fn combined(&mut self, name: &str, kind: BinaryKind, a: &Value, b: &Value) -> Result<Live> {
        let mixed = match (a, b) {
            (Value::Live(live), Value::Constant(array)) => Some((live, array, false)),
            (Value::Constant(array), Value::Live(live)) => Some((live, array, true)),
            _ => None,
        };
        if let Some((live, array, swapped)) = mixed
            && broadcast(&[&live.dims(), &array.dims])? == live.dims()
            && let Some(values) = self.along_channels(live, array)
        {
            let map = |f: fn(f32) -> f32| values.iter().map(|&v| f(v)).collect::<Vec<_>>();
            let (zero, one) = (vec![0.0; values.len()], vec![1.0; values.len()]);
            match (kind, swapped) {
                (BinaryKind::Add, _) => return self.affine(name, live, one, values),
                (BinaryKind::Sub, false) => return self.affine(name, live, one, map(|v| -v)),
                (BinaryKind::Sub, true) => return self.affine(name, live, map(|_| -1.0), values),
                (BinaryKind::Mul, _) => return self.affine(name, live, values, zero),
                (BinaryKind::Div, false) => return self.affine(name, live, map(|v| 1.0 / v), zero),
                (BinaryKind::Div, true) => {
                    let inverse = self.apply(name, live, Activation::Reciprocal)?;
                    return self.affine(name, &inverse, values, zero);
                }
                (BinaryKind::Pow, false) if values.len() == 1 => {
                    return self.apply(name, live, Activation::power(values[0]));
                }
                _ => {}
            }
        }
        let (a, b) = (self.as_live(a)?, self.as_live(b)?);
        self.pair(name, kind, &a, &b)
    }

    /// Remainders.
    pub(super) fn modulo(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let kind = if reader.int("fmod", 0) != 0 { BinaryKind::Remainder } else { BinaryKind::Modulo };
        let (a, b) = (self.live(reader, 0)?, self.live(reader, 1)?);
        self.pair(reader.name(), kind, &a, &b)
    }

    pub(super) fn pair(&mut self, name: &str, kind: BinaryKind, a: &Live, b: &Live) -> Result<Live> {
        let dims = broadcast(&[&a.dims(), &b.dims()])?;
        match self.together(name, Binary::new(kind), &[a, b])? {
            Some(result) => Ok(result),
            None => self.pair_of_many(name, kind, a, b, &dims),
        }
    }

    /// A pointwise operator on several operands, broadcast to each other; `None` if these need more than four axes.
    fn together(&mut self, name: &str, op: impl Into<Op>, operands: &[&Live]) -> Result<Option<Live>> {
        let first = operands[0];
        if operands.iter().all(|x| x.view == first.view && self.shape(x.id) == self.shape(first.id)) {
            let ids: Vec<ValueId> = operands.iter().map(|x| x.id).collect();
            return Ok(Some(Live::new(self.push(name, op, &ids)?, first.view.clone())));
        }
        let all: Vec<Vec<usize>> = operands.iter().map(|x| x.dims()).collect();
        let dims = broadcast(&all.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
        // All operands in the layout of the largest one, if that is a plain value: then nothing moves.
        for x in operands {
            if x.dims() != dims || x.view.elements() != self.shape(x.id).elements() {
                continue;
            }
            let own = |y: &&Live| if *y == *x { Ok(Some(x.id)) } else { self.beneath(x, y) };
            if let Some(ids) = operands.iter().map(own).collect::<Result<Option<Vec<_>>>>()? {
                return Ok(Some(Live::new(self.push(name, op, &ids)?, x.view.clone())));
            }
        }
        if dims.len() > 4 {
            return Ok(None);
        }
        let ids = operands.iter().map(|x| Ok(self.nchw(x)?.0)).collect::<Result<Vec<_>>>()?;
        Ok(Some(Live::new(self.push(name, op, &ids)?, View::whole(&dims))))
    }

    /// Comparisons, and the logic of truths, which are 0 and 1.
    pub(super) fn comparison(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let (a, b) = (self.live(reader, 0)?, self.live(reader, 1)?);
        let (kind, [a, b]) = match reader.op() {
            "Less" => (BinaryKind::Less, [a, b]),
            "LessOrEqual" => (BinaryKind::LessOrEqual, [a, b]),
            "Greater" => (BinaryKind::Less, [b, a]),
            "GreaterOrEqual" => (BinaryKind::LessOrEqual, [b, a]),
            "And" => (BinaryKind::Mul, [a, b]),
            "Or" => (BinaryKind::Max, [a, b]),
            _ => (BinaryKind::Equal, [a, b]),
        };
        let result = self.pair(reader.name(), kind, &a, &b)?;
        match reader.op() {
            "Xor" => self.inverted(reader.name(), &result),
            _ => Ok(Live { kind: Kind::Bool, ..result }),
        }
    }

    pub(super) fn not(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let live = self.live(reader, 0)?;
        self.inverted(reader.name(), &live)
    }

    fn inverted(&mut self, name: &str, truth: &Live) -> Result<Live> {
        Ok(Live { kind: Kind::Bool, ..self.affine(name, truth, vec![-1.0], vec![1.0])? })
    }

    pub(super) fn is_infinite(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let live = self.live(reader, 0)?;
        let functions = match ["detect_negative", "detect_positive"].map(|name| reader.int(name, 1) != 0) {
            [true, true] => &[][..],
            [true, false] => &[Activation::Neg, Activation::Relu],
            [false, true] => &[Activation::Relu],
            [false, false] => return Err(reader.unsupported("it looks for no infinity")),
        };
        let side =
            functions.iter().try_fold(live, |live, &function| self.apply(reader.name(), &live, function))?;
        Ok(Live { kind: Kind::Bool, ..self.apply(reader.name(), &side, Activation::IsInfinite)? })
    }

    pub(super) fn choice(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let [condition, a, b] = [self.live(reader, 0)?, self.live(reader, 1)?, self.live(reader, 2)?];
        let kind = match self.operand(reader, 1)? {
            Value::Live(live) => live.kind,
            Value::Constant(array) => array.kind,
        };
        let operands = [&condition, &a, &b];
        let result = match self.together(reader.name(), Pointwise::select(), &operands)? {
            Some(result) => result,
            None => {
                let dims = broadcast(&[&condition.dims(), &a.dims(), &b.dims()])?;
                self.spread_out(reader.name(), Pointwise::select(), &operands, &dims)?
            }
        };
        Ok(Live { kind, ..result })
    }

    /// A value as another type: numbers lose their fractions, and as truths they are 1 unless they are 0.
    pub(in crate::import::onnx) fn converted(&mut self, name: &str, live: &Live, kind: Kind) -> Result<Live> {
        let result = match (live.kind, kind) {
            (Kind::Float, kind) if kind.is_whole() => self.apply(name, live, Activation::Trunc)?,
            (from, Kind::Bool) if from != Kind::Bool => {
                let zero = self.constant_node(&Array::scalar(Kind::Float, 0.0))?;
                let is_zero = self.pair(name, BinaryKind::Equal, live, &zero)?;
                self.inverted(name, &is_zero)?
            }
            _ => live.clone(),
        };
        Ok(Live { kind, ..result })
    }

    /// An operand in the layout of the value beneath `x`. `None` unless its axes are those of `x` or 1, and each is an
    /// axis of that value, or 1 where `x` joins several of them.
    pub(super) fn beneath(&mut self, x: &Live, y: &Live) -> Result<Option<ValueId>> {
        let s = self.shape(x.id);
        let strides = [s.c * s.pixels(), s.pixels(), s.w, 1];
        let extents = [s.n, s.c, s.h, s.w];
        let dims = x.dims();
        let own = y.dims();
        let missing = dims.len() - own.len();
        // For each axis of the value beneath, the corresponding axis of `x`.
        let mut from = [None; 4];
        let mut joined = [false; 4];
        for (axis, &dim) in dims.iter().enumerate() {
            if dim == 1 {
                continue;
            }
            let Some(stride) = x.view.stride(axis) else { return Ok(None) };
            let ends_here = |end: usize| strides[end] as isize == stride;
            let place = (0..4).find(|&i| extents[i] == dim && ends_here(i));
            let spread = axis < missing || own[axis - missing] == 1;
            match place {
                Some(place) if from[place].is_none() => from[place] = Some(axis),
                None if spread => {
                    let mut runs = (0..4).flat_map(|start| (start..4).map(move |end| start..end + 1));
                    let fits = |run: &std::ops::Range<usize>| {
                        product(&extents[run.clone()]) == dim && ends_here(run.end - 1)
                    };
                    match runs.find(fits) {
                        Some(run) => joined[run].fill(true),
                        None => return Ok(None),
                    }
                }
                _ => return Ok(None),
            }
        }
        if (0..4).any(|i| extents[i] != 1 && from[i].is_none() != joined[i]) {
            return Ok(None);
        }
        // `y` with its axes in that order; absent ones are 1.
        let mut order: Vec<usize> =
            from.iter().flatten().filter(|&&a| a >= missing).map(|a| a - missing).collect();
        order.extend((0..own.len()).filter(|a| !from.iter().flatten().any(|&f| f == a + missing)));
        let extent = |i: usize| from[i].filter(|&a| a >= missing).map_or(1, |a| own[a - missing]);
        let shape = Shape::new(extent(0), extent(1), extent(2), extent(3));
        let view = y.view.permuted(&order)?;
        if view.elements() != shape.elements() {
            return Ok(None);
        }
        self.placed(&Live::new(y.id, view), shape).map(Some)
    }

    /// `Sum`, `Mean`, `Min` and `Max` of any number of operands.
    pub(super) fn variadic(&mut self, reader: &Reader<'a>) -> Result<Live> {
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

    pub(super) fn prelu(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let (live, slope) = (self.live(reader, 0)?, self.constant(reader, 1)?);
        match self.along_channels(&live, &slope) {
            Some(values) if values.len() == 1 => {
                self.apply(reader.name(), &live, Activation::LeakyRelu(values[0]))
            }
            Some(values) => self.apply(reader.name(), &live, PRelu { slope: values.into() }),
            // A slope for each element: negative values times the slope, plus positive values.
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
}
