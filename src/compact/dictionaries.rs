//! The dictionaries of `method` and `url`: which text has which code in a row.
//!
//! Invariant: within a field codes are unique and never 0, which stands for "not in the dictionary". Dictionaries may gain
//! entries; one that changed or lost an entry cannot restore the rows that were written with it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// The codes of `method` and `url`. As TOML: `url = { "/api/products/product/" = 1 }`, `method = { GET = 1, POST = 2 }`; a
/// field that is not given has its default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Dictionaries {
    url: BTreeMap<String, i64>,
    method: BTreeMap<String, i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    #[serde(default = "default_url")]
    url: BTreeMap<String, i64>,
    #[serde(default = "default_method")]
    method: BTreeMap<String, i64>,
}

fn default_url() -> BTreeMap<String, i64> {
    BTreeMap::from([("/api/products/product/".to_owned(), 1)])
}

fn default_method() -> BTreeMap<String, i64> {
    BTreeMap::from([("GET".to_owned(), 1), ("POST".to_owned(), 2)])
}

impl Default for Dictionaries {
    fn default() -> Self {
        Self { url: default_url(), method: default_method() }
    }
}

impl TryFrom<Unchecked> for Dictionaries {
    type Error = Error;

    fn try_from(Unchecked { url, method }: Unchecked) -> Result<Self> {
        Self::new(url, method)
    }
}

impl Dictionaries {
    /// Dictionaries with these codes.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] where a code is 0 or used twice in a field; the message names the entry.
    pub fn new(url: BTreeMap<String, i64>, method: BTreeMap<String, i64>) -> Result<Self> {
        check("url", &url)?;
        check("method", &method)?;
        Ok(Self { url, method })
    }

    /// The codes of `url`.
    #[must_use]
    pub const fn url(&self) -> &BTreeMap<String, i64> {
        &self.url
    }

    /// The codes of `method`.
    #[must_use]
    pub const fn method(&self) -> &BTreeMap<String, i64> {
        &self.method
    }

    /// Whether these are `older` with entries gained at most: whatever was written with `older` can be restored.
    #[must_use]
    pub fn extends(&self, older: &Self) -> bool {
        let has_all = |new: &BTreeMap<String, i64>, old: &BTreeMap<String, i64>| {
            old.iter().all(|(text, code)| new.get(text) == Some(code))
        };
        has_all(&self.url, &older.url) && has_all(&self.method, &older.method)
    }

    /// A short id of exactly these dictionaries, for `etl-dict`: 16 hexadecimal digits of the BLAKE3 hash of the number of
    /// entries and, for each in order, the text's length, the text and the code, little-endian; `url`, then `method`.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for dictionary in [&self.url, &self.method] {
            hasher.update(&length(dictionary.len()));
            for (text, code) in dictionary {
                hasher.update(&length(text.len())).update(text.as_bytes()).update(&code.to_le_bytes());
            }
        }
        hasher.finalize().to_hex().chars().take(16).collect()
    }
}

fn length(n: usize) -> [u8; 8] {
    u64::try_from(n).unwrap_or(u64::MAX).to_le_bytes()
}

fn check(field: &str, dictionary: &BTreeMap<String, i64>) -> Result<()> {
    let mut used = BTreeSet::new();
    for (text, &code) in dictionary {
        let wrong = |why| Error::new(ErrorKind::Config, format!("compact.{field}: the code of {text:?} {why}"));
        if code == 0 {
            return Err(wrong("is 0").hint("give it another code: 0 stands for \"not in the dictionary\""));
        }
        if !used.insert(code) {
            return Err(wrong(&format!("is used twice: {code}")).hint("give every entry a code of its own"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_toml(text: &str) -> std::result::Result<Dictionaries, String> {
        toml::from_str(text).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn field_that_is_not_given_has_its_default() {
        assert_eq!(from_toml(""), Ok(Dictionaries::default()));
        let custom = from_toml("url = { '/a' = 7, '/b' = -1 }").unwrap();
        assert_eq!(custom.url().get("/b"), Some(&-1));
        assert_eq!(custom.method(), Dictionaries::default().method());
    }

    #[test]
    fn zero_and_repeated_codes_are_refused_by_name() {
        assert_eq!(from_toml("method = { GET = 0 }"), Err("compact.method: the code of \"GET\" is 0".to_owned()));
        let twice = from_toml("url = { '/a' = 1, '/b' = 1 }");
        assert_eq!(twice, Err("compact.url: the code of \"/b\" is used twice: 1".to_owned()));
        assert!(from_toml("urls = {}").is_err());
    }

    #[test]
    fn only_gained_entries_extend() {
        let old = Dictionaries::default();
        let gained = from_toml("url = { '/api/products/product/' = 1, '/b' = 2 }").unwrap();
        let changed = from_toml("url = { '/api/products/product/' = 2 }").unwrap();
        assert!(old.extends(&old) && gained.extends(&old));
        assert!(!old.extends(&gained) && !changed.extends(&old));
    }

    #[test]
    fn fingerprint_never_changes_and_tells_dictionaries_apart() {
        assert_eq!(Dictionaries::default().fingerprint(), "6e548bf8a74a589c");
        let others =
            ["url = {}", "method = {}", "url = { '/api/products/product/' = 2 }", "method = { GET = 2, POST = 1 }"]
                .map(|text| from_toml(text).unwrap().fingerprint());
        for (n, one) in others.iter().enumerate() {
            assert_ne!(*one, Dictionaries::default().fingerprint());
            assert!(!others[n + 1..].contains(one));
        }
    }

    #[test]
    fn stored_dictionaries_are_read_back() {
        let text = serde_json::to_string(&Dictionaries::default()).unwrap();
        assert_eq!(serde_json::from_str::<Dictionaries>(&text).unwrap(), Dictionaries::default());
    }
}
