//! Backward pass differentiable approximation: for a defence in front of the model that has no useful gradient.

use crate::{
    Result,
    image::Image,
    oracle::{Answer, Budget, Local, Oracle, Question},
};

/// A model behind a defence that the backward pass treats as the identity (Athalye, Carlini and Wagner, arXiv
/// 1802.00420, section 4.1). The answer at `x` is the model's answer at `defence(x)`, including the gradient.
///
/// For a defence that is part of the ONNX file, see [`onnx_grad::with_backward`].
pub struct Bpda<'a> {
    inner: &'a dyn Oracle,
    defence: Box<dyn Fn(&Image) -> Image + 'a>,
}

impl<'a> Bpda<'a> {
    /// Puts `inner` behind a defence, which must keep an image's shape.
    pub fn new(inner: &'a dyn Oracle, defence: impl Fn(&Image) -> Image + 'a) -> Self {
        Self {
            inner,
            defence: Box::new(defence),
        }
    }
}

impl Oracle for Bpda<'_> {
    fn ask(&self, mut questions: Vec<Question>) -> Local<'_, Result<Vec<Answer>>> {
        for question in &mut questions {
            question.point = (self.defence)(&question.point);
        }
        self.inner.ask(questions)
    }

    fn classes(&self) -> usize {
        self.inner.classes()
    }

    fn left(&self) -> Budget {
        self.inner.left()
    }
}
