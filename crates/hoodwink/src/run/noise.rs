//! Asks the model about the perturbation alone, once a run is complete, for the pictures that its report shows.

use crate::{
    Result,
    judge::seen,
    oracle::pool::Model,
    report,
    results::{NoiseSeen, Row, RunFolder},
};

/// Writes the answers into the folder unless they exist.
pub(super) fn ask(folder: &RunFolder, model: &dyn Model) -> Result<()> {
    if folder.noise()?.is_some() {
        return Ok(());
    }
    let rows = report::shown(folder)?;
    let mut worker = None;
    let mut answer = |row: &Row| -> Result<Option<NoiseSeen>> {
        let Some(picture) = &row.picture else {
            return Ok(None);
        };
        let original = folder.read_picture(&RunFolder::original(row.index))?;
        let map = report::sign_map(&original, &folder.read_picture(picture)?)?.to_image();
        let worker = match &mut worker {
            Some(worker) => worker,
            none => none.insert(model.worker()?),
        };
        // One picture per execution: no answer depends on the others, and memory may be short.
        let logits = worker.logits(&[&map])?;
        let first = logits.first();
        Ok(first.map(|logits| NoiseSeen::of(row, seen(logits))))
    };
    let answers = rows.iter().filter_map(|row| answer(row).transpose());
    folder.write_noise(&answers.collect::<Result<Vec<_>>>()?)
}
