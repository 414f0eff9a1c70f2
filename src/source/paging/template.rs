//! What the configuration says of a source's requests, with placeholders for what changes from run to run.
//!
//! Invariant: a placeholder's value goes percent-encoded into an address and JSON-escaped into a body, so it can be nothing but a value
//! there; no message shows what a request holds. Pure.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::Position;
use super::request::{PageRequest, Sent};
use crate::config::paging::{LAST_ID, SINCE, UNTIL};
use crate::config::{Asking, Method, PagingConfig, PagingStyle, ParamPlace, TimeFormat};
use crate::error::Result;
use crate::pointer::Pointer;
use crate::source::PageUrl;

/// The requests of a source.
#[derive(Clone)]
pub struct Template {
    /// The address, with placeholders.
    url: String,
    /// The address where nothing stands for them: how it is named, and which host is asked.
    plain: PageUrl,
    /// The body of a POST, with placeholders.
    body: Option<String>,
    pub(super) paging: PagingConfig,
    /// Where the elements of a page are.
    pub(super) items: Pointer,
    start: String,
    format: TimeFormat,
    overlap: Duration,
    /// All from the first time on until before the second is wanted, and nothing else.
    span: Option<(Timestamp, Timestamp)>,
    /// From when on it is asked for: no later than the span begins.
    from: Option<Timestamp>,
}

/// What the placeholders stand for in one trail.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Values {
    since: String,
    until: String,
    last_id: String,
}

impl Template {
    /// What the configuration says; `items`: where the elements of a page are.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`]: no web address.
    pub fn new(url: &str, asking: Asking, paging: PagingConfig, items: Pointer) -> Result<Self> {
        let plain = PageUrl::parse(&render(url, &Values::default(), percent_encoded))?;
        let body = (asking.method == Method::Post).then_some(asking.body);
        let Asking { start, since_format: format, overlap, .. } = asking;
        Ok(Self { url: url.to_owned(), plain, body, paging, items, start, format, overlap, span: None, from: None })
    }

    /// GET of `url`, and what its links lead to.
    #[must_use]
    pub fn of_links(url: PageUrl) -> Self {
        Self {
            url: url.secret_text().to_owned(),
            plain: url,
            body: None,
            paging: PagingConfig::default(),
            items: Pointer::default(),
            start: String::new(),
            format: TimeFormat::Rfc3339,
            overlap: Duration::ZERO,
            span: None,
            from: None,
        }
    }

    /// The same for what happened in a span of time, asked for from `from` on, which is no later than it begins.
    #[must_use]
    pub fn within(self, span: (Timestamp, Timestamp), from: Timestamp) -> Self {
        Self { span: Some(span), from: Some(from), ..self }
    }

    /// The span of time that alone is asked for. `None`: all that is new.
    pub(crate) const fn span(&self) -> Option<(Timestamp, Timestamp)> {
        self.span
    }

    /// Whether it is one page whose tag may be sent with the next request.
    pub(crate) fn is_one_page(&self) -> bool {
        self.paging.style == PagingStyle::None && self.body.is_none() && self.span.is_none()
    }

    /// Whether a run asks only for what is new.
    pub(crate) fn is_incremental(&self) -> bool {
        self.span.is_none() && (self.has(SINCE) || self.has(LAST_ID))
    }

    /// Whether it can be asked for a span of time.
    pub(crate) fn takes_a_span(&self) -> bool {
        self.has(SINCE) && self.has(UNTIL)
    }

    fn has(&self, placeholder: &str) -> bool {
        self.url.contains(placeholder) || self.body.as_ref().is_some_and(|body| body.contains(placeholder))
    }

    /// A name for what is asked for, which reveals nothing of it: 32 hex digits. That of a plain address is the address's own.
    pub(crate) fn fingerprint(&self) -> String {
        match self.span {
            Some((since, until)) => format!("{}-{since}-{until}", self.fingerprint_without_span()),
            None => self.fingerprint_without_span(),
        }
    }

    /// The same for all spans of time.
    pub(crate) fn fingerprint_without_span(&self) -> String {
        let is_plain =
            matches!(self.paging.style, PagingStyle::Link | PagingStyle::None) && self.paging.size_param.is_empty();
        if is_plain && self.body.is_none() && !self.url.contains('{') {
            return self.plain.fingerprint();
        }
        let (mut hasher, paging) = (blake3::Hasher::new(), format!("{:?}", self.paging));
        for piece in [self.url.as_str(), self.body.as_deref().unwrap_or_default(), &paging] {
            hasher.update(&(piece.len() as u64).to_le_bytes()).update(piece.as_bytes());
        }
        let digest = hasher.finalize();
        digest.as_bytes().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    /// What the placeholders stand for where all before `safe` is there, and all ids up to `last_id` are; `None`: nothing yet.
    pub(crate) fn values(&self, safe: Option<Timestamp>, last_id: Option<i64>, now: Timestamp) -> Values {
        if let Some((since, until)) = self.span {
            let (since, until) = (self.format.spell(self.from.unwrap_or(since)), self.format.spell(until));
            return Values { since, until, last_id: "0".to_owned() };
        }
        let since = safe.map(|safe| self.before(safe));
        Values {
            since: since.map_or_else(|| self.spelled_start(), |since| self.format.spell(since)),
            until: self.format.spell(now),
            last_id: last_id.unwrap_or(0).to_string(),
        }
    }

    /// The overlap before a time.
    pub(crate) fn before(&self, at: Timestamp) -> Timestamp {
        let overlap = SignedDuration::try_from(self.overlap).unwrap_or(SignedDuration::MAX);
        at.saturating_sub(overlap).unwrap_or(Timestamp::MIN)
    }

    /// A time is spelled as all are; any other text is sent as it is.
    fn spelled_start(&self) -> String {
        self.start.parse::<Timestamp>().map_or_else(|_| self.start.clone(), |at| self.format.spell(at))
    }

    /// The request for the page at `position`.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Unavailable`]: what led there cannot be sent.
    pub(crate) fn request(&self, values: &Values, position: &Position) -> Result<PageRequest> {
        let body = self.body.as_ref().map(|body| match body.as_str() {
            "" => "{}".to_owned(),
            body => render(body, values, json_escaped),
        });
        if let Position::Url(url) = position {
            let url = self.plain.on_same_host(url).unwrap_or_else(|| self.plain.clone());
            return Ok(PageRequest::new(url, body));
        }
        let url = PageUrl::parse(&render(&self.url, values, percent_encoded))?;
        let PagingConfig { param, place, size, size_param, .. } = &self.paging;
        let mut request = PageRequest::new(url, body);
        if !size_param.is_empty() {
            // One header can be sent, and that is for the position.
            let place = if *place == ParamPlace::Body { ParamPlace::Body } else { ParamPlace::Query };
            request = request.with(size_param, place, &Sent::Number(u64::from(*size)))?;
        }
        match self.sent(position) {
            Some(value) => request.with(param, *place, &value),
            None => Ok(request),
        }
    }

    /// What tells the service the position.
    fn sent(&self, position: &Position) -> Option<Sent> {
        let counts = matches!(self.paging.style, PagingStyle::Page | PagingStyle::Offset);
        match position {
            Position::Cursor(cursor) => Some(Sent::Json(cursor.clone())),
            Position::Number(number) => Some(Sent::Number(*number)),
            Position::First if counts => Some(Sent::Number(u64::from(self.paging.start))),
            Position::First | Position::Url(_) => None,
        }
    }

    /// The address of a link that an answer's headers hold.
    pub(super) fn follow(
        &self,
        asked: &PageRequest,
        answered_at: Option<&reqwest::Url>,
        reference: &str,
    ) -> Result<Position> {
        let at = answered_at.unwrap_or_else(|| asked.url().reveal());
        Ok(Position::Url(self.plain.follow(at, reference)?.secret_text().to_owned()))
    }
}

/// `text` with the values in place of their placeholders.
fn render(text: &str, values: &Values, encode: fn(&str) -> Cow<'_, str>) -> String {
    let all = [(SINCE, &values.since), (UNTIL, &values.until), (LAST_ID, &values.last_id)];
    let mut rendered = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at_checked(at).unwrap_or((rest, ""));
        rendered.push_str(before);
        let known = all.iter().find_map(|(name, value)| Some((from.strip_prefix(name)?, value)));
        rest = match known {
            Some((behind, value)) => {
                rendered.push_str(&encode(value));
                behind
            }
            None => {
                rendered.push('{');
                from.strip_prefix('{').unwrap_or_default()
            }
        };
    }
    rendered + rest
}

/// Every byte but those that never need it.
fn percent_encoded(value: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if value.bytes().all(is_plain) {
        return Cow::Borrowed(value);
    }
    let encoded =
        value.bytes().map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") });
    Cow::Owned(encoded.collect())
}

/// A JSON text without its quotes.
fn json_escaped(value: &str) -> Cow<'_, str> {
    let quoted = serde_json::Value::from(value).to_string();
    Cow::Owned(quoted.trim_start_matches('"').strip_suffix('"').unwrap_or_default().to_owned())
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.plain.fmt(f)
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.plain.fmt(f)
    }
}
