//! Projected gradient descent: small steps along the gradient from a random point of the ball, with restarts.
//!
//! # Formula
//!
//! `x_0` uniform in the ball, `x_{k+1} = project(x_k + step_size * rule(gradient of the loss at x_k))`. The projection
//! returns the nearest point that lies in the ball and in the pixel box. It follows every step, whatever the rule. The
//! rule is the steepest direction of the norm (in L-inf the sign, in L2 the gradient divided by its length, in L1 the
//! sign at the steepest hundredth of the values, shared equally), the sign in any norm, or an optimiser: `sgd`, `adam`,
//! `rmsprop`, `adagrad`. The attack ends at the first point that reaches the goal both as it is and as the 8-bit
//! picture that is saved for it. If there is none, the point with the largest loss of all restarts is kept. Restart `k`
//! draws the same start whatever the number of restarts.
//!
//! # Defaults
//!
//! Loss `ce`, rule `steepest`, 1 restart, random start, 40 steps (the paper's value for MNIST) of `2.5 * eps / steps`
//! (the paper's rule for its curves over eps, in L-inf and L2: the walk can cross the ball and come back). No paper
//! states a step size for L1 with this direction, so it uses the same rule. Set the step size for
//! optimisers in L2 and L1, and for `sgd` in any norm: their moves have no definite length there.
//!
//! # Source
//!
//! Madry, Makelov, Schmidt, Tsipras and Vladu, *Towards Deep Learning Models Resistant to Adversarial Attacks*, arXiv
//! 1706.06083, sections 2.1 and 5; the direction in L1: Tramèr and Boneh, arXiv 1904.13000, section 3.

use crate::{
    Error, Result,
    attacks::{
        Best, Case, Values,
        parameters::{Kind, LOSS, Parameter},
        parts::{descent::Descent, step::StepRule},
        registry::{Aim, Entry, Family, Search, any_values},
    },
    oracle::Gradients,
    threat::{Conditions, Norm},
};

pub(in crate::attacks) const ENTRY: Entry = Entry {
    name: "pgd",
    summary: "small steps along the gradient from random points (Madry et al. 2017)",
    family: Family::Gradient,
    aim: Aim::Radius,
    norms: &Norm::CONVEX,
    targeted: true,
    begins_elsewhere: false,
    parameters: &[
        Parameter {
            name: "steps",
            kind: Kind::POSITIVE,
            default: "40",
            meaning: "number of steps of a restart",
            origin: "the paper, for MNIST",
        },
        Parameter {
            name: "step_size",
            kind: Kind::Length,
            default: "2.5*eps/steps",
            meaning: "step size, in the unit of the rule",
            origin: "the paper, for its curves over eps",
        },
        Parameter {
            name: "rule",
            kind: Kind::Word(&StepRule::WORDS),
            default: "steepest",
            meaning: "the rule that turns a gradient into a move",
            origin: "the paper",
        },
        Parameter {
            name: "momentum",
            kind: Kind::Number {
                least: 0.0,
                most: 0.999_999,
            },
            default: "0",
            meaning: "share of the last move that is added to the next, for rule=sgd",
            origin: "the paper uses no momentum",
        },
        Parameter {
            name: "restarts",
            kind: Kind::POSITIVE,
            default: "1",
            meaning: "number of restarts, including the first start",
            origin: "this project's choice; the paper uses up to 20",
        },
        Parameter {
            name: "random_start",
            kind: Kind::Flag,
            default: "true",
            meaning: "whether a walk starts at a random point of the ball",
            origin: "the paper",
        },
        LOSS,
    ],
    cost: "per restart, steps gradients and 1 forward pass, plus 1 for each point that reaches the goal; fewer if \
           such a point ends it",
    source: include_str!("pgd.rs"),
    check,
    search: Search::Gradients(|model, case, p, best| Box::pin(pgd(model, case, p, best))),
};

fn check(p: &Values, conditions: &Conditions) -> Result<()> {
    any_values(p, conditions)?;
    if p.count("restarts")? > 1 && !p.flag("random_start")? {
        return Err(Error::invalid(
            "without a random start all restarts are the same; set restarts=1 or random_start=true",
        ));
    }
    let rule = rule(p)?;
    if !p.is_default("momentum") && !matches!(rule, StepRule::Sgd { .. }) {
        return Err(Error::invalid(format!(
            "the rule {} does not use momentum; leave it out, or set rule=sgd",
            rule.word()
        )));
    }
    if p.is_default("step_size") && !rule.is_scaled_to(conditions.norm) {
        return Err(Error::invalid(format!(
            "the rule {} has no default step size in norm {}; set step_size",
            rule.word(),
            conditions.norm
        )));
    }
    Ok(())
}

fn rule(p: &Values) -> Result<StepRule> {
    Ok(match p.word("rule")?.parse()? {
        StepRule::Sgd { .. } => StepRule::Sgd {
            momentum: p.number("momentum")?,
        },
        rule => rule,
    })
}

async fn pgd(model: Gradients<'_>, case: &Case, p: &Values, best: &mut Best) -> Result<()> {
    let steps = p.count("steps")?;
    let walk = Descent {
        loss: p.loss()?,
        rule: rule(p)?,
        step_size: p.length("step_size", case.eps(), steps)?,
        steps,
        restarts: p.count("restarts")?,
        random_start: p.flag("random_start")?,
    };
    walk.run(model, case, best).await
}
