//! `hoodwink predict`.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::Stdio,
};

use serde_json::Value;

use crate::setup::{NORMALISED, asset, command, model, npy, npz, samples, succeed};

const COUNT: usize = 24;

fn predict(data: &Path, rest: &[&str]) -> Value {
    let model = model();
    let data = data.display().to_string();
    let args = ["predict", &model, &data, "--top", "3", "--format", "json"];
    serde_json::from_str(&succeed(&[&args[..], &NORMALISED, rest].concat())).unwrap()
}

/// What is said about every picture, without the names of files.
fn answers(answer: &Value) -> Vec<(Value, Value)> {
    let pictures = answer["pictures"].as_array().unwrap().iter();
    let mut all: Vec<_> = pictures
        .map(|picture| (picture["label"].clone(), picture["top"].clone()))
        .collect();
    all.sort_by_key(|(label, top)| format!("{label} {top}"));
    all
}

#[test]
fn the_same_pictures_get_the_same_answers_whatever_they_lie_in() {
    let samples = samples(COUNT);
    let parent = tempfile::tempdir().unwrap();
    let path = |name: &str| parent.path().join(name);

    let bytes: Vec<u8> = samples
        .iter()
        .flat_map(|sample| sample.picture.bytes().to_vec())
        .collect();
    let labels: Vec<u8> = samples
        .iter()
        .map(|sample| sample.label.unwrap() as u8)
        .collect();
    let x = npy("|u1", &[COUNT, 28, 28], &bytes);
    let y = npy("|u1", &[COUNT], &labels);
    fs::write(path("x.npy"), &x).unwrap();
    fs::write(path("y.npy"), &y).unwrap();
    fs::write(path("data.npz"), npz(&[("x.npy", x), ("y.npy", y)])).unwrap();
    let mut table = "file,label\n".to_owned();
    for (index, sample) in samples.iter().enumerate() {
        let (label, png) = (sample.label.unwrap(), sample.picture.encode_png());
        for class in 0..10 {
            fs::create_dir_all(path("folder").join(class.to_string())).unwrap();
        }
        fs::create_dir_all(path("table")).unwrap();
        fs::write(
            path("folder")
                .join(label.to_string())
                .join(format!("{index}.png")),
            &png,
        )
        .unwrap();
        fs::write(path("table").join(format!("{index}.png")), &png).unwrap();
        table += &format!("{index}.png,{label}\n");
    }
    fs::write(path("table/labels.csv"), table).unwrap();

    let labels = path("y.npy").display().to_string();
    let of_array = predict(&path("x.npy"), &["--labels", &labels]);
    assert_eq!(of_array["accuracy"]["n"], COUNT);
    assert!(of_array["accuracy"]["value"].as_f64().unwrap() > 0.9);
    assert_eq!(of_array["pictures"].as_array().unwrap().len(), COUNT);
    assert_eq!(of_array["pictures"][5]["file"], "x.npy[5]");
    assert_eq!(
        answers(&predict(&path("data.npz"), &[])),
        answers(&of_array)
    );
    let of_table = predict(&path("table"), &[]);
    assert_eq!(answers(&of_table), answers(&of_array));
    assert_eq!(of_table["pictures"][5]["file"], "5.png");
    let mut of_folder = predict(&path("folder"), &["--class-names", "none"]);
    // Without other names the folders' names are the classes'.
    for picture in of_folder["pictures"].as_array_mut().unwrap() {
        for class in picture["top"].as_array_mut().unwrap() {
            let name = class.as_object_mut().unwrap().remove("name").unwrap();
            assert_eq!(name, class["class"].to_string());
        }
    }
    let unnamed = predict(
        &path("x.npy"),
        &["--labels", &labels, "--class-names", "none"],
    );
    assert_eq!(answers(&of_folder), answers(&unnamed));
}

#[test]
fn classes_beyond_those_in_the_data_have_their_names() {
    let (model, photographs) = (
        asset("imagenet/models/mobilenet_v1_050_160.onnx"),
        asset("imagenet/images"),
    );
    let names = asset("imagenet/classes.csv");
    let args = [
        "predict",
        &model,
        &photographs,
        "--limit",
        "3",
        "--top",
        "5",
        "--input-range",
        "-1..1",
    ];
    let rest = ["--resize", "183", "--crop", "160", "--class-names", &names];
    let table = succeed(&[&args[..], &rest].concat());
    let lines: Vec<&str> = table.lines().collect();
    assert!(
        lines[0].starts_with("82e2334925339ef8.png  right  sports car "),
        "{table}"
    );
    assert!(!table.contains("class "), "{table}");
    assert!(lines[3].starts_with("top-1 accuracy "), "{table}");
    assert!(lines[4].starts_with("top-5 accuracy "), "{table}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let (model, pictures) = (model(), crate::setup::pictures());
    let args = [
        "predict", &model, &pictures, "--limit", "2000", "--show", "2000", "--quiet",
    ];
    let mut child = command(&[&args[..], &NORMALISED].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::with_capacity(64, child.stdout.take().unwrap())
        .read_line(&mut first)
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(
        errors.lines().all(|line| line.starts_with("note: ")),
        "{errors}"
    );
    assert!(first.contains("seven"), "{first}");
}

#[test]
fn a_model_that_guesses_is_asked_about_its_preprocessing() {
    let (model, pictures, labels) = (model(), crate::setup::pictures(), crate::setup::labels());
    let args = [
        "predict", &model, &pictures, "--labels", &labels, "--limit", "40",
    ];
    let errors = |preprocessing: &[&str]| {
        let output = command(&[&args[..], preprocessing].concat())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(errors(&["--mean", "3"]).contains("not clearly better than guessing"));
    assert!(!errors(&NORMALISED).contains("guessing"));
}
