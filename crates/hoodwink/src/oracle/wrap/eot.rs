//! Expectation over transformation: the model is asked about random versions of each image.

use std::cell::RefCell;

use rand_chacha::ChaCha8Rng;

use super::transform::Transformation;
use crate::{
    Error, Result,
    image::Image,
    oracle::{Answer, Budget, Differential, Local, Oracle, Question, Want},
};

/// A model whose answers are means over random transformations of the image (Athalye, Engstrom, Ilyas and Kwok, arXiv
/// 1707.07397, section 2.2). For logits this is the mean of the logits. For gradients it is the mean of the objective's
/// gradients, each pulled back through its transformation. Every version is paid for.
pub struct Eot<'a> {
    inner: &'a dyn Oracle,
    transformations: Vec<Transformation>,
    versions: u64,
    rng: RefCell<ChaCha8Rng>,
}

impl<'a> Eot<'a> {
    /// Makes `versions` versions of each image. Each version passes through all transformations in order.
    ///
    /// # Errors
    /// `versions` is 0.
    pub fn new(
        inner: &'a dyn Oracle,
        transformations: Vec<Transformation>,
        versions: u64,
        rng: ChaCha8Rng,
    ) -> Result<Self> {
        match versions {
            0 => Err(Error::invalid(
                "an expectation over transformations needs at least one version",
            )),
            _ => Ok(Self {
                inner,
                transformations,
                versions,
                rng: RefCell::new(rng),
            }),
        }
    }

    async fn answer(&self, questions: Vec<Question>) -> Result<Vec<Answer>> {
        let mut drawn = Vec::new();
        let mut asked = Vec::new();
        for question in &questions {
            for _ in 0..self.versions {
                let mut point = question.point.clone();
                let mut steps = Vec::with_capacity(self.transformations.len());
                for transformation in &self.transformations {
                    let step = transformation.draw(point.shape(), &mut *self.rng.borrow_mut());
                    point = step.apply(&point)?;
                    steps.push(step);
                }
                drawn.push(steps);
                asked.push(Question {
                    point,
                    want: question.want.clone(),
                });
            }
        }
        let answers = self.inner.ask(asked).await?;
        let mut versions = answers.into_iter().zip(&drawn);
        let mut means = Vec::with_capacity(questions.len());
        for question in &questions {
            let mut mean = Mean::default();
            for (answer, steps) in versions.by_ref().take(self.versions as usize) {
                match (&question.want, answer) {
                    (Want::Logits, answer) => mean.logits(&answer.into_logits()),
                    (Want::Gradient(_), answer) => {
                        let found = answer.into_differential()?;
                        let mut gradient = found.gradient;
                        for step in steps.iter().rev() {
                            gradient = step.pull_back(&gradient)?;
                        }
                        mean.logits(&found.logits);
                        mean.gradient(found.loss, &gradient);
                    }
                }
            }
            means.push(mean.answer(question));
        }
        Ok(means)
    }
}

/// Running sums in double precision.
#[derive(Default)]
struct Mean {
    count: f64,
    logits: Vec<f64>,
    loss: f64,
    gradient: Vec<f64>,
}

impl Mean {
    fn logits(&mut self, logits: &[f32]) {
        self.count += 1.0;
        add(&mut self.logits, logits);
    }

    fn gradient(&mut self, loss: f32, gradient: &Image) {
        self.loss += f64::from(loss);
        add(&mut self.gradient, gradient.pixels());
    }

    fn answer(self, question: &Question) -> Answer {
        let mean = |sums: &[f64]| sums.iter().map(|sum| (sum / self.count) as f32).collect();
        let logits: Vec<f32> = mean(&self.logits);
        if !question.is_for_gradient() {
            return Answer::Logits(logits);
        }
        let mut gradient = question.point.clone();
        let values: Vec<f32> = mean(&self.gradient);
        gradient.pixels_mut().copy_from_slice(&values);
        Answer::Gradient(Differential {
            logits,
            loss: (self.loss / self.count) as f32,
            gradient,
        })
    }
}

fn add(sums: &mut Vec<f64>, values: &[f32]) {
    sums.resize(values.len(), 0.0);
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += f64::from(*value);
    }
}

impl Oracle for Eot<'_> {
    fn ask(&self, questions: Vec<Question>) -> Local<'_, Result<Vec<Answer>>> {
        Box::pin(self.answer(questions))
    }

    fn classes(&self) -> usize {
        self.inner.classes()
    }

    fn left(&self) -> Budget {
        let left = self.inner.left();
        Budget {
            queries: left.queries / self.versions,
            gradients: left.gradients / self.versions,
        }
    }
}
