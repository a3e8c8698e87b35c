//! Models that eat bytes, beside what ONNX Runtime answers in Python and gradients by hand (`bytes/make.py`).

use std::{collections::BTreeMap, path::Path};

use hoodwink::{
    Result,
    engine::{self, Choice},
    image::Image,
    model::Classifier,
    oracle::{Loss, Objective, pool::Model as _},
    preprocessing::{InputRange, Layout, Preprocessing},
};
use onnx_grad::{LoadOptions, inspect};
use serde::Deserialize;

#[derive(Deserialize)]
struct Goldens {
    /// Planes.
    picture: Vec<u8>,
    label: usize,
    models: BTreeMap<String, Golden>,
}

#[derive(Deserialize)]
struct Golden {
    layout: Layout,
    scores: Vec<f32>,
    /// None where something computes with the bytes.
    gradient: Option<Vec<f32>>,
}

fn goldens() -> Goldens {
    let text = std::fs::read(folder().join("goldens.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bytes")
}

fn open(name: &str, preprocessing: &Preprocessing, choice: Choice) -> Result<Classifier> {
    Classifier::open_for_scores(
        &folder().join(format!("{name}.onnx")),
        &LoadOptions::default(),
        preprocessing,
        engine::open(choice)?,
    )
}

fn assert_near(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected
        .iter()
        .fold(1.0_f32, |most, value| most.max(value.abs()));
    for (a, b) in found.iter().zip(expected) {
        assert!(
            (a - b).abs() < 1e-5 * scale,
            "{what}: {found:?} for {expected:?}"
        );
    }
}

#[test]
fn bytes_are_made_of_pixels_and_gradients_go_through() {
    let goldens = goldens();
    let pixels: Vec<f32> = goldens
        .picture
        .iter()
        .map(|&byte| f32::from(byte) / 255.0)
        .collect();
    let image = Image::new([3, 2, 2], pixels).unwrap();
    let objective = Objective::Loss {
        loss: Loss::CrossEntropy,
        label: goldens.label,
        target: None,
    };
    for (name, golden) in &goldens.models {
        for choice in [Choice::Rten, Choice::Ort] {
            // 0 to 255 without a word, and with it.
            for input_range in [InputRange::ZeroToOne, InputRange::ZeroTo255] {
                let what = format!("{name} on {choice:?}, {input_range:?}");
                let preprocessing = Preprocessing {
                    layout: golden.layout,
                    input_range,
                    ..Preprocessing::default()
                };
                let as_it_is = golden.gradient.is_none();
                if as_it_is && choice == Choice::Rten {
                    continue;
                }
                let model = open(name, &preprocessing, choice).unwrap();
                assert_eq!(model.input(), [3, 2, 2], "{what}");
                assert_eq!(model.runs_as_it_is(), as_it_is, "{what}");
                let eaten = model.as_eaten(&preprocessing).unwrap();
                assert_eq!(eaten.input_range, InputRange::ZeroTo255, "{what}");
                let mut worker = model.worker().unwrap();
                assert_near(&worker.logits(&[&image]).unwrap()[0], &golden.scores, &what);
                let Some(gradient) = &golden.gradient else {
                    continue;
                };
                let found = worker.differentials(&[&image], &[&objective]).unwrap();
                assert_near(found[0].gradient.pixels(), gradient, &what);
                assert_near(&found[0].logits, &golden.scores, &what);
            }
        }
    }
}

#[test]
fn inspection_promises_what_is_kept() {
    for (name, golden) in &goldens().models {
        let path = folder().join(format!("{name}.onnx"));
        let inspection = inspect::inspect(&path, &LoadOptions::default()).unwrap();
        let access = inspection.access;
        for level in [&access.labels, &access.scores, &access.gradients] {
            assert_eq!(
                level.possible,
                golden.gradient.is_some(),
                "{name}: {level:?}"
            );
        }
        if let Some(obstacle) = access.gradients.obstacle {
            assert!(
                obstacle.contains("computes with these integers"),
                "{obstacle}"
            );
        }
    }
}

#[test]
fn what_makes_no_bytes_is_refused() {
    for (text, says) in [
        ("mean = [0.5]\nstd = [0.25]", "normalises them itself"),
        ("std = [0.25]", "normalises them itself"),
        ("input-range = '-1..1'", "remove the input range"),
    ] {
        let preprocessing: Preprocessing = toml::from_str(text).unwrap();
        let error = open("cast", &preprocessing, Choice::Rten).err().unwrap();
        assert!(
            !error.is_unsupported() && error.to_string().contains(says),
            "{error}"
        );
    }
}
