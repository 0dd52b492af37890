//! Luma and colour differences to RGB and back, ITU-R BT.601.

use crate::error::Result;
use crate::image::{Depth, Picture};
use crate::tensor::{Shape, Tensor};

/// Weights of red and blue in luma; green has the rest.
const RED: f32 = 0.299;
const BLUE: f32 = 0.114;
const GREEN: f32 = 1.0 - RED - BLUE;

/// The layout and meaning of a frame's planes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Coding {
    /// Bits of a sample, 8 to 16, in one or two bytes, little-endian.
    pub(super) bits: u32,
    /// Whether values use the full range instead of 16 to 235 of 255 and similar. Grey streams always do.
    pub(super) full: bool,
    /// Positions of colour differences, vertically and horizontally; `None` for grey.
    pub(super) chroma: Option<[Axis; 2]>,
}

/// Positions of colour difference samples along an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Axis {
    /// One for each pixel.
    Full,
    /// One for every two pixels, between them.
    HalfBetween,
    /// One for every two pixels, at the first of them.
    HalfFirst,
}

/// The values of black, of white and of no colour, and the span of a colour difference.
struct Levels {
    black: f32,
    luma: f32,
    zero: f32,
    chroma: f32,
    most: f32,
}

/// Positions on an axis and their weights, whose sum is 1.
type Taps = [(usize, f32); 3];

impl Coding {
    pub(super) fn is_grey(self) -> bool {
        self.chroma.is_none()
    }

    pub(super) fn frame_bytes(self, [h, w]: [usize; 2]) -> usize {
        let chroma = self.chroma_size([h, w]).map_or(0, |[h, w]| h.saturating_mul(w).saturating_mul(2));
        h.saturating_mul(w).saturating_add(chroma).saturating_mul(self.sample_bytes())
    }

    /// Decodes a frame. Colours beyond black and white are clamped. Colour differences are interpolated linearly.
    pub(super) fn decode(self, bytes: &[u8], [h, w]: [usize; 2]) -> Result<Picture> {
        let levels = self.levels();
        let depth = if self.bits == 8 { Depth::Eight } else { Depth::Sixteen };
        let (luma, differences) = bytes.split_at(h * w * self.sample_bytes());
        let luma = self.numbers(luma, |v| (v - levels.black) * 255.0 / levels.luma);
        let (Some([down, across]), Some([ch, cw])) = (self.chroma, self.chroma_size([h, w])) else {
            return Picture::new(Tensor::new(Shape::new(1, 1, h, w), luma)?, depth);
        };
        let (rows, columns) = (down.spread(h), across.spread(w));
        let (blue, red) = differences.split_at(ch * cw * self.sample_bytes());
        let [blue, red] = [blue, red].map(|plane| {
            let plane = self.numbers(plane, |v| (v - levels.zero) * 255.0 / levels.chroma);
            resample(plane, cw, &rows, &columns)
        });
        let mut planes = vec![0.0; 3 * h * w];
        let (r, rest) = planes.split_at_mut(h * w);
        let (g, b) = rest.split_at_mut(h * w);
        for (i, &y) in luma.iter().enumerate() {
            let (red, blue) = (y + 2.0 * (1.0 - RED) * red[i], y + 2.0 * (1.0 - BLUE) * blue[i]);
            let green = (y - RED * red - BLUE * blue) / GREEN;
            (r[i], g[i], b[i]) = (red.clamp(0.0, 255.0), green.clamp(0.0, 255.0), blue.clamp(0.0, 255.0));
        }
        Picture::new(Tensor::new(Shape::new(1, 3, h, w), planes)?, depth)
    }

    /// Encodes a frame. A grey picture has no colour. Colour differences are averages around their positions.
    ///
    /// The picture of a grey stream must be grey.
    pub(super) fn encode(self, picture: &Picture) -> Vec<u8> {
        let levels = self.levels();
        let (h, w) = (picture.height(), picture.width());
        let scale = 255.0 / picture.depth().white();
        let last = picture.channels() - 1;
        let [r, g, b] = [0, 1, 2].map(|c: usize| picture.planes().plane(0, c.min(last)));
        let value = |plane: &[f32], i: usize| (plane[i] * scale).clamp(0.0, 255.0);
        let luma: Vec<f32> = match last {
            0 => (0..h * w).map(|i| value(r, i)).collect(),
            _ => (0..h * w).map(|i| RED * value(r, i) + GREEN * value(g, i) + BLUE * value(b, i)).collect(),
        };
        let mut bytes = Vec::with_capacity(self.frame_bytes([h, w]));
        self.store(&luma, &mut bytes, |v| v * levels.luma / 255.0 + levels.black);
        if let Some([down, across]) = self.chroma {
            let (rows, columns) = (down.gather(h), across.gather(w));
            for (plane, weight) in [(b, BLUE), (r, RED)] {
                let difference = (0..h * w).map(|i| (value(plane, i) - luma[i]) / (2.0 * (1.0 - weight)));
                let difference = resample(difference.collect(), w, &rows, &columns);
                self.store(&difference, &mut bytes, |v| v * levels.chroma / 255.0 + levels.zero);
            }
        }
        bytes
    }

    fn sample_bytes(self) -> usize {
        self.bits.div_ceil(8) as usize
    }

    /// Height and width of the planes of colour differences.
    fn chroma_size(self, [h, w]: [usize; 2]) -> Option<[usize; 2]> {
        self.chroma.map(|[down, across]| [down.samples(h), across.samples(w)])
    }

    fn levels(self) -> Levels {
        let step = (1 << (self.bits - 8)) as f32;
        let most = 256.0 * step - 1.0;
        match self.full || self.is_grey() {
            true => Levels { black: 0.0, luma: most, zero: 128.0 * step, chroma: most, most },
            false => Levels {
                black: 16.0 * step,
                luma: 219.0 * step,
                zero: 128.0 * step,
                chroma: 224.0 * step,
                most,
            },
        }
    }

    fn numbers(self, bytes: &[u8], value: impl Fn(f32) -> f32) -> Vec<f32> {
        match self.sample_bytes() {
            1 => bytes.iter().map(|&v| value(f32::from(v))).collect(),
            _ => bytes.as_chunks::<2>().0.iter().map(|&v| value(f32::from(u16::from_le_bytes(v)))).collect(),
        }
    }

    fn store(self, values: &[f32], bytes: &mut Vec<u8>, number: impl Fn(f32) -> f32) {
        let most = self.levels().most;
        let number = |v: f32| number(v).round().clamp(0.0, most) as u16;
        match self.sample_bytes() {
            1 => bytes.extend(values.iter().map(|&v| number(v) as u8)),
            _ => bytes.extend(values.iter().flat_map(|&v| number(v).to_le_bytes())),
        }
    }
}

impl Axis {
    /// Number of samples for that many pixels.
    fn samples(self, pixels: usize) -> usize {
        match self {
            Axis::Full => pixels,
            Axis::HalfBetween | Axis::HalfFirst => pixels.div_ceil(2),
        }
    }

    /// For each pixel, the samples that it lies between.
    fn spread(self, pixels: usize) -> Vec<Taps> {
        let last = self.samples(pixels) - 1;
        let taps = |i: usize| match self {
            Axis::Full => [(i, 1.0), (i, 0.0), (i, 0.0)],
            Axis::HalfBetween => {
                let far = if i.is_multiple_of(2) { (i / 2).saturating_sub(1) } else { (i / 2 + 1).min(last) };
                [(i / 2, 0.75), (far, 0.25), (far, 0.0)]
            }
            Axis::HalfFirst => [(i / 2, 0.5), (i.div_ceil(2).min(last), 0.5), (i / 2, 0.0)],
        };
        (0..pixels).map(taps).collect()
    }

    /// For each sample, the pixels that it averages.
    fn gather(self, pixels: usize) -> Vec<Taps> {
        let last = pixels - 1;
        let taps = |i: usize| match self {
            Axis::Full => [(i, 1.0), (i, 0.0), (i, 0.0)],
            Axis::HalfBetween => [(2 * i, 0.5), ((2 * i + 1).min(last), 0.5), (2 * i, 0.0)],
            Axis::HalfFirst => {
                [((2 * i).saturating_sub(1), 0.25), (2 * i, 0.5), ((2 * i + 1).min(last), 0.25)]
            }
        };
        (0..self.samples(pixels)).map(taps).collect()
    }
}

/// Resamples a plane of that width; one row and one column for each tap.
fn resample(plane: Vec<f32>, width: usize, rows: &[Taps], columns: &[Taps]) -> Vec<f32> {
    if (plane.len() / width, width) == (rows.len(), columns.len()) {
        return plane;
    }
    let sum = |taps: &Taps, value: &dyn Fn(usize) -> f32| -> f32 {
        taps.iter().map(|&(i, weight)| weight * value(i)).sum()
    };
    let wide: Vec<f32> = plane
        .chunks_exact(width)
        .flat_map(|row| columns.iter().map(move |taps| sum(taps, &|i| row[i])))
        .collect();
    let width = columns.len();
    rows.iter()
        .flat_map(|taps| (0..width).map(move |x| (taps, x)))
        .map(|(taps, x)| sum(taps, &|i| wide[i * width + x]))
        .collect()
}
