//! A run over files: a backfill, and what it leaves to a live source of the same state.
//!
//! Writes nothing itself; a crash leaves what the stages that it calls leave.

use super::Job;
use super::intake::fetch;
use crate::error::{ErrorKind, Result};

impl Job<'_> {
    pub(super) fn has_open_hours(&self) -> bool {
        let (closing, now) = (&self.run.setup.closing, self.run.now());
        self.run.state.hours.pending_hours().any(|hour| closing.closes_at(hour) > now)
    }

    /// A backfill does not wait for hours to close; where they are those of a live source, only not for what is late.
    pub(super) fn do_not_wait(&mut self) {
        if self.is_live {
            self.output.drain_closed = true;
        } else {
            self.output.drain = true;
        }
    }

    /// Files: what an interrupted run left waits for the rest, so that an hour is one part and not two.
    pub(super) fn backfill(&mut self, pattern: &str, max_page_bytes: u64) -> Result<()> {
        self.settle(false, None)?;
        if self.may_fetch_files()? {
            let Self { run, intake, output, recover, .. } = self;
            intake.fetch_files(run, output, recover, pattern, max_page_bytes)?;
            run.summary.asked = !run.is_stopped();
            self.commit_journal()?;
            self.run.note_step("files");
        }
        self.do_not_wait();
        if self.run.is_stopped() { Ok(()) } else { self.seal_and_upload() }
    }

    /// Whether there is room for the files of a backfill, and a reason to take them.
    fn may_fetch_files(&mut self) -> Result<bool> {
        // Files stay where they are: taking them once more under a key that is wrong would only fill the journal. Nor are they
        // taken while one of their pages kills its readers.
        let key_was_wrong = self.run.problems.iter().any(|problem| problem.kind() == ErrorKind::Credentials);
        if key_was_wrong || !self.run.state.pages.put_off().is_empty() {
            return Ok(false);
        }
        let waiting = self.run.state.uncommitted_bytes()?;
        if self.run.is_short_of_space(waiting)? {
            self.output.make_space(&mut self.run, &mut self.recover)?;
            if self.run.is_short_of_space(waiting)? {
                self.run.problems.push(fetch::no_space(self.run.setup)?);
                return Ok(false);
            }
        }
        Ok(true)
    }
}
