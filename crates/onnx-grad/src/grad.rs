//! Reverse-mode differentiation: appends the gradient of a graph as more nodes of the graph.

use crate::{
    Error, Result,
    graph::Graph,
    node::{Node, ValueId},
    rules::{Cotangent, Site, vjp},
    shape::display,
    tape::{Expr, Tape},
    tensor::{DType, Tensor},
};

/// Appends the gradient of the sum of `of` with respect to each of `wrt`, in order. Each gradient has the shape of its
/// value.
///
/// Only the path between them is visited. If `of` does not depend on a value, its gradient is zero. Fails with
/// [`Error::NoGradient`] if an operator on the path has no derivative; the graph then keeps the nodes appended so far.
pub fn gradient(graph: &mut Graph, of: ValueId, wrt: &[ValueId]) -> Result<Vec<ValueId>> {
    let ones = Tape::record(graph, |tape| {
        let one = tape.constant(Tensor::scalar(1.0));
        Ok(one.expand(tape.value(of).shape()).id)
    })?;
    pullback(graph, of, ones, wrt)
}

/// Appends the vector-Jacobian product of `cotangent` with the Jacobian of `of` with respect to each of `wrt`. This is
/// the gradient of the sum of `cotangent * of`, where `cotangent` is treated as constant even if it was computed from
/// `of`. Otherwise like [`gradient`].
///
/// Also fails if the shapes of `cotangent` and `of` differ.
pub fn pullback(
    graph: &mut Graph,
    of: ValueId,
    cotangent: ValueId,
    wrt: &[ValueId],
) -> Result<Vec<ValueId>> {
    if let Some(&id) = [of]
        .iter()
        .chain(wrt)
        .chain([&cotangent])
        .find(|&&id| graph.node(id).dtype != DType::F32)
    {
        return Err(no_gradient(graph.node(id), "only floats have gradients"));
    }
    if graph.shape(of) != graph.shape(cotangent) {
        return Err(Error::misuse(format!(
            "a value of shape {} cannot have a cotangent of shape {}",
            display(graph.shape(of)),
            display(graph.shape(cotangent))
        )));
    }
    let nodes: Vec<(ValueId, Node)> = graph.ids().zip(graph.nodes().to_vec()).collect();
    let nodes = &nodes[..=of.index()];
    let mut on_path = vec![false; nodes.len()];
    for (id, node) in nodes {
        on_path[id.index()] =
            wrt.contains(id) || node.inputs.iter().any(|input| on_path[input.index()]);
    }

    Tape::record(graph, |tape| {
        let zeros = |id| {
            tape.constant(Tensor::scalar(0.0))
                .expand(tape.value(id).shape())
        };
        let mut cotangents: Vec<Option<Expr<'_>>> = vec![None; nodes.len()];
        cotangents[of.index()] = Some(tape.value(cotangent));

        for (id, node) in nodes.iter().rev() {
            let (true, Some(g)) = (on_path[id.index()], cotangents[id.index()]) else {
                continue;
            };
            let inputs: Vec<Expr<'_>> = node.inputs.iter().map(|&id| tape.value(id)).collect();
            let site = Site {
                inputs: &inputs,
                y: tape.value(*id),
                g,
            };
            for (position, input) in inputs.iter().enumerate() {
                let source = input.id.index();
                if !on_path[source] {
                    continue;
                }
                let flow = match vjp(&node.op, &site, position) {
                    Ok(Cotangent::Zero) => continue,
                    Ok(Cotangent::Value(flow)) => flow.unbroadcast(&input.shape()),
                    Ok(Cotangent::NotDifferentiable(reason)) => {
                        return Err(no_gradient(node, reason));
                    }
                    Err(failure) => return Err(no_gradient(node, failure)),
                };
                tape.failure()
                    .map_err(|failure| no_gradient(node, failure))?;
                cotangents[source] = Some(match cotangents[source] {
                    Some(sum) => sum + flow,
                    None => flow,
                });
            }
        }
        Ok(wrt
            .iter()
            .map(|&id| match cotangents.get(id.index()) {
                Some(Some(cotangent)) => cotangent.id,
                _ => zeros(id).id,
            })
            .collect())
    })
}

fn no_gradient(node: &Node, reason: impl ToString) -> Error {
    Error::NoGradient {
        node: node.name.clone(),
        op: node.op.name(),
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Dim, Op,
        testing::{Program, floats},
    };

    fn vector(graph: &mut Graph, name: &str) -> ValueId {
        graph.input(name, DType::F32, vec![Dim::Fixed(2)])
    }

    fn run(mut graph: Graph, outputs: &[ValueId], x: [f32; 2]) -> Vec<Vec<f32>> {
        for (position, &id) in outputs.iter().enumerate() {
            graph.output(format!("out{position}"), id);
        }
        let inputs = vec![Tensor::f32([2], x).expect("a vector"); graph.inputs().len()];
        let outputs = Program::new(&graph).run(&inputs);
        outputs.iter().map(|out| floats(out).to_vec()).collect()
    }

    #[test]
    fn uses_add_up() -> Result<()> {
        let mut graph = Graph::new();
        let x = vector(&mut graph, "x");
        let square = graph.add(Op::Mul, &[x, x])?;
        let y = graph.add(Op::Add, &[square, x])?;
        let g = gradient(&mut graph, y, &[x])?;
        assert_eq!(run(graph, &g, [3.0, -1.0]), [[7.0, -1.0]]);
        Ok(())
    }

    #[test]
    fn inner_values_have_gradients_too() -> Result<()> {
        let mut graph = Graph::new();
        let x = vector(&mut graph, "x");
        let inner = graph.add(Op::Neg, &[x])?;
        let y = graph.add(Op::Mul, &[inner, inner])?;
        let g = gradient(&mut graph, y, &[x, inner, y])?;
        let expected = [[6.0, -2.0], [-6.0, 2.0], [1.0, 1.0]];
        assert_eq!(run(graph, &g, [3.0, -1.0]), expected);
        Ok(())
    }

    #[test]
    fn what_does_not_matter_has_zeros() -> Result<()> {
        let mut graph = Graph::new();
        let [x, other] = ["x", "other"].map(|name| vector(&mut graph, name));
        let stepped = graph.add(Op::Round, &[other])?;
        let y = graph.add(Op::Add, &[x, stepped])?;
        let later = graph.add(Op::Exp, &[y])?;
        let g = gradient(&mut graph, y, &[x, other, later])?;
        assert_eq!(
            run(graph, &g, [3.0, -1.0]),
            [[1.0, 1.0], [0.0; 2], [0.0; 2]]
        );
        Ok(())
    }

    #[test]
    fn only_the_path_is_walked() -> Result<()> {
        let mut graph = Graph::new();
        let [x, mask] = ["x", "mask"].map(|name| vector(&mut graph, name));
        let positive = graph.add(Op::Greater, &[mask, x])?;
        let factor = graph.add(Op::Cast { to: DType::F32 }, &[positive])?;
        let frozen = graph.add(Op::Exp, &[mask])?;
        let y = graph.add(Op::Mul, &[frozen, x])?;
        let before = graph.nodes().len();
        gradient(&mut graph, y, &[x])?;
        let appended = graph.nodes()[before..].iter();
        assert_eq!(appended.filter(|node| node.op == Op::Mul).count(), 1);

        // A comparison on the path is an error that names it.
        let y = graph.add_named("gate", Op::Mul, &[factor, frozen])?;
        let error = gradient(&mut graph, y, &[mask]).unwrap_err();
        let Error::NoGradient { op, reason, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!((*op, reason.as_str()), ("Greater", "its result is Boolean"));
        Ok(())
    }

    #[test]
    fn only_floats_have_gradients() {
        let mut graph = Graph::new();
        let labels = graph.input("labels", DType::I64, vec![Dim::Fixed(2)]);
        let error = gradient(&mut graph, labels, &[labels]).unwrap_err();
        assert!(error.to_string().contains("labels"), "{error}");
    }

    #[test]
    fn a_failing_rule_names_the_node_and_leaves_the_graph_usable() -> Result<()> {
        let mut graph = Graph::new();
        let x = graph.input("x", DType::F32, vec![Dim::Batch(1)]);
        let op = Op::Reduce {
            kind: crate::Reduction::Mean,
            axes: vec![0],
            keep_dims: false,
        };
        let y = graph.add_named("over the batch", op, &[x])?;
        let error = gradient(&mut graph, y, &[x]).unwrap_err();
        assert!(error.to_string().contains("over the batch"), "{error}");
        assert_eq!(graph.node(y).name, "over the batch");
        Ok(())
    }
}
