//! Random transformations of images, and how gradients pass back through them.
//!
//! An attack on a model that is robust to them, or that draws them itself, asks for the expectation of its gradient over
//! such transformations (Athalye et al., *Synthesizing Robust Adversarial Examples*, arXiv 1707.07397). Each drawn
//! transformation is an affine map on the values of an image, so its gradient is exact: the transposed linear map.

mod drawn;
mod text;

use drawn::Axis;
pub use drawn::Drawn;
use rand::{Rng, RngExt};

use crate::normal::normal;

/// A family of random transformations. All keep the shape of an image; none clamps values, which would hide gradients.
///
/// As text it is a name with parameters, such as `noise(std=0.05)`. What is left out has its default.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Transformation {
    /// The image made smaller, at a random place in front of zeros (Xie et al., arXiv 1711.01991, section 3.2, where it is
    /// made larger and the model eats more). Bilinear, height and width by the same factor, uniform in `[low, 1]`.
    ResizePad {
        /// The least size, as a share of the full one, in (0, 1].
        low: f64,
    },
    /// Zeros around the image, and a random part of the original size of that: a random shift.
    Crop {
        /// The most that it is shifted, in pixels, up, down, left and right.
        padding: usize,
    },
    /// Left and right exchanged.
    Flip {
        /// How probable it is, in \[0, 1\].
        probability: f64,
    },
    /// Gaussian noise, independent for each value.
    Noise {
        /// Standard deviation, in pixel units, at least 0.
        std: f64,
    },
    /// Uniform noise, independent for each value.
    UniformNoise {
        /// The largest change, in pixel units, at least 0.
        size: f64,
    },
    /// All values multiplied by one factor, uniform in `[low, high]`.
    Brightness {
        /// The least factor, at least 0.
        low: f64,
        /// The largest factor, at least `low`.
        high: f64,
    },
}

impl Transformation {
    /// One transformation of the family, for images of shape `[channels, height, width]`.
    pub fn draw(&self, shape: [usize; 3], rng: &mut impl Rng) -> Drawn {
        let [_, height, width] = shape;
        let mut drawn = Drawn::identity(shape);
        match *self {
            Self::ResizePad { low } => {
                let share = low + (1.0 - low) * rng.random::<f64>();
                drawn.rows = resized(height, share, rng);
                drawn.columns = resized(width, share, rng);
            }
            Self::Crop { padding } => {
                drawn.rows = cropped(height, padding, rng);
                drawn.columns = cropped(width, padding, rng);
            }
            Self::Flip { probability } => {
                if rng.random::<f64>() < probability {
                    drawn.columns = Axis::mirrored(width);
                }
            }
            Self::Noise { std } => drawn.add(|| std * normal(rng)),
            Self::UniformNoise { size } => drawn.add(|| size * (2.0 * rng.random::<f64>() - 1.0)),
            Self::Brightness { low, high } => {
                drawn.factor = low + (high - low) * rng.random::<f64>();
            }
        }
        drawn
    }
}

/// An axis made smaller, at a random place.
fn resized(length: usize, share: f64, rng: &mut impl Rng) -> Axis {
    // The conversion saturates.
    let size = ((length as f64 * share).round() as usize).clamp(length.min(1), length);
    let before = rng.random_range(0..=length - size);
    Axis::resized(length, size, before)
}

/// As many places as there were, at random, of an axis with zeros around it.
fn cropped(length: usize, padding: usize, rng: &mut impl Rng) -> Axis {
    // Farther out all is zero.
    let padding = padding.min(length);
    Axis::cropped(length, padding, rng.random_range(0..=2 * padding))
}

#[cfg(test)]
mod tests;
