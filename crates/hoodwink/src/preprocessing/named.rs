//! Preprocessing by name, as most models of a kind were trained.

use super::{Channels, Described, InputRange, Preprocessing};

/// Name, mean, standard deviation in the model's order of channels, range, and whether that order is BGR.
type Named = (
    &'static str,
    &'static [f32],
    &'static [f32],
    InputRange,
    Channels,
);

const NAMED: [Named; 10] = [
    // torchvision, and most of timm and Hugging Face.
    (
        "imagenet",
        &[0.485, 0.456, 0.406],
        &[0.229, 0.224, 0.225],
        InputRange::ZeroToOne,
        Channels::Rgb,
    ),
    // Inception, MobileNet, ViT and similar models of Keras, TensorFlow and timm.
    (
        "imagenet-inception",
        &[],
        &[],
        InputRange::MinusOneToOne,
        Channels::Rgb,
    ),
    // Caffe: bytes minus a mean.
    (
        "imagenet-caffe",
        &[0.407_61, 0.457_96, 0.485_02],
        &[],
        InputRange::ZeroTo255,
        Channels::Bgr,
    ),
    (
        "cifar10",
        &[0.4914, 0.4822, 0.4465],
        &[0.2471, 0.2435, 0.2616],
        InputRange::ZeroToOne,
        Channels::Rgb,
    ),
    (
        "cifar100",
        &[0.5071, 0.4865, 0.4409],
        &[0.2673, 0.2564, 0.2762],
        InputRange::ZeroToOne,
        Channels::Rgb,
    ),
    (
        "mnist",
        &[0.1307],
        &[0.3081],
        InputRange::ZeroToOne,
        Channels::Rgb,
    ),
    (
        "fashion-mnist",
        &[0.286],
        &[0.353],
        InputRange::ZeroToOne,
        Channels::Rgb,
    ),
    ("0..1", &[], &[], InputRange::ZeroToOne, Channels::Rgb),
    ("0..255", &[], &[], InputRange::ZeroTo255, Channels::Rgb),
    ("-1..1", &[], &[], InputRange::MinusOneToOne, Channels::Rgb),
];

/// Returns all names except [`Described::read`]'s presets, which include a size.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    NAMED.iter().map(|named| named.0)
}

/// Returns the preprocessing of a name, without sizes.
pub(super) fn named(name: &str) -> Option<Described> {
    let &(_, mean, std, input_range, channels) = NAMED.iter().find(|(known, ..)| *known == name)?;
    Some(Described {
        preprocessing: Preprocessing {
            mean: mean.to_vec(),
            std: std.to_vec(),
            input_range,
            channels,
            ..Preprocessing::default()
        },
        ..Described::default()
    })
}

/// Returns the likely names for a model of `[channels, height, width]` pictures, the most likely first.
pub fn likely(input: [usize; 3]) -> Vec<&'static str> {
    match input {
        [3, height, width] if height.max(width) <= 64 => {
            vec!["0..1", "cifar10", "imagenet", "-1..1", "0..255"]
        }
        [3, ..] => vec![
            "imagenet",
            "imagenet-inception",
            "0..1",
            "clip",
            "imagenet-caffe",
            "0..255",
        ],
        _ => vec!["0..1", "mnist", "-1..1", "0..255"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_likely_name_is_known() {
        for input in [[3, 32, 32], [3, 224, 224], [1, 28, 28]] {
            for name in likely(input) {
                let described = Described::read(name).unwrap();
                let values = described.preprocessing.mean.len();
                assert!([0, 1, input[0]].contains(&values), "{name}");
            }
        }
        let inception = named("imagenet-inception").unwrap();
        assert_eq!(
            inception.preprocessing.input_range,
            InputRange::MinusOneToOne
        );
        assert!(named("imagnet").is_none());
    }
}
