//! Quantised networks, computed in floats with the rounding and the limits that the file asks for.
//!
//! A quantised value is a computed tensor of whole numbers. Beside it stands the same value less its zero point
//! ([`Builder::centred`]), which is all that products and `DequantizeLinear` need. A pair of `QuantizeLinear` and
//! `DequantizeLinear` is thus one chain: divide, round, limit, multiply.
//!
//! Sums of whole numbers are exact in f32 up to 2^24. Beyond that, which takes more than 500 products of full scale of
//! one sign, they are rounded to 24 bits: some units of thousands that make one step of the result.

use super::*;
use crate::import::onnx::array::Narrow;
use crate::import::onnx::fold::{self, quantised::result};

/// Operators of ONNX and `com.microsoft` on quantised values.
pub(in crate::import::onnx) const QUANTISED: [&str; 19] = [
    "ConvInteger",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "DynamicQuantizeMatMul",
    "MatMulInteger",
    "MatMulIntegerToFloat",
    "QGemm",
    "QLinearAdd",
    "QLinearAveragePool",
    "QLinearConcat",
    "QLinearConv",
    "QLinearGlobalAveragePool",
    "QLinearLeakyRelu",
    "QLinearMatMul",
    "QLinearMul",
    "QLinearReduceMean",
    "QLinearSigmoid",
    "QLinearSoftmax",
    "QuantizeLinear",
];

/// The scale and zero point of a result, and the type that limits it.
struct Target {
    scale: Array,
    zero: Option<Array>,
    narrow: Narrow,
}

/// What `DynamicQuantizeLinear` makes of a tensor.
struct Dynamic {
    /// Whole numbers less the zero point.
    centred: Live,
    scale: Live,
    zero: Live,
}

impl<'a> Builder<'a> {
    /// The results of an operator on quantised values; `None` for other operators.
    pub(super) fn quantised(&mut self, reader: &Reader<'a>) -> Result<Option<Vec<Value>>> {
        let name = reader.name();
        let made = match reader.op() {
            "QuantizeLinear" => {
                let live = self.live(reader, 0)?;
                let target = self.target(reader, 1)?;
                self.quantise(reader, &live, &target)?
            }
            "DequantizeLinear" => self.level(reader, [0, 1, 2])?,
            "DynamicQuantizeLinear" => {
                let live = self.live(reader, 0)?;
                let Dynamic { centred, scale, zero } = self.dynamic(name, &live)?;
                let whole = self.pair(name, BinaryKind::Add, &centred, &zero)?;
                self.centred.insert(whole.id, (centred.id, Value::Live(zero.clone())));
                let whole = Live { kind: Kind::Integer, ..whole };
                return Ok(Some([whole, scale, zero].map(Value::Live).into()));
            }
            "ConvInteger" => {
                let sum = self.conv_integer(reader, [0, 2], [1, 3], None, false)?;
                Live { kind: Kind::Integer, ..sum }
            }
            "MatMulInteger" => {
                let (a, b) = (self.less_zero(reader, 0, 2)?, self.less_zero(reader, 1, 3)?);
                Live { kind: Kind::Integer, ..self.multiplied(name, &a, &b)? }
            }
            "MatMulIntegerToFloat" => {
                let (a, b) = (self.less_zero(reader, 0, 4)?, self.less_zero(reader, 1, 5)?);
                let sum = self.multiplied(name, &a, &b)?;
                self.scaled_sum(reader, sum, &[2, 3], 6)?
            }
            "DynamicQuantizeMatMul" => {
                let live = self.live(reader, 0)?;
                let made = self.dynamic(name, &live)?;
                let b = self.less_zero(reader, 1, 3)?;
                let sum = self.multiplied(name, &Value::Live(made.centred), &b)?;
                let sum = self.pair(name, BinaryKind::Mul, &sum, &made.scale)?;
                self.scaled_sum(reader, sum, &[2], 4)?
            }
            "QLinearConv" => {
                let last = reader.int("channels_last", 0) != 0;
                let bias = self.optional_constant(reader, 8)?;
                let sum = self.conv_integer(reader, [0, 2], [3, 5], bias, last)?;
                let target = self.target(reader, 6)?;
                // A scale for each channel of the weights, which are the second axis of the result.
                let each = self.ratio(reader, [1, 4], &target)?;
                let dims = [each.len(), 1, 1];
                let each = each.viewed(&View::whole(&dims))?;
                let made = self.requantise(reader, &sum, &each, &target)?;
                self.channels_back(&made, last)?
            }
            "QLinearMatMul" => {
                let (a, b) = (self.less_zero(reader, 0, 2)?, self.less_zero(reader, 3, 5)?);
                let sum = self.multiplied(name, &a, &b)?;
                let target = self.target(reader, 6)?;
                let each = self.ratio(reader, [1, 4], &target)?;
                self.requantise(reader, &sum, &each, &target)?
            }
            "QGemm" => self.quantised_gemm(reader)?,
            "QLinearAdd" | "QLinearMul" => {
                let kind = if reader.op() == "QLinearAdd" { BinaryKind::Add } else { BinaryKind::Mul };
                let (a, b) = (self.level(reader, [0, 1, 2])?, self.level(reader, [3, 4, 5])?);
                let made = self.combined(name, kind, &Value::Live(a), &Value::Live(b))?;
                let target = self.target(reader, 6)?;
                self.quantise(reader, &made, &target)?
            }
            "QLinearConcat" => {
                let count = reader.node.input.len().saturating_sub(2) / 3;
                let parts = (0..count)
                    .map(|i| self.level(reader, [3 * i + 2, 3 * i + 3, 3 * i + 4]).map(Value::Live));
                let parts = parts.collect::<Result<Vec<_>>>()?;
                let rank = parts.first().map_or(0, |part| part.dims().len());
                let made = self.concat_of(reader, &parts, axis(reader.int("axis", 0), rank)?)?;
                let target = self.target(reader, 0)?;
                self.quantise(reader, &made, &target)?
            }
            "QLinearSigmoid"
            | "QLinearLeakyRelu"
            | "QLinearAveragePool"
            | "QLinearGlobalAveragePool"
            | "QLinearSoftmax"
            | "QLinearReduceMean" => {
                let last = reader.int("channels_last", 0) != 0;
                let x = self.level(reader, [0, 1, 2])?;
                let x = self.channels_second(&x, last)?;
                let made = match reader.op() {
                    "QLinearSigmoid" => self.apply(name, &x, Activation::Sigmoid)?,
                    "QLinearLeakyRelu" => {
                        self.apply(name, &x, Activation::LeakyRelu(reader.float("alpha", 0.01)))?
                    }
                    "QLinearAveragePool" => self.pool_of(reader, &x)?,
                    "QLinearSoftmax" => {
                        let old = reader.int("opset", reader.opset) < 13;
                        self.along(reader, &x, old, Self::softmax_along)?
                    }
                    "QLinearReduceMean" => {
                        let rank = x.view.rank();
                        let over = match reader.ints("axes") {
                            Some(list) => axes(list, rank)?,
                            None => (0..rank).collect(),
                        };
                        self.reduced(name, &x, ReduceKind::Mean, &over, reader.int("keepdims", 1) != 0)?
                    }
                    _ => self.reduced(
                        name,
                        &x,
                        ReduceKind::Mean,
                        &(2..x.view.rank()).collect::<Vec<_>>(),
                        true,
                    )?,
                };
                let made = self.channels_back(&made, last)?;
                let target = self.target(reader, 3)?;
                self.quantise(reader, &made, &target)?
            }
            _ => return Ok(None),
        };
        Ok(Some(vec![Value::Live(made)]))
    }

    /// The scale and zero point that are operands `i` and `i + 1`.
    fn target(&self, reader: &Reader<'a>, i: usize) -> Result<Target> {
        let (scale, zero) = (self.constant(reader, i)?, self.optional_constant(reader, i + 1)?);
        let narrow = result(reader, zero.as_ref())?;
        Ok(Target { scale, zero, narrow })
    }

    /// A quantised operand less its zero point.
    fn less_zero(&mut self, reader: &Reader<'a>, i: usize, zero: usize) -> Result<Value> {
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
    fn level(&mut self, reader: &Reader<'a>, [x, scale, zero]: [usize; 3]) -> Result<Live> {
        let centred = self.less_zero(reader, x, zero)?;
        let scale = match self.operand(reader, scale)? {
            Value::Constant(array) => Value::Constant(self.spread(reader, &array, &centred.dims())?),
            live => live,
        };
        let centred = Value::Live(self.as_live(&centred)?);
        self.combined(reader.name(), BinaryKind::Mul, &centred, &scale)
    }

    /// `round(x / scale) + zero` within the limits of the type. A true division: ties must fall as they do elsewhere.
    fn quantise(&mut self, reader: &Reader<'a>, live: &Live, target: &Target) -> Result<Live> {
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
    fn requantise(
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
    fn ratio(&self, reader: &Reader<'a>, scales: [usize; 2], target: &Target) -> Result<Array> {
        let [a, b] = scales.map(|i| self.constant(reader, i));
        let (a, b, y) = (a?, b?, target.scale.floats().first().copied().unwrap_or(1.0));
        let f = |a: f64, b: f64| f64::from((a as f32 * b as f32) / y);
        fold::binary(&a, &b, Kind::Float, &f)
    }

    /// The sum of a convolution of whole numbers. Places that are padded hold the zero point, and so count as 0.
    fn conv_integer(
        &mut self,
        reader: &Reader<'a>,
        [x, x_zero]: [usize; 2],
        [w, w_zero]: [usize; 2],
        bias: Option<Array>,
        last: bool,
    ) -> Result<Live> {
        let x = self.less_zero(reader, x, x_zero)?;
        let Value::Constant(weight) = self.less_zero(reader, w, w_zero)? else {
            return Err(reader.unsupported("its weights depend on the picture"));
        };
        let &[n, c, h, w] = &weight.dims[..] else {
            return Err(Error::shape("weight", "4 extents (2-D convolutions)", format!("{:?}", weight.dims)));
        };
        let weight = finite(weight.tensor(Shape::new(n, c, h, w).check("weight")?)?)?;
        let x = self.as_live(&x)?;
        let x = self.channels_second(&x, last)?;
        self.conv_of(reader, &x, weight, bias.map(|bias| bias.floats().iter().copied().collect()))
    }

    /// A sum of whole numbers times scales, plus a bias.
    fn scaled_sum(&mut self, reader: &Reader<'a>, sum: Live, scales: &[usize], bias: usize) -> Result<Live> {
        let mut sum = Value::Live(sum);
        for &scale in scales {
            let scale = self.operand(reader, scale)?;
            sum = Value::Live(self.combined(reader.name(), BinaryKind::Mul, &sum, &scale)?);
        }
        if let Some(bias) = self.optional(reader, bias)? {
            sum = Value::Live(self.combined(reader.name(), BinaryKind::Add, &sum, &bias)?);
        }
        self.as_live(&sum)
    }

    /// `A, its scale and zero point, B, its scale and zero point, C, scale and zero point of the result`. C is a sum of
    /// whole numbers; without a scale of the result, that is floats.
    fn quantised_gemm(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let name = reader.name();
        let mut operands = [self.less_zero(reader, 0, 2)?, self.less_zero(reader, 3, 5)?];
        for (value, transposed) in operands.iter_mut().zip(["transA", "transB"]) {
            if reader.int(transposed, 0) != 0 {
                *value = self.seen(value, value.view().permuted(&[1, 0])?)?;
            }
        }
        let mut sum = self.multiplied(name, &operands[0], &operands[1])?;
        if let Some(bias) = self.optional(reader, 6)? {
            sum = self.combined(name, BinaryKind::Add, &Value::Live(sum), &bias)?;
        }
        let alpha = f64::from(reader.float("alpha", 1.0));
        if self.optional(reader, 7)?.is_some() {
            let target = self.target(reader, 7)?;
            let each = self.ratio(reader, [1, 4], &target)?;
            let each = each.mapped(Kind::Float, |v| v * alpha)?;
            return self.requantise(reader, &sum, &each, &target);
        }
        let one = Target { scale: Array::scalar(Kind::Float, 1.0), zero: None, narrow: Narrow::U8 };
        let each = self.ratio(reader, [1, 4], &one)?.mapped(Kind::Float, |v| v * alpha)?;
        self.combined(name, BinaryKind::Mul, &Value::Live(sum), &Value::Constant(each))
    }

    /// Quantises by the tensor's own range, which is widened to hold 0: `scale = range / 255`, as unsigned bytes.
    fn dynamic(&mut self, name: &str, live: &Live) -> Result<Dynamic> {
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
