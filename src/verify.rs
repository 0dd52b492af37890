//! Every layer of a network on a device against the CPU reference.

use crate::cpu::Runner;
use crate::error::Result;
use crate::model::Model;
use crate::plan::Precision;
use crate::session::{Device, Session, SessionOptions};
use crate::tensor::{Shape, Tensor};

/// One value compared.
#[derive(Debug, Clone)]
pub struct LayerCheck {
    /// The layer.
    pub name: String,
    /// Its operator.
    pub op: &'static str,
    /// Its shape.
    pub shape: Shape,
    /// Largest absolute difference.
    pub max_abs: f64,
    /// Root mean square of the difference over that of the reference.
    pub nrmse: f64,
    /// Whether the difference is within tolerance.
    pub pass: bool,
}

/// How far a result is from its reference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// Largest absolute difference; infinite when either side is not finite.
    pub max_abs: f64,
    /// Root mean square of the difference over that of the reference.
    pub nrmse: f64,
    /// Largest less smallest value of the reference.
    pub range: f64,
}

impl Difference {
    /// Compares two tensors of one shape.
    pub fn of(got: &Tensor, reference: &Tensor) -> Difference {
        let (mut max_abs, mut squares, mut norm) = (0.0f64, 0.0f64, 0.0f64);
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for (&g, &r) in got.data().iter().zip(reference.data()) {
            let (g, r) = (f64::from(g), f64::from(r));
            let d = if (g - r).is_finite() { (g - r).abs() } else { f64::INFINITY };
            max_abs = max_abs.max(d);
            squares += d * d;
            norm += r * r;
            (low, high) = (low.min(r), high.max(r));
        }
        let nrmse = if squares == 0.0 { 0.0 } else { (squares / norm.max(f64::MIN_POSITIVE)).sqrt() };
        Difference { max_abs, nrmse, range: high - low }
    }

    /// Whether the difference is rounding: f32 within 1e-4 of the range, f16 within an NRMSE of 5e-3.
    pub fn passes(&self, precision: Precision) -> bool {
        match precision {
            Precision::F32 => self.max_abs <= 1e-4 * self.range.max(1e-3),
            Precision::F16 => self.nrmse <= 5e-3,
        }
    }
}

/// Runs a random input through the device and through the unoptimised graph on the CPU, and compares every value that
/// both make.
///
/// # Errors
/// Those of building and running a session. A wrong layer is no error: it is a check that did not pass.
pub fn verify(
    model: &Model,
    input: Shape,
    device: &Device,
    options: &SessionOptions,
    seed: u64,
) -> Result<Vec<LayerCheck>> {
    let tensor = Tensor::random(input, seed);
    let options = SessionOptions { keep_values: true, ..options.clone() };
    let session = Session::with_options(model, input, device.clone(), &options)?;
    session.poison();
    let result = session.run(&tensor)?;
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
    let graph = &*model.graph(input)?;
    let reference = Runner::reference(graph, input)?.run(graph, &tensor, &mut |id, value| {
        let op = graph.producer(id).map_or("input", |i| graph.nodes()[i].op.rules().name());
        match session.value(id) {
            Ok(Some(got)) => checks.push(compare(graph.value_name(id), op, value, &got)),
            Ok(None) => {}
            Err(error) => failure = Some(error),
        }
    })?;
    if let Some(error) = failure {
        return Err(error);
    }
    checks.push(compare("result", "output", &reference, &result));
    Ok(checks)
}
