//! `cargo xtask measure lint`: whether planted mistakes of preprocessing and labels are found, and correct settings let be.

use std::{
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{cargo, say};

/// A model with the settings that are right for it.
struct Subject {
    model: &'static str,
    data: Data,
    normalisation: &'static str,
    range: &'static str,
    layout: &'static str,
}

#[derive(Clone, Copy, PartialEq)]
enum Data {
    Cifar,
    Mnist,
    Fashion,
}

impl Data {
    fn files(self) -> [&'static str; 2] {
        match self {
            Self::Cifar => [
                "cifar10/test_0-499_x_u8_NHWC.npy",
                "cifar10/test_0-499_y.npy",
            ],
            Self::Mnist => ["mnist/test_2500_x_u8.npy", "mnist/test_2500_y.npy"],
            Self::Fashion => ["fashion/sprite450_x_u8.npy", "fashion/sprite450_y.npy"],
        }
    }
}

const IMAGENET: &str = "--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225";
const CIFAR: &str = "--mean 0.4914,0.4822,0.4465 --std 0.2471,0.2435,0.2616";
const CIFAR_NARROW: &str = "--mean 0.4914,0.4822,0.4465 --std 0.2023,0.1994,0.2010";
const KW: &str = "--mean 0.485,0.456,0.406 --std 0.225,0.225,0.225";
const MNIST: &str = "--mean 0.1307 --std 0.3081";

const fn subject(model: &'static str, data: Data, normalisation: &'static str) -> Subject {
    Subject {
        model,
        data,
        normalisation,
        range: "0..1",
        layout: "nchw",
    }
}

const SUBJECTS: [Subject; 15] = [
    subject(
        "cifar10/models/resnet20_akamaster.onnx",
        Data::Cifar,
        IMAGENET,
    ),
    subject("cifar10/models/resnet_2b_adv2.onnx", Data::Cifar, CIFAR),
    subject("cifar10/models/cifar_cnn_a_adv.onnx", Data::Cifar, CIFAR),
    subject("cifar10/models/cifar_cnn_a_mix.onnx", Data::Cifar, CIFAR),
    subject("cifar10/models/cifar_wide_kw.onnx", Data::Cifar, KW),
    subject(
        "cifar10/models/vit_pgd_2_3_16.onnx",
        Data::Cifar,
        CIFAR_NARROW,
    ),
    Subject {
        layout: "nhwc",
        ..subject("cifar10/models/marabou_cifar10_small.onnx", Data::Cifar, "")
    },
    subject("mnist/models/Convnet_avgpool.onnx", Data::Mnist, ""),
    subject("mnist/models/fastadv_pgd_eps03.onnx", Data::Mnist, ""),
    subject("mnist/models/kw_mnist_eps01.onnx", Data::Mnist, ""),
    subject("mnist/models/eran_conv_small_nat.onnx", Data::Mnist, MNIST),
    Subject {
        range: "0..255",
        ..subject("mnist/models/onnxzoo_mnist.onnx", Data::Mnist, "")
    },
    subject("mnist/models/mnist-net_256x2.onnx", Data::Mnist, ""),
    subject("mnist/models/mnist_relu_9_200.onnx", Data::Mnist, ""),
    subject("fashion/models/kw_fashion_eps01.onnx", Data::Fashion, ""),
];

/// What is made wrong, and which finding is wanted.
#[derive(Clone, Copy, PartialEq)]
enum Mistake {
    None,
    NoNormalisation,
    AnotherNormalisation,
    Bgr,
    Range(&'static str),
    /// Every label one too high, the last being the first.
    ShiftedLabels,
    /// Labels in reverse order.
    ReversedLabels,
}

impl Mistake {
    const ALL: [Self; 9] = [
        Self::None,
        Self::NoNormalisation,
        Self::AnotherNormalisation,
        Self::Bgr,
        Self::Range("0..1"),
        Self::Range("0..255"),
        Self::Range("-1..1"),
        Self::ShiftedLabels,
        Self::ReversedLabels,
    ];

    fn title(self) -> String {
        match self {
            Self::None => "none".into(),
            Self::NoNormalisation => "normalisation forgotten".into(),
            Self::AnotherNormalisation => "normalised, and should not be".into(),
            Self::Bgr => "BGR for RGB".into(),
            Self::Range(range) => format!("values {range}"),
            Self::ShiftedLabels => "labels one too high".into(),
            Self::ReversedLabels => "labels in reverse order".into(),
        }
    }

    /// Whether this is a mistake for a model, and not what it wants.
    fn applies(self, subject: &Subject) -> bool {
        let colour = subject.data == Data::Cifar;
        match self {
            Self::NoNormalisation => !subject.normalisation.is_empty(),
            Self::AnotherNormalisation => subject.normalisation.is_empty(),
            Self::Bgr => colour,
            Self::Range(range) => range != subject.range,
            Self::None | Self::ShiftedLabels | Self::ReversedLabels => true,
        }
    }

    /// The finding that names it.
    fn wanted(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::ShiftedLabels | Self::ReversedLabels => Some("labels"),
            _ => Some("preprocessing"),
        }
    }
}

const HEAD: &str = "\
# Planted mistakes, and what is said of them

Each model is described to `hoodwink inspect MODEL DATA` as it should be, and then with one mistake. *Told* means that the
finding names the kind of mistake; *accuracy* is on the first 300 pictures, as described and with the mistake. A mistake
that hardly costs accuracy is not told from chance with 300 pictures (McNemar's test at 0.001).

Made by `cargo xtask measure lint`, which needs the folder of models and pictures in `HOODWINK_ASSETS`.

| model | mistake | accuracy | with it | told | by |
|---|---|---:|---:|---|---|
";

/// Plants every mistake in the description of every model, and writes `docs/lint.md`.
pub(crate) fn measure() -> Result<()> {
    cargo(&["build", "--release", "--package", "hoodwink-cli"], &[])?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let assets = PathBuf::from(
        env::var_os("HOODWINK_ASSETS")
            .context("HOODWINK_ASSETS must name the folder of models and pictures")?,
    );
    let bench = Bench {
        program: target.join("release/hoodwink"),
        scratch: target.join("lint"),
        assets,
    };
    fs::create_dir_all(&bench.scratch)?;
    let mut table = HEAD.to_owned();
    let (mut planted, mut told, mut false_alarms) = (0, 0, 0);
    for subject in &SUBJECTS {
        let right = bench.accuracy(subject, Mistake::None)?;
        for mistake in Mistake::ALL
            .into_iter()
            .filter(|mistake| mistake.applies(subject))
        {
            let findings = bench.findings(subject, mistake)?;
            let named = findings
                .iter()
                .any(|(kind, _)| Some(kind.as_str()) == mistake.wanted());
            match mistake {
                // That a model is too sure of itself is a property of the model.
                Mistake::None => {
                    false_alarms +=
                        usize::from(findings.iter().any(|(kind, _)| kind != "saturated"))
                }
                _ => {
                    planted += 1;
                    told += usize::from(named);
                }
            }
            let name = Path::new(subject.model)
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy();
            let said: Vec<&str> = findings.iter().map(|(_, saw)| saw.as_str()).collect();
            let line = format!(
                "| {name} | {} | {right:.1}% | {:.1}% | {} | {} |\n",
                mistake.title(),
                bench.accuracy(subject, mistake)?,
                match (mistake, named) {
                    (Mistake::None, _) => "",
                    (_, true) => "yes",
                    (_, false) => "**no**",
                },
                said.join("; ")
            );
            say(&line);
            table.push_str(&line);
        }
    }
    // Writing to a string cannot fail.
    let _ = write!(
        table,
        "\nOf {planted} planted mistakes {told} were told; {false_alarms} of {} correct descriptions were taken for mistakes.\n",
        SUBJECTS.len()
    );
    let page = root.join("docs/lint.md");
    fs::write(&page, table).with_context(|| page.display().to_string())
}

struct Bench {
    program: PathBuf,
    scratch: PathBuf,
    assets: PathBuf,
}

impl Bench {
    fn run(
        &self,
        command: &str,
        subject: &Subject,
        mistake: Mistake,
        more: &[&str],
    ) -> Result<Value> {
        let [pictures, labels] = subject.data.files().map(|file| self.assets.join(file));
        let labels = self.labels(&labels, mistake)?;
        let mut flags = vec![format!("--layout={}", subject.layout)];
        let normalisation = match mistake {
            Mistake::NoNormalisation => "",
            Mistake::AnotherNormalisation if subject.data == Data::Cifar => IMAGENET,
            Mistake::AnotherNormalisation => MNIST,
            _ => subject.normalisation,
        };
        flags.extend(normalisation.split_whitespace().map(str::to_owned));
        let range = match mistake {
            Mistake::Range(range) => range,
            _ => subject.range,
        };
        flags.push(format!("--input-range={range}"));
        if mistake == Mistake::Bgr {
            flags.push("--channels=bgr".into());
        }
        let output = Command::new(&self.program)
            .arg(command)
            .arg(self.assets.join(subject.model))
            .arg(pictures)
            .arg("--labels")
            .arg(labels)
            .args(flags)
            .args(["--format", "json"])
            .args(more)
            .output()?;
        if output.status.code().is_none_or(|code| code > 1) {
            bail!("{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// The labels' file, or a copy with the mistake.
    fn labels(&self, path: &Path, mistake: Mistake) -> Result<PathBuf> {
        let change: fn(u8) -> u8 = match mistake {
            Mistake::ShiftedLabels => |label| (label + 1) % 10,
            Mistake::ReversedLabels => |label| 9 - label,
            _ => return Ok(path.to_owned()),
        };
        let mut bytes = fs::read(path).with_context(|| path.display().to_string())?;
        let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        for label in &mut bytes[header..] {
            *label = change(*label);
        }
        let copy = self.scratch.join("labels.npy");
        fs::write(&copy, bytes)?;
        Ok(copy)
    }

    fn findings(&self, subject: &Subject, mistake: Mistake) -> Result<Vec<(String, String)>> {
        let answer = self.run("inspect", subject, mistake, &[])?;
        let findings = answer["findings"]
            .as_array()
            .context("a list of findings")?;
        let text =
            |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        let pairs = findings
            .iter()
            .map(|finding| (text(finding, "mistake"), text(finding, "saw")));
        Ok(pairs.collect())
    }

    /// In percent.
    fn accuracy(&self, subject: &Subject, mistake: Mistake) -> Result<f64> {
        let answer = self.run("predict", subject, mistake, &["--quiet", "--limit", "300"])?;
        let value = answer["accuracy"]["value"]
            .as_f64()
            .context("an accuracy")?;
        Ok(100.0 * value)
    }
}
