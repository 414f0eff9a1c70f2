//! One dictionary in both directions. Codes are kept as the digits in a row.

use std::collections::BTreeMap;

use crate::record::Value;

/// A dictionary, resolved.
#[derive(Debug, Default)]
pub(super) struct Codes {
    by_text: BTreeMap<String, String>,
    by_code: BTreeMap<String, String>,
}

impl Codes {
    pub(super) fn new(dictionary: &BTreeMap<String, i64>) -> Self {
        let digits = |(text, code): (&String, &i64)| (text.clone(), code.to_string());
        let by_text: BTreeMap<_, _> = dictionary.iter().map(digits).collect();
        let by_code = by_text.iter().map(|(text, code)| (code.clone(), text.clone())).collect();
        Self { by_text, by_code }
    }

    /// Writes the code of `value`, or 0. Returns whether it has one.
    pub(super) fn write(&self, value: &Value<'_>, out: &mut Vec<u8>) -> bool {
        let code = self.code(value);
        out.extend_from_slice(code.unwrap_or("0").as_bytes());
        code.is_some()
    }

    fn code(&self, value: &Value<'_>) -> Option<&str> {
        let Value::Str(text) = value else { return None };
        self.by_text.get(text.as_ref()).map(String::as_str)
    }

    /// The text with the code `code`.
    pub(super) fn text(&self, code: &str) -> Option<String> {
        self.by_code.get(code).cloned()
    }
}
