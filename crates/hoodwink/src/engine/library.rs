//! Where ONNX Runtime's shared library lies.
//!
//! It is looked for where Python keeps its packages and the system its libraries. No Python is started: it would run what
//! lies in the working folder, which may be a model's, downloaded with it. For the same reason every place is an absolute
//! path of the user's own settings, and none is made from the working folder or from `PYTHONPATH`.

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

/// The setting that names the library.
pub(super) const SETTING: &str = "ORT_DYLIB_PATH";

/// A library that was found.
pub(super) struct Library {
    pub(super) path: PathBuf,
    /// Whether the user named it: then no other engine will do in its place.
    pub(super) is_named: bool,
}

/// The library that `ORT_DYLIB_PATH` names, or the first that is installed.
pub(super) fn find() -> Result<Option<Library>, String> {
    find_with(&|name| env::var_os(name).filter(|value| !value.is_empty()))
}

type Variables<'a> = &'a dyn Fn(&str) -> Option<OsString>;

fn find_with(variables: Variables<'_>) -> Result<Option<Library>, String> {
    if let Some(path) = variables(SETTING).map(PathBuf::from) {
        // The system would look for a bare name in many places, and for others in the working folder.
        return match path.is_absolute() {
            true => Ok(Some(Library {
                path,
                is_named: true,
            })),
            false => Err(format!(
                "{SETTING} is {}, a relative path: give the whole path of the library",
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

/// The folders of the package `onnxruntime` in which the library may lie: of the environment that is active, of every Python
/// on the path, of the user.
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

/// Where the Python that lies in a folder of programs is installed: beside it, and beside what it is a link to.
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
            // Scripts that choose among installed versions, of pyenv, asdf and mise.
            Some("shims") => prefixes.extend(chosen(prefix, version)),
            Some("bin") | Some("Scripts") => prefixes.push(prefix.to_owned()),
            _ if cfg!(windows) => prefixes.push(programs.to_owned()),
            _ => {}
        }
        // Where Debian's pip installs for all users.
        if prefix == Path::new("/usr") {
            prefixes.push("/usr/local".into());
        }
    }
    prefixes
}

/// The installed versions of a manager of versions, the one that is set for the user first. What a `.python-version` in the
/// working folder says is not asked.
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

/// The folders of packages under the prefix of a Python.
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

/// Folders whose names are `name` and a version, the newest first.
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

/// Where the system keeps libraries. Not so on Windows, which has an ONNX Runtime of its own that is too old.
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

/// The library in a folder; on some platforms its name carries a version.
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
