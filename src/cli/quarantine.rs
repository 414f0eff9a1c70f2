//! `etl quarantine`: list, show, export and drop tokens that could not become records.
//!
//! The content of a token is shown only on a terminal or written into a private file, so that it gets into no log by accident.
//! Listing, showing and exporting take no lock, and work while a run does. Dropping holds the lock; a crash in the middle
//! leaves whole files, some rewritten and some not yet. Dropping again finishes it.

use std::collections::BTreeMap;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;

use super::cluster::{drop_odd, each_odd};
use super::print::{print, print_json};
use super::setup;
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::hour::{Clock, SystemClock};
use crate::output::plain_text::{clean, clean_json};
use crate::output::{Form, Output};
use crate::page::decrypt::KeyRing;
use crate::record;
use crate::state::pages::quarantine::{OddToken, Quarantine};
use crate::state::{Ledger, Lock, status};
use crate::view::table::{Align, Table, bytes, count, plural};

/// The examples of the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  etl quarantine list                         how many tokens there are, and why
  etl quarantine list --json                  the same for programs
  etl quarantine show --reason not-a-record   what is inside them, on this terminal
  etl quarantine export                       the tokens and what is known of them, as NDJSON
  etl quarantine export --reason wrong-key --out tokens.ndjson
  etl quarantine drop --reason not-a-record
  etl quarantine drop --reason no-token --yes

Do not drop a token that only lacks its key: add the key, and the next run reads it.";

/// `etl quarantine`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(super) struct QuarantineArgs {
    /// What to do with it.
    #[command(subcommand)]
    action: QuarantineAction,
}

/// What to do with the quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(super) enum QuarantineAction {
    /// Count the tokens by reason
    List {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Show the content of tokens that a key opens, as NDJSON; on a terminal or into a private file
    Show {
        /// Only tokens with this reason, as `list` names it
        #[arg(long, value_name = "REASON")]
        reason: Option<String>,
        /// Write to this new file
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Write the tokens as NDJSON, oldest first; they stay in the quarantine
    Export {
        /// Only tokens with this reason, as `list` names it
        #[arg(long, value_name = "REASON")]
        reason: Option<String>,
        /// Write to this new file [default: stdout]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Drop all tokens with a reason for good
    Drop {
        /// The reason, as `list` names it
        #[arg(long, value_name = "REASON")]
        reason: String,
        /// Drop without asking; required when stdin is not a terminal
        #[arg(long)]
        yes: bool,
    },
}

/// What is in the quarantine.
#[derive(Debug, Default, Serialize)]
struct Listing {
    schema: u32,
    count: u64,
    /// Bytes of the tokens.
    bytes: u64,
    reasons: Vec<Reasoned>,
}

/// The tokens with one reason.
#[derive(Debug, Serialize)]
struct Reasoned {
    reason: String,
    count: u64,
    bytes: u64,
    oldest: Timestamp,
    newest: Timestamp,
    /// When the first of them comes due, for records of the future.
    #[serde(skip_serializing_if = "Option::is_none")]
    due: Option<Timestamp>,
    /// The newest one's reason for people.
    detail: String,
    /// What to do about them.
    hint: &'static str,
}

/// Lists, shows, exports or drops.
pub(super) fn quarantine(config: &Config, args: &QuarantineArgs) -> Result<u8> {
    match &args.action {
        QuarantineAction::List { json } => list(config, *json),
        QuarantineAction::Show { reason, out } => show(config, reason.as_deref(), out.as_deref()),
        QuarantineAction::Export { reason, out } => export(config, reason.as_deref(), out.as_deref()),
        QuarantineAction::Drop { reason, yes } => drop_reason(config, reason, *yes),
    }?;
    Ok(0)
}

fn list(config: &Config, json: bool) -> Result<()> {
    let mut by_reason: BTreeMap<String, Reasoned> = BTreeMap::new();
    each_odd(config, &mut |token| {
        by_reason.entry(token.reason.clone()).and_modify(|known| known.add(&token)).or_insert_with(|| of(&token));
        Ok(())
    })?;
    let reasons: Vec<Reasoned> = by_reason.into_values().collect();
    let listing = Listing {
        schema: 1,
        count: reasons.iter().map(|r| r.count).sum(),
        bytes: reasons.iter().map(|r| r.bytes).sum(),
        reasons,
    };
    if json { print_json(&listing) } else { print(&text(&listing)) }
}

fn of(token: &OddToken) -> Reasoned {
    Reasoned {
        reason: token.reason.clone(),
        count: 1,
        bytes: token.token.len() as u64,
        oldest: token.received,
        newest: token.received,
        due: token.due,
        detail: token.detail.clone(),
        hint: record::advice(&token.reason),
    }
}

impl Reasoned {
    fn add(&mut self, token: &OddToken) {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(token.token.len() as u64);
        self.oldest = self.oldest.min(token.received);
        self.due = self.due.into_iter().chain(token.due).min();
        if token.received >= self.newest {
            (self.newest, self.detail) = (token.received, token.detail.clone());
        }
    }
}

fn text(listing: &Listing) -> String {
    if listing.count == 0 {
        return "the quarantine is empty\n".to_owned();
    }
    let mut table = Table::new(&[
        ("REASON", Align::Left),
        ("TOKENS", Align::Right),
        ("OLDEST", Align::Left),
        ("NEWEST", Align::Left),
        ("FOR EXAMPLE", Align::Left),
    ]);
    for known in &listing.reasons {
        let times = [known.oldest, known.newest].map(|at| format!("{at:.0}"));
        let [oldest, newest] = times;
        table.row(vec![known.reason.clone(), count(known.count), oldest, newest, known.detail.clone()]);
    }
    let (tokens, size) = (plural(listing.count, "token", "tokens"), bytes(listing.bytes));
    format!("{}\n{tokens}, {size}{}", table.render(), advice(listing))
}

/// What to do about the reasons in the listing, a line each.
fn advice(listing: &Listing) -> String {
    let mut text = String::from("\n");
    for known in &listing.reasons {
        text.push_str(&format!("{}: {}\n", clean(&known.reason), known.hint));
        if let Some(due) = known.due {
            text.push_str(&format!("{}: the first of them is tried again at {due:.0}\n", clean(&known.reason)));
        }
    }
    text
}

/// Shows the content of tokens that a key opens.
fn show(config: &Config, reason: Option<&str>, out: Option<&Path>) -> Result<()> {
    if out.is_none() && !std::io::stdout().is_terminal() {
        let what = "the content of quarantined tokens is shown only on a terminal";
        return Err(Error::new(ErrorKind::Usage, what).hint("write it into a private file: --out FILE"));
    }
    let ring = setup::ring(config)?;
    deliver(config, reason, out, &|token| Inside::of(token, &ring).line())
}

/// A quarantined token with its content.
#[derive(Serialize)]
struct Inside<'t> {
    #[serde(flatten)]
    token: &'t OddToken,
    /// Its content as text; absent where no key opens it.
    #[serde(skip_serializing_if = "Option::is_none")]
    plaintext: Option<String>,
    /// Its content as base64, where it is not text.
    #[serde(skip_serializing_if = "Option::is_none")]
    plaintext_base64: Option<String>,
}

impl<'t> Inside<'t> {
    fn of(token: &'t OddToken, ring: &KeyRing) -> Self {
        let opened = if token.encoding.is_none() { ring.decrypt(&token.token).ok() } else { None };
        let (plaintext, plaintext_base64) = match opened.map(String::from_utf8) {
            Some(Ok(text)) => (Some(text), None),
            Some(Err(bytes)) => (None, Some(STANDARD.encode(bytes.as_bytes()))),
            None => (None, None),
        };
        Self { token, plaintext, plaintext_base64 }
    }

    /// As JSON with nothing in it that a terminal could take for a command.
    fn line(&self) -> Result<String> {
        let line = encode(self)?;
        let escaped = |c: char| c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect();
        Ok(line.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c.to_string() } else { escaped(c) }).collect())
    }
}

fn encode(token: &impl Serialize) -> Result<String> {
    serde_json::to_string(token)
        .map_err(|e| Error::new(ErrorKind::Bug, "cannot encode a quarantined token").caused_by(e))
}

fn export(config: &Config, reason: Option<&str>, out: Option<&Path>) -> Result<()> {
    deliver(config, reason, out, &|token| encode(token))
}

/// How a token is written.
type Spelling<'f> = &'f dyn Fn(&OddToken) -> Result<String>;

/// Writes tokens to stdout or into a new private file.
fn deliver(config: &Config, reason: Option<&str>, out: Option<&Path>, form: Spelling<'_>) -> Result<()> {
    let Some(path) = out else {
        return write_tokens(config, reason, form, &mut std::io::stdout().lock())
            .map(|_| ())
            .map_err(|cause| cause.named("stdout".as_ref()));
    };
    // A token may be a secret.
    let output = Output::open(path, Form::PRIVATE.refusing(ErrorKind::State))?;
    let is_printed = matches!(output, Output::Flow(_));
    let mut output = BufWriter::new(output);
    let written = write_tokens(config, reason, form, &mut output).map_err(|cause| cause.named(path))?;
    output.into_inner().map_err(|e| Error::disk("write", path, e.into_error()))?.finish()?;
    // The tokens may have gone to stdout, where this line would go.
    if is_printed {
        return Ok(());
    }
    print(&format!("{} written to {}\n", plural(written, "token", "tokens"), path.display()))
}

/// Whether reading or writing failed.
enum ExportFailure {
    Read(Error),
    Write(std::io::Error),
}

impl ExportFailure {
    fn named(self, path: &Path) -> Error {
        match self {
            Self::Read(error) => error,
            Self::Write(cause) => Error::disk("write", path, cause),
        }
    }
}

fn write_tokens(
    config: &Config,
    reason: Option<&str>,
    form: Spelling<'_>,
    out: &mut dyn Write,
) -> Result<u64, ExportFailure> {
    let (mut written, mut failed) = (0, None);
    let looked = each_odd(config, &mut |token| {
        if reason.is_some_and(|only| only != token.reason) {
            return Ok(());
        }
        written += 1;
        writeln!(out, "{}", clean_json(&form(&token)?)).map_err(|cause| {
            failed = Some(cause);
            Error::new(ErrorKind::State, "cannot write a quarantined token")
        })
    });
    match (looked, failed) {
        // The reader may have closed the pipe: that is not a failure.
        (_, Some(cause)) if cause.kind() == std::io::ErrorKind::BrokenPipe => Ok(written),
        (_, Some(cause)) => Err(ExportFailure::Write(cause)),
        (Err(error), None) => Err(ExportFailure::Read(error)),
        (Ok(()), None) => Ok(written),
    }
}

fn drop_reason(config: &Config, reason: &str, yes: bool) -> Result<()> {
    let (mut found, mut others) = (0, BTreeMap::<String, u64>::new());
    each_odd(config, &mut |token| {
        if token.reason == reason {
            found += 1;
        } else {
            *others.entry(token.reason).or_default() += 1;
        }
        Ok(())
    })?;
    if found == 0 {
        return nothing_to_drop(reason, &others);
    }
    if !yes && !agreed(&plural(found, "token", "tokens"), reason)? {
        return print("nothing was dropped\n");
    }
    let dropped = match drop_odd(config, reason)? {
        Some(dropped) => dropped,
        None => drop_tokens(&config.state.dir, reason)?,
    };
    print(&format!("{} with the reason {} dropped\n", plural(dropped, "token", "tokens"), clean(reason)))
}

fn nothing_to_drop(reason: &str, others: &BTreeMap<String, u64>) -> Result<()> {
    if others.is_empty() {
        return print("the quarantine is empty: nothing to drop\n");
    }
    let known: Vec<&str> = others.keys().map(String::as_str).collect();
    Err(Error::new(ErrorKind::Usage, format!("no quarantined token has the reason {reason:?}"))
        .hint(format!("the reasons in the quarantine: {}", known.join(", "))))
}

/// Asks on the terminal; an error where there is none.
fn agreed(tokens: &str, reason: &str) -> Result<bool> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Error::new(ErrorKind::Usage, format!("{tokens} would be dropped for good, which needs a yes"))
            .hint("add --yes to drop them without a question; `etl quarantine export` keeps a copy"));
    }
    eprint!("Drop {tokens} with the reason {} for good? [y/N] ", clean(reason));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(|e| {
        Error::new(ErrorKind::State, "cannot read the answer").caused_by(e).hint("say --yes where nobody can be asked")
    })?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Drops the tokens with this reason, file by file, and returns how many they were.
fn drop_tokens(state: &Path, reason: &str) -> Result<u64> {
    let _lock = Lock::take(state)?;
    // Refuses a state directory of a newer format.
    Ledger::open(state)?;
    let mut quarantine = Quarantine::open(state)?;
    let mut dropped = 0;
    for segment in quarantine.segments(None) {
        dropped += quarantine.release(segment, &mut |token| token.reason != reason, &|| false)?;
        if let Some(damage) = quarantine.take_damaged().pop() {
            return Err(damage);
        }
    }
    status::note_quarantine(state, SystemClock.now(), &mut quarantine)?;
    Ok(dropped)
}
