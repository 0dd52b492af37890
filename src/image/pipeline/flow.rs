//! Many pictures: some threads load, some run the network, some save, so that a device need not wait for files.
//!
//! Between the stages lie belts. How many pictures are under way at once is bounded, so that neither a slow disk nor a slow
//! device fills the memory.

use super::{Batch, Input, Lane, Outcome, Pipeline, Report};
use crate::error::{Error, Result};
use crate::lock::lock;
use crate::session::Device;
use crate::tensor::{Shape, Tensor};
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::sync::{Condvar, Mutex, PoisonError};

/// Pixels that fill a device.
const ENOUGH: usize = 512 * 512;

/// Most pictures that `Batch::Auto` runs at once.
const MOST: usize = 16;

/// Most threads that load, and that save, where no number is given.
const MOST_THREADS: usize = 8;

/// Numbers of networks' inputs, 256 MiB as f32, up to which pictures may wait to be joined to batches.
const LIGHT: usize = 64 << 20;

/// The same up to which pictures are let in at all. With what they come from and become it is several times as much.
const HEAVY: usize = 128 << 20;

/// Threads of each stage; 0 leaves the number to the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Threads {
    /// Reading and preparing pictures.
    pub load: usize,
    /// Runs that overlap on each device.
    pub run: usize,
    /// Decoding, encoding and writing results.
    pub save: usize,
}

/// What loading gave.
#[derive(Debug)]
pub enum Load {
    /// Something that the network runs on.
    Run(Box<Input>),
    /// Nothing: all of the work is done while saving.
    Apart,
}

impl Pipeline {
    /// Runs all jobs. `load` gets each, on one of its threads, and gives what is to be run, or an error, and something to
    /// know it by; `save` gets that with the outcome (`None` for [`Load::Apart`]), in the jobs' order if `in_order`, and may
    /// end it all. Without a device each outcome is an error.
    pub fn run_all<J, K: Send>(
        &self,
        jobs: impl Iterator<Item = J> + Send,
        threads: Threads,
        in_order: bool,
        load: impl Fn(J) -> (K, Result<Load>) + Sync,
        save: impl Fn(K, Result<Option<Outcome>>) -> ControlFlow<()> + Sync,
    ) {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let or = |threads: usize, default: usize| if threads == 0 { default } else { threads };
        let loaders = or(threads.load, (cores / 2).clamp(1, MOST_THREADS));
        let savers = if in_order { 1 } else { or(threads.save, (cores / 2).clamp(1, MOST_THREADS)) };
        let overlap = |device: usize| or(threads.run, self.lanes.get(device).map_or(1, Lane::overlap));
        // Without a device there is one thread that says so.
        let runners: Vec<usize> = (0..self.lanes.len().max(1))
            .flat_map(|device| std::iter::repeat_n(device, overlap(device)))
            .collect();
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

    /// Pictures of a shape that run at once.
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

    /// Runs inputs of one shape together; alone where that fails.
    fn run_batch<'g, K>(&self, device: usize, items: Vec<Item<'g, K, Result<Load>>>) -> Vec<Done<'g, K>> {
        let inputs: Vec<&Tensor> = items.iter().filter_map(Item::tensor).collect();
        let together = match inputs.len() {
            0 | 1 => None,
            _ => match self.network(device, &joined(&inputs), &|_| {}) {
                Ok(results) => Some(results),
                Err(error) => {
                    // One bad picture does not speak against batches.
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

/// Tensors of one shape as a batch.
fn joined(tensors: &[&Tensor]) -> Tensor {
    let shape = tensors[0].shape();
    let data = tensors.iter().flat_map(|tensor| tensor.data().iter().copied()).collect();
    Tensor::new(Shape { n: shape.n * tensors.len(), ..shape }, data).expect("equal shapes")
}

/// The pictures of a batch.
fn parted(batch: &Tensor) -> impl Iterator<Item = Tensor> {
    let shape = Shape { n: 1, ..batch.shape() };
    batch
        .data()
        .chunks_exact(shape.elements())
        .map(move |part| Tensor::new(shape, part.to_vec()).expect("as many numbers as the shape has"))
}

/// A job on its way, with its place in the order and its leave to be in memory.
struct Item<'g, K, T> {
    number: usize,
    ticket: Ticket<'g>,
    name: K,
    content: T,
}

type Done<'g, K> = Item<'g, K, Result<Option<Outcome>>>;

impl<'g, K> Item<'g, K, Result<Load>> {
    /// The item on its way to be saved; what there is to be run is run.
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

    /// The shape that the network runs on, where it does; a batch of one's own is not joined with others.
    fn shape(&self) -> Option<Shape> {
        self.tensor().map(Tensor::shape).filter(|shape| shape.n == 1)
    }
}

/// Lets so many in, until it is shut; more while all that are in weigh little.
struct Gate {
    places: Mutex<Places>,
    changed: Condvar,
}

struct Places {
    free: usize,
    /// Of the free ones, those that are only for a light company.
    spare: usize,
    weight: usize,
    shut: bool,
}

/// One of those who are in.
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
    /// Tells the numbers that its holder has in memory.
    fn weigh(&mut self, numbers: usize) {
        self.weight += numbers;
        lock(&self.gate.places).weight += numbers;
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        // Who waits for what a dead thread had would wait for ever.
        if std::thread::panicking() {
            self.gate.shut();
        }
        let mut places = lock(&self.gate.places);
        places.free += 1;
        places.weight -= self.weight;
        // All that wait: one light company lets several in.
        self.gate.changed.notify_all();
    }
}

/// What threads of one stage put down and those of the next take up.
struct Belt<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    items: VecDeque<T>,
    /// Threads that may still put something down.
    open: usize,
}

/// A thread that may put things down; gone, it will not.
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

    /// The item at the place that `find` names, as soon as it names one; `None` when nothing more can come.
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

    /// The first such item, if one lies there.
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
