//! The text form of attacks: `pgd(steps=100, loss=dlr), fgsm`.

use std::fmt;

use super::{Attack, Entry, find, parameters};
use crate::{Error, Result};

/// An attack by name with its settings. Everything else has its default.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The attack.
    pub entry: &'static Entry,
    /// Names and values of parameters, as typed.
    pub set: Vec<(String, String)>,
}

impl Spec {
    /// Parses a list of attacks: names separated by commas, each optionally followed by parameters in parentheses.
    ///
    /// # Errors
    /// An unknown name or unbalanced parentheses. [`Spec::build`] checks the parameters.
    pub fn parse_all(text: &str) -> Result<Vec<Self>> {
        parted(text)?.into_iter().map(Self::parse).collect()
    }

    fn parse(text: &str) -> Result<Self> {
        let (name, inner) = match text.split_once('(') {
            None => (text, ""),
            Some((name, rest)) => {
                let inner = rest.strip_suffix(')');
                (name, inner.ok_or_else(|| unmatched(text))?)
            }
        };
        let entry = find(name.trim())?;
        let set = parted(inner)?.into_iter().map(|pair| {
            let (name, value) = pair.split_once('=').ok_or_else(|| {
                Error::invalid(format!(
                    "attack {}: {pair:?} is not a parameter; write name=value, as in {}",
                    entry.name,
                    example(entry)
                ))
            })?;
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        });
        Ok(Self {
            entry,
            set: set.collect::<Result<_>>()?,
        })
    }

    /// Sets a parameter unless it is unknown or already set. Returns whether the attack has it.
    pub fn set_if_free(&mut self, name: &str, value: &str) -> bool {
        let Ok(parameter) = parameters::find(self.entry.parameters, name) else {
            return false;
        };
        let is_it = |set: &str| set.replace('-', "_") == parameter.name;
        if !self.set.iter().any(|(set, _)| is_it(set)) {
            self.set.push((parameter.name.to_owned(), value.to_owned()));
        }
        true
    }

    /// Builds the attack.
    ///
    /// # Errors
    /// An unknown parameter, or a value that it does not accept.
    pub fn build(&self) -> Result<Attack> {
        self.entry.build(&self.set)
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.entry.name)?;
        if self.set.is_empty() {
            return Ok(());
        }
        let pairs = self
            .set
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        write!(f, "({})", pairs.collect::<Vec<_>>().join(", "))
    }
}

/// Returns an example of a parameter in the syntax of recipes.
fn example(entry: &Entry) -> String {
    match entry.parameters.first() {
        Some(first) => format!("{}({}={})", entry.name, first.name, first.default),
        None => entry.name.to_owned(),
    }
}

fn unmatched(text: &str) -> Error {
    Error::invalid(format!(
        "the parentheses of {text:?} do not match; write an attack as pgd or pgd(steps=100, loss=dlr)"
    ))
}

/// Splits a text at the commas outside parentheses. An empty text has no parts.
fn parted(text: &str) -> Result<Vec<&str>> {
    let (mut parts, mut depth, mut begin) = (Vec::new(), 0_usize, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1).ok_or_else(|| unmatched(text))?,
            ',' if depth == 0 => {
                parts.push(&text[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    if depth > 0 {
        return Err(unmatched(text));
    }
    parts.push(&text[begin..]);
    let parts: Vec<&str> = parts.into_iter().map(str::trim).collect();
    if parts == [""] {
        return Ok(Vec::new());
    }
    match parts.iter().any(|part| part.is_empty()) {
        true => Err(Error::invalid(format!("{text:?} has one comma too many"))),
        false => Ok(parts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attacks_are_read_with_their_parameters() {
        let specs = Spec::parse_all("pgd(loss=dlr, steps=100), pgd(loss=ce),fgsm").unwrap();
        let texts: Vec<String> = specs.iter().map(Spec::to_string).collect();
        assert_eq!(texts, ["pgd(loss=dlr, steps=100)", "pgd(loss=ce)", "fgsm"]);
        let recipe = specs[0].build().unwrap().recipe();
        assert!(
            recipe.contains("steps=100") && recipe.contains("loss=dlr"),
            "{recipe}"
        );
    }

    #[test]
    fn what_is_set_within_parentheses_wins_over_what_serves_all() {
        let mut specs = Spec::parse_all("pgd(steps=7), pgd, fgsm").unwrap();
        let taken: Vec<bool> = specs
            .iter_mut()
            .map(|spec| spec.set_if_free("steps", "3"))
            .collect();
        assert_eq!(taken, [true, true, false]);
        let recipes: Vec<String> = specs[..2]
            .iter()
            .map(|spec| spec.build().unwrap().recipe())
            .collect();
        assert!(recipes[0].contains("steps=7") && recipes[1].contains("steps=3"));
    }

    #[test]
    fn mistakes_are_refused_with_the_way_on() {
        for (text, says) in [
            ("pgd(steps=3", "do not match"),
            ("pgd steps=3)", "do not match"),
            ("pgd(steps=3)x", "do not match"),
            ("pgdd(steps=3)", "did you mean pgd?"),
            ("pgd(steps)", "name=value"),
            ("pgd,,fgsm", "comma"),
            ("pgd(stepz=3)", "did you mean steps?"),
            ("pgd(steps=none)", "whole number"),
            ("fgsm(steps=3)", "no parameter"),
        ] {
            let built = Spec::parse_all(text)
                .and_then(|specs| specs.iter().map(Spec::build).collect::<Result<Vec<_>>>());
            let error = built.unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
        assert!(Spec::parse_all("").unwrap().is_empty());
    }
}
