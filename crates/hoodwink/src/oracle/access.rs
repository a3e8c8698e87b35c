//! Fronts of an oracle. Each front asks only what its level of access allows.

use super::{Budget, Differential, Objective, Oracle, Question, argmax};
use crate::{Error, Result, image::Image};

/// Decision-based access: the most likely class.
#[derive(Clone, Copy)]
pub struct Labels<'a>(&'a dyn Oracle);

/// Score-based access: logits.
#[derive(Clone, Copy)]
pub struct Scores<'a>(&'a dyn Oracle);

/// White-box access: gradients.
#[derive(Clone, Copy)]
pub struct Gradients<'a>(&'a dyn Oracle);

impl<'a> Labels<'a> {
    /// Returns a front of `oracle`.
    pub fn of(oracle: &'a dyn Oracle) -> Self {
        Self(oracle)
    }

    /// Returns the most likely class of an image.
    pub async fn label(self, x: &Image) -> Result<usize> {
        Scores(self.0).logits(x).await.map(|logits| argmax(&logits))
    }

    /// Returns the most likely class of each image. Asks about all of them at once.
    pub async fn labels(self, images: &[Image]) -> Result<Vec<usize>> {
        let logits = Scores(self.0).logits_of(images).await?;
        Ok(logits.iter().map(|logits| argmax(logits)).collect())
    }

    /// Returns the number of classes.
    pub fn classes(self) -> usize {
        self.0.classes()
    }

    /// Returns the budget that is left.
    pub fn left(self) -> Budget {
        self.0.left()
    }
}

impl<'a> Scores<'a> {
    /// Returns a front of `oracle`.
    pub fn of(oracle: &'a dyn Oracle) -> Self {
        Self(oracle)
    }

    /// Returns the logits of an image, one per class.
    pub async fn logits(self, x: &Image) -> Result<Vec<f32>> {
        let answers = self.0.ask(vec![Question::logits(x)]).await?;
        Ok(only(answers)?.into_logits())
    }

    /// Returns the logits of each image. Asks about all of them at once.
    pub async fn logits_of(self, images: &[Image]) -> Result<Vec<Vec<f32>>> {
        let questions = images.iter().map(Question::logits).collect();
        let answers = self.0.ask(questions).await?;
        Ok(answers.into_iter().map(|a| a.into_logits()).collect())
    }

    /// Returns the front of a weaker attacker, who sees labels only.
    pub fn as_labels(self) -> Labels<'a> {
        Labels(self.0)
    }

    /// Returns the number of classes.
    pub fn classes(self) -> usize {
        self.0.classes()
    }

    /// Returns the budget that is left.
    pub fn left(self) -> Budget {
        self.0.left()
    }
}

impl<'a> Gradients<'a> {
    /// Returns a front of `oracle`.
    pub fn of(oracle: &'a dyn Oracle) -> Self {
        Self(oracle)
    }

    /// Returns the logits, the value and the gradient of an objective at an image.
    pub async fn gradient(self, x: &Image, objective: &Objective) -> Result<Differential> {
        let question = Question::gradient(x, objective.clone());
        only(self.0.ask(vec![question]).await?)?.into_differential()
    }

    /// Returns the logits, values and gradients of several pairs of image and objective. Asks for all of them at once.
    pub async fn gradients(self, asked: Vec<(Image, Objective)>) -> Result<Vec<Differential>> {
        let questions = asked
            .iter()
            .map(|(x, objective)| Question::gradient(x, objective.clone()));
        let answers = self.0.ask(questions.collect()).await?;
        answers.into_iter().map(|a| a.into_differential()).collect()
    }

    /// Returns the logits of an image, one per class.
    pub async fn logits(self, x: &Image) -> Result<Vec<f32>> {
        self.as_scores().logits(x).await
    }

    /// Returns the front of a weaker attacker, who sees scores.
    pub fn as_scores(self) -> Scores<'a> {
        Scores(self.0)
    }

    /// Returns the front of a still weaker attacker, who sees labels only.
    pub fn as_labels(self) -> Labels<'a> {
        Labels(self.0)
    }

    /// Returns the number of classes.
    pub fn classes(self) -> usize {
        self.0.classes()
    }

    /// Returns the budget that is left.
    pub fn left(self) -> Budget {
        self.0.left()
    }
}

fn only<T>(answers: Vec<T>) -> Result<T> {
    let mut answers = answers.into_iter();
    match (answers.next(), answers.next()) {
        (Some(answer), None) => Ok(answer),
        _ => Err(Error::invalid(
            "the model returned a wrong number of answers",
        )),
    }
}
