//! The figures of a run, as one pure function of its rows.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{ModelRecord, Outcome, Row, Run, ThreatRecord, Timing, Truth, Verdict};
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
    /// What counts as right.
    pub truth: Truth,
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
    /// What tells it from the other attacks of the run in few words ([`Run::shown`]).
    #[serde(skip)]
    pub shown: String,
    /// Its full recipe.
    pub recipe: String,
    /// Radius in pixel space, as typed; `None` where the attack looked for the smallest distance without one.
    pub eps: Option<String>,
    /// Samples on which something was attempted.
    pub attacked: u64,
    /// Of all samples, those the model gets right before any attack.
    pub clean_accuracy: Interval,
    /// Of all samples, those it gets right before and after the attack; without eps, those that no distance broke. Where a
    /// schedule skips what is broken, what is left after this attack and those before it.
    pub robust_accuracy: Interval,
    /// The same, judged on the 8-bit PNG read back.
    pub robust_accuracy_saved: Interval,
    /// Of the attacked samples, those on which the attack reached its goal.
    pub success_rate: Interval,
    /// Sizes of the perturbations that succeeded; `None` if none did.
    pub norms: Option<NormsSummary>,
    /// How far the attacked samples had to be moved; `None` for an attack with eps.
    pub distance: Option<Distance>,
    /// Gradients spent, each with its forward pass.
    pub gradients: Cost,
    /// Forward passes spent, those of the gradients not counted.
    pub queries: Cost,
    /// Seconds of this attack at all eps together, summed over workers; `None` if not measured.
    pub seconds: Option<f64>,
    /// Number of samples by [`Outcome::word`].
    pub outcomes: BTreeMap<&'static str, u64>,
}

/// How far pictures had to be moved until they fooled the model, judged on the attack's own floats. A failure counts as
/// infinitely far.
///
/// A quantile is interpolated linearly between the two samples around it, as NumPy does by default, and infinite where it
/// needs one that is; in JSON that is `null`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Distance {
    /// The norm of the threat model, in pixel space: `linf`, `l2`, `l1` or `l0`.
    pub norm: String,
    /// Half of the samples were fooled within this distance.
    pub median: f64,
    /// A tenth of them was.
    pub q10: f64,
    /// Nine tenths of them were.
    pub q90: f64,
    /// The share that the attack could not break at all, in \[0, 1\].
    pub unbroken: f64,
    /// Attacked samples: those that the model was right about.
    pub n: u64,
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
    /// Radius in pixel space, as typed; `None` for attacks without one.
    pub eps: Option<String>,
    /// Of all samples, those that withstand every attack.
    pub robust_accuracy: Interval,
    /// The same, judged on the 8-bit PNGs read back.
    pub robust_accuracy_saved: Interval,
}

impl Summary {
    /// The figures of these rows, which may be those of an unfinished run.
    pub fn of(run: &Run, rows: &[Row], timing: Option<&Timing>) -> Self {
        let mut by_trial: BTreeMap<_, Vec<&Row>> = BTreeMap::new();
        for row in rows {
            let trial = (&*row.recipe, row.eps_text());
            by_trial.entry(trial).or_default().push(row);
        }
        let mut attacks = Vec::new();
        for (record, shown) in run.attacks.iter().zip(run.shown()) {
            for eps in run.radii() {
                let rows = by_trial.get(&(&*record.recipe, eps));
                attacks.push(AttackSummary {
                    name: record.name.clone(),
                    shown: shown.clone(),
                    recipe: record.recipe.clone(),
                    seconds: timing.and_then(|t| t.by_attack.get(&record.recipe).copied()),
                    ..AttackSummary::of(&run.threat.norm, eps, rows.map_or(&[], Vec::as_slice))
                });
            }
        }
        let radii = run.radii().into_iter();
        let worst_case = radii.map(|eps| WorstCase::of(eps, rows));
        Self {
            model: run.model.clone(),
            data: DataSummary {
                path: run.data.path.clone(),
                digest: run.data.digest.clone(),
                samples: run.data.samples,
                truth: run.data.truth,
            },
            measured: Measured::of(run, rows),
            threat: run.threat.clone(),
            attacks,
            worst_case: worst_case.collect(),
        }
    }
}

impl AttackSummary {
    fn of(norm: &str, eps: Option<&str>, rows: &[&Row]) -> Self {
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
            name: String::new(),
            shown: String::new(),
            recipe: String::new(),
            eps: eps.map(str::to_owned),
            attacked,
            clean_accuracy: share(rows, clean),
            robust_accuracy: share(rows, |row| survives(row, row.float)),
            robust_accuracy_saved: share(rows, |row| survives(row, row.saved)),
            success_rate: clopper_pearson(fooled.len() as u64, attacked, CONFIDENCE),
            norms: NormsSummary::of(&fooled),
            distance: match eps {
                None => Some(Distance::of(norm, rows)),
                Some(_) => None,
            },
            gradients: cost(|row| row.gradients),
            queries: cost(|row| row.queries),
            seconds: None,
            outcomes,
        }
    }
}

impl WorstCase {
    fn of(eps: Option<&str>, rows: &[Row]) -> Self {
        let mut by_sample: BTreeMap<u64, (bool, bool)> = BTreeMap::new();
        for row in rows.iter().filter(|row| row.eps_text() == eps) {
            let (float, saved) = by_sample.entry(row.index).or_insert((true, true));
            // What broke it has a row of its own.
            if row.outcome == Outcome::AlreadyBroken {
                continue;
            }
            *float &= survives(row, row.float);
            *saved &= survives(row, row.saved);
        }
        let n = by_sample.len() as u64;
        let share = |of: fn(&(bool, bool)) -> bool| {
            let robust = by_sample.values().filter(|sample| of(sample)).count();
            clopper_pearson(robust as u64, n, CONFIDENCE)
        };
        Self {
            eps: eps.map(str::to_owned),
            robust_accuracy: share(|sample| sample.0),
            robust_accuracy_saved: share(|sample| sample.1),
        }
    }
}

impl Distance {
    fn of(norm: &str, rows: &[&Row]) -> Self {
        let distances = distances(norm, rows.iter().copied());
        let unbroken = distances.iter().filter(|distance| distance.is_infinite());
        Self {
            norm: norm.to_owned(),
            median: quantile(&distances, 0.5),
            q10: quantile(&distances, 0.1),
            q90: quantile(&distances, 0.9),
            unbroken: unbroken.count() as f64 / distances.len() as f64,
            n: distances.len() as u64,
        }
    }

    /// Number of samples that the attack could not break.
    pub fn count_unbroken(&self) -> u64 {
        (self.unbroken * self.n as f64).round() as u64
    }
}

/// How far each attacked sample had to be moved in the norm of a threat model, in rising order; infinite where it was not
/// broken.
pub(crate) fn distances<'a>(norm: &str, rows: impl Iterator<Item = &'a Row>) -> Vec<f64> {
    let verdicts = rows.filter_map(|row| row.float);
    let distance = |verdict: Verdict| match verdict.success {
        true => verdict.norms.named(norm),
        false => f64::INFINITY,
    };
    let mut distances: Vec<f64> = verdicts.map(distance).collect();
    distances.sort_by(f64::total_cmp);
    distances
}

/// A quantile of values in rising order, interpolated linearly between neighbours (NumPy's default). Infinite where one of
/// them is that counts; no number without values.
fn quantile(values: &[f64], share: f64) -> f64 {
    let Some(last) = values.len().checked_sub(1) else {
        return f64::NAN;
    };
    let place = share * last as f64;
    let (below, part) = (place.floor() as usize, place.fract());
    match part == 0.0 {
        true => values[below],
        // Of an infinite neighbour any part is infinite.
        false if values[below + 1].is_infinite() => f64::INFINITY,
        false => values[below] + part * (values[below + 1] - values[below]),
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

/// Whether the model is right about the original and still right about the candidate behind `verdict`. What an earlier
/// attack broke does not survive.
///
/// A targeted attack that ends in a third class has failed, yet the label is lost.
pub(crate) fn survives(row: &Row, verdict: Option<Verdict>) -> bool {
    clean(row)
        && row.outcome != Outcome::AlreadyBroken
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
    use crate::results::example::{
        already_broken, already_wrong, fooled, fooled_at, recipe, robust, run, smallest_run,
        unbroken,
    };
    use crate::threat::Distances;

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
            by_attack: [(recipe("pgd"), 2.5)].into(),
            ..Timing::default()
        };
        let summary = Summary::of(&run(10), &rows(), Some(&timing));
        let [pgd, pgd_at_8, fgsm, _] = &summary.attacks[..] else {
            panic!("two attacks at two eps: {:?}", summary.attacks.len());
        };
        assert_eq!(
            (pgd.name.as_str(), pgd.eps.as_deref()),
            ("pgd", Some("4/255"))
        );
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
            row.saved = robust(row.index, &row.attack, "4/255").saved;
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
            verdict.norms = Distances {
                linf,
                ..Distances::default()
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
    fn an_attack_of_a_schedule_that_skips_leaves_what_is_left() {
        let mut rows: Vec<Row> = (0..4)
            .map(|index| match index {
                0 => already_wrong(index, "pgd", "4/255"),
                1 => fooled(index, "pgd", "4/255"),
                _ => robust(index, "pgd", "4/255"),
            })
            .collect();
        rows.extend([
            already_wrong(0, "fgsm", "4/255"),
            already_broken(1, "fgsm", "4/255"),
            fooled(2, "fgsm", "4/255"),
            robust(3, "fgsm", "4/255"),
        ]);
        // What broke it is undone in its file.
        rows[1].saved = rows[2].saved;
        let summary = Summary::of(&run(4), &rows, None);
        let (pgd, fgsm, worst) = (
            &summary.attacks[0],
            &summary.attacks[2],
            &summary.worst_case[0],
        );
        assert_eq!(proportion(pgd.robust_accuracy), (0.5, 4));
        assert_eq!(proportion(fgsm.robust_accuracy), (0.25, 4));
        assert_eq!((fgsm.attacked, fgsm.outcomes["already-broken"]), (2, 1));
        assert_eq!(proportion(fgsm.success_rate), (0.5, 2));
        assert_eq!(proportion(worst.robust_accuracy), (0.25, 4));
        assert_eq!(proportion(worst.robust_accuracy_saved), (0.5, 4));
    }

    #[test]
    fn quantiles_are_those_of_numpy() {
        let inf = f64::INFINITY;
        // numpy.quantile(values, share)
        for (values, share, expected) in [
            (&[1.0, 2.0, 4.0, 8.0][..], 0.5, 3.0),
            (&[1.0, 2.0, 4.0, 8.0], 0.1, 1.3),
            (&[1.0, 2.0, 4.0, 8.0], 0.9, 6.8),
            (&[3.0], 0.9, 3.0),
            (&[1.0, 2.0, inf], 0.5, 2.0),
            (&[1.0, 2.0, inf], 0.9, inf),
            (&[1.0, inf], 0.5, inf),
            (&[inf, inf], 0.5, inf),
        ] {
            let found = quantile(values, share);
            let same = found == expected || (found - expected).abs() < 1e-12;
            assert!(same, "{share} of {values:?}: {found}");
        }
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn smallest_distances_are_over_the_right_pictures() {
        let wrong = Row {
            eps: None,
            ..already_wrong(0, "ddn", "4/255")
        };
        let mut rows = vec![wrong, unbroken(1)];
        rows.extend((2..6).map(|index| fooled_at(index, 0.25 * index as f64)));
        let summary = Summary::of(&smallest_run(6), &rows, None);
        let [ddn] = &summary.attacks[..] else {
            panic!("one attack, not {}", summary.attacks.len());
        };
        let distance = ddn.distance.clone().unwrap();
        assert_eq!((ddn.eps.as_deref(), &*distance.norm), (None, "l2"));
        // 0.5, 0.75, 1, 1.25 and infinity
        assert_eq!((distance.median, distance.q90), (1.0, f64::INFINITY));
        assert!((distance.q10 - 0.6).abs() < 1e-12);
        assert_eq!((distance.unbroken, distance.n), (0.2, 5));
        assert_eq!(distance.count_unbroken(), 1);
        assert_eq!(proportion(ddn.robust_accuracy), (1.0 / 6.0, 6));
        assert_eq!(
            proportion(summary.worst_case[0].robust_accuracy),
            (1.0 / 6.0, 6)
        );

        let json = serde_json::to_value(&summary).unwrap();
        let attack = &json["attacks"][0];
        assert!(attack["eps"].is_null() && json["worst_case"][0]["eps"].is_null());
        let found = &attack["distance"];
        assert_eq!(found["median"], 1.0);
        assert!(found["q90"].is_null() && attack.get("shown").is_none());
        let nothing = serde_json::to_value(Summary::of(&smallest_run(6), &[], None)).unwrap();
        let found = &nothing["attacks"][0]["distance"];
        for (key, value) in found.as_object().unwrap() {
            let expected = match &**key {
                "norm" => "l2".into(),
                "n" => 0.into(),
                _ => serde_json::Value::Null,
            };
            assert_eq!(*value, expected, "{key}");
        }
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
            "distance",
            "gradients",
            "queries",
            "seconds",
        ] {
            assert!(attack.get(key).is_some(), "{key}");
        }
        assert!(attack["norms"].is_null() && attack["distance"].is_null());
        assert!(attack["seconds"].is_null());
        assert!(attack["clean_accuracy"]["value"].is_null());
        assert_eq!(json["attacks"][0]["robust_accuracy"]["value"], 0.3);
    }
}
