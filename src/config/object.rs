//! What is asked of S3 for each object that is put: encryption, storage class, owner, tags.
//!
//! Checked here, sent by the store. None of it decides where a part lies or what is in it, so each can change at any time.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use super::layers::Layers;
use super::paths::wrong;
use super::value;
use crate::error::Result;

/// Server-side encryption that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// With keys of S3.
    Aes256,
    /// With a key of KMS.
    Kms,
}

impl Encryption {
    /// As it is spelled in a header.
    #[must_use]
    pub const fn header(self) -> &'static str {
        match self {
            Self::Aes256 => "AES256",
            Self::Kms => "aws:kms",
        }
    }
}

/// What is asked for each object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectOptions {
    /// `load.sse`.
    pub sse: Option<Encryption>,
    /// `load.kms_key`.
    pub kms_key: Option<String>,
    /// `load.storage_class`.
    pub storage_class: Option<String>,
    /// `load.acl`.
    pub acl: Option<String>,
    /// `load.expected_owner`: an account, which every request names.
    pub expected_owner: Option<String>,
    /// `load.tags`.
    pub tags: BTreeMap<String, String>,
}

/// The canned ACLs of S3 but those with which others could write.
const ACLS: [&str; 6] =
    ["private", "bucket-owner-full-control", "bucket-owner-read", "authenticated-read", "aws-exec-read", "public-read"];

/// As many tags as S3 keeps for an object.
const MOST_TAGS: usize = 10;

impl ObjectOptions {
    /// What of it the keys contradict each other in, and its tags.
    pub(super) fn check(&self, layers: &Layers<'_>) -> Result<()> {
        if self.kms_key.is_some() && self.sse != Some(Encryption::Kms) {
            let hint = "set load.sse = \"aws:kms\" too, or leave load.kms_key out";
            return Err(layers.error(&["load", "kms_key"], "a key of KMS without load.sse = \"aws:kms\"").hint(hint));
        }
        if self.tags.len() > MOST_TAGS {
            let error = layers.error(&["load", "tags"], format!("more than {MOST_TAGS} tags"));
            return Err(error.hint("leave some out: S3 keeps no more for an object"));
        }
        for (name, text) in &self.tags {
            let wrong = |why| layers.error(&["load", "tags", name], why).hint("write it as in { team = \"logs\" }");
            check_tag(name, text).map_err(wrong)?;
        }
        Ok(())
    }
}

fn check_tag(name: &str, text: &str) -> Result<(), &'static str> {
    let fits = |c: char| c.is_alphanumeric() || " +-=._:/@".contains(c);
    if name.is_empty() || name.chars().count() > 128 || text.chars().count() > 256 {
        return Err("a tag has a name of 1 to 128 characters, and a value of at most 256");
    }
    if name.to_ascii_lowercase().starts_with("aws:") {
        return Err("names that begin with \"aws:\" are reserved");
    }
    if !name.chars().chain(text.chars()).all(fits) {
        return Err("a tag has letters, digits, spaces and + - = . _ : / @ only");
    }
    Ok(())
}

/// A value that may be empty, which is none.
fn optional<'de, D: Deserializer<'de>, T>(
    from: D,
    parse: fn(&str) -> Result<T>,
) -> std::result::Result<Option<T>, D::Error> {
    let text = value::text(from)?;
    if text.is_empty() {
        return Ok(None);
    }
    let refused = |error: crate::error::Error| {
        serde::de::Error::custom(format!("{error}\n{}", error.next_step().unwrap_or_default()))
    };
    parse(&text).map(Some).map_err(refused)
}

pub(super) fn sse<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Option<Encryption>, D::Error> {
    optional(from, |text| match text {
        "AES256" => Ok(Encryption::Aes256),
        "aws:kms" => Ok(Encryption::Kms),
        _ => Err(wrong("not an encryption that is known").hint("write \"AES256\" or \"aws:kms\"")),
    })
}

pub(super) fn kms_key<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Option<String>, D::Error> {
    optional(from, |text| {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_:/.".contains(&b);
        if text.len() <= 2048 && text.bytes().all(fits) {
            return Ok(text.to_owned());
        }
        Err(wrong("not a key of KMS").hint("write its ARN, its id or \"alias/name\""))
    })
}

pub(super) fn storage_class<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Option<String>, D::Error> {
    optional(from, |text| {
        if matches!(text, "GLACIER" | "DEEP_ARCHIVE") {
            return Err(wrong("objects of this class cannot be read: neither by Athena nor for late records")
                .hint("write \"GLACIER_IR\", or let a lifecycle rule archive hours that are long over"));
        }
        let fits = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
        if text.len() <= 64 && text.bytes().all(fits) {
            return Ok(text.to_owned());
        }
        Err(wrong("not a storage class").hint("write it as in \"STANDARD_IA\" or \"INTELLIGENT_TIERING\""))
    })
}

pub(super) fn acl<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Option<String>, D::Error> {
    optional(from, |text| {
        if ACLS.contains(&text) {
            return Ok(text.to_owned());
        }
        Err(wrong("not an ACL that is sent").hint(format!("write one of {}", ACLS.join(", "))))
    })
}

pub(super) fn expected_owner<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Option<String>, D::Error> {
    optional(from, |text| {
        if text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()) {
            return Ok(text.to_owned());
        }
        Err(wrong("not the id of an account").hint("write its 12 digits, in quotes, as in \"111122223333\""))
    })
}

/// Texts by name.
pub(super) fn tags<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<BTreeMap<String, String>, D::Error> {
    BTreeMap::deserialize(from)
}
