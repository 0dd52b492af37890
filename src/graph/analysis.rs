//! Properties of a graph that follow without running it.

use super::{Graph, Op, Resize, ResizeTo, encoders};
use crate::tensor::Shape;

/// Largest denominator of a factor between sizes, such as 8/5.
const DENOMINATOR: usize = 16;

/// The fraction in lowest terms that a factor is, up to the rounding of f32; or one over a factor, if it is below 1.
/// `None` for other numbers, such as ratios of odd sizes.
pub(crate) fn fraction(factor: f64) -> Option<[usize; 2]> {
    if factor < 1.0 {
        let [p, q] = fraction(Some(factor.recip()).filter(|f| f.is_finite() && *f > 1.0)?)?;
        return Some([q, p]);
    }
    let near = |q: &usize| {
        let p = (factor * *q as f64).round();
        (p / *q as f64 - factor).abs() <= factor * f64::from(f32::EPSILON)
    };
    (1..=DENOMINATOR).find(near).map(|q| [(factor * q as f64).round() as usize, q])
}

/// Whether a side of a result is a side of a picture times a factor, rounded up or down.
pub(crate) fn scales(y: usize, x: usize, factor: f64) -> bool {
    let exact = x as f64 * factor;
    y as f64 == exact.floor() || y as f64 == exact.ceil()
}

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
        let mut shapes = self.kernels();
        shapes.sort_unstable();
        // FNV-1a, which does not change with the standard library.
        let bytes = shapes.iter().flatten().flat_map(|&extent| (extent as u64).to_le_bytes());
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    }

    /// The shapes of all kernels.
    fn kernels(&self) -> Vec<[usize; 4]> {
        let kernel = |op: &Op| match op {
            Op::Conv(conv) => Some(conv.weight.shape()),
            Op::ConvTranspose(conv) => Some(conv.weight.shape()),
            _ => None,
        };
        let shapes = self.nodes.iter().filter_map(|node| kernel(&node.op));
        shapes.map(|s| [s.n, s.c, s.h, s.w]).collect()
    }

    /// The encoder of the network, if it is one that many networks share and no layer before it shifts the picture.
    pub(crate) fn encoder(&self) -> Option<&'static str> {
        let mut moved = vec![Graph::INPUT];
        for node in &self.nodes {
            match node.op {
                _ if !node.inputs.first().is_some_and(|x| moved.contains(x)) => {}
                Op::BatchNorm(_) => return None,
                Op::Pad(_) | Op::Rearrange(_) | Op::Resize(_) => moved.extend(&node.outputs),
                _ => {}
            }
        }
        encoders::named(&self.kernels())
    }

    /// Input pixels on each axis that can affect one output pixel; `None` if all can, or more than any picture has.
    pub fn receptive_field(&self) -> Option<usize> {
        // The longest side of a picture that is worth a bound.
        const MOST: f64 = (1 << 20) as f64;
        let field = self.fields()?[self.output().0].0.ceil();
        (field <= MOST).then_some(field as usize)
    }

    /// The least number of input pixels that is a whole number of pixels of every value, and the distance in input
    /// pixels between neighbours of the result. Sides that are multiples of the first stay whole through all halvings.
    /// If the second is 1, the result has the input's size.
    pub fn stride(&self) -> Option<(usize, f64)> {
        let fields = self.fields()?;
        let mut stride = 1;
        for (_, step) in &fields {
            let [pixels, _] = fraction(*step)?;
            stride = common_multiple(stride, pixels)?;
        }
        Some((stride, fields[self.output().0].1))
    }

    /// For each value, by how much it is larger than a picture of that shape, as its operators tell: a convolution
    /// without padding takes away a border and does not change it. One factor for rows and columns. `None` where it does
    /// not depend on the picture, or mixes pixels.
    pub(crate) fn growths(&self, shapes: &[Option<Shape>]) -> Vec<Option<f64>> {
        let mut growths = vec![None; self.names.len()];
        growths[Graph::INPUT.0] = Some(1.0);
        let Some(picture) = shapes[Graph::INPUT.0] else { return growths };
        for node in &self.nodes {
            let Some(y) = shapes[node.outputs[0].0] else { continue };
            let given = node.inputs.iter().filter_map(|id| Some((growths[id.0]?, shapes[id.0]?)));
            let given: Vec<(f64, Shape)> = given.collect();
            let alike = given.iter().find(|(_, x)| [x.h, x.w] == [y.h, y.w]);
            let Some(&(growth, x)) = alike.or(given.first()) else { continue };
            let factor = match &node.op {
                Op::Resize(resize) => resized(resize, growth, [picture, x, y]),
                Op::Norm(_) | Op::Softmax(_) => Some(growth),
                op => op.rules().reach().map(|reach| growth / reach.step),
            };
            node.outputs.iter().enumerate().for_each(|(place, id)| {
                // The second output is a pooled half.
                growths[id.0] = factor.map(|factor| factor / (1 << place.min(1)) as f64);
            });
        }
        growths
    }
}

/// The growth of a map that is resampled from one of that growth.
fn resized(resize: &Resize, growth: f64, [picture, x, y]: [Shape; 3]) -> Option<f64> {
    let covers = |s: Shape, growth: f64| scales(s.h, picture.h, growth) && scales(s.w, picture.w, growth);
    match resize.to {
        ResizeTo::Scale([h, w]) => (h == w).then(|| fraction(f64::from(h))).flatten(),
        // A map of the whole picture stays one, whatever was rounded on the way.
        ResizeTo::Size(_) | ResizeTo::Like if covers(x, growth) => {
            let own = [y.h as f64 / picture.h as f64, y.w as f64 / picture.w as f64].map(fraction);
            let own = own.into_iter().flatten().find(|[p, q]| covers(y, *p as f64 / *q as f64));
            return own.map(|[p, q]| p as f64 / q as f64);
        }
        ResizeTo::Size(_) | ResizeTo::Like => fraction(y.h as f64 / x.h as f64),
    }
    .map(|[p, q]| growth * p as f64 / q as f64)
}

/// The least common multiple; `None` for one that no picture has as its side.
fn common_multiple(a: usize, b: usize) -> Option<usize> {
    let (mut x, mut y) = (a, b);
    while y > 0 {
        (x, y) = (y, x % y);
    }
    (a / x.max(1)).checked_mul(b).filter(|&multiple| multiple > 0)
}
