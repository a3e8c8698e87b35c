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

/// One attack that can be asked for by name.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Name, unique in the registry.
    pub name: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// What kind of method it is.
    pub family: Family,
    /// What it looks for.
    pub aim: Aim,
    /// The norms it works in.
    pub norms: &'static [Norm],
    /// Whether it can aim at a class.
    pub targeted: bool,
    /// Whether it wants pictures of the class aimed at to begin at ([`Case::starts`]).
    pub begins_elsewhere: bool,
    /// What may be set about it.
    pub parameters: &'static [Parameter],
    /// What it asks, in words.
    pub cost: &'static str,
    /// Text of the attack's source file.
    pub(super) source: &'static str,
    /// Refuses values that do not fit each other or the conditions.
    pub(super) check: fn(&Values, &Conditions) -> Result<()>,
    /// The attack itself.
    pub(super) search: Search,
}

/// What kind of method an attack is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Random points, as a control.
    Noise,
    /// The largest loss within a radius, by gradients.
    Gradient,
    /// The smallest norm, by gradients.
    Minimum,
    /// By scores alone.
    Scores,
    /// By the most likely class alone.
    Labels,
    /// One perturbation for many pictures.
    Shared,
}

impl Family {
    /// The word used in lists.
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

/// What an attack looks for.
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
    /// The word used in lists.
    pub fn word(self) -> &'static str {
        match self {
            Self::Radius => "radius",
            Self::Smallest => "smallest",
            Self::Many => "many",
        }
    }
}

/// An attack as a function over the front that it needs. It ends with an error on a spent budget; what it has seen is in
/// `best`.
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
    /// Fits one perturbation to many pictures, by gradients.
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
    /// The least access it needs.
    pub fn access(&self) -> Access {
        self.search.access()
    }

    /// The attack with these parameters, as names and texts; what is not set is as by default.
    ///
    /// # Errors
    /// A parameter that it does not have, and a value that it does not take.
    pub fn build(&'static self, set: &[(String, String)]) -> Result<Attack> {
        let values = Values::read(self.parameters, set)
            .map_err(|error| Error::invalid(format!("attack {}: {error}", self.name)))?;
        Ok(Attack {
            entry: self,
            values,
        })
    }

    /// What the attack does, its formula, paper, defaults and their source, in Markdown: the comment at the head of its
    /// source file.
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
    /// The attack of a recipe, or of a name with what is set about it: `pgd(steps=100)`.
    ///
    /// # Errors
    /// Those of [`Spec::parse_all`] and [`Entry::build`], and more or fewer attacks than one.
    pub fn parse(recipe: &str) -> Result<Self> {
        match &Spec::parse_all(recipe)?[..] {
            [one] => one.build(),
            _ => Err(Error::invalid(format!("{recipe:?} is not one attack"))),
        }
    }

    /// Name in the registry.
    pub fn name(&self) -> &'static str {
        self.entry.name
    }

    /// Its entry in the registry.
    pub fn entry(&self) -> &'static Entry {
        self.entry
    }

    /// The full recipe: every parameter, so that equal recipes mean equal attacks. [`Attack::parse`] reads it back.
    pub fn recipe(&self) -> String {
        match self.entry.parameters.is_empty() {
            true => self.entry.name.to_owned(),
            false => format!("{}({})", self.entry.name, self.values),
        }
    }

    /// The least access it needs.
    pub fn access(&self) -> Access {
        self.entry.access()
    }

    /// What it looks for.
    pub fn aim(&self) -> Aim {
        self.entry.aim
    }

    /// Refuses conditions that it does not work under, and parameters that do not fit them or each other.
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
                "attack {name} cannot aim at a class"
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

    /// Looks for an image in the case's region that reaches its goal.
    ///
    /// A spent budget is no error: it ends the attack with the best candidate so far.
    pub async fn run(&self, oracle: &dyn Oracle, case: &Case) -> Result<Candidate> {
        let mut best = Best::of(case);
        let values = &self.values;
        let ended = match self.entry.search {
            Search::Labels(run) => run(Labels::of(oracle), case, values, &mut best).await,
            Search::Scores(run) => run(Scores::of(oracle), case, values, &mut best).await,
            Search::Gradients(run) => run(Gradients::of(oracle), case, values, &mut best).await,
            Search::Many(_) => {
                return Err(Error::invalid(format!(
                    "attack {} is fitted to many pictures",
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
    /// Those of the model, and an attack that works on one picture ([`Attack::run`]).
    pub async fn fit(&self, oracle: &dyn Oracle, fitting: &Fitting) -> Result<Edit> {
        match self.entry.search {
            Search::Many(fit) => fit(Gradients::of(oracle), fitting, &self.values).await,
            _ => Err(Error::invalid(format!(
                "attack {} works on one picture",
                self.name()
            ))),
        }
    }

    /// The loss that it climbs, where one may be chosen.
    pub fn loss(&self) -> Option<LossName> {
        let has_loss = self.entry.parameters.iter().any(|one| one.name == "loss");
        has_loss.then(|| self.values.loss().ok()).flatten()
    }

    /// How many pictures a perturbation is fitted to, at most: the parameter `pictures`.
    pub fn most_pictures(&self) -> Result<usize> {
        let most = self.values.count("pictures")?;
        Ok(usize::try_from(most).unwrap_or(usize::MAX))
    }
}

/// The attack of that name; where there is none, the error suggests the nearest if one is near.
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

/// For an attack whose parameters go together in any way; checks that the loss, if there is one, fits.
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
