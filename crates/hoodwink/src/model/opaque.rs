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
    /// Whether the file's answers are probabilities, whose logarithms are then the scores.
    answers_probabilities: bool,
    keeps_softmax: bool,
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
        let bytes = file.eats_bytes.then_some(Bytes::Uint8);
        let prepared = preprocessing.append_for(bytes, &mut before, x, input[0], &file.shape)?;
        before.output("prepared", prepared);
        Ok(Self {
            before: onnx_grad::fold(&before)?,
            file,
            answers_probabilities: false,
            keeps_softmax: options.keep_softmax,
            input,
        })
    }

    /// What the user should know about a file that is run as it is; `reason` is why it is.
    pub(super) fn notices(&self, reason: &Error, engine: &dyn Engine) -> Vec<String> {
        let mut notices = vec![format!(
            "{reason}; so {} runs the file as it is, without gradients: attacks on it have access to scores or labels",
            engine.name()
        )];
        if let Some(softmax) = &self.file.softmax {
            notices.push(format!(
                "the scores are taken before the softmax {softmax:?} at the end of the file"
            ));
        }
        if self.answers_probabilities {
            notices.push(
                "the file answers probabilities, so the scores are their logarithms".to_owned(),
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
            takes_logarithms: self.answers_probabilities,
        }))
    }

    /// The number of classes and whether answers are probabilities, found by asking about grey pictures: the file may say
    /// nothing about it, or something else.
    pub(super) fn settle(&mut self, engine: &dyn Engine) -> Result<usize> {
        let [channels, height, width] = self.input;
        let mut program = self.compile(engine)?;
        let mut all_are_probabilities = true;
        let mut classes = 0;
        for grey in [0.5, 0.0, 1.0] {
            let pixels = vec![grey; channels * height * width];
            let picture = Tensor::f32([1, channels, height, width], pixels)?;
            let answers = program.run(&[picture])?;
            let [scores] = answers.as_slice() else {
                return Err(Error::unsupported("the model has several outputs"));
            };
            classes = scores.shape()[1];
            all_are_probabilities &= scores.as_f32().is_some_and(are_probabilities);
        }
        if classes < 2 {
            return Err(Error::unsupported("the model's output is a single score"));
        }
        self.answers_probabilities = all_are_probabilities && !self.keeps_softmax;
        Ok(classes)
    }
}

/// Whether a row is of probabilities that add up to 1.
fn are_probabilities(row: &[f32]) -> bool {
    let sum: f64 = row.iter().map(|&p| f64::from(p)).sum();
    row.iter().all(|&p| p >= 0.0) && (sum - 1.0).abs() < 1e-3
}

/// The preprocessing and the file, one after the other.
struct Program {
    before: Box<dyn Executable>,
    file: Box<dyn Executable>,
    /// Of the answers, which are probabilities.
    takes_logarithms: bool,
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
        }
        match self.takes_logarithms {
            true => answers.iter().map(logarithms).collect(),
            false => Ok(answers),
        }
    }
}

/// Logarithms of probabilities, of which the softmax is what they were; of 0 that of the smallest number instead.
fn logarithms(probabilities: &Tensor) -> Result<Tensor> {
    let values = probabilities
        .as_f32()
        .ok_or_else(|| Error::unsupported("the model's answers are not of floats"))?;
    let logarithms = values.iter().map(|p| p.max(f32::MIN_POSITIVE).ln());
    Ok(Tensor::f32(
        probabilities.shape().to_vec(),
        logarithms.collect::<Vec<_>>(),
    )?)
}

/// Returns the number of scores in the answer to one picture. All other axes must have side 1.
fn row_of_one(shape: &[usize]) -> Option<usize> {
    let mut long = shape.iter().filter(|&&side| side != 1);
    let classes = long.next().copied().unwrap_or(1);
    long.next().is_none().then_some(classes)
}
