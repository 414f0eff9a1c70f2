//! `etl verify --digests`: the chain of digests, from the newest to the first, and what they name.
//!
//! Reads only, and needs no state. Each digest must be there with the SHA-256 that the one after it names, each manifest with the SHA-256
//! that its digest names, each manifest's part with its identity; what no later digest names is not in the chain. A state at hand knows
//! the newest digest that it made: so one that was cut off the end is missed too. In memory is one digest, and 16 bytes a manifest.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering};

use super::StoredParts;
use super::finding::{Fault, Finding, listed, verdict};
use crate::digest::Sha256;
use crate::error::{Error, ErrorKind, Result};
use crate::hour::key::{digest_prefix, manifest_prefix};
use crate::hour::part::PartIdentity;
use crate::output::plain_text::clean;
use crate::part::codec::content_of;
use crate::process::parallel::parallel_map;
use crate::state::Head;
use crate::store::digests::{Digest, Link, Listed, Name, Named};
use crate::store::expired::Marker;
use crate::store::minisign::{PublicKey, Unsigned};
use crate::view::table::{count, plural};

/// Manifests that are looked at together, and on how many threads.
const AT_ONCE: usize = 256;
/// See [`AT_ONCE`].
const THREADS: usize = 8;

/// What to do about an object with a fault.
const fn hint(fault: Fault) -> &'static str {
    match fault {
        Fault::Missing => {
            "find out who removed it, and bring it back from a copy or an earlier version: nothing makes it again"
        }
        Fault::Changed => "find out who changed it, and bring its earlier version back: nothing makes it again",
        Fault::Foreign | Fault::Forked => "find out who put it there; what is not part of the chain can be moved away",
        Fault::Unsigned => {
            "find out who removed or changed it; a digest that you know to be yours can be signed again with `minisign -S`"
        }
    }
}

/// What a walk along the chain found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Walked {
    /// Digests in the chain that were read.
    pub(crate) digests: u64,
    /// The day of the newest and of the oldest of them.
    pub(crate) newest: Option<Date>,
    pub(crate) oldest: Option<Date>,
    /// Those whose signature is valid.
    pub(crate) signed: u64,
    /// Ids of the keys that signatures were checked with. Empty: they were not checked.
    pub(crate) keys: Vec<String>,
    /// Manifests that they name.
    pub(crate) manifests: u64,
    /// Parts of theirs that are gone for good, as the store says.
    pub(crate) expired: u64,
    /// Manifests that no digest names yet, where the whole chain was walked.
    pub(crate) undigested: Option<u64>,
    /// Empty: all as it was.
    pub(crate) findings: Vec<Finding>,
}

/// Walks along the chain.
pub(crate) struct Walker<'a> {
    pub(crate) parts: StoredParts<'a>,
    /// What signatures are checked with.
    pub(crate) keys: &'a [PublicKey],
    /// Whether parts are downloaded.
    pub(crate) deep: bool,
    /// Digests of earlier days are left out.
    pub(crate) since: Option<Date>,
    /// The newest digest that a state at hand made.
    pub(crate) made: Option<Head>,
}

/// A walk on its way from digest to digest.
struct Walk {
    found: Walked,
    /// What the digest before must be, as the one after it says.
    expected: Option<(Link, u64)>,
    /// Whether the first digest was reached.
    is_at_first: bool,
    /// Whether a newer digest has a valid signature: it vouches for all before it.
    is_vouched: bool,
    named: Named,
}

/// What a manifest says of its part, as far as it is checked.
#[derive(Deserialize)]
struct Manifested {
    key: String,
    #[serde(flatten)]
    identity: PartIdentity,
}

impl Walker<'_> {
    /// Walks the chain; tells `each` how many manifests were looked at.
    ///
    /// # Errors
    /// The store could not be read.
    pub(crate) fn walk(&self, each: &mut dyn FnMut(u64)) -> Result<Walked> {
        let listed = Listed::read(self.parts.store, self.parts.prefix)?;
        let found = Walked { keys: self.keys.iter().map(PublicKey::id).collect(), ..Walked::default() };
        let (is_at_first, is_vouched) = (false, false);
        let mut walk = Walk { found, expected: None, is_at_first, is_vouched, named: Named::default() };
        for key in &listed.strangers {
            walk.find(Fault::Foreign, key, "it is neither a digest nor a signature of one");
        }
        self.check_end(&listed, &mut walk);
        let in_range = |name: &&Name| self.since.is_none_or(|since| name.day >= since);
        for name in listed.digests.iter().rev().take_while(in_range) {
            self.step(*name, &listed, &mut walk)?;
            each(walk.found.manifests);
        }
        match walk.expected.take() {
            Some((link, _))
                if self.since.is_none_or(|since| self.name_of(&link).is_some_and(|name| name.day >= since)) =>
            {
                walk.find(Fault::Missing, &link.key, "the digest after it names it");
            }
            _ => {}
        }
        if self.since.is_none() {
            walk.found.undigested = Some(self.count_undigested(&walk.named)?);
        }
        Ok(walk.found)
    }

    fn name_of(&self, link: &Link) -> Option<Name> {
        Name::parse(self.parts.prefix, &link.key)
    }

    /// The end of the chain is where it should be, as far as anything tells.
    fn check_end(&self, listed: &Listed, walk: &mut Walk) {
        if let Some(made) = &self.made {
            let name = Name { day: made.day, number: made.number };
            if listed.digests.binary_search(&name).is_err() {
                walk.find(Fault::Missing, &name.key(self.parts.prefix), "this state made it, as the newest");
            }
        }
        let in_range = |name: &Name| self.since.is_none_or(|since| name.day >= since);
        if !listed.digests.iter().any(in_range) && walk.found.findings.is_empty() {
            let since = self.since.map_or_else(String::new, |since| format!(" of {since} or later"));
            let what = format!("there is no digest{since}: runs with load.manifest = true make one a day");
            walk.find(Fault::Missing, &digest_prefix(self.parts.prefix), &what);
        }
    }

    fn step(&self, name: Name, listed: &Listed, walk: &mut Walk) -> Result<()> {
        let key = name.key(self.parts.prefix);
        let expected = walk.expected.as_ref().map(|(link, _)| (self.name_of(link), link.clone()));
        match expected {
            _ if walk.is_at_first => {
                walk.find(Fault::Forked, &key, "the chain begins after it");
                return Ok(());
            }
            Some((Some(before), _)) if name > before => {
                walk.find(
                    Fault::Forked,
                    &key,
                    "no later digest names it: another machine, or somebody else, put it there",
                );
                return Ok(());
            }
            Some((before, link)) if before != Some(name) => {
                walk.find(Fault::Missing, &link.key, "the digest after it names it");
                walk.expected = None;
            }
            _ => {}
        }
        let Some(bytes) = self.get(&key)? else {
            walk.find(Fault::Missing, &key, "it was listed, and cannot be read whole");
            return Ok(());
        };
        let sha256 = Sha256::of(&bytes).to_string();
        let is_made = |made: &&Head| (made.day, made.number) == (name.day, name.number) && made.sha256 != sha256;
        if walk.expected.as_ref().is_some_and(|(link, _)| link.sha256 != sha256) {
            walk.find(Fault::Changed, &key, "its SHA-256 is not the one that the digest after it names");
        } else if self.made.as_ref().filter(is_made).is_some() {
            walk.find(Fault::Changed, &key, "its SHA-256 is not that of the digest that this state made");
        }
        let Some(digest) = Digest::parse(&bytes, name) else {
            walk.find(Fault::Changed, &key, "it is not the digest that its name says");
            walk.expected = None;
            return Ok(());
        };
        if walk.expected.as_ref().is_some_and(|(_, serial)| *serial != digest.serial) {
            walk.find(Fault::Changed, &key, "its place in the chain is not the one before the digest after it");
        }
        self.check_signature(&digest, &bytes, listed, walk)?;
        self.check_manifests(&digest, walk)?;
        walk.found.digests += 1;
        walk.found.newest = walk.found.newest.or(Some(name.day));
        walk.found.oldest = Some(name.day);
        walk.is_at_first = digest.previous.is_none();
        walk.expected = digest.previous.map(|link| (link, digest.serial.saturating_sub(1)));
        Ok(())
    }

    fn check_signature(&self, digest: &Digest, bytes: &[u8], listed: &Listed, walk: &mut Walk) -> Result<()> {
        let key = digest.name().signature_key(self.parts.prefix);
        if !listed.is_signed(digest.name()) {
            if digest.signed {
                walk.find(Fault::Unsigned, &key, "the digest says that it is signed, and its signature is not there");
            } else if !self.keys.is_empty() && !walk.is_vouched {
                walk.find(Fault::Unsigned, &key, "neither it nor a later digest is signed");
            }
            return Ok(());
        }
        if self.keys.is_empty() {
            return Ok(());
        }
        let Some(signature) = self.get(&key)? else {
            walk.find(Fault::Unsigned, &key, "it was listed, and cannot be read");
            return Ok(());
        };
        let checks: Vec<_> = self.keys.iter().map(|public| public.check(bytes, &signature)).collect();
        if checks.contains(&Ok(())) {
            walk.is_vouched = true;
            walk.found.signed += 1;
            return Ok(());
        }
        let other = checks.iter().find_map(|check| match check {
            Err(Unsigned::OtherKey(id)) => Some(id.as_str()),
            _ => None,
        });
        match other.filter(|_| !checks.contains(&Err(Unsigned::Wrong))) {
            Some(id) => {
                walk.find(Fault::Unsigned, &key, &format!("it is by another key, {id}: give its --public-key too"))
            }
            None => walk.find(Fault::Unsigned, &key, "it is no valid signature of its digest"),
        }
        Ok(())
    }

    fn check_manifests(&self, digest: &Digest, walk: &mut Walk) -> Result<()> {
        for links in digest.manifests.chunks(AT_ONCE) {
            let expired = AtomicU64::new(0);
            let checked = parallel_map(links, THREADS, |link| self.manifest(link, &expired));
            walk.found.expired += expired.into_inner();
            for found in checked {
                walk.found.findings.extend(found?);
            }
            walk.found.manifests += links.len() as u64;
            if self.since.is_none() {
                walk.named.add(links);
            }
        }
        Ok(())
    }

    /// What is wrong with a manifest, or with its part.
    fn manifest(&self, link: &Link, expired: &AtomicU64) -> Result<Option<Finding>> {
        let fault = |fault, key: &str, detail: &str| Ok(Some(finding(fault, key, detail)));
        let Some(bytes) = self.get(&link.key)? else {
            return fault(Fault::Missing, &link.key, "its digest names it");
        };
        if Sha256::of(&bytes).to_string() != link.sha256 {
            return fault(Fault::Changed, &link.key, "its SHA-256 is not the one that its digest names");
        }
        let Ok(manifest) = serde_json::from_slice::<Manifested>(&bytes) else {
            return fault(Fault::Foreign, &link.key, "it is no manifest, and was none when its digest was made");
        };
        match self.part(&manifest, expired)? {
            None => Ok(None),
            Some((wrong, detail)) => Ok(Some(self.of_part(finding(wrong, &manifest.key, detail)))),
        }
    }

    /// A finding about a part: the commands for those help.
    fn of_part(&self, found: Finding) -> Finding {
        let Some((hour, _)) = self.parts.layout.parse_key(self.parts.prefix, &found.key) else { return found };
        Finding { hour: Some(hour), hint: super::finding::hint(found.fault, hour), ..found }
    }

    fn part(&self, manifest: &Manifested, expired: &AtomicU64) -> Result<Option<(Fault, &'static str)>> {
        let Some(object) = self.parts.store.head(&manifest.key)? else {
            let StoredParts { store, prefix, layout, .. } = self.parts;
            let Some((hour, part)) = layout.parse_key(prefix, &manifest.key) else {
                return Ok(Some((Fault::Missing, "its manifest names it")));
            };
            let marker = Marker::read(store, &layout.expired_key(prefix, hour, part), hour, part)?;
            if marker.is_some_and(|marker| marker.is_of(&manifest.identity)) {
                expired.fetch_add(1, Ordering::Relaxed);
                return Ok(None);
            }
            return Ok(Some((Fault::Missing, "its manifest names it")));
        };
        let meta = object.meta.filter(|_| !self.deep);
        let is_same = match meta {
            // Another build may have compressed the same records to other bytes.
            Some(meta) if meta.identity.sha256 != manifest.identity.sha256 => {
                meta.identity.has_records_of(&manifest.identity)
            }
            Some(meta) => meta.identity.has_records_of(&manifest.identity) && object.size == manifest.identity.bytes,
            None => {
                let format = self.parts.layout.format_of(&manifest.key);
                let content = self.get(&manifest.key)?.and_then(|bytes| content_of(format, &*bytes));
                content.is_some_and(|(sha256, rows)| {
                    (sha256.to_string(), rows) == (manifest.identity.content_sha256.clone(), manifest.identity.rows)
                })
            }
        };
        Ok((!is_same).then_some((Fault::Changed, "its content is not the one that its manifest names")))
    }

    /// The bytes of an object. `None`: it is not there.
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        match self.parts.store.get(key) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::Mismatch => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn count_undigested(&self, named: &Named) -> Result<u64> {
        let mut undigested = 0;
        self.parts.store.list(&manifest_prefix(self.parts.prefix), &mut |key, _| {
            undigested += u64::from(!named.contains(key));
            Ok(())
        })?;
        Ok(undigested)
    }
}

fn finding(fault: Fault, key: &str, detail: &str) -> Finding {
    let (key, detail, hint) = (key.to_owned(), detail.to_owned(), hint(fault).to_owned());
    Finding { fault, hour: None, key, detail, hint, only_deep: false }
}

impl Walk {
    fn find(&mut self, fault: Fault, key: &str, detail: &str) {
        self.found.findings.push(finding(fault, key, detail));
    }
}

impl Walked {
    /// The same for people.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        listed(&self.findings, &mut text, |Finding { fault, key, detail, .. }| {
            format!("digests  {}  {}  {}", fault.word(), clean(key), clean(detail))
        });
        let range = self.oldest.zip(self.newest).map_or_else(String::new, |(from, to)| format!(" from {from} to {to}"));
        let signed = match self.keys.as_slice() {
            [] => "signatures not checked: no public key".to_owned(),
            keys => format!("{} signed by {}", count(self.signed), keys.join(", ")),
        };
        let verdict = verdict(&self.findings, "all as they were made");
        text += &format!(
            "{}{range} with {} walked, {signed}: {verdict}\n",
            plural(self.digests, "digest", "digests"),
            plural(self.manifests, "manifest", "manifests"),
        );
        if self.expired > 0 {
            text += &format!("{} gone for good, as the store says\n", plural(self.expired, "part is", "parts are"));
        }
        if let Some(undigested) = self.undigested.filter(|undigested| *undigested > 0) {
            let (are, yet) = (
                if undigested == 1 { "is" } else { "are" },
                "in no digest yet: that of their day comes when it is over",
            );
            text += &format!("{} {are} {yet}\n", plural(undigested, "manifest", "manifests"));
        }
        text
    }
}

/// The public keys that are given, each a file or the key itself.
pub(crate) fn public_keys(given: &[String]) -> Result<Vec<PublicKey>> {
    let parse = |given: &String| {
        let text = std::fs::read_to_string(given).unwrap_or_else(|_| given.clone());
        PublicKey::parse(&text).map_err(|error| {
            let hint = error.next_step().unwrap_or_default().to_owned();
            Error::new(ErrorKind::Usage, format!("--public-key {given}: {error}")).hint(hint)
        })
    };
    given.iter().map(parse).collect()
}
