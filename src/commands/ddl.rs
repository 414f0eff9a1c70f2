//! `etl ddl`: configuration and flags → table and view as text.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::setup;
use crate::cli::ddl::{DdlArgs, Engine, KeysArg, SerdeArg};
use crate::config::{Config, Destination};
use crate::ddl::{Endpoint, Keys, Serde, Table};
use crate::error::{Error, ErrorKind, Result};
use crate::hour::{Clock, Hour, SystemClock};
use crate::key::data_prefix;

/// Prints what an engine needs to read the parts.
///
/// # Errors
/// `Usage`: the engine cannot read them there; for `--glue` those of the store.
pub fn ddl(config: &Config, args: &DdlArgs) -> Result<u8> {
    let table = table(config, args)?;
    if args.glue {
        let text = serde_json::to_string_pretty(&table.glue(&hours(config, args, &table.place)?)?)
            .map_err(|e| Error::new(ErrorKind::Bug, "cannot encode the partitions").caused_by(e))?;
        super::print_bytes((text + "\n").as_bytes())?;
        return Ok(0);
    }
    let text = match args.engine {
        Some(Engine::Duckdb) => table.duckdb(endpoint(config, &table.place)?.as_ref())?,
        _ => table.athena()?,
    };
    super::print_bytes(text.as_bytes())?;
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
        place: super::place_named(config, args.location.as_deref())?,
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
