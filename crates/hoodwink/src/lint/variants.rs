//! Preprocessing that models are commonly trained with.

use crate::preprocessing::{Channels, InputRange, Preprocessing};

/// Mean, standard deviation and range, for three channels in the order RGB.
type Scaling = (&'static [f32], &'static [f32], InputRange);

const PLAIN: [Scaling; 3] = [
    (&[], &[], InputRange::ZeroToOne),
    (&[], &[], InputRange::ZeroTo255),
    (&[], &[], InputRange::MinusOneToOne),
];

const COLOUR: [Scaling; 3] = [
    // torchvision and most of timm.
    (
        &[0.485, 0.456, 0.406],
        &[0.229, 0.224, 0.225],
        InputRange::ZeroToOne,
    ),
    // Caffe: 123.68, 116.78 and 103.94 taken off bytes.
    (&[0.485_02, 0.457_96, 0.407_61], &[], InputRange::ZeroTo255),
    // CLIP.
    (
        &[0.481_454_66, 0.457_827_5, 0.408_210_73],
        &[0.268_629_54, 0.261_302_6, 0.275_777_1],
        InputRange::ZeroToOne,
    ),
];

const CIFAR: [Scaling; 2] = [
    (
        &[0.4914, 0.4822, 0.4465],
        &[0.2471, 0.2435, 0.2616],
        InputRange::ZeroToOne,
    ),
    (
        &[0.485, 0.456, 0.406],
        &[0.225, 0.225, 0.225],
        InputRange::ZeroToOne,
    ),
];

const MNIST: Scaling = (&[0.1307], &[0.3081], InputRange::ZeroToOne);

/// Other preprocessing that a model of such pictures, `[channels, height, width]`, may have been trained with; the
/// commonest first.
pub(super) fn variants(said: &Preprocessing, shape: [usize; 3]) -> Vec<Preprocessing> {
    let [channels, height, width] = shape;
    let mut scalings = PLAIN.to_vec();
    match channels {
        3 => scalings.extend(COLOUR),
        _ => scalings.push(MNIST),
    }
    if channels == 3 && height.max(width) <= 64 {
        scalings.extend(CIFAR);
    }
    let orders = [Channels::Rgb, Channels::Bgr];
    let orders = if channels == 3 {
        &orders[..]
    } else {
        &orders[..1]
    };
    let mut variants = Vec::new();
    for &order in orders {
        for &(mean, std, input_range) in &scalings {
            // Values are given in the order in which the model eats its channels.
            let ordered = |values: &[f32]| -> Vec<f32> {
                match order {
                    Channels::Rgb => values.to_vec(),
                    Channels::Bgr => values.iter().rev().copied().collect(),
                }
            };
            variants.push(Preprocessing {
                mean: ordered(mean),
                std: ordered(std),
                input_range,
                channels: order,
                layout: said.layout,
            });
        }
        // What was said, but for the order of the channels.
        let mut reordered = said.clone();
        reordered.channels = order;
        variants.push(reordered.clone());
        reordered.mean.reverse();
        reordered.std.reverse();
        variants.push(reordered);
    }
    variants.retain(|variant| variant != said);
    variants
}

/// Preprocessing as it is written on the command line.
pub(super) fn flags(preprocessing: &Preprocessing) -> String {
    let list = |values: &[f32]| {
        let values: Vec<String> = values.iter().map(f32::to_string).collect();
        values.join(",")
    };
    let mut flags = Vec::new();
    for (flag, values) in [
        ("--mean", &preprocessing.mean),
        ("--std", &preprocessing.std),
    ] {
        if !values.is_empty() {
            flags.push(format!("{flag} {}", list(values)));
        }
    }
    flags.push(match preprocessing.input_range {
        InputRange::ZeroToOne => "--input-range 0..1".into(),
        InputRange::ZeroTo255 => "--input-range 0..255".into(),
        InputRange::MinusOneToOne => "--input-range=-1..1".into(),
    });
    flags.push(match preprocessing.channels {
        Channels::Rgb => "--channels rgb".into(),
        Channels::Bgr => "--channels bgr".into(),
    });
    flags.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_differ_from_what_was_said() {
        let said = Preprocessing::default();
        for (shape, least) in [([3, 32, 32], 15), ([3, 224, 224], 11), ([1, 28, 28], 3)] {
            let found = variants(&said, shape);
            assert!(found.len() >= least, "{shape:?}: {}", found.len());
            assert!(!found.contains(&said));
        }
    }

    #[test]
    fn flags_are_those_of_the_command_line() {
        let found = variants(&Preprocessing::default(), [3, 224, 224]);
        let caffe = found.iter().map(flags).find(|flags| {
            flags.contains("--channels bgr") && flags.contains("0..255 ") && flags.contains("mean")
        });
        let expected = "--mean 0.40761,0.45796,0.48502 --input-range 0..255 --channels bgr";
        assert_eq!(caffe.unwrap(), expected);
    }
}
