//! A model file that cannot be imported and that the engine runs as it is: scores without gradients.

use onnx_grad::{Bytes, Graph, LoadOptions, Sealed, Tensor};

use super::File;
use crate::{
    Error, Result,
    engine::{Engine, Executable},
    preprocessing::{Preprocessing, pixels},
};

/// A model file with its preprocessing.
pub(super) struct Opaque {
    /// The graph from pixels to the file's input.
    before: Graph,
    file: Sealed,
    /// Whether the file returns probabilities, whose logarithms become the scores.
    answers_probabilities: bool,
    keeps_softmax: bool,
    /// The shape of the pictures, `[channels, height, width]`.
    pub(super) input: [usize; 3],
}

impl Opaque {
    /// Reads a file and prepends its preprocessing, without checking that an engine can run it.
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

    /// Returns notices for the user. `reason` says why the file cannot be imported.
    pub(super) fn notices(&self, reason: &Error, engine: &dyn Engine) -> Vec<String> {
        let mut notices = vec![format!(
            "{reason}; {} runs the file as it is, without gradients: use attacks that need only scores or labels",
            engine.name()
        )];
        if let Some(softmax) = &self.file.softmax {
            notices.push(format!(
                "the scores are taken before the softmax {softmax:?} at the end of the file"
            ));
        }
        if self.answers_probabilities {
            notices.push(
                "the file returns probabilities; their logarithms are used as the scores"
                    .to_owned(),
            );
        }
        notices
    }

    /// Returns the integer type of the file's input, if that is not float.
    pub(super) fn bytes(&self) -> Option<Bytes> {
        self.file.eats_bytes.then_some(Bytes::Uint8)
    }

    /// Prepares the file for one worker.
    pub(super) fn compile(&self, engine: &dyn Engine) -> Result<Box<dyn Executable>> {
        Ok(Box::new(Program {
            before: engine.compile(&self.before)?,
            file: engine.load(&self.file)?,
            takes_logarithms: self.answers_probabilities,
        }))
    }

    /// Finds the number of classes, and whether the answers are probabilities, by running grey pictures: the file may
    /// not say it, or say something else.
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

/// Whether a row consists of probabilities with a sum of 1.
fn are_probabilities(row: &[f32]) -> bool {
    let sum: f64 = row.iter().map(|&p| f64::from(p)).sum();
    row.iter().all(|&p| p >= 0.0) && (sum - 1.0).abs() < 1e-3
}

/// The preprocessing followed by the file.
struct Program {
    before: Box<dyn Executable>,
    file: Box<dyn Executable>,
    /// Whether the file returns probabilities, whose logarithms are taken.
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
                    "the model returned the shape {:?} for {} pictures; expected one row of scores per picture",
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

/// Takes logarithms of probabilities, so that the softmax restores them. For 0, takes the logarithm of the smallest
/// positive number.
fn logarithms(probabilities: &Tensor) -> Result<Tensor> {
    let values = probabilities
        .as_f32()
        .ok_or_else(|| Error::unsupported("the model's output is not float"))?;
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
