//! Quantised values, as floats that hold integers.
//!
//! Rounding has no gradient of its own. The straight-through rule gives it that of what is rounded, and none where the
//! integers' range cuts off; PyTorch's `fake_quantize` does the same.

use crate::{
    Result,
    dim::Dim,
    import::{Importer, call::Call},
    node::ValueId,
    op::Op,
    proto::DataType,
    tensor::DType,
};

/// Smallest and largest integer of a quantised type.
fn range(call: &Call, data_type: i32) -> Result<(f32, f32)> {
    Ok(match DataType::try_from(data_type) {
        Ok(DataType::Uint8) => (0.0, 255.0),
        Ok(DataType::Int8) => (-128.0, 127.0),
        Ok(DataType::Uint16) => (0.0, 65535.0),
        Ok(DataType::Int16) => (-32768.0, 32767.0),
        _ => {
            return Err(call.unsupported(format!(
                "quantises to the type {}",
                super::super::tensors::type_name(data_type)
            )));
        }
    })
}

/// Scale and zero point laid along the axis of `x` that has one for each index.
fn by_axis(importer: &mut Importer, call: &Call, x: ValueId) -> Result<Vec<ValueId>> {
    if call.int("block_size", 0)? != 0 {
        return Err(call.unsupported("has a scale for each block"));
    }
    let rank = importer.rank(x);
    let mut laid = Vec::new();
    let scale = call.input(1)?;
    for mut id in std::iter::once(scale).chain(call.optional(2)?) {
        if let &[side] = &importer.dims(id)[..]
            && side != Dim::Fixed(1)
        {
            let axis = call.axis(call.int("axis", 1)?, rank)?;
            let mut shape = vec![Dim::Fixed(1); rank];
            shape[axis] = side;
            id = importer.reshaped(call, id, shape)?;
        } else {
            id = importer.reshaped(call, id, Vec::new())?;
        }
        laid.push(importer.add(call, Op::Cast { to: DType::F32 }, &[id])?);
    }
    Ok(laid)
}

/// `clip(round(x / scale) + zero point)`.
pub(super) fn quantize_linear(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let x = call.input(0)?;
    let data_type = match call.int("output_dtype", 0)? {
        0 => importer
            .narrow_type(call, 2)
            .unwrap_or(DataType::Uint8 as i32),
        stated => i32::try_from(stated).unwrap_or(0),
    };
    let (min, max) = range(call, data_type)?;
    let parameters = by_axis(importer, call, x)?;
    let inputs: Vec<ValueId> = std::iter::once(x).chain(parameters).collect();
    importer.formula(call, &inputs, |v| {
        let scaled = v[0] / v[1];
        // What rounds to an integer of the range is inside it.
        let edges = [(scaled.apply(Op::Round), 0.0), (scaled, 0.5)];
        let [rounded, through] = edges.map(|(value, beyond)| {
            let shifted = match v.get(2) {
                Some(&zero_point) => value + zero_point,
                None => value,
            };
            shifted.apply(Op::Clip {
                min: min - beyond,
                max: max + beyond,
            })
        });
        Ok(rounded.with(Op::StraightThrough, through))
    })
}

/// `(x - zero point) * scale`.
pub(super) fn dequantize_linear(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let x = call.input(0)?;
    let parameters = by_axis(importer, call, x)?;
    let inputs: Vec<ValueId> = std::iter::once(x).chain(parameters).collect();
    importer.formula(call, &inputs, |v| {
        let x = v[0].apply(Op::Cast { to: DType::F32 });
        let shifted = match v.get(2) {
            Some(&zero_point) => x - zero_point,
            None => x,
        };
        Ok(shifted * v[1])
    })
}
