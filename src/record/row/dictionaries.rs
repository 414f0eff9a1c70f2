//! The dictionaries of `method` and `url`: which text has which code in a row.
//!
//! Invariant: the codes of a field are unique and never 0, which means "not in the dictionary". Dictionaries may gain entries; after one
//! is changed or lost, rows that were written with it cannot be restored.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::digest;
use crate::error::{Error, ErrorKind, Result};
use crate::record::schema;

/// How many entries may be missing in a subset that is searched: all combinations are tried.
const OPTIONAL_ENTRIES: usize = 16;

/// The codes of `method` and `url`. As TOML: `url = { "/api/products/product/" = 1 }`, `method = { GET = 1, POST = 2 }`; a
/// field that is not given has its default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Dictionaries {
    url: BTreeMap<String, i64>,
    method: BTreeMap<String, i64>,
}

/// The stored form. Both fields are required: an object that lacks one was not written by this program.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    method: BTreeMap<String, i64>,
    url: BTreeMap<String, i64>,
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
        check(schema::URL, &url)?;
        check(schema::METHOD, &method)?;
        Ok(Self { url, method })
    }

    /// The codes of `url`.
    #[must_use]
    pub(crate) const fn url(&self) -> &BTreeMap<String, i64> {
        &self.url
    }

    /// The codes of `method`.
    #[must_use]
    pub(crate) const fn method(&self) -> &BTreeMap<String, i64> {
        &self.method
    }

    /// Whether these have all entries of `older`: then they restore all that was written with `older`.
    #[must_use]
    pub(crate) fn extends(&self, older: &Self) -> bool {
        let has_all = |new: &BTreeMap<String, i64>, old: &BTreeMap<String, i64>| {
            old.iter().all(|(text, code)| new.get(text) == Some(code))
        };
        has_all(&self.url, &older.url) && has_all(&self.method, &older.method)
    }

    /// How many entries they have.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.url.len() + self.method.len()
    }

    /// A short id of exactly these dictionaries, for `etl-dict`: 16 hexadecimal digits of the BLAKE3 hash of the number of
    /// entries and, for each in order, the text's length, the text and the code, little-endian; `url`, then `method`.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let [url, method] = [&self.url, &self.method].map(|dictionary| dictionary.iter().collect::<Vec<_>>());
        fingerprint([&url, &method])
    }

    /// These dictionaries or the subset of their entries that has the fingerprint `id`: dictionaries only gain entries, so an older
    /// version is a subset. Of more than 16 entries only those with the highest codes are left out, because codes usually rise.
    #[must_use]
    pub(crate) fn subset_with(&self, id: &str) -> Option<Self> {
        let mut codes: Vec<i64> = self.url.values().chain(self.method.values()).copied().collect();
        codes.sort_unstable_by(|a, b| b.cmp(a));
        codes.truncate(OPTIONAL_ENTRIES);
        let optional = codes.len();
        // A bit for each entry that may be left out. Both dictionaries may have the same code: each gets a bit of its own.
        let mut bit_of = |code: i64| {
            let bit = codes.iter().position(|left| *left == code)?;
            codes.get_mut(bit).map(|taken| *taken = 0)?;
            u32::try_from(bit).ok()
        };
        let mut marked = |dictionary: &BTreeMap<String, i64>| -> Vec<(u32, String, i64)> {
            let mark = |(text, code): (&String, &i64)| (bit_of(*code).map_or(0, |bit| 1 << bit), text.clone(), *code);
            dictionary.iter().map(mark).collect()
        };
        let (url, method) = (marked(&self.url), marked(&self.method));
        (0..1_u32 << optional).find_map(|left_out| {
            let [url, method] = [&url, &method].map(|entries| -> Vec<(&String, &i64)> {
                let kept = entries.iter().filter(|(bit, ..)| bit & left_out == 0);
                kept.map(|(_, text, code)| (text, code)).collect()
            });
            let owned = |entries: &[(&String, &i64)]| entries.iter().map(|(t, c)| ((*t).clone(), **c)).collect();
            let is_it = fingerprint([&url, &method]) == id;
            is_it.then(|| Self { url: owned(&url), method: owned(&method) })
        })
    }

    /// The bytes that are stored beside the parts: the same for equal dictionaries.
    pub fn to_stored(&self) -> Result<Vec<u8>> {
        let stored = Stored { method: self.method.clone(), url: self.url.clone() };
        let mut bytes = serde_json::to_vec(&stored)
            .map_err(|e| Error::new(ErrorKind::Bug, "cannot encode the dictionaries").caused_by(e))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// The inverse of [`Dictionaries::to_stored`]. `None`: they are not the dictionaries with the fingerprint `id`.
    #[must_use]
    pub(crate) fn from_stored(bytes: &[u8], id: &str) -> Option<Self> {
        let Stored { method, url } = serde_json::from_slice(bytes).ok()?;
        Self::new(url, method).ok().filter(|found| found.fingerprint() == id)
    }
}

fn fingerprint(dictionaries: [&[(&String, &i64)]; 2]) -> String {
    let mut hasher = blake3::Hasher::new();
    for entries in dictionaries {
        hasher.update(&length(entries.len()));
        for (text, code) in entries {
            hasher.update(&length(text.len())).update(text.as_bytes()).update(&code.to_le_bytes());
        }
    }
    digest::fingerprint(&hasher)
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
    #[test]
    fn subset_of_the_entries_is_found_by_its_fingerprint() {
        let now = from_toml("url = { '/a' = 1, '/b' = 2, '/c' = 3 }").unwrap();
        for older in [
            "url = { '/a' = 1 }",
            "url = { '/b' = 2 }",
            "url = { '/a' = 1, '/c' = 3 }",
            "url = {}\nmethod = {}",
            "url = { '/a' = 1, '/b' = 2, '/c' = 3 }",
        ] {
            let older = from_toml(older).unwrap();
            assert_eq!(now.subset_with(&older.fingerprint()), Some(older));
        }
        for other in ["url = { '/a' = 2 }", "url = { '/d' = 4 }", "url = { '/a' = 2, '/b' = 1, '/c' = 3 }"] {
            assert_eq!(now.subset_with(&from_toml(other).unwrap().fingerprint()), None, "{other}");
        }
    }

    #[test]
    fn subset_of_many_entries_is_found_where_the_newest_are_missing() {
        let of = |count: i64| Dictionaries::new((1..=count).map(|n| (format!("/{n}"), n)).collect(), BTreeMap::new());
        let now = of(60).unwrap();
        assert_eq!(now.subset_with(&of(50).unwrap().fingerprint()), of(50).ok());
        assert_eq!(now.subset_with(&of(20).unwrap().fingerprint()), None);
    }

    #[test]
    fn stored_bytes_are_pinned_and_only_those_of_their_id_are_read() {
        let dictionaries = Dictionaries::default();
        let bytes = dictionaries.to_stored().unwrap();
        let text = "{\"method\":{\"GET\":1,\"POST\":2},\"url\":{\"/api/products/product/\":1}}\n";
        assert_eq!(std::str::from_utf8(&bytes), Ok(text));
        let id = dictionaries.fingerprint();
        assert_eq!(Dictionaries::from_stored(&bytes, &id), Some(dictionaries));
        for damaged in [
            "",
            "{}",
            "{\"url\":{\"/api/products/product/\":1}}",
            &text.replace(":2", ":3"),
            &text.replace("POST", "PUT"),
            &text.replace(",\"url\"", ",\"columns\":{},\"url\""),
        ] {
            assert_eq!(Dictionaries::from_stored(damaged.as_bytes(), &id), None, "{damaged}");
        }
    }
}
