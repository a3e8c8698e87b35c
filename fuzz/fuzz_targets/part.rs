//! Any bytes as the rows of a run, or as one of its pictures.

#![no_main]

#[allow(dead_code, reason = "its data sets are not opened here")]
mod data;
mod runs;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let names = ["samples/part-00000.parquet", "pictures/0.png"];
    if let Some((name, bytes)) = data::split(bytes, &names) {
        runs::explore(name, bytes);
    }
});
