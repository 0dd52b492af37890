//! Quantised networks, computed in floats with the rounding and the limits that the file asks for.
//!
//! Sums of whole numbers are exact in f32 up to 2^24. Beyond that, which takes more than 500 products of full scale of
//! one sign, they are rounded to 24 bits: some units of thousands that make one step of the result.

use super::levels::{Dynamic, Target};
use super::*;
use crate::import::onnx::array::Narrow;

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

    /// A resized value. Between whole numbers, ONNX Runtime drops the fractions.
    pub(super) fn resize_or_truncate(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let is_whole = self.operand(reader, 0)?.live().is_some_and(|live| live.kind.is_whole());
        let resized = self.resize(reader)?;
        match is_whole && reader.text("mode", "nearest") != "nearest" {
            true => self.apply(reader.name(), &resized, Activation::Trunc),
            false => Ok(resized),
        }
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
}
