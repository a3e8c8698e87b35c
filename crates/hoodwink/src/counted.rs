//! Counts of things in sentences.

/// Formats a count: `1 picture`, `2 pictures`, `1 class`, `0 classes`.
pub fn counted(count: usize, one: &str, several: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        _ => format!("{count} {several}"),
    }
}

/// Formats `3 pictures`.
pub(crate) fn pictures(count: usize) -> String {
    counted(count, "picture", "pictures")
}

/// Formats `1 of 3 pictures is missing`.
pub(crate) fn missing(count: usize, of: usize) -> String {
    let are = if count == 1 { "is" } else { "are" };
    format!("{count} of {} {are} missing", pictures(of))
}

/// Formats `1 channel`.
pub(crate) fn channels(count: usize) -> String {
    counted(count, "channel", "channels")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_singular() {
        for (count, expected) in [(0, "0 pictures"), (1, "1 picture"), (2, "2 pictures")] {
            assert_eq!(pictures(count), expected);
        }
        assert_eq!(counted(1, "class", "classes"), "1 class");
        assert_eq!(missing(1, 3), "1 of 3 pictures is missing");
        assert_eq!(missing(1, 1), "1 of 1 picture is missing");
        assert_eq!(missing(2, 3), "2 of 3 pictures are missing");
        assert_eq!(channels(1), "1 channel");
    }
}
