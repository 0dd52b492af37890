//! Puts the nodes of a file in an order in which each comes behind those that make what it reads. ONNX demands that
//! order, but several converters do not keep it. Nodes that are in order stay where they are.

use super::proto;
use crate::error::{Error, Result};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

/// Most nodes of a cycle that an error names.
const NAMED: usize = 4;

/// Sorts the nodes of a graph and of the graphs in it.
pub(super) fn sort(graph: &mut proto::Graph) -> Result<()> {
    let attributes = graph.node.iter_mut().flat_map(|node| &mut node.attribute);
    attributes.filter_map(|a| a.g.as_deref_mut()).try_for_each(sort)?;
    let Some(order) = order(&graph.node)? else { return Ok(()) };
    let mut nodes: Vec<Option<proto::Node>> = std::mem::take(&mut graph.node).into_iter().map(Some).collect();
    graph.node = order.into_iter().filter_map(|i| nodes[i].take()).collect();
    Ok(())
}

/// The order of the nodes; `None` if they are in order.
fn order(nodes: &[proto::Node]) -> Result<Option<Vec<usize>>> {
    let mut makers = HashMap::new();
    for (i, node) in nodes.iter().enumerate() {
        makers.extend(node.output.iter().filter(|name| !name.is_empty()).map(|name| (name.as_str(), i)));
    }
    let sources = |node: &proto::Node| -> Vec<usize> {
        reads(node).into_iter().filter_map(|name| makers.get(name).copied()).collect()
    };
    let sources: Vec<Vec<usize>> = nodes.iter().map(sources).collect();
    if sources.iter().enumerate().all(|(i, from)| from.iter().all(|&source| source < i)) {
        return Ok(None);
    }
    let mut waiting: Vec<usize> = sources.iter().map(Vec::len).collect();
    let mut readers = vec![Vec::new(); nodes.len()];
    for (i, from) in sources.iter().enumerate() {
        from.iter().for_each(|&source| readers[source].push(i));
    }
    // Of all nodes that can be next, the first in the file.
    let mut ready: BinaryHeap<Reverse<usize>> =
        (0..nodes.len()).filter(|&i| waiting[i] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(Reverse(next)) = ready.pop() {
        order.push(next);
        for &reader in &readers[next] {
            waiting[reader] -= 1;
            if waiting[reader] == 0 {
                ready.push(Reverse(reader));
            }
        }
    }
    match (0..nodes.len()).find(|&i| waiting[i] > 0) {
        None => Ok(Some(order)),
        Some(stuck) => Err(cycle(nodes, &sources, &waiting, stuck)),
    }
}

/// Names the cycle that is found from a node that waits.
fn cycle(nodes: &[proto::Node], sources: &[Vec<usize>], waiting: &[usize], mut at: usize) -> Error {
    let mut path = Vec::new();
    let mut seen = HashSet::new();
    while seen.insert(at) {
        path.push(at);
        let next = sources[at].iter().find(|&&source| waiting[source] > 0);
        at = *next.expect("a node that waits reads from a node that waits");
    }
    let start = path.iter().position(|&i| i == at).unwrap_or(0);
    let name = |&i: &usize| match nodes[i].name.as_str() {
        "" => nodes[i].output.first().cloned().unwrap_or_default(),
        name => name.to_string(),
    };
    let names: Vec<String> = path[start..].iter().rev().take(NAMED).map(name).collect();
    let more = if path.len() - start > NAMED { ", ..." } else { "" };
    Error::Model(format!("its nodes read each other's results in a circle: {}{more}", names.join(", ")))
}

/// The names that a node reads, also within its graphs.
fn reads(node: &proto::Node) -> Vec<&str> {
    let mut names: Vec<&str> = node.input.iter().map(String::as_str).collect();
    names.extend(node.attribute.iter().filter_map(|a| a.g.as_deref()).flat_map(captured));
    names
}

/// The names that a graph reads from around it.
fn captured(graph: &proto::Graph) -> Vec<&str> {
    let made = graph.node.iter().flat_map(|node| &node.output);
    let given = graph.input.iter().map(|input| &input.name);
    let own: HashSet<&str> = made.chain(given).map(String::as_str).collect();
    let results = graph.output.iter().map(|output| output.name.as_str());
    graph.node.iter().flat_map(reads).chain(results).filter(|name| !own.contains(name)).collect()
}
