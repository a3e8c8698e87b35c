//! Integers that depend on the batch size, and the arithmetic that models do with them.
//!
//! Exporters compute the targets of `Reshape`, `Expand` and `Slice` from the input's `Shape`. Import removes all of it:
//! what does not depend on the batch folds to constants, and the rest is kept here.

use super::{
    Importer, Value,
    call::Call,
    ops::{Handler, Outputs},
};
use crate::{
    Result,
    dim::Dim,
    fold::broadcast_offsets,
    shape::broadcast,
    tensor::{DType, Elements, Tensor},
};

/// Maximum number of elements of a tensor of sizes.
const MAX_SIZES: usize = 4096;

/// An integer, or a multiple of the batch size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// This integer.
    Known(i64),
    /// This factor, never 0, times the batch size.
    Batch(i64),
}

impl Size {
    fn multiple(factor: i64) -> Self {
        match factor {
            0 => Self::Known(0),
            factor => Self::Batch(factor),
        }
    }
}

impl From<Dim> for Size {
    fn from(dim: Dim) -> Self {
        match dim {
            Dim::Fixed(side) => Self::Known(side as i64),
            Dim::Batch(factor) => Self::Batch(factor as i64),
        }
    }
}

/// A small tensor of [`Size`]s. `dtype` is the type that it would have in the graph.
#[derive(Clone, Debug)]
pub(super) struct Sizes {
    pub(super) shape: Vec<usize>,
    pub(super) entries: Vec<Size>,
    pub(super) dtype: DType,
}

impl Sizes {
    /// Returns the entries of a shape.
    pub(super) fn of(dims: &[Dim]) -> Self {
        Self {
            shape: vec![dims.len()],
            entries: dims.iter().map(|&dim| dim.into()).collect(),
            dtype: DType::I64,
        }
    }

    /// Returns the sizes in a constant if it is small and integral.
    pub(super) fn of_constant(tensor: &Tensor) -> Option<Self> {
        if tensor.len() > MAX_SIZES {
            return None;
        }
        let entries: Option<Vec<i64>> = match tensor.elements() {
            Elements::I64(values) => Some(values.to_vec()),
            Elements::Bool(values) => Some(values.iter().map(|&value| value.into()).collect()),
            Elements::F32(values) => values
                .iter()
                .map(|&value| (value as i64 as f32 == value).then_some(value as i64))
                .collect(),
        };
        Some(Self {
            shape: tensor.shape().to_vec(),
            entries: entries?.into_iter().map(Size::Known).collect(),
            dtype: tensor.dtype(),
        })
    }

    /// Returns these sizes as a constant if none depends on the batch.
    fn to_constant(&self) -> Option<Tensor> {
        let known: Option<Vec<i64>> = self
            .entries
            .iter()
            .map(|entry| match entry {
                Size::Known(value) => Some(*value),
                Size::Batch(_) => None,
            })
            .collect();
        let known = known?;
        let elements = match self.dtype {
            DType::I64 => Elements::I64(known.into()),
            DType::F32 => Elements::F32(known.iter().map(|&value| value as f32).collect()),
            DType::Bool => Elements::Bool(known.iter().map(|&value| value != 0).collect()),
        };
        Tensor::new(self.shape.clone(), elements).ok()
    }
}

/// Returns the outputs of a node that computes with the batch size; `None` for other nodes, including those that take
/// it only as a parameter (the target of a `Reshape`).
pub(super) fn apply(
    importer: &mut Importer,
    call: &Call,
    handler: Handler,
) -> Result<Option<Outputs>> {
    let is_symbolic = |at: &usize| matches!(call.value(*at), Some(Value::Sizes(_)));
    let all: Vec<usize> = (0..call.inputs.len()).collect();
    if !all.iter().any(is_symbolic) {
        return Ok(None);
    }
    let moved_inputs = match call.node.op_type.as_str() {
        "Concat" => &all[..],
        "Where" => &[1, 2],
        "Expand" | "Flatten" | "Gather" | "Identity" | "Reshape" | "Slice" | "Split"
        | "Squeeze" | "Tile" | "Transpose" | "Unsqueeze" => &[0],
        "Shape" | "Size" => return Ok(None),
        _ => {
            let sizes: Option<Vec<Sizes>> = all
                .iter()
                .map(|&at| importer.sizes_of(call.value(at)?))
                .collect();
            let result = sizes.and_then(|sizes| compute(call, &sizes));
            return match result {
                Some(sizes) => Ok(Some(vec![importer.settle(sizes)])),
                None => Ok(None),
            };
        }
    };
    if !moved_inputs.iter().any(is_symbolic) {
        return Ok(None);
    }
    moved(importer, call, handler, moved_inputs).map(Some)
}

/// Applies an operator that only moves elements to positions in place of sizes, then maps the positions back to sizes.
fn moved(
    importer: &mut Importer,
    call: &Call,
    handler: Handler,
    moved_inputs: &[usize],
) -> Result<Outputs> {
    let refused = || call.unsupported("computes with the batch size");
    let mut pool = Vec::new();
    let mut inputs = call.inputs.clone();
    let mut dtype = DType::I64;
    for &at in moved_inputs {
        let sizes = call.value(at).and_then(|value| importer.sizes_of(value));
        let sizes = sizes.ok_or_else(refused)?;
        let positions = pool.len() as i64..(pool.len() + sizes.entries.len()) as i64;
        let positions = Tensor::i64(sizes.shape, positions.collect::<Vec<i64>>())?;
        pool.extend(sizes.entries);
        dtype = sizes.dtype;
        inputs[at] = Some(Value::Tensor(importer.builder.constant("", positions)));
    }
    let positions = Call {
        node: call.node,
        inputs,
        opset: call.opset,
    };
    let outputs = handler.run(importer, &positions)?;
    outputs
        .into_iter()
        .map(|output| {
            let Value::Tensor(id) = output else {
                return Err(refused());
            };
            let tensor = importer.builder.graph().as_constant(id).cloned();
            let tensor = tensor.ok_or_else(refused)?;
            let entries: Option<Vec<Size>> = tensor
                .as_i64()
                .into_iter()
                .flatten()
                .map(|&at| pool.get(usize::try_from(at).ok()?).copied())
                .collect();
            Ok(importer.settle(Sizes {
                shape: tensor.shape().to_vec(),
                entries: entries.ok_or_else(refused)?,
                dtype,
            }))
        })
        .collect()
}

fn compute(call: &Call, inputs: &[Sizes]) -> Option<Sizes> {
    let first = inputs.first()?;
    let op = call.node.op_type.as_str();
    match op {
        "Floor" | "Ceil" | "Round" => return Some(first.clone()),
        "Cast" => {
            let to = i32::try_from(call.int("to", 0).ok()?).ok()?;
            let dtype = super::tensors::element_type(to)?;
            return (dtype != DType::Bool).then(|| Sizes {
                dtype,
                ..first.clone()
            });
        }
        "ReduceProd" | "ReduceSum" | "ReduceMax" | "ReduceMin" => {
            return reduced(call, op, first);
        }
        _ => {}
    }
    let [a, b] = inputs else { return None };
    let fixed = |shape: &[usize]| {
        shape
            .iter()
            .map(|&side| Dim::Fixed(side))
            .collect::<Vec<_>>()
    };
    let shape = broadcast(&fixed(&a.shape), &fixed(&b.shape)).ok()?;
    let shape = crate::shape::fixed_from(&shape, 0).ok()?;
    if shape.iter().product::<usize>() > MAX_SIZES {
        return None;
    }
    let integers = a.dtype == DType::I64;
    let entries: Option<Vec<Size>> = broadcast_offsets(&a.shape, &shape)
        .zip(broadcast_offsets(&b.shape, &shape))
        .map(|(i, j)| match (op, a.entries[i], b.entries[j]) {
            // A quotient of floats may not be an integer.
            ("Div", Size::Known(a), Size::Known(b)) if !integers && a.checked_rem(b)? != 0 => None,
            (op, a, b) => combine(op, a, b),
        })
        .collect();
    let truth = matches!(
        op,
        "Equal" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual"
    );
    Some(Sizes {
        shape,
        entries: entries?,
        dtype: if truth { DType::Bool } else { a.dtype },
    })
}

/// Reduces a vector to one size.
fn reduced(call: &Call, op: &str, sizes: &Sizes) -> Option<Sizes> {
    let (&start, rest) = sizes.entries.split_first()?;
    if sizes.shape.len() != 1 {
        return None;
    }
    let operator = match op {
        "ReduceProd" => "Mul",
        "ReduceSum" => "Add",
        "ReduceMax" => "Max",
        _ => "Min",
    };
    let total = rest
        .iter()
        .try_fold(start, |total, &entry| combine(operator, total, entry))?;
    let keep_dims = call.flag("keepdims", true).ok()?;
    Some(Sizes {
        shape: if keep_dims { vec![1] } else { Vec::new() },
        entries: vec![total],
        dtype: sizes.dtype,
    })
}

/// Applies an operator to two sizes; `None` if the result depends on the batch size, which is 1 or larger.
fn combine(op: &str, a: Size, b: Size) -> Option<Size> {
    use Size::{Batch, Known};
    Some(match (op, a, b) {
        ("Add", Batch(a), Batch(b)) => Size::multiple(a.checked_add(b)?),
        ("Add", Batch(a), Known(0)) | ("Add", Known(0), Batch(a)) => Batch(a),
        ("Sub", Batch(a), Batch(b)) => Size::multiple(a.checked_sub(b)?),
        ("Sub", Batch(a), Known(0)) => Batch(a),
        ("Mul", Batch(a), Known(b)) | ("Mul", Known(a), Batch(b)) => {
            Size::multiple(a.checked_mul(b)?)
        }
        ("Div", Batch(a), Known(b)) if a.checked_rem(b)? == 0 => Size::multiple(a / b),
        ("Div", Batch(a), Batch(b)) if a.checked_rem(b)? == 0 => Known(a / b),
        ("Mod", Batch(a), Known(b)) if a.checked_rem(b)? == 0 => Known(0),
        ("Mod", Batch(a), Batch(b)) if a > 0 && b > 0 => Size::multiple(a % b),
        ("Equal", Batch(a), Batch(b)) => Known((a == b).into()),
        ("Equal", Batch(a), Known(b)) | ("Equal", Known(b), Batch(a)) if never_equal(a, b) => {
            Known(0)
        }
        ("Max", Batch(a), Known(b)) | ("Max", Known(b), Batch(a)) if 0 < a && b <= a => Batch(a),
        ("Min", Batch(a), Known(b)) | ("Min", Known(b), Batch(a)) if 0 < a && b <= a => Known(b),
        ("Max", Batch(a), Batch(b)) => Batch(a.max(b)),
        ("Min", Batch(a), Batch(b)) => Batch(a.min(b)),
        ("Greater", Batch(a), Known(b)) | ("Less", Known(b), Batch(a)) if 0 < a && b < a => {
            Known(1)
        }
        ("Less", Batch(a), Known(b)) | ("Greater", Known(b), Batch(a)) if 0 < a && b <= a => {
            Known(0)
        }
        (op, Known(a), Known(b)) => Known(match op {
            "Add" => a.checked_add(b)?,
            "Sub" => a.checked_sub(b)?,
            "Mul" => a.checked_mul(b)?,
            "Div" => a.checked_div(b)?,
            "Mod" if a >= 0 && b > 0 => a % b,
            "Max" => a.max(b),
            "Min" => a.min(b),
            "Equal" => (a == b).into(),
            "Greater" => (a > b).into(),
            "GreaterOrEqual" => (a >= b).into(),
            "Less" => (a < b).into(),
            "LessOrEqual" => (a <= b).into(),
            _ => return None,
        }),
        _ => return None,
    })
}

/// Returns whether `factor * N == value` is false for every `N >= 1`.
fn never_equal(factor: i64, value: i64) -> bool {
    value.checked_rem(factor) != Some(0) || value.signum() != factor.signum()
}

impl Importer {
    /// Returns the sizes in a value: known ones, or a small constant.
    pub(super) fn sizes_of(&self, value: &Value) -> Option<Sizes> {
        match value {
            Value::Sizes(sizes) => Some(sizes.clone()),
            Value::Positions(_) => None,
            Value::Tensor(id) => Sizes::of_constant(self.builder.graph().as_constant(*id)?),
        }
    }

    /// Returns a value of sizes; a constant if none depends on the batch.
    pub(super) fn settle(&mut self, sizes: Sizes) -> Value {
        match sizes.to_constant() {
            Some(tensor) => Value::Tensor(self.builder.constant("", tensor)),
            None => Value::Sizes(sizes),
        }
    }

    /// Returns the sizes in an input, such as the target of a `Reshape`.
    pub(super) fn size_list(&self, call: &Call, at: usize) -> Result<Option<Vec<Size>>> {
        let Some(value) = call.value(at) else {
            return Ok(None);
        };
        let sizes = self.sizes_of(value).ok_or_else(|| {
            call.unsupported(format!("input {at} depends on the picture's values"))
        })?;
        Ok(Some(sizes.entries))
    }

    /// Returns the integers in an input, none of which may depend on the batch.
    pub(super) fn integers(&self, call: &Call, at: usize) -> Result<Option<Vec<i64>>> {
        let Some(sizes) = self.size_list(call, at)? else {
            return Ok(None);
        };
        let known = sizes.into_iter().map(|size| match size {
            Size::Known(value) => Ok(value),
            Size::Batch(_) => {
                Err(call.unsupported(format!("input {at} depends on the batch size")))
            }
        });
        known.collect::<Result<_>>().map(Some)
    }
}
