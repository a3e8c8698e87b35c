//! Attacks beside those of torchattacks and Foolbox: a gradient, an attack at equal steps, a process at equal success.

use std::{
    cell::Cell,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread::sleep,
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{Contender, PAUSE, Setup, machine};
use crate::{cargo, say};

/// How often each contender runs. The rounds alternate, so that a busy moment of the machine falls on all.
const ROUNDS: usize = 3;

/// Of single gradients, which take less.
const GRADIENT_ROUNDS: usize = 11;

const PICTURES: &str = "1000";
const STEPS: &str = "40";
const RESTARTS: &str = "5";

/// So small a ball that no picture which was right falls, and no attack ends before its last step.
const NOTHING: Ball = Ball {
    eps: "0.01/255",
    step: "0.001/255",
};

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
    },
];

/// Who runs it: its name, and for hoodwink the engine and the number of threads.
const CONTENDERS: [(&str, Option<(&str, &str)>); 6] = [
    ("torchattacks", None),
    ("Foolbox", None),
    ("hoodwink, ORT, two workers", Some(("ort", "2"))),
    ("hoodwink, ORT, one worker", Some(("ort", "1"))),
    ("hoodwink, rten, two workers", Some(("rten", "2"))),
    ("hoodwink, rten, one worker", Some(("rten", "1"))),
];

const HEAD: &str = "\
# PGD beside PyTorch, torchattacks and Foolbox

Three comparisons, each in a table of its own; in each the contenders took turns on the same machine, and the medians count.
The peers' network is a PyTorch module with the weights of the ONNX file, its logits checked against ONNX Runtime's; it is in
eval mode, its parameters are frozen, and it runs with the threads, the batch and the layout that were fastest for a gradient
just before. `torch.compile` was not tried.

- *Per gradient*: loss and input gradient of one batch, the same number of pictures for all; nothing else. The engines have the
  pictures divided among their workers. Medians of eleven rounds.
- *Per attack at equal steps*: PGD with 40 steps on 1,000 pictures that the network gets right, in a ball so small that none
  falls, so that nobody ends early. The seconds of the attack itself, without the start of the process; `hoodwink` judges floats
  and writes its rows in them. Medians of three rounds.
- *Whole process at equal success*: PGD with 40 steps on the first 1,000 pictures of CIFAR-10's training set, from the start of the
  process to the last figure. `hoodwink` reads all pictures first, judges every success on floats and on the PNG, and writes the run
  folder with its report; the peers print two accuracies and save nothing. `hoodwink` ends an attack that has succeeded, the
  peers take all 40 steps with all pictures: *gradients* are those spent. *Peak* is the most memory the process held, in MiB.
  Medians of three rounds.

Made by `cargo xtask bench peers attacks`.

";

/// What PyTorch runs with.
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

/// The pictures of an attack, their labels, and the ball around them.
struct Task {
    pictures: PathBuf,
    labels: PathBuf,
    ball: Ball,
}

/// What one contender took.
#[derive(Clone, Default)]
struct Taken {
    /// From the start of the process to its end, in each round.
    seconds: Vec<f64>,
    /// Of the attack itself.
    attack: Vec<f64>,
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

/// Runs everything and answers the page.
pub(super) fn page(setup: &Setup) -> Result<String> {
    // In one command, so that one set of features is compiled.
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
        let _ = writeln!(page, "## {}\n", duel.title);
        let setting = self.calibrate(duel, page)?;
        self.gradients(duel, &setting, page)?;
        self.equal_steps(duel, &setting, page)?;
        self.equal_success(duel, &setting, page)
    }

    /// Chooses what PyTorch runs with, and says what else was tried.
    fn calibrate(&self, duel: &Duel, page: &mut String) -> Result<Setting> {
        let mut command = self.python("calibrate", duel);
        command.arg(self.pictures()).args([duel.mean, duel.std]);
        let answer = answer(&mut command)?;
        let tried = answer["tried"].as_array().context("nothing was tried")?;
        let word = |value: &Value| value.to_string().trim_matches('"').to_owned();
        let named = |one: &Value| {
            let milliseconds = 1e3 * number(one, "each")?;
            let [threads, batch, layout] =
                ["threads", "batch", "layout"].map(|key| word(&one[key]));
            let threads = if threads == "1" {
                "one thread".to_owned()
            } else {
                format!("{threads} threads")
            };
            let layout = layout.replace('_', " ");
            Ok(format!(
                "{threads}, batch {batch}, {layout}: {milliseconds:.3} ms"
            ))
        };
        let lines = tried.iter().map(named).collect::<Result<Vec<_>>>()?;
        let (best, rest) = lines.split_first().context("nothing was tried")?;
        let line = format!(
            "PyTorch's best for a gradient: {best}. The others: {}. Its logits are within {:.0e} of ONNX Runtime's.\n",
            rest.join("; "),
            number(&answer, "gap")?
        );
        say(&line);
        let _ = writeln!(page, "{line}");
        let [threads, batch, layout] =
            ["threads", "batch", "layout"].map(|key| word(&tried[0][key]));
        Ok(Setting {
            threads,
            batch,
            layout,
        })
    }

    fn gradients(&self, duel: &Duel, setting: &Setting, page: &mut String) -> Result<()> {
        let mut serve = self.python("serve", duel);
        serve.arg(self.pictures()).args([duel.mean, duel.std]);
        serve.args(setting.words());
        let engines = |threads: &str| {
            let example = self.setup.target.join("release/examples/gradient_speed");
            let mut command = Command::new(example);
            command.arg(self.asset(duel.model));
            command.args([&setting.batch, threads, "ort", "rten"]);
            command.env("ORT_DYLIB_PATH", &self.setup.library);
            Contender::start(&mut command, &["ort", "rten"])
        };
        let mut contenders = [
            Contender::start(&mut serve, &["PyTorch"])?,
            engines("2")?,
            engines("1")?,
        ];
        let rows = [
            ("PyTorch", 0, "PyTorch"),
            ("ORT, two workers", 1, "ort"),
            ("ORT, one worker", 2, "ort"),
            ("rten, two workers", 1, "rten"),
            ("rten, one worker", 2, "rten"),
        ];
        let mut seconds = vec![Vec::new(); rows.len()];
        for _ in 0..GRADIENT_ROUNDS {
            for ((_, at, way), seconds) in rows.iter().zip(&mut seconds) {
                sleep(PAUSE);
                seconds.push(contenders[*at].seconds(way)?);
            }
        }
        let _ = writeln!(
            page,
            "### Per gradient\n\n| | ms a picture, in batches of {} | times PyTorch |\n|---|---:|---:|",
            setting.batch
        );
        let batch: f64 = setting.batch.parse()?;
        for ((name, ..), taken) in rows.iter().zip(&seconds) {
            let line = format!(
                "| {name} | {:.3} | {:.2} |\n",
                1e3 * median(taken) / batch,
                median(&seconds[0]) / median(taken)
            );
            say(&line);
            page.push_str(&line);
        }
        page.push('\n');
        Ok(())
    }

    fn equal_steps(&self, duel: &Duel, setting: &Setting, page: &mut String) -> Result<()> {
        let folder = self.folder().with_extension("right");
        let mut command = self.python("right", duel);
        command.arg(self.pictures()).arg(self.labels());
        command.args([PICTURES, duel.mean, duel.std]).arg(&folder);
        answer(&mut command)?;
        let task = Task {
            pictures: folder.join("x.npy"),
            labels: folder.join("y.npy"),
            ball: NOTHING,
        };
        let taken = self.contest(duel, &task, setting)?;
        page.push_str(
            "### Per attack at equal steps\n\n| | seconds | times torchattacks | times Foolbox | gradients | right after |\n\
             |---|---:|---:|---:|---:|---:|\n",
        );
        for ((name, _), one) in CONTENDERS.iter().zip(&taken) {
            let seconds = median(&one.attack);
            let _ = writeln!(
                page,
                "| {name} | {seconds:.2} | {:.2} | {:.2} | {:.0} | {:.1}% |",
                median(&taken[0].attack) / seconds,
                median(&taken[1].attack) / seconds,
                one.gradients,
                100.0 * one.robust
            );
        }
        page.push('\n');
        Ok(())
    }

    fn equal_success(&self, duel: &Duel, setting: &Setting, page: &mut String) -> Result<()> {
        let task = Task {
            pictures: self.pictures(),
            labels: self.labels(),
            ball: duel.ball,
        };
        let taken = self.contest(duel, &task, setting)?;
        page.push_str(
            "### Whole process at equal success\n\n| | seconds | times torchattacks | times Foolbox | gradients | peak | right before | right after |\n\
             |---|---:|---:|---:|---:|---:|---:|---:|\n",
        );
        for ((name, _), one) in CONTENDERS.iter().zip(&taken) {
            let seconds = median(&one.seconds);
            let _ = writeln!(
                page,
                "| {name} | {seconds:.1} | {:.2} | {:.2} | {:.0} | {:.0} | {:.1}% | {:.1}% |",
                median(&taken[0].seconds) / seconds,
                median(&taken[1].seconds) / seconds,
                one.gradients,
                one.peak,
                100.0 * one.clean,
                100.0 * one.robust
            );
        }
        page.push('\n');
        Ok(())
    }

    /// All contenders in turns.
    fn contest(&self, duel: &Duel, task: &Task, setting: &Setting) -> Result<Vec<Taken>> {
        let mut taken = vec![Taken::default(); CONTENDERS.len()];
        for _ in 0..ROUNDS {
            for ((name, ours), taken) in CONTENDERS.iter().zip(&mut taken) {
                let mut command = match ours {
                    Some((engine, threads)) => self.our_command(duel, task, engine, threads),
                    None => self.their_command(&name.to_lowercase(), duel, task, setting),
                };
                let answer = self.timed(&mut command)?;
                taken.seconds.push(number(&answer, "seconds")?);
                taken.peak = taken.peak.max(number(&answer, "peak")?);
                match ours {
                    Some(_) => self.note_ours(taken)?,
                    None => note_theirs(&answer, taken)?,
                }
                say(&format!(
                    "{}, {}: {name}: {:.1?} s, of them {:.1?} s in the attack\n",
                    duel.title, task.ball.eps, taken.seconds, taken.attack
                ));
            }
        }
        Ok(taken)
    }

    /// Two workers beside one, where starting is no large part of the whole.
    fn workers(&self, page: &mut String) -> Result<()> {
        let duel = &DUELS[1];
        let task = Task {
            pictures: self.pictures(),
            labels: self.labels(),
            ball: duel.ball,
        };
        let _ = writeln!(
            page,
            "## Two workers\n\nThe attack on resnet_2b above with {RESTARTS} restarts, whole processes, medians of {ROUNDS} rounds; \
             wanted: 1.8 times as fast.\n\n| engine | one worker, s | two workers, s | times |\n|---|---:|---:|---:|"
        );
        for engine in ["ort", "rten"] {
            let mut seconds = [Vec::new(), Vec::new()];
            for _ in 0..ROUNDS {
                for (threads, seconds) in ["1", "2"].into_iter().zip(&mut seconds) {
                    let mut command = self.our_command(duel, &task, engine, threads);
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

    fn our_command(&self, duel: &Duel, task: &Task, engine: &str, threads: &str) -> Command {
        let mut command = Command::new(&self.ours);
        command.arg("attack").arg(self.asset(duel.model));
        command
            .arg(&task.pictures)
            .arg("--labels")
            .arg(&task.labels);
        command.args(["--limit", PICTURES, "--mean", duel.mean, "--std", duel.std]);
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
            PICTURES,
            &value(task.ball.eps),
            &value(task.ball.step),
            STEPS,
        ]);
        command.args([duel.mean, duel.std]).args(setting.words());
        command
    }

    /// The peers' script in one of its modes, with the model.
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

/// Reads what a peer printed.
fn note_theirs(answer: &Value, taken: &mut Taken) -> Result<()> {
    let said: Value = serde_json::from_str(answer["said"].as_str().unwrap_or_default())?;
    taken.attack.push(number(&said, "attack")?);
    taken.clean = number(&said, "clean")?;
    taken.robust = number(&said, "robust")?;
    taken.gradients = PICTURES.parse::<f64>()? * STEPS.parse::<f64>()?;
    Ok(())
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
