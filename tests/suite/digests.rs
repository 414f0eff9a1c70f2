//! Digests: what is published of each day, how it is chained and signed, and that nothing can be changed or removed unseen.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use etl::store::ObjectStore;
use serde_json::{Value, json};

use crate::support::cli::{Place, Ran, record};
use crate::support::desk::Desk;
use crate::support::documents::{blocks, page};
use crate::support::form::{ZSTD, in_form};
use crate::support::minisign::minisign_tool;
use crate::support::proxy::{Fault, Proxy};
use crate::support::{python, s3, unique_prefix};

const LAKE: &str = "to = \"file:lake\"\n";

/// A place whose runs take `pages/*.json`.
fn place(load: &str) -> Place {
    Place::new(&config(load))
}

fn config(load: &str) -> String {
    format!("[source]\nurl = \"file:pages/*.json\"\n[load]\nmanifest = true\n{load}")
}

/// A run that brings a record of each of these hours of March.
fn run(place: &Place, name: u64, hours: &[&str]) -> Ran {
    let _ = fs::remove_dir_all(place.path("pages"));
    let records: Vec<String> =
        (0..).zip(hours).map(|(n, hour)| record(name * 100 + n, &format!("2023-03-{hour}:30:00Z"))).collect();
    place.page("pages/1.json", &records);
    place.etl(&["run"])
}

/// The names below `lake/digest`.
fn names(place: &Place) -> Vec<String> {
    let entries = fs::read_dir(place.path("lake/digest")).into_iter().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

fn digest(place: &Place, name: &str) -> Value {
    serde_json::from_slice(&fs::read(place.path("lake/digest").join(name)).unwrap()).unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    <sha2::Sha256 as sha2::Digest>::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// Checks that `link` names the file that is there.
fn names_what_is_there(place: &Place, link: &Value) {
    let bytes = fs::read(place.path("lake").join(link["key"].as_str().unwrap())).unwrap();
    assert_eq!(link["sha256"], json!(sha256(&bytes)), "{link}");
}

fn manifests(digest: &Value) -> Vec<String> {
    let keys = digest["manifests"].as_array().unwrap().iter().map(|link| link["key"].as_str().unwrap().to_owned());
    keys.map(|key| key.replace("manifest/2023_y/03_m/", "").replace(".json", "")).collect()
}

/// What `verify --digests` finds: the faults with their keys.
fn walked(place: &Place, more: &[&str]) -> (i32, Vec<(String, String)>) {
    let ran = place.etl(&[&["verify", "--digests", "--json"], more].concat());
    let found = ran.json()["digests"]["findings"].clone();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (ran.code, found.as_array().unwrap().iter().map(|one| (text(&one["fault"]), text(&one["key"]))).collect())
}

/// Three days, each with a digest, and a backfill.
fn three_days(load: &str) -> Place {
    let place = place(load);
    run(&place, 1, &["10T01", "10T02", "11T05"]).exits(0);
    run(&place, 2, &["12T00", "10T03", "10T01"]).exits(0);
    place
}

#[test]
fn digest_names_each_manifest_of_its_day_and_the_digest_before() {
    let place = three_days(LAKE);
    assert_eq!(names(&place), ["2023-03-10.json", "2023-03-11.1.json", "2023-03-11.json", "2023-03-12.json"]);
    let [first, second, late, last] =
        ["2023-03-10.json", "2023-03-11.json", "2023-03-11.1.json", "2023-03-12.json"].map(|name| digest(&place, name));
    assert_eq!(manifests(&first), ["10_d/01_h/part-00000", "10_d/02_h/part-00000"]);
    assert_eq!(manifests(&second), ["11_d/05_h/part-00000"]);
    assert_eq!(manifests(&late), ["10_d/01_h/part-00001", "10_d/03_h/part-00000"], "late for days that had theirs");
    assert_eq!(manifests(&last), ["12_d/00_h/part-00000"]);
    for (serial, digest) in [&first, &second, &late, &last].into_iter().enumerate() {
        assert_eq!(
            (&digest["serial"], &digest["timezone"], &digest["signed"]),
            (&json!(serial), &json!("UTC"), &json!(false))
        );
        digest["manifests"].as_array().unwrap().iter().for_each(|link| names_what_is_there(&place, link));
    }
    assert_eq!(first["previous"], Value::Null);
    for (digest, before) in [(&second, "2023-03-10.json"), (&late, "2023-03-11.json"), (&last, "2023-03-11.1.json")] {
        assert_eq!(digest["previous"]["key"], json!(format!("digest/{before}")));
        names_what_is_there(&place, &digest["previous"]);
    }
    let told = place.etl(&["verify", "--digests"]).exits(0).out;
    let expected = "4 digests from 2023-03-10 to 2023-03-12 with 6 manifests walked, signatures not checked: no public key: all as they were made\n";
    assert!(told.ends_with(expected), "{told}");
    let before = names(&place);
    place.etl(&["run"]).exits(0);
    place.etl(&["replay"]).exits(0);
    assert_eq!(names(&place), before, "nothing new, no digest");
    assert!(names(&place).iter().all(|name| !name.contains("minisig")));
}

#[test]
fn digests_of_parts_in_zstd_are_walked_alike() {
    in_form(ZSTD, || {
        let place = three_days(LAKE);
        place.etl(&["verify", "--digests", "--deep"]).exits(0);
        place.etl(&["verify", "--digests", "--deep", "--state-dir", "nowhere"]).exits(0);
        let part = ZSTD.key(PART);
        flip(place.path("lake").join(&part));
        let (_, found) = walked(&place, &["--deep", "--state-dir", "nowhere"]);
        assert_eq!(found, [("changed".to_owned(), part)]);
    });
}

#[test]
fn without_manifests_there_are_no_digests() {
    let place = Place::new(&config(LAKE).replace("manifest = true", ""));
    run(&place, 1, &["10T01"]).exits(0);
    assert!(!place.path("lake/digest").exists() && !place.path("etl-state/digests").exists());
    let (code, found) = walked(&place, &[]);
    assert_eq!((code, found), (76, vec![("missing".into(), "digest/".into())]));
}

/// A change to the lake, and what a walk must find of it, with the state at hand and without.
type Tamper =
    (&'static str, fn(&Path), &'static [(&'static str, &'static str)], &'static [(&'static str, &'static str)]);

fn flip(path: PathBuf) {
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

const MANIFEST: &str = "manifest/2023_y/03_m/10_d/02_h/part-00000.json";
const PART: &str = "data/2023_y/03_m/10_d/02_h/part-00000.ndjson.gz";

#[test]
fn whatever_is_changed_or_removed_is_named() {
    let tampers: [Tamper; 10] = [
        ("a manifest is changed", |lake| flip(lake.join(MANIFEST)), &[("changed", MANIFEST)], &[("changed", MANIFEST)]),
        (
            "a manifest is removed",
            |lake| fs::remove_file(lake.join(MANIFEST)).unwrap(),
            &[("missing", MANIFEST)],
            &[("missing", MANIFEST)],
        ),
        (
            "a part is removed",
            |lake| fs::remove_file(lake.join(PART)).unwrap(),
            &[("missing", PART)],
            &[("missing", PART)],
        ),
        (
            "a part is replaced by another",
            |lake| fs::copy(lake.join(PART.replace("02_h", "01_h")), lake.join(PART)).map(drop).unwrap(),
            &[("changed", PART)],
            &[("changed", PART)],
        ),
        (
            "a digest is removed",
            |lake| fs::remove_file(lake.join("digest/2023-03-11.json")).unwrap(),
            &[("missing", "digest/2023-03-11.json")],
            &[("missing", "digest/2023-03-11.json")],
        ),
        (
            "the first digest is removed",
            |lake| fs::remove_file(lake.join("digest/2023-03-10.json")).unwrap(),
            &[("missing", "digest/2023-03-10.json")],
            &[("missing", "digest/2023-03-10.json")],
        ),
        (
            "the newest digest is removed",
            |lake| fs::remove_file(lake.join("digest/2023-03-12.json")).unwrap(),
            &[("missing", "digest/2023-03-12.json")],
            &[],
        ),
        (
            "a digest is another",
            |lake| {
                let path = lake.join("digest/2023-03-11.json");
                let text = fs::read_to_string(&path).unwrap().replace("UTC", "Asia/Seoul");
                fs::write(path, text).unwrap();
            },
            &[("changed", "digest/2023-03-11.json")],
            &[("changed", "digest/2023-03-11.json")],
        ),
        (
            "a digest is put in between",
            |lake| {
                let text = fs::read_to_string(lake.join("digest/2023-03-11.1.json")).unwrap();
                let text = text.replace("\"number\":1", "\"number\":2");
                fs::write(lake.join("digest/2023-03-11.2.json"), text).unwrap();
            },
            &[("forked", "digest/2023-03-11.2.json")],
            &[("forked", "digest/2023-03-11.2.json")],
        ),
        (
            "something else lies there",
            |lake| fs::write(lake.join("digest/notes.txt"), "x").unwrap(),
            &[("foreign", "digest/notes.txt")],
            &[("foreign", "digest/notes.txt")],
        ),
    ];
    let place = three_days(LAKE);
    let kept = tempfile::tempdir().unwrap();
    copy(&place.path("lake"), kept.path());
    for (what, tamper, with_state, without) in tampers {
        fs::remove_dir_all(place.path("lake")).unwrap();
        copy(kept.path(), &place.path("lake"));
        tamper(&place.path("lake"));
        for (expected, more) in [(with_state, &[][..]), (with_state, &["--deep"]), (without, &["--state-dir", "none"])]
        {
            let (code, found) = walked(&place, more);
            let found: Vec<_> = found.iter().map(|(fault, key)| (fault.as_str(), key.as_str())).collect();
            assert_eq!(
                (code, found.as_slice()),
                (if expected.is_empty() { 0 } else { 76 }, expected),
                "{what} {more:?}"
            );
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (entry, target) = (entry.as_ref().unwrap().path(), to.join(entry.as_ref().unwrap().file_name()));
        if entry.is_dir() { copy(&entry, &target) } else { fs::copy(&entry, &target).map(drop).unwrap() }
    }
}

#[test]
fn walk_goes_no_further_back_than_it_is_asked_to() {
    let place = three_days(LAKE);
    fs::remove_file(place.path("lake").join(MANIFEST)).unwrap();
    assert_eq!(walked(&place, &["--since", "2023-03-11"]).1, []);
    assert_eq!(walked(&place, &["--since", "2023-03-10"]).1.len(), 1);
    assert_eq!(walked(&place, &["--since", "2023-04-01"]).1, [("missing".to_owned(), "digest/".to_owned())]);
    place.etl(&["verify", "--since", "2023-03-10"]).exits(2);
}

/// Makes a pair of keys; the secret one is `name` in the place. Returns the public one.
fn key(place: &Place, name: &str) -> String {
    let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
    fs::write(place.path(name), pair.sk.to_box(None).unwrap().to_string()).unwrap();
    fs::set_permissions(place.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    pair.pk.to_base64()
}

#[test]
fn digests_are_signed_and_a_signature_that_is_missing_or_wrong_is_named() {
    let place = place(LAKE);
    run(&place, 1, &["09T01"]).exits(0);
    let signing = format!("{LAKE}sign_key = \"file:sign.key\"\n");
    place.configure(&config(&signing));
    let public = key(&place, "sign.key");
    run(&place, 2, &["10T01"]).exits(0);
    run(&place, 3, &["11T01"]).exits(0);
    let signed = ["2023-03-10.json", "2023-03-10.json.minisig", "2023-03-11.json", "2023-03-11.json.minisig"];
    assert_eq!(names(&place), [&["2023-03-09.json"][..], &signed].concat());
    let found = place.etl(&["verify", "--digests", "--json", "--public-key", &public]).exits(0).json();
    assert_eq!((&found["digests"]["digests"], &found["digests"]["signed"]), (&json!(3), &json!(2)));
    let stranger = key(&place, "other.key");
    let signature = |name: &str| ("unsigned".to_owned(), format!("digest/{name}.minisig"));
    let of = |key: &str| walked(&place, &["--public-key", key]).1;
    assert_eq!(of(&stranger)[..2], [signature("2023-03-11.json"), signature("2023-03-10.json")]);
    assert_eq!(walked(&place, &["--public-key", &stranger, "--public-key", &public]).1, []);
    assert_eq!(walked(&place, &[]).1, [], "the key that signs says which one checks");
    let file = |name: &str| place.path("lake/digest").join(name);
    fs::copy(file(signed[3]), file(signed[1])).unwrap();
    assert_eq!(of(&public), [signature("2023-03-10.json")]);
    fs::remove_file(file(signed[1])).unwrap();
    assert_eq!(of(&public), [signature("2023-03-10.json")]);
    place.etl(&["verify", "--digests", "--public-key", "nonsense"]).exits(2);
    place.etl(&["verify", "--digests", "--public-key", "sign.key"]).exits(2);
}

#[test]
fn digest_that_nothing_vouches_for_is_named_where_a_key_is_given() {
    let place = three_days(LAKE);
    let public = key(&place, "sign.key");
    let (code, found) = walked(&place, &["--public-key", &public]);
    assert_eq!((code, found.len()), (76, 4), "{found:?}");
}

#[test]
fn key_that_cannot_be_used_costs_the_digests_and_nothing_else() {
    let place = place(&format!("{LAKE}sign_key = \"file:sign.key\"\n"));
    let missing = run(&place, 1, &["10T01"]).exits(78);
    assert!(missing.err.contains("sign.key"), "{missing:?}");
    assert_eq!((place.lake("lake").len(), names(&place).len()), (1, 0), "the part is there");
    key(&place, "sign.key");
    let secret = fs::read_to_string(place.path("sign.key")).unwrap().lines().nth(1).unwrap().to_owned();
    fs::set_permissions(place.path("sign.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let loose = run(&place, 2, &["10T02"]).exits(78);
    assert!(loose.err.contains("can be read by others") && loose.err.contains("chmod 600"), "{loose:?}");
    fs::set_permissions(place.path("sign.key"), fs::Permissions::from_mode(0o600)).unwrap();
    place.configure(&config(&format!(
        "{LAKE}sign_key = \"file:sign.key\"\nsign_password = \"env:ETL_SIGN_PASSWORD\"\n"
    )));
    let wrong = run(&place, 3, &["10T03"]).exits(77);
    let check = place.etl(&["check"]);
    assert!(check.out.contains("signing") && check.code != 0, "{check:?}");
    place.configure(&config(&format!("{LAKE}sign_key = \"file:sign.key\"\n")));
    assert_eq!((place.lake("lake").len(), names(&place).len()), (3, 0));
    let check = place.etl(&["check"]);
    assert!(check.out.contains("digests are signed with the key"), "{check:?}");
    place.etl(&["replay"]).exits(0);
    assert_eq!(names(&place), ["2023-03-10.json", "2023-03-10.json.minisig"], "made by the first run that can");
    assert_eq!(manifests(&digest(&place, "2023-03-10.json")).len(), 3);
    for told in [missing, loose, wrong, check] {
        assert!(!told.err.contains(&secret) && !told.out.contains(&secret));
    }
    place.configure(&config(&format!("{LAKE}sign_key = \"sign.key\"\n")));
    assert!(place.etl(&["run"]).exits(78).err.contains("file:sign.key"));
    place.configure(&config(&format!("{LAKE}sign_key = \"file:sign.key\"\n")).replace("manifest = true", ""));
    assert!(place.etl(&["run"]).exits(78).err.contains("load.manifest"));
}

#[test]
fn store_that_takes_no_digest_costs_the_digest_and_the_next_run_makes_it() {
    let place = place(LAKE);
    fs::create_dir(place.path("lake")).unwrap();
    fs::write(place.path("lake/digest"), "in the way").unwrap();
    let refused = run(&place, 1, &["10T01"]);
    assert!(refused.code == 74 && place.lake("lake").len() == 1, "{refused:?}");
    fs::remove_file(place.path("lake/digest")).unwrap();
    place.etl(&["replay"]).exits(0);
    assert_eq!(names(&place), ["2023-03-10.json"]);
    assert_eq!(walked(&place, &[]), (0, vec![]));
}

#[test]
fn lost_state_goes_on_from_the_newest_digest_and_names_what_none_names() {
    let place = three_days(LAKE);
    // The lost state had a manifest that no digest names yet.
    let newest: Value = digest(&place, "2023-03-12.json");
    fs::remove_file(place.path("lake/digest/2023-03-12.json")).unwrap();
    for args in [&["run"][..], &["replay", "--from-s3"]] {
        let kept = tempfile::tempdir().unwrap();
        copy(&place.path("lake"), kept.path());
        fs::remove_dir_all(place.path("etl-state")).unwrap();
        let _ = fs::remove_dir_all(place.path("pages"));
        place.page("pages/1.json", &[record(900, "2023-03-13T01:00:00Z")]);
        place.etl(args).exits(0);
        assert_eq!(digest(&place, "2023-03-12.json")["manifests"], newest["manifests"], "{args:?}");
        assert_eq!(walked(&place, &[]).1, [], "{args:?}");
        assert_eq!(place.etl(&["verify", "--digests", "--json"]).json()["digests"]["undigested"], 0);
        fs::remove_dir_all(place.path("lake")).unwrap();
        copy(kept.path(), &place.path("lake"));
    }
}

#[test]
fn damaged_note_of_the_chain_is_read_back_from_the_store() {
    let place = three_days(LAKE);
    for name in ["chain", "next"] {
        fs::write(place.path("etl-state/digests").join(name), "garbage").unwrap();
    }
    run(&place, 3, &["13T01"]).exits(0);
    assert_eq!(names(&place).len(), 5);
    assert_eq!(walked(&place, &[]), (0, vec![]));
}

#[test]
fn digest_that_is_not_signed_by_the_key_is_not_taken_over() {
    let place = three_days(LAKE);
    key(&place, "sign.key");
    place.configure(&config(&format!("{LAKE}sign_key = \"file:sign.key\"\n")));
    run(&place, 3, &["13T01"]).exits(0);
    // Somebody who can write there puts one into the chain; it follows the newest.
    let newest = fs::read(place.path("lake/digest/2023-03-13.json")).unwrap();
    let forged = json!({
        "schema": 1, "day": "2023-03-14", "number": 0, "serial": 5, "timezone": "UTC", "signed": false,
        "previous": {"key": "digest/2023-03-13.json", "sha256": sha256(&newest)}, "manifests": [],
    });
    fs::write(place.path("lake/digest/2023-03-14.json"), forged.to_string()).unwrap();
    let ran = run(&place, 4, &["15T01"]).exits(76);
    assert!(ran.err.contains("2023-03-14.json") && !names(&place).contains(&"2023-03-15.json".to_owned()), "{ran:?}");
    let (_, found) = walked(&place, &[]);
    assert_eq!(found, [("unsigned".to_owned(), "digest/2023-03-14.json.minisig".to_owned())]);
    fs::remove_file(place.path("lake/digest/2023-03-14.json")).unwrap();
    place.etl(&["replay"]).exits(0);
    assert!(names(&place).contains(&"2023-03-15.json.minisig".to_owned()));
    // A lost state takes its own over, which are signed.
    fs::remove_dir_all(place.path("etl-state")).unwrap();
    run(&place, 5, &["16T01"]).exits(0);
    assert!(names(&place).contains(&"2023-03-16.json".to_owned()));
}

#[cfg(feature = "failpoints")]
#[test]
fn crash_between_a_digest_and_its_signature_is_finished_with_the_same_bytes() {
    let signing = format!("{LAKE}sign_key = \"file:sign.key\"\n");
    let (mut counted, mut crashed) = (place(&signing), place(&signing));
    let steps = counted.path("steps");
    counted.set("ETL_STEPS", steps.to_str().unwrap());
    [&counted, &crashed].into_iter().for_each(|place| drop(key(place, "sign.key")));
    run(&counted, 1, &["10T01"]).exits(0);
    let put = fs::read_to_string(steps).unwrap().lines().position(|line| line.ends_with("DigestPut")).unwrap() + 1;
    crashed.set("ETL_CRASH", &format!("after:{put}"));
    run(&crashed, 1, &["10T01"]).exits(-1);
    assert_eq!(names(&crashed), ["2023-03-10.json"]);
    let before = digest(&crashed, "2023-03-10.json");
    crashed.env.retain(|(name, _)| name != "ETL_CRASH");
    // What came meanwhile is not in it.
    let ran = run(&crashed, 2, &["10T02"]).exits(0);
    assert!(!ran.err.contains("another machine"), "{ran:?}");
    assert_eq!(digest(&crashed, "2023-03-10.json"), before);
    assert_eq!(manifests(&digest(&crashed, "2023-03-10.1.json")), ["10_d/02_h/part-00000"]);
    assert_eq!(walked(&crashed, &[]), (0, vec![]));
    assert_eq!(names(&crashed).iter().filter(|name| name.ends_with("minisig")).count(), 2);
}

/// Another machine that writes to the same lake.
fn another(place: &Place) -> Place {
    let mut other = Place::new(&config(&format!("to = \"file:{}\"\n", place.path("lake").display())));
    other.key.clone_from(&place.key);
    other.set("FERNET_KEY", &place.key);
    other
}

#[test]
fn two_machines_on_one_prefix_make_one_chain() {
    let one = three_days(LAKE);
    let two = another(&one);
    run(&two, 5, &["10T09", "13T01"]).exits(0);
    assert_eq!(digest(&one, "2023-03-13.json")["serial"], 5);
    let taken_over = run(&one, 6, &["13T02", "10T10", "14T00"]).exits(0);
    assert!(taken_over.err.contains("made by another machine"), "{taken_over:?}");
    run(&two, 7, &["15T02"]).exits(0);
    assert_eq!(digest(&one, "2023-03-15.json")["serial"], 8);
    for place in [&one, &two] {
        let ran = place.etl(&["verify", "--digests", "--json"]);
        assert_eq!(ran.json()["digests"]["findings"], json!([]), "{ran:?}");
        assert_eq!(ran.json()["digests"]["undigested"], 0);
    }
}

#[test]
fn foreign_digest_is_named_and_left_alone_and_parts_go_out() {
    let place = three_days(LAKE);
    let path = place.path("lake/digest/2023-03-13.json");
    let follows_another = fs::read_to_string(place.path("lake/digest/2023-03-12.json")).unwrap();
    for foreign in ["not a digest".to_owned(), follows_another.replace("03-12\"", "03-13\"")] {
        fs::write(&path, &foreign).unwrap();
        let parts = place.lake("lake").len();
        let ran = run(&place, parts as u64, &["13T01"]).exits(76);
        assert!(ran.err.contains("digest/2023-03-13.json"), "{ran:?}");
        assert_eq!((place.lake("lake").len(), fs::read_to_string(&path).unwrap()), (parts + 1, foreign));
    }
    fs::remove_file(&path).unwrap();
    place.etl(&["replay"]).exits(0);
    assert_eq!(manifests(&digest(&place, "2023-03-13.json")).len(), 2);
    assert_eq!(walked(&place, &[]), (0, vec![]));
}

#[test]
fn digest_that_somebody_removed_is_noticed_when_the_next_is_made() {
    let place = three_days(LAKE);
    fs::remove_file(place.path("lake/digest/2023-03-11.json")).unwrap();
    let ran = run(&place, 4, &["13T01"]).exits(76);
    assert!(ran.err.contains("the chain has 4 digests, the store 3"), "{ran:?}");
    assert!(names(&place).contains(&"2023-03-13.json".to_owned()));
    run(&place, 5, &["14T01"]).exits(0);
    assert!(names(&place).contains(&"2023-03-14.json".to_owned()), "said once");
}

#[test]
fn day_has_its_digest_once_it_is_over_and_each_day_after_it() {
    let desk = Desk::publishing("Asia/Seoul");
    let digests = || desk.names("lake/digest");
    let log = |id, at: &str| vec![record(id, at)];
    desk.run_at("2023-03-10T01:00:00Z", &log(1, "2023-03-10T00:30:00Z"));
    desk.run_at("2023-03-10T05:00:00Z", &log(2, "2023-03-10T04:30:00Z"));
    // 15:00 in UTC is midnight in Seoul; the last hour of the day closes ten minutes later.
    desk.run_at("2023-03-10T15:09:00Z", &log(3, "2023-03-10T14:59:00Z"));
    assert_eq!(digests(), [""; 0], "the day is not over");
    desk.run_at("2023-03-10T15:10:00Z", &[]);
    assert_eq!(digests(), ["2023-03-10.json"]);
    desk.run_at("2023-03-10T15:20:00Z", &log(4, "2023-03-10T03:00:00Z"));
    desk.run_at("2023-03-10T16:15:00Z", &[]);
    assert_eq!(digests().len(), 1, "the late record is held");
    desk.run_at("2023-03-10T16:20:00Z", &[]);
    assert_eq!(digests(), ["2023-03-10.1.json", "2023-03-10.json"]);
    desk.run_at("2023-03-11T15:10:00Z", &[]);
    desk.run_at("2023-03-14T20:00:00Z", &[]);
    let days = ["2023-03-11.json", "2023-03-12.json", "2023-03-13.json", "2023-03-14.json"];
    assert_eq!(digests()[2..], days, "days without parts have one too");
}

#[test]
fn day_waits_for_its_late_records_but_not_for_ever() {
    let desk = Desk::publishing("UTC");
    let digests = || desk.names("lake/digest");
    desk.run_at("2023-03-10T02:00:00Z", &[record(1, "2023-03-10T01:30:00Z"), record(2, "2023-03-10T00:30:00Z")]);
    desk.run_at("2023-03-10T02:10:00Z", &[]);
    for (time, late) in
        [("11T00:05", "01"), ("11T00:30", ""), ("11T23:00", "00"), ("12T00:30", "01"), ("12T01:05", "00")]
    {
        let late: Vec<String> = (!late.is_empty())
            .then(|| record(desk.parts().len() as u64 + 10, &format!("2023-03-10T{late}:40:00Z")))
            .into_iter()
            .collect();
        desk.run_at(&format!("2023-03-{time}:00Z"), &late);
        assert_eq!(digests(), [""; 0], "{time}: a late record of the day is held");
    }
    desk.run_at("2023-03-12T01:10:00Z", &[]);
    assert_eq!(digests()[0], "2023-03-10.json", "a day after it was due");
}

#[test]
fn lost_answer_to_the_put_of_a_digest_costs_a_run_and_nothing_else() {
    let Some(at) = s3() else { return };
    let (proxy, prefix) = (Proxy::start(&at.endpoint), unique_prefix("digests"));
    let mut place = place(&at.behind(&proxy.endpoint).load(&prefix));
    place.trust(&at);
    proxy.at_keys("PUT ", &["/digest/"], Fault::AnswerDropped);
    let ran = run(&place, 1, &["10T01"]).exits(75);
    assert_eq!(place.status()["totals"]["pending"], 0, "the part went out: {ran:?}");
    proxy.calm();
    place.etl(&["replay"]).exits(0);
    place.etl(&["verify", "--digests", "--deep"]).exits(0);
    let created = proxy.created(&prefix);
    let digests = created.keys().filter(|path| path.contains("/digest/")).count();
    assert!(digests == 1 && created.values().all(|times| *times == 1), "{created:?}");
}

/// The script of the manual.
fn script() -> String {
    blocks(&page("lake"), "sh").into_iter().find(|block| block.contains("sha256sum")).unwrap()
}

#[test]
fn script_of_the_manual_checks_the_chain_with_public_tools() {
    let (Some(at), Some(aws)) = (s3(), python::command("aws", "awscli", "awscli==1.45.11")) else { return };
    let tools = tempfile::tempdir().unwrap();
    let path =
        format!("{}:{}:{}", minisign_tool(tools.path()).display(), aws.display(), std::env::var("PATH").unwrap());
    let prefix = unique_prefix("digests");
    let mut place = place(&format!("{}sign_key = \"file:sign.key\"\n", at.load(&prefix)));
    place.trust(&at);
    let public = key(&place, "sign.key");
    run(&place, 1, &["10T01", "10T02", "11T05"]).exits(0);
    run(&place, 2, &["12T00", "10T03", "10T01"]).exits(0);
    let store = at.store();
    let keys = || at.keys(&format!("{prefix}digest/"));
    assert_eq!(keys().len(), 8, "{:?}", keys());
    let environment: BTreeMap<&str, &str> = [
        ("PATH", path.as_str()),
        ("HOME", "/nonexistent"),
        ("BUCKET", &at.bucket),
        ("PREFIX", &prefix),
        ("PUBLIC_KEY", &public),
        ("AWS_ENDPOINT_URL", &at.endpoint),
        ("AWS_ACCESS_KEY_ID", &at.key),
        ("AWS_SECRET_ACCESS_KEY", &at.secret),
        ("AWS_REGION", &at.region),
    ]
    .into();
    let check = || -> Ran {
        let mut sh = Command::new("sh");
        sh.args(["-c", &script()]).env_clear().envs(&environment).env("TMPDIR", tools.path());
        sh.output().unwrap().into()
    };
    let sound = check();
    assert!(sound.code == 0 && sound.out.contains("digest/2023-03-12.json"), "{sound:?}");
    place.etl(&["verify", "--digests", "--deep"]).exits(0);
    // The script is what an auditor runs: it must go red for each of these, and green again when it is mended.
    let digest = format!("{prefix}digest/2023-03-11.json");
    let changed = format!("{prefix}{MANIFEST}");
    for (key, replace) in [(changed, Some("{}\n")), (digest, None)] {
        let kept = store.get(&key).unwrap();
        tamper(&at, &environment, &key, replace.map(str::as_bytes));
        let red = check();
        assert!(red.code != 0 && (red.err + &red.out).contains(key.rsplit('/').next().unwrap()), "{key}");
        let ran = place.etl(&["verify", "--digests"]).exits(76);
        assert!(ran.out.contains(&key), "{ran:?}");
        tamper(&at, &environment, &key, Some(&kept));
        place.etl(&["verify", "--digests"]).exits(0);
    }
}

/// Does with the AWS CLI what `etl` cannot: replaces an object, or removes it.
fn tamper(at: &crate::support::TestS3, environment: &BTreeMap<&str, &str>, key: &str, bytes: Option<&[u8]>) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let url = format!("s3://{}/{key}", at.bucket);
    let mut aws = Command::new("sh");
    aws.args(["-c", "exec aws \"$@\"", "aws"]);
    match bytes {
        Some(bytes) => {
            fs::write(file.path(), bytes).unwrap();
            aws.args(["s3", "cp", "--only-show-errors"]).arg(file.path()).arg(&url);
        }
        None => drop(aws.args(["s3", "rm", "--only-show-errors", &url])),
    }
    let ran: Ran = aws.env_clear().envs(environment).output().unwrap().into();
    ran.exits(0);
}
