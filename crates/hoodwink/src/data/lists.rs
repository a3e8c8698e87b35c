//! Several files at once: patterns with `*`, `?`, `[...]` and `{a,b}`, and lists.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use super::MAX_CLASSES;
use crate::error::{Error, Result};

/// Most files that a pattern or a list may name.
const MAX_FILES: usize = 1 << 24;

/// The longest list that is read, in bytes.
const MAX_LIST_BYTES: u64 = 1 << 30;

/// Files, in order.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Listed {
    pub(super) folder: PathBuf,
    pub(super) files: Vec<String>,
    /// One label per file, where the list has them.
    pub(super) labels: Option<Vec<usize>>,
}

/// The files that a path means if it is a pattern or a list; `None` if it is neither.
pub(super) fn named(path: &Path) -> Result<Option<Listed>> {
    let Some(text) = path.to_str() else {
        return Ok(None);
    };
    if text == "-" {
        return list(std::io::stdin().lock(), PathBuf::new(), "standard input").map(Some);
    }
    if path.is_file() && path.extension().is_some_and(|ending| ending == "txt") {
        let file = std::fs::File::open(path).map_err(Error::io(path))?;
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        return list(BufReader::new(file), folder, text).map(Some);
    }
    let is_pattern = text.contains(['*', '?', '[', '{']) && !path.exists();
    if !is_pattern {
        return Ok(None);
    }
    let mut files = Vec::new();
    for pattern in expanded(text)? {
        let invalid = |error: &dyn std::fmt::Display| Error::invalid(format!("{text}: {error}"));
        let mut found = Vec::new();
        for path in glob::glob(&pattern).map_err(|error| invalid(&error))? {
            let path = path.map_err(|error| invalid(&error))?;
            let name = path
                .to_str()
                .ok_or_else(|| invalid(&"a name is not UTF-8"))?;
            found.push(name.to_owned());
        }
        // A pattern without * names one file, which must be there.
        if found.is_empty() && !pattern.contains(['*', '?', '[']) {
            return Err(Error::invalid(format!(
                "{text}: there is no file {pattern}"
            )));
        }
        files.extend(found);
        if files.len() > MAX_FILES {
            return Err(invalid(&"names too many files"));
        }
    }
    if files.is_empty() {
        return Err(Error::invalid(format!("no file fits the pattern {text}")));
    }
    Ok(Some(Listed {
        folder: PathBuf::new(),
        files,
        labels: None,
    }))
}

/// A list: a file's name per line, perhaps with its label after a tab. Names are relative to `folder`.
fn list(source: impl BufRead, folder: PathBuf, name: &str) -> Result<Listed> {
    let (mut files, mut labels) = (Vec::new(), Vec::new());
    for (number, line) in source.take(MAX_LIST_BYTES).lines().enumerate() {
        let line = line.map_err(Error::io(name))?;
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let invalid = |what: String| Error::invalid(format!("{name}, line {}: {what}", number + 1));
        let (file, label) = match line.split_once('\t') {
            Some((file, label)) => (file.trim(), Some(label.trim())),
            None => (line, None),
        };
        if !folder.join(file).is_file() {
            return Err(invalid(format!("there is no file {file:?}")));
        }
        if let Some(label) = label {
            let label = label
                .parse()
                .ok()
                .filter(|&label: &usize| label < MAX_CLASSES);
            labels.push(label.ok_or_else(|| {
                invalid("what follows the tab is no label; labels count from 0".into())
            })?);
        }
        files.push(file.to_owned());
        if !labels.is_empty() && labels.len() != files.len() {
            return Err(invalid("some lines have a label, others have none".into()));
        }
    }
    Ok(Listed {
        labels: (!labels.is_empty()).then_some(labels),
        folder,
        files,
    })
}

/// The patterns that one with braces stands for: `{a,b}` one of several, `{003..012}` a number with as many digits.
fn expanded(pattern: &str) -> Result<Vec<String>> {
    let Some((before, rest)) = pattern.split_once('{') else {
        return Ok(vec![pattern.to_owned()]);
    };
    let (inner, after) = rest
        .split_once('}')
        .ok_or_else(|| Error::invalid(format!("{pattern}: a brace is not closed")))?;
    let numbers = inner.split_once("..").and_then(|(first, last)| {
        let width = first.len();
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        Some((width, first..=last))
    });
    let choices: Vec<String> = match numbers {
        Some((_, range)) if range.clone().count() > MAX_FILES => {
            return Err(Error::invalid(format!("{pattern} names too many files")));
        }
        Some((width, range)) => range.map(|number| format!("{number:0width$}")).collect(),
        None => inner.split(',').map(str::to_owned).collect(),
    };
    let mut patterns = Vec::new();
    for rest in expanded(after)? {
        patterns.extend(
            choices
                .iter()
                .map(|choice| format!("{before}{choice}{rest}")),
        );
        if patterns.len() > MAX_FILES {
            return Err(Error::invalid(format!("{pattern} names too many files")));
        }
    }
    Ok(patterns)
}

/// The last parts of some paths, for a message.
pub(super) fn names(paths: &[PathBuf]) -> String {
    let mut names: Vec<String> = paths
        .iter()
        .take(3)
        .map(|path| {
            path.file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    if paths.len() > names.len() {
        names.push("...".to_owned());
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_stand_for_several_patterns() {
        for (pattern, expected) in [
            ("a*.png", vec!["a*.png"]),
            (
                "{008..011}.tar",
                vec!["008.tar", "009.tar", "010.tar", "011.tar"],
            ),
            ("{a,b}/{1..2}", vec!["a/1", "b/1", "a/2", "b/2"]),
        ] {
            assert_eq!(expanded(pattern).unwrap(), expected);
        }
        for refused in ["{a", "{1..99999999}", "{0..9999}{0..9999}"] {
            assert!(expanded(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn a_list_names_files_that_are_there() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a b.png", "c.png"] {
            std::fs::write(folder.path().join(name), b"").unwrap();
        }
        let read = |text: &str| list(text.as_bytes(), folder.path().to_owned(), "list");
        let found = read("a b.png\t3\n\nc.png\t0\n").unwrap();
        assert_eq!(found.files, ["a b.png", "c.png"]);
        assert_eq!(found.labels, Some(vec![3, 0]));
        assert_eq!(read("c.png\n").unwrap().labels, None);
        for (text, says) in [
            ("c.png\t1\na b.png", "line 2: some lines"),
            ("gone.png", "line 1: there is no file"),
            ("c.png\tcat", "line 1: what follows"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
