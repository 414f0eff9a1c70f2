//! A state directory and a lake that etl 0.1.0 made go on under this one, in one step that a crash may interrupt; and what a newer
//! one made is refused by name, also by those who only look.
//!
//! `fixtures/state-0.1.0.tar.gz` was made by etl 0.1.0, and `fixtures/state-format-2.tar.gz` by the version that first wrote format 2:
//! an hour whose hashes are forgotten, uploaded hours, late records, parts that wait for their store, a quarantine, a page of
//! another key, and a body that is not a page; the second also parked records and the dictionaries in its lake.
//! `fixtures/state-format-3.tar.gz` was made by the last version that wrote format 3, and has the same.

use std::process::Command;

use crate::support::cli::{Place, page};
use crate::support::origin::{Answer, Origin};
use crate::support::state_dir::in_lake;

/// A state with its lake, and the ids of all records that it had received.
#[derive(Clone, Copy)]
struct Fixture {
    archive: &'static str,
    received: &'static [u64],
}

const OF_0_1_0: Fixture = Fixture {
    archive: "state-0.1.0.tar.gz",
    received: &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 20, 21, 22, 30, 31, 40, 41, 50, 51, 60],
};
const OF_FORMAT_2: Fixture = Fixture {
    archive: "state-format-2.tar.gz",
    received: &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 20, 21, 22, 23, 30, 31, 40, 41, 50, 51, 60],
};
const OF_FORMAT_3: Fixture = Fixture {
    archive: "state-format-3.tar.gz",
    received: &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 20, 21, 22, 23, 30, 31, 40, 41, 50, 51, 60],
};
const FIXTURES: [Fixture; 3] = [OF_0_1_0, OF_FORMAT_2, OF_FORMAT_3];

struct Old {
    place: Place,
    origin: Origin,
    received: &'static [u64],
}

impl Old {
    fn unpack(fixture: Fixture) -> Self {
        let mut place = Place::in_memory("");
        let archive = format!("{}/tests/fixtures/{}", env!("CARGO_MANIFEST_DIR"), fixture.archive);
        let unpacked =
            Command::new("tar").args(["-xzpf", &archive, "--no-same-owner", "-C"]).arg(place.path("")).status();
        assert!(unpacked.unwrap().success());
        let keys = std::fs::read_to_string(place.path("keys")).unwrap();
        place.key = keys.lines().next().unwrap().to_owned();
        place.set("FERNET_KEY", &keys.trim().replace('\n', ","));
        let origin = Origin::start(vec![Answer::Page("[]".into())]);
        place.configure(&format!(
            "[source]\nurl = \"{}\"\nretries = 0\n[hours]\nlate_hold = \"0s\"\n[load]\nto = \"file:lake\"\n",
            origin.url
        ));
        Self { place, origin, received: fixture.received }
    }

    /// All that was received is in the lake once, and known.
    fn ends_well(&self, what: &str) {
        // All that is in the lake comes again, the hour whose hashes were forgotten included.
        let restored = self.place.etl(&["restore"]).exits(0).out;
        let again: Vec<String> = restored.lines().map(str::to_owned).collect();
        self.origin.script(vec![Answer::Page(page(&self.place.key, &again)), Answer::Page("[]".into())]);
        let ran = self.place.etl(&["run", "--drain"]);
        assert_eq!(ran.code, 0, "{what}: {ran:#?}");
        // A run tries parked records once an hour, a replay at once.
        self.place.etl(&["replay"]).exits(0);
        let found = in_lake(&self.place);
        let expected: std::collections::BTreeMap<u64, u32> = self.received.iter().map(|id| (*id, 1)).collect();
        assert_eq!(found, expected, "{what}");
        self.place.etl(&["verify", "--deep"]).exits(0);
    }
}

#[test]
fn state_and_lake_of_each_version_before_go_on() {
    for fixture in FIXTURES {
        let old = Old::unpack(fixture);
        let replayed = old.place.etl(&["replay"]);
        assert_eq!(replayed.code, 0, "{}: {replayed:#?}", fixture.archive);
        let head = std::fs::read_to_string(old.place.path("etl-state/ledger/head")).unwrap();
        assert!(head.contains("\"format\":4"), "versions before refuse it by its number");
        let status = old.place.status();
        assert_eq!(status["rejected"]["count"], 1, "what was set aside is still there");
        assert_eq!(status["parked"]["count"], 0, "the hour can be read again, so its records are tried at once");
        old.ends_well(fixture.archive);
    }
}

#[test]
#[cfg(feature = "failpoints")]
fn crash_at_any_step_of_the_first_run_changes_nothing_in_the_end() {
    for fixture in FIXTURES {
        let steps = steps_of(fixture);
        assert!(steps > 10, "{}: {steps} steps", fixture.archive);
        for step in 1..=steps {
            // A crash after a step leaves what one before the next leaves.
            for when in crate::support::tally::scale(&["after"][..], &["before", "after"]) {
                let old = Old::unpack(fixture);
                let mut crashed = old.place.command(&["run", "--drain"]);
                crashed.env("ETL_CRASH", format!("{when}:{step}"));
                crashed.output().unwrap();
                old.ends_well(&format!("{}: a crash {when} step {step}", fixture.archive));
            }
        }
    }
}

/// How many durable steps the first run over a fixture has.
#[cfg(feature = "failpoints")]
fn steps_of(fixture: Fixture) -> usize {
    let old = Old::unpack(fixture);
    let mut counted = old.place.command(&["run", "--drain"]);
    counted.env("ETL_STEPS", old.place.path("steps"));
    counted.output().unwrap();
    std::fs::read_to_string(old.place.path("steps")).unwrap().lines().count()
}

#[test]
fn state_of_a_newer_version_is_refused_by_name_and_never_called_well() {
    let old = Old::unpack(OF_FORMAT_2);
    old.place.etl(&["replay"]).exits(0);
    let format = old.place.path("etl-state/format");
    let text = std::fs::read_to_string(&format).unwrap();
    let body = text.split_once('\n').unwrap().1.replacen("\"format\":4", "\"format\":5", 1);
    std::fs::write(&format, etl::state::files::checked::with_checksum(body.as_bytes())).unwrap();
    for args in [&["run"][..], &["replay"], &["status"]] {
        let refused = old.place.etl(args).exits(74);
        assert!(refused.err.contains("has format 5, newer than this etl"), "{refused:?}");
    }
    let check = old.place.etl(&["status", "--check"]);
    assert!(check.code != 0 && check.out.contains("format 5") && !check.out.contains("OK"), "{check:?}");
}

#[test]
fn status_of_another_shape_is_not_believed() {
    let old = Old::unpack(OF_FORMAT_2);
    old.place.etl(&["replay"]).exits(0);
    let path = old.place.path("etl-state/status.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("\"schema\":1", "\"schema\":2", 1)).unwrap();
    let refused = old.place.etl(&["status"]).exits(74);
    assert!(refused.err.contains("schema is 2"), "{refused:?}");
    let check = old.place.etl(&["status", "--check"]);
    assert!(check.code != 0 && !check.out.contains("OK"), "{check:?}");
    old.place.etl(&["replay"]).exits(0);
    old.place.etl(&["status"]).exits(0);
}
