//! What a part is, and what the ledger knows of it.
//!
//! Pure. [`PartIdentity`] is spelled here once; each place that is about parts adds to it what it needs. Its fields lie flat in
//! the ledger's rows, in certificates and in manifests.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::hour::range::HashRange;

/// What tells a part from every other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartIdentity {
    /// Records in it.
    pub rows: u64,
    /// The object's size.
    pub bytes: u64,
    /// SHA-256 of the object, hex.
    pub sha256: String,
    /// SHA-256 of the uncompressed content, hex.
    pub content_sha256: String,
}

impl PartIdentity {
    /// Whether both hold the same records. Another build may compress them to other bytes.
    #[must_use]
    pub(crate) fn has_records_of(&self, other: &Self) -> bool {
        self.content_sha256 == other.content_sha256 && self.rows == other.rows
    }
}

/// Where a part is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PartStage {
    /// Intent durable, bytes in the spool, no receipt.
    Sealing,
    /// Receipt durable.
    Uploaded,
    /// It had its receipt, and its object is gone for good: deleted by a lifecycle rule, or given up by a person.
    Expired,
}

/// A part's ledger row. Kept for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartRow {
    /// Its number within the hour, from 0.
    pub part: u32,
    /// Where it is in its life.
    pub stage: PartStage,
    /// The object's key.
    pub key: String,
    /// Which part. After the receipt `sha256` and `bytes` are those of the object in the store.
    #[serde(flatten)]
    pub identity: PartIdentity,
    /// Which dictionaries it was compacted with.
    pub dict: String,
    /// The newest commit that it may hold records of; 0 for an imported part.
    pub through: u64,
    /// The first and the last event time in it.
    pub first: Timestamp,
    /// See `first`.
    pub last: Timestamp,
    /// When it was frozen, or imported.
    pub frozen_at: Timestamp,
    /// When its receipt was written.
    pub uploaded_at: Option<Timestamp>,
    /// The store's entity tag; no identity.
    pub etag: Option<String>,
    /// When it was given up: its object is gone for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expired_at: Option<Timestamp>,
    /// Which hashes its records may have: those of the lane that wrote it. All, where a machine worked alone.
    #[serde(default, skip_serializing_if = "HashRange::is_all")]
    pub range: HashRange,
    /// The number under which its bytes are in the spool, where it got another one since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spooled_as: Option<u32>,
}

impl PartRow {
    /// The number under which its bytes are in the spool.
    #[must_use]
    pub fn spool_number(&self) -> u32 {
        self.spooled_as.unwrap_or(self.part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ledger_row_of_a_part_is_pinned() {
        let text = r#"{"part":0,"stage":"sealing","key":"k","rows":3,"bytes":18446744073709551615,"sha256":"s","content_sha256":"c","dict":"d","through":7,"first":"2023-03-10T01:00:00Z","last":"2023-03-10T01:59:59.999999999Z","frozen_at":"2023-03-10T02:10:00Z","uploaded_at":null,"etag":null}"#;
        let row: PartRow = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&row).unwrap(), text);
        assert_eq!((row.identity.rows, row.identity.bytes), (3, u64::MAX));
        let gone = PartRow { stage: PartStage::Expired, expired_at: Some(Timestamp::UNIX_EPOCH), ..row };
        let text = serde_json::to_string(&gone).unwrap();
        assert!(text.contains(r#""stage":"expired""#), "{text}");
        assert!(text.ends_with(r#","etag":null,"expired_at":"1970-01-01T00:00:00Z"}"#), "{text}");
        assert_eq!(serde_json::from_str::<PartRow>(&text).unwrap(), gone);
    }
}
