//! That every element of a page is a token, or odd with its bytes, whatever JSON allows. Keeps nothing on the disk.

use super::*;

fn token(text: &str) -> Element<'_> {
    Element::Token(text.into())
}

fn odd(text: &str) -> Element<'_> {
    Element::Odd(text.as_bytes())
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
