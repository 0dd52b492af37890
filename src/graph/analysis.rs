//! Properties of a graph that follow without running it.

use super::{Graph, Op};

impl Graph {
    /// For each value: the input pixels that one of its pixels sees, and the distance of neighbours in input pixels.
    /// `None` if a pixel sees the whole input.
    ///
    /// Follows the widest path. Each operator adds `(extent - 1)` times the distance between its input pixels.
    fn fields(&self) -> Option<Vec<(f64, f64)>> {
        let mut fields = vec![(1.0_f64, 1.0_f64); self.names.len()];
        for node in &self.nodes {
            let reach = node.op.rules().reach()?;
            let widest = node
                .inputs
                .iter()
                .map(|id| fields[id.0])
                .fold((1.0_f64, 0.0_f64), |a, b| (a.0.max(b.0), a.1.max(b.1)));
            let seen = widest.0 + reach.extent.saturating_sub(1) as f64 * widest.1;
            let step = widest.1 * reach.step;
            fields[node.outputs[0].0] = (seen, step);
            if let Some(pooled) = node.outputs.get(1) {
                fields[pooled.0] = (seen + step, 2.0 * step);
            }
        }
        Some(fields)
    }

    /// A number for the shapes of all kernels, whatever their order, weights and names. Exports of one network agree,
    /// with folded batch norms or not.
    pub(crate) fn fingerprint(&self) -> u64 {
        let kernel = |op: &Op| match op {
            Op::Conv(conv) => Some(conv.weight.shape()),
            Op::ConvTranspose(conv) => Some(conv.weight.shape()),
            _ => None,
        };
        let shapes = self.nodes.iter().filter_map(|node| kernel(&node.op));
        let mut shapes: Vec<[usize; 4]> = shapes.map(|s| [s.n, s.c, s.h, s.w]).collect();
        shapes.sort_unstable();
        // FNV-1a, which does not change with the standard library.
        let bytes = shapes.iter().flatten().flat_map(|&extent| (extent as u64).to_le_bytes());
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    }

    /// Input pixels on each axis that can affect one output pixel; `None` if all can, or more than any picture has.
    pub fn receptive_field(&self) -> Option<usize> {
        // The longest side of a picture that is worth a bound.
        const MOST: f64 = (1 << 20) as f64;
        let field = self.fields()?[self.output().0].0.ceil();
        (field <= MOST).then_some(field as usize)
    }

    /// The largest distance in input pixels between neighbours of any value, and that of the result. Sides that are
    /// multiples of the first stay whole through all halvings. If the second is 1, the result has the input's size.
    pub fn stride(&self) -> Option<(usize, f64)> {
        let fields = self.fields()?;
        let largest = fields.iter().fold(1.0_f64, |largest, field| largest.max(field.1));
        (largest.fract() == 0.0).then_some((largest as usize, fields[self.output().0].1))
    }
}
