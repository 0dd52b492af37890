//! A kernel: one WGSL file and the constants that specialise it, assembled as text.
//!
//! The text begins with the decisions of the plan: the type of a stored vec4, `elem4`, the constants, and `activate`.
//! Then come the declarations of `shaders/shared/` that the file uses, then the file itself. Branches on constants
//! vanish, and arrays take their sizes from them.

mod interface;
mod translate;

pub(crate) use interface::{BindingLine, Interface};

use crate::error::{Error, Result};
use crate::graph::{Activation, Operator};
use crate::lock::lock;
use crate::plan::Precision;
use interface::Module;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::{LazyLock, Mutex};
use translate::{Names, evaluate, holds, translate, words};

/// A kernel's WGSL file in `shaders/`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShaderFile {
    /// Its name without the ending.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}

/// The file with that name in `shaders/`.
macro_rules! shader {
    ($name:literal) => {
        $crate::plan::ShaderFile {
            name: $name,
            text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/", $name, ".wgsl")),
        }
    };
}
pub(crate) use shader;

/// Files of `shaders/shared/`, which kernels import.
static SHARED: LazyLock<HashMap<&str, Module>> = LazyLock::new(|| {
    macro_rules! shared {
        ($($name:literal),* $(,)?) => {
            [$(($name, include_str!(concat!("../../../shaders/shared/", $name, ".wgsl")))),*]
        };
    }
    let files = shared!["activations", "blocks", "epilogue", "index", "product", "sources", "statistics"];
    files.into_iter().map(|(name, text)| (name, Module::parse(text))).collect()
});

impl ShaderFile {
    /// The file's declarations and interface, read once for each process.
    fn parsed(self) -> &'static (Module, Interface) {
        static PARSED: Mutex<BTreeMap<ShaderFile, &'static (Module, Interface)>> =
            Mutex::new(BTreeMap::new());
        lock(&PARSED).entry(self).or_insert_with(|| {
            let module = Module::parse(self.text);
            let mut modules = vec![&module];
            let mut at = 0;
            while at < modules.len() {
                for (file, _) in &modules[at].imports {
                    let shared = &SHARED[file.as_str()];
                    if !modules.iter().any(|known| std::ptr::eq(*known, shared)) {
                        modules.push(shared);
                    }
                }
                at += 1;
            }
            let interface = Interface::of(&modules);
            Box::leak(Box::new((module, interface)))
        })
    }

    /// The requirements of the kernel.
    pub(crate) fn interface(self) -> &'static Interface {
        &self.parsed().1
    }

    /// The error for a name: what the file has, and what came.
    fn refusal(self, kind: &str, known: &[String], got: &str) -> Error {
        Error::shape(format!("{kind} of kernel {}", self.name), known.join(", "), got)
    }
}

impl std::fmt::Debug for ShaderFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// A specialised kernel. Equal kernels share one pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Kernel {
    /// The WGSL file.
    pub file: ShaderFile,
    /// Type of the stored elements.
    pub precision: Precision,
    /// In the order of the file's interface, as are the flags.
    constants: Vec<(&'static str, u32)>,
    flags: Vec<&'static str>,
    /// WGSL of `activate` as an expression of `x`.
    activation: String,
    /// Buffers and functions written for this kernel; empty for most.
    written: String,
}

impl Kernel {
    /// A kernel with these constants and flags.
    ///
    /// # Errors
    /// [`Error::Shape`] if a constant is missing, or a name is unknown.
    pub(crate) fn new(
        file: ShaderFile,
        precision: Precision,
        constants: &[(&'static str, u32)],
        flags: &[&'static str],
    ) -> Result<Kernel> {
        let interface = file.interface();
        let constants = in_order(file, "constants", &interface.constants, constants)?;
        if let Some(flag) = flags.iter().find(|flag| !interface.flags.iter().any(|known| known == *flag)) {
            return Err(file.refusal("flags", &interface.flags, flag));
        }
        let mut flags = flags.to_vec();
        flags.sort_unstable();
        Ok(Kernel { file, precision, constants, flags, activation: "x".into(), written: String::new() })
    }

    /// The same with another `activate`.
    pub(crate) fn activated(self, activation: Activation) -> Kernel {
        Kernel { activation: call(activation, "x"), ..self }
    }

    /// The same with buffers and functions of its own.
    pub(crate) fn with_written(self, written: String) -> Kernel {
        Kernel { written, ..self }
    }

    /// The value of a constant, 0 when there is none of that name.
    pub fn constant(&self, name: &str) -> u32 {
        self.constants.iter().find(|(n, _)| *n == name).map_or(0, |c| c.1)
    }

    /// The words of `Params`, in its order.
    ///
    /// # Errors
    /// [`Error::Shape`] if one is missing, unknown or wider than 32 bits.
    pub(crate) fn params(&self, sizes: &[(&'static str, u64)]) -> Result<Vec<(&'static str, u32)>> {
        let word = |(name, size): (&'static str, u64)| {
            u32::try_from(size)
                .map(|word| (name, word))
                .map_err(|_| Error::shape(name, "fewer than 2^32", size))
        };
        in_order(self.file, "sizes", &self.file.interface().params, sizes)?.into_iter().map(word).collect()
    }

    /// The buffers that the kernel binds, with their operands.
    ///
    /// # Errors
    /// [`Error::Shape`] if one is missing or unknown.
    pub(crate) fn bind<T: Copy>(&self, buffers: &[(&'static str, T)]) -> Result<Vec<(BindingLine, T)>> {
        let lines = self.bindings();
        let names: Vec<String> = lines.iter().map(|line| line.name.clone()).collect();
        let buffers = in_order(self.file, "buffers", &names, buffers)?;
        Ok(lines.into_iter().zip(buffers.into_iter().map(|buffer| buffer.1)).collect())
    }

    fn bindings(&self) -> Vec<BindingLine> {
        let own = self.file.interface().bindings.iter();
        let kept = own.filter(|line| line.when.is_empty() || holds(&line.when, &self.flags)).cloned();
        let written = Module::parse(&self.written).declarations;
        kept.chain(written.iter().filter_map(|(name, text)| interface::binding(name, text))).collect()
    }

    /// Bytes of workgroup memory.
    pub(crate) fn workgroup_bytes(&self) -> u64 {
        self.evaluate(&self.file.interface().workgroup_bytes, &[])
    }

    /// The most iterations of one lane, for these sizes.
    pub(crate) fn loops(&self, sizes: &[(&'static str, u32)]) -> u64 {
        self.evaluate(&self.file.interface().loops, sizes)
    }

    /// The value of an expression in the head of the file. Overflow counts as too large for any limit.
    fn evaluate(&self, expression: &str, sizes: &[(&'static str, u32)]) -> u64 {
        let mut names = self.values();
        let flags = self.file.interface().flags.iter();
        names.extend(flags.map(|flag| (flag.clone(), u64::from(self.flags.contains(&flag.as_str())))));
        names.extend(sizes.iter().map(|&(name, value)| (name.into(), u64::from(value))));
        names.insert("ELEM4".into(), 4 * self.precision.bytes() as u64);
        evaluate(expression, &names).unwrap_or(u64::MAX)
    }

    /// The constants, and those that the file computes from them.
    fn values(&self) -> HashMap<String, u64> {
        let given = self.constants.iter().map(|&(name, value)| (name.into(), u64::from(value)));
        let mut values: HashMap<String, u64> = given.collect();
        for (name, expression) in &self.file.interface().computed {
            if let Some(value) = evaluate(expression, &values) {
                values.insert(name.clone(), value);
            }
        }
        values
    }

    /// The complete WGSL text.
    pub fn wgsl(&self) -> String {
        let (module, _) = self.file.parsed();
        let mut head = String::new();
        let stored = match self.precision {
            Precision::F32 => "f32",
            Precision::F16 => "f16",
        };
        if self.precision == Precision::F16 {
            head.push_str("enable f16;\n");
        }
        for line in &module.enables {
            let _ = writeln!(head, "{line}");
        }
        let _ = writeln!(head, "alias elem4 = vec4<{stored}>;");
        for (name, value) in &self.constants {
            let _ = writeln!(head, "const {name} = {value}u;");
        }
        let mut names = Names { flags: self.flags.clone(), constants: self.values() };
        let mut body = String::new();
        for (_, text) in &module.declarations {
            translate(text, &mut names, &mut body);
            body.push('\n');
        }
        let mut used = Used { names: &mut names, seen: HashSet::new(), text: String::new() };
        used.find(&body, &module.imports, None);
        // Code that is written for a kernel calls the activations without an import.
        let activations = Some(&SHARED["activations"]);
        used.find(&self.written, &[], activations);
        if words(&body).chain(words(&used.text)).any(|word| word == "activate") {
            used.find(&self.activation, &[], activations);
            let activation = &self.activation;
            let _ = writeln!(head, "fn activate(x: vec4<f32>) -> vec4<f32> {{ return {activation}; }}");
        }
        head + &used.text + &self.written + &body
    }
}

/// Collects the shared declarations that texts use. The others would be parsed, validated and translated too.
struct Used<'a, 'n> {
    names: &'a mut Names<'n>,
    seen: HashSet<&'static str>,
    text: String,
}

impl Used<'_, '_> {
    /// Adds what a text uses of its imports and of its own shared file, and recursively what that uses.
    fn find(&mut self, text: &str, imports: &[(String, String)], own: Option<&'static Module>) {
        for word in words(text) {
            let import = imports.iter().find(|import| import.1 == word);
            let Some(home) = import.map(|import| &SHARED[import.0.as_str()]).or(own) else { continue };
            let Some((name, text)) = home.declarations.iter().find(|declaration| declaration.0 == word)
            else {
                continue;
            };
            if self.seen.insert(name) {
                let mut translated = String::new();
                translate(text, self.names, &mut translated);
                self.find(&translated, &home.imports, Some(home));
                self.text.push_str(&translated);
                self.text.push('\n');
            }
        }
    }
}

/// WGSL that applies an activation to an expression.
pub(crate) fn call(activation: Activation, x: &str) -> String {
    let numbers: String = activation.numbers().iter().map(|n| format!(", {n:?}f")).collect();
    match activation {
        Activation::None => x.into(),
        _ => format!("f_{}({x}{numbers})", activation.name()),
    }
}

/// Named values in the order of a file's interface. Errors when one is missing or unknown.
fn in_order<T: Copy>(
    file: ShaderFile,
    kind: &str,
    known: &[String],
    given: &[(&'static str, T)],
) -> Result<Vec<(&'static str, T)>> {
    if let Some((name, _)) = given.iter().find(|(name, _)| !known.iter().any(|k| k == name)) {
        return Err(file.refusal(kind, known, name));
    }
    let find = |name: &String| {
        given
            .iter()
            .rev()
            .find(|(n, _)| n == name)
            .copied()
            .ok_or_else(|| file.refusal(kind, known, &format!("no {name}")))
    };
    known.iter().map(find).collect()
}
