//! One page to ask for: an address, and what goes with it.
//!
//! Invariant: shown without query, userinfo, body and headers. Pure.

use std::fmt;

use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};
use serde_json::Value;

use crate::config::ParamPlace;
use crate::error::{Error, ErrorKind, Result};
use crate::source::PageUrl;

/// A request for a page.
#[derive(Clone)]
pub struct PageRequest {
    url: PageUrl,
    /// The JSON body of a POST; `None`: GET.
    body: Option<String>,
    header: Option<(HeaderName, HeaderValue)>,
}

/// A value that goes with a request.
pub(super) enum Sent {
    /// A number of ours.
    Number(u64),
    /// A value as a page spelled it in JSON.
    Json(String),
}

impl Sent {
    /// As it goes into an address or a header: a text without its quotes.
    fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Json(json) => crate::pointer::text(json.as_bytes()).unwrap_or_else(|| json.clone()),
        }
    }

    fn json(&self) -> Option<Value> {
        match self {
            Self::Number(number) => Some((*number).into()),
            Self::Json(json) => serde_json::from_str(json).ok(),
        }
    }
}

impl PageRequest {
    /// A GET of `url`.
    #[must_use]
    pub const fn get(url: PageUrl) -> Self {
        Self { url, body: None, header: None }
    }

    pub(super) const fn new(url: PageUrl, body: Option<String>) -> Self {
        Self { url, body, header: None }
    }

    /// The same with `value` as the parameter `name`, which replaces one of that name.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`]: the value cannot go there.
    pub(super) fn with(mut self, name: &str, place: ParamPlace, value: &Sent) -> Result<Self> {
        let refused = |where_to: &str| {
            Error::new(ErrorKind::Unavailable, format!("{self}: what leads to the next page cannot go into {where_to}"))
                .hint("look at source.paging.next and source.paging.in")
        };
        match place {
            ParamPlace::Query => self.url = PageUrl::from(with_query(self.url.reveal(), name, &value.text())),
            ParamPlace::Header => {
                let header = HeaderName::try_from(name).ok().zip(HeaderValue::try_from(value.text()).ok());
                let (name, mut value) = header.ok_or_else(|| refused("a header"))?;
                value.set_sensitive(true);
                self.header = Some((name, value));
            }
            ParamPlace::Body => {
                let body = self.body.as_deref().and_then(|body| with_member(body, name, value.json()?));
                self.body = Some(body.ok_or_else(|| refused("the body"))?);
            }
        }
        Ok(self)
    }

    /// Its address.
    pub(crate) const fn url(&self) -> &PageUrl {
        &self.url
    }

    /// The body of a POST; `None`: it is a GET.
    pub(crate) fn body(&self) -> Option<&str> {
        self.body.as_deref()
    }

    /// The header that goes with it alone.
    pub(crate) const fn header(&self) -> Option<&(HeaderName, HeaderValue)> {
        self.header.as_ref()
    }

    /// A digest that tells requests apart.
    pub(super) fn digest(&self) -> [u8; 16] {
        let (mut hasher, mut digest) = (blake3::Hasher::new(), [0; 16]);
        let header = self.header.as_ref().map(|(_, value)| value.as_bytes()).unwrap_or_default();
        for piece in [self.url.secret_text().as_bytes(), self.body.as_deref().unwrap_or_default().as_bytes(), header] {
            hasher.update(&(piece.len() as u64).to_le_bytes()).update(piece);
        }
        hasher.finalize_xof().fill(&mut digest);
        digest
    }
}

/// `url` with `name=value`, in place of any parameter of that name. All others stay as they are spelled.
fn with_query(url: &Url, name: &str, value: &str) -> Url {
    let mut url = url.clone();
    let is_other = |pair: &&str| {
        reqwest::Url::parse(&format!("x:?{pair}")).is_ok_and(|pair| pair.query_pairs().all(|(key, _)| key != name))
    };
    let kept: Vec<&str> =
        url.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()).filter(is_other).collect();
    let kept = kept.join("&");
    url.set_query(Some(kept.as_str()).filter(|kept| !kept.is_empty()));
    url.query_pairs_mut().append_pair(name, value);
    url
}

/// `body` with the member `name`: of the whole, or where `name` leads to as a JSON Pointer.
fn with_member(body: &str, name: &str, value: Value) -> Option<String> {
    let mut body: Value = serde_json::from_str(body).ok()?;
    let (parent, name) = match name.rsplit_once('/') {
        Some((parent, name)) if name.is_empty() || parent.is_empty() || parent.starts_with('/') => (parent, name),
        _ => ("", name),
    };
    let name = name.replace("~1", "/").replace("~0", "~");
    body.pointer_mut(parent)?.as_object_mut()?.insert(name, value);
    serde_json::to_string(&body).ok()
}

impl fmt::Display for PageRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

impl fmt::Debug for PageRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}
