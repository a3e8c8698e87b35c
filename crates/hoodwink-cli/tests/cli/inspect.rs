//! `hoodwink inspect`, and the flags that say how a model is read.

use std::{fs, io::Write as _, path::Path, time::Instant};

use onnx_grad::{DType, Dim, Graph, Lowering, Op, Tensor, to_onnx};
use serde_json::Value;

use crate::setup::{asset, hoodwink, succeed};

fn inspected(model: &str, rest: &[&str]) -> Value {
    let args = ["inspect", model, "--format", "json"];
    serde_json::from_str(&succeed(&[&args[..], rest].concat())).unwrap()
}

#[test]
fn published_models_have_the_figures_of_another_program() {
    // Counted in Python from the files and from the shapes that ONNX Runtime computes.
    for (model, parameters, multiply_adds, classes) in [
        (
            "cifar10/models/resnet20_akamaster.onnx",
            269_034,
            40_551_040,
            10,
        ),
        (
            "imagenet/models/SqueezeNet_fp16_original.onnx",
            1_235_496,
            349_151_936,
            1000,
        ),
        (
            "imagenet/models/mobilenet_v1_050_160.onnx",
            1_326_122,
            76_524_800,
            1000,
        ),
        ("mnist/models/eran_conv_small_nat.onnx", 89_606, 329_064, 10),
        ("mnist/models/mnist_relu_9_200.onnx", 440_410, 438_800, 10),
    ] {
        let said = inspected(&asset(model), &[]);
        assert_eq!(said["file"]["parameters"], parameters, "{model}");
        let classifier = &said["classifier"];
        assert_eq!(
            classifier["forward"]["multiply_adds"], multiply_adds,
            "{model}"
        );
        assert_eq!(classifier["classes"], classes, "{model}");
        assert_eq!(classifier["batch"], Value::Null, "{model}");
        for level in ["labels", "scores", "gradients"] {
            assert_eq!(said["access"][level]["possible"], true, "{model}: {level}");
        }
        let gradient = classifier["gradient"]["activation_bytes"].as_u64();
        assert!(
            gradient > classifier["forward"]["activation_bytes"].as_u64(),
            "{model}"
        );
    }
}

#[test]
fn the_table_tells_what_the_file_holds() {
    let table = succeed(&[
        "inspect",
        &asset("imagenet/models/SqueezeNet_fp16_original.onnx"),
    ]);
    for line in [
        "input           data_0 float16 [1, 3, 224, 224]",
        "parameters      1,235,496",
        "operators       Conv 26, Relu 26, Concat 8, MaxPool 3, Dropout 1, GlobalAveragePool 1, Softmax 1",
        "batch           any size",
        "softmax         final \"softmaxout_1\" is skipped: scores are its input (--keep-softmax includes it)",
        "gradients       yes",
    ] {
        assert!(
            table.lines().any(|found| found == line),
            "{line} is not in\n{table}"
        );
    }
    let table = succeed(&[
        "inspect",
        &asset("cifar10/models/marabou_cifar10_small.onnx"),
        "--layout=nhwc",
    ]);
    assert!(
        table.contains("preprocessing   axes in the order [0, 3, 1, 2] (Transpose"),
        "{table}"
    );
}

/// Pixels of a grey picture of 2 x 2, two rows of scores, and what the second is without its softmax.
fn two_headed(path: &Path) {
    let mut graph = Graph::new();
    let batch = Dim::Batch(1);
    let x = graph.input("x", DType::F32, vec![batch, 1.into(), 2.into(), 2.into()]);
    let flat = graph
        .add(
            Op::Reshape {
                shape: vec![batch, 4.into()],
            },
            &[x],
        )
        .unwrap();
    for (name, classes) in [("small", 2), ("large", 3)] {
        let values: Vec<f32> = (0..4 * classes).map(|at| at as f32).collect();
        let weight = graph.constant(Tensor::f32([4, classes], values).unwrap());
        let scores = graph.add(Op::MatMul, &[flat, weight]).unwrap();
        let scores = graph.add(Op::Softmax { axis: 1 }, &[scores]).unwrap();
        graph.output(name, scores);
    }
    fs::write(path, to_onnx(&graph, Lowering::Portable).unwrap()).unwrap();
}

#[track_caller]
fn refused(args: &[&str], says: &str) -> String {
    let output = hoodwink(args);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{args:?}: {errors}");
    assert!(
        errors.starts_with("error: ") && errors.contains(says),
        "{says}: {errors}"
    );
    assert_eq!(errors.lines().count(), 1, "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn one_of_several_outputs_is_chosen_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let model = path("two.onnx");
    two_headed(model.as_ref());
    let data = path("x.npy");
    fs::write(
        &data,
        crate::setup::npy("|u1", &[2, 2, 2], &[0, 50, 100, 150, 200, 250, 0, 9]),
    )
    .unwrap();
    let labels = path("y.npy");
    fs::write(&labels, crate::setup::npy("|u1", &[2], &[1, 1])).unwrap();
    let grad = path("grad.onnx");
    let run = path("run");
    let commands: [&[&str]; 4] = [
        &["inspect", &model],
        &["predict", &model, &data],
        &[
            "attack", &model, &data, "--labels", &labels, "--eps", "0.1", "--out", &run,
        ],
        &["grad", &model, "-o", &grad],
    ];
    for command in commands {
        let table = refused(command, "\"small\" [N, 2], \"large\" [N, 3]");
        assert_eq!(
            table.contains("scores          no: "),
            command[0] == "inspect",
            "{table}"
        );
        refused(
            &[command, &["--scores", "huge"]].concat(),
            "has no output \"huge\"; its outputs are \"small\", \"large\"",
        );
        succeed(&[command, &["--scores", "large"]].concat());
    }
    for (name, classes) in [("small", 2), ("large", 3)] {
        assert_eq!(
            inspected(&model, &["--scores", name])["classifier"]["classes"],
            classes
        );
    }
    let confidence = |rest: &[&str]| {
        let args = [
            "predict", &*model, &*data, "--scores", "large", "--format", "json",
        ];
        let said: Value = serde_json::from_str(&succeed(&[&args[..], rest].concat())).unwrap();
        said["pictures"][0]["top"][0]["confidence"]
            .as_f64()
            .unwrap()
    };
    // A run says which scores it attacked, so that it is not taken up with others.
    let settings = fs::read_to_string(folder.path().join("run/run.toml")).unwrap();
    assert!(
        settings.contains("scores=\\\"large\\\"") || settings.contains("scores=\"large\""),
        "{settings}"
    );
    // With the softmax kept, its probabilities are taken for scores: the softmax of 1, 0, 0 at most.
    let (seen_through, kept) = (confidence(&[]), confidence(&["--keep-softmax"]));
    assert!(
        seen_through > kept && kept < 0.577,
        "{seen_through}, {kept}"
    );
    let kept = inspected(&model, &["--scores", "large", "--keep-softmax"]);
    assert_eq!(kept["classifier"]["softmax"], Value::Null);
    assert_eq!(kept["access"]["gradients"]["possible"], true);
}

#[test]
fn a_model_that_cannot_be_imported_is_told_as_far_as_it_goes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("odd.onnx");
    let good = fs::read(asset("vnncomp/2021_verivital/Convnet_maxpool.onnx")).unwrap();
    // The same length, so that the file stays whole.
    let odd = replaced(&good, b"MaxPool", b"MinPool");
    fs::write(&path, odd).unwrap();
    let path = path.display().to_string();
    let table = refused(
        &["inspect", &path],
        "(MinPool): this operator is not supported",
    );
    let line = table
        .lines()
        .find(|line| line.starts_with("unsupported"))
        .unwrap();
    assert!(
        line.contains("MinPool, 1 node, the first ") || line.contains("MinPool, 2 nodes"),
        "{line}"
    );
    assert!(table.contains("gradients       no: "), "{table}");

    let output = hoodwink(&["inspect", &path, "--format", "json"]);
    assert_eq!(output.status.code(), Some(2));
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["classifier"], Value::Null);
    assert_eq!(said["file"]["unsupported"][0]["operator"], "MinPool");
    assert_eq!(said["access"]["labels"]["possible"], false);
}

fn replaced(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let mut found = 0;
    for at in 0..bytes.len() - old.len() {
        if &bytes[at..at + old.len()] == old {
            bytes[at..at + old.len()].copy_from_slice(new);
            found += 1;
        }
    }
    assert!(found > 0, "nothing to replace");
    bytes
}

#[test]
fn a_file_of_ten_million_nodes_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("many.onnx");
    // Field 7 of a model is its graph, field 1 of a graph a node: here an empty one.
    let nodes = 10_000_000;
    let mut length = Vec::new();
    let mut rest = 2 * nodes;
    while rest >= 0x80 {
        length.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    length.push(rest as u8);
    let mut file = fs::File::create(&path).unwrap();
    file.write_all(&[&[0x3a], &length[..], &[0x0a, 0].repeat(nodes)].concat())
        .unwrap();
    let path = path.display().to_string();
    let begun = Instant::now();
    for command in [&["inspect", &path][..], &["grad", &path, "-o", "/dev/null"]] {
        let table = refused(
            command,
            "many.onnx: unsupported model: has more than 131072 nodes",
        );
        assert_eq!(table, "");
    }
    assert!(begun.elapsed().as_secs() < 20);
}

/// ResNet-20 on pictures of CIFAR-10, whose normalisation is ImageNet's.
fn tried(flags: &[&str]) -> (Option<i32>, Value) {
    let files = [
        asset("cifar10/models/resnet20_akamaster.onnx"),
        asset("cifar10/test_0-499_x_u8_NHWC.npy"),
        asset("cifar10/test_0-499_y.npy"),
    ];
    let [model, pictures, labels] = files.each_ref().map(String::as_str);
    let args = [
        "inspect",
        model,
        pictures,
        "--labels",
        labels,
        "--pictures",
        "60",
        "--engine",
        "rten",
    ];
    let found = hoodwink(&[&args[..], &["--format", "json"], flags].concat());
    let said: Value = serde_json::from_slice(&found.stdout).unwrap();
    (found.status.code(), said["findings"].clone())
}

#[test]
fn wrong_preprocessing_is_found_and_right_preprocessing_is_let_be() {
    let right = ["--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225"];
    let (status, findings) = tried(&right);
    assert_eq!(
        (status, findings.as_array().map(Vec::len)),
        (Some(0), Some(0)),
        "{findings}"
    );
    let (status, findings) = tried(&[&right[..], &["--input-range", "0..255"]].concat());
    assert_eq!(status, Some(1));
    let found = findings.as_array().unwrap().iter();
    let remedies: Vec<&str> = found
        .filter(|finding| finding["mistake"] == "preprocessing")
        .map(|finding| finding["remedy"].as_str().unwrap())
        .collect();
    assert_eq!(remedies.len(), 1, "{findings}");
    // What was said, but for the range: of remedies that are as good the least change.
    assert!(remedies[0].starts_with("--mean 0.485,"), "{findings}");
    assert!(remedies[0].contains("--input-range=0..1"), "{findings}");
}

#[test]
fn mistakes_that_cost_no_accuracy_are_found() {
    let files = [
        asset("mnist/models/eran_conv_small_nat.onnx"),
        asset("mnist/test_2500_x_u8.npy"),
        asset("mnist/test_2500_y.npy"),
    ];
    let [model, pictures, labels] = files.each_ref().map(String::as_str);
    let args = ["inspect", model, pictures, "--labels", labels, "--quiet"];
    let right = ["--mean", "0.1307", "--std", "0.3081"];
    let found = hoodwink(&[&args[..], &right].concat());
    assert_eq!(found.status.code(), Some(0), "{found:?}");
    let found = hoodwink(&[&args[..], &right, &["--input-range=0..255"]].concat());
    assert_eq!(found.status.code(), Some(1));
    let said = String::from_utf8(found.stderr).unwrap();
    let with = "with other preprocessing (values 0..1), the model's confidence fits its accuracy on 2500 pictures";
    assert!(said.contains(with), "{said}");
    let try_this = "Try: --mean 0.1307 --std 0.3081 --input-range=0..1";
    assert!(said.contains(try_this), "{said}");
}

/// The standard deviations of another network: no significant number of pictures is lost by them.
#[test]
fn somewhat_wrong_normalisation_of_a_robust_network_is_found() {
    let files = [
        asset("cifar10/models/cifar_wide_kw.onnx"),
        asset("cifar10/test_0-499_x_u8_NHWC.npy"),
        asset("cifar10/test_0-499_y.npy"),
    ];
    let [model, pictures, labels] = files.each_ref().map(String::as_str);
    let args = ["inspect", model, pictures, "--labels", labels, "--quiet"];
    let right = ["--mean=0.485,0.456,0.406", "--std=0.225,0.225,0.225"];
    let found = hoodwink(&[&args[..], &right].concat());
    assert_eq!(found.status.code(), Some(0), "{found:?}");
    let wrong = ["--mean=0.4914,0.4822,0.4465", "--std=0.2471,0.2435,0.2616"];
    let found = hoodwink(&[&args[..], &wrong].concat());
    assert_eq!(found.status.code(), Some(1));
    let said = String::from_utf8(found.stderr).unwrap();
    assert!(
        said.contains("with other preprocessing (another mean or standard deviation)"),
        "{said}"
    );
    assert!(
        said.contains("Try: --mean 0.485,0.456,0.406 --std 0.22"),
        "{said}"
    );
}
