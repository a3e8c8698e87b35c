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
/// A restart asks for one gradient at each of its `steps` points and for the logits of the last one. The first point
/// that reaches the goal ends the attack and is the candidate; otherwise the candidate is the point with the largest
/// loss of all that were seen, whatever its restart, and the first of equals.
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
            search.offer(&x, seen.loss, reached);
            if reached {
                return Ok(());
            }
            search.look(seen.gradient.pixels_mut());
            stepper.climb(seen.gradient.pixels(), x.pixels_mut());
            self.ball.project(case.original, &mut x);
        }
        let logits = case.oracle.logits(&x).await?;
        let loss = value(objective, &logits)?;
        search.offer(&x, loss, case.goal.reached(&logits));
        Ok(())
    }
}

/// What was found so far.
struct Search {
    best: Candidate,
    best_loss: f32,
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
            trace: Vec::new(),
            improved: false,
            looked: false,
        }
    }

    /// Takes `x` if it reaches the goal or has a larger loss than all before; a NaN is never larger.
    fn offer(&mut self, x: &Image, loss: f32, reached: bool) {
        self.trace.push(loss);
        if reached || loss > self.best_loss {
            self.best.image.clone_from(x);
            self.best.reached = reached;
            self.best_loss = loss;
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
