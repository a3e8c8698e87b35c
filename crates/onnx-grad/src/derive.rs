//! Whole graphs derived from a model: its gradient with respect to the input, or to its weights.

use crate::{
    Error, Result,
    fold::fold,
    grad::gradient,
    graph::{Graph, ValueId},
    logits::matrix,
    loss::Loss,
    tensor::DType,
};

/// The graph of a model's loss and of the loss' gradient with respect to the model's input.
///
/// Inputs: the model's own, `labels` (integers `[N]`), and `targets` (integers `[N]`) if the loss is targeted.
/// Outputs: `logits` `[N, C]`, `loss` `[N]`, and `grad`, of the input's shape: as pictures do not influence one
/// another, each picture's gradient of its own loss.
///
/// Fails unless the model has one float input and its first output is `[N, C]`, or that with further axes of
/// side 1; and where the model is not differentiable.
pub fn gradient_graph(model: &Graph, loss: Loss) -> Result<Graph> {
    let (mut graph, values) = with_loss(model, loss)?;
    let grad = gradient(&mut graph, values.loss, &[values.input])?;
    graph.output("grad", grad[0]);
    fold(&graph)
}

/// The graph of a model's loss and of its gradients with respect to some of its weights.
///
/// Inputs: those of [`gradient_graph`], then the weights, each under its name. Outputs: `logits`, `loss`, and for
/// each weight the gradient of the sum of the losses, called `grad/` and the weight's name.
///
/// Fails like [`gradient_graph`], and if a weight is no named constant of the model.
pub fn training_graph(model: &Graph, loss: Loss, weights: &[ValueId]) -> Result<Graph> {
    let (mut graph, values) = with_loss(model, loss)?;
    for &weight in weights {
        if graph.node(weight).name.is_empty() {
            return Err(Error::invalid("a weight to be trained has no name"));
        }
        graph.constant_to_input(weight)?;
    }
    let gradients = gradient(&mut graph, values.loss, weights)?;
    for (&weight, gradient) in weights.iter().zip(gradients) {
        let name = format!("grad/{}", graph.node(weight).name);
        graph.output(name, gradient);
    }
    fold(&graph)
}

struct Values {
    input: ValueId,
    loss: ValueId,
}

/// The model with a loss behind it; ids of the model stay valid.
fn with_loss(model: &Graph, loss: Loss) -> Result<(Graph, Values)> {
    let (&[input], Some(&(_, output))) = (model.inputs(), model.outputs().first()) else {
        return Err(Error::unsupported(format!(
            "a model to be attacked has one input and an output; this one has {} and {}",
            model.inputs().len(),
            model.outputs().len()
        )));
    };
    if model.node(input).dtype != DType::F32 {
        return Err(Error::unsupported("its input is not of floats"));
    }
    let mut graph = model.clone();
    graph.clear_outputs();
    let logits = matrix(&mut graph, output)?;
    let batch = graph.shape(logits)[0];
    let labels = graph.input("labels", DType::I64, vec![batch]);
    let targets = loss
        .is_targeted()
        .then(|| graph.input("targets", DType::I64, vec![batch]));
    let loss = loss.append(&mut graph, logits, labels, targets)?;
    graph.output("logits", logits);
    graph.output("loss", loss);
    Ok((graph, Values { input, loss }))
}
