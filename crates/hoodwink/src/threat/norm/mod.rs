//! Norms: how far an image may be moved. One file each: projection, steepest step, random point, distance.

mod l1;
mod l2;
mod linf;

use std::{fmt, str::FromStr};

use rand::Rng;

use crate::{Error, Result, nearest::unknown, results::Norms};

/// A norm on perturbations in pixel space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norm {
    /// Largest change of any value.
    Linf,
    /// Euclidean length.
    L2,
    /// Sum of changes.
    L1,
}

impl Norm {
    /// All norms.
    pub const ALL: [Self; 3] = [Self::Linf, Self::L2, Self::L1];

    /// The word used in settings and tables.
    pub fn word(self) -> &'static str {
        match self {
            Self::Linf => "linf",
            Self::L2 => "l2",
            Self::L1 => "l1",
        }
    }

    /// This norm among all that were measured.
    pub fn of(self, norms: &Norms) -> f64 {
        match self {
            Self::Linf => norms.linf,
            Self::L2 => norms.l2,
            Self::L1 => norms.l1,
        }
    }

    /// Whether these distances are within a radius in this norm, up to [`Ball::TOLERANCE`](super::Ball::TOLERANCE).
    pub fn within(self, norms: &Norms, eps: f64) -> bool {
        self.of(norms) <= eps * (1.0 + super::Ball::TOLERANCE) + 1e-9
    }

    /// Moves `x` to the nearest point (in the Euclidean sense) that is within `eps` of `original` *and* in the pixel
    /// box \[0, 1\].
    pub fn project(self, original: &[f32], x: &mut [f32], eps: f64) {
        match self {
            Self::Linf => linf::project(original, x, eps),
            Self::L2 => l2::project(original, x, eps),
            Self::L1 => l1::project(original, x, eps),
        }
    }

    /// The direction of unit norm in which a loss with this gradient grows fastest from `x`, as far as the pixel box
    /// leaves room; all zero where the gradient is.
    pub fn steepest(self, gradient: &[f32], x: &[f32]) -> Vec<f32> {
        match self {
            Self::Linf => linf::steepest(gradient),
            Self::L2 => l2::steepest(gradient),
            Self::L1 => l1::steepest(gradient, x),
        }
    }

    /// Adds a random perturbation, uniform in the ball of radius `eps`. The box is not respected.
    pub fn random_step(self, x: &mut [f32], eps: f64, rng: &mut impl Rng) {
        match self {
            Self::Linf => linf::random_step(x, eps, rng),
            Self::L2 => l2::random_step(x, eps, rng),
            Self::L1 => l1::random_step(x, eps, rng),
        }
    }
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

/// A standard normal value by the polar method (Marsaglia and Bray 1964), so that the stream of numbers depends on
/// nothing but `rng`.
pub(crate) fn normal(rng: &mut impl Rng) -> f64 {
    use rand::RngExt;
    loop {
        let (u, v) = (rng.random_range(-1.0..1.0), rng.random_range(-1.0..1.0));
        let square: f64 = u * u + v * v;
        if square > 0.0 && square < 1.0 {
            return u * (-2.0 * square.ln() / square).sqrt();
        }
    }
}

#[cfg(test)]
mod tests;
