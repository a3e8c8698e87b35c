//! `GridSample`: reads pictures at computed positions.

use crate::{
    Result,
    dim::Dim,
    import::{Importer, call::Call},
    node::ValueId,
    op::Op,
    shape::fixed_from,
    tape::Expr,
    tensor::DType,
};

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Nearest,
    Linear,
    Cubic,
}

/// How positions outside the picture are treated.
#[derive(Clone, Copy, PartialEq)]
enum Outside {
    Zeros,
    Border,
    Reflection { align_corners: bool },
}

pub(super) fn grid_sample(importer: &mut Importer, call: &Call) -> Result<ValueId> {
    let (x, grid) = (call.input(0)?, call.input(1)?);
    let mode = match call.string("mode", "linear")? {
        "nearest" => Mode::Nearest,
        "linear" | "bilinear" => Mode::Linear,
        "cubic" | "bicubic" => Mode::Cubic,
        other => return Err(call.invalid(format!("has the unknown mode {other:?}"))),
    };
    let align_corners = call.flag("align_corners", false)?;
    let outside = match call.string("padding_mode", "zeros")? {
        "zeros" => Outside::Zeros,
        "border" => Outside::Border,
        "reflection" => Outside::Reflection { align_corners },
        other => return Err(call.invalid(format!("has the padding_mode {other:?}"))),
    };
    if importer.rank(x) != 4 || importer.rank(grid) != 4 {
        return Err(call.unsupported("samples something other than pictures"));
    }
    let sides = [importer.side(call, x, 2)?, importer.side(call, x, 3)?];
    if sides.contains(&0) {
        return Err(call.invalid("samples a picture without pixels"));
    }
    importer.formula(call, &[x, grid], |v| {
        let count = fixed_from(&v[1].shape()[1..3], 0)?;
        let points = [
            v[1].shape()[0],
            Dim::Fixed(1),
            Dim::Fixed(count.iter().product()),
        ];
        // The grid lists the column first; -1 and 1 are the outer edges, or the centres of the outer pixels.
        let [row, column] = [0, 1].map(|axis| {
            let side = sides[axis] as f32;
            let position = v[1].slice(3, 1 - axis, 2 - axis).reshape(points);
            match align_corners {
                true => (position + 1.0) * ((side - 1.0) / 2.0),
                false => (position + 1.0) * (side / 2.0) - 0.5,
            }
        });
        let rows = taps(mode, outside, sides[0], row);
        let columns = taps(mode, outside, sides[1], column);
        let shape = v[0].shape();
        let area = Dim::Fixed(sides[0] * sides[1]);
        let pixels = v[0].reshape([shape[0], shape[1], area]);
        let target = [shape[0], shape[1], points[2]];
        let mut sum: Option<Expr<'_>> = None;
        for row in &rows {
            for column in &columns {
                let index = row.index * sides[1] as f32 + column.index;
                let index = index.apply(Op::Cast { to: DType::I64 }).expand(target);
                let picked = pixels.with(Op::GatherElements { axis: 2 }, index);
                let part = picked * (row.weight * column.weight);
                sum = Some(sum.map_or(part, |sum| sum + part));
            }
        }
        let sum = sum.ok_or_else(|| call.invalid("has no taps"))?;
        Ok(sum.reshape([shape[0], shape[1], v[1].shape()[1], v[1].shape()[2]]))
    })
}

/// A pixel inside an axis, with its weight.
struct Tap<'t> {
    index: Expr<'t>,
    weight: Expr<'t>,
}

fn taps<'t>(mode: Mode, outside: Outside, side: usize, position: Expr<'t>) -> Vec<Tap<'t>> {
    // For the cubic, each neighbour is moved inside separately; otherwise, the position as a whole is.
    let position = match mode {
        Mode::Cubic => position,
        _ => brought_inside(outside, side, position),
    };
    let weighted: Vec<(Expr<'t>, Expr<'t>)> = match mode {
        Mode::Nearest => vec![(position.apply(Op::Round), position * 0.0 + 1.0)],
        Mode::Linear => {
            let first = position.apply(Op::Floor);
            let beyond = position - first;
            vec![(first, 1.0 - beyond), (first + 1.0, beyond)]
        }
        Mode::Cubic => {
            let first = position.apply(Op::Floor);
            let beyond = position - first;
            [-1.0, 0.0, 1.0, 2.0_f32]
                .into_iter()
                .map(|tap| (first + tap, cubic(beyond, tap)))
                .collect()
        }
    };
    let last = side as f32 - 1.0;
    let inside = Op::Clip {
        min: 0.0,
        max: last,
    };
    weighted
        .into_iter()
        .map(|(index, weight)| {
            let index = match mode {
                Mode::Cubic => brought_inside(outside, side, index),
                _ => index,
            };
            let weight = match outside {
                Outside::Zeros => {
                    let within = index.greater(-0.5).and(index.less(last + 0.5));
                    within.select(weight, 0.0)
                }
                Outside::Border | Outside::Reflection { .. } => weight,
            };
            let index = index.apply(Op::Round).apply(inside.clone());
            Tap { index, weight }
        })
        .collect()
}

/// Keys's cubic (1981) with a = -0.75, for the neighbour `tap` of a point at distance `beyond` from its floor.
fn cubic(beyond: Expr<'_>, tap: f32) -> Expr<'_> {
    const A: f32 = -0.75;
    let distance = match tap <= 0.0 {
        true => beyond - tap,
        false => tap - beyond,
    };
    match tap {
        0.0 | 1.0 => (distance * (A + 2.0) - (A + 3.0)) * distance * distance + 1.0,
        _ => (((distance - 5.0) * distance + 8.0) * distance - 4.0) * A,
    }
}

fn brought_inside(outside: Outside, side: usize, position: Expr<'_>) -> Expr<'_> {
    let last = side as f32 - 1.0;
    let inside = Op::Clip {
        min: 0.0,
        max: last,
    };
    match outside {
        Outside::Zeros => position,
        Outside::Border => position.apply(inside),
        Outside::Reflection { align_corners } => {
            let (low, span) = match align_corners {
                true => (0.0, last),
                false => (-0.5, last + 1.0),
            };
            if span == 0.0 {
                return position * 0.0;
            }
            // Every second span is reversed.
            let distance = (position - low).apply(Op::Abs);
            let spans = (distance / span).apply(Op::Floor);
            let rest = distance - spans * span;
            let odd = (spans - (spans * 0.5).apply(Op::Floor) * 2.0).greater(0.5);
            (odd.select(span - rest, rest) + low).apply(inside)
        }
    }
}
