//! The same seed gives the same bytes, whatever the number of threads and of pictures in hand at once: no answer depends
//! on what else is asked.

mod assets;

use std::{collections::BTreeMap, fs, path::Path};

use hoodwink::{
    attacks::Attack,
    data::{DataOptions, Dataset},
    engine::{self, Choice},
    evaluate::{Evaluation, Trial},
    image::Image,
    model::{BatchSafety, Classifier},
    oracle::{
        Access, Budget, Differential, Halt, Loss, Objective,
        pool::{Model as _, Parallelism, Worker},
    },
    plan,
    preprocessing::Preprocessing,
    report,
    results::{DataRecord, ModelRecord, Run, RunFolder, Settings, table},
    run::{Ended, Limits, run},
    threat::{Eps, Norm, Threat},
};
use onnx_grad::{DType, Dim, Graph, Lowering, Op, Reduction};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Model, pictures, and their labels.
const MODELS: [(&str, &str, &str); 5] = [
    ("mnist/models/mnist-net_256x2.onnx", MNIST, MNIST_LABELS),
    ("mnist/models/mnist_relu_9_200.onnx", MNIST, MNIST_LABELS),
    ("mnist/models/Convnet_avgpool.onnx", MNIST, MNIST_LABELS),
    ("cifar10/models/vit_pgd_2_3_16.onnx", CIFAR, CIFAR_LABELS),
    (
        "cifar10/models/resnet20_akamaster.onnx",
        CIFAR,
        CIFAR_LABELS,
    ),
];
const MNIST: &str = "mnist/test_2500_x_u8.npy";
const MNIST_LABELS: &str = "mnist/test_2500_y.npy";
const CIFAR: &str = "cifar10/test_0-499_x_u8_NHWC.npy";
const CIFAR_LABELS: &str = "cifar10/test_0-499_y.npy";

fn preprocessing(model: &str) -> Preprocessing {
    let (mean, std) = match model.split_once('/') {
        Some(("cifar10", _)) => (vec![0.485, 0.456, 0.406], vec![0.229, 0.224, 0.225]),
        _ => (Vec::new(), Vec::new()),
    };
    Preprocessing {
        mean,
        std,
        ..Preprocessing::default()
    }
}

fn open(model: &str, choice: Choice) -> Classifier {
    let engine = engine::open(choice).expect("an engine; `cargo xtask test` brings ONNX Runtime");
    let path = assets::folder().join(model);
    Classifier::open(&path, &preprocessing(model), engine)
        .unwrap_or_else(|error| panic!("{model}: {error}"))
}

fn data(pictures: &str, labels: &str, limit: usize) -> Dataset {
    let options = DataOptions {
        labels: Some(assets::folder().join(labels)),
        limit: Some(limit),
        ..DataOptions::default()
    };
    Dataset::open(&assets::folder().join(pictures), &options).unwrap()
}

#[test]
fn answers_do_not_depend_on_company_in_rten() {
    answers_do_not_depend_on_company(Choice::Rten, &[BatchSafety::Any, BatchSafety::NotAlone]);
}

#[test]
fn answers_do_not_depend_on_company_in_onnx_runtime() {
    answers_do_not_depend_on_company(Choice::Ort, &[BatchSafety::Any, BatchSafety::NotAlone]);
}

/// Asks about sixteen pictures in batches of every size up to eight and of sixteen, each picture in several places.
fn answers_do_not_depend_on_company(choice: Choice, expected: &[BatchSafety]) {
    const COUNT: usize = 16;
    for (model, pictures, labels) in MODELS {
        let classifier = open(model, choice);
        let data = data(pictures, labels, COUNT);
        let images: Vec<Image> = (0..COUNT)
            .map(|at| data.get(at).unwrap().picture.to_image())
            .collect();
        let mut worker = classifier.worker().unwrap();
        for loss in [None, Some(Loss::CrossEntropy), Some(Loss::Dlr)] {
            let mut ask = |at: &[usize]| ask(worker.as_mut(), &images, loss, at);
            let alone: Vec<Vec<u32>> = (0..COUNT).map(|at| ask(&[at]).remove(0)).collect();
            for count in (2..=8).chain([16]) {
                for first in (0..COUNT).step_by(5) {
                    let batch: Vec<usize> = (0..count).map(|at| (first + 3 * at) % COUNT).collect();
                    for (at, answer) in batch.iter().zip(ask(&batch)) {
                        assert_eq!(
                            answer, alone[*at],
                            "{model}, {loss:?}: picture {at} among {batch:?}"
                        );
                    }
                }
            }
        }
        for (loss, company) in classifier.batch_safety().unwrap() {
            assert!(
                expected.contains(&company),
                "{model}, {loss:?}: {company:?}"
            );
        }
    }
}

/// Of large networks fewer are asked at once; five pictures, in batches of every size.
#[test]
fn answers_of_large_networks_do_not_depend_on_company() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let images: Vec<Image> = (0..5)
        .map(|_| {
            let pixels = (0..3 * 224 * 224).map(|_| rng.random());
            Image::new([3, 224, 224], pixels.collect()).unwrap()
        })
        .collect();
    for choice in [Choice::Rten, Choice::Ort] {
        let mut classifier = open("imagenet/models/squeezenet1_1_f32.onnx", choice);
        classifier.set_threads(2);
        let mut worker = classifier.worker().unwrap();
        for loss in [None, Some(Loss::CrossEntropy)] {
            let mut ask = |at: &[usize]| ask(worker.as_mut(), &images, loss, at);
            let alone: Vec<Vec<u32>> = (0..5).map(|at| ask(&[at]).remove(0)).collect();
            for batch in [&[3, 1][..], &[0, 4, 2], &[2, 3, 0, 1], &[1, 0, 4, 3, 2]] {
                for (at, answer) in batch.iter().zip(ask(batch)) {
                    assert!(
                        answer == alone[*at],
                        "{choice:?}, {loss:?}: {at} among {batch:?}"
                    );
                }
            }
        }
    }
}

/// The bits of each answer.
fn ask(
    worker: &mut dyn Worker,
    images: &[Image],
    loss: Option<Loss>,
    at: &[usize],
) -> Vec<Vec<u32>> {
    let asked: Vec<&Image> = at.iter().map(|&at| &images[at]).collect();
    let bits =
        |values: &[f32]| -> Vec<u32> { values.iter().map(|value| value.to_bits()).collect() };
    let Some(loss) = loss else {
        let logits = worker.logits(&asked).unwrap();
        return logits.iter().map(|logits| bits(logits)).collect();
    };
    let objective = |at: &usize| Objective::Loss {
        loss,
        label: at % 10,
        target: None,
    };
    let objectives: Vec<Objective> = at.iter().map(objective).collect();
    let all =
        |seen: &Differential| [&seen.logits, &[seen.loss][..], seen.gradient.pixels()].concat();
    let seen = worker
        .differentials(&asked, &objectives.iter().collect::<Vec<_>>())
        .unwrap();
    seen.iter().map(|seen| bits(&all(seen))).collect()
}

#[test]
fn runs_are_the_same_bytes_whatever_the_crew_in_rten() {
    runs_are_the_same_bytes_whatever_the_crew(Choice::Rten);
}

#[test]
fn runs_are_the_same_bytes_whatever_the_crew_in_onnx_runtime() {
    runs_are_the_same_bytes_whatever_the_crew(Choice::Ort);
}

fn runs_are_the_same_bytes_whatever_the_crew(choice: Choice) {
    let crews =
        [(1, 1), (2, 3), (1, 8), (2, 8)].map(|(threads, batch)| Parallelism { threads, batch });
    for (model, pictures, labels) in MODELS {
        let data = data(pictures, labels, 6);
        let files = crews.map(|crew| {
            let folder = tempfile::tempdir().unwrap();
            attack(folder.path(), model, choice, &data, crew);
            let mut files = BTreeMap::new();
            collect(folder.path(), folder.path(), &mut files);
            files.remove("timing.json").expect("a run is timed");
            files
        });
        assert!(files[0].len() > 6, "{model}: {:?}", files[0].keys());
        for (crew, others) in crews.iter().zip(&files).skip(1) {
            let names = |files: &BTreeMap<String, Vec<u8>>| -> Vec<String> {
                files.keys().cloned().collect()
            };
            assert_eq!(names(&files[0]), names(others), "{model}, {crew:?}");
            for (name, bytes) in others {
                assert!(
                    files[0][name] == *bytes,
                    "{model}, {crew:?}: {name} differs"
                );
            }
        }
    }
}

/// Attacks six pictures by PGD from two random starts, into a run folder with a report.
fn attack(path: &Path, model: &str, choice: Choice, data: &Dataset, crew: Parallelism) {
    let classifier = open(model, choice);
    let eps: Eps = if model.starts_with("mnist") {
        "0.1".parse().unwrap()
    } else {
        "2/255".parse().unwrap()
    };
    let pgd = Attack::parse("pgd(steps=3, restarts=2)").unwrap();
    let evaluation = Evaluation {
        threat: Threat {
            norm: Norm::Linf,
            target: None,
            access: Access::Gradients,
            budget: Budget::default(),
        },
        radii: vec![eps],
        swept: None,
        trials: vec![Trial {
            attack: pgd,
            key: "pgd".into(),
        }],
        skips_broken: false,
        seed: 7,
    };
    let record = Run {
        schema: table::SCHEMA,
        hoodwink: env!("CARGO_PKG_VERSION").into(),
        engine: classifier.engine().version(),
        partition: None,
        findings: None,
        model: ModelRecord {
            path: model.into(),
            sha256: classifier.sha256().into(),
            input: classifier.input(),
            classes: classifier.classes(),
            preprocessing: String::new(),
        },
        data: DataRecord {
            path: String::new(),
            digest: data.digest().unwrap(),
            samples: data.len(),
            class_names: Vec::new(),
            truth: Default::default(),
        },
        threat: plan::threat_record(&evaluation),
        attacks: plan::attack_records(&evaluation),
        settings: Settings { seed: 7 },
        options: toml::Table::new(),
    };
    let folder = RunFolder::create(path, &record).unwrap();
    let (limits, halt) = (Limits::default(), Halt::new());
    let ended = run(
        &folder,
        &evaluation,
        &classifier,
        data,
        crew,
        limits,
        &halt,
        |_| {},
    );
    assert_eq!(ended.unwrap(), Ended::Complete);
    report::write(&folder).unwrap();
}

/// Every file under a folder, by its path within it.
fn collect(root: &Path, folder: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, files);
        } else {
            let name = path.strip_prefix(root).unwrap().display().to_string();
            files.insert(name, fs::read(&path).unwrap());
        }
    }
}

/// A model that takes the mean over its batch, so that its batch stays at 1.
#[test]
fn a_model_for_one_picture_at_a_time_answers_several_one_by_one() {
    let mut graph = Graph::new();
    let shape: Vec<Dim> = [1, 1, 2, 2].map(Dim::Fixed).to_vec();
    let x = graph.input("x", DType::F32, shape);
    let over_batch = Op::Reduce {
        kind: Reduction::Mean,
        axes: vec![0],
        keep_dims: true,
    };
    let mean = graph.add(over_batch, &[x]).unwrap();
    let three = graph.scalar(3.0);
    let scaled = graph.add(Op::Mul, &[x, three]).unwrap();
    let y = graph.add(Op::Sub, &[scaled, mean]).unwrap();
    let shape = vec![Dim::Fixed(1), Dim::Fixed(4)];
    let y = graph.add(Op::Reshape { shape }, &[y]).unwrap();
    graph.output("y", y);
    let bytes = onnx_grad::to_onnx(&graph, Lowering::Portable).unwrap();
    for choice in [Choice::Rten, Choice::Ort] {
        let engine = engine::open(choice).unwrap();
        let model = Classifier::from_bytes(&bytes, &Preprocessing::default(), engine).unwrap();
        assert!(
            model.notices()[0].starts_with("batch frozen at 1"),
            "{:?}",
            model.notices()
        );
        let images = [[0.0, 0.25, 0.5, 1.0], [1.0, 0.5, 0.0, 0.0]]
            .map(|pixels| Image::new([1, 2, 2], pixels.to_vec()).unwrap());
        let asked: Vec<&Image> = images.iter().collect();
        let mut worker = model.worker().unwrap();
        let logits = worker.logits(&asked).unwrap();
        assert_eq!(logits, [[0.0, 0.5, 1.0, 2.0], [2.0, 1.0, 0.0, 0.0]]);
        let objective = Objective::Loss {
            loss: Loss::Margin,
            label: 3,
            target: None,
        };
        let seen = worker.differentials(&asked, &[&objective; 2]).unwrap();
        // Largest other logit minus that of the label, each twice its pixel.
        assert_eq!(seen[0].gradient.pixels(), [0.0, 0.0, 2.0, -2.0]);
        assert_eq!(seen[1].gradient.pixels(), [2.0, 0.0, 0.0, -2.0]);
    }
}
