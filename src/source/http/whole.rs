//! What an answer says of its body: whether it is lines of JSON, and whether its end can be seen.
//!
//! A JSON array ends with its bracket. Lines may end anywhere, so something else has to show that all of them came: a length, chunks,
//! the frames of HTTP/2, or the end of what packs them. Pure.

use reqwest::header;
use reqwest::{Response, Version};

use super::failure::text_of;
use crate::source::PageUrl;
use crate::source::body::{Coding, Kind};
use crate::source::page_shape::{name_says_lines, type_says_lines};

/// What type or address say of the body.
pub(super) fn kind(url: &PageUrl, response: &Response) -> Option<Kind> {
    let says_lines = text_of(response, &header::CONTENT_TYPE).is_some_and(type_says_lines)
        || name_says_lines(url.reveal().path())
        || name_says_lines(response.url().path());
    says_lines.then_some(Kind::Lines)
}

/// Whether a body that was cut short would be known to be. `coding` is what packs it.
pub(super) fn shows_its_end(coding: Coding, response: &Response) -> bool {
    let is_chunked = text_of(response, &header::TRANSFER_ENCODING)
        .is_some_and(|encoding| encoding.to_ascii_lowercase().contains("chunked"));
    let has_length = response.headers().contains_key(header::CONTENT_LENGTH);
    is_chunked || has_length || response.version() == Version::HTTP_2 || coding.name().is_some()
}
