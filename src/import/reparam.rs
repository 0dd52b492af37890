//! Weights that PyTorch stores in parts, joined as its own code does: weight norm and spectral norm, in the names of
//! `torch.nn.utils` and of `torch.nn.utils.parametrizations`.

use super::tensors::Stored;
use std::collections::BTreeMap;

/// How a weight follows from its parts. The base is the tensor of the same shape.
#[derive(Debug, Clone)]
pub(super) enum Reparam {
    /// g * v / |v|, the length over all axes along which `g` has one element (Salimans and Kingma 2016).
    WeightNorm { g: Stored },
    /// W / (u . W v), with W as a matrix (Miyato et al. 2018).
    SpectralNorm { u: Stored, v: Stored },
}

/// The endings of the parts: base, second part, third part.
const WEIGHT_NORM: [[&str; 2]; 2] =
    [["weight_v", "weight_g"], ["parametrizations.weight.original1", "parametrizations.weight.original0"]];
const SPECTRAL_NORM: [[&str; 3]; 2] = [
    ["weight_orig", "weight_u", "weight_v"],
    ["parametrizations.weight.original", "parametrizations.weight.0._u", "parametrizations.weight.0._v"],
];

/// Replaces the parts of weights by the weights.
pub(super) fn join(tensors: &mut BTreeMap<String, Stored>) {
    let bases = |tensors: &BTreeMap<String, Stored>, ending: &str| -> Vec<String> {
        let is_part = |name: &str| name.is_empty() || name.ends_with('.');
        let modules = tensors.keys().filter_map(|name| name.strip_suffix(ending));
        modules.filter(|module| is_part(module)).map(String::from).collect()
    };
    // Spectral norm first: its vectors have names that weight norm uses for something else.
    for [base, u, v] in SPECTRAL_NORM {
        for module in bases(tensors, base) {
            let name = |part: &str| format!("{module}{part}");
            if tensors.contains_key(&name(u)) && tensors.contains_key(&name(v)) {
                let [Some(weight), Some(u), Some(v)] = [base, u, v].map(|part| tensors.remove(&name(part)))
                else {
                    continue;
                };
                let weight = Stored { reparam: Some(Box::new(Reparam::SpectralNorm { u, v })), ..weight };
                tensors.insert(name("weight"), weight);
            }
        }
    }
    for [base, g] in WEIGHT_NORM {
        for module in bases(tensors, base) {
            let name = |part: &str| format!("{module}{part}");
            if tensors.contains_key(&name(g)) {
                let [Some(weight), Some(g)] = [base, g].map(|part| tensors.remove(&name(part))) else {
                    continue;
                };
                let weight = Stored { reparam: Some(Box::new(Reparam::WeightNorm { g })), ..weight };
                tensors.insert(name("weight"), weight);
            }
        }
    }
}

/// The weight from `v`, of that shape, and `g`.
pub(super) fn weight_norm(v: &[f32], shape: &[usize], g: &[f32], g_shape: &[usize]) -> Option<Vec<f32>> {
    // The index of the element of g for each element of v.
    let fits = |(&own, &other): (&usize, &usize)| own == other || own == 1;
    if !(g_shape.is_empty() || g_shape.len() == shape.len() && g_shape.iter().zip(shape).all(fits))
        || g_shape.iter().product::<usize>() != g.len()
        || shape.iter().product::<usize>() != v.len()
    {
        return None;
    }
    let of = |mut element: usize| {
        let (mut place, mut step) = (0, 1);
        for axis in (0..g_shape.len()).rev() {
            let index = element % shape[axis];
            element /= shape[axis];
            if g_shape[axis] > 1 {
                place += index * step;
                step *= g_shape[axis];
            }
        }
        place
    };
    let mut squares = vec![0f64; g.len()];
    v.iter().enumerate().for_each(|(i, &v)| squares[of(i)] += f64::from(v) * f64::from(v));
    let scale: Vec<f64> = squares.iter().zip(g).map(|(square, &g)| f64::from(g) / square.sqrt()).collect();
    Some(v.iter().enumerate().map(|(i, &v)| (f64::from(v) * scale[of(i)]) as f32).collect())
}

/// The weight from `w`, of that shape, and the two vectors.
///
/// The matrix has the outputs as rows: the first axis or, for transposed convolutions, the second. Where the lengths
/// fit both, the one in which the vectors are singular vectors counts: there the product is larger.
pub(super) fn spectral_norm(w: &[f32], shape: &[usize], u: &[f32], v: &[f32]) -> Option<Vec<f32>> {
    let sigma = |axis: usize| {
        let rows = *shape.get(axis)?;
        if u.len() != rows || rows.checked_mul(v.len())? != w.len() {
            return None;
        }
        let inner: usize = shape[axis + 1..].iter().product();
        let sum = w.iter().enumerate().map(|(i, &w)| {
            let (outer, row, place) = (i / inner / rows, i / inner % rows, i % inner);
            f64::from(w) * f64::from(u[row]) * f64::from(v[outer * inner + place])
        });
        Some(sum.sum::<f64>())
    };
    let sigma = [sigma(0), sigma(1)].into_iter().flatten().max_by(f64::total_cmp)?;
    Some(w.iter().map(|&w| (f64::from(w) / sigma) as f32).collect())
}
