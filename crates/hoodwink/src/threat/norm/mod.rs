//! Distances: how far an image may be moved. One file each: projection, steepest step, random point.

mod l0;
mod l1;
mod l2;
mod linf;

use std::{fmt, str::FromStr};

use rand::Rng;

use super::{Bounds, Distances};
use crate::{Error, Result, nearest::unknown};

/// A norm on perturbations in pixel space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norm {
    /// Largest change of any value.
    Linf,
    /// Euclidean length.
    L2,
    /// Sum of changes.
    L1,
    /// Number of values that change, channels counted apart. Not convex, and no norm in the strict sense.
    L0,
}

impl Norm {
    /// All norms.
    pub const ALL: [Self; 4] = [Self::Linf, Self::L2, Self::L1, Self::L0];

    /// Those with convex balls, in which gradient ascent with projections is at home.
    pub const CONVEX: [Self; 3] = [Self::Linf, Self::L2, Self::L1];

    /// The word used in settings and tables.
    pub fn word(self) -> &'static str {
        match self {
            Self::Linf => "linf",
            Self::L2 => "l2",
            Self::L1 => "l1",
            Self::L0 => "l0",
        }
    }

    /// This norm among all that were measured.
    pub fn of(self, norms: &Distances) -> f64 {
        match self {
            Self::Linf => norms.linf,
            Self::L2 => norms.l2,
            Self::L1 => norms.l1,
            Self::L0 => norms.l0,
        }
    }

    /// Whether these distances are within a radius in this norm, up to [`Ball::TOLERANCE`](super::Ball::TOLERANCE)
    /// and what single precision does to a value near 1, which is more where the radius is small.
    pub fn within(self, norms: &Distances, eps: f64) -> bool {
        self.of(norms) <= eps * (1.0 + super::Ball::TOLERANCE) + f64::from(f32::EPSILON) / 2.0
    }

    /// Moves `x` to the nearest point (in the Euclidean sense) that is within `eps` of `original` *and* within the bounds,
    /// as `original` is itself.
    pub fn project(self, original: &[f32], x: &mut [f32], eps: f64, bounds: &Bounds) {
        match self {
            Self::Linf => linf::project(original, x, eps, bounds),
            Self::L2 => l2::project(original, x, eps, bounds),
            Self::L1 => l1::project(original, x, eps, bounds),
            Self::L0 => l0::project(original, x, eps, bounds),
        }
    }

    /// The direction of unit norm in which a loss with this gradient grows fastest from `x`; all zero where the gradient
    /// is. In L1 and L0, where few values move, they are those to which the bounds leave room.
    pub fn steepest(self, gradient: &[f32], x: &[f32], bounds: &Bounds) -> Vec<f32> {
        match self {
            Self::Linf => linf::steepest(gradient),
            Self::L2 => l2::steepest(gradient),
            Self::L1 => l1::steepest(gradient, x, bounds),
            Self::L0 => l0::steepest(gradient, x, bounds),
        }
    }

    /// Adds a random perturbation, uniform in the ball of radius `eps`. The bounds are not respected, except in L0, whose
    /// ball has no end without them.
    pub fn random_step(self, x: &mut [f32], eps: f64, bounds: &Bounds, rng: &mut impl Rng) {
        match self {
            Self::Linf => linf::random_step(x, eps, rng),
            Self::L2 => l2::random_step(x, eps, rng),
            Self::L1 => l1::random_step(x, eps, rng),
            Self::L0 => l0::random_step(x, eps, bounds, rng),
        }
    }
}

/// Whether a value that would climb this gradient can move within its bounds.
fn is_free(gradient: f32, x: f32, (low, high): (f64, f64)) -> bool {
    let x = f64::from(x);
    (gradient > 0.0 && x < high) || (gradient < 0.0 && x > low)
}

/// As `f64::clamp`, without its check of the limits: it would keep the loop from being vectorised.
fn clip(x: f64, low: f64, high: f64) -> f64 {
    let raised = if x < low { low } else { x };
    if raised > high { high } else { raised }
}

impl fmt::Display for Norm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Norm {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let word = text.to_ascii_lowercase();
        Self::ALL
            .into_iter()
            .find(|norm| norm.word() == word)
            .ok_or_else(|| unknown("norm", text, &Self::ALL.map(Self::word)))
    }
}

#[cfg(test)]
mod tests;
