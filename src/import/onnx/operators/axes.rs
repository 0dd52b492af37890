//! Reductions, softmax and concatenation along axes.

use super::*;

impl<'a> Builder<'a> {
    /// The value with an axis as its channels. Pictures that already have channels second stay as they are.
    pub(super) fn channels(&mut self, live: &Live, axis: usize) -> Result<(ValueId, Moved)> {
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
        let id = self.placed(&Live::new(live.id, view), shape.check("operand")?)?;
        Ok((id, Moved { dims, order, at: axis.min(1) }))
    }

    /// Moves the axes of a result back to their positions.
    pub(super) fn put_back(&self, id: ValueId, mut moved: Moved) -> Result<Live> {
        moved.dims[moved.at] = self.shape(id).c;
        Ok(Live::new(id, View::whole(&moved.dims).permuted(&inverse(&moved.order))?))
    }

    pub(super) fn global(&mut self, reader: &Reader<'a>, kind: ReduceKind) -> Result<Live> {
        let (x, _) = self.picture(reader, 0)?;
        self.computed(reader, Reduce { kind, axes: [false, true, true] }, x)
    }

    pub(super) fn reduce(&mut self, reader: &Reader<'a>, kind: ReduceKind) -> Result<Live> {
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
        let result = Live::new(id, View::whole(&left));
        match reader.op() {
            "ReduceL2" => self.apply(reader.name(), &result, Activation::Sqrt),
            _ => Ok(result),
        }
    }

    pub(super) fn softmax(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let live = self.live(reader, 0)?;
        let dims = live.dims();
        let old = reader.opset < 13;
        let along = axis(reader.int("axis", if old { 1 } else { -1 }), dims.len())?;
        // Before opset 13, this axis and all following ones were one.
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

    pub(super) fn softmax_along(&mut self, name: &str, live: &Live, along: usize) -> Result<Live> {
        let rank = live.view.rank();
        let place = along + 4_usize.saturating_sub(rank);
        if rank <= 4 && place > 0 && live.view.is_whole(self.shape(live.id).elements()) {
            let (x, _) = self.nchw(live)?;
            let axis = [Axis::C, Axis::H, Axis::W][place - 1];
            return Ok(Live::new(self.push(name, Softmax { axis }, &[x])?, View::whole(&live.dims())));
        }
        let (x, moved) = self.channels(live, along)?;
        let id = self.push(name, Softmax { axis: Axis::C }, &[x])?;
        self.put_back(id, moved)
    }

    pub(super) fn arg_max(&mut self, reader: &Reader<'a>) -> Result<Live> {
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

    pub(super) fn concat(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let parts = (0..reader.node.input.len()).map(|i| self.live(reader, i)).collect::<Result<Vec<_>>>()?;
        let first = parts.first().ok_or_else(|| Error::shape("concat", "operands", "none"))?;
        let rank = first.view.rank();
        let along = axis(reader.int("axis", 1), rank)?;
        if let Some(part) = parts.iter().find(|part| part.view.rank() != rank) {
            return Err(Error::shape("concat", format!("{rank} axes"), format!("{:?}", part.dims())));
        }
        // Any order of axes that all parts share will do. Use the order in which the first part is a plain value.
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
            let moved = Live::new(part.id, part.view.permuted(&order)?);
            ids.push(self.nchw(&moved)?.0);
        }
        let axis = [Axis::C, Axis::H, Axis::W][place - 1];
        let id = self.push(reader.name(), Concat { axis }, &ids)?;
        let dims: Vec<usize> = order.iter().map(|&a| first.dims()[a]).collect();
        self.reordered(id, &dims, &order)
    }

    /// A concatenation along any axis: extents before it become pictures, the axis becomes channels, and extents after
    /// it become rows and columns.
    pub(in crate::import::onnx) fn joined(
        &mut self,
        reader: &Reader<'a>,
        parts: &[Live],
        along: usize,
    ) -> Result<Live> {
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
        Ok(Live::new(self.push(reader.name(), Concat { axis: Axis::C }, &ids)?, View::whole(&dims)))
    }
}
