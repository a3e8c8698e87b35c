//! `--show-settings`: what a command would do, as a file that `--config` takes.

use anyhow::Result;
use clap::{ArgMatches, Command, FromArgMatches as _};
use toml::Table;

use crate::{
    args::ModelArgs,
    command_line::{self, Typed},
};

/// The option that asks for it.
const SHOW: &str = "show_settings";

/// Whether the settings of the command of this name are to be shown in this way. Those of an attack are more: what
/// `run.toml` would say.
pub(crate) fn are_asked_for(name: &str, typed: &ArgMatches) -> bool {
    name != "attack" && typed.try_get_one(SHOW).ok().flatten() == Some(&true)
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
