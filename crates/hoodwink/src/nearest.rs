//! Suggestions for mistyped names.

use strsim::osa_distance;

use crate::{error::Error, legible};

/// The maximum length of a typed name in bytes. The time of a comparison grows with it, and every name here is shorter.
const LONGEST: usize = 100;

/// Returns the known name nearest to what was typed, if it is close enough to be meant.
///
/// Also compares with the beginning of long names, because people shorten names.
pub fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if typed.len() > LONGEST {
        return None;
    }
    let typed = typed.to_lowercase();
    let length = typed.chars().count();
    let distance = |known: &str| {
        let beginning: String = known.chars().take(length).collect();
        // Two swapped letters count as one mistake.
        (
            osa_distance(&beginning, &typed),
            osa_distance(known, &typed),
        )
    };
    let known = known.into_iter().map(|name| (distance(name), name));
    let (distance, name) = known.min_by_key(|(distance, _)| *distance)?;
    (distance.0 <= 1 + length / 3).then_some(name)
}

/// Returns the end of an error about an unknown name, `; did you mean pgd?`, or an empty string.
pub fn did_you_mean<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(typed, known).map_or_else(String::new, |name| format!("; did you mean {name}?"))
}

/// Returns the error that `typed` is not one of the known words for `what`.
pub(crate) fn unknown(what: &str, typed: &str, known: &[&str]) -> Error {
    let words = match known {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        _ => known.concat(),
    };
    let meant = did_you_mean(typed, known.iter().copied());
    Error::invalid(format!(
        "{what} {:?} is not {words}{meant}",
        legible::name(typed)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

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
            (&"margin".repeat(1 << 20), None),
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
