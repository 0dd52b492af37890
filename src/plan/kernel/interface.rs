//! The interface of a kernel, read once from its file. Plans use the names of sizes, buffers and constants in the file.
//!
//! - `struct Params` lists the sizes, each a 32-bit word of a uniform.
//! - Lines with `@binding` list the buffers, those of imported files included, under the flags that keep them.
//! - `import constants::{…};` lists the constants that specialise the kernel.
//! - The comment at the top has the lines `// Loops: EXPRESSION`, the most iterations that one lane may run, and
//!   `// Workgroup bytes: EXPRESSION` where the kernel has workgroup memory. Their names are sizes, constants, flags
//!   (1 or 0) and `ELEM4`, the bytes of a stored vec4.

use super::translate::{node_end, words};
use std::collections::HashMap;

/// A file of `shaders/`, cut into its declarations.
#[derive(Debug, Default)]
pub(super) struct Module {
    /// Lines such as `enable wgpu_cooperative_matrix;`.
    pub(super) enables: Vec<String>,
    /// Names from files of `shaders/shared/`: file and name.
    pub(super) imports: Vec<(String, String)>,
    /// Names that the plan gives a value.
    pub(super) constants: Vec<String>,
    /// Names and texts, in the file's order.
    pub(super) declarations: Vec<(String, String)>,
    /// Expressions in the comment at the top, by title.
    expressions: HashMap<String, String>,
}

impl Module {
    pub(super) fn parse(text: &str) -> Module {
        let mut module = Module::default();
        for line in text.lines().map_while(|line| line.strip_prefix("//")) {
            if let Some((title, expression)) = line.split_once(':') {
                module.expressions.insert(title.trim().into(), expression.trim().into());
            }
        }
        let code: Vec<&str> =
            text.lines().map(|line| line.split("//").next().unwrap_or("").trim_end()).collect();
        let code = code.join("\n");
        let mut rest = code.trim_start();
        while !rest.is_empty() {
            // The braces of an import do not end it.
            let mut end = match rest.starts_with("import ") {
                true => rest.find(';').map_or(rest.len(), |end| end + 1),
                false => node_end(rest),
            };
            while rest[end..].trim_start().starts_with("@else") {
                end += node_end(&rest[end..]);
            }
            let (node, behind) = rest.split_at(end);
            rest = behind.trim_start();
            if node.starts_with("enable ") {
                module.enables.push(node.into());
            } else if let Some(path) = node.strip_prefix("import ") {
                module.import(path.trim_end_matches(';'));
            } else {
                module.declarations.push((declared(node).into(), node.into()));
            }
        }
        module
    }

    /// `package::shared::FILE::{A, B}` or `constants::{A, B}`.
    fn import(&mut self, path: &str) {
        let (path, names) = path.rsplit_once("::").unwrap_or(("", path));
        let names = words(names).map(String::from);
        match path.strip_prefix("package::shared::") {
            Some(file) => self.imports.extend(names.map(|name| (file.to_string(), name))),
            None => self.constants.extend(names),
        }
    }

    /// The text of a declaration.
    pub(super) fn declaration(&self, name: &str) -> Option<&str> {
        self.declarations.iter().find(|d| d.0 == name).map(|d| d.1.as_str())
    }
}

/// The name in a declaration: the word after its keyword.
fn declared(node: &str) -> &str {
    let mut words = words(node).skip_while(|word| !["fn", "var", "const", "struct", "alias"].contains(word));
    let keyword = words.next();
    let mut names = words.skip_while(|word| keyword == Some("var") && VAR.contains(word));
    names.next().unwrap_or("")
}

/// Words that may occur between `var` and its name.
const VAR: [&str; 6] = ["uniform", "storage", "workgroup", "private", "read", "read_write"];

/// A buffer that a kernel binds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BindingLine {
    pub(crate) name: String,
    /// `@binding` number.
    pub(crate) slot: u32,
    pub(crate) written: bool,
    /// The condition that keeps the line; empty if it is always kept.
    pub(crate) when: String,
}

/// The requirements of a kernel.
#[derive(Debug, Default)]
pub(crate) struct Interface {
    pub(crate) params: Vec<String>,
    pub(crate) constants: Vec<String>,
    pub(crate) flags: Vec<String>,
    pub(crate) bindings: Vec<BindingLine>,
    /// Constants that the file computes from others, in order.
    pub(crate) computed: Vec<(String, String)>,
    pub(crate) loops: String,
    pub(crate) workgroup_bytes: String,
}

impl Interface {
    /// The interface of a file and the files that it imports; the file comes first.
    pub(super) fn of(modules: &[&Module]) -> Interface {
        let file = modules[0];
        let mut interface = Interface {
            params: modules.iter().find_map(|m| m.declaration("Params")).map(members).unwrap_or_default(),
            loops: file.expressions.get("Loops").cloned().unwrap_or_default(),
            workgroup_bytes: file.expressions.get("Workgroup bytes").cloned().unwrap_or_else(|| "0".into()),
            ..Interface::default()
        };
        for module in modules {
            push_new(&mut interface.constants, module.constants.iter().map(String::as_str));
            for (name, text) in &module.declarations {
                let conditions = text.match_indices("@if(").map(|(at, _)| &text[at + 4..]);
                let conditions = conditions.filter_map(|rest| rest.split(')').next());
                push_new(&mut interface.flags, conditions.flat_map(words));
                interface.bindings.extend(binding(name, text));
            }
        }
        // A file's constants may depend on those of the files that it imports.
        for (name, text) in modules.iter().rev().flat_map(|module| &module.declarations) {
            if let Some((_, value)) = text.strip_prefix("const ").and_then(|text| text.split_once(" = ")) {
                interface.computed.push((name.clone(), value.trim_end_matches(';').into()));
            }
        }
        interface.bindings.sort_by_key(|binding| binding.slot);
        interface
    }
}

fn push_new<'a>(list: &mut Vec<String>, names: impl Iterator<Item = &'a str>) {
    for name in names {
        if !list.iter().any(|known| known == name) {
            list.push(name.into());
        }
    }
}

/// Names of a struct's members.
fn members(text: &str) -> Vec<String> {
    let inside = text.split_once('{').map_or("", |(_, inside)| inside);
    inside.split(',').filter_map(|member| words(member).next().map(String::from)).collect()
}

/// The buffer that a declaration binds, unless that is the uniform of the params.
pub(super) fn binding(name: &str, text: &str) -> Option<BindingLine> {
    let (_, rest) = text.split_once("@binding(")?;
    let (slot, rest) = rest.split_once(')')?;
    let when = text.strip_prefix("@if(").and_then(|rest| rest.split(')').next()).unwrap_or("");
    let slot = slot.trim().parse().ok()?;
    let line =
        BindingLine { name: name.into(), slot, written: rest.contains("read_write"), when: when.into() };
    rest.contains("var<storage").then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "// Adds.
//
// Loops: count / N + 1
import package::shared::index::{Lane, item};
import constants::{LANES, N};

enable f16;

struct Params {
    count: u32, // a comment
    total: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src: array<elem4>;
@if(TWO && !ONE) @group(0) @binding(2) var<storage, read_write> dst: array<elem4>;
const HALF = N / 2u;
@if(TWO) fn f(x: u32) -> u32 { return x; }
@else fn f(x: u32) -> u32 { return 0u; }
@compute @workgroup_size(LANES)
fn main(lane: Lane) { @if(ADD) { dst[0] = src[0]; } }
";

    #[test]
    fn a_file_tells_its_interface() {
        let module = Module::parse(FILE);
        let names: Vec<&str> = module.declarations.iter().map(|d| d.0.as_str()).collect();
        assert_eq!(names, ["Params", "p", "src", "dst", "HALF", "f", "main"]);
        assert_eq!(module.enables, ["enable f16;"]);
        assert_eq!(module.imports[1], ("index".into(), "item".into()));
        let interface = Interface::of(&[&module]);
        assert_eq!(interface.params, ["count", "total"]);
        assert_eq!(interface.constants, ["LANES", "N"]);
        assert_eq!(interface.flags, ["TWO", "ONE", "ADD"]);
        assert_eq!(interface.computed, [("HALF".to_string(), "N / 2u".to_string())]);
        assert_eq!((&*interface.loops, &*interface.workgroup_bytes), ("count / N + 1", "0"));
        let line = |name: &str, slot, written, when: &str| BindingLine {
            name: name.into(),
            slot,
            written,
            when: when.into(),
        };
        let lines = [line("src", 1, false, ""), line("dst", 2, true, "TWO && !ONE")];
        assert_eq!(interface.bindings, lines);
    }
}
