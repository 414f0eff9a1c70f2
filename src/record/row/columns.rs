//! The fields with a compact form, resolved once: by its name a field finds its column, or that it has none.
//!
//! A row is written field by field, so this is on the path of every field of every record. Columns are sorted by the length of their
//! names, and told apart by the first eight bytes: most fields are told by their length alone.

use std::borrow::Cow;

use super::codes::Codes;
use super::{Codec, Codecs, RAW, digits, hex, uuid_pair};
use crate::record::scan::word;
use crate::record::{Value, json};

/// Names of this length and longer ones are looked through together.
const LONG: usize = 32;

/// The columns, and where those with names of each length begin.
#[derive(Debug)]
pub(super) struct Columns {
    columns: Vec<Column>,
    begins: [usize; LONG + 2],
}

/// A field with a compact form.
#[derive(Debug)]
pub(super) struct Column {
    name: String,
    /// The first eight bytes of the name.
    head: u64,
    /// `"name":`
    key: Vec<u8>,
    /// `"name_raw":`
    raw_key: Vec<u8>,
    codec: Resolved,
}

/// A codec, ready to be used.
#[derive(Debug)]
enum Resolved {
    UuidPair,
    Digits,
    Hex,
    Dictionary(Codes),
}

impl Columns {
    pub(super) fn new(codecs: &Codecs) -> Self {
        let mut columns: Vec<Column> = codecs.iter().map(|(name, codec)| Column::new(name, codec)).collect();
        columns.sort_by_key(|column| column.name.len());
        let mut begins = [0; LONG + 2];
        for (length, begin) in begins.iter_mut().enumerate() {
            *begin = match length > LONG {
                true => columns.len(),
                false => columns.iter().take_while(|column| column.name.len() < length).count(),
            };
        }
        Self { columns, begins }
    }

    /// The column of the field `key`.
    #[inline]
    pub(super) fn named(&self, key: &str) -> Option<&Column> {
        let length = key.len().min(LONG);
        let [from, to] = [length, length + 1].map(|length| self.begins.get(length).copied().unwrap_or_default());
        let mut found = self.columns.get(from..to)?.iter();
        found.find(|column| column.is_of(key))
    }

    /// Whether a record's own `key` gets one more `_raw`, because it looks like the key of an original.
    #[inline]
    pub(super) fn looks_raw(&self, key: &str) -> bool {
        key.ends_with(RAW) && self.named(key.trim_end_matches(RAW)).is_some()
    }
}

impl Column {
    fn new(name: &str, codec: &Codec) -> Self {
        let key = |suffix: &str| {
            let mut out = Vec::new();
            json::write_text(&format!("{name}{suffix}"), &mut out);
            out.push(b':');
            out
        };
        let codec = match codec {
            Codec::UuidPair => Resolved::UuidPair,
            Codec::Digits => Resolved::Digits,
            Codec::Hex => Resolved::Hex,
            Codec::Dictionary(dictionary) => Resolved::Dictionary(Codes::new(dictionary)),
        };
        Self { name: name.to_owned(), head: word(name.as_bytes()), key: key(""), raw_key: key(RAW), codec }
    }

    #[inline]
    fn is_of(&self, key: &str) -> bool {
        let has_same_head = self.head == word(key.as_bytes());
        has_same_head && (key.len() <= 8 && key.len() == self.name.len() || key == self.name)
    }

    /// Appends key and compact value, and the original after it where the compact value does not give it back.
    pub(super) fn write(&self, value: &Value<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.key);
        let stands_alone = match &self.codec {
            Resolved::UuidPair => uuid_pair::write(value, out),
            Resolved::Digits => digits::write(value, out),
            Resolved::Hex => hex::write(value, out),
            Resolved::Dictionary(codes) => codes.write(value, out),
        };
        if !stands_alone {
            out.push(b',');
            out.extend_from_slice(&self.raw_key);
            json::write(value, out);
        }
    }

    /// The original of a compact value that stands alone. `None`: there is none, or it is of another type.
    pub(super) fn inverse(&self, compact: &Value<'_>) -> Option<Value<'static>> {
        let text = match (&self.codec, compact) {
            (Resolved::UuidPair, Value::Str(text)) => uuid_pair::restore(text),
            (Resolved::Digits, Value::Str(text)) => digits::restore(text),
            (Resolved::Hex, Value::Str(text)) => hex::restore(text),
            (Resolved::Dictionary(codes), Value::Int(code)) => codes.text(code),
            _ => None,
        };
        text.map(|text| Value::Str(Cow::Owned(text)))
    }

    /// Whether `compact` is written before `raw`. A raw text may have got a code since then.
    pub(super) fn belongs(&self, compact: &Value<'_>, raw: &Value<'_>) -> bool {
        match (&self.codec, compact) {
            (Resolved::UuidPair, Value::Str(text)) => uuid_pair::belongs(text, raw),
            (Resolved::Digits, Value::Str(text)) => digits::belongs(text, raw),
            (Resolved::Hex, Value::Str(text)) => hex::belongs(text, raw),
            (Resolved::Dictionary(_), Value::Int(code)) => code == "0",
            _ => false,
        }
    }
}
