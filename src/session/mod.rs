//! A model prepared for one input shape on one device.

mod options;

pub use options::{Device, SessionOptions};

use crate::error::{Error, Result};
use crate::gpu::{Executor, Gpu, LayerTime, Wait};
use crate::graph::{Graph, ValueId, named};
#[cfg(feature = "cpu")]
use crate::lock::lock;
use crate::model::Model;
use crate::optimize::optimize;
#[cfg(feature = "cpu")]
use crate::plan::Precision;
use crate::plan::{InputFormat, OutputFormat, Plan, PlanOptions, Port, ports};
use crate::tensor::{Shape, Tensor};
use std::collections::BTreeMap;
use std::time::Duration;

/// A model prepared for one input shape on one device. Threads may share it. On a GPU up to three runs overlap: one
/// uploads, one computes, one downloads. On the CPU runs take turns.
///
/// In a model with states, each run starts from the states that the previous run left. Runs take effect in the order in
/// which they are submitted. A run that fails before it is submitted does not change the states.
#[derive(Debug)]
pub struct Session {
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    input_format: InputFormat,
    output_format: OutputFormat,
    timeout: Duration,
    has_states: bool,
    engine: Engine,
}

#[derive(Debug)]
enum Engine {
    #[cfg(feature = "cpu")]
    Cpu {
        graph: Box<Graph>,
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
    pub fn new(model: &Model, inputs: impl AsRef<[Shape]>, device: impl Into<Device>) -> Result<Session> {
        Session::with_options(model, inputs, device, &SessionOptions::default())
    }

    /// Optimises, plans, and allocates everything that runs will need. `inputs` are the shapes of the model's inputs in
    /// order, as [`Graph::input_shapes`] takes them. A single [`Shape`] is enough where it determines the others.
    ///
    /// # Errors
    /// [`Error::Shape`] when the model does not take the inputs, [`Error::UnknownName`] for an unknown output,
    /// [`Error::LimitExceeded`] before anything is allocated, [`Error::OutOfMemory`] while allocating,
    /// [`Error::MissingFeature`] for f16 on a device without it.
    pub fn with_options(
        model: &Model,
        inputs: impl AsRef<[Shape]>,
        device: impl Into<Device>,
        options: &SessionOptions,
    ) -> Result<Session> {
        let device = device.into();
        let optimizations = match device {
            #[cfg(feature = "cpu")]
            Device::Cpu => options.optimizations.on_cpu(),
            Device::Gpu(_) => options.optimizations,
        };
        let shapes = inputs.as_ref();
        let graph = optimize(&*model.graph_with(shapes, &options.outputs)?, shapes, &optimizations)?;
        let [inputs, outputs] = ports(&graph, &graph.shapes(shapes)?, &options.input, options.output)?;
        let has_states = graph.carries().next().is_some();
        let engine = match device {
            #[cfg(feature = "cpu")]
            Device::Cpu => {
                if options.precision == Precision::F16 {
                    return Err(Error::MissingFeature {
                        adapter: "the CPU path".into(),
                        feature: "f16 storage",
                    });
                }
                let needed = crate::cpu::bytes(&graph, shapes)?;
                if let Some(available) = options.max_memory.filter(|&available| needed > available) {
                    let what = format!("the CPU path for {}", inputs[0].shape);
                    let hint = "use a smaller picture or tiles, or raise the limit";
                    return Err(Error::LimitExceeded { what, needed, available, hint });
                }
                let runner = crate::cpu::Runner::fast(&graph, shapes)?.into();
                Engine::Cpu { graph: graph.into(), runner, bytes: needed }
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
                let plan = tuned_or_default(&graph, shapes, &gpu, plan)?;
                Engine::Gpu(Box::new(Executor::new(&gpu, plan)?))
            }
        };
        let (input_format, output_format) = (options.input.clone(), options.output);
        let timeout = options.timeout;
        Ok(Session { inputs, outputs, input_format, output_format, timeout, has_states, engine })
    }

    /// The inputs of a run, without states.
    pub fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    /// The outputs of a run.
    pub fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    /// The shape of the first input, which [`run`](Self::run) takes.
    pub fn input_shape(&self) -> Shape {
        self.inputs[0].shape
    }

    /// The shape of the first output, which [`run`](Self::run) returns.
    pub fn output_shape(&self) -> Shape {
        self.outputs[0].shape
    }

    /// Whether the model has states, which a run takes over from the previous one.
    pub fn has_states(&self) -> bool {
        self.has_states
    }

    /// Sets all states to zero, as when the session is built.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn reset(&self) -> Result<()> {
        match &self.engine {
            #[cfg(feature = "cpu")]
            Engine::Cpu { runner, .. } => {
                lock(runner).reset();
                Ok(())
            }
            Engine::Gpu(executor) => executor.reset(),
        }
    }

    /// Bytes of memory: on a GPU what the plan allocates, on the CPU the least that a run needs.
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

    /// Runs a network of one input and waits for its result.
    ///
    /// # Errors
    /// [`Error::Shape`] and [`Error::NonFinite`] for the input, [`Error::Timeout`], [`Error::DeviceLost`],
    /// [`Error::Usage`] when the session's formats are not planar or the network has more inputs.
    pub fn run(&self, input: &Tensor) -> Result<Tensor> {
        pollster::block_on(self.run_one(input, Wait::Block(self.timeout)))
    }

    /// Runs the network without blocking. The host polls its device, as programs with a window do.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn run_async(&self, input: &Tensor) -> Result<Tensor> {
        self.run_one(input, Wait::Host).await
    }

    async fn run_one(&self, input: &Tensor, wait: Wait) -> Result<Tensor> {
        self.one_input("run_with")?;
        Ok(self.run_tensors(&[input], wait).await?.swap_remove(0))
    }

    /// Runs the network on one tensor for each of its [`inputs`](Self::inputs), in any order. Returns its
    /// [`outputs`](Self::outputs) by name.
    ///
    /// ```no_run
    /// # fn main() -> unet_wgpu::Result<()> {
    /// # use unet_wgpu::{Device, Model, Session, SessionOptions, Shape, Tensor};
    /// # let (model, picture, time) = (Model::open("model.onnx")?, Shape::new(1, 3, 64, 64), Shape::new(1, 1, 1, 1));
    /// # let device: Device = unimplemented!();
    /// let options = SessionOptions::default().with_outputs(["noise"]);
    /// let session = Session::with_options(&model, [picture, time], device, &options)?;
    /// let given = session.run_with(&[("sample", &Tensor::zeros(picture)), ("time", &Tensor::zeros(time))])?;
    /// println!("{}", given["noise"].shape());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::UnknownName`] and [`Error::MissingInput`]; [`Error::Usage`] when an input is given twice; and as
    /// [`run`](Self::run).
    pub fn run_with(&self, inputs: &[(&str, &Tensor)]) -> Result<BTreeMap<String, Tensor>> {
        pollster::block_on(self.run_named(inputs, Wait::Block(self.timeout)))
    }

    /// As [`run_with`](Self::run_with), without blocking. The host polls its device.
    ///
    /// # Errors
    /// As [`run_with`](Self::run_with).
    pub async fn run_with_async(&self, inputs: &[(&str, &Tensor)]) -> Result<BTreeMap<String, Tensor>> {
        self.run_named(inputs, Wait::Host).await
    }

    async fn run_named(&self, inputs: &[(&str, &Tensor)], wait: Wait) -> Result<BTreeMap<String, Tensor>> {
        let mut tensors = vec![None; self.inputs.len()];
        for &(name, tensor) in inputs {
            let place = named("input", self.inputs.iter().map(|port| &*port.name), name)?;
            if tensors[place].replace(tensor).is_some() {
                return Err(Error::Usage(format!("the input {name} is given twice")));
            }
        }
        let present = |(tensor, port): (Option<_>, &Port)| {
            tensor.ok_or_else(|| Error::MissingInput { name: port.name.clone(), shape: port.shape })
        };
        let tensors: Vec<&Tensor> =
            tensors.into_iter().zip(&self.inputs).map(present).collect::<Result<_>>()?;
        let outputs = self.run_tensors(&tensors, wait).await?;
        Ok(self.outputs.iter().map(|port| port.name.clone()).zip(outputs).collect())
    }

    fn one_input(&self, instead: &str) -> Result<()> {
        match &self.inputs[..] {
            [_] => Ok(()),
            ports => {
                let names: Vec<&str> = ports.iter().map(|port| &*port.name).collect();
                let names = names.join(", ");
                Err(Error::Usage(format!("the network has the inputs {names}; run it with {instead}")))
            }
        }
    }

    /// Runs on tensors in the order of the inputs.
    async fn run_tensors(&self, inputs: &[&Tensor], wait: Wait) -> Result<Vec<Tensor>> {
        let what = |port: &Port| match self.inputs.len() {
            1 => "input".to_string(),
            _ => format!("input {}", port.name),
        };
        for (port, input) in self.inputs.iter().zip(inputs) {
            if input.shape() != port.shape {
                return Err(Error::shape(what(port), port.shape, input.shape()));
            }
        }
        if (&self.input_format, self.output_format) != (&InputFormat::Planar, OutputFormat::Planar) {
            let message = "this session's formats are not planar f32; run it with run_bytes";
            return Err(Error::Usage(message.into()));
        }
        for (port, input) in self.inputs.iter().zip(inputs) {
            if let Err(Error::NonFinite { index, value, .. }) = input.check_finite() {
                return Err(Error::NonFinite { what: format!("the {}", what(port)), index, value });
            }
        }
        match &self.engine {
            #[cfg(feature = "cpu")]
            Engine::Cpu { graph, runner, .. } => lock(runner).run(graph, inputs, &mut |_, _| {}),
            Engine::Gpu(executor) => {
                let bytes: Vec<&[u8]> =
                    inputs.iter().map(|input| bytemuck::cast_slice(input.data())).collect();
                let outputs = executor.run(&bytes, wait).await?;
                self.outputs.iter().zip(outputs).map(|(port, data)| Tensor::new(port.shape, data)).collect()
            }
        }
    }

    /// Runs a network of one input on bytes in the session's [`InputFormat`]. Returns bytes in its [`OutputFormat`].
    ///
    /// # Errors
    /// [`Error::Shape`] when the number of bytes is not that of the format; and as [`run`](Self::run).
    pub fn run_bytes(&self, input: &[u8]) -> Result<Vec<u8>> {
        pollster::block_on(self.run_bytes_waiting(input, Wait::Block(self.timeout)))
    }

    /// As [`run_bytes`](Self::run_bytes), without blocking. The host polls its device.
    ///
    /// # Errors
    /// As [`run_bytes`](Self::run_bytes).
    pub async fn run_bytes_async(&self, input: &[u8]) -> Result<Vec<u8>> {
        self.run_bytes_waiting(input, Wait::Host).await
    }

    async fn run_bytes_waiting(&self, input: &[u8], wait: Wait) -> Result<Vec<u8>> {
        self.one_input("run_with")?;
        let expected = self.input_format.bytes(self.input_shape());
        if input.len() != expected {
            return Err(Error::shape("input", format!("{expected} bytes"), input.len()));
        }
        if self.input_format == InputFormat::Planar {
            let mut numbers = input.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            if let Some((index, value)) = numbers.by_ref().enumerate().find(|(_, v)| !v.is_finite()) {
                return Err(Error::NonFinite { what: "the input".into(), index, value });
            }
        }
        match &self.engine {
            #[cfg(feature = "cpu")]
            Engine::Cpu { graph, runner, .. } => {
                let tensor = self.input_format.decode(self.input_shape(), input)?;
                let results = lock(runner).run(graph, &[&tensor], &mut |_, _| {})?;
                Ok(self.output_format.encode(&results[0]))
            }
            Engine::Gpu(executor) => {
                let mut bytes = executor.run(&[input], wait).await?.swap_remove(0);
                bytes.truncate(self.output_format.bytes(self.output_shape()));
                Ok(bytes)
            }
        }
    }

    /// Records the network into a host's encoder. Takes one storage buffer for each of the [`inputs`](Self::inputs) and
    /// one for each of the [`outputs`](Self::outputs), in order, in the session's formats. Submits nothing, polls nothing,
    /// and does not check that values are finite. States advance when the device runs the commands. The commands use the
    /// session's memory, so no other run may be submitted between this call and the host's submission.
    ///
    /// # Errors
    /// [`Error::Shape`] when a buffer is missing, too small or lacks storage usage, [`Error::Usage`] on a CPU session.
    pub fn encode(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        inputs: &[&wgpu::Buffer],
        outputs: &[&wgpu::Buffer],
    ) -> Result<()> {
        self.on_gpu("encode")?.encode(encoder, inputs, outputs)
    }

    /// Device time of each dispatch in one run, on the input of the last run.
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
    #[doc(hidden)]
    pub fn host_seconds(&self) -> Result<f64> {
        self.on_gpu("timing the host")?.host_seconds(self.timeout)
    }

    /// A value as the last run left it. `None` if no kernel writes it.
    ///
    /// # Errors
    /// [`Error::Usage`] unless the session was built to keep its values, [`Error::Timeout`], [`Error::DeviceLost`].
    pub fn value(&self, id: ValueId) -> Result<Option<Tensor>> {
        self.on_gpu("reading a value")?.value(id, self.timeout)
    }

    /// Fills the activations with NaN and sets the states to zero. The next run then shows whether a kernel reads what no
    /// kernel wrote.
    #[doc(hidden)]
    pub fn poison(&self) {
        if let Some(executor) = self.executor() {
            executor.poison();
        }
    }

    /// A random tensor for each input.
    #[cfg(feature = "cpu")]
    pub(crate) fn random_inputs(&self, seed: u64) -> Vec<Tensor> {
        let random = |(i, port): (usize, &Port)| Tensor::random(port.shape, seed.wrapping_add(i as u64));
        self.inputs.iter().enumerate().map(random).collect()
    }

    /// Runs on tensors in the order of the inputs. Returns the outputs in their order.
    #[cfg(feature = "cpu")]
    pub(crate) fn run_in_order(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let inputs: Vec<&Tensor> = inputs.iter().collect();
        pollster::block_on(self.run_tensors(&inputs, Wait::Block(self.timeout)))
    }
}

/// The plan with the measured kernels. They may need more scratch memory than the default ones; if they do not fit, the
/// default ones are used.
fn tuned_or_default(graph: &Graph, inputs: &[Shape], gpu: &Gpu, options: PlanOptions) -> Result<Plan> {
    let profile = &gpu.report().profile;
    match Plan::new(graph, inputs, profile, &options) {
        Err(Error::LimitExceeded { what, .. }) if options.tuning.is_some() => {
            log::info!("{what} would not fit with the measured kernels: the default ones are taken");
            Plan::new(graph, inputs, profile, &PlanOptions { tuning: None, ..options })
        }
        plan => plan,
    }
}
