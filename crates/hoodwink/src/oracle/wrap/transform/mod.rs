//! Random transformations of images, and how gradients pass back through them.
//!
//! An attack on a model that is robust to such transformations, or that applies them itself, uses the expectation of
//! its gradient over them (Athalye et al., *Synthesizing Robust Adversarial Examples*, arXiv 1707.07397). Each drawn
//! transformation is an affine map on the values of an image, so its gradient is exact: the transposed linear map.

mod drawn;
mod text;

use drawn::Axis;
pub use drawn::Drawn;
use rand::{Rng, RngExt};

use crate::normal::normal;

/// A family of random transformations. All keep the shape of an image. None clamps values, since clamping would hide
/// gradients.
///
/// The text form is a name with parameters, such as `noise(std=0.05)`. Omitted parameters have their defaults.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Transformation {
    /// The image shrunk and placed at random on a background of zeros. (In Xie et al., arXiv 1711.01991, section 3.2,
    /// the image is enlarged and the model takes a larger input.) Bilinear; height and width share one factor, uniform
    /// in `[low, 1]`.
    ResizePad {
        /// The smallest size as a share of the full one, in (0, 1].
        low: f64,
    },
    /// A random shift: the image is padded with zeros, and a random part of the original size is cut out.
    Crop {
        /// The maximum shift up, down, left and right, in pixels.
        padding: usize,
    },
    /// A swap of left and right.
    Flip {
        /// The probability of a swap, in \[0, 1\].
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
        /// The smallest factor, at least 0.
        low: f64,
        /// The largest factor, at least `low`.
        high: f64,
    },
}

impl Transformation {
    /// Draws one transformation for images of shape `[channels, height, width]`.
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

/// Shrinks an axis and places it at random.
fn resized(length: usize, share: f64, rng: &mut impl Rng) -> Axis {
    // The conversion saturates.
    let size = ((length as f64 * share).round() as usize).clamp(length.min(1), length);
    let before = rng.random_range(0..=length - size);
    Axis::resized(length, size, before)
}

/// Cuts as many places as there were, at random, from an axis with zeros around it.
fn cropped(length: usize, padding: usize, rng: &mut impl Rng) -> Axis {
    // Farther out everything is zero.
    let padding = padding.min(length);
    Axis::cropped(length, padding, rng.random_range(0..=2 * padding))
}

#[cfg(test)]
mod tests;
