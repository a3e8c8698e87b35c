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
mod tests;
