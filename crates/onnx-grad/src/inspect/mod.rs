//! What a model file holds, what it costs to run, and how far gradients get.

mod cost;
mod flow;
mod preprocessing;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

pub use cost::Cost;
pub use flow::{Effect, Obstacle, Passage};
pub use preprocessing::Step;
use serde::Serialize;

use crate::{
    Dim, Error, Graph, LoadOptions, Loss, Op, Result, ValueId, gradient_graph,
    import::{census, decode, folder_of, import, label, read, type_name, unsupported},
    logits::{final_sigmoid, final_softmax, logits, scores},
    proto::{
        AttributeProto, DataType, DimensionValue, GraphProto, ModelProto, NodeProto, TensorProto,
        ValueInfoProto,
    },
    tensor::DType,
};

/// What is known about a model.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// The file as it is written.
    pub file: File,
    /// The classifier in it; `None` if it cannot be imported.
    pub classifier: Option<Classifier>,
    /// What differs from the file after the import, one sentence each.
    pub notices: Vec<String>,
    /// What an attacker may be given.
    pub access: Access,
}

/// A model file as it is written.
#[derive(Clone, Debug, Serialize)]
pub struct File {
    /// The program that wrote it; may be empty.
    pub producer: String,
    /// Version of ONNX's own operator set.
    pub opset: Option<i64>,
    /// Inputs that are not weights.
    pub inputs: Vec<Signature>,
    /// Outputs.
    pub outputs: Vec<Signature>,
    /// Numbers in the weights: the floating-point initialisers, and constants of more than one element.
    pub parameters: u64,
    /// How many nodes each operator has: those of the model's functions as often as they are called, those of inner graphs
    /// once. A call itself does not count.
    pub operators: BTreeMap<String, usize>,
    /// The operators that cannot be imported; none if the import met none, as in a branch that is never taken.
    pub unsupported: Vec<Unsupported>,
}

/// An input or output of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Signature {
    /// Its name.
    pub name: String,
    /// Element type, as ONNX calls it.
    pub r#type: String,
    /// Its shape, if stated.
    pub shape: Option<Vec<Side>>,
}

/// One side of a shape in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Side {
    /// A number.
    Fixed(i64),
    /// A name for what varies.
    Named(String),
    /// Nothing is stated.
    Unknown,
}

/// An operator that cannot be imported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unsupported {
    /// The operator, with its domain if that is not ONNX's own.
    pub operator: String,
    /// How many nodes have it.
    pub nodes: usize,
    /// The first of them.
    pub first: String,
    /// Why it cannot be imported.
    pub reason: String,
}

/// The model after the import.
#[derive(Clone, Debug, Serialize)]
pub struct Classifier {
    /// Name and shape of the picture's input; the batch is `N`.
    pub input: Value,
    /// Name and shape of the output with the scores; `None` if there are several to choose from.
    pub output: Option<Value>,
    /// Number of classes, where the output is a row of scores for each picture.
    pub classes: Option<usize>,
    /// Pictures of one execution: `None` if there may be any number.
    pub batch: Option<usize>,
    /// The final softmax, or the sigmoid of a single score, that scores are taken before; `None` if there is none.
    pub softmax: Option<String>,
    /// How many nodes each operator has after normalisation.
    pub operators: BTreeMap<&'static str, usize>,
    /// What is done to the picture before the first layer.
    pub preprocessing: Vec<Step>,
    /// From the input to the scores, for one picture where the batch is free.
    pub forward: Option<Cost>,
    /// Cross-entropy and its gradient with respect to the input, the forward pass included.
    pub gradient: Option<Cost>,
    /// Where gradients stop, vanish or nearly do on their way from the scores to the picture.
    pub obstacles: Vec<Obstacle>,
}

/// A value of the imported graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Value {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<String>,
}

/// What an attacker may be given, and what stands in the way.
#[derive(Clone, Debug, Serialize)]
pub struct Access {
    /// The most likely class.
    pub labels: Level,
    /// The scores of all classes.
    pub scores: Level,
    /// The gradient of a loss with respect to the picture.
    pub gradients: Level,
}

/// Whether a level of access is possible.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Level {
    /// Whether it is.
    pub possible: bool,
    /// If not, why.
    pub obstacle: Option<String>,
}

impl Level {
    fn of<T>(result: &Result<T>) -> Self {
        Self {
            possible: result.is_ok(),
            obstacle: result.as_ref().err().map(Error::to_string),
        }
    }
}

/// Inspects a model file. A model that cannot be imported is told as far as its file goes.
///
/// # Errors
/// [`Error::Io`] or [`Error::Invalid`] if the file cannot be read or is none of ONNX.
pub fn inspect(path: &Path, options: &LoadOptions) -> Result<Inspection> {
    inspect_bytes(&read(path)?, folder_of(path), options)
}

/// [`inspect`] on the bytes of a file. Weights in other files are looked for in `folder`.
pub fn inspect_bytes(
    bytes: &[u8],
    folder: Option<&Path>,
    options: &LoadOptions,
) -> Result<Inspection> {
    let model = decode(bytes)?;
    let graph = model
        .graph
        .as_ref()
        .ok_or_else(|| Error::invalid("has no graph; is this an ONNX file?"))?;
    let mut file = file(&model, graph);
    let imported = import(&model, folder, options);
    drop(model);
    let loaded = match imported {
        Ok(loaded) => loaded,
        Err(error) => {
            let none = Level::of::<()>(&Err(error));
            return Ok(Inspection {
                file,
                classifier: None,
                notices: Vec::new(),
                access: Access {
                    labels: none.clone(),
                    scores: none.clone(),
                    gradients: none,
                },
            });
        }
    };
    file.unsupported.clear();
    let (classifier, access) = classifier(loaded.graph);
    Ok(Inspection {
        file,
        classifier,
        notices: loaded.notices,
        access,
    })
}

fn file(model: &ModelProto, graph: &GraphProto) -> File {
    let census = census(model);
    let mut operators: BTreeMap<String, usize> = BTreeMap::new();
    for counted in &census.nodes {
        let count = operators.entry(qualified(counted.node)).or_default();
        *count = count.saturating_add(counted.times);
    }
    let mut refused: BTreeMap<String, Unsupported> = BTreeMap::new();
    for (counted, reason) in unsupported(model, &census) {
        let operator = qualified(counted.node);
        let refused = refused
            .entry(operator.clone())
            .or_insert_with(|| Unsupported {
                operator,
                nodes: 0,
                first: label(counted.node).to_owned(),
                reason,
            });
        refused.nodes = refused.nodes.saturating_add(counted.times);
    }
    let weights = graph.initializer.iter().map(elements);
    let constants = graph
        .node
        .iter()
        .filter(|node| node.op_type == "Constant")
        .flat_map(|node| &node.attribute)
        .map(|AttributeProto { t, floats, .. }| t.as_ref().map_or(floats.len() as u64, elements))
        .filter(|&elements| elements > 1);
    let names = graph.initializer.iter().map(|weight| weight.name.as_str());
    let initializers: BTreeSet<&str> = names.collect();
    let opset = model
        .opset_import
        .iter()
        .find(|opset| opset.domain.is_empty() || opset.domain == "ai.onnx");
    File {
        producer: format!("{} {}", model.producer_name, model.producer_version)
            .trim()
            .to_owned(),
        opset: opset.map(|opset| opset.version),
        inputs: graph
            .input
            .iter()
            .filter(|input| !initializers.contains(input.name.as_str()))
            .map(signature)
            .collect(),
        outputs: graph.output.iter().map(signature).collect(),
        parameters: weights.chain(constants).fold(0, u64::saturating_add),
        operators,
        unsupported: refused.into_values().collect(),
    }
}

/// A node's operator, with its domain if that is not ONNX's own.
fn qualified(node: &NodeProto) -> String {
    match node.domain.as_str() {
        "" | "ai.onnx" => node.op_type.clone(),
        domain => format!("{domain}.{}", node.op_type),
    }
}

/// Number of elements of a tensor of floats, 0 for others.
fn elements(tensor: &TensorProto) -> u64 {
    let is_float = matches!(
        tensor.data_type(),
        DataType::Float | DataType::Float16 | DataType::Bfloat16 | DataType::Double
    );
    let sides = tensor
        .dims
        .iter()
        .map(|&side| u64::try_from(side).unwrap_or(0));
    if is_float {
        sides.fold(1, u64::saturating_mul)
    } else {
        0
    }
}

fn signature(info: &ValueInfoProto) -> Signature {
    let tensor = info
        .r#type
        .as_ref()
        .and_then(|r#type| r#type.tensor_type.as_ref());
    let side = |value: &Option<DimensionValue>| match value {
        Some(DimensionValue::Value(side)) => Side::Fixed(*side),
        Some(DimensionValue::Param(name)) if !name.is_empty() => Side::Named(name.clone()),
        _ => Side::Unknown,
    };
    Signature {
        name: info.name.clone(),
        r#type: tensor.map_or_else(
            || "no tensor".to_owned(),
            |tensor| type_name(tensor.elem_type),
        ),
        shape: tensor
            .and_then(|tensor| tensor.shape.as_ref())
            .map(|shape| shape.dim.iter().map(|dim| side(&dim.value)).collect()),
    }
}

/// The classifier in an imported graph; `None` if no input is left.
fn classifier(mut graph: Graph) -> (Option<Classifier>, Access) {
    let input = match graph.inputs() {
        [input] => Ok(*input),
        several => Err(Error::unsupported(format!(
            "has {} inputs; one picture in and one row of scores out are needed",
            several.len()
        ))),
    };
    let output = scores(&graph);
    let seen = output.as_ref().ok().and_then(|&output| {
        final_softmax(&graph, output).or_else(|| final_sigmoid(&graph, output))
    });
    let softmax = seen.map(|id| graph.node(id).name.clone());
    let value = |graph: &Graph, name: &str, id: ValueId| Value {
        name: name.to_owned(),
        shape: graph.shape(id).iter().map(Dim::to_string).collect(),
    };
    let shown = output
        .as_ref()
        .ok()
        .map(|&id| value(&graph, &graph.outputs()[0].0, id));
    let row = input.and_then(|input| {
        let output = output?;
        if graph.node(input).dtype != DType::F32 {
            return Err(Error::unsupported("its input is not of floats"));
        }
        Ok((input, logits(&mut graph, output)?))
    });
    let Some(&first) = graph.inputs().first() else {
        let none = Level::of(&row);
        let access = Access {
            labels: none.clone(),
            scores: none.clone(),
            gradients: none,
        };
        return (None, access);
    };
    let mut classifier = Classifier {
        input: value(&graph, &graph.node(first).name, first),
        output: shown,
        classes: None,
        batch: match graph.shape(first).first() {
            Some(Dim::Fixed(side)) => Some(*side),
            _ => None,
        },
        softmax,
        operators: BTreeMap::new(),
        preprocessing: preprocessing::found(&graph, first),
        forward: None,
        gradient: None,
        obstacles: Vec::new(),
    };
    for node in graph
        .nodes()
        .iter()
        .filter(|node| !matches!(node.op, Op::Input | Op::Constant(_)))
    {
        *classifier.operators.entry(node.op.name()).or_default() += 1;
    }
    let gradients = match &row {
        Err(error) => Err(error.clone()),
        &Ok((input, row)) => {
            graph.clear_outputs();
            graph.output("logits", row);
            classifier.classes = match graph.shape(row).last() {
                Some(Dim::Fixed(classes)) => Some(*classes),
                _ => None,
            };
            classifier.forward = Some(Cost::of(&graph));
            let passage = Passage::of(&graph, row, input);
            classifier.obstacles = passage.obstacles;
            let gradient = gradient_graph(&graph, Loss::CrossEntropy);
            classifier.gradient = gradient.as_ref().ok().map(Cost::of);
            gradient.and_then(|_| match passage.reaches {
                true => Ok(()),
                false => Err(Error::unsupported(
                    "its gradient is zero for every picture, by construction",
                )),
            })
        }
    };
    let scores = Level::of(&row);
    let access = Access {
        labels: scores.clone(),
        scores,
        gradients: Level::of(&gradients),
    };
    (Some(classifier), access)
}
