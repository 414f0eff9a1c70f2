//! That every element of a page is a token, or odd with its bytes, whatever JSON allows. Keeps nothing on the disk.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

fn token(text: &str) -> Element<'_> {
    Element::Token(text.into())
}

fn odd(text: &str) -> Element<'_> {
    Element::Odd(text.as_bytes())
}

/// The elements of a page of the origin's shape.
fn parse(body: &[u8]) -> Result<Vec<Element<'_>>, NotAPage> {
    static ORIGIN: LazyLock<PageShape> = LazyLock::new(PageShape::default);
    super::parse(body, &ORIGIN)
}

fn parsed(body: &str) -> Vec<Element<'_>> {
    parse(body.as_bytes()).unwrap()
}

#[test]
fn tokens_come_in_order_borrowed_from_the_body() {
    let elements = parsed(" [ {\"data\":\"gAAA\",\"id\":[1,{}]},\n{\"data\":\"gBBB\"} ] \n");
    assert_eq!(elements, [token("gAAA"), token("gBBB")]);
    assert!(elements.iter().all(|e| matches!(e, Element::Token(Cow::Borrowed(_)))));
}

#[test]
fn escapes_in_names_and_tokens_are_read() {
    let elements = parsed(r#"[{"d\u0061ta":"g\/\u0041"},{"\ud83d\ude00":0,"data":""}]"#);
    assert_eq!(elements, [token("g/A"), token("")]);
}

#[test]
fn last_of_several_data_members_counts() {
    let elements = parsed(r#"[{"data":"a","data":"b"},{"data":1,"data":"c"},{"data":"d","data":{"data":"e"}}]"#);
    assert_eq!(elements, [token("b"), token("c"), odd(r#"{"data":"d","data":{"data":"e"}}"#)]);
}

#[test]
fn odd_element_costs_only_itself() {
    for text in ["1", "-1.5", "null", "true", "\"gAAA\"", "[]", "[[\"data\"]]", "{}", r#"{"data":null}"#] {
        let body = format!(r#"[{text},{{"data":"t"}}]"#);
        assert_eq!(parsed(&body), [odd(text), token("t")], "{text}");
    }
}

#[test]
fn what_json_allows_and_rust_types_do_not_costs_only_itself() {
    for text in ["1e999", r#"{"data":-1e999}"#, r#""\ud800""#, r#"{"data":"\udc00"}"#, r#"{"\ud800":1,"data":"x"}"#] {
        let body = format!(r#"[{{"data":"t","big":1e999}},{text},{{"data":"a","data":"b\n"}}]"#);
        assert_eq!(parsed(&body), [token("t"), odd(text), token("b\n")], "{text}");
    }
}

#[test]
fn what_no_json_reader_takes_costs_only_itself() {
    let strange: [&[u8]; 14] = [
        br#"{"x":NaN,"data":"x"}"#,
        br#"{"x":-Infinity,"data":"x"}"#,
        b"{\"x\":\"a\0b\",\"data\":\"x\"}",
        b"{\"x\":\"a\nb\",\"data\":\"x\"}",
        b"{\"x\":\"a\xffb\",\"data\":\"x\"}",
        b"{\"data\":\"a\xffb\"}",
        b"\xff",
        br#"{"data":"x",}"#,
        br#"{data:"x"}"#,
        br#"{'data':"x"}"#,
        br#"{"data" "x"}"#,
        br#"{"data":"x"} {"data":"y"}"#,
        br#"{"data":"x"]"#,
        b"]",
    ];
    for bytes in strange {
        let body = [br#"[{"data":"s"},"#, bytes, br#",{"data":"t"}]"#].concat();
        let expected = [token("s"), Element::Odd(bytes), token("t")];
        assert_eq!(parse(&body).as_deref(), Ok(&expected[..]), "{}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn comma_too_many_and_a_byte_order_mark_cost_nothing() {
    for body in [r#"[{"data":"t"},]"#, r#"[,{"data":"t"}]"#, "\u{feff} [{\"data\":\"t\"}]"] {
        assert_eq!(parsed(body), [token("t")], "{body}");
    }
    assert_eq!(parse(b"[,]"), Err(NotAPage::NoTokens { elements: 0 }));
}

#[test]
fn empty_array_is_a_page_without_tokens() {
    for body in ["[]", " [ ]\n", "\u{feff}[]"] {
        assert_eq!(parsed(body), []);
    }
}

#[test]
fn what_is_no_page_is_refused_without_quoting_it() {
    for body in ["", "  ", "{}", "\"secret\"", "<html>", "null", "[", "[{\"data\":\"secret\"}", "[]x", "\u{c}[]"] {
        assert_eq!(parse(body.as_bytes()), Err(NotAPage::NotAnArray), "{body}");
    }
    let both = r#"[{"data":"secret"}]"#;
    for body in ["[] []", &format!("{both}\n{both}"), "[\"]", "[{]", "[[]", "[{\"data\":\"secret]"] {
        let refused = parse(body.as_bytes()).unwrap_err();
        assert_eq!(refused, NotAPage::NotClosed, "{body}");
        assert!(!refused.to_string().contains("secret"));
    }
    assert_eq!(parse(b"[1,2,3]"), Err(NotAPage::NoTokens { elements: 3 }));
    assert_eq!(parse(br#"[{"data" "secret"}]"#), Err(NotAPage::NoTokens { elements: 1 }));
}

#[test]
fn body_cut_short_anywhere_is_no_page() {
    let whole = r#"[{"data":"a]b","tags":["x]"," \"]"],"more":{"y":[[1],[2]]}},{"data":"t"},[["]"]],{"data":"u"}]"#;
    assert_eq!(parsed(whole).len(), 4);
    for cut in 0..whole.len() {
        assert!(parse(&whole.as_bytes()[..cut]).is_err(), "{}", &whole[..cut]);
    }
}

#[test]
fn a_million_levels_in_what_is_ignored_do_no_harm() {
    let deep = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
    let body = format!(r#"[{{"x":{deep},"data":"t"}},{{"data":{deep}}},{deep},{{"data":{{"a":{deep}}}}}]"#);
    let elements = parsed(&body);
    assert_eq!(elements.len(), 4);
    assert_eq!(elements.first(), Some(&token("t")));
    assert_eq!(elements.get(2), Some(&odd(&deep)));
}

fn shape(items: &str, token: &str, is_encrypted: bool) -> PageShape {
    let pointer = |text| Pointer::parse(text).unwrap();
    PageShape { items: pointer(items), token: pointer(token), is_encrypted }
}

#[test]
fn array_is_found_wherever_it_is_and_odd_elements_cost_only_themselves() {
    let page =
        r#"{"n":NaN,"data":{"next":null,"items":[{"t":{"x":"g"}},{"t":"g","y":NaN},[1],{"t":{"x":"h"}}]},"z":[9]}"#;
    let shape = shape("/data/items", "/t/x", true);
    let elements = super::parse(page.as_bytes(), &shape).unwrap();
    assert_eq!(elements, [token("g"), odd(r#"{"t":"g","y":NaN}"#), odd("[1]"), token("h")]);
    for empty in [r#"{"data":{"items":[]}}"#, r#"{"data":{"items":null}}"#] {
        assert_eq!(super::parse(empty.as_bytes(), &shape), Ok(vec![]), "{empty}");
    }
    for cut in 1..page.len() {
        assert_eq!(super::parse(&page.as_bytes()[..cut], &shape), Err(NotAPage::NotClosed), "{}", &page[..cut]);
    }
    let both = format!("{page}\n{page}");
    assert_eq!(super::parse(both.as_bytes(), &shape), Err(NotAPage::NotClosed), "the second would be lost");
}

#[test]
fn two_values_side_by_side_are_odd_where_one_is_looked_for() {
    let body = br#"[{"t":"a"} {"t":"b"},{"t":"c"}]"#;
    let shape = shape("", "/t", true);
    assert_eq!(super::parse(body, &shape).unwrap(), [odd(r#"{"t":"a"} {"t":"b"}"#), token("c")]);
}

#[test]
fn record_is_an_object_or_a_text_where_nothing_is_encrypted() {
    let body = r#"[{"log":{"a":1.50}},{"log":"{'a': 1}"},{"log":7},{"a":1},"{\"a\":1}"]"#;
    let within = shape("", "/log", false);
    let elements = super::parse(body.as_bytes(), &within).unwrap();
    let rest = [odd(r#"{"log":7}"#), odd(r#"{"a":1}"#), odd(r#""{\"a\":1}""#)];
    assert_eq!(elements, [&[token(r#"{"a":1.50}"#), token("{'a': 1}")][..], &rest].concat());
    let itself = shape("", "", false);
    let elements = super::parse(br#"[{"a": NaN, "b":1.50}, "{}", 7]"#, &itself).unwrap();
    assert_eq!(elements, [token(r#"{"a": NaN, "b":1.50}"#), token("{}"), odd("7")]);
}

#[test]
fn line_is_an_element_and_a_text_is_the_token_itself() {
    let page = "\u{1e}\u{feff}{\"data\":\"g\"}\r\n\n \"h\"\n{\"x\":1}\n{\"data\":\"i\"}";
    let expected = [token("g"), token("h"), odd("{\"x\":1}"), token("i")];
    assert_eq!(parsed(page), expected);
    for elsewhere in [shape("/items", "/data", true), shape("", "/data", false)] {
        assert_eq!(
            super::parse(page.as_bytes(), &elsewhere).unwrap(),
            expected,
            "whatever the configuration is by now"
        );
    }
    assert_eq!(parsed("\u{1e}"), []);
    assert_eq!(parsed("\u{1e}\n\n"), []);
    assert_eq!(parse(b"\x1e{}\n[]\n"), Err(NotAPage::NoTokens { elements: 2 }));
}

#[test]
fn what_stands_there_instead_is_told_by_names_with_what_to_set() {
    let body = r#"{"status":"s3cret","result":{"logs":[{"id":1,"text":"s3cret"}]}}"#.as_bytes();
    let told = |shape: &PageShape, body: &[u8]| {
        let reason = super::parse(body, shape).unwrap_err();
        let told = format!("{reason}{}\n{}", reason.instead(body), reason.way_out(body, shape));
        assert!(!told.contains("s3cret"), "{told}");
        told
    };
    let moved = told(&shape("/data/items", "/text", true), body);
    assert!(
        moved.starts_with(
            r#"source.items is "/data/items", but the whole is an object with "status", "result", and has no "data""#
        ),
        "{moved}"
    );
    assert!(moved.ends_with(r#"set source.items = "/result/logs""#), "{moved}");
    let other = told(&shape("/status", "/text", true), body);
    assert!(other.contains(r#"but there stands a text, not an array"#), "{other}");
    let root = told(&shape("", "/text", true), body);
    assert!(root.starts_with("not a JSON array") && root.ends_with(r#"set source.items = "/result/logs""#), "{root}");
    let token = told(&shape("/result/logs", "/token", true), body);
    assert!(token.starts_with(r#"none of its 1 elements has a text at "/token" (source.token)"#), "{token}");
    assert!(token.contains(r#"the first with "id", "text""#) && token.contains("say in source.token"), "{token}");
    let array = told(&shape("/items", "/text", false), br#"[{"text":"s3cret"}]"#);
    assert!(array.ends_with(r#"set source.items = """#), "{array}");
}

/// A page of these texts in some shape.
fn page_in(shape: &PageShape, as_lines: bool, texts: &[String], noise: &str) -> String {
    let nest = |pointer: &Pointer, inner: String| {
        pointer.steps().iter().rev().fold(inner, |inner, step| {
            let name = serde_json::to_string(step).unwrap();
            format!("{{\"noise\": {noise}, {name} : {inner}}}")
        })
    };
    let elements: Vec<String> =
        texts.iter().map(|text| nest(&shape.token, serde_json::to_string(text).unwrap())).collect();
    match as_lines {
        true => format!("\u{1e}{}\n", elements.join("\n")),
        false => nest(&shape.items, format!("[{}]", elements.join(" , "))),
    }
}

proptest! {
    #[test]
    fn same_tokens_come_whatever_the_shape(
        texts in prop::collection::vec("\\PC{0,20}", 1..20),
        items in prop::collection::vec("[a-z~/\"\\\\é]{1,5}", 0..3),
        place in prop::collection::vec("[a-z~/\"\\\\é]{1,5}", 0..3),
        is_encrypted: bool,
        as_lines: bool,
        noise in prop::sample::select(vec!["1", "NaN", "\"]}\"", "[{}]", "{\"a\":[\",\"]}"]),
    ) {
        prop_assume!(items.iter().chain(&place).all(|step| step != "noise"));
        let pointer = |steps: &[String]| {
            let text: String = steps.iter().map(|s| format!("/{}", s.replace('~', "~0").replace('/', "~1"))).collect();
            text
        };
        let shape = shape(&pointer(&items), &pointer(&place), is_encrypted);
        let page = page_in(&shape, as_lines, &texts, noise);
        let found: Vec<String> = super::parse(page.as_bytes(), &shape).unwrap().into_iter().map(|element| match element {
            Element::Token(text) => text.into_owned(),
            Element::Odd(bytes) => panic!("{}", String::from_utf8_lossy(bytes)),
        }).collect();
        prop_assert_eq!(&found, &texts);
        let again = page_of(texts.iter().map(String::as_str), &shape).unwrap();
        let found: Vec<Element<'_>> = super::parse(&again, &shape).unwrap();
        prop_assert_eq!(found, texts.iter().map(|text| token(text)).collect::<Vec<_>>());
    }

    #[test]
    fn any_bytes_in_any_shape_do_no_harm(bytes: Vec<u8>, items in "(/[a-c0]?){0,3}", place in "(/[a-c0]?){0,3}", is_encrypted: bool) {
        let shape = shape(&items, &place, is_encrypted);
        for body in [bytes.clone(), [&[0x1e], &bytes[..]].concat(), [b"{\"a\":[", &bytes[..], b"]}"].concat()] {
            if let Err(reason) = super::parse(&body, &shape) {
                let _ = (reason.instead(&body), reason.way_out(&body, &shape));
            }
        }
    }
}
