//! What looks wrong before anything is measured.
//!
//! Wrong preprocessing or labels seldom fail: the model answers, badly, and every figure that follows is of a model that
//! nobody uses. So the model is asked about some pictures as it is described, as it might have been described, and the
//! answers are compared with the labels.

mod labels;
mod variants;

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use serde::Serialize;

use crate::{
    Error, Result,
    data::Dataset,
    image::Image,
    model::Classifier,
    oracle::batcher::Model as _,
    preprocessing::Preprocessing,
    stats::{clopper_pearson, mcnemar_exact},
};
use variants::variants;

/// How unlikely a difference must be by chance alone before it is told: several are looked at, and a false alarm costs trust.
const SIGNIFICANCE: f64 = 1e-3;

/// From this distance of the two largest logits on, the confidence is 1 in 32-bit floats.
const SURE: f32 = 17.0;

/// Something that looks wrong.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// What kind of mistake it looks like.
    pub mistake: Mistake,
    /// What was seen, in a sentence.
    pub saw: String,
    /// Why it matters, in a sentence.
    pub matters: &'static str,
    /// What to do about it, in a sentence or as flags.
    pub remedy: String,
}

/// Kinds of mistakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mistake {
    /// The model was trained on other inputs than it is given.
    Preprocessing,
    /// The labels mean other classes.
    Labels,
    /// Nothing fits: accuracy is that of guessing.
    Chance,
    /// The answers are probabilities.
    Probabilities,
    /// The model is so sure that its confidence is 1.
    Saturated,
    /// The answers are no numbers.
    NotANumber,
    /// The same question has several answers.
    Random,
}

/// How much is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    /// The most pictures that the model is asked about.
    pub pictures: usize,
    /// Whether other preprocessing is tried whatever the accuracy; else only where it is below `doubtful`.
    pub always_search: bool,
    /// Threads to try variants on.
    pub threads: usize,
}

/// Accuracy, in percent, below which a run tries other preprocessing.
const DOUBTFUL: f64 = 60.0;

/// Looks for mistakes in how a model and data are described. `open` gives the same model with other preprocessing.
pub fn lint(
    model: &Classifier,
    preprocessing: &Preprocessing,
    open: &(dyn Fn(&Preprocessing) -> Result<Classifier> + Sync),
    data: &Dataset,
    depth: Depth,
) -> Result<Vec<Finding>> {
    let count = data.len().min(depth.pictures);
    let (mut images, mut labels) = (Vec::new(), Vec::new());
    for at in 0..count {
        // Spread over the whole set, which may be sorted by class.
        let sample = data.get(at * data.len() / count)?;
        images.push(sample.picture.to_image());
        labels.extend(sample.label);
    }
    let answers = ask(model, &images)?;
    let mut findings = of_answers(&answers);
    if findings
        .iter()
        .any(|finding| finding.mistake == Mistake::NotANumber)
    {
        return Ok(findings);
    }
    findings.extend(of_repetition(model, &images, &answers)?);
    if labels.len() != images.len() {
        return Ok(findings);
    }
    let rights = rights(&answers, &labels);
    let before = findings.len();
    if depth.always_search || percent(&rights) < DOUBTFUL {
        let other = search(
            preprocessing,
            open,
            model.input(),
            &images,
            &labels,
            &rights,
            depth.threads,
        )?;
        findings.extend(other);
    }
    if findings.len() == before {
        findings.extend(labels::find(&answers, &labels));
    }
    if findings.len() == before {
        findings.extend(chance(&rights, model.classes()));
    }
    Ok(findings)
}

fn ask(model: &Classifier, images: &[Image]) -> Result<Vec<Vec<f32>>> {
    let images: Vec<&Image> = images.iter().collect();
    model.worker()?.logits(&images)
}

/// What the answers themselves give away.
fn of_answers(answers: &[Vec<f32>]) -> Vec<Finding> {
    let share = |fits: &dyn Fn(&[f32]) -> bool| {
        answers.iter().filter(|answer| fits(answer)).count() as f64 / answers.len().max(1) as f64
    };
    let broken = share(&|answer| answer.iter().any(|value| !value.is_finite()));
    if broken > 0.0 {
        return vec![Finding {
            mistake: Mistake::NotANumber,
            saw: format!("for {:.0}% of the pictures the model answers with infinities or NaN", 100.0 * broken),
            matters: "no attack and no accuracy means anything on such answers",
            remedy: "check the file: weights may have overflowed when they were converted to half precision".into(),
        }];
    }
    let mut findings = Vec::new();
    let sum = |answer: &[f32]| answer.iter().map(|&value| f64::from(value)).sum::<f64>();
    let distribution = |answer: &[f32]| {
        answer.iter().all(|&value| value >= 0.0) && (sum(answer) - 1.0).abs() < 1e-3
    };
    if share(&distribution) == 1.0 {
        findings.push(Finding {
            mistake: Mistake::Probabilities,
            saw: "every answer is a list of probabilities, and no final softmax was found to see through".into(),
            matters: "losses take a softmax of their own, whose gradients are then far too small: attacks look weaker than they are",
            remedy: "export the model without its softmax, or choose the value before it with --scores NAME".into(),
        });
    }
    let sure = |answer: &[f32]| margin(answer) > SURE;
    let saturated = share(&sure);
    if saturated >= 0.5 {
        findings.push(Finding {
            mistake: Mistake::Saturated,
            saw: format!("for {:.0}% of the pictures the confidence is exactly 1 in 32-bit floats", 100.0 * saturated),
            matters: "the gradient of the cross-entropy vanishes there, which makes gradient attacks look weaker than they are",
            remedy: "use a loss that no softmax saturates: --loss margin or --loss dlr".into(),
        });
    }
    findings
}

/// The distance of the two largest logits.
fn margin(answer: &[f32]) -> f32 {
    let (mut first, mut second) = (f32::NEG_INFINITY, f32::NEG_INFINITY);
    for &value in answer {
        if value > first {
            (first, second) = (value, first);
        } else if value > second {
            second = value;
        }
    }
    first - second
}

fn of_repetition(
    model: &Classifier,
    images: &[Image],
    answers: &[Vec<f32>],
) -> Result<Option<Finding>> {
    let few = images.len().min(4);
    let again = ask(model, &images[..few])?;
    Ok((again != answers[..few]).then(|| Finding {
        mistake: Mistake::Random,
        saw: "the model answers the same question differently when it is asked again".into(),
        matters: "a random model must be attacked on the average of its answers, and no run can be repeated",
        remedy: "export it in evaluation mode, without dropout or random layers".into(),
    }))
}

/// The class of the largest logit, the first of several.
fn prediction(answer: &[f32]) -> usize {
    let mut best = 0;
    for (class, value) in answer.iter().enumerate() {
        if *value > answer[best] {
            best = class;
        }
    }
    best
}

fn rights(answers: &[Vec<f32>], labels: &[usize]) -> Vec<bool> {
    (answers.iter().zip(labels))
        .map(|(answer, &label)| prediction(answer) == label)
        .collect()
}

fn percent(rights: &[bool]) -> f64 {
    100.0 * rights.iter().filter(|&&right| right).count() as f64 / rights.len().max(1) as f64
}

/// Whether the second is better on the same pictures by more than chance.
fn is_better(first: &[bool], second: &[bool]) -> bool {
    let only = |this: &[bool], other: &[bool]| {
        this.iter()
            .zip(other)
            .filter(|(this, other)| **this && !**other)
            .count() as u64
    };
    let (lost, won) = (only(first, second), only(second, first));
    won > lost && mcnemar_exact(lost, won) < SIGNIFICANCE
}

/// The preprocessing under which most pictures are right, if it is better than what was said by more than chance.
fn search(
    said: &Preprocessing,
    open: &(dyn Fn(&Preprocessing) -> Result<Classifier> + Sync),
    shape: [usize; 3],
    images: &[Image],
    labels: &[usize],
    rights_now: &[bool],
    threads: usize,
) -> Result<Option<Finding>> {
    let variants = variants(said, shape);
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(usize, Vec<bool>)>> {
        let mut done = Vec::new();
        while let Some((at, variant)) = {
            let at = next.fetch_add(1, Ordering::Relaxed);
            variants.get(at).map(|variant| (at, variant))
        } {
            done.push((at, rights(&ask(&open(variant)?, images)?, labels)));
        }
        Ok(done)
    };
    let found: Vec<(usize, Vec<bool>)> = thread::scope(|scope| {
        let crew: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        let parts = crew.into_iter().map(|worker| {
            worker
                .join()
                .map_err(|_| Error::invalid("a worker failed while it tried other preprocessing"))?
        });
        parts.collect::<Result<Vec<_>>>()
    })?
    .concat();
    let best = found.into_iter().max_by(|(a, x), (b, y)| {
        // Of equals the first, which is the commonest.
        percent(x).total_cmp(&percent(y)).then(b.cmp(a))
    });
    Ok(best.filter(|(_, rights)| is_better(rights_now, rights)).map(|(at, rights)| Finding {
        mistake: Mistake::Preprocessing,
        saw: format!(
            "with other preprocessing {:.1}% of {} pictures are right, with this {:.1}%",
            percent(&rights),
            rights.len(),
            percent(rights_now)
        ),
        matters: "the model seems to have been trained on other inputs; all figures would be of a crippled model",
        remedy: variants::flags(&variants[at]),
    }))
}

/// Accuracy that cannot be told from guessing.
fn chance(rights: &[bool], classes: usize) -> Option<Finding> {
    let right = rights.iter().filter(|&&right| right).count();
    let interval = clopper_pearson(right as u64, rights.len() as u64, 1.0 - SIGNIFICANCE);
    let guessing = 1.0 / classes as f64;
    // Ten pictures of a thousand classes say nothing.
    let telling = (1.0 - guessing).powi(rights.len() as i32) < SIGNIFICANCE || rights.len() >= 20;
    (telling && interval.low <= guessing).then(|| Finding {
        mistake: Mistake::Chance,
        saw: format!(
            "{:.1}% of {} pictures are right, which guessing among {classes} classes might be",
            percent(rights),
            rights.len()
        ),
        matters: "accuracy under attack says nothing about a model that knows nothing",
        remedy: "check labels, --resize and --crop, and the preprocessing that the model's training code uses".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_give_themselves_away() {
        let kinds = |answers: &[Vec<f32>]| -> Vec<Mistake> {
            of_answers(answers)
                .iter()
                .map(|finding| finding.mistake)
                .collect()
        };
        assert_eq!(kinds(&[vec![2.0, -1.0, 0.5], vec![0.1, 0.2, 0.3]]), []);
        assert_eq!(
            kinds(&[vec![0.25, 0.75], vec![1.0, 0.0]]),
            [Mistake::Probabilities]
        );
        assert_eq!(
            kinds(&[vec![90.0, 1.0], vec![-3.0, 40.0]]),
            [Mistake::Saturated]
        );
        assert_eq!(
            kinds(&[vec![f32::NAN, 1.0], vec![0.0, 1.0]]),
            [Mistake::NotANumber]
        );
    }

    #[test]
    fn only_what_chance_does_not_explain_is_better() {
        let some = |count: usize| -> Vec<bool> { (0..100).map(|at| at < count).collect() };
        assert!(is_better(&some(10), &some(50)));
        assert!(!is_better(&some(50), &some(10)));
        assert!(!is_better(&some(50), &some(55)));
        assert!(!is_better(&some(50), &some(50)));
    }

    #[test]
    fn guessing_is_told_from_knowing() {
        let some =
            |count: usize, of: usize| -> Vec<bool> { (0..of).map(|at| at < count).collect() };
        assert!(chance(&some(9, 100), 10).is_some());
        assert!(chance(&some(60, 100), 10).is_none());
        assert!(chance(&some(0, 100), 1000).is_some());
        assert!(chance(&some(5, 100), 1000).is_none());
        assert!(chance(&some(1, 3), 10).is_none());
    }
}
