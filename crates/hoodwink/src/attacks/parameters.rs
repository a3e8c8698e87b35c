//! The parameters of an attack: declared once, parsed from text, and written into its recipe.
//!
//! The table that an attack declares is the single source of its settings, defaults, checks, documentation and recipe.
//! A value keeps its text form, so a recipe spells it the way it was typed.

use std::{collections::BTreeMap, fmt, str::FromStr};

use super::LossName;
use crate::{
    Error, Result,
    nearest::{did_you_mean, unknown},
    threat::{Eps, Norm},
};

/// One parameter of an attack.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// The name, lower case with underscores.
    pub name: &'static str,
    /// The values it accepts.
    pub kind: Kind,
    /// The default as it would be typed; empty if there is none and the parameter must be set.
    pub default: &'static str,
    /// The meaning, in one line.
    pub meaning: &'static str,
    /// The source of the default: the paper, its code, or this project's choice.
    pub origin: &'static str,
}

/// The loss that gradient steps increase.
pub(super) const LOSS: Parameter = Parameter {
    name: "loss",
    kind: Kind::LOSS,
    default: "ce",
    meaning: "the loss to increase",
    origin: "the paper",
};

/// The values that a parameter accepts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A whole number in a range.
    Count {
        /// The minimum.
        least: u64,
        /// The maximum.
        most: u64,
    },
    /// A number in a closed range.
    Number {
        /// The minimum.
        least: f64,
        /// The maximum.
        most: f64,
    },
    /// A positive length, in pixel units or relative to the radius; see [`Length`].
    Length,
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Word(&'static [&'static str]),
}

impl Kind {
    /// A whole number from 1 up.
    pub const POSITIVE: Self = Self::Count {
        least: 1,
        most: 1_000_000_000,
    };

    /// The names of losses.
    pub const LOSS: Self = Self::Word(&LossName::WORDS);
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count { least, most } if *most >= 1_000_000_000 => {
                write!(f, "a whole number, at least {least}")
            }
            Self::Count { least, most } => write!(f, "a whole number from {least} to {most}"),
            Self::Number { least, most } if most.is_infinite() => {
                write!(f, "a number, at least {least}")
            }
            Self::Number { least, most } => write!(f, "a number from {least} to {most}"),
            Self::Length => f.write_str(
                "a length above 0, in pixel units (0.01, 2/255) or relative to the radius (0.1*eps)",
            ),
            Self::Flag => f.write_str("true or false"),
            Self::Word(words) => f.write_str(&words.join(", ")),
        }
    }
}

/// A length in pixel units, or a multiple of the radius that may be divided by the number of steps.
#[derive(Clone, Debug, PartialEq)]
pub enum Length {
    /// In pixel units.
    Pixels(Eps),
    /// `times * eps / over`, where `over` is 1 or the number of steps.
    OfEps {
        /// The factor of the radius.
        times: f64,
        /// Whether to divide by the number of steps.
        per_step: bool,
    },
}

impl Length {
    /// Returns the length in pixel units for this radius and number of steps.
    pub fn in_pixels(&self, eps: f64, steps: u64) -> f64 {
        match self {
            Self::Pixels(length) => length.value(),
            Self::OfEps {
                times,
                per_step: false,
            } => times * eps,
            Self::OfEps { times, .. } => times * eps / steps as f64,
        }
    }
}

impl FromStr for Length {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text: String = text.split_whitespace().collect();
        let bad = || {
            Error::invalid(format!(
                "{text:?} is not a length; use pixel units (0.01, 2/255) or a multiple of the radius (0.1*eps, 2.5*eps/steps)"
            ))
        };
        let length = match text.split_once("eps") {
            None => Self::Pixels(text.parse().map_err(|_| bad())?),
            Some((factor, rest)) => {
                let times = match factor.strip_suffix('*') {
                    None if factor.is_empty() => 1.0,
                    None => return Err(bad()),
                    Some(number) => number.parse().map_err(|_| bad())?,
                };
                let per_step = match rest {
                    "" => false,
                    "/steps" => true,
                    _ => return Err(bad()),
                };
                Self::OfEps { times, per_step }
            }
        };
        let sample = length.in_pixels(1.0, 1);
        match sample.is_finite() && sample > 0.0 {
            true => Ok(length),
            false => Err(bad()),
        }
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pixels(length) => length.fmt(f),
            Self::OfEps { times, per_step } => {
                if *times != 1.0 {
                    write!(f, "{times}*")?;
                }
                f.write_str(if *per_step { "eps/steps" } else { "eps" })
            }
        }
    }
}

/// The value of a parameter.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Count(u64),
    Number(f64),
    Length(Length),
    Flag(bool),
    Word(&'static str),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => count.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Length(length) => length.fmt(f),
            Self::Flag(flag) => flag.fmt(f),
            Self::Word(word) => f.write_str(word),
        }
    }
}

impl Parameter {
    fn read(&self, text: &str) -> Result<Value> {
        let name = self.name;
        let text = text.trim();
        let out_of_range =
            || Error::invalid(format!("{name} is {text}, but must be {}", self.kind));
        Ok(match self.kind {
            Kind::Count { least, most } => {
                let count: u64 = text.parse().map_err(|_| out_of_range())?;
                match (least..=most).contains(&count) {
                    true => Value::Count(count),
                    false => return Err(out_of_range()),
                }
            }
            Kind::Number { least, most } => {
                // `8/255` is a number too.
                let number: Option<f64> = match text.split_once('/') {
                    None => text.parse().ok(),
                    Some((over, under)) => {
                        let parts = over
                            .trim()
                            .parse::<f64>()
                            .ok()
                            .zip(under.trim().parse::<f64>().ok());
                        parts.map(|(over, under)| over / under)
                    }
                };
                match number {
                    Some(number) if (least..=most).contains(&number) && number.is_finite() => {
                        Value::Number(number)
                    }
                    _ => return Err(out_of_range()),
                }
            }
            Kind::Length => Value::Length(
                text.parse()
                    .map_err(|error: Error| Error::invalid(format!("{name}: {error}")))?,
            ),
            Kind::Flag => Value::Flag(text.parse().map_err(|_| out_of_range())?),
            Kind::Word(words) => {
                let found = words.iter().find(|word| **word == text);
                Value::Word(found.copied().ok_or_else(|| unknown(name, text, words))?)
            }
        })
    }
}

/// The values of all parameters of an attack.
#[derive(Clone, Debug)]
pub struct Values {
    table: &'static [Parameter],
    values: BTreeMap<&'static str, Value>,
}

impl PartialEq for Values {
    fn eq(&self, other: &Self) -> bool {
        self.values == other.values
    }
}

impl Values {
    /// Reads the given names and texts, and fills in the defaults of the other parameters.
    ///
    /// # Errors
    /// A name that is not in the table (the error suggests the nearest one), a name that is set twice, a value that is
    /// out of range or of the wrong kind, or a missing value without a default.
    pub fn read(table: &'static [Parameter], set: &[(String, String)]) -> Result<Self> {
        let mut values = BTreeMap::new();
        for (name, text) in set {
            let parameter = find(table, name)?;
            if values
                .insert(parameter.name, parameter.read(text)?)
                .is_some()
            {
                return Err(Error::invalid(format!("{} is set twice", parameter.name)));
            }
        }
        for parameter in table {
            if values.contains_key(parameter.name) {
                continue;
            }
            if parameter.default.is_empty() {
                return Err(Error::invalid(format!(
                    "{} must be set: {}",
                    parameter.name, parameter.meaning
                )));
            }
            values.insert(parameter.name, parameter.read(parameter.default)?);
        }
        Ok(Self { table, values })
    }

    fn get(&self, name: &str) -> Result<&Value> {
        self.values
            .get(name)
            .ok_or_else(|| Error::invalid(format!("the attack declares no parameter {name}")))
    }

    /// Returns a whole number.
    pub fn count(&self, name: &str) -> Result<u64> {
        match self.get(name)? {
            Value::Count(count) => Ok(*count),
            other => Err(mistaken(name, other)),
        }
    }

    /// Returns a number.
    pub fn number(&self, name: &str) -> Result<f64> {
        match self.get(name)? {
            Value::Number(number) => Ok(*number),
            other => Err(mistaken(name, other)),
        }
    }

    /// Returns a length in pixel units for this radius and number of steps.
    pub fn length(&self, name: &str, eps: f64, steps: u64) -> Result<f64> {
        match self.get(name)? {
            Value::Length(length) => Ok(length.in_pixels(eps, steps)),
            other => Err(mistaken(name, other)),
        }
    }

    /// Refuses lengths so large that they must have been meant in 255ths.
    pub(super) fn check_lengths(&self, norm: Norm) -> Result<()> {
        for (name, value) in &self.values {
            if let Value::Length(Length::Pixels(length)) = value {
                length.in_pixels(name, norm)?;
            }
        }
        Ok(())
    }

    /// Returns a flag.
    pub fn flag(&self, name: &str) -> Result<bool> {
        match self.get(name)? {
            Value::Flag(flag) => Ok(*flag),
            other => Err(mistaken(name, other)),
        }
    }

    /// Returns a word.
    pub fn word(&self, name: &str) -> Result<&'static str> {
        match self.get(name)? {
            Value::Word(word) => Ok(word),
            other => Err(mistaken(name, other)),
        }
    }

    /// Returns the loss in the parameter `loss`.
    pub fn loss(&self) -> Result<LossName> {
        self.word("loss")?.parse()
    }

    /// Returns whether a parameter has its default value.
    pub fn is_default(&self, name: &str) -> bool {
        let of_table = self.table.iter().find(|parameter| parameter.name == name);
        of_table.is_some_and(|parameter| {
            parameter.read(parameter.default).ok().as_ref() == self.values.get(name)
        })
    }
}

impl fmt::Display for Values {
    /// Writes `name=value, …` in the order of the table.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, parameter) in self.table.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            if let Some(value) = self.values.get(parameter.name) {
                write!(f, "{comma}{}={value}", parameter.name)?;
            }
        }
        Ok(())
    }
}

fn mistaken(name: &str, found: &Value) -> Error {
    Error::invalid(format!(
        "the parameter {name} has another kind than the attack expects: {found}"
    ))
}

/// Finds a parameter by name. Hyphens count as underscores.
pub(super) fn find<'t>(table: &'t [Parameter], name: &str) -> Result<&'t Parameter> {
    let plain = name.trim().replace('-', "_");
    if let Some(found) = table.iter().find(|parameter| parameter.name == plain) {
        return Ok(found);
    }
    if ["eps", "epsilon", "radius", "norm", "target"].contains(&&*plain) {
        return Err(Error::invalid(format!(
            "{plain} is not a parameter of an attack: it belongs to the threat, which all attacks share; set it there"
        )));
    }
    let names: Vec<&str> = table.iter().map(|parameter| parameter.name).collect();
    let meant = did_you_mean(&plain, names.iter().copied());
    Err(Error::invalid(match names.is_empty() {
        true => format!("it has no parameters, so {name:?} cannot be set"),
        false => format!(
            "it has no parameter {name:?}{meant} (it has {})",
            names.join(", ")
        ),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[Parameter] = &[
        Parameter {
            name: "steps",
            kind: Kind::Count { least: 1, most: 50 },
            default: "40",
            meaning: "steps",
            origin: "",
        },
        Parameter {
            name: "step_size",
            kind: Kind::Length,
            default: "2.5*eps/steps",
            meaning: "length of a step",
            origin: "",
        },
        Parameter {
            name: "loss",
            kind: Kind::LOSS,
            default: "ce",
            meaning: "what is climbed",
            origin: "",
        },
        Parameter {
            name: "kappa",
            kind: Kind::Number {
                least: 0.0,
                most: f64::INFINITY,
            },
            default: "0",
            meaning: "margin",
            origin: "",
        },
        Parameter {
            name: "random",
            kind: Kind::Flag,
            default: "true",
            meaning: "start",
            origin: "",
        },
    ];

    fn read(set: &[(&str, &str)]) -> Result<Values> {
        let set: Vec<(String, String)> = set
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect();
        Values::read(TABLE, &set)
    }

    #[test]
    fn what_is_written_is_what_was_read() {
        for (set, written) in [
            (
                &[][..],
                "steps=40, step_size=2.5*eps/steps, loss=ce, kappa=0, random=true",
            ),
            (
                &[
                    ("step-size", " 2/255 "),
                    ("loss", "two-term"),
                    ("kappa", "1/4"),
                ],
                "steps=40, step_size=2/255, loss=two-term, kappa=0.25, random=true",
            ),
            (
                &[("step_size", "eps"), ("steps", "7"), ("random", "false")],
                "steps=7, step_size=eps, loss=ce, kappa=0, random=false",
            ),
        ] {
            let values = read(set).unwrap();
            assert_eq!(values.to_string(), written);
            let pairs: Vec<(&str, &str)> = written
                .split(", ")
                .map(|pair| pair.split_once('=').unwrap())
                .collect();
            assert_eq!(read(&pairs).unwrap(), values);
        }
    }

    #[test]
    fn values_have_the_kind_that_the_table_says() {
        let values = read(&[("step_size", "0.5*eps")]).unwrap();
        assert_eq!(values.count("steps").unwrap(), 40);
        assert_eq!(values.length("step_size", 0.2, 40).unwrap(), 0.1);
        let by_default = read(&[]).unwrap();
        assert_eq!(
            by_default.length("step_size", 0.3, 40).unwrap(),
            2.5 * 0.3 / 40.0
        );
        assert_eq!(values.loss().unwrap(), LossName::Ce);
        assert!(values.flag("random").unwrap());
        assert!(values.number("steps").is_err() && values.count("stops").is_err());
        assert!(values.is_default("steps") && !values.is_default("step_size"));
    }

    #[test]
    fn mistakes_are_refused_with_the_way_on() {
        for (set, says) in [
            (&[("step", "3")][..], "did you mean steps?"),
            (&[("eps", "0.1")], "belongs to the threat"),
            (&[("steps", "0")], "from 1 to 50"),
            (&[("steps", "51")], "from 1 to 50"),
            (&[("steps", "2.5")], "whole number"),
            (&[("kappa", "-1")], "at least 0"),
            (&[("kappa", "nan")], "at least 0"),
            (&[("step_size", "0")], "0.1*eps"),
            (&[("step_size", "eps*2")], "0.1*eps"),
            (&[("step_size", "-1*eps")], "0.1*eps"),
            (&[("loss", "dlrr")], "dlr"),
            (&[("random", "yes")], "true or false"),
            (&[("steps", "3"), ("steps", "4")], "twice"),
        ] {
            let error = read(set).unwrap_err().to_string();
            assert!(error.contains(says), "{set:?}: {error}");
        }
    }
}
