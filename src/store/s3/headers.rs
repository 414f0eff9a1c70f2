//! The headers of a part: those that a PUT sends, and what a look reads from them.
//!
//! Pure. Each name of the metadata is spelled here alone.

use base64::Engine as _;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH, InvalidHeaderValue};

use super::signing::escaped;
use super::wire::Answer;
use crate::config::ObjectOptions;
use crate::hour::format::Format;
use crate::hour::part::PartIdentity;
use crate::store::PartMeta;

const SHA256: &str = "x-amz-meta-etl-sha256";
const CONTENT_SHA256: &str = "x-amz-meta-etl-content-sha256";
const ROWS: &str = "x-amz-meta-etl-rows";
const HOUR: &str = "x-amz-meta-etl-hour";
const DICT: &str = "x-amz-meta-etl-dict";
const RANGE: &str = "x-amz-meta-etl-range";

/// The headers of a PUT: with `condition` it is refused where the key is taken.
pub(super) fn put_headers(
    key: &str,
    meta: &PartMeta,
    options: &ObjectOptions,
    md5: &[u8],
    condition: bool,
) -> Result<HeaderMap, InvalidHeaderValue> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(Format::of_name(key).unwrap_or_default().content_type()));
    let md5 = base64::engine::general_purpose::STANDARD.encode(md5);
    headers.insert(HeaderName::from_static("content-md5"), HeaderValue::from_str(&md5)?);
    if condition {
        headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
    }
    let identity = &meta.identity;
    for (name, value) in [
        (SHA256, &identity.sha256),
        (CONTENT_SHA256, &identity.content_sha256),
        (ROWS, &identity.rows.to_string()),
        (HOUR, &meta.hour),
        (DICT, &meta.dict),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value)?);
    }
    if !meta.range.is_all() {
        headers.insert(HeaderName::from_static(RANGE), HeaderValue::from_str(&meta.range.to_string())?);
    }
    for (name, value) in asked_for(options) {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_str(&value)?);
    }
    Ok(headers)
}

/// The headers of what the configuration asks for each object.
fn asked_for(options: &ObjectOptions) -> impl Iterator<Item = (&'static str, String)> {
    let tag = |(name, text): (&String, &String)| format!("{}={}", escaped(name, true), escaped(text, true));
    let tags = options.tags.iter().map(tag).collect::<Vec<_>>().join("&");
    let all = [
        ("x-amz-server-side-encryption", options.sse.map(|sse| sse.header().to_owned())),
        ("x-amz-server-side-encryption-aws-kms-key-id", options.kms_key.clone()),
        ("x-amz-storage-class", options.storage_class.clone()),
        ("x-amz-acl", options.acl.clone()),
        ("x-amz-tagging", Some(tags).filter(|tags| !tags.is_empty())),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?)))
}

/// Names the account that has to own the bucket: S3 refuses the request where another one does.
pub(super) fn name_owner(headers: &mut HeaderMap, owner: Option<&str>) {
    if let Some(owner) = owner.and_then(|owner| HeaderValue::from_str(owner).ok()) {
        headers.insert(HeaderName::from_static("x-amz-expected-bucket-owner"), owner);
    }
}

/// The entity tag of an answer, without quotes.
pub(super) fn etag(found: &Answer) -> Option<String> {
    let plain = found.header("etag")?.trim_matches('"');
    (!plain.is_empty()).then(|| plain.to_owned())
}

/// The metadata of a part of ours. `None` where any of it is missing.
pub(super) fn part_meta(found: &Answer, bytes: u64) -> Option<PartMeta> {
    let text = |name: &str| found.header(name).map(str::to_owned);
    let identity = PartIdentity {
        rows: text(ROWS)?.parse().ok()?,
        bytes,
        sha256: text(SHA256)?,
        content_sha256: text(CONTENT_SHA256)?,
    };
    // What nobody can read is compared with everything.
    let range = text(RANGE).and_then(|range| range.parse().ok()).unwrap_or_default();
    Some(PartMeta { identity, hour: text(HOUR)?, dict: text(DICT)?, range })
}
