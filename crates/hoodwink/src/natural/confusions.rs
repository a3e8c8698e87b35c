//! Which class is taken for which, and which way round.

use std::collections::BTreeMap;

use serde::Serialize;

use super::answers::Answers;
use super::significance::{LEVEL, binomial, holm};
use crate::stats::{CONFIDENCE, Interval, clopper_pearson};

/// Pictures of one class that are taken for another.
#[derive(Clone, Debug, Serialize)]
pub struct Confusion {
    /// The class they are of, by its number in the model; the first of a group's.
    pub class: usize,
    /// What it is called.
    pub name: String,
    /// The class they are taken for.
    pub taken_for: usize,
    /// What it is called.
    pub taken_for_name: String,
    /// How many.
    pub count: u64,
    /// Their share of the pictures of their class.
    pub rate: Interval,
    /// How many the other way round.
    pub reverse: u64,
    /// The share of the other way round; undefined if there are no pictures of the other class.
    pub reverse_rate: Interval,
    /// Of the exact binomial test that both ways are as frequent, given how many pictures each class has, adjusted after Holm
    /// for all pairs with at least six confusions. Undefined for others.
    pub p: f64,
    /// Whether that is below 5%.
    pub directed: bool,
}

/// Confusions of a pair below which no test could tell a direction.
const TESTED: u64 = 6;

/// Most confusions that are told.
const CONFUSIONS: usize = 20;

/// The most frequent confusions.
pub(super) fn confusions(answers: &Answers, names: &[String]) -> Vec<Confusion> {
    let mut pictures = vec![0u64; answers.subset().len()];
    let mut counts: BTreeMap<(usize, usize), u64> = BTreeMap::new();
    for (&label, &said) in answers.labels().iter().zip(answers.predictions()) {
        pictures[label] += 1;
        if label != said {
            *counts.entry((label, said)).or_default() += 1;
        }
    }
    let reverse =
        |&(label, said): &(usize, usize)| counts.get(&(said, label)).copied().unwrap_or(0);
    // Each pair is tested once, in whichever direction comes first.
    let pairs: Vec<(usize, usize)> = counts
        .keys()
        .map(|&(label, said)| (label.min(said), label.max(said)))
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .collect();
    let tests: Vec<f64> = pairs
        .iter()
        .map(|pair| {
            let (there, back) = (counts.get(pair).copied().unwrap_or(0), reverse(pair));
            let (first, second) = (pictures[pair.0] as f64, pictures[pair.1] as f64);
            match there + back >= TESTED && first > 0.0 && second > 0.0 {
                true => binomial(there, there + back, first / (first + second)),
                false => f64::NAN,
            }
        })
        .collect();
    let tests: BTreeMap<(usize, usize), f64> = pairs.into_iter().zip(holm(&tests)).collect();
    let number = |place: usize| answers.subset().members()[place][0];
    let mut found: Vec<Confusion> = counts
        .iter()
        .map(|(pair, &count)| {
            let (label, said) = *pair;
            let p = tests[&(label.min(said), label.max(said))];
            let share = |count, of: usize| clopper_pearson(count, pictures[of], CONFIDENCE);
            let (rate, reverse_rate) = (share(count, label), share(reverse(pair), said));
            Confusion {
                class: number(label),
                name: names[label].clone(),
                taken_for: number(said),
                taken_for_name: names[said].clone(),
                count,
                rate,
                reverse: reverse(pair),
                reverse_rate,
                p,
                directed: p < LEVEL && rate.value > reverse_rate.value,
            }
        })
        .collect();
    found.sort_by(|a, b| {
        (b.count.cmp(&a.count))
            .then(b.rate.value.total_cmp(&a.rate.value))
            .then((a.class, a.taken_for).cmp(&(b.class, b.taken_for)))
    });
    found.truncate(CONFUSIONS);
    found
}

#[cfg(test)]
mod tests {
    use super::super::Subset;
    use super::*;

    fn found(pairs: &[(usize, usize, usize)], classes: usize) -> Vec<Confusion> {
        let mut answers = Answers::new(&Subset::all(classes)).unwrap();
        for &(label, said, times) in pairs {
            let mut logits = vec![0.0; classes];
            logits[said] = 5.0;
            for _ in 0..times {
                answers.push(&logits, label, "x").unwrap();
            }
        }
        let names: Vec<String> = (0..classes).map(|class| class.to_string()).collect();
        confusions(&answers, &names)
    }

    #[test]
    fn one_way_confusions_are_directed_and_two_way_ones_are_not() {
        let found = found(
            &[
                (0, 1, 20),
                (0, 0, 30),
                (1, 0, 1),
                (1, 1, 49),
                (2, 3, 12),
                (2, 2, 38),
                (3, 2, 11),
                (3, 3, 39),
            ],
            4,
        );
        let told: Vec<_> = found
            .iter()
            .map(|one| {
                (
                    one.class,
                    one.taken_for,
                    one.count,
                    one.reverse,
                    one.directed,
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                (0, 1, 20, 1, true),
                (2, 3, 12, 11, false),
                (3, 2, 11, 12, false),
                (1, 0, 1, 20, false)
            ]
        );
        assert_eq!(found[0].rate.value, 0.4);
        assert_eq!(found[0].reverse_rate.value, 0.02);
    }

    #[test]
    fn more_pictures_of_one_class_are_no_direction() {
        // A tenth of each is taken for the other; one class has ten times the pictures.
        let found = found(&[(0, 1, 50), (0, 0, 450), (1, 0, 5), (1, 1, 45)], 2);
        assert!(found.iter().all(|one| !one.directed), "{found:?}");
    }

    #[test]
    fn without_pictures_of_the_other_class_there_is_no_test() {
        let found = found(&[(0, 1, 9)], 2);
        assert!(found[0].p.is_nan() && !found[0].directed);
        assert!(found[0].reverse_rate.value.is_nan());
    }
}
