//! Nodes that are replaced by other nodes: calls of the model's own functions, and `If` with a known condition.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Importer, Source, Value, call::Call, define, is_onnx_domain, ops::Outputs, shapes::Size,
    tensors,
};
use crate::{
    Error, Result,
    proto::{FunctionProto, GraphProto, NodeProto},
};

/// Maximum depth of nested calls.
pub(super) const MAX_DEPTH: usize = 32;

/// Maximum number of nodes that all calls together may expand to. Without it, a few functions that call each other
/// twice would expand to millions of nodes.
pub(super) const MAX_INLINED: usize = 1 << 20;

/// Names of values that a node may read.
pub(super) type Scope = BTreeMap<String, Option<Value>>;

impl Source<'_> {
    /// Returns the values of a function call.
    pub(super) fn function(
        &self,
        importer: &mut Importer,
        call: &Call,
        function: &FunctionProto,
        depth: usize,
    ) -> Result<Outputs> {
        enter(importer, call, function.node.len(), depth)?;
        if call.inputs.len() > function.input.len() {
            return Err(call.invalid(format!(
                "passes {} inputs to a function that takes {}",
                call.inputs.len(),
                function.input.len()
            )));
        }
        let mut scope = Scope::new();
        let mut omitted = BTreeSet::new();
        let outer = std::mem::take(&mut importer.integer_types);
        for (at, name) in function.input.iter().enumerate() {
            match call.value(at) {
                Some(value) => {
                    define(&mut scope, name, Some(value.clone()))?;
                    let given = call.node.input.get(at);
                    let data_type = given.and_then(|given| outer.get(given)).copied();
                    importer.keep_type(name, data_type);
                }
                None => {
                    omitted.insert(name.as_str());
                }
            }
        }
        let mut opsets = function.opset_import.iter();
        let own = opsets.find(|opset| is_onnx_domain(&opset.domain));
        let opset = own.map_or(call.opset, |own| own.version);
        for node in super::order::sorted(&function.node) {
            let node = specialised(node, call, function, &omitted);
            self.node(importer, &mut scope, &node, opset, depth + 1)?;
        }
        importer.leave(call, &function.output, outer);
        results(call, &function.output, &scope)
    }

    /// Returns the values of the branch that a constant condition selects.
    pub(super) fn branch(
        &self,
        importer: &mut Importer,
        call: &Call,
        scope: &Scope,
        depth: usize,
    ) -> Result<Outputs> {
        let condition = call.value(0).and_then(|value| importer.sizes_of(value));
        let entries = condition.map(|sizes| sizes.entries);
        let name = match entries.as_deref() {
            Some([Size::Known(0)]) => "else_branch",
            Some([Size::Known(_)]) => "then_branch",
            _ => {
                return Err(call.unsupported(
                    "branches on a value that depends on the picture or the batch; export the model with a fixed branch",
                ));
            }
        };
        let branch: &GraphProto = call
            .graph(name)?
            .ok_or_else(|| call.invalid(format!("{name} is missing")))?;
        enter(importer, call, branch.node.len(), depth)?;
        let mut scope = scope.clone();
        let outer = importer.integer_types.clone();
        for initializer in &branch.initializer {
            let tensor = tensors::initializer(initializer, self.folder)?;
            importer.keep_type(&initializer.name, Some(initializer.data_type));
            importer.notice(tensors::conversion_notice(initializer.data_type));
            let id = importer.builder.constant(&initializer.name, tensor);
            define(&mut scope, &initializer.name, Some(id.into()))?;
        }
        for node in super::order::sorted(&branch.node) {
            self.node(importer, &mut scope, node, call.opset, depth + 1)?;
        }
        let names: Vec<String> = branch
            .output
            .iter()
            .map(|output| output.name.clone())
            .collect();
        importer.leave(call, &names, outer);
        results(call, &names, &scope)
    }
}

impl Importer {
    /// Restores the integer types `outer` of the caller; the call's outputs are the values `results` inside it.
    fn leave(&mut self, call: &Call, results: &[String], outer: BTreeMap<String, i32>) {
        let inner = std::mem::replace(&mut self.integer_types, outer);
        for (output, result) in call.node.output.iter().zip(results) {
            self.keep_type(output, inner.get(result).copied());
        }
    }
}

fn enter(importer: &mut Importer, call: &Call, nodes: usize, depth: usize) -> Result<()> {
    importer.inlined = importer.inlined.saturating_add(nodes);
    if depth >= MAX_DEPTH {
        return Err(call.unsupported(format!("is nested in more than {MAX_DEPTH} calls")));
    }
    if importer.inlined > MAX_INLINED {
        return Err(call.unsupported(format!(
            "expands the model's function calls to more than {MAX_INLINED} nodes"
        )));
    }
    Ok(())
}

/// Returns a node of a function with the attributes of this call, and without the inputs that the call omits.
fn specialised(
    node: &NodeProto,
    call: &Call,
    function: &FunctionProto,
    omitted: &BTreeSet<&str>,
) -> NodeProto {
    let mut node = node.clone();
    for input in &mut node.input {
        if omitted.contains(input.as_str()) {
            input.clear();
        }
    }
    let given = || call.node.attribute.iter().chain(&function.attribute_proto);
    node.attribute = (node.attribute.into_iter())
        .filter_map(|attribute| {
            if attribute.ref_attr_name.is_empty() {
                return Some(attribute);
            }
            let mut meant = given()
                .find(|given| given.name == attribute.ref_attr_name)?
                .clone();
            meant.name = attribute.name;
            Some(meant)
        })
        .collect();
    node
}

fn results(call: &Call, names: &[String], scope: &Scope) -> Result<Outputs> {
    names
        .iter()
        .map(|name| match scope.get(name) {
            Some(Some(value)) => Ok(value.clone()),
            Some(None) => Err(call.unsupported(format!(
                "returns {name:?}, a secondary output that this version does not compute"
            ))),
            None => Err(Error::invalid(format!(
                "node {:?} ({}): no node computes its result {name:?}",
                call.name(),
                call.node.op_type
            ))),
        })
        .collect()
}
