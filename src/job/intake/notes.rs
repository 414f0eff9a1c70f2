//! Notes beside the journal that save asking for what is there: the tag of a page that is durable, and where a trail was interrupted.
//!
//! Owns `validator.json`, `trail.json`, and for a bounded backfill `window.json`. Not fsynced: after a power cut a page comes again, or a trail goes on earlier. In doubt there is
//! none: receiving a known page again costs little.

use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::source::paging::{Position, Values};
use crate::source::{PageUrl, Template};
use crate::state::Front;
use crate::state::files::durable;

/// A trail that was interrupted longer ago than this starts at its first page: its next page may have changed.
const RESUMED_WITHIN: SignedDuration = SignedDuration::from_hours(1);

/// Where the trail of what is new goes on.
const TRAIL: &str = "trail.json";
/// Where that of a window of a bounded backfill goes on.
const WINDOW: &str = "window.json";

/// The entity tag of a page that is durable. Only where a source has one page: a 304 for the first of several says nothing about
/// those after it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Validator {
    /// Of the whole address, its query included.
    pub(super) url: String,
    pub(super) etag: String,
    /// The segment that holds the page.
    pub(super) segment: u64,
}

/// Where a trail was interrupted.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Interrupted {
    /// Of what is asked for.
    pub(super) first: String,
    pub(super) next: Position,
    /// What its placeholders stand for.
    #[serde(default)]
    pub(super) values: Values,
    /// When the source began to answer it.
    pub(super) began: Timestamp,
    pub(super) at: Timestamp,
}

/// Where the trail of `template` was interrupted, if that is not long ago. A damaged note counts as none.
pub(super) fn interrupted(dir: &Path, template: &Template, now: Timestamp) -> Result<Option<Interrupted>> {
    let text = durable::read(&trail_path(dir, template))?;
    let Some(note) = text.and_then(|text| serde_json::from_slice::<Interrupted>(&text).ok()) else { return Ok(None) };
    let age = now.duration_since(note.at);
    let is_ours = note.first == template.fingerprint() && (SignedDuration::ZERO..RESUMED_WITHIN).contains(&age);
    Ok(is_ours.then_some(note))
}

/// Notes where the trail goes on.
pub(super) fn note_place(dir: &Path, template: &Template, place: &Interrupted) -> Result<()> {
    write_note(&trail_path(dir, template), place)
}

/// Whether a trail was interrupted.
pub(super) fn has_place(dir: &Path, template: &Template) -> bool {
    trail_path(dir, template).exists()
}

/// Forgets where the trail goes on.
pub(super) fn forget_place(dir: &Path, template: &Template) -> Result<()> {
    durable::remove(&trail_path(dir, template))
}

/// The entity tag of the newest page of `url`, where that page is known to be safe: still whole in the journal, or removed from there
/// in the usual way. In doubt there is none: receiving a known page again costs little.
pub(super) fn validator(front: &Front, url: &PageUrl) -> Result<Option<Validator>> {
    let text = durable::read(&validator_path(front.dir()))?;
    let seen = text.and_then(|text| serde_json::from_slice::<Validator>(&text).ok());
    let Some(seen) = seen.filter(|seen| seen.url == url.fingerprint()) else { return Ok(None) };
    let id = front.journal.list()?.into_iter().find(|id| id.number == seen.segment);
    let is_safe = match id {
        Some(id) => front.journal.read(id).is_ok(),
        None => !front.after_a_crash() && !front.is_missed(seen.segment)?,
    };
    Ok(is_safe.then_some(seen))
}

/// Notes the entity tag of a page that is durable.
pub(super) fn note_validator(dir: &Path, url: &PageUrl, etag: String, segment: u64) -> Result<()> {
    write_note(&validator_path(dir), &Validator { url: url.fingerprint(), etag, segment })
}

fn write_note(path: &Path, note: &impl Serialize) -> Result<()> {
    let text = serde_json::to_vec(note).map_err(|e| Error::new(ErrorKind::Bug, "cannot encode a note").caused_by(e))?;
    durable::replace_unsynced(path, &text)
}

/// Forgets the entity tag, and where a trail goes on: a page was rejected, damaged or lost, so the source has to send it again.
pub(crate) fn forget_seen(state: &Path) -> Result<()> {
    durable::remove(&validator_path(state))?;
    [TRAIL, WINDOW].into_iter().try_for_each(|name| durable::remove(&state.join(name)))
}

fn validator_path(state: &Path) -> PathBuf {
    state.join("validator.json")
}

fn trail_path(state: &Path, template: &Template) -> PathBuf {
    state.join(if template.span().is_some() { WINDOW } else { TRAIL })
}
