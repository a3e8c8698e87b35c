//! Whether a file is a shared library for this machine, and whole, as far as its headers tell.

use std::{env, fs::File, path::Path};

use object::{
    Architecture, BinaryFormat, FileKind, Object as _, ObjectKind, ObjectSegment as _,
    read::ReadCache,
};

use crate::files;

/// Says why a file cannot be loaded. The system's loader maps a truncated library without a word, and the process ends when
/// it touches what is not there.
pub(in super::super) fn check(path: &Path) -> Result<(), String> {
    let file = files::open(path).map_err(|error| error.to_string())?;
    match wrong(file) {
        Some(wrong) => Err(format!("{} is {wrong}", path.display())),
        None => Ok(()),
    }
}

/// What a file is instead of a whole library.
fn wrong(file: File) -> Option<&'static str> {
    const TRUNCATED: &str = "a truncated library; install it again";
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let bytes = ReadCache::new(file);
    match FileKind::parse(&bytes) {
        // For several machines at once, on macOS alone, whose loader compares lengths itself.
        Ok(FileKind::MachOFat32 | FileKind::MachOFat64) if cfg!(target_os = "macos") => {
            return None;
        }
        Ok(FileKind::Elf64 | FileKind::MachO64 | FileKind::Pe64) => {}
        _ => return Some("no shared library for this system"),
    }
    let Ok(library) = object::File::parse(&bytes) else {
        return Some(TRUNCATED);
    };
    let expected = match env::consts::OS {
        "windows" => BinaryFormat::Pe,
        _ => BinaryFormat::native_object(),
    };
    if library.format() != expected || library.kind() != ObjectKind::Dynamic {
        return Some("no shared library for this system");
    }
    let is_for_this = match env::consts::ARCH {
        "x86_64" => library.architecture() == Architecture::X86_64,
        "aarch64" => library.architecture() == Architecture::Aarch64,
        _ => true,
    };
    if !is_for_this {
        return Some("a library for another kind of processor");
    }
    let is_there = |(offset, size): (u64, u64)| {
        let end = offset.checked_add(size);
        end.is_some_and(|end| end <= length)
    };
    let whole = library
        .segments()
        .all(|segment| is_there(segment.file_range()));
    (!whole).then_some(TRUNCATED)
}
