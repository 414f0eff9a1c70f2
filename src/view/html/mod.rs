//! `etl status --html`: one page that needs nothing else, no script, no other file.
//!
//! Its numbers are those of the status that it is made from. Whatever comes from outside (keys, problems) is escaped. Colours are
//! in one table with their contrast checked by a test; the page follows the reader's choice of light and dark. Pure.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::heat::{Cell, Heat, HeatDay};
use super::screen::{age, ago};
use super::table::{bytes, count, plural};
use super::text;
use crate::hour::gaps::Gap;
use crate::output::plain_text::clean;
use crate::state::status::{HourState, HourStatus, LastRun, Status};

const STYLE: &str = include_str!("style.css");

/// Hours and gaps that are listed, the newest: a backfill may have thousands.
const LISTED: usize = 200;

/// Each colour's name, in light and in dark.
const COLOURS: [(&str, &str, &str); 19] = [
    ("page", "#f4f5f7", "#0e1116"),
    ("card", "#ffffff", "#171b22"),
    ("line", "#d9dde3", "#2c333d"),
    ("text", "#1b1f24", "#e6e9ee"),
    ("quiet", "#59626e", "#a0a9b5"),
    ("good", "#12602b", "#7fe0a0"),
    ("good-back", "#dcf3e3", "#143322"),
    ("warn", "#7a4600", "#f5c26b"),
    ("warn-back", "#fdeccb", "#3d2c0b"),
    ("bad", "#b3201f", "#ff8f88"),
    ("bad-back", "#fde3e1", "#431917"),
    ("info", "#0b4f9e", "#8cc0ff"),
    ("info-back", "#dfecfc", "#14304f"),
    ("s1", "#7091c4", "#4468a4"),
    ("s2", "#4671b3", "#5d86c6"),
    ("s3", "#255094", "#82a9e2"),
    ("s4", "#0d2c5e", "#b5d1ff"),
    ("wait", "#b86a00", "#f0a93a"),
    ("late", "#a3208f", "#e02fc4"),
];

/// The page.
#[must_use]
pub fn page(status: &Status, heat: &Heat, now: Timestamp) -> String {
    let mut page = head();
    page.push_str("<body>\n<main>\n");
    page.push_str(&title(status, now));
    page.push_str(&figures(status));
    page.push_str(&last_run(status));
    page.push_str(&heat_map(heat));
    page.push_str(&hours(&status.hours, now));
    page.push_str(&gaps(status));
    page.push_str(&held(status));
    let _ = write!(
        page,
        "<footer><p>Written by etl {} from the status as of {}.</p></footer>\n</main>\n</body>\n</html>\n",
        env!("CARGO_PKG_VERSION"),
        time(status.as_of)
    );
    page
}

fn head() -> String {
    let colours = |pick: fn(&(&str, &str, &str)) -> String| COLOURS.iter().map(pick).collect::<String>();
    let light = colours(|(name, light, _)| format!("--{name}:{light};"));
    let dark = colours(|(name, _, dark)| format!("--{name}:{dark};"));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta name=\"robots\" content=\"noindex\">\n\
         <title>etl: status</title>\n<style>\n:root{{color-scheme:light dark;{light}}}\n\
         @media (prefers-color-scheme:dark){{:root{{{dark}}}}}\n{STYLE}</style>\n</head>\n"
    )
}

fn title(status: &Status, now: Timestamp) -> String {
    let (class, text) = verdict(status, now);
    format!(
        "<header><h1>etl status</h1><span class=\"badge {class}\">{}</span><span class=\"quiet\">as of {}</span></header>\n",
        escaped(&text),
        time(now)
    )
}

/// How the last run ended, for the eye.
fn verdict(status: &Status, now: Timestamp) -> (&'static str, String) {
    let Some(run) = &status.last_run else { return ("info", "no run yet".to_owned()) };
    match (status.running, run.ended, run.exit) {
        (true, _, _) => ("info", format!("a run is at work since {}", ago(run.started, now))),
        (false, Some(ended), Some(0)) => ("good", format!("last run {} ago: all well", ago(ended, now))),
        (false, Some(ended), Some(code @ (65 | 75 | 130 | 143))) => {
            ("warn", format!("last run {} ago: exit {code}", ago(ended, now)))
        }
        (false, Some(ended), Some(code)) => ("bad", format!("last run {} ago: exit {code}", ago(ended, now))),
        _ => ("warn", format!("the last run, {} ago, was interrupted", ago(run.started, now))),
    }
}

fn figures(status: &Status) -> String {
    let totals = &status.totals;
    let missing = status.gaps.iter().map(Gap::ids).fold(0, u64::saturating_add);
    let mut text = "<div class=\"figures\">\n".to_owned();
    for (name, value, detail) in [
        ("records", totals.records, format!("{} received again", count(totals.duplicates))),
        ("uploaded", totals.uploaded, format!("in {}", plural(totals.parts, "part", "parts"))),
        ("pending", totals.pending, "without a receipt".to_owned()),
        ("quarantined", status.quarantine.count, "tokens that are no record".to_owned()),
        ("never seen", missing, format!("in {}", plural(status.gaps.len() as u64, "gap", "gaps"))),
    ] {
        let _ = writeln!(
            text,
            "<section><span class=\"quiet\">{name}</span><strong class=\"num\">{}</strong><span class=\"quiet\">{detail}</span></section>",
            count(value)
        );
    }
    text.push_str("</div>\n");
    text
}

fn last_run(status: &Status) -> String {
    let Some(run) = &status.last_run else { return String::new() };
    let mut text = "<section>\n<h2>Last run</h2>\n<dl>\n".to_owned();
    for (name, value) in run_facts(run) {
        let _ = writeln!(text, "<div><dt>{name}</dt><dd>{value}</dd></div>");
    }
    text.push_str("</dl>\n");
    if !run.problems.is_empty() {
        text.push_str("<ul class=\"problems\">\n");
        for problem in &run.problems {
            let _ = writeln!(text, "<li>{}</li>", escaped(problem));
        }
        text.push_str("</ul>\n");
    }
    text.push_str("</section>\n");
    text
}

fn run_facts(run: &LastRun) -> Vec<(&'static str, String)> {
    let code = run.exit.map_or_else(|| "–".to_owned(), |code| code.to_string());
    let counted = &run.so_far;
    vec![
        ("started", time(run.started)),
        ("ended", run.ended.map_or_else(|| "–".to_owned(), time)),
        ("exit", code),
        ("logs received", count(counted.fetched)),
        ("new", count(counted.new)),
        ("known", count(counted.duplicates)),
        ("newly quarantined", count(counted.quarantined)),
    ]
}

fn heat_map(heat: &Heat) -> String {
    if heat.days.is_empty() {
        return String::new();
    }
    let mut text =
        "<section>\n<h2>Records, hour by hour</h2>\n<table class=\"heat\">\n<thead><tr><th class=\"day\"></th>"
            .to_owned();
    for hour in 0..24 {
        let label = if hour % 6 == 0 { format!("{hour:02}") } else { String::new() };
        let _ = write!(text, "<th scope=\"col\" aria-label=\"hour {hour:02}\">{label}</th>");
    }
    text.push_str("<th class=\"sum\"></th></tr></thead>\n<tbody>\n");
    heat.days.iter().rev().for_each(|day| text.push_str(&heat_row(day)));
    text.push_str("</tbody>\n</table>\n");
    text.push_str(&legend(heat));
    text.push_str("</section>\n");
    text
}

fn heat_row(day: &HeatDay) -> String {
    let (weekday, date) = (day.day.strftime("%a "), day.day.strftime("%m-%d"));
    let mut text = format!("<tr><th class=\"day\" scope=\"row\"><b>{weekday}</b>{date}</th>");
    for (hour, cell) in day.cells.iter().enumerate() {
        let label = format!("{}T{hour:02}: {}", day.day, said(*cell));
        let _ = write!(text, "<td class=\"{}\" title=\"{label}\" aria-label=\"{label}\"></td>", class(*cell));
    }
    let _ = writeln!(text, "<th class=\"sum num\">{}</th></tr>", count(day.total));
    text
}

fn said(cell: Cell) -> String {
    match cell {
        Cell::Blank => "nothing yet".to_owned(),
        Cell::Skipped => "the clocks skip this hour".to_owned(),
        Cell::Hole => "no records".to_owned(),
        Cell::Records { count: records, pending, late, .. } => {
            let mut text = plural(records, "record", "records");
            for (n, what) in [(pending, "pending"), (late, "late")] {
                if n > 0 {
                    let _ = write!(text, ", {} {what}", count(n));
                }
            }
            text
        }
    }
}

fn class(cell: Cell) -> String {
    match cell {
        Cell::Blank => String::new(),
        Cell::Skipped => "skip".to_owned(),
        Cell::Hole => "hole".to_owned(),
        Cell::Records { pending, late, shade, .. } => {
            let pending = if pending > 0 { " pending" } else { "" };
            let late = if late > 0 { " late" } else { "" };
            format!("s{shade}{pending}{late}")
        }
    }
}

fn legend(heat: &Heat) -> String {
    let mut text = "<p class=\"legend\">".to_owned();
    for (shade, most) in heat.shades() {
        let label = most.map_or_else(
            || if heat.top > 1 { "more" } else { "some" }.to_owned(),
            |most| format!("up to {}", count(most)),
        );
        let _ = write!(text, "<span><i class=\"s{shade}\"></i>{label}</span>");
    }
    text.push_str(
        "<span><i class=\"s2 pending\"></i>some pending</span><span><i class=\"s2 late\"></i>some late</span>\
         <span><i class=\"hole\"></i>no records</span></p>\n",
    );
    text
}

fn hours(hours: &[HourStatus], now: Timestamp) -> String {
    let mut text = "<section>\n<h2>Hours</h2>\n".to_owned();
    if hours.is_empty() {
        text.push_str("<p class=\"quiet\">none yet</p>\n</section>\n");
        return text;
    }
    text.push_str(
        "<table class=\"hours\">\n<thead><tr><th>hour</th><th>state</th><th class=\"n\">records</th>\
         <th class=\"n\">pending</th><th class=\"n\">late</th><th class=\"n\">parts</th><th class=\"n\">size</th>\
         <th>age</th></tr></thead>\n<tbody>\n",
    );
    hours.iter().rev().take(LISTED).for_each(|hour| text.push_str(&hour_row(hour, now)));
    text.push_str("</tbody>\n</table>\n");
    text.push_str(&and_more(hours.len(), "hour", "hours"));
    text.push_str("</section>\n");
    text
}

fn hour_row(hour: &HourStatus, now: Timestamp) -> String {
    let (class, state) = match hour.state {
        HourState::Open => ("info", "open"),
        HourState::Closed => ("warn", "closed"),
        HourState::Sealing => ("warn", "sealing"),
        HourState::Uploaded => ("good", "uploaded"),
    };
    let size: u64 = hour.parts.iter().map(|part| part.bytes).sum();
    let mut text = format!("<tr><td>{}</td><td><span class=\"badge {class}\">{state}</span></td>", hour.hour);
    for (label, n) in [("records", hour.records()), ("pending", hour.pending_records), ("late", hour.late_records)] {
        let shown = if n == 0 && label != "records" { String::new() } else { count(n) };
        let _ = write!(text, "<td class=\"n\" data-label=\"{label}\">{shown}</td>");
    }
    let shown = if hour.parts.is_empty() { String::new() } else { bytes(size) };
    let _ = writeln!(
        text,
        "<td class=\"n\" data-label=\"parts\">{}</td><td class=\"n\" data-label=\"size\">{shown}</td><td class=\"quiet\">{}</td></tr>",
        hour.parts.len(),
        if hour.state == HourState::Uploaded { format!("{} ago", age(hour, now)) } else { age(hour, now) }
    );
    text
}

fn gaps(status: &Status) -> String {
    let mut text = "<section>\n<h2>Gaps</h2>\n".to_owned();
    if status.gaps.is_empty() {
        text.push_str("<p class=\"quiet\">none: every id between the first and the last was seen</p>\n");
    } else {
        text.push_str("<ul class=\"gaps\">\n");
        for gap in status.gaps.iter().rev().take(LISTED) {
            let ids = plural(gap.ids(), "id", "ids");
            let _ = writeln!(text, "<li>{} <span class=\"quiet\">{ids}</span></li>", text::range(*gap));
        }
        text.push_str("</ul>\n");
        text.push_str(&and_more(status.gaps.len(), "gap", "gaps"));
    }
    if status.gaps_given_up > 0 {
        let ids = plural(status.gaps_given_up, "id", "ids");
        let _ =
            writeln!(text, "<p class=\"more quiet\">{ids} in older gaps are no longer listed: there were too many</p>");
    }
    text.push_str("</section>\n");
    text
}

fn and_more(all: usize, one: &str, many: &str) -> String {
    match all.saturating_sub(LISTED) as u64 {
        0 => String::new(),
        more => format!("<p class=\"more quiet\">and {} more</p>\n", plural(more, one, many)),
    }
}

/// What is kept on the machine: pages and odd tokens.
fn held(status: &Status) -> String {
    let journal = &status.journal;
    let pinned = journal.pinned_by.first().map_or_else(|| "nothing".to_owned(), |hour| format!("hour {hour}"));
    let mut text = "<section>\n<h2>Quarantine and journal</h2>\n<dl>\n".to_owned();
    let quarantine = &status.quarantine;
    let tokens = quarantine.reasons.iter().map(|(reason, n)| format!("{} {}", count(*n), escaped(reason)));
    let tokens =
        if quarantine.reasons.is_empty() { count(quarantine.count) } else { tokens.collect::<Vec<_>>().join(", ") };
    for (name, value) in [
        ("tokens in the quarantine", tokens),
        ("their size", bytes(quarantine.bytes)),
        ("rejected bodies", count(status.rejected.count)),
        ("pages in the journal", count(journal.pages)),
        ("their size", bytes(journal.bytes)),
        ("not committed yet", count(journal.uncommitted)),
        ("the oldest waits for", pinned),
    ] {
        let _ = writeln!(text, "<div><dt>{name}</dt><dd>{value}</dd></div>");
    }
    text.push_str("</dl>\n</section>\n");
    text
}

fn time(at: Timestamp) -> String {
    format!("<time datetime=\"{at}\">{}</time>", at.strftime("%Y-%m-%d %H:%M:%S UTC"))
}

/// Text as HTML shows it, in elements and in quoted attributes.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in clean(text).chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
    }
    html
}

#[cfg(test)]
mod tests;
