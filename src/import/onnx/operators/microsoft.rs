//! Operators of the domain `com.microsoft`: those that ONNX Runtime writes when it saves an optimised model.

use super::*;
use crate::import::onnx::array::Narrow;

/// Operators of that domain that are ONNX's own under its name.
pub(in crate::import::onnx) const SHARED: [&str; 4] = ["DequantizeLinear", "Gelu", "QuantizeLinear", "Trilu"];

/// The error for an operator of a domain that is neither ONNX's nor `com.microsoft`.
pub(in crate::import::onnx) fn foreign(reader: &Reader<'_>) -> Error {
    match reader.node.domain.as_str() {
        "com.microsoft.nchwc" | "com.ms.internal.nhwc" => reader.unsupported(
            "ONNX Runtime wrote it for one processor; save the optimised model with ORT_ENABLE_EXTENDED or less",
        ),
        _ => reader.unsupported("only ONNX's own operators, com.microsoft's and the file's own functions are"),
    }
}

impl<'a> Builder<'a> {
    pub(super) fn microsoft(&mut self, reader: &Reader<'a>) -> Result<Vec<Value>> {
        let name = reader.name();
        let one = |live: Live| Ok(vec![Value::Live(live)]);
        match reader.op() {
            "FusedConv" | "NhwcFusedConv" | "NhwcConv" => self.fused_conv(reader).and_then(one),
            "NhwcMaxPool" => {
                let live = self.live(reader, 0)?;
                let picture = self.channels_second(&live, true)?;
                let pooled = self.pool_of(reader, &picture)?;
                self.channels_back(&Live { kind: live.kind, ..pooled }, true).and_then(one)
            }
            "FusedMatMul" | "TransposeMatMul" => self.fused_matmul(reader).and_then(one),
            "FusedGemm" => {
                let product = self.gemm(reader)?;
                let parameters = ["activation_alpha", "activation_beta"]
                    .map(|name| if reader.has(name) { Some(reader.float(name, 0.0)) } else { None });
                let parameters: Vec<f32> = parameters.into_iter().flatten().collect();
                self.named(reader, &product, &parameters).and_then(one)
            }
            "BiasGelu" | "FastGelu" => {
                let gelu = if reader.op() == "BiasGelu" { Activation::Gelu } else { Activation::GeluTanh };
                let sum = self.sum(reader, &[0, 1])?;
                self.apply(name, &sum, gelu).and_then(one)
            }
            "QuickGelu" => self.swish(reader, reader.float("alpha", 1.702)).and_then(one),
            "BiasAdd" => self.sum(reader, &[0, 1, 2]).and_then(one),
            "BiasSplitGelu" => {
                let sum = self.sum(reader, &[0, 1])?;
                let (value, last) = (Value::Live(sum.clone()), sum.view.rank() - 1);
                let half = sum.dims()[last] / 2;
                let left = self.sliced(&value, last, 0, half, 1)?;
                let right = self.sliced(&value, last, half, half, 1)?;
                let (left, right) = (self.as_live(&left)?, self.as_live(&right)?);
                let gate = self.apply(name, &right, Activation::Gelu)?;
                self.pair(name, BinaryKind::Mul, &left, &gate).and_then(one)
            }
            "SkipLayerNormalization" | "SkipSimplifiedLayerNormalization" => self.skip_norm(reader),
            "GroupNorm" => self.nhwc_group_norm(reader).and_then(one),
            "MatMulNBits" => self.matmul_bits(reader).and_then(one),
            _ => Err(reader.unsupported("there is no kernel for it")),
        }
    }

    /// The value with its channels second; where it has them last, moved.
    pub(super) fn channels_second(&self, live: &Live, are_last: bool) -> Result<Live> {
        let rank = live.view.rank();
        if !are_last || rank < 3 {
            return Ok(live.clone());
        }
        let order: Vec<usize> = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
        Ok(Live { view: live.view.permuted(&order)?, ..live.clone() })
    }

    /// The inverse of [`channels_second`](Self::channels_second).
    pub(super) fn channels_back(&self, live: &Live, to_last: bool) -> Result<Live> {
        let rank = live.view.rank();
        if !to_last || rank < 3 {
            return Ok(live.clone());
        }
        let order: Vec<usize> = std::iter::once(0).chain(2..rank).chain([1]).collect();
        Ok(Live { view: live.view.permuted(&order)?, ..live.clone() })
    }

    /// The sum of those of these operands that are given.
    fn sum(&mut self, reader: &Reader<'a>, operands: &[usize]) -> Result<Live> {
        let given = operands.iter().map(|&i| self.optional(reader, i)).collect::<Result<Vec<_>>>()?;
        let mut given = given.into_iter().flatten();
        let first = given.next().ok_or_else(|| Error::Model("operand 0 is missing".into()))?;
        let sum = given.try_fold(first, |sum, next| {
            self.combined(reader.name(), BinaryKind::Add, &sum, &next).map(Value::Live)
        })?;
        self.as_live(&sum)
    }

    /// Applies the activation that the attribute `activation` names.
    fn named(&mut self, reader: &Reader<'a>, live: &Live, parameters: &[f32]) -> Result<Live> {
        let parameter = |i: usize, default: f32| parameters.get(i).copied().unwrap_or(default);
        let activation = match reader.text("activation", "").as_str() {
            "" => Activation::None,
            "Relu" => Activation::Relu,
            "LeakyRelu" => Activation::LeakyRelu(parameter(0, 0.01)),
            "Sigmoid" => Activation::Sigmoid,
            "Tanh" => Activation::Tanh,
            "Clip" => {
                Activation::Clip { min: parameter(0, f32::NEG_INFINITY), max: parameter(1, f32::INFINITY) }
            }
            "HardSigmoid" => Activation::HardSigmoid { alpha: parameter(0, 0.2), beta: parameter(1, 0.5) },
            "HardSwish" => Activation::HardSwish,
            "Elu" => Activation::Elu(parameter(0, 1.0)),
            "Softplus" => Activation::Softplus,
            "Softsign" => Activation::Softsign,
            "Gelu" => Activation::Gelu,
            other => return Err(reader.unsupported(&format!("its activation is {other}"))),
        };
        self.apply(reader.name(), live, activation)
    }

    /// A convolution, the sum with another tensor, and an activation.
    fn fused_conv(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let last = reader.op().starts_with("Nhwc");
        let x = self.live(reader, 0)?;
        let x = self.channels_second(&x, last)?;
        let (weight, bias) = (self.weight(reader)?, self.bias(reader)?);
        let mut result = self.conv_of(reader, &x, weight, bias)?;
        if let Some(added) = self.optional(reader, 3)? {
            let added = self.as_live(&added)?;
            let added = self.channels_second(&added, last)?;
            result = self.pair(reader.name(), BinaryKind::Add, &result, &added)?;
        }
        let result = self.named(reader, &result, &reader.floats("activation_params").unwrap_or_default())?;
        self.channels_back(&result, last)
    }

    /// A product of matrices that may be transposed: `transA` their last two axes, `transBatchA` rows and batch.
    fn fused_matmul(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let mut operands = Vec::with_capacity(2);
        for (i, [transposed, batch]) in
            [["transA", "transBatchA"], ["transB", "transBatchB"]].into_iter().enumerate()
        {
            let value = self.operand(reader, i)?;
            let rank = value.dims().len();
            let mut order: Vec<usize> = (0..rank).collect();
            if reader.int(batch, 0) != 0 && rank > 2 {
                order[..rank - 1].rotate_left(1);
            }
            if reader.int(transposed, 0) != 0 && rank > 1 {
                order.swap(rank - 2, rank - 1);
            }
            operands.push(self.seen(&value, value.view().permuted(&order)?)?);
        }
        let product = self.multiplied(reader.name(), &operands[0], &operands[1])?;
        match reader.float("alpha", 1.0) {
            1.0 => Ok(product),
            alpha => self.affine(reader.name(), &product, vec![alpha], vec![0.0]),
        }
    }

    /// The norm of a sum; the sum itself is the fourth result.
    fn skip_norm(&mut self, reader: &Reader<'a>) -> Result<Vec<Value>> {
        if reader.node.output.iter().skip(1).take(2).any(|name| !name.is_empty()) {
            return Err(reader.unsupported("it also gives statistics"));
        }
        let simple = reader.op() == "SkipSimplifiedLayerNormalization";
        let sum = self.sum(reader, if simple { &[0, 1, 3] } else { &[0, 1, 4] })?;
        let last = sum.view.rank() - 1;
        let normed = match simple {
            true => {
                let scale = self.operand(reader, 2)?;
                self.rms(reader, &sum, &scale, last)?
            }
            false => {
                let (scale, shift) = (self.constant(reader, 2)?, self.optional_constant(reader, 3)?);
                self.layer_norm_of(reader, &sum, &scale, shift.as_ref(), last)?
            }
        };
        // The statistics, which nothing reads, are empty.
        let nothing = || Value::Constant(Array::integers([]));
        Ok(vec![Value::Live(normed), nothing(), nothing(), Value::Live(sum)])
    }

    /// A group norm whose channels are last, perhaps with a SiLU.
    fn nhwc_group_norm(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let last = reader.int("channels_last", 1) != 0;
        let live = self.live(reader, 0)?;
        let (x, shape) = self.nchw(&self.channels_second(&live, last)?)?;
        let vector = |array: Array| array.per_channel(shape.c);
        let norm = Norm {
            scale: Some(vector(self.constant(reader, 1)?)?),
            shift: Some(vector(self.constant(reader, 2)?)?),
            ..Norm::new(NormOver::Groups(extent(reader.int("groups", 1))?), reader.float("epsilon", 1e-5))
        };
        let normed = self.computed(reader, norm, x)?;
        let result = match reader.int("activation", 0) {
            0 => normed,
            1 => self.apply(reader.name(), &normed, Activation::Silu)?,
            other => return Err(Error::shape("attribute activation", "0 or 1", other)),
        };
        self.channels_back(&result, last)
    }

    /// A product with weights of few bits, a scale for each block of a row.
    fn matmul_bits(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let live = self.live(reader, 0)?;
        let [inner, outs, block] = ["K", "N", "block_size"].map(|name| extent(reader.int(name, 0)));
        let (inner, outs, block) = (inner?, outs?, block?);
        let bits = reader.int("bits", 4) as u32;
        if ![2, 4, 8].contains(&bits) || block == 0 || inner == 0 || outs == 0 {
            return Err(Error::shape("its weights", "2, 4 or 8 bits in blocks", bits));
        }
        if self.optional(reader, 4)?.is_some() {
            return Err(reader.unsupported("its blocks have an order of their own"));
        }
        let narrow = Narrow { bits, signed: false };
        let unpacked = |array: &Array, expected: usize| -> Result<Vec<f32>> {
            let bytes: Vec<u8> = array.floats().iter().map(|&v| v as u8).collect();
            match bytes.len() == expected {
                true => Ok(narrow.unpacked(&bytes, bytes.len() * (8 / bits as usize))),
                false => Err(Error::shape("its weights", format!("{expected} bytes"), bytes.len())),
            }
        };
        let blocks = inner.div_ceil(block);
        let row = narrow.bytes(block).saturating_mul(blocks);
        let numbers = unpacked(&self.constant(reader, 1)?, row.saturating_mul(outs))?;
        let scales = self.constant(reader, 2)?;
        let scales = scales.floats();
        if scales.len() != outs.saturating_mul(blocks) {
            return Err(Error::shape("scales", outs.saturating_mul(blocks), scales.len()));
        }
        // Zero points of a row are packed as its weights are, or floats.
        let zeros_row = narrow.bytes(blocks);
        let zeros: Option<(Vec<f32>, usize)> = match self.optional_constant(reader, 3)? {
            None => None,
            Some(array) if array.kind == Kind::Float => Some((array.floats().into_owned(), blocks)),
            Some(array) => {
                Some((unpacked(&array, zeros_row.saturating_mul(outs))?, zeros_row * (8 / bits as usize)))
            }
        };
        if zeros.as_ref().is_some_and(|(zeros, row)| zeros.len() < outs * row) {
            return Err(Error::shape("zero points", outs * blocks, "fewer"));
        }
        let middle = (1 << (bits - 1)) as f32;
        let weight = |i: usize| {
            let (n, k) = (i / inner, i % inner);
            let zero = zeros.as_ref().map_or(middle, |(zeros, row)| zeros[n * row + k / block]);
            (numbers[n * blocks * block + k] - zero) * scales[n * blocks + k / block]
        };
        let weight = Tensor::from_fn(Shape::new(outs, inner, 1, 1).check("weight")?, weight);
        let bias = self.optional_constant(reader, 5)?.map(|bias| bias.per_channel(outs)).transpose()?;
        self.linear(reader.name(), &live, weight, bias, live.view.rank() - 1)
    }
}
