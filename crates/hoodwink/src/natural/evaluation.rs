//! A model on hard, clean and unknown pictures.

use serde::Serialize;

use super::Definition;
use super::answers::Answers;
use super::bootstrap::Resampling;
use super::detection::{Detection, Recall};
use super::logits::Logits;
use super::measures::Measures;
use super::outliers::{Outliers, Score};
use super::tables::ModelTable;
use crate::stats::{CONFIDENCE, Interval, wilson};
use crate::{Error, Result};

/// How to measure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Whose definitions are used.
    pub definition: Definition,
    /// How intervals are found.
    pub resampling: Resampling,
}

/// What a model said.
pub struct Given<'a> {
    /// What the model is called.
    pub model: &'a str,
    /// Multiply-adds of one picture, where they are known.
    pub multiply_adds: Option<u64>,
    /// What each class in play is called.
    pub names: &'a [String],
    /// On hard pictures.
    pub hard: Option<&'a Answers>,
    /// On ordinary pictures of the same classes.
    pub clean: Option<&'a Answers>,
    /// On pictures of unknown classes: the logits of the classes in play.
    pub unknown: Option<&'a Logits>,
    /// More scores than logits give, of the same known and unknown pictures.
    pub scores: &'a [Outliers],
}

/// Evaluations of several models, as they are printed as JSON.
#[derive(Debug, Serialize)]
pub struct Report {
    /// One for each model.
    pub models: Vec<Evaluation>,
    /// Tables of models.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<ModelTable>,
}

impl Report {
    /// Of models, without tables.
    pub fn of(models: Vec<Evaluation>) -> Self {
        Self {
            models,
            tables: Vec::new(),
        }
    }
}

/// What is measured of one model.
#[derive(Debug, Serialize)]
pub struct Evaluation {
    /// What the model is called.
    pub model: String,
    /// Which classes are in play.
    pub subset: String,
    /// How many they are.
    pub classes: usize,
    /// How many the model has.
    pub model_classes: usize,
    /// Multiply-adds of one picture, where they are known.
    pub multiply_adds: Option<u64>,
    /// Whose definitions were used.
    pub definition: Definition,
    /// On hard pictures.
    pub hard: Option<Measures>,
    /// On ordinary pictures of the same classes.
    pub clean: Option<Measures>,
    /// Top-1 on ordinary pictures less that on hard ones, with the interval of Newcombe (Statistics in Medicine 17, 1998,
    /// method 10) for two separate samples.
    pub drop: Option<Interval>,
    /// Which pictures the unknown ones are told from: `clean` if there are any, else `hard`.
    pub known: Option<&'static str>,
    /// How well unknown pictures are told from known ones, by each score.
    pub ood: Vec<Detection>,
}

impl Evaluation {
    /// The model's file without its folder; a model elsewhere keeps its address.
    pub(super) fn file_name(&self) -> String {
        let model = &self.model;
        match model.contains("://") || model.starts_with("cmd:") {
            true => model.clone(),
            false => model.rsplit(['/', '\\']).next().unwrap_or(model).to_owned(),
        }
    }

    /// Measures everything that can be measured of what was given.
    ///
    /// # Errors
    /// If there are no answers to labelled pictures, or those to hard and clean ones are over different classes.
    pub fn of(given: &Given<'_>, settings: &Settings) -> Result<Self> {
        let Some(either) = given.hard.or(given.clean) else {
            return Err(Error::invalid(
                "pictures of known classes are needed, hard or clean ones",
            ));
        };
        let subset = either.subset();
        for other in [given.hard, given.clean].into_iter().flatten() {
            if other.subset() != subset {
                return Err(Error::invalid(
                    "hard and clean pictures are compared over the same classes, and here they are not",
                ));
            }
        }
        let measured = |answers: &Answers| Measures::of(answers, given.names, settings);
        let (hard, clean) = (given.hard.map(measured), given.clean.map(measured));
        let drop = hard.as_ref().zip(clean.as_ref());
        let known = given.clean.or(given.hard);
        let recall = match settings.definition {
            Definition::Standard => Recall::Reached,
            Definition::Nae => Recall::Nearest,
        };
        let mut ood = Vec::new();
        if let (Some(known), Some(unknown)) = (known, given.unknown) {
            if unknown.classes() != subset.len() {
                return Err(Error::invalid(
                    "unknown pictures are scored over the same classes as known ones, and here they are not",
                ));
            }
            let by = |score| Outliers::by(score, known.logits(), unknown);
            let all = Score::ALL.map(by);
            for outliers in all.iter().chain(given.scores) {
                ood.push(Detection::of(outliers, recall, settings.resampling));
            }
        }
        Ok(Self {
            model: given.model.to_owned(),
            subset: subset.name().to_owned(),
            classes: subset.len(),
            model_classes: subset.of_classes(),
            multiply_adds: given.multiply_adds,
            definition: settings.definition,
            drop: drop.map(|(hard, clean)| difference(&clean.top1, &hard.top1)),
            known: given.unknown.map(|_| match given.clean {
                Some(_) => "clean",
                None => "hard",
            }),
            hard,
            clean,
            ood,
        })
    }
}

/// The first proportion less the second, each of a sample of its own.
fn difference(first: &Interval, second: &Interval) -> Interval {
    let score = |of: &Interval| {
        let hits = (of.value * of.n as f64).round();
        wilson(hits as u64, of.n, CONFIDENCE)
    };
    let n = first.n.min(second.n);
    if n == 0 {
        return Interval {
            value: f64::NAN,
            low: f64::NAN,
            high: f64::NAN,
            n,
        };
    }
    let (a, b) = (score(first), score(second));
    let value = a.value - b.value;
    Interval {
        value,
        low: value - (a.value - a.low).hypot(b.high - b.value),
        high: value + (a.high - a.value).hypot(b.value - b.low),
        n,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::clopper_pearson;

    /// The example of Newcombe (1998), table II (a): 56/70 - 48/80, method 10: 0.0524 to 0.3339.
    #[test]
    fn the_interval_of_a_drop_is_newcombes() {
        let share = |hits, n| clopper_pearson(hits, n, CONFIDENCE);
        let found = difference(&share(56, 70), &share(48, 80));
        assert!((found.value - 0.2).abs() < 1e-12);
        assert!((found.low - 0.0524).abs() < 5e-5, "{found:?}");
        assert!((found.high - 0.3339).abs() < 5e-5, "{found:?}");
        assert!(difference(&share(0, 0), &share(1, 2)).value.is_nan());
    }
}
