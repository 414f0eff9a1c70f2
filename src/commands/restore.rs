//! `etl restore`: parts → the original logs. Needs read access to the store, and no state.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::progress;
use super::setup::{self, Place};
use crate::cli::RestoreArgs;
use crate::compact::Compactor;
use crate::config::{Config, Destination};
use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::key::data_prefix;
use crate::parts;
use crate::record::json;
use crate::seal::hex;

/// Writes the originals of the chosen hours to stdout, or one file an hour to a directory. A part that does not verify is
/// refused and named; the others are restored.
///
/// # Errors
/// The store could not be read, or the output not be written.
pub fn restore(config: &Config, args: &RestoreArgs, say: &dyn Fn(&Error)) -> Result<u8> {
    let (place, compactor) = (from(config, args)?, setup::compactor(config)?);
    let mut refused = false;
    for (hour, keys) in progress::hours(chosen(&place, args)?, args.out.is_none()) {
        let mut hour_text = Vec::new();
        for key in keys {
            match part(&place, &compactor, &key) {
                Ok(text) => hour_text.extend_from_slice(&text),
                Err(error) if error.kind() == ErrorKind::Mismatch => {
                    refused = true;
                    say(&error);
                }
                Err(error) => return Err(error),
            }
        }
        write(args.out.as_deref(), hour, &hour_text)?;
    }
    Ok(if refused { ErrorKind::Mismatch.exit_code() } else { 0 })
}

/// The place to read from: the one that is named, else the configured destination.
fn from(config: &Config, args: &RestoreArgs) -> Result<Place> {
    let Some(text) = &args.from else {
        return setup::place(config);
    };
    let cwd = std::env::current_dir()
        .map_err(|e| Error::new(ErrorKind::State, "cannot tell the current directory").caused_by(e))?;
    setup::place_at(config, &Destination::from_argument(text, &cwd)?)
}

/// The parts of the chosen hours, in order.
fn chosen(place: &Place, args: &RestoreArgs) -> Result<BTreeMap<Hour, Vec<String>>> {
    let wanted = |hour: Hour| {
        args.hour.is_none_or(|only| hour == only)
            && args.since.is_none_or(|first| hour >= first)
            && args.until.is_none_or(|last| hour <= last)
    };
    let mut hours: BTreeMap<Hour, Vec<String>> = BTreeMap::new();
    place.store.list(&data_prefix(&place.prefix), &mut |key, _| {
        if let Some((hour, _)) = place.layout.parse_key(&place.prefix, key)
            && wanted(hour)
        {
            hours.entry(hour).or_default().push(key.to_owned());
        }
        Ok(())
    })?;
    if hours.is_empty() {
        let what = format!("no part of the chosen hours in {}", place.store.place());
        return Err(Error::new(ErrorKind::Usage, what).hint("`etl status` and `etl verify` show which hours there are"));
    }
    Ok(hours)
}

/// The original logs of one part, verified on the way.
fn part(place: &Place, compactor: &Compactor, key: &str) -> Result<Vec<u8>> {
    let refuse = |why: String| Error::new(ErrorKind::Mismatch, format!("{key} is refused: {why}"));
    let found = place.store.head(key)?.ok_or_else(|| refuse("it is gone".to_owned()))?;
    let meta = found.meta.ok_or_else(|| refuse("it has no metadata of a part of ours".to_owned()))?;
    let object = place.store.get(key)?;
    if hex(&Sha256::digest(&object)) != meta.sha256 {
        return Err(refuse("its bytes are not those of its checksum".to_owned()));
    }
    let text = parts::lines(&object).map_err(|e| refuse(e.to_string()))?;
    if hex(&Sha256::digest(text.as_bytes())) != meta.content_sha256 || text.lines().count() as u64 != meta.rows {
        return Err(refuse("its content is not that of its checksum".to_owned()));
    }
    let mut originals = Vec::with_capacity(text.len() * 2);
    for (index, line) in text.lines().enumerate() {
        let fields = compactor.restore(line).map_err(|e| refuse(format!("line {}: {e}", index + 1)))?;
        json::write_fields(&fields, &mut originals);
        originals.push(b'\n');
    }
    Ok(originals)
}

fn write(out: Option<&Path>, hour: Hour, text: &[u8]) -> Result<()> {
    let Some(dir) = out else {
        return match std::io::stdout().lock().write_all(text) {
            Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(Error::new(ErrorKind::State, "cannot write to stdout").caused_by(e))
            }
            _ => Ok(()),
        };
    };
    fs::create_dir_all(dir).map_err(|e| Error::disk("create", dir, e))?;
    let path = dir.join(format!("{hour}.ndjson"));
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(&path);
    let written = file.and_then(|mut file| file.write_all(text).and_then(|()| file.sync_all()));
    written.map_err(|e| Error::disk("write", &path, e))
}
