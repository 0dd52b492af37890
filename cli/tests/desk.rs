//! A folder with models and pictures, in which the command runs.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail a test")]

use crate::fixtures::decoding;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use tempfile::TempDir;
use unet_wgpu::image::{Depth, Picture};
use unet_wgpu::recipe::{Decode, Recipe};
use unet_wgpu::unet::{RandomWeights, UnetConfig, Weights};
use unet_wgpu::{Shape, Tensor};

/// A model file in progress: tensors with dtype, extents and bytes.
pub(crate) struct Parts {
    pub(crate) metadata: Value,
    pub(crate) tensors: Vec<(String, &'static str, Vec<usize>, Vec<u8>)>,
}

impl Weights for Parts {
    /// Records the tensors that the network requests. Zeros make a residual network the identity.
    fn tensor(&mut self, name: &str, shape: Shape) -> unet_wgpu::Result<Arc<Tensor>> {
        let random = self.metadata["random"].as_u64();
        let tensor = match random {
            Some(seed) => RandomWeights::new(seed + self.tensors.len() as u64).tensor(name, shape)?,
            None => Arc::new(Tensor::zeros(shape)),
        };
        let mut extents = vec![shape.n, shape.c, shape.h, shape.w];
        if shape.elements() == shape.n {
            extents.truncate(1);
        }
        let bytes = tensor.data().iter().flat_map(|v| v.to_le_bytes()).collect();
        self.tensors.push((name.into(), "F32", extents, bytes));
        Ok(tensor)
    }
}

impl Parts {
    /// All tensors of a network; zeros without a seed.
    pub(crate) fn new(config: &UnetConfig, recipe: &Recipe, seed: Option<u64>) -> Parts {
        let mut parts = Parts { metadata: json!({ "random": seed }), tensors: Vec::new() };
        config.build(&mut parts).unwrap();
        let text = |value: Result<String, serde_json::Error>| value.unwrap();
        parts.metadata = json!({
            "unet.config": text(serde_json::to_string(config)),
            "unet.recipe": text(serde_json::to_string(recipe)),
        });
        parts
    }

    pub(crate) fn header(&self) -> Value {
        let mut header = json!({ "__metadata__": self.metadata });
        let mut start = 0;
        for (name, dtype, extents, bytes) in &self.tensors {
            let end = start + bytes.len();
            header[name] = json!({ "dtype": dtype, "shape": extents, "data_offsets": [start, end] });
            start = end;
        }
        header
    }

    pub(crate) fn with_header(&self, header: &Value) -> Vec<u8> {
        let header = header.to_string().into_bytes();
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header);
        self.tensors.iter().for_each(|(.., bytes)| file.extend(bytes));
        file
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.with_header(&self.header())
    }

    pub(crate) fn find(&mut self, name: &str) -> &mut (String, &'static str, Vec<usize>, Vec<u8>) {
        self.tensors.iter_mut().find(|tensor| tensor.0 == name).unwrap()
    }
}

/// One level, as many output channels as input channels, residual.
pub(crate) fn small(channels: usize) -> UnetConfig {
    UnetConfig::new(channels, channels, &[4], 4, &[4]).with_residual(true)
}

/// A folder with models and pictures, in which the command runs.
pub(crate) struct Desk(TempDir);

impl Desk {
    /// `same.safetensors` returns its RGB input; `picture.png` is 13x10 RGB.
    pub(crate) fn new() -> Desk {
        let desk = Desk(tempfile::tempdir().unwrap());
        std::fs::create_dir(desk.path("cache")).unwrap();
        desk.put("same.safetensors", &Parts::new(&small(3), &decoding(Decode::Image), None).bytes());
        let planes = Tensor::from_fn(Shape::new(1, 3, 10, 13), |i| (i * 7 % 256) as f32);
        let picture = Picture::new(planes, Depth::Eight).unwrap();
        desk.put("picture.png", &picture.encode(Path::new("picture.png")).unwrap());
        desk
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    pub(crate) fn picture(&self, name: &str) -> Picture {
        Picture::open(&self.path(name)).unwrap()
    }

    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_unet"));
        command
            .args(line.split_whitespace())
            .current_dir(self.0.path())
            // Without it, a layer of Mesa's writes errors to stderr, unless the command switches it off.
            .env_remove("XDG_RUNTIME_DIR")
            .env_remove("NODEVICE_SELECT")
            // The user's own cache must not decide which kernels are tested.
            .env("XDG_CACHE_HOME", self.path("cache"));
        command
    }

    /// Runs `unet` with these arguments, which must succeed.
    #[track_caller]
    pub(crate) fn unet(&self, line: &str) -> Output {
        let output = self.command(line).output().unwrap();
        assert!(output.status.success(), "unet {line}: {}", stderr(&output));
        output
    }

    /// Runs `unet` with these arguments, which must end with code 1, one line that contains all parts, and no new file.
    #[track_caller]
    pub(crate) fn refuses(&self, line: &str, parts: &[&str]) {
        self.refuses_as(self.command(line), line, parts);
    }

    #[track_caller]
    pub(crate) fn refuses_as(&self, mut command: Command, line: &str, parts: &[&str]) {
        let before = self.files();
        let output = command.output().unwrap();
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "unet {line}: {text}");
        assert_eq!(text.lines().count(), 1, "unet {line}: {text}");
        assert!(text.starts_with("unet: ") && !text.contains("panicked"), "unet {line}: {text}");
        for part in parts {
            assert!(text.contains(part), "unet {line}: no {part:?} in {text}");
        }
        assert_eq!(self.files(), before, "unet {line} left a file");
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> =
            std::fs::read_dir(self.0.path()).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        files
    }
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
