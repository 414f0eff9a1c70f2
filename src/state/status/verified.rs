//! What the last verification found, until it is mended: for all who ask later whether the store is well.
//!
//! Owns `verified.json` in the state directory: JSON behind its checksum, replaced as a whole, not larger than a hundred findings.
//! `etl verify` takes no lock and writes it when it is done; a run that mends a finding takes that one out. A crash leaves the
//! result of before. A damaged file counts as none, which says that nothing was verified, never that all is well.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::shape::is_zero;
use crate::error::Result;
use crate::hour::Hour;
use crate::output::draft::Survives;
use crate::state::files::checked;

/// Findings that are kept one by one.
const KEPT: usize = 100;

/// What is wrong with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    /// The ledger has a receipt for it, and it is not there.
    Missing,
    /// It differs from what the ledger says.
    Changed,
    /// The ledger does not know it.
    Foreign,
    /// A digest without the signature that it should have.
    Unsigned,
    /// A digest that no later one names.
    Forked,
}

impl Fault {
    /// Its name, as JSON has it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Changed => "changed",
            Self::Foreign => "foreign",
            Self::Unsigned => "unsigned",
            Self::Forked => "forked",
        }
    }
}

/// An object with a fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What is wrong with it.
    pub fault: Fault,
    /// Its hour, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hour: Option<Hour>,
    /// Its key.
    pub key: String,
    /// How it differs.
    pub detail: String,
    /// What to do about it.
    #[serde(default)]
    pub hint: String,
    /// Whether only its content shows it: a verification that does not download the parts cannot see it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub only_deep: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference over")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// The result of the last verification, less what was mended since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastVerify {
    /// When it was done.
    pub at: Timestamp,
    /// Whether it downloaded and decoded the parts.
    pub deep: bool,
    /// Objects that it looked at.
    pub objects: u64,
    /// What it found, with what an earlier deep one had found and this one could not see.
    pub found: u64,
    /// What of that is not mended.
    pub left: u64,
    /// The first of those that are left.
    pub findings: Vec<Finding>,
    /// Findings of an earlier deep one that this one could not see.
    #[serde(skip)]
    pub(crate) unseen: u64,
    /// Findings that are left and not listed, because there were too many.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u64,
}

impl LastVerify {
    /// A verification that ended at `at`, after the one `before`, which it replaces.
    pub(crate) fn new(
        at: Timestamp,
        deep: bool,
        objects: u64,
        mut findings: Vec<Finding>,
        before: Option<Self>,
    ) -> Self {
        let mut unseen = 0;
        if !deep {
            let is_new = |old: &Finding| !findings.iter().any(|new| new.key == old.key);
            let before = before.map(|before| before.findings).unwrap_or_default();
            let stay: Vec<Finding> = before.into_iter().filter(|old| old.only_deep && is_new(old)).collect();
            unseen = stay.len() as u64;
            findings.extend(stay);
        }
        let order = |finding: &Finding| (finding.fault, finding.hour, finding.key.clone());
        findings.sort_by_cached_key(order);
        findings.dedup_by_key(|finding| order(finding));
        let found = findings.len() as u64;
        findings.truncate(KEPT);
        let left_out = found.saturating_sub(findings.len() as u64);
        Self { at, deep, objects, found, left: found, findings, unseen, left_out }
    }

    /// Takes out the findings about objects that are well now. Returns whether there were any.
    fn mend(&mut self, is_mended: &dyn Fn(&Finding) -> bool) -> bool {
        let before = self.findings.len();
        self.findings.retain(|finding| !is_mended(finding));
        self.left = self.left_out.saturating_add(self.findings.len() as u64);
        self.findings.len() < before
    }
}

/// What the last verification of the state directory `dir` found. `None`: there was none, or it is not known.
pub(crate) fn read(dir: &Path) -> Result<Option<LastVerify>> {
    checked::read_json(&path(dir))
}

/// Remembers what a verification found. Durable on return.
pub(crate) fn remember(dir: &Path, last: &LastVerify) -> Result<()> {
    checked::write_json(&path(dir), last, Survives::Everything)
}

/// Notes that what is wrong with some objects was mended. A file that cannot be read or written costs nothing else: the next
/// verification makes it again.
pub(crate) fn note_mended(dir: &Path, is_mended: &dyn Fn(&Finding) -> bool) {
    let noted = read(dir).and_then(|last| {
        let Some(mut last) = last else { return Ok(()) };
        if last.mend(is_mended) { remember(dir, &last) } else { Ok(()) }
    });
    if let Err(error) = noted {
        tracing::debug!("cannot note what was mended: {}", error.chain());
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.join("verified.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(key: &str, fault: Fault, only_deep: bool) -> Finding {
        let (hour, hint) = ("2023-03-10T01".parse().ok(), "mend it".to_owned());
        Finding { fault, hour, key: key.to_owned(), detail: "broken".to_owned(), hint, only_deep }
    }

    fn last(deep: bool, findings: Vec<Finding>, before: Option<LastVerify>) -> LastVerify {
        LastVerify::new(Timestamp::UNIX_EPOCH, deep, 9, findings, before)
    }

    #[test]
    fn what_is_mended_is_no_longer_left_and_the_last_one_says_that_all_is_well() {
        let dir = tempfile::tempdir().unwrap();
        let two = vec![finding("b", Fault::Missing, false), finding("a", Fault::Missing, false)];
        remember(dir.path(), &last(false, two, None)).unwrap();
        note_mended(dir.path(), &|finding| finding.key == "z");
        let now = |dir| read(dir).unwrap().unwrap();
        assert_eq!((now(dir.path()).found, now(dir.path()).left), (2, 2));
        note_mended(dir.path(), &|finding| finding.key == "a");
        assert_eq!((now(dir.path()).found, now(dir.path()).left), (2, 1));
        assert_eq!(now(dir.path()).findings[0].key, "b");
        note_mended(dir.path(), &|_| true);
        assert_eq!((now(dir.path()).left, now(dir.path()).findings.len()), (0, 0));
    }

    #[test]
    fn look_without_content_does_not_take_back_what_the_content_showed() {
        let deep = last(true, vec![finding("a", Fault::Changed, true), finding("b", Fault::Missing, false)], None);
        let shallow = last(false, Vec::new(), Some(deep.clone()));
        assert_eq!((shallow.left, shallow.findings[0].key.as_str()), (1, "a"));
        let same = last(false, vec![finding("a", Fault::Missing, false)], Some(deep.clone()));
        assert_eq!((same.left, same.findings[0].fault), (1, Fault::Missing), "what is gone cannot differ");
        assert_eq!(last(true, Vec::new(), Some(deep)).left, 0);
    }

    #[test]
    fn file_is_bounded_and_the_rest_is_counted() {
        let many = (0..250).map(|n| finding(&format!("{n:03}"), Fault::Missing, false)).collect();
        let mut last = last(false, many, None);
        assert_eq!((last.found, last.left, last.findings.len(), last.left_out), (250, 250, KEPT, 150));
        assert!(last.mend(&|_| true));
        assert_eq!(last.left, 150, "what is not listed is not known to be mended");
    }

    #[test]
    fn damaged_file_is_no_verification() {
        let dir = tempfile::tempdir().unwrap();
        remember(dir.path(), &last(false, Vec::new(), None)).unwrap();
        assert!(read(dir.path()).unwrap().is_some());
        std::fs::write(path(dir.path()), "{}").unwrap();
        assert_eq!(read(dir.path()).unwrap(), None);
        note_mended(dir.path(), &|_| true);
    }
}
