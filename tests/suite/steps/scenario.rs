//! Scenarios: a few runs over scripted pages that together pass every durable step.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use fernet::Fernet;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::bench::Bench;
use crate::support::cli::{Place, record};
use crate::support::form::form;

/// A key that is in the ring from the start, and one that joins it later.
struct Keys {
    first: String,
    second: String,
}

/// What happens outside before a stage: a foreign object appears, a file is damaged.
type Outside = Box<dyn Fn(&Bench) + Sync + Send>;

/// One process, and what it meets.
pub struct Stage {
    pub name: &'static str,
    pub args: Vec<&'static str>,
    pub page: Option<String>,
    pub late_hold: &'static str,
    pub dedup_window: &'static str,
    pub max_future: &'static str,
    pub env: Vec<(&'static str, String)>,
    pub outside: Option<Outside>,
    /// Its exit code where nothing crashes.
    pub code: i32,
    /// The file source of a backfill instead of the scripted one.
    files: Option<PathBuf>,
}

impl Stage {
    fn new(name: &'static str, keys: &str, page: Vec<Value>) -> Self {
        Self {
            name,
            args: vec!["run"],
            page: Some(serde_json::to_string(&page).unwrap()),
            late_hold: "0s",
            dedup_window: "30d",
            max_future: "1h",
            env: vec![("FERNET_KEY", keys.to_owned())],
            outside: None,
            code: 0,
            files: None,
        }
    }

    /// Its `etl.toml`.
    pub fn config(&self, url: &str) -> String {
        let asked = || format!("{url}?from={{since}}");
        let url = self.files.as_ref().map_or_else(asked, |dir| format!("file:{}/*.json", dir.display()));
        let Self { late_hold, dedup_window, max_future, .. } = self;
        format!(
            "[source]\nurl = \"{url}\"\nretries = 0\n[hours]\nlate_hold = \"{late_hold}\"\n\
             dedup_window = \"{dedup_window}\"\nmax_future = \"{max_future}\"\n\
             [load]\nto = \"file:lake\"\nmanifest = true\npart_max_records = 3\n"
        )
    }

    fn holding(self) -> Self {
        Self { late_hold: "1h", ..self }
    }

    fn exits(self, code: i32) -> Self {
        Self { code, ..self }
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.env.push((name, value.to_owned()));
        self
    }

    fn outside(self, act: impl Fn(&Bench) + Sync + Send + 'static) -> Self {
        Self { outside: Some(Box::new(act)), ..self }
    }
}

/// Runs in their order.
pub struct Scenario {
    pub name: &'static str,
    pub stages: Vec<Stage>,
    /// Stages before this one only set the scene: they are not crashed.
    pub first: usize,
}

/// An element with a new token for record `id` of `minute` in `hour` of 10 March.
fn log(key: &str, id: u64, hour: u64, minute: u64) -> Value {
    token(key, &record(id, &format!("2023-03-10T{hour:02}:{minute:02}:00.000Z")))
}

fn token(key: &str, plaintext: &str) -> Value {
    json!({"data": Fernet::new(key).unwrap().encrypt(plaintext.as_bytes())})
}

/// All that a table of crashes can meet in daily work.
pub fn daily() -> Scenario {
    let keys = Keys { first: Fernet::generate_key(), second: Fernet::generate_key() };
    let (a, b) = (keys.first.as_str(), keys.second.as_str());
    let both = format!("{b},{a}");
    let ahead = Timestamp::now().checked_add(SignedDuration::from_hours(5)).unwrap();
    let future = token(a, &record(70, &format!("{ahead:.3}")));
    let stages = vec![
        Stage::new(
            "a page with duplicates and an hour change",
            a,
            vec![
                log(a, 1, 1, 10),
                log(a, 2, 1, 50),
                log(a, 3, 1, 20),
                log(a, 4, 1, 55),
                log(a, 2, 1, 50),
                log(a, 5, 2, 1),
            ],
        ),
        Stage::new(
            "odd tokens, and records that are held as late",
            a,
            vec![
                log(a, 5, 2, 1),
                log(a, 6, 2, 30),
                log(a, 7, 1, 59),
                log(b, 8, 2, 31),
                future,
                token(a, "yesterday"),
                json!({"data": "garbage"}),
                json!({"nothing": 1}),
            ],
        )
        .holding()
        .exits(65),
        Stage::new("a full generation", a, vec![log(a, 9, 2, 40), log(a, 6, 2, 30), log(a, 10, 3, 0)])
            .holding()
            .with("ETL_FULL", "1"),
        Stage::new("a generation that replaces the others", a, vec![log(a, 11, 3, 1), log(a, 1, 1, 10)])
            .holding()
            .with("ETL_WORTH_REPLACING", "1"),
        Stage { page: Some("[1, 2, 3]".into()), ..Stage::new("a body that is no page", a, vec![]) }.exits(75),
        Stage::new("a page of another key", a, vec![log(b, 12, 3, 2), log(b, 13, 3, 3)]).exits(77),
        Stage { max_future: "400d", ..Stage::new("a key that joins the ring", &both, vec![log(b, 14, 4, 0)]) },
        Stage { dedup_window: "0s", ..Stage::new("hashes that are forgotten", &both, vec![log(a, 15, 5, 0)]) },
        Stage::new("a late record of a forgotten hour", &both, vec![log(b, 16, 1, 5), log(b, 1, 1, 10)]),
        Stage::new("a foreign part in the way", &both, vec![log(b, 61, 6, 1), log(b, 62, 6, 2)])
            .outside(foreign(a.to_owned())),
        Stage { args: vec!["run", "--drain"], ..Stage::new("a drain of the open hour", &both, vec![]) },
    ];
    Scenario { name: "daily", stages, first: 0 }
}

/// A part that another machine made of hour 06 of 10 March, put into the lake.
fn foreign(key: String) -> impl Fn(&Bench) {
    let mut other = Place::new("[source]\nurl = \"file:*.json\"\n[load]\nto = \"file:lake\"\n");
    other.set("FERNET_KEY", &key);
    let page = [log(&key, 60, 6, 0), log(&key, 61, 6, 1)];
    std::fs::write(other.path("page.json"), serde_json::to_string(&page).unwrap()).unwrap();
    other.etl(&["run"]).exits(0);
    let name = form().key("lake/data/2023_y/03_m/10_d/06_h/part-00000.ndjson.gz");
    let part = std::fs::read(other.path(&name)).unwrap();
    move |bench| {
        let path = bench.place.path(&name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, &part).unwrap();
    }
}

/// More hours than the ledger's head keeps.
pub fn archive(dir: PathBuf) -> Scenario {
    let a = Fernet::generate_key();
    let hours = (0..72).map(|n| token(&a, &record(n, &format!("2023-03-{:02}T{:02}:00:00.000Z", 1 + n / 24, n % 24))));
    let page: Vec<Value> = hours.collect();
    std::fs::write(dir.join("page.json"), serde_json::to_string(&page).unwrap()).unwrap();
    let stages = vec![
        Stage { files: Some(dir), ..Stage::new("a backfill of 72 hours", &a, vec![]) },
        Stage::new("an hour too many", &a, vec![log(&a, 100, 1, 0)]),
        Stage::new(
            "a late record of an archived hour",
            &a,
            vec![
                token(&a, &record(101, "2023-03-01T05:30:00.000Z")),
                token(&a, &record(5, "2023-03-01T05:00:00.000Z")),
            ],
        ),
    ];
    Scenario { name: "archive", stages, first: 1 }
}

/// Changes a byte of each file of quarantined tokens.
fn damage_quarantine(bench: &Bench) {
    for entry in std::fs::read_dir(bench.place.path("etl-state/quarantine")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        if path.extension().is_some_and(|extension| extension == "-") {
            bytes[0] ^= 1;
            std::fs::write(&path, bytes).unwrap();
        }
    }
}

/// A write-ahead log that was damaged while records were in it, and then a quarantine.
pub fn damage() -> Scenario {
    let a = Fernet::generate_key();
    let stages = vec![
        Stage::new("records that are held as late", &a, vec![log(&a, 1, 1, 0), log(&a, 2, 1, 1), log(&a, 3, 2, 0)])
            .holding(),
        Stage::new("a damaged write-ahead log", &a, vec![log(&a, 4, 2, 1), log(&a, 3, 2, 0)])
            .holding()
            .outside(|bench| std::fs::write(bench.place.path("etl-state/wal/000001/conf"), [0xff; 64]).unwrap()),
        Stage::new("an odd token", &a, vec![log(&a, 5, 3, 0), token(&a, "yesterday")]).exits(65),
        Stage::new("a damaged quarantine", &a, vec![log(&a, 6, 3, 1), token(&a, "yesterday"), token(&a, "today")])
            .outside(damage_quarantine)
            .exits(74),
        Stage::new("a run after it", &a, vec![log(&a, 7, 3, 2), token(&a, "tomorrow")]).exits(65),
        Stage::new("a quarantine of too many files", &a, vec![log(&a, 8, 3, 3), token(&a, "today")])
            .with("ETL_QUARANTINE_FILES", "1"),
    ];
    Scenario { name: "damage", stages, first: 1 }
}

/// The object of an hour whose hashes are forgotten is away when a late record of it comes, and then it is there again.
pub fn parked() -> Scenario {
    let a = Fernet::generate_key();
    let kept = Arc::new(Mutex::new(Vec::new()));
    let part = form().key("lake/data/2023_y/03_m/10_d/01_h/part-00000.ndjson.gz");
    let put_back = part.clone();
    let (taken, back) = (Arc::clone(&kept), kept);
    let stages = vec![
        Stage::new("an hour", &a, vec![log(&a, 1, 1, 0), log(&a, 2, 1, 1)]),
        Stage { dedup_window: "0s", ..Stage::new("its hashes are forgotten", &a, vec![log(&a, 3, 2, 0)]) },
        Stage::new(
            "late records of it while its object is away",
            &a,
            vec![log(&a, 1, 1, 0), log(&a, 4, 1, 2), log(&a, 5, 3, 0)],
        )
        .outside(move |bench| {
            let path = bench.place.path(&part);
            if let Ok(bytes) = std::fs::read(&path) {
                *taken.lock().unwrap() = bytes;
                std::fs::remove_file(path).unwrap();
            }
        })
        .exits(76),
        Stage { args: vec!["replay"], ..Stage::new("a replay when it is back", &a, vec![]) }
            .outside(move |bench| std::fs::write(bench.place.path(&put_back), &*back.lock().unwrap()).unwrap()),
        Stage { args: vec!["run", "--drain"], ..Stage::new("a run after it", &a, vec![log(&a, 4, 1, 2)]) },
    ];
    Scenario { name: "parked", stages, first: 2 }
}

/// Objects that are deleted: one is put back from a copy in `copies`, one is given up.
pub fn repaired(copies: PathBuf) -> Scenario {
    let a = Fernet::generate_key();
    let hour = |hour: u32| format!("lake/data/2023_y/03_m/10_d/{hour:02}_h");
    let (form, extension) = (form(), form().extension);
    let part = move |n: u32| form.key(&format!("{}/part-00000.ndjson.gz", hour(n)));
    let from: &'static str = copies.display().to_string().leak();
    let take_away = move |bench: &Bench, n: u32| {
        let path = bench.place.path(part(n));
        if let Ok(bytes) = std::fs::read(&path) {
            std::fs::write(copies.join(format!("{n}.{extension}")), bytes).unwrap();
            std::fs::remove_file(path).unwrap();
        }
    };
    let take_away_too = take_away.clone();
    let stages = vec![
        Stage::new("two hours", &a, vec![log(&a, 1, 1, 0), log(&a, 2, 1, 1), log(&a, 3, 2, 0)]),
        Stage { args: vec!["repair", "--from", from], ..Stage::new("a part that is put back", &a, vec![]) }
            .outside(move |bench| take_away(bench, 1)),
        Stage {
            args: vec!["repair", "--accept-loss", "2023-03-10T02"],
            ..Stage::new("a part that is given up", &a, vec![])
        }
        .outside(move |bench| take_away_too(bench, 2)),
        Stage::new("records of that hour", &a, vec![log(&a, 3, 2, 0), log(&a, 4, 2, 1), log(&a, 1, 1, 0)]),
        Stage { args: vec!["run", "--drain"], ..Stage::new("a run after it", &a, vec![log(&a, 4, 2, 1)]) },
    ];
    Scenario { name: "repaired", stages, first: 1 }
}

/// A part that the lake does not take at first, and that is cut again when it would.
pub fn recut() -> Scenario {
    let a = Fernet::generate_key();
    let folder = form().key("lake/data/2023_y/03_m/10_d/04_h");
    let taken_away = folder.clone();
    let stages = vec![
        Stage::new("an hour", &a, vec![log(&a, 1, 1, 0)]),
        Stage::new("a part that is not taken", &a, vec![log(&a, 5, 4, 0), log(&a, 6, 4, 1)])
            .outside(move |bench| std::fs::write(bench.place.path(&folder), "in the way").unwrap())
            .exits(74),
        Stage { args: vec!["repair", "--recut", "2023-03-10T04"], ..Stage::new("to be cut again", &a, vec![]) }
            .outside(move |bench| {
                let folder = bench.place.path(&taken_away);
                if folder.is_file() {
                    std::fs::remove_file(folder).unwrap();
                }
            }),
        Stage::new("an hour later", &a, vec![log(&a, 7, 5, 0)]).outside(an_hour_later),
        Stage { args: vec!["run", "--drain"], ..Stage::new("a run after it", &a, vec![log(&a, 6, 4, 1)]) },
    ];
    Scenario { name: "recut", stages, first: 2 }
}

/// Has the hours that are to be cut again wait for long.
fn an_hour_later(bench: &Bench) {
    let path = bench.place.path("etl-state/recut.json");
    if path.exists() {
        let body = br#"{"2023-03-10T04":"2023-03-11T00:00:00Z"}"#;
        std::fs::write(path, etl::state::files::checked::with_checksum(body)).unwrap();
    }
}
