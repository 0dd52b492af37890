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
        let live = self.live(reader, 0)?;
        let Some(axes) = self.reduced_axes(reader, live.view.rank())? else { return Ok(live) };
        let (before, behind) = match reader.op() {
            "ReduceL1" => (Activation::Abs, Activation::None),
            "ReduceL2" => (Activation::Square, Activation::Sqrt),
            "ReduceSumSquare" => (Activation::Square, Activation::None),
            "ReduceLogSum" => (Activation::None, Activation::Log),
            _ => (Activation::None, Activation::None),
        };
        let live = self.apply(reader.name(), &live, before)?;
        let live = self.reduced(reader.name(), &live, kind, &axes, reader.int("keepdims", 1) != 0)?;
        self.apply(reader.name(), &live, behind)
    }

    /// The axes that a node reduces; `None` if it changes nothing.
    pub(super) fn reduced_axes(&self, reader: &Reader<'a>, rank: usize) -> Result<Option<Vec<usize>>> {
        let listed = match self.optional_constant(reader, 1)? {
            Some(array) => Some(array.ints()),
            None => reader.ints("axes"),
        };
        match listed.filter(|list| !list.is_empty()) {
            Some(list) => axes(list, rank).map(Some),
            None if reader.int("noop_with_empty_axes", 0) != 0 => Ok(None),
            None => Ok(Some((0..rank).collect())),
        }
    }

    /// Sums, means, largest or smallest elements over axes.
    pub(super) fn reduced(
        &mut self,
        name: &str,
        live: &Live,
        kind: ReduceKind,
        axes: &[usize],
        keep: bool,
    ) -> Result<Live> {
        let (rank, dims) = (live.view.rank(), live.dims());
        let first = axes.iter().copied().min().unwrap_or(0);
        let end = first + axes.len();
        let in_a_row = (first..end).all(|a| axes.contains(&a));
        let over = |place: usize| axes.iter().any(|&a| a + 4 == place + rank);
        // Last axes that hold whole planes, or whole pictures, in whatever shape.
        let beneath = self.shape(live.id);
        let last = live.view.is_whole(beneath.elements()) && in_a_row && end == rank;
        let behind = if last { product(&dims[first..]) } else { 0 };
        let (x, over) = if behind == beneath.pixels() {
            (live.id, [false, true, true])
        } else if behind == beneath.c * beneath.pixels() {
            (live.id, [true; 3])
        } else if rank <= 4 && !(over(0) && dims[0] > 1) {
            (self.nchw(live)?.0, [over(1), over(2), over(3)])
        } else if in_a_row && first > 0 && end == rank {
            // The last axes become rows and columns.
            let area = product(&dims[first..end - 1]);
            let shape = Shape::new(1, product(&dims[..first]), area, dims[end - 1]).check("operand")?;
            (self.placed(live, shape)?, [false, true, true])
        } else if in_a_row {
            (self.placed(live, around(&dims, first..end)?)?, [true, false, false])
        } else {
            // The axes become the channels, all others pictures.
            let mut order: Vec<usize> = (0..rank).filter(|a| !axes.contains(a)).collect();
            let kept = order.len();
            order.extend(axes);
            let view = live.view.permuted(&order)?;
            let shape = around(&view.dims(), kept..rank)?;
            (self.placed(&Live::new(live.id, view), shape)?, [true, false, false])
        };
        let id = match over.contains(&true) {
            true => self.push(name, Reduce { kind, axes: over }, &[x])?,
            false => x,
        };
        let left = (0..rank).filter(|a| keep || !axes.contains(a));
        let left: Vec<usize> = left.map(|a| if axes.contains(&a) { 1 } else { dims[a] }).collect();
        Ok(Live::new(id, View::whole(&left)))
    }

    pub(super) fn softmax(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let live = self.live(reader, 0)?;
        self.along(reader, &live, reader.opset < 13, Self::softmax_along)
    }

    /// Applies a function along the axis that softmax operators name.
    pub(super) fn along(
        &mut self,
        reader: &Reader<'a>,
        live: &Live,
        old: bool,
        f: fn(&mut Self, &str, &Live, usize) -> Result<Live>,
    ) -> Result<Live> {
        let dims = live.dims();
        let along = axis(reader.int("axis", if old { 1 } else { -1 }), dims.len())?;
        // Before opset 13, this axis and all following ones were one.
        if old && dims[along + 1..].iter().any(|&d| d != 1) {
            let flat = [dims[..along].iter().product(), dims[along..].iter().product()];
            let joined = self.reshaped_live(live, &flat)?;
            let result = f(self, reader.name(), &joined, 1)?;
            return self.reshaped_live(&result, &dims);
        }
        f(self, reader.name(), live, along)
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

    /// `ArgMax` and `ArgMin`.
    pub(super) fn arg_max(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let mut live = self.live(reader, 0)?;
        let along = axis(reader.int("axis", 0), live.view.rank())?;
        if reader.op() == "ArgMin" {
            live = self.apply(reader.name(), &live, Activation::Neg)?;
        }
        // The last of equal ones is the first from behind.
        let (last, count) = (reader.int("select_last_index", 0) != 0, live.dims()[along]);
        if last {
            let turned = self.sliced(&Value::Live(live), along, count - 1, count, -1)?;
            live = self.as_live(&turned)?;
        }
        let (x, moved) = self.channels(&live, along)?;
        let id = self.push(reader.name(), ArgMax, &[x])?;
        let mut result = self.put_back(id, moved)?;
        if last {
            result = self.affine(reader.name(), &result, vec![-1.0], vec![(count - 1) as f32])?;
        }
        let result = Live { kind: Kind::Integer, ..result };
        if reader.int("keepdims", 1) != 0 {
            return Ok(result);
        }
        let mut left = result.dims();
        left.remove(along);
        self.reshaped_live(&result, &left)
    }

    pub(super) fn concat(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let parts =
            (0..reader.node.input.len()).map(|i| self.operand(reader, i)).collect::<Result<Vec<_>>>()?;
        let rank = parts.first().map_or(0, |part| part.dims().len());
        let along = axis(reader.int("axis", 1), rank)?;
        self.concat_of(reader, &parts, along)
    }

    /// Values joined along an axis. Parts of no elements add nothing.
    pub(in crate::import::onnx) fn concat_of(
        &mut self,
        reader: &Reader<'a>,
        parts: &[Value],
        along: usize,
    ) -> Result<Live> {
        let parts = parts.iter().filter(|part| !part.dims().contains(&0));
        let parts = parts.map(|part| self.as_live(part)).collect::<Result<Vec<_>>>()?;
        let first = match &parts[..] {
            [] => return Err(Error::shape("concat", "operands with elements", "none")),
            [only] => return Ok(only.clone()),
            [first, ..] => first,
        };
        let rank = first.view.rank();
        if let Some(part) = parts.iter().find(|part| part.view.rank() != rank) {
            return Err(Error::shape("concat", format!("{rank} axes"), format!("{:?}", part.dims())));
        }
        // A value beside itself, as PyTorch 0.4 doubles pixels, is a view.
        if parts.iter().all(|part| part == first) {
            let mut dims = first.dims();
            let mut split = [&dims[..along], &[1], &dims[along..]].concat();
            let one = self.reshaped_live(first, &split)?;
            split[along] = parts.len();
            dims[along] = dims[along].saturating_mul(parts.len());
            any_shape(&dims)?;
            let repeated = Live { view: one.view.expanded(&split)?, ..one };
            return self.reshaped_live(&repeated, &dims);
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
