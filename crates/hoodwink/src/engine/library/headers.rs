//! Checks by its headers whether a file is a complete shared library for this machine.

use std::{env, fs::File, path::Path};

use object::{
    Architecture, BinaryFormat, FileKind, Object as _, ObjectKind, ObjectSegment as _,
    read::ReadCache,
};

use crate::files;

/// Returns why a file cannot be loaded. The system's loader maps a truncated library without an error, and the process
/// crashes when it touches the missing part.
pub(in super::super) fn check(path: &Path) -> Result<(), String> {
    let file = files::open(path).map_err(|error| error.to_string())?;
    match wrong(file) {
        Some(wrong) => Err(format!("{} is {wrong}", path.display())),
        None => Ok(()),
    }
}

/// Says what is wrong with a file.
fn wrong(file: File) -> Option<&'static str> {
    const TRUNCATED: &str = "a truncated library; reinstall it";
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let bytes = ReadCache::new(file);
    match FileKind::parse(&bytes) {
        // A universal library exists only on macOS, whose loader checks lengths itself.
        Ok(FileKind::MachOFat32 | FileKind::MachOFat64) if cfg!(target_os = "macos") => {
            return None;
        }
        Ok(FileKind::Elf64 | FileKind::MachO64 | FileKind::Pe64) => {}
        _ => return Some("not a shared library for this system"),
    }
    let Ok(library) = object::File::parse(&bytes) else {
        return Some(TRUNCATED);
    };
    let expected = match env::consts::OS {
        "windows" => BinaryFormat::Pe,
        _ => BinaryFormat::native_object(),
    };
    if library.format() != expected || library.kind() != ObjectKind::Dynamic {
        return Some("not a shared library for this system");
    }
    let is_for_this = match env::consts::ARCH {
        "x86_64" => library.architecture() == Architecture::X86_64,
        "aarch64" => library.architecture() == Architecture::Aarch64,
        _ => true,
    };
    if !is_for_this {
        return Some("a library for another processor architecture");
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
