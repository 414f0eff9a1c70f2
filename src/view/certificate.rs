//! `etl status --hour`: an hour's certificate for people. Pure.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::table::{Align, Table, bytes, count, plural};
use crate::hour::Hour;
use crate::state::status::certificate::{Certificate, Ids, Part};

/// What is certified of `hour`.
pub(crate) fn text(certificate: &Certificate, hour: Hour) -> String {
    let verdict = if certificate.complete { "complete" } else { "not known to be complete" };
    let mut text = format!("hour {hour}: {verdict}\n");
    for doubt in &certificate.doubts {
        let _ = writeln!(text, "  {doubt}");
    }
    let sums = &certificate.sums;
    let at = |at: Option<Timestamp>| at.map_or_else(|| "–".to_owned(), |at| at.to_string());
    let sealed = certificate.parts.iter().map(|part| part.sealed_at).max();
    let _ = writeln!(text, "closed      {}", at(sums.closed_at));
    let _ = writeln!(text, "sealed      {}; uploaded {}", at(sealed), at(certificate.uploaded_at));
    let number = |n: Option<u64>| n.map_or_else(|| "–".to_owned(), count);
    let _ = writeln!(
        text,
        "records     {} in {}, {} late; {} received again, {} quarantined beside them",
        count(sums.rows),
        plural(certificate.parts.len() as u64, "part", "parts"),
        count(sums.late_parts),
        number(sums.duplicates),
        number(sums.quarantined)
    );
    let _ = writeln!(text, "inDate      {} to {}", sums.first, sums.last);
    text.push_str(&ids(sums.record_id.as_ref()));
    text.push('\n');
    text.push_str(&table(&certificate.parts));
    text
}

fn table(parts: &[Part]) -> String {
    let mut table = Table::new(&[
        ("PART", Align::Right),
        ("RECORDS", Align::Right),
        ("SIZE", Align::Right),
        ("SHA-256", Align::Left),
        ("KEY", Align::Left),
    ]);
    for part in parts {
        let (number, rows, size) = (part.part.to_string(), count(part.identity.rows), bytes(part.identity.bytes));
        table.row(vec![number, rows, size, part.identity.sha256.clone(), part.key.clone()]);
    }
    table.render()
}

fn ids(ids: Option<&Ids>) -> String {
    let Some(ids) = ids else {
        return "record_id   none: nothing tells whether logs are missing\n".to_owned();
    };
    let mut line = format!("record_id   {} to {}, {} never seen", ids.from, ids.to, count(ids.missing));
    for (n, hole) in ids.holes.iter().enumerate() {
        let _ = write!(line, "{} {hole}", if n == 0 { ":" } else { "," });
    }
    line.push('\n');
    line
}
