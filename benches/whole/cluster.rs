//! Machines that share their work through Kafka: what the workers spend on a record, whether one, two or three of them do it; what the
//! brokers and the store spend beside them; and how long it takes until another machine does the work of one that was killed.
//!
//! Three brokers, SeaweedFS, a source on loopback. A worker is a process of `etl run --every 1s` with a state directory of its own; it
//! has done all there is to do when its group has released everything that is in the lanes. Its processor time is what the kernel says of the
//! process at that moment, from its start on, all threads, those that have ended included.
//!
//! Brokers come from Maven Central and SeaweedFS from PyPI, or name running ones as for the tests (`ETL_TEST_KAFKA`, `ETL_TEST_S3_ENDPOINT`
//! …); what those spend is not known then.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use etl::cluster::Names;
use etl::cluster::kafka::{Admin, Connection};
use etl::config::{Config, Overrides};
use etl::simulate::{self, Options};
use jiff::Timestamp;

use super::kafka::{Kafka, kafka, unique_name};
use super::network::variables;
use super::server::Server;
use super::support::{ETL, Place, Used, median, peak, target};
use super::usage::{Usage, processes, usage};
use super::weed::{TestS3, s3, unique_prefix};

/// Runs of each kind.
const RUNS: usize = 3;
const LANES: u32 = 6;
const WINDOW: Duration = Duration::from_secs(24 * 3_600);
const LIMIT: Duration = Duration::from_secs(600);
/// Between two looks of the bench at how far it is.
const LOOK: Duration = Duration::from_millis(200);
const IDLE: Duration = Duration::from_secs(10);
const ALL: &str = r#"["fetch", "route", "own"]"#;

/// The servers, and the pages.
struct Bench<'b> {
    kafka: &'b Kafka,
    s3: &'b TestS3,
    server: Server,
    place: Place,
    records: u64,
}

/// What a whole run took.
#[derive(Clone, Copy)]
struct Taken {
    /// All workers together; the peak is the largest of one.
    workers: Used,
    /// Of it, the threads of Kafka's client.
    client: f64,
    brokers: f64,
    store: f64,
}

/// Prints what a cluster costs.
pub fn cluster(records: u64) {
    let (Some(s3), Some(kafka)) = (s3(), kafka(3, "")) else { return };
    println!("{records} records over 24 hours, HTTP to SeaweedFS, {LANES} lanes, 3 brokers; medians of {RUNS} runs");
    for page in [1_000, 100] {
        let bench = Bench::new(&kafka, &s3, records, page);
        println!("pages of {page} records");
        let alone: Vec<Used> = (0..RUNS).map(|_| bench.alone()).collect();
        let alone = median(&alone);
        line("one machine without a cluster", alone, records);
        let each = [1, 2, 3].map(|workers| bench.workers(workers));
        let cpu = each.map(|taken| per_record(taken.workers.cpu, records));
        let most = cpu.iter().copied().fold(0.0, f64::max);
        let least = cpu.iter().copied().fold(f64::MAX, f64::min);
        target("CPU of all workers a record, the most of 1, 2, 3", 5.0, most, "µs");
        target("the same, the most of the least", 1.1, most / least, "×");
        target("peak memory of a worker", 150.0, peak(&each.map(|taken| taken.workers)), "MiB");
        println!(
            "three machines do {:.2} × what one without a cluster does, by their CPU",
            3.0 * alone.cpu * 1e6 / records as f64 / cpu[2]
        );
        bench.roles();
    }
    takeover(&kafka, &s3);
}

/// What brokers and store have spent so far: those of this process.
fn servers() -> (f64, f64) {
    let of = |what| processes(what).into_iter().map(|pid| usage(pid).cpu).sum();
    (of("kafka.Kafka"), of("mini"))
}

/// Runs a program that finds three brokers in `ETL_TEST_KAFKA`, which make a topic when somebody writes to it.
pub fn with_brokers(program: &str, args: &[&str]) {
    let settings = format!("auto.create.topics.enable=true\nnum.partitions={LANES}\n");
    let Some(kafka) = kafka(3, &settings) else { return };
    let ran = Command::new(program).args(args).env("ETL_TEST_KAFKA", &kafka.bootstrap).status().expect("a process");
    assert!(ran.success(), "{program}: {ran}");
}

fn per_record(seconds: f64, records: u64) -> f64 {
    seconds * 1e6 / records as f64
}

fn line(what: &str, used: Used, records: u64) {
    let cpu = per_record(used.cpu, records);
    println!("{what:<34} {cpu:>7.2} CPU µs a record {:>7.1} s wall {:>7.1} MiB peak", used.wall, used.peak);
}

impl<'b> Bench<'b> {
    fn new(kafka: &'b Kafka, s3: &'b TestS3, records: u64, page: u64) -> Self {
        let interval = WINDOW / u32::try_from(records + 1).expect("so many records");
        let options = Options { window: page, advance: page, records: Some(records), interval, ..Options::default() };
        let place = Place::new(options.key().to_text());
        simulate::write_pages(&options, &place.path("pages"), records.div_ceil(page)).expect("pages");
        Self { kafka, s3, server: Server::start(), place, records }
    }

    /// Without a cluster: what to compare with.
    fn alone(&self) -> Used {
        self.place.clear();
        let load = self.s3.load(&unique_prefix("bench"));
        let text = format!("[source]\nurl = \"{}\"\n[hours]\nlate_hold = \"0s\"\n[load]\n{load}", self.server.url);
        std::fs::write(self.place.path("etl.toml"), text).expect("a configuration");
        self.server.folder(&self.place.path("pages"));
        self.place.measure(&[ETL, "run", "--drain"], &variables(self.s3))
    }

    fn workers(&self, workers: usize) -> Taken {
        let runs: Vec<Taken> = (0..RUNS).map(|_| self.run(&vec![ALL; workers])[0]).collect();
        let of = |of: fn(&Taken) -> f64| {
            let mut values: Vec<f64> = runs.iter().map(of).collect();
            values.sort_unstable_by(f64::total_cmp);
            per_record(values[values.len() / 2], self.records)
        };
        let used: Vec<Used> = runs.iter().map(|taken| taken.workers).collect();
        let used = Used { peak: peak(&used), ..median(&used) };
        line(&format!("{workers} workers"), used, self.records);
        let (client, brokers, store) = (of(|t| t.client), of(|t| t.brokers), of(|t| t.store));
        println!("    of it Kafka's client {client:.2}; beside it brokers {brokers:.2}, store {store:.2} µs a record");
        Taken { workers: used, ..runs[0] }
    }

    /// The same, by what is done.
    fn roles(&self) {
        let each = self.run(&[r#"["fetch", "route"]"#, r#"["own"]"#]);
        for (role, taken) in ["fetch and route, apart", "own, apart"].iter().zip(&each[1..]) {
            line(role, taken.workers, self.records);
        }
    }

    /// Runs workers with these roles until everything is in the store. What all took, and then each.
    fn run(&self, roles: &[&str]) -> Vec<Taken> {
        let cluster = Cluster::new(self, roles.len(), roles);
        let (brokers, store) = servers();
        let began = Instant::now();
        let mut workers: Vec<Worker> = cluster.places.iter().map(|place| Worker::start(place, self.s3)).collect();
        self.server.folder(&self.place.path("pages"));
        cluster.wait(&self.server, &mut workers);
        let wall = began.elapsed().as_secs_f64();
        let used: Vec<Usage> = workers.iter().map(Worker::usage).collect();
        let (brokers, store) = {
            let now = servers();
            (now.0 - brokers, now.1 - store)
        };
        let each = used.iter().map(|used| Taken {
            workers: Used { cpu: used.cpu, wall, peak: used.peak },
            client: used.client,
            brokers,
            store,
        });
        let each: Vec<Taken> = each.collect();
        let all = Taken {
            workers: Used {
                cpu: used.iter().map(|used| used.cpu).sum(),
                wall,
                peak: used.iter().map(|used| used.peak).fold(0.0, f64::max),
            },
            client: used.iter().map(|used| used.client).sum(),
            ..each[0]
        };
        if roles.len() == 1 {
            std::thread::sleep(IDLE);
            let idle = workers[0].usage().cpu - used[0].cpu;
            println!("    idle, a tick a second: {:.2} ms of CPU a second", idle * 1e3 / IDLE.as_secs_f64());
        }
        workers.into_iter().for_each(Worker::end);
        cluster.check(self.records);
        cluster.delete(self.kafka);
        [vec![all], each].concat()
    }
}

/// A cluster of `etl`, and where its machines live.
struct Cluster {
    name: String,
    places: Vec<Place>,
    admin: Admin,
    s3: TestS3,
}

impl Cluster {
    fn new(bench: &Bench<'_>, machines: usize, roles: &[&str]) -> Self {
        let (name, prefix) = (unique_name("bench"), unique_prefix("bench"));
        let places: Vec<Place> = (0..machines)
            .map(|n| {
                let place = Place::new(bench.place.key.clone());
                let text = format!(
                    "[source]\nurl = \"{}\"\n[hours]\nlate_hold = \"0s\"\n[load]\n{}{}instance = \"machine-{n}\"\nroles = {}\n",
                    bench.server.url,
                    bench.s3.load(&prefix),
                    bench.kafka.cluster(&name, LANES),
                    roles[n]
                );
                std::fs::write(place.path("etl.toml"), text).expect("a configuration");
                place
            })
            .collect();
        places[0].measure(&[ETL, "cluster", "init"], &variables(bench.s3));
        let config = Config::load(&Overrides::default(), &|_| None, places[0].dir.path()).expect("a configuration");
        let connection = Connection::new(&config.cluster.expect("a cluster")).expect("a connection");
        Self { name, places, admin: Admin::new(&connection).expect("brokers"), s3: bench.s3.clone() }
    }

    /// Waits until every page that the source has was asked for, is routed, and its records have receipts.
    fn wait(&self, server: &Server, workers: &mut [Worker]) {
        let began = Instant::now();
        while !server.is_through() || !self.is_done() {
            assert!(began.elapsed() < LIMIT, "the workers do not get through");
            for worker in &mut *workers {
                worker.still_runs();
            }
            if server.is_through() {
                server.pages(Vec::new());
            }
            std::thread::sleep(LOOK);
        }
    }

    fn is_done(&self) -> bool {
        let names = Names::new(self.name.as_str());
        self.has_passed(&names.pages(), &names.route_group(1)) && self.has_passed(&names.lanes(1), &names.own_group(1))
    }

    /// Whether a group has committed everything that a topic has; some it must have.
    fn has_passed(&self, topic: &str, group: &str) -> bool {
        let (Ok(ends), Ok(passed)) = (self.admin.ends(topic), self.admin.committed(group, topic)) else { return false };
        let is_passed = |(partition, (_, end)): (&i32, &(i64, i64))| *end == 0 || passed.get(partition) == Some(end);
        ends.values().any(|(_, end)| *end > 0) && ends.iter().all(is_passed)
    }

    /// Each record is in the store.
    fn check(&self, records: u64) {
        let mut command = Command::new(ETL);
        command.arg("restore").current_dir(self.places[0].dir.path()).envs(variables(&self.s3));
        let output =
            command.env("FERNET_KEY", &self.places[0].key).stderr(Stdio::inherit()).output().expect("a process");
        let restored = output.stdout.iter().filter(|byte| **byte == b'\n').count() as u64;
        assert_eq!(restored, records, "records in the store");
    }

    /// Makes room on the brokers.
    fn delete(&self, kafka: &Kafka) {
        kafka.tool("org.apache.kafka.tools.TopicCommand", &["--delete", "--topic", &format!("{}.*", self.name)]);
        std::thread::sleep(Duration::from_secs(2));
    }
}

/// A process of `etl run`.
struct Worker(Child);

impl Worker {
    fn start(place: &Place, s3: &TestS3) -> Self {
        let log = std::fs::File::create(place.path("worker.log")).expect("a file");
        let mut command = Command::new(ETL);
        command.args(["run", "--every", "1s"]).current_dir(place.dir.path()).envs(variables(s3));
        command.env("FERNET_KEY", &place.key).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Self(command.spawn().expect("a process"))
    }

    fn still_runs(&mut self) {
        assert!(self.0.try_wait().expect("a process").is_none(), "a worker has ended");
    }

    fn usage(&self) -> Usage {
        usage(self.0.id())
    }

    fn end(mut self) {
        let sent = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status().expect("a process");
        assert!(sent.success(), "a signal");
        self.0.wait().expect("a process");
    }

    fn kill(&mut self) {
        self.0.kill().expect("a signal");
        self.0.wait().expect("a process");
    }
}

/// From the kill of one of two machines until the other has in the store what came meanwhile, of all lanes.
fn takeover(kafka: &Kafka, s3: &TestS3) {
    const FEW: u64 = 20_000;
    let mut seconds = Vec::new();
    for _ in 0..RUNS {
        let bench = Bench::new(kafka, s3, FEW, 1_000);
        let cluster = Cluster::new(&bench, 2, &[ALL, ALL]);
        let mut workers: Vec<Worker> = cluster.places.iter().map(|place| Worker::start(place, s3)).collect();
        bench.server.folder(&bench.place.path("pages"));
        cluster.wait(&bench.server, &mut workers);
        let start = Options::default().start.as_second() + 48 * 3_600;
        let start = Timestamp::from_second(start).expect("a time");
        let options =
            Options { window: 1_000, advance: 1_000, records: Some(FEW), seed: 1, start, ..Options::default() };
        simulate::write_pages(&options, &bench.place.path("more"), FEW / 1_000).expect("pages");
        let killed = Instant::now();
        workers.remove(0).kill();
        bench.server.folder(&bench.place.path("more"));
        cluster.wait(&bench.server, &mut workers);
        seconds.push(killed.elapsed().as_secs_f64());
        workers.into_iter().for_each(Worker::end);
        cluster.check(2 * FEW);
        cluster.delete(kafka);
    }
    let all: Vec<String> = seconds.iter().map(|seconds| format!("{seconds:.1}")).collect();
    println!(
        "one of two machines killed, session 15 s, a tick a second: {} s until what came meanwhile is in the store",
        all.join(", ")
    );
    target("seconds from the kill until then, the most", 20.0, seconds.iter().copied().fold(0.0, f64::max), "s");
}
