//! The radius of the ball, as typed and as computed.

use std::{fmt, str::FromStr};

use crate::{Error, Result};

/// A radius in pixel space that remembers how it was typed: `8/255`, `0.5`, `1e-2`.
#[derive(Clone, Debug, PartialEq)]
pub struct Eps {
    text: String,
    value: f64,
}

impl Eps {
    /// The radius.
    pub fn value(&self) -> f64 {
        self.value
    }
}

impl FromStr for Eps {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        let number = |part: &str| part.trim().parse::<f64>().ok();
        let value = match text.split_once('/') {
            Some((over, under)) => number(over).zip(number(under)).map(|(a, b)| a / b),
            None => number(text),
        };
        match value {
            Some(value) if value.is_finite() && value >= 0.0 => Ok(Self {
                text: text.to_owned(),
                value,
            }),
            _ => Err(Error::invalid(format!(
                "{text:?} is not a radius; type a number such as 0.03 or a fraction such as 8/255"
            ))),
        }
    }
}

impl fmt::Display for Eps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_and_numbers_are_read_and_kept_as_typed() {
        for (text, value) in [
            ("8/255", 8.0 / 255.0),
            ("0.5", 0.5),
            (" 1e-2 ", 0.01),
            ("0", 0.0),
        ] {
            let eps: Eps = text.parse().unwrap();
            assert_eq!(eps.value(), value);
            assert_eq!(eps.to_string(), text.trim());
        }
        for text in ["", "8/0", "-1", "nan", "8/255/2", "eight", "inf"] {
            assert!(text.parse::<Eps>().is_err(), "{text:?}");
        }
    }
}
