use super::*;
use crate::{
    Loss, Lowering, Op, Tensor, ValueId, gradient_graph,
    testing::{Domain, Program, draw, floats, rng, shape},
    to_onnx,
};

const FEATURES: usize = 6;

/// The objective of one row.
#[derive(Clone)]
pub(crate) struct Objective {
    linear: Vec<f32>,
    out: Vec<f32>,
    pull: f32,
    hard: bool,
    spread: Vec<f32>,
    floor: f32,
}

impl Objective {
    pub(crate) fn of(loss: Loss, classes: usize, y: usize, t: usize) -> Self {
        let mut objective = Self::linear(vec![0.0; classes]);
        let (pull, hard) = match loss {
            Loss::CrossEntropy => (1.0, false),
            Loss::CrossEntropyTargeted => (-1.0, false),
            Loss::Margin | Loss::Dlr => (1.0, true),
            Loss::MarginTargeted => (-1.0, true),
            Loss::TwoTerm | Loss::DlrTargeted => (0.0, false),
        };
        (objective.pull, objective.hard) = (pull, hard);
        if pull >= 0.0 {
            objective.linear[y] -= 1.0;
        }
        if pull <= 0.0 {
            objective.linear[t] += 1.0;
        }
        if pull != 0.0 {
            objective.out[if pull > 0.0 { y } else { t }] = f32::MIN;
        }
        let spread: &[f32] = match loss {
            Loss::Dlr => &[1.0, 0.0, -1.0, 0.0],
            Loss::DlrTargeted => &[1.0, 0.0, -0.5, -0.5],
            _ => return objective,
        };
        let count = ranks(classes);
        objective.spread.copy_from_slice(&spread[..count]);
        objective.floor = 1e-12;
        objective
    }

    pub(crate) fn linear(weights: Vec<f32>) -> Self {
        Self {
            out: vec![0.0; weights.len()],
            pull: 0.0,
            hard: false,
            spread: vec![0.0; ranks(weights.len())],
            floor: 1.0,
            linear: weights,
        }
    }

    /// The positive factor between the row's gradient and the loss', from the logits of the row.
    fn factor(&self, z: &[f32]) -> f64 {
        let z: Vec<f64> = z.iter().map(|&z| f64::from(z)).collect();
        let mut sorted = z.clone();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let divisor: f64 = (self.spread.iter().zip(&sorted))
            .map(|(&weight, z)| f64::from(weight) * z)
            .sum();
        if self.pull != 0.0 && !self.hard {
            let sum = |of: &dyn Fn(usize) -> bool| -> f64 {
                let chosen = (0..z.len()).filter(|&class| of(class));
                chosen.map(|class| (z[class] - sorted[0]).exp()).sum()
            };
            return sum(&|class| self.out[class] == 0.0) / sum(&|_| true);
        }
        1.0 / (divisor + f64::from(self.floor))
    }
}

/// The inputs of an objective graph, without the model's own.
pub(crate) fn inputs(rows: &[Objective]) -> Vec<Tensor> {
    let floats = |values: &dyn Fn(&Objective) -> Vec<f32>| {
        let values: Vec<f32> = rows.iter().flat_map(values).collect();
        Tensor::f32([rows.len(), values.len() / rows.len()], values).expect("whole rows")
    };
    let hard: Vec<bool> = rows.iter().map(|row| row.hard).collect();
    vec![
        floats(&|row| row.linear.clone()),
        floats(&|row| row.out.clone()),
        floats(&|row| vec![row.pull]),
        Tensor::bool([rows.len(), 1], hard).expect("whole rows"),
        floats(&|row| row.spread.clone()),
        floats(&|row| vec![row.floor]),
    ]
}

/// `tanh(x A) B`; with `ties` the logits of the first and the last class are equal.
fn model(classes: usize, ties: bool) -> Graph {
    let mut rng = rng("objectives");
    let mut graph = Graph::new();
    let x = graph.input("x", DType::F32, shape(&format!("N {FEATURES}")));
    let first = draw(&mut rng, &shape(&format!("{FEATURES} 5")), Domain::Any);
    let last = draw(&mut rng, &shape(&format!("5 {classes}")), Domain::Any);
    let mut last = floats(&last).to_vec();
    if ties {
        last.chunks_mut(classes)
            .for_each(|row| row[classes - 1] = row[0]);
    }
    let last = Tensor::f32([5, classes], last).expect("whole");
    let mut value = x;
    for (weight, op) in [(first, Some(Op::Tanh)), (last, None)] {
        let weight = graph.constant(weight);
        value = graph.add(Op::MatMul, &[value, weight]).expect("it fits");
        if let Some(op) = op {
            value = graph.add(op, &[value]).expect("it fits");
        }
    }
    graph.output("scores", value);
    graph
}

/// Uses the input as logits, so the gradient is the cotangent.
fn bare(classes: usize) -> Graph {
    let mut graph = Graph::new();
    let x = graph.input("x", DType::F32, shape(&format!("N {classes}")));
    let y = graph
        .add(Op::Neg, &[x])
        .and_then(|y| graph.add(Op::Neg, &[y]));
    graph.output("scores", y.expect("it fits"));
    graph
}

fn matrix(rows: usize, values: Vec<f32>) -> Tensor {
    Tensor::f32([rows, values.len() / rows], values).expect("whole rows")
}

fn run(program: &Program, x: &Tensor, rows: &[Objective]) -> [Vec<f32>; 2] {
    let outputs = program.run(&[vec![x.clone()], inputs(rows)].concat());
    [0, 1].map(|at| floats(&outputs[at]).to_vec())
}

fn losses(classes: usize) -> impl Iterator<Item = Loss> {
    let defined = move |loss: &Loss| loss.least_classes() <= classes;
    Loss::ALL.into_iter().filter(defined)
}

#[test]
fn inputs_and_outputs_are_the_promised_ones() -> Result<()> {
    for classes in [3, 10] {
        let graph = objective_graph(&model(classes, false))?;
        let inputs: Vec<(&str, DType, String)> = (graph.inputs().iter())
            .map(|&id| graph.node(id))
            .map(|node| (&*node.name, node.dtype, display(&node.shape)))
            .collect();
        let float = |name, side| (name, DType::F32, format!("[N, {side}]"));
        let expected = [
            float("x", FEATURES),
            float("linear", classes),
            float("out", classes),
            float("pull", 1),
            ("hard", DType::Bool, "[N, 1]".to_owned()),
            float("spread", classes.min(4)),
            float("floor", 1),
        ];
        assert_eq!(inputs, expected);
        let outputs: Vec<(&str, String)> = (graph.outputs().iter())
            .map(|(name, id)| (&**name, display(graph.shape(*id))))
            .collect();
        let logits = ("logits", format!("[N, {classes}]"));
        assert_eq!(outputs, [logits, ("grad", format!("[N, {FEATURES}]"))]);
        for lowering in [Lowering::Portable, Lowering::OnnxRuntime] {
            assert!(!to_onnx(&graph, lowering)?.is_empty());
        }
    }
    Ok(())
}

#[test]
fn all_losses_in_one_batch_have_the_gradients_of_their_own_graphs() -> Result<()> {
    for (classes, ties) in [(2, false), (2, true), (3, true), (4, false), (7, true)] {
        let model = model(classes, ties);
        let program = Program::new(&objective_graph(&model)?);
        let mut rng = rng("one batch");
        let count = 6 * losses(classes).count();
        let asked: Vec<(Loss, usize, usize)> = (0..count)
            .map(|row| {
                let loss = losses(classes).nth(row / 6).expect("few losses");
                (loss, row % classes, (row + 1 + row / 6) % classes)
            })
            .map(|(loss, y, t)| (loss, y, if t == y { (y + 1) % classes } else { t }))
            .collect();
        let x = draw(
            &mut rng,
            &shape(&format!("{count} {FEATURES}")),
            Domain::Any,
        );
        let rows: Vec<Objective> = (asked.iter())
            .map(|&(loss, y, t)| Objective::of(loss, classes, y, t))
            .collect();
        let [logits, gradients] = run(&program, &x, &rows);

        for loss in losses(classes) {
            let single = Program::new(&gradient_graph(&model, loss)?);
            let column = |class: fn(&(Loss, usize, usize)) -> usize| {
                let classes: Vec<i64> = asked.iter().map(|row| class(row) as i64).collect();
                Tensor::vector(&classes)
            };
            let mut inputs = vec![x.clone(), column(|row| row.1)];
            if loss.is_targeted() {
                inputs.push(column(|row| row.2));
            }
            let outputs = single.run(&inputs);
            let expected = floats(&outputs[2]).chunks(FEATURES);
            for (row, expected) in expected
                .enumerate()
                .filter(|(row, _)| asked[*row].0 == loss)
            {
                let factor = rows[row].factor(&logits[row * classes..][..classes]);
                let largest = expected.iter().fold(0.0, |max: f32, g| max.max(g.abs()));
                for (&found, &expected) in gradients[row * FEATURES..].iter().zip(expected) {
                    let error = (f64::from(found) * factor - f64::from(expected)).abs();
                    assert!(
                        error <= 1e-5 * f64::from(largest) + 1e-7,
                        "{:?} of {classes}: {found} * {factor} is not {expected}",
                        asked[row]
                    );
                }
            }
        }
    }
    Ok(())
}

#[test]
fn the_lower_of_equal_classes_is_the_larger() -> Result<()> {
    let program = Program::new(&objective_graph(&bare(4))?);
    let z = matrix(3, [[2.0; 4], [2.0; 4], [1.0, 3.0, 3.0, 3.0]].concat());
    let mut ranked = Objective::linear(vec![3.0, 0.0, 0.0, 0.0]);
    ranked.spread = vec![1.0, 0.0, -1.0, 0.0];
    let rows = [
        Objective::of(Loss::Margin, 4, 0, 1),
        Objective::of(Loss::MarginTargeted, 4, 1, 3),
        ranked,
    ];
    // In the last row <c, z> is 3, the divisor is 1, and classes 1 and 3 have ranks 0 and 2.
    let expected = [
        [-1.0, 1.0, 0.0, 0.0],
        [-1.0, 0.0, 0.0, 1.0],
        [3.0, -3.0, 0.0, 3.0],
    ];
    assert_eq!(run(&program, &z, &rows)[1], expected.concat());
    Ok(())
}

#[test]
fn a_sure_softmax_leaves_a_gradient() -> Result<()> {
    let program = Program::new(&objective_graph(&bare(3))?);
    let z = matrix(2, [0.0, 200.0, -50.0].repeat(2));
    let rows = [
        Objective::of(Loss::CrossEntropy, 3, 1, 0),
        Objective::of(Loss::CrossEntropyTargeted, 3, 0, 2),
    ];
    let expected = [[1.0, -1.0, (-50.0_f32).exp()], [0.0, -1.0, 1.0]];
    for (found, expected) in run(&program, &z, &rows)[1].iter().zip(expected.concat()) {
        assert!(
            (found - expected).abs() <= 1e-5 * expected.abs(),
            "{found} is not {expected}"
        );
    }
    Ok(())
}

#[test]
fn weights_and_distributions_agree_with_differences() -> Result<()> {
    let classes = 5;
    let model = model(classes, false);
    let program = Program::new(&objective_graph(&model)?);
    let mut rng = rng("differences");
    let weights = draw(&mut rng, &shape("2 5"), Domain::Any);
    let weights = floats(&weights).to_vec();
    let exps: Vec<f32> = weights[classes..].iter().map(|w| w.exp()).collect();
    let sum: f32 = exps.iter().sum();
    let distribution: Vec<f32> = exps.iter().map(|e| e / sum).collect();
    let negative = distribution.iter().map(|q| -q).collect();
    let rows = [
        Objective::linear(weights[..classes].to_vec()),
        Objective {
            pull: 1.0,
            ..Objective::linear(negative)
        },
    ];
    let values = |z: &[f32]| -> [f64; 2] {
        let z: Vec<f64> = z.iter().map(|&z| f64::from(z)).collect();
        let dot = |weights: &[f32], z: &[f64]| -> f64 {
            let products = weights.iter().zip(z).map(|(&w, z)| f64::from(w) * z);
            products.sum()
        };
        let [first, second] = [&z[..classes], &z[classes..]];
        let normaliser = second.iter().map(|z| z.exp()).sum::<f64>().ln();
        [
            dot(&weights[..classes], first),
            normaliser - dot(&distribution, second),
        ]
    };
    let x = draw(&mut rng, &shape(&format!("2 {FEATURES}")), Domain::Any);
    let gradients = run(&program, &x, &rows)[1].clone();
    for (row, gradient) in gradients.chunks(FEATURES).enumerate() {
        let at = |distance: f32| {
            let mut moved = floats(&x).to_vec();
            for (value, slope) in moved[row * FEATURES..].iter_mut().zip(gradient) {
                *value += distance * slope.signum();
            }
            values(&run(&program, &matrix(2, moved), &rows)[0])[row]
        };
        let step = 0.02;
        let numeric = (8.0 * (at(step) - at(-step)) - (at(2.0 * step) - at(-2.0 * step)))
            / (12.0 * f64::from(step));
        let analytic: f64 = gradient.iter().map(|&slope| f64::from(slope.abs())).sum();
        assert!(
            (analytic - numeric).abs() < 3e-4 * numeric.abs(),
            "row {row}: {analytic} is not {numeric}"
        );
    }
    Ok(())
}

#[test]
fn no_row_depends_on_the_others() -> Result<()> {
    let classes = 5;
    let program = Program::new(&objective_graph(&bare(classes))?);
    let mut rng = rng("rows");
    let rows: Vec<Objective> = (losses(classes).zip(0..))
        .map(|(loss, at)| Objective::of(loss, classes, at % classes, (at + 2) % classes))
        .collect();
    let z = draw(&mut rng, &shape("7 5"), Domain::Any);
    let together = run(&program, &z, &rows);
    for (at, row) in rows.iter().enumerate() {
        let own = matrix(1, floats(&z)[at * classes..][..classes].to_vec());
        let alone = run(&program, &own, std::slice::from_ref(row));
        for (alone, together) in alone.iter().zip(&together) {
            assert_eq!(alone[..], together[at * classes..][..classes], "row {at}");
        }
    }
    Ok(())
}

#[test]
fn a_final_softmax_is_seen_through() -> Result<()> {
    let plain = model(4, false);
    let mut softmax = plain.clone();
    softmax.clear_outputs();
    let (_, scores): (_, ValueId) = plain.outputs()[0].clone();
    let probabilities = softmax.add(Op::Softmax { axis: 1 }, &[scores])?;
    softmax.output("probabilities", probabilities);
    let x = draw(&mut rng("softmax"), &shape("N 6"), Domain::Any);
    let rows = [Loss::CrossEntropy, Loss::Dlr].map(|loss| Objective::of(loss, 4, 1, 2));
    let answers = [plain, softmax]
        .map(|model| objective_graph(&model).map(|graph| run(&Program::new(&graph), &x, &rows)));
    let [plain, seen_through] = answers;
    assert_eq!(plain?, seen_through?);
    Ok(())
}

#[test]
fn the_head_is_a_few_nodes() -> Result<()> {
    let model = fold(&bare(10))?;
    let forward = model.nodes().len();
    let graph = objective_graph(&model)?;
    let inputs = graph.inputs().len() - model.inputs().len();
    // The two negations of the backward pass are not the head's.
    let head = graph.nodes().len() - forward - inputs - 2;
    assert!(head <= 19, "{head} nodes");
    Ok(())
}
