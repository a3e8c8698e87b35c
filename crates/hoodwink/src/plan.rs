//! Builds an evaluation from the options of a front end. All front ends use it.

use std::collections::BTreeSet;

use crate::{
    Error, Result,
    attacks::{ATTACKS, Aim, Attack, Entry, Spec},
    data::class_named,
    evaluate::{Evaluation, Trial},
    nearest::nearest,
    oracle::Access,
    results::{AttackRecord, ThreatRecord, keys},
    threat::{Eps, Norm, Sweep, TargetChoice, Threat},
};

/// The options of an evaluation.
#[derive(Clone, Debug)]
pub struct Options {
    /// The attacks, in order. If empty, the default attack for the threat.
    pub attacks: Vec<Spec>,
    /// Parameters for every attack that has them and does not set them itself.
    pub shared: Vec<(String, String)>,
    /// The threat model.
    pub threat: Threat,
    /// Radii, in order. Empty to find the smallest norm.
    pub radii: Vec<Eps>,
    /// Whether to skip samples that an earlier attack has broken at the same radius.
    pub skips_broken: bool,
    /// Random seed.
    pub seed: u64,
}

/// Builds the evaluation of a model with inputs `[channels, height, width]` and `classes` classes.
///
/// # Errors
/// Fails if an attack or a radius is named twice, if a radius is implausible ([`Eps::check_meant`]), if no attack has a
/// given parameter, or if [`Evaluation::check`] refuses the result.
pub fn evaluation(options: &Options, input: [usize; 3], classes: usize) -> Result<Evaluation> {
    let mut specs = options.attacks.clone();
    if specs.is_empty() {
        specs.push(Spec {
            entry: by_default(&options.threat, options.radii.is_empty())?,
            set: Vec::new(),
        });
    }
    for (name, text) in &options.shared {
        let taken = specs.iter_mut().map(|spec| spec.set_if_free(name, text));
        // Every attack is set, not only the first that has the parameter.
        if taken.filter(|taken| *taken).count() == 0 {
            return Err(unused(name, &specs));
        }
    }
    let attacks = specs.iter().map(Spec::build).collect::<Result<Vec<_>>>()?;
    let mut recipes = BTreeSet::new();
    for (attack, spec) in attacks.iter().zip(&specs) {
        if !recipes.insert(attack.recipe()) {
            return Err(Error::invalid(format!("attack {spec} is named twice")));
        }
    }
    let mut texts = BTreeSet::new();
    for eps in &options.radii {
        if !texts.insert(eps.text()) {
            return Err(Error::invalid(format!("eps {eps} is named twice")));
        }
        eps.check_meant("eps", options.threat.norm, input.iter().product())?;
    }
    let keys = keys(attacks.iter().map(Attack::name));
    let trials = attacks.into_iter().zip(keys);
    let evaluation = Evaluation {
        threat: options.threat.clone(),
        radii: options.radii.clone(),
        swept: None,
        trials: trials.map(|(attack, key)| Trial { attack, key }).collect(),
        skips_broken: options.skips_broken,
        seed: options.seed,
    };
    evaluation.check(classes)?;
    Ok(evaluation)
}

/// Returns the default norm: L-inf if all attacks support it, else the first norm that they share. To find the smallest
/// norm without a named attack, the default is L2, which the fastest of these attacks supports.
pub fn norm_by_default(attacks: &[Spec], smallest: bool) -> Norm {
    if attacks.is_empty() && smallest {
        return Norm::L2;
    }
    let shared = |norm: &Norm| attacks.iter().all(|spec| spec.entry.norms.contains(norm));
    Norm::ALL.into_iter().find(shared).unwrap_or(Norm::Linf)
}

/// Returns the default radius if some attacks need one: 8/255 in L-inf for colour pictures, the most common choice in
/// published results. Other cases have no usual radius.
pub fn radius_by_default(attacks: &[Spec], norm: Norm, input: [usize; 3]) -> Option<Eps> {
    let mut aims = attacks.iter().map(|spec| spec.entry.aim);
    let needs_one = aims.any(|aim| aim != Aim::Smallest);
    let is_usual = norm == Norm::Linf && input[0] == 3;
    (needs_one && is_usual)
        .then(|| "8/255".parse().ok())
        .flatten()
}

/// Parses a target: `most-likely`, `least-likely`, `random`, or the number or name of a class.
///
/// # Errors
/// Fails if the model has no such class.
pub fn target(text: &str, names: &[String], classes: usize) -> Result<TargetChoice> {
    match text.parse() {
        Ok(TargetChoice::Class(_)) | Err(_) => {}
        Ok(choice) => return Ok(choice),
    }
    let class = class_named(text, names, classes).map_err(|error| {
        let words = match (text.parse::<usize>(), nearest(text, TargetChoice::WORDS)) {
            (Ok(_), _) => String::new(),
            (_, Some(word)) => format!("; did you mean {word}?"),
            (_, None) => " (or most-likely, least-likely, random)".to_owned(),
        };
        Error::invalid(format!("target {error}{words}"))
    })?;
    Ok(TargetChoice::Class(class))
}

/// Returns the threat of an evaluation as recorded in `run.toml`.
pub fn threat_record(evaluation: &Evaluation) -> ThreatRecord {
    let Threat {
        norm,
        target,
        access,
        budget,
    } = &evaluation.threat;
    let limits = [("queries", budget.queries), ("gradients", budget.gradients)];
    let limits = limits.into_iter().filter(|(_, limit)| *limit < u64::MAX);
    ThreatRecord {
        norm: norm.to_string(),
        eps: evaluation.radii.iter().map(Eps::to_string).collect(),
        sweep: evaluation.swept.as_ref().map(Sweep::to_string),
        goal: target.map_or_else(
            || "untargeted".to_owned(),
            |target| format!("targeted: {target}"),
        ),
        access: access.word().to_owned(),
        budget: limits
            .map(|(name, limit)| (name.to_owned(), limit))
            .collect(),
    }
}

/// Returns the attacks of an evaluation as recorded in `run.toml`.
pub fn attack_records(evaluation: &Evaluation) -> Vec<AttackRecord> {
    let record = |trial: &Trial| AttackRecord {
        name: trial.attack.name().to_owned(),
        recipe: trial.attack.recipe(),
    };
    evaluation.trials.iter().map(record).collect()
}

/// Returns the default attack: projected gradient descent within a radius. Without a radius, it is the attack for the
/// smallest norm that makes the most of the allowed access.
fn by_default(threat: &Threat, smallest: bool) -> Result<&'static Entry> {
    let fits = |entry: &&Entry| {
        let wanted = match smallest {
            true => entry.aim == Aim::Smallest,
            false => entry.aim == Aim::Radius,
        };
        wanted
            && entry.norms.contains(&threat.norm)
            && entry.access() <= threat.access
            && (threat.target.is_none() || entry.targeted)
    };
    let fitting = || ATTACKS.iter().filter(fits);
    if let Some(pgd) = fitting().find(|entry| entry.name == "pgd") {
        return Ok(pgd);
    }
    let found = fitting().max_by_key(|entry| entry.access());
    found.ok_or_else(|| {
        Error::unsupported(format!(
            "no attack for {} in {} works with access to {}{}",
            if smallest {
                "the smallest norm"
            } else {
                "a radius"
            },
            threat.norm,
            threat.access.word(),
            if smallest { "; set a radius" } else { "" },
        ))
    })
}

fn unused(name: &str, specs: &[Spec]) -> Error {
    let names: Vec<&str> = specs.iter().map(|spec| spec.entry.name).collect();
    Error::invalid(match &names[..] {
        [only] => format!("attack {only} has no parameter {name}; leave it out"),
        names => format!(
            "none of the attacks {} has a parameter {name}; leave it out",
            names.join(", ")
        ),
    })
}

/// Tells whether any of the attacks needs gradients.
pub fn asks_for_gradients(evaluation: &Evaluation) -> bool {
    let mut attacks = evaluation.trials.iter().map(|trial| &trial.attack);
    attacks.any(|attack| attack.access() == Access::Gradients)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::Budget;

    fn options(attacks: &str, radii: &[&str]) -> Options {
        Options {
            attacks: Spec::parse_all(attacks).unwrap(),
            shared: Vec::new(),
            threat: Threat {
                norm: Norm::Linf,
                target: None,
                access: Access::Gradients,
                budget: Budget::default(),
            },
            radii: radii.iter().map(|text| text.parse().unwrap()).collect(),
            skips_broken: false,
            seed: 0,
        }
    }

    fn shared(name: &str, text: &str) -> Vec<(String, String)> {
        vec![(name.to_owned(), text.to_owned())]
    }

    #[test]
    fn attacks_are_built_with_what_serves_all() {
        let mut asked = options("pgd(steps=7), pgd(loss=dlr), fgsm", &["0.1"]);
        asked.shared = shared("steps", "3");
        let evaluation = evaluation(&asked, [3, 8, 8], 10).unwrap();
        let keys: Vec<&str> = evaluation.trials.iter().map(|one| &*one.key).collect();
        assert_eq!(keys, ["pgd", "pgd-2", "fgsm"]);
        let recipes = attack_records(&evaluation);
        assert!(recipes[0].recipe.contains("steps=7"));
        assert!(recipes[1].recipe.contains("steps=3"));
        assert!(asks_for_gradients(&evaluation));
    }

    #[test]
    fn without_a_name_the_attack_suits_the_threat() {
        let name = |asked: &Options| {
            evaluation(asked, [3, 8, 8], 10).map(|one| one.trials[0].attack.name())
        };
        assert_eq!(name(&options("", &["0.1"])).unwrap(), "pgd");
        let mut black = options("", &["0.1"]);
        black.threat.access = Access::Labels;
        assert!(name(&black).unwrap().ends_with("noise"));
    }

    #[test]
    fn without_a_radius_it_is_the_usual_one_where_there_is_one() {
        for (attacks, norm, input, expected) in [
            ("pgd", Norm::Linf, [3, 8, 8], Some("8/255")),
            ("ddn, pgd", Norm::Linf, [3, 8, 8], Some("8/255")),
            ("pgd", Norm::Linf, [1, 8, 8], None),
            ("pgd", Norm::L2, [3, 8, 8], None),
            ("ddn", Norm::L2, [3, 8, 8], None),
            ("", Norm::Linf, [3, 8, 8], None),
        ] {
            let specs = Spec::parse_all(attacks).unwrap();
            let found = radius_by_default(&specs, norm, input);
            assert_eq!(found.as_ref().map(Eps::text), expected, "{attacks}");
        }
    }

    #[test]
    fn targets_are_classes_by_number_or_name_and_words() {
        let names = ["tench, Tinca tinca", "goldfish"].map(String::from);
        for (text, expected) in [
            ("1", Ok(TargetChoice::Class(1))),
            ("Goldfish", Ok(TargetChoice::Class(1))),
            ("random", Ok(TargetChoice::Random)),
            ("least-likly", Err("; did you mean least-likely?")),
            ("2", Err("target 2: the model has 2 classes, 0 to 1")),
            (
                "golfish",
                Err("did you mean goldfish? (or most-likely, least-likely, random)"),
            ),
        ] {
            match (target(text, &names, 2), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{text}"),
                (Err(error), Err(says)) => assert!(error.to_string().contains(says), "{error}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
    }

    #[test]
    fn without_a_norm_it_is_one_that_all_attacks_share() {
        for (attacks, smallest, norm) in [
            ("", false, Norm::Linf),
            ("", true, Norm::L2),
            ("ddn", true, Norm::L2),
            ("hopskipjump", true, Norm::Linf),
            ("hopskipjump, ddn", true, Norm::L2),
            ("pgd", false, Norm::Linf),
        ] {
            let specs = Spec::parse_all(attacks).unwrap();
            assert_eq!(norm_by_default(&specs, smallest), norm, "{attacks}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_way_on() {
        let mut unused = options("fgsm, bim", &["0.1"]);
        unused.shared = shared("tries", "5");
        let mut targeted = options("fgsm", &["0.1"]);
        targeted.threat.access = Access::Scores;
        for (asked, says) in [
            (
                options("fgsm,fgsm(loss=ce)", &["0.1"]),
                "fgsm(loss=ce) is named twice",
            ),
            (options("fgsm", &["0.1", "0.1"]), "eps 0.1 is named twice"),
            (options("fgsm", &["8"]), "8/255"),
            (options("fgsm", &[]), "set eps"),
            (unused, "fgsm, bim has a parameter tries"),
            (targeted, "needs gradients"),
        ] {
            let error = evaluation(&asked, [3, 8, 8], 10)
                .err()
                .expect("it is refused")
                .to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
