//! The region in which the attacker may move.

use std::sync::Arc;

use rand::Rng;

use super::{Ball, Bounds, Distances, Norm, distances};
use crate::{
    Error, Result,
    image::{Image, Picture},
};

/// The images that an attacker may make from one original. They lie in the box, within the radius (if there is one),
/// and differ from the original only where the mask allows. For pictures the box is the pixel box.
#[derive(Clone, Debug)]
pub struct Region {
    /// The original.
    pub center: Image,
    /// The lower and upper bounds of the values.
    pub bounds: Bounds,
    /// The norm that measures distances from the original.
    pub norm: Norm,
    /// The maximum distance; `None` if the attacker looks for the smallest one.
    pub radius: Option<f64>,
    /// For each value, whether it may change; `None` if all may.
    pub mask: Option<Arc<[bool]>>,
}

impl Region {
    /// Creates the region of pictures within a radius of the original, or the whole pixel box if there is no radius.
    pub fn new(center: Image, norm: Norm, radius: Option<f64>) -> Self {
        Self {
            center,
            bounds: Bounds::PIXELS,
            norm,
            radius,
            mask: None,
        }
    }

    /// Returns the same region in another box.
    ///
    /// # Errors
    /// The box is for another number of values, or the original lies outside it.
    pub fn bounded(self, bounds: Bounds) -> Result<Self> {
        match bounds.contains(self.center.pixels()) {
            true => Ok(Self { bounds, ..self }),
            false => Err(Error::invalid(
                "the original lies outside the box that limits the attacker",
            )),
        }
    }

    /// Returns the same region with a mask of the values that may change.
    pub fn masked(self, mask: Arc<[bool]>) -> Self {
        Self {
            mask: Some(mask),
            ..self
        }
    }

    /// Returns the same region with another radius.
    pub fn within(&self, radius: Option<f64>) -> Self {
        Self {
            radius,
            ..self.clone()
        }
    }

    /// Moves `x` to the nearest point of the region in the Euclidean sense, respecting all limits at once.
    pub fn project(&self, x: &mut Image) {
        if let Some(mask) = &self.mask {
            let center = self.center.pixels();
            let values = x.pixels_mut().iter_mut().zip(center).zip(mask.iter());
            for ((x, center), _) in values.filter(|(_, free)| !**free) {
                *x = *center;
            }
        }
        match self.radius {
            // The only point is the original.
            Some(0.0) => x.clone_from(&self.center),
            Some(eps) => {
                let (center, x) = (self.center.pixels(), x.pixels_mut());
                self.norm.project(center, x, eps, &self.bounds);
            }
            None => self.bounds.clamp(x.pixels_mut()),
        }
    }

    /// Returns a random point: distributed as the norm determines in the ball, or uniform in the box.
    pub fn random_point(&self, rng: &mut impl Rng) -> Image {
        use rand::RngExt as _;
        let mut x = self.center.clone();
        match self.radius {
            Some(radius) => self
                .norm
                .random_step(x.pixels_mut(), radius, &self.bounds, rng),
            None => {
                for (at, x) in x.pixels_mut().iter_mut().enumerate() {
                    let (low, high) = self.bounds.at(at);
                    *x = (low + (high - low) * rng.random::<f64>()) as f32;
                }
            }
        }
        self.project(&mut x);
        x
    }

    /// Returns the distance of `x` from the original in the region's norm.
    pub fn distance(&self, x: &Image) -> f64 {
        self.norm.of(&self.distances(x))
    }

    /// Returns the distance of `x` from the original in every norm.
    pub fn distances(&self, x: &Image) -> Distances {
        distances(&self.center, x)
    }

    /// Returns whether `x` lies in the region, up to [`Ball::TOLERANCE`].
    pub fn contains(&self, x: &Image) -> bool {
        let is_free = |at: usize| self.mask.as_ref().is_none_or(|mask| mask[at]);
        let mut values = x.pixels().iter().zip(self.center.pixels()).enumerate();
        let within = |eps| self.norm.within(&self.distances(x), eps);
        self.bounds.contains(x.pixels())
            && values.all(|(at, (x, center))| is_free(at) || x == center)
            && self.radius.is_none_or(within)
    }

    /// Returns the picture to save for `x`: the nearest 8-bit picture if that lies in the region. Otherwise each value
    /// is rounded towards the original, which lies on the lattice itself.
    pub fn on_lattice(&self, x: &Image) -> Picture {
        let norm = self.norm;
        match self.radius {
            Some(eps) => Ball { norm, eps }.on_lattice(&self.center, x),
            None => x.to_picture(),
        }
    }

    /// Returns whether the region can contain 8-bit pictures other than the original.
    pub fn holds_pictures(&self) -> bool {
        self.radius.is_none_or(|radius| radius >= 1.0 / 255.0)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn points_stay_within_radius_box_and_mask() {
        let center = Image::new([1, 2, 3], vec![0.0, 0.2, 0.4, 0.6, 0.8, 1.0]).unwrap();
        let mask: Arc<[bool]> = [true, false, true, true, false, true].into();
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for norm in Norm::ALL {
            let small = if norm == Norm::L0 { 1.0 } else { 0.3 };
            for radius in [None, Some(small), Some(2.0)] {
                let region = Region::new(center.clone(), norm, radius).masked(mask.clone());
                for _ in 0..20 {
                    let x = region.random_point(&mut rng);
                    assert!(region.contains(&x), "{norm} {radius:?}: {x:?}");
                    assert!(region.distance(&x) <= radius.unwrap_or(9.0) * 1.00001);
                    let mut far = x.clone();
                    far.pixels_mut()[0] += 3.0;
                    far.pixels_mut()[1] -= 0.1;
                    assert!(!region.contains(&far));
                    region.project(&mut far);
                    assert!(region.contains(&far), "{norm} {radius:?}: {far:?}");
                }
            }
        }
    }
}
