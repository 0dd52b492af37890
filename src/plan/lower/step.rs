//! A kernel run in progress. Sizes, constants and buffers have the names of the kernel's file, in any order.

use super::{Argument, Operand};
use crate::error::{Error, Result};
use crate::graph::Activation;
use crate::plan::kernel::{BindingLine, Kernel, ShaderFile};
use crate::plan::{DeviceProfile, Dispatch, LOOP_BUDGET, Precision};
use crate::tensor::Shape;

/// Lanes of a workgroup, unless a step sets `LANES`.
pub(super) const LANES: u32 = 64;

pub(super) struct Step {
    label: String,
    file: ShaderFile,
    precision: Precision,
    constants: Vec<(&'static str, u32)>,
    flags: Vec<&'static str>,
    activation: Activation,
    written: String,
    sizes: Vec<(&'static str, u64)>,
    buffers: Vec<(&'static str, Operand)>,
    grid: Grid,
    layers: u32,
    flops: u64,
}

/// Workgroups along x and y.
enum Grid {
    /// As many as needed for this number of lanes.
    Lanes(u64),
    /// This number.
    Groups(u64),
    /// These numbers along each axis.
    Exact([u32; 2]),
}

impl Step {
    pub(super) fn new(label: &str, file: ShaderFile, precision: Precision) -> Step {
        Step {
            label: label.into(),
            file,
            precision,
            constants: vec![("LANES", LANES)],
            flags: Vec::new(),
            activation: Activation::None,
            written: String::new(),
            sizes: Vec::new(),
            buffers: Vec::new(),
            grid: Grid::Groups(1),
            layers: 1,
            flops: 0,
        }
    }

    /// Sets constants that specialise the kernel. The last value for a name counts.
    pub(super) fn constants(mut self, values: impl IntoIterator<Item = (&'static str, u32)>) -> Step {
        self.constants.extend(values);
        self
    }

    /// Sets a flag if `on`.
    pub(super) fn flag(mut self, name: &'static str, on: bool) -> Step {
        self.flags.extend(on.then_some(name));
        self
    }

    /// Sets the function of `activate`.
    pub(super) fn activation(self, activation: Activation) -> Step {
        Step { activation, ..self }
    }

    /// Sets buffers and functions that are written for this kernel.
    pub(super) fn written(self, written: String) -> Step {
        Step { written, ..self }
    }

    /// Sets sizes of `Params`. The last value for a name counts.
    pub(super) fn sizes(mut self, sizes: impl IntoIterator<Item = (&'static str, usize)>) -> Step {
        self.sizes.extend(sizes.into_iter().map(|(name, size)| (name, size as u64)));
        self
    }

    /// Sets members of `Params` that are not sizes: bits of an f32 or an i32.
    pub(super) fn bits(mut self, words: impl IntoIterator<Item = (&'static str, u32)>) -> Step {
        self.sizes.extend(words.into_iter().map(|(name, word)| (name, u64::from(word))));
        self
    }

    /// Sets the extents of the map that is read and of the one that is made.
    pub(super) fn extents(self, x: Shape, y: Shape) -> Step {
        self.sizes([("in_h", x.h), ("in_w", x.w), ("out_h", y.h), ("out_w", y.w)])
    }

    /// Binds a buffer.
    pub(super) fn bind(mut self, name: &'static str, operand: Operand) -> Step {
        self.buffers.push((name, operand));
        self
    }

    /// One lane for each of `items`, in workgroups of `LANES`.
    pub(super) fn lanes(self, items: usize) -> Step {
        Step { grid: Grid::Lanes(items as u64), ..self }
    }

    /// The same, with `items` as the size `total`.
    pub(super) fn total(self, items: usize) -> Step {
        self.sizes([("total", items)]).lanes(items)
    }

    /// Sets the number of workgroups, in x and y.
    pub(super) fn groups(self, groups: usize) -> Step {
        Step { grid: Grid::Groups(groups as u64), ..self }
    }

    /// Sets the number of workgroups along x and along y.
    pub(super) fn grid(self, x: u32, y: u32) -> Step {
        Step { grid: Grid::Exact([x, y]), ..self }
    }

    /// Sets the number of workgroups along z.
    pub(super) fn layers(self, layers: u32) -> Step {
        Step { layers, ..self }
    }

    /// Sets the multiplications and additions.
    pub(super) fn flops(self, flops: u64) -> Step {
        Step { flops, ..self }
    }

    /// The total number of workgroups.
    pub(super) fn workgroups(&self, device: &DeviceProfile) -> Result<u32> {
        Ok(self.dims(device)?.iter().product())
    }

    fn dims(&self, device: &DeviceProfile) -> Result<[u32; 3]> {
        let lanes = self.constants.iter().rev().find(|c| c.0 == "LANES").map_or(LANES, |c| c.1);
        let [x, y] = match self.grid {
            Grid::Lanes(items) => fold(items, lanes, device)?,
            Grid::Groups(groups) => fold(groups, 1, device)?,
            Grid::Exact(grid) => grid,
        };
        let grid = [x, y, self.layers];
        match grid.iter().find(|&&axis| axis > device.max_workgroups) {
            Some(axis) => {
                Err(Error::shape("workgroups", format!("at most {} an axis", device.max_workgroups), axis))
            }
            None => Ok(grid),
        }
    }

    /// Checks every name against the kernel's file, and what the kernel needs against the device.
    pub(super) fn finish(self, device: &DeviceProfile) -> Result<Dispatch<Argument>> {
        let grid = self.dims(device)?;
        let kernel = Kernel::new(self.file, self.precision, &self.constants, &self.flags)?
            .activated(self.activation)
            .with_written(self.written);

        let params = kernel.params(&self.sizes)?;
        let argument = |(line, operand): (BindingLine, Operand)| Argument {
            slot: line.slot,
            operand,
            written: line.written,
        };
        let bindings = kernel.bind(&self.buffers)?.into_iter().map(argument).collect();
        let loops = kernel.loops(&params);
        if loops > LOOP_BUDGET {
            return Err(Error::shape("kernel loop", format!("at most {LOOP_BUDGET} iterations"), loops));
        }
        let workgroup_memory = kernel.workgroup_bytes();
        if workgroup_memory > u64::from(device.max_workgroup_memory) {
            return Err(Error::LimitExceeded {
                what: format!("the workgroup memory of {}", self.file.name),
                needed: workgroup_memory,
                available: device.max_workgroup_memory.into(),
                hint: "use another kernel or device",
            });
        }
        Ok(Dispatch {
            label: self.label,
            kernel,
            grid,
            params,
            bindings,
            flops: self.flops,
            loops,
            workgroup_memory: workgroup_memory as u32,
        })
    }
}

/// `items` in workgroups of `lanes`. The x axis continues in y beyond the device's limit.
fn fold(items: u64, lanes: u32, device: &DeviceProfile) -> Result<[u32; 2]> {
    let groups = items.div_ceil(u64::from(lanes)).max(1);
    let max = u64::from(device.max_workgroups);
    let rows = groups.div_ceil(max);
    if rows > max || items > u64::from(u32::MAX) {
        return Err(Error::shape("tensor", "fewer than 2^32 vec4s", items));
    }
    // Rows of equal length leave few workgroups idle.
    Ok([groups.div_ceil(rows) as u32, rows as u32])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::ValueId;
    use crate::plan::kernel::shader;

    const REDUCE: ShaderFile = shader!("conv_reduce");

    /// The step that adds up three parts, with its ending still open.
    fn step() -> Step {
        let bind = |step: Step, name| step.bind(name, Operand::Value(ValueId(1)));
        let step = Step::new("layer", REDUCE, Precision::F16).constants([("PARTS", 3)]).total(10).sizes([
            ("pixels", 35),
            ("out_c", 2),
            ("quads_x", 4),
            ("quads_y", 3),
            ("out_h", 5),
            ("out_w", 7),
        ]);
        ["bias", "sums"].into_iter().fold(step, bind)
    }

    fn refusal(step: Step) -> String {
        step.finish(&DeviceProfile::default()).expect_err("a wrong step").to_string()
    }

    #[test]
    fn names_decide_places_whatever_their_order() {
        let step = step().flag("STORE", true).bind("dst", Operand::Value(ValueId(2)));
        let dispatch = step.finish(&DeviceProfile::default()).unwrap();
        let sizes: Vec<u32> = dispatch.params.iter().map(|size| size.1).collect();
        assert_eq!(sizes, [5, 7, 2, 3, 4, 10, 35]);
        let slots: Vec<_> = dispatch.bindings.iter().map(|b| (b.slot, b.written)).collect();
        assert_eq!(slots, [(1, false), (4, false), (5, true)]);
        assert_eq!((dispatch.grid, dispatch.loops, dispatch.workgroup_memory), ([1, 1, 1], 12, 0));
    }

    #[test]
    fn a_name_that_is_unknown_or_missing_is_refused_where_the_step_is_made() {
        let dst = Operand::Value(ValueId(2));
        let unknown = refusal(step().sizes([("out_d", 1)]));
        assert!(unknown.starts_with("sizes of kernel conv_reduce: expected out_h, out_w,"), "{unknown}");
        assert!(unknown.ends_with("got out_d"), "{unknown}");
        for (step, message) in [
            (
                step().constants([("SIDE", 1)]),
                "constants of kernel conv_reduce: expected LANES, PARTS, got SIDE",
            ),
            (step().flag("TWO", true), "got TWO"),
            // The flags that are set decide which buffers there are.
            (
                step().flag("STORE", true),
                "buffers of kernel conv_reduce: expected sums, bias, dst, got no dst",
            ),
            (step().bind("dst", dst), "buffers of kernel conv_reduce: expected sums, bias, got dst"),
            (step().sizes([("pixels", 1 << 32)]), "pixels: expected fewer than 2^32, got 4294967296"),
            (step().layers(70_000), "workgroups: expected at most 65535 an axis, got 70000"),
            (
                step().constants([("PARTS", 20_000)]),
                "kernel loop: expected at most 60000 iterations, got 80000",
            ),
        ] {
            let refusal = refusal(step);
            assert!(refusal.contains(message), "{refusal} instead of {message}");
        }
        let missing = Step::new("layer", REDUCE, Precision::F32);
        assert!(refusal(missing).contains("got no PARTS"));
    }
}
