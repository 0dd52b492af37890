//! A kernel: one WGSL file and the constants that specialise it, put together as text.
//!
//! The header of `const` and `alias` lines is prepended, so that branches on constants vanish and arrays take their
//! sizes from them. Two line comments are acted on, both leaving the file valid WGSL as it stands:
//! `//#if NAME` … `//#else` … `//#end` keeps lines by a flag, and `// unroll` behind a `for` from 0 to a constant
//! repeats its body with the counter as a constant, because no WGSL compiler unrolls reliably.

use crate::graph::{Activation, Operator};
use crate::plan::Precision;
use std::collections::HashMap;
use std::fmt::Write as _;

/// A WGSL file of `shaders/`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShaderFile {
    /// Its name without the ending.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}

impl std::fmt::Debug for ShaderFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

macro_rules! shader_files {
    ($($constant:ident = $name:literal),* $(,)?) => {
        $(pub(crate) const $constant: ShaderFile =
            ShaderFile { name: $name, text: include_str!(concat!("../../shaders/", $name, ".wgsl")) };)*
        /// Every kernel file.
        pub const SHADER_FILES: &[ShaderFile] = &[$($constant),*];
    };
}

shader_files! {
    ARGMAX = "argmax",
    CONCAT = "concat",
    CONV_COOPERATIVE = "conv_cooperative",
    CONV_DEPTHWISE = "conv_depthwise",
    CONV_DIRECT = "conv_direct",
    CONV_REDUCE = "conv_reduce",
    CONV_TILED = "conv_tiled",
    CONV_TRANSPOSE = "conv_transpose",
    MATMUL = "matmul",
    NORM_APPLY = "norm_apply",
    NORM_CHANNELS = "norm_channels",
    NORM_MERGE = "norm_merge",
    NORM_STATISTICS = "norm_statistics",
    PACK = "pack",
    PACK_BYTES = "pack_bytes",
    PAD = "pad",
    PLACE = "place",
    POINTWISE = "pointwise",
    POOL = "pool",
    REARRANGE = "rearrange",
    REDUCE = "reduce",
    RESIZE = "resize",
    SOFTMAX = "softmax",
    SOFTMAX_PLANE = "softmax_plane",
    STRIDED = "strided",
    UNPACK = "unpack",
    UNPACK_BYTES = "unpack_bytes",
    UNPACK_CLASSES = "unpack_classes",
    WINOGRAD_INPUT = "winograd_input",
    WINOGRAD_OUTPUT = "winograd_output",
}

/// WGSL that applies an activation to an expression.
pub(crate) fn call(activation: Activation, x: &str) -> String {
    let numbers: String = activation.numbers().iter().map(|n| format!(", {n:?}f")).collect();
    match activation {
        Activation::None => x.into(),
        _ => format!("f_{}({x}{numbers})", activation.name()),
    }
}

const COMMON: &str = include_str!("../../shaders/common.wgsl");
const HEAD: &str = include_str!("../../shaders/head.wgsl");

/// A specialised kernel. Equal kernels share one pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Kernel {
    /// The WGSL file.
    pub file: ShaderFile,
    /// Type of the stored elements.
    pub precision: Precision,
    /// Constants of the header, as WGSL `u32`s.
    pub constants: Vec<(&'static str, u32)>,
    /// Flags: `bool` constants, also read by `//#if`.
    pub flags: Vec<(&'static str, bool)>,
    /// WGSL of what the epilogue makes of `x`.
    pub(crate) activation: String,
    /// Bindings and functions that are written for this kernel; none for most.
    pub(crate) written: String,
}

impl Kernel {
    /// The value of a header constant, 0 when there is none of that name.
    pub fn constant(&self, name: &str) -> u32 {
        self.constants.iter().find(|(n, _)| *n == name).map_or(0, |c| c.1)
    }

    /// The complete WGSL text.
    pub fn wgsl(&self) -> String {
        let mut text = String::new();
        if self.precision == Precision::F16 {
            text.push_str("enable f16;\n");
            if self.file == CONV_COOPERATIVE {
                text.push_str("enable wgpu_cooperative_matrix;\n");
                let side = self.constant("SIDE");
                for (name, of) in [("a", "f16, A"), ("b", "f16, B"), ("sums", "f32, C")] {
                    let _ = writeln!(text, "alias {name}_matrix = coop_mat{side}x{side}<{of}>;");
                }
            }
            text.push_str("alias elem4 = vec4<f16>;\n");
        } else {
            text.push_str("alias elem4 = vec4<f32>;\n");
        }
        let activation = &self.activation;
        let _ = writeln!(text, "fn activate(x: vec4<f32>) -> vec4<f32> {{ return {activation}; }}");
        for (name, value) in &self.constants {
            let _ = writeln!(text, "const {name} = {value}u;");
        }
        for (name, value) in &self.flags {
            let _ = writeln!(text, "const {name} = {value};");
        }
        text.push_str(&self.written);
        let mut constants: HashMap<String, u32> =
            self.constants.iter().map(|&(n, v)| (n.to_string(), v)).collect();
        let has_head = self.flags.contains(&("HEAD", true));
        let mut body = if has_head { HEAD.to_string() } else { String::new() };
        unroll(&self.kept_lines(), &mut constants, &mut body);
        for function in called(&functions(COMMON), &[&text, &body]) {
            text.push_str(function);
        }
        text.push_str(&body);
        text
    }

    /// The file's lines without those that a false flag drops.
    fn kept_lines(&self) -> Vec<&'static str> {
        let mut keep = vec![true];
        let mut lines = Vec::new();
        for line in self.file.text.lines() {
            if let Some(name) = line.strip_prefix("//#if ") {
                let on = self.flags.iter().any(|&(n, v)| n == name && v);
                keep.push(on && keep.last() == Some(&true));
            } else if line == "//#else" {
                let outer = keep[keep.len() - 2];
                let last = keep.len() - 1;
                keep[last] = outer && !keep[last];
            } else if line == "//#end" {
                keep.pop();
            } else if keep.last() == Some(&true) {
                lines.push(line);
            }
        }
        lines
    }
}

/// The functions of a WGSL text that has nothing else but comments: names and texts.
fn functions(text: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("\nfn ") {
        rest = &rest[start + 1..];
        let line = rest.find('\n').map_or(rest.len(), |end| end + 1);
        let end = match rest[..line].trim_end().ends_with('}') {
            true => line,
            false => rest.find("\n}\n").map_or(rest.len(), |end| end + 3),
        };
        let name = rest[3..].split('(').next().unwrap_or("");
        found.push((name, &rest[..end]));
        // The line break before the next function is this one's last character.
        rest = &rest[end - 1..];
    }
    found
}

/// Those functions that the texts call, and those that these call in turn: what a kernel does not need would still
/// be parsed, validated and translated.
fn called<'a>(functions: &[(&str, &'a str)], texts: &[&str]) -> Vec<&'a str> {
    let mut kept: Vec<bool> = vec![false; functions.len()];
    let calls: Vec<String> = functions.iter().map(|(name, _)| format!("{name}(")).collect();
    let mut texts = texts.to_vec();
    while let Some(text) = texts.pop() {
        for (i, call) in calls.iter().enumerate() {
            if !kept[i] && text.contains(call.as_str()) {
                kept[i] = true;
                texts.push(functions[i].1);
            }
        }
    }
    functions.iter().zip(kept).filter(|(_, kept)| *kept).map(|(function, _)| function.1).collect()
}

/// Copies lines, repeating the bodies of marked loops. Module constants that later bounds use are noted on the way.
fn unroll(lines: &[&str], constants: &mut HashMap<String, u32>, out: &mut String) {
    let mut i = 0;
    while i < lines.len() {
        let line = lines[i];
        if let Some((name, value)) = constant(line).and_then(|(n, e)| Some((n, evaluate(e, constants)?))) {
            constants.insert(name.to_string(), value);
        }
        let marked = line.trim_end().strip_suffix("// unroll").and_then(header);
        if let Some((counter, bound)) = marked {
            let end = i + 1 + block_end(&lines[i + 1..]);
            let bound =
                evaluate(bound, constants).expect("an unrolled loop runs to a constant (tests build all)");
            for step in 0..bound {
                let _ = writeln!(out, "{{ const {counter} = {step}u;");
                let outer = constants.insert(counter.to_string(), step);
                unroll(&lines[i + 1..end], constants, out);
                match outer {
                    Some(value) => constants.insert(counter.to_string(), value),
                    None => constants.remove(counter),
                };
                out.push_str("}\n");
            }
            i = end + 1;
        } else {
            out.push_str(line);
            out.push('\n');
            i += 1;
        }
    }
}

/// `const NAME = EXPRESSION;`
fn constant(line: &str) -> Option<(&str, &str)> {
    line.trim().strip_prefix("const ")?.strip_suffix(';')?.split_once(" = ")
}

/// `for (var NAME = 0u; NAME < BOUND; NAME++) {` gives the name and the bound.
fn header(line: &str) -> Option<(&str, &str)> {
    let rest = line.trim().strip_prefix("for (var ")?;
    let (counter, rest) = rest.split_once(" = 0u; ")?;
    let bound = rest.strip_prefix(counter)?.strip_prefix(" < ")?.split(';').next()?;
    Some((counter, bound))
}

/// Lines before the brace that closes a block whose opening brace came just before.
fn block_end(lines: &[&str]) -> usize {
    let mut depth = 1usize;
    for (i, line) in lines.iter().enumerate() {
        let code = line.split("//").next().unwrap_or("");
        for brace in code.chars() {
            match brace {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return i;
            }
        }
    }
    lines.len()
}

/// The value of a `u32` expression of `+ - * / %`, parentheses, literals and known names.
fn evaluate(expression: &str, constants: &HashMap<String, u32>) -> Option<u32> {
    let mut rest = expression.trim();
    let value = sum(&mut rest, constants)?;
    rest.trim().is_empty().then_some(value)
}

fn sum(rest: &mut &str, constants: &HashMap<String, u32>) -> Option<u32> {
    let mut value = product(rest, constants)?;
    while let Some(operator) = next_operator(rest, "+-") {
        let right = product(rest, constants)?;
        value = if operator == '+' { value.checked_add(right)? } else { value.checked_sub(right)? };
    }
    Some(value)
}

fn product(rest: &mut &str, constants: &HashMap<String, u32>) -> Option<u32> {
    let mut value = factor(rest, constants)?;
    while let Some(operator) = next_operator(rest, "*/%") {
        let right = factor(rest, constants)?;
        value = match operator {
            '*' => value.checked_mul(right)?,
            '/' => value.checked_div(right)?,
            _ => value.checked_rem(right)?,
        };
    }
    Some(value)
}

fn factor(rest: &mut &str, constants: &HashMap<String, u32>) -> Option<u32> {
    *rest = rest.trim_start();
    if let Some(inner) = rest.strip_prefix('(') {
        *rest = inner;
        let value = sum(rest, constants)?;
        *rest = rest.trim_start().strip_prefix(')')?;
        return Some(value);
    }
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    let (word, tail) = rest.split_at(end);
    *rest = tail;
    word.strip_suffix('u').unwrap_or(word).parse().ok().or_else(|| constants.get(word).copied())
}

fn next_operator(rest: &mut &str, accepted: &str) -> Option<char> {
    let trimmed = rest.trim_start();
    let operator = trimmed.chars().next().filter(|c| accepted.contains(*c))?;
    *rest = &trimmed[1..];
    Some(operator)
}
