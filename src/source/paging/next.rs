//! What an answer says of the page after it.
//!
//! Pure. Invariant: only what is not there, null, false or empty says that nothing follows; anything else that cannot be asked for is an
//! error, and the trail is not whole.

use super::{Body, Next, PageRequest, Position, Template, Trail};
use crate::config::PagingStyle;
use crate::error::{Error, ErrorKind};
use crate::pointer::{self, Found, Instead};
use crate::source::{NO_ELEMENTS, PageHead};

impl Template {
    /// What comes after the page at `position`, whose body is `body`: it is durable.
    pub(crate) fn next(
        &self,
        position: &Position,
        asked: &PageRequest,
        head: &PageHead,
        body: Body<'_>,
        trail: &mut Trail,
    ) -> Next {
        match self.paging.style {
            PagingStyle::None => Next::End,
            PagingStyle::Link => match &head.link {
                Some(reference) => self.at(asked, head, reference),
                None => Next::End,
            },
            PagingStyle::NextUrl | PagingStyle::Cursor => self.pointed(asked, head, body, trail),
            PagingStyle::Page | PagingStyle::Offset => self.counted(position, asked, body, trail),
        }
    }

    fn at(&self, asked: &PageRequest, head: &PageHead, reference: &str) -> Next {
        self.follow(asked, head.answered_at.as_ref(), reference).map_or_else(Next::Lost, Next::Page)
    }

    /// How many elements a page has; `None`: there is no array where they should be.
    fn elements(&self, body: Body<'_>) -> Option<usize> {
        let Some(lines) = body.lines else {
            // An answer without a body is an empty page, whatever the shape.
            let is_nothing = body.bytes == NO_ELEMENTS;
            return if is_nothing { Some(0) } else { self.items.find(body.bytes).value().and_then(in_array) };
        };
        Some(lines)
    }

    /// By what stands in the page.
    fn pointed(&self, asked: &PageRequest, head: &PageHead, body: Body<'_>, trail: &mut Trail) -> Next {
        let elements = self.elements(body);
        if trail.ends_with(body, elements) {
            return if trail.began_again() { self.ignored(asked, body) } else { Next::End };
        }
        let value = match self.paging.next.find(body.bytes) {
            Found::Value(value) => value,
            Found::Missing(missing) => {
                self.note_missing(asked, elements, &missing.to_string());
                return Next::End;
            }
        };
        match (value, pointer::text(value)) {
            (b"null" | b"false" | b"\"\"", _) => Next::End,
            (_, Some(reference)) if self.paging.style == PagingStyle::NextUrl => self.at(asked, head, &reference),
            (other, _) if self.paging.style == PagingStyle::NextUrl => {
                self.lost(asked, &format!("stands {}, and no address", Instead::of(other)))
            }
            (b"true", _) => self.lost(asked, "stands true, and no cursor"),
            (cursor, _) => match std::str::from_utf8(cursor) {
                Ok(cursor) => Next::Page(Position::Cursor(cursor.to_owned())),
                Err(_) => self.lost(asked, "stands what is not UTF-8"),
            },
        }
    }

    /// The second page was the first again. Where it says that more follows, the service took no notice of what was sent.
    fn ignored(&self, asked: &PageRequest, body: Body<'_>) -> Next {
        let Found::Value(value) = self.paging.next.find(body.bytes) else { return Next::End };
        if matches!(value, b"null" | b"false" | b"\"\"") {
            return Next::End;
        }
        let error =
            Error::new(ErrorKind::Unavailable, format!("{asked}: the first page again, and it says that more follow"));
        let hint =
            format!("look up what the service takes, and set source.paging.param (\"{}\") to it", self.paging.param);
        Next::Lost(error.hint(hint))
    }

    /// A full page without what leads on is suspicious, although it may be the last.
    fn note_missing(&self, asked: &PageRequest, elements: Option<usize>, missing: &str) {
        let is_full = self.paging.size > 0 && elements.is_some_and(|elements| elements >= self.size());
        match is_full {
            true => tracing::warn!(
                "{asked}: a full page, and nothing at source.paging.next (\"{}\"): {missing}",
                self.paging.next
            ),
            false => tracing::info!("{asked} is the last page: {missing}"),
        }
    }

    fn lost(&self, asked: &PageRequest, what: &str) -> Next {
        let error = Error::new(
            ErrorKind::Unavailable,
            format!("{asked}: at source.paging.next (\"{}\") {what}", self.paging.next),
        );
        Next::Lost(error.hint("correct source.paging.next: the pages after this one are not asked for"))
    }

    fn size(&self) -> usize {
        usize::try_from(self.paging.size).unwrap_or(usize::MAX)
    }

    /// By counting: an empty page is the last, and one that is not full where its size is known.
    fn counted(&self, position: &Position, asked: &PageRequest, body: Body<'_>, trail: &mut Trail) -> Next {
        let Some(elements) = self.elements(body) else {
            let what = format!("{asked}: the elements of the page cannot be counted: {}", self.what_is_there(body));
            return Next::Lost(Error::new(ErrorKind::Unavailable, what).hint("look at what source.url answers"));
        };
        if trail.ends_with(body, Some(elements)) || elements == 0 || elements < self.size() {
            return Next::End;
        }
        let here = if let Position::Number(number) = position { *number } else { u64::from(self.paging.start) };
        let step = if self.paging.style == PagingStyle::Page { 1 } else { elements as u64 };
        Next::Page(Position::Number(here.saturating_add(step)))
    }

    fn what_is_there(&self, body: Body<'_>) -> String {
        match self.items.find(body.bytes) {
            Found::Value(value) => format!("there is {}, and no array", Instead::of(value)),
            Found::Missing(missing) => missing.to_string(),
        }
    }
}

/// How many elements an array has. `null` counts as an empty one.
fn in_array(value: &[u8]) -> Option<usize> {
    if value == b"null" { Some(0) } else { pointer::elements(value) }
}
