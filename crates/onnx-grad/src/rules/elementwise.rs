//! Elementwise derivatives that take more than one line.

use std::f32::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use crate::{op::Op, tape::Expr};

/// The cotangent times the sign of `x`, which is 0 at 0.
pub(super) fn abs<'t>(x: Expr<'t>, g: Expr<'t>) -> Expr<'t> {
    let gate = |low, high| x.with(Op::Gate { low, high }, g);
    gate(0.0, f32::INFINITY) - gate(f32::NEG_INFINITY, 0.0)
}

/// `2 / sqrt(pi) * exp(-x^2)`.
pub(super) fn erf_slope(x: Expr<'_>) -> Expr<'_> {
    FRAC_2_SQRT_PI * (-x * x).exp()
}

/// `Phi(x) + x * phi(x)`, or the slope of the tanh approximation.
pub(super) fn gelu_slope(x: Expr<'_>, tanh: bool) -> Expr<'_> {
    if tanh {
        let scale = FRAC_2_SQRT_PI * FRAC_1_SQRT_2;
        let square = x * x;
        let t = (x * (square * 0.044_715 + 1.0) * scale).apply(Op::Tanh);
        let inner_slope = (square * (3.0 * 0.044_715) + 1.0) * scale;
        (t + 1.0) * 0.5 + x * 0.5 * (1.0 - t * t) * inner_slope
    } else {
        let distribution = ((x * FRAC_1_SQRT_2).apply(Op::Erf) + 1.0) * 0.5;
        let density = (x * x * -0.5).exp() * (0.5 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2);
        distribution + x * density
    }
}

/// `x / 3 + 1/2` strictly between -3 and 3, else 0 or 1.
pub(super) fn hard_swish_slope(x: Expr<'_>) -> Expr<'_> {
    let inner = x.less(3.0).select(x * (1.0 / 3.0) + 0.5, 1.0);
    x.greater(-3.0).select(inner, 0.0)
}

/// The larger or smaller of two values takes the cotangent; equal values take half each.
pub(super) fn winner<'t>(own: Expr<'t>, other: Expr<'t>, y: Expr<'t>, g: Expr<'t>) -> Expr<'t> {
    own.equal(other)
        .select(g * 0.5, own.equal(y).select(g, 0.0))
}

/// `b * a^(b - 1)`, and 0 for `b = 0` whatever `a` is.
pub(super) fn pow_base<'t>(a: Expr<'t>, b: Expr<'t>, g: Expr<'t>) -> Expr<'t> {
    let exponent = b.as_constant();
    match exponent.as_ref().and_then(|tensor| tensor.as_f32()) {
        Some([2.0]) => g * a * 2.0,
        Some(values) if !values.contains(&0.0) => g * b * a.pow(b - 1.0),
        _ => b.equal(0.0).select(0.0, g * b * a.pow(b - 1.0)),
    }
}

/// `a^b * ln a`, and 0 for `a = 0` with `b >= 0`.
pub(super) fn pow_exponent<'t>(a: Expr<'t>, b: Expr<'t>, y: Expr<'t>, g: Expr<'t>) -> Expr<'t> {
    let flat = a.equal(0.0).and(b.with(Op::GreaterOrEqual, 0.0));
    flat.select(0.0, g * y * a.log())
}
