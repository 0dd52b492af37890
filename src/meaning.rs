//! What a network's numbers mean, where nothing describes its use: a recipe from the ends of its graph, the types and
//! names of its inputs and outputs, and a line for each reading that is not certain.
//!
//! | the network ends in | and | the result is |
//! | --- | --- | --- |
//! | ArgMax | | class numbers |
//! | softmax, log-softmax | | classes |
//! | sigmoid | one channel | a mask, above 0.5 |
//! | sigmoid | several channels | labels that may overlap |
//! | comparison, rounding | | a mask, or labels |
//! | tanh | three channels, or those of the picture | a picture from -1 to 1 |
//! | arithmetic on the picture | | a picture |
//! | anything | more pixels than the picture has | a picture |
//! | anything | the picture's channels | a picture |
//! | sigmoid, tanh, a convolution | a mask beside the picture, or three channels of four | a picture whose hole is filled |
//! | ReLU, limits | one channel | a grey picture, or measurements such as depth |
//! | a convolution | one channel | logits of a mask, above 0 |
//! | a convolution | other channels | classes |
//!
//! Names of outputs (`mask`, `depth`, `denoised`) decide between readings that the operators leave open.

#[cfg(feature = "recipes")]
mod mask;

#[cfg(feature = "recipes")]
pub(crate) use mask::mask;

use crate::graph::{Closing, Ends};
use crate::model::{Guess, Model};
use crate::network::{Role, Signature, Traits, is_whole};
use crate::recipe::{Decode, IMAGENET, Recipe, Step};
use crate::tensor::Shape;

/// Parts of names that tell what a result is.
const NAMES: [(Decode, &[&str]); 3] = [
    (Decode::Mask, &["mask", "seg", "logit", "class", "label", "alpha", "matte", "pha", "saliency", "prob"]),
    (Decode::Values, &["depth", "disp", "height", "density", "flow", "distance"]),
    (
        Decode::Image,
        &[
            "image", "picture", "rgb", "denois", "restor", "enhanc", "deblur", "recon", "clean", "upscal",
            "gray", "grey",
        ],
    ),
];

/// What is known of a network besides its graph.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    /// The names of the picture's input and of the result.
    pub(crate) names: [&'a str; 2],
    /// The types of their elements.
    pub(crate) types: [&'a str; 2],
    /// Classes that the file's notes name.
    pub(crate) classes: usize,
    /// Whether an input takes a mask beside the picture.
    pub(crate) has_mask: bool,
}

/// The model with a recipe of what its network tells. `classes` are named by the file's notes.
///
/// # Errors
/// When the network does not take its example input.
pub(crate) fn read(mut model: Model, classes: usize) -> crate::Result<Model> {
    let traits = model.network.traits()?;
    let Signature { inputs, outputs, .. } = model.signature();
    let picture = inputs.iter().find(|port| port.role == Role::Picture);
    let result = outputs.iter().find(|port| port.role == Role::Result);
    let name = |port: Option<&crate::PortInfo>| port.map_or(String::new(), |port| port.name.to_lowercase());
    let names = [name(picture), name(result)];
    let element = |port: Option<&crate::PortInfo>| port.map_or("float32", |port| port.element);
    let has_mask = inputs.iter().any(|port| port.role == Role::Mask);
    let types = [element(picture), element(result)];
    let facts = Facts { names: [&names[0], &names[1]], types, classes, has_mask };
    (model.recipe, model.guesses) = guess(&traits, &facts);
    Ok(model)
}

/// The recipe that a network's traits and ports suggest.
pub(crate) fn guess(traits: &Traits, facts: &Facts<'_>) -> (Recipe, Vec<Guess>) {
    let mut recipe = Recipe::default();
    let mut guesses = Vec::new();
    if is_whole(facts.types[0]) {
        recipe.input.scale = 1.0;
        let reason = format!("the file's input is {}", facts.types[0]);
        guesses.push(Guess { field: "input.scale", reason, doubt: None });
    } else if traits.ends.takes_bytes {
        recipe.input.scale = 1.0;
        let reason = "the network itself scales values from 0 to 255".into();
        guesses.push(Guess { field: "input.scale", reason, doubt: None });
    }
    let reading = Reading::of(traits, facts);
    reading.write(traits, &mut recipe);
    let doubt = reading.other.map(|other| {
        let Reading { decode, why, .. } = &reading;
        format!("the result is taken as {}, because {why}; {other}", words(*decode, traits.shapes[1].c))
    });
    guesses.push(Guess { field: "output.decode", reason: reading.why.clone(), doubt });
    // Encoders are trained with ImageNet first; those of networks that make pictures seldom are.
    if let Some(encoder) = traits.encoder
        && reading.decode != Decode::Image
        && recipe.input.scale != 1.0
    {
        (recipe.input.mean, recipe.input.std) = (IMAGENET[0].into(), IMAGENET[1].into());
        let reason = format!("the encoder is {encoder}, which is usually trained so");
        let doubt = format!(
            "the input is taken as normalised with the mean and std of ImageNet, because the encoder is {encoder}; for \
             values from 0 to 1, set mean = [0] and std = [1] under [input] in MODEL.toml"
        );
        guesses.push(Guess { field: "input.mean", reason, doubt: Some(doubt) });
    }
    if let (Decode::Image, Closing::Tanh) = (reading.decode, traits.ends.closing) {
        let doubt = "the input is taken from -1 to 1, as the result is; mean and std of [input] in MODEL.toml change it";
        guesses.push(Guess { field: "input.mean", reason: reading.why, doubt: Some(doubt.into()) });
    }
    (recipe, guesses)
}

/// Whether a network of these shapes makes a picture from a picture and a mask.
fn fills([taken, given]: [Shape; 2], has_mask: bool) -> bool {
    let by_channels = if has_mask { given.c + 1 == taken.c } else { (taken.c, given.c) == (4, 3) };
    by_channels && (taken.h, taken.w) == (given.h, given.w)
}

/// What a result is, and why.
struct Reading {
    decode: Decode,
    why: String,
    /// How to choose another reading, where that is as likely.
    other: Option<&'static str>,
}

const MASK_OR_PICTURE: &str = "for classes, set decode = \"mask\" under [output] in MODEL.toml";
const PICTURE_OR_MASK: &str =
    "for a picture, set decode = \"image\" under [output] in MODEL.toml; for measurements, \"values\"";
const LABELS_OR_PICTURE: &str =
    "for a picture, set decode = \"image\" under [output] in MODEL.toml; for classes, \"mask\"";
const VALUES_OR_MASK: &str =
    "for a mask, set decode = \"mask\" under [output] in MODEL.toml; for a picture, \"image\"";

impl Reading {
    fn sure(decode: Decode, why: impl Into<String>) -> Reading {
        Reading { decode, why: why.into(), other: None }
    }

    fn unsure(decode: Decode, why: impl Into<String>, other: &'static str) -> Reading {
        Reading { decode, why: why.into(), other: Some(other) }
    }

    fn of(traits: &Traits, facts: &Facts<'_>) -> Reading {
        let Traits { ends: Ends { closing, bounds: [low, high], .. }, shapes: [input, output], .. } = *traits;
        let (taken, given) = (input.c, output.c);
        if output.pixels() == 1 && input.pixels() > 1 {
            return Reading::sure(Decode::Scores, "the result is one pixel");
        }
        let named = NAMES.iter().find(|(_, parts)| parts.iter().any(|part| facts.names[1].contains(part)));
        let named = named.map(|(decode, _)| *decode);
        let grows = output.pixels() > input.pixels();
        let by_name = format!("the output is called {}", facts.names[1]);
        match closing {
            Closing::ArgMax(classes) => {
                Reading::sure(Decode::Classes, format!("the network ends in ArgMax over {classes} classes"))
            }
            Closing::Softmax => Reading::sure(Decode::Mask, "the network ends in a softmax"),
            Closing::LogSoftmax => Reading::sure(Decode::Mask, "the network ends in a log-softmax"),
            Closing::Truth if given == 1 => Reading::sure(Decode::Mask, "the network ends in a comparison"),
            Closing::Truth => Reading::sure(Decode::Labels, "the network compares each channel by itself"),
            Closing::Picture => Reading::sure(Decode::Image, "the network ends in arithmetic on the picture"),
            _ if fills([input, output], facts.has_mask)
                && named != Some(Decode::Mask)
                && facts.classes != given =>
            {
                Reading::sure(Decode::Image, "a picture and a mask become a picture")
            }
            _ if grows && (given == taken || matches!(given, 1 | 3)) => {
                Reading::sure(Decode::Image, "the result has more pixels than the picture")
            }
            Closing::Sigmoid => match (given, named) {
                (1, Some(Decode::Values)) => Reading::sure(Decode::Values, by_name),
                (1, Some(Decode::Image)) => Reading::unsure(Decode::Image, by_name, MASK_OR_PICTURE),
                (1, _) if low == 0.0 && matches!(high, 1.0 | 255.0) => {
                    Reading::sure(Decode::Mask, "the network ends in a sigmoid")
                }
                (1, _) => {
                    let why = format!("the network ends in a sigmoid brought to {low} to {high}");
                    Reading::unsure(Decode::Values, why, VALUES_OR_MASK)
                }
                (3, Some(Decode::Image)) => Reading::unsure(Decode::Image, by_name, MASK_OR_PICTURE),
                _ => {
                    let why = format!("the network ends in {given} sigmoids that do not exclude each other");
                    match given == taken {
                        true => Reading::unsure(Decode::Labels, why, LABELS_OR_PICTURE),
                        false => Reading::sure(Decode::Labels, why),
                    }
                }
            },
            Closing::Tanh if given == 3 || given == taken => {
                Reading::unsure(Decode::Image, "the network ends in tanh", MASK_OR_PICTURE)
            }
            Closing::Tanh if given == 1 => {
                Reading::unsure(Decode::Values, "the network ends in tanh", VALUES_OR_MASK)
            }
            Closing::Tanh | Closing::Open => Reading::open(traits, facts, named),
        }
    }

    /// The reading of a result that ends in nothing that tells.
    fn open(traits: &Traits, facts: &Facts<'_>, named: Option<Decode>) -> Reading {
        let Traits {
            ends: Ends { bounds: [low, high], looks_coarsely, .. }, shapes: [input, output], ..
        } = *traits;
        let (taken, given) = (input.c, output.c);
        let is_color = given == 3 && taken.is_multiple_of(3);
        let by_name = format!("the output is called {}", facts.names[1]);
        let bounded = low.is_finite() || high.is_finite();
        if facts.classes > 1 && facts.classes == given {
            return Reading::sure(Decode::Mask, format!("the file names {given} classes"));
        }
        match (given, named) {
            (1, Some(Decode::Mask)) if !bounded => {
                Reading::sure(Decode::Mask, format!("{by_name}, and holds logits"))
            }
            (1, Some(Decode::Mask)) if [low, high] == [0.0, 1.0] => Reading::sure(Decode::Mask, by_name),
            (1, Some(decode @ (Decode::Values | Decode::Image))) => Reading::sure(decode, by_name),
            (1, _) if facts.types[1] == "bool" => Reading::sure(Decode::Mask, "the file's output is bool"),
            (1, _) if is_whole(facts.types[1]) && high != 255.0 => {
                let why = format!("the file's output is {}", facts.types[1]);
                Reading::unsure(Decode::Classes, why, PICTURE_OR_MASK)
            }
            (1, _) if low.is_finite() && high.is_finite() => {
                let why = format!("the network limits it to {low} to {high}");
                Reading::unsure(Decode::Image, why, MASK_OR_PICTURE)
            }
            (1, _) if bounded && taken == 1 => {
                Reading::unsure(Decode::Image, "grey becomes grey that is not negative", MASK_OR_PICTURE)
            }
            (1, _) if bounded => Reading::unsure(
                Decode::Values,
                "one channel is never negative, and has no upper limit",
                VALUES_OR_MASK,
            ),
            (1, _) if taken == 1 && !looks_coarsely => {
                let why = "the network makes grey of grey, and looks at full resolution only";
                Reading::unsure(Decode::Image, why, MASK_OR_PICTURE)
            }
            (1, _) => {
                let why = "one channel without a closing function usually holds logits (above 0 is a sigmoid above 0.5)";
                Reading::unsure(Decode::Mask, why, PICTURE_OR_MASK)
            }
            (_, Some(Decode::Mask)) if given != 3 || !bounded => Reading::sure(Decode::Mask, by_name),
            _ if is_color && [low, high] == [0.0, 1.0] => {
                Reading::sure(Decode::Image, "the network limits three channels to 0 to 1")
            }
            (3, Some(Decode::Image)) => Reading::sure(Decode::Image, by_name),
            _ if given == taken || is_color => {
                let why = "it has as many channels as the picture, and no closing softmax or sigmoid";
                Reading::unsure(Decode::Image, why, MASK_OR_PICTURE)
            }
            _ => Reading::sure(Decode::Mask, format!("the result has {given} channels")),
        }
    }

    /// The output's fields.
    fn write(&self, traits: &Traits, recipe: &mut Recipe) {
        let Ends { closing, bounds: [low, high], .. } = traits.ends;
        let is_finite = low.is_finite() && high.is_finite();
        let output = &mut recipe.output;
        output.decode = Some(self.decode);
        match self.decode {
            Decode::Image if closing == Closing::Tanh && low < 0.0 && is_finite => {
                let gain = 1.0 / (high - low);
                output.steps = vec![Step::Linear { gain: vec![gain], offset: vec![-low * gain] }];
                (recipe.input.mean, recipe.input.std) = (vec![0.5], vec![0.5]);
                if recipe.input.scale == 1.0 {
                    (recipe.input.mean, recipe.input.std) = (Vec::new(), Vec::new());
                }
            }
            // In the units of the input, unless the network limits its result to others.
            Decode::Image => {
                output.scale = match high {
                    1.0 => 255.0,
                    255.0 => 1.0,
                    _ if recipe.input.scale == 1.0 => 1.0,
                    _ => 255.0,
                }
            }
            Decode::Mask | Decode::Labels if high == 255.0 => {
                output.steps = vec![Step::Linear { gain: vec![1.0 / 255.0], offset: Vec::new() }];
            }
            Decode::Mask | Decode::Labels if is_finite => output.threshold = ((low + high) / 2.0) as f32,
            // Several channels of probabilities exclude each other: no threshold.
            Decode::Mask | Decode::Labels if closing == Closing::Open || closing == Closing::Tanh => {
                output.threshold = 0.0;
            }
            _ => {}
        }
        recipe.task = match self.decode {
            decode if decode.is_mask() => "segment",
            Decode::Scores => "classify",
            _ => "",
        }
        .into();
    }
}

/// A reading in words.
fn words(decode: Decode, channels: usize) -> String {
    match decode {
        Decode::Image => "a picture".into(),
        Decode::Mask if channels == 1 => "a mask".into(),
        Decode::Mask => format!("a mask of {channels} classes"),
        Decode::Classes => "class numbers".into(),
        Decode::Labels => format!("{channels} labels that may overlap"),
        Decode::Values => "measurements".into(),
        Decode::Scores => "class scores".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [f64; 2] = [f64::NEG_INFINITY, f64::INFINITY];
    const POSITIVE: [f64; 2] = [0.0, f64::INFINITY];

    /// The recipe for a result of `channels[1]` channels of a picture with `channels[0]`.
    fn of(channels: [usize; 2], closing: Closing, bounds: [f64; 2], name: &str) -> (Recipe, usize) {
        let ends = Ends { closing, bounds, takes_bytes: false, looks_coarsely: true };
        let shapes = channels.map(|c| Shape::new(1, c, 64, 48));
        let facts = Facts { names: ["input", name], types: ["float32"; 2], classes: 0, has_mask: false };
        let (recipe, guesses) =
            guess(&Traits { ends, shapes, growth: None, encoder: None, fingerprint: 0 }, &facts);
        (recipe, guesses.iter().filter(|guess| guess.doubt.is_some()).count())
    }

    #[test]
    fn the_table() {
        use Closing::*;
        use Decode::*;
        for (channels, closing, bounds, name, decode, threshold, doubts) in [
            ([3, 1], ArgMax(4), ALL, "y", Classes, 0.5, 0),
            ([3, 3], Softmax, [0.0, 1.0], "y", Mask, 0.5, 0),
            ([3, 2], LogSoftmax, ALL, "y", Mask, 0.5, 0),
            ([3, 1], Sigmoid, [0.0, 1.0], "y", Mask, 0.5, 0),
            ([3, 1], Sigmoid, [0.0, 255.0], "mask", Mask, 0.5, 0),
            ([3, 1], Sigmoid, [0.0, 80.0], "y", Values, 0.5, 1),
            ([3, 1], Sigmoid, [0.0, 1.0], "disp", Values, 0.5, 0),
            ([3, 4], Sigmoid, [0.0, 1.0], "y", Labels, 0.5, 0),
            ([3, 3], Sigmoid, [0.0, 1.0], "y", Labels, 0.5, 1),
            ([3, 3], Sigmoid, [0.0, 1.0], "denoised", Image, 0.5, 1),
            ([3, 1], Truth, [0.0, 1.0], "y", Mask, 0.5, 0),
            ([3, 2], Truth, [0.0, 1.0], "y", Labels, 0.5, 0),
            ([1, 1], Picture, ALL, "y", Image, 0.5, 0),
            ([3, 1], Open, ALL, "y", Mask, 0.0, 1),
            ([3, 1], Open, ALL, "mask", Mask, 0.0, 0),
            ([3, 1], Open, ALL, "depth", Values, 0.5, 0),
            ([3, 1], Open, POSITIVE, "y", Values, 0.5, 1),
            ([1, 1], Open, POSITIVE, "y", Image, 0.5, 1),
            ([3, 1], Open, [0.0, 1.0], "y", Image, 0.5, 1),
            ([3, 1], Open, [0.0, 1.0], "alphas", Mask, 0.5, 0),
            ([3, 3], Open, ALL, "y", Image, 0.5, 1),
            ([3, 3], Open, ALL, "logits", Mask, 0.0, 0),
            ([9, 3], Open, ALL, "y", Image, 0.5, 1),
            ([1, 3], Open, ALL, "y", Mask, 0.0, 0),
            ([4, 4], Open, ALL, "y", Image, 0.5, 1),
            ([4, 3], Open, ALL, "y", Image, 0.5, 0),
            ([4, 3], Sigmoid, [0.0, 1.0], "y", Image, 0.5, 0),
            ([4, 3], Open, ALL, "logits", Mask, 0.0, 0),
            ([4, 3], Softmax, [0.0, 1.0], "y", Mask, 0.5, 0),
            ([3, 21], Open, ALL, "y", Mask, 0.0, 0),
        ] {
            let (recipe, found) = of(channels, closing, bounds, name);
            let what = format!("{channels:?} {closing:?} {bounds:?} {name}");
            let got = (recipe.output.decode, recipe.output.threshold, found);
            assert_eq!(got, (Some(decode), threshold, doubts), "{what}");
        }
        let (tanh, _) = of([3, 3], Tanh, [-1.0, 1.0], "y");
        assert_eq!(tanh.output.steps, [Step::Linear { gain: vec![0.5], offset: vec![0.5] }]);
        assert_eq!((tanh.input.mean, tanh.input.std), (vec![0.5], vec![0.5]));
        let (bytes, _) = of([3, 3], Open, [0.0, 255.0], "y");
        assert_eq!(bytes.output.scale, 1.0);
    }

    #[test]
    fn types_and_first_operators_tell_the_scale() {
        let ends = Ends { bounds: ALL, ..Ends::default() };
        let shapes = [Shape::new(1, 3, 8, 8); 2];
        for (takes_bytes, element, scale, output) in [
            (false, "float32", 1.0 / 255.0, 255.0),
            (true, "float32", 1.0, 1.0),
            (false, "uint8", 1.0, 1.0),
            (false, "float16", 1.0 / 255.0, 255.0),
        ] {
            let traits = Traits {
                ends: Ends { takes_bytes, ..ends },
                shapes,
                growth: None,
                encoder: None,
                fingerprint: 0,
            };
            let facts = Facts { names: ["x", "y"], types: [element, "float32"], classes: 0, has_mask: false };
            let (recipe, _) = guess(&traits, &facts);
            assert_eq!((recipe.input.scale, recipe.output.scale), (scale, output), "{element}");
        }
    }

    #[test]
    fn a_shared_encoder_tells_the_normalisation() {
        let facts = Facts { names: ["x", "y"], types: ["float32"; 2], classes: 0, has_mask: false };
        for (encoder, channels, takes_bytes, is_taken) in [
            (Some("ResNet-34"), 5, false, true),
            (Some("ResNet-34"), 1, false, true),
            (Some("ResNet-34"), 3, false, false),
            (Some("ResNet-34"), 5, true, false),
            (None, 5, false, false),
        ] {
            let ends = Ends { closing: Closing::Open, bounds: ALL, takes_bytes, looks_coarsely: true };
            let shapes = [3, channels].map(|c| Shape::new(1, c, 64, 48));
            let traits = Traits { ends, shapes, growth: None, encoder, fingerprint: 0 };
            let (recipe, guesses) = guess(&traits, &facts);
            let lines: Vec<&String> = guesses.iter().filter_map(|guess| guess.doubt.as_ref()).collect();
            let has_line = lines.iter().any(|line| line.contains("ResNet-34") && line.contains("mean = [0]"));
            assert_eq!((recipe.input.mean == IMAGENET[0], has_line), (is_taken, is_taken), "{channels}");
        }
    }
}
