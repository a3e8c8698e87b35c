//! Reads any text as a file pattern.

#![no_main]

mod data;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // Searches the target's own files only, not those of the machine: no name may start with a dot, as `..` does.
    let mut before = '/';
    let leaves = text.chars().any(|c| {
        let begins = matches!(before, '/' | '{' | '}' | ',');
        before = c;
        c == '.' && begins
    });
    if !text.starts_with('/') && !leaves {
        data::explore(
            &[("a.png", b""), ("b/a.png", b""), ("b/c/01.png", b"")],
            text,
        );
    }
});
