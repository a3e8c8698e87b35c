//! Attacks beside their reference implementations, picture by picture: what these found is in goldens/attacks, made by
//! goldens/attacks.py. docs/attacks.md has the whole table; here is as much of it as is fast.

mod assets;

use std::path::PathBuf;

use hoodwink::{
    attacks::{Attack, Case, Spec, random},
    data::{DataOptions, Dataset},
    engine::{self, Choice},
    evaluate::Evaluation,
    image::Image,
    model::Classifier,
    oracle::{
        Access, Budget, Halt,
        pool::{Parallelism, drive},
    },
    plan::{self, Options},
    preprocessing::Preprocessing,
    results::Row,
    threat::{Bounds, Goal, Norm, Region, Threat},
};
use onnx_grad::{DType, Dim, Graph, LoadOptions, Lowering, Op, Tensor};
use serde_json::Value;

struct Golden(Value);

impl Golden {
    fn read(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../goldens/attacks");
        let text = std::fs::read_to_string(path.join(format!("{name}.json"))).unwrap();
        Self(serde_json::from_str(&text).unwrap())
    }

    fn floats(&self, key: &str) -> Vec<f32> {
        let values = self.0[key].as_array().unwrap().iter();
        values.map(|value| value.as_f64().unwrap() as f32).collect()
    }

    /// What the reference found in the first run that fits.
    fn run(&self, fits: impl Fn(&Value) -> bool) -> &Value {
        let mut runs = self.0["runs"].as_array().unwrap().iter();
        runs.find(|run| fits(run)).unwrap()
    }

    /// The rows of an attack on the golden's first `count` pictures.
    fn rows(&self, attack: &str, norm: Norm, eps: Option<&str>, count: usize) -> Vec<Row> {
        let folder = assets::folder().join("cifar10");
        let preprocessing = Preprocessing {
            mean: self.floats("mean"),
            std: self.floats("std"),
            ..Preprocessing::default()
        };
        let model = folder
            .join("models")
            .join(self.0["model"].as_str().unwrap());
        let engine = engine::open(Choice::Rten).unwrap();
        let model = Classifier::open(&model, &preprocessing, engine).unwrap();
        let options = DataOptions {
            labels: Some(folder.join("test_0-499_y.npy")),
            limit: Some(count),
            ..DataOptions::default()
        };
        let data = Dataset::open(&folder.join("test_0-499_x_u8_NHWC.npy"), &options).unwrap();
        let evaluation: Evaluation = plan::evaluation(
            &Options {
                attacks: Spec::parse_all(attack).unwrap(),
                shared: Vec::new(),
                threat: Threat {
                    norm,
                    target: None,
                    access: Access::Gradients,
                    budget: Budget::default(),
                },
                radii: eps.iter().map(|eps| eps.parse().unwrap()).collect(),
                skips_broken: false,
                seed: 0,
            },
            model.input(),
            model.classes(),
        )
        .unwrap();
        let crew = Parallelism {
            threads: 2,
            batch: 16,
        };
        let mut rows = Vec::new();
        let all = 0..data.len();
        evaluation
            .run(&model, &data, all, crew, &Halt::new(), |attacked| {
                rows.extend(attacked.rows);
                Ok(())
            })
            .unwrap();
        rows.sort_by_key(|row| row.index);
        assert_eq!(rows.len(), count);
        rows
    }
}

/// Five values from -2 to 3, and two classes: the sum of the first two against that of the others.
#[test]
fn a_network_whose_input_is_no_picture_is_attacked_in_its_own_box() {
    let mut graph = Graph::new();
    let shape = vec![Dim::Batch(1), Dim::Fixed(5), Dim::Fixed(1)];
    let x = graph.input("x", DType::F32, shape);
    let flat = vec![Dim::Batch(1), Dim::Fixed(5)];
    let x = graph.add(Op::Reshape { shape: flat }, &[x]).unwrap();
    let weights = [1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0];
    let weights = graph.named_constant("w", Tensor::f32([5, 2], weights).unwrap());
    let y = graph.add(Op::MatMul, &[x, weights]).unwrap();
    graph.output("y", y);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vector.onnx");
    let bytes = onnx_grad::to_onnx(&graph, Lowering::Portable).unwrap();
    std::fs::write(&path, bytes).unwrap();

    let engine = engine::open(Choice::Rten).unwrap();
    let model = Classifier::open_in_own_space(&path, &LoadOptions::default(), engine).unwrap();
    assert_eq!(model.input(), [1, 1, 5]);
    let center = Image::new([1, 1, 5], vec![2.5, 1.0, -1.9, 0.5, 0.0]).unwrap();
    let bounds = Bounds::same(-2.0, 3.0).unwrap();
    for (recipe, norm, radius) in [
        ("pgd", Norm::Linf, Some(1.1)),
        ("apgd-ce", Norm::L2, Some(2.6)),
        ("ddn(levels=0, init_norm=2)", Norm::L2, None),
        ("hopskipjump(iterations=8)", Norm::L2, None),
    ] {
        let attack = Attack::parse(recipe).unwrap();
        let region = Region::new(center.clone(), norm, radius);
        let region = region.bounded(bounds.clone()).unwrap();
        let mut found = Vec::new();
        drive(
            &[&model],
            Parallelism {
                threads: 1,
                batch: 1,
            },
            std::iter::once(region),
            &Halt::new(),
            |region, handle| {
                let attack = &attack;
                Box::pin(async move {
                    let case = Case {
                        region,
                        goal: Goal::Untargeted { label: 0 },
                        starts: Vec::new(),
                        rng: random::stream(0, "", "", 0),
                    };
                    let candidate = attack.run(&handle, &case).await?;
                    Ok((candidate, case.region))
                })
            },
            |one| {
                found.push(one);
                Ok(())
            },
        )
        .unwrap();
        let (candidate, region) = found.remove(0);
        assert!(candidate.reached, "{recipe}");
        assert!(region.contains(&candidate.image), "{recipe}: {candidate:?}");
        // The margin is 4.9: no point nearer than 4.9 / 5 in L-inf, or 4.9 / sqrt(5) in L2, fools.
        assert!(region.distance(&candidate.image) > 0.9, "{recipe}");
    }
}

/// Of 64 pictures at most two have another verdict: random starts differ.
#[test]
fn auto_pgd_decides_as_the_original_does() {
    let golden = Golden::read("apgd-resnet_2b_adv2");
    for (attack, norm, eps) in [
        ("apgd-ce", Norm::Linf, "2/255"),
        ("apgd-dlr", Norm::Linf, "8/255"),
        ("apgd-ce", Norm::L2, "0.5"),
        ("apgd-ce", Norm::L1, "8"),
    ] {
        let radius = eps.parse::<hoodwink::threat::Eps>().unwrap().value();
        let theirs = golden.run(|run| {
            run["attack"] == attack
                && run["norm"].as_str().unwrap().to_lowercase() == norm.word()
                && (run["eps"].as_f64().unwrap() - radius).abs() < 1e-9
        });
        let theirs = theirs["robust"].as_str().unwrap().chars();
        let rows = golden.rows(attack, norm, Some(eps), 64);
        let differing = rows.iter().zip(theirs).filter(|(row, theirs)| {
            let right = row.clean.label == row.label;
            let robust = right && !row.float.is_some_and(|float| float.success);
            robust != (*theirs == '1')
        });
        let differing = differing.count();
        assert!(differing <= 2, "{attack} in {norm}: {differing}");
    }
}

#[test]
fn ddn_comes_as_near_as_its_authors() {
    let golden = Golden::read("ddn-resnet_2b_adv2");
    let run = golden.run(|run| run["steps"] == 100);
    let theirs: Vec<Option<f64>> = run["distance"].as_array().unwrap()[..64]
        .iter()
        .map(Value::as_f64)
        .collect();
    let rows = golden.rows("ddn", Norm::L2, None, 64);
    let (mut ours, mut others) = (Vec::new(), Vec::new());
    for (row, theirs) in rows.iter().zip(theirs) {
        let found = row.float.filter(|float| float.success);
        assert_eq!(found.is_some(), theirs.is_some(), "picture {}", row.index);
        ours.extend(found.map(|found| found.norms.l2));
        others.extend(theirs);
    }
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let (ours, others) = (median(ours), median(others));
    assert!(ours <= 1.02 * others, "{ours} {others}");
}
