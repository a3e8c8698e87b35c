use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::image::Image;

fn random(shape: [usize; 3], rng: &mut ChaCha8Rng) -> Image {
    let values = 0..shape.iter().product();
    let values = values.map(|_| rng.random_range(-1.0..1.0_f32)).collect();
    Image::new(shape, values).unwrap()
}

fn dot(a: &Image, b: &Image) -> f64 {
    let pairs = a.pixels().iter().zip(b.pixels());
    pairs.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

fn families() -> impl Strategy<Value = Transformation> {
    prop_oneof![
        (0.001..=1.0).prop_map(|low| Transformation::ResizePad { low }),
        (0..9_usize).prop_map(|padding| Transformation::Crop { padding }),
        (0.0..=1.0).prop_map(|probability| Transformation::Flip { probability }),
        (0.0..=0.5).prop_map(|std| Transformation::Noise { std }),
        (0.0..=0.5).prop_map(|size| Transformation::UniformNoise { size }),
        (0.0..=1.0, 1.0..=2.0).prop_map(|(low, high)| Transformation::Brightness { low, high }),
    ]
}

proptest! {
    /// `<Ax, c> = <x, Aᵀc>`, where `A` is the affine map minus its value at zero.
    #[test]
    fn gradients_pass_back_through_the_transpose(
        family in families(),
        shape in (1..=3_usize, 1..=7_usize, 1..=7_usize),
        seed: u64,
    ) {
        let shape = shape.into();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let drawn = family.draw(shape, &mut rng);
        let [x, c] = [(); 2].map(|()| random(shape, &mut rng));
        let (moved, back) = (drawn.apply_linear(&x).unwrap(), drawn.pull_back(&c).unwrap());
        prop_assert_eq!(moved.shape(), shape);
        prop_assert_eq!(back.shape(), shape);
        prop_assert!((dot(&moved, &c) - dot(&x, &back)).abs() < 1e-5, "{family}");

        let (all, zero) = (drawn.apply(&x).unwrap(), drawn.apply(&Image::zeros(shape)).unwrap());
        for ((all, zero), linear) in all.pixels().iter().zip(zero.pixels()).zip(moved.pixels()) {
            prop_assert!((all - zero - linear).abs() < 1e-5, "{family}");
        }
    }

    #[test]
    fn the_seed_decides(family in families(), seed: u64) {
        let [a, b] = [(); 2].map(|()| family.draw([3, 5, 6], &mut ChaCha8Rng::seed_from_u64(seed)));
        prop_assert_eq!(a, b);
    }

    #[test]
    fn texts_are_read_back(family in families()) {
        prop_assert_eq!(family.to_string().parse::<Transformation>().unwrap(), family);
    }
}

#[test]
fn what_each_makes_of_a_row() {
    let row = Image::new([1, 1, 4], vec![1.0, 2.0, 3.0, 4.0]).unwrap();
    let moved = |columns: Axis| {
        let mut drawn = Drawn::identity([1, 1, 4]);
        drawn.columns = columns;
        drawn.apply(&row).unwrap().pixels().to_vec()
    };
    for (columns, expected) in [
        (Axis::cropped(4, 0, 0), [1.0, 2.0, 3.0, 4.0]),
        (Axis::cropped(4, 2, 1), [0.0, 1.0, 2.0, 3.0]),
        (Axis::cropped(4, 3, 6), [4.0, 0.0, 0.0, 0.0]),
        (Axis::mirrored(4), [4.0, 3.0, 2.0, 1.0]),
        (Axis::resized(4, 4, 0), [1.0, 2.0, 3.0, 4.0]),
        // The centres of halves each lie between two places.
        (Axis::resized(4, 2, 1), [0.0, 1.5, 3.5, 0.0]),
        (Axis::resized(4, 1, 3), [0.0, 0.0, 0.0, 2.5]),
        // 4/3 places apart, starting at 1/6, as torch.nn.functional.interpolate computes them.
        (Axis::resized(4, 3, 0), [1.1666666, 2.5, 3.8333333, 0.0]),
    ] {
        assert_eq!(moved(columns.clone()), expected, "{columns:?}");
    }
}

#[test]
fn draws_are_spread_over_the_family() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let ones = Image::new([1, 10, 10], vec![1.0; 100]).unwrap();
    let mut sum = |text: &str| {
        let family: Transformation = text.parse().unwrap();
        let mut draw = || {
            dot(
                &family.draw([1, 10, 10], &mut rng).apply(&ones).unwrap(),
                &ones,
            )
        };
        let sums: Vec<f64> = (0..300).map(|_| draw()).collect();
        sums.into_iter()
            .fold((f64::MAX, f64::MIN), |(low, high), sum| {
                (sum.min(low), sum.max(high))
            })
    };
    let near = |(low, high): (f64, f64), expected: (f64, f64)| {
        (low - expected.0).abs() < 2.0 && (high - expected.1).abs() < 2.0
    };
    for (text, expected) in [
        ("resize-pad(low=0.5)", (25.0, 100.0)),
        ("crop(padding=2)", (64.0, 100.0)),
        ("flip", (100.0, 100.0)),
        ("brightness(low=0.5, high=1.5)", (50.0, 150.0)),
        ("noise(std=0)", (100.0, 100.0)),
    ] {
        let found = sum(text);
        assert!(near(found, expected), "{text}: {found:?}");
    }
    // 100 values with deviation 0.1: a sum with deviation 1.
    let (low, high) = sum("noise(std=0.1)");
    assert!(
        (95.0..98.5).contains(&low) && (101.5..105.0).contains(&high),
        "{low} {high}"
    );
    let (low, high) = sum("uniform-noise(size=0.1)");
    assert!(
        (97.0..99.0).contains(&low) && (101.0..103.0).contains(&high),
        "{low} {high}"
    );
}

#[test]
fn texts_that_are_wrong_are_refused() {
    for (text, says) in [
        ("resizepad", "did you mean resize-pad?"),
        (
            "noise(sdt=1)",
            "noise's parameter \"sdt\" is not std; did you mean std?",
        ),
        (
            "noise(std=-1)",
            "noise: std must be a number from 0 to 65536, not \"-1\"",
        ),
        ("noise(std=nan)", "must be a number"),
        ("noise(std)", "must be a number"),
        ("noise(std=1", "does not end with )"),
        ("noise(std=1, std=2)", "std is given twice"),
        ("crop(padding=1.5)", "a whole number"),
        ("resize-pad(low=0)", "from 0.001 to 1"),
        ("brightness(low=2)", "low is above high"),
    ] {
        let message = text.parse::<Transformation>().unwrap_err().to_string();
        assert!(message.contains(says), "{text}: {message}");
    }
    for (text, full) in [
        ("flip", "flip(probability=0.5)"),
        (
            " brightness( high = 1.5 ) ",
            "brightness(low=0.8, high=1.5)",
        ),
        ("crop()", "crop(padding=4)"),
    ] {
        assert_eq!(text.parse::<Transformation>().unwrap().to_string(), full);
    }
}

#[test]
fn images_of_another_shape_are_refused() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let drawn = Transformation::Crop { padding: 1 }.draw([3, 4, 4], &mut rng);
    let error = drawn.apply(&Image::zeros([1, 4, 4])).unwrap_err();
    assert!(error.to_string().contains("[3, 4, 4]"), "{error}");
    assert!(drawn.pull_back(&Image::zeros([3, 4, 5])).is_err());
    // An axis of length zero gives an empty image.
    for text in Transformation::NAMES {
        let family: Transformation = text.parse().unwrap();
        let drawn = family.draw([1, 0, 3], &mut rng);
        assert!(
            drawn
                .apply(&Image::zeros([1, 0, 3]))
                .unwrap()
                .pixels()
                .is_empty()
        );
    }
}
