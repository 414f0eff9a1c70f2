//! The pages in one file: one, or those that its lines are cut into.
//!
//! Invariant: a page is whole. Where a file ends early or is damaged, the pages before that place are pages, and the error says so; the
//! file can be read again, and known records cost nothing.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};

use super::unreadable;
use crate::error::{Error, ErrorKind, Result};
use crate::source::body::lines::Lines;
use crate::source::body::{Beginning, BodyCheck, CHUNK, Coding, Expected, Kind, Refusal, reader};
use crate::source::page_shape::{PageShape, name_says_lines};
use crate::source::{FileSink, PageSink};

/// Bytes of lines in a page: some pages share a segment of the journal, so that several can be decoded at once.
const PAGE_BYTES: usize = 512 << 10;
/// Bytes that are looked at first.
const FIRST: usize = 512;

/// What is read, unpacked or not.
type Source = Box<dyn Read + Send>;

/// A file whose pages are read one after the other.
pub(crate) struct PageFile<'p> {
    path: PathBuf,
    max_page_bytes: u64,
    shape: &'p PageShape,
    coding: Coding,
    rest: Rest,
    /// Pages so far.
    pages: u64,
}

/// What is still to be read.
enum Rest {
    /// One page, unpacked.
    One(Source),
    Lines(Source, Lines, Vec<u8>),
    Nothing,
}

impl<'p> PageFile<'p> {
    /// Opens the file at `path`: unpacked by the end of its name, and lines where its name or what it holds says so.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`]: it cannot be read.
    pub(crate) fn open(path: &Path, shape: &'p PageShape, max_page_bytes: u64) -> Result<Self> {
        let file = File::open(path).map_err(|cause| unreadable(path, cause))?;
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let coding = Coding::of_name(&name);
        let source = reader(coding, file).map_err(|cause| unreadable(path, cause))?;
        let mut opened = Self { path: path.to_owned(), max_page_bytes, shape, coding, rest: Rest::Nothing, pages: 0 };
        let expected = opened.expected(name_says_lines(&name).then_some(Kind::Lines));
        opened.rest = match () {
            () if expected.is_lines() => opened.lines(source, Vec::new()),
            () if expected.is_unsure() => opened.told_by_itself(source)?,
            () => Rest::One(source),
        };
        Ok(opened)
    }

    /// Reads the next page into `sink`, unpacked. `None`: there are no more.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`]: what is there cannot be read, is not a page, or is larger than `max_page_bytes`; nothing more comes. An
    /// error of the sink is returned as it is.
    pub(crate) fn next<S: FileSink>(&mut self, sink: S) -> Result<Option<S>> {
        let page = match std::mem::replace(&mut self.rest, Rest::Nothing) {
            Rest::Nothing => return Ok(None),
            Rest::One(source) => self.one(source, sink)?,
            Rest::Lines(source, lines, held) => self.page_of_lines(source, lines, held, sink)?,
        };
        self.pages += 1;
        Ok(Some(page))
    }

    fn expected(&self, kind: Option<Kind>) -> Expected<'p> {
        Expected { shape: self.shape, kind, limit: self.max_page_bytes }
    }

    fn lines(&self, source: Source, held: Vec<u8>) -> Rest {
        Rest::Lines(source, Lines::new(self.max_page_bytes, PAGE_BYTES), held)
    }

    /// Reads on until what came tells what it is: of an array its first byte does.
    fn told_by_itself(&self, mut source: Source) -> Result<Rest> {
        let mut beginning = Beginning::new(self.max_page_bytes);
        let mut most = FIRST;
        let kind = loop {
            let chunk = read_some(&mut source, most).map_err(|cause| self.broken(cause))?;
            let told = beginning.add(&chunk).map_err(|refusal| self.refused(refusal))?;
            if told.is_some() || chunk.is_empty() {
                break told.unwrap_or(Kind::Json);
            }
            most = CHUNK;
        };
        let held = beginning.into_held();
        Ok(match kind {
            Kind::Lines => self.lines(source, held),
            Kind::Json => Rest::One(Box::new(Cursor::new(held).chain(source))),
        })
    }

    fn one<S: FileSink>(&self, mut source: Source, sink: S) -> Result<S> {
        let refused = |refusal| self.refused(refusal);
        let mut body = BodyCheck::new(Coding::Plain, self.expected(Some(Kind::Json)), sink).map_err(refused)?;
        body.read(&mut source).map_err(refused)?.map_err(|cause| self.broken(cause))?;
        body.finish().map(|(sink, _)| sink).map_err(refused)
    }

    /// Fills a page with the lines that fit, those that are `held` first.
    fn page_of_lines<S: PageSink>(
        &mut self,
        mut source: Source,
        mut lines: Lines,
        held: Vec<u8>,
        mut sink: S,
    ) -> Result<S> {
        lines.begin_page();
        let mut chunk = held;
        loop {
            if !lines.has_room_for(&chunk) {
                self.rest = Rest::Lines(source, lines, chunk);
                return Ok(sink);
            }
            lines.add(&chunk, &mut sink).map_err(|refusal| self.refused(refusal))?;
            chunk = read_some(&mut source, CHUNK).map_err(|cause| self.broken(cause))?;
            if chunk.is_empty() {
                lines.finish(&mut sink).map_err(|refusal| self.refused(refusal))?;
                return Ok(sink);
            }
        }
    }

    /// Why reading failed: a packed stream ends early or is damaged, or the disk fails.
    fn broken(&self, cause: io::Error) -> Error {
        match self.coding.name() {
            None => unreadable(&self.path, cause),
            Some(name) => self.refused(Refusal::NoPage(format!("the {name} stream is cut short or damaged ({cause})"))),
        }
    }

    fn refused(&self, refusal: Refusal) -> Error {
        let (path, max) = (self.path.display(), self.max_page_bytes);
        let kept = match self.pages {
            0 => String::new(),
            1 => " (the page of it that came before is kept)".to_owned(),
            pages => format!(" (the {pages} pages of it that came before are kept)"),
        };
        let (message, hint) = match refusal {
            Refusal::Sink(error) => return error,
            Refusal::TooLarge(what) => (
                format!("the {what} in {path} is larger than source.max_page_bytes ({max} bytes){kept}"),
                "raise source.max_page_bytes, or split the file",
            ),
            Refusal::NoPage(what) => (
                format!("{path} is not a page: {what}{kept}"),
                "replace it by a complete one, or take it out of source.url's pattern",
            ),
        };
        Error::new(ErrorKind::Unavailable, message).hint(hint)
    }
}

/// The next bytes of `source`, `most` of them; none at its end.
fn read_some(source: &mut Source, most: usize) -> io::Result<Vec<u8>> {
    let mut chunk = Vec::with_capacity(most);
    source.take(most as u64).read_to_end(&mut chunk).map(|_| chunk)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::body::tests::gzip;

    /// All pages of a file, joined by the name of the one that failed.
    fn pages(path: &Path, shape: &PageShape, limit: u64) -> (Vec<Vec<u8>>, Option<Error>) {
        let mut pages = Vec::new();
        let mut file = match PageFile::open(path, shape, limit) {
            Ok(file) => file,
            Err(error) => return (pages, Some(error)),
        };
        loop {
            match file.next(Vec::new()) {
                Ok(Some(page)) => pages.push(page),
                Ok(None) => return (pages, None),
                Err(error) => return (pages, Some(error)),
            }
        }
    }

    fn plain() -> PageShape {
        PageShape { token: Default::default(), is_encrypted: false, ..PageShape::default() }
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 3).unwrap()
    }

    #[test]
    fn plain_and_packed_files_are_the_same_page() {
        let dir = tempfile::tempdir().unwrap();
        let text = format!("[{}]\n", vec!["{\"data\":\"gAAA\"}"; 20_000].join(","));
        for (name, bytes) in [
            ("a.json", text.clone().into_bytes()),
            ("a.json.GZ", gzip(text.as_bytes())),
            ("a.json.zst", zstd(text.as_bytes())),
            ("two.json.zst", [zstd(&text.as_bytes()[..1000]), zstd(&text.as_bytes()[1000..])].concat()),
        ] {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            for shape in [PageShape::default(), plain()] {
                let (pages, error) = pages(&path, &shape, 1 << 20);
                assert!(error.is_none(), "{error:?}");
                assert!(pages == [text.as_bytes()], "{name}");
            }
        }
    }

    #[test]
    fn what_is_no_page_is_named_and_costs_only_itself() {
        let dir = tempfile::tempdir().unwrap();
        let bomb = format!("[{}]", " ".repeat(1 << 20));
        let whole = zstd(b"[{\"data\":\"gAAA\"}]");
        let files: [(&str, &[u8], &str); 7] = [
            ("html.json", b"<html>", "HTML"),
            ("cut.json", b"[{\"data\":\"x", "cut short"),
            ("empty.json", b"", "empty"),
            ("bomb.json.gz", &gzip(bomb.as_bytes()), "source.max_page_bytes"),
            ("bomb.json.zst", &zstd(bomb.as_bytes()), "source.max_page_bytes"),
            ("plain.json.gz", b"[]", "gzip"),
            ("cut.json.zst", &whole[..whole.len() - 1], "zstd"),
        ];
        for (name, bytes, what) in files {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            for shape in [PageShape::default(), plain()] {
                let refused = pages(&path, &shape, 1 << 16).1.unwrap();
                assert_eq!(refused.kind(), ErrorKind::Unavailable);
                assert!(refused.to_string().contains(name) && refused.to_string().contains(what), "{refused}");
            }
        }
        let gone = pages(&dir.path().join("gone.json"), &plain(), 1 << 16).1.unwrap();
        assert_eq!(gone.kind(), ErrorKind::Unavailable);
        assert!(gone.to_string().contains("gone.json") && gone.next_step().is_some());
    }

    #[test]
    fn lines_are_cut_into_pages_whatever_they_are_packed_in() {
        let dir = tempfile::tempdir().unwrap();
        let text: String = (0..60_000).map(|n| format!("{{\"n\":{n},\"text\":\"{}\"}}\n", n * 7919)).collect();
        for (name, bytes) in [
            ("a.ndjson", text.clone().into_bytes()),
            ("by-itself.json", text.clone().into_bytes()),
            ("a.jsonl.gz", [gzip(&text.as_bytes()[..99_999]), gzip(&text.as_bytes()[99_999..])].concat()),
            ("a.ndjson.zst", zstd(text.as_bytes())),
        ] {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            // Only a name tells a source of tokens that a file is lines.
            let shapes = if name.contains("itself") { vec![plain()] } else { vec![plain(), PageShape::default()] };
            for shape in shapes {
                let (pages, error) = pages(&path, &shape, 1 << 20);
                assert!(error.is_none() && pages.len() > 3, "{name}: {error:?}");
                assert!(
                    pages.iter().all(|page| page.len() <= PAGE_BYTES + 1 && page[0] == 0x1e && page.ends_with(b"\n"))
                );
                let joined: Vec<u8> = pages.iter().flat_map(|page| &page[1..]).copied().collect();
                assert!(joined == text.as_bytes(), "{name}");
            }
        }
    }

    #[test]
    fn pages_before_the_place_where_lines_are_cut_short_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let text: String = (0..90_000_u64).map(|n| format!("{{\"n\":{n},\"text\":\"{}\"}}\n", n * 7919)).collect();
        let (packed, squeezed) = (gzip(text.as_bytes()), zstd(text.as_bytes()));
        for (name, bytes) in [
            ("cut.ndjson", &text.as_bytes()[..text.len() - 5]),
            ("cut.ndjson.gz", &packed[..packed.len() - 9]),
            ("cut.ndjson.zst", &squeezed[..squeezed.len() - 9]),
        ] {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let (pages, error) = pages(&path, &plain(), 1 << 20);
            let error = error.unwrap().to_string();
            assert!(pages.len() >= 3 && error.contains(name), "{error}");
            assert!(error.contains("cut short") && error.contains("pages of it that came before are kept"), "{error}");
        }
    }
}
