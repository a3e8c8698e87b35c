//! `Resize` and `Upsample`: along each axis a product with a matrix of weights.
//!
//! Every mode of interpolation makes each new element a weighted sum of old ones, with weights that depend on the two
//! lengths alone. So the modes differ in how the matrix is filled, and none needs a rule of its own.

use crate::{
    Result,
    dim::Dim,
    import::{Importer, call::Call, shapes::Size},
    node::ValueId,
    op::Op,
    tape::Expr,
    tensor::Tensor,
};

/// How new elements are made of old ones.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Nearest(Rounding),
    Linear,
    Cubic { a: f64 },
}

#[derive(Clone, Copy, PartialEq)]
enum Rounding {
    HalfDown,
    HalfUp,
    Floor,
    Ceil,
}

/// Where new elements lie between the old ones.
#[derive(Clone, Copy, PartialEq)]
enum Coordinates {
    HalfPixel,
    HalfPixelSymmetric,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
    TfHalfPixelForNearest,
    /// Part of the axis, in units of its length.
    TfCropAndResize {
        start: f64,
        end: f64,
    },
}

/// How one axis is resized.
struct Resampling {
    mode: Mode,
    coordinates: Coordinates,
    /// Whether neighbours outside the axis count for nothing, rather than repeat its ends.
    exclude_outside: bool,
    antialias: bool,
    old: usize,
    new: usize,
    /// New length by old length, as the file states it.
    scale: f64,
}

/// The version of operator set 10, and `Upsample` before it.
pub(super) fn upsample(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let scales = match call.floats("scales")? {
        Some(scales) => scales.iter().map(|&scale| f64::from(scale)).collect(),
        None => scales(importer, call, 1)?.ok_or_else(|| call.invalid("lacks scales"))?,
    };
    let mode = match call.string("mode", "nearest")? {
        "nearest" => Mode::Nearest(Rounding::Floor),
        "linear" | "bilinear" => Mode::Linear,
        other => return Err(call.invalid(format!("has the mode {other:?}"))),
    };
    let x = call.input(0)?;
    let axes: Vec<usize> = (0..importer.rank(x)).collect();
    resampled(importer, call, &axes, Target::Scales(scales), |_| {
        Resampling {
            mode,
            coordinates: Coordinates::Asymmetric,
            exclude_outside: false,
            antialias: false,
            old: 0,
            new: 0,
            scale: 1.0,
        }
    })
}

pub(super) fn resize(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    if call.opset < 11 {
        return upsample(importer, call);
    }
    let rank = importer.rank(call.input(0)?);
    let axes = match call.ints("axes")? {
        Some(axes) => axes
            .iter()
            .map(|&axis| call.axis(axis, rank))
            .collect::<Result<_>>()?,
        None => (0..rank).collect::<Vec<_>>(),
    };
    let mode = match call.string("mode", "nearest")? {
        "nearest" => Mode::Nearest(match call.string("nearest_mode", "round_prefer_floor")? {
            "round_prefer_floor" => Rounding::HalfDown,
            "round_prefer_ceil" => Rounding::HalfUp,
            "floor" => Rounding::Floor,
            "ceil" => Rounding::Ceil,
            other => return Err(call.invalid(format!("has the nearest_mode {other:?}"))),
        }),
        "linear" => Mode::Linear,
        "cubic" => Mode::Cubic {
            a: f64::from(call.float("cubic_coeff_a", -0.75)?),
        },
        other => return Err(call.invalid(format!("has the mode {other:?}"))),
    };
    let named = match call.string("coordinate_transformation_mode", "half_pixel")? {
        "half_pixel" => Coordinates::HalfPixel,
        "half_pixel_symmetric" => Coordinates::HalfPixelSymmetric,
        "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
        "align_corners" => Coordinates::AlignCorners,
        "asymmetric" => Coordinates::Asymmetric,
        "tf_half_pixel_for_nn" => Coordinates::TfHalfPixelForNearest,
        "tf_crop_and_resize" => Coordinates::TfCropAndResize {
            start: 0.0,
            end: 1.0,
        },
        other => {
            return Err(call.invalid(format!("has the coordinate_transformation_mode {other:?}")));
        }
    };
    let crops = matches!(named, Coordinates::TfCropAndResize { .. });
    let region = match crops {
        true => scales(importer, call, 1)?.ok_or_else(|| call.invalid("lacks a region"))?,
        false => Vec::new(),
    };
    if crops && region.len() != 2 * axes.len() {
        return Err(call.invalid(format!("has a region of {} numbers", region.len())));
    }
    if crops && call.float("extrapolation_value", 0.0)? != 0.0 {
        return Err(call.unsupported("fills what lies outside with another number than 0"));
    }
    let exclude_outside = call.flag("exclude_outside", false)?;
    let antialias = call.flag("antialias", false)?;
    let target = target(importer, call, &axes)?;
    let count = axes.len();
    resampled(importer, call, &axes, target, |at| Resampling {
        mode,
        coordinates: match named {
            Coordinates::TfCropAndResize { .. } => Coordinates::TfCropAndResize {
                start: region[at],
                end: region[at + count],
            },
            other => other,
        },
        exclude_outside,
        antialias,
        old: 0,
        new: 0,
        scale: 1.0,
    })
}

/// What the file says of the new lengths, axis by axis.
enum Target {
    Scales(Vec<f64>),
    Sizes(Vec<Size>),
}

/// A list of floats that an input states; `None` where it is absent or empty.
fn scales(importer: &Importer, call: &Call, at: usize) -> Result<Option<Vec<f64>>> {
    let Some(id) = call.optional(at)? else {
        return Ok(None);
    };
    let constant = importer.builder.graph().as_constant(id);
    let values = constant.and_then(Tensor::as_f32).ok_or_else(|| {
        call.unsupported(format!("input {at} is computed from the picture's values"))
    })?;
    let values: Vec<f64> = values.iter().map(|&value| f64::from(value)).collect();
    Ok((!values.is_empty()).then_some(values))
}

fn target(importer: &Importer, call: &Call, axes: &[usize]) -> Result<Target> {
    if let Some(scales) = scales(importer, call, 2)? {
        return Ok(Target::Scales(scales));
    }
    let sizes = importer.size_list(call, 3)?.unwrap_or_default();
    let policy = call.string("keep_aspect_ratio_policy", "stretch")?;
    if policy == "stretch" {
        return Ok(Target::Sizes(sizes));
    }
    let dims = importer.dims(call.input(0)?);
    let mut ratios = Vec::new();
    for (&axis, size) in axes.iter().zip(&sizes) {
        match (dims[axis], size) {
            (Dim::Fixed(side @ 1..), &Size::Known(size)) => ratios.push(size as f64 / side as f64),
            _ => return Err(call.unsupported("keeps an aspect ratio with the batch's")),
        }
    }
    let pick = match policy {
        "not_larger" => f64::min,
        "not_smaller" => f64::max,
        other => return Err(call.invalid(format!("has the keep_aspect_ratio_policy {other:?}"))),
    };
    let ratio = ratios.iter().copied().reduce(pick);
    let ratio = ratio.ok_or_else(|| call.invalid("lacks scales and sizes"))?;
    // Each length is rounded by itself, but all positions follow the one ratio.
    Ok(Target::Scales(vec![ratio; axes.len()]))
}

fn resampled(
    importer: &mut Importer,
    call: &Call,
    axes: &[usize],
    target: Target,
    resampling: impl Fn(usize) -> Resampling,
) -> Result<ValueId> {
    let mut value = call.input(0)?;
    let dims = importer.dims(value);
    let count = match &target {
        Target::Scales(scales) => scales.len(),
        Target::Sizes(sizes) => sizes.len(),
    };
    if count != axes.len() {
        return Err(call.invalid(format!("has {count} lengths for {} axes", axes.len())));
    }
    let rounds = call.string("keep_aspect_ratio_policy", "stretch")? != "stretch";
    for (at, &axis) in axes.iter().enumerate() {
        let Dim::Fixed(old) = dims[axis] else {
            let kept = match &target {
                Target::Scales(scales) => scales[at] == 1.0,
                Target::Sizes(sizes) => {
                    sizes[at] == dims[axis].into() || importer.freed && sizes[at] == Size::Known(1)
                }
            };
            match kept {
                true => continue,
                false => return Err(call.unsupported("resizes the batch axis")),
            }
        };
        let (new, scale) = match &target {
            Target::Scales(scales) => {
                let length = old as f64 * scales[at];
                let length = if rounds {
                    (length + 0.5).floor()
                } else {
                    length.floor()
                };
                if !(0.0..=f64::from(1 << 24)).contains(&length) {
                    return Err(call.invalid(format!("has the scale {}", scales[at])));
                }
                (length as usize, scales[at])
            }
            Target::Sizes(sizes) => match sizes[at] {
                Size::Known(size) => {
                    let new = call.size("sizes", size)?;
                    (new, new as f64 / old.max(1) as f64)
                }
                Size::Batch(_) => return Err(call.unsupported("resizes to the batch size")),
            },
        };
        let resampling = Resampling {
            old,
            new,
            scale,
            ..resampling(at)
        };
        let crops = matches!(resampling.coordinates, Coordinates::TfCropAndResize { .. });
        if new == old && scale == 1.0 && !crops {
            continue;
        }
        if old == 0 || new == 0 || new.saturating_mul(old) > 1 << 26 {
            return Err(call.unsupported(format!("resizes a side of {old} to {new}")));
        }
        value = importer.formula(call, &[value], |v| resampling.apply(axis, v[0]))?;
    }
    Ok(value)
}

impl Resampling {
    fn apply<'t>(&self, axis: usize, x: Expr<'t>) -> Result<Expr<'t>> {
        let rows: Vec<Vec<(usize, f64)>> = (0..self.new).map(|at| self.row(at)).collect();
        if let Some(picked) = self.repeated(&rows, axis, x) {
            return picked;
        }
        let mut weights = vec![0.0_f64; self.old * self.new];
        for (new, row) in rows.iter().enumerate() {
            for &(old, weight) in row {
                weights[new * self.old + old] += weight;
            }
        }
        let (rank, old, new) = (x.rank(), self.old, self.new);
        let by_new = |weights: &[f64]| weights.iter().map(|&weight| weight as f32).collect();
        let matrix = |x: Expr<'t>| x.tape().floats(vec![new, old], by_new(&weights));
        let before_last = rank.checked_sub(2);
        if before_last == Some(axis) {
            return Ok(matrix(x).matmul(x));
        }
        // Other axes take the last one's place; a matrix product takes matrices.
        let mut to_last: Vec<usize> = (0..rank).collect();
        to_last.swap(axis, rank - 1);
        let moved = x.transpose(to_last.clone());
        let transposed = matrix(x).transpose([1, 0]);
        if rank > 1 {
            return Ok(moved.matmul(transposed).transpose(to_last));
        }
        let row = moved.reshape([Dim::Fixed(1), Dim::Fixed(old)]);
        Ok(row.matmul(transposed).reshape([Dim::Fixed(new)]))
    }

    /// What only picks elements: each several times in a row, or none twice.
    fn repeated<'t>(
        &self,
        rows: &[Vec<(usize, f64)>],
        axis: usize,
        x: Expr<'t>,
    ) -> Option<Result<Expr<'t>>> {
        let picked: Option<Vec<usize>> = rows
            .iter()
            .map(|row| match row[..] {
                [(old, 1.0)] => Some(old),
                _ => None,
            })
            .collect();
        let picked = picked?;
        let factor = self.new / self.old;
        if factor > 0
            && picked
                .iter()
                .enumerate()
                .all(|(at, &old)| at / factor == old)
        {
            let shape = x.shape();
            let mut apart = shape.clone();
            apart.insert(axis + 1, Dim::Fixed(1));
            let mut wide = shape.clone();
            wide.insert(axis + 1, Dim::Fixed(factor));
            let mut joined = shape;
            joined[axis] = Dim::Fixed(self.new);
            return Some(Ok(x.reshape(apart).expand(wide).reshape(joined)));
        }
        if picked.windows(2).all(|pair| pair[0] < pair[1]) {
            let indices: Vec<i64> = picked.iter().map(|&old| old as i64).collect();
            let indices = x.tape().constant(Tensor::vector(&indices));
            return Some(Ok(x.with(Op::Gather { axis }, indices)));
        }
        None
    }

    /// The old elements that a new one is made of, with their weights.
    fn row(&self, at: usize) -> Vec<(usize, f64)> {
        let position = self.position(at);
        let last = self.old as f64 - 1.0;
        let crops = matches!(self.coordinates, Coordinates::TfCropAndResize { .. });
        if crops && !(0.0..=last).contains(&position) {
            return Vec::new();
        }
        let inside = |index: f64| index.clamp(0.0, last) as usize;
        if let Mode::Nearest(rounding) = self.mode {
            let nearest = match rounding {
                Rounding::HalfDown => (position - 0.5).ceil(),
                Rounding::HalfUp => (position + 0.5).floor(),
                Rounding::Floor => position.floor(),
                Rounding::Ceil => position.ceil(),
            };
            return vec![(inside(nearest), 1.0)];
        }
        // A filter that makes smaller is as much wider; what lies between its taps is averaged.
        let shrink = match self.antialias {
            true => self.scale.min(1.0),
            false => 1.0,
        };
        let reach = match self.mode {
            Mode::Cubic { .. } => 2.0,
            _ => 1.0,
        } / shrink;
        let (first, end) = ((position - reach).floor() + 1.0, (position + reach).ceil());
        let taps = (0..(end - first).max(1.0) as usize).map(|tap| first + tap as f64);
        let mut taps: Vec<(f64, f64)> = taps
            .map(|tap| (tap, self.weight((tap - position) * shrink)))
            .filter(|&(tap, _)| !self.exclude_outside || (0.0..=last).contains(&tap))
            .collect();
        let total: f64 = taps.iter().map(|(_, weight)| weight).sum();
        if (self.antialias || self.exclude_outside) && total != 0.0 {
            taps.iter_mut().for_each(|(_, weight)| *weight /= total);
        }
        let taps = taps.into_iter().filter(|&(_, weight)| weight != 0.0);
        taps.map(|(tap, weight)| (inside(tap), weight)).collect()
    }

    /// The filter at a distance: a triangle, or the cubic of Keys (1981).
    fn weight(&self, distance: f64) -> f64 {
        let x = distance.abs();
        match self.mode {
            Mode::Cubic { a } if x <= 1.0 => ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0,
            Mode::Cubic { a } if x < 2.0 => a * (((x - 5.0) * x + 8.0) * x - 4.0),
            Mode::Cubic { .. } => 0.0,
            _ => (1.0 - x).max(0.0),
        }
    }

    /// Where a new element lies among the old ones.
    fn position(&self, at: usize) -> f64 {
        let at = at as f64;
        let (old, new, scale) = (self.old as f64, self.new as f64, self.scale);
        let half_pixel = (at + 0.5) / scale - 0.5;
        match self.coordinates {
            Coordinates::HalfPixel => half_pixel,
            Coordinates::HalfPixelSymmetric => {
                let rounded_off = new / (scale * old);
                old / 2.0 * (1.0 - rounded_off) + half_pixel
            }
            Coordinates::PytorchHalfPixel if new <= 1.0 => 0.0,
            Coordinates::PytorchHalfPixel => half_pixel,
            Coordinates::AlignCorners if new <= 1.0 => 0.0,
            Coordinates::AlignCorners => at * (old - 1.0) / (new - 1.0),
            Coordinates::Asymmetric => at / scale,
            Coordinates::TfHalfPixelForNearest => (at + 0.5) / scale,
            Coordinates::TfCropAndResize { start, end } if new <= 1.0 => {
                (start + end) / 2.0 * (old - 1.0)
            }
            Coordinates::TfCropAndResize { start, end } => {
                start * (old - 1.0) + at * (end - start) * (old - 1.0) / (new - 1.0)
            }
        }
    }
}
