//! `cargo xtask measure`: compares robust accuracies of published models with reference figures.

use std::{fmt::Write as _, fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{assets, cargo, root, say, target};

/// A model with its data, and the accuracies recorded for it.
struct Subject {
    model: &'static str,
    pictures: &'static str,
    labels: &'static str,
    preprocessing: &'static str,
    clean: f64,
    /// eps, and the share of pictures that stay correct under PGD-40 with two restarts.
    robust: &'static [(&'static str, f64)],
}

const CIFAR: (&str, &str) = (
    "cifar10/test_0-499_x_u8_NHWC.npy",
    "cifar10/test_0-499_y.npy",
);
const MNIST: (&str, &str) = ("mnist/test_2500_x_u8.npy", "mnist/test_2500_y.npy");
const FASHION: (&str, &str) = ("fashion/sprite450_x_u8.npy", "fashion/sprite450_y.npy");

const IMAGENET_NORM: &str = "--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225";
const CIFAR_NORM: &str = "--mean 0.4914,0.4822,0.4465 --std 0.2471,0.2435,0.2616";
const VIT_NORM: &str = "--mean 0.4914,0.4822,0.4465 --std 0.2023,0.1994,0.2010";
const KW_NORM: &str = "--mean 0.485,0.456,0.406 --std 0.225,0.225,0.225";

const fn subject(
    model: &'static str,
    (pictures, labels): (&'static str, &'static str),
    preprocessing: &'static str,
    clean: f64,
    robust: &'static [(&'static str, f64)],
) -> Subject {
    Subject {
        model,
        pictures,
        labels,
        preprocessing,
        clean,
        robust,
    }
}

const SUBJECTS: [Subject; 9] = [
    subject(
        "cifar10/models/resnet20_akamaster.onnx",
        CIFAR,
        IMAGENET_NORM,
        0.915,
        &[("1/255", 0.160), ("2/255", 0.005), ("8/255", 0.0)],
    ),
    subject(
        "cifar10/models/resnet_2b_adv2.onnx",
        CIFAR,
        CIFAR_NORM,
        0.703,
        &[("2/255", 0.550), ("8/255", 0.135)],
    ),
    subject(
        "cifar10/models/cifar_cnn_a_adv.onnx",
        CIFAR,
        CIFAR_NORM,
        0.664,
        &[("2/255", 0.460), ("8/255", 0.085)],
    ),
    subject(
        "cifar10/models/cifar_wide_kw.onnx",
        CIFAR,
        KW_NORM,
        0.636,
        &[("2/255", 0.550), ("8/255", 0.190)],
    ),
    subject(
        "cifar10/models/vit_pgd_2_3_16.onnx",
        CIFAR,
        VIT_NORM,
        0.611,
        &[("1/255", 0.585), ("2/255", 0.455)],
    ),
    subject(
        "mnist/models/fastadv_pgd_eps03.onnx",
        MNIST,
        "",
        0.989,
        &[("0.1", 0.980), ("0.3", 0.905)],
    ),
    subject(
        "mnist/models/kw_mnist_eps01.onnx",
        MNIST,
        "",
        0.982,
        &[("0.1", 0.960)],
    ),
    subject(
        "mnist/models/eran_conv_small_nat.onnx",
        MNIST,
        "--mean 0.1307 --std 0.3081",
        0.980,
        &[("0.1", 0.845)],
    ),
    subject(
        "fashion/models/kw_fashion_eps01.onnx",
        FASHION,
        "",
        0.791,
        &[("0.05", 0.715)],
    ),
];

const HEAD: &str = "\
# Measured robust accuracies and reference figures

PGD in L∞ with 40 steps and 2 restarts, untargeted, on 200 pictures of each data set. The *reference* figures were
recorded with this collection of models, using the same attack in PyTorch: robust accuracy on 200 pictures, clean accuracy on larger
sets. Those were different pictures, so the figures differ by sampling error. *Saved* is judged on the 8-bit PNGs after
reading them back. Intervals are Clopper–Pearson at 95%.

Made by `cargo xtask measure`, which needs the folder of models and pictures in `HOODWINK_ASSETS`; below, `$A` stands
for that folder.

| model | eps | clean | reference | robust | interval | reference | saved |
|---|---|---:|---:|---:|---|---:|---:|
";

/// Measures every subject and writes `docs/measured.md`. `only` selects those whose path contains it, and prints
/// instead.
pub(crate) fn measure(only: Option<&str>) -> Result<()> {
    cargo(&["build", "--release", "--package", "hoodwink-cli"], &[])?;
    let (target, assets) = (target(), assets()?);
    let program = target.join("release/hoodwink");
    let scratch = target.join("measure");
    let (mut table, mut commands, mut engine) = (HEAD.to_owned(), String::new(), String::new());
    let chosen = SUBJECTS
        .iter()
        .filter(|subject| only.is_none_or(|part| subject.model.contains(part)));
    for subject in chosen {
        let run = scratch.join(subject.model.replace('/', "-"));
        if run.exists() {
            fs::remove_dir_all(&run).with_context(|| run.display().to_string())?;
        }
        let arguments = subject.arguments();
        say(&format!("$ hoodwink {}\n", arguments.join(" ")));
        let output = Command::new(&program)
            .args(
                arguments
                    .iter()
                    .map(|a| a.replace("$A", &assets.to_string_lossy())),
            )
            .args(["--quiet", "--format", "json", "--out"])
            .arg(&run)
            .output()
            .with_context(|| program.display().to_string())?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr));
        }
        let summary: Value = serde_json::from_slice(&output.stdout)?;
        let rows = subject.rows(&summary)?;
        say(&rows);
        table.push_str(&rows);
        // Writing to a string cannot fail.
        let _ = writeln!(commands, "hoodwink {} --out RUN", arguments.join(" "));
        let settings = fs::read_to_string(run.join("run.toml"))?;
        if let Some(line) = settings.lines().find(|line| line.starts_with("engine")) {
            // The name is followed by the build, which users cannot choose.
            let name = line.trim_start_matches("engine = ").trim_matches('"');
            engine = name.split(':').next().unwrap_or(name).to_owned();
        }
    }
    if only.is_some() {
        return Ok(());
    }
    let _ = write!(table, "\nEngine: {engine}.\n\n```sh\n{commands}```\n");
    let page = root().join("docs/measured.md");
    fs::write(&page, table).with_context(|| page.display().to_string())
}

impl Subject {
    fn arguments(&self) -> Vec<String> {
        let radii: Vec<&str> = self.robust.iter().map(|(eps, _)| *eps).collect();
        let line = format!(
            "attack $A/{} $A/{} --labels $A/{} {} --limit 200 --attack pgd --steps 40 --restarts 2 --eps {}",
            self.model,
            self.pictures,
            self.labels,
            self.preprocessing,
            radii.join(",")
        );
        line.split_whitespace().map(str::to_owned).collect()
    }

    /// Returns one line of the table per eps.
    fn rows(&self, summary: &Value) -> Result<String> {
        let name = Path::new(self.model)
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy();
        let attacks = summary["attacks"].as_array().context("a list of attacks")?;
        let mut rows = String::new();
        for (attack, (eps, reference)) in attacks.iter().zip(self.robust) {
            let percent = |key: &str, field: &str| {
                let value = attack[key][field].as_f64();
                value.map_or_else(|| "–".to_owned(), |value| format!("{:.1}%", 100.0 * value))
            };
            let _ = writeln!(
                rows,
                "| {name} | {eps} | {} | {:.1}% | {} | {}–{} | {:.1}% | {} |",
                percent("clean_accuracy", "value"),
                100.0 * self.clean,
                percent("robust_accuracy", "value"),
                percent("robust_accuracy", "low"),
                percent("robust_accuracy", "high"),
                100.0 * reference,
                percent("robust_accuracy_saved", "value"),
            );
        }
        Ok(rows)
    }
}
