//! Every durable step, and what a crash after it leaves: the crash table.
//!
//! Every durable step of the crate goes through `durable_step`, so that tests can crash around each. The documents' table is
//! [`Step::after_a_crash`]; a test compares them.

use crate::error::Result;
use crate::state::files::crash_point;

/// Every step after which something is durable, or done outside, that was not before; in the order of a record's life.
///
/// Not steps, because a crash around them leaves nothing that the next run has to understand:
/// - `status.json` (a view), `runs/` (a history on which nothing depends), `verified.json` (what `etl verify` found, which finds it again), `source.json`, `validator.json`, `trail.json`, `window.json` and `windows.json` (notes that save a download), `parked/tried` and `refused.json` (when
///   something was tried last): all are made again
/// - the reserve and empty directories, which mean nothing
/// - the archive's copies; a part's manifest, and the objects with its dictionaries and the settings, which are created again with their part until
///   there is a receipt
/// - the list of manifests written anew without those that the chain's newest digest covers, which are left out in any case
/// - the mark on a corrupt generation, which only repeats what the next open finds
/// - deleting what nothing names any more (`*.tmp`, `*.new`, replaced hash arrays): what comes back is deleted again
///
/// The store's answer to the probe counts only once [`Step::CreateOnlyProbed`] has recorded it; until then it is asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// The recorded settings of a new state directory.
    SettingsRecorded,
    /// A generation of the write-ahead log was opened for new commits.
    GenerationStarted,
    /// A generation that cannot be trusted was set aside.
    GenerationSetAside,
    /// A damaged file of the ledger or the quarantine was set aside.
    FileSetAside,
    /// A segment of pages has its name in the journal.
    PageJournaled,
    /// A body that is not a page was set aside.
    PageRejected,
    /// The journal knows which numbers were used.
    FloorRaised,
    /// A watch list names the files that must exist at the next start.
    WatchListSet,
    /// Tokens that are not records are in the quarantine.
    TokensQuarantined,
    /// Records of an hour that cannot be read back are parked.
    RecordsParked,
    /// A segment's new records are in the write-ahead log.
    SegmentCommitted,
    /// The state knows since when, and after which id, the source has to be asked.
    IncrementNoted,
    /// Quarantined tokens that became records have left the quarantine.
    QuarantineReleased,
    /// Records are no longer parked: their hour was read back.
    ParkedReleased,
    /// Many small files of the quarantine became one.
    QuarantineMerged,
    /// The quarantine knows which key ring tried its tokens last.
    RingRecorded,
    /// The bytes of a part are in the spool.
    PartSpooled,
    /// The hash array of an hour's parts has its name.
    HashesWritten,
    /// The ledger holds the intents: which parts there will be, with which bytes.
    HoursFrozen,
    /// The store answered a PUT.
    PartPut,
    /// The state knows which manifests no digest names yet.
    ManifestsNoted,
    /// The ledger holds the receipts.
    PartsReceipted,
    /// The ledger has parts in the making under other numbers: those that they had are taken by other lanes.
    PartsRenumbered,
    /// The ledger knows whether the store honours a create-only PUT.
    CreateOnlyProbed,
    /// An hour's parts were read back from the store, and its ledger row and hash array replaced.
    HourImported,
    /// The ledger holds the bytes of a part that was put back.
    PartRepaired,
    /// The store says that a part is gone for good.
    LossMarked,
    /// The ledger says that parts are gone for good.
    LossAccepted,
    /// An hour's parts in the making are left alone, to be cut again when no PUT of them can land any more.
    RecutNoted,
    /// The write-ahead log no longer counts the uploaded records.
    RecordsPruned,
    /// Journal segments without pending records are gone.
    PagesRemoved,
    /// Spooled bytes of uploaded parts are gone.
    SpoolCleared,
    /// Ledger rows of old hours are in the file of their day.
    DayArchived,
    /// The ledger's head no longer holds the rows that are in their days' files.
    LedgerArchived,
    /// Hash arrays older than the dedup window are forgotten.
    HashesForgotten,
    /// A generation without pending records is gone.
    GenerationRemoved,
    /// The content of the next digest is fixed.
    DigestFixed,
    /// The store answered the PUT of a digest.
    DigestPut,
    /// The state knows that the digest is in the store: the next one follows it.
    DigestReceipted,
}

/// What a crash right after a step leaves: one row of the crash table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AfterACrash {
    /// What is on the disk.
    pub on_disk: &'static str,
    /// What is in the store.
    pub in_store: &'static str,
    /// What the next run does.
    pub next_run: &'static str,
}

impl Step {
    /// All steps.
    pub const ALL: [Self; 39] = [
        Self::SettingsRecorded,
        Self::GenerationStarted,
        Self::GenerationSetAside,
        Self::FileSetAside,
        Self::PageJournaled,
        Self::PageRejected,
        Self::FloorRaised,
        Self::WatchListSet,
        Self::TokensQuarantined,
        Self::RecordsParked,
        Self::SegmentCommitted,
        Self::IncrementNoted,
        Self::QuarantineReleased,
        Self::ParkedReleased,
        Self::QuarantineMerged,
        Self::RingRecorded,
        Self::PartSpooled,
        Self::HashesWritten,
        Self::HoursFrozen,
        Self::PartPut,
        Self::ManifestsNoted,
        Self::PartsReceipted,
        Self::PartsRenumbered,
        Self::CreateOnlyProbed,
        Self::HourImported,
        Self::PartRepaired,
        Self::LossMarked,
        Self::LossAccepted,
        Self::RecutNoted,
        Self::RecordsPruned,
        Self::PagesRemoved,
        Self::SpoolCleared,
        Self::DayArchived,
        Self::LedgerArchived,
        Self::HashesForgotten,
        Self::GenerationRemoved,
        Self::DigestFixed,
        Self::DigestPut,
        Self::DigestReceipted,
    ];

    /// The crash table: what a crash right after this step leaves, and what the next run does about it.
    pub const fn after_a_crash(self) -> AfterACrash {
        let (on_disk, in_store, next_run) = match self {
            Self::SettingsRecorded => ("an empty ledger with the settings", "–", "goes on with them"),
            Self::GenerationStarted => {
                ("a new generation; an older one that it replaces may still be there", "–", "removes the replaced one")
            }
            Self::GenerationSetAside => {
                ("a directory *.corrupt, and every page of its records", "–", "fills a new generation from the journal")
            }
            Self::FileSetAside => (
                "a file *.damaged, and none under its own name",
                "–",
                "reads it back from the store, or reports what is gone",
            ),
            Self::PageJournaled => ("a page that was not decrypted", "–", "decrypts and commits it"),
            Self::PageRejected => ("the body in rejected/", "–", "nothing to do"),
            Self::FloorRaised => ("the number above which new pages are numbered", "–", "numbers new pages above it"),
            Self::WatchListSet => ("the numbers of the files that must exist", "–", "reports one that is gone"),
            Self::TokensQuarantined => (
                "the page, and its odd tokens in the quarantine",
                "–",
                "commits the page; the same tokens are quarantined once",
            ),
            Self::RecordsParked => (
                "the page, and its records of an hour that cannot be read back in parked/",
                "–",
                "commits the rest of the page; the same records are parked once",
            ),
            Self::SegmentCommitted => (
                "records in the write-ahead log, the page still in the journal",
                "–",
                "sees that the page is committed",
            ),
            Self::IncrementNoted => ("committed pages, and what to ask for next", "–", "asks for what came after it"),
            Self::QuarantineReleased => {
                ("the recovered tokens' page in the journal", "–", "sees that the page is committed")
            }
            Self::ParkedReleased => {
                ("the records' page in the journal, committed", "–", "sees that the page is committed")
            }
            Self::QuarantineMerged => ("the tokens in one file, and no longer in the small ones", "–", "nothing to do"),
            Self::RingRecorded => ("the quarantine, and which keys tried it", "–", "tries again only other keys"),
            Self::PartSpooled => ("bytes that no ledger row names", "–", "deletes the stray bytes, seals again"),
            Self::HashesWritten => {
                ("a hash array that no ledger row names", "–", "seals or imports again, and writes the array again")
            }
            Self::HoursFrozen => ("intents, and the parts' bytes", "–", "PUTs the same bytes"),
            Self::PartPut => {
                ("intents, and the parts' bytes", "the part", "PUTs again; 412, HEAD, same content: it was us")
            }
            Self::ManifestsNoted => (
                "intents, and the manifests' digests",
                "the part, its manifest",
                "as after the PUT; names each manifest once",
            ),
            Self::PartsReceipted => ("receipts; records and pages still there", "the part", "prunes"),
            Self::PartsRenumbered => {
                ("intents with other numbers, the same bytes", "the parts of other lanes", "PUTs the bytes there")
            }
            Self::CreateOnlyProbed => ("receipts, and the store's answer", "the part", "prunes"),
            Self::HourImported => (
                "the imported part as a receipt; our parts of the hour thawed",
                "the foreign part",
                "drops what it holds, seals the rest as the next part",
            ),
            Self::PartRepaired => ("the receipt, with the new bytes' digest", "the part", "nothing to do"),
            Self::LossMarked => {
                ("the receipt", "what says that the part is gone", "a look at the hour, or another giving up, finds it")
            }
            Self::LossAccepted => (
                "the part as expired; the hour's hashes are forgotten",
                "what says that the part is gone",
                "reads the other parts back before the hour takes records",
            ),
            Self::RecutNoted => (
                "intents, and which hour is to be cut again",
                "the part perhaps",
                "leaves the hour alone for an hour; then looks, and seals its records again",
            ),
            Self::RecordsPruned => {
                ("hashes and ledger rows; the page still in the journal", "the part", "removes the page")
            }
            Self::PagesRemoved => ("hashes and ledger rows; bytes in the spool", "the part", "clears the spool"),
            Self::SpoolCleared => ("hashes and ledger rows", "the part", "nothing to do"),
            Self::DayArchived => {
                ("rows in their day's file, and in the head too", "the part", "the head's row counts; archives again")
            }
            Self::LedgerArchived => ("rows in their days' files only", "the part", "nothing to do"),
            Self::HashesForgotten => ("the ledger row; the array's file perhaps", "the part", "deletes the stray file"),
            Self::GenerationRemoved => ("a directory *.dead perhaps", "the part", "deletes it"),
            Self::DigestFixed => ("the next digest's bytes", "–", "PUTs the same bytes"),
            Self::DigestPut => {
                ("the next digest's bytes", "the digest", "PUTs again; 412, same bytes: it was us; signs it")
            }
            Self::DigestReceipted => (
                "the digest as the chain's newest; its manifests still listed",
                "the digest, its signature",
                "takes them off the list",
            ),
        };
        AfterACrash { on_disk, in_store, next_run }
    }
}

/// Does the durable step `step`. With the feature `failpoints` the process can be aborted right before and right after, or the
/// step made to fail.
pub(crate) fn durable_step<T>(step: Step, action: impl FnOnce() -> Result<T>) -> Result<T> {
    let point = crash_point::before(&step);
    crash_point::failure(&point, false).map_or(Ok(()), Err)?;
    let done = action()?;
    crash_point::failure(&point, true).map_or(Ok(()), Err)?;
    crash_point::after(point);
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_has_a_row_in_the_crash_table() {
        for step in Step::ALL {
            assert!(!step.after_a_crash().next_run.is_empty(), "{step:?}");
        }
    }
}
