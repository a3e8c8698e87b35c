//! Repository chores. `cargo xtask test` is the one test command.

mod bench;
mod engines;
mod goldens;
mod jpeg;
mod kills;
mod measure;
mod node_tests;
mod planted;

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, Result, bail};

/// Python packages that the tests need but the build does not, such as the second engine.
const TEST_PACKAGES: [&str; 1] = ["onnxruntime==1.32.0"];

const USAGE: &str = "\
cargo xtask test   formatting, lints, docs, and all tests on both engines; installs ONNX Runtime into target/test-env
cargo xtask check  the same without the tests
cargo xtask goldens [NETWORK ...]   compares the gradients of PyTorch's exports with PyTorch's own: docs/gradients.md; installs PyTorch into target/torch-env (about 8 GB)
cargo xtask node-tests   runs ONNX's own operator tests, with gradients: docs/node-tests.md
cargo xtask bench peers [attacks [NETWORK] | gradients [NETWORK]]   compares speed with PyTorch, torchattacks and Foolbox: benches/results; installs them into target/bench-env
cargo xtask measure engines   compares operators on both engines with ONNX Runtime: docs/engines.md; installs ONNX into target/engines-env
cargo xtask measure jpeg   compares decoded JPEGs with libjpeg-turbo's: docs/jpeg.md; installs Pillow into target/jpeg-env
cargo xtask measure kills   compares runs killed at random moments with undisturbed ones: the table in docs/runs.md
cargo xtask measure lint   plants mistakes and checks that the lint finds them: docs/lint.md
cargo xtask measure [MODEL]   compares robust accuracies of published models with reference figures: docs/measured.md
";

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["test"] => check().and_then(|()| test()),
        ["check"] => check(),
        ["goldens"] => goldens::goldens(&[]),
        ["goldens", ref networks @ ..] => goldens::goldens(networks),
        ["node-tests"] => node_tests::node_tests(),
        ["measure"] => measure::measure(None),
        ["measure", "engines"] => engines::measure(),
        ["measure", "jpeg"] => jpeg::measure(),
        ["measure", "kills"] => kills::measure(),
        ["measure", "lint"] => planted::measure(),
        ["measure", only] => measure::measure(Some(only)),
        ["bench", "peers"] => bench::peers(),
        ["bench", "peers", "attacks"] => bench::attacks(None),
        ["bench", "peers", "attacks", only] => bench::attacks(Some(only)),
        ["bench", "peers", "gradients"] => bench::gradients(None),
        ["bench", "peers", "gradients", only] => bench::gradients(Some(only)),
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

/// Returns the root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns cargo's build folder.
fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Returns the folder of models and pictures.
fn assets() -> Result<PathBuf> {
    let folder = env::var_os("HOODWINK_ASSETS");
    folder
        .map(PathBuf::from)
        .context("HOODWINK_ASSETS must name the folder of models and pictures")
}

/// Checks formatting, lints and documentation.
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

/// Runs all tests with both engines available.
fn test() -> Result<()> {
    let library = onnx_runtime()?;
    cargo(
        &["test", "--workspace"],
        &[("ORT_DYLIB_PATH", library.into_os_string())],
    )
}

/// Returns ONNX Runtime's shared library: the one that `ORT_DYLIB_PATH` names, or one installed into a local folder.
fn onnx_runtime() -> Result<PathBuf> {
    if let Some(path) = env::var_os("ORT_DYLIB_PATH") {
        return Ok(path.into());
    }
    library_of(&python("test-env", &TEST_PACKAGES.map(OsStr::new))?)
}

/// Returns the Python of a virtual environment under `target` with these packages installed.
fn python(name: &str, packages: &[&OsStr]) -> Result<PathBuf> {
    let environment = root().join("target").join(name);
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

/// Returns the shared library in a Python's package `onnxruntime`.
fn library_of(python: &Path) -> Result<PathBuf> {
    let located = Command::new(python)
        .args([
            // Isolated mode: imports nothing from the working folder.
            "-I",
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

/// Returns what an example of the library prints about a folder, with both engines available.
fn example(name: &str, folder: &Path, library: &OsStr) -> Result<String> {
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command
        .args([
            "run",
            "--release",
            "--package",
            "hoodwink",
            "--example",
            name,
            "--",
        ])
        .arg(folder)
        .env("ORT_DYLIB_PATH", library)
        .stderr(Stdio::inherit());
    say(&format!("$ {command:?}\n"));
    let output = command
        .output()
        .with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed");
    }
    Ok(String::from_utf8(output.stdout)?)
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

/// Writes to stderr. A closed stderr is ignored.
fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}
