//! `etl completions` and `etl man`: their flags and examples.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

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
