//! ONNX's own node tests: forward on both engines, and the gradient against finite differences, as a Markdown table.
//!
//! `cargo xtask node-tests` makes the folder and runs this; `goldens/node_tests.py` says what lies in it.

use std::{
    collections::BTreeMap,
    error::Error,
    io::Write as _,
    panic::catch_unwind,
    path::{Path, PathBuf},
    sync::Arc,
};

use hoodwink::engine::{self, Choice, Engine, Executable};
use npyz::npz::NpzArchive;
use onnx_grad::{DType, Elements, Graph, Op, Tensor, ValueId};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

type Outcome<T> = Result<T, Box<dyn Error>>;

const ENGINES: [(Choice, &str); 2] = [(Choice::Rten, "rten"), (Choice::Ort, "ORT")];

/// Bound of a forward error, as a share of the expected entry and of the largest; plus a few units in the last place
/// where the test is of half precision.
const FORWARD: [f32; 2] = [1e-3, 1e-5];
const ROUNDINGS: f32 = 4.0;

/// Steps of the central differences, as shares of the input's root mean square or of 1: a long one is disturbed by kinks
/// and curvature, a short one by rounding. One must agree.
const STEPS: [f32; 8] = [1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5];

/// Bound of the slope's error, as a share of the root of the sum of its squared parts; the slope itself is at least
/// [`VISIBLE`] of that, so that a gradient wrong by a twentieth is noticed.
const SLOPE: f64 = 5e-3;
const VISIBLE: f64 = 0.2;

/// The tests' inputs, 0 where they are infinite or no number, are moved by noise of this share of their root mean square or of 1: many are whole numbers, on a kink.
const NOISE: f32 = 2e-2;

/// Reasons that a row of the table names at most.
const REASONS: usize = 4;

fn main() -> Outcome<()> {
    let folder = std::env::args()
        .nth(1)
        .ok_or("name the folder of node tests")?;
    let engines: Vec<Arc<dyn Engine>> = (ENGINES.iter())
        .map(|&(choice, _)| engine::open(choice))
        .collect::<Result<_, _>>()?;
    // What a panic says stands in the table.
    std::panic::set_hook(Box::new(|_| ()));
    let mut rows = Vec::new();
    let mut foreign: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for operator in entries(Path::new(&folder))? {
        let row = Row::of(&operator, &engines)?;
        match row.read {
            0 => {
                let reason = row.reasons.into_keys().next().unwrap_or_default();
                let reason = reason.replace(&format!(" ({}):", row.operator), "");
                foreign.entry(reason).or_default().push(row.operator);
            }
            _ => rows.push(row),
        }
    }
    if rows.is_empty() {
        return Err(format!("no node test in {folder} could be read").into());
    }
    let mut out = std::io::stdout().lock();
    let total = |count: fn(&Row) -> usize| rows.iter().map(count).sum::<usize>();
    writeln!(
        out,
        "**{} tests of {} operators, {} of them read. Forward as expected: {} on rten, {} on ORT. Gradient: {} of {} \
         agree with differences on rten, {} of {} on ORT; {} have a gradient of zero by convention, or none.**\n",
        total(|row| row.tests),
        rows.len(),
        total(|row| row.read),
        total(|row| row.forward[0]),
        total(|row| row.forward[1]),
        total(|row| row.backward[0].0),
        total(|row| row.backward[0].1),
        total(|row| row.backward[1].0),
        total(|row| row.backward[1].1),
        total(|row| row.flat),
    )?;
    writeln!(
        out,
        "| operator | tests | read | forward: rten | ORT | gradient: rten | ORT | zero or none | what is not, and why |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---|"
    )?;
    for row in &rows {
        writeln!(out, "{}", row.line())?;
    }
    writeln!(out, "\nOf these operators no test could be read:\n")?;
    for (reason, operators) in foreign {
        writeln!(out, "- {}: {reason}", operators.join(", "))?;
    }
    Ok(())
}

fn entries(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    entries.sort();
    Ok(entries)
}

/// What came of the tests of one operator.
#[derive(Default)]
struct Row {
    operator: String,
    tests: usize,
    read: usize,
    forward: [usize; ENGINES.len()],
    /// Gradients that agree with differences, and all that were compared.
    backward: [(usize, usize); ENGINES.len()],
    /// Tests whose gradient is zero by convention, or that have none.
    flat: usize,
    /// Why something did not pass, with the number of tests of which it is true.
    reasons: BTreeMap<String, usize>,
}

/// What came of one test on one engine.
struct Verdict {
    forward: Result<(), String>,
    /// `None` where the gradient is zero by convention or there is none.
    backward: Option<Result<(), String>>,
}

impl Row {
    fn of(folder: &Path, engines: &[Arc<dyn Engine>]) -> Outcome<Self> {
        let name = folder.file_name().ok_or("an operator has no name")?;
        let mut row = Self {
            operator: name.to_string_lossy().into_owned(),
            ..Self::default()
        };
        for folder in entries(folder)? {
            row.tests += 1;
            let test = match Test::open(&folder) {
                Ok(test) => test,
                Err(error) => {
                    row.because("not read", &error.to_string(), &folder);
                    continue;
                }
            };
            row.read += 1;
            for (at, engine) in engines.iter().enumerate() {
                let called = ENGINES[at].1;
                let Verdict { forward, backward } = test.verdict(engine.as_ref());
                match forward {
                    Ok(()) => row.forward[at] += 1,
                    Err(error) => row.because(called, &error, &folder),
                }
                match backward {
                    None => row.flat += usize::from(at == 0),
                    Some(result) => {
                        row.backward[at].1 += 1;
                        match result {
                            Ok(()) => row.backward[at].0 += 1,
                            Err(error) => row.because(called, &error, &folder),
                        }
                    }
                }
            }
        }
        Ok(row)
    }

    fn because(&mut self, whom: &str, error: &str, test: &Path) {
        // Nothing can be done about a closed stderr.
        let _ = writeln!(std::io::stderr(), "{}: {whom}: {error}", test.display());
        *self
            .reasons
            .entry(format!("{whom}: {}", short(error)))
            .or_default() += 1;
    }

    fn line(&self) -> String {
        let mut reasons: Vec<String> = (self.reasons.iter())
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        if reasons.len() > REASONS {
            let more = reasons.split_off(REASONS - 1).len();
            reasons.push(format!("{more} more"));
        }
        let gradients = self.backward.map(|(agree, all)| match all {
            0 => "–".to_owned(),
            _ => format!("{agree} of {all}"),
        });
        format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            self.operator,
            self.tests,
            self.read,
            self.forward[0],
            self.forward[1],
            gradients[0],
            gradients[1],
            self.flat,
            reasons.join("; ")
        )
    }
}

/// An error's first words without the node's name, which is the test's.
fn short(error: &str) -> String {
    let plain = error.replace(['|', '\n'], " ");
    let plain = plain.replace("unsupported model: ", "");
    let plain = match plain.split_once("node \"") {
        Some((before, after)) => match after.split_once("\" ") {
            Some((_, after)) => format!("{before}{after}"),
            None => plain,
        },
        None => plain,
    };
    match plain.char_indices().nth(110) {
        Some((end, _)) => format!("{}…", &plain[..end]),
        None => plain,
    }
}

/// A test whose model could be read.
struct Test {
    graph: Graph,
    inputs: Vec<Tensor>,
    expected: Vec<(String, Tensor)>,
    epsilon: f32,
}

impl Test {
    /// The test in the first form that can be read; else the last error.
    fn open(folder: &Path) -> Outcome<Self> {
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
            epsilon: epsilon.as_f32().ok_or("epsilon is no float")?[0],
        })
    }

    fn verdict(&self, engine: &dyn Engine) -> Verdict {
        let guarded = |work: &dyn Fn() -> Outcome<bool>| -> Result<bool, String> {
            match catch_unwind(std::panic::AssertUnwindSafe(work)) {
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

    /// Runs the graph and compares; always answers `true`.
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

    /// The first entry that is too far off, in words.
    fn differing(&self, found: &[f32], expected: &[f32]) -> Option<String> {
        let finite = expected.iter().filter(|value| value.is_finite());
        let largest = finite.fold(0.0_f32, |most, value| most.max(value.abs()));
        let [relative, absolute] = FORWARD;
        let absolute = (absolute + ROUNDINGS * self.epsilon) * largest;
        first(found, expected, |&a, &b| {
            a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= relative * b.abs() + absolute
        })
    }

    /// Compares the slope along random directions with differences; `false` if the gradient is zero by convention, or
    /// there is none.
    fn backward(&self, engine: &dyn Engine) -> Outcome<bool> {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let floats: Vec<usize> = (0..self.inputs.len())
            .filter(|&at| self.inputs[at].dtype() == DType::F32 && !self.inputs[at].is_empty())
            .collect();
        let wrt: Vec<ValueId> = (floats.iter()).map(|&at| self.graph.inputs()[at]).collect();
        let mut graph = self.graph.clone();
        graph.clear_outputs();
        let mut values = 0;
        let mut gradients = Vec::new();
        for ((_, output), (_, expected)) in self.graph.outputs().iter().zip(&self.expected) {
            let finite = |values: &[f32]| values.iter().all(|value| value.is_finite());
            if expected.is_empty() || !expected.as_f32().is_some_and(finite) {
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

    /// The inputs, finite and moved off kinks; upwards, or not at all, where else that leaves the function's domain.
    fn moved(
        &self,
        rng: &mut ChaCha8Rng,
        ask: &mut dyn FnMut(&[Tensor]) -> Outcome<(f64, Vec<Tensor>)>,
    ) -> Outcome<Vec<Tensor>> {
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

fn unequal<T: PartialEq + std::fmt::Debug>(found: &[T], expected: &[T]) -> Option<String> {
    first(found, expected, |a, b| a == b)
}

/// The first entry that does not agree, in words.
fn first<T: std::fmt::Debug>(
    found: &[T],
    expected: &[T],
    agree: impl Fn(&T, &T) -> bool,
) -> Option<String> {
    let (found, expected) = (found.iter().zip(expected)).find(|&(a, b)| !agree(a, b))?;
    Some(format!("{found:?} instead of {expected:?}"))
}

/// Compares the slope along a random direction of one input with central differences.
fn compare(
    here: &[Tensor],
    at: usize,
    slope: &[f64],
    rng: &mut ChaCha8Rng,
    ask: &mut dyn FnMut(&[Tensor]) -> Outcome<(f64, Vec<Tensor>)>,
) -> Outcome<()> {
    let values = here[at].as_f32().ok_or("an input is not of floats")?;
    // The slope along a direction, and the root of the sum of its squared parts.
    let along = |direction: &mut dyn Iterator<Item = f64>| -> (f64, f64) {
        let parts = slope
            .iter()
            .zip(direction)
            .map(|(slope, part)| slope * part);
        let (sum, squares) = parts.fold((0.0, 0.0), |(sum, squares), part| {
            (sum + part, squares + part * part)
        });
        (sum, squares.sqrt())
    };
    let mut direction: Vec<f32> = Vec::new();
    for _ in 0..100 {
        direction = values.iter().map(|_| normal(rng)).collect();
        let (sum, size) = along(&mut direction.iter().map(|&part| f64::from(part)));
        if sum.abs() >= VISIBLE * size {
            break;
        }
    }
    let mut nearest = (f64::INFINITY, String::new());
    for step in STEPS {
        let step = step * scale(values);
        let [there, back] = [step, -step].map(|step| -> Vec<f32> {
            let moved = values.iter().zip(&direction);
            moved.map(|(value, part)| value + step * part).collect()
        });
        let mut value = |values: &[f32]| -> Outcome<f64> {
            let mut inputs = here.to_vec();
            inputs[at] = Tensor::f32(here[at].shape(), values)?;
            Ok(ask(&inputs)?.0)
        };
        let (ahead, behind) = (value(&there)?, value(&back)?);
        let found = ahead - behind;
        let rounding = f64::from(f32::EPSILON) * (ahead.abs() + behind.abs());
        // Along the way that was gone: single precision does not go just where it is told.
        let mut way = (there.iter().zip(&back)).map(|(&a, &b)| f64::from(a) - f64::from(b));
        let (expected, size) = along(&mut way);
        let off = (found - expected).abs();
        let error = off / size.max(found.abs()).max(f64::MIN_POSITIVE);
        if error < nearest.0 {
            let way = 2.0 * f64::from(step);
            let lost = if off < rounding {
                ", lost in rounding"
            } else {
                ""
            };
            let (expected, found) = (expected / way, found / way);
            let reason =
                format!("slope {expected:.2e} along input {at}, differences {found:.2e}{lost}");
            nearest = (error, reason);
        }
    }
    match nearest {
        (error, _) if error <= SLOPE => Ok(()),
        (error, _) if error.is_infinite() => Err("differences are no numbers".into()),
        (_, reason) => Err(reason.into()),
    }
}

/// The sum of the first `values` outputs, and the others.
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

/// Whether a value is computed from an input of the graph.
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

fn tensor(
    values: &mut NpzArchive<std::io::BufReader<std::fs::File>>,
    key: &str,
) -> Outcome<Tensor> {
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
        _ => return Err(format!("{key} is no plain array").into()),
    };
    Ok(Tensor::new(shape, elements)?)
}

/// The root mean square, or 1 where that is larger or zero.
fn scale(values: &[f32]) -> f32 {
    let finite = values.iter().filter(|value| value.is_finite());
    let squares: f32 = finite.map(|value| value * value).sum();
    match (squares / values.len() as f32).sqrt() {
        size if size > 0.0 && size < 1.0 => size,
        _ => 1.0,
    }
}

/// Standard normal, by Box and Muller.
fn normal(rng: &mut ChaCha8Rng) -> f32 {
    let (u, v): (f32, f32) = (rng.random(), rng.random());
    (-2.0 * (1.0 - u).ln()).sqrt() * (std::f32::consts::TAU * v).cos()
}
