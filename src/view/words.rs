//! The words that the terminal, the page and the monitor share. Pure.

use jiff::{SignedDuration, Timestamp};

use super::table::{count, plural};
use crate::hour::gaps::Gap;
use crate::state::status::history::PastRun;
use crate::state::status::verified::LastVerify;
use crate::state::status::{Command, HourState, HourStatus, Status};

/// How a thing stands: the terminal and the page show it as a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Neutral,
    Good,
    Warning,
    Bad,
}

/// How the last run ended, or that one is at work. It is well only if nothing else is amiss; `fresh` is the age in seconds up to
/// which the last success counts (`None`: any).
pub(crate) fn last_run(status: &Status, now: Timestamp, fresh: Option<u64>) -> (Tone, String) {
    let Some(run) = &status.last_run else { return (Tone::Neutral, "no run yet".to_owned()) };
    if status.running && run.ended.is_none() {
        return (Tone::Neutral, format!("a {} has been at work for {}", run.command.name(), ago(run.started, now)));
    }
    let when = format!("last {} {} ago", run.command.name(), ago(run.heard(), now));
    let Some(exit) = run.exit else { return (Tone::Warning, format!("{when}: interrupted, it never ended")) };
    let (tone, how) = match (exit, amiss(status, now, fresh)) {
        (0, None) => (Tone::Good, "all well".to_owned()),
        (0, Some((tone, what))) => (tone, format!("exit 0, but {what}")),
        (65 | 75 | 130 | 143, _) => (Tone::Warning, format!("exit {exit}")),
        _ => (Tone::Bad, format!("exit {exit}")),
    };
    (tone, format!("{when}: {how}"))
}

/// A success this far ahead of the clock is none that can be judged.
const AHEAD: SignedDuration = SignedDuration::from_mins(5);

/// Whether the last success is in the future: the clock was wrong then, or is now.
pub(crate) fn is_ahead(status: &Status, now: Timestamp) -> bool {
    status.last_success.is_some_and(|at| at.duration_since(now) > AHEAD)
}

/// What else is amiss where the last run ended well.
fn amiss(status: &Status, now: Timestamp, fresh: Option<u64>) -> Option<(Tone, String)> {
    let asking = status.judged().find(|run| run.command == Command::Run);
    match asking.map(|run| run.exit) {
        Some(None) => return Some((Tone::Warning, "the last run was interrupted".to_owned())),
        Some(Some(exit)) if !matches!(exit, 0 | 65 | 130 | 143) => {
            return Some((Tone::Bad, format!("the last run ended with exit {exit}")));
        }
        _ => {}
    }
    if let Some(verify) = status.last_verify.as_ref().filter(|verify| verify.left > 0) {
        return Some((Tone::Bad, format!("the last verify found {}", not_mended(verify))));
    }
    let waiting = [
        (status.rejected.count, "body is rejected", "bodies are rejected"),
        (status.parked.count, "record is parked", "records are parked"),
        (status.quarantine.count, "token is in the quarantine", "tokens are in the quarantine"),
        (
            status.quarantine.held_pages,
            "page waits for room in the quarantine",
            "pages wait for room in the quarantine",
        ),
    ];
    let waiting = waiting.into_iter().find(|(n, ..)| *n > 0).map(|(n, one, many)| plural(n, one, many));
    let stale = match status.last_success {
        None => Some("no run has heard its source yet".to_owned()),
        Some(_) if is_ahead(status, now) => Some("its time is in the future: a clock is or was wrong".to_owned()),
        Some(at)
            if fresh
                .is_some_and(|fresh| now.duration_since(at).as_secs() > i64::try_from(fresh).unwrap_or(i64::MAX)) =>
        {
            Some(format!("no run has succeeded for {}", ago(at, now)))
        }
        Some(_) => None,
    };
    stale.or(waiting).map(|what| (Tone::Warning, what))
}

/// What the last verification found and nobody mended: how many, and the first of them.
fn not_mended(verify: &LastVerify) -> String {
    let left = format!("{} not mended", plural(verify.left, "object", "objects"));
    match verify.findings.first() {
        Some(first) => format!("{left}, the first of them {} {}", first.fault.word(), first.key),
        None => left,
    }
}

/// What the last verification found.
pub(crate) fn verify(last: Option<&LastVerify>, now: Timestamp) -> (Tone, String) {
    let Some(last) = last else {
        return (Tone::Neutral, "none yet: `etl verify` compares the store with the ledger".to_owned());
    };
    let deep = if last.deep { ", deep" } else { "" };
    let when = format!("{} ago{deep}", ago(last.at, now));
    if last.left > 0 {
        return (Tone::Bad, format!("{when}: {}", not_mended(last)));
    }
    let mended = if last.found > 0 { format!(", {} mended since", count(last.found)) } else { String::new() };
    (Tone::Good, format!("{when}: {} as the ledger says{mended}", plural(last.objects, "object", "objects")))
}

/// The hours that are due and not uploaded. Empty where there are none.
pub(crate) fn overdue(status: &Status, now: Timestamp) -> String {
    let overdue = status.overdue(now);
    if overdue.hours == 0 {
        return String::new();
    }
    let since = i64::try_from(overdue.oldest).ok().and_then(|age| now.checked_sub(SignedDuration::from_secs(age)).ok());
    format!(
        "{}, the first has been due for {}",
        plural(overdue.hours, "hour", "hours"),
        ago(since.unwrap_or(Timestamp::MIN), now)
    )
}

/// A time as it is listed.
pub(crate) fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// How a run of the past ended.
pub(crate) fn outcome(run: &PastRun) -> (Tone, String) {
    match run.exit {
        None if run.killed => (Tone::Warning, "killed".to_owned()),
        None => (Tone::Neutral, "at work".to_owned()),
        Some(0) => (Tone::Good, "0".to_owned()),
        Some(exit @ (65 | 75 | 130 | 143)) => (Tone::Warning, exit.to_string()),
        Some(exit) => (Tone::Bad, exit.to_string()),
    }
}

/// How long a run of the past took.
pub(crate) fn took(run: &PastRun) -> String {
    match run.seconds {
        None => String::new(),
        Some(seconds) if seconds < 120.0 => format!("{seconds:.1} s"),
        Some(seconds) => format!("{:.0} min", seconds / 60.0),
    }
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
