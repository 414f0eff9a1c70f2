//! A record as a row and back, without loss.
//!
//! Fields with a codec have a compact form, all others pass through: 64 lower-case hexadecimal digits as two base64url UUIDs, the second
//! half first; hexadecimal digits as base64url; a text as a code of a dictionary; a time as its digits without the century. Invariant: a
//! compact value stands alone only where its inverse gives the original back. Otherwise `<field>_raw`, right after it, holds the original,
//! and the compact value is what the origin's function gives, or `0` or `""` where it gives nothing. A record's own key of the form
//! `url_raw`, `url_raw_raw` … gets one more `_raw`, so that the two cannot be confused. Field order is kept. S3 stores rows: this must
//! never change. Pure.

mod codecs;
mod codes;
mod columns;
mod digits;
mod hex;
mod restore;
#[cfg(test)]
mod tests;
mod uuid_pair;

use std::borrow::Cow;

pub use codecs::{Codec, Codecs};
pub(crate) use digits::usual_digits;

use crate::record::{Value, json};
use columns::Columns;

const RAW: &str = "_raw";

/// Turns records into rows and back, with one set of codecs.
#[derive(Debug)]
pub struct Compactor {
    codecs: Codecs,
    columns: Columns,
}

impl Compactor {
    /// A compactor with these codecs.
    #[must_use]
    pub fn new(codecs: &Codecs) -> Self {
        Self { codecs: codecs.clone(), columns: Columns::new(codecs) }
    }

    /// Its codecs.
    #[must_use]
    pub const fn codecs(&self) -> &Codecs {
        &self.codecs
    }

    /// Appends the row of the record with these `fields` to `out`: one JSON object, no line end.
    pub fn write_row(&self, fields: &[(Cow<'_, str>, Value<'_>)], out: &mut Vec<u8>) {
        out.push(b'{');
        for (n, (key, value)) in fields.iter().enumerate() {
            if n > 0 {
                out.push(b',');
            }
            match self.columns.named(key) {
                Some(column) => column.write(value, out),
                None => self.write_own(key, value, out),
            }
        }
        out.push(b'}');
    }

    /// A field without a compact form.
    fn write_own(&self, key: &str, value: &Value<'_>, out: &mut Vec<u8>) {
        json::write_text(key, out);
        if self.columns.looks_raw(key) {
            // Before the closing quote.
            out.pop();
            out.extend_from_slice(b"_raw\"");
        }
        out.push(b':');
        json::write(value, out);
    }
}
