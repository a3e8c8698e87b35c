//! Perturbations shared by many pictures.

use rand_chacha::ChaCha8Rng;

use crate::{
    image::Image,
    threat::{Goal, Norm},
};

/// The task of fitting one perturbation.
#[derive(Clone, Debug)]
pub struct Fitting {
    /// Original pictures, each with its goal.
    pub pictures: Vec<(Image, Goal)>,
    /// The norm that measures the perturbation.
    pub norm: Norm,
    /// Its maximum size, in pixel units.
    pub eps: f64,
    /// Randomness keyed by seed and attack.
    pub rng: ChaCha8Rng,
}

/// A change that applies to any picture of the shape it was fitted to.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// Adds these values and clips the sum to the pixel box.
    Add(Image),
}

impl Edit {
    /// Returns the changed picture, or the unchanged picture if the shapes differ.
    pub fn apply(&self, original: &Image) -> Image {
        let Self::Add(perturbation) = self;
        let mut x = original.clone();
        if x.shape() == perturbation.shape() {
            let values = x.pixels_mut().iter_mut().zip(perturbation.pixels());
            for (x, added) in values {
                *x = (*x + added).clamp(0.0, 1.0);
            }
        }
        x
    }
}
