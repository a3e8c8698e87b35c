//! Models that cannot be imported, run as they are, beside what ONNX Runtime answers in Python (`opaque/make.py`).

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use hoodwink::{
    Result,
    engine::{self, Choice},
    image::Image,
    model::Classifier,
    oracle::{Loss, Objective, pool::Model as _},
    preprocessing::{InputRange, Preprocessing},
};
use onnx_grad::LoadOptions;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/opaque")
        .join(name)
}

/// How `make.py` turns pictures into what a model eats.
fn preprocessing(name: &str) -> Preprocessing {
    if name == "bytes" {
        return Preprocessing {
            input_range: InputRange::ZeroTo255,
            ..Preprocessing::default()
        };
    }
    Preprocessing {
        mean: vec![0.5],
        std: vec![0.25],
        ..Preprocessing::default()
    }
}

fn open(name: &str, choice: Choice) -> Result<Classifier> {
    Classifier::open_for_scores(
        &file(&format!("{name}.onnx")),
        &LoadOptions::default(),
        &preprocessing(name),
        engine::open(choice)?,
    )
}

/// The pictures of `make.py`.
fn pictures() -> Vec<Image> {
    let picture = |number: usize| {
        let bytes = (16 * number..16 * number + 16).map(|at| (at * 37 + at / 16 * 11) % 256);
        Image::new([1, 4, 4], bytes.map(|byte| byte as f32 / 255.0).collect()).unwrap()
    };
    (0..2).map(picture).collect()
}

fn goldens() -> BTreeMap<String, Vec<Vec<f32>>> {
    let text = std::fs::read_to_string(file("goldens.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn softmax(logits: &[f32]) -> Vec<f32> {
    let sum: f32 = logits.iter().map(|z| z.exp()).sum();
    logits.iter().map(|z| z.exp() / sum).collect()
}

#[test]
fn both_engines_answer_as_onnx_runtime_does_in_python() {
    let pictures = pictures();
    let pictures: Vec<&Image> = pictures.iter().collect();
    let goldens = goldens();
    assert_eq!(goldens.len(), 7);
    for choice in [Choice::Rten, Choice::Ort] {
        for (name, expected) in &goldens {
            let only_on_ort = ["contributed", "padded"].contains(&name.as_str());
            if only_on_ort && choice == Choice::Rten {
                continue;
            }
            let model = open(name, choice).unwrap();
            assert!(model.runs_as_it_is(), "{name}");
            assert_eq!((model.input(), model.classes()), ([1, 4, 4], 3), "{name}");
            let mut worker = model.worker().unwrap();
            let together = worker.logits(&pictures).unwrap();
            // The scores of a file that ends in a softmax are the values before it.
            let answers = match name.as_str() {
                "bare" | "bytes" => together.iter().map(|row| softmax(row)).collect(),
                _ => together.clone(),
            };
            for (found, expected) in answers.iter().flatten().zip(expected.iter().flatten()) {
                assert!(
                    (found - expected).abs() < 2e-6,
                    "{name} on {choice:?}: {together:?}"
                );
            }
            // Also where the file takes one picture at a time, or the engine rounds by a picture's place.
            let alone = pictures
                .iter()
                .flat_map(|one| worker.logits(&[one]).unwrap());
            assert_eq!(alone.collect::<Vec<_>>(), together, "{name} on {choice:?}");
        }
    }
}

#[test]
fn what_runs_as_it_is_has_no_gradients_and_says_so() {
    let model = open("lstm", Choice::Rten).unwrap();
    let notices = model.notices().join("\n");
    assert!(
        notices.contains("\"rnn\" (LSTM)") && notices.contains("rten runs the file as it is"),
        "{notices}"
    );
    let objective = Objective::Loss {
        loss: Loss::CrossEntropy,
        label: 0,
        target: None,
    };
    let asked = (model.worker().unwrap()).differentials(&[&pictures()[0]], &[&objective]);
    let error = asked.unwrap_err().to_string();
    assert!(error.contains("there are no gradients"), "{error}");

    // Bytes are made of pixels without a word.
    let path = file("bytes.onnx");
    let (options, plain) = (LoadOptions::default(), Preprocessing::default());
    let engine = engine::open(Choice::Rten).unwrap();
    let model = Classifier::open_for_scores(&path, &options, &plain, engine).unwrap();
    let pictures = pictures();
    let pictures: Vec<&Image> = pictures.iter().collect();
    let said = open("bytes", Choice::Rten).unwrap();
    assert_eq!(
        model.worker().unwrap().logits(&pictures).unwrap(),
        said.worker().unwrap().logits(&pictures).unwrap()
    );
}

#[test]
fn what_rten_would_compute_otherwise_is_refused() {
    let error = open("padded", Choice::Rten).err().unwrap();
    assert!(error.is_unsupported());
    let error = error.to_string();
    for part in [
        "\"again\" (Loop)",
        "\"filter\" (ConvInteger): the engine rten pads with 0, not with the zero point",
        "use ONNX Runtime instead",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn probabilities_are_kept_on_request() {
    let options = LoadOptions {
        keep_softmax: true,
        ..LoadOptions::default()
    };
    let engine = engine::open(Choice::Rten).unwrap();
    let range = preprocessing("bytes");
    let model = Classifier::open_for_scores(&file("bytes.onnx"), &options, &range, engine).unwrap();
    let scores = (model.worker().unwrap()).logits(&[&pictures()[0]]).unwrap();
    let expected = &goldens()["bytes"][0];
    for (found, expected) in scores[0].iter().zip(expected) {
        assert!((found - expected).abs() < 1e-6, "{scores:?}");
    }
}

#[test]
fn an_engine_that_cannot_run_a_file_either_is_quoted() {
    let error = open("contributed", Choice::Rten).err().unwrap();
    assert!(error.is_unsupported());
    let error = error.to_string();
    for part in [
        "\"fused\" (FusedMatMul)",
        "the engine cannot run the file as it is either: engine rten",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
}
