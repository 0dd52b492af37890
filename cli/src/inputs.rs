//! Values of a network's inputs besides the picture.

use crate::error::{Error, Result};
use clap::Args;
use std::path::PathBuf;
use unet_wgpu::FixedInput;
use unet_wgpu::image::read_npy_array;

/// Values of a network's inputs besides the picture.
#[derive(Debug, Args)]
pub(super) struct InputArgs {
    /// Value for an input of the network besides the picture, such as a time step: a number, or an .npy array. Give the
    /// option once for each input
    #[arg(long = "input", value_name = "NAME=FILE.npy|NUMBER", value_parser = given, help_heading = "Inputs and outputs of the network")]
    fixed_inputs: Vec<(String, Given)>,
}

/// The value of an input.
#[derive(Debug, Clone)]
enum Given {
    Number(f64),
    File(PathBuf),
}

impl InputArgs {
    /// The values, read from their files.
    pub(super) fn read(&self) -> Result<Vec<FixedInput>> {
        let mut inputs: Vec<FixedInput> = Vec::new();
        for (name, given) in &self.fixed_inputs {
            if inputs.iter().any(|input| input.name == *name) {
                return Err(Error::Usage(format!("--input {name} is given twice; drop one")));
            }
            let (dims, values) = match given {
                Given::Number(number) => (Vec::new(), vec![*number]),
                Given::File(path) => read_npy_array(path)?,
            };
            inputs.push(FixedInput { name: name.clone(), dims, values });
        }
        Ok(inputs)
    }
}

/// `NAME=FILE.npy` or `NAME=NUMBER`.
fn given(text: &str) -> Result<(String, Given), String> {
    let expected = || "expected NAME=FILE.npy or NAME=NUMBER, such as timestep=10".to_string();
    let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(expected)?;
    let given = match value.parse::<f64>() {
        Ok(number) if number.is_finite() => Given::Number(number),
        Ok(_) => return Err("expected a finite number".into()),
        Err(_) if value.to_ascii_lowercase().ends_with(".npy") => Given::File(value.into()),
        Err(_) => return Err(expected()),
    };
    Ok((name.into(), given))
}
