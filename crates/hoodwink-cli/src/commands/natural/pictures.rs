//! Measures models on sets of pictures.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use hoodwink::{
    data::{DataOptions, Dataset, Transform},
    legible,
    lint::{self, Mistake},
    natural::{
        Asked, AskedUnknown, Asking, Classes, Evaluation, Given, Odin, Outliers, Part, PictureSet,
        Report, Subset, WrongAnswer,
    },
    oracle::Access,
    preprocessing::Preprocessing,
    stats::Interval,
};

use super::Args;
use crate::{
    args::{Shape, text},
    commands::warning,
    progress::Progress,
    subject::Subject,
    terminal::{self, complain},
};

/// Pictures used to check for wrong preprocessing and labels before measuring a model.
const LINTED: usize = 48;

/// Pictures used to search for better preprocessing.
const SEARCHED: usize = 300;

/// Multiply-adds that the search may use: a few seconds on two cores.
const EFFORT: u64 = 50_000_000_000;

/// Measures every model on the same pictures.
pub(super) fn evaluate(args: &Args, named: &[PathBuf]) -> Result<(Report, Vec<Part>)> {
    if args.hard.is_none() && args.clean.is_none() {
        bail!(
            "labelled pictures are missing: pass --hard DIR, or --clean DIR together with --ood DIR"
        );
    }
    let (mut models, mut parts) = (Vec::new(), Vec::new());
    for model in named {
        let (measured, part) = of_model(args, model).with_context(|| text(model))?;
        models.push(measured);
        parts.push(part);
    }
    Ok((Report::of(models), parts))
}

fn of_model(args: &Args, path: &Path) -> Result<(Evaluation, Part)> {
    let model_args = args.model.of(path.to_owned());
    let prepared = model_args.resolve()?;
    let mut model = Subject::open(
        &model_args,
        &args.remote,
        &prepared,
        match args.odin {
            true => Access::Gradients,
            false => Access::Scores,
        },
    )?;
    if args.odin && model.gives() < Access::Gradients {
        bail!("--odin needs gradients, which a remote model does not provide; leave it out");
    }
    let shape = Shape {
        input: model.input(),
        classes: model.classes(),
    };
    let pictures = args.hard.as_deref().unwrap_or(Path::new(""));
    let names = prepared.names_for(pictures, shape)?;
    let classes = Classes {
        names: &names,
        count: model.classes(),
    };
    terminal::note(model.notices());
    let crew = args.crew.resolve(model.input().iter().product());
    if let Subject::File(file) = &mut model {
        file.set_threads(crew.threads);
    }
    let transform = prepared.transform(model.input());
    let open = |path: &Option<PathBuf>| -> Result<Option<PictureSet>> {
        let Some(path) = path else {
            return Ok(None);
        };
        let set = PictureSet::open(path, None, &transform, classes)?;
        terminal::note(set.notices());
        Ok(Some(set))
    };
    let (hard_set, clean_set) = (open(&args.hard)?, open(&args.clean)?);
    if let Some(hard) = &hard_set {
        hard.refuse_unknown()?;
    }
    let (subset, shown) = in_play(args, &hard_set, &clean_set, classes)?;
    let asker = Asker {
        args,
        asking: Asking {
            input: model.input(),
            crew,
            skip_broken: args.skip_broken,
        },
        model: &model,
        said: &prepared.preprocessing,
        subset: &subset,
    };
    match (&clean_set, &hard_set) {
        (Some(set), _) => asker.lint(set, |_| true)?,
        // Accuracy near chance is normal on hard pictures.
        (None, Some(set)) => asker.lint(set, |mistake| mistake != Mistake::Chance)?,
        (None, None) => {}
    }
    let mut part = Part::default();
    let hard = match &hard_set {
        None => None,
        Some(set) => {
            let asked = asker.labelled(set, "hard pictures")?;
            part.hard = WrongAnswer::surest(&asked, set, &shown, asker.shown())?;
            Some(asked)
        }
    };
    let clean = (clean_set.as_ref())
        .map(|set| asker.labelled(set, "clean pictures"))
        .transpose()?;
    let mut scores = Vec::new();
    let unknown = match &args.ood {
        None => None,
        Some(path) => {
            let options = DataOptions {
                transform,
                ..Default::default()
            };
            let data = Dataset::open(path, &options)?;
            let asked = asker.unknown(&data)?;
            if args.odin {
                let known = clean.as_ref().zip(clean_set.as_ref());
                let known = known.or(hard.as_ref().zip(hard_set.as_ref()));
                let Some((known, set)) = known else {
                    bail!("there are no labelled pictures; pass --hard DIR or --clean DIR");
                };
                scores.push(Outliers {
                    score: Odin::WORD.to_owned(),
                    known: asker.odin(set.data(), &known.indices)?,
                    unknown: asker.odin(&data, &asked.indices)?,
                });
            }
            part.unknown = WrongAnswer::surest_unknown(&asked, &data, &shown, asker.shown())?;
            Some(asked)
        }
    };
    let given = Given {
        model: &text(path),
        multiply_adds: model.file().and_then(|file| file.multiply_adds()),
        names: &shown,
        hard: hard.as_ref().map(|asked| &asked.answers),
        clean: clean.as_ref().map(|asked| &asked.answers),
        unknown: unknown.as_ref().map(|asked| &asked.logits),
        scores: &scores,
    };
    let mut measured = Evaluation::of(&given, &args.settings())?;
    if let (true, Some(path), Some(asked), Some(set)) =
        (args.ten_crops, &args.hard, &hard, &mut measured.hard)
    {
        let whole = prepared.transform(model.input());
        if whole.crop.is_none() {
            bail!("--ten-crops needs --resize and --crop");
        }
        let whole = Transform {
            crop: None,
            ..whole
        };
        let pictures = PictureSet::open(path, None, &whole, classes)?;
        set.any_of_ten_crops = Some(asker.ten_crops(&pictures, &asked.indices)?);
    }
    for (set, asked) in [(&mut measured.hard, &hard), (&mut measured.clean, &clean)] {
        if let (Some(set), Some(asked)) = (set, asked) {
            set.notes.extend(asked.left_out());
        }
    }
    Ok((measured, part))
}

/// Returns the selected classes and their names.
fn in_play(
    args: &Args,
    hard: &Option<PictureSet>,
    clean: &Option<PictureSet>,
    classes: Classes<'_>,
) -> Result<(Subset, Vec<String>)> {
    let Some(first) = hard.as_ref().or(clean.as_ref()) else {
        bail!("there are no labelled pictures; pass --hard DIR or --clean DIR");
    };
    let subset = match args.subset.as_deref() {
        None => {
            let (subset, names) = first.subset(classes)?;
            if subset.masks() {
                complain(&format!(
                    "note: the folders match the classes of {}, so only its {} classes are selected (use --subset all for all classes)",
                    subset.name(),
                    subset.len()
                ));
            }
            return Ok((subset, names));
        }
        Some("present") => first.present(classes)?,
        Some(word) => Subset::parse(word, classes.names, classes.count).context("--subset")?,
    };
    let names = first.names(&subset, classes);
    Ok((subset, names))
}

/// The queries to one model.
struct Asker<'a> {
    args: &'a Args,
    asking: Asking,
    model: &'a Subject,
    said: &'a Preprocessing,
    subset: &'a Subset,
}

impl Asker<'_> {
    fn labelled(&self, set: &PictureSet, what: &'static str) -> Result<Asked> {
        let places = set.places(self.subset)?;
        terminal::note(set.left_out(&places, self.subset));
        let mut progress = Progress::new(what, self.args.crew.quiet);
        let tell = |done, all| progress.show(done, all, "");
        let asked = self
            .asking
            .labelled(self.model.model(), set, &places, self.subset, tell);
        progress.finish();
        let asked = asked?;
        tell_broken(&asked.broken);
        Ok(asked)
    }

    fn odin(&self, data: &Dataset, indices: &[usize]) -> Result<Vec<f64>> {
        let mut progress = Progress::new("ODIN", self.args.crew.quiet);
        let tell = |done, all| progress.show(done, all, "");
        let model = self.model.model();
        let scores = Odin::default().score(&self.asking, model, data, indices, self.subset, tell);
        progress.finish();
        Ok(scores?)
    }

    fn ten_crops(&self, set: &PictureSet, indices: &[usize]) -> Result<Interval> {
        let places = set.places(self.subset)?;
        let mut progress = Progress::new("ten crops", self.args.crew.quiet);
        let tell = |done, all| progress.show(done, all, "");
        let model = self.model.model();
        let found = (self.asking).any_of_ten_crops(model, set, indices, &places, self.subset, tell);
        progress.finish();
        Ok(found?)
    }

    /// Returns the number of mistakes to keep for the page.
    fn shown(&self) -> usize {
        match self.args.out {
            Some(_) => self.args.show,
            None => 0,
        }
    }

    fn unknown(&self, data: &Dataset) -> Result<AskedUnknown> {
        let mut progress = Progress::new("unknown pictures", self.args.crew.quiet);
        let tell = |done, all| progress.show(done, all, "");
        let asked = self
            .asking
            .unknown(self.model.model(), data, self.subset, tell);
        progress.finish();
        let asked = asked?;
        tell_broken(&asked.broken);
        Ok(asked)
    }

    /// Looks for wrong preprocessing and labels, and prints the findings that `told` accepts.
    fn lint(&self, set: &PictureSet, told: impl Fn(Mistake) -> bool) -> Result<()> {
        let Some(model) = self.model.file().filter(|_| !self.args.no_lint) else {
            return Ok(());
        };
        let depth = lint::Depth {
            pictures: LINTED,
            searched: SEARCHED,
            multiply_adds: EFFORT,
            always_search: false,
            threads: self.asking.crew.threads,
        };
        let mut progress = Progress::new("asking", self.args.crew.quiet);
        let tell = |done, all| progress.show(done, all, "");
        let findings = lint::lint(model, self.said, set.data(), depth, tell);
        progress.finish();
        match findings {
            Ok(findings) => (findings.iter())
                .filter(|finding| told(finding.mistake))
                .for_each(|finding| complain(&warning(finding))),
            // Unreadable pictures are reported or skipped later, when the model is queried.
            Err(_) if self.args.skip_broken => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

fn tell_broken(broken: &[String]) {
    terminal::note(
        broken
            .iter()
            .map(|reason| format!("skipped: {}", legible::line(reason))),
    );
}
