//! One test for each line of `docs/conventions.md`. The expected numbers come from PyTorch 2.15.

use crate::{
    Dim, Graph, Op, Pool, Reduction, Tensor, gradient,
    op::Op::*,
    testing::{Program, floats},
};

/// Returns the gradients of the sum of an operator's output with respect to vectors of the same length.
fn gradients(op: Op, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
    let mut graph = Graph::new();
    let mut values = Vec::new();
    for (position, input) in inputs.iter().enumerate() {
        let shape = vec![Dim::Fixed(input.len())];
        graph.input(format!("x{position}"), crate::DType::F32, shape);
        values.push(Tensor::f32([input.len()], *input).expect("a vector"));
    }
    let inputs = graph.inputs().to_vec();
    let y = graph.add(op, &inputs).expect("the operator fits");
    for (position, id) in (0..).zip(gradient(&mut graph, y, &inputs).expect("there is a rule")) {
        graph.output(format!("g{position}"), id);
    }
    let gradients = Program::new(&graph).run(&values);
    gradients.iter().map(|g| floats(g).to_vec()).collect()
}

fn unary(op: Op, x: &[f32], expected: &[f32]) {
    assert_eq!(gradients(op, &[x]), [expected]);
}

#[test]
fn relu_is_flat_at_zero() {
    unary(Relu, &[-1.0, 0.0, 1.0], &[0.0, 0.0, 1.0]);
}

#[test]
fn leaky_relu_takes_the_negative_side_at_zero() {
    unary(
        LeakyRelu { alpha: 0.1 },
        &[-1.0, 0.0, 1.0],
        &[0.1, 0.1, 1.0],
    );
}

#[test]
fn elu_takes_the_negative_side_at_zero() {
    unary(Elu { alpha: 0.5 }, &[0.0, 1.0], &[0.5, 1.0]);
}

#[test]
fn absolute_value_is_flat_at_zero() {
    unary(Abs, &[-1.0, 0.0, 1.0], &[-1.0, 0.0, 1.0]);
}

#[test]
fn square_root_is_infinitely_steep_at_zero() {
    unary(Sqrt, &[0.0, 4.0], &[f32::INFINITY, 0.25]);
}

#[test]
fn clip_is_flat_at_its_edges() {
    let clip = Clip {
        min: -1.0,
        max: 6.0,
    };
    unary(
        clip,
        &[-2.0, -1.0, 0.0, 5.999_999_5, 6.0, 7.0],
        &[0.0, 0.0, 1.0, 1.0, 0.0, 0.0],
    );
}

#[test]
fn hard_sigmoid_is_flat_at_its_edges() {
    let (alpha, beta) = (0.25, 0.5);
    unary(
        HardSigmoid { alpha, beta },
        &[-2.0, 0.0, 2.0],
        &[0.0, 0.25, 0.0],
    );
}

#[test]
fn hard_swish_takes_the_outer_side_at_its_edges() {
    unary(
        HardSwish,
        &[-4.0, -3.0, 0.0, 3.0, 4.0],
        &[0.0, 0.0, 0.5, 1.0, 1.0],
    );
}

#[test]
fn steps_have_zero_gradient() {
    for op in [Sign, Floor, Ceil, Round] {
        unary(op, &[-1.0, 0.0, 0.5], &[0.0; 3]);
    }
}

#[test]
fn equal_maxima_and_minima_take_half_each() {
    let (a, b): (&[f32], &[f32]) = (&[1.0, 2.0, 3.0], &[2.0; 3]);
    assert_eq!(gradients(Max, &[a, b]), [[0.0, 0.5, 1.0], [1.0, 0.5, 0.0]]);
    assert_eq!(gradients(Min, &[a, b]), [[1.0, 0.5, 0.0], [0.0, 0.5, 1.0]]);
}

#[test]
fn equal_extremes_of_a_reduction_share_alike() {
    let extreme = |kind| Reduce {
        kind,
        axes: vec![0],
        keep_dims: false,
    };
    unary(extreme(Reduction::Max), &[1.0, 3.0, 3.0], &[0.0, 0.5, 0.5]);
    unary(extreme(Reduction::Min), &[3.0, 1.0, 1.0], &[0.0, 0.5, 0.5]);
}

#[test]
fn a_product_is_differentiated_through_zeros() {
    let product = || Reduce {
        kind: Reduction::Prod,
        axes: vec![0],
        keep_dims: false,
    };
    unary(product(), &[0.0, 3.0, 2.0], &[6.0, 0.0, 0.0]);
    unary(product(), &[0.0, 0.0, 2.0], &[0.0, 0.0, 0.0]);
}

#[test]
fn power_at_zero() {
    let gradients = gradients(Pow, &[&[0.0, 0.0, 0.0, 2.0], &[0.0, 1.0, 2.0, 0.0]]);
    assert_eq!(gradients[0], [0.0, 1.0, 0.0, 0.0]);
    assert_eq!(gradients[1], [0.0, 0.0, 0.0, std::f32::consts::LN_2]);
}

#[test]
fn remainder_keeps_the_dividend_and_steps_with_the_divisor() {
    let gradients = gradients(Mod, &[&[5.0, -5.0], &[3.0, 3.0]]);
    assert_eq!(gradients, [[1.0, 1.0], [-1.0, 1.0]]);
}

#[test]
fn max_pool_gives_all_to_the_first_maximum() {
    // One window with ties, then overlapping windows that share a maximum.
    for (kernel, stride, x, expected) in [
        (3, 3, vec![1.0, 2.0, 2.0], vec![0.0, 1.0, 0.0]),
        (
            3,
            2,
            vec![0.0, 1.0, 1.0, 1.0, 0.0],
            vec![0.0, 1.0, 1.0, 0.0, 0.0],
        ),
        (
            3,
            1,
            vec![0.0, 0.0, 5.0, 0.0, 0.0],
            vec![0.0, 0.0, 3.0, 0.0, 0.0],
        ),
    ] {
        let shape = [1, 1, 1, x.len()];
        let pool = Pool {
            kernel: vec![1, kernel],
            strides: vec![1, stride],
            pads_before: vec![0; 2],
            pads_after: vec![0; 2],
            dilations: vec![1; 2],
            ceil_extra: vec![0; 2],
        };
        let mut graph = Graph::new();
        let input = graph.input("x", crate::DType::F32, shape.map(Dim::Fixed).to_vec());
        let y = graph.add(MaxPool(pool), &[input]).expect("it fits");
        let gradient = gradient(&mut graph, y, &[input]).expect("there is a rule");
        graph.output("g", gradient[0]);
        let x = Tensor::f32(shape, x).expect("a row");
        assert_eq!(floats(&Program::new(&graph).run(&[x])[0]), expected);
    }
}

#[test]
fn where_gives_all_to_the_chosen_branch() {
    let mut graph = Graph::new();
    let shape = vec![Dim::Fixed(2)];
    let [a, b] = ["a", "b"].map(|name| graph.input(name, crate::DType::F32, shape.clone()));
    // The choice also depends on the input, and has no gradient.
    let larger = graph.add(Greater, &[a, b]).expect("it fits");
    let y = graph.add(Where, &[larger, a, b]).expect("it fits");
    for (name, id) in ["ga", "gb"]
        .into_iter()
        .zip(gradient(&mut graph, y, &[a, b]).expect("fits"))
    {
        graph.output(name, id);
    }
    let values = [[1.0, 4.0], [3.0, 2.0]].map(|x| Tensor::f32([2], x.to_vec()).expect("a vector"));
    let gradients = Program::new(&graph).run(&values);
    assert_eq!(floats(&gradients[0]), [0.0, 1.0]);
    assert_eq!(floats(&gradients[1]), [1.0, 0.0]);
}

#[test]
fn the_straight_through_rule_takes_value_and_gradient_apart() {
    let found = gradients(StraightThrough, &[&[1.0, 2.0], &[3.0, 4.0]]);
    assert_eq!(found, [[0.0, 0.0], [1.0, 1.0]]);
}
