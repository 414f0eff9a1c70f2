//! `etl status` for people: what a terminal shows.
//!
//! Styled throughout; where styles are not wanted the writer takes them out, so the text must read well without. Pure.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use jiff::{SignedDuration, Timestamp};

use super::heat::{Cell, Heat, HeatDay};
use super::table::{Align, Table, bytes, count, plural};
use super::text;
use crate::hour::Hour;
use crate::hour::gaps::Gap;
use crate::output::plain_text::clean;
use crate::state::status::{HourState, HourStatus, Status};

/// Gaps listed; `--json` has all.
const LISTED_GAPS: usize = 8;
/// Hours listed, and how many of them whatever state they are in.
const LISTED_HOURS: usize = 12;
const LISTED_ANYWAY: usize = 4;
/// Hours named of which records are parked.
const PARKED_LISTED: usize = 3;
/// From so many columns on there is room for two in the heat map for each hour.
const WIDE: usize = 80;

const DIM: Style = Style::new().dimmed();
const GREEN: Style = AnsiColor::Green.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const CYAN: Style = AnsiColor::Cyan.on_default();
const MAGENTA: Style = AnsiColor::Magenta.on_default();
const RED: Style = AnsiColor::Red.on_default();

/// What the screen can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    /// Whether it knows shades beyond ASCII.
    pub unicode: bool,
    /// Its columns.
    pub columns: usize,
    /// Whether to list every hour.
    pub all: bool,
}

/// The status, as of `now`.
#[must_use]
pub fn status(status: &Status, heat: &Heat, now: Timestamp, screen: Screen) -> String {
    let mut text = last_run(status, now);
    text.push('\n');
    if !heat.days.is_empty() {
        text.push_str(&heat_map(heat, screen));
        text.push('\n');
    }
    if !status.hours.is_empty() {
        text.push_str(&hours(&status.hours, now, screen.all));
        text.push('\n');
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
    text.push_str(&journal(status));
    text.push_str(&quarantine(status));
    text.push_str(&gaps(status));
    text
}

fn last_run(status: &Status, now: Timestamp) -> String {
    let Some(run) = &status.last_run else {
        return "no run yet\n".to_owned();
    };
    let (style, line) = match (status.running, run.ended, run.exit) {
        (true, _, _) => (CYAN, format!("a run is at work since {}", ago(run.started, now))),
        (false, Some(ended), Some(0)) => (GREEN, format!("last run {} ago: all well", ago(ended, now))),
        (false, Some(ended), Some(code)) => {
            let style = if matches!(code, 65 | 75 | 130 | 143) { YELLOW } else { RED };
            (style, format!("last run {} ago: exit {code}", ago(ended, now)))
        }
        _ => {
            (YELLOW, format!("the last run, {} ago, was interrupted: the next one finishes it", ago(run.started, now)))
        }
    };
    let mut text = format!("{style}{line}{style:#}\n");
    run.problems.iter().for_each(|problem| {
        let _ = writeln!(text, "  {}", clean(problem));
    });
    text
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
    let busy = of_kind(false).take(LISTED_HOURS - LISTED_ANYWAY).collect::<Vec<_>>();
    let room = LISTED_HOURS - busy.len();
    let mut shown: Vec<usize> = of_kind(true).take(room).chain(busy).collect();
    shown.sort_unstable();
    shown
}

fn hour_row(hour: &HourStatus, now: Timestamp) -> Vec<(String, Style)> {
    let (state, style) = match hour.state {
        HourState::Open => ("open", CYAN),
        HourState::Closed => ("closed", YELLOW),
        HourState::Sealing => ("sealing", YELLOW),
        HourState::Uploaded => ("uploaded", GREEN),
    };
    let parts = hour.parts.len() as u64;
    let plain = Style::new();
    let unless_none = |n: u64, style| if n == 0 { (String::new(), plain) } else { (count(n), style) };
    vec![
        (hour.hour.to_string(), plain),
        (state.to_owned(), style),
        (count(hour.records()), plain),
        unless_none(hour.pending_records, YELLOW),
        unless_none(hour.late_records, MAGENTA),
        (count(parts), plain),
        (if parts == 0 { String::new() } else { bytes(hour.bytes()) }, plain),
        (age(hour, now), DIM),
    ]
}

/// How long the hour has been in its state, or until it leaves it.
pub(super) fn age(hour: &HourStatus, now: Timestamp) -> String {
    match hour.state {
        HourState::Open => format!("closes in {}", ago(now, hour.closes_at)),
        HourState::Closed => format!("due since {}", ago(hour.closes_at, now)),
        HourState::Sealing => format!("waits for the store since {}", ago(hour.closes_at, now)),
        HourState::Uploaded => ago(hour.uploaded_at.unwrap_or(hour.closes_at), now),
    }
}

fn journal(status: &Status) -> String {
    let journal = &status.journal;
    let mut line = format!("journal     {}, {}", plural(journal.pages, "page", "pages"), bytes(journal.bytes));
    if journal.uncommitted > 0 {
        let _ = write!(line, "; {YELLOW}{} not committed yet{YELLOW:#}", count(journal.uncommitted));
    }
    if journal.put_off > 0 {
        let _ = write!(line, "; {YELLOW}at {} runs died: read last{YELLOW:#}", count(journal.put_off));
    }
    if let Some(hour) = journal.pinned_by.first() {
        let _ = write!(line, "; the oldest waits for hour {hour}");
    }
    line.push('\n');
    line
}

/// What is in the quarantine, what finds no room there, and what was no page.
fn quarantine(status: &Status) -> String {
    let (held, rejected) = (&status.quarantine, &status.rejected);
    let parked = &status.parked;
    if held.count == 0 && held.held_pages == 0 && rejected.count == 0 && parked.count == 0 {
        return "quarantine  0 tokens\n".to_owned();
    }
    let style = if held.count > 0 { YELLOW } else { Style::new() };
    let mut text =
        format!("quarantine  {style}{}{style:#}, {}", plural(held.count, "token", "tokens"), bytes(held.bytes));
    let reasons: Vec<String> = held.reasons.iter().map(|(reason, n)| format!("{} {reason}", count(*n))).collect();
    if !reasons.is_empty() {
        let _ = write!(text, ": {}", reasons.join(", "));
    }
    if held.held_pages > 0 {
        let pages = plural(held.held_pages, "page", "pages");
        let _ = write!(text, "; {YELLOW}it is full: {pages} held in the journal{YELLOW:#}");
    }
    text.push('\n');
    if parked.count > 0 {
        let records = plural(parked.count, "record", "records");
        let hours: Vec<String> = parked.hours.iter().take(PARKED_LISTED).map(Hour::to_string).collect();
        let more = if parked.hours.len() > PARKED_LISTED { ", …" } else { "" };
        let _ = writeln!(text, "parked      {YELLOW}{records}{YELLOW:#} of {}{more}", hours.join(", "));
    }
    if rejected.count > 0 {
        let bodies = plural(rejected.count, "body", "bodies");
        let _ = writeln!(text, "rejected    {YELLOW}{bodies}{YELLOW:#}, {}", bytes(rejected.bytes));
    }
    text
}

fn gaps(status: &Status) -> String {
    let mut text = if status.gaps.is_empty() {
        "gaps        none\n".to_owned()
    } else {
        let newest: Vec<Gap> = status.gaps.iter().rev().take(LISTED_GAPS).copied().collect();
        let line = text::gaps(status.gaps.len() as u64, status.missing_ids(), &newest);
        format!("gaps        {RED}{line}{RED:#}\n")
    };
    if status.gaps_given_up > 0 {
        let given_up = plural(status.gaps_given_up, "id", "ids");
        let _ = writeln!(text, "            {given_up} in older gaps are no longer listed: there were too many");
    }
    text
}

/// Signs for what a cell can be.
struct Signs {
    shades: [char; 4],
    hole: char,
    pending: char,
    late: char,
    both: char,
}

impl Signs {
    fn shade(&self, shade: u64) -> char {
        let sign = usize::try_from(shade).ok().and_then(|shade| self.shades.get(shade.saturating_sub(1)));
        sign.copied().unwrap_or(' ')
    }
}

const UNICODE: Signs = Signs { shades: ['░', '▒', '▓', '█'], hole: '─', pending: '+', late: '*', both: '#' };
const ASCII: Signs = Signs { shades: ['.', ':', 'o', 'O'], hole: '-', pending: '+', late: '*', both: '#' };

/// The heat map: a line for each day, two columns for each hour, or one where the screen is narrow.
fn heat_map(heat: &Heat, screen: Screen) -> String {
    let signs = if screen.unicode { UNICODE } else { ASCII };
    let wide = screen.columns >= WIDE;
    let space = " ".repeat(if wide { 10 } else { 4 });
    let hours = ["00", "06", "12", "18"].join(&space);
    let mut text = format!("{:15}{DIM}{hours}{DIM:#}\n", "");
    for day in &heat.days {
        text.push_str(&heat_line(day, &signs, wide));
    }
    text.push_str(&legend(heat, &signs));
    text
}

fn heat_line(day: &HeatDay, signs: &Signs, wide: bool) -> String {
    let mut line = format!("{:14} ", day.day.strftime("%Y-%m-%d %a").to_string());
    for cell in &day.cells {
        let (pair, style) = sign(*cell, signs, wide);
        let _ = write!(line, "{style}{pair}{style:#}");
    }
    let _ = writeln!(line, "  {:>9}", count(day.total));
    line
}

/// A cell's characters. In one column a mark stands for the shade.
fn sign(cell: Cell, signs: &Signs, wide: bool) -> (String, Style) {
    let columns = if wide { 2 } else { 1 };
    match cell {
        Cell::Blank | Cell::Skipped => (" ".repeat(columns), Style::new()),
        Cell::Hole => (signs.hole.to_string().repeat(columns), RED),
        Cell::Records { pending, late, shade, .. } => {
            let shade = signs.shade(shade);
            let (mark, style) = match (pending > 0, late > 0) {
                (true, true) => (Some(signs.both), YELLOW),
                (true, false) => (Some(signs.pending), YELLOW),
                (false, true) => (Some(signs.late), MAGENTA),
                (false, false) => (None, GREEN),
            };
            let second = mark.unwrap_or(shade);
            (if wide { format!("{shade}{second}") } else { second.to_string() }, style)
        }
    }
}

fn legend(heat: &Heat, signs: &Signs) -> String {
    let mut line = format!("{:15}", "");
    for (shade, most) in heat.shades() {
        let sign = signs.shade(shade);
        let _ = match most {
            Some(most) => write!(line, "{GREEN}{sign}{sign}{GREEN:#} to {}  ", count(most)),
            None => write!(line, "{GREEN}{sign}{sign}{GREEN:#} {}", if heat.top > 1 { "more" } else { "some" }),
        };
    }
    let Signs { hole, pending, late, both, .. } = signs;
    let _ = writeln!(
        line,
        " records an hour\n{:15}{RED}{hole}{hole}{RED:#} none  {YELLOW}{pending}{YELLOW:#} some pending  \
         {MAGENTA}{late}{MAGENTA:#} some late  {YELLOW}{both}{YELLOW:#} both",
        ""
    );
    line
}

/// A time span as people say it: `3 min`, `2 h`, `5 d`.
#[must_use]
pub fn ago(from: Timestamp, to: Timestamp) -> String {
    let span: SignedDuration = to.duration_since(from);
    let seconds = span.as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}
