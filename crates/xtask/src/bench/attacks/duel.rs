//! The three comparisons on one network.

use std::{fmt::Write as _, process::Command, thread::sleep};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{Ball, Bench, Duel, ROUNDS, Setting, Taken, Task, answer, median, note_theirs, number};
use crate::{
    bench::{Contender, PAUSE},
    say,
};

/// Rounds of single gradients, which take less time.
const GRADIENT_ROUNDS: usize = 11;

/// A ball so small that no correctly classified picture falls and no attack ends before its last step.
const NOTHING: Ball = Ball {
    eps: "0.01/255",
    step: "0.001/255",
};

/// The contenders: the name and, for hoodwink, the engine and the number of threads.
const CONTENDERS: [(&str, Option<(&str, &str)>); 6] = [
    ("torchattacks", None),
    ("Foolbox", None),
    ("hoodwink, ORT, two workers", Some(("ort", "2"))),
    ("hoodwink, ORT, one worker", Some(("ort", "1"))),
    ("hoodwink, rten, two workers", Some(("rten", "2"))),
    ("hoodwink, rten, one worker", Some(("rten", "1"))),
];

impl Bench<'_> {
    pub(super) fn duel(&self, duel: &Duel, page: &mut String) -> Result<()> {
        let _ = writeln!(page, "## {}\n", duel.title);
        let setting = self.calibrate(duel, page)?;
        self.gradients(duel, &setting, page)?;
        self.equal_steps(duel, &setting, page)?;
        self.equal_success(duel, &setting, page)
    }

    /// Chooses PyTorch's fastest setting, and reports the others.
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
        command.args([duel.right, duel.mean, duel.std]);
        command.arg(&folder);
        answer(&mut command)?;
        let task = Task {
            count: duel.right,
            pictures: folder.join("x.npy"),
            labels: folder.join("y.npy"),
            ball: NOTHING,
        };
        let taken = self.contest(duel, &task, setting)?;
        let _ = writeln!(
            page,
            "### Per attack at equal steps\n\n{} pictures.\n\n\
             | | seconds | times torchattacks | times Foolbox | processor | gradients | right after |\n|---|---:|---:|---:|---:|---:|---:|",
            duel.right
        );
        for ((name, _), one) in CONTENDERS.iter().zip(&taken) {
            let seconds = median(&one.attack);
            let _ = writeln!(
                page,
                "| {name} | {seconds:.2} | {:.2} | {:.2} | {:.2} | {:.0} | {:.1}% |",
                median(&taken[0].attack) / seconds,
                median(&taken[1].attack) / seconds,
                median(&one.processor),
                one.gradients,
                100.0 * one.robust
            );
        }
        page.push('\n');
        Ok(())
    }

    fn equal_success(&self, duel: &Duel, setting: &Setting, page: &mut String) -> Result<()> {
        let task = Task {
            count: duel.pictures,
            pictures: self.pictures(),
            labels: self.labels(),
            ball: duel.ball,
        };
        let taken = self.contest(duel, &task, setting)?;
        let _ = writeln!(
            page,
            "### Whole process at equal success\n\n{} pictures.\n\n\
             | | seconds | times torchattacks | times Foolbox | processor | gradients | peak | right before | right after |\n\
             |---|---:|---:|---:|---:|---:|---:|---:|---:|",
            duel.pictures
        );
        for ((name, _), one) in CONTENDERS.iter().zip(&taken) {
            let seconds = median(&one.seconds);
            let _ = writeln!(
                page,
                "| {name} | {seconds:.1} | {:.2} | {:.2} | {:.1} | {:.0} | {:.0} | {:.1}% | {:.1}% |",
                median(&taken[0].seconds) / seconds,
                median(&taken[1].seconds) / seconds,
                median(&one.processor),
                one.gradients,
                one.peak,
                100.0 * one.clean,
                100.0 * one.robust
            );
        }
        page.push('\n');
        Ok(())
    }

    /// Runs all contenders in turns.
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
                taken.processor.push(number(&answer, "processor")?);
                taken.peak = taken.peak.max(number(&answer, "peak")?);
                match ours {
                    Some(_) => self.note_ours(taken)?,
                    None => note_theirs(&answer, task, taken)?,
                }
                say(&format!(
                    "{}, {}: {name}: {:.1?} s, of them {:.1?} s in the attack\n",
                    duel.title, task.ball.eps, taken.seconds, taken.attack
                ));
            }
        }
        Ok(taken)
    }
}
