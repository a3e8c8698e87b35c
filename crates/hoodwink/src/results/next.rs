//! Folders for runs without a given name.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use crate::{Error, Result};

/// Maximum length of a run's name, in characters, without its number.
const LONGEST: usize = 60;

/// Creates the next folder `NAME-001`, `NAME-002` and so on in `parent`, which is created if necessary. The number is
/// one more than the largest existing one. If several processes call this at once, each gets its own folder. Characters
/// that file systems or shells handle badly become `-`.
///
/// # Errors
/// If the folder cannot be created.
pub fn next_folder(parent: &Path, name: &str) -> Result<PathBuf> {
    let name = plain(name);
    fs::create_dir_all(parent).map_err(Error::io(parent))?;
    let mut number = last(parent, &name)? + 1;
    loop {
        let path = parent.join(format!("{name}-{number:03}"));
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(Error::io(&path)(error)),
        }
    }
}

/// Returns the largest number of a folder with this name.
fn last(parent: &Path, name: &str) -> Result<u64> {
    let mut last = 0;
    for entry in fs::read_dir(parent).map_err(Error::io(parent))? {
        let entry = entry.map_err(Error::io(parent))?.file_name();
        let number = entry.to_str().and_then(|entry| {
            let number = entry.strip_prefix(name)?.strip_prefix('-')?;
            number
                .parse()
                .ok()
                .filter(|&number: &u64| number < u64::MAX >> 1)
        });
        last = last.max(number.unwrap_or(0));
    }
    Ok(last)
}

fn plain(name: &str) -> String {
    let plain = |c: char| match c.is_alphanumeric() || "._+".contains(c) {
        true => c,
        false => '-',
    };
    let name: String = name.chars().take(LONGEST).map(plain).collect();
    let name = name.trim_matches(['-', '.']);
    match name.is_empty() {
        true => "run".to_owned(),
        false => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, thread};

    use super::*;

    #[test]
    fn every_folder_is_new_also_for_many_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let parent = folder.path().join("runs");
        let make = || next_folder(&parent, "net").unwrap();
        assert!(make().ends_with("net-001"));
        let made: BTreeSet<PathBuf> = thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
            threads.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert_eq!(made.len(), 8);
        assert!(made.last().unwrap().ends_with("net-009"));
        fs::create_dir(parent.join("net-1041")).unwrap();
        fs::remove_dir(parent.join("net-003")).unwrap();
        assert!(make().ends_with("net-1042"));
        assert!(next_folder(&parent, "n").unwrap().ends_with("n-001"));
    }

    #[test]
    fn names_are_made_plain() {
        for (name, expected) in [
            ("resnet20.v2", "resnet20.v2"),
            ("my net (2)", "my-net--2"),
            ("../..", "run"),
            ("", "run"),
            ("猫", "猫"),
            ("a\nb/c", "a-b-c"),
        ] {
            assert_eq!(plain(name), expected);
        }
        assert_eq!(plain(&"a".repeat(300)).len(), LONGEST);
    }
}
