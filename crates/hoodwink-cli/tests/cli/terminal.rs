//! Whatever names a stranger chose, what is printed commands no terminal, and forges no line.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use hoodwink::image::Picture;
use onnx_grad::{DType, Dim, Graph, Lowering, Op, Tensor, to_onnx};
use serde_json::Value;

use crate::setup::{npy, npz};

/// It writes to the clipboard, hides, turns the direction of writing, and makes a line of its own.
const EVIL: &str = "\u{1b}]52;c;ZXZpbA==\u{7}\u{9b}8m\u{202e}\r\nerror: forged\u{7f}\u{200b}\u{2066}\u{feff}\u{e0041}";

/// A folder that a stranger filled, in which commands run.
struct Stranger(tempfile::TempDir);

impl Stranger {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: impl AsRef<OsStr>, bytes: impl AsRef<[u8]>) {
        let path = self.0.path().join(Path::new(name.as_ref()));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Ends with one of these exit statuses, and prints nothing that it should not.
    #[track_caller]
    fn run(&self, statuses: &[i32], args: &[impl AsRef<OsStr>]) -> Output {
        let args: Vec<&OsStr> = args.iter().map(AsRef::as_ref).collect();
        let output = Command::new(env!("CARGO_BIN_EXE_hoodwink"))
            .current_dir(&self.0)
            .args(&args)
            .output()
            .unwrap();
        let stdout = str::from_utf8(&output.stdout).unwrap();
        let stderr = str::from_utf8(&output.stderr).unwrap();
        let status = output.status.code().unwrap();
        assert!(statuses.contains(&status), "{args:?}: {stderr}");
        for text in [stdout, stderr] {
            let harmful = |&c: &char| {
                let hides = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
                    | '\u{feff}' | '\u{e0000}'..='\u{e007f}');
                hides || c.is_control() && c != '\n'
            };
            let found: Vec<char> = text.chars().filter(harmful).collect();
            assert!(found.is_empty(), "{args:?}: {found:?} in {text}");
            let forged = text.lines().any(|line| line.starts_with("error: forged"));
            assert!(!forged, "{args:?}: {text}");
        }
        output
    }

    /// What it prints as JSON.
    #[track_caller]
    fn json(&self, statuses: &[i32], args: &[&str]) -> Value {
        let output = self.run(statuses, &[args, &["--format", "json"]].concat());
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// A field of a protobuf message; fields written behind a message are merged into it.
fn field(number: u8, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    let mut bytes = vec![number << 3 | 2];
    let mut length = content.len();
    while length > 127 {
        bytes.push(length as u8 & 127 | 128);
        length >>= 7;
    }
    bytes.push(length as u8);
    [&bytes, content].concat()
}

/// A classifier of grey pictures, 4x4, all of whose names are a stranger's.
fn model() -> Vec<u8> {
    let mut graph = Graph::new();
    let batch = Dim::Batch(1);
    let x = graph.input(EVIL, DType::F32, vec![batch, 1.into(), 4.into(), 4.into()]);
    let shape = vec![batch, 16.into()];
    let flat = graph.add_named(EVIL, Op::Reshape { shape }, &[x]).unwrap();
    let values: Vec<f32> = (0..32).map(|at| (at * 7 % 5) as f32 - 2.0).collect();
    let weight = graph.named_constant(format!("{EVIL}w"), Tensor::f32([16, 2], values).unwrap());
    let scores = graph.add_named(format!("{EVIL}m"), Op::MatMul, &[flat, weight]);
    graph.output(format!("{EVIL}y"), scores.unwrap());
    let model = to_onnx(&graph, Lowering::Portable).unwrap();
    [model, field(2, EVIL)].concat()
}

/// It has an operator too that nobody knows.
fn with_unknown_operator() -> Vec<u8> {
    let node = [
        field(1, EVIL),
        field(2, "z"),
        field(3, EVIL),
        field(4, EVIL),
        field(7, EVIL),
    ];
    let output = field(1, "z");
    let graph = [field(1, node.concat()), field(12, output)];
    [model(), field(7, graph.concat())].concat()
}

fn picture(seed: usize) -> Vec<u8> {
    let levels = (0..16).map(|at| (at * at * 29 + seed * 17) as u8).collect();
    Picture::new(1, 4, 4, levels).unwrap().encode_png()
}

#[test]
fn names_in_models_are_printed_harmlessly() {
    let stranger = Stranger::new();
    let (good, bad) = (format!("{EVIL}.onnx"), format!("{EVIL}2.onnx"));
    stranger.write(&good, model());
    stranger.write(&bad, with_unknown_operator());
    stranger.run(&[0], &["inspect", &good]);
    let page = stranger.json(&[0], &["inspect", &good]);
    let producer = page["file"]["producer"].as_str().unwrap();
    assert!(producer.starts_with(EVIL), "{producer}");
    assert_eq!(page["file"]["inputs"][0]["name"], EVIL);
    stranger.run(&[2], &["inspect", &bad, "--engine=rten"]);
    let page = stranger.json(&[2], &["inspect", &bad, "--engine=rten"]);
    let unsupported = page["file"]["unsupported"].as_array().unwrap();
    assert!(unsupported.iter().any(|one| one["first"] == EVIL), "{page}");
    stranger.run(&[2], &["inspect", &good, "--scores", EVIL]);
    let gradient = format!("{EVIL}-grad.onnx");
    stranger.run(&[0], &["grad", &good, "-o", &gradient]);
    let written = stranger.json(&[0], &["grad", &good, "-o", &gradient]);
    assert_eq!(written["file"], gradient);
    stranger.run(&[2], &["grad", &bad, "-o", &gradient]);
}

#[test]
fn long_names_and_lists_are_cut_in_the_table_and_whole_in_json() {
    let stranger = Stranger::new();
    let long = EVIL.repeat(50_000);
    let output = |at| field(12, field(1, format!("{at}{long}")));
    let node = [field(1, EVIL), field(2, "z"), field(4, &long)].concat();
    let graph = [field(1, node), (0..3).flat_map(output).collect()].concat();
    stranger.write(
        "long.onnx",
        [model(), field(2, &long), field(7, graph)].concat(),
    );
    let output = |at| field(12, field(1, format!("{EVIL}{at}")));
    let graph: Vec<u8> = (0..3_000).flat_map(output).collect();
    stranger.write("many.onnx", [model(), field(7, graph)].concat());
    for (model, outputs) in [("long.onnx", 4), ("many.onnx", 3_001)] {
        let inspect = ["inspect", model, "--engine=rten"];
        let said = stranger.run(&[2], &inspect);
        let length = said.stdout.len() + said.stderr.len();
        assert!(length < 30_000, "{model}: {length} bytes");
        let page = stranger.json(&[2], &inspect);
        assert_eq!(page["file"]["outputs"].as_array().unwrap().len(), outputs);
        if model == "long.onnx" {
            assert!(
                page["file"]["producer"]
                    .as_str()
                    .unwrap()
                    .starts_with(&long)
            );
        }
    }
}

#[test]
fn what_is_beside_a_model_names_no_file_outside_of_its_folder() {
    let stranger = Stranger::new();
    stranger.write("theirs/m.onnx", model());
    stranger.write("theirs/x.npy", npy("|u1", &[1, 4, 4], &[7; 16]));
    stranger.write("theirs/names.txt", "cat\ndog\n");
    stranger.write("secret", "SECRET\nKEY\n");
    let secret = stranger.0.path().join("secret");
    let predict = ["predict", "theirs/m.onnx", "theirs/x.npy", "--engine=rten"];
    for (path, status) in [
        ("names.txt", 0),
        ("../secret", 2),
        (secret.to_str().unwrap(), 2),
    ] {
        stranger.write("theirs/m.toml", format!("class-names = '{path}'"));
        let output = stranger.run(&[status], &predict);
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text.contains("cat"), status == 0, "{text}");
        assert!(!text.contains("SECRET"), "{text}");
        assert!(
            status == 0 || text.contains("m.toml: class-names: "),
            "{text}"
        );
    }
}

#[test]
fn an_engine_that_fails_tells_it_through_the_command() {
    let stranger = Stranger::new();
    let opaque = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hoodwink/tests/opaque");
    // An index that is out of range, which shows when it is run.
    let index = [vec![8, 1, 16, 7], field(8, "index"), field(9, [99; 8])].concat();
    let node = [
        field(1, "scores"),
        field(1, "index"),
        field(2, "z"),
        field(3, EVIL),
        field(4, "Gather"),
    ];
    let unused = [vec![8, 1, 16, 7], field(8, EVIL), field(9, [0; 8])].concat();
    let graph = [
        field(1, node.concat()),
        field(5, index),
        field(5, unused),
        field(12, field(1, "z")),
    ];
    let lstm = fs::read(opaque.join("lstm.onnx")).unwrap();
    stranger.write("a.onnx", [lstm, field(7, graph.concat())].concat());
    for engine in ["--engine=ort", "--engine=rten"] {
        stranger.run(&[2], &["inspect", "a.onnx", "--scores=z", engine]);
    }
}

#[test]
fn names_of_files_classes_and_arrays_are_printed_harmlessly() {
    let stranger = Stranger::new();
    let folder = format!("photos{EVIL}");
    for (class, at) in [("a", 0), ("a", 1), ("b", 1), ("b", 2)] {
        stranger.write(
            format!("{folder}/{EVIL}{class}/{EVIL}{at}.png"),
            picture(at),
        );
    }
    stranger.write(format!("other/{EVIL}a/0.png"), picture(0));
    stranger.write(format!("other/{EVIL}b/notes.txt"), "");
    stranger.run(&[0, 2], &["data", "other"]);
    stranger.run(&[1], &["data", &folder]);
    let page = stranger.json(&[1], &["data", &folder]);
    assert_eq!(page["data"], folder);
    let file = page["duplicates"][0]["files"][0].as_str().unwrap();
    assert!(file.contains(EVIL), "{file}");
    stranger.run(&[1], &["data", &folder, &folder]);

    stranger.write("m.onnx", model());
    // No line breaks in a list of lines.
    let line = EVIL.replace(['\r', '\n'], "");
    stranger.write("names.txt", format!("{line} 0\n{line} 1\n"));
    let predict = ["predict", "m.onnx", &folder, "--engine=rten"];
    stranger.run(&[0, 2], &predict);
    let named = ["--class-names", "names.txt"];
    // Folders without any of these names are refused; pictures without labels are not.
    stranger.run(&[2], &[&predict[..], &named].concat());
    let flat = format!("flat{EVIL}");
    stranger.write(format!("{flat}/{EVIL}.png"), picture(0));
    let predict = ["predict", "m.onnx", &flat, "--engine=rten"];
    stranger.run(&[0], &[&predict[..], &named].concat());
    let answer = stranger.json(&[0], &[&predict[..], &named].concat());
    let top = &answer["pictures"][0]["top"][0]["name"];
    assert!(top.as_str().unwrap().starts_with(&line), "{top}");
    stranger.write("more.txt", format!("{EVIL}\n0\n"));
    stranger.run(
        &[2],
        &[&predict[..], &["--class-names", "more.txt"]].concat(),
    );

    let arrays = npz(&[(&format!("{EVIL}.npy"), npy("|u1", &[1], &[0]))]);
    stranger.write(format!("{EVIL}.npz"), arrays);
    stranger.run(&[2], &["data", &format!("{EVIL}.npz")]);
    stranger.write(format!("{EVIL}.npy"), format!("\u{93}NUMPY{EVIL}"));
    stranger.run(&[2], &["data", &format!("{EVIL}.npy")]);
    stranger.write("table/labels.csv", format!("{line},\"{EVIL}\"\n{EVIL}"));
    stranger.run(&[2], &["data", "table"]);
    stranger.write(
        "table/labels.csv",
        format!("file,label\n\"{EVIL}\",\"{EVIL}\""),
    );
    stranger.run(&[2], &["data", "table"]);
    stranger.write("broken/0/a.png", picture(0));
    for at in 1..40 {
        stranger.write(format!("broken/0/{EVIL}{at}.png"), EVIL);
    }
    stranger.run(&[2], &["data", "broken"]);
    let attack = [
        "attack",
        "m.onnx",
        "broken",
        "--eps=0.1",
        "--out=run",
        "--engine=rten",
    ];
    stranger.run(&[2], &attack);
}

#[test]
fn run_folders_are_printed_harmlessly() {
    let stranger = Stranger::new();
    let (model_name, folder) = (format!("{EVIL}.onnx"), format!("x{EVIL}"));
    stranger.write(&model_name, model());
    for (class, at) in [("a", 0), ("a", 1), ("b", 3), ("b", 2)] {
        stranger.write(
            format!("{folder}/{EVIL}{class}/{EVIL}{at}.png"),
            picture(at),
        );
    }
    let out = |at: usize| format!("run{at}{EVIL}");
    let attack = |at: usize| {
        let out = format!("--out={}", out(at));
        let words = [
            "attack",
            &model_name,
            &folder,
            "--eps=0.1",
            "--attack=fgsm",
            "--engine=rten",
        ];
        words
            .iter()
            .map(|&word| word.to_owned())
            .chain([out])
            .collect::<Vec<_>>()
    };
    let with = |at, more: &[&str]| {
        let more = more.iter().map(|&word| word.to_owned());
        attack(at).into_iter().chain(more).collect::<Vec<_>>()
    };
    stranger.run(&[0], &attack(0));
    stranger.run(&[2], &with(0, &["--seed=1"]));
    let shown = stranger.run(&[0], &with(1, &["--show-settings"]));
    let shown: toml::Table = str::from_utf8(&shown.stdout).unwrap().parse().unwrap();
    assert_eq!(shown["options"]["model"].as_str(), Some(&*model_name));
    assert_eq!(
        shown["data"]["class_names"][0].as_str(),
        Some(&*format!("{EVIL}a"))
    );
    for part in [1, 2] {
        let partition = format!("--partition={part}/2");
        stranger.run(&[0], &with(part, &[&partition, "--format=json"]));
    }
    stranger.run(&[0], &["report", &out(0)]);
    stranger.json(&[0], &["report", &out(0)]);
    let page = format!("{EVIL}.html");
    stranger.run(&[2], &["merge", &out(0), &out(1), "--out", &out(3)]);
    stranger.run(&[2], &["merge", &out(1), "--out", &out(3)]);
    stranger.run(&[0], &["merge", &out(1), &out(2), "--out", &out(3)]);
    stranger.run(&[0], &["report", &out(0), &out(3), "-o", &page]);
    let compared = stranger.json(&[0], &["report", &out(0), &out(3), "-o", &page]);
    assert_eq!(compared["report"], page);
    assert_eq!(compared["runs"][0]["name"], out(0));
    let told = stranger.run(&[0], &["rerun", &out(0), "--out", &out(4)]);
    let told = String::from_utf8(told.stderr).unwrap();
    assert!(
        told.starts_with("repeating the run with model \\u001b]52;"),
        "{told}"
    );
    stranger.json(&[0], &["rerun", &out(0), "--out", &out(4)]);

    // What the stranger writes into the folder by hand.
    let path = stranger.0.path().join(out(0)).join("run.toml");
    let run: toml::Table = fs::read_to_string(&path).unwrap().parse().unwrap();
    for (table, key) in [
        ("model", "preprocessing"),
        ("threat", "norm"),
        ("threat", "goal"),
        ("options", EVIL),
    ] {
        let mut other = run.clone();
        other[table]
            .as_table_mut()
            .unwrap()
            .insert(key.to_owned(), EVIL.into());
        fs::write(&path, toml::to_string(&other).unwrap()).unwrap();
        stranger.run(&[2], &["rerun", &out(0), "--out", &out(5)]);
        stranger.run(&[0, 2], &["report", &out(0), "--format=table"]);
    }
    // Options that say where a run goes and what it takes, and words that look like options.
    let mut other = run.clone();
    let options = other["options"].as_table_mut().unwrap();
    for (name, value) in [
        ("out", "victim"),
        ("format", "json"),
        ("max-seconds", "1e-9"),
        ("partition", "1/9"),
    ] {
        options.insert(name.to_owned(), value.into());
    }
    options.insert("show-settings".to_owned(), true.into());
    fs::write(&path, toml::to_string(&other).unwrap()).unwrap();
    stranger.run(&[0], &["rerun", &out(0), "--out", &out(6)]);
    for (name, value) in [
        ("data", "--out=victim"),
        ("model", "--help"),
        ("eps", "0.1 --out=victim"),
        ("labels", "--out=victim"),
    ] {
        let mut other = run.clone();
        let options = other["options"].as_table_mut().unwrap();
        options.insert(name.to_owned(), value.into());
        fs::write(&path, toml::to_string(&other).unwrap()).unwrap();
        stranger.run(&[2], &["rerun", &out(0), "--out", &out(7)]);
    }
    assert!(!stranger.0.path().join("victim").exists());
    fs::write(&path, format!("{EVIL} = {EVIL}")).unwrap();
    stranger.run(&[2], &["report", &out(0)]);
}

#[test]
fn whatever_is_typed_is_printed_harmlessly() {
    let stranger = Stranger::new();
    let config = format!("config{EVIL}.toml");
    let toml = format!("--config={config}");
    let keys = toml::Table::from_iter([(EVIL.to_owned(), EVIL.into())]).to_string();
    for text in [&keys[..], "eps = [", EVIL, "quiet = \"\\u001b\\u202e\""] {
        stranger.write(&config, text);
        for command in [
            "attack", "data", "demo", "grad", "inspect", "merge", "predict", "report", "rerun",
            "train",
        ] {
            stranger.run(&[2], &[command, &toml]);
        }
    }
    stranger.write("file", "");
    let option = format!("--{EVIL}");
    let near = format!("{EVIL}.tomk");
    for args in [
        &[EVIL][..],
        &["attack", EVIL, EVIL, "--eps", EVIL, "--out", EVIL],
        &["attack", EVIL, EVIL, "--eps=1", "--out", EVIL, EVIL],
        &[
            "attack",
            EVIL,
            EVIL,
            "--eps=0.1",
            "--norm",
            EVIL,
            "--out",
            EVIL,
        ],
        &["attack", EVIL, EVIL, "--eps=0.1", "--out", EVIL],
        &["completions", EVIL],
        &["data", EVIL],
        &["data", &near],
        &["data", "file", EVIL],
        &["data", &option],
        &["demo", "--out", &format!("file/{EVIL}")],
        &["grad", EVIL, "-o", EVIL],
        &["inspect", EVIL],
        &["inspect", EVIL, &option],
        &["man", EVIL],
        &["merge", EVIL, EVIL, "--out", EVIL],
        &["predict", EVIL, EVIL, "--preprocessing", EVIL],
        &["report", EVIL],
        &["rerun", EVIL, "--out", EVIL],
        &["train", EVIL, "-o", EVIL],
        &["train", "scenes:count=4,side=8", "-o", &format!("{EVIL}/a")],
        &["train", &format!("scenes:{EVIL}=4"), "-o", "a.onnx"],
        &["data", &format!("{EVIL}{}", "a".repeat(100_000))],
    ] {
        let output = stranger.run(&[2], args);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.len() < 30_000, "{} bytes: {args:?}", stderr.len());
    }
    for args in [
        &["predict", EVIL, EVIL, "--show-settings"][..],
        &["train", EVIL, "-o", EVIL, "--show-settings"],
    ] {
        let output = stranger.run(&[0], args);
        let shown: toml::Table = str::from_utf8(&output.stdout).unwrap().parse().unwrap();
        assert_eq!(shown["data"].as_str(), Some(EVIL));
    }
    for args in [
        &["--help"][..],
        &["man"],
        &["completions", "zsh"],
        &["completions", "fish"],
    ] {
        let output = stranger.run(&[0], args);
        assert!(!String::from_utf8(output.stdout).unwrap().contains("\\u00"));
    }
}

#[cfg(unix)]
#[test]
fn names_that_are_no_text_are_printed_harmlessly() {
    use std::os::unix::ffi::OsStrExt as _;

    let stranger = Stranger::new();
    let name = |end: &str| {
        let bytes = [b"\xff\x9b\x1b[31m", end.as_bytes()].concat();
        PathBuf::from(OsStr::from_bytes(&bytes))
    };
    stranger.write(name("/0/a.png").as_os_str(), picture(0));
    stranger.write(name(".onnx").as_os_str(), model());
    for (command, path, status) in [
        ("data", name(""), 0),
        ("inspect", name(".onnx"), 0),
        ("data", name("gone"), 2),
        ("report", name(""), 2),
    ] {
        stranger.run(&[status], &[Path::new(command), &path]);
    }
}

#[test]
fn a_training_is_told_harmlessly() {
    let stranger = Stranger::new();
    for (class, at) in [("a", 0), ("b", 3)] {
        stranger.write(format!("x{EVIL}/{EVIL}{class}/{EVIL}{at}.png"), picture(at));
    }
    let data = format!("x{EVIL}");
    let model = format!("{EVIL}.onnx");
    let network = format!("{EVIL}.toml");
    let train = [
        "train",
        &data,
        "-o",
        &model,
        "--network",
        &network,
        "--epochs=1",
        "--engine=rten",
    ];
    for text in [
        EVIL,
        "layers = ['\\u001b']",
        "layers = [\"\\u001b\\u202e\\nerror: forged\"]",
    ] {
        stranger.write(&network, text);
        stranger.run(&[2], &train);
    }
    stranger.write(&network, "layers = ['flatten']\n");
    stranger.run(&[0], &train);
    let trained = stranger.json(&[0], &train);
    assert_eq!(trained["model"], model);
}
