//! Logits and labels, from memory or from files.

use std::path::Path;

use super::subset::Subset;
use crate::data::matrix;
use crate::{Error, Result, legible};

/// The most values that are read: 2 GiB as doubles.
const MAX_VALUES: usize = 1 << 28;

/// Scores of all classes, one row for each picture.
///
/// No value is NaN or +∞; some, but not all, of a row may be −∞, as of classes that were masked out.
#[derive(Clone, Debug, PartialEq)]
pub struct Logits {
    classes: usize,
    values: Vec<f64>,
}

impl Logits {
    /// No rows yet, for this many classes.
    ///
    /// # Errors
    /// If there are fewer than two classes.
    pub fn new(classes: usize) -> Result<Self> {
        if classes < 2 {
            return Err(Error::invalid(format!(
                "logits of {classes} classes say nothing: there must be at least two"
            )));
        }
        Ok(Self {
            classes,
            values: Vec::new(),
        })
    }

    /// Adds a row; `of` names its picture in errors.
    ///
    /// # Errors
    /// If it has another length, NaN or +∞ in it, or nothing but −∞.
    pub fn push(&mut self, row: &[f64], of: &str) -> Result<()> {
        check(row, self.classes, of)?;
        if self.values.len() + row.len() > MAX_VALUES {
            return Err(Error::unsupported(format!(
                "more than {MAX_VALUES} logits are too many to keep: take fewer pictures at once"
            )));
        }
        self.values.extend_from_slice(row);
        Ok(())
    }

    /// Reads a `.npy` file of floats with the shape `[pictures, classes]`.
    ///
    /// # Errors
    /// If the file is none, or holds what [`Logits::push`] refuses.
    pub fn read(path: &Path) -> Result<Self> {
        let name = legible::name(&path.display().to_string());
        let matrix = matrix::read(path, &name, MAX_VALUES)?;
        let mut logits = Self::new(matrix.columns).map_err(|error| named(&name, &error))?;
        logits.values.reserve_exact(matrix.values.len());
        for (row, values) in matrix.values.chunks_exact(matrix.columns).enumerate() {
            logits.push(values, &format!("{name}[{row}]"))?;
        }
        if logits.is_empty() {
            return Err(Error::invalid(format!("{name} holds no rows")));
        }
        Ok(logits)
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Number of pictures.
    pub fn len(&self) -> usize {
        self.values.len() / self.classes
    }

    /// Whether there are no pictures.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The rows in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f64]> {
        self.values.chunks_exact(self.classes)
    }

    /// Those of the classes in play.
    ///
    /// # Errors
    /// If a row says nothing about these classes: all of their logits are −∞.
    pub fn selected(&self, subset: &Subset) -> Result<Self> {
        let mut selected = Self::new(subset.len())?;
        for (at, row) in self.rows().enumerate() {
            selected.push(&subset.select(row), &format!("row {at}"))?;
        }
        Ok(selected)
    }

    /// Whether every row looks like probabilities: none negative, sum 1. They are no logits: a softmax of them is never sure.
    pub fn are_probabilities(&self) -> bool {
        let is_distribution = |row: &[f64]| {
            row.iter().all(|&value| value >= 0.0) && (row.iter().sum::<f64>() - 1.0).abs() < 1e-3
        };
        !self.is_empty() && self.rows().all(is_distribution)
    }
}

/// Reads true classes, one for each of so many pictures: a `.npy` file of integers with the shape `[pictures]`. `logits` are
/// those that they are for.
///
/// # Errors
/// If the file is none, or has another number of labels.
pub fn read_labels(path: &Path, logits: &Path, pictures: usize) -> Result<Vec<usize>> {
    let name = |path: &Path| legible::name(&path.display().to_string());
    matrix::read_labels(path, &name(path), (&name(logits), pictures))
}

fn named(name: &str, error: &Error) -> Error {
    Error::invalid(format!("{name}: {error}"))
}

fn check(row: &[f64], classes: usize, of: &str) -> Result<()> {
    let wrong = |what: String| Err(Error::invalid(format!("{of}: {what}")));
    if row.len() != classes {
        return wrong(format!("{} logits for {classes} classes", row.len()));
    }
    if let Some(class) = row.iter().position(|value| value.is_nan()) {
        return wrong(format!(
            "the logit of class {class} is NaN, so nothing can be measured; does the model divide by zero or overflow?"
        ));
    }
    if let Some(class) = row.iter().position(|value| *value == f64::INFINITY) {
        return wrong(format!(
            "the logit of class {class} is infinite, so there is no softmax"
        ));
    }
    if row.iter().all(|value| *value == f64::NEG_INFINITY) {
        return wrong("all logits are -infinity, so there is no softmax".to_owned());
    }
    Ok(())
}

/// The probabilities that a softmax makes of logits.
pub(super) fn softmax(logits: &[f64]) -> Vec<f64> {
    let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut values: Vec<f64> = logits.iter().map(|logit| (logit - top).exp()).collect();
    let sum: f64 = values.iter().sum();
    values.iter_mut().for_each(|value| *value /= sum);
    values
}

/// `log(sum(exp(logits)))`.
pub(super) fn log_sum_exp(logits: &[f64]) -> f64 {
    let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    top + logits
        .iter()
        .map(|logit| (logit - top).exp())
        .sum::<f64>()
        .ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_softmax_is_refused_by_name() {
        for (row, says) in [
            (vec![1.0, f64::NAN, 0.0], "the logit of class 1 is NaN"),
            (
                vec![1.0, 0.0, f64::INFINITY],
                "the logit of class 2 is infinite",
            ),
            (vec![f64::NEG_INFINITY; 3], "all logits are -infinity"),
            (vec![1.0, 2.0], "2 logits for 3 classes"),
        ] {
            let error = Logits::new(3).unwrap().push(&row, "a.npy[7]").unwrap_err();
            let error = error.to_string();
            assert!(
                error.starts_with("a.npy[7]: ") && error.contains(says),
                "{error}"
            );
        }
        let mut some = Logits::new(3).unwrap();
        some.push(&[0.0, f64::NEG_INFINITY, 1.0], "x").unwrap();
        assert_eq!((some.len(), some.classes()), (1, 3));
        assert!(Logits::new(1).is_err());
    }

    #[test]
    fn probabilities_are_recognised() {
        let of = |rows: &[[f64; 2]]| {
            let mut logits = Logits::new(2).unwrap();
            rows.iter().for_each(|row| logits.push(row, "x").unwrap());
            logits.are_probabilities()
        };
        assert!(of(&[[0.25, 0.75], [1.0, 0.0]]));
        assert!(!of(&[[0.25, 0.75], [1.0, 0.5]]));
        assert!(!of(&[[-0.5, 1.5]]));
        assert!(!of(&[]));
    }

    #[test]
    fn a_softmax_of_large_logits_does_not_overflow() {
        let found = softmax(&[1000.0, 999.0, f64::NEG_INFINITY]);
        assert!((found[0] - 1.0 / (1.0 + (-1.0f64).exp())).abs() < 1e-15);
        assert_eq!(found[2], 0.0);
        assert!((log_sum_exp(&[1000.0, 1000.0]) - 1000.0 - 2.0f64.ln()).abs() < 1e-12);
    }
}
