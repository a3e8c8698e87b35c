//! Norms. Each has its own file with the projection, the steepest step and the random point.

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
    /// The largest change of any value.
    Linf,
    /// The Euclidean length.
    L2,
    /// The sum of absolute changes.
    L1,
    /// The number of values that change; each channel counts. Not convex, and strictly speaking not a norm.
    L0,
}

impl Norm {
    /// All norms.
    pub const ALL: [Self; 4] = [Self::Linf, Self::L2, Self::L1, Self::L0];

    /// The norms with convex balls, which suit projected gradient ascent.
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

    /// Returns this norm from all measured norms.
    pub fn of(self, norms: &Distances) -> f64 {
        match self {
            Self::Linf => norms.linf,
            Self::L2 => norms.l2,
            Self::L1 => norms.l1,
            Self::L0 => norms.l0,
        }
    }

    /// Returns whether these distances are within a radius in this norm, up to
    /// [`Ball::TOLERANCE`](super::Ball::TOLERANCE) and the rounding error of single precision near 1, which matters if the radius is small.
    pub fn within(self, norms: &Distances, eps: f64) -> bool {
        self.of(norms) <= eps * (1.0 + super::Ball::TOLERANCE) + f64::from(f32::EPSILON) / 2.0
    }

    /// Moves `x` to the nearest point (in the Euclidean sense) that lies both within `eps` of `original` and within the
    /// bounds. `original` must lie within the bounds.
    pub fn project(self, original: &[f32], x: &mut [f32], eps: f64, bounds: &Bounds) {
        match self {
            Self::Linf => linf::project(original, x, eps, bounds),
            Self::L2 => l2::project(original, x, eps, bounds),
            Self::L1 => l1::project(original, x, eps, bounds),
            Self::L0 => l0::project(original, x, eps, bounds),
        }
    }

    /// Returns the direction of unit norm in which a loss with this gradient grows fastest from `x`, or zeros if the
    /// gradient is zero. L1 and L0 move only a few values; those are chosen among the values that the bounds allow to
    /// move.
    pub fn steepest(self, gradient: &[f32], x: &[f32], bounds: &Bounds) -> Vec<f32> {
        match self {
            Self::Linf => linf::steepest(gradient),
            Self::L2 => l2::steepest(gradient),
            Self::L1 => l1::steepest(gradient, x, bounds),
            Self::L0 => l0::steepest(gradient, x, bounds),
        }
    }

    /// Adds a random perturbation, uniform in the ball of radius `eps`. It ignores the bounds, except in L0, whose ball
    /// is unbounded without them.
    pub fn random_step(self, x: &mut [f32], eps: f64, bounds: &Bounds, rng: &mut impl Rng) {
        match self {
            Self::Linf => linf::random_step(x, eps, rng),
            Self::L2 => l2::random_step(x, eps, rng),
            Self::L1 => l1::random_step(x, eps, rng),
            Self::L0 => l0::random_step(x, eps, bounds, rng),
        }
    }
}

/// Returns whether a value can move uphill within its bounds.
fn is_free(gradient: f32, x: f32, (low, high): (f64, f64)) -> bool {
    let x = f64::from(x);
    (gradient > 0.0 && x < high) || (gradient < 0.0 && x > low)
}

/// Like `f64::clamp`, but without the check of the limits, which would prevent vectorisation.
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
        let word = text.to_lowercase().replace(['_', '-', ' '], "");
        match word.strip_prefix('l').unwrap_or(&word) {
            "inf" | "infinity" | "∞" => Ok(Self::Linf),
            "2" => Ok(Self::L2),
            "1" => Ok(Self::L1),
            "0" => Ok(Self::L0),
            _ => Err(unknown("norm", text, &Self::ALL.map(Self::word))),
        }
    }
}

#[cfg(test)]
mod tests;
