//! Looks for mistakes in the preprocessing, the labels and the model before anything is measured.
//!
//! Wrong preprocessing or labels rarely cause an error. The model answers badly, and every result that follows
//! describes a model that nobody uses. The lint therefore asks the model about some pictures, with the preprocessing it
//! was given and with other common ones, and compares the answers with the labels.

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
    /// The kind of mistake that it looks like.
    pub mistake: Mistake,
    /// What was seen, in a sentence.
    pub saw: String,
    /// Why it matters, in a sentence.
    pub matters: &'static str,
    /// What to do about it, in a sentence. Settings are called by their names.
    pub remedy: String,
    /// The preprocessing that would fix it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preprocessing: Option<Preprocessing>,
}

/// Kinds of mistakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mistake {
    /// The model was trained with other preprocessing.
    Preprocessing,
    /// The labels stand for other classes.
    Labels,
    /// The same picture has several labels.
    Contradiction,
    /// Nothing explains it, and the accuracy is no better than guessing.
    Chance,
    /// The scores are probabilities.
    Probabilities,
    /// The logits are so far apart that the cross-entropy is 0 in 32-bit floats.
    Saturated,
    /// The scores are NaN or infinite.
    NotANumber,
    /// The model answers the same question differently each time.
    Random,
}

/// How thoroughly to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    /// The maximum number of pictures to test with the given preprocessing.
    pub pictures: usize,
    /// The maximum number of pictures for the search for other preprocessing.
    pub searched: usize,
    /// The maximum number of multiply-adds for that search, not counting its first round.
    pub multiply_adds: u64,
    /// Whether to try other preprocessing at any accuracy. Otherwise it is tried only if the accuracy is below 85%.
    pub always_search: bool,
    /// The number of threads.
    pub threads: usize,
}

/// The accuracy, in percent, below which other preprocessing is tried.
const DOUBTFUL: f64 = 85.0;

/// Looks for mistakes in the description of a model and data. `preprocessing` is the preprocessing that the model was
/// opened with.
///
/// `tell` is called with the number of pictures done in this round, and the number in the round.
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

/// The result of [`examine()`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Examined {
    /// What looks wrong.
    pub findings: Vec<Finding>,
    /// The preprocessing that explains the labels best, if one of the findings is about preprocessing.
    pub better: Option<Preprocessing>,
}

/// Runs [`lint()`] and also returns the preprocessing that it found.
///
/// # Errors
/// The same as [`lint()`].
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
        let saw = "the scores are computed from probabilities".to_owned();
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
    // Of several explanations, report the one under which most pictures are right.
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

/// A finding that explains why pictures are wrong, and the accuracy, in percent, once it is fixed.
struct Explained {
    finding: Finding,
    percent: f64,
    /// The better preprocessing, if that is the explanation.
    preprocessing: Option<Preprocessing>,
}

/// Finds equal pictures with different labels. `seen` has the id and file of each picture.
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
            "among {} pictures, the same picture has different labels {}: {example}",
            seen.len(),
            match pairs.len() {
                1 => "once".to_owned(),
                times => format!("{times} times"),
            }
        ),
        matters: "one of the two labels is wrong and counts as a mistake of the model",
        remedy:
            "remove these pictures or correct their labels; the survey of the data lists them all"
                .into(),
        preprocessing: None,
    })
}

/// Whether the accuracy may be that of guessing: its interval includes the guessing rate and ends below the midpoint
/// between that rate and 1. With few pictures the interval is too wide to say.
pub fn may_be_guessing(accuracy: &Interval, classes: usize) -> bool {
    let guessing = 1.0 / classes.max(1) as f64;
    accuracy.n > 0 && accuracy.low <= guessing && accuracy.high < f64::midpoint(guessing, 1.0)
}

/// Finds an accuracy that is indistinguishable from guessing.
fn chance(rights: &[bool], classes: usize) -> Option<Finding> {
    let right = rights.iter().filter(|&&right| right).count();
    let interval = clopper_pearson(right as u64, rights.len() as u64, 1.0 - SIGNIFICANCE);
    let guessing = 1.0 / classes as f64;
    // Ten pictures of a thousand classes show nothing.
    let telling = (1.0 - guessing).powi(rights.len() as i32) < SIGNIFICANCE || rights.len() >= 20;
    (telling && may_be_guessing(&interval, classes)).then(|| Finding {
        mistake: Mistake::Chance,
        saw: format!(
            "the model is right on {:.1}% of {} pictures, which may be guessing among {classes} classes",
            percent(rights),
            rights.len()
        ),
        matters: "if the model only guesses, its accuracy under attack means nothing",
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
