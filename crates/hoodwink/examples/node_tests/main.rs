//! Runs ONNX's own node tests: forward on both engines, and the gradient against finite differences, as a Markdown
//! table.
//!
//! `cargo xtask node-tests` creates the folder and runs this. `goldens/node_tests.py` describes its contents.

mod slope;
mod test;

use std::{
    collections::BTreeMap,
    error::Error,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use hoodwink::engine::{self, Choice, Engine};

use test::{Test, Verdict};

type Outcome<T> = Result<T, Box<dyn Error>>;

const ENGINES: [(Choice, &str); 2] = [(Choice::Rten, "rten"), (Choice::Ort, "ORT")];

/// The maximum number of reasons in a row of the table.
const REASONS: usize = 4;

fn main() -> Outcome<()> {
    let folder = std::env::args()
        .nth(1)
        .ok_or("name the folder of node tests")?;
    let engines: Vec<Arc<dyn Engine>> = (ENGINES.iter())
        .map(|&(choice, _)| engine::open(choice))
        .collect::<Result<_, _>>()?;
    // The table contains the messages of panics.
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

/// The results of the tests of one operator.
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
    /// The reasons for failures, with the number of tests affected.
    reasons: BTreeMap<String, usize>,
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
        // A closed stderr is ignored.
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

/// Returns the start of an error message without the node's name, which is the test's.
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
