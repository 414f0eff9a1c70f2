//! The request of a try, and what its answer says besides the body.
//!
//! Invariant: a tag is sent only with a GET; what a request holds beside its address is in no message.

use reqwest::header::{self, HeaderValue};
use reqwest::{Client, RequestBuilder, Response};

use super::failure::text_of;
use super::{TryOf, skew};
use crate::source::{PageHead, paging};

impl TryOf<'_> {
    /// The request, and whether it is one that may be answered by "nothing new".
    pub(super) fn request(&self, client: &Client, etag: Option<&str>) -> (RequestBuilder, bool) {
        let url = self.page.url().reveal().clone();
        let request = match self.page.body() {
            Some(body) => client.post(url).header(header::CONTENT_TYPE, "application/json").body(body.to_owned()),
            None => client.get(url),
        };
        let request = match self.page.header() {
            Some((name, value)) => request.header(name, value),
            None => request,
        };
        // A tag that no header can carry is left out: then the whole page comes.
        match etag.filter(|_| self.page.body().is_none()).and_then(|etag| HeaderValue::from_str(etag).ok()) {
            Some(etag) => (request.header(header::IF_NONE_MATCH, etag), true),
            None => (request, false),
        }
    }

    pub(super) fn head(&self, response: &Response, bytes: u64) -> PageHead {
        let links = response.headers().get_all(header::LINK).iter().map(HeaderValue::as_bytes);
        PageHead {
            etag: text_of(response, &header::ETAG).map(str::to_owned),
            link: paging::next_reference(links),
            answered_at: Some(response.url().clone()),
            date: skew::date_of(response.headers()),
            bytes,
        }
    }
}
