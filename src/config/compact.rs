//! `[compact]`: the compact form of each field that has one.
//!
//! Invariant: every code leads back to its text, and the origin's codecs are the default only where its time is the records'.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use super::environment::Origin;
use super::layers::Layers;
use crate::error::Result;

/// What may stand for a codec, for a hint.
const CODECS: &str =
    "write \"uuid-pair\", \"digits\", \"hex\", \"none\", or the texts with their numbers, as in { GET = 1, POST = 2 }";

/// `[compact]`, by field.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(transparent)]
pub struct CompactConfig {
    fields: BTreeMap<String, CodecConfig>,
}

/// How a field is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CodecConfig {
    /// As it is.
    None,
    /// 64 hexadecimal digits as two base64url UUIDs.
    UuidPair,
    /// A time as its digits.
    Digits,
    /// Hexadecimal digits as base64url.
    Hex,
    /// Texts by their codes.
    Dictionary(BTreeMap<String, i64>),
}

impl<'de> Deserialize<'de> for CodecConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        struct OfCodec;
        impl<'de> Visitor<'de> for OfCodec {
            type Value = CodecConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a codec")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> std::result::Result<CodecConfig, E> {
                match name.trim() {
                    "none" => Ok(CodecConfig::None),
                    "uuid-pair" => Ok(CodecConfig::UuidPair),
                    "digits" => Ok(CodecConfig::Digits),
                    "hex" => Ok(CodecConfig::Hex),
                    _ => Err(E::custom(format!("not a codec\n{CODECS}"))),
                }
            }

            fn visit_map<M: MapAccess<'de>>(self, entries: M) -> std::result::Result<CodecConfig, M::Error> {
                BTreeMap::deserialize(MapAccessDeserializer::new(entries)).map(CodecConfig::Dictionary)
            }

            fn visit_i64<E: serde::de::Error>(self, _: i64) -> std::result::Result<CodecConfig, E> {
                Err(E::custom(format!("not a codec\n{CODECS}")))
            }
        }
        from.deserialize_any(OfCodec)
    }
}

impl CompactConfig {
    /// The fields and how they are stored.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &CodecConfig)> {
        self.fields.iter().map(|(field, codec)| (field.as_str(), codec))
    }

    /// Leaves the origin's codecs out where the records are another source's, and checks the rest.
    pub(super) fn resolve(&mut self, layers: &Layers<'_>, is_of_the_origin: bool) -> Result<()> {
        if !is_of_the_origin {
            self.fields.retain(|field, _| {
                let is_given = layers.in_file(&["compact", field]);
                if !is_given {
                    layers.note(&format!("compact.{field}"), "none", Origin::Default);
                }
                is_given
            });
        }
        self.fields.iter().try_for_each(|(field, codec)| check(layers, field, codec))
    }
}

fn check(layers: &Layers<'_>, field: &str, codec: &CodecConfig) -> Result<()> {
    if field.ends_with("_raw") && *codec != CodecConfig::None {
        let what = "a field whose name ends in \"_raw\" cannot have a codec: the originals of others are called so";
        return Err(layers.error(&["compact", field], what).hint("leave it out: the field is kept as it is"));
    }
    let CodecConfig::Dictionary(dictionary) = codec else { return Ok(()) };
    let mut codes = BTreeSet::new();
    for (text, code) in dictionary {
        let wrong = |what: &str| Err(layers.error(&["compact", field, text], what));
        if *code == 0 {
            return wrong("0 is the code of everything that is not listed");
        }
        if !codes.insert(code) {
            return wrong(&format!("the code {code} is used twice"));
        }
    }
    Ok(())
}
