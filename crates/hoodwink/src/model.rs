//! A classifier in pixel space: an ONNX file with its preprocessing, ready to be asked and, if it can be imported,
//! differentiated.

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
    /// Whether it is given several pictures at once.
    batched: bool,
    /// How many rows every execution has, where the file freezes that above 1.
    frozen: Option<usize>,
    classes: usize,
    sha256: String,
    notices: Vec<String>,
    /// The integers that it eats, if it does not eat floats.
    bytes: Option<Bytes>,
    /// Whether the scores are made of a softmax or sigmoid that could not be looked through.
    saturates: bool,
    /// How scores that saturate can be had without what makes them so.
    way_before: WayBefore,
    /// The most pictures that are asked about at once.
    at_once: AtOnce,
    /// Threads that find out how its programs may be asked.
    threads: usize,
    programs: Programs,
}

/// A model file, read once: what is run is what the digest is of.
struct File<'a> {
    bytes: Vec<u8>,
    /// Where its files of weights are.
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

/// How to get at the scores before a softmax or sigmoid that is part of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WayBefore {
    /// The setting that keeps the softmax is set.
    Unkept,
    /// A value of this name can be chosen as the scores.
    Value(String),
    /// By another export only.
    Export,
}

/// What answers questions.
enum Forward {
    /// From `pixels` to `logits`, preprocessing included.
    Graph(Graph),
    /// The file itself.
    File(Opaque),
}

impl Classifier {
    /// Reads an ONNX file (and files of weights beside it) and puts its preprocessing in front.
    pub fn open(
        path: &Path,
        preprocessing: &Preprocessing,
        engine: Arc<dyn Engine>,
    ) -> Result<Self> {
        Self::open_with(path, &LoadOptions::default(), preprocessing, engine)
    }

    /// As [`Classifier::open`], with what the file leaves open.
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

    /// With or without the setting that keeps a final softmax.
    fn keeping(mut self, softmax: bool) -> Self {
        if softmax {
            self.way_before = WayBefore::Unkept;
        }
        self
    }

    /// As [`Classifier::open_with`], but a model that cannot be imported is run as it is by the engine, which then sees the
    /// user's file. It has no gradients, and says so in a notice.
    ///
    /// # Errors
    /// A file that is broken, beyond the limits of what is read, or no classifier of pictures is no more run than imported. If
    /// the engine cannot run it either, the error says both.
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
            // Operators that round by a row's place are not spelled out in it, and a probe misses some.
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

    /// Whether [`Classifier::open_for_scores`] would have an engine run a file that cannot be imported, or say what setting
    /// it lacks. No engine is asked.
    pub fn may_run_as_it_is(
        path: &Path,
        options: &LoadOptions,
        preprocessing: &Preprocessing,
    ) -> bool {
        let opened = File::read(path).and_then(|file| Opaque::open(&file, options, preprocessing));
        opened.err().is_none_or(|error| !error.is_unsupported())
    }

    /// As [`Classifier::open`], from the bytes of an ONNX file that needs no other file.
    pub fn from_bytes(
        bytes: &[u8],
        preprocessing: &Preprocessing,
        engine: Arc<dyn Engine>,
    ) -> Result<Self> {
        let loaded = onnx_grad::parse(bytes, None)?;
        let sha256 = hexadecimal(&Sha256::digest(bytes));
        Self::new(loaded, sha256, preprocessing, engine)
    }

    /// A model in its own input space, whatever the shape and the meaning of its values: nothing stands in front of it. An image
    /// is then of the input's own shape where it has three axes, the first of side 1 or 3, and else of shape `[1, 1, n]`.
    ///
    /// Attacks on it want a [`Region`](crate::threat::Region) with bounds of its own. It has no pictures to judge.
    ///
    /// # Errors
    /// Those of [`Classifier::open`], and an input whose shape the file leaves open, but for the batch.
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
            // Its values are what they are.
            bytes: None,
            ..loaded
        };
        Self::new(shaped, sha256, &Preprocessing::default(), engine)
    }

    /// A model that tests build as a graph.
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
                "the model has {} inputs; one picture in and one row of scores out are needed",
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
                    "the model's output is not one row of scores for each picture",
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

    /// Lets its programs be tried out on two threads if these are more than one; without it on one. No answer depends on it.
    pub fn set_threads(&mut self, threads: usize) {
        self.threads = threads;
    }

    /// The most pictures in one execution.
    pub(crate) fn at_once(&self) -> usize {
        self.at_once.questions()
    }

    /// `[channels, height, width]` of the images it is shown.
    pub fn input(&self) -> [usize; 3] {
        self.input
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// SHA-256 of the model file, hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The preprocessing that this model was opened with, with what it says about it itself: that it eats bytes.
    ///
    /// # Errors
    /// If the model eats bytes, and the preprocessing makes other values.
    pub fn as_eaten(&self, preprocessing: &Preprocessing) -> Result<Preprocessing> {
        preprocessing.as_eaten(self.bytes)
    }

    /// What the user should know about how the model was read.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// Whether the scores are made of a softmax or sigmoid that could not be looked through.
    pub(crate) fn saturates(&self) -> bool {
        self.saturates
    }

    /// How scores that saturate can be had without what makes them so.
    pub(crate) fn way_before(&self) -> &WayBefore {
        &self.way_before
    }

    /// Whether the file is run as it is, without gradients.
    pub fn runs_as_it_is(&self) -> bool {
        matches!(self.forward, Forward::File(_))
    }

    /// The engine that runs it.
    pub fn engine(&self) -> &dyn Engine {
        self.engine.as_ref()
    }

    /// How the engine's answers depend on what is asked at once, for what was asked so far.
    pub fn batch_safety(&self) -> Result<BTreeMap<Asked, BatchSafety>> {
        match self.at_once() {
            // Nothing was found out: a single question is asked at a time in any case.
            1 => Ok(BTreeMap::new()),
            _ => self.programs.batch_safety(),
        }
    }

    /// Multiplications of one answer, each followed by an addition; `None` where the file is run as it is.
    pub fn multiply_adds(&self) -> Option<u64> {
        let graph = self.forward_graph()?;
        let rows = self.frozen.unwrap_or(1) as u64;
        Some(Cost::of(graph).multiply_adds / rows)
    }

    /// From `pixels` to `logits`, preprocessing included; `None` where the file is run as it is.
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

/// Why a file is neither imported nor run as it is.
fn neither(reason: &Error, error: &Error) -> Error {
    Error::unsupported(format!(
        "{reason}; nor can the file be run as it is: {error}"
    ))
}

/// The model behind an input of the shape of images.
fn own_space(model: &Graph) -> Result<Graph> {
    let &[input] = model.inputs() else {
        return Err(Error::unsupported(format!(
            "the model has {} inputs; one is needed",
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
            "the shape of the model's input is not fixed, but for the batch",
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
