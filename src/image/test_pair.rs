//! Runs a model's own test tensors through recipe and network.

use super::{Prepared, read_npy};
use crate::error::{Error, Result};
use crate::model::{Model, TestArray, TestPair};
use crate::session::{Device, Session, SessionOptions};
use crate::tensor::{Shape, Tensor};
use crate::verify::Difference;

impl TestPair {
    /// Runs the test input through the model on a device and compares the result with the test output.
    ///
    /// # Errors
    /// When an array cannot be read or has other axes than the description states, and errors of a session.
    pub fn run(&self, model: &Model, device: Device, options: &SessionOptions) -> Result<Difference> {
        let (input, want) = (self.input.read()?, self.output.read()?);
        // The description refers to the values of the array, not to those of a picture.
        let mut model = model.clone();
        model.recipe.input.scale = 1.0;
        let prepared = Prepared::new(input, &model)?;
        let session = Session::with_options(&model, prepared.tensor().shape(), device, options)?;
        let got = prepared.finish(session.run(prepared.tensor())?, &model.recipe)?;
        if got.shape() != want.shape() {
            return Err(Error::shape(
                self.output.path.display().to_string(),
                format!("the result's shape {}", got.shape()),
                want.shape(),
            ));
        }
        Ok(Difference::of(&got, &want))
    }

    /// Whether a difference is within the tolerance of the description.
    pub fn passes(&self, difference: &Difference) -> bool {
        difference.max_abs <= self.tolerance
    }
}

impl TestArray {
    /// The array in the order NCHW.
    fn read(&self) -> Result<Tensor> {
        let array = read_npy(&self.path)?;
        let Shape { n, c, h, w } = array.shape();
        let extents = [n, c, h, w];
        let steps = [c * h * w, h * w, w, 1];
        // The file's axes are the last ones. Missing axes have length 1.
        let missing = || "bcyx".chars().filter(|axis| !self.axes.contains(*axis));
        let order: Vec<char> = missing().chain(self.axes.chars()).collect();
        let place = |axis: char| order.iter().position(|&a| a == axis).filter(|_| order.len() == 4);
        let [Some(n), Some(c), Some(y), Some(x)] = ['b', 'c', 'y', 'x'].map(place) else {
            let expected = "axes among b, c, y and x";
            return Err(Error::shape(self.path.display().to_string(), expected, &self.axes));
        };
        let shape = Shape::new(extents[n], extents[c], extents[y], extents[x]);
        Ok(Tensor::from_fn(shape, |i| {
            let (px, py) = (i % shape.w, i / shape.w % shape.h);
            let plane = i / shape.pixels();
            let (pc, pn) = (plane % shape.c, plane / shape.c);
            array.data()[pn * steps[n] + pc * steps[c] + py * steps[y] + px * steps[x]]
        }))
    }
}
