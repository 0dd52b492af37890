//! Inlines the functions that a file defines, so that everything behind this sees operators only.
//!
//! All names in a function are its own. Each call gives them a new prefix, except for those of the function's inputs
//! and outputs, which become the names in the call.

use super::proto;
use crate::error::{Error, Result};
use std::collections::HashMap;
use std::mem::size_of;

/// Deepest nesting of calls and graphs.
const DEPTH: usize = 32;

/// Bytes that inlined nodes may take, in addition to twice the size of the file.
const MOST: usize = 32 << 20;

/// Domain, name and overload.
type Key<'a> = (&'a str, &'a str, &'a str);

/// Replaces each call in a graph by the nodes of its function. `size` is that of the file in bytes.
pub(super) fn inline(graph: &mut proto::Graph, functions: &[proto::Function], size: usize) -> Result<()> {
    if functions.is_empty() {
        return Ok(());
    }
    let mut inliner = Inliner {
        functions: functions.iter().map(|f| ((domain(&f.domain), &*f.name, &*f.overload), f)).collect(),
        calls: 0,
        stack: Vec::new(),
        left: size.saturating_mul(2).saturating_add(MOST),
    };
    inliner.graph(graph)
}

/// ONNX's own domain has two names.
fn domain(name: &str) -> &str {
    if name == "ai.onnx" { "" } else { name }
}

struct Inliner<'a> {
    functions: HashMap<Key<'a>, &'a proto::Function>,
    calls: usize,
    /// The functions that are being inlined, and empty names for graphs in nodes.
    stack: Vec<&'a str>,
    /// Bytes that inlined nodes may still take.
    left: usize,
}

/// One call: what the names and attributes in the function stand for.
struct Call<'c> {
    node: &'c proto::Node,
    function: &'c proto::Function,
    prefix: String,
    names: HashMap<&'c str, &'c str>,
    opset: i64,
}

impl<'a> Inliner<'a> {
    fn graph(&mut self, graph: &mut proto::Graph) -> Result<()> {
        let nodes = std::mem::take(&mut graph.node);
        graph.node.reserve(nodes.len());
        nodes.into_iter().try_for_each(|node| self.node(node, &mut graph.node))
    }

    fn node(&mut self, mut node: proto::Node, to: &mut Vec<proto::Node>) -> Result<()> {
        for graph in node.attribute.iter_mut().filter_map(|a| a.g.as_deref_mut()) {
            self.within("", |inliner| inliner.graph(graph))?;
        }
        let called = (domain(&node.domain), node.op_type.as_str(), node.overload.as_str());
        let Some(&function) = self.functions.get(&called) else {
            to.push(node);
            return Ok(());
        };
        if self.stack.contains(&function.name.as_str()) {
            return Err(Error::Model(format!("the function {} calls itself", function.name)));
        }
        let nodes = self.instance(&node, function).map_err(|e| e.at(&node.op_type))?;
        self.within(&function.name, |inliner| nodes.into_iter().try_for_each(|node| inliner.node(node, to)))
    }

    fn within(&mut self, name: &'a str, f: impl FnOnce(&mut Inliner<'a>) -> Result<()>) -> Result<()> {
        if self.stack.len() == DEPTH {
            return Err(Error::Model(format!("its functions and graphs are nested more than {DEPTH} deep")));
        }
        self.stack.push(name);
        f(self)?;
        self.stack.pop();
        Ok(())
    }

    /// The nodes that stand for a call.
    fn instance(&mut self, node: &proto::Node, function: &'a proto::Function) -> Result<Vec<proto::Node>> {
        let counts = [(&node.input, &function.input, "inputs"), (&node.output, &function.output, "outputs")];
        for (given, own, what) in counts {
            if given.len() > own.len() {
                return Err(Error::shape(what, format!("at most {}", own.len()), given.len()));
            }
        }
        // An input that the call leaves out is absent. An output that it leaves out keeps a name of its own.
        let given = node.input.iter().map(String::as_str).chain(std::iter::repeat(""));
        let mut names: HashMap<&str, &str> = function.input.iter().map(String::as_str).zip(given).collect();
        let mut passed = Vec::new();
        for (own, wanted) in function.output.iter().zip(&node.output).filter(|(_, wanted)| !wanted.is_empty())
        {
            match names.get(own.as_str()) {
                // The function passes an input on, or gives one result twice.
                Some(&known) => passed.push(identity(known, wanted)),
                None => drop(names.insert(own, wanted)),
            }
        }
        self.calls += 1;
        let version = function.opset_import.iter().find(|set| domain(&set.domain).is_empty());
        let call = Call {
            node,
            function,
            prefix: format!("{}#{}:", function.name, self.calls),
            names,
            opset: version.map_or(0, |set| set.version),
        };
        let mut nodes = Vec::with_capacity(function.node.len() + passed.len());
        for own in &function.node {
            // Counted first: the prefix can be longer than the node.
            let cost = weight(own).saturating_add(names_in(own).saturating_mul(call.prefix.len()));
            let room = self.left.checked_sub(cost.saturating_add(node.name.len()));
            self.left = room.ok_or_else(|| {
                Error::Model("calls of its functions make far more nodes than the file holds".into())
            })?;
            nodes.push(call.node(own));
        }
        nodes.extend(passed);
        Ok(nodes)
    }
}

impl Call<'_> {
    fn name(&self, own: &str) -> String {
        match self.names.get(own) {
            _ if own.is_empty() => String::new(),
            Some(&given) => given.into(),
            None => format!("{}{own}", self.prefix),
        }
    }

    fn node(&self, own: &proto::Node) -> proto::Node {
        let names = |list: &[String]| list.iter().map(|name| self.name(name)).collect();
        proto::Node {
            input: names(&own.input),
            output: names(&own.output),
            name: match own.name.as_str() {
                "" => String::new(),
                name => format!("{}/{name}", self.node.name),
            },
            op_type: own.op_type.clone(),
            attribute: own.attribute.iter().filter_map(|a| self.attribute(a)).collect(),
            domain: own.domain.clone(),
            overload: own.overload.clone(),
            opset: self.opset,
        }
    }

    /// An attribute with its value from the call or from the function's default; `None` if both lack it.
    fn attribute(&self, own: &proto::Attribute) -> Option<proto::Attribute> {
        let mut attribute = match own.ref_attr_name.as_str() {
            "" => own.clone(),
            wanted => {
                let mut known = self.node.attribute.iter().chain(&self.function.attribute_proto);
                let known = known.find(|a| a.name == wanted)?;
                return Some(proto::Attribute { name: own.name.clone(), ..known.clone() });
            }
        };
        if let Some(graph) = attribute.g.as_deref_mut() {
            graph.node = graph.node.iter().map(|node| self.node(node)).collect();
            graph.initializer.iter_mut().for_each(|tensor| tensor.name = self.name(&tensor.name));
            graph
                .input
                .iter_mut()
                .chain(&mut graph.output)
                .for_each(|port| port.name = self.name(&port.name));
        }
        Some(attribute)
    }
}

fn identity(from: &str, to: &str) -> proto::Node {
    proto::Node {
        input: vec![from.into()],
        output: vec![to.into()],
        op_type: "Identity".into(),
        ..proto::Node::default()
    }
}

/// Names of values in a node and its graphs.
fn names_in(node: &proto::Node) -> usize {
    let graphs = node.attribute.iter().filter_map(|a| a.g.as_deref());
    let inner = graphs.map(|g| {
        g.input.len() + g.output.len() + g.initializer.len() + g.node.iter().map(names_in).sum::<usize>()
    });
    node.input.len() + node.output.len() + inner.sum::<usize>()
}

/// Bytes that a copy of a node takes.
fn weight(node: &proto::Node) -> usize {
    let texts = node.input.iter().chain(&node.output).map(|name| size_of::<String>() + name.len());
    size_of::<proto::Node>()
        + texts.sum::<usize>()
        + node.name.len()
        + node.op_type.len()
        + node.domain.len()
        + node.attribute.iter().map(attribute_weight).sum::<usize>()
}

fn attribute_weight(a: &proto::Attribute) -> usize {
    let graph = |g: &proto::Graph| {
        let ports = g.input.len() + g.output.len();
        ports * 4 * size_of::<proto::ValueInfo>()
            + g.node.iter().map(weight).sum::<usize>()
            + g.initializer.iter().map(tensor_weight).sum::<usize>()
    };
    size_of::<proto::Attribute>()
        + a.name.len()
        + a.s.len()
        + 4 * a.floats.len()
        + 8 * a.ints.len()
        + a.t.as_ref().map_or(0, tensor_weight)
        + a.g.as_deref().map_or(0, graph)
}

/// Raw data is shared between copies.
fn tensor_weight(t: &proto::Tensor) -> usize {
    size_of::<proto::Tensor>()
        + 4 * (t.float_data.len() + t.int32_data.len())
        + 8 * (t.dims.len() + t.int64_data.len() + t.double_data.len())
}
