//! Norms, and scales and shifts for each channel.

use super::{Attribute, Network, UNSET, channels};
use crate::error::Result;
use crate::import::ncnn::param::Layer;

use Attribute::{Float, Int};

impl<'a> Network<'a> {
    pub(super) fn scale_and_shift(&mut self, layer: &Layer<'a>) -> Result<String> {
        let x = self.input(layer, 0)?;
        if layer.op == "Scale" && layer.int(0, 0) == UNSET {
            let scale = self.input(layer, 1)?;
            return Ok(self.node(layer, "Mul", &[&x, &scale], &[]));
        }
        let count = channels(layer, 0)?;
        let (scale, shift) = if layer.op == "BatchNorm" {
            let [slope, mean, var, bias] = [(); 4].map(|()| self.weights.plain(count));
            let (slope, mean, var, bias) = (slope?, mean?, var?, bias?);
            let eps = layer.float(1, 0.0);
            let scale = |(s, v): (&f32, &f32)| (f64::from(*s) / (f64::from(*v) + eps).sqrt()) as f32;
            let scale: Vec<f32> = slope.iter().zip(&var).map(scale).collect();
            let shift = (0..count).map(|c| bias[c] - mean[c] * scale[c]).collect();
            (scale, shift)
        } else {
            let scale = self.weights.plain(count)?;
            let shift = if layer.flag(1) { self.weights.plain(count)? } else { vec![0.0; count] };
            (scale, shift)
        };
        let scale = self.floats(layer, &[1, count, 1, 1], scale)?;
        let shift = self.floats(layer, &[1, count, 1, 1], shift)?;
        let y = self.node(layer, "Mul", &[&x, &scale], &[]);
        Ok(self.node(layer, "Add", &[&y, &shift], &[]))
    }

    /// Statistics of each channel, or of each group of channels.
    pub(super) fn norm(&mut self, layer: &Layer<'a>) -> Result<String> {
        let x = self.input(layer, 0)?;
        let is_group = layer.op == "GroupNorm";
        let count = channels(layer, i64::from(is_group))?;
        let [eps_at, affine_at] = if is_group { [2, 3] } else { [1, 2] };
        let eps = layer.float(eps_at, 1e-3) as f32;
        let affine = layer.int(affine_at, 1) != 0;
        let (scale, shift) = match affine {
            true => (self.weights.plain(count)?, self.weights.plain(count)?),
            false => (vec![1.0; count], vec![0.0; count]),
        };
        if !is_group {
            let scale = self.floats(layer, &[count], scale)?;
            let shift = self.floats(layer, &[count], shift)?;
            return Ok(self.node(
                layer,
                "InstanceNormalization",
                &[&x, &scale, &shift],
                &[("epsilon", Float(eps))],
            ));
        }
        let groups = layer.size(0, 1)?.clamp(1, count);
        let [ones, zeros] = [1.0, 0.0].map(|value| self.floats(layer, &[groups], vec![value; groups]));
        let (ones, zeros) = (ones?, zeros?);
        let split = self.ints(layer, &[1, groups as i64, -1])?;
        let whole = self.node(layer, "Shape", &[&x], &[]);
        let y = self.node(layer, "Reshape", &[&x, &split], &[]);
        let y = self.node(layer, "InstanceNormalization", &[&y, &ones, &zeros], &[("epsilon", Float(eps))]);
        let y = self.node(layer, "Reshape", &[&y, &whole], &[]);
        let scale = self.floats(layer, &[1, count, 1, 1], scale)?;
        let shift = self.floats(layer, &[1, count, 1, 1], shift)?;
        let y = self.node(layer, "Mul", &[&y, &scale], &[]);
        Ok(self.node(layer, "Add", &[&y, &shift], &[]))
    }

    /// Statistics of each row, or with channels last, of each pixel.
    pub(super) fn layer_norm(&mut self, layer: &Layer<'a>) -> Result<String> {
        let x = self.input(layer, 0)?;
        let (count, eps) = (channels(layer, 0)?, layer.float(1, 1e-3) as f32);
        let (scale, shift) = match layer.int(2, 1) != 0 {
            true => (self.weights.plain(count)?, self.weights.plain(count)?),
            false => (vec![1.0; count], vec![0.0; count]),
        };
        let scale = self.floats(layer, &[count], scale)?;
        let shift = self.floats(layer, &[count], shift)?;
        let attributes = [("axis", Int(-1)), ("epsilon", Float(eps))];
        Ok(self.node(layer, "LayerNormalization", &[&x, &scale, &shift], &attributes))
    }
}
