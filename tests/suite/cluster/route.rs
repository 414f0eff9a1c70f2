//! Pages become records in lanes: each in its own, none missing, whatever the pages are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use etl::cluster::Names;
use etl::cluster::forward::{Destination, forward};
use etl::cluster::kafka::{Admin, Connection, Member, Next, Producer, Reader, Start, TopicSpec};
use etl::cluster::message;
use etl::cluster::route::{Routed, Router};
use etl::error::ErrorKind;
use etl::hour::range::HashRange;
use etl::page::decode::Decoder;
use etl::page::decrypt::KeyRing;
use etl::record::Schema;
use etl::record::row::{Codecs, Compactor};
use etl::secret::Secret;
use etl::source::{PageShape, PageSink as _};
use etl::state::pages::journal::Journal;
use etl::stop::Stop;
use fernet::Fernet;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::connected;
use crate::support::kafka::{Kafka, shared, unique_name};

const LANES: u32 = 4;
const LONG: Duration = Duration::from_secs(30);

/// A cluster of a test's own.
struct Cluster {
    connection: Connection,
    names: Names,
    admin: Admin,
    producer: Producer,
}

fn cluster(kafka: &Kafka, name: &str) -> Cluster {
    let connection = connected(kafka, &unique_name(name));
    let (names, admin) = (Names::new(connection.name()), Admin::new(&connection).unwrap());
    let topics = [
        (names.pages(), 3),
        (names.lanes(1), LANES),
        (names.quarantine(), 2),
        (names.waiting(), 3),
        (names.status(), 1),
    ];
    for (name, partitions) in topics {
        assert!(admin.create(&TopicSpec { name, partitions, replication: 1, settings: Vec::new() }).unwrap());
    }
    let producer = Producer::new(&connection).unwrap();
    let cluster = Cluster { connection, names, admin, producer };
    cluster.say_epoch(1);
    cluster
}

impl Cluster {
    /// Records that this epoch's lanes are in use.
    fn say_epoch(&self, epoch: u32) {
        let settings = format!(
            r#"{{"format":1,"id":"x","epoch":{epoch},"lanes":{LANES},"settings":{{"timezone":"UTC","layout":"","destination":"","codecs":{{}}}}}}"#
        );
        self.status("settings", &settings);
    }

    /// Puts a page into a journal for each body, and forwards them.
    fn forward(&self, bodies: &[Vec<u8>]) {
        let dir = tempfile::tempdir().unwrap();
        let journal = journal_of(dir.path(), bodies);
        let to = Destination { topic: self.names.pages(), partitions: 3, source: "the source".to_owned() };
        let forwarded = forward(&journal, &to, &self.producer, &Stop::new()).unwrap();
        assert_eq!((forwarded.pages, journal.list().unwrap().len()), (bodies.len() as u64, 0));
    }

    /// A member that owns all pages.
    fn member(&self) -> Member {
        let member = Member::join(&self.connection, &self.names.route_group(1), &self.names.pages(), "route").unwrap();
        assert!(member.wait_for_assignment(LONG, &Stop::new()).unwrap());
        let began = Instant::now();
        while member.owned().len() < 3 {
            assert!(began.elapsed() < LONG);
            std::thread::sleep(Duration::from_millis(20));
        }
        member
    }

    /// Routes what is there, as one process would.
    fn route(&self, keys: &[&str]) -> Routed {
        let (member, stop) = (self.member(), Stop::new());
        let mut router = Router::new(&self.connection, &self.names, 1, LANES).unwrap();
        let routed = router.route(&decoder(keys), &member, &stop).unwrap();
        assert!(!routed.behind);
        // All is done: nothing is left for a second time.
        let again = router.route(&decoder(keys), &member, &stop).unwrap();
        assert_eq!((again.pages, again.elements, again.odd, again.records), (0, 0, 0, 0));
        member.leave();
        routed
    }

    /// How often each record is in the lanes, by its number.
    fn in_lanes(&self) -> BTreeMap<u64, u32> {
        let mut found = BTreeMap::new();
        for lane in 0..i32::try_from(LANES).unwrap() {
            let topic = self.names.lanes(1);
            self.each(&topic, lane, |offset, key, payload| {
                let of_key = HashRange::lane_of(key.try_into().unwrap(), LANES);
                assert_eq!(i32::try_from(of_key).unwrap(), lane);
                let incoming = message::read(payload, &topic, lane, offset).unwrap();
                let rows =
                    serde_json::Deserializer::from_slice(&incoming.decoded.lines).into_iter::<serde_json::Value>();
                let before = found.len();
                for row in rows {
                    *found.entry(row.unwrap()["record_id"].as_u64().unwrap()).or_default() += 1;
                }
                assert!(found.len() - before <= incoming.decoded.records.len());
            });
        }
        found
    }

    fn each(&self, topic: &str, partition: i32, mut take: impl FnMut(i64, &[u8], &[u8])) {
        let mut reader = Reader::new(&self.connection).unwrap();
        if let Start::Deleted { low, .. } = reader.start(topic, partition, 0).unwrap() {
            reader.start(topic, partition, low).unwrap();
        }
        let began = Instant::now();
        loop {
            match reader.next(Duration::from_millis(100)).unwrap() {
                Next::Message(message) => take(message.offset(), message.key(), message.payload().unwrap_or_default()),
                Next::Ended => return,
                _ => assert!(began.elapsed() < LONG),
            }
        }
    }

    /// Messages that are in a topic.
    fn left_in(&self, topic: &str) -> i64 {
        self.admin.ends(topic).unwrap().values().map(|(low, end)| end - low).sum()
    }

    /// Pages that nobody has routed yet, in messages.
    fn lag(&self) -> i64 {
        let topic = self.names.pages();
        let committed = self.admin.committed(&self.names.route_group(1), &topic).unwrap();
        let ends = self.admin.ends(&topic).unwrap();
        ends.iter().map(|(partition, (_, end))| end - committed.get(partition).copied().unwrap_or(0)).sum()
    }

    fn status(&self, key: &str, value: &str) {
        self.producer.send(&self.names.status(), Some(0), key.as_bytes(), &[], value.as_bytes()).unwrap();
        self.producer.settle(LONG).unwrap();
    }
}

fn journal_of(dir: &Path, bodies: &[Vec<u8>]) -> Journal {
    let journal = Journal::open(dir).unwrap();
    for body in bodies {
        let mut writer = journal.begin(Vec::new());
        writer.write(body).unwrap();
        writer.end_page();
        journal.append(writer, Timestamp::now()).unwrap();
    }
    journal
}

fn decoder(keys: &[&str]) -> Decoder {
    let codecs = Codecs::default();
    Decoder {
        shape: PageShape::default(),
        ring: KeyRing::new(&keys.iter().map(|key| Secret::new(*key)).collect::<Vec<_>>()).unwrap(),
        schema: Schema::of_the_origin(TimeZone::UTC),
        compactor: Compactor::new(&codecs),
        dictionaries: codecs.fingerprint(),
        max_future: SignedDuration::from_hours(1),
    }
}

/// A token of the record with this number; `padding` makes it longer.
fn token(key: &str, n: u64, padding: usize) -> String {
    let text = format!("{{'record_id': {n}, 'inDate': '2023-03-10T01:48:11.818Z', 'x': '{}'}}", "y".repeat(padding));
    Fernet::new(key).unwrap().encrypt(text.as_bytes())
}

fn page<'t>(tokens: impl IntoIterator<Item = &'t str>) -> Vec<u8> {
    let elements: Vec<_> = tokens.into_iter().map(|token| serde_json::json!({ "data": token })).collect();
    serde_json::to_vec(&elements).unwrap()
}

fn page_of(key: &str, numbers: std::ops::Range<u64>, padding: usize) -> Vec<u8> {
    let tokens: Vec<String> = numbers.map(|n| token(key, n, padding)).collect();
    page(tokens.iter().map(String::as_str))
}

fn numbers(found: &BTreeMap<u64, u32>) -> Vec<u64> {
    found.keys().copied().collect()
}

fn kinds(routed: &Routed) -> BTreeSet<ErrorKind> {
    routed.problems.iter().map(etl::error::Error::kind).collect()
}

#[test]
fn each_record_is_in_its_lane_and_what_is_none_is_kept() {
    let Some(kafka) = shared() else { return };
    let cluster = cluster(kafka, "routed");
    let (key, other) = (Fernet::generate_key(), Fernet::generate_key());
    // Many small ones, one in many chunks, one with odd tokens, one that no key opens, one that is none.
    let mut bodies: Vec<Vec<u8>> = (0..40).map(|n| page_of(&key, 25 * n..25 * (n + 1), 10)).collect();
    bodies.push(page_of(&key, 1000..1100, 20_000));
    let odd = Fernet::new(&key).unwrap().encrypt(b"no record");
    bodies.push(page([token(&key, 1100, 0).as_str(), "no token", odd.as_str()]));
    let too_long = page_of(&key, 1101..1102, 1_000_000);
    bodies.push(too_long.clone());
    // One token of another key among others.
    bodies.push(page([token(&key, 1102, 0).as_str(), token(&other, 3000, 0).as_str()]));
    bodies.push(page_of(&other, 2000..2010, 10));
    bodies.push(b"{\"error\": \"come back later\"}".to_vec());
    cluster.forward(&bodies);
    let routed = cluster.route(&[&key]);
    assert_eq!((routed.pages, routed.elements, routed.odd, routed.records), (44, 1106, 4, 1102));
    assert_eq!(kinds(&routed), BTreeSet::from([ErrorKind::Credentials, ErrorKind::Unavailable]));
    let found = cluster.in_lanes();
    assert_eq!(numbers(&found), (0..1101).chain([1102]).collect::<Vec<_>>());
    assert!(found.values().all(|times| *times == 1));
    assert_eq!((cluster.lag(), cluster.left_in(&cluster.names.waiting())), (0, 2));
    // The long one in pieces.
    assert_eq!(cluster.left_in(&cluster.names.quarantine()), 3 + 3);

    // The same pages once more, by another process: known odd tokens are no news.
    cluster.forward(&bodies);
    let routed = cluster.route(&[&key]);
    assert_eq!((routed.records, routed.odd), (1102, 0));
    assert!(cluster.in_lanes().values().all(|times| *times == 2));
    cluster.forward(&[too_long]);
    assert_eq!(cluster.route(&[&key]).odd, 0, "also where it is the only one");

    // The key comes.
    let routed = cluster.route(&[&key, &other]);
    assert_eq!((routed.pages, routed.records, kinds(&routed)), (2, 21, BTreeSet::from([ErrorKind::Unavailable])));
    let found = cluster.in_lanes();
    assert!((2000..2010).all(|n| found[&n] == 2) && found[&3000] == 1);
    let routed = cluster.route(&[&key, &other]);
    assert!(routed.problems.is_empty() && routed.records == 0, "{routed:?}");
    assert_eq!(cluster.left_in(&cluster.names.waiting()), 2, "what is no page waits for another version");
}

#[test]
fn what_waits_stays_where_it_is_while_the_lanes_are_others() {
    let Some(kafka) = shared() else { return };
    let cluster = cluster(kafka, "left");
    let (key, other) = (Fernet::generate_key(), Fernet::generate_key());
    let left = || [cluster.names.waiting(), cluster.names.quarantine()].map(|topic| cluster.left_in(&topic));
    // A machine that has missed it: what it sends to lanes counts for no other machine.
    let stays = |there: [i64; 2]| {
        assert_eq!(left(), there);
        cluster.say_epoch(2);
        let member = cluster.member();
        let mut router = Router::new(&cluster.connection, &cluster.names, 1, LANES).unwrap();
        let error = router.route(&decoder(&[&key, &other]), &member, &Stop::new()).unwrap_err();
        assert!(error.kind() == ErrorKind::Unavailable && error.to_string().contains("are others by now"), "{error:?}");
        member.leave();
        assert_eq!(left(), there);
        cluster.say_epoch(1);
    };
    cluster.forward(&[page([token(&key, 10, 0).as_str(), token(&other, 11, 0).as_str()])]);
    assert_eq!(cluster.route(&[&key]).records, 1);
    stays([0, 1]);
    cluster.forward(&[page_of(&other, 0..10, 0)]);
    assert_eq!(cluster.route(&[&key]).records, 0);
    stays([1, 1]);
    // The token, and the word that it is gone.
    assert_eq!((cluster.route(&[&key, &other]).records, left()), (11, [0, 2]));
}

#[test]
fn unfinished_page_is_waited_for_and_stops_no_other() {
    let Some(kafka) = shared() else { return };
    let cluster = cluster(kafka, "unfinished");
    let key = Fernet::generate_key();
    let large = page_of(&key, 0..100, 20_000);
    cluster.forward(std::slice::from_ref(&large));
    let partition =
        *cluster.admin.ends(&cluster.names.pages()).unwrap().iter().find(|(_, (_, end))| *end > 0).unwrap().0;
    let (topic, mut first) = (cluster.names.pages(), None);
    // As if the sender had died in the middle: its first chunk alone, under another name.
    let mut reader = Reader::new(&cluster.connection).unwrap();
    reader.start(&topic, partition, 0).unwrap();
    while first.is_none() {
        if let Next::Message(message) = reader.next(Duration::from_millis(100)).unwrap() {
            let header = |name: &str| message.header(name).unwrap().to_vec();
            let headers = ["chunk", "received", "source", "blake3"].map(|name| (name, header(name)));
            first = Some((headers, message.payload().unwrap().to_vec()));
        }
    }
    let (headers, payload) = first.unwrap();
    let mut headers: Vec<(&str, &[u8])> = headers.iter().map(|(name, value)| (*name, value.as_slice())).collect();
    headers.push(("page", b"00000000000000000000000000000001"));
    cluster.producer.send(&topic, Some(partition), b"k", &headers, &payload).unwrap();
    cluster.producer.settle(LONG).unwrap();
    cluster.forward(&(0..20).map(|n| page_of(&key, 1000 + n..1001 + n, 0)).collect::<Vec<_>>());
    let routed = cluster.route(&[&key]);
    assert_eq!((routed.records, routed.problems.len()), (120, 0));
    let committed = cluster.admin.committed(&cluster.names.route_group(1), &topic).unwrap();
    assert_eq!(committed[&partition], large.len().div_ceil(512 << 10) as i64, "behind the page before it");
    // Another process reads again from there.
    let behind = cluster.route(&[&key]).records;
    assert!(behind > 0 && behind < 20, "{behind}");
    assert_eq!(numbers(&cluster.in_lanes()), (0..100).chain(1000..1020).collect::<Vec<_>>());
}

#[test]
fn page_at_which_routers_died_is_read_last_and_alone() {
    let Some(kafka) = shared() else { return };
    let cluster = cluster(kafka, "deadly");
    let key = Fernet::generate_key();
    cluster.forward(&(0..30).map(|n| page_of(&key, n..n + 1, 0)).collect::<Vec<_>>());
    let topic = cluster.names.pages();
    let mut pages = BTreeMap::new();
    for partition in 0..3 {
        cluster.each(&topic, partition, |offset, key, _| {
            let id: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
            pages.insert((partition, offset), id);
        });
    }
    // Somebody died with the first batch of 0; with that of 1, and then at its second page alone; with one of long ago in 2.
    cluster.status("trying-0", "{\"offset\":0}");
    cluster.status("trying-1", &format!("{{\"offset\":0,\"page\":\"{}\"}}", pages[&(1, 1)]));
    cluster.status("trying-2", "{\"offset\":-7}");
    let routed = cluster.route(&[&key]);
    assert_eq!((routed.records, routed.problems.len()), (30, 0), "{:?}", routed.problems);
    assert_eq!((numbers(&cluster.in_lanes()), cluster.lag()), ((0..30).collect(), 0));
    let waiting = cluster.names.waiting();
    let ends = cluster.admin.ends(&waiting).unwrap();
    assert_eq!((ends[&2], cluster.left_in(&waiting)), ((1, 1), 0), "it waited, and was read");

    // Too many died at it: it waits for another version.
    cluster.forward(&[page_of(&key, 100..101, 0)]);
    let (partition, offset) = (0..3)
        .find_map(|partition| {
            let (_, end) = cluster.admin.ends(&topic).unwrap()[&partition];
            (!pages.contains_key(&(partition, end - 1))).then_some((partition, end - 1))
        })
        .unwrap();
    let mut id = String::new();
    cluster.each(&topic, partition, |at, key, _| {
        if at == offset {
            id = key.iter().map(|byte| format!("{byte:02x}")).collect();
        }
    });
    cluster.status(&format!("trying-{partition}"), &format!("{{\"offset\":{offset},\"page\":\"{id}\"}}"));
    let waits = |offset: i64| cluster.status("trying-waiting-2", &format!("{{\"offset\":{offset},\"page\":\"{id}\"}}"));
    waits(0);
    let routed = cluster.route(&[&key]);
    assert_eq!((routed.records, cluster.left_in(&waiting)), (0, 1));
    waits(0);
    let routed = cluster.route(&[&key]);
    assert_eq!((routed.records, kinds(&routed)), (0, BTreeSet::from([ErrorKind::State])));
    let routed = cluster.route(&[&key]);
    assert_eq!((routed.records, cluster.left_in(&waiting), cluster.lag()), (0, 1, 0));
    // With another key it may be another page.
    let routed = cluster.route(&[&key, &Fernet::generate_key()]);
    assert_eq!((routed.records, cluster.left_in(&waiting)), (1, 0));
}
