//! Classes by what they are called, never by their position.

use super::label_map::{self, LabelMap};
use crate::error::{Error, Result};
use crate::legible;

/// The classes of a model that names mean, with what was assumed.
pub(crate) struct Meant {
    pub(crate) classes: Vec<usize>,
    pub(crate) notice: Option<String>,
}

/// Finds the classes that WordNet ids, names or numbers mean, for a model of `classes` classes that are called `names`
/// (empty if nobody said). `what` says what is called so, in the plural.
///
/// Unlike [`super::Dataset::label_for`], it never takes the order of names for that of classes: a set in another order, or
/// with a class missing, would be scored wrong without a word.
pub(crate) fn meant(
    called: &[String],
    names: &[String],
    classes: usize,
    what: &str,
) -> Result<Meant> {
    // Only as many names as classes may be taken by position, so one alone must mean a class by itself.
    let alone = called.iter().take(1).cloned().collect::<Vec<_>>();
    if called.len() == classes && label_map::by_folder(&alone, names, classes).is_err() {
        return Err(Error::invalid(format!(
            "which classes of the model the {what} mean cannot be told from their names ({}), and their order is not taken for \
             that of the classes: call them by number or WordNet id, or give the names of the model's classes",
            legible::names(called)
        )));
    }
    let LabelMap { classes, notice } = label_map::by_folder(called, names, classes)?;
    Ok(Meant { classes, notice })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn names_count_and_positions_do_not() {
        for (called, names, classes, expected) in [
            (&["dog", "cat"][..], &["cat", "dog"][..], 2, &[1, 0][..]),
            (&["1", "0"], &[], 2, &[1, 0]),
            (&["n01443537", "n01440764"], &[], 1000, &[1, 0]),
            (&["dog"], &["cat", "dog"], 2, &[1]),
        ] {
            let found = meant(&texts(called), &texts(names), classes, "folders").unwrap();
            assert_eq!(found.classes, expected, "{called:?}");
        }
        for (called, names, classes) in [
            (&["cat", "dog"][..], &[][..], 2),
            (&["a", "b"], &["cat", "dog"], 2),
            // Those of another data set, sorted by id; only their names would tell.
            (&["n01443537", "n01440764"], &[], 2),
        ] {
            let refused = meant(&texts(called), &texts(names), classes, "folders");
            let error = refused.err().map(|error| error.to_string()).unwrap();
            assert!(error.contains("their order is not taken"), "{error}");
        }
    }
}
