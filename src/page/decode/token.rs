//! One element of a page: a token with a record in it, or an odd token and why.
//!
//! Pure. Invariant: a record is taken only if its line and its original can be read back.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use super::{Decoded, DecodedRecord, Decoder, FUTURE, WRONG_KEY};
use crate::page::decrypt::DecryptError;
use crate::record::{self, MAX_LINE, MAX_VALUES, Reason, ReasonKind, Record, Value, json};
use crate::source::PageShape;
use crate::state::Entry;
use crate::state::pages::quarantine::{Encoding, Identity, OddToken};

/// Escaping makes a text at most this many times longer: a control character becomes `\u0001`.
pub(super) const GROWTH: usize = 6;
/// What a row may have beyond the record's own JSON text: compact forms beside the values that they cannot replace.
pub(super) const ROW_EXTRA: usize = 1 << 10;
/// Larger working memory is not kept from record to record.
const WORTH_KEEPING: usize = 1 << 20;

impl Decoder {
    /// Decodes one token into `decoded`: a record, or an odd token.
    pub(crate) fn token(&self, token: &str, received: Timestamp, decoded: &mut Decoded) {
        match self.ring.decrypt(token) {
            Ok(plaintext) => {
                decoded.opened += 1;
                self.plaintext(token, &plaintext, received, decoded);
            }
            Err(e) => {
                decoded.refused += u64::from(e == DecryptError::WrongKey);
                let reason = match e {
                    DecryptError::WrongKey => WRONG_KEY,
                    DecryptError::Malformed => "malformed-token",
                };
                decoded.put_odd(odd(token.as_bytes(), token.to_owned(), received, (reason, e.to_string())));
            }
        }
    }

    fn plaintext(&self, token: &str, plaintext: &[u8], received: Timestamp, decoded: &mut Decoded) {
        let read = self.read(plaintext).and_then(|record| within_a_line(plaintext, record));
        match read {
            Ok(record) => match self.comes_due(&record, received) {
                None => {
                    if let Err(reason) = self.take(&record, decoded) {
                        decoded.put_odd(odd(
                            plaintext,
                            token.to_owned(),
                            received,
                            (reason.kind(), reason.to_string()),
                        ));
                    }
                }
                Some(due) => {
                    let why = format!("its {} {} is too far ahead of its receipt", self.schema.time_name(), record.at);
                    let odd = odd(plaintext, token.to_owned(), received, (FUTURE, why));
                    decoded.put_odd(OddToken { due: Some(due), ..odd });
                }
            },
            Err(reason) => {
                let why = (reason.kind(), record::explain(plaintext, &reason, &self.schema));
                decoded.put_odd(odd(plaintext, token.to_owned(), received, why));
            }
        }
    }

    /// Reads a plaintext as a record.
    ///
    /// # Errors
    /// Why it is not a record.
    pub(crate) fn read<'p>(&self, plaintext: &'p [u8]) -> Result<Record<'p>, Reason> {
        match self.shape.is_encrypted {
            true => record::read(plaintext, &self.schema),
            false => record::read_plain(plaintext, &self.schema),
        }
    }

    /// When a record that is too far ahead of its receipt comes due. `None`: it is not.
    fn comes_due(&self, record: &Record<'_>, received: Timestamp) -> Option<Timestamp> {
        let due = record.at.checked_sub(self.max_future).unwrap_or(Timestamp::MIN);
        (due > received).then_some(due)
    }

    /// Takes a record, if its row can be read back: compact values stand beside those that they cannot replace.
    fn take(&self, record: &Record<'_>, decoded: &mut Decoded) -> Result<(), Reason> {
        let hash = record::content_hash(&record.fields, &mut decoded.scratch);
        decoded.scratch.shrink_to(WORTH_KEEPING);
        let start = decoded.lines.len();
        self.compactor.write_row(&record.fields, &mut decoded.lines);
        let length = decoded.lines.len() - start;
        if length >= MAX_LINE {
            decoded.lines.truncate(start);
            return Err(too_long());
        }
        // A line has at most 64 MiB: far below 4 GB.
        let entry = Entry::new(hash, record.at, u32::try_from(length).unwrap_or(u32::MAX));
        let id = self.schema.id_of(&record.fields).and_then(whole_number);
        decoded.records.push(DecodedRecord { hour: record.hour, entry, id });
        Ok(())
    }
}

/// Up to this number a float can be each whole number.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A value as the source's rising number: an integer, or a text or a float that spells one.
pub(super) fn whole_number(value: &Value<'_>) -> Option<i64> {
    match value {
        Value::Int(digits) | Value::Str(digits) => digits.parse().ok(),
        // As text, because a cast would hide what does not fit.
        Value::Float(number) if number.fract() == 0.0 && number.abs() <= EXACT => format!("{number:.0}").parse().ok(),
        _ => None,
    }
}

/// The record, if it can be read back: neither its row nor its original is longer than a line may be.
fn within_a_line<'r>(plaintext: &[u8], record: Record<'r>) -> Result<Record<'r>, Reason> {
    if plaintext.len() > MAX_VALUES && record::count_values(&record.fields) > MAX_VALUES {
        return Err(Reason::too_many_values());
    }
    let most = MAX_LINE - ROW_EXTRA;
    if plaintext.len() <= most / GROWTH || json::length(&record.fields, most) <= most {
        return Ok(record);
    }
    Err(too_long())
}

const fn too_long() -> Reason {
    Reason::new(ReasonKind::TooLarge, "its line would be longer than the 64 MiB that a line may have")
}

/// An element without a token.
pub(super) fn without_token(bytes: &[u8], received: Timestamp, shape: &PageShape) -> OddToken {
    let (token, encoding) = match std::str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), None),
        Err(_) => (STANDARD.encode(bytes), Some(Encoding::Base64)),
    };
    let odd = odd(bytes, token, received, ("no-token", what_is_missing(shape)));
    OddToken { encoding, ..odd }
}

fn what_is_missing(shape: &PageShape) -> String {
    let what = if shape.is_encrypted { "text" } else { "object or text" };
    match (shape.token.steps(), shape.is_encrypted) {
        ([], true) => "the element is no text".to_owned(),
        ([], false) => "the element is no JSON object".to_owned(),
        ([name], _) => format!("the element has no {what} under {name:?}, or is no JSON"),
        (_, _) => format!("the element has no {what} at {:?}, or is no JSON", shape.token.to_string()),
    }
}

/// An odd token whose identity is that of `of`: its plaintext, or else itself.
fn odd(of: &[u8], token: String, received: Timestamp, (reason, detail): (&str, String)) -> OddToken {
    let (identity, reason) = (Identity::of(of).to_string(), reason.to_owned());
    OddToken { identity, reason, detail, token, encoding: None, received, due: None }
}
