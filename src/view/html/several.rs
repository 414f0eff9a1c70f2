//! The page of several pipelines: a table over all, then each by itself. `html/several.html` is the page.

use askama::Template;
use jiff::Timestamp;

use super::{OneLineHtml, REFRESH, class, filters};
use crate::view::overview::{Pipeline, success};

#[derive(Template)]
#[template(path = "several.html", config = "src/view/html/askama.toml")]
struct Page<'a> {
    pipelines: &'a [Pipeline],
    now: Timestamp,
    fresh: Option<u64>,
}

/// The page.
pub(in crate::view) fn page(pipelines: &[Pipeline], now: Timestamp, fresh: Option<u64>) -> String {
    let mut page = String::new();
    // Writing into a string does not fail, and nothing that the template shows does.
    let _ = Page { pipelines, now, fresh }.render_into(&mut page);
    page
}
