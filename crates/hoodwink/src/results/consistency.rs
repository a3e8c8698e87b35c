//! Whether what a run folder says can be true: a folder may come from a stranger, or from a disk that lost something.
//!
//! A run that contradicts itself, and a row that contradicts its run, are refused with what is wrong. What a run of this
//! program writes always passes, numbers that are no numbers included: a model may answer anything.

use std::collections::BTreeSet;

use super::{Norms, Outcome, Row, Run, RunFolder, Seen, Timing, Verdict};
use crate::data::MAX_CLASSES;
use crate::error::{Error, Result};
use crate::image::MAX_PIXELS;
use crate::threat::{Ball, Eps, Norm, TargetChoice};

/// The most samples that a run may have.
pub(super) const MAX_SAMPLES: usize = 1 << 26;

/// The most attacks times radii that a run may have: a few bytes can stand for a part's rows of all of them.
const MAX_TRIALS: usize = 1 << 12;

/// The most forward passes or gradients that a row may have spent: their sums do not wrap.
const MAX_SPENT: u64 = 1 << 36;

/// How far float rounding may carry a distance over what it cannot exceed, relative to it.
const TOLERANCE: f64 = 1e-3;

/// What a run says about its rows, understood once.
pub(super) struct Consistency<'a> {
    run: &'a Run,
    norm: Norm,
    radii: Vec<Eps>,
    /// `None` is untargeted.
    target: Option<TargetChoice>,
    /// Channel values of a picture.
    values: f64,
}

impl<'a> Consistency<'a> {
    /// Refuses a run that contradicts itself; `Err` says how.
    pub(super) fn of(run: &'a Run) -> Result<Self, String> {
        let between = |what: &str, number: usize, most: usize| match (1..=most).contains(&number) {
            true => Ok(()),
            false => Err(format!("{what} is {number}, which is not from 1 to {most}")),
        };
        between("data.samples", run.data.samples, MAX_SAMPLES)?;
        between("model.classes", run.model.classes, MAX_CLASSES)?;
        let trials = run.attacks.len().saturating_mul(run.threat.eps.len());
        between("the number of attacks times radii", trials, MAX_TRIALS)?;
        let [channels, height, width] = run.model.input;
        let pixels = height.saturating_mul(width);
        if !matches!(channels, 1 | 3) || !(1..=MAX_PIXELS).contains(&pixels) {
            return Err(format!("model.input is {:?}", run.model.input));
        }
        if run.data.class_names.len() > run.model.classes {
            return Err(format!(
                "there are names of {} classes, and {} classes",
                run.data.class_names.len(),
                run.model.classes
            ));
        }
        let mut names = BTreeSet::new();
        for attack in &run.attacks {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if attack.name.is_empty() || !attack.name.chars().all(plain) {
                return Err(format!("{:?} is no name of an attack", attack.name));
            }
            if !names.insert(&attack.name) {
                return Err(format!("the attack {} is named twice", attack.name));
            }
        }
        let radii: Vec<Eps> = run
            .threat
            .eps
            .iter()
            .map(|text| text.parse().map_err(|error: Error| error.to_string()))
            .collect::<Result<_, _>>()?;
        let target = match run.threat.goal.split_once(": ") {
            None if run.threat.goal == "untargeted" => None,
            Some(("targeted", choice)) => Some(choice.parse().map_err(|e: Error| e.to_string())?),
            _ => return Err(format!("{:?} is no goal", run.threat.goal)),
        };
        Ok(Self {
            norm: run.threat.norm.parse().map_err(|e: Error| e.to_string())?,
            radii,
            target,
            values: (channels * pixels) as f64,
            run,
        })
    }

    /// What is wrong with a row, if anything is.
    pub(super) fn of_row(&self, row: &Row) -> Result<(), String> {
        let run = self.run;
        if row.index >= run.data.samples as u64 {
            return Err(format!("the run has {} samples", run.data.samples));
        }
        let at = run.threat.eps.iter().position(|eps| *eps == row.eps_text);
        let known = run.attacks.iter().any(|attack| attack.name == row.attack);
        let (Some(at), true) = (at, known) else {
            return Err(format!(
                "it was attacked by {:?} at {:?}, which run.toml does not name",
                row.attack, row.eps_text
            ));
        };
        let eps = self.radii[at].value();
        if row.eps != eps {
            return Err(format!(
                "its eps is {}, and {} is {eps}",
                row.eps, row.eps_text
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
        // What was pushed out of all numbers may be saved as anything.
        let is_number = row.float.is_some_and(|float| !float.norms.l1.is_nan());
        for verdict in verdicts.into_iter().flatten() {
            self.of_verdict(row, &verdict, eps, is_number)?;
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
                "its target is {:?}, and the goal is {}",
                row.target, self.run.threat.goal
            )),
        }
    }

    fn of_outcome(&self, row: &Row) -> Result<(), String> {
        let contradicts =
            |what: &str| Err(format!("its outcome is {}, but {what}", row.outcome.word()));
        let is_right = row.clean.label == row.label;
        if row.outcome == Outcome::AlreadyWrong {
            if row.float.is_some()
                || row.saved.is_some()
                || row.noise.is_some()
                || row.picture.is_some()
            {
                return contradicts("an attack was judged");
            }
            // A targeted attack has nothing to do where the picture is of the target class.
            if is_right && self.target.is_none() {
                return contradicts("the model was right");
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
        let expected = RunFolder::adversarial(&row.attack, &row.eps_text, row.index);
        if row.picture.as_ref() != Some(&expected) {
            return contradicts(&format!("its picture is {:?}, not {expected}", row.picture));
        }
        Ok(())
    }

    fn of_verdict(
        &self,
        row: &Row,
        verdict: &Verdict,
        eps: f64,
        is_number: bool,
    ) -> Result<(), String> {
        let Norms { l0, l1, l2, linf } = verdict.norms;
        let distance = self.norm.of(&verdict.norms);
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
        if !at_most(distance, eps) {
            return Err(format!("it is at distance {distance}, beyond eps {eps}"));
        }
        let ball = Ball {
            norm: self.norm,
            eps,
        };
        let within = ball.holds(&verdict.norms);
        match (verdict.success, reached && within) {
            (true, false) => Err("it is said to reach its goal within eps and does not".to_owned()),
            // A model whose answer is no number reaches nothing.
            (false, true) if !verdict.seen.confidence.is_nan() => {
                Err("it reaches its goal within eps and is said not to".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// Whether a timing can be true; `Err` says what cannot.
pub(super) fn of_timing(run: &Run, timing: &Timing) -> Result<(), String> {
    for (attack, seconds) in &timing.by_attack {
        if !run.attacks.iter().any(|known| known.name == *attack) {
            return Err(format!(
                "it names {attack:?}, an attack that run.toml does not"
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

/// Whether the rows of one sample agree on it.
pub(super) fn agree(rows: &[&Row]) -> bool {
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
mod tests {
    use super::*;
    use crate::results::example::{already_wrong, fooled, robust, run};

    fn said(run: &Run, row: &Row) -> String {
        let consistency = Consistency::of(run).unwrap();
        consistency.of_row(row).err().unwrap_or_default()
    }

    #[test]
    fn what_a_run_of_this_program_writes_is_consistent() {
        let run = run(5);
        let nan = Seen {
            label: 0,
            confidence: f32::NAN,
        };
        let no_number = Verdict {
            seen: nan,
            success: false,
            norms: Norms {
                l1: f64::NAN,
                l2: f64::NAN,
                ..Norms::default()
            },
        };
        let far = Verdict {
            norms: Norms {
                l0: 3.0,
                l1: 3.0,
                l2: 2.0,
                linf: 1.0,
            },
            ..no_number
        };
        for row in [
            fooled(0, "pgd", "8/255"),
            robust(1, "fgsm", "4/255"),
            already_wrong(2, "pgd", "8/255"),
            // A model may answer no number, and then an attack may too.
            Row {
                clean: nan,
                float: Some(no_number),
                saved: Some(far),
                ..robust(3, "pgd", "8/255")
            },
            Row {
                noise: None,
                outcome: Outcome::BudgetSpent,
                ..robust(4, "pgd", "8/255")
            },
        ] {
            assert_eq!(said(&run, &row), "", "{row:?}");
        }
    }

    #[test]
    fn rows_that_cannot_be_are_refused() {
        fn float(row: &mut Row) -> &mut Verdict {
            row.float.as_mut().unwrap()
        }
        fn saved(row: &mut Row) -> &mut Verdict {
            row.saved.as_mut().unwrap()
        }
        type Change = fn(&mut Row);
        let of_fooled: [(Change, &str); 25] = [
            (
                |row| saved(row).success = false,
                "it reaches its goal within eps and is said not to",
            ),
            (|row| row.index = 5, "the run has 5 samples"),
            (
                |row| row.attack = "square".into(),
                "by \"square\" at \"8/255\"",
            ),
            (|row| row.eps_text = "1/255".into(), "at \"1/255\", which"),
            (|row| row.eps = 0.5, "its eps is 0.5"),
            (|row| row.eps = f64::NAN, "its eps is NaN"),
            (|row| row.label = 3, "label 3 of 3 classes"),
            (|row| row.clean.label = 7, "label 7 of 3 classes"),
            (|row| float(row).seen.label = 3, "label 3 of 3 classes"),
            (
                |row| saved(row).seen.label = u32::MAX,
                "label 4294967295 of 3",
            ),
            (|row| row.clean.confidence = 1.5, "a confidence of 1.5"),
            (
                |row| saved(row).seen.confidence = -0.5,
                "a confidence of -0.5",
            ),
            (
                |row| row.queries = u64::MAX,
                "it spent 18446744073709551615 queries",
            ),
            (|row| row.gradients = 1 << 63, "gradients"),
            (
                |row| row.target = Some(1),
                "its target is Some(1), and the goal is untargeted",
            ),
            (
                |row| row.outcome = Outcome::Robust,
                "but the attack succeeded",
            ),
            (
                |row| row.outcome = Outcome::AlreadyWrong,
                "but an attack was judged",
            ),
            (|row| row.float = None, "but no attack was judged"),
            (|row| row.saved = None, "but no attack was judged"),
            (|row| row.clean.label = 1, "but the model was wrong before"),
            (
                |row| float(row).seen.label = 0,
                "is said to reach its goal within eps and does not",
            ),
            (
                |row| float(row).norms.linf = 0.5,
                "no picture has the distances",
            ),
            (
                |row| saved(row).norms.l0 = 1e9,
                "no picture has the distances",
            ),
            (
                |row| float(row).norms.l1 = f64::NAN,
                "no picture has the distances",
            ),
            (
                |row| row.picture = Some("run.toml".into()),
                "its picture is Some(\"run.toml\")",
            ),
        ];
        let of_robust: [(Change, &str); 4] = [
            (
                |row| float(row).norms.l1 = f64::INFINITY,
                "no picture has the distances",
            ),
            (
                |row| row.outcome = Outcome::Fooled,
                "but the attack did not succeed",
            ),
            (
                |row| {
                    float(row).seen.label = 1;
                    float(row).norms = Norms::default();
                },
                "it reaches its goal within eps and is said not to",
            ),
            (
                |row| saved(row).norms = fooled(0, "pgd", "16/255").saved.unwrap().norms,
                "beyond eps",
            ),
        ];
        let of_wrong: [(Change, &str); 2] = [
            (|row| row.clean.label = 0, "but the model was right"),
            (
                |row| row.picture = Some("a.png".into()),
                "but an attack was judged",
            ),
        ];
        let run = run(5);
        for (sound, changes) in [
            (fooled(0, "pgd", "8/255"), &of_fooled[..]),
            (robust(0, "pgd", "8/255"), &of_robust),
            (already_wrong(0, "pgd", "8/255"), &of_wrong),
        ] {
            for (change, says) in changes {
                let mut row = sound.clone();
                change(&mut row);
                let refusal = said(&run, &row);
                assert!(refusal.contains(says), "{says}: {refusal:?}");
            }
        }
    }

    #[test]
    fn targets_and_budgets_are_those_of_the_run() {
        let mut run = run(5);
        run.threat.goal = "targeted: 1".into();
        run.threat.budget.insert("gradients".into(), 9);
        let at_one = Row {
            target: Some(1),
            gradients: 9,
            ..fooled(0, "pgd", "8/255")
        };
        assert_eq!(said(&run, &at_one), "");
        let mut other = at_one.clone();
        other.target = Some(2);
        assert!(said(&run, &other).contains("the goal is targeted: 1"));
        other.target = None;
        assert!(said(&run, &other).contains("its target is None"));
        let spent = Row {
            gradients: 10,
            ..at_one
        };
        assert!(said(&run, &spent).contains("it spent 10 gradients"));
        // A picture of the target class is left alone.
        let of_target = Row {
            clean: fooled(0, "pgd", "8/255").clean,
            ..already_wrong(0, "pgd", "8/255")
        };
        assert_eq!(said(&run, &of_target), "");
    }
}
