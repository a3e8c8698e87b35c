//! What a file says, short enough for a sentence.

/// Characters that are quoted of a text from a file.
const MAX_CHARS: usize = 100;

/// A text from a file as a message quotes it: as it is, or its beginning if it is long.
pub(crate) fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_CHARS) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}

/// The first of some names, each shortened, parted by commas.
pub(crate) fn first_few<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const TOLD: usize = 8;
    let mut told: Vec<String> = names.into_iter().take(TOLD + 1).map(shortened).collect();
    if told.len() > TOLD {
        told[TOLD] = "...".to_owned();
    }
    told.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_is_cut_between_characters() {
        assert_eq!(shortened("cat"), "cat");
        let cut = shortened(&"ä".repeat(1 << 20));
        assert_eq!(cut, format!("{}...", "ä".repeat(100)));
        assert_eq!(first_few(["a", "b"]), "a, b");
        assert_eq!(first_few(vec!["a"; 1000]), "a, a, a, a, a, a, a, a, ...");
    }
}
