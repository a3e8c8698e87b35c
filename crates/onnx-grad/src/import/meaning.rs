//! What a node represents: an operator, a function of the model, or a choice between two branches.

use std::collections::BTreeMap;

use super::{
    census::{Census, Counted},
    is_onnx_domain,
    ops::{self, Handler},
};
use crate::proto::{FunctionProto, ModelProto, NodeProto};

/// The operator set of classical machine learning, used by exporters of scikit-learn, XGBoost and LightGBM.
pub(super) const CLASSIC: &str = "ai.onnx.ml";

/// Explains why an operator of classical machine learning cannot be imported.
fn classic(op_type: &str) -> String {
    let what = match op_type {
        "TreeEnsemble" | "TreeEnsembleClassifier" | "TreeEnsembleRegressor" => {
            return "a tree ensemble has no gradient; attacks with access to scores or labels don't need one".to_owned();
        }
        "SVMClassifier" | "SVMRegressor" => "a support vector machine",
        "LinearClassifier" | "LinearRegressor" => "a linear model of scikit-learn",
        "ZipMap" => {
            return "converts a row of scores to a map of names".to_owned();
        }
        _ => "an operator of classical machine learning",
    };
    format!(
        "{what}, which has no gradient in this version; attacks with access to scores or labels don't need one"
    )
}

/// The functions of a model by domain and name.
pub(super) type Functions<'a> = BTreeMap<(&'a str, &'a str), &'a FunctionProto>;

pub(super) fn functions(model: &ModelProto) -> Functions<'_> {
    let functions = model.functions.iter();
    functions
        .map(|function| {
            let name = (function.domain.as_str(), function.name.as_str());
            (name, function)
        })
        .collect()
}

/// What a node represents.
pub(super) enum Meaning<'a> {
    /// An operator.
    Operator(Handler),
    /// A function of the model.
    Function(&'a FunctionProto),
    /// A choice between two branches.
    Branch,
}

/// Returns what a node represents, or the reason why it is unknown as a sentence without a subject.
pub(super) fn meaning<'a>(
    node: &NodeProto,
    functions: &Functions<'a>,
) -> Result<Meaning<'a>, String> {
    if let Some(function) = functions.get(&(&*node.domain, &*node.op_type)) {
        return Ok(Meaning::Function(function));
    }
    if node.domain == ops::MICROSOFT
        && let Some(handler) = ops::contributed(&node.op_type)
    {
        return Ok(Meaning::Operator(handler));
    }
    if node.domain == CLASSIC {
        return Err(classic(&node.op_type));
    }
    if !is_onnx_domain(&node.domain) {
        return Err(format!(
            "belongs to the operator set {:?}, of which this version knows {}",
            node.domain,
            match node.domain == ops::MICROSOFT {
                true => "other operators only",
                false => "nothing",
            }
        ));
    }
    if node.op_type == "If" {
        return Ok(Meaning::Branch);
    }
    let handler = ops::handler(&node.op_type);
    handler
        .map(Meaning::Operator)
        .ok_or_else(|| "this operator is not supported".into())
}

/// Returns the nodes that can never be imported, whatever their inputs, each with the reason, in the order of the
/// census.
pub(crate) fn unsupported<'a>(
    model: &'a ModelProto,
    census: &Census<'a>,
) -> Vec<(Counted<'a>, String)> {
    let known = functions(model);
    let nodes = census.nodes.iter();
    nodes
        .filter_map(|&counted| Some((counted, meaning(counted.node, &known).err()?)))
        .collect()
}
