//! Keys and their inverses.

use proptest::prelude::*;

use super::*;

fn default_layout() -> Layout {
    Layout::parse(DEFAULT_LAYOUT).unwrap()
}

fn hour(text: &str) -> Hour {
    text.parse().unwrap()
}

#[test]
fn keys_are_spelled_as_the_design_says() {
    let at = hour("2023-03-01T09");
    let hive = Layout::parse("hive").unwrap();
    assert_eq!(default_layout().key("", at, 0), "data/2023_y/03_m/01_d/09_h/part-00000.ndjson.gz");
    assert_eq!(hive.key("a/b/", at, 12), "a/b/data/year=2023/month=03/day=01/hour=09/part-00012.ndjson.gz");
    assert_eq!(hive.hour_prefix("", hour("0007-12-31T23")), "data/year=0007/month=12/day=31/hour=23/");
}

#[test]
fn keys_of_an_hour_sort_as_their_numbers_do() {
    let numbers = [0, 1, 9, 10, 99_999, 100_000, 999_999, 1_000_000, 99_999_999, 100_000_000, u32::MAX];
    let keys: Vec<_> = numbers.iter().map(|n| default_layout().key("p/", hour("2023-03-10T01"), *n)).collect();
    assert!(keys.is_sorted(), "{keys:?}");
}

#[test]
fn strangers_are_no_parts() {
    let layout = default_layout();
    for stranger in [
        "",
        "p/data/",
        "data/2023_y/03_m/01_d/09_h/part-00000.ndjson.gz",
        "p/data/2023_y/03_m/01_d/09_h/part-0000.ndjson.gz",
        "p/data/2023_y/03_m/01_d/09_h/part-000000.ndjson.gz",
        "p/data/2023_y/03_m/01_d/09_h/part-100000.ndjson.gz",
        "p/data/2023_y/03_m/01_d/09_h/part-b100000.ndjson.gz",
        "p/data/2023_y/03_m/01_d/09_h/part-a00001.ndjson.gz",
        "p/data/2023_y/03_m/01_d/09_h/part-+0001.ndjson.gz",
        "p/data/2023_y/03_m/01_d/09_h/part-99999999999.ndjson.gz",
        "p/data/2023_y/3_m/01_d/09_h/part-00000.ndjson.gz",
        "p/data/+023_y/03_m/01_d/09_h/part-00000.ndjson.gz",
        "p/data/2023_y/02_m/30_d/09_h/part-00000.ndjson.gz",
        "p/data/2023_y/03_m/01_d/24_h/part-00000.ndjson.gz",
        "p/data/2023_y/03_m/01_d/09_h/part-00000.ndjson.gz ",
        "p/data/2023_y/03_m/01_d/09_h/x/part-00000.ndjson.gz",
        "p/data/202é_y/03_m/01_d/09_h/part-00000.ndjson.gz",
    ] {
        assert_eq!(layout.parse_key("p/", stranger), None, "{stranger}");
    }
}

#[test]
fn templates_that_name_no_hour_are_refused() {
    for template in [
        "",
        "{year}/{month}/{day}",
        "{year}/{month}/{day}/{hour}/{hour}",
        "{year}/{month}/{day}/{minute}",
        "{year}/{month}/{day}/{hour",
        "{year}/{month}/{day}/hour}{hour}",
        "/{year}/{month}/{day}/{hour}",
        "{year}/{month}/{day}/{hour}/",
        "{year}//{month}/{day}/{hour}",
        "../{year}/{month}/{day}/{hour}",
        "{year} {month} {day} {hour}",
    ] {
        let error = Layout::parse(template).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{template}");
    }
}

#[test]
fn key_of_dictionaries_has_an_inverse_and_nothing_else_passes_for_one() {
    let key = dictionaries_key("p/", "6e548bf8a74a589c");
    assert_eq!(key, "p/dict/6e548bf8a74a589c.json");
    assert_eq!(parse_dictionaries_key("p/", &key), Some("6e548bf8a74a589c"));
    for stranger in [
        "dict/6e548bf8a74a589c.json",
        "p/dict/6E548BF8A74A589C.json",
        "p/dict/6e548bf8a74a589.json",
        "p/dict/6e548bf8a74a589c.json.tmp",
        "p/dict/../data/6e548bf8a74.json",
        "p/data/6e548bf8a74a589c.json",
    ] {
        assert_eq!(parse_dictionaries_key("p/", stranger), None, "{stranger}");
    }
}

fn any_hour() -> impl Strategy<Value = Hour> {
    (0_i16..=9999, 1_i8..=12, 1_i8..=28, 0_i8..24)
        .prop_map(|(y, m, d, h)| Hour::new(Date::new(y, m, d).unwrap(), h).unwrap())
}

proptest! {
    #[test]
    fn inverse_of_a_key_is_what_it_was_made_of(
        at in any_hour(),
        part in prop_oneof![0_u32..200_000, any::<u32>()],
        prefix in prop_oneof![Just(""), Just("p/"), Just("a/data/")],
        template in prop_oneof![Just(DEFAULT_LAYOUT), Just("hive"), Just("{hour}{day}-x{month}/{year}")],
    ) {
        let layout = Layout::parse(template).unwrap();
        prop_assert_eq!(layout.parse_key(prefix, &layout.key(prefix, at, part)), Some((at, part)));
        prop_assert_eq!(layout.parse_expired_key(prefix, &layout.expired_key(prefix, at, part)), Some((at, part)));
    }

    #[test]
    fn what_parses_is_spelled_the_same_again(key in "p/data/20[0-9]{2}_y/[0-9]{1,2}_m/[0-9]{2}_d/[0-9]{2}_h/part-[a-f]?[0-9]{4,7}\\.ndjson\\.gz") {
        let layout = default_layout();
        if let Some((at, part)) = layout.parse_key("p/", &key) {
            prop_assert_eq!(layout.key("p/", at, part), key);
        }
    }
}
