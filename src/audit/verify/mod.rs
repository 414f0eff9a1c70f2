//! `etl verify`: the ledger against the store.
//!
//! Every part with a receipt must be there, with its size and identity; nothing else may be below `data/`. With `deep` each part
//! is downloaded, decoded and counted, and its records are looked up in the hour's hash array while there is one.
//!
//! It takes no lock: a run may go on beside it. Objects are listed before the ledger is read, because an intent is older than its
//! object. An hour that looks wrong is judged again as long as its row in the ledger changes meanwhile.

pub(crate) mod by_store;
mod part;

use std::collections::BTreeMap;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use super::StoredParts;
use super::finding::{Fault, Finding, Verification, hint};
use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::format::Format;
use crate::hour::key::dictionaries_key;
use crate::hour::lifecycle::HourRow;
use crate::hour::part::{PartRow, PartStage};
use crate::hour::range::HashRange;
use crate::job::has_expired;
use crate::state::Ledger;
use crate::store::dictionaries::Stored;
use crate::view::table::plural;

/// How often an hour is judged again when it changed while it was looked at.
const LOOKS: usize = 5;

/// Compares a state directory's ledger with the store.
pub struct Verifier<'a> {
    /// The state directory, with the ledger and the hash arrays.
    pub state: &'a Path,
    /// The parts in the store.
    pub parts: StoredParts<'a>,
    /// Whether to download and decode.
    pub deep: bool,
    /// The age at which the store itself deletes parts, and the time now. `None`: it deletes none.
    pub expire_after: Option<(SignedDuration, Timestamp)>,
}

/// An hour that does not look as it should, and the row that this was judged by.
struct Doubt {
    row: HourRow,
    judged: Result<Vec<Finding>>,
}

impl Verifier<'_> {
    /// Looks at every part, then for objects that the ledger does not know.
    ///
    /// # Errors
    /// The store could not be read, or the ledger.
    pub fn verify(&self, each: &mut dyn FnMut(u64)) -> Result<Verification> {
        let mut found = Verification::new(self.deep);
        let mut objects = BTreeMap::new();
        self.parts.store.list(&self.parts.layout.data_prefix(self.parts.prefix), &mut |key, size| {
            objects.insert(key.to_owned(), size);
            Ok(())
        })?;
        let ledger = self.ledger()?;
        let range = ledger.settings().range;
        let (mut doubts, mut dictionaries) = (Vec::new(), BTreeMap::new());
        ledger.for_each(&mut |row| {
            found.expired += self.lapsed(row, &objects);
            // What is there again after it was given up is a finding.
            for part in row.parts.iter().filter(|part| part.stage != PartStage::Expired) {
                objects.remove(&part.key);
            }
            found.count(&row.within(range));
            for part in row.uploaded().filter(|part| !part.dict.is_empty()) {
                *dictionaries.entry(part.dict.clone()).or_default() += 1;
            }
            doubts.extend(self.doubt(row.clone(), range)?);
            each(found.parts);
            Ok(())
        })?;
        self.judge_again(doubts, &mut found)?;
        found.findings.sort_by_key(|finding| finding.hour);
        self.foreign(objects, &mut found)?;
        found.objects += found.parts + dictionaries.len() as u64;
        for (id, parts) in dictionaries {
            found.findings.extend(self.dictionaries(&ledger, &id, parts)?);
        }
        Ok(found)
    }

    /// How many parts of an hour a lifecycle rule has deleted.
    fn lapsed(&self, row: &HourRow, objects: &BTreeMap<String, u64>) -> u64 {
        let Some((rule, now)) = self.expire_after else { return 0 };
        let is_lapsed = |part: &&PartRow| has_expired(Some(rule), part, now) && !objects.contains_key(&part.key);
        row.uploaded().filter(is_lapsed).count() as u64
    }

    /// The ledger as it is now.
    fn ledger(&self) -> Result<Ledger> {
        let gone = || {
            Error::new(ErrorKind::State, format!("{} no longer holds a ledger", self.state.display()))
                .hint("put the state directory back, or read the store back with `etl replay --from-s3`")
        };
        Ledger::open(self.state)?.ok_or_else(gone)
    }

    /// `None`: the hour is as it should be. A failure of the state is a doubt too: a run may have replaced what was read.
    fn doubt(&self, row: HourRow, range: HashRange) -> Result<Option<Doubt>> {
        match self.hour(&row, range) {
            Ok(findings) if findings.is_empty() => Ok(None),
            Err(error) if error.kind() != ErrorKind::State => Err(error),
            judged => Ok(Some(Doubt { row, judged })),
        }
    }

    /// Judges doubtful hours again until their rows no longer change.
    fn judge_again(&self, mut doubts: Vec<Doubt>, found: &mut Verification) -> Result<()> {
        for look in 0..=LOOKS {
            if doubts.is_empty() {
                break;
            }
            let mut ledger = self.ledger()?;
            let mut again = Vec::new();
            for doubt in doubts {
                let row = ledger.row(doubt.row.hour)?;
                if row == doubt.row || look == LOOKS {
                    found.findings.extend(doubt.judged?);
                } else {
                    again.extend(self.doubt(row, ledger.settings().range)?);
                }
            }
            doubts = again;
        }
        Ok(())
    }

    /// Judges the objects that the ledger did not know. One that it knows by now is judged with its hour, another is a finding
    /// if it is still there.
    fn foreign(&self, objects: BTreeMap<String, u64>, found: &mut Verification) -> Result<()> {
        if objects.is_empty() {
            return Ok(());
        }
        found.objects += objects.len() as u64;
        let mut ledger = self.ledger()?;
        let mut doubts = BTreeMap::new();
        for (key, size) in objects {
            let part = self.parts.layout.parse_key(self.parts.prefix, &key);
            let row = part.map(|(hour, _)| ledger.row(hour)).transpose()?;
            if row.as_ref().is_some_and(|row| row.expired().any(|part| part.key == key)) {
                found.findings.extend(part.filter(|_| self.is_there(&key)).map(|(hour, _)| given_up(hour, key)));
                continue;
            }
            match row.filter(|row| row.parts.iter().any(|part| part.key == key)) {
                Some(row) => {
                    doubts.insert(row.hour, self.doubt(row, ledger.settings().range)?);
                }
                None if self.is_there(&key) => found.findings.push(foreign(part, key, size)),
                None => {}
            }
        }
        self.judge_again(doubts.into_values().flatten().collect(), found)
    }

    /// Whether a listed object is still there. Some stores cannot look up a name that is not a key of ours: then the listing counts.
    fn is_there(&self, key: &str) -> bool {
        self.parts.store.head(key).map_or(true, |object| object.is_some())
    }

    /// What is wrong with the object of the dictionaries that `parts` parts were written with. If it was never stored, an older
    /// version wrote the parts: that is not a finding while the configuration gives the same dictionaries.
    fn dictionaries(&self, ledger: &Ledger, id: &str, parts: u64) -> Result<Option<Finding>> {
        let was_stored = ledger.has_stored_dictionaries(id);
        let parts = plural(parts, "part", "parts");
        let (fault, detail, before) = match self.parts.dictionaries.stored(id)? {
            Stored::Sound(_) => return Ok(None),
            Stored::Missing if !was_stored && self.parts.dictionaries.known_without_the_store(id).is_some() => {
                return Ok(None);
            }
            Stored::Missing => {
                (Fault::Missing, format!("there is nothing where the dictionaries of {parts} should be"), "")
            }
            Stored::Damaged => (
                Fault::Changed,
                format!("it is not the dictionaries of {parts}, as its name says"),
                "move it away, then ",
            ),
        };
        let hint = format!("{before}`etl replay --from-s3` stores them again if [compact] still has them");
        let key = dictionaries_key(self.parts.prefix, id);
        Ok(Some(Finding { fault, hour: None, key, detail, hint, only_deep: false }))
    }
}

/// An object under the key of a part that was given up. Its records may have come again, and be in a later part.
fn given_up(hour: Hour, key: String) -> Finding {
    let detail = "it was given up for good, and is there again: its records may be in a later part too".to_owned();
    let hint =
        "move it away: what it holds and no other part has, `etl restore` gives from where it is moved to".to_owned();
    Finding { fault: Fault::Foreign, hour: Some(hour), key, detail, hint, only_deep: false }
}

impl Verification {
    fn count(&mut self, row: &HourRow) {
        self.hours += u64::from(!row.parts.is_empty());
        self.expired += row.expired().count() as u64;
        for part in row.uploaded() {
            self.parts += 1;
            self.rows += part.identity.rows;
            self.bytes += part.identity.bytes;
        }
    }
}

/// What a stranger's name says of it.
fn stranger(key: &str) -> &'static str {
    if Format::of_name(key).is_some() { ", with the name of a part in another format or layout" } else { "" }
}

/// An object that the ledger does not know. One with a part's name may be another machine's: a run takes it over when its hour
/// has it in the way, or on demand.
fn foreign(part: Option<(Hour, u32)>, key: String, size: u64) -> Finding {
    let (what, hint) = match part {
        Some((hour, _)) => (", with a part's name", hint(Fault::Foreign, hour)),
        None => (
            stranger(&key),
            "move it away: tables read everything there, and nothing but parts belongs there".to_owned(),
        ),
    };
    let detail = format!("{size} bytes that the ledger does not know{what}");
    Finding { fault: Fault::Foreign, hour: part.map(|(hour, _)| hour), key, detail, hint, only_deep: false }
}
