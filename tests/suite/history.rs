//! The history of runs: what `etl status --runs` lists, and that it is bounded, harmless and never in the way.

use std::fs;

use serde_json::Value;

use crate::support::cli::{Place, record};
use crate::support::desk::Desk;

const FILES: &str = "[source]\nurl = \"file:pages/*.json\"\n[load]\nto = \"file:lake\"\n";

fn runs(place: &Place) -> Vec<Value> {
    let listed = place.etl(&["status", "--runs", "--json"]).exits(0).json();
    assert_eq!(listed["schema"], 1);
    listed["runs"].as_array().unwrap().clone()
}

/// The events of a run.
fn events(place: &Place, started: &str) -> Vec<Value> {
    let digits: String = started.chars().filter(|c| c.is_ascii_digit()).collect();
    let mut names = fs::read_dir(place.path("etl-state/runs")).unwrap().map(|entry| entry.unwrap().path());
    let file = names
        .find(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            let stamp: String = name.chars().filter(char::is_ascii_digit).collect();
            !stamp.is_empty() && digits.starts_with(stamp.trim_end_matches('0'))
        })
        .unwrap_or_else(|| panic!("no events of {started}"));
    let text = fs::read_to_string(file).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn runs_are_listed_with_what_they_brought_and_why_they_failed() {
    let mut place = Place::new(FILES);
    let told = place.etl(&["status", "--runs"]).exits(0).out;
    assert_eq!(told, "no run is recorded yet\n");
    place.page("pages/1.json", &[record(1, "2023-03-10T01:00:00.000Z"), record(2, "2023-03-10T02:00:00.000Z")]);
    place.etl(&["run"]).exits(0);
    place.etl(&["replay"]).exits(0);
    place.set("FERNET_KEY", "nonsense");
    place.etl(&["run"]).exits(78);
    place.set("FERNET_KEY", &place.key.clone());
    place.page("pages/2.json", &["no record".to_owned()]);
    place.etl(&["run"]).exits(65);

    let found = runs(&place);
    let shown: Vec<_> =
        found.iter().map(|run| (run["command"].as_str().unwrap(), run["exit"].as_u64().unwrap())).collect();
    assert_eq!(shown, [("run", 65), ("run", 78), ("replay", 0), ("run", 0)], "the newest first");
    let first = &found[3];
    assert_eq!((&first["new"], &first["uploaded_parts"], &first["killed"]), (&2.into(), &2.into(), &false.into()));
    assert!(first["seconds"].as_f64().unwrap() < 60.0 && first["problem"].is_null());
    assert!(found[1]["problem"].as_str().unwrap().contains("entry 1 is not a Fernet key"), "{found:?}");

    let text = place.etl(&["status", "--runs"]).exits(0).out;
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.len() == 5 && lines[0].starts_with("STARTED (UTC)        COMMAND  EXIT"), "{text}");
    assert!(lines[2].contains(" run      78 ") && lines[2].ends_with("is not a Fernet key"), "{text}");
    let two = place.etl(&["status", "--runs", "2"]).exits(0).out;
    assert!(two.lines().count() == 4 && two.ends_with("and 2 more runs: --runs 4\n"), "{two}");
    assert!(!text.contains("nonsense") && !text.contains(&place.key));

    let of_first = events(&place, first["started"].as_str().unwrap());
    let names: Vec<_> = of_first.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert!(names.starts_with(&["started", "step"]) && names.ends_with(&["ended"]), "{of_first:?}");
    assert!(of_first.iter().all(|event| event["schema"] == 1 && event["at"].is_string()), "{of_first:?}");
    assert_eq!(of_first.last().unwrap()["uploaded_records"], 2);
    let of_refused = events(&place, found[1]["started"].as_str().unwrap());
    assert!(of_refused.iter().any(|event| event["event"] == "problem" && event["hint"].is_string()), "{of_refused:?}");

    place.etl(&["status", "--html", "page.html"]).exits(0);
    let page = fs::read_to_string(place.path("page.html")).unwrap();
    assert!(page.contains("entry 1 is not a Fernet key") && page.contains("<h2>Runs</h2>"), "{page}");
}

#[test]
fn torn_lines_cost_themselves_and_a_history_that_is_in_the_way_costs_no_run() {
    let place = Place::new(FILES);
    place.page("pages/1.json", &[record(1, "2023-03-10T01:00:00.000Z")]);
    place.etl(&["run"]).exits(0);
    let index = place.path("etl-state/runs/index.jsonl");
    let whole = fs::read_to_string(&index).unwrap();
    for torn in ["{\"schema\":1,\"star", "\u{0}\u{0}", "{\"schema\":9}\n", "{}"] {
        fs::write(&index, format!("{whole}{torn}")).unwrap();
        place.etl(&["run"]).exits(0);
        let found = runs(&place);
        assert!(found.len() >= 2 && found.iter().all(|run| run["exit"] == 0), "{torn:?}: {found:?}");
        assert_eq!(place.etl(&["status", "--check"]).code, 0);
    }
    // Whatever takes its place, runs go on, and are as well as before.
    let folder = place.path("etl-state/runs");
    fs::remove_dir_all(&folder).unwrap();
    fs::write(&folder, "a file").unwrap();
    place.etl(&["run"]).exits(0);
    assert_eq!(place.etl(&["status", "--check"]).code, 0);
    fs::remove_file(&folder).unwrap();
    fs::create_dir_all(folder.join("index.jsonl")).unwrap();
    place.etl(&["run"]).exits(0);
    assert_eq!(place.etl(&["status", "--check"]).code, 0);
    assert!(place.etl(&["status", "--runs"]).exits(0).out.contains(" run "), "the events tell of it");
}

#[test]
fn run_whose_events_have_no_end_was_killed_and_its_last_step_counts() {
    let place = Place::new(FILES);
    place.page("pages/1.json", &[record(1, "2023-03-10T01:00:00.000Z")]);
    place.etl(&["run"]).exits(0);
    let folder = place.path("etl-state/runs");
    let torn = "{\"schema\":1,\"at\":\"2023-03-10T02:00:00Z\",\"event\":\"started\",\"command\":\"run\",\"version\":\"0\",\"pid\":1}\n\
                {\"schema\":1,\"at\":\"2023-03-10T02:00:01Z\",\"event\":\"step\",\"step\":\"commit\",\"pages\":1,\"new\":7,\"fetched\":9,\
                \"duplicates\":0,\"quarantined\":0}\n{\"schema\":1,\"at\":\"2023-03-10T02:0";
    fs::write(folder.join("20230310T020000.000000Z.jsonl"), torn).unwrap();
    let found = runs(&place);
    let killed = found.last().unwrap();
    assert_eq!(
        (&killed["killed"], &killed["exit"], &killed["new"]),
        (&true.into(), &Value::Null, &7.into()),
        "{found:?}"
    );
    let text = place.etl(&["status", "--runs"]).exits(0).out;
    assert!(text.contains("2023-03-10 02:00:00  run      killed"), "{text}");
}

#[test]
fn history_is_bounded_however_many_runs_there_are() {
    let desk = Desk::new("UTC");
    let at = |n: u32| {
        let start: jiff::Timestamp = "2023-03-10T00:00:00Z".parse().unwrap();
        (start + jiff::SignedDuration::from_secs(180 * i64::from(n))).to_string()
    };
    desk.run_at(&at(0), &[]);
    let folder = desk.state("runs");
    // Of an ordinary run; most of the runs are made up, so that the test is quick.
    let index = folder.join("index.jsonl");
    let line = fs::read_to_string(&index).unwrap();
    let mut lines = String::new();
    for n in 1..3000 {
        let started = at(n);
        let stamp: String = started.replace(['-', ':'], "").replace('Z', ".000000Z");
        fs::write(folder.join(format!("{stamp}.jsonl")), "x".repeat(6000)).unwrap();
        lines += &line.replace("2023-03-10T00:00:00Z", &started);
    }
    fs::write(&index, lines).unwrap();
    for n in 3000..3150 {
        assert_eq!(desk.run_at(&at(n), &[]).exit_code(), 0);
    }
    let files: Vec<u64> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).collect();
    let bytes: u64 = files.iter().sum();
    assert!(files.len() < 700 && bytes < 10 << 20, "{} files, {bytes} bytes", files.len());
    let kept = fs::read_to_string(&index).unwrap();
    assert!((500..2000).contains(&kept.lines().count()), "{}", kept.lines().count());
    assert!(kept.contains(&at(3149)[..19]) && kept.contains(&at(2700)[..19]), "the newest are there");
}
