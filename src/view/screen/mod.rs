//! `etl status` for people: what a terminal shows.
//!
//! All of it is styled. Where styles are not wanted the writer removes them, so the text must read well without. Pure.

mod heat_map;

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;

use super::cluster;
use super::heat::Heat;
use super::table::{Align, Table, bytes, count, plural};
use super::words::{self, Tone};
use crate::hour::Hour;
use crate::hour::gaps::Gap;
use crate::output::plain_text::clean;
use crate::state::status::history::PastRun;
use crate::state::status::{HourState, HourStatus, ParkedStatus, Status};

/// Gaps listed; `--json` has all.
const LISTED_GAPS: usize = 8;
/// Hours listed, and how many of them are the newest of those without work.
const LISTED_HOURS: usize = 12;
const LISTED_IDLE: usize = 4;
/// Hours with parked records that are named.
const LISTED_PARKED: usize = 3;

pub(super) const DIM: Style = Style::new().dimmed();
const GREEN: Style = AnsiColor::Green.on_default();
pub(super) const YELLOW: Style = AnsiColor::Yellow.on_default();
const CYAN: Style = AnsiColor::Cyan.on_default();
const MAGENTA: Style = AnsiColor::Magenta.on_default();
pub(super) const RED: Style = AnsiColor::Red.on_default();

/// What the screen can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    /// Whether it knows shades beyond ASCII.
    pub unicode: bool,
    /// Its columns.
    pub columns: usize,
    /// Whether to list every hour.
    pub all: bool,
    /// The age in seconds up to which the last success counts; `None`: any.
    pub fresh: Option<u64>,
}

/// The status, as of `now`.
#[must_use]
pub fn status(status: &Status, heat: &Heat, now: Timestamp, screen: Screen) -> String {
    let mut text = last_run(status, now, screen.fresh);
    text.push('\n');
    if !heat.days.is_empty() {
        text.push_str(&heat_map::draw(heat, screen));
        text.push('\n');
    }
    if !status.hours.is_empty() {
        text.push_str(&hours(&status.hours, now, screen.all));
        text.push('\n');
    }
    if let Some(cluster) = &status.cluster {
        text.push_str(&cluster::section(cluster, now));
    }
    let totals = &status.totals;
    let _ = writeln!(
        text,
        "records     {}: {} uploaded in {}, {} pending; {} received again",
        count(totals.records),
        count(totals.uploaded),
        plural(totals.parts, "part", "parts"),
        count(totals.pending),
        count(totals.duplicates)
    );
    let overdue = words::overdue(status, now);
    if !overdue.is_empty() {
        let _ = writeln!(text, "overdue     {YELLOW}{overdue}{YELLOW:#}");
    }
    // The pages of a cluster are in Kafka.
    if status.cluster.is_none() {
        text.push_str(&journal(status));
    }
    text.push_str(&quarantine(status));
    if status.cluster.is_none() {
        text.push_str(&gaps(status));
    }
    let (tone, verify) = words::verify(status.last_verify.as_ref(), now);
    let style = if tone == Tone::Bad { RED } else { Style::new() };
    let _ = writeln!(text, "verify      {style}{}{style:#}", clean(&verify));
    if let Some(disk) = status.disk {
        let _ = writeln!(text, "state       {} on disk", bytes(disk.bytes));
    }
    text
}

/// The newest `most` of the runs of the past, as a table.
#[must_use]
pub fn runs(runs: &[PastRun], most: usize) -> String {
    if runs.is_empty() {
        return "no run is recorded yet\n".to_owned();
    }
    let columns = ["STARTED (UTC)", "COMMAND", "EXIT", "TOOK", "PAGES", "NEW", "KNOWN", "PARTS", "PROBLEM"];
    let numbers = 3..8;
    let align = |n: usize| if numbers.contains(&n) { Align::Right } else { Align::Left };
    let columns: Vec<_> = columns.into_iter().enumerate().map(|(n, name)| (name, align(n))).collect();
    let mut table = Table::new(&columns).with_head(DIM);
    runs.iter().take(most).for_each(|run| table.styled(run_row(run)));
    let more = runs.len().saturating_sub(most) as u64;
    let more = if more > 0 {
        format!("{DIM}and {}: --runs {}{DIM:#}\n", plural(more, "more run", "more runs"), runs.len())
    } else {
        String::new()
    };
    table.render() + &more
}

fn run_row(run: &PastRun) -> Vec<(String, Style)> {
    let (tone, exit) = words::outcome(run);
    let plain = Style::new();
    let unless_none = |n: u64| (if n == 0 { String::new() } else { count(n) }, plain);
    vec![
        (words::moment(run.started), plain),
        (run.command.name().to_owned(), plain),
        (exit, style(tone)),
        (words::took(run), plain),
        unless_none(run.counts.pages),
        unless_none(run.counts.brought.new),
        unless_none(run.counts.brought.duplicates),
        unless_none(run.counts.uploaded_parts),
        (run.problem.clone().unwrap_or_default(), plain),
    ]
}

fn last_run(status: &Status, now: Timestamp, fresh: Option<u64>) -> String {
    let Some(run) = &status.last_run else { return "no run yet\n".to_owned() };
    let (tone, line) = words::last_run(status, now, fresh);
    let finished = status.running || run.exit.is_some();
    let hint = if finished { "" } else { ": the next one finishes it" };
    let style = style(tone);
    let mut text = format!("{style}{line}{hint}{style:#}\n");
    for (n, problem) in run.problems.iter().enumerate() {
        let _ = writeln!(text, "  {}", clean(problem));
        if let Some(hint) = run.hint.as_ref().filter(|_| n == 0) {
            let _ = writeln!(text, "    hint: {}", clean(hint));
        }
    }
    text
}

pub(super) const fn style(tone: Tone) -> Style {
    match tone {
        Tone::Neutral => CYAN,
        Tone::Good => GREEN,
        Tone::Warning => YELLOW,
        Tone::Bad => RED,
    }
}

/// The hours with work and the newest others, as a table.
fn hours(hours: &[HourStatus], now: Timestamp, all: bool) -> String {
    let mut table = Table::new(&[
        ("HOUR", Align::Left),
        ("STATE", Align::Left),
        ("RECORDS", Align::Right),
        ("PENDING", Align::Right),
        ("LATE", Align::Right),
        ("PARTS", Align::Right),
        ("SIZE", Align::Right),
        ("AGE", Align::Left),
    ])
    .with_head(DIM);
    let shown = if all { (0..hours.len()).collect() } else { newest(hours) };
    shown.iter().filter_map(|n| hours.get(*n)).for_each(|hour| table.styled(hour_row(hour, now)));
    let mut text = table.render();
    let more = hours.len().saturating_sub(shown.len()) as u64;
    if more > 0 {
        let _ = writeln!(text, "{DIM}and {}: --all{DIM:#}", plural(more, "more hour", "more hours"));
    }
    text
}

/// The places of the hours to list: those with work first, the newest of each kind.
fn newest(hours: &[HourStatus]) -> Vec<usize> {
    let of_kind = |idle: bool| {
        let is_kind = move |hour: &HourStatus| (hour.state == HourState::Uploaded) == idle;
        hours.iter().enumerate().rev().filter(move |(_, hour)| is_kind(hour)).map(|(n, _)| n)
    };
    let busy = of_kind(false).take(LISTED_HOURS - LISTED_IDLE).collect::<Vec<_>>();
    let room = LISTED_HOURS - busy.len();
    let mut shown: Vec<usize> = of_kind(true).take(room).chain(busy).collect();
    shown.sort_unstable();
    shown
}

fn hour_row(hour: &HourStatus, now: Timestamp) -> Vec<(String, Style)> {
    let (tone, state) = words::state(hour);
    let parts = hour.parts.len() as u64;
    let plain = Style::new();
    let unless_none = |n: u64, style| if n == 0 { (String::new(), plain) } else { (count(n), style) };
    vec![
        (hour.hour.to_string(), plain),
        (state.to_owned(), style(tone)),
        (count(hour.records()), plain),
        unless_none(hour.pending_records, YELLOW),
        unless_none(hour.late_records, MAGENTA),
        (count(parts), plain),
        (if parts == 0 { String::new() } else { bytes(hour.bytes()) }, plain),
        (words::age(hour, now), DIM),
    ]
}

fn journal(status: &Status) -> String {
    let journal = &status.journal;
    let mut line = format!("journal     {}, {}", plural(journal.pages, "page", "pages"), bytes(journal.bytes));
    if journal.uncommitted > 0 {
        let _ = write!(line, "; {YELLOW}{} not committed yet{YELLOW:#}", count(journal.uncommitted));
    }
    if journal.put_off > 0 {
        let _ = write!(line, "; {YELLOW}runs died on {}: read last{YELLOW:#}", count(journal.put_off));
    }
    if let Some(hour) = journal.pinned_by.first() {
        let _ = write!(line, "; the oldest waits for hour {hour}");
    }
    line.push('\n');
    line
}

/// The quarantine, and what else waits for a person.
fn quarantine(status: &Status) -> String {
    let held = &status.quarantine;
    let waiting = [held.count, held.held_pages, status.rejected.count, status.parked.count];
    if waiting == [0; 4] {
        return "quarantine  0 tokens\n".to_owned();
    }
    let style = if held.count > 0 { YELLOW } else { Style::new() };
    let tokens = plural(held.count, "token", "tokens");
    let mut text = format!("quarantine  {style}{tokens}{style:#}, {}", bytes(held.bytes));
    let reasons: Vec<String> = held.reasons.iter().map(|(reason, n)| format!("{} {reason}", count(*n))).collect();
    if !reasons.is_empty() {
        let _ = write!(text, ": {}", reasons.join(", "));
    }
    if held.held_pages > 0 {
        let pages = plural(held.held_pages, "page", "pages");
        let _ = write!(text, "; {YELLOW}it is full: {pages} held in the journal{YELLOW:#}");
    }
    text.push('\n');
    text.push_str(&parked(&status.parked));
    if status.rejected.count > 0 {
        let bodies = plural(status.rejected.count, "body", "bodies");
        let _ = writeln!(text, "rejected    {YELLOW}{bodies}{YELLOW:#}, {}", bytes(status.rejected.bytes));
    }
    text
}

fn parked(parked: &ParkedStatus) -> String {
    if parked.count == 0 {
        return String::new();
    }
    let records = plural(parked.count, "record", "records");
    let hours: Vec<String> = parked.hours.iter().take(LISTED_PARKED).map(Hour::to_string).collect();
    let more = if parked.hours.len() > LISTED_PARKED { ", …" } else { "" };
    format!("parked      {YELLOW}{records}{YELLOW:#} of {}{more}\n", hours.join(", "))
}

fn gaps(status: &Status) -> String {
    let mut text = if status.gaps.is_empty() {
        "gaps        none\n".to_owned()
    } else {
        let newest: Vec<Gap> = status.gaps.iter().rev().take(LISTED_GAPS).copied().collect();
        let line = words::gaps(status.gaps.len() as u64, status.missing_ids(), &newest);
        format!("gaps        {RED}{line}{RED:#}\n")
    };
    if status.gaps_given_up > 0 {
        let given_up = plural(status.gaps_given_up, "id", "ids");
        let _ = writeln!(text, "            {given_up} in older gaps are no longer listed: there were too many");
    }
    text
}
