//! The list of all attacks.

use std::fmt;

use super::{
    Best, Candidate, Case, Edit, Fitting, LossName,
    gradient::{apgd, bim, fgsm, pgd},
    labels::{hopskipjump, noise},
    minimum::ddn,
    parameters::{Parameter, Values},
    recipe::Spec,
    scores::square,
    shared::universal,
};
use crate::{
    Error, Result,
    nearest::did_you_mean,
    oracle::{Access, Gradients, Labels, Local, Oracle, Scores},
    threat::{Conditions, Norm},
};

/// All attacks, sorted by name.
pub const ATTACKS: &[Entry] = &[
    apgd::CE,
    apgd::DLR,
    apgd::T,
    bim::ENTRY,
    ddn::ENTRY,
    fgsm::ENTRY,
    noise::GAUSSIAN,
    hopskipjump::ENTRY,
    pgd::ENTRY,
    square::ENTRY,
    noise::UNIFORM,
    universal::ENTRY,
];

/// One attack in the registry.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The name, unique in the registry.
    pub name: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// The kind of method.
    pub family: Family,
    /// What it searches for.
    pub aim: Aim,
    /// The norms that it supports.
    pub norms: &'static [Norm],
    /// Whether it supports a target class.
    pub targeted: bool,
    /// Whether it needs pictures of the target class to start from ([`Case::starts`]).
    pub begins_elsewhere: bool,
    /// Its parameters.
    pub parameters: &'static [Parameter],
    /// Its cost in queries and gradients, in words.
    pub cost: &'static str,
    /// The text of the attack's source file.
    pub(super) source: &'static str,
    /// Refuses parameters that conflict with each other or with the conditions.
    pub(super) check: fn(&Values, &Conditions) -> Result<()>,
    /// The attack itself.
    pub(super) search: Search,
}

/// The kind of method of an attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Random points, as a control.
    Noise,
    /// The largest loss within a radius, using gradients.
    Gradient,
    /// The smallest norm, using gradients.
    Minimum,
    /// Uses scores only.
    Scores,
    /// Uses only the most likely class.
    Labels,
    /// One perturbation for many pictures.
    Shared,
}

impl Family {
    /// Returns the word used in lists.
    pub fn word(self) -> &'static str {
        match self {
            Self::Noise => "noise",
            Self::Gradient => "gradient",
            Self::Minimum => "minimum-norm",
            Self::Scores => "scores",
            Self::Labels => "labels",
            Self::Shared => "shared",
        }
    }
}

/// What an attack searches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// Any point within a given radius that reaches the goal.
    Radius,
    /// The nearest point that reaches the goal.
    Smallest,
    /// One perturbation within a given radius that serves many pictures.
    Many,
}

impl Aim {
    /// Returns the word used in lists.
    pub fn word(self) -> &'static str {
        match self {
            Self::Radius => "radius",
            Self::Smallest => "smallest",
            Self::Many => "many",
        }
    }
}

/// An attack as a function of the front that it needs. It returns an error when the budget is spent; `best` then holds
/// the result so far.
#[derive(Clone, Copy)]
pub(super) enum Search {
    /// Sees the most likely class.
    Labels(for<'a> fn(Labels<'a>, &'a Case, &'a Values, &'a mut Best) -> Local<'a, Result<()>>),
    /// Sees logits.
    Scores(for<'a> fn(Scores<'a>, &'a Case, &'a Values, &'a mut Best) -> Local<'a, Result<()>>),
    /// Sees gradients.
    Gradients(
        for<'a> fn(Gradients<'a>, &'a Case, &'a Values, &'a mut Best) -> Local<'a, Result<()>>,
    ),
    /// Fits one perturbation to many pictures, using gradients.
    Many(for<'a> fn(Gradients<'a>, &'a Fitting, &'a Values) -> Local<'a, Result<Edit>>),
}

impl fmt::Debug for Search {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.access().word())
    }
}

impl Search {
    fn access(self) -> Access {
        match self {
            Self::Labels(_) => Access::Labels,
            Self::Scores(_) => Access::Scores,
            Self::Gradients(_) | Self::Many(_) => Access::Gradients,
        }
    }
}

impl Entry {
    /// Returns the weakest access that it needs.
    pub fn access(&self) -> Access {
        self.search.access()
    }

    /// Builds the attack from names and texts of parameters. The other parameters have their defaults.
    ///
    /// # Errors
    /// An unknown parameter, or a value that it does not accept.
    pub fn build(&'static self, set: &[(String, String)]) -> Result<Attack> {
        let values = Values::read(self.parameters, set)
            .map_err(|error| Error::invalid(format!("attack {}: {error}", self.name)))?;
        Ok(Attack {
            entry: self,
            values,
        })
    }

    /// Returns the description of the attack in Markdown (formula, paper, defaults and their source): the comment at
    /// the head of its source file.
    pub fn doc(&self) -> String {
        let lines = self.source.lines().map_while(|line| {
            let text = line.strip_prefix("//!")?;
            Some(text.strip_prefix(' ').unwrap_or(text))
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// An attack with all its parameters.
#[derive(Clone, Debug)]
pub struct Attack {
    entry: &'static Entry,
    values: Values,
}

impl PartialEq for Attack {
    fn eq(&self, other: &Self) -> bool {
        self.entry.name == other.entry.name && self.values == other.values
    }
}

impl Attack {
    /// Parses the recipe of one attack, such as `pgd(steps=100)`.
    ///
    /// # Errors
    /// The errors of [`Spec::parse_all`] and [`Entry::build`], or a text with no attack or several.
    pub fn parse(recipe: &str) -> Result<Self> {
        match &Spec::parse_all(recipe)?[..] {
            [one] => one.build(),
            _ => Err(Error::invalid(format!(
                "{recipe:?} must name exactly one attack"
            ))),
        }
    }

    /// Returns the name in the registry.
    pub fn name(&self) -> &'static str {
        self.entry.name
    }

    /// Returns the entry in the registry.
    pub fn entry(&self) -> &'static Entry {
        self.entry
    }

    /// Returns the full recipe. It lists every parameter, so equal recipes mean equal attacks. [`Attack::parse`] reads
    /// it back.
    pub fn recipe(&self) -> String {
        match self.entry.parameters.is_empty() {
            true => self.entry.name.to_owned(),
            false => format!("{}({})", self.entry.name, self.values),
        }
    }

    /// Returns the weakest access that it needs.
    pub fn access(&self) -> Access {
        self.entry.access()
    }

    /// Returns what it searches for.
    pub fn aim(&self) -> Aim {
        self.entry.aim
    }

    /// Refuses conditions that the attack does not support, and parameters that conflict with them or with each other.
    pub fn check(&self, conditions: &Conditions) -> Result<()> {
        let Entry { name, norms, .. } = self.entry;
        if !norms.contains(&conditions.norm) {
            let norms: Vec<&str> = norms.iter().map(|norm| norm.word()).collect();
            return Err(Error::unsupported(format!(
                "attack {name} works in {}, not in {}",
                norms.join(", "),
                conditions.norm
            )));
        }
        if conditions.targeted && !self.entry.targeted {
            return Err(Error::unsupported(format!(
                "attack {name} does not support a target class"
            )));
        }
        let checked = self
            .values
            .check_lengths(conditions.norm)
            .and_then(|()| (self.entry.check)(&self.values, conditions));
        checked.map_err(|error| match error {
            Error::Invalid(said) => Error::invalid(format!("attack {name}: {said}")),
            other => other,
        })
    }

    /// Searches the case's region for an image that reaches its goal.
    ///
    /// A spent budget is not an error: it ends the attack with the best candidate so far.
    pub async fn run(&self, oracle: &dyn Oracle, case: &Case) -> Result<Candidate> {
        let mut best = Best::of(case);
        let values = &self.values;
        let ended = match self.entry.search {
            Search::Labels(run) => run(Labels::of(oracle), case, values, &mut best).await,
            Search::Scores(run) => run(Scores::of(oracle), case, values, &mut best).await,
            Search::Gradients(run) => run(Gradients::of(oracle), case, values, &mut best).await,
            Search::Many(_) => {
                return Err(Error::invalid(format!(
                    "attack {} fits one perturbation to many pictures and cannot run on one",
                    self.name()
                )));
            }
        };
        let budget_spent = match ended {
            Ok(()) => false,
            Err(Error::Budget(_)) => true,
            Err(error) => return Err(error),
        };
        Ok(best.into_candidate(budget_spent))
    }
}

impl Attack {
    /// Fits a perturbation to many pictures.
    ///
    /// # Errors
    /// Errors of the model, or an attack that works on single pictures ([`Attack::run`]).
    pub async fn fit(&self, oracle: &dyn Oracle, fitting: &Fitting) -> Result<Edit> {
        match self.entry.search {
            Search::Many(fit) => fit(Gradients::of(oracle), fitting, &self.values).await,
            _ => Err(Error::invalid(format!(
                "attack {} works on single pictures and fits no shared perturbation",
                self.name()
            ))),
        }
    }

    /// Returns the loss that the attack increases, if it has a parameter for it.
    pub fn loss(&self) -> Option<LossName> {
        let has_loss = self.entry.parameters.iter().any(|one| one.name == "loss");
        has_loss.then(|| self.values.loss().ok()).flatten()
    }

    /// Returns the maximum number of pictures that a perturbation is fitted to: the parameter `pictures`.
    pub fn most_pictures(&self) -> Result<usize> {
        let most = self.values.count("pictures")?;
        Ok(usize::try_from(most).unwrap_or(usize::MAX))
    }
}

/// Finds an attack by name. If there is none, the error suggests a similar name.
pub fn find(name: &str) -> Result<&'static Entry> {
    if let Some(entry) = ATTACKS.iter().find(|entry| entry.name == name) {
        return Ok(entry);
    }
    let names: Vec<&str> = ATTACKS.iter().map(|entry| entry.name).collect();
    let suggestion = did_you_mean(name, names.iter().copied());
    Err(Error::invalid(format!(
        "there is no attack {name:?}{suggestion} (there are {})",
        names.join(", ")
    )))
}

/// The check of attacks whose parameters never conflict: only the loss, if there is one, must fit.
pub(super) fn any_values(values: &Values, conditions: &Conditions) -> Result<()> {
    match values.loss() {
        Ok(loss) => loss
            .resolve(conditions.targeted, conditions.classes)
            .map(drop),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_found() {
        assert!(ATTACKS.is_sorted_by(|a, b| a.name < b.name));
        for entry in ATTACKS {
            assert_eq!(find(entry.name).unwrap().name, entry.name);
        }
    }

    #[test]
    fn an_unknown_name_gets_the_nearest_one() {
        for (typed, nearest) in [
            ("pgdd", "pgd"),
            ("ifgsm", "fgsm"),
            ("gausian", "gaussian-noise"),
            ("uniform", "uniform-noise"),
        ] {
            let message = find(typed).unwrap_err().to_string();
            assert!(message.contains(&format!("mean {nearest}?")), "{message}");
        }
    }

    #[test]
    fn every_attack_documents_itself() {
        for entry in ATTACKS {
            let doc = entry.doc();
            for part in ["# Formula", "# Defaults", "# Source"] {
                assert!(doc.contains(part), "{}: {part}", entry.name);
            }
            assert!(!entry.summary.is_empty() && !entry.summary.contains('\n'));
            assert!(!entry.cost.is_empty() && !entry.norms.is_empty());
            for parameter in entry.parameters {
                let name = parameter.name;
                assert!(
                    !parameter.meaning.is_empty() && !parameter.origin.is_empty(),
                    "{name}"
                );
                assert!(
                    name.chars().all(|c| c.is_ascii_lowercase() || c == '_'),
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn what_an_attack_does_not_work_under_is_refused() {
        let plain = Conditions {
            norm: Norm::Linf,
            targeted: false,
            classes: 10,
        };
        let few = Conditions {
            classes: 2,
            ..plain
        };
        for (recipe, conditions, says) in [
            ("pgd(restarts=3, random_start=false)", plain, "random start"),
            ("pgd(momentum=0.5)", plain, "momentum"),
            ("pgd(rule=sgd)", plain, "step_size"),
            ("pgd(loss=dlr)", few, "loss margin"),
            ("pgd(step_size=2)", plain, "did you mean 2/255?"),
            ("fgsm(loss=two-term)", plain, "target"),
        ] {
            let attack = Attack::parse(recipe).unwrap();
            let error = attack.check(&conditions).unwrap_err().to_string();
            assert!(error.contains(says), "{recipe}: {error}");
        }
        assert!(
            Attack::parse("pgd(rule=sgd, step_size=0.1, momentum=0.5)")
                .unwrap()
                .check(&plain)
                .is_ok()
        );
    }
}
