//! `hoodwink natural`.

use std::{fs, path::Path};

use serde_json::Value;

use crate::setup::{NORMALISED, hoodwink, model, npy, samples, succeed};

fn json(args: &[&str]) -> Value {
    serde_json::from_str(&succeed(&[args, &["--format", "json"]].concat())).unwrap()
}

fn refusal(args: &[&str]) -> String {
    let refused = hoodwink(args);
    assert_eq!(refused.status.code(), Some(2));
    String::from_utf8(refused.stderr).unwrap()
}

/// Logits of four classes and labels for each of six pictures, as files.
struct Saved {
    folder: tempfile::TempDir,
}

impl Saved {
    fn new() -> Self {
        let saved = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        #[rustfmt::skip]
        let logits: [f64; 24] = [
            4.0, 0.0, 1.0, 0.0,
            0.0, 3.0, 5.0, 0.0,
            0.0, 2.0, 9.0, 1.0,
            1.0, 0.0, 0.0, 2.0,
            2.0, 1.0, 0.0, 0.5,
            0.0, 0.0, 0.0, 1.0,
        ];
        let bytes: Vec<u8> = logits
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        saved.write("logits.npy", &npy("<f8", &[6, 4], &bytes));
        saved.write("labels.npy", &npy("|u1", &[6], &[0, 1, 1, 3, 0, 3]));
        saved.write("within.npy", &npy("|u1", &[6], &[0, 1, 1, 2, 0, 2]));
        saved.write("subset.txt", b"0\n1\n3\n");
        saved
    }

    fn write(&self, file: &str, bytes: &[u8]) {
        fs::write(self.folder.path().join(file), bytes).unwrap();
    }

    fn path(&self, file: &str) -> String {
        self.folder.path().join(file).display().to_string()
    }
}

#[test]
fn saved_logits_are_measured_over_the_classes_in_play() {
    let saved = Saved::new();
    let (logits, labels) = (saved.path("logits.npy"), saved.path("labels.npy"));
    let given = ["natural", "--logits", &logits, "--labels", &labels];
    let all = json(&given);
    let model = &all["models"][0];
    assert_eq!(model["subset"], "all");
    assert_eq!(model["hard"]["top1"]["n"], 6);
    let top1 = |value: &Value| {
        value["models"][0]["hard"]["top1"]["value"]
            .as_f64()
            .unwrap()
    };
    assert!((top1(&all) - 4.0 / 6.0).abs() < 1e-12);
    let subset = saved.path("subset.txt");
    let some = json(&[&given[..], &["--subset", &subset, "--ood-logits", &logits]].concat());
    let model = &some["models"][0];
    // Class 2, which took two pictures, is not in play.
    assert_eq!(top1(&some), 1.0);
    assert!(
        (model["hard"]["unmasked"]["top1"]["value"].as_f64().unwrap() - 4.0 / 6.0).abs() < 1e-12
    );
    assert_eq!(model["hard"]["soft_f1"]["value"], Value::Null);
    assert_eq!(model["known"], "hard");
    let scores: Vec<&str> = model["ood"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["score"].as_str().unwrap())
        .collect();
    assert_eq!(scores, ["msp", "max-logit", "energy", "entropy"]);
    assert_eq!(model["ood"][0]["auroc"]["value"], 0.5);

    let within = saved.path("within.npy");
    let given = [
        "natural", "--logits", &logits, "--labels", &within, "--subset", &subset,
    ];
    let positions = json(&[&given[..], &["--labels-within-subset"]].concat());
    assert_eq!(top1(&positions), 1.0);
    let refused = refusal(&given);
    assert!(
        refused.contains("positions among") && refused.contains("--labels-within-subset"),
        "{refused}"
    );
    let text = succeed(&[
        "natural", "--logits", &logits, "--labels", &labels, "--format", "text",
    ]);
    assert!(text.contains("top-1") && text.contains("66.7%"), "{text}");
    let nae = json(&[
        "natural", "--logits", &logits, "--labels", &labels, "--parity", "nae",
    ]);
    assert_eq!(nae["models"][0]["definition"], "nae");
    assert_eq!(
        nae["models"][0]["hard"]["rms_calibration"]["value"],
        Value::Null
    );
}

#[test]
fn what_cannot_be_measured_is_refused_by_name() {
    let saved = Saved::new();
    let nan: Vec<u8> = [0.0f32, f32::NAN]
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    saved.write("nan.npy", &npy("<f4", &[1, 2], &nan));
    saved.write("one.npy", &npy("|u1", &[1], &[0]));
    saved.write("flat.npy", &npy("<f4", &[2], &nan));
    saved.write("far.npy", &npy("|u1", &[6], &[0, 1, 1, 3, 0, 9]));
    let far = saved.path("far.npy");
    let [logits, labels, nan, one, flat] =
        ["logits.npy", "labels.npy", "nan.npy", "one.npy", "flat.npy"].map(|file| saved.path(file));
    for (args, says) in [
        (&["natural"][..], "nothing to measure"),
        (
            &["natural", "--logits", &nan, "--labels", &one],
            "nan.npy[0]: the logit of class 1 is NaN",
        ),
        (
            &["natural", "--logits", &logits, "--labels", &one],
            "1 label",
        ),
        (
            &["natural", "--logits", &flat, "--labels", &one],
            "[pictures, classes]",
        ),
        (
            &["natural", "--logits", &labels, "--labels", &labels],
            "[pictures, classes]",
        ),
        (
            &[
                "natural",
                "--logits",
                &logits,
                "--labels",
                &labels,
                "--subset",
                "imagenet-a",
            ],
            "the model has 4",
        ),
        (&["natural", "--logits", &logits], "--labels"),
        (
            &["natural", "--logits", &logits, "--labels", &far],
            "the label 9, and there are 4 classes",
        ),
        (
            &[
                "natural", "a.onnx", "--logits", &logits, "--labels", &labels,
            ],
            "leave out a.onnx",
        ),
        (&["natural", "a.onnx"], "--hard DIR"),
        (
            &[
                "natural", "--logits", &logits, "--labels", &labels, "--parity", "oe",
            ],
            "definition",
        ),
    ] {
        let refused = refusal(args);
        assert!(refused.contains(says), "{args:?}: {refused}");
    }
}

/// Writes pictures into a folder for each class, which `name` calls.
fn folders(into: &Path, count: usize, name: impl Fn(usize) -> String) {
    // Also of classes without pictures.
    (0..10).for_each(|class| fs::create_dir_all(into.join(name(class))).unwrap());
    for (index, sample) in samples(count).iter().enumerate() {
        let folder = into.join(name(sample.label.unwrap()));
        fs::write(
            folder.join(format!("{index}.png")),
            sample.picture.encode_png(),
        )
        .unwrap();
    }
}

#[test]
fn folders_are_matched_by_name_and_a_page_is_written() {
    let parent = tempfile::tempdir().unwrap();
    let path = |name: &str| parent.path().join(name).display().to_string();
    let words = [
        "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
    ];
    folders(&parent.path().join("words"), 24, |class| {
        words[class].to_owned()
    });
    fs::write(parent.path().join("words/zero/broken.png"), b"no picture").unwrap();
    fs::write(parent.path().join("names.txt"), words.join("\n")).unwrap();
    let (model, data, names, out) = (model(), path("words"), path("names.txt"), path("out"));
    let given = [
        "natural",
        &model,
        "--hard",
        &data,
        "--resamples",
        "50",
        "--no-lint",
        "--quiet",
    ];
    let given = [&given[..], &NORMALISED].concat();
    let named = [&given[..], &["--class-names", &names]].concat();
    let refused = refusal(&named);
    assert!(refused.contains("broken.png"), "{refused}");
    let skipping = [
        "--skip-broken",
        "--clean",
        &data,
        "--ood",
        &data,
        "--odin",
        "--ten-crops",
        "--resize",
        "28",
        "--crop",
        "28",
        "--out",
        &out,
        "--table",
        "testbed",
    ];
    let found = json(&[&named[..], &skipping].concat());
    let hard = &found["models"][0]["hard"];
    assert_eq!(hard["pictures"], 24);
    assert!(hard["top1"]["value"].as_f64().unwrap() > 0.9, "{hard}");
    assert!(
        hard["notes"]
            .to_string()
            .contains("1 picture could not be read")
    );
    assert_eq!(found["models"][0]["drop"]["value"], 0.0);
    assert_eq!(found["models"][0]["ood"][0]["auroc"]["value"], 0.5);
    assert_eq!(found["models"][0]["ood"][4]["score"], "odin");
    assert_eq!(found["models"][0]["ood"][4]["auroc"]["value"], 0.5);
    let rate = |name: &str| hard[name]["value"].as_f64().unwrap();
    assert!(rate("any_of_ten_crops") >= rate("top1"));
    assert_eq!(found["tables"].as_array().unwrap().len(), 2);
    let page = fs::read_to_string(parent.path().join("out/report.html")).unwrap();
    assert!(page.contains("Surest answers to unknown objects") && page.contains("densenet121"));
    let written = fs::read_to_string(parent.path().join("out/natural.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), found);

    // Without names, ten folders for ten classes are not taken in their order, in which "eight" would be class 0.
    let refused = refusal(&[&given[..], &["--skip-broken"]].concat());
    assert!(refused.contains("their order is not taken"), "{refused}");
}
