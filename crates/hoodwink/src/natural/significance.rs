//! Tests of many counts at once.

use statrs::function::beta::beta_reg;

/// Below this adjusted p-value a difference is told: 5% of sets without any would have one told.
pub(super) const LEVEL: f64 = 0.05;

/// Two-sided p-value of `hits` successes in `trials`, each with probability `p` inside (0, 1): twice the smaller tail, at most 1.
pub(super) fn binomial(hits: u64, trials: u64, p: f64) -> f64 {
    // P(X >= k) is the regularised incomplete beta function at p with k and n - k + 1.
    let at_least = |k: u64| match k {
        0 => 1.0,
        k if k > trials => 0.0,
        k => beta_reg(k as f64, (trials - k + 1) as f64, p),
    };
    let (upper, lower) = (at_least(hits), 1.0 - at_least(hits + 1));
    (2.0 * upper.min(lower)).min(1.0)
}

/// Holm's adjustment (Scandinavian Journal of Statistics 6(2), 1979): p-values that may each be compared with the level
/// at which any of them may be wrong. NaN stays and does not count.
pub(super) fn holm(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len())
        .filter(|&at| !values[at].is_nan())
        .collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut adjusted = values.to_vec();
    let mut largest = 0.0_f64;
    for (rank, &at) in order.iter().enumerate() {
        largest = largest.max(values[at] * (order.len() - rank) as f64);
        adjusted[at] = largest.min(1.0);
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `2 * min(scipy.stats.binom.cdf(k, n, p), scipy.stats.binom.sf(k - 1, n, p))`, at most 1; SciPy 1.17.1.
    #[test]
    fn tails_are_scipys() {
        for (hits, trials, p, expected) in [
            (0, 5, 0.5, 0.0625),
            (9, 10, 0.5, 0.021484375),
            (5, 10, 0.5, 1.0),
            (10, 10, 0.25, 1.9073486328125e-06),
        ] {
            let found = binomial(hits, trials, p);
            assert!((found - expected).abs() < 1e-9 * expected, "{found}");
        }
    }

    #[test]
    fn holm_orders_and_skips_what_is_undefined() {
        let found = holm(&[0.01, f64::NAN, 0.04, 0.03, 0.9]);
        assert_eq!(
            [found[0], found[3], found[2], found[4]],
            [0.04, 0.09, 0.09, 0.9]
        );
        assert!(found[1].is_nan());
        assert!(holm(&[]).is_empty());
    }
}
