//! Several pipelines side by side: a table, and a page. Pure.
//!
//! One whose status cannot be read has its row, with the reason.

use anstyle::Style;
use jiff::Timestamp;

use super::heat::Heat;
use super::html;
use super::screen::{RED, YELLOW, style};
use super::table::{Align, Table, count};
use super::words::{self, Tone, ago};
use crate::error::Error;
use crate::output::plain_text::clean;
use crate::state::status::Status;

/// A pipeline.
pub(crate) struct Pipeline {
    /// What it is called.
    pub(crate) name: String,
    /// Its configuration, as it was named.
    pub(crate) config: String,
    /// How it stands, or why that is not known.
    pub(crate) read: Result<Read, Error>,
}

/// What was read of it.
pub(crate) struct Read {
    pub(crate) status: Status,
    pub(crate) heat: Heat,
}

impl Pipeline {
    /// How it stands, in a line.
    pub(super) fn verdict(&self, now: Timestamp, fresh: Option<u64>) -> (Tone, String) {
        match &self.read {
            Ok(read) => words::last_run(&read.status, now, fresh),
            Err(error) => (Tone::Bad, format!("cannot be read: {}", error.chain())),
        }
    }

    /// What to do where it cannot be read.
    pub(super) fn hint(&self) -> Option<&str> {
        self.read.as_ref().err().and_then(Error::next_step)
    }
}

/// How long ago a run last succeeded.
pub(super) fn success(status: &Status, now: Timestamp) -> String {
    status.last_success.map_or_else(|| "never".to_owned(), |at| format!("{} ago", ago(at, now)))
}

/// A row a pipeline, and below them what to do about those that cannot be read.
pub(crate) fn text(pipelines: &[Pipeline], now: Timestamp, fresh: Option<u64>) -> String {
    let columns = ["PIPELINE", "RECORDS", "PENDING", "OVERDUE", "QUARANTINED", "MISSING", "SUCCESS", "STATE"];
    let align = |n| if (1..6).contains(&n) { Align::Right } else { Align::Left };
    let columns: Vec<_> = (0..).zip(columns).map(|(n, name)| (name, align(n))).collect();
    let mut table = Table::new(&columns);
    for pipeline in pipelines {
        table.styled(row(pipeline, now, fresh));
    }
    let hint = |pipeline: &Pipeline| Some(format!("{}: {}\n", pipeline.name, pipeline.hint()?));
    let hints: String =
        pipelines.iter().filter_map(hint).map(|hint| clean(hint.trim_end()).into_owned() + "\n").collect();
    let space = if hints.is_empty() { "" } else { "\n" };
    table.render() + space + &hints
}

fn row(pipeline: &Pipeline, now: Timestamp, fresh: Option<u64>) -> Vec<(String, Style)> {
    let (tone, verdict) = pipeline.verdict(now, fresh);
    let (name, verdict) = ((pipeline.name.clone(), Style::new()), (verdict, style(tone)));
    let Ok(Read { status, .. }) = &pipeline.read else {
        let unknown = || ("–".to_owned(), Style::new());
        return vec![name, unknown(), unknown(), unknown(), unknown(), unknown(), unknown(), verdict];
    };
    let plain = |n: u64| (count(n), Style::new());
    let if_any = |n: u64, style| (count(n), if n > 0 { style } else { Style::new() });
    vec![
        name,
        plain(status.totals.records),
        plain(status.totals.pending),
        if_any(status.overdue(now).hours, YELLOW),
        if_any(status.quarantine.count, YELLOW),
        if_any(status.missing_ids(), RED),
        (success(status, now), Style::new()),
        verdict,
    ]
}

/// One page for a browser.
pub(crate) fn page(pipelines: &[Pipeline], now: Timestamp, fresh: Option<u64>) -> String {
    html::several::page(pipelines, now, fresh)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn pipeline_that_cannot_be_read_has_its_row_and_hides_no_other() {
        let now = Timestamp::UNIX_EPOCH;
        let mut status = Status::empty(now);
        status.totals.records = 1200;
        let broken = Error::new(ErrorKind::Config, "b.toml, line 3:\n\u{1b}[2Jx").hint("correct it");
        let pipelines = [
            Pipeline { name: "good".into(), config: "a".into(), read: Ok(Read { status, heat: Heat::default() }) },
            Pipeline { name: "bad <b>".into(), config: "b".into(), read: Err(broken) },
        ];
        let shown = anstream::adapter::strip_str(&text(&pipelines, now, None)).to_string();
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.len(), 5, "{shown}");
        assert!(lines[1].starts_with("good        1,200 ") && lines[1].ends_with("never    no run yet"), "{shown}");
        assert!(
            lines[2].starts_with("bad <b>         –") && lines[2].contains("cannot be read: b.toml, line 3:"),
            "{shown}"
        );
        assert_eq!(lines[4], "bad <b>: correct it");
        let page = page(&pipelines, now, Some(7200));
        assert!(page.contains("bad &lt;b&gt;") && page.contains("1,200") && !page.contains('\u{1b}'), "{page}");
        assert!(page.contains("cannot be read: b.toml, line 3:") && page.contains("correct it"), "{page}");
    }
}
