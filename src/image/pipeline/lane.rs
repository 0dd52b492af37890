//! One device of a pipeline, with its sessions for the sizes used last.

use crate::error::Result;
use crate::lock::lock;
use crate::model::Model;
use crate::plan::FRAMES;
use crate::session::{Device, SessionOptions};
use crate::tensor::Shape;
use crate::tiles::{TileOptions, TiledSession};
use std::sync::{Arc, Mutex};

/// Number of sessions that are kept. Each has its weights and activations in the device's memory.
const SESSIONS: usize = 4;

/// A device with its sessions, the last used first.
#[derive(Debug)]
pub(super) struct Lane {
    device: Device,
    options: SessionOptions,
    sessions: Mutex<Vec<Arc<TiledSession>>>,
}

impl Lane {
    pub(super) fn new(device: Device, options: SessionOptions) -> Lane {
        Lane { device, options, sessions: Mutex::default() }
    }

    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    pub(super) fn options(&self) -> &SessionOptions {
        &self.options
    }

    /// Makes the states of all sessions zeros.
    pub(super) fn reset(&self) -> Result<()> {
        lock(&self.sessions).iter().try_for_each(|session| session.session().reset())
    }

    /// Number of runs that overlap on the device.
    pub(super) fn overlap(&self) -> usize {
        match self.device {
            Device::Gpu(_) => FRAMES as usize,
            #[cfg(feature = "cpu")]
            Device::Cpu => 1,
        }
    }

    /// The session for inputs of that shape. Other threads that need it wait while it is built.
    pub(super) fn session(
        &self,
        model: &Model,
        shape: Shape,
        tiles: &TileOptions,
    ) -> Result<Arc<TiledSession>> {
        let mut sessions = lock(&self.sessions);
        if let Some(place) = sessions.iter().position(|session| session.input_shape() == shape) {
            sessions[..=place].rotate_right(1);
            return Ok(sessions[0].clone());
        }
        let build = || TiledSession::new(model, shape, &self.device, &self.options, tiles);
        let built = match build() {
            Ok(session) if session.tiles() == 1 || tiles.size.is_some() || sessions.is_empty() => session,
            // The other sessions may occupy the memory that it needs.
            _ => {
                sessions.clear();
                build()?
            }
        };
        let session = Arc::new(built);
        sessions.insert(0, session.clone());
        // A memory limit applies to all of them together.
        let most = self.options.max_memory.unwrap_or(u64::MAX);
        let mut bytes = 0;
        let mut fits = |session: &Arc<TiledSession>| {
            bytes += session.memory_bytes();
            bytes <= most
        };
        let kept = sessions.iter().take(SESSIONS).take_while(|s| fits(s)).count();
        sessions.truncate(kept.max(1));
        Ok(session)
    }
}
