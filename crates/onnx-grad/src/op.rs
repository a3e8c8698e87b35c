//! The operators of the intermediate representation: those of ONNX, normalised.
//!
//! Each computation has a single form: `Flatten`, `Squeeze` and `Unsqueeze` are [`Op::Reshape`], `Split` is several
//! [`Op::Slice`], and `GlobalAveragePool` is [`Op::Reduce`]. Inputs that must be constant are attributes, and every
//! operator has exactly one output.

use std::fmt;

use crate::{
    dim::Dim,
    tensor::{DType, Tensor},
};

/// Declares unit and struct variants together with their names.
macro_rules! operators {
    ($($(#[$doc:meta])* $name:ident $(($payload:ty))? $({ $($(#[$field_doc:meta])* $field:ident : $ty:ty),* $(,)? })? ;)*) => {
        /// An operator with its attributes. Inputs are listed in the order `Node::inputs` has them.
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum Op {
            $($(#[$doc])* $name $(($payload))? $({ $($(#[$field_doc])* $field: $ty),* })?,)*
        }

        impl Op {
            /// Names of all operators, in the order of their declaration.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),*];

            /// Returns the name of the operator, without attributes.
            pub fn name(&self) -> &'static str {
                match self {
                    $(operators!(@pattern $name $(($payload))? $({ $($field),* })?) => stringify!($name),)*
                }
            }
        }
    };
    (@pattern $name:ident ($payload:ty)) => { Op::$name(..) };
    (@pattern $name:ident { $($field:ident),* }) => { Op::$name { .. } };
    (@pattern $name:ident) => { Op::$name };
}

operators! {
    /// An input of the graph. No inputs.
    Input;
    /// A constant. No inputs.
    Constant(Tensor);

    /// `|x|`.
    Abs;
    /// Inverse tangent.
    Atan;
    /// Smallest integer not below `x`.
    Ceil;
    /// `cos x`.
    Cos;
    /// `x` for `x >= 0`, else `alpha * (exp(x) - 1)`.
    Elu { #[doc = "Scale of the negative part."] alpha: f32 };
    /// The error function.
    Erf;
    /// `exp x`.
    Exp;
    /// Largest integer not above `x`.
    Floor;
    /// `x * Phi(x)`, or its tanh approximation.
    Gelu { #[doc = "Whether to use the tanh approximation."] tanh: bool };
    /// `clip(alpha * x + beta, 0, 1)`.
    HardSigmoid { #[doc = "Slope."] alpha: f32, #[doc = "Offset."] beta: f32 };
    /// `x * clip(x / 6 + 1/2, 0, 1)`.
    HardSwish;
    /// `x` for `x >= 0`, else `alpha * x`.
    LeakyRelu { #[doc = "Slope of the negative part."] alpha: f32 };
    /// Natural logarithm.
    Log;
    /// `-x`.
    Neg;
    /// Logical negation.
    Not;
    /// `1 / x`.
    Reciprocal;
    /// `max(x, 0)`.
    Relu;
    /// Nearest integer; halves go to the even one.
    Round;
    /// `1 / (1 + exp(-x))`.
    Sigmoid;
    /// `-1`, `0` or `1`.
    Sign;
    /// `sin x`.
    Sin;
    /// `ln(1 + exp x)`.
    Softplus;
    /// `sqrt x`.
    Sqrt;
    /// `tanh x`.
    Tanh;
    /// `x` limited to `[min, max]`.
    Clip { #[doc = "Lower limit; `-inf` where absent."] min: f32, #[doc = "Upper limit; `inf` where absent."] max: f32 };
    /// Conversion to another element type.
    Cast { #[doc = "The new type."] to: DType };

    /// `a + b`, broadcasting.
    Add;
    /// `a / b`, broadcasting; integers truncate.
    Div;
    /// Larger of two values, broadcasting.
    Max;
    /// Smaller of two values, broadcasting.
    Min;
    /// `a mod b`, broadcasting; the sign is the divisor's for integers.
    Mod;
    /// `a * b`, broadcasting.
    Mul;
    /// `a ^ b`, broadcasting.
    Pow;
    /// `a - b`, broadcasting.
    Sub;
    /// Logical and, broadcasting.
    And;
    /// `a == b`, broadcasting.
    Equal;
    /// `a > b`, broadcasting.
    Greater;
    /// `a >= b`, broadcasting.
    GreaterOrEqual;
    /// `a < b`, broadcasting.
    Less;
    /// `a <= b`, broadcasting.
    LessOrEqual;
    /// Logical or, broadcasting.
    Or;
    /// `condition ? a : b`, broadcasting. Inputs: condition, a, b.
    Where;

    /// The value of the first input with the gradient of the second, which has the same shape. Lowered on export.
    StraightThrough;

    /// Matrix product with NumPy's batch rules.
    MatMul;
    /// `alpha * A' B' + beta * C` on matrices. Inputs: A, B and, optionally, C.
    Gemm { #[doc = "Factor of the product."] alpha: f32, #[doc = "Factor of C."] beta: f32, #[doc = "Whether A is transposed."] trans_a: bool, #[doc = "Whether B is transposed."] trans_b: bool };
    /// Convolution. Inputs: x `[N, C, ...]`, weight `[M, C / groups, ...]` and, optionally, bias `[M]`.
    Conv(Convolution);
    /// Transposed convolution. Inputs: x `[N, C, ...]`, weight `[C, M / groups, ...]` and, optionally, bias `[M]`.
    ConvTranspose { #[doc = "Strides, pads, dilations, groups."] convolution: Convolution, #[doc = "Extra size at the end of each axis."] output_padding: Vec<usize> };
    /// Gradient of [`Op::Conv`] with respect to its weight. Inputs: x, cotangent. Lowered on export.
    ConvWeightGrad { #[doc = "The convolution's attributes."] convolution: Convolution, #[doc = "Spatial sides of the weight."] kernel: Vec<usize> };
    /// Largest value of each window; padding never wins.
    MaxPool(Pool);
    /// For each window, the index of its first maximum among all elements of `x`, counted row by row.
    MaxPoolIndices(Pool);
    /// Gradient of [`Op::MaxPool`]: each cotangent goes to the first maximum of its window. Inputs: x, y, cotangent. Lowered on export.
    MaxPoolGrad(Pool);
    /// Mean of each window.
    AveragePool { #[doc = "Kernel, strides, pads, dilations."] pool: Pool, #[doc = "Whether padding counts in the divisor."] count_include_pad: bool };
    /// The cotangent where `low < y < high`, else 0: the gradient of a function that is constant outside an interval. Inputs: y, cotangent. Lowered on export.
    Gate { #[doc = "Lower end; `-inf` where absent."] low: f32, #[doc = "Upper end; `inf` where absent."] high: f32 };

    /// `gamma * (x - mean) / sqrt(variance + epsilon) + beta` by channel. Inputs: x, gamma, beta, mean, variance.
    BatchNormalization { #[doc = "Added to the variance."] epsilon: f32 };
    /// Normalisation over the axes from `axis` on. Inputs: x, scale and, optionally, bias.
    LayerNormalization { #[doc = "First normalised axis."] axis: usize, #[doc = "Added to the variance."] epsilon: f32 };
    /// `exp(x) / sum(exp(x))` along an axis.
    Softmax { #[doc = "The axis."] axis: usize };
    /// `x - ln(sum(exp(x)))` along an axis.
    LogSoftmax { #[doc = "The axis."] axis: usize };

    /// Reduction over axes.
    Reduce { #[doc = "The computed quantity."] kind: Reduction, #[doc = "Axes, ascending."] axes: Vec<usize>, #[doc = "Whether reduced axes stay with side 1."] keep_dims: bool };
    /// Indices of the `k` largest or smallest elements along an axis, the most extreme first.
    TopK { #[doc = "The axis."] axis: usize, #[doc = "The number of elements."] k: usize, #[doc = "Whether the largest are picked."] largest: bool };
    /// Index of the first maximum along an axis.
    ArgMax { #[doc = "The axis."] axis: usize, #[doc = "Whether the axis stays with side 1."] keep_dims: bool };

    /// The same elements in another shape.
    Reshape { #[doc = "The new shape."] shape: Vec<Dim> };
    /// Broadcast to a shape.
    Expand { #[doc = "The new shape."] shape: Vec<Dim> };
    /// Axes in another order.
    Transpose { #[doc = "`output axis i` is `input axis perm[i]`."] perm: Vec<usize> };
    /// Tensors joined along an axis.
    Concat { #[doc = "The axis."] axis: usize };
    /// Part of each of some axes. Starts and ends are normalised to the axis' length. Steps may be negative; then an
    /// `end` of -1 means "through index 0".
    Slice { #[doc = "The sliced axes."] axes: Vec<usize>, #[doc = "First index taken."] starts: Vec<i64>, #[doc = "First index not taken."] ends: Vec<i64>, #[doc = "Step; never 0."] steps: Vec<i64> };
    /// Padding.
    Pad { #[doc = "The source of the new elements."] mode: PadMode, #[doc = "New elements before each axis."] before: Vec<usize>, #[doc = "New elements after each axis."] after: Vec<usize> };
    /// Slices of `data` picked by `indices` along an axis. Inputs: data, indices.
    Gather { #[doc = "The axis."] axis: usize };
    /// Single elements picked along an axis. Inputs: data, indices of the output's shape.
    GatherElements { #[doc = "The axis."] axis: usize };
    /// A copy of `data` with `updates` added at `indices` along an axis. Inputs: data, indices, updates.
    ScatterAdd { #[doc = "The axis."] axis: usize };
    /// Repetition along every axis.
    Tile { #[doc = "The number of repetitions of each axis."] repeats: Vec<usize> };
}

/// Attributes of a convolution, with one entry per spatial axis. `auto_pad` is resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Convolution {
    /// Step of the window.
    pub strides: Vec<usize>,
    /// Zeros before each spatial axis.
    pub pads_before: Vec<usize>,
    /// Zeros after each spatial axis.
    pub pads_after: Vec<usize>,
    /// Distance between kernel elements.
    pub dilations: Vec<usize>,
    /// Number of groups of channels.
    pub groups: usize,
}

/// Attributes of a pooling, with one entry per spatial axis. `auto_pad` is resolved, and `ceil_mode` is expressed as
/// padding at the end of the axis (see [`Pool::ceil_extra`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Sides of the window.
    pub kernel: Vec<usize>,
    /// Step of the window.
    pub strides: Vec<usize>,
    /// Padding before each spatial axis.
    pub pads_before: Vec<usize>,
    /// Padding after each spatial axis, including the extra of `ceil_mode`.
    pub pads_after: Vec<usize>,
    /// Distance between window elements.
    pub dilations: Vec<usize>,
    /// The part of `pads_after` that comes from `ceil_mode`. It never counts in an average.
    pub ceil_extra: Vec<usize>,
}

/// The quantity that [`Op::Reduce`] computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// Sum.
    Sum,
    /// Arithmetic mean.
    Mean,
    /// Maximum.
    Max,
    /// Minimum.
    Min,
    /// Product.
    Prod,
}

/// The source of the new elements of [`Op::Pad`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PadMode {
    /// This value.
    Constant(f32),
    /// Mirrored without repeating the edge.
    Reflect,
    /// The edge repeated.
    Edge,
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
