//! Addresses on the Internet in place of files: nothing is downloaded, and the command that does it is told.

use std::path::Path;

use crate::{Error, Result, legible};

/// Endings of files that nobody serves as an answer to a question.
const FILES: [&str; 19] = [
    ".onnx",
    ".pt",
    ".pth",
    ".safetensors",
    ".h5",
    ".keras",
    ".tflite",
    ".pb",
    ".bin",
    ".zip",
    ".gz",
    ".tar",
    ".npy",
    ".npz",
    ".png",
    ".jpg",
    ".jpeg",
    ".parquet",
    ".csv",
];

/// Refuses an address in place of a path.
pub(crate) fn refuse(path: &Path) -> Result<()> {
    let text = path.to_string_lossy();
    let Some((scheme, rest)) = text.split_once(":/") else {
        return Ok(());
    };
    let is_scheme = scheme.len() > 1
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    if !is_scheme || path.exists() {
        return Ok(());
    }
    // Joining paths may have taken a slash.
    let rest = rest.trim_start_matches('/');
    let url = format!("{scheme}://{rest}");
    let way = match scheme {
        "http" | "https" => download(&url),
        "file" => format!("name the file itself: /{rest}"),
        _ => "copy it to this machine and name the copy".to_owned(),
    };
    Err(Error::invalid(format!(
        "nothing is downloaded: {} is no file here; {}",
        legible::name(&url),
        legible::line(&way)
    )))
}

/// The command that downloads a file.
pub(crate) fn download(url: &str) -> String {
    // The page about a file is not the file.
    let url = match (url.contains("huggingface.co/"), url.contains("github.com/")) {
        (true, _) => url.replacen("/blob/", "/resolve/", 1),
        (_, true) => url.replacen("/blob/", "/raw/", 1),
        _ => url.to_owned(),
    };
    let quoted = shlex::try_quote(&url).map_or_else(|_| url.clone(), Into::into);
    format!("download it first: curl -L -O {quoted}")
}

/// Whether a URL is that of a file, by its ending.
pub(crate) fn is_of_file(url: &str) -> bool {
    let path = url
        .split(['?', '#'])
        .next()
        .unwrap_or_default()
        .to_lowercase();
    FILES.iter().any(|ending| path.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_refused_with_the_way_on() {
        for (address, says) in [
            (
                "https://example.org/a.png",
                "download it first: curl -L -O https://example.org/a.png",
            ),
            (
                "https://huggingface.co/a/b/blob/main/model.onnx",
                "https://huggingface.co/a/b/resolve/main/model.onnx",
            ),
            (
                "https://github.com/a/b/blob/main/m.onnx",
                "github.com/a/b/raw/main/m.onnx",
            ),
            ("file:///data/a.png", "name the file itself: /data/a.png"),
            ("s3://bucket/a.npy", "copy it to this machine"),
        ] {
            let error = refuse(Path::new(address)).unwrap_err().to_string();
            assert!(
                error.starts_with("nothing is downloaded: ") && error.contains(says),
                "{error}"
            );
        }
        for path in [
            "a.png",
            "scenes:count=3",
            "C:/a.png",
            "folder/a:b/c",
            "cmd:./serve",
        ] {
            assert!(refuse(Path::new(path)).is_ok(), "{path}");
        }
        assert!(is_of_file("https://example.org/m.ONNX?download=true"));
        assert!(!is_of_file("http://localhost:8000/predict"));
    }
}
