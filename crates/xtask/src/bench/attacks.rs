//! Whole attacks beside those of torchattacks and Foolbox: from the start of a process to its last figure.

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
use crate::{cargo, say};

/// How often each contender runs. The rounds alternate, so that a busy moment of the machine falls on all.
const ROUNDS: usize = 3;

const PICTURES: &str = "1000";
const STEPS: &str = "40";
const RESTARTS: &str = "5";

/// A model under PGD-40 on the first thousand of its pictures.
struct Duel {
    title: &'static str,
    model: &'static str,
    mean: &'static str,
    std: &'static str,
    eps: &'static str,
    step: &'static str,
    /// How many times as fast as either peer the faster engine should be.
    wanted: f64,
}

const DUELS: [Duel; 2] = [
    Duel {
        title: "ResNet-20, trained plainly, 8/255",
        model: "cifar10/models/resnet20_akamaster.onnx",
        mean: "0.485,0.456,0.406",
        std: "0.229,0.224,0.225",
        eps: "8/255",
        step: "2/255",
        wanted: 5.0,
    },
    Duel {
        title: "resnet_2b, trained adversarially, 2/255",
        model: "cifar10/models/resnet_2b_adv2.onnx",
        mean: "0.4914,0.4822,0.4465",
        std: "0.2471,0.2435,0.2616",
        eps: "2/255",
        step: "0.5/255",
        wanted: 1.5,
    },
];

/// Who runs it: its name, and for hoodwink the engine and the number of threads.
const CONTENDERS: [(&str, Option<(&str, &str)>); 6] = [
    ("torchattacks", None),
    ("foolbox", None),
    ("hoodwink, ORT", Some(("ort", "2"))),
    ("hoodwink, ORT, one worker", Some(("ort", "1"))),
    ("hoodwink, rten", Some(("rten", "2"))),
    ("hoodwink, rten, one worker", Some(("rten", "1"))),
];

const HEAD: &str = "\
# Attacks beside torchattacks and Foolbox

PGD with 40 steps on the first 1,000 pictures of CIFAR-10's training set, whole processes: from their start to the last
figure, medians of three rounds in which the contenders took turns, two threads each. `hoodwink` reads all pictures first,
judges every success on floats and on the PNG, and writes the run folder with its report; the peers print two accuracies and
save nothing. `hoodwink` ends an attack that has succeeded; the peers take all 40 steps with all pictures.
The models are there only as ONNX files and run in PyTorch operator by operator, which may cost the peers something.
The same eps, size of step, number of steps and a random start for all. *Peak* is the most memory the process held, in MiB.

Made by `cargo xtask bench peers`.

";

/// What one run took.
#[derive(Clone, Default)]
struct Taken {
    seconds: Vec<f64>,
    peak: f64,
    clean: f64,
    robust: f64,
}

/// Runs everything and answers the page.
pub(super) fn page(setup: &Setup) -> Result<String> {
    cargo(&["build", "--release", "--package", "hoodwink-cli"], &[])?;
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
    for duel in &DUELS {
        bench.duel(duel, &mut page)?;
    }
    bench.workers(&mut page)?;
    bench.cold(&mut page)?;
    fs::remove_dir_all(&bench.out)?;
    let bytes = fs::metadata(&bench.ours)?.len();
    let _ = writeln!(
        page,
        "\nThe program is one file of {:.1} MB (wanted: 40 at most).",
        bytes as f64 / 1e6
    );
    Ok(page)
}

struct Bench<'a> {
    setup: &'a Setup,
    ours: PathBuf,
    theirs: PathBuf,
    /// Folder of our runs.
    out: PathBuf,
    /// How many processes were timed. Each run has a folder of its own: files made where others were just deleted cost the file
    /// system five times as much.
    runs: Cell<usize>,
}

impl Bench<'_> {
    fn duel(&self, duel: &Duel, page: &mut String) -> Result<()> {
        let mut taken = vec![Taken::default(); CONTENDERS.len()];
        for _ in 0..ROUNDS {
            for ((name, ours), taken) in CONTENDERS.iter().zip(&mut taken) {
                let mut command = match ours {
                    Some((engine, threads)) => self.our_command(duel, engine, threads),
                    None => self.their_command(name, duel),
                };
                let answer = self.timed(&mut command)?;
                taken.seconds.push(number(&answer, "seconds")?);
                taken.peak = taken.peak.max(number(&answer, "peak")?);
                if taken.seconds.len() == 1 {
                    (taken.clean, taken.robust) = match ours {
                        Some(_) => self.our_accuracies()?,
                        None => their_accuracies(&answer)?,
                    };
                }
                say(&format!(
                    "{}: {name}: {:.1?} s\n",
                    duel.title, taken.seconds
                ));
            }
        }
        let median = |taken: &Taken| {
            let mut seconds = taken.seconds.clone();
            seconds.sort_by(f64::total_cmp);
            seconds[seconds.len() / 2]
        };
        let _ = writeln!(
            page,
            "## {}\n\n| | seconds | pictures/s | times torchattacks | times Foolbox | peak | right before | right after |\n\
             |---|---:|---:|---:|---:|---:|---:|---:|",
            duel.title
        );
        for ((name, _), one) in CONTENDERS.iter().zip(&taken) {
            let seconds = median(one);
            let _ = writeln!(
                page,
                "| {name} | {seconds:.1} | {:.0} | {:.2} | {:.2} | {:.0} | {:.1}% | {:.1}% |",
                1000.0 / seconds,
                median(&taken[0]) / seconds,
                median(&taken[1]) / seconds,
                one.peak,
                100.0 * one.clean,
                100.0 * one.robust
            );
        }
        let _ = writeln!(
            page,
            "\nWanted: {} times as fast; a third of the memory (here {:.2} of torchattacks' on ORT, {:.2} on rten). Two workers \
             took one worker's time divided by {:.2} on ORT, {:.2} on rten.\n",
            duel.wanted,
            taken[2].peak / taken[0].peak,
            taken[4].peak / taken[0].peak,
            median(&taken[3]) / median(&taken[2]),
            median(&taken[5]) / median(&taken[4]),
        );
        Ok(())
    }

    /// Two workers beside one, where starting is no large part of the whole.
    fn workers(&self, page: &mut String) -> Result<()> {
        let duel = &DUELS[1];
        let _ = writeln!(
            page,
            "## Two workers\n\nThe attack on resnet_2b above with {RESTARTS} restarts, whole processes, medians of {ROUNDS} rounds; \
             wanted: 1.8 times as fast.\n\n| engine | one worker, s | two workers, s | times |\n|---|---:|---:|---:|"
        );
        for engine in ["ort", "rten"] {
            let mut seconds = [Vec::new(), Vec::new()];
            for _ in 0..ROUNDS {
                for (threads, seconds) in ["1", "2"].into_iter().zip(&mut seconds) {
                    let mut command = self.our_command(duel, engine, threads);
                    command.args(["--restarts", RESTARTS]);
                    seconds.push(number(&self.timed(&mut command)?, "seconds")?);
                }
            }
            for seconds in &mut seconds {
                seconds.sort_by(f64::total_cmp);
            }
            let [one, two] = seconds.map(|seconds| seconds[ROUNDS / 2]);
            let line = format!("| {engine} | {one:.1} | {two:.1} | {:.2} |\n", one / two);
            say(&line);
            page.push_str(&line);
        }
        page.push('\n');
        Ok(())
    }

    fn our_command(&self, duel: &Duel, engine: &str, threads: &str) -> Command {
        let mut command = Command::new(&self.ours);
        command.arg("attack").arg(self.asset(duel.model));
        command.arg(self.asset("cifar10/train_0-1999_x_u8_NHWC.npy"));
        command
            .arg("--labels")
            .arg(self.asset("cifar10/train_0-1999_y.npy"));
        command.args(["--limit", PICTURES, "--mean", duel.mean, "--std", duel.std]);
        command.args([
            "--eps",
            duel.eps,
            "--step-size",
            duel.step,
            "--steps",
            STEPS,
        ]);
        command.args([
            "--random-start",
            "true",
            "--engine",
            engine,
            "--threads",
            threads,
        ]);
        command.args(["--quiet", "--out"]).arg(self.folder());
        command
    }

    fn their_command(&self, library: &str, duel: &Duel) -> Command {
        let mut command = Command::new(&self.setup.python);
        command.arg(&self.theirs).arg(library);
        command.arg(self.asset(duel.model));
        command.arg(self.asset("cifar10/train_0-1999_x_u8_NHWC.npy"));
        command.arg(self.asset("cifar10/train_0-1999_y.npy"));
        let value = |text: &str| {
            let of_255: f64 = text.trim_end_matches("/255").parse().unwrap_or(f64::NAN);
            (of_255 / 255.0).to_string()
        };
        command.args([PICTURES, &value(duel.eps), &value(duel.step), STEPS]);
        command.args([duel.mean, duel.std]);
        command
    }

    /// Of the next run.
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

    fn our_accuracies(&self) -> Result<(f64, f64)> {
        let report = Command::new(&self.ours)
            .arg("report")
            .arg(self.out.join((self.runs.get() - 1).to_string()))
            .args(["--format", "json"])
            .output()?;
        let summary: Value = serde_json::from_slice(&report.stdout)
            .with_context(|| String::from_utf8_lossy(&report.stderr).into_owned())?;
        let share = |key: &str| {
            let value = summary["attacks"][0][key]["value"].as_f64();
            value.with_context(|| format!("no {key}"))
        };
        Ok((share("clean_accuracy")?, share("robust_accuracy")?))
    }

    /// From the start of the process to the first adversarial PNG.
    fn cold(&self, page: &mut String) -> Result<()> {
        page.push_str(
            "## Cold start\n\nSeconds from the start of the process to the first adversarial PNG: SqueezeNet 1.1, PGD-40 at \
             4/255, median of five. Of many photographs, all are read and 48 are looked at by the lint before; \
             `--no-lint` leaves that out.\n\n| | engine | first PNG | all |\n|---|---|---:|---:|\n",
        );
        for (title, limit, more) in [
            ("one photograph", "1", &[][..]),
            ("100 photographs, `--no-lint`", "100", &["--no-lint"]),
            ("100 photographs", "100", &[]),
        ] {
            for engine in ["ort", "rten"] {
                let mut first = Vec::new();
                let mut all = Vec::new();
                for _ in 0..5 {
                    let mut command = Command::new(&self.ours);
                    command.arg("attack");
                    command.arg(self.asset("imagenet/models/squeezenet1_1_f32.onnx"));
                    command.arg(self.asset("imagenet/images"));
                    command.args(["--resize", "256", "--crop", "224", "--channels", "bgr"]);
                    command.args(["--input-range", "0..255", "--mean", "0.4075,0.4579,0.4850"]);
                    // The network is wrong about the first picture.
                    command.args([
                        "--skip",
                        if limit == "1" { "1" } else { "0" },
                        "--limit",
                        limit,
                    ]);
                    command.args(["--eps", "4/255", "--steps", STEPS, "--engine", engine]);
                    command
                        .args(more)
                        .args(["--quiet", "--out"])
                        .arg(self.folder());
                    let answer = self.timed(&mut command)?;
                    first.push(number(&answer, "first")?);
                    all.push(number(&answer, "seconds")?);
                }
                for seconds in [&mut first, &mut all] {
                    seconds.sort_by(f64::total_cmp);
                }
                let line = format!("| {title} | {engine} | {:.2} | {:.2} |\n", first[2], all[2]);
                say(&line);
                page.push_str(&line);
            }
        }
        page.push_str("\nWanted: 1 second at most.\n");
        Ok(())
    }

    fn asset(&self, path: &str) -> PathBuf {
        Path::new(&self.setup.assets).join(path)
    }
}

/// What a peer printed.
fn their_accuracies(answer: &Value) -> Result<(f64, f64)> {
    let said: Value = serde_json::from_str(answer["said"].as_str().unwrap_or_default())?;
    Ok((number(&said, "clean")?, number(&said, "robust")?))
}

/// The JSON on a command's last line.
fn answer(command: &mut Command) -> Result<Value> {
    let output = command.output()?;
    let text = String::from_utf8(output.stdout)?;
    let line = text.lines().last().unwrap_or_default();
    serde_json::from_str(line).with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

fn number(answer: &Value, key: &str) -> Result<f64> {
    answer[key].as_f64().with_context(|| format!("no {key}"))
}
