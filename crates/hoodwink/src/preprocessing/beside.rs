//! Reads the files of timm and Hugging Face beside an exported model.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Described, described::MAX_BYTES};
use crate::{Error, Result, files};

/// Hugging Face's description of preprocessing.
const PREPROCESSOR: &str = "preprocessor_config.json";

/// Hugging Face's and timm's description of a model.
const CONFIG: &str = "config.json";

impl Described {
    /// Returns the preprocessing from `preprocessor_config.json` or timm's `config.json` beside the model, with the
    /// file, or `None` if there is neither. For an export in a folder `onnx`, the folder above is searched as well.
    ///
    /// # Errors
    /// A `preprocessor_config.json`, or a `config.json` of timm's, that cannot be read. It is not ignored, because it
    /// may matter.
    pub fn beside(model: &Path) -> Result<Option<(PathBuf, Self)>> {
        for folder in folders(model) {
            let path = folder.join(PREPROCESSOR);
            if path.is_file() {
                let described = Self::read(&path.to_string_lossy())?;
                return Ok(Some((path, described)));
            }
            let path = folder.join(CONFIG);
            let is_timm = |config: &Value| {
                config.get("pretrained_cfg").is_some()
                    || config.get("input_size").is_some() && config.get("mean").is_some()
            };
            if json(&path)?.as_ref().is_some_and(is_timm) {
                let described = Self::read(&path.to_string_lossy())?;
                return Ok(Some((path, described)));
            }
        }
        Ok(None)
    }
}

/// Returns the names of a model's `classes` classes from `config.json` beside it (`id2label`, or timm's `label_names`),
/// with the file. Returns `None` if there are no names, or another number of them.
///
/// # Errors
/// If the file cannot be read.
pub fn class_names_beside(model: &Path, classes: usize) -> Result<Option<(PathBuf, Vec<String>)>> {
    for folder in folders(model) {
        let path = folder.join(CONFIG);
        let Some(config) = json(&path)? else {
            continue;
        };
        let of = |config: &Value| {
            let text = |name: &Value| name.as_str().map(str::to_owned);
            if let Some(names) = config.get("label_names").and_then(Value::as_array) {
                return names.iter().map(text).collect::<Option<Vec<_>>>();
            }
            let names = config.get("id2label")?.as_object()?;
            let name = |class: usize| names.get(&class.to_string()).and_then(text);
            (names.len() == classes).then(|| (0..classes).map(name).collect())?
        };
        let names = of(&config).or_else(|| of(config.get("pretrained_cfg")?));
        let mean_something = |names: &Vec<String>| {
            let is_number = |(class, name): (usize, &String)| *name == format!("LABEL_{class}");
            names.len() == classes && !names.iter().enumerate().all(is_number)
        };
        if let Some(names) = names.filter(mean_something) {
            return Ok(Some((path, names)));
        }
    }
    Ok(None)
}

/// Returns the folders to search for files about a model.
fn folders(model: &Path) -> Vec<PathBuf> {
    let folder = model.parent().unwrap_or(Path::new(""));
    let mut folders = vec![folder.to_owned()];
    if folder.file_name().is_some_and(|name| name == "onnx") {
        folders.extend(folder.parent().map(Path::to_owned));
    }
    folders
}

/// Reads a JSON file, or returns `None` if it is missing or not JSON.
fn json(path: &Path) -> Result<Option<Value>> {
    match files::read_text(path, MAX_BYTES) {
        Ok(text) => Ok(serde_json::from_str(&text).ok()),
        Err(error) if files::is_missing(&error) => Ok(None),
        // A file of this name may have nothing to do with the model.
        Err(Error::Invalid(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn files_beside_a_model_describe_it() {
        let hugging_face = r#"{"image_processor_type": "CLIPImageProcessor", "do_normalize": true, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
            "do_rescale": true, "rescale_factor": 0.00392156862745098, "do_resize": true, "size": {"shortest_edge": 64},
            "resample": 2}"#;
        let timm = r#"{"pretrained_cfg": {"input_size": [3, 64, 64], "mean": [0.1, 0.2, 0.3], "std": [1, 1, 1],
            "crop_pct": 1.0, "interpolation": "bilinear", "crop_mode": "center"}}"#;
        for (file, text, model, mean) in [
            (PREPROCESSOR, hugging_face, "net.onnx", Some(0.5)),
            (CONFIG, timm, "net.onnx", Some(0.1)),
            (PREPROCESSOR, hugging_face, "onnx/net.onnx", Some(0.5)),
            (PREPROCESSOR, hugging_face, "other/net.onnx", None),
            (CONFIG, r#"{"id2label": {"0": "a"}}"#, "net.onnx", None),
            (CONFIG, "no JSON", "net.onnx", None),
        ] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(file), text).unwrap();
            let found = Described::beside(&folder.path().join(model)).unwrap();
            let found = found.map(|(path, described)| {
                assert!(path.ends_with(file));
                described.preprocessing.mean[0]
            });
            assert_eq!(found, mean, "{file} {model}");
        }
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(PREPROCESSOR), "{").unwrap();
        assert!(Described::beside(&folder.path().join("net.onnx")).is_err());
    }

    #[test]
    fn names_beside_a_model_are_its_classes() {
        for (text, expected) in [
            (
                r#"{"id2label": {"1": "dog", "0": "cat"}}"#,
                Some(["cat", "dog"]),
            ),
            (r#"{"label_names": ["cat", "dog"]}"#, Some(["cat", "dog"])),
            (
                r#"{"pretrained_cfg": {"label_names": ["cat", "dog"]}}"#,
                Some(["cat", "dog"]),
            ),
            (r#"{"id2label": {"0": "cat", "2": "dog"}}"#, None),
            (
                r#"{"id2label": {"0": "cat", "1": "dog", "2": "fox"}}"#,
                None,
            ),
            (r#"{"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}"#, None),
            (r#"{"id2label": {"0": 5, "1": "dog"}}"#, None),
        ] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(CONFIG), text).unwrap();
            let found = class_names_beside(&folder.path().join("net.onnx"), 2).unwrap();
            let names = found.map(|(_, names)| names);
            assert_eq!(
                names.as_deref(),
                expected
                    .map(|names| names.map(String::from))
                    .as_ref()
                    .map(|names| &names[..]),
                "{text}"
            );
        }
    }
}
