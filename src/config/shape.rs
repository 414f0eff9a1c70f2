//! `source.items`, `source.token`, `source.encryption`: what the source's pages look like.

use serde::de::{Deserialize, Deserializer};

use super::paths::wrong;
use super::value;
use crate::error::Result;
use crate::pointer::Pointer;

/// How tokens are encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenEncryption {
    /// By Fernet, with a ring of keys.
    Fernet,
    /// Not at all: the element, or what stands at the token, is the record.
    None,
}

/// A JSON Pointer. Nothing is trimmed: white space can be part of a name.
pub(super) fn pointer<'de, D: Deserializer<'de>>(from: D) -> Result<Pointer, D::Error> {
    let text = String::deserialize(from)?;
    Pointer::parse(&text).map_err(|reason| {
        let hint = match text.starts_with('/') {
            true => "see RFC 6901".to_owned(),
            false => format!("write it as in \"/{}\"; \"\" is the whole", text.replace('.', "/")),
        };
        serde::de::Error::custom(format!("{reason}\n{hint}"))
    })
}

pub(super) fn encryption<'de, D: Deserializer<'de>>(from: D) -> Result<TokenEncryption, D::Error> {
    value::parsed_by(from, |text| match text {
        "fernet" => Ok(TokenEncryption::Fernet),
        "none" => Ok(TokenEncryption::None),
        _ => Err(wrong("not a way to encrypt that is known")
            .hint("write \"fernet\", or \"none\" where the logs are not encrypted")),
    })
}
