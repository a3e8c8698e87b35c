//! The figures of a run, as one pure function of its rows.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{ModelRecord, Outcome, Row, Run, ThreatRecord, Timing, Verdict};
use crate::counted;
use crate::data::Partition;
use crate::stats::{CONFIDENCE, Interval, clopper_pearson};

/// The figures of a run. Its JSON is what `--format json` prints (see `docs/results.md`); `null` means "there is none", never zero.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The model.
    pub model: ModelRecord,
    /// The pictures.
    pub data: DataSummary,
    /// How many of them the figures are of.
    pub measured: Measured,
    /// The threat model.
    pub threat: ThreatRecord,
    /// Every attack at every eps, in the order of `run.toml`.
    pub attacks: Vec<AttackSummary>,
    /// All attacks together, at every eps: a sample counts as robust if it withstands every one of them.
    pub worst_case: Vec<WorstCase>,
}

/// Which pictures were attacked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DataSummary {
    /// File or folder as the user named it.
    pub path: String,
    /// Digest over files and labels.
    pub digest: String,
    /// Number of samples.
    pub samples: usize,
}

/// How many pictures the figures are of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Measured {
    /// Pictures with their rows.
    pub pictures: usize,
    /// Pictures of the run when it is finished.
    pub of: usize,
    /// The part of the data that the run is about, such as `3/8`; `None` is all.
    pub partition: Option<Partition>,
}

impl Measured {
    fn of(run: &Run, rows: &[Row]) -> Self {
        let indices: BTreeSet<u64> = rows.iter().map(|row| row.index).collect();
        let all = run.data.samples;
        Self {
            pictures: indices.len(),
            of: run.partition.map_or(all, |part| part.range(all).len()),
            partition: run.partition,
        }
    }

    /// Of what the figures are, if not of all pictures: `part 3/8`, `120 of 300 pictures so far`, or both.
    pub fn so_far(&self) -> Option<String> {
        let part = self.partition.map(|partition| format!("part {partition}"));
        let unfinished = self.pictures < self.of;
        let so_far = unfinished
            .then(|| format!("{} of {} so far", self.pictures, counted::pictures(self.of)));
        let said: Vec<String> = part.into_iter().chain(so_far).collect();
        (!said.is_empty()).then(|| said.join(", "))
    }
}

/// One attack at one eps. Intervals are Clopper–Pearson at 95 %.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AttackSummary {
    /// Name of the attack.
    pub name: String,
    /// Its full recipe.
    pub recipe: String,
    /// Radius in pixel space, as typed.
    pub eps: String,
    /// Samples on which something was attempted.
    pub attacked: u64,
    /// Of all samples, those the model gets right before any attack.
    pub clean_accuracy: Interval,
    /// Of all samples, those it gets right before and after the attack.
    pub robust_accuracy: Interval,
    /// The same, judged on the 8-bit PNG read back.
    pub robust_accuracy_saved: Interval,
    /// Of the attacked samples, those on which the attack reached its goal.
    pub success_rate: Interval,
    /// Sizes of the perturbations that succeeded; `None` if none did.
    pub norms: Option<NormsSummary>,
    /// Gradients spent, each with its forward pass.
    pub gradients: Cost,
    /// Forward passes spent, those of the gradients not counted.
    pub queries: Cost,
    /// Seconds of this attack at all eps together, summed over workers; `None` if not measured.
    pub seconds: Option<f64>,
    /// Number of samples by [`Outcome::word`].
    pub outcomes: BTreeMap<&'static str, u64>,
}

/// Sizes of perturbations, measured in pixel space.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct NormsSummary {
    /// Channel values that differ.
    pub l0: Spread,
    /// Sums of absolute differences.
    pub l1: Spread,
    /// Roots of the sums of squared differences.
    pub l2: Spread,
    /// Largest absolute differences.
    pub linf: Spread,
}

/// The middle and the end of a set of measurements.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The median; of an even number of values the mean of the middle two.
    pub median: f64,
    /// The largest.
    pub max: f64,
}

/// What an attack spent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Cost {
    /// Sum over the samples.
    pub total: u64,
    /// Mean per attacked sample; `None` if none was attacked.
    pub mean: Option<f64>,
}

/// All attacks at one eps.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WorstCase {
    /// Radius in pixel space, as typed.
    pub eps: String,
    /// Of all samples, those that withstand every attack.
    pub robust_accuracy: Interval,
    /// The same, judged on the 8-bit PNGs read back.
    pub robust_accuracy_saved: Interval,
}

impl Summary {
    /// The figures of these rows, which may be those of an unfinished run.
    pub fn of(run: &Run, rows: &[Row], timing: Option<&Timing>) -> Self {
        let mut attacks = Vec::new();
        for record in &run.attacks {
            for eps in &run.threat.eps {
                let rows: Vec<&Row> = rows
                    .iter()
                    .filter(|row| row.attack == record.name && row.eps_text == *eps)
                    .collect();
                attacks.push(AttackSummary {
                    recipe: record.recipe.clone(),
                    seconds: timing.and_then(|t| t.by_attack.get(&record.name).copied()),
                    ..AttackSummary::of(&record.name, eps, &rows)
                });
            }
        }
        let worst_case = run.threat.eps.iter().map(|eps| WorstCase::of(eps, rows));
        Self {
            model: run.model.clone(),
            data: DataSummary {
                path: run.data.path.clone(),
                digest: run.data.digest.clone(),
                samples: run.data.samples,
            },
            measured: Measured::of(run, rows),
            threat: run.threat.clone(),
            attacks,
            worst_case: worst_case.collect(),
        }
    }
}

impl AttackSummary {
    fn of(name: &str, eps: &str, rows: &[&Row]) -> Self {
        let attacked = count(rows, |row| row.float.is_some());
        let fooled: Vec<Verdict> = rows
            .iter()
            .filter_map(|row| row.float)
            .filter(|verdict| verdict.success)
            .collect();
        let cost = |of: fn(&Row) -> u64| {
            let total = rows.iter().map(|row| of(row)).sum();
            Cost {
                total,
                mean: (attacked > 0).then(|| total as f64 / attacked as f64),
            }
        };
        let mut outcomes: BTreeMap<_, _> = Outcome::ALL.map(|o| (o.word(), 0)).into();
        for row in rows {
            *outcomes.entry(row.outcome.word()).or_default() += 1;
        }
        Self {
            name: name.to_owned(),
            recipe: String::new(),
            eps: eps.to_owned(),
            attacked,
            clean_accuracy: share(rows, clean),
            robust_accuracy: share(rows, |row| survives(row, row.float)),
            robust_accuracy_saved: share(rows, |row| survives(row, row.saved)),
            success_rate: clopper_pearson(fooled.len() as u64, attacked, CONFIDENCE),
            norms: NormsSummary::of(&fooled),
            gradients: cost(|row| row.gradients),
            queries: cost(|row| row.queries),
            seconds: None,
            outcomes,
        }
    }
}

impl WorstCase {
    fn of(eps: &str, rows: &[Row]) -> Self {
        let mut by_sample: BTreeMap<u64, (bool, bool)> = BTreeMap::new();
        for row in rows.iter().filter(|row| row.eps_text == eps) {
            let (float, saved) = by_sample.entry(row.index).or_insert((true, true));
            *float &= survives(row, row.float);
            *saved &= survives(row, row.saved);
        }
        let n = by_sample.len() as u64;
        let share = |of: fn(&(bool, bool)) -> bool| {
            let robust = by_sample.values().filter(|sample| of(sample)).count();
            clopper_pearson(robust as u64, n, CONFIDENCE)
        };
        Self {
            eps: eps.to_owned(),
            robust_accuracy: share(|sample| sample.0),
            robust_accuracy_saved: share(|sample| sample.1),
        }
    }
}

impl NormsSummary {
    fn of(verdicts: &[Verdict]) -> Option<Self> {
        let spread = |of: fn(&Verdict) -> f64| Spread::of(verdicts.iter().map(of).collect());
        Some(Self {
            l0: spread(|v| v.norms.l0)?,
            l1: spread(|v| v.norms.l1)?,
            l2: spread(|v| v.norms.l2)?,
            linf: spread(|v| v.norms.linf)?,
        })
    }

    /// The sizes in the norm of a threat model: `linf`, `l2`, `l1` or `l0`.
    pub fn in_norm(&self, norm: &str) -> Spread {
        match norm {
            "l0" => self.l0,
            "l1" => self.l1,
            "l2" => self.l2,
            _ => self.linf,
        }
    }
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let max = *values.last()?;
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            0 => f64::midpoint(values[middle - 1], values[middle]),
            _ => values[middle],
        };
        Some(Self { median, max })
    }
}

/// Whether the model is right about the original.
pub(crate) fn clean(row: &Row) -> bool {
    row.clean.label == row.label
}

/// Whether the model is right about the original and still right about the candidate behind `verdict`.
///
/// A targeted attack that ends in a third class has failed, yet the label is lost.
pub(crate) fn survives(row: &Row, verdict: Option<Verdict>) -> bool {
    clean(row)
        && match (verdict, row.target) {
            (None, _) => true,
            (Some(verdict), None) => !verdict.success,
            (Some(verdict), Some(_)) => verdict.seen.label == row.label,
        }
}

fn count(rows: &[&Row], of: impl Fn(&Row) -> bool) -> u64 {
    rows.iter().filter(|row| of(row)).count() as u64
}

fn share(rows: &[&Row], of: impl Fn(&Row) -> bool) -> Interval {
    clopper_pearson(count(rows, of), rows.len() as u64, CONFIDENCE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Norms;
    use crate::results::example::{already_wrong, fooled, robust, run};

    /// Ten samples: one wrong from the start; PGD fools six at 4/255, FGSM three, one of which PGD does not.
    fn rows() -> Vec<Row> {
        let mut rows = vec![
            already_wrong(0, "pgd", "4/255"),
            already_wrong(0, "fgsm", "4/255"),
        ];
        for index in 1..10 {
            let by_pgd = if index <= 6 { fooled } else { robust };
            let by_fgsm = if (5..8).contains(&index) {
                fooled
            } else {
                robust
            };
            rows.push(by_pgd(index, "pgd", "4/255"));
            rows.push(by_fgsm(index, "fgsm", "4/255"));
        }
        rows
    }

    fn proportion(interval: Interval) -> (f64, u64) {
        (interval.value, interval.n)
    }

    #[test]
    fn untargeted_figures_are_counts_over_the_right_samples() {
        let timing = Timing {
            by_attack: [("pgd".to_owned(), 2.5)].into(),
            ..Timing::default()
        };
        let summary = Summary::of(&run(10), &rows(), Some(&timing));
        let [pgd, pgd_at_8, fgsm, _] = &summary.attacks[..] else {
            panic!("two attacks at two eps: {:?}", summary.attacks.len());
        };
        assert_eq!((pgd.name.as_str(), pgd.eps.as_str()), ("pgd", "4/255"));
        assert_eq!(pgd.attacked, 9);
        assert_eq!(proportion(pgd.clean_accuracy), (0.9, 10));
        assert_eq!(proportion(pgd.robust_accuracy), (0.3, 10));
        assert_eq!(proportion(pgd.success_rate), (6.0 / 9.0, 9));
        assert_eq!(proportion(fgsm.robust_accuracy), (0.6, 10));
        assert_eq!((pgd.gradients.total, pgd.gradients.mean), (90, Some(10.0)));
        assert_eq!((pgd.queries.total, pgd.queries.mean), (18, Some(2.0)));
        assert_eq!((pgd.seconds, fgsm.seconds), (Some(2.5), None));
        assert_eq!(pgd.outcomes["already-wrong"], 1);
        assert_eq!((pgd_at_8.attacked, pgd_at_8.norms), (0, None));
        assert_eq!(pgd_at_8.gradients.mean, None);
        // Against PGD sample 7, 8, 9 stand; FGSM fools 7.
        assert_eq!(proportion(summary.worst_case[0].robust_accuracy), (0.2, 10));
    }

    #[test]
    fn intervals_are_those_of_clopper_and_pearson() {
        // scipy.stats.binomtest(3, 10).proportion_ci(method="exact")
        let robust = Summary::of(&run(10), &rows(), None).attacks[0].robust_accuracy;
        assert!((robust.low - 0.066_739_511_178).abs() < 1e-9, "{robust:?}");
        assert!((robust.high - 0.652_452_850_060).abs() < 1e-9, "{robust:?}");
    }

    #[test]
    fn the_saved_picture_is_judged_apart() {
        let mut rows = rows();
        for row in &mut rows {
            row.saved = robust(row.index, &row.attack, &row.eps_text).saved;
        }
        let pgd = &Summary::of(&run(10), &rows, None).attacks[0];
        assert_eq!(proportion(pgd.robust_accuracy), (0.3, 10));
        assert_eq!(proportion(pgd.robust_accuracy_saved), (0.9, 10));
    }

    #[test]
    fn a_targeted_attack_that_ends_elsewhere_fails_but_the_label_is_lost() {
        let mut row = fooled(0, "pgd", "4/255");
        row.target = Some(2);
        row.float.as_mut().unwrap().success = false;
        let mut reached = fooled(1, "pgd", "4/255");
        reached.target = Some(1);
        let pgd = &Summary::of(&run(2), &[row, reached], None).attacks[0];
        assert_eq!(proportion(pgd.success_rate), (0.5, 2));
        assert_eq!(proportion(pgd.robust_accuracy), (0.0, 2));
    }

    #[test]
    fn norms_are_those_of_the_successes() {
        let with_linf = |index: u64, linf: f64, success: bool| {
            let mut row = fooled(index, "pgd", "4/255");
            let verdict = row.float.as_mut().unwrap();
            verdict.success = success;
            verdict.norms = Norms {
                linf,
                ..Norms::default()
            };
            row
        };
        let rows = [
            with_linf(0, 0.1, true),
            with_linf(1, 0.4, true),
            with_linf(2, 0.9, false),
        ];
        let norms = Summary::of(&run(3), &rows, None).attacks[0].norms.unwrap();
        assert_eq!((norms.linf.median, norms.linf.max), (0.25, 0.4));
    }

    #[test]
    fn json_has_the_promised_keys_and_null_for_what_is_not_there() {
        let json = serde_json::to_value(Summary::of(&run(10), &rows(), None)).unwrap();
        for key in ["model", "data", "threat", "attacks", "worst_case"] {
            assert!(json.get(key).is_some(), "{key}");
        }
        let attack = &json["attacks"][1];
        for key in [
            "name",
            "recipe",
            "eps",
            "attacked",
            "clean_accuracy",
            "robust_accuracy",
            "robust_accuracy_saved",
            "success_rate",
            "norms",
            "gradients",
            "queries",
            "seconds",
        ] {
            assert!(attack.get(key).is_some(), "{key}");
        }
        assert!(attack["norms"].is_null());
        assert!(attack["seconds"].is_null());
        assert!(attack["clean_accuracy"]["value"].is_null());
        assert_eq!(json["attacks"][0]["robust_accuracy"]["value"], 0.3);
    }
}
