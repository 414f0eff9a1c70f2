//! Values that never reach the lake: members that are dropped, and values that are masked.
//!
//! Pure, and done before a record has an identity: records that differ only in what is dropped are one. Invariant: the same value has the
//! same mask wherever it stands and however it is spelled, so masked values still join. Both apply to the record as it came: first what is
//! dropped goes, then the innermost masks come first.

use std::borrow::Cow;
use std::fmt;

use super::json;
use super::value::{Fields, Value, value_at_mut};
use crate::pointer::Pointer;

/// What is taken out of records.
#[derive(Clone, Default)]
pub(crate) struct Edits {
    dropped: Vec<Pointer>,
    /// The longest first.
    masked: Vec<Pointer>,
    key: MaskKey,
}

/// The key of the masks, from the secret of the configuration.
#[derive(Clone, Copy, Default)]
pub(crate) struct MaskKey([u8; 32]);

impl MaskKey {
    /// The key that a secret text stands for.
    pub(crate) fn of(secret: &str) -> Self {
        Self(blake3::derive_key("etl record.mask_key 1: masks", secret.as_bytes()))
    }

    /// Tells it from others, and not what it is.
    pub(crate) fn fingerprint(&self) -> String {
        let id = blake3::derive_key("etl record.mask_key 1: fingerprint", &self.0);
        blake3::Hash::from_bytes(id).to_hex().chars().take(16).collect()
    }
}

impl fmt::Debug for Edits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edits").field("dropped", &self.dropped).field("masked", &self.masked).finish_non_exhaustive()
    }
}

impl Edits {
    /// Drops and masks what stands at these places.
    pub(crate) fn new(dropped: Vec<Pointer>, mut masked: Vec<Pointer>, key: MaskKey) -> Self {
        masked.sort_by_key(|pointer| std::cmp::Reverse(pointer.steps().len()));
        Self { dropped, masked, key }
    }

    /// Applies them to the record with these `fields`.
    #[inline]
    pub(super) fn apply(&self, fields: &mut Fields<'_>) {
        if !self.dropped.is_empty() || !self.masked.is_empty() {
            self.apply_all(fields);
        }
    }

    fn apply_all(&self, fields: &mut Fields<'_>) {
        self.dropped.iter().for_each(|pointer| drop_at(fields, pointer.steps()));
        for pointer in &self.masked {
            if let Some(value) = value_at_mut(fields, pointer.steps()) {
                *value = self.mask_of(value);
            }
        }
    }

    fn mask_of(&self, value: &Value<'_>) -> Value<'static> {
        let mut text = Vec::new();
        json::write_value_sorted(value, &mut text);
        Value::Str(Cow::Owned(blake3::keyed_hash(&self.key.0, &text).to_hex().to_string()))
    }
}

/// Takes a member out. In a list null takes the place of an item, so that the others keep theirs.
fn drop_at(fields: &mut Fields<'_>, steps: &[String]) {
    let Some((last, path)) = steps.split_last() else { return };
    let inner = match path {
        [] => Some(fields),
        path => match value_at_mut(fields, path) {
            Some(Value::Dict(inner)) => Some(inner),
            Some(list @ Value::List(_)) => {
                list.step_mut(last).into_iter().for_each(|item| *item = Value::Null);
                None
            }
            _ => None,
        },
    };
    inner.into_iter().for_each(|inner| inner.retain(|(key, _)| key != last));
}

#[cfg(test)]
mod tests {
    use super::super::python;
    use super::*;

    fn pointers(texts: &[&str]) -> Vec<Pointer> {
        texts.iter().map(|text| Pointer::parse(text).unwrap()).collect()
    }

    fn edited(literal: &str, dropped: &[&str], masked: &[&str]) -> String {
        let Ok(Value::Dict(mut fields)) = python::parse(literal) else { panic!("no dict: {literal}") };
        Edits::new(pointers(dropped), pointers(masked), MaskKey::of("secret")).apply(&mut fields);
        let mut out = Vec::new();
        json::write_fields(&fields, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn dropped_members_are_gone_at_any_depth_and_nothing_else_is() {
        let record = "{'a': 1, 'b': {'a': 2, 'c': [1, {'a': 3, 'b': 4}]}, 'c': None}";
        for (dropped, expected) in [
            (&["/a"][..], r#"{"b":{"a":2,"c":[1,{"a":3,"b":4}]},"c":null}"#),
            (&["/b/c/1/a", "/c"], r#"{"a":1,"b":{"a":2,"c":[1,{"b":4}]}}"#),
            (&["/b/c/0", "/b/c/1"], r#"{"a":1,"b":{"a":2,"c":[null,null]},"c":null}"#),
            (&["/x", "/a/b", "/b/c/2", "/b/c/01", "/b/c/-"], r#"{"a":1,"b":{"a":2,"c":[1,{"a":3,"b":4}]},"c":null}"#),
        ] {
            assert_eq!(edited(record, dropped, &[]), expected, "{dropped:?}");
        }
    }

    #[test]
    fn mask_is_pinned_and_the_same_for_equal_values_only() {
        let masked = |value: &str| edited(&format!("{{'a': {value}}}"), &[], &["/a"]);
        assert_eq!(masked("'x'"), "{\"a\":\"e23173cf4c3d640a14bee790fbb596484fba11a44e8deb5dcda4468fbc6cbdb7\"}");
        assert_eq!(masked("{'p': 1, 'q': (2,)}"), masked("{'q': [2], 'p': 0x1}"));
        let others = ["'x'", "'y'", "1", "1.0", "'1'", "None", "True", "{}", "[]"].map(masked);
        for (n, one) in others.iter().enumerate() {
            assert!(!others[n + 1..].contains(one), "{n}");
        }
        assert_eq!(edited("{'b': 1}", &[], &["/a"]), r#"{"b":1}"#, "what is not there stays so");
    }

    #[test]
    fn what_is_dropped_is_not_part_of_a_mask_and_inner_masks_come_first() {
        let with = edited("{'u': {'id': 1, 'seen': 2}}", &["/u/seen"], &["/u"]);
        assert_eq!(with, edited("{'u': {'id': 1, 'seen': 3}}", &["/u/seen"], &["/u"]));
        let inner = edited("{'u': {'id': 1}}", &[], &["/u/id"]);
        let Ok(Value::Dict(fields)) = json_fields(&inner) else { panic!("{inner}") };
        let outer = edited("{'u': {'id': 1}}", &[], &["/u", "/u/id"]);
        let mut again = fields;
        Edits::new(Vec::new(), pointers(&["/u"]), MaskKey::of("secret")).apply(&mut again);
        let mut out = Vec::new();
        json::write_fields(&again, &mut out);
        assert_eq!(outer, String::from_utf8(out).unwrap());
    }

    fn json_fields(text: &str) -> Result<Value<'_>, super::super::Reason> {
        json::parse(text)
    }

    #[test]
    fn key_makes_the_mask_and_its_fingerprint_shows_neither() {
        let (one, other) = (MaskKey::of("secret"), MaskKey::of("secret2"));
        assert_ne!(one.fingerprint(), other.fingerprint());
        let edits = Edits::new(Vec::new(), pointers(&["/a"]), one);
        assert!(!format!("{edits:?}").contains("key"));
        assert_eq!(one.fingerprint().len(), 16);
    }
}
