//! Times the loss and the input gradient on the engines. `cargo xtask bench peers` compares this with PyTorch.
//!
//! `gradient_speed MODEL BATCH THREADS ENGINE...` answers every line that names an engine with the seconds for one
//! batch, spread over the threads. `gradient_speed MODEL BATCH once ENGINE` prints one line of JSON: the seconds of
//! each step up to the first answer, and the memory.

use std::{
    error::Error,
    hint::black_box,
    io::{BufRead as _, Write as _},
    path::Path,
    sync::mpsc::{Receiver, Sender, channel},
    time::Instant,
};

use hoodwink::{
    engine::{self, Choice},
    image::Image,
    model::Classifier,
    oracle::{Loss, Objective, pool::Model as _},
    preprocessing::Preprocessing,
};
use onnx_grad::{Dim, Graph, Op, Tensor};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const USAGE: &str = "gradient_speed MODEL BATCH THREADS|once rten|ort ...";

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, batch, threads, engines @ ..] = &arguments[..] else {
        return Err(USAGE.into());
    };
    let (model, batch) = (Path::new(model), batch.parse()?);
    if threads == "once" {
        return once(model, batch, engines.first().ok_or(USAGE)?);
    }
    let crews: Vec<(String, Crew)> = engines
        .iter()
        .map(|engine| {
            Ok((
                engine.clone(),
                Crew::new(model, batch, threads.parse()?, engine)?,
            ))
        })
        .collect::<Outcome<_>>()?;
    say("ready")?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let crew = crews.iter().find(|(name, _)| *name == line);
        let (_, crew) = crew.ok_or_else(|| format!("there is no engine {line:?}"))?;
        say(&format!("{}", crew.seconds()?))?;
    }
    Ok(())
}

fn say(line: &str) -> Outcome<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

fn choice(engine: &str) -> Outcome<Choice> {
    match engine {
        "rten" => Ok(Choice::Rten),
        "ort" => Ok(Choice::Ort),
        other => Err(format!("there is no engine {other:?}").into()),
    }
}

fn objective(at: usize, classes: usize) -> Objective {
    Objective::Loss {
        loss: Loss::CrossEntropy,
        label: at % classes,
        target: None,
    }
}

/// Threads that share a batch, each with its own compiled programs.
struct Crew {
    starts: Vec<Sender<()>>,
    ends: Receiver<Result<(), String>>,
}

impl Crew {
    fn new(model: &Path, batch: usize, threads: usize, engine: &str) -> Outcome<Self> {
        let classifier = Classifier::open(
            model,
            &Preprocessing::default(),
            engine::open(choice(engine)?)?,
        )?;
        let classifier = std::sync::Arc::new(classifier);
        let (end, ends) = channel();
        let mut starts = Vec::new();
        for thread in 0..threads {
            let share = batch * (thread + 1) / threads - batch * thread / threads;
            let (start, started) = channel::<()>();
            let (classifier, end) = (classifier.clone(), end.clone());
            starts.push(start);
            std::thread::spawn(move || {
                let answer = work(&classifier, share, &started, &end);
                let _ = end.send(answer.map_err(|error| error.to_string()));
            });
        }
        let crew = Self { starts, ends };
        crew.seconds()?;
        Ok(crew)
    }

    fn seconds(&self) -> Outcome<f64> {
        let start = Instant::now();
        for thread in &self.starts {
            thread.send(())?;
        }
        for _ in &self.starts {
            self.ends.recv()??;
        }
        Ok(start.elapsed().as_secs_f64())
    }
}

fn work(
    classifier: &Classifier,
    share: usize,
    started: &Receiver<()>,
    end: &Sender<Result<(), String>>,
) -> Outcome<()> {
    let mut worker = classifier.worker()?;
    let images = pictures(classifier.input(), share)?;
    let images: Vec<&Image> = images.iter().collect();
    let objectives: Vec<Objective> = (0..share)
        .map(|at| objective(at, classifier.classes()))
        .collect();
    let objectives: Vec<&Objective> = objectives.iter().collect();
    while started.recv().is_ok() {
        black_box(worker.differentials(&images, &objectives)?);
        end.send(Ok(()))?;
    }
    Ok(())
}

fn pictures(shape: [usize; 3], count: usize) -> Outcome<Vec<Image>> {
    let pixels: usize = shape.iter().product();
    (0..count)
        .map(|at| {
            let values = (0..pixels).map(|pixel| ((pixel * 31 + at * 17) % 256) as f32 / 255.0);
            Ok(Image::new(shape, values.collect())?)
        })
        .collect()
}

/// Times the steps from the file to the first answer. The probe of `hoodwink::model` does not count.
fn once(model: &Path, batch: usize, engine: &str) -> Outcome<()> {
    let engine = engine::open(choice(engine)?)?;
    let begin = Instant::now();
    let loaded = onnx_grad::load(model)?;
    let mut graph = loaded.graph;
    let output = graph.outputs()[0].1;
    let logits = onnx_grad::logits(&mut graph, output)?;
    graph.clear_outputs();
    graph.output("logits", logits);
    let read = begin.elapsed();
    let gradient = onnx_grad::fold(&onnx_grad::gradient_graph(&graph, Loss::CrossEntropy)?)?;
    let differentiated = begin.elapsed();
    let mut program = engine.compile(&gradient)?;
    let compiled = begin.elapsed();
    let sides: Vec<usize> = graph
        .shape(graph.inputs()[0])
        .iter()
        .map(|dim| side(*dim, batch))
        .collect();
    let pixels = sides.iter().product::<usize>();
    let x = Tensor::f32(sides, vec![0.5; pixels])?;
    let labels: Vec<i64> = (0..batch as i64).map(|at| at % 2).collect();
    black_box(program.run(&[x, Tensor::vector(&labels)])?);
    let answered = begin.elapsed();
    let (weights, activations) = elements(&graph, batch);
    let mebibytes = |elements: usize| elements as f64 * 4.0 / f64::from(1 << 20);
    say(&format!(
        r#"{{"read":{},"differentiate":{},"compile":{},"answer":{},"weights":{},"activations":{},"peak":{}}}"#,
        read.as_secs_f64(),
        (differentiated - read).as_secs_f64(),
        (compiled - differentiated).as_secs_f64(),
        (answered - compiled).as_secs_f64(),
        mebibytes(weights),
        mebibytes(activations),
        peak()?,
    ))
}

fn side(dim: Dim, batch: usize) -> usize {
    match dim {
        Dim::Fixed(side) => side,
        Dim::Batch(factor) => factor * batch,
    }
}

/// Counts the elements of the constants, and of all other values of the forward graph.
fn elements(graph: &Graph, batch: usize) -> (usize, usize) {
    let mut counts = (0, 0);
    for node in graph.nodes() {
        let count: usize = node.shape.iter().map(|&dim| side(dim, batch)).product();
        match node.op {
            Op::Constant(_) => counts.0 += count,
            _ => counts.1 += count,
        }
    }
    counts
}

/// Returns the peak memory of this process in MiB, or 0 if the system does not report it.
fn peak() -> Outcome<f64> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next());
    Ok(kibibytes.unwrap_or("0").parse::<f64>()? / 1024.0)
}
