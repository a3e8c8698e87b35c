//! The sum of absolute changes.

use rand::{Rng, RngExt};

use super::{super::Bounds, is_free};

/// The share of the values that a steepest step moves. Moving only the steepest value makes hardly any progress per
/// step. Tramèr and Boneh (arXiv 1904.13000, section 3) move the top percentile.
const MOVED_SHARE: f64 = 0.01;

/// Relative amount by which the sum of thousands of rounded changes may exceed the radius.
const ROUNDING: f64 = 2e-6;

/// Projects exactly onto the intersection of ball and box, by sorting (Croce and Hein, arXiv 2103.01208, proposition
/// 2.1).
///
/// The change of a value is `clip(|z| - lambda, 0, room)`. The sum of the changes is piecewise linear in `lambda`. It
/// has a corner where a value leaves the edge of the box, and one where a value reaches zero.
pub(super) fn project(original: &[f32], x: &mut [f32], eps: f64, bounds: &Bounds) {
    let eps = eps * (1.0 - ROUNDING);
    let wish = |x: f32, center: f32| f64::from(x) - f64::from(center);
    let room = |at: usize, wish: f64, center: f32| {
        let (low, high) = bounds.at(at);
        if wish > 0.0 {
            high - f64::from(center)
        } else {
            f64::from(center) - low
        }
    };

    let mut sum = 0.0;
    let mut corners = Vec::with_capacity(2 * x.len());
    let mut slope = 0.0;
    for (at, (&x, &center)) in x.iter().zip(original).enumerate() {
        let wish = wish(x, center);
        let room = room(at, wish, center);
        let size = wish.abs();
        sum += size.min(room);
        if size > room {
            corners.push((size - room, 1.0));
        } else {
            slope += 1.0;
        }
        corners.push((size, -1.0));
    }
    let mut lambda = 0.0;
    if sum > eps {
        corners.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        for (corner, change) in corners {
            let fallen = sum - slope * (corner - lambda);
            if fallen <= eps {
                break;
            }
            (sum, lambda) = (fallen, corner);
            slope += change;
        }
        if slope > 0.0 {
            lambda += (sum - eps) / slope;
        }
    }
    for (at, (x, &center)) in x.iter_mut().zip(original).enumerate() {
        let wish = wish(*x, center);
        let size = (wish.abs() - lambda).clamp(0.0, room(at, wish, center));
        *x = (f64::from(center) + size.copysign(wish)) as f32;
    }
}

pub(super) fn steepest(gradient: &[f32], x: &[f32], bounds: &Bounds) -> Vec<f32> {
    let free = |&at: &usize| is_free(gradient[at], x[at], bounds.at(at));
    let mut movable: Vec<usize> = (0..gradient.len()).filter(free).collect();
    let count = ((gradient.len() as f64 * MOVED_SHARE).ceil() as usize).min(movable.len());
    let mut step = vec![0.0; gradient.len()];
    if count == 0 {
        return step;
    }
    // The lower index wins ties, so that the choice does not depend on the sorting algorithm.
    let steeper = |&a: &usize, &b: &usize| {
        gradient[b]
            .abs()
            .total_cmp(&gradient[a].abs())
            .then(a.cmp(&b))
    };
    movable.select_nth_unstable_by(count - 1, steeper);
    for &at in &movable[..count] {
        step[at] = gradient[at].signum() / count as f32;
    }
    step
}

/// Uniform in the ball: normalised exponential sizes with random signs, and the radius of a uniform point.
pub(super) fn random_step(x: &mut [f32], eps: f64, rng: &mut impl Rng) {
    let sizes: Vec<f64> = x
        .iter()
        .map(|_| -(1.0 - rng.random::<f64>()).ln())
        .collect();
    let sum: f64 = sizes.iter().sum();
    let radius = eps * rng.random::<f64>().powf(1.0 / x.len() as f64);
    for (x, size) in x.iter_mut().zip(sizes) {
        let signed = if rng.random::<bool>() { size } else { -size };
        *x += (signed / sum * radius) as f32;
    }
}
