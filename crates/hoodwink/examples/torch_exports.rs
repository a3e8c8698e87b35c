//! Compares the gradients of PyTorch's ONNX exports with PyTorch's own, on both engines, as a Markdown table.
//!
//! `cargo xtask goldens` creates the folder and runs this. `goldens/README.md` describes the arrays.

use std::{
    collections::BTreeSet,
    error::Error,
    fs::File,
    io::{BufReader, Write as _},
    path::{Path, PathBuf},
};

use hoodwink::{
    engine::{self, Choice},
    image::Image,
    model::Classifier,
    oracle::{Loss, Objective, pool::Model as _},
    preprocessing::Preprocessing,
};
use npyz::npz::NpzArchive;
use onnx_grad::{Graph, Tensor, ValueId};

type Outcome<T> = Result<T, Box<dyn Error>>;

const ENGINES: [(Choice, &str); 2] = [(Choice::Rten, "rten"), (Choice::Ort, "ORT")];

/// Every gradient must have at most this relative L2 error, and at least this share of correct signs.
const TOLERANCE: f64 = 1e-4;
const SIGNS: f64 = 0.999;

/// Signs are compared where the reference exceeds this share of its largest entry.
const SIGNIFICANT: f32 = 1e-6;

fn main() -> Outcome<()> {
    let folder = std::env::args()
        .nth(1)
        .ok_or("name the folder of exports")?;
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "onnx" || extension == "txt")
        })
        .collect();
    files.sort();
    if files.is_empty() {
        return Err(format!("there is no export in {folder}").into());
    }
    let mut rows = Vec::new();
    for (at, path) in files.iter().enumerate() {
        let row = Row::of(path)?;
        writeln!(
            std::io::stderr(),
            "[{}/{}] {}",
            at + 1,
            files.len(),
            row.line()
        )?;
        rows.push(row);
    }
    let mut out = std::io::stdout().lock();
    for paragraph in summary(&rows) {
        writeln!(out, "{paragraph}\n")?;
    }
    writeln!(
        out,
        "| network | exporter, opset | gap | rten: logits | gradient | signs, % | weights \
         | ORT: logits | gradient | signs, % | weights |\n|---|---|---|---|---|---|---|---|---|---|---|"
    )?;
    for row in &rows {
        writeln!(out, "{}", row.line())?;
    }
    Ok(())
}

/// One file, compared with its reference.
struct Row {
    network: String,
    exporter: String,
    outcome: Measured,
}

enum Measured {
    /// The file could not be exported, with the reason.
    NotExported(String),
    Compared {
        /// How far noise moves PyTorch's own gradient, for each picture.
        gaps: Vec<f64>,
        /// The agreement on each engine, or the error.
        engines: Vec<Result<Agreement, String>>,
    },
}

/// The agreement of an engine with PyTorch: relative L2 errors of each picture.
struct Agreement {
    logits: Vec<f64>,
    gradients: Vec<f64>,
    signs: Vec<f64>,
    /// The number of compared weights and the largest error of their gradients, if the reference has any.
    weights: Option<(usize, f64)>,
}

impl Row {
    fn of(path: &Path) -> Outcome<Self> {
        let stem = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .ok_or("a file has no name")?;
        // A network's name may contain an underscore; an exporter's name never does.
        let at = ["_legacy", "_dynamo"]
            .iter()
            .find_map(|exporter| stem.find(exporter));
        let (network, exporter) = stem.split_at(at.ok_or("a file does not name its exporter")?);
        let outcome = if path.extension().is_some_and(|extension| extension == "txt") {
            Measured::NotExported(std::fs::read_to_string(path)?.trim().to_owned())
        } else {
            let mut golden = Golden::open(path)?;
            let compared = |(choice, _): &(Choice, _)| {
                agreement(path, &mut golden, *choice).map_err(|error| {
                    // The importer's notices explain more than the errors that follow from them.
                    let notices = onnx_grad::load(path).map(|loaded| loaded.notices);
                    let notices = notices.unwrap_or_default().join("; ");
                    format!("{error} {notices}")
                })
            };
            let engines = ENGINES.iter().map(compared).collect();
            let gaps = golden.floats("grad_gap")?.ok_or("no gaps")?;
            Measured::Compared {
                gaps: gaps.into_iter().map(f64::from).collect(),
                engines,
            }
        };
        Ok(Self {
            network: network.to_owned(),
            exporter: exporter[1..].replace('_', ", "),
            outcome,
        })
    }

    fn line(&self) -> String {
        let mut cells = vec![self.network.clone(), self.exporter.clone()];
        match &self.outcome {
            Measured::NotExported(error) => cells.extend([
                String::new(),
                format!("PyTorch cannot export it: {}", short(error)),
            ]),
            Measured::Compared { gaps, engines } => {
                cells.push(scientific(gaps));
                for engine in engines {
                    cells.extend(match engine {
                        Ok(agreement) => agreement.cells(),
                        Err(error) => [short(error), String::new(), String::new(), String::new()],
                    });
                }
            }
        }
        format!("| {} |", cells.join(" | "))
    }
}

impl Agreement {
    fn cells(&self) -> [String; 4] {
        let percent: Vec<String> = (self.signs.iter())
            .map(|share| format!("{:.2}", 100.0 * share))
            .collect();
        [
            scientific(&self.logits),
            scientific(&self.gradients),
            percent.join(", "),
            self.weights.map_or(String::new(), |(count, error)| {
                format!("{error:.0e} ({count})")
            }),
        ]
    }

    fn holds(&self) -> bool {
        self.gradients.iter().all(|&error| error <= TOLERANCE)
            && self.signs.iter().all(|&share| share >= SIGNS)
            && self.weights.is_none_or(|(_, error)| error <= TOLERANCE)
    }
}

/// Summarises how many files meet the tolerances, and lists those that don't.
fn summary(rows: &[Row]) -> Vec<String> {
    let networks: BTreeSet<&str> = rows.iter().map(|row| row.network.as_str()).collect();
    let mut exported = 0;
    let mut paragraphs = Vec::new();
    let mut exceptions = Vec::new();
    let mut within = [0; ENGINES.len()];
    for row in rows {
        let name = format!("{} ({})", row.network, row.exporter);
        match &row.outcome {
            Measured::NotExported(_) => {
                exceptions.push(format!("- {name}: PyTorch cannot export it."))
            }
            Measured::Compared { gaps, engines } => {
                exported += 1;
                for ((engine, (_, called)), within) in engines.iter().zip(&ENGINES).zip(&mut within)
                {
                    match engine {
                        Ok(agreement) if agreement.holds() => *within += 1,
                        Ok(agreement) => exceptions.push(format!(
                            "- {name} on {called}: gradients off by {}; noise moves PyTorch's own by {}.",
                            scientific(&agreement.gradients),
                            scientific(gaps)
                        )),
                        Err(error) => exceptions.push(format!("- {name} on {called}: {}", short(error))),
                    }
                }
            }
        }
    }
    let counts: Vec<String> = (ENGINES.iter().zip(within))
        .map(|((_, called), within)| format!("{within} on {called}"))
        .collect();
    paragraphs.push(format!(
        "**{exported} files of {} networks. Within tolerance (both gradients within {TOLERANCE:.0e}, signs at {:.1} % or more, \
         weights too where they are compared): {}.**",
        networks.len(),
        100.0 * SIGNS,
        counts.join(", ")
    ));
    if !exceptions.is_empty() {
        paragraphs.push(format!("The others:\n\n{}", exceptions.join("\n")));
    }
    paragraphs
}

/// Measures one model on one engine.
fn agreement(path: &Path, golden: &mut Golden, choice: Choice) -> Outcome<Agreement> {
    let engine = engine::open(choice)?;
    let model = Classifier::open(path, &Preprocessing::default(), engine.clone())?;
    let [x, logits, gradients] =
        ["x", "logits", "grad"].map(|key| golden.floats(key).ok().flatten());
    let (x, logits, gradients) = (
        x.ok_or("no pictures")?,
        logits.ok_or("no logits")?,
        gradients.ok_or("no gradients")?,
    );
    let pixels: usize = model.input().iter().product();
    let images = x
        .chunks(pixels)
        .map(|pixels| Image::new(model.input(), pixels.to_vec()))
        .collect::<Result<Vec<_>, _>>()?;
    // The script labels the pictures 0, 1, and so on.
    let objectives: Vec<Objective> = (0..images.len())
        .map(|label| Objective::Loss {
            loss: Loss::CrossEntropy,
            label,
            target: None,
        })
        .collect();
    let asked: Vec<&Image> = images.iter().collect();
    let objectives: Vec<&Objective> = objectives.iter().collect();
    let seen = model.worker()?.differentials(&asked, &objectives)?;
    let classes = model.classes();
    let mut agreement = Agreement {
        logits: Vec::new(),
        gradients: Vec::new(),
        signs: Vec::new(),
        weights: None,
    };
    for ((seen, logits), gradient) in seen
        .iter()
        .zip(logits.chunks(classes))
        .zip(gradients.chunks(pixels))
    {
        let found = seen.gradient.pixels();
        agreement.logits.push(distance(&seen.logits, logits));
        agreement.gradients.push(distance(found, gradient));
        agreement.signs.push(signs(found, gradient));
    }
    let learned = golden.weights(&onnx_grad::load(path)?.graph)?;
    if !learned.is_empty() {
        agreement.weights = Some((
            learned.len(),
            weight_error(path, &learned, &x, images.len(), engine.as_ref())?,
        ));
    }
    Ok(agreement)
}

/// A weight of a graph with its reference: the first entries of its gradient, and the norm of the whole.
struct Learned {
    id: ValueId,
    first: Vec<f32>,
    norm: f32,
}

/// Returns the largest relative error of a weight's gradient, in its first entries or in its norm.
fn weight_error(
    path: &Path,
    learned: &[Learned],
    x: &[f32],
    count: usize,
    engine: &dyn engine::Engine,
) -> Outcome<f64> {
    let model = onnx_grad::load(path)?.graph;
    let ids: Vec<ValueId> = learned.iter().map(|weight| weight.id).collect();
    let graph = onnx_grad::training_graph(&model, onnx_grad::Loss::CrossEntropy, &ids)?;
    let mut shape = vec![count];
    shape.extend(
        (model.shape(model.inputs()[0])[1..].iter()).filter_map(|dim| match dim {
            onnx_grad::Dim::Fixed(side) => Some(*side),
            onnx_grad::Dim::Batch(_) => None,
        }),
    );
    let labels: Vec<i64> = (0..count as i64).collect();
    let mut inputs = vec![Tensor::f32(shape, x)?, Tensor::vector(&labels)];
    for &id in &ids {
        inputs.push(
            model
                .as_constant(id)
                .ok_or("a weight is not a constant")?
                .clone(),
        );
    }
    let outputs = engine.compile(&graph)?.run(&inputs)?;
    let mut worst = 0.0_f64;
    for (weight, gradient) in learned.iter().zip(&outputs[2..]) {
        let found = gradient.as_f32().ok_or("a gradient is not of floats")?;
        let norm = length(found);
        let expected = f64::from(weight.norm);
        let error = distance(&found[..weight.first.len()], &weight.first);
        worst = worst.max((norm - expected).abs() / expected).max(error);
    }
    Ok(worst)
}

/// The reference of one file.
struct Golden(NpzArchive<BufReader<File>>);

impl Golden {
    fn open(model: &Path) -> Outcome<Self> {
        Ok(Self(NpzArchive::open(model.with_extension("npz"))?))
    }

    fn floats(&mut self, key: &str) -> Outcome<Option<Vec<f32>>> {
        Ok(match self.0.by_name(key)? {
            Some(array) => Some(array.into_vec()?),
            None => None,
        })
    }

    /// Finds the weights of a graph that have a reference by their values.
    fn weights(&mut self, graph: &Graph) -> Outcome<Vec<Learned>> {
        let names: Vec<String> = (self.0.array_names())
            .filter_map(|key| Some(key.strip_prefix("weight/")?.to_owned()))
            .collect();
        let mut references = Vec::new();
        for name in names {
            let mut read = |key: &str| -> Outcome<Vec<f32>> {
                let array = self.floats(&format!("{key}/{name}"))?;
                Ok(array.ok_or_else(|| format!("no {key} of {name}"))?)
            };
            references.push((read("weight")?, read("wgrad")?, read("wgrad_norm")?));
        }
        let mut learned = Vec::new();
        for id in graph.ids() {
            let Some(values) = graph.as_constant(id).and_then(Tensor::as_f32) else {
                continue;
            };
            let same = |(weight, ..): &&(Vec<f32>, _, _)| {
                values
                    .get(..weight.len())
                    .is_some_and(|first| first == weight)
            };
            if let Some((_, first, norm)) = references.iter().find(same) {
                learned.push(Learned {
                    id,
                    first: first.clone(),
                    norm: norm[0],
                });
            }
        }
        Ok(learned)
    }
}

/// Computes the relative L2 distance.
fn distance(found: &[f32], expected: &[f32]) -> f64 {
    let difference = (found.iter().zip(expected)).map(|(&a, &b)| f64::from(a) - f64::from(b));
    difference.map(|d| d * d).sum::<f64>().sqrt() / length(expected)
}

fn length(values: &[f32]) -> f64 {
    let squares = values.iter().map(|&value| f64::from(value).powi(2));
    squares.sum::<f64>().sqrt()
}

/// Returns the share of significant entries whose signs agree.
fn signs(found: &[f32], expected: &[f32]) -> f64 {
    let largest = expected.iter().fold(0.0_f32, |most, b| most.max(b.abs()));
    let significant: Vec<(&f32, &f32)> = (found.iter().zip(expected))
        .filter(|(_, b)| b.abs() > SIGNIFICANT * largest)
        .collect();
    let agree = significant
        .iter()
        .filter(|(a, b)| a.signum() == b.signum())
        .count();
    agree as f64 / significant.len() as f64
}

fn scientific(values: &[f64]) -> String {
    let each: Vec<String> = values.iter().map(|value| format!("{value:.0e}")).collect();
    each.join(", ")
}

/// Returns the start of an error message, fit for a table cell.
fn short(error: &str) -> String {
    let plain: String = error.replace(['|', '\n'], " ");
    match plain.char_indices().nth(260) {
        Some((end, _)) => format!("{}…", &plain[..end]),
        None => plain,
    }
}
