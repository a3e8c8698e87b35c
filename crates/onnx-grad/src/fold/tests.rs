//! Compares the evaluator with rten, and checks what rebuilding preserves.

use super::{Builder, fold};
use crate::{
    DType, Dim, Elements, Graph, Op, PadMode, Reduction, Tensor, ValueId, testing::Program,
};

fn ramp(shape: &[usize]) -> Tensor {
    let count: usize = shape.iter().product();
    let values: Vec<f32> = (0..count)
        .map(|at| ((at * 7 % 11) as f32 - 4.5) / 4.0)
        .collect();
    Tensor::f32(shape, values).unwrap()
}

fn integers(shape: &[usize], values: &[i64]) -> Tensor {
    Tensor::i64(shape, values).unwrap()
}

/// Every operator of the evaluator, with constants.
fn cases() -> Vec<(Op, Vec<Tensor>)> {
    let x = || ramp(&[2, 3, 4]);
    let positive = || Tensor::f32([3], [0.5, 1.0, 2.0]).unwrap();
    let whole = || integers(&[2, 3], &[7, -7, 3, 0, 5, -2]);
    let divisor = || integers(&[3], &[2, 3, -4]);
    let truth = || Tensor::bool([4], [true, false, true, true]).unwrap();
    let mut cases = Vec::new();
    for op in [
        Op::Abs,
        Op::Ceil,
        Op::Cos,
        Op::Exp,
        Op::Floor,
        Op::Neg,
        Op::Reciprocal,
        Op::Relu,
        Op::Round,
        Op::Sigmoid,
        Op::Sin,
        Op::Tanh,
        Op::Sign,
    ] {
        cases.push((op, vec![x()]));
    }
    for op in [Op::Log, Op::Sqrt] {
        cases.push((op, vec![positive()]));
    }
    for op in [Op::Abs, Op::Neg, Op::Sign] {
        cases.push((op, vec![whole()]));
    }
    for op in [
        Op::Add,
        Op::Sub,
        Op::Mul,
        Op::Div,
        Op::Max,
        Op::Min,
        Op::Equal,
        Op::Greater,
        Op::GreaterOrEqual,
        Op::Less,
        Op::LessOrEqual,
    ] {
        cases.push((op.clone(), vec![ramp(&[3, 1]), ramp(&[2, 1, 4])]));
        cases.push((op, vec![whole(), divisor()]));
    }
    cases.push((Op::Mod, vec![whole(), divisor()]));
    cases.push((Op::Pow, vec![positive(), ramp(&[2, 3])]));
    cases.push((Op::Not, vec![truth()]));
    for op in [Op::And, Op::Or] {
        cases.push((op, vec![truth(), Tensor::bool([1], [false]).unwrap()]));
    }
    cases.push((Op::Where, vec![truth(), x(), ramp(&[3, 1])]));
    cases.push((Op::MatMul, vec![ramp(&[2, 1, 3, 4]), ramp(&[5, 4, 2])]));
    for to in [DType::F32, DType::I64, DType::Bool] {
        // rten truncates a float before it tests for zero; ONNX does not.
        if to != DType::Bool {
            cases.push((Op::Cast { to }, vec![x()]));
        }
        cases.push((Op::Cast { to }, vec![whole()]));
        cases.push((Op::Cast { to }, vec![truth()]));
    }
    for kind in [
        Reduction::Sum,
        Reduction::Mean,
        Reduction::Max,
        Reduction::Min,
        Reduction::Prod,
    ] {
        for keep_dims in [false, true] {
            let axes = vec![0, 2];
            cases.push((
                Op::Reduce {
                    kind,
                    axes,
                    keep_dims,
                },
                vec![x()],
            ));
        }
        let op = Op::Reduce {
            kind,
            axes: vec![1],
            keep_dims: false,
        };
        if kind != Reduction::Mean {
            cases.push((op, vec![whole()]));
        }
    }
    let fixed = |sides: &[usize]| sides.iter().map(|&side| Dim::Fixed(side)).collect();
    cases.push((
        Op::Reshape {
            shape: fixed(&[4, 6]),
        },
        vec![x()],
    ));
    cases.push((
        Op::Expand {
            shape: fixed(&[2, 3, 4]),
        },
        vec![ramp(&[3, 1])],
    ));
    cases.push((
        Op::Transpose {
            perm: vec![2, 0, 1],
        },
        vec![x()],
    ));
    cases.push((Op::Concat { axis: 1 }, vec![x(), ramp(&[2, 1, 4]), x()]));
    let slice = Op::Slice {
        axes: vec![2, 0],
        starts: vec![3, 1],
        ends: vec![-1, 2],
        steps: vec![-2, 1],
    };
    cases.push((slice, vec![x()]));
    for mode in [PadMode::Constant(0.5), PadMode::Reflect, PadMode::Edge] {
        let (before, after) = (vec![0, 1, 2], vec![0, 2, 1]);
        cases.push((
            Op::Pad {
                mode,
                before,
                after,
            },
            vec![x()],
        ));
    }
    cases.push((
        Op::Gather { axis: 1 },
        vec![x(), integers(&[2, 2], &[2, 0, 1, -1])],
    ));
    cases.push((
        Op::GatherElements { axis: 0 },
        vec![whole(), integers(&[1, 3], &[1, 0, -1])],
    ));
    cases.push((
        Op::Tile {
            repeats: vec![1, 2, 3],
        },
        vec![x()],
    ));
    cases
}

#[test]
fn evaluator_agrees_with_an_engine() {
    for (op, constants) in cases() {
        let mut builder = Builder::default();
        let ids: Vec<ValueId> = constants
            .iter()
            .map(|tensor| builder.constant("", tensor.clone()))
            .collect();
        let id = builder.add("case", op.clone(), &ids).unwrap();
        let folded = builder.graph().as_constant(id);
        let folded = folded
            .unwrap_or_else(|| panic!("{op:?} is not folded"))
            .clone();

        let mut graph = Graph::new();
        let inputs: Vec<ValueId> = constants
            .iter()
            .enumerate()
            .map(|(at, tensor)| {
                let shape = tensor
                    .shape()
                    .iter()
                    .map(|&side| Dim::Fixed(side))
                    .collect();
                graph.input(format!("x{at}"), tensor.dtype(), shape)
            })
            .collect();
        let y = graph.add(op.clone(), &inputs).unwrap();
        graph.output("y", y);
        let wanted = Program::new(&graph).run(&constants).remove(0);
        assert_eq!(folded.shape(), wanted.shape(), "{op:?}");
        match (folded.elements(), wanted.elements()) {
            (Elements::F32(got), Elements::F32(want)) => {
                for (got, want) in got.iter().zip(want.iter()) {
                    assert!(
                        (got - want).abs() <= 1e-6 * want.abs().max(1.0),
                        "{op:?}: {got} for {want}"
                    );
                }
            }
            (got, want) => assert_eq!(got, want, "{op:?}"),
        }
    }
}

#[test]
fn arithmetic_without_a_result_stays_in_the_graph() {
    let mut builder = Builder::default();
    let one = builder.constant("", Tensor::vector(&[i64::MIN]));
    let zero = builder.constant("", Tensor::vector(&[0]));
    for op in [Op::Div, Op::Mod] {
        let id = builder.add("", op, &[one, zero]).unwrap();
        assert!(builder.graph().as_constant(id).is_none());
    }
    let id = builder.add("", Op::Neg, &[one]).unwrap();
    assert!(builder.graph().as_constant(id).is_none());
}

#[test]
fn weights_are_not_shared_but_other_constants_are() {
    let mut graph = Graph::new();
    let x = graph.input("x", DType::F32, vec![Dim::Batch(1), Dim::Fixed(2)]);
    let unused = graph.input("unused", DType::F32, vec![Dim::Fixed(1)]);
    let ones = || Tensor::f32([2], [2.0, 2.0]).unwrap();
    let mut y = x;
    for name in ["a", "b", "", ""] {
        let weight = graph.named_constant(name, ones());
        y = graph.add(Op::Mul, &[y, weight]).unwrap();
    }
    graph.output("y", y);
    let folded = fold(&graph).unwrap();
    let constants: Vec<&str> = folded
        .nodes()
        .iter()
        .filter(|node| matches!(node.op, Op::Constant(_)))
        .map(|node| node.name.as_str())
        .collect();
    assert_eq!(constants, ["a", "b", ""]);
    assert_eq!(folded.inputs().len(), 2);
    assert_eq!(
        folded.node(folded.inputs()[1]).name,
        graph.node(unused).name
    );
}

#[test]
fn signed_zeros_are_different_constants() {
    let mut builder = Builder::default();
    let (plus, minus) = (builder.scalar(0.0), builder.scalar(-0.0));
    assert_ne!(plus, minus);
    assert_eq!(plus, builder.scalar(0.0));
    assert_eq!(builder.scalar(f32::NAN), builder.scalar(f32::NAN));
}

#[test]
fn folding_twice_changes_nothing() {
    let mut graph = Graph::new();
    let x = graph.input(
        "x",
        DType::F32,
        vec![Dim::Batch(1), Dim::Fixed(3), Dim::Fixed(4), Dim::Fixed(4)],
    );
    let convolution = crate::Convolution {
        strides: vec![1, 1],
        pads_before: vec![0, 0],
        pads_after: vec![0, 0],
        dilations: vec![1, 1],
        groups: 1,
    };
    let weight = graph.named_constant("w", ramp(&[2, 3, 3, 3]));
    let y = graph.add(Op::Conv(convolution), &[x, weight]).unwrap();
    let parameters: Vec<ValueId> = ["gamma", "beta", "mean", "variance"]
        .map(|name| graph.named_constant(name, Tensor::f32([2], [0.5, 2.0]).unwrap()))
        .to_vec();
    let inputs = [&[y], &parameters[..]].concat();
    let y = graph
        .add(Op::BatchNormalization { epsilon: 1e-5 }, &inputs)
        .unwrap();
    graph.output("y", y);
    let once = fold(&graph).unwrap();
    let twice = fold(&once).unwrap();
    let print = |graph: &Graph| format!("{:?}", graph.nodes());
    assert_eq!(print(&once), print(&twice));
    let names: Vec<&str> = once.nodes().iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["x", "w", "beta", ""]);

    let picture = ramp(&[2, 3, 4, 4]);
    let (want, got) = (Program::new(&graph), Program::new(&once));
    let (want, got) = (
        want.run(std::slice::from_ref(&picture)).remove(0),
        got.run(std::slice::from_ref(&picture)).remove(0),
    );
    for (got, want) in got.as_f32().unwrap().iter().zip(want.as_f32().unwrap()) {
        assert!((got - want).abs() < 1e-5, "{got} for {want}");
    }
}
