//! How well a score tells unknown objects from known ones.

use serde::Serialize;

use super::bootstrap::{Ends, Resampling};
use super::outliers::Outliers;
use crate::stats::Interval;

/// The recall of FPR95.
const RECALL: f64 = 0.95;

/// At which threshold FPR95 is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recall {
    /// The first, from the strictest on, that reaches a recall of 95%.
    Reached,
    /// The one whose recall is nearest to 95%, the larger of two as near; so does the script of natural-adv-examples.
    Nearest,
}

/// How well a score tells unknown pictures, which are the positive ones, from known ones. All are shares from 0 to 1, with
/// bootstrap intervals of both sets drawn separately; all are undefined if a set is empty.
#[derive(Clone, Debug, Serialize)]
pub struct Detection {
    /// What was scored by.
    pub score: String,
    /// Area under the ROC curve: the probability that an unknown picture is stranger than a known one, ties half. 0.5 is
    /// guessing.
    pub auroc: Interval,
    /// Average precision: precision at each distinct score, weighted by the gain in recall. The share of unknown pictures is
    /// guessing.
    pub aupr: Interval,
    /// Area under the precision-recall curve by trapezoids, from a precision of 1 at recall 0, as OpenOOD has it.
    pub aupr_trapezoid: Interval,
    /// Unknown pictures positive: the share of *known* pictures that is rejected where 95% of the unknown ones are. OpenOOD's
    /// and natural-adv-examples' FPR95.
    pub fpr95_ood: Interval,
    /// Known pictures positive: the share of *unknown* pictures that is accepted where 95% of the known ones are. The FPR95 of
    /// ODIN and most papers after it.
    pub fpr95_id: Interval,
    /// Pictures of known classes.
    pub known: u64,
    /// Pictures of unknown ones.
    pub unknown: u64,
}

impl Detection {
    /// Of one score.
    pub fn of(outliers: &Outliers, recall: Recall, resampling: Resampling) -> Self {
        let curve = Curve::of(outliers);
        let ones = [
            vec![1; outliers.known.len()],
            vec![1; outliers.unknown.len()],
        ];
        let values = curve.measures(&ones, recall);
        let sizes = [outliers.known.len(), outliers.unknown.len()];
        let [auroc, aupr, aupr_trapezoid, fpr95_ood, fpr95_id] =
            resampling.intervals(sizes, values, [Ends::Percentile; 5], |weights| {
                curve.measures(weights, recall)
            });
        Self {
            score: outliers.score.clone(),
            auroc,
            aupr,
            aupr_trapezoid,
            fpr95_ood,
            fpr95_id,
            known: sizes[0] as u64,
            unknown: sizes[1] as u64,
        }
    }
}

/// All pictures, strangest first.
struct Curve {
    /// Whether it is unknown, and its position in its set.
    pictures: Vec<(bool, usize)>,
    /// Where each run of equal scores ends.
    ends: Vec<usize>,
}

/// Pictures that are at least as strange as a threshold.
#[derive(Clone, Copy, Default)]
struct Beyond {
    unknown: u64,
    known: u64,
}

impl Curve {
    fn of(outliers: &Outliers) -> Self {
        let known = outliers.known.iter().enumerate();
        let unknown = outliers.unknown.iter().enumerate();
        let mut scored: Vec<(f64, bool, usize)> = known
            .map(|(at, &score)| (score, false, at))
            .chain(unknown.map(|(at, &score)| (score, true, at)))
            .collect();
        scored.sort_by(|a, b| b.0.total_cmp(&a.0));
        let is_end =
            |at: &usize| scored.get(*at).map(|picture| picture.0) != Some(scored[at - 1].0);
        let ends = (1..=scored.len()).filter(is_end).collect();
        Self {
            ends,
            pictures: scored
                .into_iter()
                .map(|(_, unknown, at)| (unknown, at))
                .collect(),
        }
    }

    /// What lies beyond each distinct score, strictest first, where pictures count so often; `weights` are of known and
    /// unknown ones.
    fn thresholds(&self, weights: &[Vec<u32>; 2]) -> Vec<Beyond> {
        let mut beyond = Beyond::default();
        let mut start = 0;
        let mut thresholds = Vec::with_capacity(self.ends.len());
        for &end in &self.ends {
            let before = beyond.unknown + beyond.known;
            for &(unknown, at) in &self.pictures[start..end] {
                match unknown {
                    true => beyond.unknown += u64::from(weights[1][at]),
                    false => beyond.known += u64::from(weights[0][at]),
                }
            }
            if beyond.unknown + beyond.known > before {
                thresholds.push(beyond);
            }
            start = end;
        }
        thresholds
    }

    /// AUROC, average precision, trapezoid, and FPR95 both ways.
    fn measures(&self, weights: &[Vec<u32>; 2], recall: Recall) -> [f64; 5] {
        let thresholds = self.thresholds(weights);
        let all = thresholds.last().copied().unwrap_or_default();
        if all.unknown == 0 || all.known == 0 {
            return [f64::NAN; 5];
        }
        let (positives, negatives) = (all.unknown as f64, all.known as f64);
        let (mut area, mut average, mut trapezoid) = (0.0, 0.0, 0.0);
        let (mut last, mut last_precision) = (Beyond::default(), 1.0);
        for &now in &thresholds {
            let gained = (now.unknown - last.unknown) as f64;
            let passed = (now.known - last.known) as f64;
            area += passed * (last.unknown as f64 + gained / 2.0);
            let precision = now.unknown as f64 / (now.unknown + now.known) as f64;
            average += gained / positives * precision;
            trapezoid += gained / positives * f64::midpoint(precision, last_precision);
            (last, last_precision) = (now, precision);
        }
        let forwards: Vec<[u64; 2]> = thresholds
            .iter()
            .map(|beyond| [beyond.unknown, beyond.known])
            .collect();
        // With known pictures positive, the least strange come first.
        let before = std::iter::once(Beyond::default()).chain(thresholds.iter().copied());
        let mut backwards: Vec<[u64; 2]> = before
            .take(thresholds.len())
            .map(|beyond| [all.known - beyond.known, all.unknown - beyond.unknown])
            .collect();
        backwards.reverse();
        [
            area / (positives * negatives),
            average,
            trapezoid,
            false_positives(&forwards, recall),
            false_positives(&backwards, recall),
        ]
    }
}

/// The share of negatives beyond the threshold that the recall asks for. `thresholds` are positives and negatives beyond each,
/// strictest first.
fn false_positives(thresholds: &[[u64; 2]], recall: Recall) -> f64 {
    let Some(&[positives, negatives]) = thresholds.last() else {
        return f64::NAN;
    };
    let recall_at = |at: usize| thresholds[at][0] as f64 / positives as f64;
    // Beyond the first threshold with all positives there is nothing to gain.
    let complete = thresholds.partition_point(|[found, _]| *found < positives);
    let at = match recall {
        Recall::Reached => (0..=complete).find(|&at| recall_at(at) >= RECALL),
        Recall::Nearest => {
            let miss = |at: &usize| (recall_at(*at) - RECALL).abs();
            (0..=complete)
                .rev()
                .reduce(|best, at| match miss(&at) < miss(&best) {
                    true => at,
                    false => best,
                })
        }
    };
    at.map_or(f64::NAN, |at| thresholds[at][1] as f64 / negatives as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Resampling = Resampling { count: 0, seed: 0 };

    fn detection(known: &[f64], unknown: &[f64], recall: Recall) -> Detection {
        let outliers = Outliers {
            score: "x".to_owned(),
            known: known.to_vec(),
            unknown: unknown.to_vec(),
        };
        Detection::of(&outliers, recall, NONE)
    }

    #[test]
    fn perfect_useless_and_reversed_scores() {
        let perfect = detection(&[0.0, 1.0], &[2.0, 3.0], Recall::Reached);
        for (interval, expected) in [
            (perfect.auroc, 1.0),
            (perfect.aupr, 1.0),
            (perfect.aupr_trapezoid, 1.0),
            (perfect.fpr95_ood, 0.0),
            (perfect.fpr95_id, 0.0),
        ] {
            assert_eq!(interval.value, expected);
        }
        // One score for all: average precision is the share of unknown pictures.
        let useless = detection(&[1.0; 10], &[1.0; 2], Recall::Reached);
        assert_eq!(useless.auroc.value, 0.5);
        assert!((useless.aupr.value - 2.0 / 12.0).abs() < 1e-15);
        assert_eq!(
            (useless.fpr95_ood.value, useless.fpr95_id.value),
            (1.0, 1.0)
        );
        let reversed = detection(&[2.0, 3.0], &[0.0, 1.0], Recall::Reached);
        assert_eq!((reversed.auroc.value, reversed.fpr95_ood.value), (0.0, 1.0));
    }

    #[test]
    fn the_two_conventions_of_fpr95_differ() {
        // One unknown picture in ten looks like the most ordinary of known ones.
        let known: Vec<f64> = (0..100).map(f64::from).collect();
        let unknown: Vec<f64> = (0..10)
            .map(|at| if at == 0 { 0.5 } else { 200.0 })
            .collect();
        let found = detection(&known, &unknown, Recall::Reached);
        assert_eq!((found.fpr95_ood.value, found.fpr95_id.value), (0.99, 0.1));
        // The nearest recall is 0.9, and of the thresholds with it the script takes the last.
        let strict: Vec<f64> = (0..10)
            .map(|at| if at == 0 { -1.0 } else { 60.5 })
            .collect();
        let found = detection(&known, &strict, Recall::Reached);
        let nearest = detection(&known, &strict, Recall::Nearest);
        assert_eq!((found.fpr95_ood.value, nearest.fpr95_ood.value), (1.0, 1.0));
    }

    #[test]
    fn an_empty_set_leaves_everything_undefined() {
        let found = detection(&[1.0], &[], Recall::Reached);
        assert!(found.auroc.value.is_nan() && found.fpr95_id.value.is_nan());
        let json = serde_json::to_string(&found.auroc).unwrap();
        assert_eq!(json, r#"{"value":null,"low":null,"high":null,"n":1}"#);
    }

    #[test]
    fn intervals_hold_the_value_and_are_the_same_every_time() {
        let known: Vec<f64> = (0..60).map(|at| f64::from(at * 7 % 31)).collect();
        let unknown: Vec<f64> = (0..40).map(|at| f64::from(at * 5 % 37) + 4.0).collect();
        let outliers = Outliers {
            score: "x".to_owned(),
            known,
            unknown,
        };
        let seed = |seed| Resampling { count: 300, seed };
        let found = Detection::of(&outliers, Recall::Reached, seed(1));
        for interval in [
            found.auroc,
            found.aupr,
            found.aupr_trapezoid,
            found.fpr95_ood,
        ] {
            assert!(interval.low <= interval.value && interval.value <= interval.high);
            assert!(interval.low < interval.high);
        }
        let json = |one: &Detection| serde_json::to_string(one).unwrap();
        assert_eq!(
            json(&found),
            json(&Detection::of(&outliers, Recall::Reached, seed(1)))
        );
        assert_ne!(
            json(&found),
            json(&Detection::of(&outliers, Recall::Reached, seed(2)))
        );
    }
}
