//! Many small files of the quarantine become one, so that their number stays bounded.
//!
//! ```text
//! quarantine/merging      the name of the file to be, and of those that become it, behind a checksum
//! ```
//! The note is durable before the new file has its name, and is deleted after the old files. A crash before the new file leaves
//! the old ones; one after it leaves both, and the next open deletes the old. Only files of committed segments take part, because
//! the file of any other may still be replaced.

use std::collections::BTreeSet;
use std::path::Path;

use super::{NewFile, Quarantine, batch};
use crate::error::Result;
use crate::output::draft::Survives;
use crate::state::files::crash_point;
use crate::state::files::step::Step;
use crate::state::files::step::durable_step;
use crate::state::files::{checked, durable};

const NOTE: &str = "merging";
/// With more files than these of a kind (with and without due tokens), the smallest become one.
const MANY: u64 = 32;
/// A file of more bytes stays as it is.
const LARGE: u64 = 64 << 20;

/// Finishes a merge that a crash interrupted.
pub(super) fn finish(dir: &Path) -> Result<()> {
    let note = dir.join(NOTE);
    // A damaged note is one of a merge that had not begun: nothing is deleted for it.
    let names = checked::read(&note)?.unwrap_or_default();
    let mut names = std::str::from_utf8(&names).unwrap_or_default().lines();
    if names.next().is_some_and(|merged| dir.join(merged).exists()) {
        names.try_for_each(|name| batch::remove(&dir.join(name)))?;
        durable::sync_dir(dir)?;
    }
    durable::remove(&note)
}

impl Quarantine {
    /// Whether there are so many files that some are to become one.
    pub(crate) fn has_many(&self) -> bool {
        [false, true].iter().any(|is_due| !self.smallest(*is_due, &|_| true).is_empty())
    }

    /// Makes one file of the smallest, where there are many; only of segments that are settled. When stopped, nothing changes.
    pub(crate) fn merge(&mut self, is_settled: &dyn Fn(u64) -> bool, stop: &dyn Fn() -> bool) -> Result<()> {
        for is_due in [false, true] {
            let few = self.smallest(is_due, is_settled);
            if few.len() > 1 {
                self.merge_these(&few, stop)?;
            }
        }
        Ok(())
    }

    /// The segments whose files are to become one: the smallest, so that a token is seldom copied.
    fn smallest(&self, is_due: bool, is_settled: &dyn Fn(u64) -> bool) -> BTreeSet<u64> {
        let many = usize::try_from(crash_point::threshold("ETL_QUARANTINE_FILES", MANY)).unwrap_or(usize::MAX);
        let of_kind = self.batches.iter().filter(|(_, batch)| batch.due.is_some() == is_due);
        let mut sizes: Vec<(u64, u64)> = of_kind.map(|(segment, batch)| (batch.bytes, *segment)).collect();
        if sizes.len() <= many {
            return BTreeSet::new();
        }
        let surplus = sizes.len() - many / 2;
        sizes.retain(|(bytes, segment)| *bytes <= LARGE && is_settled(*segment));
        sizes.sort_unstable();
        sizes.into_iter().take(surplus + 1).map(|(_, segment)| segment).collect()
    }

    fn merge_these(&mut self, segments: &BTreeSet<u64>, stop: &dyn Fn() -> bool) -> Result<()> {
        let Some(newest) = segments.last().copied() else { return Ok(()) };
        let mut kept = NewFile::named(self.dir.join("merged"));
        for segment in segments {
            // A damaged one is set aside: the others are merged another time.
            let Some(tokens) = self.tokens(*segment)? else { return Ok(()) };
            for token in tokens {
                if stop() {
                    return Ok(());
                }
                kept.push(&token?)?;
            }
        }
        durable_step(Step::QuarantineMerged, || self.replace_these(segments, newest, kept))
    }

    fn replace_these(&mut self, segments: &BTreeSet<u64>, newest: u64, kept: NewFile) -> Result<()> {
        let Some(batch) = kept.batch() else { return Ok(()) };
        let merged = batch.path(&self.dir, newest);
        let old = segments.iter().filter_map(|segment| Some(self.batches.get(segment)?.path(&self.dir, *segment)));
        let old: Vec<_> = old.collect();
        let names = std::iter::once(&merged).chain(&old).filter_map(|path| path.file_name()?.to_str());
        let text: String = names.flat_map(|name| [name, "\n"]).collect();
        checked::write(&self.dir.join(NOTE), text.as_bytes(), Survives::Everything)?;
        // Off the list before the files go: after a crash, nothing must be reported as missing.
        let stay = |segment: &u64| *segment == newest || !segments.contains(segment);
        self.batches.retain(|segment, _| stay(segment));
        self.arrays.retain(|segment, _| !segments.contains(segment));
        self.update_watch_list()?;
        kept.publish(&merged)?;
        old.iter().try_for_each(|path| batch::remove(path))?;
        durable::sync_dir(&self.dir)?;
        self.batches.insert(newest, batch);
        self.update_watch_list()?;
        durable::remove(&self.dir.join(NOTE))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Encoding, OddToken};
    use super::*;

    fn token(n: u64, due: Option<i64>) -> OddToken {
        OddToken {
            identity: super::super::Identity::of(&n.to_le_bytes()).to_string(),
            reason: "no-token".into(),
            detail: "none".into(),
            token: n.to_string(),
            encoding: Some(Encoding::Base64),
            received: "2023-03-10T01:00:00Z".parse().unwrap(),
            due: due.map(|s| jiff::Timestamp::from_second(s).unwrap()),
        }
    }

    /// A quarantine with so many files of one token, and one with due tokens.
    fn filled(dir: &Path, files: u64) -> Quarantine {
        let mut quarantine = Quarantine::open(dir).unwrap();
        for segment in 1..=files {
            quarantine.add(segment, [token(segment, None)]).unwrap();
        }
        quarantine.add(files + 1, [token(files + 1, Some(7))]).unwrap();
        quarantine
    }

    fn files(dir: &Path) -> Vec<String> {
        let mut names = durable::names(&dir.join("quarantine")).unwrap();
        names.retain(|name| name.contains('.') && !name.ends_with(".ids"));
        names
    }

    /// Every token is there once, and known.
    fn holds_all(dir: &Path, count: u64) {
        let mut tokens = Vec::new();
        super::super::look(dir, &mut |token| {
            tokens.push(token.token.parse::<u64>().unwrap());
            Ok(())
        })
        .unwrap();
        tokens.sort_unstable();
        assert_eq!(tokens, (1..=count).collect::<Vec<_>>());
        let mut quarantine = Quarantine::open(dir).unwrap();
        assert!(quarantine.vanished().unwrap().is_none());
        assert_eq!(quarantine.count(), count);
        assert_eq!(quarantine.add(1000, (1..=count + 1).map(|n| token(n, None))).unwrap().count(), 1);
        quarantine.release(1000, &mut |_| false, &|| false).unwrap();
    }

    #[test]
    fn many_small_files_become_one_and_nothing_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let mut quarantine = filled(dir.path(), MANY);
        quarantine.merge(&|_| true, &|| false).unwrap();
        assert_eq!(files(dir.path()).len() as u64, MANY + 1, "not many yet");
        let mut quarantine = filled(dir.path(), MANY + 1);
        assert!(quarantine.has_many());
        quarantine.merge(&|_| true, &|| true).unwrap();
        assert!(quarantine.has_many(), "stopped, nothing was done");
        quarantine.merge(&|segment| segment != 2, &|| false).unwrap();
        let left = files(dir.path());
        assert_eq!(left.len() as u64, MANY / 2 + 1, "{left:?}");
        assert!(left.contains(&"0000000000000002.1.-".to_owned()), "one that waits stays as it is");
        assert!(!quarantine.has_many());
        assert_eq!(quarantine.count(), MANY + 2);
        holds_all(dir.path(), MANY + 2);
    }

    #[test]
    fn number_of_files_stays_bounded_however_many_come() {
        let dir = tempfile::tempdir().unwrap();
        let mut quarantine = Quarantine::open(dir.path()).unwrap();
        for segment in 1..=300 {
            quarantine.add(segment, [token(segment, None)]).unwrap();
            quarantine.merge(&|_| true, &|| false).unwrap();
            assert!(files(dir.path()).len() as u64 <= MANY);
        }
        holds_all(dir.path(), 300);
    }

    #[test]
    fn crash_anywhere_in_a_merge_loses_and_doubles_nothing() {
        let before = tempfile::tempdir().unwrap();
        drop(filled(before.path(), MANY + 1));
        let after = tempfile::tempdir().unwrap();
        filled(after.path(), MANY + 1).merge(&|_| true, &|| false).unwrap();
        let (old, new) = (files(before.path()), files(after.path()));
        let merged = new.iter().find(|name| !old.contains(name)).unwrap();
        let gone: Vec<&String> = old.iter().filter(|name| !new.contains(name)).collect();
        let lines: String =
            std::iter::once(merged).chain(gone.iter().copied()).map(|name| format!("{name}\n")).collect();
        let note = checked::with_checksum(lines.as_bytes());
        // The note; then the merged file; then one old file after the other goes; then the note.
        for step in 0..gone.len() + 3 {
            let dir = tempfile::tempdir().unwrap();
            drop(filled(dir.path(), MANY + 1));
            let at = |name: &str| dir.path().join("quarantine").join(name);
            std::fs::write(at(NOTE), &note).unwrap();
            if step > 0 {
                // The watch list as the merge leaves it before the old ones go.
                let mut quarantine = Quarantine::open(dir.path()).unwrap();
                let newest: u64 = merged.split('.').next().unwrap().parse().unwrap();
                let goes = |segment: &u64| gone.iter().any(|name| name.starts_with(&format!("{segment:016}.")));
                quarantine.batches.retain(|segment, _| *segment == newest || !goes(segment));
                quarantine.update_watch_list().unwrap();
                std::fs::write(at(NOTE), &note).unwrap();
                std::fs::copy(after.path().join("quarantine").join(merged), at(merged)).unwrap();
                gone.iter().take(step - 1).for_each(|name| std::fs::remove_file(at(name)).unwrap());
            }
            if step == gone.len() + 2 {
                std::fs::remove_file(at(NOTE)).unwrap();
            }
            drop(Quarantine::open(dir.path()).unwrap());
            assert!(!at(NOTE).exists());
            holds_all(dir.path(), MANY + 2);
        }
    }
}
