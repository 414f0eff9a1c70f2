//! `etl completions` and `etl man`: made from the command line's own description, so that they cannot differ from it.

use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use crate::cli::Cli;
use crate::cli::manual::{CompletionsArgs, ManArgs};
use crate::error::{Error, ErrorKind, Result};
use crate::output::{self, Form};

/// Prints the completions for a shell.
///
/// # Errors
/// `State`: stdout cannot be written to.
pub fn completions(args: &CompletionsArgs) -> Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "etl", &mut script);
    super::print_bytes(&script)?;
    Ok(0)
}

/// Prints the manual page, or writes one for each command into a folder.
///
/// # Errors
/// `State`, naming the path.
pub fn man(args: &ManArgs) -> Result<u8> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    match &args.out {
        None => super::print_bytes(&page(&command)?)?,
        Some(dir) => {
            output::make_folder(dir)?;
            write_pages(&command, dir)?;
        }
    }
    Ok(0)
}

fn page(command: &Command) -> Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(command.clone())
        .render(&mut page)
        .map_err(|e| Error::new(ErrorKind::Bug, "cannot make the manual page").caused_by(e))?;
    Ok(page)
}

/// The page of `command` as `etl-run.1`, and those below it.
fn write_pages(command: &Command, dir: &Path) -> Result<()> {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name()).replace(' ', "-");
    let path = dir.join(format!("{name}.1"));
    let named = command.clone().display_name(name);
    output::replace(&path, &page(&named)?, Form::PUBLIC)?;
    command.get_subcommands().try_for_each(|below| write_pages(below, dir))
}
