//! Operators on quantised values, computed on floats that hold integers.
//!
//! Sums of products of bytes are exact up to 2^24, as with the 32-bit integers of engines; larger sums are rounded to
//! single precision.

use super::{
    nn::{convolution, pool, product},
    quantize::{Range, dynamic, limits, rounded},
};
use crate::{
    Result,
    import::{Importer, call::Call},
    node::ValueId,
    op::{Op, Reduction},
    tape::Expr,
};

/// When a zero point is added. ONNX Runtime's kernels differ in it, which affects values halfway between two integers.
#[derive(Clone, Copy, PartialEq)]
enum Shift {
    BeforeRounding,
    AfterRounding,
}

impl Importer {
    /// Returns a zero point; 0 if the node has none.
    fn zero(&mut self, call: &Call, at: usize, axis: usize, rank: usize) -> Result<ValueId> {
        match call.optional(at)? {
            Some(id) => self.along(call, id, axis, rank),
            None => Ok(self.builder.scalar(0.0)),
        }
    }

    /// Returns the input `at` minus its zero point `zero_at`, which may have an entry for each index of an axis.
    fn centred(
        &mut self,
        call: &Call,
        at: usize,
        zero_at: usize,
        axis: impl Fn(usize) -> usize,
    ) -> Result<ValueId> {
        let id = call.input(at)?;
        let (x, rank) = (self.whole(call, id)?, self.rank(id));
        let zero = self.zero(call, zero_at, axis(rank), rank)?;
        self.formula(call, &[x, zero], |v| Ok(v[0] - v[1]))
    }

    /// Dequantises the input `at`, whose scale and zero point are the next two inputs.
    fn dequantised(&mut self, call: &Call, at: usize) -> Result<ValueId> {
        let x = self.centred(call, at, at + 2, |_| 0)?;
        let scale = self.along(call, call.input(at + 1)?, 0, 1)?;
        self.formula(call, &[x, scale], |v| Ok(v[0] * v[1]))
    }

    /// Returns the range of the type of a zero point, or else of the first input.
    fn limits(&self, call: &Call, zero_at: usize) -> Result<Range> {
        let data_type = self.integer_type(call, zero_at);
        let data_type = data_type.or_else(|| self.integer_type(call, 0));
        limits(call, data_type.unwrap_or_default())
    }

    /// Quantises a value times factors; the scale is the input `at`, the zero point the next one.
    fn quantised(
        &mut self,
        call: &Call,
        x: ValueId,
        factors: &[ValueId],
        at: usize,
        shift: Shift,
    ) -> Result<ValueId> {
        let limits = self.limits(call, at + 1)?;
        let scale = self.along(call, call.input(at)?, 0, 1)?;
        let zero = self.zero(call, at + 1, 0, 1)?;
        let inputs = [&[x, scale, zero], factors].concat();
        self.formula(call, &inputs, |v| {
            let factor = v[3..].iter().copied().reduce(|a, b| a * b);
            let scaled = match factor {
                Some(factor) => v[0] * (factor / v[1]),
                None => v[0] / v[1],
            };
            Ok(match shift {
                Shift::BeforeRounding => rounded(scaled + v[2], None, limits),
                Shift::AfterRounding => rounded(scaled, Some(v[2]), limits),
            })
        })
    }
}

fn first(_: usize) -> usize {
    0
}

fn last(rank: usize) -> usize {
    rank.saturating_sub(1)
}

fn last_but_one(rank: usize) -> usize {
    rank.saturating_sub(2)
}

pub(super) fn conv_integer(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let x = importer.centred(call, 0, 2, first)?;
    let weight = importer.centred(call, 1, 3, first)?;
    convolution(importer, call, &[x, weight])
}

pub(super) fn q_linear_conv(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let x = importer.centred(call, 0, 2, first)?;
    let weight = importer.centred(call, 3, 5, first)?;
    let mut inputs = vec![x, weight];
    if let Some(bias) = call.optional(8)? {
        inputs.push(importer.whole(call, bias)?);
    }
    let sum = convolution(importer, call, &inputs)?;
    let rank = importer.rank(sum);
    let scales = [
        importer.along(call, call.input(1)?, 0, 1)?,
        importer.along(call, call.input(4)?, 1, rank)?,
    ];
    importer.quantised(call, sum, &scales, 6, Shift::AfterRounding)
}

pub(super) fn matmul_integer(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let a = importer.centred(call, 0, 2, last_but_one)?;
    let b = importer.centred(call, 1, 3, last)?;
    product(importer, call, a, b)
}

pub(super) fn q_linear_matmul(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let a = importer.centred(call, 0, 2, last_but_one)?;
    let b = importer.centred(call, 3, 5, last)?;
    let sum = product(importer, call, a, b)?;
    let rank = importer.rank(sum);
    let scales = [
        importer.along(call, call.input(1)?, last_but_one(rank), rank)?,
        importer.along(call, call.input(4)?, last(rank), rank)?,
    ];
    importer.quantised(call, sum, &scales, 6, Shift::AfterRounding)
}

pub(super) fn matmul_integer_to_float(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let a = importer.centred(call, 0, 4, last_but_one)?;
    let b = importer.centred(call, 1, 5, last)?;
    let sum = product(importer, call, a, b)?;
    let rank = importer.rank(sum);
    let scales = [
        importer.along(call, call.input(2)?, last_but_one(rank), rank)?,
        importer.along(call, call.input(3)?, last(rank), rank)?,
    ];
    let inputs: Vec<ValueId> = [sum]
        .into_iter()
        .chain(scales)
        .chain(call.optional(6)?)
        .collect();
    importer.formula(call, &inputs, |v| Ok(scaled_and_shifted(v)))
}

pub(super) fn dynamic_quantize_matmul(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let quantised = importer.formulas(call, &[call.input(0)?], |v| {
        let [x, scale, zero] = dynamic(v[0]);
        Ok(vec![x - zero, scale])
    })?;
    let b = importer.centred(call, 1, 3, last)?;
    let sum = product(importer, call, quantised[0], b)?;
    let rank = importer.rank(sum);
    let scale = importer.along(call, call.input(2)?, last(rank), rank)?;
    let inputs = [sum, quantised[1], scale];
    let inputs: Vec<ValueId> = inputs.into_iter().chain(call.optional(4)?).collect();
    importer.formula(call, &inputs, |v| Ok(scaled_and_shifted(v)))
}

/// A sum times two scales, plus an optional bias.
fn scaled_and_shifted<'t>(v: &[Expr<'t>]) -> Expr<'t> {
    let scaled = v[0] * (v[1] * v[2]);
    match v.get(3) {
        Some(&bias) => scaled + bias,
        None => scaled,
    }
}

/// A matrix product, plus a bias on the product's scale; the result is float if the node has no output scale.
pub(super) fn q_gemm(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let a = importer.centred(call, 0, 2, first)?;
    let b = importer.centred(call, 3, 5, |_| {
        usize::from(!call.flag("transB", false).unwrap_or(false))
    })?;
    let mut inputs = vec![a, b];
    if let Some(bias) = call.optional(6)? {
        inputs.push(importer.whole(call, bias)?);
    }
    let gemm = Op::Gemm {
        alpha: 1.0,
        beta: 1.0,
        trans_a: call.flag("transA", false)?,
        trans_b: call.flag("transB", false)?,
    };
    let sum = importer.add(call, gemm, &inputs)?;
    let alpha = importer.builder.scalar(call.float("alpha", 1.0)?);
    let scales = [
        importer.along(call, call.input(1)?, 0, 1)?,
        importer.along(call, call.input(4)?, 1, 2)?,
        alpha,
    ];
    if call.optional(7)?.is_some() {
        return importer.quantised(call, sum, &scales, 7, Shift::AfterRounding);
    }
    let inputs = [&[sum], &scales[..]].concat();
    importer.formula(call, &inputs, |v| Ok(v[0] * (v[1] * v[2] * v[3])))
}

/// A sum on the output's scale, zero points included, computed in the order of ONNX Runtime.
pub(super) fn q_linear_add(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let limits = importer.limits(call, 7)?;
    let mut inputs = Vec::new();
    for at in [0, 3] {
        let x = call.input(at)?;
        inputs.push(importer.whole(call, x)?);
        inputs.push(importer.along(call, call.input(at + 1)?, 0, 1)?);
        inputs.push(importer.zero(call, at + 2, 0, 1)?);
    }
    inputs.push(importer.along(call, call.input(6)?, 0, 1)?);
    inputs.push(importer.zero(call, 7, 0, 1)?);
    importer.formula(call, &inputs, |v| {
        let &[a, a_scale, a_zero, b, b_scale, b_zero, scale, zero] = v else {
            return Err(call.invalid("has too few inputs"));
        };
        let (a_ratio, b_ratio) = (a_scale / scale, b_scale / scale);
        let shift = zero - (a_ratio * a_zero + b_ratio * b_zero);
        Ok(rounded(b * b_ratio + (a * a_ratio + shift), None, limits))
    })
}

pub(super) fn q_linear_mul(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let values = [
        importer.centred(call, 0, 2, first)?,
        importer.centred(call, 3, 5, first)?,
    ];
    let product = importer.add(call, Op::Mul, &values)?;
    let scales = [
        importer.along(call, call.input(1)?, 0, 1)?,
        importer.along(call, call.input(4)?, 0, 1)?,
    ];
    importer.quantised(call, product, &scales, 6, Shift::BeforeRounding)
}

pub(super) fn q_linear_unary(importer: &mut Importer, call: &Call, op: Op) -> Result<ValueId> {
    let value = importer.dequantised(call, 0)?;
    let result = importer.add(call, op, &[value])?;
    importer.quantised(call, result, &[], 3, Shift::AfterRounding)
}

pub(super) fn q_linear_leaky_relu(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let alpha = call.float("alpha", 0.01)?;
    q_linear_unary(importer, call, Op::LeakyRelu { alpha })
}

fn channels_first(call: &Call) -> Result<()> {
    match call.flag("channels_last", false)? {
        true => Err(call.unsupported("has its channels in the last axis")),
        false => Ok(()),
    }
}

pub(super) fn q_linear_average_pool(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    channels_first(call)?;
    let value = importer.dequantised(call, 0)?;
    let mut pool = pool(importer, call, value)?;
    let count_include_pad = call.flag("count_include_pad", false)?;
    if count_include_pad {
        // Unlike in float pooling, the padding that `ceil_mode` adds counts.
        pool.ceil_extra.fill(0);
    }
    let mean = Op::AveragePool {
        pool,
        count_include_pad,
    };
    let result = importer.add(call, mean, &[value])?;
    importer.quantised(call, result, &[], 3, Shift::BeforeRounding)
}

pub(super) fn q_linear_global_average_pool(
    importer: &mut Importer,
    call: &Call,
) -> Result<ValueId> {
    channels_first(call)?;
    let value = importer.dequantised(call, 0)?;
    let mean = Op::Reduce {
        kind: Reduction::Mean,
        axes: (2..importer.rank(value)).collect(),
        keep_dims: true,
    };
    let result = importer.add(call, mean, &[value])?;
    importer.quantised(call, result, &[], 3, Shift::AfterRounding)
}

/// Scale and zero point of the output are the first inputs.
pub(super) fn q_linear_concat(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let values: Vec<ValueId> = (2..call.inputs.len())
        .step_by(3)
        .map(|at| importer.dequantised(call, at))
        .collect::<Result<_>>()?;
    let first = *values
        .first()
        .ok_or_else(|| call.invalid("input 2 is missing"))?;
    let axis = call.axis(call.int("axis", 0)?, importer.rank(first))?;
    let joined = importer.add(call, Op::Concat { axis }, &values)?;
    importer.quantised(call, joined, &[], 0, Shift::AfterRounding)
}
