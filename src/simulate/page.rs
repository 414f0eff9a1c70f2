//! Pages over the stream of records: their elements, in tokens.
//!
//! What an element holds depends on the seed and its place; what its token looks like depends on the page's salt too, as the
//! service encrypts each record again at each request. Tokens under the wrong key are the exception: they never change.

use std::ops::Range;

use jiff::Timestamp;

use super::Generator;
use super::draw::Draws;
use super::garbage::{Garbage, KINDS, garbage};

/// No token is stamped later than this (2024-01-01): the `fernet` crate refuses tokens from the future even where it is not
/// asked for an age, and records dated in the future must be readable.
const LAST_STAMP: i64 = 1_704_067_200;
/// Rough length of an element, for the first allocation.
const ELEMENT_BYTES: u64 = 520;

/// What stands at one place of a page.
#[derive(Clone, Copy)]
enum Element {
    Record { index: u64, copy: u64 },
    Garbage(u64),
    WrongKey(u64),
}

impl Generator {
    /// The bytes of a response: the window that ends before record `window_end`, in tokens that depend on `salt`.
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

    /// A token of `plain` under the key, for an element that the caller makes up. `number` makes it differ from others.
    #[must_use]
    pub fn token(&self, plain: &[u8], number: u64) -> String {
        let iv = Draws::new(self.options.seed, "own token", &[number]).bytes();
        self.tokens.token(plain, stamp(self.options.start), iv)
    }

    fn elements(&self, window: Range<u64>, salt: u64) -> Vec<Element> {
        let (mut elements, mut at_end) = (Vec::new(), Vec::new());
        for index in self.handed_out(window) {
            elements.push(Element::Record { index, copy: 0 });
            let mut draws = Draws::new(self.options.seed, "duplicate", &[index, salt]);
            if self.options.duplicates > 0.0 && draws.happens(self.options.duplicates) {
                let again = Element::Record { index, copy: 1 };
                // Side by side, or far apart.
                if draws.happens(50.0) { elements.push(again) } else { at_end.push(again) }
            }
            if self.happens("garbage", index, self.options.garbage) {
                elements.push(Element::Garbage(index));
            }
            if self.happens("wrong key", index, self.options.wrong_key) {
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
}

fn stamp(at: Timestamp) -> Timestamp {
    at.min(Timestamp::from_second(LAST_STAMP).unwrap_or(at))
}

fn quoted(token: &str) -> String {
    format!("\"{token}\"")
}

/// Writes `{"data": …}`, now and then with another member beside it.
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
    use crate::simulate::{Key, Options};

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
        assert_eq!(opened(&one, &generator.options.key()), opened(&two, &generator.options.key()));
        assert!(elements(&one).iter().zip(elements(&two)).all(|(a, b)| a["data"] != b["data"]));
    }

    #[test]
    fn page_holds_the_window_and_nothing_else_unless_asked() {
        let generator = generator(Options::default());
        let expected: Vec<_> = (60..160).map(|i| generator.record(i).plain().into_bytes()).collect();
        assert_eq!(opened(&generator.page(160, 1), &generator.options.key()), expected);
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
        let (mut plain, mut tokens) = (opened(&page, &generator.options.key()), elements(&page));
        plain.sort();
        plain.dedup();
        tokens.sort_by_key(|e| e["data"].to_string());
        tokens.dedup_by_key(|e| e["data"].clone());
        assert_eq!((plain.len(), tokens.len()), (100, 200));
    }

    #[test]
    fn page_has_what_comes_at_its_places() {
        let troubled = generator(Options { holes: 5.0, delayed: 5.0, restart_at: Some(3_000), ..Options::default() });
        let page = opened(&troubled.page(1_000, 1), &troubled.options.key());
        let expected = troubled.handed_out(900..1_000).map(|index| troubled.record(index).plain().into_bytes());
        assert_eq!(page, expected.collect::<Vec<_>>());
    }

    #[test]
    fn wrong_key_tokens_are_stable_and_open_with_the_other_key_only() {
        let generator = generator(Options { wrong_key: 10.0, ..Options::default() });
        let (one, two) = (generator.page(100, 1), generator.page(100, 2));
        let extra = opened(&one, &Key::other(generator.options.seed));
        let expected = (0..100).filter(|index| generator.happens("wrong key", *index, 10.0));
        let expected: Vec<_> = expected.map(|index| generator.wrong_key_record(index).plain().into_bytes()).collect();
        assert_eq!(extra, expected);
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
            let mut plain = opened(&page, &generator.options.key());
            plain.retain(|text| !good.contains(text));
            plain
        };
        assert!(nonsense(1).len() > 80);
        assert_eq!(nonsense(1), nonsense(2));
    }

    #[test]
    fn record_far_out_costs_nothing_and_its_token_is_not_from_the_future() {
        let generator = generator(Options::default());
        let far = generator.record(u64::MAX);
        assert_eq!(far.logged, Timestamp::MAX);
        let page = generator.page(1_000_000_000, 1);
        assert_eq!(opened(&page, &generator.options.key()).len(), 100);
    }

    #[test]
    fn own_elements_open_too() {
        let generator = generator(Options::default());
        let page = format!("[{{\"data\":\"{}\"}}]", generator.token(b"{'a': 1}", 5));
        assert_eq!(opened(page.as_bytes(), &generator.options.key()), [b"{'a': 1}"]);
        assert_ne!(generator.token(b"{'a': 1}", 5), generator.token(b"{'a': 1}", 6));
    }
}
