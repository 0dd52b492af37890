//! Every WGSL permutation that a plan can ask for, parsed and validated by naga without a GPU.

use crate::support::{ACTIVATIONS, BINARY_KINDS};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use unet_wgpu::graph::*;
use unet_wgpu::optimize::{Optimizations, optimize};
use unet_wgpu::plan::{
    Bits, ConvKernel, DeviceProfile, Dispatch, InputFormat, Kernel, OutputFormat, Plan, PlanOptions,
    Precision, SHADER_FILES,
};
use unet_wgpu::{Shape, Tensor};
use wgpu::naga;

/// One graph with an operator behind the input for each entry, so that every lowering is reached.
fn operators() -> Vec<(Graph, Shape)> {
    let mut graphs = Vec::new();
    let mut chain = |channels: usize, ops: &[Op]| {
        let mut graph = Graph::new(channels);
        let mut x = Graph::INPUT;
        for (i, op) in ops.iter().enumerate() {
            x = graph.push(&format!("op{i}"), op.clone(), &[x]).expect("a new name");
        }
        graphs.push((graph, Shape::new(1, channels, 33, 18)));
    };
    let weight = |o, i, k| Arc::new(Tensor::random(Shape::new(o, i, k, k), 1));
    for kernel in [1, 3, 5, 7] {
        for (stride, dilation) in [(1, 1), (2, 1), (1, 2)] {
            for outs in [3, 32, 64] {
                let conv = Conv {
                    stride: [stride; 2],
                    dilation: [dilation; 2],
                    ..Conv::new(weight(outs, 8, kernel), None)
                };
                for activation in
                    [Activation::None, Activation::Relu, Activation::LeakyRelu(0.1), Activation::Sigmoid]
                {
                    let conv = Conv { activation, ..conv.clone().same() };
                    chain(8, &[conv.clone().into(), Pool::MAX_2X2.into()]);
                    chain(8, &[conv.into()]);
                }
                chain(8, &[conv.into()]);
            }
        }
    }
    let deep = Conv::new(weight(64, 256, 3), None).same();
    chain(256, &[deep.clone().into(), Pool::MAX_2X2.into()]);
    for activation in [Activation::None, Activation::Sigmoid] {
        let head = Conv { activation, ..Conv::new(weight(3, 64, 1), None) };
        chain(8, &[Conv::new(weight(64, 8, 3), None).same().into(), head.into()]);
    }
    let mut one = |channels: usize, op: Op| chain(channels, &[op]);
    one(16, Conv { groups: 4, ..Conv::new(weight(16, 4, 3), None) }.into());
    one(6, Conv { groups: 3, ..Conv::new(weight(6, 2, 3), None) }.into());
    one(17, Conv { groups: 17, ..Conv::new(weight(17, 1, 3), None) }.same().into());
    for (kernel, stride) in [(2, 2), (3, 2), (4, 2), (3, 1)] {
        one(8, ConvTranspose::new(weight(8, 20, kernel), None, stride).into());
    }
    for kind in [PoolKind::Max, PoolKind::Average, PoolKind::AverageWithPadding] {
        one(5, Pool { kind, kernel: [3, 3], padding: [1; 4], ..Pool::MAX_2X2 }.into());
    }
    one(5, Reduce::GLOBAL_AVERAGE.into());
    one(5, BatchNorm::new(&[1.0; 5], &[0.0; 5], &[0.0; 5], &[1.0; 5], 1e-5).expect("five each").into());
    let to = ResizeTo::Scale([2.0; 2]);
    for resize in [
        Resize::nearest(to),
        Resize::bilinear(to, true),
        Resize { interpolation: Interpolation::Cubic(-0.75), ..Resize::bilinear(to, false) },
    ] {
        one(5, resize.into());
    }
    for mode in [PadMode::Zero, PadMode::Edge, PadMode::Reflect] {
        one(5, Pad { amount: PadAmount::Multiple(16), mode }.into());
    }
    for activation in ACTIVATIONS {
        one(5, activation.into());
    }
    one(5, PRelu { slope: vec![0.1; 5].into() }.into());
    for axis in [Axis::C, Axis::H, Axis::W] {
        one(5, Softmax { axis }.into());
    }
    one(5, ArgMax.into());
    for (channels, groups) in [(5, 1), (6, 3), (64, 64), (96, 32)] {
        one(channels, Norm::new(NormOver::Groups(groups), 1e-5).into());
    }
    for channels in [5, 130] {
        one(channels, Norm::new(NormOver::Channels, 1e-5).into());
    }
    for kind in [ReduceKind::Mean, ReduceKind::Sum, ReduceKind::Max, ReduceKind::Min, ReduceKind::L2] {
        for axes in [[true, false, false], [false, true, true], [true, true, false], [true; 3]] {
            one(5, Reduce { kind, axes }.into());
        }
    }
    let shape = Shape::new(1, 12, 33, 18);
    for rearrange in [
        Rearrange::reshape(shape, Shape::new(1, 1, 12, 33 * 18)),
        Rearrange::transpose(shape, [0, 2, 3, 1]),
        Rearrange::transpose(shape, [0, 3, 2, 1]),
        Rearrange::transpose(shape, [0, 1, 3, 2]),
        Rearrange::depth_to_space(shape, 2, DepthOrder::Dcr),
        Rearrange::space_to_depth(shape, 3, DepthOrder::Dcr),
        Rearrange::permuted(shape, &[3, 2, 2, 3, 11, 3, 3, 2], &[7, 6, 5, 4, 3, 2, 1, 0], shape),
    ] {
        one(12, rearrange.expect("they fit").into());
    }
    // Wide enough for every product kernel.
    one(16, Conv::new(weight(72, 16, 3), None).same().into());
    one(32, ConvTranspose::new(weight(32, 20, 2), None, 2).into());
    one(256, deep.into());
    let mut two = |ops: [Op; 2]| {
        let mut graph = Graph::new(5);
        let x = graph.push("first", ops[0].clone(), &[Graph::INPUT, Graph::INPUT]).expect("a new name");
        graph.push("second", ops[1].clone(), &[x]).expect("a new name");
        graphs.push((graph, Shape::new(2, 5, 20, 9)));
    };
    two([Concat::default().into(), Conv::new(weight(40, 10, 3), None).into()]);
    two([Concat { axis: Axis::H }.into(), Activation::Relu.into()]);
    two([Crop.into(), Activation::Relu.into()]);
    for kind in BINARY_KINDS {
        two([Binary::new(kind).into(), Conv::new(weight(40, 5, 3), None).into()]);
    }
    for (ins, outs, kernel, groups) in
        [(8, 32, 3, 1), (8, 64, 1, 1), (8, 16, 3, 1), (16, 16, 3, 4), (17, 17, 3, 17), (256, 64, 3, 1)]
    {
        for activation in [Activation::None, Activation::Relu] {
            let mut graph = Graph::new(ins);
            let conv = Conv { groups, ..Conv::new(weight(outs, ins / groups, kernel), None) }.same();
            let x = graph.push("conv", conv, &[Graph::INPUT]).expect("a new name");
            let other = Constant(Tensor::zeros(Shape::new(1, outs, 33, 18)).into());
            let other = graph.push("constant", other, &[]).expect("a new name");
            graph.push("sum", Binary { activation, ..Binary::ADD }, &[x, other]).expect("a new name");
            graphs.push((graph, Shape::new(1, ins, 33, 18)));
        }
    }
    // All steps in one kernel, as many as it has bindings for, with and without lanes to clear.
    for channels in [5, 8] {
        let mut graph = Graph::new(channels);
        let vector: Arc<[f32]> = vec![0.1; channels].into();
        let mut x =
            graph.push("prelu", PRelu { slope: vector.clone() }, &[Graph::INPUT]).expect("a new name");
        let norm = BatchNorm { scale: vector.clone(), shift: vector, activation: Activation::Pow(1.5) };
        x = graph.push("norm", norm, &[x]).expect("a new name");
        for (i, (extents, kind)) in
            [[2, 1, 20, 9], [1, channels, 1, 9], [1; 4], [2, channels, 1, 1], [2, channels, 20, 9]]
                .into_iter()
                .zip(BINARY_KINDS.into_iter().rev())
                .enumerate()
        {
            let [n, c, h, w] = extents;
            let other = Constant(Tensor::zeros(Shape::new(n, c, h, w)).into());
            let other = graph.push(&format!("constant{i}"), other, &[]).expect("a new name");
            let activation = ACTIVATIONS[(7 * i + channels) % ACTIVATIONS.len()];
            x = graph.push(&format!("op{i}"), Binary { kind, activation }, &[x, other]).expect("a new name");
        }
        graphs.push((graph, Shape::new(2, channels, 20, 9)));
    }
    // With a constant of other extents, on either side.
    for kind in BINARY_KINDS {
        for (channels, extents) in [(1, 1), (5, 1), (5, 20), (8, 20)] {
            let mut graph = Graph::new(channels);
            let constant = Tensor::zeros(Shape::new(1, [channels, 1][extents % 2], 1, extents));
            let c = graph.push("constant", Constant(constant.into()), &[]).expect("a new name");
            let x = graph.push("first", Binary::new(kind), &[Graph::INPUT, c]).expect("a new name");
            graph.push("second", Binary::new(kind), &[c, x]).expect("a new name");
            graphs.push((graph, Shape::new(2, channels, 20, 20)));
        }
    }
    for (a, b) in [(5, 5), (5, 1), (1, 8)] {
        let mut graph = Graph::new(a);
        let c = Tensor::zeros(Shape::new(1, b, 18, 7));
        let c = graph.push("constant", Constant(c.into()), &[]).expect("a new name");
        graph.push("product", MatMul, &[Graph::INPUT, c]).expect("a new name");
        graphs.push((graph, Shape::new(1, a, 33, 18)));
    }
    graphs
}

const CONV_KERNELS: [ConvKernel; 6] = [
    ConvKernel::Auto,
    ConvKernel::Direct,
    ConvKernel::Tiled,
    ConvKernel::Cooperative,
    ConvKernel::Winograd2,
    ConvKernel::Winograd4,
];

/// The dispatches of all graphs under all choices, one for each distinct kernel.
fn permutations() -> Vec<Dispatch> {
    let mut seen: HashSet<Kernel> = HashSet::new();
    let mut all = Vec::new();
    for (graph, shape) in operators() {
        for which in [Optimizations::default(), Optimizations::none()] {
            let graph = optimize(&graph, shape, &which).expect("it optimises");
            for precision in [Precision::F32, Precision::F16] {
                for conv in CONV_KERNELS {
                    for (software, cooperative) in [(false, Some(16)), (false, Some(8)), (true, None)] {
                        let max_workgroup_memory = 32 << 10;
                        let device = DeviceProfile {
                            software,
                            cooperative,
                            max_workgroup_memory,
                            ..Default::default()
                        };
                        let options = PlanOptions { precision, conv, ..Default::default() };
                        let plan = Plan::new(&graph, shape, &device, &options).expect("it plans");
                        all.extend(plan.dispatches.into_iter().filter(|d| seen.insert(d.kernel.clone())));
                    }
                }
            }
        }
    }
    // The ends in every format, on a network that is nothing but them.
    let graph = Graph::new(5);
    for precision in [Precision::F32, Precision::F16] {
        for bits in [Bits::Eight, Bits::Sixteen] {
            for output in
                [OutputFormat::Picture { bits, scale: 255.0 }, OutputFormat::Classes { threshold: 0.5 }]
            {
                let input = InputFormat::Picture { bits, scale: vec![1.0; 5], shift: vec![0.0; 5] };
                let options = PlanOptions { precision, input, output, ..Default::default() };
                let plan = Plan::new(&graph, Shape::new(1, 5, 3, 3), &DeviceProfile::default(), &options);
                let dispatches = plan.expect("it plans").dispatches.into_iter();
                all.extend(dispatches.filter(|d| seen.insert(d.kernel.clone())));
            }
        }
    }
    all
}

#[test]
fn every_permutation_is_valid_and_agrees_with_its_plan() {
    let all = permutations();
    let used: BTreeSet<_> = all.iter().map(|d| d.kernel.file.name).collect();
    assert_eq!(used, SHADER_FILES.iter().map(|file| file.name).collect(), "every file is reached");
    for dispatch in &all {
        check(dispatch);
    }
    eprintln!("{} kernels of {} files validated", all.len(), used.len());
}

fn check(dispatch: &Dispatch) {
    let name = format!("{} for {:?}", dispatch.kernel.file.name, dispatch.kernel.constants);
    let text = dispatch.kernel.wgsl();
    let module =
        naga::front::wgsl::parse_str(&text).unwrap_or_else(|e| panic!("{name}: {}", e.emit_to_string(&text)));
    let capabilities = naga::valid::Capabilities::SHADER_FLOAT16
        | naga::valid::Capabilities::COOPERATIVE_MATRIX
        | naga::valid::Capabilities::SUBGROUP;
    let mut validator = naga::valid::Validator::new(naga::valid::ValidationFlags::all(), capabilities);
    let info = validator.validate(&module).unwrap_or_else(|e| panic!("{name}: {e:?}"));
    let options = naga::back::spv::Options { lang_version: (1, 4), ..Default::default() };
    let spirv = naga::back::spv::write_vec(&module, &info, &options, None)
        .unwrap_or_else(|e| panic!("{name}: {e:?}"));
    if let Some(folder) = std::env::var_os("UNET_DUMP_SPIRV") {
        // For `spirv-val`, which knows more rules than naga.
        let file = format!("{}-{}.spv", dispatch.kernel.file.name, spirv.len());
        std::fs::write(std::path::Path::new(&folder).join(file), bytemuck::cast_slice::<u32, u8>(&spirv))
            .expect("the folder exists");
    }

    let mut bound: HashMap<u32, bool> = HashMap::new();
    let mut workgroup_memory = 0;
    let mut layouter = naga::proc::Layouter::default();
    layouter.update(module.to_ctx()).expect("the module was validated");
    for (_, variable) in module.global_variables.iter() {
        let kind = &module.types[variable.ty].inner;
        match variable.space {
            naga::AddressSpace::WorkGroup => workgroup_memory += layouter[variable.ty].size,
            naga::AddressSpace::Uniform => {
                let naga::TypeInner::Struct { members, .. } = kind else {
                    panic!("{name}: params are a struct")
                };
                let members: Vec<_> =
                    members.iter().map(|m| (m.name.clone().expect("named"), m.offset)).collect();
                let params: Vec<_> =
                    dispatch.params.iter().zip(0..).map(|(p, i)| (p.0.to_string(), 4 * i)).collect();
                assert_eq!(members, params, "{name}");
            }
            naga::AddressSpace::Storage { access } => {
                let slot = variable.binding.as_ref().expect("storage is bound").binding;
                bound.insert(slot, access.contains(naga::StorageAccess::STORE));
            }
            _ => {}
        }
    }
    let planned: HashMap<u32, bool> = dispatch.bindings.iter().map(|b| (b.slot, b.written)).collect();
    assert_eq!(bound, planned, "{name}: bindings and which of them are written");
    assert!(bound.len() <= 8, "{name}: storage buffers");
    assert_eq!(workgroup_memory, dispatch.workgroup_memory, "{name}: workgroup memory");
    let lanes = module.entry_points[0].workgroup_size;
    assert_eq!(lanes, [dispatch.kernel.constant("LANES"), 1, 1], "{name}");
    assert!(lanes[0] <= 256, "{name}");
}

#[test]
fn every_shader_tells_its_contract() {
    for file in SHADER_FILES {
        for part in ["// Grid:", "// Bindings:", "// Constants:", "// Loop budget:"] {
            assert!(file.text.contains(part), "shaders/{}.wgsl has no line {part}", file.name);
        }
    }
}
