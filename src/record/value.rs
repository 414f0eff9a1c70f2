//! Values: what JSON and Python literals have in common, borrowed from their text where it can be.

use std::borrow::Cow;

/// The fields of a dict: keys are unique, in their order.
pub type Fields<'a> = Vec<(Cow<'a, str>, Value<'a>)>;

/// A value of a record.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// `None`, `null`.
    Null,
    /// `True`, `true` …
    Bool(bool),
    /// An int of any size by its decimal digits: no leading zeros, `-` where it is negative, never `-0`.
    Int(Cow<'a, str>),
    /// A finite float.
    Float(f64),
    /// Text.
    Str(Cow<'a, str>),
    /// A list, or a tuple.
    List(Vec<Value<'a>>),
    /// A dict with text keys.
    Dict(Fields<'a>),
}

/// How deep values may nest: far more than a log has, and little enough for any stack.
pub const MAX_DEPTH: usize = 64;

/// Adds a field. Of equal keys the last value counts, at the place of the first.
pub fn put<'a>(fields: &mut Fields<'a>, key: Cow<'a, str>, value: Value<'a>) {
    // Records have a handful of fields: a scan is cheaper than a set. `Builder` takes over where they have many.
    match fields.iter_mut().find(|(known, _)| *known == key) {
        Some((_, old)) => *old = value,
        None => fields.push((key, value)),
    }
}

/// Collects the fields of a dict; linear for many of them too.
#[derive(Debug, Default)]
pub struct Builder<'a> {
    fields: Fields<'a>,
    index: std::collections::HashMap<Cow<'a, str>, usize>,
}

/// From so many fields on they are found through an index.
const MANY: usize = 32;

impl<'a> Builder<'a> {
    /// Adds a field, as [`put`] does.
    pub fn put(&mut self, key: Cow<'a, str>, value: Value<'a>) {
        if self.fields.len() < MANY {
            return put(&mut self.fields, key, value);
        }
        if self.index.is_empty() {
            self.index = self.fields.iter().enumerate().map(|(n, (key, _))| (key.clone(), n)).collect();
        }
        let known = self.index.get(&key).and_then(|n| self.fields.get_mut(*n));
        if let Some((_, old)) = known {
            *old = value;
        } else {
            self.index.insert(key.clone(), self.fields.len());
            self.fields.push((key, value));
        }
    }

    /// The fields.
    #[must_use]
    pub fn finish(self) -> Fields<'a> {
        self.fields
    }
}
