//! A page into records: decrypt, parse, date, hash, compact. Pure; several pages can be decoded at once.
//!
//! Invariant: every element of a page is either a record or an odd token with its reason; one bad token costs only itself.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::compact::Compactor;
use crate::decrypt::{DecryptError, KeyRing};
use crate::hour::Hour;
use crate::page::{self, Element, NotAPage};
use crate::quarantine::OddToken;
use crate::record::{self, ContentHash, Record, Scratch, Value};
use crate::state::Entry;

/// What decoding needs to know. Fixed for a run.
#[derive(Debug)]
pub struct Decoder {
    /// The keys.
    pub ring: KeyRing,
    /// The time zone of the hours.
    pub zone: TimeZone,
    /// The compaction.
    pub compactor: Compactor,
    /// Names the compaction's dictionaries in a part's metadata.
    pub dictionaries: String,
    /// How far ahead of its receipt a record may be.
    pub max_future: SignedDuration,
    /// The field with the source's rising number. Empty: none.
    pub sequence: String,
}

/// A record, ready to be committed: its hour, its index entry; its line is among [`Decoded::lines`].
#[derive(Debug, Clone, Copy)]
pub struct DecodedRecord {
    /// The event-time hour.
    pub hour: Hour,
    /// Hash, event time and length of the line.
    pub entry: Entry,
    /// The source's rising number, where it has one that fits.
    pub id: Option<i64>,
}

/// A decoded page.
#[derive(Debug, Default)]
pub struct Decoded {
    /// The records in the order of the page, duplicates included.
    pub records: Vec<DecodedRecord>,
    /// Their compact lines one behind the other, without newlines.
    pub lines: Vec<u8>,
    /// What is no record.
    pub odd: Vec<OddToken>,
    /// Elements of the page.
    pub elements: u64,
    /// Tokens that a key opened.
    opened: u64,
    /// Well-formed tokens that no key opened.
    refused: u64,
    /// The hash's working memory, kept from record to record.
    scratch: Scratch,
}

impl Decoded {
    /// Whether the key is wrong: there are tokens, and no key opens any of them.
    #[must_use]
    pub const fn key_is_wrong(&self) -> bool {
        self.opened == 0 && self.refused > 0
    }
}

impl Decoder {
    /// Decodes the page `body`, received at `received`.
    ///
    /// # Errors
    /// [`NotAPage`]: the body is no array of tokens.
    pub fn page(&self, body: &[u8], received: Timestamp) -> Result<Decoded, NotAPage> {
        let elements = page::parse(body)?;
        let mut decoded = Decoded { elements: elements.len() as u64, ..Decoded::default() };
        decoded.records.reserve(elements.len());
        for element in &elements {
            if let Element::Token(token) = element {
                self.token(token, received, &mut decoded);
            }
        }
        if elements.iter().any(|element| matches!(element, Element::Odd { .. })) {
            decoded.odd.extend(page::odd_texts(body, &elements).into_iter().map(|(_, text)| no_token(text, received)));
        }
        Ok(decoded)
    }

    /// Decodes one token into `decoded`: a record, or an odd token.
    pub fn token(&self, token: &str, received: Timestamp, decoded: &mut Decoded) {
        match self.ring.decrypt(token) {
            Ok(plaintext) => {
                decoded.opened += 1;
                self.plaintext(token, &plaintext, received, decoded);
            }
            Err(e) => {
                decoded.refused += u64::from(e == DecryptError::WrongKey);
                let reason = match e {
                    DecryptError::WrongKey => "wrong-key",
                    DecryptError::Malformed => "malformed-token",
                };
                let odd = OddToken {
                    identity: identity(token.as_bytes()),
                    reason: reason.into(),
                    detail: e.to_string(),
                    token: token.to_owned(),
                    received,
                    due: None,
                };
                decoded.odd.push(odd);
            }
        }
    }

    fn plaintext(&self, token: &str, plaintext: &[u8], received: Timestamp, decoded: &mut Decoded) {
        let odd = |reason: &str, detail: String, due| OddToken {
            identity: identity(plaintext),
            reason: reason.to_owned(),
            detail,
            token: token.to_owned(),
            received,
            due,
        };
        match record::read(plaintext, &self.zone) {
            Ok(record) => match self.comes_due(&record, received) {
                None => self.take(&record, decoded),
                Some(due) => {
                    let detail = format!("its inDate {} is too far ahead of its receipt", record.at);
                    decoded.odd.push(odd("future", detail, Some(due)));
                }
            },
            Err(reason) => decoded.odd.push(odd(reason.kind(), record::explain(plaintext, &reason), None)),
        }
    }

    /// When a record that is too far ahead of its receipt will no longer be.
    fn comes_due(&self, record: &Record<'_>, received: Timestamp) -> Option<Timestamp> {
        let due = record.at.checked_sub(self.max_future).unwrap_or(Timestamp::MIN);
        (due > received).then_some(due)
    }

    fn take(&self, record: &Record<'_>, decoded: &mut Decoded) {
        let start = decoded.lines.len();
        self.compactor.write_row(&record.fields, &mut decoded.lines);
        // A line is at most a few times its token, and a token at most a page: far below 4 GB.
        let length = u32::try_from(decoded.lines.len() - start).unwrap_or(u32::MAX);
        let hash = record::content_hash(&record.fields, &mut decoded.scratch);
        let entry = Entry::new(hash, record.at, length);
        decoded.records.push(DecodedRecord { hour: record.hour, entry, id: self.id(record) });
    }

    fn id(&self, record: &Record<'_>) -> Option<i64> {
        match record.fields.iter().find(|(key, _)| *key == self.sequence) {
            Some((_, value)) => whole_number(value),
            None => None,
        }
    }
}

/// The largest whole number up to which a float has each.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A value as a rising number: an integer, or a text or a float that spells one.
fn whole_number(value: &Value<'_>) -> Option<i64> {
    match value {
        Value::Int(digits) | Value::Str(digits) => digits.parse().ok(),
        // As text, because a cast would hide what does not fit.
        Value::Float(number) if number.fract() == 0.0 && number.abs() <= EXACT => format!("{number:.0}").parse().ok(),
        _ => None,
    }
}

/// An element without a token.
fn no_token(text: &str, received: Timestamp) -> OddToken {
    OddToken {
        identity: identity(text.as_bytes()),
        reason: "no-token".to_owned(),
        detail: "the element has no text under \"data\"".to_owned(),
        token: text.to_owned(),
        received,
        due: None,
    }
}

/// The identity of an odd token: 128 bits of BLAKE3, hex.
fn identity(bytes: &[u8]) -> String {
    let digest = blake3::hash(bytes);
    digest.as_bytes().first_chunk::<16>().map_or_else(String::new, |id| ContentHash(*id).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_of_a_record_may_be_spelled_as_text_or_float() {
        let number = |value| whole_number(&value);
        for (value, expected) in [
            (Value::Int("-5".into()), Some(-5)),
            (Value::Int("9223372036854775808".into()), None),
            (Value::Str("00042".into()), Some(42)),
            (Value::Str("42a".into()), None),
            (Value::Str(" 42".into()), None),
            (Value::Str("".into()), None),
            (Value::Float(42.0), Some(42)),
            (Value::Float(-0.0), Some(0)),
            (Value::Float(42.5), None),
            (Value::Float(1e300), None),
            (Value::Bool(true), None),
            (Value::Null, None),
        ] {
            assert_eq!(number(value.clone()), expected, "{value:?}");
        }
    }
}
