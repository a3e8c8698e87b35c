//! The command line as data: the line that repeats a run, and conversion between options and tables.

use std::{ffi::OsString, path::Path};

use anyhow::{Context as _, Result, bail};
use clap::{
    Arg, ArgAction, ArgMatches, Command,
    error::{ContextKind, ContextValue, ErrorKind},
    parser::ValueSource,
};
use hoodwink::{attacks::ATTACKS, files, legible, model::Remote, nearest::did_you_mean};
use toml::{Table, Value};

use crate::args::SETTINGS_BYTES;

/// Arguments that do not affect the results.
const WITHOUT_EFFECT: [&str; 17] = [
    "timeout",
    "retries",
    "rate",
    "request_batch",
    // It may contain an API key.
    "header",
    "out",
    "open",
    "threads",
    "batch",
    "quiet",
    "format",
    "partition",
    "max_seconds",
    "max_memory",
    "no_lint",
    "show_settings",
    "config",
];

/// Arguments that read or print settings.
const ABOUT_SETTINGS: [&str; 2] = ["config", "show_settings"];

/// The arguments that hold models.
const MODEL: [&str; 2] = ["model", "models"];

/// The argument that holds a file of options.
const CONFIG: &str = "config";

/// The arguments of a sub-command, from the command line and a file of options.
#[derive(Clone, Debug, Default)]
pub(crate) struct Typed {
    /// The line for a POSIX shell that repeats the command, with a new output folder.
    pub(crate) again: String,
    /// Options and positional arguments by name.
    pub(crate) options: Table,
}

impl Typed {
    /// Collects the arguments of `command`, called `name`, that were given.
    ///
    /// Paths are kept as typed. Arguments that do not affect the results are left out, so the same run always gives the
    /// same line, whatever its output folder and number of threads.
    pub(crate) fn of(command: &Command, name: &str, typed: &ArgMatches) -> Self {
        let mut positional = Vec::new();
        let mut words = Vec::new();
        let mut options = Table::new();
        for argument in command.get_arguments() {
            let id = argument.get_id().as_str();
            if !is_typed(typed, id) || WITHOUT_EFFECT.contains(&id) {
                continue;
            }
            let values = values(argument, typed);
            let word = values.as_ref().map(|values| values.join(","));
            match (argument.get_long(), word) {
                (Some(long), None) => words.push(format!("--{long}")),
                // A value that starts like an option must follow an equals sign.
                (Some(long), Some(word)) if word.starts_with('-') || word.is_empty() => {
                    words.push(format!("--{long}={}", quoted(&word)));
                }
                (Some(long), Some(word)) => words.push(format!("--{long} {}", quoted(&word))),
                (None, word) => positional.extend(word),
            }
            let value = values.map_or(Value::Boolean(true), |values| value_of(&values));
            options.insert(key(argument).to_owned(), value);
        }
        words.push("--out again".to_owned());
        let quoted = positional.iter().map(|word| quoted(word));
        let like_an_option = |word: &String| word.starts_with('-') && word != "-";
        let behind = positional.iter().any(like_an_option);
        let at = if behind { words.len() } else { 0 };
        words.splice(at..at, quoted);
        if behind {
            words.insert(at, "--".to_owned());
        }
        Self {
            again: format!("hoodwink {name} {}", words.join(" ")),
            options,
        }
    }

    /// Returns all arguments that were given, except those about settings.
    pub(crate) fn all(command: &Command, typed: &ArgMatches) -> Table {
        table(command, typed, |id| is_typed(typed, id))
    }
}

/// Returns the arguments that were not given but have a default.
pub(crate) fn defaults(command: &Command, typed: &ArgMatches) -> Table {
    table(command, typed, |id| {
        typed.try_contains_id(id).unwrap_or(false)
            && typed.value_source(id) == Some(ValueSource::DefaultValue)
    })
}

fn table(command: &Command, typed: &ArgMatches, wanted: impl Fn(&str) -> bool) -> Table {
    let mut options = Table::new();
    for argument in command.get_arguments() {
        let id = argument.get_id().as_str();
        if !wanted(id) || ABOUT_SETTINGS.contains(&id) {
            continue;
        }
        let value = match values(argument, typed) {
            Some(values) => value_of(&values),
            None => Value::Boolean(typed.get_flag(id)),
        };
        options.insert(key(argument).to_owned(), value);
    }
    options
}

/// Returns the values of an argument, or `None` for a flag.
fn values(argument: &Arg, typed: &ArgMatches) -> Option<Vec<String>> {
    let values = typed.get_raw(argument.get_id().as_str());
    let values = values.filter(|_| argument.get_action().takes_values())?;
    Some(values.map(|value| value.to_string_lossy().into()).collect())
}

/// Rewrites `--model X` as the first positional argument and `--data Y` as the last, for sub-commands that take them as
/// positional arguments and have no such options.
pub(crate) fn with_model(command: &Command, typed: Vec<OsString>) -> Vec<OsString> {
    let is_command = |word: &OsString| {
        let word = word.to_str()?;
        command.find_subcommand(word)
    };
    let Some((at, command)) = typed
        .iter()
        .enumerate()
        .skip(1)
        .find_map(|(at, word)| Some((at, is_command(word)?)))
    else {
        return typed;
    };
    let takes = |names: &[&str]| {
        let mut arguments = command.get_arguments();
        arguments.any(|one| one.is_positional() && names.contains(&one.get_id().as_str()))
    };
    let mut all = typed;
    if takes(&MODEL)
        && let Some(model) = taken(&mut all, &["--model"])
    {
        all.insert(at + 1, model);
    }
    if takes(&["data"])
        && let Some(data) = taken(&mut all, &["--data", "--images", "--dataset"])
    {
        all.push(data);
    }
    all
}

/// Removes the option with one of these names from a line and returns its value.
fn taken(all: &mut Vec<OsString>, names: &[&str]) -> Option<OsString> {
    let end = all.iter().position(|word| word == "--");
    let end = end.unwrap_or(all.len());
    let value = |word: &str| {
        let value = |name: &&str| word.strip_prefix(*name)?.strip_prefix('=');
        names.iter().find_map(value).map(OsString::from)
    };
    let is_named = |word: &OsString| {
        let word = word.to_str().unwrap_or_default();
        names.contains(&word) || value(word).is_some()
    };
    let at = all[..end].iter().position(is_named)?;
    if let Some(value) = all[at].to_str().and_then(value) {
        all.remove(at);
        return Some(value);
    }
    if at + 1 == all.len() {
        return None;
    }
    all.remove(at);
    Some(all.remove(at))
}

/// Returns the message for an extra file argument, such as a shell produces from a pattern.
pub(crate) fn file_too_many(answer: &clap::Error) -> Option<String> {
    let said = answer.get(ContextKind::InvalidArg)?;
    let word = match (answer.kind(), said) {
        (ErrorKind::UnknownArgument, ContextValue::String(word)) => word,
        _ => return None,
    };
    let is_file = !word.starts_with('-') && Path::new(word).exists();
    is_file.then(|| {
        format!(
            "unexpected file {}: pass the folder, or put the pattern in quotes, such as 'photos/*.jpg'",
            legible::name(word)
        )
    })
}

/// Lets options take negative numbers, so that an error is about the value.
pub(crate) fn lenient(command: Command) -> Command {
    command.mut_subcommands(|command| {
        command.mut_args(|argument| {
            let takes_values = argument.get_action().takes_values() && !argument.is_positional();
            match takes_values && !argument.is_allow_hyphen_values_set() {
                true => argument.allow_negative_numbers(true),
                false => argument,
            }
        })
    })
}

/// Replaces `--like_this` with `--like-this`.
pub(crate) fn with_hyphens(mut typed: Vec<OsString>) -> Vec<OsString> {
    let end = typed.iter().position(|word| word == "--");
    let end = end.unwrap_or(typed.len());
    for word in &mut typed[..end] {
        let Some(option) = word.to_str().filter(|word| word.starts_with("--")) else {
            continue;
        };
        let (name, value) = option.split_at(option.find('=').unwrap_or(option.len()));
        if name.contains('_') {
            *word = format!("{}{value}", name.replace('_', "-")).into();
        }
    }
    typed
}

/// Returns the message for a list option whose values are separate words, such as `--mean 0.5 0.5 0.5`. They would be
/// parsed as other arguments.
pub(crate) fn parted_list(command: &Command, typed: &[OsString]) -> Option<String> {
    let words: Vec<&str> = typed.iter().map_while(|word| word.to_str()).collect();
    let command = words
        .iter()
        .find_map(|word| command.find_subcommand(word))?;
    let listed = |word: &str| {
        let option = word.strip_prefix("--")?;
        let found = command.get_arguments().find(|one| is_called(one, option))?;
        match (found.get_id().as_str(), found.get_value_delimiter()) {
            ("attack", _) => Some(is_attack as fn(&str) -> bool),
            (_, Some(',')) => Some(is_number as fn(&str) -> bool),
            _ => None,
        }
    };
    let end = words.iter().position(|word| *word == "--");
    for (at, word) in words.iter().enumerate().take(end.unwrap_or(words.len())) {
        let Some(is_value) = listed(word) else {
            continue;
        };
        let bare = words[at + 1..]
            .iter()
            .map(|word| word.trim_matches(['[', ']', ',']));
        let values: Vec<&str> = bare
            .take_while(|word| word.split(',').all(is_value))
            .collect();
        if values.len() > 1 {
            return Some(format!(
                "separate the values of {word} with commas and no spaces: {word} {}",
                values.join(",")
            ));
        }
    }
    None
}

/// Tells whether a word is a number or a fraction.
fn is_number(word: &str) -> bool {
    !word.is_empty() && word.split('/').all(|part| part.parse::<f64>().is_ok())
}

/// Tells whether a word is the name of an attack.
fn is_attack(word: &str) -> bool {
    ATTACKS.iter().any(|attack| attack.name == word)
}

/// Tells whether an option has this name or alias.
fn is_called(argument: &Arg, name: &str) -> bool {
    let aliases = argument.get_all_aliases().unwrap_or_default();
    key(argument) == name || aliases.contains(&name)
}

/// Replaces aliases with the main names of the options.
fn with_own_names(command: &Command, options: Table) -> Result<Table> {
    let mut named = Table::new();
    for (name, value) in options {
        let hyphened = name.replace('_', "-");
        let known = command
            .get_arguments()
            .find(|one| is_called(one, &hyphened));
        let known = known.map_or(&*name, key);
        if named.insert(known.to_owned(), value).is_some() {
            bail!("{known} is given twice: also as {}", legible::name(&name));
        }
    }
    Ok(named)
}

/// Adds the options of the `--config` file, if given. The command line takes precedence.
pub(crate) fn with_config(command: &Command, typed: Vec<OsString>) -> Result<Vec<OsString>> {
    let lenient = command.clone().ignore_errors(true);
    // Errors in the line itself are reported when it is parsed.
    let Ok(matches) = lenient.try_get_matches_from(&typed) else {
        return Ok(typed);
    };
    let Some((name, matches)) = matches.subcommand() else {
        return Ok(typed);
    };
    let (Some(command), Ok(Some(mut values))) =
        (command.find_subcommand(name), matches.try_get_raw(CONFIG))
    else {
        return Ok(typed);
    };
    let Some(path) = values.next_back().map(Path::new) else {
        return Ok(typed);
    };
    let text = files::read_text(path, SETTINGS_BYTES)?;
    let options: Table = text.parse().with_context(|| path.display().to_string())?;
    let mut options =
        with_own_names(command, options).with_context(|| path.display().to_string())?;
    refuse_remote(&options, "name it on the command line")
        .with_context(|| path.display().to_string())?;
    options.retain(|key, _| {
        let argument = command.get_arguments().find(|one| self::key(one) == key);
        // A `config` key in the file is refused below.
        let argument = argument.filter(|_| key != CONFIG);
        argument.is_none_or(|argument| !is_typed(matches, argument.get_id().as_str()))
    });
    let arguments = arguments(command, &options).with_context(|| path.display().to_string())?;
    // Options go after the sub-command. Positional arguments go after the typed ones, following `--` so that none is
    // taken for an option.
    let at = typed.iter().skip(1).position(|word| word == name);
    let mut all = typed;
    let behind = at.map_or(all.len(), |at| at + 2);
    if !arguments.positional.is_empty() && !all.iter().any(|word| word == "--") {
        all.push("--".into());
    }
    all.splice(
        behind..behind,
        arguments.options.into_iter().map(OsString::from),
    );
    all.extend(arguments.positional.into_iter().map(OsString::from));
    Ok(all)
}

/// Refuses a remote model that is named by a file. The file may come from a stranger, and would start a program or
/// contact a machine that the user did not choose.
pub(crate) fn refuse_remote(options: &Table, way_on: &str) -> Result<()> {
    let named = ["model", "models"]
        .into_iter()
        .filter_map(|key| options.get(key));
    let mut models = named.flat_map(|value| match value {
        Value::Array(values) => values.iter().filter_map(Value::as_str).collect(),
        value => Vec::from_iter(value.as_str()),
    });
    match models.find(|model| Remote::is_named_by(model)) {
        None => Ok(()),
        Some(model) => bail!(
            "{} is a remote model, and files cannot choose one; {way_on}",
            legible::name(model)
        ),
    }
}

/// Options as command-line words.
pub(crate) struct Arguments {
    /// Each as `--name=value` or `--name`.
    pub(crate) options: Vec<String>,
    /// In the order of the command.
    pub(crate) positional: Vec<String>,
}

/// Keeps only the options that affect the results: those that a run folder may set.
pub(crate) fn with_effect(command: &Command, options: &Table) -> Table {
    let mut options = options.clone();
    options.retain(|name, _| {
        let argument = command.get_arguments().find(|one| key(one) == name);
        argument.is_none_or(|argument| !WITHOUT_EFFECT.contains(&argument.get_id().as_str()))
    });
    options
}

/// Converts a table of options to command-line words. Refuses options that `command` does not have.
pub(crate) fn arguments(command: &Command, options: &Table) -> Result<Arguments> {
    let mut words = Arguments {
        options: Vec::new(),
        positional: Vec::new(),
    };
    for name in options.keys() {
        if name == CONFIG || !command.get_arguments().any(|one| key(one) == name) {
            let known = command.get_arguments().map(key);
            let known: Vec<&str> = known.filter(|key| *key != CONFIG).collect();
            bail!(
                "there is no option {:?}{} (options: {})",
                legible::name(name),
                did_you_mean(name, known.iter().copied()),
                known.join(", ")
            );
        }
    }
    // Follows the order of the command, which is also that of its positional arguments.
    for argument in command.get_arguments() {
        let name = key(argument);
        let Some(value) = options.get(name) else {
            continue;
        };
        let is_flag = !argument.get_action().takes_values();
        match (value, argument.is_positional()) {
            (Value::Boolean(true), false) if is_flag => words.options.push(format!("--{name}")),
            (Value::Boolean(false), false) if is_flag => {}
            _ if is_flag => bail!("{name} must be true or false, not {value}"),
            // An argument with several values, such as runs.
            (Value::Array(values), true) if takes_several(argument) => {
                for value in values {
                    words.positional.push(text(name, value)?);
                }
            }
            (_, true) => words.positional.push(text(name, value)?),
            (_, false) => words
                .options
                .push(format!("--{name}={}", text(name, value)?)),
        }
    }
    Ok(words)
}

fn takes_several(argument: &Arg) -> bool {
    matches!(argument.get_action(), ArgAction::Append)
}

/// Returns the name of an argument in a table.
fn key(argument: &Arg) -> &str {
    argument
        .get_long()
        .unwrap_or_else(|| argument.get_id().as_str())
}

fn is_typed(matches: &ArgMatches, id: &str) -> bool {
    matches.try_contains_id(id).unwrap_or(false)
        && matches.value_source(id) == Some(ValueSource::CommandLine)
}

/// Converts values as typed. A number stays a number if it would be written the same way.
fn value_of(values: &[String]) -> Value {
    let one = |text: &String| match text.parse::<i64>() {
        Ok(number) if number.to_string() == *text => Value::Integer(number),
        _ => Value::String(text.clone()),
    };
    match values {
        [value] => one(value),
        values => Value::Array(values.iter().map(one).collect()),
    }
}

/// Formats a value as it would be typed.
fn text(name: &str, value: &Value) -> Result<String> {
    Ok(match value {
        Value::String(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(value) => value.to_string(),
        Value::Array(values) => {
            let values = values.iter().map(|value| text(name, value));
            values.collect::<Result<Vec<_>>>()?.join(",")
        }
        Value::Table(_) | Value::Datetime(_) => bail!("{name} cannot be {value}"),
    })
}

/// Quotes a word for a POSIX shell.
pub(crate) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "+-./:@_,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    // Fails only for a NUL, which no argument can contain.
    shlex::try_quote(word).map_or_else(|_| word.to_owned(), Into::into)
}

#[cfg(test)]
mod tests;
