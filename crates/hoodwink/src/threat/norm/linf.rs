//! The largest absolute change of any value.

use rand::{Rng, RngExt};

use super::{super::Bounds, clip};

/// Projects each value separately: the box and the ball are both boxes.
pub(super) fn project(original: &[f32], x: &mut [f32], eps: f64, bounds: &Bounds) {
    for (at, (x, &center)) in x.iter_mut().zip(original).enumerate() {
        let (low, high) = bounds.at(at);
        let center = f64::from(center);
        let moved = clip(f64::from(*x), center - eps, center + eps);
        *x = clip(moved, low, high) as f32;
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
