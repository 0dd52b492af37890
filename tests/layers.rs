//! The layers of the library, checked in its source: the rows of the table in ARCHITECTURE.md, the places that name
//! wgpu, and cycles of files that name each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// A module's path below the crate; empty for `lib.rs`.
type Module = Vec<String>;

/// Files of unit tests.
const TESTS: [&str; 2] = ["tests", "documented"];

/// The source of the library without comments, string literals and tests.
struct Source {
    files: BTreeMap<Module, String>,
    /// The re-exports of each module: names, or `*`, and their paths.
    exports: BTreeMap<Module, Vec<(String, Module)>>,
}

impl Source {
    fn read(folder: &Path) -> Source {
        let mut files = BTreeMap::new();
        collect(folder, &mut Vec::new(), &mut files);
        let mut source = Source { files, exports: BTreeMap::new() };
        for module in source.files.keys() {
            let exports = source.uses(module).into_iter().filter(|used| used.public);
            let exports = exports.map(|used| (used.name, used.path)).collect();
            source.exports.insert(module.clone(), exports);
        }
        source
    }

    /// The file of a path: that of its longest prefix that is a module, after following re-exports.
    fn resolve(&self, path: &[String], depth: usize) -> Option<Module> {
        let mut at = Module::new();
        for (i, name) in path.iter().enumerate() {
            let mut next = at.clone();
            next.push(name.clone());
            if self.files.contains_key(&next) {
                at = next;
                continue;
            }
            let exports = self.exports.get(&at)?;
            let named = exports.iter().find(|(export, _)| export == name).map(|(_, path)| path.clone());
            let starred = || {
                let stars = exports.iter().filter(|(export, _)| export == "*");
                stars
                    .map(|(_, path)| [&path[..], std::slice::from_ref(name)].concat())
                    .find(|path| self.defines(path))
            };
            return match named.or_else(starred).filter(|_| depth < 8) {
                Some(path_of_export) => {
                    self.resolve(&[&path_of_export[..], &path[i + 1..]].concat(), depth + 1)
                }
                None => Some(at),
            };
        }
        Some(at)
    }

    /// Whether the module of a path has an item with the path's last name, its own or re-exported.
    fn defines(&self, path: &[String]) -> bool {
        let Some((name, module)) = path.split_last() else { return false };
        let kinds = ["fn", "struct", "enum", "trait", "const", "static", "type"];
        let text = self.files.get(module).map_or("", String::as_str);
        kinds.iter().any(|kind| words(text).windows(2).any(|pair| pair == [kind, name.as_str()]))
            || self
                .exports
                .get(module)
                .is_some_and(|exports| exports.iter().any(|(export, _)| export == name))
    }

    /// The names that a file brings into scope with `use`.
    fn uses(&self, module: &Module) -> Vec<Use> {
        let mut uses = Vec::new();
        let text = &self.files[module];
        for (at, _) in text.match_indices("use ") {
            let begin = text[..at].rfind([';', '{', '}']).map_or(0, |i| i + 1);
            let head = text[begin..at].trim();
            let head = head.rsplit(']').next().unwrap_or(head).trim();
            if !(head.is_empty() || head.starts_with("pub")) {
                continue;
            }
            let end = text[at..].find(';').map_or(text.len(), |i| at + i);
            for path in tree(&text[at + 4..end]) {
                let (path, name) =
                    path.split_once(" as ").map_or((path.as_str(), None), |(p, n)| (p, Some(n)));
                if let Some(path) = self.absolute(module, path) {
                    let name = name
                        .map_or_else(|| path.last().cloned().unwrap_or_default(), |n| n.trim().to_string());
                    let path = if name == "*" { path[..path.len() - 1].to_vec() } else { path };
                    uses.push(Use { public: !head.is_empty(), name, path });
                }
            }
        }
        uses
    }

    /// A path from the crate's root; `None` for paths of other crates.
    fn absolute(&self, module: &Module, path: &str) -> Option<Module> {
        let mut parts = path.split("::").map(str::trim).filter(|part| !part.is_empty()).peekable();
        let mut base = module.clone();
        match *parts.peek()? {
            "crate" => {
                base.clear();
                parts.next();
            }
            "self" => drop(parts.next()),
            "super" => {
                while parts.peek() == Some(&"super") {
                    base.pop();
                    parts.next();
                }
            }
            first => {
                let child = [&base[..], &[first.to_string()]].concat();
                if path.starts_with("::") || !self.files.contains_key(&child) {
                    return None;
                }
            }
        }
        base.extend(parts.map(String::from));
        Some(base)
    }

    /// The files that each file names.
    fn graph(&self) -> BTreeMap<Module, BTreeSet<Module>> {
        let named = |module: &Module| {
            let used = self.uses(module).into_iter().map(|used| used.path);
            let inline = paths(&self.files[module]);
            let inline = inline.iter().filter_map(|path| self.absolute(module, path));
            let all: Vec<Module> = used.chain(inline).collect();
            let ends = all.iter().filter_map(|path| self.resolve(path, 0));
            ends.filter(|end| end != module && !end.is_empty()).collect()
        };
        self.files.keys().filter(|m| !m.is_empty()).map(|module| (module.clone(), named(module))).collect()
    }
}

/// A name that `use` brings into scope.
struct Use {
    public: bool,
    name: String,
    path: Module,
}

/// Every source file below a folder, as its module.
fn collect(folder: &Path, module: &mut Module, files: &mut BTreeMap<Module, String>) {
    for entry in fs::read_dir(folder).expect("a folder of the source") {
        let path = entry.expect("an entry").path();
        let stem = path.file_stem().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() {
            module.push(stem);
            collect(&path, module, files);
            module.pop();
        } else if path.extension().is_some_and(|e| e == "rs") && !TESTS.contains(&stem.as_str()) {
            let mut name = module.clone();
            if stem != "mod" && stem != "lib" {
                name.push(stem);
            }
            files.insert(name, code(&fs::read_to_string(&path).expect("a source file")));
        }
    }
}

/// Source without comments, string literals and its test module.
fn code(source: &str) -> String {
    let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or(source);
    let mut out = String::new();
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let raw = rest.strip_prefix("r#\"").map(|text| text.find("\"#").map_or(rest.len(), |end| end + 5));
        let skipped = match c {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '"' => text_end(rest),
            'r' if raw.is_some() => raw.unwrap_or(1),
            '\'' if rest.starts_with("'\"'") || rest.starts_with("'\\") => {
                rest[2..].find('\'').map_or(1, |i| i + 3)
            }
            _ => {
                out.push(c);
                rest = &rest[c.len_utf8()..];
                continue;
            }
        };
        rest = &rest[skipped.min(rest.len())..];
    }
    out
}

/// Length in bytes of the string literal at the beginning.
fn text_end(source: &str) -> usize {
    let mut escaped = false;
    for (i, c) in source.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return i + 1,
            _ => {}
        }
    }
    source.len()
}

fn words(text: &str) -> Vec<&str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()).collect()
}

/// The paths of a `use` tree, with groups expanded.
fn tree(text: &str) -> Vec<String> {
    let text = text.trim();
    let Some(open) = text.find('{') else { return vec![text.to_string()] };
    let close = text.rfind('}').unwrap_or(text.len());
    let (mut depth, mut begin, mut parts) = (0, open + 1, Vec::new());
    for (i, c) in text[open + 1..close].char_indices().chain([(close - open - 1, ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(text[begin..open + 1 + i].trim());
                begin = open + 2 + i;
            }
            _ => {}
        }
    }
    let parts = parts.into_iter().filter(|part| !part.is_empty());
    parts.flat_map(tree).map(|part| format!("{}{}", &text[..open], part).replace("::self", "")).collect()
}

/// Paths in the code outside `use`: words joined by `::`.
fn paths(text: &str) -> Vec<String> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    // What ends in `::` is the head of a `use` with braces, which `uses` follows.
    let candidates = text.split(|c: char| !is_part(c)).filter(|w| w.contains("::") && !w.ends_with("::"));
    candidates.map(|path| path.trim_end_matches(':').to_string()).collect()
}

/// Groups of files in which each names every other, directly or indirectly.
fn circles(graph: &BTreeMap<Module, BTreeSet<Module>>) -> Vec<BTreeSet<Module>> {
    let reach = |from: &Module| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(next) = open.pop() {
            open.extend(graph.get(next).into_iter().flatten().filter(|m| seen.insert((*m).clone())));
        }
        seen
    };
    let reached: BTreeMap<&Module, BTreeSet<Module>> = graph.keys().map(|m| (m, reach(m))).collect();
    let circle = |from: &Module| -> BTreeSet<Module> {
        reached[from]
            .iter()
            .filter(|to| reached.get(to).is_some_and(|back| back.contains(from)))
            .cloned()
            .collect()
    };
    let all: BTreeSet<BTreeSet<Module>> =
        graph.keys().map(circle).filter(|group| !group.is_empty()).collect();
    all.into_iter().collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The row of each module in the table of ARCHITECTURE.md, counted from 0.
fn rows() -> BTreeMap<String, usize> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("the document");
    let rows = text.lines().skip_while(|line| !line.starts_with("| module |")).skip(2);
    let mut found = BTreeMap::new();
    for (row, line) in rows.take_while(|line| line.starts_with('|')).enumerate() {
        let modules = line.split('|').nth(1).unwrap_or_default();
        for name in modules.split('`').skip(1).step_by(2) {
            found.entry(name.to_string()).or_insert(row);
        }
    }
    found
}

#[test]
fn no_module_names_one_of_a_lower_row() {
    let (rows, graph) = (rows(), Source::read(&root().join("src")).graph());
    let tops: BTreeSet<&String> = graph.keys().map(|module| &module[0]).collect();
    let missing: Vec<_> = tops.iter().filter(|top| !rows.contains_key(**top)).collect();
    assert!(missing.is_empty(), "not in the table of ARCHITECTURE.md: {missing:?}");
    let mut wrong = Vec::new();
    for (from, named) in &graph {
        let lower = named.iter().filter(|to| rows[&to[0]] > rows[&from[0]]);
        wrong.extend(lower.map(|to| format!("{} names {}", from.join("::"), to.join("::"))));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(
        graph.len() > 100 && graph.values().map(BTreeSet::len).sum::<usize>() > 400,
        "the source was not read"
    );
}

#[test]
fn wgpu_is_named_in_its_places() {
    let source = Source::read(&root().join("src"));
    let named = source.files.iter().filter(|(_, text)| words(text).contains(&"wgpu"));
    let elsewhere: Vec<&Module> =
        named.map(|(module, _)| module).filter(|m| m.first().is_some_and(|top| top != "gpu")).collect();
    assert_eq!(elsewhere, [&["session"]], "only gpu, Session::encode and lib.rs name wgpu");
}

/// A module whose file lists its parts, and whose parts use what that file defines, is a circle. With `--nocapture` the
/// test lists all of them.
#[test]
fn circles_of_files_stay_within_a_row() {
    let circles = circles(&Source::read(&root().join("src")).graph());
    let files: usize = circles.iter().map(BTreeSet::len).sum();
    println!("{} circles, {files} files in them", circles.len());
    for circle in &circles {
        let names: Vec<String> = circle.iter().map(|module| module.join("::")).collect();
        println!("{}: {}", names.len(), names.join(" "));
    }
    let rows = rows();
    let is_across =
        |circle: &&BTreeSet<Module>| circle.iter().any(|a| circle.iter().any(|b| rows[&a[0]] != rows[&b[0]]));
    let across: Vec<_> = circles.iter().filter(is_across).collect();
    assert!(across.is_empty(), "{across:?}");
}
