//! The noise of training: betas by rule, and the signal that they leave. Numbers are rounded to f32 where diffusers
//! rounds them.

/// Rules for the betas of training.
#[derive(Clone, Copy)]
pub(super) enum Betas {
    Linear,
    Scaled,
    Cosine,
    Sigmoid,
    Laplace,
    Exp,
}

impl Betas {
    /// The betas of `train` timesteps.
    pub(super) fn values(self, first: f64, last: f64, train: usize) -> Vec<f32> {
        match self {
            Betas::Linear => linspace(first, last, train),
            Betas::Scaled => {
                linspace(first.sqrt(), last.sqrt(), train).into_iter().map(|root| root * root).collect()
            }
            Betas::Sigmoid => {
                let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
                let range = (last - first) as f32;
                linspace(-6.0, 6.0, train).into_iter().map(|x| sigmoid(x) * range + first as f32).collect()
            }
            Betas::Cosine => {
                capped(train, |t| ((t + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2).cos().powi(2))
            }
            Betas::Exp => capped(train, |t| (-12.0 * t).exp()),
            Betas::Laplace => capped(train, |t| {
                let centre = 0.5 - t;
                let snr = (-0.5 * 1f64.copysign(centre) * (1.0 - 2.0 * centre.abs() + 1e-6).ln()).exp();
                (snr / (1.0 + snr)).sqrt()
            }),
        }
    }
}

/// `torch.linspace` in f32, which counts from both ends.
fn linspace(first: f64, last: f64, count: usize) -> Vec<f32> {
    let (first, last) = (first as f32, last as f32);
    let step = (last - first) / count.saturating_sub(1).max(1) as f32;
    let value = |i: usize| match i < count / 2 {
        true => first + step * i as f32,
        false => last - step * (count - 1 - i) as f32,
    };
    match count {
        1 => vec![first],
        _ => (0..count).map(value).collect(),
    }
}

/// The betas that make a signal of time, 0 to 1, at most 0.999.
fn capped(count: usize, signal: impl Fn(f64) -> f64) -> Vec<f32> {
    let at = |i: usize| signal(i as f64 / count as f64);
    (0..count).map(|i| (1.0 - at(i + 1) / at(i)).min(0.999) as f32).collect()
}

/// The running products of `1 - beta`: summed up in f64 and stored in f32, as PyTorch does it.
pub(super) fn products(betas: &[f32]) -> Vec<f32> {
    let mut product = 1.0f64;
    let next = |beta: &f32| {
        product *= f64::from(1.0 - beta);
        product as f32
    };
    betas.iter().map(next).collect()
}

/// Betas that leave no signal at the last timestep (Lin et al. 2023, algorithm 1).
pub(super) fn zero_terminal(betas: &[f32]) -> Vec<f32> {
    let roots: Vec<f32> = products(betas).into_iter().map(f32::sqrt).collect();
    let [first, last] = [roots[0], roots[roots.len() - 1]];
    let factor = first / (first - last);
    let signal: Vec<f32> = roots.iter().map(|root| ((root - last) * factor).powi(2)).collect();
    let before = std::iter::once(1.0).chain(signal.iter().copied());
    signal.iter().zip(before).map(|(now, before)| 1.0 - now / before).collect()
}
