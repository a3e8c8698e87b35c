//! Quantised values, held as floats with integer values.
//!
//! Rounding has no useful gradient of its own. The straight-through rule passes the gradient through the rounding, and
//! stops it where values are clipped to the integers' range; PyTorch's `fake_quantize` does the same.

use crate::{
    Result,
    dim::Dim,
    import::{Importer, call::Call, ops::Outputs, tensors},
    node::ValueId,
    op::{Op, Reduction},
    proto::DataType,
    tape::Expr,
    tensor::DType,
};

/// Smallest and largest integer of a quantised type.
pub(super) type Range = (f32, f32);

/// Returns the range of the type number `data_type`.
pub(super) fn limits(call: &Call, data_type: i32) -> Result<Range> {
    Ok(match DataType::try_from(data_type) {
        Ok(DataType::Uint8) => (0.0, 255.0),
        Ok(DataType::Int8) => (-128.0, 127.0),
        Ok(DataType::Uint16) => (0.0, 65535.0),
        Ok(DataType::Int16) => (-32768.0, 32767.0),
        _ => {
            return Err(call.unsupported(format!(
                "cannot quantise to the type {}",
                tensors::type_name(data_type)
            )));
        }
    })
}

impl Importer {
    /// Returns the type number that `QuantizeLinear` quantises to.
    pub(crate) fn quantised_type(&self, call: &Call) -> i32 {
        match call.int("output_dtype", 0) {
            Ok(0) => (self.integer_type(call, 2)).unwrap_or(DataType::Uint8 as i32),
            stated => stated.map_or(0, |stated| i32::try_from(stated).unwrap_or(0)),
        }
    }

    /// Returns a value of integers as floats.
    pub(super) fn whole(&mut self, call: &Call, id: ValueId) -> Result<ValueId> {
        match self.dtype(id) {
            DType::F32 => Ok(id),
            _ => self.add(call, Op::Cast { to: DType::F32 }, &[id]),
        }
    }

    /// Accepts one number for a whole value of a rank, or one for each index of an axis.
    pub(super) fn along(
        &mut self,
        call: &Call,
        id: ValueId,
        axis: usize,
        rank: usize,
    ) -> Result<ValueId> {
        let shape = match self.dims(id)[..] {
            [side] if side != Dim::Fixed(1) => {
                let mut shape = vec![Dim::Fixed(1); rank];
                shape[axis] = side;
                shape
            }
            _ => Vec::new(),
        };
        let laid = self.reshaped(call, id, shape)?;
        self.whole(call, laid)
    }
}

/// Reshapes scale and zero point to align with the axis of `x` that has one for each index.
fn by_axis(importer: &mut Importer, call: &Call, x: ValueId) -> Result<Vec<ValueId>> {
    if call.int("block_size", 0)? != 0 {
        return Err(call.unsupported("has a scale for each block"));
    }
    let rank = importer.rank(x);
    let scale = call.input(1)?;
    let mut laid = Vec::new();
    for id in std::iter::once(scale).chain(call.optional(2)?) {
        let axis = match importer.dims(id).len() {
            1 if rank > 1 => call.axis(call.int("axis", 1)?, rank)?,
            _ => 0,
        };
        laid.push(importer.along(call, id, axis, rank)?);
    }
    Ok(laid)
}

/// `clip(round(scaled) + zero point)`.
pub(super) fn rounded<'t>(scaled: Expr<'t>, zero: Option<Expr<'t>>, (min, max): Range) -> Expr<'t> {
    // A value inside the range also rounds to an integer inside it.
    let edges = [(scaled.apply(Op::Round), 0.0), (scaled, 0.5)];
    let [rounded, through] = edges.map(|(value, beyond)| {
        let shifted = match zero {
            Some(zero) => value + zero,
            None => value,
        };
        shifted.apply(Op::Clip {
            min: min - beyond,
            max: max + beyond,
        })
    });
    rounded.with(Op::StraightThrough, through)
}

/// `clip(round(x / scale) + zero point)`.
pub(super) fn quantize_linear(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let x = call.input(0)?;
    let limits = limits(call, importer.quantised_type(call))?;
    let parameters = by_axis(importer, call, x)?;
    let x = importer.whole(call, x)?;
    let inputs: Vec<ValueId> = std::iter::once(x).chain(parameters).collect();
    importer.formula(call, &inputs, |v| {
        Ok(rounded(v[0] / v[1], v.get(2).copied(), limits))
    })
}

/// `(x - zero point) * scale`.
pub(super) fn dequantize_linear(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let x = call.input(0)?;
    let parameters = by_axis(importer, call, x)?;
    let x = importer.whole(call, x)?;
    let inputs: Vec<ValueId> = std::iter::once(x).chain(parameters).collect();
    importer.formula(call, &inputs, |v| {
        let shifted = match v.get(2) {
            Some(&zero_point) => v[0] - zero_point,
            None => v[0],
        };
        Ok(shifted * v[1])
    })
}

/// Quantises all of `x` to bytes with one scale and zero point, across pictures; returns also these two.
pub(super) fn dynamic(x: Expr<'_>) -> [Expr<'_>; 3] {
    let all: Vec<usize> = (0..x.rank()).collect();
    let extreme = |kind| x.reduce(kind, all.clone()).reshape([]);
    let most = extreme(Reduction::Max).with(Op::Max, 0.0);
    let least = extreme(Reduction::Min).with(Op::Min, 0.0);
    let span = most - least;
    let scale = span.greater(0.0).select(span / 255.0, 1.0);
    let zero = rounded(-least / scale, None, (0.0, 255.0));
    [rounded(x / scale, Some(zero), (0.0, 255.0)), scale, zero]
}

pub(super) fn dynamic_quantize_linear(importer: &mut Importer, call: &Call) -> Result<Outputs> {
    let outputs = importer.formulas(call, &[call.input(0)?], |v| Ok(dynamic(v[0]).to_vec()))?;
    Ok(outputs.into_iter().map(Into::into).collect())
}
