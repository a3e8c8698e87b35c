//! ONNX Runtime, found at run time: faster than rten, and nothing at build time depends on it.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use onnx_grad::{DType, Elements, Graph, Lowering, Sealed, Tensor};
use ort::{
    environment::Environment,
    logging::LogLevel,
    session::{Session, SessionInputValue, builder::GraphOptimizationLevel},
    value::{DynValue, Tensor as OrtTensor},
};

use super::{Engine, Executable, bytes, failure};
use crate::{Error, Result};

const NAME: &str = "ort";

/// ONNX Runtime's setting for the format of a model.
const FORMAT: &str = "session.load_model_format";

/// ONNX Runtime's shared library, loaded once per process.
pub(super) struct OnnxRuntime {
    environment: &'static Environment,
}

impl OnnxRuntime {
    /// Finds and loads the library.
    pub(super) fn open() -> Result<Self> {
        static LOADED: OnceLock<Result<Environment, String>> = OnceLock::new();
        let loaded = LOADED.get_or_init(|| {
            let path = find_library()?;
            let unloadable = |error| format!("cannot load {}: {error}", path.display());
            let environment = ort::init_from(&path)
                .map_err(|error| unloadable(error.to_string()))?
                .build()
                .map_err(|error| unloadable(error.to_string()))?;
            // It would write names from the file to stderr as they are; what goes wrong is returned as well.
            environment.set_log_level(LogLevel::Fatal);
            Ok(environment)
        });
        match loaded {
            Ok(environment) => Ok(Self { environment }),
            Err(message) => Err(Error::Engine {
                engine: NAME,
                message: message.clone(),
            }),
        }
    }
}

/// The library named by `ORT_DYLIB_PATH`, or the one inside the Python package `onnxruntime`.
fn find_library() -> Result<PathBuf, String> {
    if let Some(path) = env::var_os("ORT_DYLIB_PATH") {
        return Ok(path.into());
    }
    let located = Command::new("python3")
        .args([
            "-c",
            "import onnxruntime, sys; sys.stdout.write(onnxruntime.__path__[0])",
        ])
        .output()
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok());
    located
        .and_then(|package| library_in(&Path::new(&package).join("capi")))
        .ok_or_else(|| {
            "ONNX Runtime was not found; `pip install onnxruntime`, or set ORT_DYLIB_PATH to its \
             shared library, or use `--engine rten`"
                .to_owned()
        })
}

/// The shared library in the package's folder, whose name carries a version on some platforms.
fn library_in(folder: &Path) -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = folder
        .read_dir()
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or("");
            [
                "libonnxruntime.so",
                "libonnxruntime.dylib",
                "onnxruntime.dll",
            ]
            .iter()
            .any(|stem| name.starts_with(stem))
                || (name.starts_with("libonnxruntime.") && name.ends_with(".dylib"))
        })
        .collect();
    found.sort();
    found.into_iter().next()
}

impl Engine for OnnxRuntime {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> String {
        let info = ort::info();
        format!("onnxruntime: {info}")
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
            // Numbers of pictures vary, and a plan of memory would be kept for each: a fifth more memory, and no faster.
            .and_then(|builder| Ok(builder.with_memory_pattern(false)?))
            // Else its first bytes could say that it is of ONNX Runtime's own format, which nothing has checked.
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
    /// Whether floats are given as bytes.
    eats_bytes: bool,
}

impl Executable for Program {
    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let values = self
            .inputs
            .iter()
            .zip(inputs)
            .map(|(name, tensor)| {
                let value = to_value(tensor, self.eats_bytes)?;
                Ok((name.as_str().into(), value.into()))
            })
            .collect::<Result<Vec<(std::borrow::Cow<'_, str>, SessionInputValue<'_>)>>>()?;
        let results = self.session.run(values).map_err(failure(NAME))?;
        self.outputs
            .iter()
            .zip(&self.types)
            .map(|(name, &dtype)| from_value(&results[name.as_str()], dtype))
            .collect()
    }
}

fn to_value(tensor: &Tensor, as_bytes: bool) -> Result<DynValue> {
    let shape = tensor.shape().to_vec();
    let value = match tensor.elements() {
        Elements::F32(values) if as_bytes => {
            OrtTensor::from_array((shape, bytes(values))).map(|v| v.into_dyn())
        }
        Elements::F32(values) => {
            OrtTensor::from_array((shape, values.to_vec())).map(|v| v.into_dyn())
        }
        Elements::I64(values) => {
            OrtTensor::from_array((shape, values.to_vec())).map(|v| v.into_dyn())
        }
        Elements::Bool(values) => {
            OrtTensor::from_array((shape, values.to_vec())).map(|v| v.into_dyn())
        }
    };
    value.map_err(failure(NAME))
}

fn from_value(value: &DynValue, dtype: DType) -> Result<Tensor> {
    let sides = |shape: &ort::value::Shape| -> Vec<usize> {
        // ONNX Runtime never answers a negative side for a computed tensor.
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
