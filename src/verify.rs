//! Compares every layer of a network on a device with the CPU reference.

use crate::cpu::Runner;
use crate::error::Result;
use crate::model::Model;
use crate::plan::Precision;
use crate::session::{Device, Session, SessionOptions};
use crate::tensor::{Shape, Tensor};

/// The comparison of one value.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LayerCheck {
    /// Name of the layer.
    pub name: String,
    /// Name of its operator.
    pub op: &'static str,
    /// Shape of its value.
    pub shape: Shape,
    /// Largest absolute difference.
    pub max_abs: f64,
    /// Root mean square of the difference divided by that of the reference.
    pub nrmse: f64,
    /// Whether the difference is within tolerance.
    pub pass: bool,
}

/// The difference between a result and its reference.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Difference {
    /// Largest absolute difference; infinite if a side is not finite.
    pub max_abs: f64,
    /// Root mean square of the difference divided by that of the reference.
    pub nrmse: f64,
    /// Largest minus smallest value of the reference.
    pub range: f64,
}

impl Difference {
    /// Compares two tensors of the same shape.
    pub fn of(got: &Tensor, reference: &Tensor) -> Difference {
        let (mut max_abs, mut squares, mut norm) = (0.0f64, 0.0f64, 0.0f64);
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for (&g, &r) in got.data().iter().zip(reference.data()) {
            let (g, r) = (f64::from(g), f64::from(r));
            let d = match (g - r).is_finite() {
                true => (g - r).abs(),
                // Infinities that are in both, such as padding before a max pool.
                false if g == r => 0.0,
                false => f64::INFINITY,
            };
            max_abs = max_abs.max(d);
            squares += d * d;
            if r.is_finite() {
                norm += r * r;
            }
            (low, high) = (low.min(r), high.max(r));
        }
        let nrmse = if squares == 0.0 { 0.0 } else { (squares / norm.max(f64::MIN_POSITIVE)).sqrt() };
        Difference { max_abs, nrmse, range: high - low }
    }

    /// Whether the difference is within tolerance: for f32 1e-4 of the range, for f16 an NRMSE of 5e-3.
    pub fn passes(&self, precision: Precision) -> bool {
        match precision {
            Precision::F32 => self.max_abs <= 1e-4 * self.range.max(1e-3),
            Precision::F16 => self.nrmse <= 5e-3,
        }
    }
}

/// Runs random inputs on the device and through the unoptimised graph on the CPU. Compares every value that both
/// compute, and the outputs that the options ask for. `inputs` are as [`Session::with_options`] takes them. The first
/// one is a random picture that went through the model's recipe, so numbers are as large as in use; the others are
/// from -1 to 1; states are zeros.
///
/// # Errors
/// Those of building and running a session. A wrong layer is not an error; its check does not pass.
pub fn verify(
    model: &Model,
    inputs: impl AsRef<[Shape]>,
    device: &Device,
    options: &SessionOptions,
    seed: u64,
) -> Result<Vec<LayerCheck>> {
    let shapes = inputs.as_ref();
    let options = SessionOptions { keep_values: true, ..options.clone() };
    let session = Session::with_options(model, shapes, device.clone(), &options)?;
    session.poison();
    let mut inputs = session.random_inputs(seed);
    if let Some(first) = inputs.first_mut() {
        let mut picture = Tensor::from_fn(first.shape(), |i| (first.data()[i] + 1.0) * 127.5);
        // A recipe may ask for what a random picture lacks.
        if model.recipe.input.normalize(&mut picture).is_ok() && picture.data().iter().all(|v| v.is_finite())
        {
            *first = picture;
        }
    }
    let results = session.run_in_order(&inputs)?;
    let mut checks = Vec::new();
    let mut failure = None;
    let compare = |name: &str, op, reference: &Tensor, got: &Tensor| {
        let difference = Difference::of(got, reference);
        LayerCheck {
            name: name.into(),
            op,
            shape: reference.shape(),
            max_abs: difference.max_abs,
            nrmse: difference.nrmse,
            pass: difference.passes(options.precision),
        }
    };
    let graph = &*model.graph_with(shapes, &options.outputs)?;
    let producers = graph.producers();
    let tensors: Vec<&Tensor> = inputs.iter().collect();
    let references = Runner::reference(graph, shapes)?.run(graph, &tensors, &mut |id, value| {
        let op = producers[id.index()].map_or("input", |i| graph.nodes()[i].op.rules().name());
        match session.value(id) {
            Ok(Some(got)) => checks.push(compare(graph.value_name(id), op, value, &got)),
            Ok(None) => {}
            Err(error) => failure = Some(error),
        }
    })?;
    if let Some(error) = failure {
        return Err(error);
    }
    for ((port, reference), got) in session.outputs().iter().zip(&references).zip(&results) {
        let name = if references.len() == 1 { "result" } else { &port.name };
        checks.push(compare(name, "output", reference, got));
    }
    Ok(checks)
}
