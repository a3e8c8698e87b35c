//! `Resize` along one axis: the old elements that make up each new one.

use crate::{Result, dim::Dim, op::Op, tape::Expr, tensor::Tensor};

/// Maximum distance from the midpoint of two elements at which a position counts as halfway: 1e-6 in ONNX Runtime 1.32,
/// whose issue 28291 gives the reason; 0 in older versions.
const HALFWAY: f32 = 1e-6;

/// The interpolation mode.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Mode {
    Nearest(Rounding),
    Linear,
    /// Keys's cubic (1981) with the coefficient `a`.
    Cubic {
        a: f32,
    },
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Rounding {
    HalfDown,
    HalfUp,
    Floor,
    Ceil,
    /// Up if the axis shrinks, down if it grows, as in operator set 10.
    Outwards,
}

/// How positions of new elements map to positions between old ones.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Coordinates {
    HalfPixel,
    HalfPixelSymmetric,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
    TfHalfPixelForNearest,
    /// Within a region of the axis; new elements outside the axis have no old elements.
    Crop,
}

/// How one axis is resized.
pub(super) struct Axis {
    pub(super) mode: Mode,
    pub(super) coordinates: Coordinates,
    /// Start and end of the cropped region, as fractions of the axis.
    pub(super) crop: [f32; 2],
    pub(super) exclude_outside: bool,
    pub(super) antialias: bool,
    pub(super) old: usize,
    pub(super) new: usize,
    /// New length divided by old length, as the file states it.
    pub(super) scale: f32,
}

/// Distinct old elements with their weights.
pub(super) type Row = Vec<(usize, f32)>;

impl Axis {
    /// The old elements of each new one; empty if it lies outside the axis.
    pub(super) fn rows(&self) -> Vec<Row> {
        (0..self.new).map(|at| self.row(at)).collect()
    }

    fn row(&self, at: usize) -> Row {
        let position = self.position(at);
        let last = (self.old - 1) as f32;
        if self.coordinates == Coordinates::Crop && !(0.0..=last).contains(&position) {
            return Vec::new();
        }
        if self.antialias {
            // An axis that keeps its length is copied, whatever its scale.
            return match self.new == self.old {
                true => vec![(at, 1.0)],
                false => self.filtered(position),
            };
        }
        match self.mode {
            Mode::Nearest(rounding) => {
                let is_halfway = (position - position.floor() - 0.5).abs() <= HALFWAY;
                let nearest = match rounding {
                    Rounding::HalfDown if is_halfway => position.floor(),
                    Rounding::HalfUp if is_halfway => position.ceil(),
                    Rounding::HalfDown | Rounding::HalfUp => position.round(),
                    Rounding::Floor => position.floor(),
                    Rounding::Ceil => position.ceil(),
                    Rounding::Outwards if self.scale < 1.0 => position.ceil(),
                    Rounding::Outwards => position.trunc(),
                };
                vec![(nearest.clamp(0.0, last) as usize, 1.0)]
            }
            Mode::Linear => {
                let position = position.clamp(0.0, last);
                let before = position.floor();
                let weight = position - before;
                self.row_of([(before as i64, 1.0 - weight), (before as i64 + 1, weight)])
            }
            Mode::Cubic { .. } => {
                let before = position.floor();
                let taps = [-1.0, 0.0, 1.0, 2.0].map(|step| {
                    let weight = self.weight(position - before - step);
                    ((before + step) as i64, weight)
                });
                self.row_of(taps)
            }
        }
    }

    /// When the axis shrinks, the filter widens by the same factor, so that everything between its taps is averaged.
    fn filtered(&self, position: f32) -> Row {
        let shrink = (1.0 / self.scale).max(1.0);
        let reach = match self.mode {
            Mode::Cubic { .. } => 2.0,
            Mode::Nearest(_) | Mode::Linear => 1.0,
        };
        let (centre, reach) = (position + 0.5, reach * shrink);
        let [first, end] = [centre - reach, centre + reach].map(|edge| (edge + 0.5).floor() as i64);
        let weight = |tap: i64| self.weight((tap as f32 - centre + 0.5) / shrink);
        self.row_of((first..end).map(|tap| (tap, weight(tap))))
    }

    /// Maps taps to elements of the axis: taps outside it repeat its ends or are ignored.
    fn row_of(&self, taps: impl IntoIterator<Item = (i64, f32)>) -> Row {
        let last = self.old as i64 - 1;
        let mut row = Row::new();
        let mut total = 0.0;
        for (tap, weight) in taps {
            if self.exclude_outside && !(0..=last).contains(&tap) {
                continue;
            }
            total += weight;
            let element = tap.clamp(0, last) as usize;
            match row.last_mut() {
                Some((same, sum)) if *same == element => *sum += weight,
                _ => row.push((element, weight)),
            }
        }
        if (self.exclude_outside || self.antialias) && total != 0.0 {
            row.iter_mut().for_each(|(_, weight)| *weight /= total);
        }
        // An empty row would mean an element outside the axis.
        match row.iter().all(|&(_, weight)| weight == 0.0) {
            true => row,
            false => row
                .into_iter()
                .filter(|&(_, weight)| weight != 0.0)
                .collect(),
        }
    }

    /// Evaluates the filter at a distance: a triangle or the cubic.
    fn weight(&self, distance: f32) -> f32 {
        let x = distance.abs();
        match self.mode {
            Mode::Cubic { a } if x <= 1.0 => ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0,
            Mode::Cubic { a } if x < 2.0 => a * (((x - 5.0) * x + 8.0) * x - 4.0),
            Mode::Cubic { .. } => 0.0,
            Mode::Nearest(_) | Mode::Linear => (1.0 - x).max(0.0),
        }
    }

    /// Returns the position of a new element among the old ones.
    fn position(&self, at: usize) -> f32 {
        let at = at as f32;
        let (old, new, scale) = (self.old as f32, self.new as f32, self.scale);
        let half_pixel = (at + 0.5) / scale - 0.5;
        match self.coordinates {
            // This takes precedence over the coordinate rule, even if a region is cropped.
            _ if scale == 1.0 => at,
            Coordinates::HalfPixel => half_pixel,
            Coordinates::HalfPixelSymmetric => {
                let rounded_off = new / (scale * old);
                let offset = old / 2.0 * (1.0 - rounded_off);
                let half_pixel = (f64::from(at) + 0.5) / f64::from(scale) - 0.5;
                (f64::from(offset) + half_pixel) as f32
            }
            Coordinates::PytorchHalfPixel if new <= 1.0 => 0.0,
            Coordinates::PytorchHalfPixel => half_pixel,
            Coordinates::AlignCorners if new <= 1.0 => 0.0,
            Coordinates::AlignCorners => at * (old - 1.0) / (new - 1.0),
            Coordinates::Asymmetric => at / scale,
            Coordinates::TfHalfPixelForNearest => (at + 0.5) / scale,
            Coordinates::Crop => {
                let [start, end] = self.crop;
                match new <= 1.0 {
                    true => (0.5 * f64::from(start + end) * f64::from(old - 1.0)) as f32,
                    false => start * (old - 1.0) + at * (end - start) * (old - 1.0) / (new - 1.0),
                }
            }
        }
    }
}

/// Resamples an axis of length `old` of a value.
pub(super) fn product<'t>(rows: &[Row], old: usize, axis: usize, x: Expr<'t>) -> Result<Expr<'t>> {
    if let Some(picked) = repeated(rows, old, axis, x) {
        return picked;
    }
    let new = rows.len();
    let mut weights = vec![0.0; old * new];
    for (at, row) in rows.iter().enumerate() {
        for &(element, weight) in row {
            weights[at * old + element] += weight;
        }
    }
    let rank = x.rank();
    let matrix = x.tape().floats(vec![new, old], weights);
    if rank.checked_sub(2) == Some(axis) {
        return Ok(matrix.matmul(x));
    }
    // A matrix product takes matrices, so other axes move in place of the last one.
    let mut to_last: Vec<usize> = (0..rank).collect();
    to_last.swap(axis, rank - 1);
    let moved = x.transpose(to_last.clone());
    let transposed = matrix.transpose([1, 0]);
    if rank > 1 {
        return Ok(moved.matmul(transposed).transpose(to_last));
    }
    let row = moved.reshape([Dim::Fixed(1), Dim::Fixed(old)]);
    Ok(row.matmul(transposed).reshape([Dim::Fixed(new)]))
}

/// Handles weights that only select elements: each repeated several times in a row, or none used twice.
fn repeated<'t>(rows: &[Row], old: usize, axis: usize, x: Expr<'t>) -> Option<Result<Expr<'t>>> {
    let single = |row: &Row| match row[..] {
        [(element, 1.0)] => Some(element),
        _ => None,
    };
    let picked: Option<Vec<usize>> = rows.iter().map(single).collect();
    let picked = picked?;
    let (new, factor) = (rows.len(), rows.len() / old);
    let in_order = |(at, &element): (usize, &usize)| at / factor == element;
    if factor > 0 && picked.iter().enumerate().all(in_order) {
        let shape = x.shape();
        let mut apart = shape.clone();
        apart.insert(axis + 1, Dim::Fixed(1));
        let mut wide = shape.clone();
        wide.insert(axis + 1, Dim::Fixed(factor));
        let mut joined = shape;
        joined[axis] = Dim::Fixed(new);
        return Some(Ok(x.reshape(apart).expand(wide).reshape(joined)));
    }
    if picked.windows(2).all(|pair| pair[0] < pair[1]) {
        let indices: Vec<i64> = picked.iter().map(|&element| element as i64).collect();
        let indices = x.tape().constant(Tensor::vector(&indices));
        return Some(Ok(x.with(Op::Gather { axis }, indices)));
    }
    None
}
