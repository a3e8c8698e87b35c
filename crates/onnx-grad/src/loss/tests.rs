use super::*;
use crate::{
    Tensor, gradient,
    testing::{BATCH, Domain, Program, draw, floats, rng, shape, sides, slopes},
};

const CLASSES: usize = 5;

fn graph(loss: Loss, classes: &str) -> (Graph, ValueId) {
    let mut graph = Graph::new();
    let logits = graph.input("logits", DType::F32, shape(&format!("N {classes}")));
    let [labels, targets] =
        ["labels", "targets"].map(|name| graph.input(name, DType::I64, shape("N")));
    let loss = loss
        .append(&mut graph, logits, labels, Some(targets))
        .expect("the shapes fit");
    (graph, loss)
}

fn classes(values: &[i64]) -> Tensor {
    Tensor::vector(values)
}

/// The definitions, in 64-bit floats and with a sort.
fn definition(loss: Loss, z: &[f32], y: usize, t: usize) -> f64 {
    let z: Vec<f64> = z.iter().map(|&value| f64::from(value)).collect();
    let normaliser = z.iter().map(|value| value.exp()).sum::<f64>().ln();
    let but = |class: usize| {
        let others = (0..z.len()).filter(|&other| other != class);
        others.map(|other| z[other]).fold(f64::MIN, f64::max)
    };
    let mut sorted = z.clone();
    sorted.sort_by(|a, b| b.total_cmp(a));
    match loss {
        Loss::CrossEntropy => normaliser - z[y],
        Loss::CrossEntropyTargeted => z[t] - normaliser,
        Loss::TwoTerm => (normaliser - z[y]) - (normaliser - z[t]),
        Loss::Margin => but(y) - z[y],
        Loss::MarginTargeted => z[t] - but(t),
        Loss::Dlr => -(z[y] - but(y)) / (sorted[0] - sorted[2] + 1e-12),
        Loss::DlrTargeted => -(z[y] - z[t]) / (sorted[0] - (sorted[2] + sorted[3]) / 2.0 + 1e-12),
    }
}

#[test]
fn losses_are_what_their_definitions_say() {
    for loss in Loss::ALL {
        let (mut graph, value) = graph(loss, "5");
        graph.output("loss", value);
        let program = Program::new(&graph);
        let mut rng = rng("losses");
        // In some draws the true class wins, in others it loses.
        for draw_number in 0..20 {
            let logits = draw(&mut rng, &shape("N 5"), Domain::Any);
            let (y, t) = (draw_number % CLASSES, (draw_number + 2) % CLASSES);
            let (labels, targets) = ([y as i64; BATCH], [t as i64; BATCH]);
            let inputs = [logits.clone(), classes(&labels), classes(&targets)];
            let losses = program.run(&inputs).remove(0);
            for (row, &value) in floats(&losses).iter().enumerate() {
                let z = &floats(&logits)[row * CLASSES..][..CLASSES];
                let expected = definition(loss, z, y, t);
                let error = (f64::from(value) - expected).abs() / expected.abs().max(1.0);
                assert!(error < 2e-6, "{loss:?}: {value} is not {expected}");
            }
        }
    }
}

#[test]
fn gradients_agree_with_differences() {
    for loss in Loss::ALL {
        let (graph, value) = graph(loss, "5");
        let mut rng = rng("gradients of losses");
        let logits = draw(&mut rng, &shape("N 5"), Domain::Distinct);
        let inputs = [logits, classes(&[0, 3]), classes(&[2, 4])];
        let slopes = slopes(&graph, value, 0, &inputs, 0.03, &mut rng).expect("losses are smooth");
        assert!(slopes.relative_error() < 3e-4, "{loss:?}: {slopes:?}");
    }
}

#[test]
fn equal_logits_leave_one_winner() {
    for (loss, expected) in [
        (Loss::Margin, [-1.0, 1.0, 0.0, 0.0]),
        (Loss::MarginTargeted, [-1.0, 0.0, 0.0, 1.0]),
    ] {
        let (mut graph, value) = graph(loss, "4");
        let logits = graph.inputs()[0];
        let gradients = gradient(&mut graph, value, &[logits]).expect("losses are smooth");
        graph.output("grad", gradients[0]);
        let logits = Tensor::f32(sides(&shape("N 4")), vec![2.0; 8]).expect("whole");
        let inputs = [logits, classes(&[0, 0]), classes(&[3, 3])];
        let gradient = Program::new(&graph).run(&inputs).remove(0);
        assert_eq!(floats(&gradient), [expected, expected].concat(), "{loss:?}");
    }
}

#[test]
fn unfit_inputs_are_refused() {
    let mut graph = Graph::new();
    let logits = graph.input("logits", DType::F32, shape("N 3"));
    let labels = graph.input("labels", DType::I64, shape("N"));
    let mut message = |loss: Loss, logits, labels, targets| {
        let error = loss.append(&mut graph, logits, labels, targets);
        error.unwrap_err().to_string()
    };
    let few = message(Loss::DlrTargeted, logits, labels, Some(labels));
    assert!(few.contains("needs 4 classes"), "{few}");
    let missing = message(Loss::TwoTerm, logits, labels, None);
    assert!(missing.contains("needs targets"), "{missing}");
    let swapped = message(Loss::Margin, labels, logits, None);
    assert!(swapped.contains("[N, C]"), "{swapped}");
    let unlike = message(Loss::Margin, logits, logits, None);
    assert!(unlike.contains("one integer class"), "{unlike}");
}

#[test]
fn cross_entropy_keeps_its_gradient_where_the_softmax_is_sure() {
    let (mut graph, value) = graph(Loss::CrossEntropy, "3");
    let logits = graph.inputs()[0];
    let gradients = gradient(&mut graph, value, &[logits]).expect("losses are smooth");
    graph.output("grad", gradients[0]);
    let logits = vec![60.0, 0.0, -1.0, 0.0, 120.0, 0.0];
    let logits = Tensor::f32([2, 3], logits).expect("whole");
    let inputs = [logits, classes(&[0, 0]), classes(&[1, 1])];
    let gradient = Program::new(&graph).run(&inputs).remove(0);
    // p_1 = e^-60 up to e^-60, and all of the mass is on the wrong class.
    let expected = [-1.198e-26, 8.757e-27, 3.221e-27, -1.0, 1.0, 0.0];
    for (value, expected) in floats(&gradient).iter().zip(expected) {
        assert!(
            (value - expected).abs() <= 1e-3 * expected.abs(),
            "{value} is not {expected}"
        );
    }
}
