//! Maps ONNX operators to operators of the graph: one row here, one function in the file of the operator's family.

mod attention;
mod einsum;
mod elementwise;
mod grid_sample;
mod movement;
mod nn;
mod norm;
mod qlinear;
mod quantize;
mod reduce;
mod resize;
mod scatter;
mod selection;

use attention::*;
use einsum::*;
use elementwise::*;
use grid_sample::*;
use movement::*;
use nn::*;
use norm::*;
use qlinear::*;
use quantize::*;
use reduce::*;
use resize::*;
use scatter::*;
use selection::*;

pub(super) use selection::picked;

use super::{Importer, Value, call::Call};
use crate::{
    Result,
    dim::Dim,
    node::ValueId,
    op::{Op, Reduction},
    tensor::DType,
};

/// The results of a node, in the order of its outputs; trailing optional outputs may be missing.
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
    /// Returns the outputs of a node.
    pub(super) fn run(self, importer: &mut Importer, call: &Call) -> Result<Outputs> {
        match self {
            Self::One(import) => Ok(vec![import(importer, call)?.into()]),
            Self::Many(import) => import(importer, call),
        }
    }
}

/// Returns the handler of an operator; `None` if it is not supported.
pub(super) fn handler(op_type: &str) -> Option<Handler> {
    let row = OPERATORS.binary_search_by_key(&op_type, |&(name, _)| name);
    row.ok().map(|row| OPERATORS[row].1)
}

/// The domain of ONNX Runtime's own operators.
pub(super) const MICROSOFT: &str = "com.microsoft";

/// Returns the handler of an operator of [`MICROSOFT`]; `None` if it is not supported.
pub(super) fn contributed(op_type: &str) -> Option<Handler> {
    let row = CONTRIBUTED.binary_search_by_key(&op_type, |&(name, _)| name);
    row.ok().map(|row| CONTRIBUTED[row].1)
}

/// The importable operators of [`MICROSOFT`], sorted by name: those that its quantisation tools write.
pub(super) const CONTRIBUTED: &[(&str, Handler)] = {
    use Handler::One;
    &[
        ("DequantizeLinear", One(dequantize_linear)),
        ("DynamicQuantizeMatMul", One(dynamic_quantize_matmul)),
        ("MatMulIntegerToFloat", One(matmul_integer_to_float)),
        ("QGemm", One(q_gemm)),
        ("QLinearAdd", One(q_linear_add)),
        ("QLinearAveragePool", One(q_linear_average_pool)),
        ("QLinearConcat", One(q_linear_concat)),
        (
            "QLinearGlobalAveragePool",
            One(q_linear_global_average_pool),
        ),
        ("QLinearLeakyRelu", One(q_linear_leaky_relu)),
        ("QLinearMul", One(q_linear_mul)),
        (
            "QLinearSigmoid",
            One(|i, c| q_linear_unary(i, c, Op::Sigmoid)),
        ),
        ("QuantizeLinear", One(quantize_linear)),
    ]
};

/// The importable operators of ONNX, sorted by name.
pub(super) const OPERATORS: &[(&str, Handler)] = {
    use Handler::{Many, One};
    &[
        ("Abs", One(|i, c| unary(i, c, Op::Abs))),
        ("Acos", One(|i, c| function(i, c, acos))),
        ("Acosh", One(|i, c| function(i, c, acosh))),
        ("Add", One(|i, c| binary(i, c, Op::Add))),
        ("And", One(|i, c| binary(i, c, Op::And))),
        ("ArgMax", One(arg_max)),
        ("ArgMin", One(arg_min)),
        ("Asin", One(|i, c| function(i, c, asin))),
        ("Asinh", One(|i, c| function(i, c, asinh))),
        ("Atan", One(|i, c| unary(i, c, Op::Atan))),
        ("Atanh", One(|i, c| function(i, c, atanh))),
        ("Attention", Many(attention)),
        ("AveragePool", One(average_pool)),
        ("BatchNormalization", One(batch_normalization)),
        ("Cast", One(cast)),
        ("CastLike", One(cast_like)),
        ("Ceil", One(|i, c| step(i, c, Op::Ceil))),
        ("Celu", One(celu)),
        ("CenterCropPad", One(center_crop_pad)),
        ("Clip", One(clip)),
        ("Col2Im", One(col2im)),
        ("Concat", One(concat)),
        ("Constant", One(constant)),
        ("ConstantOfShape", One(constant_of_shape)),
        ("Conv", One(conv)),
        ("ConvInteger", One(conv_integer)),
        ("ConvTranspose", One(conv_transpose)),
        ("Cos", One(|i, c| unary(i, c, Op::Cos))),
        ("Cosh", One(|i, c| function(i, c, cosh))),
        ("CumSum", One(cum_sum)),
        ("DepthToSpace", One(depth_to_space)),
        ("DequantizeLinear", One(dequantize_linear)),
        ("Div", One(|i, c| binary(i, c, Op::Div))),
        ("Dropout", One(dropout)),
        ("DynamicQuantizeLinear", Many(dynamic_quantize_linear)),
        ("Einsum", One(einsum)),
        ("Elu", One(elu)),
        ("Equal", One(|i, c| binary(i, c, Op::Equal))),
        ("Erf", One(|i, c| unary(i, c, Op::Erf))),
        ("Exp", One(|i, c| unary(i, c, Op::Exp))),
        ("Expand", One(expand)),
        ("EyeLike", One(eye_like)),
        ("Flatten", One(flatten)),
        ("Floor", One(|i, c| step(i, c, Op::Floor))),
        ("Gather", One(gather)),
        ("GatherElements", One(gather_elements)),
        ("GatherND", One(gather_nd)),
        ("Gelu", One(gelu)),
        ("Gemm", One(gemm)),
        (
            "GlobalAveragePool",
            One(|i, c| global_pool(i, c, Reduction::Mean)),
        ),
        ("GlobalLpPool", One(global_lp_pool)),
        (
            "GlobalMaxPool",
            One(|i, c| global_pool(i, c, Reduction::Max)),
        ),
        ("Greater", One(|i, c| binary(i, c, Op::Greater))),
        (
            "GreaterOrEqual",
            One(|i, c| binary(i, c, Op::GreaterOrEqual)),
        ),
        ("GridSample", One(grid_sample)),
        ("GroupNormalization", One(group_normalization)),
        ("HardSigmoid", One(hard_sigmoid)),
        ("HardSwish", One(|i, c| unary(i, c, Op::HardSwish))),
        ("Hardmax", One(hardmax)),
        ("Identity", One(|_, c| c.input(0))),
        ("InstanceNormalization", One(instance_normalization)),
        ("IsInf", One(is_inf)),
        ("IsNaN", One(|i, c| function(i, c, is_nan))),
        ("LRN", One(lrn)),
        ("LayerNormalization", One(layer_normalization)),
        ("LeakyRelu", One(leaky_relu)),
        ("Less", One(|i, c| binary(i, c, Op::Less))),
        ("LessOrEqual", One(|i, c| binary(i, c, Op::LessOrEqual))),
        ("Log", One(|i, c| unary(i, c, Op::Log))),
        (
            "LogSoftmax",
            One(|i, c| softmax(i, c, |axis| Op::LogSoftmax { axis })),
        ),
        ("LpNormalization", One(lp_normalization)),
        ("LpPool", One(lp_pool)),
        ("MatMul", One(matmul)),
        ("MatMulInteger", One(matmul_integer)),
        ("Max", One(|i, c| variadic(i, c, Op::Max))),
        ("MaxPool", One(max_pool)),
        ("Mean", One(mean)),
        (
            "MeanVarianceNormalization",
            One(mean_variance_normalization),
        ),
        ("Min", One(|i, c| variadic(i, c, Op::Min))),
        ("Mish", One(|i, c| function(i, c, mish))),
        ("Mod", One(modulo)),
        ("Mul", One(|i, c| binary(i, c, Op::Mul))),
        ("Neg", One(|i, c| unary(i, c, Op::Neg))),
        ("Not", One(|i, c| unary(i, c, Op::Not))),
        ("OneHot", One(one_hot)),
        ("Or", One(|i, c| binary(i, c, Op::Or))),
        ("PRelu", One(p_relu)),
        ("Pad", One(pad)),
        ("Pow", One(pow)),
        ("QLinearConv", One(q_linear_conv)),
        ("QLinearMatMul", One(q_linear_matmul)),
        ("QuantizeLinear", One(quantize_linear)),
        ("RMSNormalization", One(rms_normalization)),
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
        ("Resize", One(resize)),
        ("Round", One(|i, c| step(i, c, Op::Round))),
        ("Scatter", One(scatter_elements)),
        ("ScatterElements", One(scatter_elements)),
        ("ScatterND", One(scatter_nd)),
        ("Selu", One(selu)),
        ("Shape", Many(shape)),
        ("Shrink", One(shrink)),
        ("Sigmoid", One(|i, c| unary(i, c, Op::Sigmoid))),
        ("Sign", One(|i, c| step(i, c, Op::Sign))),
        ("Sin", One(|i, c| unary(i, c, Op::Sin))),
        ("Sinh", One(|i, c| function(i, c, sinh))),
        ("Size", Many(size)),
        ("Slice", One(slice)),
        (
            "Softmax",
            One(|i, c| softmax(i, c, |axis| Op::Softmax { axis })),
        ),
        ("Softplus", One(|i, c| unary(i, c, Op::Softplus))),
        ("Softsign", One(|i, c| function(i, c, softsign))),
        ("SpaceToDepth", One(space_to_depth)),
        ("Split", Many(split)),
        ("Sqrt", One(|i, c| unary(i, c, Op::Sqrt))),
        ("Squeeze", One(squeeze)),
        ("Sub", One(|i, c| binary(i, c, Op::Sub))),
        ("Sum", One(|i, c| variadic(i, c, Op::Add))),
        ("Swish", One(swish)),
        ("Tan", One(|i, c| function(i, c, tan))),
        ("Tanh", One(|i, c| unary(i, c, Op::Tanh))),
        ("ThresholdedRelu", One(thresholded_relu)),
        ("Tile", One(tile)),
        ("TopK", Many(top_k)),
        ("Transpose", One(transpose)),
        ("Trilu", One(trilu)),
        ("Unsqueeze", One(unsqueeze)),
        ("Upsample", One(upsample)),
        ("Where", One(where_)),
        ("Xor", One(xor)),
    ]
};

impl Importer {
    pub(super) fn add(&mut self, call: &Call, op: Op, inputs: &[ValueId]) -> Result<ValueId> {
        self.builder.add(call.name(), op, inputs)
    }

    pub(super) fn dims(&self, id: ValueId) -> Vec<Dim> {
        self.builder.graph().shape(id).to_vec()
    }

    fn rank(&self, id: ValueId) -> usize {
        self.builder.graph().shape(id).len()
    }

    fn dtype(&self, id: ValueId) -> DType {
        self.builder.graph().node(id).dtype
    }

    /// Returns the side of an axis, which must not be the batch axis.
    fn side(&self, call: &Call, id: ValueId, axis: usize) -> Result<usize> {
        match self.dims(id).get(axis) {
            Some(Dim::Fixed(side)) => Ok(*side),
            Some(Dim::Batch(_)) => Err(call.unsupported("works along the batch axis")),
            None => Err(call.invalid(format!("needs an input of rank {} or more", axis + 1))),
        }
    }

    pub(super) fn reshaped(
        &mut self,
        call: &Call,
        id: ValueId,
        shape: Vec<Dim>,
    ) -> Result<ValueId> {
        self.add(call, Op::Reshape { shape }, &[id])
    }
}
