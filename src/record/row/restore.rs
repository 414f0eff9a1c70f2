//! Rows back into records: the inverse of [`Compactor::write_row`](super::Compactor::write_row).
//!
//! Pure. Invariant: a row that this program did not write is refused.

use std::borrow::Cow;
use std::iter::Peekable;

use super::columns::Column;
use super::{Compactor, RAW};
use crate::record::{Fields, Reason, ReasonKind, Value, json};

impl Compactor {
    /// The fields of the record that the row `line` was made of: same values, types and key order, a tuple as a list.
    ///
    /// # Errors
    /// `bad-row` for an unknown code, a malformed compact value, or an original that does not belong to the value before it; and those
    /// of [`json::parse`].
    pub fn restore<'a>(&self, line: &'a str) -> Result<Fields<'a>, Reason> {
        self.restore_and_tell(line).map(|(fields, _)| fields)
    }

    /// The same, and whether it is certain that [`write_row`](Self::write_row) gives `line` back: it is spelled as the writer spells it, and
    /// has no original that may have got a code since.
    pub(crate) fn restore_and_tell<'a>(&self, line: &'a str) -> Result<(Fields<'a>, bool), Reason> {
        let plain = json::plain(line);
        let mut is_certain = plain.is_some();
        let row = match plain {
            Some(row) => row,
            None => object(line)?,
        };
        let mut fields = Vec::with_capacity(row.len());
        let mut row = row.into_iter().peekable();
        while let Some((key, value)) = row.next() {
            fields.push(match self.columns.named(&key) {
                Some(column) => {
                    let raw = raw_after(&key, &mut row);
                    is_certain &= raw.is_none();
                    (key, original(column, &value, raw)?)
                }
                None if self.columns.looks_raw(&key) => (self.own_key(key)?, value),
                None => (key, value),
            });
        }
        Ok((fields, is_certain))
    }

    /// A record's own key, from a row's key with one more `_raw`.
    fn own_key<'a>(&self, key: Cow<'a, str>) -> Result<Cow<'a, str>, Reason> {
        let length = key.len() - RAW.len();
        let own = match key {
            Cow::Borrowed(key) => Cow::Borrowed(key.get(..length).unwrap_or_default()),
            Cow::Owned(mut key) => {
                key.truncate(length);
                Cow::Owned(key)
            }
        };
        if self.columns.looks_raw(&own) { Ok(own) } else { Err(bad("an original without its compact value")) }
    }
}

fn object(line: &str) -> Result<Fields<'_>, Reason> {
    match json::parse(line)? {
        Value::Dict(row) => Ok(row),
        _ => Err(bad("a row that is no JSON object")),
    }
}

fn original<'a>(column: &Column, compact: &Value<'a>, raw: Option<Value<'a>>) -> Result<Value<'a>, Reason> {
    match raw {
        None => column.inverse(compact).ok_or(bad("a compact value that its codec does not give")),
        Some(raw) if column.belongs(compact, &raw) => Ok(raw),
        Some(_) => Err(bad("an original that does not belong to its compact value")),
    }
}

/// The value of `<key>_raw`, if that comes next.
fn raw_after<'a>(key: &str, row: &mut Peekable<impl Iterator<Item = (Cow<'a, str>, Value<'a>)>>) -> Option<Value<'a>> {
    row.next_if(|(next, _)| next.strip_suffix(RAW) == Some(key)).map(|(_, raw)| raw)
}

const fn bad(what: &'static str) -> Reason {
    Reason::new(ReasonKind::BadRow, what)
}
