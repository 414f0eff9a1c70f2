//! Time: clocks that jump, hours that close, records of the past and of the future, and hours that come twice.

use etl::report::status::HourState;

use crate::support::cli::record;
use crate::support::desk::Desk;

const HOUR: &str = "2023-03-10T01";

fn parts(desk: &Desk) -> Vec<(String, usize)> {
    desk.parts()
}

fn is(found: &[(String, usize)], expected: &[(&str, usize)]) -> bool {
    found.iter().map(|(name, rows)| (name.as_str(), *rows)).eq(expected.iter().copied())
}

#[track_caller]
fn lake_is(desk: &Desk, expected: &[(&str, usize)]) {
    let found = parts(desk);
    assert!(is(&found, expected), "{found:?} instead of {expected:?}");
}

#[test]
fn hour_closes_exactly_at_its_end_and_grace() {
    let desk = Desk::new("UTC");
    desk.run_at("2023-03-10T01:30:00Z", &[record(1, "2023-03-10T01:00:00.000Z")]);
    desk.run_at("2023-03-10T02:09:59.999999999Z", &[record(2, "2023-03-10T01:59:59.999Z")]);
    lake_is(&desk, &[]);
    assert_eq!(desk.status().hours[0].state, HourState::Open);
    assert_eq!(desk.status().hours[0].closes_at.to_string(), "2023-03-10T02:10:00Z");
    assert_eq!(desk.run_at("2023-03-10T02:10:00Z", &[]).exit_code(), 0);
    lake_is(&desk, &[("2023-03-10T01/0", 2)]);
}

#[test]
fn records_that_come_with_the_closing_are_late_and_wait_an_hour_from_the_first_ones_receipt() {
    let desk = Desk::new("UTC");
    desk.run_at("2023-03-10T01:30:00Z", &[record(1, "2023-03-10T01:00:00.000Z")]);
    desk.run_at("2023-03-10T02:10:00Z", &[record(2, "2023-03-10T01:20:00.000Z")]);
    lake_is(&desk, &[("2023-03-10T01/0", 1)]);
    desk.run_at("2023-03-10T02:40:00Z", &[record(3, "2023-03-10T01:21:00.000Z")]);
    desk.run_at("2023-03-10T03:09:59Z", &[record(4, "2023-03-10T01:22:00.000Z")]);
    lake_is(&desk, &[("2023-03-10T01/0", 1)]);
    assert_eq!(desk.status().hours[0].closes_at.to_string(), "2023-03-10T03:10:00Z");
    desk.run_at("2023-03-10T03:10:00Z", &[record(5, "2023-03-10T01:23:00.000Z")]);
    lake_is(&desk, &[("2023-03-10T01/0", 1), ("2023-03-10T01/1", 3)]);
    // The one that came with the sealing waits from its own receipt.
    desk.run_at("2023-03-10T04:09:59Z", &[]);
    lake_is(&desk, &[("2023-03-10T01/0", 1), ("2023-03-10T01/1", 3)]);
    desk.run_at("2023-03-10T04:10:00Z", &[]);
    lake_is(&desk, &[("2023-03-10T01/0", 1), ("2023-03-10T01/1", 3), ("2023-03-10T01/2", 1)]);
}

#[test]
fn clock_that_jumps_back_and_forth_loses_and_repeats_nothing() {
    let desk = Desk::new("UTC");
    let mut records: Vec<String> = (1..=6).map(|n| record(n, &format!("2023-03-10T0{n}:30:00.000Z"))).collect();
    let times = [
        "2023-03-10T01:40:00Z",
        "2023-03-10T05:40:00Z",
        // The clock was wrong by three days, and is set right.
        "2023-03-07T00:00:00Z",
        "2023-03-10T05:50:00Z",
        "2033-01-01T00:00:00Z",
        "1971-01-01T00:00:00Z",
        "2023-03-10T06:50:00Z",
    ];
    for time in times {
        if time.starts_with("2033") {
            records.push(record(7, "2023-03-10T01:45:00.000Z"));
        }
        let outcome = desk.run_at(time, &records);
        assert!([0, 65].contains(&outcome.exit_code()), "{time}: {:?}", outcome.problems);
    }
    // What was received under a clock of the future does not wait for that future.
    let outcome = desk.run_at("2023-03-10T07:10:00Z", &records);
    assert_eq!(outcome.exit_code(), 0, "{:?}", outcome.problems);
    let found = parts(&desk);
    assert_eq!(found.iter().map(|(_, rows)| rows).sum::<usize>(), records.len(), "{found:?}");
    let status = desk.status();
    assert_eq!((status.totals.pending, status.totals.quarantined, status.journal.pages), (0, 0, 0));
    assert_eq!(status.totals.uploaded, records.len() as u64);
}

#[test]
fn record_of_the_future_is_quarantined_and_comes_by_itself_when_its_time_has_come() {
    let desk = Desk::new("UTC");
    let early = record(1, "2023-03-10T05:00:00.001Z");
    let outcome = desk.run_at("2023-03-10T04:00:00Z", &[early.clone(), record(2, "2023-03-10T05:00:00.000Z")]);
    assert_eq!((outcome.exit_code(), outcome.summary.new, outcome.summary.quarantined), (65, 1, 1));
    let outcome = desk.run_at("2023-03-10T04:00:00Z", &[early]);
    assert_eq!((outcome.exit_code(), outcome.summary.quarantined), (0, 0), "known to the quarantine");
    let outcome = desk.run_at("2023-03-10T04:00:01Z", &[]);
    assert_eq!((outcome.exit_code(), outcome.summary.recovered, outcome.summary.new), (0, 1, 1));
    assert_eq!(desk.status().quarantine.count, 0);
    desk.run_at("2023-03-10T06:10:00Z", &[]);
    lake_is(&desk, &[("2023-03-10T05/0", 2)]);
}

#[test]
fn both_passes_of_a_repeated_hour_are_one_hour_that_closes_after_the_second() {
    let desk = Desk::new("America/New_York");
    // 01:30 comes twice on 5 November: at 05:30 and at 06:30 UTC.
    let (first, second) = (record(1, "2023-11-05T05:30:00.000Z"), record(2, "2023-11-05T06:30:00.000Z"));
    desk.run_at("2023-11-05T05:45:00Z", &[first]);
    desk.run_at("2023-11-05T06:11:00Z", &[]);
    lake_is(&desk, &[]);
    desk.run_at("2023-11-05T06:45:00Z", &[second, record(3, "2023-11-05T07:00:00.000Z")]);
    desk.run_at("2023-11-05T07:09:59Z", &[]);
    lake_is(&desk, &[]);
    desk.run_at("2023-11-05T07:10:00Z", &[]);
    lake_is(&desk, &[("2023-11-05T01/0", 2)]);
    desk.run_at("2023-11-05T08:10:00Z", &[]);
    lake_is(&desk, &[("2023-11-05T01/0", 2), ("2023-11-05T02/0", 1)]);
}

#[test]
fn hour_that_is_skipped_in_spring_does_not_keep_its_neighbours_open() {
    let desk = Desk::new("America/New_York");
    // On 12 March 02:00 does not come: 01:59 is followed by 03:00, at 07:00 UTC.
    desk.run_at("2023-03-12T06:30:00Z", &[record(1, "2023-03-12T06:29:00.000Z")]);
    desk.run_at("2023-03-12T07:10:00Z", &[record(2, "2023-03-12T07:05:00.000Z")]);
    lake_is(&desk, &[("2023-03-12T01/0", 1)]);
    desk.run_at("2023-03-12T08:10:00Z", &[]);
    lake_is(&desk, &[("2023-03-12T01/0", 1), ("2023-03-12T03/0", 1)]);
}

#[test]
fn first_and_last_years_of_the_calendar_have_hours_like_any_other() {
    let desk = Desk::new("UTC");
    let records = [record(1, "0001-01-01T00:00:00.000Z"), record(2, "9999-12-30T20:30:00.000Z")];
    let outcome = desk.run_at("2023-03-10T01:00:00Z", &records);
    assert_eq!((outcome.exit_code(), outcome.summary.quarantined), (65, 1), "{:?}", outcome.problems);
    desk.run_at("2023-03-10T02:00:00Z", &[]);
    lake_is(&desk, &[("0001-01-01T00/0", 1)]);
    let outcome = desk.run_at("9999-12-30T20:00:00Z", &records);
    assert_eq!((outcome.exit_code(), outcome.summary.recovered), (0, 1), "{:?}", outcome.problems);
    desk.run_at("9999-12-30T21:10:00Z", &[]);
    lake_is(&desk, &[("0001-01-01T00/0", 1), ("9999-12-30T20/0", 1)]);
    let outcome = desk.run_at("9999-12-30T22:00:00Z", &[record(3, "9999-12-30T21:59:59.000Z")]);
    assert_eq!(outcome.exit_code(), 0, "{:?}", outcome.problems);
    assert_eq!(desk.status().totals.records, 3);
    assert!(desk.status().hours.iter().all(|hour| hour.hour.to_string() != HOUR));
}
