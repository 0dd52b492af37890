//! Measures the fastest kernel for each convolution on a GPU and keeps the choices between runs, in one file in the
//! cache folder for each adapter, driver and version of this crate.

use crate::cache;
use crate::error::{Error, Result};
use crate::gpu::AdapterReport;
use crate::plan::Tuning;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

#[cfg(feature = "cpu")]
pub use measure::{Candidate, Layer, Report, tune};

/// A file of choices, with the adapter, driver and version that they are valid for.
#[derive(Debug, Serialize, Deserialize)]
struct File {
    adapter: String,
    backend: String,
    driver: String,
    version: String,
    layers: Tuning,
}

impl File {
    fn of(adapter: &AdapterReport, layers: Tuning) -> File {
        File {
            adapter: adapter.name.clone(),
            backend: adapter.backend.clone(),
            driver: adapter.driver.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            layers,
        }
    }

    fn is_for(&self, adapter: &AdapterReport) -> bool {
        [&self.adapter, &self.backend, &self.driver] == [&adapter.name, &adapter.backend, &adapter.driver]
            && self.version == env!("CARGO_PKG_VERSION")
    }
}

impl Tuning {
    /// The file in `folder` with the choices for this adapter.
    pub fn path_in(folder: &Path, adapter: &AdapterReport) -> PathBuf {
        let parts = ["tuning", &adapter.backend, &adapter.name, &adapter.driver];
        folder.join(cache::file_name(&parts, "json"))
    }

    /// The saved choices for this adapter, driver and version from the user's cache folder, for
    /// [`SessionOptions::tuning`](crate::SessionOptions::tuning). `None` if there are none, or if the file is broken.
    pub fn load(adapter: &AdapterReport) -> Option<Tuning> {
        Tuning::load_from(&cache::folder()?, adapter)
    }

    /// As [`load`](Self::load), from another folder.
    pub fn load_from(folder: &Path, adapter: &AdapterReport) -> Option<Tuning> {
        let path = Tuning::path_in(folder, adapter);
        let file = serde_json::from_slice::<File>(&cache::read(&path)?);
        let ignored = match file {
            Ok(file) if file.is_for(adapter) => return Some(file.layers),
            Ok(_) => "it is for another adapter, driver or version".into(),
            Err(error) => error.to_string(),
        };
        log::warn!("{}: {ignored}; going on without it", path.display());
        None
    }

    /// Adds these choices to those in the user's cache folder for this adapter. Returns the path of the file.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be written, [`Error::Usage`] when the environment names no cache folder.
    pub fn save(&self, adapter: &AdapterReport) -> Result<PathBuf> {
        let missing = || Error::Usage("no cache folder: set XDG_CACHE_HOME, or HOME".into());
        self.save_to(&cache::folder().ok_or_else(missing)?, adapter)
    }

    /// As [`save`](Self::save), to another folder, which is created if it does not exist.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be written.
    pub fn save_to(&self, folder: &Path, adapter: &AdapterReport) -> Result<PathBuf> {
        let mut all = Tuning::load_from(folder, adapter).unwrap_or_default();
        all.merge(self.clone());
        let path = Tuning::path_in(folder, adapter);
        let json = serde_json::to_string_pretty(&File::of(adapter, all))
            .expect("text and names of kernels always become JSON");
        cache::write(&path, (json + "\n").as_bytes())?;
        Ok(path)
    }
}

/// Measuring needs the tolerances for comparing results, which come with the reference.
#[cfg(feature = "cpu")]
mod measure {
    use super::Tuning;
    use crate::error::{Error, Result};
    use crate::gpu::Gpu;
    use crate::model::Model;
    use crate::optimize::optimize;
    use crate::plan::{ConvKernel, Dispatch, InputFormat, Kernel, OutputFormat, Plan, Precision};
    use crate::session::{Device, Session, SessionOptions};
    use crate::tensor::{Shape, Tensor};
    use crate::verify::Difference;
    use std::collections::HashMap;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    /// Fewest and most measurements of a session. In between, [`ENOUGH`] time decides.
    const RUNS: [usize; 2] = [3, 30];
    const ENOUGH: Duration = Duration::from_secs(1);

    /// Time that an idle device needs to reach its clock.
    const WARM_UP: Duration = Duration::from_millis(300);

    /// A kernel replaces the default if it needs less than this share of its time. Smaller gains are noise.
    const GAIN: f64 = 0.97;

    /// One kernel's time for a layer.
    #[derive(Debug, Clone, Copy, PartialEq)]
    #[non_exhaustive]
    pub struct Candidate {
        /// The kernel; [`ConvKernel::Auto`] for a default that cannot be forced.
        pub kernel: ConvKernel,
        /// Device time in seconds, the smallest of several measurements.
        pub seconds: f64,
    }

    /// One convolution with a choice of kernels.
    #[derive(Debug, Clone)]
    #[non_exhaustive]
    pub struct Layer {
        /// Its name in the model.
        pub name: String,
        /// The key of its choice, [`Tuning::key`].
        pub key: String,
        /// The kernel of the default rule.
        pub default: Candidate,
        /// The fastest kernel; the default if no other is clearly faster.
        pub best: Candidate,
    }

    /// The result of a measurement.
    #[derive(Debug, Clone)]
    #[non_exhaustive]
    pub struct Report {
        /// The choices, for [`SessionOptions::tuning`](crate::SessionOptions::tuning).
        pub tuning: Tuning,
        /// Layers in execution order.
        pub layers: Vec<Layer>,
        /// Kernels that are not candidates, and why.
        pub left_out: Vec<(ConvKernel, String)>,
        /// Seconds of a whole run with upload and download: by the default rule, and with the fastest kernels. The
        /// smallest of several measurements.
        pub seconds: [f64; 2],
        /// Whether the whole run is faster. If not, `tuning` leaves every layer to the default rule.
        pub pays: bool,
    }

    /// Builds the network once for each kernel that can be forced, times all layers, and keeps the fastest kernel for
    /// each. Layers with the same key get the same choice. `options` sets precision, rewrites and limits; its kernel,
    /// tuning and formats are ignored. `progress` gets the next kernel, its index, and their number.
    ///
    /// Kernels that cannot be built at this size, or whose result differs from the default's by more than the
    /// tolerance, are left out.
    ///
    /// # Errors
    /// Those of building and running a session by the default rule; [`Error::MissingFeature`] without timestamp
    /// queries.
    pub fn tune(
        model: &Model,
        inputs: impl AsRef<[Shape]>,
        gpu: &Gpu,
        options: &SessionOptions,
        progress: &mut dyn FnMut(ConvKernel, usize, usize),
    ) -> Result<Report> {
        let bench = Bench { model, inputs: inputs.as_ref(), gpu, options };
        let forced = kernels(gpu, options.precision);
        progress(ConvKernel::Auto, 0, forced.len() + 1);
        let default = bench.measure(ConvKernel::Auto, None)?;
        let (mut measured, mut left_out) = (Vec::new(), Vec::new());
        for (i, &kernel) in forced.iter().enumerate() {
            progress(kernel, i + 1, forced.len() + 1);
            match bench.measure(kernel, None).and_then(|run| bench.agrees(&run, &default).map(|()| run)) {
                Ok(run) => measured.push((kernel, run)),
                Err(error @ (Error::DeviceLost(_) | Error::Timeout(_))) => return Err(error),
                Err(error) => left_out.push((kernel, error.to_string())),
            }
        }
        let layers = choose(&bench.keys()?, &default, &measured);
        let choice = |layer: &Layer| match layer.best == layer.default {
            true => ConvKernel::Auto,
            false => layer.best.kernel,
        };
        let mut tuning = Tuning::default();
        layers.iter().for_each(|layer| tuning.set(&layer.key, choice(layer)));
        let mut report = Report { tuning, layers, left_out, seconds: [default.seconds; 2], pays: true };
        if report.tuning.layers().all(|(_, kernel)| kernel == ConvKernel::Auto) {
            return Ok(report);
        }
        // Errors of several kernels combined may exceed those of each alone.
        let tuned = bench.measure(ConvKernel::Auto, Some(Arc::new(report.tuning.clone())))?;
        bench.agrees(&tuned, &default)?;
        // Measured before and after, so a device that changes its speed does not decide.
        let again = bench.measure(ConvKernel::Auto, None)?;
        report.seconds = [default.seconds.min(again.seconds), tuned.seconds];
        // Layers are timed one by one, without the gaps between dispatches. Winograd has more gaps.
        report.pays = report.seconds[1] <= report.seconds[0];
        if !report.pays {
            report.layers.iter().for_each(|layer| report.tuning.set(&layer.key, ConvKernel::Auto));
        }
        Ok(report)
    }

    /// The kernels that can be forced at this precision.
    fn kernels(gpu: &Gpu, precision: Precision) -> Vec<ConvKernel> {
        let applies = |kernel: &ConvKernel| kernel.applies(precision, &gpu.report().profile);
        ConvKernel::ALL.iter().copied().filter(applies).collect()
    }

    /// The network, device and input shapes of a measurement.
    struct Bench<'a> {
        model: &'a Model,
        inputs: &'a [Shape],
        gpu: &'a Gpu,
        options: &'a SessionOptions,
    }

    /// The figures of one session.
    struct Run {
        /// By layer name.
        layers: HashMap<String, Work>,
        result: Tensor,
        seconds: f64,
    }

    /// The dispatches of a layer and their time.
    #[derive(Default)]
    struct Work {
        steps: Vec<Step>,
        seconds: f64,
    }

    /// Everything about a dispatch that determines its time.
    type Step = (Kernel, [u32; 3], Vec<(&'static str, u32)>);

    impl Work {
        fn add(&mut self, dispatch: &Dispatch, seconds: f64) {
            self.steps.push((dispatch.kernel.clone(), dispatch.grid, dispatch.params.clone()));
            self.seconds += seconds;
        }
    }

    impl Bench<'_> {
        fn measure(&self, conv: ConvKernel, tuning: Option<Arc<Tuning>>) -> Result<Run> {
            let options = SessionOptions {
                conv,
                tuning,
                input: InputFormat::Planar,
                output: OutputFormat::Planar,
                keep_values: false,
                ..self.options.clone()
            };
            let device = Device::Gpu(self.gpu.clone());
            let session = Session::with_options(self.model, self.inputs, device, &options)?;
            let inputs = session.random_inputs(1);
            let start = Instant::now();
            // The first run: of a network with states, later ones give something else.
            let result = session.run_in_order(&inputs)?.swap_remove(0);
            while start.elapsed() < WARM_UP {
                session.run_in_order(&inputs)?;
            }
            let (mut seconds, mut least) = (f64::INFINITY, Vec::new());
            let start = Instant::now();
            for run in 0..RUNS[1] {
                if run >= RUNS[0] && start.elapsed() > ENOUGH {
                    break;
                }
                let began = Instant::now();
                session.run_in_order(&inputs)?;
                seconds = seconds.min(began.elapsed().as_secs_f64());
                let times: Vec<f64> = session.layer_times()?.iter().map(|layer| layer.seconds).collect();
                least.resize(times.len(), f64::INFINITY);
                least
                    .iter_mut()
                    .zip(times)
                    .for_each(|(least, time): (&mut f64, f64)| *least = least.min(time));
            }
            let dispatches = session.plan().map_or(&[][..], |plan: &Plan| &plan.dispatches);
            let mut layers: HashMap<String, Work> = HashMap::new();
            for (dispatch, &time) in dispatches.iter().zip(&least) {
                layers.entry(dispatch.label.clone()).or_default().add(dispatch, time);
            }
            Ok(Run { layers, result, seconds })
        }

        fn agrees(&self, run: &Run, default: &Run) -> Result<()> {
            let difference = Difference::of(&run.result, &default.result);
            if difference.passes(self.options.precision) {
                return Ok(());
            }
            let Difference { max_abs, nrmse, range } = difference;
            let got = format!("a difference of {max_abs:.1e} in a range of {range:.1e}, NRMSE {nrmse:.1e}");
            Err(Error::shape("result", "the default kernels' within rounding", got))
        }

        /// Name and key of each convolution, in execution order.
        fn keys(&self) -> Result<Vec<(String, String)>> {
            let graph = self.model.graph_with(self.inputs, &self.options.outputs)?;
            let graph = optimize(&graph, self.inputs, &self.options.optimizations)?;
            let shapes = graph.shapes(self.inputs)?;
            let mut keys = Vec::new();
            for node in graph.nodes() {
                let inputs = node.input_shapes(&shapes)?;
                let key = Tuning::key(&node.op, &inputs, self.options.precision);
                keys.extend(key.map(|key| (node.name.clone(), key)));
            }
            Ok(keys)
        }
    }

    /// The best kernel for each layer with a choice, that is, where a measured kernel differs from the default.
    fn choose(keys: &[(String, String)], default: &Run, measured: &[(ConvKernel, Run)]) -> Vec<Layer> {
        let of = |run: &'_ Run, name: &str| run.layers.get(name).map_or(0.0, |work| work.seconds);
        let same = |run: &Run, name: &str| {
            let steps = |run: &Run| run.layers.get(name).map(|work| work.steps.clone());
            steps(run) == steps(default)
        };
        let layer = |(name, key): &(String, String)| {
            let others = measured.iter().filter(|(_, run)| !same(run, name));
            let named = measured.iter().find(|(_, run)| same(run, name)).map(|(kernel, _)| *kernel);
            // Layers with one key are compared by their total time.
            let total = |run: &Run| -> f64 {
                keys.iter().filter(|(_, k)| k == key).map(|(name, _)| of(run, name)).sum()
            };
            let best = others.clone().min_by(|a, b| total(&a.1).total_cmp(&total(&b.1)))?;
            let standing = Candidate { kernel: named.unwrap_or_default(), seconds: of(default, name) };
            let faster = total(&best.1) < GAIN * total(default);
            let best =
                if faster { Candidate { kernel: best.0, seconds: of(&best.1, name) } } else { standing };
            Some(Layer { name: name.clone(), key: key.clone(), default: standing, best })
        };
        keys.iter().filter_map(layer).collect()
    }
}
