//! `etl completions` and `etl man`: made from the command line's own description, so that they cannot differ from it.

use crate::cli::Cli;
use crate::error::{Error, ErrorKind, Result};
use crate::output::{self, Form};
use clap::Args;
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use std::path::Path;
use std::path::PathBuf;

/// The examples of the help of `etl completions`.
pub const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  etl completions bash > ~/.local/share/bash-completion/completions/etl
  etl completions zsh > ~/.zfunc/_etl
  etl completions fish > ~/.config/fish/completions/etl.fish";

/// The examples of the help of `etl man`.
pub const MAN_EXAMPLES: &str = "\
Examples:
  etl man | man -l -                         read it now
  etl man --out ~/.local/share/man/man1      a page for each command";

/// `etl completions`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct CompletionsArgs {
    /// For which shell
    pub shell: Shell,
}

/// `etl man`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ManArgs {
    /// Write a page for each command into this folder, instead of the one of `etl` to stdout
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Prints the completions for a shell.
///
/// # Errors
/// `State`: stdout cannot be written to.
pub fn completions(args: &CompletionsArgs) -> Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "etl", &mut script);
    crate::cli::print::print_bytes(&script)?;
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
        None => crate::cli::print::print_bytes(&page(&command)?)?,
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
