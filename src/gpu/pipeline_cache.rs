//! Keeps compiled pipelines in a file, on backends that expose them (Vulkan). Opt-in: nothing is read or written
//! unless [`Gpu::load_pipeline_cache`] is called.

use super::Gpu;
use crate::cache;
use crate::error::{Error, Result};
use crate::lock::lock;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// The first bytes of a file. The hash of the remaining bytes follows.
const MAGIC: [u8; 8] = *b"unetpipe";

/// Larger files are replaced, because nothing is ever removed from a pipeline cache.
const MAX_BYTES: usize = 64 << 20;

/// A device's pipeline cache and its file.
#[derive(Debug)]
pub(super) struct PipelineCache {
    pub(super) cache: wgpu::PipelineCache,
    path: PathBuf,
    /// Hash of the file's contents.
    saved: Mutex<u64>,
}

impl Gpu {
    /// Loads compiled pipelines from this device's file in `folder` (such as [`cache::folder`]) and keeps those
    /// created from now on for [`save_pipeline_cache`](Self::save_pipeline_cache). Call it before sessions are built.
    /// A second call changes nothing.
    ///
    /// A missing or broken file, or one of another driver, counts as empty. Returns `false` if there is no such cache:
    /// on backends other than Vulkan, and on a host's device without `PIPELINE_CACHE`.
    ///
    /// Drivers trust a complete file, so only trusted programs may write to `folder`.
    pub fn load_pipeline_cache(&self, folder: &Path) -> bool {
        let key = wgpu::util::pipeline_cache_key(&self.0.device.adapter_info());
        let Some(key) = key.filter(|_| self.0.device.features().contains(wgpu::Features::PIPELINE_CACHE))
        else {
            return false;
        };
        if self.0.pipeline_cache.get().is_some() {
            return true;
        }
        let path = folder.join(cache::file_name(&[&key], "pipelines"));
        let data = cache::read(&path).and_then(|bytes| {
            let data = open(&bytes);
            if data.is_none() {
                log::warn!("{}: not a whole pipeline cache; going on without it", path.display());
            }
            data.map(<[u8]>::to_vec)
        });
        let warn = |error: &Error| log::warn!("{}: {error}; going on without it", path.display());
        let saved = data.as_deref().map_or(0, cache::hash);
        let loaded = data.as_deref().and_then(|data| self.make_cache(Some(data)).inspect_err(warn).ok());
        let Some(cache) = loaded.or_else(|| self.make_cache(None).inspect_err(warn).ok()) else {
            return false;
        };
        // If two threads load at once, either cache will do.
        self.0.pipeline_cache.get_or_init(|| PipelineCache { cache, path, saved: saved.into() });
        true
    }

    /// Writes what [`load_pipeline_cache`](Self::load_pipeline_cache) read and what was compiled since. Returns
    /// whether there was anything new to write.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written. The old file then remains complete.
    pub fn save_pipeline_cache(&self) -> Result<bool> {
        let Some(kept) = self.0.pipeline_cache.get() else { return Ok(false) };
        let Some(data) = kept.cache.get_data() else { return Ok(false) };
        let hash = cache::hash(&data);
        let mut saved = lock(&kept.saved);
        if *saved == hash {
            return Ok(false);
        }
        cache::write(&kept.path, &[&MAGIC, &hash.to_le_bytes(), &data[..]].concat())?;
        *saved = hash;
        Ok(true)
    }

    #[allow(unsafe_code, reason = "wgpu requires a promise that it wrote these bytes itself")]
    fn make_cache(&self, data: Option<&[u8]>) -> Result<wgpu::PipelineCache> {
        let label = Some("unet-wgpu");
        let descriptor = wgpu::PipelineCacheDescriptor { label, data, fallback: true };
        // SAFETY: the bytes come from `get_data`. The file has this crate's name and version and a correct hash, so
        // neither a crash nor a disk has changed it. wgpu checks that adapter and driver are the same. The caller must
        // ensure that nobody else writes to the folder; the command uses the user's own cache folder, which is created
        // for the user alone.
        self.guarded("the pipeline cache", 0, || unsafe { self.0.device.create_pipeline_cache(&descriptor) })
    }
}

/// The data of a file, if the file is complete.
fn open(file: &[u8]) -> Option<&[u8]> {
    let (hash, data) = file.strip_prefix(&MAGIC)?.split_first_chunk::<8>()?;
    (data.len() <= MAX_BYTES && cache::hash(data) == u64::from_le_bytes(*hash)).then_some(data)
}
