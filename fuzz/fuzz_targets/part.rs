//! Reads any bytes as the rows of a run, or as one of its pictures.

#![no_main]

#[allow(dead_code, reason = "its data sets are not opened here")]
mod data;
mod runs;

use libfuzzer_sys::fuzz_target;

const PART: &str = "samples/part-00000.parquet";
const PICTURE: &str = "pictures/0.png";

fuzz_target!(|bytes: &[u8]| {
    // Whole files, and valid ones with some bytes replaced.
    let variants = [(PART, false), (PART, true), (PICTURE, false)];
    match data::split(bytes, &variants) {
        Some(((name, true), bytes)) => {
            runs::explore(name, &data::splice(runs::sound_file(name), bytes));
        }
        Some(((name, false), bytes)) => runs::explore(name, bytes),
        None => {}
    }
});
