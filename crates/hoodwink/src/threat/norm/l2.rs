//! Euclidean length.

use rand::{Rng, RngExt};

use super::normal;

/// Projection onto the intersection of ball and box.
///
/// By the optimality conditions the perturbation is `clip(z / (1 + lambda))` for the multiplier of the ball, whose
/// length falls as `lambda` grows; the scale `1 / (1 + lambda)` is found by bisection to the last bit.
pub(super) fn project(original: &[f32], x: &mut [f32], eps: f64) {
    let scaled = |x: f32, center: f32, scale: f64| {
        let center = f64::from(center);
        let step = (f64::from(x) - center) * scale;
        (center + step).clamp(0.0, 1.0) - center
    };
    let length = |x: &[f32], scale: f64| -> f64 {
        let squares = x.iter().zip(original).map(|(&x, &center)| {
            let step = scaled(x, center, scale);
            step * step
        });
        squares.sum::<f64>().sqrt()
    };
    let mut scale = 1.0;
    if length(x, 1.0) > eps {
        let (mut low, mut high) = (0.0, 1.0);
        while high - low > f64::EPSILON * high {
            let middle = 0.5 * (low + high);
            if middle <= low || middle >= high {
                break;
            }
            if length(x, middle) > eps {
                high = middle;
            } else {
                low = middle;
            }
        }
        scale = low;
    }
    for (x, &center) in x.iter_mut().zip(original) {
        *x = (f64::from(center) + scaled(*x, center, scale)) as f32;
    }
}

pub(super) fn steepest(gradient: &[f32]) -> Vec<f32> {
    // The largest value is divided out first: squares of tiny gradients vanish in any float.
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
