//! Operators that work element by element.

use crate::{
    Result,
    import::{Importer, call::Call, integers, tensors},
    node::ValueId,
    op::Op,
    tape::Expr,
    tensor::{DType, Tensor},
};

pub(super) fn unary(importer: &mut Importer, call: &Call, op: Op) -> Result<ValueId> {
    importer.add(call, op, &[call.input(0)?])
}

/// A piecewise constant operator; on request, with a surrogate gradient.
pub(super) fn step(importer: &mut Importer, call: &Call, op: Op) -> Result<ValueId> {
    if !importer.straight_through {
        return unary(importer, call, op);
    }
    importer.formula(call, &[call.input(0)?], |v| {
        let along = match op {
            Op::Sign => v[0].apply(Op::Clip {
                min: -1.0,
                max: 1.0,
            }),
            _ => v[0],
        };
        Ok(v[0].apply(op).with(Op::StraightThrough, along))
    })
}

pub(super) fn binary(importer: &mut Importer, call: &Call, op: Op) -> Result<ValueId> {
    importer.add(call, op, &[call.input(0)?, call.input(1)?])
}

pub(super) fn variadic(importer: &mut Importer, call: &Call, op: Op) -> Result<ValueId> {
    let inputs = call.all_inputs()?;
    let (&first, rest) = inputs.split_first().expect("all_inputs has at least one");
    rest.iter().try_fold(first, |total, &input| {
        importer.add(call, op.clone(), &[total, input])
    })
}

pub(super) fn mean(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let sum = variadic(importer, call, Op::Add)?;
    let count = importer.builder.scalar(call.inputs.len() as f32);
    importer.add(call, Op::Div, &[sum, count])
}

pub(super) fn where_(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    importer.add(
        call,
        Op::Where,
        &[call.input(0)?, call.input(1)?, call.input(2)?],
    )
}

pub(super) fn xor(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let equal = binary(importer, call, Op::Equal)?;
    importer.add(call, Op::Not, &[equal])
}

pub(super) fn pow(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let (base, mut exponent) = (call.input(0)?, call.input(1)?);
    let to = importer.dtype(base);
    if importer.dtype(exponent) != to {
        exponent = importer.add(call, Op::Cast { to }, &[exponent])?;
    }
    importer.add(call, Op::Pow, &[base, exponent])
}

pub(super) fn modulo(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let (a, b) = (call.input(0)?, call.input(1)?);
    let fmod = call.flag("fmod", false)?;
    match importer.dtype(a) {
        DType::I64 if fmod => {}
        DType::F32 if !fmod => return Err(call.invalid("takes floats, which requires fmod = 1")),
        _ => return importer.add(call, Op::Mod, &[a, b]),
    }
    // Integer division truncates, so this remainder has the dividend's sign, as in C.
    let quotient = importer.add(call, Op::Div, &[a, b])?;
    let product = importer.add(call, Op::Mul, &[quotient, b])?;
    importer.add(call, Op::Sub, &[a, product])
}

pub(super) fn cast(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    cast_to(importer, call, "to", call.input(0)?)
}

/// Converts a value to the element type that an attribute names.
pub(super) fn cast_to(
    importer: &mut Importer,
    call: &Call,
    attribute: &str,
    x: ValueId,
) -> Result<ValueId> {
    let to = i32::try_from(call.int(attribute, 0)?).unwrap_or(0);
    let dtype = tensors::element_type(to).ok_or_else(|| {
        call.unsupported(format!(
            "cannot convert to the type {}",
            tensors::type_name(to)
        ))
    })?;
    importer.notice(tensors::conversion_notice(to));
    let from = (attribute == "to").then(|| importer.integer_type(call, 0));
    if from
        .flatten()
        .is_some_and(|from| integers::includes(to, from))
    {
        // Quantised values stay floats, so that they keep their gradient.
        return Ok(x);
    }
    let cast = importer.add(call, Op::Cast { to: dtype }, &[x])?;
    importer.formula(call, &[cast], |v| Ok(integers::wrapped(v[0], to)))
}

pub(super) fn cast_like(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let to = importer.dtype(call.input(1)?);
    let cast = importer.add(call, Op::Cast { to }, &[call.input(0)?])?;
    match importer.integer_type(call, 1) {
        Some(to) => importer.formula(call, &[cast], |v| Ok(integers::wrapped(v[0], to))),
        None => Ok(cast),
    }
}

/// Limits are attributes up to operator set 10 and inputs from 11 on.
pub(super) fn clip(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let x = call.input(0)?;
    let mut limits = [f32::NEG_INFINITY, f32::INFINITY];
    if call.opset < 11 {
        // The old defaults are the largest floats, which equals no limit for every finite value.
        limits = [call.float("min", f32::MIN)?, call.float("max", f32::MAX)?];
        let [min, max] = limits;
        return importer.add(call, Op::Clip { min, max }, &[x]);
    }
    let mut computed = x;
    for (limit, (at, op)) in limits.iter_mut().zip([(1, Op::Max), (2, Op::Min)]) {
        let Some(id) = call.optional(at)? else {
            continue;
        };
        let constant = importer.builder.graph().as_constant(id);
        match constant.and_then(|tensor| match (tensor.as_f32(), tensor.as_i64()) {
            (Some(&[value]), _) => Some(value),
            (_, Some(&[value])) => Some(value as f32),
            _ => None,
        }) {
            Some(value) => *limit = value,
            None => computed = importer.add(call, op, &[computed, id])?,
        }
    }
    let [min, max] = limits;
    importer.add(call, Op::Clip { min, max }, &[computed])
}

pub(super) fn elu(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let alpha = call.float("alpha", 1.0)?;
    unary(importer, call, Op::Elu { alpha })
}

/// `alpha * elu(x / alpha)`.
pub(super) fn celu(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let alpha = call.float("alpha", 1.0)?;
    if alpha <= 0.0 {
        return Err(call.unsupported(format!("has alpha {alpha}, which must be positive")));
    }
    importer.formula(call, &[call.input(0)?], |v| {
        Ok((v[0] / alpha).apply(Op::Elu { alpha: 1.0 }) * alpha)
    })
}

/// `gamma * elu(x, alpha)`; the defaults are ONNX's.
pub(super) fn selu(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let alpha = call.float("alpha", 1.673_263_2)?;
    let gamma = call.float("gamma", 1.050_701)?;
    importer.formula(call, &[call.input(0)?], |v| {
        Ok(v[0].apply(Op::Elu { alpha }) * gamma)
    })
}

pub(super) fn leaky_relu(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let alpha = call.float("alpha", 0.01)?;
    unary(importer, call, Op::LeakyRelu { alpha })
}

/// `x > 0 ? x : slope * x`.
pub(super) fn p_relu(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    importer.formula(call, &[call.input(0)?, call.input(1)?], |v| {
        Ok(v[0].greater(0.0).select(v[0], v[0] * v[1]))
    })
}

/// `x > alpha ? x : 0`.
pub(super) fn thresholded_relu(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let alpha = call.float("alpha", 1.0)?;
    importer.formula(call, &[call.input(0)?], |v| {
        Ok(v[0].greater(alpha).select(v[0], 0.0))
    })
}

/// Moves `x` towards 0 by `bias` if it is farther than `lambd` from 0, else returns 0.
pub(super) fn shrink(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let bias = call.float("bias", 0.0)?;
    let edge = call.float("lambd", 0.5)?;
    importer.formula(call, &[call.input(0)?], |v| {
        let above = v[0].greater(edge).select(v[0] - bias, 0.0);
        Ok(v[0].less(-edge).select(v[0] + bias, above))
    })
}

pub(super) fn hard_sigmoid(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let alpha = call.float("alpha", 0.2)?;
    let beta = call.float("beta", 0.5)?;
    unary(importer, call, Op::HardSigmoid { alpha, beta })
}

pub(super) fn gelu(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let tanh = match call.string("approximate", "none")? {
        "none" => false,
        "tanh" => true,
        other => return Err(call.invalid(format!("has the approximation {other:?}"))),
    };
    unary(importer, call, Op::Gelu { tanh })
}

/// An operator of one input that is a formula of others.
pub(super) fn function(
    importer: &mut Importer,
    call: &Call,
    formula: for<'t> fn(Expr<'t>) -> Expr<'t>,
) -> Result<ValueId> {
    importer.formula(call, &[call.input(0)?], |v| Ok(formula(v[0])))
}

/// `x / (1 + |x|)`.
pub(super) fn softsign(x: Expr<'_>) -> Expr<'_> {
    x / (x.apply(Op::Abs) + 1.0)
}

/// `x * tanh(softplus(x))`.
pub(super) fn mish(x: Expr<'_>) -> Expr<'_> {
    x * x.apply(Op::Softplus).apply(Op::Tanh)
}

pub(super) fn tan(x: Expr<'_>) -> Expr<'_> {
    x.apply(Op::Sin) / x.apply(Op::Cos)
}

/// `atan(x / sqrt(1 - x^2))`, whose argument is infinite at both ends.
pub(super) fn asin(x: Expr<'_>) -> Expr<'_> {
    (x / (1.0 - x * x).sqrt()).apply(Op::Atan)
}

pub(super) fn acos(x: Expr<'_>) -> Expr<'_> {
    std::f32::consts::FRAC_PI_2 - asin(x)
}

pub(super) fn sinh(x: Expr<'_>) -> Expr<'_> {
    (x.exp() - (-x).exp()) * 0.5
}

pub(super) fn cosh(x: Expr<'_>) -> Expr<'_> {
    (x.exp() + (-x).exp()) * 0.5
}

/// `ln(x + sqrt(x^2 + 1))`.
pub(super) fn asinh(x: Expr<'_>) -> Expr<'_> {
    (x + (x * x + 1.0).sqrt()).log()
}

/// `ln(x + sqrt(x^2 - 1))`.
pub(super) fn acosh(x: Expr<'_>) -> Expr<'_> {
    (x + (x * x - 1.0).sqrt()).log()
}

/// `ln((1 + x) / (1 - x)) / 2`.
pub(super) fn atanh(x: Expr<'_>) -> Expr<'_> {
    ((x + 1.0) / (1.0 - x)).log() * 0.5
}

/// Only NaN differs from itself.
pub(super) fn is_nan(x: Expr<'_>) -> Expr<'_> {
    x.equal(x).apply(Op::Not)
}

pub(super) fn is_inf(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let sides = [
        (call.flag("detect_positive", true)?, f32::INFINITY),
        (call.flag("detect_negative", true)?, f32::NEG_INFINITY),
    ];
    importer.formula(call, &[call.input(0)?], |v| {
        let found = sides.into_iter().filter(|(wanted, _)| *wanted);
        let found = found.map(|(_, infinity)| v[0].equal(infinity));
        let none = || v[0].equal(v[0]).and(is_nan(v[0]));
        Ok(found.reduce(|a, b| a.with(Op::Or, b)).unwrap_or_else(none))
    })
}

/// `x * sigmoid(alpha * x)`.
pub(super) fn swish(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let alpha = call.float("alpha", 1.0)?;
    importer.formula(call, &[call.input(0)?], |v| {
        Ok(v[0] * (v[0] * alpha).apply(Op::Sigmoid))
    })
}

/// Returns its input, as at inference.
pub(super) fn dropout(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let training = call.optional(2)?;
    let known = training.and_then(|id| importer.builder.graph().as_constant(id));
    match (training, known.and_then(Tensor::as_bool)) {
        (None, _) | (_, Some(&[false])) => call.input(0),
        _ => Err(call.unsupported("is in training mode; export the model in evaluation mode")),
    }
}

pub(super) fn constant(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let tensor = if let Some(tensor) = call.tensor("value")? {
        tensor
    } else if call.has("value_float") {
        Tensor::scalar(call.float("value_float", 0.0)?)
    } else if call.has("value_int") {
        Tensor::i64([], [call.int("value_int", 0)?])?
    } else if let Some(values) = call.floats("value_floats")? {
        Tensor::f32([values.len()], values)?
    } else if let Some(values) = call.ints("value_ints")? {
        Tensor::vector(values)
    } else {
        return Err(call.unsupported("holds no dense numbers"));
    };
    // Some exporters write weights as `Constant` nodes. They count as weights only if they have a name.
    let is_weight = tensor.dtype() == DType::F32 && tensor.len() > 1;
    let name = if is_weight { call.name() } else { "" };
    Ok(importer.builder.constant(name, tensor))
}
