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

use crate::{
    Result,
    attacks::{
        Best, Case, Values,
        parameters::{Kind, LOSS, Parameter},
        parts::{descent::Descent, step::StepRule},
        registry::{Aim, Entry, Family, Search, any_values},
    },
    oracle::Gradients,
    threat::Norm,
};

pub(in crate::attacks) const ENTRY: Entry = Entry {
    name: "bim",
    summary: "small steps along the gradient from the original (Kurakin et al. 2016)",
    family: Family::Gradient,
    aim: Aim::Radius,
    norms: &Norm::CONVEX,
    targeted: true,
    begins_elsewhere: false,
    parameters: &[
        Parameter {
            name: "steps",
            kind: Kind::POSITIVE,
            default: "10",
            meaning: "number of steps",
            origin: "the paper's at 8/255",
        },
        Parameter {
            name: "step_size",
            kind: Kind::Length,
            default: "1.25*eps/steps",
            meaning: "length of a step",
            origin: "the paper's ratio of way and radius",
        },
        LOSS,
    ],
    cost: "steps gradients and 1 forward pass, and 1 more for each point that reaches the goal; fewer where that ends it",
    source: include_str!("bim.rs"),
    check: any_values,
    search: Search::Gradients(|model, case, p, best| Box::pin(bim(model, case, p, best))),
};

async fn bim(model: Gradients<'_>, case: &Case, p: &Values, best: &mut Best) -> Result<()> {
    let steps = p.count("steps")?;
    let walk = Descent {
        loss: p.loss()?,
        rule: StepRule::Steepest,
        step_size: p.length("step_size", case.eps(), steps)?,
        steps,
        restarts: 1,
        random_start: false,
    };
    walk.run(model, case, best).await
}
