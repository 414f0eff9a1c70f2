//! `etl check`: one record of the live page as it would be stored, and which configured place leads nowhere in it.
//!
//! Invariant: of a record that cannot be read only names and kinds are shown; of one that can, what would be stored, so what is dropped is
//! not there and what is masked is a mask.

use super::setup;
use crate::config::Config;
use crate::hour::Clock;
use crate::hour::SystemClock;
use crate::page::decode::{Decoded, Decoder};
use crate::page::parse::{self, Element};
use crate::page::recognise::parsed;
use crate::pointer::{Found, Pointer};
use crate::record::{Value, advice, json};
use crate::view::findings::Checked;

const NAME: &str = "record";
/// The longest record that is shown, in characters.
const SHOWN: usize = 600;

/// The step, where the page has a log that could be opened.
pub(super) fn step(config: &Config, body: &[u8]) -> Option<Checked> {
    let decoder = setup::decoder(config).ok()?;
    let decoded = decoder.page(body, SystemClock.now()).ok()?;
    let nowhere = nowhere(config, &decoder, body);
    match (stored(&decoded), nowhere.is_empty()) {
        (Some(stored), true) => Some(Checked::ok(NAME, stored)),
        (Some(stored), false) => {
            let fix = format!("correct the keys, if all logs are like this one: {}", nowhere.join("; "));
            Some(Checked::warning(NAME, stored, fix))
        }
        (None, _) => {
            let odd = decoded.odd.first().filter(|_| !decoded.key_is_wrong())?;
            let why =
                if nowhere.is_empty() { odd.reason.clone() } else { format!("{}: {}", odd.reason, nowhere.join("; ")) };
            Some(Checked::warning(NAME, format!("no log of the page is a record: {why}"), advice(&odd.reason)))
        }
    }
}

/// The first record: its hour, and its row.
fn stored(decoded: &Decoded) -> Option<String> {
    let (record, row) = decoded.rows().next()?;
    let row = String::from_utf8_lossy(row);
    let mut shown: String = row.chars().take(SHOWN).collect();
    if shown.len() < row.len() {
        shown.push('…');
    }
    Some(format!("the first would be stored in hour {} as {shown}", record.hour))
}

/// The configured places that lead nowhere in the first log that can be opened, with what stands there instead.
fn nowhere(config: &Config, decoder: &Decoder, body: &[u8]) -> Vec<String> {
    let Some(log) = first_log(decoder, body) else { return Vec::new() };
    let record = &config.record;
    let id = record.id().map(|id| ("record.id", id));
    let edits = [("record.drop", &record.drop), ("record.mask", &record.mask)];
    let edits = edits.into_iter().flat_map(|(key, places)| places.iter().map(move |place| (key, place)));
    let places = [("record.time", &record.time)].into_iter().chain(id).chain(edits);
    places.filter_map(|(key, place)| missing(key, place, &log)).collect()
}

fn missing(key: &str, place: &Pointer, log: &[u8]) -> Option<String> {
    match place.find(log) {
        Found::Value(_) => None,
        Found::Missing(missing) => Some(format!("{key} {:?} leads nowhere: {missing}", place.to_string())),
    }
}

/// The first log of the page that is a dict, as JSON, before anything is dropped.
fn first_log(decoder: &Decoder, body: &[u8]) -> Option<Vec<u8>> {
    let tokens = parse::elements(body, &decoder.shape).ok()?;
    let mut opened = tokens.filter_map(|element| match element {
        Element::Token(token) => decoder.ring.decrypt(&token).ok(),
        Element::Odd(_) => None,
    });
    opened.find_map(|plaintext| {
        let Value::Dict(fields) = parsed(std::str::from_utf8(&plaintext).ok()?, !decoder.shape.is_encrypted)? else {
            return None;
        };
        let mut log = Vec::new();
        json::write_fields(&fields, &mut log);
        Some(log)
    })
}
