//! The last answers, kept.

use std::{cell::RefCell, collections::VecDeque};

use crate::{
    Result,
    image::Image,
    oracle::{Answer, Budget, Local, Oracle, Question},
};

/// How many answers are kept.
const KEPT: usize = 4;

/// Larger images are not kept: they take memory, and one answer more is nothing beside theirs.
const MOST_VALUES: usize = 1 << 20;

/// A model that is not asked for the logits of an image again if it was among the last that it was asked about. The judge asks
/// about what an attack has just asked about: the same question has the same answer, to the bit.
///
/// Only logits answer for logits: a program that computes gradients as well may round otherwise.
pub struct Memo<'a> {
    inner: &'a dyn Oracle,
    kept: RefCell<VecDeque<(Image, Vec<f32>)>>,
}

impl<'a> Memo<'a> {
    /// Of this oracle, with nothing kept yet.
    pub fn new(inner: &'a dyn Oracle) -> Self {
        Self {
            inner,
            kept: RefCell::default(),
        }
    }

    fn kept(&self, question: &Question) -> Option<Vec<f32>> {
        let kept = self.kept.borrow();
        let found = kept.iter().find(|(image, _)| *image == question.point);
        found.map(|(_, logits)| logits.clone())
    }

    async fn answer(&self, questions: Vec<Question>) -> Result<Vec<Answer>> {
        // Of questions that are asked together none is asked soon again.
        let [question] = &questions[..] else {
            return self.inner.ask(questions).await;
        };
        if question.is_for_gradient() || question.point.pixels().len() > MOST_VALUES {
            return self.inner.ask(questions).await;
        }
        if let Some(logits) = self.kept(question) {
            return Ok(vec![Answer::Logits(logits)]);
        }
        let point = question.point.clone();
        let answers = self.inner.ask(questions).await?;
        if let [Answer::Logits(logits)] = &answers[..] {
            let mut kept = self.kept.borrow_mut();
            kept.truncate(KEPT - 1);
            kept.push_front((point, logits.clone()));
        }
        Ok(answers)
    }
}

impl Oracle for Memo<'_> {
    fn ask(&self, questions: Vec<Question>) -> Local<'_, Result<Vec<Answer>>> {
        Box::pin(self.answer(questions))
    }

    fn classes(&self) -> usize {
        self.inner.classes()
    }

    fn left(&self) -> Budget {
        self.inner.left()
    }
}
