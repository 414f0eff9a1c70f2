//! Whether an unpacked body is one JSON text that may be a page, as far as its first and last bytes tell.
//!
//! An array is, and so is an object, where the source's array of elements is within it or may have moved into it: then it is kept, because
//! what it holds may not come again, and set aside if its array is not found. An object without anything in it that could be logs is an
//! answer in words (`{"error": …}`), and no page. Invariant: as much is remembered of an object as can be told of it in a message.

use super::super::{BYTE_ORDER_MARK, shape};
use super::lines::Nesting;
use super::{Refusal, is_space, length, within};
use crate::pointer::{Found, Pointer};

/// So much of an object is remembered. What is larger than that is no answer in words.
const REMEMBERED: usize = 64 << 10;

/// The check of a JSON text.
#[derive(Debug, Clone)]
pub(super) struct JsonCheck<'p> {
    items: &'p Pointer,
    limit: u64,
    bytes: u64,
    /// How many bytes of a byte-order mark came at its start.
    mark: usize,
    /// The first and the last byte that is no white space.
    first: Option<u8>,
    last: Option<u8>,
    /// The beginning of an object, and how deep its end is in brackets: each of its elements ends like itself.
    beginning: Vec<u8>,
    nesting: Nesting,
}

impl<'p> JsonCheck<'p> {
    pub(super) const fn new(items: &'p Pointer, limit: u64) -> Self {
        let nesting = Nesting::new();
        Self { items, limit, bytes: 0, mark: 0, first: None, last: None, beginning: Vec::new(), nesting }
    }

    /// Checks the next bytes.
    pub(super) fn add(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.bytes = self.bytes.saturating_add(length(bytes));
        within(self.limit, self.bytes, "uncompressed body")?;
        let bytes = self.after_the_mark(bytes)?;
        if self.first.is_none() {
            self.first = bytes.iter().find(|byte| !is_space(**byte)).copied();
            if let Some(first) = self.first.filter(|first| !matches!(first, b'[' | b'{')) {
                return Err(Refusal::NoPage(format!("the body {}", what_begins_with(first))));
            }
        }
        if self.first == Some(b'{') {
            let room = REMEMBERED.saturating_sub(self.beginning.len()).min(bytes.len());
            self.beginning.extend_from_slice(bytes.get(..room).unwrap_or_default());
            self.nesting.pass_all(bytes);
        }
        self.last = bytes.iter().rev().find(|byte| !is_space(**byte)).copied().or(self.last);
        Ok(())
    }

    /// The next bytes without those of a byte-order mark at the start of the body.
    fn after_the_mark<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], Refusal> {
        let taken = self.bytes.saturating_sub(length(bytes));
        if u64::try_from(self.mark).is_ok_and(|mark| mark != taken) {
            return Ok(bytes);
        }
        let left = BYTE_ORDER_MARK.get(self.mark..).unwrap_or_default();
        let same = left.iter().zip(bytes).take_while(|(mark, byte)| mark == byte).count();
        self.mark += same;
        let rest = bytes.get(same..).unwrap_or_default();
        let is_broken = !rest.is_empty() && (1..BYTE_ORDER_MARK.len()).contains(&self.mark);
        if is_broken { Err(Refusal::NoPage("the body is no JSON array".to_owned())) } else { Ok(rest) }
    }

    /// Ends the body.
    pub(super) fn finish(&self) -> Result<(), Refusal> {
        match (self.first, self.last) {
            (Some(b'['), Some(b']')) => Ok(()),
            (Some(b'{'), Some(b'}')) if self.nesting.is_closed() => self.object(),
            (Some(first), _) => {
                let end = if first == b'[' { "a ]" } else { "the last }" };
                let bytes = self.bytes;
                Err(Refusal::NoPage(format!("the body is cut short after {bytes} bytes, without {end} at its end")))
            }
            (None, _) => Err(Refusal::NoPage("the body is empty".to_owned())),
        }
    }

    /// Refuses an object that holds nothing that could be logs.
    fn object(&self) -> Result<(), Refusal> {
        let is_whole = self.beginning.len() < REMEMBERED;
        let leads_there = !self.items.is_whole() && matches!(self.items.find(&self.beginning), Found::Value(_));
        if !is_whole || leads_there || shape::may_hold_logs(&self.beginning) {
            return Ok(());
        }
        let there = shape::of(&self.beginning);
        Err(Refusal::NoPage(match self.items.is_whole() {
            true => format!("the body is a JSON object, not an array{there}"),
            false => format!("the body is a JSON object without {} (source.items){there}", self.items),
        }))
    }
}

const fn what_begins_with(first: u8) -> &'static str {
    match first {
        b'<' => "is HTML or XML, not a JSON array",
        0x1f => "is gzip that is not said to be",
        0x28 => "is no JSON array: it may be zstd that is not said to be",
        _ => "is no JSON array",
    }
}
