//! The number of values that change. Strictly speaking it is not a norm: it does not scale, and its balls are not
//! convex.

use rand::{Rng, RngExt};

use super::{super::Bounds, is_free};

/// Returns how many values may change in a ball of this radius.
fn count(eps: f64, values: usize) -> usize {
    // The conversion saturates.
    (eps.floor() as usize).min(values)
}

/// Projects onto a nearest point of ball and box. All values are first moved into the box. Those that reduce the
/// squared distance from `x` the most are kept, and the others return to the centre. The lower index wins ties.
pub(super) fn project(original: &[f32], x: &mut [f32], eps: f64, bounds: &Bounds) {
    let wished = x.to_vec();
    bounds.clamp(x);
    let count = count(eps, x.len());
    if count == x.len() {
        return;
    }
    let gain = |at: usize| {
        let squared = |from: f32| (f64::from(wished[at]) - f64::from(from)).powi(2);
        squared(original[at]) - squared(x[at])
    };
    let gains: Vec<f64> = (0..x.len()).map(gain).collect();
    let mut order: Vec<usize> = (0..x.len()).collect();
    let greater = |&a: &usize, &b: &usize| gains[b].total_cmp(&gains[a]).then(a.cmp(&b));
    order.select_nth_unstable_by(count, greater);
    for &at in &order[count..] {
        x[at] = original[at];
    }
}

/// Moves one value by 1: the steepest that the box allows to move. A step that changes one value has no maximum length,
/// so the step size determines how far it goes. The lower index wins ties.
pub(super) fn steepest(gradient: &[f32], x: &[f32], bounds: &Bounds) -> Vec<f32> {
    let mut step = vec![0.0; gradient.len()];
    let free = (0..gradient.len()).filter(|&at| is_free(gradient[at], x[at], bounds.at(at)));
    // `max_by` returns the last of several equal values.
    let steepest = free
        .rev()
        .max_by(|&a, &b| gradient[a].abs().total_cmp(&gradient[b].abs()));
    if let Some(at) = steepest {
        step[at] = gradient[at].signum();
    }
    step
}

/// Makes as many values as the ball allows, chosen with equal probability, uniform in the box.
pub(super) fn random_step(x: &mut [f32], eps: f64, bounds: &Bounds, rng: &mut impl Rng) {
    let mut order: Vec<usize> = (0..x.len()).collect();
    for first in 0..count(eps, x.len()) {
        order.swap(first, rng.random_range(first..x.len()));
        let (low, high) = bounds.at(order[first]);
        x[order[first]] = rng.random_range(low..=high) as f32;
    }
}
