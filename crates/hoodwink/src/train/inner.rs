//! The attack inside adversarial training.

use onnx_grad::Tensor;
use rand_chacha::ChaCha8Rng;

use super::crew::Worker;
use crate::{Result, image::Image, threat::Ball};

/// Adversarial training (Madry et al., arXiv 1706.06083, section 2.1): every training picture is first moved by
/// projected gradient ascent on its cross-entropy, from a random point of the ball.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adversarial {
    /// Norm and radius, in pixel units.
    pub ball: Ball,
    /// Length of a step in the same norm.
    pub step_size: f64,
    /// Number of steps; at least 1.
    pub steps: usize,
    /// Over so many epochs radius and step grow linearly to their full size: from a large radius at once, small networks
    /// often do not learn at all.
    pub warm_up_epochs: usize,
}

impl Adversarial {
    /// The attack after `epochs` (a fraction counts) have passed.
    pub(super) fn after(self, epochs: f64) -> Self {
        let part = match self.warm_up_epochs {
            0 => 1.0,
            warm_up => (epochs / warm_up as f64).min(1.0),
        };
        Self {
            ball: Ball {
                eps: self.ball.eps * part,
                ..self.ball
            },
            step_size: self.step_size * part,
            ..self
        }
    }

    /// Moves each image of a shard, each with its own randomness.
    ///
    /// This is not the attack of the registry: all pictures take all steps together, at the same weights as the step
    /// of training that follows, so there is nothing for the batcher to gather or refill.
    pub(super) fn attack(
        &self,
        worker: &mut Worker,
        originals: &[Image],
        labels: &[usize],
        weights: &[Tensor],
        rngs: &mut [ChaCha8Rng],
    ) -> Result<Vec<Image>> {
        let starts = originals.iter().zip(rngs);
        let mut images: Vec<Image> = starts
            .map(|(original, rng)| self.ball.random_point(original, rng))
            .collect();
        for _ in 0..self.steps {
            let gradients = worker.pixel_gradients(&images, labels, weights)?;
            for ((x, original), gradient) in images.iter_mut().zip(originals).zip(gradients) {
                let direction = self.ball.norm.steepest(gradient.pixels(), x.pixels());
                for (x, along) in x.pixels_mut().iter_mut().zip(direction) {
                    *x += self.step_size as f32 * along;
                }
                self.ball.project(original, x);
            }
        }
        Ok(images)
    }
}
