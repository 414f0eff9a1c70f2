//! What an object says of itself, in the metadata of its footer: how its columns give the records back.
//!
//! Pure. Invariant: an object is read by what it says itself, not by today's configuration, so parts from before a column was added are
//! read like any other. Engines ignore it.

use serde::{Deserialize, Serialize};

/// The key of the metadata.
pub(super) const KEY: &str = "etl";
/// The form of these objects. A higher number is written by a newer program.
pub(super) const VERSION: u32 = 1;

/// The metadata.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct About {
    pub(super) version: u32,
    /// The field with the time's text.
    pub(super) time: Option<String>,
    /// All columns, as they stand.
    pub(super) columns: Vec<String>,
    /// The names of fields in the order of most records.
    pub(super) order: Vec<String>,
    /// The id of the dictionaries that the lines are compact by.
    pub(super) dict: String,
    /// These dictionaries, as they are stored beside the parts.
    pub(super) dictionaries: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_pinned() {
        let text = r#"{"version":1,"time":"inDate","columns":["event_time"],"order":["user_id","inDate"],"dict":"00","dictionaries":"{}\n"}"#;
        let about: About = serde_json::from_str(text).unwrap();
        assert_eq!(about.version, VERSION);
        assert_eq!(serde_json::to_string(&about).unwrap(), text);
    }
}
