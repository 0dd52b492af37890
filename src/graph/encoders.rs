//! Encoders that many networks share, known by the shapes of their kernels.

use std::collections::HashMap;

/// A kernel: outputs, inputs, height, width.
type Kernel = [usize; 4];

/// The encoder whose kernels are all among these, the deepest that is; 3 channels of a picture go into it.
pub(super) fn named(kernels: &[Kernel]) -> Option<&'static str> {
    let mut counts: HashMap<Kernel, usize> = HashMap::new();
    kernels.iter().for_each(|kernel| *counts.entry(*kernel).or_default() += 1);
    let holds = |encoder: Vec<Kernel>| {
        let mut left = counts.clone();
        encoder.iter().all(|kernel| {
            left.get_mut(kernel).is_some_and(|left| {
                *left = left.wrapping_sub(1);
                *left != usize::MAX
            })
        })
    };
    let resnets = RESNETS.iter().map(|resnet| (resnet.name, resnet.kernels()));
    let efficient = EFFICIENT.iter().map(|&(name, wide, deep)| (name, efficientnet(wide, deep)));
    resnets
        .chain(efficient)
        .chain([("MobileNetV2", mobilenet())])
        .find_map(|(name, kernels)| holds(kernels).then_some(name))
}

/// A ResNet (He et al. 2016) or ResNeXt (Xie et al. 2017).
struct ResNet {
    name: &'static str,
    blocks: [usize; 4],
    /// Groups and width of a group of the middle convolution, if the blocks have three convolutions.
    bottleneck: Option<[usize; 2]>,
}

const fn resnet(name: &'static str, blocks: [usize; 4], bottleneck: Option<[usize; 2]>) -> ResNet {
    ResNet { name, blocks, bottleneck }
}

/// The deeper ones first, since they hold the others.
const RESNETS: [ResNet; 7] = [
    resnet("ResNet-152", [3, 8, 36, 3], Some([1, 64])),
    resnet("ResNet-101", [3, 4, 23, 3], Some([1, 64])),
    resnet("ResNet-50", [3, 4, 6, 3], Some([1, 64])),
    resnet("ResNeXt-101 32x8d", [3, 4, 23, 3], Some([32, 8])),
    resnet("ResNeXt-50 32x4d", [3, 4, 6, 3], Some([32, 4])),
    resnet("ResNet-34", [3, 4, 6, 3], None),
    resnet("ResNet-18", [2, 2, 2, 2], None),
];

impl ResNet {
    fn kernels(&self) -> Vec<Kernel> {
        let mut kernels = vec![[64, 3, 7, 7]];
        let mut ins = 64;
        for (stage, &blocks) in self.blocks.iter().enumerate() {
            let width = 64 << stage;
            for block in 0..blocks {
                let outs = match self.bottleneck {
                    Some([groups, each]) => {
                        let middle = (groups * each) << stage;
                        kernels.extend([
                            [middle, ins, 1, 1],
                            [middle, middle / groups, 3, 3],
                            [4 * width, middle, 1, 1],
                        ]);
                        4 * width
                    }
                    None => {
                        kernels.extend([[width, ins, 3, 3], [width, width, 3, 3]]);
                        width
                    }
                };
                if block == 0 && outs != ins {
                    kernels.push([outs, ins, 1, 1]);
                }
                ins = outs;
            }
        }
        kernels
    }
}

/// EfficientNet's models (Tan and Le 2019) with their factors for width and depth, the larger ones first.
const EFFICIENT: [(&str, f64, f64); 8] = [
    ("EfficientNet-B7", 2.0, 3.1),
    ("EfficientNet-B6", 1.8, 2.6),
    ("EfficientNet-B5", 1.6, 2.2),
    ("EfficientNet-B4", 1.4, 1.8),
    ("EfficientNet-B3", 1.2, 1.4),
    ("EfficientNet-B2", 1.1, 1.2),
    ("EfficientNet-B1", 1.0, 1.1),
    ("EfficientNet-B0", 1.0, 1.0),
];

/// The kernels before the last convolution, without those of squeeze and excitation.
fn efficientnet(wide: f64, deep: f64) -> Vec<Kernel> {
    let width = |channels: usize| {
        let exact = channels as f64 * wide;
        let rounded = (((exact + 4.0) / 8.0) as usize * 8).max(8);
        if (rounded as f64) < 0.9 * exact { rounded + 8 } else { rounded }
    };
    let mut ins = width(32);
    let mut kernels = vec![[ins, 3, 3, 3]];
    for (outs, kernel, blocks, expansion) in [
        (16, 3, 1, 1),
        (24, 3, 2, 6),
        (40, 5, 2, 6),
        (80, 3, 3, 6),
        (112, 5, 3, 6),
        (192, 5, 4, 6),
        (320, 3, 1, 6),
    ] {
        let outs = width(outs);
        for _ in 0..(blocks as f64 * deep).ceil() as usize {
            inverted(&mut kernels, [ins, expansion, outs], kernel);
            ins = outs;
        }
    }
    kernels
}

/// MobileNetV2 (Sandler et al. 2018), before the last convolution.
fn mobilenet() -> Vec<Kernel> {
    let mut ins = 32;
    let mut kernels = vec![[ins, 3, 3, 3]];
    for (expansion, outs, blocks) in
        [(1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1)]
    {
        for _ in 0..blocks {
            inverted(&mut kernels, [ins, expansion, outs], 3);
            ins = outs;
        }
    }
    kernels
}

/// Expansion, depthwise convolution, projection.
fn inverted(kernels: &mut Vec<Kernel>, [ins, expansion, outs]: [usize; 3], kernel: usize) {
    let middle = ins * expansion;
    if expansion > 1 {
        kernels.push([middle, ins, 1, 1]);
    }
    kernels.extend([[middle, 1, kernel, kernel], [outs, middle, 1, 1]]);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of convolutions and of their weights in segmentation_models.pytorch 0.6, without those left out here.
    #[test]
    fn tables_have_the_sizes_of_the_real_encoders() {
        let size = |kernels: Vec<Kernel>| {
            (kernels.len(), kernels.iter().map(|kernel| kernel.iter().product::<usize>()).sum::<usize>())
        };
        let resnets = [
            (155, 57_992_384),
            (104, 42_394_816),
            (53, 23_454_912),
            (104, 86_539_456),
            (53, 22_911_680),
            (36, 21_267_648),
            (20, 11_166_912),
        ];
        for (resnet, want) in RESNETS.iter().zip(resnets) {
            assert_eq!(size(resnet.kernels()), want, "{}", resnet.name);
        }
        let efficient = [
            (162, 49_864_736),
            (133, 31_650_384),
            (115, 21_927_600),
            (95, 13_474_152),
            (77, 8_139_384),
            (68, 5_808_672),
            (68, 4_918_896),
            (48, 2_919_392),
        ];
        for (&(name, wide, deep), want) in EFFICIENT.iter().zip(efficient) {
            assert_eq!(size(efficientnet(wide, deep)), want, "{name}");
        }
        assert_eq!(size(mobilenet()), (51, 1_780_160));
    }

    #[test]
    fn a_network_that_shifts_the_picture_itself_normalises_it() {
        use crate::graph::{Activation, BatchNorm, Conv, Graph, Pad, PadAmount, PadMode};
        use crate::tensor::{Shape, Tensor};
        for is_shifted in [false, true] {
            let mut graph = Graph::new(3);
            let pad = Pad { amount: PadAmount::Multiple(32), mode: PadMode::Reflect };
            let mut x = graph.push("pad", pad, &[Graph::INPUT]).expect("a free name");
            if is_shifted {
                let [scale, shift] = [4.0, -2.0].map(|v| vec![v; 3].into());
                let norm = BatchNorm { scale, shift, activation: Activation::None };
                x = graph.push("normalise", norm, &[x]).expect("a free name");
            }
            // The layers need not fit for their kernels to be looked at.
            for (i, [n, c, h, w]) in mobilenet().into_iter().enumerate() {
                let conv = Conv::new(Tensor::zeros(Shape::new(n, c, h, w)).into(), None);
                x = graph.push(&i.to_string(), conv, &[x]).expect("a free name");
            }
            assert_eq!(graph.encoder(), (!is_shifted).then_some("MobileNetV2"));
        }
    }

    #[test]
    fn an_encoder_is_found_among_other_kernels() {
        let decoder = [[256, 768, 3, 3], [256, 256, 3, 3], [64, 64, 3, 3], [2, 16, 3, 3]];
        for resnet in &RESNETS {
            let kernels = [&resnet.kernels()[..], &decoder].concat();
            assert_eq!(named(&kernels), Some(resnet.name));
            assert_eq!(named(&kernels[1..]), None, "{} without its first convolution", resnet.name);
        }
        for &(name, wide, deep) in &EFFICIENT {
            assert_eq!(named(&[&efficientnet(wide, deep)[..], &decoder].concat()), Some(name));
        }
        assert_eq!(named(&mobilenet()), Some("MobileNetV2"));
        assert_eq!(named(&decoder), None);
    }
}
