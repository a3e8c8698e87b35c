//! Whether both engines answer what ONNX Runtime answers about the file itself, as a Markdown table.
//!
//! `cargo xtask measure engines` makes the folder and runs this; `goldens/predictions.py` says what lies in it.

use std::{
    error::Error,
    fs::File,
    io::{BufReader, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use hoodwink::engine::{self, Choice, Engine};
use npyz::npz::NpzArchive;
use onnx_grad::{LoadOptions, Tensor};

type Outcome<T> = Result<T, Box<dyn Error>>;

const ENGINES: [(Choice, &str); 2] = [(Choice::Rten, "rten"), (Choice::Ort, "ORT")];

/// Bound of a difference, as a share of the expected entry and of the largest.
const NEAR: [f32; 2] = [1e-3, 1e-5];

fn main() -> Outcome<()> {
    let folder = std::env::args().nth(1).ok_or("name the folder of models")?;
    let engines: Vec<Arc<dyn Engine>> = (ENGINES.iter())
        .map(|&(choice, _)| engine::open(choice))
        .collect::<Result<_, _>>()?;
    std::panic::set_hook(Box::new(|_| ()));
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "| operator | files | imported | rten: as ORT | refused | other answers | ORT: as ORT | refused | other answers |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|"
    )?;
    let mut all = Row::default();
    for operator in sorted(Path::new(&folder))? {
        let mut row = Row::default();
        for file in sorted(&operator)? {
            if file
                .extension()
                .is_some_and(|extension| extension == "onnx")
            {
                row.add(&file, &engines)?;
            }
        }
        let name = operator.file_name().unwrap_or_default().to_string_lossy();
        writeln!(out, "{}", row.line(&name))?;
        all.files += row.files;
        all.imported += row.imported;
        for (all, row) in all
            .found
            .iter_mut()
            .flatten()
            .zip(row.found.iter().flatten())
        {
            *all += row;
        }
    }
    writeln!(out, "{}", all.line("**all**"))?;
    Ok(())
}

/// What came of the files with one operator.
#[derive(Default)]
struct Row {
    files: usize,
    imported: usize,
    /// For each engine: as expected, refused, otherwise.
    found: [[usize; 3]; ENGINES.len()],
}

impl Row {
    fn add(&mut self, file: &Path, engines: &[Arc<dyn Engine>]) -> Outcome<()> {
        let mut values = NpzArchive::open(file.with_extension("npz"))?;
        let (x, y) = (tensor(&mut values, "x")?, tensor(&mut values, "y")?);
        self.files += 1;
        let bytes = std::fs::read(file)?;
        let options = LoadOptions {
            keep_softmax: true,
            ..LoadOptions::default()
        };
        let imported = onnx_grad::parse_with(&bytes, None, &options);
        self.imported += usize::from(imported.is_ok());
        for (at, engine) in engines.iter().enumerate() {
            let program = match &imported {
                Ok(loaded) => engine.compile(&loaded.graph),
                Err(onnx_grad::Error::Unsupported(_)) => {
                    onnx_grad::seal_bytes(&bytes, None, &options)
                        .map_err(Into::into)
                        .and_then(|sealed| engine.load(&sealed))
                }
                Err(error) => Err(error.clone().into()),
            };
            let answer = program.and_then(|mut program| program.run(std::slice::from_ref(&x)));
            let (column, reason) = match answer {
                Err(error) => (1, error.to_string()),
                Ok(found) => match differing(&found[0], &y) {
                    None => (0, String::new()),
                    Some(difference) => (2, difference),
                },
            };
            self.found[at][column] += 1;
            if column > 0 {
                let what = ["", "refused", "OTHER"][column];
                let how = if imported.is_ok() {
                    "imported"
                } else {
                    "as it is"
                };
                // Nothing can be done about a closed stderr.
                let _ = writeln!(
                    std::io::stderr(),
                    "{what} by {} ({how}): {}: {reason}",
                    ENGINES[at].1,
                    file.display()
                );
            }
        }
        Ok(())
    }

    fn line(&self, name: &str) -> String {
        let counts = self.found.iter().flatten().map(usize::to_string);
        let counts = counts.collect::<Vec<_>>().join(" | ");
        format!("| {name} | {} | {} | {counts} |", self.files, self.imported)
    }
}

/// The first entry that is too far off, in words.
fn differing(found: &Tensor, expected: &Tensor) -> Option<String> {
    let (Some(found), Some(expected)) = (found.as_f32(), expected.as_f32()) else {
        return Some("no floats".into());
    };
    if found.len() != expected.len() {
        return Some(format!(
            "{} instead of {} values",
            found.len(),
            expected.len()
        ));
    }
    let finite = expected.iter().filter(|value| value.is_finite());
    let largest = finite.fold(0.0_f32, |most, value| most.max(value.abs()));
    let [relative, absolute] = NEAR;
    let near = |a: f32, b: f32| {
        a == b
            || a.is_nan() && b.is_nan()
            || (a - b).abs() <= relative * b.abs() + absolute * largest
    };
    let pairs = found.iter().zip(expected).enumerate();
    let mut wrong = pairs.filter(|&(_, (&a, &b))| !near(a, b));
    let (at, (found, expected)) = wrong.next()?;
    Some(format!(
        "{found} instead of {expected} at {at}, {} more",
        wrong.count()
    ))
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
