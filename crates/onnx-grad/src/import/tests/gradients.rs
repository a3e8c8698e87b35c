//! Compares gradients of operators that the import expresses by others with finite differences.

use super::bytes;
use crate::{
    Tensor,
    import::parse,
    testing::{Domain, Program, draw, rng, shape, slopes},
};
use Domain::{Any, AwayFromZero, Distinct, Near, Positive};

/// As for the rules: rounding over the step takes a tenth of it.
const TOLERANCE: f64 = 3e-4;
/// Step for functions with curvature.
const SHORT: f32 = 0.03;
/// Step for linear functions.
const LONG: f32 = 0.5;

#[rustfmt::skip] // A table reads by its columns.
const CASES: &[(i64, &str, Domain, f32, &str)] = &[
    (13, "N 4", Near(0.2), SHORT, "y = Asin(x)"),
    (13, "N 4", Near(-0.3), SHORT, "y = Acos(x)"),
    (13, "N 4", Near(0.5), SHORT, "y = Tan(x)"),
    (13, "N 4", Any, SHORT, "y = Sinh(x)"),
    (13, "N 4", Any, SHORT, "y = Cosh(x)"),
    (13, "N 4", Any, SHORT, "y = Asinh(x)"),
    (13, "N 4", Near(3.0), SHORT, "y = Acosh(x)"),
    (13, "N 4", Near(0.3), SHORT, "y = Atanh(x)"),
    (13, "N 4", AwayFromZero, SHORT, "y = Celu(x) alpha=0.7"),
    (13, "N 4", AwayFromZero, SHORT, "y = Selu(x)"),
    (13, "N 4", AwayFromZero, SHORT, "y = Softsign(x)"),
    (18, "N 4", Any, SHORT, "y = Mish(x)"),
    (23, "N 4", Any, SHORT, "y = Swish(x) alpha=0.7"),
    (13, "N 4", AwayFromZero, SHORT, "y = PRelu(x, {4: 0.1 0.2 0.3 0.4})"),
    (13, "N 8", Distinct, SHORT, "y = ThresholdedRelu(x) alpha=0.6"),
    (13, "N 8", Distinct, SHORT, "y = Shrink(x) lambd=0.6 bias=0.25"),
    (13, "N 3 4", Any, SHORT, "y = ReduceLogSumExp(x) axes=2, keepdims=0"),
    (13, "N 3 4", AwayFromZero, SHORT, "y = ReduceL1(x) axes=2,"),
    (13, "N 3 4", Positive, SHORT, "y = ReduceL2(x) axes=1,2"),
    (13, "N 3 4", Positive, SHORT, "y = ReduceLogSum(x) axes=1,"),
    (13, "N 3 4", Any, LONG, "y = CumSum(x, 1)"),
    (13, "N 3 4", Any, LONG, "y = CumSum(x, 2) exclusive=1 reverse=1"),

    (13, "N 5 2 3", Any, SHORT, "y = LRN(x) size=3 alpha=0.9 beta=0.6 bias=1.5"),
    (13, "N 2 3", AwayFromZero, SHORT, "y = LpNormalization(x) p=1"),
    (13, "N 2 3", AwayFromZero, SHORT, "y = LpNormalization(x) axis=1"),
    (13, "N 1 4 4", Positive, SHORT, "y = LpPool(x) kernel_shape=2,2 strides=2,2"),
    (18, "N 1 5 4", Positive, SHORT, "y = LpPool(x) kernel_shape=3,2 pads=1,0,1,1 p=3"),
    (13, "N 2 3 2", Positive, SHORT, "y = GlobalLpPool(x)"),
    (13, "N 2 3 2", Any, SHORT, "y = MeanVarianceNormalization(x) axes=2,3"),
    (13, "N 2 3 2", Any, SHORT, "y = InstanceNormalization(x, {2: 1 2}, {2: 0.5 0}) epsilon=0.1"),
    (18, "N 4 3", Any, SHORT, "y = GroupNormalization(x, {2: 1 2}, {2: 0.5 0}) num_groups=2 epsilon=0.1"),
    (21, "N 4 3", Any, SHORT, "y = GroupNormalization(x, {4: 1 2 3 1}, {4: 0.5 0 1 1}) num_groups=2 epsilon=0.1"),
    (23, "N 2 4", Any, SHORT, "y = RMSNormalization(x, {4: 1 2 0.5 1}) epsilon=0.1"),

    (13, "N 5", Distinct, SHORT, "y, i = TopK(x, [3])"),
    (13, "N 3 4", Distinct, SHORT, "y, i = TopK(x, [2]) axis=1 largest=0"),
    (14, "N 3 4", Any, LONG, "y = Trilu(x, 1) upper=0"),
    (18, "N 8 6", Any, LONG, "y = Col2Im(x, [5 4], [2 2]) strides=2,1"),
    (18, "N 5 3", Any, LONG, "y = CenterCropPad(x, [2 4]) axes=1,2"),
    (19, "N 4", Any, LONG, "y = Pad(x, [2 1], , [-1]) mode=wrap"),
    (13, "N 4 2 2", Any, LONG, "y = DepthToSpace(x) blocksize=2"),
    (13, "N 1 4 2", Any, LONG, "y = SpaceToDepth(x) blocksize=2"),
    (16, "2 3", Any, LONG, "y = ScatterElements(x, [2 2: 0 2 1 0], {2 2: 9 8 7 6}) axis=1"),
    (16, "2 2", Any, LONG, "y = ScatterElements({2 3: 1 2 3 4 5 6}, [2 2: 0 0 1 -1], x) axis=1 reduction=add"),
    (16, "2 2", Any, LONG, "y = ScatterElements({2 3: 1 2 3 4 5 6}, [2 2: 0 2 1 -1], x) axis=1 reduction=mul"),
    (16, "3 4", Any, LONG, "y = ScatterND(x, [2 1: 2 0], {2 4: 9 8 7 6 5 4 3 2})"),
    (16, "3", Any, LONG, "y = ScatterND({3 2: 1 2 3 4 5 6}, [3 2: 2 0 0 -1 1 1], x)"),
    (13, "2 3 4", Any, LONG, "y = GatherND(x, [3 2: 1 2 0 -1 1 2])"),
    (12, "2 3 4", Any, LONG, "y = GatherND(x, [2 2 2: 1 2 0 0 2 3 1 1]) batch_dims=1"),

    (9, "N 1 2 2", Any, LONG, "y = Upsample(x, {1 1 2 3}) mode=nearest"),
    (13, "N 1 3 3", Any, LONG, "y = Resize(x, , {1 1 1.7 2.3}) mode=nearest"),
    (13, "N 1 5 5", Any, LONG, "y = Resize(x, , {1 1 0.4 0.7}) mode=nearest"),
    (13, "N 2 4 3", Any, LONG, "y = Resize(x, , {1 1 0.6 1.5}) mode=linear"),
    (13, "N 2 4 3", Any, LONG, "y = Resize(x, , {1 2 1 1.5}) mode=linear"),
    (13, "N 1 4 4", Any, LONG, "y = Resize(x, , {1 1 2 0.8}) mode=cubic"),
    (18, "N 1 6 5", Any, LONG, "y = Resize(x, , {0.5 0.6}) mode=cubic antialias=1 axes=2,3"),
    (13, "N 1 2 10", Any, LONG, "y = Resize(x, , {1 1 1 0.7}) mode=linear coordinate_transformation_mode=pytorch_half_pixel"),
    (13, "N 1 2 20", Any, LONG, "y = Resize(x, , {1 1 1 1.2}) mode=nearest coordinate_transformation_mode=asymmetric nearest_mode=floor"),
    (10, "N 1 2 10", Any, LONG, "y = Resize(x, {1 1 1 0.6}) mode=nearest"),
    (13, "N 1 2 4", Any, LONG, "y = Resize(x, {0 0 -0.5 0.25 1 1 1 1.75}, {1 1 1.5 0.8}) mode=linear coordinate_transformation_mode=tf_crop_and_resize extrapolation_value=-7.0"),

    (13, "N 3", Any, LONG, "y = Einsum(x, {3 2: 1 2 3 4 5 6}) equation=ij,jk->ik"),
    (13, "N 3 3", Any, LONG, "y = Einsum(x) equation=bii->b"),
    (13, "N 2 3", Any, LONG, "y = Einsum(x, x) equation=bij,bkj->bik"),
    (13, "N 2 3", Any, LONG, "y = Einsum(x, {2: 1 2}, {3 2: 1 0 2 0 3 1}) equation=bij,i,jk->bk"),
    (23, "N 3 4", Any, SHORT, "y = Attention(x, x, x) q_num_heads=2 kv_num_heads=2 is_causal=1"),
    (23, "N 4 2 3", Any, SHORT, "k = Slice(x, [0], [2], [1]); y = Attention(x, k, k, {2 2: 0 1 -1 0}) softcap=0.8"),

    (16, "2 2 3 3", Any, LONG, "y = GridSample(x, {2 1 2 2: -0.9 0.3 1.1 0.2 0.6 0.5 -0.2 1.4}) padding_mode=reflection"),
    (16, "2 2 3 3", Any, LONG, "y = GridSample(x, {2 1 2 2: -0.9 0.3 1.1 0.2 0.6 0.5 -0.2 1.4}) mode=bicubic"),
    (16, "2 2 2 2", Near(0.6), SHORT, "y = GridSample({2 1 4 4: 1 5 2 7 3 9 4 1 2 8 6 5 7 3 1 2 4 6 9 1 5 2 7 3 1 8 2 6 4 9 5 3}, x) align_corners=1"),
    (16, "2 2 2 2", Near(0.5), SHORT, "y = GridSample({2 1 4 4: 1 5 2 7 3 9 4 1 2 8 6 5 7 3 1 2 4 6 9 1 5 2 7 3 1 8 2 6 4 9 5 3}, x) mode=bicubic padding_mode=border"),
];

#[test]
fn gradients_of_what_is_written_in_other_operators_agree_with_differences() {
    let mut wrong = Vec::new();
    for &(opset, input, domain, step, nodes) in CASES {
        let loaded = parse(&bytes(opset, input, nodes), None)
            .unwrap_or_else(|error| panic!("{nodes}: {error}"));
        let mut rng = rng(nodes);
        let x = draw(&mut rng, &shape(input), domain);
        let y = loaded.graph.outputs()[0].1;
        match slopes(&loaded.graph, y, 0, &[x], step, &mut rng) {
            Ok(found) if found.relative_error() <= TOLERANCE => {
                let scaled = crate::testing::Slopes {
                    analytic: found.analytic * 1.001,
                    ..found
                };
                if scaled.relative_error() <= TOLERANCE {
                    wrong.push(format!("{nodes}: is blind"));
                }
            }
            Ok(found) => wrong.push(format!("{nodes}: {:.1e} {found:?}", found.relative_error())),
            Err(error) => wrong.push(format!("{nodes}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn quantised_products_have_the_gradients_of_float_ones() {
    let gradient = |nodes: &str| {
        let mut graph = parse(&bytes(13, "N 1 4", nodes), None).unwrap().graph;
        let (x, y) = (graph.inputs()[0], graph.outputs()[0].1);
        let slope = crate::gradient(&mut graph, y, &[x]).unwrap()[0];
        graph.clear_outputs();
        graph.output("slope", slope);
        let x = Tensor::f32([1, 1, 4], vec![-0.53, 0.11, 0.72, 1.04]).unwrap();
        Program::new(&graph).run(&[x])[0].as_f32().unwrap().to_vec()
    };
    let quantised = "q = QuantizeLinear(x, 0.01, u8[: 100])";
    for (rest, floats) in [
        (
            "c = ConvInteger(q, i8[1 1 3: 3 -2 5], u8[: 100]) pads=1,1; y = Cast(c) to=1",
            "k = Mul(x, 100.0); y = Conv(k, {1 1 3: 3 -2 5}) pads=1,1",
        ),
        (
            "c = MatMulInteger(q, i8[4 2: 1 -2 3 4 -5 6 7 9], u8[: 100]); y = Cast(c) to=1",
            "k = Mul(x, 100.0); y = MatMul(k, {4 2: 1 -2 3 4 -5 6 7 9})",
        ),
        (
            "c = QLinearConv(q, 0.01, u8[: 100], i8[1 1 3: 3 -2 5], 0.1, i8[: 0], 0.02, u8[: 120]); \
             y = DequantizeLinear(c, 0.02, u8[: 120])",
            "y = Conv(x, {1 1 3: 0.3 -0.2 0.5})",
        ),
        (
            "c = com.microsoft.QLinearAdd(q, 0.01, u8[: 100], q, 0.01, u8[: 100], 0.04, u8[: 60]); \
             y = DequantizeLinear(c, 0.04, u8[: 60])",
            "y = Add(x, x)",
        ),
    ] {
        let found = gradient(&format!("{quantised}; {rest}"));
        let expected = gradient(floats);
        let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-4 * b.abs().max(1.0);
        assert!(
            found.iter().zip(&expected).all(near),
            "{rest}: {found:?}, {expected:?}"
        );
    }
}
