//! Normalisations.

use crate::{
    Result,
    dim::Dim,
    import::{Importer, call::Call},
    node::ValueId,
    op::{Op, Pool, Reduction},
    tape::Expr,
};

pub(super) fn batch_normalization(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    if !call.flag("spatial", true)? {
        return Err(call.unsupported("normalises every element separately (spatial = 0)"));
    }
    let epsilon = call.float("epsilon", 1e-5)?;
    if call.flag("training_mode", false)? {
        return batch_statistics(importer, call, epsilon);
    }
    let inputs: Vec<ValueId> = (0..5).map(|at| call.input(at)).collect::<Result<_>>()?;
    importer.add(call, Op::BatchNormalization { epsilon }, &inputs)
}

/// Normalises by the input's own statistics, as exporters write weight standardisation. With pictures as input, it
/// would mix the pictures of a batch.
fn batch_statistics(importer: &mut Importer, call: &Call, epsilon: f32) -> Result<ValueId> {
    let inputs = [call.input(0)?, call.input(1)?, call.input(2)?];
    let dims = importer.dims(inputs[0]);
    if dims.len() < 2 || importer.builder.graph().as_constant(inputs[0]).is_none() {
        return Err(call.unsupported("is in training mode; export the model in evaluation mode"));
    }
    importer.formula(call, &inputs, |v| {
        let axes: Vec<usize> = (0..dims.len()).filter(|&axis| axis != 1).collect();
        Ok(scaled(standardized(v[0], &axes, epsilon), v[1], v[2]))
    })
}

pub(super) fn layer_normalization(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let mut inputs = vec![call.input(0)?, call.input(1)?];
    inputs.extend(call.optional(2)?);
    let op = Op::LayerNormalization {
        axis: call.axis(call.int("axis", -1)?, importer.rank(inputs[0]))?,
        epsilon: call.float("epsilon", 1e-5)?,
    };
    importer.add(call, op, &inputs)
}

/// Computes `x * scale / sqrt(mean(x^2) + epsilon)` over the axes from `axis` on.
pub(super) fn rms_normalization(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let (x, scale) = (call.input(0)?, call.input(1)?);
    let rank = importer.rank(x);
    let axis = call.axis(call.int("axis", -1)?, rank)?;
    let epsilon = call.float("epsilon", 1e-5)?;
    importer.formula(call, &[x, scale], |v| {
        let axes: Vec<usize> = (axis..rank).collect();
        Ok(v[0] / ((v[0] * v[0]).mean(axes) + epsilon).sqrt() * v[1])
    })
}

/// `(x - mean) / sqrt(variance + epsilon)` over axes.
fn standardized<'t>(x: Expr<'t>, axes: &[usize], epsilon: f32) -> Expr<'t> {
    let centred = x - x.mean(axes);
    centred / ((centred * centred).mean(axes) + epsilon).sqrt()
}

/// `x * scale + bias` with one scale and bias for each channel of `[N, C, ...]`.
fn scaled<'t>(x: Expr<'t>, scale: Expr<'t>, bias: Expr<'t>) -> Expr<'t> {
    let mut shape = vec![Dim::Fixed(1); x.rank() - 1];
    shape[0] = x.shape()[1];
    x * scale.reshape(shape.clone()) + bias.reshape(shape)
}

pub(super) fn instance_normalization(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let inputs = [call.input(0)?, call.input(1)?, call.input(2)?];
    importer.side(call, inputs[0], 1)?;
    let epsilon = call.float("epsilon", 1e-5)?;
    importer.formula(call, &inputs, |v| {
        let axes: Vec<usize> = (2..v[0].rank()).collect();
        Ok(scaled(standardized(v[0], &axes, epsilon), v[1], v[2]))
    })
}

/// Scale and bias have one value per channel since operator set 21, one per group before.
pub(super) fn group_normalization(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let inputs = [call.input(0)?, call.input(1)?, call.input(2)?];
    let groups = call.size("num_groups", call.int("num_groups", 1)?)?;
    let channels = importer.side(call, inputs[0], 1)?;
    if channels.checked_rem(groups) != Some(0) {
        return Err(call.invalid(format!(
            "cannot split {channels} channels into {groups} groups"
        )));
    }
    let by_group = call.opset < 21;
    let epsilon = call.float("epsilon", 1e-5)?;
    let dims = importer.dims(inputs[0]);
    importer.formula(call, &inputs, |v| {
        let mut split = vec![dims[0], Dim::Fixed(groups), Dim::Fixed(channels / groups)];
        split.extend(&dims[2..]);
        let axes: Vec<usize> = (2..split.len()).collect();
        let normal = standardized(v[0].reshape(split), &axes, epsilon).reshape(dims);
        let [scale, bias] = [v[1], v[2]].map(|parameter| {
            if !by_group {
                return parameter;
            }
            let apart = [Dim::Fixed(groups), Dim::Fixed(1)];
            let whole = [Dim::Fixed(groups), Dim::Fixed(channels / groups)];
            let parameter = parameter.reshape(apart).expand(whole);
            parameter.reshape([Dim::Fixed(channels)])
        });
        Ok(scaled(normal, scale, bias))
    })
}

/// `(x - mean) / deviation` over axes; the deviation is kept from 0 as in ONNX's definition of the operator.
pub(super) fn mean_variance_normalization(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    const GUARD: f32 = 1e-9;
    let x = call.input(0)?;
    let axes = call.ints("axes")?.unwrap_or(&[0, 2, 3]);
    let axes = call.axes(axes, importer.rank(x))?;
    importer.formula(call, &[x], |v| {
        let centred = v[0] - v[0].mean(axes.clone());
        Ok(centred / ((centred * centred).mean(axes).sqrt() + GUARD))
    })
}

/// `x / (bias + alpha / size * sum(x^2))^beta` with the sum over the nearest `size` channels (AlexNet, section 3.3).
pub(super) fn lrn(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let x = call.input(0)?;
    let size = call.size("size", call.int("size", 0)?)?;
    if size == 0 {
        return Err(call.invalid("needs a positive size"));
    }
    let [alpha, beta, bias] = [("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0)]
        .map(|(name, default)| call.float(name, default));
    let (alpha, beta, bias) = (alpha?, beta?, bias?);
    let channels = importer.side(call, x, 1)?;
    let area = (2..importer.rank(x))
        .map(|axis| importer.side(call, x, axis))
        .product::<Result<usize>>()?;
    let dims = importer.dims(x);
    importer.formula(call, &[x], |v| {
        let rows = [
            dims[0],
            Dim::Fixed(1),
            Dim::Fixed(channels),
            Dim::Fixed(area),
        ];
        // Zeros next to the first and last channel count, as in the definition.
        let near = Op::AveragePool {
            pool: Pool {
                kernel: vec![size, 1],
                strides: vec![1, 1],
                pads_before: vec![(size - 1) / 2, 0],
                pads_after: vec![size / 2, 0],
                dilations: vec![1, 1],
                ceil_extra: vec![0, 0],
            },
            count_include_pad: true,
        };
        let mean = (v[0] * v[0]).reshape(rows).apply(near).reshape(dims);
        Ok(v[0] * (mean * alpha + bias).pow(-beta))
    })
}

/// `x / norm(x)` along an axis, with the L1 or L2 norm. If the norm is 0, so is the result.
pub(super) fn lp_normalization(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let x = call.input(0)?;
    let axis = call.axis(call.int("axis", -1)?, importer.rank(x))?;
    let p = call.int("p", 2)?;
    importer.formula(call, &[x], |v| {
        let norm = match p {
            1 => v[0].apply(Op::Abs).sum([axis]),
            2 => (v[0] * v[0]).sum([axis]).sqrt(),
            other => return Err(call.invalid(format!("has the norm {other}; expected 1 or 2"))),
        };
        Ok(v[0] / norm.equal(0.0).select(1.0, norm))
    })
}

/// `Softmax` and `LogSoftmax`: along one axis since operator set 13, over all axes from a given one on before.
pub(super) fn softmax(
    importer: &mut Importer,
    call: &Call,
    op: fn(usize) -> Op,
) -> Result<ValueId> {
    let x = call.input(0)?;
    let dims = importer.dims(x);
    if call.opset >= 13 {
        let axis = call.axis(call.int("axis", -1)?, dims.len())?;
        return importer.add(call, op(axis), &[x]);
    }
    let axis = call.axis(call.int("axis", 1)?, dims.len())?;
    if dims[axis + 1..].iter().all(|&dim| dim == Dim::Fixed(1)) {
        return importer.add(call, op(axis), &[x]);
    }
    let inner = (axis..dims.len())
        .map(|axis| importer.side(call, x, axis))
        .product::<Result<usize>>()?;
    let mut rows = dims[..axis].to_vec();
    rows.push(Dim::Fixed(inner));
    let flat = importer.reshaped(call, x, rows)?;
    let normal = importer.add(call, op(axis), &[flat])?;
    importer.reshaped(call, normal, dims)
}

/// 1 for the largest element along an axis, else 0. It has no gradient, because its result jumps.
pub(super) fn hardmax(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let x = call.input(0)?;
    let dims = importer.dims(x);
    let axis = call.axis(
        call.int("axis", if call.opset < 13 { 1 } else { -1 })?,
        dims.len(),
    )?;
    if call.opset < 13 && dims[axis + 1..].iter().any(|&dim| dim != Dim::Fixed(1)) {
        return Err(call.unsupported("flattens its input; convert to operator set 13"));
    }
    let side = importer.side(call, x, axis)?;
    importer.formula(call, &[x], |v| {
        let winner = v[0].apply(Op::ArgMax {
            axis,
            keep_dims: true,
        });
        let positions = v[0].tape().arange(side, axis, dims.len());
        Ok(winner.equal(positions).apply(Op::Cast {
            to: crate::tensor::DType::F32,
        }))
    })
}

/// `GlobalLpPool`: the p-norm over all spatial axes.
pub(super) fn global_lp_pool(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let x = call.input(0)?;
    let rank = importer.rank(x);
    if rank < 3 {
        return Err(call.invalid(format!("needs spatial axes, but its input has rank {rank}")));
    }
    let p = call.int("p", 2)?;
    importer.formula(call, &[x], |v| {
        let axes: Vec<usize> = (2..rank).collect();
        p_norm(call, v[0], p, |powers| {
            Ok(powers.reduce(Reduction::Sum, axes))
        })
    })
}

/// Computes the p-norm, in which `sum` adds up the powers.
pub(super) fn p_norm<'t>(
    call: &Call,
    x: Expr<'t>,
    p: i64,
    sum: impl FnOnce(Expr<'t>) -> Result<Expr<'t>>,
) -> Result<Expr<'t>> {
    match p {
        1 => sum(x.apply(Op::Abs)),
        2 => Ok(sum(x * x)?.sqrt()),
        3.. => Ok(sum(x.apply(Op::Abs).pow(p as f32))?.pow(1.0 / p as f32)),
        _ => Err(call.invalid(format!("has the norm {p}; expected 1 or larger"))),
    }
}
