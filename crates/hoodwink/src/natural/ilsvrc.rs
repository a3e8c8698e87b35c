//! ImageNet's validation pictures as they are handed out: 50,000 in one folder, without labels.
//!
//! The list of labels in ImageNet's development kit numbers the classes in another order than models do, so it is never taken.
//! Two other files give WordNet ids: `LOC_val_solution.csv` of the challenge at Kaggle, and
//! `imagenet_2012_validation_synset_labels.txt`, one id in a line for each picture.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::data::Dataset;
use crate::data::named::meant;
use crate::{Error, Result, files, legible};

const SOLUTION: &str = "LOC_val_solution.csv";
const IDS: &str = "imagenet_2012_validation_synset_labels.txt";

/// The largest of these files that is read.
const MAX_BYTES: u64 = 64 << 20;

/// Folders above that of the pictures where they may lie: Kaggle's are in `ILSVRC/Data/CLS-LOC/val`.
const ABOVE: usize = 4;

const PREFIX: &str = "ILSVRC2012_val_";

/// Whether a data set without labels is one of these.
pub(super) fn is_flat(data: &Dataset) -> Result<bool> {
    Ok(data.labels().is_err() && data.file(0)?.starts_with(PREFIX))
}

/// The labels of the pictures at `path`, and a word on where they come from.
pub(super) fn labels(path: &Path, data: &Dataset, classes: usize) -> Result<(Vec<usize>, String)> {
    let (file, ids) = match (find(path, SOLUTION), find(path, IDS)) {
        (Some(file), _) => (file.clone(), from_solution(&file)?),
        (None, Some(file)) => (file.clone(), from_list(&file)?),
        (None, None) => {
            return Err(Error::invalid(format!(
                "{} holds ImageNet's validation pictures without labels: put {SOLUTION} or {IDS} beside the folder, or sort the \
                 pictures into folders by WordNet id. The list of the development kit is not taken, as it numbers the classes \
                 otherwise than models do",
                data.name()
            )));
        }
    };
    let shown = legible::name(&file.display().to_string());
    let mut of_pictures = Vec::with_capacity(data.len());
    for index in 0..data.len() {
        let picture = data.file(index)?;
        let stem = picture.split('.').next().unwrap_or_default();
        let id = ids.get(stem).ok_or_else(|| {
            Error::invalid(format!("{shown} says nothing of {}", legible::name(stem)))
        })?;
        of_pictures.push(id.clone());
    }
    let mut known = of_pictures.clone();
    known.sort_unstable();
    known.dedup();
    let meant = meant(&known, &[], classes, "WordNet ids")
        .map_err(|error| Error::invalid(format!("{shown}: {error}")))?;
    let of_id: HashMap<&String, usize> = known.iter().zip(meant.classes).collect();
    let labels = of_pictures.iter().map(|id| of_id[id]).collect();
    Ok((
        labels,
        format!("The labels of {} are from {shown}.", data.name()),
    ))
}

fn find(path: &Path, name: &str) -> Option<PathBuf> {
    let folders = path.ancestors().take(ABOVE + 1);
    folders
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

fn from_solution(file: &Path) -> Result<HashMap<String, String>> {
    let text = files::read_text(file, MAX_BYTES)?;
    let lines = text.lines().skip(1).filter_map(|line| {
        let (picture, objects) = line.split_once(',')?;
        let id = objects.trim_matches('"').split_whitespace().next()?;
        Some((picture.to_owned(), id.to_owned()))
    });
    Ok(lines.collect())
}

fn from_list(file: &Path) -> Result<HashMap<String, String>> {
    let text = files::read_text(file, MAX_BYTES)?;
    let lines = text.lines().enumerate();
    Ok(lines
        .map(|(at, id)| (format!("{PREFIX}{:08}", at + 1), id.trim().to_owned()))
        .collect())
}
