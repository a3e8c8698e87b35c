//! Normally distributed random numbers.

use rand::{Rng, RngExt as _};

/// Draws a standard normal value by the polar method (Marsaglia and Bray 1964). The stream of numbers depends only on
/// `rng`.
pub(crate) fn normal(rng: &mut impl Rng) -> f64 {
    loop {
        let (u, v) = (rng.random_range(-1.0..1.0), rng.random_range(-1.0..1.0));
        let square: f64 = u * u + v * v;
        if square > 0.0 && square < 1.0 {
            return u * (-2.0 * square.ln() / square).sqrt();
        }
    }
}
