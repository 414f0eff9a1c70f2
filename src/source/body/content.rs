//! What an unpacked body is, as it comes: one JSON text, or lines of JSON.
//!
//! Who labels the body decides; where nobody says that it is lines, two objects on lines of their own do, since no page has that shape. Until
//! that is known, the first object is held back. Invariant: what goes into the sink is whole as far as its first and last
//! bytes tell, and a page of lines begins with their mark.

use super::super::page_shape::PageShape;
use super::super::{BYTE_ORDER_MARK, PageSink};
use super::json::JsonCheck;
use super::lines::{Lines, Nesting, PAGE_BYTES};
use super::{Refusal, is_space, length, within};

/// What is expected of a body.
#[derive(Debug, Clone, Copy)]
pub(in crate::source) struct Expected<'p> {
    /// The shape of the source's pages.
    pub(in crate::source) shape: &'p PageShape,
    /// What it is, where its type, its name or its beginning says so.
    pub(in crate::source) kind: Option<Kind>,
    /// The most bytes of a JSON text, or of a line.
    pub(in crate::source) limit: u64,
}

impl Expected<'_> {
    /// Whether it is lines whatever it holds.
    pub(in crate::source) fn is_lines(&self) -> bool {
        self.kind == Some(Kind::Lines) && self.shape.may_have_lines()
    }

    /// Whether it is lines, or may turn out to be.
    pub(in crate::source) fn may_be_lines(&self) -> bool {
        self.is_lines() || self.is_unsure()
    }

    /// Whether only its beginning can tell what it is.
    pub(in crate::source) fn is_unsure(&self) -> bool {
        self.kind.is_none() && self.shape.may_have_lines()
    }
}

/// A body, as far as it came.
pub(super) enum Content<'p> {
    Json(JsonCheck<'p>),
    Lines(Lines),
    /// The beginning of what may be either.
    Unsure(Beginning, JsonCheck<'p>),
}

impl<'p> Content<'p> {
    pub(super) fn new(expected: Expected<'p>) -> Self {
        let json = JsonCheck::new(&expected.shape.items, expected.limit);
        if expected.is_lines() {
            Self::Lines(Lines::new(expected.limit, PAGE_BYTES))
        } else if expected.is_unsure() {
            Self::Unsure(Beginning::new(expected.limit), json)
        } else {
            Self::Json(json)
        }
    }

    /// Takes the next bytes.
    pub(super) fn add<S: PageSink>(&mut self, bytes: &[u8], sink: &mut S) -> Result<(), Refusal> {
        match self {
            Self::Json(json) => {
                json.add(bytes)?;
                sink.write(bytes).map_err(Refusal::Sink)
            }
            Self::Lines(lines) => lines.add(bytes, sink),
            Self::Unsure(beginning, _) => {
                let Some(kind) = beginning.add(bytes)? else { return Ok(()) };
                self.decide(kind, sink)
            }
        }
    }

    /// Goes on as what the beginning is.
    fn decide<S: PageSink>(&mut self, kind: Kind, sink: &mut S) -> Result<(), Refusal> {
        let Self::Unsure(beginning, json) = self else { return Ok(()) };
        let (held, limit) = (std::mem::take(&mut beginning.held), beginning.limit);
        *self = match kind {
            Kind::Json => Self::Json(json.clone()),
            Kind::Lines => Self::Lines(Lines::new(limit, PAGE_BYTES)),
        };
        self.add(&held, sink)
    }

    /// What is known of a whole JSON text that a sink took by itself.
    pub(super) fn add_taken(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        match self {
            Self::Json(json) => json.add(bytes),
            Self::Lines(_) | Self::Unsure(..) => Ok(()),
        }
    }

    /// Whether a sink may take it without being shown it first.
    pub(super) const fn is_json(&self) -> bool {
        matches!(self, Self::Json(_))
    }

    /// Whether it is lines, as far as it is known.
    pub(super) const fn is_lines(&self) -> bool {
        matches!(self, Self::Lines(_))
    }

    /// Ends the body.
    pub(super) fn finish<S: PageSink>(&mut self, sink: &mut S) -> Result<(), Refusal> {
        // One object is no lines.
        self.decide(Kind::Json, sink)?;
        match self {
            Self::Lines(lines) => lines.finish(sink),
            Self::Json(json) | Self::Unsure(_, json) => json.finish(),
        }
    }
}

/// What a body can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::source) enum Kind {
    Json,
    Lines,
}

/// The beginning of a body that is lines if a second object follows the first on another line.
#[derive(Debug)]
pub(in crate::source) struct Beginning {
    limit: u64,
    held: Vec<u8>,
    /// How much of it was looked at.
    seen: usize,
    nesting: Nesting,
    /// Whether the first object has begun, has ended, and a line end came after it.
    has_begun: bool,
    has_ended: bool,
    is_next_line: bool,
}

impl Beginning {
    pub(in crate::source) fn new(limit: u64) -> Self {
        let (held, nesting) = (Vec::new(), Nesting::new());
        Self { limit, held, seen: 0, nesting, has_begun: false, has_ended: false, is_next_line: false }
    }

    /// What was held back.
    pub(in crate::source) fn into_held(self) -> Vec<u8> {
        self.held
    }

    /// What the body is, once the next bytes tell it.
    pub(in crate::source) fn add(&mut self, bytes: &[u8]) -> Result<Option<Kind>, Refusal> {
        self.held.extend_from_slice(bytes);
        while let Some(byte) = self.held.get(self.seen).copied() {
            let kind = self.look_at(byte);
            if kind.is_some() {
                return Ok(kind);
            }
            self.seen += 1;
        }
        within(self.limit, length(&self.held), "first line of the body")?;
        Ok(None)
    }

    fn look_at(&mut self, byte: u8) -> Option<Kind> {
        if self.has_ended {
            self.is_next_line |= byte == b'\n';
            let is_second = byte == b'{' && self.is_next_line;
            return if is_space(byte) { None } else { Some(if is_second { Kind::Lines } else { Kind::Json }) };
        }
        if !self.has_begun {
            if is_space(byte) || BYTE_ORDER_MARK.get(self.seen) == Some(&byte) {
                return None;
            }
            self.has_begun = true;
            if byte != b'{' {
                return Some(Kind::Json);
            }
        }
        self.nesting.pass(byte);
        self.has_ended = self.nesting.is_closed();
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(body: &str, step: usize) -> Option<Kind> {
        let mut beginning = Beginning::new(1000);
        body.as_bytes().chunks(step).find_map(|bytes| beginning.add(bytes).unwrap())
    }

    #[test]
    fn second_object_on_another_line_makes_it_lines() {
        for step in [1, 3, 1000] {
            for lines in ["{}\n{", " {\"a\":\"}\\\"\"} \r\n\n {\"b\":1}", "\u{feff}{\"a\":[{}]}\n{}"] {
                assert_eq!(kind(lines, step), Some(Kind::Lines), "{lines}");
            }
            for json in ["[", " [{}]\n[]", "{}[", "{} {}", "{}\n[", "\"a\"\n{}", "<html>", "{}}"] {
                assert_eq!(kind(json, step), Some(Kind::Json), "{json}");
            }
            for unsure in ["", "\n", "{", "{\"a\":1}", "{\"a\":\n{\"b\":\n{}}}\n", "\u{feff}"] {
                assert_eq!(kind(unsure, step), None, "{unsure}");
            }
        }
    }

    #[test]
    fn first_line_is_held_up_to_the_limit() {
        let refused = Beginning::new(100).add("{\"a\":1,".repeat(50).as_bytes());
        assert!(matches!(refused, Err(Refusal::TooLarge(_))), "{refused:?}");
    }
}
