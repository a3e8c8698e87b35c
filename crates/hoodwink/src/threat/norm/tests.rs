use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Norm;
use crate::{
    image::Image,
    threat::{Ball, distances},
};

const SIDE: usize = 6;

fn image(pixels: Vec<f32>) -> Image {
    Image::new([1, SIDE, SIDE], pixels).unwrap()
}

fn pixels(range: std::ops::Range<f32>) -> impl Strategy<Value = Image> {
    proptest::collection::vec(range, SIDE * SIDE).prop_map(image)
}

/// Squared Euclidean distance.
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

    /// The nearest point of a convex set is the only one from which no point of the set lies closer.
    #[test]
    fn no_other_point_of_the_set_is_nearer(
        original in pixels(0.0..1.0),
        x in pixels(-0.5..1.5),
        eps in 0.01..4.0_f64,
        seed: u64,
    ) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        for norm in Norm::ALL {
            let ball = Ball { norm, eps };
            let mut projected = x.clone();
            ball.project(&original, &mut projected);
            for _ in 0..20 {
                let other = ball.random_point(&original, &mut rng);
                // A step from the projection towards another point of the set stays in the set, by convexity.
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
            let step = norm.steepest(gradient.pixels(), middle.pixels());
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
        assert_eq!(norm.steepest(&[0.0; 4], &[0.5; 4]), [0.0; 4], "{norm}");
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
    let step = Norm::L1.steepest(&[3.0, -2.0, 1.0, 0.0], &[1.0, 0.0, 0.5, 0.5]);
    assert_eq!(step, [0.0, 0.0, 1.0, 0.0]);
}

/// Soft thresholding by hand: (0.6, 0.3, -0.1) onto a ball of radius 0.5 has lambda 0.2.
#[test]
fn the_l1_projection_matches_a_worked_example() {
    let mut x = [1.1, 0.8, 0.4];
    Norm::L1.project(&[0.5; 3], &mut x, 0.5);
    for (x, expected) in x.iter().zip([0.9, 0.6, 0.5]) {
        assert!((x - expected).abs() < 1e-5, "{x} {expected}");
    }
    // With room for only 0.2 upwards in the first pixel, the second takes what is left.
    let mut x = [1.4, 0.8, 0.4];
    Norm::L1.project(&[0.8, 0.5, 0.5], &mut x, 0.4);
    for (x, expected) in x.iter().zip([1.0, 0.7, 0.5]) {
        assert!((x - expected).abs() < 1e-5, "{x} {expected}");
    }
}
