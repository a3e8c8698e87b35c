//! Labels in tables and lists: class numbers or names.

use std::collections::BTreeMap;

use super::MAX_CLASSES;
use super::class_names::{is_too_long, too_long};
use crate::legible;

/// Labels in the order of their pictures: all numbers, or all names.
#[derive(Debug, Default)]
pub(super) struct Labels {
    numbers: Vec<usize>,
    /// A name per picture, as an index into the distinct names in order of appearance.
    named: Vec<usize>,
    names: BTreeMap<String, usize>,
}

impl Labels {
    /// Adds the next label. Returns its number, or `None` if it is a name. Errors are sentences without a subject.
    pub(super) fn add(&mut self, text: &str) -> Result<Option<usize>, String> {
        let looks_like_number = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
            && text.parse::<f64>().is_ok();
        if text.is_empty() || looks_like_number {
            let number = text.parse().ok().filter(|&label| label < MAX_CLASSES);
            let number = number.ok_or_else(|| {
                format!(
                    "{:?} is not a label; labels are class numbers, from 0, or class names",
                    legible::name(text)
                )
            })?;
            self.numbers.push(number);
        } else if is_too_long(text) {
            return Err(too_long(text));
        } else {
            let next = self.names.len();
            let place = *self.names.entry(text.to_owned()).or_insert(next);
            if next == MAX_CLASSES {
                return Err(format!(
                    "there are more than {MAX_CLASSES} different labels"
                ));
            }
            self.named.push(place);
        }
        match (self.numbers.last(), self.names.first_key_value()) {
            (Some(number), Some((name, _))) => Err(format!(
                "some labels are numbers ({number}) and others names ({:?}); use only one kind",
                legible::name(name)
            )),
            (number, _) => Ok(number.copied()),
        }
    }

    /// Returns the number of labels.
    pub(super) fn len(&self) -> usize {
        self.numbers.len() + self.named.len()
    }

    /// Returns the labels. If they are names, also returns the distinct names in sorted order, and each label is an
    /// index into them.
    pub(super) fn done(self) -> (Vec<usize>, Option<Vec<String>>) {
        if self.names.is_empty() {
            return (self.numbers, None);
        }
        let mut places = vec![0; self.names.len()];
        for (sorted, &came) in self.names.values().enumerate() {
            places[came] = sorted;
        }
        let labels = self.named.into_iter().map(|came| places[came]).collect();
        (labels, Some(self.names.into_keys().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(texts: &[&str]) -> Result<(Vec<usize>, Option<Vec<String>>), String> {
        let mut labels = Labels::default();
        for text in texts {
            labels.add(text)?;
        }
        assert_eq!(labels.len(), texts.len());
        Ok(labels.done())
    }

    #[test]
    fn labels_are_numbers_or_names() {
        assert_eq!(read(&["3", "0"]), Ok((vec![3, 0], None)));
        let names = ["cat", "dog", "n02123045"].map(String::from).to_vec();
        assert_eq!(
            read(&["dog", "n02123045", "cat", "dog"]),
            Ok((vec![1, 2, 0, 1], Some(names)))
        );
        for (texts, says) in [
            (
                &["3", "cat"][..],
                "some labels are numbers (3) and others names (\"cat\")",
            ),
            (&["cat", "3"], "some labels are numbers (3)"),
            (&["-1"], "\"-1\" is not a label"),
            (&["1.5"], "\"1.5\" is not a label"),
            (&[""], "\"\" is not a label"),
            (&["1000000"], "is not a label"),
        ] {
            let error = read(texts).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
