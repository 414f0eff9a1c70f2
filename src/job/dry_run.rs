//! `etl run --dry-run`: reports what a run would do. Fetches and decodes in memory; reads the state without its lock, writes nothing.
//!
//! Known records are those in the hash arrays of hours with parts and those on pages in the journal: every record without a receipt
//! is on one of them, so the write-ahead log (which cannot be opened without writing to it) is not needed. A run may work at the
//! same time: the journal is read first, because a page leaves it only when the ledger has its records, and an array that was
//! replaced meanwhile is looked up again.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;

use super::{Setup, Source};
use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::lifecycle::HashesRef;
use crate::page::decode::{Decoded, Ended};
use crate::record::ContentHash;
use crate::source::file::PageFile;
use crate::source::paging::{Trail, Visit};
use crate::source::{self, Fetched, shape};
use crate::state::pages::journal::Journal;
use crate::state::pages::quarantine::OddToken;
use crate::state::{HashArray, HashDir, Ledger};

/// What a run would do now.
#[derive(Debug, Default, Serialize)]
pub struct DryRun {
    /// The version of this shape.
    pub schema: u32,
    /// Pages received.
    pub pages: u64,
    /// Their elements.
    pub fetched: u64,
    /// Records that would be new, by hour.
    pub new: BTreeMap<Hour, u64>,
    /// Records that are known.
    pub duplicates: u64,
    /// Tokens that would be quarantined, by reason.
    pub quarantined: BTreeMap<String, u64>,
}

/// Fetches, and returns what a run would do with it.
///
/// # Errors
/// The source's, or `State` where the state cannot be read.
pub fn dry_run(setup: &Setup<'_>, source: &mut Source<'_>) -> Result<DryRun> {
    let mut known = Known::read(setup)?;
    let mut found = DryRun { schema: 1, ..DryRun::default() };
    let mut take = |body: Vec<u8>| known.take(setup, &body, &mut found);
    match source {
        Source::Files { pattern, max_page_bytes } => {
            let listing = source::file::list(pattern)?;
            for path in listing.files {
                let mut file = PageFile::open(&path, &setup.decoder.shape, *max_page_bytes)?;
                while let Some(page) = file.next(Vec::new())? {
                    take(page)?;
                }
            }
        }
        Source::Http { client, url, follow_links } => {
            let (mut trail, mut next) = (Trail::new(crate::job::intake::fetch::MAX_LINKED), Some(url.clone()));
            while let Some(url) = next.take().filter(|url| trail.enter(url) == Visit::New) {
                if let Fetched::Page { sink, head } = client.fetch(&url, None, || Ok(Vec::new()))? {
                    take(sink)?;
                    next = head.next.filter(|_| *follow_links).transpose()?;
                }
            }
        }
    }
    Ok(found)
}

/// How often an array is looked up that a run replaces meanwhile.
const LOOKS: usize = 5;

/// What is known without the write-ahead log.
struct Known {
    state: PathBuf,
    unsealed: HashSet<[u8; 16]>,
    ledger: Option<Ledger>,
    arrays: BTreeMap<Hour, Option<HashArray>>,
}

impl Known {
    fn read(setup: &Setup<'_>) -> Result<Self> {
        let mut known =
            Self { state: setup.state_dir.clone(), unsealed: HashSet::new(), ledger: None, arrays: BTreeMap::new() };
        let journal = Journal::at(&setup.state_dir);
        for id in journal.list().unwrap_or_default() {
            let Ok(segment) = journal.read(id) else { continue };
            for page in segment.pages() {
                let stop = || setup.stop.is_requested();
                let decoded = setup.decoder.page_until(page, segment.received, &stop).unwrap_or_default();
                known.unsealed.extend(decoded.records.iter().map(|record| record.entry.hash));
            }
        }
        known.ledger = Ledger::open(&known.state)?;
        Ok(known)
    }

    fn take(&mut self, setup: &Setup<'_>, body: &[u8], found: &mut DryRun) -> Result<()> {
        let (now, stop) = (setup.clock.now(), || setup.stop.is_requested());
        let page = setup.decoder.page_until(body, now, &stop).map_err(|reason| {
            let there = shape::of(body);
            Error::new(ErrorKind::Unavailable, format!("the source sent a body that is not a page: {reason}{there}"))
                .hint(reason.way_out(body, &setup.decoder.shape))
        })?;
        if page.key_is_wrong() {
            return Err(Error::new(ErrorKind::Credentials, "no key of the ring opens any token of the page")
                .hint("put the right key into the ring"));
        }
        found.pages += 1;
        found.fetched += page.elements;
        let mut each = |odd: &OddToken| *found.quarantined.entry(odd.reason.clone()).or_default() += 1;
        page.odd.iter().for_each(&mut each);
        if page.dropped_odd() {
            let again = setup.decoder.odd_again(body, now, &stop, &mut |odd| {
                each(&odd);
                Ok(())
            });
            // Stopped: what was counted so far is reported.
            again.or_else(|ended| if let Ended::Taker(error) = ended { Err(error) } else { Ok(()) })?;
        }
        self.count(&page, found)
    }

    fn count(&mut self, page: &Decoded, found: &mut DryRun) -> Result<()> {
        for record in &page.records {
            if self.unsealed.insert(record.entry.hash) && !self.is_sealed(record.hour, record.entry.hash)? {
                *found.new.entry(record.hour).or_default() += 1;
            } else {
                found.duplicates += 1;
            }
        }
        Ok(())
    }

    fn is_sealed(&mut self, hour: Hour, hash: [u8; 16]) -> Result<bool> {
        if !self.arrays.contains_key(&hour) {
            let array = self.array(hour)?;
            self.arrays.insert(hour, array);
        }
        match self.arrays.get(&hour) {
            Some(Some(array)) => array.contains(ContentHash(hash)),
            _ => Ok(false),
        }
    }

    /// The hashes of an hour's parts, as the ledger names them now.
    fn array(&mut self, hour: Hour) -> Result<Option<HashArray>> {
        for look in 0.. {
            let Some(ledger) = &mut self.ledger else { break };
            let Some(named) = ledger.row(hour)?.hashes else { break };
            match HashDir::at(&self.state).array(hour, named) {
                Err(_) if look < LOOKS && self.has_changed(hour, named)? => {}
                array => return array.map(Some),
            }
        }
        Ok(None)
    }

    /// Reads the ledger again. Whether it names other hashes of the hour than `before`.
    fn has_changed(&mut self, hour: Hour, before: HashesRef) -> Result<bool> {
        self.ledger = Ledger::open(&self.state)?;
        let row = self.ledger.as_mut().map(|ledger| ledger.row(hour)).transpose()?;
        Ok(row.and_then(|row| row.hashes) != Some(before))
    }
}

impl DryRun {
    /// One line for people.
    #[must_use]
    pub fn summary(&self, now: Timestamp) -> String {
        let new: u64 = self.new.values().sum();
        let odd: u64 = self.quarantined.values().sum();
        format!(
            "as of {now:.0}: {} pages with {} logs; a run would keep {new} new records of {} hours, drop {} known ones and quarantine {odd} tokens; nothing was written",
            self.pages,
            self.fetched,
            self.new.len(),
            self.duplicates,
        )
    }
}
