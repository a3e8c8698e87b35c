//! Reads any bytes as a WebDataset shard.

#![no_main]

mod data;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| data::explore(&[("a.tar", bytes)], "a.tar"));
