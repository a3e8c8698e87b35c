//! A memory of the last answers.

use std::{cell::RefCell, collections::VecDeque};

use crate::{
    Result,
    image::Image,
    oracle::{Answer, Budget, Local, Oracle, Question},
};

/// The number of answers that are kept.
const KEPT: usize = 4;

/// Larger images are not kept: they take memory, and one extra query costs little compared with theirs.
const MOST_VALUES: usize = 1 << 20;

/// A model that remembers the logits of the last images and does not compute them again. The judge often asks about an
/// image that an attack has just asked about. The same question has the same answer, bit for bit.
///
/// Only answers to logits questions are reused: a program that also computes gradients may round differently.
pub struct Memo<'a> {
    inner: &'a dyn Oracle,
    kept: RefCell<VecDeque<(Image, Vec<f32>)>>,
}

impl<'a> Memo<'a> {
    /// Wraps `inner` with an empty memory.
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
        // Questions that are asked together are rarely asked again soon.
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
