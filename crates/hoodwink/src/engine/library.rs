//! Finds ONNX Runtime's shared library.
//!
//! It looks where Python keeps its packages and the system its libraries. It does not start Python, which would run
//! files of the working folder, and that may belong to a downloaded model. For the same reason every place is an
//! absolute path from the user's own settings, and none comes from the working folder or from `PYTHONPATH`.

mod headers;

use std::{
    cmp::Reverse,
    env,
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
};

pub(super) use headers::check;

use crate::files;

/// The variable that names the library.
pub(super) const SETTING: &str = "ORT_DYLIB_PATH";

/// A library that was found.
pub(super) struct Library {
    pub(super) path: PathBuf,
    /// Whether the user named it. Then no other engine may replace it.
    pub(super) is_named: bool,
}

/// Returns the library that `ORT_DYLIB_PATH` names, or the first installed one.
pub(super) fn find() -> Result<Option<Library>, String> {
    find_with(&|name| env::var_os(name).filter(|value| !value.is_empty()))
}

type Variables<'a> = &'a dyn Fn(&str) -> Option<OsString>;

fn find_with(variables: Variables<'_>) -> Result<Option<Library>, String> {
    if let Some(path) = variables(SETTING).map(PathBuf::from) {
        // The system would look for a bare name in many places, and for other relative paths in the working folder.
        return match path.is_absolute() {
            true => Ok(Some(Library {
                path,
                is_named: true,
            })),
            false => Err(format!(
                "{SETTING} is {}, a relative path; give the absolute path of the library",
                path.display()
            )),
        };
    }
    let mut places = packages(variables);
    places.extend(system());
    let path = places.iter().find_map(|folder| library_in(folder));
    Ok(path.map(|path| Library {
        path,
        is_named: false,
    }))
}

/// Returns the folders of the package `onnxruntime` that may hold the library: in the active environment, in every
/// Python on the path, and in the user's home.
fn packages(variables: Variables<'_>) -> Vec<PathBuf> {
    let folder = |name| {
        let path = variables(name).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    let mut prefixes: Vec<PathBuf> = ["VIRTUAL_ENV", "CONDA_PREFIX"]
        .into_iter()
        .filter_map(folder)
        .collect();
    // An empty or a relative entry means the working folder.
    for programs in env::split_paths(&variables("PATH").unwrap_or_default()) {
        if programs.is_absolute() {
            let version = variables("PYENV_VERSION");
            prefixes.extend(prefixes_of(&programs, version.as_deref()));
        }
    }
    prefixes.extend(folder("PYTHONUSERBASE"));
    if cfg!(windows) {
        prefixes.extend(folder("APPDATA").map(|data| data.join("Python")));
    } else if let Some(home) = folder("HOME") {
        prefixes.push(home.join(".local"));
        prefixes.extend(versions(&home.join("Library/Python"), ""));
    }
    let site_packages = prefixes.iter().flat_map(|prefix| site_packages(prefix));
    site_packages
        .map(|packages| packages.join("onnxruntime").join("capi"))
        .collect()
}

/// Returns the prefixes of the Python in a folder of programs: the folder's parent, and that of its link target.
fn prefixes_of(programs: &Path, version: Option<&OsStr>) -> Vec<PathBuf> {
    let names = match cfg!(windows) {
        true => ["python.exe", "python3.exe"],
        false => ["python3", "python"],
    };
    let python = names.map(|name| programs.join(name));
    let Some(python) = python.into_iter().find(|python| python.is_file()) else {
        return Vec::new();
    };
    let target = fs::canonicalize(&python).ok();
    let mut prefixes = Vec::new();
    for python in [Some(python), target].into_iter().flatten() {
        let Some(programs) = python.parent() else {
            continue;
        };
        let prefix = programs.parent().unwrap_or(programs);
        match programs.file_name().and_then(OsStr::to_str) {
            // The shims of pyenv, asdf and mise, which choose among installed versions.
            Some("shims") => prefixes.extend(chosen(prefix, version)),
            Some("bin") | Some("Scripts") => prefixes.push(prefix.to_owned()),
            _ if cfg!(windows) => prefixes.push(programs.to_owned()),
            _ => {}
        }
        // Debian's pip installs for all users here.
        if prefix == Path::new("/usr") {
            prefixes.push("/usr/local".into());
        }
    }
    prefixes
}

/// Returns the installed versions of a version manager, the user's default first. A `.python-version` in the working
/// folder is ignored.
fn chosen(root: &Path, version: Option<&OsStr>) -> Vec<PathBuf> {
    let said = || files::read_text(&root.join("version"), 1 << 12).ok();
    let version = version.and_then(OsStr::to_str).map(str::to_owned);
    let version = version.or_else(said).unwrap_or_default();
    let mut all = [
        versions(&root.join("versions"), ""),
        versions(&root.join("installs/python"), ""),
    ]
    .concat();
    let first = version.lines().next().unwrap_or_default().trim();
    all.sort_by_key(|path| !path.ends_with(first));
    all
}

/// Returns the package folders under the prefix of a Python.
fn site_packages(prefix: &Path) -> Vec<PathBuf> {
    if cfg!(windows) {
        let mut folders = vec![prefix.join("Lib/site-packages")];
        let pythons = versions(prefix, "Python").into_iter();
        folders.extend(pythons.map(|python| python.join("site-packages")));
        return folders;
    }
    let libraries = ["lib", "lib64"].map(|library| prefix.join(library));
    let pythons = libraries.iter().flat_map(|lib| versions(lib, "python"));
    let kinds = ["site-packages", "dist-packages"];
    pythons
        .flat_map(|python| kinds.map(|kind| python.join(kind)))
        .collect()
}

/// Returns folders whose names are `name` and a version, the newest first.
fn versions(folder: &Path, name: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<(Vec<u32>, PathBuf)> = entries
        .filter_map(|entry| {
            let file = entry.file_name();
            let version = file.to_str()?.strip_prefix(name)?;
            let numbers = version.split('.').map_while(|part| part.parse().ok());
            Some((numbers.collect(), entry.path()))
        })
        .collect();
    found.sort_by_key(|(version, path)| (Reverse(version.clone()), path.clone()));
    found.into_iter().map(|(_, path)| path).collect()
}

/// Returns the system's library folders. On Windows there are none, because its own ONNX Runtime is too old.
fn system() -> Vec<PathBuf> {
    let architecture = env::consts::ARCH;
    match env::consts::OS {
        "windows" => Vec::new(),
        "macos" => vec!["/opt/homebrew/lib".into(), "/usr/local/lib".into()],
        _ => vec![
            "/usr/local/lib".into(),
            "/usr/local/lib64".into(),
            "/usr/lib".into(),
            "/usr/lib64".into(),
            format!("/usr/lib/{architecture}-linux-gnu").into(),
        ],
    }
}

/// Finds the library in a folder. On some platforms its name includes a version.
fn library_in(folder: &Path) -> Option<PathBuf> {
    let is_library = |name: &str| match env::consts::OS {
        "windows" => name == "onnxruntime.dll",
        "macos" => name.starts_with("libonnxruntime.") && name.ends_with(".dylib"),
        _ => name.starts_with("libonnxruntime.so"),
    };
    let entries = folder.read_dir().ok()?.flatten();
    let named = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_library));
    let files = named
        .map(|entry| entry.path())
        .filter(|path| path.is_file());
    files.min()
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
