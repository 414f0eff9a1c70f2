//! The table of faults and steps: for each durable step and each thing that can befall it, the test in which it does, or why it cannot.
//!
//! The matches below are exhaustive, so a new step or fault without an answer does not compile; the test holds each name against
//! the tests that there are.

use etl::state::files::step::Step;

/// What can befall a step.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// The process dies right before it or right after it.
    Crash,
    /// It fails, not done or done.
    Error,
    /// The power goes.
    Power,
    /// It is done outside, and the answer is lost.
    LostAnswer,
    /// It is done outside, and the answer or the deed comes late.
    LateAnswer,
    /// What it made is deleted.
    Deleted,
}

const FAULTS: [Fault; 6] =
    [Fault::Crash, Fault::Error, Fault::Power, Fault::LostAnswer, Fault::LateAnswer, Fault::Deleted];

#[derive(Debug)]
enum Cell {
    /// The test in which it befalls the step: module and name.
    By(&'static str, &'static str),
    /// It cannot befall it.
    Never(&'static str),
}

fn cell(step: Step, fault: Fault) -> Cell {
    match fault {
        Fault::Crash => crash(step),
        Fault::Error => error(step),
        Fault::Power => power(step),
        Fault::LostAnswer | Fault::LateAnswer => answer(step, fault),
        Fault::Deleted => deleted(step),
    }
}

fn crash(step: Step) -> Cell {
    match step {
        Step::CreateOnlyProbed => Cell::By("steps/store", "crash_at_any_step_creates_each_object_once"),
        Step::PartsRenumbered => {
            Cell::By("lanes/crash", "crash_or_failure_at_any_step_of_a_lane_leaves_each_record_once")
        }
        Step::DayArchived | Step::LedgerArchived => {
            Cell::By("steps/lake", "crash_at_any_step_of_a_run_that_archives_changes_nothing_in_the_end")
        }
        Step::GenerationSetAside | Step::FileSetAside => {
            Cell::By("steps/lake", "crash_at_any_step_of_a_run_that_repairs_changes_nothing_in_the_end")
        }
        Step::RecordsParked | Step::ParkedReleased => {
            Cell::By("steps/lake", "crash_at_any_step_of_a_run_that_parks_or_brings_back_changes_nothing_in_the_end")
        }
        Step::PartRepaired | Step::LossMarked | Step::LossAccepted | Step::RecutNoted => {
            Cell::By("steps/lake", "crash_at_any_step_of_a_repair_changes_nothing_in_the_end")
        }
        // `scenarios_pass_every_step` demands that the scenarios have all of them.
        _ => Cell::By("steps/lake", "crash_at_any_step_of_daily_work_changes_nothing_in_the_end"),
    }
}

fn error(step: Step) -> Cell {
    match step {
        Step::CreateOnlyProbed => Cell::By("wire_store", "each_fault_once_at_a_look_is_no_absence"),
        Step::PartsRenumbered => {
            Cell::By("lanes/crash", "crash_or_failure_at_any_step_of_a_lane_leaves_each_record_once")
        }
        _ => Cell::By("steps/lake", "failure_of_any_step_changes_nothing_in_the_end"),
    }
}

fn power(step: Step) -> Cell {
    match step {
        Step::PageJournaled
        | Step::WatchListSet
        | Step::SegmentCommitted
        | Step::PartSpooled
        | Step::HashesWritten
        | Step::HoursFrozen
        | Step::PartPut
        | Step::PartsReceipted
        | Step::RecordsPruned
        | Step::PagesRemoved
        | Step::SpoolCleared => Cell::By("power", "power_cut_right_after_a_step_leaves_what_the_step_made_durable"),
        Step::SettingsRecorded
        | Step::FloorRaised
        | Step::GenerationStarted
        | Step::GenerationRemoved
        | Step::TokensQuarantined
        | Step::RingRecorded
        | Step::HourImported
        | Step::HashesForgotten => {
            Cell::By("nth_call", "bytes_are_durable_before_their_name_and_names_before_the_ledger_names_them")
        }
        // Each of them is one call of `durable::replace`, `durable::rename` or of the ledger's one way to be replaced, as those above.
        Step::GenerationSetAside
        | Step::FileSetAside
        | Step::PageRejected
        | Step::RecordsParked
        | Step::IncrementNoted
        | Step::QuarantineReleased
        | Step::ParkedReleased
        | Step::QuarantineMerged
        | Step::CreateOnlyProbed
        | Step::PartRepaired
        | Step::LossMarked
        | Step::LossAccepted
        | Step::RecutNoted
        | Step::PartsRenumbered
        | Step::DayArchived
        | Step::LedgerArchived
        | Step::ManifestsNoted
        | Step::DigestFixed
        | Step::DigestPut
        | Step::DigestReceipted => Cell::By("power", "power_cut_at_any_moment_loses_nothing_that_was_acknowledged"),
    }
}

fn answer(step: Step, fault: Fault) -> Cell {
    match (step, fault) {
        (Step::PartPut, Fault::LateAnswer) => {
            Cell::By("chain", "two_machines_put_each_record_into_one_part_whatever_fails")
        }
        (Step::DigestPut, _) => Cell::By("digests", "lost_answer_to_the_put_of_a_digest_costs_a_run_and_nothing_else"),
        (Step::PartPut, _) => Cell::By("wire_store", "each_fault_once_at_a_put_costs_a_try_and_nothing_else"),
        (Step::CreateOnlyProbed, _) => Cell::By("wire_store", "each_fault_once_at_a_look_is_no_absence"),
        (Step::LossMarked, _) => Cell::By("repair", "loss_is_said_in_the_store_and_taken_by_a_state_that_is_new"),
        (Step::HourImported, _) => {
            Cell::By("wire_store", "each_fault_once_while_an_hour_is_read_back_makes_its_records_wait")
        }
        (Step::PageJournaled, _) => Cell::By("fetch_first", "run_that_is_killed_between_pages_loses_none_of_them"),
        _ => Cell::Never("nobody outside is asked"),
    }
}

fn deleted(step: Step) -> Cell {
    match step {
        Step::PartPut | Step::PartsReceipted | Step::CreateOnlyProbed | Step::HourImported => {
            Cell::By("parked", "late_record_of_an_hour_that_is_gone_waits_alone_and_all_others_go_out")
        }
        Step::PartsRenumbered => Cell::By("lanes/faults", "bytes_of_renumbered_parts_that_are_lost_are_made_again"),
        Step::PartRepaired => Cell::By("repair", "missing_part_is_put_back_from_whatever_has_its_records"),
        Step::LossMarked | Step::LossAccepted => {
            Cell::By("repair", "loss_is_said_in_the_store_and_taken_by_a_state_that_is_new")
        }
        Step::RecutNoted => Cell::By("repair", "part_that_is_never_taken_is_cut_again_after_an_hour"),
        Step::DigestPut => Cell::By("digests", "whatever_is_changed_or_removed_is_named"),
        Step::ManifestsNoted | Step::DigestFixed | Step::DigestReceipted => {
            Cell::By("digests", "lost_state_goes_on_from_the_newest_digest_and_names_what_none_names")
        }
        Step::IncrementNoted => {
            Cell::By("paging", "other_requests_forget_since_and_a_damaged_or_lost_note_only_asks_for_more")
        }
        Step::RecordsParked => Cell::By("parked", "parked_file_that_vanishes_is_missed"),
        Step::GenerationSetAside | Step::FileSetAside => Cell::Never("what was set aside is for a look only"),
        Step::PageRejected => Cell::Never("its deletion is how a person settles it"),
        Step::QuarantineReleased
        | Step::ParkedReleased
        | Step::RecordsPruned
        | Step::PagesRemoved
        | Step::SpoolCleared
        | Step::HashesForgotten
        | Step::GenerationRemoved => Cell::Never("it deletes by itself"),
        _ => Cell::By("damage", "damaged_file_of_any_kind_is_repaired_or_refused_and_nothing_is_lost_in_silence"),
    }
}

#[test]
fn each_fault_at_each_step_has_its_test_or_its_reason() {
    for step in Step::ALL {
        for fault in FAULTS {
            match cell(step, fault) {
                Cell::Never(why) => assert!(!why.is_empty(), "{step:?} {fault:?}"),
                Cell::By(module, test) => {
                    let path = format!("{}/tests/suite/{module}", env!("CARGO_MANIFEST_DIR"));
                    let text = std::fs::read_to_string(format!("{path}.rs"));
                    let text = text.or_else(|_| std::fs::read_to_string(format!("{path}/mod.rs"))).unwrap();
                    assert!(text.contains(&format!("fn {test}()")), "{step:?} {fault:?}: no test {test} in {path}");
                }
            }
        }
    }
}
