//! `cargo xtask measure jpeg`: compares decoded JPEGs with those of libjpeg-turbo, which networks are trained with.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{assets, example, python, root, say};

/// The package with the reference decoder.
const PACKAGES: [&str; 1] = ["pillow==13.0.0"];

const HEAD: &str = "\
# JPEGs compared with libjpeg-turbo

Most networks are trained and evaluated on pictures decoded by libjpeg-turbo, the decoder inside Pillow, OpenCV and torchvision. `cargo xtask
measure jpeg` saves 100 photographs as JPEGs of several kinds with Pillow, decodes them with Pillow and with Hoodwink, and
counts the pixel values that differ, and by how many of 256 levels. It writes this page; `HOODWINK_ASSETS` names the folder
with the photographs. Sizes are width by height; where no size is given, pictures are 299x299.

Files with any other subsampling (except 4:4:0) are rare. They are decoded by the crate `image`, whose
values differ by up to 5 levels, and by more than 2 levels for about 1 value in 2,500.

";

/// Writes the photographs of the assets as JPEGs of several kinds, decodes them both ways, and writes `docs/jpeg.md`.
pub(crate) fn measure() -> Result<()> {
    let root = root();
    let python = python("jpeg-env", &PACKAGES.map(OsStr::new))?;
    let jpegs = root.join("target/jpegs");
    if jpegs.exists() {
        fs::remove_dir_all(&jpegs).with_context(|| jpegs.display().to_string())?;
    }
    let versions = written(&python, &root, &jpegs)?;
    let table = example("jpeg_parity", &jpegs, OsStr::new(""))?;
    let page = root.join("docs/jpeg.md");
    fs::write(&page, format!("{HEAD}{table}\n{versions}.\n"))
        .with_context(|| page.display().to_string())
}

/// Writes the JPEGs. Returns the versions of the libraries that did it.
fn written(python: &Path, root: &Path, jpegs: &Path) -> Result<String> {
    let photographs: PathBuf = assets()?.join("imagenet/images");
    let mut command = Command::new(python);
    command
        .arg(root.join("goldens/jpegs.py"))
        .arg(photographs)
        .arg(jpegs);
    say(&format!("$ {command:?}\n"));
    let output = command
        .output()
        .with_context(|| python.display().to_string())?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}
