//! The page parser: a body as received → its tokens, borrowed from it, one after the other.
//!
//! Owns what a page is: an array, where the source's shape says that it is, in which at least one element has a token (by default an object
//! with a string `data`), or an empty one; or lines, each of which is an element. What a body is, it shows by itself: a page of lines begins
//! with their mark. Where nothing is encrypted, "token" means the text of the record. The array is split at its commas by brackets and strings alone, and each element is read by itself: one that a strict reader refuses
//! (`NaN`, a raw control character, a byte that is not UTF-8) affects no other. Invariant: every element is either a token or odd, in
//! the page's order; where brackets or strings do not close, the body is cut short or no page, and nothing of it counts. Linear time at
//! any depth, and no memory for an element. Pure.

mod advice;
mod split;
mod token;

use std::borrow::Cow;

use self::split::{end_of_element, is_one_value, trim};
use self::token::Wanted;
use crate::pointer::{Found, Instead, Pointer};
use crate::source::page_shape::LINES;
use crate::source::{BYTE_ORDER_MARK, PageShape};

/// One element of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Element<'a> {
    /// The token: by default the string in the element's last `data` member. Borrowed unless the JSON text has escapes.
    Token(Cow<'a, str>),
    /// The bytes of an element that has no token where it should be, or is no JSON.
    Odd(&'a [u8]),
}

/// Why a complete body is not a page.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAPage {
    /// It does not begin with `[` and end with `]`.
    #[error("not a JSON array")]
    NotAnArray,
    /// It ends within an element.
    #[error("its brackets and strings do not close: it is cut short, or no JSON")]
    NotClosed,
    /// An array, but none of its elements carries a token.
    #[error("none of its {elements} elements has a string \"data\"")]
    NoTokens {
        /// How many elements it has.
        elements: u64,
    },
    /// Where the array of elements should be, there is none.
    #[error("source.items is {items:?}, but {there}")]
    NoItems {
        /// The pointer.
        items: String,
        /// What stands there instead: kinds and names, no values.
        there: String,
    },
    /// The same as [`NotAPage::NoTokens`] for another shape than the origin's.
    #[error("none of its {elements} elements has {wanted}")]
    NothingAtToken {
        /// How many elements it has.
        elements: u64,
        /// What was looked for, and where.
        wanted: String,
    },
    /// The run is to stop, so it was not read to its end: nothing is known of it.
    #[error("the run was stopped before it was read")]
    Interrupted,
}

/// The elements of the page `body`, in order, of a source whose pages have this `shape`. After the last, `Elements::finish` tells whether
/// it was a page.
///
/// # Errors
/// [`NotAPage::NotAnArray`], [`NotAPage::NoItems`], [`NotAPage::NotClosed`].
pub fn elements<'a>(body: &'a [u8], shape: &'a PageShape) -> Result<Elements<'a>, NotAPage> {
    let wanted = Wanted::of(shape);
    if let Some(lines) = body.strip_prefix(&[LINES]) {
        return Ok(Elements::new(without_mark(lines), Ends::Lines, wanted));
    }
    let text = trim(without_mark(body));
    let array = if shape.items.is_whole() { text } else { array_at(&shape.items, text)? };
    let inner = array.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]"));
    Ok(Elements::new(inner.ok_or(NotAPage::NotAnArray)?, Ends::Commas, wanted))
}

/// All elements of the page `body` at once.
///
/// # Errors
/// [`NotAPage`]. An empty array is a page.
pub fn parse<'a>(body: &'a [u8], shape: &'a PageShape) -> Result<Vec<Element<'a>>, NotAPage> {
    let mut elements = elements(body, shape)?;
    let all = elements.by_ref().collect();
    elements.finish().map(|_| all)
}

/// The token in an element, if it has one where the shape says.
pub(crate) fn token_of<'a>(element: &'a [u8], shape: &PageShape) -> Option<Cow<'a, str>> {
    Wanted::of(shape).find(element)
}

/// A page of these tokens, or texts of records, that is read the same whatever the shape of the source's pages is by then. For the
/// origin's shape it is a page as the origin would send it.
///
/// # Errors
/// Where a token cannot be spelled in JSON.
pub(crate) fn page_of<'t>(
    tokens: impl Iterator<Item = &'t str>,
    shape: &PageShape,
) -> Result<Vec<u8>, serde_json::Error> {
    if *shape == PageShape::default() {
        let elements: Vec<_> = tokens.map(|token| serde_json::json!({ "data": token })).collect();
        return serde_json::to_vec(&elements);
    }
    let mut page = vec![LINES];
    for token in tokens {
        serde_json::to_writer(&mut page, token)?;
        page.push(b'\n');
    }
    Ok(page)
}

/// The page, or the first of its lines.
fn first_value(body: &[u8]) -> &[u8] {
    match body.strip_prefix(&[LINES]) {
        Some(lines) => trim(lines.split(|byte| *byte == b'\n').find(|line| !trim(line).is_empty()).unwrap_or_default()),
        None => trim(without_mark(body)),
    }
}

fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)
}

/// The array of elements within a page. Nothing may follow the page; `null` is how some services write an array without elements.
fn array_at<'a>(items: &Pointer, text: &'a [u8]) -> Result<&'a [u8], NotAPage> {
    if text.first() == Some(&b'{') && !is_one_value(text) {
        return Err(NotAPage::NotClosed);
    }
    let there = match items.find(text) {
        Found::Value(b"null") => return Ok(b"[]"),
        Found::Value(array) if array.first() == Some(&b'[') => return Ok(array),
        Found::Value(other) => format!("there stands {}, not an array", Instead::of(other)),
        Found::Missing(missing) => missing.to_string(),
    };
    Err(NotAPage::NoItems { items: items.to_string(), there })
}

/// The elements of a body: see [`elements`].
#[derive(Debug)]
pub struct Elements<'a> {
    /// The text between the outer brackets, or the lines, that is not split yet; `None` at the end.
    rest: Option<&'a [u8]>,
    ends: Ends,
    wanted: Wanted<'a>,
    elements: u64,
    tokens: u64,
    /// Whether there was nothing between the brackets, not even a comma.
    is_bare: bool,
    is_closed: bool,
}

/// Where elements end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    Commas,
    Lines,
}

impl<'a> Elements<'a> {
    const fn new(text: &'a [u8], ends: Ends, wanted: Wanted<'a>) -> Self {
        Self { rest: Some(text), ends, wanted, elements: 0, tokens: 0, is_bare: true, is_closed: true }
    }

    /// How many elements there were.
    ///
    /// # Errors
    /// [`NotAPage`]: none of its elements count.
    pub(crate) fn finish(&self) -> Result<u64, NotAPage> {
        match self {
            Self { is_closed: false, .. } => Err(NotAPage::NotClosed),
            Self { tokens: 0, is_bare: false, .. } => Err(self.none_found()),
            Self { elements, .. } => Ok(*elements),
        }
    }

    fn none_found(&self) -> NotAPage {
        let elements = self.elements;
        let wanted = match self.wanted {
            Wanted::Data => return NotAPage::NoTokens { elements },
            Wanted::Token(at) if at.is_whole() => "is a text (source.token is \"\")".to_owned(),
            Wanted::Token(at) => format!("a text at {:?} (source.token)", at.to_string()),
            Wanted::Record(at) if at.is_whole() => "members (source.token is \"\")".to_owned(),
            Wanted::Record(at) => format!("an object or a text at {:?} (source.token)", at.to_string()),
        };
        NotAPage::NothingAtToken { elements, wanted }
    }

    /// The bytes up to the next comma that is in no bracket and no string, or up to the next line end.
    fn split(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        let (end, is_closed) = match self.ends {
            Ends::Commas => end_of_element(rest),
            Ends::Lines => (memchr::memchr(b'\n', rest).unwrap_or(rest.len()), true),
        };
        self.is_closed &= is_closed;
        let (element, behind) = rest.split_at_checked(end).unwrap_or((rest, &[]));
        self.rest = behind.split_first().map(|(_, rest)| rest);
        self.is_bare &= (self.rest.is_none() || self.ends == Ends::Lines) && trim(element).is_empty();
        Some(trim(element))
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        loop {
            // Between two commas, or on a line, there may be nothing.
            let bytes = self.split()?;
            if bytes.is_empty() {
                continue;
            }
            self.elements += 1;
            let token = match self.ends {
                Ends::Commas => self.wanted.find(bytes),
                Ends::Lines => self.wanted.find_in_line(bytes),
            };
            let Some(token) = token else { return Some(Element::Odd(bytes)) };
            self.tokens += 1;
            return Some(Element::Token(token));
        }
    }
}

#[cfg(test)]
mod tests;
