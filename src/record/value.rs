//! What a field can hold: the tree that both parsers make and both writers take.
//!
//! Invariants, kept by the parsers and relied on by the writers and the content hash: an integer is canonical decimal
//! digits, a float is finite, a dict's keys are unique, and nothing nests deeper than [`MAX_DEPTH`]. Pure memory.

use std::borrow::Cow;
use std::collections::HashMap;

/// The deepest nesting of lists, tuples, dicts and grouping parentheses that is read; the record itself is level 1.
/// It bounds the recursion of everything that walks a [`Value`].
pub const MAX_DEPTH: usize = 64;

/// The most values in a record. A value takes twenty times its text in memory: without a limit, a text of tiny ones could make a run
/// fail.
pub const MAX_VALUES: usize = 1 << 20;

/// Where the parsers give up: above [`MAX_VALUES`], because a row has a few more values than its record.
pub(super) const TOO_MANY: usize = 2 * MAX_VALUES;

/// How many values `fields` hold, at every level.
#[must_use]
pub fn count_values(fields: &[(Cow<'_, str>, Value<'_>)]) -> usize {
    fields.iter().map(|(_, value)| value.count()).sum()
}

/// The entries of a dict, in their order, with unique keys.
pub type Fields<'a> = Vec<(Cow<'a, str>, Value<'a>)>;

/// One value, borrowed from the text it was read from wherever that text spells it plainly.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// `None`, `null`.
    Null,
    /// `True`, `true`.
    Bool(bool),
    /// An integer of any size: decimal digits with an optional `-`, no leading zeros, never `-0`.
    Int(Cow<'a, str>),
    /// A finite number that was written as a float.
    Float(f64),
    /// Text.
    Str(Cow<'a, str>),
    /// A list or a tuple: rows cannot tell them apart, so neither does this.
    List(Vec<Value<'a>>),
    /// A dict with string keys.
    Dict(Fields<'a>),
}

impl Value<'_> {
    fn count(&self) -> usize {
        match self {
            Self::List(items) => 1 + items.iter().map(Value::count).sum::<usize>(),
            Self::Dict(fields) => 1 + count_values(fields),
            _ => 1,
        }
    }
}

/// The value that `steps`, those of a JSON Pointer, lead to in the record with these `fields`. No steps lead to no value.
pub(crate) fn value_at<'v, 'a>(fields: &'v [(Cow<'a, str>, Value<'a>)], steps: &[String]) -> Option<&'v Value<'a>> {
    let (first, rest) = steps.split_first()?;
    let (_, value) = fields.iter().find(|(key, _)| key == first)?;
    rest.iter().try_fold(value, |value, step| value.step(step))
}

/// The same, to be changed.
pub(super) fn value_at_mut<'v, 'a>(fields: &'v mut Fields<'a>, steps: &[String]) -> Option<&'v mut Value<'a>> {
    let (first, rest) = steps.split_first()?;
    let (_, value) = fields.iter_mut().find(|(key, _)| key == first)?;
    rest.iter().try_fold(value, |value, step| value.step_mut(step))
}

impl<'a> Value<'a> {
    /// The member or item that one step of a JSON Pointer leads to.
    pub(super) fn step(&self, step: &str) -> Option<&Self> {
        match self {
            Self::Dict(fields) => fields.iter().find(|(key, _)| key == step).map(|(_, value)| value),
            Self::List(items) => items.get(index(step)?),
            _ => None,
        }
    }

    /// The same, to be changed.
    pub(super) fn step_mut(&mut self, step: &str) -> Option<&mut Self> {
        match self {
            Self::Dict(fields) => fields.iter_mut().find(|(key, _)| key == step).map(|(_, value)| value),
            Self::List(items) => items.get_mut(index(step)?),
            _ => None,
        }
    }

    /// The same, with nothing borrowed.
    pub(super) fn into_owned(self) -> Value<'static> {
        match self {
            Self::Null => Value::Null,
            Self::Bool(truth) => Value::Bool(truth),
            Self::Int(digits) => Value::Int(Cow::Owned(digits.into_owned())),
            Self::Float(number) => Value::Float(number),
            Self::Str(text) => Value::Str(Cow::Owned(text.into_owned())),
            Self::List(items) => Value::List(items.into_iter().map(Value::into_owned).collect()),
            Self::Dict(fields) => {
                let owned =
                    |(key, value): (Cow<'_, str>, Value<'_>)| (Cow::Owned(key.into_owned()), value.into_owned());
                Value::Dict(fields.into_iter().map(owned).collect())
            }
        }
    }
}

/// A step as the place in a list: digits without leading zeros.
fn index(step: &str) -> Option<usize> {
    let is_index = step.bytes().all(|byte| byte.is_ascii_digit()) && (step == "0" || !step.starts_with('0'));
    step.parse().ok().filter(|_| is_index)
}

/// How many fields to make room for in a dict at `depth`: a record has about eight. Nested dicts get no room in advance, because there
/// may be millions of empty ones.
pub(super) const fn usual_fields(depth: usize) -> usize {
    if depth == 1 { 8 } else { 0 }
}

/// Up to here, comparing all pairs is faster than hashing.
const ALL_PAIRS: usize = 16;

/// Makes keys unique as Python and JSON readers do: the last value wins, at the first one's position.
pub(super) fn unique(fields: Fields<'_>) -> Fields<'_> {
    if fields.len() <= ALL_PAIRS && all_differ(&fields) { fields } else { merged(fields) }
}

fn all_differ(fields: &[(Cow<'_, str>, Value<'_>)]) -> bool {
    let mut rest = fields;
    while let Some(((key, _), others)) = rest.split_first() {
        if others.iter().any(|(other, _)| other == key) {
            return false;
        }
        rest = others;
    }
    true
}

fn merged(fields: Fields<'_>) -> Fields<'_> {
    let mut position: HashMap<Cow<'_, str>, usize> = HashMap::with_capacity(fields.len());
    let mut kept: Fields<'_> = Vec::with_capacity(fields.len());
    for (key, value) in fields {
        let at = *position.entry(key.clone()).or_insert(kept.len());
        match kept.get_mut(at) {
            Some((_, earlier)) => *earlier = value,
            None => kept.push((key, value)),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(keys: impl Iterator<Item = String>) -> Fields<'static> {
        keys.enumerate().map(|(n, key)| (key.into(), Value::Int(n.to_string().into()))).collect()
    }

    #[test]
    fn last_of_equal_keys_wins_at_the_first_ones_position() {
        let few = unique(numbered(["a", "b", "a", "c"].map(String::from).into_iter()));
        let text: Vec<_> = few.iter().map(|(k, v)| format!("{k}={v:?}")).collect();
        assert_eq!(text, [r#"a=Int("2")"#, r#"b=Int("1")"#, r#"c=Int("3")"#]);
    }

    #[test]
    fn many_keys_are_made_unique_the_same_way() {
        let many = unique(numbered((0..200_000).map(|n| (n % 1000).to_string())));
        assert_eq!(many.len(), 1000);
        assert_eq!(many[7], ("7".into(), Value::Int("199007".into())));
    }
}
