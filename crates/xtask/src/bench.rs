//! `cargo xtask bench peers`: times gradients and attacks together with those of the peers.

mod attacks;

use std::{
    env,
    ffi::OsString,
    fmt::Write as _,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{assets, cargo, library_of, python, root, run, say, target};

/// How often each contender is timed. The rounds alternate, so that a busy moment of the machine affects all.
const ROUNDS: usize = 7;

/// Threads per contender.
const THREADS: usize = 2;

/// Pause between two timings, since some threads keep spinning for a moment.
const PAUSE: Duration = Duration::from_millis(300);

struct Network {
    title: &'static str,
    /// Name in `benches/peers.py`, or the path of a published model in the assets folder.
    source: &'static str,
    batch: usize,
}

const fn network(title: &'static str, source: &'static str, batch: usize) -> Network {
    Network {
        title,
        source,
        batch,
    }
}

const NETWORKS: [Network; 7] = [
    network(
        "ResNet-20, 32×32",
        "cifar10/models/resnet20_akamaster.onnx",
        64,
    ),
    network("ResNet-18, 32×32, random weights", "resnet18_32", 32),
    network("ViT, 32×32", "cifar10/models/vit_pgd_2_3_16.onnx", 64),
    network(
        "MobileNetV2, 224×224",
        "imagenet/models/mobilenet_v2_100_224.onnx",
        8,
    ),
    network(
        "SqueezeNet 1.1, 224×224",
        "imagenet/models/squeezenet1_1_f32.onnx",
        8,
    ),
    network("ResNet-50, 224×224, random weights", "resnet50", 8),
    network("ViT-S/16, 224×224, random weights", "vit_s", 8),
];

/// Networks for which the time from the file to the first answer is measured.
const COLD: [(&str, &str, f64); 2] = [
    (
        "SqueezeNet 1.1",
        "imagenet/models/squeezenet1_1_f32.onnx",
        0.3,
    ),
    ("ResNet-50", "resnet50", 1.0),
];

const ENGINES: [&str; 2] = ["ort", "rten"];
const WAYS: [&str; 3] = ["eager", "channels-last", "compile"];

/// A process that answers each line with the seconds that the work took.
struct Contender {
    process: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// The ways that it offers.
    ways: Vec<String>,
}

impl Contender {
    fn start(command: &mut Command, ways: &[&str]) -> Result<Self> {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let questions = process.stdin.take().context("a pipe to write to")?;
        let answers = BufReader::new(process.stdout.take().context("a pipe to read from")?);
        let mut contender = Self {
            process,
            questions,
            answers,
            ways: Vec::new(),
        };
        let ready = contender.line()?;
        let words: Vec<&str> = match ready.as_str() {
            "ready" => ways.to_vec(),
            named => named.split_whitespace().collect(),
        };
        contender.ways = words.into_iter().map(str::to_owned).collect();
        Ok(contender)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            bail!("a contender ended: {:?}", self.process.wait()?);
        }
        Ok(line.trim().to_owned())
    }

    fn seconds(&mut self, way: &str) -> Result<f64> {
        writeln!(self.questions, "{way}")?;
        self.questions.flush()?;
        Ok(self.line()?.parse()?)
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The paths that the contenders need.
struct Setup {
    root: PathBuf,
    target: PathBuf,
    python: PathBuf,
    /// The library of ONNX Runtime.
    library: OsString,
    assets: PathBuf,
}

impl Setup {
    /// Creates a Python environment with the peers, unless `BENCH_PYTHON` names one.
    fn new() -> Result<Self> {
        let root = root();
        let python = match env::var_os("BENCH_PYTHON") {
            Some(path) => PathBuf::from(path),
            None => {
                let requirements = root.join("benches/requirements.txt");
                python("bench-env", &["-r".as_ref(), requirements.as_os_str()])?
            }
        };
        let library = match env::var_os("ORT_DYLIB_PATH") {
            Some(path) => path,
            None => library_of(&python)?.into_os_string(),
        };
        let assets = assets()?;
        Ok(Self {
            root,
            target: target(),
            python,
            library,
            assets,
        })
    }

    /// Writes a dated page into `benches/results`.
    fn write(&self, name: &str, page: &str) -> Result<()> {
        let date = Command::new(&self.python)
            .args(["-c", "import datetime; print(datetime.date.today())"])
            .output()?;
        let name = format!("{}-{name}.md", String::from_utf8(date.stdout)?.trim());
        let path = self.root.join("benches/results").join(name);
        fs::write(&path, page).with_context(|| path.display().to_string())
    }
}

/// Times everything and writes dated tables into `benches/results`.
pub(crate) fn peers() -> Result<()> {
    gradients(None)?;
    attacks(None)
}

/// Times attacks and writes a dated page. `only` selects the networks whose title contains it, and prints instead.
pub(crate) fn attacks(only: Option<&str>) -> Result<()> {
    let setup = Setup::new()?;
    let page = attacks::page(&setup, only)?;
    match only {
        Some(_) => say(&page),
        None => setup.write("attacks", &page)?,
    }
    Ok(())
}

/// Times gradients and writes a dated table. `only` selects the networks whose title contains it, and prints instead.
pub(crate) fn gradients(only: Option<&str>) -> Result<()> {
    let setup = Setup::new()?;
    let Setup {
        root,
        target,
        python,
        library,
        assets,
    } = &setup;
    let example = [
        "build",
        "--release",
        "--workspace",
        "--example",
        "gradient_speed",
    ];
    cargo(&example, &[])?;
    let ours = target.join("release/examples/gradient_speed");
    let theirs = root.join("benches/peers.py");
    let exports = target.join("bench-models");
    run(Command::new(python)
        .arg(&theirs)
        .arg("export")
        .arg(&exports))?;
    let file = |source: &str| match source.contains('/') {
        true => assets.join(source),
        false => exports.join(format!("{source}.onnx")),
    };

    let mut table = HEAD.to_owned();
    let _ = writeln!(table, "Machine: {}.\n", machine()?);
    table.push_str(COLUMNS);
    for network in NETWORKS
        .iter()
        .filter(|network| only.is_none_or(|part| network.title.contains(part)))
    {
        let mut serve = Command::new(python);
        serve.arg(&theirs).arg("serve").arg(network.source);
        serve.args([network.batch.to_string(), THREADS.to_string()]);
        if network.source.contains('/') {
            serve.arg(file(network.source));
        }
        let mut engines = Command::new(&ours);
        engines
            .arg(file(network.source))
            .env("ORT_DYLIB_PATH", library);
        engines
            .args([network.batch.to_string(), THREADS.to_string()])
            .args(ENGINES);
        let mut contenders = [
            Contender::start(&mut serve, &WAYS)?,
            Contender::start(&mut engines, &ENGINES)?,
        ];
        let line = row(network, &mut contenders)?;
        say(&line);
        table.push_str(&line);
    }
    table.push_str(COLD_HEAD);
    for (title, source, wanted) in COLD {
        for engine in ENGINES {
            let line = cold(&ours, &file(source), title, engine, wanted, library)?;
            say(&line);
            table.push_str(&line);
        }
    }
    if only.is_some() {
        return Ok(());
    }
    setup.write("gradients", &table)
}

const HEAD: &str = "\
# Gradients compared with PyTorch

Pictures per second for the loss and the input gradient: the median of seven rounds in which the contenders took turns,
with two threads each. The engines use two workers of one thread, PyTorch two threads for one batch; its parameters are
frozen. The published networks exist only as ONNX files. ResNet-20 is a PyTorch module with the weights of its file. The
ViT for 32×32, MobileNetV2 and SqueezeNet run in PyTorch operator by operator. The overhead of that flatters the
engines, most for small networks.

Made by `cargo xtask bench peers`.

";

const COLUMNS: &str = "\
| network | batch | PyTorch eager | channels-last | torch.compile | ORT engine | rten engine | ORT / eager | rten / eager |
|---|---:|---:|---:|---:|---:|---:|---:|---:|
";

const COLD_HEAD: &str = "
From the file to the first gradient of a batch of 8: the seconds of one run, and the maximum memory of the process in
MiB. *Activations* are all values of the forward graph for that batch.

| network | engine | read | differentiate | compile | together | goal | first answer | weights | activations | peak | peak / (weights + activations) |
|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|
";

/// Times a network's contenders in turns.
fn row(network: &Network, contenders: &mut [Contender]) -> Result<String> {
    let order: Vec<(usize, String)> = contenders
        .iter()
        .enumerate()
        .flat_map(|(at, contender)| contender.ways.iter().map(move |way| (at, way.clone())))
        .collect();
    let mut seconds: Vec<Vec<f64>> = vec![Vec::new(); order.len()];
    for _ in 0..ROUNDS {
        for ((at, way), seconds) in order.iter().zip(&mut seconds) {
            std::thread::sleep(PAUSE);
            seconds.push(contenders[*at].seconds(way)?);
        }
    }
    let speed = |wanted: &str| -> Option<f64> {
        let at = order.iter().position(|(_, way)| way == wanted)?;
        let mut times = seconds[at].clone();
        times.sort_by(f64::total_cmp);
        Some(network.batch as f64 / times[times.len() / 2])
    };
    let mut line = format!("| {} | {} |", network.title, network.batch);
    for way in WAYS.iter().chain(&ENGINES) {
        let cell = speed(way).map_or_else(|| "–".to_owned(), |speed| format!("{speed:.1}"));
        let _ = write!(line, " {cell} |");
    }
    for engine in ENGINES {
        let ratio = speed(engine)
            .zip(speed("eager"))
            .map(|(ours, theirs)| ours / theirs);
        let cell = ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"));
        let _ = write!(line, " {cell} |");
    }
    line.push('\n');
    Ok(line)
}

fn cold(
    program: &Path,
    model: &Path,
    title: &str,
    engine: &str,
    wanted: f64,
    library: &std::ffi::OsStr,
) -> Result<String> {
    let output = Command::new(program)
        .arg(model)
        .args(["8", "once", engine])
        .env("ORT_DYLIB_PATH", library)
        .output()?;
    let answer: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let number = |key: &str| answer[key].as_f64().with_context(|| format!("no {key}"));
    let [read, differentiate, compile] = [
        number("read")?,
        number("differentiate")?,
        number("compile")?,
    ];
    let [weights, activations, peak] =
        [number("weights")?, number("activations")?, number("peak")?];
    Ok(format!(
        "| {title} | {engine} | {read:.2} | {differentiate:.2} | {compile:.2} | {:.2} | {wanted:.1} | {:.2} | {weights:.0} | {activations:.0} | {peak:.0} | {:.2} |\n",
        read + differentiate + compile,
        number("answer")?,
        peak / (weights + activations),
    ))
}

/// Describes the machine and its load.
fn machine() -> Result<String> {
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = processors
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown processor", |rest| {
            rest.trim_start_matches([' ', '\t', ':'])
        });
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().next().unwrap_or("?");
    let threads = std::thread::available_parallelism()?;
    Ok(format!(
        "{name}, {threads} threads, load average {load} before the first round"
    ))
}
