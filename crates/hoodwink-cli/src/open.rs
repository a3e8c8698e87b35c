//! `--open`: the report in whatever the user's system shows web pages with.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use crate::{args::text, terminal::complain};

/// Opens a page; that it cannot be opened is told, and no error.
pub(crate) fn open(page: &Path) {
    // Relative paths would be looked for elsewhere by some programs.
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
            "note: {program} cannot open {} ({error}); open it in a browser",
            text(&page)
        ));
    }
}
