//! One machine becomes three and one again over the same store; lanes change their number; and lanes that are lost are routed again.

#[cfg(feature = "failpoints")]
use std::os::unix::process::ExitStatusExt as _;
use std::process::Child;
use std::time::Duration;

use etl::cluster::kafka::Admin;

use super::team::{SESSION, Team, freeze, plaintext_of_now, signal, until, wait};
use crate::support::cli::Ran;
use crate::support::kafka::{kafka, shared};
use crate::support::{s3, tally, unique_prefix};

#[track_caller]
fn says(ran: &Ran, words: &[&str]) {
    words.iter().for_each(|word| assert!(ran.err.contains(word) || ran.out.contains(word), "{word}: {ran:#?}"));
}

#[test]
fn one_machine_becomes_three_and_one_again_over_the_same_store() {
    let Some(kafka) = shared() else { return };
    let Some(team) = Team::not_begun(kafka, "moves", 3) else { return };
    // Alone: half of what is shown comes twice.
    (0..3).for_each(|machine| team.part(machine));
    for first in [0, 100, 200] {
        team.show(first..first + 200);
        team.run(0);
    }
    team.etl(0, &["run", "--drain"]).exits(0);
    team.compare(0, 400);
    // Three machines.
    team.join(3);
    team.etl(0, &["cluster", "init"]).exits(0);
    for (machine, first) in [(0, 300), (1, 350), (2, 500)] {
        team.show(first..first + 200);
        team.run(machine);
    }
    team.check(2, 700);
    // Some of it is late by now, and comes again.
    team.show(0..800);
    team.run(1);
    team.check(0, 800);
    // Alone again, on the machine of the beginning and on one that was never alone.
    (0..3).for_each(|machine| team.part(machine));
    for (machine, first) in [(0, 600), (0, 800), (1, 850)] {
        team.show(first..first + 200);
        team.run(machine);
    }
    team.show(0..1100);
    for machine in [0, 1] {
        team.etl(machine, &["run", "--drain"]).exits(0);
    }
    team.compare(0, 1100);
    tally::add("deaths", "moves between one machine and several", 2);
}

#[test]
fn number_of_lanes_changes_between_drained_epochs_and_is_refused_at_any_other_time() {
    let Some(kafka) = shared() else { return };
    let Some(team) = Team::new(kafka, "epochs", 2, 2) else { return };
    team.show(0..200);
    team.run(0);
    let at_work = team.spawn(1, &["run", "--every", "500ms"], &[]);
    until("a machine is a member", || !team.owners(0).is_empty());
    says(&team.etl(0, &["cluster", "lanes", "5"]).exits(11), &["machines are in the group", "stop the service"]);
    // Records of an hour that is open.
    team.show_all(&(200..240).map(plaintext_of_now).collect::<Vec<_>>());
    until("they are read from lanes, and wait there", || {
        let status = team.etl(0, &["cluster", "status", "--json"]).json();
        status["lanes"].as_array().unwrap().iter().map(|lane| lane["pending"].as_u64().unwrap()).sum::<u64>() == 40
    });
    signal(&at_work, "-TERM");
    drop(wait(at_work));
    std::thread::sleep(SESSION);
    says(&team.etl(0, &["cluster", "lanes", "5"]).exits(76), &["still needs its messages", "etl run --drain"]);
    team.check(0, 240);
    says(&team.etl(0, &["cluster", "lanes", "5"]).exits(0), &["5 lanes", "lanes-2"]);
    says(&team.etl(0, &["run"]).exits(78), &["set cluster.lanes = 5"]);
    team.join(5);
    for (machine, first) in [(0, 240), (1, 300)] {
        team.show(first..first + 150);
        team.run(machine);
    }
    // All of it once more: each record is in another lane by now.
    team.show(0..200);
    team.run(0);
    team.check(1, 450);
    tally::add("deaths", "changes of the number of lanes", 1);
}

#[test]
fn machine_that_slept_through_a_change_of_lanes_takes_nothing_with_it() {
    let Some(kafka) = shared() else { return };
    let Some(team) = Team::new(kafka, "asleep", 2, 2) else { return };
    let admin = Admin::new(&super::connection(&kafka.cluster(&team.name, 2))).unwrap();
    let pages = || admin.ends(&format!("{}.pages", team.name)).unwrap().values().map(|(_, end)| end).sum::<i64>();
    let sleeper = Service(team.spawn(0, &["run", "--every", "300ms"], &[]));
    team.show(0..100);
    until("it works", || team.etl(1, &["restore"]).out.lines().count() == 100);
    team.show_all(&[]);
    freeze(&sleeper.0);
    team.etl(1, &["run", "--drain"]).exits(0);
    team.etl(1, &["cluster", "lanes", "3"]).exits(0);
    // It goes on where it was, and is the only one that ever sees these: of an hour that is open, so that they would stay in its lanes.
    let before = pages();
    team.show_all(&(100..150).map(plaintext_of_now).collect::<Vec<_>>());
    signal(&sleeper.0, "-CONT");
    until("it has asked the source", || pages() > before);
    std::thread::sleep(SESSION);
    team.show_all(&[]);
    std::thread::sleep(Duration::from_secs(1));
    drop(sleeper);
    says(&team.etl(0, &["run"]).exits(78), &["set cluster.lanes = 3"]);
    team.join(3);
    team.check(1, 150);
    tally::add("deaths", "machines that slept through a change of lanes", 1);
}

#[cfg(feature = "failpoints")]
#[test]
fn change_of_lanes_that_was_interrupted_is_ended_by_the_next_one() {
    let Some(kafka) = shared() else { return };
    let Some(team) = Team::new(kafka, "interrupted", 1, 2) else { return };
    team.show(0..100);
    team.run(0);
    team.check(0, 100);
    let interrupt = || {
        let ended = wait(team.spawn(0, &["cluster", "lanes", "3"], &[("ETL_CRASH_AT", "lanes are being left")]));
        assert_eq!(ended.status.signal(), Some(6), "{:#?}", Ran::from(ended));
        for args in [&["run"][..], &["cluster", "check"]] {
            says(&team.etl(0, args).exits(75), &["is being changed", "run it again"]);
        }
    };
    interrupt();
    // With the number of now everything stays as it was.
    says(&team.etl(0, &["cluster", "lanes", "2"]).exits(0), &["2 lanes", "lanes-1"]);
    team.show(0..200);
    team.run(0);
    team.check(0, 200);
    interrupt();
    says(&team.etl(0, &["cluster", "lanes", "3"]).exits(0), &["3 lanes", "lanes-2"]);
    team.join(3);
    team.show(0..300);
    team.run(0);
    team.check(0, 300);
    tally::add("deaths", "changes of lanes that were interrupted", 2);
}

#[test]
fn lanes_that_the_brokers_lost_are_never_known_and_are_routed_again() {
    // Pages must still be there: nothing is deleted within a minute of a machine's start.
    let Some(kafka) = shared().filter(|kafka| kafka.is_own()) else { return };
    let Some(team) = Team::new(kafka, "rerouted", 2, 2) else { return };
    team.show(0..200);
    team.run(0);
    team.show_all(&(200..300).map(plaintext_of_now).collect::<Vec<_>>());
    team.run(0);
    let topic = format!("{}.lanes-1", team.name);
    kafka.tool("org.apache.kafka.tools.TopicCommand", &["--delete", "--topic", &topic]);
    says(&team.etl(0, &["run"]).exits(78), &["is not there"]);
    team.show_all(&[]);
    until("the topic is gone", || team.etl(0, &["cluster", "init"]).code == 0);
    // By its owner of before, and by one that has never seen the lane.
    for machine in [0, 1] {
        says(&team.etl(machine, &["run"]).exits(74), &["have lost what they acknowledged", "--reroute"]);
        std::thread::sleep(SESSION);
    }
    says(&team.etl(0, &["cluster", "lanes", "3"]).exits(74), &["--reroute"]);
    team.etl(0, &["cluster", "lanes", "3", "--reroute"]).exits(0);
    team.join(3);
    team.run(1);
    team.check(0, 300);
    tally::add("deaths", "topics of lanes lost", 1);
}

#[test]
fn pages_are_deleted_once_all_of_them_is_in_the_store_though_each_run_is_a_process_of_its_own() {
    let Some(kafka) = shared() else { return };
    let Some(team) = Team::new(kafka, "deleted", 1, 2) else { return };
    let admin = Admin::new(&super::connection(&kafka.cluster(&team.name, 2))).unwrap();
    let left =
        || admin.ends(&format!("{}.pages", team.name)).unwrap().values().map(|(low, end)| end - low).sum::<i64>();
    team.show(0..100);
    team.run(0);
    assert!(left() > 0, "a checkpoint is begun");
    team.run(0);
    // What the second run brought came after the checkpoint.
    assert_eq!(left(), 1, "the first page is gone");
    // Records of an hour that is open have no receipt.
    team.show_all(&(100..150).map(plaintext_of_now).collect::<Vec<_>>());
    (0..3).for_each(|_| team.run(0));
    assert!(left() >= 3, "pages go before their records are in the store");
    team.check(0, 150);
}

/// A service that ends with the test, however that ends.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

#[test]
fn lanes_of_a_service_are_read_each_from_its_own_place_tick_after_tick() {
    let Some(kafka) = shared() else { return };
    let Some(team) = Team::new(kafka, "ticks", 1, 2) else { return };
    let service = Service(team.spawn(0, &["run", "--every", "300ms"], &[]));
    // A page brings each lane one message, so that both are always at the same number.
    for page in 1..=4 {
        team.show((page - 1) * 100..page * 100);
        // Where there is nothing yet, that is an error.
        let stored = || team.etl(0, &["restore"]).out.lines().count();
        until("the page's records are in the store", || stored() as u64 == page * 100);
    }
    drop(service);
    team.check(0, 400);
}

#[test]
fn second_cluster_of_the_name_or_with_another_place_or_source_does_nothing() {
    let Some(kafka) = shared() else { return };
    let Some(mut team) = Team::new(kafka, "second", 1, 2) else { return };
    let (prefix, source, name) = (team.prefix.clone(), team.source.clone(), team.name.clone());
    team.prefix = unique_prefix("elsewhere");
    team.join(2);
    says(&team.etl(0, &["run"]).exits(78), &["load.to differs", "another cluster.name"]);
    team.prefix = prefix;
    team.source = "url = \"http://127.0.0.1:9/other\"\nretries = 0\n".to_owned();
    team.join(2);
    says(&team.etl(0, &["run"]).exits(78), &["source.url is", "a cluster has one source"]);
    team.source = source;
    // Other brokers, with the same name and the same place.
    let Some(others) = kafka_of_others() else { return };
    let text = std::fs::read_to_string(team.places[0].path("etl.toml")).unwrap();
    team.places[0].configure(&text.replace(&kafka.bootstrap, &others.bootstrap));
    for args in [&["cluster", "init"][..], &["run"]] {
        let refused = team.etl(0, args).exits(78);
        says(&refused, &[if args.len() > 1 { "belongs to another cluster of the name" } else { "etl cluster init" }]);
    }
    assert!(s3().unwrap().keys(&team.prefix).iter().all(|key| !key.contains("/part-")), "{name}");
}

fn kafka_of_others() -> Option<crate::support::kafka::Kafka> {
    shared().filter(|kafka| kafka.is_own()).and_then(|_| kafka(1, ""))
}
