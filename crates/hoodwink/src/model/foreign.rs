//! Recognises a model argument that is not an ONNX file, and says how to make an ONNX file of it.
//!
//! The contents decide. The name matters only if the contents are ambiguous.

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom},
    path::Path,
};

use crate::{Error, Result, files, legible};

/// The number of bytes that are read from the beginning and from the end of a file.
const HEAD: u64 = 1 << 16;
const TAIL: u64 = 1 << 18;

/// The number of characters of a text that are shown.
const SHOWN: usize = 60;

/// What a file is, and what to do about it.
struct Foreign {
    is: String,
    way: String,
}

impl Foreign {
    fn new(is: impl Into<String>, way: impl Into<String>) -> Option<Self> {
        let (is, way) = (is.into(), way.into());
        Some(Self { is, way })
    }
}

/// Refuses a file that cannot be ONNX, and says what it is and how to make an ONNX file of it. Accepts a file that may
/// be ONNX, or that cannot be read, so that its reader can report the error.
///
/// # Errors
/// [`Error::Unsupported`] for a model in another format, [`Error::Invalid`] for anything that is not a model, or only
/// part of one.
pub fn refuse(path: &Path) -> Result<()> {
    files::refuse_url(path)?;
    if path.is_dir() {
        return match of_folder(path) {
            Some(found) => Err(Error::unsupported(told(path, &found))),
            None => Ok(()),
        };
    }
    if let Some(way) = of_hub(path) {
        return Err(Error::invalid(format!(
            "{} does not exist here, and nothing is downloaded; {way}",
            legible::name(&path.display().to_string())
        )));
    }
    // The reader of the file reports what is wrong with it.
    let Ok(bytes) = Ends::read(path) else {
        return Ok(());
    };
    if let Some(found) = other_model(path, &bytes) {
        return Err(Error::unsupported(told(path, &found)));
    }
    match no_model(path, &bytes) {
        Some(found) => Err(Error::invalid(told(path, &found))),
        None => Ok(()),
    }
}

fn told(path: &Path, Foreign { is, way }: &Foreign) -> String {
    format!(
        "{} is {is}; {way}",
        legible::name(&path.display().to_string())
    )
}

/// Returns the export command for a path that looks like a Hugging Face model name (owner and name) and is not a
/// folder.
fn of_hub(path: &Path) -> Option<String> {
    let text = path.to_str()?;
    let (owner, name) = text.split_once('/')?;
    let is_plain = |part: &str| {
        let mut bytes = part.bytes();
        !part.is_empty() && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    let is_name =
        is_plain(owner) && is_plain(name) && !owner.contains('.') && !name.ends_with(".onnx");
    if !is_name || path.exists() || Path::new(owner).exists() {
        return None;
    }
    Some(match owner {
        "timm" => torch(
            &format!("import timm; model = timm.create_model('{name}', pretrained=True)"),
            &Path::new(name).with_extension("onnx"),
            "",
        ),
        _ => format!(
            "if it is a model on Hugging Face, export it with: optimum-cli export onnx --model {text} {name}"
        ),
    })
}

/// Both ends of a file.
struct Ends {
    length: u64,
    head: Vec<u8>,
    tail: Vec<u8>,
}

impl Ends {
    fn read(path: &Path) -> Result<Self> {
        let mut file = files::open(path)?;
        let length = file.metadata().map_err(Error::io(path))?.len();
        let part = |file: &mut File, from: u64, most: u64| {
            let mut bytes = Vec::new();
            let read = file
                .seek(SeekFrom::Start(from))
                .and_then(|_| file.take(most).read_to_end(&mut bytes));
            read.map_err(Error::io(path)).map(|_| bytes)
        };
        Ok(Self {
            length,
            head: part(&mut file, 0, HEAD)?,
            tail: part(&mut file, length.saturating_sub(TAIL), TAIL)?,
        })
    }

    fn starts(&self, with: &[u8]) -> bool {
        self.head.starts_with(with)
    }

    /// Whether a zip archive has an entry with this text in its name. The names are at its end.
    fn has_entry(&self, name: &str) -> bool {
        holds(&self.tail, name.as_bytes()) || holds(&self.head, name.as_bytes())
    }

    /// Returns the beginning of a text file.
    fn text(&self) -> Option<&str> {
        let text = match str::from_utf8(&self.head) {
            Ok(text) => text,
            // The head may end within a character.
            Err(error) if error.error_len().is_none() => {
                str::from_utf8(&self.head[..error.valid_up_to()]).ok()?
            }
            Err(_) => return None,
        };
        let text = text.trim_start_matches('\u{feff}').trim_start();
        let is_text = |c: char| !c.is_control() || c.is_whitespace();
        (!text.is_empty() && text.chars().all(is_text)).then_some(text)
    }
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Returns the name of the ONNX file to create.
fn onnx_name(path: &Path) -> String {
    let name = path.with_extension("onnx");
    let name = name.file_name().unwrap_or_default();
    quoted(&name.to_string_lossy())
}

/// Quotes a word for a POSIX shell.
fn quoted(word: &str) -> String {
    shlex::try_quote(word).map_or_else(|_| word.to_owned(), Into::into)
}

fn ending(path: &Path) -> String {
    let ending = path.extension().unwrap_or_default();
    ending.to_string_lossy().to_lowercase()
}

/// Returns the `tf2onnx` command with this option.
fn tensorflow(option: &str, path: &Path) -> String {
    let from = quoted(&path.display().to_string());
    format!(
        "convert it with: python -m tf2onnx.convert --{option} {from} --output {}",
        onnx_name(path)
    )
}

fn torch(load: &str, path: &Path, how: &str) -> String {
    let onnx = path.with_extension("onnx");
    let onnx = onnx.file_name().unwrap_or_default().to_string_lossy();
    format!(
        "export it with: python -c \"import torch; {load}; torch.onnx.export(model.eval(), torch.zeros(1, 3, 224, 224), \
         '{onnx}'{how})\", with the shape of the model's own pictures"
    )
}

/// Recognises a model in another format.
fn other_model(path: &Path, bytes: &Ends) -> Option<Foreign> {
    let file = path.display();
    let pickled = || {
        let load = format!("model = MyNet(); model.load_state_dict(torch.load('{file}'))");
        Foreign::new(
            "a PyTorch file of weights, without their network",
            torch(&load, path, ""),
        )
    };
    if bytes.starts(b"PK\x03\x04") {
        if bytes.has_entry("data.pkl") && bytes.has_entry("/code/") {
            let load = format!("model = torch.jit.load('{file}')");
            return Foreign::new("a TorchScript model", torch(&load, path, ", dynamo=False"));
        }
        if bytes.has_entry("archive_format") || bytes.has_entry("models/model.json") {
            let load = format!("model = torch.export.load('{file}').module()");
            return Foreign::new("a torch.export program", torch(&load, path, ""));
        }
        if bytes.has_entry("data.pkl") {
            return pickled();
        }
        if bytes.has_entry("model.weights.h5") {
            return Foreign::new("a Keras model", tensorflow("keras", path));
        }
    }
    // The magic number that torch.save pickled before it wrote zip archives.
    if bytes.starts(b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19") {
        return pickled();
    }
    if bytes.starts(b"\x89HDF\r\n\x1a\n") {
        return Foreign::new(
            "an HDF5 file, as Keras writes models",
            tensorflow("keras", path),
        );
    }
    let header = bytes
        .head
        .get(..8)
        .and_then(|first| <[u8; 8]>::try_from(first).ok());
    if header.is_some_and(|first| u64::from_le_bytes(first) < bytes.length)
        && bytes.head.get(8) == Some(&b'{')
    {
        return Foreign::new(
            "a safetensors file: weights, without their network",
            safetensors(path),
        );
    }
    match bytes.head.get(4..8) {
        Some(b"TFL3") => {
            return Foreign::new("a TensorFlow Lite model", tensorflow("tflite", path));
        }
        Some(b"ORTM") => {
            return Foreign::new(
                "a model in ONNX Runtime's own format (ORT)",
                "it cannot be converted back: use the ONNX file that it was made from",
            );
        }
        _ => {}
    }
    if ["ftrt", "ptrt"]
        .iter()
        .any(|magic| bytes.starts(magic.as_bytes()))
        || matches!(&*ending(path), "engine" | "trt" | "plan")
            && bytes.length > 0
            && !begins_as_onnx(&bytes.head)
    {
        return Foreign::new(
            "a TensorRT engine, compiled for one kind of GPU",
            "it cannot be converted back: use the ONNX file that it was built from (trtexec --onnx=FILE)",
        );
    }
    if bytes.starts(b"GGUF") {
        return Foreign::new(
            "a GGUF file of a language model",
            "it is not a picture classifier",
        );
    }
    if let Some(text) = bytes.text() {
        let is_openvino =
            text.starts_with("<?xml") && text.contains("<net ") || text.starts_with("<net ");
        if is_openvino {
            return Foreign::new(
                "an OpenVINO model (IR)",
                "it cannot be converted back: use the model that it was converted from, before ovc or mo",
            );
        }
    }
    let is_empty = bytes.length == 0;
    match &*ending(path) {
        "mlmodel" if !is_empty => Foreign::new(
            "a Core ML model",
            "it cannot be converted back: export the model that it was converted from, with torch.onnx.export or tf2onnx",
        ),
        "pb" if !is_empty
            && path
                .file_name()
                .is_some_and(|name| name == "saved_model.pb") =>
        {
            let folder = path.parent().filter(|folder| *folder != Path::new(""));
            let folder = folder.unwrap_or(Path::new("."));
            Foreign::new(
                "the graph of a TensorFlow SavedModel",
                tensorflow("saved-model", folder),
            )
        }
        "pb" if !is_empty && !begins_as_onnx(&bytes.head) => Foreign::new(
            "a frozen TensorFlow graph, judging by its name",
            format!(
                "{} --inputs INPUT:0 --outputs OUTPUT:0",
                tensorflow("graphdef", path)
            ),
        ),
        "caffemodel" | "prototxt" | "pdmodel" | "pdiparams" | "params" | "param"
            if !is_empty && !begins_as_onnx(&bytes.head) =>
        {
            Foreign::new(
                "a Caffe, Paddle, MXNet or ncnn model, judging by its name",
                "export it as ONNX with the tools of its framework",
            )
        }
        _ if bytes.starts(b"\x80") && bytes.tail.ends_with(b".") => Foreign::new(
            "a Python pickle",
            "if it is a scikit-learn model: python -c \"import joblib, skl2onnx; model = joblib.load('FILE'); \
                 open('model.onnx', 'wb').write(skl2onnx.to_onnx(model, X[:1]).SerializeToString())\"",
        ),
        _ => None,
    }
}

/// Returns the export command for timm or Hugging Face weights, depending on the config.json beside them.
fn safetensors(path: &Path) -> String {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let folder = folder.unwrap_or(Path::new("."));
    let config = files::read_text(&folder.join("config.json"), HEAD).unwrap_or_default();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap_or_default();
    let architecture = config.get("architecture").and_then(|name| name.as_str());
    match architecture {
        Some(name) => torch(
            &format!(
                "import timm; model = timm.create_model('{}', checkpoint_path='{}')",
                legible::name(name),
                path.display()
            ),
            path,
            "",
        ),
        None => format!(
            "with the config.json of its network beside it: optimum-cli export onnx --model {} onnx/",
            quoted(&folder.display().to_string())
        ),
    }
}

/// Recognises a file that is not a model, or only part of one.
fn no_model(path: &Path, bytes: &Ends) -> Option<Foreign> {
    let (name, file) = (ending(path), quoted(&path.display().to_string()));
    if bytes.length == 0 {
        return Foreign::new("empty (0 bytes)", "was the download or copy interrupted?");
    }
    if bytes.starts(b"PK\x03\x04") {
        return match bytes.has_entry(".onnx") {
            true => Foreign::new(
                "a zip archive with an ONNX file in it",
                format!("unpack it: unzip {file}"),
            ),
            false if bytes.has_entry(".npy") => Foreign::new(
                "an archive of NumPy arrays",
                "the model comes first, then the pictures",
            ),
            false => Foreign::new(
                "a zip archive without an ONNX file",
                "name the model itself",
            ),
        };
    }
    for (magic, is, unpack) in [
        (&b"\x1f\x8b"[..], "a gzip archive", "gunzip"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "7z x"),
        (b"\xfd7zXZ\0", "an xz archive", "unxz"),
        (b"\x28\xb5\x2f\xfd", "a Zstandard archive", "unzstd"),
        (b"Rar!", "a RAR archive", "unrar x"),
        (b"BZh", "a bzip2 archive", "bunzip2"),
    ] {
        if bytes.starts(magic) {
            let is_tar = name == "tgz" || path.to_string_lossy().contains(".tar.");
            let unpack = if is_tar { "tar xf" } else { unpack };
            return Foreign::new(is, format!("unpack it: {unpack} {file}"));
        }
    }
    if bytes.head.get(257..262) == Some(b"ustar") {
        return Foreign::new("a tar archive", format!("unpack it: tar xf {file}"));
    }
    if bytes.starts(b"\x93NUMPY") {
        return Foreign::new("a NumPy array", "the model comes first, then the pictures");
    }
    let pictures: [&[u8]; 4] = [b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF"];
    if pictures.iter().any(|magic| bytes.starts(magic)) {
        return Foreign::new("a picture", "the model comes first, then the pictures");
    }
    if let Some(text) = bytes.text() {
        return of_text(text, &file);
    }
    // Text in another encoding.
    let start = String::from_utf8_lossy(&bytes.head[..bytes.head.len().min(200)]);
    if is_html(&start) {
        return of_text(&start, &file);
    }
    let announced = announced(&bytes.head)?;
    (announced > bytes.length).then_some(Foreign {
        is: format!(
            "truncated: it has {} of at least {announced} bytes",
            bytes.length
        ),
        way: "download or copy it again".to_owned(),
    })
}

fn is_html(start: &str) -> bool {
    let start = start.to_lowercase();
    start.contains("<!doctype html") || start.contains("<html")
}

fn of_text(text: &str, file: &str) -> Option<Foreign> {
    let start = text
        .get(..text.floor_char_boundary(200))
        .unwrap_or(text)
        .to_lowercase();
    if start.starts_with("version https://git-lfs") {
        let size = text.lines().find_map(|line| line.strip_prefix("size "));
        let size = size.map_or_else(String::new, |size| {
            format!(" of {} bytes", legible::name(size))
        });
        return Foreign::new(
            format!("a Git LFS pointer to a file{size}"),
            format!("fetch the file itself: git lfs pull --include {file}"),
        );
    }
    if start.contains("/annex/objects/") {
        return Foreign::new(
            "a git-annex pointer to a file",
            format!("fetch the file itself: git annex get {file}"),
        );
    }
    if is_html(&start) {
        return Foreign::new(
            "a web page (HTML) saved in place of the model",
            format!(
                "download the file itself: curl -L -o {file} URL, on GitHub with /raw/ and on Hugging Face with /resolve/ in \
                 the URL instead of /blob/"
            ),
        );
    }
    let first = text.lines().next().unwrap_or_default();
    let first: String = first.chars().take(SHOWN).collect();
    Foreign::new(
        format!("text that begins with {:?}", legible::name(&first)),
        "was something else saved in place of the model?",
    )
}

/// Recognises a folder that holds a model.
fn of_folder(path: &Path) -> Option<Foreign> {
    let has = |name: &str| path.join(name).is_file();
    let folder = quoted(&path.display().to_string());
    if has("saved_model.pb") {
        return Foreign::new("a TensorFlow SavedModel", tensorflow("saved-model", path));
    }
    let entries = fs::read_dir(path).ok()?.take(10_000);
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut models: Vec<String> = names.filter(|name| name.ends_with(".onnx")).collect();
    models.sort_unstable();
    if let Some(first) = models.first() {
        return Foreign::new(
            "a folder",
            format!(
                "name a model in it, such as {}",
                quoted(&path.join(first).display().to_string())
            ),
        );
    }
    if has("Manifest.json") && path.join("Data").is_dir() {
        return Foreign::new(
            "a Core ML package",
            "it cannot be converted back: export the model that it was converted from, with torch.onnx.export or tf2onnx",
        );
    }
    if has("config.json") && (has("model.safetensors") || has("pytorch_model.bin")) {
        return Foreign::new(
            "a Hugging Face model",
            format!("export it with: optimum-cli export onnx --model {folder} {folder}/onnx"),
        );
    }
    Foreign::new(
        "a folder without an ONNX file",
        "the model comes first, then the pictures",
    )
}

/// Whether bytes begin with the version of the format, as in every ONNX file from a known writer.
fn begins_as_onnx(head: &[u8]) -> bool {
    matches!(head, [0x08, 1..=32, ..])
}

/// Returns the minimum size of an ONNX file according to the field lengths in its head, or `None` for other files.
fn announced(head: &[u8]) -> Option<u64> {
    if !begins_as_onnx(head) {
        return None;
    }
    let mut at = 0_usize;
    while at < head.len() {
        let Some(key) = varint(head, &mut at) else {
            return Some(head.len() as u64 + 1);
        };
        match key & 7 {
            0 => match varint(head, &mut at) {
                Some(_) => {}
                None => return Some(head.len() as u64 + 1),
            },
            2 => {
                let Some(length) = varint(head, &mut at) else {
                    return Some(head.len() as u64 + 1);
                };
                let end = (at as u64).checked_add(length)?;
                at = usize::try_from(end).ok()?;
                if end > head.len() as u64 {
                    return Some(end);
                }
            }
            _ => return None,
        }
    }
    Some(at as u64)
}

/// Reads a base-128 varint, or returns `None` if the bytes end within it.
fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    Some(u64::MAX)
}

#[cfg(test)]
mod tests;
