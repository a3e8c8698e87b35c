//! What every registered attack must keep to: with every loss it can take, in every norm, with a target and without, within a
//! radius or for the smallest norm.

use std::collections::BTreeSet;

use super::{
    ATTACKS, Aim, Attack, Candidate, Edit, Entry,
    parameters::Kind,
    toys::{CLASSES, Job, SHAPE, Setup, Toy, fit, jobs, run},
};
use crate::{
    Error,
    image::Image,
    oracle::{Access, Budget, Spent, pool::Parallelism},
    threat::{Conditions, Norm, distances},
};

const COUNT: usize = 8;

/// An attack under a threat model.
struct Bench {
    entry: &'static Entry,
    attack: Attack,
    setup: Setup,
    targeted: bool,
}

/// A radius at which some samples are fooled and others are not.
fn radius(norm: Norm) -> f64 {
    match norm {
        Norm::Linf => 0.04,
        Norm::L2 => 0.22,
        Norm::L1 => 1.0,
        Norm::L0 => 4.0,
    }
}

impl Bench {
    /// Every attack with what is set about it, in every norm and for both kinds of goal.
    fn with(set: impl Fn(&Entry) -> Vec<String>) -> Vec<Self> {
        let mut all = Vec::new();
        // What is fitted to many pictures has laws of its own, at the end.
        for entry in ATTACKS.iter().filter(|entry| entry.aim != Aim::Many) {
            for recipe in set(entry) {
                for &norm in entry.norms {
                    for targeted in [false, true] {
                        let attack = Attack::parse(&recipe).unwrap();
                        let radius = (entry.aim != Aim::Smallest).then(|| radius(norm));
                        let bench = Self {
                            entry,
                            attack,
                            setup: Setup::new(norm, radius),
                            targeted,
                        };
                        if bench.attack.check(&bench.conditions()).is_ok() {
                            all.push(bench);
                        }
                    }
                }
            }
        }
        all
    }

    /// Every attack as by default, made cheaper where it would take long.
    fn all() -> Vec<Self> {
        Self::with(|entry| vec![recipe(entry, &[])])
    }

    /// And with every loss that it can take.
    fn with_every_loss() -> Vec<Self> {
        Self::with(|entry| {
            let loss = entry.parameters.iter().find(|one| one.name == "loss");
            let words = match loss.map(|loss| loss.kind) {
                Some(Kind::Word(words)) => words,
                _ => &[],
            };
            let with = |word: &&str| recipe(entry, &[("loss", (*word).to_owned())]);
            let default = recipe(entry, &[]);
            std::iter::once(default)
                .chain(words.iter().map(with))
                .collect()
        })
    }

    /// And with every loss, every word, and other numbers.
    fn varied() -> Vec<Self> {
        Self::with(|entry| {
            let mut recipes = vec![recipe(entry, &[])];
            for parameter in entry.parameters {
                let texts: Vec<String> = match parameter.kind {
                    Kind::Word(words) => words.iter().map(|word| (*word).to_owned()).collect(),
                    Kind::Flag => vec!["true".to_owned(), "false".to_owned()],
                    Kind::Count { least, most } => vec![3.clamp(least, most).to_string()],
                    Kind::Length => vec!["0.01".to_owned()],
                    Kind::Number { .. } => Vec::new(),
                };
                for text in texts {
                    // Some rules have no step of their own.
                    let step = entry.parameters.iter().find(|one| one.kind == Kind::Length);
                    let mut set = vec![(parameter.name, text)];
                    if let Some(step) = step.filter(|_| parameter.name == "rule") {
                        set.push((step.name, "0.007".to_owned()));
                    }
                    recipes.push(recipe(entry, &set));
                }
            }
            recipes
        })
    }

    fn conditions(&self) -> Conditions {
        Conditions {
            norm: self.setup.norm,
            targeted: self.targeted,
            classes: CLASSES,
        }
    }

    fn jobs(&self, toy: &Toy) -> Vec<Job> {
        jobs(toy, self.targeted, COUNT)
    }

    fn run(&self, toy: &Toy) -> Vec<(Candidate, Spent)> {
        self.run_with(toy, &self.setup)
    }

    fn run_with(&self, toy: &Toy, setup: &Setup) -> Vec<(Candidate, Spent)> {
        run(toy, &self.attack, &self.jobs(toy), setup)
    }

    fn name(&self) -> String {
        format!(
            "{} in {}, targeted: {}",
            self.attack.recipe(),
            self.setup.norm,
            self.targeted
        )
    }
}

/// The attack with what is set, and with fewer questions than by default where those are many.
fn recipe(entry: &Entry, set: &[(&str, String)]) -> String {
    let mut set: Vec<(&str, String)> = set.to_vec();
    for (name, cheaper) in CHEAPER {
        let has = entry.parameters.iter().any(|one| one.name == *name);
        if has && !set.iter().any(|(set, _)| set == name) {
            set.push((name, (*cheaper).to_owned()));
        }
    }
    let pairs: Vec<String> = set
        .iter()
        .map(|(name, text)| format!("{name}={text}"))
        .collect();
    format!("{}({})", entry.name, pairs.join(", "))
}

/// Parameters whose defaults take long.
const CHEAPER: &[(&str, &str)] = &[("queries", "150"), ("iterations", "4")];

fn toys() -> [&'static Toy; 4] {
    [Toy::linear(), Toy::tanh(), Toy::quadratic(), Toy::broken()]
}

#[test]
fn a_candidate_stays_in_its_region_and_its_claim_holds() {
    for bench in Bench::varied() {
        for toy in toys() {
            for (job, (candidate, _)) in bench.jobs(toy).iter().zip(bench.run(toy)) {
                let case = bench.name();
                assert!(bench.setup.region(job).contains(&candidate.image), "{case}");
                let logits = toy.classify(&candidate.image);
                assert_eq!(candidate.reached, job.goal.reached(&logits), "{case}");
                assert!(candidate.loss.iter().all(|loss| loss.is_finite()), "{case}");
                assert!(
                    !candidate.budget_spent && !candidate.zero_gradient,
                    "{case}"
                );
            }
        }
    }
}

/// Without this the other laws could hold for want of trying.
#[test]
fn attacks_fool_some_samples_and_those_within_a_radius_not_others() {
    let (mut fooled, mut stood) = (0, 0);
    for bench in Bench::all() {
        if bench.entry.family == super::Family::Noise {
            continue;
        }
        let found = bench.run(Toy::tanh());
        let count = found.iter().filter(|(one, _)| one.reached).count();
        if bench.entry.aim == Aim::Smallest {
            assert!(count * 4 >= COUNT * 3, "{}: {count}", bench.name());
            continue;
        }
        fooled += count;
        stood += found.len() - count;
        assert!(bench.targeted || count > 0, "{}", bench.name());
    }
    assert!(fooled > 20 && stood > 20, "{fooled} fooled, {stood} stood");
}

#[test]
fn a_radius_of_zero_changes_nothing() {
    for bench in Bench::varied() {
        if bench.entry.aim == Aim::Smallest {
            continue;
        }
        let toy = Toy::tanh();
        let setup = Setup::within(bench.setup.norm, 0.0);
        for (job, (candidate, _)) in bench.jobs(toy).iter().zip(bench.run_with(toy, &setup)) {
            assert_eq!(candidate.image, job.original, "{}", bench.name());
            assert!(!candidate.reached, "{}", bench.name());
        }
    }
}

#[test]
fn the_seed_alone_decides_whoever_runs_beside() {
    for bench in Bench::with_every_loss() {
        let toy = Toy::tanh();
        let with = |threads, batch| {
            let crew = Parallelism { threads, batch };
            bench.run_with(
                toy,
                &Setup {
                    crew,
                    ..bench.setup
                },
            )
        };
        let alone = with(1, 1);
        assert_eq!(alone, with(1, 1), "{}", bench.name());
        assert_eq!(alone, with(1, 8), "{}", bench.name());
        assert_eq!(alone, with(3, 8), "{}", bench.name());

        let other = bench.run_with(
            toy,
            &Setup {
                seed: 1,
                ..bench.setup
            },
        );
        let is_random = !WITHOUT_CHANCE.contains(&bench.entry.name);
        assert_eq!(alone != other, is_random, "{}", bench.name());
    }
}

/// Attacks that draw no random number.
const WITHOUT_CHANCE: &[&str] = &["fgsm", "bim", "ddn"];

#[test]
fn more_effort_never_fools_less() {
    let pairs: [(&str, &str, &str); 3] = [
        ("steps", "3", "12"),
        ("restarts", "1", "4"),
        ("tries", "1", "8"),
    ];
    for entry in ATTACKS {
        for (name, less, more) in pairs {
            if !entry.parameters.iter().any(|one| one.name == name) || PLANNED.contains(&entry.name)
            {
                continue;
            }
            let with = |effort: &str| {
                let mut set = vec![(name, effort.to_owned())];
                // The same steps, only more of them.
                if name == "steps" {
                    set.push(("step_size", "0.125*eps".to_owned()));
                }
                let recipe = recipe(entry, &set);
                Bench::with(|one| match one.name == entry.name {
                    true => vec![recipe.clone()],
                    false => Vec::new(),
                })
            };
            for (less, more) in with(less).iter().zip(with(more)) {
                no_worse(less, &less.setup, &more, &more.setup);
            }
        }
    }
}

/// Attacks that plan their way by how much they may ask: another number of steps is another way.
const PLANNED: &[&str] = &["apgd-ce", "apgd-dlr", "apgd-t", "ddn"];

#[test]
fn a_larger_budget_never_fools_less() {
    for bench in Bench::with_every_loss() {
        let allowed = |count| Setup {
            budget: budget(count),
            ..bench.setup
        };
        no_worse(&bench, &allowed(2), &bench, &allowed(9));
        no_worse(&bench, &allowed(9), &bench, &allowed(60));
    }
}

fn no_worse(less: &Bench, less_setup: &Setup, more: &Bench, more_setup: &Setup) {
    let toy = Toy::tanh();
    let (little, much) = (
        less.run_with(toy, less_setup),
        more.run_with(toy, more_setup),
    );
    for ((job, (little, _)), (much, _)) in less.jobs(toy).iter().zip(&little).zip(&much) {
        let name = more.name();
        assert!(much.reached || !little.reached, "{name}");
        let most = |loss: &[f32]| loss.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        if less.entry.aim == Aim::Smallest {
            let distance = |one: &Candidate| less_setup.region(job).distance(&one.image);
            assert!(
                !little.reached || distance(much) <= distance(little),
                "{name}"
            );
        } else if less.entry.name == more.entry.name && !little.loss.is_empty() {
            assert!(
                much.reached || most(&much.loss) >= most(&little.loss),
                "{name}"
            );
        }
    }
}

#[test]
fn a_recipe_is_read_back_and_tells_every_part_apart() {
    let mut recipes = BTreeSet::new();
    let varied = Bench::varied();
    for bench in &varied {
        let recipe = bench.attack.recipe();
        assert_eq!(Attack::parse(&recipe).unwrap(), bench.attack, "{recipe}");
        assert_eq!(Attack::parse(&recipe).unwrap().recipe(), recipe);
        assert!(recipe.starts_with(bench.entry.name));
        recipes.insert(recipe);
    }
    for a in &varied {
        for b in &varied {
            let same = a.attack.recipe() == b.attack.recipe();
            assert_eq!(a.attack == b.attack, same);
        }
    }
    assert!(recipes.len() > 2 * ATTACKS.len(), "{}", recipes.len());
}

#[test]
fn a_model_without_gradients_gives_a_named_outcome() {
    for bench in Bench::with_every_loss() {
        for (toy, is_flat) in [(Toy::flat(), true), (Toy::wholly_broken(), false)] {
            if !is_flat && bench.entry.access() < Access::Gradients {
                continue;
            }
            // Broken gradients leave the start, and a random start may happen to reach the goal.
            for (candidate, spent) in bench.run(toy) {
                let blind = spent.gradients > 0;
                let is_lucky = candidate.reached && !is_flat;
                assert!(
                    candidate.zero_gradient == blind || is_lucky,
                    "{}",
                    bench.name()
                );
                assert!(candidate.image.pixels().iter().all(|x| x.is_finite()));
                assert!(!(candidate.reached && is_flat));
            }
        }
    }
}

/// Interrupted after every number of questions up to fifty, alone and in a crowd.
#[test]
fn a_budget_is_kept_and_named() {
    for bench in Bench::with_every_loss() {
        let toy = Toy::tanh();
        let jobs = jobs(toy, bench.targeted, 3);
        let run = |setup: &Setup| run(toy, &bench.attack, &jobs, setup);
        let endless = run(&bench.setup);
        for limit in 0..=50 {
            let interrupted = |threads, batch| {
                run(&Setup {
                    budget: budget(limit),
                    crew: Parallelism { threads, batch },
                    ..bench.setup
                })
            };
            let found = interrupted(1, 1);
            let name = format!("{} with {limit}", bench.name());
            // Threads that wait for each other take their time.
            let threads = if limit % 10 == 7 { 2 } else { 1 };
            assert_eq!(found, interrupted(threads, 8), "{name}");
            for (job, ((candidate, spent), (_, wanted))) in
                jobs.iter().zip(found.iter().zip(&endless))
            {
                let fits = wanted.queries <= limit && wanted.gradients <= limit;
                assert_eq!(candidate.budget_spent, !fits, "{name}");
                assert!(spent.queries <= limit && spent.gradients <= limit, "{name}");
                assert!(bench.setup.region(job).contains(&candidate.image), "{name}");
                let logits = toy.classify(&candidate.image);
                assert_eq!(candidate.reached, job.goal.reached(&logits), "{name}");
                assert!(limit > 0 || candidate.image == job.original, "{name}");
            }
        }
    }
}

fn budget(limit: u64) -> Budget {
    Budget {
        queries: limit,
        gradients: limit,
    }
}

/// What is fitted to many pictures stays in its ball, whatever the gradients; the seed alone decides; a budget ends it.
#[test]
fn a_perturbation_for_many_pictures_keeps_to_the_laws() {
    for entry in ATTACKS.iter().filter(|entry| entry.aim == Aim::Many) {
        let attack = Attack::parse(&format!("{}(epochs=2, batch=3)", entry.name)).unwrap();
        for (&norm, targeted) in entry
            .norms
            .iter()
            .flat_map(|norm| [(norm, false), (norm, true)])
        {
            let name = format!("{} in {norm}, targeted: {targeted}", entry.name);
            let setup = Setup::within(norm, radius(norm));
            for toy in toys()
                .into_iter()
                .chain([Toy::flat(), Toy::wholly_broken()])
            {
                let jobs = jobs(toy, targeted, COUNT);
                let (edit, spent) = fit(toy, &attack, &jobs, &setup);
                let edit = edit.unwrap();
                let Edit::Add(added) = &edit;
                let size = norm.of(&distances(&Image::zeros(SHAPE), added));
                assert!(size <= radius(norm) * 1.000_01, "{name}: {size}");
                assert_eq!(spent.gradients, 2 * COUNT as u64, "{name}");
                let with = |setup: Setup| fit(toy, &attack, &jobs, &setup).0.unwrap();
                let crew = Parallelism {
                    threads: 3,
                    batch: 8,
                };
                assert_eq!(edit, with(Setup { crew, ..setup }), "{name}");
            }
            let toy = Toy::tanh();
            let jobs = jobs(toy, targeted, COUNT);
            let (edit, spent) = fit(toy, &attack, &jobs, &setup);
            let other = fit(toy, &attack, &jobs, &Setup { seed: 1, ..setup });
            assert_ne!(edit.unwrap(), other.0.unwrap(), "{name}");
            for limit in 0..=50 {
                let limited = Setup {
                    budget: budget(limit),
                    ..setup
                };
                let (edit, asked) = fit(toy, &attack, &jobs, &limited);
                assert!(asked.gradients <= limit, "{name}");
                match edit {
                    Err(error) => assert!(matches!(error, Error::Budget(_)), "{name}: {error}"),
                    Ok(_) => assert!(spent.gradients <= limit, "{name} with {limit}"),
                }
            }
        }
    }
}
