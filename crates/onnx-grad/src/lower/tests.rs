use super::*;
use crate::{
    Pool, gradient,
    testing::{Program, floats},
};

const KINDS: [Lowering; 2] = [Lowering::Portable, Lowering::OnnxRuntime];

fn pool(kernel: usize, stride: usize, dilation: usize) -> Pool {
    Pool {
        kernel: vec![kernel],
        strides: vec![stride],
        pads_before: vec![0],
        pads_after: vec![0],
        dilations: vec![dilation],
        ceil_extra: vec![0],
    }
}

fn row(values: &[f32]) -> Tensor {
    Tensor::f32([1, 1, values.len()], values).expect("a row")
}

/// Applies the operator to a row `[1, 1, L]`.
fn of_row(op: Op, values: &[f32]) -> Tensor {
    let mut graph = Graph::new();
    let shape = [1, 1, values.len()].map(Dim::Fixed);
    let x = graph.input("x", DType::F32, shape.to_vec());
    let y = graph.add(op, &[x]).expect("the operator fits");
    graph.output("y", y);
    Program::new(&graph).run(&[row(values)]).remove(0)
}

#[test]
fn edges_of_elementwise_operators() {
    let cases: [(Op, &[f32], &[f32]); 6] = [
        (Op::Sign, &[-2.0, 0.0, 3.0], &[-1.0, 0.0, 1.0]),
        (Op::Round, &[0.5, 1.5, 2.5, -0.5], &[0.0, 2.0, 2.0, 0.0]),
        (Op::Floor, &[-0.5, 2.0], &[-1.0, 2.0]),
        (Op::Ceil, &[-0.5, 2.5], &[0.0, 3.0]),
        (Op::Softplus, &[-200.0, 200.0], &[0.0, 200.0]),
        (Op::Relu, &[-1.0, 0.0, 2.0], &[0.0, 0.0, 2.0]),
    ];
    for (op, x, expected) in cases {
        assert_eq!(floats(&of_row(op.clone(), x)), expected, "{op}");
    }
}

#[test]
fn every_number_but_zero_is_true() {
    let truths = of_row(Op::Cast { to: DType::Bool }, &[0.25, 0.0, -0.5, -0.0, 3.0]);
    let expected = [true, false, true, false, true];
    assert_eq!(truths.as_bool(), Some(&expected[..]));
}

#[test]
fn softplus_is_exact_to_rounding_down_to_the_smallest_values() {
    let x: Vec<f32> = (-800..=800).map(|step| step as f32 / 10.0).collect();
    for (y, &x) in floats(&of_row(Op::Softplus, &x)).iter().zip(&x) {
        let x = f64::from(x);
        let expected = x.max(0.0) + (-x.abs()).exp().ln_1p();
        let error = (f64::from(*y) - expected).abs() / expected;
        assert!(error < 5e-7, "softplus({x}) = {y}, not {expected}");
    }
}

#[test]
fn spellings_for_onnx_runtime_mean_the_same() {
    let x = [-3.0, -0.5, 0.0, 0.25, 2.0];
    let mean = Op::Reduce {
        kind: Reduction::Mean,
        axes: vec![1, 2],
        keep_dims: true,
    };
    let sum = Op::Reduce {
        kind: Reduction::Sum,
        axes: vec![2],
        keep_dims: false,
    };
    for op in [Op::Elu { alpha: 0.7 }, mean, sum] {
        let mut graph = Graph::new();
        let input = graph.input("x", DType::F32, [1, 1, 5].map(Dim::Fixed).to_vec());
        let y = graph.add(op.clone(), &[input]).expect("the operator fits");
        graph.output("y", y);
        let spelled = lower(&graph, Lowering::OnnxRuntime).expect("it can be spelled");
        let by_name = |node: &Node| node.op.name() == op.name();
        assert!(!spelled.nodes().iter().any(by_name), "{op}");
        let [expected, found] =
            [&graph, &spelled].map(|graph| Program::new(graph).run(&[row(&x)]).remove(0));
        assert_eq!(expected.shape(), found.shape(), "{op}");
        for (expected, found) in floats(&expected).iter().zip(floats(&found)) {
            assert!(
                (expected - found).abs() < 1e-6,
                "{op}: {found} for {expected}"
            );
        }
    }
}

#[test]
fn of_equal_maxima_the_first_has_the_index() {
    for keep_dims in [false, true] {
        let index = of_row(Op::ArgMax { axis: 2, keep_dims }, &[1.0, 3.0, 3.0, 2.0]);
        assert_eq!(index.as_i64(), Some(&[1][..]));
        assert_eq!(index.shape().len(), if keep_dims { 3 } else { 2 });
    }
}

#[test]
fn pooling_with_dilations() {
    let values = [5.0, 1.0, 2.0, 8.0, 3.0];
    let largest = of_row(Op::MaxPool(pool(2, 1, 2)), &values);
    assert_eq!(floats(&largest), [5.0, 8.0, 3.0]);
    let average = Op::AveragePool {
        pool: pool(2, 1, 2),
        count_include_pad: false,
    };
    assert_eq!(floats(&of_row(average, &values)), [3.5, 4.5, 2.5]);
}

#[test]
fn padding_counts_in_averages_but_what_ceil_mode_adds_does_not() {
    let mut pool = pool(2, 2, 1);
    pool.pads_before = vec![1];
    pool.pads_after = vec![1];
    pool.ceil_extra = vec![1];
    for (count_include_pad, expected) in [(true, [2.0, 5.0, 4.0]), (false, [4.0, 5.0, 4.0])] {
        let average = Op::AveragePool {
            pool: pool.clone(),
            count_include_pad,
        };
        // Windows: [pad, 4], [6, 4], [4, extra].
        assert_eq!(floats(&of_row(average, &[4.0, 6.0, 4.0, 4.0])), expected);
    }
}

#[test]
fn only_what_the_outputs_need_is_left_and_composites_are_gone() -> Result<()> {
    let mut graph = Graph::new();
    let shape = [Dim::Batch(1), Dim::Fixed(2), Dim::Fixed(8)];
    let x = graph.input("x", DType::F32, shape.to_vec());
    let unused = graph.input("unused", DType::I64, Vec::new());
    graph.add(Op::Exp, &[x])?;
    let weight = Tensor::f32([2, 2, 3], vec![0.5; 12])?;
    let weight = graph.named_constant("weight", weight);
    let convolution = Convolution {
        strides: vec![1],
        pads_before: vec![1],
        pads_after: vec![1],
        dilations: vec![1],
        groups: 1,
    };
    let conv = graph.add(Op::Conv(convolution), &[x, weight])?;
    let relu = graph.add(Op::Relu, &[conv])?;
    let pooled = graph.add(Op::MaxPool(pool(3, 2, 1)), &[relu])?;
    let y = graph.add(Op::Gelu { tanh: false }, &[pooled])?;
    for (name, id) in ["gx", "gw"]
        .into_iter()
        .zip(gradient(&mut graph, y, &[x, weight])?)
    {
        graph.output(name, id);
    }
    for kind in KINDS {
        let lowered = lower(&graph, kind)?;
        assert_eq!(
            lowered.inputs().len(),
            2,
            "{:?} stays",
            graph.node(unused).name
        );
        let composite = |op: &Op| {
            matches!(
                op,
                Op::Gate { .. } | Op::MaxPoolGrad(_) | Op::ConvWeightGrad { .. } | Op::Gelu { .. }
            )
        };
        assert!(!lowered.nodes().iter().any(|node| composite(&node.op)));
        let exps = lowered.nodes().iter().filter(|node| node.op == Op::Exp);
        assert_eq!(exps.count(), 1, "the slope of Gelu has one");
    }
    Ok(())
}

#[test]
fn a_step_has_no_float_on_its_ramp() {
    for edge in [0.0_f32, 1e-3, 1.0, 6.0, -0.7, 255.0, 1e30] {
        for direction in [1.0, -1.0] {
            let mut graph = Graph::new();
            let y = graph.input("y", DType::F32, Vec::new());
            let id = Tape::record(&mut graph, |tape| {
                Ok(step(tape.value(y), edge, direction).id)
            });
            let op = &graph.node(id.expect("a step is an operator")).op;
            let &Op::HardSigmoid { alpha, beta } = op else {
                panic!("{op}");
            };
            let at = |y: f32| (alpha * y + beta).clamp(0.0, 1.0);
            let (below, above) = if direction > 0.0 {
                (0.0, 1.0)
            } else {
                (1.0, 0.0)
            };
            assert_eq!(at(edge), 0.0, "{edge}");
            let smallest = f32::MIN_POSITIVE;
            let (next_down, next_up) = if edge == 0.0 {
                (-smallest, smallest)
            } else {
                (edge.next_down(), edge.next_up())
            };
            assert_eq!((at(next_down), at(next_up)), (below, above), "{edge}");
            assert_eq!((at(f32::MIN), at(f32::MAX)), (below, above), "{edge}");
        }
    }
}

#[test]
fn windows_too_large_to_write_out_are_refused() -> Result<()> {
    let mut graph = Graph::new();
    let x = graph.input("x", DType::F32, [1, 1, 4000].map(Dim::Fixed).to_vec());
    let y = graph.add(Op::MaxPool(pool(2000, 1, 1)), &[x])?;
    let gradient = gradient(&mut graph, y, &[x])?;
    graph.output("g", gradient[0]);
    let error = lower(&graph, Lowering::Portable).unwrap_err();
    assert!(error.to_string().contains("windows of [2000]"), "{error}");
    Ok(())
}

#[test]
fn quotients_are_exact_where_they_are_rounded() {
    // Multiplied by the reciprocal of 0.009803922, which is 102, the first element would be 127.5, which rounds to 128.
    let scale = 2.5_f32 / 255.0;
    let values: Vec<f32> = (0..400).map(|at| 1.25 + at as f32 * scale * 0.5).collect();
    for shape in [vec![1, 400], vec![400, 1]] {
        let mut graph = Graph::new();
        let dims = shape
            .iter()
            .map(|&side| Dim::Fixed(side))
            .collect::<Vec<_>>();
        let x = graph.input("x", DType::F32, dims);
        let by = graph.constant(Tensor::scalar(scale));
        let quotient = graph.add(Op::Div, &[x, by]).unwrap();
        let shifted = graph.add(Op::Add, &[quotient, by]).unwrap();
        for (name, of) in [("a", quotient), ("b", shifted)] {
            let rounded = graph.add(Op::Round, &[of]).unwrap();
            graph.output(name, rounded);
        }
        let x = Tensor::f32(shape, values.clone()).unwrap();
        let found = Program::new(&graph).run(&[x]);
        let exact = values.iter().map(|value| value / scale);
        let expected: Vec<f32> = exact.clone().map(f32::round_ties_even).collect();
        assert_eq!(floats(&found[0]), expected);
        let expected: Vec<f32> = exact
            .map(|value| (value + scale).round_ties_even())
            .collect();
        assert_eq!(floats(&found[1]), expected);
    }
    let mut graph = Graph::new();
    let x = graph.input("x", DType::F32, vec![Dim::Fixed(1)]);
    let by = graph.constant(Tensor::scalar(scale));
    let quotient = graph.add(Op::Div, &[x, by]).unwrap();
    let floor = graph.add(Op::Round, &[quotient]).unwrap();
    graph.output("y", floor);
    let x = Tensor::f32([1], vec![1.25]).unwrap();
    assert_eq!(floats(&Program::new(&graph).run(&[x])[0]), [127.0]);
}
