//! What a source has to be asked for: all since when, and all after which id.
//!
//! Owns the file `increment` in the state directory, which is read before the log is opened. `{since}` is the earlier of two times, less the
//! overlap: that of the newest record that came, and when the source began to answer the last trail that came whole. `{last_id}` is the
//! end of the unbroken run of ids. Invariant: neither moves before everything that a whole trail brought is committed, with no page waiting,
//! damaged or set aside; a lost file, or one of other requests, only means that more is asked for. A crash before it is written leaves an
//! older one, which is safe.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Intake;
use super::fetch::PageTrail;
use crate::error::Result;
use crate::job::context::Run;
use crate::output::draft::Survives;
use crate::source::paging::{Position, Values};
use crate::source::{PageRequest, Template};
use crate::state::files::step::{Step, durable_step};
use crate::state::files::{checked, durable};

/// What is there.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Increment {
    /// The fingerprint of what is asked for.
    source: String,
    /// The time of the newest record.
    newest: Option<Timestamp>,
    /// When the source began to answer the last whole trail, by its own clock.
    asked: Option<Timestamp>,
    /// The end of the unbroken run of ids.
    last_id: Option<i64>,
}

impl Increment {
    /// What is noted of the source; `None`: nothing.
    fn of(dir: &Path, template: &Template) -> Result<Option<Self>> {
        let noted: Option<Self> = checked::read_json(&path(dir))?;
        Ok(noted.filter(|noted| noted.source == template.fingerprint()))
    }

    /// All that happened before is there.
    fn safe(&self) -> Option<Timestamp> {
        self.newest.zip(self.asked).map(|(newest, asked)| newest.min(asked))
    }
}

/// What the placeholders of `template` stand for now.
pub(crate) fn values(dir: &Path, template: &Template, now: Timestamp) -> Result<Values> {
    if !template.is_incremental() {
        return Ok(template.values(None, None, now));
    }
    let noted = Increment::of(dir, template)?;
    let (safe, last_id) = noted.map_or((None, None), |noted| (noted.safe(), noted.last_id));
    Ok(template.values(safe, last_id, now))
}

/// The page that the next run asks for first.
pub(crate) fn first_page(dir: &Path, template: &Template, now: Timestamp) -> Result<PageRequest> {
    template.request(&values(dir, template, now)?, &Position::First)
}

/// Forgets what is there: records were lost, so the source has to send them again.
pub(crate) fn forget(dir: &Path) -> Result<()> {
    durable::remove(&path(dir))
}

fn path(dir: &Path) -> PathBuf {
    dir.join("increment")
}

/// Notes what a whole trail adds that is handed on to a cluster: by now it is as safe as what is committed. Which ids came is not known
/// here.
pub(in crate::job) fn note_received(
    dir: &Path,
    template: &Template,
    asked: Timestamp,
    newest: Option<Timestamp>,
) -> Result<()> {
    let before = Increment::of(dir, template)?.unwrap_or_default();
    let (newest, asked) = (before.newest.max(newest), before.asked.max(Some(asked)));
    let now = Increment { source: template.fingerprint(), newest, asked, last_id: before.last_id };
    if now == before {
        return Ok(());
    }
    durable_step(Step::IncrementNoted, || checked::write_json(&path(dir), &now, Survives::Everything))
}

impl Intake {
    /// Notes what a trail adds to what is there, once all of it is committed. How far the source has been asked, only one that came whole
    /// tells.
    pub(in crate::job) fn note_increment(&self, run: &Run<'_>, trail: Option<&PageTrail>) -> Result<()> {
        let Some((template, asked)) = trail.and_then(PageTrail::increment) else { return Ok(()) };
        if !self.is_settled(run)? {
            return Ok(());
        }
        let before = Increment::of(run.state.dir(), template)?.unwrap_or_default();
        let now = Increment {
            source: template.fingerprint(),
            newest: before.newest.max(self.newest),
            asked: before.asked.max(asked),
            last_id: if asked.is_some() { run.state.hours.seen().unbroken_to() } else { before.last_id },
        };
        if now == before {
            return Ok(());
        }
        durable_step(Step::IncrementNoted, || checked::write_json(&path(run.state.dir()), &now, Survives::Everything))
    }

    /// Whether all that came is committed, and nothing was set aside in this run.
    pub(super) fn is_settled(&self, run: &Run<'_>) -> Result<bool> {
        Ok(self.is_clean(run) && run.state.uncommitted()?.is_empty())
    }

    /// Whether nothing was set aside in this run.
    pub(in crate::job) fn is_clean(&self, run: &Run<'_>) -> bool {
        run.state.pages.journal().rejected().sum().count <= self.rejected
    }
}
