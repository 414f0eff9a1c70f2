//! An hour's certificate: what it says is what happened, at each moment, and whatever was interrupted.

use serde_json::{Value, json};

use crate::support::cli::{Place, page, record};
use crate::support::origin::{Answer, Origin};

const HOUR: &str = "2023-03-10T01";

/// The log with this id; ids below 100 are of hour 1, the others of hour 2.
fn log(id: u64) -> String {
    record(id, &format!("2023-03-10T{:02}:{:02}:00.000Z", 1 + id / 100, id % 60))
}

fn place(origin: &Origin, load: &str) -> Place {
    let hours = "[hours]\nlate_hold = \"0s\"\n";
    Place::new(&format!("[source]\nurl = \"{}\"\nretries = 0\n{hours}[load]\nto = \"file:lake\"\n{load}", origin.url))
}

/// Lets the source say these logs, and runs.
fn run(place: &Place, origin: &Origin, ids: &[u64], odd: &str, args: &[&str], code: i32) {
    let text = page(&place.key, &ids.iter().map(|id| log(*id)).collect::<Vec<_>>());
    origin.script(vec![Answer::Page(text.replacen('[', &format!("[{odd}"), 1))]);
    place.etl(args).exits(code);
}

fn certificate(place: &Place) -> Value {
    let status = place.etl(&["status", "--json", "--hour", HOUR]).exits(0).json();
    assert_eq!(status["hours"].as_array().unwrap().len(), 1);
    assert_eq!(status["hours"][0]["hour"], HOUR);
    status["certificate"].clone()
}

fn text(place: &Place) -> String {
    place.etl(&["status", "--hour", HOUR]).exits(0).out
}

#[test]
fn certificate_says_what_came_what_did_not_and_when() {
    let origin = Origin::start(vec![]);
    let place = place(&origin, "");
    place.etl(&["status", "--hour", HOUR]).exits(2);
    run(&place, &origin, &[10, 11, 12], "", &["run", "--drain"], 0);
    // Two of them again, a hole of two ids, and a token that nobody can read.
    let later = [11, 12, 15, 16, 100];
    run(&place, &origin, &later, "{\"data\":\"no token\"},", &["run", "--drain"], 65);
    let found = certificate(&place);
    assert_eq!(found["closed_at"], "2023-03-10T02:10:00Z");
    let counted = ["rows", "duplicates", "quarantined", "late_parts"].map(|name| found[name].as_u64().unwrap());
    assert_eq!(counted, [5, 2, 1, 1]);
    let holes = json!([{"from": 13, "to": 14}, {"from": 17, "to": 99}]);
    assert_eq!(found["record_id"], json!({"from": 10, "to": 16, "missing": 85, "holes": holes}));
    assert_eq!([&found["first"], &found["last"]], ["2023-03-10T01:10:00Z", "2023-03-10T01:16:00Z"]);
    let parts = found["parts"].as_array().unwrap();
    assert_eq!(parts.iter().map(|part| part["rows"].as_u64().unwrap()).collect::<Vec<_>>(), [3, 2]);
    for part in parts {
        let bytes = std::fs::read(place.path("lake").join(part["key"].as_str().unwrap())).unwrap();
        let sha256: String =
            <sha2::Sha256 as sha2::Digest>::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!((&part["sha256"], part["bytes"].as_u64()), (&json!(sha256), Some(bytes.len() as u64)));
    }
    assert_eq!(found["complete"], false);
    let told = text(&place);
    for line in [
        "hour 2023-03-10T01: not known to be complete\n",
        "  85 ids were never seen, in it or at its edge\n",
        "  1 token of its pages could not be read when they came: see the quarantine\n",
        "records     5 in 2 parts, 1 late; 2 received again, 1 quarantined beside them\n",
        "record_id   10 to 16, 85 never seen: 13–14, 17–99\n",
    ] {
        assert!(told.contains(line), "{line}{told}");
    }
}

#[test]
fn hour_is_complete_once_its_holes_are_filled_wherever_their_logs_belong() {
    let origin = Origin::start(vec![]);
    let place = place(&origin, "");
    run(&place, &origin, &[97, 98, 101], "", &["run", "--drain"], 0);
    assert_eq!(certificate(&place)["record_id"]["missing"], 2, "99 and 100 may be of either hour");
    run(&place, &origin, &[99], "", &["run"], 0);
    let found = certificate(&place);
    assert_eq!((&found["complete"], &found["rows"]), (&json!(false), &json!(3)), "100 may still be of the hour");
    run(&place, &origin, &[100], "", &["run", "--drain"], 0);
    let found = certificate(&place);
    assert_eq!((&found["complete"], &found["doubts"]), (&json!(true), &json!([])), "{found}");
    assert!(text(&place).starts_with("hour 2023-03-10T01: complete\nclosed "), "{}", text(&place));
}

#[test]
fn counts_are_those_of_all_runs_whatever_became_of_them() {
    let origin = Origin::start(vec![]);
    let place = place(&origin, "");
    run(&place, &origin, &[10, 11], "", &["run"], 0);
    for _ in 0..3 {
        run(&place, &origin, &[10, 11, 12], "", &["run"], 0);
    }
    run(&place, &origin, &[10, 13], "", &["run", "--drain"], 0);
    let found = certificate(&place);
    assert_eq!((&found["rows"], &found["duplicates"]), (&json!(4), &json!(9)), "{found}");
    // An empty write-ahead log goes on from what the ledger knows.
    std::fs::remove_dir_all(place.path("etl-state/wal")).unwrap();
    run(&place, &origin, &[10, 14], "", &["run", "--drain"], 0);
    let found = certificate(&place);
    assert_eq!((&found["rows"], &found["duplicates"]), (&json!(5), &json!(10)), "{found}");
}

/// Every manifest in the lake, by its key.
fn manifests(place: &Place) -> Vec<(String, String)> {
    let pattern = place.path("lake/manifest/**/*.json");
    let read = |path: std::path::PathBuf| {
        let name = path.strip_prefix(place.path("lake")).unwrap().to_str().unwrap().to_owned();
        (name, std::fs::read_to_string(path).unwrap())
    };
    glob::glob(pattern.to_str().unwrap()).unwrap().map(|path| read(path.unwrap())).collect()
}

#[test]
fn manifest_is_published_once_for_each_part_and_outside_the_data() {
    let origin = Origin::start(vec![]);
    let place = place(&origin, "manifest = true\n");
    run(&place, &origin, &[10, 11], "", &["run"], 0);
    let first = manifests(&place);
    let (key, text) = &first[0];
    assert_eq!((first.len(), key.as_str()), (1, "manifest/2023_y/03_m/10_d/01_h/part-00000.json"));
    let manifest: Value = serde_json::from_str(text).unwrap();
    let part = &certificate(&place)["parts"][0];
    for name in ["part", "key", "rows", "bytes", "sha256", "content_sha256", "first", "last", "sealed_at"] {
        assert_eq!(manifest[name], part[name], "{name}");
    }
    assert_eq!((&manifest["schema"], &manifest["hour"]), (&json!(1), &json!(HOUR)));
    assert_eq!(manifest["hour_so_far"]["record_id"], json!({"from": 10, "to": 11, "missing": 0, "holes": []}));
    run(&place, &origin, &[11, 12], "", &["run"], 0);
    let second = manifests(&place);
    assert_eq!((second.len(), &second[0]), (2, &first[0]), "an earlier one never changes");
    let so_far = serde_json::from_str::<Value>(&second[1].1).unwrap()["hour_so_far"].clone();
    assert_eq!(["rows", "duplicates", "late_parts"].map(|name| so_far[name].as_u64().unwrap()), [3, 1, 1]);
    place.etl(&["verify", "--deep"]).exits(0);
    assert_eq!(place.etl(&["restore"]).exits(0).out.lines().count(), 3);
}

#[test]
fn part_has_no_receipt_before_its_manifest_and_a_foreign_one_stays() {
    let origin = Origin::start(vec![]);
    let place = place(&origin, "manifest = true\n");
    std::fs::create_dir(place.path("lake")).unwrap();
    std::fs::write(place.path("lake/manifest"), "in the way").unwrap();
    run(&place, &origin, &[10, 11], "", &["run"], 74);
    assert_eq!(place.lake("lake").len(), 1, "the part is there");
    assert_eq!(place.status()["totals"]["uploaded"], 0);
    std::fs::remove_file(place.path("lake/manifest")).unwrap();
    let theirs = place.path("lake/manifest/2023_y/03_m/10_d/01_h/part-00000.json");
    std::fs::create_dir_all(theirs.parent().unwrap()).unwrap();
    std::fs::write(&theirs, "theirs").unwrap();
    let again = place.etl(&["replay"]).exits(0);
    assert!(again.err.contains("another manifest is there already"), "{again:?}");
    assert_eq!(place.status()["totals"]["uploaded"], 2);
    assert_eq!(std::fs::read_to_string(&theirs).unwrap(), "theirs");
    assert!(place.path("etl-state/spool").read_dir().unwrap().next().is_none());
}

#[test]
fn manifests_go_to_s3_too() {
    let Some(at) = crate::support::s3() else { return };
    let prefix = crate::support::unique_prefix("manifest");
    let origin = Origin::start(vec![]);
    let mut place = place(&origin, "");
    place.configure(&format!("[source]\nurl = \"{}\"\n[load]\n{}manifest = true\n", origin.url, at.load(&prefix)));
    place.trust(&at);
    run(&place, &origin, &[10, 11, 100], "", &["run", "--drain"], 0);
    let store = crate::support::intruder::Intruder::in_bucket(&at);
    for (hour, rows) in [("01", 2), ("02", 1)] {
        let text = store.read(&format!("{prefix}manifest/2023_y/03_m/10_d/{hour}_h/part-00000.json"));
        assert_eq!(serde_json::from_slice::<Value>(&text).unwrap()["rows"], rows);
    }
    place.etl(&["verify"]).exits(0);
}
