//! Operators that work element by element.

use crate::{
    Result,
    graph::ValueId,
    import::{Importer, call::Call, tensors},
    op::Op,
    tensor::{DType, Tensor},
};

pub(super) fn unary(importer: &mut Importer, call: &Call, op: Op) -> Result<ValueId> {
    importer.add(call, op, &[call.input(0)?])
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
    if !call.flag("fmod", false)? && importer.dtype(a) == DType::I64 {
        return importer.add(call, Op::Mod, &[a, b]);
    }
    if importer.dtype(a) != DType::I64 {
        return Err(call.unsupported("takes the remainder of floats"));
    }
    // Integer division truncates, so this remainder has the dividend's sign, as in C.
    let quotient = importer.add(call, Op::Div, &[a, b])?;
    let product = importer.add(call, Op::Mul, &[quotient, b])?;
    importer.add(call, Op::Sub, &[a, product])
}

pub(super) fn cast(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let to = i32::try_from(call.int("to", 0)?).unwrap_or(0);
    let dtype = tensors::element_type(to).ok_or_else(|| {
        call.unsupported(format!("converts to the type {}", tensors::type_name(to)))
    })?;
    importer.notice(tensors::conversion_notice(to));
    importer.add(call, Op::Cast { to: dtype }, &[call.input(0)?])
}

pub(super) fn cast_like(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let to = importer.dtype(call.input(1)?);
    importer.add(call, Op::Cast { to }, &[call.input(0)?])
}

/// Limits are attributes up to operator set 10, inputs since.
pub(super) fn clip(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let x = call.input(0)?;
    let mut limits = [f32::NEG_INFINITY, f32::INFINITY];
    if call.opset < 11 {
        // The old defaults are the largest floats: the same as no limit for every finite value.
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
        return Err(call.unsupported(format!("has alpha {alpha}, needs one above 0")));
    }
    let scale = importer.builder.scalar(alpha);
    let scaled = importer.add(call, Op::Div, &[call.input(0)?, scale])?;
    let bent = importer.add(call, Op::Elu { alpha: 1.0 }, &[scaled])?;
    importer.add(call, Op::Mul, &[bent, scale])
}

/// `gamma * elu(x, alpha)`; the defaults are ONNX's.
pub(super) fn selu(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let alpha = call.float("alpha", 1.673_263_2)?;
    let gamma = call.float("gamma", 1.050_701)?;
    let bent = unary(importer, call, Op::Elu { alpha })?;
    let gamma = importer.builder.scalar(gamma);
    importer.add(call, Op::Mul, &[bent, gamma])
}

pub(super) fn leaky_relu(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let alpha = call.float("alpha", 0.01)?;
    unary(importer, call, Op::LeakyRelu { alpha })
}

/// `x > 0 ? x : slope * x`.
pub(super) fn p_relu(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let (x, slope) = (call.input(0)?, call.input(1)?);
    let zero = importer.builder.scalar(0.0);
    let positive = importer.add(call, Op::Greater, &[x, zero])?;
    let scaled = importer.add(call, Op::Mul, &[x, slope])?;
    importer.add(call, Op::Where, &[positive, x, scaled])
}

/// `x > alpha ? x : 0`.
pub(super) fn thresholded_relu(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let x = call.input(0)?;
    let alpha = importer.builder.scalar(call.float("alpha", 1.0)?);
    let above = importer.add(call, Op::Greater, &[x, alpha])?;
    let zero = importer.builder.scalar(0.0);
    importer.add(call, Op::Where, &[above, x, zero])
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

/// `x / (1 + |x|)`.
pub(super) fn softsign(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let size = unary(importer, call, Op::Abs)?;
    let one = importer.builder.scalar(1.0);
    let divisor = importer.add(call, Op::Add, &[size, one])?;
    importer.add(call, Op::Div, &[call.input(0)?, divisor])
}

/// `x * sigmoid(alpha * x)`.
pub(super) fn swish(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let x = call.input(0)?;
    let alpha = importer.builder.scalar(call.float("alpha", 1.0)?);
    let scaled = importer.add(call, Op::Mul, &[x, alpha])?;
    let gate = importer.add(call, Op::Sigmoid, &[scaled])?;
    importer.add(call, Op::Mul, &[x, gate])
}

/// `x * tanh(softplus(x))`.
pub(super) fn mish(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let soft = unary(importer, call, Op::Softplus)?;
    let gate = importer.add(call, Op::Tanh, &[soft])?;
    importer.add(call, Op::Mul, &[call.input(0)?, gate])
}

/// At inference, its input.
pub(super) fn dropout(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let training = call
        .optional(2)?
        .and_then(|id| importer.builder.graph().as_constant(id))
        .and_then(Tensor::as_bool);
    match training {
        Some(&[true]) => Err(call.unsupported("is in training mode; export in evaluation mode")),
        _ => call.input(0),
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
    // Some exporters write weights as nodes: only a name makes them weights.
    let is_weight = tensor.dtype() == DType::F32 && tensor.len() > 1;
    let name = if is_weight { call.name() } else { "" };
    Ok(importer.builder.constant(name, tensor))
}
