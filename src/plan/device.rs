//! What a plan must know of a device.

/// Most loop iterations of one invocation. lavapipe stops at 65,535 without an error.
pub const LOOP_BUDGET: u64 = 60_000;

/// The properties of a device that a plan depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct DeviceProfile {
    /// Largest range of a storage binding, bytes.
    pub max_binding: u64,
    /// Largest buffer, bytes.
    pub max_buffer: u64,
    /// Most workgroups along each axis of a dispatch.
    pub max_workgroups: u32,
    /// Workgroup memory, bytes.
    pub max_workgroup_memory: u32,
    /// Most lanes in a workgroup.
    pub max_lanes: u32,
    /// Alignment of binding offsets, bytes.
    pub alignment: u64,
    /// Whether the adapter is software; kernels then avoid workgroup memory.
    pub software: bool,
    /// Side of the cooperative matrices (f16 to f32, subgroups of 32) for which the device was opened: 16 or 8.
    pub cooperative: Option<u32>,
}

setters!(DeviceProfile {
    with_max_binding(max_binding: u64),
    with_max_buffer(max_buffer: u64),
    with_max_workgroups(max_workgroups: u32),
    with_max_workgroup_memory(max_workgroup_memory: u32),
    with_max_lanes(max_lanes: u32),
    with_alignment(alignment: u64),
    with_software(software: bool),
    with_cooperative(cooperative: Option<u32>),
});

impl Default for DeviceProfile {
    /// WebGPU's guaranteed limits.
    fn default() -> DeviceProfile {
        DeviceProfile {
            max_binding: 128 << 20,
            max_buffer: 256 << 20,
            max_workgroups: 65_535,
            max_workgroup_memory: 16 << 10,
            max_lanes: 256,
            alignment: 256,
            software: false,
            cooperative: None,
        }
    }
}
