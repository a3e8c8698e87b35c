use super::*;
use crate::{
    Loss, Tensor, gradient_at,
    objective::tests::{Objective, inputs},
    objective_graph,
    testing::{Domain, Program, draw, floats, rng, shape},
};

const CLASSES: usize = 3;

/// `step(x A) B`, with names before and after the step.
fn model(step: &[Op]) -> Graph {
    let mut rng = rng("inner values");
    let mut graph = Graph::new();
    let x = graph.input("x", DType::F32, shape("N 4"));
    graph.name("x", x);
    let [first, last] = ["4 5", "5 3"].map(|sides| draw(&mut rng, &shape(sides), Domain::Any));
    let first = graph.constant(first);
    let before = graph.add(Op::MatMul, &[x, first]).expect("it fits");
    graph.name("before", before);
    let mut after = before;
    for op in step {
        let four = graph.scalar(4.0);
        let mut inputs = vec![after];
        inputs.extend(matches!(op, Op::Mul | Op::Div).then_some(four));
        after = graph.add(op.clone(), &inputs).expect("it fits");
    }
    graph.name("after", after);
    let last = graph.named_constant("last", last);
    graph.name("last", last);
    let scores = graph.add(Op::MatMul, &[after, last]).expect("it fits");
    graph.name("scores", scores);
    graph.output("y", scores);
    graph
}

/// The part of the model after the step, with its own input.
fn behind(model: &Graph) -> Graph {
    let mut graph = Graph::new();
    let x = graph.input("x", DType::F32, shape("N 5"));
    let last = model.names().iter().find(|(name, _)| name == "last");
    let last = last.and_then(|(_, id)| model.as_constant((*id)?));
    let last = graph.constant(last.expect("it is a constant").clone());
    let y = graph.add(Op::MatMul, &[x, last]).expect("it fits");
    graph.output("y", y);
    graph
}

fn rows() -> [Objective; 2] {
    [
        Objective::of(Loss::CrossEntropy, CLASSES, 1, 0),
        Objective::of(Loss::Dlr, CLASSES, 0, 2),
    ]
}

fn run(graph: &Graph, x: &Tensor, rows: &[Objective]) -> Vec<Tensor> {
    Program::new(graph).run(&[vec![x.clone()], inputs(rows)].concat())
}

#[test]
fn gradients_inside_are_those_of_what_lies_behind() -> Result<()> {
    let model = model(&[Op::Tanh]);
    let graph = gradient_at(&model, &["after", "before", "x", "scores"])?;
    let names: Vec<&str> = graph.outputs().iter().map(|(name, _)| &**name).collect();
    let expected = [
        "logits",
        "grad",
        "value/after",
        "grad/after",
        "value/before",
        "grad/before",
        "value/x",
        "grad/x",
        "value/scores",
        "grad/scores",
    ];
    assert_eq!(names, expected);
    let x = draw(&mut rng("inside"), &shape("N 4"), Domain::Any);
    let outputs = run(&graph, &x, &rows());
    let [
        logits,
        grad,
        after,
        grad_after,
        before,
        grad_before,
        value,
        grad_value,
        ..,
    ] = &outputs[..]
    else {
        panic!("{} outputs", outputs.len());
    };
    assert_eq!((value, grad_value), (&x, grad));
    assert_eq!(logits, &outputs[8]);

    let own = run(&objective_graph(&behind(&model))?, after, &rows());
    assert_eq!([&own[0], &own[1]], [logits, grad_after]);
    let slopes = floats(after).iter().zip(floats(grad_after));
    for ((&found, (&y, &g)), &z) in floats(grad_before).iter().zip(slopes).zip(floats(before)) {
        assert!((z.tanh() - y).abs() < 1e-6);
        assert!((found - g * (1.0 - y * y)).abs() < 1e-6, "{found}");
    }
    Ok(())
}

#[test]
fn gradients_inside_agree_with_differences() -> Result<()> {
    let model = model(&[Op::Tanh]);
    let x = draw(&mut rng("differences inside"), &shape("N 4"), Domain::Any);
    let row = rows()[0].clone();
    let rows = [row.clone(), row];
    let outputs = run(&gradient_at(&model, &["after"])?, &x, &rows);
    let [after, gradient] = [2, 3].map(|at| floats(&outputs[at]).to_vec());
    let behind = Program::new(&behind(&model));
    // Twice the unscaled cross-entropy of class 1: ln(e^z0 + e^z2) - z1 in both rows.
    let at = |distance: f32| -> f64 {
        let moved = after.iter().zip(&gradient);
        let moved: Vec<f32> = moved.map(|(y, g)| y + distance * g.signum()).collect();
        let moved = Tensor::f32([2, 5], moved).expect("whole");
        let logits = behind.run(&[moved]).remove(0);
        let rows = floats(&logits).chunks(CLASSES).map(|z| {
            let [a, b, c] = [0, 1, 2].map(|class| f64::from(z[class]));
            (a.exp() + c.exp()).ln() - b
        });
        rows.sum()
    };
    let step = 0.02;
    let numeric = (8.0 * (at(step) - at(-step)) - (at(2.0 * step) - at(-2.0 * step)))
        / (12.0 * f64::from(step));
    let analytic: f64 = gradient.iter().map(|g| f64::from(g.abs())).sum();
    assert!(
        (analytic - numeric).abs() < 3e-4 * numeric,
        "{analytic} is not {numeric}"
    );
    Ok(())
}

#[test]
fn a_quantiser_passes_the_gradient_of_the_identity() -> Result<()> {
    let quantised = model(&[Op::Mul, Op::Round, Op::Div]);
    let passing = with_backward(&quantised, "before", "after")?;
    assert_eq!(inner_values(&passing), inner_values(&quantised));
    let x = draw(&mut rng("quantiser"), &shape("N 4"), Domain::Any);
    // The same weights of the logits everywhere, so that the value of the step does not matter.
    let rows = [vec![1.0, -2.0, 0.5], vec![0.0, 1.0, -1.0]].map(Objective::linear);
    let [plain, stepped, passed] = [&model(&[]), &quantised, &passing]
        .map(|graph| gradient_at(graph, &["after"]).map(|graph| run(&graph, &x, &rows)));
    let (plain, stepped, passed) = (plain?, stepped?, passed?);
    assert_eq!(passed[0], stepped[0], "values are as they were");
    assert_ne!(passed[0], plain[0]);
    assert!(floats(&stepped[1]).iter().all(|&g| g == 0.0));
    assert_eq!(passed[1], plain[1]);
    assert_eq!(
        passed[3], plain[3],
        "what flows back to the end of the step"
    );
    Ok(())
}

#[test]
fn a_step_that_is_none_is_refused() {
    let model = model(&[Op::Round]);
    for (from, to, reason) in [
        ("before", "scores", "has shape [N, 5] and \"scores\" [N, 3]"),
        ("after", "before", "\"before\" does not depend on \"after\""),
        ("after", "after", "does not depend"),
        (
            "befor",
            "after",
            "\"befor\" is not a value inside the model; the closest available name is \"before\"",
        ),
        ("before", "last", "\"last\" does not depend on the input"),
    ] {
        let error = with_backward(&model, from, to).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
        assert!(!error.contains("invalid model"), "{error}");
    }
}

#[test]
fn what_cannot_be_asked_for_is_refused() -> Result<()> {
    let mut model = model(&[Op::Tanh]);
    let (_, scores) = model.outputs()[0].clone();
    let softmax = model.add(Op::Softmax { axis: 1 }, &[scores])?;
    model.name("softmax", softmax);
    model.clear_outputs();
    model.output("y", softmax);
    for (names, reason) in [
        (&["after", "after"][..], "\"after\" is requested twice"),
        (&["softmax"], "the logits do not depend on \"softmax\""),
    ] {
        let error = gradient_at(&model, names).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    Ok(())
}
