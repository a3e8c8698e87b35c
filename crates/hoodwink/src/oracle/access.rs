//! Fronts of an oracle: each can ask what its level of access allows, and no more.

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
    /// A front of this oracle.
    pub fn of(oracle: &'a dyn Oracle) -> Self {
        Self(oracle)
    }

    /// The most likely class of an image.
    pub async fn label(self, x: &Image) -> Result<usize> {
        Scores(self.0).logits(x).await.map(|logits| argmax(&logits))
    }

    /// The most likely class of each image; all are asked about at once.
    pub async fn labels(self, images: &[Image]) -> Result<Vec<usize>> {
        let logits = Scores(self.0).logits_of(images).await?;
        Ok(logits.iter().map(|logits| argmax(logits)).collect())
    }

    /// How many classes the model tells apart.
    pub fn classes(self) -> usize {
        self.0.classes()
    }

    /// How many questions may still be asked.
    pub fn left(self) -> Budget {
        self.0.left()
    }
}

impl<'a> Scores<'a> {
    /// A front of this oracle.
    pub fn of(oracle: &'a dyn Oracle) -> Self {
        Self(oracle)
    }

    /// The logits of an image, one per class.
    pub async fn logits(self, x: &Image) -> Result<Vec<f32>> {
        let answers = self.0.ask(vec![Question::logits(x)]).await?;
        Ok(only(answers)?.into_logits())
    }

    /// The logits of each image; all are asked about at once.
    pub async fn logits_of(self, images: &[Image]) -> Result<Vec<Vec<f32>>> {
        let questions = images.iter().map(Question::logits).collect();
        let answers = self.0.ask(questions).await?;
        Ok(answers.into_iter().map(|a| a.into_logits()).collect())
    }

    /// What a weaker attacker sees.
    pub fn as_labels(self) -> Labels<'a> {
        Labels(self.0)
    }

    /// How many classes the model tells apart.
    pub fn classes(self) -> usize {
        self.0.classes()
    }

    /// How many questions may still be asked.
    pub fn left(self) -> Budget {
        self.0.left()
    }
}

impl<'a> Gradients<'a> {
    /// A front of this oracle.
    pub fn of(oracle: &'a dyn Oracle) -> Self {
        Self(oracle)
    }

    /// Logits, value and gradient of an objective at an image.
    pub async fn gradient(self, x: &Image, objective: &Objective) -> Result<Differential> {
        let question = Question::gradient(x, objective.clone());
        only(self.0.ask(vec![question]).await?)?.into_differential()
    }

    /// Those of several objectives or images, all asked at once.
    pub async fn gradients(self, asked: Vec<(Image, Objective)>) -> Result<Vec<Differential>> {
        let questions = asked
            .iter()
            .map(|(x, objective)| Question::gradient(x, objective.clone()));
        let answers = self.0.ask(questions.collect()).await?;
        answers.into_iter().map(|a| a.into_differential()).collect()
    }

    /// The logits of an image, one per class.
    pub async fn logits(self, x: &Image) -> Result<Vec<f32>> {
        self.as_scores().logits(x).await
    }

    /// What a weaker attacker sees.
    pub fn as_scores(self) -> Scores<'a> {
        Scores(self.0)
    }

    /// What a still weaker attacker sees.
    pub fn as_labels(self) -> Labels<'a> {
        Labels(self.0)
    }

    /// How many classes the model tells apart.
    pub fn classes(self) -> usize {
        self.0.classes()
    }

    /// How many questions may still be asked.
    pub fn left(self) -> Budget {
        self.0.left()
    }
}

fn only<T>(answers: Vec<T>) -> Result<T> {
    let mut answers = answers.into_iter();
    match (answers.next(), answers.next()) {
        (Some(answer), None) => Ok(answer),
        _ => Err(Error::invalid(
            "the model answered another number of questions",
        )),
    }
}
