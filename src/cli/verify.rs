//! `etl verify`.

use std::path::Path;

use clap::Args;

use super::print::{print, print_json};
use super::setup;
use crate::audit::StoredParts;
use crate::audit::compare;
use crate::audit::finding::{Comparison, Verification};
use crate::audit::restore::{Known, Range, Restorer};
use crate::audit::verify::Verifier;
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::hour::{Clock, SystemClock};
use crate::state::Ledger;
use crate::state::status::verified::{self, LastVerify};
use crate::store::dictionaries::DictionaryStore;
use crate::view::table::plural;

pub(super) const EXAMPLES: &str = "\
Examples:
  etl verify                                 every part exists with its size, identity and rows
  etl verify --deep                          also download, decode and count
  etl verify --archive                       also compare the store with the originals kept here
  etl verify --json                          the findings as one JSON object";

/// `etl verify`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(super) struct VerifyArgs {
    /// Also download every part, decode it and count its records
    #[arg(long)]
    deep: bool,
    /// Also compare the originals in archive.dir with those restored from the store; needs no ledger
    #[arg(long)]
    archive: bool,
    /// Print the findings as one JSON object
    #[arg(long)]
    json: bool,
}

/// Looks at every part in the store, and prints what differs from the ledger, and with `--archive` from the archive.
pub(super) fn verify(config: &Config, args: &VerifyArgs) -> Result<u8> {
    let dir = &config.state.dir;
    let ledger = Ledger::open(dir)?;
    if ledger.is_none() && !args.archive {
        let what = format!("{} holds no ledger: there is nothing to verify", dir.display());
        let hint = "name the state directory that the runs use: state.dir, or --state-dir";
        return Err(Error::new(ErrorKind::State, what).hint(hint));
    }
    let (place, compactor) = (setup::place(config)?, setup::compactor(config)?);
    let former = ledger.as_ref().map(Ledger::former_dictionaries).unwrap_or_default();
    let dictionaries = DictionaryStore::new(&*place.store, &place.prefix, &compactor).with_former(former);
    let parts = StoredParts {
        store: &*place.store,
        prefix: &place.prefix,
        layout: &place.layout,
        dictionaries: &dictionaries,
        zone: &config.hours.timezone,
    };
    let mut found = match &ledger {
        Some(_) => by_ledger(config, args, parts)?,
        None => Verification::new(args.deep),
    };
    if args.archive {
        found.archive = Some(by_archive(config, ledger.as_ref(), parts)?);
    }
    let unseen = if ledger.is_some() { remember(dir, args, &found) } else { 0 };
    if args.json {
        print_json(&found)?
    } else {
        let archive = found.archive.as_ref().map(Comparison::text).unwrap_or_default();
        let ledger = if ledger.is_some() { found.text() } else { String::new() };
        print(&(ledger + &archive + &earlier(unseen)))?
    }
    Ok(if found.is_well() { 0 } else { ErrorKind::Mismatch.exit_code() })
}

/// Remembers the result for `etl status`, and returns how many findings of an earlier `--deep` this look could not see. The user who
/// verifies may not be the one who may write there: that costs nothing else.
fn remember(state: &Path, args: &VerifyArgs, found: &Verification) -> u64 {
    let before = verified::read(state).unwrap_or_default();
    let last = LastVerify::new(SystemClock.now(), args.deep, found.objects, found.all_findings(), before);
    if let Err(error) = verified::remember(state, &last) {
        tracing::warn!("the result is not remembered for `etl status`: {}", error.chain());
    }
    last.unseen
}

fn earlier(unseen: u64) -> String {
    match unseen {
        0 => String::new(),
        n => format!("{} of an earlier `etl verify --deep` stay until another one\n", plural(n, "finding", "findings")),
    }
}

fn by_ledger(config: &Config, args: &VerifyArgs, parts: StoredParts<'_>) -> Result<Verification> {
    let expire_after = config.load.expire_after.map(|after| (setup::signed(after), SystemClock.now()));
    let verifier = Verifier { state: &config.state.dir, parts, deep: args.deep, expire_after };
    let progress = super::progress::bar("parts");
    let found = verifier.verify(&mut |parts| progress.set_position(parts));
    progress.finish_and_clear();
    found
}

fn by_archive(config: &Config, ledger: Option<&Ledger>, parts: StoredParts<'_>) -> Result<Comparison> {
    let archive = setup::archive(config).ok_or_else(|| {
        Error::new(ErrorKind::Config, "archive.dir is not set: there is no archive to compare with")
            .hint("set archive.dir; what is uploaded from then on is kept there")
    })?;
    let known = ledger.map(|ledger| Known::of(ledger, Range::default())).transpose()?.unwrap_or_default();
    let restorer = Restorer { parts, known };
    let progress = super::progress::bar("archived parts");
    let found = compare::compare(&archive, &restorer, &mut |files| progress.set_position(files));
    progress.finish_and_clear();
    found
}
