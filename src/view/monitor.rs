//! `etl status --check`: one line and an exit code, as monitoring plugins give them. Pure.
//!
//! `STATE - text | performance data`; 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN. Problems come first, the worst of them before the
//! others. Where there are none, the text says how things stand.

use std::fmt::{self, Write as _};

use jiff::{SignedDuration, Timestamp};

use super::table::{count, plural};
use super::words::ago;
use crate::output::plain_text::acts;
use crate::state::status::{HourState, Status};

/// How long a gap is worth a warning. One that is never filled must not warn for ever.
const GAP_IS_NEWS: SignedDuration = SignedDuration::from_hours(24);

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
    /// The line, with its end.
    pub(crate) line: String,
}

impl Answer {
    /// An answer without figures.
    pub(crate) fn of(level: Level, text: &str) -> Self {
        Self { level, line: format!("{level} - {}\n", one_line(text)) }
    }

    fn with(level: Level, text: &str, performance: &str) -> Self {
        Self { level, line: format!("{level} - {} | {performance}\n", one_line(text)) }
    }
}

/// Judges the status as of `now`.
pub(crate) fn check(status: &Status, limits: &Thresholds, now: Timestamp) -> Answer {
    let figures = Figures::of(status, now);
    let performance = figures.performance(status, limits);
    let Some(age) = figures.age else {
        return match &status.last_run {
            None => Answer::with(Level::Unknown, "no run yet", &performance),
            Some(_) => Answer::with(exit_level(status).max(Level::Warning), "no run has succeeded yet", &performance),
        };
    };
    let mut problems = findings(status, &figures, age, limits);
    problems.retain(|(level, _)| *level > Level::Ok);
    problems.sort_by_key(|(level, _)| std::cmp::Reverse(*level));
    match problems.first() {
        None => Answer::with(Level::Ok, &all_well(status, &figures, age), &performance),
        Some((level, _)) => {
            let texts: Vec<&str> = problems.iter().map(|(_, text)| text.as_str()).collect();
            Answer::with(*level, &texts.join("; "), &performance)
        }
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
        let due = status.hours.iter().filter(|hour| matches!(hour.state, HourState::Closed | HourState::Sealing));
        let missing = status.missing_ids();
        let is_news = status.gap_found.is_some_and(|at| now.duration_since(at) < GAP_IS_NEWS);
        Self {
            age: status.last_success.map(since),
            pending_age: due.clone().map(|hour| since(hour.closes_at)).max().unwrap_or(0),
            overdue: due.count() as u64,
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
        ];
        let figures = age.into_iter().chain(others);
        figures.map(|(name, value, unit, limits)| figure(name, value, unit, limits)).collect::<Vec<_>>().join(" ")
    }

    fn quarantined(&self) -> String {
        format!("{} in the quarantine", plural(self.quarantined, "token", "tokens"))
    }

    fn missing(&self) -> String {
        format!("{} never seen, in {}", plural(self.missing, "id", "ids"), plural(self.gaps, "gap", "gaps"))
    }
}

fn figure(name: &str, value: u64, unit: &str, limits: Limits) -> String {
    let limit = |limit: Option<u64>| limit.map_or_else(String::new, |limit| limit.to_string());
    let mut text = format!("{name}={value}{unit}");
    if limits != Limits::default() {
        let _ = write!(text, ";{};{};0", limit(limits.warn), limit(limits.crit));
    }
    text
}

type Finding = (Level, String);

/// All that is judged, well or not.
fn findings(status: &Status, figures: &Figures, age: u64, limits: &Thresholds) -> Vec<Finding> {
    let mut found = vec![
        (exit_level(status), exit_text(status)),
        (limits.age.judge(age), format!("the last run that succeeded was {} ago", seconds(age))),
        pending(status, figures, limits.pending),
        (limits.quarantine.judge(figures.quarantined), figures.quarantined()),
    ];
    found.extend(waits_for_someone(status));
    found.push((limits.missing.judge(figures.newly_missing), figures.missing()));
    if !status.running {
        let pages = plural(figures.uncommitted, "page", "pages");
        found.push((limits.uncommitted.judge(figures.uncommitted), format!("{pages} in the journal not committed")));
    }
    found
}

fn exit_level(status: &Status) -> Level {
    match status.last_run.as_ref().and_then(|run| run.exit) {
        Some(1 | 74 | 76 | 77 | 78) => Level::Critical,
        Some(75 | 65) => Level::Warning,
        _ => Level::Ok,
    }
}

fn exit_text(status: &Status) -> String {
    let run = status.last_run.as_ref();
    let exit = run.and_then(|run| run.exit).unwrap_or(0);
    let problem = run.and_then(|run| run.problems.first()).map_or_else(String::new, |problem| format!(": {problem}"));
    format!("the last run ended with exit {exit}{problem}")
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

fn all_well(status: &Status, figures: &Figures, age: u64) -> String {
    let new = status.last_run.as_ref().map_or(0, |run| run.so_far.new);
    let mut text = format!("last run {} ago, {} new", seconds(age), count(new));
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
mod tests {
    use super::*;
    use crate::hour::gaps::Gap;
    use crate::state::pages::journal::Rejected;
    use crate::state::status::{HourStatus, JournalStatus, LastRun, RunSoFar};

    fn at(text: &str) -> Timestamp {
        format!("2023-03-10T{text}Z").parse().unwrap()
    }

    fn well_run() -> Status {
        let mut status = Status::empty(at("10:00:00"));
        status.last_run = Some(LastRun {
            started: at("10:00:00"),
            ended: Some(at("10:00:01")),
            exit: Some(0),
            so_far: RunSoFar { new: 37, ..RunSoFar::default() },
            problems: Vec::new(),
        });
        status.last_success = Some(at("10:00:01"));
        status
    }

    fn limits() -> Thresholds {
        let pair = |warn, crit| Limits { warn: Some(warn), crit };
        Thresholds {
            age: pair(7200, Some(21_600)),
            pending: pair(3600, Some(43_200)),
            quarantine: pair(0, Some(10)),
            missing: pair(0, None),
            uncommitted: pair(0, None),
        }
    }

    #[track_caller]
    fn says(status: &Status, now: &str, level: Level, text: &str) {
        let answer = check(status, &limits(), at(now));
        assert_eq!(answer.level, level, "{}", answer.line);
        assert!(answer.line.starts_with(&format!("{level} - {text}")), "{}", answer.line);
        assert_eq!((answer.line.matches('\n').count(), answer.line.matches('|').count()), (1, 1), "{}", answer.line);
    }

    #[test]
    fn all_is_well_and_the_figures_follow() {
        let expected = "OK - last run 179 s ago, 37 new, nothing pending | age=179s;7200;21600;0 \
                        pending_age=0s;3600;43200;0 overdue=0 quarantined=0;0;10;0 gaps=0 missing=0;0;;0 \
                        uncommitted=0;0;;0 pending=0 uploaded=0c journal=0B\n";
        let expected = expected.replace("179 s ago", "2 min ago");
        assert_eq!(check(&well_run(), &limits(), at("10:03:00")).line, expected);
    }

    #[test]
    fn run_that_does_not_come_is_noticed_at_its_limits() {
        says(&well_run(), "12:00:01", Level::Ok, "last run 2 h ago");
        says(&well_run(), "12:00:02", Level::Warning, "the last run that succeeded was 2 h ago");
        says(&well_run(), "16:00:02", Level::Critical, "the last run that succeeded was 6 h ago");
    }

    #[test]
    fn worst_comes_first_and_nothing_breaks_the_line() {
        let mut status = well_run();
        status.quarantine.count = 3;
        let run = status.last_run.as_mut().unwrap();
        (run.exit, run.problems) = (Some(77), vec!["a key | was\nrefused".to_owned()]);
        let text = "the last run ended with exit 77: a key   was refused; 3 tokens in the quarantine";
        says(&status, "10:03:00", Level::Critical, text);
        status.quarantine.count = 11;
        status.last_run.as_mut().unwrap().exit = Some(75);
        says(&status, "10:03:00", Level::Critical, "11 tokens in the quarantine; the last run ended with exit 75");
    }

    #[test]
    fn hours_that_wait_pages_that_are_locked_and_new_gaps_warn() {
        let hour = |state| HourStatus {
            hour: "2023-03-10T08".parse().unwrap(),
            state,
            pending_records: 5,
            closes_at: at("09:10:00"),
            late_records: 0,
            uploaded_at: None,
            parts: Vec::new(),
        };
        let mut status = well_run();
        status.hours = vec![hour(HourState::Closed)];
        says(&status, "10:10:00", Level::Ok, "last run 9 min ago");
        says(&status, "10:10:01", Level::Warning, "1 hour not uploaded, the first has been due for 60 min");
        status.running = true;
        says(&status, "10:10:01", Level::Ok, "last run 10 min ago");
        status = well_run();
        status.journal = JournalStatus { pages: 2, bytes: 9, uncommitted: 2, ..JournalStatus::default() };
        says(&status, "10:03:00", Level::Warning, "2 pages in the journal not committed");
        status = well_run();
        status.parked.count = 3;
        says(&status, "10:03:00", Level::Warning, "3 records parked");
        status = well_run();
        status.rejected = Rejected { count: 2, bytes: 9 };
        says(&status, "10:03:00", Level::Warning, "2 bodies rejected");
        status = well_run();
        status.quarantine.held_pages = 1;
        says(&status, "10:03:00", Level::Warning, "the quarantine is full: 1 page held");
        status = well_run();
        (status.gaps, status.gap_found) = (vec![Gap { from: 5, to: 9 }], Some(at("10:00:00")));
        says(&status, "10:03:00", Level::Warning, "5 ids never seen, in 1 gap");
        status.gap_found = Some("2023-03-09T10:02:00Z".parse().unwrap());
        says(&status, "10:03:00", Level::Ok, "last run 2 min ago, 37 new, nothing pending, 5 ids never seen, in 1 gap");
    }

    #[test]
    fn without_a_run_that_succeeded_it_is_not_well() {
        says(&Status::empty(at("10:00:00")), "10:00:00", Level::Unknown, "no run yet");
        let mut status = well_run();
        (status.last_success, status.last_run.as_mut().unwrap().exit) = (None, Some(75));
        says(&status, "10:03:00", Level::Warning, "no run has succeeded yet");
        status.last_run.as_mut().unwrap().exit = Some(78);
        says(&status, "10:03:00", Level::Critical, "no run has succeeded yet");
    }
}
