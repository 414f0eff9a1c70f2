//! Each death of the table in the manual, once, at a moment that is known: what it leaves is nothing lost and nothing twice.

use std::time::{Duration, Instant};

use etl::cluster::kafka::{Next, Producer, Reader, Start};

use super::connection;
use super::team::{SESSION, Team, freeze, kill, plaintext_of_now, signal, until, wait};
use crate::support::cli::Ran;
use crate::support::kafka::{Kafka, kafka, shared};
use crate::support::proxy::Fault;
use crate::support::tally;

/// Lets the session of what died end.
fn wait_for_the_dead() {
    std::thread::sleep(SESSION + Duration::from_secs(1));
}

/// Where a machine dies on a page's way: a name for the variable, and the moment.
#[cfg(feature = "failpoints")]
const MOMENTS: [(&str, &str); 14] = [
    ("ETL_CRASH", "after:PageJournaled"),
    ("ETL_CRASH_AT", "a chunk is sent"),
    ("ETL_CRASH_AT", "pages are acknowledged"),
    ("ETL_CRASH_AT", "a lane has its records"),
    ("ETL_CRASH_AT", "a batch is routed"),
    ("ETL_CRASH", "before:SegmentCommitted"),
    ("ETL_CRASH", "after:SegmentCommitted"),
    ("ETL_CRASH", "after:PartSpooled"),
    ("ETL_CRASH", "before:HoursFrozen"),
    ("ETL_CRASH", "after:HoursFrozen"),
    ("ETL_CRASH", "before:PartPut"),
    ("ETL_CRASH", "after:PartPut"),
    ("ETL_CRASH", "after:PartsReceipted"),
    ("ETL_CRASH", "after:RecordsPruned"),
];

/// A machine dies at each moment; `heir` says which of three goes on.
#[cfg(feature = "failpoints")]
fn die_at_each_moment(name: &str, heir: impl Fn(usize) -> usize) {
    let Some(team) = shared().and_then(|kafka| Team::new(kafka, name, 3, 3)) else { return };
    let mut next = 0;
    for (n, moment) in MOMENTS.into_iter().enumerate() {
        let dies = n % 3;
        // A page of several chunks. What ends a page begins the next.
        let count = if moment.1 == "a chunk is sent" { 1400 } else { 150 };
        team.show(u64::saturating_sub(next, 75)..next + count);
        team.crash(dies, moment);
        tally::add("deaths", "machines crashed at a step", 1);
        if heir(dies) != dies {
            wait_for_the_dead();
        }
        team.run(heir(dies));
        next += count;
    }
    // What is only on the disks of the dead comes from there.
    wait_for_the_dead();
    (0..3).for_each(|machine| team.run(machine));
    team.check(0, next);
}

#[cfg(feature = "failpoints")]
#[test]
fn machine_that_crashes_at_any_step_of_a_page_goes_on() {
    die_at_each_moment("again", |dies| dies);
}

#[cfg(feature = "failpoints")]
#[test]
fn machine_that_crashes_at_any_step_of_a_page_leaves_all_to_another() {
    die_at_each_moment("heir", |dies| (dies + 1) % 3);
}

#[test]
fn part_on_its_way_when_its_lane_moved_is_in_the_store_once() {
    let Some(kafka) = shared() else { return };
    let Some(team) = Team::new(kafka, "flight", 2, 2) else { return };
    let mut held = 0;
    // The store hears of it after the next owner's part; before it; and the sender is dead by then.
    for (round, (is_late, is_dead)) in
        [(true, false), (false, false), (true, true), (false, true)].into_iter().enumerate()
    {
        let ids = round as u64 * 100..round as u64 * 100 + 150;
        team.show(ids);
        team.proxy.hold("PUT ", "/part-");
        held += 1;
        let zombie = team.spawn(0, &["run"], &[]);
        team.wait_held(held);
        freeze(&zombie);
        if !is_late {
            team.proxy.let_go();
        }
        team.run(1);
        team.proxy.let_go();
        tally::add("deaths", "parts on their way when their lane moved", 1);
        if is_dead {
            kill(zombie);
        } else {
            signal(&zombie, "-CONT");
            let ended: Ran = wait(zombie).into();
            assert!([0, 75].contains(&ended.code), "{ended:#?}");
        }
        wait_for_the_dead();
    }
    team.run(0);
    team.check(1, 450);
}

#[test]
fn part_that_the_store_took_without_an_answer_is_known_to_the_next_owner() {
    let Some(kafka) = shared() else { return };
    let Some(team) = Team::new(kafka, "unanswered", 2, 2) else { return };
    team.show(0..300);
    team.proxy.at_keys("PUT ", &["/part-"], Fault::HungAfter);
    let dies = team.spawn(0, &["run"], &[]);
    until("the store has a part", || !team.parts().is_empty());
    kill(dies);
    team.proxy.at_keys("PUT ", &[], Fault::HungAfter);
    wait_for_the_dead();
    team.run(1);
    team.check(1, 300);
}

#[cfg(feature = "failpoints")]
#[test]
fn machine_that_crashes_between_another_number_and_its_put_goes_on() {
    let Some(kafka) = shared() else { return };
    let Some(team) = Team::new(kafka, "number", 2, 2) else { return };
    let at = [("ETL_CRASH", "after:PartsRenumbered")];
    let machines = [0, 1].map(|machine| team.spawn(machine, &["run", "--every", "500ms"], &at));
    until("each has a lane", || team.owners(0).into_values().eq([1, 1]));
    team.proxy.hold("PUT ", "/part-00000");
    team.show(0..200);
    team.wait_held(1);
    until("the other lane has the number", || !team.parts().is_empty());
    team.proxy.let_go();
    let mut machines = machines.map(Some);
    let mut dead = None;
    until("who finds its number taken dies", || {
        dead = machines.iter_mut().flatten().position(|machine| machine.try_wait().unwrap().is_some());
        dead.is_some()
    });
    tally::add("deaths", "machines crashed at a step", 1);
    let dead = dead.unwrap();
    let other = machines[1 - dead].take().unwrap();
    signal(&other, "-TERM");
    drop(wait(other));
    team.run(dead);
    team.check(1, 200);
    assert!(team.parts().iter().any(|key| key.contains("/part-00001")), "{:?}", team.parts());
}

#[test]
fn wiped_lanes_lost_offsets_and_pages_that_come_twice_change_nothing() {
    let Some(kafka) = shared() else { return };
    let Some(team) = Team::new(kafka, "lost", 2, 3) else { return };
    let now = |ids: std::ops::Range<u64>| ids.map(plaintext_of_now).collect::<Vec<_>>();
    team.show(0..200);
    team.run(0);
    // These wait for their hour to close.
    team.show_all(&now(200..260));
    team.run(0);
    std::fs::remove_dir_all(team.places[0].path("etl-state/lanes")).unwrap();
    tally::add("deaths", "disks of lanes wiped", 1);
    team.run(0);
    if kafka.is_own() {
        for group in ["route-1", "own-1"] {
            let group = format!("{}-{group}", team.name);
            until("nobody is in the group", || team.owners(0).is_empty());
            kafka.tool("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", &["--delete", "--group", &group]);
            tally::add("deaths", "offsets of groups lost", 1);
        }
    }
    team.run(1);
    // Those of the hour that is open; the first has gone by now.
    assert!(forward_all_again(kafka, &team) > 0);
    tally::add("deaths", "topics of pages sent twice", 1);
    team.run(0);
    team.check(1, 260);
}

/// Sends each message of the topic of pages once more.
fn forward_all_again(kafka: &Kafka, team: &Team) -> usize {
    let connection = connection(&kafka.cluster(&team.name, 3));
    let (topic, producer) = (format!("{}.pages", team.name), Producer::new(&connection).unwrap());
    let mut sent = 0;
    for partition in 0..3 {
        let mut reader = Reader::new(&connection).unwrap();
        let mut messages = Vec::new();
        if let Start::Deleted { low, .. } = reader.start(&topic, partition, 0).unwrap() {
            reader.start(&topic, partition, low).unwrap();
        }
        loop {
            match reader.next(Duration::from_secs(1)).unwrap() {
                Next::Message(message) => {
                    let names = ["page", "chunk", "received", "source", "blake3"];
                    let headers = names.map(|name| (name, message.header(name).unwrap().to_vec()));
                    messages.push((message.key().to_vec(), headers, message.payload().unwrap().to_vec()));
                }
                Next::Ended | Next::Deleted(_) => break,
                Next::Nothing => {}
            }
        }
        for (key, headers, payload) in &messages {
            let headers: Vec<(&str, &[u8])> = headers.iter().map(|(name, value)| (*name, value.as_slice())).collect();
            producer.send(&topic, Some(partition), key, &headers, payload).unwrap();
            sent += 1;
        }
    }
    producer.settle(Duration::from_secs(30)).unwrap();
    sent
}

/// Runs until a run meets no broker that is dying.
fn run_well(team: &Team, machine: usize) {
    until("a run ends well", || {
        let ran = team.etl(machine, &["run"]);
        assert!([0, 75].contains(&ran.code), "{ran:#?}");
        ran.code == 0
    });
}

#[test]
fn brokers_that_die_hang_and_come_back_lose_nothing() {
    let Some(kafka) = kafka(3, super::storm::SETTINGS) else { return };
    let Some(team) = Team::new(&kafka, "brokers", 2, 3) else { return };
    team.show(0..100);
    team.run(0);
    kafka.kill(0);
    tally::add("deaths", "brokers killed at a known moment", 1);
    team.show(50..200);
    run_well(&team, 1);
    kafka.restart(0);
    // A broker that says nothing for a while.
    let slow = team.spawn(0, &["run"], &[]);
    team.show(150..300);
    kafka.pause(1);
    std::thread::sleep(Duration::from_secs(4));
    kafka.resume(1);
    tally::add("deaths", "brokers stopped for a while", 1);
    let ended: Ran = wait(slow).into();
    assert!([0, 75].contains(&ended.code), "{ended:#?}");
    run_well(&team, 0);
    // Two of three: nothing is acknowledged any more. Then all.
    team.show(250..400);
    for (first, last) in [(0, 1), (2, 2)] {
        (first..=last).for_each(|broker| kafka.kill(broker));
        tally::add("deaths", "brokers killed at a known moment", 1 + (last - first) as u64);
        let began = Instant::now();
        let ended = team.etl(0, &["run", "--json"]).exits(75);
        assert!(began.elapsed() < Duration::from_secs(110), "{ended:#?}");
    }
    // What came meanwhile is on a disk, and the source has forgotten it.
    let pages = std::fs::read_dir(team.places[0].path("etl-state/fetch/journal")).unwrap().count();
    assert!(pages > 0, "pages wait");
    team.show_all(&[]);
    (0..3).for_each(|broker| kafka.begin(broker));
    (0..3).for_each(|broker| kafka.wait(broker));
    run_well(&team, 0);
    team.check(1, 400);
}

#[test]
fn machine_that_is_cut_off_from_the_brokers_does_no_harm() {
    let Some(kafka) = shared().filter(|kafka| kafka.is_own()) else { return };
    let Some(team) = Team::new(kafka, "cut", 2, 2) else { return };
    let gates = kafka.gates();
    team.join_by(0, 2, Some(&kafka.gated()));
    for round in 0..2 {
        team.show(round * 100..round * 100 + 150);
        team.proxy.hold("PUT ", "/part-");
        let alone = team.spawn(0, &["run", "--every", "500ms"], &[]);
        team.wait_held(round + 1);
        gates.shut();
        wait_for_the_dead();
        // The other one takes over what this one still works on.
        team.run(1);
        team.proxy.let_go();
        std::thread::sleep(Duration::from_secs(2));
        gates.reopen();
        tally::add("deaths", "machines cut off from the brokers", 1);
        std::thread::sleep(Duration::from_secs(3));
        signal(&alone, "-TERM");
        let ended: Ran = wait(alone).into();
        assert!([0, 75, 143].contains(&ended.code), "{ended:#?}");
    }
    team.join(2);
    team.run(0);
    team.check(1, 250);
}
