//! Compares with torchattacks and Foolbox: a gradient, an attack at equal steps, a process at equal success.

mod duel;
mod start;

use std::{
    cell::Cell,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{Setup, machine};
use crate::cargo;

/// How often each contender runs. The rounds alternate, so that a busy moment of the machine affects all.
const ROUNDS: usize = 3;

const STEPS: &str = "40";

#[derive(Clone, Copy)]
struct Ball {
    eps: &'static str,
    step: &'static str,
}

/// A model under PGD-40.
struct Duel {
    title: &'static str,
    model: &'static str,
    mean: &'static str,
    std: &'static str,
    ball: Ball,
    /// Number of pictures for the whole process.
    pictures: &'static str,
    /// Number of pictures for the attack that never ends early: a multiple of the peers' batches.
    right: &'static str,
}

const DUELS: [Duel; 2] = [
    Duel {
        title: "ResNet-20, trained plainly, 8/255",
        model: "cifar10/models/resnet20_akamaster.onnx",
        mean: "0.485,0.456,0.406",
        std: "0.229,0.224,0.225",
        ball: Ball {
            eps: "8/255",
            step: "2/255",
        },
        pictures: "512",
        right: "256",
    },
    Duel {
        title: "resnet_2b, trained adversarially, 2/255",
        model: "cifar10/models/resnet_2b_adv2.onnx",
        mean: "0.4914,0.4822,0.4465",
        std: "0.2471,0.2435,0.2616",
        ball: Ball {
            eps: "2/255",
            step: "0.5/255",
        },
        pictures: "1000",
        right: "1024",
    },
];

const HEAD: &str = "\
# PGD compared with PyTorch, torchattacks and Foolbox

Three comparisons, each in a separate table. In each, the contenders took turns on the same machine, and the tables show
medians. The peers' network is a PyTorch module with the weights of the ONNX file; its logits are checked against ONNX
Runtime's. It is in eval mode with frozen parameters, and uses the threads, batch and layout that were fastest for a
gradient just before. `torch.compile` was not tried.

- *Per gradient*: loss and input gradient of one batch, with the same number of pictures for all, and nothing else. The
  engines divide the pictures among their workers. Medians of eleven rounds.
- *Per attack at equal steps*: PGD with 40 steps on the first pictures that the network gets right, in a ball so small
  that no picture falls, so that no attack ends early. The seconds of the attack itself, without the start of the
  process. For `hoodwink` they include the judge's verdict on floats and writing the rows. Medians of three rounds.
- *Whole process at equal success*: PGD with 40 steps on the first pictures of CIFAR-10's training set, from the start
  of the process to the last figure. `hoodwink` reads all pictures first, judges every success on floats and on the PNG,
  and writes the run folder with its report; the peers print two accuracies and save nothing. `hoodwink` ends an attack
  that has succeeded, while the peers take all 40 steps with all pictures; *gradients* counts those computed. *Peak* is
  the maximum memory of the process in MiB. Medians of three rounds.

*Processor* is the processor time of the whole process in seconds, over all its threads. It hardly depends on the other
load of the machine.

Made by `cargo xtask bench peers attacks`.

";

/// PyTorch's fastest setting.
struct Setting {
    threads: String,
    batch: String,
    layout: String,
}

impl Setting {
    fn words(&self) -> [&str; 3] {
        [&self.threads, &self.batch, &self.layout]
    }
}

/// The first `count` pictures of an array, their labels, and the ball around each.
struct Task {
    count: &'static str,
    pictures: PathBuf,
    labels: PathBuf,
    ball: Ball,
}

/// The measurements of one contender.
#[derive(Clone, Default)]
struct Taken {
    /// Seconds from the start of the process to its end, in each round.
    seconds: Vec<f64>,
    /// Seconds of the attack itself.
    attack: Vec<f64>,
    /// Processor seconds over all threads of the process.
    processor: Vec<f64>,
    peak: f64,
    clean: f64,
    robust: f64,
    gradients: f64,
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Runs everything, or the networks whose title contains `only`, and returns the page.
pub(super) fn page(setup: &Setup, only: Option<&str>) -> Result<String> {
    // One command, so that one set of features is compiled.
    let programs = ["--bin", "hoodwink", "--example", "gradient_speed"];
    cargo(
        &[&["build", "--release", "--workspace"][..], &programs].concat(),
        &[],
    )?;
    let bench = Bench {
        setup,
        ours: setup.target.join("release/hoodwink"),
        theirs: setup.root.join("benches/attacks.py"),
        out: setup.target.join("bench-run"),
        runs: Cell::new(0),
    };
    if bench.out.exists() {
        fs::remove_dir_all(&bench.out)?;
    }
    let mut page = HEAD.to_owned();
    let _ = writeln!(page, "Machine: {}.\n", machine()?);
    let wanted = |duel: &&Duel| only.is_none_or(|part| duel.title.contains(part));
    for duel in DUELS.iter().filter(wanted) {
        bench.duel(duel, &mut page)?;
    }
    if only.is_none() {
        bench.workers(&mut page)?;
        bench.cold(&mut page)?;
    }
    fs::remove_dir_all(&bench.out)?;
    let bytes = fs::metadata(&bench.ours)?.len();
    let _ = writeln!(
        page,
        "\nThe program is one file of {:.1} MB (goal: at most 40).",
        bytes as f64 / 1e6
    );
    Ok(page)
}

struct Bench<'a> {
    setup: &'a Setup,
    ours: PathBuf,
    theirs: PathBuf,
    /// The folder of our runs.
    out: PathBuf,
    /// Number of timed processes. Each run has a separate folder: on this file system, creating files where others were
    /// just deleted costs five times as much.
    runs: Cell<usize>,
}

impl Bench<'_> {
    fn our_command(&self, duel: &Duel, task: &Task, engine: &str, threads: &str) -> Command {
        let mut command = Command::new(&self.ours);
        command.arg("attack").arg(self.asset(duel.model));
        command
            .arg(&task.pictures)
            .arg("--labels")
            .arg(&task.labels);
        command.args([
            "--limit", task.count, "--mean", duel.mean, "--std", duel.std,
        ]);
        command.args(["--eps", task.ball.eps, "--step-size", task.ball.step]);
        command.args(["--steps", STEPS, "--random-start", "true"]);
        command.args(["--engine", engine, "--threads", threads]);
        command.args(["--quiet", "--out"]).arg(self.folder());
        command
    }

    fn their_command(&self, library: &str, duel: &Duel, task: &Task, setting: &Setting) -> Command {
        let mut command = self.python(library, duel);
        command.arg(&task.pictures).arg(&task.labels);
        let value = |text: &str| {
            let of_255: f64 = text.trim_end_matches("/255").parse().unwrap_or(f64::NAN);
            (of_255 / 255.0).to_string()
        };
        command.args([
            task.count,
            &value(task.ball.eps),
            &value(task.ball.step),
            STEPS,
        ]);
        command.args([duel.mean, duel.std]).args(setting.words());
        command
    }

    /// Returns the command that runs the peers' script in one of its modes on the model.
    fn python(&self, mode: &str, duel: &Duel) -> Command {
        let mut command = Command::new(&self.setup.python);
        command.arg(&self.theirs).arg(mode);
        command.arg(self.asset(duel.model));
        command
    }

    fn pictures(&self) -> PathBuf {
        self.asset("cifar10/train_0-1999_x_u8_NHWC.npy")
    }

    fn labels(&self) -> PathBuf {
        self.asset("cifar10/train_0-1999_y.npy")
    }

    /// Returns the folder of the next run.
    fn folder(&self) -> PathBuf {
        self.out.join(self.runs.get().to_string())
    }

    /// Runs a command under the clock.
    fn timed(&self, command: &mut Command) -> Result<Value> {
        let mut clock = Command::new(&self.setup.python);
        clock.arg(&self.theirs).arg("time").arg(self.folder());
        self.runs.set(self.runs.get() + 1);
        clock.arg(command.get_program()).args(command.get_args());
        clock.env("ORT_DYLIB_PATH", &self.setup.library);
        answer(&mut clock)
    }

    /// Reads the run folder of the last run.
    fn note_ours(&self, taken: &mut Taken) -> Result<()> {
        let folder = self.out.join((self.runs.get() - 1).to_string());
        let timing: Value = serde_json::from_slice(&fs::read(folder.join("timing.json"))?)?;
        taken.attack.push(number(&timing, "seconds")?);
        let mut report = Command::new(&self.ours);
        let summary = report.arg("report").arg(folder).args(["--format", "json"]);
        let output = summary.output()?;
        let summary: Value = serde_json::from_slice(&output.stdout)
            .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
        let attack = &summary["attacks"][0];
        taken.clean = number(&attack["clean_accuracy"], "value")?;
        taken.robust = number(&attack["robust_accuracy"], "value")?;
        taken.gradients = number(&attack["gradients"], "total")?;
        Ok(())
    }

    fn asset(&self, path: &str) -> PathBuf {
        Path::new(&self.setup.assets).join(path)
    }
}

/// Reads what a peer printed.
fn note_theirs(answer: &Value, task: &Task, taken: &mut Taken) -> Result<()> {
    let said: Value = serde_json::from_str(answer["said"].as_str().unwrap_or_default())?;
    taken.attack.push(number(&said, "attack")?);
    taken.clean = number(&said, "clean")?;
    taken.robust = number(&said, "robust")?;
    taken.gradients = task.count.parse::<f64>()? * STEPS.parse::<f64>()?;
    Ok(())
}

/// Returns the JSON on a command's last output line.
fn answer(command: &mut Command) -> Result<Value> {
    let output = command.output()?;
    let text = String::from_utf8(output.stdout)?;
    let line = text.lines().last().unwrap_or_default();
    serde_json::from_str(line).with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

fn number(answer: &Value, key: &str) -> Result<f64> {
    answer[key].as_f64().with_context(|| format!("no {key}"))
}
