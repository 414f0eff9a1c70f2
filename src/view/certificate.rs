//! `etl hours`: an hour's certificate for people, and hours line by line. Pure.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;

use super::table::{Align, Table, bytes, count, plural};
use crate::hour::Hour;
use crate::hour::verdict::Verdict;
use crate::state::status::certificate::{Certificate, Ids, Part, Sums};

/// What is certified of `hour`.
pub(crate) fn text(certificate: &Certificate, hour: Hour) -> String {
    let (verdict, reason) = (certificate.verdict, &certificate.reason);
    let mut text = format!("hour {hour} {}: {verdict}\n  {reason}\n", certificate.timezone);
    for doubt in certificate.doubts.iter().filter(|doubt| !reason.contains(doubt.as_str())) {
        let _ = writeln!(text, "  also: {doubt}");
    }
    if let Some(sums) = &certificate.sums {
        text.push_str(&of_sums(certificate, sums));
        text.push('\n');
        text.push_str(&table(&certificate.parts));
    }
    text
}

fn of_sums(certificate: &Certificate, sums: &Sums) -> String {
    let mut text = String::new();
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
    text + &ids(sums.record_id.as_ref())
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
        return "record_id   none\n".to_owned();
    };
    let mut line = format!("record_id   {} to {}, {} never seen", ids.from, ids.to, count(ids.missing));
    for (n, hole) in ids.holes.iter().enumerate() {
        let _ = write!(line, "{} {hole}", if n == 0 { ":" } else { "," });
    }
    line.push('\n');
    line
}

/// The line above those of hours in the zone of this name.
pub(crate) fn head(zone: &str) -> String {
    format!("{:<13}  {:<10}  {:>9}  WHY (times in {zone})\n", "HOUR", "VERDICT", "RECORDS")
}

/// An hour on a line of its own. The zone is named above, and not with each time.
pub(crate) fn line(certificate: &Certificate, hour: Hour, records: u64) -> String {
    let style = style(certificate.verdict);
    let reason = certificate.reason.replace(&format!(" {}", certificate.timezone), "");
    format!("{hour}  {style}{:<10}{style:#}  {:>9}  {reason}\n", certificate.verdict, count(records))
}

const fn style(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Complete => AnsiColor::Green.on_default(),
        Verdict::Incomplete => AnsiColor::Red.on_default(),
        Verdict::Unproven => AnsiColor::Yellow.on_default(),
        Verdict::Pending => AnsiColor::Cyan.on_default(),
        Verdict::Open => Style::new(),
    }
}
