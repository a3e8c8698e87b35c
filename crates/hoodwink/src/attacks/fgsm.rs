//! The fast gradient sign method: one step of length eps along the gradient, from the original.
//!
//! # Formula
//!
//! `x' = project(x + eps * steepest(gradient of the loss at x))`. In L-inf the steepest direction is the gradient's sign,
//! as in the paper; in L2 it is the gradient divided by its length (the fast gradient method); in L1 it is the sign at
//! the steepest hundredth of the values, shared equally. With a target, the loss is one that grows towards the target.
//! The original is looked at first: where it already reaches the goal, it is the answer.
//!
//! # Defaults
//!
//! Loss `ce`. The step is eps: there is nothing else to set. Costs one gradient, and one forward pass at the new point.
//!
//! # Source
//!
//! Goodfellow, Shlens and Szegedy, *Explaining and Harnessing Adversarial Examples*, arXiv 1412.6572, section 4; with a
//! target: Kurakin, Goodfellow and Bengio, *Adversarial Machine Learning at Scale*, arXiv 1611.01236, section 2.

use super::{Attack, AttackOptions, Descent, Entry, StepRule};
use crate::{Result, oracle::Access, threat::Norm};

pub(super) const ENTRY: Entry = Entry {
    name: "fgsm",
    summary: "one step of length eps along the gradient (Goodfellow et al. 2014)",
    norms: &Norm::ALL,
    access: Access::Gradients,
    source: include_str!("fgsm.rs"),
    make,
};

fn make(options: &mut AttackOptions) -> Result<Box<dyn Attack>> {
    let ball = options.ball()?;
    Ok(Box::new(Descent {
        name: ENTRY.name,
        ball,
        loss: options.take_loss()?,
        rule: StepRule::Steepest,
        step_size: ball.eps,
        steps: 1,
        restarts: 1,
        random_start: false,
    }))
}
