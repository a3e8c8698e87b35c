//! Infers the shape and type of an operator's result, with a symbolic batch dimension.

mod windows;

use windows::{conv, conv_transpose, pooled};

use crate::{
    Error, Result,
    dim::Dim,
    node::Node,
    op::{Op, PadMode},
    tensor::DType,
};

type Shape = Vec<Dim>;

/// Returns the shape and element type of `op` applied to `inputs`. Also checks arity, ranks and attributes, so an
/// accepted node can be differentiated and exported without further checks.
pub(crate) fn infer(op: &Op, inputs: &[&Node]) -> Result<(DType, Shape)> {
    let (least, most) = arity(op);
    if inputs.len() < least || inputs.len() > most {
        return Err(Error::invalid(format!(
            "has {} inputs, needs {least} to {most}",
            inputs.len()
        )));
    }
    let first = || (inputs[0].dtype, inputs[0].shape.clone());
    let float_first = || -> Result<_> {
        expect_type(inputs[0], DType::F32)?;
        Ok(first())
    };
    match op {
        Op::Input | Op::Constant(_) => Err(Error::invalid("is not an operator on values")),
        Op::Abs | Op::Neg | Op::Sign | Op::Relu | Op::Clip { .. } => {
            if inputs[0].dtype == DType::Bool {
                return Err(Error::invalid("does not take Boolean values"));
            }
            Ok(first())
        }
        Op::Atan
        | Op::Ceil
        | Op::Cos
        | Op::Elu { .. }
        | Op::Erf
        | Op::Exp
        | Op::Floor
        | Op::Gelu { .. }
        | Op::HardSigmoid { .. }
        | Op::HardSwish
        | Op::LeakyRelu { .. }
        | Op::Log
        | Op::Reciprocal
        | Op::Round
        | Op::Sigmoid
        | Op::Sin
        | Op::Softplus
        | Op::Sqrt
        | Op::Tanh => float_first(),
        Op::Not => {
            expect_type(inputs[0], DType::Bool)?;
            Ok(first())
        }
        Op::Cast { to } => Ok((*to, inputs[0].shape.clone())),
        Op::Add | Op::Div | Op::Max | Op::Min | Op::Mod | Op::Mul | Op::Pow | Op::Sub => {
            expect_same_type(inputs[0], inputs[1])?;
            if inputs[0].dtype == DType::Bool {
                return Err(Error::invalid("does not take Boolean values"));
            }
            Ok((
                inputs[0].dtype,
                broadcast(&inputs[0].shape, &inputs[1].shape)?,
            ))
        }
        Op::And | Op::Or => {
            expect_type(inputs[0], DType::Bool)?;
            expect_type(inputs[1], DType::Bool)?;
            Ok((DType::Bool, broadcast(&inputs[0].shape, &inputs[1].shape)?))
        }
        Op::Equal | Op::Greater | Op::GreaterOrEqual | Op::Less | Op::LessOrEqual => {
            expect_same_type(inputs[0], inputs[1])?;
            Ok((DType::Bool, broadcast(&inputs[0].shape, &inputs[1].shape)?))
        }
        Op::Where => {
            expect_type(inputs[0], DType::Bool)?;
            expect_same_type(inputs[1], inputs[2])?;
            let branches = broadcast(&inputs[1].shape, &inputs[2].shape)?;
            Ok((inputs[1].dtype, broadcast(&inputs[0].shape, &branches)?))
        }
        Op::StraightThrough => {
            if inputs[0].shape != inputs[1].shape {
                return Err(Error::invalid(
                    "has a value and a surrogate with different shapes",
                ));
            }
            expect_type(inputs[1], DType::F32)?;
            float_first()
        }
        Op::Gate { .. } => {
            if inputs[0].shape != inputs[1].shape {
                return Err(Error::invalid(
                    "has a cotangent whose shape differs from its output's",
                ));
            }
            float_first()
        }
        Op::MatMul => Ok((DType::F32, matmul(inputs)?)),
        Op::Gemm {
            trans_a, trans_b, ..
        } => Ok((DType::F32, gemm(inputs, *trans_a, *trans_b)?)),
        Op::Conv(convolution) => Ok((DType::F32, conv(inputs, convolution)?)),
        Op::ConvTranspose {
            convolution,
            output_padding,
        } => Ok((
            DType::F32,
            conv_transpose(inputs, convolution, output_padding)?,
        )),
        Op::ConvWeightGrad {
            convolution,
            kernel,
        } => {
            let mut shape = vec![inputs[1].shape[1], inputs[0].shape[1]];
            let (Dim::Fixed(_), Dim::Fixed(channels)) = (shape[0], shape[1]) else {
                return Err(Error::unsupported(
                    "has a channel count that depends on the batch",
                ));
            };
            shape[1] = Dim::Fixed(channels / convolution.groups);
            shape.extend(kernel.iter().map(|&side| Dim::Fixed(side)));
            Ok((DType::F32, shape))
        }
        Op::MaxPool(pool) | Op::AveragePool { pool, .. } => {
            expect_type(inputs[0], DType::F32)?;
            Ok((DType::F32, pooled(&inputs[0].shape, pool)?))
        }
        Op::MaxPoolIndices(pool) => {
            expect_type(inputs[0], DType::F32)?;
            Ok((DType::I64, pooled(&inputs[0].shape, pool)?))
        }
        Op::MaxPoolGrad(pool) => {
            let shape = pooled(&inputs[0].shape, pool)?;
            if inputs[1..].iter().any(|node| node.shape != shape) {
                return Err(Error::invalid(
                    "has a cotangent whose shape differs from its output's",
                ));
            }
            float_first()
        }
        Op::BatchNormalization { .. } => {
            for parameter in &inputs[1..] {
                if parameter.shape.len() != 1 || inputs[0].shape.get(1) != parameter.shape.first() {
                    return Err(Error::invalid(
                        "has a parameter that is not one value per channel",
                    ));
                }
            }
            float_first()
        }
        Op::LayerNormalization { axis, .. } => {
            expect_axis(*axis, inputs[0])?;
            for parameter in &inputs[1..] {
                if broadcast(&inputs[0].shape, &parameter.shape)? != inputs[0].shape {
                    return Err(Error::invalid("has a scale or bias larger than its input"));
                }
            }
            float_first()
        }
        Op::Softmax { axis } | Op::LogSoftmax { axis } => {
            expect_axis(*axis, inputs[0])?;
            float_first()
        }
        Op::Reduce {
            axes, keep_dims, ..
        } => {
            for &axis in axes {
                expect_axis(axis, inputs[0])?;
            }
            Ok((inputs[0].dtype, reduced(&inputs[0].shape, axes, *keep_dims)))
        }
        Op::TopK { axis, k, .. } => {
            expect_axis(*axis, inputs[0])?;
            let mut shape = inputs[0].shape.clone();
            if !matches!(shape[*axis], Dim::Fixed(side) if *k <= side) {
                return Err(Error::invalid(format!(
                    "picks {k} elements of a side of {}",
                    shape[*axis]
                )));
            }
            shape[*axis] = Dim::Fixed(*k);
            Ok((DType::I64, shape))
        }
        Op::ArgMax { axis, keep_dims } => {
            expect_axis(*axis, inputs[0])?;
            Ok((DType::I64, reduced(&inputs[0].shape, &[*axis], *keep_dims)))
        }
        Op::Reshape { shape } => {
            if size(&inputs[0].shape)? != size(shape)? {
                return Err(Error::invalid(format!(
                    "cannot reshape {} to {}",
                    display(&inputs[0].shape),
                    display(shape)
                )));
            }
            if shape
                .iter()
                .filter(|dim| matches!(dim, Dim::Batch(_)))
                .count()
                > 1
            {
                return Err(Error::unsupported("has the batch in two axes"));
            }
            Ok((inputs[0].dtype, shape.clone()))
        }
        Op::Expand { shape } => {
            if broadcast(&inputs[0].shape, shape)? != *shape {
                return Err(Error::invalid(format!(
                    "cannot expand {} to {}",
                    display(&inputs[0].shape),
                    display(shape)
                )));
            }
            Ok((inputs[0].dtype, shape.clone()))
        }
        Op::Transpose { perm } => {
            let mut seen = vec![false; inputs[0].shape.len()];
            for &axis in perm {
                match seen.get_mut(axis) {
                    Some(taken) if !*taken => *taken = true,
                    _ => return Err(Error::invalid("has a perm that is not a permutation")),
                }
            }
            if perm.len() != seen.len() {
                return Err(Error::invalid(
                    "has a perm whose rank differs from its input's",
                ));
            }
            Ok((
                inputs[0].dtype,
                perm.iter().map(|&axis| inputs[0].shape[axis]).collect(),
            ))
        }
        Op::Concat { axis } => Ok((inputs[0].dtype, concat(inputs, *axis)?)),
        Op::Slice {
            axes,
            starts,
            ends,
            steps,
        } => Ok((
            inputs[0].dtype,
            sliced(inputs[0], axes, starts, ends, steps)?,
        )),
        Op::Pad {
            mode,
            before,
            after,
        } => {
            let rank = inputs[0].shape.len();
            if before.len() != rank || after.len() != rank {
                return Err(Error::invalid(
                    "has pads whose rank differs from its input's",
                ));
            }
            let mirrors_too_much = (0..rank).any(|axis| match inputs[0].shape[axis] {
                Dim::Fixed(side) => before[axis].max(after[axis]) >= side.max(1),
                Dim::Batch(_) => false,
            });
            if *mode == PadMode::Reflect && mirrors_too_much {
                return Err(Error::invalid("mirrors more elements than there are"));
            }
            let shape =
                (0..rank).map(
                    |axis| match (inputs[0].shape[axis], before[axis] + after[axis]) {
                        (dim, 0) => Ok(dim),
                        (Dim::Fixed(side), extra) => Ok(Dim::Fixed(side + extra)),
                        (Dim::Batch(_), _) => Err(Error::unsupported("pads the batch axis")),
                    },
                );
            Ok((inputs[0].dtype, shape.collect::<Result<_>>()?))
        }
        Op::Gather { axis } => {
            expect_axis(*axis, inputs[0])?;
            expect_type(inputs[1], DType::I64)?;
            let mut shape = inputs[0].shape.clone();
            shape.splice(*axis..=*axis, inputs[1].shape.iter().copied());
            Ok((inputs[0].dtype, shape))
        }
        Op::GatherElements { axis } => {
            expect_axis(*axis, inputs[0])?;
            expect_type(inputs[1], DType::I64)?;
            if inputs[0].shape.len() != inputs[1].shape.len() {
                return Err(Error::invalid(
                    "has indices whose rank differs from its data's",
                ));
            }
            Ok((inputs[0].dtype, inputs[1].shape.clone()))
        }
        Op::ScatterAdd { axis } => {
            expect_axis(*axis, inputs[0])?;
            expect_type(inputs[1], DType::I64)?;
            expect_same_type(inputs[0], inputs[2])?;
            if inputs[1].shape != inputs[2].shape || inputs[0].shape.len() != inputs[1].shape.len()
            {
                return Err(Error::invalid(
                    "has data, indices and updates whose shapes do not match",
                ));
            }
            Ok(first())
        }
        Op::Tile { repeats } => {
            if repeats.len() != inputs[0].shape.len() {
                return Err(Error::invalid(
                    "has repeats whose rank differs from its input's",
                ));
            }
            let shape = inputs[0]
                .shape
                .iter()
                .zip(repeats)
                .map(|(dim, repeat)| match dim {
                    Dim::Fixed(side) => Dim::Fixed(side * repeat),
                    Dim::Batch(factor) => Dim::Batch(factor * repeat),
                });
            Ok((inputs[0].dtype, shape.collect()))
        }
    }
}

/// Returns the minimum and maximum number of inputs.
fn arity(op: &Op) -> (usize, usize) {
    match op {
        Op::Input | Op::Constant(_) => (0, 0),
        Op::Add
        | Op::Div
        | Op::Max
        | Op::Min
        | Op::Mod
        | Op::Mul
        | Op::Pow
        | Op::Sub
        | Op::And
        | Op::Or
        | Op::Equal
        | Op::Greater
        | Op::GreaterOrEqual
        | Op::Less
        | Op::LessOrEqual
        | Op::MatMul
        | Op::ConvWeightGrad { .. }
        | Op::Gate { .. }
        | Op::StraightThrough
        | Op::Gather { .. }
        | Op::GatherElements { .. } => (2, 2),
        Op::Where | Op::ScatterAdd { .. } | Op::MaxPoolGrad(_) => (3, 3),
        Op::Gemm { .. }
        | Op::Conv(_)
        | Op::ConvTranspose { .. }
        | Op::LayerNormalization { .. } => (2, 3),
        Op::BatchNormalization { .. } => (5, 5),
        Op::Concat { .. } => (1, usize::MAX),
        _ => (1, 1),
    }
}

fn expect_type(node: &Node, dtype: DType) -> Result<()> {
    if node.dtype == dtype {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "takes {dtype:?}, was given {:?} {:?}",
        node.dtype, node.name
    )))
}

fn expect_same_type(a: &Node, b: &Node) -> Result<()> {
    if a.dtype == b.dtype {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "mixes {:?} and {:?}",
        a.dtype, b.dtype
    )))
}

fn expect_axis(axis: usize, node: &Node) -> Result<()> {
    if axis < node.shape.len() {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "has axis {axis} of an input of shape {}",
        display(&node.shape)
    )))
}

/// Formats a shape as `[N, 3, 224, 224]`.
pub(crate) fn display(shape: &[Dim]) -> String {
    let sides: Vec<String> = shape.iter().map(Dim::to_string).collect();
    format!("[{}]", sides.join(", "))
}

/// Returns the number of elements as (factor, power of N).
pub(crate) fn size(shape: &[Dim]) -> Result<(usize, u32)> {
    let mut product = 1_usize;
    let mut power = 0;
    for dim in shape {
        let factor = match *dim {
            Dim::Fixed(side) => side,
            Dim::Batch(factor) => {
                power += 1;
                factor
            }
        };
        product = product
            .checked_mul(factor)
            .ok_or_else(|| Error::invalid("has more elements than fit into the address space"))?;
    }
    Ok((product, power))
}

/// Returns the product of all axes as one axis.
pub(crate) fn flat(shape: &[Dim]) -> Result<Dim> {
    match size(shape)? {
        (count, 0) => Ok(Dim::Fixed(count)),
        (factor, 1) => Ok(Dim::Batch(factor)),
        _ => Err(Error::unsupported("has the batch twice in its shape")),
    }
}

/// Broadcasts two shapes by NumPy's rules.
pub(crate) fn broadcast(a: &[Dim], b: &[Dim]) -> Result<Shape> {
    let rank = a.len().max(b.len());
    let side = |shape: &[Dim], axis: usize| match (axis + shape.len()).checked_sub(rank) {
        Some(own) => shape[own],
        None => Dim::Fixed(1),
    };
    (0..rank)
        .map(|axis| match (side(a, axis), side(b, axis)) {
            (x, y) if x == y => Ok(x),
            (Dim::Fixed(1), other) | (other, Dim::Fixed(1)) => Ok(other),
            _ => Err(Error::invalid(format!(
                "cannot broadcast {} with {}",
                display(a),
                display(b)
            ))),
        })
        .collect()
}

fn reduced(shape: &[Dim], axes: &[usize], keep_dims: bool) -> Shape {
    shape
        .iter()
        .enumerate()
        .filter_map(|(axis, &dim)| match (axes.contains(&axis), keep_dims) {
            (false, _) => Some(dim),
            (true, true) => Some(Dim::Fixed(1)),
            (true, false) => None,
        })
        .collect()
}

fn matmul(inputs: &[&Node]) -> Result<Shape> {
    expect_type(inputs[0], DType::F32)?;
    expect_type(inputs[1], DType::F32)?;
    let (a, b) = (&inputs[0].shape, &inputs[1].shape);
    if a.len() < 2 || b.len() < 2 {
        return Err(Error::unsupported("multiplies by a vector"));
    }
    let (rows, inner_a) = (a[a.len() - 2], a[a.len() - 1]);
    let (inner_b, columns) = (b[b.len() - 2], b[b.len() - 1]);
    if inner_a != inner_b {
        return Err(Error::invalid(format!(
            "cannot multiply {} by {}",
            display(a),
            display(b)
        )));
    }
    let mut shape = broadcast(&a[..a.len() - 2], &b[..b.len() - 2])?;
    shape.extend([rows, columns]);
    Ok(shape)
}

fn gemm(inputs: &[&Node], trans_a: bool, trans_b: bool) -> Result<Shape> {
    let matrix = |node: &Node, transposed: bool| -> Result<[Dim; 2]> {
        expect_type(node, DType::F32)?;
        match (&node.shape[..], transposed) {
            (&[rows, columns], false) | (&[columns, rows], true) => Ok([rows, columns]),
            _ => Err(Error::invalid(format!(
                "takes matrices, not {}",
                display(&node.shape)
            ))),
        }
    };
    let [rows, inner_a] = matrix(inputs[0], trans_a)?;
    let [inner_b, columns] = matrix(inputs[1], trans_b)?;
    if inner_a != inner_b {
        return Err(Error::invalid(format!(
            "cannot multiply {} by {}",
            display(&inputs[0].shape),
            display(&inputs[1].shape)
        )));
    }
    let shape = vec![rows, columns];
    if let Some(c) = inputs.get(2)
        && broadcast(&c.shape, &shape)? != shape
    {
        return Err(Error::invalid("has a C larger than the product"));
    }
    Ok(shape)
}

/// Returns the sides of all axes from `from` on, which must be fixed.
pub(crate) fn fixed_from(shape: &[Dim], from: usize) -> Result<Vec<usize>> {
    shape
        .iter()
        .skip(from)
        .map(|dim| match dim {
            Dim::Fixed(side) => Ok(*side),
            Dim::Batch(_) => Err(Error::unsupported("has the batch in an inner axis")),
        })
        .collect()
}

fn concat(inputs: &[&Node], axis: usize) -> Result<Shape> {
    expect_axis(axis, inputs[0])?;
    let mut shape = inputs[0].shape.clone();
    for node in &inputs[1..] {
        expect_same_type(inputs[0], node)?;
        let alike = node.shape.len() == shape.len()
            && (0..shape.len()).all(|other| other == axis || node.shape[other] == shape[other]);
        shape[axis] = match (shape[axis], node.shape.get(axis)) {
            (Dim::Fixed(a), Some(Dim::Fixed(b))) if alike => Dim::Fixed(a + b),
            (Dim::Batch(a), Some(Dim::Batch(b))) if alike => Dim::Batch(a + b),
            _ => {
                return Err(Error::invalid(format!(
                    "cannot join {} and {} along axis {axis}",
                    display(&inputs[0].shape),
                    display(&node.shape)
                )));
            }
        };
    }
    Ok(shape)
}

fn sliced(x: &Node, axes: &[usize], starts: &[i64], ends: &[i64], steps: &[i64]) -> Result<Shape> {
    if [starts.len(), ends.len(), steps.len()] != [axes.len(); 3] {
        return Err(Error::invalid(
            "has axes, starts, ends and steps of different lengths",
        ));
    }
    let mut shape = x.shape.clone();
    for (at, &axis) in axes.iter().enumerate() {
        expect_axis(axis, x)?;
        let Dim::Fixed(side) = x.shape[axis] else {
            return Err(Error::unsupported("slices the batch axis"));
        };
        let (start, end, step) = (starts[at], ends[at], steps[at]);
        let side = i64::try_from(side).map_err(|_| Error::invalid("is too large"))?;
        let in_range = match step.signum() {
            1 => 0 <= start && start <= end && end <= side,
            -1 => -1 <= end && end <= start && start < side,
            _ => false,
        };
        if !in_range {
            return Err(Error::invalid(format!(
                "slices {start}..{end} step {step} of a side of {side}"
            )));
        }
        let count = (end - start).unsigned_abs().div_ceil(step.unsigned_abs());
        shape[axis] = Dim::Fixed(count as usize);
    }
    Ok(shape)
}
