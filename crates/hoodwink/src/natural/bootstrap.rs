//! Intervals by resampling.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::stats::{CONFIDENCE, Interval};

/// How intervals are found that no formula gives: the pictures are drawn again, with replacement, and the measure is taken
/// of each drawing (Efron, Annals of Statistics 7(1), 1979).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resampling {
    /// How many drawings; with 0 there are no intervals.
    pub count: usize,
    /// Seed of the drawings: the same seed gives the same intervals.
    pub seed: u64,
}

impl Default for Resampling {
    fn default() -> Self {
        Self {
            count: 1000,
            seed: 0,
        }
    }
}

/// How an interval is made of the measures of the drawings.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    /// Their quantiles.
    Percentile,
    /// Their quantiles, moved so that their median is the measured value. A drawing holds pictures twice, which makes every
    /// calibration error larger than it is.
    Centred,
}

impl Resampling {
    /// Intervals of several measures of the same drawings.
    ///
    /// `sizes` are how many pictures are in each of the sets that are drawn from; `measure` gets how often each picture of
    /// each set was drawn. A measure that is undefined for most drawings has no interval.
    pub(super) fn intervals<const N: usize, const M: usize>(
        self,
        sizes: [usize; N],
        values: [f64; M],
        ends: [Ends; M],
        mut measure: impl FnMut(&[Vec<u32>; N]) -> [f64; M],
    ) -> [Interval; M] {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut weights = sizes.map(|size| vec![0u32; size]);
        let mut drawn: [Vec<f64>; M] = [const { Vec::new() }; M];
        let can = sizes.iter().all(|&size| size > 0) && values.iter().any(|value| !value.is_nan());
        for _ in 0..if can { self.count } else { 0 } {
            for weights in &mut weights {
                weights.fill(0);
                let size = weights.len();
                for _ in 0..size {
                    weights[rng.random_range(0..size)] += 1;
                }
            }
            let measured = measure(&weights);
            for (drawn, value) in drawn.iter_mut().zip(measured) {
                drawn.extend(Some(value).filter(|value| !value.is_nan()));
            }
        }
        let n = sizes.iter().sum::<usize>() as u64;
        let mut at = 0;
        values.map(|value| {
            let (drawn, ends) = (&mut drawn[at], ends[at]);
            at += 1;
            let [low, high] = match value.is_nan() || 2 * drawn.len() <= self.count {
                true => [f64::NAN; 2],
                false => limits(value, drawn, ends),
            };
            Interval {
                value,
                low,
                high,
                n,
            }
        })
    }
}

fn limits(value: f64, drawn: &mut [f64], ends: Ends) -> [f64; 2] {
    drawn.sort_by(f64::total_cmp);
    let tail = (1.0 - CONFIDENCE) / 2.0;
    let [low, middle, high] = [tail, 0.5, 1.0 - tail].map(|share| quantile(drawn, share));
    match ends {
        Ends::Percentile => [low, high],
        Ends::Centred => [low, high].map(|end| (value + end - middle).clamp(0.0, 1.0)),
    }
}

/// Of sorted values, with straight lines between them.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len() - 1) as f64;
    let below = at.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (at - below as f64) * (sorted[above] - sorted[below])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(values: &[f64], weights: &[u32]) -> f64 {
        let sum: f64 = values
            .iter()
            .zip(weights)
            .map(|(value, &weight)| value * f64::from(weight))
            .sum();
        sum / values.len() as f64
    }

    #[test]
    fn the_interval_of_a_mean_is_that_of_its_standard_error() {
        let values: Vec<f64> = (0..400).map(|at| f64::from(at % 2)).collect();
        let measure = |weights: &[Vec<u32>; 1]| [mean(&values, &weights[0])];
        let resampling = Resampling::default();
        let [found] = resampling.intervals([400], [0.5], [Ends::Percentile], measure);
        // 1.96 standard errors of 0.025.
        assert!((found.low - 0.451).abs() < 0.006, "{found:?}");
        assert!((found.high - 0.549).abs() < 0.006, "{found:?}");
        assert_eq!(found.n, 400);
        let again = resampling.intervals([400], [0.5], [Ends::Percentile], measure);
        assert_eq!([found], again);
    }

    #[test]
    fn what_is_undefined_has_no_interval() {
        let none = Resampling::default().intervals(
            [3],
            [f64::NAN, 0.25],
            [Ends::Percentile, Ends::Centred],
            |_| [1.0, f64::NAN],
        );
        for interval in none {
            assert!(interval.low.is_nan() && interval.high.is_nan());
        }
        assert_eq!(none[1].value, 0.25);
        let off = Resampling { count: 0, seed: 0 };
        let [found] = off.intervals([3], [0.5], [Ends::Percentile], |_| [1.0]);
        assert!(found.value == 0.5 && found.low.is_nan());
    }

    #[test]
    fn quantiles_lie_between_values() {
        let sorted = [0.0, 1.0, 4.0];
        for (share, expected) in [(0.0, 0.0), (0.25, 0.5), (0.5, 1.0), (0.75, 2.5), (1.0, 4.0)] {
            assert_eq!(quantile(&sorted, share), expected);
        }
    }
}
