//! Describes a model file: its contents, its cost, and how far gradients reach.

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
    Dim, Error, Graph, LoadOptions, Loss, Op, Result, ValueId,
    derive::{Classifier as Differentiable, gradient_of},
    import::{census, decode, folder_of, import, label, read, type_name, unsupported},
    logits::{Head, scores},
    proto::{
        AttributeProto, DataType, DimensionValue, GraphProto, ModelProto, NodeProto, TensorProto,
        ValueInfoProto,
    },
    tensor::DType,
};

/// A description of a model.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// The file as written.
    pub file: File,
    /// The classifier in it; `None` if it cannot be imported.
    pub classifier: Option<Classifier>,
    /// Differences between the file and the imported graph, one sentence each.
    pub notices: Vec<String>,
    /// The levels of access that an attacker can have.
    pub access: Access,
}

/// A model file as written.
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
    /// Number of parameters: the elements of floating-point initialisers, and of constants with more than one element.
    pub parameters: u64,
    /// Number of nodes of each operator. Nodes of the model's functions count once for each call, nodes of inner graphs
    /// once. A call itself does not count.
    pub operators: BTreeMap<String, usize>,
    /// The operators that cannot be imported; empty if the import met none, as in a branch that is never taken.
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
    /// The name of a variable size.
    Named(String),
    /// Not stated.
    Unknown,
}

/// An operator that cannot be imported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unsupported {
    /// The operator, with its domain if that is not ONNX's own.
    pub operator: String,
    /// The number of its nodes.
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
    /// Name and shape of the output with the scores; `None` if there are several candidates.
    pub output: Option<Value>,
    /// Number of classes, if the output is a row of scores for each picture.
    pub classes: Option<usize>,
    /// Number of pictures in one execution; `None` if any number is possible.
    pub batch: Option<usize>,
    /// The final softmax or sigmoid that is looked through; `None` if there is none.
    pub softmax: Option<String>,
    /// Number of nodes of each operator after normalisation.
    pub operators: BTreeMap<&'static str, usize>,
    /// The preprocessing steps before the first layer.
    pub preprocessing: Vec<Step>,
    /// Cost of computing the scores, for one picture if the batch is free.
    pub forward: Option<Cost>,
    /// Cost of the cross-entropy and its gradient with respect to the input, including the forward pass.
    pub gradient: Option<Cost>,
    /// Where gradients stop, vanish or nearly vanish between the scores and the picture.
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

/// The levels of access that an attacker can have, and the obstacles.
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
    /// Whether it is possible.
    pub possible: bool,
    /// If not, the reason.
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

/// Inspects a model file. If the model cannot be imported, describes the file only.
///
/// # Errors
/// [`Error::Io`] or [`Error::Invalid`] if the file cannot be read or is not an ONNX file.
pub fn inspect(path: &Path, options: &LoadOptions) -> Result<Inspection> {
    inspect_bytes(&read(path)?, folder_of(path), options)
}

/// [`inspect`] for the bytes of a file. External weights are looked up in `folder`.
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
    let mut notices = loaded.notices;
    let (classifier, access) = classifier(loaded.graph, &mut notices);
    Ok(Inspection {
        file,
        classifier,
        notices,
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

/// Returns a node's operator, with its domain if that is not ONNX's own.
fn qualified(node: &NodeProto) -> String {
    match node.domain.as_str() {
        "" | "ai.onnx" => node.op_type.clone(),
        domain => format!("{domain}.{}", node.op_type),
    }
}

/// Returns the number of elements of a float tensor, 0 for others.
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
            || "not a tensor".to_owned(),
            |tensor| type_name(tensor.elem_type),
        ),
        shape: tensor
            .and_then(|tensor| tensor.shape.as_ref())
            .map(|shape| shape.dim.iter().map(|dim| side(&dim.value)).collect()),
    }
}

/// Describes the classifier in an imported graph; `None` if no input is left.
fn classifier(mut graph: Graph, notices: &mut Vec<String>) -> (Option<Classifier>, Access) {
    let input = match graph.inputs() {
        [input] => Ok(*input),
        several => Err(Error::unsupported(format!(
            "has {} inputs; a classifier takes one picture and returns one row of scores",
            several.len()
        ))),
    };
    let output = scores(&graph);
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
            return Err(Error::unsupported("its input does not hold floats"));
        }
        Ok((input, Head::of(&mut graph, output)?))
    });
    let softmax = (row.as_ref().ok())
        .and_then(|(_, head)| head.through)
        .map(|id| graph.node(id).name.clone());
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
        Ok((input, head)) => {
            let (input, row) = (*input, head.logits);
            notices.extend(head.notices(&graph));
            graph.clear_outputs();
            graph.output("logits", row);
            classifier.classes = match graph.shape(row).last() {
                Some(Dim::Fixed(classes)) => Some(*classes),
                _ => None,
            };
            classifier.forward = Some(Cost::of(&graph));
            let passage = Passage::of(&graph, row, input);
            classifier.obstacles = passage.obstacles;
            let gradient = Differentiable::at(graph.clone(), input, row)
                .and_then(|model| gradient_of(model, Loss::CrossEntropy));
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
