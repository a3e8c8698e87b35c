//! The only way to stdout and stderr: text from files never reaches a terminal unescaped.
//!
//! There are two layers of protection. All output is escaped, so no character can control the terminal, change the
//! direction of text or hide; JSON and TOML keep their meaning. And each message on stderr is one line of bounded
//! length, so a file name cannot add lines of its own.

#![expect(
    clippy::disallowed_methods,
    reason = "the rest of the program must use the escaping functions in this file"
)]

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    ffi::OsString,
    fmt::Display,
    io::{self, IsTerminal as _, StdoutLock, Write},
    mem, panic,
};

use clap::Command;
use hoodwink::{legible, panics};
use indicatif::{ProgressBar, ProgressDrawTarget};

/// The maximum number of notes to print.
const NOTES: usize = 20;

/// Returns an escaping writer to standard output.
pub(crate) fn out() -> Escaping<StdoutLock<'static>> {
    Escaping {
        to: io::stdout().lock(),
        begun: Vec::new(),
    }
}

/// Prints a line on stderr. Errors are ignored: nothing can be done about a closed stderr.
pub(crate) fn complain(line: &str) {
    complain_lines(&legible::line(line));
}

/// Prints lines on stderr that are already legible.
pub(crate) fn complain_lines(lines: &str) {
    // Written in one call so that lines of different threads do not mix.
    let lines = format!("{}\n", legible::escaped(lines));
    let _ = io::stderr().write_all(lines.as_bytes());
}

/// Prints notes, one per line, up to a maximum.
pub(crate) fn note(notes: impl IntoIterator<Item: Display>) {
    first_of(notes).iter().for_each(|note| complain(note));
}

fn first_of(notes: impl IntoIterator<Item: Display>) -> Vec<String> {
    let mut notes = notes.into_iter();
    let first = notes.by_ref().take(NOTES);
    let mut lines: Vec<String> = first.map(|note| format!("note: {note}")).collect();
    match notes.count() {
        0 => {}
        1 => lines.push("note: and 1 more note".to_owned()),
        more => lines.push(format!("note: and {more} more notes")),
    }
    lines
}

/// Red, green and blue.
pub(crate) type Colour = [u8; 3];

/// Tells whether stdout is a terminal with 24-bit colours and colours are not disabled (<https://no-color.org>).
pub(crate) fn shows_colours() -> bool {
    let set = |name: &str| std::env::var(name).unwrap_or_default();
    let is_set = |name: &str| !set(name).is_empty();
    let any = |name: &str, words: &[&str]| {
        let value = set(name).to_lowercase();
        words.iter().any(|word| value.contains(word))
    };
    let knows = any("COLORTERM", &["truecolor", "24bit"])
        || any("TERM", &["kitty", "ghostty", "alacritty", "foot", "direct"])
        || any("TERM_PROGRAM", &["iterm", "wezterm", "vscode", "ghostty"])
        || is_set("WT_SESSION");
    io::stdout().is_terminal() && knows && !is_set("NO_COLOR") && set("TERM") != "dumb"
}

/// Tells whether stderr is a terminal.
pub(crate) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// Creates a progress bar on stderr. Its prefix and messages must be legible.
pub(crate) fn bar() -> ProgressBar {
    ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr())
}

/// Prints the answer of `command` to a line: help, or an error that quotes the line.
pub(crate) fn tell(answer: &clap::Error, command: &Command, line: &[OsString]) {
    let words = line.iter().map(|word| word.to_string_lossy());
    let legible: Vec<String> = words.clone().map(|word| legible::name(&word)).collect();
    // A closed stream is ignored.
    let printed = |answer: &clap::Error| {
        let _ = answer.print();
    };
    if words.eq(legible.iter().map(String::as_str)) {
        return printed(answer);
    }
    // The line is parsed again with legible words, which gives the same answer.
    match command.clone().try_get_matches_from(&legible) {
        Err(same) if same.kind() == answer.kind() => printed(&same),
        _ if answer.use_stderr() => complain(&answer.to_string()),
        _ => {
            let _ = write!(out(), "{answer}");
        }
    }
}

/// Limits the message of a panic, which is a bug in this program, to one legible line.
pub(crate) fn tell_panics() {
    panic::set_hook(Box::new(|panicked| {
        if panics::are_caught() {
            return;
        }
        complain(&panicked.to_string());
        let trace = Backtrace::capture();
        if trace.status() == BacktraceStatus::Captured {
            complain_lines(&trace.to_string());
        }
    }));
}

/// A writer that escapes its input.
pub(crate) struct Escaping<W> {
    to: W,
    /// The first bytes of an unfinished character.
    begun: Vec<u8>,
}

impl<W: Write> Escaping<W> {
    /// Writes a line of characters, each with the colours of its upper and lower half. These are the only terminal
    /// commands that are written.
    pub(crate) fn paint(&mut self, line: &[(Option<Colour>, Option<Colour>)]) -> io::Result<()> {
        for (upper, lower) in line {
            let mut place = String::new();
            for (colour, layer) in [(upper, 38), (lower, 48)] {
                if let Some([red, green, blue]) = colour {
                    place.push_str(&format!("\x1b[{layer};2;{red};{green};{blue}m"));
                }
            }
            place.push(if upper.is_some() { '▀' } else { ' ' });
            place.push_str("\x1b[0m");
            self.to.write_all(place.as_bytes())?;
        }
        self.to.write_all(b"\n")
    }
}

impl<W: Write> Write for Escaping<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut all = mem::take(&mut self.begun);
        all.extend_from_slice(bytes);
        let mut chunks = all.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            self.to
                .write_all(legible::escaped(chunk.valid()).as_bytes())?;
            let is_unfinished =
                |bytes| str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none());
            match chunk.invalid() {
                [] => {}
                rest if chunks.peek().is_none() && is_unfinished(rest) => {
                    self.begun = rest.to_vec()
                }
                _ => write!(self.to, "{}", char::REPLACEMENT_CHARACTER)?,
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(parts: &[&[u8]]) -> String {
        let mut out = Escaping {
            to: Vec::new(),
            begun: Vec::new(),
        };
        for part in parts {
            out.write_all(part).unwrap();
        }
        String::from_utf8(out.to).unwrap()
    }

    #[test]
    fn places_have_two_colours() {
        let mut out = Escaping {
            to: Vec::new(),
            begun: Vec::new(),
        };
        let (red, blue) = (Some([255, 0, 0]), Some([0, 0, 255]));
        out.paint(&[(red, blue), (None, None), (red, None)])
            .unwrap();
        let expected =
            "\x1b[38;2;255;0;0m\x1b[48;2;0;0;255m▀\x1b[0m \x1b[0m\x1b[38;2;255;0;0m▀\x1b[0m\n";
        assert_eq!(String::from_utf8(out.to).unwrap(), expected);
    }

    #[test]
    fn of_many_notes_the_first_are_told() {
        for (count, lines, last) in [
            (1, 1, "note: 0"),
            (20, 20, "note: 19"),
            (21, 21, "note: and 1 more note"),
            (20_000, 21, "note: and 19980 more notes"),
        ] {
            let told = first_of(0..count);
            assert_eq!((told.len(), told.last().unwrap().as_str()), (lines, last));
        }
    }

    #[test]
    fn what_is_written_is_escaped_however_it_is_cut() {
        let bytes = "a\u{1b}[31m\n\tß\u{202e}犬\u{e0041}".as_bytes();
        let expected = "a\\u001b[31m\n\tß\\u202e犬\\udb40\\udc41";
        for at in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(at);
            assert_eq!(written(&[head, tail]), expected, "{at}");
        }
        let bytes: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(written(&bytes), expected);
        for (bytes, expected) in [
            (&b"a\xffb\xc3"[..], "a\u{fffd}b"),
            (b"\xe2\x80x", "\u{fffd}x"),
            (b"\x9b31m", "\u{fffd}31m"),
        ] {
            assert_eq!(written(&[bytes]), expected);
        }
    }
}
