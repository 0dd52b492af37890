//! Products of computed matrices.

use super::*;
use unet_wgpu::graph::MatMul;

pub(super) fn cases() -> Vec<Case> {
    let case = |what: &str, a: Shape, b: Shape| {
        let mut graph = Graph::new(a.c);
        let other = push(&mut graph, "constant", constant(b, -1.0, 1.0), &[]);
        push(&mut graph, "op", MatMul, &[Graph::INPUT, other]);
        Case::new(format!("{what} with {b}"), graph, a)
    };
    let mut cases = Vec::new();
    for (a, b) in [
        (Shape::new(2, 7, 5, 6), Shape::new(2, 7, 6, 9)),
        (Shape::new(2, 8, 4, 3), Shape::new(1, 8, 3, 4)),
        (Shape::new(1, 1, 17, 33), Shape::new(1, 1, 33, 7)),
        (Shape::new(2, 5, 3, 4), Shape::new(1, 1, 4, 2)),
        (Shape::new(2, 1, 3, 4), Shape::new(1, 6, 4, 5)),
        (Shape::new(1, 3, 1, 64), Shape::new(1, 3, 64, 1)),
    ] {
        cases.push(case("matmul", a, b));
    }
    for (a, b) in [
        (Shape::new(2, 5, 3, 4), Shape::new(2, 5, 4, 6)),
        (Shape::new(1, 1, 9, 17), Shape::new(1, 1, 17, 5)),
        (Shape::new(2, 6, 3, 4), Shape::new(1, 1, 4, 2)),
    ] {
        cases.push(case("matmul, by PyTorch,", a, b).pytorch());
        cases.push(Case::of("matmul of two inputs, by PyTorch", MatMul, &[a, b]).pytorch());
    }
    for (a, b) in [(5, 5), (5, 1), (1, 8)] {
        cases.push(case("kernels of matmul", Shape::new(1, a, 33, 18), Shape::new(1, b, 18, 7)).kernels());
    }
    cases
}

pub(super) fn reference(op: &Op, inputs: &[&Volume]) -> Option<Volume> {
    let Op::MatMul(MatMul) = op else { return None };
    let (a, b) = (inputs[0], inputs[1]);
    let (n, c) = (a.shape.n.max(b.shape.n), a.shape.c.max(b.shape.c));
    Some(Volume::gather(Shape { n, c, h: a.shape.h, w: b.shape.w }, |[n, c, y, x]| {
        (0..a.shape.w).map(|k| a.spread([n, c, y, k]) * b.spread([n, c, k, x])).sum()
    }))
}

pub(super) fn draw(kind: &str, to: &mut Drawing) -> Option<ValueId> {
    if kind != "MatMul" {
        return None;
    }
    let a = to.value();
    let Shape { n, c, w, .. } = to.shape(a);
    let columns = 1 + to.random.below(6);
    let channels = to.random_extent(c);
    let b = to.operand(Shape::new(n, channels, w, columns), -0.5, 0.5)?;
    to.push(MatMul, &[a, b])
}
