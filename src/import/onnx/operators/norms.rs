//! Norms.

use super::*;

impl<'a> Builder<'a> {
    pub(super) fn batch_norm(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let live = self.live(reader, 0)?;
        if reader.int("training_mode", 0) != 0 {
            return self.own_statistics(reader, &live);
        }
        let [gamma, beta, mean, var] = [1, 2, 3, 4].map(|i| self.constant(reader, i));
        let eps = f64::from(reader.float("epsilon", 1e-5));
        let norm = BatchNorm::new(&gamma?.floats(), &beta?.floats(), &mean?.floats(), &var?.floats(), eps)?;
        let (x, moved) = self.channels(&live, 1.min(live.view.rank().saturating_sub(1)))?;
        let id = self.push(reader.name(), norm, &[x])?;
        self.put_back(id, moved)
    }

    /// A batch norm in training mode: each channel by the mean and variance that it has in all pictures.
    fn own_statistics(&mut self, reader: &Reader<'a>, live: &Live) -> Result<Live> {
        if live.view.rank() < 2 {
            return Err(Error::shape("operand 0", "at least 2 axes", format!("{:?}", live.dims())));
        }
        let mut order: Vec<usize> = (0..live.view.rank()).collect();
        order.swap(0, 1);
        let view = live.view.permuted(&order)?;
        let dims = view.dims();
        let shape = Shape::new(1, dims[0], dims[1], product(&dims[2..])).check("operand 0")?;
        let x = self.placed(&Live::new(live.id, view), shape)?;
        let vector = |array: Array| array.per_channel(shape.c);
        let norm = Norm {
            scale: Some(vector(self.constant(reader, 1)?)?),
            shift: Some(vector(self.constant(reader, 2)?)?),
            ..Norm::new(NormOver::Groups(shape.c), reader.float("epsilon", 1e-5))
        };
        let id = self.push(reader.name(), norm, &[x])?;
        Ok(Live::new(id, View::whole(&dims).permuted(&order)?))
    }

    /// Instance and group norm. Exporters write group norm as instance norm after a reshape that joins channels to
    /// groups; here it becomes a group norm of the original value.
    pub(super) fn group_norm(&mut self, reader: &Reader<'a>) -> Result<Live> {
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
        Ok(Live::new(self.push(reader.name(), norm, &[x])?, view))
    }

    pub(super) fn layer_norm(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let live = self.live(reader, 0)?;
        let first = axis(reader.int("axis", -1), live.view.rank())?;
        let (scale, shift) = (self.constant(reader, 1)?, self.optional_constant(reader, 2)?);
        self.layer_norm_of(reader, &live, &scale, shift.as_ref(), first)
    }

    /// A layer norm over the axes from `first` on.
    pub(super) fn layer_norm_of(
        &mut self,
        reader: &Reader<'a>,
        live: &Live,
        scale: &Array,
        shift: Option<&Array>,
        first: usize,
    ) -> Result<Live> {
        let rank = live.view.rank();
        if first != rank - 1 {
            // All axes from this one on form one group of channels.
            let dims = live.dims();
            let s = around(&dims, first..rank)?;
            let x = self.placed(live, s)?;
            let scale = scale.per_channel(s.c)?;
            let shift = shift.map(|b| b.per_channel(s.c)).transpose()?;
            let norm = Norm {
                scale: Some(scale),
                shift,
                ..Norm::new(NormOver::Groups(1), reader.float("epsilon", 1e-5))
            };
            return Ok(Live::new(self.push(reader.name(), norm, &[x])?, View::whole(&dims)));
        }
        let extent = live.dims()[rank - 1];
        let scale = scale.per_channel(extent)?;
        let shift = shift.map(|b| b.per_channel(extent)).transpose()?;
        let eps = reader.float("epsilon", 1e-5);
        let (x, moved) = self.channels(live, rank - 1)?;
        let norm = Norm { scale: Some(scale), shift, ..Norm::new(NormOver::Channels, eps) };
        let id = self.push(reader.name(), norm, &[x])?;
        self.put_back(id, moved)
    }
}
