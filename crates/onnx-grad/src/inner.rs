//! Values inside a model, by their names in the ONNX file.

use crate::{
    Error, Result,
    dim::Dim,
    graph::Graph,
    node::{Node, ValueId},
    op::Op,
    shape::display,
    tensor::DType,
};

/// Returns the named values inside a model, in the order of the file, with their shapes: all floats that depend on the
/// input.
///
/// A name is missing if its value no longer exists after [`fold`](crate::fold), such as a convolution's result before a
/// normalisation that was merged into it. Values inside functions of the file have no names.
pub fn inner_values(graph: &Graph) -> Vec<(String, Vec<Dim>)> {
    addressable(graph)
        .filter(|(.., id)| graph.node(*id).op != Op::Input)
        .map(|(_, name, id)| (name.to_owned(), graph.shape(id).to_vec()))
        .collect()
}

/// Returns a model whose step from the inner value `from` to the inner value `to`, of the same shape, has the gradient
/// of the identity. Values are unchanged, but the gradient at `to` passes to `from` directly (backward pass
/// differentiable approximation, Athalye, Carlini and Wagner, arXiv 1802.00420, section 4.1, with the identity as the
/// only approximation). The gradient from other uses of `from` is unchanged.
///
/// Names are those of [`inner_values`] and of the model's inputs. Fails if a name is unknown, if the shapes differ, or
/// if `to` does not depend on `from`.
pub fn with_backward(model: &Graph, from: &str, to: &str) -> Result<Graph> {
    let [source, target] = [find(model, from)?, find(model, to)?];
    let [before, after] = [source, target].map(|id| model.shape(id));
    if before != after {
        return Err(Error::misuse(format!(
            "{from:?} has shape {} and {to:?} {}; a gradient can pass unchanged only between equal shapes",
            display(before),
            display(after)
        )));
    }
    if source == target || !depends(model, target, source) {
        return Err(Error::misuse(format!("{to:?} does not depend on {from:?}")));
    }
    let mut graph = Graph::new();
    let mut places: Vec<ValueId> = Vec::with_capacity(model.nodes().len());
    for (id, node) in model.ids().zip(model.nodes()) {
        let Node {
            op,
            inputs,
            shape,
            dtype,
            name,
        } = node;
        let inputs: Vec<ValueId> = inputs.iter().map(|input| places[input.index()]).collect();
        let mut place = match op {
            Op::Input => graph.input(name.clone(), *dtype, shape.clone()),
            Op::Constant(tensor) => graph.named_constant(name.clone(), tensor.clone()),
            _ => graph.add_named(name.clone(), op.clone(), &inputs)?,
        };
        if id == target {
            let step = [place, places[source.index()]];
            place = graph.add_named(name.clone(), Op::StraightThrough, &step)?;
        }
        places.push(place);
    }
    for (name, id) in model.outputs() {
        graph.output(name.clone(), places[id.index()]);
    }
    graph.take_names(model, |id| Some(places[id.index()]));
    Ok(graph)
}

/// Returns the inner value or input with this name.
pub(crate) fn find(graph: &Graph, name: &str) -> Result<ValueId> {
    if let Some((.., id)) = addressable(graph).find(|(_, known, _)| *known == name) {
        return Ok(id);
    }
    let lost = graph.names().iter().position(|(known, _)| known == name);
    let (reason, nearest) = match lost {
        Some(at) => {
            let reason = match graph.names()[at].1.map(|id| graph.node(id)) {
                None => {
                    "no longer exists after import, because it is part of another value or no output needs it"
                }
                Some(node) if node.dtype != DType::F32 => "does not hold floats",
                Some(_) => "does not depend on the input",
            };
            let after = addressable(graph).find(|(place, ..)| *place > at);
            (reason, after.or_else(|| addressable(graph).last()))
        }
        None => {
            let alike = |(_, known, _): &(usize, &str, ValueId)| likeness(known, name);
            (
                "is not a value inside the model",
                addressable(graph).max_by_key(alike),
            )
        }
    };
    Err(Error::misuse(match nearest {
        Some((_, nearest, _)) => {
            format!("{name:?} {reason}; the closest available name is {nearest:?}")
        }
        None => format!("{name:?} {reason}; no value inside the model has a name"),
    }))
}

/// Returns whether a value equals another or depends on it.
pub(crate) fn depends(graph: &Graph, of: ValueId, on: ValueId) -> bool {
    let mut reached = vec![false; graph.nodes().len()];
    reached[on.index()] = true;
    for id in graph.ids().skip(on.index()).take_while(|&id| id <= of) {
        let inputs = &graph.node(id).inputs;
        reached[id.index()] |= inputs.iter().any(|input| reached[input.index()]);
    }
    reached[of.index()]
}

/// Returns all named floats that are not constants, in order: position among the names, name and value.
fn addressable(graph: &Graph) -> impl Iterator<Item = (usize, &str, ValueId)> {
    (0..).zip(graph.names()).filter_map(|(place, (name, id))| {
        let id = (*id)?;
        let node = graph.node(id);
        let is_float = node.dtype == DType::F32 && !matches!(node.op, Op::Constant(_));
        is_float.then_some((place, name.as_str(), id))
    })
}

/// Returns how many bytes two names share at the start and at the end.
fn likeness(a: &str, b: &str) -> usize {
    let start = a.bytes().zip(b.bytes());
    let end = a.bytes().rev().zip(b.bytes().rev());
    start.take_while(|(a, b)| a == b).count() + end.take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests;
