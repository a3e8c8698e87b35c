//! One ONNX node as the operators' import functions see it.

use super::{Value, tensors};
use crate::{
    Error, Result,
    node::ValueId,
    proto::{AttributeProto, AttributeType, GraphProto, NodeProto},
    tensor::Tensor,
};

/// Largest pad, stride, kernel side and repeat: far above any use, far below overflow.
const MAX_ATTRIBUTE: i64 = 1 << 24;

/// A node with its inputs looked up. An omitted optional input is `None`.
pub(super) struct Call<'a> {
    pub(super) node: &'a NodeProto,
    pub(super) inputs: Vec<Option<Value>>,
    pub(super) opset: i64,
}

impl Call<'_> {
    /// The node's name, or its first output's where it has none.
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

    /// The error of a part of the node as the node's.
    pub(super) fn of_part(&self, error: Error) -> Error {
        match error {
            Error::Invalid(message) => self.invalid(message),
            Error::Unsupported(message) => self.unsupported(message),
            other => other,
        }
    }

    /// An input, as given.
    pub(super) fn value(&self, at: usize) -> Option<&Value> {
        self.inputs.get(at)?.as_ref()
    }

    /// A required input.
    pub(super) fn input(&self, at: usize) -> Result<ValueId> {
        self.optional(at)?
            .ok_or_else(|| self.invalid(format!("lacks input {at}")))
    }

    /// An input that may be omitted.
    pub(super) fn optional(&self, at: usize) -> Result<Option<ValueId>> {
        match self.value(at) {
            None => Ok(None),
            Some(Value::Tensor(id)) => Ok(Some(*id)),
            Some(Value::Sizes(_) | Value::Positions(_)) => {
                Err(self.unsupported("computes with the size of the batch"))
            }
        }
    }

    /// All inputs of a variadic operator; at least one.
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

    /// What `read` finds in an attribute; an attribute of another kind is an error.
    fn read<'a, T>(
        &'a self,
        name: &str,
        read: impl FnOnce(&'a AttributeProto) -> Option<T>,
    ) -> Result<Option<T>> {
        self.attribute(name)
            .map(|attribute| {
                read(attribute)
                    .ok_or_else(|| self.invalid(format!("attribute {name:?} is of another kind")))
            })
            .transpose()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.attribute(name).is_some()
    }

    pub(super) fn int(&self, name: &str, default: i64) -> Result<i64> {
        // Proto3 writers leave zeros out, so a missing value of the right kind is 0.
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

    /// The element type of a tensor attribute, as the file has it.
    pub(super) fn tensor_type(&self, name: &str) -> Option<i32> {
        Some(self.attribute(name)?.t.as_ref()?.data_type)
    }

    /// A list attribute of `count` non-negative sizes.
    pub(super) fn sizes(&self, name: &str, count: usize, default: usize) -> Result<Vec<usize>> {
        let Some(values) = self.ints(name)?.filter(|values| !values.is_empty()) else {
            return Ok(vec![default; count]);
        };
        if values.len() != count {
            return Err(self.invalid(format!(
                "attribute {name:?} has {} entries, needs {count}",
                values.len()
            )));
        }
        values.iter().map(|&value| self.size(name, value)).collect()
    }

    /// A non-negative size within limits.
    pub(super) fn size(&self, name: &str, value: i64) -> Result<usize> {
        (0..=MAX_ATTRIBUTE)
            .contains(&value)
            .then_some(value as usize)
            .ok_or_else(|| {
                self.unsupported(format!("{name:?} is {value}, not in 0..={MAX_ATTRIBUTE}"))
            })
    }

    /// An axis of a tensor of this rank; negative ones count from the end.
    pub(super) fn axis(&self, axis: i64, rank: usize) -> Result<usize> {
        let signed = i64::try_from(rank).unwrap_or(i64::MAX);
        let wrapped = if axis < 0 { axis + signed } else { axis };
        (0..signed)
            .contains(&wrapped)
            .then_some(wrapped as usize)
            .ok_or_else(|| self.invalid(format!("has axis {axis} of a tensor of rank {rank}")))
    }

    /// Several axes, ascending and without repetition.
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

/// A node's name for messages.
pub(crate) fn label(node: &NodeProto) -> &str {
    match node.output.first() {
        Some(output) if node.name.is_empty() => output,
        _ => &node.name,
    }
}
