//! Projected gradient descent: small steps along the gradient from a random point of the ball, begun anew several times.
//!
//! # Formula
//!
//! `x_0` uniform in the ball, `x_{k+1} = project(x_k + step_size * rule(gradient of the loss at x_k))`. The projection is
//! the nearest point that lies both in the ball and in the pixel box; it follows every step, whatever the rule. The rule
//! is the steepest direction of the norm (in L-inf the sign, in L2 the gradient divided by its length, in L1 the sign at
//! the steepest hundredth of the values, shared equally), the sign in any norm, or an optimiser: `sgd`, `adam`, `rmsprop`,
//! `adagrad`. The first point that reaches the goal, as it is and as the 8-bit picture it is saved as, ends the
//! attack; otherwise the point with the largest loss of all restarts is kept. Restart `k` draws the same start however many restarts there are.
//!
//! # Defaults
//!
//! Loss `ce`, rule `steepest`, 1 restart, random start, 40 steps (the paper's for MNIST) of `2.5 * eps / steps` (the
//! paper's rule for its curves over eps, in L-inf and L2: the walk can cross the ball and come back). No paper states a
//! step for L1 with this direction; the same rule is used there. The optimisers' moves have no length of their own in L2
//! and L1, nor has `sgd` in any norm: set the step size.
//!
//! # Source
//!
//! Madry, Makelov, Schmidt, Tsipras and Vladu, *Towards Deep Learning Models Resistant to Adversarial Attacks*, arXiv
//! 1706.06083, sections 2.1 and 5; the direction in L1: Tramèr and Boneh, arXiv 1904.13000, section 3.

use super::{Attack, AttackOptions, Descent, Entry};
use crate::{Error, Result, oracle::Access, threat::Norm};

pub(super) const ENTRY: Entry = Entry {
    name: "pgd",
    summary: "small steps along the gradient from random points (Madry et al. 2017)",
    norms: &Norm::CONVEX,
    access: Access::Gradients,
    source: include_str!("pgd.rs"),
    make,
};

fn make(options: &mut AttackOptions) -> Result<Box<dyn Attack>> {
    let ball = options.ball()?;
    let rule = options.take_rule()?;
    let steps = options.take_steps(40)?;
    let restarts = options.take_restarts(1)?;
    let random_start = options.random_start.take().unwrap_or(true);
    if restarts > 1 && !random_start {
        return Err(Error::invalid(
            "restarts without a random start all walk the same way; set --restarts 1",
        ));
    }
    Ok(Box::new(Descent {
        name: ENTRY.name,
        ball,
        loss: options.take_loss()?,
        rule,
        step_size: options.take_step_size(rule, 2.5 * ball.eps / steps as f64)?,
        steps,
        restarts,
        random_start,
    }))
}
