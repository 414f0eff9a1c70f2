//! An odd token: one that is not a record (yet), with its bytes and the reason. Its JSON is a line of the quarantine's files.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::identity::Identity;

/// A token that is not a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OddToken {
    /// Hash of the plaintext, else of the token, hex: two tokens of one identity count once.
    pub identity: String,
    /// The code of the reason, which never changes.
    pub reason: String,
    /// The reason for people.
    pub detail: String,
    /// The token, or the element's JSON text where it has none.
    pub token: String,
    /// How `token` holds bytes that are not text; absent where it is the text itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
    /// When it was received.
    pub received: Timestamp,
    /// When a record of the future comes due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
}

/// How bytes that are not text are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// As standard base64.
    Base64,
}

impl OddToken {
    /// Its identity, as it is looked up.
    pub(crate) fn identity(&self) -> Identity {
        self.identity.parse().unwrap_or_else(|_| Identity::of(self.identity.as_bytes()))
    }
}
