//! Shared test code: running a graph, drawing inputs, and comparing gradients with finite differences.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rten::{Model, Value, ValueOrView};
use rten_tensor::{AsView, Layout};

use crate::{
    DType, Dim, Elements, Graph, Lowering, Op, Result, Tensor, ValueId, gradient, to_onnx,
};

/// The batch size that tests use.
pub(crate) const BATCH: usize = 2;

/// Returns a generator for the test of this name.
pub(crate) fn rng(name: &str) -> ChaCha8Rng {
    let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    ChaCha8Rng::seed_from_u64(seed)
}

/// A graph ready to run in rten.
pub(crate) struct Program {
    model: Model,
    types: Vec<DType>,
}

impl Program {
    pub(crate) fn new(graph: &Graph) -> Self {
        let bytes = to_onnx(graph, Lowering::Portable).expect("the graph can be written");
        Self {
            model: Model::load(bytes).expect("the file can be read"),
            types: (graph.outputs().iter())
                .map(|&(_, id)| graph.node(id).dtype)
                .collect(),
        }
    }

    pub(crate) fn run(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        let inputs = (self.model.input_ids().iter().zip(inputs))
            .map(|(&id, tensor)| (id, ValueOrView::from(to_value(tensor))))
            .collect();
        let outputs = (self.model)
            .run(inputs, self.model.output_ids(), None)
            .expect("the graph runs");
        let types = self.types.iter();
        outputs.into_iter().zip(types).map(from_value).collect()
    }
}

fn to_value(tensor: &Tensor) -> Value {
    let shape = tensor.shape();
    let integers = |values: Vec<i32>| rten_tensor::Tensor::from_data(shape, values).into();
    match tensor.elements() {
        Elements::F32(values) => rten_tensor::Tensor::from_data(shape, values.to_vec()).into(),
        Elements::I64(values) => integers(values.iter().map(|&value| value as i32).collect()),
        Elements::Bool(values) => integers(values.iter().map(|&value| value.into()).collect()),
    }
}

fn from_value((value, dtype): (Value, &DType)) -> Tensor {
    let integers = |value: Value| -> (Vec<usize>, Vec<i32>) {
        let tensor: rten_tensor::Tensor<i32> = value.try_into().expect("an integer tensor");
        (tensor.shape().to_vec(), tensor.to_vec())
    };
    match dtype {
        DType::F32 => {
            let tensor: rten_tensor::Tensor<f32> = value.try_into().expect("a float tensor");
            Tensor::f32(tensor.shape(), tensor.to_vec())
        }
        DType::I64 => {
            let (shape, values) = integers(value);
            Tensor::i64(shape, values.into_iter().map(i64::from).collect::<Vec<_>>())
        }
        DType::Bool => {
            let (shape, values) = integers(value);
            Tensor::bool(
                shape,
                values.into_iter().map(|v| v != 0).collect::<Vec<_>>(),
            )
        }
    }
    .expect("rten's tensors are whole")
}

/// The range of a case's numbers, such that no step of the check crosses a kink or a pole.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Domain {
    /// -1.5 to 1.5.
    Any,
    /// 0.5 to 2.
    Positive,
    /// 0.3 to 1.5 on both sides of zero.
    AwayFromZero,
    /// No two numbers closer than 0.3.
    Distinct,
    /// Within a narrow range around a value.
    Near(f32),
}

/// Parses a shape such as `"N 3 8 8"`, where `N` is the batch and `2N` twice the batch.
pub(crate) fn shape(text: &str) -> Vec<Dim> {
    text.split_whitespace()
        .map(|side| match side.strip_suffix('N') {
            Some("") => Dim::Batch(1),
            Some(factor) => Dim::Batch(factor.parse().expect("a factor")),
            None => Dim::Fixed(side.parse().expect("a side")),
        })
        .collect()
}

/// Returns the shape with the batch filled in.
pub(crate) fn sides(shape: &[Dim]) -> Vec<usize> {
    shape
        .iter()
        .map(|dim| match dim {
            Dim::Fixed(side) => *side,
            Dim::Batch(factor) => factor * BATCH,
        })
        .collect()
}

pub(crate) fn draw(rng: &mut ChaCha8Rng, shape: &[Dim], domain: Domain) -> Tensor {
    let sides = sides(shape);
    let count: usize = sides.iter().product();
    let mut values: Vec<f32> = (0..count)
        .map(|at| match domain {
            Domain::Any => rng.random_range(-1.5..1.5),
            Domain::Positive => rng.random_range(0.5..2.0),
            Domain::AwayFromZero => {
                let size = rng.random_range(0.3..1.5);
                if rng.random() { size } else { -size }
            }
            Domain::Distinct => (at as f32 - count as f32 / 2.0) * 0.3 + 0.15,
            Domain::Near(centre) => centre + rng.random_range(-0.2..0.2),
        })
        .collect();
    if matches!(domain, Domain::Distinct) {
        for last in (1..count).rev() {
            values.swap(last, rng.random_range(0..=last));
        }
    }
    Tensor::f32(sides, values).expect("as many values as the shape has")
}

pub(crate) fn floats(tensor: &Tensor) -> &[f32] {
    tensor.as_f32().expect("floats")
}

/// A directional derivative, from the gradient and from differences of the function.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slopes {
    pub(crate) analytic: f64,
    pub(crate) numeric: f64,
}

impl Slopes {
    pub(crate) fn relative_error(self) -> f64 {
        (self.analytic - self.numeric).abs() / self.numeric.abs().max(1e-6)
    }
}

/// Multiplies `of` by an additional input, and returns random numbers for that input.
pub(crate) fn weigh(
    graph: &mut Graph,
    of: ValueId,
    rng: &mut ChaCha8Rng,
) -> Result<(ValueId, Tensor)> {
    let shape = graph.shape(of).to_vec();
    let weights = draw(rng, &shape, Domain::AwayFromZero);
    let name = format!("weights_{}", graph.inputs().len());
    let input = graph.input(name, DType::F32, shape);
    Ok((graph.add(Op::Mul, &[of, input])?, weights))
}

/// Compares the gradient of a random weighting of `of` with respect to the graph input `wrt` with fourth-order
/// differences in one random direction. The direction has the signs of the gradient, so that nothing cancels; elements
/// without gradient change too.
pub(crate) fn slopes(
    graph: &Graph,
    of: ValueId,
    wrt: usize,
    values: &[Tensor],
    step: f32,
    rng: &mut ChaCha8Rng,
) -> Result<Slopes> {
    let mut forward = graph.clone();
    forward.clear_outputs();
    forward.output("y", of);
    let mut backward = forward.clone();
    backward.clear_outputs();
    let (weighted, cotangent) = weigh(&mut backward, of, rng)?;
    let input = graph.inputs()[wrt];
    let gradients = gradient(&mut backward, weighted, &[input])?;
    assert_eq!(backward.shape(gradients[0]), graph.shape(input));
    backward.output("grad", gradients[0]);
    let with_weights = [values, std::slice::from_ref(&cotangent)].concat();
    let gradient = Program::new(&backward).run(&with_weights).remove(0);

    let direction: Vec<f32> = floats(&gradient)
        .iter()
        .map(|&slope| {
            let size = rng.random_range(0.5..1.0);
            let positive = if slope == 0.0 {
                rng.random()
            } else {
                slope > 0.0
            };
            if positive { size } else { -size }
        })
        .collect();
    let program = Program::new(&forward);
    let at = |distance: f32| -> f64 {
        let mut moved = values.to_vec();
        let elements: Vec<f32> = (floats(&values[wrt]).iter().zip(&direction))
            .map(|(value, along)| value + distance * along)
            .collect();
        moved[wrt] = Tensor::f32(values[wrt].shape(), elements).expect("the same shape");
        let y = program.run(&moved).remove(0);
        (floats(&y).iter().zip(floats(&cotangent)))
            .map(|(&y, &weight)| f64::from(y) * f64::from(weight))
            .sum()
    };
    let numeric = (8.0 * (at(step) - at(-step)) - (at(2.0 * step) - at(-2.0 * step)))
        / (12.0 * f64::from(step));
    let analytic = (floats(&gradient).iter().zip(&direction))
        .map(|(&slope, &along)| f64::from(slope) * f64::from(along))
        .sum();
    Ok(Slopes { analytic, numeric })
}
