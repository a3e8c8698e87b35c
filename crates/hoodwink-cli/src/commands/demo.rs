//! `hoodwink demo`: attacks two built-in models and summarises the results.

use std::{
    fs,
    io::Write as _,
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use clap::Parser;
use hoodwink::{
    data::scenes::CLASSES,
    files, legible, report,
    results::{Outcome, Row, RunFolder, Seen, Summary},
    run::Ended,
    stats::Interval,
};

use serde::Serialize;

use super::{
    Format,
    attack::{self, Plan},
    print_json,
};
use crate::{
    Status,
    args::{ConfigArgs, count, text},
    open,
    terminal::{self, complain},
};

/// The models, trained by `hoodwink train` as described in `demo/README.md` of this crate.
const MODELS: [(&str, &[u8]); 2] = [
    ("standard", include_bytes!("../../demo/standard.onnx")),
    ("robust", include_bytes!("../../demo/robust.onnx")),
];

/// Seed of the pictures. The models were trained on pictures with another seed.
const PICTURES_SEED: u64 = 2_000;

/// Radii of the attacks, in order.
const RADII: [&str; 4] = ["1/255", "2/255", "4/255", "8/255"];

/// Attack two built-in models on drawn pictures; nothing is downloaded.
///
/// A network trained in the usual way and one trained adversarially classify the same pictures of ten objects. Both are
/// attacked with noise, FGSM and PGD. The output folder contains the models, both runs and their reports. You can
/// reproduce every result with the other commands.
#[derive(Parser)]
#[command(after_help = "Examples:
  hoodwink demo
  hoodwink demo --pictures 500 --out demo-500

--format json prints one object: report, and for each of standard and robust the object
that `hoodwink attack --format json` prints for the run.")]
pub(crate) struct Args {
    /// Folder for the models, runs and reports
    #[arg(
        short,
        long,
        value_name = "FOLDER",
        default_value = "hoodwink-demo",
        alias = "output"
    )]
    out: PathBuf,
    /// Number of pictures to draw and attack
    #[arg(long, value_name = "N", default_value = "100", value_parser = count)]
    pictures: NonZeroUsize,
    /// Worker threads [default: one per core]
    #[arg(long, value_name = "N", value_parser = count)]
    threads: Option<NonZeroUsize>,
    /// Open the report when it is ready
    #[arg(long)]
    open: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Do not show progress on stderr
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// What `--format json` prints.
#[derive(Serialize)]
struct Page<'a> {
    report: String,
    standard: &'a Summary,
    robust: &'a Summary,
}

pub(crate) fn run(args: &Args) -> Result<Status> {
    let mut out = terminal::out();
    let is_told = args.format == Format::Table;
    let introduction = format!(
        "Two networks with the same architecture were trained to recognise ten objects in drawn pictures: {}.\n\
         One was trained as usual (standard), the other on attacked pictures (robust). Both now classify {} new pictures.\n",
        CLASSES.join(", "),
        args.pictures,
    );
    if is_told {
        writeln!(out, "{introduction}")?;
    }
    let mut runs = Vec::new();
    for (name, model) in MODELS {
        if !args.quiet {
            complain(&format!("attacking the {name} model ..."));
        }
        let (folder, ended) = attack_model(args, name, model)?;
        report::write(&folder)?;
        if ended != Ended::Complete {
            complain("stopped; repeat the command to resume");
            return Ok(Status::Interrupted);
        }
        runs.push((name.to_owned(), folder));
    }
    let page = args.out.join("report.html");
    report::compare(&runs, &page)?;
    let [standard, robust] = &runs[..] else {
        return Ok(Status::Done);
    };
    let story = Story::of(&standard.1, &robust.1)?;
    match is_told {
        true => write!(out, "{}", story.text(&page))?,
        false => print_json(&Page {
            report: text(&page),
            standard: &story.standard.summary,
            robust: &story.robust.summary,
        })?,
    }
    if args.open {
        open::open(&page);
    }
    Ok(Status::Done)
}

/// Writes the model and attacks it, like `hoodwink attack`.
fn attack_model(args: &Args, name: &str, model: &[u8]) -> Result<(RunFolder, Ended)> {
    let path = args.out.join(format!("{name}.onnx"));
    fs::create_dir_all(&args.out).with_context(|| text(&args.out))?;
    files::write(&path, model)?;
    let pictures = format!(
        "scenes:count={},side=64,seed={PICTURES_SEED}",
        args.pictures
    );
    let command = [
        "attack".to_owned(),
        text(&path),
        pictures,
        "--attack=uniform-noise,fgsm,pgd".to_owned(),
        format!("--eps={}", RADII.join(",")),
        "--steps=20".to_owned(),
        // Gives the same results everywhere, whether or not another engine is installed.
        "--engine=rten".to_owned(),
    ];
    let mut command = command.to_vec();
    command.push(format!("--out={}", text(&args.out.join(name))));
    command.extend(args.threads.map(|threads| format!("--threads={threads}")));
    command.extend(args.quiet.then(|| "--quiet".to_owned()));
    let (args, typed) = attack::Args::parse_words(command)?;
    Plan::new(&args, &typed)?.run(&args, args.limits())
}

/// The results as shown in the terminal.
struct Story {
    standard: Told,
    robust: Told,
    example: Option<Example>,
}

/// The results of one model.
struct Told {
    clean: Interval,
    summary: Summary,
}

/// A picture that fools the standard model at the largest radius but not the robust model.
struct Example {
    row: Row,
    fooled: Seen,
    robust: Seen,
}

impl Story {
    fn of(standard: &RunFolder, robust: &RunFolder) -> Result<Self> {
        let (ours, theirs) = (standard.rows()?, robust.rows()?);
        Ok(Self {
            example: Example::choose(&ours, &theirs),
            standard: Told::of(standard, &ours),
            robust: Told::of(robust, &theirs),
        })
    }

    fn text(&self, page: &Path) -> String {
        let largest = RADII[RADII.len() - 1];
        let line = |what: &str, name: &str, eps: &str| {
            format!(
                "  {what:34} {:>7}  {:>7}\n",
                self.standard.robust(name, eps),
                self.robust.robust(name, eps)
            )
        };
        let mut text = format!(
            "  {:34} {:>8}  {:>7}\n",
            "robust accuracy", "standard", "robust"
        );
        text.push_str(&format!(
            "  {:34} {:>7}  {:>7}\n",
            "without attack",
            self.standard.clean.percent(),
            self.robust.clean.percent()
        ));
        text.push_str(&line(
            &format!("random noise, up to {largest}"),
            "uniform-noise",
            largest,
        ));
        text.push_str(&line(
            &format!("one gradient step (FGSM), {largest}"),
            "fgsm",
            largest,
        ));
        for eps in RADII {
            text.push_str(&line(
                &format!("20 gradient steps (PGD), {eps}"),
                "pgd",
                eps,
            ));
        }
        if let Some(example) = &self.example {
            text.push_str(&example.text(largest));
        }
        text.push_str(&format!(
            "\nThe report, with pictures: {}\nTo attack your own model: hoodwink attack MODEL.onnx PICTURES\n",
            legible::line(&page.display().to_string())
        ));
        text
    }
}

impl Told {
    fn of(folder: &RunFolder, rows: &[Row]) -> Self {
        let summary = Summary::of(folder.run(), rows, None);
        let clean = summary.attacks[0].clean_accuracy;
        Self { clean, summary }
    }

    fn robust(&self, attack: &str, eps: &str) -> String {
        let mut attacks = self.summary.attacks.iter();
        let found = attacks.find(|one| one.name == attack && one.eps.as_deref() == Some(eps));
        found.map_or_else(String::new, |one| one.robust_accuracy.percent())
    }
}

impl Example {
    /// Picks the saved picture for which the standard model is most confident in a wrong class, among pictures where
    /// the same attack fails on the robust model.
    fn choose(standard: &[Row], robust: &[Row]) -> Option<Self> {
        let largest = Some(RADII[RADII.len() - 1]);
        let at_largest = |row: &&Row| row.attack == "pgd" && row.eps_text() == largest;
        let stands = |index: u64| {
            let mut rows = robust.iter().filter(at_largest);
            rows.find(|row| row.index == index && row.outcome == Outcome::Robust)
                .and_then(|row| row.saved)
        };
        standard
            .iter()
            .filter(at_largest)
            .filter_map(|row| {
                let saved = row.saved.filter(|saved| saved.success)?;
                Some(Self {
                    fooled: saved.seen,
                    robust: stands(row.index)?.seen,
                    row: row.clone(),
                })
            })
            .max_by(|a, b| a.fooled.confidence.total_cmp(&b.fooled.confidence))
    }

    fn text(&self, eps: &str) -> String {
        let class = |seen: Seen| CLASSES.get(seen.label as usize).copied().unwrap_or("?");
        // Rounding must not show 100%.
        let sure = |seen: Seen| match seen.confidence {
            p if p >= 0.9995 => "with more than 99.9% confidence".to_owned(),
            p => format!("with {:.1}% confidence", 100.0 * p),
        };
        format!(
            "\nPicture {} shows a {}. The standard network recognises it {}. After a change of at most {eps} per pixel\n\
             value, it predicts {} {}. The robust network, attacked in the same way, still predicts\n\
             {} {}.\n",
            self.row.index,
            CLASSES[self.row.label as usize],
            sure(self.row.clean),
            class(self.fooled),
            sure(self.fooled),
            class(self.robust),
            sure(self.robust),
        )
    }
}
