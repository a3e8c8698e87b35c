//! Models whose last steps saturate.

use std::{fs, path::Path};

use onnx_grad::{DType, Dim, Graph, Lowering, Op, Tensor, ValueId, to_onnx};
use serde_json::Value;

use crate::setup::{hoodwink, npy, succeed};

const SOFTMAX: Op = Op::Softmax { axis: 1 };

/// A linear model of grey pictures of 4 x 4 that is sure by far, with a head; and eight pictures with its answers as labels.
fn write(folder: &Path, head: impl Fn(&mut Graph, ValueId) -> ValueId) -> [String; 3] {
    let mut graph = Graph::new();
    let shape = vec![Dim::Batch(1), 1.into(), 4.into(), 4.into()];
    let x = graph.input("x", DType::F32, shape);
    let shape = vec![Dim::Batch(1), 16.into()];
    let flat = graph.add(Op::Reshape { shape }, &[x]).unwrap();
    let weight = |at: usize| ((at * 37 % 23) as f32 - 11.0) * 2.0;
    let weights: Vec<f32> = (0..64).map(weight).collect();
    let constant = graph.constant(Tensor::f32([16, 4], weights).unwrap());
    let z = graph.add_named("z", Op::MatMul, &[flat, constant]).unwrap();
    let y = head(&mut graph, z);
    graph.output("y", y);
    let bytes: Vec<u8> = (0..8 * 16).map(|at| (at * at * 29 % 251) as u8).collect();
    let label = |picture: &[u8]| {
        let logit = |class: usize| -> f32 {
            let products = picture.iter().enumerate();
            products
                .map(|(at, &x)| f32::from(x) * weight(4 * at + class))
                .sum()
        };
        (0..4)
            .max_by(|&a, &b| logit(a).total_cmp(&logit(b)))
            .unwrap() as u8
    };
    let labels: Vec<u8> = bytes.chunks(16).map(label).collect();
    let path = |name: &str| folder.join(name).display().to_string();
    let [model, pictures, answers] = ["m.onnx", "x.npy", "y.npy"].map(path);
    fs::write(&model, to_onnx(&graph, Lowering::Portable).unwrap()).unwrap();
    fs::write(&pictures, npy("|u1", &[8, 4, 4], &bytes)).unwrap();
    fs::write(&answers, npy("|u1", &[8], &labels)).unwrap();
    [model, pictures, answers]
}

/// Robust accuracy under attack, and what was said.
fn attacked([model, pictures, labels]: &[String; 3], out: &Path, rest: &[&str]) -> (f64, String) {
    let out = out.display().to_string();
    let args = [
        "attack", model, pictures, "--labels", labels, "--eps", "0.3", "--format", "json",
        "--mean", "0", "--std", "1", "--out", &out,
    ];
    let output = hoodwink(&[&args[..], rest].concat());
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{errors}");
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let robust = &said["attacks"][0]["robust_accuracy"]["value"];
    (robust.as_f64().unwrap(), errors)
}

#[test]
fn what_comes_after_a_softmax_hides_nothing_from_an_attack() {
    let folder = tempfile::tempdir().unwrap();
    let files = write(folder.path(), |graph, z| {
        let p = graph.add(SOFTMAX, &[z]).unwrap();
        let (min, max) = (0.01, 0.99);
        graph.add(Op::Clip { min, max }, &[p]).unwrap()
    });
    for loss in ["ce", "margin", "dlr"] {
        let (robust, said) = attacked(&files, &folder.path().join(loss), &["--loss", loss]);
        assert_eq!(robust, 0.0, "{loss}: {said}");
        assert!(!said.contains("gradients vanish"), "{said}");
    }
    let table = succeed(&["inspect", &files[0]]);
    assert!(
        table.contains("is skipped: scores are its input"),
        "{table}"
    );
}

/// Of two softmaxes the first is named in a warning, with the value before it, which can be chosen.
#[test]
fn a_value_inside_the_model_is_chosen_as_the_scores() {
    let folder = tempfile::tempdir().unwrap();
    let files = write(folder.path(), |graph, z| {
        let p = graph.add_named("p", SOFTMAX, &[z]).unwrap();
        graph.add(SOFTMAX, &[p]).unwrap()
    });
    let (_, said) = attacked(&files, &folder.path().join("a"), &[]);
    assert!(
        said.contains("gradients vanish") && said.contains("\"z\""),
        "{said}"
    );
    let (robust, said) = attacked(&files, &folder.path().join("b"), &["--scores", "z"]);
    assert_eq!(robust, 0.0);
    assert!(!said.contains("gradients vanish"), "{said}");
    // What is set is not advised.
    let (_, said) = attacked(&files, &folder.path().join("c"), &["--keep-softmax"]);
    assert!(
        said.contains("turn off the setting that keeps it") && !said.contains("\"z\""),
        "{said}"
    );
}
