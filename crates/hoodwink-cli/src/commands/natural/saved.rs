//! Measures saved logits.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use hoodwink::natural::{Answers, Evaluation, Given, Logits, Subset, read_labels};

use super::Args;
use crate::args::text;

/// Measures the logits named in the arguments.
pub(super) fn evaluate(args: &Args, file: &Path) -> Result<Evaluation> {
    let logits = Logits::read(file)?;
    let names = args.model.given_names(logits.classes())?;
    let Some(labels) = &args.labels else {
        bail!("{} needs --labels FILE", file.display());
    };
    let word = args.subset.as_deref().unwrap_or("all");
    let subset = match word {
        "present" => {
            if args.labels_within_subset {
                bail!("--labels-within-subset has no meaning with --subset present; leave it out");
            }
            let mut there = read_labels(labels, file, logits.len())?;
            there.sort_unstable();
            there.dedup();
            Subset::of("present", there, logits.classes())?
        }
        word => Subset::parse(word, &names, logits.classes()).context("--subset")?,
    };
    let answers = |file: &Path, logits: &Logits, labels: &Path| -> Result<Answers> {
        let mut classes = read_labels(labels, file, logits.len())?;
        if args.labels_within_subset {
            classes = subset.numbers(&classes).with_context(|| text(labels))?;
        }
        let name = hoodwink::legible::name(&text(file));
        let is_outside = |class: &usize| subset.place_of(*class).is_none();
        let outside = subset.masks() && classes.iter().any(is_outside);
        Answers::of(logits, &classes, &subset, &name).map_err(|error| match outside {
            true => anyhow!("{error} In that case, add --labels-within-subset"),
            false => error.into(),
        })
    };
    let hard = answers(file, &logits, labels)?;
    let clean = match (&args.clean_logits, &args.clean_labels) {
        (Some(file), Some(labels)) => {
            let logits = as_many(Logits::read(file)?, &logits, file)?;
            Some(answers(file, &logits, labels)?)
        }
        _ => None,
    };
    let unknown = match &args.ood_logits {
        Some(file) => {
            let all = as_many(Logits::read(file)?, &logits, file)?;
            Some(all.selected(&subset)?)
        }
        None => None,
    };
    let given = Given {
        model: &text(file),
        multiply_adds: None,
        names: &subset.names(&names),
        hard: Some(&hard),
        clean: clean.as_ref(),
        unknown: unknown.as_ref(),
        scores: &[],
    };
    Ok(Evaluation::of(&given, &args.settings())?)
}

/// Refuses logits whose number of classes differs from `others`.
fn as_many(logits: Logits, others: &Logits, file: &Path) -> Result<Logits> {
    if logits.classes() != others.classes() {
        bail!(
            "{} has {} columns, but the other logits have {}; use logits of the same model",
            file.display(),
            logits.classes(),
            others.classes()
        );
    }
    Ok(logits)
}
