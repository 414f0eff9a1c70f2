//! Which fields have a compact form in rows, and which: the codec of each, by its name.
//!
//! Invariant: the codes of a dictionary are unique and never 0, which means "not in the dictionary"; no field with a codec has a name that
//! ends like the key of an original. Dictionaries may gain entries; after one is changed or lost, or the codec of a field is another, rows
//! that were written with it cannot be restored. The codecs of the origin keep the stored form and the fingerprint that they had when rows
//! had no others.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::RAW;
use crate::digest;
use crate::error::{Error, ErrorKind, Result};
use crate::record::schema::{IN_DATE, METHOD, URL, USER_ID};

/// How many entries may be missing in a subset that is searched: all combinations are tried.
const OPTIONAL_ENTRIES: usize = 16;

/// Goes before what is hashed of codecs that are not the origin's: no number of entries is as large as these letters.
const NOT_THE_ORIGINS: &[u8] = b"codecs 1";

/// Texts and their codes.
type Dictionary = BTreeMap<String, i64>;

/// The compact form of a field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Codec {
    /// 64 lower-case hexadecimal digits, as two base64url UUIDs, the second half first.
    #[serde(rename = "uuid-pair")]
    UuidPair,
    /// A time such as 2023-03-10T01:48:11.818Z, as its digits without the century.
    #[serde(rename = "digits")]
    Digits,
    /// Lower-case hexadecimal digits of whole bytes, as base64url.
    #[serde(rename = "hex")]
    Hex,
    /// Texts, as their codes.
    #[serde(untagged)]
    Dictionary(Dictionary),
}

/// The codec of each field that has one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Codecs {
    fields: BTreeMap<String, Codec>,
}

/// The stored form: the dictionaries of the origin's two fields, or else all codecs.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url: Option<Dictionary>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    method: Option<Dictionary>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    codecs: Option<BTreeMap<String, Codec>>,
}

/// The same beside the parts: in another order.
#[derive(Serialize)]
struct Object<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a Dictionary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a Dictionary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    codecs: Option<&'a BTreeMap<String, Codec>>,
}

impl Default for Codecs {
    /// Those of the origin's four fields.
    fn default() -> Self {
        let url = BTreeMap::from([("/api/products/product/".to_owned(), 1)]);
        let method = BTreeMap::from([("GET".to_owned(), 1), ("POST".to_owned(), 2)]);
        Self::with_dictionaries(url, method)
    }
}

impl TryFrom<Stored> for Codecs {
    type Error = Error;

    fn try_from(stored: Stored) -> Result<Self> {
        match stored {
            Stored { url: Some(url), method: Some(method), codecs: None } => Self::of_dictionaries(url, method),
            Stored { url: None, method: None, codecs: Some(codecs) } => Self::new(codecs),
            _ => Err(Error::new(ErrorKind::State, "neither all codecs nor the two dictionaries of the usual ones")),
        }
    }
}

impl From<Codecs> for Stored {
    fn from(codecs: Codecs) -> Self {
        match codecs.dictionaries_of_the_origin() {
            Some((url, method)) => Self { url: Some(url.clone()), method: Some(method.clone()), codecs: None },
            None => Self { url: None, method: None, codecs: Some(codecs.fields) },
        }
    }
}

impl Codecs {
    /// These codecs.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] where a code is 0 or used twice in a field, or rows of a field could not be told from those of another; the
    /// message names the entry.
    pub fn new(fields: BTreeMap<String, Codec>) -> Result<Self> {
        for (field, codec) in &fields {
            if field.ends_with(RAW) {
                let what = format!("compact.{field}: a field whose name ends in \"{RAW}\" can have no codec");
                return Err(Error::new(ErrorKind::Config, what).hint("leave it out: such fields are kept as they are"));
            }
            if let Codec::Dictionary(dictionary) = codec {
                check(field, dictionary)?;
            }
        }
        Ok(Self { fields })
    }

    /// Those of the origin's four fields, with these codes.
    ///
    /// # Errors
    /// As [`Codecs::new`].
    pub fn of_dictionaries(url: Dictionary, method: Dictionary) -> Result<Self> {
        Self::new(Self::with_dictionaries(url, method).fields)
    }

    fn with_dictionaries(url: Dictionary, method: Dictionary) -> Self {
        let fields = [
            (USER_ID, Codec::UuidPair),
            (IN_DATE, Codec::Digits),
            (URL, Codec::Dictionary(url)),
            (METHOD, Codec::Dictionary(method)),
        ];
        Self { fields: fields.map(|(field, codec)| (field.to_owned(), codec)).into() }
    }

    /// The codes of `url` and `method`, if it is these two and the origin's others that have codecs.
    fn dictionaries_of_the_origin(&self) -> Option<(&Dictionary, &Dictionary)> {
        let [url, method] = [URL, METHOD].map(|field| self.dictionary(field));
        let is_all = self.fields.len() == 4
            && self.codec(USER_ID) == Some(&Codec::UuidPair)
            && self.codec(IN_DATE) == Some(&Codec::Digits);
        Some((url?, method?)).filter(|_| is_all)
    }

    /// The codec of a field.
    #[must_use]
    pub(crate) fn codec(&self, field: &str) -> Option<&Codec> {
        self.fields.get(field)
    }

    fn dictionary(&self, field: &str) -> Option<&Dictionary> {
        self.fields.get(field).and_then(Codec::dictionary)
    }

    /// The fields that have one, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Codec)> {
        self.fields.iter().map(|(field, codec)| (field.as_str(), codec))
    }

    /// The name of each field's codec.
    pub(crate) fn names(&self) -> BTreeMap<String, String> {
        self.fields.iter().map(|(field, codec)| (field.clone(), codec.name().to_owned())).collect()
    }

    /// The key that rows have for the field `key` of a record.
    #[must_use]
    pub(crate) fn stored_key(&self, key: &str) -> String {
        let looks_raw = key.ends_with(RAW) && self.codec(key.trim_end_matches(RAW)).is_some();
        if looks_raw { format!("{key}{RAW}") } else { key.to_owned() }
    }

    /// Whether these have all entries of `older`: then they restore all that was written with `older`.
    #[must_use]
    pub(crate) fn extends(&self, older: &Self) -> bool {
        self.change_since(older).is_none()
    }

    /// The first field whose rows of before these codecs do not restore, and what it had: a codec, or an entry that is now missing or
    /// different.
    #[must_use]
    pub(crate) fn change_since(&self, older: &Self) -> Option<(String, String)> {
        let fields: BTreeSet<&String> = self.fields.keys().chain(older.fields.keys()).collect();
        fields.into_iter().find_map(|field| {
            let what = Codec::change(older.codec(field), self.codec(field))?;
            Some((field.clone(), what))
        })
    }

    /// How many entries they have.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.fields.values().filter_map(Codec::dictionary).map(BTreeMap::len).sum()
    }

    /// A short id of exactly these codecs, for `etl-dict`: 16 hexadecimal digits of a BLAKE3 hash. Of the origin's it is that of the
    /// dictionaries of `url`, then `method`: the number of entries and, for each in order, the text's length, the text and the code,
    /// little-endian. Of others it is that of `NOT_THE_ORIGINS` and, for each field in order, the name's length, the name, the codec's
    /// name with its length, and the entries.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        if let Some((url, method)) = self.dictionaries_of_the_origin() {
            [url, method].into_iter().for_each(|dictionary| add_entries(&mut hasher, dictionary));
            return digest::fingerprint(&hasher);
        }
        hasher.update(NOT_THE_ORIGINS);
        for (field, codec) in &self.fields {
            add_text(&mut hasher, field);
            add_text(&mut hasher, codec.name());
            codec.dictionary().into_iter().for_each(|dictionary| add_entries(&mut hasher, dictionary));
        }
        digest::fingerprint(&hasher)
    }

    /// These codecs, or those with a subset of their entries, that have the fingerprint `id`: dictionaries only gain entries, so an older
    /// version is a subset. Of more than 16 entries only those with the highest codes are left out, because codes usually rise.
    #[must_use]
    pub(crate) fn subset_with(&self, id: &str) -> Option<Self> {
        let dictionaries = self.fields.iter().filter_map(|(field, codec)| Some((field, codec.dictionary()?)));
        let mut entries: Vec<(i64, &String, &String)> = dictionaries
            .flat_map(|(field, dictionary)| dictionary.iter().map(move |(text, code)| (*code, field, text)))
            .collect();
        entries.sort_unstable_by(|a, b| b.cmp(a));
        entries.truncate(OPTIONAL_ENTRIES);
        (0..1_u32 << entries.len()).find_map(|left_out| {
            let mut older = self.clone();
            for (bit, (_, field, text)) in entries.iter().enumerate() {
                if left_out >> bit & 1 == 1
                    && let Some(Codec::Dictionary(dictionary)) = older.fields.get_mut(*field)
                {
                    dictionary.remove(*text);
                }
            }
            (older.fingerprint() == id).then_some(older)
        })
    }

    /// The bytes that are stored beside the parts: the same for equal codecs.
    pub fn to_stored(&self) -> Result<Vec<u8>> {
        let of_the_origin = self.dictionaries_of_the_origin();
        let object = Object {
            method: of_the_origin.map(|(_, method)| method),
            url: of_the_origin.map(|(url, _)| url),
            codecs: of_the_origin.is_none().then_some(&self.fields),
        };
        let mut bytes = serde_json::to_vec(&object)
            .map_err(|e| Error::new(ErrorKind::Bug, "cannot encode the dictionaries").caused_by(e))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// The inverse of [`Codecs::to_stored`]. `None`: they are not the codecs with the fingerprint `id`.
    #[must_use]
    pub(crate) fn from_stored(bytes: &[u8], id: &str) -> Option<Self> {
        serde_json::from_slice(bytes).ok().filter(|found: &Self| found.fingerprint() == id)
    }
}

impl Codec {
    /// Its name in the configuration.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::UuidPair => "uuid-pair",
            Self::Digits => "digits",
            Self::Hex => "hex",
            Self::Dictionary(_) => "dictionary",
        }
    }

    /// The texts and their codes, if it has any.
    pub(crate) const fn dictionary(&self) -> Option<&Dictionary> {
        match self {
            Self::Dictionary(dictionary) => Some(dictionary),
            _ => None,
        }
    }

    /// What a field had before, if rows of then are not restored by what it has now.
    fn change(older: Option<&Self>, newer: Option<&Self>) -> Option<String> {
        match (older, newer) {
            (Some(Self::Dictionary(older)), Some(Self::Dictionary(newer))) => {
                let lost = older.iter().find(|(text, code)| newer.get(*text) != Some(code));
                lost.map(|(text, _)| format!("an entry {text:?} that is now missing or different"))
            }
            (older, newer) if older == newer => None,
            (older, newer) => {
                let [older, newer] = [older, newer].map(|codec| codec.map_or("none", Self::name));
                Some(format!("{older:?}, now {newer:?}"))
            }
        }
    }
}

fn add_entries(hasher: &mut blake3::Hasher, dictionary: &Dictionary) {
    hasher.update(&length(dictionary.len()));
    for (text, code) in dictionary {
        add_text(hasher, text);
        hasher.update(&code.to_le_bytes());
    }
}

fn add_text(hasher: &mut blake3::Hasher, text: &str) {
    hasher.update(&length(text.len())).update(text.as_bytes());
}

fn length(n: usize) -> [u8; 8] {
    u64::try_from(n).unwrap_or(u64::MAX).to_le_bytes()
}

fn check(field: &str, dictionary: &Dictionary) -> Result<()> {
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
mod tests;
