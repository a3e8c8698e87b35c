//! Several files at once: patterns with `*`, `?`, `[...]` and `{a,b}`, and lists.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read};
use std::path::{Component, MAIN_SEPARATOR, Path, PathBuf};

use glob::{MatchOptions, Pattern};

use super::label_texts::Labels;
use super::spelling::{Finder, is_of_macos, not_utf8};
use crate::error::{Error, Result};
use crate::files::{self, Bounded};
use crate::legible;

/// Maximum number of files that a pattern or a list may name.
const MAX_FILES: usize = 1 << 24;

/// Maximum size of a list and of a line, in bytes.
const MAX_LIST_BYTES: u64 = 1 << 28;
const MAX_LINE_BYTES: u64 = 1 << 16;

/// Maximum length of a pattern, in bytes.
const MAX_PATTERN_BYTES: usize = 1 << 16;

/// Maximum number of patterns after expanding braces, and their total size in bytes.
const MAX_PATTERNS: usize = 1 << 18;
const MAX_PATTERNS_BYTES: usize = 1 << 24;

/// Maximum number of patterns that search folders, and of those that search everything below a folder.
const MAX_SEARCHES: usize = 1 << 14;
const MAX_DEEP_SEARCHES: usize = 1 << 8;

/// Files, in order.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Listed {
    pub(super) folder: PathBuf,
    pub(super) files: Vec<String>,
    /// One label per file, if the list has labels.
    pub(super) labels: Option<Vec<usize>>,
    /// The distinct names, if the labels are names. Each label is then an index into them.
    pub(super) names: Option<Vec<String>>,
}

/// Returns the files of a pattern or a list, or `None` if the path is neither.
pub(super) fn named(path: &Path) -> Result<Option<Listed>> {
    let Some(text) = path.to_str() else {
        return Ok(None);
    };
    if text == "-" {
        return list(std::io::stdin().lock(), PathBuf::new(), "standard input").map(Some);
    }
    let is_list = path.extension().is_some_and(|ending| ending == "txt");
    if is_list && path.exists() && !path.is_dir() {
        let file = files::open(path)?;
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        return list(file, folder, &legible::name(text)).map(Some);
    }
    let is_pattern = text.contains(['*', '?', '[', '{']) && !path.exists();
    if !is_pattern {
        return Ok(None);
    }
    let called = legible::name(text);
    let invalid = |what: &dyn std::fmt::Display| {
        Error::invalid(format!("{called}: {}", legible::name(&what.to_string())))
    };
    let patterns = expanded(text).map_err(|what| invalid(&what))?;
    let most = match (text.contains("**"), text.contains(['*', '?', '['])) {
        (true, _) => MAX_DEEP_SEARCHES,
        (_, true) => MAX_SEARCHES,
        _ => MAX_PATTERNS,
    };
    if patterns.len() > most {
        let what = format!(
            "it expands to {} patterns, and each of them searches folders; use fewer than {most}",
            patterns.len()
        );
        return Err(invalid(&what));
    }
    let mut files = Vec::new();
    for pattern in patterns {
        let found = matching(&pattern)?;
        // A pattern without * names one file, which must exist.
        if found.is_empty() && !pattern.contains(['*', '?', '[']) {
            return Err(invalid(&format!("{pattern} does not exist")));
        }
        for path in found {
            // A pattern for all files does not mean the ones that macOS adds.
            if is_of_macos(&path) && !is_of_macos(Path::new(&pattern)) {
                continue;
            }
            let name = path.to_str().ok_or_else(|| not_utf8(&path, 0))?;
            files.push(name.to_owned());
        }
        if files.len() > MAX_FILES {
            return Err(invalid(&"it names too many files"));
        }
    }
    if files.is_empty() {
        return Err(Error::invalid(format!(
            "no file matches the pattern {called}"
        )));
    }
    Ok(Some(Listed {
        folder: PathBuf::new(),
        files,
        labels: None,
        names: None,
    }))
}

/// Returns the files that match a pattern without braces, in order.
fn matching(pattern: &str) -> Result<Vec<PathBuf>> {
    let invalid = |error: &dyn std::fmt::Display| {
        let what = legible::name(&error.to_string());
        Error::invalid(format!("{}: {what}", legible::name(pattern)))
    };
    let listed = |pattern: &str| -> Result<Vec<PathBuf>> {
        let paths = glob::glob(pattern).map_err(|error| invalid(&error))?;
        paths
            .take(MAX_FILES + 1)
            .map(|path| path.map_err(|error| invalid(&error)))
            .collect()
    };
    let parts: Vec<&str> = pattern.split(MAIN_SEPARATOR).collect();
    let Some(at) = parts.iter().position(|&part| part == "**") else {
        return listed(pattern);
    };
    let whole = Pattern::new(pattern).map_err(|error| invalid(&error))?;
    let above = parts[..at].join("/");
    let tops = match (at, &above[..]) {
        (0, _) => vec![PathBuf::from(".")],
        (_, "") => vec![PathBuf::from("/")],
        _ => listed(&above)?,
    };
    let options = MatchOptions {
        require_literal_separator: true,
        ..MatchOptions::new()
    };
    let mut found = Vec::new();
    for path in below(tops)? {
        // Keep the names as the pattern spells them.
        let path: PathBuf = match at {
            0 => path
                .components()
                .filter(|part| *part != Component::CurDir)
                .collect(),
            _ => path,
        };
        if whole.matches_path_with(&path, options) {
            found.push(path);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Returns everything below some folders. Follows links, but visits each folder once, because links may form cycles.
fn below(mut folders: Vec<PathBuf>) -> Result<Vec<PathBuf>> {
    let (mut found, mut known) = (Vec::new(), HashSet::new());
    // Links come last, so that paths without links are preferred.
    let mut links = Vec::new();
    while let Some(folder) = folders.pop().or_else(|| links.pop()) {
        if !folder.is_dir() || !known.insert(folder.canonicalize().map_err(Error::io(&folder))?) {
            continue;
        }
        let entries = std::fs::read_dir(&folder).map_err(Error::io(&folder))?;
        let mut paths = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<std::io::Result<Vec<_>>>()
            .map_err(Error::io(&folder))?;
        paths.sort_unstable();
        let inner = paths.iter().filter(|path| path.is_dir()).cloned();
        let (linked, plain): (Vec<_>, Vec<_>) = inner.partition(|path| path.is_symlink());
        links.extend(linked);
        folders.extend(plain);
        found.extend(paths);
        if found.len() > MAX_FILES {
            return Err(Error::invalid(format!(
                "{} holds more than {MAX_FILES} files; choose a folder inside it",
                folder.display()
            )));
        }
    }
    Ok(found)
}

/// Reads a list: one file name per line, optionally with a tab and its label. Names are relative to `folder`.
fn list(source: impl Read, folder: PathBuf, name: &str) -> Result<Listed> {
    let (mut files, mut labels) = (Vec::new(), Labels::default());
    let mut finder = Finder::default();
    let mut source = BufReader::new(Bounded::new(source, MAX_LIST_BYTES));
    for number in 0.. {
        let invalid = |what: String| Error::invalid(format!("{name}, line {}: {what}", number + 1));
        if number >= MAX_FILES {
            return Err(invalid("the list names too many files".into()));
        }
        let mut line = Vec::new();
        source
            .by_ref()
            .take(MAX_LINE_BYTES + 1)
            .read_until(b'\n', &mut line)
            .map_err(Error::io(name))?;
        if line.is_empty() {
            break;
        }
        if line.len() as u64 > MAX_LINE_BYTES {
            return Err(invalid(format!(
                "it is longer than {MAX_LINE_BYTES} bytes; a list has one file name per line"
            )));
        }
        let line = String::from_utf8(line).map_err(|_| invalid("it is not UTF-8 text".into()))?;
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let (file, label) = match line.split_once('\t') {
            Some((file, label)) => (file.trim(), Some(label.trim())),
            None => (line, None),
        };
        let file = finder.file(&folder, file).map_err(invalid)?;
        if let Some(label) = label {
            let added = labels.add(label);
            added.map_err(|what| invalid(format!("the label after the tab: {what}")))?;
        }
        files.push(file);
        if labels.len() != 0 && labels.len() != files.len() {
            return Err(invalid(
                "some lines have a label and others have none".into(),
            ));
        }
    }
    let (labels, names) = labels.done();
    Ok(Listed {
        labels: (!labels.is_empty()).then_some(labels),
        names,
        folder,
        files,
    })
}

/// Expands braces: `{a,b}` to each choice, `{003..012}` to numbers of the same width. The first braces change fastest.
/// Errors are sentences without a subject.
fn expanded(pattern: &str) -> std::result::Result<Vec<String>, String> {
    if pattern.len() > MAX_PATTERN_BYTES {
        return Err(format!("it is longer than {MAX_PATTERN_BYTES} bytes"));
    }
    let mut parts = Vec::new();
    let mut left = pattern;
    while let Some((before, rest)) = left.split_once('{') {
        let (inner, after) = rest.split_once('}').ok_or("a brace is not closed")?;
        if inner.contains('{') {
            return Err("nested braces are not supported".into());
        }
        parts.push((before, choices(inner)?));
        left = after;
    }
    let mut count = 1_usize;
    let mut length = left.len();
    for (before, choices) in &parts {
        count = count.saturating_mul(choices.len());
        let longest = choices.iter().map(String::len).max();
        length += before.len() + longest.unwrap_or(0);
    }
    if count > MAX_PATTERNS || count.saturating_mul(length) > MAX_PATTERNS_BYTES {
        return Err(too_many());
    }
    let one = |mut number: usize| {
        let mut pattern = String::new();
        for (before, choices) in &parts {
            pattern.push_str(before);
            pattern.push_str(&choices[number % choices.len()]);
            number /= choices.len();
        }
        pattern + left
    };
    Ok((0..count).map(one).collect())
}

fn too_many() -> String {
    format!(
        "it expands to more than {MAX_PATTERNS} names or {MAX_PATTERNS_BYTES} bytes of names; use * for any name"
    )
}

/// Returns the choices between two braces.
fn choices(inner: &str) -> std::result::Result<Vec<String>, String> {
    let numbers = inner.split_once("..").and_then(|(first, last)| {
        let (from, to): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        Some((first.len(), from, to))
    });
    let Some((width, from, to)) = numbers else {
        return Ok(inner.split(',').map(str::to_owned).collect());
    };
    match to.checked_sub(from) {
        None => Err(format!("{{{}}} counts down", legible::name(inner))),
        Some(steps) if steps >= MAX_PATTERNS || (steps + 1) * width > MAX_PATTERNS_BYTES => {
            Err(too_many())
        }
        Some(_) => Ok((from..=to).map(|number| digits(number, width)).collect()),
    }
}

/// Formats a number with at least `width` digits. Rust's formatting has no widths above 65,535.
fn digits(number: usize, width: usize) -> String {
    let number = number.to_string();
    "0".repeat(width.saturating_sub(number.len())) + &number
}

/// Returns the last parts of some paths, for a message.
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
    }

    #[test]
    fn patterns_are_bounded() {
        let zeros = "0".repeat(60_000);
        for (pattern, says) in [
            ("{a".to_owned(), "not closed"),
            ("{a,{b,c}}".into(), "nested braces"),
            ("{9..1}".into(), "counts down"),
            ("{1..99999999}".into(), "it expands to more than"),
            (
                "{0..18446744073709551615}".into(),
                "it expands to more than",
            ),
            ("{0..9999}{0..9999}".into(), "it expands to more than"),
            (format!("{{{zeros}0..{zeros}999}}"), "longer than"),
            (format!("{{{zeros}..999}}"), "it expands to more than"),
            ("{a,b}".repeat(10_000), "it expands to more than"),
            (",".repeat(1 << 20), "longer than"),
            (
                format!("{{{}}}", ",".repeat(60_000)),
                "it expands to more than",
            ),
        ] {
            let refusal = match expanded(&pattern) {
                Err(refusal) => refusal,
                // So many names of few bytes are few.
                Ok(patterns) => {
                    assert_eq!(patterns.len(), 60_001);
                    continue;
                }
            };
            assert!(refusal.contains(says), "{refusal}");
            if pattern.contains('{') {
                let whole = named(Path::new(&pattern)).unwrap_err().to_string();
                assert!(whole.len() < 400, "{whole}");
            }
        }
        for pattern in ["no/{0..20000}/*.png", "no/{0..300}/**"] {
            let refusal = named(Path::new(pattern)).unwrap_err().to_string();
            assert!(refusal.contains("each of them searches"), "{refusal}");
        }
        assert_eq!(
            expanded(&"{a}".repeat(20_000)).unwrap(),
            ["a".repeat(20_000)]
        );
    }

    #[test]
    fn a_tree_is_searched_once_for_a_pattern() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(path("a/b")).unwrap();
        for name in ["0.png", "a/1.png", "a/b/2.png", "a/b/3.txt"] {
            std::fs::write(path(name), b"").unwrap();
        }
        // In circles, twice at each level.
        #[cfg(unix)]
        for name in ["a/b/up", "a/b/up2"] {
            std::os::unix::fs::symlink(path("a"), path(name)).unwrap();
        }
        for (pattern, expected) in [
            ("**/*.png", &["0.png", "a/1.png", "a/b/2.png"][..]),
            ("a/**/*.png", &["a/1.png", "a/b/2.png"]),
            ("*/**/[2-9].*", &["a/b/2.png", "a/b/3.txt"]),
            ("*/*.png", &["a/1.png"]),
        ] {
            let found = matching(path(pattern).to_str().unwrap()).unwrap();
            let expected: Vec<PathBuf> = expected.iter().map(|name| path(name)).collect();
            assert_eq!(found, expected, "{pattern}");
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
        let named = read("c.png\tdog\na b.png\tcat").unwrap();
        assert_eq!(named.labels, Some(vec![1, 0]));
        assert_eq!(named.names.unwrap(), ["cat", "dog"]);
        for (text, says) in [
            ("c.png\t1\na b.png", "line 2: some lines"),
            ("gone.png", "line 1: there is no file"),
            (
                "c.png\t-1",
                "line 1: the label after the tab: \"-1\" is not a label",
            ),
            (
                "c.png\tcat\nc.png\t1",
                "line 2: the label after the tab: some labels are numbers",
            ),
            (&"long".repeat(1 << 20), "line 1: it is longer than 65536"),
            (&"c".repeat(1 << 15), "line 1: there is no file"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(says) && error.len() < 300, "{error}");
        }
        let endless = std::io::repeat(0);
        assert!(list(endless, PathBuf::new(), "zeros").is_err());
    }
}
