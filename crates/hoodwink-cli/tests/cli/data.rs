//! `hoodwink data`, and `--show-preprocessing`.

use std::{fs, path::Path};

use hoodwink::image::Picture;
use serde_json::Value;

use crate::setup::{NORMALISED, asset, hoodwink, labels, model, pictures, succeed};

/// A disc of this radius, 40 pixels wide, as a PNG.
fn disc(radius: usize, ground: u8) -> Vec<u8> {
    let levels = (0..1600_usize).map(|at| {
        let inside = (at % 40).abs_diff(12).pow(2) + (at / 40).abs_diff(25).pow(2) < radius.pow(2);
        if inside { 250 } else { ground }
    });
    Picture::new(1, 40, 40, levels.collect())
        .unwrap()
        .encode_png()
}

/// A folder with these pictures.
fn fill(folder: &Path, files: &[(&str, Vec<u8>)]) -> String {
    for (name, bytes) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    folder.display().to_string()
}

/// Exit status, standard output and standard error.
fn ended(args: &[&str]) -> (Option<i32>, String, String) {
    let output = hoodwink(args);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn duplicates_and_leaks_are_told_and_fail() {
    let parent = tempfile::tempdir().unwrap();
    let test = fill(
        &parent.path().join("test"),
        &[
            ("ant/a.png", disc(5, 0)),
            ("ant/b.png", disc(9, 0)),
            ("bee/c.png", disc(9, 0)),
            ("bee/d.png", disc(14, 0)),
        ],
    );
    let train = fill(
        &parent.path().join("train"),
        &[("x.png", disc(5, 1)), ("y.png", disc(14, 0))],
    );
    let (status, said, _) = ended(&["data", &test, &train, "--threads", "2"]);
    assert_eq!(status, Some(1));
    for line in [
        "pictures    4",
        "size        40x40 in grey: 4",
        "labels      0 to 1, 2 classes",
        "class       1 (bee): 2",
        "duplicates  2 pictures have duplicates, in 1 group; 1 group has different labels",
        "            ant/b.png (label 0), bee/c.png (label 1)",
        "in both     2 pictures are in both sets: 1 exact, 1 likely to be resized or recompressed",
        "            ant/a.png ≈ x.png",
        "            bee/d.png = y.png",
    ] {
        assert!(said.lines().any(|found| found == line), "{line}\n{said}");
    }
    let (status, json, _) = ended(&["data", &test, &train, "--format", "json"]);
    assert_eq!(status, Some(1));
    let page: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(page["duplicates"][0]["contradictory"], true);
    assert_eq!(page["duplicates"][0]["files"][1], "bee/c.png");
    assert_eq!(page["other"]["leaks"][0]["exact"], false);
    assert_eq!(page["other"]["incomparable"], 0);
    assert_eq!(page["classes"][0]["name"], "ant");
}

#[test]
fn data_without_faults_is_described() {
    let (pictures, labels) = (pictures(), labels());
    let args = [
        "data", &pictures, "--labels", &labels, "--limit", "500", "--format", "json",
    ];
    let page: Value = serde_json::from_str(&succeed(&args)).unwrap();
    assert_eq!(page["kind"], "a NumPy array");
    assert_eq!(page["pictures"], 500);
    assert_eq!(page["sizes"][0]["height"], 28);
    assert_eq!(page["sizes"][0]["channels"], 1);
    assert_eq!(page["other"], Value::Null);
    let classes = page["classes"].as_array().unwrap();
    assert_eq!(classes.len(), 10);
    let counts = classes.iter().map(|class| class["pictures"].as_u64());
    assert_eq!(counts.sum::<Option<u64>>(), Some(500));
    let alone = |threads| succeed(&[&args[..6], &["--threads", threads]].concat());
    assert_eq!(alone("1"), alone("3"));
    let error = ended(&["data", "no/such/folder"]);
    assert_eq!(error.0, Some(2));
    assert!(error.2.contains("no/such/folder"), "{}", error.2);
}

#[test]
fn small_pictures_are_only_looked_for_as_they_are() {
    let (pictures, labels) = (pictures(), labels());
    let args = ["data", &pictures, "--labels", &labels, "--limit", "20"];
    let (status, said, _) = ended(&[&args[..], &[&pictures]].concat());
    assert_eq!(status, Some(1));
    for part in [
        "20 pictures are in both sets: 20 exact, 0 likely",
        "20 pictures are plain or have a side below 32 pixels: only exact copies are found",
        "… and 15 more (--format json)",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
}

#[test]
fn what_the_model_is_fed_is_shown() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("fed.png").display().to_string();
    let (model, pictures, labels) = (model(), pictures(), labels());
    let data = [&*model, &pictures, "--labels", &labels];
    let show = ["--show-preprocessing", &file];
    for rest in [
        &["predict", "--limit", "20", "--quiet"][..],
        &["inspect", "--pictures", "20"],
    ] {
        let args = [&rest[..1], &data, &rest[1..], &NORMALISED, &show].concat();
        let (status, _, said) = ended(&args);
        assert_eq!(status, Some(0), "{said}");
        // (0 - 0.1307) / 0.3081 and (1 - 0.1307) / 0.3081.
        assert!(
            said.contains("channel 0 (grey): -0.42 to 2.82, mean "),
            "{said}"
        );
        let sheet = Picture::decode(&fs::read(&file).unwrap(), &file).unwrap();
        assert_eq!((sheet.height(), sheet.width()), (248, 968));
        fs::remove_file(&file).unwrap();
    }
    let (status, _, said) = ended(&["inspect", &model, "--show-preprocessing", &file]);
    assert_eq!(status, Some(2), "{said}");
    let nowhere = parent.path().join("no/fed.png").display().to_string();
    let args = [
        &["predict"],
        &data[..],
        &NORMALISED,
        &["--show-preprocessing", &nowhere],
    ]
    .concat();
    let (status, _, said) = ended(&args);
    assert_eq!(status, Some(2));
    assert!(said.contains("no/fed.png"), "{said}");
}

#[test]
fn a_model_that_eats_blue_first_is_shown_with_its_colours_swapped() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("fed.png").display().to_string();
    let model = asset("imagenet/models/mobilenet_v1_050_160.onnx");
    let red = [200, 30, 10].repeat(160 * 160);
    let red = Picture::new(3, 160, 160, red).unwrap().encode_png();
    let data = fill(&parent.path().join("data"), &[("red.png", red)]);
    let args = [
        "predict",
        &model,
        &data,
        "--channels",
        "bgr",
        "--show-preprocessing",
        &file,
    ];
    let (status, _, said) = ended(&args);
    assert_eq!(status, Some(0), "{said}");
    assert!(
        said.contains("channel 0 (blue): 0.04 to 0.04, mean 0.04, standard deviation 0.00"),
        "{said}"
    );
    let sheet = Picture::decode(&fs::read(&file).unwrap(), &file).unwrap();
    let pixel = |y: usize| &sheet.bytes()[(y * sheet.width() + 20) * 3..][..3];
    assert_eq!(pixel(20), [200, 30, 10]);
    assert_eq!(pixel(200), [10, 30, 200]);
}
