//! A classifier in pixel space: an ONNX file with its preprocessing, ready to be asked and, if it can be imported,
//! differentiated.

mod company;
mod opaque;
mod remote;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
};

use company::AtOnce;
pub use company::Company;
use onnx_grad::{Dim, Graph, LoadOptions, Loss, Tensor, inspect::Cost};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
pub use remote::{Remote, RemoteSettings};
use sha2::{Digest, Sha256};

use opaque::Opaque;

use crate::{
    Error, Result,
    engine::{Engine, Executable},
    image::Image,
    oracle::{
        Objective, Seen,
        batcher::{Model, Worker},
    },
    parallel::in_order,
    preprocessing::{Preprocessing, pixels},
};

/// A classifier in pixel space.
pub struct Classifier {
    forward: Forward,
    engine: Arc<dyn Engine>,
    input: [usize; 3],
    /// Whether it is given several pictures at once.
    batched: bool,
    classes: usize,
    sha256: String,
    notices: Vec<String>,
    /// Gradient graphs by loss, made when first asked for and shared by all workers.
    gradients: Mutex<BTreeMap<Loss, Arc<Graph>>>,
    /// In which company pictures may be asked about; by loss, `None` for logits alone. Found once, for all workers.
    companies: Mutex<BTreeMap<Option<Loss>, Company>>,
    /// The most pictures that are asked about at once.
    at_once: AtOnce,
    /// Threads that find that out.
    threads: usize,
    /// What was compiled and is not in use, for workers to take.
    spares: Mutex<Spares>,
}

/// A model file, read once: what is run is what the digest is of.
struct File<'a> {
    bytes: Vec<u8>,
    /// Where its files of weights are.
    folder: Option<&'a Path>,
}

impl<'a> File<'a> {
    fn read(path: &'a Path) -> Result<Self> {
        Ok(Self {
            bytes: onnx_grad::read(path)?,
            folder: onnx_grad::folder_of(path),
        })
    }
}

/// Executables by loss, `None` for logits alone.
type Spares = BTreeMap<Option<Loss>, Vec<Box<dyn Executable>>>;

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
        Self::new(&loaded.graph, loaded.notices, sha256, preprocessing, engine)
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
        let file = match Opaque::open(&model, options, preprocessing) {
            Err(error) if error.is_unsupported() => return Err(reason),
            opened => opened?,
        };
        let classes = file.classes(engine.as_ref()).map_err(|error| {
            Error::unsupported(format!(
                "{reason}; nor can the file be run as it is: {error}"
            ))
        })?;
        Ok(Self {
            input: file.input,
            // Operators that round by a row's place are not spelled out in it, and a probe misses some.
            batched: false,
            classes,
            sha256: hexadecimal(&Sha256::digest(&model.bytes)),
            notices: file.notices(&reason, preprocessing, engine.as_ref()),
            forward: Forward::File(file),
            engine,
            gradients: Mutex::default(),
            companies: Mutex::default(),
            at_once: AtOnce::of(0, 0),
            threads: 1,
            spares: Mutex::default(),
        })
    }

    /// Whether [`Classifier::open_for_scores`] would have an engine run a file that cannot be imported, or say what flag
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
        Self::new(&loaded.graph, loaded.notices, sha256, preprocessing, engine)
    }

    fn new(
        model: &Graph,
        notices: Vec<String>,
        sha256: String,
        preprocessing: &Preprocessing,
        engine: Arc<dyn Engine>,
    ) -> Result<Self> {
        let &[own_input] = model.inputs() else {
            return Err(Error::unsupported(format!(
                "the model has {} inputs; one picture in and one row of scores out are needed",
                model.inputs().len()
            )));
        };
        onnx_grad::scores(model)?;
        let wanted = model.shape(own_input).to_vec();
        let input = preprocessing.picture_shape(&wanted)?;
        let mut graph = Graph::new();
        let batch = match wanted.first() {
            Some(Dim::Fixed(1)) => Dim::Fixed(1),
            _ => Dim::Batch(1),
        };
        let x = pixels(&mut graph, batch, input);
        let prepared = preprocessing.append(&mut graph, x, input[0], &wanted)?;
        let scores = graph.inline(model, &[prepared])?[0];
        let logits = onnx_grad::logits(&mut graph, scores)?;
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
            at_once: AtOnce::of(Cost::of(&graph).multiply_adds, input.iter().product()),
            forward: Forward::Graph(graph),
            engine,
            input,
            batched: batch == Dim::Batch(1),
            classes,
            sha256,
            notices,
            gradients: Mutex::default(),
            companies: Mutex::default(),
            threads: 1,
            spares: Mutex::default(),
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

    /// What the user should know about how the model was read.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// Whether the file is run as it is, without gradients.
    pub fn runs_as_it_is(&self) -> bool {
        matches!(self.forward, Forward::File(_))
    }

    /// The engine that runs it.
    pub fn engine(&self) -> &dyn Engine {
        self.engine.as_ref()
    }

    /// In which company the engine is asked, for what was asked so far; by loss, `None` for logits alone.
    pub fn companies(&self) -> Result<BTreeMap<Option<Loss>, Company>> {
        Ok(locked(&self.companies)?.clone())
    }

    /// Multiplications of one answer, each followed by an addition; `None` where the file is run as it is.
    pub fn multiply_adds(&self) -> Option<u64> {
        let graph = self.forward_graph()?;
        Some(Cost::of(graph).multiply_adds)
    }

    /// From `pixels` to `logits`, preprocessing included; `None` where the file is run as it is.
    pub(crate) fn forward_graph(&self) -> Option<&Graph> {
        match &self.forward {
            Forward::Graph(graph) => Some(graph),
            Forward::File(_) => None,
        }
    }

    pub(crate) fn gradient_graph(&self, loss: Loss) -> Result<Arc<Graph>> {
        let mut graphs = locked(&self.gradients)?;
        if let Some(graph) = graphs.get(&loss) {
            return Ok(Arc::clone(graph));
        }
        let Forward::Graph(forward) = &self.forward else {
            return Err(Error::unsupported(
                "the model is run as it is, as it could not be imported, and has no gradients; --access scores keeps an \
                 attack from asking for them",
            ));
        };
        let graph = onnx_grad::gradient_graph(forward, loss)?;
        let graph = Arc::new(onnx_grad::fold(&graph)?);
        graphs.insert(loss, Arc::clone(&graph));
        Ok(graph)
    }

    /// What answers questions of one kind, and in which company.
    fn program(&self, loss: Option<Loss>) -> Result<Program> {
        let company = match locked(&self.companies)?.entry(loss) {
            Entry::Occupied(found) => *found.get(),
            // The others wait meanwhile: they need the answer, and take what was compiled for it.
            Entry::Vacant(unknown) => *unknown.insert(self.probe(loss)?),
        };
        Ok(Program {
            executable: self.executable(loss)?,
            company,
            at_once: self.at_once,
        })
    }

    /// A spare executable, or a new one.
    fn executable(&self, loss: Option<Loss>) -> Result<Box<dyn Executable>> {
        let spare = locked(&self.spares)?.get_mut(&loss).and_then(Vec::pop);
        match (spare, loss, &self.forward) {
            (Some(spare), ..) => Ok(spare),
            (None, Some(loss), _) => self.engine.compile(&*self.gradient_graph(loss)?),
            (None, None, Forward::Graph(graph)) => self.engine.compile(graph),
            (None, None, Forward::File(file)) => file.compile(self.engine.as_ref()),
        }
    }

    /// Finds out in which company a program may be asked, by random pictures, always the same.
    fn probe(&self, loss: Option<Loss>) -> Result<Company> {
        if !self.batched {
            return Ok(Company::Alone);
        }
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let [channels, height, width] = self.input;
        let mut images = Vec::new();
        for _ in 0..self.at_once() {
            let pixels = (0..channels * height * width).map(|_| rng.random());
            images.push(Image::new(self.input, pixels.collect())?);
        }
        let executions = self.at_once.executions();
        let answer = |at: usize| -> Result<Vec<Bits>> {
            let mut executable = self.executable(loss)?;
            let answered = self.probed(executable.as_mut(), loss, &images, executions[at]);
            locked(&self.spares)?
                .entry(loss)
                .or_default()
                .push(executable);
            answered
        };
        let threads = self.threads.min(2);
        let answered = in_order(executions.len(), threads, answer, &mut |_| {})?;
        Ok(Company::of(executions, &answered))
    }

    /// The answers to one execution of the probe.
    fn probed(
        &self,
        executable: &mut dyn Executable,
        loss: Option<Loss>,
        images: &[Image],
        execution: &[usize],
    ) -> Result<Vec<Bits>> {
        let Some(loss) = loss else {
            let asked: Vec<&Image> = execution.iter().map(|&at| &images[at]).collect();
            let answers = logits(executable, self.input, &asked)?;
            return Ok(answers.iter().map(|answer| bits(&[answer])).collect());
        };
        let asked = execution.iter().map(|&at| {
            let objective = Objective {
                loss,
                label: at % self.classes,
                target: Some((at + 1) % self.classes),
            };
            (&images[at], objective)
        });
        let answers = gradients(executable, self.input, &asked.collect::<Vec<_>>())?;
        let all = answers
            .iter()
            .map(|seen| bits(&[&seen.logits, &[seen.loss], seen.gradient.pixels()]));
        Ok(all.collect())
    }
}

/// A digest of an answer: a gradient is as large as its picture, and the probe compares many.
type Bits = [u8; 32];

/// Of all bits of these values.
fn bits(lists: &[&[f32]]) -> Bits {
    let mut digest = Sha256::new();
    for values in lists.iter().flat_map(|values| values.chunks(1024)) {
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        digest.update(bytes);
    }
    digest.finalize().into()
}

fn locked<T>(shared: &Mutex<T>) -> Result<MutexGuard<'_, T>> {
    shared
        .lock()
        .map_err(|_| Error::invalid("another worker failed while it prepared the model"))
}

impl Model for Classifier {
    fn library(&self) -> Option<&Path> {
        self.engine.library()
    }

    fn worker(&self) -> Result<Box<dyn Worker + '_>> {
        Ok(Box::new(ClassifierWorker {
            classifier: self,
            programs: BTreeMap::new(),
        }))
    }
}

/// A compiled graph, and how to ask it.
struct Program {
    executable: Box<dyn Executable>,
    company: Company,
    at_once: AtOnce,
}

/// One thread's compiled programs, made when first needed.
struct ClassifierWorker<'a> {
    classifier: &'a Classifier,
    /// By loss; `None` for logits alone.
    programs: BTreeMap<Option<Loss>, Program>,
}

impl ClassifierWorker<'_> {
    fn program(&mut self, loss: Option<Loss>) -> Result<&mut Program> {
        Ok(match self.programs.entry(loss) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(self.classifier.program(loss)?),
        })
    }
}

impl Drop for ClassifierWorker<'_> {
    /// What was compiled serves the next worker.
    fn drop(&mut self) {
        if let Ok(mut spares) = self.classifier.spares.lock() {
            for (loss, program) in std::mem::take(&mut self.programs) {
                spares.entry(loss).or_default().push(program.executable);
            }
        }
    }
}

impl Worker for ClassifierWorker<'_> {
    fn logits(&mut self, images: &[&Image]) -> Result<Vec<Vec<f32>>> {
        let input = self.classifier.input;
        let program = self.program(None)?;
        let executable = program.executable.as_mut();
        (program.company).ask(program.at_once, images, |images| {
            logits(executable, input, images)
        })
    }

    fn gradients(&mut self, images: &[&Image], objectives: &[Objective]) -> Result<Vec<Seen>> {
        let Some(Objective { loss, .. }) = objectives.first().copied() else {
            return Ok(Vec::new());
        };
        let input = self.classifier.input;
        let program = self.program(Some(loss))?;
        let executable = program.executable.as_mut();
        let questions = images.iter().copied().zip(objectives.iter().copied());
        let questions: Vec<(&Image, Objective)> = questions.collect();
        (program.company).ask(program.at_once, &questions, |questions| {
            gradients(executable, input, questions)
        })
    }
}

/// What the forward graph answers.
fn logits(
    executable: &mut dyn Executable,
    input: [usize; 3],
    images: &[&Image],
) -> Result<Vec<Vec<f32>>> {
    let [logits] = executable
        .run(&[stack(images, input)?])?
        .try_into()
        .map_err(|_| unexpected())?;
    rows(&logits, images.len())
}

/// What a gradient graph answers.
fn gradients(
    executable: &mut dyn Executable,
    input: [usize; 3],
    questions: &[(&Image, Objective)],
) -> Result<Vec<Seen>> {
    let count = questions.len();
    let images: Vec<&Image> = questions.iter().map(|(image, _)| *image).collect();
    let mut inputs = vec![
        stack(&images, input)?,
        classes(questions, |o| Some(o.label))?,
    ];
    if questions
        .iter()
        .any(|(_, objective)| objective.loss.is_targeted())
    {
        inputs.push(classes(questions, |o| o.target)?);
    }
    let answered = executable.run(&inputs)?;
    // What follows copies as much again.
    drop(inputs);
    let [logits, losses, gradient] = answered.try_into().map_err(|_| unexpected())?;
    let logits = rows(&logits, count)?;
    let losses = rows(&losses, count)?;
    let gradients = rows(&gradient, count)?;
    logits
        .into_iter()
        .zip(losses)
        .zip(gradients)
        .map(|((logits, loss), gradient)| {
            Ok(Seen {
                logits,
                loss: loss.first().copied().ok_or_else(unexpected)?,
                gradient: Image::new(input, gradient)?,
            })
        })
        .collect()
}

/// Images one after the other as `[N, C, H, W]`.
fn stack(images: &[&Image], [channels, height, width]: [usize; 3]) -> Result<Tensor> {
    let size = channels * height * width;
    // Written where it stays: gathered in a vector, it would be copied once more.
    let mut values: Arc<[f32]> = std::iter::repeat_n(0.0, images.len() * size).collect();
    let places = Arc::make_mut(&mut values).chunks_exact_mut(size.max(1));
    for (image, place) in images.iter().zip(places) {
        if image.shape() != [channels, height, width] {
            return Err(Error::invalid(format!(
                "the model takes pictures of {channels} channels, {height}x{width}, and was shown {:?}; \
                 --resize and --crop scale pictures",
                image.shape()
            )));
        }
        place.copy_from_slice(image.pixels());
    }
    Ok(Tensor::f32(
        [images.len(), channels, height, width],
        values,
    )?)
}

fn classes(
    questions: &[(&Image, Objective)],
    class: impl Fn(&Objective) -> Option<usize>,
) -> Result<Tensor> {
    let values: Option<Vec<i64>> = questions
        .iter()
        .map(|(_, objective)| class(objective).and_then(|class| i64::try_from(class).ok()))
        .collect();
    let values =
        values.ok_or_else(|| Error::invalid("this loss needs a class to aim at; give --target"))?;
    Ok(Tensor::vector(&values))
}

/// The values of each of `count` pictures.
fn rows(tensor: &Tensor, count: usize) -> Result<Vec<Vec<f32>>> {
    let values = tensor.as_f32().ok_or_else(unexpected)?;
    if count == 0 || values.len() % count != 0 {
        return Err(unexpected());
    }
    Ok(values
        .chunks_exact(values.len() / count)
        .map(<[f32]>::to_vec)
        .collect())
}

fn unexpected() -> Error {
    Error::invalid("the engine answered in another shape than the graph promises")
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
