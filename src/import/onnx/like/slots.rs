//! The weights that a graph reads, and what the names of nodes and modules tell of them.

use crate::import::onnx::proto::Node;
use std::collections::BTreeMap;

/// A constant of the graph that a tensor of the state dict belongs to.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) constant: String,
    pub(super) op: String,
    /// The module that the node's name tells.
    pub(super) module: String,
    /// What the constant is of that module.
    pub(super) part: &'static str,
    /// The convolution's bias in the graph.
    pub(super) bias: Option<String>,
    /// Whether the exporter joined a norm with it, by the names that it leaves.
    pub(super) is_joined: bool,
}

impl Slot {
    /// Whether it is the weight of a convolution or a matrix.
    pub(super) fn is_kernel(&self) -> bool {
        self.part == "weight" && ["Conv", "ConvTranspose", "Gemm", "MatMul"].contains(&self.op.as_str())
    }
}

/// The weights that a node reads.
pub(super) fn slots(node: &Node, dims: &BTreeMap<String, Vec<usize>>) -> Vec<Slot> {
    let parts: &[(usize, &'static str)] = match node.op_type.as_str() {
        "Conv" | "ConvTranspose" => &[(1, "weight")],
        "Gemm" => &[(1, "weight"), (2, "bias")],
        "MatMul" => &[(1, "weight")],
        "InstanceNormalization" | "LayerNormalization" | "GroupNormalization" | "PRelu" => {
            &[(1, "weight"), (2, "bias")]
        }
        "BatchNormalization" => &[(1, "weight"), (2, "bias"), (3, "running_mean"), (4, "running_var")],
        "Mul" => &[(0, "weight"), (1, "weight")],
        "Add" => &[(0, "bias"), (1, "bias")],
        _ => &[],
    };
    let is_conv = node.op_type.starts_with("Conv");
    let constant = |at: usize| node.input.get(at).filter(|name| dims.contains_key(*name));
    let slot = |&(at, part): &(usize, &'static str)| {
        let name = constant(at)?;
        // Numbers of arithmetic are weights only if they have the name of one.
        if ["Mul", "Add"].contains(&node.op_type.as_str()) && dims[name].iter().product::<usize>() < 2 {
            return None;
        }
        let bias = if is_conv { constant(2).cloned() } else { None };
        let is_joined = name.starts_with("onnx::")
            || bias.as_ref().is_some_and(|bias| bias.ends_with("weight_bias"))
            || ["node_Conv_", "node_ConvTranspose_"].iter().any(|start| node.name.starts_with(start));
        Some(Slot {
            constant: name.clone(),
            op: node.op_type.clone(),
            module: module(&node.name),
            part,
            bias,
            is_joined,
        })
    };
    parts.iter().filter_map(slot).collect()
}

/// The module of a node's name: `/down.0/down.0.1/conv/Conv` is `down.0.1.conv`.
fn module(node: &str) -> String {
    let Some((scopes, _)) = node.trim_start_matches('/').rsplit_once('/') else { return String::new() };
    let (mut path, mut last) = (String::new(), "");
    for scope in scopes.split('/') {
        let own =
            scope.strip_prefix(last).and_then(|rest| rest.strip_prefix('.')).filter(|_| !last.is_empty());
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(own.unwrap_or(scope));
        last = scope;
    }
    path
}

/// A name without its first parts.
pub(super) fn drop_parts(name: &str, count: usize) -> Option<&str> {
    let mut rest = name;
    for _ in 0..count {
        rest = rest.split_once('.')?.1;
    }
    (!rest.is_empty()).then_some(rest)
}

/// Whether the names of a norm and of a convolution's weight tell that the one follows the other.
pub(super) fn is_norm_of(norm: &str, weight: &str) -> bool {
    let parts = |name: &'_ str| {
        let module = name.trim_end_matches("weight").trim_end_matches('.').to_string();
        let (parent, leaf) = module.rsplit_once('.').unwrap_or(("", &module));
        (parent.to_string(), leaf.to_string())
    };
    let ((parent, norm), (other, conv)) = (parts(norm), parts(weight));
    let number = |leaf: &str| leaf.trim_start_matches(|c: char| !c.is_ascii_digit()).to_string();
    let follows = match (conv.parse::<u32>(), norm.parse::<u32>()) {
        (Ok(conv), Ok(norm)) => norm.checked_sub(1) == Some(conv),
        (Err(_), Err(_)) => (norm.contains("bn") || norm.contains("norm")) && number(&norm) == number(&conv),
        _ => false,
    };
    parent == other && follows
}

/// Whether a path of modules has all parts of another in their order, the last one last.
pub(super) fn holds(path: &str, parts: &str) -> bool {
    let mut own = path.rsplit('.');
    let mut parts = parts.rsplit('.');
    own.next() == parts.next() && parts.all(|part| own.any(|own| own == part))
}
