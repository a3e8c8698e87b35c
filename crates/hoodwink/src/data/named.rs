//! Finds classes by their names, never by their positions.

use super::label_map::{self, LabelMap};
use crate::error::{Error, Result};
use crate::legible;

/// Classes of a model, and the assumption that was made.
pub(crate) struct Meant {
    pub(crate) classes: Vec<usize>,
    pub(crate) notice: Option<String>,
}

/// Maps WordNet ids, names or numbers to the classes of a model with `classes` classes called `names` (empty if
/// unknown). `what` is the plural of what has these names.
///
/// Unlike [`super::Dataset::label_for`], it never assumes that the names are in class order: a set in another order, or
/// without some class, would be scored wrong silently.
pub(crate) fn meant(
    called: &[String],
    names: &[String],
    classes: usize,
    what: &str,
) -> Result<Meant> {
    // Positions are only assumed for as many names as classes, so a single name must mean a class by itself.
    let alone = called.iter().take(1).cloned().collect::<Vec<_>>();
    if called.len() == classes && label_map::by_folder(&alone, names, classes).is_err() {
        return Err(Error::invalid(format!(
            "the names of the {what} ({}) do not say which classes of the model they mean, and their order is not assumed to be \
             the class order: name them by class number or WordNet id, or give the names of the model's classes",
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
            assert!(error.contains("their order is not assumed"), "{error}");
        }
    }
}
