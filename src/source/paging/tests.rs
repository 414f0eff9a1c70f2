//! Requests from a template, and what follows a page, for each style.

use super::*;
use crate::config::{Asking, Method, PagingConfig, PagingStyle, ParamPlace, TimeFormat};
use crate::pointer::Pointer;
use crate::source::{PageHead, PageUrl};

fn asking() -> Asking {
    Asking {
        method: Method::Get,
        body: String::new(),
        start: String::new(),
        since_format: TimeFormat::Rfc3339,
        overlap: std::time::Duration::from_secs(600),
    }
}

fn paging(style: PagingStyle) -> PagingConfig {
    let next = Pointer::parse("/meta/next").unwrap();
    PagingConfig { style, next, param: "p".into(), ..PagingConfig::default() }
}

fn template(url: &str, paging: PagingConfig) -> Template {
    Template::new(url, asking(), paging, Pointer::parse("/data").unwrap()).unwrap()
}

fn asked(template: &Template, position: &Position) -> String {
    let request = template.request(&Values::default(), position).unwrap();
    [request.url().secret_text(), request.body().unwrap_or_default()].join(" ").trim_end().to_owned()
}

/// What follows a page with this body; each is the first page of a trail.
fn after(template: &Template, position: &Position, body: &str) -> String {
    let mut trail = Trail::new(10);
    let request = template.request(&Values::default(), position).unwrap();
    said(template.next(position, &request, &PageHead::default(), body.as_bytes().into(), &mut trail))
}

fn said(next: Next) -> String {
    match next {
        Next::Page(position) => format!("{position:?}"),
        Next::End => "end".to_owned(),
        Next::Lost(error) => format!("lost: {error}"),
    }
}

#[test]
fn trail_ends_at_a_circle_or_at_its_limit() {
    let url = |page: u32| PageRequest::get(PageUrl::parse(&format!("http://h/log?page={page}")).unwrap());
    let mut trail = Trail::new(2);
    let visits = [1, 2, 1, 3, 2].map(|page| trail.enter(&url(page)));
    assert_eq!(visits, [Visit::New, Visit::New, Visit::Seen, Visit::TooMany, Visit::Seen]);
}

#[test]
fn values_are_encoded_for_where_they_go() {
    let mut asking =
        Asking { method: Method::Post, body: "{\"from\": \"{since}\", \"x\": {\"id\": {last_id}}}".into(), ..asking() };
    asking.start = "a&b\"c/ü{last_id}".into();
    let template =
        Template::new("http://h/l?f={since}&i={last_id}#x", asking, PagingConfig::default(), Pointer::default())
            .unwrap();
    let values = template.values(None, Some(-7), "2023-03-10T01:00:00Z".parse().unwrap());
    let request = template.request(&values, &Position::First).unwrap();
    assert_eq!(request.url().secret_text(), "http://h/l?f=a%26b%22c%2F%C3%BC%7Blast_id%7D&i=-7");
    assert_eq!(request.body(), Some("{\"from\": \"a&b\\\"c/ü{last_id}\", \"x\": {\"id\": -7}}"));
    assert_eq!(format!("{template} {request:?}"), "http://h/l http://h/l");
}

#[test]
fn since_is_the_overlap_before_what_is_safe_and_the_start_before_that() {
    let template = |start: &str, format| {
        let asking = Asking { start: start.into(), since_format: format, ..asking() };
        Template::new("http://h/l?f={since}", asking, PagingConfig::default(), Pointer::default()).unwrap()
    };
    let url = |template: &Template, safe: Option<&str>| {
        let values = template.values(safe.map(|at| at.parse().unwrap()), None, jiff::Timestamp::UNIX_EPOCH);
        template.request(&values, &Position::First).unwrap().url().secret_text().to_owned()
    };
    let rfc = template("2023-01-01T00:00:00+01:00", TimeFormat::Rfc3339);
    assert_eq!(url(&rfc, None), "http://h/l?f=2022-12-31T23%3A00%3A00.000Z");
    assert_eq!(url(&rfc, Some("2023-03-10T01:10:00.0019Z")), "http://h/l?f=2023-03-10T01%3A00%3A00.001Z");
    assert_eq!(url(&template("0", TimeFormat::EpochMillis), None), "http://h/l?f=0");
    assert_eq!(url(&template("0", TimeFormat::EpochSeconds), Some("1970-01-01T00:10:01.9Z")), "http://h/l?f=1");
}

#[test]
fn parameter_goes_where_it_should() {
    let cursor = Position::Cursor("\"a/b c\"".into());
    let query = template("http://h/l?p=0&q=a%20b&P=1", paging(PagingStyle::Cursor));
    assert_eq!(asked(&query, &Position::First), "http://h/l?p=0&q=a%20b&P=1");
    assert_eq!(asked(&query, &cursor), "http://h/l?q=a%20b&P=1&p=a%2Fb+c");
    assert_eq!(
        asked(&query, &Position::Cursor("12345678901234567890".into())),
        "http://h/l?q=a%20b&P=1&p=12345678901234567890"
    );

    let in_body = |param: &str, body: &str| {
        let asking = Asking { method: Method::Post, body: body.into(), ..asking() };
        let paging = PagingConfig { place: ParamPlace::Body, param: param.into(), ..paging(PagingStyle::Cursor) };
        Template::new("http://h/l", asking, paging, Pointer::default()).unwrap()
    };
    assert_eq!(asked(&in_body("p", ""), &Position::First), "http://h/l {}");
    assert_eq!(asked(&in_body("p", ""), &cursor), "http://h/l {\"p\":\"a/b c\"}");
    assert_eq!(
        asked(&in_body("/page/after", "{\"page\":{}}"), &Position::Cursor("[1,\"x\"]".into())),
        "http://h/l {\"page\":{\"after\":[1,\"x\"]}}"
    );
    assert!(in_body("/none/after", "{}").request(&Values::default(), &cursor).is_err());

    let in_header = PagingConfig { place: ParamPlace::Header, param: "X-After".into(), ..paging(PagingStyle::Cursor) };
    let in_header = template("http://h/l", in_header);
    let request = in_header.request(&Values::default(), &cursor).unwrap();
    assert_eq!(
        request.header().map(|(name, value)| (name.as_str(), value.as_bytes())),
        Some(("x-after", &b"a/b c"[..]))
    );
    assert!(in_header.request(&Values::default(), &Position::Cursor("\"a\\nb\"".into())).is_err());
}

#[test]
fn size_is_sent_only_as_its_parameter() {
    let sized = PagingConfig { size: 50, size_param: "limit".into(), start: 1, ..paging(PagingStyle::Page) };
    let silent = PagingConfig { size_param: String::new(), ..sized.clone() };
    assert_eq!(asked(&template("http://h/l", sized), &Position::First), "http://h/l?limit=50&p=1");
    assert_eq!(asked(&template("http://h/l", silent), &Position::Number(2)), "http://h/l?p=2");
}

#[test]
fn cursor_or_address_in_the_page_leads_on() {
    let cursor = template("http://h/l", paging(PagingStyle::Cursor));
    let url = template("https://me:pw@h/l", paging(PagingStyle::NextUrl));
    let page = |next: &str| format!("{{\"data\":[1],\"meta\":{{\"next\":{next}}}}}");
    for end in ["null", "false", "\"\""] {
        assert_eq!(after(&cursor, &Position::First, &page(end)), "end");
        assert_eq!(after(&url, &Position::First, &page(end)), "end");
    }
    for end in ["{\"data\":[1]}", "{\"data\":[1],\"meta\":null}", "{\"data\":[1],\"meta\":{}}"] {
        assert_eq!(after(&cursor, &Position::First, end), "end", "{end}");
    }
    assert_eq!(after(&cursor, &Position::First, &page("\"x\"")), "Cursor(\"\\\"x\\\"\")");
    assert_eq!(after(&cursor, &Position::First, &page("17")), "Cursor(\"17\")");
    assert_eq!(after(&cursor, &Position::First, &page("{\"a\":1}")), "Cursor(\"{\\\"a\\\":1}\")");
    assert_eq!(after(&url, &Position::First, &page("\"?page=2\"")), "Url(\"https://me:pw@h/l?page=2\")");
    for elsewhere in ["\"http://h/l\"", "\"https://evil/?t=SECRET\"", "17", "{\"SECRET\":1}"] {
        let lost = after(&url, &Position::First, &page(elsewhere));
        assert!(lost.starts_with("lost: https://h/l") || lost.starts_with("lost: the link"), "{lost}");
    }
}

#[test]
fn counting_ends_at_an_empty_a_short_or_a_repeated_page() {
    let page = template("http://h/l", paging(PagingStyle::Page));
    let offset = template("http://h/l", paging(PagingStyle::Offset));
    let sized = template("http://h/l", PagingConfig { size: 2, ..paging(PagingStyle::Offset) });
    let (three, two, one, none) = ("{\"data\":[1,2,3]}", "{\"data\":[1,2]}", "{\"data\":[1]}", "{\"data\":[]}");
    assert_eq!(after(&page, &Position::First, one), "Number(1)");
    assert_eq!(after(&page, &Position::Number(7), one), "Number(8)");
    assert_eq!(after(&offset, &Position::Number(7), three), "Number(10)");
    assert_eq!(
        (after(&page, &Position::First, none), after(&offset, &Position::First, none)),
        ("end".into(), "end".into())
    );
    assert_eq!(
        (after(&sized, &Position::First, two), after(&sized, &Position::First, one)),
        ("Number(2)".into(), "end".into())
    );
    let lost = after(&page, &Position::First, "{\"items\":[]}");
    assert_eq!(
        lost,
        "lost: http://h/l: the elements of the page cannot be counted: the whole is an object with \"items\", and has no \"data\""
    );

    let (mut trail, request) = (Trail::new(9), page.request(&Values::default(), &Position::First).unwrap());
    let mut next = |body: &str| {
        said(page.next(&Position::First, &request, &PageHead::default(), body.as_bytes().into(), &mut trail))
    };
    assert_eq!([next(one), next(two), next(two)], ["Number(1)", "Number(1)", "end"]);
}

#[test]
fn cursor_that_only_leads_to_empty_pages_ends_after_three_of_them() {
    let cursor = template("http://h/l", paging(PagingStyle::Cursor));
    let (mut trail, request) = (Trail::new(9), cursor.request(&Values::default(), &Position::First).unwrap());
    let mut is_end = |data: &str, n: u32| {
        let body = format!("{{\"data\":[{data}],\"meta\":{{\"next\":{n}}}}}");
        matches!(
            cursor.next(&Position::First, &request, &PageHead::default(), body.as_bytes().into(), &mut trail),
            Next::End
        )
    };
    let ends: Vec<bool> = ["1", "", "", "1", "", "", ""].iter().zip(1..).map(|(data, n)| is_end(data, n)).collect();
    assert_eq!(ends, [false, false, false, false, false, false, true]);
}

#[test]
fn service_that_gives_its_first_page_again_takes_no_notice_of_the_cursor() {
    let cursor = template("http://h/l", paging(PagingStyle::Cursor));
    let request = cursor.request(&Values::default(), &Position::First).unwrap();
    let last_of = |bodies: &[&str]| {
        let mut trail = Trail::new(9);
        let next = |body: &&str| {
            cursor.next(&Position::First, &request, &PageHead::default(), body.as_bytes().into(), &mut trail)
        };
        bodies.iter().map(next).last().unwrap()
    };
    let [first, second] = [1, 2].map(|n| format!("{{\"data\":[{n}],\"meta\":{{\"next\":{n}}}}}"));
    let Next::Lost(error) = last_of(&[&first, &first]) else { panic!("it is whole") };
    assert!(error.chain().contains("the first page again"), "{}", error.chain());
    assert!(matches!(last_of(&[&first, &second, &second]), Next::End), "the last page again is the usual end");
    let only = "{\"data\":[1],\"meta\":{\"next\":null}}";
    assert!(matches!(last_of(&[only, only]), Next::End));
}

#[test]
fn fingerprint_changes_with_what_is_asked_for_and_not_with_values() {
    let url = PageUrl::parse("http://h/l?x=1").unwrap();
    assert_eq!(Template::of_links(url.clone()).fingerprint(), url.fingerprint());
    let with = |url: &str, body: &str, style| {
        let asking = Asking { method: Method::Post, body: body.into(), ..asking() };
        Template::new(url, asking, paging(style), Pointer::default()).unwrap().fingerprint()
    };
    let base = with("http://h/l?x={since}", "", PagingStyle::Cursor);
    for other in [
        with("http://h/l?y={since}", "", PagingStyle::Cursor),
        with("http://h/l?x={since}", "{}", PagingStyle::Cursor),
        with("http://h/l?x={since}", "", PagingStyle::Page),
    ] {
        assert_ne!(other, base);
    }
}

#[test]
fn long_bodies_that_differ_only_in_what_came_before_their_last_segment_are_two() {
    let counting = template("http://h/log", paging(PagingStyle::Offset));
    let request = counting.request(&Values::default(), &Position::First).unwrap();
    let mut trail = Trail::new(10);
    let mut after = |before: Option<[u8; 32]>, at: u64| {
        let body = Body { bytes: b"\x1e{\"same\":1}\n", before, lines: Some(9) };
        said(counting.next(&Position::Number(at), &request, &PageHead::default(), body, &mut trail))
    };
    assert_eq!(after(Some([1; 32]), 0), "Number(9)");
    assert_eq!(after(Some([2; 32]), 9), "Number(18)");
    assert_eq!(after(None, 18), "Number(27)");
    assert_eq!(after(None, 27), "end");
}
