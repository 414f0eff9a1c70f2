//! The shapes of records: the usual log, the service's other log, and odd ones that are still records.
//!
//! Every shape here is a dict with an `inDate` that is a time, so each is a *good* record: it must come out of the
//! pipeline as it went in. Elements that are not records are in `garbage`.

use jiff::{SignedDuration, Timestamp};

use super::draw::Draws;
use super::literal::{Fields, Value};

/// How many users the service has.
const USERS: u64 = 10_000;
const PRODUCT_URL: &str = "/api/products/product/";

/// What a record is made from.
pub(super) struct Facts {
    pub(super) seed: u64,
    pub(super) record_id: u64,
    pub(super) in_date: Timestamp,
}

/// The usual log; members in the service's order.
pub(super) fn usual(facts: &Facts, draws: &mut Draws) -> Fields {
    let activity = draws.choose(&[(77, "view"), (13, "cart")], "purchase");
    let method = draws.choose(&[(90, "POST"), (9, "GET")], "PUT");
    let rare = "/api/products/product/17/";
    let url = draws.choose(&[(94, PRODUCT_URL), (3, "/api/users/login/"), (2, "/api/products/")], rare);
    vec![
        ("user_id".into(), Value::Text(user(facts.seed, draws).into())),
        ("record_id".into(), Value::int(facts.record_id)),
        ("activity".into(), Value::text(activity)),
        ("url".into(), Value::text(url)),
        ("method".into(), Value::text(method)),
        ("name".into(), Value::text("json_logger")),
        ("inDate".into(), Value::Text(milliseconds(facts.in_date).into())),
        ("detail".into(), detail(activity)),
    ]
}

/// The service's other log: a product, and its user by number.
pub(super) fn product(facts: &Facts, draws: &mut Draws) -> Fields {
    let activity = draws.choose(&[(80, "view")], "cart");
    vec![
        ("user_id".into(), Value::int(1 + draws.below(USERS))),
        ("product_id".into(), Value::int(1 + draws.below(500))),
        ("record_id".into(), Value::int(facts.record_id)),
        ("activity".into(), Value::text(activity)),
        ("name".into(), Value::text("json_logger")),
        ("inDate".into(), Value::Text(milliseconds(facts.in_date).into())),
        ("detail".into(), detail(activity)),
    ]
}

/// How many odd shapes there are.
pub(super) const ODD_SHAPES: u64 = 14;

/// The usual log, made odd in the way number `shape`.
pub(super) fn odd(shape: u64, facts: &Facts, draws: &mut Draws) -> Fields {
    let mut fields = usual(facts, draws);
    match shape {
        0 => fields.retain(|(key, _)| key != "method"),
        1 => fields.retain(|(key, _)| key != "user_id" && key != "detail"),
        2 => upper_case_user(&mut fields),
        3 => set(&mut fields, "user_id", Value::text("anonymous")),
        4 => set(&mut fields, "url_raw", Value::text("a key of the record's own")),
        5 => set(&mut fields, "inDate_raw_raw", Value::int(5)),
        6 => set(&mut fields, "path", Value::Tuple(vec![Value::text("home"), Value::int(2), Value::Tuple(vec![])])),
        7 => set(&mut fields, "balance", Value::Int("-170141183460469231731687303715884105728".into())),
        8 => set(&mut fields, "name", Value::text("한글 로그 😀 caf\u{e9}\u{2028}")),
        9 => set(&mut fields, "name", Value::text("it's \"both\" \\ and\n\ttwo lines\u{0}")),
        10 => numbers(&mut fields),
        11 => set(&mut fields, "method", Value::int(2)),
        12 => set(&mut fields, "url", Value::None),
        _ => set(&mut fields, "inDate", Value::Text(unusual_time(facts.in_date, draws).into())),
    }
    fields
}

/// Replaces the value of `key`, or appends the pair.
fn set(fields: &mut Fields, key: &'static str, value: Value) {
    if let Some((_, old)) = fields.iter_mut().find(|(name, _)| name == key) {
        *old = value;
    } else {
        fields.push((key.into(), value));
    }
}

fn upper_case_user(fields: &mut Fields) {
    for (key, value) in fields {
        if let ("user_id", Value::Text(user)) = (key.as_ref(), value) {
            *user = user.to_ascii_uppercase().into();
        }
    }
}

fn numbers(fields: &mut Fields) {
    let all = vec![
        Value::Float("0.1"),
        Value::Float("1.0"),
        Value::Float("1e+22"),
        Value::Float("-0.0"),
        Value::Int("1".into()),
        Value::Bool(true),
        Value::None,
    ];
    set(fields, "numbers", Value::List(all));
    set(fields, "nested", Value::Dict(vec![("b".into(), Value::Dict(vec![])), ("a".into(), Value::List(vec![]))]));
}

/// 64 hex digits of one of the service's users.
fn user(seed: u64, draws: &mut Draws) -> String {
    let bytes: [u8; 32] = Draws::new(seed, "user", &[draws.below(USERS)]).bytes();
    let mut text = String::with_capacity(64);
    for nibble in bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]) {
        text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
    }
    text
}

fn detail(activity: &str) -> Value {
    Value::Dict(vec![
        ("message".into(), Value::Text(format!("POST {activity}").into())),
        ("levelname".into(), Value::text("INFO")),
    ])
}

/// A time as the service writes it: `2023-03-10T01:48:11.818Z`.
pub(super) fn milliseconds(at: Timestamp) -> String {
    format!("{at:.3}")
}

/// The same instant, spelled in another allowed way.
fn unusual_time(at: Timestamp, draws: &mut Draws) -> String {
    let usual = milliseconds(at);
    let bare = usual.trim_end_matches('Z');
    match draws.below(5) {
        0 => format!("{at:.0}"),
        1 => format!("{at:.6}"),
        2 => bare.replace('T', " "),
        3 => bare.to_owned(),
        _ => {
            let seoul = at.checked_add(SignedDuration::from_hours(9)).unwrap_or(at);
            format!("{}+09:00", milliseconds(seoul).trim_end_matches('Z'))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::literal::{write_json, write_python};
    use super::*;

    fn facts() -> Facts {
        Facts { seed: 1, record_id: 42, in_date: "2023-03-10T01:48:11.8189Z".parse().unwrap() }
    }

    fn texts(fields: Fields) -> (String, String) {
        let (value, mut python, mut json) = (Value::Dict(fields), String::new(), String::new());
        write_python(&value, &mut python);
        write_json(&value, &mut json);
        (python, json)
    }

    #[test]
    fn usual_log_looks_like_the_service_s() {
        let (python, _) = texts(usual(&facts(), &mut Draws::new(1, "t", &[])));
        let (user, rest) = python.strip_prefix("{'user_id': '").unwrap().split_at(64);
        assert!(user.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{user}");
        assert!(rest.starts_with("', 'record_id': 42, 'activity': '"), "{rest}");
        assert!(rest.contains("'name': 'json_logger', 'inDate': '2023-03-10T01:48:11.818Z', 'detail': {'message': "));
    }

    #[test]
    fn every_odd_shape_is_ascii_in_python_a_dict_in_json_and_like_no_other() {
        let mut seen = std::collections::BTreeSet::new();
        for shape in 0..ODD_SHAPES {
            let (python, json) = texts(odd(shape, &facts(), &mut Draws::new(1, "t", &[])));
            assert!(python.is_ascii(), "{python}");
            let value: serde_json::Value = serde_json::from_str(&json).unwrap();
            assert!(value["inDate"].is_string(), "{json}");
            assert!(seen.insert(json));
        }
    }

    #[test]
    fn unusual_times_are_the_same_instant() {
        let at = facts().in_date;
        let mut draws = Draws::new(1, "times", &[]);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..60 {
            let text = unusual_time(at, &mut draws);
            let zoned = if text.len() > 23 || text.ends_with('Z') { text.clone() } else { format!("{text}Z") };
            let read: Timestamp = zoned.parse().unwrap();
            assert_eq!(read.as_second(), at.as_second(), "{text}");
            seen.insert(text);
        }
        assert_eq!(seen.len(), 5);
    }
}
