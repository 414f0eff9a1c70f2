//! Digests in the store: which manifests there are, day by day, each digest with the SHA-256 of the one before.
//!
//! Owns `<prefix>digest/2023-03-10.json`, the digest of that day; `<prefix>digest/2023-03-10.1.json` and so on, the backfills made
//! after it and before the next day's; and beside each, as `….json.minisig`, its signature. Pure. Invariant: the order of the names
//! is the order of the chain, so the newest is known from a listing; [`Name::parse`] reads exactly the keys that [`Name::key`] makes.

use std::collections::HashSet;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::error::{Error, ErrorKind, Result};
use crate::hour::key::digest_prefix;
use crate::store::ObjectStore;

/// What follows a digest's key in that of its signature.
const SIGNATURE: &str = ".minisig";

/// Which digest. Ordered as the chain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    /// The newest day of which the chain has a digest.
    pub(crate) day: Date,
    /// 0 for the digest of that day, above that for a backfill.
    pub(crate) number: u32,
}

impl Name {
    /// Its key below `prefix`.
    pub(crate) fn key(self, prefix: &str) -> String {
        let (day, number) = (self.day, self.number);
        let (year, month, day) = (day.year(), day.month(), day.day());
        let number = if number == 0 { String::new() } else { format!(".{number}") };
        format!("{}{year:04}-{month:02}-{day:02}{number}.json", digest_prefix(prefix))
    }

    /// The key of its signature.
    pub(crate) fn signature_key(self, prefix: &str) -> String {
        self.key(prefix) + SIGNATURE
    }

    /// The inverse of [`Name::key`]. `None` for a key that is not a digest's.
    pub(crate) fn parse(prefix: &str, key: &str) -> Option<Self> {
        let name = key.strip_prefix(&digest_prefix(prefix))?.strip_suffix(".json")?;
        let (day, number) = name.split_once('.').unwrap_or((name, "0"));
        let name = Self { day: day.parse().ok()?, number: number.parse().ok()? };
        (name.key(prefix) == key).then_some(name)
    }

    /// The inverse of [`Name::signature_key`].
    pub(crate) fn parse_signature(prefix: &str, key: &str) -> Option<Self> {
        Self::parse(prefix, key.strip_suffix(SIGNATURE)?)
    }
}

/// An object, and what it must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Link {
    pub(crate) key: String,
    pub(crate) sha256: String,
}

/// What a digest says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Digest {
    /// The version of this shape.
    pub(crate) schema: u32,
    pub(crate) day: Date,
    pub(crate) number: u32,
    /// How many digests are before it.
    pub(crate) serial: u64,
    /// The time zone of the days.
    pub(crate) timezone: String,
    /// Whether a signature lies beside it.
    pub(crate) signed: bool,
    /// The digest before. `None`: it is the first.
    pub(crate) previous: Option<Link>,
    /// The manifests that got their receipt, of that day or, for a backfill, of any day up to it.
    pub(crate) manifests: Vec<Link>,
}

impl Digest {
    pub(crate) const fn name(&self) -> Name {
        Name { day: self.day, number: self.number }
    }

    /// Its bytes.
    pub(crate) fn text(&self) -> Result<String> {
        let text = serde_json::to_string(self);
        let text = text.map_err(|e| Error::new(ErrorKind::Bug, "cannot encode a digest").caused_by(e))?;
        Ok(text + "\n")
    }

    /// The digest that `bytes` under `name` are. `None`: they are not that.
    pub(crate) fn parse(bytes: &[u8], name: Name) -> Option<Self> {
        let digest: Self = serde_json::from_slice(bytes).ok()?;
        let links = digest.previous.iter().chain(&digest.manifests);
        let is_sound = digest.name() == name && links.into_iter().all(|link| Sha256::parse(&link.sha256).is_some());
        is_sound.then_some(digest)
    }
}

/// What lies below `digest/`.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    /// The digests, in the order of the chain.
    pub(crate) digests: Vec<Name>,
    /// Those with a signature beside them.
    pub(crate) signed: Vec<Name>,
    /// What is neither: how many, and the first few.
    pub(crate) strangers: Vec<String>,
}

/// More strangers than these are not named.
const STRANGERS_NAMED: usize = 100;

impl Listed {
    /// Lists the digests below `prefix`.
    ///
    /// # Errors
    /// Those of [`ObjectStore::list`].
    pub(crate) fn read(store: &dyn ObjectStore, prefix: &str) -> Result<Self> {
        let mut listed = Self::default();
        store.list(&digest_prefix(prefix), &mut |key, _| {
            if let Some(name) = Name::parse(prefix, key) {
                listed.digests.push(name);
            } else if let Some(name) = Name::parse_signature(prefix, key) {
                listed.signed.push(name);
            } else if listed.strangers.len() < STRANGERS_NAMED {
                listed.strangers.push(key.to_owned());
            }
            Ok(())
        })?;
        listed.digests.sort_unstable();
        listed.signed.sort_unstable();
        Ok(listed)
    }

    /// Whether there is a signature of `name`.
    pub(crate) fn is_signed(&self, name: Name) -> bool {
        self.signed.binary_search(&name).is_ok()
    }
}

/// The keys that digests name, 16 bytes each.
#[derive(Debug, Default)]
pub(crate) struct Named(HashSet<[u8; 16]>);

impl Named {
    pub(crate) fn add(&mut self, links: &[Link]) {
        self.0.extend(links.iter().map(|link| Self::short(&link.key)));
    }

    pub(crate) fn contains(&self, key: &str) -> bool {
        self.0.contains(&Self::short(key))
    }

    fn short(key: &str) -> [u8; 16] {
        blake3::hash(key.as_bytes()).as_bytes().first_chunk().copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(day: &str, number: u32) -> Name {
        Name { day: day.parse().unwrap(), number }
    }

    #[test]
    fn keys_lead_back_to_their_names_and_nothing_else_does() {
        for (day, number, key) in [
            ("2023-03-10", 0, "p/digest/2023-03-10.json"),
            ("2023-03-10", 1, "p/digest/2023-03-10.1.json"),
            ("0001-01-01", 12, "p/digest/0001-01-01.12.json"),
        ] {
            let name = name(day, number);
            assert_eq!(name.key("p/"), key);
            assert_eq!(Name::parse("p/", key), Some(name));
            assert_eq!(Name::parse_signature("p/", &name.signature_key("p/")), Some(name));
        }
        for odd in ["2023-03-10.0.json", "2023-03-10.01.json", "2023-3-10.json", "2023-02-30.json", "x.json", ".json"] {
            assert_eq!(Name::parse("p/", &format!("p/digest/{odd}")), None, "{odd}");
        }
        assert_eq!(Name::parse("q/", "p/digest/2023-03-10.json"), None);
    }

    #[test]
    fn names_are_ordered_as_the_chain_is() {
        let chain = [name("2023-03-09", 0), name("2023-03-10", 0), name("2023-03-10", 9), name("2023-03-10", 10)];
        assert!(chain.is_sorted());
    }

    #[test]
    fn digest_is_pinned_and_read_only_under_its_own_name() {
        let link = |key: &str| Link { key: key.to_owned(), sha256: "ab".repeat(32) };
        let digest = Digest {
            schema: 1,
            day: "2023-03-10".parse().unwrap(),
            number: 1,
            serial: 7,
            timezone: "UTC".to_owned(),
            signed: false,
            previous: Some(link("digest/2023-03-10.json")),
            manifests: vec![link("m")],
        };
        let text = digest.text().unwrap();
        let sum = "ab".repeat(32);
        let expected = format!(
            "{{\"schema\":1,\"day\":\"2023-03-10\",\"number\":1,\"serial\":7,\"timezone\":\"UTC\",\"signed\":false,\
             \"previous\":{{\"key\":\"digest/2023-03-10.json\",\"sha256\":\"{sum}\"}},\
             \"manifests\":[{{\"key\":\"m\",\"sha256\":\"{sum}\"}}]}}\n"
        );
        assert_eq!(text, expected);
        assert_eq!(Digest::parse(text.as_bytes(), digest.name()), Some(digest.clone()));
        assert_eq!(Digest::parse(text.as_bytes(), name("2023-03-10", 2)), None);
        assert_eq!(Digest::parse(text.replace("abab", "ABAB").as_bytes(), digest.name()), None);
        assert_eq!(Digest::parse(b"{}", digest.name()), None);
    }
}
