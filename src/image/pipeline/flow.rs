//! Processes many pictures: some threads load, some run the network, some save, so a device does not wait for files.
//!
//! Queues connect the stages. The number of pictures in flight is bounded, so neither a slow disk nor a slow device
//! fills the memory.

use super::{Batch, Input, Lane, Outcome, Pipeline, Report};
use crate::error::{Error, Result};
use crate::lock::lock;
use crate::session::Device;
use crate::tensor::{Shape, Tensor};
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::sync::{Condvar, Mutex, PoisonError};

/// Number of pixels that keeps a device busy.
const ENOUGH: usize = 512 * 512;

/// Most pictures that `Batch::Auto` runs at once.
const MOST: usize = 16;

/// Most threads for loading and for saving, if no number is given.
const MOST_THREADS: usize = 8;

/// Pictures may wait to form batches as long as the networks' inputs have fewer numbers than this, 256 MiB as f32.
const LIGHT: usize = 64 << 20;

/// New pictures are admitted as long as the inputs have fewer numbers than this. With pictures and results, memory is
/// several times as much.
const HEAVY: usize = 128 << 20;

/// Number of threads of each stage. With 0 the pipeline decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Threads {
    /// Threads that read and prepare pictures.
    pub load: usize,
    /// Runs that overlap on each device.
    pub run: usize,
    /// Threads that decode, encode and write results.
    pub save: usize,
}

impl Threads {
    /// Creates it from the three numbers.
    pub const fn new(load: usize, run: usize, save: usize) -> Threads {
        Threads { load, run, save }
    }
}

/// The order in which pictures run and are saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// As it comes.
    Any,
    /// They are saved in the jobs' order.
    Saved,
    /// They also run one after another on the first device, each with the states of the one before it.
    Run,
}

/// The result of loading.
#[derive(Debug)]
pub enum Load {
    /// An input for the network.
    Run(Box<Input>),
    /// Nothing to run: all work is done while saving.
    Apart,
}

impl Pipeline {
    /// Runs all jobs. `load` gets each job on a loading thread. It returns a key and an input, or an error. `save` gets
    /// the key and the outcome (`None` for [`Load::Apart`]), in the order of the jobs if `in_order`; it may stop all
    /// work. Without a device, every outcome is an error.
    pub fn run_all<J, K: Send>(
        &self,
        jobs: impl Iterator<Item = J> + Send,
        threads: Threads,
        in_order: bool,
        load: impl Fn(J) -> (K, Result<Load>) + Sync,
        save: impl Fn(K, Result<Option<Outcome>>) -> ControlFlow<()> + Sync,
    ) {
        self.run_in(if in_order { Order::Saved } else { Order::Any }, jobs, threads, load, save);
    }

    /// The same, in an order.
    pub(super) fn run_in<J, K: Send>(
        &self,
        order: Order,
        jobs: impl Iterator<Item = J> + Send,
        threads: Threads,
        load: impl Fn(J) -> (K, Result<Load>) + Sync,
        save: impl Fn(K, Result<Option<Outcome>>) -> ControlFlow<()> + Sync,
    ) {
        let (in_order, is_chain) = (order != Order::Any, order == Order::Run);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let or = |threads: usize, default: usize| if threads == 0 { default } else { threads };
        let loaders = if is_chain { 1 } else { or(threads.load, (cores / 2).clamp(1, MOST_THREADS)) };
        let savers = if in_order { 1 } else { or(threads.save, (cores / 2).clamp(1, MOST_THREADS)) };
        let overlap = |device: usize| or(threads.run, self.lanes.get(device).map_or(1, Lane::overlap));
        // Without a device, one thread reports the error.
        let runners: Vec<usize> = match is_chain {
            true => vec![0],
            false => (0..self.lanes.len().max(1))
                .flat_map(|device| std::iter::repeat_n(device, overlap(device)))
                .collect(),
        };
        let batch = match self.options.batch {
            Batch::Auto => MOST,
            Batch::Of(pictures) => pictures,
        };

        let jobs = Mutex::new(jobs.enumerate());
        let gate = Gate::new(loaders + savers + runners.len() * 2, 2 * batch);
        let loaded = Belt::new(loaders);
        let done = Belt::new(runners.len());

        let load_all = || {
            let _closing = loaded.closing();
            while let Some(mut ticket) = gate.enter() {
                let Some((number, job)) = lock(&jobs).next() else { break };
                let (name, content) = load(job);
                if let Ok(Load::Run(input)) = &content {
                    ticket.weigh(input.prepared.tensor().data().len());
                }
                loaded.push(Item { number, ticket, name, content });
            }
        };
        let run_all = |device: usize| {
            let _closing = done.closing();
            while let Some(first) = loaded.take(|items| (!items.is_empty()).then_some(0)) {
                if is_chain {
                    done.push(first.then(|input| self.run_next(input)));
                    continue;
                }
                let mut items = vec![first];
                let wanted = items[0].shape().map_or(1, |shape| self.batch(device, shape));
                while items.len() < wanted
                    && let Some(next) = loaded.try_take(|item| item.shape() == items[0].shape())
                {
                    items.push(next);
                }
                if items.len() < wanted {
                    items.into_iter().for_each(|item| done.push(self.run_one(device, item)));
                } else {
                    self.run_batch(device, items).into_iter().for_each(|item| done.push(item));
                }
            }
        };
        let save_all = || {
            let mut next = 0;
            let wanted = |items: &VecDeque<Item<'_, K, Result<Option<Outcome>>>>, next| match in_order {
                true => items.iter().position(|item| item.number == next),
                false => (!items.is_empty()).then_some(0),
            };
            while let Some(item) = done.take(|items| wanted(items, next)) {
                next += 1;
                if !gate.is_shut() && save(item.name, item.content).is_break() {
                    gate.shut();
                }
                drop(item.ticket);
            }
        };
        std::thread::scope(|scope| {
            (0..loaders).for_each(|_| drop(scope.spawn(load_all)));
            (0..savers).for_each(|_| drop(scope.spawn(save_all)));
            runners.iter().for_each(|&device| drop(scope.spawn(move || run_all(device))));
        });
    }

    /// Number of pictures of that shape that run at once.
    fn batch(&self, device: usize, shape: Shape) -> usize {
        match (self.options.batch, self.lanes.get(device).map(Lane::device)) {
            _ if !self.batches.load(Ordering::Relaxed) => 1,
            (Batch::Of(pictures), _) => pictures.max(1),
            (Batch::Auto, Some(Device::Gpu(_))) => (ENOUGH / shape.pixels().max(1)).clamp(1, MOST),
            (Batch::Auto, _) => 1,
        }
    }

    fn run_one<'g, K>(&self, device: usize, item: Item<'g, K, Result<Load>>) -> Done<'g, K> {
        item.then(|input| self.run_on(device, input, &|_| {}))
    }

    /// Runs inputs of one shape as a batch. If that fails, runs each by itself.
    fn run_batch<'g, K>(&self, device: usize, items: Vec<Item<'g, K, Result<Load>>>) -> Vec<Done<'g, K>> {
        let inputs: Vec<&Tensor> = items.iter().filter_map(Item::tensor).collect();
        let together = match inputs.len() {
            0 | 1 => None,
            _ => match self.network(device, &joined(&inputs), &|_| {}) {
                Ok(results) => Some(results),
                Err(error) => {
                    // A single bad picture does not mean that the network takes no batches.
                    let fits = matches!(error, Error::NonFinite { .. });
                    self.batches.fetch_and(fits, Ordering::Relaxed);
                    None
                }
            },
        };
        let Some((results, report)) = together else {
            return items.into_iter().map(|item| self.run_one(device, item)).collect();
        };
        let count = items.len() as u32;
        let report = Report { build: report.build / count, run: report.run / count, ..report };
        let finish = |(item, result): (Item<'g, K, Result<Load>>, Tensor)| {
            item.then(|input| {
                let report = Report { input: input.prepared.tensor().shape(), ..report.clone() };
                self.outcome(input, result, report)
            })
        };
        items.into_iter().zip(parted(&results)).map(finish).collect()
    }
}

/// Joins tensors of one shape to a batch.
fn joined(tensors: &[&Tensor]) -> Tensor {
    let shape = tensors[0].shape();
    let data = tensors.iter().flat_map(|tensor| tensor.data().iter().copied()).collect();
    Tensor::new(Shape { n: shape.n * tensors.len(), ..shape }, data).expect("equal shapes")
}

/// Splits a batch into pictures.
fn parted(batch: &Tensor) -> impl Iterator<Item = Tensor> {
    let shape = Shape { n: 1, ..batch.shape() };
    batch
        .data()
        .chunks_exact(shape.elements())
        .map(move |part| Tensor::new(shape, part.to_vec()).expect("as many numbers as the shape has"))
}

/// A job in flight, with its number and its ticket.
struct Item<'g, K, T> {
    number: usize,
    ticket: Ticket<'g>,
    name: K,
    content: T,
}

type Done<'g, K> = Item<'g, K, Result<Option<Outcome>>>;

impl<'g, K> Item<'g, K, Result<Load>> {
    /// Runs the item if there is something to run, and returns it for saving.
    fn then(self, run: impl FnOnce(Input) -> Result<Outcome>) -> Done<'g, K> {
        let content = self.content.and_then(|load| match load {
            Load::Run(input) => run(*input).map(Some),
            Load::Apart => Ok(None),
        });
        Item { number: self.number, ticket: self.ticket, name: self.name, content }
    }

    fn tensor(&self) -> Option<&Tensor> {
        match &self.content {
            Ok(Load::Run(input)) => Some(input.prepared.tensor()),
            _ => None,
        }
    }

    /// The input shape, if the item is to be run. `None` for batches in the input, which are not joined with others.
    fn shape(&self) -> Option<Shape> {
        self.tensor().map(Tensor::shape).filter(|shape| shape.n == 1)
    }
}

/// Admits a limited number of pictures until it is shut. Admits more as long as all admitted pictures are small.
struct Gate {
    places: Mutex<Places>,
    changed: Condvar,
}

struct Places {
    free: usize,
    /// Free places that are available only while all admitted pictures are small.
    spare: usize,
    weight: usize,
    shut: bool,
}

/// The place of an admitted picture.
struct Ticket<'g> {
    gate: &'g Gate,
    weight: usize,
}

impl Gate {
    fn new(places: usize, spare: usize) -> Gate {
        let places = Places { free: places + spare, spare, weight: 0, shut: false };
        Gate { places: Mutex::new(places), changed: Condvar::new() }
    }

    /// Waits for a place; `None` when the gate is shut.
    fn enter(&self) -> Option<Ticket<'_>> {
        let waited = self.changed.wait_while(lock(&self.places), |places| places.is_full() && !places.shut);
        let mut places = waited.unwrap_or_else(PoisonError::into_inner);
        if places.shut {
            return None;
        }
        places.free -= 1;
        Some(Ticket { gate: self, weight: 0 })
    }

    fn shut(&self) {
        lock(&self.places).shut = true;
        self.changed.notify_all();
    }

    fn is_shut(&self) -> bool {
        lock(&self.places).shut
    }
}

impl Places {
    fn is_full(&self) -> bool {
        self.free == 0 || self.weight > HEAVY || self.free <= self.spare && self.weight > LIGHT
    }
}

impl Ticket<'_> {
    /// Records how many numbers the holder keeps in memory.
    fn weigh(&mut self, numbers: usize) {
        self.weight += numbers;
        lock(&self.gate.places).weight += numbers;
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        // Threads that wait for the items of a dead thread would wait for ever.
        if std::thread::panicking() {
            self.gate.shut();
        }
        let mut places = lock(&self.gate.places);
        places.free += 1;
        places.weight -= self.weight;
        // Wakes all: several small pictures may be admitted at once.
        self.gate.changed.notify_all();
    }
}

/// A queue between the threads of two stages.
struct Belt<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    items: VecDeque<T>,
    /// Threads that may still add items.
    open: usize,
}

/// A thread that may add items. When dropped, it adds no more.
struct Closing<'b, T>(&'b Belt<T>);

impl<T> Belt<T> {
    fn new(threads: usize) -> Belt<T> {
        Belt { state: Mutex::new(State { items: VecDeque::new(), open: threads }), changed: Condvar::new() }
    }

    fn closing(&self) -> Closing<'_, T> {
        Closing(self)
    }

    fn push(&self, item: T) {
        lock(&self.state).items.push_back(item);
        self.changed.notify_all();
    }

    /// Takes the item at the index that `find` returns, as soon as it returns one. `None` when no more items can come.
    fn take(&self, find: impl Fn(&VecDeque<T>) -> Option<usize>) -> Option<T> {
        let mut state = lock(&self.state);
        loop {
            if let Some(place) = find(&state.items) {
                return state.items.remove(place);
            }
            if state.open == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes the first matching item, if there is one.
    fn try_take(&self, such: impl Fn(&T) -> bool) -> Option<T> {
        let mut state = lock(&self.state);
        let place = state.items.iter().position(such)?;
        state.items.remove(place)
    }
}

impl<T> Drop for Closing<'_, T> {
    fn drop(&mut self) {
        lock(&self.0.state).open -= 1;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_light_pictures_wait_in_spare_places() {
        let gate = Gate::new(2, 3);
        let is_full = || lock(&gate.places).is_full();
        let mut tickets: Vec<Ticket<'_>> = (0..4).map_while(|_| gate.enter()).collect();
        assert!(tickets.len() == 4 && !is_full());
        tickets[0].weigh(LIGHT + 1);
        assert!(is_full(), "beyond two places");
        tickets.truncate(1);
        assert!(!is_full(), "one of two places");
        tickets[0].weigh(HEAVY);
        assert!(is_full(), "too heavy for company");
        tickets.clear();
        tickets.extend((0..5).map_while(|_| gate.enter()));
        assert!(tickets.len() == 5 && is_full());
        gate.shut();
        assert!(gate.enter().is_none() && gate.is_shut());
    }
}
