//! A data set made of the fuzzer's bytes, opened and read like any other.
//!
//! A target starts with `mod data;` and calls [`explore`] with the files, each a name and its bytes, and with the name
//! to open: one of these names, a pattern, or `""` for the folder itself. Names may include folders. They must be names
//! that the reader under test expects: `test_batch`, `x.npy`, `a.tar`, `labels.csv`. If a reader expects several names,
//! [`split`] chooses one by the first byte.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::{env, fs, panic, process};

use hoodwink::data::{DataOptions, Dataset};
use hoodwink::panics;

/// Number of pictures to read from each end of a data set.
const PICTURES: usize = 3;

/// Writes the files into an empty folder, opens `name` in it, and reads everything. An error is fine, but it must
/// return.
pub(crate) fn explore(files: &[(&str, &[u8])], name: &str) {
    let folder = empty_folder();
    for (file, bytes) in files {
        let path = folder.join(file);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).expect("a folder of its own can be filled");
        }
        fs::write(&path, bytes).expect("a folder of its own can be filled");
    }
    let Ok(data) = Dataset::open(&folder.join(name), &DataOptions::default()) else {
        return;
    };
    if let Ok(labels) = data.labels() {
        assert_eq!(labels.len(), data.len());
    }
    let _ = (data.class_names(), data.notices());
    let ends = (0..PICTURES).chain(data.len().saturating_sub(PICTURES)..data.len());
    for index in ends {
        let _ = data.get(index);
    }
    assert!(data.get(data.len()).is_err());
}

/// Chooses one of several variants by the first byte, and returns the remaining bytes.
#[allow(dead_code, reason = "not every reader has variants")]
pub(crate) fn split<'a, T: Copy>(bytes: &'a [u8], variants: &[T]) -> Option<(T, &'a [u8])> {
    let (&first, rest) = bytes.split_first()?;
    let variant = variants.get(usize::from(first) % variants.len().max(1))?;
    Some((*variant, rest))
}

/// Replaces some bytes of a valid file. The first two bytes give the position, in steps of four, and the count. If the
/// position is beyond the end of the valid file, the other bytes become the whole file.
#[allow(dead_code, reason = "most readers are met with whole files")]
pub(crate) fn splice(sound: &[u8], bytes: &[u8]) -> Vec<u8> {
    let &[first, second, ref rest @ ..] = bytes else {
        return bytes.to_vec();
    };
    let from = usize::from(first) * 4;
    match (sound.get(..from), sound.get(from + usize::from(second)..)) {
        (Some(before), Some(behind)) => [before, rest, behind].concat(),
        _ => rest.to_vec(),
    }
}

/// Returns this process's own folder, emptied.
pub(crate) fn empty_folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        // A panic that the library turns into an error is not a finding.
        let tell = panic::take_hook();
        panic::set_hook(Box::new(move |panicked| {
            if !panics::are_caught() {
                tell(panicked);
            }
        }));
        // Thousands of files per second are better kept in memory.
        let memory = PathBuf::from("/dev/shm");
        let parent = if memory.is_dir() {
            memory
        } else {
            env::temp_dir()
        };
        parent.join(format!("hoodwink-fuzz-{}", process::id()))
    });
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder).expect("a folder of its own can be made");
    folder
}
