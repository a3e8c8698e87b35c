//! `cargo xtask measure lint`: checks that planted mistakes of preprocessing and labels are found, without false
//! alarms.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{assets, cargo, root, say, target};

/// A model with the correct settings.
struct Subject {
    model: &'static str,
    data: Data,
    normalisation: &'static str,
    range: &'static str,
    layout: &'static str,
    channels: &'static str,
}

#[derive(Clone, Copy, PartialEq)]
enum Data {
    Cifar,
    Mnist,
    Fashion,
    /// Photographs for models with this input side.
    Photographs(u32),
}

/// Pictures and labels.
type Set = [&'static str; 2];

impl Data {
    /// A large set and a small one.
    fn sets(self) -> [Set; 2] {
        match self {
            Self::Cifar => [
                [
                    "cifar10/train_0-1999_x_u8_NHWC.npy",
                    "cifar10/train_0-1999_y.npy",
                ],
                [
                    "cifar10/test_0-499_x_u8_NHWC.npy",
                    "cifar10/test_0-499_y.npy",
                ],
            ],
            Self::Mnist => [
                ["mnist/train_20000_x_u8.npy", "mnist/train_20000_y.npy"],
                ["mnist/test_2500_x_u8.npy", "mnist/test_2500_y.npy"],
            ],
            Self::Fashion => [["fashion/sprite450_x_u8.npy", "fashion/sprite450_y.npy"]; 2],
            Self::Photographs(_) => [["imagenet/images", "imagenet/images/labels.csv"]; 2],
        }
    }

    fn classes(self) -> u32 {
        match self {
            Self::Photographs(_) => 1000,
            _ => 10,
        }
    }

    /// Returns the flags that scale the pictures.
    fn flags(self) -> Vec<String> {
        match self {
            Self::Photographs(side) => {
                let resize = (f64::from(side) / 0.875).round();
                vec![format!("--resize={resize}"), format!("--crop={side}")]
            }
            _ => Vec::new(),
        }
    }
}

const IMAGENET: &str = "--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225";
const CIFAR: &str = "--mean 0.4914,0.4822,0.4465 --std 0.2471,0.2435,0.2616";
const CIFAR_NARROW: &str = "--mean 0.4914,0.4822,0.4465 --std 0.2023,0.1994,0.2010";
const KW: &str = "--mean 0.485,0.456,0.406 --std 0.225,0.225,0.225";
const MNIST: &str = "--mean 0.1307 --std 0.3081";
const CAFFE: &str = "--mean 0.40761,0.45796,0.48502";

const fn subject(model: &'static str, data: Data, normalisation: &'static str) -> Subject {
    Subject {
        model,
        data,
        normalisation,
        range: "0..1",
        layout: "nchw",
        channels: "rgb",
    }
}

const SUBJECTS: [Subject; 18] = [
    subject(
        "cifar10/models/resnet20_akamaster.onnx",
        Data::Cifar,
        IMAGENET,
    ),
    subject("cifar10/models/resnet_2b_adv2.onnx", Data::Cifar, CIFAR),
    subject(
        "cifar10/models/cifar_cnn_a_adv.onnx",
        Data::Cifar,
        CIFAR_NARROW,
    ),
    subject(
        "cifar10/models/cifar_cnn_a_mix.onnx",
        Data::Cifar,
        CIFAR_NARROW,
    ),
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
    subject("mnist/models/onnxzoo_mnist.onnx", Data::Mnist, ""),
    subject("mnist/models/mnist-net_256x2.onnx", Data::Mnist, ""),
    subject("mnist/models/mnist_relu_9_200.onnx", Data::Mnist, ""),
    subject("fashion/models/kw_fashion_eps01.onnx", Data::Fashion, ""),
    Subject {
        range: "0..255",
        channels: "bgr",
        ..subject(
            "imagenet/models/squeezenet1_1_f32.onnx",
            Data::Photographs(224),
            CAFFE,
        )
    },
    Subject {
        range: "-1..1",
        ..subject(
            "imagenet/models/mobilenet_v1_050_160.onnx",
            Data::Photographs(160),
            "",
        )
    },
    Subject {
        range: "-1..1",
        ..subject(
            "imagenet/models/mobilenet_v2_100_224.onnx",
            Data::Photographs(224),
            "",
        )
    },
];

/// The planted mistake.
#[derive(Clone, Copy, PartialEq)]
enum Mistake {
    None,
    NoNormalisation,
    AnotherNormalisation,
    /// Both in the file, for example, and by the flags.
    NormalisedTwice,
    OtherChannels,
    Range(&'static str),
    /// Every label is one too high; the last becomes the first.
    ShiftedLabels,
    /// Labels in reverse order.
    ReversedLabels,
}

impl Mistake {
    const ALL: [Self; 10] = [
        Self::None,
        Self::NoNormalisation,
        Self::AnotherNormalisation,
        Self::NormalisedTwice,
        Self::OtherChannels,
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
            Self::NormalisedTwice => "normalised twice".into(),
            Self::OtherChannels => "RGB and BGR exchanged".into(),
            Self::Range(range) => format!("values {range}"),
            Self::ShiftedLabels => "labels one too high".into(),
            Self::ReversedLabels => "labels in reverse order".into(),
        }
    }

    /// Returns whether this is a mistake for a model, and not what it needs.
    fn applies(self, subject: &Subject) -> bool {
        let colour = matches!(subject.data, Data::Cifar | Data::Photographs(_));
        match self {
            Self::NoNormalisation => !subject.normalisation.is_empty(),
            Self::AnotherNormalisation => subject.normalisation.is_empty(),
            Self::NormalisedTwice => subject.normalisation.contains("--std"),
            Self::OtherChannels => colour,
            Self::Range(range) => range != subject.range,
            Self::None | Self::ShiftedLabels | Self::ReversedLabels => true,
        }
    }

    /// Returns the finding that names it.
    fn wanted(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::ShiftedLabels | Self::ReversedLabels => Some("labels"),
            _ => Some("preprocessing"),
        }
    }
}

const HEAD: &str = "\
# Planted mistakes and the lint's findings

`hoodwink inspect MODEL DATA` is given the right description of each model, and then the same with one mistake. *Found* means
that a finding names the kind of mistake, with many pictures (2,000 of CIFAR-10, 20,000 of MNIST) or with few (500, 2,500).
Fashion-MNIST has 450 pictures and ImageNet 100 photographs in both cases. *Accuracy* is measured on the first 300 of
the few pictures, without and with the mistake.

A mistake that hardly changes the accuracy is found by the log loss at the best temperature. It measures how well the model
separates the classes, at any confidence. It also found errors in two descriptions that came with this collection of models:
cifar_cnn_a's standard deviations are the narrow ones (0.2023, 0.1994, 0.2010: 71.8% of 2,000 pictures correct instead of
68.0%), and onnxzoo_mnist takes 0..1, not 0..255, because the demonstration that it comes from divides the pixels.

If the log loss distinguishes two descriptions but the accuracy does not, the warning says so: 91.0% and 92.6% of 48 pictures
are not distinguishable.

Made by `cargo xtask measure lint`, which needs the folder of models and pictures in `HOODWINK_ASSETS`.

This table still warns of a confidence of exactly 1, which a difference of 17 between the two largest logits gives. It no longer
hides the gradient from attacks, so the lint now warns from a difference of 87, where the cross-entropy itself is 0 in 32-bit floats.

| model | mistake | accuracy | with it | found from many | from few | finding |
|---|---|---:|---:|---|---|---|
";

/// Plants every mistake in the description of every model, and writes `docs/lint.md`.
pub(crate) fn measure() -> Result<()> {
    cargo(&["build", "--release", "--package", "hoodwink-cli"], &[])?;
    let (target, assets) = (target(), assets()?);
    let bench = Bench {
        program: target.join("release/hoodwink"),
        scratch: target.join("lint"),
        assets,
    };
    fs::create_dir_all(&bench.scratch)?;
    let mut table = HEAD.to_owned();
    let (mut planted, mut told, mut false_alarms) = (0, [0; 2], [0; 2]);
    for subject in &SUBJECTS {
        let right = bench.accuracy(subject, Mistake::None)?;
        let name = Path::new(subject.model).file_stem().unwrap_or_default();
        for mistake in Mistake::ALL
            .into_iter()
            .filter(|mistake| mistake.applies(subject))
        {
            planted += usize::from(mistake != Mistake::None);
            let mut cells = [String::new(), String::new()];
            let mut by = Vec::new();
            for (at, set) in subject.data.sets().into_iter().enumerate() {
                let findings = bench.findings(subject, mistake, set)?;
                let named = findings
                    .iter()
                    .any(|(kind, _)| Some(kind.as_str()) == mistake.wanted());
                if mistake == Mistake::None {
                    // A saturated softmax is a property of the model, not a false alarm.
                    let alarm = findings.iter().any(|(kind, _)| kind != "saturated");
                    false_alarms[at] += usize::from(alarm);
                } else {
                    told[at] += usize::from(named);
                    cells[at] = if named { "yes" } else { "**no**" }.to_owned();
                }
                if at == 0 {
                    by.extend(findings.into_iter().map(|(_, saw)| saw));
                }
            }
            let line = format!(
                "| {} | {} | {right:.1}% | {:.1}% | {} | {} | {} |\n",
                name.to_string_lossy(),
                mistake.title(),
                bench.accuracy(subject, mistake)?,
                cells[0],
                cells[1],
                by.join("; ")
            );
            say(&line);
            table.push_str(&line);
        }
    }
    // Writing to a string cannot fail.
    let _ = write!(
        table,
        "\nOf {planted} planted mistakes {} were found from many pictures and {} from few; {} and {} of {} correct \
         descriptions gave false alarms.\n",
        told[0],
        told[1],
        false_alarms[0],
        false_alarms[1],
        SUBJECTS.len()
    );
    let page = root().join("docs/lint.md");
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
        [pictures, labels]: Set,
        more: &[&str],
    ) -> Result<Value> {
        let labels = self.labels(&self.assets.join(labels), mistake, subject.data.classes())?;
        let mut flags = subject.data.flags();
        flags.push(format!("--layout={}", subject.layout));
        flags.extend(normalisation(subject, mistake)?);
        let range = match mistake {
            Mistake::Range(range) => range,
            _ => subject.range,
        };
        flags.push(format!("--input-range={range}"));
        let channels = match (mistake, subject.channels) {
            (Mistake::OtherChannels, "rgb") => "bgr",
            (Mistake::OtherChannels, _) => "rgb",
            (_, right) => right,
        };
        flags.push(format!("--channels={channels}"));
        let output = Command::new(&self.program)
            .arg(command)
            .arg(self.assets.join(subject.model))
            .arg(self.assets.join(pictures))
            .arg("--labels")
            .arg(labels)
            .args(flags)
            .args(["--quiet", "--format", "json"])
            .args(more)
            .output()?;
        if output.status.code().is_none_or(|code| code > 1) {
            bail!("{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Returns the labels' file, or a copy with the mistake.
    fn labels(&self, path: &Path, mistake: Mistake, classes: u32) -> Result<PathBuf> {
        let change = |label: u32| match mistake {
            Mistake::ShiftedLabels => (label + 1) % classes,
            _ => classes - 1 - label,
        };
        if !matches!(mistake, Mistake::ShiftedLabels | Mistake::ReversedLabels) {
            return Ok(path.to_owned());
        }
        let mut bytes = fs::read(path).with_context(|| path.display().to_string())?;
        let is_table = path.extension().is_some_and(|extension| extension == "csv");
        if is_table {
            let mut table = "file,label\n".to_owned();
            for line in String::from_utf8(bytes)?.lines().skip(1) {
                let mut cells = line.split(',');
                let (Some(file), Some(label)) = (cells.next(), cells.next()) else {
                    bail!("{}: a line without a label", path.display());
                };
                writeln!(table, "{file},{}", change(label.parse()?))?;
            }
            bytes = table.into_bytes();
        } else {
            let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
            for label in &mut bytes[header..] {
                *label = u8::try_from(change(u32::from(*label)))?;
            }
        }
        let copy = self
            .scratch
            .join(if is_table { "labels.csv" } else { "labels.npy" });
        fs::write(&copy, bytes)?;
        Ok(copy)
    }

    fn findings(
        &self,
        subject: &Subject,
        mistake: Mistake,
        set: Set,
    ) -> Result<Vec<(String, String)>> {
        let answer = self.run("inspect", subject, mistake, set, &[])?;
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

    /// Returns the accuracy in percent.
    fn accuracy(&self, subject: &Subject, mistake: Mistake) -> Result<f64> {
        let [_, few] = subject.data.sets();
        let answer = self.run("predict", subject, mistake, few, &["--limit", "300"])?;
        let value = answer["accuracy"]["value"]
            .as_f64()
            .context("an accuracy")?;
        Ok(100.0 * value)
    }
}

/// Returns the flags of mean and standard deviation.
fn normalisation(subject: &Subject, mistake: Mistake) -> Result<Vec<String>> {
    let right = || subject.normalisation.split_whitespace().map(str::to_owned);
    Ok(match mistake {
        Mistake::NoNormalisation => Vec::new(),
        Mistake::AnotherNormalisation => match subject.data {
            Data::Cifar | Data::Photographs(_) => IMAGENET,
            Data::Mnist | Data::Fashion => MNIST,
        }
        .split_whitespace()
        .map(str::to_owned)
        .collect(),
        Mistake::NormalisedTwice => {
            let values: Vec<Vec<f64>> = right()
                .skip(1)
                .step_by(2)
                .map(|list| list.split(',').map(str::parse).collect())
                .collect::<Result<_, _>>()?;
            let [mean, std] = &values[..] else {
                bail!("{} has no mean and standard deviation", subject.model);
            };
            // ((x - m) / s - m) / s
            let pairs = || mean.iter().zip(std);
            let list = |values: Vec<f64>| {
                let values: Vec<String> = values.iter().map(f64::to_string).collect();
                values.join(",")
            };
            let means = pairs().map(|(mean, std)| mean + std * mean).collect();
            let stds = pairs().map(|(_, std)| std * std).collect();
            vec![
                format!("--mean={}", list(means)),
                format!("--std={}", list(stds)),
            ]
        }
        _ => right().collect(),
    })
}
