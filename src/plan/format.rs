//! Formats of a session's input and result: f32 planes, or the bytes of a picture. The device converts bytes, so a
//! quarter of the data moves, and no CPU core touches a pixel.

use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::tensor::{Shape, Tensor};

/// A named tensor that a session takes or gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Shape,
    /// Its bytes in its format, in whole words.
    pub(crate) bytes: u64,
}

impl Port {
    /// What messages and layer times call it.
    pub(crate) fn label(&self, kind: &str) -> String {
        if self.name == kind { kind.into() } else { format!("{kind} {}", self.name) }
    }
}

/// The inputs that a caller gives and the outputs that it gets.
pub(crate) fn ports(
    graph: &Graph,
    shapes: &[Option<Shape>],
    input: &InputFormat,
    output: OutputFormat,
) -> Result<[Vec<Port>; 2]> {
    let port = |name: &str, value: ValueId, bytes: &dyn Fn(Shape) -> Result<usize>| {
        let shape =
            shapes[value.index()].ok_or_else(|| Error::Model(format!("no node makes the output {name}")))?;
        Ok(Port { name: name.into(), shape, bytes: (bytes(shape)? as u64).next_multiple_of(4) })
    };
    let inputs = graph.caller_inputs().enumerate().map(|(place, of)| {
        let format = at(input, place);
        port(&of.name, of.value, &|shape| format.check(shape).map(|()| format.bytes(shape)))
    });
    let outputs = graph.caller_outputs().enumerate().map(|(place, of)| {
        let format = at(&output, place);
        port(&of.name, of.value, &|shape| format.check(shape).map(|()| format.bytes(shape)))
    });
    Ok([inputs.collect::<Result<_>>()?, outputs.collect::<Result<_>>()?])
}

/// The format of an input or output by its place: a session's formats are those of the first, all others are planar.
pub(super) fn at<F: Clone + Default>(first: &F, place: usize) -> F {
    if place == 0 { first.clone() } else { F::default() }
}

/// Bits of a picture's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Bits {
    /// 0 to 255.
    #[default]
    Eight,
    /// 0 to 65,535, little-endian.
    Sixteen,
}

impl Bits {
    /// 8 or 16.
    pub const fn count(self) -> u32 {
        match self {
            Bits::Eight => 8,
            Bits::Sixteen => 16,
        }
    }

    fn bytes(self) -> usize {
        self.count() as usize / 8
    }
}

/// The layout of the input.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum InputFormat {
    /// f32, NCHW.
    #[default]
    Planar,
    /// A picture's numbers, NHWC. Channel `c` of the network is `number * scale[c] + shift[c]`.
    Picture {
        /// Bits of each number.
        bits: Bits,
        /// One factor for each channel.
        scale: Vec<f32>,
        /// One summand for each channel.
        shift: Vec<f32>,
    },
}

/// The layout of the result.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum OutputFormat {
    /// f32, NCHW.
    #[default]
    Planar,
    /// A picture's numbers, NHWC: `value * scale`, rounded to even, clamped to the bits.
    Picture {
        /// Bits of each number.
        bits: Bits,
        /// The factor.
        scale: f32,
    },
    /// One byte for each pixel, its class number. With one channel, class 1 is above the threshold. With several, the
    /// class has the largest value, the first of equal ones.
    Classes {
        /// The threshold for one channel.
        threshold: f32,
    },
}

impl InputFormat {
    /// Bytes of an input of that shape.
    pub fn bytes(&self, shape: Shape) -> usize {
        match self {
            InputFormat::Planar => shape.elements().saturating_mul(4),
            InputFormat::Picture { bits, .. } => shape.elements().saturating_mul(bits.bytes()),
        }
    }

    fn check(&self, shape: Shape) -> Result<()> {
        match self {
            InputFormat::Picture { scale, shift, .. } if scale.len() != shape.c || shift.len() != shape.c => {
                let expected = format!("a scale and a shift for each of {} channels", shape.c);
                Err(Error::shape("input format", expected, format!("{} and {}", scale.len(), shift.len())))
            }
            _ => Ok(()),
        }
    }

    /// Decodes bytes of this format to a tensor. The device computes the same.
    pub fn decode(&self, shape: Shape, bytes: &[u8]) -> Result<Tensor> {
        self.check(shape)?;
        if bytes.len() != self.bytes(shape) {
            return Err(Error::shape("input", format!("{} bytes", self.bytes(shape)), bytes.len()));
        }
        match self {
            InputFormat::Planar => Tensor::new(shape, bytemuck::pod_collect_to_vec(bytes)),
            InputFormat::Picture { bits, scale, shift } => Ok(Tensor::from_fn(shape, |i| {
                let (pixel, plane) = (i % shape.pixels(), i / shape.pixels());
                let (n, c) = (plane / shape.c, plane % shape.c);
                let at = ((n * shape.pixels() + pixel) * shape.c + c) * bits.bytes();
                let number = match bits {
                    Bits::Eight => f32::from(bytes[at]),
                    Bits::Sixteen => f32::from(u16::from_le_bytes([bytes[at], bytes[at + 1]])),
                };
                number * scale[c] + shift[c]
            })),
        }
    }
}

impl OutputFormat {
    /// Bytes of a result of that shape.
    pub fn bytes(&self, shape: Shape) -> usize {
        match self {
            OutputFormat::Planar => shape.elements().saturating_mul(4),
            OutputFormat::Picture { bits, .. } => shape.elements().saturating_mul(bits.bytes()),
            OutputFormat::Classes { .. } => shape.n.saturating_mul(shape.pixels()),
        }
    }

    fn check(&self, shape: Shape) -> Result<()> {
        match self {
            OutputFormat::Classes { .. } if shape.c > 256 => {
                Err(Error::shape("output format", "at most 256 classes in a byte", shape.c))
            }
            _ => Ok(()),
        }
    }

    /// Encodes a tensor in this format. The device computes the same.
    pub fn encode(&self, tensor: &Tensor) -> Vec<u8> {
        let shape = tensor.shape();
        let pixels = (0..shape.n).flat_map(|n| (0..shape.pixels()).map(move |pixel| (n, pixel)));
        let value = |n: usize, c: usize, pixel: usize| tensor.plane(n, c)[pixel];
        match *self {
            OutputFormat::Planar => bytemuck::cast_slice(tensor.data()).to_vec(),
            OutputFormat::Picture { bits, scale } => pixels
                .flat_map(|(n, pixel)| (0..shape.c).map(move |c| (n, c, pixel)))
                .flat_map(|(n, c, pixel)| {
                    let most = ((1u32 << bits.count()) - 1) as f32;
                    let number = (value(n, c, pixel) * scale).clamp(0.0, most).round_ties_even() as u16;
                    number.to_le_bytes().into_iter().take(bits.bytes())
                })
                .collect(),
            OutputFormat::Classes { threshold } if shape.c == 1 => {
                pixels.map(|(n, pixel)| u8::from(value(n, 0, pixel) > threshold)).collect()
            }
            OutputFormat::Classes { .. } => pixels
                .map(|(n, pixel)| {
                    let larger =
                        |best: usize, c| if value(n, c, pixel) > value(n, best, pixel) { c } else { best };
                    (1..shape.c).fold(0, larger) as u8
                })
                .collect(),
        }
    }
}
