//! `etl simulate`: the origin's API on loopback, with synthetic encrypted logs and as much trouble as asked for.
//!
//! A stand-in for the real service: it hands out a sliding window of records, each in a new token at each request, and can be
//! late, repeat itself, send garbage, answer 502, stall, or cut a response short. Everything is a function of the seed and the
//! request's number, so what went wrong once can be made to go wrong again.
//!
//! - `options`: what to simulate. `draw`: seeded choices. `literal`: Python's and JSON's spelling. `token`: Fernet tokens.
//! - `shape`: what records look like. `garbage`: elements that are not records. `recast`: the same
//!   of another schema. `generate`: the stream. `page`: pages over it.
//! - `truth`: what was handed out. `fault`, `http`, `serve`: the server.
//!
//! The pipeline uses nothing of it, and nothing here is secret: a key derived from the seed protects nothing.

mod draw;
mod fault;
mod garbage;
mod generate;
mod http;
mod literal;
mod options;
mod page;
mod recast;
mod serve;
mod shape;
mod token;
mod truth;

use std::path::Path;

pub use self::generate::Generator;
pub use self::options::Options;
pub use self::serve::serve;
pub use self::token::Key;
use self::truth::Truth;
use crate::error::Result;
use crate::output::{self, Form};

/// What [`write_pages`] wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Files.
    pub pages: u64,
    /// Distinct good records in them.
    pub records: u64,
}

/// Writes the responses of `pages` successful requests to `dir` as `page-0001.json` and so on (the directory is made, files
/// of the same names are replaced), and the truth where `options` asks for it. With `live` the last page ends now.
///
/// # Errors
/// `Usage` for an option out of its range, `State` for the disk. Files written until then stay.
pub fn write_pages(options: &Options, dir: &Path, pages: u64) -> Result<Written> {
    let generator = Generator::new(options)?;
    output::make_folder(dir)?;
    let mut truth = Truth::begin(options.truth.as_deref())?;
    let (limit, digits) = (options.limit(&generator), pages.to_string().len().max(4));
    let mut end = options.first_end(&generator, limit);
    if options.live {
        end = end.saturating_sub(options.advance.saturating_mul(pages.saturating_sub(1)));
    }
    for page in 1..=pages {
        let (path, body) = (dir.join(format!("page-{page:0digits$}.json")), generator.page(end, page));
        output::replace(&path, &body, Form::PUBLIC)?;
        truth.add(&generator, generator.window(end))?;
        end = end.saturating_add(options.advance).min(limit.unwrap_or(u64::MAX));
    }
    Ok(Written { pages, records: truth.count() })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;
    use crate::error::ErrorKind;
    use crate::hour::{Clock, SystemClock};

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
