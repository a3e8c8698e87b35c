//! The folder of a run: where everything lies, and how a killed run goes on.
//!
//! ```text
//! run.toml                    settings and digests
//! command.txt                 the command line, for people
//! timing.json                 seconds, apart because they differ from run to run
//! samples/part-00000.parquet  rows of the samples 0 to 63, and so on
//! unfinished/000064.parquet   rows of one sample, until those of its part are complete
//! pictures/…                  originals and adversarial pictures
//! report.html                 the report
//! ```
//!
//! Every file is written under a temporary name and renamed, so a file that is there is whole. A part is a function of
//! the settings and its number alone. A sample's pictures are written before its rows, so a sample with rows is done.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::{Row, Run, Timing, table};
use crate::error::{Error, Result};
use crate::image::Picture;
use crate::legible;

/// Part `k` holds the samples whose index is in `k * SAMPLES_PER_PART..(k + 1) * SAMPLES_PER_PART`.
pub const SAMPLES_PER_PART: u64 = 64;

const RUN: &str = "run.toml";
const TIMING: &str = "timing.json";
const COMMAND: &str = "command.txt";
const SAMPLES: &str = "samples";
const PICTURES: &str = "pictures";
const KEPT: &str = "unfinished";
/// Ending of files that are being written.
const UNFINISHED: &str = "unfinished";

/// An open run folder.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
    run: Run,
    /// Held for as long as anything may be written.
    _lock: Option<Arc<File>>,
}

impl RunFolder {
    /// The folder at `path` for this run, created if it is not there.
    ///
    /// A folder that holds the same run already is taken up again: the parts that it has need not be
    /// computed. Refuses a folder with anything else in it, and one whose run has other settings, unless
    /// that run never measured anything. Refuses a folder that another process has created and still holds.
    pub fn create(path: impl AsRef<Path>, run: &Run) -> Result<Self> {
        let path = path.as_ref();
        let mut folder = Self {
            path: path.to_owned(),
            run: run.clone(),
            _lock: None,
        };
        if path.join(RUN).exists() {
            let there = Self::open(path)?.run;
            let differences = run.differences_from(&there)?;
            if differences.is_empty() {
                folder._lock = lock(path)?;
                return Ok(folder);
            }
            if [SAMPLES, PICTURES, TIMING]
                .iter()
                .any(|begun| path.join(begun).exists())
            {
                let said = format!(
                    "{} holds a run with other settings; name another folder or use the same settings",
                    path.display()
                );
                return Err(Error::several(said, differences));
            }
        } else if path.exists() && !is_empty(path)? {
            return Err(Error::invalid(format!(
                "{} is not empty and has no {RUN}; name a new or an empty folder",
                path.display()
            )));
        }
        let text = toml::to_string(run)
            .map_err(|e| Error::invalid(format!("the run cannot be written as TOML: {e}")))?;
        folder.write(RUN, text.as_bytes())?;
        folder._lock = lock(path)?;
        Ok(folder)
    }

    /// The run that lies in the folder at `path`.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = path.join(RUN);
        if path.is_dir() && !file.exists() {
            return Err(Error::invalid(format!(
                "{} holds no {RUN}, so it is no run folder; hoodwink attack --out writes one",
                path.display()
            )));
        }
        let text = fs::read_to_string(&file).map_err(Error::io(&file))?;
        let run: Run = toml::from_str(&text)
            .map_err(|e| Error::invalid(format!("{}: {}", file.display(), legible::of_toml(&e))))?;
        if run.schema != table::SCHEMA {
            return Err(Error::unsupported(format!(
                "{} has schema version {}, this program reads version {}; use hoodwink {}",
                file.display(),
                run.schema,
                table::SCHEMA,
                run.hoodwink
            )));
        }
        Ok(Self {
            path: path.to_owned(),
            run,
            _lock: None,
        })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The contents of `run.toml`.
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// The samples that this run is about, by index.
    pub fn samples(&self) -> Range<u64> {
        let all = self.run.data.samples;
        let range = self.run.partition.map_or(0..all, |part| part.range(all));
        range.start as u64..range.end as u64
    }

    /// The samples of part `k` that this run is about.
    pub fn samples_of_part(&self, k: u64) -> Range<u64> {
        let samples = self.samples();
        let first = k * SAMPLES_PER_PART;
        first.max(samples.start)..(first + SAMPLES_PER_PART).min(samples.end)
    }

    /// The parts that this run has samples of, in order.
    pub fn parts(&self) -> Range<u64> {
        let samples = self.samples();
        if samples.is_empty() {
            return 0..0;
        }
        samples.start / SAMPLES_PER_PART..samples.end.div_ceil(SAMPLES_PER_PART)
    }

    /// Whether part `k` is there.
    pub fn has_part(&self, k: u64) -> bool {
        self.path.join(part_name(k)).exists()
    }

    /// The parts that are still to be computed, in order.
    pub fn missing_parts(&self) -> Vec<u64> {
        self.parts().filter(|&k| !self.has_part(k)).collect()
    }

    /// Number of samples that have no rows yet.
    pub fn missing_samples(&self) -> u64 {
        let parts = self.missing_parts().into_iter();
        let samples = parts.flat_map(|k| self.samples_of_part(k));
        let kept = |sample: &u64| self.path.join(kept_name(*sample)).exists();
        samples.filter(|sample| !kept(sample)).count() as u64
    }

    /// Writes part `k`: every row of its samples, under all attacks at all eps. The samples need not be kept any more.
    pub fn write_part(&self, k: u64, rows: &[Row]) -> Result<()> {
        if let Some(row) = rows.iter().find(|row| row.index / SAMPLES_PER_PART != k) {
            return Err(Error::invalid(format!(
                "sample {} does not belong to part {k}",
                row.index
            )));
        }
        self.write(&part_name(k), &table::encode(rows)?)?;
        for sample in self.samples_of_part(k) {
            remove(&self.path.join(kept_name(sample)), |path| {
                fs::remove_file(path)
            })?;
        }
        Ok(())
    }

    /// The rows of part `k`, which must be there.
    pub fn read_part(&self, k: u64) -> Result<Vec<Row>> {
        table::read(&self.path.join(part_name(k)))
    }

    /// Keeps the rows of one sample until those of its part are complete. Its pictures are written before.
    pub fn keep(&self, rows: &[Row]) -> Result<()> {
        let Some(first) = rows.first() else {
            return Ok(());
        };
        self.write(&kept_name(first.index), &table::encode(rows)?)
    }

    /// The kept rows of parts that are not there yet, by sample.
    pub fn kept(&self) -> Result<BTreeMap<u64, Vec<Row>>> {
        let mut kept = BTreeMap::new();
        let missing = self.missing_parts();
        for sample in missing.into_iter().flat_map(|k| self.samples_of_part(k)) {
            let path = self.path.join(kept_name(sample));
            if path.exists() {
                kept.insert(sample, table::read(&path)?);
            }
        }
        Ok(kept)
    }

    /// Removes what was kept, once all parts are there.
    pub fn clear_kept(&self) -> Result<()> {
        remove(&self.path.join(KEPT), |path| fs::remove_dir_all(path))
    }

    /// The rows of all samples that are done, in the order of the attacks and eps of `run.toml`, then by index.
    pub fn rows(&self) -> Result<Vec<Row>> {
        let mut rows: Vec<Row> = self.kept()?.into_values().flatten().collect();
        for k in self.parts().filter(|&k| self.has_part(k)) {
            rows.extend(self.read_part(k)?);
        }
        let ranks = rows.iter().map(|row| self.rank(row));
        let ranks = ranks.collect::<Result<Vec<_>>>()?;
        let mut keyed: Vec<_> = ranks.into_iter().zip(rows).collect();
        keyed.sort_by_key(|(rank, _)| *rank);
        if let Some(pair) = keyed.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            let row = &pair[0].1;
            return Err(Error::invalid(format!(
                "{}: sample {} has two rows for {} at {}",
                self.path.display(),
                row.index,
                row.attack,
                row.eps_text
            )));
        }
        Ok(keyed.into_iter().map(|(_, row)| row).collect())
    }

    /// Position of a row: its attack and eps in `run.toml`, its index.
    fn rank(&self, row: &Row) -> Result<(usize, usize, u64)> {
        let attack = self.run.attacks.iter().position(|a| a.name == row.attack);
        let eps = self.run.threat.eps.iter().position(|e| *e == row.eps_text);
        match (attack, eps) {
            (Some(attack), Some(eps)) => Ok((attack, eps, row.index)),
            _ => Err(Error::invalid(format!(
                "{}: sample {} was attacked by '{}' at '{}', which {RUN} does not name",
                self.path.display(),
                row.index,
                row.attack,
                row.eps_text
            ))),
        }
    }

    /// Writes a picture as PNG at a path relative to the folder.
    pub fn write_picture(&self, relative: &str, picture: &Picture) -> Result<()> {
        self.write(relative, &picture.encode_png())
    }

    /// The bytes of a file at a path relative to the folder.
    pub fn read(&self, relative: &str) -> Result<Vec<u8>> {
        let path = self.inside(relative)?;
        fs::read(&path).map_err(Error::io(&path))
    }

    /// Reads a picture at a path relative to the folder.
    pub fn read_picture(&self, relative: &str) -> Result<Picture> {
        let bytes = self.read(relative)?;
        Picture::decode(&bytes, &self.path.join(relative).display().to_string())
    }

    /// Where the original of a sample lies, relative to the folder.
    pub fn original(index: u64) -> String {
        format!("{PICTURES}/{index}.png")
    }

    /// Writes `timing.json`.
    pub fn write_timing(&self, timing: &Timing) -> Result<()> {
        let text = serde_json::to_string_pretty(timing)
            .map_err(|e| Error::invalid(format!("the timing cannot be written as JSON: {e}")))?;
        self.write(TIMING, text.as_bytes())
    }

    /// The contents of `timing.json`, if the run has got that far.
    pub fn timing(&self) -> Result<Option<Timing>> {
        let path = self.path.join(TIMING);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|e| Error::invalid(format!("{}: {e}", path.display()))),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io(path)(e)),
        }
    }

    /// Writes the command line that gives this run; the report shows it.
    pub fn write_command(&self, command: &str) -> Result<()> {
        self.write(COMMAND, command.as_bytes())
    }

    /// The command line that gives this run, if it was noted.
    pub fn command(&self) -> Result<Option<String>> {
        let path = self.path.join(COMMAND);
        match fs::read_to_string(&path) {
            Ok(command) => Ok(Some(command)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io(path)(e)),
        }
    }

    /// Writes a file at a path relative to the folder, whole or not at all.
    pub fn write(&self, relative: &str, bytes: &[u8]) -> Result<()> {
        let path = self.inside(relative)?;
        let parent = path.parent().unwrap_or(&self.path);
        fs::create_dir_all(parent).map_err(Error::io(parent))?;
        let mut unfinished = path.clone().into_os_string();
        unfinished.push(".");
        unfinished.push(UNFINISHED);
        let written = fs::write(&unfinished, bytes).and_then(|()| fs::rename(&unfinished, &path));
        written.map_err(|error| {
            // A disk that is full has better use for the room; the first error is the one to tell.
            let _ = fs::remove_file(&unfinished);
            Error::io(&path)(error)
        })
    }

    /// The full path of a relative one, which must not leave the folder.
    fn inside(&self, relative: &str) -> Result<PathBuf> {
        let relative = Path::new(relative);
        let plain = |part| matches!(part, Component::Normal(_));
        if relative.file_name().is_none() || !relative.components().all(plain) {
            return Err(Error::invalid(format!(
                "'{}' is not a path inside the run folder {}",
                relative.display(),
                self.path.display()
            )));
        }
        Ok(self.path.join(relative))
    }
}

fn part_name(k: u64) -> String {
    format!("{SAMPLES}/part-{k:05}.parquet")
}

fn kept_name(sample: u64) -> String {
    format!("{KEPT}/{sample:06}.parquet")
}

/// Removes what may not be there.
fn remove(path: &Path, by: impl Fn(&Path) -> std::io::Result<()>) -> Result<()> {
    match by(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io(path)(e)),
        _ => Ok(()),
    }
}

/// Keeps other processes from writing into the folder at `path` until the answer is dropped; `None` where the file
/// system knows no locks.
fn lock(path: &Path) -> Result<Option<Arc<File>>> {
    let file = path.join(RUN);
    let file = File::open(&file).map_err(Error::io(&file))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Arc::new(file))),
        Err(TryLockError::WouldBlock) => Err(Error::invalid(format!(
            "{} is being written by another process; wait for it, or name another folder",
            path.display()
        ))),
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

/// Whether nothing lies in a folder, but for a file that a killed run left unfinished.
fn is_empty(path: &Path) -> Result<bool> {
    for entry in fs::read_dir(path).map_err(Error::io(path))? {
        let name = entry.map_err(Error::io(path))?.path();
        if name.extension().is_none_or(|end| end != UNFINISHED) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests;
