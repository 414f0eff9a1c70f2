//! Power cuts at random moments: whatever a run had acknowledged is there, nothing is there twice, and none of it passes for
//! damage.
//!
//! The state directory is on a disk that loses what was not flushed; the lake is outside, as S3 is. Each cut begins where the one
//! before left the disk.

use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::cli::{Place, page, record};
use crate::support::form::{form_of, in_form};
use crate::support::origin::{Answer, Origin};
use crate::support::power::Disk;
use crate::support::tally;

/// Records of a page.
const PAGE: u64 = 60;

fn draw(seed: u64, n: u64, below: u64) -> u64 {
    let digest = blake3::hash(&[seed.to_le_bytes(), n.to_le_bytes()].concat());
    u64::from_le_bytes(*digest.as_bytes().first_chunk().unwrap()) % below
}

/// Runs on a disk whose power fails now and then.
struct Grid {
    seed: u64,
    drawn: u64,
    place: Place,
    origin: Origin,
    disk: Option<Disk>,
    /// Pages that runs have acknowledged.
    acknowledged: u64,
}

impl Grid {
    fn draw(&mut self, below: u64) -> u64 {
        self.drawn += 1;
        draw(self.seed, self.drawn, below)
    }

    /// The page that is not acknowledged yet: half of its hours are new, half have parts already.
    fn next_page(&mut self) {
        let first = self.acknowledged * PAGE;
        let records: Vec<String> = (first..first + PAGE)
            .map(|id| {
                let hour = if id % 2 == 0 { id / 100 % 240 } else { id % 7 };
                record(id, &format!("2023-03-{:02}T{:02}:10:00.{:03}Z", 1 + hour / 24, hour % 24, id % 1000))
            })
            .collect();
        self.origin.script(vec![Answer::Page(page(&self.place.key, &records))]);
        // Some pages wait as late records, in the log and the journal, while later ones come.
        let hold = ["0s", "1h"][usize::try_from(self.draw(2)).unwrap()];
        self.place.configure(&format!(
            "[source]\nurl = \"{}\"\nretries = 0\n[hours]\nlate_hold = \"{hold}\"\n[load]\nto = \"file:lake\"\n\
             part_max_records = 20\n[state]\ndir = \"disk/etl-state\"\nmin_free = \"1MiB\"\n",
            self.origin.url
        ));
    }

    /// Runs, until the power fails in one of them or right after it. Gives what is left on the disk.
    fn run_until_the_cut(&mut self) -> Vec<u8> {
        loop {
            self.next_page();
            let mut run = self.place.spawn(&["run"]);
            let moment = Instant::now() + Duration::from_micros(self.draw(90_000));
            while Instant::now() < moment && run.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_micros(200));
            }
            let Some(status) = run.try_wait().unwrap() else { return self.cut(Some(run)) };
            assert_eq!(status.code(), Some(0), "seed {}", self.seed);
            self.acknowledged += 1;
            if self.draw(3) == 0 {
                return self.cut(None);
            }
        }
    }

    /// The run stands still while the power fails, so that the lake is as of that moment, too.
    fn cut(&mut self, run: Option<Child>) -> Vec<u8> {
        if let Some(run) = &run {
            let _ = Command::new("kill").args(["-STOP", &run.id().to_string()]).status();
        }
        let seed = self.draw(u64::MAX);
        let image = self.disk.as_ref().unwrap().cut(seed);
        if let Some(mut run) = run {
            run.kill().unwrap();
            run.wait().unwrap();
        }
        self.disk = None;
        image
    }

    /// The power is back: the file system replays its journal, and so do we.
    fn recover(&mut self, image: Vec<u8>) {
        self.disk = Disk::mount(image, &self.place.path("disk"));
        assert!(self.disk.is_some(), "seed {}: the disk cannot be mounted any more", self.seed);
        let ran = self.place.etl(&["replay"]);
        let case = format!("seed {}, {} acknowledged", self.seed, self.acknowledged);
        assert_eq!(ran.code, 0, "{case}: {ran:#?}");
        assert!(!ran.err.contains("damaged") && !ran.err.contains("gone"), "{case}: a cut is no damage: {ran:#?}");
        let aside = std::fs::read_dir(self.place.path("disk/etl-state/wal"));
        let names = aside.into_iter().flatten().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let aside: Vec<_> = names.filter(|name| name.contains("corrupt")).collect();
        assert!(aside.is_empty(), "{case}: a cut is no damage: {aside:?} {ran:#?}");
    }

    fn check(&self) {
        self.place.etl(&["run", "--drain"]).exits(0);
        let restored = self.place.etl(&["restore"]).exits(0).out;
        let values = restored.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut found: Vec<u64> = values.map(|value| value["record_id"].as_u64().unwrap()).collect();
        let all = found.len();
        found.sort_unstable();
        found.dedup();
        let lost: Vec<u64> = (0..self.acknowledged * PAGE).filter(|id| found.binary_search(id).is_err()).collect();
        tally::found(lost.len(), all - found.len(), 0);
        assert!(lost.is_empty(), "seed {}: lost {lost:?}", self.seed);
        assert_eq!(all, found.len(), "seed {}: twice", self.seed);
        self.place.etl(&["verify", "--deep"]).exits(0);
        assert_eq!(self.place.status()["totals"]["pending"], 0);
    }
}

fn mounted(dir: &Path) -> Option<Disk> {
    Disk::mount(Disk::image(96)?, dir)
}

#[test]
fn power_cut_at_any_moment_loses_nothing_that_was_acknowledged() {
    let seed = tally::seed("power cuts", 4);
    let place = in_form(form_of(seed), || Place::new(""));
    let Some(disk) = mounted(&place.path("disk")) else {
        return tally::skipped("no power was cut: that needs root, /dev/fuse, mount and mkfs.ext4");
    };
    let origin = Origin::start(vec![]);
    let mut grid = Grid { seed, drawn: 0, place, origin, disk: Some(disk), acknowledged: 0 };
    for _ in 0..tally::scale(10, 100) {
        let image = grid.run_until_the_cut();
        tally::add("cuts", "at random", 1);
        grid.recover(image);
    }
    grid.check();
}

/// A run whose power fails right after each of its durable steps.
#[cfg(feature = "failpoints")]
mod steps {
    use etl::state::{Entry, Wal};

    use super::*;
    use crate::support::state_dir::copy_dir;

    /// A state directory on a disk, and a lake beside it, as they were left by a first run.
    struct Scene {
        place: Place,
        kept: tempfile::TempDir,
        image: Vec<u8>,
        /// Records that were sent.
        sent: u64,
        _origin: Origin,
    }

    fn records(ids: std::ops::Range<u64>) -> Vec<String> {
        ids.map(|id| record(id, &format!("2023-03-10T{:02}:{id:02}:00.000Z", id % 3))).collect()
    }

    /// Each of an hour of its own.
    fn scattered(ids: std::ops::Range<u64>) -> Vec<String> {
        let start: jiff::Timestamp = "2020-01-01T00:10:00Z".parse().unwrap();
        let at = |id| start + jiff::SignedDuration::from_hours(i64::try_from(id * 7 % 5_000).unwrap());
        ids.map(|id| record(id, &format!("{:.3}", at(id)))).collect()
    }

    impl Scene {
        /// `first` was taken, `second` comes. `None`: no disk can be made here.
        fn new(first: &[String], second: &[String], sent: u64) -> Option<Self> {
            let origin = Origin::start(vec![]);
            let place = Place::new(&format!(
                "[source]\nurl = \"{}\"\nretries = 0\n[hours]\nlate_hold = \"0s\"\n[load]\nto = \"file:lake\"\n\
                 part_max_records = 4\n[state]\ndir = \"disk/etl-state\"\nmin_free = \"1MiB\"\n",
                origin.url
            ));
            let disk = mounted(&place.path("disk"))?;
            origin.script(vec![Answer::Page(page(&place.key, first))]);
            place.etl(&["run"]).exits(0);
            origin.script(vec![Answer::Page(page(&place.key, second))]);
            assert!(Command::new("sync").arg("-f").arg(place.path("disk")).status().unwrap().success());
            let (kept, image) = (tempfile::tempdir().unwrap(), disk.cut(0));
            copy_dir(&place.path("lake"), kept.path());
            drop(disk);
            Some(Self { place, kept, image, sent, _origin: origin })
        }

        fn begin(&self) -> Disk {
            let _ = std::fs::remove_dir_all(self.place.path("lake"));
            copy_dir(self.kept.path(), &self.place.path("lake"));
            Disk::mount(self.image.clone(), &self.place.path("disk")).unwrap()
        }

        fn steps(&mut self) -> Vec<String> {
            let disk = self.begin();
            let file = self.place.path("steps");
            self.place.set("ETL_STEPS", file.to_str().unwrap());
            self.place.etl(&["run"]).exits(0);
            self.place.env.retain(|(name, _)| name != "ETL_STEPS");
            drop(disk);
            let text = std::fs::read_to_string(file).unwrap();
            text.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
        }

        fn cut_after(&mut self, step: usize, name: &str) {
            let disk = self.begin();
            self.place.set("ETL_CRASH", &format!("after:{step}"));
            self.place.etl(&["run"]).exits(-1);
            self.place.env.retain(|(name, _)| name != "ETL_CRASH");
            let image = disk.cut(u64::try_from(step).unwrap());
            drop(disk);
            let _disk = Disk::mount(image, &self.place.path("disk")).unwrap();
            if name == "SegmentCommitted" {
                self.log_holds_the_page(step);
            }
            for args in [["replay"].as_slice(), &["run"], &["verify", "--deep"]] {
                let ran = self.place.etl(args);
                assert_eq!(ran.code, 0, "after step {step}, {name}: {ran:#?}");
                assert!(!ran.err.contains("damaged"), "after step {step}, {name}: {ran:#?}");
            }
            let restored = self.place.etl(&["restore"]).exits(0).out;
            let values = restored.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            let mut found: Vec<u64> = values.map(|value| value["record_id"].as_u64().unwrap()).collect();
            found.sort_unstable();
            let all: Vec<u64> = (0..self.sent).collect();
            let lost = all.iter().filter(|id| !found.contains(id)).count();
            tally::found(lost, found.len() + lost - all.len(), 0);
            assert_eq!(found, all, "after step {step}, {name}");
        }

        /// The journal would give the page once more, so the log is asked itself.
        fn log_holds_the_page(&self, step: usize) {
            let copy = tempfile::tempdir().unwrap();
            let state = self.place.path("disk/etl-state");
            copy_dir(&state.join("wal"), &copy.path().join("wal"));
            let (mut repairs, journal) = (Vec::new(), etl::state::pages::journal::Journal::at(&state));
            let log = Wal::open(copy.path(), (0, 0), &mut repairs).unwrap();
            let newest = journal.list().unwrap().into_iter().map(|id| id.number).max().unwrap();
            assert!(log.is_committed(newest), "after step {step}: the commit is not durable: {repairs:?}");
            assert!(log.pending_records() >= self.sent / 2, "after step {step}: {} records", log.pending_records());
            for hour in log.pending_hours() {
                let mut lines = log.lines();
                let mut read =
                    |_, at, entry: Entry| lines.read(at, &mut vec![0; usize::try_from(entry.length).unwrap()]);
                let read = log.entries(&[(hour, 0)], &etl::stop::Stop::new(), &mut read);
                assert!(read.is_ok(), "after step {step}: the lines of {hour} are not durable: {read:?}");
            }
        }
    }

    #[test]
    fn power_cut_right_after_a_step_leaves_what_the_step_made_durable() {
        let Some(mut scene) = Scene::new(&records(0..10), &records(5..20), 20) else {
            return tally::skipped("no power was cut after a step: that needs root, /dev/fuse, mount and mkfs.ext4");
        };
        let steps = scene.steps();
        assert!(steps.iter().any(|step| step == "SegmentCommitted"), "{steps:?}");
        for (step, name) in (1..).zip(&steps) {
            scene.cut_after(step, name);
            tally::add("cuts", "after a step", 1);
        }
    }

    #[test]
    fn power_cut_after_a_commit_of_thousands_of_hours_loses_none_of_them() {
        const HOURS: u64 = 2_000;
        let Some(mut scene) = Scene::new(&scattered(0..10), &scattered(5..HOURS), HOURS) else { return };
        let steps = scene.steps();
        for kind in ["SegmentCommitted", "HoursFrozen", "PartsReceipted", "RecordsPruned"] {
            let step = steps.iter().position(|name| name == kind).unwrap() + 1;
            scene.cut_after(step, kind);
            tally::add("cuts", "after a step among thousands of hours", 1);
        }
    }
}
