//! Source → journal: what is received is durable before anyone looks at it.
//!
//! A page of the API is a segment of its own, durable before the link to the next one is followed; files are a backfill
//! (see [`super::backfill`]). A crash leaves whole segments, or nothing of the one that was being written.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Job, Progress};
use crate::error::{Error, ErrorKind, Result};
use crate::extract::{self, Fetched, HttpSource, PageUrl, Trail};
use crate::journal::Writer;
use crate::state::durable;

/// More linked pages than these in one fetch are a loop that the URLs do not show.
pub const MAX_LINKED: usize = 100_000;

/// Where pages come from.
pub enum Source<'a> {
    /// An HTTP API.
    Http {
        /// The client.
        client: &'a mut HttpSource,
        /// The first page.
        url: PageUrl,
    },
    /// Files.
    Files {
        /// The glob.
        pattern: String,
        /// The cap on a page.
        max_page_bytes: u64,
    },
}

/// The entity tag of the newest page that is durable.
#[derive(Debug, Serialize, Deserialize)]
struct SeenPage {
    url: String,
    etag: String,
}

impl Job<'_> {
    /// Fetches and commits.
    pub(super) fn fetch(&mut self, source: &mut Source<'_>) -> Result<()> {
        let free = self.state.reserve.free_bytes()?;
        if free < self.setup.min_free {
            let dir = self.state.dir().display();
            let what = format!("only {free} bytes are free at {dir}: less than state.min_free, so nothing is fetched");
            let error =
                Error::new(ErrorKind::State, what).hint("free some space; sealing and uploading go on meanwhile");
            self.problems.push(error);
            return Ok(());
        }
        match source {
            Source::Http { client, url } => self.fetch_http(client, url)?,
            // Files stay where they are: taking them once more under a key that is wrong would only fill the journal.
            // Nor while one of their pages kills its readers.
            Source::Files { .. } if self.key_was_wrong() || !self.state.tries.put_off().is_empty() => {}
            Source::Files { pattern, max_page_bytes } => self.fetch_files(pattern, *max_page_bytes)?,
        }
        self.commit_journal()
    }

    fn key_was_wrong(&self) -> bool {
        self.problems.iter().any(|problem| problem.kind() == ErrorKind::Credentials)
    }

    fn fetch_http(&mut self, client: &mut HttpSource, first: &PageUrl) -> Result<()> {
        let mut trail = Trail::new(MAX_LINKED);
        let mut next = Some(first.clone());
        let mut seen = self.seen_page(first)?;
        while let Some(url) = next.take() {
            match trail.enter(&url) {
                extract::Step::New => {}
                extract::Step::Seen => break,
                extract::Step::TooMany => {
                    let what = format!("{url}: more than {MAX_LINKED} pages are linked one to the next");
                    return self
                        .bear(Error::new(ErrorKind::Unavailable, what).hint("look at the source's Link headers"));
                }
            }
            let journal = &self.state.journal;
            match client.fetch(&url, seen.take().as_deref(), || Ok(journal.begin())) {
                Ok(Fetched::Page { sink, head }) => {
                    self.receive(sink)?;
                    if let Some(etag) = head.etag.filter(|_| self.summary.pages == 1) {
                        self.note_seen(first, etag)?;
                    }
                    match head.next.transpose() {
                        Ok(link) => next = link,
                        Err(error) => return self.bear(error),
                    }
                }
                Ok(Fetched::NotModified | Fetched::Stopped) => return Ok(()),
                Err(error) => return self.bear(error),
            }
        }
        Ok(())
    }

    fn receive(&mut self, mut page: Writer) -> Result<()> {
        page.end_page();
        self.state.journal.publish(page, self.now())?;
        self.summary.pages += 1;
        (self.setup.progress)(Progress::Fetched(self.summary.pages));
        self.note_status(false)
    }

    /// The entity tag that the source gave the newest durable page of `url`.
    fn seen_page(&self, url: &PageUrl) -> Result<Option<String>> {
        let text = durable::read(&seen_path(self.state.dir()))?;
        // A damaged note costs one page that is known already.
        let seen = text.and_then(|text| serde_json::from_slice::<SeenPage>(&text).ok());
        Ok(seen.filter(|seen| seen.url == url.to_string()).map(|seen| seen.etag))
    }

    /// Notes the entity tag of a page that is durable.
    fn note_seen(&self, url: &PageUrl, etag: String) -> Result<()> {
        let seen = SeenPage { url: url.to_string(), etag };
        let text =
            serde_json::to_vec(&seen).map_err(|e| Error::new(ErrorKind::Bug, "cannot encode a tag").caused_by(e))?;
        durable::replace_soon(&seen_path(self.state.dir()), &text)
    }
}

/// Forgets the entity tag: the page that it was of turned out to be none, so the source has to send it again.
pub(super) fn forget_seen(state: &Path) -> Result<()> {
    durable::remove(&seen_path(state))
}

fn seen_path(state: &Path) -> PathBuf {
    state.join("seen.json")
}
