//! The cost model: the least that each layer, and each group of layers in one kernel, must compute and move, and how
//! long that takes at given peak rates. Williams, Waterman and Patterson, "Roofline", CACM 52(4), 2009.

use super::text;
use crate::error::Result;
use serde::Serialize;
use serde_json::{Value, json};
use unet_wgpu::Shape;
use unet_wgpu::graph::{Graph, Node, ValueId};
use unet_wgpu::plan::Precision;

/// The least work of one layer or group.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Cost {
    pub(super) name: String,
    pub(super) op: &'static str,
    /// Multiplications and additions of the layers as they are written, whatever a kernel saves.
    pub(super) flops: u64,
    /// Weights, inputs and outputs, each moved once.
    pub(super) bytes: u64,
    /// Layers in it.
    pub(super) layers: usize,
}

impl Cost {
    /// Multiplications and additions per byte.
    pub(super) fn intensity(&self) -> f64 {
        self.flops as f64 / self.bytes.max(1) as f64
    }
}

/// Peak rates of a device.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rates {
    /// Multiplications and additions per second.
    pub(super) flops: f64,
    /// Bytes per second.
    pub(super) bytes: f64,
}

impl Rates {
    /// The least time for the work, in seconds.
    pub(super) fn floor(self, flops: u64, bytes: u64) -> f64 {
        (flops as f64 / self.flops).max(bytes as f64 / self.bytes)
    }

    /// What limits the speed: computing or moving.
    fn bound(self, cost: &Cost) -> &'static str {
        if cost.flops as f64 / self.flops > cost.bytes as f64 / self.bytes { "compute" } else { "memory" }
    }

    /// The rates of an H200 from its data sheet, rounded down: f32 without matrix units, f16 with them.
    pub(super) fn h200(precision: Precision) -> Rates {
        let tflops = match precision {
            Precision::F32 => 60.0,
            Precision::F16 => 800.0,
        };
        Rates { flops: tflops * 1e12, bytes: 4.8e12 }
    }
}

/// The cost of every layer by itself.
pub(super) fn layers(graph: &Graph, inputs: &[Shape], precision: Precision) -> Result<Vec<Cost>> {
    let shapes = graph.shapes(inputs)?;
    let cost = |node: &Node| {
        Ok(Cost {
            name: node.name.clone(),
            op: node.op.rules().name(),
            flops: flops(node, &shapes)?,
            bytes: bytes(graph, node, &shapes, precision)?,
            layers: 1,
        })
    };
    graph.nodes().iter().map(cost).collect()
}

/// The nodes of an optimised graph, each with the work of all its layers.
pub(super) fn groups(
    graph: &Graph,
    optimized: &Graph,
    inputs: &[Shape],
    precision: Precision,
) -> Result<Vec<Cost>> {
    let shapes = graph.shapes(inputs)?;
    let mut groups = layers(optimized, inputs, precision)?;
    for group in &mut groups {
        (group.flops, group.layers) = (0, 0);
    }
    for (node, group) in graph.nodes().iter().zip(members(graph, optimized)) {
        if let Some(group) = group {
            groups[group].flops += flops(node, &shapes)?;
            groups[group].layers += 1;
        }
    }
    Ok(groups)
}

/// For each layer, the node of the optimised graph that computes it. That is the node that makes its value. If no node
/// makes the value, it is the node that computes the reader of the value or, at the end of the network, the node that
/// makes what it reads.
fn members(graph: &Graph, optimized: &Graph) -> Vec<Option<usize>> {
    let nodes = graph.nodes();
    let mut members: Vec<Option<usize>> =
        nodes.iter().map(|node| node.outputs.iter().find_map(|&id| optimized.producer(id))).collect();
    for i in (0..nodes.len()).rev().filter(|&i| nodes[i].outputs.len() == 1) {
        let reader = || (i + 1..nodes.len()).find(|&r| nodes[r].inputs.contains(&nodes[i].outputs[0]));
        members[i] = members[i].or_else(|| members[reader()?]);
    }
    for i in 0..nodes.len() {
        let source = || nodes[i].inputs.iter().find_map(|&id| graph.producer(id));
        members[i] = members[i].or_else(|| members[source()?]);
    }
    members
}

fn flops(node: &Node, shapes: &[Option<Shape>]) -> Result<u64> {
    Ok(node.op.rules().flops(&node.input_shapes(shapes)?, &node.output_shapes(shapes)))
}

/// Weights, inputs and outputs, each once. A value that is read twice counts once. An output that nothing reads does
/// not count.
fn bytes(graph: &Graph, node: &Node, shapes: &[Option<Shape>], precision: Precision) -> Result<u64> {
    let inputs = node.input_shapes(shapes)?;
    let first = |i: &usize| !node.inputs[..*i].contains(&node.inputs[*i]);
    let read = (0..inputs.len()).filter(first).map(|i| inputs[i].elements());
    let wanted = |id: &&ValueId| graph.uses(**id) > 0 || **id == graph.output();
    let written = node.outputs.iter().filter(wanted).filter_map(|id| shapes[id.index()]).map(Shape::elements);
    let elements = read.chain(written).chain([node.op.rules().parameters()]);
    Ok(elements
        .fold(0, |sum: u64, n| sum.saturating_add((n as u64).saturating_mul(precision.bytes() as u64))))
}

/// The sums of a table.
fn total(costs: &[Cost], rates: Rates) -> (u64, u64, f64) {
    let sum = |part: fn(&Cost) -> u64| costs.iter().map(part).sum();
    let floor = costs.iter().map(|c| rates.floor(c.flops, c.bytes)).sum();
    (sum(|c| c.flops), sum(|c| c.bytes), floor)
}

/// Two tables: single layers, and fused groups.
pub(super) fn describe(layers: &[Cost], groups: &[Cost], rates: Rates, precision: Precision) -> String {
    let head = format!(
        "floor: the longer of flops at {:.1} TFLOP/s and bytes at {:.0} GB/s; weights, inputs and outputs once, in {precision}\n",
        rates.flops / 1e12,
        rates.bytes / 1e9
    );
    let gained = total(layers, rates).2 / total(groups, rates).2.max(f64::MIN_POSITIVE);
    format!(
        "{head}\neach layer by itself\n{}\nfused groups, {gained:.2} times less\n{}",
        table(layers, rates),
        table(groups, rates)
    )
}

fn table(costs: &[Cost], rates: Rates) -> String {
    let mut rows =
        vec![text::row([&"name", &"op", &"bound by", &"layers", &"MFLOP", &"MB", &"flop/byte", &"floor us"])];
    let row = |name: &str, op, bound, layers: usize, (flops, bytes, floor): (u64, u64, f64)| {
        let mega = |n: u64| format!("{:.2}", n as f64 / 1e6);
        let intensity = format!("{:.1}", flops as f64 / bytes.max(1) as f64);
        let floor = format!("{:.3}", floor * 1e6);
        text::row([&name, &op, &bound, &layers, &mega(flops), &mega(bytes), &intensity, &floor])
    };
    rows.extend(costs.iter().map(|c| {
        let work = (c.flops, c.bytes, rates.floor(c.flops, c.bytes));
        row(&c.name, c.op, rates.bound(c), c.layers, work)
    }));
    rows.push(row("total", "", "", costs.iter().map(|c| c.layers).sum(), total(costs, rates)));
    text::table(&rows, 3)
}

/// The same as JSON.
pub(super) fn json(layers: &[Cost], groups: &[Cost], rates: Rates) -> Value {
    let part = |costs: &[Cost]| {
        let (flops, bytes, floor) = total(costs, rates);
        let one = |c: &Cost| {
            json!({
                "name": c.name,
                "op": c.op,
                "layers": c.layers,
                "flops": c.flops,
                "bytes": c.bytes,
                "intensity": c.intensity(),
                "floor_us": rates.floor(c.flops, c.bytes) * 1e6,
                "bound": rates.bound(c),
            })
        };
        let all: Vec<Value> = costs.iter().map(one).collect();
        json!({ "flops": flops, "bytes": bytes, "floor_us": floor * 1e6, "all": all })
    };
    json!({
        "tflops": rates.flops / 1e12,
        "gbs": rates.bytes / 1e9,
        "layers": part(layers),
        "groups": part(groups),
    })
}
