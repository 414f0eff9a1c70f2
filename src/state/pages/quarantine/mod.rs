//! The quarantine: tokens that are no record (yet), with their bytes and the reason. Never dropped, never evaluated.
//!
//! ```text
//! quarantine/<segment>.<tokens>.<due or ->     JSON lines behind a line with their BLAKE3 checksum, one file a segment
//! quarantine/….ids                             their identities, sorted: see `identity`
//! quarantine/merging                           which files become one: see `merge`
//! quarantine/reasons                           how many there are of each reason: see `reasons`
//! quarantine/ring                              which key ring tried them last
//! ```
//! The name says how many tokens a file holds and when the first of them comes due (seconds since 1970, for records of
//! the future), so that counting and looking for due ones reads no file, and one odd token more is looked up in a few reads,
//! however many there are. A segment's tokens are durable here before its commit; a crash in between leaves a file that the
//! replay of the same segment replaces. A token leaves only after the page that it became was committed; a crash in between
//! finds its record known, and lets it go. Everything here takes time in proportion to the tokens, and memory that does not
//! grow with them.

mod identity;
mod merge;
mod reasons;
mod tokens;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

pub use identity::{Identity, share_bits};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
pub use tokens::Tokens;
use tokens::{Opened, TokenWriter};

use crate::error::{Error, ErrorKind, Result};
use crate::state::files::durable;
use crate::state::files::step::Step;
use crate::state::files::step::durable_step;
use crate::state::{HashArray, Roll};

/// The most identities of a file that are held until it is written: of a file with more they are read back from it.
const HELD: usize = 1 << 22;

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
    /// How `token` holds bytes that are no text; absent where it is the text itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
    /// When it was received.
    pub received: Timestamp,
    /// When its time comes, for a record of the future.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
}

/// How bytes that are no text are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// As standard base64.
    Base64,
}

impl OddToken {
    /// Its identity, as it is looked up.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity.parse().unwrap_or_else(|_| Identity::of(self.identity.as_bytes()))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Batch {
    tokens: u64,
    due: Option<i64>,
    bytes: u64,
}

impl Batch {
    fn has_name_of(&self, other: &Self) -> bool {
        (self.tokens, self.due) == (other.tokens, other.due)
    }
}

/// What came of adding tokens.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// Tokens that are new here, by reason.
    pub reasons: BTreeMap<String, u64>,
    /// There is no room for them: none was added.
    pub is_full: bool,
}

impl Added {
    /// Tokens that are new here.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.reasons.values().sum()
    }
}

/// The quarantine's directory.
#[derive(Debug)]
pub struct Quarantine {
    dir: PathBuf,
    batches: BTreeMap<u64, Batch>,
    /// The identities of a segment's file: opened when they are first asked.
    arrays: BTreeMap<u64, HashArray>,
    /// Which files must be there at the next start.
    roll: Roll,
    /// Files that were set aside as damaged.
    damaged: Vec<Error>,
    /// Bytes that it may have; 0: any number.
    max_bytes: u64,
    /// How many there are of each reason; `None`: to be counted anew.
    reasons: Option<BTreeMap<String, u64>>,
}

impl Quarantine {
    fn at(state: &Path, roll: Roll) -> Self {
        Self {
            dir: state.join("quarantine"),
            batches: BTreeMap::new(),
            arrays: BTreeMap::new(),
            roll,
            damaged: Vec::new(),
            max_bytes: 0,
            reasons: None,
        }
    }

    /// Opens the quarantine below the state directory.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn open(state: &Path) -> Result<Self> {
        let mut quarantine = Self::at(state, Roll::open(state, "quarantined")?);
        durable::make_dir(&quarantine.dir)?;
        durable::remove_leftovers(&quarantine.dir)?;
        merge::finish(&quarantine.dir)?;
        let names = durable::names(&quarantine.dir)?;
        for (segment, batch) in names.iter().filter_map(|name| parse_name(name)) {
            quarantine.take(segment, batch)?;
        }
        for (segment, batch) in &mut quarantine.batches {
            batch.bytes = std::fs::metadata(path(&quarantine.dir, *segment, *batch)).map_or(0, |meta| meta.len());
        }
        quarantine.remove_stray_arrays(&names)?;
        quarantine.reasons = reasons::read(&quarantine.dir, quarantine.count())?;
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

    fn remove_stray_arrays(&self, names: &[String]) -> Result<()> {
        for name in names {
            let Some(file) = name.strip_suffix(identity::ENDING).and_then(|name| name.strip_suffix('.')) else {
                continue;
            };
            let is_there = parse_name(file).is_some_and(|(segment, batch)| {
                self.batches.get(&segment).is_some_and(|known| known.has_name_of(&batch))
            });
            if !is_there {
                durable::remove(&self.dir.join(name))?;
            }
        }
        Ok(())
    }

    /// Bytes that it may have from now on; 0: any number.
    pub const fn cap(&mut self, max_bytes: u64) {
        self.max_bytes = max_bytes;
    }

    /// Whether nothing more has room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.max_bytes > 0 && self.bytes() >= self.max_bytes
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
        self.arrays.remove(&segment);
        self.reasons = None;
        durable::remove(&identity::array_path(&path))?;
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

    /// Bytes of its files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.batches.values().map(|b| b.bytes).sum()
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

    /// Begins to keep the odd tokens of a segment: those that it had are replaced.
    pub fn begin(&mut self, segment: u64) -> Adding<'_> {
        let kept = Kept { target: self.dir.join(format!("{segment:016}")), file: None, identities: Vec::new() };
        Adding { quarantine: self, segment, seen: HashSet::new(), kept, added: Added::default() }
    }

    /// Keeps these odd tokens of a segment, and says how many of them are new here. Durable on return.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn add(&mut self, segment: u64, tokens: impl IntoIterator<Item = OddToken>) -> Result<Added> {
        let mut adding = self.begin(segment);
        tokens.into_iter().try_for_each(|token| adding.push(&token))?;
        adding.finish()
    }

    /// The tokens of a segment. `None`: it has none. A damaged file is set aside, and named by [`Quarantine::take_damaged`].
    ///
    /// # Errors
    /// `State`, naming the path: unreadable.
    pub fn tokens(&mut self, segment: u64) -> Result<Option<Tokens>> {
        let Some(batch) = self.batches.get(&segment).copied() else { return Ok(None) };
        let path = self.path(segment, batch);
        match Tokens::open(&path)? {
            Opened::Whole(tokens) => Ok(Some(tokens)),
            Opened::Damaged(damage) => self.set_aside(segment, batch, &damage).map(|()| None),
            Opened::Absent => {
                let gone = Error::new(ErrorKind::State, format!("{} is gone", path.display()));
                self.set_aside(segment, batch, &gone).map(|()| None)
            }
        }
    }

    /// Lets those of a segment's tokens go that `keep` says no to, and says how many they were. At a stop all stay.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn release(
        &mut self,
        segment: u64,
        keep: &mut dyn FnMut(&OddToken) -> bool,
        stop: &dyn Fn() -> bool,
    ) -> Result<u64> {
        let Some(tokens) = self.tokens(segment)? else { return Ok(0) };
        let mut kept = Kept { target: self.dir.join(format!("{segment:016}")), file: None, identities: Vec::new() };
        let mut gone = BTreeMap::new();
        for token in tokens {
            if stop() {
                return Ok(0);
            }
            let token = token?;
            if keep(&token) {
                kept.push(&token)?;
            } else {
                *gone.entry(token.reason).or_default() += 1;
            }
        }
        if !gone.is_empty() {
            durable_step(Step::QuarantineReleased, || self.put(segment, kept))?;
            self.count_reasons(&BTreeMap::new(), &gone)?;
        }
        Ok(gone.into_values().sum())
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

    /// Makes `kept` the tokens of a segment.
    fn put(&mut self, segment: u64, kept: Kept) -> Result<()> {
        let old = self.batches.remove(&segment);
        let new = kept.file.as_ref().map(Batch::of);
        self.batches.extend(new.map(|batch| (segment, batch)));
        // A crash on the way must not make anyone miss what was let go.
        let fewer = old.is_some_and(|old| new.is_none_or(|new| new.tokens < old.tokens));
        if fewer {
            self.call_roll()?;
        }
        self.arrays.remove(&segment);
        if let Some(batch) = new {
            kept.publish(&self.path(segment, batch))?;
        }
        if !fewer {
            self.call_roll()?;
        }
        if let Some(old) = old.filter(|old| new.is_none_or(|new| !new.has_name_of(old))) {
            remove_file(&self.path(segment, old))?;
            durable::sync_dir(&self.dir)?;
        }
        Ok(())
    }

    /// Whether a token with this identity is here, but for those of the segment `but`. The newest are looked at first: what is
    /// sent again was mostly sent a moment ago.
    fn knows(&mut self, identity: Identity, but: u64) -> Result<bool> {
        let segments: Vec<u64> = self.batches.keys().rev().copied().filter(|segment| *segment != but).collect();
        for segment in segments {
            if self.holds(segment, identity)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn holds(&mut self, segment: u64, identity: Identity) -> Result<bool> {
        let Some(array) = self.array(segment)? else { return Ok(false) };
        if let Ok(holds) = array.contains(identity.into()) {
            return Ok(holds);
        }
        // A damaged block: from the file it is made once more.
        let Some(batch) = self.batches.get(&segment).copied() else { return Ok(false) };
        self.arrays.remove(&segment);
        durable::remove(&identity::array_path(&self.path(segment, batch)))?;
        self.array(segment)?.map_or(Ok(false), |array| array.contains(identity.into()))
    }

    /// The identities of a segment's tokens. `None`: it has none.
    fn array(&mut self, segment: u64) -> Result<Option<&HashArray>> {
        if !self.arrays.contains_key(&segment) {
            let Some(batch) = self.batches.get(&segment).copied() else { return Ok(None) };
            let path = self.path(segment, batch);
            let array = match identity::open(&path, batch.tokens) {
                Ok(array) => array,
                Err(_) => {
                    // It sets a damaged file aside.
                    if self.tokens(segment)?.is_none() {
                        return Ok(None);
                    }
                    identity::make(&path, batch.tokens)?;
                    identity::open(&path, batch.tokens)?
                }
            };
            self.arrays.insert(segment, array);
        }
        Ok(self.arrays.get(&segment))
    }

    /// Whether there is no room for a file of `bytes` of this segment.
    fn is_over(&self, segment: u64, bytes: u64) -> bool {
        let replaced = self.batches.get(&segment).map_or(0, |batch| batch.bytes);
        self.max_bytes > 0 && self.bytes().saturating_sub(replaced).saturating_add(bytes) > self.max_bytes
    }

    fn path(&self, segment: u64, batch: Batch) -> PathBuf {
        path(&self.dir, segment, batch)
    }
}

impl Batch {
    fn of(file: &TokenWriter) -> Self {
        Self { tokens: file.tokens, due: file.due.map(Timestamp::as_second), bytes: file.bytes() }
    }
}

fn path(dir: &Path, segment: u64, batch: Batch) -> PathBuf {
    let due = batch.due.map_or_else(|| "-".to_owned(), |due| due.to_string());
    dir.join(format!("{segment:016}.{}.{due}", batch.tokens))
}

/// Removes a file and its array.
fn remove_file(path: &Path) -> Result<()> {
    durable::remove(path)?;
    durable::remove(&identity::array_path(path))
}

/// Tokens on their way into a file; there is one only when there are tokens.
#[derive(Debug)]
struct Kept {
    /// What the file's temporary name is made of.
    target: PathBuf,
    file: Option<TokenWriter>,
    /// Those of the tokens, as long as they are few enough.
    identities: Vec<Identity>,
}

impl Kept {
    /// Adds a token, and gives the file's bytes so far.
    fn push(&mut self, token: &OddToken) -> Result<u64> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(TokenWriter::create(&self.target)?),
        };
        if self.identities.len() < HELD {
            self.identities.push(token.identity());
        }
        file.push(token)?;
        Ok(file.bytes())
    }

    /// Gives the file its name, durably, and writes its array.
    fn publish(self, path: &Path) -> Result<()> {
        let Some(file) = self.file else { return Ok(()) };
        let tokens = file.tokens;
        file.finish()?.publish(path)?;
        // Where they are too many, their array is made when it is first asked for.
        if self.identities.len() as u64 == tokens { identity::write(path, self.identities) } else { Ok(()) }
    }
}

/// Odd tokens of a segment on their way into the quarantine. Nothing of them is there before [`Adding::finish`].
#[derive(Debug)]
pub struct Adding<'q> {
    quarantine: &'q mut Quarantine,
    segment: u64,
    seen: HashSet<Identity>,
    kept: Kept,
    added: Added,
}

impl Adding<'_> {
    /// Adds a token, where it is new.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn push(&mut self, token: &OddToken) -> Result<()> {
        let identity = token.identity();
        if self.added.is_full || self.seen.contains(&identity) || self.quarantine.knows(identity, self.segment)? {
            return Ok(());
        }
        self.seen.insert(identity);
        let bytes = self.kept.push(token)?;
        *self.added.reasons.entry(token.reason.clone()).or_default() += 1;
        self.added.is_full = self.quarantine.is_over(self.segment, bytes);
        Ok(())
    }

    /// Forgets which tokens came: no equal ones follow.
    pub fn forget(&mut self) {
        self.seen.clear();
    }

    /// Makes the new tokens durable, all or none.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn finish(self) -> Result<Added> {
        if self.added.is_full {
            return Ok(Added { is_full: true, ..Added::default() });
        }
        if self.kept.file.is_some() {
            let replaces = self.quarantine.batches.contains_key(&self.segment);
            durable_step(Step::TokensQuarantined, || self.quarantine.put(self.segment, self.kept))?;
            if replaces {
                self.quarantine.reasons = None;
            }
            self.quarantine.count_reasons(&self.added.reasons, &BTreeMap::new())?;
        }
        Ok(self.added)
    }
}

/// Hands every token below the state directory to `each`, oldest page first, without the lock: also while a run goes on,
/// whose changes may then be seen in part.
///
/// # Errors
/// `State`, naming the path: unreadable or damaged; and whatever `each` returns.
pub fn look(state: &Path, each: &mut dyn FnMut(OddToken) -> Result<()>) -> Result<()> {
    let mut quarantine = Quarantine::at(state, Roll::default());
    if !quarantine.dir.try_exists().map_err(|e| Error::disk("look at", &quarantine.dir, e))? {
        return Ok(());
    }
    quarantine.look_around()?;
    for segment in quarantine.segments(None) {
        if let Some(tokens) = quarantine.peek(segment)? {
            tokens.into_iter().try_for_each(|token| each(token?))?;
        }
    }
    Ok(())
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
    fn peek(&mut self, segment: u64) -> Result<Option<Tokens>> {
        while let Some(batch) = self.batches.get(&segment).copied() {
            match Tokens::open(&self.path(segment, batch))? {
                Opened::Whole(tokens) => return Ok(Some(tokens)),
                Opened::Damaged(damage) => return Err(damage),
                Opened::Absent => self.look_around()?,
            }
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
    Some((segment, Batch { tokens, due, bytes: 0 }))
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
            encoding: None,
            received: "2023-03-10T01:00:00Z".parse().unwrap(),
            due: due.map(|s| Timestamp::from_second(s).unwrap()),
        }
    }

    /// An odd token that is told by a number.
    fn number(n: u64) -> OddToken {
        odd(&Identity::of(&n.to_le_bytes()).to_string(), None)
    }

    fn identities(quarantine: &mut Quarantine, segment: u64) -> Vec<String> {
        let tokens = quarantine.tokens(segment).unwrap();
        tokens.into_iter().flatten().map(|token| token.unwrap().identity).collect()
    }

    /// Names in the quarantine that are no file of tokens.
    fn others(dir: &Path) -> Vec<String> {
        let mut names = durable::names(&dir.join("quarantine")).unwrap();
        names.retain(|name| parse_name(name).is_none() && name != "reasons");
        names
    }

    #[test]
    fn only_a_new_identity_is_news() {
        let dir = tempfile::tempdir().unwrap();
        let mut quarantine = Quarantine::open(dir.path()).unwrap();
        let added = quarantine.add(1, [odd("a", None), odd("b", None), odd("a", None)]).unwrap();
        assert_eq!(added.reasons, BTreeMap::from([("wrong-key".to_owned(), 2)]));
        assert_eq!(quarantine.add(2, [odd("b", None)]).unwrap().count(), 0);
        let mut again = Quarantine::open(dir.path()).unwrap();
        assert_eq!(again.count(), 2);
        assert_eq!(again.add(3, [odd("a", None), odd("c", None)]).unwrap().count(), 1);
        assert_eq!(identities(&mut again, 3), ["c"]);
    }

    #[test]
    fn replay_of_the_same_segment_is_the_same_news() {
        let dir = tempfile::tempdir().unwrap();
        Quarantine::open(dir.path()).unwrap().add(1, [odd("a", None)]).unwrap();
        let mut again = Quarantine::open(dir.path()).unwrap();
        assert_eq!(again.add(1, [odd("a", None)]).unwrap().count(), 1);
        assert_eq!(again.count(), 1);
        // Another token under the same name: the array of the one before tells nothing of it.
        let array = identity::array_path(&again.path(1, again.batches[&1]));
        let stale = std::fs::read(&array).unwrap();
        assert_eq!(again.add(1, [odd("b", None)]).unwrap().count(), 1);
        std::fs::write(&array, stale).unwrap();
        let mut again = Quarantine::open(dir.path()).unwrap();
        assert_eq!(again.add(2, [odd("a", None), odd("b", None)]).unwrap().count(), 1);
    }

    #[test]
    fn tokens_come_due_and_leave() {
        let dir = tempfile::tempdir().unwrap();
        let mut quarantine = Quarantine::open(dir.path()).unwrap();
        quarantine.add(7, [odd("a", Some(200)), odd("b", None), odd("c", Some(100))]).unwrap();
        assert!(quarantine.segments(Some(Timestamp::from_second(99).unwrap())).is_empty());
        assert_eq!(quarantine.segments(Some(Timestamp::from_second(100).unwrap())), [7]);
        assert_eq!(quarantine.release(7, &mut |token| token.identity != "c", &|| false).unwrap(), 1);
        let mut quarantine = Quarantine::open(dir.path()).unwrap();
        assert_eq!((quarantine.count(), identities(&mut quarantine, 7).len()), (2, 2));
        assert_eq!(quarantine.release(7, &mut |_| false, &|| false).unwrap(), 2);
        assert_eq!(Quarantine::open(dir.path()).unwrap().count(), 0);
        assert_eq!(others(dir.path()), [""; 0]);
    }

    #[test]
    fn crash_between_new_and_old_file_counts_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut quarantine = Quarantine::open(dir.path()).unwrap();
        quarantine.add(7, [odd("a", None), odd("b", None)]).unwrap();
        let old = quarantine.path(7, quarantine.batches[&7]);
        let bytes = std::fs::read(&old).unwrap();
        quarantine.release(7, &mut |token| token.identity == "b", &|| false).unwrap();
        std::fs::write(&old, bytes).unwrap();
        assert_eq!(Quarantine::open(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn identities_that_are_missing_or_damaged_are_made_again_from_the_tokens() {
        let dir = tempfile::tempdir().unwrap();
        // More than an array holds in memory, so that a block is met late.
        Quarantine::open(dir.path()).unwrap().add(1, (0..20_000).map(number)).unwrap();
        let array = dir.path().join("quarantine").join("0000000000000001.20000.-.ids");
        let good = std::fs::read(&array).unwrap();
        let damages: [&dyn Fn(); 4] = [
            &|| std::fs::remove_file(&array).unwrap(),
            &|| std::fs::write(&array, "").unwrap(),
            &|| std::fs::write(&array, good.get(4096..).unwrap()).unwrap(),
            &|| std::fs::write(&array, good.iter().map(|byte| !byte).collect::<Vec<u8>>()).unwrap(),
        ];
        for damage in damages {
            damage();
            let mut quarantine = Quarantine::open(dir.path()).unwrap();
            assert_eq!(quarantine.add(2, [number(7), number(19_999)]).unwrap().count(), 0);
            assert_eq!(std::fs::read(&array).unwrap(), good);
        }
    }

    #[test]
    fn array_without_its_file_goes_and_damaged_tokens_are_set_aside_with_theirs() {
        let dir = tempfile::tempdir().unwrap();
        let mut quarantine = Quarantine::open(dir.path()).unwrap();
        quarantine.add(1, [odd("a", None)]).unwrap();
        let stray = dir.path().join("quarantine").join("0000000000000009.4.-.ids");
        std::fs::write(&stray, "x").unwrap();
        let file = quarantine.path(1, quarantine.batches[&1]);
        std::fs::write(&file, "damaged").unwrap();
        std::fs::remove_file(identity::array_path(&file)).unwrap();
        let mut quarantine = Quarantine::open(dir.path()).unwrap();
        assert!(!stray.exists());
        assert_eq!(quarantine.add(2, [odd("a", None)]).unwrap().count(), 1);
        assert_eq!(quarantine.take_damaged().len(), 1);
        assert_eq!((quarantine.count(), quarantine.segments(None)), (1, vec![2]));
    }

    #[test]
    fn file_of_the_form_before_is_read() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("quarantine")).unwrap();
        let line =
            r#"{"identity":"0af1","reason":"no-token","detail":"d","token":"5","received":"2023-03-10T01:00:00Z"}"#;
        let text = durable::seal_text(format!("{line}\n").as_bytes());
        std::fs::write(dir.path().join("quarantine/0000000000000003.1.-"), text).unwrap();
        let mut quarantine = Quarantine::open(dir.path()).unwrap();
        let [token] = &quarantine.tokens(3).unwrap().unwrap().map(Result::unwrap).collect::<Vec<_>>()[..] else {
            panic!("one token")
        };
        assert_eq!((token.token.as_str(), token.encoding), ("5", None));
        assert_eq!(quarantine.add(4, [odd("0af1", None)]).unwrap().count(), 0);
    }

    #[test]
    fn tokens_that_would_not_fit_are_refused_all_and_known_ones_need_no_room() {
        let dir = tempfile::tempdir().unwrap();
        let mut quarantine = Quarantine::open(dir.path()).unwrap();
        quarantine.add(1, (0..3).map(number)).unwrap();
        quarantine.cap(quarantine.bytes() + 300);
        let refused = quarantine.add(2, (0..9).map(number)).unwrap();
        assert_eq!(refused, Added { is_full: true, ..Added::default() });
        assert_eq!(quarantine.count(), 3);
        assert_eq!(quarantine.add(2, (0..3).map(number)).unwrap(), Added::default());
        assert_eq!(quarantine.add(1, (0..3).map(number)).unwrap().count(), 3, "its own file is replaced");
        quarantine.cap(0);
        assert_eq!(quarantine.add(2, (0..9).map(number)).unwrap().count(), 6);
    }

    #[test]
    fn bytes_are_those_of_the_files() {
        let dir = tempfile::tempdir().unwrap();
        let mut quarantine = Quarantine::open(dir.path()).unwrap();
        quarantine.add(1, (0..1000).map(number)).unwrap();
        quarantine.add(2, [odd("x", Some(5))]).unwrap();
        quarantine.release(1, &mut |token| token.identity() > number(7).identity(), &|| false).unwrap();
        let files = [1, 2].map(|segment| quarantine.path(segment, quarantine.batches[&segment]));
        let sum: u64 = files.iter().map(|path| std::fs::metadata(path).unwrap().len()).sum();
        assert_eq!(quarantine.bytes(), sum);
        assert_eq!(Quarantine::open(dir.path()).unwrap().bytes(), sum);
    }
}
