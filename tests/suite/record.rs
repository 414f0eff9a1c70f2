//! What a record is, by configuration: other sources' logs end to end, each once, in the right hour, and back as they came.

use std::fs;

use serde_json::{Value, json};

use crate::support::cli::{Place, gunzip};

/// `[record]` and `[compact]` of a source whose logs are nested, with an epoch time.
const NESTED: &str = "[record]\ntime = \"/meta/at\"\ntime_format = \"epoch-ms\"\nid = \"/meta/seq\"\n\
                      [compact]\ntrace = \"hex\"\nkind = { click = 1, view = 2 }\n";

/// A log of 2023-03-10T02, or of the hours after it.
fn nested(n: u64) -> String {
    let at = 1_678_413_600_000 + n * 1_000;
    format!(
        "{{'meta': {{'at': {at}, 'seq': {n}}}, 'trace': '{:032x}', 'kind': '{}', 'inDate': 'no time', 'kind_raw': None}}",
        n * 7_919,
        ["click", "view", "other"][n as usize % 3]
    )
}

fn place(record: &str) -> Place {
    let place = Place::new("");
    configure(&place, record);
    place
}

fn configure(place: &Place, record: &str) {
    place.configure(&format!("[source]\nurl = \"file:pages/*\"\n[load]\nto = \"file:lake\"\n{record}"));
}

/// The originals of a lake, in order.
#[track_caller]
fn restored(place: &Place) -> Vec<Value> {
    let ran = place.etl(&["restore"]).exits(0);
    ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What `[record]` makes of one page of logs.
#[track_caller]
fn made_of(record: &str, logs: &[String]) -> Vec<Value> {
    let place = place(record);
    place.page("pages/1", logs);
    place.etl(&["run"]).exits(0);
    restored(&place)
}

#[test]
fn nested_logs_with_an_epoch_time_come_back_as_they_were() {
    let place = place(NESTED);
    place.page("pages/1", &(1..=5).map(nested).collect::<Vec<_>>());
    place.page("pages/2", &(4..=9).chain(12..=13).map(nested).collect::<Vec<_>>());
    place.etl(&["run"]).exits(0);
    let logs = restored(&place);
    let ids: Vec<u64> = logs.iter().map(|log| log["meta"]["seq"].as_u64().unwrap()).collect();
    assert_eq!(ids, (1..=9).chain(12..=13).collect::<Vec<_>>());
    assert_eq!([&logs[0]["kind"], &logs[1]["kind"], &logs[2]["kind"]], ["view", "other", "click"]);
    assert!(logs.iter().all(|log| log["inDate"] == "no time" && log["kind_raw"].is_null()));
    assert_eq!(place.status()["gaps"], json!([{"from": 10, "to": 11}]));
    let hour = fs::read(place.path("lake/data/2023_y/03_m/10_d/02_h/part-00000.ndjson.gz")).unwrap();
    let first: Value = serde_json::from_str(&gunzip(&hour)[0]).unwrap();
    assert_eq!((&first["kind"], first["trace"].as_str().unwrap().len()), (&json!(2), 22));
    place.etl(&["verify", "--deep"]).exits(0);
    // All of it is read back from the store, and the same logs are known again.
    fs::remove_dir_all(place.path("etl-state")).unwrap();
    place.etl(&["replay", "--from-s3"]).exits(0);
    place.page("pages/3", &[nested(3), nested(10), nested(11)]);
    assert_eq!(place.etl(&["run", "--json"]).exits(0).json()["new"], 2);
    assert_eq!(restored(&place).len(), logs.len() + 2);
}

#[test]
fn part_is_read_with_its_own_codecs_whatever_is_configured() {
    let place = place(NESTED);
    place.page("pages/1", &(1..=5).map(nested).collect::<Vec<_>>());
    place.etl(&["run"]).exits(0);
    let logs = restored(&place);
    // A folder keeps no metadata: the codecs are those of its one object. Only how records are dated must be said.
    let time = "[record]\ntime = \"/meta/at\"\ntime_format = \"epoch-ms\"\n";
    for compact in ["", "[compact]\ntrace = \"uuid-pair\"\nat = \"digits\"\n"] {
        configure(&place, &format!("{time}{compact}"));
        let ran = place.etl(&["restore", "--state-dir", "nowhere"]).exits(0);
        assert_eq!(ran.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>(), logs);
    }
    let objects: Vec<_> = fs::read_dir(place.path("lake/dict")).unwrap().collect();
    assert_eq!(objects.len(), 1);
    let object = fs::read_to_string(objects[0].as_ref().unwrap().path()).unwrap();
    assert_eq!(object, "{\"codecs\":{\"kind\":{\"click\":1,\"view\":2},\"trace\":\"hex\"}}\n");
}

#[test]
fn setting_that_moves_records_is_refused_over_a_state_and_over_a_prefix() {
    let place = place(NESTED);
    place.page("pages/1", &[nested(1)]);
    place.etl(&["run"]).exits(0);
    let more = NESTED.replace("view = 2", "view = 2, other = 3");
    let settings = fs::read_to_string(place.path("lake/settings.json")).unwrap();
    assert!(settings.contains(r#""record":{"time":"/meta/at","time_format":"epoch-ms"}"#), "{settings}");
    for (n, (changed, name)) in [
        (NESTED.replace("/meta/at", "/at"), "record.time"),
        (NESTED.replace("epoch-ms", "epoch-us"), "record.time_format"),
        (NESTED.replace("[compact]", "drop = [\"kind_raw\"]\n[compact]"), "record.drop"),
        (NESTED.replace("[compact]", "mask = [\"kind_raw\"]\nmask_key = \"env:MASK\"\n[compact]"), "record.mask"),
        (NESTED.replace("\"hex\"", "\"none\""), "compact.trace"),
        (NESTED.replace("view = 2", "view = 3"), "compact.kind"),
        (format!("{NESTED}user = \"hex\"\n"), "compact.user"),
        (String::new(), "record.time"),
    ]
    .into_iter()
    .enumerate()
    {
        configure(&place, &changed);
        let mut place_with_key = place.command(&["run"]);
        let refused: crate::support::cli::Ran = place_with_key.env("MASK", "0123456789abcdef").output().unwrap().into();
        let refused = refused.exits(78);
        assert!(
            refused.err.contains(&format!("{name} has changed")) && refused.err.contains("\"hint\":"),
            "{refused:?}"
        );
        // Another state meets the prefix.
        if name != "compact.kind" {
            let mut elsewhere = place.command(&["run", "--state-dir", &format!("other-{n}")]);
            let refused: crate::support::cli::Ran = elsewhere.env("MASK", "0123456789abcdef").output().unwrap().into();
            assert!(refused.code == 78 || refused.code == 65, "{name}: {refused:?}");
            assert!(refused.code == 65 || refused.err.contains(&format!("{name} is ")), "{name}: {refused:?}");
        }
    }
    configure(&place, &more);
    place.page("pages/2", &[nested(2)]);
    place.etl(&["run"]).exits(0);
    assert_eq!(restored(&place).len(), 2, "dictionaries gain entries");
}

#[test]
fn dropped_and_masked_values_never_reach_the_lake_and_are_no_identity() {
    let record = "[record]\ndrop = [\"/detail/seen\", \"password\"]\nmask = [\"user_id\"]\nmask_key = \"env:MASK\"\n\
                  [archive]\ndir = \"archive\"\n";
    let mut place = place(record);
    place.set("MASK", "0123456789abcdef");
    let log = |id: u64, seen: u64, user: &str| {
        format!(
            "{{'record_id': {id}, 'user_id': '{user}', 'password': 'pw{seen}', 'inDate': '2023-03-10T01:00:0{id}Z', 'detail': \
             {{'seen': {seen}, 'x': 1}}}}"
        )
    };
    place.page("pages/1", &[log(1, 1, "ann"), log(1, 2, "ann"), log(2, 1, "ann"), log(3, 1, "bob")]);
    let ran = place.etl(&["run", "--json"]).exits(0).json();
    assert_eq!((&ran["new"], &ran["duplicates"]), (&json!(3), &json!(1)), "dropped values make no difference");
    let logs = restored(&place);
    let users: Vec<&str> = logs.iter().map(|log| log["user_id"].as_str().unwrap()).collect();
    assert!(users[0] == users[1] && users[0] != users[2] && users[0].len() == 64, "{users:?}");
    assert_eq!(logs[0]["detail"], json!({"x": 1}));
    for text in [serde_json::to_string(&logs).unwrap(), place.etl(&["verify", "--archive"]).exits(0).out] {
        assert!(!text.contains("ann") && !text.contains("pw"), "{text}");
    }
    // A mask has the form that the origin's codec makes short.
    let hour = fs::read(place.path("lake/data/2023_y/03_m/10_d/01_h/part-00000.ndjson.gz")).unwrap();
    let first: Value = serde_json::from_str(&gunzip(&hour)[0]).unwrap();
    assert_eq!(first["user_id"].as_str().unwrap().len(), 44);
    // Another key would give every record another identity.
    place.set("MASK", "fedcba9876543210");
    let refused = place.etl(&["run"]).exits(78);
    assert!(refused.err.contains("record.mask_key has changed") && !refused.err.contains("fedcba"), "{refused:?}");
    place.set("MASK", "");
    let refused = place.etl(&["run"]).exits(78);
    assert!(refused.err.contains("MASK is not set"), "{refused:?}");
}

#[test]
fn odd_values_are_kept_as_text_where_that_is_asked_for() {
    let odd =
        |id: u64, value: &str| format!("{{'record_id': {id}, 'inDate': '2023-03-10T01:00:0{id}Z', 'x': {value}}}");
    let logs = [odd(1, "nan"), odd(2, "datetime.datetime(2023, 3, 10)"), odd(3, "[1, -inf]"), odd(4, "'nan'")];
    let kept = made_of("[record]\nodd = \"text\"\n", &logs);
    let values: Vec<&Value> = kept.iter().map(|log| &log["x"]).collect();
    assert_eq!(values, [&json!("nan"), &json!("datetime.datetime(2023, 3, 10)"), &json!([1, "-inf"]), &json!("nan")]);
    let place = place("");
    place.page("pages/1", &logs);
    assert_eq!(place.etl(&["run", "--json"]).exits(65).json()["quarantined"], 3);
    configure(&place, "[record]\nodd = \"text\"\n");
    place.etl(&["replay", "--quarantine"]).exits(0);
    let back = restored(&place);
    assert!(back.len() == 4 && kept.iter().all(|log| back.contains(log)), "what was quarantined comes back: {back:?}");
}

#[test]
fn wrong_time_names_pointer_and_members_and_a_mended_one_takes_all_back() {
    let place = place("[record]\ntime = \"/meta/when\"\n");
    place.page("pages/1", &(1..=3).map(nested).collect::<Vec<_>>());
    place.etl(&["run"]).exits(65);
    let listed = place.etl(&["quarantine", "list"]).exits(0).out;
    assert!(listed.contains("no-time"), "{listed}");
    let tokens = place.etl(&["quarantine", "export", "--out", "-"]).exits(0).out;
    let what = r#"\"/meta/when\" leads nowhere: what is at \"/meta\" is a dict with \"at\", \"seq\""#;
    assert!(tokens.contains(what) && !tokens.contains("1678413601000"), "{tokens}");
    let other = self::place("[record]\ntime = \"/meta/at\"\ntime_format = \"%Y-%m-%d\"\n");
    other.page("pages/1", &[nested(1)]);
    other.etl(&["run"]).exits(65);
    let tokens = other.etl(&["quarantine", "export", "--out", "-"]).exits(0).out;
    let what = r#"at \"/meta/at\" is a whole number, and record.time_format is \"%Y-%m-%d\""#;
    assert!(tokens.contains("bad-time") && tokens.contains(what), "{tokens}");
    configure(&place, "[record]\ntime = \"/meta/at\"\n");
    place.etl(&["replay", "--quarantine"]).exits(0);
    assert_eq!(restored(&place).len(), 3);
}

#[test]
fn simulator_plays_other_schemas() {
    for (schema, record) in [
        ("flat", "[record]\ntime = \"ts\"\nid = \"id\"\n[compact]\nuser = \"uuid-pair\"\n"),
        ("nested", "[record]\ntime = \"/meta/at\"\nid = \"/meta/seq\"\n"),
    ] {
        let mut place = place(record);
        let more =
            ["--schema", schema, "--pages", "3", "--late", "5", "--odd", "10", "--holes", "5", "--json-plain", "20"];
        let args = [&["simulate", "--out", "pages", "--truth", "truth"][..], &more].concat();
        let shown = place.command(&args).env_remove("FERNET_KEY").output().unwrap();
        let shown = String::from_utf8(shown.stdout).unwrap();
        place.set("FERNET_KEY", shown.lines().next().unwrap().strip_prefix("export FERNET_KEY=").unwrap());
        place.etl(&["run"]).exits(0);
        let sorted = |mut logs: Vec<Value>| {
            logs.sort_by_key(Value::to_string);
            logs
        };
        let truth = fs::read_to_string(place.path("truth")).unwrap();
        let truth: Vec<Value> = truth.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(sorted(restored(&place)), sorted(truth), "{schema}");
    }
}
