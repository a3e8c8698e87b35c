//! The list of all attacks.

use super::{Attack, AttackOptions, bim, fgsm, noise, pgd};
use crate::{Error, Result, nearest::did_you_mean, oracle::Access, threat::Norm};

/// All attacks, sorted by name.
pub const ATTACKS: &[Entry] = &[
    bim::ENTRY,
    fgsm::ENTRY,
    noise::GAUSSIAN,
    pgd::ENTRY,
    noise::UNIFORM,
];

/// One attack that can be asked for by name.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Name, unique in the registry.
    pub name: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// The norms it works in.
    pub norms: &'static [Norm],
    /// The least access it needs.
    pub access: Access,
    /// Text of the attack's source file.
    pub(super) source: &'static str,
    /// Builds the attack, taking out of the options what it uses.
    pub(super) make: fn(&mut AttackOptions) -> Result<Box<dyn Attack>>,
}

/// These attacks in order, all with the same options: each takes what it uses.
///
/// An option that none of them uses is an error, and so are a norm that one of them does not work in and an option out
/// of range.
pub fn build_all(entries: &[&Entry], options: &AttackOptions) -> Result<Vec<Box<dyn Attack>>> {
    let mut attacks = Vec::with_capacity(entries.len());
    let mut unused = options.set();
    for entry in entries {
        let (attack, left) = entry.make(options)?;
        attacks.push(attack);
        unused.retain(|option| left.contains(option));
    }
    refuse(&unused, entries)?;
    Ok(attacks)
}

fn refuse(unused: &[&str], entries: &[&Entry]) -> Result<()> {
    let Some(option) = unused.first() else {
        return Ok(());
    };
    let names: Vec<&str> = entries.iter().map(|entry| entry.name).collect();
    Err(Error::invalid(match &names[..] {
        [name] => format!("attack {name} would not use {option} here; leave it out"),
        names => format!(
            "none of the attacks {} would use {option} here; leave it out",
            names.join(", ")
        ),
    }))
}

impl Entry {
    /// The attack with these options. A norm it does not work in, an option out of range, and an option that it would
    /// not use are errors.
    pub fn build(&self, options: &AttackOptions) -> Result<Box<dyn Attack>> {
        let (attack, unused) = self.make(options)?;
        refuse(&unused, &[self])?;
        Ok(attack)
    }

    /// The attack, and the options that are set and that it would not use.
    fn make(&self, options: &AttackOptions) -> Result<(Box<dyn Attack>, Vec<&'static str>)> {
        if !self.norms.contains(&options.norm) {
            let norms: Vec<&str> = self.norms.iter().map(|norm| norm.word()).collect();
            return Err(Error::unsupported(format!(
                "attack {} works in {}, not in {}",
                self.name,
                norms.join(", "),
                options.norm
            )));
        }
        let mut options = options.clone();
        let attack = (self.make)(&mut options)?;
        Ok((attack, options.set()))
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
        }
    }

    #[test]
    fn options_that_an_attack_does_not_use_are_refused_by_name() {
        let plain = || AttackOptions::new(Norm::Linf, 0.1, false, 10);
        let steps = AttackOptions {
            steps: Some(3),
            ..plain()
        };
        let tries = AttackOptions {
            tries: Some(3),
            ..plain()
        };
        let momentum = AttackOptions {
            momentum: Some(0.5),
            ..plain()
        };
        for (name, options, option) in [
            ("fgsm", &steps, "--steps"),
            ("uniform-noise", &steps, "--steps"),
            ("pgd", &tries, "--tries"),
            ("pgd", &momentum, "--momentum"),
        ] {
            let refused = find(name).unwrap().build(options);
            let message = refused.err().expect("it is refused").to_string();
            assert!(
                message.contains(name) && message.contains(option),
                "{message}"
            );
        }
        assert!(find("pgd").unwrap().build(&steps).is_ok());
        assert!(find("uniform-noise").unwrap().build(&tries).is_ok());
    }

    #[test]
    fn of_several_attacks_one_has_to_use_an_option() {
        let entries = ["fgsm", "pgd"].map(|name| find(name).unwrap());
        let options = |steps, tries| AttackOptions {
            steps,
            tries,
            ..AttackOptions::new(Norm::Linf, 0.1, false, 10)
        };
        let built = build_all(&entries, &options(Some(3), None)).unwrap();
        let names: Vec<&str> = built.iter().map(|attack| attack.name()).collect();
        assert_eq!(names, ["fgsm", "pgd"]);
        assert!(
            built[1].recipe().contains("steps=3"),
            "{}",
            built[1].recipe()
        );
        let refused = build_all(&entries, &options(Some(3), Some(4)));
        let message = refused.err().expect("it is refused").to_string();
        assert!(message.contains("fgsm, pgd would use --tries"), "{message}");
    }
}
