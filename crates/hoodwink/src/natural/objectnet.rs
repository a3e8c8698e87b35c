//! ObjectNet, whose classes are its own (Barbu et al., NeurIPS 2019).
//!
//! Its archive holds `images`, a folder for each class, and `mappings`, which say what ImageNet's classes a class means, by
//! name, and how ImageNet's names and numbers go together. 113 of its 313 classes are ImageNet's.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::{Error, Result, files, legible};

/// The largest mapping that is read.
const MAX_BYTES: u64 = 4 << 20;

const FOLDERS: &str = "folder_to_objectnet_label.json";
const MEANINGS: &str = "objectnet_to_imagenet_1k.json";
const NAMES: &str = "imagenet_to_label_2012_v2";
const NUMBERS: &str = "pytorch_to_imagenet_2012_id.json";

/// Where the parts of ObjectNet lie.
pub(super) struct Layout {
    pub(super) images: PathBuf,
    mappings: PathBuf,
}

/// ObjectNet at this path, which is its folder or that of its images.
pub(super) fn find(path: &Path) -> Option<Layout> {
    let beside = path.parent().map(|above| above.join("mappings"));
    let inside = (path.join("mappings"), path.join("images"));
    let has_meanings = |mappings: &Path| mappings.join(MEANINGS).is_file();
    if has_meanings(&inside.0) && inside.1.is_dir() {
        let (mappings, images) = inside;
        return Some(Layout { images, mappings });
    }
    let mappings = beside.filter(|mappings| path.is_dir() && has_meanings(mappings))?;
    Some(Layout {
        images: path.to_owned(),
        mappings,
    })
}

impl Layout {
    /// What each folder is called, and the classes of the model that it means; none if ImageNet has no such class.
    pub(super) fn groups(
        &self,
        folders: &[String],
        classes: usize,
    ) -> Result<Vec<(String, Vec<usize>)>> {
        let offset = match classes {
            1000 => 0,
            1001 => 1,
            _ => {
                return Err(Error::invalid(format!(
                    "ObjectNet's classes are mapped to ImageNet's 1,000, and the model has {classes}"
                )));
            }
        };
        let called: HashMap<String, String> = self.read(FOLDERS)?;
        let meanings: HashMap<String, String> = self.read(MEANINGS)?;
        let numbers: HashMap<String, usize> = self.read(NUMBERS)?;
        let names = files::read_text(&self.mappings.join(NAMES), MAX_BYTES)?;
        // ImageNet's own numbers, from 0, by name, and from them those of models.
        let of_name: HashMap<&str, usize> = names
            .lines()
            .enumerate()
            .map(|(number, name)| (name.trim(), number))
            .collect();
        let of_number: HashMap<usize, usize> = numbers
            .iter()
            .filter_map(|(model, &own)| Some((own, model.parse().ok()?)))
            .collect();
        let class = |name: &str| {
            let class = of_name.get(name.trim()).and_then(|own| of_number.get(own));
            let class = class.filter(|&&class| class < 1000);
            class.map(|class| class + offset).ok_or_else(|| {
                self.broken(&format!(
                    "the class {:?} of ImageNet has no number",
                    legible::name(name)
                ))
            })
        };
        let group = |folder: &String| {
            let name = called.get(folder).ok_or_else(|| {
                self.broken(&format!(
                    "the folder {} has no name in {FOLDERS}",
                    legible::name(folder)
                ))
            })?;
            let members = match meanings.get(name) {
                None => Vec::new(),
                Some(meaning) => meaning.split(';').map(class).collect::<Result<_>>()?,
            };
            Ok((name.clone(), members))
        };
        folders.iter().map(group).collect()
    }

    fn read<T: DeserializeOwned>(&self, file: &str) -> Result<T> {
        let text = files::read_text(&self.mappings.join(file), MAX_BYTES)?;
        serde_json::from_str(&text).map_err(|error| self.broken(&format!("{file}: {error}")))
    }

    fn broken(&self, what: &str) -> Error {
        let folder = legible::name(&self.mappings.display().to_string());
        Error::invalid(format!("{folder}: {what}"))
    }
}
