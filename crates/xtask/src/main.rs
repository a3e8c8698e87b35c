//! Repository chores. `cargo xtask test` is the one test command.

mod bench;
mod measure;

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail};

/// Python packages that the tests use, apart from the build: the second engine is one of them.
const TEST_PACKAGES: [&str; 1] = ["onnxruntime==1.32.0"];

const USAGE: &str = "\
cargo xtask test   formatting, lints, docs, all tests on both engines; installs ONNX Runtime into target/test-env
cargo xtask check  the same without the tests
cargo xtask goldens   gradients of PyTorch's exports beside PyTorch's own; installs PyTorch into target/torch-env, some 5 GB
cargo xtask bench peers [NETWORK]   speed of gradients beside PyTorch: benches/results; installs PyTorch into target/bench-env
cargo xtask measure [MODEL]   robust accuracies of published models beside reference figures: docs/measured.md
";

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["test"] => check().and_then(|()| test()),
        ["check"] => check(),
        ["goldens"] => goldens(),
        ["measure"] => measure::measure(None),
        ["measure", only] => measure::measure(Some(only)),
        ["bench", "peers"] => bench::peers(None),
        ["bench", "peers", only] => bench::peers(Some(only)),
        _ => {
            say(USAGE);
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Formatting, lints and documentation.
fn check() -> Result<()> {
    cargo(&["fmt", "--all", "--check"], &[])?;
    cargo(
        &[
            "clippy",
            "--workspace",
            "--all-targets",
            "--quiet",
            "--",
            "-D",
            "warnings",
        ],
        &[],
    )?;
    cargo(
        &["doc", "--workspace", "--no-deps", "--quiet"],
        &[("RUSTDOCFLAGS", "-D warnings".into())],
    )
}

/// All tests, with both engines there.
fn test() -> Result<()> {
    let library = onnx_runtime()?;
    cargo(
        &["test", "--workspace"],
        &[("ORT_DYLIB_PATH", library.into_os_string())],
    )
}

/// Exports networks of torchvision, and prints how near their gradients are to PyTorch's.
fn goldens() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let requirements = root.join("goldens/requirements.txt");
    let python = python("torch-env", &["-r".as_ref(), requirements.as_os_str()])?;
    let exports = root.join("target/torch-exports");
    run(Command::new(&python)
        .arg(root.join("goldens/export_torchvision.py"))
        .arg(&exports)
        .args(["--only", "resnet18", "mobilenet_v2", "vgg11_bn", "vit_b_16"]))?;
    let library = match env::var_os("ORT_DYLIB_PATH") {
        Some(path) => path,
        None => library_of(&python)?.into_os_string(),
    };
    let exports = exports.to_string_lossy().into_owned();
    cargo(
        &[
            "run",
            "--package",
            "hoodwink",
            "--example",
            "torch_exports",
            "--",
            &exports,
        ],
        &[("ORT_DYLIB_PATH", library)],
    )
}

/// ONNX Runtime's shared library: the one that `ORT_DYLIB_PATH` names, or one installed into a local folder.
fn onnx_runtime() -> Result<PathBuf> {
    if let Some(path) = env::var_os("ORT_DYLIB_PATH") {
        return Ok(path.into());
    }
    library_of(&python("test-env", &TEST_PACKAGES.map(OsStr::new))?)
}

/// The Python of a virtual environment under `target`, with packages installed.
fn python(name: &str, packages: &[&OsStr]) -> Result<PathBuf> {
    let environment = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../target")
        .join(name);
    let python = environment.join(if cfg!(windows) {
        "Scripts/python.exe"
    } else {
        "bin/python"
    });
    if !python.exists() {
        run(Command::new("python3")
            .args(["-m", "venv"])
            .arg(&environment))
        .context("Python 3 with its venv module is needed")?;
    }
    run(Command::new(&python)
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ])
        .args(packages))?;
    Ok(python)
}

/// The shared library of the package `onnxruntime` of a Python.
fn library_of(python: &Path) -> Result<PathBuf> {
    let located = Command::new(python)
        .args([
            "-c",
            "import onnxruntime, sys; sys.stdout.write(onnxruntime.__path__[0])",
        ])
        .output()
        .with_context(|| format!("cannot run {}", python.display()))?;
    let folder = PathBuf::from(String::from_utf8(located.stdout)?).join("capi");
    let mut libraries: Vec<PathBuf> = fs::read_dir(&folder)
        .with_context(|| folder.display().to_string())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default();
            name.starts_with("libonnxruntime.") || name == "onnxruntime.dll"
        })
        .collect();
    libraries.sort();
    libraries
        .into_iter()
        .next()
        .with_context(|| format!("no ONNX Runtime library in {}", folder.display()))
}

fn cargo(arguments: &[&str], environment: &[(&str, OsString)]) -> Result<()> {
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let pairs = environment.iter().map(|(name, value)| (name, value));
    run(Command::new(program).args(arguments).envs(pairs))
}

fn run(command: &mut Command) -> Result<()> {
    say(&format!("$ {command:?}\n"));
    let status = command
        .status()
        .with_context(|| format!("cannot start {command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed");
    }
    Ok(())
}

/// Writes to stderr; nothing can be done about a closed one.
fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}
