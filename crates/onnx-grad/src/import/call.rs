//! One ONNX node, as the import functions of operators see it.

use super::{Value, tensors};
use crate::{
    Error, Result,
    node::ValueId,
    proto::{AttributeProto, AttributeType, GraphProto, NodeProto},
    tensor::Tensor,
};

/// Maximum pad, stride, kernel side and repeat count: far above any real use, far below overflow.
const MAX_ATTRIBUTE: i64 = 1 << 24;

/// A node with its inputs resolved. An omitted optional input is `None`.
pub(super) struct Call<'a> {
    pub(super) node: &'a NodeProto,
    pub(super) inputs: Vec<Option<Value>>,
    pub(super) opset: i64,
}

impl Call<'_> {
    /// The node's name, or the name of its first output if it has none.
    pub(super) fn name(&self) -> &str {
        label(self.node)
    }

    pub(super) fn invalid(&self, message: impl std::fmt::Display) -> Error {
        Error::invalid(format!(
            "node {:?} ({}): {message}",
            self.name(),
            self.node.op_type
        ))
    }

    pub(super) fn unsupported(&self, message: impl std::fmt::Display) -> Error {
        Error::unsupported(format!(
            "node {:?} ({}): {message}",
            self.name(),
            self.node.op_type
        ))
    }

    /// Attributes an error in a part of the node to the node.
    pub(super) fn of_part(&self, error: Error) -> Error {
        match error {
            Error::Invalid(message) => self.invalid(message),
            Error::Unsupported(message) => self.unsupported(message),
            other => other,
        }
    }

    /// Returns an input as given.
    pub(super) fn value(&self, at: usize) -> Option<&Value> {
        self.inputs.get(at)?.as_ref()
    }

    /// Returns a required input.
    pub(super) fn input(&self, at: usize) -> Result<ValueId> {
        self.optional(at)?
            .ok_or_else(|| self.invalid(format!("input {at} is missing")))
    }

    /// Returns an optional input.
    pub(super) fn optional(&self, at: usize) -> Result<Option<ValueId>> {
        match self.value(at) {
            None => Ok(None),
            Some(Value::Tensor(id)) => Ok(Some(*id)),
            Some(Value::Sizes(_) | Value::Positions(_)) => {
                Err(self.unsupported("computes with the batch size"))
            }
        }
    }

    /// Returns all inputs of a variadic operator; there is at least one.
    pub(super) fn all_inputs(&self) -> Result<Vec<ValueId>> {
        (0..self.inputs.len().max(1))
            .map(|at| self.input(at))
            .collect()
    }

    fn attribute(&self, name: &str) -> Option<&AttributeProto> {
        self.node
            .attribute
            .iter()
            .find(|attribute| attribute.name == name)
    }

    /// Returns what `read` extracts from an attribute. An attribute of another type is an error.
    fn read<'a, T>(
        &'a self,
        name: &str,
        read: impl FnOnce(&'a AttributeProto) -> Option<T>,
    ) -> Result<Option<T>> {
        self.attribute(name)
            .map(|attribute| {
                read(attribute)
                    .ok_or_else(|| self.invalid(format!("attribute {name:?} has the wrong type")))
            })
            .transpose()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.attribute(name).is_some()
    }

    pub(super) fn int(&self, name: &str, default: i64) -> Result<i64> {
        // Proto3 writers omit zeros, so a missing value of the right type is 0.
        let value = self.read(name, |attribute| {
            attribute
                .i
                .or((attribute.kind() == AttributeType::Int).then_some(0))
        })?;
        Ok(value.unwrap_or(default))
    }

    pub(super) fn flag(&self, name: &str, default: bool) -> Result<bool> {
        Ok(self.int(name, i64::from(default))? != 0)
    }

    pub(super) fn float(&self, name: &str, default: f32) -> Result<f32> {
        let value = self.read(name, |attribute| {
            attribute
                .f
                .or((attribute.kind() == AttributeType::Float).then_some(0.0))
        })?;
        Ok(value.unwrap_or(default))
    }

    pub(super) fn string(&self, name: &str, default: &'static str) -> Result<&str> {
        let value = self.read(name, |attribute| {
            std::str::from_utf8(attribute.s.as_deref().unwrap_or_default()).ok()
        })?;
        Ok(value.unwrap_or(default))
    }

    pub(super) fn ints(&self, name: &str) -> Result<Option<&[i64]>> {
        self.read(name, |attribute| {
            let is_list = matches!(
                attribute.kind(),
                AttributeType::Ints | AttributeType::Undefined
            );
            (is_list || !attribute.ints.is_empty()).then_some(&attribute.ints[..])
        })
    }

    pub(super) fn floats(&self, name: &str) -> Result<Option<&[f32]>> {
        self.read(name, |attribute| Some(&attribute.floats[..]))
    }

    pub(super) fn tensor(&self, name: &str) -> Result<Option<Tensor>> {
        self.read(name, |attribute| attribute.t.as_ref())?
            .map(|proto| tensors::embedded(proto).map_err(|message| self.invalid(message)))
            .transpose()
    }

    pub(super) fn graph(&self, name: &str) -> Result<Option<&GraphProto>> {
        self.read(name, |attribute| attribute.g.as_ref())
    }

    /// Returns the element type of a tensor attribute, as stated in the file.
    pub(super) fn tensor_type(&self, name: &str) -> Option<i32> {
        Some(self.attribute(name)?.t.as_ref()?.data_type)
    }

    /// Returns a list attribute of `count` non-negative sizes.
    pub(super) fn sizes(&self, name: &str, count: usize, default: usize) -> Result<Vec<usize>> {
        let Some(values) = self.ints(name)?.filter(|values| !values.is_empty()) else {
            return Ok(vec![default; count]);
        };
        if values.len() != count {
            return Err(self.invalid(format!(
                "attribute {name:?} has {} entries; expected {count}",
                values.len()
            )));
        }
        values.iter().map(|&value| self.size(name, value)).collect()
    }

    /// Returns a non-negative size within the limits.
    pub(super) fn size(&self, name: &str, value: i64) -> Result<usize> {
        (0..=MAX_ATTRIBUTE)
            .contains(&value)
            .then_some(value as usize)
            .ok_or_else(|| {
                self.unsupported(format!(
                    "{name:?} is {value}; the supported range is 0..={MAX_ATTRIBUTE}"
                ))
            })
    }

    /// Returns an axis of a tensor of this rank; negative axes count from the end.
    pub(super) fn axis(&self, axis: i64, rank: usize) -> Result<usize> {
        let signed = i64::try_from(rank).unwrap_or(i64::MAX);
        let wrapped = if axis < 0 { axis + signed } else { axis };
        (0..signed)
            .contains(&wrapped)
            .then_some(wrapped as usize)
            .ok_or_else(|| {
                self.invalid(format!(
                    "axis {axis} is out of range for a tensor of rank {rank}"
                ))
            })
    }

    /// Returns several axes in ascending order; duplicates are an error.
    pub(super) fn axes(&self, axes: &[i64], rank: usize) -> Result<Vec<usize>> {
        let mut axes: Vec<usize> = axes
            .iter()
            .map(|&axis| self.axis(axis, rank))
            .collect::<Result<_>>()?;
        axes.sort_unstable();
        if axes.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(self.invalid("names an axis twice"));
        }
        Ok(axes)
    }
}

/// Returns a node's name for messages.
pub(crate) fn label(node: &NodeProto) -> &str {
    match node.output.first() {
        Some(output) if node.name.is_empty() => output,
        _ => &node.name,
    }
}
