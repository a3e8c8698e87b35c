//! Tables of models: clean against natural-hard accuracy, and against robustness to synthetic attacks.

use std::path::Path;

use serde::Serialize;

use super::bootstrap::{Ends, Resampling};
use super::evaluation::{Evaluation, Report};
use crate::stats::Interval;
use crate::{Error, Result, files, legible};

/// The models of Taori et al., "Measuring robustness to natural distribution shifts in image classification" (NeurIPS 2020),
/// from `robustness_top1s.csv` of github.com/modestyachts/imagenet-testbed (MIT): those with a figure for ImageNet-A. Clean is
/// over the same 200 classes; robust is under 100 steps of PGD in L∞ at 2/255.
const TESTBED: &str = include_str!("tables/testbed.csv");

/// The largest table that is read, and its most rows.
const MAX_BYTES: u64 = 16 << 20;
const MAX_ROWS: usize = 100_000;

/// Accuracies of several models.
#[derive(Clone, Debug, Serialize)]
pub struct ModelTable {
    /// Where the rows come from.
    pub name: String,
    /// One for each model and picture size, the best on hard pictures first.
    pub rows: Vec<ModelRow>,
    /// How the columns go together.
    pub correlations: Vec<Correlation>,
}

/// One model at one picture size. Accuracies are shares from 0 to 1.
#[derive(Clone, Debug, Serialize)]
pub struct ModelRow {
    /// What it is called; in timm's tables the training recipe stands behind the dot.
    pub model: String,
    /// Side of its pictures, in pixels: accuracy on hard pictures depends on it, so another size is another row.
    pub size: Option<u32>,
    /// On ordinary pictures of the same classes.
    pub clean: f64,
    /// On natural adversarial examples.
    pub hard: f64,
    /// Under a synthetic attack.
    pub robust: Option<f64>,
    /// Parameters, in millions.
    pub parameters: Option<f64>,
    /// Multiply-adds of one picture, in thousands of millions.
    pub multiply_adds: Option<f64>,
    /// Whether no model of the table with as few parameters is as good on hard pictures.
    pub on_front: bool,
}

/// Spearman's rank correlation of two columns, with a bootstrap interval over the rows that have both.
#[derive(Clone, Debug, Serialize)]
pub struct Correlation {
    /// The columns.
    pub between: [&'static str; 2],
    /// From −1 to 1; undefined if a column has one value only.
    pub spearman: Interval,
}

impl ModelTable {
    /// The built-in table of the ImageNet testbed, 335 models.
    ///
    /// # Errors
    /// None in practice: the table is part of the program.
    pub fn testbed(resampling: Resampling) -> Result<Self> {
        Self::parse("testbed", TESTBED, resampling)
    }

    /// Reads a CSV file: timm's `results-imagenet-a.csv` or another of its results with `top1_diff`, as it is; or any table with
    /// the columns `model`, `clean` and `hard` in percent, and if it likes `robust`, `size`, `parameters` (millions) and
    /// `multiply_adds` (thousands of millions).
    ///
    /// # Errors
    /// If the file cannot be read, columns are missing, or a figure is none.
    pub fn read(path: &Path, resampling: Resampling) -> Result<Self> {
        let text = files::read_text(path, MAX_BYTES)?;
        let name = path.file_name().unwrap_or(path.as_os_str());
        Self::parse(&name.to_string_lossy(), &text, resampling)
            .map_err(|error| Error::invalid(format!("{}: {error}", path.display())))
    }

    /// The models that were measured on both hard and clean pictures; `None` if there are none.
    pub fn of(report: &Report, resampling: Resampling) -> Option<Self> {
        let row = |model: &Evaluation| {
            Some(ModelRow {
                model: model.file_name(),
                size: None,
                clean: model.clean.as_ref()?.top1.value,
                hard: model.hard.as_ref()?.top1.value,
                robust: None,
                parameters: None,
                multiply_adds: model.multiply_adds.map(|count| count as f64 / 1e9),
                on_front: false,
            })
        };
        let rows: Vec<ModelRow> = report.models.iter().filter_map(row).collect();
        (!rows.is_empty()).then(|| Self::made("measured here".to_owned(), rows, resampling))
    }

    fn parse(name: &str, text: &str, resampling: Resampling) -> Result<Self> {
        let mut reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .from_reader(text.trim_start_matches('\u{feff}').as_bytes());
        let broken = |error: csv::Error| Error::invalid(legible::name(&error.to_string()));
        let header = reader.headers().map_err(broken)?.clone();
        let column = |names: &[&str]| header.iter().position(|have| names.contains(&have));
        let is_timm = column(&["top1"]).is_some();
        let (clean, hard) = match is_timm {
            true => (column(&["top1_diff"]), column(&["top1"])),
            false => (column(&["clean"]), column(&["hard"])),
        };
        let (Some(model), Some(clean), Some(hard)) = (column(&["model"]), clean, hard) else {
            return Err(Error::invalid(format!(
                "the columns model, clean and hard are needed, or those of timm's results, model, top1 and top1_diff; the table \
                 has {}",
                legible::names(&header)
            )));
        };
        let robust = column(&["robust"]);
        let size = column(&["size", "img_size"]);
        let parameters = column(&["parameters", "param_count"]);
        let multiply_adds = column(&["multiply_adds", "gmacs", "infer_gmacs"]);
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(broken)?;
            let line = record.position().map_or(0, csv::Position::line);
            let number = |column: Option<usize>| -> Result<Option<f64>> {
                let text = column.map_or("", |column| &record[column]).replace(',', "");
                if text.is_empty() {
                    return Ok(None);
                }
                let value = text.parse().ok().filter(|value: &f64| value.is_finite());
                value.map(Some).ok_or_else(|| {
                    Error::invalid(format!(
                        "line {line}: {:?} is no number",
                        legible::name(&text)
                    ))
                })
            };
            let percent = |column: usize| -> Result<Option<f64>> {
                Ok(number(Some(column))?.map(|value| value / 100.0))
            };
            // A model that was not measured is no row.
            let (Some(clean), Some(hard)) = (percent(clean)?, percent(hard)?) else {
                continue;
            };
            let clean = if is_timm { hard - clean } else { clean };
            if ![clean, hard]
                .iter()
                .all(|share| (-1e-9..=1.0 + 1e-9).contains(share))
            {
                return Err(Error::invalid(format!(
                    "line {line}: accuracies are percentages from 0 to 100"
                )));
            }
            rows.push(ModelRow {
                model: record[model].to_owned(),
                size: number(size)?.map(|size| size as u32),
                clean,
                hard,
                robust: number(robust)?.map(|value| value / 100.0),
                parameters: number(parameters)?,
                multiply_adds: number(multiply_adds)?,
                on_front: false,
            });
            if rows.len() > MAX_ROWS {
                return Err(Error::unsupported(format!(
                    "more than {MAX_ROWS} models are too many for a table"
                )));
            }
        }
        if rows.is_empty() {
            return Err(Error::invalid("the table holds no models"));
        }
        Ok(Self::made(name.to_owned(), rows, resampling))
    }

    fn made(name: String, mut rows: Vec<ModelRow>, resampling: Resampling) -> Self {
        rows.sort_by(|a, b| b.hard.total_cmp(&a.hard).then(a.model.cmp(&b.model)));
        // The best of fewer parameters; rows are best first, so the smallest seen so far is that of all better ones.
        let mut smallest = f64::INFINITY;
        for row in &mut rows {
            if let Some(parameters) = row.parameters.filter(|&own| own < smallest) {
                row.on_front = true;
                smallest = parameters;
            }
        }
        type Column = fn(&ModelRow) -> Option<f64>;
        let columns: [(&str, Column); 3] = [
            ("clean", |row| Some(row.clean)),
            ("hard", |row| Some(row.hard)),
            ("robust", |row| row.robust),
        ];
        let pairs = [(0, 1), (2, 1), (0, 2)].map(|(a, b)| (columns[a], columns[b]));
        let correlations = pairs
            .into_iter()
            .filter_map(|((first, x), (second, y))| {
                let pairs: Vec<(f64, f64)> = rows
                    .iter()
                    .filter_map(|row| Some((x(row)?, y(row)?)))
                    .collect();
                (pairs.len() > 2).then(|| Correlation {
                    between: [first, second],
                    spearman: correlation(&pairs, resampling),
                })
            })
            .collect();
        Self {
            name,
            rows,
            correlations,
        }
    }
}

fn correlation(pairs: &[(f64, f64)], resampling: Resampling) -> Interval {
    let [interval] = resampling.intervals(
        [pairs.len()],
        [spearman(pairs)],
        [Ends::Percentile],
        |[weights]| {
            let drawn = pairs.iter().zip(weights);
            let drawn =
                drawn.flat_map(|(&pair, &weight)| std::iter::repeat_n(pair, weight as usize));
            [spearman(&drawn.collect::<Vec<_>>())]
        },
    );
    interval
}

/// Pearson's correlation of the ranks; equal values share the mean of theirs.
fn spearman(pairs: &[(f64, f64)]) -> f64 {
    let x = ranks(&pairs.iter().map(|pair| pair.0).collect::<Vec<_>>());
    let y = ranks(&pairs.iter().map(|pair| pair.1).collect::<Vec<_>>());
    let mean = (pairs.len() as f64 + 1.0) / 2.0;
    let product = |a: &[f64], b: &[f64]| -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - mean) * (b - mean)).sum()
    };
    product(&x, &y) / (product(&x, &x) * product(&y, &y)).sqrt()
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        let value = values[order[start]];
        let run = order[start..].iter().take_while(|&&at| values[at] == value);
        let end = start + run.count();
        for &at in &order[start..end] {
            ranks[at] = (start + end + 1) as f64 / 2.0;
        }
        start = end;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Resampling = Resampling { count: 0, seed: 0 };

    /// `scipy.stats.spearmanr` over the same rows, SciPy 1.17.1.
    #[test]
    fn the_testbed_says_what_it_is_known_for() {
        let table = ModelTable::testbed(Resampling::default()).unwrap();
        assert_eq!(table.rows.len(), 335);
        let of = |between| {
            let mut all = table.correlations.iter();
            all.find(|one| one.between == between).unwrap().spearman
        };
        let clean = of(["clean", "hard"]);
        assert!(
            (clean.value - 0.931_753_005_074_056_7).abs() < 1e-9,
            "{clean:?}"
        );
        assert!(
            0.89 < clean.low && clean.low < 0.93 && clean.high < 0.96,
            "{clean:?}"
        );
        let densenet = table
            .rows
            .iter()
            .find(|row| row.model == "densenet121")
            .unwrap();
        assert_eq!((densenet.clean, densenet.hard), (0.9078, 0.0216));
    }

    #[test]
    fn timms_results_are_read_as_they_are() {
        let text = "model,top1,top1_err,top5,top5_err,param_count,img_size,crop_pct,interpolation,top1_diff,top5_diff,rank_diff\n\
                    big.recipe,80.0,20.0,95.0,5.0,\"1,014.45\",448,1.000,bicubic,-15.0,-4.0,+1\n\
                    small.recipe,40.0,60.0,80.0,20.0,25.5,224,0.9,bicubic,-50.0,-18.0,0\n\
                    worse.recipe,30.0,70.0,70.0,30.0,90.0,224,0.9,bicubic,-50.0,-18.0,0\n";
        let table = ModelTable::parse("x.csv", text, NONE).unwrap();
        let first = &table.rows[0];
        assert!((first.clean - 0.95).abs() < 1e-12 && first.hard == 0.8);
        assert_eq!((first.parameters, first.size), (Some(1014.45), Some(448)));
        let front: Vec<bool> = table.rows.iter().map(|row| row.on_front).collect();
        assert_eq!(front, [true, true, false]);
    }

    #[test]
    fn tables_without_what_is_needed_are_refused() {
        for (text, says) in [
            ("model,top1\na,5\n", "model, top1 and top1_diff"),
            ("model,clean,hard\n", "no models"),
            ("model,clean,hard\na,b,3\n", "line 2: \"b\" is no number"),
            ("model,clean,hard\na,900,3\n", "from 0 to 100"),
            ("model,clean,hard\na,1\n", "record"),
        ] {
            let error = ModelTable::parse("x", text, NONE).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn equal_values_share_their_ranks() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0]), [3.5, 1.0, 3.5, 2.0]);
        // scipy.stats.spearmanr([1, 2, 2, 4], [1, 3, 2, 4]).
        let found = spearman(&[(1.0, 1.0), (2.0, 3.0), (2.0, 2.0), (4.0, 4.0)]);
        assert!((found - 0.948_683_298_050_513_8).abs() < 1e-12);
        assert!(spearman(&[(1.0, 1.0), (1.0, 2.0)]).is_nan());
    }
}
