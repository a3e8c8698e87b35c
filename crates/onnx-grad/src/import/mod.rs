//! Imports ONNX files as graphs: checks, normalisation, shape inference with a symbolic batch.

mod batch;
mod bytes;
mod call;
mod census;
mod channels;
mod formula;
mod inline;
mod input;
mod integers;
mod legacy;
mod limits;
mod meaning;
mod ops;
mod order;
mod positions;
mod sealed;
mod shapes;
mod tensors;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{File, Metadata, OpenOptions},
    io::{self, Read},
    path::Path,
};

use prost::Message;

pub use bytes::Bytes;
pub(crate) use call::label;
pub(crate) use census::census;
pub use sealed::{Sealed, seal, seal_bytes};
pub(crate) use tensors::type_name;

use crate::{
    Error, Result,
    fold::{Builder, fold},
    graph::Graph,
    logits::keep_softmax,
    node::ValueId,
    op::Op,
    proto::{GraphProto, ModelProto, NodeProto, TensorTypeProto, ValueInfoProto},
    tensor::DType,
};
use call::Call;
use inline::Scope;
use input::Batch;
pub(crate) use meaning::unsupported;
use meaning::{Functions, Meaning, functions, meaning};
use positions::Positions;
use shapes::Sizes;

/// Maximum size of a model file, in bytes: the limit of the format. External weights don't count.
const MAX_FILE_BYTES: u64 = 1 << 31;

/// Maximum number of names in an error message.
const LISTED: usize = 16;

/// Maximum number of elements that all nodes together may create without constants of the file, as `Range` does.
const MAX_MADE: usize = 1 << 26;

/// Supported operator set versions.
const OPSETS: std::ops::RangeInclusive<i64> = 1..=23;

/// A model that is ready to be differentiated.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The computation. The leading axis of its first input is `Dim::Batch(1)` unless a notice says otherwise.
    pub graph: Graph,
    /// The ONNX operator set version of the file.
    pub opset: i64,
    /// The name of the program that wrote the file; may be empty.
    pub producer: String,
    /// Differences from the file, one sentence each: converted element types, a batch that stayed at 1.
    pub notices: Vec<String>,
    /// The integer type of the only input, if it holds bytes in the file. The graph then takes floats that hold such
    /// integers, and gradients are with respect to these.
    pub bytes: Option<Bytes>,
}

/// Settings for what the file leaves open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// Height and width of the first input if the file leaves them open. The number of channels follows from the first
    /// weights that consume the input.
    pub input_side: Option<(usize, usize)>,
    /// The name of the only output wanted, which may be a value inside the model; all outputs if `None`.
    pub output: Option<String>,
    /// Whether a final softmax is part of the scores. If not, [`crate::logits`] looks through it.
    pub keep_softmax: bool,
    /// Whether steps (`Sign`, `Round`, `Floor`, `Ceil`) have a surrogate gradient instead of 0: for `Sign` that of a
    /// clip to
    /// -1..1, for the others 1 (the straight-through estimator, arXiv 1308.3432).
    pub straight_through: bool,
}

/// Reads a model file and its external weights.
///
/// # Errors
/// [`Error::Io`] names a file that cannot be read. [`Error::Invalid`] and [`Error::Unsupported`] name the node or value
/// that is broken or not supported.
pub fn load(path: &Path) -> Result<Loaded> {
    load_with(path, &LoadOptions::default())
}

/// [`load`] with settings for what the file leaves open.
pub fn load_with(path: &Path, options: &LoadOptions) -> Result<Loaded> {
    parse_with(&read(path)?, folder_of(path), options)
}

/// Returns the bytes of a model file, for [`parse_with`] and [`seal_bytes`].
///
/// # Errors
/// As for [`load`]. Anything but a regular file, and a file larger than the format allows, is refused before it is
/// read.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let io = |message: String| Error::Io {
        path: path.display().to_string(),
        message,
    };
    let too_large = || io("is larger than 2 GiB, the limit of the ONNX format".into());
    let (file, length) = open(path).map_err(io)?;
    if length > MAX_FILE_BYTES {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(length as usize);
    // The file may grow in the meantime.
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| io(error.to_string()))?;
    match bytes.len() as u64 > MAX_FILE_BYTES {
        true => Err(too_large()),
        false => Ok(bytes),
    }
}

/// Opens a regular file and returns its length. Files that may be endless, such as pipes, are refused without blocking.
fn open(path: &Path) -> Result<(File, u64), String> {
    let regular = |metadata: io::Result<Metadata>| {
        let metadata = metadata.map_err(|error| error.to_string())?;
        match (metadata.is_file(), metadata.is_dir()) {
            (true, _) => Ok(metadata.len()),
            (false, true) => Err("it is a folder, not a file".to_owned()),
            (false, false) => Err("it is a pipe, a device or a socket, not a file".to_owned()),
        }
    };
    regular(path.metadata())?;
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
    let file = options.open(path).map_err(|error| error.to_string())?;
    // The file may have been replaced since.
    let length = regular(file.metadata())?;
    Ok((file, length))
}

/// Returns the folder of a model's external weights.
pub fn folder_of(path: &Path) -> Option<&Path> {
    path.parent()
        .map(|folder| match folder.as_os_str().is_empty() {
            true => Path::new("."),
            false => folder,
        })
}

/// Reads a model from the bytes of its file. External weights are looked up in `folder`.
pub fn parse(bytes: &[u8], folder: Option<&Path>) -> Result<Loaded> {
    parse_with(bytes, folder, &LoadOptions::default())
}

/// [`parse`] with settings for what the file leaves open.
pub fn parse_with(bytes: &[u8], folder: Option<&Path>, options: &LoadOptions) -> Result<Loaded> {
    import(&decode(bytes)?, folder, options)
}

/// Decodes a model file.
pub(crate) fn decode(bytes: &[u8]) -> Result<ModelProto> {
    limits::check(bytes)?;
    ModelProto::decode(bytes)
        .map_err(|error| Error::invalid(format!("is not an ONNX file, or is truncated ({error})")))
}

/// Imports the graph of a decoded file.
pub(crate) fn import(
    model: &ModelProto,
    folder: Option<&Path>,
    options: &LoadOptions,
) -> Result<Loaded> {
    let opset = opset(model)?;
    let proto = model
        .graph
        .as_ref()
        .ok_or_else(|| Error::invalid("has no graph; is this an ONNX file?"))?;
    let bytes = bytes::input(proto)?;
    let source = Source {
        proto,
        bytes,
        folder,
        opset,
        options,
        functions: functions(model),
    };
    let (mut graph, notices) = source.import()?;
    if options.keep_softmax {
        keep_softmax(&mut graph)?;
    }
    Ok(Loaded {
        graph,
        opset,
        producer: format!("{} {}", model.producer_name, model.producer_version)
            .trim()
            .to_owned(),
        notices,
        bytes,
    })
}

/// Returns the version of ONNX's own operator set.
fn opset(model: &ModelProto) -> Result<i64> {
    let mut opsets = model.opset_import.iter();
    let Some(default) = opsets.find(|opset| is_onnx_domain(&opset.domain)) else {
        let mut nodes = model.graph.iter().flat_map(|graph| &graph.node);
        return match nodes.any(|node| is_onnx_domain(&node.domain)) || model.opset_import.is_empty()
        {
            true => Err(Error::invalid(
                "does not say which ONNX operator set it uses",
            )),
            // The file uses none of ONNX's own operators.
            false => Ok(*OPSETS.end()),
        };
    };
    if !OPSETS.contains(&default.version) {
        return Err(Error::unsupported(format!(
            "uses ONNX operator set {}; this version reads {} to {}. Try to convert the file with onnx.version_converter",
            default.version,
            OPSETS.start(),
            OPSETS.end()
        )));
    }
    Ok(default.version)
}

fn is_onnx_domain(domain: &str) -> bool {
    domain.is_empty() || domain == "ai.onnx"
}

/// A value of the file: in the graph, or sizes that depend on the batch.
#[derive(Clone, Debug)]
enum Value {
    /// A value of the graph.
    Tensor(ValueId),
    /// Integers that depend on the batch.
    Sizes(Sizes),
    /// Integers that count the pictures of the batch.
    Positions(Positions),
}

impl From<ValueId> for Value {
    fn from(id: ValueId) -> Self {
        Self::Tensor(id)
    }
}

/// Assumptions about the first input for what the file leaves open.
#[derive(Clone, Copy)]
struct Assumed {
    batch: Batch,
    /// The length of the leading axis in the file.
    leading: Option<usize>,
    /// An open axis and its assumed length.
    channels: Option<(usize, usize)>,
}

/// The decoded file to import.
struct Source<'a> {
    proto: &'a GraphProto,
    /// Type of its only input.
    bytes: Option<Bytes>,
    folder: Option<&'a Path>,
    opset: i64,
    options: &'a LoadOptions,
    functions: Functions<'a>,
}

/// The state that the operators' import functions work on.
struct Importer {
    builder: Builder,
    /// Number of elements of the constants and sizes that nodes created.
    made: usize,
    freed: bool,
    straight_through: bool,
    notices: BTreeSet<String>,
    /// Element types in the file of the integer values that can be read here.
    integer_types: BTreeMap<String, i32>,
    /// Number of nodes of functions and branches read so far.
    inlined: usize,
    /// The inputs and the values of the file's own nodes, in file order.
    names: Vec<(String, ValueId)>,
}

impl Source<'_> {
    /// Returns the graph and the notices. A batch that cannot be symbolic stays as in the file.
    fn import(&self) -> Result<(Graph, Vec<String>)> {
        let first = image_inputs(self.proto)
            .next()
            .ok_or_else(|| Error::invalid("has no input"))?;
        tensors::check_external(&self.proto.initializer)?;
        self.check_trees()?;
        let leading = input::leading(first)?;
        let mut refused = None;
        for channels in input::channels(self.proto, first)? {
            match self.with_channels(first, leading, channels) {
                Ok(done) => return Ok(done),
                Err(error) => refused.get_or_insert(error),
            };
        }
        Err(refused.unwrap_or_else(|| Error::invalid("has no input")))
    }

    /// Fails on tree ensembles first, because that explains the model whatever else is wrong with the file.
    fn check_trees(&self) -> Result<()> {
        let mut nodes = self.proto.node.iter();
        let is_tree = |node: &&NodeProto| {
            node.domain == meaning::CLASSIC && node.op_type.starts_with("TreeEnsemble")
        };
        match nodes.find(is_tree) {
            Some(node) => Err(Error::unsupported(format!(
                "node {:?} ({}): {}",
                label(node),
                node.op_type,
                meaning(node, &self.functions).err().unwrap_or_default()
            ))),
            None => Ok(()),
        }
    }

    /// [`Source::import`] with an assumed length of an open axis of the input.
    fn with_channels(
        &self,
        first: &ValueInfoProto,
        leading: Option<usize>,
        channels: Option<(usize, usize)>,
    ) -> Result<(Graph, Vec<String>)> {
        let attempt = |batch| {
            self.attempt(Assumed {
                batch,
                leading,
                channels,
            })
        };
        let batch = match leading {
            Some(_) => Batch::Freed,
            None => Batch::AsDeclared,
        };
        let error = match attempt(batch) {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let (frozen, notice) = match leading {
            None | Some(1) => match (attempt(Batch::One), &error) {
                (Ok(frozen), _) => (
                    frozen,
                    format!("batch frozen at 1: pictures run one by one ({error})"),
                ),
                // A file that does not allow a symbolic batch is not at fault.
                (Err(alone), Error::Invalid(_)) => return Err(alone),
                (Err(_), _) => return Err(error),
            },
            Some(length) => {
                // The error for the file's own shape is closer to what its author wrote.
                let frozen = attempt(Batch::AsDeclared)?;
                match input::lacks_batch(&frozen.0, length) {
                    false => (
                        frozen,
                        format!(
                            "batch frozen at {length}: pictures run {length} at a time, and where there are fewer the last is \
                             repeated ({error})"
                        ),
                    ),
                    true => (
                        attempt(Batch::Missing)?,
                        format!(
                            "input {:?} has no batch axis: one is added in front, and pictures run one by one",
                            first.name
                        ),
                    ),
                }
            }
        };
        let (graph, mut notices) = frozen;
        notices.insert(0, notice);
        Ok((graph, notices))
    }

    fn attempt(&self, assumed: Assumed) -> Result<(Graph, Vec<String>)> {
        let mut importer = Importer {
            builder: Builder::default(),
            made: 0,
            freed: assumed.batch == Batch::Freed && assumed.leading == Some(1),
            straight_through: self.options.straight_through,
            notices: BTreeSet::new(),
            integer_types: BTreeMap::new(),
            inlined: 0,
            names: Vec::new(),
        };
        let mut values = BTreeMap::new();
        for (position, input) in image_inputs(self.proto).enumerate() {
            let is_first = position == 0;
            let id = self.input(&mut importer, input, is_first, assumed)?;
            importer.keep_type(&input.name, Some(tensor_type(input)?.elem_type));
            importer.names.push((input.name.clone(), id));
            let own = match is_first && assumed.batch == Batch::Missing {
                true => importer.without_batch(&input.name, id)?,
                false => id,
            };
            define(&mut values, &input.name, Some(own.into()))?;
        }
        if let Some(sparse) = self.proto.sparse_initializer.first() {
            let name = sparse.values.as_ref().map(|values| &values.name);
            return Err(Error::unsupported(format!(
                "initialiser {name:?} is sparse"
            )));
        }
        for initializer in &self.proto.initializer {
            let tensor = tensors::initializer(initializer, self.folder)?;
            importer.notice(tensors::conversion_notice(initializer.data_type));
            // Integers are used for shape arithmetic, not as weights, so they need no name.
            let name = match tensor.dtype() {
                DType::F32 => initializer.name.as_str(),
                DType::I64 | DType::Bool => "",
            };
            importer.keep_type(&initializer.name, Some(initializer.data_type));
            let id = importer.builder.constant(name, tensor);
            define(&mut values, &initializer.name, Some(id.into()))?;
        }
        let wanted = self.options.output.as_deref();
        for node in order::sorted(&self.proto.node) {
            self.node(&mut importer, &mut values, node, self.opset, 0)?;
            // Later nodes do not matter and need not be supported.
            if wanted.is_some_and(|wanted| node.output.iter().any(|output| output == wanted)) {
                break;
            }
        }
        let mut graph = self.with_outputs(&importer, &values)?;
        if assumed.batch != Batch::One {
            batch::check(&graph)?;
        }
        graph = fold(&graph)?;
        Ok((graph, importer.notices.into_iter().collect()))
    }

    fn input(
        &self,
        importer: &mut Importer,
        info: &ValueInfoProto,
        is_first: bool,
        assumed: Assumed,
    ) -> Result<ValueId> {
        let name = &info.name;
        let tensor_type = tensor_type(info)?;
        let type_name = tensors::type_name(tensor_type.elem_type);
        let dtype = match self.bytes {
            Some(_) => DType::F32,
            None => tensors::element_type(tensor_type.elem_type).ok_or_else(|| {
                Error::unsupported(format!("input {name:?} has elements of type {type_name}"))
            })?,
        };
        importer.notice(match self.bytes {
            Some(_) => Some(format!(
                "input {name:?} has type {type_name}; it is treated as floats that hold these integers"
            )),
            None => tensors::conversion_notice(tensor_type.elem_type),
        });
        let Assumed {
            batch, channels, ..
        } = assumed;
        let shape = input::shape(name, tensor_type, batch, is_first, self.options, channels)?;
        Ok(importer.builder.input(name.clone(), dtype, shape))
    }

    fn node(
        &self,
        importer: &mut Importer,
        values: &mut Scope,
        node: &NodeProto,
        opset: i64,
        depth: usize,
    ) -> Result<()> {
        let name = label(node);
        let op_type = &node.op_type;
        let inputs = node
            .input
            .iter()
            .map(|input| match values.get(input) {
                _ if input.is_empty() => Ok(None),
                Some(Some(value)) => Ok(Some(value.clone())),
                Some(None) => Err(Error::unsupported(format!(
                    "node {name:?} ({op_type}): reads {input:?}, a secondary output that this version does not compute"
                ))),
                None => Err(Error::invalid(format!(
                    "node {name:?} ({op_type}): reads {input:?}, which nothing computes before it (a \
                     missing value, or a cycle)"
                ))),
            })
            .collect::<Result<_>>()?;
        let call = Call {
            node,
            inputs,
            opset,
        };
        let modern;
        let call = match opset < legacy::MODERN && is_onnx_domain(&node.domain) {
            true => {
                let inputs;
                (modern, inputs) = legacy::modern(importer, call)?;
                Call {
                    node: &modern,
                    inputs,
                    opset: legacy::MODERN,
                }
            }
            false => call,
        };
        let outputs =
            match meaning(node, &self.functions).map_err(|reason| call.unsupported(reason))? {
                Meaning::Function(function) => self.function(importer, &call, function, depth)?,
                Meaning::Branch => self.branch(importer, &call, values, depth)?,
                Meaning::Operator(handler) => {
                    let given = importer.builder.given();
                    let computed = match positions::apply(importer, &call)? {
                        Some(outputs) => Some(outputs),
                        None => shapes::apply(importer, &call, handler)?,
                    };
                    let outputs = match computed {
                        Some(outputs) => outputs,
                        None => {
                            let held = importer.held(&call)?;
                            handler.run(importer, &held)?
                        }
                    };
                    let outputs = importer.typed(&call, outputs)?;
                    importer.count_made(&call, given, &outputs)?;
                    outputs
                }
            };
        if node.output.iter().all(String::is_empty) {
            return Err(call.invalid("has no output"));
        }
        let mut outputs = outputs.into_iter();
        for output in &node.output {
            let value = outputs.next();
            if output.is_empty() {
                continue;
            }
            if let (0, Some(Value::Tensor(id))) = (depth, &value) {
                importer.names.push((output.clone(), *id));
            }
            define(values, output, value)?;
        }
        Ok(())
    }

    fn with_outputs(&self, importer: &Importer, values: &Scope) -> Result<Graph> {
        let mut graph = importer.builder.graph().clone();
        for (name, id) in &importer.names {
            graph.name(name, *id);
        }
        if self.proto.output.is_empty() {
            return Err(Error::invalid("has no output"));
        }
        let names = self.proto.output.iter().map(|output| &output.name);
        let wanted: Vec<&String> = match &self.options.output {
            // Some files list an output twice.
            None => {
                let mut listed = BTreeSet::new();
                names.filter(|name| listed.insert(*name)).collect()
            }
            Some(wanted)
                if names.clone().any(|name| name == wanted)
                    || importer.names.iter().any(|(name, _)| name == wanted) =>
            {
                vec![wanted]
            }
            Some(wanted) => {
                let names: Vec<String> =
                    names.take(LISTED).map(|name| format!("{name:?}")).collect();
                return Err(Error::invalid(format!(
                    "has no output {wanted:?}; its outputs are {}, and no inner value has that name either",
                    names.join(", ")
                )));
            }
        };
        for name in wanted {
            match values.get(name) {
                Some(Some(Value::Tensor(id))) => graph.output(name.clone(), *id),
                Some(_) => {
                    return Err(Error::unsupported(format!(
                        "output {name:?} is a value that this version does not compute"
                    )));
                }
                None => {
                    return Err(Error::invalid(format!(
                        "no node computes the output {name:?}"
                    )));
                }
            }
        }
        Ok(graph)
    }
}

impl Importer {
    /// Limits the elements that nodes create from small inputs. The elements of a `Constant` are in the file, whose
    /// size bounds them.
    fn count_made(&mut self, call: &Call, given: usize, outputs: &[Value]) -> Result<()> {
        if call.node.op_type == "Constant" {
            return Ok(());
        }
        let sizes = outputs.iter().map(|output| match output {
            Value::Sizes(sizes) => sizes.entries.len(),
            Value::Tensor(_) | Value::Positions(_) => 0,
        });
        self.made += self.builder.given() - given + sizes.sum::<usize>();
        if self.made > MAX_MADE {
            return Err(call.unsupported(format!(
                "with it, nodes create more than {MAX_MADE} elements"
            )));
        }
        Ok(())
    }

    /// Removes the leading axis of an input `[1, ...]`.
    fn without_batch(&mut self, name: &str, input: ValueId) -> Result<ValueId> {
        let shape = self.builder.graph().shape(input)[1..].to_vec();
        self.builder.add(name, Op::Reshape { shape }, &[input])
    }

    fn notice(&mut self, notice: Option<String>) {
        self.notices.extend(notice);
    }
}

/// Returns the inputs that are not initialisers; old files list both.
fn image_inputs(graph: &GraphProto) -> impl Iterator<Item = &ValueInfoProto> {
    let dense = graph.initializer.iter();
    let sparse = graph.sparse_initializer.iter();
    let initialisers: BTreeSet<&str> = dense
        .chain(sparse.filter_map(|sparse| sparse.values.as_ref()))
        .map(|tensor| tensor.name.as_str())
        .collect();
    let inputs = graph.input.iter();
    inputs.filter(move |input| !initialisers.contains(input.name.as_str()))
}

fn tensor_type(info: &ValueInfoProto) -> Result<&TensorTypeProto> {
    info.r#type
        .as_ref()
        .and_then(|r#type| r#type.tensor_type.as_ref())
        .ok_or_else(|| Error::unsupported(format!("input {:?} is not a tensor", info.name)))
}

/// Records a value under its name, `None` for an output that is not computed.
fn define(values: &mut Scope, name: &str, value: Option<Value>) -> Result<()> {
    match values.insert(name.to_owned(), value) {
        None => Ok(()),
        Some(_) => Err(Error::invalid(format!("defines the value {name:?} twice"))),
    }
}

#[cfg(test)]
mod tests;
