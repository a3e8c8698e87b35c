//! A model file that an engine runs as it is, for what cannot be imported: scores without gradients.

use onnx_grad::{Bytes, Graph, LoadOptions, Sealed, Tensor};

use super::File;
use crate::{
    Error, Result,
    engine::{Engine, Executable},
    preprocessing::{Preprocessing, pixels},
};

/// A model file behind its preprocessing.
pub(super) struct Opaque {
    /// From pixels to what the file eats.
    before: Graph,
    file: Sealed,
    /// `[channels, height, width]` of the pictures.
    pub(super) input: [usize; 3],
    /// Whether the scores are the logarithms of what the file answers, the probabilities of a softmax.
    logarithms: bool,
}

impl Opaque {
    /// Reads a file and puts its preprocessing in front. Whether an engine can run it is not known yet.
    pub(super) fn open(
        file: &File<'_>,
        options: &LoadOptions,
        preprocessing: &Preprocessing,
    ) -> Result<Self> {
        let file = onnx_grad::seal_bytes(&file.bytes, file.folder, options)?;
        let input = preprocessing.picture_shape(&file.shape)?;
        let mut before = Graph::new();
        let x = pixels(&mut before, file.shape[0], input);
        let bytes = file.eats_bytes.then_some(Bytes::Uint8);
        let prepared = preprocessing.append_for(bytes, &mut before, x, input[0], &file.shape)?;
        before.output("prepared", prepared);
        Ok(Self {
            before: onnx_grad::fold(&before)?,
            logarithms: file.ends_in_softmax && !options.keep_softmax,
            file,
            input,
        })
    }

    /// What the user should know about a file that is run as it is; `reason` is why it is.
    pub(super) fn notices(&self, reason: &Error, engine: &dyn Engine) -> Vec<String> {
        let mut notices = vec![format!(
            "{reason}; so {} runs the file as it is: without gradients (attacks need --access scores)",
            engine.name()
        )];
        if self.logarithms {
            notices.push(
                "the scores are the logarithms of the probabilities that its final softmax answers"
                    .to_owned(),
            );
        }
        notices
    }

    /// The integers that the file eats, if it does not eat floats.
    pub(super) fn bytes(&self) -> Option<Bytes> {
        self.file.eats_bytes.then_some(Bytes::Uint8)
    }

    /// Prepares it for one worker.
    pub(super) fn compile(&self, engine: &dyn Engine) -> Result<Box<dyn Executable>> {
        Ok(Box::new(Program {
            before: engine.compile(&self.before)?,
            file: engine.load(&self.file)?,
            logarithms: self.logarithms,
        }))
    }

    /// The number of classes, found by asking about a grey picture: the file may say nothing about it, or something else.
    pub(super) fn classes(&self, engine: &dyn Engine) -> Result<usize> {
        let [channels, height, width] = self.input;
        let grey = vec![0.5; channels * height * width];
        let picture = Tensor::f32([1, channels, height, width], grey)?;
        match self.compile(engine)?.run(&[picture])?.as_slice() {
            [scores] if scores.shape()[1] > 1 => Ok(scores.shape()[1]),
            _ => Err(Error::unsupported("the model's output is a single score")),
        }
    }
}

/// The preprocessing and the file, one after the other.
struct Program {
    before: Box<dyn Executable>,
    file: Box<dyn Executable>,
    /// Whether the file answers the probabilities of a softmax.
    logarithms: bool,
}

impl Executable for Program {
    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let mut answers = self.file.run(&self.before.run(inputs)?)?;
        let asked = inputs.first().and_then(|pixels| pixels.shape().first());
        for scores in &mut answers {
            let classes = match asked {
                Some(1) => row_of_one(scores.shape()),
                _ => None,
            };
            let Some(classes) = classes else {
                return Err(Error::unsupported(format!(
                    "the model answers {:?} to {} pictures, not one row of scores for each",
                    scores.shape(),
                    asked.unwrap_or(&0)
                )));
            };
            *scores = scores.reshaped([1, classes])?;
            if self.logarithms {
                let probabilities = scores.as_f32().unwrap_or_default();
                let logarithm = |&value: &f32| value.max(f32::MIN_POSITIVE).ln();
                let logarithms: Vec<f32> = probabilities.iter().map(logarithm).collect();
                *scores = Tensor::f32(scores.shape(), logarithms)?;
            }
        }
        Ok(answers)
    }
}

/// Number of scores in the answer to one picture, whose axes have side 1 but for one.
fn row_of_one(shape: &[usize]) -> Option<usize> {
    let mut long = shape.iter().filter(|&&side| side != 1);
    let classes = long.next().copied().unwrap_or(1);
    long.next().is_none().then_some(classes)
}
