//! What watches runs from outside: a metrics file, and a monitor that is pinged.
//!
//! Invariants: a failure here is a warning and never a run's exit code; the monitor's address is a secret and never shown.

use std::path::PathBuf;

use jiff::Timestamp;

use crate::config::{self, Config};
use crate::error::{Error, ErrorKind, Result};
use crate::hour::{Clock, SystemClock};
use crate::job::Outcome;
use crate::net::ping;
use crate::output::{self, Form};
use crate::secret::{Secret, SourceUrl};
use crate::state::status::{self, is_success};
use crate::view::metrics::{self, Ended};
use crate::view::text;

/// The watchers of one run.
pub(super) struct Watchers {
    metrics: Option<PathBuf>,
    ping: Option<Secret>,
    state: PathBuf,
    /// Whether this machine is one of a cluster: then the file has what is its own, and nothing of the whole.
    is_one_of_many: bool,
    pipeline: Option<String>,
    started: Timestamp,
}

impl Watchers {
    /// Reports that a run starts, to the monitor and the file that a flag names, else to those of the configuration.
    pub(super) fn start(config: &Config, ping: Option<&str>, metrics_file: Option<&PathBuf>) -> Self {
        let ping = ping.map(Secret::new).or_else(|| config.run.ping.clone());
        let metrics = metrics_file.or(config.run.metrics_file.as_ref()).cloned();
        let watchers = Self {
            metrics,
            ping,
            state: config.state.dir.clone(),
            is_one_of_many: config.cluster.is_some(),
            pipeline: config.own_name(),
            started: SystemClock.now(),
        };
        watchers.ping("/start", String::new());
        watchers
    }

    /// Reports how it ended; nothing where another run was at work, which reports itself.
    pub(super) fn end(&self, exit: u8, outcome: Result<&Outcome, &Error>) {
        if exit == ErrorKind::Busy.exit_code() {
            return;
        }
        let ended = SystemClock.now();
        self.ping(&format!("/{exit}"), body(outcome, ended));
        let Some(path) = &self.metrics else { return };
        let status = if self.is_one_of_many { None } else { status::read(&self.state, ended).ok() };
        let nothing = crate::job::Summary::default();
        let summary = outcome.map_or(&nothing, |outcome| &outcome.summary);
        let run = Ended {
            exit,
            started: self.started,
            ended,
            summary,
            status: status.as_ref(),
            success: (self.is_one_of_many && is_success(exit)).then_some(ended),
            pipeline: self.pipeline.as_deref(),
        };
        let text = metrics::text(&run, &output::before(path));
        if let Err(error) = output::replace(path, text.as_bytes(), Form::PUBLIC) {
            warn(&error);
        }
    }

    fn ping(&self, below: &str, body: String) {
        let Some(url) = &self.ping else { return };
        let sent = match SourceUrl::parse(&format!("{}{below}", url.expose().trim_end_matches('/'))) {
            Some(url) => ping::post(&url, body),
            None => Err(Error::new(
                ErrorKind::Config,
                "its address (ETL_PING_URL, --ping) is not a URL as in https://host/path",
            )),
        };
        if let Err(error) = sent {
            let error = Error::new(error.kind(), format!("cannot ping the monitor: {}", error.chain()));
            warn(&error);
        }
    }
}

/// Reports a run that found no configuration it could use, to the monitor that a flag or the usual variable names.
pub(super) fn end_without_config(ping: Option<&str>, error: &Error) {
    let ping = ping.map(Secret::new).or_else(config::usual_ping);
    let watchers = Watchers {
        metrics: None,
        ping,
        state: PathBuf::new(),
        is_one_of_many: false,
        pipeline: None,
        started: SystemClock.now(),
    };
    watchers.end(error.kind().exit_code(), Err(error));
}

/// What a monitor is told at the end: the most pressing problem, then what was done.
fn body(outcome: Result<&Outcome, &Error>, ended: Timestamp) -> String {
    let problem = outcome.map_or_else(Some, |outcome| outcome.problems.first());
    let mut text = String::new();
    if let Some(problem) = problem {
        let hint = problem.next_step().map(|hint| format!("  hint: {hint}\n")).unwrap_or_default();
        text = format!("{ended:.0} error: {}\n{hint}", problem.chain());
    }
    match outcome {
        Ok(outcome) if outcome.began => text + &text::summary(&outcome.summary, ended),
        _ => text,
    }
}

fn warn(error: &Error) {
    tracing::warn!("{}: the run goes on without", error.chain());
}
