//! Pages of many shapes are recognised, and nothing of their values is in what is said.

use proptest::prelude::*;

use super::*;
use crate::secret::Secret;

const KEY: &str = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";

fn found(page: &str) -> Recognised {
    recognise(page.as_bytes(), None, false)
}

fn first_time(found: &Recognised) -> (&str, &str) {
    found.times.first().map_or(("", ""), |time| (time.at.as_str(), time.format))
}

#[test]
fn page_of_the_origin_is_recognised_with_and_without_its_key() {
    let token = |n: u32| {
        let log = format!("{{'record_id': {n}, 'inDate': '2023-03-10T01:48:11.818Z', 'user_id': '{n:064x}'}}");
        format!("{{\"data\": \"{}\"}}", fernet::Fernet::new(KEY).unwrap().encrypt(log.as_bytes()))
    };
    let page = format!("[{}]", (1..5).map(token).collect::<Vec<_>>().join(","));
    let closed = found(&page);
    assert_eq!((closed.items.as_deref(), closed.token.as_str(), closed.sealed), (Some(""), "/data", Sealed::Closed));
    assert_eq!((closed.elements, closed.logs), (4, 0));
    let ring = KeyRing::new(&[Secret::new(KEY)]).unwrap();
    let open = recognise(page.as_bytes(), Some(&ring), true);
    assert_eq!((open.sealed, open.logs, open.id.as_deref()), (Sealed::Opened, 4, Some("/record_id")));
    assert_eq!((first_time(&open), &open.paging), (("/inDate", "auto"), &Paging::Link));
    let codecs: Vec<_> = open.codecs.iter().map(|codec| (codec.field.as_str(), codec.name)).collect();
    assert_eq!(codecs, [("inDate", "digits"), ("user_id", "uuid-pair")]);
}

#[test]
fn fullest_array_is_the_logs_and_the_time_goes_by_its_name() {
    let log = |n: u32| {
        format!(
            "{{\"seq\":{n},\"price\":1678412891,\"meta\":{{\"updated_at\":\"2023-03-10T01:00:00Z\",\"ts\":{}}},\"trace\":\"{n:032x}\"}}",
            1_678_412_891_818_u64 + u64::from(n)
        )
    };
    let logs = (7..40).rev().map(log).collect::<Vec<_>>().join(",");
    let page = format!(
        "{{\"facets\":[{{\"a\":1}},{{\"a\":2}}],\"result\":{{\"logs\":[{logs}]}},\"meta\":{{\"next_cursor\":\"s3cret\"}}}}"
    );
    let found = found(&page);
    assert_eq!((found.items.as_deref(), found.token.as_str(), found.sealed), (Some("/result/logs"), "", Sealed::Plain));
    assert_eq!((first_time(&found), found.id.as_deref()), (("/meta/ts", "epoch-ms"), Some("/seq")));
    assert_eq!(found.codecs, [Codec { field: "trace".into(), name: "hex" }]);
    let cursor = Paging::Cursor { next: "/meta/next_cursor".into(), param: "cursor".into() };
    assert_eq!(found.paging, cursor);
    assert!(!format!("{found:?}").contains("s3cret"));
}

#[test]
fn spelling_of_a_time_is_told() {
    for (value, format) in [
        ("\"2023-03-10T01:48:11Z\"", "auto"),
        ("\"10/Mar/2023:10:48:11 +0900\"", "%d/%b/%Y:%H:%M:%S %z"),
        ("\"Fri, 10 Mar 2023 01:48:11 +0000\"", "%a, %d %b %Y %H:%M:%S %z"),
        ("1678412891", "epoch-s"),
        ("1678412891.818", "epoch-s"),
        ("1678412891818", "epoch-ms"),
        ("\"1678412891818\"", "epoch-ms"),
        ("1678412891818273", "epoch-us"),
        ("1678412891818273645", "epoch-ns"),
    ] {
        let found = found(&format!("[{{\"time\":{value}}},{{\"time\":{value}}}]"));
        assert_eq!(first_time(&found), ("/time", format), "{value}");
    }
    assert!(found("[{\"time\":20230310}]").times.is_empty());
    assert!(!found("[{\"price\":1678412891}]").times[0].is_likely);
}

#[test]
fn log_within_a_text_lines_and_tokens_alone_are_recognised() {
    let nested = found(r#"[{"line":"{\"ts\":\"2023-03-10T01:48:11Z\"}","n":1}]"#);
    assert_eq!((nested.token.as_str(), first_time(&nested)), ("/line", ("/ts", "auto")));
    let lines = found("\u{1e}{\"ts\":\"2023-03-10T01:48:11Z\"}\n{\"ts\":\"2023-03-10T01:48:12Z\"}\n");
    assert!(lines.is_lines && lines.elements == 2 && lines.logs == 2 && first_time(&lines).0 == "/ts");
    let tokens = found(r#"{"tokens":["gAAAAABk","gAAAAABl"]}"#);
    assert_eq!((tokens.items.as_deref(), tokens.token.as_str(), tokens.sealed), (Some("/tokens"), "", Sealed::Closed));
}

#[test]
fn what_leads_on_is_told_from_what_may() {
    for (members, expected) in [
        (r#""next":"https://h/l?page=2""#, Paging::NextUrl("/next".into())),
        (r#""links":{"next":"/l?page=2"}"#, Paging::NextUrl("/links/next".into())),
        (r#""nextPageToken":"abc""#, Paging::Cursor { next: "/nextPageToken".into(), param: "pageToken".into() }),
        (r#""next_page":2"#, Paging::Cursor { next: "/next_page".into(), param: "page".into() }),
        (r#""meta":{"next":null}"#, Paging::Maybe("/meta/next".into())),
        (r#""page":1,"total_pages":3"#, Paging::Counts(vec!["/page".into(), "/total_pages".into()])),
        (r#""status":"ok""#, Paging::Unknown),
    ] {
        assert_eq!(found(&format!("{{{members},\"logs\":[{{\"a\":1}}]}}")).paging, expected, "{members}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_looked_at_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = recognise(&bytes, None, false);
    }

    #[test]
    fn array_and_time_are_found_wherever_they_are(
        way in prop::collection::vec("[a-z~/ ]{1,6}", 0..3),
        time_way in prop::collection::vec("[b-d]{4,6}", 0..3),
        logs in 1..30_u32,
    ) {
        let escaped = |name: &String| format!("/{}", name.replace('~', "~0").replace('/', "~1"));
        let wrap = |way: &[String], inner: String| way.iter().rev().fold(inner, |inner, name| format!("{{\"{name}\":{inner}}}"));
        let log = |n: u32| wrap(&time_way, format!("{{\"timestamp\":{},\"secret\":\"s3cret{n}\"}}", 1_678_412_891 + n * 7));
        let page = wrap(&way, format!("[{}]", (0..logs).map(log).collect::<Vec<_>>().join(",")));
        let found = found(&page);
        prop_assert_eq!(found.items.clone().unwrap(), way.iter().map(escaped).collect::<String>());
        let time = time_way.iter().map(escaped).collect::<String>() + "/timestamp";
        prop_assert_eq!(first_time(&found), (time.as_str(), "epoch-s"));
        prop_assert_eq!((found.elements, found.logs), (u64::from(logs), logs as usize));
        let shown = format!("{found:?}");
        prop_assert!(!shown.contains("s3cret"));
    }
}
