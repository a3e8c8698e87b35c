//! Maps folders to the classes of a model.
//!
//! A folder's name says what its pictures show, but not which output of the model that is. Its position among the
//! others is the class number only if all classes are there, in the same order.

use std::collections::{HashMap, HashSet};

use super::spelling::composed;
use crate::error::{Error, Result};
use crate::legible;
use crate::nearest::did_you_mean;

/// ImageNet's 1,000 classes by WordNet id, in class order (which is also the order of the ids).
const IMAGENET: &str = include_str!("imagenet_wordnet_ids.txt");

/// A class of the model for each folder.
#[derive(Debug, PartialEq)]
pub(super) struct LabelMap {
    pub(super) classes: Vec<usize>,
    /// The assumption that was made.
    pub(super) notice: Option<String>,
}

/// Maps folders to the classes of a model with `classes` classes called `names` (empty if unknown).
///
/// Tries WordNet ids, then the names of the classes, then numbers. If the classes have no names, also tries positions,
/// provided that there are as many folders as classes. Anything else is refused, because every label might be wrong.
pub(super) fn by_folder(folders: &[String], names: &[String], classes: usize) -> Result<LabelMap> {
    if folders.iter().all(|folder| is_wordnet_id(folder))
        && let Some(offset) = imagenet_offset(classes)
    {
        return by_wordnet_id(folders, offset);
    }
    if let Some(found) = by_name(folders, names)? {
        return Ok(plain(found));
    }
    let numbers: Option<Vec<usize>> = folders.iter().map(|folder| folder.parse().ok()).collect();
    if let Some(numbers) = numbers.filter(|numbers| numbers.iter().all(|&number| number < classes))
    {
        let in_order = numbers.is_sorted();
        return Ok(LabelMap {
            notice: (!in_order).then(|| {
                "The names of the folders are numbers, which are used as class numbers. In text order, as \
                 torchvision's ImageFolder sorts them, they would mean other classes."
                    .to_owned()
            }),
            classes: numbers,
        });
    }
    if !names.is_empty() {
        return Err(Error::invalid(format!(
            "none of the picture folders ({}) has the name of one of the model's classes ({}): give the class names that the folders \
             use, or rename the folders",
            shortened(folders),
            shortened(names)
        )));
    }
    if folders.len() == classes {
        return Ok(plain((0..classes).collect()));
    }
    Err(Error::invalid(format!(
        "the pictures have {} classes ({}, ...), but the model has {classes}, so it is unclear which class each folder \
         means. Name the folders by class number or WordNet id, or give the names of the model's classes",
        folders.len(),
        legible::name(&folders[0])
    )))
}

/// Returns the first few of some names.
fn shortened(names: &[String]) -> String {
    let first: Vec<String> = names
        .iter()
        .take(3)
        .map(|name| legible::name(name))
        .collect();
    let rest = if names.len() > first.len() {
        ", ..."
    } else {
        ""
    };
    first.join(", ") + rest
}

fn plain(classes: Vec<usize>) -> LabelMap {
    LabelMap {
        classes,
        notice: None,
    }
}

fn is_wordnet_id(name: &str) -> bool {
    name.len() == 9
        && name.starts_with('n')
        && name.bytes().skip(1).all(|byte| byte.is_ascii_digit())
}

/// Returns the number of ImageNet's first class in a model with this many classes. TensorFlow's models have a
/// background class before it.
fn imagenet_offset(classes: usize) -> Option<usize> {
    match classes {
        1000 => Some(0),
        1001 => Some(1),
        _ => None,
    }
}

fn by_wordnet_id(folders: &[String], offset: usize) -> Result<LabelMap> {
    let known: Vec<&str> = IMAGENET.lines().collect();
    let found = folders.iter().map(|folder| {
        let class = known.binary_search(&folder.as_str());
        class.map(|class| class + offset).map_err(|_| {
            Error::invalid(format!(
                "{folder} is not the WordNet id of one of ImageNet's 1,000 classes"
            ))
        })
    });
    Ok(LabelMap {
        classes: found.collect::<Result<_>>()?,
        notice: (offset > 0).then(|| {
            "The model has 1,001 classes; class 0 is assumed to be the background, as in TensorFlow's models.".to_owned()
        }),
    })
}

/// Returns the classes with the folders' names, or `None` if no folder has the name of a class.
fn by_name(folders: &[String], names: &[String]) -> Result<Option<Vec<usize>>> {
    let full = called(names, |name| vec![normal(name)]);
    let synonyms = called(names, |name| name.split(',').map(normal).collect());
    let class = |folder: &String| {
        let folder = normal(folder);
        // A name that two classes share is ambiguous.
        let of = |known: &HashMap<String, Option<usize>>| known.get(&folder).copied().flatten();
        of(&full).or_else(|| of(&synonyms))
    };
    let found: Vec<Option<usize>> = folders.iter().map(class).collect();
    if found.iter().all(Option::is_none) {
        return Ok(None);
    }
    if let Some(at) = found.iter().position(Option::is_none) {
        return Err(Error::invalid(format!(
            "{} is not the name of one of the model's classes, but other folders have such names{}",
            legible::name(&folders[at]),
            did_you_mean(&folders[at], names.iter().map(String::as_str))
        )));
    }
    let classes: Vec<usize> = found.into_iter().flatten().collect();
    let mut earlier = HashMap::new();
    for (at, &class) in classes.iter().enumerate() {
        if let Some(other) = earlier.insert(class, at) {
            return Err(Error::invalid(format!(
                "{} and {} both mean the class {:?}",
                legible::name(&folders[other]),
                legible::name(&folders[at]),
                legible::name(&names[class])
            )));
        }
    }
    Ok(Some(classes))
}

/// Maps each name to its class, or to `None` if several classes have it. Capitals, `_`, `-` and the Unicode form do not
/// matter.
fn called(names: &[String], of: impl Fn(&str) -> Vec<String>) -> HashMap<String, Option<usize>> {
    let mut known: HashMap<String, Option<usize>> = HashMap::new();
    for (class, name) in names.iter().enumerate() {
        for name in of(name) {
            let only = known.entry(name).or_insert(Some(class));
            *only = only.filter(|&only| only == class);
        }
    }
    known
}

/// Whether some folder has the name of a class, or all have WordNet ids of ImageNet's classes.
pub(super) fn calls_any(folders: &[String], names: &[String]) -> bool {
    let known: Vec<&str> = IMAGENET.lines().collect();
    let has_id = |folder: &String| known.binary_search(&folder.as_str()).is_ok();
    if imagenet_offset(names.len()).is_some() && folders.iter().all(has_id) {
        return true;
    }
    let normal_names: HashSet<String> = names
        .iter()
        .flat_map(|name| name.split(',').map(normal))
        .collect();
    folders
        .iter()
        .any(|folder| normal_names.contains(&normal(folder)))
}

/// Returns a name in the form in which names are compared.
pub(super) fn normal(name: &str) -> String {
    composed(&name.trim().to_lowercase()).replace(['_', '-'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    const PETS: [&str; 4] = ["tabby cat, tabby", "German_shepherd", "crane", "goldfish"];

    #[test]
    fn folders_mean_what_they_are_called() {
        for (folders, names, classes, expected) in [
            (
                &["n02123045", "n01440764"][..],
                &[][..],
                1000,
                &[281, 0][..],
            ),
            (&["n01443537"], &[], 1001, &[2]),
            (&["crane", "german shepherd", "tabby"], &PETS, 4, &[2, 1, 0]),
            // Composed here, decomposed there.
            (
                &["u\u{308}", "e\u{301}"],
                &["a", "\u{e9}", "\u{dc}"],
                3,
                &[2, 1],
            ),
            (&["\u{fc}_1"], &["a", "E\u{301}", "U\u{308} 1"], 3, &[2]),
            (&["0", "10", "2"], &[], 11, &[0, 10, 2]),
            (&["3"], &PETS, 4, &[3]),
            (&["a", "b"], &[], 2, &[0, 1]),
            // WordNet ids of a model that is not ImageNet's: all classes are there.
            (&["n02123045", "n99999999"], &[], 2, &[0, 1]),
        ] {
            let found = by_folder(&texts(folders), &texts(names), classes).unwrap();
            assert_eq!(found.classes, expected, "{folders:?}");
        }
    }

    #[test]
    fn what_was_assumed_is_said() {
        let notice = |folders: &[&str], names: &[&str], classes| {
            by_folder(&texts(folders), &texts(names), classes)
                .unwrap()
                .notice
        };
        assert!(
            notice(&["0", "10", "2"], &[], 11)
                .unwrap()
                .contains("torchvision")
        );
        assert!(
            notice(&["n01443537"], &[], 1001)
                .unwrap()
                .contains("background")
        );
        assert_eq!(notice(&["0", "1"], &[], 11), None);
        assert_eq!(notice(&["a", "b"], &[], 2), None);
    }

    #[test]
    fn what_cannot_be_told_is_refused() {
        for (folders, names, classes, says) in [
            (&["cat", "dog"][..], &[][..], 10, "unclear which class"),
            (&["n99999999"], &[], 1000, "not the WordNet id"),
            (&["crane", "dodo"], &PETS, 4, "dodo is not the name of one"),
            (&["tabby", "tabby_cat"], &PETS, 4, "both mean"),
            (&["12"], &[], 10, "unclear which class"),
            // Named, so never by position.
            (
                &["a", "b", "c", "d"],
                &PETS,
                4,
                "(a, b, c, ...) has the name of",
            ),
        ] {
            let error = by_folder(&texts(folders), &texts(names), classes)
                .unwrap_err()
                .to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
