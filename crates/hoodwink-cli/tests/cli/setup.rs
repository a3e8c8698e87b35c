//! What the tests of the command share.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use hoodwink::data::{DataOptions, Dataset, Sample};

/// Normalisation of the MNIST network `eran_conv_small_nat`.
pub(crate) const NORMALISED: [&str; 4] = ["--mean", "0.1307", "--std", "0.3081"];

/// The file at a path inside the folder of real models and pictures, which are too large for the repository.
pub(crate) fn asset(path: &str) -> String {
    let folder = std::env::var_os("HOODWINK_ASSETS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/assets"),
        PathBuf::from,
    );
    assert!(
        folder.is_dir(),
        "this test needs real models and pictures, and there is no folder {}: set HOODWINK_ASSETS to the folder that \
         holds imagenet/, cifar10/ and mnist/",
        folder.display()
    );
    folder.join(path).display().to_string()
}

/// A small convolutional network for MNIST; see [`NORMALISED`].
pub(crate) fn model() -> String {
    asset("mnist/models/eran_conv_small_nat.onnx")
}

/// The first pictures of MNIST's test set.
pub(crate) fn pictures() -> String {
    asset("mnist/test_2500_x_u8.npy")
}

/// Their labels.
pub(crate) fn labels() -> String {
    asset("mnist/test_2500_y.npy")
}

/// The command with these arguments, on the built-in engine, which is the same everywhere.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hoodwink"));
    command.args(args);
    if matches!(args.first(), Some(&"attack" | &"natural" | &"predict")) {
        command.args(["--engine", "rten"]);
    }
    command
}

pub(crate) fn hoodwink(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

/// Standard output of a command that must succeed.
#[track_caller]
pub(crate) fn succeed(args: &[&str]) -> String {
    let output = hoodwink(args);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Standard error of a command that must fail with this status.
#[track_caller]
pub(crate) fn failure(args: &[&str], status: i32) -> String {
    let output = hoodwink(args);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "{args:?}: {errors}");
    errors
}

/// `attack` on the first `limit` pictures of MNIST's test set, into `out`.
pub(crate) fn attack_mnist(limit: usize, out: &Path, rest: &[&str]) -> Vec<String> {
    let limit = limit.to_string();
    let (model, pictures, labels) = (model(), pictures(), labels());
    let out = out.display().to_string();
    let mut args = vec![
        "attack", &model, &pictures, "--labels", &labels, "--limit", &limit,
    ];
    args.extend(["--out", &out]);
    args.extend(NORMALISED);
    args.extend(rest);
    args.into_iter().map(str::to_owned).collect()
}

pub(crate) fn borrowed(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

/// All files under a folder with their bytes, by path; without the one that may differ between equal runs.
pub(crate) fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("timing.json") {
                let name = path.strip_prefix(folder).unwrap().to_owned();
                found.insert(name, fs::read(path).unwrap());
            }
        }
    }
    found
}

/// Fails with the names of the files that differ, not with their bytes.
#[track_caller]
pub(crate) fn assert_same_files(one: &Path, other: &Path) {
    let (one, other) = (files(one), files(other));
    assert_eq!(
        one.keys().collect::<Vec<_>>(),
        other.keys().collect::<Vec<_>>()
    );
    let differ: Vec<_> = one
        .iter()
        .filter(|(name, bytes)| other[*name] != **bytes)
        .collect();
    let differ: Vec<_> = differ.into_iter().map(|(name, _)| name).collect();
    assert!(differ.is_empty(), "these files differ: {differ:?}");
}

/// The first `count` samples of MNIST's test set.
pub(crate) fn samples(count: usize) -> Vec<Sample> {
    let options = DataOptions {
        labels: Some(labels().into()),
        limit: Some(count),
        ..DataOptions::default()
    };
    let data = Dataset::open(pictures().as_ref(), &options).unwrap();
    (0..count).map(|index| data.get(index).unwrap()).collect()
}

/// A `.npy` file; `descr` is NumPy's name of the type.
pub(crate) fn npy(descr: &str, shape: &[usize], values: &[u8]) -> Vec<u8> {
    let sides: String = shape.iter().map(|side| format!("{side},")).collect();
    let mut header =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({sides}), }}")
            .into_bytes();
    header.resize(117, b' ');
    header.push(b'\n');
    [b"\x93NUMPY\x01\0\x76\0", &header[..], values].concat()
}

/// A `.npz` archive of these arrays.
pub(crate) fn npz(arrays: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut file = std::io::Cursor::new(Vec::new());
    let mut writer = npyz::npz::NpzWriter::new(&mut file);
    for (name, content) in arrays {
        let zip = writer.zip_writer();
        zip.start_file(*name, Default::default()).unwrap();
        zip.write_all(content).unwrap();
    }
    writer.zip_writer().finish().unwrap();
    drop(writer);
    file.into_inner()
}
