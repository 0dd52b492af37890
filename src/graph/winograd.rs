//! Winograd convolution for 3x3 kernels (Lavin and Gray 2015): tiles of outputs from products in a transformed space.
//! 2x2 tiles need 2.25 times fewer multiplications, 4x4 tiles 4 times fewer. This file has the transform of the
//! weights, which every backend uses, and the CPU implementation. The GPU's is in `winograd_input.wgsl` and
//! `winograd_output.wgsl`.

use crate::tensor::{Shape, Tensor};

/// `G g Gt` of each 3x3 kernel `g`: kernels with sides of `size + 2`, computed in f64.
pub(crate) fn transform_weights(weight: &Tensor, size: usize) -> Tensor {
    const G2: [[f64; 3]; 4] = [[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]];
    const G4: [[f64; 3]; 6] = [
        [1.0 / 4.0, 0.0, 0.0],
        [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
        [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
        [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
        [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
        [0.0, 0.0, 1.0],
    ];
    let g: &[[f64; 3]] = if size == 4 { &G4 } else { &G2 };
    let (side, s) = (size + 2, weight.shape());
    let mut data = Vec::with_capacity(s.n * s.c * side * side);
    for kernel in weight.data().chunks(9) {
        for row in g {
            for column in g {
                let terms = (0..9).map(|i| row[i / 3] * f64::from(kernel[i]) * column[i % 3]);
                data.push(terms.sum::<f64>() as f32);
            }
        }
    }
    Tensor::new(Shape::new(s.n, s.c, side, side), data).expect("side * side numbers per kernel")
}

#[cfg(feature = "cpu")]
pub(super) use cpu::Winograd;

#[cfg(feature = "cpu")]
mod cpu {
    use super::*;
    use crate::graph::Conv;
    use crate::graph::conv::{Task, slide};
    use crate::graph::gemm::{Matrix, multiply};
    use rayon::prelude::*;

    /// Outputs along the side of a tile.
    const SIZE: usize = 4;
    /// Inputs along the side of a tile.
    const T: usize = SIZE + 2;
    /// Positions in a tile.
    const PLACES: usize = T * T;
    /// Elements of a block's transformed input or products, a megabyte each. Both stay in the cache of a core.
    const BLOCK: usize = 256 * 1024;

    /// A 3x3 convolution prepared for F(4x4, 3x3).
    pub(in crate::graph) struct Winograd {
        /// `[place][out][in]`.
        weights: Vec<f32>,
    }

    impl Winograd {
        /// Prepares a convolution. `None` if Winograd would not be faster.
        pub(in crate::graph) fn new(conv: &Conv, y: Shape) -> Option<Winograd> {
            let s = conv.weight.shape();
            let plain =
                (conv.kernel(), conv.stride, conv.dilation, conv.groups) == ([3, 3], [1, 1], [1, 1], 1);
            // With few tiles, reading the transformed weights (4 times as many) costs more than it saves.
            let tiles = y.n * y.h.div_ceil(SIZE) * y.w.div_ceil(SIZE);
            if !plain || s.c < 8 || s.n < 8 || tiles < 16 {
                return None;
            }
            let kernels = transform_weights(&conv.weight, SIZE);
            let mut weights = vec![0.0; kernels.data().len()];
            for (pair, kernel) in kernels.data().chunks(PLACES).enumerate() {
                for (place, &v) in kernel.iter().enumerate() {
                    weights[place * s.n * s.c + pair] = v;
                }
            }
            Some(Winograd { weights })
        }

        pub(in crate::graph) fn run(&self, conv: &Conv, inputs: &[&Tensor], y: &mut Tensor) {
            let (to, s) = (y.shape(), conv.weight.shape());
            let tiles_x = to.w.div_ceil(SIZE);
            let fair = to.h.div_ceil(SIZE * rayon::current_num_threads());
            let rows = SIZE * (BLOCK / PLACES / s.c.max(s.n) / tiles_x).clamp(1, fair.max(1));
            let tasks = Task::all(y, 1, rows).into_par_iter();
            tasks
                .for_each_init(Scratch::default, |scratch, task| scratch.run(self, conv, inputs, task, to.w));
        }
    }

    #[derive(Default)]
    struct Scratch {
        /// `[place][in][tile]`
        transformed: Vec<f32>,
        /// `[place][out][tile]`
        products: Vec<f32>,
        /// `[row or column of a tile][tile]`, of one channel.
        tile: Vec<f32>,
    }

    impl Scratch {
        fn run(
            &mut self,
            winograd: &Winograd,
            conv: &Conv,
            inputs: &[&Tensor],
            task: Task<'_>,
            width: usize,
        ) {
            let s = conv.weight.shape();
            let (tiles_x, tiles_y) = (width.div_ceil(SIZE), task.rows.len().div_ceil(SIZE));
            let (tiles, run) = (tiles_x * tiles_y, task.planes.len());
            self.transformed.resize(PLACES * s.c * tiles, 0.0);
            self.products.resize(PLACES * run * tiles, 0.0);
            self.tile.resize(PLACES * tiles, 0.0);
            for c in 0..s.c {
                let source = Conv::source(inputs, task.picture, c);
                gather(source, conv.padding, task.rows.start, tiles_x, &mut self.tile);
                transform(&mut self.tile, tiles, T, forward);
                let places = self.transformed.chunks_mut(s.c * tiles).zip(self.tile.chunks(tiles));
                places.for_each(|(to, from)| to[c * tiles..][..tiles].copy_from_slice(from));
            }
            for (place, products) in self.products.chunks_mut(run * tiles).enumerate() {
                multiply(
                    [run, tiles, s.c],
                    Matrix::rows(&winograd.weights[(place * s.n + task.first_channel) * s.c..], s.c),
                    Matrix::rows(&self.transformed[place * s.c * tiles..], tiles),
                    products,
                );
            }
            for (c, y) in task.planes.into_iter().enumerate() {
                for (place, tile) in self.tile.chunks_mut(tiles).enumerate() {
                    tile.copy_from_slice(&self.products[(place * run + c) * tiles..][..tiles]);
                }
                transform(&mut self.tile, tiles, SIZE, backward);
                let c = task.first_channel + c;
                let bias = conv.bias.as_ref().map_or(0.0, |b| b[c]);
                scatter(&self.tile, tiles_x, bias, width, y);
                conv.end(y, inputs, [task.picture, c, task.rows.start * width]);
            }
        }
    }

    /// The overlapping tiles of one channel as `[place][tile]`, with zeros around the picture.
    fn gather(
        (x, [h, w]): (&[f32], [usize; 2]),
        padding: [usize; 4],
        row: usize,
        tiles_x: usize,
        to: &mut [f32],
    ) {
        let tiles = to.len() / PLACES;
        for (place, to) in to.chunks_mut(tiles).enumerate() {
            for (tile_y, to) in to.chunks_mut(tiles_x).enumerate() {
                let y = (row + tile_y * SIZE + place / T).wrapping_sub(padding[0]);
                if y >= h {
                    to.fill(0.0);
                    continue;
                }
                slide(&x[y * w..][..w], place % T, padding[1], SIZE, to);
            }
        }
    }

    /// Transforms all columns of the tiles, then the remaining rows.
    fn transform(tile: &mut [f32], tiles: usize, rows_left: usize, line: impl Fn([f32; T]) -> [f32; T]) {
        let mut places: Vec<&mut [f32]> = tile.chunks_mut(tiles).collect();
        let columns = (0..T).map(|column| [0, 1, 2, 3, 4, 5].map(|i| column + i * T));
        let rows = (0..rows_left).map(|row| [0, 1, 2, 3, 4, 5].map(|i| row * T + i));
        for indices in columns.chain(rows) {
            let six = places.get_disjoint_mut(indices).expect("six different places of a tile");
            let [a, b, c, d, e, f] = six.map(|place| &mut place[..tiles]);
            for t in 0..tiles {
                [a[t], b[t], c[t], d[t], e[t], f[t]] = line([a[t], b[t], c[t], d[t], e[t], f[t]]);
            }
        }
    }

    /// A row of `Bt d`.
    fn forward([d0, d1, d2, d3, d4, d5]: [f32; T]) -> [f32; T] {
        let (even, odd) = (d4 - 4.0 * d2, d3 - 4.0 * d1);
        let (even2, odd2) = (d4 - d2, 2.0 * (d3 - d1));
        [
            4.0 * d0 - 5.0 * d2 + d4,
            even + odd,
            even - odd,
            even2 + odd2,
            even2 - odd2,
            4.0 * d1 - 5.0 * d3 + d5,
        ]
    }

    /// A row of `At m`. The last two positions are not used afterwards.
    fn backward([m0, m1, m2, m3, m4, m5]: [f32; T]) -> [f32; T] {
        let (even, odd) = (m1 + m2, m1 - m2);
        let (even2, odd2) = (m3 + m4, m3 - m4);
        [m0 + even + even2, odd + 2.0 * odd2, even + 4.0 * even2, odd + 8.0 * odd2 + m5, 0.0, 0.0]
    }

    /// Writes the results of the tiles to the rows of a plane, with bias.
    fn scatter(tile: &[f32], tiles_x: usize, bias: f32, width: usize, y: &mut [f32]) {
        let tiles = tile.len() / PLACES;
        for (row, y) in y.chunks_mut(width).enumerate() {
            let places = &tile[row % SIZE * T * tiles + row / SIZE * tiles_x..];
            for (tile_x, y) in y.chunks_mut(SIZE).enumerate() {
                for (place, y) in y.iter_mut().enumerate() {
                    *y = places[place * tiles + tile_x] + bias;
                }
            }
        }
    }
}
