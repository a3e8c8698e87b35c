//! What `inspect` says of a model, the other commands keep: what it says yes to works, and what it says no to is refused with
//! the same words.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::setup::{asset, hoodwink, npy};

/// Larger files take long in a build for tests.
const LARGEST: u64 = 12 << 20;

/// What may be asked of a model whose sides the file leaves open.
const SIDE: [&str; 2] = ["--input-side", "8x8"];

/// Model files in a folder and in those in it.
fn models(folder: &Path, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    for path in paths {
        let size = fs::metadata(&path).map_or(0, |metadata| metadata.len());
        if path.is_dir() {
            models(&path, found);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "onnx")
            && size <= LARGEST
        {
            found.push(path);
        }
    }
}

/// Sides of a picture that fits what `inspect` says of the input.
fn picture(said: &Value) -> Option<Vec<usize>> {
    if let Some(input) = said["as_it_is"]["input"].as_array() {
        return input
            .iter()
            .map(|side| Some(side.as_u64()? as usize))
            .collect();
    }
    let shape = said["classifier"]["input"]["shape"].as_array()?;
    let sides: Option<Vec<usize>> = shape[1..]
        .iter()
        .map(|side| side.as_str()?.parse().ok())
        .collect();
    Some(match sides?[..] {
        [channels, height, width] => vec![channels, height, width],
        [height, width] if height > 1 && width > 1 => vec![1, height, width],
        ref flat => {
            let side = flat.iter().product::<usize>().isqrt();
            vec![1, side, side]
        }
    })
}

fn write_picture(sides: &[usize], path: &Path) {
    let count = sides.iter().product::<usize>();
    let bytes: Vec<u8> = (0..2 * count)
        .map(|at| (at * at * 29 % 251) as u8)
        .collect();
    fs::write(path, npy("|u1", &[&[2], sides].concat(), &bytes)).unwrap();
}

/// Whether a command succeeds, and what it says on stderr.
fn tried(args: &[&str]) -> (bool, String) {
    let output = hoodwink(args);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.success(), errors)
}

/// How the commands break what `inspect` says of a model on an engine.
fn broken(model: &str, folder: &Path) -> Vec<String> {
    let (pictures, gradient) = (folder.join("x.npy"), folder.join("gradient.onnx"));
    let [pictures, gradient] = [&pictures, &gradient].map(|path| path.display().to_string());
    let inspected = |rest: &[&str]| -> Value {
        let args = ["inspect", model, "--engine", "rten", "--format", "json"];
        let output = hoodwink(&[&args[..], rest].concat());
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    };
    let mut rest: &[&str] = &[];
    let mut said = inspected(rest);
    let obstacle = |said: &Value, level: &str| {
        said["access"][level]["obstacle"]
            .as_str()
            .map(str::to_owned)
    };
    if obstacle(&said, "labels").is_some_and(|obstacle| obstacle.contains("setting input-side")) {
        rest = &SIDE;
        said = inspected(rest);
    }
    let mut broken = Vec::new();
    if said.is_null() {
        // Not a model at all: nothing is promised, and nothing may work.
        let (works, _) = tried(&["grad", model, "-o", &gradient]);
        broken.extend(works.then(|| format!("{model}: inspect fails and grad works")));
        return broken;
    }

    let promised = said["access"]["labels"]["possible"] == true;
    let sides = picture(&said).unwrap_or_else(|| vec![3, 8, 8]);
    write_picture(&sides, Path::new(&pictures));
    let (works, errors) = tried(&[&["predict", model, &pictures], rest].concat());
    let reason = obstacle(&said, "labels").unwrap_or_default();
    match (promised, works) {
        (true, false) => broken.push(format!("{model}: inspect says yes, predict {errors}")),
        (false, true) => broken.push(format!("{model}: inspect says {reason:?}, predict works")),
        (false, false) if !errors.contains(&reason) => {
            broken.push(format!(
                "{model}: inspect says {reason:?}, predict {errors}"
            ));
        }
        _ => {}
    }

    let promised = said["access"]["gradients"]["possible"] == true;
    let (works, errors) = tried(&[&["grad", model, "-o", &gradient], rest].concat());
    let reasons = ["labels", "gradients"].map(|level| obstacle(&said, level).unwrap_or_default());
    // What is not shown a picture may have a gradient all the same.
    match (promised, works) {
        (true, false) => broken.push(format!("{model}: inspect says yes, grad {errors}")),
        (false, false) if !reasons.iter().any(|reason| errors.contains(reason)) => {
            broken.push(format!("{model}: inspect says {reasons:?}, grad {errors}"));
        }
        _ => {}
    }
    broken
}

#[test]
fn what_inspect_says_the_other_commands_keep() {
    let mut found = Vec::new();
    models(Path::new(&asset("")), &mut found);
    models(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("../hoodwink/tests"),
        &mut found,
    );
    assert!(found.len() > 20, "there are but {} models", found.len());
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let broken: Vec<String> = std::thread::scope(|scope| {
        let found = &found;
        let crew: Vec<_> = (0..workers)
            .map(|worker| {
                scope.spawn(move || {
                    let folder = tempfile::tempdir().unwrap();
                    let own = found.iter().skip(worker).step_by(workers);
                    own.flat_map(|model| broken(&model.display().to_string(), folder.path()))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        crew.into_iter()
            .flat_map(|worker| worker.join().unwrap())
            .collect()
    });
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
