//! `etl config`, `.env`, and what a run says of itself: where each setting comes from, all that is wrong, and what happened.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::cli::{Place, page, record};
use crate::support::origin::{Answer, Origin};

const FILES: &str = "[source]\nurl = \"file:pages/*.json\"\n[load]\nto = \"file:lake\"\n";

#[test]
fn each_setting_is_shown_with_its_place_and_no_secret() {
    let mut place = Place::new(
        "[source]\nurl = \"https://me:s3cret@h.example/l?t=s3cret\"\nheaders = { X-One = \"s3cret\" }\n[load]\nto = \"s3://logs/p\"\n",
    );
    place.set("AWS_REGION", "eu-west-1");
    place.set("AWS_SECRET_ACCESS_KEY", "s3cret");
    place.set("AWS_ACCESS_KEY_ID", "s3cret");
    place.set("ETL_STATE_DIR", "");
    let text = place.etl(&["config", "show", "--state-dir", "elsewhere"]).exits(0).out;
    assert!(!text.contains("s3cret") && !text.contains(&place.key), "{text}");
    let row = |key: &str| text.lines().find(|line| line.split(' ').next() == Some(key)).unwrap_or_default().to_owned();
    for (key, value, from) in [
        ("source.url", "\"https://h.example/l\"", "etl.toml, line 2"),
        ("source.keys", "\"set\"", "FERNET_KEY in the environment"),
        ("source.headers.X-One", "\"set\"", "etl.toml, line 3"),
        ("source.timeout", "\"30s\"", "the default"),
        ("load.to", "\"s3://logs/p/\"", "etl.toml, line 5"),
        ("load.region", "\"eu-west-1\"", "AWS_REGION in the environment"),
        ("AWS_SECRET_ACCESS_KEY", "\"set\"", "in the environment"),
        ("state.dir", "/elsewhere\"", "--state-dir"),
    ] {
        assert!(row(key).contains(value) && row(key).ends_with(from), "{key}: {:?} in {text}", row(key));
    }
    let json = place.etl(&["config", "show", "--json"]).exits(0);
    assert!(!json.out.contains("s3cret"), "{}", json.out);
    let settings = json.json()["settings"].as_array().unwrap().clone();
    let region = settings.iter().find(|setting| setting["key"] == "load.region").unwrap();
    assert_eq!(region["from"], serde_json::json!({"kind": "environment", "name": "AWS_REGION"}));
}

#[test]
fn region_of_the_profile_is_shown_with_its_file_and_so_are_the_tags() {
    let mut place = Place::new(
        "[source]\nurl = \"https://h.example/l\"\n[load]\nto = \"s3://my-logs/p\"\ntags = { team = \"logs\" }\n",
    );
    std::fs::write(place.path("aws"), "[default]\nregion = eu-north-1\n").unwrap();
    let file = place.path("aws").display().to_string();
    place.set("AWS_CONFIG_FILE", &file);
    let text = place.etl(&["config", "show"]).exits(0).out;
    let row = |key: &str| text.lines().find(|line| line.split(' ').next() == Some(key)).unwrap_or_default().to_owned();
    let region = row("load.region");
    assert!(
        region.contains("\"eu-north-1\"") && region.ends_with(&format!("the profile in {file}")),
        "{region}: {text}"
    );
    let tag = row("load.tags.team");
    assert!(tag.contains("\"logs\"") && tag.ends_with("etl.toml, line 5"), "{tag}: {text}");
    // A variable outranks it.
    place.set("AWS_REGION", "eu-west-1");
    assert!(place.etl(&["config", "show"]).exits(0).out.contains("AWS_REGION in the environment"));
}

#[test]
fn check_finds_every_problem_with_its_line_and_asks_nobody() {
    let place =
        Place::new("[source]\nurl = \"nowhere\"\nretires = 1\n[hours]\ngrace = \"10\"\n[load]\nto = \"file:lake\"\n");
    let ran = place.etl(&["config", "check"]).exits(78);
    assert_eq!(ran.err, "");
    for line in ["line 2: source.url", "line 3: unknown key \"retires\"", "line 5: hours.grace"] {
        assert_eq!(ran.out.matches(&format!("etl.toml, {line}")).count(), 1, "{line}: {}", ran.out);
    }
    let json = place.etl(&["config", "check", "--json"]).exits(78).json();
    assert_eq!((json["problems"].as_array().unwrap().len(), &json["exit"]), (3, &78.into()), "{json}");
    // No server is at the address, and no secret has to be set.
    let mut place = Place::new("[source]\nurl = \"https://127.0.0.1:1/l\"\n[load]\nto = \"s3://logs/\"\n");
    place.set("FERNET_KEY", "");
    let ran = place.etl(&["config", "check"]).exits(0);
    assert!(ran.out.contains("FERNET_KEY is not set") && ran.out.contains('✓'), "{}", ran.out);
    assert!(!place.path("etl-state").exists());
}

/// Makes `.env` with this key.
fn write_key(place: &Place, key: &str) {
    let path = place.path("new.env");
    std::fs::write(&path, format!("FERNET_KEY={key}\n")).unwrap();
    Command::new("chmod").arg("600").arg(&path).status().unwrap();
    std::fs::rename(path, place.path(".env")).unwrap();
}

#[test]
fn repeated_run_reads_the_environment_file_again_at_each_tick() {
    let origin = Origin::start(vec![]);
    let mut place = Place::new(&format!("[source]\nurl = \"{}\"\n[load]\nto = \"file:lake\"\n", origin.url));
    // A variable that is set but empty is not set.
    place.set("FERNET_KEY", "");
    origin.script(vec![Answer::Page(page(&place.key, &[record(1, "2023-03-10T01:00:00Z")]))]);
    write_key(&place, &fernet::Fernet::generate_key());
    let run =
        place.command(&["run", "--every", "100ms", "--log-format", "text"]).stderr(Stdio::piped()).spawn().unwrap();
    let wait = |what: &str, holds: &dyn Fn(&serde_json::Value) -> bool| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !holds(&serde_json::from_str(&place.etl(&["status", "--json"]).out).unwrap_or_default()) {
            assert!(Instant::now() < deadline, "never: {what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    wait("refused key", &|status| status["last_run"]["exit"] == 77);
    write_key(&place, "nonsense");
    std::thread::sleep(Duration::from_millis(400));
    write_key(&place, &place.key);
    wait("taken key", &|status| status["totals"]["records"] == 1 && status["last_run"]["exit"] == 0);
    Command::new("kill").args(["-TERM", &run.id().to_string()]).status().unwrap();
    let ended = run.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(said.contains("source.keys is now that of FERNET_KEY in ") && said.contains("/.env"), "{said}");
    assert!(said.contains("entry 1 is not a Fernet key"), "a tick that fails does not end the others: {said}");
}

#[test]
fn run_for_programs_prints_its_object_whatever_goes_wrong() {
    let place = Place::new("[source]\nurl = \"http://127.0.0.1:1/\"\nretries = 0\n[load]\nto = \"file:lake\"\n");
    let down = place.etl(&["run", "--json"]).exits(75).json();
    assert_eq!((&down["exit"], &down["problems"][0]["kind"]), (&75.into(), &"unavailable".into()));
    assert!(down["problems"][0]["message"].as_str().unwrap().contains("no connection"), "{down}");
    assert!(down["problems"][0]["hint"].is_string() && down["ended"].is_string(), "{down}");
    let lock = etl::state::Lock::take(&place.path("etl-state")).unwrap();
    assert_eq!(place.etl(&["run", "--json"]).exits(11).json()["exit"], 11);
    drop(lock);
    place.configure("[sourec]\n");
    for command in [&["run", "--json"][..], &["replay", "--json"], &["run", "--dry-run", "--json"]] {
        let refused = place.etl(command).exits(78).json();
        assert_eq!((&refused["schema"], &refused["exit"], &refused["fetched"]), (&1.into(), &78.into(), &0.into()));
    }
    let place = Place::new(FILES);
    place.page("pages/1.json", &[record(1, "2023-03-10T01:00:00Z")]);
    let done = place.etl(&["run", "--json"]).exits(0).json();
    assert_eq!((&done["exit"], &done["problems"]), (&0.into(), &serde_json::json!([])));
}

#[test]
fn verbose_run_says_its_steps_and_more_verbose_its_requests() {
    let origin = Origin::start(vec![]);
    let place =
        Place::new(&format!("[source]\nurl = \"{}?t=s3cret\"\nretries = 0\n[load]\nto = \"file:lake\"\n", origin.url));
    origin.script(vec![Answer::Page(page(&place.key, &[record(1, "2023-03-10T01:00:00Z")]))]);
    let steps = place.etl(&["run", "-v", "--drain", "--log-format", "text"]).exits(0).err;
    for step in
        ["fetched http://", "committed 1 log: 1 new", "sealed 1 part", "uploaded 1 part: 1 record", "pruned 1 page"]
    {
        assert!(steps.contains(step), "{step}: {steps}");
    }
    origin.script(vec![Answer::Status(502, "<h1>out\u{1b}[2J of order</h1>".into())]);
    let requests = place.etl(&["run", "-vv", "--log-format", "text"]).exits(75).err;
    let line = requests.lines().find(|line| line.contains("DEBUG GET ")).unwrap_or_default();
    assert!(line.contains(&format!("GET {}: 502", origin.url)) && line.contains("ms="), "{requests}");
    assert!(line.contains("out [2J of order") && line.contains("bytes="), "{requests}");
    assert!(!requests.contains("s3cret") && !requests.contains('\u{1b}'), "{requests}");
}

#[test]
fn page_of_another_shape_is_described_by_the_names_in_it() {
    let origin = Origin::start(vec![]);
    let place = Place::new(&format!("[source]\nurl = \"{}\"\nretries = 0\n[load]\nto = \"file:lake\"\n", origin.url));
    for (body, names) in [
        (
            r#"{"next":"s3cret","data":{"items":[{"token":"s3cret"}]}}"#,
            r#"it has "next", "data"; /data/items is an array of 1"#,
        ),
        (r#"[{"payload":"s3cret","id":7}]"#, r#"it is an array of 1, the first with "payload", "id""#),
    ] {
        origin.script(vec![Answer::Page(body.to_owned())]);
        let ran = place.etl(&["run", "--log-format", "text"]).exits(75);
        assert!(ran.err.contains(names) && !ran.err.contains("s3cret"), "{}", ran.err);
        assert!(ran.err.contains("\"data\""), "it says what a page is: {}", ran.err);
    }
}

#[test]
fn range_that_holds_nothing_is_told_what_there_is() {
    let place = Place::new(FILES);
    place.page("pages/1.json", &[record(1, "2023-03-10T01:00:00Z"), record(2, "2023-03-12T05:00:00Z")]);
    place.etl(&["run"]).exits(0);
    let restore = |args: &[&str]| place.etl(&[&["restore", "--log-format", "text"], args].concat()).exits(2).err;
    let said = restore(&["--since", "2023-03-12T00", "--until", "2023-03-10T00"]);
    assert!(said.contains("--since 2023-03-12T00 is after --until 2023-03-10T00") && said.contains("swap"), "{said}");
    let said = restore(&["--since", "2023-03-11T00", "--until", "2023-03-11T05"]);
    assert!(said.contains("of the hours 2023-03-11T00 to 2023-03-11T05"), "{said}");
    assert!(said.contains("among the hours 2023-03-10T01 to 2023-03-12T05"), "{said}");
}

#[test]
fn all_hours_are_all_that_there_ever_were() {
    let place = Place::new(FILES);
    let records: Vec<String> =
        (0..70).map(|n| record(n, &format!("2023-03-{:02}T{:02}:00:00Z", 1 + n / 24, n % 24))).collect();
    place.page("pages/1.json", &records);
    place.etl(&["run"]).exits(0);
    let hours = |args: &[&str]| place.etl(&[&["status"], args].concat()).exits(0).out.matches("uploaded  ").count();
    assert!(hours(&[]) < 48);
    assert_eq!(hours(&["--all"]), 70);
    let json = place.etl(&["status", "--all", "--json"]).exits(0).json();
    assert_eq!(json["hours"].as_array().unwrap().len(), 70);
}
