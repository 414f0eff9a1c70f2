//! Codecs: what is refused, what is stored, and what their fingerprint tells apart.

use super::*;

/// `[compact]` as it was when rows had two dictionaries; one that is not given is the origin's.
fn from_toml(text: &str) -> std::result::Result<Codecs, String> {
    let mut given: BTreeMap<String, Dictionary> = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    let usual = Codecs::default();
    let mut take = |field| given.remove(field).unwrap_or_else(|| usual.dictionary(field).unwrap().clone());
    Codecs::of_dictionaries(take(URL), take(METHOD)).map_err(|error| error.to_string())
}

fn codecs(fields: &[(&str, Codec)]) -> Codecs {
    Codecs::new(fields.iter().map(|(field, codec)| ((*field).to_owned(), codec.clone())).collect()).unwrap()
}

#[test]
fn zero_and_repeated_codes_are_refused_by_name() {
    assert_eq!(from_toml("method = { GET = 0 }"), Err("compact.method: the code of \"GET\" is 0".to_owned()));
    let twice = from_toml("url = { '/a' = 1, '/b' = 1 }");
    assert_eq!(twice, Err("compact.url: the code of \"/b\" is used twice: 1".to_owned()));
}

#[test]
fn only_gained_entries_extend() {
    let old = Codecs::default();
    let gained = from_toml("url = { '/api/products/product/' = 1, '/b' = 2 }").unwrap();
    let changed = from_toml("url = { '/api/products/product/' = 2 }").unwrap();
    assert!(old.extends(&old) && gained.extends(&old));
    assert!(!old.extends(&gained) && !changed.extends(&old));
}

#[test]
fn fingerprint_never_changes_and_tells_dictionaries_apart() {
    assert_eq!(Codecs::default().fingerprint(), "6e548bf8a74a589c");
    let others =
        ["url = {}", "method = {}", "url = { '/api/products/product/' = 2 }", "method = { GET = 2, POST = 1 }"]
            .map(|text| from_toml(text).unwrap().fingerprint());
    for (n, one) in others.iter().enumerate() {
        assert_ne!(*one, Codecs::default().fingerprint());
        assert!(!others[n + 1..].contains(one));
    }
}

#[test]
fn stored_dictionaries_are_read_back() {
    let text = serde_json::to_string(&Codecs::default()).unwrap();
    assert_eq!(serde_json::from_str::<Codecs>(&text).unwrap(), Codecs::default());
}
#[test]
fn subset_of_the_entries_is_found_by_its_fingerprint() {
    let now = from_toml("url = { '/a' = 1, '/b' = 2, '/c' = 3 }").unwrap();
    for older in [
        "url = { '/a' = 1 }",
        "url = { '/b' = 2 }",
        "url = { '/a' = 1, '/c' = 3 }",
        "url = {}\nmethod = {}",
        "url = { '/a' = 1, '/b' = 2, '/c' = 3 }",
    ] {
        let older = from_toml(older).unwrap();
        assert_eq!(now.subset_with(&older.fingerprint()), Some(older));
    }
    for other in ["url = { '/a' = 2 }", "url = { '/d' = 4 }", "url = { '/a' = 2, '/b' = 1, '/c' = 3 }"] {
        assert_eq!(now.subset_with(&from_toml(other).unwrap().fingerprint()), None, "{other}");
    }
}

#[test]
fn subset_of_many_entries_is_found_where_the_newest_are_missing() {
    let of = |count: i64| Codecs::of_dictionaries((1..=count).map(|n| (format!("/{n}"), n)).collect(), BTreeMap::new());
    let now = of(60).unwrap();
    assert_eq!(now.subset_with(&of(50).unwrap().fingerprint()), of(50).ok());
    assert_eq!(now.subset_with(&of(20).unwrap().fingerprint()), None);
}

#[test]
fn stored_bytes_are_pinned_and_only_those_of_their_id_are_read() {
    let dictionaries = Codecs::default();
    let bytes = dictionaries.to_stored().unwrap();
    let text = "{\"method\":{\"GET\":1,\"POST\":2},\"url\":{\"/api/products/product/\":1}}\n";
    assert_eq!(std::str::from_utf8(&bytes), Ok(text));
    let id = dictionaries.fingerprint();
    assert_eq!(Codecs::from_stored(&bytes, &id), Some(dictionaries));
    for damaged in [
        "",
        "{}",
        "{\"url\":{\"/api/products/product/\":1}}",
        &text.replace(":2", ":3"),
        &text.replace("POST", "PUT"),
        &text.replace(",\"url\"", ",\"columns\":{},\"url\""),
        &text.replace(",\"url\"", ",\"codecs\":{},\"url\""),
    ] {
        assert_eq!(Codecs::from_stored(damaged.as_bytes(), &id), None, "{damaged}");
    }
}

#[test]
fn other_codecs_have_a_stored_form_and_a_fingerprint_of_their_own() {
    let entries = BTreeMap::from([("a".to_owned(), 1)]);
    let all = codecs(&[
        ("at", Codec::Digits),
        ("id", Codec::Hex),
        ("kind", Codec::Dictionary(entries.clone())),
        ("user", Codec::UuidPair),
    ]);
    let text = "{\"codecs\":{\"at\":\"digits\",\"id\":\"hex\",\"kind\":{\"a\":1},\"user\":\"uuid-pair\"}}\n";
    assert_eq!(String::from_utf8(all.to_stored().unwrap()).unwrap(), text);
    assert_eq!(all.fingerprint(), "683b09ba757df7eb");
    assert_eq!(Codecs::from_stored(text.as_bytes(), &all.fingerprint()), Some(all.clone()));
    let state = serde_json::to_string(&all).unwrap();
    assert_eq!(serde_json::from_str::<Codecs>(&state).unwrap(), all);
    let usual = Codecs::default();
    let others = [
        usual.clone(),
        codecs(&[]),
        codecs(&[("url", Codec::Dictionary(BTreeMap::new()))]),
        codecs(&[("url", Codec::Dictionary(entries.clone())), ("method", Codec::Dictionary(entries))]),
        codecs(&[("a", Codec::Hex)]),
        codecs(&[("a", Codec::Digits)]),
        codecs(&[("b", Codec::Hex)]),
        codecs(&[("a", Codec::Hex), ("b", Codec::Hex)]),
    ];
    for (n, one) in others.iter().enumerate() {
        assert_eq!(Codecs::from_stored(&one.to_stored().unwrap(), &one.fingerprint()).as_ref(), Some(one));
        assert!(others[n + 1..].iter().all(|other| other.fingerprint() != one.fingerprint()), "{n}");
    }
}

#[test]
fn codec_that_is_another_extends_nothing() {
    let none = codecs(&[]);
    let hex = codecs(&[("a", Codec::Hex)]);
    let digits = codecs(&[("a", Codec::Digits)]);
    for (older, newer) in [(&none, &hex), (&hex, &none), (&hex, &digits)] {
        assert!(!newer.extends(older));
    }
    assert_eq!(hex.change_since(&digits), Some(("a".to_owned(), "\"digits\", now \"hex\"".to_owned())));
    assert_eq!(hex.change_since(&none), Some(("a".to_owned(), "\"none\", now \"hex\"".to_owned())));
}

#[test]
fn name_that_looks_like_that_of_an_original_has_no_codec() {
    let refused = Codecs::new([("a_raw".to_owned(), Codec::Hex)].into());
    assert!(refused.unwrap_err().to_string().starts_with("compact.a_raw: a field whose name ends in"));
}
