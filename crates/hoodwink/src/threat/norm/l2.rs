//! The Euclidean length.

use rand::{Rng, RngExt};

use super::{
    super::{Bounds, level::level},
    clip,
};
use crate::normal::normal;

/// Projects exactly onto the intersection of ball and box.
///
/// By the optimality conditions the perturbation is `clip(z * scale)`, where `scale` is 1 / (1 + the multiplier of the
/// ball). Let `room` be the change that the box allows a value. The squared length is then the sum of `min(z² scale²,
/// room²)`, and [`level`] finds the squared scale at which the sum is `eps²`.
pub(super) fn project(original: &[f32], x: &mut [f32], eps: f64, bounds: &Bounds) {
    let squares = x
        .iter()
        .zip(original)
        .enumerate()
        .map(|(at, (&x, &center))| {
            let wish = f64::from(x) - f64::from(center);
            let (low, high) = bounds.at(at);
            // The bound in the direction of the change. The CPU would mispredict a branch half of the time.
            let wall = clip(wish * f64::MAX, low, high);
            let room = wall - f64::from(center);
            (wish * wish, room * room)
        });
    let length: f64 = squares.clone().map(|(wish, room)| wish.min(room)).sum();
    let scale = if length > eps * eps {
        level(eps * eps, squares).sqrt().min(1.0)
    } else {
        1.0
    };
    for (at, (x, &center)) in x.iter_mut().zip(original).enumerate() {
        let (low, high) = bounds.at(at);
        let center = f64::from(center);
        let step = (f64::from(*x) - center) * scale;
        *x = clip(center + step, low, high) as f32;
    }
}

pub(super) fn steepest(gradient: &[f32]) -> Vec<f32> {
    // Divides by the largest value first, because squares of tiny gradients underflow in any float.
    let largest = gradient.iter().fold(0.0_f32, |most, g| most.max(g.abs()));
    if largest == 0.0 || !largest.is_finite() {
        return vec![0.0; gradient.len()];
    }
    let scaled = |g: f32| f64::from(g) / f64::from(largest);
    let length: f64 = gradient
        .iter()
        .map(|&g| scaled(g).powi(2))
        .sum::<f64>()
        .sqrt();
    gradient
        .iter()
        .map(|&g| (scaled(g) / length) as f32)
        .collect()
}

pub(super) fn random_step(x: &mut [f32], eps: f64, rng: &mut impl Rng) {
    let direction: Vec<f64> = x.iter().map(|_| normal(rng)).collect();
    let length = direction.iter().map(|d| d * d).sum::<f64>().sqrt();
    let radius = eps * rng.random::<f64>().powf(1.0 / x.len() as f64);
    for (x, d) in x.iter_mut().zip(direction) {
        *x += (d / length * radius) as f32;
    }
}
