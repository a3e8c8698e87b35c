//! Writes graphs as ONNX files.

use std::{collections::BTreeSet, mem};

use prost::Message;

use crate::{
    Error, Result,
    dim::Dim,
    graph::Graph,
    lower::{Lowering, lower},
    node::{Node, ValueId},
    op::{Convolution, Op, PadMode, Pool, Reduction},
    proto::{
        AttributeProto, AttributeType, DataType, DimensionProto, DimensionValue, GraphProto,
        ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TensorTypeProto,
        TypeProto, ValueInfoProto,
    },
    tensor::{DType, Elements, Tensor},
};

/// Operator set version of the written files.
const OPSET: i64 = 18;
/// Format version of the written files, which was introduced with operator set 18.
const IR_VERSION: i64 = 8;
/// Maximum size of a Protocol Buffers message.
const LARGEST_FILE: usize = i32::MAX as usize;

/// Returns the graph as the bytes of an ONNX file (operator set 18), with composite operators expressed in plain ONNX.
/// Nodes that no output needs are omitted; the batch is the symbolic dimension `N`.
///
/// Fails with [`Error::Unsupported`] if the file would exceed 2 GiB.
pub fn to_onnx(graph: &Graph, lowering: Lowering) -> Result<Vec<u8>> {
    let graph = lower(graph, lowering)?;
    let model = ModelProto {
        ir_version: IR_VERSION,
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: OPSET,
        }],
        producer_name: env!("CARGO_PKG_NAME").to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        graph: Some(Writer::new(&graph)?.write()?),
        ..ModelProto::default()
    };
    if model.encoded_len() > LARGEST_FILE {
        return Err(Error::unsupported(
            "the model with its weights exceeds 2 GiB, the limit of one ONNX file",
        ));
    }
    Ok(model.encode_to_vec())
}

struct Writer<'a> {
    graph: &'a Graph,
    /// Name of each value.
    names: Vec<String>,
    taken: BTreeSet<String>,
    written: GraphProto,
    /// The value that holds the batch size, once something needs it.
    batch: Option<String>,
}

impl<'a> Writer<'a> {
    fn new(graph: &'a Graph) -> Result<Self> {
        let mut writer = Self {
            graph,
            names: vec![String::new(); graph.nodes().len()],
            taken: BTreeSet::new(),
            written: GraphProto {
                name: "graph".to_owned(),
                ..GraphProto::default()
            },
            batch: None,
        };
        for (name, _) in graph.outputs() {
            if !writer.taken.insert(name.clone()) {
                return Err(Error::invalid(format!("two values have the name {name:?}")));
            }
        }
        // If an input and an output share a name, the input is renamed, unless it is that output.
        for &id in graph.inputs() {
            let name = &graph.node(id).name;
            let is_output = |(output, of): &(String, ValueId)| output == name && *of == id;
            writer.names[id.index()] = match graph.outputs().iter().any(is_output) {
                true => name.clone(),
                false => writer.unique(name, "input"),
            };
        }
        for (name, id) in graph.outputs() {
            let own = &mut writer.names[id.index()];
            if own.is_empty() && !matches!(graph.node(*id).op, Op::Constant(_)) {
                own.clone_from(name);
            }
        }
        for (id, node) in graph.ids().zip(graph.nodes()) {
            if writer.names[id.index()].is_empty() {
                let fallback = format!("{}_{}", node.op.name(), id.index());
                writer.names[id.index()] = writer.unique(&node.name, &fallback);
            }
        }
        Ok(writer)
    }

    /// Returns `name` if it is unused, else `fallback`, with a number if that is used too.
    fn unique(&mut self, name: &str, fallback: &str) -> String {
        let numbered = (2..).map(|number| format!("{fallback}_{number}"));
        let free = [name, fallback]
            .into_iter()
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .chain(numbered)
            .find(|candidate| !self.taken.contains(candidate))
            .expect("numbers do not run out");
        self.taken.insert(free.clone());
        free
    }

    fn write(mut self) -> Result<GraphProto> {
        for &id in self.graph.inputs() {
            let info = value_info(self.names[id.index()].clone(), self.graph.node(id));
            self.written.input.push(info);
        }
        for (id, node) in self.graph.ids().zip(self.graph.nodes()) {
            match &node.op {
                Op::Input => {}
                Op::Constant(tensor) => {
                    let name = self.names[id.index()].clone();
                    self.written.initializer.push(tensor_proto(name, tensor));
                }
                _ => self.node(id, node)?,
            }
        }
        for (name, id) in self.graph.outputs() {
            if self.names[id.index()] != *name {
                self.copy(*id, name);
            }
            let info = value_info(name.clone(), self.graph.node(*id));
            self.written.output.push(info);
        }
        Ok(self.written)
    }

    /// Gives a value a second name. `Identity` doesn't work: rten removes it, and also a second node that does the
    /// same, and then one value occurs twice among the outputs. So constants are duplicated, and other values pass
    /// through a chain of reshapes in which each 0 keeps a side.
    fn copy(&mut self, id: ValueId, name: &str) {
        if let Some(tensor) = self.graph.as_constant(id) {
            let initializer = tensor_proto(name.to_owned(), tensor);
            self.written.initializer.push(initializer);
            return;
        }
        let sides = vec![0; self.graph.shape(id).len()];
        let shape = self.integers(name, "shape", &sides);
        let source = mem::replace(&mut self.names[id.index()], name.to_owned());
        self.push("Reshape", vec![source, shape], name.to_owned(), Vec::new());
    }

    fn push(
        &mut self,
        op_type: &str,
        input: Vec<String>,
        output: String,
        attribute: Vec<AttributeProto>,
    ) {
        self.written.node.push(NodeProto {
            input,
            name: output.clone(),
            output: vec![output],
            op_type: op_type.to_owned(),
            attribute,
            ..NodeProto::default()
        });
    }

    /// Adds a constant that only the file needs.
    fn initializer(&mut self, of: &str, role: &str, tensor: &Tensor) -> String {
        let name = self.unique("", &format!("{of}/{role}"));
        self.written
            .initializer
            .push(tensor_proto(name.clone(), tensor));
        name
    }

    fn integers(&mut self, of: &str, role: &str, values: &[i64]) -> String {
        self.initializer(of, role, &Tensor::vector(values))
    }

    fn node(&mut self, id: ValueId, node: &Node) -> Result<()> {
        let name = self.names[id.index()].clone();
        let mut inputs: Vec<String> = node
            .inputs
            .iter()
            .map(|input| self.names[input.index()].clone())
            .collect();
        let first = node.inputs.first().map(|&input| self.graph.node(input));
        let side = |axis: usize| match first.and_then(|node| node.shape.get(axis)) {
            Some(Dim::Fixed(side)) => *side as i64,
            _ => 0,
        };
        let mut op_type = node.op.name();
        let attributes = match &node.op {
            Op::Elu { alpha } | Op::LeakyRelu { alpha } => vec![float("alpha", *alpha)],
            Op::HardSigmoid { alpha, beta } => vec![float("alpha", *alpha), float("beta", *beta)],
            Op::Clip { min, max } => {
                // Integers are clipped by limits of their own type; an absent limit is an empty name.
                for (role, limit) in [("min", *min), ("max", *max)] {
                    inputs.push(if limit.is_infinite() {
                        String::new()
                    } else {
                        self.initializer(&name, role, &scalar(node.dtype, limit))
                    });
                }
                while inputs.last().is_some_and(String::is_empty) {
                    inputs.pop();
                }
                Vec::new()
            }
            Op::Cast { to } => vec![int("to", data_type(*to) as i64)],
            // For floats, ONNX has only C's fmod; an integer remainder has the sign of the divisor.
            Op::Mod => vec![int("fmod", i64::from(node.dtype == DType::F32))],
            Op::Gemm {
                alpha,
                beta,
                trans_a,
                trans_b,
            } => vec![
                float("alpha", *alpha),
                float("beta", *beta),
                int("transA", i64::from(*trans_a)),
                int("transB", i64::from(*trans_b)),
            ],
            Op::Conv(convolution) => self.convolution(convolution, node),
            Op::ConvTranspose {
                convolution,
                output_padding,
            } => {
                let mut attributes = self.convolution(convolution, node);
                attributes.push(ints("output_padding", output_padding));
                attributes
            }
            Op::MaxPool(pool) | Op::MaxPoolIndices(pool) => {
                op_type = "MaxPool";
                let mut attributes = pooling(pool);
                if pool.dilations.iter().any(|&dilation| dilation != 1) {
                    attributes.push(ints("dilations", &pool.dilations));
                }
                attributes
            }
            Op::AveragePool {
                pool,
                count_include_pad,
            } => {
                let mut attributes = pooling(pool);
                attributes.push(int("count_include_pad", i64::from(*count_include_pad)));
                attributes
            }
            Op::BatchNormalization { epsilon } => vec![float("epsilon", *epsilon)],
            Op::LayerNormalization { axis, epsilon } => {
                vec![int("axis", *axis as i64), float("epsilon", *epsilon)]
            }
            Op::Softmax { axis }
            | Op::LogSoftmax { axis }
            | Op::Concat { axis }
            | Op::Gather { axis }
            | Op::GatherElements { axis } => vec![int("axis", *axis as i64)],
            Op::ScatterAdd { axis } => {
                op_type = "ScatterElements";
                vec![int("axis", *axis as i64), text("reduction", "add")]
            }
            Op::Reduce {
                kind,
                axes,
                keep_dims,
            } => {
                op_type = match kind {
                    Reduction::Sum => "ReduceSum",
                    Reduction::Mean => "ReduceMean",
                    Reduction::Max => "ReduceMax",
                    Reduction::Min => "ReduceMin",
                    Reduction::Prod => "ReduceProd",
                };
                inputs.push(self.integers(&name, "axes", &signed(axes)));
                // Without axes, ONNX would reduce all of them.
                vec![
                    int("keepdims", i64::from(*keep_dims)),
                    int("noop_with_empty_axes", 1),
                ]
            }
            Op::ArgMax { axis, keep_dims } => vec![
                int("axis", *axis as i64),
                int("keepdims", i64::from(*keep_dims)),
            ],
            Op::TopK { axis, k, largest } => {
                inputs.push(self.integers(&name, "k", &[*k as i64]));
                vec![
                    int("axis", *axis as i64),
                    int("largest", i64::from(*largest)),
                ]
            }
            Op::Reshape { shape } => {
                let sides: Vec<i64> = shape
                    .iter()
                    .map(|dim| match dim {
                        Dim::Fixed(side) => *side as i64,
                        Dim::Batch(_) => -1,
                    })
                    .collect();
                inputs.push(self.integers(&name, "shape", &sides));
                vec![int("allowzero", i64::from(sides.contains(&0)))]
            }
            Op::Expand { shape } => {
                let source = &self.graph.node(node.inputs[0]).shape;
                inputs.push(self.expanded(&name, source, shape)?);
                Vec::new()
            }
            Op::Transpose { perm } => vec![ints("perm", perm)],
            Op::Slice {
                axes,
                starts,
                ends,
                steps,
            } => {
                // -1 would mean the last index; an index below the range means before the first.
                let ends: Vec<i64> = (axes.iter().zip(ends))
                    .map(|(&axis, &end)| if end < 0 { -side(axis) - 1 } else { end })
                    .collect();
                inputs.push(self.integers(&name, "starts", starts));
                inputs.push(self.integers(&name, "ends", &ends));
                inputs.push(self.integers(&name, "axes", &signed(axes)));
                inputs.push(self.integers(&name, "steps", steps));
                Vec::new()
            }
            Op::Pad {
                mode,
                before,
                after,
            } => {
                let pads = [signed(before), signed(after)].concat();
                inputs.push(self.integers(&name, "pads", &pads));
                let mode = match mode {
                    PadMode::Constant(value) => {
                        let value = scalar(node.dtype, *value);
                        inputs.push(self.initializer(&name, "value", &value));
                        "constant"
                    }
                    PadMode::Reflect => "reflect",
                    PadMode::Edge => "edge",
                };
                vec![text("mode", mode)]
            }
            Op::Tile { repeats } => {
                inputs.push(self.integers(&name, "repeats", &signed(repeats)));
                Vec::new()
            }
            _ => Vec::new(),
        };
        self.push(op_type, inputs, name.clone(), attributes);
        if let (Op::TopK { .. } | Op::MaxPoolIndices(_), Some(node)) =
            (&node.op, self.written.node.last_mut())
        {
            // The elements come first, the indices second.
            let elements = format!("{name}/elements");
            node.output.insert(0, elements);
        }
        Ok(())
    }

    /// Attributes of a convolution. `kernel_shape` is optional in ONNX, but some engines need it.
    fn convolution(&self, convolution: &Convolution, node: &Node) -> Vec<AttributeProto> {
        let weight = self.graph.shape(node.inputs[1]);
        let kernel: Vec<usize> = weight[2..]
            .iter()
            .map(|dim| match dim {
                Dim::Fixed(side) | Dim::Batch(side) => *side,
            })
            .collect();
        vec![
            ints("kernel_shape", &kernel),
            ints("strides", &convolution.strides),
            pads(&convolution.pads_before, &convolution.pads_after),
            ints("dilations", &convolution.dilations),
            int("group", convolution.groups as i64),
        ]
    }

    /// Returns the target shape of `Expand`. An axis that already has its length may be 1, which avoids computing the
    /// batch size.
    fn expanded(&mut self, of: &str, source: &[Dim], shape: &[Dim]) -> Result<String> {
        let leading = shape.len() - source.len();
        let sides: Vec<Dim> = shape
            .iter()
            .enumerate()
            .map(|(axis, &dim)| {
                if axis >= leading && source[axis - leading] == dim {
                    Dim::Fixed(1)
                } else {
                    dim
                }
            })
            .collect();
        if let Some(known) = sides
            .iter()
            .map(|dim| match dim {
                Dim::Fixed(side) => Some(*side as i64),
                Dim::Batch(_) => None,
            })
            .collect::<Option<Vec<i64>>>()
        {
            return Ok(self.integers(of, "shape", &known));
        }
        let parts = sides
            .iter()
            .enumerate()
            .map(|(axis, dim)| match *dim {
                Dim::Fixed(side) => Ok(self.integers(of, &format!("side_{axis}"), &[side as i64])),
                Dim::Batch(1) => self.batch(),
                Dim::Batch(factor) => {
                    let batch = self.batch()?;
                    let factor = self.integers(of, &format!("factor_{axis}"), &[factor as i64]);
                    let product = self.unique("", &format!("{of}/side_{axis}"));
                    self.push("Mul", vec![batch, factor], product.clone(), Vec::new());
                    Ok(product)
                }
            })
            .collect::<Result<_>>()?;
        let whole = self.unique("", &format!("{of}/shape"));
        self.push("Concat", parts, whole.clone(), vec![int("axis", 0)]);
        Ok(whole)
    }

    /// Returns the one-element value that holds the batch size.
    fn batch(&mut self) -> Result<String> {
        if let Some(name) = &self.batch {
            return Ok(name.clone());
        }
        let (id, axis, factor) = self
            .graph
            .inputs()
            .iter()
            .find_map(|&id| {
                let shape = self.graph.shape(id).iter().enumerate();
                shape
                    .filter_map(|(axis, dim)| match dim {
                        Dim::Batch(factor) => Some((id, axis, *factor)),
                        Dim::Fixed(_) => None,
                    })
                    .next()
            })
            .ok_or_else(|| Error::invalid("no input has the batch that a shape depends on"))?;
        let [shape, side, batch] =
            ["shape", "side", "size"].map(|role| self.unique("", &format!("batch/{role}")));
        let source = self.names[id.index()].clone();
        let axis = self.integers("batch", "axis", &[axis as i64]);
        self.push("Shape", vec![source], shape.clone(), Vec::new());
        self.push(
            "Gather",
            vec![shape, axis],
            side.clone(),
            vec![int("axis", 0)],
        );
        let batch = if factor == 1 {
            side
        } else {
            let factor = self.integers("batch", "factor", &[factor as i64]);
            self.push("Div", vec![side, factor], batch.clone(), Vec::new());
            batch
        };
        self.batch = Some(batch.clone());
        Ok(batch)
    }
}

fn pooling(pool: &Pool) -> Vec<AttributeProto> {
    vec![
        ints("kernel_shape", &pool.kernel),
        ints("strides", &pool.strides),
        pads(&pool.pads_before, &pool.pads_after),
    ]
}

fn pads(before: &[usize], after: &[usize]) -> AttributeProto {
    ints("pads", &[before, after].concat())
}

fn signed(values: &[usize]) -> Vec<i64> {
    values.iter().map(|&value| value as i64).collect()
}

fn scalar(dtype: DType, value: f32) -> Tensor {
    let elements = match dtype {
        DType::F32 => Elements::F32([value].into()),
        DType::I64 => Elements::I64([value as i64].into()),
        DType::Bool => Elements::Bool([value != 0.0].into()),
    };
    Tensor::new(Vec::new(), elements).expect("a scalar has one element")
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        kind: kind as i32,
        ..AttributeProto::default()
    }
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        i: Some(value),
        ..attribute(name, AttributeType::Int)
    }
}

fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        f: Some(value),
        ..attribute(name, AttributeType::Float)
    }
}

fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        s: Some(value.as_bytes().to_vec()),
        ..attribute(name, AttributeType::String)
    }
}

fn ints(name: &str, values: &[usize]) -> AttributeProto {
    AttributeProto {
        ints: signed(values),
        ..attribute(name, AttributeType::Ints)
    }
}

fn data_type(dtype: DType) -> DataType {
    match dtype {
        DType::F32 => DataType::Float,
        DType::I64 => DataType::Int64,
        DType::Bool => DataType::Bool,
    }
}

fn tensor_proto(name: String, tensor: &Tensor) -> TensorProto {
    let raw_data = match tensor.elements() {
        Elements::F32(values) => little_endian(values, f32::to_le_bytes),
        Elements::I64(values) => little_endian(values, i64::to_le_bytes),
        Elements::Bool(values) => values.iter().map(|&value| u8::from(value)).collect(),
    };
    TensorProto {
        dims: signed(tensor.shape()),
        data_type: data_type(tensor.dtype()) as i32,
        name,
        raw_data: Some(raw_data),
        ..TensorProto::default()
    }
}

fn little_endian<T: Copy, const SIZE: usize>(values: &[T], bytes: fn(T) -> [u8; SIZE]) -> Vec<u8> {
    let mut raw = Vec::with_capacity(values.len() * SIZE);
    for &value in values {
        raw.extend_from_slice(&bytes(value));
    }
    raw
}

fn value_info(name: String, node: &Node) -> ValueInfoProto {
    let dim = node
        .shape
        .iter()
        .map(|dim| DimensionProto {
            value: Some(match dim {
                Dim::Fixed(side) => DimensionValue::Value(*side as i64),
                Dim::Batch(_) => DimensionValue::Param(dim.to_string()),
            }),
        })
        .collect();
    ValueInfoProto {
        name,
        r#type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto {
                elem_type: data_type(node.dtype) as i32,
                shape: Some(TensorShapeProto { dim }),
            }),
        }),
    }
}

#[cfg(test)]
mod tests;
