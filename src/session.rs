//! The one object a library user holds: a model made ready for one input shape on one device.

use crate::error::{Error, Result};
use crate::gpu::{Executor, Gpu, LayerTime, Wait};
use crate::graph::{Graph, ValueId};
#[cfg(feature = "cpu")]
use crate::lock::lock;
use crate::model::Model;
use crate::optimize::{Optimizations, optimize};
use crate::plan::{ConvKernel, InputFormat, OutputFormat, Plan, PlanOptions, Precision, Tuning};
use crate::tensor::{Shape, Tensor};
use std::sync::Arc;
use std::time::Duration;

/// Where a session runs.
#[derive(Debug, Clone)]
pub enum Device {
    /// All cores of the CPU, f32.
    #[cfg(feature = "cpu")]
    Cpu,
    /// A GPU.
    Gpu(Gpu),
}

/// How a session is built.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// How numbers are stored on a GPU.
    pub precision: Precision,
    /// Which graph rewrites run.
    pub optimizations: Optimizations,
    /// Which kernel computes dense convolutions on a GPU.
    pub conv: ConvKernel,
    /// Kernel choices measured on this GPU, such as [`Tuning::load`] gives; `None` leaves them to the default rule.
    pub tuning: Option<Arc<Tuning>>,
    /// How the input is handed over; [`Session::run`] takes tensors, [`Session::run_bytes`] all formats.
    pub input: InputFormat,
    /// How the result is taken.
    pub output: OutputFormat,
    /// Refuse to build when more bytes of device memory than this would be needed.
    pub max_memory: Option<u64>,
    /// How long a blocking run may take.
    pub timeout: Duration,
    /// Keep every value, so that [`Session::value`] can read each. Takes much memory.
    pub keep_values: bool,
}

impl Default for SessionOptions {
    fn default() -> SessionOptions {
        SessionOptions {
            precision: Precision::F32,
            optimizations: Optimizations::default(),
            conv: ConvKernel::Auto,
            tuning: None,
            input: InputFormat::Planar,
            output: OutputFormat::Planar,
            max_memory: None,
            timeout: Duration::from_secs(300),
            keep_values: false,
        }
    }
}

/// A model made ready for one input shape on one device. Threads may share it: on a GPU up to three runs overlap, so that
/// one is computed while another comes in and a third goes out; on the CPU they take turns.
#[derive(Debug)]
pub struct Session {
    input: Shape,
    output: Shape,
    input_format: InputFormat,
    output_format: OutputFormat,
    timeout: Duration,
    engine: Engine,
}

#[derive(Debug)]
enum Engine {
    #[cfg(feature = "cpu")]
    Cpu {
        graph: Graph,
        runner: std::sync::Mutex<crate::cpu::Runner>,
        bytes: u64,
    },
    Gpu(Box<Executor>),
}

impl Session {
    /// A session with default options.
    ///
    /// # Errors
    /// As [`with_options`](Self::with_options).
    pub fn new(model: &Model, input: Shape, device: Device) -> Result<Session> {
        Session::with_options(model, input, device, &SessionOptions::default())
    }

    /// Optimises, plans, and allocates everything that runs will need.
    ///
    /// # Errors
    /// [`Error::Shape`] when the input does not suit the model, [`Error::LimitExceeded`] before anything is
    /// allocated, [`Error::OutOfMemory`] while allocating, [`Error::MissingFeature`] for f16 where it is absent.
    pub fn with_options(
        model: &Model,
        input: Shape,
        device: Device,
        options: &SessionOptions,
    ) -> Result<Session> {
        let optimizations = match device {
            #[cfg(feature = "cpu")]
            Device::Cpu => options.optimizations.on_cpu(),
            Device::Gpu(_) => options.optimizations,
        };
        let graph = optimize(&*model.graph(input)?, input, &optimizations)?;
        let output = graph.output_shape(input)?;
        options.input.check(input)?;
        options.output.check(output)?;
        let engine = match device {
            #[cfg(feature = "cpu")]
            Device::Cpu => {
                if options.precision == Precision::F16 {
                    return Err(Error::MissingFeature {
                        adapter: "the CPU path".into(),
                        feature: "f16 storage",
                    });
                }
                let needed = crate::cpu::bytes(&graph, input)?;
                if let Some(available) = options.max_memory.filter(|&available| needed > available) {
                    let what = format!("the CPU path for {input}");
                    let hint = "use a smaller picture or tiles, or raise the limit";
                    return Err(Error::LimitExceeded { what, needed, available, hint });
                }
                Engine::Cpu { runner: crate::cpu::Runner::fast(&graph, input)?.into(), graph, bytes: needed }
            }
            Device::Gpu(gpu) => {
                gpu.check_precision(options.precision)?;
                let plan = PlanOptions {
                    precision: options.precision,
                    max_memory: options.max_memory,
                    keep_values: options.keep_values,
                    conv: options.conv,
                    tuning: options.tuning.clone(),
                    input: options.input.clone(),
                    output: options.output,
                };
                let plan = tuned_or_default(&graph, input, &gpu, plan)?;
                Engine::Gpu(Box::new(Executor::new(&gpu, plan)?))
            }
        };
        let (input_format, output_format) = (options.input.clone(), options.output);
        Ok(Session { input, output, input_format, output_format, timeout: options.timeout, engine })
    }

    /// The shape that [`run`](Self::run) takes.
    pub fn input_shape(&self) -> Shape {
        self.input
    }

    /// The shape that [`run`](Self::run) gives.
    pub fn output_shape(&self) -> Shape {
        self.output
    }

    /// Bytes that it keeps: of the plan, or on the CPU what a run needs at least.
    pub fn memory_bytes(&self) -> u64 {
        match &self.engine {
            #[cfg(feature = "cpu")]
            Engine::Cpu { bytes, .. } => *bytes,
            Engine::Gpu(executor) => executor.plan().memory_bytes(),
        }
    }

    /// The plan, on a GPU.
    pub fn plan(&self) -> Option<&Plan> {
        self.executor().map(Executor::plan)
    }

    /// The device, when it is a GPU.
    pub fn gpu(&self) -> Option<&Gpu> {
        self.executor().map(Executor::gpu)
    }

    fn executor(&self) -> Option<&Executor> {
        match &self.engine {
            Engine::Gpu(executor) => Some(executor),
            #[cfg(feature = "cpu")]
            Engine::Cpu { .. } => None,
        }
    }

    fn on_gpu(&self, what: &str) -> Result<&Executor> {
        self.executor()
            .ok_or_else(|| Error::Usage(format!("{what} needs a session on a GPU; this one is on the CPU")))
    }

    fn check(&self, input: &Tensor) -> Result<()> {
        if input.shape() != self.input {
            return Err(Error::shape("input", self.input, input.shape()));
        }
        if (&self.input_format, self.output_format) != (&InputFormat::Planar, OutputFormat::Planar) {
            let message = "this session's formats are not planar f32; run it with run_bytes";
            return Err(Error::Usage(message.into()));
        }
        input.check_finite()
    }

    /// Runs the network and waits for its result.
    ///
    /// # Errors
    /// [`Error::Shape`] and [`Error::NonFinite`] for the input, [`Error::Timeout`], [`Error::DeviceLost`],
    /// [`Error::Usage`] when the session's formats are not planar.
    pub fn run(&self, input: &Tensor) -> Result<Tensor> {
        pollster::block_on(self.run_waiting(input, Wait::Block(self.timeout)))
    }

    /// Runs the network without blocking: the host polls its device, as programs with a window do anyway.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn run_async(&self, input: &Tensor) -> Result<Tensor> {
        self.run_waiting(input, Wait::Host).await
    }

    async fn run_waiting(&self, input: &Tensor, wait: Wait) -> Result<Tensor> {
        self.check(input)?;
        match &self.engine {
            #[cfg(feature = "cpu")]
            Engine::Cpu { graph, runner, .. } => run_on_cpu(graph, runner, input),
            Engine::Gpu(executor) => {
                let data = executor.run(bytemuck::cast_slice(input.data()), wait).await?;
                Tensor::new(self.output, data)
            }
        }
    }

    /// Runs the network on an input in the session's [`InputFormat`] and gives the result in its [`OutputFormat`].
    ///
    /// # Errors
    /// [`Error::Shape`] when the bytes are not as many as the format has, and as [`run`](Self::run).
    pub fn run_bytes(&self, input: &[u8]) -> Result<Vec<u8>> {
        pollster::block_on(self.run_bytes_waiting(input, Wait::Block(self.timeout)))
    }

    /// As [`run_bytes`](Self::run_bytes), while the host polls its device.
    ///
    /// # Errors
    /// As [`run_bytes`](Self::run_bytes).
    pub async fn run_bytes_async(&self, input: &[u8]) -> Result<Vec<u8>> {
        self.run_bytes_waiting(input, Wait::Host).await
    }

    async fn run_bytes_waiting(&self, input: &[u8], wait: Wait) -> Result<Vec<u8>> {
        let expected = self.input_format.bytes(self.input);
        if input.len() != expected {
            return Err(Error::shape("input", format!("{expected} bytes"), input.len()));
        }
        if self.input_format == InputFormat::Planar {
            let mut numbers = input.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            if let Some((index, value)) = numbers.by_ref().enumerate().find(|(_, v)| !v.is_finite()) {
                return Err(Error::NonFinite { index, value });
            }
        }
        match &self.engine {
            #[cfg(feature = "cpu")]
            Engine::Cpu { graph, runner, .. } => {
                let tensor = self.input_format.decode(self.input, input)?;
                Ok(self.output_format.encode(&run_on_cpu(graph, runner, &tensor)?))
            }
            Engine::Gpu(executor) => {
                let mut bytes = executor.run(input, wait).await?;
                bytes.truncate(self.output_format.bytes(self.output));
                Ok(bytes)
            }
        }
    }

    /// Records the network into a host's encoder, reading `input` and writing `output`, storage buffers in
    /// the session's formats. Submits nothing and polls nothing. Values are not checked for being finite. The session's
    /// own memory is used, so nothing else of it may run while the host's submission is being made.
    ///
    /// # Errors
    /// [`Error::Shape`] when a buffer is too small or lacks storage usage, [`Error::Usage`] on a CPU session.
    pub fn encode(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        input: &wgpu::Buffer,
        output: &wgpu::Buffer,
    ) -> Result<()> {
        self.on_gpu("encode")?.encode(encoder, input, output)
    }

    /// Device time of each dispatch in one run on the input that was last run.
    ///
    /// # Errors
    /// [`Error::MissingFeature`] without timestamp queries, [`Error::Usage`] on a CPU session.
    pub fn layer_times(&self) -> Result<Vec<LayerTime>> {
        self.on_gpu("timing layers")?.layer_times(self.timeout)
    }

    /// Seconds that the host takes to record and submit one run, without transfers and the device's work.
    ///
    /// # Errors
    /// [`Error::Timeout`], [`Error::DeviceLost`], [`Error::Usage`] on a CPU session.
    pub fn host_seconds(&self) -> Result<f64> {
        self.on_gpu("timing the host")?.host_seconds(self.timeout)
    }

    /// A value as the last run left it, `None` when no kernel makes it.
    ///
    /// # Errors
    /// [`Error::Usage`] unless the session was built to keep its values, [`Error::Timeout`], [`Error::DeviceLost`].
    pub fn value(&self, id: ValueId) -> Result<Option<Tensor>> {
        self.on_gpu("reading a value")?.value(id, self.timeout)
    }

    /// Fills the activations with NaN, so that the next run shows whether a kernel reads what nothing wrote.
    #[doc(hidden)]
    pub fn poison(&self) {
        if let Some(executor) = self.executor() {
            executor.poison();
        }
    }
}

#[cfg(feature = "cpu")]
fn run_on_cpu(
    graph: &Graph,
    runner: &std::sync::Mutex<crate::cpu::Runner>,
    input: &Tensor,
) -> Result<Tensor> {
    lock(runner).run(graph, input, &mut |_, _| {})
}

/// The plan. Measured kernels may need more scratch memory than the default ones: what does not fit goes without them.
fn tuned_or_default(graph: &Graph, input: Shape, gpu: &Gpu, options: PlanOptions) -> Result<Plan> {
    let profile = &gpu.report().profile;
    match Plan::new(graph, input, profile, &options) {
        Err(Error::LimitExceeded { what, .. }) if options.tuning.is_some() => {
            log::info!("{what} would not fit with the measured kernels: the default ones are taken");
            Plan::new(graph, input, profile, &PlanOptions { tuning: None, ..options })
        }
        plan => plan,
    }
}
