//! The command line that repeats a run.

use clap::{ArgMatches, Command, parser::ValueSource};

/// Arguments that decide nothing about the results.
const WITHOUT_EFFECT: [&str; 5] = ["out", "threads", "batch", "quiet", "format"];

/// The sub-command `hoodwink NAME` with the arguments that were typed, for a POSIX shell.
///
/// Paths stay as typed. Arguments without effect on the results are left out, so that the same run is repeated by the
/// same line wherever it went and however much it did at once; the repetition goes into a folder of its own.
pub(crate) fn again(command: &Command, name: &str, typed: &ArgMatches) -> String {
    let mut words = vec![command.get_name().to_owned(), name.to_owned()];
    let arguments = command
        .find_subcommand(name)
        .into_iter()
        .flat_map(Command::get_arguments);
    for argument in arguments {
        let id = argument.get_id().as_str();
        if typed.value_source(id) != Some(ValueSource::CommandLine) || WITHOUT_EFFECT.contains(&id)
        {
            continue;
        }
        words.extend(argument.get_long().map(|long| format!("--{long}")));
        // A flag alone says all.
        let values = typed.get_raw(id);
        if let Some(values) = values.filter(|_| argument.get_action().takes_values()) {
            let values: Vec<String> = values.map(|value| value.to_string_lossy().into()).collect();
            words.push(quoted(&values.join(",")));
        }
    }
    words.push("--out again".to_owned());
    words.join(" ")
}

/// A word that a POSIX shell takes as it is.
pub(crate) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "+-./:@_,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    // Fails for a NUL only, which no argument can hold.
    shlex::try_quote(word).map_or_else(|_| word.to_owned(), Into::into)
}

#[cfg(test)]
mod tests {
    use clap::{Arg, ArgAction};

    use super::*;

    #[test]
    fn what_was_typed_comes_back_in_one_order_without_what_has_no_effect() {
        let option = |name: &'static str| Arg::new(name).long(name);
        let command = || {
            Command::new("hoodwink").subcommand(
                Command::new("attack")
                    .arg(Arg::new("model"))
                    .arg(option("eps").value_delimiter(','))
                    .arg(option("norm").default_value("linf"))
                    .arg(option("mean").allow_hyphen_values(true))
                    .arg(option("out"))
                    .arg(option("threads"))
                    .arg(option("batch"))
                    .arg(option("keep-softmax").action(ArgAction::SetTrue))
                    .arg(option("quiet").action(ArgAction::SetTrue)),
            )
        };
        let again_of = |typed: &[&str]| {
            let matches = command().get_matches_from(typed);
            let typed = matches.subcommand_matches("attack").unwrap();
            again(&command(), "attack", typed)
        };
        for typed in [
            &[
                "hoodwink",
                "attack",
                "it's a model.onnx",
                "--eps",
                "2/255,8/255",
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
                "--batch=2",
                "--mean=-1",
                "--keep-softmax",
                "--out=b",
                "--eps=2/255,8/255",
                "--quiet",
                "it's a model.onnx",
            ],
        ] {
            let line = again_of(typed);
            assert_eq!(
                line,
                "hoodwink attack \"it's a model.onnx\" --eps 2/255,8/255 --mean -1 --keep-softmax --out again"
            );
            assert_eq!(shlex::split(&line).unwrap()[2], "it's a model.onnx");
        }
    }
}
