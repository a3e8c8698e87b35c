//! `--show-settings`: what a command would do, as a file that `--config` takes.

use std::ffi::OsString;

use anyhow::Result;
use clap::{ArgMatches, Command, FromArgMatches as _};
use hoodwink::legible;
use serde::Serialize;
use toml::{Table, Value};

use crate::{
    args::ModelArgs,
    command_line::{self, Typed},
};

/// The option that asks for it.
const SHOW: &str = "show_settings";

/// Whether the settings of the command of this name are to be shown in this way. Those of an attack whose model and pictures
/// are named are more: what `run.toml` would say.
pub(crate) fn are_asked_for(name: &str, typed: &ArgMatches) -> bool {
    let is_given = |id| typed.try_contains_id(id).unwrap_or(false);
    let is_whole_attack = name == "attack" && is_given("model") && is_given("data");
    !is_whole_attack && typed.try_get_one(SHOW).ok().flatten() == Some(&true)
}

/// Whether the words of a line ask for settings.
pub(crate) fn are_asked_for_in(line: &[OsString]) -> bool {
    let mut words = line.iter().take_while(|word| *word != "--");
    words.any(|word| word == "--show-settings")
}

/// The command with nothing that must be given.
pub(crate) fn without_requirements(command: Command) -> Command {
    command.mut_subcommands(|command| command.mut_args(|argument| argument.required(false)))
}

/// All options with their values, defaults filled in, and preprocessing that other files say.
pub(crate) fn of(command: &Command, name: &str, typed: &ArgMatches) -> Result<Table> {
    let said = Typed::all(command, typed);
    let mut settings = said.clone();
    for (key, value) in command_line::defaults(command, typed) {
        // A default for an option that was not given cannot be typed: it would need that option.
        let mut with_default = said.clone();
        with_default.insert(key.clone(), value.clone());
        let words = command_line::arguments(command, &with_default)?;
        let words = std::iter::once(name.to_owned())
            .chain(words.options)
            .chain(words.positional);
        if command.clone().try_get_matches_from(words).is_ok() {
            settings.insert(key, value);
        }
    }
    if settings.contains_key("model")
        && command
            .get_arguments()
            .any(|one| one.get_id() == "preprocessing")
    {
        let model = ModelArgs::from_arg_matches(typed)?;
        settings.remove("preprocessing");
        settings.extend(model.resolve()?.options()?);
    }
    Ok(settings)
}

/// Settings as they are printed. Strings that would not be legible are spelled in the escapes of TOML: what the terminal's
/// own would make of them depends on the quotes around.
pub(crate) fn to_toml(settings: &impl Serialize) -> Result<String> {
    let text = toml::to_string(settings)?;
    if legible::escaped(&text) == text {
        return Ok(text);
    }
    let mut settings = Value::try_from(settings)?;
    let mut taken = Vec::new();
    take(&mut settings, &text, &mut taken);
    let mut text = toml::to_string(&settings)?;
    for (place, string) in taken {
        text = text.replacen(&format!("\"{place}\""), &basic(&string), 1);
    }
    Ok(text)
}

/// Takes strings that are not legible out of a value; in their places names that `text` does not hold.
fn take(value: &mut Value, text: &str, taken: &mut Vec<(String, String)>) {
    match value {
        Value::String(string) if legible::escaped(string) != *string => {
            let mut place = format!("string-{}-", taken.len());
            while text.contains(&place) {
                place.push('-');
            }
            taken.push((place.clone(), std::mem::replace(string, place)));
        }
        Value::Array(values) => values.iter_mut().for_each(|one| take(one, text, taken)),
        Value::Table(table) => (table.iter_mut()).for_each(|(_, one)| take(one, text, taken)),
        _ => {}
    }
}

/// A basic string of TOML in ASCII.
fn basic(string: &str) -> String {
    let mut text = String::from("\"");
    for c in string.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            ' '..='~' => text.push(c),
            c => text.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    text + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_means_the_same() {
        for string in [
            "plain \\ \"犬\"",
            "\u{1b}[31m",
            "a\u{202e}b",
            "\\u202e\u{202e}\"",
            "'\u{e0041}'\n犬\n",
            "string-0-\u{9b}",
        ] {
            let mut settings = Table::new();
            settings.insert("model".to_owned(), string.into());
            settings.insert("eps".to_owned(), vec![string, "b"].into());
            settings.insert("data".to_owned(), settings.clone().into());
            let text = to_toml(&settings).unwrap();
            assert_eq!(legible::escaped(&text), text);
            assert_eq!(text.parse::<Table>().unwrap(), settings);
        }
    }
}
