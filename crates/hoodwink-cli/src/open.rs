//! `--open`: shows the report in the default web browser.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use crate::{args::text, terminal::complain};

/// Opens a page. If that fails, prints a note but returns no error.
pub(crate) fn open(page: &Path) {
    // Some programs resolve relative paths against another folder.
    let page = page.canonicalize().unwrap_or_else(|_| page.to_owned());
    let program = match std::env::consts::OS {
        "macos" => "open",
        "windows" => "explorer",
        _ => "xdg-open",
    };
    let started = Command::new(program)
        .arg(&page)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if let Err(error) = started {
        complain(&format!(
            "note: {program} could not open {} ({error}); open it in a browser",
            text(&page)
        ));
    }
}
