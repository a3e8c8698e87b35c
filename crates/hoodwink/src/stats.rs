//! Confidence intervals and tests for counts.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, Normal};
use statrs::function::beta::{beta_reg, inv_beta_reg};

/// The confidence level of every interval in a report, unless the caller sets another.
pub const CONFIDENCE: f64 = 0.95;

/// A measured proportion with its confidence interval.
///
/// With `n == 0` nothing was measured: `value` is NaN (which JSON writes as `null`), and the interval is \[0, 1\].
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// The measured proportion, in \[0, 1\].
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// Number of trials.
    pub n: u64,
}

impl Interval {
    fn unmeasured() -> Self {
        Self {
            value: f64::NAN,
            low: 0.0,
            high: 1.0,
            n: 0,
        }
    }
}

/// Computes the exact interval of Clopper and Pearson (Biometrika 26(4), 1934) for a binomial proportion.
///
/// It covers the true proportion with probability at least `confidence`, whatever the proportion. Use it for the
/// interval of an accuracy.
///
/// # Panics
///
/// Panics if `successes > n`, or if `confidence` is not inside (0, 1).
pub fn clopper_pearson(successes: u64, n: u64, confidence: f64) -> Interval {
    check(successes, n, confidence);
    if n == 0 {
        return Interval::unmeasured();
    }
    let tail = (1.0 - confidence) / 2.0;
    let (hits, misses) = (successes as f64, (n - successes) as f64);
    let low = match successes {
        0 => 0.0,
        _ => inv_beta_reg(hits, misses + 1.0, tail),
    };
    let high = match n - successes {
        0 => 1.0,
        _ => inv_beta_reg(hits + 1.0, misses, 1.0 - tail),
    };
    Interval {
        value: hits / n as f64,
        low,
        high,
        n,
    }
}

/// Computes the score interval of Wilson (JASA 22, 1927) for a binomial proportion, without continuity correction.
///
/// It is shorter than [`clopper_pearson`]. Its coverage is right on average, not for every proportion.
///
/// # Panics
///
/// Panics if `successes > n`, or if `confidence` is not inside (0, 1).
pub fn wilson(successes: u64, n: u64, confidence: f64) -> Interval {
    check(successes, n, confidence);
    if n == 0 {
        return Interval::unmeasured();
    }
    let z = Normal::standard().inverse_cdf(0.5 + confidence / 2.0);
    let trials = n as f64;
    let value = successes as f64 / trials;
    let shrink = 1.0 + z * z / trials;
    let centre = (value + z * z / (2.0 * trials)) / shrink;
    let half =
        z / shrink * (value * (1.0 - value) / trials + z * z / (4.0 * trials * trials)).sqrt();
    Interval {
        value,
        low: if successes == 0 { 0.0 } else { centre - half },
        high: if successes == n { 1.0 } else { centre + half },
        n,
    }
}

/// Computes the two-sided p-value of McNemar's exact test: do two models (or two attacks), measured on the same
/// pictures, differ?
///
/// `b` counts the pictures that only the first classifies correctly, and `c` those that only the second does. Pictures
/// on which both agree carry no information. Under the null hypothesis `b` is binomial with probability 1/2. Without
/// any disagreement the p-value is 1.
pub fn mcnemar_exact(b: u64, c: u64) -> f64 {
    if b == c {
        return 1.0;
    }
    // P(X <= k) of a binomial with n trials and probability 1/2 is I(1/2; n - k, k + 1).
    let (few, many) = (b.min(c) as f64, b.max(c) as f64);
    (2.0 * beta_reg(many, few + 1.0, 0.5)).min(1.0)
}

fn check(successes: u64, n: u64, confidence: f64) {
    assert!(successes <= n, "{successes} successes in {n} trials");
    assert!(
        0.0 < confidence && confidence < 1.0,
        "a confidence of {confidence} is not inside (0, 1)"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    type Case = (u64, u64, f64, [f64; 2], [f64; 2]);

    /// Successes, trials, confidence; Clopper-Pearson and Wilson bounds. From SciPy 1.17.1: `binomtest(k,
    /// n).proportion_ci(confidence, "exact" | "wilson")`.
    #[rustfmt::skip]
    const INTERVALS: [Case; 15] = [
        (0, 1, 0.95, [0.0, 0.975], [0.0, 0.7934506856227626]),
        (1, 1, 0.95, [0.025, 1.0], [0.20654931437723745, 1.0]),
        (0, 10, 0.95, [0.0, 0.30849710781876294], [0.0, 0.27753279986288926]),
        (10, 10, 0.95, [0.6915028921812371, 1.0], [0.7224672001371109, 1.0]),
        (1, 10, 0.95, [0.0025285785444625728, 0.44501611702819543], [0.017876213095072896, 0.4041500267952385]),
        (5, 10, 0.95, [0.1870860284474045, 0.8129139715525955], [0.236593090512564, 0.7634069094874361]),
        (81, 100, 0.95, [0.7193020420263279, 0.881556803867574], [0.7222115462093562, 0.8748524849023126]),
        (483, 500, 0.95, [0.946119649263923, 0.9800713999537923], [0.9462286344983655, 0.9786654801914678]),
        (0, 1000, 0.95, [0.0, 0.003682083896639526], [0.0, 0.0038267584855551234]),
        (37, 1000, 0.99, [0.02335899491136209, 0.055223679512292866], [0.02442600211406373, 0.05567741658649099]),
        (999, 1000, 0.9, [0.9952650064245071, 0.9999487080210909], [0.9955302770906311, 0.9997768761560879]),
        (4821, 10000, 0.95, [0.4722628760152253, 0.49194755411906443], [0.4723152137014781, 0.4918985334401921]),
        (25000, 50000, 0.95, [0.4956074939655062, 0.5043925060344938], [0.495617555643679, 0.5043824443563211]),
        (3, 50000, 0.95, [1.2373613379835605e-05, 0.00017533534900091477], [2.0405619612978105e-05, 0.00017640843573912503]),
        (49999, 50000, 0.99, [0.9998514069649661, 0.9999998997491697], [0.9998296730952347, 0.9999976518863629]),
    ];

    /// Disagreements in each direction and the p-value, from SciPy 1.17.1: `binomtest(b, b + c).pvalue`.
    const MCNEMAR: [(u64, u64, f64); 9] = [
        (0, 1, 1.0),
        (0, 5, 0.0625),
        (1, 9, 0.021484375),
        (10, 3, 0.09228515625),
        (25, 24, 1.0),
        (40, 80, 0.00033040001839131815),
        (0, 50, 1.7763568394002505e-15),
        (130, 95, 0.023197506839685394),
        (1000, 1200, 2.1817026407914194e-05),
    ];

    fn assert_close(found: f64, expected: f64, what: &str) {
        let tolerance = 1e-9 * expected.abs().max(1e-3);
        assert!(
            (found - expected).abs() <= tolerance,
            "{what}: {found} instead of {expected}"
        );
    }

    #[test]
    fn intervals_agree_with_scipy() {
        for (successes, n, confidence, exact, score) in INTERVALS {
            for (name, found, [low, high]) in [
                (
                    "Clopper-Pearson",
                    clopper_pearson(successes, n, confidence),
                    exact,
                ),
                ("Wilson", wilson(successes, n, confidence), score),
            ] {
                let what = format!("{name} {successes}/{n} at {confidence}");
                assert_close(found.low, low, &what);
                assert_close(found.high, high, &what);
                assert_close(found.value, successes as f64 / n as f64, &what);
                assert_eq!(found.n, n);
                assert!(found.low <= found.value && found.value <= found.high);
            }
        }
    }

    #[test]
    fn mcnemar_agrees_with_scipy_either_way_round() {
        for (b, c, p) in MCNEMAR {
            for found in [mcnemar_exact(b, c), mcnemar_exact(c, b)] {
                assert!(
                    (found - p).abs() <= 1e-9 * p,
                    "{b}, {c}: {found} instead of {p}"
                );
            }
        }
        assert_eq!(mcnemar_exact(0, 0), 1.0);
    }

    #[test]
    fn every_count_has_an_ordered_interval_inside_the_unit_interval() {
        for n in 1..=120 {
            for successes in 0..=n {
                for found in [
                    clopper_pearson(successes, n, CONFIDENCE),
                    wilson(successes, n, CONFIDENCE),
                ] {
                    assert!(
                        0.0 <= found.low
                            && found.low <= found.value
                            && found.value <= found.high
                            && found.high <= 1.0,
                        "{successes}/{n}: {found:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn nothing_measured_is_null_and_not_zero() {
        for nothing in [clopper_pearson(0, 0, CONFIDENCE), wilson(0, 0, CONFIDENCE)] {
            assert_eq!(
                serde_json::to_string(&nothing).unwrap(),
                r#"{"value":null,"low":0.0,"high":1.0,"n":0}"#
            );
        }
    }
}
