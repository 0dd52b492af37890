//! A recipe in words, for people.

use super::{
    Channels, Curve, Decode, Fill, Fit, InputRecipe, MaskPlace, MaskRecipe, OutputRecipe, Over, Recipe, Size,
    Step, Transfer, Void,
};

impl Recipe {
    /// What the recipe does, in order. Each item is the path of a field, as in TOML, and one line of text.
    ///
    /// `channels` are the channels of the network's input and of its result.
    pub fn words(&self, channels: [usize; 2]) -> Vec<(&'static str, String)> {
        let mut lines = self.input.words(channels[0]);
        let output = &self.output;
        if let Some(scale) = self.scale {
            lines.push(("scale", format!("the result is {scale} times as wide and as high as the picture")));
        }
        lines.extend(output.steps.iter().map(|step| ("output.steps", step.words())));
        let names: Vec<String> =
            output.classes.iter().enumerate().map(|(i, class)| format!("{i} {}", class.name)).collect();
        match self.decode(channels[1], 0) {
            Decode::Image => {
                lines.push(("output.decode", "a picture".into()));
                lines.push(("output.scale", format!("its values times {}", short(output.scale))));
            }
            Decode::Mask if !output.regions.is_empty() => {
                let numbers: Vec<String> = output.regions.iter().map(u16::to_string).collect();
                let numbers = numbers.join(", ");
                lines.push((
                    "output.decode",
                    "a mask that regions are painted on, later ones over earlier ones".into(),
                ));
                lines.push(("output.regions", format!("the channels paint the classes {numbers}")));
                lines
                    .push(("output.threshold", format!("where their values are above {}", output.threshold)));
            }
            Decode::Mask if channels[1] == 1 => {
                lines.push(("output.decode", "a mask of two classes".into()));
                lines.push(("output.threshold", format!("class 1 above {}", output.threshold)));
            }
            Decode::Classes => {
                lines.push(("output.decode", "a mask: the network gives class numbers".into()))
            }
            Decode::Labels => {
                lines.push(("output.decode", format!("{} labels, which may overlap", channels[1])));
                lines.push((
                    "output.threshold",
                    format!("a label where its value is above {}", output.threshold),
                ));
            }
            Decode::Values => {
                let text = "measurements: as they are in float files, from black to white in others";
                lines.push(("output.decode", text.into()));
            }
            Decode::Mask => {
                lines.push((
                    "output.decode",
                    "a mask: for each pixel the class with the largest value".into(),
                ));
            }
            Decode::Scores => lines.push(("output.decode", "a score for each class".into())),
        }
        if !names.is_empty() {
            lines.push(("output.classes", names.join(", ")));
        }
        lines.extend(output.role_words(self.decode(channels[1], 0), channels[1]));
        if output.halo > 0 {
            lines.push(("output.halo", format!("{} pixels along the border are less certain", output.halo)));
        }
        if output.strength < 1.0 {
            let text =
                format!("{} % the network's result, the rest the picture", short(100.0 * output.strength));
            lines.push(("output.strength", text));
        }
        lines
    }
}

impl OutputRecipe {
    /// The classes that stand for nothing.
    fn role_words(&self, decode: Decode, channels: usize) -> Vec<(&'static str, String)> {
        let names: Vec<String> = self.classes.iter().map(|class| class.name.clone()).collect();
        let called = |number: u16| match names.get(usize::from(number)) {
            Some(name) => name.clone(),
            None => format!("class {number}"),
        };
        let mut lines = Vec::new();
        let has_choice = decode == Decode::Classes || decode == Decode::Mask && channels > 1;
        if !has_choice || !self.regions.is_empty() {
            return lines;
        }
        let roles = self.roles(channels);
        lines.push((
            "output.background",
            match roles.background(&names, !names.is_empty()) {
                (Some(class), false) => called(class),
                (Some(class), true) => format!("{}, since no class has a name", called(class)),
                (None, _) => "none: all classes form regions".into(),
            },
        ));
        let Void { numbers, colors } = roles.void(&names);
        let colors = colors.iter().map(|[r, g, b]| format!("#{r:02x}{g:02x}{b:02x}"));
        let void: Vec<String> = numbers.into_iter().map(called).chain(colors).collect();
        if !void.is_empty() {
            lines.push(("output.void", format!("{} in a reference does not count", void.join(", "))));
        }
        lines
    }
}

impl InputRecipe {
    fn words(&self, channels: usize) -> Vec<(&'static str, String)> {
        let channels = channels.saturating_sub(usize::from(self.mask.is_some()));
        let picture = match (self.channels, channels) {
            (Some(Channels::Rgb), _) | (None, 3) => "the picture as red, green, blue".into(),
            (Some(Channels::Bgr), _) => "the picture as blue, green, red".into(),
            (Some(Channels::Gray), _) | (None, 1) => "the picture as grey".into(),
            (None, count) => format!("{count} bands of the picture, or of several files"),
        };
        let mut lines = Vec::new();
        if let Some(value) = self.nodata {
            lines.push(("input.nodata", format!("{} in place of pixels without data", short(value))));
        }
        match self.bands.is_empty() {
            true => lines.push(("input.channels", picture)),
            false => {
                let bands: Vec<String> = self.bands.iter().map(usize::to_string).collect();
                lines.push((
                    "input.bands",
                    format!("the picture's bands {}, numbered from 1", bands.join(", ")),
                ));
            }
        }
        if !self.also.is_empty() {
            lines.push(("input.also", format!("further pictures: {}", self.also.join(", "))));
        }
        let how = match self.fit {
            Fit::Resize => "resized",
            Fit::Zero => "padded with zeros",
            Fit::Edge => "padded with its edge",
            Fit::Reflect => "padded with its reflection",
        };
        match self.size {
            Some(Size::Fixed([h, w])) => {
                lines.push((
                    "input.size",
                    format!("{how} to {h}x{w} pixels (height x width), the result back"),
                ));
            }
            Some(Size::Native) => lines.push(("input.size", "the picture's own size".into())),
            None => {}
        }
        if let Some(filter) = self.filter {
            lines.push(("input.filter", format!("resampled with PIL's {} filter", filter.name())));
        }
        if let Some(tile) = self.tile {
            let overlap = self.overlap.map(|pixels| format!(" that overlap by {pixels}")).unwrap_or_default();
            lines.push(("input.tile", format!("larger pictures in tiles of at most {tile} pixels{overlap}")));
        }
        if self.border > 0 {
            let how = match self.fit {
                Fit::Resize | Fit::Reflect => "mirrored outwards",
                Fit::Edge => "continued outwards by its edge",
                Fit::Zero => "surrounded by zeros",
            };
            let text = format!("the picture {how}, {} pixels, which the network removes", self.border);
            lines.push(("input.border", text));
        }
        if let Some(multiple) = self.multiple {
            lines.push((
                "input.multiple",
                format!("{how} to multiples of {multiple} pixels, the result back"),
            ));
        }
        match self.transfer {
            None => {}
            Some(Transfer::Linear) => lines.push((
                "input.transfer",
                "linear light: 8- and 16-bit pictures are converted from the sRGB curve, the result back"
                    .into(),
            )),
            Some(Transfer::Srgb) => lines.push((
                "input.transfer",
                "the sRGB curve: float pictures are converted to it, the result back".into(),
            )),
        }
        lines.push((
            "input.scale",
            format!("values, 0 to 255 in 8-bit pictures, times {}", short(self.scale)),
        ));
        lines.extend(self.steps.iter().map(|step| ("input.steps", step.words())));
        if !self.mean.is_empty() {
            lines.push(("input.mean", format!("minus {}", list(&self.mean))));
        }
        if !self.std.is_empty() {
            lines.push(("input.std", format!("divided by {}", list(&self.std))));
        }
        lines.extend(self.mask.as_ref().map(|mask| ("input.mask", mask.words())));
        lines
    }
}

impl MaskRecipe {
    /// Where the mask is, its values, and what lies in the hole.
    fn words(&self) -> String {
        let place = match self.place {
            MaskPlace::First => "first",
            MaskPlace::Last => "last",
        };
        format!("the {place} channel is the mask: {}", self.values())
    }

    /// Its values, and what lies in the hole.
    pub(crate) fn values(&self) -> String {
        let fill = match &self.fill {
            Fill::Values(values) => format!("where the picture is {}", list(values)),
            Fill::Mean => "where the picture is the mean of what is known".into(),
            Fill::None => "where the picture stays as it is".into(),
        };
        let [hole, known] = [self.hole, self.known].map(short);
        format!("{hole} in the hole, {fill}, and {known} elsewhere")
    }
}

impl Step {
    fn words(&self) -> String {
        let of = |over: &Over| match over {
            Over::Sample => "of all channels together",
            Over::Channel => "of each channel",
        };
        match self {
            Step::Linear { gain, offset } => {
                let gain = (!gain.is_empty()).then(|| format!("times {}", list(gain)));
                let offset = (!offset.is_empty()).then(|| format!("plus {}", list(offset)));
                gain.into_iter().chain(offset).collect::<Vec<_>>().join(", ")
            }
            Step::Clip { min, max } => {
                let min = min.map(|v| format!("at least {}", short(v)));
                let max = max.map(|v| format!("at most {}", short(v)));
                format!("clipped to {}", min.into_iter().chain(max).collect::<Vec<_>>().join(" and "))
            }
            Step::Standardize { over, eps } => {
                format!("to mean 0 and standard deviation 1 {} (eps {})", of(over), short(*eps))
            }
            Step::Rescale { low, high, over, eps } => {
                format!("percentiles {low} and {high} {} to 0 and 1 (eps {})", of(over), short(*eps))
            }
            Step::DivideByMax { over } => format!("divided by the maximum {}", of(over)),
            Step::AutoExposure => "exposed: its mean brightness to 0.18".into(),
            Step::UndoExposure => "the exposure undone".into(),
            Step::Curve(curve) => format!("onto {}", curve.words()),
            Step::Inverse(curve) => format!("back from {}", curve.words()),
            Step::Sigmoid => "sigmoid".into(),
            Step::Softmax => "softmax over the channels".into(),
            Step::Binarize { threshold } => format!("1 above {}, 0 elsewhere", short(*threshold)),
            Step::MatchInput { over, .. } => {
                format!("to mean and standard deviation of the picture, {}", of(over))
            }
        }
    }
}

impl Curve {
    fn words(self) -> &'static str {
        match self {
            Curve::Srgb => "the sRGB curve",
            Curve::Pu => "the perceptually uniform curve (65504 to 1)",
            Curve::Log => "the logarithmic curve (65504 to 1)",
        }
    }
}

/// A number with six significant digits.
fn short(number: f64) -> String {
    let places = number.abs().log10().floor();
    if number == 0.0 || !(-7.0..9.0).contains(&places) {
        return format!("{number:e}").replace("0e0", "0");
    }
    let text = format!("{number:.*}", (5.0 - places).max(0.0) as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
}

fn list(numbers: &[f64]) -> String {
    numbers.iter().map(|&v| short(v)).collect::<Vec<_>>().join(", ")
}
