//! An hour's certificate: what the ledger says of it, and whether anything is known to be missing. Also the manifest that is
//! published beside each part.
//!
//! Pure. A manifest depends only on the ledger's row at the upload of its part, so one that is made again after a crash is the
//! same, byte for byte.

use jiff::Timestamp;
use serde::Serialize;

use crate::hour::Hour;
use crate::hour::gaps::Gap;
use crate::hour::lifecycle::HourRow;
use crate::hour::part::{PartIdentity, PartRow};
use crate::hour::tally::within;
use crate::output::numbers::plural;

/// What is known of an hour's records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Sums {
    /// When it closed: its end and the grace. `None`: an older etl did not record it, or the hour was only imported.
    pub(crate) closed_at: Option<Timestamp>,
    pub(crate) rows: u64,
    /// Records that were received again, and dropped.
    pub(crate) duplicates: Option<u64>,
    /// Tokens that were quarantined from pages that brought records of the hour: each may be one of them.
    pub(crate) quarantined: Option<u64>,
    /// Parts that were sealed after the first ones, with records that came late.
    pub(crate) late_parts: u64,
    /// The first and the last event time in it.
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    /// The source's numbers, where its records have any.
    pub(crate) record_id: Option<Ids>,
}

/// The source's numbers in an hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Ids {
    pub(crate) from: i64,
    pub(crate) to: i64,
    /// Ids between them, or next to them, that never came.
    pub(crate) missing: u64,
    /// The first of their ranges.
    pub(crate) holes: Vec<Gap>,
}

/// A part of the hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Part {
    pub(crate) part: u32,
    pub(crate) key: String,
    #[serde(flatten)]
    pub(crate) identity: PartIdentity,
    /// The first and the last event time in it.
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    pub(crate) sealed_at: Timestamp,
}

/// What is certified of an hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Certificate {
    /// Whether all is uploaded, and nothing is known to be missing.
    pub(crate) complete: bool,
    /// What stands in the way of that.
    pub(crate) doubts: Vec<String>,
    #[serde(flatten)]
    pub(crate) sums: Sums,
    /// When its last part got its receipt; `None` while one has none.
    pub(crate) uploaded_at: Option<Timestamp>,
    pub(crate) parts: Vec<Part>,
}

/// What is published beside a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Manifest {
    pub(crate) schema: u32,
    pub(crate) hour: Hour,
    #[serde(flatten)]
    pub(crate) part: Part,
    /// The hour, as of this part.
    pub(crate) hour_so_far: Sums,
}

impl Sums {
    /// `gaps`: those of now. Where they are not known, those of the last freeze count. `None`: the hour has no parts.
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
            rows: row.parts.iter().map(|part| part.identity.rows).sum(),
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
            identity: row.identity.clone(),
            first: row.first,
            last: row.last,
            sealed_at: row.frozen_at,
        }
    }
}

impl Manifest {
    /// The manifest of a part of `row`, whose object has this digest and size. `None`: the hour has no parts.
    pub(crate) fn of(row: &HourRow, part: &PartRow, sha256: &str, bytes: u64) -> Option<Self> {
        let mut part = Part::of(part);
        (part.identity.sha256, part.identity.bytes) = (sha256.to_owned(), bytes);
        Some(Self { schema: 1, hour: row.hour, part, hour_so_far: Sums::of(row, None)? })
    }
}

impl Certificate {
    /// The certificate of an hour with `pending` records. `gaps`: those of now, where all of them are known.
    /// `None`: the hour has no parts.
    pub(crate) fn of(row: &HourRow, pending: u64, gaps: Option<&[Gap]>) -> Option<Self> {
        let sums = Sums::of(row, gaps)?;
        let uploaded_at =
            if row.is_sealing() { None } else { row.uploaded().filter_map(|part| part.uploaded_at).max() };
        let mut doubts = doubts(&sums, pending);
        let gone = row.expired().count() as u64;
        if gone > 0 {
            doubts.push(format!("{} gone for good", plural(gone, "part is", "parts are")));
        }
        let parts = row.parts.iter().map(Part::of).collect();
        Some(Self { complete: doubts.is_empty() && uploaded_at.is_some(), doubts, sums, uploaded_at, parts })
    }
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
