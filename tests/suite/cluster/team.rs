//! Machines of one cluster that do what a test says, one step after the other, and the comparison of all with what was handed out.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::cli::{Place, Ran, page, record};
use crate::support::kafka::{Kafka, unique_name};
use crate::support::origin::{Answer, Origin};
use crate::support::proxy::Proxy;
use crate::support::{TestS3, s3, tally, unique_prefix};

/// How long brokers wait for a machine.
pub const SESSION: Duration = Duration::from_secs(2);
/// A command has hung that takes longer.
const LIMIT: Duration = Duration::from_secs(120);

/// Machines of one cluster, with a source and a store before which a proxy stands.
pub struct Team {
    pub places: Vec<Place>,
    pub origin: Origin,
    pub proxy: Proxy,
    pub prefix: String,
    pub name: String,
    /// What `[source]` has.
    pub source: String,
    cluster: String,
    s3: TestS3,
}

impl Team {
    /// `None`: a server is not to be had.
    pub fn new(kafka: &Kafka, name: &str, machines: usize, lanes: u32) -> Option<Self> {
        let team = Self::not_begun(kafka, name, machines)?;
        team.join(lanes);
        team.etl(0, &["cluster", "init"]).exits(0);
        Some(team)
    }

    /// The same without a cluster yet.
    pub fn not_begun(kafka: &Kafka, name: &str, machines: usize) -> Option<Self> {
        let s3 = s3()?;
        let (proxy, prefix, name) = (Proxy::start(&s3.endpoint), unique_prefix(name), unique_name(name));
        let origin = Origin::start(vec![Answer::Page("[]".to_owned())]);
        let mut places: Vec<Place> = (0..machines).map(|_| Place::in_memory("")).collect();
        let key = places[0].key.clone();
        for place in &mut places {
            place.set("FERNET_KEY", &key);
            place.key.clone_from(&key);
            place.trust(&s3);
        }
        let (source, cluster) = (format!("url = \"{}\"\nretries = 0\n", origin.url), kafka.cluster(&name, 0));
        Some(Self { places, origin, proxy, prefix, name, source, cluster, s3 })
    }

    /// Makes machine `machine` one that works alone.
    pub fn part(&self, machine: usize) {
        self.configure(machine, "");
    }

    /// Makes all machines those of a cluster with so many lanes.
    pub fn join(&self, lanes: u32) {
        (0..self.places.len()).for_each(|machine| self.join_by(machine, lanes, None));
    }

    /// Makes a machine one of the cluster, which reaches brokers at `brokers`.
    pub fn join_by(&self, machine: usize, lanes: u32, brokers: Option<&str>) {
        let mut cluster = self.cluster.replace("lanes = 0", &format!("lanes = {lanes}"));
        if let Some(brokers) = brokers {
            let line = cluster.lines().find(|line| line.starts_with("brokers")).unwrap().to_owned();
            cluster = cluster.replace(&line, &format!("brokers = \"{brokers}\""));
        }
        self.configure(machine, &format!("{cluster}instance = \"m{machine}\"\nsession = \"{}s\"\n", SESSION.as_secs()));
    }

    fn configure(&self, machine: usize, cluster: &str) {
        self.places[machine].configure(&format!(
            "[source]\n{}[hours]\nlate_hold = \"0s\"\n[load]\n{}part_max_records = 200\nmanifest = true\n{cluster}",
            self.source,
            self.s3.behind(&self.proxy.endpoint).load(&self.prefix)
        ));
    }

    /// The source shows these records from now on.
    pub fn show(&self, ids: Range<u64>) {
        let records: Vec<String> = ids.map(plaintext).collect();
        self.show_all(&records);
    }

    pub fn show_all(&self, records: &[String]) {
        self.origin.script(vec![Answer::Page(page(&self.places[0].key, records))]);
    }

    pub fn etl(&self, machine: usize, args: &[&str]) -> Ran {
        wait(self.spawn(machine, args, &[])).into()
    }

    /// A run to its end.
    #[track_caller]
    pub fn run(&self, machine: usize) {
        self.etl(machine, &["run"]).exits(0);
    }

    pub fn spawn(&self, machine: usize, args: &[&str], env: &[(&str, &str)]) -> Child {
        let mut command = self.places[machine].command(args);
        command.envs(env.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// A run that ends at a planted crash.
    #[cfg(feature = "failpoints")]
    #[track_caller]
    pub fn crash(&self, machine: usize, at: (&str, &str)) {
        let ended = wait(self.spawn(machine, &["run"], &[at]));
        assert_eq!(ended.status.signal(), Some(6), "{at:?} was not reached: {:#?}", Ran::from(ended));
    }

    /// The machines that are members, with the lanes of each.
    pub fn owners(&self, asked: usize) -> BTreeMap<String, usize> {
        let status = self.etl(asked, &["cluster", "status", "--json"]).exits(0).json();
        let machines = status["machines"].as_array().unwrap().iter().filter(|machine| machine["is_member"] == true);
        machines
            .map(|machine| {
                (machine["machine"].as_str().unwrap().to_owned(), machine["lanes"].as_array().unwrap().len())
            })
            .collect()
    }

    /// One machine takes everything over, and all of it is compared with records `0..last`.
    #[track_caller]
    pub fn check(&self, machine: usize, last: u64) {
        std::thread::sleep(SESSION + Duration::from_millis(500));
        self.show_all(&[]);
        self.etl(machine, &["run", "--drain"]).exits(0);
        self.compare(machine, last);
    }

    /// All of the store is compared with records `0..last`.
    #[track_caller]
    pub fn compare(&self, machine: usize, last: u64) {
        let mut seen: BTreeMap<u64, u32> = BTreeMap::new();
        for line in self.etl(machine, &["restore"]).exits(0).out.lines() {
            let value: Value = serde_json::from_str(line).unwrap();
            *seen.entry(value["record_id"].as_u64().unwrap()).or_default() += 1;
        }
        let lost: Vec<u64> = (0..last).filter(|id| !seen.contains_key(id)).collect();
        let twice: Vec<u64> = seen.iter().filter(|(_, n)| **n > 1).map(|(id, _)| *id).collect();
        let created = self.proxy.created(&self.prefix);
        // What tries the store is put there twice.
        let rewritten: Vec<_> = created.iter().filter(|(key, n)| **n > 1 && !key.contains("/check/")).collect();
        tally::found(lost.len(), twice.len(), rewritten.len());
        assert!(lost.is_empty() && twice.is_empty(), "lost {lost:?}, twice {twice:?} of {last}");
        assert!(rewritten.is_empty(), "created twice: {rewritten:?}");
        assert_eq!(seen.len() as u64, last);
        self.etl(machine, &["verify", "--deep"]).exits(0);
    }

    /// The keys of parts in the store.
    pub fn parts(&self) -> BTreeSet<String> {
        self.s3
            .keys(&self.prefix)
            .into_iter()
            .filter(|key| key.contains("/part-") && !key.contains("manifest/"))
            .collect()
    }

    /// Waits until the proxy holds so many requests.
    #[track_caller]
    pub fn wait_held(&self, count: u64) {
        until("a request is held", || self.proxy.held() >= count);
    }
}

/// The record `id`: fifty an hour, each ninth late by five hours.
pub fn plaintext(id: u64) -> String {
    let hour = id / 50 + 5 - if id.is_multiple_of(9) { 5 } else { 0 };
    let (day, hour) = (1 + hour / 24, hour % 24);
    record(id, &format!("2023-03-{day:02}T{hour:02}:{:02}:10.{:03}Z", id % 60, id % 1000))
}

/// The same in the hour that is under way.
pub fn plaintext_of_now(id: u64) -> String {
    record(id, &jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string())
}

#[track_caller]
pub fn until(what: &str, mut is: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < LIMIT, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits for a command to end.
#[track_caller]
pub fn wait(child: Child) -> Output {
    let (pid, done) = (child.id(), std::sync::mpsc::channel());
    std::thread::spawn(move || done.0.send(child.wait_with_output().unwrap()));
    done.1.recv_timeout(LIMIT).unwrap_or_else(|_| {
        send(pid, "-KILL");
        panic!("it hangs");
    })
}

pub fn signal(child: &Child, signal: &str) {
    send(child.id(), signal);
}

fn send(pid: u32, signal: &str) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

/// Stops a process past its session, so that others own its lanes.
pub fn freeze(child: &Child) {
    signal(child, "-STOP");
    std::thread::sleep(SESSION + Duration::from_secs(2));
}

/// Kills a process.
pub fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
    tally::add("deaths", "machines killed at a known moment", 1);
}
