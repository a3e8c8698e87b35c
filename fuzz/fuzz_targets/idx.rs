//! Reads any bytes as the files of MNIST, gzipped or not, with their labels, and as CIFAR's binary batches.

#![no_main]

mod data;

use libfuzzer_sys::fuzz_target;

const NAMES: [[&str; 2]; 3] = [
    ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"],
    ["t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"],
    ["test_batch.bin", "batches.meta.txt"],
];

fuzz_target!(|bytes: &[u8]| {
    let Some(([pictures, beside], bytes)) = data::split(bytes, &NAMES) else {
        return;
    };
    // The second byte determines where the pictures end and the other file begins.
    let Some((at, bytes)) = bytes.split_first() else {
        return;
    };
    let (first, second) = bytes.split_at(bytes.len() * usize::from(*at) / 255);
    match second {
        [] => data::explore(&[(pictures, first)], pictures),
        _ => data::explore(&[(pictures, first), (beside, second)], pictures),
    }
});
