//! The folder of a run: where everything lies, and how a killed run goes on.
//!
//! ```text
//! run.toml                    settings and digests
//! command.txt                 the command line, for people
//! timing.json                 seconds, apart because they differ from run to run
//! samples/part-00000.parquet  rows of the samples 0 to 63, and so on
//! pictures/…                  originals and adversarial pictures
//! report.html                 the report
//! ```
//!
//! Every file is written under a temporary name and renamed, so a file that is there is whole. A part is a
//! function of the settings and its number alone: shards of one run merge by copying their parts together.

use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use super::{Row, Run, Timing, table};
use crate::error::{Error, Result};
use crate::image::Picture;

/// Part `k` holds the samples whose index is in `k * SAMPLES_PER_PART..(k + 1) * SAMPLES_PER_PART`.
pub const SAMPLES_PER_PART: u64 = 64;

const RUN: &str = "run.toml";
const TIMING: &str = "timing.json";
const COMMAND: &str = "command.txt";
const SAMPLES: &str = "samples";
const PICTURES: &str = "pictures";
const UNFINISHED: &str = "unfinished";

/// An open run folder.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
    run: Run,
}

impl RunFolder {
    /// The folder at `path` for this run, created if it is not there.
    ///
    /// A folder that holds the same run already is taken up again: the parts that it has need not be
    /// computed. Refuses a folder with anything else in it, and one whose run has other settings, unless
    /// that run never measured anything.
    pub fn create(path: impl AsRef<Path>, run: &Run) -> Result<Self> {
        let path = path.as_ref();
        let folder = Self {
            path: path.to_owned(),
            run: run.clone(),
        };
        if path.join(RUN).exists() {
            let there = Self::open(path)?.run;
            if there == *run {
                return Ok(folder);
            }
            if [SAMPLES, PICTURES, TIMING]
                .iter()
                .any(|begun| path.join(begun).exists())
            {
                return Err(differences(path, &there, run)?);
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
        Ok(folder)
    }

    /// The run that lies in the folder at `path`.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = path.join(RUN);
        let text = fs::read_to_string(&file).map_err(Error::io(&file))?;
        let run: Run = toml::from_str(&text)
            .map_err(|e| Error::invalid(format!("{}: {e}", file.display())))?;
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

    /// Number of parts of the whole run.
    pub fn parts(&self) -> u64 {
        (self.run.data.samples as u64).div_ceil(SAMPLES_PER_PART)
    }

    /// Whether part `k` is there.
    pub fn has_part(&self, k: u64) -> bool {
        self.path.join(part_name(k)).exists()
    }

    /// The parts that are still to be computed, in order.
    pub fn missing_parts(&self) -> Vec<u64> {
        (0..self.parts()).filter(|&k| !self.has_part(k)).collect()
    }

    /// Writes part `k`: every row of its samples, under all attacks at all eps.
    pub fn write_part(&self, k: u64, rows: &[Row]) -> Result<()> {
        if let Some(row) = rows.iter().find(|row| row.index / SAMPLES_PER_PART != k) {
            return Err(Error::invalid(format!(
                "sample {} does not belong to part {k}",
                row.index
            )));
        }
        self.write(&part_name(k), &table::encode(rows)?)
    }

    /// The rows of all parts that are there, in the order of the attacks and eps of `run.toml`, then by index.
    pub fn rows(&self) -> Result<Vec<Row>> {
        let mut keyed = Vec::new();
        for k in (0..self.parts()).filter(|&k| self.has_part(k)) {
            for row in table::read(&self.path.join(part_name(k)))? {
                keyed.push((self.rank(&row)?, row));
            }
        }
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

    /// Reads a picture at a path relative to the folder.
    pub fn read_picture(&self, relative: &str) -> Result<Picture> {
        let path = self.inside(relative)?;
        let bytes = fs::read(&path).map_err(Error::io(&path))?;
        Picture::decode(&bytes, &path.display().to_string())
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
        fs::write(&unfinished, bytes).map_err(Error::io(&unfinished))?;
        fs::rename(&unfinished, &path).map_err(Error::io(&path))
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

/// The error that names every difference between two runs.
fn differences(path: &Path, there: &Run, wanted: &Run) -> Result<Error> {
    let settings = |run: &Run| {
        let mut flat = Vec::new();
        let value = toml::Value::try_from(run)
            .map_err(|e| Error::invalid(format!("the run cannot be written as TOML: {e}")))?;
        flatten("", &value, &mut flat);
        Ok::<_, Error>(flat)
    };
    let (there, wanted) = (settings(there)?, settings(wanted)?);
    let value_of = |all: &[(String, String)], key: &str| {
        let found = all.iter().find(|(k, _)| k == key);
        found.map_or("absent".to_owned(), |(_, value)| value.clone())
    };
    let mut keys: Vec<&String> = there.iter().chain(&wanted).map(|(key, _)| key).collect();
    keys.sort();
    keys.dedup();
    let differences: Vec<String> = keys
        .into_iter()
        .map(|key| (key, value_of(&there, key), value_of(&wanted, key)))
        .filter(|(_, old, new)| old != new)
        .map(|(key, old, new)| format!("  {key}: {old} there, {new} now"))
        .collect();
    Ok(Error::invalid(format!(
        "{} holds a run with other settings; name another folder or use the same settings:\n{}",
        path.display(),
        differences.join("\n")
    )))
}

/// The settings as `dotted.key` and value.
fn flatten(prefix: &str, value: &toml::Value, into: &mut Vec<(String, String)>) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                let dot = if prefix.is_empty() { "" } else { "." };
                flatten(&format!("{prefix}{dot}{key}"), value, into);
            }
        }
        toml::Value::Array(items) if items.iter().any(toml::Value::is_table) => {
            for (at, value) in items.iter().enumerate() {
                flatten(&format!("{prefix}[{at}]"), value, into);
            }
        }
        plain => into.push((prefix.to_owned(), plain.to_string())),
    }
}

#[cfg(test)]
mod tests;
