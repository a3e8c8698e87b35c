//! Where a classifier's logits are.

mod row;

pub(crate) use row::is_single;

use crate::{
    Error, Result,
    dim::Dim,
    fold::fold,
    graph::Graph,
    node::ValueId,
    op::{Op, Reduction},
    shape::display,
    tensor::DType,
};

/// The logits behind a classifier's output, as `[N, C]`.
///
/// A softmax (or its logarithm) at the end is seen through, as its gradients vanish where it is sure;
/// further axes of side 1 are dropped. A single score for each picture is that of the second of two classes, beside 0 for the
/// first; a sigmoid at its end is seen through. Fails if the output is not one row of floats for each picture.
pub fn logits(graph: &mut Graph, output: ValueId) -> Result<ValueId> {
    let node = graph.node(output);
    if node.dtype != DType::F32 {
        return Err(Error::unsupported(format!(
            "its output is not of floats, but computed by node {:?} ({}); export the scores before it",
            node.name, node.op
        )));
    }
    let seen = final_softmax(graph, output).or_else(|| final_sigmoid(graph, output));
    let scores = match seen {
        Some(softmax) => graph.node(softmax).inputs[0],
        None => output,
    };
    let row = row::row(graph, scores)?;
    match graph.shape(row) {
        [_, Dim::Fixed(2..)] => Ok(row),
        shape => Err(Error::unsupported(format!(
            "its output has shape {}, a classifier's is [N, C] with two classes or more",
            display(shape)
        ))),
    }
}

/// The output that holds a classifier's scores: the only one.
///
/// Fails if there are several, as any of them may be meant, or none.
pub fn scores(graph: &Graph) -> Result<ValueId> {
    match graph.outputs() {
        [(_, output)] => Ok(*output),
        // One value under several names.
        [(_, output), others @ ..] if others.iter().all(|(_, other)| other == output) => {
            Ok(*output)
        }
        [] => Err(Error::unsupported("has no output")),
        several => {
            const LISTED: usize = 16;
            let names = several.iter().take(LISTED);
            let names: Vec<String> = names
                .map(|(name, id)| format!("{name:?} {}", display(graph.shape(*id))))
                .collect();
            Err(Error::unsupported(format!(
                "has {} outputs; choose the one with the scores: {}",
                several.len(),
                names.join(", ")
            )))
        }
    }
}

/// Spells out a softmax that [`logits`] would see through in the graph's only output, so that it stays part of the
/// scores.
pub(crate) fn keep_softmax(graph: &mut Graph) -> Result<()> {
    let output = scores(graph)?;
    let name = graph.outputs()[0].0.clone();
    if let Some(sigmoid) = final_sigmoid(graph, output) {
        return keep_sigmoid(graph, name, sigmoid);
    }
    let Some(softmax) = final_softmax(graph, output) else {
        return Ok(());
    };
    let x = graph.node(softmax).inputs[0];
    let op = graph.node(softmax).op.clone();
    let (Op::Softmax { axis } | Op::LogSoftmax { axis }) = op else {
        unreachable!("final_softmax answers nothing else")
    };
    let over_classes = |kind| Op::Reduce {
        kind,
        axes: vec![axis],
        keep_dims: true,
    };
    let largest = graph.add(over_classes(Reduction::Max), &[x])?;
    let shifted = graph.add(Op::Sub, &[x, largest])?;
    let powers = graph.add(Op::Exp, &[shifted])?;
    let sum = graph.add(over_classes(Reduction::Sum), &[powers])?;
    let mut kept = match op {
        Op::Softmax { .. } => graph.add(Op::Div, &[powers, sum])?,
        _ => {
            let logarithm = graph.add(Op::Log, &[sum])?;
            graph.add(Op::Sub, &[shifted, logarithm])?
        }
    };
    let shape = graph.shape(output).to_vec();
    if graph.shape(kept) != shape {
        kept = graph.add(Op::Reshape { shape }, &[kept])?;
    }
    graph.clear_outputs();
    graph.output(name, kept);
    *graph = fold(graph)?;
    Ok(())
}

/// The probabilities of both classes instead of the second's alone, as the graph's only output.
fn keep_sigmoid(graph: &mut Graph, name: String, sigmoid: ValueId) -> Result<()> {
    let x = graph.node(sigmoid).inputs[0];
    // 1 - sigmoid(x), without the loss of digits.
    let negative = graph.add(Op::Neg, &[x])?;
    let first = graph.add(Op::Sigmoid, &[negative])?;
    let shape = |graph: &Graph| vec![graph.shape(graph.inputs()[0])[0], Dim::Fixed(1)];
    let columns = [first, sigmoid].map(|value| {
        let shape = shape(graph);
        graph.add(Op::Reshape { shape }, &[value])
    });
    let [first, second] = columns;
    let both = graph.add(Op::Concat { axis: 1 }, &[first?, second?])?;
    graph.clear_outputs();
    graph.output(name, both);
    *graph = fold(graph)?;
    Ok(())
}

/// What to say of a model that gives one score for each picture.
pub(crate) fn one_score(graph: &Graph) -> Option<String> {
    let output = scores(graph).ok()?;
    let is_float = graph.node(output).dtype == DType::F32;
    (is_float && is_single(graph, output)).then(|| {
        let before = match final_sigmoid(graph, output) {
            Some(_) => " before its sigmoid",
            None => "",
        };
        format!("one score for each picture: taken as two classes, with the scores 0 and that score{before}")
    })
}

/// The sigmoid at the end of a single score; reshapes behind it do not matter.
pub(crate) fn final_sigmoid(graph: &Graph, output: ValueId) -> Option<ValueId> {
    let mut id = Some(output).filter(|&output| is_single(graph, output))?;
    loop {
        let node = graph.node(id);
        match node.op {
            Op::Reshape { .. } => id = node.inputs[0],
            Op::Sigmoid => return Some(id),
            _ => return None,
        }
    }
}

/// The softmax over the classes at the end, or its logarithm; reshapes behind it that only add or drop axes of side 1
/// do not matter.
pub(crate) fn final_softmax(graph: &Graph, output: ValueId) -> Option<ValueId> {
    let mut id = output;
    loop {
        let node = graph.node(id);
        match node.op {
            Op::Reshape { .. } if same_sides(&node.shape, graph.shape(node.inputs[0])) => {
                id = node.inputs[0]
            }
            Op::Softmax { axis } | Op::LogSoftmax { axis } => {
                return row::is_over_classes(graph, &node.shape, axis).then_some(id);
            }
            _ => return None,
        }
    }
}

/// Whether two shapes differ in axes of side 1 alone.
fn same_sides(a: &[Dim], b: &[Dim]) -> bool {
    let long = |shape: &[Dim]| -> Vec<Dim> {
        shape
            .iter()
            .copied()
            .filter(|&dim| dim != Dim::Fixed(1))
            .collect()
    };
    long(a) == long(b)
}

#[cfg(test)]
mod tests {
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

        let inner = graph.add(Op::Exp, &[softmax]).unwrap();
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
        for sides in ["N 0", "N N", "N 2 2"] {
            assert!(
                refusal(DType::F32, sides).contains("a classifier's is [N, C]"),
                "{sides}"
            );
        }
        assert!(refusal(DType::I64, "N 3").contains("not of floats"));

        // Found by fuzzing: the answer itself instead of scores.
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
        graph.output("again", x);
        assert_eq!(scores(&graph)?, x);

        graph.clear_outputs();
        graph.output("features", x);
        let exp = graph.add(Op::Exp, &[x])?;
        graph.output("scores", exp);
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
            assert_eq!(final_softmax(&graph, output), None);
            assert_eq!(graph.outputs()[0].0, "y");
            let seen = logits(&mut graph, output)?;
            assert_ne!(seen, graph.inputs()[0]);
        }
        Ok(())
    }
}
