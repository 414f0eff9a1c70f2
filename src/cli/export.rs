//! `etl export`: the parts of a lake in another format, under another prefix. Needs no state; keeps none.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use clap::Args;
use serde::Serialize;

use super::print::{print, print_json};
use super::restore::{known, nothing_there};
use super::setup::{self, place_named};
use super::{progress, values};
use crate::audit::StoredParts;
use crate::audit::export::{Below, Exported, Exporter, Target, check_source};
use crate::audit::restore::{Known, Range, Restorer};
use crate::config::{Config, Destination};
use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::format::{Compression, Encoding, Format};
use crate::hour::key::{DEFAULT_LAYOUT, HIVE_LAYOUT, Layout};
use crate::part::codec::Columns;
use crate::process::threads;
use crate::stop::Stop;
use crate::store::dictionaries::DictionaryStore;
use crate::store::settings::layout_there;
use crate::view::table::{bytes, plural};

pub(super) const EXAMPLES: &str = "\
Examples:
  etl export --to s3://my-logs/zstd/ --compression zstd
  etl export --to file:columns --format parquet
  etl export --to file:copy 2023-03-10T00..2023-03-10T23   some hours, in the format that they have
  etl export --from lake --to file:copy                    another lake than the configured one

It may be started again at any time: what is there already is not made again.";

/// What lies below a prefix beside the parts, or as the parts.
const TAKEN: [&str; 8] = ["data", "parquet", "dict", "manifest", "digest", "expired", "check", ".etl-tmp"];

/// `etl export`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(super) struct ExportArgs {
    /// Where to make the parts: s3://bucket/prefix/ or file:folder, with the configured endpoint and credentials
    #[arg(long, value_name = "PLACE")]
    to: String,
    /// Where to read: s3://bucket/prefix/ or a folder [default: the configured destination]
    #[arg(long, value_name = "PLACE")]
    from: Option<String>,
    /// What to make: ndjson or parquet [default: what they are]
    #[arg(long, value_name = "FORMAT", value_parser = encoding)]
    format: Option<Encoding>,
    /// How to compress it: gzip or zstd [default: as they are]
    #[arg(long, value_name = "NAME", value_parser = compression)]
    compression: Option<Compression>,
    /// The folders of an hour, as in load.layout [default: as they are; for another format those that go with it]
    #[arg(long, value_name = "TEMPLATE", value_parser = layout)]
    layout: Option<Layout>,
    /// Only this hour, or these, as in 2023-03-10T01..2023-03-10T05
    #[arg(value_name = "HOUR[..HOUR]", value_parser = values::hours)]
    hours: Option<RangeInclusive<Hour>>,
    /// Print what was done as one JSON object
    #[arg(long)]
    json: bool,
}

fn encoding(text: &str) -> std::result::Result<Encoding, String> {
    let found = Encoding::ALL.into_iter().find(|encoding| encoding.name() == text);
    found.ok_or_else(|| "write ndjson or parquet".to_owned())
}

fn compression(text: &str) -> std::result::Result<Compression, String> {
    let found = Compression::ALL.into_iter().find(|compression| compression.name() == text);
    found.ok_or_else(|| "write gzip or zstd".to_owned())
}

fn layout(text: &str) -> std::result::Result<Layout, String> {
    Layout::parse(text).map_err(|error| error.chain())
}

/// Exports, and says what was done.
pub(super) fn export(config: &Config, args: &ExportArgs, say: &dyn Fn(&Error)) -> Result<u8> {
    let stop = Stop::new();
    // A signal ends it after the part at hand. Where no thread can be had, at once: nothing here needs to be tidied.
    if threads::has_threads(1) {
        crate::stop::install(&stop)?;
    }
    match export_until(config, args, &stop) {
        Ok(done) => told(&done, args, say, &stop),
        // What fails after a signal fails because of it.
        Err(_) if stop.signal().is_some() => Ok(stop.exit_code().unwrap_or(0)),
        Err(error) => Err(error),
    }
}

/// What was done, and where.
#[derive(Serialize)]
struct Done {
    from: String,
    to: String,
    #[serde(flatten)]
    format: Format,
    #[serde(flatten)]
    exported: Exported,
}

fn export_until(config: &Config, args: &ExportArgs, stop: &Stop) -> Result<Done> {
    let destinations = [place_named(config, args.from.as_deref())?, place_named(config, Some(&args.to))?];
    check_apart(&destinations)?;
    let [from, to] = &destinations;
    let (from, to) = (setup::place_until(config, from, stop)?, setup::place_until(config, to, stop)?);
    let there = layout_there(&*from.store, &from.prefix, &from.layout)?;
    check_source(&*from.store, &from.prefix, &setup::stored_settings(config, &there)?)?;
    let made = layout_of(args, &there)?;
    let (compactor, dating) = (setup::compactor(config)?, setup::dating(config));
    let dictionaries = [&from, &to].map(|place| DictionaryStore::new(&*place.store, &place.prefix, &compactor));
    let [of_source, of_target] = &dictionaries;
    let range = range(args);
    let source = Restorer {
        parts: StoredParts {
            store: &*from.store,
            prefix: &from.prefix,
            layout: &there,
            dictionaries: of_source,
            dating: &dating,
        },
        known: if args.from.is_none() { known(config, range) } else { Known::default() },
    };
    let below = Below { store: &*to.store, prefix: &to.prefix, layout: &made, dictionaries: of_target };
    let columns = Columns::of_records(&config.load.columns, &dating)?;
    let target = Target::open(below, &columns, setup::stored_settings(config, &made)?, stop)?;
    let exporter = Exporter { source, target, threads: to.uploads, stop, large: Mutex::default() };
    let exported = shown(&exporter, range)?;
    if exported.hours == 0 && exported.expired == 0 {
        return Err(nothing_there(&exporter.source, range)?);
    }
    let [from, to] = [from, to].map(|place| place.store.place().to_owned());
    Ok(Done { from, to, format: made.format(), exported })
}

/// Exports with a display of how far it is.
fn shown(exporter: &Exporter<'_>, range: Range) -> Result<Exported> {
    let bar = progress::of_hours(false);
    let exported = exporter.export(range, &|hours| bar.set_length(hours), &|| bar.inc(1));
    bar.finish_and_clear();
    exported
}

fn range(args: &ExportArgs) -> Range {
    let ends = args.hours.as_ref().map(|hours| (*hours.start(), *hours.end()));
    Range { since: ends.map(|(since, _)| since), until: ends.map(|(_, until)| until) }
}

/// How the parts are spelled that are made from parts spelled like `there`.
fn layout_of(args: &ExportArgs, there: &Layout) -> Result<Layout> {
    let was = there.format();
    let encoding = args.format.unwrap_or(was.encoding);
    let compression = match args.compression {
        Some(given) => given,
        None if encoding == was.encoding => was.compression,
        None => Compression::default(),
    };
    let usual = match encoding {
        Encoding::Ndjson => DEFAULT_LAYOUT,
        Encoding::Parquet => HIVE_LAYOUT,
    };
    let folders = match &args.layout {
        Some(given) => given.clone(),
        None if encoding == was.encoding => there.clone(),
        None => Layout::parse(usual)?,
    };
    Ok(folders.of_format(Format { encoding, compression }))
}

/// Checks that neither place has its parts among the other's objects.
fn check_apart([from, to]: &[Destination; 2]) -> Result<()> {
    let [source, target] = [from, to].map(spelled);
    let is_among = |inner: &str, outer: &str| {
        let first = inner.strip_prefix(outer).and_then(|rest| rest.split('/').next());
        first.is_some_and(|first| first.is_empty() || TAKEN.contains(&first))
    };
    if is_among(&target, &source) || is_among(&source, &target) {
        let what = format!("{to} cannot take an export of {from}: their objects would lie among each other");
        return Err(Error::new(ErrorKind::Usage, what).hint("name another prefix, bucket or folder in --to"));
    }
    Ok(())
}

/// A place by its one spelling, with `/` at its end.
fn spelled(place: &Destination) -> String {
    match place {
        Destination::S3 { .. } if place.to_string().ends_with('/') => place.to_string(),
        Destination::S3 { .. } => format!("{place}/"),
        Destination::Files(path) => format!("{}/", real(path).display()),
    }
}

/// A path without links, as far as it is there.
fn real(path: &Path) -> PathBuf {
    let there = path.ancestors().find_map(|folder| Some((folder, folder.canonicalize().ok()?)));
    let Some((folder, real)) = there else { return path.to_owned() };
    path.strip_prefix(folder).map_or_else(|_| path.to_owned(), |rest| real.join(rest).components().collect())
}

fn told(done: &Done, args: &ExportArgs, say: &dyn Fn(&Error), stop: &Stop) -> Result<u8> {
    done.exported.problems.iter().for_each(say);
    if args.json {
        print_json(done)?
    } else {
        print(&text(done))?
    }
    if stop.signal().is_some() {
        return Ok(stop.exit_code().unwrap_or(0));
    }
    let worst = done.exported.problems.iter().map(Error::kind).min();
    Ok(worst.map_or(0, ErrorKind::exit_code))
}

fn text(done: &Done) -> String {
    let Exported { parts, records, read_bytes, written_bytes, already, left, hours, .. } = &done.exported;
    let parts_of = |n: u64| plural(n, "part", "parts");
    let made = match parts {
        0 if left.is_empty() => "nothing to export: ".to_owned(),
        0 => String::new(),
        _ => format!(
            "{} of {} exported to {} as {}: {}, {} became {}; ",
            parts_of(*parts),
            plural(*hours, "hour", "hours"),
            done.to,
            done.format,
            plural(*records, "record", "records"),
            bytes(*read_bytes),
            bytes(*written_bytes),
        ),
    };
    let left = match left.len() as u64 {
        0 => String::new(),
        n => format!(", {} left", parts_of(n)),
    };
    format!("{made}{} there already{left}\n", parts_of(*already))
}
