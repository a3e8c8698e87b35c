//! An evaluation into a run folder: what is computed is written at once, and what is written is not computed again.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};

use crate::{
    Result,
    data::Dataset,
    evaluate::{Attacked, Evaluation},
    oracle::batcher::{Crew, Model},
    results::{Row, RunFolder, SAMPLES_PER_PART, Timing},
};

/// What a run has done so far, told after every sample.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Samples done, those of an earlier run that is taken up again included.
    pub done: usize,
    /// Samples in all.
    pub samples: usize,
    /// Attacks attempted since this call began.
    pub attempted: usize,
    /// Attempts that succeeded.
    pub fooled: usize,
}

/// Attacks the samples whose parts `folder` lacks, and writes pictures and rows as they come.
///
/// Answers whether the run is complete: it is not if `stop` was set. Everything written by then stays, and the next call
/// goes on from there.
pub fn run(
    folder: &RunFolder,
    evaluation: &Arc<Evaluation>,
    model: &dyn Model,
    data: &Dataset,
    crew: Crew,
    stop: &AtomicBool,
    mut tell: impl FnMut(&Progress),
) -> Result<bool> {
    let begun = Instant::now();
    let missing = folder.missing_parts();
    let samples = data.len();
    let range = |part: u64| {
        let first = (part * SAMPLES_PER_PART) as usize;
        first..samples.min(first + SAMPLES_PER_PART as usize)
    };
    let to_do: usize = missing.iter().map(|&part| range(part).len()).sum();
    let mut progress = Progress {
        done: samples - to_do,
        samples,
        ..Progress::default()
    };
    let mut timing = folder.timing()?.unwrap_or_default();
    tell(&progress);

    let mut unfinished: BTreeMap<u64, Vec<Row>> = BTreeMap::new();
    let sink = |attacked: Attacked| -> Result<()> {
        for (path, bytes) in &attacked.files {
            folder.write(path, bytes)?;
        }
        for (row, seconds) in attacked.rows.iter().zip(&attacked.seconds) {
            *timing.by_attack.entry(row.attack.clone()).or_default() += seconds;
            progress.attempted += usize::from(row.float.is_some());
            progress.fooled += usize::from(row.float.is_some_and(|verdict| verdict.success));
        }
        progress.done += 1;
        tell(&progress);
        let Some(first) = attacked.rows.first() else {
            return Ok(());
        };
        let part = first.index / SAMPLES_PER_PART;
        let trials = attacked.rows.len();
        let rows = unfinished.entry(part).or_default();
        rows.extend(attacked.rows);
        if rows.len() == trials * range(part).len() {
            // Stable: the rows of one sample stay in the order of the trials.
            rows.sort_by_key(|row| row.index);
            folder.write_part(part, rows)?;
            unfinished.remove(&part);
        }
        Ok(())
    };
    let indices = missing.clone().into_iter().flat_map(range);
    evaluation.run(model, data, indices, crew, stop, sink)?;

    timing = Timing {
        seconds: timing.seconds + begun.elapsed().as_secs_f64(),
        threads: crew.threads,
        batch: crew.batch,
        ..timing
    };
    folder.write_timing(&timing)?;
    Ok(folder.missing_parts().is_empty())
}
