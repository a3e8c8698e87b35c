//! Preprocessing that models are commonly trained with.

use crate::preprocessing::{Channels, InputRange, Preprocessing, word};

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
    // Caffe: 123.68, 116.78 and 103.94 subtracted from bytes.
    (&[0.485_02, 0.457_96, 0.407_61], &[], InputRange::ZeroTo255),
    // CLIP.
    (
        &[0.481_454_66, 0.457_827_5, 0.408_210_73],
        &[0.268_629_54, 0.261_302_6, 0.275_777_1],
        InputRange::ZeroToOne,
    ),
];

const CIFAR: [Scaling; 3] = [
    (
        &[0.4914, 0.4822, 0.4465],
        &[0.2471, 0.2435, 0.2616],
        InputRange::ZeroToOne,
    ),
    (
        &[0.4914, 0.4822, 0.4465],
        &[0.2023, 0.1994, 0.2010],
        InputRange::ZeroToOne,
    ),
    (
        &[0.485, 0.456, 0.406],
        &[0.225, 0.225, 0.225],
        InputRange::ZeroToOne,
    ),
];

const MNIST: Scaling = (&[0.1307], &[0.3081], InputRange::ZeroToOne);

/// A preprocessing that may be the right one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Variant {
    pub(super) preprocessing: Preprocessing,
    /// The differences from the given preprocessing, in words.
    pub(super) differences: Vec<String>,
}

impl Variant {
    /// Returns the number of differences.
    pub(super) fn changes(&self) -> usize {
        self.differences.len()
    }
}

/// Returns other preprocessings that a model of `[channels, height, width]` pictures may have been trained with, the
/// most common first.
pub(super) fn variants(said: &Preprocessing, shape: [usize; 3]) -> Vec<Variant> {
    let [channels, height, width] = shape;
    let mut scalings = PLAIN.to_vec();
    match channels {
        3 => scalings.extend(COLOUR),
        _ => scalings.push(MNIST),
    }
    if channels == 3 && height.max(width) <= 64 {
        scalings.extend(CIFAR);
    }
    let ranges = [
        InputRange::ZeroToOne,
        InputRange::ZeroTo255,
        InputRange::MinusOneToOne,
    ];
    let orders: &[Channels] = match channels {
        3 => &[Channels::Rgb, Channels::Bgr],
        _ => &[Channels::Rgb],
    };
    let mut found: Vec<Variant> = Vec::new();
    let mut offer = |preprocessing: Preprocessing| {
        let is_new = |known: &Variant| known.preprocessing != preprocessing;
        if preprocessing != *said && found.iter().all(is_new) {
            found.push(Variant {
                differences: differences(said, &preprocessing),
                preprocessing,
            });
        }
    };
    for &channels in orders {
        for &(mean, std, input_range) in &scalings {
            // Values are listed in the model's order of channels.
            let ordered = |values: &[f32]| -> Vec<f32> {
                match channels {
                    Channels::Rgb => values.to_vec(),
                    Channels::Bgr => values.iter().rev().copied().collect(),
                }
            };
            offer(Preprocessing {
                mean: ordered(mean),
                std: ordered(std),
                input_range,
                channels,
                layout: said.layout,
            });
        }
        // The given preprocessing with another order of channels and the values in either order, or with another range.
        let reordered = Preprocessing {
            channels,
            ..said.clone()
        };
        let mut reversed = reordered.clone();
        reversed.mean.reverse();
        reversed.std.reverse();
        for preprocessing in [reordered, reversed] {
            offer(preprocessing);
        }
    }
    for input_range in ranges {
        offer(Preprocessing {
            input_range,
            ..said.clone()
        });
    }
    found
}

/// Returns the differences, such as `channels in the order BGR` and `values 0..255`.
fn differences(said: &Preprocessing, other: &Preprocessing) -> Vec<String> {
    let mut parts = Vec::new();
    if other.channels != said.channels {
        parts.push(match other.channels {
            Channels::Rgb => "channels in the order RGB".to_owned(),
            Channels::Bgr => "channels in the order BGR".to_owned(),
        });
    }
    // With another order of channels, reversed values mean the same.
    let same = |ours: &[f32], theirs: &[f32]| {
        ours == theirs || other.channels != said.channels && ours.iter().rev().eq(theirs)
    };
    if !same(&said.mean, &other.mean) || !same(&said.std, &other.std) {
        parts.push(match (other.mean.is_empty(), said.mean.is_empty()) {
            (true, false) => "no mean subtracted".to_owned(),
            (false, true) => "a mean subtracted".to_owned(),
            _ => "another mean or standard deviation".to_owned(),
        });
    }
    if other.input_range != said.input_range {
        parts.push(format!("values {}", word(other.input_range)));
    }
    parts
}

/// Formats the settings of a preprocessing.
pub(super) fn settings(preprocessing: &Preprocessing) -> String {
    let list = |values: &[f32]| {
        let values: Vec<String> = values.iter().map(f32::to_string).collect();
        values.join(",")
    };
    let mut settings = Vec::new();
    for (name, values) in [("mean", &preprocessing.mean), ("std", &preprocessing.std)] {
        if !values.is_empty() {
            settings.push(format!("{name} {}", list(values)));
        }
    }
    settings.push(format!("input range {}", word(preprocessing.input_range)));
    settings.push(format!("channels {}", word(preprocessing.channels)));
    settings.join(", ")
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
            for (at, one) in found.iter().enumerate() {
                assert_ne!(one.preprocessing, said);
                let twin = |other: &Variant| other.preprocessing == one.preprocessing;
                assert!(!found[..at].iter().any(twin), "{:?}", one.preprocessing);
                assert!(one.changes() > 0, "{:?}", one.preprocessing);
            }
        }
    }

    #[test]
    fn differences_are_said_in_words() {
        let said = Preprocessing {
            mean: vec![0.1, 0.2, 0.3],
            ..Preprocessing::default()
        };
        let cases = [
            (
                "channels = 'bgr'\nmean = [0.3, 0.2, 0.1]",
                "channels in the order BGR",
            ),
            (
                "mean = [0.1, 0.2, 0.3]\ninput-range = '0..255'",
                "values 0..255",
            ),
            ("", "no mean subtracted"),
            (
                "channels = 'bgr'\nmean = [0.5]\ninput-range = '-1..1'",
                "channels in the order BGR and another mean or standard deviation and values -1..1",
            ),
        ];
        for (text, expected) in cases {
            let other = toml::from_str(text).unwrap();
            assert_eq!(differences(&said, &other).join(" and "), expected);
        }
        let plain = Preprocessing::default();
        assert_eq!(differences(&plain, &said), ["a mean subtracted"]);
    }

    #[test]
    fn settings_are_named_as_they_are_called() {
        let found = variants(&Preprocessing::default(), [3, 224, 224]);
        let mut settings = found.iter().map(|variant| settings(&variant.preprocessing));
        let caffe = "mean 0.40761,0.45796,0.48502, input range 0..255, channels bgr";
        assert!(settings.any(|settings| settings == caffe));
    }
}
