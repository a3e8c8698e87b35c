//! Engines run graphs. They have no concept of gradients or attacks: a gradient is another graph.

mod library;
mod ort;
mod rten;

use std::{path::Path, sync::Arc};

use onnx_grad::{Graph, Sealed, Tensor};

use crate::{Error, Result};

/// Compiles graphs to programs. It takes the graph itself, not ONNX bytes, so that an engine can compile it in its own
/// way.
pub trait Engine: Send + Sync {
    /// Returns the short name: `rten`, `ort`.
    fn name(&self) -> &'static str;

    /// Returns name and version, for the record of a run.
    fn version(&self) -> String;

    /// Returns the shared library that it was loaded from, or `None` for a built-in engine.
    fn library(&self) -> Option<&Path> {
        None
    }

    /// Returns notices for the user about how it was chosen.
    fn notices(&self) -> &[String] {
        &[]
    }

    /// Whether it runs large networks as fast on single pictures as on batches.
    fn likes_large_alone(&self) -> bool {
        false
    }

    /// Compiles a graph for one worker, which runs it on one thread.
    fn compile(&self, graph: &Graph) -> Result<Box<dyn Executable>>;

    /// Prepares a model file as it is, also for one worker. The program takes a tensor of floats, which are rounded if
    /// the file takes bytes, and returns the scores in any shape.
    fn load(&self, file: &Sealed) -> Result<Box<dyn Executable>>;
}

/// A compiled graph.
pub trait Executable: Send {
    /// Takes one tensor per graph input and returns one per graph output, in order.
    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>>;
}

/// Which engine to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// ONNX Runtime if it is found, otherwise rten.
    Auto,
    /// rten, which is built in.
    Rten,
    /// ONNX Runtime, which is found at run time.
    Ort,
}

/// Opens an engine.
///
/// ONNX Runtime is looked for at `ORT_DYLIB_PATH`, then in the packages of the Pythons that are active, on the path or
/// in the user's home, then among the system's libraries. The working folder is not searched unless one of these names
/// it by an absolute path, and no program is run for the search.
///
/// # Errors
/// If a library named by `ORT_DYLIB_PATH` cannot be loaded, that is an error even for [`Choice::Auto`]. If an installed
/// library cannot be loaded, [`Choice::Auto`] opens rten with a notice.
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
            "{error}; it comes from {}",
            library::SETTING
        ))),
        Err(error) if choice == Choice::Auto => Ok(Arc::new(rten::Rten::instead_of(&error))),
        Err(error) => Err(failure(ort::NAME)(error)),
    }
}

const NOT_FOUND: &str = "ONNX Runtime was not found; run `pip install onnxruntime`, or set ORT_DYLIB_PATH to its shared \
                         library, or choose the engine rten";

/// Returns a function for `map_err` that makes an error of the engine `engine`.
fn failure<E: std::fmt::Display>(engine: &'static str) -> impl Fn(E) -> Error {
    move |error| Error::Engine {
        engine,
        message: error.to_string(),
    }
}

/// Rounds floats to bytes.
fn bytes(values: &[f32]) -> Vec<u8> {
    // Values outside the range of a byte are clipped, and NaN becomes 0.
    values.iter().map(|value| value.round() as u8).collect()
}
