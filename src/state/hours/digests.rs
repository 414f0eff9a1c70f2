//! Digests: the manifests that none names yet, and how far the chain is.
//!
//! ```text
//! digests/chain          the newest digest that has its receipt, and which of the listed manifests it and those before it cover
//! digests/next           the digest that is being published: its bytes are fixed before its first PUT
//! digests/<16 digits>    manifests, a line each, noted before the receipts of their parts
//! ```
//! Each behind a line with its checksum, replaced as a whole. Digests cover the listed manifests in their order, so one position says
//! which are covered; those are left out when the list is written anew. A crash in between leaves them listed, and covered. What is
//! damaged costs only itself: without `chain` the store is asked what its newest digest is, and a damaged list is set aside.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::error::Result;
use crate::hour::Hour;
use crate::output::draft::Survives;
use crate::state::files::step::{Step, durable_step};
use crate::state::files::{checked, damage, durable};

/// A manifest that no digest names yet. In the order in which digests name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Undigested {
    pub(crate) hour: Hour,
    pub(crate) part: u32,
    pub(crate) sha256: Sha256,
}

/// A digest in the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) day: Date,
    /// 0 for the digest of the day, above that for a backfill.
    pub(crate) number: u32,
    /// How many digests are before it.
    pub(crate) serial: u64,
    pub(crate) sha256: String,
}

/// How far the chain is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Chain {
    /// Where it is: a chain of another store is none of this one.
    pub(crate) store: String,
    /// From this day on, a day without manifests gets a digest too.
    pub(crate) live_since: Date,
    /// When the newest digest got its receipt.
    pub(crate) made_at: Timestamp,
    /// The newest digest. `None`: there is none yet.
    pub(crate) head: Option<Head>,
    /// What it and those before it cover of the list.
    pub(crate) covered: Option<Position>,
    /// How many digests more than these the store had when they were counted last; less than none where some are gone.
    #[serde(default)]
    pub(crate) surplus: i64,
}

/// A place in the list: everything in lists up to `list`, up to this manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    list: u64,
    hour: Hour,
    part: u32,
}

/// A digest whose content is fixed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fixed {
    /// What it will be in the chain.
    pub(crate) head: Head,
    /// What it covers of the list. `None`: nothing more than the one before.
    pub(crate) covers: Option<Position>,
    /// Its bytes.
    pub(crate) text: String,
}

/// What the state directory has about digests.
#[derive(Debug)]
pub(crate) struct Digests {
    dir: PathBuf,
    /// The numbers of the lists, once they were looked up.
    lists: Option<Vec<u64>>,
}

impl Digests {
    /// Those below the state directory. Nothing is read yet.
    pub(crate) fn at(state: &Path) -> Self {
        Self { dir: state.join("digests"), lists: None }
    }

    /// How far the chain in `store` is. `None`: not known here.
    pub(crate) fn chain(&self, store: &str) -> Result<Option<Chain>> {
        let chain: Option<Chain> = checked::read_json(&self.dir.join("chain"))?;
        Ok(chain.filter(|chain| chain.store == store))
    }

    /// Records how far the chain is.
    pub(crate) fn record(&self, chain: &Chain) -> Result<()> {
        durable::make_dir(&self.dir)?;
        durable_step(Step::DigestReceipted, || {
            checked::write_json(&self.dir.join("chain"), chain, Survives::Everything)
        })
    }

    /// The digest whose content was fixed last.
    pub(crate) fn fixed(&self) -> Result<Option<Fixed>> {
        checked::read_json(&self.dir.join("next"))
    }

    /// Fixes the content of a digest: it is never another, whatever happens.
    pub(crate) fn fix(&self, fixed: &Fixed) -> Result<()> {
        durable::make_dir(&self.dir)?;
        durable_step(Step::DigestFixed, || checked::write_json(&self.dir.join("next"), fixed, Survives::Everything))
    }

    /// Forgets the digest that was fixed last: it has its receipt. Where it comes back, it does not follow the chain's newest.
    pub(crate) fn forget_fixed(&self) -> Result<()> {
        durable::remove(&self.dir.join("next"))
    }

    /// Lists manifests. Durable on return.
    pub(crate) fn note(&mut self, manifests: &[Undigested]) -> Result<()> {
        if manifests.is_empty() {
            return Ok(());
        }
        durable::make_dir(&self.dir)?;
        let number = self.lists()?.last().map_or(1, |last| last + 1);
        let path = self.list_path(number);
        durable_step(Step::ManifestsNoted, || checked::write(&path, &lines(manifests), Survives::Everything))?;
        self.lists.get_or_insert_default().push(number);
        Ok(())
    }

    /// Whether nothing is listed.
    pub(crate) fn lists_nothing(&mut self) -> Result<bool> {
        self.lists().map(<[u64]>::is_empty)
    }

    /// The listed manifests that `chain` does not cover, in their order, each once. What it covers is taken off the list, so that the
    /// next position covers nothing of it. A damaged list is set aside.
    pub(crate) fn undigested(&mut self, chain: Option<&Chain>) -> Result<Vec<Undigested>> {
        let (mut found, mut listed) = (Vec::new(), 0);
        for number in self.lists()?.to_vec() {
            let path = self.list_path(number);
            let Some(text) = checked::read(&path)? else {
                damage::set_aside(Step::FileSetAside, &path, "damaged")?;
                tracing::warn!(
                    "{} is damaged: no digest names its manifests until `etl replay --from-s3`",
                    path.display()
                );
                continue;
            };
            let covered = chain.and_then(|chain| chain.covered).filter(|covered| number <= covered.list);
            let is_covered = |one: &Undigested| covered.is_some_and(|to| (one.hour, one.part) <= (to.hour, to.part));
            found.extend(parse_lines(&text).inspect(|_| listed += 1).filter(|one| !is_covered(one)));
        }
        let is_left = listed == found.len();
        found.sort_by_key(|one| (one.hour, one.part));
        found.dedup_by_key(|one| (one.hour, one.part));
        if !is_left {
            self.keep_only(&found)?;
        }
        Ok(found)
    }

    /// The place of `last` in all that is listed now.
    pub(crate) fn position(&mut self, last: &Undigested) -> Result<Position> {
        let list = self.lists()?.last().copied().unwrap_or(0);
        Ok(Position { list, hour: last.hour, part: last.part })
    }

    /// Writes the list anew with only `left` in it. A crash leaves manifests listed twice, or covered ones: both are left out later.
    pub(crate) fn keep_only(&mut self, left: &[Undigested]) -> Result<()> {
        let old = self.lists()?.to_vec();
        let Some(newest) = old.last() else { return self.note(left) };
        let mut lists = Vec::new();
        if !left.is_empty() {
            checked::write(&self.list_path(newest + 1), &lines(left), Survives::Everything)?;
            lists.push(newest + 1);
        }
        // The newest last: its number must not be used again while the chain covers it.
        for number in old.iter().take(if left.is_empty() { old.len() - 1 } else { old.len() }) {
            durable::remove(&self.list_path(*number))?;
        }
        if left.is_empty() {
            checked::write(&self.list_path(*newest), b"", Survives::Everything)?;
            lists.push(*newest);
        }
        self.lists = Some(lists);
        Ok(())
    }

    fn list_path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:016}"))
    }

    fn lists(&mut self) -> Result<&[u64]> {
        if self.lists.is_none() {
            let mut lists = Vec::new();
            if self.dir.is_dir() {
                durable::remove_leftovers(&self.dir)?;
                let is_number = |name: &&String| name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_digit());
                let names = durable::names(&self.dir)?;
                lists = names.iter().filter(is_number).filter_map(|name| name.parse().ok()).collect();
            }
            self.lists = Some(lists);
        }
        Ok(self.lists.as_deref().unwrap_or_default())
    }
}

/// The newest digest that the state directory `state` made in `store`. Takes no lock: a run may go on beside.
pub(crate) fn newest_digest(state: &Path, store: &str) -> Result<Option<Head>> {
    Ok(Digests::at(state).chain(store)?.and_then(|chain| chain.head))
}

fn lines(manifests: &[Undigested]) -> Vec<u8> {
    let line = |one: &Undigested| format!("{} {} {}\n", one.hour, one.part, one.sha256);
    manifests.iter().map(line).collect::<String>().into_bytes()
}

fn parse_lines(text: &[u8]) -> impl Iterator<Item = Undigested> {
    text.split(|byte| *byte == b'\n').filter_map(|line| parse_line(std::str::from_utf8(line).ok()?))
}

fn parse_line(line: &str) -> Option<Undigested> {
    let mut words = line.split(' ');
    let (hour, part, sha256) = (words.next()?, words.next()?, words.next()?);
    Some(Undigested { hour: hour.parse().ok()?, part: part.parse().ok()?, sha256: Sha256::parse(sha256)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(hour: &str, part: u32) -> Undigested {
        Undigested { hour: hour.parse().unwrap(), part, sha256: Sha256::of(format!("{hour}/{part}")) }
    }

    fn chain(covered: Position) -> Chain {
        let live_since = "2023-03-10".parse().unwrap();
        Chain {
            store: "s".into(),
            live_since,
            made_at: Timestamp::UNIX_EPOCH,
            head: None,
            covered: Some(covered),
            surplus: 0,
        }
    }

    #[test]
    fn listed_manifests_come_back_in_order_and_once() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b, c) = (manifest("2023-03-10T01", 0), manifest("2023-03-10T01", 1), manifest("2023-03-11T00", 0));
        let mut digests = Digests::at(dir.path());
        assert!(digests.lists_nothing().unwrap());
        digests.note(&[c, a]).unwrap();
        digests.note(&[b, a]).unwrap();
        assert_eq!(Digests::at(dir.path()).undigested(None).unwrap(), [a, b, c]);
    }

    #[test]
    fn covered_manifests_are_left_out_and_one_that_is_noted_later_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b, c) = (manifest("2023-03-10T01", 0), manifest("2023-03-10T05", 0), manifest("2023-03-11T00", 0));
        let mut digests = Digests::at(dir.path());
        digests.note(&[a, b, c]).unwrap();
        let chain = chain(digests.position(&b).unwrap());
        assert_eq!(digests.undigested(Some(&chain)).unwrap(), [c]);
        assert_eq!(digests.undigested(None).unwrap(), [c], "what is covered is off the list");
        let late = manifest("2023-03-10T02", 0);
        digests.note(&[late]).unwrap();
        assert_eq!(digests.undigested(Some(&chain)).unwrap(), [late, c]);
        digests.keep_only(&[]).unwrap();
        digests.note(&[late]).unwrap();
        assert_eq!(Digests::at(dir.path()).undigested(Some(&chain)).unwrap(), [late], "a number is not used again");
    }

    #[test]
    fn list_that_was_written_anew_is_the_same_whatever_of_the_old_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b, c) = (manifest("2023-03-10T01", 0), manifest("2023-03-10T05", 0), manifest("2023-03-11T00", 0));
        let mut digests = Digests::at(dir.path());
        digests.note(&[a]).unwrap();
        digests.note(&[b, c]).unwrap();
        let old = std::fs::read(digests.list_path(2)).unwrap();
        let chain = chain(digests.position(&b).unwrap());
        digests.keep_only(&[c]).unwrap();
        assert!(!digests.list_path(2).exists());
        std::fs::write(digests.list_path(2), old).unwrap();
        assert_eq!(Digests::at(dir.path()).undigested(Some(&chain)).unwrap(), [c]);
    }

    #[test]
    fn damage_costs_only_itself() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (manifest("2023-03-10T01", 0), manifest("2023-03-10T05", 0));
        let mut digests = Digests::at(dir.path());
        digests.note(&[a]).unwrap();
        digests.note(&[b]).unwrap();
        std::fs::write(digests.list_path(1), "garbage").unwrap();
        std::fs::write(dir.path().join("digests/chain"), "garbage").unwrap();
        assert_eq!(digests.chain("s").unwrap(), None);
        assert_eq!(Digests::at(dir.path()).undigested(None).unwrap(), [b]);
        assert_eq!(Digests::at(dir.path()).undigested(None).unwrap(), [b]);
    }

    #[test]
    fn chain_of_another_store_is_not_this_one_s() {
        let dir = tempfile::tempdir().unwrap();
        let mut digests = Digests::at(dir.path());
        let a = manifest("2023-03-10T01", 0);
        digests.note(&[a]).unwrap();
        let chain = chain(digests.position(&a).unwrap());
        digests.record(&chain).unwrap();
        assert_eq!(digests.chain("s").unwrap(), Some(chain));
        assert_eq!(digests.chain("another").unwrap(), None);
    }
}
