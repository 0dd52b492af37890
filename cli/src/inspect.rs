//! `unet inspect`: describes a network without running it.

use super::inputs::InputArgs;
use super::nodes::Nodes;
use super::roofline::{self, Cost, Rates};
use super::values::Size;
use super::{Common, ModelArgs, RecipeArg, text};
use crate::error::{Error, Result};
use clap::Args;
use serde::Serialize;
use std::process::ExitCode;
use unet_wgpu::graph::{Graph, ValueId};
use unet_wgpu::optimize::optimize;
use unet_wgpu::plan::{DeviceProfile, Plan, PlanOptions};
use unet_wgpu::{Model, PortInfo, Role, Shape, Signature};

/// Show a model's layers, shapes, work and memory
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  unet inspect model.onnx --size 512\n  unet inspect model.pth --nodes\n  unet inspect --preset seed --size 128 --json"
)]
pub(super) struct InspectArgs {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    inputs: InputArgs,
    #[command(flatten)]
    recipe: RecipeArg,
    /// Input size, HEIGHTxWIDTH or one number [default: the size that the file was made for, else 128]
    #[arg(long)]
    size: Option<Size>,
    /// List the nodes of an ONNX file and what becomes of each
    #[arg(long)]
    nodes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Show instead what each layer and fused group must compute and move, and how long that takes at peak rates
    #[arg(long)]
    roofline: bool,
    /// Peak TFLOP/s for --roofline [default: an H200's 60 in f32, 800 with matrix units in f16]
    #[arg(long, requires = "roofline", value_name = "RATE", value_parser = rate)]
    tflops: Option<f64>,
    /// Peak GB/s for --roofline [default: an H200's 4800]
    #[arg(long, requires = "roofline", value_name = "RATE", value_parser = rate)]
    gbs: Option<f64>,
}

/// A positive number.
fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(rate),
        _ => Err("expected a number above 0".into()),
    }
}

/// A row of the table.
#[derive(Debug, Serialize)]
struct Layer {
    name: String,
    op: &'static str,
    shape: [usize; 4],
    parameters: usize,
    flops: u64,
}

pub(super) fn run(args: &InspectArgs, common: &Common) -> Result<ExitCode> {
    let model = match (args.model.open(args.recipe.recipe.as_deref(), &args.inputs), &args.model.model) {
        // For a network that cannot run, the nodes are the most useful information.
        (Err(error), Some(path)) => {
            if let Ok(Some(nodes)) = Nodes::read(path) {
                text::print(&format!("{}\n{}\n", nodes.table(), nodes.summary()))?;
            }
            return Err(error);
        }
        (model, _) => model?,
    };
    let input = Size::or_example(args.size, &model);
    let shapes = &model.input_shapes(input)?[..];
    let graph = model.graph(shapes)?;
    let layers = layers(&graph, shapes)?;
    let optimized = optimize(&graph, shapes, &common.options().optimizations)?;
    let (plan, excess) = plan(&optimized, shapes, common)?;
    let ports = ports(&model, shapes)?;
    let nodes = model.nodes(input).map(|nodes| Nodes::of(nodes, Some(&optimized)));
    let roofline =
        args.roofline.then(|| Roofline::new(args, common, [&graph, &optimized], shapes)).transpose()?;
    let text = match (args.json, &roofline) {
        (true, roofline) => {
            let mut report = json(&model, &graph, &layers, &plan);
            report["inputs"] = ports[0].iter().map(PortLine::json).collect();
            report["outputs"] = ports[1].iter().map(PortLine::json).collect();
            if let Some(nodes) = &nodes {
                report["nodes"] = nodes.json();
            }
            if let Some(roofline) = roofline {
                report["roofline"] = roofline::json(&roofline.layers, &roofline.groups, roofline.rates);
            }
            format!("{report:#}\n")
        }
        (false, Some(roofline)) => {
            roofline::describe(&roofline.layers, &roofline.groups, roofline.rates, plan.precision)
        }
        (false, None) if args.nodes => match &nodes {
            Some(nodes) => format!("{}\n{}\n", nodes.table(), nodes.summary()),
            None => return Err(Error::Usage("--nodes is for ONNX files; drop it".into())),
        },
        (false, None) => {
            let mut text = describe(&model, &graph, &layers, &plan, excess, &ports)?;
            if let Some(nodes) = &nodes {
                text.push_str(&format!("\n{} (--nodes lists them)\n", nodes.summary()));
            }
            text
        }
    };
    text::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// The cost model of a network at the chosen rates.
struct Roofline {
    layers: Vec<Cost>,
    groups: Vec<Cost>,
    rates: Rates,
}

impl Roofline {
    /// The cost of a network as it was built and as it was optimised.
    fn new(
        args: &InspectArgs,
        common: &Common,
        [graph, optimized]: [&Graph; 2],
        inputs: &[Shape],
    ) -> Result<Roofline> {
        let options = common.options();
        let peak = Rates::h200(options.precision);
        Ok(Roofline {
            layers: roofline::layers(graph, inputs, options.precision)?,
            groups: roofline::groups(graph, optimized, inputs, options.precision)?,
            rates: Rates {
                flops: args.tflops.map_or(peak.flops, |rate| rate * 1e12),
                bytes: args.gbs.map_or(peak.bytes, |rate| rate * 1e9),
            },
        })
    }
}

fn layers(graph: &Graph, inputs: &[Shape]) -> Result<Vec<Layer>> {
    let shapes = graph.shapes(inputs)?;
    let layer = |node: &unet_wgpu::graph::Node| {
        let (inputs, outputs) = (node.input_shapes(&shapes)?, node.output_shapes(&shapes));
        let rules = node.op.rules();
        Ok(Layer {
            name: node.name.clone(),
            op: rules.name(),
            shape: outputs.first().map_or([0; 4], |s| [s.n, s.c, s.h, s.w]),
            parameters: rules.parameters(),
            flops: rules.flops(&inputs, &outputs),
        })
    };
    graph.nodes().iter().map(layer).collect()
}

/// Multiplications and additions of the network as it is written, whatever a device fuses.
pub(super) fn flops(graph: &Graph, input: Shape) -> Result<u64> {
    Ok(layers(graph, &[input])?.iter().map(|layer| layer.flops).sum())
}

/// The plan for a device with the limits that WebGPU guarantees. If the network exceeds them, a plan without limits,
/// and the error.
fn plan(
    optimized: &Graph,
    inputs: &[Shape],
    common: &Common,
) -> unet_wgpu::Result<(Plan, Option<unet_wgpu::Error>)> {
    let options = common.options();
    let choices = PlanOptions::default()
        .with_precision(options.precision)
        .with_max_memory(options.max_memory)
        .with_conv(options.conv);
    let small = DeviceProfile::default();
    match Plan::new(optimized, inputs, &small, &choices) {
        Err(excess @ unet_wgpu::Error::LimitExceeded { .. }) => {
            let large = small.with_max_binding(1 << 40).with_max_buffer(1 << 40);
            Ok((Plan::new(optimized, inputs, &large, &choices)?, Some(excess)))
        }
        plan => Ok((plan?, None)),
    }
}

fn json(model: &Model, graph: &Graph, layers: &[Layer], plan: &Plan) -> serde_json::Value {
    let extents = |s: Shape| [s.n, s.c, s.h, s.w];
    serde_json::json!({
        "input": extents(plan.inputs[0].shape),
        "output": extents(plan.outputs[0].shape),
        "parameters": graph.parameters(),
        "flops": layers.iter().map(|layer| layer.flops).sum::<u64>(),
        "receptive_field": graph.receptive_field(),
        "precision": plan.precision.to_string(),
        "activation_bytes": plan.activation_bytes(),
        "naive_activation_bytes": plan.naive_activation_bytes,
        "weight_bytes": plan.weight_bytes(),
        "memory_bytes": plan.memory_bytes(),
        "dispatches": plan.dispatches.len(),
        "layers": layers,
        "fingerprint": model.fingerprint().ok().map(|number| format!("{number:016x}")),
        "family": model.family.or(model.known_as()),
        "notes": model.notes,
        "config": model.config,
        "recipe": model.recipe,
        "recipe_origins": model.origins,
        "assumptions": model.assumptions().collect::<Vec<_>>(),
    })
}

/// An input or output, its shape at the size that is shown, and its purpose.
struct PortLine {
    info: PortInfo,
    shape: Shape,
    purpose: String,
}

impl PortLine {
    fn json(&self) -> serde_json::Value {
        let Shape { n, c, h, w } = self.shape;
        serde_json::json!({
            "name": self.info.name,
            "type": self.info.element,
            "extents": self.info.extents,
            "shape": [n, c, h, w],
            "purpose": self.purpose,
        })
    }
}

/// The inputs and the outputs of a model whose inputs have these shapes.
fn ports(model: &Model, shapes: &[Shape]) -> Result<[Vec<PortLine>; 2]> {
    let Signature { inputs, outputs, reason } = model.signature();
    let names: Vec<String> = outputs.iter().map(|output| output.name.clone()).collect();
    let graph = model.graph_with(shapes, &names)?;
    let values = graph.shapes(shapes)?;
    let line = |info: PortInfo, value: Option<ValueId>| {
        let shape = value.and_then(|value| values[value.index()]).unwrap_or(Shape::new(0, 0, 0, 0));
        let purpose = match &info.role {
            Role::Picture => "the picture".into(),
            Role::Mask => "the mask, the last channel of what the network gets".into(),
            Role::Value => format!("give it with run --input {}=VALUE", info.name),
            Role::Result => format!("the result: {reason}"),
            Role::Output => format!("choose it with run --output {}", info.name),
            Role::State(other) => format!("a state, carried from {other} of the picture before"),
        };
        PortLine { info, shape, purpose }
    };
    let has_mask = inputs.iter().any(|info| info.role == Role::Mask);
    let input = |info: PortInfo| {
        let value = graph.inputs().iter().find(|input| input.name == info.name).map(|input| input.value);
        let mut line = line(info, value);
        match line.info.role {
            Role::Picture if has_mask => line.shape.c -= 1,
            Role::Mask => line.shape = Shape { c: 1, ..shapes[0] },
            _ => {}
        }
        line
    };
    let output = |info: PortInfo| {
        let value = graph.outputs().iter().find(|output| output.name == info.name).map(|output| output.value);
        let mut line = line(info, value);
        if let Role::State(input) = &line.info.role {
            line.purpose = format!("a state, carried to {input} of the next picture");
        }
        line
    };
    Ok([inputs.into_iter().map(input).collect(), outputs.into_iter().map(output).collect()])
}

/// Inputs and outputs, one line each.
fn port_table([inputs, outputs]: &[Vec<PortLine>; 2]) -> String {
    let row = |kind: &str, port: &PortLine| {
        let PortInfo { name, element, extents, .. } = &port.info;
        text::row([&kind, name, element, extents, &port.shape, &port.purpose])
    };
    let mut rows = vec![text::row([&"", &"name", &"type", &"in the file", &"shape", &"purpose"])];
    rows.extend(inputs.iter().map(|port| row("input", port)));
    rows.extend(outputs.iter().map(|port| row("output", port)));
    text::table(&rows, 6)
}

fn describe(
    model: &Model,
    graph: &Graph,
    layers: &[Layer],
    plan: &Plan,
    excess: Option<unet_wgpu::Error>,
    ports: &[Vec<PortLine>; 2],
) -> Result<String> {
    let mut sections = Vec::new();
    if let Some(config) = &model.config {
        sections.push(config.trace(graph, plan.inputs[0].shape)? + "\n");
    }
    let mut rows = vec![text::row([&"layer", &"op", &"shape", &"parameters", &"MFLOP"])];
    rows.extend(layers.iter().map(|layer| {
        let [n, c, h, w] = layer.shape;
        let parameters =
            if layer.parameters == 0 { String::new() } else { text::thousands(layer.parameters as u64) };
        let mflop = format!("{:.2}", layer.flops as f64 / 1e6);
        text::row([&layer.name, &layer.op, &Shape::new(n, c, h, w), &parameters, &mflop])
    }));
    sections.push(text::table(&rows, 3));
    sections.push(port_table(ports));
    sections.push(totals(model, graph, layers, plan, excess));
    sections.push(recipe(model, plan));
    Ok(sections.join("\n"))
}

fn totals(
    model: &Model,
    graph: &Graph,
    layers: &[Layer],
    plan: &Plan,
    excess: Option<unet_wgpu::Error>,
) -> String {
    let gflop = layers.iter().map(|layer| layer.flops).sum::<u64>() as f64 / 1e9;
    let field = graph
        .receptive_field()
        .map_or("every output pixel depends on the whole picture".into(), |f| format!("{f}x{f} pixels"));
    let buffers = plan.activations.len() + plan.weights.len();
    let family = model.family.or(model.known_as()).map(|family| format!("family           {family}"));
    let notes = model.notes.iter().map(|note| format!("note             {note}"));
    let mut lines: Vec<String> = family.into_iter().chain(notes).collect();
    lines.extend([
        format!("parameters       {}", text::thousands(graph.parameters() as u64)),
        format!("work             {gflop:.3} GFLOP (two for a multiply-add)"),
        format!("receptive field  {field}"),
        format!("weights          {} ({})", text::mib(plan.weight_bytes()), plan.precision),
        format!(
            "activations      {} planned, {} if none shared memory",
            text::mib(plan.activation_bytes()),
            text::mib(plan.naive_activation_bytes)
        ),
        format!(
            "device memory    {} in all, {buffers} buffers, {} dispatches",
            text::mib(plan.memory_bytes()),
            plan.dispatches.len()
        ),
    ]);
    lines
        .extend(excess.map(|e| {
            format!("limits           more than WebGPU guarantees, so only on larger devices: {e}")
        }));
    lines.join("\n") + "\n"
}

/// The recipe in words, one line for each field, with its origin.
fn recipe(model: &Model, plan: &Plan) -> String {
    let recipe = &model.recipe;
    let told = [
        ("task", &recipe.task),
        ("description", &recipe.description),
        ("license", &recipe.license),
        ("training", &recipe.training),
        ("authors", &recipe.authors),
        ("citation", &recipe.citation),
    ];
    let told = told.into_iter().filter(|(_, text)| !text.is_empty()).map(|(name, text)| (name, text.clone()));
    let test =
        model.test.as_ref().map(|test| ("test", format!("{} (unet verify)", test.input.path.display())));
    let line = |(path, text): (&str, String)| {
        let origin = model.origins.get(path).map(|origin| format!("  [{origin}]")).unwrap_or_default();
        format!("{path:<18}{text}{origin}\n")
    };
    told.chain(recipe.words([plan.inputs[0].shape.c, plan.outputs[0].shape.c]))
        .chain(test)
        .map(line)
        .chain(model.assumptions().map(|assumed| format!("note             {assumed}\n")))
        .collect()
}
