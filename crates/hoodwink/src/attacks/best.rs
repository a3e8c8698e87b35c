//! What an attack has found so far.

use super::Case;
use crate::{
    Result,
    image::Image,
    oracle::Labels,
    threat::{Goal, Region},
};

/// What an attack proposes.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The best image found.
    pub image: Image,
    /// Whether the model, asked by the attack about this very image, gave an answer that reaches the goal.
    pub reached: bool,
    /// The loss at every step of the restart that gave it; empty if the attack looks at none.
    pub loss: Vec<f32>,
    /// Whether every gradient seen was zero: failure then proves nothing.
    pub zero_gradient: bool,
    /// Whether the budget ended the attack before its own end.
    pub budget_spent: bool,
}

impl Candidate {
    /// The image as it is: what an attack has before it has seen anything.
    pub fn unchanged(original: &Image) -> Self {
        Self {
            image: original.clone(),
            reached: false,
            loss: Vec::new(),
            zero_gradient: false,
            budget_spent: false,
        }
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

/// The best of all points that an attack has offered.
///
/// Within a radius that is the point that stands highest, then the one with the largest loss, and the first of equals: one that
/// reaches the goal also as the 8-bit picture it would be saved as, before one that reaches it as it is. Without a radius it
/// is the nearest of those that reach the goal.
#[derive(Clone, Debug)]
pub struct Best {
    region: Region,
    goal: Goal,
    image: Image,
    standing: Standing,
    /// Of the best point.
    loss: f32,
    /// Of the best point, if it reaches the goal.
    distance: f64,
    /// The loss at every point of the present restart, and of the one that gave the best point.
    trace: Vec<f32>,
    best_trace: Vec<f32>,
    /// Whether the best point is one of the present restart.
    improved: bool,
    /// Whether any gradient was looked at, and whether all were zero.
    looked: bool,
    zero_gradient: bool,
}

impl Best {
    /// The image as it is: what an attack has before it has seen anything.
    pub fn of(case: &Case) -> Self {
        Self {
            region: case.region.clone(),
            goal: case.goal,
            image: case.region.center.clone(),
            standing: Standing::Short,
            loss: f32::NEG_INFINITY,
            distance: f64::INFINITY,
            trace: Vec::new(),
            best_trace: Vec::new(),
            improved: false,
            looked: false,
            zero_gradient: false,
        }
    }

    /// Takes note of a point with these logits and this loss. Where the point is within a radius and reaches the goal, the model
    /// is asked about it once more as the picture it would be saved as, since a point just over the boundary seldom survives
    /// rounding. Answers whether there is nothing left to look for.
    pub async fn offer(
        &mut self,
        model: Labels<'_>,
        x: &Image,
        loss: f32,
        logits: &[f32],
    ) -> Result<bool> {
        self.trace.push(loss);
        let reached = self.goal.reached(logits);
        if self.region.radius.is_none() {
            if reached {
                self.offer_reaching(x);
            }
            return Ok(false);
        }
        if !reached {
            self.take(x, loss, Standing::Short);
            return Ok(false);
        }
        // Taken before the question, which the budget may refuse.
        self.take(x, loss, Standing::Reached);
        // The original needs no second look.
        if *x == self.region.center || self.survives_saving(model, x).await? {
            self.take(x, loss, Standing::Saved);
        }
        Ok(self.standing == Standing::Saved)
    }

    /// Takes note of a point with this label, for an attack that looks at no loss and takes the first point that reaches the
    /// goal, or else the last. Answers whether it does.
    pub fn offer_label(&mut self, x: &Image, label: usize) -> bool {
        let reached = self.goal.reached_by(label);
        if self.region.radius.is_none() {
            if reached {
                self.offer_reaching(x);
            }
            return reached;
        }
        self.loss = f32::NEG_INFINITY;
        let standing = match reached {
            true => Standing::Reached,
            false => Standing::Short,
        };
        self.take(x, 0.0, standing);
        reached
    }

    /// Takes note of a point that is known to reach the goal, without a radius: kept if it is nearer than all before.
    /// Answers its distance.
    pub fn offer_reaching(&mut self, x: &Image) -> f64 {
        let distance = self.region.distance(x);
        if distance < self.distance {
            self.distance = distance;
            self.image.clone_from(x);
            self.standing = Standing::Reached;
            self.improved = true;
        }
        distance
    }

    /// Takes note of the loss at a step, for the record.
    pub fn note(&mut self, loss: f32) {
        self.trace.push(loss);
    }

    async fn survives_saving(&self, model: Labels<'_>, x: &Image) -> Result<bool> {
        // In a ball narrower than one level of grey nothing can be saved; the point itself is asked about then, since the program
        // that computes gradients may round otherwise than the one the judge asks.
        let picture = match self.region.holds_pictures() {
            true => self.region.on_lattice(x).to_image(),
            false => x.clone(),
        };
        Ok(self.goal.reached_by(model.label(&picture).await?))
    }

    /// Keeps `x` if it stands higher than all before, or as high with a larger loss; a NaN is never larger.
    fn take(&mut self, x: &Image, loss: f32, standing: Standing) {
        if standing > self.standing || (standing == self.standing && loss > self.loss) {
            self.image.clone_from(x);
            self.loss = loss;
            self.standing = standing;
            self.improved = true;
        }
    }

    /// Clears what is not finite from a gradient, and notes whether every gradient so far was zero.
    pub fn look(&mut self, gradient: &mut [f32]) {
        for g in gradient.iter_mut().filter(|g| !g.is_finite()) {
            *g = 0.0;
        }
        let zero = gradient.iter().all(|&g| g == 0.0);
        self.zero_gradient = zero && (self.zero_gradient || !self.looked);
        self.looked = true;
    }

    /// The present restart is over.
    pub fn end_restart(&mut self) {
        let trace = std::mem::take(&mut self.trace);
        if std::mem::take(&mut self.improved) {
            self.best_trace = trace;
        }
    }

    /// Whether a point was offered that reaches the goal.
    pub fn is_reached(&self) -> bool {
        self.standing > Standing::Short
    }

    /// Whether there is nothing left to look for within a radius.
    pub fn is_saved(&self) -> bool {
        self.standing == Standing::Saved
    }

    /// Distance of the nearest point that reaches the goal, of an attack without a radius; infinite if there is none.
    pub fn distance(&self) -> f64 {
        self.distance
    }

    /// The best point.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// What is proposed in the end.
    pub(super) fn into_candidate(mut self, budget_spent: bool) -> Candidate {
        self.end_restart();
        Candidate {
            reached: self.is_reached(),
            image: self.image,
            loss: self.best_trace,
            zero_gradient: self.zero_gradient,
            budget_spent,
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;
    use crate::threat::Norm;

    fn best(radius: Option<f64>) -> (Best, [Image; 2]) {
        let images = [0.0, 1.0].map(|pixel| Image::new([1, 1, 1], vec![pixel]).unwrap());
        let case = Case {
            region: Region::new(images[0].clone(), Norm::Linf, radius),
            goal: Goal::Untargeted { label: 0 },
            starts: Vec::new(),
            rng: rand_chacha::ChaCha8Rng::seed_from_u64(0),
        };
        (Best::of(&case), images)
    }

    #[test]
    fn reaching_the_goal_counts_for_more_than_the_loss() {
        let (mut best, [x, y]) = best(Some(1.0));
        best.take(&x, 2.0, Standing::Short);
        best.take(&y, f32::NAN, Standing::Short);
        assert_eq!(*best.image(), x);
        // With many classes, cross-entropy may fall while another class takes the lead.
        best.take(&y, 1.0, Standing::Reached);
        assert!(best.is_reached() && *best.image() == y);
        best.take(&x, 0.5, Standing::Saved);
        best.take(&y, 3.0, Standing::Reached);
        assert!(best.is_saved() && *best.image() == x);
    }

    #[test]
    fn without_a_radius_the_nearest_counts() {
        let (mut best, [_, far]) = best(None);
        assert!(!best.is_reached() && best.distance().is_infinite());
        let near = Image::new([1, 1, 1], vec![0.25]).unwrap();
        for (x, nearest) in [(&far, 1.0), (&near, 0.25), (&far, 0.25)] {
            best.offer_reaching(x);
            assert_eq!(best.distance(), nearest);
        }
        let candidate = best.into_candidate(false);
        assert!(candidate.reached && candidate.image == near);
    }

    #[test]
    fn one_gradient_that_is_not_zero_is_enough_to_say_so() {
        for (gradients, zero) in [
            (vec![0.0, 0.0], true),
            (vec![0.0, 1.0, 0.0], false),
            (vec![1.0, 0.0], false),
            (vec![f32::NAN, f32::INFINITY], true),
        ] {
            let (mut best, _) = best(Some(0.1));
            assert!(!best.zero_gradient);
            for gradient in &gradients {
                best.look(&mut [*gradient]);
            }
            assert_eq!(best.zero_gradient, zero, "{gradients:?}");
        }
    }
}
