//! An hour's certificate: what the ledger says of it, and whether anything is known to be missing. Also the manifest that is
//! published beside each part.
//!
//! Pure: the verdict is made in [`crate::hour::verdict`]. A manifest depends only on the ledger's row at the upload of its part, so one that is made again after a crash is the
//! same, byte for byte.

use jiff::Timestamp;
use serde::Serialize;

use crate::hour::Hour;
use crate::hour::gaps::Gap;
use crate::hour::lifecycle::HourRow;
use crate::hour::part::{PartIdentity, PartRow, PartStage};
use crate::hour::range::HashRange;
use crate::hour::verdict::{Judgement, Verdict, Witness};

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
    pub(crate) verdict: Verdict,
    /// Why, in one sentence.
    pub(crate) reason: String,
    /// Whether the verdict is `complete`.
    pub(crate) complete: bool,
    /// All that stands in the way of that.
    pub(crate) doubts: Vec<String>,
    /// What shows that all of it came.
    pub(crate) witness: Option<Witness>,
    /// The name of the zone of the hours, and of the times in the reasons.
    pub(crate) timezone: String,
    /// `None`: it has no parts.
    #[serde(flatten)]
    pub(crate) sums: Option<Sums>,
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
    /// Which content hashes its records may have, where it is a lane's: the manifest speaks of this part alone.
    #[serde(skip_serializing_if = "HashRange::is_all")]
    pub(crate) range: HashRange,
    /// What could be claimed of the hour when this part was sealed.
    pub(crate) verdict: Verdict,
    /// Why, in one sentence.
    pub(crate) reason: String,
    /// What showed then that all of it had come.
    pub(crate) witness: Option<Witness>,
    /// The hour, as of this part.
    pub(crate) hour_so_far: Sums,
}

impl Sums {
    /// `gaps`: its gaps of now. Where they are not known, those of the last freeze count. `None`: the hour has no parts.
    fn of(row: &HourRow, gaps: Option<&[Gap]>) -> Option<Self> {
        let certified = row.certified.as_ref();
        let ids = certified.and_then(|certified| {
            let (from, to) = certified.tally.ids?;
            let missing = gaps.map(|gaps| gaps.iter().map(Gap::ids).fold(0, u64::saturating_add));
            let holes = gaps.map_or_else(|| certified.holes.clone(), <[Gap]>::to_vec);
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
        let range = part.range;
        let alone = HourRow { parts: vec![part.clone()], certified: None, ..row.clone() };
        let row = if range.is_all() { row } else { &alone };
        let (verdict, reason) = when_sealed(row, part);
        let witness = row.certified.as_ref().and_then(|certified| certified.witness);
        let witness = witness.filter(|_| verdict == Verdict::Complete);
        let mut part = Part::of(part);
        (part.identity.sha256, part.identity.bytes) = (sha256.to_owned(), bytes);
        let (hour, reason) = (row.hour, reason.to_owned());
        Some(Self { schema: 1, hour, part, range, verdict, reason, witness, hour_so_far: Sums::of(row, None)? })
    }
}

impl Certificate {
    /// The same, for an hour that closed at `closes` and whose parts are those of lanes: each seals for itself, and before the hour closes
    /// where it has much. What a lane sealed after its first sealing behind that came late.
    pub(crate) fn of_lanes(self, closes: Timestamp, row: Option<&HourRow>) -> Self {
        let after = || row.iter().flat_map(|row| &row.parts).filter(|part| part.frozen_at >= closes);
        let first = |range| after().filter(|part| part.range == range).map(|part| part.frozen_at).min();
        let late_parts = after().filter(|part| Some(part.frozen_at) > first(part.range)).count() as u64;
        Self { sums: self.sums.map(|sums| Sums { late_parts, ..sums }), ..self }
    }

    /// The certificate of an hour with this row, judged like this.
    pub(crate) fn of(row: Option<&HourRow>, judged: Judgement, timezone: &str) -> Self {
        let uploaded = row.filter(|row| !row.is_sealing());
        Self {
            complete: judged.verdict == Verdict::Complete,
            verdict: judged.verdict,
            reason: judged.reason,
            doubts: judged.doubts,
            witness: judged.witness,
            timezone: timezone.to_owned(),
            sums: row.and_then(|row| Sums::of(row, judged.gaps.as_deref())),
            uploaded_at: uploaded.and_then(|row| row.uploaded().filter_map(|part| part.uploaded_at).max()),
            parts: row.map_or_else(Vec::new, |row| row.parts.iter().map(Part::of).collect()),
        }
    }
}

/// What could be claimed of an hour when a part of it was sealed, by its row alone.
fn when_sealed(row: &HourRow, part: &PartRow) -> (Verdict, &'static str) {
    let is_waiting = |other: &&PartRow| other.part > part.part && other.stage == PartStage::Sealing;
    match &row.certified {
        None if !part.range.is_all() => {
            (Verdict::Unproven, "it is a lane's part: the cluster knows what is known of its hour")
        }
        None => (Verdict::Unproven, "nothing was counted of it"),
        Some(certified) if part.frozen_at < certified.closed_at => {
            (Verdict::Open, "it was not over, or still waited for late records, when this part was sealed")
        }
        Some(_) if row.parts.iter().find(is_waiting).is_some() => {
            (Verdict::Pending, "further parts of it were not in the store yet")
        }
        Some(certified) if certified.missing > 0 => {
            (Verdict::Incomplete, "ids had never come, in it or at its edge, when this part was sealed")
        }
        Some(certified) if certified.tally.quarantined > 0 => {
            (Verdict::Incomplete, "tokens that came with its records were no records")
        }
        Some(certified) if certified.witness.is_none() => {
            (Verdict::Unproven, "nothing showed, when this part was sealed, that all of it had come")
        }
        Some(_) => (Verdict::Complete, "all of it had come when this part was sealed: see the witness"),
    }
}
