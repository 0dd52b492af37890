//! Products of matrices, and attention.

use super::*;

impl<'a> Builder<'a> {
    /// A product of the last axis with constant weights `(out, in)`, as a 1x1 convolution.
    pub(super) fn linear(
        &mut self,
        name: &str,
        live: &Live,
        weight: Tensor,
        bias: Option<Arc<[f32]>>,
        axis: usize,
    ) -> Result<Live> {
        let (x, moved) = self.channels(live, axis)?;
        let id = self.push(name, Conv::new(finite(Arc::new(weight))?, bias), &[x])?;
        self.put_back(id, moved)
    }

    /// A constant matrix as weights `(out, in)`.
    pub(super) fn matrix(array: &Array, transposed: bool, factor: f32) -> Result<Tensor> {
        let &[rows, columns] = &array.dims[..] else {
            return Err(Error::shape("weight", "2 axes", format!("{:?}", array.dims)));
        };
        let values = array.floats();
        Ok(match transposed {
            false => {
                Tensor::new(Shape::new(rows, columns, 1, 1), values.iter().map(|v| v * factor).collect())?
            }
            true => Tensor::new(
                Shape::new(columns, rows, 1, 1),
                (0..values.len()).map(|i| values[i % rows * columns + i / rows] * factor).collect(),
            )?,
        })
    }

    pub(super) fn gemm(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let mut live = self.live(reader, 0)?;
        if live.view.rank() != 2 {
            return Err(Error::shape("operand 0", "2 axes", format!("{:?}", live.dims())));
        }
        if reader.int("transA", 0) != 0 {
            live.view = live.view.permuted(&[1, 0])?;
        }
        let weight = self.constant(reader, 1)?;
        let weight = Self::matrix(&weight, reader.int("transB", 0) == 0, reader.float("alpha", 1.0))?;
        let beta = reader.float("beta", 1.0);
        let outs = weight.shape().n;
        match self.optional_constant(reader, 2)? {
            Some(bias) if bias.len() != 1 && (bias.len() != outs || bias.dims.last() != Some(&outs)) => {
                let product = self.linear(reader.name(), &live, weight, None, 1)?;
                let bias = self.constant_node(&bias)?;
                let bias = self.affine(reader.name(), &bias, vec![beta], vec![0.0])?;
                self.pair(reader.name(), BinaryKind::Add, &product, &bias)
            }
            bias => {
                let each = bias.map(|bias| bias.per_channel(outs)).transpose()?;
                let bias = each.map(|each| each.iter().map(|v| v * beta).collect());
                self.linear(reader.name(), &live, weight, bias, 1)
            }
        }
    }

    pub(super) fn matmul(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let (a, b) = (self.operand(reader, 0)?, self.operand(reader, 1)?);
        match (&a, &b) {
            (Value::Live(live), Value::Constant(array)) if array.dims.len() == 2 => {
                let last = live.view.rank().saturating_sub(1);
                return self.linear(reader.name(), live, Self::matrix(array, true, 1.0)?, None, last);
            }
            (Value::Constant(array), Value::Live(live)) if array.dims.len() == 2 && live.view.rank() >= 2 => {
                let rows = live.view.rank() - 2;
                return self.linear(reader.name(), live, Self::matrix(array, false, 1.0)?, None, rows);
            }
            _ => {}
        }
        let (a, b) = (self.live(reader, 0)?, self.live(reader, 1)?);
        self.product(reader.name(), &a, &b)
    }

    /// Scaled dot product attention: `softmax(Q Kt / sqrt(d)) V`, on (batch, heads, length, d).
    pub(super) fn attention(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let (q, k, v) = (self.live(reader, 0)?, self.live(reader, 1)?, self.live(reader, 2)?);
        let dims = q.dims();
        let extras = reader.node.input.iter().skip(3).chain(reader.node.output.iter().skip(1));
        let plain = reader.int("is_causal", 0) == 0 && reader.float("softcap", 0.0) == 0.0;
        if dims.len() != 4
            || k.view.rank() != 4
            || dims[1] != k.dims()[1]
            || !plain
            || extras.into_iter().any(|name| !name.is_empty())
        {
            return Err(
                reader.unsupported("only plain attention on 4 axes, as many heads in keys as in queries, is")
            );
        }
        let scale = reader.float("scale", 1.0 / (dims[3] as f32).sqrt());
        let q = self.affine(reader.name(), &q, vec![scale], vec![0.0])?;
        let k = Live::new(k.id, k.view.permuted(&[0, 1, 3, 2])?);
        let scores = self.product(reader.name(), &q, &k)?;
        let shares = self.softmax_along(reader.name(), &scores, 3)?;
        self.product(reader.name(), &shares, &v)
    }

    pub(super) fn product(&mut self, name: &str, a: &Live, b: &Live) -> Result<Live> {
        let (left, right) = (a.dims(), b.dims());
        if left.len() < 2 || right.len() < 2 || left.len().max(right.len()) > 4 {
            return Err(Error::shape("operands", "2 to 4 axes each", format!("{left:?} and {right:?}")));
        }
        let mut dims = broadcast(&[&left[..left.len() - 2], &right[..right.len() - 2]])?;
        dims.extend([left[left.len() - 2], right[right.len() - 1]]);
        let ((a, _), (b, _)) = (self.nchw(a)?, self.nchw(b)?);
        Ok(Live::new(self.push(name, MatMul, &[a, b])?, View::whole(&dims)))
    }
}
