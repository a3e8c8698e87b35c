//! `hoodwink grad`: the file it writes, run by two engines that know nothing of this program.

use std::{path::Path, sync::OnceLock};

use ort::{environment::Environment, session::Session, value::Tensor as OrtTensor};
use rten_tensor::{AsView as _, Tensor};

use crate::setup::{asset, succeed};

/// Pictures in a batch.
const N: usize = 3;
const CLASSES: usize = 10;
const PIXELS: usize = 784;

/// `logits`, `loss` and `grad` of a batch.
struct Answer {
    logits: Vec<f32>,
    loss: Vec<f32>,
    grad: Vec<f32>,
}

/// Runs a file on pictures and their labels.
type Run = fn(&Path, &[f32], &[i64]) -> Answer;

/// ONNX Runtime, which a process loads once.
fn onnx_runtime() -> &'static Environment {
    static LOADED: OnceLock<Environment> = OnceLock::new();
    LOADED.get_or_init(|| {
        let library = std::env::var_os("ORT_DYLIB_PATH").expect(
            "this test needs ONNX Runtime: set ORT_DYLIB_PATH to its shared library, or run `cargo xtask test`, which \
             installs it",
        );
        ort::init_from(library).unwrap().build().unwrap()
    })
}

fn with_onnx_runtime(file: &Path, x: &[f32], labels: &[i64]) -> Answer {
    let mut session = Session::builder(onnx_runtime())
        .unwrap()
        .commit_from_file(file)
        .unwrap();
    let inputs: Vec<String> = session
        .inputs()
        .iter()
        .map(|input| input.name().to_owned())
        .collect();
    assert_eq!(inputs.len(), 2);
    assert_eq!(inputs[1], "labels");
    let x = OrtTensor::from_array(([N, 1, 28, 28], x.to_vec())).unwrap();
    let labels = OrtTensor::from_array(([N], labels.to_vec())).unwrap();
    let answers = session
        .run(ort::inputs![inputs[0].as_str() => x, "labels" => labels])
        .unwrap();
    let floats = |name: &str, shape: &[i64]| {
        let (found, values) = answers[name].try_extract_tensor::<f32>().unwrap();
        assert_eq!(&found[..], shape, "{name}");
        values.to_vec()
    };
    Answer {
        logits: floats("logits", &[N as i64, CLASSES as i64]),
        loss: floats("loss", &[N as i64]),
        grad: floats("grad", &[N as i64, 1, 28, 28]),
    }
}

fn with_rten(file: &Path, x: &[f32], labels: &[i64]) -> Answer {
    let model = rten::Model::load_file(file).unwrap();
    let x = Tensor::from_data(&[N, 1, 28, 28], x.to_vec());
    // rten counts in 32 bits.
    let labels: Vec<i32> = labels.iter().map(|&label| label as i32).collect();
    let labels = Tensor::from_data(&[N], labels);
    let input = model.input_ids()[0];
    let outputs = ["logits", "loss", "grad"].map(|name| model.node_id(name).unwrap());
    let inputs = vec![
        (input, x.into()),
        (model.node_id("labels").unwrap(), labels.into()),
    ];
    let floats = |value: rten::Value| -> Vec<f32> {
        let tensor: Tensor<f32> = value.try_into().unwrap();
        tensor.to_vec()
    };
    let answers = model.run(inputs, &outputs, None).unwrap();
    let [logits, loss, grad] = <[rten::Value; 3]>::try_from(answers).unwrap().map(floats);
    Answer { logits, loss, grad }
}

#[test]
fn any_engine_runs_the_gradient() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("grad.onnx");
    let model = asset("mnist/models/Convnet_avgpool.onnx");
    let said = succeed(&["grad", &model, "-o", file.to_str().unwrap()]);
    assert!(said.contains("nodes forward"), "{said}");

    let samples = crate::setup::samples(N);
    let x: Vec<f32> = samples
        .iter()
        .flat_map(|sample| sample.picture.to_image().pixels().to_vec())
        .collect();
    let labels = [7, 2, 3];
    let engines: [(&str, Run); 2] = [("ONNX Runtime", with_onnx_runtime), ("rten", with_rten)];
    for (engine, run) in engines {
        let here = run(&file, &x, &labels);
        for (n, &label) in labels.iter().enumerate() {
            let logits = &here.logits[n * CLASSES..][..CLASSES];
            let sum: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
            let cross_entropy = sum.ln() - f64::from(logits[label as usize]);
            let loss = f64::from(here.loss[n]);
            assert!(
                (loss - cross_entropy).abs() < 1e-4 * (1.0 + loss),
                "{engine}: {loss}, {cross_entropy}"
            );
        }
        // A step against the direction of the gradient takes off as much as the gradient says.
        let square: f64 = here.grad.iter().map(|&g| f64::from(g).powi(2)).sum();
        let step = 1e-3 / square.sqrt();
        let moved = |sign: f64| -> Vec<f32> {
            let move_one =
                |(&x, &g): (&f32, &f32)| (f64::from(x) + sign * step * f64::from(g)) as f32;
            x.iter().zip(&here.grad).map(move_one).collect()
        };
        let loss = |x: &[f32]| -> f64 {
            run(&file, x, &labels)
                .loss
                .iter()
                .map(|&l| f64::from(l))
                .sum()
        };
        let slope = (loss(&moved(1.0)) - loss(&moved(-1.0))) / (2.0 * step);
        assert!(
            (slope / square - 1.0).abs() < 0.02,
            "{engine}: {slope} instead of {square}"
        );
        assert_eq!(here.grad.len(), N * PIXELS);
    }
}
