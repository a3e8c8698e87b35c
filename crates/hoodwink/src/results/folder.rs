//! The run folder: its files, and how an interrupted run resumes.
//!
//! ```text
//! run.toml                    settings and digests
//! command.txt                 the command line, for people
//! timing.json                 seconds, in a separate file because they differ from run to run
//! samples/part-00000.parquet  rows of the samples 0 to 63, and so on
//! unfinished.journal          rows of single samples, until those of their part are complete ([`super::journal`])
//! shown.json                  the model's answers to perturbations alone, for the pictures that the report shows
//! gradients/…                 the gradient at the original of the picture whose key stages the report shows
//! pictures/…                  originals and adversarial pictures
//! report.html                 the report
//! ```
//!
//! Every file except the journal is written under a temporary name and renamed, so existing files are complete. A part
//! depends only on the settings and its number. A sample's pictures are written before its rows, so a sample with rows
//! is done.
//!
//! A folder may come from a stranger: nothing in it may be a link, only files of limited size are read, and their
//! content must be consistent ([`super::consistency`]).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::consistency::{self, Consistency};
use super::journal::{self, Journal};
use super::noise::{self, NoiseSeen};
use super::{Row, Run, Timing, table};
use crate::error::{Error, Result};
use crate::files::{self, UNFINISHED};
use crate::image::Picture;
use crate::legible;

/// Part `k` holds the samples whose index is in `k * SAMPLES_PER_PART..(k + 1) * SAMPLES_PER_PART`.
pub const SAMPLES_PER_PART: u64 = 64;

const RUN: &str = "run.toml";
const TIMING: &str = "timing.json";
const COMMAND: &str = "command.txt";
const SHOWN: &str = "shown.json";
const SAMPLES: &str = "samples";
const PICTURES: &str = "pictures";
const ADVERSARIAL: &str = "adversarial";
const GRADIENTS: &str = "gradients";
const JOURNAL: &str = "unfinished.journal";

/// Replaces eps in paths if there is none.
const SMALLEST: &str = "smallest";

/// Maximum size of `run.toml`, `timing.json`, `shown.json` and `command.txt`.
const MAX_TEXT_BYTES: u64 = 16 << 20;

/// Maximum size of a picture, and of the journal.
const MAX_FILE_BYTES: u64 = 1 << 28;

/// An open run folder.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
    run: Run,
    /// Held while anything may be written.
    _lock: Option<Arc<File>>,
}

impl RunFolder {
    /// Opens the folder at `path` for this run, and creates it if necessary.
    ///
    /// A folder that already holds the same run is resumed: existing parts are not computed again. Refuses a folder
    /// with anything else in it, a folder whose run has other settings unless that run never measured anything, and a
    /// folder that another process is writing.
    pub fn create(path: impl AsRef<Path>, run: &Run) -> Result<Self> {
        let path = path.as_ref();
        let mut folder = Self {
            path: path.to_owned(),
            run: run.clone(),
            _lock: None,
        };
        Consistency::of(run)
            .map_err(|why| Error::invalid(format!("this run cannot be saved: {why}")))?;
        fs::create_dir_all(path).map_err(Error::io(path))?;
        if folder.has(RUN)? {
            let there = Self::open(path)?.run;
            let differences = run.differences_from(&there)?;
            if differences.is_empty() {
                folder._lock = lock(path)?;
                folder.note_findings(there)?;
                folder.mend_journal()?;
                return Ok(folder);
            }
            let begun = [SAMPLES, PICTURES, TIMING, JOURNAL].map(|begun| folder.has(begun));
            if begun
                .into_iter()
                .collect::<Result<Vec<_>>>()?
                .contains(&true)
            {
                let said = format!(
                    "{} holds a run with other settings; name another folder or use the same settings",
                    path.display()
                );
                return Err(Error::several(said, differences));
            }
        } else if !is_empty(path)? {
            return Err(Error::invalid(format!(
                "{} is not empty and has no {RUN}; name a new or an empty folder",
                path.display()
            )));
        }
        folder.write_run()?;
        folder._lock = lock(path)?;
        Ok(folder)
    }

    /// Keeps the findings of an existing run, unless this run has new ones.
    fn note_findings(&mut self, there: Run) -> Result<()> {
        match &self.run.findings {
            None => self.run.findings = there.findings,
            found if *found == there.findings => {}
            Some(_) => {
                self.write_run()?;
                // The lock belongs to the replaced file.
                self._lock = lock(&self.path)?;
            }
        }
        Ok(())
    }

    fn write_run(&self) -> Result<()> {
        let text = toml::to_string(&self.run)
            .map_err(|e| Error::invalid(format!("the run cannot be written as TOML: {e}")))?;
        self.write(RUN, text.as_bytes())
    }

    /// Opens the run in the folder at `path`.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = files::inside(path, RUN)?;
        let text = match files::read_text(&file, MAX_TEXT_BYTES) {
            Err(error) if files::is_missing(&error) && path.is_dir() => {
                return Err(Error::invalid(format!(
                    "{} has no {RUN}, so it is not a run folder; an attack creates one",
                    path.display()
                )));
            }
            text => text?,
        };
        let run: Run = toml::from_str(&text)
            .map_err(|e| Error::invalid(format!("{}: {}", file.display(), legible::of_toml(&e))))?;
        if run.schema != table::SCHEMA {
            return Err(Error::unsupported(format!(
                "{} has schema version {}, but this program reads version {}; use hoodwink {}",
                file.display(),
                run.schema,
                table::SCHEMA,
                run.hoodwink
            )));
        }
        Consistency::of(&run)
            .map_err(|why| Error::invalid(format!("{}: {why}", file.display())))?;
        Ok(Self {
            path: path.to_owned(),
            run,
            _lock: None,
        })
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the contents of `run.toml`.
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// Returns the indices of this run's samples.
    pub fn samples(&self) -> Range<u64> {
        let all = self.run.data.samples;
        let range = self.run.partition.map_or(0..all, |part| part.range(all));
        range.start as u64..range.end as u64
    }

    /// Returns the samples of part `k` in this run.
    pub fn samples_of_part(&self, k: u64) -> Range<u64> {
        let samples = self.samples();
        let first = k * SAMPLES_PER_PART;
        first.max(samples.start)..(first + SAMPLES_PER_PART).min(samples.end)
    }

    /// Returns the parts in which this run has samples, in order.
    pub fn parts(&self) -> Range<u64> {
        let samples = self.samples();
        if samples.is_empty() {
            return 0..0;
        }
        samples.start / SAMPLES_PER_PART..samples.end.div_ceil(SAMPLES_PER_PART)
    }

    /// Returns the existing parts. Files with other names are ignored; a part that does not belong to this run is
    /// refused.
    fn present(&self) -> Result<BTreeSet<u64>> {
        let path = files::inside(&self.path, SAMPLES)?;
        let entries = match fs::read_dir(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeSet::new()),
            entries => entries.map_err(Error::io(&path))?,
        };
        let mut found = BTreeSet::new();
        for entry in entries {
            let name = entry.map_err(Error::io(&path))?.file_name();
            let number = name.to_str().and_then(|name| {
                let number = name.strip_prefix("part-")?.strip_suffix(TABLE)?;
                number.parse().ok()
            });
            let Some(number) = number else {
                continue;
            };
            if !self.parts().contains(&number) {
                return Err(self.stranger(&path.join(name)));
            }
            found.insert(number);
        }
        Ok(found)
    }

    /// The error for a file in the folder that holds other samples.
    fn stranger(&self, what: &Path) -> Error {
        Error::invalid(format!(
            "{} does not belong to this run, whose samples are {:?}",
            what.display(),
            self.samples()
        ))
    }

    /// Returns the parts that are still to be computed, in order.
    pub fn missing_parts(&self) -> Result<Vec<u64>> {
        let present = self.present()?;
        Ok(self.parts().filter(|k| !present.contains(k)).collect())
    }

    /// Returns the number of samples without rows.
    pub fn missing_samples(&self) -> Result<u64> {
        let samples = self.samples();
        let of_part = |k: u64| self.samples_of_part(k).count() as u64;
        let complete: u64 = self.present()?.into_iter().map(of_part).sum();
        let waiting = self.kept()?.len() as u64;
        Ok(samples.end - samples.start - complete - waiting)
    }

    /// Writes part `k`: every row of its samples, under all attacks at all eps. Their journal records are then not
    /// needed.
    pub fn write_part(&self, k: u64, rows: &[Row]) -> Result<()> {
        if let Some(row) = rows.iter().find(|row| row.index / SAMPLES_PER_PART != k) {
            return Err(Error::invalid(format!(
                "sample {} does not belong to part {k}",
                row.index
            )));
        }
        self.write(&part_name(k), &table::encode(rows)?)?;
        let Some(journal) = self.journal()? else {
            return Ok(());
        };
        match journal.only(|sample| sample / SAMPLES_PER_PART != k) {
            nothing if nothing.is_empty() => self.clear_kept(),
            others => self.write(JOURNAL, &others),
        }
    }

    /// Returns the rows of part `k`, which must exist and be complete.
    pub fn read_part(&self, k: u64) -> Result<Vec<Row>> {
        let path = files::inside(&self.path, &part_name(k))?;
        let samples = self.samples_of_part(k);
        let rows = table::read(&path, samples.clone().count() * self.trials())?;
        self.check(&path, &self.consistency(&path)?, samples, &rows)?;
        Ok(rows)
    }

    /// Returns the number of rows of each sample.
    fn trials(&self) -> usize {
        self.run.attacks.len() * self.run.radii().len()
    }

    fn consistency(&self, path: &Path) -> Result<Consistency<'_>> {
        Consistency::of(&self.run)
            .map_err(|why| Error::invalid(format!("{}: {why}", path.display())))
    }

    /// Refuses rows of the file at `path` unless they are exactly the rows of these samples, and possible.
    fn check(
        &self,
        path: &Path,
        consistency: &Consistency<'_>,
        samples: Range<u64>,
        rows: &[Row],
    ) -> Result<()> {
        let invalid =
            |why: &dyn std::fmt::Display| Error::invalid(format!("{}: {why}", path.display()));
        let trials = self.trials();
        for (number, row) in rows.iter().enumerate() {
            let why = match samples.contains(&row.index) {
                true => consistency.of_row(row),
                false => Err("it does not belong there".to_owned()),
            };
            why.map_err(|why| invalid(&format_args!("row {number}, sample {}: {why}", row.index)))?;
        }
        let mut by_sample: BTreeMap<u64, Vec<&Row>> = BTreeMap::new();
        for row in rows {
            by_sample.entry(row.index).or_default().push(row);
        }
        for (sample, rows) in &by_sample {
            consistency
                .of_sample(rows)
                .map_err(|why| invalid(&format_args!("sample {sample} {why}")))?;
        }
        if rows.len() < samples.clone().count() * trials {
            let lacks = |sample: &u64| by_sample.get(sample).map_or(0, Vec::len) < trials;
            return Err(invalid(&format_args!(
                "rows are missing, first those of sample {}; delete the file and repeat the command of the run",
                samples.clone().find(lacks).unwrap_or(samples.start)
            )));
        }
        Ok(())
    }

    /// Keeps the rows of one sample until its part is complete. Its pictures must be written first.
    pub fn keep(&self, rows: &[Row]) -> Result<()> {
        let Some(first) = rows.first() else {
            return Ok(());
        };
        let record = journal::record(first.index, rows)?;
        let path = files::inside(&self.path, JOURNAL)?;
        // Rows that do not fit are not lost while this process runs: the run keeps them until the part is written.
        let fits = |there: &fs::Metadata| there.len() + record.len() as u64 <= MAX_FILE_BYTES;
        match fs::symlink_metadata(&path) {
            Ok(there) if !fits(&there) => Ok(()),
            _ => files::append(&path, &record).map_err(|error| self.explained(error)),
        }
    }

    /// Returns the journal, if it exists.
    fn journal(&self) -> Result<Option<Journal>> {
        let path = files::inside(&self.path, JOURNAL)?;
        let journal = match files::read(&path, MAX_FILE_BYTES) {
            Err(error) if files::is_missing(&error) => return Ok(None),
            bytes => Journal::of(bytes?),
        };
        let samples = self.samples();
        let is_own = journal.samples().all(|sample| samples.contains(&sample));
        match is_own {
            true => Ok(Some(journal)),
            false => Err(self.stranger(&path)),
        }
    }

    /// Removes an incomplete record that an interrupted process left, and records whose part has been written since.
    fn mend_journal(&self) -> Result<()> {
        let (Some(journal), present) = (self.journal()?, self.present()?) else {
            return Ok(());
        };
        let waits = |sample: u64| !present.contains(&(sample / SAMPLES_PER_PART));
        match journal.is_whole() && journal.samples().all(waits) {
            true => Ok(()),
            false => self.write(JOURNAL, &journal.only(waits)),
        }
    }

    /// Returns the kept rows of parts that do not exist yet, by sample.
    pub fn kept(&self) -> Result<BTreeMap<u64, Vec<Row>>> {
        let Some(journal) = self.journal()? else {
            return Ok(BTreeMap::new());
        };
        let path = files::inside(&self.path, JOURNAL)?;
        let (present, consistency) = (self.present()?, self.consistency(&path)?);
        let waits = |sample| !present.contains(&(sample / SAMPLES_PER_PART));
        let mut kept = BTreeMap::new();
        for found in journal.rows(waits, self.trials()) {
            let (sample, rows) =
                found.map_err(|why| Error::invalid(format!("{}: {why}", path.display())))?;
            self.check(&path, &consistency, sample..sample + 1, &rows)?;
            kept.insert(sample, rows);
        }
        Ok(kept)
    }

    /// Removes the journal once all parts exist.
    pub fn clear_kept(&self) -> Result<()> {
        let path = files::inside(&self.path, JOURNAL)?;
        match fs::remove_file(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io(path)(e)),
            _ => Ok(()),
        }
    }

    /// Returns the rows of all finished samples, in the order of the attacks and eps of `run.toml`, then by index.
    pub fn rows(&self) -> Result<Vec<Row>> {
        let mut rows: Vec<Row> = self.kept()?.into_values().flatten().collect();
        for k in self.present()? {
            rows.extend(self.read_part(k)?);
        }
        // Sort by attack and eps in the order of `run.toml`, then by index.
        let (places, radii) = (self.run.places(), self.run.radii());
        rows.sort_by_cached_key(|row| {
            let eps = radii.iter().position(|eps| *eps == row.eps_text());
            (places.get(&*row.recipe).copied(), eps, row.index)
        });
        Ok(rows)
    }

    /// Writes a picture as PNG at a path relative to the folder.
    pub fn write_picture(&self, relative: &str, picture: &Picture) -> Result<()> {
        self.write(relative, &picture.encode_png())
    }

    /// Returns the bytes of a file at a path relative to the folder.
    pub fn read(&self, relative: &str) -> Result<Vec<u8>> {
        files::read(&files::inside(&self.path, relative)?, MAX_FILE_BYTES)
    }

    /// Reads a picture of the run's size at a path relative to the folder.
    pub fn read_picture(&self, relative: &str) -> Result<Picture> {
        self.picture_of(relative, &self.read(relative)?)
    }

    /// Decodes the bytes of a file at a path relative to the folder, which must be a PNG of the run's size.
    pub(super) fn picture_of(&self, relative: &str, bytes: &[u8]) -> Result<Picture> {
        let name = self.path.join(relative).display().to_string();
        Picture::decode_png(bytes, &name, self.run.model.input)
    }

    /// Returns whether a file exists at a path relative to the folder.
    fn has(&self, relative: &str) -> Result<bool> {
        Ok(fs::symlink_metadata(files::inside(&self.path, relative)?).is_ok())
    }

    /// Returns the path of the original of a sample, relative to the folder.
    pub fn original(index: u64) -> String {
        format!("{PICTURES}/{index}.png")
    }

    /// Returns the path of the adversarial picture of a sample under an attack, relative to the folder, without
    /// characters that file systems may refuse. `key` is the attack's name in paths ([`Run::key_of`]). `eps` is `None`
    /// for an attack that looks for the smallest distance.
    pub fn adversarial(key: &str, eps: Option<&str>, index: u64) -> String {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '.';
        let eps: String = eps
            .unwrap_or(SMALLEST)
            .chars()
            .map(|c| if plain(c) { c } else { '-' })
            .collect();
        format!("{ADVERSARIAL}/{key}-{eps}/{index:06}.png")
    }

    /// Writes `timing.json`.
    pub fn write_timing(&self, timing: &Timing) -> Result<()> {
        let text = serde_json::to_string_pretty(timing)
            .map_err(|e| Error::invalid(format!("the timing cannot be written as JSON: {e}")))?;
        self.write(TIMING, text.as_bytes())
    }

    /// Returns the contents of `timing.json`, if it exists.
    pub fn timing(&self) -> Result<Option<Timing>> {
        let Some(text) = self.text(TIMING)? else {
            return Ok(None);
        };
        let invalid = |why: &dyn std::fmt::Display| {
            Error::invalid(format!("{}: {why}", self.path.join(TIMING).display()))
        };
        let timing: Timing = serde_json::from_str(&text).map_err(|error| invalid(&error))?;
        consistency::of_timing(&self.run, &timing).map_err(|why| invalid(&why))?;
        Ok(Some(timing))
    }

    /// Writes `shown.json`.
    pub fn write_noise(&self, answers: &[NoiseSeen]) -> Result<()> {
        let text = serde_json::to_string_pretty(answers)
            .map_err(|e| Error::invalid(format!("the answers cannot be written as JSON: {e}")))?;
        self.write(SHOWN, text.as_bytes())
    }

    /// Returns the model's answers to perturbations alone, for the pictures that the report shows; `None` if the run is
    /// not complete.
    pub fn noise(&self) -> Result<Option<Vec<NoiseSeen>>> {
        let Some(text) = self.text(SHOWN)? else {
            return Ok(None);
        };
        let invalid = |why: &dyn std::fmt::Display| {
            Error::invalid(format!("{}: {why}", self.path.join(SHOWN).display()))
        };
        let answers: Vec<NoiseSeen> =
            serde_json::from_str(&text).map_err(|error| invalid(&error))?;
        noise::check(&self.run, &answers).map_err(|why| invalid(&why))?;
        Ok(Some(answers))
    }

    /// Returns the path of the gradient at the original of a sample, relative to the folder.
    fn gradient_file(index: u64) -> String {
        format!("{GRADIENTS}/{index:06}.png")
    }

    /// Writes the gradient of an attack's loss at the original of a sample, as a picture.
    pub fn write_gradient(&self, index: u64, picture: &Picture) -> Result<()> {
        self.write_picture(&Self::gradient_file(index), picture)
    }

    /// Reads the gradient at the original of a sample; only a few are recorded.
    pub fn gradient(&self, index: u64) -> Result<Option<Picture>> {
        match self.read_picture(&Self::gradient_file(index)) {
            Err(error) if files::is_missing(&error) => Ok(None),
            picture => picture.map(Some),
        }
    }

    /// Writes the command line that repeats this run; the report shows it.
    pub fn write_command(&self, command: &str) -> Result<()> {
        self.write(COMMAND, command.as_bytes())
    }

    /// Returns the command line that repeats this run, if it was recorded.
    pub fn command(&self) -> Result<Option<String>> {
        self.text(COMMAND)
    }

    /// Returns the text of a file, if it exists.
    fn text(&self, relative: &str) -> Result<Option<String>> {
        match files::read_text(&files::inside(&self.path, relative)?, MAX_TEXT_BYTES) {
            Err(error) if files::is_missing(&error) => Ok(None),
            text => text.map(Some),
        }
    }

    /// Writes a file at a path relative to the folder, completely or not at all.
    pub fn write(&self, relative: &str, bytes: &[u8]) -> Result<()> {
        let path = files::inside(&self.path, relative)?;
        let written =
            files::create_parents(&self.path, &path).and_then(|()| files::write(&path, bytes));
        written.map_err(|error| self.explained(error))
    }

    /// Returns a write error; if the folder no longer exists, the error says so.
    fn explained(&self, error: Error) -> Error {
        match files::is_missing(&error) && !self.path.exists() {
            true => Error::invalid(format!(
                "{} is no longer there: it was moved or deleted while the run went on; move it back and repeat the \
                 command",
                self.path.display()
            )),
            false => error,
        }
    }
}

/// Extension of the files with rows.
const TABLE: &str = ".parquet";

fn part_name(k: u64) -> String {
    format!("{SAMPLES}/part-{k:05}{TABLE}")
}

/// Prevents other processes from writing into the folder at `path` until the result is dropped; `None` if the file
/// system does not support locks.
fn lock(path: &Path) -> Result<Option<Arc<File>>> {
    let file = files::open(&files::inside(path, RUN)?)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Arc::new(file))),
        Err(TryLockError::WouldBlock) => Err(Error::invalid(format!(
            "{} is being written by another process; wait for it to finish, or name another folder",
            path.display()
        ))),
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

/// Returns whether a folder is empty, apart from an incomplete file of an interrupted run.
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
