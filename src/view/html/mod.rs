//! `etl status --html`: one page that needs nothing else, no other file and no network.
//!
//! It loads itself again, and a few lines of script say when it is older than it should be; without script it says as of when it is.
//! `html/page.html`, `html/style.css` and `html/stale.js` are the page; here is what they ask for. Whatever text the template is given is made one
//! line and escaped on its way into the page ([`OneLineHtml`]). The page follows the reader's choice of light and dark. Pure.

pub(super) mod several;

use std::fmt;

use askama::Template;
use askama::filters::Escaper;
use jiff::Timestamp;

use super::heat::{Cell, Heat};
use super::table::{count, plural};
use super::words::{self, Tone};
use crate::output::plain_text::clean;
use crate::state::status::history::PastRun;
use crate::state::status::{HourState, Status};

/// Hours and gaps that are listed, the newest: a backfill may have thousands.
const LISTED: usize = 200;
/// Runs that are listed, the newest.
const RUNS: usize = 50;
/// How often the page loads itself again, in seconds.
const REFRESH: u32 = 60;

#[derive(Template)]
#[template(path = "page.html", config = "src/view/html/askama.toml")]
struct Page<'a> {
    shown: &'a Shown<'a>,
    status: &'a Status,
    heat: &'a Heat,
    now: Timestamp,
}

/// What the page shows beside the status.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Shown<'a> {
    /// What the pipeline is called.
    pub(crate) name: &'a str,
    /// The age in seconds up to which the last success counts, and from which on the page is stale; `None`: any.
    pub(crate) fresh: Option<u64>,
    /// The runs of the past, the newest first.
    pub(crate) runs: &'a [PastRun],
}

/// The page.
pub(crate) fn page(status: &Status, heat: &Heat, shown: &Shown<'_>, now: Timestamp) -> String {
    let mut page = String::new();
    // Writing into a string does not fail, and nothing that the template shows does.
    let _ = Page { shown, status, heat, now }.render_into(&mut page);
    page
}

/// The class that shows a tone.
const fn class(tone: Tone) -> &'static str {
    match tone {
        Tone::Neutral => "info",
        Tone::Good => "good",
        Tone::Warning => "warn",
        Tone::Bad => "bad",
    }
}

impl Cell {
    fn describe(self) -> String {
        match self {
            Self::Blank => "nothing yet".to_owned(),
            Self::Skipped => "the clocks skip this hour".to_owned(),
            Self::Hole => "no records".to_owned(),
            Self::Records { count: records, pending, late, .. } => {
                let marks = [(pending, "pending"), (late, "late")].into_iter().filter(|(n, _)| *n > 0);
                let marks: String = marks.map(|(n, what)| format!(", {} {what}", count(n))).collect();
                plural(records, "record", "records") + &marks
            }
        }
    }

    fn class(self) -> String {
        match self {
            Self::Blank => String::new(),
            Self::Skipped => "skip".to_owned(),
            Self::Hole => "hole".to_owned(),
            Self::Records { pending, late, shade, .. } => {
                let pending = if pending > 0 { " pending" } else { "" };
                let late = if late > 0 { " late" } else { "" };
                format!("s{shade}{pending}{late}")
            }
        }
    }
}

/// Numbers as the template writes them: `{{ n|count }}`.
mod filters {
    use std::convert::Infallible;

    use askama::{PrimitiveType, Values, filter_fn};

    use crate::view::table;

    #[filter_fn]
    pub(super) fn count(n: impl PrimitiveType<Value = u64>, _: &dyn Values) -> Result<String, Infallible> {
        Ok(table::count(n.get()))
    }

    #[filter_fn]
    pub(super) fn bytes(n: impl PrimitiveType<Value = u64>, _: &dyn Values) -> Result<String, Infallible> {
        Ok(table::bytes(n.get()))
    }

    #[filter_fn]
    pub(super) fn plural(
        n: impl PrimitiveType<Value = u64>,
        _: &dyn Values,
        one: &str,
        many: &str,
    ) -> Result<String, Infallible> {
        Ok(table::plural(n.get(), one, many))
    }
}

/// Text as HTML shows it, in elements and in quoted attributes: nothing in it acts, neither on the page nor on the reader.
#[derive(Clone, Copy, Default)]
struct OneLineHtml;

impl Escaper for OneLineHtml {
    fn write_escaped_str<W: fmt::Write>(&self, mut page: W, text: &str) -> fmt::Result {
        clean(text).chars().try_for_each(|c| match c {
            '&' => page.write_str("&amp;"),
            '<' => page.write_str("&lt;"),
            '>' => page.write_str("&gt;"),
            '"' => page.write_str("&quot;"),
            '\'' => page.write_str("&#39;"),
            c => page.write_char(c),
        })
    }
}

#[cfg(test)]
mod tests;
