//! Operators that reshape or move elements, and operators that create shapes.

use crate::{
    Result,
    dim::Dim,
    import::{
        Importer, Value,
        call::Call,
        ops::Outputs,
        shapes::{Size, Sizes},
    },
    node::ValueId,
    op::Op,
    shape::{broadcast, display},
    tensor::{DType, Tensor},
};

/// Maximum length of a constant sequence that `Range` may create.
const MAX_RANGE: i64 = 1 << 20;

/// Products of the fixed sides and of the batch sides, and the number of the latter.
fn size_of(dims: &[Dim]) -> (usize, u32) {
    dims.iter()
        .fold((1, 0), |(product, power), dim| match *dim {
            Dim::Fixed(side) => (usize::saturating_mul(product, side), power),
            Dim::Batch(factor) => (usize::saturating_mul(product, factor), power + 1),
        })
}

pub(super) fn reshape(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let x = call.input(0)?;
    let target = importer
        .size_list(call, 1)?
        .ok_or_else(|| call.invalid("input 1 is missing"))?;
    let dims = importer.dims(x);
    let copy_zeros = !call.flag("allowzero", false)?;
    let mut hole = None;
    let mut shape = Vec::with_capacity(target.len());
    for (axis, size) in target.iter().enumerate() {
        shape.push(match *size {
            Size::Known(-1) if hole.is_none() => {
                hole = Some(axis);
                Dim::Fixed(1)
            }
            Size::Known(0) if copy_zeros => *dims.get(axis).ok_or_else(|| {
                call.invalid(format!("copies axis {axis}, which its input does not have"))
            })?,
            size => dim(call, size)?,
        });
    }
    let (elements, power) = size_of(&dims);
    let (stated, stated_power) = size_of(&shape);
    let free = importer.freed && power == 1 && stated_power == 0;
    if let Some(hole) = hole {
        let refused = || call.invalid(format!("cannot reshape {} to {target:?}", display(&dims)));
        if elements.checked_rem(stated) != Some(0) {
            return Err(refused());
        }
        let side = elements / stated;
        shape[hole] = match power.checked_sub(stated_power) {
            Some(1) if !free => Dim::Batch(side),
            Some(0 | 1) => Dim::Fixed(side),
            _ => return Err(refused()),
        };
    }
    if free && size_of(&shape).0 == elements {
        lead_by_batch(&dims, &mut shape);
    }
    importer.reshaped(call, x, shape)
}

/// Puts the batch of `dims` into a target written for a batch of 1: into the axis that has as many elements before it
/// as the batch axis, so that the order of the elements is kept.
fn lead_by_batch(dims: &[Dim], target: &mut [Dim]) {
    let Some(batch) = dims.iter().position(|dim| matches!(dim, Dim::Batch(_))) else {
        return;
    };
    let outer = size_of(&dims[..batch]).0;
    let fits = |axis: &usize| size_of(&target[..*axis]).0 == outer;
    let axis = Some(batch)
        .filter(|axis| *axis < target.len() && fits(axis))
        .or_else(|| (0..target.len()).find(fits));
    if let Some(axis) = axis {
        let (Dim::Fixed(side) | Dim::Batch(side)) = target[axis];
        target[axis] = Dim::Batch(side);
    }
}

fn dim(call: &Call, size: Size) -> Result<Dim> {
    let refused = || call.invalid(format!("has the invalid target side {size:?}"));
    let (Size::Known(value) | Size::Batch(value)) = size;
    let side = usize::try_from(value).map_err(|_| refused())?;
    Ok(match size {
        Size::Known(_) => Dim::Fixed(side),
        Size::Batch(_) => Dim::Batch(side),
    })
}

pub(super) fn flatten(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let x = call.input(0)?;
    let dims = importer.dims(x);
    let axis = match call.int("axis", 1)? {
        axis if axis == dims.len() as i64 => dims.len(),
        axis => call.axis(axis, dims.len())?,
    };
    let shape = [&dims[..axis], &dims[axis..]].map(|part| match size_of(part) {
        (product, 0) => Dim::Fixed(product),
        (product, _) => Dim::Batch(product),
    });
    importer.reshaped(call, x, shape.to_vec())
}

/// Axes of `Squeeze` and `Unsqueeze`: an attribute up to operator set 12, an input from 13 on.
fn stated_axes(importer: &Importer, call: &Call) -> Result<Option<Vec<i64>>> {
    match call.ints("axes")? {
        Some(axes) => Ok(Some(axes.to_vec())),
        None => importer.integers(call, 1),
    }
}

pub(super) fn squeeze(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let x = call.input(0)?;
    let dims = importer.dims(x);
    let axes = match stated_axes(importer, call)? {
        Some(axes) => call.axes(&axes, dims.len())?,
        None => (0..dims.len())
            .filter(|&axis| dims[axis] == Dim::Fixed(1))
            .collect(),
    };
    if let Some(&axis) = axes.iter().find(|&&axis| dims[axis] != Dim::Fixed(1)) {
        return Err(call.invalid(format!("cannot squeeze axis {axis} of {}", display(&dims))));
    }
    let shape = (0..dims.len())
        .filter(|axis| !axes.contains(axis))
        .map(|axis| dims[axis])
        .collect();
    importer.reshaped(call, x, shape)
}

pub(super) fn unsqueeze(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let x = call.input(0)?;
    let mut shape = importer.dims(x);
    let axes = stated_axes(importer, call)?.ok_or_else(|| call.invalid("axes are missing"))?;
    for axis in call.axes(&axes, shape.len() + axes.len())? {
        shape.insert(axis, Dim::Fixed(1));
    }
    importer.reshaped(call, x, shape)
}

pub(super) fn expand(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let x = call.input(0)?;
    let target = importer
        .size_list(call, 1)?
        .ok_or_else(|| call.invalid("input 1 is missing"))?;
    let target: Vec<Dim> = target
        .into_iter()
        .map(|size| dim(call, size))
        .collect::<Result<_>>()?;
    let dims = importer.dims(x);
    let shape = broadcast(&dims, &target).map_err(|_| {
        call.invalid(format!(
            "cannot expand {} to {}",
            display(&dims),
            display(&target)
        ))
    })?;
    importer.add(call, Op::Expand { shape }, &[x])
}

pub(super) fn tile(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let repeats = importer
        .integers(call, 1)?
        .ok_or_else(|| call.invalid("input 1 is missing"))?;
    let repeats = repeats.iter().map(|&repeat| call.size("repeats", repeat));
    let repeats = repeats.collect::<Result<_>>()?;
    importer.add(call, Op::Tile { repeats }, &[call.input(0)?])
}

pub(super) fn transpose(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let x = call.input(0)?;
    let rank = importer.rank(x);
    let perm = match call.ints("perm")? {
        Some(perm) => perm
            .iter()
            .map(|&axis| call.axis(axis, rank))
            .collect::<Result<_>>()?,
        None => (0..rank).rev().collect(),
    };
    importer.add(call, Op::Transpose { perm }, &[x])
}

pub(super) fn concat(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let mut inputs = call.all_inputs()?;
    let rank = importer.rank(inputs[0]);
    let axis = call.axis(call.int("axis", 1)?, rank)?;
    if importer.freed {
        share_batch(importer, call, &mut inputs, axis)?;
    }
    importer.add(call, Op::Concat { axis }, &inputs)
}

/// Expands the parts that a file with a batch of 1 joins to batched values: one class token for each picture.
fn share_batch(
    importer: &mut Importer,
    call: &Call,
    inputs: &mut [ValueId],
    axis: usize,
) -> Result<()> {
    let is_batch = |dim: &Dim| matches!(dim, Dim::Batch(_));
    let batched = inputs.iter().find_map(|&id| {
        let dims = importer.dims(id);
        let at = dims.iter().position(is_batch)?;
        (at != axis).then(|| (at, dims[at]))
    });
    let Some((at, batch)) = batched else {
        return Ok(());
    };
    for input in inputs {
        let mut shape = importer.dims(*input);
        if shape.get(at) == Some(&Dim::Fixed(1)) {
            shape[at] = batch;
            *input = importer.add(call, Op::Expand { shape }, &[*input])?;
        }
    }
    Ok(())
}

/// Moves channels into blocks of pixels.
pub(super) fn depth_to_space(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let (x, block, [channels, height, width]) = blocks(importer, call)?;
    let area = block * block;
    if channels % area != 0 {
        return Err(call.invalid(format!(
            "cannot make blocks of {area} pixels from {channels} channels"
        )));
    }
    let batch = importer.dims(x)[0];
    let (order, perm) = match call.string("mode", "DCR")? {
        "DCR" => ([block, block, channels / area], vec![0, 3, 4, 1, 5, 2]),
        "CRD" => ([channels / area, block, block], vec![0, 1, 4, 2, 5, 3]),
        other => return Err(call.invalid(format!("has the unknown mode {other:?}"))),
    };
    let [a, b, c] = order;
    let apart = with_batch(batch, &[a, b, c, height, width]);
    let apart = importer.reshaped(call, x, apart)?;
    let moved = importer.add(call, Op::Transpose { perm }, &[apart])?;
    let shape = with_batch(batch, &[channels / area, height * block, width * block]);
    importer.reshaped(call, moved, shape)
}

/// Moves blocks of pixels into channels.
pub(super) fn space_to_depth(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    if call.string("mode", "DCR")? != "DCR" {
        return Err(call.unsupported("orders channels differently from DCR"));
    }
    let (x, block, [channels, height, width]) = blocks(importer, call)?;
    if height % block != 0 || width % block != 0 {
        return Err(call.invalid(format!(
            "cannot cut {height} x {width} pixels into blocks of side {block}"
        )));
    }
    let batch = importer.dims(x)[0];
    let (rows, columns) = (height / block, width / block);
    let apart = with_batch(batch, &[channels, rows, block, columns, block]);
    let apart = importer.reshaped(call, x, apart)?;
    let perm = vec![0, 3, 5, 1, 2, 4];
    let moved = importer.add(call, Op::Transpose { perm }, &[apart])?;
    let shape = with_batch(batch, &[channels * block * block, rows, columns]);
    importer.reshaped(call, moved, shape)
}

fn blocks(importer: &Importer, call: &Call) -> Result<(ValueId, usize, [usize; 3])> {
    let x = call.input(0)?;
    let block = call.size("blocksize", call.int("blocksize", 0)?)?;
    if block == 0 || importer.rank(x) != 4 {
        return Err(call.invalid("needs a blocksize and an input of rank 4"));
    }
    let side = |axis| importer.side(call, x, axis);
    Ok((x, block, [side(1)?, side(2)?, side(3)?]))
}

fn with_batch(batch: Dim, sides: &[usize]) -> Vec<Dim> {
    let mut shape = vec![batch];
    shape.extend(sides.iter().map(|&side| Dim::Fixed(side)));
    shape
}

/// Returns the sides of a value; `start` and `end` select some of them.
pub(super) fn shape(importer: &mut Importer, call: &Call) -> Result<Outputs> {
    let dims = shape_of(importer, call)?;
    let rank = dims.len() as i64;
    let index = |name: &str, default: i64| -> Result<usize> {
        let index = call.int(name, default)?;
        let wrapped = if index < 0 {
            index.saturating_add(rank)
        } else {
            index
        };
        Ok(wrapped.clamp(0, rank) as usize)
    };
    let (start, end) = (index("start", 0)?, index("end", rank)?);
    let sizes = Sizes::of(dims.get(start..end).unwrap_or_default());
    Ok(vec![importer.settle(sizes)])
}

fn shape_of(importer: &Importer, call: &Call) -> Result<Vec<Dim>> {
    Ok(match call.value(0) {
        Some(Value::Sizes(sizes)) => sizes.shape.iter().map(|&side| Dim::Fixed(side)).collect(),
        _ => importer.dims(call.input(0)?),
    })
}

pub(super) fn size(importer: &mut Importer, call: &Call) -> Result<Outputs> {
    let dims = shape_of(importer, call)?;
    let entry = match size_of(&dims) {
        (product, 0) => Size::Known(product as i64),
        (product, 1) if product > 0 => Size::Batch(product as i64),
        _ => return Err(call.unsupported("counts the elements of a shape with two batch axes")),
    };
    let sizes = Sizes {
        shape: Vec::new(),
        entries: vec![entry],
        dtype: DType::I64,
    };
    Ok(vec![importer.settle(sizes)])
}

pub(super) fn constant_of_shape(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let sizes = importer
        .size_list(call, 0)?
        .ok_or_else(|| call.invalid("input 0 is missing"))?;
    let shape = sizes
        .into_iter()
        .map(|size| dim(call, size))
        .collect::<Result<_>>()?;
    let value = match call.tensor("value")? {
        None => Tensor::scalar(0.0),
        Some(value) if value.len() == 1 => value.reshaped([])?,
        Some(_) => return Err(call.invalid("needs a value of one element")),
    };
    let value = importer.builder.constant("", value);
    importer.add(call, Op::Expand { shape }, &[value])
}

/// A constant sequence.
pub(super) fn range(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let ids = [call.input(0)?, call.input(1)?, call.input(2)?];
    let mut limits = Vec::new();
    for id in ids {
        limits.extend(importer.builder.graph().as_constant(id).cloned());
    }
    let floats: Option<Vec<f32>> = limits
        .iter()
        .map(|limit| Some(*limit.as_f32()?.first()?))
        .collect();
    let integers: Option<Vec<i64>> = limits
        .iter()
        .map(|limit| Some(*limit.as_i64()?.first()?))
        .collect();
    let too_long = || call.unsupported(format!("creates more than {MAX_RANGE} elements"));
    let tensor = match (floats.as_deref(), integers.as_deref()) {
        (_, Some(&[start, end, step])) if step != 0 => {
            let span = i128::from(end) - i128::from(start);
            let step = i128::from(step);
            let count = (span / step + i128::from(span % step != 0)).max(0);
            let count = match span.signum() == step.signum() {
                true => i64::try_from(count).map_err(|_| too_long())?,
                false => 0,
            };
            if count > MAX_RANGE {
                return Err(too_long());
            }
            let values = (0..count).map(|at| start + at * step as i64);
            Tensor::vector(&values.collect::<Vec<_>>())
        }
        (Some(&[start, end, step]), _) if step != 0.0 => {
            let count = ((end - start) / step).ceil().max(0.0);
            if count > MAX_RANGE as f32 {
                return Err(too_long());
            }
            let values: Vec<f32> = (0..count as usize)
                .map(|at| start + at as f32 * step)
                .collect();
            Tensor::f32([values.len()], values)?
        }
        _ => return Err(call.unsupported("has computed limits or a step of 0")),
    };
    Ok(importer.builder.constant("", tensor))
}
