//! How one page leads to the next, by what stands beside the logs. Pure.
//!
//! Invariant: only an address or a cursor that stands there is taken for one; of anything else the place is named, for a person to judge.

use super::places::plain_name;
use crate::pointer::{self, Pointer};

/// How deep it looks.
const DEEPEST: usize = 3;
/// Names of cursors, and the parameter that usually carries them back; empty: the name itself.
const CURSORS: [(&str, &str); 14] = [
    ("nextcursor", "cursor"),
    ("cursor", "cursor"),
    ("nextpagetoken", "pageToken"),
    ("nexttoken", ""),
    ("continuationtoken", ""),
    ("continuation", ""),
    ("endcursor", "after"),
    ("after", "after"),
    ("nextpage", "page"),
    ("scrollid", ""),
    ("pagetoken", ""),
    ("nextmarker", "marker"),
    ("marker", "marker"),
    ("next", "cursor"),
];
/// Names of counts.
const COUNTS: [&str; 9] =
    ["page", "pages", "totalpages", "pagenumber", "offset", "limit", "perpage", "pagesize", "currentpage"];

/// How the next page is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Paging {
    /// By the `Link` header of the answer.
    Link,
    /// By the address at this place.
    NextUrl(String),
    /// By what stands at `next`, sent back as `param`, which is a guess.
    Cursor { next: String, param: String },
    /// There is nothing at this place on this page, but by its name it may lead on.
    Maybe(String),
    /// Counts stand at these places.
    Counts(Vec<String>),
    /// Nothing tells.
    Unknown,
}

pub(super) fn paging(page: &[u8], has_link: bool) -> Paging {
    if has_link {
        return Paging::Link;
    }
    let mut scalars = Vec::new();
    collect(Pointer::default().find(page).value().unwrap_or_default(), "", 0, &mut scalars);
    let leads =
        |is: &dyn Fn(&str, &[u8]) -> bool| scalars.iter().find(|(at, value)| is(at, value)).map(|(at, _)| at.clone());
    let next_url = leads(&|at, value| plain_name(at).contains("next") && is_address(value));
    let nothing = leads(&|at, value| is_nothing(value) && (cursor(at).is_some() || plain_name(at).contains("next")));
    let next = || CURSORS.iter().find_map(|(name, _)| leads(&|at, value| plain_name(at) == *name && is_cursor(value)));
    match (next_url, nothing) {
        (Some(at), _) => Paging::NextUrl(at),
        (None, nothing) => match (next(), nothing) {
            (Some(next), _) => Paging::Cursor { param: param(&next), next },
            (None, Some(at)) => Paging::Maybe(at),
            (None, None) => counts(&scalars),
        },
    }
}

/// The scalars of an object, with the places where they stand.
fn collect<'p>(value: &'p [u8], at: &str, depth: usize, scalars: &mut Vec<(String, &'p [u8])>) {
    for (name, value) in pointer::members(value) {
        let at = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
        match value.first() {
            Some(b'{') if depth < DEEPEST => collect(value, &at, depth + 1, scalars),
            Some(b'{' | b'[') => {}
            _ => scalars.push((at, value)),
        }
    }
}

fn cursor(at: &str) -> Option<&'static str> {
    let name = plain_name(at);
    CURSORS.iter().find(|(known, _)| name == *known).map(|(_, param)| *param)
}

fn param(at: &str) -> String {
    let own = at.rsplit('/').next().unwrap_or_default();
    match cursor(at) {
        Some(param) if !param.is_empty() => param.to_owned(),
        _ => own.to_owned(),
    }
}

fn is_address(value: &[u8]) -> bool {
    pointer::text(value)
        .is_some_and(|text| ["http://", "https://", "/", "?"].iter().any(|start| text.starts_with(start)))
}

fn is_cursor(value: &[u8]) -> bool {
    !is_nothing(value)
        && value != b"true"
        && (value.first() == Some(&b'"') || value.first().is_some_and(u8::is_ascii_digit))
}

fn is_nothing(value: &[u8]) -> bool {
    matches!(value, b"null" | b"false" | b"\"\"")
}

fn counts(scalars: &[(String, &[u8])]) -> Paging {
    let is_count = |(at, value): &&(String, &[u8])| {
        value.first().is_some_and(u8::is_ascii_digit) && COUNTS.contains(&plain_name(at).as_str())
    };
    let found: Vec<String> = scalars.iter().filter(is_count).map(|(at, _)| at.clone()).collect();
    if found.is_empty() { Paging::Unknown } else { Paging::Counts(found) }
}
