//! The only module that uses `wgpu`: finds adapters, owns or shares a device, creates pipelines, runs plans.

#[doc(hidden)]
pub mod ceiling;
mod executor;
mod pipeline_cache;

pub use executor::LayerTime;
pub(crate) use executor::{Executor, Wait};

use crate::error::{Error, Result};
use crate::lock::lock;
use crate::plan::{DeviceProfile, Kernel, Precision};
use serde::Serialize;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

/// Properties of an adapter, known before a device is opened.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct AdapterReport {
    /// Its index in [`adapters`].
    pub index: usize,
    /// Its name, from the driver.
    pub name: String,
    /// `Vulkan`, `Metal` or `Dx12`.
    pub backend: String,
    /// `DiscreteGpu`, `IntegratedGpu`, `VirtualGpu`, `Cpu` or `Other`.
    pub device_type: String,
    /// Driver and its version.
    pub driver: String,
    /// Whether the adapter is software that runs on the CPU.
    pub software: bool,
    /// Whether shaders can store and compute 16-bit floats.
    pub f16: bool,
    /// Whether layers can be timed (timestamp queries).
    pub timestamps: bool,
    /// Smallest and largest number of lanes in a subgroup.
    pub subgroup_size: [u32; 2],
    /// Cooperative matrix shapes, as `MxNxK inputs->sums`.
    pub cooperative_matrix: Vec<String>,
    /// The limits that plans respect.
    pub profile: DeviceProfile,
}

/// Which adapter to open.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum AdapterChoice {
    /// The best hardware GPU, never a software adapter.
    #[default]
    Hardware,
    /// The best hardware GPU; a software adapter if there is none.
    Any,
    /// The adapter with this index in [`adapters`].
    Index(usize),
    /// The first adapter whose name contains this text, ignoring case.
    Name(String),
}

/// An open device, owned by this library or shared with a host program. Clones share the device.
#[derive(Debug, Clone)]
pub struct Gpu(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    device: wgpu::Device,
    queue: wgpu::Queue,
    report: AdapterReport,
    /// Why the device was lost. Only set for devices of this library.
    lost: Arc<Mutex<Option<String>>>,
    pipelines: Mutex<HashMap<Kernel, wgpu::ComputePipeline>>,
    pipeline_cache: OnceLock<pipeline_cache::PipelineCache>,
    created: AtomicUsize,
}

fn instance() -> wgpu::Instance {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
    descriptor.backends = wgpu::Backends::PRIMARY;
    // Debug builds would otherwise request validation layers and slow down every measurement.
    descriptor.flags = wgpu::InstanceFlags::empty();
    wgpu::Instance::new(descriptor)
}

fn enumerate(instance: &wgpu::Instance) -> Vec<wgpu::Adapter> {
    pollster::block_on(instance.enumerate_adapters(wgpu::Backends::PRIMARY))
}

/// All adapters of this machine.
pub fn adapters() -> Vec<AdapterReport> {
    enumerate(&instance()).iter().enumerate().map(|(i, a)| report(i, a)).collect()
}

fn report(index: usize, adapter: &wgpu::Adapter) -> AdapterReport {
    let scalar = |kind: wgpu::CooperativeScalarType| format!("{kind:?}").to_lowercase();
    let cooperative = adapter.cooperative_matrix_properties().into_iter().map(|c| {
        format!("{}x{}x{} {}->{}", c.m_size, c.n_size, c.k_size, scalar(c.ab_type), scalar(c.cr_type))
    });
    describe(index, &adapter.get_info(), adapter.features(), &adapter.limits(), cooperative.collect())
}

fn describe(
    index: usize,
    info: &wgpu::AdapterInfo,
    features: wgpu::Features,
    limits: &wgpu::Limits,
    cooperative_matrix: Vec<String>,
) -> AdapterReport {
    let software = info.device_type == wgpu::DeviceType::Cpu;
    AdapterReport {
        index,
        name: info.name.clone(),
        backend: format!("{:?}", info.backend),
        device_type: format!("{:?}", info.device_type),
        driver: format!("{} {}", info.driver, info.driver_info).trim().to_string(),
        software,
        f16: features.contains(wgpu::Features::SHADER_F16),
        timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
        subgroup_size: [info.subgroup_min_size, info.subgroup_max_size],
        cooperative_matrix,
        profile: DeviceProfile {
            max_binding: limits.max_storage_buffer_binding_size,
            max_buffer: limits.max_buffer_size,
            max_workgroups: limits.max_compute_workgroups_per_dimension,
            max_workgroup_memory: limits.max_compute_workgroup_storage_size,
            max_lanes: limits.max_compute_invocations_per_workgroup,
            alignment: u64::from(limits.min_storage_buffer_offset_alignment),
            software,
            cooperative: None,
        },
    }
}

impl Gpu {
    /// Opens a device on the chosen adapter.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] if none matches. It lists the adapters of this machine.
    pub fn open(choice: &AdapterChoice) -> Result<Gpu> {
        Gpu::open_on(choice, false)
    }

    /// Opens a device with cooperative matrices for [`ConvKernel::Cooperative`]. wgpu calls this feature experimental.
    ///
    /// [`ConvKernel::Cooperative`]: crate::plan::ConvKernel::Cooperative
    ///
    /// # Errors
    /// As [`open`](Self::open), and [`Error::MissingFeature`] if the adapter lists neither 16x16x16 nor 8x8x8
    /// matrices, f16 to f32, in subgroups of 32.
    pub fn open_cooperative(choice: &AdapterChoice) -> Result<Gpu> {
        Gpu::open_on(choice, true)
    }

    #[allow(unsafe_code, reason = "wgpu requires a promise that the experimental feature is used knowingly")]
    fn open_on(choice: &AdapterChoice, cooperative: bool) -> Result<Gpu> {
        let adapters = enumerate(&instance());
        let reports: Vec<AdapterReport> = adapters.iter().enumerate().map(|(i, a)| report(i, a)).collect();
        let rank = |r: &&AdapterReport| match r.device_type.as_str() {
            "DiscreteGpu" => 0,
            "IntegratedGpu" => 1,
            "VirtualGpu" => 2,
            "Other" => 3,
            _ => 4,
        };
        let chosen = match choice {
            AdapterChoice::Hardware => reports.iter().filter(|r| !r.software).min_by_key(rank),
            AdapterChoice::Any => reports.iter().min_by_key(rank),
            AdapterChoice::Index(i) => reports.get(*i),
            AdapterChoice::Name(name) => {
                reports.iter().find(|r| r.name.to_lowercase().contains(&name.to_lowercase()))
            }
        };
        let Some(report) = chosen else {
            let names: Vec<String> = reports.iter().map(|r| format!("{} {}", r.index, r.name)).collect();
            let found =
                if names.is_empty() { "none found".into() } else { format!("found {}", names.join(", ")) };
            return Err(Error::NoAdapter(match choice {
                AdapterChoice::Hardware => format!("no hardware GPU, {found}"),
                AdapterChoice::Any => found,
                AdapterChoice::Index(i) => format!("none has index {i}, {found}"),
                AdapterChoice::Name(name) => format!("none is called {name}, {found}"),
            }));
        };
        let adapter = &adapters[report.index];
        let mut report = report.clone();
        let mut wanted =
            wgpu::Features::SHADER_F16 | wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::PIPELINE_CACHE;
        let mut experimental_features = wgpu::ExperimentalFeatures::disabled();
        if cooperative {
            let matrices = wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX | wgpu::Features::SUBGROUP;
            let lists =
                |side: &u32| report.cooperative_matrix.contains(&format!("{side}x{side}x{side} f16->f32"));
            let side = [16, 8].into_iter().find(lists);
            // For Metal, wgpu reports the range of all Apple GPUs. Those with matrices all have 32 lanes.
            let whole = report.subgroup_size == [32, 32] || report.backend == "Metal";
            if side.is_none() || !whole || !adapter.features().contains(matrices) {
                let feature = "16x16x16 or 8x8x8 cooperative matrices (f16 to f32, subgroups of 32)";
                return Err(Error::MissingFeature { adapter: report.name, feature });
            }
            wanted |= matrices;
            report.profile.cooperative = side;
            // SAFETY: the promise is to expect bugs in the feature. The kernel is only chosen by name, and `verify`
            // checks it.
            experimental_features = unsafe { wgpu::ExperimentalFeatures::enabled() };
        }
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("unet-wgpu"),
            required_features: adapter.features() & wanted,
            required_limits: adapter.limits(),
            experimental_features,
            memory_hints: wgpu::MemoryHints::Performance,
            trace: wgpu::Trace::Off,
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))
            .map_err(|e| Error::NoAdapter(format!("{} would not open: {e}", report.name)))?;
        let lost = Arc::new(Mutex::new(None));
        let sink = lost.clone();
        device.set_device_lost_callback(move |reason, message| {
            *lock(&sink) = Some(format!("{reason:?}: {message}"));
        });
        device.on_uncaptured_error(Arc::new(|error| log::error!("{error}")));
        Ok(Gpu::new(device, queue, report, lost))
    }

    /// Shares the device of a host program. The host keeps its error handler and its lost callback.
    ///
    /// f16 needs the device feature `SHADER_F16`, and timing of layers needs `TIMESTAMP_QUERY`. Large pictures need
    /// the adapter's limits instead of WebGPU's defaults.
    pub fn from_wgpu(device: wgpu::Device, queue: wgpu::Queue) -> Gpu {
        let report = describe(0, &device.adapter_info(), device.features(), &device.limits(), Vec::new());
        Gpu::new(device, queue, report, Arc::default())
    }

    fn new(
        device: wgpu::Device,
        queue: wgpu::Queue,
        report: AdapterReport,
        lost: Arc<Mutex<Option<String>>>,
    ) -> Gpu {
        let (pipelines, pipeline_cache, created) = Default::default();
        Gpu(Arc::new(Inner { device, queue, report, lost, pipelines, pipeline_cache, created }))
    }

    /// Properties of the adapter.
    pub fn report(&self) -> &AdapterReport {
        &self.0.report
    }

    /// The device, for a host that wants to share it.
    pub fn device(&self) -> &wgpu::Device {
        &self.0.device
    }

    /// The device's queue.
    pub fn queue(&self) -> &wgpu::Queue {
        &self.0.queue
    }

    /// Number of GPU objects (buffers, pipelines, bind groups, query sets) that this library has created on the
    /// device.
    pub fn objects_created(&self) -> usize {
        self.0.created.load(Ordering::Relaxed)
    }

    fn count<T>(&self, object: T) -> T {
        self.0.created.fetch_add(1, Ordering::Relaxed);
        object
    }

    /// Creates a buffer and counts it. Call it inside [`guarded`](Self::guarded).
    fn buffer(
        &self,
        label: &str,
        size: u64,
        usage: wgpu::BufferUsages,
        mapped_at_creation: bool,
    ) -> wgpu::Buffer {
        let label = Some(label);
        self.count(self.0.device.create_buffer(&wgpu::BufferDescriptor {
            label,
            size,
            usage,
            mapped_at_creation,
        }))
    }

    /// Errors when the adapter cannot compute at this precision.
    pub(crate) fn check_precision(&self, precision: Precision) -> Result<()> {
        if precision == Precision::F16 && !self.report().f16 {
            let adapter = self.report().name.clone();
            return Err(Error::MissingFeature { adapter, feature: "16-bit float shaders (f16)" });
        }
        Ok(())
    }

    /// Creates objects and turns wgpu's errors into typed ones. `bytes` is the size of the objects.
    fn guarded<T>(&self, what: &str, bytes: u64, make: impl FnOnce() -> T) -> Result<T> {
        self.check_lost()?;
        let device = &self.0.device;
        let scopes =
            [wgpu::ErrorFilter::OutOfMemory, wgpu::ErrorFilter::Validation, wgpu::ErrorFilter::Internal]
                .map(|filter| device.push_error_scope(filter));
        let made = make();
        let mut first = None;
        // Scopes are a stack: the last one pushed is popped first.
        for scope in scopes.into_iter().rev() {
            first = pollster::block_on(scope.pop()).or(first);
        }
        if first.is_some() {
            // On a device that is being lost, everything fails. The lost callback runs in a poll and tells.
            let _ = device.poll(wgpu::PollType::Poll);
            self.check_lost()?;
        }
        match first {
            None => Ok(made),
            Some(wgpu::Error::OutOfMemory { .. }) => Err(Error::OutOfMemory { bytes }),
            Some(error) => Err(Error::Gpu { what: what.into(), message: error.to_string() }),
        }
    }

    fn check_lost(&self) -> Result<()> {
        match &*lock(&self.0.lost) {
            Some(reason) => Err(Error::DeviceLost(reason.clone())),
            None => Ok(()),
        }
    }

    /// The pipeline of a kernel, created once for each device.
    #[allow(
        unsafe_code,
        reason = "run-time checks slow the inner loops down, and the plan already proves every range"
    )]
    fn pipeline(&self, kernel: &Kernel) -> Result<wgpu::ComputePipeline> {
        if let Some(pipeline) = lock(&self.0.pipelines).get(kernel) {
            return Ok(pipeline.clone());
        }
        let source = wgpu::ShaderSource::Wgsl(kernel.wgsl().into());
        let descriptor = wgpu::ShaderModuleDescriptor { label: Some(kernel.file.name), source };
        let device = &self.0.device;
        let pipeline = self.guarded(kernel.file.name, 0, || {
            // SAFETY: kernels are part of this crate. Every storage index is below the size of its binding: a lane
            // returns (or reads index 0) unless its output and its window are inside the extents that the plan put
            // into the params and from which it sized the bindings. Loops run to params or constants that the plan
            // bounds by LOOP_BUDGET. Workgroup arrays are written before the barrier that precedes each read.
            let module = unsafe {
                device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked())
            };
            self.count(device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(kernel.file.name),
                layout: None,
                module: &module,
                entry_point: Some("main"),
                compilation_options: wgpu::PipelineCompilationOptions {
                    constants: &[],
                    zero_initialize_workgroup_memory: false,
                },
                cache: self.0.pipeline_cache.get().map(|kept| &kept.cache),
            }))
        })?;
        lock(&self.0.pipelines).insert(kernel.clone(), pipeline.clone());
        Ok(pipeline)
    }
}
