//! What every registered attack must keep to, in every norm, with and without a target.

use std::collections::BTreeSet;

use super::{
    ATTACKS, AttackOptions, Candidate, Entry, LossName, StepRule,
    toys::{CLASSES, Job, Setup, Toy, jobs, run},
};
use crate::{
    oracle::{Access, Spent, batcher::Crew},
    threat::{Ball, Norm},
};

const COUNT: usize = 10;

/// An attack under a threat model.
struct Bench {
    entry: &'static Entry,
    options: AttackOptions,
}

impl Bench {
    /// Every attack in every norm and for both kinds of goal, at radii that fool some samples and not others.
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for entry in ATTACKS {
            for &norm in entry.norms {
                let eps = match norm {
                    Norm::Linf => 0.04,
                    Norm::L2 => 0.22,
                    Norm::L1 => 1.0,
                    Norm::L0 => 3.0,
                };
                for targeted in [false, true] {
                    let options = AttackOptions::new(norm, eps, targeted, CLASSES);
                    all.push(Self { entry, options });
                }
            }
        }
        all
    }

    fn ball(&self) -> Ball {
        Ball {
            norm: self.options.norm,
            eps: self.options.eps,
        }
    }

    fn jobs(&self, toy: &Toy) -> Vec<Job> {
        jobs(toy, self.options.targeted, COUNT)
    }

    fn run_with(
        &self,
        toy: &Toy,
        options: &AttackOptions,
        setup: Setup,
    ) -> Vec<(Candidate, Spent)> {
        let attack = self.entry.build(options).unwrap();
        let ball = Ball {
            norm: options.norm,
            eps: options.eps,
        };
        run(toy, attack, ball, &self.jobs(toy), setup)
    }

    fn run(&self, toy: &Toy, setup: Setup) -> Vec<(Candidate, Spent)> {
        self.run_with(toy, &self.options, setup)
    }

    fn name(&self) -> String {
        let AttackOptions { norm, targeted, .. } = self.options;
        format!("{} in {norm}, targeted: {targeted}", self.entry.name)
    }

    /// Variations of one option each; those that the attack does not use are left out.
    fn variations(&self) -> Vec<AttackOptions> {
        let plain = &self.options;
        let size = plain.eps / 7.0;
        let mut variations = vec![
            AttackOptions {
                steps: Some(3),
                ..plain.clone()
            },
            AttackOptions {
                step_size: Some(size),
                ..plain.clone()
            },
            AttackOptions {
                restarts: Some(3),
                ..plain.clone()
            },
            AttackOptions {
                random_start: Some(false),
                ..plain.clone()
            },
            AttackOptions {
                loss: Some(LossName::Margin),
                ..plain.clone()
            },
            AttackOptions {
                loss: Some(LossName::TwoTerm),
                ..plain.clone()
            },
            AttackOptions {
                tries: Some(3),
                ..plain.clone()
            },
        ];
        for rule in &StepRule::ALL[1..] {
            variations.push(AttackOptions {
                rule: Some(*rule),
                step_size: Some(size),
                ..plain.clone()
            });
        }
        variations.retain(|options| self.entry.build(options).is_ok());
        variations
    }
}

fn toys() -> [Toy; 4] {
    [
        Toy::linear(),
        Toy::tanh(),
        Toy::quadratic(),
        Toy::broken(false),
    ]
}

#[test]
fn a_candidate_stays_in_ball_and_box_and_its_claim_holds() {
    for bench in Bench::all() {
        for toy in toys() {
            for options in std::iter::once(bench.options.clone()).chain(bench.variations()) {
                let found = bench.run_with(&toy, &options, Setup::default());
                for (job, (candidate, _)) in bench.jobs(&toy).iter().zip(found) {
                    let case = format!("{} with {options:?}", bench.name());
                    assert!(
                        bench.ball().contains(&job.original, &candidate.image),
                        "{case}"
                    );
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
}

/// Without this the other laws could hold for want of trying.
#[test]
fn gradient_attacks_fool_some_samples_and_not_others() {
    let mut fooled = 0;
    let mut stood = 0;
    for bench in Bench::all() {
        if bench.entry.access < Access::Gradients {
            continue;
        }
        let found = bench.run(&Toy::tanh(), Setup::default());
        let count = found
            .iter()
            .filter(|(candidate, _)| candidate.reached)
            .count();
        fooled += count;
        stood += found.len() - count;
        assert!(bench.options.targeted || count > 0, "{}", bench.name());
    }
    assert!(fooled > 30 && stood > 30, "{fooled} fooled, {stood} stood");
}

#[test]
fn a_radius_of_zero_changes_nothing() {
    for mut bench in Bench::all() {
        bench.options.eps = 0.0;
        let striding = AttackOptions {
            step_size: Some(0.1),
            ..bench.options.clone()
        };
        let toy = Toy::tanh();
        for options in [bench.options.clone(), striding] {
            if bench.entry.build(&options).is_err() {
                continue;
            }
            let found = bench.run_with(&toy, &options, Setup::default());
            for (job, (candidate, _)) in bench.jobs(&toy).iter().zip(found) {
                assert_eq!(candidate.image, job.original, "{}", bench.name());
                assert!(!candidate.reached, "{}", bench.name());
            }
        }
    }
}

#[test]
fn the_seed_alone_decides_whoever_runs_beside() {
    for bench in Bench::all() {
        let toy = Toy::tanh();
        let with = |threads, batch| {
            let crew = Crew { threads, batch };
            bench.run(
                &toy,
                Setup {
                    crew,
                    ..Setup::default()
                },
            )
        };
        let alone = with(1, 1);
        assert_eq!(alone, with(1, 1), "{}", bench.name());
        assert_eq!(alone, with(1, 8), "{}", bench.name());
        assert_eq!(alone, with(3, 8), "{}", bench.name());

        let other = bench.run(
            &toy,
            Setup {
                seed: 1,
                ..Setup::default()
            },
        );
        let is_random = !matches!(bench.entry.name, "fgsm" | "bim");
        assert_eq!(alone != other, is_random, "{}", bench.name());
    }
}

#[test]
fn more_effort_never_fools_less() {
    for bench in Bench::all() {
        let plain = &bench.options;
        let size = Some(plain.eps / 8.0);
        let gradients = |gradients| Setup {
            budget: Spent {
                queries: gradients,
                gradients,
            },
            ..Setup::default()
        };
        let with = |steps, restarts, tries| AttackOptions {
            steps,
            restarts,
            tries,
            step_size: steps.and(size),
            ..plain.clone()
        };
        let endless = Setup::default();
        let pairs = [
            (
                with(Some(3), None, None),
                endless,
                with(Some(12), None, None),
                endless,
            ),
            (
                with(None, Some(1), None),
                endless,
                with(None, Some(4), None),
                endless,
            ),
            (
                with(None, None, Some(1)),
                endless,
                with(None, None, Some(8)),
                endless,
            ),
            (plain.clone(), gradients(2), plain.clone(), gradients(9)),
        ];
        for (less, less_setup, more, more_setup) in pairs {
            if bench.entry.build(&less).is_err() {
                continue;
            }
            let toy = Toy::tanh();
            let less = bench.run_with(&toy, &less, less_setup);
            let more = bench.run_with(&toy, &more, more_setup);
            for ((less, _), (more, _)) in less.iter().zip(&more) {
                assert!(more.reached || !less.reached, "{}", bench.name());
                let most = |loss: &[f32]| loss.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                assert!(
                    more.reached || most(&more.loss) >= most(&less.loss),
                    "{}",
                    bench.name()
                );
            }
        }
    }
}

#[test]
fn a_recipe_tells_every_part_apart() {
    let mut recipes = BTreeSet::new();
    let mut count = 0;
    for bench in Bench::all() {
        let smaller = AttackOptions {
            eps: bench.options.eps / 2.0,
            ..bench.options.clone()
        };
        let variations = [bench.options.clone(), smaller].into_iter();
        for options in variations.chain(bench.variations()) {
            let attack = bench.entry.build(&options).unwrap();
            assert_eq!(attack.name(), bench.entry.name);
            assert_eq!(attack.access(), bench.entry.access);
            let recipe = attack.recipe();
            let begin = format!(
                "{}(norm={}, eps={}, ",
                attack.name(),
                options.norm,
                options.eps
            );
            assert!(recipe.starts_with(&begin), "{recipe}");
            // The loss is what a target changes; noise has none.
            if !options.targeted || attack.access() == Access::Gradients {
                count += 1;
                recipes.insert(recipe);
            }
        }
    }
    assert_eq!(recipes.len(), count);
}

#[test]
fn a_model_without_gradients_gives_a_named_outcome() {
    for bench in Bench::all() {
        for toy in [Toy::flat(), Toy::broken(true)] {
            if matches!(toy, Toy::Broken { .. }) && bench.entry.access < Access::Gradients {
                continue;
            }
            // Broken gradients leave the start, and a random start may happen to reach the goal.
            for (candidate, spent) in bench.run(&toy, Setup::default()) {
                let blind = spent.gradients > 0;
                assert_eq!(candidate.zero_gradient, blind, "{}", bench.name());
                assert!(candidate.image.pixels().iter().all(|x| x.is_finite()));
                assert!(!(candidate.reached && matches!(toy, Toy::Flat(_))));
            }
        }
    }
}

#[test]
fn a_budget_is_kept_and_named() {
    for bench in Bench::all() {
        let toy = Toy::flat();
        for limit in [0, 1, 3] {
            let budget = Spent {
                queries: limit,
                gradients: limit,
            };
            let setup = Setup {
                budget,
                ..Setup::default()
            };
            let endless = bench.run(&toy, Setup::default());
            let found = bench.run(&toy, setup);
            for (job, ((candidate, spent), (_, wanted))) in
                bench.jobs(&toy).iter().zip(found.iter().zip(endless))
            {
                let fits = wanted.queries <= limit && wanted.gradients <= limit;
                assert_eq!(candidate.budget_spent, !fits, "{}", bench.name());
                assert!(spent.queries <= limit && spent.gradients <= limit);
                assert!(bench.ball().contains(&job.original, &candidate.image));
                assert!(
                    limit > 0 || candidate.image == job.original,
                    "{}",
                    bench.name()
                );
            }
        }
    }
}
