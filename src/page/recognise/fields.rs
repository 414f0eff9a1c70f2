//! Which field numbers the logs, and which ones have a compact form. Pure.

use super::places::{Places, plain_name};
use super::text;
use crate::pointer::Pointer;
use crate::record::Value;

/// Fewer different numbers than these are no sequence.
const FEWEST: usize = 3;
/// Shorter hexadecimal texts are not worth a codec.
const HEX: usize = 16;
/// Names that a number of a log has.
const NAMES: [&str; 5] = ["recordid", "id", "seq", "sequence", "number"];

/// A field with a compact form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Codec {
    pub(crate) field: String,
    /// What `[compact]` calls it.
    pub(crate) name: &'static str,
}

/// Where a whole number stands that rises by one from log to log.
pub(super) fn id(places: &Places<'_, '_>) -> Option<String> {
    let mut found: Vec<&str> = places.common().filter(|(_, values)| is_sequence(values)).map(|(at, _)| at).collect();
    let rank = |at: &str| NAMES.iter().position(|name| plain_name(at) == *name).unwrap_or(NAMES.len());
    found.sort_by_key(|at| (rank(at), at.matches('/').count()));
    found.first().map(|at| (*at).to_owned())
}

/// Whether there is no hole in the numbers, in whatever order and how often they stand.
fn is_sequence(values: &[&Value<'_>]) -> bool {
    let number = |value: &&Value<'_>| if let Value::Int(digits) = value { digits.parse::<i64>().ok() } else { None };
    let Some(mut numbers) = values.iter().map(number).collect::<Option<Vec<i64>>>() else { return false };
    numbers.sort_unstable();
    numbers.dedup();
    numbers.len() >= FEWEST && numbers.windows(2).all(|pair| matches!(pair, [a, b] if a.checked_add(1) == Some(*b)))
}

/// The fields with a compact form that all their values have.
pub(super) fn codecs(places: &Places<'_, '_>) -> Vec<Codec> {
    places.common().filter_map(|(at, values)| Some(Codec { field: field(at)?, name: codec(values)? })).collect()
}

/// The field that a pointer is, if its name needs no quotes and is no compact field's.
fn field(at: &str) -> Option<String> {
    let pointer = Pointer::parse(at).ok()?;
    let [name] = pointer.steps() else { return None };
    let is_plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    (is_plain && !name.ends_with("_raw")).then(|| name.clone())
}

fn codec(values: &[&Value<'_>]) -> Option<&'static str> {
    let all = |is: &dyn Fn(&str) -> bool| !values.is_empty() && values.iter().all(|value| text(value).is_some_and(is));
    match () {
        () if all(&|text| text.len() == 64 && is_hex(text)) => Some("uuid-pair"),
        () if all(&|text| text.len() >= HEX && is_hex(text)) => Some("hex"),
        () if all(&is_digits) => Some("digits"),
        () => None,
    }
}

fn is_hex(text: &str) -> bool {
    text.len().is_multiple_of(2) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether it is spelled as in 2023-03-10T01:48:11.818Z.
fn is_digits(text: &str) -> bool {
    let form = text.bytes().map(|byte| if byte.is_ascii_digit() { b'0' } else { byte });
    form.eq("0000-00-00T00:00:00.000Z".bytes())
}
