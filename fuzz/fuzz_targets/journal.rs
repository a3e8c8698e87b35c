//! Any bytes as the journal of an unfinished run, as the rows of one of its records, or in place of some bytes of sound rows.
//!
//! A record is found only if its checksum fits, so the target writes the checksums that a random change would never hit.

#![no_main]

#[allow(dead_code, reason = "its data sets are not opened here")]
mod data;
mod runs;

use libfuzzer_sys::fuzz_target;
use sha2::{Digest as _, Sha256};

#[derive(Clone, Copy)]
enum Variant {
    Whole,
    Rows,
    Spliced,
}

fuzz_target!(|bytes: &[u8]| {
    use Variant::{Rows, Spliced, Whole};
    match data::split(bytes, &[Whole, Rows, Spliced]) {
        Some((Whole, bytes)) => runs::explore_unfinished(bytes),
        Some((Rows, bytes)) => {
            if let Some((&index, rows)) = bytes.split_first() {
                runs::explore_unfinished(&record(index.into(), rows));
            }
        }
        Some((Spliced, bytes)) => {
            let rows = data::splice(runs::sound_rows(), bytes);
            runs::explore_unfinished(&[record(0, &rows), record(1, bytes)].concat());
        }
        None => {}
    }
});

/// A record as `hoodwink::results::journal` describes it.
fn record(index: u64, rows: &[u8]) -> Vec<u8> {
    let payload = [&index.to_le_bytes(), rows].concat();
    let length = u32::try_from(payload.len()).expect("inputs are small");
    let digest = Sha256::new()
        .chain_update(length.to_le_bytes())
        .chain_update(&payload)
        .finalize();
    [&length.to_le_bytes(), &digest[..8], &payload].concat()
}
