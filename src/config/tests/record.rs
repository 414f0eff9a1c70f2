//! `[record]` and `[compact]`: what they lead to, and what is refused.

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::hour::time::TimeFormat;
use crate::pointer::Pointer;

fn pointer(text: &str) -> Pointer {
    Pointer::parse(text).unwrap()
}

fn compact(config: &Config) -> Vec<(String, CodecConfig)> {
    config.compact.fields().map(|(field, codec)| (field.to_owned(), codec.clone())).collect()
}

#[test]
fn origins_records_are_the_default() {
    let config = Place::new().config();
    let record = &config.record;
    assert_eq!((&record.time, &record.time_format), (&pointer("/inDate"), &TimeFormat::Text));
    assert!(record.drop.is_empty() && record.mask.is_empty() && !record.odd_as_text);
    assert_eq!(record.mask_key().unwrap(), None);
    let said = Place::with_file("[record]\ntime_format = \"auto\"\n").config();
    assert_eq!(said.record.time_format, TimeFormat::Auto, "numbers are times where somebody has said so");
}

#[test]
fn field_is_named_by_its_name_or_a_pointer() {
    let text = "[record]\ntime = \"/meta/at\"\ntime_format = \"epoch-ms\"\nid = \"seq\"\nodd = \"text\"\ndrop = [\"a/b\", \"/u/mail\"]\n";
    let record = Place::with_file(text).config().record;
    assert_eq!((&record.time, record.id()), (&pointer("/meta/at"), Some(&pointer("/seq"))));
    assert_eq!(record.time_format, TimeFormat::parse("epoch-ms").unwrap());
    assert!(record.odd_as_text);
    assert_eq!(record.drop, [pointer("/a~1b"), pointer("/u/mail")]);
    assert_eq!(Place::with_file("[record]\ntime = \"ts\"\n").config().record.time_format, TimeFormat::Auto);
}

#[test]
fn number_may_be_named_by_its_old_key() {
    let named = |text: &str| Place::with_file(text).config().record.id().cloned();
    assert_eq!(named("[source]\nsequence = \"a/b\"\n"), Some(pointer("/a~1b")));
    assert_eq!(named("[source]\nsequence = \"\"\n"), None);
    assert_eq!(named("[record]\nid = \"\"\n"), None);
    let both = Place::with_file("[source]\nsequence = \"n\"\n[record]\nid = \"n\"\n").refusal();
    assert!(both.contains("line 2: source.sequence: the number is named in two places"), "{both}");
}

#[test]
fn codecs_of_the_origin_are_the_default_for_its_records_only() {
    let usual = compact(&Place::new().config());
    assert_eq!(usual.len(), 4);
    assert_eq!(compact(&Place::with_file("[record]\ntime = \"inDate\"\n").config()), usual);
    let other = "[record]\ntime = \"ts\"\n[compact]\nuser = \"hex\"\nkind = { a = 1 }\n";
    let kind = CodecConfig::Dictionary([("a".to_owned(), 1)].into());
    let expected = [("kind".to_owned(), kind), ("user".to_owned(), CodecConfig::Hex)];
    assert_eq!(compact(&Place::with_file(other).config()), expected);
    let without = compact(&Place::with_file("[compact]\nuser_id = \"none\"\nurl = \"none\"\n").config());
    assert_eq!(without.iter().filter(|(_, codec)| *codec != CodecConfig::None).count(), 2);
}

#[test]
fn impossible_record_is_refused_by_its_line() {
    for (text, expected) in [
        ("time = \"\"", "line 2: record.time: names no field"),
        ("time = \"/a~2\"", "line 2: record.time: in a JSON Pointer \"~\" is written"),
        ("time_format = \"%H:%M\"", "line 2: record.time_format: not a format that gives date and time"),
        ("odd = \"drop\"", "line 2: record.odd: not what can be done with odd values"),
        ("drop = [\"\"]", "line 2: record.drop: names no field"),
        ("drop = \"a\"", "line 2: record.drop: expected an array, found a string"),
        ("drop = [\"inDate\"]", "line 2: record.drop: \"/inDate\" has record.time in it, \"/inDate\""),
        ("time = \"/m/at\"\ndrop = [\"a\", \"/m\"]", "line 3: record.drop: \"/m\" has record.time in it, \"/m/at\""),
        ("drop = [\"record_id\"]", "line 2: record.drop: \"/record_id\" has record.id in it"),
        ("mask = [\"inDate\"]\nmask_key = \"env:K\"", "line 2: record.mask: \"/inDate\" has record.time in it"),
        ("mask_key = \"s3cret\"", "line 2: record.mask_key: a secret does not belong in the file"),
        ("mask_key = \"env:a b\"", "line 2: record.mask_key: "),
        ("times = \"x\"", "line 2: unknown key \"times\" in [record]; the nearest known one is \"time\""),
    ] {
        let refusal = Place::with_file(&format!("[record]\n{text}\n")).refusal();
        assert!(refusal.contains(expected) && !refusal.contains("s3cret"), "{text}: {refusal}");
    }
    for (text, expected) in [
        ("a = \"uuid\"", "line 2: compact.a: not a codec"),
        ("a = 1", "line 2: compact.a: not a codec"),
        ("a_raw = \"hex\"", "line 2: compact.a_raw: a field whose name ends in \"_raw\""),
        ("a = { x = 0 }", "line 2: compact.a.x: 0 is the code of everything"),
    ] {
        let refusal = Place::with_file(&format!("[compact]\n{text}\n")).refusal();
        assert!(refusal.contains(expected), "{text}: {refusal}");
    }
}

#[test]
fn key_of_the_masks_comes_from_elsewhere_and_cannot_be_guessed() {
    let masked = |from: &str| format!("[record]\nmask = [\"user_id\"]\nmask_key = \"{from}\"\n");
    let long = "0123456789abcdef";
    let place = Place::with_file(&masked("env:MASK")).var("MASK", long);
    assert_eq!(place.config().record.mask_key().unwrap().unwrap().expose(), long);
    let none = Place::with_file("[record]\nmask = [\"user_id\"]\n").config().record.mask_key().unwrap_err();
    assert!(none.to_string().contains("line 2: record.mask: a mask needs a key"), "{none}");
    let unset = Place::with_file(&masked("env:MASK")).config().record.mask_key().unwrap_err();
    assert!(unset.to_string().contains("MASK is not set"), "{unset}");
    let short = Place::with_file(&masked("env:MASK")).var("MASK", "s3cret").config().record.mask_key().unwrap_err();
    assert!(!short.chain().contains("s3cret"), "{short}");
    let place = Place::with_file(&masked("file:mask.key")).file("mask.key", &format!("{long}\n"));
    let private = |mode| {
        std::fs::set_permissions(place.path("mask.key"), std::fs::Permissions::from_mode(mode)).unwrap();
        place.config().record.mask_key()
    };
    assert!(private(0o644).unwrap_err().to_string().contains("can be read by others"));
    assert_eq!(private(0o600).unwrap().unwrap().expose(), long);
}
