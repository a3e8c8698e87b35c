//! Gradients of real models agree with PyTorch's, on both engines.
//!
//! The numbers were made by `goldens/make.py` and are described in `goldens/README.md`. The models and pictures are not
//! part of the repository: the tests look for them in the folder that `HOODWINK_ASSETS` names.

mod assets;

use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use hoodwink::{
    data::{DataOptions, Dataset},
    engine::{self, Choice},
    image::{Image, Picture},
    model::Classifier,
    oracle::{Differential, Loss, Objective, pool::Model as _},
    preprocessing::{Channels, InputRange, Layout, Preprocessing},
};
use npyz::npz::NpzArchive;

/// A model of the assets, by the name of its golden, with the preprocessing its authors used.
struct Asset {
    golden: &'static str,
    preprocessing: fn() -> Preprocessing,
}

fn plain() -> Preprocessing {
    Preprocessing::default()
}

fn normalised(mean: [f32; 3], std: [f32; 3]) -> Preprocessing {
    Preprocessing {
        mean: mean.to_vec(),
        std: std.to_vec(),
        ..Preprocessing::default()
    }
}

fn imagenet() -> Preprocessing {
    normalised([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
}

fn c10() -> Preprocessing {
    normalised([0.4914, 0.4822, 0.4465], [0.2471, 0.2435, 0.2616])
}

fn c10b() -> Preprocessing {
    normalised([0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010])
}

fn kw() -> Preprocessing {
    normalised([0.485, 0.456, 0.406], [0.225; 3])
}

fn eran() -> Preprocessing {
    Preprocessing {
        mean: vec![0.1307],
        std: vec![0.3081],
        ..Preprocessing::default()
    }
}

fn zero_to_255() -> Preprocessing {
    Preprocessing {
        input_range: InputRange::ZeroTo255,
        ..Preprocessing::default()
    }
}

fn nhwc() -> Preprocessing {
    Preprocessing {
        layout: Layout::Nhwc,
        ..Preprocessing::default()
    }
}

fn minus_one_to_one() -> Preprocessing {
    Preprocessing {
        input_range: InputRange::MinusOneToOne,
        ..Preprocessing::default()
    }
}

fn squeezenet() -> Preprocessing {
    Preprocessing {
        mean: [103.94, 116.78, 123.68]
            .map(|mean: f32| mean / 255.0)
            .to_vec(),
        input_range: InputRange::ZeroTo255,
        channels: Channels::Bgr,
        ..Preprocessing::default()
    }
}

const ASSETS: [Asset; 28] = [
    Asset {
        golden: "cifar10__cifar_cnn_a_adv",
        preprocessing: c10,
    },
    Asset {
        golden: "cifar10__cifar_cnn_a_mix",
        preprocessing: c10,
    },
    Asset {
        golden: "cifar10__cifar_wide_kw",
        preprocessing: kw,
    },
    Asset {
        golden: "cifar10__marabou_cifar10_small",
        preprocessing: nhwc,
    },
    Asset {
        golden: "cifar10__resnet20_akamaster",
        preprocessing: imagenet,
    },
    Asset {
        golden: "cifar10__resnet20_akamaster_slim",
        preprocessing: imagenet,
    },
    Asset {
        golden: "cifar10__resnet_2b_adv2",
        preprocessing: c10,
    },
    Asset {
        golden: "cifar10__vit_pgd_2_3_16",
        preprocessing: c10b,
    },
    Asset {
        golden: "fashion__kw_fashion_eps01",
        preprocessing: plain,
    },
    Asset {
        golden: "imagenet__SqueezeNet_fp16_original",
        preprocessing: squeezenet,
    },
    Asset {
        golden: "imagenet__mobilenet_v1_050_160",
        preprocessing: minus_one_to_one,
    },
    Asset {
        golden: "imagenet__mobilenet_v2_100_224",
        preprocessing: minus_one_to_one,
    },
    Asset {
        golden: "imagenet__squeezenet1_1_f32",
        preprocessing: squeezenet,
    },
    Asset {
        golden: "mnist__Convnet_avgpool",
        preprocessing: plain,
    },
    Asset {
        golden: "mnist__eran_conv_small_nat",
        preprocessing: eran,
    },
    Asset {
        golden: "mnist__fastadv_pgd_eps03",
        preprocessing: plain,
    },
    Asset {
        golden: "mnist__kw_mnist_eps01",
        preprocessing: plain,
    },
    Asset {
        golden: "mnist__mnist-net_256x2",
        preprocessing: plain,
    },
    Asset {
        golden: "mnist__mnist_relu_9_200",
        preprocessing: plain,
    },
    Asset {
        golden: "mnist__onnxzoo_mnist",
        preprocessing: zero_to_255,
    },
    Asset {
        golden: "2021_mnistfc__mnist-net_256x2",
        preprocessing: plain,
    },
    Asset {
        golden: "2021_mnistfc__mnist-net_256x4",
        preprocessing: plain,
    },
    Asset {
        golden: "2021_mnistfc__mnist-net_256x6",
        preprocessing: plain,
    },
    Asset {
        golden: "2021_oval21__cifar_base_kw",
        preprocessing: kw,
    },
    Asset {
        golden: "2021_oval21__cifar_deep_kw",
        preprocessing: kw,
    },
    Asset {
        golden: "2021_oval21__cifar_wide_kw",
        preprocessing: kw,
    },
    Asset {
        golden: "2021_verivital__Convnet_avgpool",
        preprocessing: plain,
    },
    Asset {
        golden: "2021_verivital__Convnet_maxpool",
        preprocessing: plain,
    },
];

const LOSSES: [(&str, Loss); 5] = [
    ("", Loss::CrossEntropy),
    ("_margin", Loss::Margin),
    ("_dlr", Loss::Dlr),
    ("_dlr_targeted", Loss::DlrTargeted),
    ("_cross_entropy_targeted", Loss::TwoTerm),
];

/// Relative L2 error that a gradient may have where the question is well posed: where noise of the size of an engine's
/// rounding moves PyTorch's gradient no further (`grad_gap` of the golden).
const TOLERANCE: f64 = 1e-4;

/// The models of which no two pictures are well posed, among the first twenty. Of their millions of activations some always
/// lie within rounding of a kink of ReLU, Clip or MaxPool, and each that falls to its other side switches a path of the
/// gradient on or off. An engine may be as far from PyTorch there as noise takes PyTorch from itself.
const ILL_POSED: [&str; 4] = [
    "imagenet__SqueezeNet_fp16_original",
    "imagenet__mobilenet_v1_050_160",
    "imagenet__mobilenet_v2_100_224",
    "imagenet__squeezenet1_1_f32",
];

#[test]
fn gradients_agree_with_pytorch_on_rten() {
    check(Choice::Rten);
}

#[test]
fn gradients_agree_with_pytorch_on_onnx_runtime() {
    check(Choice::Ort);
}

fn check(choice: Choice) {
    let engine = engine::open(choice).expect("an engine; `cargo xtask test` brings ONNX Runtime");
    let mut compared = 0;
    let mut failures = Vec::new();
    for asset in &ASSETS {
        let mut golden = Golden::open(asset.golden);
        let ill_posed = ILL_POSED.contains(&asset.golden);
        let mut widest = 0.0_f64;
        let model = Classifier::open(
            &model_path(asset.golden),
            &(asset.preprocessing)(),
            engine.clone(),
        )
        .unwrap_or_else(|error| panic!("{}: {error}", asset.golden));
        let images = images(asset.golden, &mut golden, model.input());
        let mut worker = model.worker().unwrap();
        let labels = golden.integers("labels");
        // Only the models with a targeted loss have targets.
        let targets = golden
            .optional_integers("targets")
            .unwrap_or_else(|| labels.clone());
        for (suffix, loss) in LOSSES {
            let Some(expected_loss) = golden.floats(&format!("loss{suffix}")) else {
                continue;
            };
            let gaps = golden
                .floats(&format!("grad_gap{suffix}"))
                .expect("a gap for every gradient");
            let objectives: Vec<Objective> = labels
                .iter()
                .zip(&targets)
                .map(|(&label, &target)| Objective::Loss {
                    loss,
                    label,
                    target: Some(target),
                })
                .collect();
            let seen = worker
                .differentials(
                    &images.iter().collect::<Vec<_>>(),
                    &objectives.iter().collect::<Vec<_>>(),
                )
                .unwrap();
            for (at, seen) in seen.iter().enumerate() {
                let what = format!("{} {loss:?} picture {at}", asset.golden);
                let expected = f64::from(expected_loss[at]);
                if (f64::from(seen.loss) - expected).abs() > 2e-3 * (1.0 + expected.abs()) {
                    failures.push(format!("{what}: loss {} instead of {expected}", seen.loss));
                }
                let gap = f64::from(gaps[at]);
                widest = widest.max(gap);
                compared += 1;
                let error = golden.error(suffix, at, seen);
                if error.is_nan() || error > TOLERANCE.max(gap) {
                    failures.push(format!(
                        "{what}: relative L2 error {error:.1e}, gap {gap:.1e}"
                    ));
                }
            }
        }
        if (widest > TOLERANCE) != ill_posed {
            failures.push(format!(
                "{}: noise moves the gradient by {widest:.1e}",
                asset.golden
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert_eq!(compared, 144, "every gradient is compared");
}

/// The numbers of one model.
struct Golden(NpzArchive<BufReader<File>>);

impl Golden {
    fn open(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/goldens/{name}.npz"));
        Self(NpzArchive::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    }

    fn floats(&mut self, key: &str) -> Option<Vec<f32>> {
        Some(self.0.by_name(key).unwrap()?.into_vec().unwrap())
    }

    fn optional_integers(&mut self, key: &str) -> Option<Vec<usize>> {
        let values: Vec<i64> = self.0.by_name(key).unwrap()?.into_vec().unwrap();
        Some(
            values
                .into_iter()
                .map(|value| usize::try_from(value).unwrap())
                .collect(),
        )
    }

    fn integers(&mut self, key: &str) -> Vec<usize> {
        self.optional_integers(key).expect(key)
    }

    /// Relative L2 error of a picture's gradient; over the recorded coordinates where not all were.
    fn error(&mut self, suffix: &str, at: usize, seen: &Differential) -> f64 {
        let actual = seen.gradient.pixels();
        let (expected, actual): (Vec<f32>, Vec<f32>) = match self.floats(&format!("grad{suffix}")) {
            Some(all) => (
                all[at * actual.len()..][..actual.len()].to_vec(),
                actual.to_vec(),
            ),
            None => {
                let values = self
                    .floats(&format!("grad_at_coords{suffix}"))
                    .expect("a gradient");
                let own = |coordinate: usize| {
                    coordinate
                        .checked_sub(at * actual.len())
                        .filter(|&own| own < actual.len())
                };
                let coordinates = self.integers("coords");
                let pairs = coordinates.into_iter().zip(values);
                pairs
                    .filter_map(|(coordinate, value)| Some((value, actual[own(coordinate)?])))
                    .unzip()
            }
        };
        let length =
            |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
        let difference = length(
            &mut expected
                .iter()
                .zip(&actual)
                .map(|(&a, &b)| f64::from(a) - f64::from(b)),
        );
        difference / length(&mut expected.iter().map(|&v| f64::from(v)))
    }
}

fn model_path(golden: &str) -> PathBuf {
    let (set, model) = golden.split_once("__").unwrap();
    let file = format!("{model}.onnx");
    match set {
        "cifar10" | "mnist" | "fashion" | "imagenet" => {
            assets::folder().join(set).join("models").join(file)
        }
        _ => assets::folder().join("vnncomp").join(set).join(file),
    }
}

/// The two pictures a golden is about.
fn images(golden: &str, numbers: &mut Golden, [_, height, width]: [usize; 3]) -> Vec<Image> {
    let set = golden.split_once("__").unwrap().0;
    let array = match set {
        "cifar10" | "2021_oval21" => "cifar10/test_0-499_x_u8_NHWC.npy",
        "mnist" | "2021_mnistfc" | "2021_verivital" => "mnist/test_2500_x_u8.npy",
        "fashion" => "fashion/sprite450_x_u8.npy",
        _ => "",
    };
    if array.is_empty() {
        let folder = assets::folder().join("imagenet/images");
        let files = files(&folder);
        return numbers
            .integers("rows")
            .into_iter()
            .map(|row| {
                let file = &files[row];
                let picture =
                    Picture::decode(&std::fs::read(folder.join(file)).unwrap(), file).unwrap();
                centre(&picture, height, width).to_image()
            })
            .collect();
    }
    let data = Dataset::open(&assets::folder().join(array), &DataOptions::default()).unwrap();
    let rows = numbers.integers("rows");
    rows.into_iter()
        .map(|row| data.get(row).unwrap().picture.to_image())
        .collect()
}

/// The files that `labels.csv` names.
fn files(folder: &Path) -> Vec<String> {
    let table = std::fs::read_to_string(folder.join("labels.csv")).unwrap();
    let lines = table.lines().skip(1);
    lines
        .map(|line| line.split(',').next().unwrap().to_owned())
        .collect()
}

/// The middle of a picture; an odd margin is cut off at the end.
fn centre(picture: &Picture, height: usize, width: usize) -> Picture {
    let (top, left) = (
        (picture.height() - height) / 2,
        (picture.width() - width) / 2,
    );
    let channels = picture.channels();
    let row = |y: usize| {
        &picture.bytes()[((top + y) * picture.width() + left) * channels..][..width * channels]
    };
    let bytes = (0..height).flat_map(|y| row(y).iter().copied()).collect();
    Picture::new(channels, height, width, bytes).unwrap()
}
