//! Reverse-mode differentiation: the gradient of a graph as further nodes of the graph.

use crate::{
    Error, Result,
    graph::{Graph, Node, ValueId},
    rules::{Site, vjp},
    tape::{Expr, Tape},
    tensor::{DType, Tensor},
};

/// What flows back into one input of an operator.
pub(crate) enum Cotangent<'t> {
    /// Nothing: the output does not change with this input, or only in jumps that the conventions
    /// count as constant.
    Zero,
    /// A value of the output's shape where the operator broadcasts, else of the input's.
    Value(Expr<'t>),
    /// There is no derivative, for this reason.
    NotDifferentiable(&'static str),
}

/// Appends the gradient of the sum of `of` with respect to each of `wrt`, in order and of their shapes.
///
/// Only the path between them is walked. A value that `of` does not depend on has a gradient of zeros.
/// Fails with [`Error::NoGradient`] where an operator on the path has no derivative; the graph then keeps
/// what was appended so far.
pub fn gradient(graph: &mut Graph, of: ValueId, wrt: &[ValueId]) -> Result<Vec<ValueId>> {
    if let Some(&id) = [of]
        .iter()
        .chain(wrt)
        .find(|&&id| graph.node(id).dtype != DType::F32)
    {
        return Err(no_gradient(graph.node(id), "only floats have gradients"));
    }
    let nodes: Vec<(ValueId, Node)> = graph.ids().zip(graph.nodes().to_vec()).collect();
    let nodes = &nodes[..=of.index()];
    let mut on_path = vec![false; nodes.len()];
    for (id, node) in nodes {
        on_path[id.index()] =
            wrt.contains(id) || node.inputs.iter().any(|input| on_path[input.index()]);
    }

    Tape::record(graph, |tape| {
        let one = || tape.constant(Tensor::scalar(1.0));
        let zeros = |id| {
            tape.constant(Tensor::scalar(0.0))
                .expand(tape.value(id).shape())
        };
        let mut cotangents: Vec<Option<Expr<'_>>> = vec![None; nodes.len()];
        cotangents[of.index()] = Some(one().expand(tape.value(of).shape()));

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
