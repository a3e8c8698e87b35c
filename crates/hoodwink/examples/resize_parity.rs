//! How near resized inputs and their gradients are to ONNX Runtime's, as a Markdown table.
//!
//! `cargo xtask measure resize` makes the folder and runs this; `goldens/resizes.py` says what lies in it.

use std::{
    collections::BTreeMap,
    error::Error,
    fs::File,
    io::{BufReader, Write as _},
    path::{Path, PathBuf},
};

use hoodwink::engine::{self, Choice, Engine};
use npyz::npz::NpzArchive;
use onnx_grad::{Op, Tensor};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Bound of an error, as a share of the largest entry: rounding stays far below, and another element is far above.
const NEAR: f32 = 1e-4;

fn main() -> Outcome<()> {
    let mut words = std::env::args().skip(1);
    let folder = words.next().ok_or("name the folder of resized inputs")?;
    let engine = engine::open(Choice::Rten)?;
    let mut rows: Vec<(String, BTreeMap<String, Count>)> = Vec::new();
    for family in sorted(Path::new(&folder))? {
        let name = family.file_name().unwrap_or_default().to_string_lossy();
        let (name, rule) = name.split_once('@').unwrap_or((&name, "asymmetric"));
        let mut count = Count::default();
        for file in sorted(&family)? {
            if file
                .extension()
                .is_some_and(|extension| extension == "onnx")
            {
                compare(&file, engine.as_ref(), &mut count)
                    .map_err(|error| format!("{}: {error}", file.display()))?;
            }
        }
        match rows.iter_mut().find(|(row, _)| row == name) {
            Some((_, rules)) => rules.insert(rule.to_owned(), count),
            None => {
                rows.push((name.to_owned(), BTreeMap::from([(rule.to_owned(), count)])));
                None
            }
        };
    }
    print(&rows)
}

/// What came of some resized inputs.
#[derive(Clone, Copy, Default)]
struct Count {
    resized: usize,
    shapes: usize,
    values: usize,
    gradients: usize,
    largest: [f32; 2],
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.resized += other.resized;
        self.shapes += other.shapes;
        self.values += other.values;
        self.gradients += other.gradients;
        for (largest, other) in self.largest.iter_mut().zip(other.largest) {
            *largest = largest.max(other);
        }
    }
}

fn print(rows: &[(String, BTreeMap<String, Count>)]) -> Outcome<()> {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "| mode | rules | resized | another size | other values | another gradient | largest error of values | of gradients |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|"
    )?;
    let mut all = Count::default();
    for (name, rules) in rows {
        let mut count = Count::default();
        rules.values().for_each(|&rule| count += rule);
        all += count;
        writeln!(out, "{}", line(name, rules.len(), count))?;
    }
    writeln!(out, "{}", line("**all**", 7, all))?;
    Ok(())
}

fn line(name: &str, rules: usize, count: Count) -> String {
    let [values, gradients] = count.largest;
    format!(
        "| {name} | {rules} | {} | {} | {} | {} | {values:.0e} | {gradients:.0e} |",
        count.resized, count.shapes, count.values, count.gradients
    )
}

/// Resizes one model's input and takes the gradient of each output's weighted sum.
fn compare(file: &Path, engine: &dyn Engine, count: &mut Count) -> Outcome<()> {
    let mut values = NpzArchive::open(file.with_extension("npz"))?;
    let mut read = |name: String| tensor(&mut values, &name);
    let mut graph = onnx_grad::load(file)?.graph;
    let x = graph.inputs()[0];
    let outputs = graph.outputs().to_vec();
    let mut expected = Vec::new();
    for (at, &(_, output)) in outputs.iter().enumerate() {
        count.resized += 1;
        let y = read(format!("y{at}"))?;
        let sides: Vec<usize> = (graph.shape(output).iter())
            .map(|dim| match dim {
                onnx_grad::Dim::Fixed(side) | onnx_grad::Dim::Batch(side) => *side,
            })
            .collect();
        if sides != y.shape() {
            count.shapes += 1;
            report(file, at, "another size", 0.0);
            continue;
        }
        let weights = graph.constant(read(format!("w{at}"))?);
        let weighted = graph.add(Op::Mul, &[output, weights])?;
        let slope = onnx_grad::gradient(&mut graph, weighted, &[x])?[0];
        expected.push((at, output, slope, y, read(format!("g{at}"))?));
    }
    graph.clear_outputs();
    for &(at, output, slope, ..) in &expected {
        graph.output(format!("y{at}"), output);
        graph.output(format!("g{at}"), slope);
    }
    let graph = onnx_grad::fold(&graph)?;
    let found = engine.compile(&graph)?.run(&[read("x".into())?])?;
    for ((at, _, _, y, g), found) in expected.iter().zip(found.chunks(2)) {
        let errors = [error(&found[0], y)?, error(&found[1], g)?];
        for (largest, error) in count.largest.iter_mut().zip(errors) {
            *largest = largest.max(error);
        }
        if errors[0] > NEAR {
            count.values += 1;
            report(file, *at, "other values", errors[0]);
        }
        if errors[1] > NEAR {
            count.gradients += 1;
            report(file, *at, "another gradient", errors[1]);
        }
    }
    Ok(())
}

fn report(file: &Path, at: usize, what: &str, error: f32) {
    // Nothing can be done about a closed stderr.
    let _ = writeln!(
        std::io::stderr(),
        "{} y{at}: {what} ({error:.1e})",
        file.display()
    );
}

/// The largest difference, as a share of the largest entry that is expected.
fn error(found: &Tensor, expected: &Tensor) -> Outcome<f32> {
    let (Some(found), Some(expected)) = (found.as_f32(), expected.as_f32()) else {
        return Err("an output is not of floats".into());
    };
    if found.len() != expected.len() {
        return Ok(f32::INFINITY);
    }
    let largest = expected
        .iter()
        .fold(1e-3_f32, |most, value| most.max(value.abs()));
    let differences = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    Ok(differences.fold(0.0, f32::max) / largest)
}

fn tensor(values: &mut NpzArchive<BufReader<File>>, name: &str) -> Outcome<Tensor> {
    let array = values
        .by_name(name)?
        .ok_or_else(|| format!("lacks {name}"))?;
    let shape: Vec<usize> = array.shape().iter().map(|&side| side as usize).collect();
    Ok(Tensor::f32(shape, array.into_vec::<f32>()?)?)
}

fn sorted(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        paths.push(entry?.path());
    }
    paths.sort();
    Ok(paths)
}
