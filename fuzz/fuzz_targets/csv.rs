//! Reads any text as a folder's table of labels, and as a list of files.

#![no_main]

mod data;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // The table, and the name to open.
    if let Some(((table, name), bytes)) =
        data::split(bytes, &[("labels.csv", ""), ("list.txt", "list.txt")])
    {
        data::explore(&[(table, bytes), ("a.png", b""), ("b/c.png", b"")], name);
    }
});
