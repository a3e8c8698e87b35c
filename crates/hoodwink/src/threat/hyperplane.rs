//! Projections onto a hyperplane within a box: the nearest points at which a linear classifier changes its decision.
//!
//! FAB (Croce and Hein, arXiv 1907.02044, section 3) moves along such projections, onto the linearised boundary between
//! two classes.

use super::{Bounds, Norm, level::level};

/// The points `x` with `<normal, x> = offset`.
#[derive(Clone, Copy, Debug)]
pub struct Hyperplane<'a> {
    /// A vector orthogonal to the hyperplane, of any length. Its values may be zero.
    pub normal: &'a [f32],
    /// The inner product of the normal vector with any point of the hyperplane.
    pub offset: f64,
}

/// How one value may move towards the hyperplane.
struct Way {
    /// How much nearer a move of length 1 brings the point.
    slope: f64,
    /// The distance to the bound; 0 if the slope is 0.
    room: f64,
}

impl Way {
    /// Returns how much nearer a move to the bound brings the point.
    fn gain(&self) -> f64 {
        self.slope * self.room
    }
}

impl Hyperplane<'_> {
    /// Returns the point of hyperplane and box that is nearest to `point` in this norm. If they do not meet, returns
    /// the point of the box that is nearest to the hyperplane: then each value with a nonzero normal is at a bound.
    ///
    /// A `point` outside the box is first moved to the nearest point inside.
    ///
    /// # Panics
    /// If the normal vector and the point have different lengths.
    pub fn nearest(&self, norm: Norm, point: &[f32], bounds: &Bounds) -> Vec<f32> {
        assert_eq!(self.normal.len(), point.len());
        let mut x = point.to_vec();
        bounds.clamp(&mut x);
        let terms = x.iter().zip(self.normal);
        let height: f64 = terms.map(|(&x, &n)| f64::from(x) * f64::from(n)).sum();
        let missing = self.offset - height;
        let upwards = |normal: f32| (normal > 0.0) == (missing > 0.0);
        let way = |(at, (&x, &normal)): (usize, (&f32, &f32))| {
            let (low, high) = bounds.at(at);
            let slope = f64::from(normal).abs();
            let room = match slope > 0.0 {
                true if upwards(normal) => high - f64::from(x),
                true => f64::from(x) - low,
                false => 0.0,
            };
            Way { slope, room }
        };
        let ways: Vec<Way> = x.iter().zip(self.normal).enumerate().map(way).collect();
        let moves = moves(norm, missing.abs(), &ways);
        for ((x, &normal), size) in x.iter_mut().zip(self.normal).zip(moves) {
            let moved = if upwards(normal) { size } else { -size };
            *x = (f64::from(*x) + moved) as f32;
        }
        x
    }
}

/// Returns the smallest moves, none beyond its room, that bring the point nearer by `missing` in total.
fn moves(norm: Norm, missing: f64, ways: &[Way]) -> Vec<f64> {
    match norm {
        // All moves have the same size.
        Norm::Linf => {
            let size = level(missing, ways.iter().map(|way| (way.slope, way.gain())));
            ways.iter().map(|way| way.room.min(size)).collect()
        }
        // Each move is proportional to its slope.
        Norm::L2 => {
            let squares = ways.iter().map(|way| (way.slope * way.slope, way.gain()));
            let scale = level(missing, squares);
            let size = |way: &Way| way.room.min(way.slope * scale);
            ways.iter().map(size).collect()
        }
        Norm::L1 => filled(missing, ways, |way| way.slope),
        Norm::L0 => filled(missing, ways, Way::gain),
    }
}

/// Moves one value after the other to its bound, in order of worth, until nothing is missing. The lower index wins
/// ties.
fn filled(mut missing: f64, ways: &[Way], worth: impl Fn(&Way) -> f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..ways.len()).collect();
    let worth = |at: usize| worth(&ways[at]);
    order.sort_unstable_by(|&a, &b| worth(b).total_cmp(&worth(a)).then(a.cmp(&b)));
    let mut moves = vec![0.0; ways.len()];
    for at in order {
        let way = &ways[at];
        if way.gain() >= missing {
            if missing > 0.0 {
                moves[at] = missing / way.slope;
            }
            break;
        }
        moves[at] = way.room;
        missing -= way.gain();
    }
    moves
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn dot(a: &[f32], b: &[f32]) -> f64 {
        a.iter()
            .zip(b)
            .map(|(&a, &b)| f64::from(a) * f64::from(b))
            .sum()
    }

    fn distance(norm: Norm, a: &[f32], b: &[f32]) -> f64 {
        let sizes = a
            .iter()
            .zip(b)
            .map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs());
        match norm {
            Norm::Linf => sizes.fold(0.0, f64::max),
            Norm::L2 => sizes.map(|size| size * size).sum::<f64>().sqrt(),
            Norm::L1 => sizes.sum(),
            Norm::L0 => sizes.filter(|&size| size > 0.0).count() as f64,
        }
    }

    #[test]
    fn worked_examples() {
        let plane = |normal, offset| Hyperplane { normal, offset };
        let corner = plane(&[1.0, -1.0, 0.0], 7.0);
        let cases: [(_, _, &[f32], &[f32]); 11] = [
            (
                plane(&[1.0, 1.0], 1.5),
                Norm::Linf,
                &[0.5, 0.5],
                &[0.75, 0.75],
            ),
            // The first has room for 0.125 only; the second takes the rest.
            (
                plane(&[1.0, 1.0], 1.75),
                Norm::Linf,
                &[0.875, 0.5],
                &[1.0, 0.75],
            ),
            (
                plane(&[2.0, 1.0], 2.125),
                Norm::L2,
                &[0.5, 0.5],
                &[0.75, 0.625],
            ),
            (
                plane(&[2.0, 1.0], 2.75),
                Norm::L2,
                &[0.5, 0.5],
                &[1.0, 0.75],
            ),
            (
                plane(&[2.0, -1.0], 1.0),
                Norm::L1,
                &[0.5, 0.5],
                &[0.75, 0.5],
            ),
            (
                plane(&[2.0, -1.0], 1.75),
                Norm::L1,
                &[0.5, 0.5],
                &[1.0, 0.25],
            ),
            // The second is worth less by slope but more by room.
            (
                plane(&[2.0, 1.0], 2.5),
                Norm::L0,
                &[0.875, 0.0],
                &[0.875, 0.75],
            ),
            // Already on the hyperplane, and a hyperplane that is out of reach.
            (
                plane(&[1.0, 0.0], 0.25),
                Norm::L2,
                &[0.25, 0.75],
                &[0.25, 0.75],
            ),
            (
                plane(&[0.0, 0.0], 1.0),
                Norm::L2,
                &[0.25, 0.75],
                &[0.25, 0.75],
            ),
            (corner, Norm::L2, &[0.25, 0.25, 0.25], &[1.0, 0.0, 0.25]),
            (corner, Norm::L1, &[0.25, 0.25, -3.0], &[1.0, 0.0, 0.0]),
        ];
        for (plane, norm, point, expected) in cases {
            let found = plane.nearest(norm, point, &Bounds::PIXELS);
            assert_eq!(found, expected, "{plane:?} from {point:?} in {norm}");
        }
    }

    /// Normal vectors with some zeros.
    fn normals(size: usize) -> impl Strategy<Value = Vec<f32>> {
        let value = prop_oneof![1 => Just(0.0_f32), 4 => -2.0..2.0_f32];
        proptest::collection::vec(value, size)
    }

    fn boxes(size: usize) -> impl Strategy<Value = Bounds> {
        let pairs = proptest::collection::vec((-2.0..2.0_f32, 0.0..2.0_f32), size);
        let each = pairs.prop_map(|pairs| {
            let low = pairs.iter().map(|&(low, _)| low).collect();
            let high = pairs.iter().map(|&(low, width)| low + width).collect();
            Bounds::each(low, high).unwrap()
        });
        prop_oneof![Just(Bounds::PIXELS), each]
    }

    fn within(bounds: &Bounds, rng: &mut ChaCha8Rng, size: usize) -> Vec<f32> {
        let value = |at| {
            let (low, high) = bounds.at(at);
            (low + (high - low) * rng.random::<f64>()) as f32
        };
        (0..size).map(value).collect()
    }

    const SIZE: usize = 12;

    proptest! {
        #[test]
        fn the_point_is_feasible_and_no_other_is_nearer(
            normal in normals(SIZE),
            bounds in boxes(SIZE),
            part in -0.2..1.2_f64,
            seed: u64,
        ) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let point = within(&bounds, &mut rng, SIZE);
            // The largest or smallest value of the linear function in the box.
            let end = |up: bool| -> f64 {
                let ends = normal.iter().enumerate().map(|(at, &n)| {
                    let (low, high) = bounds.at(at);
                    f64::from(n) * if (n > 0.0) == up { high } else { low }
                });
                ends.sum()
            };
            let (least, most) = (end(false), end(true));
            let offset = least + part * (most - least);
            let plane = Hyperplane { normal: &normal, offset };
            for norm in Norm::ALL {
                let found = plane.nearest(norm, &point, &bounds);
                prop_assert!(bounds.contains(&found), "{norm}");
                let reached = dot(&normal, &found);
                prop_assert!((reached - offset.clamp(least, most)).abs() < 1e-5, "{norm}: {reached} is not {offset}");
                for _ in 0..20 {
                    // A point where the line between two points of the box crosses the hyperplane is feasible.
                    let [a, b] = [(); 2].map(|()| within(&bounds, &mut rng, SIZE));
                    let (from, to) = (dot(&normal, &a), dot(&normal, &b));
                    let share = (offset - from) / (to - from);
                    if (0.0..=1.0).contains(&share) {
                        let between = |(a, b): (&f32, &f32)| f64::from(*a) + share * (f64::from(*b) - f64::from(*a));
                        let other = Vec::from_iter(a.iter().zip(&b).map(|pair| between(pair) as f32));
                        let nearest = distance(norm, &point, &found);
                        prop_assert!(nearest <= distance(norm, &point, &other) + 1e-5, "{norm}");
                        // By convexity, a step towards it is feasible too.
                        let share = rng.random_range(0.01..0.5_f32);
                        let step = Vec::from_iter(found.iter().zip(&other).map(|(f, o)| f + share * (o - f)));
                        let step = distance(norm, &point, &step);
                        prop_assert!(norm == Norm::L0 || step >= nearest - 1e-5, "{norm}: {nearest} {step}");
                    }
                }
            }
        }

        /// Searches a fine grid over all values but one; the hyperplane determines the last.
        #[test]
        fn in_few_dimensions_a_search_finds_nothing_nearer(
            normal in (2..=3_usize).prop_flat_map(normals),
            point in proptest::collection::vec(0.0..1.0_f32, 3),
            offset in -1.0..2.0_f64,
        ) {
            const GRID: usize = 100;
            let point = &point[..normal.len()];
            let last = normal.len() - 1;
            prop_assume!(normal[last].abs() > 0.2);
            let plane = Hyperplane { normal: &normal, offset };
            for norm in Norm::CONVEX {
                let found = distance(norm, point, &plane.nearest(norm, point, &Bounds::PIXELS));
                let mut best = f64::INFINITY;
                for at in 0..(GRID + 1).pow(last as u32) {
                    let grid = |axis: u32| (at / (GRID + 1).pow(axis) % (GRID + 1)) as f32 / GRID as f32;
                    let mut x: Vec<f32> = (0..last as u32).map(grid).collect();
                    let value = (offset - dot(&normal[..last], &x)) / f64::from(normal[last]);
                    x.push(value as f32);
                    if Bounds::PIXELS.contains(&x) {
                        best = best.min(distance(norm, point, &x));
                    }
                }
                prop_assert!(found <= best + 1e-5, "{norm}: {found} {best}");
            }
        }
    }
}
