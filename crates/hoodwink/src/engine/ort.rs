//! ONNX Runtime, found at run time: faster than rten, and not needed to build.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

use onnx_grad::{DType, Elements, Graph, Lowering, Sealed, Tensor};
use ort::{
    LoadDynamicError,
    environment::Environment,
    logging::LogLevel,
    session::{Session, SessionInputValue, builder::GraphOptimizationLevel},
    value::{DynValue, Tensor as OrtTensor, TensorRef},
};

use super::{Engine, Executable, bytes, failure, library::check};
use crate::Result;

pub(super) const NAME: &str = "ort";

/// ONNX Runtime's setting for the format of a model.
const FORMAT: &str = "session.load_model_format";

/// ONNX Runtime's shared library, loaded once per process.
pub(super) struct OnnxRuntime {
    environment: &'static Environment,
    library: &'static Path,
}

impl OnnxRuntime {
    /// Checks the library's headers and loads it.
    pub(super) fn load(library: PathBuf) -> Result<Self, String> {
        static LOADED: OnceLock<Result<(Environment, PathBuf), String>> = OnceLock::new();
        let loaded = LOADED.get_or_init(|| {
            check(&library)?;
            let environment = ort::init_from(&library)
                .map_err(|error| unloadable(&library, &error))?
                .build()
                .map_err(|error| format!("cannot load {}: {error}", library.display()))?;
            // Its log would write names from the file to stderr unescaped. Errors are returned as well.
            environment.set_log_level(LogLevel::Fatal);
            Ok((environment, library))
        });
        match loaded {
            Ok((environment, library)) => Ok(Self {
                environment,
                library,
            }),
            Err(message) => Err(message.clone()),
        }
    }
}

/// Returns why a library cannot be used.
fn unloadable(library: &Path, error: &LoadDynamicError) -> String {
    let library = library.display();
    match error {
        LoadDynamicError::BadVersion { version_str, .. } => format!(
            "{library} is ONNX Runtime {version_str}; 1.{} or newer is needed",
            ort::MINOR_VERSION
        ),
        LoadDynamicError::MissingApi { .. } => {
            format!("{library} is not ONNX Runtime")
        }
        LoadDynamicError::Dlopen { error, .. } => format!("cannot load {library}: {error}"),
        error => format!("cannot load {library}: {error}"),
    }
}

impl Engine for OnnxRuntime {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> String {
        let info = ort::info();
        format!("onnxruntime: {info}")
    }

    fn library(&self) -> Option<&Path> {
        Some(self.library)
    }

    /// SqueezeNet at 224x224 is 9 to 16% faster this way, because its values stay in the cache.
    fn likes_large_alone(&self) -> bool {
        true
    }

    fn compile(&self, graph: &Graph) -> Result<Box<dyn Executable>> {
        let bytes = onnx_grad::to_onnx(graph, Lowering::OnnxRuntime)?;
        let session = self.session(&bytes)?;
        let names = |ids: &mut dyn Iterator<Item = String>| ids.collect::<Vec<_>>();
        Ok(Box::new(Program {
            inputs: names(&mut graph.inputs().iter().map(|&id| graph.node(id).name.clone())),
            outputs: names(&mut graph.outputs().iter().map(|(name, _)| name.clone())),
            types: graph
                .outputs()
                .iter()
                .map(|&(_, id)| graph.node(id).dtype)
                .collect(),
            eats_bytes: false,
            session,
        }))
    }

    fn load(&self, file: &Sealed) -> Result<Box<dyn Executable>> {
        Ok(Box::new(Program {
            session: self.session(&file.bytes)?,
            inputs: vec![file.input.clone()],
            outputs: vec![file.output.clone()],
            types: vec![DType::F32],
            eats_bytes: file.eats_bytes,
        }))
    }
}

impl OnnxRuntime {
    fn session(&self, file: &[u8]) -> Result<Session> {
        Session::builder(self.environment)
            .and_then(|builder| Ok(builder.with_optimization_level(GraphOptimizationLevel::All)?))
            .and_then(|builder| Ok(builder.with_intra_threads(1)?))
            // The number of pictures varies, and a memory plan for each number takes a fifth more memory and saves no
            // time.
            .and_then(|builder| Ok(builder.with_memory_pattern(false)?))
            // Otherwise a file could claim to be in ONNX Runtime's own format, which nothing has checked.
            .and_then(|builder| Ok(builder.with_config_entry(FORMAT, "ONNX")?))
            .and_then(|mut builder| builder.commit_from_memory(file))
            .map_err(failure(NAME))
    }
}

struct Program {
    session: Session,
    inputs: Vec<String>,
    outputs: Vec<String>,
    types: Vec<DType>,
    /// Whether floats are converted to bytes.
    eats_bytes: bool,
}

impl Executable for Program {
    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let values = self
            .inputs
            .iter()
            .zip(inputs)
            .map(|(name, tensor)| Ok((name.as_str().into(), to_value(tensor, self.eats_bytes)?)))
            .collect::<Result<Vec<(std::borrow::Cow<'_, str>, SessionInputValue<'_>)>>>()?;
        let results = self.session.run(values).map_err(failure(NAME))?;
        self.outputs
            .iter()
            .zip(&self.types)
            .map(|(name, &dtype)| from_value(&results[name.as_str()], dtype))
            .collect()
    }
}

/// Converts a tensor. Floats are borrowed, because pictures may be large.
fn to_value(tensor: &Tensor, as_bytes: bool) -> Result<SessionInputValue<'_>> {
    let shape = tensor.shape().to_vec();
    let value = match tensor.elements() {
        Elements::F32(values) if as_bytes => {
            OrtTensor::from_array((shape, bytes(values))).map(Into::into)
        }
        Elements::F32(values) => TensorRef::from_array_view((shape, &values[..])).map(Into::into),
        Elements::I64(values) => OrtTensor::from_array((shape, values.to_vec())).map(Into::into),
        Elements::Bool(values) => OrtTensor::from_array((shape, values.to_vec())).map(Into::into),
    };
    value.map_err(failure(NAME))
}

fn from_value(value: &DynValue, dtype: DType) -> Result<Tensor> {
    let sides = |shape: &ort::value::Shape| -> Vec<usize> {
        // ONNX Runtime never returns a negative side for a computed tensor.
        shape
            .iter()
            .map(|&side| usize::try_from(side).unwrap_or(0))
            .collect()
    };
    Ok(match dtype {
        DType::F32 => {
            let (shape, values) = value.try_extract_tensor::<f32>().map_err(failure(NAME))?;
            Tensor::f32(sides(shape), values)?
        }
        DType::I64 => {
            let (shape, values) = value.try_extract_tensor::<i64>().map_err(failure(NAME))?;
            Tensor::i64(sides(shape), values)?
        }
        DType::Bool => {
            let (shape, values) = value.try_extract_tensor::<bool>().map_err(failure(NAME))?;
            Tensor::bool(sides(shape), values)?
        }
    })
}
