//! Reads and writes files, treating folders and files as untrusted.
//!
//! Input must be a regular file of bounded size, since a pipe or a device may never end. Output goes to a new file next
//! to its target, created exclusively and renamed into place: no link is followed, and the old file stays until the new
//! one is complete. The exception is a journal, which grows ([`append`]). Inside an untrusted folder ([`inside`]) no
//! link is followed at all.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, Result};

#[cfg(test)]
mod tests;
mod url;

pub(crate) use url::{download, is_of_file, refuse as refuse_url};

/// The suffix of files that are being written.
pub const UNFINISHED: &str = "unfinished";

/// Opens a regular file. Follows links. Refuses pipes, devices and folders without blocking on them.
pub fn open(path: &Path) -> Result<File> {
    refuse_special(path, &fs::metadata(path).map_err(Error::io(path))?)?;
    let file = without_waiting().open(path).map_err(Error::io(path))?;
    // The file may have been replaced in the meantime.
    refuse_special(path, &file.metadata().map_err(Error::io(path))?)?;
    Ok(file)
}

/// Opens a regular file of at most `limit` bytes, like [`open`].
pub fn open_within(path: &Path, limit: u64) -> Result<File> {
    let file = open(path)?;
    match file.metadata().map_err(Error::io(path))?.len() > limit {
        true => Err(too_large(path, limit)),
        false => Ok(file),
    }
}

/// Reads a regular file of at most `limit` bytes.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let file = open_within(path, limit)?;
    let length = file.metadata().map_err(Error::io(path))?.len().min(limit);
    let mut bytes = Vec::with_capacity(length as usize);
    // The reported length is unreliable if the file grows or the kernel generates it.
    let read = file.take(limit + 1).read_to_end(&mut bytes);
    read.map_err(Error::io(path))?;
    match bytes.len() as u64 > limit {
        true => Err(too_large(path, limit)),
        false => Ok(bytes),
    }
}

/// Reads a regular text file of at most `limit` bytes.
pub fn read_text(path: &Path, limit: u64) -> Result<String> {
    String::from_utf8(read(path, limit)?)
        .map_err(|_| Error::invalid(format!("{} is not UTF-8 text", path.display())))
}

/// Reads bytes `offset..offset + length` of a regular file. The file must contain all of them.
pub fn read_part(path: &Path, offset: u64, length: usize) -> Result<Vec<u8>> {
    let mut file = open(path)?;
    let all = file.metadata().map_err(Error::io(path))?.len();
    let end = offset.checked_add(length as u64);
    if end.is_none_or(|end| end > all) {
        return Err(Error::invalid(format!(
            "{} has {all} bytes, but bytes {offset} to {} are needed: it is truncated or has changed",
            path.display(),
            offset.saturating_add(length as u64)
        )));
    }
    let mut bytes = vec![0; length];
    file.seek(SeekFrom::Start(offset))
        .and_then(|_| file.read_exact(&mut bytes))
        .map_err(Error::io(path))?;
    Ok(bytes)
}

/// Writes a file atomically. Replaces a link at `path`, and leaves the link's target unchanged.
///
/// Refuses to replace anything but a file, and to write if `PATH.unfinished` is a link.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    for taken in [fs::symlink_metadata(path), fs::metadata(path)] {
        match taken {
            Ok(there) if !there.is_symlink() => refuse_special(path, &there)?,
            _ => {}
        }
    }
    let mut unfinished = path.to_owned().into_os_string();
    unfinished.push(".");
    unfinished.push(UNFINISHED);
    let unfinished = PathBuf::from(unfinished);
    match fs::symlink_metadata(&unfinished) {
        // Left over from a killed process.
        Ok(left) if left.is_file() => {
            fs::remove_file(&unfinished).map_err(Error::io(&unfinished))?
        }
        Ok(_) => {
            return Err(Error::invalid(format!(
                "{} is in the way: it is not a file, and {} is first written under this name; remove it",
                unfinished.display(),
                path.display()
            )));
        }
        Err(_) => {}
    }
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&unfinished)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| fs::rename(&unfinished, path));
    written.map_err(|error| {
        // A full disk needs the space. The first error is the one to report.
        if error.kind() != ErrorKind::AlreadyExists {
            let _ = fs::remove_file(&unfinished);
        }
        Error::io(path)(error)
    })
}

/// Appends to a file, creating it if necessary. A failure leaves the file unchanged. A killed process may leave part of
/// the new bytes.
pub fn append(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Ok(there) = fs::symlink_metadata(path) {
        refuse_special(path, &there)?;
    }
    let mut options = without_waiting();
    let file = options.append(true).create(true).open(path);
    let mut file = file.map_err(Error::io(path))?;
    let there = file.metadata().map_err(Error::io(path))?;
    refuse_special(path, &there)?;
    file.write_all(bytes).map_err(|error| {
        // The first error is the one to report.
        let _ = file.set_len(there.len());
        Error::io(path)(error)
    })
}

/// Returns the path of something in an untrusted folder. It need not exist.
///
/// Refuses a relative path that leaves the folder or contains a link.
pub fn inside(folder: &Path, relative: &str) -> Result<PathBuf> {
    let parts = Path::new(relative).components();
    let plain = |part| matches!(part, Component::Normal(_));
    if relative.is_empty() || relative.ends_with('/') || !parts.clone().all(plain) {
        return Err(Error::invalid(format!(
            "{relative:?} is not a path inside {}",
            folder.display()
        )));
    }
    let mut path = folder.to_owned();
    for part in parts {
        path.push(part);
        match fs::symlink_metadata(&path) {
            Ok(there) if there.is_symlink() => return Err(linked(&path)),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(folder.join(relative));
            }
            Err(error) => return Err(Error::io(path)(error)),
        }
    }
    Ok(path)
}

/// Refuses a path in an untrusted folder if it is a link.
pub fn unlinked(path: &Path) -> Result<&Path> {
    match fs::symlink_metadata(path) {
        Ok(there) if there.is_symlink() => Err(linked(path)),
        _ => Ok(path),
    }
}

/// Creates the folders between `folder`, which must exist, and a path from [`inside`].
pub fn create_parents(folder: &Path, path: &Path) -> Result<()> {
    let between = path
        .parent()
        .and_then(|parent| parent.strip_prefix(folder).ok());
    let mut parent = folder.to_owned();
    for part in between.into_iter().flat_map(Path::components) {
        parent.push(part);
        match fs::create_dir(&parent) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(Error::io(&parent)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn refuse_special(path: &Path, metadata: &Metadata) -> Result<()> {
    if metadata.is_file() {
        return Ok(());
    }
    let what = match metadata.is_dir() {
        true => "a folder",
        false => "a pipe, a device or a socket",
    };
    Err(Error::invalid(format!(
        "{} is {what}, not a file",
        path.display()
    )))
}

fn linked(path: &Path) -> Error {
    Error::invalid(format!(
        "{} is a link, but nothing in this folder may lead out of it; replace the link by its target",
        path.display()
    ))
}

fn too_large(path: &Path, limit: u64) -> Error {
    Error::unsupported(format!(
        "{} is larger than {limit} bytes, the limit for such a file",
        path.display()
    ))
}

/// Options for opening a file that may turn out to be a pipe. A plain open would block until the other end opens.
fn without_waiting() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
    options
}

/// Returns whether the error means that the file does not exist.
pub(crate) fn is_missing(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == ErrorKind::NotFound)
}

/// A reader that returns an error if there are more than `limit` bytes, so that truncated input never passes for
/// complete.
pub(crate) struct Bounded<R> {
    source: R,
    left: u64,
}

impl<R: Read> Bounded<R> {
    pub(crate) fn new(source: R, limit: u64) -> Self {
        Self {
            source,
            left: limit,
        }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(into)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| {
            io::Error::new(
                ErrorKind::FileTooLarge,
                "it is larger than the limit for such a file",
            )
        })?;
        Ok(read)
    }
}
