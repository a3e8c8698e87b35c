//! Class by class: what is recognised, and what is said too often.

use serde::Serialize;

use super::answers::Answers;
use super::significance::{LEVEL, holm};
use crate::stats::{CONFIDENCE, Interval, clopper_pearson, mcnemar_exact};

/// One class in play.
#[derive(Clone, Debug, Serialize)]
pub struct ClassRow {
    /// Its number in the model; the first of a group's.
    pub class: usize,
    /// What it is called.
    pub name: String,
    /// The share of its pictures that is recognised; undefined without pictures.
    pub recall: Interval,
    /// How often it was predicted, rightly or not.
    pub predicted: u64,
    /// Mean confidence in the predictions on its pictures; undefined without pictures.
    pub confidence: f64,
    /// What its pictures are most often taken for.
    pub taken_for: Option<String>,
}

/// A class that is predicted more often than it is there.
#[derive(Clone, Debug, Serialize)]
pub struct Attractor {
    /// Its number in the model; the first of a group's.
    pub class: usize,
    /// What it is called.
    pub name: String,
    /// The share of all pictures that are predicted to be of it.
    pub predicted: Interval,
    /// The share of all pictures that are of it.
    pub true_share: f64,
    /// Share predicted through share true; undefined without pictures of it.
    pub ratio: f64,
    /// Of McNemar's exact test that the two shares are the same, adjusted for all classes after Holm.
    pub p: f64,
    /// Whether that is below 5%.
    pub significant: bool,
}

/// How the predicted labels spread over the classes in play.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Spread {
    /// Entropy of the predicted labels, in nats; at most the logarithm of the number of classes.
    pub entropy: f64,
    /// The number of equally frequent classes with that entropy.
    pub effective_classes: f64,
    /// Gini coefficient of how often each class is predicted: 0 where all are as often, near 1 where it is always the same.
    pub gini: f64,
}

/// Most attractors that are told.
const ATTRACTORS: usize = 20;

/// Every class in play, in order.
pub(super) fn rows(answers: &Answers, names: &[String]) -> Vec<ClassRow> {
    let count = answers.subset().len();
    let mut rows: Vec<ClassRow> = (0..count)
        .map(|place| ClassRow {
            class: answers.subset().members()[place][0],
            name: names[place].clone(),
            recall: clopper_pearson(0, 0, CONFIDENCE),
            predicted: 0,
            confidence: 0.0,
            taken_for: None,
        })
        .collect();
    let mut right = vec![0; count];
    let mut pictures = vec![0; count];
    let mut taken: Vec<std::collections::BTreeMap<usize, u64>> = vec![Default::default(); count];
    for (at, (&label, &said)) in (answers.labels().iter())
        .zip(answers.predictions())
        .enumerate()
    {
        pictures[label] += 1;
        right[label] += u64::from(label == said);
        rows[said].predicted += 1;
        rows[label].confidence += answers.confidences()[at];
        if label != said {
            *taken[label].entry(said).or_default() += 1;
        }
    }
    for (place, row) in rows.iter_mut().enumerate() {
        row.recall = clopper_pearson(right[place], pictures[place], CONFIDENCE);
        row.confidence /= pictures[place] as f64;
        // The first of equals.
        let most = taken[place].iter().rev().max_by_key(|(_, count)| **count);
        row.taken_for = most.map(|(&said, _)| names[said].clone());
    }
    rows
}

/// The classes that are predicted more often than they are there, those beyond chance first, then by ratio.
pub(super) fn attractors(answers: &Answers, names: &[String]) -> Vec<Attractor> {
    let count = answers.subset().len();
    let (mut there, mut said, mut both) = (vec![0u64; count], vec![0u64; count], vec![0u64; count]);
    for (&label, &prediction) in answers.labels().iter().zip(answers.predictions()) {
        there[label] += 1;
        said[prediction] += 1;
        both[label] += u64::from(label == prediction);
    }
    let tests: Vec<f64> = (0..count)
        .map(|place| match there[place] + said[place] {
            0 => f64::NAN,
            _ => mcnemar_exact(said[place] - both[place], there[place] - both[place]),
        })
        .collect();
    let all = answers.len() as u64;
    let mut found: Vec<Attractor> = holm(&tests)
        .into_iter()
        .enumerate()
        .filter(|&(place, _)| said[place] > there[place])
        .map(|(place, p)| Attractor {
            class: answers.subset().members()[place][0],
            name: names[place].clone(),
            predicted: clopper_pearson(said[place], all, CONFIDENCE),
            true_share: there[place] as f64 / all as f64,
            ratio: match there[place] {
                0 => f64::NAN,
                there => said[place] as f64 / there as f64,
            },
            p,
            significant: p < LEVEL,
        })
        .collect();
    found.sort_by(|a, b| {
        let ratio = |one: &Attractor| match one.ratio.is_nan() {
            true => f64::INFINITY,
            false => one.ratio,
        };
        (b.significant.cmp(&a.significant))
            .then(ratio(b).total_cmp(&ratio(a)))
            .then(b.predicted.value.total_cmp(&a.predicted.value))
            .then(a.class.cmp(&b.class))
    });
    found.truncate(ATTRACTORS);
    found
}

impl Spread {
    /// Of predicted labels among `classes` classes; undefined without any.
    pub(super) fn of(predictions: &[usize], classes: usize) -> Self {
        let mut counts = vec![0u64; classes];
        for &said in predictions {
            counts[said] += 1;
        }
        counts.sort_unstable();
        let all = predictions.len() as f64;
        let shares = counts.iter().map(|&count| count as f64 / all);
        let entropy = match predictions.len() {
            0 => f64::NAN,
            // Not the negative zero of one class alone.
            _ => shares
                .filter(|&p| p > 0.0)
                .map(|p| p * (1.0 / p).ln())
                .sum(),
        };
        let weighted: f64 = counts
            .iter()
            .enumerate()
            .map(|(at, &count)| (2.0 * (at as f64 + 1.0) - classes as f64 - 1.0) * count as f64)
            .sum();
        Self {
            entropy,
            effective_classes: entropy.exp(),
            gini: weighted / (classes as f64 * all),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Subset;
    use super::*;

    /// Answers that are as sure as can be of these classes.
    fn answers(labels: &[usize], said: &[usize], classes: usize) -> (Answers, Vec<String>) {
        let mut answers = Answers::new(&Subset::all(classes)).unwrap();
        for (&label, &said) in labels.iter().zip(said) {
            let mut logits = vec![0.0; classes];
            logits[said] = 50.0;
            answers.push(&logits, label, "x").unwrap();
        }
        let names = (0..classes).map(|class| format!("class {class}")).collect();
        (answers, names)
    }

    #[test]
    fn a_class_that_swallows_others_is_the_first_attractor() {
        // Class 2 is said of half the pictures of the others.
        let labels: Vec<usize> = (0..300).map(|at| at % 3).collect();
        let said: Vec<usize> = (0..300)
            .map(|at| if at % 2 == 0 { 2 } else { at % 3 })
            .collect();
        let (answers, names) = answers(&labels, &said, 4);
        let found = attractors(&answers, &names);
        assert_eq!(found.len(), 1);
        assert!(found[0].class == 2 && found[0].significant && found[0].ratio == 2.0);
        let rows = rows(&answers, &names);
        assert_eq!(rows[0].recall.value, 0.5);
        assert_eq!(rows[0].taken_for.as_deref(), Some("class 2"));
        assert_eq!((rows[2].predicted, rows[2].recall.value), (200, 1.0));
        // No picture is of class 3: nothing is known about it.
        assert!(rows[3].recall.value.is_nan() && rows[3].confidence.is_nan());
        assert_eq!(rows[3].taken_for, None);
    }

    #[test]
    fn symmetric_confusions_attract_nothing() {
        let labels: Vec<usize> = (0..200).map(|at| at % 2).collect();
        let said: Vec<usize> = (0..200).map(|at| (at + at / 2) % 2).collect();
        let (answers, names) = answers(&labels, &said, 2);
        assert!(attractors(&answers, &names).is_empty());
    }

    #[test]
    fn a_class_without_pictures_has_no_ratio() {
        let (answers, names) = answers(&[0; 30], &[1; 30], 3);
        let found = attractors(&answers, &names);
        assert!(found[0].class == 1 && found[0].ratio.is_nan() && found[0].significant);
    }

    /// Gini by the mean difference over all pairs through twice the mean; entropy by `scipy.stats.entropy`.
    #[test]
    fn spread_is_flat_or_peaked() {
        let flat = Spread::of(&[0, 1, 2, 3], 4);
        assert!((flat.entropy - 4.0f64.ln()).abs() < 1e-15 && flat.gini.abs() < 1e-15);
        let one = Spread::of(&[1; 9], 4);
        assert_eq!(
            (one.entropy, one.effective_classes, one.gini),
            (0.0, 1.0, 0.75)
        );
        let some = Spread::of(&[0, 0, 0, 1, 1, 2], 4);
        let counts = [3.0, 2.0, 1.0, 0.0];
        let pairs: f64 = counts
            .iter()
            .flat_map(|a| counts.map(|b: f64| (a - b).abs()))
            .sum();
        assert!((some.gini - pairs / (16.0 * 2.0 * 1.5)).abs() < 1e-15);
        assert!((some.entropy - 1.011_404_264_707_351_8).abs() < 1e-12);
        assert!(Spread::of(&[], 4).entropy.is_nan() && Spread::of(&[], 4).gini.is_nan());
    }
}
