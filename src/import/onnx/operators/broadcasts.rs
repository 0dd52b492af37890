//! Arithmetic on operands of more than four axes, as split attention and pixel shuffles write it. Neighbouring axes over
//! which both operands go on in the same way become one.

use super::*;

impl<'a> Builder<'a> {
    /// Arithmetic on operands that are broadcast to these more than four extents.
    pub(super) fn pair_of_many(
        &mut self,
        name: &str,
        kind: BinaryKind,
        a: &Live,
        b: &Live,
        dims: &[usize],
    ) -> Result<Live> {
        // The layout of a larger operand, where it is a plain value: then it need not move.
        for x in [a, b] {
            let s = self.shape(x.id);
            let (left, right) = (padded(&a.dims(), dims.len()), padded(&b.dims(), dims.len()));
            let sizes = [s.n, s.c, s.h, s.w];
            if x.dims() == dims
                && x.view.is_whole(s.elements())
                && let (Some(left), Some(right)) =
                    (grouped(dims, &left, &sizes), grouped(dims, &right, &sizes))
            {
                return self.merged(name, kind, [(a, &left), (b, &right)], dims);
            }
        }
        // Else as few axes as possible; where that is not enough, operands are spread out, the smaller one first.
        let mut spread = [a.clone(), b.clone()];
        let smaller = usize::from(b.view.elements() < a.view.elements());
        for place in [None, Some(smaller), Some(1 - smaller)] {
            if let Some(place) = place {
                let live = &spread[place];
                spread[place] = Live { view: live.view.expanded(dims)?, ..live.clone() };
            }
            let own = [0, 1].map(|i| padded(&spread[i].dims(), dims.len()));
            let sizes = alike(dims, &own[0], &own[1]);
            if sizes.len() > 4 {
                continue;
            }
            let merged = [0, 1].map(|i| grouped(dims, &own[i], &sizes));
            if let [Some(left), Some(right)] = merged {
                return self.merged(name, kind, [(&spread[0], &left), (&spread[1], &right)], dims);
            }
        }
        Err(Error::shape("operands", "at most 4 axes", format!("{dims:?}")))
    }

    /// A pointwise operator on any number of operands, all spread out to these more than four extents.
    pub(super) fn spread_out(
        &mut self,
        name: &str,
        op: impl Into<Op>,
        operands: &[&Live],
        dims: &[usize],
    ) -> Result<Live> {
        let Shape { n, c, h, w } = any_shape(dims)?;
        let mut ids = Vec::with_capacity(operands.len());
        for live in operands {
            let wide = Live { view: live.view.expanded(dims)?, ..(*live).clone() };
            let four = self.reshaped_live(&wide, &[n, c, h, w])?;
            ids.push(self.nchw(&four)?.0);
        }
        Ok(Live::new(self.push(name, op, &ids)?, View::whole(dims)))
    }

    fn merged(
        &mut self,
        name: &str,
        kind: BinaryKind,
        operands: [(&Live, &[usize]); 2],
        dims: &[usize],
    ) -> Result<Live> {
        let [a, b] = operands.map(|(live, dims)| self.reshaped_live(live, dims));
        let result = self.pair(name, kind, &a?, &b?)?;
        self.reshaped_live(&result, dims)
    }
}

/// Extents with ones in front, of that rank.
fn padded(dims: &[usize], rank: usize) -> Vec<usize> {
    [&vec![1; rank - dims.len()], dims].concat()
}

/// Extents of an operand when the axes of `dims` are joined to `sizes`: each is the size, or 1 where the operand is
/// broadcast. `None` if the axes do not join so, or the operand is broadcast over a part of a joined axis.
fn grouped(dims: &[usize], own: &[usize], sizes: &[usize]) -> Option<Vec<usize>> {
    let mut axes = dims.iter().zip(own).filter(|(dim, _)| **dim != 1);
    let mut out = Vec::with_capacity(sizes.len());
    for &size in sizes {
        let (mut joined, mut joined_own) = (1, 1);
        while joined < size {
            let (dim, own) = axes.next()?;
            joined = usize::checked_mul(joined, *dim)?;
            joined_own *= own;
        }
        if joined != size || (joined_own != size && joined_own != 1) {
            return None;
        }
        out.push(joined_own);
    }
    axes.next().is_none().then_some(out)
}

/// Sizes of as few axes as possible, over each of which both operands go on, or the same one is broadcast.
fn alike(dims: &[usize], a: &[usize], b: &[usize]) -> Vec<usize> {
    let mut sizes: Vec<usize> = Vec::new();
    let mut last = None;
    for ((&dim, &a), &b) in dims.iter().zip(a).zip(b).filter(|((dim, _), _)| **dim != 1) {
        let way = (a == dim, b == dim);
        match sizes.last_mut() {
            Some(size) if last == Some(way) => *size *= dim,
            _ => sizes.push(dim),
        }
        last = Some(way);
    }
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_join_where_both_operands_go_on_alike() {
        // Split attention: (1, 2, 4, 5, 6) with (1, 2, 4, 1, 1).
        let (dims, gate) = ([1, 2, 4, 5, 6], [1, 2, 4, 1, 1]);
        assert_eq!(alike(&dims, &dims, &gate), [8, 30]);
        assert_eq!(grouped(&dims, &gate, &[1, 8, 5, 6]), Some(vec![1, 8, 1, 1]));
        assert_eq!(grouped(&dims, &[1, 2, 1, 1, 1], &[1, 8, 5, 6]), None);
        // Every second axis is broadcast.
        assert_eq!(alike(&[2, 3, 4, 5, 6], &[2, 1, 4, 1, 6], &[2, 3, 4, 5, 6]), [2, 3, 4, 5, 6]);
    }
}
