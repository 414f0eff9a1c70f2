//! The table of typed columns, behind `--serde`, and the view over it: quicker than lines, and only for rows whose values fit. Pure.

use super::column::{self, Column};
use super::dialect::{Dialect, EVENT_TIME, Trino};
use super::{Quoted, Serde, Table};
use crate::record::row::Codec;
use crate::record::schema;

/// Name, type and comment of every column of the rows.
pub(super) fn columns(table: &Table) -> Vec<(String, String, String)> {
    let mut columns = Vec::new();
    for column in &table.columns {
        let name = column.stored.to_ascii_lowercase();
        columns.push((name.clone(), column.stored_type().hive(), column.comment.to_owned()));
        if column.is_compact() {
            let comment = format!("the original, where {name} does not give it back");
            columns.push((format!("{name}_raw"), column::STRING.hive(), comment));
        }
    }
    columns
}

/// What its readers should know first.
pub(super) fn comment(serde: Serde) -> &'static [&'static str] {
    match serde {
        Serde::Hive => &[
            "A table of typed columns, read by Hive's JSON SerDe. One row that does not fit makes its whole hour unreadable",
            "(HIVE_CURSOR_ERROR): a text, a fraction or more than 64 bits in a column of integers, a list or an object in one of",
            "texts, a detail that is no object, a field whose name differs from another's in upper and lower case only. The table",
            "without --serde reads all of these.",
        ],
        Serde::OpenX => &[
            "A table of typed columns, read by OpenX's JSON SerDe. A value that does not fit its column is NULL or another value,",
            "without an error: a text, a fraction or more than 64 bits in a column of integers, a detail that is no object, a field",
            "whose name differs from another's in upper and lower case only. AWS warns that it can give other results from query to",
            "query. The table without --serde reads all of these.",
        ],
    }
}

/// The query behind the view, over the table `from`.
pub(super) fn query(table: &Table, from: &str) -> String {
    let engine = Trino { athena: true };
    let (mut outer, mut inner) = (Vec::new(), Vec::new());
    for column in &table.columns {
        let name = engine.ident(&column.name);
        inner.push(format!("{} AS {name}", original(column)));
        outer.push(name.clone());
        if column.name == schema::IN_DATE {
            outer.push(format!("{} AS {EVENT_TIME}", engine.instant(&name, &table.zone)));
        }
    }
    let keys = table.key_names().iter().map(|key| (*key).to_owned());
    outer.extend(keys.clone());
    inner.extend(keys);
    let (outer, inner) = (outer.join(",\n  "), inner.join(",\n    "));
    format!("SELECT\n  {outer}\nFROM (\n  SELECT\n    {inner}\n  FROM {from}\n) AS restored")
}

/// The original value of a field: the one that is stored in full beside the compact value, else that of the compact value.
fn original(column: &Column) -> String {
    let name = column.stored.to_ascii_lowercase();
    let raw = format!("{name}_raw");
    let codes = |codes: &std::collections::BTreeMap<String, i64>| {
        let cases: String = codes.iter().map(|(text, code)| format!(" WHEN {code} THEN {}", Quoted(text))).collect();
        if cases.is_empty() { raw.clone() } else { format!("coalesce({raw}, CASE {name}{cases} END)") }
    };
    match &column.codec {
        Some(Codec::UuidPair) => format!("coalesce({raw}, {})", Trino { athena: true }.uuid_pair(&name)),
        Some(Codec::Hex) => format!("coalesce({raw}, {})", Trino { athena: true }.hex(&name)),
        Some(Codec::Dictionary(dictionary)) => codes(dictionary),
        Some(Codec::Digits) => format!("coalesce({raw}, {})", super::dialect::from_digits(&name)),
        None => format!("\"{name}\""),
    }
}
