//! What looks wrong before anything is measured.
//!
//! Wrong preprocessing or labels seldom fail: the model answers, badly, and every figure that follows is of a model that
//! nobody uses. So the model is asked about some pictures as it is described, as it might have been described, and the
//! answers are compared with the labels.

mod answers;
mod as_if;
mod asking;
mod knowledge;
mod labels;
mod search;
mod variants;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Result,
    data::Dataset,
    model::Classifier,
    preprocessing::Preprocessing,
    stats::{Interval, clopper_pearson},
};
pub use as_if::as_if;
use asking::Asking;
use knowledge::{SIGNIFICANCE, percent, rights};

/// Something that looks wrong.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// What kind of mistake it looks like.
    pub mistake: Mistake,
    /// What was seen, in a sentence.
    pub saw: String,
    /// Why it matters, in a sentence.
    pub matters: &'static str,
    /// What to do about it, in words. Settings are named as they are called.
    pub remedy: String,
    /// The preprocessing that would mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preprocessing: Option<Preprocessing>,
}

/// Kinds of mistakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mistake {
    /// The model was trained on other inputs than it is given.
    Preprocessing,
    /// The labels mean other classes.
    Labels,
    /// The same picture has several labels.
    Contradiction,
    /// Nothing fits: accuracy is that of guessing.
    Chance,
    /// The answers are probabilities.
    Probabilities,
    /// The model is so sure that the cross-entropy is 0 in 32-bit floats.
    Saturated,
    /// The answers are no numbers.
    NotANumber,
    /// The same question has several answers.
    Random,
}

/// How much is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    /// The most pictures that the model is asked about as it is described.
    pub pictures: usize,
    /// The most pictures that the search for other preprocessing shows.
    pub searched: usize,
    /// The most multiply-adds that it spends, but for its first round.
    pub multiply_adds: u64,
    /// Whether other preprocessing is tried whatever the accuracy; else only where fewer than 85% of the pictures are right.
    pub always_search: bool,
    /// Threads to ask on.
    pub threads: usize,
}

/// Accuracy, in percent, below which a run tries other preprocessing.
const DOUBTFUL: f64 = 85.0;

/// Looks for mistakes in how a model and data are described. `preprocessing` is the one in front of the model.
///
/// `tell` is given how many pictures were shown, of how many that are shown next.
///
/// # Errors
/// If a picture cannot be read, or the engine fails.
pub fn lint(
    model: &Classifier,
    preprocessing: &Preprocessing,
    data: &Dataset,
    depth: Depth,
    tell: impl FnMut(usize, usize),
) -> Result<Vec<Finding>> {
    Ok(examine(model, preprocessing, data, depth, tell)?.findings)
}

/// What an examination came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Examined {
    /// What looks wrong.
    pub findings: Vec<Finding>,
    /// The preprocessing that explains the labels best, if one of the findings is that it is another.
    pub better: Option<Preprocessing>,
}

/// As [`lint()`], with the preprocessing that was found.
///
/// # Errors
/// As [`lint()`].
pub fn examine(
    model: &Classifier,
    preprocessing: &Preprocessing,
    data: &Dataset,
    depth: Depth,
    mut tell: impl FnMut(usize, usize),
) -> Result<Examined> {
    let preprocessing = &model.as_eaten(preprocessing)?;
    let mut asking = Asking::new(model, data, depth.threads, &mut tell);
    let count = asking.len().min(depth.pictures);
    let mut answers = asking
        .ask(preprocessing, &[preprocessing], 0..count)?
        .concat();
    let about = answers::About {
        way_before: model.way_before(),
        has_halves: model
            .notices()
            .iter()
            .any(|notice| notice.contains("float16")),
    };
    let mut findings = answers::find(&answers, &about);
    if findings
        .iter()
        .any(|finding| finding.mistake == Mistake::NotANumber)
    {
        return Ok(Examined {
            findings,
            better: None,
        });
    }
    let is_told = |finding: &Finding| finding.mistake == Mistake::Probabilities;
    if model.saturates() && !findings.iter().any(is_told) {
        let saw = "the scores are made of probabilities".to_owned();
        findings.push(answers::probabilities(saw, &about));
    }
    let few = count.min(4);
    let again = asking
        .ask(preprocessing, &[preprocessing], 0..few)?
        .concat();
    findings.extend(answers::compare(&answers[..few], &again));
    let Some(all_labels) = asking.labels(asking.len()) else {
        return Ok(Examined {
            findings,
            better: None,
        });
    };
    let labels = &all_labels[..count];
    let rights = rights(&answers, labels);
    let mut explanations = Vec::from_iter(labels::find(&answers, labels));
    if depth.always_search || percent(&rights) < DOUBTFUL {
        let found = search::search(
            preprocessing,
            &mut asking,
            &mut answers,
            &all_labels,
            &depth,
        )?;
        explanations.extend(found);
    }
    findings.extend(contradiction(asking.seen(), &all_labels));
    // Of several explanations the one that makes most pictures right.
    let best = explanations
        .into_iter()
        .max_by(|a, b| a.percent.total_cmp(&b.percent));
    let mut better = None;
    match best {
        Some(best) => {
            findings.push(best.finding);
            better = best.preprocessing;
        }
        None => findings.extend(
            chance(&rights, model.classes())
                .map(|chance| labels::suspect(&answers[..count], labels).unwrap_or(chance)),
        ),
    }
    Ok(Examined { findings, better })
}

/// A finding that says why pictures are wrong, and how many would be right, in percent.
struct Explained {
    finding: Finding,
    percent: f64,
    /// Where it is other preprocessing: which.
    preprocessing: Option<Preprocessing>,
}

/// Pictures, by id and file, that are the same with different labels.
fn contradiction(seen: &[(String, String)], labels: &[usize]) -> Option<Finding> {
    let mut first: BTreeMap<&str, (&str, usize)> = BTreeMap::new();
    let mut pairs = Vec::new();
    for ((id, file), &label) in seen.iter().zip(labels) {
        let &mut (other, known) = first.entry(id).or_insert((file, label));
        if known != label {
            pairs.push(format!("{other} as {known} and {file} as {label}"));
        }
    }
    let example = pairs.first()?;
    Some(Finding {
        mistake: Mistake::Contradiction,
        saw: format!(
            "among {} pictures the same picture has different labels {}: {example}",
            seen.len(),
            match pairs.len() {
                1 => "once".to_owned(),
                times => format!("{times} times"),
            }
        ),
        matters: "one of the two labels is wrong, and counts as a mistake of the model",
        remedy: "take such pictures out, or correct their labels; the survey of the data lists all of them".into(),
        preprocessing: None,
    })
}

/// Whether an accuracy may be that of guessing: its interval reaches down to it, and not far up. Few pictures say neither.
pub fn may_be_guessing(accuracy: &Interval, classes: usize) -> bool {
    let guessing = 1.0 / classes.max(1) as f64;
    accuracy.n > 0 && accuracy.low <= guessing && accuracy.high < f64::midpoint(guessing, 1.0)
}

/// Accuracy that cannot be told from guessing.
fn chance(rights: &[bool], classes: usize) -> Option<Finding> {
    let right = rights.iter().filter(|&&right| right).count();
    let interval = clopper_pearson(right as u64, rights.len() as u64, 1.0 - SIGNIFICANCE);
    let guessing = 1.0 / classes as f64;
    // Ten pictures of a thousand classes say nothing.
    let telling = (1.0 - guessing).powi(rights.len() as i32) < SIGNIFICANCE || rights.len() >= 20;
    (telling && may_be_guessing(&interval, classes)).then(|| Finding {
        mistake: Mistake::Chance,
        saw: format!(
            "{:.1}% of {} pictures are right, which guessing among {classes} classes might be",
            percent(rights),
            rights.len()
        ),
        matters: "if it does guess, accuracy under attack says nothing about it",
        remedy: "check the labels, how pictures are resized and cropped, and the preprocessing that the model's training code \
                 uses"
            .into(),
        preprocessing: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn few_pictures_do_not_say_that_a_model_guesses() {
        let says = |right, of, classes| may_be_guessing(&clopper_pearson(right, of, 0.95), classes);
        for (right, of, classes) in [
            (1, 1, 10),
            (0, 1, 10),
            (2, 3, 2),
            (3, 4, 3),
            (10, 10, 2),
            (0, 0, 10),
        ] {
            assert!(!says(right, of, classes), "{right} of {of}, {classes}");
        }
        for (right, of, classes) in [(10, 100, 10), (0, 20, 1000), (52, 100, 2)] {
            assert!(says(right, of, classes), "{right} of {of}, {classes}");
        }
    }

    #[test]
    fn one_picture_with_two_labels_is_told() {
        let seen = |ids: [&str; 4]| ids.map(|id| (id.to_owned(), format!("{id}.png")));
        let found = contradiction(&seen(["a", "b", "a", "c"]), &[0, 1, 2, 3]).unwrap();
        assert_eq!(found.mistake, Mistake::Contradiction);
        let says = "different labels once: a.png as 0 and a.png as 2";
        assert!(found.saw.contains(says), "{}", found.saw);
        assert_eq!(
            contradiction(&seen(["a", "b", "a", "c"]), &[0, 1, 0, 3]),
            None
        );
        assert_eq!(
            contradiction(&seen(["a", "b", "d", "c"]), &[0, 1, 2, 3]),
            None
        );
    }
}
