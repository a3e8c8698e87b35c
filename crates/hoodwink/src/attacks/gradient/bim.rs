//! The basic iterative method: several small steps along the gradient, from the original without a random start.
//!
//! # Formula
//!
//! `x_0 = x`, `x_{k+1} = project(x_k + step_size * steepest(gradient of the loss at x_k))`. The projection returns the
//! nearest point that lies in the ball and in the pixel box. In L-inf the steepest direction is the gradient's sign, as
//! in the paper. The attack ends at the first point that reaches the goal both as it is and as the 8-bit picture that
//! is saved for it. If there is none, the point with the largest loss is kept.
//!
//! # Defaults
//!
//! Loss `ce`, 10 steps of `1.25 * eps / steps`. The paper states its L-inf rule in 8-bit levels: `min(eps + 4, 1.25 *
//! eps)` steps of one level. That is 10 steps of 1/255 at eps = 8/255, and a total way of 1.25 eps for every eps up to
//! 16/255. This implementation keeps that ratio for all radii and norms.
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
            origin: "the paper at 8/255",
        },
        Parameter {
            name: "step_size",
            kind: Kind::Length,
            default: "1.25*eps/steps",
            meaning: "step size",
            origin: "the paper's ratio of total way to radius",
        },
        LOSS,
    ],
    cost: "steps gradients and 1 forward pass, plus 1 for each point that reaches the goal; fewer if such a point ends it",
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
