//! The number of channels of pictures if the file leaves it open, as exports with all axes symbolic do. It follows from
//! the first weights that consume the input.

use std::collections::BTreeMap;

use super::order;
use crate::proto::{GraphProto, NodeProto};

/// Returns the axis of an input of this rank whose length is fixed by the first weights that consume it, and that
/// length.
///
/// The input is followed through operators that keep its axes, and through transpositions.
pub(super) fn of_weights(graph: &GraphProto, input: &str, rank: usize) -> Option<(usize, usize)> {
    let mut weights = Weights::of(graph);
    // For each value that is a copy of the input or has the same layout: which of the input's axes its axes correspond
    // to.
    let mut followed: BTreeMap<&str, Vec<usize>> = BTreeMap::from([(input, (0..rank).collect())]);
    for node in order::sorted(&graph.node) {
        weights.follow(node);
        let read = node
            .input
            .iter()
            .find_map(|name| followed.get(name.as_str()));
        let (Some(axes), Some(output)) = (read.cloned(), node.output.first()) else {
            continue;
        };
        let own = |axis: usize, length: usize| {
            let axis = *axes.get(axis)?;
            (axis > 0 && length > 0).then_some((axis, length))
        };
        let operand = |at: usize| weights.sides(node.input.get(at)?);
        let found = match node.op_type.as_str() {
            "Conv" | "ConvInteger" | "FusedConv" => of_kernel(node, operand(1)),
            "QLinearConv" => of_kernel(node, operand(3)),
            "ConvTranspose" => operand(1).and_then(|sides| Some((1, *sides.first()?))),
            "BatchNormalization" | "InstanceNormalization" | "PRelu" => {
                operand(1).and_then(|sides| Some((1, *sides.first()?)))
            }
            "MatMul" => operand(1)
                .and_then(|sides| Some((rank - 1, *sides.get(sides.len().checked_sub(2)?)?))),
            "Gemm" => operand(1).and_then(|sides| {
                let transposed = attribute(node, "transB").unwrap_or(0) != 0;
                Some((1, *sides.get(usize::from(transposed))?))
            }),
            // A mean or standard deviation for each channel.
            "Add" | "Div" | "Mul" | "Sub" => node
                .input
                .iter()
                .find_map(|name| along_one_axis(weights.sides(name)?, rank)),
            _ => None,
        };
        if let Some(found) = found.and_then(|(axis, length)| own(axis, length)) {
            return Some(found);
        }
        let kept = match node.op_type.as_str() {
            "Abs"
            | "Add"
            | "AveragePool"
            | "BatchNormalization"
            | "Cast"
            | "Clip"
            | "DequantizeLinear"
            | "Div"
            | "Dropout"
            | "Identity"
            | "InstanceNormalization"
            | "MaxPool"
            | "Mul"
            | "Neg"
            | "Pad"
            | "Pow"
            | "QuantizeLinear"
            | "Relu"
            | "Resize"
            | "Sqrt"
            | "Sub"
            | "Upsample" => Some(axes),
            "Transpose" => transposed(node, &axes),
            _ => None,
        };
        if let Some(kept) = kept {
            followed.insert(output, kept);
        }
    }
    None
}

/// Returns the axis and the number of channels that a convolution with the kernel `[M, C / groups, ...]` expects.
fn of_kernel(node: &NodeProto, kernel: Option<&[usize]>) -> Option<(usize, usize)> {
    let groups = usize::try_from(attribute(node, "group").unwrap_or(1)).ok()?;
    Some((1, kernel?.get(1)?.checked_mul(groups)?))
}

/// Returns the only axis along which a tensor, broadcast to this rank, has a length other than 1.
fn along_one_axis(sides: &[usize], rank: usize) -> Option<(usize, usize)> {
    let first = rank.checked_sub(sides.len())?;
    let mut long = sides.iter().enumerate().filter(|(_, side)| **side != 1);
    let (axis, &side) = long.next()?;
    long.next().is_none().then_some((first + axis, side))
}

fn transposed(node: &NodeProto, axes: &[usize]) -> Option<Vec<usize>> {
    match node
        .attribute
        .iter()
        .find(|attribute| attribute.name == "perm")
    {
        None => Some(axes.iter().rev().copied().collect()),
        Some(perm) => {
            let perm = perm.ints.iter();
            perm.map(|&axis| axes.get(usize::try_from(axis).ok()?).copied())
                .collect()
        }
    }
}

fn attribute(node: &NodeProto, name: &str) -> Option<i64> {
    node.attribute
        .iter()
        .find(|attribute| attribute.name == name)?
        .i
}

/// The shapes of weights by name.
struct Weights<'a>(BTreeMap<&'a str, Vec<usize>>);

impl<'a> Weights<'a> {
    fn of(graph: &'a GraphProto) -> Self {
        let weights = graph.initializer.iter();
        Self(
            weights
                .filter_map(|weight| Some((weight.name.as_str(), sides(&weight.dims)?)))
                .collect(),
        )
    }

    fn sides(&self, name: &str) -> Option<&[usize]> {
        self.0.get(name).map(Vec::as_slice)
    }

    /// Records constants, and values that a node computes from weights without changing their shape.
    fn follow(&mut self, node: &'a NodeProto) {
        let made = match node.op_type.as_str() {
            "Constant" => node
                .attribute
                .iter()
                .find_map(|attribute| sides(&attribute.t.as_ref()?.dims)),
            "Cast" | "DequantizeLinear" | "Identity" | "QuantizeLinear" => {
                let first = node.input.first().and_then(|name| self.sides(name));
                first.map(<[usize]>::to_vec)
            }
            _ => None,
        };
        if let (Some(made), Some(output)) = (made, node.output.first()) {
            self.0.insert(output, made);
        }
    }
}

fn sides(dims: &[i64]) -> Option<Vec<usize>> {
    dims.iter()
        .map(|&side| usize::try_from(side).ok())
        .collect()
}
