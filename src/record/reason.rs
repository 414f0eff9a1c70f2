//! Why a plaintext is no record. Names places and kinds, and quotes nothing of the log: logs may be private.

use std::fmt;

/// Why a plaintext is no record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    kind: &'static str,
    detail: String,
}

impl Reason {
    /// A reason of a stable `kind`, for machines, with its detail for people.
    pub(crate) fn new(kind: &'static str, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }

    /// It is no record: neither a Python dict nor a JSON object.
    pub(crate) fn not_a_record(detail: impl Into<String>) -> Self {
        Self::new("not-a-record", detail)
    }

    /// The stable code: `not-utf8`, `not-a-record`, `no-indate`, `bad-indate`, `not-a-row`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        self.kind
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Reason {}
