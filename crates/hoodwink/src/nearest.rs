//! The name that a mistyped one may stand for.

use crate::error::Error;

/// The known name nearest to what was typed, if there is one that it may stand for.
///
/// Of a long name the beginning will do: people shorten names.
pub fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    let length = typed.chars().count();
    let distance = |known: &str| {
        let beginning: String = known.chars().take(length).collect();
        (edits(&beginning, &typed), edits(known, &typed))
    };
    let known = known.into_iter().map(|name| (distance(name), name));
    let (distance, name) = known.min_by_key(|(distance, _)| *distance)?;
    (distance.0 <= 1 + length / 3).then_some(name)
}

/// The end of a message about something unknown: `; did you mean pgd?`, or nothing.
pub fn did_you_mean<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(typed, known).map_or_else(String::new, |name| format!("; did you mean {name}?"))
}

/// The error that `typed` is none of the known words of `what`.
pub(crate) fn unknown(what: &str, typed: &str, known: &[&str]) -> Error {
    let words = match known {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        _ => known.concat(),
    };
    let meant = did_you_mean(typed, known.iter().copied());
    Error::invalid(format!("{what} {typed:?} is not {words}{meant}"))
}

/// Levenshtein distance: how many characters must be inserted, removed or replaced to turn `a` into `b`.
pub fn edits(a: &str, b: &str) -> usize {
    // The distances of one beginning of `a` to all beginnings of `b`.
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, a) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in b.chars().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[row.len() - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_the_known_ones() {
        for (a, b, distance) in [
            ("kitten", "sitting", 3),
            ("", "abc", 3),
            ("flaw", "lawn", 2),
            ("same", "same", 0),
        ] {
            assert_eq!((edits(a, b), edits(b, a)), (distance, distance));
        }
    }

    #[test]
    fn what_is_like_nothing_known_stands_for_nothing() {
        let known = ["margin", "dlr", "two-term", "torchvision-inception"];
        for (typed, expected) in [
            ("marign", Some("margin")),
            ("Margin", Some("margin")),
            ("dl", Some("dlr")),
            ("twoterm", Some("two-term")),
            ("torchvison-inc", Some("torchvision-inception")),
            ("hinge", None),
        ] {
            assert_eq!(nearest(typed, known), expected, "{typed}");
        }
        assert_eq!(nearest("a", []), None);
    }

    #[test]
    fn unknown_words_are_told_with_the_known_ones() {
        for (known, says) in [
            (
                &["adam", "sgd"][..],
                "rule \"adm\" is not adam or sgd; did you mean adam?",
            ),
            (&["one"], "rule \"adm\" is not one"),
        ] {
            assert_eq!(unknown("rule", "adm", known).to_string(), says);
        }
    }
}
