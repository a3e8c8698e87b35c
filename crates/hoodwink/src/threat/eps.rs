//! The radius of the ball, as typed and as a number.

use std::{fmt, str::FromStr};

use super::Norm;
use crate::{Error, Result};

/// A radius in pixel space that keeps its text form: `8/255`, `0.5`, `1e-2`.
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

    /// The radius, as typed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the radius, or an error if it allows every picture in this norm; then 255ths were probably meant. `what`
    /// names the radius in the error.
    pub fn in_pixels(&self, what: &str, norm: Norm) -> Result<f64> {
        // A difference of 1 turns black into white.
        if norm != Norm::Linf || self.value <= 1.0 {
            return Ok(self.value);
        }
        let meant = match self.text.contains('/') {
            true => "a change of 1 turns black into white".to_owned(),
            false => format!("did you mean {self}/255?"),
        };
        Err(Error::invalid(format!(
            "{what} {self} allows every picture, since pixels range from 0 to 1; {meant}"
        )))
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
                "{text:?} is not a radius; write a number such as 0.03 or a fraction such as 8/255"
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
    fn a_radius_beyond_black_and_white_is_asked_about() {
        for (text, norm, says) in [
            ("1", Norm::Linf, None),
            ("8", Norm::L2, None),
            ("8", Norm::Linf, Some("did you mean 8/255?")),
            ("300/255", Norm::Linf, Some("a change of 1 turns")),
        ] {
            let eps: Eps = text.parse().unwrap();
            match (eps.in_pixels("eps", norm), says) {
                (Ok(value), None) => assert_eq!(value, eps.value()),
                (Err(error), Some(says)) => assert!(error.to_string().contains(says), "{error}"),
                (found, _) => panic!("{text} in {norm}: {found:?}"),
            }
        }
    }

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
