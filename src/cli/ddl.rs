//! `etl ddl`: configuration and flags → table and view as text.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::print::print_bytes;
use super::setup::{self, place_named};
use super::values::{check_range, hour};
use crate::config::{Config, Destination};
use crate::error::{Error, ErrorKind, Result};
use crate::hour::format::Encoding;
use crate::hour::key::Layout;
use crate::hour::{Clock, Hour, SystemClock};
use crate::query::{Column, Endpoint, Keys, Serde, Span, Table, Years};
use crate::stop::Stop;
use crate::store::settings::layout_there;

/// How long a listing for the years may take: the statements can be printed without it.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) const EXAMPLES: &str = "\
Examples:
  etl ddl                                    table and view for Athena; never needs a refresh
  etl ddl --for trino --database web         the same for Trino's Hive connector
  etl ddl --for duckdb                       the same for DuckDB, over S3 or a folder; for Spark: --for spark
  etl ddl --keys hour                        year, month, day and hour as partition keys instead of one text
  etl ddl --for duckdb --location lake       for another place than the configured one; its settings.json says its format
  etl ddl --column session:string --column price:double
  etl ddl --glue --since 2023-03-10T00       table and partitions for Glue's API, for Spark or Redshift Spectrum

It needs no state: it reads the configuration, and it lists the store for the years (Athena, Trino) or hours (--glue) that
there are. Where the store does not answer, it says so and takes 2020 for the first year.";

/// `etl ddl`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(super) struct DdlArgs {
    /// Query engine [default: athena]
    #[arg(long = "for", value_name = "ENGINE", conflicts_with = "glue")]
    engine: Option<Engine>,
    /// Partition keys: dt = one text; hour = year, month, day and hour as numbers
    #[arg(long, value_name = "KEYS", default_value = "dt")]
    keys: KeysArg,
    /// Athena and Glue: typed columns with this JSON SerDe, in NAME_compact: faster, and one odd record makes its hour unreadable
    #[arg(long, value_name = "SERDE")]
    serde: Option<SerdeArg>,
    /// Name of the table or view of the original logs; over lines, the table under the view is NAME_line
    #[arg(long, value_name = "NAME", default_value = "logs", value_parser = name)]
    table: String,
    /// Database of table and view [default: the session's; with --glue "default"]
    #[arg(long, value_name = "NAME", value_parser = name)]
    database: Option<String>,
    /// Where the objects are: s3://bucket/prefix/ or a folder [default: the configured destination]
    #[arg(long, value_name = "PLACE")]
    location: Option<String>,
    /// Over lines: add a field of the logs, or change the type of a known one, as in session:string; repeatable
    #[arg(long = "column", value_name = "NAME:TYPE")]
    columns: Vec<Column>,
    /// Years that partition projection covers [default: those of the store]
    #[arg(long, value_name = "FROM-TO")]
    years: Option<Years>,
    /// Print the table and its existing partitions as JSON input for Glue's API
    #[arg(long)]
    glue: bool,
    /// With --glue: partitions from this hour on
    #[arg(long, value_name = "HOUR", value_parser = hour, requires = "glue")]
    since: Option<Hour>,
    /// With --glue: partitions up to and including this hour
    #[arg(long, value_name = "HOUR", value_parser = hour, requires = "glue")]
    until: Option<Hour>,
}

/// `--for`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Engine {
    /// AWS Athena.
    Athena,
    /// Trino, with its Hive connector.
    Trino,
    /// DuckDB.
    Duckdb,
    /// Spark.
    Spark,
}

/// `--keys`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum KeysArg {
    /// One text.
    Dt,
    /// Four integers.
    Hour,
}

/// `--serde`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum SerdeArg {
    /// Hive's JSON SerDe.
    Hive,
    /// OpenX's.
    Openx,
}

/// A name that every engine takes without quotes.
fn name(text: &str) -> Result<String, String> {
    crate::query::check_name(text).map(|()| text.to_ascii_lowercase()).map_err(|error| error.to_string())
}

/// Where the parts are, and how they are spelled there.
struct Place {
    destination: Destination,
    layout: Layout,
}

/// How the parts are spelled: as configured, or, in a place that is not the configured one, as it says itself.
fn layout(config: &Config, args: &DdlArgs, place: &Destination) -> Layout {
    let configured = &config.load.layout;
    if args.location.is_none() {
        return configured.clone();
    }
    let stop = Stop::with_deadline(Instant::now().checked_add(PATIENCE));
    let found = setup::place_until(config, place, &stop)
        .and_then(|there| layout_there(&*there.store, &there.prefix, configured));
    found.unwrap_or_else(|error| {
        tracing::warn!("cannot tell of which format the parts in {place} are: {}; taken as configured", error.chain());
        configured.clone()
    })
}

/// Prints what an engine needs to read the parts.
pub(super) fn ddl(config: &Config, args: &DdlArgs) -> Result<u8> {
    check_range(args.since, args.until)?;
    let engine = args.engine.unwrap_or(Engine::Athena);
    if args.serde.is_some() && engine != Engine::Athena {
        let what = "--serde is for Athena and Glue; the other engines read lines";
        return Err(Error::new(ErrorKind::Usage, what).hint("leave --serde or --for out"));
    }
    let place = place_named(config, args.location.as_deref())?;
    let place = Place { layout: layout(config, args, &place), destination: place };
    refuse_for_parquet(args, &place.layout)?;
    if args.glue {
        let hours = hours(config, &place, &Stop::new())?;
        let table = table(config, args, place, Some(&hours))?;
        let wanted =
            |hour: &Hour| args.since.is_none_or(|first| *hour >= first) && args.until.is_none_or(|last| *hour <= last);
        let wanted: BTreeSet<Hour> = hours.into_iter().filter(wanted).collect();
        let text = serde_json::to_string_pretty(&table.glue(&wanted)?)
            .map_err(|e| Error::new(ErrorKind::Bug, "cannot encode the partitions").caused_by(e))?;
        print_bytes((text + "\n").as_bytes())?;
        return Ok(0);
    }
    let text = match engine {
        Engine::Athena | Engine::Trino => projected(config, args, place, engine)?,
        Engine::Duckdb => {
            let endpoint = endpoint(config, &place.destination)?;
            table(config, args, place, None)?.duckdb(endpoint.as_ref())?
        }
        Engine::Spark => table(config, args, place, None)?.spark()?,
    };
    print_bytes(text.as_bytes())?;
    Ok(0)
}

/// What is for tables over lines only.
fn refuse_for_parquet(args: &DdlArgs, layout: &Layout) -> Result<()> {
    if layout.format().encoding != Encoding::Parquet {
        return Ok(());
    }
    if args.serde.is_some() {
        let what = "--serde is for lines, and these parts are Parquet, whose columns have types";
        return Err(Error::new(ErrorKind::Usage, what).hint("leave --serde out"));
    }
    if !args.columns.is_empty() {
        let what = "--column is for lines; Parquet parts have the columns that they were written with";
        let hint =
            "add it to [load.columns], so that parts have it from now on, or take the field out of the column extra";
        return Err(Error::new(ErrorKind::Usage, what).hint(hint));
    }
    Ok(())
}

/// Table and view with partition projection, over the years that the store has.
fn projected(config: &Config, args: &DdlArgs, place: Place, engine: Engine) -> Result<String> {
    let seen = match place.destination {
        Destination::Files(_) => None,
        Destination::S3 { .. } => look(config, &place, args.years),
    };
    let table = table(config, args, place, seen.as_ref())?;
    let text = if engine == Engine::Trino { table.trino() } else { table.athena() }?;
    if let Some(warning) = table.span.warning() {
        tracing::warn!("{warning}");
    }
    Ok(text)
}

/// The hours of the store; `None`, said, where it does not tell in time.
fn look(config: &Config, place: &Place, years: Option<Years>) -> Option<BTreeSet<Hour>> {
    let stop = Stop::with_deadline(Instant::now().checked_add(PATIENCE));
    hours(config, place, &stop)
        .inspect_err(|error| {
            let then = if years.is_some() {
                "hours outside of --years are not named"
            } else {
                "name them with --years FROM-TO"
            };
            tracing::warn!("cannot tell which years the store has: {}; {then}", error.chain());
        })
        .ok()
}

fn table(config: &Config, args: &DdlArgs, place: Place, seen: Option<&BTreeSet<Hour>>) -> Result<Table> {
    let keys = match args.keys {
        KeysArg::Dt => Keys::Dt,
        KeysArg::Hour => Keys::Hour,
    };
    let now = SystemClock.now();
    let now_hour = Hour::of(now, &config.hours.timezone)
        .ok_or_else(|| Error::new(ErrorKind::State, "this machine's clock shows no possible year"))?;
    let dating = setup::dating(config);
    Ok(Table {
        database: args.database.clone(),
        name: args.table.clone(),
        place: place.destination,
        layout: place.layout,
        keys,
        serde: args.serde.map(|serde| match serde {
            SerdeArg::Hive => Serde::Hive,
            SerdeArg::Openx => Serde::OpenX,
        }),
        columns: Table::columns(&dating, &setup::codecs(config)?, &config.load.columns, &args.columns, keys)?,
        dating,
        zone: config.hours.timezone_name().to_owned(),
        ahead: ahead(&config.hours.timezone, now),
        span: Span::new(args.years, seen, now_hour, keys),
    })
}

/// By how many hours the zone is ahead of UTC at most, now or half a year from now.
fn ahead(zone: &TimeZone, now: Timestamp) -> u8 {
    let half_a_year = now.checked_add(SignedDuration::from_hours(24 * 182)).unwrap_or(now);
    let seconds = [now, half_a_year].map(|at| zone.to_offset(at).seconds()).into_iter().max().unwrap_or(0);
    u8::try_from(seconds.max(0).cast_unsigned().div_ceil(3600)).unwrap_or(0)
}

fn endpoint(config: &Config, place: &Destination) -> Result<Option<Endpoint>> {
    let Destination::S3 { .. } = place else { return Ok(None) };
    let access = config.load.s3()?;
    Ok(Some(Endpoint { url: access.endpoint, region: access.region }))
}

/// The hours of which there are parts.
fn hours(config: &Config, place: &Place, stop: &Stop) -> Result<BTreeSet<Hour>> {
    let setup::Place { store, prefix, .. } = setup::place_until(config, &place.destination, stop)?;
    let mut hours = BTreeSet::new();
    store.list(&place.layout.data_prefix(&prefix), &mut |key, _| {
        hours.extend(place.layout.parse_key(&prefix, key).map(|(hour, _)| hour));
        Ok(())
    })?;
    Ok(hours)
}
