//! What becomes of each node of an ONNX file: computed, folded, fused, or not supported.

use super::text;
use crate::error::Result;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use unet_wgpu::graph::Graph;
use unet_wgpu::{Fate, Model, NodeReport};

/// The nodes of a file. Each has its fate in a word, and details.
pub(super) struct Nodes(Vec<(NodeReport, &'static str, String)>);

impl Nodes {
    /// Reads the nodes of an ONNX file, which may contain unsupported ones. `None` for a file of another format.
    pub(super) fn read(path: &Path) -> Result<Option<Nodes>> {
        Ok(Model::onnx_nodes(path)?.map(|nodes| Nodes::of(nodes, None)))
    }

    /// The nodes of a network that runs, before and after optimisation.
    pub(super) fn of(reports: Vec<NodeReport>, optimized: Option<&Graph>) -> Nodes {
        let left: Option<HashSet<&str>> =
            optimized.map(|graph| graph.nodes().iter().map(|node| node.name.as_str()).collect());
        let describe = |report: NodeReport| {
            let (word, more) = match &report.fate {
                Fate::Computed(names) => match &left {
                    Some(left) if !names.iter().any(|name| left.contains(name.as_str())) => {
                        ("fused", String::new())
                    }
                    _ => ("supported", String::new()),
                },
                Fate::Folded => ("folded", String::new()),
                Fate::Moved => ("moved", String::new()),
                Fate::Unsupported(why) => ("unsupported", why.clone()),
                Fate::Waiting => ("waiting", "for an unsupported node".into()),
            };
            (report, word, more)
        };
        Nodes(reports.into_iter().map(describe).collect())
    }

    /// The number of nodes with each fate.
    pub(super) fn summary(&self) -> String {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        self.0.iter().for_each(|(_, word, _)| *counts.entry(word).or_default() += 1);
        let counts: Vec<String> = counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
        format!("{} nodes in the file: {}", self.0.len(), counts.join(", "))
    }

    /// One line for each node.
    pub(super) fn table(&self) -> String {
        let mut rows = vec![text::row([&"node", &"operator", &"fate", &""])];
        rows.extend(self.0.iter().map(|(node, word, more)| text::row([&node.name, &node.op, word, more])));
        text::table(&rows, 4)
    }

    pub(super) fn json(&self) -> serde_json::Value {
        let node = |(node, word, more): &(NodeReport, &str, String)| serde_json::json!({ "name": node.name, "op": node.op, "fate": word, "why": more });
        self.0.iter().map(node).collect()
    }
}
