//! Figures for each class, and losses averaged over samples.

use std::collections::BTreeMap;

use super::page::Names;
use crate::results::{Counting, Outcome, Row, Run, clean};
use crate::stats::{CONFIDENCE, Interval, clopper_pearson};

/// Maximum number of rows of the class table.
const CLASSES: usize = 100;

/// Figures by true class, under all attacks at one eps.
pub(super) struct ClassTable {
    pub(super) lines: Vec<ClassLine>,
    /// Number of classes that did not fit.
    pub(super) left_out: usize,
}

/// One class.
pub(super) struct ClassLine {
    pub(super) name: String,
    pub(super) samples: u64,
    pub(super) clean: Interval,
    pub(super) robust: Interval,
    /// The most frequent wrong answer under attack and its count; `None` if there was none.
    pub(super) mistaken_for: Option<(String, u64)>,
}

#[derive(Default)]
struct Tally {
    samples: BTreeMap<u64, (bool, bool)>,
    wrong: BTreeMap<u32, u64>,
}

/// A sample is robust if it withstands every attack at `eps`; wrong answers are counted over all attacks.
pub(super) fn table(run: &Run, rows: &[Row], eps: Option<&str>) -> ClassTable {
    let (names, counting) = (Names::of_run(run), Counting::of(run));
    let mut classes: BTreeMap<u32, Tally> = BTreeMap::new();
    let counted = rows.iter().filter(|row| counting.counts(row));
    for row in counted.filter(|row| row.eps_text() == eps) {
        let class = classes.entry(row.label).or_default();
        let (right, robust) = class.samples.entry(row.index).or_insert((true, true));
        *right &= clean(row);
        // The attack that broke it has a row of its own.
        if row.outcome == Outcome::AlreadyBroken {
            continue;
        }
        *robust &= counting.survives(row, row.float);
        if let Some(verdict) = row
            .float
            .filter(|_| clean(row) && !counting.survives(row, row.float))
        {
            *class.wrong.entry(verdict.seen.label).or_default() += 1;
        }
    }
    let left_out = classes.len().saturating_sub(CLASSES);
    let lines = classes.into_iter().take(CLASSES).map(|(label, class)| {
        let n = class.samples.len() as u64;
        let share = |of: fn(&(bool, bool)) -> bool| {
            let count = class.samples.values().filter(|sample| of(sample)).count();
            clopper_pearson(count as u64, n, CONFIDENCE)
        };
        // Of equally frequent answers, the one with the smallest class number counts.
        let most = class.wrong.iter().rev().max_by_key(|(_, count)| **count);
        ClassLine {
            name: names.of(label),
            samples: n,
            clean: share(|sample| sample.0),
            robust: share(|sample| sample.1),
            mistaken_for: most.map(|(&wrong, &count)| (names.of(wrong), count)),
        }
    });
    ClassTable {
        lines: lines.collect(),
        left_out,
    }
}

/// Returns the mean loss at every step over these samples. A sample that ended early counts with its last loss.
pub(super) fn mean_loss<'a>(rows: impl Iterator<Item = &'a Row>) -> Vec<f64> {
    let losses: Vec<&[f32]> = rows
        .map(|row| row.loss.as_slice())
        .filter(|loss| !loss.is_empty() && loss.iter().all(|value| value.is_finite()))
        .collect();
    let steps = losses.iter().map(|loss| loss.len()).max().unwrap_or(0);
    (0..steps)
        .map(|step| {
            let at_step = |loss: &&[f32]| f64::from(loss[step.min(loss.len() - 1)]);
            losses.iter().map(at_step).sum::<f64>() / losses.len() as f64
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::example::{already_wrong, fooled, robust, run};

    #[test]
    fn a_class_is_as_robust_as_its_samples_under_every_attack() {
        let rows = [
            fooled(0, "pgd", "8/255"),
            robust(0, "fgsm", "8/255"),
            robust(1, "pgd", "8/255"),
            robust(1, "fgsm", "8/255"),
            already_wrong(2, "pgd", "8/255"),
            already_wrong(2, "fgsm", "8/255"),
            fooled(1, "pgd", "4/255"),
        ];
        let run = run(3);
        let table = table(&run, &rows, Some("8/255"));
        let [circle] = &table.lines[..] else {
            panic!("one class, not {}", table.lines.len());
        };
        assert_eq!((circle.name.as_str(), circle.samples), ("circle", 3));
        assert_eq!(
            (circle.clean.value, circle.robust.value),
            (2.0 / 3.0, 1.0 / 3.0)
        );
        assert_eq!(circle.mistaken_for, Some(("square".to_owned(), 1)));
    }

    #[test]
    fn a_sample_that_ended_early_keeps_its_last_loss() {
        let with = |loss: &[f32]| Row {
            loss: loss.to_vec(),
            ..fooled(0, "pgd", "8/255")
        };
        let rows = [
            with(&[1.0, 3.0]),
            with(&[5.0]),
            with(&[]),
            with(&[f32::NAN]),
        ];
        assert_eq!(mean_loss(rows.iter()), [3.0, 4.0]);
        assert!(mean_loss([].into_iter()).is_empty());
    }
}
