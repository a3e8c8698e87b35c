//! `cargo xtask measure kills`: kills runs repeatedly at random moments, and checks that they end like an undisturbed
//! run.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{assets, cargo, say, target};

/// Number of runs per engine that are killed until they complete.
const TRIALS: usize = 4;

const PICTURES: &str = "300";

/// Kills runs of both engines, and prints the rows of the table in `docs/runs.md`.
pub(crate) fn measure() -> Result<()> {
    cargo(&["build", "--release", "--package", "hoodwink-cli"], &[])?;
    let (target, assets) = (target(), assets()?);
    let out = target.join("kills");
    if out.exists() {
        fs::remove_dir_all(&out)?;
    }
    say("| engine | runs | kills | starts | files, each the same |\n|---|---:|---:|---:|---:|\n");
    for engine in ["ort", "rten"] {
        let attack = |folder: &Path, threads: u64, batch: u64| {
            let mut command = Command::new(target.join("release/hoodwink"));
            command
                .arg("attack")
                .arg(assets.join("cifar10/models/resnet_2b_adv2.onnx"))
                .arg(assets.join("cifar10/test_0-499_x_u8_NHWC.npy"))
                .arg("--labels")
                .arg(assets.join("cifar10/test_0-499_y.npy"))
                .args(["--mean", "0.4914,0.4822,0.4465"])
                .args(["--std", "0.2471,0.2435,0.2616", "--limit", PICTURES])
                .args(["--attack", "fgsm,pgd", "--eps", "2/255,8/255"])
                .args(["--no-lint", "--quiet", "--engine", engine, "--out"])
                .arg(folder)
                .arg(format!("--threads={threads}"))
                .arg(format!("--batch={batch}"))
                .stdout(Stdio::null());
            command
        };
        let undisturbed = out.join(engine);
        let begun = Instant::now();
        ensure!(attack(&undisturbed, 2, 8).status()?.success());
        let whole = begun.elapsed();
        let expected = files(&undisturbed)?;
        let (mut kills, mut starts) = (0, 0);
        for trial in 0..TRIALS {
            let folder = out.join(format!("{engine}-{trial}"));
            loop {
                let mut run = attack(&folder, 1 + chance(2), 1 + chance(8)).spawn()?;
                starts += 1;
                // Up to a third of the total time, so that some runs get far and some hardly start.
                sleep(Duration::from_micros(chance(whole.as_micros() as u64 / 3)));
                match run.try_wait()? {
                    Some(status) if status.success() => break,
                    Some(status) => bail!("{}: ended with {status}", folder.display()),
                    None => {
                        run.kill()?;
                        run.wait()?;
                        kills += 1;
                    }
                }
            }
            let found = files(&folder)?;
            for (name, bytes) in &expected {
                ensure!(
                    found.get(name) == Some(bytes),
                    "{folder:?}: {name:?} differs"
                );
            }
            ensure!(found.len() == expected.len(), "{folder:?}: other files");
        }
        say(&format!(
            "| {engine} | {TRIALS} | {kills} | {starts} | {} |\n",
            TRIALS * expected.len()
        ));
    }
    fs::remove_dir_all(&out).context("the folder of the runs")
}

/// Returns an unpredictable number below `limit`. The moments need not be reproducible.
fn chance(limit: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    // The low digits of a clock, mixed (SplitMix64), since the clock may advance in steps.
    let mut mixed = now.map_or(0, |now| now.as_nanos() as u64);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) % limit.max(1)
}

/// Reads all files of a run except `timing.json`.
fn files(run: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![run.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(run)?.to_owned();
            if name != Path::new("timing.json") {
                found.insert(name, fs::read(&path)?);
            }
        }
    }
    Ok(found)
}
