//! Which pages are being read, so that one that kills its reader stops no other.
//!
//! A note in the status topic, under `trying-<what is read>`. It is written, and acknowledged, before the first batch of a process; it has the
//! offset from which the batch was read. Who finds a note with the offset at which he starts knows that somebody died with that batch, and
//! reads it page by page, with a note of each; so who finds a note of a page knows that somebody died at it alone. A crash leaves a note
//! too many, which only makes a page wait for its turn.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cluster::chunks::Headers;
use crate::cluster::feed;
use crate::cluster::kafka::Reader;
use crate::cluster::outbox::Outbox;
use crate::digest::hex;
use crate::error::{Error, ErrorKind, Result};
use crate::stop::Stop;

/// What is being read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    /// What is committed.
    offset: i64,
    /// The page, where it is read alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    page: Option<String>,
}

/// The notes of all who route.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    topic: String,
    found: BTreeMap<String, Note>,
}

impl Notes {
    /// No notes, of the status `topic`.
    pub(crate) const fn new(topic: String) -> Self {
        Self { topic, found: BTreeMap::new() }
    }

    /// Reads the notes of those who were here before. `false`: it is time to stop.
    pub(crate) fn load(&mut self, reader: &mut Reader, stop: &Stop) -> Result<bool> {
        let Some(values) = feed::latest(reader, &self.topic, 0, stop)? else { return Ok(false) };
        self.found = values.into_iter().filter_map(|(key, value)| note(&key, &value)).collect();
        Ok(true)
    }

    /// Whether somebody died with what is read from `offset` on.
    pub(crate) fn is_suspect(&self, what: &str, offset: i64) -> bool {
        self.found.get(what).is_some_and(|note| note.offset == offset)
    }

    /// Whether somebody died at this page.
    pub(crate) fn died_at(&self, what: &str, page: [u8; 16]) -> bool {
        let noted = self.found.get(what).and_then(|note| note.page.as_deref());
        noted.is_some_and(|noted| noted == hex(&page))
    }

    /// Notes that what follows `offset` is about to be read, or this page alone. Durable on return.
    pub(crate) fn begin(&mut self, outbox: &dyn Outbox, what: &str, offset: i64, page: Option<[u8; 16]>) -> Result<()> {
        let note = Note { offset, page: page.map(|page| hex(&page)) };
        let json =
            serde_json::to_vec(&note).map_err(|e| Error::new(ErrorKind::Bug, "cannot encode a note").caused_by(e))?;
        self.put(outbox, what, Some(&json))
    }

    /// Notes that nothing is being read. What was found is forgotten.
    pub(crate) fn end(&mut self, outbox: &dyn Outbox, what: &str) -> Result<()> {
        self.found.remove(what);
        self.put(outbox, what, None)
    }

    fn put(&self, outbox: &dyn Outbox, what: &str, json: Option<&[u8]>) -> Result<()> {
        outbox.send(&self.topic, 0, format!("trying-{what}").as_bytes(), &Headers::default(), json)?;
        outbox.settle()
    }
}

fn note(key: &[u8], value: &[u8]) -> Option<(String, Note)> {
    let what = std::str::from_utf8(key).ok()?.strip_prefix("trying-")?;
    Some((what.to_owned(), serde_json::from_slice(value).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::outbox::tests::Kept;

    #[test]
    fn who_comes_next_knows_what_was_being_read() {
        let (kept, mut notes) = (Kept::default(), Notes::new("logs.status".to_owned()));
        let found = |kept: &Kept| {
            let last = kept.stored.borrow().last().cloned().unwrap();
            let found = last.payload.and_then(|value| note(&last.key, &value)).into_iter().collect();
            Notes { topic: String::new(), found }
        };
        notes.begin(&kept, "2", 40, None).unwrap();
        assert!(found(&kept).is_suspect("2", 40));
        assert!(!found(&kept).is_suspect("2", 41) && !found(&kept).is_suspect("1", 40));
        assert!(!found(&kept).died_at("2", [7; 16]));
        notes.begin(&kept, "2", 41, Some([7; 16])).unwrap();
        assert!(found(&kept).died_at("2", [7; 16]) && !found(&kept).died_at("2", [8; 16]));
        notes.end(&kept, "2").unwrap();
        assert!(!found(&kept).is_suspect("2", 41));
        assert_eq!(kept.stored.borrow()[0].payload.as_deref(), Some(&br#"{"offset":40}"#[..]));
        assert_eq!(kept.stored.borrow()[0].key, b"trying-2");
    }
}
