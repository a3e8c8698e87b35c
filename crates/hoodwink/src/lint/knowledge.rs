//! How well a model's scores match the labels, in a measure that is comparable between preprocessings of the same
//! model.
//!
//! The accuracy of a robust model hardly changes with slightly wrong inputs, but its log loss does. The log loss also
//! depends on the model's confidence, which the contrast of the inputs changes. So each preprocessing is judged at the
//! temperature that minimises its log loss (Guo et al., "On calibration of modern neural networks", arXiv:1706.04599,
//! section 4.2). What remains is how well the scores separate the classes.

use crate::stats::mcnemar_exact;

/// The significance level below which a difference is reported. It is small because several are tested and false alarms
/// cost trust.
pub(super) const SIGNIFICANCE: f64 = 1e-3;

/// Smallest and largest inverse temperature, as natural logarithms.
const INVERSE_TEMPERATURES: [f64; 2] = [-14.0, 7.0];

/// How well answers match the labels.
pub(super) struct Knowledge {
    /// The log loss of each picture, in nats, at the temperature that is best for all of them.
    pub(super) losses: Vec<f64>,
    /// The log loss of each picture, in nats, at temperature 1.
    pub(super) raw_losses: Vec<f64>,
    /// The natural logarithm of the best temperature: 0 for a calibrated model.
    pub(super) log_temperature: f64,
    /// Whether each picture is right.
    pub(super) rights: Vec<bool>,
}

impl Knowledge {
    /// Measures finite answers. A label outside the classes counts as a class of probability 0.
    pub(super) fn of(answers: &[Vec<f32>], labels: &[usize]) -> Self {
        let pairs = || {
            answers
                .iter()
                .map(Vec::as_slice)
                .zip(labels.iter().copied())
        };
        let slope = |inverse: f64| -> f64 {
            pairs()
                .map(|(answer, label)| expected(answer, inverse) - score(answer, label))
                .sum()
        };
        // The mean log loss is convex in the inverse temperature.
        let [mut low, mut high] = INVERSE_TEMPERATURES;
        for _ in 0..40 {
            let middle = f64::midpoint(low, high);
            match slope(middle.exp()) < 0.0 {
                true => low = middle,
                false => high = middle,
            }
        }
        let inverse = f64::midpoint(low, high);
        let losses = |inverse: f64| -> Vec<f64> {
            pairs()
                .map(|(answer, label)| log_loss(answer, label, inverse))
                .collect()
        };
        Self {
            losses: losses(inverse.exp()),
            raw_losses: losses(1.0),
            log_temperature: -inverse,
            rights: rights(answers, labels),
        }
    }

    /// Returns the mean log loss at the best temperature, in nats.
    pub(super) fn loss(&self) -> f64 {
        mean(&self.losses)
    }
}

/// Returns the logit of the label. For a label outside the classes, returns a logit below all others.
fn score(answer: &[f32], label: usize) -> f64 {
    let least = || answer.iter().copied().fold(f32::INFINITY, f32::min);
    f64::from(answer.get(label).copied().unwrap_or_else(least))
}

fn largest(answer: &[f32]) -> f64 {
    f64::from(answer.iter().copied().fold(f32::NEG_INFINITY, f32::max))
}

fn log_loss(answer: &[f32], label: usize, inverse: f64) -> f64 {
    let top = largest(answer);
    let sum: f64 = answer
        .iter()
        .map(|&value| (inverse * (f64::from(value) - top)).exp())
        .sum();
    sum.ln() - inverse * (score(answer, label) - top)
}

/// Returns the mean logit under the softmax.
fn expected(answer: &[f32], inverse: f64) -> f64 {
    let top = largest(answer);
    let (mut sum, mut weighted) = (0.0, 0.0);
    for &value in answer {
        let weight = (inverse * (f64::from(value) - top)).exp();
        sum += weight;
        weighted += weight * f64::from(value);
    }
    weighted / sum
}

pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Returns how many standard errors the first values exceed the second ones by, in pairs.
pub(super) fn standard_errors(first: &[f64], second: &[f64]) -> f64 {
    let differences: Vec<f64> = first.iter().zip(second).map(|(a, b)| a - b).collect();
    let (count, mean) = (differences.len() as f64, mean(&differences));
    let squares: f64 = differences.iter().map(|d| (d - mean).powi(2)).sum();
    let error = (squares / (count * (count - 1.0))).sqrt();
    if error > 0.0 { mean / error } else { 0.0 }
}

/// Returns the class of the largest logit, the first of several equal ones.
pub(super) fn prediction(answer: &[f32]) -> usize {
    let mut best = 0;
    for (class, value) in answer.iter().enumerate() {
        if *value > answer[best] {
            best = class;
        }
    }
    best
}

pub(super) fn rights(answers: &[Vec<f32>], labels: &[usize]) -> Vec<bool> {
    (answers.iter().zip(labels))
        .map(|(answer, &label)| prediction(answer) == label)
        .collect()
}

pub(super) fn percent(rights: &[bool]) -> f64 {
    100.0 * rights.iter().filter(|&&right| right).count() as f64 / rights.len().max(1) as f64
}

/// Whether the second is right significantly more often on the same pictures.
pub(super) fn is_better(first: &[bool], second: &[bool]) -> bool {
    let only = |this: &[bool], other: &[bool]| {
        this.iter()
            .zip(other)
            .filter(|(this, other)| **this && !**other)
            .count() as u64
    };
    let (lost, won) = (only(first, second), only(second, first));
    won > lost && mcnemar_exact(lost, won) < SIGNIFICANCE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_chance_does_not_explain_is_better() {
        let some = |count: usize| -> Vec<bool> { (0..100).map(|at| at < count).collect() };
        assert!(is_better(&some(10), &some(50)));
        assert!(!is_better(&some(50), &some(10)));
        assert!(!is_better(&some(50), &some(55)));
        assert!(!is_better(&some(50), &some(50)));
    }

    /// From `scipy.optimize.minimize_scalar` over the temperature, SciPy 1.17.1; five pictures of three classes.
    #[test]
    fn the_best_temperature_is_scipys() {
        let answers = [
            vec![2.0, 0.5, -1.0],
            vec![0.2, 0.1, 3.0],
            vec![1.0, 1.5, 0.0],
            vec![-2.0, 0.3, 0.4],
            vec![4.0, 3.0, 1.0],
        ];
        let known = Knowledge::of(&answers, &[0, 2, 0, 1, 1]);
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-6, "{a} is not {b}");
        near(mean(&known.raw_losses), 0.718_995_594_641_643_8);
        near(known.loss(), 0.718_859_052_361_923_3);
        near(known.log_temperature, 0.024_443_491);
        assert_eq!(known.rights, [true, true, false, false, false]);
    }

    #[test]
    fn contrast_alone_changes_no_calibrated_loss() {
        let labels: Vec<usize> = (0..50).map(|at| at * 3 % 5).collect();
        // The label is often, but not always, the largest.
        let answers: Vec<Vec<f32>> = (0_u8..50)
            .zip(&labels)
            .map(|(at, &label)| {
                let mut answer: Vec<f32> = (0_u8..5)
                    .map(|class| f32::from((at % 11 * 7 + class * 3) % 13) / 9.0)
                    .collect();
                answer[label] += 0.7;
                answer
            })
            .collect();
        let louder: Vec<Vec<f32>> = answers
            .iter()
            .map(|answer| answer.iter().map(|value| 255.0 * value).collect())
            .collect();
        let (quiet, loud) = (
            Knowledge::of(&answers, &labels),
            Knowledge::of(&louder, &labels),
        );
        assert!((quiet.loss() - loud.loss()).abs() < 1e-5);
        let apart = loud.log_temperature - quiet.log_temperature;
        assert!((apart - 255.0_f64.ln()).abs() < 1e-3, "{apart}");
    }

    #[test]
    fn separable_answers_and_useless_ones_have_a_loss() {
        let sure = Knowledge::of(&[vec![1.0, 0.0], vec![0.0, 1.0]], &[0, 1]);
        assert!(sure.loss() < 1e-9);
        let wrong = Knowledge::of(&[vec![1.0, 0.0], vec![0.0, 1.0]], &[1, 0]);
        assert!((wrong.loss() - 2.0_f64.ln()).abs() < 1e-4);
        let beyond = Knowledge::of(&[vec![1.0, 0.0]], &[7]);
        assert!(beyond.loss().is_finite());
    }

    #[test]
    fn standard_errors_are_those_of_a_paired_test() {
        let first = [1.0, 2.0, 3.0, 4.0];
        let second = [0.5, 1.0, 2.5, 2.0];
        // Differences .5, 1, .5, 2: mean 1, sample variance .5.
        let expected = 1.0 / (0.5_f64 / 4.0).sqrt();
        assert!((standard_errors(&first, &second) - expected).abs() < 1e-12);
        assert_eq!(standard_errors(&first, &first), 0.0);
        assert_eq!(standard_errors(&[1.0], &[0.0]), 0.0);
    }
}
