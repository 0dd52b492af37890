//! Products of matrices, and attention.

use super::*;

impl<'a> Builder<'a> {
    /// A product of the last axis with constant weights `(out, in)`, as a 1x1 convolution.
    pub(in crate::import::onnx) fn linear(
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

    /// Parts of a constant table at computed places: the table times which of its places is meant, which is exact for
    /// finite numbers. Negative places count from the end.
    pub(super) fn looked_up(&mut self, reader: &Reader<'a>) -> Result<Live> {
        const MOST: usize = 256;
        let (name, index) = (reader.name(), self.live(reader, 1)?);
        let table = self.constant(reader, 0)?;
        let along = axis(reader.int("axis", 0), table.dims.len())?;
        let count = table.dims[along];
        if along != 0 || count > MOST {
            let what =
                format!("its indices depend on the picture, and pick of {count} places of axis {along}");
            return Err(
                reader.unsupported(&format!("{what}; expected the first axis, at most {MOST} places"))
            );
        }
        let dims = index.dims();
        let columns = dims.last().copied().unwrap_or(1);
        let plane = [1, 1, product(&dims) / columns.max(1), columns];
        let index = self.reshaped_live(&Live { kind: Kind::Float, ..index }, &plane)?;
        let number = |v: f32| Value::Constant(Array::scalar(Kind::Float, f64::from(v)));
        let is_negative = self.combined(name, BinaryKind::Less, &Value::Live(index.clone()), &number(0.0))?;
        let turn = self.combined(name, BinaryKind::Mul, &Value::Live(is_negative), &number(count as f32))?;
        let index = self.combined(name, BinaryKind::Add, &Value::Live(index), &Value::Live(turn))?;
        let places = Array::of_floats(vec![count, 1, 1], (0..count).map(|place| place as f32).collect())?;
        let hot = self.combined(name, BinaryKind::Equal, &Value::Live(index), &Value::Constant(places))?;
        let behind = &table.dims[1..];
        let rows = [count, product(behind)];
        let weight = Self::matrix(&Array::of_floats(rows.to_vec(), table.floats().to_vec())?, true, 1.0)?;
        let made = self.linear(name, &Live { kind: Kind::Float, ..hot }, weight, None, 1)?;
        let made = Live { view: made.view.permuted(&[0, 2, 3, 1])?, kind: table.kind, ..made };
        self.reshaped_live(&made, &[&dims[..], behind].concat())
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
        let transposed = [("transA", 0), ("transB", 1)].map(|(name, i)| {
            let value = self.operand(reader, i)?;
            if value.dims().len() != 2 {
                return Err(Error::shape(format!("operand {i}"), "2 axes", format!("{:?}", value.dims())));
            }
            match reader.int(name, 0) {
                0 => Ok(value),
                _ => self.seen(&value, value.view().permuted(&[1, 0])?),
            }
        });
        let [a, b] = transposed;
        let product = match (a?, b?, reader.float("alpha", 1.0)) {
            // The bias of a convolution costs nothing.
            (Value::Live(a), Value::Constant(b), alpha) => {
                let weight = Self::matrix(&b, true, alpha)?;
                let (beta, outs) = (reader.float("beta", 1.0), weight.shape().n);
                let bias = self.optional(reader, 2)?;
                if let Some(Value::Constant(bias)) = bias
                    && (bias.len() == 1 || (bias.len() == outs && bias.dims.last() == Some(&outs)))
                {
                    let each = bias.per_channel(outs)?.iter().map(|v| v * beta).collect();
                    return self.linear(reader.name(), &a, weight, Some(each), 1);
                }
                self.linear(reader.name(), &a, weight, None, 1)?
            }
            (a, b, alpha) => {
                let product = self.multiplied(reader.name(), &a, &b)?;
                if alpha == 1.0 {
                    product
                } else {
                    self.affine(reader.name(), &product, vec![alpha], vec![0.0])?
                }
            }
        };
        let Some(bias) = self.optional(reader, 2)? else { return Ok(product) };
        let bias = match reader.float("beta", 1.0) {
            1.0 => bias,
            beta => {
                let bias = self.as_live(&bias)?;
                Value::Live(self.affine(reader.name(), &bias, vec![beta], vec![0.0])?)
            }
        };
        self.combined(reader.name(), BinaryKind::Add, &Value::Live(product), &bias)
    }

    pub(super) fn matmul(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let (a, b) = (self.operand(reader, 0)?, self.operand(reader, 1)?);
        self.multiplied(reader.name(), &a, &b)
    }

    /// A product of matrices, as NumPy's `matmul` defines it.
    pub(super) fn multiplied(&mut self, name: &str, a: &Value, b: &Value) -> Result<Live> {
        let (left, right) = (a.dims(), b.dims());
        // A vector is a matrix of one row or column, which the result lacks.
        if left.len() == 1 || right.len() == 1 {
            let a = if left.len() == 1 { self.reshaped(a, &[1, left[0]])? } else { a.clone() };
            let b = if right.len() == 1 { self.reshaped(b, &[right[0], 1])? } else { b.clone() };
            let product = self.multiplied(name, &a, &b)?;
            let mut dims = product.dims();
            if right.len() == 1 {
                dims.pop();
            }
            if left.len() == 1 {
                dims.remove(dims.len() - usize::from(right.len() != 1) - 1);
            }
            return self.reshaped_live(&product, &dims);
        }
        // Constant weights of one matrix, whatever ones are in front.
        let single = |array: &Array, other: &Live| {
            let rank = array.dims.len();
            let plain =
                rank >= 2 && rank <= other.view.rank().max(2) && product(&array.dims[..rank - 2]) == 1;
            plain.then(|| array.viewed(&View::whole(&array.dims[rank - 2..]))).transpose()
        };
        // The weights stand right or left: the sum is over the last axis of the other operand, or the one before it.
        let found = match (a, b) {
            (Value::Live(live), Value::Constant(array)) => Some((live, array, 1)),
            (Value::Constant(array), Value::Live(live)) => Some((live, array, 2)),
            _ => None,
        };
        if let Some((live, array, behind)) = found
            && let Some(array) = single(array, live)?
        {
            let weight = Self::matrix(&array, behind == 1, 1.0)?;
            return self.linear(name, live, weight, None, live.view.rank() - behind);
        }
        let (a, b) = (self.as_live(a)?, self.as_live(b)?);
        self.product(name, &a, &b)
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
        if left.len() < 2 || right.len() < 2 {
            return Err(Error::shape("operands", "at least 2 axes each", format!("{left:?} and {right:?}")));
        }
        let mut dims = broadcast(&[&left[..left.len() - 2], &right[..right.len() - 2]])?;
        let batch = dims.len();
        dims.extend([left[left.len() - 2], right[right.len() - 1]]);
        let (a, b) = match batch {
            ..=2 => (a.clone(), b.clone()),
            // The first axes of both become one.
            _ => (self.batched(a, &dims[..batch])?, self.batched(b, &dims[..batch])?),
        };
        let ((a, _), (b, _)) = (self.nchw(&a)?, self.nchw(&b)?);
        Ok(Live::new(self.push(name, MatMul, &[a, b])?, View::whole(&dims)))
    }

    /// Matrices with these more than two axes before their rows, all but the last of which become one.
    fn batched(&mut self, live: &Live, batch: &[usize]) -> Result<Live> {
        let own = live.dims();
        let (before, matrix) = own.split_at(own.len() - 2);
        let (first, last) = batch.split_at(batch.len() - 1);
        if product(before) == 1 {
            return self.reshaped_live(live, &[1, 1, matrix[0], matrix[1]]);
        }
        let wide = Live { view: live.view.expanded(&[batch, matrix].concat())?, ..live.clone() };
        self.reshaped_live(&wide, &[product(first), last[0], matrix[0], matrix[1]])
    }
}
