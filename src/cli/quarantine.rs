//! `etl quarantine`: its flags and examples.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// The examples of the help.
pub const EXAMPLES: &str = "\
Examples:
  etl quarantine list                         how many tokens there are, and why
  etl quarantine list --json                  the same for programs
  etl quarantine show --reason not-a-record   what is inside them, on this terminal
  etl quarantine export                       the tokens with all that is known of them, as NDJSON
  etl quarantine export --reason wrong-key --out tokens.ndjson
  etl quarantine drop --reason not-a-record
  etl quarantine drop --reason no-token --yes

A token that only lacks its key needs no dropping: add the key to the ring, and the next run takes it.";

/// `etl quarantine`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct QuarantineArgs {
    /// What to do with it.
    #[command(subcommand)]
    pub action: QuarantineAction,
}

/// What to do with the quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum QuarantineAction {
    /// Count the tokens by reason
    List {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Show what is inside the tokens that a key opens, as NDJSON; on a terminal, or into a private file
    Show {
        /// Only those with this reason, as `list` names it
        #[arg(long, value_name = "REASON")]
        reason: Option<String>,
        /// Write to this file, which must not be there yet
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Write the tokens out as NDJSON, oldest first; they stay
    Export {
        /// Only those with this reason, as `list` names it
        #[arg(long, value_name = "REASON")]
        reason: Option<String>,
        /// Write to this file, which must not be there yet [default: stdout]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Let the tokens with a reason go for good
    Drop {
        /// Which: a reason, as `list` names it
        #[arg(long, value_name = "REASON")]
        reason: String,
        /// Do not ask; needed where there is no terminal
        #[arg(long)]
        yes: bool,
    },
}
