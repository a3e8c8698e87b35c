//! A classifier in pixel space: an ONNX file with its preprocessing, ready for queries and, if it can be imported, for
//! gradients.

mod batch_safety;
mod foreign;
mod opaque;
mod padded;
mod programs;
mod remote;
mod tensors;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use batch_safety::AtOnce;
pub use batch_safety::BatchSafety;
use onnx_grad::{Bytes, DType, Dim, Graph, Head, LoadOptions, Loaded, Op, inspect::Cost};
use sha2::{Digest, Sha256};

pub use foreign::refuse as refuse_foreign;
use opaque::Opaque;
pub use programs::Asked;
use programs::Programs;
pub use remote::{Remote, RemoteSettings};

use crate::{
    Error, Result,
    engine::Engine,
    oracle::pool::{Model, Worker},
    preprocessing::{Preprocessing, pixels},
};

/// A classifier in pixel space.
pub struct Classifier {
    forward: Forward,
    engine: Arc<dyn Engine>,
    input: [usize; 3],
    /// Whether it takes several pictures at once.
    batched: bool,
    /// The number of rows of every execution, if the file freezes it above 1.
    frozen: Option<usize>,
    classes: usize,
    sha256: String,
    notices: Vec<String>,
    /// The integer type of its input, if that is not float.
    bytes: Option<Bytes>,
    /// Whether the scores come from a softmax or sigmoid that could not be removed.
    saturates: bool,
    /// How to get scores from before the layer that saturates them.
    way_before: WayBefore,
    /// The maximum number of pictures in one execution.
    at_once: AtOnce,
    /// The number of threads that probe its programs.
    threads: usize,
    programs: Programs,
}

/// A model file, read once, so that the digest is of the bytes that are run.
struct File<'a> {
    bytes: Vec<u8>,
    /// The folder of its external weights.
    folder: Option<&'a Path>,
}

impl<'a> File<'a> {
    fn read(path: &'a Path) -> Result<Self> {
        foreign::refuse(path)?;
        Ok(Self {
            bytes: onnx_grad::read(path)?,
            folder: onnx_grad::folder_of(path),
        })
    }
}

/// How to get the scores before a softmax or sigmoid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WayBefore {
    /// By turning off the setting that keeps the softmax.
    Unkept,
    /// By choosing the value of this name as the scores.
    Value(String),
    /// Only by another export.
    Export,
}

/// The implementation of the forward pass.
enum Forward {
    /// A graph from `pixels` to `logits`, preprocessing included.
    Graph(Graph),
    /// The file itself.
    File(Opaque),
}

impl Classifier {
    /// Reads an ONNX file, with any external weights, and prepends the preprocessing.
    pub fn open(
        path: &Path,
        preprocessing: &Preprocessing,
        engine: Arc<dyn Engine>,
    ) -> Result<Self> {
        Self::open_with(path, &LoadOptions::default(), preprocessing, engine)
    }

    /// Works like [`Classifier::open`], with settings for what the file leaves open.
    pub fn open_with(
        path: &Path,
        options: &LoadOptions,
        preprocessing: &Preprocessing,
        engine: Arc<dyn Engine>,
    ) -> Result<Self> {
        Self::parse(&File::read(path)?, options, preprocessing, engine)
    }

    fn parse(
        file: &File<'_>,
        options: &LoadOptions,
        preprocessing: &Preprocessing,
        engine: Arc<dyn Engine>,
    ) -> Result<Self> {
        let loaded = onnx_grad::parse_with(&file.bytes, file.folder, options)?;
        let sha256 = hexadecimal(&Sha256::digest(&file.bytes));
        let model = Self::new(loaded, sha256, preprocessing, engine)?;
        Ok(model.keeping(options.keep_softmax))
    }

    /// Records whether a final softmax is kept.
    fn keeping(mut self, softmax: bool) -> Self {
        if softmax {
            self.way_before = WayBefore::Unkept;
        }
        self
    }

    /// Works like [`Classifier::open_with`], but if the model cannot be imported, the engine runs the user's file
    /// unchanged. Such a model has no gradients, and a notice says so.
    ///
    /// # Errors
    /// A file that is broken, too large, or not a picture classifier is refused in either case. If the engine cannot
    /// run the file either, the error gives both reasons.
    pub fn open_for_scores(
        path: &Path,
        options: &LoadOptions,
        preprocessing: &Preprocessing,
        engine: Arc<dyn Engine>,
    ) -> Result<Self> {
        let model = File::read(path)?;
        let reason = match Self::parse(&model, options, preprocessing, Arc::clone(&engine)) {
            Err(reason) if reason.is_unsupported() => reason,
            done => return done,
        };
        let mut file = match Opaque::open(&model, options, preprocessing) {
            Err(error) if error.is_unsupported() && error.to_string() == reason.to_string() => {
                return Err(reason);
            }
            Err(error) if error.is_unsupported() => return Err(neither(&reason, &error)),
            opened => opened?,
        };
        let classes = file
            .settle(engine.as_ref())
            .map_err(|error| neither(&reason, &error))?;
        Ok(Self {
            input: file.input,
            // The operators that round by a row's place are not spelled out in the file, and a probe may miss some.
            batched: false,
            frozen: None,
            classes,
            sha256: hexadecimal(&Sha256::digest(&model.bytes)),
            notices: file.notices(&reason, engine.as_ref()),
            bytes: file.bytes(),
            forward: Forward::File(file),
            engine,
            saturates: false,
            way_before: WayBefore::Export,
            at_once: AtOnce::of(0, 0, false),
            threads: 1,
            programs: Programs::default(),
        }
        .keeping(options.keep_softmax))
    }

    /// Whether [`Classifier::open_for_scores`] would let an engine run a file that cannot be imported, or name the
    /// missing setting. Does not call an engine.
    pub fn may_run_as_it_is(
        path: &Path,
        options: &LoadOptions,
        preprocessing: &Preprocessing,
    ) -> bool {
        let opened = File::read(path).and_then(|file| Opaque::open(&file, options, preprocessing));
        opened.err().is_none_or(|error| !error.is_unsupported())
    }

    /// Works like [`Classifier::open`], from the bytes of an ONNX file without external weights.
    pub fn from_bytes(
        bytes: &[u8],
        preprocessing: &Preprocessing,
        engine: Arc<dyn Engine>,
    ) -> Result<Self> {
        let loaded = onnx_grad::parse(bytes, None)?;
        let sha256 = hexadecimal(&Sha256::digest(bytes));
        Self::new(loaded, sha256, preprocessing, engine)
    }

    /// Opens a model in its own input space, without preprocessing, for inputs of any shape and meaning. An image then
    /// has the input's own shape if that has three axes, the first of side 1 or 3, and otherwise the shape `[1, 1, n]`.
    ///
    /// Attacks on it need a [`Region`](crate::threat::Region) with its own bounds. It has no pictures to judge.
    ///
    /// # Errors
    /// The errors of [`Classifier::open`], and an input shape with an open axis other than the batch.
    pub fn open_in_own_space(
        path: &Path,
        options: &LoadOptions,
        engine: Arc<dyn Engine>,
    ) -> Result<Self> {
        let file = File::read(path)?;
        let loaded = onnx_grad::parse_with(&file.bytes, file.folder, options)?;
        let sha256 = hexadecimal(&Sha256::digest(&file.bytes));
        let shaped = Loaded {
            graph: own_space(&loaded.graph)?,
            // Its values are used as they are.
            bytes: None,
            ..loaded
        };
        Self::new(shaped, sha256, &Preprocessing::default(), engine)
    }

    /// Wraps a model that a test builds as a graph.
    #[cfg(test)]
    pub(crate) fn of_graph(model: &Graph, engine: Arc<dyn Engine>) -> Result<Self> {
        let plain = Preprocessing::default();
        let loaded = Loaded {
            graph: model.clone(),
            notices: Vec::new(),
            bytes: None,
            opset: 0,
            producer: String::new(),
        };
        Self::new(loaded, String::new(), &plain, engine)
    }

    fn new(
        model: Loaded,
        sha256: String,
        preprocessing: &Preprocessing,
        engine: Arc<dyn Engine>,
    ) -> Result<Self> {
        let Loaded {
            graph: model,
            notices,
            bytes,
            ..
        } = &model;
        let &[own_input] = model.inputs() else {
            return Err(Error::unsupported(format!(
                "the model has {} inputs; expected one, the pictures",
                model.inputs().len()
            )));
        };
        onnx_grad::scores(model)?;
        let mut notices = notices.clone();
        let wanted = model.shape(own_input).to_vec();
        let input = preprocessing.picture_shape(&wanted)?;
        let mut graph = Graph::new();
        let batch = match wanted.first() {
            Some(&Dim::Fixed(rows)) => Dim::Fixed(rows),
            _ => Dim::Batch(1),
        };
        let frozen = match batch {
            Dim::Fixed(rows @ 2..) => Some(rows),
            _ => None,
        };
        let x = pixels(&mut graph, batch, input);
        let prepared = preprocessing.append_for(*bytes, &mut graph, x, input[0], &wanted)?;
        let scores = graph.inline(model, &[prepared])?[0];
        let head = Head::of(&mut graph, scores)?;
        let logits = head.logits;
        notices.extend(head.notices(&graph));
        let way_before = match head.before(&graph) {
            Some(name) => WayBefore::Value(name.to_owned()),
            None => WayBefore::Export,
        };
        let classes = match graph.shape(logits) {
            &[own, Dim::Fixed(classes)] if own == batch && classes > 1 => classes,
            _ => {
                return Err(Error::unsupported(
                    "the model's output is not one row of scores per picture; choose another output or an inner value as the scores",
                ));
            }
        };
        graph.output("logits", logits);
        let graph = onnx_grad::fold(&graph)?;
        Ok(Self {
            at_once: match frozen {
                Some(rows) => AtOnce::of_frozen(rows),
                None => AtOnce::of(
                    Cost::of(&graph).multiply_adds,
                    input.iter().product(),
                    engine.likes_large_alone(),
                ),
            },
            forward: Forward::Graph(graph),
            engine,
            input,
            batched: batch != Dim::Fixed(1),
            frozen,
            classes,
            sha256,
            notices,
            bytes: *bytes,
            saturates: head.saturating.is_some(),
            way_before,
            threads: 1,
            programs: Programs::default(),
        })
    }

    /// Probes its programs on two threads if `threads` is more than one, else on one. Answers do not depend on it.
    pub fn set_threads(&mut self, threads: usize) {
        self.threads = threads;
    }

    /// Returns the maximum number of pictures in one execution.
    pub(crate) fn at_once(&self) -> usize {
        self.at_once.questions()
    }

    /// Returns the shape of the images that it takes, `[channels, height, width]`.
    pub fn input(&self) -> [usize; 3] {
        self.input
    }

    /// Returns the number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Returns the SHA-256 of the model file in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Returns the preprocessing that this model was opened with, adjusted if the model takes bytes.
    ///
    /// # Errors
    /// If the model takes bytes, and the preprocessing produces other values.
    pub fn as_eaten(&self, preprocessing: &Preprocessing) -> Result<Preprocessing> {
        preprocessing.as_eaten(self.bytes)
    }

    /// Returns notices for the user about how the model was read.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// Whether the scores come from a softmax or sigmoid that could not be removed.
    pub(crate) fn saturates(&self) -> bool {
        self.saturates
    }

    /// Returns how to get scores from before the layer that saturates them.
    pub(crate) fn way_before(&self) -> &WayBefore {
        &self.way_before
    }

    /// Whether the engine runs the file as it is, without gradients.
    pub fn runs_as_it_is(&self) -> bool {
        matches!(self.forward, Forward::File(_))
    }

    /// Returns the engine that runs it.
    pub fn engine(&self) -> &dyn Engine {
        self.engine.as_ref()
    }

    /// Returns how the engine's answers depend on the batch, for the programs used so far.
    pub fn batch_safety(&self) -> Result<BTreeMap<Asked, BatchSafety>> {
        match self.at_once() {
            // Nothing was probed: every execution has a single question anyway.
            1 => Ok(BTreeMap::new()),
            _ => self.programs.batch_safety(),
        }
    }

    /// Returns the number of multiply-adds of one answer, or `None` if the file is run as it is.
    pub fn multiply_adds(&self) -> Option<u64> {
        let graph = self.forward_graph()?;
        let rows = self.frozen.unwrap_or(1) as u64;
        Some(Cost::of(graph).multiply_adds / rows)
    }

    /// Returns the graph from `pixels` to `logits`, preprocessing included, or `None` if the file is run as it is.
    pub(crate) fn forward_graph(&self) -> Option<&Graph> {
        match &self.forward {
            Forward::Graph(graph) => Some(graph),
            Forward::File(_) => None,
        }
    }
}

impl Model for Classifier {
    fn worker(&self) -> Result<Box<dyn Worker + '_>> {
        Ok(Box::new(programs::ClassifierWorker::new(self)))
    }

    fn classes(&self) -> usize {
        self.classes
    }

    fn library(&self) -> Option<&Path> {
        self.engine.library()
    }
}

/// Combines the reasons why a file can neither be imported nor run as it is.
fn neither(reason: &Error, error: &Error) -> Error {
    Error::unsupported(format!(
        "{reason}; the engine cannot run the file as it is either: {error}"
    ))
}

/// Puts an input of an image's shape in front of the model.
fn own_space(model: &Graph) -> Result<Graph> {
    let &[input] = model.inputs() else {
        return Err(Error::unsupported(format!(
            "the model has {} inputs; expected one",
            model.inputs().len()
        )));
    };
    let shape = model.shape(input).to_vec();
    let sides: Option<Vec<usize>> = shape[shape.len().min(1)..]
        .iter()
        .map(|side| match side {
            Dim::Fixed(side) => Some(*side),
            Dim::Batch(_) => None,
        })
        .collect();
    let (Some(&batch), Some(sides)) = (shape.first(), sides) else {
        return Err(Error::unsupported(
            "the model's input has an open axis besides the batch; set the shape of the input",
        ));
    };
    let image: Vec<Dim> = match sides[..] {
        [1 | 3, _, _] => return Ok(model.clone()),
        _ => vec![
            batch,
            Dim::Fixed(1),
            Dim::Fixed(1),
            Dim::Fixed(sides.iter().product()),
        ],
    };
    let mut graph = Graph::new();
    let x = graph.input("image", DType::F32, image);
    let shaped = graph.add(Op::Reshape { shape }, &[x])?;
    for &output in &graph.inline(model, &[shaped])? {
        graph.output("scores", output);
    }
    Ok(graph)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
