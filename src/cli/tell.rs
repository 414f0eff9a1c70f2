//! How a run's problems are told on stderr: all of them to a person and to a log, and under cron only what is news.
//!
//! cron mails whatever is printed. So there a run beside another one is silent, and an outage is said when it begins, each
//! `run.remind` while it goes on, and when it ends. With `-v` everything is said, there too.

use std::io::IsTerminal;

use jiff::{SignedDuration, Timestamp};
use tracing::Level;

use crate::config::{self, Config};
use crate::error::{Error, ErrorKind};
use crate::hour::{Clock, SystemClock};
use crate::job::Outcome;
use crate::state::status::outage::{Outage, Outages};
use crate::view::table::plural;
use crate::view::words::ago;

/// The two that can be away.
const SOURCE: &str = "source";
const STORE: &str = "store";

/// Whether what is printed gets mailed by cron, so that only news are worth it.
pub(super) fn only_news() -> bool {
    config::under_cron() && !std::io::stderr().is_terminal() && !tracing::enabled!(Level::INFO)
}

/// Tells what went wrong in a run. `asks`: whether it was to ask its source.
pub(super) fn problems(config: &Config, outcome: &Outcome, asks: bool, say: &dyn Fn(&Error)) {
    if only_news() {
        news(config, outcome, asks, SystemClock.now(), say);
    } else {
        outcome.problems.iter().for_each(say);
    }
}

fn news(config: &Config, outcome: &Outcome, asks: bool, now: Timestamp, say: &dyn Fn(&Error)) {
    let dir = &config.state.dir;
    let mut outages = Outages::read(dir);
    let remind = SignedDuration::try_from(config.run.remind).unwrap_or(SignedDuration::MAX);
    for problem in &outcome.problems {
        match problem.kind() {
            ErrorKind::Busy => {}
            ErrorKind::Unavailable => say_outage(&mut outages, away(problem), now, remind, problem, say),
            _ => say(problem),
        }
    }
    for what in [SOURCE, STORE] {
        let met = outcome.problems.iter().any(|problem| is_outage(problem) && away(problem) == what);
        if !met && answered(what, outcome, asks) {
            outages.over(what).iter().for_each(|outage| say_over(what, outage, now));
        }
    }
    if let Err(error) = outages.write(dir) {
        tracing::debug!("cannot note the outages: {}", error.chain());
    }
}

fn is_outage(problem: &Error) -> bool {
    problem.kind() == ErrorKind::Unavailable
}

/// Which end a problem is about.
const fn away(problem: &Error) -> &'static str {
    if problem.concerns_the_source() { SOURCE } else { STORE }
}

/// Whether a run shows that this end answers again. A store of which nothing was asked shows nothing.
fn answered(what: &str, outcome: &Outcome, asks: bool) -> bool {
    match what {
        SOURCE => asks && outcome.summary.pages > 0,
        _ => outcome.summary.uploaded_parts > 0,
    }
}

fn say_outage(
    outages: &mut Outages,
    what: &str,
    now: Timestamp,
    remind: SignedDuration,
    problem: &Error,
    say: &dyn Fn(&Error),
) {
    let Some(before) = outages.met(what, now, remind) else { return };
    if let Some(Outage { began, runs, .. }) = before {
        let (since, met) = (ago(began, now), plural(runs + 1, "run", "runs"));
        tracing::warn!("the {what} has been away for {since}, since {began:.0}, in {met}:");
    }
    say(problem);
}

fn say_over(what: &str, outage: &Outage, now: Timestamp) {
    let (since, runs) = (ago(outage.began, now), plural(outage.runs, "run", "runs"));
    tracing::warn!("the {what} answers again: it was away for {since}, since {:.0}, in {runs}", outage.began);
}
