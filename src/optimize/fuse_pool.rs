//! A 2x2 max pool becomes the second output of the convolution that makes its input.

use crate::graph::{Graph, Op, Pool, PoolKind};

pub(super) fn apply(graph: &mut Graph) {
    let mut i = 0;
    while i < graph.nodes.len() {
        let Op::Pool(pool) = graph.nodes[i].op else {
            i += 1;
            continue;
        };
        let plain = pool.kind == PoolKind::Max
            && (pool.kernel, pool.stride, pool.padding, pool.ceil)
                == (Pool::MAX_2X2.kernel, Pool::MAX_2X2.stride, Pool::MAX_2X2.padding, Pool::MAX_2X2.ceil);
        let producer = graph.producer(graph.nodes[i].inputs[0]);
        match producer.map(|p| &mut graph.nodes[p]) {
            Some(node) if plain && node.outputs.len() == 1 => match &mut node.op {
                Op::Conv(conv) => {
                    conv.pool = true;
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
