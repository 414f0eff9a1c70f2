//! A page into records: decrypt, parse, date, hash, compact. Pure; several pages can be decoded at once.
//!
//! Invariant: every element of a page is either a record or an odd token with its reason; a bad token affects no other. A few odd
//! tokens of a page are kept. Of many, only their number and an estimate of how many differ is kept, and `Decoder::odd_again` finds
//! them again, one by one: so a page of tiny odd elements takes no more memory than another.

mod decoded;
mod distinct;
#[cfg(test)]
mod tests;
mod token;

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::error;
use crate::hour::Hour;
use crate::page::decrypt::KeyRing;
use crate::page::parse::{self, Element, NotAPage};
use crate::record::Schema;
use crate::record::row::Compactor;
use crate::source::PageShape;
use crate::state::pages::quarantine::OddToken;

pub use self::decoded::{Decoded, DecodedRecord};
pub(crate) use self::decoded::{FUTURE, WRONG_KEY};

/// How many elements, or bytes of them, are read between two checks for a stop.
const ELEMENTS_A_LOOK: usize = 64;
const BYTES_A_LOOK: usize = 64 << 10;

/// Takes hour, content hash and token of a record.
pub type TakeToken<'a> = &'a mut dyn FnMut(Hour, [u8; 16], &str) -> error::Result<()>;

/// Asked now and then whether to stop.
pub(crate) type ToStop<'a> = &'a dyn Fn() -> bool;

/// What decoding needs to know. Fixed for a run.
#[derive(Debug)]
pub struct Decoder {
    /// What the source's pages look like.
    pub shape: PageShape,
    /// The keys; none where nothing is encrypted.
    pub ring: KeyRing,
    /// What a record is.
    pub schema: Schema,
    /// The compaction.
    pub compactor: Compactor,
    /// Names the compaction's codecs in a part's metadata.
    pub dictionaries: String,
    /// How far ahead of its receipt a record may be.
    pub max_future: SignedDuration,
}

/// Why reading a page ended early.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The body is not a page, or the run is to stop.
    Page(NotAPage),
    /// Whoever takes the odd tokens failed.
    Taker(error::Error),
}

impl Decoder {
    /// Decodes the page `body`, received at `received`.
    ///
    /// # Errors
    /// [`NotAPage`]: the body is no array of tokens.
    pub fn page(&self, body: &[u8], received: Timestamp) -> Result<Decoded, NotAPage> {
        self.page_until(body, received, &|| false)
    }

    /// The same, until `stop` says to stop.
    ///
    /// # Errors
    /// [`NotAPage`]: the body is no array of tokens, or [`NotAPage::Interrupted`].
    pub(crate) fn page_until(&self, body: &[u8], received: Timestamp, stop: ToStop<'_>) -> Result<Decoded, NotAPage> {
        let mut decoded = Decoded::default();
        // About as many as a page of usual tokens has.
        decoded.records.reserve(body.len() / 512);
        match self.walk(body, received, stop, &mut decoded, &mut Decoded::drop_odd_if_many) {
            Ok(()) => Ok(decoded),
            Err(Ended::Page(reason)) => Err(reason),
            // Nobody takes odd tokens, so nobody can fail.
            Err(Ended::Taker(_)) => Err(NotAPage::Interrupted),
        }
    }

    /// Hands the odd tokens of a page that was decoded before to `each`, in the order of the page. Equal ones may be left out.
    ///
    /// # Errors
    /// [`Ended`]: stopped, or whatever `each` returns.
    pub(crate) fn odd_again(
        &self,
        body: &[u8],
        received: Timestamp,
        stop: ToStop<'_>,
        each: &mut dyn FnMut(OddToken) -> error::Result<()>,
    ) -> Result<(), Ended> {
        self.walk(body, received, stop, &mut Decoded::default(), &mut |decoded| {
            decoded.records.clear();
            decoded.lines.clear();
            decoded.odd.drain(..).try_for_each(&mut *each)
        })
    }

    /// Hands hour, content hash and token of the records of `hours` on a page that was decoded before to `each`.
    ///
    /// # Errors
    /// [`Ended`]: stopped, or whatever `each` returns.
    pub(crate) fn tokens_of(
        &self,
        body: &[u8],
        received: Timestamp,
        stop: ToStop<'_>,
        hours: &BTreeSet<Hour>,
        each: TakeToken<'_>,
    ) -> Result<(), Ended> {
        let mut pace = Pace { stop, elements: 0, bytes: 0 };
        let mut decoded = Decoded::default();
        for element in parse::elements(body, &self.shape).map_err(Ended::Page)? {
            let Element::Token(token) = element else { continue };
            self.token(&token, received, &mut decoded);
            if let Some(record) = decoded.records.first().filter(|record| hours.contains(&record.hour)) {
                each(record.hour, record.entry.hash, &token).map_err(Ended::Taker)?;
            }
            decoded.clear();
            if pace.is_over(token.len()) {
                return Err(Ended::Page(NotAPage::Interrupted));
            }
        }
        Ok(())
    }

    /// Reads the elements of a page into `decoded`, and calls `after` after each.
    fn walk(
        &self,
        body: &[u8],
        received: Timestamp,
        stop: ToStop<'_>,
        decoded: &mut Decoded,
        after: &mut dyn FnMut(&mut Decoded) -> error::Result<()>,
    ) -> Result<(), Ended> {
        let mut elements = parse::elements(body, &self.shape).map_err(Ended::Page)?;
        let mut pace = Pace { stop, elements: 0, bytes: 0 };
        let mut last: &[u8] = &[];
        for element in elements.by_ref() {
            let length = match &element {
                Element::Token(token) => token.len(),
                Element::Odd(bytes) => bytes.len(),
            };
            match element {
                Element::Token(token) => self.token(&token, received, decoded),
                // Equal ones in a row are one.
                Element::Odd(bytes) if bytes == last => decoded.odd_seen += 1,
                Element::Odd(bytes) => {
                    decoded.put_odd(token::without_token(bytes, received, &self.shape));
                    last = bytes;
                }
            }
            after(decoded).map_err(Ended::Taker)?;
            if pace.is_over(length) {
                return Err(Ended::Page(NotAPage::Interrupted));
            }
        }
        decoded.elements = elements.finish().map_err(Ended::Page)?;
        Ok(())
    }
}

/// Asks now and then whether to stop: often enough to stop soon, seldom enough to cost nothing.
struct Pace<'a> {
    stop: ToStop<'a>,
    elements: usize,
    bytes: usize,
}

impl Pace<'_> {
    /// Counts an element of `bytes`. Whether it is time to stop.
    fn is_over(&mut self, bytes: usize) -> bool {
        self.elements += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        if self.elements < ELEMENTS_A_LOOK && self.bytes < BYTES_A_LOOK {
            return false;
        }
        (self.elements, self.bytes) = (0, 0);
        (self.stop)()
    }
}
