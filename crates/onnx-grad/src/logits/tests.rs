use super::*;
use crate::{
    tensor::Tensor,
    testing::{Program, floats, shape},
};

#[test]
fn a_final_softmax_is_seen_through_and_an_inner_one_is_not() {
    let mut graph = Graph::new();
    let x = graph.input(
        "x",
        DType::F32,
        vec![Dim::Batch(1), 5.into(), 1.into(), 1.into()],
    );
    let flat = graph
        .add(
            Op::Reshape {
                shape: vec![Dim::Batch(1), 5.into()],
            },
            &[x],
        )
        .unwrap();
    let softmax = graph.add(Op::Softmax { axis: 1 }, &[flat]).unwrap();
    let shape = vec![Dim::Batch(1), 5.into(), 1.into(), 1.into()];
    let output = graph.add(Op::Reshape { shape }, &[softmax]).unwrap();
    assert_eq!(logits(&mut graph, output).unwrap(), flat);

    let inner = graph.add(Op::Neg, &[softmax]).unwrap();
    assert_eq!(logits(&mut graph, inner).unwrap(), inner);
    let over_batch = graph.add(Op::Softmax { axis: 0 }, &[flat]).unwrap();
    assert_eq!(logits(&mut graph, over_batch).unwrap(), over_batch);
    let dropped = logits(&mut graph, x).unwrap();
    assert_eq!(graph.shape(dropped), [Dim::Batch(1), 5.into()]);
}

#[test]
fn a_feature_map_is_no_row_of_scores() {
    let mut graph = Graph::new();
    let x = graph.input(
        "x",
        DType::F32,
        vec![Dim::Batch(1), 5.into(), 7.into(), 7.into()],
    );
    assert!(matches!(logits(&mut graph, x), Err(Error::Unsupported(_))));
}

#[test]
fn scores_are_two_floats_or_more() -> Result<()> {
    let refusal = |dtype, sides| {
        let mut graph = Graph::new();
        let x = graph.input("x", dtype, shape(sides));
        logits(&mut graph, x).unwrap_err().to_string()
    };
    for sides in ["N 0", "N N", "N 2 3"] {
        assert!(
            refusal(DType::F32, sides).contains("at least two classes"),
            "{sides}"
        );
    }
    assert!(refusal(DType::I64, "N 3").contains("not hold floats"));

    // Found by fuzzing: the predicted class instead of scores.
    let mut graph = Graph::new();
    let x = graph.input("x", DType::F32, shape("2 4"));
    let op = Op::ArgMax {
        axis: 1,
        keep_dims: true,
    };
    let answer = graph.add_named("answer", op, &[x])?;
    let error = logits(&mut graph, answer).unwrap_err().to_string();
    assert!(error.contains("\"answer\" (ArgMax)"), "{error}");
    Ok(())
}

#[test]
fn one_of_several_outputs_is_asked_for() -> Result<()> {
    let mut graph = Graph::new();
    assert!(scores(&graph).is_err());
    let x = graph.input("x", DType::F32, shape("N 3"));
    graph.output("features", x);
    assert_eq!(scores(&graph)?, x);
    // The same value listed twice is not another output.
    graph.output("again", x);
    assert_eq!(scores(&graph)?, x);
    graph.clear_outputs();
    let y = graph.add(Op::Exp, &[x])?;
    graph.output("features", x);
    graph.output("scores", y);
    let error = scores(&graph).unwrap_err().to_string();
    assert!(
        error.contains("\"features\" [N, 3], \"scores\" [N, 3]"),
        "{error}"
    );
    Ok(())
}

#[test]
fn a_softmax_that_is_kept_stays_what_it_was() -> Result<()> {
    for op in [Op::Softmax { axis: 1 }, Op::LogSoftmax { axis: 1 }] {
        let mut graph = Graph::new();
        let x = graph.input("x", DType::F32, shape("N 3"));
        let softmax = graph.add(op, &[x])?;
        let output = graph.add(
            Op::Reshape {
                shape: shape("N 3 1"),
            },
            &[softmax],
        )?;
        graph.output("y", output);
        let values = Tensor::f32([2, 3], [0.5, -1.0, 2.0, 80.0, 90.0, 100.0])?;
        let before = Program::new(&graph).run(std::slice::from_ref(&values));
        keep_softmax(&mut graph)?;
        let after = Program::new(&graph).run(&[values]);
        for (&before, &after) in floats(&before[0]).iter().zip(floats(&after[0])) {
            assert!((before - after).abs() <= 1e-6 * before.abs().max(1.0));
        }
        let output = scores(&graph)?;
        assert_eq!(graph.outputs()[0].0, "y");
        let seen = logits(&mut graph, output)?;
        assert_ne!(seen, graph.inputs()[0]);
    }
    Ok(())
}

/// Builds a graph of one float input `x` of these sides with `build`.
fn made(
    sides: &str,
    build: impl FnOnce(&mut Graph, ValueId) -> Result<ValueId>,
) -> Result<(Graph, ValueId)> {
    let mut graph = Graph::new();
    let x = graph.input("x", DType::F32, shape(sides));
    let z = graph.add(Op::Softplus, &[x])?;
    graph.name("z", z);
    let output = build(&mut graph, z)?;
    Ok((graph, output))
}

/// A step behind a softmax.
type Step = fn(&mut Graph, ValueId) -> Result<ValueId>;

fn with_scalar(graph: &mut Graph, op: Op, x: ValueId, value: f32) -> Result<ValueId> {
    let scalar = graph.scalar(value);
    graph.add(op, &[x, scalar])
}

fn quantised(graph: &mut Graph, x: ValueId) -> Result<ValueId> {
    let scaled = with_scalar(graph, Op::Div, x, 1.0 / 255.0)?;
    let rounded = graph.add(Op::Round, &[scaled])?;
    let through = graph.add(Op::StraightThrough, &[rounded, scaled])?;
    with_scalar(graph, Op::Mul, through, 1.0 / 255.0)
}

const SOFTMAX: Op = Op::Softmax { axis: 1 };

/// Operators that keep the order of the classes behind a softmax or sigmoids are looked through, and the scores have
/// the class order of the output.
#[test]
fn what_keeps_the_order_of_classes_is_looked_through() -> Result<()> {
    let tails: [(&str, Step); 13] = [
        ("nothing", |_, x| Ok(x)),
        ("quantised", quantised),
        ("log", |g, x| g.add(Op::Log, &[x])),
        ("log of more", |g, x| {
            let more = with_scalar(g, Op::Add, x, 1e-7)?;
            g.add(Op::Log, &[more])
        }),
        ("clip", |g, x| {
            let (min, max) = (1e-7, 1.0 - 1e-7);
            g.add(Op::Clip { min, max }, &[x])
        }),
        ("percent", |g, x| with_scalar(g, Op::Mul, x, 100.0)),
        ("divided", |g, x| with_scalar(g, Op::Div, x, 3.0)),
        ("turned", |g, x| {
            let shape = shape("N 1 4");
            let row = g.add(Op::Reshape { shape }, &[x])?;
            let perm = vec![0, 2, 1];
            g.add(Op::Transpose { perm }, &[row])
        }),
        ("some classes", |g, x| {
            let (axes, steps) = (vec![1], vec![1]);
            let (starts, ends) = (vec![1], vec![4]);
            let op = Op::Slice {
                axes,
                starts,
                ends,
                steps,
            };
            g.add(op, &[x])
        }),
        ("another order", |g, x| {
            let order = g.constant(Tensor::vector(&[2, 0, 3, 1]));
            g.add(Op::Gather { axis: 1 }, &[x, order])
        }),
        ("less the largest", |g, x| {
            let op = Op::Reduce {
                kind: crate::Reduction::Max,
                axes: vec![1],
                keep_dims: true,
            };
            let largest = g.add(op, &[x])?;
            g.add(Op::Sub, &[x, largest])
        }),
        ("sigmoid", |g, x| g.add(Op::Sigmoid, &[x])),
        ("at least", |g, x| with_scalar(g, Op::Max, x, 1e-9)),
    ];
    for squash in [SOFTMAX, Op::LogSoftmax { axis: 1 }, Op::Sigmoid] {
        for (name, tail) in tails {
            // Logarithms of probabilities are negative.
            let is_for_positive = matches!(name, "log" | "log of more" | "clip" | "at least");
            if is_for_positive && matches!(squash, Op::LogSoftmax { .. }) {
                continue;
            }
            let (mut graph, output) = made("N 4", |graph, z| {
                let p = graph.add(squash.clone(), &[z])?;
                tail(graph, p)
            })?;
            let head = Head::of(&mut graph, output)?;
            assert!(head.through.is_some() && !head.single, "{squash} {name}");
            assert_eq!(head.saturating, None, "{squash} {name}");
            graph.output("y", output);
            graph.output("logits", head.logits);
            let x = Tensor::f32([2, 4], [0.5, -1.0, 2.0, 0.1, 0.2, 3.0, -0.7, 1.0])?;
            let found = Program::new(&graph).run(&[x]);
            let classes = floats(&found[1]).len() / 2;
            for row in 0..2 {
                let order = |values: &[f32]| {
                    let mut order: Vec<usize> = (0..classes).collect();
                    let row = &values[row * classes..];
                    order.sort_by(|&a, &b| row[a].total_cmp(&row[b]));
                    order
                };
                let [y, z] = [0, 1].map(|at| order(floats(&found[at])));
                assert_eq!(y, z, "{squash} {name}");
            }
        }
    }
    Ok(())
}

#[test]
fn what_may_change_the_order_of_classes_is_not_looked_through() -> Result<()> {
    let tails: [(&str, Step); 6] = [
        ("negative", |g, x| with_scalar(g, Op::Mul, x, -1.0)),
        ("from one", |g, x| {
            let one = g.scalar(1.0);
            g.add(Op::Sub, &[one, x])
        }),
        ("weighed", |g, x| {
            let weights = g.constant(Tensor::f32([4], [1.0, 2.0, 1.0, 1.0])?);
            g.add(Op::Mul, &[x, weights])
        }),
        ("shifted", |g, x| {
            let shifts = g.constant(Tensor::f32([1, 4], [0.0, 0.0, 0.5, 0.0])?);
            g.add(Op::Add, &[x, shifts])
        }),
        ("squared", |g, x| g.add(Op::Mul, &[x, x])),
        ("over pictures", |g, x| g.add(Op::Softmax { axis: 0 }, &[x])),
    ];
    for (name, tail) in tails {
        let (mut graph, output) = made("N 4", |graph, z| {
            let p = graph.add(SOFTMAX, &[z])?;
            tail(graph, p)
        })?;
        let head = Head::of(&mut graph, output)?;
        assert_eq!((head.logits, head.through), (output, None), "{name}");
    }
    // Without a softmax or sigmoid nothing is looked through.
    let (mut graph, output) = made("N 4", |graph, z| graph.add(Op::Tanh, &[z]))?;
    let head = Head::of(&mut graph, output)?;
    assert_eq!((head.logits, head.saturating), (output, None));
    Ok(())
}

/// Of several softmaxes, one is looked through, so that the softmax of the logits is the model's own result.
#[test]
fn the_softmax_of_the_logits_is_the_output() -> Result<()> {
    let heads: [(&str, Step, bool); 5] = [
        ("once", |g, z| g.add(SOFTMAX, &[z]), false),
        (
            "twice",
            |g, z| {
                let inner = g.add(SOFTMAX, &[z])?;
                g.add(SOFTMAX, &[inner])
            },
            true,
        ),
        (
            "of a logarithm",
            |g, z| {
                let inner = g.add(SOFTMAX, &[z])?;
                let log = g.add(Op::Log, &[inner])?;
                g.add(SOFTMAX, &[log])
            },
            false,
        ),
        (
            "at a temperature",
            |g, z| {
                let cooler = with_scalar(g, Op::Div, z, 0.1)?;
                g.add(SOFTMAX, &[cooler])
            },
            false,
        ),
        (
            "spelled out",
            |g, z| {
                let powers = g.add(Op::Exp, &[z])?;
                let op = Op::Reduce {
                    kind: crate::Reduction::Sum,
                    axes: vec![1],
                    keep_dims: true,
                };
                let sum = g.add(op, &[powers])?;
                g.add(Op::Div, &[powers, sum])
            },
            false,
        ),
    ];
    for (name, build, saturates) in heads {
        let (mut graph, output) = made("N 4", build)?;
        let head = Head::of(&mut graph, output)?;
        assert_eq!(head.saturating.is_some(), saturates, "{name}");
        let notices = head.notices(&graph);
        assert_eq!(notices.len(), usize::from(saturates), "{name}: {notices:?}");
        assert!(!saturates || notices[0].contains("the value before it, \"z\""));
        let softmax = graph.add(SOFTMAX, &[head.logits])?;
        graph.output("y", output);
        graph.output("again", softmax);
        let x = Tensor::f32([1, 4], [0.5, -1.0, 2.0, 0.1])?;
        let found = Program::new(&graph).run(&[x]);
        for (y, again) in floats(&found[0]).iter().zip(floats(&found[1])) {
            assert!((y - again).abs() < 1e-6, "{name}: {y} {again}");
        }
    }
    Ok(())
}

#[test]
fn a_mean_of_softmaxes_is_told() -> Result<()> {
    let (mut graph, output) = made("N 4", |graph, z| {
        let first = graph.add(SOFTMAX, &[z])?;
        let half = with_scalar(graph, Op::Mul, z, 0.5)?;
        let second = graph.add(SOFTMAX, &[half])?;
        let sum = graph.add(Op::Add, &[first, second])?;
        with_scalar(graph, Op::Mul, sum, 0.5)
    })?;
    let head = Head::of(&mut graph, output)?;
    assert_eq!((head.logits, head.through), (output, None));
    assert!(head.saturating.is_some() && head.before(&graph).is_none());
    let notices = head.notices(&graph);
    assert!(notices[0].contains("export the model"), "{notices:?}");
    Ok(())
}

/// One score for two classes: the logits are 0 and the sigmoid's input.
#[test]
fn a_single_score_stands_for_two_classes() -> Result<()> {
    let beside: fn(&mut Graph, ValueId) -> Result<ValueId> = |g, z| {
        let p = g.add(Op::Sigmoid, &[z])?;
        let one = g.scalar(1.0);
        let other = g.add(Op::Sub, &[one, p])?;
        g.add(Op::Concat { axis: 1 }, &[other, p])
    };
    let heads: [(&str, Step); 5] = [
        ("N 1", |g, z| g.add(Op::Sigmoid, &[z])),
        ("N 1", |_, z| Ok(z)),
        ("N 1", |g, z| {
            let p = g.add(Op::Sigmoid, &[z])?;
            let shape = shape("N");
            g.add(Op::Reshape { shape }, &[p])
        }),
        ("N 1 1 1", |g, z| {
            let p = g.add(Op::Sigmoid, &[z])?;
            quantised(g, p)
        }),
        ("N 1", beside),
    ];
    for (sides, build) in heads {
        let (mut graph, output) = made(sides, build)?;
        let z = graph.names()[0].1.expect("z is kept");
        let head = Head::of(&mut graph, output)?;
        assert_eq!(graph.shape(head.logits), shape("N 2"));
        graph.output("z", z);
        graph.output("logits", head.logits);
        let mut shape = vec![1; sides.split(' ').count()];
        shape[0] = 2;
        let x = Tensor::f32(shape, [0.5, -1.0])?;
        let found = Program::new(&graph).run(&[x]);
        let [z, logits] = [0, 1].map(|at| floats(&found[at]));
        assert_eq!(logits, [0.0, z[0], 0.0, z[1]]);
        let notices = head.notices(&graph).len();
        assert_eq!(notices, usize::from(head.single));
    }
    let (mut graph, output) = made("N 1", |graph, z| graph.add(SOFTMAX, &[z]))?;
    assert!(Head::of(&mut graph, output).is_err());

    let (mut graph, output) = made("N 1", |graph, z| graph.add(Op::Sigmoid, &[z]))?;
    graph.output("y", output);
    keep_softmax(&mut graph)?;
    let x = Tensor::f32([1, 1], [0.7])?;
    let found = Program::new(&graph).run(&[x]);
    let [first, second] = floats(&found[0])[..] else {
        panic!("two scores")
    };
    assert!(second > 0.5 && (first + second - 1.0).abs() < 1e-6);
    Ok(())
}
