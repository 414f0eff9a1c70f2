//! The words that the terminal, the page and the monitor share. Pure.

use jiff::Timestamp;

use super::table::plural;
use crate::hour::gaps::Gap;
use crate::state::status::{HourState, HourStatus, Status};

/// How a thing stands: the terminal and the page show it as a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Neutral,
    Good,
    Warning,
    Bad,
}

/// How the last run ended, or that one is at work.
pub(crate) fn last_run(status: &Status, now: Timestamp) -> (Tone, String) {
    let Some(run) = &status.last_run else { return (Tone::Neutral, "no run yet".to_owned()) };
    if status.running {
        return (Tone::Neutral, format!("a run has been at work for {}", ago(run.started, now)));
    }
    let Some((ended, exit)) = run.ended.zip(run.exit) else {
        return (Tone::Warning, format!("the last run, {} ago, was interrupted", ago(run.started, now)));
    };
    let (tone, how) = match exit {
        0 => (Tone::Good, "all well".to_owned()),
        65 | 75 | 130 | 143 => (Tone::Warning, format!("exit {exit}")),
        _ => (Tone::Bad, format!("exit {exit}")),
    };
    (tone, format!("last run {} ago: {how}", ago(ended, now)))
}

/// The state of an hour.
pub(crate) const fn state(hour: &HourStatus) -> (Tone, &'static str) {
    match hour.state {
        HourState::Open => (Tone::Neutral, "open"),
        HourState::Closed => (Tone::Warning, "closed"),
        HourState::Sealing => (Tone::Warning, "sealing"),
        HourState::Uploaded => (Tone::Good, "uploaded"),
    }
}

/// How long an hour has been in its state, or until it leaves it.
pub(crate) fn age(hour: &HourStatus, now: Timestamp) -> String {
    match hour.state {
        HourState::Open => format!("closes in {}", ago(now, hour.closes_at)),
        HourState::Closed => format!("due for {}", ago(hour.closes_at, now)),
        HourState::Sealing => format!("waiting for the store for {}", ago(hour.closes_at, now)),
        HourState::Uploaded => ago(hour.uploaded_at.unwrap_or(hour.closes_at), now),
    }
}

/// A time span as people say it: `3 min`, `2 h`, `5 d`.
pub(crate) fn ago(from: Timestamp, to: Timestamp) -> String {
    let seconds = to.duration_since(from).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// How many ids never came, in which gaps; the newest gaps are named.
pub(crate) fn gaps(all: u64, ids: u64, newest: &[Gap]) -> String {
    let named: Vec<String> = newest.iter().map(Gap::to_string).collect();
    let more = if all > newest.len() as u64 { ", …" } else { "" };
    format!("{}, {} never seen: {}{more}", plural(all, "gap", "gaps"), plural(ids, "id", "ids"), named.join(", "))
}
