//! The radius of the ball, as typed and as computed.

use std::{fmt, str::FromStr};

use super::Norm;
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

    /// The radius, as typed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The radius, unless in this norm it allows any picture at all: then 255ths were meant. `what` names it.
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
            "{what} {self} allows any picture at all: pixels are from 0 to 1; {meant}"
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

/// A range of radii, such as `0..8/255`, in which an evaluation chooses those at which accuracy bends
/// ([`Evaluation::sweep`](crate::evaluate::Evaluation::sweep)). The end of `0..` is where hardly a picture stands any more.
#[derive(Clone, Debug, PartialEq)]
pub struct Sweep {
    from: Eps,
    to: Option<Eps>,
}

impl Sweep {
    /// Where it begins; 0 is the picture as it is.
    pub fn from(&self) -> &Eps {
        &self.from
    }

    /// Where it ends; `None` where that is to be found.
    pub fn to(&self) -> Option<&Eps> {
        self.to.as_ref()
    }

    /// Where it ends, or the first end to try in this norm.
    pub fn to_in(&self, norm: Norm) -> Eps {
        let first: &Eps = &match norm {
            Norm::Linf => Eps::written("1/255", 1.0 / 255.0),
            Norm::L2 => Eps::written("0.125", 0.125),
            Norm::L1 => Eps::written("2", 2.0),
            Norm::L0 => Eps::written("1", 1.0),
        };
        match &self.to {
            Some(to) => to.clone(),
            None if self.from.value < first.value => first.clone(),
            None => self.from.doubled(),
        }
    }
}

impl FromStr for Sweep {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let Some((from, to)) = text.split_once("..") else {
            return Err(Error::invalid(format!(
                "{text:?} is not a range of radii; write it as 0..8/255"
            )));
        };
        let from: Eps = match from.trim() {
            "" => "0".parse()?,
            from => from.parse()?,
        };
        let to = to.trim().trim_start_matches('=');
        if to.is_empty() {
            return Ok(Self { from, to: None });
        }
        let to: Eps = to.parse()?;
        if from.value() < to.value() {
            return Ok(Self { from, to: Some(to) });
        }
        let meant = match to.text.split_once('/') {
            Some((_, under)) if !from.text.contains('/') => {
                format!("; did you mean {from}/{under}..{to}?")
            }
            _ => String::new(),
        };
        Err(Error::invalid(format!(
            "the range {text} does not end beyond where it begins{meant}"
        )))
    }
}

impl fmt::Display for Sweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}..{}",
            self.from,
            self.to.as_ref().map_or("", Eps::text)
        )
    }
}

impl Eps {
    fn written(text: &str, value: f64) -> Self {
        let text = text.to_owned();
        Self { text, value }
    }

    /// Twice the radius, written in the same way.
    pub fn doubled(&self) -> Self {
        let over = |text: &str| text.trim().parse::<f64>().ok();
        let text = match self.text.split_once('/') {
            Some((number, under)) => over(number).map(|n| format!("{}/{under}", 2.0 * n)),
            None => None,
        };
        Self {
            text: text.unwrap_or_else(|| rounded(2.0 * self.value).to_string()),
            value: 2.0 * self.value,
        }
    }

    /// The radius halfway to another, written as both are: between `2/255` and `4/255` lies `3/255`.
    pub fn halfway(&self, other: &Self) -> Self {
        let fraction = |eps: &Self| {
            let (over, under) = eps.text.split_once('/')?;
            Some((over.trim().parse::<f64>().ok()?, under.trim().to_owned()))
        };
        let zero = |eps: &Self| eps.value == 0.0;
        let written = match (fraction(self), fraction(other)) {
            (Some((a, under)), Some((b, same))) if under == same => Some((a, b, under)),
            (None, Some((b, under))) if zero(self) => Some((0.0, b, under)),
            (Some((a, under)), None) if zero(other) => Some((a, 0.0, under)),
            _ => None,
        };
        let text = match written {
            Some((a, b, under)) => format!("{}/{under}", rounded(f64::midpoint(a, b))),
            None => rounded(f64::midpoint(self.value, other.value)).to_string(),
        };
        // What was just written is a radius; if not, it is that number.
        text.parse().unwrap_or_else(|_| Self {
            value: f64::midpoint(self.value, other.value),
            text,
        })
    }
}

/// A number with six significant digits.
fn rounded(value: f64) -> f64 {
    if value == 0.0 {
        return 0.0;
    }
    let scale = 10f64.powf(5.0 - value.abs().log10().floor());
    (value * scale).round() / scale
}

/// What may be asked for as a radius.
#[derive(Clone, Debug, PartialEq)]
pub enum Radius {
    /// One radius: `8/255`.
    At(Eps),
    /// A range, in which several are chosen: `0..8/255`.
    Sweep(Sweep),
}

impl FromStr for Radius {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.contains("..") {
            true => text.parse().map(Self::Sweep),
            false => text.parse().map(Self::At),
        }
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

    #[test]
    fn a_range_is_told_from_a_radius() {
        for (text, shown) in [
            ("0..8/255", "0..8/255"),
            ("..8/255", "0..8/255"),
            ("2/255..8/255", "2/255..8/255"),
            (" 0 .. 1.5 ", "0..1.5"),
            ("0..", "0.."),
            ("..", "0.."),
        ] {
            match text.parse() {
                Ok(Radius::Sweep(sweep)) => assert_eq!(sweep.to_string(), shown),
                other => panic!("{text}: {other:?}"),
            }
        }
        assert!(matches!("8/255".parse(), Ok(Radius::At(_))));
        for (text, says) in [
            ("2..8/255", "did you mean 2/255..8/255?"),
            ("1..1", "does not end beyond"),
            ("0..8..9", "is not a radius"),
            ("a..b", "is not a radius"),
        ] {
            let refusal = text.parse::<Radius>().unwrap_err().to_string();
            assert!(refusal.contains(says), "{text}: {refusal}");
        }
    }

    #[test]
    fn an_open_range_begins_with_a_small_end() {
        for (text, norm, end) in [
            ("0..", Norm::Linf, "1/255"),
            ("2/255..", Norm::Linf, "4/255"),
            ("0..", Norm::L2, "0.125"),
            ("0.5..", Norm::L2, "1"),
            ("0..8/255", Norm::L2, "8/255"),
        ] {
            let sweep: Sweep = text.parse().unwrap();
            let found = sweep.to_in(norm);
            assert_eq!(found.text(), end, "{text}");
            assert_eq!(found, end.parse().unwrap());
            assert_eq!(found.doubled().value(), 2.0 * found.value());
        }
    }

    #[test]
    fn halfway_is_written_as_its_neighbours_are() {
        for (a, b, between) in [
            ("2/255", "4/255", "3/255"),
            ("0", "1/255", "0.5/255"),
            ("0.125/255", "0.25/255", "0.1875/255"),
            ("0.1", "0.2", "0.15"),
            ("0", "0.5", "0.25"),
            ("1/255", "0.5", "0.251961"),
        ] {
            let eps = |text: &str| -> Eps { text.parse().unwrap() };
            let found = eps(a).halfway(&eps(b));
            assert_eq!(found.text(), between, "{a} {b}");
            assert_eq!(found, eps(b).halfway(&eps(a)));
            let exact = f64::midpoint(eps(a).value(), eps(b).value());
            assert!((found.value() - exact).abs() < 1e-5 * exact);
        }
    }
}
