//! The classes in play.

use std::collections::HashMap;
use std::path::Path;

use crate::data::named::{Meant, meant};
use crate::data::short_name;
use crate::{Error, Result, counted, files, legible, nearest::did_you_mean};

/// WordNet ids of the classes of published sets: those of ImageNet-A and ImageNet-O as in github.com/hendrycks/natural-adv-examples
/// (of ImageNet-O those known classes that its pictures are held against), those of ImageNet-R as in github.com/hendrycks/imagenet-r.
const KNOWN: [(&str, &str); 3] = [
    ("imagenet-a", include_str!("subsets/imagenet-a.txt")),
    ("imagenet-o", include_str!("subsets/imagenet-o.txt")),
    ("imagenet-r", include_str!("subsets/imagenet-r.txt")),
];

/// The largest list of classes that is read.
const MAX_BYTES: u64 = 4 << 20;

/// Which classes of a model are in play. The logits of all others are left out before softmax and argmax.
///
/// A class in play is one class of the model, or several of which the largest logit counts, as in ObjectNet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subset {
    name: String,
    members: Vec<Vec<usize>>,
    classes: usize,
    place: HashMap<usize, usize>,
}

impl Subset {
    /// All classes of a model.
    pub fn all(classes: usize) -> Self {
        let members = (0..classes).map(|class| vec![class]).collect();
        Self::made("all".to_owned(), members, classes)
    }

    /// Some classes of a model, in the order of their numbers.
    ///
    /// # Errors
    /// If they are fewer than two, one is listed twice, or the model does not have one.
    pub fn of(name: &str, mut classes: Vec<usize>, all: usize) -> Result<Self> {
        classes.sort_unstable();
        Self::of_groups(
            name,
            classes.into_iter().map(|class| vec![class]).collect(),
            all,
        )
    }

    /// Groups of classes of a model, each of which counts as one class with the largest of its logits.
    ///
    /// # Errors
    /// As [`Subset::of`], or if a group is empty.
    pub fn of_groups(name: &str, groups: Vec<Vec<usize>>, all: usize) -> Result<Self> {
        let called = legible::name(name);
        let wrong = |what: String| Err(Error::invalid(format!("{called}: {what}")));
        let subset = Self::made(name.to_owned(), groups, all);
        let listed: usize = subset.members.iter().map(Vec::len).sum();
        if subset.members.len() < 2 {
            return wrong(format!(
                "{} in play; there must be at least two",
                counted(subset.members.len(), "class is", "classes are")
            ));
        }
        if let Some(class) = subset.place.keys().find(|&&class| class >= all) {
            return wrong(format!(
                "class {class} is listed, and the model has {all} classes, 0 to {}",
                all.saturating_sub(1)
            ));
        }
        if subset.members.iter().any(Vec::is_empty) {
            return wrong("a group without classes is listed".to_owned());
        }
        if listed > subset.place.len() {
            return wrong("a class is listed twice".to_owned());
        }
        Ok(subset)
    }

    fn made(name: String, members: Vec<Vec<usize>>, classes: usize) -> Self {
        let place = members
            .iter()
            .enumerate()
            .flat_map(|(at, members)| members.iter().map(move |&class| (class, at)))
            .collect();
        Self {
            name,
            members,
            classes,
            place,
        }
    }

    /// The subset that is meant by a word or a file, for a model of `classes` classes that are called `names` (empty if
    /// nobody said): `all`, `imagenet-a`, `imagenet-o`, `imagenet-r`, or a text file with a number, a WordNet id or a name of a
    /// class in each line.
    ///
    /// # Errors
    /// If the file cannot be read, or its classes are not the model's.
    pub fn parse(text: &str, names: &[String], classes: usize) -> Result<Self> {
        if text == "all" {
            return Ok(Self::all(classes));
        }
        if let Some((name, ids)) = KNOWN.iter().find(|(name, _)| *name == text) {
            if !matches!(classes, 1000 | 1001) {
                return Err(Error::invalid(format!(
                    "{name} lists 200 of ImageNet's 1,000 classes, and the model has {classes}: {}",
                    match classes {
                        200 => "if they are those 200 already, say all",
                        _ => "list the model's classes in a file",
                    }
                )));
            }
            let ids: Vec<String> = ids.lines().map(str::to_owned).collect();
            let Meant { classes: found, .. } = meant(&ids, &[], classes, "classes")?;
            return Self::of(name, found, classes);
        }
        let path = Path::new(text);
        if !path.exists() {
            let known = ["all"]
                .into_iter()
                .chain(KNOWN.iter().map(|(name, _)| *name));
            return Err(Error::invalid(format!(
                "{}: there is no such file, and no list of classes of this name{}",
                legible::name(text),
                did_you_mean(text, known)
            )));
        }
        Self::read(path, names, classes)
    }

    fn read(path: &Path, names: &[String], all: usize) -> Result<Self> {
        let text = files::read_text(path, MAX_BYTES)?;
        let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
        let called: Vec<String> = lines
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect();
        let file = legible::name(&path.display().to_string());
        let numbers: Option<Vec<usize>> = called.iter().map(|one| one.parse().ok()).collect();
        let classes = match numbers {
            Some(numbers) => numbers,
            None => {
                meant(&called, names, all, "lines")
                    .map_err(|error| Error::invalid(format!("{file}: {error}")))?
                    .classes
            }
        };
        let name = path.file_name().unwrap_or(path.as_os_str());
        Self::of(&name.to_string_lossy(), classes, all)
            .map_err(|error| Error::invalid(format!("{file}: {error}")))
    }

    /// The published list with just these WordNet ids, if there is one.
    pub fn known_with(ids: &[String]) -> Option<&'static str> {
        let mut ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        ids.sort_unstable();
        let (name, _) = KNOWN
            .iter()
            .find(|(_, list)| list.lines().eq(ids.iter().copied()))?;
        Some(name)
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of classes in play.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether no class is in play; no subset is like that.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Number of classes of the model.
    pub fn of_classes(&self) -> usize {
        self.classes
    }

    /// Whether some classes of the model are not in play.
    pub fn masks(&self) -> bool {
        self.place.len() < self.classes
    }

    /// The classes of the model behind each class in play.
    pub fn members(&self) -> &[Vec<usize>] {
        &self.members
    }

    /// The class in play that a class of the model belongs to.
    pub fn place_of(&self, class: usize) -> Option<usize> {
        self.place.get(&class).copied()
    }

    /// The classes of the model at positions among those in play.
    ///
    /// # Errors
    /// If a position is beyond them.
    pub fn numbers(&self, positions: &[usize]) -> Result<Vec<usize>> {
        let number = |&position: &usize| match self.members.get(position) {
            Some(members) => Ok(members[0]),
            None => Err(Error::invalid(format!(
                "label {position} is no position among the {} classes of {}, which count from 0",
                self.len(),
                legible::name(&self.name)
            ))),
        };
        positions.iter().map(number).collect()
    }

    /// What to call each class in play, where the model's classes are called `names` (empty if nobody said).
    pub fn names(&self, names: &[String]) -> Vec<String> {
        let short = |members: &Vec<usize>| short_name(names, members[0]);
        self.members.iter().map(short).collect()
    }

    /// The logits of the classes in play, from those of all.
    pub fn select(&self, logits: &[f64]) -> Vec<f64> {
        let largest = |members: &Vec<usize>| {
            let values = members.iter().map(|&class| logits[class]);
            values.fold(f64::NEG_INFINITY, f64::max)
        };
        self.members.iter().map(largest).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list.txt");
        std::fs::write(&path, text).unwrap();
        let name = path.display().to_string();
        (folder, name)
    }

    #[test]
    fn published_lists_have_their_200_classes() {
        // First and last classes as in the published indices.
        for (name, first, last) in [
            ("imagenet-a", 6, 988),
            ("imagenet-o", 1, 996),
            ("imagenet-r", 1, 988),
        ] {
            let subset = Subset::parse(name, &[], 1000).unwrap();
            let classes: Vec<usize> = subset.members().iter().map(|members| members[0]).collect();
            assert_eq!(
                (classes.len(), classes[0], classes[199]),
                (200, first, last)
            );
            assert!(classes.is_sorted() && subset.masks());
            let shifted = Subset::parse(name, &[], 1001).unwrap();
            assert_eq!(shifted.members()[0], [first + 1]);
        }
        let both = |a: &str, b: &str| {
            let [a, b] = [a, b].map(|name| Subset::parse(name, &[], 1000).unwrap());
            a.members()
                .iter()
                .filter(|one| b.members().contains(one))
                .count()
        };
        assert_eq!(both("imagenet-a", "imagenet-o"), 59);
        let ids: Vec<String> = KNOWN[0].1.lines().rev().map(str::to_owned).collect();
        assert_eq!(Subset::known_with(&ids), Some("imagenet-a"));
        assert_eq!(Subset::known_with(&ids[1..]), None);
    }

    #[test]
    fn files_list_numbers_ids_or_names() {
        let names = ["cat, tabby", "dog", "crane"].map(str::to_owned);
        for (text, names, classes, expected) in [
            ("2\n0\n", &[][..], 3, [0, 2]),
            ("\u{feff}dog\n\ntabby\n", &names, 3, [0, 1]),
            ("n01443537\nn01440764", &[], 1000, [0, 1]),
        ] {
            let (_folder, path) = file(text);
            let subset = Subset::parse(&path, names, classes).unwrap();
            assert_eq!(subset.members().concat(), expected, "{text:?}");
            assert_eq!(subset.name(), "list.txt");
        }
    }

    #[test]
    fn lists_that_do_not_fit_the_model_are_refused() {
        for (text, classes, says) in [
            (
                "0\n7\n",
                3,
                "class 7 is listed, and the model has 3 classes",
            ),
            ("0\n0\n", 3, "listed twice"),
            ("1\n", 3, "1 class is in play"),
            ("", 3, "0 classes are in play"),
            ("0\ndog\n", 3, "unclear which class"),
            ("n01440764\nn99999999\n", 1000, "not the WordNet id"),
        ] {
            let (_folder, path) = file(text);
            let error = Subset::parse(&path, &[], classes).unwrap_err().to_string();
            assert!(
                error.contains(says) && error.contains("list.txt"),
                "{error}"
            );
        }
        for (text, classes, says) in [
            ("imagenet-a", 200, "say all"),
            ("imagenet-a", 10, "the model has 10"),
            ("imagenet-b", 1000, "did you mean imagenet-"),
        ] {
            let error = Subset::parse(text, &[], classes).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_group_counts_by_its_largest_logit() {
        let subset = Subset::of_groups("pairs", vec![vec![3, 0], vec![2]], 4).unwrap();
        assert_eq!(subset.select(&[0.5, 9.0, -1.0, 2.0]), [2.0, -1.0]);
        assert_eq!((subset.place_of(0), subset.place_of(1)), (Some(0), None));
        assert!(subset.masks() && !Subset::all(4).masks());
        assert!(Subset::of_groups("x", vec![vec![0], vec![]], 4).is_err());
        assert!(Subset::of_groups("x", vec![vec![0], vec![1, 0]], 4).is_err());
    }
}
