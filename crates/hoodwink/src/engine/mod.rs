//! Engines run graphs. They know neither gradients nor attacks: a gradient is one more graph.

mod library;
mod ort;
mod rten;

use std::{path::Path, sync::Arc};

use onnx_grad::{Graph, Sealed, Tensor};

use crate::{Error, Result};

/// Something that turns graphs into programs. It is given the graph itself, not ONNX bytes, so that a later
/// engine may compile it in its own way.
pub trait Engine: Send + Sync {
    /// Short name: `rten`, `ort`.
    fn name(&self) -> &'static str;

    /// Name and version, for the record of a run.
    fn version(&self) -> String;

    /// The shared library that it was loaded from; `None` for one that is built in.
    fn library(&self) -> Option<&Path> {
        None
    }

    /// What the user should know about how it was chosen.
    fn notices(&self) -> &[String] {
        &[]
    }

    /// Whether it answers about large networks as fast one picture at a time as several at once.
    fn likes_large_alone(&self) -> bool {
        false
    }

    /// Compiles a graph for one worker, which will run it on one thread.
    fn compile(&self, graph: &Graph) -> Result<Box<dyn Executable>>;

    /// Prepares a model file as it is, likewise. The program takes a tensor of floats, which are rounded where the file
    /// eats bytes, and answers the scores; it may answer them in any shape.
    fn load(&self, file: &Sealed) -> Result<Box<dyn Executable>>;
}

/// A compiled graph.
pub trait Executable: Send {
    /// Runs on one tensor per graph input, in order; answers one tensor per graph output, in order.
    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>>;
}

/// Which engine to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// ONNX Runtime if it is found, else rten.
    Auto,
    /// rten: built in, always there.
    Rten,
    /// ONNX Runtime: found at run time.
    Ort,
}

/// Opens an engine.
///
/// ONNX Runtime is looked for at `ORT_DYLIB_PATH`, then in the packages of the Pythons that are active, on the path or the
/// user's, then among the system's libraries. Nothing in the working folder is looked at unless one of these names it by an
/// absolute path, and nothing is run to find it.
///
/// # Errors
/// A library that `ORT_DYLIB_PATH` names and that cannot be loaded is an error also for [`Choice::Auto`]; one that was found and
/// cannot be loaded is there a notice of the other engine.
pub fn open(choice: Choice) -> Result<Arc<dyn Engine>> {
    if choice == Choice::Rten {
        return Ok(Arc::new(rten::Rten::default()));
    }
    let found = library::find().map_err(failure(ort::NAME))?;
    let Some(found) = found else {
        return match choice {
            Choice::Ort => Err(failure(ort::NAME)(NOT_FOUND)),
            Choice::Rten | Choice::Auto => Ok(Arc::new(rten::Rten::default())),
        };
    };
    match ort::OnnxRuntime::load(found.path) {
        Ok(engine) => Ok(Arc::new(engine)),
        Err(error) if found.is_named => Err(failure(ort::NAME)(format!(
            "{error}; it is named by {}",
            library::SETTING
        ))),
        Err(error) if choice == Choice::Auto => Ok(Arc::new(rten::Rten::instead_of(&error))),
        Err(error) => Err(failure(ort::NAME)(error)),
    }
}

const NOT_FOUND: &str = "ONNX Runtime was not found; `pip install onnxruntime`, or set ORT_DYLIB_PATH to its shared \
                         library, or choose the engine rten";

/// For `map_err` and sentences: an error of the engine called `engine`.
fn failure<E: std::fmt::Display>(engine: &'static str) -> impl Fn(E) -> Error {
    move |error| Error::Engine {
        engine,
        message: error.to_string(),
    }
}

/// Floats as the nearest bytes.
fn bytes(values: &[f32]) -> Vec<u8> {
    // What is beyond a byte's range becomes its end, and NaN 0.
    values.iter().map(|value| value.round() as u8).collect()
}
