//! Which class of a model a folder of pictures means.
//!
//! A folder per class says what is in its pictures, not which output of the model stands for it. Taking the position of
//! its name among the others is right only where all classes are there, in the same order.

use std::collections::{HashMap, HashSet};

use super::spelling::composed;
use crate::error::{Error, Result};
use crate::legible;
use crate::nearest::did_you_mean;

/// ImageNet's 1,000 classes by WordNet id, in the order of their numbers (which is that of the ids).
const IMAGENET: &str = include_str!("imagenet_wordnet_ids.txt");

/// Classes of the model, one for each folder.
#[derive(Debug, PartialEq)]
pub(super) struct LabelMap {
    pub(super) classes: Vec<usize>,
    /// What was assumed.
    pub(super) notice: Option<String>,
}

/// Finds the classes that folders mean, for a model of `classes` classes that are called `names` (empty if nobody said).
///
/// In this order: by WordNet ids, by the names of the classes, by numbers, and, where nobody named the classes, by position if
/// there are as many folders as classes. Anything else is refused: every label might be wrong.
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
                "The folders are called by numbers, which were taken for the classes' numbers; sorted as text, as \
                 torchvision's ImageFolder sorts them, they would mean others."
                    .to_owned()
            }),
            classes: numbers,
        });
    }
    if !names.is_empty() {
        return Err(Error::invalid(format!(
            "none of the folders of pictures ({}) is called like one of the model's classes ({}): give the names that the folders \
             have, or rename the folders",
            shortened(folders),
            shortened(names)
        )));
    }
    if folders.len() == classes {
        return Ok(plain((0..classes).collect()));
    }
    Err(Error::invalid(format!(
        "the pictures have {} classes ({}, ...), and the model has {classes}: which of the model's classes each means cannot be \
         told. Call them by number or WordNet id, or give the names of the model's classes",
        folders.len(),
        legible::name(&folders[0])
    )))
}

/// The first few of some names.
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

/// The number of ImageNet's first class in a model of so many classes; TensorFlow's models have one for the background
/// before it.
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
                "{folder} is a WordNet id that is none of ImageNet's 1,000 classes"
            ))
        })
    });
    Ok(LabelMap {
        classes: found.collect::<Result<_>>()?,
        notice: (offset > 0).then(|| {
            "The model has 1,001 classes; class 0 was taken for the background, as in TensorFlow's models.".to_owned()
        }),
    })
}

/// The classes with the folders' names; `None` if no folder is called like a class.
fn by_name(folders: &[String], names: &[String]) -> Result<Option<Vec<usize>>> {
    let full = called(names, |name| vec![normal(name)]);
    let synonyms = called(names, |name| name.split(',').map(normal).collect());
    let class = |folder: &String| {
        let folder = normal(folder);
        // A name that two classes share decides nothing.
        let of = |known: &HashMap<String, Option<usize>>| known.get(&folder).copied().flatten();
        of(&full).or_else(|| of(&synonyms))
    };
    let found: Vec<Option<usize>> = folders.iter().map(class).collect();
    if found.iter().all(Option::is_none) {
        return Ok(None);
    }
    if let Some(at) = found.iter().position(Option::is_none) {
        return Err(Error::invalid(format!(
            "{} is the name of none of the model's classes, and others are{}",
            legible::name(&folders[at]),
            did_you_mean(&folders[at], names.iter().map(String::as_str))
        )));
    }
    let classes: Vec<usize> = found.into_iter().flatten().collect();
    let mut earlier = HashMap::new();
    for (at, &class) in classes.iter().enumerate() {
        if let Some(other) = earlier.insert(class, at) {
            return Err(Error::invalid(format!(
                "{} and {} both name the class {:?}",
                legible::name(&folders[other]),
                legible::name(&folders[at]),
                legible::name(&names[class])
            )));
        }
    }
    Ok(Some(classes))
}

/// The class with each name; none if several have it. Capitals, `_`, `-` and the Unicode form do not matter.
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

/// Whether some folder is called like a class, or all are called by WordNet ids of ImageNet's.
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

/// A name in the form in which names are compared.
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
            (&["cat", "dog"][..], &[][..], 10, "cannot be told"),
            (&["n99999999"], &[], 1000, "none of ImageNet's"),
            (&["crane", "dodo"], &PETS, 4, "dodo is the name of none"),
            (&["tabby", "tabby_cat"], &PETS, 4, "both name"),
            (&["12"], &[], 10, "cannot be told"),
            // Named, so never by position.
            (
                &["a", "b", "c", "d"],
                &PETS,
                4,
                "(a, b, c, ...) is called like",
            ),
        ] {
            let error = by_folder(&texts(folders), &texts(names), classes)
                .unwrap_err()
                .to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
