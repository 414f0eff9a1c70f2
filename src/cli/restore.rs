//! `etl restore`: parts → the original logs. Needs read access to the store, and no state.
//!
//! A file of an hour gets its name when it is whole: a crash leaves a hidden one, which nothing reads.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use super::progress;
use super::setup::{self, place_named};
use super::values::{check_range, hour};
use crate::audit::StoredParts;
use crate::audit::restore::{Hours, Known, Range, Restorer};
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::output::{self, Form};
use crate::process::threads;
use crate::state::Ledger;
use crate::stop::Stop;
use crate::store::dictionaries::DictionaryStore;
use crate::store::settings::layout_there;
use crate::view::table::plural;

pub(super) const EXAMPLES: &str = "\
Examples:
  etl restore                                everything, as NDJSON on stdout
  etl restore --hour 2023-03-10T01           one hour
  etl restore --since 2023-03-10T00 --until 2023-03-10T23
  etl restore --out originals                one file an hour instead
  etl restore --from s3://my-logs/prefix/    from another place than the configured one
  etl restore --from lake                    from a folder";

/// `etl restore`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(super) struct RestoreArgs {
    /// Where to read: s3://bucket/prefix/ or a folder [default: the configured destination]
    #[arg(long, value_name = "PLACE")]
    from: Option<String>,
    /// Only this hour, as in 2023-03-10T01
    #[arg(long, value_name = "HOUR", value_parser = hour, conflicts_with_all = ["since", "until"])]
    hour: Option<Hour>,
    /// From this hour on
    #[arg(long, value_name = "HOUR", value_parser = hour)]
    since: Option<Hour>,
    /// Up to and including this hour
    #[arg(long, value_name = "HOUR", value_parser = hour)]
    until: Option<Hour>,
    /// Write one file an hour into this folder, instead of everything to stdout
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Writes the originals of the chosen hours to stdout, or one file an hour to a directory. A part that does not verify is
/// refused and named; the others are restored.
pub(super) fn restore(config: &Config, args: &RestoreArgs, say: &dyn Fn(&Error)) -> Result<u8> {
    check_range(args.since, args.until)?;
    let stop = Stop::new();
    // On a signal an incomplete file is removed. Where no thread can be had, the signal ends the process at once.
    if threads::has_threads(1) {
        crate::stop::install(&stop)?;
    }
    match restore_until(config, args, say, &stop) {
        // What fails after a signal fails because of it.
        restored if stop.signal().is_none() => restored,
        _ => Ok(stop.exit_code().unwrap_or(0)),
    }
}

fn restore_until(config: &Config, args: &RestoreArgs, say: &dyn Fn(&Error), stop: &Stop) -> Result<u8> {
    let place = setup::place_until(config, &place_named(config, args.from.as_deref())?, stop)?;
    // Another place may have parts in another form than those that are made here.
    let layout = layout_there(&*place.store, &place.prefix, &place.layout)?;
    let range = Range { since: args.hour.or(args.since), until: args.hour.or(args.until) };
    let compactor = setup::compactor(config)?;
    let dictionaries = DictionaryStore::new(&*place.store, &place.prefix, &compactor);
    let dating = setup::dating(config);
    let restorer = Restorer {
        parts: StoredParts {
            store: &*place.store,
            prefix: &place.prefix,
            layout: &layout,
            dictionaries: &dictionaries,
            dating: &dating,
        },
        known: if args.from.is_none() { known(config, range) } else { Known::default() },
    };
    let Hours { parts: hours, expired, .. } = restorer.hours(range)?;
    let gone: usize = expired.values().map(BTreeSet::len).sum();
    if let Some(first) = expired.keys().next() {
        let gone = plural(gone as u64, "part is", "parts are");
        tracing::warn!("{gone} gone for good and not restored, the first of hour {first}");
    }
    if hours.is_empty() && gone == 0 {
        return Err(nothing_there(&restorer, range)?);
    }
    let mut code = 0;
    for (hour, parts) in progress::hours(hours, args.out.is_none()) {
        let mut out = Output::open(args.out.as_deref(), hour)?;
        let refused = restorer.hour(hour, &parts, &mut |originals| match stop.is_requested() {
            true => Err(Error::new(ErrorKind::Unavailable, "stopped by a signal")
                .hint("what is in finished files is whole; start it again for the rest")),
            false => out.write(originals),
        })?;
        refused.iter().for_each(say);
        if !refused.is_empty() {
            code = ErrorKind::Mismatch.exit_code();
        }
        out.close(refused.is_empty())?;
    }
    Ok(code)
}

/// Says what there is instead of the hours that were asked for.
pub(super) fn nothing_there(restorer: &Restorer<'_>, range: Range) -> Result<Error> {
    let there = restorer.hours(Range::default())?.parts;
    let chosen = match (range.since, range.until) {
        (Some(since), Some(until)) if since == until => format!(" of hour {since}"),
        (Some(since), Some(until)) => format!(" of the hours {since} to {until}"),
        (Some(since), None) => format!(" of the hours from {since} on"),
        (None, Some(until)) => format!(" of the hours up to {until}"),
        (None, None) => String::new(),
    };
    let what = format!("there is no part{chosen} in {}", restorer.parts.store.place());
    let hint = match there.keys().next().zip(there.keys().next_back()) {
        Some((first, last)) => format!("choose among the hours {first} to {last}, which are there"),
        None => "check load.to, or --from, and with `etl status` whether a run has uploaded anything".to_owned(),
    };
    Ok(Error::new(ErrorKind::Usage, what).hint(hint))
}

/// What the ledger knows, where it can be read. Restoring works without it.
pub(super) fn known(config: &Config, range: Range) -> Known {
    let read = || -> Result<Known> {
        let Some(ledger) = Ledger::open(&config.state.dir)? else { return Ok(Known::default()) };
        let here = setup::settings(config)?.destination;
        if ledger.settings().destination == here { Known::of(&ledger, range) } else { Ok(Known::default()) }
    };
    read().unwrap_or_else(|error| {
        tracing::warn!("restored without the ledger: {}", error.chain());
        Known::default()
    })
}

/// Where the originals of an hour go.
enum Output<'a> {
    Stdout,
    File { output: output::Output, dir: &'a Path, hour: Hour },
}

impl<'a> Output<'a> {
    fn open(dir: Option<&'a Path>, hour: Hour) -> Result<Self> {
        let Some(dir) = dir else { return Ok(Self::Stdout) };
        output::make_folder(dir)?;
        let output = output::Output::open(&dir.join(format!("{hour}.ndjson")), Form::PUBLIC)?;
        Ok(Self::File { output, dir, hour })
    }

    fn write(&mut self, originals: &[u8]) -> Result<()> {
        match self {
            Self::Stdout => output::print(originals),
            Self::File { output, dir, .. } => output.write_all(originals).map_err(|e| Error::disk("write", dir, e)),
        }
    }

    /// Gives the file its name, which says where parts are missing from it.
    fn close(self, is_whole: bool) -> Result<()> {
        match self {
            Self::Stdout => Ok(()),
            Self::File { output, .. } if is_whole => output.finish(),
            Self::File { output, dir, hour } => output.finish_as(&dir.join(format!("{hour}.incomplete.ndjson"))),
        }
    }
}
