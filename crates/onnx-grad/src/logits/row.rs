//! Recognises one row of scores for each picture in any output shape.

use crate::{Result, dim::Dim, graph::Graph, logits::no_rows, node::ValueId, op::Op};

/// Reshapes scores to `[N, C]`, wherever the batch and other axes of side 1 are. `C` may be 1.
pub(super) fn matrix(graph: &mut Graph, scores: ValueId) -> Result<ValueId> {
    let batch = batch(graph);
    let shape = graph.shape(scores).to_vec();
    let refused = || no_rows(&shape);
    let long = long_axes(&shape);
    let pictures = picture_axis(&shape, batch);
    if pictures.is_none() && batch != Dim::Fixed(1) {
        return Err(refused());
    }
    let others: Vec<usize> = long
        .into_iter()
        .filter(|&axis| Some(axis) != pictures)
        .collect();
    let classes = match others[..] {
        [] => Dim::Fixed(1),
        [axis] if matches!(shape[axis], Dim::Fixed(1..)) => shape[axis],
        _ => return Err(refused()),
    };
    let mut row = scores;
    if let (Some(pictures), [classes]) = (pictures, &others[..])
        && *classes < pictures
    {
        let mut perm: Vec<usize> = (0..shape.len()).collect();
        perm.swap(*classes, pictures);
        row = graph.add(Op::Transpose { perm }, &[row])?;
    }
    let flat = vec![batch, classes];
    if graph.shape(row) != flat {
        row = graph.add(Op::Reshape { shape: flat }, &[row])?;
    }
    Ok(row)
}

/// Returns whether a value is one row per picture: besides the batch, at most one axis is longer than 1.
pub(super) fn is_row(graph: &Graph, value: ValueId) -> bool {
    let shape = graph.shape(value);
    let pictures = picture_axis(shape, batch(graph));
    let has_batch = pictures.is_some() || batch(graph) == Dim::Fixed(1);
    let long = long_axes(shape);
    let others = long.iter().filter(|&&axis| Some(axis) != pictures);
    has_batch && others.count() <= 1
}

/// Returns whether an axis is the class axis: all others have side 1, except the batch.
pub(super) fn is_over_classes(graph: &Graph, shape: &[Dim], axis: usize) -> bool {
    let pictures = picture_axis(shape, batch(graph));
    let others = (0..shape.len()).filter(|&other| other != axis && Some(other) != pictures);
    pictures != Some(axis)
        && others
            .into_iter()
            .all(|other| shape[other] == Dim::Fixed(1))
}

/// Returns the batch dimension of a graph: the leading axis of its first input.
fn batch(graph: &Graph) -> Dim {
    let first = graph
        .inputs()
        .first()
        .and_then(|&input| graph.shape(input).first());
    first.copied().unwrap_or(Dim::Fixed(1))
}

/// Returns the batch axis of a shape, unless there is only one picture.
fn picture_axis(shape: &[Dim], batch: Dim) -> Option<usize> {
    let is_batch = |&axis: &usize| shape[axis] == batch;
    (0..shape.len())
        .find(is_batch)
        .filter(|_| batch != Dim::Fixed(1))
}

/// Returns the axes whose side is not 1.
fn long_axes(shape: &[Dim]) -> Vec<usize> {
    (0..shape.len())
        .filter(|&axis| shape[axis] != Dim::Fixed(1))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        tensor::{DType, Tensor},
        testing::{Program, shape},
    };

    #[test]
    fn axes_of_side_1_do_not_matter_wherever_they_stand() -> Result<()> {
        for (input, output, expected) in [
            ("N 5", "N 1 1 5", "N 5"),
            ("N 5", "N 1 5", "N 5"),
            ("N 5", "1 N 5", "N 5"),
            ("N 5", "N 5 1 1", "N 5"),
            ("1 5", "5", "1 5"),
            ("1 5", "1 1 5 1", "1 5"),
            ("4 5", "1 4 5", "4 5"),
            ("4 4", "4 1 4", "4 4"),
            ("N 1", "N", "N 1"),
            ("N 1", "N 1 1", "N 1"),
            ("1 1", "1", "1 1"),
            ("4 1", "4 1", "4 1"),
        ] {
            let mut graph = Graph::new();
            let x = graph.input("x", DType::F32, shape(input));
            let y = graph.add(
                Op::Reshape {
                    shape: shape(output),
                },
                &[x],
            )?;
            let row = matrix(&mut graph, y)?;
            assert_eq!(graph.shape(row), shape(expected), "{output}");
        }
        Ok(())
    }

    #[test]
    fn classes_before_pictures_change_places() -> Result<()> {
        let mut graph = Graph::new();
        let x = graph.input("x", DType::F32, shape("N 3"));
        let y = graph.add(Op::Transpose { perm: vec![1, 0] }, &[x])?;
        let row = matrix(&mut graph, y)?;
        graph.output("row", row);
        let x = Tensor::f32([2, 3], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])?;
        let found = Program::new(&graph).run(std::slice::from_ref(&x)).remove(0);
        assert_eq!(found, x);
        Ok(())
    }
}
