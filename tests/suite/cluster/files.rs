//! Files of several machines go straight to the lanes, and each record of theirs into one part.

use std::time::Duration;

use super::team::{SESSION, Team, kill, plaintext, wait};
use crate::support::cli::Ran;
use crate::support::kafka::shared;
use crate::support::tally;

/// Files of machine `machine`, of a hundred records each, of which the half is in the next as well.
fn files(team: &Team, machine: usize, first: u64, count: u64) {
    for n in 0..count {
        let from = first + n * 50;
        let records: Vec<String> = (from..from + 100).map(plaintext).collect();
        team.places[machine].page(&format!("pages/{from:05}.json"), &records);
    }
}

fn team(name: &str, machines: usize) -> Option<Team> {
    let mut team = Team::not_begun(shared()?, name, machines)?;
    team.source = "url = \"file:pages/*.json\"\n".to_owned();
    team.join(3);
    team.etl(0, &["cluster", "init"]).exits(0);
    Some(team)
}

#[test]
fn files_of_each_machine_go_past_the_topic_of_pages() {
    let Some(team) = team("files", 2) else { return };
    files(&team, 0, 0, 5);
    files(&team, 1, 200, 5);
    let ran = team.etl(0, &["run", "--json"]).exits(0).json();
    assert_eq!((ran["pages"].as_u64(), ran["new"].as_u64()), (Some(5), Some(300)), "{ran}");
    let status = team.etl(0, &["cluster", "status", "--json"]).exits(0).json();
    assert_eq!((&status["pages"]["kept"], &status["pages"]["unrouted"]), (&0.into(), &0.into()), "{status}");
    // All of an hour is sealed at once; nothing waits.
    team.compare(1, 300);
    team.run(1);
    team.compare(0, 500);
    // A file that is no page, and one that no key opens, cost only themselves.
    files(&team, 0, 500, 1);
    std::fs::write(team.places[0].path("pages/no.json"), "<html>").unwrap();
    let odd: Ran = team.etl(0, &["run"]).exits(75);
    assert!(odd.err.contains("no.json"), "{odd:#?}");
    team.compare(1, 600);
    team.places[1].page("pages/locked.json", &[]);
    let other = fernet::Fernet::generate_key();
    let locked = crate::support::cli::page(&other, &[plaintext(1)]);
    std::fs::write(team.places[1].path("pages/locked.json"), locked).unwrap();
    let refused: Ran = team.etl(1, &["run"]).exits(77);
    assert!(refused.err.contains("locked.json"), "{refused:#?}");
    team.compare(1, 600);
}

#[test]
fn machines_killed_over_their_files_put_each_record_into_one_part() {
    let seed = tally::seed("machines of a cluster killed over files", 31);
    let Some(team) = team("killed", 2) else { return };
    files(&team, 0, 0, 20);
    files(&team, 1, 500, 20);
    for n in 0..12_u64 {
        let machine = usize::try_from(n % 2).unwrap();
        let child = team.spawn(machine, &["run"], &[]);
        let digest = blake3::hash(&[seed.to_le_bytes(), n.to_le_bytes()].concat());
        std::thread::sleep(Duration::from_millis(150 + 8 * u64::from(digest.as_bytes()[0])));
        kill(child);
        if digest.as_bytes()[1].is_multiple_of(3) {
            std::thread::sleep(SESSION);
        }
    }
    #[cfg(feature = "failpoints")]
    for (machine, moment) in [(0, "a lane has its records"), (1, "files are routed")] {
        std::thread::sleep(SESSION);
        team.crash(machine, ("ETL_CRASH_AT", moment));
    }
    std::thread::sleep(SESSION);
    // At once, so that lanes move while files are routed.
    let both = [0, 1].map(|machine| team.spawn(machine, &["run"], &[]));
    for child in both {
        Ran::from(wait(child)).exits(0);
    }
    team.check(0, 1550);
}
