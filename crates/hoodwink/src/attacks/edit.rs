//! Perturbations that serve many pictures.

use rand_chacha::ChaCha8Rng;

use crate::{
    image::Image,
    threat::{Goal, Norm},
};

/// What a perturbation is fitted to.
#[derive(Clone, Debug)]
pub struct Fitting {
    /// Pictures as they are, and what is wanted of each.
    pub pictures: Vec<(Image, Goal)>,
    /// How the perturbation is measured.
    pub norm: Norm,
    /// Its largest size, in pixel units.
    pub eps: f64,
    /// Randomness keyed by seed and attack.
    pub rng: ChaCha8Rng,
}

/// A change that can be made to any picture of the shape it was fitted to.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// These values are added, and the sum is clipped into the pixel box.
    Add(Image),
}

impl Edit {
    /// The changed picture; the picture itself where the shapes differ.
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
