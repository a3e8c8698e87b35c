//! One node test: its values, and the results of an engine.

use std::{
    fmt::Debug,
    fs::File,
    io::BufReader,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use hoodwink::engine::{Engine, Executable};
use npyz::npz::NpzArchive;
use onnx_grad::{DType, Elements, Graph, Op, Tensor, ValueId};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::{
    Outcome, entries,
    slope::{Ask, compare, normal, scale},
};

/// Bound of a forward error, relative to the expected entry and to the largest one. Tests of half precision may differ
/// by a few more units in the last place.
const FORWARD: [f32; 2] = [1e-3, 1e-5];
const ROUNDINGS: f32 = 4.0;

/// Many inputs are whole numbers on a kink, so noise of this size, relative to their root mean square or 1, moves them.
/// Infinite or NaN inputs count as 0.
const NOISE: f32 = 2e-2;

/// The result of one test on one engine.
pub(crate) struct Verdict {
    pub(crate) forward: Result<(), String>,
    /// `None` if the gradient is zero by convention or there is none.
    pub(crate) backward: Option<Result<(), String>>,
}

/// A test whose model can be imported.
pub(crate) struct Test {
    graph: Graph,
    inputs: Vec<Tensor>,
    expected: Vec<(String, Tensor)>,
    epsilon: f32,
}

impl Test {
    /// Opens the first form of the test that can be imported. Otherwise returns the last error.
    pub(crate) fn open(folder: &Path) -> Outcome<Self> {
        let mut values = NpzArchive::open(folder.join("values.npz"))?;
        let mut graph = Err("no model".into());
        for path in entries(folder)? {
            if path.extension().is_none_or(|extension| extension != "onnx") {
                continue;
            }
            graph = match catch_unwind(|| onnx_grad::load(&path)) {
                Ok(Ok(loaded)) => Ok(loaded.graph),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err("panicked while reading".into()),
            };
            if graph.is_ok() {
                break;
            }
        }
        let graph = graph?;
        let mut inputs = Vec::new();
        for &id in graph.inputs() {
            let node = graph.node(id);
            let tensor = tensor(&mut values, &format!("input/{}", node.name))?;
            if tensor.dtype() != node.dtype {
                return Err(format!("input {:?} has another type", node.name).into());
            }
            inputs.push(tensor);
        }
        let mut expected = Vec::new();
        for (name, _) in graph.outputs() {
            expected.push((
                name.clone(),
                tensor(&mut values, &format!("output/{name}"))?,
            ));
        }
        let epsilon = tensor(&mut values, "epsilon")?;
        Ok(Self {
            graph,
            inputs,
            expected,
            epsilon: epsilon.as_f32().ok_or("epsilon is not a float")?[0],
        })
    }

    pub(crate) fn verdict(&self, engine: &dyn Engine) -> Verdict {
        let guarded = |work: &dyn Fn() -> Outcome<bool>| -> Result<bool, String> {
            match catch_unwind(AssertUnwindSafe(work)) {
                Ok(result) => result.map_err(|error| error.to_string()),
                Err(_) => Err("panicked".into()),
            }
        };
        let forward = guarded(&|| self.forward(engine)).map(|_| ());
        let backward = match guarded(&|| self.backward(engine)) {
            Ok(true) => Some(Ok(())),
            Ok(false) => None,
            Err(error) => Some(Err(format!("gradient: {error}"))),
        };
        Verdict { forward, backward }
    }

    /// Runs the graph and compares the outputs. Always returns `true`.
    fn forward(&self, engine: &dyn Engine) -> Outcome<bool> {
        let found = engine.compile(&self.graph)?.run(&self.inputs)?;
        for ((name, expected), found) in self.expected.iter().zip(&found) {
            if found.shape() != expected.shape() {
                let shapes = (found.shape(), expected.shape());
                return Err(format!(
                    "{name} has the shape {:?} instead of {:?}",
                    shapes.0, shapes.1
                )
                .into());
            }
            let differing = match (found.elements(), expected.elements()) {
                (Elements::F32(found), Elements::F32(expected)) => self.differing(found, expected),
                (Elements::I64(found), Elements::I64(expected)) => unequal(found, expected),
                (Elements::Bool(found), Elements::Bool(expected)) => unequal(found, expected),
                // Quantised numbers are whole floats.
                (Elements::F32(found), Elements::I64(expected)) => {
                    let expected: Vec<f32> = expected.iter().map(|&value| value as f32).collect();
                    unequal(found, &expected)
                }
                _ => return Err(format!("{name} has another type").into()),
            };
            if let Some(difference) = differing {
                return Err(format!("{name} has {difference}").into());
            }
        }
        Ok(true)
    }

    /// Describes the first entry whose error is too large.
    fn differing(&self, found: &[f32], expected: &[f32]) -> Option<String> {
        let finite = expected.iter().filter(|value| value.is_finite());
        let largest = finite.fold(0.0_f32, |most, value| most.max(value.abs()));
        let [relative, absolute] = FORWARD;
        let absolute = (absolute + ROUNDINGS * self.epsilon) * largest;
        first(found, expected, |&a, &b| {
            a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= relative * b.abs() + absolute
        })
    }

    /// Compares the slope along random directions with differences. Returns `false` if the gradient is zero by
    /// convention or there is none.
    fn backward(&self, engine: &dyn Engine) -> Outcome<bool> {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let floats: Vec<usize> = (0..self.inputs.len())
            .filter(|&at| self.inputs[at].dtype() == DType::F32 && !self.inputs[at].is_empty())
            .collect();
        let wrt: Vec<ValueId> = (floats.iter()).map(|&at| self.graph.inputs()[at]).collect();
        let mut graph = self.graph.clone();
        graph.clear_outputs();
        let is_finite = |values: &[f32]| values.iter().all(|value| value.is_finite());
        let all_finite = (self.inputs.iter().filter_map(Tensor::as_f32)).all(is_finite);
        let mut values = 0;
        let mut gradients = Vec::new();
        for ((_, output), (_, expected)) in self.graph.outputs().iter().zip(&self.expected) {
            let Some(entries) = expected.as_f32() else {
                continue;
            };
            // Infinite on purpose, such as masked scores, and not because of an infinite input, which will be moved.
            if entries.is_empty() || (all_finite && !is_finite(entries)) {
                continue;
            }
            let weights: Vec<f32> = (0..expected.len()).map(|_| normal(&mut rng)).collect();
            let weights = graph.constant(Tensor::f32(expected.shape(), weights)?);
            let weighted = graph.add(Op::Mul, &[*output, weights])?;
            match onnx_grad::gradient(&mut graph, weighted, &wrt) {
                Ok(slopes) => gradients.push(slopes),
                Err(onnx_grad::Error::NoGradient { .. }) => continue,
                Err(error) => return Err(error.into()),
            }
            graph.output(format!("value {values}"), weighted);
            values += 1;
        }
        for (at, slope) in gradients.iter().flatten().enumerate() {
            graph.output(format!("slope {at}"), *slope);
        }
        if values == 0 || wrt.is_empty() {
            return Ok(false);
        }
        let graph = onnx_grad::fold(&graph)?;
        let slopes: Vec<ValueId> = (graph.outputs()[values..].iter())
            .map(|&(_, id)| id)
            .collect();
        let mut program = engine.compile(&graph)?;
        let mut ask = |inputs: &[Tensor]| answer(program.as_mut(), inputs, values);
        let here = self.moved(&mut rng, &mut ask)?;
        let (_, found) = ask(&here)?;
        let mut compared = false;
        for (position, &at) in floats.iter().enumerate() {
            // The gradients of one input, summed over the outputs.
            let parts = || (position..slopes.len()).step_by(wrt.len());
            let mut slope = vec![0.0_f64; here[at].len()];
            for part in parts() {
                let values = found[part].as_f32().ok_or("a gradient is not of floats")?;
                if found[part].shape() != here[at].shape() {
                    return Err("has the shape of another tensor".into());
                }
                slope
                    .iter_mut()
                    .zip(values)
                    .for_each(|(sum, &value)| *sum += f64::from(value));
            }
            let constant = parts().all(|part| !depends(&graph, slopes[part]));
            if constant && slope.iter().all(|&slope| slope == 0.0) {
                continue;
            }
            compared = true;
            compare(&here, at, &slope, &mut rng, &mut ask)?;
        }
        Ok(compared)
    }

    /// Returns the inputs, finite and moved off kinks. If that leaves the function's domain, they are moved upwards
    /// only, or not at all.
    fn moved(&self, rng: &mut ChaCha8Rng, ask: &mut Ask<'_>) -> Outcome<Vec<Tensor>> {
        for upwards in [false, true] {
            let mut moved = self.inputs.clone();
            for tensor in &mut moved {
                if let Some(values) = tensor.as_f32() {
                    let size = NOISE * scale(values);
                    let noise = values.iter().map(|value| {
                        let noise = size * normal(rng);
                        let value = if value.is_finite() { *value } else { 0.0 };
                        value + if upwards { noise.abs() } else { noise }
                    });
                    *tensor = Tensor::f32(tensor.shape(), noise.collect::<Vec<_>>())?;
                }
            }
            if ask(&moved)?.0.is_finite() {
                return Ok(moved);
            }
        }
        Ok(self.inputs.clone())
    }
}

fn unequal<T: PartialEq + Debug>(found: &[T], expected: &[T]) -> Option<String> {
    first(found, expected, |a, b| a == b)
}

/// Describes the first entry that does not agree.
fn first<T: Debug>(found: &[T], expected: &[T], agree: impl Fn(&T, &T) -> bool) -> Option<String> {
    let (found, expected) = (found.iter().zip(expected)).find(|&(a, b)| !agree(a, b))?;
    Some(format!("{found:?} instead of {expected:?}"))
}

/// Returns the sum of the first `values` outputs, and the other outputs.
fn answer(
    program: &mut dyn Executable,
    inputs: &[Tensor],
    values: usize,
) -> Outcome<(f64, Vec<Tensor>)> {
    let mut outputs = program.run(inputs)?;
    let slopes = outputs.split_off(values);
    let entries = outputs.iter().filter_map(Tensor::as_f32).flatten();
    Ok((entries.map(|&value| f64::from(value)).sum(), slopes))
}

/// Returns whether a value is computed from an input of the graph.
fn depends(graph: &Graph, value: ValueId) -> bool {
    let mut reached = vec![false; graph.nodes().len()];
    reached[value.index()] = true;
    for id in graph.ids().rev() {
        if reached[id.index()] {
            let node = graph.node(id);
            if matches!(node.op, Op::Input) {
                return true;
            }
            node.inputs
                .iter()
                .for_each(|input| reached[input.index()] = true);
        }
    }
    false
}

fn tensor(values: &mut NpzArchive<BufReader<File>>, key: &str) -> Outcome<Tensor> {
    let array = values.by_name(key)?.ok_or_else(|| format!("no {key}"))?;
    let shape: Vec<usize> = array
        .shape()
        .iter()
        .map(|&side| usize::try_from(side))
        .collect::<Result<_, _>>()?;
    let elements = match array.dtype() {
        npyz::DType::Plain(kind) => match kind.type_char() {
            npyz::TypeChar::Float => Elements::F32(array.into_vec::<f32>()?.into()),
            npyz::TypeChar::Bool => Elements::Bool(array.into_vec::<bool>()?.into()),
            _ => Elements::I64(array.into_vec::<i64>()?.into()),
        },
        _ => return Err(format!("{key} is not a plain array").into()),
    };
    Ok(Tensor::new(shape, elements)?)
}
