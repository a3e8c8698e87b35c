//! The temperature at which a model is as sure as it should be.

use super::logits::{Logits, log_sum_exp};

/// Inverse temperatures that are looked at: beyond them the log loss no longer changes.
const INVERSES: [f64; 2] = [1e-4, 1e4];

/// Bounds and width of the published script's bisection.
const SCRIPT: [f64; 2] = [0.2, 5.0];
const SCRIPT_WIDTH: f64 = 1e-4;

/// The temperature that divides the logits at the smallest log loss (Guo et al., arXiv:1706.04599, section 4.2).
///
/// Undefined where there is none: where every answer is right, the smaller the better; where the model knows nothing, the
/// larger.
pub(super) fn best(logits: &Logits, labels: &[usize]) -> f64 {
    let [mut low, mut high] = INVERSES.map(f64::ln);
    let slope = |inverse: f64| slope(logits, labels, inverse);
    // Also where a label's logit is -infinity, and the loss with it.
    if logits.is_empty() || !(slope(low.exp()).0 < 0.0 && slope(high.exp()).0 > 0.0) {
        return f64::NAN;
    }
    // The log loss is convex in the inverse temperature: Newton's steps, on its logarithm, held inside the bracket.
    let mut at: f64 = 0.0;
    for _ in 0..100 {
        let inverse = at.exp();
        let (first, second) = slope(inverse);
        match first < 0.0 {
            true => low = at,
            false => high = at,
        }
        let step = first / (first + inverse * second);
        let newton = at - step;
        let next = match low < newton && newton < high {
            true => newton,
            false => f64::midpoint(low, high),
        };
        if (next - at).abs() < 1e-12 {
            break;
        }
        at = next;
    }
    (-at).exp()
}

/// As the published script looks for it: bisection from 0.2 to 5 by the sign of the slope, down to a width of 1e-4, then the
/// best of the ends and the middle.
pub(super) fn by_script(logits: &Logits, labels: &[usize]) -> f64 {
    if logits.is_empty() {
        return f64::NAN;
    }
    let [mut lower, mut upper] = SCRIPT;
    while upper - lower > SCRIPT_WIDTH {
        let guess = 0.5 * (lower + upper);
        // The loss falls with the temperature where it rises with its inverse.
        match slope(logits, labels, 1.0 / guess).0 < 0.0 {
            true => upper = guess,
            false => lower = guess,
        }
    }
    let candidates = [lower, 0.5 * (lower + upper), upper];
    let losses = candidates.map(|at| loss(logits, labels, at));
    let mut best = 0;
    for at in 1..candidates.len() {
        if losses[at] < losses[best] {
            best = at;
        }
    }
    candidates[best]
}

/// Mean log loss, in nats.
fn loss(logits: &Logits, labels: &[usize], temperature: f64) -> f64 {
    let losses = logits.rows().zip(labels).map(|(row, &label)| {
        let scaled: Vec<f64> = row.iter().map(|logit| logit / temperature).collect();
        log_sum_exp(&scaled) - scaled[label]
    });
    losses.sum::<f64>() / labels.len() as f64
}

/// First and second derivative of the mean log loss by the inverse temperature.
fn slope(logits: &Logits, labels: &[usize], inverse: f64) -> (f64, f64) {
    let (mut first, mut second) = (0.0, 0.0);
    for (row, &label) in logits.rows().zip(labels) {
        let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (mut sum, mut mean, mut square) = (0.0, 0.0, 0.0);
        for logit in row.iter().filter(|logit| logit.is_finite()) {
            let below = logit - top;
            let weight = (inverse * below).exp();
            sum += weight;
            mean += weight * below;
            square += weight * below * below;
        }
        let (mean, square) = (mean / sum, square / sum);
        first += mean - (row[label] - top);
        second += square - mean * mean;
    }
    let count = labels.len() as f64;
    (first / count, second / count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rows: &[[f64; 3]]) -> Logits {
        let mut logits = Logits::new(3).unwrap();
        rows.iter().for_each(|row| logits.push(row, "x").unwrap());
        logits
    }

    /// From `scipy.optimize.minimize_scalar` over the temperature, SciPy 1.17.1; five pictures of three classes.
    #[test]
    fn the_best_temperature_is_scipys() {
        let logits = of(&[
            [2.0, 0.5, -1.0],
            [0.2, 0.1, 3.0],
            [1.0, 1.5, 0.0],
            [-2.0, 0.3, 0.4],
            [4.0, 3.0, 1.0],
        ]);
        let labels = [0, 2, 0, 1, 1];
        let expected = 0.024_443_491_f64.exp();
        assert!((best(&logits, &labels) - expected).abs() < 1e-7);
        assert!((by_script(&logits, &labels) - expected).abs() < 1e-4);
    }

    #[test]
    fn where_no_temperature_is_best_it_is_undefined() {
        let right = of(&[[3.0, 0.0, 0.0], [0.0, 2.0, 1.0]]);
        assert!(best(&right, &[0, 1]).is_nan());
        assert!(best(&right, &[1, 2]).is_nan());
        assert!(best(&of(&[]), &[]).is_nan());
        let impossible = of(&[[0.0, f64::NEG_INFINITY, 1.0]]);
        assert!(best(&impossible, &[1]).is_nan());
        // The script stays inside its bounds and says so.
        assert!((by_script(&right, &[0, 1]) - 0.2).abs() < 1e-3);
        assert!((by_script(&right, &[1, 2]) - 5.0).abs() < 1e-3);
    }
}
