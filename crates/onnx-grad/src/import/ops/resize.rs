//! `Resize` and `Upsample`: along each axis, a product with a matrix of weights.
//!
//! In every interpolation mode, each new element is a weighted sum of old ones, whose weights depend only on the two
//! lengths and the scale. So modes differ in how the matrix is filled, and none needs a gradient rule of its own.
//! Lengths and positions are computed in single precision and in the order of ONNX Runtime: one rounding more or less
//! can select another element for a scale such as 0.7. If ONNX Runtime and ONNX's reference implementation differ, this
//! follows ONNX Runtime.

mod axis;

use crate::{
    Result,
    dim::Dim,
    import::{Importer, call::Call, shapes::Size},
    node::ValueId,
    tape::Expr,
    tensor::Tensor,
};
use axis::{Axis, Coordinates, Mode, Rounding};

/// How all axes are resized.
struct Resampling {
    mode: Mode,
    coordinates: Coordinates,
    /// Whether neighbours outside the axis are ignored, rather than repeating its ends.
    exclude_outside: bool,
    antialias: bool,
    /// The cropped region: where it starts on each axis, then where it ends, as a fraction of the axis.
    region: Vec<f32>,
    /// The value outside the old elements, for [`Coordinates::Crop`].
    outside: f32,
}

/// The new lengths of the axes as the file states them.
enum Target {
    Scales(Vec<f32>),
    Sizes(Vec<Size>),
}

/// Operator set 10, and `Upsample` before it.
pub(super) fn upsample(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let scales = match call.floats("scales")? {
        Some(scales) => scales.to_vec(),
        None => floats(importer, call, 1)?.ok_or_else(|| call.invalid("scales are missing"))?,
    };
    let mode = match call.string("mode", "nearest")? {
        "nearest" => Mode::Nearest(Rounding::Outwards),
        "linear" | "bilinear" => Mode::Linear,
        other => return Err(call.invalid(format!("has the unknown mode {other:?}"))),
    };
    let axes: Vec<usize> = (0..importer.rank(call.input(0)?)).collect();
    let resampling = Resampling {
        mode,
        coordinates: Coordinates::Asymmetric,
        exclude_outside: false,
        antialias: false,
        region: Vec::new(),
        outside: 0.0,
    };
    resampled(importer, call, &axes, Target::Scales(scales), &resampling)
}

pub(super) fn resize(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    if call.opset < 11 {
        return upsample(importer, call);
    }
    let rank = importer.rank(call.input(0)?);
    let axes = match call.ints("axes")?.filter(|axes| !axes.is_empty()) {
        Some(axes) => (axes.iter())
            .map(|&axis| call.axis(axis, rank))
            .collect::<Result<Vec<_>>>()?,
        None => (0..rank).collect(),
    };
    if (1..axes.len()).any(|at| axes[..at].contains(&axes[at])) {
        return Err(call.invalid("names an axis twice"));
    }
    let coordinates = coordinates(call)?;
    let crops = coordinates == Coordinates::Crop;
    let region = match crops {
        true => floats(importer, call, 1)?.ok_or_else(|| call.invalid("has no region"))?,
        false => Vec::new(),
    };
    if crops && region.len() != 2 * axes.len() {
        return Err(call.invalid(format!(
            "has {} numbers for its region, which must be two for each axis",
            region.len()
        )));
    }
    let resampling = Resampling {
        mode: mode(call)?,
        coordinates,
        exclude_outside: call.flag("exclude_outside", false)?,
        antialias: call.flag("antialias", false)?,
        region,
        outside: match crops {
            true => call.float("extrapolation_value", 0.0)?,
            false => 0.0,
        },
    };
    let target = match floats(importer, call, 2)? {
        Some(scales) => Target::Scales(scales),
        None => Target::Sizes(importer.size_list(call, 3)?.unwrap_or_default()),
    };
    resampled(importer, call, &axes, target, &resampling)
}

fn mode(call: &Call) -> Result<Mode> {
    Ok(match call.string("mode", "nearest")? {
        "nearest" if call.flag("antialias", false)? => {
            return Err(call.invalid("has antialias, which the mode \"nearest\" does not support"));
        }
        "nearest" => Mode::Nearest(match call.string("nearest_mode", "round_prefer_floor")? {
            "round_prefer_floor" => Rounding::HalfDown,
            "round_prefer_ceil" => Rounding::HalfUp,
            "floor" => Rounding::Floor,
            "ceil" => Rounding::Ceil,
            other => return Err(call.invalid(format!("has the unknown nearest_mode {other:?}"))),
        }),
        "linear" => Mode::Linear,
        "cubic" => Mode::Cubic {
            a: call.float("cubic_coeff_a", -0.75)?,
        },
        other => return Err(call.invalid(format!("has the unknown mode {other:?}"))),
    })
}

fn coordinates(call: &Call) -> Result<Coordinates> {
    let name = call.string("coordinate_transformation_mode", "half_pixel")?;
    Ok(match name {
        "half_pixel" => Coordinates::HalfPixel,
        "half_pixel_symmetric" => Coordinates::HalfPixelSymmetric,
        "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
        "align_corners" => Coordinates::AlignCorners,
        "asymmetric" => Coordinates::Asymmetric,
        "tf_half_pixel_for_nn" => Coordinates::TfHalfPixelForNearest,
        "tf_crop_and_resize" => Coordinates::Crop,
        _ => {
            return Err(call.invalid(format!(
                "has the unknown coordinate_transformation_mode {name:?}"
            )));
        }
    })
}

/// Returns the floats of a constant input; `None` if it is absent or empty.
fn floats(importer: &Importer, call: &Call, at: usize) -> Result<Option<Vec<f32>>> {
    let Some(id) = call.optional(at)? else {
        return Ok(None);
    };
    let constant = importer.builder.graph().as_constant(id);
    let values = constant
        .and_then(Tensor::as_f32)
        .ok_or_else(|| call.unsupported(format!("input {at} depends on the picture's values")))?;
    Ok((!values.is_empty()).then(|| values.to_vec()))
}

/// An axis to resize, and its position among the axes that the node names.
struct Resized {
    axis: usize,
    at: usize,
    old: usize,
    new: usize,
    scale: f32,
}

/// Returns the axes with their new lengths, without a batch axis that keeps its length.
fn lengths(
    importer: &Importer,
    call: &Call,
    axes: &[usize],
    target: &Target,
) -> Result<Vec<Resized>> {
    let count = match target {
        Target::Scales(scales) => scales.len(),
        Target::Sizes(sizes) => sizes.len(),
    };
    if count != axes.len() {
        return Err(call.invalid(format!("has {count} lengths for {} axes", axes.len())));
    }
    let dims = importer.dims(call.input(0)?);
    let mut found = Vec::new();
    for (at, &axis) in axes.iter().enumerate() {
        let old = match dims[axis] {
            Dim::Fixed(old) => old,
            Dim::Batch(_) => {
                let stays = match target {
                    Target::Scales(scales) => scales[at] == 1.0,
                    Target::Sizes(sizes) => {
                        sizes[at] == dims[axis].into()
                            || importer.freed && sizes[at] == Size::Known(1)
                    }
                };
                match stays {
                    true => continue,
                    false => return Err(call.unsupported("resizes the batch axis")),
                }
            }
        };
        let (new, scale) = match target {
            Target::Scales(scales) => {
                let length = (scales[at] * old as f32).floor();
                (within(call, length, scales[at])?, scales[at])
            }
            Target::Sizes(sizes) => match sizes[at] {
                Size::Known(size) => {
                    let new = call.size("sizes", size)?;
                    (new, new as f32 / old.max(1) as f32)
                }
                Size::Batch(_) => return Err(call.unsupported("resizes an axis to the batch size")),
            },
        };
        found.push(Resized {
            axis,
            at,
            old,
            new,
            scale,
        });
    }
    match target {
        Target::Sizes(_) => keep_aspect_ratio(call, found, axes.len()),
        Target::Scales(_) => Ok(found),
    }
}

/// Returns the common scale of all axes if the node asks for one.
fn keep_aspect_ratio(call: &Call, mut axes: Vec<Resized>, named: usize) -> Result<Vec<Resized>> {
    let pick = match call.string("keep_aspect_ratio_policy", "stretch")? {
        "stretch" => return Ok(axes),
        "not_larger" => f32::min,
        "not_smaller" => f32::max,
        other => {
            return Err(call.invalid(format!(
                "has the unknown keep_aspect_ratio_policy {other:?}"
            )));
        }
    };
    // A batch axis keeps its length, which is the scale 1.
    let batch = (axes.len() < named).then_some(1.0);
    let scales = axes.iter().map(|axis| axis.scale).chain(batch);
    let scale = scales
        .reduce(pick)
        .ok_or_else(|| call.invalid("has neither scales nor sizes"))?;
    if batch.is_some() && scale != 1.0 {
        return Err(call.unsupported("keeps an aspect ratio that includes the batch axis"));
    }
    for axis in &mut axes {
        axis.scale = scale;
        axis.new = within(call, (scale * axis.old as f32).round(), scale)?;
    }
    Ok(axes)
}

/// Returns a computed length if it is valid.
fn within(call: &Call, length: f32, scale: f32) -> Result<usize> {
    match (0.0..=16_777_216.0).contains(&length) {
        true => Ok(length as usize),
        false => Err(call.invalid(format!("has the invalid scale {scale}"))),
    }
}

fn resampled(
    importer: &mut Importer,
    call: &Call,
    axes: &[usize],
    target: Target,
    how: &Resampling,
) -> Result<ValueId> {
    let mut value = call.input(0)?;
    let resized = lengths(importer, call, axes, &target)?;
    // This holds even if the scale says otherwise, or a region is cropped.
    if resized.iter().all(|axis| axis.new == axis.old) {
        return Ok(value);
    }
    let mut inside = Vec::new();
    for &Resized {
        axis,
        at,
        old,
        new,
        scale,
    } in &resized
    {
        if old == 0 || new == 0 || new.saturating_mul(old) > 1 << 26 {
            return Err(call.unsupported(format!("cannot resize a side of {old} to {new}")));
        }
        let crop = (how.region.get(at)).zip(how.region.get(at + axes.len()));
        let rows = Axis {
            mode: how.mode,
            coordinates: how.coordinates,
            crop: crop.map_or([0.0, 1.0], |(&start, &end)| [start, end]),
            exclude_outside: how.exclude_outside,
            antialias: how.antialias,
            old,
            new,
            scale,
        }
        .rows();
        if rows.iter().any(Vec::is_empty) {
            let is_inside = |row: &Vec<_>| f32::from(u8::from(!row.is_empty()));
            inside.push((axis, rows.iter().map(is_inside).collect::<Vec<f32>>()));
        }
        value = importer.formula(call, &[value], |v| axis::product(&rows, old, axis, v[0]))?;
    }
    match how.outside {
        0.0 => Ok(value),
        outside => importer.formula(call, &[value], |v| Ok(filled(v[0], &inside, outside))),
    }
}

/// Replaces a value by a number where it is outside along at least one axis.
fn filled<'t>(x: Expr<'t>, inside: &[(usize, Vec<f32>)], outside: f32) -> Expr<'t> {
    let rank = x.rank();
    let along = |(axis, inside): &(usize, Vec<f32>)| {
        let mut shape = vec![1; rank];
        shape[*axis] = inside.len();
        x.tape().floats(shape, inside.clone())
    };
    match inside.iter().map(along).reduce(|a, b| a * b) {
        Some(inside) => inside.greater(0.5).select(x, outside),
        None => x,
    }
}
