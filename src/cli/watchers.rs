//! What watches runs from outside: a metrics file, and a monitor that is pinged.
//!
//! Invariants: a failure here is a warning and never a run's exit code; the monitor's address is a secret and never shown.

use std::path::PathBuf;

use jiff::Timestamp;

use crate::config::Config;
use crate::error::{Error, ErrorKind};
use crate::hour::{Clock, SystemClock};
use crate::job::Outcome;
use crate::net::ping;
use crate::output::{self, Form};
use crate::secret::{Secret, SourceUrl};
use crate::state::status;
use crate::view::metrics::{self, Ended};
use crate::view::text;

/// The watchers of one run.
pub(super) struct Watchers {
    metrics: Option<PathBuf>,
    ping: Option<Secret>,
    state: PathBuf,
    started: Timestamp,
}

impl Watchers {
    /// Reports that a run starts, to the monitor and the file that a flag names, else to those of the configuration.
    pub(super) fn start(config: &Config, ping: Option<&str>, metrics_file: Option<&PathBuf>) -> Self {
        let ping = ping.map(Secret::new).or_else(|| config.run.ping.clone());
        let metrics = metrics_file.or(config.run.metrics_file.as_ref()).cloned();
        let watchers = Self { metrics, ping, state: config.state.dir.clone(), started: SystemClock.now() };
        watchers.ping("/start", String::new());
        watchers
    }

    /// Reports how it ended; nothing where another run was at work, which reports itself.
    pub(super) fn end(&self, exit: u8, outcome: Option<&Outcome>) {
        if exit == ErrorKind::Busy.exit_code() {
            return;
        }
        let summary = outcome.map(|outcome| &outcome.summary);
        self.ping(&format!("/{exit}"), summary.map(text::summary).unwrap_or_default());
        let (Some(path), ended) = (&self.metrics, SystemClock.now()) else { return };
        let status = status::read(&self.state, ended).ok();
        let nothing = crate::job::Summary::default();
        let summary = summary.unwrap_or(&nothing);
        let run = Ended { exit, started: self.started, ended, summary, status: status.as_ref() };
        let text = metrics::text(&run, &output::before(path));
        if let Err(error) = output::replace(path, text.as_bytes(), Form::PUBLIC) {
            warn(&error);
        }
    }

    fn ping(&self, below: &str, body: String) {
        let Some(url) = &self.ping else { return };
        let sent = match SourceUrl::parse(&format!("{}{below}", url.expose().trim_end_matches('/'))) {
            Some(url) => ping::post(&url, body),
            None => Err(Error::new(ErrorKind::Config, "its address is not a URL")),
        };
        if let Err(error) = sent {
            let error = Error::new(error.kind(), format!("cannot ping the monitor: {}", error.chain()));
            warn(&error);
        }
    }
}

fn warn(error: &Error) {
    tracing::warn!("{}: the run goes on without", error.chain());
}
