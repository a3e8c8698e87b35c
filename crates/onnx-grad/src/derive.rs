//! Derives graphs from a model: its gradient with respect to the input, or to its weights.

use crate::{
    Error, Result,
    fold::fold,
    grad::gradient,
    graph::Graph,
    logits::{logits, scores},
    loss::Loss,
    node::ValueId,
    tensor::DType,
};

/// Builds the graph of a model's loss and of the loss' gradient with respect to the model's input.
///
/// Inputs: the model's own, `labels` (integers `[N]`), and `targets` (integers `[N]`) if the loss is targeted. Outputs:
/// `logits` `[N, C]`, `loss` `[N]`, and `grad`, of the input's shape. Pictures do not influence one another, so this is
/// each picture's gradient of its own loss. A final softmax is skipped, as in [`logits`].
///
/// Fails unless the model has one float input and one output that [`logits`] accepts, or if it is not differentiable.
pub fn gradient_graph(model: &Graph, loss: Loss) -> Result<Graph> {
    gradient_of(Classifier::of(model)?, loss)
}

/// [`gradient_graph`] of a model whose logits are known.
pub(crate) fn gradient_of(model: Classifier, loss: Loss) -> Result<Graph> {
    let (mut graph, values) = with_loss(model, loss)?;
    let grad = gradient(&mut graph, values.loss, &[values.input])?;
    graph.output("grad", grad[0]);
    fold(&graph)
}

/// Builds the graph of a model's loss and of its gradients with respect to some of its weights.
///
/// Inputs: those of [`gradient_graph`], then the weights under their names. Outputs: `logits`, `loss`, and for each
/// weight the gradient of the sum of the losses, named `grad/` plus the weight's name.
///
/// Fails like [`gradient_graph`], and if a weight is not a named constant of the model.
pub fn training_graph(model: &Graph, loss: Loss, weights: &[ValueId]) -> Result<Graph> {
    let (mut graph, values) = with_loss(Classifier::of(model)?, loss)?;
    for &weight in weights {
        if graph.node(weight).name.is_empty() {
            return Err(Error::misuse("a weight to train has no name"));
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

/// Appends a loss to the model. Ids of the model stay valid.
fn with_loss(model: Classifier, loss: Loss) -> Result<(Graph, Values)> {
    let Classifier {
        mut graph,
        input,
        logits,
    } = model;
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

/// Names of the inputs and outputs that derived graphs have in addition to the model's input.
const TAKEN: [&str; 11] = [
    "floor", "grad", "hard", "labels", "linear", "logits", "loss", "out", "pull", "spread",
    "targets",
];

/// A model from one float input to logits `[N, C]`, without declared outputs. An input whose name derived graphs need
/// is called `input`.
pub(crate) struct Classifier {
    /// The model; its ids stay valid.
    pub(crate) graph: Graph,
    pub(crate) input: ValueId,
    pub(crate) logits: ValueId,
}

impl Classifier {
    pub(crate) fn of(model: &Graph) -> Result<Self> {
        let &[input] = model.inputs() else {
            return Err(Error::unsupported(format!(
                "a classifier has one input; this one has {}",
                model.inputs().len()
            )));
        };
        let output = scores(model)?;
        let mut graph = model.clone();
        let logits = logits(&mut graph, output)?;
        Self::at(graph, input, logits)
    }

    /// Uses these logits unchanged.
    pub(crate) fn at(mut graph: Graph, input: ValueId, logits: ValueId) -> Result<Self> {
        if graph.node(input).dtype != DType::F32 {
            return Err(Error::unsupported("its input does not hold floats"));
        }
        graph.clear_outputs();
        if TAKEN.contains(&graph.node(input).name.as_str()) {
            graph.rename_input(input, "input");
        }
        Ok(Self {
            graph,
            input,
            logits,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Dim, Op, Tensor,
        testing::{Domain, Program, draw, floats, rng, shape, slopes},
    };

    /// `W x`, as `[N, 3, 1, 1]` and with a softmax if requested.
    fn model(softmax: bool) -> Result<(Graph, ValueId)> {
        let mut graph = Graph::new();
        let x = graph.input("x", DType::F32, shape("N 2"));
        let weight = Tensor::f32([2, 3], [0.5, -1.0, 2.0, 1.5, 0.25, -0.75])?;
        let weight = graph.named_constant("weight", weight);
        let product = graph.add(Op::MatMul, &[x, weight])?;
        let apart = |shape| Op::Reshape { shape };
        let mut output = graph.add(apart(shape("N 3 1 1")), &[product])?;
        if softmax {
            output = graph.add(Op::Softmax { axis: 1 }, &[output])?;
            output = graph.add(apart(shape("N 3 1")), &[output])?;
        }
        graph.output("scores", output);
        Ok((graph, weight))
    }

    fn names(graph: &Graph) -> (Vec<&str>, Vec<&str>) {
        let inputs = graph
            .inputs()
            .iter()
            .map(|&id| graph.node(id).name.as_str());
        let outputs = graph.outputs().iter().map(|(name, _)| name.as_str());
        (inputs.collect(), outputs.collect())
    }

    #[test]
    fn a_gradient_graph_has_the_promised_inputs_and_outputs() -> Result<()> {
        let (model, _) = model(false)?;
        let graph = gradient_graph(&model, Loss::TwoTerm)?;
        let outputs = vec!["logits", "loss", "grad"];
        assert_eq!(
            names(&graph),
            (vec!["x", "labels", "targets"], outputs.clone())
        );
        let graph = gradient_graph(&model, Loss::Margin)?;
        assert_eq!(names(&graph), (vec!["x", "labels"], outputs));
        let shapes: Vec<&[Dim]> = graph
            .outputs()
            .iter()
            .map(|&(_, id)| graph.shape(id))
            .collect();
        assert_eq!(shapes, [shape("N 3"), shape("N"), shape("N 2")]);
        Ok(())
    }

    #[test]
    fn a_final_softmax_is_looked_through() -> Result<()> {
        let x = draw(&mut rng("softmax"), &shape("N 2"), Domain::Any);
        let inputs = [x, Tensor::vector(&[0, 2])];
        let [plain, looked_through] = [false, true].map(|softmax| {
            let (model, _) = model(softmax).expect("the model is whole");
            let graph = gradient_graph(&model, Loss::CrossEntropy).expect("it is smooth");
            Program::new(&graph).run(&inputs)
        });
        assert_eq!(plain, looked_through);
        Ok(())
    }

    #[test]
    fn a_training_graph_has_the_gradients_of_its_weights() -> Result<()> {
        let (model, weight) = model(false)?;
        let graph = training_graph(&model, Loss::CrossEntropy, &[weight])?;
        let outputs = vec!["logits", "loss", "grad/weight"];
        assert_eq!(names(&graph), (vec!["x", "labels", "weight"], outputs));

        let mut rng = rng("training");
        let values = [
            draw(&mut rng, &shape("N 2"), Domain::Any),
            Tensor::vector(&[0, 2]),
            draw(&mut rng, &shape("2 3"), Domain::Any),
        ];
        let (_, loss) = graph.outputs()[1];
        let slopes = slopes(&graph, loss, 2, &values, 0.03, &mut rng)?;
        assert!(slopes.relative_error() < 3e-4, "{slopes:?}");

        // All losses together, unweighted: the sum of the rows of softmax minus one-hot is zero over classes.
        let gradient = Program::new(&graph).run(&values).remove(2);
        for row in floats(&gradient).chunks(3) {
            assert!(row.iter().sum::<f32>().abs() < 1e-6, "{row:?}");
        }
        Ok(())
    }

    #[test]
    fn what_is_no_classifier_is_refused() -> Result<()> {
        let refusal = |graph: &Graph| gradient_graph(graph, Loss::Margin).unwrap_err().to_string();
        let mut graph = Graph::new();
        let x = graph.input("x", DType::F32, shape("N 2 3"));
        assert!(refusal(&graph).contains("no output"));
        graph.output("y", x);
        assert!(refusal(&graph).contains("[N, 2, 3]"));
        graph.input("more", DType::F32, shape("N"));
        assert!(refusal(&graph).contains("one has 2"));

        let (model, _) = model(false)?;
        let product = model.outputs()[0].1;
        let error = training_graph(&model, Loss::Margin, &[product]).unwrap_err();
        assert!(error.to_string().contains("no name"), "{error}");
        Ok(())
    }
}
