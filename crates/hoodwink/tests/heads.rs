//! Classifiers whose last steps saturate: every front sees the same logits, and a sure softmax hides no gradient.

use hoodwink::{
    Result,
    engine::{self, Choice},
    image::Image,
    model::Classifier,
    oracle::{Loss, Objective, argmax, confidence, pool::Model as _},
    preprocessing::Preprocessing,
};
use onnx_grad::{
    DType, Dim, Graph, LoadOptions, Lowering, Op, Tensor, ValueId, gradient_graph,
    inspect::inspect_bytes, parse_with, to_onnx,
};

const CLASSES: usize = 4;

/// What a file does to logits.
type Head = fn(&mut Graph, ValueId) -> ValueId;

fn apply(graph: &mut Graph, op: Op, inputs: &[ValueId]) -> ValueId {
    graph.add(op, inputs).unwrap()
}

fn softmax(graph: &mut Graph, z: ValueId) -> ValueId {
    apply(graph, Op::Softmax { axis: 1 }, &[z])
}

/// Quantised to 255 levels and back.
fn rounded(graph: &mut Graph, p: ValueId) -> ValueId {
    let levels = graph.scalar(255.0);
    let many = apply(graph, Op::Mul, &[p, levels]);
    let whole = apply(graph, Op::Round, &[many]);
    apply(graph, Op::Div, &[whole, levels])
}

/// An ONNX file of a linear model that is sure by far, with a head.
fn file(head: Head) -> Vec<u8> {
    let mut graph = Graph::new();
    let shape = vec![Dim::Batch(1), 1.into(), 4.into(), 4.into()];
    let x = graph.input("x", DType::F32, shape);
    let shape = vec![Dim::Batch(1), 16.into()];
    let flat = apply(&mut graph, Op::Reshape { shape }, &[x]);
    let weights: Vec<f32> = (0..16 * CLASSES)
        .map(|at| ((at * 37 % 23) as f32 - 11.0) * 20.0)
        .collect();
    let weights = graph.constant(Tensor::f32([16, CLASSES], weights).unwrap());
    let z = graph.add_named("z", Op::MatMul, &[flat, weights]).unwrap();
    let y = head(&mut graph, z);
    graph.output("y", y);
    to_onnx(&graph, Lowering::Portable).unwrap()
}

fn open(bytes: &[u8]) -> Result<Classifier> {
    Classifier::from_bytes(
        bytes,
        &Preprocessing::default(),
        engine::open(Choice::Rten)?,
    )
}

fn picture() -> Image {
    let pixels = (0..16)
        .map(|at| (at * 7 % 13) as f32 / 16.0 + 0.1)
        .collect();
    Image::new([1, 4, 4], pixels).unwrap()
}

fn close(a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() < 1e-5 * (1.0 + b.abs()), "{a} {b}");
    }
}

const HEADS: [(&str, Head); 9] = [
    ("logits", |_, z| z),
    ("softmax", softmax),
    ("quantised", |g, z| {
        let p = softmax(g, z);
        rounded(g, p)
    }),
    ("logarithm", |g, z| {
        let p = softmax(g, z);
        apply(g, Op::Log, &[p])
    }),
    ("logarithm of more", |g, z| {
        let p = softmax(g, z);
        let tiny = g.scalar(1e-7);
        let more = apply(g, Op::Add, &[p, tiny]);
        apply(g, Op::Log, &[more])
    }),
    ("clip", |g, z| {
        let p = softmax(g, z);
        let (min, max) = (0.01, 0.99);
        apply(g, Op::Clip { min, max }, &[p])
    }),
    ("percent, turned", |g, z| {
        let p = softmax(g, z);
        let hundred = g.scalar(100.0);
        let percent = apply(g, Op::Mul, &[p, hundred]);
        let shape = vec![Dim::Batch(1), CLASSES.into(), 1.into()];
        apply(g, Op::Reshape { shape }, &[percent])
    }),
    ("log-softmax", |g, z| {
        apply(g, Op::LogSoftmax { axis: 1 }, &[z])
    }),
    ("sigmoids", |g, z| apply(g, Op::Sigmoid, &[z])),
];

/// A step along the gradient's signs fools all of them; where the softmax is sure its own gradient would be 0.
#[test]
fn one_step_fools_whatever_comes_after_the_logits() -> Result<()> {
    let plain = open(&file(|_, z| z))?;
    let logits = plain.worker()?.logits(&[&picture()])?.remove(0);
    let label = argmax(&logits);
    assert_eq!(confidence(&logits, label), 1.0, "{logits:?}");
    for (name, head) in HEADS {
        let model = open(&file(head))?;
        let mut worker = model.worker()?;
        assert_eq!(worker.logits(&[&picture()])?[0], logits, "{name}");
        for loss in [Loss::CrossEntropy, Loss::Margin, Loss::Dlr] {
            let objective = Objective::Loss {
                loss,
                label,
                target: None,
            };
            let found = worker
                .differentials(&[&picture()], &[&objective])?
                .remove(0);
            close(&found.logits, &logits);
            let mut x = picture();
            for (x, g) in x.pixels_mut().iter_mut().zip(found.gradient.pixels()) {
                *x += 0.5 * g.signum();
            }
            let after = worker.logits(&[&x])?.remove(0);
            assert_ne!(argmax(&after), label, "{name}, {loss:?}");
        }
        let says = model.notices().iter().any(|one| one.contains("sigmoid"));
        assert_eq!(says, name == "sigmoids", "{:?}", model.notices());
    }
    Ok(())
}

/// Of two softmaxes one is looked through, by every front; the value before the first can be chosen.
#[test]
fn all_fronts_agree_on_the_logits_of_two_softmaxes() -> Result<()> {
    let bytes = file(|g, z| {
        let cooler = g.scalar(0.01);
        let z = g.add_named("cool", Op::Mul, &[z, cooler]).unwrap();
        let p = g.add_named("p", Op::Softmax { axis: 1 }, &[z]).unwrap();
        softmax(g, p)
    });
    let model = open(&bytes)?;
    let logits = model.worker()?.logits(&[&picture()])?.remove(0);
    assert!(
        (logits.iter().sum::<f32>() - 1.0).abs() < 1e-6,
        "{logits:?}"
    );
    let objective = Objective::Loss {
        loss: Loss::CrossEntropy,
        label: 0,
        target: None,
    };
    let found = model
        .worker()?
        .differentials(&[&picture()], &[&objective])?
        .remove(0);
    close(&found.logits, &logits);

    let loaded = parse_with(&bytes, None, &LoadOptions::default())?;
    let gradient = gradient_graph(&loaded.graph, Loss::CrossEntropy)?;
    let x = Tensor::f32([1, 1, 4, 4], picture().pixels().to_vec())?;
    let labels = Tensor::i64([1], vec![0])?;
    let outputs = engine::open(Choice::Rten)?
        .compile(&gradient)?
        .run(&[x, labels])?;
    close(outputs[0].as_f32().unwrap(), &logits);
    assert!((outputs[1].as_f32().unwrap()[0] - found.loss).abs() < 1e-6);

    let told = |notices: &[String]| {
        notices
            .iter()
            .any(|one| one.contains("cannot be looked through"))
    };
    assert!(told(model.notices()), "{:?}", model.notices());
    let inspected = inspect_bytes(&bytes, None, &LoadOptions::default())?;
    assert!(told(&inspected.notices), "{:?}", inspected.notices);
    let name = loaded.graph.names();
    let inner = name.iter().find(|(name, _)| name.contains("cool")).unwrap();
    let options = LoadOptions {
        output: Some(inner.0.clone()),
        ..LoadOptions::default()
    };
    let chosen = inspect_bytes(&bytes, None, &options)?;
    assert!(chosen.access.gradients.possible && !told(&chosen.notices));
    Ok(())
}
