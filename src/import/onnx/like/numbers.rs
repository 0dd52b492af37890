//! Numbers of a state dict as an export has them.

/// Epsilons of batch norm; the first counts where the export does not tell.
const EPSILONS: [f64; 4] = [1e-5, 1e-3, 1e-4, 1e-6];

/// A matrix with its axes swapped; `dims` are those of the result.
pub(super) fn transposed(matrix: &[f32], dims: &[usize]) -> Vec<f32> {
    let [rows, columns] = dims[..] else { return matrix.to_vec() };
    (0..rows * columns).map(|i| matrix[i % columns * rows + i / columns]).collect()
}

/// Joins a batch norm with the convolution before it. The epsilon is the one by which the old weights are the result,
/// if there is one.
pub(super) fn join(
    weight: &mut [f32],
    bias: &mut [f32],
    dims: &[usize],
    axis: usize,
    norm: &[Vec<f32>],
    old: &[f32],
) {
    let inner: usize = dims[axis + 1..].iter().product();
    let channel = |i: usize| i / inner % dims[axis];
    let scale = |eps: f64| -> Vec<f64> {
        norm[0].iter().zip(&norm[3]).map(|(&g, &var)| f64::from(g) / (f64::from(var) + eps).sqrt()).collect()
    };
    let size = old.iter().fold(0f32, |most, v| most.max(v.abs()));
    let is_old = |eps: &f64| {
        let scale = scale(*eps);
        let close = |(i, &w): (usize, &f32)| {
            scale
                .get(channel(i))
                .is_some_and(|s| (f64::from(w) * s - f64::from(old[i])).abs() <= f64::from(size) * 1e-6)
        };
        weight.iter().enumerate().all(close)
    };
    let scale = scale(EPSILONS.into_iter().find(is_old).unwrap_or(EPSILONS[0]));
    for (i, w) in weight.iter_mut().enumerate() {
        *w = (f64::from(*w) * scale[channel(i)]) as f32;
    }
    for (c, b) in bias.iter_mut().enumerate() {
        *b = ((f64::from(*b) - f64::from(norm[2][c])) * scale[c] + f64::from(norm[1][c])) as f32;
    }
}
