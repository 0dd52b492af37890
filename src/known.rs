//! Networks that many people have, known by the shapes of their kernels, and the recipes of their code bases.
//!
//! A fingerprint does not depend on weights, names, the order of nodes, or whether norms are folded, so all exports and
//! fine-tuned copies of a network share it. `unet inspect --json` prints that of any model.

use crate::error::Result;
use crate::meaning;
use crate::model::Model;
use crate::network::Choice;
use crate::recipe::{
    Class, Decode, Fit, IMAGENET, InputRecipe, OutputRecipe, Over, Recipe, Resampling, Size, Step,
};

/// A network and its recipe.
struct Known {
    name: &'static str,
    fingerprints: &'static [u64],
    /// The output that is the result, where its size and name do not tell.
    result: Option<&'static str>,
    recipe: fn() -> Recipe,
}

/// All known networks.
const KNOWN: [Known; 12] = [
    // Qin et al. 2020, github.com/xuebinqin/U-2-Net, as rembg runs it: rembg/sessions/u2net.py, base.py.
    Known {
        name: "U2-Net",
        fingerprints: &[0x0905_436b_22ab_4205],
        result: None,
        recipe: || saliency(320, IMAGENET[0], IMAGENET[1], Step::DivideByMax { over: Over::Sample }),
    },
    Known {
        name: "U2-Net small (u2netp)",
        fingerprints: &[0xe8d0_4ff8_05dd_8891],
        result: None,
        recipe: || saliency(320, IMAGENET[0], IMAGENET[1], Step::DivideByMax { over: Over::Sample }),
    },
    // github.com/levindabhi/cloth-segmentation, as rembg runs it: rembg/sessions/u2net_cloth_seg.py.
    Known {
        name: "U2-Net of clothes",
        fingerprints: &[0xc501_2cfa_9864_90ba],
        result: None,
        recipe: || {
            let classes = ["background", "upper body", "lower body", "full body"];
            let step = Step::DivideByMax { over: Over::Sample };
            let mut recipe = saliency(768, IMAGENET[0], IMAGENET[1], step);
            recipe.output.steps = Vec::new();
            recipe.output.classes = classes.map(|name| Class { name: name.into(), color: None }).to_vec();
            recipe.with_description("finds clothes")
        },
    },
    // SkyTNT, github.com/SkyTNT/anime-segmentation: inference.py, export.py, whose output is called mask.
    Known {
        name: "IS-Net of anime-segmentation",
        fingerprints: &[0x550d_d5fd_4d04_b41a],
        result: Some("mask"),
        recipe: || {
            let input = InputRecipe::default().with_size(Some(Size::Fixed([1024; 2])));
            segment("finds drawn figures").with_input(input)
        },
    },
    // Qin et al. 2022, github.com/xuebinqin/DIS: IS-Net/Inference.py.
    Known {
        name: "IS-Net",
        fingerprints: &[0x550d_d5fd_4d04_b41a],
        result: None,
        recipe: || {
            let mut recipe =
                saliency(1024, [0.5; 3], [1.0; 3], Step::Linear { gain: Vec::new(), offset: Vec::new() });
            (recipe.input.steps, recipe.input.scale) = (Vec::new(), 1.0 / 255.0);
            recipe.input.filter = Some(Resampling::Bilinear);
            recipe
        },
    },
    // Ke et al. 2022, github.com/ZHKKKe/MODNet: onnx/inference_onnx.py.
    Known {
        name: "MODNet",
        fingerprints: &[0x7ae8_3e29_5d59_f59e],
        result: None,
        recipe: || {
            let input = InputRecipe::default().with_size(Some(Size::Fixed([512, 512])));
            let input = input.with_mean([0.5; 3]).with_std([0.5; 3]);
            segment("finds people, with soft edges").with_input(input)
        },
    },
    // Lin et al. 2021, github.com/PeterL1n/RobustVideoMatting: documentation/inference.md. Its states are carried from
    // frame to frame.
    Known {
        name: "Robust Video Matting",
        fingerprints: &[0x61e4_8be9_bfef_a479, 0x79b7_bf63_6a5a_ae5f],
        result: Some("pha"),
        recipe: || {
            let input = InputRecipe::default().with_size(Some(Size::Native));
            segment("finds people in videos, with soft edges").with_input(input)
        },
    },
    // Johnson et al. 2016, github.com/pytorch/examples: fast_neural_style/neural_style; also in the ONNX model zoo. Its
    // first layer has 32 channels; in lighter and heavier variants 8, 12, 16, 24, 48 or 64.
    Known {
        name: "fast-neural-style",
        fingerprints: &[
            0xbbcd_df76_ef5d_50c5,
            0x434e_aaad_991f_f385,
            0xb167_2985_426e_bf85,
            0x2a6a_25b4_e6f1_a905,
            0x2348_87db_a05a_cf05,
            0x2d3e_a1a2_3e28_c845,
            0xcece_bf79_8fa0_d1e5,
        ],
        result: None,
        recipe: || {
            let input = InputRecipe::default().with_scale(1.0).with_size(Some(Size::Native));
            picture("paints a picture in a style")
                .with_input(input)
                .with_output(OutputRecipe::default().with_decode(Some(Decode::Image)).with_scale(1.0))
        },
    },
    // github.com/nagadomi/nunif: waifu2x/models/cunet.py, whose offsets are in pixels of the result.
    Known {
        name: "waifu2x CUNet",
        fingerprints: &[0xedd4_f918_926c_1605],
        result: None,
        recipe: || valid(28),
    },
    Known {
        name: "waifu2x UpCUNet",
        fingerprints: &[0xb2cc_d3f4_b0b3_8105],
        result: None,
        recipe: || valid(18),
    },
    // The same: upconv_7.py, vgg_7.py.
    Known {
        name: "waifu2x UpConv-7",
        fingerprints: &[0x95f3_74e6_ccb8_151d],
        result: None,
        recipe: || valid(7),
    },
    Known {
        name: "waifu2x VGG-7",
        fingerprints: &[0xc0b5_20a7_4456_d725],
        result: None,
        recipe: || valid(7),
    },
];

/// What an input of that name gets where nobody gives it a value, and why.
pub(crate) fn default_input(name: &str) -> Option<(f64, &'static str)> {
    // Robust Video Matting, documentation/inference.md: 0.25 for pictures of 1080 rows.
    (name == "downsample_ratio")
        .then_some((0.25, "it suits pictures of 1080 rows; use more for smaller ones"))
}

/// A network of the rembg family, which resamples as rembg does: one channel, brought to 0 to 1 over the picture.
fn saliency(side: usize, mean: [f64; 3], std: [f64; 3], step: Step) -> Recipe {
    let input =
        InputRecipe::default().with_size(Some(Size::Fixed([side; 2]))).with_scale(1.0).with_steps([step]);
    let input = input.with_filter(Some(Resampling::Lanczos));
    let rescale = Step::Rescale { low: 0.0, high: 100.0, over: Over::Sample, eps: 0.0 };
    let mut recipe = segment("finds what stands out").with_input(input.with_mean(mean).with_std(std));
    recipe.output.steps = vec![rescale];
    recipe
}

/// A mask of one channel of probabilities.
fn segment(description: &str) -> Recipe {
    let output = OutputRecipe::default().with_decode(Some(Decode::Mask));
    Recipe::default().with_task("segment").with_description(description).with_output(output)
}

/// A picture from 0 to 1.
fn picture(description: &str) -> Recipe {
    let output = OutputRecipe::default().with_decode(Some(Decode::Image));
    Recipe::default().with_task("restore").with_description(description).with_output(output)
}

/// A network of convolutions without padding that takes a border off its input, which waifu2x continues by its edge.
fn valid(border: usize) -> Recipe {
    picture("restores drawings").with_input(InputRecipe::default().with_border(border).with_fit(Fit::Edge))
}

/// The model with the recipe of a known network, or else with what the network itself tells.
///
/// # Errors
/// When the network does not take its example input.
pub(crate) fn complete(model: Model, choice: &Choice<'_>) -> Result<Model> {
    let fingerprint = model.network.traits()?.fingerprint;
    let has = |name: &&str| model.signature().outputs.iter().any(|output| output.name == *name);
    let is_alike = |known: &&Known| known.fingerprints.contains(&fingerprint);
    let is_same = |known: &&Known| known.result.as_ref().is_none_or(has);
    let alike = || KNOWN.iter().filter(is_alike);
    let Some(known) = alike().find(is_same).or_else(|| alike().next()) else {
        return meaning::read(model, 0);
    };
    let recipe = (known.recipe)();
    let result = choice.result.or(known.result.filter(has));
    let border = if choice.border > 0 { choice.border } else { recipe.input.border };
    let outside = if choice.border > 0 { choice.outside } else { recipe.input.outside() };
    // What the caller chose, the network already has.
    let model = match (result, border) == (choice.result, choice.border) {
        true => model,
        false => model.configured(&Choice { result, border, outside, carry: None, inputs: &[] })?,
    };
    Ok(Model { recipe, known: Some(known.name), ..model })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_network_has_a_valid_recipe_and_its_own_fingerprints() {
        let mut all: Vec<(u64, Option<&str>)> = Vec::new();
        for known in &KNOWN {
            (known.recipe)().check().expect("a valid recipe");
            all.extend(known.fingerprints.iter().map(|fingerprint| (*fingerprint, known.result)));
        }
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
