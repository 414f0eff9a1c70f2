//! The stream of synthetic records, and pages over it.
//!
//! Owns [`Generator`]. Random access: record `i` is computed from (seed, `i`) alone, so a window of millions costs nothing
//! before it is asked for. Invariant: what a record *is* depends on its index only; what its token looks like depends
//! on the page's salt too (the service encrypts anew at each request).

use std::ops::Range;

use jiff::{SignedDuration, Timestamp};

use super::Options;
use super::draw::Draws;
use super::garbage::{Garbage, KINDS, garbage};
use super::literal::{Value, write_json, write_python};
use super::shape::{Facts, ODD_SHAPES, odd, product, usual};
use super::token::{Key, TokenMaker};
use crate::error::Result;

/// Late records are back-dated by up to this.
const LATEST: SignedDuration = SignedDuration::from_hours(6);
/// Records that never come are missing in runs of so many.
const HOLE: u64 = 10;
/// Delayed records come so many places after their turn.
const DELAY: u64 = 500;
/// The share of the service's other log.
const PRODUCT_PERCENT: f64 = 2.0;
/// No token is stamped later than this (2024-01-01): the `fernet` crate refuses tokens from the future even where it is not
/// asked for an age, and records dated in the future must be readable.
const LAST_STAMP: i64 = 1_704_067_200;
/// Rough length of an element, for the first allocation.
const ELEMENT_BYTES: u64 = 520;

/// One record of the stream.
#[derive(Debug, Clone)]
pub struct Record {
    value: Value,
    as_json: bool,
    logged: Timestamp,
}

impl Record {
    /// The token's plaintext: Python's `ascii()` of the dict, or JSON.
    #[must_use]
    pub fn plain(&self) -> String {
        let mut text = String::with_capacity(320);
        if self.as_json {
            write_json(&self.value, &mut text)
        } else {
            write_python(&self.value, &mut text)
        }
        text
    }

    /// The original as compact JSON: members in their order, tuples as lists, text as UTF-8.
    #[must_use]
    pub fn json(&self) -> String {
        let mut text = String::with_capacity(320);
        write_json(&self.value, &mut text);
        text
    }

    /// When the service logged it. Equals its `inDate`, unless it is a late record.
    #[must_use]
    pub const fn logged(&self) -> Timestamp {
        self.logged
    }
}

/// What stands at one place of a page.
#[derive(Clone, Copy)]
enum Element {
    Record { index: u64, copy: u64 },
    Garbage(u64),
    WrongKey(u64),
}

/// The seeded stream of records and the pages over it.
pub struct Generator {
    options: Options,
    key: Key,
    tokens: TokenMaker,
    other_key: Key,
    other_tokens: TokenMaker,
}

impl Generator {
    /// The generator that `options` describe.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Usage`] where an option is out of its range.
    pub fn new(options: &Options) -> Result<Self> {
        options.validate()?;
        let (key, other_key) = (options.key(), Key::other(options.seed));
        let (tokens, other_tokens) = (TokenMaker::new(&key), TokenMaker::new(&other_key));
        Ok(Self { options: options.clone(), key, tokens, other_key, other_tokens })
    }

    /// The key that opens the tokens.
    #[must_use]
    pub const fn key(&self) -> &Key {
        &self.key
    }

    /// The key of the tokens that `wrong_key` puts in between.
    #[must_use]
    pub const fn other_key(&self) -> &Key {
        &self.other_key
    }

    /// Record `index` of the stream; its `record_id` is one more, counted from the restart where there is one.
    #[must_use]
    pub fn record(&self, index: u64) -> Record {
        // Drawn in one fixed order, so that a record's content does not change with options that are not about it.
        let mut draws = Draws::new(self.options.seed, "record", &[index]);
        let late = draws.happens(self.options.late);
        let as_json = draws.happens(self.options.json_plain);
        let is_odd = draws.happens(self.options.odd);
        let is_product = draws.happens(PRODUCT_PERCENT);
        let logged = self.logged(index, draws.below(1_000));
        let in_date = if late { self.back_dated(logged, &mut draws) } else { logged };
        let facts = Facts { seed: self.options.seed, record_id: self.record_id(index), in_date };
        let fields = if is_odd {
            odd(draws.below(ODD_SHAPES), &facts, &mut draws)
        } else if is_product {
            product(&facts, &mut draws)
        } else {
            usual(&facts, &mut draws)
        };
        Record { value: Value::Dict(fields), as_json, logged }
    }

    /// The originals of the good records `range`, one compact JSON object each (no line end).
    pub fn originals(&self, range: Range<u64>) -> impl Iterator<Item = String> + '_ {
        range.map(|index| self.record(index).json())
    }

    /// The records that come at the places in `range`, in their order: each at its own, but for those that never come and
    /// those that come later.
    pub fn handed_out(&self, range: Range<u64>) -> impl Iterator<Item = u64> + '_ {
        range.flat_map(|place| {
            let late = place.checked_sub(DELAY).filter(|index| self.is_delayed(*index));
            let own = Some(place).filter(|index| !self.is_hole(*index) && !self.is_delayed(*index));
            own.into_iter().chain(late)
        })
    }

    /// The originals of the records in `range` that come under [`Generator::other_key`].
    pub fn wrong_key_originals(&self, range: Range<u64>) -> impl Iterator<Item = String> + '_ {
        range.filter(|index| self.has_wrong_key(*index)).map(|index| self.wrong_key_record(index).json())
    }

    /// The records of the window that ends before record `end`.
    #[must_use]
    pub const fn window(&self, end: u64) -> Range<u64> {
        end.saturating_sub(self.options.window)..end
    }

    /// How many records there are at `now`, by their own clock.
    #[must_use]
    pub fn count_at(&self, now: Timestamp) -> u64 {
        let since = now.as_nanosecond() - self.options.start.as_nanosecond();
        let interval = i128::try_from(self.options.interval.as_nanos()).unwrap_or(i128::MAX).max(1);
        u64::try_from(since / interval).unwrap_or(0)
    }

    /// The bytes of a response: the window that ends before record `window_end`, in tokens that `salt` makes new.
    #[must_use]
    pub fn page(&self, window_end: u64, salt: u64) -> Vec<u8> {
        let window = self.window(window_end);
        let bytes = (window.end - window.start).saturating_mul(ELEMENT_BYTES).saturating_add(2);
        let mut page = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
        page.push(b'[');
        for (i, element) in self.elements(window, salt).into_iter().enumerate() {
            page.extend_from_slice(if i == 0 { b"" } else { b"," });
            self.write_element(element, salt, &mut page);
        }
        page.push(b']');
        page
    }

    /// A token of `plain` under the key, for an element of the caller's own. `number` makes it differ from others.
    #[must_use]
    pub fn token(&self, plain: &[u8], number: u64) -> String {
        let iv = Draws::new(self.options.seed, "own token", &[number]).bytes();
        self.tokens.token(plain, stamp(self.options.start), iv)
    }

    fn elements(&self, window: Range<u64>, salt: u64) -> Vec<Element> {
        let (mut elements, mut at_end) = (Vec::new(), Vec::new());
        for index in self.handed_out(window) {
            elements.push(Element::Record { index, copy: 0 });
            if self.options.duplicates > 0.0 {
                let mut draws = Draws::new(self.options.seed, "duplicate", &[index, salt]);
                let again = Element::Record { index, copy: 1 };
                if draws.happens(self.options.duplicates) {
                    // Side by side, or far apart.
                    if draws.happens(50.0) { elements.push(again) } else { at_end.push(again) }
                }
            }
            if self.options.garbage > 0.0 && self.draws("garbage", index).happens(self.options.garbage) {
                elements.push(Element::Garbage(index));
            }
            if self.has_wrong_key(index) {
                elements.push(Element::WrongKey(index));
            }
        }
        elements.append(&mut at_end);
        elements
    }

    fn write_element(&self, element: Element, salt: u64, page: &mut Vec<u8>) {
        match element {
            Element::Record { index, copy } => {
                let record = self.record(index);
                let mut draws = Draws::new(self.options.seed, "element", &[index, salt, copy]);
                let token = self.tokens.token(record.plain().as_bytes(), stamp(record.logged), draws.bytes());
                write_member(&quoted(&token), index, &mut draws, page);
            }
            Element::Garbage(index) => {
                let mut draws = Draws::new(self.options.seed, "garbage element", &[index, salt]);
                write_member(&self.garbage_data(index, draws.bytes()), index, &mut draws, page);
            }
            Element::WrongKey(index) => {
                let record = self.wrong_key_record(index);
                let mut draws = self.draws("wrong key element", index);
                let token = self.other_tokens.token(record.plain().as_bytes(), stamp(record.logged), draws.bytes());
                write_member(&quoted(&token), index, &mut draws, page);
            }
        }
    }

    /// The JSON text of a garbage element's `data`.
    fn garbage_data(&self, index: u64, fresh_iv: [u8; 16]) -> String {
        let mut draws = self.draws("garbage kind", index);
        let stamp = stamp(self.options.start);
        match garbage(draws.below(KINDS), &mut draws) {
            Garbage::Json(text) => text,
            Garbage::Plaintext(plain) => quoted(&self.tokens.token(&plain, stamp, fresh_iv)),
            Garbage::Tampered => {
                let token = self.tokens.token(self.record(index).plain().as_bytes(), stamp, draws.bytes());
                // The 12th digit stands in the time, which the token's tag covers.
                let (head, tail) = token.split_at_checked(12).unwrap_or((&token, ""));
                let flipped = if tail.starts_with('B') { "C" } else { "B" };
                quoted(&format!("{head}{flipped}{}", tail.get(1..).unwrap_or_default()))
            }
        }
    }

    fn record_id(&self, index: u64) -> u64 {
        let restarted = self.options.restart_at.and_then(|at| index.checked_sub(at));
        restarted.unwrap_or(index).saturating_add(1)
    }

    fn is_hole(&self, index: u64) -> bool {
        self.options.holes > 0.0 && self.draws("hole", index / HOLE).happens(self.options.holes)
    }

    fn is_delayed(&self, index: u64) -> bool {
        let is_drawn = self.options.delayed > 0.0 && self.draws("delayed", index).happens(self.options.delayed);
        is_drawn && !self.is_hole(index)
    }

    fn has_wrong_key(&self, index: u64) -> bool {
        self.options.wrong_key > 0.0 && self.draws("wrong key", index).happens(self.options.wrong_key)
    }

    /// A record beside record `index`: of its time and number, but another.
    fn wrong_key_record(&self, index: u64) -> Record {
        let mut draws = self.draws("wrong key record", index);
        let logged = self.logged(index, 999);
        let facts = Facts { seed: self.options.seed, record_id: index.saturating_add(1), in_date: logged };
        Record { value: Value::Dict(usual(&facts, &mut draws)), as_json: false, logged }
    }

    fn draws(&self, label: &str, index: u64) -> Draws {
        Draws::new(self.options.seed, label, &[index])
    }

    /// The start, plus `index` intervals, plus `thousandths` of one.
    fn logged(&self, index: u64, thousandths: u64) -> Timestamp {
        let interval = i128::try_from(self.options.interval.as_nanos()).unwrap_or(i128::MAX);
        let steps = i128::from(index) * 1_000 + i128::from(thousandths);
        let nanos = interval.saturating_mul(steps) / 1_000;
        Timestamp::from_nanosecond(self.options.start.as_nanosecond().saturating_add(nanos)).unwrap_or(Timestamp::MAX)
    }

    /// An earlier time, but not before the start of the stream.
    fn back_dated(&self, logged: Timestamp, draws: &mut Draws) -> Timestamp {
        let most = logged.duration_since(self.options.start).min(LATEST);
        let back = draws.below(u64::try_from(most.as_millis()).unwrap_or(0));
        let back = SignedDuration::from_millis(i64::try_from(back).unwrap_or(0));
        logged.checked_sub(back).unwrap_or(logged)
    }
}

fn stamp(at: Timestamp) -> Timestamp {
    at.min(Timestamp::from_second(LAST_STAMP).unwrap_or(at))
}

fn quoted(token: &str) -> String {
    format!("\"{token}\"")
}

/// Writes `{"data": …}`, now and then with another member that nobody needs.
fn write_member(data: &str, index: u64, draws: &mut Draws, page: &mut Vec<u8>) {
    let text = match draws.below(16) {
        0 => format!("{{\"id\":{index},\"data\":{data}}}"),
        1 => format!("{{\"data\":{data},\"meta\":{{\"source\":\"json_logger\",\"data\":[]}}}}"),
        _ => format!("{{\"data\":{data}}}"),
    };
    page.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use serde_json::Value as Json;

    use super::*;

    fn generator(options: Options) -> Generator {
        Generator::new(&options).unwrap()
    }

    fn troubled() -> Options {
        Options {
            window: 2_000,
            late: 5.0,
            duplicates: 4.0,
            garbage: 10.0,
            wrong_key: 3.0,
            json_plain: 20.0,
            odd: 10.0,
            ..Options::default()
        }
    }

    fn elements(page: &[u8]) -> Vec<Json> {
        serde_json::from_slice::<Vec<Json>>(page).unwrap()
    }

    /// What the key opens, of a page.
    fn opened(page: &[u8], key: &Key) -> Vec<Vec<u8>> {
        let fernet = fernet::Fernet::new(&key.to_text()).unwrap();
        elements(page).iter().filter_map(|e| fernet.decrypt(e["data"].as_str()?).ok()).collect()
    }

    #[test]
    fn same_seed_gives_the_same_bytes_and_another_seed_others() {
        let page = |seed| generator(Options { seed, ..troubled() }).page(3_000, 7);
        assert_eq!(page(1), page(1));
        assert_ne!(page(1), page(2));
    }

    #[test]
    fn bytes_are_pinned_across_versions() {
        let page = generator(Options { window: 500, ..troubled() }).page(700, 1);
        let hash = blake3::hash(&page).to_hex();
        // A change of this hash changes every committed fixture and everybody's seeds.
        assert_eq!(hash.get(..16), Some("7541c37d434a78f8"));
    }

    #[test]
    fn same_record_comes_in_a_new_token_at_each_request() {
        let generator = generator(Options::default());
        let (one, two) = (generator.page(100, 1), generator.page(100, 2));
        assert_eq!(opened(&one, generator.key()), opened(&two, generator.key()));
        assert!(elements(&one).iter().zip(elements(&two)).all(|(a, b)| a["data"] != b["data"]));
    }

    #[test]
    fn page_holds_the_window_and_nothing_else_unless_asked() {
        let generator = generator(Options::default());
        let expected: Vec<_> = (60..160).map(|i| generator.record(i).plain().into_bytes()).collect();
        assert_eq!(opened(&generator.page(160, 1), generator.key()), expected);
        assert_eq!(elements(&generator.page(160, 1)).len(), 100);
        assert_eq!(elements(&generator.page(7, 1)).len(), 7);
        assert_eq!(generator.page(0, 1), b"[]");
    }

    #[test]
    fn trouble_comes_in_about_the_shares_asked_for() {
        let clean = Options { window: 2_000, ..Options::default() };
        let count = |options: Options| elements(&generator(options).page(2_000, 1)).len();
        assert!((140..260).contains(&(count(Options { garbage: 10.0, ..clean.clone() }) - 2_000)));
        assert!((30..100).contains(&(count(Options { wrong_key: 3.0, ..clean.clone() }) - 2_000)));
        assert!((50..120).contains(&(count(Options { duplicates: 4.0, ..clean.clone() }) - 2_000)));
        let json = generator(Options { json_plain: 20.0, ..clean });
        let json = (0..2_000).filter(|i| json.record(*i).plain().starts_with("{\"")).count();
        assert!((320..480).contains(&json), "{json}");
    }

    #[test]
    fn duplicates_are_one_plaintext_in_two_tokens() {
        let generator = generator(Options { duplicates: 100.0, ..Options::default() });
        let page = generator.page(100, 1);
        let (mut plain, mut tokens) = (opened(&page, generator.key()), elements(&page));
        plain.sort();
        plain.dedup();
        tokens.sort_by_key(|e| e["data"].to_string());
        tokens.dedup_by_key(|e| e["data"].clone());
        assert_eq!((plain.len(), tokens.len()), (100, 200));
    }

    #[test]
    fn some_records_never_come_some_come_later_and_the_others_as_ever() {
        let troubled = generator(Options { holes: 5.0, delayed: 5.0, restart_at: Some(3_000), ..Options::default() });
        let handed_out: Vec<u64> = troubled.handed_out(0..6_000).collect();
        let missing: Vec<u64> = (0..5_500).filter(|index| !handed_out.contains(index)).collect();
        assert!((150..450).contains(&missing.len()), "{}", missing.len());
        assert!(missing.iter().all(|index| missing.contains(&(index / HOLE * HOLE))), "in runs");
        let late = handed_out.windows(2).filter(|pair| pair[0] > pair[1]).count();
        assert!((150..400).contains(&late), "{late}");
        let id = |index| serde_json::from_str::<Json>(&troubled.record(index).json()).unwrap()["record_id"].clone();
        assert_eq!((id(2_999), id(3_000)), (3_000.into(), 1.into()));
        let page = opened(&troubled.page(1_000, 1), troubled.key());
        let expected = troubled.handed_out(900..1_000).map(|index| troubled.record(index).plain().into_bytes());
        assert_eq!(page, expected.collect::<Vec<_>>());
    }

    #[test]
    fn wrong_key_tokens_are_stable_and_open_with_the_other_key_only() {
        let generator = generator(Options { wrong_key: 10.0, ..Options::default() });
        let (one, two) = (generator.page(100, 1), generator.page(100, 2));
        let extra = opened(&one, generator.other_key());
        assert_eq!(extra.len(), generator.wrong_key_originals(0..100).count());
        assert!(extra.len() > 3);
        let tokens: Vec<_> = elements(&two).iter().map(|e| e["data"].clone()).collect();
        let stable = elements(&one).iter().filter(|e| tokens.contains(&e["data"])).count();
        assert_eq!(stable, extra.len());
    }

    #[test]
    fn garbage_is_the_same_again_where_pages_overlap() {
        let generator = generator(Options { garbage: 100.0, window: 200, ..Options::default() });
        let nonsense = |salt| {
            let page = generator.page(200, salt);
            let good: Vec<_> = (0..200).map(|i| generator.record(i).plain().into_bytes()).collect();
            let mut plain = opened(&page, generator.key());
            plain.retain(|text| !good.contains(text));
            plain
        };
        assert!(nonsense(1).len() > 80);
        assert_eq!(nonsense(1), nonsense(2));
    }

    #[test]
    fn late_records_are_back_dated_but_never_before_the_start() {
        let options = Options { late: 30.0, ..Options::default() };
        let (start, with, without) = (options.start, generator(options), generator(Options::default()));
        let in_date = |g: &Generator, i| {
            let json: Json = serde_json::from_str(&g.record(i).json()).unwrap();
            json["inDate"].as_str().unwrap().parse::<Timestamp>().unwrap()
        };
        let back: Vec<_> = (0..2_000).map(|i| in_date(&without, i).duration_since(in_date(&with, i))).collect();
        let late = back.iter().filter(|back| !back.is_zero()).count();
        assert!((500..700).contains(&late), "{late}");
        assert!(back.iter().all(|back| !back.is_negative() && *back <= LATEST));
        assert!((0..2_000).all(|i| in_date(&with, i) >= start));
    }

    #[test]
    fn record_far_out_costs_nothing_and_its_token_is_not_from_the_future() {
        let generator = generator(Options::default());
        let far = generator.record(u64::MAX);
        assert_eq!(far.logged(), Timestamp::MAX);
        let page = generator.page(1_000_000_000, 1);
        assert_eq!(opened(&page, generator.key()).len(), 100);
    }

    #[test]
    fn own_elements_open_too() {
        let generator = generator(Options::default());
        let page = format!("[{{\"data\":\"{}\"}}]", generator.token(b"{'a': 1}", 5));
        assert_eq!(opened(page.as_bytes(), generator.key()), [b"{'a': 1}"]);
        assert_ne!(generator.token(b"{'a': 1}", 5), generator.token(b"{'a': 1}", 6));
    }
}
