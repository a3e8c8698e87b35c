//! Compares two workers with one, and times the first picture.

use std::{fmt::Write as _, process::Command};

use anyhow::Result;

use super::{Bench, DUELS, ROUNDS, STEPS, Task, number};
use crate::say;

const RESTARTS: &str = "5";

impl Bench<'_> {
    /// Compares two workers with one on a run in which startup is only a small part.
    pub(super) fn workers(&self, page: &mut String) -> Result<()> {
        let duel = &DUELS[1];
        let task = Task {
            count: duel.pictures,
            pictures: self.pictures(),
            labels: self.labels(),
            ball: duel.ball,
        };
        let _ = writeln!(
            page,
            "## Two workers\n\nThe attack on resnet_2b above with {RESTARTS} restarts, whole processes, medians of {ROUNDS} rounds; \
             goal: 1.8 times as fast.\n\n| engine | one worker, s | two workers, s | times |\n|---|---:|---:|---:|"
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

    /// Times from the start of the process to the first adversarial PNG.
    pub(super) fn cold(&self, page: &mut String) -> Result<()> {
        page.push_str(
            "## Cold start\n\nSeconds from the start of the process to the first adversarial PNG: SqueezeNet 1.1, PGD-40 at \
             4/255, median of five. With many photographs, all are read and the lint examines 48 of them first; \
             `--no-lint` skips that.\n\n| | engine | first PNG | all |\n|---|---|---:|---:|\n",
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
                    // The network misclassifies the first picture.
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
        page.push_str("\nGoal: at most 1 second.\n");
        Ok(())
    }
}
