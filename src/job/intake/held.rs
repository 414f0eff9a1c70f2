//! Pages whose odd tokens found no room: the quarantine is capped.
//!
//! The good records of such a page are committed once, as usual, and the page stays in the journal: its number is on the roll
//! `held` before its commit, so that no crash lets it go. It is looked at again when there is room; a crash then finds its
//! tokens in the quarantine, or the page still held.

use super::commit::decode;
use crate::error::{Error, ErrorKind, Result};
use crate::job::Job;
use crate::page::decode::Decoded;
use crate::page::parse::NotAPage;
use crate::state::pages::journal::Segment;

impl Job<'_> {
    /// Keeps a page in the journal whatever becomes of its records.
    pub(crate) fn hold(&mut self, segment: &Segment) -> Result<()> {
        self.state.hold(segment.id)?;
        let what = format!(
            "page {}: its odd tokens find no room: the quarantine may have {} bytes (quarantine.max_bytes) and has {}",
            self.state.journal.path(segment.id).display(),
            self.setup.quarantine_max_bytes,
            self.state.quarantine.bytes()
        );
        let hint = "its records are kept, and the page waits in the journal: export and drop what nobody needs, or raise \
                    the cap, and the next run takes them";
        self.bear(Error::new(ErrorKind::Quarantined, what).hint(hint))
    }

    /// Looks again at the pages whose odd tokens found no room, oldest first, until one finds none again.
    pub(crate) fn quarantine_held(&mut self) -> Result<()> {
        for id in self.state.held()? {
            if self.stopped() || self.state.quarantine.is_full() {
                break;
            }
            // One that is damaged is named where it is committed, or by the roll.
            let Ok(segment) = self.state.journal.read(id) else { continue };
            let decoded = decode(&self.setup.decoder, &segment, self.setup.stop);
            if decoded.iter().any(|page| matches!(page, Err(NotAPage::Interrupted))) {
                break;
            }
            let pages = segment.pages().zip(decoded).filter_map(|(body, page)| Some((body, page.ok()?)));
            let (bodies, pages): (Vec<&[u8]>, Vec<Decoded>) = pages.filter(|(_, page)| !page.key_is_wrong()).unzip();
            let Some(added) = self.quarantine(&segment, &bodies, &pages)? else { break };
            if added.is_full {
                break;
            }
            self.summary.quarantined(&added);
            self.state.let_go(id)?;
        }
        Ok(())
    }
}
