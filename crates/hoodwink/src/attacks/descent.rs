//! The loop that most gradient attacks share: step, project, look, start again.

use super::{
    Attack, Candidate, Case, Local,
    loss::{objective, value, word},
    random::fork,
    step::{StepRule, Stepper},
};
use crate::{
    Error, Result,
    image::Image,
    oracle::{Access, Gradients as _, Loss, Objective, Scores as _},
    threat::Ball,
};

/// Projected steps along the gradient of a loss; descent by tradition, though the loss is climbed.
///
/// A restart asks for one gradient at each of its `steps` points and for the logits of the last one. A point that reaches
/// the goal is also asked about as the 8-bit picture it would be saved as, since a point just over the boundary seldom
/// survives rounding. If that reaches the goal too, the attack is over; if not, the restart goes on from there, and no
/// other is begun. The candidate is the best point of all that were seen: one that survives saving before one that
/// reaches the goal as it is, then the one with the largest loss, and the first of equals.
#[derive(Clone, Debug, PartialEq)]
pub struct Descent {
    /// Name of the recipe in the registry.
    pub name: &'static str,
    /// Where the attack may move.
    pub ball: Ball,
    /// What is climbed.
    pub loss: Loss,
    /// How a gradient becomes a move.
    pub rule: StepRule,
    /// Length of a step, in the unit of the rule: pixel units in the norm for [`StepRule::Steepest`].
    pub step_size: f64,
    /// Steps of one restart.
    pub steps: usize,
    /// How often the walk is begun.
    pub restarts: usize,
    /// Whether a walk begins at a random point of the ball rather than at the original.
    pub random_start: bool,
}

impl Attack for Descent {
    fn name(&self) -> &'static str {
        self.name
    }

    fn recipe(&self) -> String {
        format!(
            "{}(norm={}, eps={}, steps={}, step_size={}, rule={}, restarts={}, random_start={}, loss={})",
            self.name,
            self.ball.norm,
            self.ball.eps,
            self.steps,
            self.step_size,
            self.rule,
            self.restarts,
            if self.random_start { "uniform" } else { "none" },
            word(self.loss),
        )
    }

    fn access(&self) -> Access {
        Access::Gradients
    }

    fn run<'a>(&'a self, case: Case<'a>) -> Local<'a, Result<Candidate>> {
        Box::pin(async move {
            case.expect_ball(&self.ball)?;
            let objective = objective(self.loss, case.goal)?;
            let mut search = Search::new(case.original);
            for restart in 0..self.restarts {
                let walked = self.walk(&case, objective, restart, &mut search).await;
                search.end_restart();
                match walked {
                    Ok(()) if search.best.reached => break,
                    Ok(()) => {}
                    Err(Error::Budget(_)) => {
                        search.best.budget_spent = true;
                        break;
                    }
                    Err(error) => return Err(error),
                }
            }
            Ok(search.best)
        })
    }
}

impl Descent {
    /// One restart.
    async fn walk(
        &self,
        case: &Case<'_>,
        objective: Objective,
        restart: usize,
        search: &mut Search,
    ) -> Result<()> {
        let mut x = if self.random_start {
            let mut rng = fork(&case.rng, restart as u64);
            self.ball.random_point(case.original, &mut rng)
        } else {
            case.original.clone()
        };
        let values = x.pixels().len();
        let mut stepper = Stepper::new(self.rule, self.ball.norm, self.step_size, values);
        for _ in 0..self.steps {
            let mut seen = case.oracle.gradient(&x, objective).await?;
            let reached = case.goal.reached(&seen.logits);
            search.offer(case, &x, seen.loss, reached).await?;
            if search.standing == Standing::Saved {
                return Ok(());
            }
            search.look(seen.gradient.pixels_mut());
            stepper.climb(seen.gradient.pixels(), x.pixels_mut());
            self.ball.project(case.original, &mut x);
        }
        let logits = case.oracle.logits(&x).await?;
        let loss = value(objective, &logits)?;
        search
            .offer(case, &x, loss, case.goal.reached(&logits))
            .await
    }
}

/// How far a point has got; later is better.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Standing {
    /// It does not reach the goal.
    Short,
    /// It reaches the goal as it is.
    Reached,
    /// It reaches the goal as the picture it would be saved as, too.
    Saved,
}

/// What was found so far.
struct Search {
    best: Candidate,
    best_loss: f32,
    standing: Standing,
    /// The loss at every point of the present restart.
    trace: Vec<f32>,
    /// Whether the best point is one of the present restart.
    improved: bool,
    /// Whether any gradient was asked for.
    looked: bool,
}

impl Search {
    fn new(original: &Image) -> Self {
        Self {
            best: Candidate::unchanged(original),
            best_loss: f32::NEG_INFINITY,
            standing: Standing::Short,
            trace: Vec::new(),
            improved: false,
            looked: false,
        }
    }

    /// Takes note of a point; asks for its logits as a picture if it reaches the goal.
    async fn offer(&mut self, case: &Case<'_>, x: &Image, loss: f32, reached: bool) -> Result<()> {
        self.trace.push(loss);
        if !reached {
            self.take(x, loss, Standing::Short);
            return Ok(());
        }
        // Taken before the question, which the budget may refuse.
        self.take(x, loss, Standing::Reached);
        // The original needs no second look; and in a ball narrower than one level of grey nothing can be saved.
        let settled = x == case.original || case.ball.eps < 1.0 / 255.0;
        if settled || Self::survives_saving(case, x).await? {
            self.take(x, loss, Standing::Saved);
        }
        Ok(())
    }

    async fn survives_saving(case: &Case<'_>, x: &Image) -> Result<bool> {
        let picture = case.ball.on_lattice(case.original, x).to_image();
        Ok(case.goal.reached(&case.oracle.logits(&picture).await?))
    }

    /// Keeps `x` if it stands higher than all before, or as high with a larger loss; a NaN is never larger.
    fn take(&mut self, x: &Image, loss: f32, standing: Standing) {
        if standing > self.standing || (standing == self.standing && loss > self.best_loss) {
            self.best.image.clone_from(x);
            self.best.reached = standing > Standing::Short;
            self.best_loss = loss;
            self.standing = standing;
            self.improved = true;
        }
    }

    /// Clears what is not finite from a gradient, and notes whether every gradient so far was zero.
    fn look(&mut self, gradient: &mut [f32]) {
        for g in gradient.iter_mut().filter(|g| !g.is_finite()) {
            *g = 0.0;
        }
        let zero = gradient.iter().all(|&g| g == 0.0);
        self.best.zero_gradient = zero && (self.best.zero_gradient || !self.looked);
        self.looked = true;
    }

    fn end_restart(&mut self) {
        let trace = std::mem::take(&mut self.trace);
        if std::mem::take(&mut self.improved) {
            self.best.loss = trace;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        attacks::toys::{Setup, Toy, jobs, ramp, ramp_job, run, try_run},
        oracle::Spent,
        threat::{Goal, Norm},
    };

    const AWAY: Goal = Goal::Untargeted { label: 0 };

    fn descent(norm: Norm, eps: f64) -> Descent {
        Descent {
            name: "test",
            ball: Ball { norm, eps },
            loss: Loss::Margin,
            rule: StepRule::Steepest,
            step_size: eps / 8.0,
            steps: 40,
            restarts: 1,
            random_start: true,
        }
    }

    fn found(toy: &Toy, descent: Descent) -> Vec<(Candidate, Spent)> {
        let ball = descent.ball;
        let jobs = jobs(toy, false, 10);
        run(toy, Box::new(descent), ball, &jobs, Setup::default())
    }

    #[test]
    fn the_first_point_that_survives_saving_ends_the_attack() {
        let attack = descent(Norm::Linf, 0.1);
        let toy = Toy::tanh();
        let jobs = jobs(&toy, false, 10);
        let mut early = 0;
        for (job, (candidate, spent)) in jobs.iter().zip(found(&toy, attack.clone())) {
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
                let saved = attack.ball.on_lattice(&job.original, &candidate.image);
                assert!(job.goal.reached(&toy.classify(&saved.to_image())));
            }
        }
        assert!(early > 3, "{early}");
    }

    /// Between two levels of grey a point just over the boundary is rounded back over it.
    #[test]
    fn off_the_lattice_the_walk_goes_on_until_the_picture_fools() {
        let attack = Descent {
            step_size: 0.2 / 255.0,
            random_start: false,
            ..descent(Norm::Linf, 10.7 / 255.0)
        };
        let toy = Toy::tanh();
        let jobs = jobs(&toy, false, 30);
        let found = run(
            &toy,
            Box::new(attack.clone()),
            attack.ball,
            &jobs,
            Setup::default(),
        );
        let mut marginal = 0;
        for (job, (candidate, _)) in jobs.iter().zip(found) {
            let margins = candidate.loss.iter();
            let reaching = margins.filter(|&&margin| margin > 0.0).count();
            if !candidate.reached || candidate.loss.len() > attack.steps {
                continue;
            }
            marginal += usize::from(reaching > 1);
            let saved = attack.ball.on_lattice(&job.original, &candidate.image);
            assert!(job.goal.reached(&toy.classify(&saved.to_image())));
        }
        assert!(marginal > 3, "{marginal}");
    }

    #[test]
    fn an_attack_without_success_costs_every_step_and_keeps_the_largest_loss() {
        let attack = Descent {
            restarts: 3,
            step_size: 0.01,
            ..descent(Norm::L2, 0.02)
        };
        let toy = Toy::tanh();
        let jobs = jobs(&toy, false, 10);
        let mut stood = 0;
        for (job, (candidate, spent)) in jobs.iter().zip(found(&toy, attack)) {
            if candidate.reached {
                continue;
            }
            stood += 1;
            assert_eq!((spent.gradients, spent.queries), (120, 3));
            assert_eq!(candidate.loss.len(), 41);
            let objective = objective(Loss::Margin, job.goal).unwrap();
            let loss = value(objective, &toy.classify(&candidate.image)).unwrap();
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
            Norm::L1 => ramp().iter().fold(0.0, |most: f64, w| most.max(w.abs())),
            Norm::L0 => unreachable!(),
        };
        for (norm, eps) in [(Norm::Linf, 0.05), (Norm::L2, 0.2), (Norm::L1, 0.2)] {
            let gain = gain_on_ramp(descent(norm, eps));
            assert!(
                (gain / (eps * most(norm)) - 1.0).abs() < 1e-3,
                "{norm}: {gain}"
            );
        }
    }

    /// Every optimiser ends in the same corner of an L-inf ball: with a real projection it cannot leave the ball, and on
    /// a linear model it has nothing else to find.
    #[test]
    fn on_a_linear_model_every_rule_reaches_the_optimum() {
        let eps = 0.05;
        for rule in StepRule::ALL {
            let gain = gain_on_ramp(Descent {
                rule,
                step_size: eps,
                ..descent(Norm::Linf, eps)
            });
            let most = eps * ramp().iter().map(|w| w.abs()).sum::<f64>();
            assert!((gain / most - 1.0).abs() < 1e-5, "{rule}: {gain}");
        }
    }

    fn gain_on_ramp(descent: Descent) -> f64 {
        let ball = descent.ball;
        let job = ramp_job(AWAY);
        let clean = Toy::ramp().classify(&job.original)[1];
        let (candidate, _) = run(
            &Toy::ramp(),
            Box::new(descent),
            ball,
            &[job],
            Setup::default(),
        )
        .remove(0);
        f64::from(Toy::ramp().classify(&candidate.image)[1]) - f64::from(clean)
    }

    #[test]
    fn reaching_the_goal_counts_for_more_than_the_loss() {
        let [x, y] = [0.0, 1.0].map(|pixel| Image::new([1, 1, 1], vec![pixel]).unwrap());
        let mut search = Search::new(&x);
        search.take(&x, 2.0, Standing::Short);
        search.take(&y, f32::NAN, Standing::Short);
        assert_eq!(search.best.image, x);
        // With many classes, cross-entropy may fall while another class takes the lead.
        search.take(&y, 1.0, Standing::Reached);
        assert!(search.best.reached && search.best.image == y);
        search.take(&x, 0.5, Standing::Saved);
        search.take(&y, 3.0, Standing::Reached);
        assert!(search.best.reached && search.best.image == x);
    }

    #[test]
    fn one_gradient_that_is_not_zero_is_enough_to_say_so() {
        for (gradients, zero) in [
            (vec![0.0, 0.0], true),
            (vec![0.0, 1.0, 0.0], false),
            (vec![1.0, 0.0], false),
            (vec![f32::NAN, f32::INFINITY], true),
        ] {
            let mut search = Search::new(&Image::zeros([1, 1, 1]));
            assert!(!search.best.zero_gradient);
            for gradient in &gradients {
                search.look(&mut [*gradient]);
            }
            assert_eq!(search.best.zero_gradient, zero, "{gradients:?}");
        }
    }

    #[test]
    fn a_case_that_the_attack_was_not_built_for_is_refused() {
        let attack = || Box::new(descent(Norm::Linf, 0.1));
        let jobs = [ramp_job(AWAY)];
        let other = Ball {
            norm: Norm::L2,
            eps: 0.1,
        };
        let refused = try_run(&Toy::ramp(), attack(), other, &jobs, Setup::default());
        assert!(matches!(refused, Err(Error::Invalid(_))));

        let towards = Goal::Targeted {
            label: 0,
            target: 1,
        };
        let jobs = [ramp_job(towards)];
        let refused = try_run(
            &Toy::ramp(),
            attack(),
            attack().ball,
            &jobs,
            Setup::default(),
        );
        assert!(matches!(refused, Err(Error::Invalid(_))));
    }
}
