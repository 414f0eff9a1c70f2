//! Pointers against RFC 6901's examples, serde_json's own, and texts that are no strict JSON.

use proptest::prelude::*;

use super::*;

fn find<'a>(pointer: &str, json: &'a str) -> Option<&'a str> {
    let value = Pointer::parse(pointer).unwrap().find(json.as_bytes()).value()?;
    Some(std::str::from_utf8(value).unwrap())
}

fn missing(pointer: &str, json: &str) -> String {
    match Pointer::parse(pointer).unwrap().find(json.as_bytes()) {
        Found::Missing(missing) => missing.to_string(),
        Found::Value(value) => panic!("{}", String::from_utf8_lossy(value)),
    }
}

#[test]
fn examples_of_the_rfc() {
    let document = r#"{"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, "k\"l": 6, " ": 7, "m~n": 8}"#;
    let expected = [
        ("/foo", r#"["bar", "baz"]"#),
        ("/foo/0", "\"bar\""),
        ("/", "0"),
        ("/a~1b", "1"),
        ("/c%d", "2"),
        ("/e^f", "3"),
        ("/g|h", "4"),
        ("/i\\j", "5"),
        ("/k\"l", "6"),
        ("/ ", "7"),
        ("/m~0n", "8"),
        ("", document),
    ];
    for (pointer, value) in expected {
        assert_eq!(find(pointer, document), Some(value), "{pointer}");
        assert_eq!(Pointer::parse(pointer).unwrap().to_string(), pointer);
    }
}

#[test]
fn what_is_no_pointer_is_refused() {
    assert_eq!(Pointer::parse("next"), Err(Malformed::NoSlash));
    assert_eq!(Pointer::parse("/a~2"), Err(Malformed::Tilde));
    assert_eq!(Pointer::parse("/a~"), Err(Malformed::Tilde));
}

#[test]
fn last_of_equal_names_counts_however_it_is_escaped() {
    assert_eq!(find("/n", r#"{"n":1,"n":2}"#), Some("2"));
    assert_eq!(find("/n", r#"{"\u006e":1}"#), Some("1"));
    assert_eq!(find("/n", r#"{"n":1,"\u006e":[3]}"#), Some("[3]"));
}

#[test]
fn what_the_text_holds_elsewhere_does_not_matter() {
    assert_eq!(find("/b", "{\"a\": NaN, \"s\": \"]}\\\"{[\", \"d\": [[}}, \"b\" : 5 }"), Some("5"));
    assert_eq!(find("/b", "{\"a\": \"raw \u{1} control\",\"b\":[1]}"), Some("[1]"));
    assert_eq!(find("/b", "\u{feff} {\"b\":1} "), Some("1"));
    let deep = format!("{{\"a\":{}{},\"b\":true}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(find("/b", &deep), Some("true"));
}

#[test]
fn text_that_does_not_close_leads_nowhere() {
    for broken in
        [r#"{"b":1"#, r#"{"b":1,"a":"#, r#"{"b":1,"a":"x"#, r#"{"b":1,"a":[}"#, r#"{"b":1 "a"}"#, "{\"b\":1,\"a\\"]
    {
        assert_eq!(find("/b", broken), None, "{broken}");
        assert!(missing("/b", broken).contains("do not close"), "{broken}");
    }
    assert_eq!(elements(b"[1,2"), None);
}

#[test]
fn index_has_one_spelling() {
    let array = "[10, 11, [12]]";
    assert_eq!(find("/1", array), Some("11"));
    assert_eq!(find("/2/0", array), Some("12"));
    for pointer in ["/01", "/+1", "/-", "/3", "/-1", "/a", "/"] {
        assert_eq!(find(pointer, array), None, "{pointer}");
    }
}

#[test]
fn what_stands_there_instead_is_named_without_its_values() {
    assert_eq!(
        missing("/meta/next", r#"{"meta":{"cursor":"SECRET","more":"SECRET"}}"#),
        "at \"/meta\" stands an object with \"cursor\", \"more\", and it has no \"next\""
    );
    assert_eq!(missing("/a", "[1, 2]"), "the whole is an array of 2 elements, and has no \"a\"");
    assert_eq!(missing("/a/b", r#"{"a":"SECRET"}"#), "at \"/a\" stands a text, and it has no \"b\"");
    assert_eq!(missing("/a", "<html>"), "the whole is no JSON, and has no \"a\"");
    assert_eq!(missing("/a", "{}"), "the whole is an object without members, and has no \"a\"");
    let many = format!("{{{}}}", (0..50).map(|n| format!("\"{}{n}\":0", "n".repeat(60))).collect::<Vec<_>>().join(","));
    let message = missing("/a", &many);
    assert!(message.contains(" and 38 more") && message.len() < 800, "{message}");
}

#[test]
fn elements_of_an_array_are_counted() {
    for (array, count) in [("[]", 0), ("[ ]", 0), ("[1]", 1), ("[[1,2],{\"a\":[3]},\"],[\"]", 3)] {
        assert_eq!(elements(array.as_bytes()), Some(count), "{array}");
    }
    assert_eq!(elements(b"{}"), None);
    assert_eq!(elements(b"null"), None);
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        "\\PC{0,6}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            prop::collection::vec(("[a-c~/\"\\\\]{0,2}", inner), 0..5)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn finds_what_a_parser_finds(value in json(), steps in prop::collection::vec("[a-c0-4~/\"\\\\]{0,2}", 0..4), pretty: bool) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let pointer = Pointer { steps };
        let expected = value.pointer(&pointer.to_string());
        let found = pointer.find(text.as_bytes()).value().map(|bytes| serde_json::from_slice::<serde_json::Value>(bytes).unwrap());
        prop_assert_eq!(found.as_ref(), expected);
        prop_assert_eq!(elements(text.as_bytes()), value.as_array().map(Vec::len));
    }

    #[test]
    fn takes_any_bytes(bytes: Vec<u8>, pointer in "(/[a-c0-2]?){0,3}") {
        if let Found::Missing(missing) = Pointer::parse(&pointer).unwrap().find(&bytes) {
            let _ = missing.to_string();
        }
        let _ = elements(&bytes);
    }
}
