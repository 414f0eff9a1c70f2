//! How serde reads a value: each by its own type, once.
//!
//! A refusal's second line is the hint; [`Layers`](super::layers::Layers) takes the two apart.

use std::time::Duration;

use jiff::tz::TimeZone;
use serde::de::{Deserialize, Deserializer, Error as _, Unexpected};

use super::paths::wrong;
use super::units::{UnitError, parse_duration, parse_positive_duration, parse_size};
use crate::error::Result;
use crate::secret::Secret;

const DURATION: &str = "a duration as in \"30s\"";

/// A text without white space around it.
pub(super) fn text<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(String::deserialize(from)?.trim().to_owned())
}

/// The same of a key that has no default.
pub(super) fn given_text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    text(from).map(Some)
}

/// What a text stands for.
pub(super) fn parsed_by<'de, D, T>(from: D, parse: fn(&str) -> Result<T>) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
{
    parse(&text(from)?).map_err(|error| D::Error::custom(format!("{error}\n{}", error.next_step().unwrap_or_default())))
}

/// A time zone. Every one but UTC is looked for among all those that the system has: hundreds of files.
pub(super) fn time_zone<'de, D: Deserializer<'de>>(from: D) -> Result<TimeZone, D::Error> {
    match text(from)?.as_str() {
        "UTC" => Ok(TimeZone::UTC),
        name => TimeZone::get(name).map_err(|_| {
            D::Error::custom("not a time zone\nwrite a name of the tz database, as in \"UTC\" or \"Asia/Seoul\"")
        }),
    }
}

/// A text that may be a secret.
pub(super) fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Secret>, D::Error> {
    Ok(Some(Secret::new(text(from)?)))
}

/// Texts that are secrets.
pub(super) fn secrets<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<Secret>>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    Ok(Some(texts.into_iter().map(Secret::new).collect()))
}

/// A whole number from 0 to `MOST`.
pub(super) fn count<'de, D, T, const MOST: u32>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: From<u32>,
{
    let number = i64::deserialize(from)?;
    let count = u32::try_from(number).ok().filter(|count| *count <= MOST);
    count.map(T::from).ok_or_else(|| D::Error::custom(format!("{number} is not between 0 and {MOST}")))
}

/// A duration.
pub(super) fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    measure(from, DURATION, parse_duration)
}

/// A duration that is not zero; `""` = none.
pub(super) fn optional_duration<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    measure(from, "a duration as in \"90d\", or \"\"", |text| match text.trim() {
        "" => Ok(None),
        text => parse_positive_duration(text).map(Some),
    })
}

/// A duration that is not zero.
pub(super) fn positive_duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    measure(from, DURATION, parse_positive_duration)
}

/// A size in bytes.
pub(super) fn size<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    measure(from, "a size as in \"64MiB\"", parse_size)
}

/// A size that is not zero.
pub(super) fn positive_size<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let size = size(from)?;
    if size == 0 { Err(D::Error::custom("cannot be zero")) } else { Ok(size) }
}

/// A number with a unit, or a bare number, of which `parse` says what is missing.
fn measure<'de, D, T>(from: D, expected: &'static str, parse: fn(&str) -> Result<T, UnitError>) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
{
    let text = match toml::Value::deserialize(from)? {
        toml::Value::String(text) => text,
        toml::Value::Integer(number) => number.to_string(),
        other => return Err(D::Error::invalid_type(Unexpected::Other(other.type_str()), &expected)),
    };
    parse(&text).map_err(D::Error::custom)
}

/// The permissions of a file that its owner can write, as `chmod` takes them.
pub(super) fn mode<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    parsed_by(from, parse_mode)
}

pub(super) fn parse_mode(text: &str) -> Result<u32> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| mode & !0o644 == 0 && mode & 0o600 == 0o600);
    mode.ok_or_else(|| wrong("not the permissions of a file to be read").hint("write \"0644\", \"0640\" or \"0600\""))
}
