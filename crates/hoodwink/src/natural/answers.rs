//! What a model says about pictures whose classes are known.

use super::accuracy::{Place, largest};
use super::logits::{Logits, softmax};
use super::subset::Subset;
use crate::{Error, Result, stats::CONFIDENCE, stats::Interval, stats::clopper_pearson};

/// The answers to labelled pictures, over the classes in play.
#[derive(Clone, Debug)]
pub struct Answers {
    subset: Subset,
    /// Over the classes in play.
    logits: Logits,
    labels: Vec<usize>,
    predictions: Vec<usize>,
    confidences: Vec<f64>,
    within: [Vec<bool>; 2],
    tied: [u64; 2],
    /// Right among all classes of the model: first, and among the first five.
    unmasked: [u64; 2],
}

/// The ranks that count: first, and among the first five.
const TOP: [usize; 2] = [1, 5];

impl Answers {
    /// None yet.
    ///
    /// # Errors
    /// If fewer than two classes are in play.
    pub fn new(subset: &Subset) -> Result<Self> {
        Ok(Self {
            logits: Logits::new(subset.len())?,
            subset: subset.clone(),
            labels: Vec::new(),
            predictions: Vec::new(),
            confidences: Vec::new(),
            within: Default::default(),
            tied: Default::default(),
            unmasked: Default::default(),
        })
    }

    /// Answers to pictures from all their logits; `labels` are classes of the model. `name` names the logits in errors.
    ///
    /// # Errors
    /// If a label is not in play, or there are more or fewer labels than rows.
    pub fn of(logits: &Logits, labels: &[usize], subset: &Subset, name: &str) -> Result<Self> {
        if logits.len() != labels.len() {
            return Err(Error::invalid(format!(
                "{name} has {} rows and {} labels",
                logits.len(),
                labels.len()
            )));
        }
        let mut answers = Self::new(subset)?;
        for (at, (row, &label)) in logits.rows().zip(labels).enumerate() {
            let of = format!("{name}[{at}]");
            let place = subset.place_of(label).ok_or_else(|| {
                Error::invalid(match subset.masks() {
                    true => format!(
                        "{of} has the label {label}, which is none of the {} classes of {}; are the labels positions among \
                         those classes, instead of numbers of the model's?",
                        subset.len(),
                        subset.name()
                    ),
                    false => format!(
                        "{of} has the label {label}, and there are {} classes, 0 to {}",
                        subset.len(),
                        subset.len() - 1
                    ),
                })
            })?;
            answers.push(row, place, &of)?;
        }
        Ok(answers)
    }

    /// Adds a picture: the logits of all classes, and the place of its class among those in play. `of` names it in errors.
    ///
    /// # Errors
    /// Those of [`Logits::push`].
    pub fn push(&mut self, logits: &[f64], label: usize, of: &str) -> Result<()> {
        if logits.len() != self.subset.of_classes() {
            return Err(Error::invalid(format!(
                "{of}: {} logits for a model of {} classes",
                logits.len(),
                self.subset.of_classes()
            )));
        }
        // NaN must not hide behind a larger member of its group, nor among classes that are not in play.
        if let Some(class) = logits.iter().position(|value| value.is_nan()) {
            return Err(Error::invalid(format!(
                "{of}: the logit of class {class} is NaN, so nothing can be measured; does the model divide by zero or \
                 overflow?"
            )));
        }
        let selected = self.subset.select(logits);
        self.logits.push(&selected, of)?;
        let prediction = largest(&selected);
        let inside = Place::of(&[label], &selected);
        let outside = Place::of(&self.subset.members()[label], logits);
        for (at, top) in TOP.into_iter().enumerate() {
            self.within[at].push(inside.is_within(top));
            self.tied[at] += u64::from(inside.is_tied(top));
            self.unmasked[at] += u64::from(outside.is_within(top));
        }
        self.confidences.push(softmax(&selected)[prediction]);
        self.predictions.push(prediction);
        self.labels.push(label);
        Ok(())
    }

    /// Number of pictures.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no pictures.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The classes in play.
    pub fn subset(&self) -> &Subset {
        &self.subset
    }

    /// The logits of the classes in play.
    pub fn logits(&self) -> &Logits {
        &self.logits
    }

    /// The place of each picture's class among those in play.
    pub fn labels(&self) -> &[usize] {
        &self.labels
    }

    /// The place of each predicted class among those in play.
    pub fn predictions(&self) -> &[usize] {
        &self.predictions
    }

    /// The softmax probability of each prediction, over the classes in play.
    pub fn confidences(&self) -> &[f64] {
        &self.confidences
    }

    /// Whether each prediction is right.
    pub fn right(&self) -> &[bool] {
        &self.within[0]
    }

    pub(super) fn top1(&self) -> Interval {
        self.share(count(&self.within[0]))
    }

    pub(super) fn top5(&self) -> Interval {
        self.share(count(&self.within[1]))
    }

    /// Pictures whose top-1 and top-5 depend on the tie rule.
    pub(super) fn tied(&self) -> [u64; 2] {
        self.tied
    }

    /// Top-1 and top-5 among all classes of the model.
    pub(super) fn unmasked(&self) -> [Interval; 2] {
        self.unmasked.map(|right| self.share(right))
    }

    fn share(&self, right: u64) -> Interval {
        clopper_pearson(right, self.len() as u64, CONFIDENCE)
    }
}

fn count(flags: &[bool]) -> u64 {
    flags.iter().filter(|&&flag| flag).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logits(rows: &[[f64; 4]]) -> Logits {
        let mut logits = Logits::new(4).unwrap();
        rows.iter().for_each(|row| logits.push(row, "x").unwrap());
        logits
    }

    #[test]
    fn classes_are_selected_before_softmax_and_argmax() {
        let all = logits(&[[0.0, 5.0, 1.0, -1.0], [2.0, 0.0, 1.0, 0.5]]);
        let subset = Subset::of("some", vec![0, 2], 4).unwrap();
        let answers = Answers::of(&all, &[2, 0], &subset, "x").unwrap();
        assert_eq!(answers.predictions(), [1, 0]);
        assert_eq!(answers.right(), [true, true]);
        // Of the selected logits alone, not a part of the whole softmax.
        let expected = 1.0 / (1.0 + (-1.0f64).exp());
        answers
            .confidences()
            .iter()
            .for_each(|found| assert!((found - expected).abs() < 1e-15));
        let [first, five] = answers.unmasked();
        assert_eq!((first.value, five.value), (0.5, 1.0));
    }

    #[test]
    fn labels_out_of_play_and_nan_are_refused() {
        let all = logits(&[[0.0, 5.0, 1.0, -1.0]]);
        let subset = Subset::of("some", vec![0, 2], 4).unwrap();
        let error = Answers::of(&all, &[1], &subset, "a.npy").unwrap_err();
        assert!(
            error.to_string().contains("positions among those"),
            "{error}"
        );
        assert!(Answers::of(&all, &[1, 0], &subset, "a.npy").is_err());
        let mut answers = Answers::new(&subset).unwrap();
        let error = answers
            .push(&[0.0, f64::NAN, 1.0, 0.0], 0, "b")
            .unwrap_err();
        assert!(error.to_string().contains("class 1 is NaN"), "{error}");
    }
}
