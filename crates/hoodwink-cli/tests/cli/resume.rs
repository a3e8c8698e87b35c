//! Runs that are killed or interrupted go on.
#![cfg(unix)]

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use crate::setup::{assert_same_files, attack_mnist, borrowed, command, succeed};

/// Waits until `done`.
#[track_caller]
fn wait_until(child: &mut Child, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing happens");
        assert_eq!(child.try_wait().unwrap(), None, "it ended too early");
        sleep(Duration::from_millis(2));
    }
}

fn pictures(run: &Path) -> usize {
    run.join("pictures").read_dir().map_or(0, Iterator::count)
}

#[test]
fn a_killed_run_ends_with_the_bytes_of_an_undisturbed_one() {
    let parent = tempfile::tempdir().unwrap();
    let (killed, undisturbed) = (
        parent.path().join("killed"),
        parent.path().join("undisturbed"),
    );
    let options = [
        "--attack",
        "pgd,gaussian-noise",
        "--steps",
        "20",
        "--eps",
        "0.1",
    ];
    let args = attack_mnist(140, &killed, &options);
    let args = borrowed(&args);
    let mut child = command(&args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // The first part is written, and some pictures of the next one.
    wait_until(&mut child, || {
        killed.join("samples/part-00000.parquet").exists() && pictures(&killed) > 64
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        !killed.join("samples/part-00002.parquet").exists(),
        "it was killed too late"
    );
    assert!(!killed.join("report.html").exists());

    succeed(&args);
    succeed(&borrowed(&attack_mnist(140, &undisturbed, &options)));
    assert_same_files(&killed, &undisturbed);
}

/// Killed again and again, at moments that no two runs of this test share.
#[test]
fn a_run_killed_at_random_moments_ends_with_the_bytes_of_an_undisturbed_one() {
    let parent = tempfile::tempdir().unwrap();
    let (killed, undisturbed) = (
        parent.path().join("killed"),
        parent.path().join("undisturbed"),
    );
    let options = ["--attack", "fgsm,pgd", "--steps", "20", "--eps", "0.05,0.1"];
    let args = attack_mnist(200, &killed, &options);
    let args = [&borrowed(&args)[..], &["--no-lint", "--threads=2"]].concat();
    let (mut kills, mut delay) = (0, Duration::from_millis(20));
    loop {
        let mut child = command(&args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        sleep(delay);
        if child.try_wait().unwrap().is_some() {
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        // Longer than the last time, so that there is an end on any machine.
        delay = delay.mul_f64(1.15);
    }
    assert!(kills >= 3, "it was killed {kills} times only");
    succeed(&args);
    // `run.toml` says whether anybody looked for mistakes.
    let undisturbed_args = attack_mnist(200, &undisturbed, &options);
    succeed(&[&borrowed(&undisturbed_args)[..], &["--no-lint"]].concat());
    assert_same_files(&killed, &undisturbed);
}

#[test]
fn an_interrupted_run_says_how_to_go_on() {
    let parent = tempfile::tempdir().unwrap();
    let run = parent.path().join("run");
    let args = attack_mnist(
        2000,
        &run,
        &["--steps", "20", "--eps", "0.1", "--threads", "1"],
    );
    let mut child = command(&borrowed(&args))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until(&mut child, || pictures(&run) > 0);
    let interrupt = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(interrupt.unwrap().success());
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(
        errors.contains(" of 2000 pictures; repeat the command to resume"),
        "{errors}"
    );
    let figures = String::from_utf8(output.stdout).unwrap();
    assert!(figures.contains("of 2000 pictures so far)"), "{figures}");
    let report = std::fs::read_to_string(run.join("report.html")).unwrap();
    assert!(report.contains("This run is unfinished"));
    assert!(pictures(&run) < 2000);
}

/// One epoch of few pictures, and many to measure on at its end: most of the time is the last step's.
#[test]
fn a_training_interrupted_at_its_last_step_ends_with_the_bytes_of_an_undisturbed_one() {
    let parent = tempfile::tempdir().unwrap();
    let train = |folder: &str| {
        std::fs::create_dir(parent.path().join(folder)).unwrap();
        let model = parent.path().join(folder).join("net.onnx");
        let mut args = vec!["train", "scenes:count=40,side=16", "--preset", "tutorial"];
        args.extend(["--held-out", "scenes:count=4000,side=16,seed=1"]);
        args.extend(["--engine", "rten", "--threads", "1", "--epochs", "1", "-o"]);
        let args = args.into_iter().map(str::to_owned);
        args.chain([model.display().to_string()])
            .collect::<Vec<_>>()
    };
    succeed(&borrowed(&train("undisturbed")));
    let mut interrupted = 0;
    for delay in [0, 100, 300, 700] {
        let folder = delay.to_string();
        let args = train(&folder);
        let args = borrowed(&args);
        let mut child = command(&args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let checkpoint = parent.path().join(&folder).join("net.checkpoint");
        let begun = Instant::now();
        while !checkpoint.exists() && begun.elapsed() < Duration::from_secs(60) {
            sleep(Duration::from_millis(2));
        }
        sleep(Duration::from_millis(delay));
        let sent = Command::new("kill")
            .args(["-INT", &child.id().to_string()])
            .status();
        assert!(sent.is_ok());
        interrupted += usize::from(child.wait().unwrap().code() == Some(2));
        succeed(&args);
        assert_same_files(
            &parent.path().join(&folder),
            &parent.path().join("undisturbed"),
        );
    }
    assert!(interrupted > 0, "no interruption came in time");
}

/// `train` on few small scenes, on the built-in engine.
fn training<'a>(model: &'a str, epochs: &'a str) -> Vec<&'a str> {
    let mut args = vec!["train", "scenes:count=320,side=16", "--preset", "tutorial"];
    args.extend(["--held-out", "scenes:count=20,side=16,seed=1"]);
    args.extend(["--engine", "rten", "--threads", "1"]);
    args.extend(["--epochs", epochs, "--output", model]);
    args
}

#[test]
fn a_training_that_was_interrupted_or_killed_ends_with_the_bytes_of_an_undisturbed_one() {
    let parent = tempfile::tempdir().unwrap();
    let (disturbed, undisturbed) = (parent.path().join("a"), parent.path().join("b"));
    for folder in [&disturbed, &undisturbed] {
        std::fs::create_dir(folder).unwrap();
    }
    let paths = [&disturbed, &undisturbed].map(|folder| folder.join("net.onnx"));
    let [model, other] = paths.each_ref().map(|path| path.to_str().unwrap());
    let args = training(model, "12");
    let checkpoint = disturbed.join("net.checkpoint");
    let is_under_way = || disturbed.join("net.history.csv").exists();
    for signal in ["-INT", "-KILL"] {
        let mut child = command(&args)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        wait_until(&mut child, is_under_way);
        let sent = Command::new("kill")
            .args([signal, &child.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        if signal == "-INT" {
            assert_eq!(output.status.code(), Some(2), "{errors}");
            let sentence = format!("repeat the command to resume from {}", checkpoint.display());
            assert!(errors.contains(&sentence), "{errors}");
        }
        assert!(checkpoint.exists() && !paths[0].exists(), "{errors}");
    }
    let refused = command(&training(model, "13")).output().unwrap();
    let errors = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(errors.contains("epochs: 12 there, 13 now"), "{errors}");

    succeed(&args);
    succeed(&training(other, "12"));
    assert!(!checkpoint.exists());
    let page = |folder: &Path| {
        let path = folder.join("net.history.html");
        std::fs::read_to_string(path).unwrap()
    };
    assert!(page(&disturbed).contains("after epoch 12"));
    assert_same_files(&disturbed, &undisturbed);
}
