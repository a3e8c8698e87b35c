//! All measures of one labelled set.

use serde::Serialize;

use super::Definition;
use super::answers::Answers;
use super::bootstrap::Ends;
use super::calibration::{Errors, expected_error};
use super::classes::{self, Attractor, ClassRow, Spread};
use super::confusions::{Confusion, confusions};
use super::evaluation::Settings;
use super::ranked::{Level, Ranked};
use super::selective::{aurra, soft_f1};
use super::temperature;
use crate::stats::Interval;
use crate::{counted, legible};

/// What is measured of a model on a labelled set, over the classes in play. What is undefined is NaN, in JSON `null`.
#[derive(Clone, Debug, Serialize)]
pub struct Measures {
    /// Number of pictures.
    pub pictures: u64,
    /// Share of pictures whose class has the largest logit; of equal logits the lower class number comes first.
    pub top1: Interval,
    /// Share of pictures whose class has one of the five largest logits; 1 with five classes or fewer.
    pub top5: Interval,
    /// Pictures whose top-1 another tie rule could change.
    pub tied_top1: u64,
    /// Pictures whose top-5 another tie rule could change.
    pub tied_top5: u64,
    /// The same among all classes of the model.
    pub unmasked: Unmasked,
    /// Share of pictures of which at least one of ten crops is answered right, if they were asked about: how much of the mistakes
    /// is only that the object lies outside of the centre.
    pub any_of_ten_crops: Option<Interval>,
    /// Root mean square of confidence minus accuracy, over bins of 100 pictures of similar confidence.
    pub rms_calibration: Interval,
    /// By the definition: over all bins.
    pub rms_calibration_standard: f64,
    /// By the published script: without the last bin, that of the surest answers.
    pub rms_calibration_nae: f64,
    /// Mean absolute difference over the same bins as `rms_calibration`.
    pub mad_calibration: f64,
    /// Largest absolute difference over these bins.
    pub max_calibration: f64,
    /// Expected calibration error: mean absolute difference over 15 bins of equal width.
    pub ece: Interval,
    /// Area under the response rate accuracy curve.
    pub aurra: Interval,
    /// Soft F1 of finding wrong answers by their low confidence; undefined without wrong answers.
    pub soft_f1: Interval,
    /// The temperature at which the log loss is smallest: above 1 for a model that is too sure. Undefined where there is none.
    pub temperature: f64,
    /// How predicted labels spread over the classes.
    pub predicted: Spread,
    /// Every class in play.
    pub classes: Vec<ClassRow>,
    /// Classes that are predicted more often than they are there, at most 20.
    pub attractors: Vec<Attractor>,
    /// The most frequent confusions, at most 20.
    pub confusions: Vec<Confusion>,
    /// What a reader of these figures should know, in sentences.
    pub notes: Vec<String>,
}

/// Accuracy among all classes of the model, whichever are in play.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Unmasked {
    /// Share of pictures whose class has the largest logit of all.
    pub top1: Interval,
    /// Share of pictures whose class has one of the five largest of all.
    pub top5: Interval,
}

impl Measures {
    /// Of answers; `names` call each class in play.
    pub(super) fn of(answers: &Answers, names: &[String], settings: &Settings) -> Self {
        let ranked = Ranked::new(answers.confidences(), answers.right());
        let levels = ranked.levels();
        let errors = |levels: &[Level]| match settings.definition {
            Definition::Standard => Errors::of(levels),
            Definition::Nae => Errors::without_last_bin(levels),
        };
        let measures = |levels: &[Level]| {
            [
                errors(levels).rms,
                expected_error(levels),
                aurra(levels),
                soft_f1(levels),
            ]
        };
        let [rms_calibration, ece, aurra, soft_f1] = settings.resampling.intervals(
            [ranked.len()],
            measures(&levels),
            [
                Ends::Centred,
                Ends::Centred,
                Ends::Percentile,
                Ends::Percentile,
            ],
            |[weights]| measures(&ranked.weighted(weights)),
        );
        let [top1, top5] = answers.unmasked();
        let [tied_top1, tied_top5] = answers.tied();
        let temperature = match settings.definition {
            Definition::Standard => temperature::best,
            Definition::Nae => temperature::by_script,
        };
        let mut measures = Self {
            pictures: answers.len() as u64,
            top1: answers.top1(),
            top5: answers.top5(),
            tied_top1,
            tied_top5,
            unmasked: Unmasked { top1, top5 },
            any_of_ten_crops: None,
            rms_calibration,
            rms_calibration_standard: Errors::of(&levels).rms,
            rms_calibration_nae: Errors::without_last_bin(&levels).rms,
            mad_calibration: errors(&levels).mad,
            max_calibration: errors(&levels).max,
            ece,
            aurra,
            soft_f1,
            temperature: temperature(answers.logits(), answers.labels()),
            predicted: Spread::of(answers.predictions(), answers.subset().len()),
            classes: classes::rows(answers, names),
            attractors: classes::attractors(answers, names),
            confusions: confusions(answers, names),
            notes: Vec::new(),
        };
        measures.notes = measures.notes(answers, settings.definition);
        measures
    }

    fn notes(&self, answers: &Answers, definition: Definition) -> Vec<String> {
        let mut notes = Vec::new();
        let pictures = counted(answers.len(), "picture", "pictures");
        let right = answers.right().iter().filter(|&&right| right).count();
        if answers.is_empty() {
            notes.push("There are no pictures, so nothing is defined.".to_owned());
            return notes;
        }
        if right == 0 {
            notes.push(
                "Every answer is wrong: AURRA is 0 whatever the confidences are, so it says nothing of their order, and no \
                 temperature makes up for that."
                    .to_owned(),
            );
        }
        if right == answers.len() {
            notes.push(
                "Every answer is right: there is nothing for soft F1 to find, and the lower the temperature the better, so \
                 both are undefined."
                    .to_owned(),
            );
        }
        let empty: Vec<&str> = (self.classes.iter())
            .filter(|row| row.recall.n == 0)
            .map(|row| row.name.as_str())
            .collect();
        let there = self.classes.len() - empty.len();
        if there == 1 {
            notes.push(format!(
                "All {pictures} are of one class, so accuracy is only the recall of that class."
            ));
        } else if !empty.is_empty() {
            notes.push(format!(
                "{} of the {} classes in play have no pictures, so their recall is undefined ({}).",
                empty.len(),
                self.classes.len(),
                legible::names(empty)
            ));
        }
        if self.tied_top1 > 0 {
            notes.push(format!(
                "Of {} the largest logits are equal; the lower class number was taken.",
                counted(self.tied_top1 as usize, "picture", "pictures")
            ));
        }
        if definition == Definition::Nae {
            notes.push(match answers.len() {
                ..100 => "The published script fails on fewer than 100 pictures, so its calibration errors are undefined.",
                100..200 => {
                    "The published script leaves out the last bin, and there is no other: its calibration errors are 0 \
                     whatever the answers are."
                }
                _ => {
                    "As in the published script, the calibration errors leave out the last bin, that of the surest answers."
                }
            }
            .to_owned());
        } else if answers.len() < 200 {
            notes.push(format!(
                "{pictures} are one bin, so the calibration errors over bins of 100 only compare mean confidence and accuracy."
            ));
        }
        if answers.logits().are_probabilities() {
            notes.push(
                "The logits look like probabilities: they are not negative and sum to 1. A softmax of probabilities is never \
                 sure, so confidences, calibration and most OOD scores are wrong; give logits, or logarithms of probabilities."
                    .to_owned(),
            );
        }
        notes
    }
}
