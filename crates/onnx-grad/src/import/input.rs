//! The shape of the input, and which of its axes is the batch axis.

use super::{LoadOptions, channels, tensor_type, tensors};
use crate::{
    Error, Result,
    dim::Dim,
    graph::Graph,
    proto::{DimensionValue, GraphProto, TensorTypeProto, ValueInfoProto},
    shape::display,
};

/// How the leading axis of the first input is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Batch {
    /// As in the file: dynamic, or fixed at a number other than 1.
    AsDeclared,
    /// Symbolic, although the file fixes its length.
    Freed,
    /// Fixed at 1.
    One,
    /// The input has no batch axis; an axis of length 1 is inserted in front.
    Missing,
}

/// The maximum number of channels that is tried if nothing in the file determines it.
const GUESSES: [(usize, usize); 4] = [(1, 3), (1, 1), (3, 3), (3, 1)];

/// The shape of an input. `channels` is an axis of the first input and its length, if the file leaves it open.
pub(super) fn shape(
    name: &str,
    declared: &TensorTypeProto,
    batch: Batch,
    is_first: bool,
    options: &LoadOptions,
    channels: Option<(usize, usize)>,
) -> Result<Vec<Dim>> {
    let dims = declared
        .shape
        .as_ref()
        .ok_or_else(|| Error::unsupported(format!("input {name:?} has no shape")))?;
    if dims.dim.len() > tensors::MAX_RANK {
        return Err(Error::unsupported(format!(
            "input {name:?} has {} axes, more than {}",
            dims.dim.len(),
            tensors::MAX_RANK
        )));
    }
    let channels = channels.filter(|_| is_first);
    let sides = options.input_side.filter(|_| is_first);
    let mut sides = sides
        .into_iter()
        .flat_map(|(height, width)| [height, width]);
    let mut shape = Vec::with_capacity(dims.dim.len());
    for (axis, dim) in dims.dim.iter().enumerate() {
        let known = match &dim.value {
            Some(DimensionValue::Value(side)) if *side > 0 => usize::try_from(*side).ok(),
            _ => None,
        };
        let found = channels
            .filter(|&(at, _)| at == axis)
            .map(|(_, length)| length);
        shape.push(match (axis, known) {
            (0, Some(_)) if is_first && batch == Batch::Freed => Dim::Batch(1),
            (0, None) if batch == Batch::One => Dim::Fixed(1),
            (0, None) => Dim::Batch(1),
            (_, Some(side)) => Dim::Fixed(side),
            (_, None) => {
                let side = found.or_else(|| sides.next()).ok_or_else(|| {
                    let symbol = match &dim.value {
                        Some(DimensionValue::Param(symbol)) => format!(" ({symbol:?})"),
                        _ => String::new(),
                    };
                    Error::unsupported(format!(
                        "axis {axis} of input {name:?} has no fixed length{symbol}; the setting input-side gives height and \
                         width"
                    ))
                })?;
                Dim::Fixed(side)
            }
        });
    }
    let elements = shape.iter().try_fold(1_usize, |product, dim| {
        let (Dim::Fixed(side) | Dim::Batch(side)) = *dim;
        product.checked_mul(side)
    });
    if elements.is_none_or(|elements| elements > 1 << 32) {
        return Err(Error::unsupported(format!(
            "input {name:?} has the shape {}: more than 2^32 elements",
            display(&shape)
        )));
    }
    if batch == Batch::Missing && is_first {
        shape.insert(0, Dim::Fixed(1));
    }
    Ok(shape)
}

/// Returns whether the leading axis of the input, of this length, belongs to the picture, so that there is one row of
/// scores for the whole input. If the number of scores equals the length of the axis, a picture of up to three axes has
/// one row. Otherwise, there is one score for each index of the axis.
pub(super) fn lacks_batch(graph: &Graph, length: usize) -> bool {
    let axes = graph
        .inputs()
        .first()
        .map_or(0, |&input| graph.shape(input).len());
    graph.outputs().iter().all(|&(_, output)| {
        let shape = graph.shape(output).iter();
        let long: Vec<&Dim> = shape.filter(|&&side| side != Dim::Fixed(1)).collect();
        match long[..] {
            [] => true,
            [side] => *side != Dim::Fixed(length) || axes <= 3,
            _ => false,
        }
    })
}

/// Returns the length of the leading axis of an input if the file fixes it.
pub(super) fn leading(info: &ValueInfoProto) -> Result<Option<usize>> {
    let shape = tensor_type(info)?.shape.as_ref();
    Ok(shape.and_then(|shape| match shape.dim.first()?.value {
        Some(DimensionValue::Value(side)) => usize::try_from(side).ok().filter(|&side| side > 0),
        _ => None,
    }))
}

/// Returns the axes that may be the channel axis of an input whose channels the file leaves open, each with its length,
/// most likely first: the one that the weights determine, else guesses. Returns a single `None` if at most the height
/// and width are open.
pub(super) fn channels(
    graph: &GraphProto,
    info: &ValueInfoProto,
) -> Result<Vec<Option<(usize, usize)>>> {
    let Some(shape) = &tensor_type(info)?.shape else {
        return Ok(vec![None]);
    };
    let rank = shape.dim.len();
    let is_open = |axis: usize| match shape.dim.get(axis).map(|dim| &dim.value) {
        Some(Some(DimensionValue::Value(side))) => *side <= 0,
        Some(_) => true,
        None => false,
    };
    if rank > tensors::MAX_RANK || !(1..rank).any(is_open) {
        return Ok(vec![None]);
    }
    let open = |&(axis, _): &(usize, usize)| is_open(axis);
    if let Some(found) = channels::of_weights(graph, &info.name, rank) {
        return Ok(vec![Some(found).filter(open)]);
    }
    let is_channels = |axis: usize| {
        let value = shape.dim.get(axis).map(|dim| &dim.value);
        matches!(value, Some(Some(DimensionValue::Value(1 | 3))))
    };
    let unknown = rank == 4 && is_open(1) && !is_channels(3);
    Ok(match unknown {
        true => GUESSES.into_iter().filter(open).map(Some).collect(),
        false => vec![None],
    })
}
