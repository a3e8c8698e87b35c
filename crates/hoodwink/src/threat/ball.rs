//! The norm ball around the original, intersected with the pixel box.

use rand::Rng;

use super::{Bounds, Distances, Norm, distances};
use crate::image::{Image, Picture};

/// All images within `eps` of the original, in a norm, whose pixels lie in \[0, 1\].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ball {
    /// The norm.
    pub norm: Norm,
    /// The radius, in pixel units.
    pub eps: f64,
}

impl Ball {
    /// How far float rounding may carry a projected image beyond the radius, relative to the radius.
    pub const TOLERANCE: f64 = 1e-5;

    /// Moves `x` to the nearest point of the ball in the Euclidean sense, respecting both limits at once.
    pub fn project(&self, original: &Image, x: &mut Image) {
        // The only point is the original.
        if self.eps == 0.0 {
            x.clone_from(original);
            return;
        }
        let (original, x) = (original.pixels(), x.pixels_mut());
        self.norm.project(original, x, self.eps, &Bounds::PIXELS);
    }

    /// Returns a random point of the ball. The norm determines the distribution.
    pub fn random_point(&self, original: &Image, rng: &mut impl Rng) -> Image {
        let mut x = original.clone();
        self.norm
            .random_step(x.pixels_mut(), self.eps, &Bounds::PIXELS, rng);
        self.project(original, &mut x);
        x
    }

    /// Returns whether `x` lies in the ball, up to [`Ball::TOLERANCE`].
    pub fn contains(&self, original: &Image, x: &Image) -> bool {
        let inside = x.pixels().iter().all(|pixel| (0.0..=1.0).contains(pixel));
        inside && self.holds(&distances(original, x))
    }

    /// Returns whether these distances from the original are within the radius, up to [`Ball::TOLERANCE`].
    pub(crate) fn holds(&self, norms: &Distances) -> bool {
        self.norm.within(norms, self.eps)
    }

    /// Returns the picture to save for `x`: the nearest 8-bit picture if that lies in the ball. Otherwise each value is
    /// rounded towards the original, which lies on the lattice itself, so no norm grows.
    pub fn on_lattice(&self, original: &Image, x: &Image) -> Picture {
        let nearest = x.to_picture();
        if self.contains(original, &nearest.to_image()) {
            return nearest;
        }
        let mut inward = x.clone();
        for (x, &original) in inward.pixels_mut().iter_mut().zip(original.pixels()) {
            // A value that float rounding left slightly below a level counts as on it.
            let slack = 1e-3;
            let levels = f64::from(*x - original) * 255.0;
            let whole = (levels.abs() + slack).floor().copysign(levels);
            *x = original + (whole / 255.0) as f32;
        }
        inward.to_picture()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn a_saved_picture_never_leaves_the_ball() {
        let original = Picture::new(1, 1, 4, vec![0, 100, 200, 255]).unwrap();
        let center = original.to_image();
        for (norm, eps, steps, expected) in [
            // Whole levels stay as they are.
            (
                Norm::Linf,
                8.0 / 255.0,
                [8.0, -8.0, 8.0, -8.0],
                [8, 92, 208, 247],
            ),
            // 2.6 levels would round to 3, which exceeds an eps of 2.6 levels.
            (
                Norm::Linf,
                2.6 / 255.0,
                [2.6, -2.6, 2.6, -2.6],
                [2, 98, 202, 253],
            ),
            (
                Norm::L2,
                2.4 / 255.0,
                [1.0, -1.5, 1.5, -0.5],
                [1, 99, 201, 255],
            ),
            (
                Norm::L1,
                3.0 / 255.0,
                [0.6, 0.6, 0.6, -0.6],
                [0, 100, 200, 255],
            ),
        ] {
            let ball = Ball { norm, eps };
            let mut image = center.clone();
            for (x, step) in image.pixels_mut().iter_mut().zip(steps) {
                *x += step / 255.0;
            }
            ball.project(&center, &mut image);
            let picture = ball.on_lattice(&center, &image);
            assert!(ball.contains(&center, &picture.to_image()), "{norm}");
            assert_eq!(picture.bytes(), expected, "{norm}");
        }
    }
}
