//! Floats as quantised values, and back.
//!
//! A quantised value is a computed tensor of whole numbers. Beside it stands the same value less its zero point
//! ([`Builder::centred`]), which is all that products and `DequantizeLinear` need. A pair of `QuantizeLinear` and
//! `DequantizeLinear` is thus one chain: divide, round, limit, multiply.

use super::*;
use crate::import::onnx::array::Narrow;
use crate::import::onnx::fold::{self, quantised::result};

/// The scale and zero point of a result, and the type that limits it.
pub(super) struct Target {
    pub(super) scale: Array,
    pub(super) zero: Option<Array>,
    pub(super) narrow: Narrow,
}

/// What `DynamicQuantizeLinear` makes of a tensor.
pub(super) struct Dynamic {
    /// Whole numbers less the zero point.
    pub(super) centred: Live,
    pub(super) scale: Live,
    pub(super) zero: Live,
}

impl<'a> Builder<'a> {
    /// The scale and zero point that are operands `i` and `i + 1`.
    pub(super) fn target(&self, reader: &Reader<'a>, i: usize) -> Result<Target> {
        let (scale, zero) = (self.constant(reader, i)?, self.optional_constant(reader, i + 1)?);
        let narrow = result(reader, zero.as_ref())?;
        Ok(Target { scale, zero, narrow })
    }

    /// A quantised operand less its zero point.
    pub(super) fn less_zero(&mut self, reader: &Reader<'a>, i: usize, zero: usize) -> Result<Value> {
        let value = self.operand(reader, i)?;
        let Some(zero) = self.optional(reader, zero)? else { return Ok(value) };
        self.minus(reader, &value, &zero)
    }

    fn minus(&mut self, reader: &Reader<'a>, value: &Value, zero: &Value) -> Result<Value> {
        if let Value::Live(live) = value
            && let Some((centred, known)) = self.centred.get(&live.id)
            && same(known, zero)
        {
            return Ok(Value::Live(Live { id: *centred, kind: Kind::Float, ..live.clone() }));
        }
        if let (Value::Constant(array), Value::Constant(zero)) = (value, zero) {
            let zeros = self.spread(reader, zero, &array.dims)?;
            let made = fold::binary(array, &zeros, Kind::Float, &|a, b| a - b)?;
            return Ok(Value::Constant(made));
        }
        let zero = match zero {
            Value::Constant(array) if is_zero(array) => return Ok(floats(value)),
            Value::Constant(array) => Value::Constant(self.spread(reader, array, &value.dims())?),
            live => live.clone(),
        };
        self.combined(reader.name(), BinaryKind::Sub, &floats(value), &zero).map(Value::Live)
    }

    /// Numbers of one axis with the extents that broadcast them along it.
    fn spread(&self, reader: &Reader<'a>, numbers: &Array, dims: &[usize]) -> Result<Array> {
        if numbers.len() == 1 {
            return numbers.viewed(&View::whole(&[]));
        }
        if numbers.dims.len() != 1 {
            return Ok(numbers.clone());
        }
        // The axis that a node names counts only for QuantizeLinear and DequantizeLinear; elsewhere it is that of
        // the weights' outputs.
        let along = match reader.op() {
            "QuantizeLinear" | "DequantizeLinear" => axis(reader.int("axis", 1), dims.len())?,
            "ConvInteger" | "QLinearConv" => 0,
            _ => dims.len().saturating_sub(1),
        };
        let mut own = vec![1; dims.len()];
        own[along] = numbers.len();
        numbers.viewed(&View::whole(&own))
    }

    /// The floats that a quantised operand stands for: `(x - zero) * scale`.
    pub(super) fn level(&mut self, reader: &Reader<'a>, [x, scale, zero]: [usize; 3]) -> Result<Live> {
        let centred = self.less_zero(reader, x, zero)?;
        let scale = match self.operand(reader, scale)? {
            Value::Constant(array) => Value::Constant(self.spread(reader, &array, &centred.dims())?),
            live => live,
        };
        let centred = Value::Live(self.as_live(&centred)?);
        self.combined(reader.name(), BinaryKind::Mul, &centred, &scale)
    }

    /// `round(x / scale) + zero` within the limits of the type. A true division: ties must fall as they do elsewhere.
    pub(super) fn quantise(&mut self, reader: &Reader<'a>, live: &Live, target: &Target) -> Result<Live> {
        let name = reader.name();
        let scale = self.spread(reader, &target.scale, &live.dims())?;
        let scaled = match power_of_two(&scale) {
            true => {
                self.combined(name, BinaryKind::Div, &Value::Live(live.clone()), &Value::Constant(scale))?
            }
            false => {
                let scale = self.constant_node(&scale)?;
                self.pair(name, BinaryKind::Div, live, &scale)?
            }
        };
        self.rounded(reader, &scaled, target)
    }

    /// A sum of whole numbers as a quantised value: `round(sum * factor) + zero`.
    pub(super) fn requantise(
        &mut self,
        reader: &Reader<'a>,
        sum: &Live,
        factor: &Array,
        target: &Target,
    ) -> Result<Live> {
        let (sum, factor) = (Value::Live(sum.clone()), Value::Constant(factor.clone()));
        let scaled = self.combined(reader.name(), BinaryKind::Mul, &sum, &factor)?;
        self.rounded(reader, &scaled, target)
    }

    fn rounded(&mut self, reader: &Reader<'a>, scaled: &Live, target: &Target) -> Result<Live> {
        let name = reader.name();
        let rounded = self.apply(name, scaled, Activation::Round)?;
        let [least, most] = target.narrow.range();
        let zeros = target.zero.as_ref().map(Array::floats).unwrap_or_default();
        let zero = zeros.first().copied().unwrap_or(0.0);
        if zeros.iter().any(|&v| v != zero) {
            let zeros = self.spread(reader, target.zero.as_ref().expect("it has numbers"), &scaled.dims())?;
            let sum = self.combined(name, BinaryKind::Add, &Value::Live(rounded), &Value::Constant(zeros))?;
            let whole = self.apply(name, &sum, Activation::Clip { min: least, max: most })?;
            return Ok(Live { kind: Kind::Integer, ..whole });
        }
        let centred = self.apply(name, &rounded, Activation::Clip { min: least - zero, max: most - zero })?;
        if zero == 0.0 {
            return Ok(Live { kind: Kind::Integer, ..centred });
        }
        let whole = self.affine(name, &centred, vec![1.0], vec![zero])?;
        self.centred
            .insert(whole.id, (centred.id, Value::Constant(Array::scalar(Kind::Integer, f64::from(zero)))));
        Ok(Live { kind: Kind::Integer, ..whole })
    }

    /// Both scales over that of the result, as f32 computes it.
    pub(super) fn ratio(&self, reader: &Reader<'a>, scales: [usize; 2], target: &Target) -> Result<Array> {
        let [a, b] = scales.map(|i| self.constant(reader, i));
        let (a, b, y) = (a?, b?, target.scale.floats().first().copied().unwrap_or(1.0));
        let f = |a: f64, b: f64| f64::from((a as f32 * b as f32) / y);
        fold::binary(&a, &b, Kind::Float, &f)
    }

    /// Quantises by the tensor's own range, which is widened to hold 0: `scale = range / 255`, as unsigned bytes.
    pub(super) fn dynamic(&mut self, name: &str, live: &Live) -> Result<Dynamic> {
        let all: Vec<usize> = (0..live.view.rank()).collect();
        let number = |builder: &mut Self, value: f32| {
            builder.constant_node(&Array::scalar(Kind::Float, f64::from(value)))
        };
        let clip = |min, max| Activation::Clip { min, max };
        let most = self.reduced(name, live, ReduceKind::Max, &all, false)?;
        let most = self.apply(name, &most, Activation::Relu)?;
        let least = self.reduced(name, live, ReduceKind::Min, &all, false)?;
        let least = self.apply(name, &least, clip(f32::NEG_INFINITY, 0.0))?;
        let range = self.pair(name, BinaryKind::Sub, &most, &least)?;
        let steps = number(self, 255.0)?;
        let scale = self.pair(name, BinaryKind::Div, &range, &steps)?;
        // A tensor of zeros has no range.
        let scale = self.apply(name, &scale, clip(f32::MIN_POSITIVE, f32::INFINITY))?;
        let zero = self.apply(name, &least, Activation::Neg)?;
        let zero = self.pair(name, BinaryKind::Div, &zero, &scale)?;
        let zero = self.apply(name, &zero, Activation::Round)?;
        let zero = self.apply(name, &zero, clip(0.0, 255.0))?;

        let centred = self.pair(name, BinaryKind::Div, live, &scale)?;
        let centred = self.apply(name, &centred, Activation::Round)?;
        let above = self.affine(name, &zero, vec![-1.0], vec![255.0])?;
        let below = self.apply(name, &zero, Activation::Neg)?;
        let centred = self.pair(name, BinaryKind::Min, &centred, &above)?;
        let centred = self.pair(name, BinaryKind::Max, &centred, &below)?;
        Ok(Dynamic { centred, scale, zero: Live { kind: Kind::Integer, ..zero } })
    }
}

/// Quantised numbers as numbers to compute with.
fn floats(value: &Value) -> Value {
    match value {
        Value::Live(live) => Value::Live(Live { kind: Kind::Float, ..live.clone() }),
        constant => constant.clone(),
    }
}

/// Whether two zero points are the same number, or the same computed one.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Live(a), Value::Live(b)) => a == b,
        (Value::Constant(a), Value::Constant(b)) => {
            let (a, b) = (a.floats(), b.floats());
            !a.is_empty() && a.iter().chain(b.iter()).all(|&v| v == a[0])
        }
        _ => false,
    }
}

fn is_zero(array: &Array) -> bool {
    array.floats().iter().all(|&v| v == 0.0)
}

/// Whether dividing by these numbers is the same as multiplying by their reciprocals.
fn power_of_two(array: &Array) -> bool {
    array.floats().iter().all(|v| v.is_normal() && v.recip().is_normal() && v.to_bits() & 0x7f_ffff == 0)
}
