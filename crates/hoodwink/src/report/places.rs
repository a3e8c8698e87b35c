//! Removes the folders of the machine that wrote a report from the paths in it.

/// Shortens every absolute path in a text to its last component. Network addresses do not change.
pub(super) fn without_folders(text: &str) -> String {
    cut(text, |c| c.is_whitespace() || "\"'(),;=".contains(c))
}

/// Returns a path or address as the page shows it: absolute paths are shortened to their last component.
pub(super) fn place(path: &str) -> String {
    cut(path, |c| ",=".contains(c))
}

/// Returns a command line with its paths shortened.
pub(super) fn command(line: &str) -> String {
    let words = match shlex::split(line) {
        Some(words) => words,
        None => return without_folders(line),
    };
    let words = words.iter().map(|word| quoted(&place(word)));
    words.collect::<Vec<_>>().join(" ")
}

/// Quotes a word as for a shell.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:%+@".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        // A word with a zero byte cannot come from a command line.
        false => shlex::try_quote(word).map_or_else(|_| word.to_owned(), Into::into),
    }
}

/// Shortens every absolute path, which begins after a delimiter or `:` and ends at the next delimiter.
fn cut(text: &str, is_mark: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = None;
    while let Some(first) = rest.chars().next() {
        let begins = before.is_none_or(|c| is_mark(c) || c == ':');
        if begins && is_absolute(rest) {
            let end = rest.find(&is_mark).unwrap_or(rest.len());
            let path = rest[..end].trim_end_matches(['/', '\\']);
            shown.push_str(path.rsplit(['/', '\\']).next().unwrap_or_default());
            before = path.chars().next_back();
            rest = &rest[end..];
            continue;
        }
        shown.push(first);
        before = Some(first);
        rest = &rest[first.len_utf8()..];
    }
    shown
}

/// Returns whether text begins with an absolute path, of this system or another.
fn is_absolute(text: &str) -> bool {
    let bytes = text.as_bytes();
    let drive = bytes.len() > 2
        && bytes[0].is_ascii_alphabetic()
        && bytes[1] == b':'
        && matches!(bytes[2], b'/' | b'\\')
        // `http://` is not a drive letter.
        && bytes.get(3) != Some(&b'/');
    let root = text.starts_with('/') && text.len() > 1 && !text.starts_with("//");
    root && !text.starts_with("/ ") || drive || text.starts_with("\\\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absolute_paths_lose_their_folders_and_nothing_else_changes() {
        for (path, shown) in [
            ("/home/me/model.onnx", "model.onnx"),
            ("/home/me/my model.onnx", "my model.onnx"),
            ("/home/me/photos/", "photos"),
            ("runs/model.onnx", "runs/model.onnx"),
            ("C:\\Users\\me\\model.onnx", "model.onnx"),
            ("\\\\server\\share\\x.npy", "x.npy"),
            (
                "http://localhost:8000/predict",
                "http://localhost:8000/predict",
            ),
            ("cmd:/home/me/serve.py", "cmd:serve.py"),
            ("scenes:count=100,side=64", "scenes:count=100,side=64"),
            ("8/255", "8/255"),
            ("/", "/"),
        ] {
            assert_eq!(place(path), shown, "{path}");
        }
        let saw = "the same picture: /data/a b.png as 1 and (/data/c.png) at 8/255; 5 / 6";
        let shown = "the same picture: a b.png as 1 and (c.png) at 8/255; 5 / 6";
        assert_eq!(without_folders(saw), shown);
    }

    #[test]
    fn a_command_keeps_its_words() {
        let line =
            "hoodwink attack '/home/me/my model.onnx' x.npy --labels=/data/y.npy --eps 8/255";
        let shown = "hoodwink attack 'my model.onnx' x.npy --labels=y.npy --eps 8/255";
        assert_eq!(command(line), shown);
        assert_eq!(command("hoodwink 'a & b'"), "hoodwink 'a & b'");
    }
}
