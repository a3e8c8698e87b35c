//! The table of derivatives.
//!
//! A rule is a formula for the cotangent of one input of an operator, given the cotangent `g` of the output. The driver
//! ([`crate::gradient`]) asks only for inputs that matter, sums over axes that were broadcast, and adds the cotangents
//! of several uses, so rules need not do this. `docs/conventions.md` lists the conventions on which authors differ.

mod conv;
#[cfg(test)]
mod conventions;
mod elementwise;
mod linear;
mod norm;
pub(crate) mod pool;
mod reduce;
mod slice;
#[cfg(test)]
mod tests;

use crate::{Result, op::Op, tape::Expr, tensor::DType};

/// The parts of a node that a rule sees.
pub(crate) struct Site<'a, 't> {
    /// The node's inputs.
    pub(crate) inputs: &'a [Expr<'t>],
    /// Its output.
    pub(crate) y: Expr<'t>,
    /// The cotangent of its output.
    pub(crate) g: Expr<'t>,
}

/// The cotangent of one input of an operator.
pub(crate) enum Cotangent<'t> {
    /// Zero: the output does not change with this input, or only in jumps that the conventions treat as constant.
    Zero,
    /// A value of the output's shape if the operator broadcasts, otherwise of the input's shape.
    Value(Expr<'t>),
    /// There is no derivative, for this reason.
    NotDifferentiable(&'static str),
}

/// Returns the cotangent of input number `input` of an operator, with one line per operator and input.
#[rustfmt::skip] // A table reads by its columns.
pub(crate) fn vjp<'t>(op: &Op, site: &Site<'_, 't>, input: usize) -> Result<Cotangent<'t>> {
    use Cotangent::{NotDifferentiable, Zero};
    use Op::*;

    let Site { inputs, y, g } = *site;
    let (x, a, b) = (inputs[0], inputs[0], inputs[inputs.len() - 1]);
    Ok(Cotangent::Value(match (op, input) {
        // The winner of a window, the gate and the choice of a branch change in jumps.
        (MaxPoolGrad(_), 0 | 1) | (Gate { .. } | Where, 0) => return Ok(Zero),
        (StraightThrough, 0) => return Ok(Zero),

        (Abs, _) => elementwise::abs(x, g),
        (Add, _) => g,
        (Atan, _) => g / (1.0 + x * x),
        (AveragePool { pool, count_include_pad }, _) => pool::average(pool, *count_include_pad, x, g)?,
        (BatchNormalization { epsilon }, _) => norm::batch(*epsilon, site, input),
        (Cast { to: DType::F32 }, _) => g,
        (Clip { min, max }, _) => y.with(Gate { low: *min, high: *max }, g),
        (Concat { axis }, _) => linear::concat(*axis, inputs, input, g)?,
        (Conv(convolution), 0) => conv::input(convolution, &x.shape(), inputs[1], g)?,
        (Conv(convolution), 1) => conv::weight(convolution, x, &inputs[1].shape(), g)?,
        (Conv(_), _) => conv::bias(g),
        (ConvTranspose { convolution, .. }, 0) => conv::transposed_input(convolution, &x.shape(), inputs[1], g)?,
        (ConvTranspose { convolution, .. }, 1) => conv::weight(convolution, g, &inputs[1].shape(), x)?,
        (ConvTranspose { .. }, _) => conv::bias(g),
        (ConvWeightGrad { convolution, .. }, 0) => conv::input(convolution, &x.shape(), g, b)?,
        (ConvWeightGrad { convolution, .. }, _) => x.with(Conv(convolution.clone()), g),
        (Cos, _) => -g * x.apply(Sin),
        (Div, 0) => g / b,
        (Div, _) => -g * y / b,
        (Elu { alpha }, _) => x.greater(0.0).select(g, g * (y + *alpha)),
        (Erf, _) => g * elementwise::erf_slope(x),
        (Exp, _) => g * y,
        (Expand { .. }, _) => g,
        (Gate { .. }, _) => x.with(op.clone(), g),
        (Gather { axis }, 0) => linear::gather(*axis, x, inputs[1], g)?,
        (GatherElements { axis }, 0) => linear::gather_elements(*axis, x, inputs[1], g),
        (Gelu { tanh }, _) => g * elementwise::gelu_slope(x, *tanh),
        (Gemm { alpha, trans_a, trans_b, .. }, 0) => linear::gemm_a(*alpha, *trans_a, *trans_b, inputs[1], g),
        (Gemm { alpha, trans_a, trans_b, .. }, 1) => linear::gemm_b(*alpha, *trans_a, *trans_b, a, g),
        (Gemm { beta, .. }, _) => g * *beta,
        (HardSigmoid { alpha, .. }, _) => y.with(Gate { low: 0.0, high: 1.0 }, g * *alpha),
        (HardSwish, _) => g * elementwise::hard_swish_slope(x),
        (LayerNormalization { axis, epsilon }, _) => norm::layer(*axis, *epsilon, site, input),
        (LeakyRelu { alpha }, _) => x.greater(0.0).select(g, g * *alpha),
        (Log, _) => g / x,
        (LogSoftmax { axis }, _) => g - y.exp() * g.sum([*axis]),
        (MatMul, 0) => g.matmul(b.transpose_matrices()),
        (MatMul, _) => a.transpose_matrices().matmul(g),
        (Max, _) => elementwise::winner(inputs[input], inputs[1 - input], y, g),
        (MaxPool(pool), _) => g.tape().apply(MaxPoolGrad(pool.clone()), &[x, y, g]),
        (Min, _) => elementwise::winner(inputs[input], inputs[1 - input], y, g),
        (Mod, 0) => g,
        (Mod, _) => g * (y - a) / b,
        (Mul, 0) => g * b,
        (Mul, _) => g * a,
        (Neg, _) => -g,
        (Pad { mode, before, after }, _) => linear::pad(*mode, before, after, &x.shape(), g),
        (Pow, 0) => elementwise::pow_base(a, b, g),
        (Pow, _) => elementwise::pow_exponent(a, b, y, g),
        (Reciprocal, _) => -g * y * y,
        (Reduce { kind, axes, .. }, _) => reduce::reduce(*kind, axes, x, y, g)?,
        (Relu, _) => y.with(Gate { low: 0.0, high: f32::INFINITY }, g),
        (Reshape { .. }, _) => g.reshape(x.shape()),
        (ScatterAdd { .. }, 0) => g,
        (ScatterAdd { axis }, 2) => g.with(GatherElements { axis: *axis }, inputs[1]),
        (Sigmoid, _) => g * y * (1.0 - y),
        (Sin, _) => g * x.apply(Cos),
        (Slice { axes, starts, steps, .. }, _) => slice::slice(axes, starts, steps, &x.shape(), g)?,
        (Softmax { axis }, _) => y * (g - (g * y).sum([*axis])),
        (Softplus, _) => g * (x - y).exp(),
        (Sqrt, _) => g / (2.0 * y),
        (StraightThrough, _) => g,
        (Sub, 0) => g,
        (Sub, _) => -g,
        (Tanh, _) => g * (1.0 - y * y),
        (Tile { repeats }, _) => linear::tile(repeats, &x.shape(), g),
        (Transpose { perm }, _) => g.transpose(linear::inverse(perm)),
        (Where, 1) => x.select(g, 0.0),
        (Where, _) => x.select(0.0, g),

        // Constant except for jumps, as in PyTorch.
        (Ceil | Floor | Round | Sign, _) => return Ok(Zero),
        // Indices.
        (Gather { .. } | GatherElements { .. } | ScatterAdd { .. }, _) => return Ok(Zero),
        (Input | Constant(_), _) => return Ok(Zero),

        (And | Equal | Greater | GreaterOrEqual | Less | LessOrEqual | Not | Or, _) =>
            return Ok(NotDifferentiable("its result is Boolean")),
        (ArgMax { .. } | Cast { .. } | MaxPoolIndices(_) | TopK { .. }, _) => return Ok(NotDifferentiable("its result is not a float")),
        (MaxPoolGrad(_), _) => return Ok(NotDifferentiable("a second derivative of MaxPool is not implemented")),
    }))
}
