//! The view over lines: each column is an expression over the row's JSON text, so a value that does not fit its column is NULL there
//! and never an error. The columns and their order are the same for every engine, and those of Parquet parts up to the last, which have
//! `extra` and `raw` in place of `inDate` and `line`; a dialect says how that engine spells an expression.
//!
//! Pure. Invariant: a text column holds a text as it is, and any other value but null as its JSON text; a column of another type holds
//! a value of just that type, not rounded and not parsed from a text; `line`, last, is the whole row.

mod duckdb;
mod event_time;
mod instant;
mod spark;
mod trino;

use std::fmt::Write as _;

pub(super) use duckdb::DuckDb;
pub(super) use spark::{Spark, quoted};
pub(super) use trino::Trino;

use super::Table;
use super::column::{Column, STRING, Type};
use crate::record::row::Codec;
use crate::record::schema;

/// The name of the column that holds the row.
pub(super) const LINE: &str = "line";
/// `inDate` as a timestamp.
pub(super) const EVENT_TIME: &str = "event_time";
/// `inDate` as it came, where it is in another form than the usual one: that one follows from the timestamp.
pub(super) const EVENT_TIME_TEXT: &str = "event_time_text";
/// The time as the row has it, where it is none of the columns.
const TIME: &str = "time_as_it_came";
/// The usual form.
const USUAL: &str = "^20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-5][0-9][.][0-9]{3}Z$";

/// How an engine spells what the view needs. A path is `$.name` or `$.name.inner`: names are letters, digits and `_`.
pub(super) trait Dialect {
    /// A name as an identifier.
    fn ident(&self, name: &str) -> String;
    /// A text as a literal.
    fn literal(&self, text: &str) -> String;
    /// A text or a number, as a text.
    fn scalar(&self, path: &str) -> String;
    /// A text as it is, any other value but null as its JSON text.
    fn text(&self, path: &str) -> String;
    /// What is stored at `raw`, else what `inverse` makes of the compact value; both give NULL for a null.
    fn raw_or(&self, raw: &str, inverse: &str) -> String {
        format!("coalesce({}, {inverse})", self.text(raw))
    }
    /// A value of a type that is neither a text, a time nor a struct; NULL for any other.
    fn value(&self, path: &str, ty: &Type) -> String;
    /// Whether an object is there.
    fn is_object(&self, path: &str) -> String;
    /// A struct of these expressions, in the order of its fields.
    fn pack(&self, ty: &Type, fields: &[(&str, String)]) -> String;
    /// 64 hex digits from two base64url UUIDs, the second half first; NULL for an empty text.
    fn uuid_pair(&self, text: &str) -> String;
    /// Hex digits from base64url; NULL for an empty text.
    fn hex(&self, text: &str) -> String;
    /// The instant that is so many microseconds after 1970, as a number.
    fn at_micros(&self, micros: &str) -> String;
    /// The instant that `text` spells, as [`crate::record`] reads it; NULL for none.
    fn instant(&self, text: &str, zone: &str) -> String;
    /// Whether a text matches a pattern.
    fn matches(&self, text: &str, pattern: &str) -> String {
        format!("regexp_like({text}, '{pattern}')")
    }
    /// A text as a date.
    fn date(&self, text: &str) -> String {
        format!("TRY_CAST({text} AS date)")
    }
}

/// The query behind the view, over the table `from` of lines and partition keys.
pub(super) fn query(table: &Table, dialect: &dyn Dialect, from: &str) -> String {
    let keys = table.key_names().iter().map(|key| (*key).to_owned());
    let text = dialect.ident(schema::IN_DATE);
    let mut inner = Vec::new();
    let (time, unusual) = match table.dating.is_at_in_date() {
        true => (text.clone(), format!("CASE WHEN NOT {} THEN {text} END", dialect.matches(&text, USUAL))),
        false => {
            inner.push(format!("{} AS {TIME}", event_time::place(table, dialect)));
            (TIME.to_owned(), event_time::no_text())
        }
    };
    let time = event_time::instant(dialect, &time, &table.dating, &table.zone);
    let mut outer = vec![format!("{time} AS {EVENT_TIME}"), format!("{unusual} AS {EVENT_TIME_TEXT}")];
    for column in &table.columns {
        let name = dialect.ident(&column.name);
        inner.push(format!("{} AS {name}", restored(table, dialect, column)));
        outer.push(name);
    }
    // Parquet parts have no column of it.
    if table.dating.is_at_in_date() {
        outer.retain(|name| *name != text);
        outer.push(text);
    }
    for plain in keys.chain([LINE.to_owned()]) {
        inner.push(plain.clone());
        outer.push(plain);
    }
    let (outer, inner) = (outer.join(",\n  "), inner.join(",\n    "));
    format!("SELECT\n  {outer}\nFROM (\n  SELECT\n    {inner}\n  FROM {from}\n) AS restored")
}

/// A field's original. What is stored beside a compact value comes before it; where that is null, the compact value is empty or 0.
fn restored(table: &Table, dialect: &dyn Dialect, column: &Column) -> String {
    let path = format!("$.{}", column.stored);
    let compact = || dialect.scalar(&path);
    let raw = || dialect.text(&format!("{path}_raw"));
    let codes = |codes: &std::collections::BTreeMap<String, i64>| {
        let cases = codes.iter().fold(String::new(), |mut cases, (text, code)| {
            let _ = write!(cases, " WHEN '{code}' THEN {}", dialect.literal(text));
            cases
        });
        // 0, the code of a text without one, is in no dictionary.
        if cases.is_empty() { raw() } else { format!("CASE {}{cases} ELSE {} END", compact(), raw()) }
    };
    let raw_or = |inverse: String| dialect.raw_or(&format!("{path}_raw"), &inverse);
    match &column.codec {
        // What is compact was a text: a column of another type has only what is stored in full.
        Some(_) if column.ty != STRING => typed(table, dialect, &format!("{path}_raw"), &column.ty),
        Some(Codec::UuidPair) => raw_or(dialect.uuid_pair(&compact())),
        Some(Codec::Hex) => raw_or(dialect.hex(&compact())),
        Some(Codec::Digits) => raw_or(from_digits(&compact())),
        Some(Codec::Dictionary(dictionary)) => codes(dictionary),
        None => typed(table, dialect, &path, &column.ty),
    }
}

fn typed(table: &Table, dialect: &dyn Dialect, path: &str, ty: &Type) -> String {
    match ty {
        Type::Plain("string", _) => dialect.text(path),
        Type::Plain("timestamp", _) => dialect.instant(&dialect.text(path), &table.zone),
        Type::Plain("date", _) => dialect.date(&dialect.text(path)),
        Type::Struct(fields) => {
            let of = |(name, ty): &(String, Type)| typed(table, dialect, &format!("{path}.{name}"), ty);
            let fields: Vec<(&str, String)> = fields.iter().map(|field| (field.0.as_str(), of(field))).collect();
            format!("CASE WHEN {} THEN {} END", dialect.is_object(path), dialect.pack(ty, &fields))
        }
        ty => dialect.value(path, ty),
    }
}

/// `2023-03-10T01:48:11.818Z` from `230310014811818`.
pub(super) fn from_digits(digits: &str) -> String {
    let part = |from: u8, length: u8| format!("substr({digits}, {from}, {length})");
    let pieces =
        [("'20'", 1, 2), ("'-'", 3, 2), ("'-'", 5, 2), ("'T'", 7, 2), ("':'", 9, 2), ("':'", 11, 2), ("'.'", 13, 3)];
    let pieces: Vec<String> = pieces.map(|(before, from, length)| format!("{before} || {}", part(from, length))).into();
    format!("{} || 'Z'", pieces.join(" || "))
}
