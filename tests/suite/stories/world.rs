//! A pipeline as its operator has it: run as cron would, read as the operator reads, and mended by what he is told.

use std::collections::BTreeMap;

use etl::store::ObjectStore;
use serde_json::Value;

use crate::support::cli::{Place, Ran, gunzip, page, record};
use crate::support::origin::{Answer, Origin};
use crate::support::{TestS3, unique_prefix};

/// The time of the logs: their hour is closed.
const PAST: &str = "2023-03-10T01:00:00.000Z";

/// A pipeline that was well, and all ids that its source ever had.
pub struct World {
    pub place: Place,
    pub origin: Origin,
    /// More of the configuration, after what every pipeline has.
    more: String,
    ids: Vec<u64>,
    /// The store and the prefix there, where it is not the folder `lake`.
    s3: Option<(TestS3, String)>,
}

impl World {
    /// One that ran well once.
    pub fn new() -> Self {
        Self::with("")
    }

    /// The same with this at the end of its configuration.
    pub fn with(more: &str) -> Self {
        let mut world = Self::unused(more, None);
        world.configure("");
        world.runs_well();
        world
    }

    /// One that sends to S3 and ran well once.
    pub fn in_s3(s3: TestS3) -> Self {
        let mut world = Self::unused("", Some((s3.clone(), unique_prefix("stories"))));
        world.place.trust(&s3);
        world.configure("");
        world.runs_well();
        world
    }

    /// One that has never run, and has its state on a disk of its own.
    pub fn unused_on_a_disk() -> Self {
        let world = Self::unused("[state]\ndir = \"disk/state\"\nmin_free = \"8MiB\"\n", None);
        world.configure("");
        world
    }

    fn unused(more: &str, s3: Option<(TestS3, String)>) -> Self {
        let origin = Origin::start(vec![Answer::Page("[]".into())]);
        Self { place: Place::in_memory(""), origin, more: more.to_owned(), ids: Vec::new(), s3 }
    }

    /// Writes the configuration; `hours` are more lines of `[hours]`.
    pub fn configure(&self, hours: &str) {
        let load = match &self.s3 {
            Some((s3, prefix)) => s3.load(prefix),
            None => "to = \"file:lake\"\n".to_owned(),
        };
        self.place.configure(&self.config(hours, &load));
    }

    /// The configuration with these lines in `[hours]` and `[load]`.
    pub fn config(&self, hours: &str, load: &str) -> String {
        let (url, more) = (&self.origin.url, &self.more);
        format!("[source]\nurl = \"{url}\"\nretries = 1\n[hours]\nlate_hold = \"0s\"\n{hours}[load]\n{load}{more}")
    }

    /// A log that the source has from now on, as long ago that its hour is closed.
    pub fn new_log(&mut self) -> String {
        self.log_at(PAST)
    }

    /// The same at a time.
    pub fn log_at(&mut self, at: &str) -> String {
        let id = self.ids.len() as u64 + 1;
        self.ids.push(id);
        record(id, at)
    }

    /// The source hands out another log, once.
    pub fn supply(&mut self) {
        let log = self.new_log();
        self.hand_out(&[log]);
    }

    /// The source hands out these logs once, and then nothing.
    pub fn hand_out(&self, logs: &[String]) {
        self.origin.script(vec![Answer::Page(page(&self.place.key, logs)), Answer::Page("[]".into())]);
    }

    /// The source says all it ever had once more.
    pub fn hand_out_all(&self) {
        self.hand_out(&self.logs());
    }

    /// All logs that the source ever had.
    pub fn logs(&self) -> Vec<String> {
        self.ids.iter().map(|id| record(*id, PAST)).collect()
    }

    #[track_caller]
    pub fn runs_well(&mut self) {
        self.supply();
        self.place.etl(&["run"]).exits(0);
        self.is_well();
    }

    /// The monitor and the terminal say that all is well, and it is: each record is in the store exactly once.
    #[track_caller]
    pub fn is_well(&self) {
        let check = self.check();
        assert!(check.code == 0 && check.out.starts_with("OK - "), "{check:?}");
        let text = self.place.etl(&["status"]).exits(0).out;
        assert!(text.lines().next().unwrap().ends_with(": all well"), "{text}");
        assert!(self.nothing_is_at_risk(), "{:?} of {:?}", self.stored(), self.ids);
        self.place.etl(&["verify", "--deep"]).exits(0);
        // The verification found nothing that the monitor did not know.
        assert_eq!(self.check().code, 0);
    }

    /// Whether each record is in the store exactly once.
    pub fn nothing_is_at_risk(&self) -> bool {
        let stored = self.stored();
        self.ids.iter().all(|id| stored.get(id) == Some(&1)) && stored.len() == self.ids.len()
    }

    /// How often each id is in the store.
    pub fn stored(&self) -> BTreeMap<u64, u32> {
        let lines: Vec<String> = match &self.s3 {
            Some((s3, prefix)) => {
                let parts = s3.keys(&format!("{prefix}data/"));
                parts.iter().flat_map(|key| gunzip(&s3.store().get(key).unwrap())).collect()
            }
            None => self.place.lake("lake").into_iter().flat_map(|(_, lines)| lines).collect(),
        };
        let mut seen = BTreeMap::new();
        for line in lines {
            let value: Value = serde_json::from_str(&line).unwrap();
            *seen.entry(value["record_id"].as_u64().unwrap()).or_default() += 1;
        }
        seen
    }

    /// `etl status --check`: one line and 0 to 3.
    #[track_caller]
    pub fn check(&self) -> Ran {
        let ran = self.place.etl(&["status", "--check"]);
        assert!((0..=3).contains(&ran.code) && ran.out.lines().count() == 1 && ran.err.is_empty(), "{ran:?}");
        ran
    }

    /// A run that fails with `exit` names what is wrong in one line, with the next step; so do the terminal, the monitor and the
    /// JSON afterwards, and none of them says that all is well. Gives the next step.
    #[track_caller]
    pub fn fails(&self, exit: i32, named: &[&str]) -> String {
        let ran = self.place.etl(&["run"]).exits(exit);
        self.is_said(&ran, named)
    }

    /// The same of a run that ended already.
    #[track_caller]
    pub fn is_said(&self, ran: &Ran, named: &[&str]) -> String {
        let (message, hint) = told(ran, "ERROR");
        named.iter().for_each(|noun| assert!(message.contains(noun), "{noun:?} is not in {message:?}"));
        let check = self.check();
        assert!((1..=2).contains(&check.code), "{check:?} after {ran:?}");
        let line = |text: &str| text.replace('|', " ");
        assert!(check.out.contains(&line(&message)) && check.out.contains(&line(&hint)), "{check:?} after {ran:?}");
        let text = self.place.etl(&["status"]).out;
        assert!(!text.contains("all well"), "{text}");
        assert!(text.lines().any(|line| line.trim() == message), "{message:?} is not a line of {text}");
        assert!(text.lines().any(|line| line.trim() == format!("hint: {hint}")), "{hint:?} is not a line of {text}");
        let json = self.place.status();
        let run = &json["last_run"];
        assert_eq!((&run["problems"][0], &run["hint"]), (&message.into(), &hint.clone().into()), "{run}");
        assert_eq!(run["exit"], ran.code);
        hint
    }
}

/// The message and the next step of the only line of this level on stderr.
#[track_caller]
pub fn told(ran: &Ran, level: &str) -> (String, String) {
    let lines: Vec<Value> = ran.err.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of_level: Vec<&Value> = lines.iter().filter(|line| line["level"] == level).collect();
    assert_eq!(of_level.len(), 1, "{ran:?}");
    let text = |name: &str| of_level[0][name].as_str().unwrap_or_default().to_owned();
    let (message, hint) = (text("message"), text("hint"));
    assert!(!message.contains(['\n', '\r']) && !hint.contains(['\n', '\r']), "{ran:?}");
    assert!(!hint.is_empty() || level != "ERROR", "it does not say what to do: {ran:?}");
    (message, hint)
}

/// The commands that a text tells to run: those in backticks that begin with `etl`.
pub fn commands(text: &str) -> Vec<Vec<String>> {
    let quoted = text.split('`').skip(1).step_by(2).filter_map(|command| command.strip_prefix("etl "));
    quoted.map(|command| command.split_whitespace().map(str::to_owned).collect()).collect()
}

/// The first such command.
#[track_caller]
pub fn command(text: &str) -> Vec<String> {
    commands(text).into_iter().next().unwrap_or_else(|| panic!("no command in {text:?}"))
}

/// Runs a command that was told.
#[track_caller]
pub fn follow(world: &World, command: &[String], exit: i32) -> Ran {
    let args: Vec<&str> = command.iter().map(String::as_str).collect();
    world.place.etl(&args).exits(exit)
}
