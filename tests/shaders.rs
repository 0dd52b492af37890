//! Every WGSL permutation that a plan can ask for, parsed and validated by naga without a GPU.

use crate::cases;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use unet_wgpu::Shape;
use unet_wgpu::graph::{Graph, Op};
use unet_wgpu::optimize::{Optimizations, optimize};
use unet_wgpu::plan::{
    Bits, ConvKernel, DeviceProfile, Dispatch, InputFormat, Kernel, OutputFormat, Plan, PlanOptions,
    Precision,
};
use wgpu::naga;

/// The dispatches of all graphs under all choices, one for each distinct kernel.
fn permutations() -> Vec<Dispatch> {
    let mut seen: HashSet<Kernel> = HashSet::new();
    let mut all = Vec::new();
    for case in cases::all() {
        let (graph, shapes) = (&case.graph, case.shapes());
        let is_conv = |op: &Op| matches!(op, Op::Conv(_) | Op::ConvTranspose(_));
        let kernels = if graph.nodes().iter().any(|node| is_conv(&node.op)) {
            ConvKernel::ALL
        } else {
            &[ConvKernel::Auto]
        };
        for which in [Optimizations::default(), Optimizations::none()] {
            let graph = optimize(graph, &shapes, &which).expect("it optimises");
            for precision in [Precision::F32, Precision::F16] {
                for &conv in kernels {
                    for (software, cooperative) in [(false, Some(16)), (false, Some(8)), (true, None)] {
                        let max_workgroup_memory = 32 << 10;
                        let device = DeviceProfile::default()
                            .with_software(software)
                            .with_cooperative(cooperative)
                            .with_max_workgroup_memory(max_workgroup_memory);
                        let options = PlanOptions::default().with_precision(precision).with_conv(conv);
                        let plan = Plan::new(&graph, &shapes, &device, &options).expect("it plans");
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
                let options =
                    PlanOptions::default().with_precision(precision).with_input(input).with_output(output);
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
    let used: BTreeSet<String> = all.iter().map(|d| d.kernel.file.name.to_string()).collect();
    // The files of `shaders/` but for those that measure a device.
    let names = files().into_iter().map(|(name, _)| name).filter(|name| !name.starts_with("ceiling"));
    assert_eq!(used, names.collect(), "every file is reached");
    for dispatch in &all {
        check(dispatch);
    }
    eprintln!("{} kernels of {} files validated", all.len(), used.len());
}

fn check(dispatch: &Dispatch) {
    let name = format!("{:?}", dispatch.kernel);
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

/// Names and texts of the kernels' files.
fn files() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|folder| folder.join("shaders"));
    let folder = folder.into_iter().find(|folder| folder.is_dir()).expect("the repository has shaders");
    let paths =
        std::fs::read_dir(folder).expect("it is a folder").map(|entry| entry.expect("it lists").path());
    let files = paths.filter(|path| path.extension().is_some_and(|e| e == "wgsl"));
    let named = |path: PathBuf| {
        let name = path.file_stem().expect("it has a name").to_string_lossy().into_owned();
        (name, std::fs::read_to_string(&path).expect("it is text"))
    };
    files.map(named).collect()
}

#[test]
fn every_shader_states_its_grid_and_loops() {
    for (name, text) in files() {
        for part in ["// Grid:", "// Loops:"] {
            assert!(text.contains(part), "shaders/{name}.wgsl has no line {part}");
        }
    }
}
