use std::collections::BTreeMap;

use super::*;

/// A folder with files at these paths.
fn laid_out(files: &[&str]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for file in files {
        let path = root.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    root
}

/// The library that these settings lead to, relative to `root`, which `{}` stands for in them.
fn found(root: &Path, settings: &[(&str, &str)]) -> Option<String> {
    let root = fs::canonicalize(root).unwrap();
    let text = root.to_str().unwrap();
    let settings: BTreeMap<&str, String> = settings
        .iter()
        .map(|(name, value)| (*name, value.replace("{}", text)))
        .collect();
    let places = packages(&|name| settings.get(name).map(OsString::from));
    let path = places.iter().find_map(|folder| library_in(folder))?;
    Some(path.strip_prefix(&root).unwrap().display().to_string())
}

const VENV: &str = "venv/lib/python3.12/site-packages/onnxruntime/capi/libonnxruntime.so.1.32.0";
const OLD: &str =
    "home/.local/lib/python3.9/site-packages/onnxruntime/capi/libonnxruntime.so.1.20.0";
const USER: &str = "home/.local/lib/python3.11/site-packages/onnxruntime/capi/libonnxruntime.so";
const SYSTEM: &str = "system/lib/python3/dist-packages/onnxruntime/capi/libonnxruntime.so.1.32.0";
const PYENV: &str =
    "pyenv/versions/3.11.2/lib/python3.11/site-packages/onnxruntime/capi/libonnxruntime.so.1";
const NEWER: &str =
    "pyenv/versions/3.12.0/lib/python3.12/site-packages/onnxruntime/capi/libonnxruntime.so.1";

#[test]
fn it_is_found_where_pythons_keep_their_packages() {
    let files = [
        VENV,
        OLD,
        USER,
        SYSTEM,
        PYENV,
        NEWER,
        "venv/bin/python",
        "system/bin/python3",
        "pyenv/shims/python3",
        "pyenv/version",
    ];
    let root = laid_out(&files);
    fs::write(root.path().join("pyenv/version"), "3.11.2\n").unwrap();
    fs::create_dir(root.path().join("links")).unwrap();
    std::os::unix::fs::symlink("../system/bin/python3", root.path().join("links/python3")).unwrap();
    for (settings, expected) in [
        (&[("VIRTUAL_ENV", "{}/venv")][..], Some(VENV)),
        (&[("CONDA_PREFIX", "{}/system")], Some(SYSTEM)),
        (&[("PATH", "{}/none:{}/venv/bin")], Some(VENV)),
        (&[("PATH", "{}/links:{}/venv/bin")], Some(SYSTEM)),
        (&[("PATH", "{}/venv/bin:{}/system/bin")], Some(VENV)),
        (&[("PATH", "{}/pyenv/shims:{}/venv/bin")], Some(PYENV)),
        (
            &[("PATH", "{}/pyenv/shims"), ("PYENV_VERSION", "3.12.0")],
            Some(NEWER),
        ),
        (&[("PYTHONUSERBASE", "{}/home/.local")], Some(USER)),
        (&[("HOME", "{}/home"), ("PATH", "{}/none")], Some(USER)),
        // What a relative path leads to is the working folder's.
        (&[("VIRTUAL_ENV", "venv")], None),
        (&[("HOME", "home")], None),
        (&[("PATH", ":.:venv/bin:")], None),
        (
            &[("PYTHONPATH", "{}/venv/lib/python3.12/site-packages")],
            None,
        ),
        (&[], None),
    ] {
        let found = found(root.path(), settings);
        assert_eq!(found.as_deref(), expected, "{settings:?}");
    }
}

#[test]
fn the_name_of_a_library_must_be_a_whole_path_and_is_taken_as_it_is() {
    let with = |path: &'static str| find_with(&move |name| (name == SETTING).then(|| path.into()));
    let library = with("/nowhere/at/all.so").ok().flatten().unwrap();
    assert!(library.is_named && library.path == Path::new("/nowhere/at/all.so"));
    for relative in ["libonnxruntime.so", "./libonnxruntime.so"] {
        let refused = with(relative).err().unwrap();
        assert!(refused.contains("a relative path"), "{refused}");
    }
}

/// The program of these tests stands in for a library: it is as relocatable.
#[test]
fn what_is_no_whole_library_of_this_machine_is_refused() {
    let whole = fs::read(env::current_exe().unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("libonnxruntime.so");
    let changed = |at: usize, byte: u8| {
        let mut bytes = whole.clone();
        bytes[at] = byte;
        bytes
    };
    for (bytes, expected) in [
        (whole.clone(), ""),
        (whole[..whole.len() / 2].to_vec(), "truncated"),
        (whole[..4096].to_vec(), "truncated"),
        (whole[..64].to_vec(), "truncated"),
        (whole[..9].to_vec(), "not a shared library"),
        (Vec::new(), "not a shared library"),
        (
            b"<html>404</html>, and much more".to_vec(),
            "not a shared library",
        ),
        // The class of a 32-bit machine, and another machine.
        (changed(4, 1), "not a shared library"),
        (changed(18, 243), "another processor architecture"),
    ] {
        fs::write(&path, bytes).unwrap();
        let said = check(&path).err().unwrap_or_default();
        assert!(said.contains(expected), "{said}");
        assert_eq!(said.is_empty(), expected.is_empty(), "{said}");
    }
    let said = check(folder.path()).unwrap_err();
    assert!(said.contains("a folder, not a file"), "{said}");
}
