//! The first five minutes: what people type first, and what they see.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::setup::{asset, borrowed, command, failure, labels, model, pictures, succeed};

/// The command in a folder of its own.
fn within(folder: &Path, args: &[&str]) -> Output {
    command(args).current_dir(folder).output().unwrap()
}

/// Standard output and error of a command that must succeed in a folder.
#[track_caller]
fn succeed_within(folder: &Path, args: &[&str]) -> (String, String) {
    let output = within(folder, args);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{args:?}: {errors}");
    (String::from_utf8(output.stdout).unwrap(), errors)
}

#[test]
fn a_model_and_pictures_are_enough() {
    let folder = tempfile::tempdir().unwrap();
    let (model, pictures) = (model(), pictures());
    let attack = [
        "attack",
        &model,
        &pictures,
        "--limit",
        "3",
        "--preprocessing",
        "mnist",
    ];
    let (figures, notes) = succeed_within(folder.path(), &attack);
    assert!(figures.contains("ddn: median L2 "), "{figures}");
    assert!(
        figures.contains("(prediction instead of truth: 3 pictures)"),
        "{figures}"
    );
    let says = "note: prediction instead of truth: 3 pictures, attacked away from the predicted class because there are no labels";
    assert!(notes.contains(says), "{notes}");
    let name = Path::new(&model).file_stem().unwrap().to_str().unwrap();
    let run = |number: usize| format!("hoodwink-runs/{name}-{number:03}");
    let last = figures.lines().last().unwrap();
    let says = format!(
        "report: {0}/report.html (to open it: hoodwink report {0} --open)",
        run(1)
    );
    assert_eq!(last, says);
    let settings = fs::read_to_string(folder.path().join(run(1)).join("run.toml")).unwrap();
    assert!(settings.contains("truth = \"prediction\""), "{settings}");
    let json = [
        &attack[..],
        &["--format=json", "--eps=0.1", "--attack=fgsm"],
    ]
    .concat();
    let (second, _) = succeed_within(folder.path(), &json);
    let second: Value = serde_json::from_str(&second).unwrap();
    assert_eq!(second["data"]["truth"], "prediction");
    assert_eq!(second["attacks"][0]["clean_accuracy"]["value"], 1.0);
    assert!(folder.path().join(run(2)).join("report.html").exists());
    // It is repeated without being told again.
    let rerun = ["rerun", &run(1), "--out", "again"];
    let (said, _) = succeed_within(folder.path(), &rerun);
    assert!(
        said.contains("3 rows and their pictures are the same"),
        "{said}"
    );
}

#[test]
fn labels_are_what_was_said() {
    let folder = tempfile::tempdir().unwrap();
    let (model, pictures, labels) = (model(), pictures(), labels());
    let attack = [
        "attack",
        &model,
        &pictures,
        "--limit=4",
        "--preprocessing=mnist",
        "--attack=fgsm",
        "--eps=0.1",
        "--format=json",
    ];
    for (rest, accuracy, truth) in [
        (&["--labels", &*labels][..], 0.75, "labels"),
        (&["--label-from-prediction"], 1.0, "prediction"),
        // The first pictures show 8, 8, 1 and 1; one of them is taken for another digit.
        (&["--label", "one"], 0.5, "labels"),
        (&["--label=9"], 0.25, "labels"),
    ] {
        let (answer, _) = succeed_within(folder.path(), &[&attack[..], rest].concat());
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(
            answer["attacks"][0]["clean_accuracy"]["value"], accuracy,
            "{rest:?}"
        );
        assert_eq!(answer["data"]["truth"], truth, "{rest:?}");
    }
    for (rest, says) in [
        (&["--label", "sevn"][..], "did you mean seven?"),
        (&["--label=10"], "the model has 10 classes, 0 to 9"),
        (&["--label=1", "--labels", &*labels], "cannot be used with"),
    ] {
        let errors = failure(&[&attack[..], rest].concat(), 2);
        assert!(errors.contains(says), "{errors}");
    }
}

#[test]
fn classes_have_names_in_labels_targets_and_answers() {
    let folder = tempfile::tempdir().unwrap();
    let (model, photographs) = (
        asset("imagenet/models/mobilenet_v1_050_160.onnx"),
        asset("imagenet/images"),
    );
    let at = |name: &str| folder.path().join(name).display().to_string();
    for (file, name) in [
        ("82e2334925339ef8.png", "a.png"),
        ("b0bb1ea9bcc45800.png", "b.png"),
    ] {
        fs::copy(Path::new(&photographs).join(file), at(name)).unwrap();
    }
    let labels = "file,label\na.png,Sports car\nb.png,switch\n";
    fs::write(at("labels.csv"), labels).unwrap();
    let data = folder.path().to_str().unwrap();
    let predict = [
        "predict",
        &model,
        data,
        "--preprocessing=imagenet-inception",
    ];
    let table = succeed(&predict);
    assert!(table.contains("a.png  right  sports car "), "{table}");
    assert!(!table.contains("class "), "{table}");
    let (run, targeted) = (at("run"), ["--attack=fgsm", "--eps=4/255", "--no-lint"]);
    let attack = [
        "attack",
        &model,
        data,
        "--preprocessing=imagenet-inception",
        "--out",
        &run,
    ];
    succeed(&[&attack[..], &targeted, &["--target", "goldfish"]].concat());
    let settings = fs::read_to_string(Path::new(&run).join("run.toml")).unwrap();
    assert!(settings.contains("goal = \"targeted: 1\""), "{settings}");
    let report = fs::read_to_string(Path::new(&run).join("report.html")).unwrap();
    assert!(report.contains("sports car") && !report.contains("class 817"));
    for (target, says) in [
        ("goldfsh", "did you mean goldfish?"),
        (
            "shark",
            "did you mean great white shark (2), tiger shark (3)?",
        ),
        ("least-likly", "did you mean least-likely?"),
        ("1000", "the model has 1000 classes, 0 to 999"),
    ] {
        let errors = failure(&[&attack[..], &targeted, &["--target", target]].concat(), 2);
        assert!(errors.contains(says), "{errors}");
    }
    fs::write(
        at("labels.csv"),
        "file,label\na.png,sports car\nb.png,swich\n",
    )
    .unwrap();
    let errors = failure(&predict, 2);
    assert!(
        errors.contains("swich is not the name of one of the model's classes"),
        "{errors}"
    );
    assert!(errors.contains("did you mean switch?"), "{errors}");
}

#[test]
fn preprocessing_is_found_beside_the_model_or_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let net = folder.path().join("net.onnx");
    fs::copy(asset("imagenet/models/mobilenet_v1_050_160.onnx"), &net).unwrap();
    let photograph = Path::new(&asset("imagenet/images")).join("82e2334925339ef8.png");
    fs::copy(photograph, folder.path().join("car.png")).unwrap();
    let attack = [
        "attack",
        "net.onnx",
        "car.png",
        "--attack=fgsm",
        "--eps=1/255",
        "--out=run",
    ];
    let asked = within(folder.path(), &attack);
    let errors = String::from_utf8(asked.stderr).unwrap();
    assert_eq!(asked.status.code(), Some(2), "{errors}");
    for says in [
        "note: pictures are resized to the model's 160x160 pixels (--resize 183 --crop 160)",
        "the preprocessing of net.onnx is unknown",
        "\n  --preprocessing imagenet-inception  sports car ",
    ] {
        assert!(errors.contains(says), "{says}: {errors}");
    }
    assert!(!folder.path().join("run").exists());
    let description = r#"{"do_normalize": true, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "do_rescale": true,
        "rescale_factor": 0.00392156862745098, "do_resize": true, "size": {"shortest_edge": 183}, "do_center_crop": true,
        "crop_size": {"height": 160, "width": 160}, "resample": 2}"#;
    fs::write(folder.path().join("preprocessor_config.json"), description).unwrap();
    let (_, notes) = succeed_within(folder.path(), &attack);
    assert!(
        notes.contains("note: preprocessing from preprocessor_config.json"),
        "{notes}"
    );
    let settings = fs::read_to_string(folder.path().join("run/run.toml")).unwrap();
    assert!(settings.contains("mean = [0.5, 0.5, 0.5]"), "{settings}");
}

#[test]
fn models_of_our_own_training_need_no_preprocessing() {
    let folder = tempfile::tempdir().unwrap();
    let net = concat!(env!("CARGO_MANIFEST_DIR"), "/demo/standard.onnx");
    let photograph = Path::new(&asset("imagenet/images")).join("82e2334925339ef8.png");
    let photograph = photograph.display().to_string();
    let attack = ["attack", net, &photograph, "--attack=fgsm", "--out=run"];
    let (figures, notes) = succeed_within(folder.path(), &attack);
    assert!(
        figures.contains("(prediction instead of truth: 1 picture)"),
        "{figures}"
    );
    assert!(notes.contains("--resize 64 --crop 64"), "{notes}");
}

#[test]
fn an_attack_that_needs_a_radius_has_the_usual_one_or_asks() {
    let folder = tempfile::tempdir().unwrap();
    let (net, x, y) = (
        asset("cifar10/models/resnet20_akamaster.onnx"),
        asset("cifar10/test_0-499_x_u8_NHWC.npy"),
        asset("cifar10/test_0-499_y.npy"),
    );
    let attack = [
        "attack",
        &net,
        &x,
        "--labels",
        &y,
        "--limit=2",
        "--preprocessing=imagenet",
        "--attack=fgsm",
    ];
    let (figures, notes) = succeed_within(folder.path(), &attack);
    let says = "note: no --eps given; using 8/255, the usual radius in linf for colour pictures";
    assert!(notes.contains(says), "{notes}");
    assert!(figures.contains("fgsm    8/255"), "{figures}");
    let (model, pictures) = (model(), pictures());
    let grey = [
        "attack",
        &model,
        &pictures,
        "--limit=2",
        "--preprocessing=mnist",
        "--attack=fgsm",
    ];
    let errors = failure(&grey, 2);
    assert!(errors.contains("set eps"), "{errors}");
    for (norm, eps, says) in [
        ("l2", "8/255", "did you mean linf, or 1.739?"),
        ("L2", "60", "55.4 apart in l2"),
        ("l1", "8/255", "did you mean linf"),
        ("inf", "8", "did you mean 8/255?"),
    ] {
        let errors = failure(
            &[
                &attack[..7],
                &["--attack=pgd", "--norm", norm, "--eps", eps],
            ]
            .concat(),
            2,
        );
        assert!(errors.contains(says), "{says}: {errors}");
    }
}

#[test]
fn other_words_for_an_option_are_understood() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (model, pictures, labels) = (model(), pictures(), labels());
    let data = [
        "attack",
        &*model,
        &*pictures,
        "--labels",
        &*labels,
        "--preprocessing=mnist",
    ];
    let (one, other) = (at("one"), at("other"));
    let own = [
        "--eps=0.1",
        "--steps=3",
        "--restarts=2",
        "--step-size=0.05",
        "--limit=3",
        "--batch=2",
        "--out",
        &one,
    ];
    let others = [
        "--epsilon=0.1",
        "--iterations=3",
        "--num_restarts=2",
        "--alpha=0.05",
        "--num-samples=3",
        "--batch-size=2",
        "--output",
        &other,
    ];
    let settings = |words: &[&str], out: &str| {
        succeed(&[&data[..], words].concat());
        fs::read_to_string(Path::new(out).join("run.toml")).unwrap()
    };
    assert_eq!(settings(&own, &one), settings(&others, &other));
    let predict = [
        "predict",
        &*model,
        &*pictures,
        "--labels",
        &*labels,
        "--preprocessing=mnist",
        "--limit=3",
    ];
    assert_eq!(
        succeed(&[&predict[..], &["--top-k=2", "--batch-size=1"]].concat()),
        succeed(&[&predict[..], &["--top=2", "--batch=1"]].concat())
    );
    let config = at("a.toml");
    fs::write(&config, "epsilon = 0.1\nbatch_size = 4\nnum-steps = 7\n").unwrap();
    let shown = succeed(&["attack", "--config", &config, "--show-settings"]);
    for line in ["eps = \"0.1\"", "batch = 4", "steps = 7"] {
        assert!(shown.lines().any(|found| found == line), "{line}: {shown}");
    }
    fs::write(&config, "epsilon = 0.1\neps = 0.2\n").unwrap();
    let errors = failure(&["attack", "--config", &config, "--show-settings"], 2);
    assert!(errors.contains("eps is given twice"), "{errors}");
    for one in [
        "grad", "train", "report", "attack", "merge", "rerun", "demo",
    ] {
        let help = succeed(&[one, "--help"]);
        assert!(
            help.contains("-o, --out <") && !help.contains("--output"),
            "{one}: {help}"
        );
    }
}

#[test]
fn what_is_typed_wrong_gets_the_right_sentence() {
    for (rest, says) in [
        (
            &["--mean", "0.485", "0.456", "0.406"][..],
            "error: separate the values of --mean with commas and no spaces: --mean 0.485,0.456,0.406\n",
        ),
        (&["--std", "[0.2,", "0.3,", "0.4]"], "--std 0.2,0.3,0.4\n"),
        (&["--eps", "2/255", "8/255"], "--eps 2/255,8/255\n"),
        (&["--attack", "fgsm", "pgd"], "--attack fgsm,pgd\n"),
        (&["--mean", "a,b,c"], "expected numbers separated by commas"),
        (&["--eps", "-1"], "-1 is negative; a radius is 0 or more"),
        (&["--eps", "-1/255"], "-1/255 is negative"),
        (&["--steps", "-1"], "expected a whole number, 0 or more"),
        (&["--steps", "3.5"], "expected a whole number, 0 or more"),
        (&["--limit", "-3"], "expected a whole number, 0 or more"),
        (&["--momentum", "much"], "expected a number, such as 0.9"),
        (&["--batch", "-1"], "expected a whole number, 1 or more"),
        (
            &["--preprocessing", "imagenet-incepton"],
            "did you mean imagenet-inception?",
        ),
    ] {
        let errors = failure(&[&["attack", "net.onnx", "x.npy"], rest].concat(), 2);
        assert!(errors.contains(says), "{says}: {errors}");
        assert!(errors.starts_with("error: "), "{errors}");
    }
    let (model, pictures) = (model(), pictures());
    let errors = failure(&["attack", &model, &pictures, &labels()], 2);
    assert!(
        errors.contains(": pass the folder, or put the pattern in quotes"),
        "{errors}"
    );
    let named = [
        "predict",
        "--data",
        &*pictures,
        "--model",
        &*model,
        "--limit=2",
    ];
    assert_eq!(
        succeed(&named),
        succeed(&["predict", &*model, &*pictures, "--limit=2"])
    );
    // Brackets as in Python, in one word.
    let predict = ["predict", &*model, &*pictures, "--limit=2"];
    assert_eq!(
        succeed(&[&predict[..], &["--mean", "[0.1307]", "--std", "(0.3081)"]].concat()),
        succeed(&[&predict[..], &["--mean=0.1307", "--std=0.3081"]].concat())
    );
}

#[test]
fn settings_are_shown_without_anything_else() {
    for name in [
        "attack", "data", "grad", "inspect", "merge", "predict", "report", "rerun", "train",
        "demo", "attacks",
    ] {
        let shown = succeed(&[name, "--show-settings"]);
        assert!(shown.contains("format = \"table\""), "{name}: {shown}");
    }
    assert!(succeed(&["attack", "--show-settings", "--steps", "7"]).contains("steps = 7"));
}

#[test]
fn files_that_are_no_onnx_say_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let cut = fs::read(model()).unwrap();
    for (name, bytes, says) in [
        (
            "net.pt",
            &b"PK\x03\x04 net/data.pkl"[..],
            "a PyTorch file of weights",
        ),
        (
            "net.h5",
            b"\x89HDF\r\n\x1a\n",
            "python -m tf2onnx.convert --keras",
        ),
        (
            "net.tflite",
            b"\x1c\0\0\0TFL3",
            "python -m tf2onnx.convert --tflite",
        ),
        ("page.onnx", b"<!DOCTYPE html>", "a web page (HTML)"),
        (
            "lfs.onnx",
            b"version https://git-lfs.github.com/spec/v1\nsize 9\n",
            "git lfs pull --include",
        ),
        ("empty.onnx", b"", "is empty (0 bytes)"),
        ("cut.onnx", &cut[..cut.len() / 2], "is truncated"),
    ] {
        let (path, out, pictures) = (at(name), at("grad.onnx"), pictures());
        fs::write(&path, bytes).unwrap();
        for command in [
            &["attack", &path, &pictures][..],
            &["predict", &path, &pictures],
            &["inspect", &path],
            &["grad", &path, "--out", &out],
        ] {
            let errors = failure(command, 2);
            let says = [name, says];
            assert!(says.iter().all(|part| errors.contains(part)), "{errors}");
            assert_eq!(errors.lines().count(), 1, "{errors}");
        }
    }
    let net = "https://huggingface.co/a/b/blob/main/net.onnx";
    let resolved = "download it first: curl -L -O https://huggingface.co/a/b/resolve/main/net.onnx";
    let model = model();
    for (command, says) in [
        (&["attack", net, "x.npy"][..], resolved),
        (&["inspect", net], resolved),
        (
            &["predict", &model, "https://example.org/cat.jpg"],
            "curl -L -O https://example.org/cat.jpg",
        ),
        (
            &["inspect", "microsoft/resnet-50"],
            "optimum-cli export onnx --model microsoft/resnet-50",
        ),
    ] {
        let errors = failure(command, 2);
        assert!(
            errors.contains("nothing is downloaded") && errors.contains(says),
            "{errors}"
        );
    }
}

#[test]
fn runs_are_compared_in_a_table_whose_columns_have_names() {
    let folder = tempfile::tempdir().unwrap();
    let (model, pictures, labels) = (model(), pictures(), labels());
    let data = [
        "attack",
        &*model,
        &*pictures,
        "--labels",
        &*labels,
        "--preprocessing=mnist",
        "--limit=3",
        "--attack=fgsm",
    ];
    succeed_within(
        folder.path(),
        &[&data[..], &["--eps=0.1", "--out=a/run"]].concat(),
    );
    succeed_within(
        folder.path(),
        &[&data[..], &["--eps=0.1,0.3", "--out=b/run"]].concat(),
    );
    let (table, _) = succeed_within(
        folder.path(),
        &["report", "a/run", "b/run", "--names", "weak,strong"],
    );
    let cells: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(cells[0], ["still", "right", "weak", "strong"]);
    assert_eq!(cells[1][..3], ["before", "any", "attack"]);
    assert_eq!(cells[3][..3], ["fgsm", "0.3", "–"], "{table}");
    assert_eq!(table.lines().last(), Some("report: comparison.html"));
    let (unnamed, _) = succeed_within(
        folder.path(),
        &["report", "a/run", "b/run", "--out", "c.html"],
    );
    assert!(unnamed.contains("a/run  b/run"), "{unnamed}");
    let wrong = within(
        folder.path(),
        &["report", "a/run", "b/run", "--names", "one"],
    );
    let errors = String::from_utf8(wrong.stderr).unwrap();
    assert!(errors.contains("--names has 1 name for 2 runs"), "{errors}");
}

#[cfg(target_os = "linux")]
#[test]
fn the_report_is_opened_where_that_is_asked_for() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let opener = folder.path().join("xdg-open");
    fs::write(
        &opener,
        "#!/bin/sh\necho \"$1\" > opened.part\nmv opened.part opened\n",
    )
    .unwrap();
    fs::set_permissions(&opener, fs::Permissions::from_mode(0o755)).unwrap();
    let (model, pictures) = (model(), pictures());
    let attack = [
        "attack",
        &*model,
        &*pictures,
        "--limit=1",
        "--preprocessing=mnist",
        "--out=run",
        "--quiet",
    ];
    let others = std::env::var_os("PATH").unwrap_or_default();
    let path = std::iter::once(folder.path().to_owned()).chain(std::env::split_paths(&others));
    let path = std::env::join_paths(path).unwrap();
    let opened = |args: &[&str]| {
        let mut command = command(args);
        let output = command
            .current_dir(folder.path())
            .env("PATH", &path)
            .output()
            .unwrap();
        assert_eq!(
            output.status.code(),
            Some(0),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let file = folder.path().join("opened");
        let begun = Instant::now();
        while !file.exists() && begun.elapsed() < Duration::from_secs(10) {
            thread::sleep(Duration::from_millis(10));
        }
        let said = fs::read_to_string(&file).unwrap();
        fs::remove_file(&file).unwrap();
        said
    };
    assert!(opened(&[&attack[..], &["--open"]].concat()).ends_with("run/report.html\n"));
    assert!(opened(&["report", "run", "--open"]).ends_with("run/report.html\n"));
}

/// A server that answers two questions, its description and one about a grey picture, and nothing more.
#[cfg(unix)]
#[test]
fn a_model_that_does_not_answer_holds_no_end_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/predict", listener.local_addr().unwrap());
    let (asked, is_asked) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let mut kept = Vec::new();
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut length = 0;
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
                    break;
                }
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            let _ = reader.read_exact(&mut body);
            let answer = match number {
                0 => r#"{"classes": 10, "shape": [3, 16, 16]}"#,
                1 => r#"{"logits": [[0, 0, 0, 0, 0, 0, 0, 0, 0, 1]]}"#,
                _ => {
                    asked.send(()).unwrap();
                    kept.push(stream);
                    continue;
                }
            };
            let head = format!(
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                answer.len()
            );
            stream.write_all((head + answer).as_bytes()).unwrap();
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let args: Vec<String> = [
        "attack",
        "--model",
        &address,
        "scenes:count=3,side=16",
        "--attack=square",
        "--eps=8/255",
    ]
    .into_iter()
    .map(str::to_owned)
    .chain([
        "--timeout=120".to_owned(),
        format!("--out={}", run.display()),
    ])
    .collect();
    let child = Command::new(env!("CARGO_BIN_EXE_hoodwink"))
        .args(borrowed(&args))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    is_asked.recv_timeout(Duration::from_secs(60)).unwrap();
    let begun = Instant::now();
    let sent = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(30), "{errors}");
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(
        errors.contains("stopped after 0 of 3 pictures; repeat the command to resume"),
        "{errors}"
    );
    assert!(run.join("report.html").exists());
}
