//! The table of `docs/models.md`: what a person has, what to type, what is taken from where. It is made of the tables of
//! the code, so it cannot be out of date. `UNET_WRITE_DOCS=1 cargo test -- documented` writes it.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs;
use std::path::{Path, PathBuf};

const BEGIN: &str = "<!-- The test `documented` writes the table that follows. -->\n";
const END: &str = "<!-- Here it ends. -->\n";

/// How any model is run.
const RUN: &str = "`unet run in.png -m FILE -o out.png`";

/// Files that recipes of code bases are read from.
const BESIDE: [&str; 3] = ["config.json", "plans.json", "dataset.json"];

/// What a person has, what to type, what is taken from where.
struct Row([String; 3]);

impl Row {
    fn new(what: &str, to_type: &str, from: &str) -> Row {
        Row([what, to_type, from].map(str::to_string))
    }

    fn text(&self) -> String {
        format!("| {} |\n", self.0.each_ref().map(|cell| cell.replace('|', "\\|")).join(" | "))
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files below a folder of the source.
fn sources(folder: &str) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![root().join(folder)]);
    while let Some(next) = folders.pop() {
        for path in fs::read_dir(next).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

/// The first sentence of a module's documentation, up to a colon.
fn first_sentence(source: &str) -> String {
    let lines = source.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim);
    let text = lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    // A full stop within brackets ends nothing.
    let is_outside = |i: usize| text[..i].matches('(').count() == text[..i].matches(')').count();
    let mut ends =
        text.match_indices(". ").chain(text.match_indices(": ")).map(|(i, _)| i).collect::<Vec<_>>();
    ends.sort_unstable();
    let end = ends.into_iter().find(|&i| is_outside(i)).unwrap_or(text.len());
    text[..end].trim_end_matches('.').to_string()
}

/// State dicts: a row for each file in `src/import/families/` that recognises one.
fn families() -> Vec<Row> {
    let mut rows = Vec::new();
    for path in sources("src/import/families") {
        let source = fs::read_to_string(&path).unwrap();
        let is_family = source.contains("fn recognise(") && source.contains("StateDict");
        if !is_family || path.ends_with("families/mod.rs") || path.ends_with("parts.rs") {
            continue;
        }
        let beside: Vec<&str> =
            BESIDE.into_iter().filter(|name| source.contains(&format!("\"{name}\""))).collect();
        let recipe = match beside[..] {
            [] => "the recipe from the code base".to_string(),
            _ => format!("the recipe from the file or {} near it", beside.join(", ")),
        };
        let what = format!("weights of {}", first_sentence(&source));
        let from = format!("the network from names and shapes of tensors, {recipe}");
        rows.push(Row::new(&what, RUN, &from));
    }
    rows
}

/// Formats that describe a network completely, if the code reads them.
fn formats() -> Vec<Row> {
    let all = [
        (
            "import/onnx/mod.rs",
            "an ONNX file",
            RUN,
            "the network from the file, the recipe from `metadata_props` and the network",
        ),
        ("import/bundle.rs", "a file of `unet convert`", RUN, "everything from the file"),
        (
            "import/sidecar/bioimage.rs",
            "a bioimage.io model",
            "`unet run in.tif -m bioimageio.yaml -o out.tif`",
            "the weights from the file that it names, the recipe from the description",
        ),
        (
            "import/tza.rs",
            "Open Image Denoise's `.tza`",
            "`unet run noisy.exr -m rt_hdr.tza -o out.exr`",
            "the recipe from the file's name",
        ),
        (
            "import/ncnn/mod.rs",
            "an ncnn network (`.param`, `.bin`)",
            "`unet run in.png -m net.param -o out.png`",
            "the network from the text, its weights from the `.bin` of the same name",
        ),
        (
            "import/onnx/like.rs",
            "weights of any other PyTorch code",
            "`unet import weights.pth --like net.onnx -o net.safetensors`",
            "the graph from one ONNX export of the code, the numbers from the weights",
        ),
    ];
    let row = |(source, what, to_type, from): (&str, &str, &str, &str)| {
        assert!(root().join("src").join(source).is_file(), "{source} is gone; change this table");
        Row::new(what, to_type, from)
    };
    all.into_iter().map(row).collect()
}

/// Pictures that need an option, or another program.
fn pictures() -> Vec<Row> {
    let mut rows = vec![
        Row::new(
            "a raster of many bands",
            "`unet run in.tif -m FILE -o out.tif --bands 4,1,2`",
            "bands from the option or `bands` in the recipe, the place on the earth from the raster",
        ),
        Row::new(
            "a rendered picture with albedo and normals",
            "`unet run color.exr -m FILE -o out.exr --also albedo=a.exr --also normal=n.exr`",
            "the order from the recipe's `also`",
        ),
        Row::new(
            "nnU-Net's `CASE_0000.png`, `CASE_0001.png`",
            "`unet run imagesTs/ -m checkpoint_final.pth -o labels/`",
            "channels from the numbers",
        ),
    ];
    rows.extend(refused(crate::image::refused_pictures()));
    rows
}

/// Model files of other formats.
fn models() -> Vec<Row> {
    refused(crate::import::refused_models())
}

/// Files that are not read. Kinds with the same remedy share a row.
fn refused<'a>(kinds: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<Row> {
    let mut refused: Vec<(String, String)> = Vec::new();
    for (what, remedy) in kinds {
        match refused.iter_mut().find(|(_, known)| known == remedy) {
            Some((kinds, _)) => kinds.push_str(&format!(", {what}")),
            None => refused.push((what.into(), remedy.into())),
        }
    }
    refused.iter().map(|(what, remedy)| Row::new(what, remedy, "not read")).collect()
}

#[test]
fn documented() {
    let path = root().join("docs/models.md");
    let text = fs::read_to_string(&path).unwrap();
    let head = "| what you have | what to type or do | what is taken from where |\n| --- | --- | --- |\n";
    let rows = [formats(), families(), models(), pictures()].concat_rows();
    let table = format!("{head}{rows}");
    let (before, rest) = text.split_once(BEGIN).expect("the table begins");
    let (found, after) = rest.split_once(END).expect("the table ends");
    if std::env::var_os("UNET_WRITE_DOCS").is_some() {
        return fs::write(&path, [before, BEGIN, &table, END, after].concat()).unwrap();
    }
    assert!(
        found == table,
        "docs/models.md is out of date; UNET_WRITE_DOCS=1 cargo test -- documented writes it"
    );
}

trait Rows {
    fn concat_rows(self) -> String;
}

impl<const N: usize> Rows for [Vec<Row>; N] {
    fn concat_rows(self) -> String {
        self.iter().flatten().map(Row::text).collect()
    }
}
