//! `hoodwink attacks`: lists the attacks or describes one.

use std::io::Write as _;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use hoodwink::{
    attacks::{ATTACKS, Aim, Entry, Family, find},
    oracle::Access,
    threat::Norm,
};
use serde::Serialize;

use super::{Format, print_json};
use crate::{Status, args::ConfigArgs, terminal};

/// List the attacks, or describe one: formula, paper, parameters and cost.
#[derive(Parser)]
#[command(after_help = "Examples:
  hoodwink attacks
  hoodwink attacks --access scores --norm l2
  hoodwink attacks apgd-ce

--format json prints a list with name, access, norms, family, kind (radius, smallest or many),
targeted and summary; for one attack, it prints an object that also has cost, parameters and doc.")]
pub(crate) struct Args {
    /// The attack to describe
    name: Option<String>,
    /// Show only attacks that work with this access
    #[arg(long)]
    access: Option<Access>,
    /// Show only attacks that support this norm
    #[arg(long)]
    norm: Option<Norm>,
    /// Show only attacks of this family
    #[arg(long, value_enum)]
    family: Option<FamilyArg>,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    config: ConfigArgs,
}

/// The families by name.
#[derive(Clone, Copy, ValueEnum)]
enum FamilyArg {
    /// Random points, as a baseline
    Noise,
    /// Largest loss within a radius, using gradients
    Gradient,
    /// Smallest norm, using gradients
    MinimumNorm,
    /// Using scores only
    Scores,
    /// Using the predicted class only
    Labels,
    /// One perturbation for many pictures
    Shared,
}

impl FamilyArg {
    fn family(self) -> Family {
        match self {
            Self::Noise => Family::Noise,
            Self::Gradient => Family::Gradient,
            Self::MinimumNorm => Family::Minimum,
            Self::Scores => Family::Scores,
            Self::Labels => Family::Labels,
            Self::Shared => Family::Shared,
        }
    }
}

/// What `--format json` prints for each attack.
#[derive(Serialize)]
struct Listed {
    name: &'static str,
    access: &'static str,
    norms: Vec<&'static str>,
    family: &'static str,
    kind: &'static str,
    targeted: bool,
    summary: &'static str,
}

impl Listed {
    fn of(entry: &Entry) -> Self {
        Self {
            name: entry.name,
            access: entry.access().word(),
            norms: entry.norms.iter().map(|norm| norm.word()).collect(),
            family: entry.family.word(),
            kind: entry.aim.word(),
            targeted: entry.targeted,
            summary: entry.summary,
        }
    }
}

/// What `--format json` prints for one attack.
#[derive(Serialize)]
struct Told {
    #[serde(flatten)]
    listed: Listed,
    cost: &'static str,
    parameters: Vec<Parameter>,
    doc: String,
}

#[derive(Serialize)]
struct Parameter {
    name: &'static str,
    takes: String,
    default: &'static str,
    meaning: &'static str,
    origin: &'static str,
}

pub(crate) fn run(args: &Args) -> Result<Status> {
    if let Some(name) = &args.name {
        tell(find(name)?, args.format)?;
        return Ok(Status::Done);
    }
    let wanted = |entry: &&Entry| {
        args.access.is_none_or(|access| entry.access() <= access)
            && args.norm.is_none_or(|norm| entry.norms.contains(&norm))
            && args
                .family
                .is_none_or(|family| entry.family == family.family())
    };
    let listed: Vec<Listed> = ATTACKS.iter().filter(wanted).map(Listed::of).collect();
    match args.format {
        Format::Json => print_json(&listed)?,
        Format::Table => list(&listed)?,
    }
    Ok(Status::Done)
}

/// Prints a table, ordered by family and then by access, weakest first.
fn list(listed: &[Listed]) -> Result<()> {
    let mut out = terminal::out();
    let width = |of: fn(&Listed) -> usize| listed.iter().map(of).max().unwrap_or(0);
    let (names, norms) = (
        width(|one| one.name.len()),
        width(|one| one.norms.join(",").len()),
    );
    writeln!(
        out,
        "{:names$}  {:9}  {:norms$}  {:12}  {:8}  {:8}",
        "name", "access", "norms", "family", "finds", "target"
    )?;
    for one in listed {
        writeln!(
            out,
            "{:names$}  {:9}  {:norms$}  {:12}  {:8}  {:8}  {}",
            one.name,
            one.access,
            one.norms.join(","),
            one.family,
            one.kind,
            if one.targeted { "yes" } else { "no" },
            one.summary
        )?;
    }
    writeln!(
        out,
        "\nfinds: any fooling picture within a radius, the smallest distance, or one perturbation for many pictures.\n\
         `hoodwink attacks NAME` describes one attack in detail."
    )?;
    Ok(())
}

fn tell(entry: &'static Entry, format: Format) -> Result<()> {
    let parameters = entry.parameters.iter().map(|parameter| Parameter {
        name: parameter.name,
        takes: parameter.kind.to_string(),
        default: parameter.default,
        meaning: parameter.meaning,
        origin: parameter.origin,
    });
    let told = Told {
        listed: Listed::of(entry),
        cost: entry.cost,
        parameters: parameters.collect(),
        doc: entry.doc(),
    };
    if format == Format::Json {
        return print_json(&told);
    }
    let mut out = terminal::out();
    writeln!(out, "{}\n", told.doc)?;
    let finds = match entry.aim {
        Aim::Radius => "a fooling picture within a radius (--eps)",
        Aim::Smallest => "the nearest fooling picture",
        Aim::Many => {
            "one perturbation within a radius (--eps) that fools the model on many pictures"
        }
    };
    writeln!(out, "# Summary\n\nAccess: {}", told.listed.access)?;
    writeln!(out, "Norms: {}", told.listed.norms.join(", "))?;
    writeln!(out, "Finds: {finds}")?;
    writeln!(
        out,
        "Supports a target class (--target): {}",
        if entry.targeted { "yes" } else { "no" }
    )?;
    writeln!(out, "Cost: {}", told.cost)?;
    if told.parameters.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n# Parameters\n\nAs in --attack '{}({}={})'.\n",
        entry.name, told.parameters[0].name, told.parameters[0].default
    )?;
    for parameter in &told.parameters {
        writeln!(
            out,
            "{} = {}\n    {}\n    takes {}; the default is {}",
            parameter.name, parameter.default, parameter.meaning, parameter.takes, parameter.origin
        )?;
    }
    Ok(())
}
