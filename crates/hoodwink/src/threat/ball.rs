//! Where the attacker may move: a norm ball around the original, cut with the pixel box.

use rand::Rng;

use super::Norm;
use crate::{image::Image, results::Norms};

/// All images within `eps` of the original in some norm whose pixels stay in \[0, 1\].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ball {
    /// The norm.
    pub norm: Norm,
    /// The radius, in pixel units.
    pub eps: f64,
}

impl Ball {
    /// How far float rounding may carry a projected image over the radius, relative to it.
    pub const TOLERANCE: f64 = 1e-5;

    /// The point of the ball nearest to `x` in the Euclidean sense, both limits respected at once.
    pub fn project(&self, original: &Image, x: &mut Image) {
        // A ball of one point needs no search for a multiplier.
        if self.eps == 0.0 {
            x.clone_from(original);
            return;
        }
        self.norm
            .project(original.pixels(), x.pixels_mut(), self.eps);
    }

    /// A random point of the ball; how it is distributed is the norm's business.
    pub fn random_point(&self, original: &Image, rng: &mut impl Rng) -> Image {
        let mut x = original.clone();
        self.norm.random_step(x.pixels_mut(), self.eps, rng);
        self.project(original, &mut x);
        x
    }

    /// Whether `x` lies in the ball, up to [`Ball::TOLERANCE`].
    pub fn contains(&self, original: &Image, x: &Image) -> bool {
        let inside = x.pixels().iter().all(|pixel| (0.0..=1.0).contains(pixel));
        let distance = self.norm.of(&distances(original, x));
        inside && distance <= self.eps * (1.0 + Self::TOLERANCE) + 1e-9
    }
}

/// All norms of the difference of two images of the same shape.
pub fn distances(original: &Image, x: &Image) -> Norms {
    let mut norms = Norms::default();
    for (&a, &b) in original.pixels().iter().zip(x.pixels()) {
        let difference = (f64::from(a) - f64::from(b)).abs();
        norms.l0 += f64::from(u8::from(difference != 0.0));
        norms.l1 += difference;
        norms.l2 += difference * difference;
        norms.linf = norms.linf.max(difference);
    }
    norms.l2 = norms.l2.sqrt();
    norms
}
