//! Published models: all import with a symbolic batch, and compute what the original file computes.
//!
//! The models are not part of the repository: the tests look for them in the folder that `HOODWINK_ASSETS` names.

use std::path::PathBuf;

use rand::RngExt;
use rten::{Model, ValueOrView};
use rten_tensor::AsView;

use crate::{
    Dim, Op, Tensor,
    import::load,
    testing::{Program, rng},
};

fn assets() -> PathBuf {
    let folder = std::env::var_os("HOODWINK_ASSETS").map_or_else(
        || {
            PathBuf::from(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../../../shared/assets"
            ))
        },
        PathBuf::from,
    );
    assert!(
        folder.is_dir(),
        "the models for this test are not at {}; set HOODWINK_ASSETS to their folder",
        folder.display()
    );
    folder
}

/// Model, sides of a picture, number of classes. The sixteen-bit model has no reference in rten.
const MODELS: &[(&str, &[usize], usize)] = &[
    ("cifar10/models/cifar_cnn_a_adv.onnx", &[3, 32, 32], 10),
    ("cifar10/models/cifar_cnn_a_mix.onnx", &[3, 32, 32], 10),
    ("cifar10/models/cifar_wide_kw.onnx", &[3, 32, 32], 10),
    (
        "cifar10/models/marabou_cifar10_small.onnx",
        &[32, 32, 3],
        10,
    ),
    ("cifar10/models/resnet20_akamaster.onnx", &[3, 32, 32], 10),
    (
        "cifar10/models/resnet20_akamaster_slim.onnx",
        &[3, 32, 32],
        10,
    ),
    ("cifar10/models/resnet_2b_adv2.onnx", &[3, 32, 32], 10),
    ("cifar10/models/vit_pgd_2_3_16.onnx", &[3, 32, 32], 10),
    ("fashion/models/kw_fashion_eps01.onnx", &[1, 28, 28], 10),
    (
        "imagenet/models/SqueezeNet_fp16_original.onnx",
        &[3, 224, 224],
        1000,
    ),
    (
        "imagenet/models/mobilenet_v1_050_160.onnx",
        &[3, 160, 160],
        1000,
    ),
    (
        "imagenet/models/mobilenet_v2_100_224.onnx",
        &[3, 224, 224],
        1000,
    ),
    (
        "imagenet/models/squeezenet1_1_f32.onnx",
        &[3, 224, 224],
        1000,
    ),
    ("mnist/models/Convnet_avgpool.onnx", &[1, 28, 28], 10),
    ("mnist/models/eran_conv_small_nat.onnx", &[1, 28, 28], 10),
    ("mnist/models/fastadv_pgd_eps03.onnx", &[1, 28, 28], 10),
    ("mnist/models/kw_mnist_eps01.onnx", &[1, 28, 28], 10),
    ("mnist/models/mnist-net_256x2.onnx", &[784, 1], 10),
    ("mnist/models/mnist_relu_9_200.onnx", &[1, 28, 28], 10),
    ("mnist/models/onnxzoo_mnist.onnx", &[1, 28, 28], 10),
    ("vnncomp/2021_mnistfc/mnist-net_256x2.onnx", &[784, 1], 10),
    ("vnncomp/2021_mnistfc/mnist-net_256x4.onnx", &[784, 1], 10),
    ("vnncomp/2021_mnistfc/mnist-net_256x6.onnx", &[784, 1], 10),
    ("vnncomp/2021_oval21/cifar_base_kw.onnx", &[3, 32, 32], 10),
    ("vnncomp/2021_oval21/cifar_deep_kw.onnx", &[3, 32, 32], 10),
    ("vnncomp/2021_oval21/cifar_wide_kw.onnx", &[3, 32, 32], 10),
    (
        "vnncomp/2021_verivital/Convnet_avgpool.onnx",
        &[1, 28, 28],
        10,
    ),
    (
        "vnncomp/2021_verivital/Convnet_maxpool.onnx",
        &[1, 28, 28],
        10,
    ),
];

#[test]
fn published_models_compute_what_their_files_compute() {
    let assets = assets();
    for &(name, sides, classes) in MODELS {
        let path = assets.join(name);
        let loaded = load(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        let is_half = name.contains("fp16");
        assert_eq!(loaded.notices.len(), usize::from(is_half), "{name}");
        let graph = &loaded.graph;
        let mut shape = vec![Dim::Batch(1)];
        shape.extend(sides.iter().map(|&side| Dim::Fixed(side)));
        assert_eq!(graph.shape(graph.inputs()[0]), shape, "{name}");
        let output = graph.shape(graph.outputs()[0].1);
        assert_eq!(output[..2], [Dim::Batch(1), Dim::Fixed(classes)], "{name}");

        let count: usize = sides.iter().product();
        let mut rng = rng(name);
        let pictures: Vec<f32> = (0..2 * count).map(|_| rng.random()).collect();
        let batch = Tensor::f32([&[2], sides].concat(), pictures.clone()).unwrap();
        let answers = Program::new(graph).run(&[batch]).remove(0);
        if is_half {
            continue;
        }
        let original = Model::load_file(&path).expect("rten reads the original");
        for (picture, answer) in pictures
            .chunks(count)
            .zip(answers.as_f32().unwrap().chunks(classes))
        {
            let x = rten_tensor::Tensor::from_data(&[&[1], sides].concat(), picture.to_vec());
            let inputs = vec![(
                original.input_ids()[0],
                ValueOrView::from(rten::Value::from(x)),
            )];
            let y = original.run(inputs, original.output_ids(), None);
            let y: rten_tensor::Tensor<f32> = y.expect("runs").remove(0).try_into().unwrap();
            let largest = y
                .iter()
                .fold(0.0_f32, |largest, value| largest.max(value.abs()));
            for (want, got) in y.iter().zip(answer) {
                assert!(
                    (want - got).abs() <= 1e-5 * largest,
                    "{name}: {got} for {want}"
                );
            }
        }
    }
}

#[test]
fn shape_arithmetic_of_raw_exports_vanishes() {
    let assets = assets();
    let count = |name: &str, op: &str| {
        let loaded = load(&assets.join(name)).unwrap();
        let nodes = loaded.graph.nodes().iter();
        nodes.filter(|node| node.op.name() == op).count()
    };
    let raw = "cifar10/models/resnet20_akamaster.onnx";
    assert_eq!(count(raw, "Conv"), 19);
    assert_eq!(count(raw, "Reshape"), 1);
    assert_eq!(count(raw, "Cast") + count(raw, "Concat"), 0);
    let vit = "cifar10/models/vit_pgd_2_3_16.onnx";
    assert_eq!(count(vit, Op::Softmax { axis: 0 }.name()), 2);
    assert_eq!(count(vit, "BatchNormalization") + count(vit, "Gather"), 0);
}
