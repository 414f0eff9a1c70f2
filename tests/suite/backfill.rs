//! Files in, a lake directory out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::cli::{Place, record};
use crate::support::form::{ZSTD, form, in_form};

const CONFIG: &str = "[source]\nurl = \"file:pages/*.json\"\n[load]\nto = \"file:lake\"\n";

/// The fixtures, copied, because a run leaves its lake beside its configuration.
fn fixtures(config: &str, pages: &str) -> Place {
    let place = Place::new("");
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    std::fs::create_dir(place.path(pages)).unwrap();
    for entry in std::fs::read_dir(from.join(pages)).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, place.path(pages).join(path.file_name().unwrap())).unwrap();
    }
    place.configure(&std::fs::read_to_string(from.join(config)).unwrap());
    place
}

fn values(lines: &str) -> BTreeSet<String> {
    lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap().to_string()).collect()
}

fn truth(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)).unwrap()
}

#[test]
fn demo_keeps_each_record_once_and_gives_the_originals_back() {
    let place = fixtures("demo.toml", "pages");
    let summary = place.etl(&["run", "--json"]).exits(0).json();
    let truth = truth("truth.ndjson");
    assert_eq!(summary["new"], truth.lines().count());
    assert_eq!(summary["uploaded_parts"], 3);
    let keys: Vec<String> = place.lake("lake").into_iter().map(|(key, _)| key).collect();
    let expected: Vec<String> =
        (1..=3).map(|h| form().key(&format!("data/2023_y/03_m/10_d/{h:02}_h/part-00000.ndjson.gz"))).collect();
    assert_eq!(keys, expected);
    let restored = place.etl(&["restore"]).exits(0).out;
    assert_eq!(restored.lines().count(), truth.lines().count());
    assert_eq!(values(&restored), values(&truth));
}

#[test]
fn backfill_in_zstd_is_the_same_backfill() {
    in_form(ZSTD, || {
        demo_keeps_each_record_once_and_gives_the_originals_back();
        second_run_adds_nothing_and_says_so();
        late_record_becomes_the_next_part_of_its_hour();
        lost_state_directory_converges_on_what_the_store_holds();
        order_of_arrival_and_number_of_threads_change_no_byte_of_a_part();
        hour_of_which_not_all_lines_are_read_at_once_is_the_same_in_any_order();
    });
}

#[test]
fn second_run_adds_nothing_and_says_so() {
    let place = fixtures("demo.toml", "pages");
    place.etl(&["run"]).exits(0);
    let before = place.lake("lake");
    let again = place.etl(&["run"]).exits(0);
    assert!(again.out.contains("nothing new") && again.out.contains("uploaded  nothing"), "{again:?}");
    assert_eq!(again.err, "");
    assert_eq!(place.lake("lake"), before);
    let status = place.status();
    assert_eq!(status["totals"]["pending"], 0);
    assert_eq!(status["journal"]["pages"], 0);
    place.etl(&["verify", "--deep"]).exits(0);
}

#[test]
fn odd_tokens_are_quarantined_once_and_cost_only_themselves() {
    let place = fixtures("odd.toml", "odd");
    let first = place.etl(&["run", "--json"]).exits(65).json();
    let truth = truth("odd-truth.ndjson");
    assert_eq!(first["new"], truth.lines().count());
    assert!(first["quarantined"].as_u64().unwrap() > 0);
    let second = place.etl(&["run", "--json"]).exits(0).json();
    assert_eq!((&second["new"], &second["quarantined"]), (&Value::from(0), &Value::from(0)));
    let restored = place.etl(&["restore"]).exits(0).out;
    assert_eq!(values(&restored), values(&truth));
    assert_eq!(place.status()["quarantine"]["count"], first["quarantined"]);
}

#[test]
fn hour_that_changes_inside_a_page_loses_nothing() {
    let place = Place::new(CONFIG);
    let at = |n: u64| format!("2023-03-10T{:02}:{:02}:00.000Z", n / 60, n % 60);
    let records: Vec<String> = (0..85).map(|n| record(n, &at(n + 45))).collect();
    place.page("pages/1.json", &records);
    place.etl(&["run"]).exits(0);
    let lines: Vec<usize> = place.lake("lake").iter().map(|(_, lines)| lines.len()).collect();
    assert_eq!(lines, [15, 60, 10]);
}

#[test]
fn record_in_ever_new_tokens_is_kept_once() {
    let place = Place::new(CONFIG);
    let records = [record(1, "2023-03-10T01:00:00.000Z"), record(1, "2023-03-10T01:00:00.000Z")];
    for name in ["pages/1.json", "pages/2.json"] {
        place.page(name, &records);
    }
    let summary = place.etl(&["run", "--json"]).exits(0).json();
    assert_eq!((&summary["new"], &summary["duplicates"]), (&Value::from(1), &Value::from(3)));
}

#[test]
fn late_record_becomes_the_next_part_of_its_hour() {
    let place = Place::new(CONFIG);
    place.page("pages/1.json", &[record(1, "2023-03-10T01:00:00.000Z"), record(2, "2023-03-10T01:30:00.000Z")]);
    place.etl(&["run"]).exits(0);
    place.page("pages/2.json", &[record(3, "2023-03-10T01:10:00.000Z"), record(2, "2023-03-10T01:30:00.000Z")]);
    let summary = place.etl(&["run", "--json"]).exits(0).json();
    assert_eq!((&summary["new"], &summary["late"]), (&Value::from(1), &Value::from(1)));
    let lake = place.lake("lake");
    assert_eq!(lake.iter().map(|(_, lines)| lines.len()).collect::<Vec<_>>(), [2, 1]);
    assert!(lake[1].0.ends_with(&format!("part-00001{}", form().suffix)));
}

#[test]
fn parts_are_ordered_by_time_and_cut_at_the_limit() {
    let place = Place::new(&format!("{CONFIG}part_max_records = 4\n"));
    let records: Vec<String> = (0..10).rev().map(|n| record(n, &format!("2023-03-10T01:00:0{n}.000Z"))).collect();
    place.page("pages/1.json", &records);
    place.etl(&["run"]).exits(0);
    let ids: Vec<Vec<u64>> =
        place.lake("lake").iter().map(|(_, lines)| lines.iter().map(|l| id(l)).collect()).collect();
    assert_eq!(ids, [vec![0, 1, 2, 3], vec![4, 5, 6, 7], vec![8, 9]]);
}

fn id(line: &str) -> u64 {
    serde_json::from_str::<Value>(line).unwrap()["record_id"].as_u64().unwrap()
}

#[test]
fn dry_run_writes_nothing() {
    let place = Place::new(CONFIG);
    place.page("pages/1.json", &[record(1, "2023-03-10T01:00:00.000Z")]);
    let dry = place.etl(&["run", "--dry-run", "--json"]).exits(0).json();
    assert_eq!(dry["new"]["2023-03-10T01"], 1);
    assert!(!place.path("etl-state").exists() && !place.path("lake").exists());
    place.etl(&["run"]).exits(0);
    let dry = place.etl(&["run", "--dry-run", "--json"]).exits(0).json();
    assert_eq!((&dry["new"], &dry["duplicates"]), (&serde_json::json!({}), &Value::from(1)));
}

#[test]
fn file_that_is_no_page_costs_only_itself() {
    let place = Place::new(CONFIG);
    place.page("pages/1.json", &[record(1, "2023-03-10T01:00:00.000Z")]);
    std::fs::write(place.path("pages/2.json"), "<html>no</html>").unwrap();
    std::fs::write(place.path("pages/3.json"), "[1, 2, 3]").unwrap();
    place.page("pages/4.json", &[record(2, "2023-03-10T01:00:00.000Z")]);
    let ran = place.etl(&["run", "--json"]).exits(75);
    assert_eq!(ran.json()["new"], 2);
    assert!(ran.err.contains("2.json") && ran.err.contains("rejected"), "{}", ran.err);
    assert_eq!(std::fs::read_dir(place.path("etl-state/rejected")).unwrap().count(), 1);
}

#[test]
fn wrong_key_takes_the_files_once_and_waits_for_the_right_one() {
    let mut place = Place::new(CONFIG);
    place.page("pages/1.json", &[record(1, "2023-03-10T01:00:00.000Z")]);
    let right = place.key.clone();
    place.set("FERNET_KEY", &fernet::Fernet::generate_key());
    for _ in 0..3 {
        place.etl(&["run"]).exits(77);
        assert_eq!(place.status()["journal"]["pages"], 1);
    }
    place.set("FERNET_KEY", &right);
    assert_eq!(place.etl(&["replay", "--json"]).exits(0).json()["uploaded_records"], 1);
    assert_eq!(place.status()["journal"]["pages"], 0);
}

#[test]
fn archive_keeps_the_originals() {
    let place = Place::new(&format!("{CONFIG}[archive]\ndir = \"originals\"\n"));
    place.page("pages/1.json", &[record(1, "2023-03-10T01:00:00.000Z"), record(2, "2023-03-10T01:00:01.000Z")]);
    place.etl(&["run"]).exits(0);
    let kept = std::fs::read(place.path("originals/2023-03-10T01.part-00000.ndjson.gz")).unwrap();
    assert_eq!(crate::support::cli::gunzip(&kept).join("\n") + "\n", place.etl(&["restore"]).exits(0).out);
}

#[test]
fn foreign_object_is_never_overwritten_and_is_named() {
    let place = Place::new(CONFIG);
    let key = "data/2023_y/03_m/10_d/01_h/part-00000.ndjson.gz";
    let path = place.path("lake").join(key);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, "somebody's").unwrap();
    place.page("pages/1.json", &[record(1, "2023-03-10T01:00:00.000Z"), record(2, "2023-03-10T02:00:00.000Z")]);
    let ran = place.etl(&["run"]).exits(76);
    assert!(ran.err.contains(key) && ran.err.contains("2023-03-10T01"), "{}", ran.err);
    assert_eq!(std::fs::read(&path).unwrap(), b"somebody's");
    let other = place.path("lake/data/2023_y/03_m/10_d/02_h/part-00000.ndjson.gz");
    assert!(other.exists(), "the other hour went its way");
    std::fs::remove_file(&path).unwrap();
    place.etl(&["run"]).exits(0);
    place.etl(&["verify", "--deep"]).exits(0);
}

#[test]
fn lost_state_directory_converges_on_what_the_store_holds() {
    let place = Place::new(CONFIG);
    place.page("pages/1.json", &[record(1, "2023-03-10T01:00:00.000Z"), record(2, "2023-03-10T01:00:01.000Z")]);
    place.etl(&["run"]).exits(0);
    std::fs::remove_dir_all(place.path("etl-state")).unwrap();
    place.page("pages/2.json", &[record(3, "2023-03-10T01:00:02.000Z")]);
    place.etl(&["run"]).exits(0);
    let lines: Vec<usize> = place.lake("lake").iter().map(|(_, lines)| lines.len()).collect();
    assert_eq!(lines, [2, 1], "what the store held was taken over, the rest is the next part");
    place.etl(&["verify", "--deep"]).exits(0);
    assert_eq!(place.etl(&["run", "--json"]).exits(0).json()["new"], 0);
}

#[test]
fn verify_names_what_is_missing_changed_and_foreign() {
    let place = Place::new(CONFIG);
    let hours: Vec<String> = (1..=3).map(|h| record(h, &format!("2023-03-10T0{h}:00:00.000Z"))).collect();
    place.page("pages/1.json", &hours);
    place.etl(&["run"]).exits(0);
    let part = |h: u32| place.path(format!("lake/data/2023_y/03_m/10_d/0{h}_h/part-00000.ndjson.gz"));
    std::fs::remove_file(part(1)).unwrap();
    std::fs::copy(part(3), part(2)).unwrap();
    std::fs::copy(part(3), part(3).with_file_name("part-00007.ndjson.gz")).unwrap();
    let found = place.etl(&["verify", "--json"]).exits(76).json();
    let faults: Vec<&str> =
        found["findings"].as_array().unwrap().iter().map(|f| f["fault"].as_str().unwrap()).collect();
    assert_eq!(faults, ["missing", "changed", "foreign"]);
}

/// Records of three hours, many of them of the same instant.
fn records_of_three_hours() -> Vec<String> {
    let at = |n: u64| format!("2023-03-10T0{}:{:02}:{:02}.000Z", 1 + n % 3, n * 7 % 60, n * 11 % 60);
    (0..1_300).map(|n| record(n, &at(n))).collect()
}

/// The objects that a backfill of `records`, ten a page, leaves: bytes by path.
fn objects(records: &[String]) -> BTreeMap<PathBuf, Vec<u8>> {
    let place = Place::in_memory(&format!("{CONFIG}part_max_records = 200\n"));
    for (n, page) in records.chunks(10).enumerate() {
        place.page(&format!("pages/{n:03}.json"), page);
    }
    place.etl(&["run"]).exits(0);
    let mut objects = BTreeMap::new();
    for (key, _) in place.lake("lake") {
        objects.insert(PathBuf::from(&key), std::fs::read(place.path("lake").join(&key)).unwrap());
    }
    objects
}

#[test]
fn order_of_arrival_and_number_of_threads_change_no_byte_of_a_part() {
    let records = records_of_three_hours();
    let expected = objects(&records);
    assert_eq!(expected.len(), 9, "three parts an hour");
    let mut reversed = records.clone();
    reversed.reverse();
    assert!(objects(&reversed) == expected, "the other way round");
    let mut scattered = Vec::new();
    (0..13).for_each(|first| scattered.extend(records.iter().skip(first).step_by(13).cloned()));
    let (this, all) = (Pid::from_raw(0), sched_getaffinity(Pid::from_raw(0)).unwrap());
    let mut one = CpuSet::new();
    one.set((0..CpuSet::count()).find(|cpu| all.is_set(*cpu).unwrap()).unwrap()).unwrap();
    sched_setaffinity(this, &one).unwrap();
    let on_one_thread = objects(&scattered);
    sched_setaffinity(this, &all).unwrap();
    assert!(on_one_thread == expected, "scattered over the pages, on one thread");
}

#[test]
fn hour_of_which_not_all_lines_are_read_at_once_is_the_same_in_any_order() {
    // Parts of 6 MB of lines, which are gathered 4 MiB at a time.
    let long = |n: u64| {
        let record = record(n, &format!("2023-03-10T01:{:02}:{:02}.000Z", n / 60, n % 60));
        record.replacen('{', &format!("{{'long': '{}', ", n.to_string().repeat(30_000 / n.to_string().len())), 1)
    };
    let records: Vec<String> = (0..600).map(long).collect();
    let expected = objects(&records);
    assert_eq!(expected.len(), 3, "parts of 200 records");
    let scattered: Vec<String> = (0..600).map(|n| records[n * 371 % 600].clone()).collect();
    assert!(objects(&scattered) == expected, "scattered over the pages");
}
