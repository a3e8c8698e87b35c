//! Engines run graphs. They know neither gradients nor attacks: a gradient is one more graph.

mod ort;
mod rten;

use std::sync::Arc;

use onnx_grad::{Graph, Sealed, Tensor};

use crate::{Error, Result};

/// Something that turns graphs into programs. It is given the graph itself, not ONNX bytes, so that a later
/// engine may compile it in its own way.
pub trait Engine: Send + Sync {
    /// Short name: `rten`, `ort`.
    fn name(&self) -> &'static str;

    /// Name and version, for the record of a run.
    fn version(&self) -> String;

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

/// Opens an engine. ONNX Runtime is looked for at `ORT_DYLIB_PATH`, then inside the `onnxruntime` package of
/// the `python3` on the path; where an explicit [`Choice::Ort`] finds none, the error says how to get it.
pub fn open(choice: Choice) -> Result<Arc<dyn Engine>> {
    match choice {
        Choice::Rten => Ok(Arc::new(rten::Rten)),
        Choice::Ort => Ok(Arc::new(ort::OnnxRuntime::open()?)),
        Choice::Auto => match ort::OnnxRuntime::open() {
            Ok(engine) => Ok(Arc::new(engine)),
            Err(_) => Ok(Arc::new(rten::Rten)),
        },
    }
}

/// For `map_err`: an error of the engine called `engine`.
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
