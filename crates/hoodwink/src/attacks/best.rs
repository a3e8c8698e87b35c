//! The best point that an attack has found so far.

use super::Case;
use crate::{
    Result,
    image::Image,
    oracle::Labels,
    threat::{Goal, Region},
};

/// The result that an attack proposes.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The best image found.
    pub image: Image,
    /// Whether the attack itself saw the model's answer for this image reach the goal.
    pub reached: bool,
    /// The loss at every step of the restart that produced the image; empty if the attack uses no loss.
    pub loss: Vec<f32>,
    /// Whether every gradient was zero. Failure then proves nothing.
    pub zero_gradient: bool,
    /// Whether the attack stopped because its budget was spent.
    pub budget_spent: bool,
}

impl Candidate {
    /// Creates the candidate of an attack that has seen nothing yet: the unchanged image.
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

/// The rank of a point; later is better.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Standing {
    /// Does not reach the goal.
    Short,
    /// Reaches the goal as it is.
    Reached,
    /// Also reaches the goal as the picture that would be saved for it.
    Saved,
}

/// The best of all points that an attack has offered.
///
/// Within a radius, that is the point of the highest rank, then of the largest loss, then the first one. A point that
/// also reaches the goal as a saved 8-bit picture ranks above one that only reaches it as it is. Without a radius, it
/// is the nearest point that reaches the goal.
#[derive(Clone, Debug)]
pub struct Best {
    region: Region,
    goal: Goal,
    image: Image,
    standing: Standing,
    /// Loss of the best point.
    loss: f32,
    /// Distance of the best point if it reaches the goal.
    distance: f64,
    /// The loss at every point of the current restart and, below, of the restart that produced the best point.
    trace: Vec<f32>,
    best_trace: Vec<f32>,
    /// Whether the best point belongs to the current restart.
    improved: bool,
    /// Whether the attack has seen any gradient, and whether all were zero.
    looked: bool,
    zero_gradient: bool,
}

impl Best {
    /// Creates the state before the first point: the unchanged image.
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

    /// Records a point with these logits and this loss. If the point lies within a radius and reaches the goal, asks
    /// the model about the picture that would be saved for it, because a point just beyond the boundary rarely survives
    /// rounding. Returns whether the search is complete.
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
        // Recorded before the question, which the budget may refuse.
        self.take(x, loss, Standing::Reached);
        // The original needs no second question.
        if *x == self.region.center || self.survives_saving(model, x).await? {
            self.take(x, loss, Standing::Saved);
        }
        Ok(self.standing == Standing::Saved)
    }

    /// Records a point with this label, for attacks without a loss. They take the first point that reaches the goal, or
    /// else the last one. Returns whether the point reaches the goal.
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

    /// Records a point that is known to reach the goal, for attacks without a radius. It is kept if it is nearer than
    /// all earlier points. Returns its distance.
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

    /// Records the loss at a step.
    pub fn note(&mut self, loss: f32) {
        self.trace.push(loss);
    }

    async fn survives_saving(&self, model: Labels<'_>, x: &Image) -> Result<bool> {
        // A ball narrower than one grey level contains no other picture. Then the question is about the point itself,
        // since the program that computes gradients may round differently from the one that the judge asks.
        let picture = match self.region.holds_pictures() {
            true => self.region.on_lattice(x).to_image(),
            false => x.clone(),
        };
        Ok(self.goal.reached_by(model.label(&picture).await?))
    }

    /// Keeps `x` if it ranks above all earlier points, or equal with a larger loss. A NaN is never larger.
    fn take(&mut self, x: &Image, loss: f32, standing: Standing) {
        if standing > self.standing || (standing == self.standing && loss > self.loss) {
            self.image.clone_from(x);
            self.loss = loss;
            self.standing = standing;
            self.improved = true;
        }
    }

    /// Sets the values of a gradient that are not finite to zero, and records whether every gradient so far was zero.
    pub fn look(&mut self, gradient: &mut [f32]) {
        for g in gradient.iter_mut().filter(|g| !g.is_finite()) {
            *g = 0.0;
        }
        let zero = gradient.iter().all(|&g| g == 0.0);
        self.zero_gradient = zero && (self.zero_gradient || !self.looked);
        self.looked = true;
    }

    /// Ends the current restart.
    pub fn end_restart(&mut self) {
        let trace = std::mem::take(&mut self.trace);
        if std::mem::take(&mut self.improved) {
            self.best_trace = trace;
        }
    }

    /// Returns whether any offered point reaches the goal.
    pub fn is_reached(&self) -> bool {
        self.standing > Standing::Short
    }

    /// Returns whether a search within a radius is complete.
    pub fn is_saved(&self) -> bool {
        self.standing == Standing::Saved
    }

    /// Returns the distance of the nearest point that reaches the goal, for attacks without a radius; infinite if there
    /// is none.
    pub fn distance(&self) -> f64 {
        self.distance
    }

    /// Returns the best point.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// Returns the final result.
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
