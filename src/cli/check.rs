//! `etl check`: its flags and examples.

use clap::Args;

/// The examples of the help.
pub const EXAMPLES: &str = "\
Examples:
  etl check                                  each step with a tick, or what to do
  etl check --json                           the same for programs
  etl check --read-only                      put no probe object into the store

It fetches one page and keeps nothing of it. Into S3 it puts one small object, <prefix>check/…, the same every time, to see
whether one that is there is refused; nothing below data/.";

/// `etl check`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct CheckArgs {
    /// Print the findings as one JSON object
    #[arg(long)]
    pub json: bool,
    /// Put no probe object into the store: whether create-only is honoured stays open
    #[arg(long)]
    pub read_only: bool,
}
