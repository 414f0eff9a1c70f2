//! Hours with a part that the store refuses while it may take others: left alone until everything else is done, then tried again,
//! the longest waiting first, until one is refused again. The same for hours whose part got no answer, or a 5xx: if only that part
//! gets none, the others still reach the store.
//!
//! Owns `refused.json` in the state directory: those hours, each with the time of its last try. Nothing depends on it: without it
//! such an hour is tried once together with the others. So it is never fsynced, and a damaged one counts as empty.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::Output;
use super::spooled_part::SpooledBy;
use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::job::Run;
use crate::job::recover::Recover;
use crate::output::draft::Survives;
use crate::state::files::{checked, durable};

/// So many refusals in a row, and nothing taken between them, are the store's answer to everything.
pub(crate) const MOST_IN_A_ROW: usize = 32;
/// Hours that a message names.
const NAMED: usize = 5;

/// The refused hours of this run and of those before.
pub(crate) struct Refused {
    path: PathBuf,
    /// When each was last tried, those that got no answer included; read when it is first needed.
    waiting: Option<BTreeMap<Hour, Timestamp>>,
    /// Of those, the ones that had their turn in this run.
    tried: BTreeSet<Hour>,
    /// What was refused in this run.
    in_this_run: Vec<(Hour, Error)>,
    /// Refusals since a part was last taken.
    in_a_row: usize,
    any_taken: bool,
}

impl Refused {
    pub(crate) fn new(state_dir: &Path) -> Self {
        Self {
            path: state_dir.join("refused.json"),
            waiting: None,
            tried: BTreeSet::new(),
            in_this_run: Vec::new(),
            in_a_row: 0,
            any_taken: false,
        }
    }

    fn waiting(&mut self) -> &mut BTreeMap<Hour, Timestamp> {
        let path = &self.path;
        self.waiting.get_or_insert_with(|| checked::read_json(path).ok().flatten().unwrap_or_default())
    }

    /// Whether an hour was refused in an earlier run, and has not had its turn in this one.
    pub(crate) fn waits(&mut self, hour: Hour) -> bool {
        !self.tried.contains(&hour) && self.waiting().contains_key(&hour)
    }

    /// Notes that a part was taken.
    pub(crate) fn taken(&mut self) {
        (self.in_a_row, self.any_taken) = (0, true);
    }

    fn note(&mut self, hour: Hour, error: Error, at: Timestamp) -> Result<()> {
        self.in_a_row += 1;
        self.tried.insert(hour);
        self.in_this_run.push((hour, error));
        self.waiting().insert(hour, at);
        self.save()
    }

    /// Gives an hour its turn after all others in the next run: its part got no answer.
    pub(crate) fn put_off(&mut self, hour: Hour, at: Timestamp) -> Result<()> {
        self.tried.insert(hour);
        self.waiting().insert(hour, at);
        self.save()
    }

    /// Whether so many refusals came in a row that nothing more is sent.
    fn is_everything(&self) -> bool {
        self.in_a_row >= MOST_IN_A_ROW
    }

    /// The hour whose turn it is, of those that still have parts to upload. The others are forgotten.
    fn turn(&mut self, sealing: &BTreeSet<Hour>) -> Option<Hour> {
        self.waiting().retain(|hour, _| sealing.contains(hour));
        let tried = self.tried.clone();
        let (hour, _) = self.waiting().iter().filter(|(hour, _)| !tried.contains(hour)).min_by_key(|(_, at)| **at)?;
        let hour = *hour;
        self.tried.insert(hour);
        Some(hour)
    }

    fn save(&mut self) -> Result<()> {
        if self.waiting().is_empty() {
            return durable::remove(&self.path);
        }
        let path = self.path.clone();
        checked::write_json(&path, self.waiting(), Survives::Nothing)
    }

    /// This run's refusals as one error. It is about the credentials only where no part was taken and each was refused for them.
    fn verdict(&mut self) -> Option<Error> {
        let refused = std::mem::take(&mut self.in_this_run);
        let (_, first) = refused.first()?;
        let all = |kind| refused.iter().all(|(_, error)| error.kind() == kind);
        let kind = match first.kind() {
            ErrorKind::Credentials if self.any_taken || !all(ErrorKind::Credentials) => ErrorKind::Unavailable,
            kind => kind,
        };
        let hours: BTreeSet<Hour> = refused.iter().map(|(hour, _)| *hour).collect();
        let left = self.waiting().keys().filter(|hour| !hours.contains(hour)).count();
        let what = format!("{}: {}{}", name_hours(&hours), first.chain(), and_wait(left));
        let next = "what is refused is kept, and tried again after everything else";
        let hint = first.next_step().map_or_else(|| next.to_owned(), |hint| format!("{hint}; {next}"));
        Some(Error::new(kind, what).hint(hint).about_one_object())
    }
}

fn name_hours(hours: &BTreeSet<Hour>) -> String {
    let names: Vec<String> = hours.iter().take(NAMED).map(ToString::to_string).collect();
    match hours.len() {
        1 => format!("hour {}", names.concat()),
        n => {
            let more = if n > NAMED { ", …" } else { "" };
            format!("{n} hours ({}{more}) have parts that the store refuses, the first", names.join(", "))
        }
    }
}

fn and_wait(left: usize) -> String {
    match left {
        0 => String::new(),
        1 => "; 1 hour that was put off before waits for its turn".to_owned(),
        n => format!("; {n} hours that were put off before wait for their turn"),
    }
}

impl Output {
    /// Leaves an hour alone for the rest of this run: the store refuses one of its parts.
    pub(super) fn refuse(&mut self, run: &mut Run<'_>, hour: Hour, error: Error) -> Result<()> {
        tracing::info!("hour {hour}: {}", error.chain());
        self.block(hour);
        let now = run.now();
        self.refused.note(hour, error, now)?;
        run.store_is_down |= self.refused.is_everything();
        Ok(())
    }

    /// Tries the hours that earlier runs left refused, until one is refused again, and seals what had to wait for their parts;
    /// reports the refusals of this run.
    pub(crate) fn upload_refused(&mut self, run: &mut Run<'_>, recover: &mut Recover) -> Result<()> {
        let mut left: BTreeSet<Hour> = run.state.hours.sealing().collect();
        if left.is_empty() && self.refused.waiting.is_none() {
            return Ok(());
        }
        let mut any_gone = false;
        while !run.store_is_down && !run.is_stopped() {
            let Some(hour) = self.refused.turn(&left) else { break };
            self.upload(run, recover, vec![hour], SpooledBy::AnEarlierRun)?;
            if self.blocked.contains(&hour) {
                break;
            }
            left = run.state.hours.sealing().collect();
            any_gone |= !left.contains(&hour);
        }
        if any_gone && !run.is_stopped() {
            self.seal_and_upload(run, recover)?;
        }
        self.refused.waiting().retain(|hour, _| left.contains(hour));
        self.refused.save()?;
        match self.refused.verdict() {
            Some(verdict) => run.record_or_fail(verdict),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour(n: i8) -> Hour {
        format!("2023-03-10T{n:02}").parse().unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn error(kind: ErrorKind) -> Error {
        Error::new(kind, "cannot put s3://b/k: HTTP 403").hint("allow it").about_one_object()
    }

    fn all() -> BTreeSet<Hour> {
        (0..24).map(hour).collect()
    }

    #[test]
    fn longest_waiting_has_its_turn_first_and_each_has_one_a_run() {
        let dir = tempfile::tempdir().unwrap();
        let mut run = Refused::new(dir.path());
        for (n, second) in [(1, 30), (2, 10), (3, 20)] {
            run.note(hour(n), error(ErrorKind::Unavailable), at(second)).unwrap();
        }
        assert_eq!(run.turn(&all()), None, "all were tried in this run");
        for (round, turns) in (1..).zip([[2, 3, 1], [3, 1, 2], [1, 2, 3]]) {
            let mut run = Refused::new(dir.path());
            assert!(run.waits(hour(turns[0])) && !run.waits(hour(9)));
            assert_eq!(run.turn(&all()), Some(hour(turns[0])));
            assert!(!run.waits(hour(turns[0])));
            run.note(hour(turns[0]), error(ErrorKind::Unavailable), at(100 * round)).unwrap();
            assert_eq!(Refused::new(dir.path()).turn(&all()), Some(hour(turns[1])));
            assert_eq!(run.turn(&all()), Some(hour(turns[1])));
            assert_eq!((run.turn(&all()), run.turn(&all())), (Some(hour(turns[2])), None));
        }
    }

    #[test]
    fn hours_that_have_nothing_to_upload_any_more_are_forgotten_and_the_file_goes() {
        let dir = tempfile::tempdir().unwrap();
        let mut run = Refused::new(dir.path());
        run.note(hour(1), error(ErrorKind::Unavailable), at(1)).unwrap();
        assert!(run.path.exists());
        let mut run = Refused::new(dir.path());
        assert_eq!(run.turn(&BTreeSet::new()), None);
        run.save().unwrap();
        assert!(!run.path.exists());
    }

    #[test]
    fn damaged_file_is_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        for damage in [&b""[..], b"{", b"garbage\n{}", &[0xff; 99]] {
            std::fs::write(dir.path().join("refused.json"), damage).unwrap();
            assert!(!Refused::new(dir.path()).waits(hour(1)));
        }
    }

    #[test]
    fn refused_credentials_are_the_credentials_only_where_nothing_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let verdict = |kinds: &[ErrorKind], taken: bool| {
            let mut run = Refused::new(dir.path());
            for (n, kind) in (0..).zip(kinds) {
                run.note(hour(n), error(*kind), at(1)).unwrap();
            }
            if taken {
                run.taken();
            }
            run.verdict()
        };
        use ErrorKind::{Credentials, Unavailable};
        assert!(verdict(&[], true).is_none());
        assert_eq!(verdict(&[Credentials; 3], false).unwrap().kind(), Credentials);
        assert_eq!(verdict(&[Credentials; 3], true).unwrap().kind(), Unavailable);
        assert_eq!(verdict(&[Credentials, Unavailable], false).unwrap().kind(), Unavailable);
        assert_eq!(verdict(&[Unavailable], false).unwrap().kind(), Unavailable);
    }

    #[test]
    fn one_failure_names_the_hours_the_cause_and_what_else_waits() {
        let dir = tempfile::tempdir().unwrap();
        let mut run = Refused::new(dir.path());
        for n in 0..7 {
            run.note(hour(n), error(ErrorKind::Unavailable), at(1)).unwrap();
        }
        let text = run.verdict().unwrap().to_string();
        let start = "7 hours (2023-03-10T00, 2023-03-10T01, 2023-03-10T02, 2023-03-10T03, 2023-03-10T04, …) have parts";
        assert!(text.starts_with(start) && text.ends_with("HTTP 403"), "{text}");
        let mut run = Refused::new(dir.path());
        run.note(hour(3), error(ErrorKind::Unavailable), at(2)).unwrap();
        let verdict = run.verdict().unwrap();
        let text =
            "hour 2023-03-10T03: cannot put s3://b/k: HTTP 403; 6 hours that were put off before wait for their turn";
        assert_eq!(verdict.to_string(), text);
        let hint = "allow it; what is refused is kept, and tried again after everything else";
        assert_eq!(verdict.next_step(), Some(hint));
    }

    #[test]
    fn refusals_in_a_row_are_everything_in_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let mut run = Refused::new(dir.path());
        for n in 0..MOST_IN_A_ROW * 2 - 1 {
            assert!(!run.is_everything(), "{n}");
            run.note(hour(1), error(ErrorKind::Credentials), at(1)).unwrap();
            if n == MOST_IN_A_ROW - 2 {
                run.taken();
            }
        }
        assert!(run.is_everything());
    }
}
