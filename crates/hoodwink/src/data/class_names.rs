//! Class names from a file.

use std::path::Path;

use crate::error::{Error, Result};
use crate::{files, legible, nearest::did_you_mean};

use super::label_map::normal;

/// Maximum size of a file of names, in bytes: a thousand for each of 4,000 classes.
const MAX_BYTES: u64 = 4 << 20;

/// Maximum length of a class name, in characters.
pub(super) const MAX_NAME_CHARS: usize = 1000;

/// Maximum number of suggestions for an unknown name.
const SUGGESTED: usize = 5;

/// Reads the names of a model's `classes` classes, by class number.
///
/// The file is a CSV table (its name ends in `.csv`) with a column `name` and optionally `index`, the class number from
/// 0. A class that is not in the table gets its number as its name. Any other file is text with one name per line, for
/// every class in order. A file with another number of classes belongs to another model and is refused.
pub fn read_class_names(path: &Path, classes: usize) -> Result<Vec<String>> {
    let invalid = |what: String| Error::invalid(format!("{}: {what}", path.display()));
    let text = files::read_text(path, MAX_BYTES)?;
    let is_table = path
        .extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("csv"));
    let names = match is_table {
        true => from_table(&text, classes),
        false => from_lines(&text, classes),
    };
    let names = names.map_err(invalid)?;
    match names.iter().find(|name| is_too_long(name)) {
        Some(name) => Err(invalid(too_long(name))),
        None => Ok(names),
    }
}

pub(super) fn is_too_long(name: &str) -> bool {
    name.chars().nth(MAX_NAME_CHARS).is_some()
}

pub(super) fn too_long(name: &str) -> String {
    format!(
        "the class name {:?} has more than {MAX_NAME_CHARS} characters",
        legible::name(name)
    )
}

fn from_lines(text: &str, classes: usize) -> std::result::Result<Vec<String>, String> {
    let names: Vec<String> = text
        .trim_start_matches('\u{feff}')
        .trim_end()
        .lines()
        .map(|line| line.trim().to_owned())
        .collect();
    if let Some(row) = names.iter().position(String::is_empty) {
        return Err(format!(
            "line {} is empty; expected one name per line",
            row + 1
        ));
    }
    if names.len() != classes {
        return Err(format!(
            "there are {} names, but the model has {classes} classes",
            names.len()
        ));
    }
    Ok(names)
}

fn from_table(text: &str, classes: usize) -> std::result::Result<Vec<String>, String> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let header = reader.headers().map_err(|error| error.to_string())?.clone();
    let column = |name: &str| header.iter().position(|have| have == name);
    let name_column = column("name").ok_or_else(|| {
        format!(
            "expected the column name, and index if the classes are not in order; found {}",
            legible::names(&header)
        )
    })?;
    let index_column = column("index");
    let mut names: Vec<Option<String>> = vec![None; classes];
    for (row, record) in reader.records().enumerate() {
        let record = record.map_err(|error| error.to_string())?;
        let line = record.position().map_or(0, csv::Position::line);
        let class = match index_column {
            None => row,
            Some(column) => record[column].parse().map_err(|_| {
                format!(
                    "line {line}: {:?} is not an index; classes count from 0",
                    legible::name(&record[column])
                )
            })?,
        };
        match names.get_mut(class) {
            None => {
                return Err(format!(
                    "line {line} names class {class}, but the model has only the classes 0 to {}",
                    classes - 1
                ));
            }
            Some(Some(name)) => {
                return Err(format!(
                    "line {line}: class {class} already has the name {:?}",
                    legible::name(name)
                ));
            }
            Some(free) => *free = Some(record[name_column].to_owned()),
        }
    }
    let named = names.iter().flatten().count();
    if index_column.is_none() && named != classes {
        return Err(format!(
            "there are {named} names, but the model has {classes} classes"
        ));
    }
    let or_number =
        |(class, name): (usize, Option<String>)| name.unwrap_or_else(|| class.to_string());
    Ok(names.into_iter().enumerate().map(or_number).collect())
}

/// Returns the class with this number or name. Any synonym of the name will do.
///
/// # Errors
/// A number that is not below `classes`, or a name that no class or several classes have.
pub fn class_named(text: &str, names: &[String], classes: usize) -> Result<usize> {
    let text = text.trim();
    if let Ok(class) = text.parse::<usize>() {
        return match class < classes {
            true => Ok(class),
            false => Err(Error::invalid(format!(
                "{class}: the model has {classes} classes, 0 to {}",
                classes.saturating_sub(1)
            ))),
        };
    }
    let called = legible::name(text);
    if names.is_empty() {
        return Err(Error::invalid(format!(
            "{called:?}: the class names of the model are unknown; give them, or use a class number, 0 to {}",
            classes.saturating_sub(1)
        )));
    }
    let wanted = normal(text);
    let matching = |is_meant: &dyn Fn(&str) -> bool| -> Vec<usize> {
        let numbered = names.iter().enumerate();
        let meant = numbered.filter(|(_, name)| is_meant(name));
        meant.map(|(class, _)| class).collect()
    };
    let whole = matching(&|name| normal(name) == wanted);
    let found = match whole.is_empty() {
        false => whole,
        true => matching(&|name| name.split(',').any(|part| normal(part) == wanted)),
    };
    let shown = |classes: &[usize]| -> String {
        let classes = classes.iter().take(SUGGESTED);
        let named = classes.map(|&class| format!("{} ({class})", legible::name(&names[class])));
        named.collect::<Vec<_>>().join(", ")
    };
    match found[..] {
        [class] => Ok(class),
        [] => {
            let holding = matching(&|name| {
                let name = normal(name);
                let mut words = name.split(|c: char| !c.is_alphanumeric());
                words.any(|word| word == wanted)
            });
            let meant = match holding.is_empty() {
                true => did_you_mean(text, names.iter().map(String::as_str)),
                false => format!("; did you mean {}?", shown(&holding)),
            };
            Err(Error::invalid(format!(
                "{called:?} is not the name of one of the model's classes{meant}"
            )))
        }
        _ => Err(Error::invalid(format!(
            "{called:?} is the name of several classes: {}; use the number",
            shown(&found)
        ))),
    }
}

/// Returns a short name of a class: the first of its comma-separated synonyms, if no other class begins with the same
/// one. A class without a name, or with its number as its name, is `class N`.
pub fn short_name(names: &[String], class: usize) -> String {
    let number = class.to_string();
    let Some(full) = names.get(class).filter(|full| **full != number) else {
        return format!("class {number}");
    };
    let first = |name: &str| name.split(',').next().unwrap_or_default().trim().to_owned();
    let short = first(full);
    let alike = names.iter().filter(|name| first(name) == short).count();
    if alike == 1 && !short.is_empty() {
        short
    } else {
        full.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &str, text: &str) -> Result<Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(file);
        std::fs::write(&path, text).unwrap();
        read_class_names(&path, 3)
    }

    #[test]
    fn names_are_read_from_lines_and_tables() {
        for (file, text, names) in [
            (
                "c.txt",
                "cat\n dog \r\ngreat white shark, shark\n\n",
                ["cat", "dog", "great white shark, shark"],
            ),
            (
                "c.csv",
                "name\ncat\n\"dog, hound\"\nfox\n",
                ["cat", "dog, hound", "fox"],
            ),
            (
                "c.CSV",
                "index,wnid,name\n2,n3,fox\n0,n1,cat\n",
                ["cat", "1", "fox"],
            ),
            ("c", "\u{feff}a\nb\nc", ["a", "b", "c"]),
        ] {
            assert_eq!(read(file, text).unwrap(), names, "{file}");
        }
    }

    #[test]
    fn files_that_do_not_fit_the_model_say_why() {
        for (file, text, part) in [
            (
                "c.txt",
                "a\nb\n",
                "there are 2 names, but the model has 3 classes",
            ),
            ("c.txt", "background\na\nb\nc\n", "there are 4 names"),
            ("c.txt", "a\n\nc\n", "line 2 is empty"),
            ("c.txt", "", "there are 0 names"),
            ("c.csv", "label,title\n0,a\n", "found label, title"),
            ("c.csv", "name\na\nb\n", "there are 2 names"),
            ("c.csv", "index,name\n3,a\n", "line 2 names class 3"),
            ("c.csv", "index,name\n-1,a\n", "\"-1\" is not an index"),
            (
                "c.csv",
                "index,name\n0,a\n0,b\n",
                "line 3: class 0 already has the name \"a\"",
            ),
            ("c.csv", "index,name\n0\n", "record"),
            (
                "c.csv",
                &"column,".repeat(1 << 18),
                "found column, column",
            ),
            (
                "c.txt",
                &format!("a\nb\n{}", "c".repeat(1 << 20)),
                "more than 1000 characters",
            ),
            ("c.txt", &"a\n".repeat(3 << 20), "larger than"),
        ] {
            let message = read(file, text).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
            assert!(message.contains(file) && message.len() < 400, "{message}");
        }
        let missing = read_class_names(Path::new("nowhere.txt"), 3).unwrap_err();
        assert!(missing.to_string().starts_with("nowhere.txt: "));
    }

    #[test]
    fn classes_are_found_by_number_and_name() {
        let names = [
            "tench, Tinca tinca",
            "crane (bird)",
            "crane (machine)",
            "great white shark",
            "tabby_cat",
            "toy",
            "toy",
        ]
        .map(String::from);
        for (text, expected) in [
            ("0", Ok(0)),
            (" Tench ", Ok(0)),
            ("tinca-tinca", Ok(0)),
            ("Crane (Machine)", Ok(2)),
            ("tabby cat", Ok(4)),
            ("7", Err("7: the model has 7 classes, 0 to 6")),
            (
                "crane",
                Err("did you mean crane (bird) (1), crane (machine) (2)?"),
            ),
            ("shark", Err("did you mean great white shark (3)?")),
            (
                "tench fish",
                Err("not the name of one of the model's classes"),
            ),
            ("tenchh", Err("did you mean tench")),
            (
                "toy",
                Err("several classes: toy (5), toy (6); use the number"),
            ),
            ("-1", Err("not the name of one of the model's classes")),
        ] {
            match (class_named(text, &names, 7), expected) {
                (Ok(class), Ok(expected)) => assert_eq!(class, expected, "{text}"),
                (Err(error), Err(says)) => assert!(error.to_string().contains(says), "{error}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
        let unnamed = class_named("tench", &[], 7).unwrap_err().to_string();
        assert!(
            unnamed.contains("the class names of the model are unknown"),
            "{unnamed}"
        );
    }

    #[test]
    fn names_are_short_where_that_is_clear() {
        let names = [
            "tench, Tinca tinca",
            "crane, machine",
            "crane, bird",
            "",
            "4",
        ]
        .map(String::from);
        for (class, name) in [
            (0, "tench"),
            (2, "crane, bird"),
            (3, ""),
            (4, "class 4"),
            (7, "class 7"),
        ] {
            assert_eq!(short_name(&names, class), name);
        }
    }
}
