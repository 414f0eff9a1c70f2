//! The tokens of the shared quarantine, for those who look at them, drop them, or try them again.
//!
//! A token that can be read now is sent to its lane first, and taken out of the quarantine when that is acknowledged. A crash in between
//! leaves it in both: tried again, its record is known. Nothing else is changed.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::feed::{Feed, Flow};
use super::kafka::{Admin, Connection, Producer, Reader};
use super::names::Names;
use super::odd::{Gathered, of_key};
use super::outbox::Outbox;
use super::settings::ClusterSettings;
use super::split::{Lanes, Origin};
use super::{chunks::Headers, start, status_log};
use crate::config::ClusterConfig;
use crate::error::Result;
use crate::job::token_of_a_record;
use crate::page::decode::{Decoded, Decoder};
use crate::state::pages::quarantine::{Identity, OddToken};
use crate::stop::Stop;

/// What messages of records say of their page, where it is none.
const NO_PAGE: Origin = Origin { partition: -1, offset: 0 };
/// Tokens that are taken out of the quarantine at a time.
const AT_ONCE: usize = 1000;

/// What is in the topic: tokens, and the keys of their messages.
#[derive(Default)]
struct There {
    tokens: Vec<OddToken>,
    keys: BTreeMap<Identity, Vec<(i32, Vec<u8>)>>,
}

/// The brokers, as this is about them.
struct Place {
    connection: Connection,
    names: Names,
}

impl Place {
    fn of(config: &ClusterConfig) -> Result<Self> {
        Ok(Self { connection: Connection::new(config)?, names: Names::new(&config.name) })
    }

    fn read(&self, stop: &Stop) -> Result<There> {
        let (topic, admin) = (self.names.quarantine(), Admin::new(&self.connection)?);
        let (mut reader, mut there) = (Reader::new(&self.connection)?, There::default());
        for (partition, (low, end)) in admin.ends(&topic)? {
            if low == end {
                continue;
            }
            let (mut gathered, keys) = (Gathered::default(), &mut there.keys);
            Feed::open(&mut reader, &topic, partition, None, stop)?.each(&mut |message| {
                gathered.take(message.key(), |name| message.header(name), message.payload());
                if let Some((identity, _)) = of_key(message.key()).filter(|_| message.payload().is_some()) {
                    let keys = keys.entry(identity).or_default();
                    let key = (partition, message.key().to_vec());
                    if !keys.contains(&key) {
                        keys.push(key);
                    }
                }
                Ok(Flow::On)
            })?;
            there.tokens.extend(gathered.tokens());
        }
        there.tokens.sort_by_key(|token| token.received);
        Ok(there)
    }

    /// Takes tokens out of the quarantine. Durable on return.
    fn take_out(&self, outbox: &dyn Outbox, there: &There, tokens: &[&OddToken]) -> Result<()> {
        let topic = self.names.quarantine();
        for some in tokens.chunks(AT_ONCE) {
            for (partition, key) in some.iter().filter_map(|token| there.keys.get(&token.identity())).flatten() {
                outbox.send(&topic, *partition, key, &Headers::default(), None)?;
            }
            outbox.settle()?;
        }
        Ok(())
    }
}

/// Hands every token to `each`, oldest first.
///
/// # Errors
/// Those of the brokers, and whatever `each` returns.
pub(crate) fn each(config: &ClusterConfig, each: &mut dyn FnMut(OddToken) -> Result<()>) -> Result<()> {
    Place::of(config)?.read(&Stop::new())?.tokens.into_iter().try_for_each(each)
}

/// Drops the tokens with this reason for good, and returns how many they were.
///
/// # Errors
/// Those of the brokers.
pub(crate) fn drop_reason(config: &ClusterConfig, reason: &str) -> Result<u64> {
    let place = Place::of(config)?;
    let there = place.read(&Stop::new())?;
    let tokens: Vec<&OddToken> = there.tokens.iter().filter(|token| token.reason == reason).collect();
    place.take_out(&Producer::new(&place.connection)?, &there, &tokens)?;
    Ok(tokens.len() as u64)
}

/// Tries all tokens again: those that `decoder` can read go to their lanes. Returns how many.
///
/// # Errors
/// Those of the brokers. What was sent by then is known when it is sent again.
pub(crate) fn retry(config: &ClusterConfig, decoder: &Decoder, now: Timestamp, stop: &Stop) -> Result<u64> {
    let place = Place::of(config)?;
    let values = status_log::read_all(&place.connection)?;
    let settings = ClusterSettings::read(&values)?.ok_or_else(|| start::not_there(&place.names))?;
    let (there, outbox) = (place.read(stop)?, Producer::new(&place.connection)?);
    let mut lanes = Lanes::new(place.names.lanes(settings.epoch), settings.lanes);
    let mut read = Vec::new();
    for odd in &there.tokens {
        if stop.is_requested() {
            break;
        }
        let Some(token) = token_of_a_record(decoder, odd, now) else { continue };
        let (mut decoded, mut is_too_long) = (Decoded::default(), false);
        decoder.token(&token, now, &mut decoded);
        lanes.put(&outbox, NO_PAGE, now, &decoded, &mut |_| is_too_long = true)?;
        if !is_too_long {
            read.push(odd);
        }
    }
    lanes.finish(&outbox)?;
    Outbox::settle(&outbox)?;
    // If the epoch has ended, nobody reads the lanes to which these records went: the tokens have to stay in the quarantine.
    ClusterSettings::check_epoch(&place.connection, &outbox, settings.epoch)?;
    place.take_out(&outbox, &there, &read)?;
    Ok(read.len() as u64)
}
