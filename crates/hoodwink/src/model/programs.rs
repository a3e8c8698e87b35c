//! The two programs of a classifier, compiled when first needed: one returns logits, the other gradients of any
//! objective.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{Arc, Mutex, MutexGuard, OnceLock},
};

use onnx_grad::Graph;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

use super::{
    Classifier, Forward, batch_safety::AtOnce, batch_safety::BatchSafety, padded::Padded, tensors,
};
use crate::{
    Error, Result,
    engine::Executable,
    image::Image,
    oracle::{
        Differential, Loss, Objective,
        pool::{Appetite, Worker},
    },
    parallel::in_order,
};

/// What a program computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asked {
    /// Logits only.
    Logits,
    /// Logits and the gradient of an objective.
    Gradients,
}

/// State shared by the workers of a classifier.
#[derive(Default)]
pub(super) struct Programs {
    /// Built on first use.
    gradient: OnceLock<Arc<Graph>>,
    /// Locked while the graph is built.
    making: Mutex<()>,
    /// Probed once for all workers.
    safety: Mutex<BTreeMap<Asked, BatchSafety>>,
    /// Compiled programs that are not in use.
    spares: Mutex<BTreeMap<Asked, Vec<Box<dyn Executable>>>>,
}

impl Programs {
    pub(super) fn batch_safety(&self) -> Result<BTreeMap<Asked, BatchSafety>> {
        Ok(locked(&self.safety)?.clone())
    }
}

impl Classifier {
    /// Returns the graph from `pixels` and the rows of objectives to `logits` and `grad`.
    pub(crate) fn gradient_graph(&self) -> Result<Arc<Graph>> {
        let _making = locked(&self.programs.making)?;
        if let Some(graph) = self.programs.gradient.get() {
            return Ok(Arc::clone(graph));
        }
        let Forward::Graph(forward) = &self.forward else {
            return Err(Error::unsupported(
                "the model could not be imported, so the engine runs it as it is and there are no gradients; choose an attack \
                 that needs only scores or labels",
            ));
        };
        let logits = onnx_grad::scores(forward)?;
        let graph = Arc::new(onnx_grad::objective_graph_at(forward, logits)?);
        Ok(Arc::clone(self.programs.gradient.get_or_init(|| graph)))
    }

    /// Returns a program and how it may be used.
    fn program(&self, asked: Asked) -> Result<Program> {
        let safety = match locked(&self.programs.safety)?.entry(asked) {
            Entry::Occupied(found) => *found.get(),
            // The others wait here, because they need the result and reuse what was compiled for it.
            Entry::Vacant(unknown) => *unknown.insert(self.probe(asked)?),
        };
        Ok(Program {
            executable: self.executable(asked)?,
            safety,
            at_once: self.at_once,
        })
    }

    /// Returns a spare executable or compiles a new one.
    fn executable(&self, asked: Asked) -> Result<Box<dyn Executable>> {
        let mut spares = locked(&self.programs.spares)?;
        let spare = spares.get_mut(&asked).and_then(Vec::pop);
        drop(spares);
        let program = match (spare, asked, &self.forward) {
            (Some(spare), ..) => return Ok(spare),
            (None, Asked::Gradients, _) => self.engine.compile(&*self.gradient_graph()?),
            (None, Asked::Logits, Forward::Graph(graph)) => self.engine.compile(graph),
            (None, Asked::Logits, Forward::File(file)) => file.compile(self.engine.as_ref()),
        }?;
        Ok(match self.frozen {
            Some(rows) => Box::new(Padded { program, rows }),
            None => program,
        })
    }

    /// Compiles a program and runs it on a grey picture.
    ///
    /// # Errors
    /// The errors of every question of this kind: an engine that cannot run the program, or an operator without a
    /// gradient.
    pub fn try_out(&self, asked: Asked) -> Result<()> {
        let grey = vec![0.5; self.input.iter().product()];
        let grey = [Image::new(self.input, grey)?];
        let mut executable = self.executable(asked)?;
        self.probed(executable.as_mut(), asked, &grey, &[0])?;
        Ok(())
    }

    /// Probes how a program may be used, with fixed random pictures.
    fn probe(&self, asked: Asked) -> Result<BatchSafety> {
        if !self.batched || self.at_once() == 1 {
            return Ok(BatchSafety::Alone);
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
            let mut executable = self.executable(asked)?;
            let answered = self.probed(executable.as_mut(), asked, &images, executions[at]);
            locked(&self.programs.spares)?
                .entry(asked)
                .or_default()
                .push(executable);
            answered
        };
        let threads = self.threads.min(2);
        let answered = in_order(executions.len(), threads, answer, &mut |_| {})?;
        Ok(BatchSafety::of(executions, &answered))
    }

    /// Returns the answers to one execution of the probe.
    fn probed(
        &self,
        executable: &mut dyn Executable,
        asked: Asked,
        images: &[Image],
        execution: &[usize],
    ) -> Result<Vec<Bits>> {
        let pictures: Vec<&Image> = execution.iter().map(|&at| &images[at]).collect();
        if asked == Asked::Logits {
            let answers = tensors::logits(executable, self.input, &pictures)?;
            return Ok(answers.iter().map(|answer| bits(&[answer])).collect());
        }
        let objectives: Vec<Objective> = execution.iter().map(|&at| self.probing(at)).collect();
        let questions: Vec<(&Image, &Objective)> = pictures.into_iter().zip(&objectives).collect();
        let answers = tensors::differentials(executable, self.input, self.classes, &questions)?;
        let all = answers
            .iter()
            .map(|found| bits(&[&found.logits, &[found.loss], found.gradient.pixels()]));
        Ok(all.collect())
    }

    /// Returns the objective for a picture of the probe. Every loss has its turn.
    fn probing(&self, at: usize) -> Objective {
        let possible = Loss::ALL
            .into_iter()
            .filter(|loss| loss.least_classes() <= self.classes);
        let losses: Vec<Loss> = possible.collect();
        Objective::Loss {
            loss: losses
                .get(at % losses.len().max(1))
                .copied()
                .unwrap_or(Loss::CrossEntropy),
            label: at % self.classes,
            target: Some((at + 1) % self.classes),
        }
    }
}

/// A digest of an answer, because the probe compares many gradients, each as large as its picture.
type Bits = [u8; 32];

/// Hashes all bits of these values.
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
        .map_err(|_| Error::invalid("another thread failed while preparing the model"))
}

/// A compiled graph and how to use it.
struct Program {
    executable: Box<dyn Executable>,
    safety: BatchSafety,
    at_once: AtOnce,
}

/// One thread's compiled programs, built on first use.
pub(super) struct ClassifierWorker<'a> {
    classifier: &'a Classifier,
    programs: BTreeMap<Asked, Program>,
}

impl<'a> ClassifierWorker<'a> {
    pub(super) fn new(classifier: &'a Classifier) -> Self {
        Self {
            classifier,
            programs: BTreeMap::new(),
        }
    }

    fn program(&mut self, asked: Asked) -> Result<&mut Program> {
        Ok(match self.programs.entry(asked) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(self.classifier.program(asked)?),
        })
    }
}

impl Drop for ClassifierWorker<'_> {
    /// Keep the compiled programs for the next worker.
    fn drop(&mut self) {
        if let Ok(mut spares) = self.classifier.programs.spares.lock() {
            for (asked, program) in std::mem::take(&mut self.programs) {
                spares.entry(asked).or_default().push(program.executable);
            }
        }
    }
}

impl Worker for ClassifierWorker<'_> {
    fn logits(&mut self, images: &[&Image]) -> Result<Vec<Vec<f32>>> {
        let input = self.classifier.input;
        let program = self.program(Asked::Logits)?;
        let executable = program.executable.as_mut();
        (program.safety).ask(program.at_once, images, |images| {
            tensors::logits(executable, input, images)
        })
    }

    fn differentials(
        &mut self,
        images: &[&Image],
        objectives: &[&Objective],
    ) -> Result<Vec<Differential>> {
        if images.len() != objectives.len() {
            return Err(Error::invalid(
                "the numbers of images and objectives differ",
            ));
        }
        let (input, classes) = (self.classifier.input, self.classifier.classes);
        let program = self.program(Asked::Gradients)?;
        let executable = program.executable.as_mut();
        let questions = images.iter().copied().zip(objectives.iter().copied());
        let questions: Vec<(&Image, &Objective)> = questions.collect();
        (program.safety).ask(program.at_once, &questions, |questions| {
            tensors::differentials(executable, input, classes, questions)
        })
    }

    fn appetite(&mut self, for_gradients: bool) -> Result<Appetite> {
        let asked = match for_gradients {
            true => Asked::Gradients,
            false => Asked::Logits,
        };
        let program = self.program(asked)?;
        Ok(program.safety.appetite(program.at_once))
    }
}
