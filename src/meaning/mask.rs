//! The mask of a network that fills holes, where nothing describes it.

use super::fills;
use crate::model::{Guess, Model};
use crate::network::Role;
use crate::recipe::{Decode, MaskRecipe};

/// The mask of a network that fills holes, if a recipe does not describe its input otherwise: the input that is called
/// so, or the last of four channels that become three.
pub(crate) fn mask(model: &Model) -> Option<(MaskRecipe, Guess)> {
    let input = &model.recipe.input;
    if input.mask.is_some() || !input.bands.is_empty() || !input.also.is_empty() {
        return None;
    }
    let inputs = model.signature().inputs;
    let port = inputs.iter().find(|port| port.role == Role::Mask);
    if port.is_none() && model.input_channels() != 4 {
        return None;
    }
    let [taken, given] = model.network.traits().ok()?.shapes;
    let decode = model.recipe.output.decode.unwrap_or_else(|| model.recipe.decode(given.c, given.pixels()));
    if decode != Decode::Image || !fills([taken, given], port.is_some()) {
        return None;
    }
    let mut mask = MaskRecipe::default();
    if port.is_some_and(|port| port.element == "uint8") {
        mask.hole = 255.0;
    }
    let (reason, place, classes) = match port {
        Some(port) => (format!("the network has an input {}", port.name), "the mask", ""),
        None => {
            let classes = ", and decode = \"mask\" under [output] makes classes";
            ("four channels become three".into(), "the last channel is the mask, which", classes)
        }
    };
    let doubt = format!(
        "the network fills holes, because {reason}; {place} is {}; [input.mask] in MODEL.toml changes it{classes}",
        mask.values()
    );
    Some((mask, Guess { field: "input.mask", reason, doubt: Some(doubt) }))
}
