//! Reads any bytes as a NumPy array or an archive of arrays.

#![no_main]

mod data;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some((name, bytes)) = data::split(bytes, &["x.npy", "set.npz"]) {
        data::explore(&[(name, bytes)], name);
    }
});
