//! github.com/mateuszbuda/brain-segmentation-pytorch: the architecture of this project, with convolutions without
//! bias, four levels that double in width, and a final sigmoid.

use super::net::segment;
use super::own;
use crate::error::Result;
use crate::import::tensors::StateDict;
use crate::model::Model;
use crate::unet::Output;

pub(super) fn recognise(dict: &mut StateDict<'_>) -> Result<Option<Model>> {
    let mut levels = (1..=4).map(|i| format!("encoder{i}.enc{i}conv1"));
    if !levels.all(|conv| dict.has(&format!("{conv}.weight")) && !dict.has(&format!("{conv}.bias"))) {
        return Ok(None);
    }
    let (mut config, names) = own::infer(&dict.shapes())?;
    if config.encoder.windows(2).any(|w| Some(w[1]) != w[0].checked_mul(2)) {
        return Ok(None);
    }
    config.output = Output::Sigmoid;
    let mut model = own::model(dict, config, names)?;
    model.family = Some("mateuszbuda brain-segmentation");
    model.recipe = segment(0.5);
    Ok(Some(model))
}
