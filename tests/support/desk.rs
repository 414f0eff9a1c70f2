//! The pipeline in this process, under a clock that a test sets.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use etl::error::ErrorKind;
use etl::hour::Clock;
use etl::hour::closing::ClosingRules;
use etl::hour::verdict::Verdict;
use etl::job::{self, Outcome, RunRequest, Setup, Source};
use etl::net::backoff::Backoff;
use etl::page::decode::Decoder;
use etl::record::Schema;
use etl::source::{Headers, HttpSettings, HttpSource, PageShape, PageUrl, Template};
use etl::state::Lock;
use etl::state::status::{self, Status};
use etl::stop::Stop;
use etl::store::lake::FileStore;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::cli::{gunzip, page};
use super::origin::{Answer, Origin};
use super::setup::{settings, setup};

/// Runs when nothing holds the lock of `state`, and again where something took it in between: a process that another test of this
/// one is just starting has all its open files for a moment, the lock of the last run too.
pub fn run_alone(state: &Path, mut run: impl FnMut() -> Outcome) -> Outcome {
    loop {
        while Lock::is_held(state) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let outcome = run();
        if outcome.problems.iter().all(|problem| problem.kind() != ErrorKind::Busy) {
            return outcome;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A clock that stands still until it is set.
struct SetClock(Mutex<Timestamp>);

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

fn client(stop: &Stop) -> HttpSource {
    let settings = HttpSettings {
        shape: PageShape::default(),
        headers: Headers::new([]).unwrap(),
        timeout: Duration::from_secs(5),
        retries: 0,
        max_page_bytes: 1 << 20,
        backoff: Backoff::SOURCE,
    };
    HttpSource::new(settings, stop.clone())
}

/// A state directory, a lake, a source and a clock. Grace is 10 minutes, late records wait an hour, as may the future.
pub struct Desk {
    dir: tempfile::TempDir,
    clock: SetClock,
    zone: &'static str,
    key: String,
    origin: Origin,
    sequence: &'static str,
    /// Whether manifests are published, and digests.
    publishes: bool,
}

impl Desk {
    /// A source whose records have no number.
    pub fn without_sequence() -> Self {
        Self { sequence: "", ..Self::new("UTC") }
    }

    pub fn new(zone: &'static str) -> Self {
        Self {
            sequence: "record_id",
            dir: tempfile::tempdir().unwrap(),
            clock: SetClock(Mutex::new(Timestamp::UNIX_EPOCH)),
            zone,
            key: fernet::Fernet::generate_key(),
            origin: Origin::start(vec![Answer::Page("[]".into())]),
            publishes: false,
        }
    }

    /// The same, with manifests and digests.
    pub fn publishing(zone: &'static str) -> Self {
        Self { publishes: true, ..Self::new(zone) }
    }

    /// The names in a folder, sorted.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path().join(folder)).into_iter().flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }

    /// A run at this time; the source hands out these plaintexts.
    #[track_caller]
    pub fn run_at(&self, time: &str, plaintexts: &[String]) -> Outcome {
        self.polled_at(time, Answer::Page(page(&self.key, plaintexts)))
    }

    /// A run at this time; the source answers this.
    pub fn polled_at(&self, time: &str, answer: Answer) -> Outcome {
        *self.clock.0.lock().unwrap() = time.parse().unwrap();
        self.origin.script(vec![answer]);
        let stop = Stop::new();
        let mut client = client(&stop);
        let url = PageUrl::parse(&self.origin.url).unwrap();
        run_alone(&self.dir.path().join("state"), || {
            let source = Source::Http { client: &mut client, template: Template::of_links(url.clone()) };
            job::run(&self.setup(&stop), Some(source), RunRequest::default())
        })
    }

    /// What a run would do that asks `url`.
    pub fn dry_run(&self, url: &str) -> etl::error::Result<job::DryRun> {
        let stop = Stop::new();
        let mut source =
            Source::Http { client: &mut client(&stop), template: Template::of_links(PageUrl::parse(url).unwrap()) };
        job::dry_run(&self.setup(&stop), &mut source)
    }

    /// A page with these plaintexts.
    pub fn page(&self, plaintexts: &[String]) -> String {
        page(&self.key, plaintexts)
    }

    fn setup<'a>(&'a self, stop: &'a Stop) -> Setup<'a> {
        let zone = TimeZone::get(self.zone).unwrap();
        let store = Arc::new(FileStore::new(self.dir.path().join("lake")));
        let usual = setup(self.dir.path().join("state"), &self.key, store, &self.clock, stop);
        Setup {
            settings: settings(self.zone),
            decoder: Decoder { schema: Schema::of_the_origin(zone).with_id_in(self.sequence), ..usual.decoder },
            closing: self.closing(),
            manifest: self.publishes,
            ..usual
        }
    }

    /// A path in the state directory.
    pub fn state(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join("state").join(name)
    }

    /// When hours close.
    pub fn closing(&self) -> ClosingRules {
        ClosingRules {
            zone: TimeZone::get(self.zone).unwrap(),
            grace: SignedDuration::from_mins(10),
            late_hold: SignedDuration::from_hours(1),
        }
    }

    /// The verdict on an hour as of the clock, and why.
    pub fn verdict(&self, hour: &str) -> (Verdict, String) {
        let hour = hour.parse().unwrap();
        let dir = self.dir.path().join("state");
        let judged = status::verdicts(&dir, &self.closing(), self.sequence, self.clock.now(), (hour, hour)).unwrap();
        let (_, verdict, reason) = judged.into_iter().next().unwrap();
        (verdict, reason)
    }

    /// The status as of the clock.
    pub fn status(&self) -> Status {
        status::read(&self.dir.path().join("state"), self.clock.now()).unwrap()
    }

    /// The lines of all parts, part by part.
    pub fn lines(&self) -> Vec<String> {
        let pattern = format!("{}/lake/data/*/*/*/*/*.gz", self.dir.path().display());
        glob::glob(&pattern).unwrap().flat_map(|path| gunzip(&std::fs::read(path.unwrap()).unwrap())).collect()
    }

    /// The parts in the lake, shortened to `year-month-dayThour/part`, and how many records each holds.
    pub fn parts(&self) -> Vec<(String, usize)> {
        let mut parts = Vec::new();
        let pattern = format!("{}/lake/data/*/*/*/*/*.gz", self.dir.path().display());
        for path in glob::glob(&pattern).unwrap() {
            let path = path.unwrap();
            let names: Vec<&str> = path.iter().rev().take(5).map(|name| name.to_str().unwrap()).collect();
            let digits = |n: usize| names[n].split('_').next().unwrap();
            let part: u32 = names[0][5..10].parse().unwrap();
            let name = format!("{}-{}-{}T{}/{part}", digits(4), digits(3), digits(2), digits(1));
            parts.push((name, gunzip(&std::fs::read(&path).unwrap()).len()));
        }
        parts
    }
}
