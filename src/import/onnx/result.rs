//! Which of a file's outputs is the result.

use super::layout::Layout;
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::tensor::Shape;

/// Names that exporters and code bases give to the result.
const MAIN: [&str; 26] = [
    "alpha",
    "alphas",
    "d0",
    "denoised",
    "depth",
    "final",
    "final_output",
    "fused",
    "logits",
    "mask",
    "masks",
    "out",
    "output",
    "output_0",
    "output_image",
    "pred",
    "prediction",
    "predictions",
    "preds",
    "restored",
    "result",
    "seg",
    "segmentation",
    "semantic",
    "sr",
    "upscaled",
];

/// Parts of names of what is made on the way: side outputs, features.
const SIDE: [&str; 8] = ["aux", "side", "edge", "boundary", "supervis", "feat", "intermediate", "hidden"];

/// Which of the outputs for a picture is the result, and why: the largest; of equals the one with the name of a result,
/// then the one that is computed last, as in networks with deep supervision, then the first.
pub(super) fn choose<'a>(
    made: &[(&'a str, Shape)],
    graph: &Graph,
    picture: Shape,
    layout: Layout,
) -> Result<(&'a str, String)> {
    let none = || Error::Model("no node makes the network's output".into());
    let &(first, _) = made.first().ok_or_else(none)?;
    if made.len() == 1 || layout == Layout::Flat {
        let only = if made.len() == 1 { "only" } else { "first" };
        return Ok((first, format!("it is the {only} output")));
    }
    let most = made.iter().map(|(_, shape)| shape.pixels()).max().unwrap_or(0);
    let largest: Vec<&str> =
        made.iter().filter(|(_, shape)| shape.pixels() == most).map(|(name, _)| *name).collect();
    let size = match most == picture.pixels() {
        true => "of the picture's size".to_string(),
        false => format!("of the largest size, {most} pixels"),
    };
    let [only] = largest[..] else {
        let count = format!("of {} outputs {size}", largest.len());
        let depths = depths(graph);
        let value =
            |name: &str| graph.outputs().iter().find(|output| output.name == name).map(|output| output.value);
        let depth = |name: &str| value(name).map_or(0, |value: ValueId| depths[value.index()]);
        let rank = |name: &str| (likeness(name), depth(name));
        let best = *largest.iter().rev().max_by_key(|name| rank(name)).ok_or_else(none)?;
        let others = || largest.iter().filter(|name| **name != best);
        let reason = match rank(best) {
            (likeness, _) if others().all(|name| self::likeness(name) < likeness) => {
                format!("its name fits best {count}")
            }
            (_, own) if others().all(|name| depth(name) < own) => format!("it is computed last {count}"),
            _ => format!("it is the first {count}"),
        };
        return Ok((best, reason));
    };
    Ok((only, format!("it is the only output {size}")))
}

/// How much a name is like that of a result.
fn likeness(name: &str) -> i8 {
    let name = name.to_lowercase();
    match MAIN.contains(&name.as_str()) {
        true => 1,
        false => -i8::from(SIDE.iter().any(|part| name.contains(part))),
    }
}

/// For each value, the operators on the longest way to it.
fn depths(graph: &Graph) -> Vec<usize> {
    let values = graph.nodes().iter().flat_map(|node| &node.outputs).map(|id| id.index()).max().unwrap_or(0);
    let inputs = graph.inputs().iter().map(|input| input.value.index()).max().unwrap_or(0);
    let mut depths = vec![0; values.max(inputs) + 1];
    for node in graph.nodes() {
        let before = node.inputs.iter().map(|id| depths[id.index()]).max().unwrap_or(0);
        node.outputs.iter().for_each(|id| depths[id.index()] = before + 1);
    }
    depths
}
