//! The quarantine: tokens that are no record (yet), with their bytes and the reason. Never dropped, never evaluated.
//!
//! ```text
//! quarantine/<segment>.<tokens>.<due or ->     JSON lines behind a line with their BLAKE3 checksum, one file a segment
//! quarantine/ring                              which key ring tried them last
//! ```
//! The name says how many tokens a file holds and when the first of them comes due (seconds since 1970, for records of
//! the future), so that counting and looking for due ones reads no file. A segment's tokens are durable here before its
//! commit; a crash in between leaves a file that the replay of the same segment replaces. A token leaves only after the page
//! that it became was committed; a crash in between finds its record known, and lets it go.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::lifecycle::{Step, durable_step};
use crate::state::{Roll, durable};

/// A token that is no record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OddToken {
    /// Hash of the plaintext, else of the token, hex: only a new identity is news.
    pub identity: String,
    /// A stable code of the reason.
    pub reason: String,
    /// The reason for people.
    pub detail: String,
    /// The token, or the element's JSON text where it has none.
    pub token: String,
    /// When it was received.
    pub received: Timestamp,
    /// When its time comes, for a record of the future.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Batch {
    tokens: u64,
    due: Option<i64>,
}

/// The quarantine's directory.
#[derive(Debug)]
pub struct Quarantine {
    dir: PathBuf,
    batches: BTreeMap<u64, Batch>,
    /// Which segment's file holds an identity; read when the first odd token of a run comes.
    identities: Option<BTreeMap<String, u64>>,
    /// Which files must be there at the next start.
    roll: Roll,
    /// Files that were set aside as damaged.
    damaged: Vec<Error>,
}

impl Quarantine {
    /// Opens the quarantine below the state directory.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn open(state: &Path) -> Result<Self> {
        let dir = state.join("quarantine");
        durable::make_dir(&dir)?;
        durable::remove_leftovers(&dir)?;
        let roll = Roll::open(state, "quarantined")?;
        let mut quarantine = Self { dir, batches: BTreeMap::new(), identities: None, roll, damaged: Vec::new() };
        for name in durable::names(&quarantine.dir)? {
            if let Some((segment, batch)) = parse_name(&name) {
                quarantine.take(segment, batch)?;
            }
        }
        Ok(quarantine)
    }

    /// Takes a file over. A crash while one replaced another leaves both: the one with fewer tokens came later.
    fn take(&mut self, segment: u64, batch: Batch) -> Result<()> {
        match self.batches.insert(segment, batch) {
            Some(other) if other != batch => {
                let (keep, stale) = if other.tokens < batch.tokens { (other, batch) } else { (batch, other) };
                self.batches.insert(segment, keep);
                durable::remove(&self.path(segment, stale))
            }
            _ => Ok(()),
        }
    }

    /// What was there at the end of the last run and is gone, said once.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn vanished(&mut self) -> Result<Option<Error>> {
        let there = |segment: &u64| self.batches.get(segment).map_or(0, |batch| batch.tokens);
        let gone = self.roll.names().iter().map(|(segment, tokens)| tokens.saturating_sub(there(segment)));
        let gone: u64 = gone.sum();
        self.call_roll()?;
        let what = format!("{gone} quarantined tokens are gone from {}", self.dir.display());
        let hint = "restore the directory from a backup if there is one; this is said once";
        Ok((gone > 0).then(|| Error::new(ErrorKind::State, what).hint(hint)))
    }

    /// The files that were set aside as damaged since this was asked last.
    pub fn take_damaged(&mut self) -> Vec<Error> {
        std::mem::take(&mut self.damaged)
    }

    fn call_roll(&mut self) -> Result<()> {
        let names = self.batches.iter().map(|(segment, batch)| (*segment, batch.tokens)).collect();
        self.roll.call(names)
    }

    /// Sets a damaged file aside: its tokens are lost to the quarantine, the others go on.
    fn set_aside(&mut self, segment: u64, batch: Batch, damage: &Error) -> Result<()> {
        let path = self.path(segment, batch);
        let aside = path.with_added_extension("damaged");
        self.batches.remove(&segment);
        if path.exists() {
            durable_step(Step::FileSetAside, || durable::rename(&path, &aside))?;
        }
        // Only now: after a crash in between, the next start misses it.
        self.call_roll()?;
        let what = format!("{}, with {} quarantined tokens", damage.chain(), batch.tokens);
        let hint = format!("it was set aside as {}; restore it from a backup to have its tokens back", aside.display());
        self.damaged.push(Error::new(ErrorKind::State, what).hint(hint));
        Ok(())
    }

    /// Tokens in it.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.batches.values().map(|b| b.tokens).sum()
    }

    /// The newest segment that has tokens here.
    #[must_use]
    pub fn newest_segment(&self) -> u64 {
        self.batches.last_key_value().map_or(0, |(segment, _)| *segment)
    }

    /// The segments with tokens here; with `due_by`, only those with one that is due by then.
    #[must_use]
    pub fn segments(&self, due_by: Option<Timestamp>) -> Vec<u64> {
        let due = |batch: &Batch| due_by.is_none_or(|now| batch.due.is_some_and(|due| due <= now.as_second()));
        self.batches.iter().filter(|(_, batch)| due(batch)).map(|(segment, _)| *segment).collect()
    }

    /// Keeps the odd tokens of a segment, and says how many of them are new here. Durable on return.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn add(&mut self, segment: u64, tokens: Vec<OddToken>) -> Result<u64> {
        let known = self.identities()?;
        let mut fresh: Vec<OddToken> = Vec::new();
        for token in tokens {
            let elsewhere = known.get(&token.identity).is_some_and(|s| *s != segment);
            if !elsewhere && !fresh.iter().any(|t| t.identity == token.identity) {
                fresh.push(token);
            }
        }
        if !fresh.is_empty() {
            durable_step(Step::TokensQuarantined, || self.replace(segment, &fresh))?;
        }
        Ok(fresh.len() as u64)
    }

    /// The tokens of a segment. A damaged file is set aside, named by [`Quarantine::take_damaged`], and holds none.
    ///
    /// # Errors
    /// `State`, naming the path: unreadable.
    pub fn tokens(&mut self, segment: u64) -> Result<Vec<OddToken>> {
        let Some(batch) = self.batches.get(&segment).copied() else {
            return Ok(Vec::new());
        };
        let path = self.path(segment, batch);
        let text = durable::read(&path)?.unwrap_or_default();
        match Self::decode(&path, &text) {
            Ok(tokens) => Ok(tokens),
            Err(damage) => self.set_aside(segment, batch, &damage).map(|()| Vec::new()),
        }
    }

    fn decode(path: &Path, text: &[u8]) -> Result<Vec<OddToken>> {
        let unreadable = |e| Error::new(ErrorKind::State, format!("cannot read {}", path.display())).caused_by(e);
        let lines = durable::open_text(path, text)?.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).map_err(unreadable)).collect()
    }

    /// Leaves only `rest` of a segment's tokens.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn release(&mut self, segment: u64, rest: &[OddToken]) -> Result<()> {
        durable_step(Step::QuarantineReleased, || self.replace(segment, rest))
    }

    /// Whether another key ring than `ring` tried the tokens last.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn ring_changed(&self, ring: &str) -> Result<bool> {
        Ok(durable::read(&self.dir.join("ring"))?.is_none_or(|known| known != ring.as_bytes()))
    }

    /// Records the key ring that tried the tokens last.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn record_ring(&self, ring: &str) -> Result<()> {
        durable_step(Step::RingRecorded, || durable::replace(&self.dir.join("ring"), ring.as_bytes()))
    }

    fn replace(&mut self, segment: u64, tokens: &[OddToken]) -> Result<()> {
        let old = self.batches.get(&segment).copied();
        let due = tokens.iter().filter_map(|t| t.due).min().map(Timestamp::as_second);
        let batch = Batch { tokens: tokens.len() as u64, due };
        if tokens.is_empty() {
            self.batches.remove(&segment);
        } else {
            self.batches.insert(segment, batch);
        }
        // A crash on the way must not make anyone miss what was let go.
        let fewer = old.is_some_and(|old| batch.tokens < old.tokens);
        if fewer {
            self.call_roll()?;
        }
        if !tokens.is_empty() {
            durable::replace(&self.path(segment, batch), &encode(tokens)?)?;
        }
        if !fewer {
            self.call_roll()?;
        }
        if let Some(old) = old.filter(|old| *old != batch || tokens.is_empty()) {
            durable::remove(&self.path(segment, old))?;
            durable::sync_dir(&self.dir)?;
        }
        if let Some(identities) = &mut self.identities {
            identities.retain(|_, s| *s != segment);
            identities.extend(tokens.iter().map(|t| (t.identity.clone(), segment)));
        }
        Ok(())
    }

    fn identities(&mut self) -> Result<&BTreeMap<String, u64>> {
        if self.identities.is_none() {
            let mut all = BTreeMap::new();
            for segment in self.segments(None) {
                all.extend(self.tokens(segment)?.into_iter().map(|t| (t.identity, segment)));
            }
            self.identities = Some(all);
        }
        Ok(self.identities.get_or_insert_default())
    }

    fn path(&self, segment: u64, batch: Batch) -> PathBuf {
        let due = batch.due.map_or_else(|| "-".to_owned(), |due| due.to_string());
        self.dir.join(format!("{segment:016}.{}.{due}", batch.tokens))
    }
}

/// Hands every token below the state directory to `each`, oldest page first, without the lock: also while a run goes on,
/// whose changes may then be seen in part.
///
/// # Errors
/// `State`, naming the path: unreadable or damaged; and whatever `each` returns.
pub fn look(state: &Path, each: &mut dyn FnMut(OddToken) -> Result<()>) -> Result<()> {
    let dir = state.join("quarantine");
    if !dir.try_exists().map_err(|e| Error::disk("look at", &dir, e))? {
        return Ok(());
    }
    let mut quarantine =
        Quarantine { dir, batches: BTreeMap::new(), identities: None, roll: Roll::default(), damaged: Vec::new() };
    quarantine.look_around()?;
    let segments = quarantine.segments(None);
    segments
        .into_iter()
        .flat_map(|segment| quarantine.peek(segment).transpose())
        .try_for_each(|tokens| tokens?.into_iter().try_for_each(&mut *each))
}

impl Quarantine {
    /// Takes note of the files that are there, and changes none.
    fn look_around(&mut self) -> Result<()> {
        let names = durable::names(&self.dir)?;
        self.batches.clear();
        for (segment, batch) in names.iter().filter_map(|name| parse_name(name)) {
            let known = self.batches.entry(segment).or_insert(batch);
            if batch.tokens < known.tokens {
                *known = batch;
            }
        }
        Ok(())
    }

    /// The tokens of a segment; `None` where they left meanwhile.
    fn peek(&mut self, segment: u64) -> Result<Option<Vec<OddToken>>> {
        while let Some(batch) = self.batches.get(&segment).copied() {
            let path = self.path(segment, batch);
            if let Some(text) = durable::read(&path)? {
                return Self::decode(&path, &text).map(Some);
            }
            self.look_around()?;
        }
        Ok(None)
    }
}

fn parse_name(name: &str) -> Option<(u64, Batch)> {
    let mut fields = name.splitn(3, '.');
    let segment = fields.next()?.parse().ok()?;
    let tokens = fields.next()?.parse().ok()?;
    let due = match fields.next()? {
        "-" => None,
        due => Some(due.parse().ok()?),
    };
    Some((segment, Batch { tokens, due }))
}

fn encode(tokens: &[OddToken]) -> Result<Vec<u8>> {
    let mut lines = Vec::new();
    for token in tokens {
        serde_json::to_writer(&mut lines, token)
            .map_err(|e| Error::new(ErrorKind::Bug, "cannot encode a quarantined token").caused_by(e))?;
        lines.push(b'\n');
    }
    Ok(durable::seal_text(&lines))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn odd(identity: &str, due: Option<i64>) -> OddToken {
        OddToken {
            identity: identity.into(),
            reason: "wrong-key".into(),
            detail: "no key opens it".into(),
            token: "gAAAA".into(),
            received: "2023-03-10T01:00:00Z".parse().unwrap(),
            due: due.map(|s| Timestamp::from_second(s).unwrap()),
        }
    }

    #[test]
    fn only_a_new_identity_is_news() {
        let dir = tempfile::tempdir().unwrap();
        let mut quarantine = Quarantine::open(dir.path()).unwrap();
        assert_eq!(quarantine.add(1, vec![odd("a", None), odd("b", None), odd("a", None)]).unwrap(), 2);
        assert_eq!(quarantine.add(2, vec![odd("b", None)]).unwrap(), 0);
        let mut again = Quarantine::open(dir.path()).unwrap();
        assert_eq!(again.count(), 2);
        assert_eq!(again.add(3, vec![odd("a", None), odd("c", None)]).unwrap(), 1);
    }

    #[test]
    fn replay_of_the_same_segment_is_the_same_news() {
        let dir = tempfile::tempdir().unwrap();
        Quarantine::open(dir.path()).unwrap().add(1, vec![odd("a", None)]).unwrap();
        let mut again = Quarantine::open(dir.path()).unwrap();
        assert_eq!(again.add(1, vec![odd("a", None)]).unwrap(), 1);
        assert_eq!(again.count(), 1);
    }

    #[test]
    fn tokens_come_due_and_leave() {
        let dir = tempfile::tempdir().unwrap();
        let mut quarantine = Quarantine::open(dir.path()).unwrap();
        quarantine.add(7, vec![odd("a", Some(200)), odd("b", None), odd("c", Some(100))]).unwrap();
        assert!(quarantine.segments(Some(Timestamp::from_second(99).unwrap())).is_empty());
        assert_eq!(quarantine.segments(Some(Timestamp::from_second(100).unwrap())), [7]);
        let rest: Vec<_> = quarantine.tokens(7).unwrap().into_iter().filter(|t| t.identity != "c").collect();
        quarantine.release(7, &rest).unwrap();
        let mut quarantine = Quarantine::open(dir.path()).unwrap();
        assert_eq!((quarantine.count(), quarantine.tokens(7).unwrap().len()), (2, 2));
        quarantine.release(7, &[]).unwrap();
        assert_eq!(Quarantine::open(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn crash_between_new_and_old_file_counts_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut quarantine = Quarantine::open(dir.path()).unwrap();
        quarantine.add(7, vec![odd("a", None), odd("b", None)]).unwrap();
        let old = quarantine.path(7, quarantine.batches[&7]);
        let bytes = std::fs::read(&old).unwrap();
        quarantine.release(7, &[odd("b", None)]).unwrap();
        std::fs::write(&old, bytes).unwrap();
        assert_eq!(Quarantine::open(dir.path()).unwrap().count(), 1);
    }
}
