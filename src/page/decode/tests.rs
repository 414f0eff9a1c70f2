//! What becomes of tokens, and of pages of many odd ones.

use std::time::Instant;

use super::decoded::MAX_ODD;
use super::token::{GROWTH, ROW_EXTRA, whole_number};
use jiff::tz::TimeZone;

use super::*;
use crate::record::row::Codecs;
use crate::record::{MAX_LINE, MAX_VALUES, Value, json};
use crate::secret::Secret;

const KEY: &str = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";

fn decoder() -> Decoder {
    Decoder {
        shape: PageShape::default(),
        ring: KeyRing::new(&[Secret::new(KEY)]).unwrap(),
        schema: Schema::of_the_origin(TimeZone::UTC),
        compactor: Compactor::new(&Codecs::default()),
        dictionaries: String::new(),
        max_future: SignedDuration::from_hours(1),
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
    let list =
        |items: usize, item: &str| format!("{{'inDate': '2023-03-10T01:48:11.818Z', 'url': [{}]}}", item.repeat(items));
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
            (text.into(), Value::List(vec![Value::Null, Value::Bool(true), Value::Bool(false), Value::List(vec![])])),
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
    let many = 3 * MAX_ODD;
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
