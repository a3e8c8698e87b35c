use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Norm;
use crate::{
    image::Image,
    threat::{Ball, Bounds, distances},
};

const SIDE: usize = 6;

fn image(pixels: Vec<f32>) -> Image {
    Image::new([1, SIDE, SIDE], pixels).unwrap()
}

fn pixels(range: std::ops::Range<f32>) -> impl Strategy<Value = Image> {
    proptest::collection::vec(range, SIDE * SIDE).prop_map(image)
}

/// Euclidean distance.
fn distance(a: &Image, b: &Image) -> f64 {
    distances(a, b).l2
}

proptest! {
    #[test]
    fn a_projection_lies_in_ball_and_box_and_stays_there(
        original in pixels(0.0..1.0),
        x in pixels(-2.0..3.0),
        eps in 0.0..8.0_f64,
    ) {
        for norm in Norm::ALL {
            let ball = Ball { norm, eps };
            let mut projected = x.clone();
            ball.project(&original, &mut projected);
            prop_assert!(ball.contains(&original, &projected), "{norm} {:?}", distances(&original, &projected));
            let mut again = projected.clone();
            ball.project(&original, &mut again);
            prop_assert!(distance(&again, &projected) < 1e-4, "{norm} moved again");
        }
    }

    /// The nearest point of a convex set is the only one with no other nearby point of the set closer to `x`.
    #[test]
    fn no_other_point_of_the_set_is_nearer(
        original in pixels(0.0..1.0),
        x in pixels(-0.5..1.5),
        eps in 0.01..4.0_f64,
        seed: u64,
    ) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        for norm in Norm::CONVEX {
            let ball = Ball { norm, eps };
            let mut projected = x.clone();
            ball.project(&original, &mut projected);
            for _ in 0..20 {
                let other = ball.random_point(&original, &mut rng);
                // By convexity, a step from the projection towards another point of the set stays in the set.
                let share = rng.random_range(0.01..0.5_f32);
                let between = projected.pixels().iter().zip(other.pixels())
                    .map(|(a, b)| a + share * (b - a)).collect();
                prop_assert!(distance(&x, &image(between)) >= distance(&x, &projected) - 1e-5, "{norm}");
            }
        }
    }

    #[test]
    fn the_steepest_step_has_unit_norm_and_goes_uphill(gradient in pixels(-1.0..1.0)) {
        let middle = image(vec![0.5; SIDE * SIDE]);
        for norm in Norm::ALL {
            let step = norm.steepest(gradient.pixels(), middle.pixels(), &Bounds::PIXELS);
            let moved = middle.pixels().iter().zip(&step).map(|(x, s)| x + s).collect();
            prop_assert!((norm.of(&distances(&middle, &image(moved))) - 1.0).abs() < 1e-5, "{norm}");
            let slope: f32 = gradient.pixels().iter().zip(&step).map(|(g, s)| g * s).sum();
            prop_assert!(slope > 0.0, "{norm}");
        }
    }
}

#[test]
fn a_zero_gradient_gives_no_step() {
    for norm in Norm::ALL {
        assert_eq!(
            norm.steepest(&[0.0; 4], &[0.5; 4], &Bounds::PIXELS),
            [0.0; 4],
            "{norm}"
        );
    }
}

#[test]
fn eps_zero_changes_nothing() {
    let original = image((0..SIDE * SIDE).map(|at| at as f32 / 255.0).collect());
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    for norm in Norm::ALL {
        let ball = Ball { norm, eps: 0.0 };
        assert_eq!(ball.random_point(&original, &mut rng), original, "{norm}");
    }
}

#[test]
fn the_l1_step_leaves_pixels_at_the_edge_of_the_box_alone() {
    let step = Norm::L1.steepest(
        &[3.0, -2.0, 1.0, 0.0],
        &[1.0, 0.0, 0.5, 0.5],
        &Bounds::PIXELS,
    );
    assert_eq!(step, [0.0, 0.0, 1.0, 0.0]);
}

/// Soft thresholding by hand: (0.6, 0.3, -0.1) onto a ball of radius 0.5 has lambda 0.2.
#[test]
fn the_l1_projection_matches_a_worked_example() {
    let mut x = [1.1, 0.8, 0.4];
    Norm::L1.project(&[0.5; 3], &mut x, 0.5, &Bounds::PIXELS);
    for (x, expected) in x.iter().zip([0.9, 0.6, 0.5]) {
        assert!((x - expected).abs() < 1e-5, "{x} {expected}");
    }
    // The first pixel has room for only 0.2 upwards, so the second takes the rest.
    let mut x = [1.4, 0.8, 0.4];
    Norm::L1.project(&[0.8, 0.5, 0.5], &mut x, 0.4, &Bounds::PIXELS);
    for (x, expected) in x.iter().zip([1.0, 0.7, 0.5]) {
        assert!((x - expected).abs() < 1e-5, "{x} {expected}");
    }
}

/// The projection onto the L2 ball within the bounds, by bisection of the scale to the last bit: slow but obviously
/// correct.
fn bisected(original: &[f32], x: &[f32], eps: f64, bounds: &Bounds) -> Vec<f32> {
    let moved = |scale: f64| {
        let value = |(at, (&x, &center)): (usize, (&f32, &f32))| {
            let (low, high) = bounds.at(at);
            let center = f64::from(center);
            (center + (f64::from(x) - center) * scale).clamp(low, high)
        };
        Vec::from_iter(x.iter().zip(original).enumerate().map(value))
    };
    let length = |scale: f64| {
        let steps = moved(scale).into_iter().zip(original);
        let squares = steps.map(|(x, &center)| (x - f64::from(center)).powi(2));
        squares.sum::<f64>().sqrt()
    };
    let (mut low, mut high) = (0.0, 1.0);
    if length(1.0) <= eps {
        low = 1.0;
    }
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if length(middle) > eps {
            high = middle;
        } else {
            low = middle;
        }
    }
    moved(low).into_iter().map(|x| x as f32).collect()
}

/// Bounds that differ from value to value, with an original inside.
fn boxed() -> impl Strategy<Value = (Bounds, Vec<f32>)> {
    let value = (-3.0..3.0_f32, 0.0..2.0_f32, 0.0..1.0_f32);
    let own = proptest::collection::vec(value, SIDE * SIDE).prop_map(|values| {
        let low: Vec<f32> = values.iter().map(|&(low, ..)| low).collect();
        let high: Vec<f32> = values.iter().map(|&(low, width, _)| low + width).collect();
        let inside = values
            .iter()
            .map(|&(low, width, part)| low + width * part)
            .collect();
        (Bounds::each(low.into(), high.into()).unwrap(), inside)
    });
    let pixels = pixels(0.0..1.0).prop_map(|image| (Bounds::PIXELS, image.pixels().to_vec()));
    prop_oneof![own, pixels]
}

fn difference(a: &[f32], b: &[f32]) -> f64 {
    let differences = a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs()));
    differences.fold(0.0, f64::max)
}

proptest! {
    #[test]
    fn the_l2_projection_is_that_of_bisection(
        (bounds, original) in boxed(),
        wish in proptest::collection::vec(-4.0..4.0_f32, SIDE * SIDE),
        eps in prop_oneof![1e-4..1e-2_f64, 0.01..12.0_f64],
    ) {
        let mut x: Vec<f32> = original.iter().zip(&wish).map(|(c, w)| c + w).collect();
        let expected = bisected(&original, &x, eps, &bounds);
        Norm::L2.project(&original, &mut x, eps, &bounds);
        prop_assert!(difference(&x, &expected) < 1e-6 * eps.max(1.0));
        prop_assert!(bounds.contains(&x));
    }

    /// Separate bounds that equal the pixel bounds give the same result, bit for bit.
    #[test]
    fn bounds_may_be_given_one_by_one(
        original in pixels(0.0..1.0),
        x in pixels(-2.0..3.0),
        eps in 0.01..8.0_f64,
    ) {
        let own = Bounds::each([0.0; SIDE * SIDE].into(), [1.0; SIDE * SIDE].into()).unwrap();
        for norm in Norm::ALL {
            let [same, each] = [&Bounds::PIXELS, &own].map(|bounds| {
                let mut x = x.clone();
                norm.project(original.pixels(), x.pixels_mut(), eps, bounds);
                x
            });
            prop_assert_eq!(same, each);
        }
    }

    #[test]
    fn in_other_bounds_a_projection_keeps_to_both(
        (bounds, original) in boxed(),
        wish in proptest::collection::vec(-4.0..4.0_f32, SIDE * SIDE),
        eps in 0.01..8.0_f64,
    ) {
        let at = |pixels: &[f32]| image(pixels.to_vec());
        for norm in Norm::ALL {
            let mut x: Vec<f32> = original.iter().zip(&wish).map(|(c, w)| c + w).collect();
            norm.project(&original, &mut x, eps, &bounds);
            prop_assert!(bounds.contains(&x), "{norm}");
            let size = norm.of(&distances(&at(&original), &at(&x)));
            prop_assert!(size <= eps * (1.0 + Ball::TOLERANCE) + 1e-6, "{norm}: {size}");
        }
    }

    /// Compares with all choices of three values out of six: none is nearer than the projection's.
    #[test]
    fn no_choice_of_values_beats_the_l0_projection(
        original in proptest::collection::vec(0.0..1.0_f32, 6),
        x in proptest::collection::vec(-0.5..1.5_f32, 6),
    ) {
        let squared = |to: &[f32]| -> f64 {
            x.iter().zip(to).map(|(x, to)| f64::from(x - to).powi(2)).sum()
        };
        let mut projected = x.clone();
        Norm::L0.project(&original, &mut projected, 3.9, &Bounds::PIXELS);
        for choice in (0..64_u32).filter(|choice| choice.count_ones() == 3) {
            let other = |at: usize| match choice >> at & 1 {
                1 => x[at].clamp(0.0, 1.0),
                _ => original[at],
            };
            let other = Vec::from_iter((0..6).map(other));
            prop_assert!(squared(&projected) <= squared(&other) + 1e-9);
        }
    }
}

/// Away from the bounds the step is scaled. A value at its bound leaves more for the others.
#[test]
fn the_l2_projection_matches_a_worked_example() {
    let own = Bounds::each([-1.0, 0.0].into(), [1.0, 9.0].into()).unwrap();
    for (bounds, original, mut x, eps, expected) in [
        (&Bounds::PIXELS, [0.5, 0.5], [0.8, 0.9], 0.25, [0.65, 0.7]),
        // The first has only 0.3 of room, so the second takes 0.4.
        (&Bounds::PIXELS, [0.7, 0.2], [1.9, 0.8], 0.5, [1.0, 0.6]),
        (&Bounds::PIXELS, [0.5, 0.5], [7.0, -7.0], 2.0, [1.0, 0.0]),
        (&own, [1.0, 2.0], [4.0, 9.0], 3.0, [1.0, 5.0]),
    ] {
        Norm::L2.project(&original, &mut x, eps, bounds);
        assert!(difference(&x, &expected) < 1e-6, "{x:?} {expected:?}");
    }
}

#[test]
fn the_l0_projection_matches_worked_examples() {
    let original = [0.5, 0.5, 1.0, 0.0];
    for (x, eps, expected) in [
        ([0.4, 0.7, 1.0, 0.3], 1.0, [0.5, 0.5, 1.0, 0.3]),
        ([0.4, 0.7, 1.0, 0.3], 2.7, [0.5, 0.7, 1.0, 0.3]),
        ([0.4, 0.7, 1.0, 0.3], 0.9, original),
        ([0.4, 0.7, 1.0, 0.3], 9.0, [0.4, 0.7, 1.0, 0.3]),
        // The largest wish is worth nothing, because the box is in the way.
        ([0.4, 0.5, 7.0, 0.0], 1.0, [0.4, 0.5, 1.0, 0.0]),
        // The first of several equal values is kept.
        ([0.25, 0.75, 1.0, 0.0], 1.0, [0.25, 0.5, 1.0, 0.0]),
    ] {
        let mut projected = x;
        Norm::L0.project(&original, &mut projected, eps, &Bounds::PIXELS);
        assert_eq!(projected, expected, "{x:?} within {eps}");
    }
}

#[test]
fn the_l0_step_is_the_steepest_value_that_is_free() {
    let bounds = Bounds::same(-2.0, 2.0).unwrap();
    for (gradient, x, expected) in [
        ([3.0, -2.0, 2.0], [2.0, 0.0, 0.0], [0.0, -1.0, 0.0]),
        ([3.0, -2.0, 2.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]),
        ([0.0, -2.0, 0.0], [0.0, -2.0, 0.0], [0.0; 3]),
    ] {
        assert_eq!(Norm::L0.steepest(&gradient, &x, &bounds), expected);
    }
}

#[test]
fn an_l0_random_point_changes_any_values_and_no_more_than_it_may() {
    let original = image(vec![0.5; SIDE * SIDE]);
    let ball = Ball {
        norm: Norm::L0,
        eps: 4.5,
    };
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut changed = [0; SIDE * SIDE];
    for _ in 0..900 {
        let x = ball.random_point(&original, &mut rng);
        assert_eq!(distances(&original, &x).l0, 4.0);
        for (changed, &x) in changed.iter_mut().zip(x.pixels()) {
            *changed += usize::from(x != 0.5);
        }
    }
    // 100 changes each are expected, with a standard deviation of 9.4.
    assert!(
        changed.iter().all(|count| (55..145).contains(count)),
        "{changed:?}"
    );
}

#[test]
fn norms_have_many_names() {
    for (norm, names) in [
        (
            Norm::Linf,
            &["linf", "Linf", "inf", "l_inf", "L-infinity", "L∞", "∞"][..],
        ),
        (Norm::L2, &["l2", "L2", "2", "l_2"]),
        (Norm::L1, &["l1", "1"]),
        (Norm::L0, &["l0", "L0", "0"]),
    ] {
        for name in names {
            assert_eq!(name.parse::<Norm>().unwrap(), norm, "{name}");
        }
    }
    for name in ["", "l", "l3", "lin", "euclid"] {
        assert!(name.parse::<Norm>().is_err(), "{name}");
    }
}

/// Half a level is a radius at which every value of an 8-bit picture is rounded in single precision, some of them outwards.
#[test]
fn a_projected_step_is_within_its_radius_however_small() {
    let center: Vec<f32> = (0..=255).map(|level| level as f32 / 255.0).collect();
    for norm in [Norm::Linf, Norm::L2] {
        for eps in [0.05, 0.3, 0.5, 0.51, 1.0, 1.5, 8.0].map(|levels| levels / 255.0) {
            for step in [1.0_f32, -1.0] {
                let mut x: Vec<f32> = center.iter().map(|x| x + step).collect();
                norm.project(&center, &mut x, eps, &Bounds::same(0.0, 1.0).unwrap());
                let image = |pixels: &[f32]| Image::new([1, 1, 256], pixels.to_vec()).unwrap();
                let norms = distances(&image(&center), &image(&x));
                assert!(norm.within(&norms, eps), "{norm} {eps}: {norms:?}");
                assert!(!norm.within(&norms, 0.99 * norm.of(&norms)));
            }
        }
    }
}
