//! Files of this machine straight to the lanes: they are durable where they lie, so no topic has to keep their pages.
//!
//! Invariant: a file counts as routed only when all that became of its pages is acknowledged, and only for this process; it is routed again
//! when it has changed, and by the next process in any case, since nothing says that the lanes still have it. A crash leaves some of the
//! records stored: they come again, and are known downstream. A file that cannot be read costs no other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;

use super::sorter::Read;
use super::{Routed, Router};
use crate::cluster::chunks::WholePage;
use crate::cluster::outbox::Outbox;
use crate::error::{Error, ErrorKind, Result};
use crate::output::numbers::plural;
use crate::page::decode::Decoder;
use crate::page::parse::NotAPage;
use crate::process::parallel::{parallel_map, threads};
use crate::source::PageShape;
use crate::source::file::{self, PageFile};
use crate::state::files::crash_point;
use crate::stop::Stop;

/// Bytes of pages that are decoded and sent before their acknowledgement is awaited.
const BATCH: usize = 8 << 20;
/// Pages of files have no place in the topic of pages.
const NOWHERE: i32 = -1;

/// What tells that a file has changed: its length, and when it was written.
type Stamp = (u64, Option<SystemTime>);
/// The files that are routed.
pub(super) type RoutedFiles = BTreeMap<PathBuf, Stamp>;

impl Router {
    /// Routes the files of the glob `pattern` that this process has not routed yet.
    ///
    /// # Errors
    /// `Unavailable`: the brokers do not take what is in them. `Config`: the pattern.
    pub fn route_files(
        &mut self,
        decoder: &Decoder,
        pattern: &str,
        max_page_bytes: u64,
        stop: &Stop,
    ) -> Result<Routed> {
        let (mut routed, mut listing) = (Routed::default(), file::list(pattern)?);
        routed.problems.append(&mut listing.unreadable);
        listing.files.retain(|path| self.files.get(path).is_none_or(|known| Some(*known) != stamp(path)));
        let mut walk = Walk::new(listing.files, &decoder.shape, max_page_bytes);
        let result = self.route_walk(decoder, &mut walk, &mut routed, stop);
        if result.is_err() {
            self.sorter.forget();
            self.outbox.forget();
        }
        routed.problems.extend(self.sorter.take_problems());
        result.map(|()| routed)
    }

    fn route_walk(&mut self, decoder: &Decoder, walk: &mut Walk<'_>, routed: &mut Routed, stop: &Stop) -> Result<()> {
        let mut locked = Locked::default();
        loop {
            let pages = walk.batch(&mut routed.problems, stop);
            if stop.is_requested() || !self.route_batch(decoder, &pages, routed, &mut locked, stop)? {
                self.sorter.forget();
                self.outbox.forget();
                routed.behind = true;
                break;
            }
            self.files.extend(walk.ended.drain(..).filter(|(path, _)| locked.first.as_ref() != Some(path)));
            if pages.is_empty() && walk.is_over() {
                break;
            }
        }
        routed.problems.extend(locked.problem());
        Ok(())
    }

    /// Decodes pages, sends what they hold, and waits until it is stored. `false`: it is time to stop.
    fn route_batch(
        &mut self,
        decoder: &Decoder,
        pages: &[Page],
        routed: &mut Routed,
        locked: &mut Locked,
        stop: &Stop,
    ) -> Result<bool> {
        let decoded = parallel_map(pages, threads(), |page| {
            crash_point::reading(&page.page.body);
            decoder.page_until(&page.page.body, page.page.received, &|| stop.is_requested())
        });
        for (page, decoded) in pages.iter().zip(decoded) {
            match &decoded {
                Err(NotAPage::Interrupted) => return Ok(false),
                Err(reason) => routed.problems.push(no_page(&page.file, reason)),
                Ok(decoded) if decoded.key_is_wrong() => locked.note(&page.file),
                Ok(_) => {
                    let read = Read { partition: NOWHERE, page: &page.page, decoder, stop };
                    if !self.sorter.take(&self.outbox, &read, decoded, routed)? {
                        return Ok(false);
                    }
                }
            }
        }
        self.sorter.finish(&self.outbox)?;
        Outbox::settle(&self.outbox)?;
        crash_point::at("files are routed");
        self.sorter.settled();
        Ok(true)
    }
}

/// A page of a file.
struct Page {
    file: PathBuf,
    page: WholePage,
}

/// The pages of files, one after the other.
struct Walk<'p> {
    files: std::vec::IntoIter<PathBuf>,
    open: Option<(PathBuf, Option<Stamp>, PageFile<'p>)>,
    /// Files all of whose pages were handed out.
    ended: Vec<(PathBuf, Stamp)>,
    shape: &'p PageShape,
    max_page_bytes: u64,
}

impl<'p> Walk<'p> {
    fn new(files: Vec<PathBuf>, shape: &'p PageShape, max_page_bytes: u64) -> Self {
        Self { files: files.into_iter(), open: None, ended: Vec::new(), shape, max_page_bytes }
    }

    fn is_over(&self) -> bool {
        self.open.is_none() && self.files.len() == 0
    }

    /// The next pages, about [`BATCH`] bytes of them.
    fn batch(&mut self, problems: &mut Vec<Error>, stop: &Stop) -> Vec<Page> {
        let (mut pages, mut bytes, received) = (Vec::new(), 0, Timestamp::now());
        while bytes < BATCH && !self.is_over() && !stop.is_requested() {
            match self.next(received) {
                Ok(Some(page)) => {
                    bytes += page.page.body.len();
                    pages.push(page);
                }
                Ok(None) => {}
                Err(error) => problems.push(error),
            }
        }
        pages
    }

    /// The next page of the file that is open, or opens the next. A file that fails is not read on.
    fn next(&mut self, received: Timestamp) -> Result<Option<Page>> {
        let (file, stamp, mut open) = match self.open.take() {
            Some(open) => open,
            None => {
                let Some(path) = self.files.next() else { return Ok(None) };
                // As it was before it was read: what is added meanwhile shows.
                let stamp = stamp(&path);
                let open = PageFile::open(&path, self.shape, self.max_page_bytes)?;
                (path, stamp, open)
            }
        };
        let Some(body) = open.next(Vec::new())? else {
            self.ended.extend(stamp.map(|stamp| (file, stamp)));
            return Ok(None);
        };
        let source = format!("file:{}", file.display());
        let page = WholePage { id: [0; 16], received, source, body, first: 0 };
        self.open = Some((file.clone(), stamp, open));
        Ok(Some(Page { file, page }))
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    path.metadata().ok().map(|about| (about.len(), about.modified().ok()))
}

/// Pages that no key opens.
#[derive(Default)]
struct Locked {
    pages: u64,
    first: Option<PathBuf>,
}

impl Locked {
    fn note(&mut self, file: &Path) {
        self.pages += 1;
        self.first.get_or_insert_with(|| file.to_owned());
    }

    fn problem(&self) -> Option<Error> {
        let first = self.first.as_ref()?;
        let pages = plural(self.pages, "page", "pages");
        let what = format!("{pages} of files, the first of {}: no key of the ring opens any token", first.display());
        let hint = "add the right key to the ring (FERNET_KEY, or what source.keys_env or source.keys_file names), and run again";
        Some(Error::new(ErrorKind::Credentials, what).hint(hint))
    }
}

fn no_page(file: &Path, reason: &NotAPage) -> Error {
    Error::new(ErrorKind::Unavailable, format!("{} is not a page: {reason}", file.display()))
        .hint("replace it by a complete one, or take it out of source.url's pattern")
        .about_the_source()
}
