//! Which engine is found, and what is run to find it: nothing.
#![cfg(target_os = "linux")]

use std::{
    env, fs,
    path::Path,
    process::{Command, Output},
};

use crate::setup::{labels, model, pictures};

/// `predict` on two pictures in a folder, with these settings.
fn predict(folder: &Path, settings: &[(&str, &str)], rest: &[&str]) -> (Option<i32>, String) {
    let (model, pictures, labels) = (model(), pictures(), labels());
    let Output { status, stderr, .. } = Command::new(env!("CARGO_BIN_EXE_hoodwink"))
        .args([
            "predict",
            &model,
            &pictures,
            "--labels",
            &labels,
            "--limit=2",
            "--quiet",
        ])
        .args(rest)
        .env_remove("ORT_DYLIB_PATH")
        .env_remove("VIRTUAL_ENV")
        .envs(settings.iter().copied())
        .current_dir(folder)
        .output()
        .unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[test]
fn nothing_of_the_working_folder_runs() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let write = |name: &str, content: &str| {
        fs::create_dir_all(at(name).parent().unwrap()).unwrap();
        fs::write(at(name), content).unwrap();
        fs::set_permissions(at(name), fs::Permissions::from_mode(0o755)).unwrap();
    };
    for module in ["onnxruntime", "numpy", "sitecustomize", "usercustomize"] {
        write(&format!("{module}.py"), "open('ran', 'w')");
    }
    for program in ["python3", "bin/python3", "shims/python3"] {
        write(program, "#!/bin/sh\ntouch ran\n");
    }
    for packages in [
        "",
        "lib/python3.12/site-packages/",
        "versions/x/lib/python3/site-packages/",
    ] {
        write(
            &format!("{packages}onnxruntime/capi/libonnxruntime.so.1"),
            "no library",
        );
    }
    write(".python-version", "../../versions/x");
    let here = folder.path().to_str().unwrap();
    let path = env::var("PATH").unwrap();
    for (name, value) in [
        ("PYTHONPATH", ""),
        ("PYTHONPATH", "."),
        ("PYTHONPATH", here),
        ("PYENV_DIR", here),
        ("VIRTUAL_ENV", "."),
        ("CONDA_PREFIX", ""),
        ("PATH", &*format!(":.:bin:shims:{path}")),
    ] {
        let (status, errors) = predict(folder.path(), &[(name, value)], &[]);
        assert_eq!(status, Some(0), "{name}={value}: {errors}");
        assert!(
            !errors.contains("libonnxruntime"),
            "{name}={value}: {errors}"
        );
        assert!(!at("ran").exists(), "{name}={value}");
    }
}

#[test]
fn a_broken_library_is_an_error_where_it_is_named_and_a_note_where_it_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let capi = "lib/python3.12/site-packages/onnxruntime/capi";
    let library = folder.path().join(capi).join("libonnxruntime.so.1");
    fs::create_dir_all(library.parent().unwrap()).unwrap();
    fs::write(&library, "no library").unwrap();
    let gone = folder.path().join("gone.so");
    let [folder_name, library, gone] =
        [folder.path(), &library, &gone].map(|path| path.to_str().unwrap());
    for (setting, value, rest, status, said) in [
        (
            "VIRTUAL_ENV",
            folder_name,
            &[][..],
            0,
            "not a shared library for this system; the engine is rten instead",
        ),
        (
            "VIRTUAL_ENV",
            folder_name,
            &["--engine", "ort"],
            2,
            "not a shared library for this system",
        ),
        ("VIRTUAL_ENV", folder_name, &["--engine", "rten"], 0, ""),
        (
            "ORT_DYLIB_PATH",
            library,
            &[],
            2,
            "it comes from ORT_DYLIB_PATH",
        ),
        ("ORT_DYLIB_PATH", gone, &[], 2, "gone.so"),
        (
            "ORT_DYLIB_PATH",
            "libonnxruntime.so",
            &[],
            2,
            "a relative path",
        ),
        ("ORT_DYLIB_PATH", gone, &["--engine", "rten"], 0, ""),
    ] {
        let (ended, errors) = predict(folder.path(), &[(setting, value)], rest);
        assert_eq!(ended, Some(status), "{setting}={value} {rest:?}: {errors}");
        assert!(
            errors.contains(said),
            "{setting}={value} {rest:?}: {errors}"
        );
    }
}
