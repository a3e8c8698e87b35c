//! `hoodwink data`: describes a data set without a model.

use std::{io::Write, num::NonZeroUsize, path::PathBuf, thread};

use anyhow::Result;
use clap::Parser;
use hoodwink::{
    data::{Dataset, Entry, SMALLEST_SIDE, Survey, Transform},
    legible,
};
use serde::Serialize;

use super::{Format, inspect::grouped};
use crate::{
    Status,
    args::{ConfigArgs, DataArgs, count, text},
    progress::Progress,
    terminal,
};

/// Maximum number of groups, leaks and sizes in the table; JSON lists all.
const SHOWN: usize = 5;
/// Maximum number of classes in the table.
const CLASSES_SHOWN: usize = 20;

/// Maximum number of files per group in the table.
const FILES_SHOWN: usize = 4;

/// Describe a data set, or find the pictures that two data sets share.
///
/// Duplicates have equal pixels after decoding, even if the files differ. Each picture of the first set is searched for
/// in the second set. Exact copies are found, and also copies that were resized or saved with lossy compression. Copies
/// that were cropped, rotated or mirrored are not found. Plain pictures and pictures with a side below 32 pixels look
/// too much alike, so only exact copies of them are found.
///
/// The exit status is 1 if equal pictures have different labels or if a picture is in both sets.
#[derive(Parser)]
#[command(after_help = "Examples:
  hoodwink data photos/
  hoodwink data x.npy --labels y.npy

  Check whether any test picture is also in the training set:
    hoodwink data test/ train/
    hoodwink data test_batch.bin 'data_batch_*.bin' --format json | jq .other.leaks

--format json prints one object:
  data, kind, digest, notices
  pictures    number of pictures
  sizes       height, width, channels and number of pictures for each size
  classes     label, name (null if unknown) and number of pictures for each class
  duplicates  groups of equal pictures: files, labels, contradictory
  other       with a second set: data, kind, digest, notices, pictures, incomparable (pictures of
              the first set for which only exact copies are found), leaks (file, other, exact)")]
pub(crate) struct Args {
    #[command(flatten)]
    data: DataArgs,
    /// A second set that should have no pictures in common with the first, such as the training set
    other: Option<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Worker threads; does not affect results [default: one per core]
    #[arg(long, value_name = "N", value_parser = count)]
    threads: Option<NonZeroUsize>,
    /// Do not show progress on stderr
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// What `--format json` prints.
#[derive(Serialize)]
struct Page {
    data: String,
    kind: &'static str,
    digest: String,
    notices: Vec<String>,
    pictures: usize,
    sizes: Vec<Size>,
    classes: Vec<Class>,
    duplicates: Vec<Group>,
    other: Option<Other>,
}

#[derive(Serialize)]
struct Size {
    height: usize,
    width: usize,
    channels: usize,
    pictures: usize,
}

#[derive(Serialize)]
struct Class {
    label: usize,
    name: Option<String>,
    pictures: usize,
}

/// Equal pictures.
#[derive(Serialize)]
struct Group {
    files: Vec<String>,
    labels: Vec<Option<usize>>,
    contradictory: bool,
}

/// The second set.
#[derive(Serialize)]
struct Other {
    data: String,
    kind: &'static str,
    digest: String,
    notices: Vec<String>,
    pictures: usize,
    incomparable: usize,
    leaks: Vec<Shared>,
}

/// A picture of the first set and its copy in the second.
#[derive(Serialize)]
struct Shared {
    file: String,
    other: String,
    exact: bool,
}

pub(crate) fn run(args: &Args) -> Result<Status> {
    let data = args.data.open_with(Transform::default())?;
    let other = args.other.clone().map(|path| DataArgs::of(path, None));
    let other = other.map(|other| other.open_with(Transform::default()));
    let other = other.transpose()?;
    for data in [Some(&data), other.as_ref()].into_iter().flatten() {
        terminal::note(data.notices());
    }
    let (survey, digest) = args.survey(&data, "reading pictures", other.is_some())?;
    let other = match (&other, &args.other) {
        (Some(other), Some(path)) => Some(args.compare(&survey, other, text(path))?),
        _ => None,
    };
    let page = Page {
        data: text(&args.data.data),
        kind: data.kind(),
        digest,
        notices: data.notices().to_vec(),
        pictures: data.len(),
        sizes: sizes(&survey),
        classes: classes(&survey, &data),
        duplicates: groups(&survey),
        other,
    };
    let mut out = terminal::out();
    match args.format {
        Format::Json => {
            serde_json::to_writer(&mut out, &page)?;
            writeln!(out)?;
        }
        Format::Table => print(&mut out, &page)?,
    }
    let contradictory = page.duplicates.iter().any(|group| group.contradictory);
    let leaks = page.other.is_some_and(|other| !other.leaks.is_empty());
    Ok(match contradictory || leaks {
        true => Status::GateFailed,
        false => Status::Done,
    })
}

impl Args {
    fn threads(&self) -> usize {
        let cores = || thread::available_parallelism().map_or(1, usize::from);
        self.threads.map_or_else(cores, usize::from)
    }

    /// Reads every picture and computes the digest of the set.
    fn survey(
        &self,
        data: &Dataset,
        what: &'static str,
        likenesses: bool,
    ) -> Result<(Survey, String)> {
        let mut progress = Progress::new(what, self.quiet);
        let mut done = |done| progress.show(done, data.len(), "");
        let survey = Survey::new(data, likenesses, self.threads(), &mut done)?;
        progress.finish();
        let mut progress = Progress::new("computing the digest", self.quiet);
        let digest = data.digest_with(&mut |done| progress.show(done, data.len(), ""))?;
        progress.finish();
        Ok((survey, digest))
    }

    fn compare(&self, survey: &Survey, data: &Dataset, name: String) -> Result<Other> {
        let (other, digest) = self.survey(data, "reading the second set", true)?;
        let mut progress = Progress::new("comparing", self.quiet);
        let mut done = |done| progress.show(done, survey.entries.len(), "");
        let leaks = survey.leaks(&other, self.threads(), &mut done)?;
        progress.finish();
        let unlike = |entry: &&Entry| entry.likeness.is_none();
        let shared = |leak: &hoodwink::data::Leak| Shared {
            file: survey.entries[leak.index].file.clone(),
            other: other.entries[leak.other].file.clone(),
            exact: leak.exact,
        };
        Ok(Other {
            data: name,
            kind: data.kind(),
            digest,
            notices: data.notices().to_vec(),
            pictures: data.len(),
            incomparable: survey.entries.iter().filter(unlike).count(),
            leaks: leaks.iter().map(shared).collect(),
        })
    }
}

fn sizes(survey: &Survey) -> Vec<Size> {
    let size = |([channels, height, width], pictures): ([usize; 3], usize)| Size {
        height,
        width,
        channels,
        pictures,
    };
    survey.shapes().into_iter().map(size).collect()
}

fn classes(survey: &Survey, data: &Dataset) -> Vec<Class> {
    let names = data.class_names().unwrap_or_default();
    let class = |(label, pictures)| Class {
        label,
        name: names.get(label).cloned(),
        pictures,
    };
    survey.labels().into_iter().map(class).collect()
}

fn groups(survey: &Survey) -> Vec<Group> {
    let group = |found: hoodwink::data::Duplicates| {
        let entries = || found.indices.iter().map(|&index| &survey.entries[index]);
        Group {
            files: entries().map(|entry| entry.file.clone()).collect(),
            labels: entries().map(|entry| entry.label).collect(),
            contradictory: found.contradictory,
        }
    };
    survey.duplicates().into_iter().map(group).collect()
}

/// Writes a line: a name in the first column, then the text.
fn line(out: &mut impl Write, name: &str, text: &str) -> Result<()> {
    Ok(writeln!(out, "{name:12}{}", legible::line(text))?)
}

fn print(out: &mut impl Write, page: &Page) -> Result<()> {
    line(out, "data", &format!("{} ({})", page.data, page.kind))?;
    line(out, "digest", &page.digest)?;
    line(out, "pictures", &number(page.pictures))?;
    print_sizes(out, &page.sizes)?;
    print_classes(out, page)?;
    print_duplicates(out, &page.duplicates)?;
    match &page.other {
        Some(other) => print_other(out, other),
        None => Ok(()),
    }
}

fn print_sizes(out: &mut impl Write, sizes: &[Size]) -> Result<()> {
    for size in sizes.iter().take(SHOWN) {
        let colour = if size.channels == 1 { "grey" } else { "colour" };
        let (height, width, pictures) = (size.height, size.width, number(size.pictures));
        line(
            out,
            "size",
            &format!("{height}x{width} in {colour}: {pictures}"),
        )?;
    }
    let Some(others) = sizes.get(SHOWN..).filter(|others| !others.is_empty()) else {
        return Ok(());
    };
    let sides = |side: fn(&Size) -> usize| {
        let (low, high) = sizes.iter().map(side).fold((usize::MAX, 0), |range, side| {
            (range.0.min(side), range.1.max(side))
        });
        format!("{low} to {high}")
    };
    let (heights, widths) = (sides(|size| size.height), sides(|size| size.width));
    let others = many(others.len(), "other", "others");
    line(
        out,
        "",
        &format!("… and {others}; heights {heights}, widths {widths}"),
    )
}

fn print_classes(out: &mut impl Write, page: &Page) -> Result<()> {
    let (Some(first), Some(last)) = (page.classes.first(), page.classes.last()) else {
        return line(out, "labels", "none");
    };
    let labelled: usize = page.classes.iter().map(|class| class.pictures).sum();
    let mut said = format!(
        "{} to {}, {}",
        first.label,
        last.label,
        many(page.classes.len(), "class", "classes")
    );
    let missing = last.label + 1 - first.label - page.classes.len();
    if missing > 0 {
        let labels = many(
            missing,
            "label in this range has",
            "labels in this range have",
        );
        said += &format!("; {labels} no pictures");
    }
    if labelled < page.pictures {
        let unlabelled = many(page.pictures - labelled, "picture has", "pictures have");
        said += &format!("; {unlabelled} no label");
    }
    line(out, "labels", &said)?;
    let called = |class: &Class| match &class.name {
        Some(name) => format!(
            "{} ({}): {}",
            class.label,
            legible::name(name),
            number(class.pictures)
        ),
        None => format!("{}: {}", class.label, number(class.pictures)),
    };
    if page.classes.len() <= CLASSES_SHOWN {
        for class in &page.classes {
            line(out, "class", &called(class))?;
        }
    }
    let smallest = page.classes.iter().min_by_key(|class| class.pictures);
    let largest = page.classes.iter().rev().max_by_key(|class| class.pictures);
    for (name, class) in [("smallest", smallest), ("largest", largest)] {
        if let Some(class) = class {
            line(out, name, &called(class))?;
        }
    }
    Ok(())
}

fn print_duplicates(out: &mut impl Write, groups: &[Group]) -> Result<()> {
    if groups.is_empty() {
        return line(out, "duplicates", "none");
    }
    let pictures: usize = groups.iter().map(|group| group.files.len()).sum();
    let contradictory = groups.iter().filter(|group| group.contradictory).count();
    let said = format!(
        "{} pictures have duplicates, in {}; {} different labels",
        number(pictures),
        many(groups.len(), "group", "groups"),
        many(contradictory, "group has", "groups have")
    );
    line(out, "duplicates", &said)?;
    // Contradictions come first because at least one of their labels is wrong.
    let (worse, better): (Vec<_>, Vec<_>) = groups.iter().partition(|group| group.contradictory);
    for group in worse.into_iter().chain(better).take(SHOWN) {
        let file = |(file, label): (&String, &Option<usize>)| match label {
            Some(label) if group.contradictory => {
                format!("{} (label {label})", legible::name(file))
            }
            _ => legible::name(file),
        };
        let files = group.files.iter().zip(&group.labels);
        let named: Vec<String> = files.take(FILES_SHOWN).map(file).collect();
        let more = group.files.len() - named.len();
        let and = if more > 0 {
            format!(", … and {more} more")
        } else {
            String::new()
        };
        line(out, "", &format!("{}{and}", named.join(", ")))?;
    }
    rest(out, groups.len())
}

fn print_other(out: &mut impl Write, other: &Other) -> Result<()> {
    writeln!(out)?;
    line(out, "other", &format!("{} ({})", other.data, other.kind))?;
    line(out, "digest", &other.digest)?;
    line(out, "pictures", &number(other.pictures))?;
    let exact = other.leaks.iter().filter(|leak| leak.exact).count();
    let said = match other.leaks.len() {
        0 => "no picture is in both sets".to_owned(),
        count => format!(
            "{} in both sets: {} exact, {} likely to be resized or recompressed",
            many(count, "picture is", "pictures are"),
            number(exact),
            number(count - exact)
        ),
    };
    line(out, "in both", &said)?;
    for leak in other.leaks.iter().take(SHOWN) {
        let relation = if leak.exact { "=" } else { "≈" };
        let (file, other) = (legible::name(&leak.file), legible::name(&leak.other));
        line(out, "", &format!("{file} {relation} {other}"))?;
    }
    rest(out, other.leaks.len())?;
    if other.incomparable > 0 {
        let said = format!(
            "{} a side below {SMALLEST_SIDE} pixels: only exact copies are found",
            many(
                other.incomparable,
                "picture is plain or has",
                "pictures are plain or have"
            )
        );
        line(out, "", &said)?;
    }
    Ok(())
}

/// Writes how many entries of a list are not shown.
fn rest(out: &mut impl Write, count: usize) -> Result<()> {
    match count.checked_sub(SHOWN) {
        None | Some(0) => Ok(()),
        Some(more) => line(
            out,
            "",
            &format!("… and {} more (--format json)", number(more)),
        ),
    }
}

/// `1 group`, `2,000 groups`.
fn many(count: usize, one: &str, several: &str) -> String {
    let what = if count == 1 { one } else { several };
    format!("{} {what}", number(count))
}

fn number(count: usize) -> String {
    grouped(count as u64)
}
