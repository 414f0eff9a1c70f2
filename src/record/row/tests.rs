//! Rows of the usual codecs, pinned; and any record with any codecs, there and back.

use proptest::prelude::*;

use super::*;
use crate::record::{Fields, Scratch, content_hash, generated, python};

const ID: &str = "bc8960a923b8c1e9392456de3eb13b9046685257bdd640fb06671ad11c80317f";
const COMPACT_ID: &str = "RmhSV73WQPsGZxrRHIAxfwvIlgqSO4wek5JFbePrE7kA";

fn compactor() -> Compactor {
    Compactor::new(&Codecs::default())
}

fn fields(literal: &str) -> Fields<'_> {
    let Ok(Value::Dict(fields)) = python::parse(literal) else { panic!("no dict: {literal}") };
    fields
}

fn row(fields: &[(Cow<'_, str>, Value<'_>)]) -> String {
    let mut out = Vec::new();
    compactor().write_row(fields, &mut out);
    String::from_utf8(out).unwrap()
}

/// The row is the expected one, and gives the record back.
fn becomes(literal: &str, expected: &str) {
    let original = fields(literal);
    let row = row(&original);
    assert_eq!(row, expected, "{literal}");
    assert_eq!(compactor().restore(&row), Ok(original), "{literal}");
}

#[test]
fn known_record_becomes_the_origins_row() {
    let record = format!(
        "{{'user_id': '{ID}', 'record_id': 26869, 'activity': 'purchase', 'url': '/api/products/product/', \
         'method': 'GET', 'name': 'json_logger', 'inDate': '2023-03-24T17:05:37.432Z', \
         'detail': {{'message': 'POST view', 'levelname': 'INFO'}}}}"
    );
    let expected = format!(
        r#"{{"user_id":"{COMPACT_ID}","record_id":26869,"activity":"purchase","url":1,"method":1,"name":"json_logger","inDate":"230324170537432","detail":{{"message":"POST view","levelname":"INFO"}}}}"#
    );
    becomes(&record, &expected);
}

#[test]
fn unknown_code_is_zero_and_raw() {
    for (field, value, raw) in [
        ("method", "'DELETE'", r#""DELETE""#),
        ("method", "'get'", r#""get""#),
        ("method", "' GET'", r#"" GET""#),
        ("method", "''", r#""""#),
        ("method", "1", "1"),
        ("method", "True", "true"),
        ("method", "('GET',)", r#"["GET"]"#),
        ("method", "{'m': 'GET'}", r#"{"m":"GET"}"#),
        ("url", "'/api/products/product'", r#""/api/products/product""#),
        ("url", "'/api/products/product/?page=2'", r#""/api/products/product/?page=2""#),
        ("url", "0", "0"),
        ("url", "None", "null"),
    ] {
        becomes(&format!("{{'{field}': {value}}}"), &format!(r#"{{"{field}":0,"{field}_raw":{raw}}}"#));
    }
    becomes("{'method': 'POST'}", r#"{"method":2}"#);
}

#[test]
fn user_id_that_is_not_64_lower_case_digits_is_kept_raw() {
    let upper = ID.to_uppercase();
    becomes(&format!("{{'user_id': '{upper}'}}"), &format!(r#"{{"user_id":"{COMPACT_ID}","user_id_raw":"{upper}"}}"#));
    for value in [
        "\"\"",
        "\"abc\"",
        &format!("\"{ID}a\""),
        &format!("\"{}\"", "g".repeat(64)),
        "\"b5122df875b17a55d4262982e43e4288{a2b5b498-5cb8-5aed-f5f6-2c976efb63b1}\"",
        "\"b5122df875b17a55d4262982e43e42880xb5b4985cb85aedf5f62c976efb63b1\"",
        "\"b5122df875b17a55d4262982e43e4288a2b5b4985cb85aedf5f62c976efb63b\\n\"",
        "\"b5122df875b17a55d4262982e43e4288orW0mFy4Wu319iyXbvtjsQ==\"",
        "12345",
        "1.5",
        "[\"b\"]",
    ] {
        becomes(&format!("{{'user_id': {value}}}"), &format!(r#"{{"user_id":"","user_id_raw":{value}}}"#));
    }
}

#[test]
fn in_date_stands_alone_only_where_its_digits_give_it_back() {
    becomes("{'inDate': '2000-01-01T00:00:00.000Z'}", r#"{"inDate":"000101000000000"}"#);
    for (value, digits) in [
        ("2023-03-10T01:48:11Z", "230310014811"),
        ("2023-03-10T01:48:11+00:00", "2303100148110000"),
        ("2023-03-10T01:48:11.818123Z", "230310014811818123"),
        ("2023-03-10 01:48:11.818", "230310014811818"),
        ("2023-03-10t01:48:11.818z", "230310014811818"),
        ("2023-03-10T01:48:11.818z", "230310014811818"),
        ("2023-03-10 01:48:11,818", "230310014811818"),
        ("2023-03-10T01:48:11,818Z", "230310014811818"),
        ("2023-03-10T01:48:11.818+0900", "2303100148118180900"),
        ("2023-03-10T01:48:11+09", "23031001481109"),
        // As many digits as the usual form has.
        ("2023-03-10T01:48:11+090", "230310014811090"),
        ("2100-01-01T00:00:00.000Z", "000101000000000"),
        ("2", ""),
        ("", ""),
    ] {
        becomes(&format!("{{'inDate': '{value}'}}"), &format!(r#"{{"inDate":"{digits}","inDate_raw":"{value}"}}"#));
    }
    becomes("{'inDate': 20230310}", r#"{"inDate":"","inDate_raw":20230310}"#);
}

#[test]
fn missing_odd_and_unknown_fields_pass_through_in_order() {
    becomes("{}", "{}");
    becomes(
        "{'zé': 'caf\\xe9', 'method': 'GET', 'n': 18446744073709551616, 'f': 1e22, 'trace': {'url': '/x', 'url_raw': None}}",
        r#"{"z\u00e9":"caf\u00e9","method":1,"n":18446744073709551616,"f":1e+22,"trace":{"url":"/x","url_raw":null}}"#,
    );
}

#[test]
fn own_key_that_looks_raw_gets_one_more_suffix() {
    becomes("{'url_raw': 'x'}", r#"{"url_raw_raw":"x"}"#);
    becomes("{'url': '/x', 'url_raw': 'y'}", r#"{"url":0,"url_raw":"/x","url_raw_raw":"y"}"#);
    becomes("{'url_raw': 'y', 'url': '/x'}", r#"{"url_raw_raw":"y","url":0,"url_raw":"/x"}"#);
    becomes("{'url': '/api/products/product/', 'url_raw': 1}", r#"{"url":1,"url_raw_raw":1}"#);
    becomes("{'inDate_raw_raw': 1, 'user_id_raw': 2}", r#"{"inDate_raw_raw_raw":1,"user_id_raw_raw":2}"#);
    becomes("{'name_raw': 1, '_raw': 2, 'raw': 3, 'Url_raw': 4}", r#"{"name_raw":1,"_raw":2,"raw":3,"Url_raw":4}"#);
}

#[test]
fn row_from_before_the_dictionary_gained_an_entry_is_restored() {
    let line = r#"{"method":0,"method_raw":"GET"}"#;
    assert_eq!(compactor().restore(line), Ok(fields("{'method': 'GET'}")));
}

#[test]
fn row_that_was_not_written_here_is_refused() {
    let id = COMPACT_ID;
    for line in [
        "",
        "1",
        "[]",
        "{",
        r#"{"url":0}"#,
        r#"{"url":2}"#,
        r#"{"url":-1}"#,
        r#"{"url":1.0}"#,
        r#"{"url":"/x"}"#,
        r#"{"url":null}"#,
        r#"{"url":1,"url_raw":"/x"}"#,
        r#"{"url_raw":"/x"}"#,
        r#"{"url":0,"x":1,"url_raw":"/x"}"#,
        r#"{"url_raw":"/x","url":0}"#,
        r#"{"method":3}"#,
        r#"{"inDate":""}"#,
        r#"{"inDate":"23031001481181"}"#,
        r#"{"inDate":"2303100148118181"}"#,
        r#"{"inDate":"23031001481181x"}"#,
        r#"{"inDate":230310014811818}"#,
        r#"{"inDate":"230310014811818","inDate_raw":"2023-03-10T01:48:11.818Z"}"#,
        r#"{"inDate":"230310014812","inDate_raw":"2023-03-10T01:48:11Z"}"#,
        r#"{"inDate":"1","inDate_raw":1}"#,
        r#"{"user_id":""}"#,
        r#"{"user_id":1}"#,
        &format!(r#"{{"user_id":"{}"}}"#, &id[..43]),
        &format!(r#"{{"user_id":"{id}A"}}"#),
        &format!(r#"{{"user_id":"{}B"}}"#, &id[..43]),
        &format!(r#"{{"user_id":"{}="}}"#, &id[..43]),
        &format!(r#"{{"user_id":"+{}"}}"#, &id[1..]),
        &format!(r#"{{"user_id":"{id}","user_id_raw":"{ID}"}}"#),
        &format!(r#"{{"user_id":"{id}","user_id_raw":"abc"}}"#),
        &format!(r#"{{"user_id":"","user_id_raw":"{ID}"}}"#),
    ] {
        assert!(compactor().restore(line).is_err(), "{line}");
    }
}

proptest! {
    #[test]
    fn restored_record_is_the_original_and_has_its_hash(original in generated::fields()) {
        let row = row(&original);
        let restored = compactor().restore(&row);
        prop_assert_eq!(restored.as_ref(), Ok(&original), "{}", row);
        let mut scratch = Scratch::default();
        let hash = content_hash(&original, &mut scratch);
        prop_assert_eq!(content_hash(&restored.unwrap(), &mut scratch), hash);
    }

    #[test]
    fn any_line_is_refused_or_restored_to_what_gives_it_back(
        line in r#"\{("(url|method|inDate|user_id)(_raw){0,2}":(0|1|2|""|"GET"|"230310014811818"),?){0,4}\}"#,
    ) {
        if let Ok((restored, is_certain)) = compactor().restore_and_tell(&line) {
            let again = row(&restored);
            prop_assert!(!is_certain || again == line);
            prop_assert_eq!(compactor().restore(&again), Ok(restored));
        }
    }
}

/// Fields that may have a codec: some that records have.
const NAMES: [&str; 9] =
    ["user_id", "method", "url", "inDate", "detail", "a", "b", "é", "a name of more than thirty-two bytes"];

fn codec() -> impl Strategy<Value = Codec> {
    let texts = prop::sample::subsequence(vec!["GET", "POST", "/api/products/product/", "", "한"], 0..=5);
    prop_oneof![
        Just(Codec::UuidPair),
        Just(Codec::Digits),
        Just(Codec::Hex),
        texts.prop_map(|texts| Codec::Dictionary(texts.into_iter().map(str::to_owned).zip(1..).collect())),
    ]
}

fn codecs() -> impl Strategy<Value = Codecs> {
    let fields =
        prop::collection::btree_map(prop::sample::select(NAMES.to_vec()).prop_map(str::to_owned), codec(), 0..9);
    fields.prop_map(|fields| Codecs::new(fields).unwrap())
}

/// Records with these names, also such as rows have beside compact values.
fn record() -> impl Strategy<Value = Fields<'static>> {
    let key = prop::sample::select(NAMES.to_vec()).prop_flat_map(|name| {
        prop::sample::select(vec!["", "", "_raw", "_raw_raw"])
            .prop_map(move |suffix| Cow::Owned(format!("{name}{suffix}")))
    });
    let text = prop_oneof![
        "[0-9a-f]{0,200}",
        "[0-9a-f]{64}",
        "[0-9A-F]{2}",
        "(GET|POST|한)?",
        "20[0-9]{2}-[0-9]{2}-03T04:05:06\\.[0-9]{3}Z",
        "[0-9a-f]{95,97}g?",
    ];
    let value = prop_oneof![4 => text.prop_map(|text| Value::Str(Cow::Owned(text))), 1 => generated::value()];
    prop::collection::btree_map(key, value, 0..12).prop_map(|fields| fields.into_iter().collect())
}

proptest! {
    #[test]
    fn record_with_any_codecs_is_restored_as_it_was(codecs in codecs(), original in record(), seed in any::<u64>()) {
        let compactor = Compactor::new(&codecs);
        let original = generated::shuffled(original, seed);
        let mut row = Vec::new();
        compactor.write_row(&original, &mut row);
        let row = String::from_utf8(row).unwrap();
        let restored = compactor.restore(&row);
        prop_assert_eq!(restored.as_ref(), Ok(&original), "{}", row);
        let hash = |fields: &Fields<'_>| content_hash(fields, &mut Scratch::default());
        prop_assert_eq!(hash(&generated::shuffled(original.clone(), !seed)), hash(&restored.unwrap()));
    }

    #[test]
    fn row_of_any_codecs_that_was_not_written_so_is_refused(
        codecs in codecs(),
        line in r#"\{("(a|url)(_raw){0,2}":(0|1|""|"GET"|"230310014811818"|"q80"|"AAAAAAAAAAAAAAAAAAAAAA"),?){0,4}\}"#,
    ) {
        let compactor = Compactor::new(&codecs);
        if let Ok(restored) = compactor.restore(&line) {
            let mut again = Vec::new();
            compactor.write_row(&restored, &mut again);
            prop_assert_eq!(compactor.restore(std::str::from_utf8(&again).unwrap()), Ok(restored));
        }
    }
}

#[test]
fn hexadecimal_digits_of_whole_bytes_are_stored_as_base64url() {
    let compactor = Compactor::new(&Codecs::new([("a".to_owned(), Codec::Hex)].into()).unwrap());
    for (value, stored) in [
        ("00", r#""AA""#),
        ("abcd", r#""q80""#),
        ("deadbeef00", r#""3q2-7wA""#),
        ("", r#""","a_raw":"""#),
        ("a", r#""","a_raw":"a""#),
        ("AB", r#""","a_raw":"AB""#),
        ("abcg", r#""","a_raw":"abcg""#),
    ] {
        let fields: Fields<'_> = vec![("a".into(), Value::Str(value.into()))];
        let mut row = Vec::new();
        compactor.write_row(&fields, &mut row);
        let row = String::from_utf8(row).unwrap();
        assert_eq!(row, format!(r#"{{"a":{stored}}}"#));
        assert_eq!(compactor.restore(&row), Ok(fields));
    }
    for line in [
        r#"{"a":""}"#,
        r#"{"a":"q8"}"#,
        r#"{"a":"q81"}"#,
        r#"{"a":"q80="}"#,
        r#"{"a":"","a_raw":"abcd"}"#,
        r#"{"a":"q80","a_raw":"AB"}"#,
    ] {
        assert!(compactor.restore(line).is_err(), "{line}");
    }
}
