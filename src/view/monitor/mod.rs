//! `etl status --check`: one line and an exit code, as monitoring plugins give them. Pure.
//!
//! `STATE - text | performance data`; 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN. Problems come first, the worst of them before the
//! others. Where there are none, the text says how things stand.

use std::fmt::{self, Write as _};

use jiff::{SignedDuration, Timestamp};

use super::table::{count, plural};
use super::words::{self, ago};
use crate::output::plain_text::acts;
use crate::state::status::cluster::ClusterStatus;
use crate::state::status::verified::LastVerify;
use crate::state::status::{LastRun, Status};

/// How long a gap is worth a warning. One that is never filled must not warn for ever.
const GAP_IS_NEWS: SignedDuration = SignedDuration::from_hours(24);

/// Where a pipeline ran before, its state directory is not where it was.
const NO_RUN: &str = "no run yet: `etl run` begins; where there was one, put state.dir back, or read the store back with `etl replay --from-s3`";

/// How bad it is. The number is the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Ok = 0,
    /// Someone should look some time.
    Warning = 1,
    /// Someone should look now.
    Critical = 2,
    /// Nothing can be said.
    Unknown = 3,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        })
    }
}

/// A pair of limits: a number above one is too much. `None`: no number is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) warn: Option<u64>,
    pub(crate) crit: Option<u64>,
}

impl Limits {
    fn judge(self, value: u64) -> Level {
        let is_above = |limit: Option<u64>| limit.is_some_and(|limit| value > limit);
        match (is_above(self.crit), is_above(self.warn)) {
            (true, _) => Level::Critical,
            (false, true) => Level::Warning,
            (false, false) => Level::Ok,
        }
    }
}

/// What is too much. Ages are in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Thresholds {
    /// The age of the last run that succeeded.
    pub(crate) age: Limits,
    /// How long the hour that has been due for longest has been due.
    pub(crate) pending: Limits,
    /// Tokens in the quarantine.
    pub(crate) quarantine: Limits,
    /// Ids in gaps, for a day after the newest gap was found.
    pub(crate) missing: Limits,
    /// Pages in the journal that were not committed.
    pub(crate) uncommitted: Limits,
}

/// The answer to the monitor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) level: Level,
    text: String,
    /// The figures; empty: there are none.
    performance: String,
}

impl Answer {
    /// An answer without figures.
    pub(crate) fn of(level: Level, text: &str) -> Self {
        Self::with(level, text, String::new())
    }

    fn with(level: Level, text: &str, performance: String) -> Self {
        Self { level, text: one_line(text), performance }
    }

    /// The line, with its end.
    pub(crate) fn line(&self) -> String {
        let figures = if self.performance.is_empty() { String::new() } else { format!(" | {}", self.performance) };
        format!("{} - {}{figures}\n", self.level, self.text)
    }
}

/// One answer for several pipelines, which names each, the worst first. A pipeline that is known to be in trouble outranks one of which
/// nothing is known: who is woken for the first must not be told of the second.
pub(crate) fn of_several(mut answers: Vec<(String, Answer)>) -> Answer {
    let rank = |level| match level {
        Level::Ok => 0,
        Level::Warning => 1,
        Level::Unknown => 2,
        Level::Critical => 3,
    };
    answers.sort_by_key(|(_, answer)| std::cmp::Reverse(rank(answer.level)));
    let level = answers.first().map_or(Level::Unknown, |(_, answer)| answer.level);
    let texts: Vec<String> =
        answers.iter().map(|(name, answer)| format!("{name}: {} {}", answer.level, answer.text)).collect();
    let figures: Vec<String> =
        answers.iter().flat_map(|(name, answer)| figures_of(name, &answer.performance)).collect();
    Answer::with(level, &texts.join("; "), figures.join(" "))
}

/// The figures of a pipeline, each under its name.
fn figures_of(name: &str, performance: &str) -> Vec<String> {
    let name: String = name.chars().map(|c| if "'=|".contains(c) || acts(c) { '_' } else { c }).collect();
    let figures = performance.split_ascii_whitespace().filter_map(|figure| figure.split_once('='));
    figures.map(|(label, value)| format!("'{name}.{label}'={value}")).collect()
}

/// How bad something is, and what it is.
pub(crate) type Finding = (Level, String);

/// Judges the status as of `now`, and what else was found where it lies.
pub(crate) fn check(status: &Status, limits: &Thresholds, now: Timestamp, found: Vec<Finding>) -> Answer {
    let figures = Figures::of(status, now);
    let performance = figures.performance(status, limits);
    let mut problems = found;
    problems.extend(findings(status, &figures, limits, now));
    problems.retain(|(level, _)| *level > Level::Ok);
    problems.sort_by_key(|(level, _)| std::cmp::Reverse(*level));
    match problems.first() {
        Some((level, _)) => {
            let texts: Vec<&str> = problems.iter().map(|(_, text)| text.as_str()).collect();
            Answer::with(*level, &texts.join("; "), performance)
        }
        None if status.last_run.is_none() => Answer::with(Level::Unknown, NO_RUN, performance),
        None => Answer::with(Level::Ok, &all_well(status, &figures, now), performance),
    }
}

/// The numbers that are judged, and shown to the monitor.
struct Figures {
    age: Option<u64>,
    pending_age: u64,
    overdue: u64,
    quarantined: u64,
    gaps: u64,
    missing: u64,
    /// `missing` while it is worth a warning, else 0.
    newly_missing: u64,
    uncommitted: u64,
}

impl Figures {
    fn of(status: &Status, now: Timestamp) -> Self {
        let since = |at: Timestamp| u64::try_from(now.duration_since(at).as_secs()).unwrap_or(0);
        let (overdue, missing) = (status.overdue(now), status.missing_ids());
        let is_news = status.gap_found.is_some_and(|at| now.duration_since(at) < GAP_IS_NEWS);
        Self {
            age: status.last_success.map(since),
            pending_age: overdue.oldest,
            overdue: overdue.hours,
            quarantined: status.quarantine.count,
            gaps: status.gaps.len() as u64,
            missing,
            newly_missing: if is_news { missing } else { 0 },
            uncommitted: status.journal.uncommitted,
        }
    }

    fn performance(&self, status: &Status, limits: &Thresholds) -> String {
        let none = Limits::default();
        let age = self.age.map(|age| ("age", age, "s", limits.age));
        let others = [
            ("pending_age", self.pending_age, "s", limits.pending),
            ("overdue", self.overdue, "", none),
            ("quarantined", self.quarantined, "", limits.quarantine),
            ("gaps", self.gaps, "", none),
            ("missing", self.missing, "", limits.missing),
            ("uncommitted", self.uncommitted, "", limits.uncommitted),
            ("pending", status.totals.pending, "", none),
            ("uploaded", status.totals.uploaded, "c", none),
            ("journal", status.journal.bytes, "B", none),
            ("rejected", status.rejected.count, "", none),
            ("parked", status.parked.count, "", none),
        ];
        let verify = status.last_verify.as_ref().map(|last| ("unmended", last.left, "", none));
        let disk = status.disk.map(|disk| ("state", disk.bytes, "B", none));
        let lanes = status.cluster.iter().flat_map(of_cluster);
        let figures = age.into_iter().chain(others).chain(verify).chain(disk).chain(lanes);
        figures.map(|(name, value, unit, limits)| figure(name, value, unit, limits)).collect::<Vec<_>>().join(" ")
    }

    fn quarantined(&self) -> String {
        format!("{} in the quarantine", plural(self.quarantined, "token", "tokens"))
    }

    fn missing(&self) -> String {
        format!("{} never seen, in {}", plural(self.missing, "id", "ids"), plural(self.gaps, "gap", "gaps"))
    }
}

/// The figures of a cluster.
fn of_cluster(cluster: &ClusterStatus) -> [(&'static str, u64, &'static str, Limits); 4] {
    let none = Limits::default();
    [
        ("unowned", cluster.unowned().count() as u64, "", none),
        ("unread", cluster.lanes.iter().map(|lane| lane.unread).sum(), "", none),
        ("unrouted", cluster.pages.unrouted, "", none),
        ("waiting", cluster.pages.waiting, "", none),
    ]
}

fn figure(name: &str, value: u64, unit: &str, limits: Limits) -> String {
    let limit = |limit: Option<u64>| limit.map_or_else(String::new, |limit| limit.to_string());
    let mut text = format!("{name}={value}{unit}");
    if limits != Limits::default() {
        let _ = write!(text, ";{};{};0", limit(limits.warn), limit(limits.crit));
    }
    text
}

/// All that is judged, well or not.
fn findings(status: &Status, figures: &Figures, limits: &Thresholds, now: Timestamp) -> Vec<Finding> {
    let mut found: Vec<Finding> = status.judged().map(|run| (exit_level(run), exit_text(run, now))).collect();
    found.extend(age(status, figures, limits.age, now));
    found.push(pending(status, figures, limits.pending));
    let why = ": `etl quarantine list` says why";
    found.push((limits.quarantine.judge(figures.quarantined), figures.quarantined() + why));
    found.extend(waits_for_someone(status));
    found.push((limits.missing.judge(figures.newly_missing), figures.missing()));
    found.extend(status.last_verify.as_ref().and_then(|last| verify(last, now)));
    found.extend(status.cluster.iter().flat_map(cluster));
    if !status.running {
        let pages = plural(figures.uncommitted, "page", "pages");
        let what = match &status.cluster {
            None => format!("{pages} in the journal not committed: the next run with their key takes them"),
            Some(_) => format!("{pages} wait unread: a run with their key takes them"),
        };
        found.push((limits.uncommitted.judge(figures.uncommitted), what));
    }
    found
}

/// What of a cluster needs a person: lanes that nobody works on, and partitions that a further failure would cost.
fn cluster(cluster: &ClusterStatus) -> Vec<Finding> {
    let judge = |n: u64, level| if n > 0 { level } else { Level::Ok };
    let unowned: Vec<String> = cluster.unowned().map(|lane| lane.lane.to_string()).collect();
    let (lagging, without_leader) = cluster.lacking();
    let partitions = |n| plural(u64::from(n), "partition", "partitions");
    vec![
        (
            judge(unowned.len() as u64, Level::Critical),
            format!("nobody works on lane {}: start `etl run` there", unowned.join(", ")),
        ),
        (
            judge(u64::from(without_leader), Level::Critical),
            format!("{} that nobody can read or write: look at the brokers", partitions(without_leader)),
        ),
        (
            judge(u64::from(lagging), Level::Warning),
            format!("{} on fewer brokers than they should be: look at the brokers", partitions(lagging)),
        ),
    ]
}

/// What the last verification found and nobody mended, with what to do about the first of it.
fn verify(last: &LastVerify, now: Timestamp) -> Option<Finding> {
    let hint = last.findings.first().map_or_else(String::new, |first| format!(": {}", first.hint));
    (last.left > 0)
        .then(|| (Level::Critical, format!("the last verify was {}{hint}", words::verify(Some(last), now).1)))
}

/// Whether a run succeeded, and not too long ago.
fn age(status: &Status, figures: &Figures, limits: Limits, now: Timestamp) -> Vec<Finding> {
    let Some(age) = figures.age else {
        let level = if status.last_run.is_some() { Level::Warning } else { Level::Ok };
        return vec![(level, "no run has succeeded yet".to_owned())];
    };
    let is_ahead = words::is_ahead(status, now);
    let silent = u64::try_from(now.duration_since(status.as_of).as_secs()).unwrap_or(0);
    let hangs = if status.running { limits.judge(silent) } else { Level::Ok };
    vec![
        (limits.judge(age), format!("the last run that succeeded was {} ago", seconds(age))),
        (
            if is_ahead { Level::Warning } else { Level::Ok },
            "the last run that succeeded is in the future: a clock is or was wrong; set it (`timedatectl`), the next run that succeeds ends this".to_owned(),
        ),
        (hangs, format!("the run at work has given no word for {}", seconds(silent))),
    ]
}

fn exit_level(run: &LastRun) -> Level {
    match run.exit {
        Some(0 | 130 | 143) => Level::Ok,
        // It was killed: the next one finishes what it began.
        Some(75 | 65) | None => Level::Warning,
        Some(_) => Level::Critical,
    }
}

fn exit_text(run: &LastRun, now: Timestamp) -> String {
    let command = run.command.name();
    let Some(exit) = run.exit else {
        return format!("the last {command} was killed: it began {} ago and never ended", ago(run.started, now));
    };
    let problem = run.advice().map_or_else(String::new, |problem| format!(": {problem}"));
    format!("the last {command} ended with exit {exit}{problem}")
}

fn pending(status: &Status, figures: &Figures, limits: Limits) -> Finding {
    // What a run is about to upload is not overdue.
    let level = if status.running { Level::Ok } else { limits.judge(figures.pending_age) };
    let (hours, age) = (plural(figures.overdue, "hour", "hours"), seconds(figures.pending_age));
    let pinned = status.journal.pinned_by.first();
    let pinned = pinned.map_or_else(String::new, |hour| format!(", hour {hour} holds the oldest page of the journal"));
    (level, format!("{hours} not uploaded, the first has been due for {age}{pinned}"))
}

/// What stays as it is until a person acts.
fn waits_for_someone(status: &Status) -> Vec<Finding> {
    let warn = |n: u64, text: String| (if n > 0 { Level::Warning } else { Level::Ok }, text);
    let (parked, rejected, held) = (status.parked.count, status.rejected.count, status.quarantine.held_pages);
    let records = plural(parked, "record", "records");
    let bodies = plural(rejected, "body", "bodies");
    let pages = plural(held, "page", "pages");
    vec![
        warn(
            parked,
            format!("{records} parked: the parts of their hours cannot be read back, `etl status` names them"),
        ),
        warn(rejected, format!("{bodies} rejected: `etl replay --rejected`, or move them away")),
        warn(held, format!("the quarantine is full: {pages} held in the journal")),
    ]
}

fn all_well(status: &Status, figures: &Figures, now: Timestamp) -> String {
    let last = status.last_fetching_run.as_ref().or(status.last_run.as_ref());
    let (when, new) = last.map_or((now, 0), |run| (run.heard(), run.so_far.new));
    let mut text = format!("last run {} ago, {} new", ago(when, now), count(new));
    let pending = status.totals.pending;
    let _ = match (pending, figures.overdue) {
        (0, _) => write!(text, ", nothing pending"),
        (_, 0) => write!(text, ", {} pending in open hours", plural(pending, "record", "records")),
        _ => write!(text, ", {} pending", plural(pending, "record", "records")),
    };
    if figures.quarantined > 0 {
        let _ = write!(text, ", {}", figures.quarantined());
    }
    if figures.missing > 0 {
        let _ = write!(text, ", {}", figures.missing());
    }
    text
}

fn seconds(age: u64) -> String {
    let age = i64::try_from(age).ok().and_then(|age| Timestamp::from_second(age).ok());
    ago(Timestamp::UNIX_EPOCH, age.unwrap_or(Timestamp::MAX))
}

/// Text that cannot be taken for another line, nor for performance data.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c == '|' || acts(c) { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests;
