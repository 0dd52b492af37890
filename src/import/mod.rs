//! Reading model files, one file a format. Every reader takes hostile bytes: a typed error, never a panic.

pub(crate) mod safetensors;
mod state_dict;
