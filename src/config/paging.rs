//! `[source]`'s paging and increments: how one page leads to the next, and what is asked for since when.
//!
//! Owns the spelling of styles, places and times. Invariant: what is accepted can be asked for: each style has the keys that it needs, and
//! a body is JSON whatever its placeholders become.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer};

use super::layers::Layers;
use super::paths::wrong;
use super::{shape, value};
use crate::error::Result;
use crate::pointer::Pointer;

/// Stands for the time from which on records are wanted.
pub(crate) const SINCE: &str = "{since}";
/// Stands for the time until which a bounded backfill wants records.
pub(crate) const UNTIL: &str = "{until}";
/// Stands for the last id of those that came without a hole.
pub(crate) const LAST_ID: &str = "{last_id}";

/// `[source.paging]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PagingConfig {
    /// How one page leads to the next.
    #[serde(deserialize_with = "style")]
    pub style: PagingStyle,
    /// Where the next address or cursor stands in a page.
    #[serde(deserialize_with = "shape::pointer")]
    pub next: Pointer,
    /// The name of what carries the cursor, the page's number or the offset.
    #[serde(deserialize_with = "value::text")]
    pub param: String,
    /// Where it goes.
    #[serde(rename = "in", deserialize_with = "place")]
    pub place: ParamPlace,
    /// The number of the first page, or the first offset.
    pub start: u32,
    /// Elements of a full page; 0: not known.
    pub size: u32,
    /// The name of what carries the size. Empty: it is not sent.
    #[serde(deserialize_with = "value::text")]
    pub size_param: String,
}

/// How one page leads to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PagingStyle {
    /// By `Link: rel="next"`.
    #[default]
    Link,
    /// By an address in the page.
    NextUrl,
    /// By a cursor in the page, which is sent back.
    Cursor,
    /// By counting pages.
    Page,
    /// By counting elements.
    Offset,
    /// Not at all.
    None,
}

/// Where a parameter goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ParamPlace {
    /// Into the address.
    #[default]
    Query,
    /// Into the JSON body.
    Body,
    /// Into a header of its own.
    Header,
}

/// How a request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// Without a body.
    #[default]
    Get,
    /// With a JSON body.
    Post,
}

/// How a time is spelled in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeFormat {
    /// RFC 3339 in UTC, with milliseconds.
    Rfc3339,
    /// Whole seconds since 1970.
    EpochSeconds,
    /// Milliseconds since 1970.
    EpochMillis,
    /// A pattern of strftime, in UTC.
    Pattern(String),
}

impl TimeFormat {
    /// The time, never later than it is.
    #[must_use]
    pub fn spell(&self, at: Timestamp) -> String {
        match self {
            Self::Rfc3339 => strtime::format("%Y-%m-%dT%H:%M:%S.%3fZ", &at.to_zoned(TimeZone::UTC)).unwrap_or_default(),
            Self::EpochSeconds => at.as_millisecond().div_euclid(1000).to_string(),
            Self::EpochMillis => at.as_millisecond().to_string(),
            Self::Pattern(pattern) => strtime::format(pattern, &at.to_zoned(TimeZone::UTC)).unwrap_or_default(),
        }
    }
}

/// What is asked for beyond the address: `method`, `body`, and since when.
#[derive(Debug, Clone)]
pub struct Asking {
    /// GET or POST.
    pub method: Method,
    /// The JSON body, with its placeholders.
    pub body: String,
    /// What `{since}` is before the first page.
    pub start: String,
    /// How `{since}` is spelled.
    pub since_format: TimeFormat,
    /// How much `{since}` lies before what is there.
    pub overlap: Duration,
}

pub(super) fn method<'de, D: Deserializer<'de>>(from: D) -> Result<Method, D::Error> {
    value::parsed_by(from, |text| match text {
        "GET" => Ok(Method::Get),
        "POST" => Ok(Method::Post),
        _ => Err(wrong("not a method of a source").hint("write \"GET\" or \"POST\"")),
    })
}

pub(super) fn time_format<'de, D: Deserializer<'de>>(from: D) -> Result<TimeFormat, D::Error> {
    value::parsed_by(from, |text| match text {
        "rfc3339" => Ok(TimeFormat::Rfc3339),
        "epoch-s" => Ok(TimeFormat::EpochSeconds),
        "epoch-ms" => Ok(TimeFormat::EpochMillis),
        pattern
            if pattern.contains('%')
                && strtime::format(pattern, &Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC)).is_ok() =>
        {
            Ok(TimeFormat::Pattern(pattern.to_owned()))
        }
        _ => Err(wrong("not a format of times").hint(
            "write \"rfc3339\", \"epoch-s\", \"epoch-ms\" or a pattern of strftime, as in \"%Y-%m-%d %H:%M:%S\"",
        )),
    })
}

fn style<'de, D: Deserializer<'de>>(from: D) -> Result<PagingStyle, D::Error> {
    value::parsed_by(from, |text| {
        match text {
        "link" => Ok(PagingStyle::Link),
        "next-url" => Ok(PagingStyle::NextUrl),
        "cursor" => Ok(PagingStyle::Cursor),
        "page" => Ok(PagingStyle::Page),
        "offset" => Ok(PagingStyle::Offset),
        "none" => Ok(PagingStyle::None),
        _ => Err(wrong("not a paging style").hint(
            "\"link\" follows Link headers with rel=\"next\", \"next-url\" an address in the page, \"cursor\" sends back what the page \
             gives, \"page\" and \"offset\" count, \"none\" takes one page",
        )),
    }
    })
}

fn place<'de, D: Deserializer<'de>>(from: D) -> Result<ParamPlace, D::Error> {
    value::parsed_by(from, |text| match text {
        "query" => Ok(ParamPlace::Query),
        "body" => Ok(ParamPlace::Body),
        "header" => Ok(ParamPlace::Header),
        _ => Err(wrong("not a place of a parameter").hint("write \"query\", \"body\" or \"header\"")),
    })
}

/// Checks what `[source]` says of paging as a whole.
pub(super) fn check(paging: &PagingConfig, asking: &Asking, url: Option<&str>, layers: &Layers<'_>) -> Result<()> {
    check_style(paging, layers)?;
    check_places(paging, asking, layers)?;
    if let Some(unknown) = url.and_then(unknown_placeholder) {
        let what = format!("{unknown} is no placeholder");
        return Err(layers.error(&["source", "url"], what).hint(
            "the placeholders are {since}, {last_id} and {until}; write %7B and %7D for braces that are meant as they are",
        ));
    }
    Ok(())
}

fn check_style(paging: &PagingConfig, layers: &Layers<'_>) -> Result<()> {
    let needs = |key: &str, hint: &str| {
        let what = format!("paging.{key} has to be set for this style");
        Err(layers.error(&["source", "paging", "style"], what).hint(hint))
    };
    let reads_next = matches!(paging.style, PagingStyle::NextUrl | PagingStyle::Cursor);
    if reads_next && paging.next.is_whole() {
        return needs("next", "name where the next address or cursor stands in a page, as in next = \"/meta/next\"");
    }
    let sends = matches!(paging.style, PagingStyle::Cursor | PagingStyle::Page | PagingStyle::Offset);
    if sends && paging.param.is_empty() {
        return needs("param", "name the parameter that carries it, as in param = \"cursor\"");
    }
    if !paging.size_param.is_empty() && paging.size == 0 {
        return needs("size", "size_param sends the size of a page: say how many elements that is, as in size = 100");
    }
    let is_name = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
    if paging.place == ParamPlace::Header && !is_name(&paging.param) {
        return Err(layers.error(&["source", "paging", "param"], "not a header's name"));
    }
    Ok(())
}

fn check_places(paging: &PagingConfig, asking: &Asking, layers: &Layers<'_>) -> Result<()> {
    if asking.method == Method::Get && !asking.body.is_empty() {
        return Err(layers
            .error(&["source", "body"], "only a POST has a body")
            .hint("set method = \"POST\" beside it"));
    }
    if paging.place == ParamPlace::Body && asking.method == Method::Get {
        return Err(layers
            .error(&["source", "paging", "in"], "only a POST has a body")
            .hint("set method = \"POST\" in [source]"));
    }
    let Ok(body) = serde_json::from_str::<serde_json::Value>(&sample(&asking.body)) else {
        return Err(layers
            .error(&["source", "body"], "not JSON")
            .hint("write a JSON text, in which placeholders stand within quotes or as numbers"));
    };
    if paging.place == ParamPlace::Body && !body.is_object() {
        return Err(layers
            .error(&["source", "body"], "not a JSON object")
            .hint("parameters in a body are members of it: write body = \"{}\""));
    }
    Ok(())
}

/// A body as it may be sent: an empty one is an empty object.
fn sample(body: &str) -> String {
    if body.is_empty() {
        "{}".to_owned()
    } else {
        [SINCE, UNTIL, LAST_ID].iter().fold(body.to_owned(), |text, name| text.replace(name, "0"))
    }
}

/// The first `{name}` of an address that stands for nothing.
fn unknown_placeholder(url: &str) -> Option<&str> {
    url.match_indices('{').find_map(|(at, _)| {
        let rest = url.get(at..)?;
        let name = rest.get(..=rest.find('}')?)?;
        (![SINCE, UNTIL, LAST_ID].contains(&name)).then_some(name)
    })
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Get { "GET" } else { "POST" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_spelled_and_never_later_than_it_is() {
        let at: Timestamp = "2023-03-10T01:48:11.818999Z".parse().unwrap();
        let pattern = TimeFormat::Pattern("%Y-%m-%d %H:%M:%S".into());
        let formats = [TimeFormat::Rfc3339, TimeFormat::EpochSeconds, TimeFormat::EpochMillis, pattern];
        let spelled = formats.map(|format| format.spell(at));
        assert_eq!(spelled, ["2023-03-10T01:48:11.818Z", "1678412891", "1678412891818", "2023-03-10 01:48:11"]);
    }

    #[test]
    fn only_placeholders_stand_in_braces() {
        assert_eq!(unknown_placeholder("https://h/l?from={since}&id={last_id}&to={until}"), None);
        assert_eq!(unknown_placeholder("https://h/l?from={since}&x={sinse}"), Some("{sinse}"));
    }
}
