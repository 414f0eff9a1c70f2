//! A bench for lanes: pages in a folder that several processes read, a bucket, a clock, and workers with a state directory each.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use etl::error::{Error, ErrorKind, Result};
use etl::hour::range::HashRange;
use etl::hour::{Clock, Hour};
use etl::job::intake::lane::{LaneBatch, LaneLog};
use etl::job::lane::{LaneOutcome, LaneRequest, Neighbours, Seals, run_lane};
use etl::job::{self, Outcome, RunRequest, Setup, Source};
use etl::page::decode::{Decoded, Decoder};
use etl::part::cut::CutRules;
use etl::part::read::read_part;
use etl::state::Lock;
use etl::stop::Stop;
use etl::store::s3::S3Store;
use etl::store::{ObjectInfo, ObjectStore, PartMeta, PutAnswer};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::rc::Rc;
use std::time::Duration;

#[cfg(feature = "failpoints")]
use crate::support::cli::Ran;
use crate::support::cli::{Place, page, record};
use crate::support::desk::run_alone;
use crate::support::proxy::Proxy;
use crate::support::setup::setup;
use crate::support::{TestS3, s3, tally, unique_prefix};

/// In the environment of a process of its own: what it is to do.
pub const CHILD: &str = "ETL_TEST_LANE";
/// The test that does it there.
const CHILD_TEST: &str = "lanes::lane_of_another_process";

struct Fixed(Timestamp);

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        self.0
    }
}

/// Something to do for one state directory.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Work {
    pub pages: PathBuf,
    pub key: String,
    /// Endpoint, key, secret, bucket and region.
    pub at: [String; 5],
    pub prefix: String,
    /// The state directory.
    pub state: PathBuf,
    pub lanes: u32,
    pub lane: u32,
    pub drain: bool,
    pub now: Timestamp,
    pub caught_up: Timestamp,
    /// Entries of the log in one batch.
    pub batch: usize,
    pub part_max_records: u64,
    pub part_bytes: u64,
    pub dedup_window: SignedDuration,
    /// The store refuses requests of this kind for keys with this text: "put", "head", "list" or "get".
    pub refused: Option<(String, String)>,
}

/// A store that refuses some requests.
struct Refusing {
    store: S3Store,
    refused: Option<(String, String)>,
}

impl Refusing {
    fn may(&self, verb: &str, key: &str) -> Result<()> {
        match &self.refused {
            Some((refused, text)) if refused == verb && key.contains(text) => {
                Err(Error::new(ErrorKind::Credentials, format!("no {verb} of {key}")))
            }
            _ => Ok(()),
        }
    }
}

impl ObjectStore for Refusing {
    fn place(&self) -> &str {
        self.store.place()
    }

    fn put_new(&self, key: &str, body: &Path, meta: &PartMeta) -> Result<PutAnswer> {
        self.may("put", key).and_then(|()| self.store.put_new(key, body, meta))
    }

    fn head(&self, key: &str) -> Result<Option<ObjectInfo>> {
        self.may("head", key).and_then(|()| self.store.head(key))
    }

    fn get(&self, key: &str) -> Result<Vec<u8>> {
        self.may("get", key).and_then(|()| self.store.get(key))
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        self.may("list", prefix).and_then(|()| self.store.list(prefix, each))
    }

    fn create_only_is_certain(&self) -> bool {
        false
    }
}

impl Work {
    fn s3(&self) -> TestS3 {
        let [endpoint, key, secret, bucket, region] = self.at.clone();
        TestS3 { endpoint, key, secret, bucket, region }
    }

    /// What a run is told; calls `with` with it.
    fn with_setup<T>(&self, stop: &Stop, with: impl FnOnce(Setup<'_>) -> T) -> T {
        let clock = Fixed(self.now);
        let store = Arc::new(Refusing { store: self.s3().store(), refused: self.refused.clone() });
        let usual = setup(self.state.clone(), &self.key, store, &clock, stop);
        with(Setup {
            manifest: true,
            prefix: self.prefix.clone(),
            cut: CutRules { part_max_records: self.part_max_records, part_bytes: self.part_bytes },
            dedup_window: self.dedup_window,
            uploads: 2,
            ..usual
        })
    }

    pub fn lane(&self) -> LaneOutcome {
        self.lane_until(&Stop::new())
    }

    /// The same as one of several lanes of a process.
    pub fn lane_among(&self, neighbours: &Rc<Neighbours>) -> LaneOutcome {
        self.try_lane(&Stop::new(), neighbours)
    }

    pub fn lane_until(&self, stop: &Stop) -> LaneOutcome {
        loop {
            while Lock::is_held(&self.state) {
                std::thread::sleep(Duration::from_millis(1));
            }
            let outcome = self.try_lane(stop, &Rc::default());
            if outcome.problems.iter().all(|problem| problem.kind() != ErrorKind::Busy) {
                return outcome;
            }
        }
    }

    fn try_lane(&self, stop: &Stop, neighbours: &Rc<Neighbours>) -> LaneOutcome {
        let range = HashRange::of_lane(self.lane, self.lanes);
        self.with_setup(stop, |usual| {
            let name = format!("lanes of {}: {}", self.lanes, self.lane);
            let setup = Setup { settings: usual.settings.clone().of_lane(range, name), ..usual };
            let mut log = Log { work: self, decoder: &setup.decoder, range };
            let seals = if self.drain { Seals::All } else { Seals::Due };
            let neighbours = Rc::clone(neighbours);
            run_lane(&setup, &mut log, LaneRequest { seals, caught_up: self.caught_up, neighbours })
        })
    }

    /// A machine that works alone, and reads the same pages.
    pub fn alone(&self) -> Outcome {
        let pattern = format!("{}/*.json", self.pages.display());
        let request = RunRequest { drain: self.drain, ..RunRequest::default() };
        let source = || Source::Files { pattern: pattern.clone(), max_page_bytes: 1 << 20 };
        self.with_setup(&Stop::new(), |setup| run_alone(&self.state, || job::run(&setup, Some(source()), request)))
    }

    #[cfg(feature = "failpoints")]
    /// A lane in a process of its own, with more in its environment. Its exit code is -1 where it was aborted.
    pub fn in_a_process(&self, env: &[(&str, &str)]) -> Ran {
        self.process(env).output().unwrap().into()
    }

    pub fn process(&self, env: &[(&str, &str)]) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([CHILD_TEST, "--exact", "--nocapture"]).stdin(Stdio::null());
        command.env_remove("ETL_TEST_TALLY").env(CHILD, serde_json::to_string(self).unwrap()).envs(env.iter().copied());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Where it is noted what the lane no longer needs.
    fn released_at(&self) -> PathBuf {
        self.pages.with_file_name(format!("released-{}-{}", self.lanes, self.lane))
    }

    pub fn released(&self) -> u64 {
        std::fs::read_to_string(self.released_at()).map_or(0, |text| text.parse().unwrap())
    }

    pub fn ends(&self) -> u64 {
        pages_in(&self.pages).len() as u64
    }
}

/// What the child process does: the exit code says how it went.
pub fn child(text: &str) -> ! {
    let work: Work = serde_json::from_str(text).unwrap();
    let outcome = work.lane();
    for problem in &outcome.problems {
        eprintln!("{}", problem.chain());
    }
    std::process::exit(outcome.problems.first().map_or(0, |problem| problem.kind().exit_code().into()))
}

fn pages_in(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort_unstable();
    paths
}

/// When the page was received: its name says it.
fn received(page: &Path) -> Timestamp {
    let name = page.file_stem().unwrap().to_str().unwrap();
    Timestamp::from_second(name.split_once('-').unwrap().1.parse().unwrap()).unwrap()
}

/// The log of a lane: each page is an entry of it. What was released cannot be read any more.
struct Log<'a> {
    work: &'a Work,
    decoder: &'a Decoder,
    range: HashRange,
}

impl LaneLog for Log<'_> {
    fn next(&mut self, after: u64) -> Result<Option<LaneBatch>> {
        let (pages, released) = (pages_in(&self.work.pages), self.work.released());
        if after > pages.len() as u64 {
            let what = format!("the log has {released} to {}, and {after} was asked for", pages.len());
            return Err(Error::new(ErrorKind::State, what));
        }
        let first = usize::try_from(after.max(released)).unwrap();
        let taken: Vec<&PathBuf> = pages.iter().skip(first).take(self.work.batch).collect();
        let mut records = Decoded::default();
        for path in &taken {
            let page = self.decoder.page(&std::fs::read(path).unwrap(), received(path)).unwrap();
            records.extend_within(&page, self.range);
        }
        Ok(taken.first().map(|oldest| LaneBatch {
            number: (first + taken.len()) as u64,
            entries: u32::try_from(taken.len()).unwrap(),
            received: received(oldest),
            records,
        }))
    }

    fn passed(&self) -> u64 {
        self.work.released()
    }

    fn release(&mut self, needed: u64) -> Result<()> {
        // Another owner may know more.
        if needed > self.work.released() {
            static COUNT: AtomicU64 = AtomicU64::new(0);
            let (path, number) = (self.work.released_at(), COUNT.fetch_add(1, Ordering::Relaxed));
            let draft = path.with_extension(format!("{}-{number}", std::process::id()));
            std::fs::write(&draft, needed.to_string()).unwrap();
            std::fs::rename(&draft, &path).unwrap();
        }
        Ok(())
    }
}

/// A part, as the store has it.
#[derive(Debug, Clone)]
pub struct Part {
    pub hour: Hour,
    pub number: u32,
    pub key: String,
    pub range: HashRange,
    pub hashes: Vec<[u8; 16]>,
}

/// A bucket, pages, and what they hold.
pub struct Bench {
    dir: tempfile::TempDir,
    pub at: TestS3,
    pub proxy: Proxy,
    pub prefix: String,
    pub key: String,
    /// The records, by what they are compared by.
    truth: BTreeMap<[u8; 16], Hour>,
    ids: BTreeSet<u64>,
    pub now: Timestamp,
    seen: BTreeMap<String, Vec<u8>>,
}

impl Bench {
    /// `None`: there is no store to be had.
    pub fn new(name: &str) -> Option<Self> {
        let at = s3()?;
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("pages")).unwrap();
        Some(Self {
            proxy: Proxy::start(&at.endpoint),
            at,
            prefix: unique_prefix(name),
            key: fernet::Fernet::generate_key(),
            truth: BTreeMap::new(),
            ids: BTreeSet::new(),
            now: time("2023-03-10T12:00:00Z"),
            seen: BTreeMap::new(),
            dir,
        })
    }

    /// A page with a record of each number at a time of 10 March, received at `received`.
    pub fn give_at(&mut self, received: &str, records: impl IntoIterator<Item = (u64, String)>) {
        let records: Vec<(u64, String)> = records.into_iter().collect();
        let (received, pages) = (time(received), self.dir.path().join("pages"));
        let texts: Vec<String> = records.iter().map(|(id, at)| record(*id, &format!("2023-03-10T{at}Z"))).collect();
        let body = page(&self.key, &texts);
        let name = format!("{:06}-{}.json", pages_in(&pages).len(), received.as_second());
        let decoded = self.work(1, 0).with_setup(&Stop::new(), |setup| setup.decoder.page(body.as_bytes(), received));
        let decoded = decoded.unwrap();
        assert_eq!(decoded.records.len(), records.len(), "all of them are records");
        self.truth.extend(decoded.records.iter().map(|record| (record.content_hash(), record.hour)));
        self.ids.extend(records.iter().map(|(id, _)| *id));
        let draft = pages.join("draft");
        std::fs::write(&draft, body).unwrap();
        std::fs::rename(draft, pages.join(name)).unwrap();
    }

    /// Records of the hours 1 to `hours`, by turns.
    pub fn give(&mut self, ids: impl IntoIterator<Item = u64>, hours: u64) {
        let records =
            ids.into_iter().map(|id| (id, format!("{:02}:{:02}:{:02}.000", 1 + id % hours, id / 60 % 60, id % 60)));
        // None of them is dated too far ahead.
        let received = if hours > 2 { "2023-03-10T03:30:00Z" } else { "2023-03-10T01:30:00Z" };
        self.give_at(received, records.collect::<Vec<_>>());
    }

    pub fn work(&self, lanes: u32, lane: u32) -> Work {
        let TestS3 { key, secret, bucket, region, .. } = self.at.clone();
        Work {
            pages: self.dir.path().join("pages"),
            key: self.key.clone(),
            at: [self.proxy.endpoint.clone(), key, secret, bucket, region],
            prefix: self.prefix.clone(),
            state: self.state(&format!("{lanes}-{lane}")),
            lanes,
            lane,
            drain: true,
            now: self.now,
            caught_up: self.now,
            batch: 2,
            part_max_records: 0,
            part_bytes: 64 << 20,
            dedup_window: SignedDuration::from_hours(30 * 24),
            refused: None,
        }
    }

    /// The state directory of that name.
    pub fn state(&self, name: &str) -> PathBuf {
        self.dir.path().join("states").join(name)
    }

    /// The parts in the store, by hour and number.
    pub fn parts(&self) -> Vec<Part> {
        self.work(1, 0).with_setup(&Stop::new(), |setup| {
            let store = self.at.store();
            let mut parts = Vec::new();
            for key in self.at.keys(&format!("{}data/", self.prefix)) {
                let (hour, number) = setup.layout.parse_key(&self.prefix, &key).unwrap();
                let (object, meta) = (store.get(&key).unwrap(), store.head(&key).unwrap().unwrap().meta.unwrap());
                let decoder = &setup.decoder;
                let read = read_part(setup.layout.format(), &object, &decoder.compactor, &decoder.schema.dating, hour)
                    .unwrap();
                assert_eq!(read.identity, meta.identity, "{key}");
                let hashes = read.hashes.into_iter().map(|hash| hash.0).collect();
                parts.push(Part { hour, number, key, range: meta.range, hashes });
            }
            parts
        })
    }

    /// Everything in the store.
    fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        let (store, keys) = (self.at.store(), self.at.keys(&self.prefix));
        keys.into_iter().map(|key| (key.clone(), store.get(&key).unwrap())).collect()
    }

    /// Checks that nothing is there twice, in a wrong hour, or outside of a part's range, that numbers have no hole, and that no
    /// object changed since the last time. Gives how many records are not there.
    #[track_caller]
    pub fn is_sound(&mut self, case: &str) -> usize {
        let (mut found, mut next) = (BTreeSet::new(), BTreeMap::new());
        let (mut twice, parts) = (0, self.parts());
        for part in &parts {
            let number = next.entry(part.hour).or_insert(0);
            assert_eq!(part.number, *number, "{case}: {} has a hole before it", part.key);
            *number += 1;
            for hash in &part.hashes {
                assert!(part.range.contains(*hash), "{case}: {} has a record outside of {}", part.key, part.range);
                assert_eq!(self.truth.get(hash), Some(&part.hour), "{case}: {}", part.key);
                twice += usize::from(!found.insert(*hash));
            }
        }
        let objects = self.objects();
        let changed = self.seen.iter().filter(|(key, bytes)| objects.get(*key) != Some(bytes)).count();
        self.seen = objects;
        let created = self.proxy.created(&self.prefix);
        let rewritten = changed + created.values().filter(|n| **n > 1).count();
        tally::found(0, twice, rewritten);
        assert_eq!((twice, rewritten), (0, 0), "{case}: {parts:#?} {created:#?}");
        self.truth.len() - found.len()
    }

    /// Checks that all of it is there once.
    #[track_caller]
    pub fn is_complete(&mut self, case: &str) {
        let lost = self.is_sound(case);
        tally::found(lost, 0, 0);
        assert_eq!(lost, 0, "{case}: records are missing: {:#?}", self.parts());
    }

    /// The manifests, by key.
    pub fn manifests(&self) -> BTreeMap<String, Value> {
        let objects = self.objects().into_iter().filter(|(key, _)| key[self.prefix.len()..].starts_with("manifest/"));
        objects.map(|(key, bytes)| (key, serde_json::from_slice(&bytes).unwrap())).collect()
    }

    /// A machine with the command, an empty state and the same bucket.
    pub fn place(&self) -> Place {
        let config = format!(
            "[source]\nurl = \"file:{}/*.json\"\n[load]\nmanifest = true\n{}",
            self.dir.path().join("pages").display(),
            self.at.behind(&self.proxy.endpoint).load(&self.prefix)
        );
        let mut place = Place::new(&config);
        place.key.clone_from(&self.key);
        place.set("FERNET_KEY", &self.key);
        place.trust(&self.at);
        place
    }

    /// `etl verify --deep` and `etl restore` on a machine that knows only the bucket.
    #[track_caller]
    pub fn is_what_the_command_says(&self) {
        let place = self.place();
        place.etl(&["replay", "--from-s3"]).exits(0);
        let verified = place.etl(&["verify", "--deep", "--json"]).exits(0).json();
        assert_eq!(verified["rows"], self.truth.len(), "{verified}");
        let restored = place.etl(&["restore"]).exits(0).out;
        let ids =
            restored.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["record_id"].as_u64().unwrap());
        let mut ids: Vec<u64> = ids.collect();
        ids.sort_unstable();
        assert_eq!(ids, self.ids.iter().copied().collect::<Vec<_>>());
    }
}

pub fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Checks that a lane's run went well.
#[track_caller]
pub fn went_well(outcome: &LaneOutcome, case: &str) {
    let problems: Vec<String> = outcome.problems.iter().map(|problem| problem.chain().to_string()).collect();
    assert!(problems.is_empty() && outcome.place.is_some(), "{case}: {problems:#?}");
}
