//! Where a classifier's logits are.

use crate::{
    Error, Result,
    graph::{Dim, Graph, ValueId},
    op::Op,
    shape::display,
};

/// The logits behind a classifier's output, as `[N, C]`.
///
/// A softmax (or its logarithm) at the end is seen through, as its saturated gradients would mislead every attack;
/// further axes of side 1 are dropped. Fails if the output is not one row of scores for each picture.
pub fn logits(graph: &mut Graph, output: ValueId) -> Result<ValueId> {
    let scores = before_softmax(graph, output).unwrap_or(output);
    matrix(graph, scores)
}

/// Scores as `[N, C]`: further axes of side 1 are dropped.
fn matrix(graph: &mut Graph, scores: ValueId) -> Result<ValueId> {
    match graph.shape(scores) {
        [_, _] => Ok(scores),
        &[batch, classes, ref rest @ ..] if rest.iter().all(|&dim| dim == Dim::Fixed(1)) => {
            let shape = vec![batch, classes];
            graph.add(Op::Reshape { shape }, &[scores])
        }
        shape => Err(Error::unsupported(format!(
            "its output has shape {}, a classifier's is [N, C]",
            display(shape)
        ))),
    }
}

/// What a final softmax over the classes is applied to; reshapes around it that only add or drop axes of side 1 do
/// not matter.
fn before_softmax(graph: &Graph, output: ValueId) -> Option<ValueId> {
    let mut id = output;
    loop {
        let node = graph.node(id);
        match node.op {
            Op::Reshape { .. } if same_sides(&node.shape, graph.shape(node.inputs[0])) => {
                id = node.inputs[0]
            }
            Op::Softmax { axis } | Op::LogSoftmax { axis } => {
                let over_classes = node
                    .shape
                    .iter()
                    .skip(axis + 1)
                    .all(|&dim| dim == Dim::Fixed(1))
                    && node
                        .shape
                        .iter()
                        .take(axis)
                        .skip(1)
                        .all(|&dim| dim == Dim::Fixed(1));
                return (over_classes && axis > 0).then(|| node.inputs[0]);
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
    use crate::tensor::DType;

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
}
