//! The client of Kafka does what the room relies on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use etl::cluster::kafka::{Admin, Connection, Member, Next, Producer, Reader, Start, TopicSpec};
use etl::error::ErrorKind;
use etl::stop::Stop;

use super::{connected, connection};
use crate::support::kafka::{Kafka, kafka, shared, unique_name};

const SECOND: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(30);

/// A topic of its own with this many partitions.
fn topic(admin: &Admin, name: &str, partitions: u32) -> String {
    let name = format!("{name}.pages");
    let spec = TopicSpec { name: name.clone(), partitions, replication: 1, settings: vec![("retention.ms", "-1")] };
    assert!(admin.create(&spec).unwrap() && !admin.create(&spec).unwrap());
    name
}

fn begun(kafka: &Kafka, name: &str, partitions: u32) -> (Connection, Admin, String) {
    let connection = connected(kafka, &unique_name(name));
    let admin = Admin::new(&connection).unwrap();
    let topic = topic(&admin, connection.name(), partitions);
    (connection, admin, topic)
}

fn send(producer: &Producer, topic: &str, partition: i32, payloads: std::ops::Range<u64>) {
    for n in payloads {
        producer.send(topic, Some(partition), b"k", &[("page", b"0:7")], n.to_string().as_bytes()).unwrap();
    }
    producer.settle(2 * LONG).unwrap();
}

/// All payloads from `offset` to the end.
fn read(reader: &mut Reader, topic: &str, partition: i32, offset: i64) -> Vec<String> {
    assert!(matches!(reader.start(topic, partition, offset).unwrap(), Start::At { .. }));
    let mut payloads = Vec::new();
    let began = Instant::now();
    loop {
        match reader.next(SECOND).unwrap() {
            Next::Message(message) => {
                assert_eq!(
                    (message.key(), message.header("page"), message.header("x")),
                    (&b"k"[..], Some(&b"0:7"[..]), None)
                );
                assert!(message.timestamp() > 1_600_000_000_000);
                payloads.push(String::from_utf8(message.payload().unwrap().to_vec()).unwrap());
            }
            Next::Ended => return payloads,
            Next::Nothing => assert!(began.elapsed() < LONG),
            Next::Deleted(low) => panic!("deleted below {low}"),
        }
    }
}

fn texts(range: std::ops::Range<u64>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

#[test]
fn what_is_settled_is_read_in_order_to_the_end_that_there_was() {
    let Some(kafka) = shared() else { return };
    let (connection, admin, topic) = begun(kafka, "order", 2);
    let producer = Producer::new(&connection).unwrap();
    send(&producer, &topic, 1, 0..3000);
    assert_eq!(admin.ends(&topic).unwrap(), BTreeMap::from([(0, (0, 0)), (1, (0, 3000))]));
    let mut reader = Reader::new(&connection).unwrap();
    assert_eq!(read(&mut reader, &topic, 1, 0), texts(0..3000));
    assert_eq!(read(&mut reader, &topic, 1, 2998), texts(2998..3000));
    assert_eq!(read(&mut reader, &topic, 1, 3000), texts(0..0));
    assert_eq!(read(&mut reader, &topic, 0, 0), texts(0..0));
    // What comes after the start is not waited for.
    assert_eq!(reader.start(&topic, 1, 2999).unwrap(), Start::At { end: 3000 });
    send(&producer, &topic, 1, 3000..3010);
    let mut count = 0;
    while !matches!(reader.next(SECOND).unwrap(), Next::Ended) {
        count += 1;
        assert!(count < 100);
    }
    assert_eq!(reader.position(), Some(3000));
    assert_eq!(reader.start(&topic, 1, 4000).unwrap(), Start::Beyond { end: 3010 });
}

#[test]
fn what_is_deleted_below_is_said() {
    let Some(kafka) = shared() else { return };
    let (connection, admin, topic) = begun(kafka, "deleted", 1);
    send(&Producer::new(&connection).unwrap(), &topic, 0, 0..10);
    let mut reader = Reader::new(&connection).unwrap();
    assert_eq!(reader.start(&topic, 0, 0).unwrap(), Start::At { end: 10 });
    admin.delete_records(&topic, &BTreeMap::from([(0, 6)])).unwrap();
    assert_eq!(admin.ends(&topic).unwrap()[&0], (6, 10));
    assert_eq!(reader.start(&topic, 0, 5).unwrap(), Start::Deleted { low: 6, end: 10 });
    assert_eq!(read(&mut reader, &topic, 0, 6), texts(6..10));
}

#[test]
fn offsets_of_messages_are_where_the_partitions_ended() {
    let Some(kafka) = shared() else { return };
    let (connection, admin, topic) = begun(kafka, "offsets", 3);
    let producer = Producer::new(&connection).unwrap();
    send(&producer, &topic, 2, 0..7);
    // Sent, and not settled: it is before them.
    producer.send(&topic, Some(1), b"k", &[], b"x").unwrap();
    let offsets = |partitions| producer.offsets_of(&topic, partitions, b"k", &[], None).unwrap();
    assert_eq!(offsets(0..3), BTreeMap::from([(0, 0), (1, 1), (2, 7)]));
    assert_eq!(offsets(2..3), BTreeMap::from([(2, 8)]));
    assert_eq!(admin.ends(&topic).unwrap()[&2], (0, 9));
    let error = producer.offsets_of(&topic, 3..4, b"k", &[], None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
}

#[test]
fn message_to_a_topic_that_is_not_there_is_not_stored_and_says_what_to_do() {
    let Some(kafka) = shared() else { return };
    let connection = connected(kafka, &unique_name("none"));
    let producer = Producer::new(&connection).unwrap();
    let sent = producer.send("no-such-topic", Some(0), b"", &[], b"x");
    let error = sent.and_then(|()| producer.settle(LONG)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
    assert!(error.next_step().unwrap().contains("etl cluster init"), "{error:?}");
}

#[test]
fn members_share_partitions_and_commit_only_their_own() {
    let Some(kafka) = shared() else { return };
    let (connection, admin, topic) = begun(kafka, "members", 4);
    send(&Producer::new(&connection).unwrap(), &topic, 0, 0..5);
    let (group, stop) = (format!("{}-route", connection.name()), Stop::new());
    let first = Member::join(&connection, &group, &topic, "route").unwrap();
    assert!(first.wait_for_assignment(LONG, &stop).unwrap());
    assert_eq!(first.owned(), BTreeSet::from([0, 1, 2, 3]));
    assert_eq!(first.committed(0).unwrap(), None);
    first.commit(0, 3).unwrap();
    assert_eq!(first.committed(0).unwrap(), Some(3));
    let other = connection_of(kafka, connection.name(), "other");
    let second = Member::join(&other, &group, &topic, "route").unwrap();
    assert!(second.wait_for_assignment(LONG, &stop).unwrap());
    wait_until(|| second.owned().len() == 2 && first.owned().len() == 2);
    assert!(first.owned().is_disjoint(&second.owned()));
    let (mine, theirs) = (*first.owned().first().unwrap(), *second.owned().first().unwrap());
    first.commit(mine, 1).unwrap();
    assert!(first.commit(theirs, 1).unwrap_err().to_string().contains("another member's"));
    let members = admin.members(&group).unwrap();
    assert_eq!(members.iter().map(|member| member.partitions[&topic].len()).collect::<Vec<_>>(), [2, 2]);
    assert!(members.iter().any(|member| member.client.ends_with("-other")), "{members:?}");
    let began = Instant::now();
    second.leave();
    wait_until(|| first.owned().len() == 4);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let busy = admin.commit_outside(&group, &topic, &BTreeMap::from([(1, 2)])).unwrap_err();
    assert_eq!(busy.kind(), ErrorKind::Busy, "{busy:?}");
    first.leave();
    wait_until(|| admin.members(&group).unwrap().is_empty());
    admin.commit_outside(&group, &topic, &BTreeMap::from([(3, 2)])).unwrap();
    assert_eq!(admin.committed(&group, &topic).unwrap()[&3], 2);
}

#[test]
fn member_without_a_partition_hears_so() {
    let Some(kafka) = shared() else { return };
    let (connection, _, topic) = begun(kafka, "spare", 1);
    let (group, stop) = (format!("{}-route", connection.name()), Stop::new());
    let first = Member::join(&connection, &group, &topic, "route").unwrap();
    assert!(first.wait_for_assignment(LONG, &stop).unwrap());
    let second = Member::join(&connection_of(kafka, connection.name(), "b"), &group, &topic, "route").unwrap();
    assert!(second.wait_for_assignment(LONG, &stop).unwrap());
    wait_until(|| first.owned().len() + second.owned().len() == 1);
}

#[test]
fn same_instance_again_finds_what_it_had_and_the_older_one_is_told() {
    let Some(kafka) = shared() else { return };
    let (connection, _, topic) = begun(kafka, "static", 3);
    let (group, stop) = (format!("{}-route", connection.name()), Stop::new());
    let first = Member::join(&connection, &group, &topic, "route").unwrap();
    assert!(first.wait_for_assignment(LONG, &stop).unwrap());
    // Without leaving: as one that is killed, or ends its run.
    drop(first);
    let began = Instant::now();
    let second = Member::join(&connection, &group, &topic, "route").unwrap();
    assert!(second.wait_for_assignment(LONG, &stop).unwrap());
    assert_eq!(second.owned().len(), 3);
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    let third = Member::join(&connection, &group, &topic, "route").unwrap();
    assert!(third.wait_for_assignment(LONG, &stop).unwrap());
    wait_until(|| second.failure().is_some());
    let error = second.failure().unwrap();
    assert!(
        error.kind() == ErrorKind::Unavailable && error.next_step().unwrap().contains("cluster.instance"),
        "{error:?}"
    );
    assert!(second.owned().is_empty() && second.commit(0, 1).is_err());
    third.leave();
}

#[test]
fn brokers_that_are_not_there_are_unavailable() {
    if shared().is_none() {
        return;
    }
    let nobody = connection("[cluster]\nbrokers = \"127.0.0.1:9\"\nname = \"x\"\n");
    let began = Instant::now();
    let error = Admin::new(&nobody).unwrap_err();
    assert!(
        error.kind() == ErrorKind::Unavailable && error.to_string().contains("no broker of cluster.brokers answers"),
        "{error:?}"
    );
    let producer = Producer::new(&nobody).unwrap();
    producer.send("t", Some(0), b"", &[], b"x").unwrap();
    assert_eq!(producer.settle(SECOND).unwrap_err().kind(), ErrorKind::Unavailable);
    let member = Member::join(&nobody, "x-route", "x.pages", "route").unwrap();
    assert_eq!(member.wait_for_assignment(SECOND, &Stop::new()).unwrap_err().kind(), ErrorKind::Unavailable);
    member.leave();
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
}

/// The same cluster from another machine.
fn connection_of(kafka: &Kafka, name: &str, instance: &str) -> Connection {
    connection(&format!("{}instance = \"{instance}\"\n", kafka.cluster(name, 2)))
}

fn wait_until(mut is: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < LONG, "in vain");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn client_goes_on_when_a_broker_dies_hangs_and_comes_back() {
    if !shared().is_some_and(Kafka::is_own) {
        return;
    }
    let Some(kafka) = kafka(3, "broker.session.timeout.ms=3000\nbroker.heartbeat.interval.ms=500") else { return };
    let connection = connected(&kafka, &unique_name("death"));
    let admin = Admin::new(&connection).unwrap();
    assert_eq!((admin.brokers().unwrap(), kafka.brokers()), (3, 3));
    let topic = format!("{}.pages", connection.name());
    let settings = vec![("min.insync.replicas", "2")];
    admin.create(&TopicSpec { name: topic.clone(), partitions: 3, replication: 3, settings }).unwrap();
    let producer = Producer::new(&connection).unwrap();
    let member = Member::join(&connection, &format!("{}-route", connection.name()), &topic, "route").unwrap();
    assert!(member.wait_for_assignment(LONG, &Stop::new()).unwrap());
    let mut sent = 0..0;
    let mut round = || {
        sent = sent.end..sent.end + 100;
        for partition in 0..3 {
            send(&producer, &topic, partition, sent.clone());
        }
    };
    round();
    kafka.kill(1);
    round();
    member.commit(0, 5).unwrap();
    kafka.restart(1);
    let is_whole = || admin.topics(std::slice::from_ref(&topic)).unwrap()[0].as_ref().unwrap().under_replicated == 0;
    wait_until(is_whole);
    kafka.pause(2);
    round();
    kafka.resume(2);
    round();
    // The broker that was stopped may still answer with the ends of before: what is known to be behind them is waited for.
    let known = BTreeMap::from([(0, 400), (1, 400), (2, 400)]);
    assert!(admin.ends_from(&topic, &known).unwrap().values().all(|(_, end)| *end >= 400));
    let ends = producer.offsets_of(&topic, 0..3, b"k", &[("page", b"0:7")], Some(b"400")).unwrap();
    for (partition, end) in ends {
        assert!(end >= 400, "{end}");
        let mut reader = Reader::new(&connection).unwrap();
        assert!(matches!(reader.start(&topic, partition, end + 1).unwrap(), Start::At { .. }));
        let read = read(&mut reader, &topic, partition, 0);
        let distinct: BTreeSet<u64> = read.iter().map(|text| text.parse().unwrap()).collect();
        assert!(distinct.into_iter().eq(0..=400), "partition {partition}: what was settled is there");
    }
    assert_eq!(member.committed(0).unwrap(), Some(5));
    assert_eq!(member.owned().len(), 3);
    wait_until(is_whole);
}
