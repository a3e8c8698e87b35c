//! Intervals and tests for counts: how sure a measured accuracy is.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, Normal};
use statrs::function::beta::{beta_reg, inv_beta_reg};

/// The confidence of every interval in a report, unless the caller says otherwise.
pub const CONFIDENCE: f64 = 0.95;

/// A measured proportion with its confidence interval.
///
/// With `n == 0` nothing was measured: `value` is NaN (which JSON writes as `null`), and the
/// interval is the whole of \[0, 1\].
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

/// The exact interval of Clopper and Pearson (Biometrika 26(4), 1934) for a binomial proportion.
///
/// It covers the true proportion with probability `confidence` or more, whatever the proportion:
/// the interval to print beside an accuracy.
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

/// The score interval of Wilson (JASA 22, 1927) for a binomial proportion, without continuity
/// correction.
///
/// Shorter than [`clopper_pearson`]; its coverage is right on average, not for every proportion.
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

/// The two-sided p-value of McNemar's exact test: do two models (or two attacks), measured on the
/// same pictures, differ?
///
/// `b` counts the pictures where only the first is right, `c` those where only the second is;
/// pictures on which both agree say nothing. Under the null hypothesis `b` is binomial with
/// probability 1/2. Without any disagreement the p-value is 1.
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
