//! Reads any bytes as a table of pictures: a whole file, or pages and a footer.

#![no_main]

mod data;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((is_whole, bytes)) = data::split(bytes, &[true, false]) else {
        return;
    };
    if is_whole {
        return data::explore(&[("a.parquet", bytes)], "a.parquet");
    }
    // The second byte determines where the footer begins; its length and the magic bytes are added.
    let Some((at, bytes)) = bytes.split_first() else {
        return;
    };
    let (pages, footer) = bytes.split_at(bytes.len() * usize::from(*at) / 255);
    let length = (footer.len() as u32).to_le_bytes();
    let file = [b"PAR1", pages, footer, &length, b"PAR1"].concat();
    data::explore(&[("a.parquet", &file)], "a.parquet");
});
