//! What an operator lives through: twelve troubles, each as he sees it, and each ended by doing what he is told.
//!
//! Every story runs the command as cron would, reads what it wrote, what `status` and `status --check` say, follows the next step
//! as it is printed, and ends with a monitor that is green and every record in the store exactly once.
//!
//! Planted bugs that turn these red: the next step left out of `status.json`; a quarantined token called "all well"; the hint of a
//! changed setting without the prefix.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::full_disk::SmallDisk;
use crate::support::cli::page;
use crate::support::origin::Answer;
use crate::support::s3;

mod sequences;
mod world;

use world::{World, command, commands, follow, told};

#[test]
fn source_that_is_down_is_asked_again_later() {
    let mut world = World::new();
    for answer in [Answer::Status(503, "away".into()), Answer::Cut("[".into())] {
        world.origin.script(vec![answer]);
        let url = world.origin.url.clone();
        let hint = world.fails(75, &[&url]);
        assert!(hint.starts_with("run again later"), "{hint}");
        world.runs_well();
    }
}

#[test]
fn source_at_a_wrong_address_is_found_by_the_key_that_the_next_step_names() {
    let mut world = World::new();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let good = fs::read_to_string(world.place.path("etl.toml")).unwrap();
    world.place.configure(&good.replace(&world.origin.url, &format!("http://{nobody}/log")));
    let hint = world.fails(75, &[&format!("http://{nobody}/log"), "no connection"]);
    assert!(hint.contains("check source.url"), "{hint}");
    world.place.configure(&good);
    world.runs_well();
}

#[test]
fn store_that_is_down_keeps_what_was_received_until_it_is_back() {
    let Some(s3) = s3() else { return };
    let mut world = World::in_s3(s3.clone());
    let nobody = format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let good = fs::read_to_string(world.place.path("etl.toml")).unwrap();
    world.place.configure(&good.replace(&s3.endpoint, &nobody));
    world.supply();
    let hint = world.fails(75, &[nobody.strip_prefix("http://").unwrap(), "s3://logs/"]);
    assert!(hint.starts_with("run again later: nothing is lost") && hint.contains("check load.endpoint"), "{hint}");
    assert!(world.check().out.contains("1 hour not uploaded"), "what waits is counted");
    world.place.configure(&good);
    world.place.etl(&["run"]).exits(0);
    world.is_well();
}

#[test]
fn file_where_the_lake_should_be_is_moved_away() {
    let mut world = World::new();
    let (lake, aside) = (world.place.path("lake"), world.place.path("aside"));
    fs::rename(&lake, &aside).unwrap();
    fs::write(&lake, "").unwrap();
    world.supply();
    let hint = world.fails(74, &[lake.to_str().unwrap()]);
    assert!(hint.starts_with("move away what lies where a folder of it should be"), "{hint}");
    fs::remove_file(&lake).unwrap();
    fs::rename(&aside, &lake).unwrap();
    world.place.etl(&["run"]).exits(0);
    world.is_well();
}

/// The variable that a next step names.
#[track_caller]
fn variable(hint: &str) -> String {
    let words = hint.split(|c: char| !c.is_ascii_uppercase() && c != '_');
    words.filter(|word| word.len() > 3).map(str::to_owned).next().unwrap_or_else(|| panic!("no variable in {hint:?}"))
}

#[test]
fn wrong_key_keeps_the_pages_until_the_right_one_is_in_the_ring() {
    let mut world = World::new();
    let right = world.place.key.clone();
    world.supply();
    world.place.set("FERNET_KEY", &fernet::Fernet::generate_key());
    let hint = world.fails(77, &["no key of the ring opens any token"]);
    assert!(world.check().out.contains("1 page in the journal not committed"));
    let name = variable(&hint);
    let ring = format!("{right},{}", fernet::Fernet::generate_key());
    world.place.set(&name, &ring);
    world.place.etl(&["run"]).exits(0);
    world.is_well();
}

#[test]
fn missing_key_is_set_where_the_next_step_says() {
    let mut world = World::new();
    world.supply();
    world.place.env.clear();
    let hint = world.fails(78, &["FERNET_KEY is not set"]);
    assert!(hint.contains("in the environment or in .env"), "{hint}");
    let file = world.place.path(".env");
    fs::write(&file, format!("{}={}\n", variable(&hint), world.place.key)).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    world.place.etl(&["run"]).exits(0);
    world.is_well();
}

#[test]
fn full_disk_is_named_and_fetching_goes_on_when_there_is_room() {
    let mut world = World::unused_on_a_disk();
    let Some(disk) = SmallDisk::mount(&world.place.path("disk"), 64) else { return };
    world.runs_well();
    world.supply();
    disk.fill();
    let state = world.place.path("disk/state");
    let hint = world.fails(74, &[state.to_str().unwrap(), "No space left on device"]);
    assert!(hint.starts_with("free some space"), "{hint}");
    disk.free();
    world.place.etl(&["run"]).exits(0);
    world.is_well();
}

/// An answer that says the true time.
fn dated(body: &str) -> Answer {
    let now = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT");
    Answer::Raw(format!("HTTP/1.1 200 OK\r\nDate: {now}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes())
}

#[test]
#[cfg(target_os = "linux")]
fn clock_that_is_behind_is_set_and_what_seemed_of_the_future_comes_in() {
    let Some(shim) = crate::support::shim::shim() else { return };
    let mut world = World::new();
    let logs = [world.log_at(&jiff::Timestamp::now().to_string())];
    world.origin.script(vec![dated(&page(&world.place.key, &logs)), Answer::Page("[]".into())]);
    let ran = shim.run_at_clock(&world.place, &["run"], -3 * 3600).exits(65);
    let hint = world.is_said(&ran, &["1 token was quarantined: 1 future"]);
    assert!(hint.contains("set this machine's clock"), "{hint}");
    assert!(ran.err.contains("this machine's clock is ") && ran.err.contains(" behind the source's"), "{ran:?}");
    // The clock is set: nothing else is to be done.
    world.place.etl(&["run", "--drain"]).exits(0);
    world.is_well();
}

#[test]
#[cfg(target_os = "linux")]
fn clock_that_is_ahead_is_set_and_the_monitor_believes_the_next_run() {
    let Some(shim) = crate::support::shim::shim() else { return };
    let mut world = World::new();
    let logs = [world.log_at(&jiff::Timestamp::now().to_string())];
    world.origin.script(vec![dated(&page(&world.place.key, &logs)), Answer::Page("[]".into())]);
    let ran = shim.run_at_clock(&world.place, &["run"], 26 * 3600).exits(0);
    let (message, _) = told(&ran, "WARN");
    assert!(message.contains(" ahead of the source's") && message.contains(": set it"), "{message}");
    // The clock is set.
    let check = world.check();
    assert!(check.code == 1 && check.out.contains("is in the future: a clock is or was wrong; set it"), "{check:?}");
    assert!(!world.place.etl(&["status"]).out.contains("all well"));
    world.supply();
    world.place.etl(&["run", "--drain"]).exits(0);
    world.is_well();
}

#[test]
fn second_run_leaves_everything_to_the_first() {
    let mut world = World::new();
    let log = world.new_log();
    let answers = vec![
        Answer::Stall(Duration::from_millis(1500)),
        Answer::Page(page(&world.place.key, &[log])),
        Answer::Page("[]".into()),
    ];
    world.origin.script(answers);
    let mut first = world.place.spawn(&["run"]);
    let deadline = Instant::now() + Duration::from_secs(20);
    while world.place.status()["running"] != Value::Bool(true) {
        assert!(Instant::now() < deadline, "it never began");
    }
    let second = world.place.etl(&["run"]).exits(11);
    let (message, hint) = told(&second, "ERROR");
    let state = world.place.path("etl-state");
    assert!(message.contains(state.to_str().unwrap()), "{message}");
    assert!(hint.contains("nothing to do"), "{hint}");
    assert!(!world.place.etl(&["status"]).out.contains("all well"), "one is at work");
    assert_eq!(first.wait().unwrap().code(), Some(0));
    world.is_well();
}

#[test]
fn lost_state_is_read_back_from_the_store() {
    let mut world = World::new();
    world.runs_well();
    fs::remove_dir_all(world.place.path("etl-state")).unwrap();
    let check = world.check();
    assert!(check.code == 3 && check.out.starts_with("UNKNOWN - no run yet"), "{check:?}");
    assert!(!world.place.etl(&["status"]).out.contains("all well"));
    let advised = commands(&check.out).into_iter().find(|command| command[0] == "replay").unwrap();
    follow(&world, &advised, 0);
    world.new_log();
    world.hand_out_all();
    let run = world.place.etl(&["run", "--json"]).exits(0).json();
    assert_eq!((&run["new"], &run["duplicates"]), (&json!(1), &json!(2)), "{run}");
    world.is_well();
}

#[test]
fn damaged_ledger_is_rebuilt_by_the_command_that_is_named() {
    let mut world = World::new();
    let head = world.place.path("etl-state/ledger/head");
    let mut bytes = fs::read(&head).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&head, bytes).unwrap();
    world.supply();
    let hint = world.fails(74, &[head.to_str().unwrap(), "is damaged"]);
    follow(&world, &command(&hint), 0);
    let check = world.check();
    assert!(
        check.code == 2 && check.out.contains("the last run ended with exit 74"),
        "until a run succeeds: {check:?}"
    );
    world.hand_out_all();
    world.place.etl(&["run"]).exits(0);
    world.is_well();
}

#[test]
fn quarantined_token_of_another_key_comes_in_with_that_key() {
    let mut world = World::new();
    let other = fernet::Fernet::generate_key();
    let (log, locked) = (world.new_log(), world.new_log());
    let (mine, theirs) = (page(&world.place.key, &[log]), page(&other, &[locked]));
    let both = format!("{},{}", mine.strip_suffix(']').unwrap(), theirs.strip_prefix('[').unwrap());
    world.origin.script(vec![Answer::Page(both), Answer::Page("[]".into())]);
    let hint = world.fails(65, &["1 token was quarantined: 1 "]);
    // The next run is well, and the token is still there.
    world.place.etl(&["run"]).exits(0);
    let check = world.check();
    assert!(check.code == 1 && check.out.contains("1 token in the quarantine: "), "{check:?}");
    let text = world.place.etl(&["status"]).out;
    assert!(!text.contains("all well") && text.contains("1 token is in the quarantine"), "{text}");
    follow(&world, &command(&check.out), 0);
    let ring = format!("{},{other}", world.place.key);
    world.place.set("FERNET_KEY", &ring);
    assert!(hint.contains("key to the ring: the next run reads them"), "{hint}");
    world.place.etl(&["run"]).exits(0);
    world.is_well();
}

#[test]
fn quarantined_token_that_is_none_is_looked_at_and_dropped() {
    let mut world = World::new();
    let log = world.new_log();
    let log = page(&world.place.key, &[log]);
    let odd = format!("{},{{\"data\":\"nonsense\"}}]", log.strip_suffix(']').unwrap());
    world.origin.script(vec![Answer::Page(odd), Answer::Page("[]".into())]);
    let hint = world.fails(65, &["1 token was quarantined: 1 malformed-token"]);
    world.place.etl(&["run"]).exits(0);
    assert_eq!(world.check().code, 1);
    let drop = commands(&hint).into_iter().find(|command| command.contains(&"drop".to_owned()));
    let drop = drop.unwrap_or_else(|| panic!("no way out in {hint:?}"));
    follow(&world, &drop, 0);
    world.is_well();
}

/// The key of the only part.
const PART: &str = "lake/data/2023_y/03_m/10_d/01_h/part-00000.ndjson.gz";

#[test]
fn deleted_object_is_put_back_from_a_copy() {
    let world = World::new();
    let (part, copy) = (world.place.path(PART), world.place.path("copy"));
    fs::create_dir(&copy).unwrap();
    fs::rename(&part, copy.join("part-00000.ndjson.gz")).unwrap();
    let found = world.place.etl(&["verify"]).exits(76);
    assert!(found.out.starts_with("missing  data/2023_y/03_m/10_d/01_h/part-00000.ndjson.gz"), "{found:?}");
    let check = world.check();
    assert!(check.code == 2 && check.out.contains("missing data/2023_y/"), "{check:?}");
    assert!(!world.place.etl(&["status"]).out.contains("all well"));
    let tried = follow(&world, &command(&check.out), 76);
    let hint = world.is_said(&tried, &["data/2023_y/03_m/10_d/01_h/part-00000.ndjson.gz is not put back"]);
    let advised: Vec<String> =
        command(&hint).into_iter().map(|word| if word == "PLACE" { "copy".into() } else { word }).collect();
    follow(&world, &advised, 0);
    world.is_well();
}

#[test]
fn deleted_object_is_put_back_from_the_archive_at_once_or_given_up() {
    let mut world = World::with("[archive]\ndir = \"kept\"\n");
    let part = world.place.path(PART);
    fs::remove_file(&part).unwrap();
    world.place.etl(&["verify"]).exits(76);
    follow(&world, &command(&world.check().out), 0);
    world.is_well();
    // Nothing has it any more.
    fs::remove_dir_all(world.place.path("kept")).unwrap();
    fs::remove_file(&part).unwrap();
    world.place.etl(&["verify"]).exits(76);
    let advised = commands(&world.check().out);
    let given_up = advised.iter().find(|command| command.contains(&"--accept-loss".to_owned())).unwrap();
    let said = follow(&world, given_up, 0);
    follow(&world, &command(&said.out), 0);
    world.hand_out_all();
    world.place.etl(&["run"]).exits(0);
    world.is_well();
    world.runs_well();
}

#[test]
fn setting_that_moves_records_is_changed_back_or_gets_a_state_and_a_prefix_of_its_own() {
    let mut world = World::new();
    world.supply();
    world.configure("timezone = \"Asia/Seoul\"\n");
    let hint = world.fails(78, &["hours.timezone has changed", "\"UTC\"", "\"Asia/Seoul\""]);
    assert!(hint.starts_with("change it back"), "{hint}");
    world.configure("");
    world.place.etl(&["run"]).exits(0);
    world.is_well();
    // The other way that the next step names: the new pipeline begins with what the source still has.
    assert!(hint.contains("another state.dir") && hint.contains("another prefix in load.to"), "{hint}");
    let before = world.place.lake("lake");
    let config = world.config("timezone = \"Asia/Seoul\"\n", "to = \"file:lake-of-seoul\"\n");
    world.place.configure(&format!("{config}[state]\ndir = \"state-of-seoul\"\n"));
    world.hand_out_all();
    let ran = world.place.etl(&["run", "--json"]).exits(0).json();
    assert_eq!(ran["new"], 2, "{ran}");
    let check = world.check();
    assert!(check.code == 0 && check.out.starts_with("OK - "), "{check:?}");
    assert_eq!(world.place.lake("lake"), before);
    assert!(world.place.lake("lake-of-seoul")[0].0.contains("10_d/10_h"), "the hour of Seoul");
    world.place.etl(&["verify", "--deep"]).exits(0);
}
