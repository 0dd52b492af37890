//! Makes a 2x2 max pool the second output of the convolution that makes its input.

use crate::graph::{Ending, Graph, Op, PoolKind};
use crate::tensor::Shape;

pub(super) fn apply(graph: &mut Graph, _: &[Option<Shape>]) {
    let mut i = 0;
    while i < graph.nodes.len() {
        let Op::Pool(pool) = graph.nodes[i].op else {
            i += 1;
            continue;
        };
        let plain = pool.kind == PoolKind::Max
            && (pool.kernel, pool.stride, pool.padding) == ([2, 2], [2, 2], [0; 4])
            && (pool.dilation, pool.ceil) == ([1, 1], false);
        let producer = graph.nodes[i].inputs.first().and_then(|&id| graph.producer(id));
        match producer.map(|p| &mut graph.nodes[p]) {
            Some(node) if plain && node.outputs.len() == 1 => match &mut node.op {
                Op::Conv(conv) if matches!(conv.ending, Ending::Plain) => {
                    conv.ending = Ending::Pool;
                    let producer = producer.expect("matched above");
                    let pooled = graph.nodes.remove(i).outputs[0];
                    graph.nodes[producer].outputs.push(pooled);
                }
                _ => i += 1,
            },
            _ => i += 1,
        }
    }
}
