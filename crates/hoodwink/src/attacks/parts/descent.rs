//! The loop that most gradient attacks share: step, project, evaluate, restart.

use super::step::{StepRule, Stepper};
use crate::{
    Result,
    attacks::{Best, Case, LossName, random::fork},
    oracle::{Gradients, Objective},
};

/// Projected steps along the gradient of a loss. The name "descent" is traditional: the loss is increased.
///
/// A restart asks for one gradient at each of its `steps` points and for the logits of the last one. If a point reaches
/// the goal, the model is also asked about the 8-bit picture that would be saved for it. If that reaches the goal too,
/// the walk ends. If not, this restart continues, but no further restart follows.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::attacks) struct Descent {
    /// The loss to increase.
    pub loss: LossName,
    /// The rule that turns a gradient into a move.
    pub rule: StepRule,
    /// Step size, in the unit of the rule: pixel units in the norm for [`StepRule::Steepest`].
    pub step_size: f64,
    /// Number of steps of a restart.
    pub steps: u64,
    /// Number of restarts.
    pub restarts: u64,
    /// Whether a walk starts at a random point of the ball instead of the original.
    pub random_start: bool,
}

impl Descent {
    /// Runs all restarts.
    pub(in crate::attacks) async fn run(
        &self,
        model: Gradients<'_>,
        case: &Case,
        best: &mut Best,
    ) -> Result<()> {
        let objective = case.objective(self.loss, model.classes())?;
        for restart in 0..self.restarts {
            self.walk(model, case, &objective, restart, best).await?;
            best.end_restart();
            if best.is_reached() {
                break;
            }
        }
        Ok(())
    }

    /// Runs one restart.
    async fn walk(
        &self,
        model: Gradients<'_>,
        case: &Case,
        objective: &Objective,
        restart: u64,
        best: &mut Best,
    ) -> Result<()> {
        let mut x = match self.random_start {
            true => case.region.random_point(&mut fork(&case.rng, restart)),
            false => case.original().clone(),
        };
        let (norm, values) = (case.region.norm, x.pixels().len());
        let mut stepper = Stepper::new(self.rule, norm, self.step_size, values);
        for _ in 0..self.steps {
            let mut at = model.gradient(&x, objective).await?;
            if best
                .offer(model.as_labels(), &x, at.loss, &at.logits)
                .await?
            {
                return Ok(());
            }
            best.look(at.gradient.pixels_mut());
            stepper.climb(at.gradient.pixels(), x.pixels_mut());
            case.region.project(&mut x);
        }
        let logits = model.logits(&x).await?;
        let loss = objective.value(&logits)?;
        best.offer(model.as_labels(), &x, loss, &logits).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        attacks::{
            Attack, Candidate,
            toys::{Setup, Toy, jobs, ramp, ramp_job, run, try_run},
        },
        oracle::{Loss, Objective, Spent},
        threat::{Goal, Norm},
    };

    const AWAY: Goal = Goal::Untargeted { label: 0 };

    /// The margin loss, in 40 steps of an eighth of the radius.
    fn descent(with: &str) -> Attack {
        let with = match with.contains("step_size") {
            true => with.to_owned(),
            false => format!("step_size=0.125*eps, {with}"),
        };
        Attack::parse(&format!("pgd(loss=margin, {with})").replace(", )", ")")).unwrap()
    }

    fn found(toy: &Toy, attack: &Attack, norm: Norm, eps: f64) -> Vec<(Candidate, Spent)> {
        run(
            toy,
            attack,
            &jobs(toy, false, 10),
            &Setup::within(norm, eps),
        )
    }

    #[test]
    fn the_first_point_that_survives_saving_ends_the_attack() {
        let setup = Setup::within(Norm::Linf, 0.1);
        let toy = Toy::tanh();
        let jobs = jobs(toy, false, 10);
        let mut early = 0;
        for (job, (candidate, spent)) in jobs.iter().zip(run(toy, &descent(""), &jobs, &setup)) {
            let reaching = candidate
                .loss
                .iter()
                .filter(|&&margin| margin > 0.0)
                .count() as u64;
            assert_eq!(candidate.reached, reaching > 0);
            if spent.gradients < 40 {
                early += 1;
                assert_eq!(candidate.loss.len() as u64, spent.gradients);
                assert_eq!(spent.queries, reaching);
                let saved = setup.region(job).on_lattice(&candidate.image);
                assert!(job.goal.reached(&toy.classify(&saved.to_image())));
            }
        }
        assert!(early > 3, "{early}");
    }

    /// A point just beyond the boundary, between two grey levels, is rounded back over it.
    #[test]
    fn off_the_lattice_the_walk_goes_on_until_the_picture_fools() {
        let attack = descent("step_size=0.2/255, random_start=false");
        let setup = Setup::within(Norm::Linf, 10.7 / 255.0);
        let toy = Toy::tanh();
        let jobs = jobs(toy, false, 30);
        let mut marginal = 0;
        for (job, (candidate, _)) in jobs.iter().zip(run(toy, &attack, &jobs, &setup)) {
            let margins = candidate.loss.iter();
            let reaching = margins.filter(|&&margin| margin > 0.0).count();
            if !candidate.reached || candidate.loss.len() > 40 {
                continue;
            }
            marginal += usize::from(reaching > 1);
            let saved = setup.region(job).on_lattice(&candidate.image);
            assert!(job.goal.reached(&toy.classify(&saved.to_image())));
        }
        assert!(marginal > 3, "{marginal}");
    }

    #[test]
    fn an_attack_without_success_costs_every_step_and_keeps_the_largest_loss() {
        let toy = Toy::tanh();
        let attack = descent("restarts=3, step_size=0.01");
        let found = found(toy, &attack, Norm::L2, 0.02);
        let mut stood = 0;
        for (job, (candidate, spent)) in jobs(toy, false, 10).iter().zip(found) {
            if candidate.reached {
                continue;
            }
            stood += 1;
            assert_eq!((spent.gradients, spent.queries), (120, 3));
            assert_eq!(candidate.loss.len(), 41);
            let margin = Objective::Loss {
                loss: Loss::Margin,
                label: job.goal.label(),
                target: None,
            };
            let loss = margin.value(&toy.classify(&candidate.image)).unwrap();
            let largest = candidate
                .loss
                .iter()
                .fold(f32::NEG_INFINITY, |most, l| most.max(*l));
            assert_eq!(loss, largest);
        }
        assert!(stood > 5, "{stood}");
    }

    /// On a linear model the largest gain in a ball is eps times the dual norm of the weights (Hölder).
    #[test]
    fn on_a_linear_model_every_norm_reaches_the_optimum() {
        let most = |norm| match norm {
            Norm::Linf => ramp().iter().map(|w| w.abs()).sum::<f64>(),
            Norm::L2 => ramp().iter().map(|w| w * w).sum::<f64>().sqrt(),
            _ => ramp().iter().fold(0.0, |most: f64, w| most.max(w.abs())),
        };
        for (norm, eps) in [(Norm::Linf, 0.05), (Norm::L2, 0.2), (Norm::L1, 0.2)] {
            let gain = gain_on_ramp("", norm, eps);
            assert!(
                (gain / (eps * most(norm)) - 1.0).abs() < 1e-3,
                "{norm}: {gain}"
            );
        }
    }

    /// Every optimiser ends in the same corner of an L-inf ball. The projection keeps it in the ball, and a linear
    /// model has no other optimum.
    #[test]
    fn on_a_linear_model_every_rule_reaches_the_optimum() {
        let eps = 0.05;
        for rule in StepRule::ALL {
            let with = format!("rule={}, step_size=eps", rule.word());
            let gain = gain_on_ramp(&with, Norm::Linf, eps);
            let most = eps * ramp().iter().map(|w| w.abs()).sum::<f64>();
            assert!((gain / most - 1.0).abs() < 1e-5, "{rule}: {gain}");
        }
    }

    fn gain_on_ramp(with: &str, norm: Norm, eps: f64) -> f64 {
        let job = ramp_job(AWAY);
        let clean = Toy::ramp().classify(&job.original)[1];
        let setup = Setup::within(norm, eps);
        let (candidate, _) = run(Toy::ramp(), &descent(with), &[job], &setup).remove(0);
        f64::from(Toy::ramp().classify(&candidate.image)[1]) - f64::from(clean)
    }

    #[test]
    fn a_loss_that_does_not_fit_the_goal_is_refused() {
        let attack = Attack::parse("pgd(loss=two-term)").unwrap();
        let setup = Setup::within(Norm::Linf, 0.1);
        let refused = try_run(Toy::ramp(), &attack, &[ramp_job(AWAY)], &setup);
        assert!(refused.is_err());
    }
}
