//! The largest change of any value.

use rand::{Rng, RngExt};

/// Each value on its own: the box and the ball are both boxes.
pub(super) fn project(original: &[f32], x: &mut [f32], eps: f64) {
    for (x, &center) in x.iter_mut().zip(original) {
        let center = f64::from(center);
        let moved = f64::from(*x).clamp(center - eps, center + eps);
        *x = moved.clamp(0.0, 1.0) as f32;
    }
}

pub(super) fn steepest(gradient: &[f32]) -> Vec<f32> {
    gradient
        .iter()
        .map(|&g| if g == 0.0 { 0.0 } else { g.signum() })
        .collect()
}

pub(super) fn random_step(x: &mut [f32], eps: f64, rng: &mut impl Rng) {
    for x in x {
        *x += (rng.random_range(-1.0..=1.0) * eps) as f32;
    }
}
