//! What the store has of the chain: taken over where this state does not know it.
//!
//! Reads the store, and keeps the state's list in step. Invariant: the chain goes on from a digest only if that follows the newest one
//! known here, or where none is known here; with a key to sign by, only if it is signed by that key. Anything else is named (exit 76) and
//! left alone. A crash leaves the list, which is compared again.

use super::{Maker, broken};
use crate::digest::Sha256;
use crate::error::{Error, ErrorKind, Result};
use crate::hour::key::manifest_prefix;
use crate::process::parallel::parallel_map;
use crate::state::{Chain, Head, Undigested};
use crate::store::digests::{Digest, Link, Listed, Name, Named};

/// Objects that are read for one step of the list.
const AT_ONCE: usize = 256;

impl Maker<'_, '_> {
    /// The chain as the state has it, brought up to what the store has. `None`: there is nothing to begin one with.
    pub(super) fn chain(&mut self) -> Result<Option<Chain>> {
        let survey = std::mem::take(&mut self.run.survey_manifests);
        let place = self.run.setup.settings.destination.clone();
        let known = self.run.state.hours.digests.chain(&place)?.filter(|_| !survey);
        if let Some(chain) = known {
            return Ok(Some(chain));
        }
        if !survey && self.run.state.hours.digests.lists_nothing()? {
            return Ok(None);
        }
        self.read_signer()?;
        let listed = self.listed()?;
        let now = self.run.now();
        let live_since = self.run.setup.closing.zone.to_datetime(now).date();
        let mut chain = Chain { store: place, live_since, made_at: now, head: None, covered: None, surplus: 0 };
        if let Some(newest) = listed.digests.last() {
            let (digest, bytes) = self.read(*newest)?;
            chain.head = Some(head_of(&digest, &bytes));
            tracing::info!("the chain of digests goes on from {}", newest.key(&self.run.setup.prefix));
        }
        if survey || chain.head.is_some() {
            self.survey(&listed)?;
        }
        self.run.state.hours.digests.record(&chain)?;
        Ok(Some(chain))
    }

    pub(super) fn listed(&self) -> Result<Listed> {
        Listed::read(&*self.run.setup.store, &self.run.setup.prefix)
    }

    /// Takes over the digests that follow the newest one known here.
    pub(super) fn catch_up(&mut self, chain: &mut Chain) -> Result<()> {
        let listed = self.listed()?;
        let head = chain.head.as_ref().map(|head| Name { day: head.day, number: head.number });
        let mut named = Named::default();
        let newer = listed.digests.iter().copied().filter(|name| head.is_none_or(|head| *name > head));
        for name in newer {
            let (digest, bytes) = self.read(name)?;
            let previous = chain.head.as_ref().map(|head| self.link(head));
            if digest.previous != previous {
                return Err(broken(
                    &name.key(&self.run.setup.prefix),
                    "a foreign digest, which does not follow the newest one of this state, is in the way",
                ));
            }
            named.add(&digest.manifests);
            tracing::warn!("{}: made by another machine: the chain goes on from it", name.key(&self.run.setup.prefix));
            (chain.head, chain.made_at) = (Some(head_of(&digest, &bytes)), self.run.now());
        }
        self.report_surplus(chain, listed.digests.len())?;
        if head == chain.head.as_ref().map(|head| Name { day: head.day, number: head.number }) {
            return Ok(());
        }
        // What was covered here is off the list before what the others name.
        self.run.state.hours.digests.undigested(Some(chain))?;
        self.keep_unnamed(&named)?;
        chain.covered = None;
        self.run.state.hours.digests.record(chain)
    }

    /// Reports digests that are gone, or were put there by another: once for each change of their number.
    fn report_surplus(&mut self, chain: &mut Chain, there: usize) -> Result<()> {
        let expected = chain.head.as_ref().map_or(0, |head| head.serial + 1);
        let surplus = i64::try_from(there).unwrap_or(i64::MAX) - i64::try_from(expected).unwrap_or(i64::MAX);
        if surplus == std::mem::replace(&mut chain.surplus, surplus) {
            return Ok(());
        }
        self.run.state.hours.digests.record(chain)?;
        if surplus == 0 {
            return Ok(());
        }
        let what = format!("the chain has {expected} digests, the store {there}");
        let hint = "`etl verify --digests` names those that are missing or foreign; new ones are made all the same";
        self.run.record_or_fail(Error::new(ErrorKind::Mismatch, what).hint(hint))
    }

    pub(super) fn link(&self, head: &Head) -> Link {
        let name = Name { day: head.day, number: head.number };
        Link { key: name.key(&self.run.setup.prefix), sha256: head.sha256.clone() }
    }

    /// A digest in the store; with a key to sign by, one that is signed by it.
    fn read(&self, name: Name) -> Result<(Digest, Vec<u8>)> {
        let (store, prefix) = (&*self.run.setup.store, &self.run.setup.prefix);
        let key = name.key(prefix);
        let bytes = store.get(&key)?;
        let Some(digest) = Digest::parse(&bytes, name) else {
            return Err(broken(&key, "the object is not the digest that its name says"));
        };
        if let Some(signer) = &self.signer {
            // What it is taken over into is signed, and vouches for it.
            let signature = match store.get(&name.signature_key(prefix)) {
                Err(error) if error.kind() != ErrorKind::Mismatch => return Err(error),
                signature => signature.unwrap_or_default(),
            };
            if signer.public().check(&bytes, &signature).is_err() {
                let what = format!("{key}: it is not signed by load.sign_key, so the chain does not go on from it");
                let hint = "if you know that it is yours, sign it (`minisign -S -s KEY -m FILE -x FILE.minisig`), or run once without load.sign_key";
                return Err(Error::new(ErrorKind::Mismatch, what).hint(hint));
            }
        }
        Ok((digest, bytes))
    }

    /// Lists the manifests in the store that no digest names, and takes those off the list that one does.
    fn survey(&mut self, listed: &Listed) -> Result<()> {
        let mut named = Named::default();
        for names in listed.digests.chunks(AT_ONCE) {
            let this = &*self;
            for read in parallel_map(names, self.run.setup.uploads, |name| this.named_by(*name)) {
                named.add(&read?);
            }
            self.check_stop()?;
        }
        let (layout, prefix) = (&self.run.setup.layout, &self.run.setup.prefix);
        let mut unnamed = Vec::new();
        self.run.setup.store.list(&manifest_prefix(prefix), &mut |key, _| {
            unnamed.extend(layout.parse_manifest_key(prefix, key).filter(|_| !named.contains(key)));
            Ok(())
        })?;
        for some in unnamed.chunks(AT_ONCE) {
            let setup = self.run.setup;
            let read = |(hour, part): &(_, u32)| {
                let bytes = setup.store.get(&setup.layout.manifest_key(&setup.prefix, *hour, *part))?;
                Ok(Undigested { hour: *hour, part: *part, sha256: Sha256::of(bytes) })
            };
            let found = parallel_map(some, setup.uploads, read).into_iter().collect::<Result<Vec<_>>>()?;
            self.run.state.hours.digests.note(&found)?;
            self.check_stop()?;
        }
        self.keep_unnamed(&named)
    }

    /// What a digest names. One that is damaged names nothing: `etl verify --digests` tells of it.
    fn named_by(&self, name: Name) -> Result<Vec<Link>> {
        let bytes = self.run.setup.store.get(&name.key(&self.run.setup.prefix))?;
        let digest = Digest::parse(&bytes, name);
        Ok(digest.map(|digest| digest.manifests).unwrap_or_default())
    }

    fn keep_unnamed(&mut self, named: &Named) -> Result<()> {
        let mut left = self.run.state.hours.digests.undigested(None)?;
        let (layout, prefix) = (&self.run.setup.layout, &self.run.setup.prefix);
        left.retain(|one| !named.contains(&layout.manifest_key(prefix, one.hour, one.part)));
        self.run.state.hours.digests.keep_only(&left)
    }

    fn check_stop(&self) -> Result<()> {
        if self.run.is_stopped() {
            return Err(Error::new(
                ErrorKind::Unavailable,
                "the manifests are not compared with the digests: the run was to stop",
            ));
        }
        Ok(())
    }
}

/// What a digest with these bytes is in the chain.
pub(super) fn head_of(digest: &Digest, bytes: &[u8]) -> Head {
    let Digest { day, number, serial, .. } = *digest;
    Head { day, number, serial, sha256: Sha256::of(bytes).to_string() }
}
