//! What is spelled oddly and means one thing alone is taken; what is not is quarantined with the word that it failed at.
//!
//! Planted bugs that turn one red each: only the usual spelling opened, `+0900` refused, a reason with an offset alone, quotes kept.

use std::os::unix::fs::PermissionsExt;

use fernet::Fernet;
use serde_json::{Value, json};

use crate::support::cli::{Place, record};

const CONFIG: &str = "[source]\nurl = \"file:page.json\"\n[hours]\nlate_hold = \"0s\"\n[load]\nto = \"file:lake\"\n";
const AT: &str = "2023-03-10T01:48:11.818Z";

fn token(place: &Place, plaintext: &str) -> String {
    Fernet::new(&place.key).unwrap().encrypt(plaintext.as_bytes())
}

/// Runs over one page of these tokens.
fn run(place: &Place, tokens: &[String], code: i32) -> Value {
    let elements: Vec<Value> = tokens.iter().map(|token| json!({ "data": token })).collect();
    std::fs::write(place.path("page.json"), serde_json::to_vec(&elements).unwrap()).unwrap();
    place.etl(&["run", "--drain", "--json"]).exits(code).json()
}

fn restored(place: &Place) -> Vec<Value> {
    let out = place.etl(&["restore"]).exits(0).out;
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn wrapped(token: &str, width: usize, end: &str) -> String {
    let lines: Vec<_> = token.as_bytes().chunks(width).map(|line| std::str::from_utf8(line).unwrap()).collect();
    lines.join(end)
}

#[test]
fn record_is_kept_once_however_its_tokens_are_spelled() {
    let place = Place::new(CONFIG);
    let one = || token(&place, &record(1, AT));
    let standard = |token: String| token.replace('-', "+").replace('_', "/");
    let tokens = [
        wrapped(&one(), 76, "\n"),
        wrapped(&one(), 64, "\r\n") + "\r\n",
        standard(one()),
        wrapped(&standard(one()), 76, "\n"),
        format!("b'{}'", one()),
        format!("b\"{}\"", standard(one())),
        format!("\"{}\"", one()),
        one().trim_end_matches('=').to_owned(),
        one(),
    ];
    let summary = run(&place, &tokens, 0);
    assert_eq!((&summary["new"], &summary["duplicates"]), (&1.into(), &(tokens.len() - 1).into()));
    assert_eq!(restored(&place).len(), 1);
}

#[test]
fn times_of_python_are_read_and_given_back_as_they_were() {
    let place = Place::new(CONFIG);
    let times = [
        ("2023-03-10T10:48:11+0900", "01"),
        ("2023-03-10T10:48:11.818+09", "01"),
        ("2023-03-10 02:48:11,818", "02"),
        ("2023-03-10T03:48:11,818Z", "03"),
        ("2023-03-10t04:48:11.818z", "04"),
        ("2023-03-10T00:18:11-0530", "05"),
        (AT, "01"),
    ];
    let tokens: Vec<_> = (1..).zip(&times).map(|(n, (at, _))| token(&place, &record(n, at))).collect();
    assert_eq!(run(&place, &tokens, 0)["new"], times.len());
    let mut found = restored(&place);
    found.sort_by_key(|record| record["record_id"].as_u64());
    for ((at, hour), record) in times.iter().zip(&found) {
        assert_eq!(record["inDate"], *at);
        let folder = format!("data/2023_y/03_m/10_d/{hour}_h/");
        let id = format!("\"record_id\":{},", record["record_id"]);
        let holds =
            |(key, lines): &(String, Vec<String>)| key.starts_with(&folder) && lines.iter().any(|l| l.contains(&id));
        assert!(place.lake("lake").iter().any(holds), "{at} is not in {folder}");
    }
}

#[test]
fn quarantined_record_has_its_reason_with_the_word_and_the_field() {
    let place = Place::new(CONFIG);
    let odd = |value: &str| record(1, AT).replace("'activity'", &format!("'x': {value}, 'activity'"));
    let cases = [
        (odd("nan"), "\"nan\" in the field x"),
        (odd("datetime.datetime(2023, 3, 10)"), "\"datetime.datetime\" in the field x"),
        (odd("{'y': [1, Decimal('1')]}"), "\"Decimal\" in the field x.y[1]"),
        (odd("{1: 2}"), "\"1\" in the field x"),
        (record(1, "10.03.2023 01:48"), "inDate is not a time: \"10.03.2023 01:48\""),
        (record(1, "\u{1b}[2J"), "inDate is not a time: \"[2J\""),
    ];
    let tokens: Vec<_> = cases.iter().map(|(plaintext, _)| token(&place, plaintext)).collect();
    assert_eq!(run(&place, &tokens, 65)["quarantined"], cases.len());
    let out = place.etl(&["quarantine", "export"]).exits(0).out;
    let details: Vec<String> =
        out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["detail"].to_string()).collect();
    for (_, says) in cases {
        let says = says.replace('"', "\\\"");
        assert!(details.iter().any(|detail| detail.contains(&says)), "{says} in {details:#?}");
    }
    let listed = place.etl(&["quarantine", "list"]).exits(0).out;
    assert!(listed.contains("in the field x") && !listed.contains('\u{1b}'), "{listed:?}");
}

#[test]
fn keys_and_settings_are_read_from_files_of_other_systems() {
    let mut place = Place::new("");
    let key = place.key.clone();
    std::fs::write(place.path("page.json"), format!("[{}]", json!({ "data": token(&place, &record(1, AT)) }))).unwrap();
    place.env.clear();
    let marked = |text: &str| format!("\u{feff}{}", text.replace('\n', "\r\n"));
    let with_file = CONFIG.replace("[hours]", "keys_file = \"keys\"\n[hours]");
    for (what, name, text, config) in [
        (".env", ".env", marked(&format!("FERNET_KEY=\"{key}\"\n")), marked(CONFIG)),
        (".env of bytes", ".env", format!("FERNET_KEY=\"b'{key}'\"\n"), CONFIG.to_owned()),
        ("a key file", "keys", marked(&format!("{key}\n")), marked(&with_file)),
        ("a key file with quotes", "keys", format!("\"{key}\"\r\n"), with_file.clone()),
        ("a key file of bytes", "keys", format!("b'{key}'"), with_file.clone()),
    ] {
        place.configure(&config);
        let path = place.path(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let ran = place.etl(&["run", "--drain"]);
        assert_eq!(ran.code, 0, "{what}: {ran:#?}");
        std::fs::remove_file(path).unwrap();
    }
    place.configure(CONFIG);
    place.set("FERNET_KEY", &format!("\"{key}\"\r"));
    place.etl(&["run"]).exits(0);
    assert_eq!(place.status()["totals"]["uploaded"], 1);
}
