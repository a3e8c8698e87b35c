//! Water filling: the level at which capped linear terms add up to a total.

/// Returns the smallest `level` with `sum of min(slope * level, cap) = total`, for pairs of nonnegative slope and cap.
/// If the caps add up to less, returns the level at which all caps are reached, or infinity.
///
/// The sum is concave and piecewise linear in the level, so Newton's method from below never oversteps. It ends exactly
/// as soon as a step reaches no further cap. Every step halves either the missing amount or the slope, so there are few
/// steps. Nothing is sorted and no memory is allocated.
pub(super) fn level(total: f64, pairs: impl Iterator<Item = (f64, f64)> + Clone) -> f64 {
    let mut level = 0.0;
    let mut next = newton(total, level, pairs.clone());
    while next > level {
        level = next;
        next = newton(total, level, pairs.clone());
    }
    level
}

/// Extends the linear piece of the sum just above `level`, and returns the level at which it reaches the total.
fn newton(total: f64, level: f64, pairs: impl Iterator<Item = (f64, f64)>) -> f64 {
    let (mut capped, mut slopes) = (0.0, 0.0);
    for (slope, cap) in pairs {
        // The CPU would often mispredict a branch here.
        let full = f64::from(u8::from(slope * level >= cap));
        capped += full * cap;
        slopes += (1.0 - full) * slope;
    }
    (total - capped) / slopes
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn worked_examples() {
        let pairs = [(1.0, 1.0), (2.0, 1.0), (0.0, 5.0), (4.0, 0.0), (0.5, 10.0)];
        for (total, expected) in [
            (0.0, 0.0),
            // 3.5 levels, before any cap.
            (1.75, 0.5),
            // The second is full from 0.5 on.
            (2.5, 1.0),
            // Only the last grows from 1 on.
            (3.5, 3.0),
            (12.0, 20.0),
        ] {
            assert_eq!(level(total, pairs.into_iter()), expected, "{total}");
        }
        assert!(level(13.0, pairs.into_iter()) >= 20.0);
        assert!(level(1.0, std::iter::empty()) > 1e300);
    }

    /// Caps that are reached one after the other, over fifty orders of magnitude.
    #[test]
    fn steps_are_few_even_where_scales_are_many() {
        let pairs = (0..60).map(|at| (4.0_f64.powi(-at), 2.0_f64.powi(at)));
        let sum = |level: f64| {
            pairs
                .clone()
                .map(move |(slope, cap)| cap.min(slope * level))
        };
        let looked_at = Cell::new(0);
        let counted = pairs
            .clone()
            .inspect(|_| looked_at.set(looked_at.get() + 1));
        let found = level(sum(1e30).sum(), counted);
        assert!((found / 1e30 - 1.0).abs() < 1e-12, "{found}");
        assert!(looked_at.get() <= 60 * 40, "{looked_at:?}");
    }
}
