//! Exports the gradient of small random graphs, reads it back, runs it in rten, and compares it with finite
//! differences.

#![no_main]

mod generate;
mod program;

use libfuzzer_sys::{
    arbitrary::{Result, Unstructured},
    fuzz_target,
};
use onnx_grad::{
    DType, Error, Graph, Lowering, Op, Tensor, ValueId, fold, gradient, parse, to_onnx,
};
use program::Program;

/// The largest value at which single precision still resolves a step.
const LARGEST: f32 = 1e3;

/// The step of the differences.
const STEP: f32 = 1e-2;

/// Relative rounding error that a value may have accumulated.
const ROUNDING: f64 = 1e-5;

fuzz_target!(|bytes: &[u8]| {
    let _ = check(&mut Unstructured::new(bytes));
});

fn check(bytes: &mut Unstructured) -> Result<()> {
    let (graph, last) = generate::graph(bytes)?;
    let x = generate::picture(bytes, &generate::sides(graph.shape(graph.inputs()[0])))?;
    let direction = generate::values(bytes, x.shape())?;
    let cotangent = generate::values(bytes, &generate::sides(graph.shape(last)))?;
    let Some((analytic, slopes)) = slopes(&graph, last, &x, &direction, &cotangent) else {
        return Ok(());
    };
    let wrong = slopes
        .iter()
        .all(|slope| (slope.value - analytic).abs() > slope.tolerance(analytic));
    assert!(
        !wrong || !is_smooth(&slopes),
        "the gradient says {analytic}, the differences {slopes:?}\n{:#?}\nx = {x:?}",
        graph.nodes()
    );
    Ok(())
}

/// The difference quotient of one step, which may be negative.
#[derive(Debug)]
struct Slope {
    value: f64,
    /// The error that rounding may add.
    noise: f64,
}

impl Slope {
    fn tolerance(&self, other: f64) -> f64 {
        0.1 * self.value.abs().max(other.abs()) + 4.0 * self.noise
    }
}

/// Returns whether all differences agree, so that there is no kink or jump between them.
fn is_smooth(slopes: &[Slope]) -> bool {
    slopes.iter().all(|slope| {
        let other = slopes[0].value;
        let size = slope.value.abs().max(other.abs());
        (slope.value - other).abs() <= 0.03 * size + slope.noise
    })
}

/// Returns the slope along `direction`, by the gradient and by differences. Returns `None` if there is nothing to
/// compare: no gradient, an operator that the engine lacks, or numbers that single precision does not resolve.
fn slopes(
    graph: &Graph,
    of: ValueId,
    x: &Tensor,
    direction: &Tensor,
    cotangent: &Tensor,
) -> Option<(f64, Vec<Slope>)> {
    let forward = observed(graph, of);
    let program = Program::new(&forward);
    let at = |distance: f32| -> Option<(f64, f64)> {
        let moved: Vec<f32> = (floats(x).iter().zip(floats(direction)))
            .map(|(x, along)| x + distance * along)
            .collect();
        let moved = Tensor::f32(x.shape(), moved).expect("the same shape");
        let answers = program.run(&[moved]).ok()?;
        let resolved = |tensor: &Tensor| floats(tensor).iter().all(|value| value.abs() < LARGEST);
        if !answers.iter().all(resolved) {
            return None;
        }
        let terms = (floats(&answers[0]).iter().zip(floats(cotangent)))
            .map(|(&y, &weight)| f64::from(y) * f64::from(weight));
        Some(terms.fold((0.0, 0.0), |(sum, size), term| {
            (sum + term, size + term.abs())
        }))
    };
    let (centre, size) = at(0.0)?;
    let mut slopes = Vec::new();
    for distance in [STEP, -STEP, STEP / 2.0, -STEP / 2.0] {
        let (value, _) = at(distance)?;
        slopes.push(Slope {
            value: (value - centre) / f64::from(distance),
            noise: ROUNDING * (size + 1.0) / f64::from(distance.abs()),
        });
    }
    let backward = differentiated(graph, of)?;
    let gradient = Program::new(&backward).run(&[x.clone(), cotangent.clone()]);
    let gradient = gradient
        .expect("who runs a graph runs its gradient")
        .remove(0);
    let analytic: f64 = (floats(&gradient).iter().zip(floats(direction)))
        .map(|(&slope, &along)| f64::from(slope) * f64::from(along))
        .sum();
    analytic.is_finite().then_some((analytic, slopes))
}

/// Returns the graph with `of` as its first output, followed by every other float.
fn observed(graph: &Graph, of: ValueId) -> Graph {
    let mut forward = graph.clone();
    let floats = graph.ids().filter(|&id| {
        let node = graph.node(id);
        node.dtype == DType::F32 && !matches!(node.op, Op::Input | Op::Constant(_)) && id != of
    });
    let all: Vec<ValueId> = [of].into_iter().chain(floats).collect();
    for (position, id) in all.into_iter().enumerate() {
        forward.output(format!("out{position}"), id);
    }
    forward
}

/// Returns the gradient of `of`, weighted by a second input, for the graph as exported; `None` if it has none.
fn differentiated(graph: &Graph, of: ValueId) -> Option<Graph> {
    let mut written = graph.clone();
    let weights = written.input("weights", DType::F32, graph.shape(of).to_vec());
    let weighed = written
        .add(Op::Mul, &[of, weights])
        .expect("the same shape");
    written.output("weighed", weighed);
    let bytes = to_onnx(&written, Lowering::Portable).expect("a checked graph can be written");
    let mut read = match parse(&bytes, None) {
        Ok(loaded) => loaded.graph,
        // The batch is not the first axis.
        Err(Error::Unsupported(_)) => return None,
        Err(error) => panic!("what was written cannot be read: {error}"),
    };
    let (_, weighed) = read.outputs()[0].clone();
    let x = read.inputs()[0];
    // If pictures influence each other, the batch is imported as 1.
    if read.shape(x) != graph.shape(graph.inputs()[0]) {
        return None;
    }
    let gradients = gradient(&mut read, weighed, &[x]).ok()?;
    read.clear_outputs();
    read.output("grad", gradients[0]);
    Some(fold(&read).expect("a checked graph folds"))
}

fn floats(tensor: &Tensor) -> &[f32] {
    tensor.as_f32().expect("floats")
}
