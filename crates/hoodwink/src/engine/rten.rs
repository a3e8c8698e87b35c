//! rten: pure Rust, built in.

use std::sync::Arc;

use onnx_grad::{DType, Elements, Graph, Lowering, Sealed, Tensor};
use rten::{Model, NodeId, RunOptions, ThreadPool, Value, ValueOrView};
use rten_tensor::{AsView, Layout, TensorView};

use super::{Engine, Executable, bytes, failure};
use crate::{Result, panics::caught};

const NAME: &str = "rten";

/// The built-in engine.
#[derive(Default)]
pub(super) struct Rten {
    notices: Vec<String>,
}

impl Rten {
    /// Replaces an ONNX Runtime that was found but cannot be used.
    pub(super) fn instead_of(error: &str) -> Self {
        Self {
            notices: vec![format!("{error}; the engine is rten instead")],
        }
    }
}

/// Returns a pool of one thread.
fn thread() -> Result<Arc<ThreadPool>> {
    // It panics if the system allows no more threads.
    unpanicked(|| Arc::new(ThreadPool::with_num_threads(1)))
}

impl Engine for Rten {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> String {
        // The version is pinned in the workspace's Cargo.toml.
        "rten 0.27.0".to_owned()
    }

    fn notices(&self) -> &[String] {
        &self.notices
    }

    fn compile(&self, graph: &Graph) -> Result<Box<dyn Executable>> {
        let bytes = onnx_grad::to_onnx(graph, Lowering::Portable)?;
        let model = unpanicked(|| Model::load(bytes))?.map_err(failure(NAME))?;
        Ok(Box::new(Program {
            inputs: model.input_ids().to_vec(),
            outputs: model.output_ids().to_vec(),
            types: graph
                .outputs()
                .iter()
                .map(|&(_, id)| graph.node(id).dtype)
                .collect(),
            eats_bytes: false,
            model,
            thread: thread()?,
        }))
    }

    fn load(&self, file: &Sealed) -> Result<Box<dyn Executable>> {
        let bytes = file.lowered(Lowering::Portable)?.into_owned();
        let model = unpanicked(|| Model::load(bytes))?.map_err(failure(NAME))?;
        let id = |name: &str| model.node_id(name).map_err(failure(NAME));
        Ok(Box::new(Program {
            inputs: vec![id(&file.input)?],
            outputs: vec![id(&file.output)?],
            types: vec![DType::F32],
            eats_bytes: file.eats_bytes,
            model,
            thread: thread()?,
        }))
    }
}

struct Program {
    model: Model,
    inputs: Vec<NodeId>,
    outputs: Vec<NodeId>,
    types: Vec<DType>,
    /// Whether floats are converted to bytes.
    eats_bytes: bool,
    thread: Arc<ThreadPool>,
}

impl Executable for Program {
    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let values = self
            .inputs
            .iter()
            .zip(inputs)
            .map(|(&id, tensor)| (id, to_value(tensor, self.eats_bytes)))
            .collect();
        let options = RunOptions::default().with_thread_pool(Some(self.thread.clone()));
        let results = unpanicked(|| self.model.run(values, &self.outputs, Some(options)))?
            .map_err(failure(NAME))?;
        results
            .into_iter()
            .zip(&self.types)
            .map(|(value, &dtype)| from_value(value, dtype))
            .collect()
    }
}

/// Returns rten's answer, or an error if it panics. It does on some valid graphs, and a model must not crash the
/// program.
fn unpanicked<T>(ask: impl FnOnce() -> T) -> Result<T> {
    caught(ask).map_err(|said| failure(NAME)(format!("panicked ({said}); try another engine")))
}

/// Converts a tensor. rten computes with 32-bit integers, and labels and indices are far below their limit.
fn to_value(tensor: &Tensor, as_bytes: bool) -> ValueOrView<'_> {
    let shape = tensor.shape();
    match tensor.elements() {
        Elements::F32(values) if as_bytes => {
            rten_tensor::Tensor::from_data(shape, bytes(values)).into()
        }
        // Borrowed, because pictures may be large.
        Elements::F32(values) => TensorView::from_data(shape, &values[..]).into(),
        Elements::I64(values) => {
            let values: Vec<i32> = values
                .iter()
                .map(|&value| {
                    i32::try_from(value).unwrap_or(if value < 0 { i32::MIN } else { i32::MAX })
                })
                .collect();
            rten_tensor::Tensor::from_data(shape, values).into()
        }
        Elements::Bool(values) => {
            let values: Vec<i32> = values.iter().map(|&value| i32::from(value)).collect();
            rten_tensor::Tensor::from_data(shape, values).into()
        }
    }
}

fn from_value(value: Value, dtype: DType) -> Result<Tensor> {
    Ok(match dtype {
        DType::F32 => {
            let tensor: rten_tensor::Tensor<f32> = value.try_into().map_err(failure(NAME))?;
            let shape = tensor.shape().to_vec();
            match tensor.data() {
                Some(values) => Tensor::f32(shape, values)?,
                None => Tensor::f32(shape, tensor.to_vec())?,
            }
        }
        DType::I64 | DType::Bool => {
            let tensor: rten_tensor::Tensor<i32> = value.try_into().map_err(failure(NAME))?;
            let values = tensor.iter().map(|&value| i64::from(value));
            if dtype == DType::I64 {
                Tensor::i64(tensor.shape().to_vec(), values.collect::<Vec<_>>())?
            } else {
                let values: Vec<bool> = values.map(|value| value != 0).collect();
                Tensor::bool(tensor.shape().to_vec(), values)?
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_that_quotes_it() {
        assert_eq!(unpanicked(|| 3).ok(), Some(3));
        let error = unpanicked(|| -> i32 { panic!("axis {} of 4", 5) }).unwrap_err();
        assert!(error.to_string().contains("axis 5 of 4"), "{error}");
    }
}
