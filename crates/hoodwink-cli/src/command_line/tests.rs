use std::fs;

use super::*;

fn command() -> Command {
    let option = |name: &'static str| Arg::new(name).long(name);
    Command::new("hoodwink").subcommand(
        Command::new("attack")
            .arg(Arg::new("model").required(true))
            .arg(Arg::new("data").required(true))
            .arg(option("eps").value_delimiter(',').required(true))
            .arg(option("norm").default_value("linf"))
            .arg(option("steps").value_parser(clap::value_parser!(u32)))
            .arg(option("mean").allow_hyphen_values(true))
            .arg(option("labels"))
            .arg(option("out"))
            .arg(option("threads"))
            .arg(option("config"))
            .arg(option("keep-softmax").action(ArgAction::SetTrue))
            .arg(option("quiet").action(ArgAction::SetTrue).short('q')),
    )
}

fn typed(line: &[&str]) -> Typed {
    let matches = command().try_get_matches_from(line).unwrap();
    let command = command();
    let attack = command.find_subcommand("attack").unwrap();
    Typed::of(
        attack,
        "attack",
        matches.subcommand_matches("attack").unwrap(),
    )
}

#[test]
fn what_was_typed_comes_back_in_one_order_without_what_has_no_effect() {
    let lines = [
        &[
            "hoodwink",
            "attack",
            "it's a model.onnx",
            "x.npy",
            "--eps",
            "2/255,8/255",
            "--steps",
            "40",
            "--mean",
            "-1",
            "--keep-softmax",
            "--out",
            "a",
        ][..],
        &[
            "hoodwink",
            "attack",
            "--threads=3",
            "--mean=-1",
            "--keep-softmax",
            "--out=b",
            "--eps=2/255,8/255",
            "--quiet",
            "--steps=40",
            "it's a model.onnx",
            "x.npy",
        ],
    ];
    for line in lines {
        let typed = typed(line);
        assert_eq!(
            typed.again,
            "hoodwink attack \"it's a model.onnx\" x.npy --eps 2/255,8/255 --steps 40 --mean=-1 --keep-softmax \
                 --out again"
        );
        assert_eq!(shlex::split(&typed.again).unwrap()[2], "it's a model.onnx");
        let expected = "model = \"it's a model.onnx\"\ndata = \"x.npy\"\neps = [\"2/255\", \"8/255\"]\nsteps = 40\n\
                            mean = -1\nkeep-softmax = true\n";
        assert_eq!(typed.options, expected.parse::<Table>().unwrap());

        let command = command();
        let words = arguments(command.find_subcommand("attack").unwrap(), &typed.options);
        let words = words.unwrap();
        let mut again = vec!["hoodwink".to_owned(), "attack".to_owned()];
        again.extend(words.options);
        again.extend(words.positional);
        let again: Vec<&str> = again.iter().map(String::as_str).collect();
        assert_eq!(self::typed(&again).options, typed.options);
    }
}

/// Returns the words that a POSIX shell splits a line into.
#[cfg(unix)]
fn words(line: &str) -> Vec<String> {
    let script = format!("hoodwink() {{ printf '%s\\0' \"$@\"; }}; {line}");
    let mut shell = std::process::Command::new("sh");
    let output = shell.args(["-c", &script]).output().unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{line}"
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let words = text.split_terminator('\0').map(str::to_owned);
    ["hoodwink".to_owned()].into_iter().chain(words).collect()
}

#[cfg(unix)]
#[test]
fn a_shell_makes_of_the_line_what_was_typed() {
    let folder = tempfile::tempdir().unwrap();
    let victim = folder.path().join("victim");
    let run = format!(
        "$(touch {0})`touch {0}`;touch {0}\n#'\"\\ !x",
        victim.display()
    );
    for (model, data, labels) in [
        ("--m.onnx", "x.npy", "y.npy"),
        ("m.onnx", "-x.npy", "-y.npy"),
        ("--out=victim", "--help", "--out=victim"),
        ("m.onnx", "-", "--"),
        ("--", "--", ""),
        (&run, &run, &run),
        ("~/m.onnx", "shards/{00..09}.tar", "*.npy"),
        ("", "a\nb\tc\u{1b}", "犬 \u{202e}"),
    ] {
        let labels = format!("--labels={labels}");
        let line = [
            "hoodwink",
            "attack",
            &labels,
            "--eps=0.1",
            "--mean=-1",
            "--",
            model,
            data,
        ];
        let before = typed(&line);
        let words = words(&before.again);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        assert_eq!(typed(&words).options, before.options, "{}", before.again);
        assert_eq!(before.options["model"].as_str(), Some(model));
        let matches = command().try_get_matches_from(words).unwrap();
        let attack = matches.subcommand_matches("attack").unwrap();
        assert_eq!(attack.get_one::<String>("out").unwrap(), "again");
    }
    assert!(!victim.exists());
}

#[test]
fn a_word_from_a_file_is_no_option() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("options.toml");
    let config = format!("--config={}", path.display());
    let text = "model = '--out=victim'\ndata = '--help'\nlabels = '--out=victim'\neps = '1 --out=victim'\n";
    fs::write(&path, text).unwrap();
    for (rest, model, data) in [
        (&[][..], "--out=victim", "--help"),
        (&["--quiet"], "--out=victim", "--help"),
        (&["b.onnx"], "b.onnx", "--help"),
        (&["--", "b.onnx"], "b.onnx", "--help"),
        (&["--", "-b.onnx", "c"], "-b.onnx", "c"),
    ] {
        let line = [&["hoodwink", "attack", &config], rest].concat();
        let line = line.iter().map(OsString::from).collect();
        let all = with_config(&command(), line).unwrap();
        let matches = command().try_get_matches_from(&all).unwrap();
        let attack = matches.subcommand_matches("attack").unwrap();
        let value = |id| attack.get_one::<String>(id).map(String::as_str);
        let found = ["model", "data", "labels", "out"].map(value);
        let expected = [Some(model), Some(data), Some("--out=victim"), None];
        assert_eq!(found, expected, "{all:?}");
    }
}

#[test]
fn a_run_says_nothing_about_where_the_next_one_goes() {
    let text = "out = 'a'\nthreads = 4\nquiet = true\nconfig = 'b'\neps = '1'\nnonsense = 1\n";
    let command = command();
    let attack = command.find_subcommand("attack").unwrap();
    let left = with_effect(attack, &text.parse().unwrap());
    let left: Vec<&str> = left.keys().map(String::as_str).collect();
    assert_eq!(left, ["eps", "nonsense"]);
}

#[test]
fn a_file_of_options_fills_in_what_was_not_typed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("options.toml");
    let text = "model = 'a.onnx'\ndata = 'x.npy'\neps = [0.1, '8/255']\nsteps = 7\nmean = [-1.5, 2]\nquiet = true\n\
                    keep-softmax = false\n";
    fs::write(&path, text).unwrap();
    let config = format!("--config={}", path.display());
    let all = |line: &[&str]| {
        let mut words: Vec<OsString> = ["hoodwink", "attack", &config].map(Into::into).into();
        words.extend(line.iter().map(OsString::from));
        with_config(&command(), words)
    };
    for (line, expected) in [
        (
            &[][..],
            "hoodwink attack a.onnx x.npy --eps 0.1,8/255 --steps 7 --mean=-1.5,2 --out again",
        ),
        (
            &["b.onnx", "--steps", "9", "--eps=1/255"],
            "hoodwink attack b.onnx x.npy --eps 1/255 --steps 9 --mean=-1.5,2 --out again",
        ),
        (
            &["b.onnx", "y.npy", "-q"],
            "hoodwink attack b.onnx y.npy --eps 0.1,8/255 --steps 7 --mean=-1.5,2 --out again",
        ),
    ] {
        let words = all(line).unwrap();
        let words: Vec<&str> = words.iter().map(|word| word.to_str().unwrap()).collect();
        assert_eq!(typed(&words).again, expected);
    }
    for (text, says) in [
        (
            "stepps = 7",
            "there is no option \"stepps\"; did you mean steps? (options: model, data, eps",
        ),
        ("config = 'b.toml'", "there is no option \"config\""),
        ("quiet = 1", "quiet must be true or false, not 1"),
        ("eps = [[]]\nsteps = {}", "steps cannot be {}"),
        ("eps", "options.toml"),
    ] {
        fs::write(&path, text).unwrap();
        let refusal = format!("{:#}", all(&[]).unwrap_err());
        assert!(refusal.contains(says), "{refusal}");
        assert!(refusal.contains("options.toml"), "{refusal}");
    }
    fs::remove_file(&path).unwrap();
    assert!(format!("{:#}", all(&[]).unwrap_err()).contains("options.toml"));
    // Errors in the line itself are left to the parser.
    for line in [
        &["hoodwink", "attack", "--help"][..],
        &["hoodwink"],
        &["hoodwink", "attack", "--nonsense"],
    ] {
        let line: Vec<OsString> = line.iter().map(OsString::from).collect();
        assert_eq!(with_config(&command(), line.clone()).unwrap(), line);
    }
}
