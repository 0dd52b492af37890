//! Merging: the results of tiles are added to rows of the whole result, always in the same order.

use super::layout::Span;
use crate::error::Result;
use crate::lock::{lock, unlocked};
use crate::tensor::Tensor;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

/// Calls `make` with 0 to `count - 1` on this many threads, and `take` with each result in that order. After an error,
/// `take` is not called again.
pub(super) fn in_order<T>(
    count: usize,
    threads: usize,
    make: impl Fn(usize) -> Result<T> + Sync,
    take: impl FnMut(usize, T) + Send,
) -> Result<()> {
    let taken = Mutex::new((0, Ok(take)));
    let turn = Condvar::new();
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= count {
                break;
            }
            let _let_go = LetGo(&taken, &turn);
            let made = make(at);
            let waiting = turn.wait_while(lock(&taken), |(taken, _)| *taken < at);
            let mut taken = waiting.unwrap_or_else(PoisonError::into_inner);
            match (&mut taken.1, made) {
                (Ok(take), Ok(made)) => take(at, made),
                (take @ Ok(_), Err(error)) => {
                    *take = Err(error);
                    next.store(count, Ordering::Relaxed);
                }
                (Err(_), _) => {}
            }
            taken.0 = taken.0.max(at + 1);
            turn.notify_all();
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(count) {
            scope.spawn(work);
        }
        work();
    });
    unlocked(taken).1.map(|_| ())
}

/// After a panic, lets the threads go that wait for their turn.
struct LetGo<'a, T>(&'a Mutex<(usize, T)>, &'a Condvar);

impl<T> Drop for LetGo<'_, T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            lock(self.0).0 = usize::MAX;
            self.1.notify_all();
        }
    }
}

/// Writes whole rows to their place.
pub(super) fn paste(to: &mut Tensor, rows: &Tensor, first: usize) {
    let (s, h) = (to.shape(), rows.shape().h);
    let planes = to.data_mut().chunks_exact_mut(s.pixels()).zip(rows.data().chunks_exact(h * s.w));
    planes.for_each(|(to, rows)| to[first * s.w..][..rows.len()].copy_from_slice(rows));
}

/// The tensor without its first rows, filled up with zeros at the end.
pub(super) fn shifted(mut x: Tensor, rows: usize) -> Tensor {
    let s = x.shape();
    for plane in x.data_mut().chunks_exact_mut(s.pixels()) {
        let gone = (rows * s.w).min(plane.len());
        plane.copy_within(gone.., 0);
        let left = plane.len() - gone;
        plane[left..].fill(0.0);
    }
    x
}

/// Adds the weighted result of a tile to the open rows. The first open row is the first row of the tile.
pub(super) fn add(open: &mut Tensor, tile: &Tensor, row: &Span, column: &Span) {
    let (to, s) = (open.shape(), tile.shape());
    let planes = open.data_mut().chunks_exact_mut(to.pixels()).zip(tile.data().chunks_exact(s.pixels()));
    for (open, tile) in planes {
        for y in row.wanted.clone() {
            let weight = row.weights[y];
            let open = &mut open[y * to.w + column.output..][..s.w];
            let tile = &tile[y * s.w..][..s.w];
            for x in column.wanted.clone() {
                open[x] += weight * column.weights[x] * tile[x];
            }
        }
    }
}
