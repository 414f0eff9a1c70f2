//! `etl simulate`: the origin's API on loopback, with synthetic encrypted logs and as much trouble as asked for.
//!
//! A stand-in for the real service: it hands out a sliding window of records, each in a new token at each request, and can be
//! late, repeat itself, send garbage, answer 502, stall, or cut a response short. Everything is a function of the seed and the
//! request's number, so what went wrong once can be made to go wrong again.
//!
//! - `draw`: seeded choices. `literal`: Python's and JSON's spelling. `token`: reproducible Fernet tokens.
//! - `shape`: what records look like. `garbage`: elements that are not records. `generate`: the stream. `page`: pages over it.
//! - `truth`: what was handed out. `fault`, `http`, `serve`: the server.
//!
//! The pipeline uses nothing of it, and nothing here is secret: a key derived from the seed protects nothing.

mod draw;
mod fault;
mod garbage;
mod generate;
mod http;
mod literal;
mod page;
mod serve;
mod shape;
mod token;
mod truth;

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

pub use self::generate::{Generator, Record};
pub use self::serve::serve;
pub use self::token::Key;
use self::truth::Truth;
use crate::error::{Error, ErrorKind, Result};
use crate::hour::{Clock, SystemClock};
use crate::output::{self, Form};

/// 2023-03-10T00:00:00Z, when the origin's logs begin.
const START: i64 = 1_678_406_400;

/// What to simulate. All shares are in percent, 0 to 100.
#[derive(Debug, Clone)]
pub struct Options {
    /// The port on 127.0.0.1; 0 for any free one.
    pub port: u16,
    /// What everything is derived from.
    pub seed: u64,
    /// Records in a response.
    pub window: u64,
    /// Records by which the window moves on after a response that was sent whole. More than `window` leaves gaps.
    pub advance: u64,
    /// The time of the first record.
    pub start: Timestamp,
    /// The time from one record to the next.
    pub interval: Duration,
    /// After so many records the stream ends and the window stands still. `None`: it never ends.
    /// With `live` only those count that come after the simulator started.
    pub records: Option<u64>,
    /// Records dated up to 6 hours earlier than their neighbours, but not before `start`.
    pub late: f64,
    /// Records that never come, in runs of ten. Each run is a hole in `record_id`.
    pub holes: f64,
    /// Records that come 500 records after their turn: holes that are filled.
    pub delayed: f64,
    /// After so many records `record_id` starts again at 1.
    pub restart_at: Option<u64>,
    /// Records that come twice in a response, in two tokens.
    pub duplicates: f64,
    /// Extra elements that are not tokens, or are tokens without a record.
    pub garbage: f64,
    /// Extra records encrypted with an unknown key; the token never changes.
    pub wrong_key: f64,
    /// Records whose plaintext is JSON instead of a Python dict.
    pub json_plain: f64,
    /// Good records of unusual shapes: missing or unusual fields, tuples, huge integers, other alphabets.
    pub odd: f64,
    /// Requests answered with 502 or 504 and an HTML page.
    pub errors: f64,
    /// Requests answered with a body that ends too early.
    pub cut: f64,
    /// Requests whose answer stops for `stall_for` before its head or in the middle of its body, and then goes on.
    pub stall: f64,
    /// How long a stall lasts.
    pub stall_for: Duration,
    /// Whether time follows the wall clock: a response holds the newest records up to now, and `advance` has no meaning.
    pub live: bool,
    /// Where to write each distinct good record that was in a response sent whole: NDJSON, the originals.
    pub truth: Option<PathBuf>,
    /// The Fernet key. `None`: one derived from the seed.
    pub key: Option<Key>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            port: 0,
            seed: 1,
            window: 100,
            advance: 60,
            start: Timestamp::from_second(START).unwrap_or(Timestamp::UNIX_EPOCH),
            interval: Duration::from_millis(1_800),
            records: None,
            late: 0.0,
            holes: 0.0,
            delayed: 0.0,
            restart_at: None,
            duplicates: 0.0,
            garbage: 0.0,
            wrong_key: 0.0,
            json_plain: 0.0,
            odd: 0.0,
            errors: 0.0,
            cut: 0.0,
            stall: 0.0,
            stall_for: Duration::from_secs(10),
            live: false,
            truth: None,
            key: None,
        }
    }
}

impl Options {
    /// The key in use: the given one, or the seed's.
    #[must_use]
    pub fn key(&self) -> Key {
        self.key.clone().unwrap_or_else(|| Key::from_seed(self.seed))
    }

    /// The shell line that gives a key derived from the seed to `etl run`. `None` where a key was given: it may be a secret.
    #[must_use]
    pub fn key_line(&self) -> Option<String> {
        self.key.is_none().then(|| format!("export FERNET_KEY={}", self.key().to_text()))
    }

    fn validate(&self) -> Result<()> {
        let shares = [
            ("late", self.late),
            ("holes", self.holes),
            ("delayed", self.delayed),
            ("duplicates", self.duplicates),
            ("garbage", self.garbage),
            ("wrong-key", self.wrong_key),
            ("json-plain", self.json_plain),
            ("odd", self.odd),
            ("errors", self.errors),
            ("cut", self.cut),
            ("stall", self.stall),
        ];
        for (name, percent) in shares {
            if !(0.0..=100.0).contains(&percent) {
                let message = format!("simulate: {name} is a share in percent, and {percent} is not");
                return Err(Error::new(ErrorKind::Usage, message).hint("give a number from 0 to 100"));
            }
        }
        for (name, is_zero) in [("window", self.window == 0), ("interval", self.interval.is_zero())] {
            if is_zero {
                return Err(Error::new(ErrorKind::Usage, format!("simulate: {name} cannot be 0")));
            }
        }
        Ok(())
    }

    /// Where the first window ends.
    fn first_end(&self, generator: &Generator, limit: Option<u64>) -> u64 {
        let end = if self.live { generator.count_at(SystemClock.now()) } else { self.window };
        end.min(limit.unwrap_or(u64::MAX))
    }

    /// The index that no record reaches.
    fn limit(&self, generator: &Generator) -> Option<u64> {
        let already = if self.live { generator.count_at(SystemClock.now()) } else { 0 };
        self.records.map(|records| already.saturating_add(records))
    }
}

/// What [`write_pages`] wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Files.
    pub pages: u64,
    /// Distinct good records in them.
    pub records: u64,
    /// Their total size.
    pub bytes: u64,
}

/// Writes the responses of `pages` successful requests to `dir` as `page-0001.json` and so on (the directory is made, files
/// of the same names are replaced), and the truth where `options` asks for it. With `live` the last page ends now.
///
/// # Errors
/// [`ErrorKind::Usage`] for an option out of its range, [`ErrorKind::State`] for the disk. Files written until then stay.
pub fn write_pages(options: &Options, dir: &Path, pages: u64) -> Result<Summary> {
    let generator = Generator::new(options)?;
    output::make_folder(dir)?;
    let mut truth = Truth::begin(options.truth.as_deref())?;
    let (limit, digits) = (options.limit(&generator), pages.to_string().len().max(4));
    let mut end = options.first_end(&generator, limit);
    if options.live {
        end = end.saturating_sub(options.advance.saturating_mul(pages.saturating_sub(1)));
    }
    let mut bytes = 0;
    for page in 1..=pages {
        let (path, body) = (dir.join(format!("page-{page:0digits$}.json")), generator.page(end, page));
        output::replace(&path, &body, Form::PUBLIC)?;
        truth.add(&generator, generator.window(end))?;
        bytes += u64::try_from(body.len()).unwrap_or(0);
        end = end.saturating_add(options.advance).min(limit.unwrap_or(u64::MAX));
    }
    Ok(Summary { pages, records: truth.count(), bytes })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn lines(path: &Path) -> Vec<String> {
        fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn pages_are_files_and_the_truth_has_each_record_once() {
        let dir = tempfile::tempdir().unwrap();
        let truth = dir.path().join("truth.ndjson");
        let options = Options { truth: Some(truth.clone()), late: 5.0, duplicates: 10.0, ..Options::default() };
        let pages = dir.path().join("pages");
        let summary = write_pages(&options, &pages, 3).unwrap();
        let generator = Generator::new(&options).unwrap();
        assert_eq!(lines(&truth), (0..220).map(|index| generator.record(index).json()).collect::<Vec<_>>());
        let second = fs::read(pages.join("page-0002.json")).unwrap();
        assert_eq!(second, generator.page(160, 2));
        assert_eq!((summary.pages, summary.records), (3, 220));
        assert!(!pages.join("page-0004.json").exists());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn truth_that_cannot_be_written_is_an_error_about_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { truth: Some("/dev/full".into()), ..Options::default() };
        let error = write_pages(&options, dir.path(), 1).unwrap_err();
        assert!(error.is_disk_full() && error.chain().contains("/dev/full"), "{}", error.chain());
    }

    #[test]
    fn window_stands_still_after_the_last_record() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { records: Some(130), truth: Some(dir.path().join("truth")), ..Options::default() };
        assert_eq!(write_pages(&options, dir.path(), 5).unwrap().records, 130);
        let few = Options { records: Some(7), ..options };
        assert_eq!(write_pages(&few, dir.path(), 1).unwrap().records, 7);
    }

    #[test]
    fn live_pages_end_now() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { live: true, truth: Some(dir.path().join("truth")), ..Options::default() };
        write_pages(&options, dir.path(), 2).unwrap();
        let last = lines(&dir.path().join("truth")).pop().unwrap();
        let generator = Generator::new(&options).unwrap();
        let now = generator.count_at(SystemClock.now());
        assert!((now - 60..now).any(|index| generator.record(index).json() == last));
        let newest = generator.record(now - 1).logged;
        let age = SystemClock.now().duration_since(newest);
        assert!(!age.is_negative() && age < jiff::SignedDuration::from_secs(10), "{age}");
    }

    #[test]
    fn options_out_of_range_are_refused_by_name() {
        for (options, name) in [
            (Options { late: 101.0, ..Options::default() }, "late"),
            (Options { cut: -1.0, ..Options::default() }, "cut"),
            (Options { wrong_key: f64::NAN, ..Options::default() }, "wrong-key"),
            (Options { window: 0, ..Options::default() }, "window"),
            (Options { interval: Duration::ZERO, ..Options::default() }, "interval"),
        ] {
            let error = Generator::new(&options).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(error.chain().contains(name), "{}", error.chain());
        }
    }

    #[test]
    fn key_line_shows_only_a_key_derived_from_the_seed() {
        let line = Options::default().key_line().unwrap();
        let key = line.strip_prefix("export FERNET_KEY=").unwrap();
        assert_eq!(Key::parse(key).unwrap(), Options::default().key());
        assert_eq!(Options { key: Some(Key::from_seed(9)), ..Options::default() }.key_line(), None);
    }
}
