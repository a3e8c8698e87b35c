//! How near the gradients of PyTorch's ONNX exports are to PyTorch's own, on both engines, as a Markdown table.
//!
//! `cargo xtask goldens` makes the folder and runs this; `goldens/README.md` says what the arrays are.

use std::{error::Error, fs::File, io::BufReader, path::Path};

use hoodwink::{
    engine::{self, Choice},
    image::Image,
    model::Classifier,
    oracle::{Loss, Objective, Seen, batcher::Model as _},
    preprocessing::Preprocessing,
};
use npyz::npz::NpzArchive;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let folder = std::env::args()
        .nth(1)
        .ok_or("name the folder of exports")?;
    let mut models: Vec<_> = std::fs::read_dir(&folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "onnx")
        })
        .collect();
    models.sort();
    if models.is_empty() {
        return Err(format!("there is no ONNX file in {folder}").into());
    }
    let mut out = std::io::stdout().lock();
    print(
        &mut out,
        "| network | exporter, opset | engine | logits | gradient | signs that agree, % |",
    )?;
    print(&mut out, "|---|---|---|---|---|---|")?;
    for path in models {
        for choice in [Choice::Rten, Choice::Ort] {
            print(&mut out, &line(&path, choice)?)?;
        }
    }
    Ok(())
}

fn print(out: &mut impl std::io::Write, line: &str) -> Outcome<()> {
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// One model on one engine: relative L2 errors of logits and gradients, and signs, of each picture.
fn line(path: &Path, choice: Choice) -> Outcome<String> {
    let stem = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .ok_or("a file has no name")?;
    // A network's name may have an underscore, as an exporter's name never has.
    let at = ["_legacy", "_dynamo"]
        .iter()
        .find_map(|exporter| stem.find(exporter));
    let (network, exporter) = stem.split_at(at.ok_or("a file does not name its exporter")?);
    let engine = engine::open(choice)?;
    let name = engine.name();
    let model = Classifier::open(path, &Preprocessing::default(), engine)?;
    let mut golden = NpzArchive::new(BufReader::new(File::open(path.with_extension("npz"))?))?;
    let mut floats = |key: &str| -> Outcome<Vec<f32>> {
        Ok(golden
            .by_name(key)?
            .ok_or_else(|| format!("no {key}"))?
            .into_vec()?)
    };
    let [x, logits, gradients] = [floats("x")?, floats("logits")?, floats("grad")?];
    let pixels: usize = model.input().iter().product();
    let images = x
        .chunks(pixels)
        .map(|pixels| Image::new(model.input(), pixels.to_vec()))
        .collect::<Result<Vec<_>, _>>()?;
    // The script labels the pictures 0, 1, and so on.
    let objectives: Vec<Objective> = (0..images.len())
        .map(|label| Objective {
            loss: Loss::CrossEntropy,
            label,
            target: None,
        })
        .collect();
    let asked: Vec<&Image> = images.iter().collect();
    let seen = model.worker()?.gradients(&asked, &objectives)?;
    let each = |of: &dyn Fn(usize, &Seen) -> String| -> String {
        let cells: Vec<String> = seen
            .iter()
            .enumerate()
            .map(|(at, seen)| of(at, seen))
            .collect();
        cells.join(", ")
    };
    let classes = model.classes();
    let forward = each(&|at, seen| {
        format!(
            "{:.0e}",
            distance(&seen.logits, &logits[at * classes..][..classes])
        )
    });
    let expected = |at: usize| &gradients[at * pixels..][..pixels];
    let backward =
        each(&|at, seen| format!("{:.0e}", distance(seen.gradient.pixels(), expected(at))));
    let signs = each(&|at, seen| {
        let pairs = seen.gradient.pixels().iter().zip(expected(at));
        let agree = pairs
            .filter(|(a, b)| a == b || a.signum() == b.signum())
            .count();
        format!("{:.2}", 100.0 * agree as f64 / pixels as f64)
    });
    Ok(format!(
        "| {network} | {} | {name} | {forward} | {backward} | {signs} |",
        exporter[1..].replace('_', ", "),
    ))
}

/// Relative L2 distance.
fn distance(found: &[f32], expected: &[f32]) -> f64 {
    let square = |value: f64| value * value;
    let difference: f64 = (found.iter().zip(expected))
        .map(|(&a, &b)| square(f64::from(a) - f64::from(b)))
        .sum();
    let length: f64 = expected.iter().map(|&b| square(f64::from(b))).sum();
    (difference / length).sqrt()
}
