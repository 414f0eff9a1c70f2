//! The canonical form of a record, and its content hash.
//!
//! **Canonical form**: the record as JSON text without spaces (what [`super::json::write`] writes: ASCII, Python's
//! spelling of floats), with the keys of the record and of every dict in it sorted by their UTF-8 bytes. So a tuple equals a list,
//! integers are compared by their digits, floats by their value, and `1`, `1.0` and `true` differ. Compaction keeps all of it: a
//! restored record has the form, and so the hash, of the original.
//! **Content hash**: the first 128 bits of the BLAKE3 hash of that text. Hashes are stored, so neither may change.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::json;
use super::value::Value;

/// The identity of a record's content. Ordered by its bytes; shown as 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ContentHash(pub [u8; 16]);

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Working memory, used for many records one after the other.
#[derive(Debug, Default)]
pub struct Scratch {
    text: Vec<u8>,
    order: Vec<json::Position>,
}

impl Scratch {
    /// Frees what is larger than `bytes`, after a huge record.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        if self.text.capacity() > bytes {
            self.text = Vec::new();
        }
        if self.order.capacity() > bytes / size_of::<json::Position>() {
            self.order = Vec::new();
        }
    }
}

/// The content hash of the record with these `fields`.
pub fn content_hash(fields: &[(Cow<'_, str>, Value<'_>)], scratch: &mut Scratch) -> ContentHash {
    scratch.text.clear();
    scratch.order.clear();
    json::write_sorted(fields, &mut scratch.text, &mut scratch.order);
    let mut hash = ContentHash([0; 16]);
    for (to, from) in hash.0.iter_mut().zip(blake3::hash(&scratch.text).as_bytes()) {
        *to = *from;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::super::python;
    use super::*;

    fn canonical(literal: &str) -> (String, ContentHash) {
        let Ok(Value::Dict(fields)) = python::parse(literal) else { panic!("no dict: {literal}") };
        let mut scratch = Scratch::default();
        let hash = content_hash(&fields, &mut scratch);
        (String::from_utf8(scratch.text).unwrap(), hash)
    }

    #[test]
    fn form_and_hash_of_a_record_never_change() {
        let (form, hash) = canonical(
            "{'user_id': 7, 'b': (1, -0.0, 1e22, None), 'é': {'z': True, 'a': 'caf\\xe9'}, 'a': 18446744073709551616}",
        );
        let expected =
            r#"{"a":18446744073709551616,"b":[1,-0.0,1e+22,null],"user_id":7,"\u00e9":{"a":"caf\u00e9","z":true}}"#;
        assert_eq!(form, expected);
        assert_eq!(hash.to_string(), "69352f0b7f08a93eb1b926dab61e556d");
    }

    #[test]
    fn spelling_and_key_order_do_not_count() {
        let one = canonical("{'a': {'x': 1, 'y': [2.0]}, 'b': 'A'}");
        assert_eq!(one, canonical("{'b': \"\\x41\", 'a': {'y': (2e0,), 'x': 0x1}}"));
    }

    #[test]
    fn different_values_have_different_forms() {
        let forms = ["1", "1.0", "True", "'1'", "[1]", "{'a': 1}", "None", "-1", "''", "'None'", "0.0", "-0.0"]
            .map(|value| canonical(&format!("{{'k': {value}}}")).1);
        for (n, form) in forms.iter().enumerate() {
            assert!(!forms[n + 1..].contains(form), "{n}");
        }
    }

    #[test]
    fn scratch_of_another_record_leaves_no_trace() {
        let mut scratch = Scratch::default();
        let fields = vec![("a".into(), Value::Dict(vec![("z".into(), Value::Null), ("b".into(), Value::Null)]))];
        let first = content_hash(&fields, &mut scratch);
        content_hash(&[], &mut scratch);
        assert_eq!(content_hash(&fields, &mut scratch), first);
    }
}
