//! Operators that select, remove or add elements.

use crate::{
    Result,
    dim::Dim,
    import::{Importer, call::Call, ops::Outputs, shapes::Size},
    node::ValueId,
    op::{Op, PadMode},
    tensor::{DType, Tensor},
};

/// Slice ends of at least this value mean "to the end"; exporters write the largest integer of some width.
const FAR: i64 = i32::MAX as i64;

/// Starts, ends, axes and steps are attributes up to operator set 9 and inputs from 10 on.
pub(super) fn slice(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let x = call.input(0)?;
    let known = |values: &[i64]| values.iter().map(|&value| Size::Known(value)).collect();
    let (starts, ends, axes, steps): (Vec<Size>, Vec<Size>, _, _) = if call.opset < 10 {
        let required = |name: &str| {
            call.ints(name)?
                .ok_or_else(|| call.invalid(format!("{name:?} is missing")))
        };
        let axes = call.ints("axes")?.map(<[i64]>::to_vec);
        (
            known(required("starts")?),
            known(required("ends")?),
            axes,
            None,
        )
    } else {
        let required = |at| {
            importer
                .size_list(call, at)?
                .ok_or_else(|| call.invalid(format!("input {at} is missing")))
        };
        let axes = importer.integers(call, 3)?;
        (
            required(1)?,
            required(2)?,
            axes,
            importer.integers(call, 4)?,
        )
    };
    let count = starts.len();
    let axes = axes.unwrap_or_else(|| (0..count as i64).collect());
    let steps = steps.unwrap_or_else(|| vec![1; count]);
    if [ends.len(), axes.len(), steps.len()] != [count; 3] {
        return Err(call.invalid("has starts, ends, axes and steps of different lengths"));
    }
    let dims = importer.dims(x);
    let mut parts = Vec::with_capacity(count);
    for at in 0..count {
        let axis = call.axis(axes[at], dims.len())?;
        match dims[axis] {
            Dim::Fixed(side) => {
                let (Size::Known(start), Size::Known(end)) = (starts[at], ends[at]) else {
                    return Err(call.unsupported("slices up to the batch size"));
                };
                parts.push((axis, clamped(call, side, start, end, steps[at])?));
            }
            whole => {
                let to_end = matches!(ends[at], Size::Known(FAR..)) || ends[at] == whole.into();
                if starts[at] != Size::Known(0) || !to_end || steps[at] != 1 {
                    return Err(call.unsupported("slices the batch axis"));
                }
            }
        }
    }
    if parts.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err(call.invalid("slices an axis twice"));
    }
    sliced(importer, call, x, parts)
}

/// Returns the first index, the exclusive last index and the step in the graph's normal form.
type Part = (i64, i64, i64);

fn clamped(call: &Call, side: usize, start: i64, end: i64, step: i64) -> Result<Part> {
    let side = side as i64;
    let (lowest, highest) = match step.signum() {
        1 => (0, side),
        -1 => (-1, side - 1),
        _ => return Err(call.invalid("has a step of 0")),
    };
    let clamp = |index: i64| {
        let wrapped = if index < 0 {
            index.saturating_add(side)
        } else {
            index
        };
        wrapped.clamp(lowest, highest)
    };
    let (start, end) = (clamp(start), clamp(end));
    let nothing = (end - start).signum() == -step.signum() || side == 0;
    Ok(match nothing {
        true => (0, 0, 1),
        false => (start, end, step),
    })
}

fn sliced(
    importer: &mut Importer,
    call: &Call,
    x: ValueId,
    parts: Vec<(usize, Part)>,
) -> Result<ValueId> {
    let op = Op::Slice {
        axes: parts.iter().map(|part| part.0).collect(),
        starts: parts.iter().map(|part| part.1.0).collect(),
        ends: parts.iter().map(|part| part.1.1).collect(),
        steps: parts.iter().map(|part| part.1.2).collect(),
    };
    importer.add(call, op, &[x])
}

/// Splits a value. The lengths are an attribute, an input, or equal; the last one may be shorter.
pub(super) fn split(importer: &mut Importer, call: &Call) -> Result<Outputs> {
    let x = call.input(0)?;
    let axis = call.axis(call.int("axis", 0)?, importer.rank(x))?;
    let side = importer.side(call, x, axis)? as i64;
    let lengths = match call.ints("split")? {
        Some(lengths) => Some(lengths.to_vec()),
        None => importer.integers(call, 1)?,
    };
    let outputs = call.node.output.len();
    let length = (side as u64).div_ceil(outputs.max(1) as u64) as i64;
    let lengths = lengths.unwrap_or_else(|| {
        (0..outputs as i64)
            .map(|at| (side - at * length).clamp(0, length))
            .collect()
    });
    let total = lengths.iter().try_fold(0_i64, |total, &length| {
        total.checked_add(length).filter(|_| length >= 0)
    });
    if total != Some(side) || lengths.len() != outputs {
        return Err(call.invalid(format!(
            "cannot split a side of {side} into {lengths:?} for {outputs} outputs"
        )));
    }
    let mut start = 0;
    let parts = lengths.into_iter().map(|length| {
        let part = (start, start + length, 1);
        start += length;
        Ok(sliced(importer, call, x, vec![(axis, part)])?.into())
    });
    parts.collect()
}

/// Pads are attributes up to operator set 10 and inputs from 11 on; negative pads remove elements.
pub(super) fn pad(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let x = call.input(0)?;
    let rank = importer.rank(x);
    let (pads, value) = if call.opset < 11 {
        let pads = call.ints("pads")?.map(<[i64]>::to_vec);
        (pads, call.float("value", 0.0)?)
    } else {
        let value = match call.optional(2)? {
            None => 0.0,
            Some(id) => {
                let tensor = importer.builder.graph().as_constant(id);
                let value = tensor.and_then(|tensor| match (tensor.as_f32(), tensor.as_i64()) {
                    (Some(&[value]), _) => Some(value),
                    (_, Some(&[value])) => Some(value as f32),
                    _ => None,
                });
                value.ok_or_else(|| call.unsupported("pads with a computed value"))?
            }
        };
        (importer.integers(call, 1)?, value)
    };
    let pads = pads.ok_or_else(|| call.invalid("pads are missing"))?;
    let axes = match importer.integers(call, 3)? {
        Some(axes) => axes
            .iter()
            .map(|&axis| call.axis(axis, rank))
            .collect::<Result<_>>()?,
        None => (0..rank).collect::<Vec<_>>(),
    };
    if pads.len() != 2 * axes.len() {
        return Err(call.invalid(format!("has {} pads for {} axes", pads.len(), axes.len())));
    }
    let mode = match call.string("mode", "constant")? {
        "constant" => PadMode::Constant(value),
        "reflect" => PadMode::Reflect,
        "edge" => PadMode::Edge,
        "wrap" => return wrapped_around(importer, call, x, &axes, &pads),
        other => return Err(call.unsupported(format!("has the unknown mode {other:?}"))),
    };
    let (mut before, mut after) = (vec![0; rank], vec![0; rank]);
    let mut cuts = Vec::new();
    for (at, &axis) in axes.iter().enumerate() {
        let (first, last) = (pads[at], pads[at + axes.len()]);
        before[axis] = call.size("pads", first.max(0))?;
        after[axis] = call.size("pads", last.max(0))?;
        if first < 0 || last < 0 {
            let side = importer.side(call, x, axis)?;
            let end = (side as i64).saturating_add(last.min(0));
            let start = first.min(0).saturating_neg();
            if end < start {
                return Err(call.invalid("removes more elements than there are"));
            }
            cuts.push((axis, (start, end, 1)));
        }
        let side = importer.side(call, x, axis).unwrap_or(usize::MAX);
        if mode == PadMode::Reflect && before[axis].max(after[axis]) >= side {
            return Err(call.invalid("mirrors more elements than there are"));
        }
    }
    let cut = sliced(importer, call, x, cuts)?;
    let op = Op::Pad {
        mode,
        before,
        after,
    };
    importer.add(call, op, &[cut])
}

/// Pads with elements from the other end.
fn wrapped_around(
    importer: &mut Importer,
    call: &Call,
    x: ValueId,
    axes: &[usize],
    pads: &[i64],
) -> Result<ValueId> {
    let mut wrapped = x;
    for (at, &axis) in axes.iter().enumerate() {
        let (first, last) = (pads[at], pads[at + axes.len()]);
        if (first, last) == (0, 0) {
            continue;
        }
        let side = importer.side(call, x, axis)?;
        let [before, after] = [first, last].map(|pad| call.size("pads", pad));
        let (before, after) = (before?, after?);
        if before.max(after) > side {
            return Err(call.unsupported("wraps around more than once"));
        }
        wrapped = importer.formula(call, &[wrapped], |v| {
            let parts = [
                v[0].slice(axis, side - before, side),
                v[0],
                v[0].slice(axis, 0, after),
            ];
            Ok(v[0].tape().apply(Op::Concat { axis }, &parts))
        })?;
    }
    Ok(wrapped)
}

/// Returns the largest or smallest elements along an axis, and their indices.
pub(super) fn top_k(importer: &mut Importer, call: &Call) -> Result<Outputs> {
    let x = call.input(0)?;
    let k = match call.opset {
        ..10 => call.int("k", 0)?,
        _ => match importer.integers(call, 1)?.as_deref() {
            Some(&[k]) => k,
            _ => return Err(call.invalid("needs a single number of elements")),
        },
    };
    let op = Op::TopK {
        axis: call.axis(call.int("axis", -1)?, importer.rank(x))?,
        k: call.size("k", k)?,
        largest: call.flag("largest", true)?,
    };
    let Op::TopK { axis, .. } = op else {
        unreachable!("it was made above")
    };
    let indices = importer.add(call, op, &[x])?;
    let elements = importer.add(call, Op::GatherElements { axis }, &[x, indices])?;
    Ok(vec![elements.into(), indices.into()])
}

/// Sets the elements of a matrix beyond one of its diagonals to 0.
pub(super) fn trilu(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let x = call.input(0)?;
    let Some(first) = importer.rank(x).checked_sub(2) else {
        return Err(call.invalid("needs a matrix"));
    };
    let (rows, columns) = (
        importer.side(call, x, first)?,
        importer.side(call, x, first + 1)?,
    );
    let diagonal = match importer.integers(call, 1)?.as_deref() {
        None => 0,
        Some(&[diagonal]) => diagonal,
        Some(_) => return Err(call.invalid("needs a single diagonal")),
    };
    let upper = call.flag("upper", true)?;
    let kept = (0..rows as i64).flat_map(|row| {
        (0..columns as i64).map(move |column| {
            let beyond = (column - row).cmp(&diagonal);
            if upper {
                beyond.is_ge()
            } else {
                beyond.is_le()
            }
        })
    });
    let kept = Tensor::bool([rows, columns], kept.collect::<Vec<_>>())?;
    let dtype = importer.dtype(x);
    importer.formula(call, &[x], |v| {
        let tape = v[0].tape();
        let zero = tape
            .constant(Tensor::scalar(0.0))
            .apply(Op::Cast { to: dtype });
        Ok(tape.constant(kept).select(v[0], zero))
    })
}

/// `on` at the given index along a new axis, else `off`.
pub(super) fn one_hot(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let inputs = [call.input(0)?, call.input(2)?];
    let depth = match importer.integers(call, 1)?.as_deref() {
        Some(&[depth]) => call.size("depth", depth)?,
        _ => return Err(call.invalid("needs a single depth")),
    };
    let rank = importer.rank(inputs[0]);
    let axis = call.axis(call.int("axis", -1)?, rank + 1)?;
    importer.formula(call, &inputs, |v| {
        let tape = v[0].tape();
        let integer = Op::Cast { to: DType::I64 };
        let index = v[0].apply(integer);
        let limits = [0, depth as i64].map(|limit| Tensor::i64([], [limit]));
        let [zero, depth_value] = limits;
        let (zero, length) = (tape.constant(zero?), tape.constant(depth_value?));
        let index = index.less(zero).select(index + length, index);
        let mut column = v[0].shape();
        column.insert(axis, Dim::Fixed(1));
        let hot = index
            .reshape(column)
            .equal(tape.arange(depth, axis, rank + 1));
        Ok(hot.select(v[1].slice(0, 1, 2), v[1].slice(0, 0, 1)))
    })
}

/// Ones on a diagonal, else zeros.
pub(super) fn eye_like(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let sizes = importer.dims(call.input(0)?);
    let &[Dim::Fixed(rows), Dim::Fixed(columns)] = &sizes[..] else {
        return Err(call.unsupported("needs a matrix with known sides"));
    };
    let diagonal = call.int("k", 0)?;
    let ones = (0..rows as i64)
        .flat_map(|row| (0..columns as i64).map(move |column| f32::from(column - row == diagonal)));
    let eye = Tensor::f32([rows, columns], ones.collect::<Vec<_>>())?;
    let eye = importer.builder.constant("", eye);
    match call.has("dtype") {
        true => super::elementwise::cast_to(importer, call, "dtype", eye),
        false => {
            let to = importer.dtype(call.input(0)?);
            importer.add(call, Op::Cast { to }, &[eye])
        }
    }
}

/// Crops an axis to its middle, or pads it with zeros on both sides.
pub(super) fn center_crop_pad(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let x = call.input(0)?;
    let rank = importer.rank(x);
    let target = importer
        .integers(call, 1)?
        .ok_or_else(|| call.invalid("input 1 is missing"))?;
    let axes = match call.ints("axes")? {
        Some(axes) => axes
            .iter()
            .map(|&axis| call.axis(axis, rank))
            .collect::<Result<_>>()?,
        None => (0..rank).collect::<Vec<_>>(),
    };
    if axes.len() != target.len() {
        return Err(call.invalid(format!(
            "has {} sides for {} axes",
            target.len(),
            axes.len()
        )));
    }
    let mut value = x;
    for (axis, target) in axes.into_iter().zip(target) {
        let (side, target) = (importer.side(call, x, axis)?, call.size("shape", target)?);
        value = importer.formula(call, &[value], |v| {
            let missing = target.saturating_sub(side);
            let start = side.saturating_sub(target) / 2;
            let cut = v[0].slice(axis, start, start + side.min(target));
            Ok(cut.pad(axis, missing / 2, missing - missing / 2))
        })?;
    }
    Ok(value)
}

pub(super) fn gather(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let (x, indices) = (call.input(0)?, call.input(1)?);
    let dims = importer.dims(x);
    let axis = call.axis(call.int("axis", 0)?, dims.len())?;
    let constant = importer.builder.graph().as_constant(indices).cloned();
    match (constant, dims[axis]) {
        (Some(indices), Dim::Fixed(_)) => picked(importer, call, x, axis, indices),
        _ => importer.add(call, Op::Gather { axis }, &[x, indices]),
    }
}

/// Evenly spaced constant indices become a slice, whose gradient every engine supports.
pub(in crate::import) fn picked(
    importer: &mut Importer,
    call: &Call,
    x: ValueId,
    axis: usize,
    indices: Tensor,
) -> Result<ValueId> {
    let mut dims = importer.dims(x);
    let tensor = wrapped(call, &indices, importer.side(call, x, axis)?)?;
    let values = tensor.as_i64().unwrap_or_default();
    let step = match values {
        [first, second, ..] => second - first,
        _ => 1,
    };
    let even = values.windows(2).all(|pair| pair[1] - pair[0] == step);
    if let (&[first, ..], true, true) = (values, even, step != 0) {
        let part = (first, values[values.len() - 1] + step.signum(), step);
        let picked = sliced(importer, call, x, vec![(axis, part)])?;
        dims.splice(
            axis..=axis,
            tensor.shape().iter().map(|&side| Dim::Fixed(side)),
        );
        return importer.reshaped(call, picked, dims);
    }
    let indices = importer.builder.constant("", tensor);
    importer.add(call, Op::Gather { axis }, &[x, indices])
}

/// Normalises constant indices; negative ones count from the end.
pub(super) fn wrapped(call: &Call, indices: &Tensor, side: usize) -> Result<Tensor> {
    let side = side as i64;
    let values = indices.as_i64().unwrap_or_default();
    let wrapped = values.iter().map(|&index| {
        let positive = if index < 0 {
            index.saturating_add(side)
        } else {
            index
        };
        (0..side)
            .contains(&positive)
            .then_some(positive)
            .ok_or_else(|| {
                call.invalid(format!(
                    "index {index} is out of range for a side of {side}"
                ))
            })
    });
    Tensor::i64(indices.shape(), wrapped.collect::<Result<Vec<i64>>>()?)
        .map_err(|_| call.invalid("has indices that are not integers"))
}

pub(super) fn gather_elements(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let (x, mut indices) = (call.input(0)?, call.input(1)?);
    let axis = call.axis(call.int("axis", 0)?, importer.rank(x))?;
    if let Some(tensor) = importer.builder.graph().as_constant(indices).cloned() {
        let side = importer.side(call, x, axis)?;
        let tensor = wrapped(call, &tensor, side)?;
        indices = importer.builder.constant("", tensor);
    }
    importer.add(call, Op::GatherElements { axis }, &[x, indices])
}
