//! Reads any bytes as the `run.toml`, `timing.json`, `shown.json` or `command.txt` of a run folder with valid rows and
//! pictures.

#![no_main]

#[allow(dead_code, reason = "its data sets are not opened here")]
mod data;
mod runs;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some((name, bytes)) = data::split(
        bytes,
        &["run.toml", "timing.json", "command.txt", "shown.json"],
    ) {
        runs::explore(name, bytes);
    }
});
