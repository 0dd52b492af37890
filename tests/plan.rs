//! Plans without a GPU: memory, limits, budgets.

use unet_wgpu::graph::*;
use unet_wgpu::optimize::{Optimizations, optimize};
use unet_wgpu::plan::{DeviceProfile, LOOP_BUDGET, Plan, PlanOptions, Precision, Store};
use unet_wgpu::unet::{RandomWeights, UnetConfig};
use unet_wgpu::{Error, Result, Shape};

const MIB: u64 = 1 << 20;

fn seed() -> Graph {
    UnetConfig::seed().build(&mut RandomWeights::new(1)).expect("the preset builds")
}

fn plan(graph: &Graph, size: usize, which: &Optimizations, options: &PlanOptions) -> Result<Plan> {
    let shape = Shape::new(1, 3, size, size);
    Plan::new(&optimize(graph, shape, which)?, shape, &DeviceProfile::default(), options)
}

#[test]
fn the_seed_network_at_512_fits_215_mib() {
    let graph = seed();
    let plan_of = |which| plan(&graph, 512, &which, &PlanOptions::default()).expect("it plans");
    let optimized = plan_of(Optimizations::default());
    assert!(optimized.activation_bytes() <= 215 * MIB, "{} bytes", optimized.activation_bytes());
    let half = PlanOptions::default().with_precision(Precision::F16);
    let half = plan(&graph, 512, &Optimizations::default(), &half).expect("it plans");
    assert_eq!(2 * half.activation_bytes(), optimized.activation_bytes());
    assert_eq!(optimized.weight_bytes() / 1_000_000, 59);
}

/// No kernel exceeds the loop budget on a large map, whatever is summed.
#[test]
fn statistics_of_large_maps_keep_to_the_loop_budget() {
    let device = DeviceProfile::default().with_max_binding(1 << 30).with_max_buffer(1 << 30);
    for (channels, size) in [(1, 2048), (3, 2048), (64, 1024)] {
        let mut ops: Vec<Op> = vec![
            Norm::new(NormOver::Groups(1), 1e-5).into(),
            Norm::new(NormOver::Groups(channels), 1e-5).into(),
            Norm::new(NormOver::Channels, 1e-5).into(),
            ArgMax.into(),
        ];
        ops.extend([Axis::C, Axis::H, Axis::W].map(|axis| Op::Softmax(Softmax { axis })));
        for bits in 1..8 {
            let axes = [bits & 1 != 0, bits & 2 != 0, bits & 4 != 0];
            ops.push(Reduce { kind: ReduceKind::Mean, axes }.into());
        }
        for op in ops {
            for precision in [Precision::F32, Precision::F16] {
                let mut graph = Graph::new(channels);
                graph.push("op", op.clone(), &[Graph::INPUT]).expect("one node");
                let options = PlanOptions::default().with_precision(precision);
                let plan = Plan::new(&graph, Shape::new(1, channels, size, size), &device, &options);
                let plan = plan.unwrap_or_else(|error| panic!("{op:?}: {error}"));
                for d in &plan.dispatches {
                    assert!(d.loops <= LOOP_BUDGET, "{op:?}: {} iterations", d.loops);
                    // Enough lanes whenever much is read.
                    let lanes = d.grid.iter().map(|&g| u64::from(g)).product::<u64>() * 64;
                    let busy = d.loops <= 1024 || lanes >= 4096 || matches!(op, Op::Softmax(_));
                    assert!(busy, "{op:?}: {lanes} lanes of {} iterations", d.loops);
                }
            }
        }
    }
}

#[test]
fn every_dispatch_keeps_to_the_device() {
    let graph = seed();
    let device = DeviceProfile::default();
    for (size, which) in
        [(16, Optimizations::none()), (100, Optimizations::default()), (512, Optimizations::default())]
    {
        let plan = plan(&graph, size, &which, &PlanOptions::default()).expect("it plans");
        for d in &plan.dispatches {
            assert!(d.loops <= LOOP_BUDGET, "{}: {} iterations", d.label, d.loops);
            assert!(
                d.grid.iter().all(|g| (1..=device.max_workgroups).contains(g)),
                "{}: {:?}",
                d.label,
                d.grid
            );
            assert!(d.workgroup_memory <= device.max_workgroup_memory, "{}", d.label);
            for a in d.bindings.iter() {
                assert_eq!(a.offset % device.alignment, 0, "{}", d.label);
                assert!(a.bytes <= device.max_binding, "{}", d.label);
                let clash = |b: &&unet_wgpu::plan::Binding| a.written && b.store == a.store && !b.written;
                assert!(d.bindings.iter().find(clash).is_none(), "{} reads what it writes", d.label);
                if let Store::Activations(buffer) = a.store {
                    assert!(a.offset + a.bytes <= plan.activations[buffer], "{}", d.label);
                }
            }
        }
    }
}

#[test]
fn concatenations_are_never_made_and_pools_and_the_head_cost_no_dispatch() {
    let plan = plan(&seed(), 64, &Optimizations::default(), &PlanOptions::default()).expect("it plans");
    // A kernel of its own adds up a sum that was split to fill the device.
    let kernels = plan.dispatches.iter().map(|d| d.kernel.file.name).filter(|k| *k != "conv_reduce");
    let kernels: Vec<&str> = kernels.collect();
    assert!(!kernels.iter().any(|k| ["concat", "pool", "pointwise", "pad"].contains(k)), "{kernels:?}");
    // Two convolutions in each of nine blocks, four transposed ones, and the input and output conversions.
    assert_eq!(kernels.len(), 18 + 4 + 2);
}

#[test]
fn unoptimised_every_layer_is_its_own_pipeline() {
    let plan = plan(&seed(), 64, &Optimizations::none(), &PlanOptions::default()).expect("it plans");
    let count = |name: &str| plan.dispatches.iter().filter(|d| d.kernel.file.name == name).count();
    // Norms and activations.
    assert_eq!(["pointwise", "pool"].map(count), [18 + 18, 4]);
    assert_eq!(plan.dispatches.iter().filter(|d| d.label.ends_with(".up")).count(), 4);
    assert_eq!(count("concat"), 8, "one dispatch a part");
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_allocated() {
    let graph = seed();
    let refused = |size, options: &PlanOptions| match plan(&graph, size, &Optimizations::default(), options) {
        Err(Error::LimitExceeded { needed, available, .. }) => (needed, available),
        other => panic!("expected a limit, got {:?}", other.map(|p| p.memory_bytes())),
    };
    // 64 channels of f32 at 1024x1024 in one binding.
    assert_eq!(refused(1024, &PlanOptions::default()), (256 * MIB, 128 * MIB));
    let tight = PlanOptions::default().with_max_memory(Some(64 * MIB));
    assert_eq!(refused(256, &tight).1, 64 * MIB);
    // Sizes whose bytes overflow are refused too, not wrapped.
    let huge = Shape::new(1, 3, 1 << 29, 1 << 29);
    let result = Plan::new(&graph, huge, &DeviceProfile::default(), &PlanOptions::default());
    assert!(matches!(result, Err(Error::LimitExceeded { .. } | Error::Shape { .. })), "{:?}", result.err());
}

#[test]
fn a_deeper_plan_is_the_same_plan_every_time() {
    let graph = seed();
    let places = || {
        let plan = plan(&graph, 96, &Optimizations::default(), &PlanOptions::default()).expect("it plans");
        plan.dispatches.iter().flat_map(|d| d.bindings.clone()).collect::<Vec<_>>()
    };
    assert_eq!(places(), places());
}
