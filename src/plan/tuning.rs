//! Measured kernel choices: the fastest kernel for each layer on one device. Plain data; `tune` measures.

use crate::graph::{Ending, Op};
use crate::plan::{ConvKernel, Precision};
use crate::tensor::Shape;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Kernel choices by layer, for one device. [`ConvKernel::Auto`] means that the default rule was the fastest.
///
/// As JSON: a map from [`Tuning::key`] to the name of the choice, such as `"winograd4"`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tuning {
    layers: BTreeMap<String, ConvKernel>,
}

impl Tuning {
    /// The key of a layer: everything that decides how fast each kernel is for it. `None` for operators without a
    /// choice of kernels. `inputs` are the shapes that the operator reads. Weights do not matter.
    ///
    /// ```text
    /// conv 64+64>64 k3x3 s1x1 d1x1 g1 p1,1,1,1 128x128 n1 f32
    /// ```
    pub fn key(op: &Op, inputs: &[Shape], precision: Precision) -> Option<String> {
        let inputs = match op {
            Op::Conv(conv) => conv.operands(inputs).0,
            _ => inputs,
        };
        let x = inputs.first()?;
        let parts: Vec<String> = inputs.iter().map(|s| s.c.to_string()).collect();
        let pair = |[a, b]: [usize; 2]| format!("{a}x{b}");
        let sides = |sides: [usize; 4]| sides.map(|s| s.to_string()).join(",");
        let layer = match op {
            Op::Conv(conv) => format!(
                "conv {}>{} k{} s{} d{} g{} p{}{}",
                parts.join("+"),
                conv.out_channels(),
                pair(conv.kernel()),
                pair(conv.stride),
                pair(conv.dilation),
                conv.groups,
                sides(conv.padding),
                match &conv.ending {
                    Ending::Plain => String::new(),
                    Ending::Add => " add".into(),
                    Ending::Pool => " pool".into(),
                    Ending::Head(head) => format!(" head{}", head.out_channels()),
                },
            ),
            Op::ConvTranspose(conv) => format!(
                "conv_transpose {}>{} k{} s{} g{} p{} o{}",
                parts.join("+"),
                conv.out_channels(),
                pair(conv.kernel()),
                pair(conv.stride),
                conv.groups,
                sides(conv.padding),
                pair(conv.output_padding),
            ),
            _ => return None,
        };
        Some(format!("{layer} {}x{} n{} {precision}", x.h, x.w, x.n))
    }

    /// The choice for a layer, if one was measured.
    pub fn get(&self, key: &str) -> Option<ConvKernel> {
        self.layers.get(key).copied()
    }

    /// Sets the choice for a layer.
    pub fn set(&mut self, key: impl Into<String>, kernel: ConvKernel) {
        self.layers.insert(key.into(), kernel);
    }

    /// Adds all choices of `newer`, which replace existing ones.
    pub fn merge(&mut self, newer: Tuning) {
        self.layers.extend(newer.layers);
    }

    /// Layers and their choices, in key order.
    pub fn layers(&self) -> impl ExactSizeIterator<Item = (&str, ConvKernel)> {
        self.layers.iter().map(|(key, &kernel)| (key.as_str(), kernel))
    }

    /// Whether any layer uses this kernel.
    pub fn takes(&self, kernel: ConvKernel) -> bool {
        self.layers.values().any(|&k| k == kernel)
    }
}
