//! Records of an hour that cannot be read back: parked, and brought back when it can be.
//!
//! Nobody can tell whether such a record is known. It waits in [`crate::state::hours::parked`]; the rest of its page is committed,
//! and other hours are not affected. Each such hour is tried once in a while; then its records go back through the journal, whose
//! page is durable before the parked copy is removed. A crash in between finds them known, or parks them again.

use std::collections::{BTreeMap, BTreeSet};

use super::Recover;
use super::recall::Recall;
use super::requeue::page_of;
use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::job::Run;
use crate::job::intake::Intake;
use crate::page::decode::{Decoded, Ended};
use crate::state::hours::parked::ParkedRecord;
use crate::state::pages::journal::Segment;

/// Records that go back in one page.
const PAGE: usize = 5_000;

impl Recover {
    /// Parks the records of hours that cannot be read back, and takes them out of their pages. `false`: the run is to stop, and
    /// nothing has changed.
    pub(crate) fn park(
        &mut self,
        run: &mut Run<'_>,
        segment: &Segment,
        bodies: &[&[u8]],
        pages: &mut [Decoded],
        hours: &BTreeSet<Hour>,
    ) -> Result<bool> {
        let mut parked: BTreeMap<Hour, Vec<ParkedRecord>> = BTreeMap::new();
        let received = segment.received;
        let mut each = |hour: Hour, hash, token: &str| {
            parked.entry(hour).or_default().push(ParkedRecord { hash, token: token.to_owned(), received });
            Ok(())
        };
        for body in bodies {
            let stop = || run.setup.stop.is_requested();
            match run.setup.decoder.tokens_of(body, received, &stop, hours, &mut each) {
                Ok(()) => {}
                Err(Ended::Page(_)) => return Ok(false),
                Err(Ended::Taker(error)) => return Err(error),
            }
        }
        for (hour, records) in parked {
            let was_parked = run.state.hours.parked.holds(hour);
            let new = run.state.hours.parked.add(segment.id.number, hour, records)?;
            run.summary.parked += new;
            if let Some(cause) = self.take_reason(hour) {
                report_parked(run, hour, new, &cause, was_parked)?;
            }
        }
        pages.iter_mut().for_each(|page| page.leave_out(hours));
        Ok(true)
    }

    /// Tries the hours again that have parked records, and brings back the records of those that can be read.
    pub(crate) fn retry_parked(&mut self, run: &mut Run<'_>, intake: &mut Intake) -> Result<()> {
        for hour in run.state.hours.parked.hours() {
            if run.is_stopped() {
                break;
            }
            if let Recall::AtHand = self.recall(run, hour)? {
                self.bring_back(run, intake, hour)?;
            }
            let Some(error) = self.take_reason(hour) else { continue };
            let what = format!("hour {hour}: its records stay parked: {}", error.chain());
            if self.is_replay {
                run.record_or_fail(Error::new(error.kind(), what).hint(way_out(&error)))?;
            } else {
                tracing::info!("{what}");
            }
        }
        Ok(())
    }

    fn bring_back(&mut self, run: &mut Run<'_>, intake: &mut Intake, hour: Hour) -> Result<()> {
        let records = match run.state.hours.parked.records(hour) {
            Ok(records) => records,
            Err(damaged) => {
                let hint = "restore the file from a backup, or move it away to go on without its records";
                run.problems.push(damaged.hint(hint));
                return Ok(());
            }
        };
        let mut ids = Vec::new();
        for some in records.chunks(PAGE) {
            let page = page_of(run, some.iter().map(|record| record.token.as_str()))?;
            if !self.is_known(run, &page)? {
                ids.push(run.state.pages.append(&[&page], run.now())?);
            }
        }
        // The journal has them now.
        run.state.hours.parked.release(hour)?;
        run.summary.recovered += records.len() as u64;
        tracing::info!("hour {hour} was read back: its {} parked records are taken in", records.len());
        ids.into_iter().try_for_each(|id| intake.commit_segment(run, self, id))
    }

    /// Whether all records of a page are committed: a crash came before the parked copies were removed.
    fn is_known(&mut self, run: &mut Run<'_>, page: &[u8]) -> Result<bool> {
        let Ok(decoded) = run.setup.decoder.page(page, run.now()) else { return Ok(false) };
        let is_whole = decoded.records.len() as u64 == decoded.elements;
        let at_hand =
            self.open_hours(run, std::slice::from_ref(&decoded))?.is_some_and(|unreadable| unreadable.is_empty());
        Ok(is_whole && at_hand && run.buckets.contains_all(&decoded))
    }
}

/// Reports that records were parked: in the run that parks the first ones of their hour.
fn report_parked(run: &mut Run<'_>, hour: Hour, new: u64, cause: &Error, was_parked: bool) -> Result<()> {
    let (records, wait) = if new == 1 { ("record", "waits") } else { ("records", "wait") };
    let what = format!(
        "hour {hour}: its parts cannot be read back, so {new} new {records} of it {wait} in parked/: {}",
        cause.chain()
    );
    if was_parked {
        tracing::info!("{what}");
        return Ok(());
    }
    run.record_or_fail(Error::new(cause.kind(), what).hint(way_out(cause)))
}

/// The hint that says how parked records come back.
fn way_out(cause: &Error) -> String {
    match cause.kind() {
        ErrorKind::Mismatch => format!(
            "{}; then `etl replay`, or the next run, takes its records in",
            cause.next_step().unwrap_or("put the object back as it was")
        ),
        _ => cause
            .next_step()
            .unwrap_or("the hour is tried again once an hour: its records come by themselves")
            .to_owned(),
    }
}
