//! What to simulate: the flags of `etl simulate`, and what tests and benchmarks set themselves.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, value_parser};
use jiff::{SignedDuration, Timestamp};

use super::generate::Generator;
use super::recast::Recast;
use super::token::Key;
use crate::config::{parse_duration, parse_positive_duration};
use crate::error::{Error, ErrorKind, Result};
use crate::hour::{Clock, SystemClock};

/// 2023-03-10T00:00:00Z, when the origin's logs begin.
const START: i64 = 1_678_406_400;

/// Records in a page at most.
const MOST: u64 = u32::MAX as u64;

/// What to simulate. All shares are in percent, 0 to 100.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Port on 127.0.0.1; 0 = a free one
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// The same seed gives the same records and the same trouble
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Records in a page: the newest so many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = value_parser!(u64).range(1..=MOST))]
    pub window: u64,
    /// New records from one request to the next
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = value_parser!(u64).range(..=MOST))]
    pub advance: u64,
    /// Time of the first record
    #[arg(long, value_name = "TIME", default_value = "2023-03-10T00:00:00Z")]
    pub start: Timestamp,
    /// Time from one record to the next
    #[arg(long, value_name = "DURATION", default_value = "1.8s", value_parser = parse_positive_duration)]
    pub interval: Duration,
    /// Make no more records than this [default: no end]
    #[arg(long, value_name = "N")]
    pub records: Option<u64>,
    /// Records that come late, by up to hours
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    pub late: f64,
    /// Records that never come, in runs of ten: gaps
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    pub holes: f64,
    /// Records that come 500 records after their turn: gaps that are filled
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    pub delayed: f64,
    /// Start record_id again at 1 after so many records
    #[arg(long, value_name = "N")]
    pub restart_at: Option<u64>,
    /// Records that come twice in a page
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    pub duplicates: f64,
    /// Entries whose data is not a token
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    pub garbage: f64,
    /// Tokens made with another key
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    pub wrong_key: f64,
    /// Plaintexts in JSON instead of Python's repr
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    pub json_plain: f64,
    /// Records of unusual shapes: missing or unusual fields, tuples, huge integers, other alphabets.
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    pub odd: f64,
    /// Requests answered 502 or 504 with an HTML body
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    pub errors: f64,
    /// Bodies cut short
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    pub cut: f64,
    /// Requests that stall before they are answered
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    pub stall: f64,
    /// How long they stall
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    pub stall_for: Duration,
    /// Let the records' time follow the clock, instead of --start
    #[arg(long, conflicts_with = "start")]
    pub live: bool,
    /// How far the service's clock is off, as in -10m: its Date, and with --live its records
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = signed, allow_hyphen_values = true)]
    pub clock_off: SignedDuration,
    /// Records of another schema: "flat", "nested", or a TOML file that says where each field goes
    #[arg(long, value_name = "NAME", value_parser = Recast::parse)]
    pub schema: Option<Recast>,
    /// Write every distinct record that was served into this file, as NDJSON
    #[arg(long, value_name = "FILE")]
    pub truth: Option<PathBuf>,
    /// The Fernet key. `None`: one derived from the seed.
    #[arg(skip)]
    pub key: Option<Key>,
}

/// A duration that may be negative.
fn signed(text: &str) -> Result<SignedDuration, String> {
    let (is_back, length) = match text.strip_prefix('-') {
        Some(length) => (true, length),
        None => (false, text.trim_start_matches('+')),
    };
    let length = parse_duration(length).map_err(|error| error.to_string())?;
    let length = SignedDuration::try_from(length).map_err(|error| error.to_string())?;
    Ok(if is_back { -length } else { length })
}

/// A share from 0 to 100, fractions included.
fn percent(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=100.0).contains(&share) => Ok(share),
        _ => Err("not a number from 0 to 100".to_owned()),
    }
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
            clock_off: SignedDuration::ZERO,
            schema: None,
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
    pub(crate) fn key_line(&self) -> Option<String> {
        self.key.is_none().then(|| format!("export FERNET_KEY={}", self.key().to_text()))
    }

    pub(super) fn validate(&self) -> Result<()> {
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
                let hint = format!("leave --{name} out, or give more than 0");
                return Err(Error::new(ErrorKind::Usage, format!("simulate: {name} cannot be 0")).hint(hint));
            }
        }
        Ok(())
    }

    /// The time by the service's clock.
    pub(super) fn now(&self) -> Timestamp {
        SystemClock.now().saturating_add(self.clock_off).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// Where the first window ends.
    pub(super) fn first_end(&self, generator: &Generator, limit: Option<u64>) -> u64 {
        let end = if self.live { generator.count_at(self.now()) } else { self.window };
        end.min(limit.unwrap_or(u64::MAX))
    }

    /// The index that no record reaches.
    pub(super) fn limit(&self, generator: &Generator) -> Option<u64> {
        let already = if self.live { generator.count_at(self.now()) } else { 0 };
        self.records.map(|records| already.saturating_add(records))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn flags_have_the_same_defaults() {
        let flags = Line::parse_from(["simulate"]).options;
        assert_eq!(format!("{flags:?}"), format!("{:?}", Options::default()));
        assert_eq!((flags.port, flags.window, flags.advance), (0, 100, 60));
    }
}
