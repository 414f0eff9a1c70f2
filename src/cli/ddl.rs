//! `etl ddl`: configuration and flags → table and view as text.

use std::collections::BTreeSet;

use clap::{Args, ValueEnum};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::print::print_bytes;
use super::setup::{self, place_named};
use super::values::{check_range, hour};
use crate::config::{Config, Destination};
use crate::error::{Error, ErrorKind, Result};
use crate::hour::key::data_prefix;
use crate::hour::{Clock, Hour, SystemClock};
use crate::query::{Column, Endpoint, Keys, Serde, Table, Years};

pub(super) const EXAMPLES: &str = "\
Examples:
  etl ddl                                    table and view for Athena; never needs a refresh
  etl ddl --keys dt                          one partition key instead of four: simple ranges
  etl ddl --for duckdb                       the same for DuckDB, over S3 or a folder
  etl ddl --for duckdb --location lake       for another place than the configured one
  etl ddl --column session:string --column items:array<bigint>
  etl ddl --glue --since 2023-03-10T00       table and partitions for Glue's API, for Spark or Redshift Spectrum

It needs no state: it reads the configuration, and with --glue it lists the store.";

/// `etl ddl`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(super) struct DdlArgs {
    /// Query engine [default: athena]
    #[arg(long = "for", value_name = "ENGINE", conflicts_with = "glue")]
    engine: Option<Engine>,
    /// Partition keys: hour = year, month, day and hour as numbers; dt = one text
    #[arg(long, value_name = "KEYS", default_value = "hour")]
    keys: KeysArg,
    /// JSON SerDe in Athena and Glue
    #[arg(long, value_name = "SERDE", default_value = "hive")]
    serde: SerdeArg,
    /// Name of the view of the original logs; its table is NAME_compact
    #[arg(long, value_name = "NAME", default_value = "logs", value_parser = name)]
    table: String,
    /// Database of table and view [default: the session's; with --glue "default"]
    #[arg(long, value_name = "NAME", value_parser = name)]
    database: Option<String>,
    /// Where the objects are: s3://bucket/prefix/ or a folder [default: the configured destination]
    #[arg(long, value_name = "PLACE")]
    location: Option<String>,
    /// Add a field of the logs, or change the type of a known one, as in session:string; repeatable
    #[arg(long = "column", value_name = "NAME:TYPE")]
    columns: Vec<Column>,
    /// Years that partition projection covers
    #[arg(long, value_name = "FROM-TO", default_value = "2020-2039")]
    years: Years,
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
    /// DuckDB.
    Duckdb,
}

/// `--keys`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum KeysArg {
    /// Four integers.
    Hour,
    /// One text.
    Dt,
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

/// Prints what an engine needs to read the parts.
pub(super) fn ddl(config: &Config, args: &DdlArgs) -> Result<u8> {
    check_range(args.since, args.until)?;
    let table = table(config, args)?;
    if args.glue {
        let text = serde_json::to_string_pretty(&table.glue(&hours(config, args, &table.place)?)?)
            .map_err(|e| Error::new(ErrorKind::Bug, "cannot encode the partitions").caused_by(e))?;
        print_bytes((text + "\n").as_bytes())?;
        return Ok(0);
    }
    let text = match args.engine {
        Some(Engine::Duckdb) => table.duckdb(endpoint(config, &table.place)?.as_ref())?,
        _ => table.athena()?,
    };
    print_bytes(text.as_bytes())?;
    Ok(0)
}

fn table(config: &Config, args: &DdlArgs) -> Result<Table> {
    let keys = match args.keys {
        KeysArg::Hour => Keys::Hour,
        KeysArg::Dt => Keys::Dt,
    };
    Ok(Table {
        database: args.database.clone(),
        name: args.table.clone(),
        place: place_named(config, args.location.as_deref())?,
        layout: config.load.layout.clone(),
        keys,
        serde: match args.serde {
            SerdeArg::Hive => Serde::Hive,
            SerdeArg::Openx => Serde::OpenX,
        },
        columns: Table::columns(&args.columns, keys)?,
        url: config.compact.url.clone(),
        method: config.compact.method.clone(),
        zone: config.hours.timezone_name().to_owned(),
        ahead: ahead(&config.hours.timezone, SystemClock.now()),
        years: args.years,
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
fn hours(config: &Config, args: &DdlArgs, place: &Destination) -> Result<BTreeSet<Hour>> {
    let place = setup::place_at(config, place)?;
    let mut hours = BTreeSet::new();
    place.store.list(&data_prefix(&place.prefix), &mut |key, _| {
        let hour = place.layout.parse_key(&place.prefix, key).map(|(hour, _)| hour);
        hours.extend(hour.filter(|hour| {
            args.since.is_none_or(|first| *hour >= first) && args.until.is_none_or(|last| *hour <= last)
        }));
        Ok(())
    })?;
    Ok(hours)
}
