//! The figures of a run, as one pure function of its rows.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::findings::doubts;
use super::{
    Counting, FindingRecord, ModelRecord, Outcome, Row, Run, Spoils, ThreatRecord, Timing, Truth,
    Verdict, clean,
};
use crate::counted;
use crate::data::Partition;
use crate::stats::{CONFIDENCE, Interval, clopper_pearson};

/// The figures of a run. `--format json` prints its JSON (see `docs/results.md`); `null` means "there is none", never
/// zero.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The model.
    pub model: ModelRecord,
    /// The pictures.
    pub data: DataSummary,
    /// Which pictures the figures cover.
    pub measured: Measured,
    /// What looked wrong before the run; `None` if nothing was checked.
    pub findings: Option<Vec<FindingRecord>>,
    /// Wall-clock seconds of the whole evaluation; `None` if not measured.
    pub seconds: Option<f64>,
    /// The threat model.
    pub threat: ThreatRecord,
    /// Every attack at every eps, in the order of `run.toml`.
    pub attacks: Vec<AttackSummary>,
    /// All attacks together at every eps: a sample counts as robust if it withstands every attack.
    pub worst_case: Vec<WorstCase>,
}

/// Which pictures were attacked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DataSummary {
    /// File or folder as given by the user.
    pub path: String,
    /// Digest over files and labels.
    pub digest: String,
    /// Number of samples.
    pub samples: usize,
    /// What defines the right class.
    pub truth: Truth,
}

/// Which pictures the figures cover.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Measured {
    /// Number of pictures with rows.
    pub pictures: usize,
    /// Number of these pictures that belong to the target class: they count in no figure, because there is nothing to
    /// attack.
    pub left_out: usize,
    /// Number of pictures of the run when it is finished.
    pub of: usize,
    /// The part of the data that the run covers, such as `3/8`; `None` means all.
    pub partition: Option<Partition>,
}

impl Measured {
    fn of(run: &Run, rows: &[Row]) -> Self {
        let indices: BTreeSet<u64> = rows.iter().map(|row| row.index).collect();
        let counted = Counting::of(run).counted(rows);
        let counted: BTreeSet<u64> = counted.iter().map(|row| row.index).collect();
        let all = run.data.samples;
        Self {
            pictures: indices.len(),
            left_out: indices.len() - counted.len(),
            of: run.partition.map_or(all, |part| part.range(all).len()),
            partition: run.partition,
        }
    }

    /// Describes the coverage if not all pictures are covered: `part 3/8`, `120 of 300 pictures so far`, or both.
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
    /// A short name that distinguishes it from the other attacks of the run ([`Run::shown`]).
    #[serde(skip)]
    pub shown: String,
    /// Its full recipe.
    pub recipe: String,
    /// Radius in pixel space, as typed; `None` if the attack looked for the smallest distance without one.
    pub eps: Option<String>,
    /// Number of samples that count: all except those of the target class.
    pub counted: u64,
    /// Number of these samples that were attacked: those that the model gets right.
    pub attacked: u64,
    /// Of the samples that count, the share that the model gets right before any attack.
    pub clean_accuracy: Interval,
    /// Of the samples that count, the share that it gets right before and after the attack; without eps, the share that
    /// is fooled at no distance. If a schedule skips broken pictures, what is left after this attack and the earlier
    /// ones.
    pub robust_accuracy: Interval,
    /// The same, judged on the 8-bit PNG after it is read back.
    pub robust_accuracy_saved: Interval,
    /// Of the attacked samples, the share on which the attack reached its goal: [`AttackSummary::called_target`] with a
    /// target, else
    /// [`AttackSummary::no_longer_right`].
    pub success_rate: Interval,
    /// Of the attacked samples, the share that the model no longer gets right, whatever its new answer.
    pub no_longer_right: Interval,
    /// Of the attacked samples, the share that the model classifies as the target class; `None` for an untargeted
    /// attack.
    pub called_target: Option<Interval>,
    /// Why its figures are doubtful, in a few words for each reason; empty if there is no reason.
    pub doubts: Vec<String>,
    /// Sizes of the successful perturbations; `None` if there are none.
    pub norms: Option<NormsSummary>,
    /// Distances within which the attacked samples were fooled; `None` for an attack with eps.
    pub distance: Option<Distance>,
    /// Number of gradients, each with its forward pass.
    pub gradients: Cost,
    /// Number of forward passes, not counting those of gradients.
    pub queries: Cost,
    /// Seconds of work of this attack at all eps together, summed over workers, without waiting for other attacks;
    /// `None` if not measured.
    pub seconds: Option<f64>,
    /// Number of samples by [`Outcome::word`].
    pub outcomes: BTreeMap<&'static str, u64>,
}

/// The distances within which pictures fooled the model, judged on the attack's unrounded output. A failure counts as
/// infinite.
///
/// A quantile is interpolated linearly between the two nearest samples, as NumPy does by default. It is infinite if one
/// of them is needed and infinite; JSON then has `null`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Distance {
    /// The norm of the threat model, in pixel space: `linf`, `l2`, `l1` or `l0`.
    pub norm: String,
    /// Half of the samples were fooled within this distance.
    pub median: f64,
    /// A tenth of the samples was fooled within this distance.
    pub q10: f64,
    /// Nine tenths of the samples were fooled within this distance.
    pub q90: f64,
    /// The share that the attack fooled at no distance, in \[0, 1\].
    pub unbroken: f64,
    /// Number of attacked samples: those that the model got right.
    pub n: u64,
}

/// Sizes of perturbations, measured in pixel space.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct NormsSummary {
    /// Number of channel values that differ.
    pub l0: Spread,
    /// Sum of absolute differences.
    pub l1: Spread,
    /// Root of the sum of squared differences.
    pub l2: Spread,
    /// Largest absolute difference.
    pub linf: Spread,
}

/// The median and maximum of a set of measurements.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The median; for an even number of values, the mean of the middle two.
    pub median: f64,
    /// The maximum.
    pub max: f64,
}

/// The cost of an attack.
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
    /// Of all samples, the share that withstands every attack.
    pub robust_accuracy: Interval,
    /// The same, judged on the 8-bit PNGs read back.
    pub robust_accuracy_saved: Interval,
}

impl Summary {
    /// Returns what the figures are about, unless it is every picture with its true label: `part 3/8`, `12 of 40 pictures
    /// so far`, `prediction instead of truth: 12 pictures`.
    pub fn about(&self) -> Option<String> {
        let notes = [
            self.measured.so_far(),
            self.data.truth.notice(self.measured.pictures),
        ];
        let notes: Vec<String> = notes.into_iter().flatten().collect();
        (!notes.is_empty()).then(|| notes.join("; "))
    }

    /// Computes the figures of these rows, which may come from an unfinished run.
    pub fn of(run: &Run, rows: &[Row], timing: Option<&Timing>) -> Self {
        let counting = Counting::of(run);
        let findings = run.findings.as_deref().unwrap_or_default();
        let mut by_trial: BTreeMap<_, Vec<&Row>> = BTreeMap::new();
        for row in counting.counted(rows) {
            let trial = (&*row.recipe, row.eps_text());
            by_trial.entry(trial).or_default().push(row);
        }
        let mut attacks = Vec::new();
        for (record, shown) in run.attacks.iter().zip(run.shown()) {
            for eps in run.radii() {
                let rows = by_trial.get(&(&*record.recipe, eps));
                let rows = rows.map_or(&[][..], Vec::as_slice);
                let figures = AttackSummary::of(run, counting, eps, rows);
                attacks.push(AttackSummary {
                    name: record.name.clone(),
                    shown: shown.clone(),
                    recipe: record.recipe.clone(),
                    seconds: timing.and_then(|t| t.by_attack.get(&record.recipe).copied()),
                    // An attack that fools every picture cannot be too weak.
                    doubts: [
                        doubts(findings, stands(figures.robust_accuracy)),
                        figures.doubts,
                    ]
                    .concat(),
                    ..figures
                });
            }
        }
        let radii = run.radii().into_iter();
        let worst_case = radii.map(|eps| WorstCase::of(counting, eps, rows));
        Self {
            model: run.model.clone(),
            data: DataSummary {
                path: run.data.path.clone(),
                digest: run.data.digest.clone(),
                samples: run.data.samples,
                truth: run.data.truth,
            },
            measured: Measured::of(run, rows),
            findings: run.findings.clone(),
            seconds: timing.map(|timing| timing.seconds),
            threat: run.threat.clone(),
            attacks,
            worst_case: worst_case.collect(),
        }
    }
}

impl Summary {
    /// Returns why all figures of the run, or those under attack, are doubtful, as one clause; `None` without a serious
    /// finding.
    pub fn verdict(&self) -> Option<String> {
        let spoilt = |wanted: fn(Spoils) -> Option<&'static str>| {
            let findings = self.findings.iter().flatten();
            let words: Vec<&str> = findings
                .filter_map(|finding| wanted(finding.spoils()))
                .collect();
            (!words.is_empty()).then(|| words.join(", and "))
        };
        let everything = spoilt(|spoils| match spoils {
            Spoils::Everything(word) => Some(word),
            _ => None,
        });
        let robustness = spoilt(|spoils| match spoils {
            Spoils::Robustness(word) => Some(word),
            _ => None,
        });
        let stand = self
            .worst_case
            .iter()
            .any(|worst| stands(worst.robust_accuracy));
        match (everything, robustness.filter(|_| stand)) {
            (Some(word), _) => Some(format!("No result: {word}")),
            (None, Some(word)) => Some(format!("An upper bound at best: {word}")),
            (None, None) => None,
        }
    }
}

/// Returns whether an attack left any picture classified correctly.
fn stands(robust: Interval) -> bool {
    robust.value > 0.0
}

impl AttackSummary {
    fn of(run: &Run, counting: Counting, eps: Option<&str>, rows: &[&Row]) -> Self {
        let norm = run.threat.norm.as_str();
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
        let success_rate = clopper_pearson(fooled.len() as u64, attacked, CONFIDENCE);
        let lost = count(rows, |row| {
            row.float
                .is_some_and(|verdict| !counting.withstands(row, verdict))
        });
        Self {
            name: String::new(),
            shown: String::new(),
            recipe: String::new(),
            eps: eps.map(str::to_owned),
            counted: rows.len() as u64,
            attacked,
            clean_accuracy: share(rows, clean),
            robust_accuracy: share(rows, |row| counting.survives(row, row.float)),
            robust_accuracy_saved: share(rows, |row| counting.survives(row, row.saved)),
            success_rate,
            no_longer_right: clopper_pearson(lost, attacked, CONFIDENCE),
            called_target: run.threat.is_targeted().then_some(success_rate),
            doubts: zero_gradients(outcomes["zero-gradient"], attacked),
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
    fn of(counting: Counting, eps: Option<&str>, rows: &[Row]) -> Self {
        let mut by_sample: BTreeMap<u64, (bool, bool)> = BTreeMap::new();
        let at_eps = |row: &&&Row| row.eps_text() == eps;
        for row in counting.counted(rows).iter().filter(at_eps) {
            let (float, saved) = by_sample.entry(row.index).or_insert((true, true));
            // The attack that broke it has a row of its own.
            if row.outcome == Outcome::AlreadyBroken {
                continue;
            }
            *float &= counting.survives(row, row.float);
            *saved &= counting.survives(row, row.saved);
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

    /// Returns the number of samples that the attack could not break.
    pub fn count_unbroken(&self) -> u64 {
        (self.unbroken * self.n as f64).round() as u64
    }
}

/// Returns the distance within which each attacked sample was fooled in the norm of a threat model, in ascending order;
/// infinite if it was not.
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

/// Returns a quantile of ascending values, interpolated linearly between neighbours (NumPy's default). Infinite if a
/// neighbour with non-zero weight is infinite; NaN without values.
fn quantile(values: &[f64], share: f64) -> f64 {
    let Some(last) = values.len().checked_sub(1) else {
        return f64::NAN;
    };
    let place = share * last as f64;
    let (below, part) = (place.floor() as usize, place.fract());
    match part == 0.0 {
        true => values[below],
        // Any positive fraction of an infinite neighbour is infinite.
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

    /// Returns the sizes in the norm of a threat model: `linf`, `l2`, `l1` or `l0`.
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

/// Describes what zero gradients imply for the figures of an attack.
fn zero_gradients(zero: u64, attacked: u64) -> Vec<String> {
    let doubt = format!("the gradient was zero on {zero} of {attacked} attacked pictures");
    Vec::from_iter((zero > 0).then_some(doubt))
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
    use crate::lint::Mistake;
    use crate::results::Seen;
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
        // Samples 7, 8 and 9 withstand PGD; FGSM fools 7.
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
        let mut run = run(3);
        run.threat.goal = "targeted: most-likely".into();
        let pgd = &Summary::of(&run, &[row, reached], None).attacks[0];
        assert_eq!(proportion(pgd.success_rate), (0.5, 2));
        assert_eq!(pgd.called_target.map(proportion), Some((0.5, 2)));
        assert_eq!(proportion(pgd.no_longer_right), (1.0, 2));
        assert_eq!(proportion(pgd.robust_accuracy), (0.0, 2));
    }

    #[test]
    fn pictures_of_the_class_aimed_at_are_in_no_denominator() {
        let mut run = run(4);
        run.threat.goal = "targeted: 1".into();
        let aimed = |index| Row {
            target: Some(1),
            ..fooled(index, "pgd", "4/255")
        };
        // Right before any attack, but of the target class: nothing to attack.
        let of_target = Row {
            label: 1,
            clean: Seen {
                label: 1,
                confidence: 0.5,
            },
            ..already_wrong(2, "pgd", "4/255")
        };
        let rows = [
            aimed(0),
            aimed(1),
            of_target,
            already_wrong(3, "pgd", "4/255"),
        ];
        let summary = Summary::of(&run, &rows, None);
        let pgd = &summary.attacks[0];
        assert_eq!(
            (summary.measured.pictures, summary.measured.left_out),
            (4, 1)
        );
        assert_eq!((pgd.counted, pgd.attacked), (3, 2));
        assert_eq!(proportion(pgd.clean_accuracy), (2.0 / 3.0, 3));
        assert_eq!(proportion(pgd.robust_accuracy), (0.0, 3));
        assert_eq!(proportion(pgd.called_target.unwrap()), (1.0, 2));
        assert_eq!(proportion(summary.worst_case[0].robust_accuracy), (0.0, 3));
    }

    #[test]
    fn findings_stand_beside_the_figures_that_they_spoil() {
        let finding = |mistake| FindingRecord {
            mistake,
            saw: "seen".into(),
            matters: "it matters".into(),
            remedy: "mend it".into(),
        };
        for (mistake, verdict) in [
            (
                Mistake::Preprocessing,
                Some("No result: the preprocessing looks wrong"),
            ),
            (
                Mistake::Saturated,
                Some(
                    "An upper bound at best: the confidence is saturated, so cross-entropy values are too small to compare",
                ),
            ),
            (Mistake::Contradiction, None),
        ] {
            let mut run = run(10);
            run.findings = Some(vec![finding(mistake)]);
            let summary = Summary::of(&run, &rows(), None);
            assert_eq!(summary.verdict().as_deref(), verdict);
            let is_doubtful = |attack: &AttackSummary| !attack.doubts.is_empty();
            // An attack that fools every picture is not too weak.
            let spoils = |attack: &AttackSummary| {
                mistake != Mistake::Saturated || attack.robust_accuracy.value > 0.0
            };
            assert!(
                summary
                    .attacks
                    .iter()
                    .all(|one| is_doubtful(one) == (verdict.is_some() && spoils(one)))
            );
            let json = serde_json::to_value(&summary).unwrap();
            assert_eq!(json["findings"][0]["saw"], "seen");
        }
        let mut zero = robust(0, "pgd", "4/255");
        zero.outcome = Outcome::ZeroGradient;
        let summary = Summary::of(&run(10), &[zero], None);
        let doubt = "the gradient was zero on 1 of 1 attacked pictures";
        assert_eq!(summary.attacks[0].doubts, [doubt]);
        let json = serde_json::to_value(&summary).unwrap();
        assert!(json["findings"].is_null() && json["seconds"].is_null());
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
        // The attack that broke it is undone in its file.
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
        for key in [
            "model",
            "data",
            "measured",
            "findings",
            "seconds",
            "threat",
            "attacks",
            "worst_case",
        ] {
            assert!(json.get(key).is_some(), "{key}");
        }
        let attack = &json["attacks"][1];
        for key in [
            "name",
            "recipe",
            "eps",
            "counted",
            "attacked",
            "no_longer_right",
            "called_target",
            "doubts",
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
