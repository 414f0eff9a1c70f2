//! `etl config`: shows the settings with their origin, and lists everything that is wrong with them. It sends no request and writes no
//! file.

use clap::{Args, Subcommand};
use serde::Serialize;

use super::print::{print, print_json};
use super::setup;
use crate::config::{self, Overrides, Problems, Setting};
use crate::error::{Error, ErrorKind, Result};
use crate::source::PageUrl;
use crate::stop::Stop;
use crate::view::table::{Align, Table, plural};

/// The examples of the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  etl config show                            each setting, and the file, variable or flag that it comes from
  etl config show --json                     the same for programs
  etl config check                           before a deployment: all that is wrong, without asking anybody
  etl --config new/etl.toml config check

Secrets are shown as `set`. The command `check` also asks source and store.";

/// `etl config`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(super) struct ConfigArgs {
    /// What to do.
    #[command(subcommand)]
    action: ConfigAction,
}

/// What to do with the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(super) enum ConfigAction {
    /// Show each setting with its value and where it comes from; secrets as `set`
    Show {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Find everything that is wrong, each with its place; exit 78 where there is something
    Check {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

/// Shows or checks the configuration.
pub(super) fn config(flags: &Overrides, args: &ConfigArgs) -> Result<u8> {
    match args.action {
        ConfigAction::Show { json } => show(flags, json),
        ConfigAction::Check { json } => check(flags, json),
    }
}

fn show(flags: &Overrides, json: bool) -> Result<u8> {
    let shown = config::settings(flags)?;
    if json {
        print_json(&shown)?;
        return Ok(0);
    }
    let mut table = Table::new(&[("SETTING", Align::Left), ("VALUE", Align::Left), ("FROM", Align::Left)]);
    for setting in &shown.settings {
        table.row(vec![setting.key.clone(), value(setting), setting.from.text.clone()]);
    }
    print(&table.render())?;
    Ok(0)
}

fn value(setting: &Setting) -> String {
    setting.value.as_ref().map_or_else(|| "not set".to_owned(), ToString::to_string)
}

/// What is wrong, for programs.
#[derive(Serialize)]
struct Checked {
    schema: u32,
    file: Option<String>,
    exit: u8,
    problems: Vec<Told>,
    /// Secrets that are not set here.
    missing: Vec<Told>,
}

#[derive(Serialize)]
struct Told {
    message: String,
    hint: Option<String>,
}

impl Told {
    fn of(error: &Error) -> Self {
        Self { message: error.chain(), hint: error.next_step().map(str::to_owned) }
    }

    fn text(&self, sign: &str) -> String {
        let hint = self.hint.as_ref().map(|hint| format!("  hint: {hint}\n")).unwrap_or_default();
        format!("{sign}{}\n{hint}", self.message)
    }
}

fn check(flags: &Overrides, json: bool) -> Result<u8> {
    let found = config::problems(flags)?;
    let mut errors: Vec<Told> = found.errors.iter().map(Told::of).collect();
    errors.extend(what_the_stages_refuse(&found).iter().map(Told::of));
    let exit = if errors.is_empty() { 0 } else { ErrorKind::Config.exit_code() };
    let missing = found.missing.iter().map(Told::of).collect();
    let checked = Checked { schema: 1, file: found.file, exit, problems: errors, missing };
    if json {
        print_json(&checked)?
    } else {
        print(&text(&checked))?
    }
    Ok(exit)
}

/// What the stages refuse of values that are well-formed by themselves.
fn what_the_stages_refuse(found: &Problems) -> Vec<Error> {
    let Some(config) = &found.config else { return Vec::new() };
    let mut refused: Vec<Error> = setup::compactor(config).err().into_iter().collect();
    if let Ok(config::SourceLocation::Http(url)) = config.source.location() {
        refused.extend(PageUrl::parse(url.expose()).err());
        // A client cannot be made without its secrets. They may be missing where the configuration is checked: that is not an error.
        if config.source.auth().is_ok() {
            refused.extend(setup::client(config, &Stop::new()).err());
        }
    }
    refused
}

fn text(checked: &Checked) -> String {
    let file = checked.file.as_deref().unwrap_or("no file, only the environment");
    let mut text: String = checked.problems.iter().map(|told| told.text("✗ ")).collect();
    text.extend(checked.missing.iter().map(|told| told.text("- ")));
    match checked.problems.len() {
        0 if checked.missing.is_empty() => text + &format!("✓ {file}\n"),
        0 => text + &format!("✓ {file}, but for what is not set here\n"),
        wrong => text + &format!("{file}: {}\n", plural(wrong as u64, "problem", "problems")),
    }
}
