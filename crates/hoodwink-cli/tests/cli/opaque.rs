//! Models that cannot be imported: what is refused, and what running the file as it is allows.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::setup::{files, hoodwink, npy, succeed};

/// A small model that cannot be imported; see `make.py` beside it.
fn model(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hoodwink/tests/opaque");
    folder.join(name).display().to_string()
}

const NORMALISED: [&str; 4] = ["--mean", "0.5", "--std", "0.25"];

/// Pictures with the labels that a model gives them.
struct Data {
    folder: tempfile::TempDir,
}

impl Data {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..24 * 16).map(|at| (at * at * 29 % 251) as u8).collect();
        fs::write(folder.path().join("x.npy"), npy("|u1", &[24, 4, 4], &bytes)).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn label(&self, answer: &Value) {
        let pictures = answer["pictures"].as_array().unwrap().iter();
        let first = |picture: &Value| picture["top"][0]["class"].as_u64().unwrap() as u8;
        let labels: Vec<u8> = pictures.map(first).collect();
        let file = npy("|u1", &[labels.len()], &labels);
        fs::write(self.path("y.npy"), file).unwrap();
    }
}

#[test]
fn black_box_attacks_work_on_any_classifier() {
    let data = Data::new();
    let (x, y, out) = (data.path("x.npy"), data.path("y.npy"), data.path("run"));
    let lstm = model("lstm.onnx");
    let predict = ["predict", &lstm, &x, "--format", "json"];
    let output = hoodwink(&[&predict[..], &NORMALISED].concat());
    let note = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{note}");
    for part in [
        "note: unsupported model: node \"rnn\" (LSTM)",
        "rten runs the file as it is",
        "use attacks that need only scores or labels",
    ] {
        assert!(note.contains(part), "{part}: {note}");
    }
    data.label(&serde_json::from_slice(&output.stdout).unwrap());

    let attack = [
        "attack", &lstm, &x, "--labels", &y, "--eps", "0.3", "--out", &out,
    ];
    let noise = ["--attack", "uniform-noise,gaussian-noise", "--tries", "50"];
    for (rest, says) in [
        (
            &noise[..],
            "lstm.onnx: unsupported model: node \"rnn\" (LSTM): this operator is not supported; to run black-box \
             attacks, use --access scores\n",
        ),
        (
            &["--attack", "pgd", "--access", "scores"],
            "attack pgd needs gradients",
        ),
    ] {
        let output = hoodwink(&[&attack[..], &NORMALISED, rest].concat());
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert!(errors.contains(says), "{says}: {errors}");
        assert!(!PathBuf::from(&out).exists());
    }

    for access in ["scores", "labels"] {
        let out = data.path(access);
        let attack = [
            "attack", &lstm, &x, "--labels", &y, "--eps", "0.3", "--out", &out,
        ];
        let rest = [&noise[..], &["--access", access, "--format", "json"]].concat();
        let said = succeed(&[&attack[..], &NORMALISED, &rest].concat());
        let said: Value = serde_json::from_str(&said).unwrap();
        for attacked in said["attacks"].as_array().unwrap() {
            let robust = attacked["robust_accuracy"]["value"].as_f64().unwrap();
            assert!(robust < 1.0, "noise of 0.3 fools it somewhere: {said}");
        }
        let written = files(out.as_ref());
        let settings = String::from_utf8(written[Path::new("run.toml")].clone()).unwrap();
        assert!(settings.contains("run-as-it-is"), "{settings}");
        let report = String::from_utf8(written[Path::new("report.html")].clone()).unwrap();
        assert!(report.contains("run-as-it-is"));
    }
}

#[test]
fn inspect_says_what_an_engine_makes_of_a_file() {
    let said = |name: &str| -> Value {
        let args = [
            "inspect",
            &model(name),
            "--engine",
            "rten",
            "--format",
            "json",
        ];
        serde_json::from_str(&succeed(&args)).unwrap()
    };
    for name in ["lstm.onnx", "loop.onnx", "bytes.onnx", "elsewhere.onnx"] {
        let said = said(name);
        assert_eq!(said["classifier"], Value::Null, "{name}");
        assert_eq!(
            said["as_it_is"],
            serde_json::json!({"engine": "rten", "input": [1, 4, 4], "classes": 3}),
            "{name}"
        );
        for (level, possible) in [("labels", true), ("scores", true), ("gradients", false)] {
            assert_eq!(
                said["access"][level]["possible"], possible,
                "{name}: {level}"
            );
        }
    }
    // The nodes of the loop's inner graph count too.
    assert_eq!(said("loop.onnx")["file"]["operators"]["Tanh"], 1);
    let table = succeed(&["inspect", &model("lstm.onnx"), "--engine", "rten"]);
    for line in [
        "as it is        run unchanged by rten; gives labels and scores",
        "scores          yes",
        "gradients       no: unsupported model: node \"rnn\" (LSTM): this operator is not supported",
    ] {
        assert!(table.lines().any(|found| found == line), "{line}: {table}");
    }

    let contributed = model("contributed.onnx");
    let output = hoodwink(&["inspect", &contributed, "--engine", "rten"]);
    assert_eq!(output.status.code(), Some(2));
    let table = String::from_utf8(output.stdout).unwrap();
    let scores = table
        .lines()
        .find(|line| line.starts_with("scores"))
        .unwrap();
    assert!(
        scores.contains("no: ")
            && scores.contains("the engine cannot run the file as it is either"),
        "{table}"
    );
    succeed(&["inspect", &contributed, "--engine", "ort"]);
}

#[test]
fn pictures_are_tried_on_a_file_that_runs_as_it_is() {
    let data = Data::new();
    let (x, y) = (data.path("x.npy"), data.path("y.npy"));
    let bytes = model("bytes.onnx");
    let range = ["--input-range", "0..255"];
    let predict = ["predict", &bytes, &x, "--format", "json"];
    data.label(&serde_json::from_str(&succeed(&[&predict[..], &range].concat())).unwrap());
    let inspect = ["inspect", &bytes, &x, "--labels", &y, "--format", "json"];
    for (kept, expected, status) in [
        (&[][..], &[][..], 0),
        (&["--keep-softmax"], &["probabilities"], 1),
    ] {
        let output = hoodwink(&[&inspect[..], &range, kept].concat());
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let findings = said["findings"].as_array().unwrap();
        let mistakes: Vec<&Value> = findings.iter().map(|one| &one["mistake"]).collect();
        assert_eq!(mistakes, expected, "{said}");
        assert_eq!(output.status.code(), Some(status));
        if let Some(finding) = findings.first() {
            let remedy = finding["remedy"].as_str().unwrap();
            assert!(remedy.contains("turn off the setting"), "{remedy}");
        }
    }
}

#[cfg(unix)]
#[test]
fn no_engine_sees_a_file_outside_the_models_folder() {
    let data = Data::new();
    let home = data.folder.path().join("home");
    fs::create_dir(&home).unwrap();
    fs::copy(model("elsewhere.onnx"), home.join("elsewhere.onnx")).unwrap();
    fs::copy(model("elsewhere.bin"), data.path("secret.bin")).unwrap();
    std::os::unix::fs::symlink(data.path("secret.bin"), home.join("elsewhere.bin")).unwrap();
    let path = home.join("elsewhere.onnx").display().to_string();
    let output = hoodwink(&["predict", &path, &data.path("x.npy")]);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(errors.contains("outside the model's folder"), "{errors}");
}
