//! The basic iterative method: several small steps along the gradient, from the original, never at random.
//!
//! # Formula
//!
//! `x_0 = x`, `x_{k+1} = project(x_k + step_size * steepest(gradient of the loss at x_k))`. The projection is the nearest
//! point that lies both in the ball and in the pixel box. In L-inf the steepest direction is the gradient's sign, as in
//! the paper. The first point that reaches the goal, as it is and as the 8-bit picture it is saved as, ends the attack;
//! otherwise the point with the largest loss is kept.
//!
//! # Defaults
//!
//! Loss `ce`, 10 steps of `1.25 * eps / steps`. The paper states its L-inf rule in 8-bit levels: steps of one level,
//! `min(eps + 4, 1.25 * eps)` of them. That is 10 steps of 1/255 at eps = 8/255, and a way of 1.25 eps at every eps up to
//! 16/255: the ratio kept here for all radii and norms.
//!
//! # Source
//!
//! Kurakin, Goodfellow and Bengio, *Adversarial Examples in the Physical World*, arXiv 1607.02533, section 2.2.

use super::{Attack, AttackOptions, Descent, Entry, StepRule};
use crate::{Result, oracle::Access, threat::Norm};

pub(super) const ENTRY: Entry = Entry {
    name: "bim",
    summary: "small steps along the gradient from the original (Kurakin et al. 2016)",
    norms: &Norm::CONVEX,
    access: Access::Gradients,
    source: include_str!("bim.rs"),
    make,
};

fn make(options: &mut AttackOptions) -> Result<Box<dyn Attack>> {
    let ball = options.ball()?;
    let rule = StepRule::Steepest;
    let steps = options.take_steps(10)?;
    Ok(Box::new(Descent {
        name: ENTRY.name,
        ball,
        loss: options.take_loss()?,
        rule,
        step_size: options.take_step_size(rule, 1.25 * ball.eps / steps as f64)?,
        steps,
        restarts: 1,
        random_start: false,
    }))
}
