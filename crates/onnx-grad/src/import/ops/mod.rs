//! ONNX operators to those of the representation: one row here and one function in the family's file.

mod elementwise;
mod movement;
mod nn;
mod reduce;
mod selection;

use elementwise::*;
use movement::*;
use nn::*;
use reduce::*;
use selection::*;

use super::{Importer, Value, call::Call};
use crate::{
    Result,
    graph::{Dim, ValueId},
    op::{Op, Reduction},
    tensor::DType,
};

/// What a node computes, in the order of its outputs; trailing optional outputs may be missing.
pub(super) type Outputs = Vec<Value>;

/// Imports a node.
#[derive(Clone, Copy)]
pub(super) enum Handler {
    /// One output in the graph.
    One(fn(&mut Importer, &Call) -> Result<ValueId>),
    /// Several outputs, or sizes.
    Many(fn(&mut Importer, &Call) -> Result<Outputs>),
}

impl Handler {
    /// The outputs of a node.
    pub(super) fn run(self, importer: &mut Importer, call: &Call) -> Result<Outputs> {
        match self {
            Self::One(import) => Ok(vec![import(importer, call)?.into()]),
            Self::Many(import) => import(importer, call),
        }
    }
}

/// The handler of an operator; `None` if it is not supported.
pub(super) fn handler(op_type: &str) -> Option<Handler> {
    let row = OPERATORS.binary_search_by_key(&op_type, |&(name, _)| name);
    row.ok().map(|row| OPERATORS[row].1)
}

/// All importable operators, sorted by name.
pub(super) const OPERATORS: &[(&str, Handler)] = {
    use Handler::{Many, One};
    &[
        ("Abs", One(|i, c| unary(i, c, Op::Abs))),
        ("Add", One(|i, c| binary(i, c, Op::Add))),
        ("And", One(|i, c| binary(i, c, Op::And))),
        ("ArgMax", One(arg_max)),
        ("ArgMin", One(arg_min)),
        ("AveragePool", One(average_pool)),
        ("BatchNormalization", One(batch_normalization)),
        ("Cast", One(cast)),
        ("CastLike", One(cast_like)),
        ("Ceil", One(|i, c| unary(i, c, Op::Ceil))),
        ("Celu", One(celu)),
        ("Clip", One(clip)),
        ("Concat", One(concat)),
        ("Constant", One(constant)),
        ("ConstantOfShape", One(constant_of_shape)),
        ("Conv", One(conv)),
        ("ConvTranspose", One(conv_transpose)),
        ("Cos", One(|i, c| unary(i, c, Op::Cos))),
        ("DepthToSpace", One(depth_to_space)),
        ("Div", One(|i, c| binary(i, c, Op::Div))),
        ("Dropout", One(dropout)),
        ("Elu", One(elu)),
        ("Equal", One(|i, c| binary(i, c, Op::Equal))),
        ("Erf", One(|i, c| unary(i, c, Op::Erf))),
        ("Exp", One(|i, c| unary(i, c, Op::Exp))),
        ("Expand", One(expand)),
        ("Flatten", One(flatten)),
        ("Floor", One(|i, c| unary(i, c, Op::Floor))),
        ("Gather", One(gather)),
        ("GatherElements", One(gather_elements)),
        ("Gelu", One(gelu)),
        ("Gemm", One(gemm)),
        (
            "GlobalAveragePool",
            One(|i, c| global_pool(i, c, Reduction::Mean)),
        ),
        (
            "GlobalMaxPool",
            One(|i, c| global_pool(i, c, Reduction::Max)),
        ),
        ("Greater", One(|i, c| binary(i, c, Op::Greater))),
        (
            "GreaterOrEqual",
            One(|i, c| binary(i, c, Op::GreaterOrEqual)),
        ),
        ("GroupNormalization", One(group_normalization)),
        ("HardSigmoid", One(hard_sigmoid)),
        ("HardSwish", One(|i, c| unary(i, c, Op::HardSwish))),
        ("Identity", One(|_, c| c.input(0))),
        ("InstanceNormalization", One(instance_normalization)),
        ("LayerNormalization", One(layer_normalization)),
        ("LeakyRelu", One(leaky_relu)),
        ("Less", One(|i, c| binary(i, c, Op::Less))),
        ("LessOrEqual", One(|i, c| binary(i, c, Op::LessOrEqual))),
        ("Log", One(|i, c| unary(i, c, Op::Log))),
        (
            "LogSoftmax",
            One(|i, c| softmax(i, c, |axis| Op::LogSoftmax { axis })),
        ),
        ("MatMul", One(matmul)),
        ("Max", One(|i, c| variadic(i, c, Op::Max))),
        ("MaxPool", One(max_pool)),
        ("Mean", One(mean)),
        ("Min", One(|i, c| variadic(i, c, Op::Min))),
        ("Mish", One(mish)),
        ("Mod", One(modulo)),
        ("Mul", One(|i, c| binary(i, c, Op::Mul))),
        ("Neg", One(|i, c| unary(i, c, Op::Neg))),
        ("Not", One(|i, c| unary(i, c, Op::Not))),
        ("Or", One(|i, c| binary(i, c, Op::Or))),
        ("PRelu", One(p_relu)),
        ("Pad", One(pad)),
        ("Pow", One(pow)),
        ("Range", One(range)),
        ("Reciprocal", One(|i, c| unary(i, c, Op::Reciprocal))),
        ("ReduceL1", One(reduce_l1)),
        ("ReduceL2", One(reduce_l2)),
        ("ReduceLogSum", One(reduce_log_sum)),
        ("ReduceLogSumExp", One(reduce_log_sum_exp)),
        ("ReduceMax", One(|i, c| reduce(i, c, Reduction::Max))),
        ("ReduceMean", One(|i, c| reduce(i, c, Reduction::Mean))),
        ("ReduceMin", One(|i, c| reduce(i, c, Reduction::Min))),
        ("ReduceProd", One(|i, c| reduce(i, c, Reduction::Prod))),
        ("ReduceSum", One(|i, c| reduce(i, c, Reduction::Sum))),
        ("ReduceSumSquare", One(reduce_sum_square)),
        ("Relu", One(|i, c| unary(i, c, Op::Relu))),
        ("Reshape", One(reshape)),
        ("Round", One(|i, c| unary(i, c, Op::Round))),
        ("Selu", One(selu)),
        ("Shape", Many(shape)),
        ("Sigmoid", One(|i, c| unary(i, c, Op::Sigmoid))),
        ("Sign", One(|i, c| unary(i, c, Op::Sign))),
        ("Sin", One(|i, c| unary(i, c, Op::Sin))),
        ("Size", Many(size)),
        ("Slice", One(slice)),
        (
            "Softmax",
            One(|i, c| softmax(i, c, |axis| Op::Softmax { axis })),
        ),
        ("Softplus", One(|i, c| unary(i, c, Op::Softplus))),
        ("Softsign", One(softsign)),
        ("SpaceToDepth", One(space_to_depth)),
        ("Split", Many(split)),
        ("Sqrt", One(|i, c| unary(i, c, Op::Sqrt))),
        ("Squeeze", One(squeeze)),
        ("Sub", One(|i, c| binary(i, c, Op::Sub))),
        ("Sum", One(|i, c| variadic(i, c, Op::Add))),
        ("Swish", One(swish)),
        ("Tanh", One(|i, c| unary(i, c, Op::Tanh))),
        ("ThresholdedRelu", One(thresholded_relu)),
        ("Tile", One(tile)),
        ("Transpose", One(transpose)),
        ("Unsqueeze", One(unsqueeze)),
        ("Where", One(where_)),
        ("Xor", One(xor)),
    ]
};

impl Importer {
    fn add(&mut self, call: &Call, op: Op, inputs: &[ValueId]) -> Result<ValueId> {
        self.builder.add(call.name(), op, inputs)
    }

    fn dims(&self, id: ValueId) -> Vec<Dim> {
        self.builder.graph().shape(id).to_vec()
    }

    fn rank(&self, id: ValueId) -> usize {
        self.builder.graph().shape(id).len()
    }

    fn dtype(&self, id: ValueId) -> DType {
        self.builder.graph().node(id).dtype
    }

    /// The side of an axis, which must not be the batch.
    fn side(&self, call: &Call, id: ValueId, axis: usize) -> Result<usize> {
        match self.dims(id).get(axis) {
            Some(Dim::Fixed(side)) => Ok(*side),
            Some(Dim::Batch(_)) => Err(call.unsupported("works along the batch axis")),
            None => Err(call.invalid(format!("needs an input of rank {} or more", axis + 1))),
        }
    }

    fn reshaped(&mut self, call: &Call, id: ValueId, shape: Vec<Dim>) -> Result<ValueId> {
        self.add(call, Op::Reshape { shape }, &[id])
    }
}
