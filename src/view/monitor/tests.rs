//! What is said of a status, at the limits and beyond. Keeps nothing on the disk.

use super::*;
use crate::hour::gaps::Gap;
use crate::state::pages::journal::Rejected;
use crate::state::status::verified::{Fault, Finding as VerifyFinding};
use crate::state::status::{Command, HourState, HourStatus, JournalStatus, RunSoFar};

fn at(text: &str) -> Timestamp {
    format!("2023-03-10T{text}Z").parse().unwrap()
}

fn well_run() -> Status {
    let mut status = Status::empty(at("10:00:00"));
    status.last_run = Some(LastRun {
        started: at("10:00:00"),
        ended: Some(at("10:00:01")),
        exit: Some(0),
        command: Command::Run,
        so_far: RunSoFar { new: 37, ..RunSoFar::default() },
        problems: Vec::new(),
        hint: None,
    });
    status.last_success = Some(at("10:00:01"));
    status
}

fn limits() -> Thresholds {
    let pair = |warn, crit| Limits { warn: Some(warn), crit };
    Thresholds {
        age: pair(7200, Some(21_600)),
        pending: pair(3600, Some(43_200)),
        quarantine: pair(0, Some(10)),
        missing: pair(0, None),
        uncommitted: pair(0, None),
    }
}

#[track_caller]
fn says(status: &Status, now: &str, level: Level, text: &str) {
    let answer = check(status, &limits(), at(now), Vec::new());
    assert_eq!(answer.level, level, "{}", answer.line());
    assert!(answer.line().starts_with(&format!("{level} - {text}")), "{}", answer.line());
    assert_eq!((answer.line().matches('\n').count(), answer.line().matches('|').count()), (1, 1), "{}", answer.line());
}

#[test]
fn all_is_well_and_the_figures_follow() {
    let expected = "OK - last run 179 s ago, 37 new, nothing pending | age=179s;7200;21600;0 \
                    pending_age=0s;3600;43200;0 overdue=0 quarantined=0;0;10;0 gaps=0 missing=0;0;;0 \
                    uncommitted=0;0;;0 pending=0 uploaded=0c journal=0B rejected=0 parked=0\n";
    let expected = expected.replace("179 s ago", "2 min ago");
    assert_eq!(check(&well_run(), &limits(), at("10:03:00"), Vec::new()).line(), expected);
}

#[test]
fn run_that_does_not_come_is_noticed_at_its_limits() {
    says(&well_run(), "12:00:01", Level::Ok, "last run 2 h ago");
    says(&well_run(), "12:00:02", Level::Warning, "the last run that succeeded was 2 h ago");
    says(&well_run(), "16:00:02", Level::Critical, "the last run that succeeded was 6 h ago");
}

#[test]
fn worst_comes_first_and_nothing_breaks_the_line() {
    let mut status = well_run();
    status.quarantine.count = 3;
    let run = status.last_run.as_mut().unwrap();
    (run.exit, run.problems) = (Some(77), vec!["a key | was\nrefused".to_owned()]);
    run.hint = Some("give it\nanother | key".to_owned());
    let text = "the last run ended with exit 77: a key   was refused (hint: give it another   key); 3 tokens in the quarantine";
    says(&status, "10:03:00", Level::Critical, text);
    status.quarantine.count = 11;
    status.last_run.as_mut().unwrap().exit = Some(75);
    says(
        &status,
        "10:03:00",
        Level::Critical,
        "11 tokens in the quarantine: `etl quarantine list` says why; the last run",
    );
}

#[test]
fn hours_that_wait_pages_that_are_locked_and_new_gaps_warn() {
    let hour = |state| HourStatus {
        hour: "2023-03-10T08".parse().unwrap(),
        state,
        pending_records: 5,
        closes_at: at("09:10:00"),
        late_records: 0,
        uploaded_at: None,
        parts: Vec::new(),
    };
    let mut status = well_run();
    status.hours = vec![hour(HourState::Closed)];
    says(&status, "10:10:00", Level::Ok, "last run 9 min ago");
    says(&status, "10:10:01", Level::Warning, "1 hour not uploaded, the first has been due for 60 min");
    status.running = true;
    says(&status, "10:10:01", Level::Ok, "last run 10 min ago");
    status = well_run();
    status.journal = JournalStatus { pages: 2, bytes: 9, uncommitted: 2, ..JournalStatus::default() };
    says(&status, "10:03:00", Level::Warning, "2 pages in the journal not committed");
    status = well_run();
    status.parked.count = 3;
    says(&status, "10:03:00", Level::Warning, "3 records parked");
    status = well_run();
    status.rejected = Rejected { count: 2, bytes: 9 };
    says(&status, "10:03:00", Level::Warning, "2 bodies rejected");
    status = well_run();
    status.quarantine.held_pages = 1;
    says(&status, "10:03:00", Level::Warning, "the quarantine is full: 1 page held");
    status = well_run();
    (status.gaps, status.gap_found) = (vec![Gap { from: 5, to: 9 }], Some(at("10:00:00")));
    says(&status, "10:03:00", Level::Warning, "5 ids never seen, in 1 gap");
    status.gap_found = Some("2023-03-09T10:02:00Z".parse().unwrap());
    says(&status, "10:03:00", Level::Ok, "last run 2 min ago, 37 new, nothing pending, 5 ids never seen, in 1 gap");
}

#[test]
fn without_a_run_that_succeeded_it_is_not_well() {
    says(&Status::empty(at("10:00:00")), "10:00:00", Level::Unknown, "no run yet");
    let mut status = well_run();
    (status.last_success, status.last_run.as_mut().unwrap().exit) = (None, Some(75));
    says(&status, "10:03:00", Level::Warning, "the last run ended with exit 75; no run has succeeded yet");
    status.last_run.as_mut().unwrap().exit = Some(78);
    says(&status, "10:03:00", Level::Critical, "the last run ended with exit 78; no run has succeeded yet");
}

#[test]
fn replay_that_succeeds_hides_no_failure_and_one_that_fails_is_seen() {
    let mut status = well_run();
    let mut failed = status.last_run.clone().unwrap();
    (failed.exit, failed.problems) = (Some(75), vec!["the source is away".to_owned()]);
    status.last_fetching_run = Some(failed);
    status.last_run.as_mut().unwrap().command = Command::Replay;
    says(&status, "10:03:00", Level::Warning, "the last run ended with exit 75: the source is away");
    status.last_fetching_run.as_mut().unwrap().exit = Some(0);
    says(&status, "10:03:00", Level::Ok, "last run");
    status.last_run.as_mut().unwrap().exit = Some(74);
    says(&status, "10:03:00", Level::Critical, "the last replay ended with exit 74");
}

#[test]
fn run_that_was_killed_is_seen_and_one_at_work_is_judged_by_the_one_before() {
    let mut status = well_run();
    status.last_fetching_run.clone_from(&status.last_run);
    let run = status.last_run.as_mut().unwrap();
    (run.ended, run.exit) = (None, None);
    says(&status, "10:03:00", Level::Warning, "the last run was killed: it began 3 min ago and never ended");
    status.running = true;
    says(&status, "10:03:00", Level::Ok, "last run 2 min ago");
    status.last_fetching_run.as_mut().unwrap().exit = Some(77);
    says(&status, "10:03:00", Level::Critical, "the last run ended with exit 77");
}

#[test]
fn success_that_is_still_to_come_is_a_wrong_clock() {
    let mut status = well_run();
    status.last_success = Some(at("12:00:00"));
    says(&status, "10:03:00", Level::Warning, "the last run that succeeded is in the future");
}

#[test]
fn what_verify_found_is_critical_until_it_is_mended() {
    let finding = VerifyFinding {
        fault: Fault::Missing,
        hour: None,
        key: "data/part-00000".to_owned(),
        detail: "no such object".to_owned(),
        hint: "put it back".to_owned(),
        only_deep: false,
    };
    let mut last = LastVerify::new(at("10:00:00"), true, 7, vec![finding], None);
    let mut status = well_run();
    status.last_verify = Some(last.clone());
    let text = "the last verify was 3 min ago, deep: 1 object not mended, the first of them missing data/part-00000: put it back";
    says(&status, "10:03:00", Level::Critical, text);
    (last.left, last.findings) = (0, Vec::new());
    status.last_verify = Some(last);
    says(&status, "10:03:00", Level::Ok, "last run");
}

#[test]
fn several_pipelines_are_one_line_with_the_worst_first_and_each_named() {
    let answer = |level, text| Answer::with(level, text, "age=1s;2;3;0 gaps=0".to_owned());
    let all = of_several(vec![
        ("orders".to_owned(), answer(Level::Ok, "fine")),
        ("no file".to_owned(), Answer::of(Level::Unknown, "gone")),
        ("it's".to_owned(), answer(Level::Critical, "down | out\n")),
    ]);
    assert_eq!(all.level, Level::Critical, "what is known to be bad outranks what is not known");
    assert_eq!(
        all.line(),
        "CRITICAL - it's: CRITICAL down   out ; no file: UNKNOWN gone; orders: OK fine | \
         'it_s.age'=1s;2;3;0 'it_s.gaps'=0 'orders.age'=1s;2;3;0 'orders.gaps'=0\n"
    );
    assert_eq!(of_several(Vec::new()).level, Level::Unknown);
}
