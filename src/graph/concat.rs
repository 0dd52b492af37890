//! Joining tensors along channels. Shader: `concat.wgsl`, only where no convolution can read the parts.

use super::Operator;
use crate::error::{Error, Result};
use crate::tensor::Shape;
#[cfg(feature = "cpu")]
use crate::tensor::Tensor;

/// Channel concatenation of its inputs, in their order.
#[derive(Debug, Clone, Copy, Default)]
pub struct Concat;

/// The shape of tensors joined along channels; all other extents must agree.
pub(crate) fn joined(inputs: &[Shape]) -> Result<Shape> {
    let Some(&first) = inputs.first() else {
        return Err(Error::shape("inputs", "at least 1", 0));
    };
    let mut channels = 0usize;
    for x in inputs {
        if (x.n, x.h, x.w) != (first.n, first.h, first.w) {
            return Err(Error::shape("concat", format!("({},*,{},{})", first.n, first.h, first.w), x));
        }
        channels = channels.saturating_add(x.c);
    }
    Ok(Shape { c: channels, ..first })
}

impl Operator for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        Ok(vec![joined(inputs)?])
    }

    fn flops(&self, _: &[Shape], _: &[Shape]) -> u64 {
        0
    }

    #[cfg(feature = "cpu")]
    fn cpu(&self, inputs: &[&Tensor], outputs: &mut [Tensor]) {
        outputs[0].par_planes(|n, c, y| {
            let mut c = c;
            for x in inputs {
                if c < x.shape().c {
                    return y.copy_from_slice(x.plane(n, c));
                }
                c -= x.shape().c;
            }
        });
    }
}
