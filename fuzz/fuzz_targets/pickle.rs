//! Reads any bytes as a pickled batch of CIFAR, or as the names of its classes.

#![no_main]

mod data;

use libfuzzer_sys::fuzz_target;

/// A valid batch: one black picture of class 0, `{"data": x, "labels": [0]}` in protocol 2.
fn batch() -> Vec<u8> {
    let mut batch = b"\x80\x02}(X\x04\0\0\0datacnumpy._core.multiarray\n_reconstruct\n)R\
        (K\x01K\x01M\x00\x0c\x86cnumpy\ndtype\nX\x02\0\0\0u1\x85R\x89B\x00\x0c\0\0"
        .to_vec();
    batch.extend([0; 3072]);
    batch.extend(b"tbX\x06\0\0\0labels]K\0au.");
    batch
}

fuzz_target!(|bytes: &[u8]| {
    match data::split(bytes, &["test_batch", "batches.meta"]) {
        Some(("batches.meta", names)) => data::explore(
            &[("test_batch", &batch()[..]), ("batches.meta", names)],
            "test_batch",
        ),
        Some((name, bytes)) => data::explore(&[(name, bytes)], name),
        None => {}
    }
});
