//! A page into records: decrypt, parse, date, hash, compact. Pure; several pages can be decoded at once.
//!
//! Invariant: every element of a page is either a record or an odd token with its reason; one bad token costs only itself.
//! Odd tokens of a page are held while they are few. Where they are many, only their number and how their identities are
//! spread is kept, and [`Decoder::odd_again`] finds them once more, one by one: a page of nothing but tiny odd elements takes
//! no more memory than another.

mod spread;

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::error;
use crate::hour::Hour;
use crate::page::decrypt::{DecryptError, KeyRing};
use crate::page::parse::{self, Element, NotAPage};
use crate::record::row::Compactor;
use crate::record::{self, MAX_LINE, MAX_VALUES, Reason, ReasonKind, Record, Scratch, Value, json};
use crate::state::Entry;
use crate::state::pages::quarantine::{Encoding, Identity, OddToken};

pub use spread::Spread;

/// Limits for the odd tokens of one page that are kept in memory: their number and their bytes. Beyond either, none are kept.
const HELD: usize = 4096;
const HELD_BYTES: usize = 1 << 20;
/// How many elements, or bytes of them, are read between two checks for a stop.
const ELEMENTS_A_LOOK: usize = 64;
const BYTES_A_LOOK: usize = 64 << 10;
/// Escaping makes a text at most this many times longer: a control character becomes `\u0001`.
const GROWTH: usize = 6;
/// What a row has beyond the record's own JSON text: the compact forms beside what does not stand alone.
const ROW_EXTRA: usize = 1 << 10;
/// Working memory that is worth keeping from record to record.
const WORTH_KEEPING: usize = 1 << 20;

/// Takes hour, content hash and token of a record.
pub type TakeToken<'a> = &'a mut dyn FnMut(Hour, [u8; 16], &str) -> error::Result<()>;

/// Asked now and then whether to stop.
pub type ToStop<'a> = &'a dyn Fn() -> bool;

/// What decoding needs to know. Fixed for a run.
#[derive(Debug)]
pub struct Decoder {
    /// The keys.
    pub ring: KeyRing,
    /// The time zone of the hours.
    pub zone: TimeZone,
    /// The compaction.
    pub compactor: Compactor,
    /// Names the compaction's dictionaries in a part's metadata.
    pub dictionaries: String,
    /// How far ahead of its receipt a record may be.
    pub max_future: SignedDuration,
    /// The field with the source's rising number. Empty: none.
    pub sequence: String,
}

/// A record, ready to be committed: its hour, its index entry; its line is among [`Decoded::lines`].
#[derive(Debug, Clone, Copy)]
pub struct DecodedRecord {
    /// The event-time hour.
    pub hour: Hour,
    /// Hash, event time and length of the line.
    pub entry: Entry,
    /// The source's rising number, where it has one that fits.
    pub id: Option<i64>,
}

/// A decoded page.
#[derive(Debug, Default)]
pub struct Decoded {
    /// The records in the order of the page, duplicates included.
    pub records: Vec<DecodedRecord>,
    /// Their compact lines one behind the other, without newlines.
    pub lines: Vec<u8>,
    /// What is no record, where it is little; else nothing, and `spread` says how it is spread.
    pub odd: Vec<OddToken>,
    /// Elements that are no record.
    pub odd_seen: u64,
    /// How the identities of the odd tokens are spread that are not held.
    pub spread: Option<Spread>,
    /// Bytes of the odd tokens that are held.
    odd_bytes: usize,
    /// Elements of the page.
    pub elements: u64,
    /// Tokens that a key opened.
    opened: u64,
    /// Well-formed tokens that no key opened.
    refused: u64,
    /// The hash's working memory, kept from record to record.
    scratch: Scratch,
}

impl Decoded {
    /// Whether the key is wrong: there are tokens, and no key opens any of them.
    #[must_use]
    pub const fn key_is_wrong(&self) -> bool {
        self.opened == 0 && self.refused > 0
    }

    /// Leaves out the records of some hours.
    pub fn leave_out(&mut self, hours: &BTreeSet<Hour>) {
        let lines = std::mem::take(&mut self.lines);
        let mut rest = lines.as_slice();
        self.records.retain(|record| {
            let length = usize::try_from(record.entry.length).unwrap_or(usize::MAX);
            let (line, behind) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            rest = behind;
            let stays = !hours.contains(&record.hour);
            if stays {
                self.lines.extend_from_slice(line);
            }
            stays
        });
    }

    /// Forgets records, lines and odd tokens.
    fn clear(&mut self) {
        self.records.clear();
        self.lines.clear();
        self.odd.clear();
    }

    /// About how many different odd tokens there are.
    #[must_use]
    pub fn distinct_odd(&self) -> u64 {
        self.spread.as_ref().map_or(self.odd.len() as u64, Spread::distinct)
    }

    fn put_odd(&mut self, odd: OddToken) {
        self.odd_seen += 1;
        self.odd_bytes = self.odd_bytes.saturating_add(odd.token.len());
        self.odd.push(odd);
    }

    /// Lets the odd tokens go where they are too many to be held.
    fn spill(&mut self) -> error::Result<()> {
        if self.spread.is_none() && self.odd.len() <= HELD && self.odd_bytes <= HELD_BYTES {
            return Ok(());
        }
        let spread = self.spread.get_or_insert_default();
        self.odd.drain(..).for_each(|odd| spread.note(odd.identity()));
        Ok(())
    }
}

/// Why reading a page ended early: it is none, or somebody else failed.
#[derive(Debug)]
pub enum Ended {
    /// The body is no page, or the run is to stop.
    Page(NotAPage),
    /// Whoever takes the odd tokens.
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

    /// The same, but given up where it is time to stop.
    ///
    /// # Errors
    /// [`NotAPage`]: the body is no array of tokens, or [`NotAPage::Interrupted`].
    pub fn page_until(&self, body: &[u8], received: Timestamp, stop: ToStop<'_>) -> Result<Decoded, NotAPage> {
        let mut decoded = Decoded::default();
        // About as many as a page of usual tokens has.
        decoded.records.reserve(body.len() / 512);
        match self.walk(body, received, stop, &mut decoded, &mut Decoded::spill) {
            Ok(()) => Ok(decoded),
            Err(Ended::Page(reason)) => Err(reason),
            // Nobody takes anything: spilling cannot fail.
            Err(Ended::Taker(_)) => Err(NotAPage::Interrupted),
        }
    }

    /// Gives the odd tokens of a page that was decoded before to `each`, in the order of the page; equal ones may be left out.
    ///
    /// # Errors
    /// [`Ended`]: stopped, or whatever `each` returns.
    pub fn odd_again(
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

    /// Gives hour, content hash and token of the records of some hours, on a page that was decoded before, to `each`.
    ///
    /// # Errors
    /// [`Ended`]: stopped, or whatever `each` returns.
    pub fn tokens_of(
        &self,
        body: &[u8],
        received: Timestamp,
        stop: ToStop<'_>,
        hours: &BTreeSet<Hour>,
        each: TakeToken<'_>,
    ) -> Result<(), Ended> {
        let mut pace = Pace { stop, elements: 0, bytes: 0 };
        let mut decoded = Decoded::default();
        for element in parse::elements(body).map_err(Ended::Page)? {
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
        let mut elements = parse::elements(body).map_err(Ended::Page)?;
        let mut pace = Pace { stop, elements: 0, bytes: 0 };
        let mut last: &[u8] = &[];
        for element in elements.by_ref() {
            let length = match &element {
                Element::Token(token) => token.len(),
                Element::Odd(bytes) => bytes.len(),
            };
            match element {
                Element::Token(token) => self.token(&token, received, decoded),
                // Equal ones in a row are one, and need no second look.
                Element::Odd(bytes) if bytes == last => decoded.odd_seen += 1,
                Element::Odd(bytes) => {
                    decoded.put_odd(no_token(bytes, received));
                    last = bytes;
                }
            }
            after(decoded).map_err(Ended::Taker)?;
            if pace.is_over(length) {
                return Err(Ended::Page(NotAPage::Interrupted));
            }
        }
        decoded.elements = elements.verdict().map_err(Ended::Page)?;
        Ok(())
    }

    /// Decodes one token into `decoded`: a record, or an odd token.
    pub fn token(&self, token: &str, received: Timestamp, decoded: &mut Decoded) {
        match self.ring.decrypt(token) {
            Ok(plaintext) => {
                decoded.opened += 1;
                self.plaintext(token, &plaintext, received, decoded);
            }
            Err(e) => {
                decoded.refused += u64::from(e == DecryptError::WrongKey);
                let reason = match e {
                    DecryptError::WrongKey => "wrong-key",
                    DecryptError::Malformed => "malformed-token",
                };
                let odd = OddToken {
                    identity: identity(token.as_bytes()),
                    reason: reason.into(),
                    detail: e.to_string(),
                    token: token.to_owned(),
                    encoding: None,
                    received,
                    due: None,
                };
                decoded.put_odd(odd);
            }
        }
    }

    fn plaintext(&self, token: &str, plaintext: &[u8], received: Timestamp, decoded: &mut Decoded) {
        let odd = |reason: &str, detail: String, due| OddToken {
            identity: identity(plaintext),
            reason: reason.to_owned(),
            detail,
            token: token.to_owned(),
            encoding: None,
            received,
            due,
        };
        let read = record::read(plaintext, &self.zone).and_then(|record| within_a_line(plaintext, record));
        match read {
            Ok(record) => match self.comes_due(&record, received) {
                None => self.take(&record, decoded),
                Some(due) => {
                    let detail = format!("its inDate {} is too far ahead of its receipt", record.at);
                    decoded.put_odd(odd("future", detail, Some(due)));
                }
            },
            Err(reason) => decoded.put_odd(odd(reason.kind(), record::explain(plaintext, &reason), None)),
        }
    }

    /// When a record that is too far ahead of its receipt will no longer be.
    fn comes_due(&self, record: &Record<'_>, received: Timestamp) -> Option<Timestamp> {
        let due = record.at.checked_sub(self.max_future).unwrap_or(Timestamp::MIN);
        (due > received).then_some(due)
    }

    fn take(&self, record: &Record<'_>, decoded: &mut Decoded) {
        let hash = record::content_hash(&record.fields, &mut decoded.scratch);
        decoded.scratch.shrink_to(WORTH_KEEPING);
        let start = decoded.lines.len();
        self.compactor.write_row(&record.fields, &mut decoded.lines);
        // A line has at most 64 MiB: far below 4 GB.
        let length = u32::try_from(decoded.lines.len() - start).unwrap_or(u32::MAX);
        let entry = Entry::new(hash, record.at, length);
        decoded.records.push(DecodedRecord { hour: record.hour, entry, id: self.id(record) });
    }

    fn id(&self, record: &Record<'_>) -> Option<i64> {
        match record.fields.iter().find(|(key, _)| *key == self.sequence) {
            Some((_, value)) => whole_number(value),
            None => None,
        }
    }
}

/// The largest whole number up to which a float has each.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A value as a rising number: an integer, or a text or a float that spells one.
fn whole_number(value: &Value<'_>) -> Option<i64> {
    match value {
        Value::Int(digits) | Value::Str(digits) => digits.parse().ok(),
        // As text, because a cast would hide what does not fit.
        Value::Float(number) if number.fract() == 0.0 && number.abs() <= EXACT => format!("{number:.0}").parse().ok(),
        _ => None,
    }
}

/// The record, if what is written of it can be read back: neither its row nor its original is longer than a line may be.
fn within_a_line<'r>(plaintext: &[u8], record: Record<'r>) -> Result<Record<'r>, Reason> {
    if plaintext.len() > MAX_VALUES && record::count_values(&record.fields) > MAX_VALUES {
        return Err(Reason::too_many_values());
    }
    let most = MAX_LINE - ROW_EXTRA;
    if plaintext.len() <= most / GROWTH || json::length(&record.fields, most) <= most {
        return Ok(record);
    }
    Err(Reason::new(ReasonKind::TooLarge, "its line would be longer than the 64 MiB that a line may have"))
}

/// Says now and then whether it is time to stop: often enough to be heard, seldom enough to cost nothing.
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

/// An element without a token.
fn no_token(bytes: &[u8], received: Timestamp) -> OddToken {
    let (token, encoding) = match std::str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), None),
        Err(_) => (STANDARD.encode(bytes), Some(Encoding::Base64)),
    };
    OddToken {
        identity: identity(bytes),
        reason: "no-token".to_owned(),
        detail: "the element has no text under \"data\", or is no JSON".to_owned(),
        token,
        encoding,
        received,
        due: None,
    }
}

/// The identity of an odd token: 128 bits of BLAKE3, hex.
fn identity(bytes: &[u8]) -> String {
    Identity::of(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::record::row::Dictionaries;
    use crate::secret::Secret;

    const KEY: &str = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";

    fn decoder() -> Decoder {
        Decoder {
            ring: KeyRing::new(&[Secret::new(KEY)]).unwrap(),
            zone: TimeZone::UTC,
            compactor: Compactor::new(&Dictionaries::default()),
            dictionaries: String::new(),
            max_future: SignedDuration::from_hours(1),
            sequence: "record_id".into(),
        }
    }

    fn now() -> Timestamp {
        "2023-03-10T02:00:00Z".parse().unwrap()
    }

    /// What becomes of a token with this plaintext.
    fn decoded(plaintext: &str) -> Decoded {
        let token = fernet::Fernet::new(KEY).unwrap().encrypt(plaintext.as_bytes());
        let mut decoded = Decoded::default();
        decoder().token(&token, now(), &mut decoded);
        decoded
    }

    fn with_text(text: &str) -> String {
        format!("{{'inDate': '2023-03-10T01:48:11.818Z', 'x': '{text}'}}")
    }

    #[test]
    fn record_whose_line_could_not_be_read_back_is_too_large() {
        let most = MAX_LINE / GROWTH;
        for (text, reason) in [
            ("\u{1}".repeat(most - 2 * ROW_EXTRA), None),
            ("\u{1}".repeat(most), Some("too-large")),
            ("\u{e9}".repeat(most), Some("too-large")),
        ] {
            let decoded = decoded(&with_text(&text));
            assert_eq!(decoded.odd.first().map(|odd| odd.reason.as_str()), reason);
            if reason.is_none() {
                assert!(decoded.lines.len() <= MAX_LINE);
                let row = std::str::from_utf8(&decoded.lines).unwrap();
                let restored = decoder().compactor.restore(row).unwrap();
                assert_eq!(restored.last(), Some(&("x".into(), Value::Str(text.into()))));
            }
        }
    }

    #[test]
    fn record_of_too_many_values_is_too_large_and_never_costs_its_memory() {
        let list = |items: usize, item: &str| {
            format!("{{'inDate': '2023-03-10T01:48:11.818Z', 'url': [{}]}}", item.repeat(items))
        };
        let json = |items| list(items, "1,").replace('\'', "\"").replace(",]", "]");
        for (plaintext, reason) in [
            (list(MAX_VALUES - 2, "1,"), None),
            (list(MAX_VALUES, "1,"), Some("too-large")),
            (list(3 * MAX_VALUES, "1,"), Some("too-large")),
            (list(3 * MAX_VALUES, "(),"), Some("too-large")),
            (json(MAX_VALUES - 2), None),
            (json(MAX_VALUES), Some("too-large")),
            (json(3 * MAX_VALUES), Some("too-large")),
        ] {
            let decoded = decoded(&plaintext);
            assert_eq!(decoded.odd.first().map(|odd| odd.reason.as_str()), reason);
            if reason.is_none() {
                assert!(decoder().compactor.restore(std::str::from_utf8(&decoded.lines).unwrap()).is_ok());
            }
        }
    }

    #[test]
    fn length_is_that_of_what_is_written_and_never_less() {
        let text = "a\"\\\n\u{8}\u{1}\u{7f}\u{e9}\u{d55c}\u{1f600}";
        for fields in [
            vec![],
            vec![("k".into(), Value::Str(text.into()))],
            vec![
                (
                    text.into(),
                    Value::List(vec![Value::Null, Value::Bool(true), Value::Bool(false), Value::List(vec![])]),
                ),
                ("d".into(), Value::Dict(vec![("i".into(), Value::Int("-12".into()))])),
            ],
        ] {
            let mut out = Vec::new();
            json::write_fields(&fields, &mut out);
            let length = json::length(&fields, usize::MAX);
            assert!((out.len()..=out.len() + 8).contains(&length), "{length} for {}", String::from_utf8_lossy(&out));
            assert!(json::length(&fields, 3) >= out.len().min(3));
        }
    }

    #[test]
    fn odd_tokens_that_are_too_many_are_found_again_one_by_one() {
        let good = fernet::Fernet::new(KEY).unwrap().encrypt(with_text("t").as_bytes());
        let many = 3 * HELD;
        let elements: Vec<String> = (0..many).map(|n| format!(r#"{n},{{"data":"t{n}"}},{n},{n}"#)).collect();
        let body = format!(r#"[{{"data":"{good}"}},{}]"#, elements.join(","));
        let page = decoder().page(body.as_bytes(), now()).unwrap();
        assert_eq!((page.records.len(), page.odd.len()), (1, 0));
        assert_eq!((page.elements, page.odd_seen), (4 * many as u64 + 1, 4 * many as u64));
        assert!((page.distinct_odd() * 20).abs_diff(40 * many as u64) < 2 * many as u64, "{}", page.distinct_odd());
        let mut again = Vec::new();
        let each = &mut |odd: OddToken| {
            again.push((odd.reason, odd.token));
            Ok(())
        };
        decoder().odd_again(body.as_bytes(), now(), &|| false, each).unwrap();
        again.sort_unstable();
        again.dedup();
        assert_eq!(again.len(), 2 * many);
        assert!(again.contains(&("no-token".to_owned(), "7".to_owned())));
        assert!(again.contains(&("malformed-token".to_owned(), "t7".to_owned())));
    }

    #[test]
    fn stop_is_heard_in_the_middle_of_a_page_of_any_kind() {
        for element in ["1", "{}", r#"{"data":""}"#, r#"{"data":"gAAAAA"}"#, &format!("[{}]", "1,".repeat(5000))] {
            let body = format!("[{}1]", format!("{element},").repeat(10_000_000 / element.len()));
            let stopped = Instant::now();
            assert_eq!(decoder().page_until(body.as_bytes(), now(), &|| true).unwrap_err(), NotAPage::Interrupted);
            assert!(stopped.elapsed().as_millis() < 200, "{element}: {:?}", stopped.elapsed());
        }
    }

    #[test]
    fn number_of_a_record_may_be_spelled_as_text_or_float() {
        let number = |value| whole_number(&value);
        for (value, expected) in [
            (Value::Int("-5".into()), Some(-5)),
            (Value::Int("9223372036854775808".into()), None),
            (Value::Str("00042".into()), Some(42)),
            (Value::Str("42a".into()), None),
            (Value::Str(" 42".into()), None),
            (Value::Str("".into()), None),
            (Value::Float(42.0), Some(42)),
            (Value::Float(-0.0), Some(0)),
            (Value::Float(42.5), None),
            (Value::Float(1e300), None),
            (Value::Bool(true), None),
            (Value::Null, None),
        ] {
            assert_eq!(number(value.clone()), expected, "{value:?}");
        }
    }
}
