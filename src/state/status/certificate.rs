//! An hour's certificate: what the ledger says of it, and whether anything is known to be missing. For people and auditors,
//! and as the manifest that is published beside each part.
//!
//! Reads only. A manifest depends on the ledger's row at its part's upload alone, so one that is made again after a crash is the
//! same, byte for byte.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use crate::hour::Hour;
use crate::hour::gaps::Gap;
use crate::hour::lifecycle::{HourRow, PartRow};
use crate::hour::tally::within;
use crate::view::table::{Align, Table, bytes, count, plural};

/// What is known of an hour's records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sums {
    /// When it closed: its end and the grace. `None`: an older etl did not record it, or the hour was only imported.
    pub closed_at: Option<Timestamp>,
    /// Records in its parts.
    pub rows: u64,
    /// Records that were received again, and dropped.
    pub duplicates: Option<u64>,
    /// Tokens that were quarantined from pages that brought records of the hour: each may be one of them.
    pub quarantined: Option<u64>,
    /// Parts that were sealed after the first ones, with records that came late.
    pub late_parts: u64,
    /// The first event time in it.
    pub first: Timestamp,
    /// The last event time in it.
    pub last: Timestamp,
    /// The source's numbers, where its records have any.
    pub record_id: Option<Ids>,
}

/// The source's numbers in an hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ids {
    /// The lowest.
    pub from: i64,
    /// The highest.
    pub to: i64,
    /// Ids between them, or next to them, that never came.
    pub missing: u64,
    /// The first of the ranges that those are in.
    pub holes: Vec<Gap>,
}

/// A part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Its number.
    pub part: u32,
    /// The object's key.
    pub key: String,
    /// Records in it.
    pub rows: u64,
    /// Size of the object.
    pub bytes: u64,
    /// SHA-256 of the object.
    pub sha256: String,
    /// SHA-256 of the lines in it.
    pub content_sha256: String,
    /// The first event time in it.
    pub first: Timestamp,
    /// The last event time in it.
    pub last: Timestamp,
    /// When it was sealed.
    pub sealed_at: Timestamp,
}

/// What is certified of an hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Certificate {
    /// Whether all is uploaded, and nothing is known to be missing.
    pub complete: bool,
    /// What stands in the way of that.
    pub doubts: Vec<String>,
    /// What is known of its records.
    #[serde(flatten)]
    pub sums: Sums,
    /// When its last part got its receipt; `None` while one has none.
    pub uploaded_at: Option<Timestamp>,
    /// Its parts.
    pub parts: Vec<Part>,
}

/// What is published beside a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Manifest {
    /// The version of this shape.
    pub schema: u32,
    /// The hour.
    pub hour: Hour,
    /// The part.
    #[serde(flatten)]
    pub part: Part,
    /// The hour, as of this part.
    pub hour_so_far: Sums,
}

impl Sums {
    /// `gaps`: those of now, where they are known; else those of the last freeze count. `None`: the hour has no parts.
    fn of(row: &HourRow, gaps: Option<&[Gap]>) -> Option<Self> {
        let certified = row.certified.as_ref();
        let ids = certified.and_then(|certified| {
            let (from, to) = certified.tally.ids?;
            let now = gaps.map(|gaps| within((from, to), gaps));
            let missing = now.as_ref().map(|gaps| gaps.iter().map(Gap::ids).fold(0, u64::saturating_add));
            let holes = now.unwrap_or_else(|| certified.holes.clone());
            Some(Ids { from, to, missing: missing.unwrap_or(certified.missing), holes })
        });
        let first_seal = row.parts.iter().map(|part| part.frozen_at).min()?;
        Some(Self {
            closed_at: certified.map(|certified| certified.closed_at),
            rows: row.parts.iter().map(|part| part.rows).sum(),
            duplicates: certified.map(|certified| certified.tally.duplicates),
            quarantined: certified.map(|certified| certified.tally.quarantined),
            late_parts: row.parts.iter().filter(|part| part.frozen_at > first_seal).count() as u64,
            first: row.parts.iter().map(|part| part.first).min()?,
            last: row.parts.iter().map(|part| part.last).max()?,
            record_id: ids,
        })
    }
}

impl Part {
    fn of(row: &PartRow) -> Self {
        Self {
            part: row.part,
            key: row.key.clone(),
            rows: row.rows,
            bytes: row.bytes,
            sha256: row.sha256.clone(),
            content_sha256: row.content_sha256.clone(),
            first: row.first,
            last: row.last,
            sealed_at: row.frozen_at,
        }
    }
}

impl Manifest {
    /// Of a part of `row` whose object has these bytes. `None`: the hour has no parts.
    #[must_use]
    pub fn of(row: &HourRow, part: &PartRow, sha256: &str, bytes: u64) -> Option<Self> {
        let part = Part { sha256: sha256.to_owned(), bytes, ..Part::of(part) };
        Some(Self { schema: 1, hour: row.hour, part, hour_so_far: Sums::of(row, None)? })
    }
}

impl Certificate {
    /// Of an hour of which so many records are pending. `gaps`: those of now, where all of them are known.
    /// `None`: the hour has no parts.
    #[must_use]
    pub fn of(row: &HourRow, pending: u64, gaps: Option<&[Gap]>) -> Option<Self> {
        let sums = Sums::of(row, gaps)?;
        let uploaded_at =
            if row.is_sealing() { None } else { row.uploaded().filter_map(|part| part.uploaded_at).max() };
        let doubts = doubts(&sums, pending);
        let parts = row.parts.iter().map(Part::of).collect();
        Some(Self { complete: doubts.is_empty() && uploaded_at.is_some(), doubts, sums, uploaded_at, parts })
    }

    /// For people.
    #[must_use]
    pub fn text(&self, hour: Hour) -> String {
        let verdict = if self.complete { "complete" } else { "not known to be complete" };
        let mut text = format!("hour {hour}: {verdict}\n");
        self.doubts.iter().for_each(|doubt| {
            let _ = writeln!(text, "  {doubt}");
        });
        let sums = &self.sums;
        let at = |at: Option<Timestamp>| at.map_or_else(|| "–".to_owned(), |at| at.to_string());
        let sealed = self.parts.iter().map(|part| part.sealed_at).max();
        let _ = writeln!(text, "closed      {}", at(sums.closed_at));
        let _ = writeln!(text, "sealed      {}; uploaded {}", at(sealed), at(self.uploaded_at));
        let number = |n: Option<u64>| n.map_or_else(|| "–".to_owned(), count);
        let _ = writeln!(
            text,
            "records     {} in {}, {} late; {} received again, {} quarantined beside them",
            count(sums.rows),
            plural(self.parts.len() as u64, "part", "parts"),
            count(sums.late_parts),
            number(sums.duplicates),
            number(sums.quarantined)
        );
        let _ = writeln!(text, "inDate      {} to {}", sums.first, sums.last);
        text.push_str(&ids(sums.record_id.as_ref()));
        text.push('\n');
        text.push_str(&self.table());
        text
    }

    fn table(&self) -> String {
        let mut table = Table::new(&[
            ("PART", Align::Right),
            ("RECORDS", Align::Right),
            ("SIZE", Align::Right),
            ("SHA-256", Align::Left),
            ("KEY", Align::Left),
        ]);
        for part in &self.parts {
            let (number, rows, size) = (part.part.to_string(), count(part.rows), bytes(part.bytes));
            table.row(vec![number, rows, size, part.sha256.clone(), part.key.clone()]);
        }
        table.render()
    }
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

fn doubts(sums: &Sums, pending: u64) -> Vec<String> {
    let mut doubts = Vec::new();
    if pending > 0 {
        doubts.push(format!("{} not uploaded yet", plural(pending, "record is", "records are")));
    }
    match &sums.record_id {
        Some(ids) if ids.missing > 0 => {
            doubts.push(format!("{} never seen, in it or at its edge", plural(ids.missing, "id was", "ids were")));
        }
        Some(_) => {}
        None => doubts.push("no ids of its records are known: nothing tells whether logs are missing".to_owned()),
    }
    if let Some(tokens) = sums.quarantined.filter(|tokens| *tokens > 0) {
        let tokens = plural(tokens, "token", "tokens");
        doubts.push(format!("{tokens} of its pages could not be read when they came: see the quarantine"));
    }
    doubts
}
