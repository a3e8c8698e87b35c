//! The attack inside adversarial training.

use std::fmt;

use onnx_grad::Tensor;
use rand_chacha::ChaCha8Rng;

use super::crew::Worker;
use crate::{
    Result,
    attacks::{StepRule, Stepper},
    image::Image,
    threat::Ball,
};

/// Adversarial training (Madry et al., arXiv 1706.06083, section 2.1): every training picture is first moved by
/// projected gradient ascent on its cross-entropy, from a random point of the ball.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adversarial {
    /// The norm and the radius, in pixel units.
    pub ball: Ball,
    /// The step size in the same norm.
    pub step_size: f64,
    /// Number of steps; at least 1.
    pub steps: usize,
    /// Length of the warm-up. Its first half is plain training; in the second half, radius and step size grow linearly
    /// to their full values. Small networks often learn nothing if they start with a large radius.
    pub warm_up_epochs: usize,
}

impl fmt::Display for Adversarial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "pgd(norm={}, eps={}, steps={}, step_size={}, warm_up_epochs={})",
            self.ball.norm, self.ball.eps, self.steps, self.step_size, self.warm_up_epochs
        )
    }
}

impl Adversarial {
    /// Returns the attack after `epochs` epochs, which may be a fraction, or `None` while training is plain.
    pub(super) fn after(self, epochs: f64) -> Option<Self> {
        let part = match self.warm_up_epochs {
            0 => 1.0,
            warm_up => (2.0 * epochs / warm_up as f64 - 1.0).min(1.0),
        };
        (part > 0.0).then_some(Self {
            ball: Ball {
                eps: self.ball.eps * part,
                ..self.ball
            },
            step_size: self.step_size * part,
            ..self
        })
    }

    /// Moves each image of a shard with its own random numbers.
    ///
    /// Start, step and projection equal those of the registry's `pgd` with the loss `ce`, but the loop differs. There a
    /// picture stops when it fools the model, and the worst point is kept. Here every picture takes every step and the
    /// last point is kept, as in the paper. All pictures move in lockstep, so a pool would have nothing to gather or
    /// refill.
    pub(super) fn attack(
        &self,
        worker: &mut Worker,
        originals: &[Image],
        labels: &[usize],
        weights: &[Tensor],
        rngs: &mut [ChaCha8Rng],
    ) -> Result<Vec<Image>> {
        let starts = originals.iter().zip(rngs);
        let mut images: Vec<Image> = starts
            .map(|(original, rng)| self.ball.random_point(original, rng))
            .collect();
        let stepper = |x: &Image| {
            let (rule, norm) = (StepRule::Steepest, self.ball.norm);
            Stepper::new(rule, norm, self.step_size, x.pixels().len())
        };
        let mut steppers: Vec<Stepper> = images.iter().map(stepper).collect();
        for _ in 0..self.steps {
            let gradients = worker.pixel_gradients(&images, labels, weights)?;
            let pictures = images.iter_mut().zip(originals);
            for (((x, original), gradient), stepper) in pictures.zip(gradients).zip(&mut steppers) {
                stepper.climb(gradient.pixels(), x.pixels_mut());
                self.ball.project(original, x);
            }
        }
        Ok(images)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::{
        attacks::{Attack, Case, random::fork},
        engine::{Choice, open},
        oracle::{
            Differential, Halt, Objective,
            pool::{self, Model, drive},
        },
        threat::{Goal, Norm, Region},
        train::{
            Preset,
            crew::Crew,
            network::{Network, Task},
            weights::Weights,
        },
    };

    #[test]
    fn the_radius_grows_after_plain_training() {
        let full = Adversarial {
            ball: Ball {
                norm: Norm::Linf,
                eps: 0.4,
            },
            step_size: 0.2,
            steps: 3,
            warm_up_epochs: 4,
        };
        for (epochs, eps) in [(0.0, None), (2.0, None), (3.0, Some(0.2)), (9.0, Some(0.4))] {
            let attack = full.after(epochs);
            assert_eq!(attack.map(|attack| attack.ball.eps), eps);
            assert_eq!(attack.map(|a| a.step_size), eps.map(|eps| eps / 2.0));
        }
        let at_once = Adversarial {
            warm_up_epochs: 0,
            ..full
        };
        assert_eq!(at_once.after(0.0), Some(at_once));
    }

    /// The worker as an oracle that is never wrong and whose loss grows from answer to answer, so that the registry's
    /// attack takes every step and keeps the last point.
    struct Stubborn<'a>(Mutex<Crew>, &'a [Tensor]);

    impl Model for Stubborn<'_> {
        fn worker(&self) -> Result<Box<dyn pool::Worker + '_>> {
            Ok(Box::new(StubbornWorker(self, 0.0)))
        }

        fn classes(&self) -> usize {
            2
        }
    }

    struct StubbornWorker<'a>(&'a Stubborn<'a>, f32);

    impl pool::Worker for StubbornWorker<'_> {
        fn logits(&mut self, images: &[&Image]) -> Result<Vec<Vec<f32>>> {
            // The loss is 1e-3, larger than those below; class 0 is the largest.
            Ok(images.iter().map(|_| vec![6.9, 0.0]).collect())
        }

        fn differentials(
            &mut self,
            images: &[&Image],
            objectives: &[&Objective],
        ) -> Result<Vec<Differential>> {
            let images: Vec<Image> = images.iter().map(|&image| image.clone()).collect();
            let label = |objective: &&Objective| match objective {
                Objective::Loss { label, .. } => *label,
                other => panic!("{other:?}"),
            };
            let labels: Vec<usize> = objectives.iter().map(label).collect();
            let mut crew = self.0.0.lock().unwrap();
            let gradients = crew
                .map(&[()], |worker, ()| {
                    worker.pixel_gradients(&images, &labels, self.0.1)
                })?
                .remove(0);
            self.1 += 1e-6;
            let seen = |gradient| Differential {
                logits: vec![1.0, 0.0],
                loss: self.1,
                gradient,
            };
            Ok(gradients.into_iter().map(seen).collect())
        }
    }

    #[test]
    fn without_an_early_stop_the_pictures_are_those_of_the_registrys_pgd() {
        let mut rng = ChaCha8Rng::seed_from_u64(8);
        let task = Task {
            input: [1, 13, 13],
            classes: 2,
            mean: vec![0.5],
            deviation: vec![0.3],
        };
        let network =
            Network::new(&Preset::Tutorial.architecture().unwrap(), &task, &mut rng).unwrap();
        let mut weights = Weights::of(&network).unwrap();
        // With a last layer of zeros every gradient would be zero.
        for weight in weights.values.iter_mut().flatten() {
            *weight += rng.random_range(-0.05..0.05);
        }
        let weights = weights.tensors().unwrap();
        let engine = open(Choice::Rten).unwrap();
        let mut crew = Crew::new(&network, engine.as_ref(), 1, true).unwrap();
        let originals: Vec<Image> = (0..3)
            .map(|_| {
                let pixels = (0..169).map(|_| rng.random_range(0..=255) as f32 / 255.0);
                Image::new([1, 13, 13], pixels.collect()).unwrap()
            })
            .collect();
        let streams: Vec<ChaCha8Rng> = (0..3).map(ChaCha8Rng::seed_from_u64).collect();
        for (norm, eps) in [(Norm::Linf, 0.1), (Norm::L2, 1.0), (Norm::L1, 5.0)] {
            let attack = Adversarial {
                ball: Ball { norm, eps },
                step_size: 0.3 * eps,
                steps: 5,
                warm_up_epochs: 0,
            };
            let ours = crew
                .map(&[()], |worker, ()| {
                    let mut rngs: Vec<_> = streams.iter().map(|rng| fork(rng, 0)).collect();
                    attack.attack(worker, &originals, &[0; 3], &weights, &mut rngs)
                })
                .unwrap()
                .remove(0);

            let pgd = Attack::parse(&format!(
                "pgd(steps={}, step_size={})",
                attack.steps, attack.step_size
            ));
            let pgd = Arc::new(pgd.unwrap());
            let model = Stubborn(
                Mutex::new(Crew::new(&network, engine.as_ref(), 1, true).unwrap()),
                &weights,
            );
            let alone = pool::Parallelism {
                threads: 1,
                batch: 3,
            };
            let jobs = originals
                .iter()
                .cloned()
                .zip(streams.iter().cloned())
                .enumerate();
            let mut theirs = Vec::new();
            drive(
                &[&model],
                alone,
                jobs.collect::<Vec<_>>().into_iter(),
                &Halt::new(),
                |(at, (original, rng)), oracle| {
                    let pgd = Arc::clone(&pgd);
                    Box::pin(async move {
                        let case = Case {
                            region: Region::new(original, norm, Some(eps)),
                            goal: Goal::Untargeted { label: 0 },
                            starts: Vec::new(),
                            rng,
                        };
                        Ok((at, pgd.run(&oracle, &case).await?.image))
                    })
                },
                |found| {
                    theirs.push(found);
                    Ok(())
                },
            )
            .unwrap();
            theirs.sort_by_key(|&(at, _)| at);
            for ((at, theirs), ours) in theirs.iter().zip(&ours) {
                assert_eq!(theirs, ours, "{norm}, picture {at}");
                assert_ne!(*ours, originals[*at]);
            }
            assert_eq!(theirs.len(), 3);
        }
    }
}
