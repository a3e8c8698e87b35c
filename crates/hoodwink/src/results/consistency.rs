//! Checks that the content of a run folder is possible. A folder may come from a stranger, or from a damaged disk.
//!
//! A run that contradicts itself, and a row that contradicts its run, are refused with the reason. Runs of this program
//! always pass, including those with NaN, because a model may return anything.

use std::collections::{BTreeMap, BTreeSet};

use super::{Outcome, Row, Run, RunFolder, Seen, Timing, Verdict};
use crate::data::MAX_CLASSES;
use crate::error::{Error, Result};
use crate::image::MAX_PIXELS;
use crate::threat::{Ball, Distances, Eps, Norm, Sweep, TargetChoice};

/// Maximum number of samples of a run.
pub(super) const MAX_SAMPLES: usize = 1 << 26;

/// Maximum number of attacks times radii of a run: a few bytes can represent a part's rows for all of them.
const MAX_TRIALS: usize = 1 << 12;

/// Maximum number of forward passes or gradients of a row, so that their sums do not overflow.
const MAX_SPENT: u64 = 1 << 36;

/// Relative tolerance for distances that exceed their limit by float rounding.
const TOLERANCE: f64 = 1e-3;

/// A run's claims about its rows, parsed once.
pub(super) struct Consistency<'a> {
    run: &'a Run,
    norm: Norm,
    /// Empty if distances have no limit.
    radii: Vec<Eps>,
    /// The name of every attack in paths, in order.
    keys: Vec<String>,
    /// Their positions, by recipe.
    places: BTreeMap<&'a str, usize>,
    /// `None` is untargeted.
    target: Option<TargetChoice>,
    /// Number of channel values of a picture.
    values: f64,
}

impl<'a> Consistency<'a> {
    /// Refuses a run that contradicts itself; `Err` holds the reason.
    pub(super) fn of(run: &'a Run) -> Result<Self, String> {
        let between = |what: &str, number: usize, most: usize| match (1..=most).contains(&number) {
            true => Ok(()),
            false => Err(format!("{what} is {number}, which is not from 1 to {most}")),
        };
        between("data.samples", run.data.samples, MAX_SAMPLES)?;
        between("model.classes", run.model.classes, MAX_CLASSES)?;
        let trials = run
            .attacks
            .len()
            .saturating_mul(run.threat.eps.len().max(1));
        between("the number of attacks times radii", trials, MAX_TRIALS)?;
        let [channels, height, width] = run.model.input;
        let pixels = height.saturating_mul(width);
        if !matches!(channels, 1 | 3) || !(1..=MAX_PIXELS).contains(&pixels) {
            return Err(format!("model.input is {:?}", run.model.input));
        }
        if run.data.class_names.len() > run.model.classes {
            return Err(format!(
                "there are names for {} classes, but {} classes",
                run.data.class_names.len(),
                run.model.classes
            ));
        }
        let mut recipes = BTreeSet::new();
        for attack in &run.attacks {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if attack.name.is_empty() || !attack.name.chars().all(plain) {
                return Err(format!("{:?} is not the name of an attack", attack.name));
            }
            if !recipes.insert(&attack.recipe) {
                return Err(format!("the attack {} is named twice", attack.recipe));
            }
        }
        let radii: Vec<Eps> = run
            .threat
            .eps
            .iter()
            .map(|text| text.parse().map_err(|error: Error| error.to_string()))
            .collect::<Result<_, _>>()?;
        if let Some(sweep) = &run.threat.sweep {
            let range: Result<Sweep, Error> = sweep.parse();
            range.map_err(|error| error.to_string())?;
        }
        let keys = run.keys();
        let mut folders = BTreeSet::new();
        for (key, eps) in keys
            .iter()
            .flat_map(|key| run.radii().into_iter().map(move |eps| (key, eps)))
        {
            let folder = RunFolder::adversarial(key, eps, 0);
            if !folders.insert(folder) {
                return Err(format!(
                    "pictures of {key} at eps {} would have the same path as others: write eps in another way",
                    eps.unwrap_or("none")
                ));
            }
        }
        let target = match run.threat.goal.split_once(": ") {
            None if run.threat.goal == "untargeted" => None,
            Some(("targeted", choice)) => Some(choice.parse().map_err(|e: Error| e.to_string())?),
            _ => return Err(format!("{:?} is not a goal", run.threat.goal)),
        };
        Ok(Self {
            norm: run.threat.norm.parse().map_err(|e: Error| e.to_string())?,
            radii,
            keys,
            places: run.places(),
            target,
            values: (channels * pixels) as f64,
            run,
        })
    }

    /// Returns what is wrong with a row, if anything.
    pub(super) fn of_row(&self, row: &Row) -> Result<(), String> {
        let run = self.run;
        if row.index >= run.data.samples as u64 {
            return Err(format!("the run has {} samples", run.data.samples));
        }
        let place = self.places.get(&*row.recipe);
        let known = place.is_some_and(|&at| run.attacks[at].name == row.attack);
        let has_radius = match &row.eps {
            None => self.radii.is_empty(),
            Some(eps) => self.radii.contains(eps),
        };
        if !known || !has_radius {
            return Err(format!(
                "it was attacked by {:?}, {:?}, at eps {:?}, which run.toml does not name",
                row.attack,
                row.recipe,
                row.eps_text()
            ));
        }
        let classes = run.model.classes as u64;
        let verdicts = [row.float, row.saved];
        let seen = verdicts.into_iter().flatten().map(|verdict| verdict.seen);
        let seen = seen.chain([row.clean]).chain(row.noise);
        let labels = seen.clone().map(|seen| seen.label);
        if let Some(label) = labels
            .chain([row.label])
            .chain(row.target)
            .find(|&label| u64::from(label) >= classes)
        {
            return Err(format!("label {label} of {classes} classes"));
        }
        if let Some(seen) = seen.clone().find(|seen| !is_confidence(seen)) {
            return Err(format!("a confidence of {}", seen.confidence));
        }
        for (name, spent) in [("queries", row.queries), ("gradients", row.gradients)] {
            let allowed = run.threat.budget.get(name).copied();
            if spent > allowed.unwrap_or(u64::MAX).min(MAX_SPENT) {
                return Err(format!("it spent {spent} {name}"));
            }
        }
        self.of_target(row)?;
        self.of_outcome(row)?;
        // A picture that was pushed to NaN may be saved as anything.
        let is_number = row.float.is_some_and(|float| !float.norms.l1.is_nan());
        for verdict in verdicts.into_iter().flatten() {
            self.of_verdict(row, &verdict, is_number)?;
        }
        Ok(())
    }

    fn of_target(&self, row: &Row) -> Result<(), String> {
        let fits = match (self.target, row.target) {
            (None, None) => true,
            (None, Some(_)) => false,
            (Some(_), None) => row.outcome == Outcome::AlreadyWrong,
            (Some(TargetChoice::Class(class)), Some(target)) => class as u64 == u64::from(target),
            (Some(_), Some(target)) => target != row.label,
        };
        match fits {
            true => Ok(()),
            false => Err(format!(
                "its target is {:?}, but the goal is {}",
                row.target, self.run.threat.goal
            )),
        }
    }

    fn of_outcome(&self, row: &Row) -> Result<(), String> {
        let contradicts =
            |what: &str| Err(format!("its outcome is {}, but {what}", row.outcome.word()));
        let is_right = row.clean.label == row.label;
        if row.outcome == Outcome::AlreadyWrong {
            if is_judged(row) {
                return contradicts("an attack was judged");
            }
            // A targeted attack has nothing to do if the picture is of the target class.
            if is_right && self.target.is_none() {
                return contradicts("the model was right");
            }
            return Ok(());
        }
        if row.outcome == Outcome::AlreadyBroken {
            if is_judged(row) || row.queries > 0 || row.gradients > 0 || !row.loss.is_empty() {
                return contradicts("an attack was made");
            }
            if !is_right && !row.clean.confidence.is_nan() {
                return contradicts("the model was wrong before");
            }
            return Ok(());
        }
        let (Some(float), Some(_)) = (row.float, row.saved) else {
            return contradicts("no attack was judged");
        };
        if !is_right && !row.clean.confidence.is_nan() {
            return contradicts("the model was wrong before");
        }
        if float.success != (row.outcome == Outcome::Fooled) {
            return contradicts(match float.success {
                true => "the attack succeeded",
                false => "the attack did not succeed",
            });
        }
        match self.may_show(row) {
            true => Ok(()),
            false => contradicts(&format!(
                "its picture is {:?}, which cannot be the path for {}",
                row.picture, row.recipe
            )),
        }
    }

    /// Returns whether the picture of a judged row has a possible path: of the same attack, at this eps, a smaller one,
    /// or none.
    fn may_show(&self, row: &Row) -> bool {
        let (Some(picture), Some(&at)) = (&row.picture, self.places.get(&*row.recipe)) else {
            return false;
        };
        let smaller = |eps: &&Eps| {
            row.eps
                .as_ref()
                .is_some_and(|own| eps.value() < own.value())
        };
        let smaller = self
            .radii
            .iter()
            .filter(smaller)
            .map(|eps| Some(eps.text()));
        [row.eps_text(), None]
            .into_iter()
            .chain(smaller)
            .any(|eps| RunFolder::adversarial(&self.keys[at], eps, row.index) == *picture)
    }

    fn of_verdict(&self, row: &Row, verdict: &Verdict, is_number: bool) -> Result<(), String> {
        let Distances { l0, l1, l2, linf } = verdict.norms;
        let reached = match row.target {
            None => verdict.seen.label != row.label,
            Some(target) => verdict.seen.label == target,
        };
        if !is_number && !verdict.success {
            return Ok(());
        }
        let at_most = |small: f64, large: f64| small <= large * (1.0 + TOLERANCE) + 1e-6;
        let ordered = [0.0, linf, l2, l1, l0, self.values];
        if !ordered.windows(2).all(|pair| at_most(pair[0], pair[1]))
            || linf > 1.0
            || l0.fract() != 0.0
        {
            return Err(format!(
                "no picture has the distances l0 {l0}, l1 {l1}, l2 {l2}, linf {linf}"
            ));
        }
        // An attack for the smallest distance may end beyond an eps, and then it has not succeeded at that eps.
        let holds = |eps: &Eps| {
            let ball = Ball {
                norm: self.norm,
                eps: eps.value(),
            };
            ball.holds(&verdict.norms)
        };
        let within = row.eps.as_ref().is_none_or(holds);
        // Earlier versions allowed less for rounding.
        let distance = verdict.norms.named(&self.run.threat.norm);
        let surely = row.eps.as_ref().is_none_or(|eps| distance <= eps.value());
        match verdict.success {
            true if !(reached && within) => {
                Err("it claims to reach its goal within eps but does not".to_owned())
            }
            // A model whose answer is NaN reaches no goal.
            false if reached && surely && !verdict.seen.confidence.is_nan() => {
                Err("it reaches its goal within eps but claims not to".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Checks that the rows of one sample agree with each other; `Err` holds the contradiction.
    pub(super) fn of_sample(&self, rows: &[&Row]) -> Result<(), String> {
        let trials: BTreeSet<_> = rows
            .iter()
            .map(|row| (&row.recipe, row.eps_text()))
            .collect();
        if trials.len() < rows.len() {
            return Err("has two rows of one attack".to_owned());
        }
        if !agree_on_sample(rows) {
            return Err("has rows that disagree on it".to_owned());
        }
        let mut by_picture: BTreeMap<&str, &Row> = BTreeMap::new();
        for row in rows {
            let Some(picture) = &row.picture else {
                continue;
            };
            let first = by_picture.entry(picture).or_insert(row);
            if measured(first) != measured(row) {
                return Err(format!("has rows that disagree on {picture}"));
            }
        }
        let place = |row: &Row| self.places.get(&*row.recipe);
        let broken = |row: &&&Row| row.outcome == Outcome::AlreadyBroken;
        for row in rows.iter().filter(broken) {
            let earlier = |other: &&&Row| place(other) < place(row);
            let mut earlier = rows.iter().filter(earlier);
            if !earlier.any(|other| other.eps == row.eps && other.outcome == Outcome::Fooled) {
                return Err(format!(
                    "is {} before {}, but no earlier attack broke it",
                    row.outcome.word(),
                    row.recipe
                ));
            }
        }
        Ok(())
    }
}

/// Checks that a timing is possible; `Err` holds what is not.
pub(super) fn of_timing(run: &Run, timing: &Timing) -> Result<(), String> {
    for (attack, seconds) in &timing.by_attack {
        if run.attacks.iter().all(|known| known.recipe != *attack) {
            return Err(format!(
                "it names {attack:?}, an attack that is not in run.toml"
            ));
        }
        if !(0.0..1e12).contains(seconds) {
            return Err(format!("{attack} took {seconds} seconds"));
        }
    }
    match (0.0..1e12).contains(&timing.seconds) {
        true => Ok(()),
        false => Err(format!("the run took {} seconds", timing.seconds)),
    }
}

/// Returns the bits of all measurements of a row's picture, whatever eps it is judged at.
fn measured(row: &Row) -> [Option<(u32, u32, [u64; 4])>; 2] {
    let bits = |verdict: Verdict| {
        let Distances { l0, l1, l2, linf } = verdict.norms;
        let Seen { label, confidence } = verdict.seen;
        let norms = [l0, l1, l2, linf].map(f64::to_bits);
        (label, confidence.to_bits(), norms)
    };
    [row.float.map(bits), row.saved.map(bits)]
}

/// Returns whether any verdict exists.
fn is_judged(row: &Row) -> bool {
    row.float.is_some() || row.saved.is_some() || row.noise.is_some() || row.picture.is_some()
}

/// Returns whether the rows of one sample agree on the sample.
fn agree_on_sample(rows: &[&Row]) -> bool {
    let of = |row: &Row| {
        let (clean, confidence) = (row.clean.label, row.clean.confidence.to_bits());
        (
            row.label,
            clean,
            confidence,
            row.target,
            row.sample.clone(),
            row.file.clone(),
        )
    };
    rows.windows(2).all(|pair| of(pair[0]) == of(pair[1]))
}

fn is_confidence(seen: &Seen) -> bool {
    seen.confidence.is_nan() || (0.0..=1.0).contains(&seen.confidence)
}

#[cfg(test)]
mod tests;
