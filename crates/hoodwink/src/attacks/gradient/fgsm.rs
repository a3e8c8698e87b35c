//! The fast gradient sign method: one step of length eps along the gradient, from the original.
//!
//! # Formula
//!
//! `x' = project(x + eps * steepest(gradient of the loss at x))`. In L-inf the steepest direction is the gradient's
//! sign, as in the paper. In L2 it is the gradient divided by its length (the fast gradient method). In L1 it is the
//! sign at the steepest hundredth of the values, shared equally. With a target, the loss grows towards the target
//! class. The original is checked first: if it already reaches the goal, it is the result.
//!
//! # Defaults
//!
//! Loss `ce`. The step size is eps, so there is nothing else to set. Costs one gradient, and one forward pass at the
//! new point.
//!
//! # Source
//!
//! Goodfellow, Shlens and Szegedy, *Explaining and Harnessing Adversarial Examples*, arXiv 1412.6572, section 4; with a
//! target: Kurakin, Goodfellow and Bengio, *Adversarial Machine Learning at Scale*, arXiv 1611.01236, section 2.

use crate::{
    Result,
    attacks::{
        Best, Case, Values,
        parameters::LOSS,
        parts::{descent::Descent, step::StepRule},
        registry::{Aim, Entry, Family, Search, any_values},
    },
    oracle::Gradients,
    threat::Norm,
};

pub(in crate::attacks) const ENTRY: Entry = Entry {
    name: "fgsm",
    summary: "one step of length eps along the gradient (Goodfellow et al. 2014)",
    family: Family::Gradient,
    aim: Aim::Radius,
    norms: &Norm::CONVEX,
    targeted: true,
    begins_elsewhere: false,
    parameters: &[LOSS],
    cost: "1 gradient and 1 forward pass, plus 1 if a point reaches the goal",
    source: include_str!("fgsm.rs"),
    check: any_values,
    search: Search::Gradients(|model, case, p, best| Box::pin(fgsm(model, case, p, best))),
};

async fn fgsm(model: Gradients<'_>, case: &Case, p: &Values, best: &mut Best) -> Result<()> {
    let step = Descent {
        loss: p.loss()?,
        rule: StepRule::Steepest,
        step_size: case.eps(),
        steps: 1,
        restarts: 1,
        random_start: false,
    };
    step.run(model, case, best).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        attacks::{
            Attack, Candidate,
            toys::{Setup, Toy, ramp, ramp_job, run},
        },
        oracle::Spent,
        threat::{Goal, distances},
    };

    fn attack(norm: Norm, eps: f64, goal: Goal) -> (Candidate, Spent) {
        let attack = Attack::parse("fgsm(loss=margin)").unwrap();
        let setup = Setup::within(norm, eps);
        run(Toy::ramp(), &attack, &[ramp_job(goal)], &setup).remove(0)
    }

    const AWAY: Goal = Goal::Untargeted { label: 0 };

    /// arXiv 1412.6572, section 3: on a linear model the perturbation is `eps sign(w)` and the activation grows by `eps
    /// |w|_1`. All numbers here are exact in floats, so the test demands equality.
    #[test]
    fn on_a_linear_model_it_is_the_closed_form() {
        let eps = 1.0 / 64.0;
        let towards = Goal::Targeted {
            label: 0,
            target: 1,
        };
        let original = ramp_job(AWAY).original;
        for goal in [AWAY, towards] {
            let (candidate, spent) = attack(Norm::Linf, eps, goal);
            let moved = candidate.image.pixels().iter().zip(original.pixels());
            for ((found, x), w) in moved.zip(ramp()) {
                assert_eq!(f64::from(*found), f64::from(*x) + eps * w.signum());
            }
            let growth = eps * ramp().iter().map(|w| w.abs()).sum::<f64>();
            let [before, after] = candidate.loss[..] else {
                panic!("two points are evaluated: {:?}", candidate.loss)
            };
            assert_eq!(f64::from(after) - f64::from(before), growth);
            assert_eq!((spent.gradients, spent.queries), (1, 1));
        }
    }

    #[test]
    fn the_step_has_length_eps_in_every_norm() {
        for (norm, eps) in [(Norm::Linf, 8.0 / 255.0), (Norm::L2, 0.3), (Norm::L1, 0.2)] {
            let (candidate, _) = attack(norm, eps, AWAY);
            let length = norm.of(&distances(&ramp_job(AWAY).original, &candidate.image));
            assert!((length / eps - 1.0).abs() < 3e-6, "{norm}: {length}");
            // No perturbation of this length gains more than eps times the dual norm of w (Hölder).
            let gain = f64::from(candidate.loss[1]) - f64::from(candidate.loss[0]);
            let most = match norm {
                Norm::Linf => ramp().iter().map(|w| w.abs()).sum::<f64>(),
                Norm::L2 => ramp().iter().map(|w| w * w).sum::<f64>().sqrt(),
                _ => ramp().iter().fold(0.0, |most: f64, w| most.max(w.abs())),
            };
            assert!((gain / (eps * most) - 1.0).abs() < 3e-5, "{norm}: {gain}");
        }
    }

    #[test]
    fn an_original_that_reaches_the_goal_is_the_answer() {
        let (candidate, spent) = attack(Norm::Linf, 0.1, Goal::Untargeted { label: 1 });
        assert!(candidate.reached);
        assert_eq!(candidate.image, ramp_job(AWAY).original);
        assert_eq!((spent.gradients, spent.queries), (1, 0));
    }
}
