//! `--show-settings`: prints the settings of a command as a file for `--config`.

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

/// The option for this.
const SHOW: &str = "show_settings";

/// Tells whether to print the options of this command. An attack with a model and data prints more: the contents of
/// `run.toml`.
pub(crate) fn are_asked_for(name: &str, typed: &ArgMatches) -> bool {
    let is_given = |id| typed.try_contains_id(id).unwrap_or(false);
    let is_whole_attack = name == "attack" && is_given("model") && is_given("data");
    !is_whole_attack && typed.try_get_one(SHOW).ok().flatten() == Some(&true)
}

/// Tells whether a line contains `--show-settings`.
pub(crate) fn are_asked_for_in(line: &[OsString]) -> bool {
    let mut words = line.iter().take_while(|word| *word != "--");
    words.any(|word| word == "--show-settings")
}

/// Makes all arguments optional.
pub(crate) fn without_requirements(command: Command) -> Command {
    command.mut_subcommands(|command| command.mut_args(|argument| argument.required(false)))
}

/// Returns all options with their values, including defaults and preprocessing set in other files.
pub(crate) fn of(command: &Command, name: &str, typed: &ArgMatches) -> Result<Table> {
    let said = Typed::all(command, typed);
    let mut settings = said.clone();
    for (key, value) in command_line::defaults(command, typed) {
        // Some defaults are valid only together with another option. Those are left out.
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

/// Formats settings as TOML. Strings that are not legible are written with TOML escapes. The escapes of the terminal
/// would mean something else inside some quotes.
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

/// Replaces strings that are not legible with placeholders that `text` does not contain.
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

/// Formats a basic TOML string in ASCII.
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
