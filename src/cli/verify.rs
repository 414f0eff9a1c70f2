//! `etl verify`.

use std::path::Path;

use clap::Args;
use jiff::civil::Date;

use super::print::{print, print_json};
use super::setup;
use crate::audit::StoredParts;
use crate::audit::compare;
use crate::audit::digests::{Walked, Walker, public_keys};
use crate::audit::finding::{Comparison, Verification};
use crate::audit::restore::{Known, Range, Restorer};
use crate::audit::verify::Verifier;
use crate::audit::verify::by_store::StoreVerifier;
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::hour::{Clock, SystemClock};
use crate::state::status::verified::{self, LastVerify};
use crate::state::{Ledger, newest_digest};
use crate::store::dictionaries::DictionaryStore;
use crate::store::minisign::Signer;
use crate::store::settings::layout_there;
use crate::view::table::plural;

pub(super) const EXAMPLES: &str = "\
Examples:
  etl verify                                 every part exists with its size, identity and rows
  etl verify --deep                          also download, decode and count
  etl verify --archive                       also compare the store with the originals kept here
  etl verify --digests --public-key etl.pub   also walk along the signed digests
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
    /// Also walk along the digests, from the newest to the first, with all that they name; needs no ledger
    #[arg(long)]
    digests: bool,
    /// Walk no further back than the digests of this day, as in 2023-03-10
    #[arg(long, value_name = "DAY", requires = "digests")]
    since: Option<Date>,
    /// The public key of minisign that the digests are signed with, or its file; may be repeated. Else that of load.sign_key
    #[arg(long, value_name = "KEY", requires = "digests")]
    public_key: Vec<String>,
    /// Print the findings as one JSON object
    #[arg(long)]
    json: bool,
}

/// Looks at every part in the store, and prints what differs from the ledger, and with `--archive` from the archive.
pub(super) fn verify(config: &Config, args: &VerifyArgs) -> Result<u8> {
    let dir = &config.state.dir;
    let is_cluster = config.cluster.is_some();
    // In a cluster what lies here knows a part of the truth, and the store all of it.
    let ledger = if is_cluster { None } else { Ledger::open(dir)? };
    if ledger.is_none() && !is_cluster && !args.archive && !args.digests {
        let what = format!("{} holds no ledger: there is nothing to verify", dir.display());
        let hint = "name the state directory that the runs use: state.dir, or --state-dir";
        return Err(Error::new(ErrorKind::State, what).hint(hint));
    }
    let (place, compactor) = (setup::place(config)?, setup::compactor(config)?);
    let former = ledger.as_ref().map(Ledger::former_dictionaries).unwrap_or_default();
    let dictionaries = DictionaryStore::new(&*place.store, &place.prefix, &compactor).with_former(former);
    let dating = setup::dating(config);
    // What is there is looked at, whatever format is configured by now.
    let layout = match &ledger {
        Some(ledger) => place.layout.clone().of_format(ledger.settings().format),
        None => layout_there(&*place.store, &place.prefix, &place.layout)?,
    };
    let parts = StoredParts {
        store: &*place.store,
        prefix: &place.prefix,
        layout: &layout,
        dictionaries: &dictionaries,
        dating: &dating,
    };
    let mut found = match &ledger {
        Some(_) => by_ledger(config, args, parts)?,
        None if is_cluster => by_store(config, args, parts)?,
        None => Verification::new(args.deep),
    };
    if args.archive {
        found.archive = Some(by_archive(config, ledger.as_ref(), parts)?);
    }
    if args.digests {
        found.digests = Some(by_digests(config, args, parts)?);
    }
    let has_compared = ledger.is_some() || is_cluster;
    let remembers = ledger.is_some() || (is_cluster && dir.is_dir());
    let unseen = if remembers { remember(dir, args, &found) } else { 0 };
    if args.json {
        print_json(&found)?
    } else {
        let digests = found.digests.as_ref().map(Walked::text).unwrap_or_default();
        let archive = found.archive.as_ref().map(Comparison::text).unwrap_or_default();
        let ledger = if has_compared { found.text() } else { String::new() };
        print(&(ledger + &archive + &digests + &earlier(unseen)))?
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

fn by_digests(config: &Config, args: &VerifyArgs, parts: StoredParts<'_>) -> Result<Walked> {
    let mut keys = public_keys(&args.public_key)?;
    if let Some(key) = config.load.signing.as_ref().filter(|_| keys.is_empty()) {
        keys.push(Signer::read(key)?.public().clone());
    }
    let made = newest_digest(&config.state.dir, &setup::settings(config)?.destination)?;
    let progress = super::progress::bar("manifests");
    let walker = Walker { parts, keys: &keys, deep: args.deep, since: args.since, made };
    let found = walker.walk(&mut |manifests| progress.set_position(manifests));
    progress.finish_and_clear();
    found
}

fn by_store(config: &Config, args: &VerifyArgs, parts: StoredParts<'_>) -> Result<Verification> {
    let expire_after = config.load.expire_after.map(|after| (setup::signed(after), SystemClock.now()));
    let verifier = StoreVerifier { parts, deep: args.deep, expire_after };
    let progress = super::progress::bar("parts");
    let found = verifier.verify(&mut |parts| progress.set_position(parts));
    progress.finish_and_clear();
    found
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
