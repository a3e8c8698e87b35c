//! ODIN: known pictures answer more to a small step towards certainty than unknown ones.

use std::sync::Arc;

use super::accuracy::largest;
use super::asking::Asking;
use super::logits::softmax;
use super::subset::Subset;
use crate::data::Dataset;
use crate::image::Image;
use crate::oracle::pool::{Model, drive};
use crate::oracle::{Gradients, Halt, Objective};
use crate::{Error, Result};

/// The step and the temperature of ODIN (Liang et al., arXiv:1706.02690). The defaults are those of OpenOOD 1.5.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Odin {
    /// Divides the logits.
    pub temperature: f64,
    /// How far each channel value moves, in pixel units from 0 to 1.
    pub step: f32,
}

impl Default for Odin {
    fn default() -> Self {
        Self {
            temperature: 1000.0,
            step: 0.0014,
        }
    }
}

impl Odin {
    /// The word used in settings and tables.
    pub const WORD: &'static str = "odin";

    /// How strange the pictures at `indices` are, in that order: minus the maximum softmax probability at the temperature, over
    /// the classes in play, after a step of every channel value that raises it. Where the gradient is 0 the value falls, as in
    /// OpenOOD. `tell` is given how many pictures were asked about, of how many.
    ///
    /// # Errors
    /// If the model gives no gradients, a picture cannot be read, or an answer is NaN.
    pub fn score(
        self,
        asking: &Asking,
        model: &dyn Model,
        data: &Dataset,
        indices: &[usize],
        subset: &Subset,
        mut tell: impl FnMut(usize, usize),
    ) -> Result<Vec<f64>> {
        let mut scores = vec![f64::NAN; indices.len()];
        let mut done = 0;
        drive(
            &[model],
            asking.crew,
            indices.iter().copied().enumerate(),
            &Halt::new(),
            |(at, index), handle| {
                Box::pin(async move {
                    let sample = data.get(index)?;
                    let (oracle, image) = (Gradients::of(&handle), sample.picture.to_image());
                    let logits = oracle.logits(&image).await?;
                    let weights = Objective::Linear(self.weights(&logits, subset));
                    let gradient = oracle.gradient(&image, &weights).await?.gradient;
                    let moved = self.moved(&image, &gradient)?;
                    let selected = subset.select(&doubles(&oracle.logits(&moved).await?));
                    let score = -self.probabilities(&selected)[largest(&selected)];
                    match score.is_nan() {
                        true => Err(Error::invalid(format!(
                            "{}: the answer is NaN",
                            sample.file
                        ))),
                        false => Ok((at, score)),
                    }
                })
            },
            |(at, score)| {
                scores[at] = score;
                done += 1;
                tell(done, indices.len());
                Ok(())
            },
        )?;
        Ok(scores)
    }

    fn probabilities(self, selected: &[f64]) -> Vec<f64> {
        let scaled: Vec<f64> = selected.iter().map(|z| z / self.temperature).collect();
        softmax(&scaled)
    }

    /// The gradient of the log probability of the prediction by the logits of all classes of the model, but for the temperature.
    fn weights(self, logits: &[f32], subset: &Subset) -> Arc<[f32]> {
        let logits = doubles(logits);
        let selected = subset.select(&logits);
        let probabilities = self.probabilities(&selected);
        let said = largest(&selected);
        let mut weights = vec![0.0; logits.len()];
        for (place, members) in subset.members().iter().enumerate() {
            let largest = members
                .iter()
                .copied()
                .max_by(|&a, &b| logits[a].total_cmp(&logits[b]).then(b.cmp(&a)));
            let own = f64::from(u8::from(place == said));
            if let Some(class) = largest {
                weights[class] = (own - probabilities[place]) as f32;
            }
        }
        weights.into()
    }

    fn moved(self, image: &Image, gradient: &Image) -> Result<Image> {
        let pairs = image.pixels().iter().zip(gradient.pixels());
        let pixels = pairs.map(|(pixel, slope)| match *slope > 0.0 {
            true => pixel + self.step,
            false => pixel - self.step,
        });
        Image::new(image.shape(), pixels.collect())
    }
}

fn doubles(logits: &[f32]) -> Vec<f64> {
    logits.iter().copied().map(f64::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_step_is_towards_the_prediction_among_the_classes_in_play() {
        let odin = Odin {
            temperature: 1.0,
            step: 0.5,
        };
        let subset = Subset::of("some", vec![0, 2], 3).unwrap();
        // Class 1 is largest and not in play.
        let weights = odin.weights(&[1.0, 9.0, 0.0], &subset);
        let p = 1.0 / (1.0 + 1.0f32.exp());
        assert!((weights[0] - p).abs() < 1e-6 && weights[1] == 0.0);
        assert!((weights[2] + p).abs() < 1e-6);
        let image = Image::new([1, 1, 3], vec![0.5; 3]).unwrap();
        let gradient = Image::new([1, 1, 3], vec![2.0, -1.0, 0.0]).unwrap();
        let moved = odin.moved(&image, &gradient).unwrap();
        assert_eq!(moved.pixels(), [1.0, 0.0, 0.0]);
    }
}
