//! Runs an evaluation into a run folder. Results are written as soon as they are computed, and existing results are not
//! computed again.

mod limits;
mod memory;
mod shown;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

pub use limits::Limits;
pub use memory::fitting;

use crate::{
    Error, Result,
    data::Dataset,
    evaluate::{Attacked, Evaluation},
    oracle::{
        Halt,
        pool::{Model, Parallelism},
    },
    results::{Row, RunFolder, SAMPLES_PER_PART, Timing},
};

/// The progress of a run, reported after every sample.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Samples done, including those of an earlier run that this one resumes.
    pub done: usize,
    /// Total number of samples.
    pub samples: usize,
    /// Attacks attempted in this call.
    pub attempted: usize,
    /// Attempts that succeeded.
    pub fooled: usize,
}

/// How a call of [`run`] ended. In every case the folder keeps its content, and the next call resumes from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every sample is done.
    Complete,
    /// It was halted from outside.
    Halted,
    /// The time limit was reached.
    OutOfTime,
    /// The process exceeded its memory limit; it held this many bytes.
    OutOfMemory(u64),
}

/// Attacks the samples that are missing in `folder`. Writes pictures and rows as they arrive.
///
/// When a limit is reached, samples in progress are dropped. `halt` may request either ending.
#[expect(clippy::too_many_arguments, reason = "the arguments are independent")]
pub fn run(
    folder: &RunFolder,
    evaluation: &Evaluation,
    model: &dyn Model,
    data: &Dataset,
    crew: Parallelism,
    limits: Limits,
    halt: &Halt,
    mut tell: impl FnMut(&Progress),
) -> Result<Ended> {
    let begun = Instant::now();
    let mut parts = Parts::of(folder)?;
    let missing = parts.missing()?;
    let samples = folder.samples().count();
    let mut progress = Progress {
        done: samples - missing.len(),
        samples,
        ..Progress::default()
    };
    let mut timing = folder.timing()?.unwrap_or_default();
    tell(&progress);

    let sink = |attacked: Attacked| -> Result<()> {
        for (path, bytes) in &attacked.files {
            folder.write(path, bytes)?;
        }
        for (row, seconds) in attacked.rows.iter().zip(&attacked.seconds) {
            *timing.by_attack.entry(row.recipe.clone()).or_default() += seconds;
            progress.attempted += usize::from(row.float.is_some());
            progress.fooled += usize::from(row.float.is_some_and(|verdict| verdict.success));
        }
        parts.add(attacked.rows)?;
        progress.done += 1;
        tell(&progress);
        Ok(())
    };
    let indices = missing.into_iter().map(|sample| sample as usize);
    let crew = crew.within(samples);
    let (done, reached) = limits::watch(limits, halt, || {
        evaluation.run(model, data, indices, crew, halt, sink)
    })?;
    match done {
        // Whoever waits for answers may be told so by an error.
        Err(Error::Stopped) if halt.is_asked() => {}
        done => done?,
    }

    timing = Timing {
        seconds: timing.seconds + begun.elapsed().as_secs_f64(),
        threads: crew.threads,
        batch: crew.batch,
        library: model.library().map(|path| path.display().to_string()),
        ..timing
    };
    folder.write_timing(&timing)?;
    if !folder.missing_parts()?.is_empty() {
        return Ok(reached.unwrap_or(Ended::Halted));
    }
    folder.clear_kept()?;
    shown::ask(folder, model)?;
    Ok(Ended::Complete)
}

/// The rows of parts that are not complete yet.
struct Parts<'a> {
    folder: &'a RunFolder,
    /// By part, then by sample.
    unfinished: BTreeMap<u64, BTreeMap<u64, Vec<Row>>>,
}

impl<'a> Parts<'a> {
    /// Reads the rows that an earlier call kept.
    fn of(folder: &'a RunFolder) -> Result<Self> {
        let mut parts = Self {
            folder,
            unfinished: BTreeMap::new(),
        };
        for rows in folder.kept()?.into_values() {
            parts.insert(rows)?;
        }
        Ok(parts)
    }

    /// Returns the samples that have no rows yet, in order.
    fn missing(&self) -> Result<Vec<u64>> {
        let done: BTreeSet<&u64> = self.unfinished.values().flat_map(BTreeMap::keys).collect();
        let parts = self.folder.missing_parts()?.into_iter();
        let samples = parts.flat_map(|part| self.folder.samples_of_part(part));
        Ok(samples.filter(|sample| !done.contains(sample)).collect())
    }

    /// Keeps the rows of a sample. Writes its part if it was the last one missing.
    fn add(&mut self, rows: Vec<Row>) -> Result<()> {
        if self.is_last(&rows) {
            return self.insert(rows);
        }
        self.folder.keep(&rows)?;
        self.insert(rows)
    }

    /// Returns whether all other samples of the part have rows.
    fn is_last(&self, rows: &[Row]) -> bool {
        let Some(first) = rows.first() else {
            return false;
        };
        let part = first.index / SAMPLES_PER_PART;
        let there = self.unfinished.get(&part).map_or(0, BTreeMap::len);
        there + 1 == self.folder.samples_of_part(part).count()
    }

    fn insert(&mut self, rows: Vec<Row>) -> Result<()> {
        let Some(first) = rows.first() else {
            return Ok(());
        };
        let (part, sample) = (first.index / SAMPLES_PER_PART, first.index);
        let is_last = self.is_last(&rows);
        let of_part = self.unfinished.entry(part).or_default();
        of_part.insert(sample, rows);
        if is_last && let Some(complete) = self.unfinished.remove(&part) {
            let rows: Vec<Row> = complete.into_values().flatten().collect();
            self.folder.write_part(part, &rows)?;
        }
        Ok(())
    }
}
