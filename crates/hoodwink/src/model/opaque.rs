//! A model file that an engine runs as it is, for what cannot be imported: scores without gradients.

use onnx_grad::{Graph, LoadOptions, Sealed, Tensor};

use super::File;
use crate::{
    Error, Result,
    engine::{Engine, Executable},
    preprocessing::{InputRange, Preprocessing, pixels},
};

/// A model file behind its preprocessing.
pub(super) struct Opaque {
    /// From pixels to what the file eats.
    before: Graph,
    file: Sealed,
    /// `[channels, height, width]` of the pictures.
    pub(super) input: [usize; 3],
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
        let prepared = preprocessing.append(&mut before, x, input[0], &file.shape)?;
        before.output("prepared", prepared);
        Ok(Self {
            before: onnx_grad::fold(&before)?,
            file,
            input,
        })
    }

    /// What the user should know about a file that is run as it is; `reason` is why it is.
    pub(super) fn notices(
        &self,
        reason: &Error,
        preprocessing: &Preprocessing,
        engine: &dyn Engine,
    ) -> Vec<String> {
        let mut notices = vec![format!(
            "{reason}; so {} runs the file as it is: without gradients (attacks need --access scores), and no final softmax \
             is looked through",
            engine.name()
        )];
        if self.file.eats_bytes && preprocessing.input_range != InputRange::ZeroTo255 {
            notices.push(format!(
                "input {:?} is of bytes, which --input-range 0..255 makes of pixels",
                self.file.input
            ));
        }
        notices
    }

    /// Prepares it for one worker.
    pub(super) fn compile(&self, engine: &dyn Engine) -> Result<Box<dyn Executable>> {
        Ok(Box::new(Program {
            before: engine.compile(&self.before)?,
            file: engine.load(&self.file)?,
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
}

impl Executable for Program {
    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let answers = self.file.run(&self.before.run(inputs)?)?;
        let asked = inputs.first().and_then(|pixels| pixels.shape().first());
        for scores in &answers {
            let is_row_each = match scores.shape() {
                [rows, _, rest @ ..] => asked == Some(rows) && rest.iter().all(|&side| side == 1),
                _ => false,
            };
            if !is_row_each {
                return Err(Error::unsupported(format!(
                    "the model answers {:?} to {} pictures, not one row of scores for each",
                    scores.shape(),
                    asked.unwrap_or(&0)
                )));
            }
        }
        Ok(answers)
    }
}
