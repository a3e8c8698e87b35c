//! The text form of transformations.

use std::{fmt, str::FromStr};

use super::Transformation;
use crate::{Error, Result, legible, nearest::unknown};

/// One parameter of a family.
struct Parameter {
    name: &'static str,
    default: f64,
    low: f64,
    high: f64,
}

/// A family: its name, its parameters, and the constructor from their values.
struct Family {
    name: &'static str,
    parameters: &'static [Parameter],
    make: fn(&[f64]) -> Transformation,
}

const fn parameter(name: &'static str, default: f64, low: f64, high: f64) -> Parameter {
    Parameter {
        name,
        default,
        low,
        high,
    }
}

/// The maximum number of pixels or size of noise: far beyond any image, and exact in any float.
const MOST: f64 = 65_536.0;

const FAMILIES: [Family; 6] = [
    Family {
        name: "resize-pad",
        // The paper's minimum is 299 of 331 pixels.
        parameters: &[parameter("low", 0.9, 1e-3, 1.0)],
        make: |values| Transformation::ResizePad { low: values[0] },
    },
    Family {
        name: "crop",
        parameters: &[parameter("padding", 4.0, 0.0, MOST)],
        make: |values| Transformation::Crop {
            padding: values[0] as usize,
        },
    },
    Family {
        name: "flip",
        parameters: &[parameter("probability", 0.5, 0.0, 1.0)],
        make: |values| Transformation::Flip {
            probability: values[0],
        },
    },
    Family {
        name: "noise",
        parameters: &[parameter("std", 0.05, 0.0, MOST)],
        make: |values| Transformation::Noise { std: values[0] },
    },
    Family {
        name: "uniform-noise",
        parameters: &[parameter("size", 0.05, 0.0, MOST)],
        make: |values| Transformation::UniformNoise { size: values[0] },
    },
    Family {
        name: "brightness",
        parameters: &[
            parameter("low", 0.8, 0.0, MOST),
            parameter("high", 1.2, 0.0, MOST),
        ],
        make: |values| Transformation::Brightness {
            low: values[0],
            high: values[1],
        },
    },
];

impl Transformation {
    /// The names of all families.
    pub const NAMES: [&'static str; 6] = {
        let mut names = [""; 6];
        let mut at = 0;
        while at < names.len() {
            names[at] = FAMILIES[at].name;
            at += 1;
        }
        names
    };

    /// Returns the family's name and the values of its parameters.
    fn parts(&self) -> (&'static str, Vec<f64>) {
        match *self {
            Self::ResizePad { low } => ("resize-pad", vec![low]),
            Self::Crop { padding } => ("crop", vec![padding as f64]),
            Self::Flip { probability } => ("flip", vec![probability]),
            Self::Noise { std } => ("noise", vec![std]),
            Self::UniformNoise { size } => ("uniform-noise", vec![size]),
            Self::Brightness { low, high } => ("brightness", vec![low, high]),
        }
    }
}

impl fmt::Display for Transformation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, values) = self.parts();
        let family = FAMILIES.iter().find(|family| family.name == name);
        let names = family.into_iter().flat_map(|family| family.parameters);
        let pairs = names.zip(values);
        let pairs: Vec<String> = pairs
            .map(|(p, value)| format!("{}={value}", p.name))
            .collect();
        write!(f, "{name}({})", pairs.join(", "))
    }
}

impl FromStr for Transformation {
    type Err = Error;

    /// Parses `name` or `name(parameter=value, ...)`.
    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        let (name, given) = match text.split_once('(') {
            None => (text, ""),
            Some((name, rest)) => match rest.strip_suffix(')') {
                Some(given) => (name.trim_end(), given),
                None => {
                    return Err(Error::invalid(format!(
                        "transformation {:?} does not end with )",
                        legible::name(text)
                    )));
                }
            },
        };
        let family = FAMILIES.iter().find(|family| family.name == name);
        let family = family.ok_or_else(|| unknown("transformation", name, &Self::NAMES))?;
        let made = (family.make)(&family.read(given)?);
        match made {
            Self::Brightness { low, high } if low > high => Err(Error::invalid(format!(
                "{made}: low is above high; swap them"
            ))),
            _ => Ok(made),
        }
    }
}

impl Family {
    /// Reads the given values, `name=value, ...`, and fills in the defaults of the others.
    fn read(&self, given: &str) -> Result<Vec<f64>> {
        let mut values: Vec<Option<f64>> = vec![None; self.parameters.len()];
        for pair in given.split(',').filter(|pair| !pair.trim().is_empty()) {
            let (word, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (word, value) = (word.trim(), value.trim());
            let names: Vec<&str> = self.parameters.iter().map(|p| p.name).collect();
            let at = names.iter().position(|&name| name == word);
            let at =
                at.ok_or_else(|| unknown(&format!("{}'s parameter", self.name), word, &names))?;
            if values[at].is_some() {
                return Err(Error::invalid(format!(
                    "{}: {word} is given twice",
                    self.name
                )));
            }
            let Parameter { low, high, .. } = self.parameters[at];
            let whole = word == "padding";
            let number = value.parse().ok();
            let sound =
                |number: &f64| (low..=high).contains(number) && (!whole || number.fract() == 0.0);
            let number = number.filter(sound).ok_or_else(|| {
                Error::invalid(format!(
                    "{}: {word} must be a {}number from {low} to {high}, not {:?}",
                    self.name,
                    if whole { "whole " } else { "" },
                    legible::name(value)
                ))
            })?;
            values[at] = Some(number);
        }
        let defaults = values.iter().zip(self.parameters);
        Ok(defaults
            .map(|(value, p)| value.unwrap_or(p.default))
            .collect())
    }
}
