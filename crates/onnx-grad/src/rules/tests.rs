//! One table that compares all rules with finite differences: every operator with its attributes and broadcasting.

use super::*;
use crate::{
    Convolution, Elements, Graph, PadMode, Pool, Reduction, Tensor, ValueId, gradient,
    testing::{Domain, draw, rng, shape, slopes, weigh},
};
use Domain::{Any, AwayFromZero, Distinct, Near, Positive};

/// Maximum relative error of a directional derivative. Rounding of 32-bit floats over the step takes about a tenth of
/// it; a rule with an error of a thousandth does not pass.
const TOLERANCE: f64 = 3e-4;
/// Step for functions with curvature.
const SHORT: f32 = 0.03;
/// Step for polynomials up to the fourth degree, for which the difference is exact whatever the step.
const LONG: f32 = 0.5;

enum Source {
    Float(&'static str, Domain),
    Int(&'static str, Vec<i64>),
    Truth(&'static str, Vec<bool>),
}

/// An operator on random inputs. Every float input is checked.
struct GradCase {
    name: &'static str,
    op: Op,
    inputs: Vec<Source>,
    step: f32,
    /// Whether the gradient is differentiated and checked again.
    twice: bool,
}

fn case(name: &'static str, op: Op, inputs: Vec<Source>) -> GradCase {
    GradCase {
        name,
        op,
        inputs,
        step: SHORT,
        twice: false,
    }
}

impl GradCase {
    fn polynomial(mut self) -> Self {
        self.step = LONG;
        self
    }

    fn twice(mut self) -> Self {
        self.twice = true;
        self
    }
}

fn float(shape: &'static str, domain: Domain) -> Source {
    Source::Float(shape, domain)
}

fn int(shape: &'static str, values: &[i64]) -> Source {
    Source::Int(shape, values.to_vec())
}

fn unary(name: &'static str, op: Op, domain: Domain) -> GradCase {
    case(name, op, vec![float("N 3 4", domain)])
}

fn binary(name: &'static str, op: Op, a: Source, b: Source) -> GradCase {
    case(name, op, vec![a, b])
}

fn convolution(strides: usize, pads: [usize; 2], dilations: usize, groups: usize) -> Convolution {
    Convolution {
        strides: vec![strides; 2],
        pads_before: vec![pads[0]; 2],
        pads_after: vec![pads[1]; 2],
        dilations: vec![dilations; 2],
        groups,
    }
}

fn pool(kernel: usize, stride: usize, pads: [usize; 2]) -> Pool {
    Pool {
        kernel: vec![kernel; 2],
        strides: vec![stride; 2],
        pads_before: vec![pads[0]; 2],
        pads_after: vec![pads[1]; 2],
        dilations: vec![1; 2],
        ceil_extra: vec![0; 2],
    }
}

/// The same pooling over one axis.
fn along(mut pool: Pool) -> Pool {
    for attribute in [
        &mut pool.kernel,
        &mut pool.strides,
        &mut pool.pads_before,
        &mut pool.pads_after,
        &mut pool.dilations,
        &mut pool.ceil_extra,
    ] {
        attribute.truncate(1);
    }
    pool
}

fn average(
    name: &'static str,
    pool: Pool,
    count_include_pad: bool,
    shape: &'static str,
) -> GradCase {
    let op = Op::AveragePool {
        pool,
        count_include_pad,
    };
    case(name, op, vec![float(shape, Any)]).polynomial()
}

fn conv(name: &'static str, attributes: Convolution, weight: &'static str) -> GradCase {
    let inputs = vec![float("N 4 7 6", Any), float(weight, Any), float("6", Any)];
    case(name, Op::Conv(attributes), inputs).polynomial()
}

fn transposed(
    name: &'static str,
    convolution: Convolution,
    output_padding: usize,
    weight: &'static str,
) -> GradCase {
    let op = Op::ConvTranspose {
        convolution,
        output_padding: vec![output_padding; 2],
    };
    let inputs = vec![float("N 4 4 3", Any), float(weight, Any), float("6", Any)];
    case(name, op, inputs).polynomial()
}

fn weight_grad(
    name: &'static str,
    convolution: Convolution,
    kernel: usize,
    g: &'static str,
) -> GradCase {
    let op = Op::ConvWeightGrad {
        convolution,
        kernel: vec![kernel; 2],
    };
    binary(name, op, float("N 4 7 6", Any), float(g, Any)).polynomial()
}

fn gemm(
    name: &'static str,
    trans: [bool; 2],
    shapes: [&'static str; 2],
    c: &'static str,
) -> GradCase {
    let op = Op::Gemm {
        alpha: 0.7,
        beta: 1.3,
        trans_a: trans[0],
        trans_b: trans[1],
    };
    let [a, b] = shapes.map(|shape| float(shape, Any));
    case(name, op, vec![a, b, float(c, Any)]).polynomial()
}

fn reduction(
    name: &'static str,
    kind: Reduction,
    axes: &[usize],
    keep_dims: bool,
    domain: Domain,
) -> GradCase {
    let op = Op::Reduce {
        kind,
        axes: axes.to_vec(),
        keep_dims,
    };
    case(name, op, vec![float("N 3 4", domain)])
}

fn slice(name: &'static str, starts: [i64; 2], ends: [i64; 2], steps: [i64; 2]) -> GradCase {
    let op = Op::Slice {
        axes: vec![1, 2],
        starts: starts.to_vec(),
        ends: ends.to_vec(),
        steps: steps.to_vec(),
    };
    case(name, op, vec![float("N 5 8", Any)]).polynomial()
}

fn pad(name: &'static str, mode: PadMode) -> GradCase {
    let op = Op::Pad {
        mode,
        before: vec![0, 2, 0],
        after: vec![0, 1, 3],
    };
    case(name, op, vec![float("N 4 5", Any)]).polynomial()
}

#[rustfmt::skip] // A table reads by its columns.
fn cases() -> Vec<GradCase> {
    let mut uneven = pool(2, 2, [0, 0]);
    uneven.pads_after = vec![1, 0];
    uneven.ceil_extra = vec![1, 0];
    let mut spread = pool(2, 1, [1, 0]);
    spread.dilations = vec![2; 2];
    let mut line = convolution(2, [1, 0], 1, 1);
    for attribute in [&mut line.strides, &mut line.pads_before, &mut line.pads_after, &mut line.dilations] {
        attribute.truncate(1);
    }
    vec![
        unary("abs", Op::Abs, AwayFromZero),
        unary("atan", Op::Atan, Any).twice(),
        unary("clip", Op::Clip { min: -0.9, max: 20.0 }, Distinct),
        unary("clip inside", Op::Clip { min: -9.0, max: f32::INFINITY }, Any),
        unary("cos", Op::Cos, Any).twice(),
        unary("elu", Op::Elu { alpha: 0.7 }, AwayFromZero),
        unary("erf", Op::Erf, Any).twice(),
        unary("exp", Op::Exp, Any).twice(),
        unary("gelu", Op::Gelu { tanh: false }, Any).twice(),
        unary("gelu by tanh", Op::Gelu { tanh: true }, Any).twice(),
        unary("hard sigmoid", Op::HardSigmoid { alpha: 0.2, beta: 0.5 }, Any),
        unary("hard sigmoid, saturated", Op::HardSigmoid { alpha: 1.0 / 1.2, beta: 0.5 }, Distinct),
        unary("hard swish", Op::HardSwish, Any),
        unary("hard swish, saturated", Op::HardSwish, Near(4.0)),
        unary("leaky relu", Op::LeakyRelu { alpha: 0.1 }, AwayFromZero),
        unary("log", Op::Log, Positive).twice(),
        unary("neg", Op::Neg, Any).polynomial(),
        unary("reciprocal", Op::Reciprocal, Positive).twice(),
        unary("relu", Op::Relu, AwayFromZero),
        unary("sigmoid", Op::Sigmoid, Any).twice(),
        unary("sin", Op::Sin, Any).twice(),
        unary("softplus", Op::Softplus, Any).twice(),
        unary("sqrt", Op::Sqrt, Positive).twice(),
        unary("tanh", Op::Tanh, Any).twice(),
        unary("cast", Op::Cast { to: DType::F32 }, Any).polynomial(),

        binary("add", Op::Add, float("N 3 4", Any), float("N 3 4", Any)).polynomial(),
        binary("add, broadcast", Op::Add, float("N 1 4", Any), float("3 1", Any)).polynomial(),
        binary("add a scalar", Op::Add, float("", Any), float("N 3", Any)).polynomial(),
        binary("div", Op::Div, float("N 3 4", Any), float("3 1", Positive)).twice(),
        binary("max", Op::Max, float("N 8", Near(0.0)), float("8", AwayFromZero)),
        binary("min", Op::Min, float("N 8", Near(0.0)), float("8", AwayFromZero)),
        binary("mod", Op::Mod, float("N 4", Near(2.5)), float("4", Near(1.6))),
        binary("mul", Op::Mul, float("N 3 4", Any), float("N 3 4", Any)).polynomial().twice(),
        binary("mul, broadcast", Op::Mul, float("N 1 4", Any), float("3 1", Any)).polynomial(),
        binary("pow", Op::Pow, float("N 3 4", Positive), float("3 1", Any)).twice(),
        binary("sub", Op::Sub, float("N 3 4", Any), float("4", Any)).polynomial(),
        case("where", Op::Where, vec![
            Source::Truth("3 1", vec![true, false, true]), float("N 3 4", Any), float("4", Any),
        ]).polynomial(),
        binary("gate", Op::Gate { low: 0.0, high: 1.9 }, float("N 5", AwayFromZero), float("N 5", Any)),

        binary("matmul", Op::MatMul, float("N 3", Any), float("3 4", Any)).polynomial().twice(),
        binary("matmul of batches", Op::MatMul, float("N 2 3 4", Any), float("N 2 4 5", Any)).polynomial(),
        binary("matmul, broadcast", Op::MatMul, float("N 1 3 4", Any), float("2 4 5", Any)).polynomial(),
        binary("matmul by a matrix", Op::MatMul, float("N 3 4", Any), float("4 5", Any)).polynomial(),
        gemm("gemm", [false, false], ["N 3", "3 4"], "4"),
        gemm("gemm of A'", [true, false], ["3 N", "3 4"], "N 4"),
        gemm("gemm of B'", [false, true], ["N 3", "4 3"], "1 4"),
        gemm("gemm of A' and B'", [true, true], ["3 N", "4 3"], ""),

        conv("conv", convolution(1, [1, 1], 1, 1), "6 4 3 3").twice(),
        conv("conv, uneven pads", convolution(1, [2, 0], 1, 1), "6 4 3 3"),
        conv("conv, pads beyond the kernel", convolution(1, [1, 2], 1, 1), "6 4 1 1"),
        conv("conv, stride", convolution(2, [1, 1], 1, 1), "6 4 3 3"),
        conv("conv, stride beyond the kernel", convolution(3, [0, 0], 1, 1), "6 4 2 2"),
        conv("conv, dilation", convolution(1, [2, 2], 2, 1), "6 4 3 3"),
        conv("conv, stride and dilation", convolution(2, [2, 1], 2, 1), "6 4 2 2"),
        conv("conv, groups", convolution(1, [1, 1], 1, 2), "6 2 3 3"),
        conv("conv, groups and stride", convolution(2, [1, 0], 1, 2), "6 2 3 3"),
        case("conv, depthwise", Op::Conv(convolution(1, [1, 1], 1, 4)), vec![
            float("N 4 7 6", Any), float("4 1 3 3", Any),
        ]).polynomial(),
        case("conv, one axis", Op::Conv(line), vec![float("N 4 7", Any), float("2 4 3", Any)]).polynomial(),
        transposed("conv transpose", convolution(1, [0, 0], 1, 1), 0, "4 6 3 3"),
        transposed("conv transpose, stride", convolution(2, [1, 0], 1, 1), 1, "4 6 3 3"),
        transposed("conv transpose, groups and dilation", convolution(2, [1, 1], 2, 2), 0, "4 3 2 2"),
        weight_grad("conv weight", convolution(1, [1, 1], 1, 1), 3, "N 6 7 6"),
        weight_grad("conv weight, stride", convolution(2, [1, 1], 1, 1), 3, "N 6 4 3"),
        weight_grad("conv weight, dilation and groups", convolution(2, [2, 1], 2, 2), 2, "N 6 4 4"),

        case("max pool", Op::MaxPool(pool(2, 2, [0, 0])), vec![float("N 3 6 4", Distinct)]),
        case("max pool of everything", Op::MaxPool(pool(4, 1, [0, 0])), vec![float("N 3 4 4", Distinct)]),
        case("max pool, overlapping", Op::MaxPool(pool(3, 2, [0, 0])), vec![float("N 3 7 5", Distinct)]),
        case("max pool, padded", Op::MaxPool(pool(3, 2, [1, 0])), vec![float("N 3 6 7", Distinct)]),
        case("max pool, ceil", Op::MaxPool(uneven.clone()), vec![float("N 3 7 6", Distinct)]),
        case("max pool, one axis", Op::MaxPool(along(pool(3, 2, [1, 0]))), vec![float("N 3 7", Distinct)]),
        case("average pool, one axis", Op::AveragePool { pool: along(pool(3, 2, [1, 1])), count_include_pad: true }, vec![
            float("N 3 7", Any),
        ]).polynomial(),
        case("max pool, dilated", Op::MaxPool(spread.clone()), vec![float("N 3 6 7", Distinct)]),
        average("average pool, tiles", pool(2, 2, [0, 0]), false, "N 3 6 4"),
        average("average pool of everything", pool(4, 1, [0, 0]), false, "N 3 4 4"),
        average("average pool, overlapping", pool(3, 2, [0, 0]), false, "N 3 7 6"),
        average("average pool, padded", pool(3, 2, [1, 1]), false, "N 3 7 6"),
        average("average pool, padding counted", pool(3, 2, [1, 1]), true, "N 3 7 6"),
        average("average pool, ceil", uneven.clone(), false, "N 3 7 6"),
        average("average pool, ceil and padding counted", uneven, true, "N 3 7 6"),
        average("average pool, dilated", spread, false, "N 3 7 6"),

        case("batch normalization", Op::BatchNormalization { epsilon: 0.1 }, vec![
            float("N 3 4", Any), float("3", Any), float("3", Any), float("3", Any), float("3", Positive),
        ]),
        case("layer normalization", Op::LayerNormalization { axis: 2, epsilon: 0.1 }, vec![
            float("N 3 5", Any), float("5", Any), float("5", Any),
        ]),
        case("layer normalization, two axes", Op::LayerNormalization { axis: 1, epsilon: 0.1 }, vec![
            float("N 3 5", Any), float("3 5", Any),
        ]),
        unary("softmax", Op::Softmax { axis: 2 }, Any).twice(),
        unary("softmax, inner axis", Op::Softmax { axis: 1 }, Any),
        unary("log softmax", Op::LogSoftmax { axis: 2 }, Any).twice(),

        reduction("sum", Reduction::Sum, &[1], false, Any).polynomial(),
        reduction("sum over the batch", Reduction::Sum, &[0, 2], true, Any).polynomial(),
        reduction("mean", Reduction::Mean, &[1, 2], false, Any).polynomial(),
        reduction("largest", Reduction::Max, &[2], false, Distinct),
        reduction("smallest", Reduction::Min, &[1, 2], true, Distinct),
        reduction("product", Reduction::Prod, &[1], false, Any).polynomial(),
        reduction("product, two axes", Reduction::Prod, &[1, 2], true, Positive),

        unary("reshape", Op::Reshape { shape: shape("3 4N") }, Any).polynomial(),
        case("expand", Op::Expand { shape: shape("2 N 3 4") }, vec![float("N 1 4", Any)]).polynomial(),
        case("expand to the batch", Op::Expand { shape: shape("N 3 2") }, vec![float("3 1", Any)]).polynomial(),
        case("expand to a multiple of the batch", Op::Expand { shape: shape("3N 2") }, vec![float("2", Any)]).polynomial(),
        unary("transpose", Op::Transpose { perm: vec![2, 0, 1] }, Any).polynomial(),
        case("concat", Op::Concat { axis: 1 }, vec![float("N 2 3", Any), float("N 1 3", Any), float("N 4 3", Any)]).polynomial(),
        slice("slice", [1, 2], [4, 7], [1, 1]),
        slice("slice, steps", [0, 1], [5, 8], [2, 3]),
        slice("slice, steps that end before the end", [1, 0], [4, 2], [2, 1]),
        slice("slice, steps along the first axis", [0, 0], [4, 8], [3, 1]),
        slice("slice, steps along the last axis", [0, 1], [5, 6], [1, 4]),
        case("slice, steps before the batch", Op::Slice { axes: vec![0], starts: vec![1], ends: vec![5], steps: vec![2] },
            vec![float("5 N 2", Any)]).polynomial(),
        case("slice, steps along two inner axes", Op::Slice { axes: vec![1, 2], starts: vec![0, 1], ends: vec![4, 5], steps: vec![3, 2] },
            vec![float("N 4 5 2", Any)]).polynomial(),
        slice("slice backwards", [4, 6], [-1, 0], [-1, -2]),
        pad("pad", PadMode::Constant(0.5)),
        pad("pad by reflection", PadMode::Reflect),
        pad("pad by the edge", PadMode::Edge),
        case("gather", Op::Gather { axis: 1 }, vec![float("N 3 4", Any), int("2 2", &[2, 0, -1, 2])]).polynomial(),
        case("gather in another order", Op::Gather { axis: 1 }, vec![float("N 3 4", Any), int("3", &[2, 0, 1])]).polynomial(),
        case("gather some", Op::Gather { axis: 1 }, vec![float("N 4 2", Any), int("2", &[-1, 1])]).polynomial(),
        case("gather one", Op::Gather { axis: 2 }, vec![float("N 4 3", Any), int("", &[0])]).polynomial(),
        case("gather elements", Op::GatherElements { axis: 1 }, vec![
            float("2 3", Any), int("2 4", &[2, 0, 2, 1, 0, 0, 1, 2]),
        ]).polynomial(),
        case("scatter add", Op::ScatterAdd { axis: 1 }, vec![
            float("2 3", Any), int("2 4", &[2, 0, 2, 1, 0, 0, 1, 2]), float("2 4", Any),
        ]).polynomial(),
        unary("tile", Op::Tile { repeats: vec![2, 1, 3] }, Any).polynomial(),
    ]
}

/// Operators without a rule, as listed in `docs/conventions.md`.
const ZERO: &[&str] = &["Ceil", "Floor", "Round", "Sign"];
const NOT_DIFFERENTIABLE: &[&str] = &[
    "MaxPoolIndices",
    "Not",
    "And",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "Or",
    "ArgMax",
    "TopK",
];
/// The leaves, where gradients end; the operator whose gradient is intentionally not its own; and the operator that is
/// differentiated only with respect to its other input's cotangent.
const LEAVES: &[&str] = &["Input", "Constant"];
const SECOND_ORDER: &[&str] = &["MaxPoolGrad"];
const SURROGATE: &[&str] = &["StraightThrough"];

/// Returns the operator's graph, and the positions and values of its float inputs.
fn build(case: &GradCase) -> (Graph, ValueId, Vec<Tensor>) {
    let mut rng = rng(case.name);
    let mut graph = Graph::new();
    let mut values = Vec::new();
    let mut inputs = Vec::new();
    for (position, source) in case.inputs.iter().enumerate() {
        inputs.push(match source {
            Source::Float(text, domain) => {
                values.push(draw(&mut rng, &shape(text), *domain));
                graph.input(format!("x{position}"), DType::F32, shape(text))
            }
            Source::Int(text, integers) => {
                let sides = crate::testing::sides(&shape(text));
                let elements = Elements::I64(integers.clone().into());
                graph.constant(Tensor::new(sides, elements).expect("a whole tensor"))
            }
            Source::Truth(text, truths) => {
                let sides = crate::testing::sides(&shape(text));
                let elements = Elements::Bool(truths.clone().into());
                graph.constant(Tensor::new(sides, elements).expect("a whole tensor"))
            }
        });
    }
    // Shapes may depend on the batch even if no operand does.
    graph.input("batch", DType::F32, shape("N"));
    values.push(draw(&mut rng, &shape("N"), Any));
    let y = graph
        .add_named(case.name, case.op.clone(), &inputs)
        .unwrap_or_else(|error| panic!("{}: {error}", case.name));
    (graph, y, values)
}

const GRADIENT: &str = "gradient";

/// Returns the failures of a gradient of `of`. Also scales the gradient by 1.001, which the check must notice.
fn check(
    case: &GradCase,
    graph: &Graph,
    of: ValueId,
    values: &[Tensor],
    what: &str,
) -> Vec<String> {
    let mut failures = Vec::new();
    let floats = (case.inputs.iter()).filter(|source| matches!(source, Source::Float(..)));
    for wrt in 0..floats.count() {
        let mut rng = rng(&format!("{}/{wrt}", case.name));
        let slopes = match slopes(graph, of, wrt, values, case.step, &mut rng) {
            Ok(slopes) => slopes,
            Err(error) => {
                failures.push(format!("{}, input {wrt}, {what}: {error}", case.name));
                continue;
            }
        };
        let error = slopes.relative_error();
        if error.is_nan() || error > TOLERANCE {
            failures.push(format!(
                "{}, input {wrt}, {what}: {error:.1e} {slopes:?}",
                case.name
            ));
        }
        let mut scaled = slopes;
        scaled.analytic *= 1.001;
        // A gate has no gradient anywhere, and linear functions have no second derivative.
        let flat = matches!(case.op, Op::Gate { .. }) && wrt == 0 || what != GRADIENT;
        if !(flat && slopes.numeric == 0.0) && scaled.relative_error() <= TOLERANCE {
            failures.push(format!("{}, input {wrt}, {what}: is blind", case.name));
        }
    }
    failures
}

#[test]
fn gradients_agree_with_differences() {
    let failures: Vec<String> = cases()
        .iter()
        .flat_map(|case| {
            let (graph, y, values) = build(case);
            check(case, &graph, y, &values, GRADIENT)
        })
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn second_derivatives_agree_with_differences() {
    let failures: Vec<String> = cases()
        .iter()
        .filter(|case| case.twice)
        .flat_map(|case| {
            let (mut graph, y, mut values) = build(case);
            let (weighted, weights) =
                weigh(&mut graph, y, &mut rng("weights")).expect("floats multiply");
            values.push(weights);
            let first = graph.inputs()[0];
            let slope = gradient(&mut graph, weighted, &[first]).expect("there is a rule")[0];
            check(case, &graph, slope, &values, "second derivative")
        })
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_operator_has_a_case_or_is_listed() {
    let cases = cases();
    let listed = [ZERO, NOT_DIFFERENTIABLE, LEAVES, SECOND_ORDER, SURROGATE].concat();
    for name in Op::NAMES {
        let tested = cases.iter().any(|case| case.op.name() == *name);
        assert_ne!(tested, listed.contains(name), "{name}");
    }
}
