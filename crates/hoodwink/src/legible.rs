//! Makes text from files safe to show in messages.
//!
//! A name in a file is untrusted. It may contain terminal control characters, characters that reverse the writing
//! direction, invisible characters, line breaks that split a message in two, or megabytes of text.

use std::borrow::Cow;

/// The maximum length of a name, in characters.
const NAME: usize = 200;

/// The maximum length of a sentence, in characters.
const LINE: usize = 2_000;

/// The maximum number of names in a list.
const LISTED: usize = 10;

/// Escapes a name for use within a line, and shortens long names in the middle.
pub fn name(text: &str) -> String {
    within(text, NAME)
}

/// Escapes a sentence with names in the same way, with a higher limit.
pub fn line(text: &str) -> String {
    within(text.trim_end_matches('\n'), LINE)
}

/// Joins names with commas. Shows the first few names of a long list and the number of the others.
pub fn names(all: impl IntoIterator<Item: AsRef<str>>) -> String {
    let mut all = all.into_iter();
    let first: Vec<String> = all
        .by_ref()
        .take(LISTED)
        .map(|one| name(one.as_ref()))
        .collect();
    match all.count() {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

/// Escapes every character that a terminal would not show as `\u` and four digits of UTF-16, as JSON does. Line breaks
/// and tabs stay.
pub fn escaped(text: &str) -> Cow<'_, str> {
    if text
        .chars()
        .all(|c| is_shown(c) || matches!(c, '\n' | '\t'))
    {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' | '\t' => safe.push(c),
            _ => push(&mut safe, c),
        }
    }
    Cow::Owned(safe)
}

/// Describes an error in a TOML file without the quoted excerpt.
pub fn of_toml(error: &toml::de::Error) -> String {
    let said = error.to_string();
    let place = said.lines().next();
    match place.and_then(|first| first.strip_prefix("TOML parse error at ")) {
        Some(place) => format!("{place}: {}", error.message()),
        None => error.message().to_owned(),
    }
}

/// Returns whether the character is visible and does not affect its neighbours.
fn is_shown(c: char) -> bool {
    !c.is_control()
        && !matches!(
            c,
            // The soft hyphen, direction marks, joiners, fillers and zero-width spaces.
            '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
                // Line separators, direction overrides and isolates, invisible operators.
                | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
                // Annotations and tags.
                | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

/// Escapes a text and shortens it to `most` characters. States the original length if it was shortened.
pub(crate) fn within(text: &str, most: usize) -> String {
    let mut safe = String::new();
    // A character has at most four bytes. Most texts are short, so they need not be counted.
    let count = match text.len() <= most {
        true => 0,
        false => text.chars().count(),
    };
    if count <= most {
        text.chars().for_each(|c| push(&mut safe, c));
        return safe;
    }
    let tail = most / 4;
    for c in text.chars().take(most - tail) {
        push(&mut safe, c);
    }
    safe.push('…');
    for c in text.chars().skip(count - tail) {
        push(&mut safe, c);
    }
    safe + &format!(" ({count} characters)")
}

fn push(safe: &mut String, c: char) {
    match c {
        '\n' => safe.push_str("\\n"),
        '\r' => safe.push_str("\\r"),
        '\t' => safe.push_str("\\t"),
        c if is_shown(c) => safe.push(c),
        c => {
            for unit in c.encode_utf16(&mut [0; 2]) {
                safe.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_or_hides_is_escaped() {
        for (text, in_a_line) in [
            (
                "Großer Tümmler, 犬, नी, e\u{301}, 🐈\u{fe0f}",
                "Großer Tümmler, 犬, नी, e\u{301}, 🐈\u{fe0f}",
            ),
            ("C:\\a", "C:\\a"),
            ("\u{1b}[31m\u{7}", "\\u001b[31m\\u0007"),
            ("\u{9b}2J\u{7f}\0", "\\u009b2J\\u007f\\u0000"),
            ("a\u{202e}gnp.exe\u{2066}", "a\\u202egnp.exe\\u2066"),
            ("\u{e0041}", "\\udb40\\udc41"),
            ("a\r\nerror: b\tc", "a\\r\\nerror: b\\tc"),
        ] {
            assert_eq!(line(text), in_a_line);
            assert_eq!(name(text), in_a_line);
        }
        assert_eq!((line("a\n"), name("a\n")), ("a".into(), "a\\n".into()));
        assert_eq!(escaped("a\r\nb\tc"), "a\\r\nb\tc");
        assert!(matches!(escaped("a\nb"), Cow::Borrowed(_)));
    }

    #[test]
    fn what_is_escaped_means_the_same_in_json() {
        let all: String = ('\u{80}'..=char::MAX).filter(|&c| !is_shown(c)).collect();
        assert!(all.chars().count() > 190);
        let written = serde_json::to_string(&format!("\\{all}\u{7f}\"\0")).unwrap();
        let safe = escaped(&written);
        assert!(safe.is_ascii());
        let read: String = serde_json::from_str(&safe).unwrap();
        assert_eq!(read, format!("\\{all}\u{7f}\"\0"));
    }

    #[test]
    fn long_texts_and_lists_are_cut() {
        assert_eq!(name(&"é".repeat(NAME)), "é".repeat(NAME));
        let long = format!("begins{}ends", "\u{1b}".repeat(3 << 20));
        for (short, most) in [(name(&long), NAME), (line(&long), LINE)] {
            assert!(short.starts_with("begins\\u001b"), "{short}");
            assert!(short.ends_with("ends (3145738 characters)"), "{short}");
            assert!(short.len() < 7 * most);
        }
        let many = |count: usize| names((0..count).map(|at| at.to_string()));
        assert_eq!(many(3), "0, 1, 2");
        assert_eq!(many(3_000), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2990 more");
        assert_eq!(names([] as [&str; 0]), "");
    }

    #[test]
    fn an_error_in_toml_is_one_line() {
        for (text, says) in [
            ("a = 1\nb", "line 2, column 2: "),
            ("c = 'x'", "line 1, column 5: invalid type"),
        ] {
            let error =
                toml::from_str::<std::collections::BTreeMap<String, i64>>(text).unwrap_err();
            let said = of_toml(&error);
            assert!(said.starts_with(says) && !said.contains('\n'), "{said}");
        }
    }
}
