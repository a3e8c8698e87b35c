//! Any bytes as an array of NumPy or an archive of them.

#![no_main]

mod data;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some((name, bytes)) = data::split(bytes, &["x.npy", "set.npz"]) {
        data::explore(&[(name, bytes)], name);
    }
});
