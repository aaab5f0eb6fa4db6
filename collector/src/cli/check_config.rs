//! `check-config`: the settings in force with their sources, or everything that is wrong with them.

use super::say::{remark, say};
use super::table::Table;
use super::{EXIT_CONFIG, SettingsArgs, told};
use crate::config::Config;

pub(super) fn run(arguments: &SettingsArgs) -> u8 {
    match Config::load(arguments.config.as_deref(), &arguments.flags()) {
        Ok((_, settings)) => {
            let mut table = Table::new(&["Setting", "Value", "From"]);
            for setting in settings {
                table.row([setting.key.to_owned(), setting.value, setting.source]);
            }
            told(say(&table))
        }
        Err(problems) => {
            remark(format_args!("{problems}"));
            EXIT_CONFIG
        }
    }
}
