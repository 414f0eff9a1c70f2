//! Lines of JSON on their way into a sink, in pages that end where lines end.
//!
//! Invariant: each page begins with the mark of a page of lines and has whole lines only; the end of the body ends the last line. A
//! body that ends within a JSON text was cut short: its last page is none.

use super::super::PageSink;
use super::super::page_shape::LINES;
use super::{Refusal, length, within};

/// A page ends at the line end before so many bytes; a longer line is a page by itself.
pub(in crate::source) const PAGE_BYTES: usize = 4 << 20;

/// Cuts a body of lines into pages.
#[derive(Debug)]
pub(in crate::source) struct Lines {
    /// The longest line, and the largest page where the sink takes one only.
    limit: u64,
    most: usize,
    /// The line that has not ended yet.
    open: Vec<u8>,
    /// Bytes of lines in the page at hand.
    in_page: usize,
    is_begun: bool,
}

impl Lines {
    /// Pages of `most` bytes; no line is longer than `limit`.
    pub(in crate::source) fn new(limit: u64, most: usize) -> Self {
        let most = usize::try_from(limit).unwrap_or(usize::MAX).min(most);
        Self { limit, most, open: Vec::new(), in_page: 0, is_begun: false }
    }

    /// Takes the next bytes; whole lines go to the sink.
    pub(in crate::source) fn add<S: PageSink>(&mut self, bytes: &[u8], sink: &mut S) -> Result<(), Refusal> {
        let (lines, rest) = at_last_line_end(bytes);
        if !lines.is_empty() {
            if !self.has_room_for(bytes) {
                if sink.cut().map_err(Refusal::Sink)? {
                    self.begin_page();
                } else {
                    within(self.limit, length(bytes).saturating_add(self.in_page as u64), "uncompressed body")?;
                }
            }
            self.put(lines, sink)?;
        }
        self.open.extend_from_slice(rest);
        within(self.limit, length(&self.open), "line")
    }

    /// Whether the lines that end in `bytes` fit into the page at hand. An empty page takes whatever comes.
    pub(in crate::source) fn has_room_for(&self, bytes: &[u8]) -> bool {
        let more = self.open.len().saturating_add(at_last_line_end(bytes).0.len());
        self.in_page == 0 || self.in_page.saturating_add(more) <= self.most
    }

    /// What comes goes into another page.
    pub(in crate::source) const fn begin_page(&mut self) {
        (self.in_page, self.is_begun) = (0, false);
    }

    /// Ends the body.
    pub(in crate::source) fn finish<S: PageSink>(&mut self, sink: &mut S) -> Result<(), Refusal> {
        if !is_closed(&self.open) {
            return Err(Refusal::NoPage("the body is cut short in its last line".to_owned()));
        }
        self.put(&[], sink)
    }

    /// Writes the open line and what ends it.
    fn put<S: PageSink>(&mut self, rest: &[u8], sink: &mut S) -> Result<(), Refusal> {
        if !std::mem::replace(&mut self.is_begun, true) {
            sink.write(&[LINES]).map_err(Refusal::Sink)?;
        }
        self.in_page += self.open.len() + rest.len();
        sink.write(&self.open).map_err(Refusal::Sink)?;
        self.open.clear();
        sink.write(rest).map_err(Refusal::Sink)
    }
}

/// The bytes up to and with the last line end, and the rest.
fn at_last_line_end(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1);
    bytes.split_at_checked(end).unwrap_or((bytes, &[]))
}

/// Whether the brackets and strings of a line without an end close.
fn is_closed(line: &[u8]) -> bool {
    let mut nesting = Nesting::new();
    nesting.pass_all(line);
    nesting.is_closed()
}

/// How deep in brackets a JSON text is, byte by byte. Which bracket closes which does not matter.
#[derive(Debug, Clone)]
pub(super) struct Nesting {
    depth: usize,
    in_string: bool,
    is_escaped: bool,
}

impl Nesting {
    pub(super) const fn new() -> Self {
        Self { depth: 0, in_string: false, is_escaped: false }
    }

    /// Passes over bytes; over texts at the speed of memory.
    pub(super) fn pass_all(&mut self, mut bytes: &[u8]) {
        loop {
            if self.in_string && !self.is_escaped {
                let Some(end) = memchr::memchr2(b'"', b'\\', bytes) else { return };
                bytes = bytes.get(end..).unwrap_or_default();
            }
            let Some((byte, rest)) = bytes.split_first() else { return };
            self.pass(*byte);
            bytes = rest;
        }
    }

    pub(super) const fn pass(&mut self, byte: u8) {
        match (self.in_string, byte) {
            (true, _) if self.is_escaped => self.is_escaped = false,
            (true, b'\\') => self.is_escaped = true,
            (_, b'"') => self.in_string = !self.in_string,
            (false, b'[' | b'{') => self.depth += 1,
            (false, b']' | b'}') => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }

    pub(super) const fn is_closed(&self) -> bool {
        self.depth == 0 && !self.in_string
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Result;

    /// Keeps its pages.
    #[derive(Default)]
    struct Pages(Vec<Vec<u8>>);

    impl PageSink for Pages {
        fn write(&mut self, bytes: &[u8]) -> Result<()> {
            if self.0.is_empty() {
                self.0.push(Vec::new());
            }
            self.0.last_mut().unwrap().extend_from_slice(bytes);
            Ok(())
        }

        fn cut(&mut self) -> Result<bool> {
            self.0.push(Vec::new());
            Ok(true)
        }
    }

    fn pages(body: &str, step: usize, limit: u64, most: usize) -> Result<Vec<String>, Refusal> {
        let (mut lines, mut sink) = (Lines::new(limit, most), Pages::default());
        body.as_bytes().chunks(step).try_for_each(|bytes| lines.add(bytes, &mut sink))?;
        lines.finish(&mut sink)?;
        Ok(sink.0.into_iter().map(|page| String::from_utf8(page).unwrap()).collect())
    }

    #[test]
    fn pages_end_where_lines_end_and_hold_every_byte() {
        let body: String = (0..500).map(|n| format!("{{\"n\":{n}}}\n")).collect();
        for step in [1, 7, 64, 200] {
            let pages = pages(&body, step, 1000, 300).unwrap();
            assert!(pages.len() > 10 && pages.iter().all(|page| page.len() <= 301), "{step}");
            assert!(pages.iter().all(|page| page.starts_with('\u{1e}') && page.ends_with('\n')));
            let joined: String = pages.iter().map(|page| &page[1..]).collect();
            assert_eq!(joined, body);
        }
    }

    #[test]
    fn last_line_needs_no_end_but_must_close() {
        assert_eq!(pages("{}\n{\"a\":1}", 3, 100, 100).unwrap(), ["\u{1e}{}\n{\"a\":1}"]);
        assert_eq!(pages("", 3, 100, 100).unwrap(), ["\u{1e}"]);
        for cut in ["{}\n{\"a\":1", "{}\n{\"a", "\"gAAA", "{}\n["] {
            assert!(matches!(pages(cut, 3, 100, 100), Err(Refusal::NoPage(why)) if why.contains("cut short")), "{cut}");
        }
    }

    #[test]
    fn longer_line_than_a_page_is_a_page_and_one_over_the_limit_is_refused() {
        let long = format!("{{}}\n\"{}\"\n{{}}\n", "x".repeat(50));
        let sizes: Vec<usize> = pages(&long, 4, 100, 10).unwrap().iter().map(String::len).collect();
        assert_eq!(sizes, [4, 54, 4]);
        let refused = pages(&"x".repeat(500), 4, 100, 10);
        assert!(matches!(refused, Err(Refusal::TooLarge("line"))), "{refused:?}");
    }

    #[test]
    fn sink_of_one_page_takes_no_more_than_the_limit() {
        let (mut lines, mut sink) = (Lines::new(100, PAGE_BYTES), Vec::new());
        let taken = (0..1000).try_for_each(|_| lines.add(b"{}\n", &mut sink));
        assert!(matches!(taken, Err(Refusal::TooLarge("uncompressed body"))));
        assert!(sink.len() <= 101);
    }
}
