//! Time: clocks that jump, hours that close, records of the past and of the future, and hours that come twice.

use etl::state::status::HourState;

use crate::support::cli::{Place, record};
use crate::support::desk::Desk;
use crate::support::service::Service;

/// A run against a service whose clock is so many minutes off.
fn beside_a_clock_off_by(minutes: i64) -> (i32, String) {
    let service = Service::start(3, |options| {
        options.live = true;
        options.clock_off = jiff::SignedDuration::from_mins(minutes);
    });
    let mut place = Place::new(&format!("[source]\nurl = \"{}\"\n[load]\nto = \"file:lake\"\n", service.url));
    place.set("FERNET_KEY", &service.key);
    let ran = place.etl(&["run", "--log-format", "text"]);
    (ran.code, ran.err)
}

#[test]
fn clock_that_differs_from_the_source_s_is_named_and_so_is_a_page_of_the_future() {
    assert_eq!(beside_a_clock_off_by(1), (0, String::new()));
    let (code, said) = beside_a_clock_off_by(10);
    assert!(code == 0 && said.contains("this machine's clock is ") && said.contains(" behind the source's"), "{said}");
    let (code, said) = beside_a_clock_off_by(-10);
    assert!(code == 0 && said.contains(" ahead of the source's"), "{said}");
    let (code, said) = beside_a_clock_off_by(180);
    assert!(code == 65 && said.contains("all of its 100 logs are dated more than hours.max_future ahead"), "{said}");
    assert!(said.contains("set this machine's clock"), "the hint too: {said}");
}

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
fn records_that_come_with_the_closing_go_out_with_it_and_later_ones_wait_an_hour_from_the_first_ones_receipt() {
    let desk = Desk::new("UTC");
    desk.run_at("2023-03-10T01:30:00Z", &[record(1, "2023-03-10T01:00:00.000Z")]);
    // The source is asked before anything is sealed.
    desk.run_at("2023-03-10T02:10:00Z", &[record(2, "2023-03-10T01:20:00.000Z")]);
    lake_is(&desk, &[("2023-03-10T01/0", 2)]);
    desk.run_at("2023-03-10T02:40:00Z", &[record(3, "2023-03-10T01:21:00.000Z")]);
    desk.run_at("2023-03-10T03:39:59Z", &[record(4, "2023-03-10T01:22:00.000Z")]);
    lake_is(&desk, &[("2023-03-10T01/0", 2)]);
    assert_eq!(desk.status().hours[0].closes_at.to_string(), "2023-03-10T03:40:00Z");
    desk.run_at("2023-03-10T03:40:00Z", &[record(5, "2023-03-10T01:23:00.000Z")]);
    lake_is(&desk, &[("2023-03-10T01/0", 2), ("2023-03-10T01/1", 3)]);
    // One that comes after that waits from its own receipt.
    desk.run_at("2023-03-10T04:00:00Z", &[record(6, "2023-03-10T01:24:00.000Z")]);
    desk.run_at("2023-03-10T04:59:59Z", &[]);
    lake_is(&desk, &[("2023-03-10T01/0", 2), ("2023-03-10T01/1", 3)]);
    desk.run_at("2023-03-10T05:00:00Z", &[]);
    lake_is(&desk, &[("2023-03-10T01/0", 2), ("2023-03-10T01/1", 3), ("2023-03-10T01/2", 1)]);
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

#[test]
fn leap_second_belongs_to_the_hour_that_it_ends_and_keeps_its_spelling() {
    let desk = Desk::new("UTC");
    let times =
        ["2016-12-31T23:59:60Z", "2016-12-31T23:59:60.500Z", "2016-12-31T23:59:59.999Z", "2017-01-01T00:00:00Z"];
    let records: Vec<String> = (1..).zip(times).map(|(id, at)| record(id, at)).collect();
    let outcome = desk.run_at("2017-01-01T00:00:00Z", &records);
    assert_eq!((outcome.exit_code(), outcome.summary.new), (0, 4), "{:?}", outcome.problems);
    desk.run_at("2017-01-01T00:10:00Z", &records);
    lake_is(&desk, &[("2016-12-31T23/0", 3)]);
    let lines = desk.lines();
    assert!(lines[0].contains("\"161231235959999\""), "the leap second comes last: {lines:?}");
    for spelling in ["\"161231235960500\"", "\"2016-12-31T23:59:60Z\""] {
        assert!(lines.iter().any(|line| line.contains(spelling)), "{spelling} is not in {lines:?}");
    }
    // A minute has no 61st second but this one.
    let outcome = desk.run_at("2017-01-01T00:10:00Z", &[record(5, "2016-12-31T23:59:61Z")]);
    assert_eq!((outcome.exit_code(), outcome.summary.quarantined), (65, 1));
}

#[test]
fn times_before_1970_and_at_the_ends_of_the_calendar_are_hours_or_quarantined_and_never_lost() {
    let desk = Desk::new("UTC");
    let hours = ["1969-12-31T23:59:59.999Z", "1582-10-10T12:00:00Z", "0000-01-01T00:00:00Z", "0000-02-29T05:00:00Z"];
    let none = [
        "-0001-12-31T23:59:59Z",
        "10000-01-01T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "9999-12-31T23:59:59.999Z",
        "0000-00-00T00:00:00Z",
        "0000-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "1970-01-01T24:00:00Z",
    ];
    let records: Vec<String> = (1..).zip(hours.iter().chain(&none)).map(|(id, at)| record(id, at)).collect();
    let outcome = desk.run_at("1970-01-01T00:30:00Z", &records);
    assert_eq!(outcome.exit_code(), 65, "{:?}", outcome.problems);
    assert_eq!((outcome.summary.new, outcome.summary.quarantined), (4, none.len() as u64));
    desk.run_at("1970-01-01T03:00:00Z", &records);
    let expected = [("0000-01-01T00/0", 1), ("0000-02-29T05/0", 1), ("1582-10-10T12/0", 1), ("1969-12-31T23/0", 1)];
    lake_is(&desk, &expected);
    let status = desk.status();
    assert_eq!((status.quarantine.count, status.totals.uploaded, status.totals.pending), (none.len() as u64, 4, 0));
}

#[test]
fn ends_of_the_calendar_in_zones_far_from_utc_do_no_harm() {
    for (zone, new) in [("Asia/Tokyo", 2), ("Pacific/Kiritimati", 1), ("Pacific/Honolulu", 1)] {
        let desk = Desk::new(zone);
        let first = record(1, "0000-01-01T00:00:00Z");
        let last = record(2, "9999-12-30T21:59:59.999Z");
        let outcome = desk.run_at("9999-12-30T21:30:00Z", &[first, last]);
        assert!([0, 65].contains(&outcome.exit_code()), "{zone}: {:?}", outcome.problems);
        // Long ago noon was when the sun was highest: on Kiritimati ten hours after Greenwich.
        assert_eq!(outcome.summary.new, new, "{zone}: before the year 0 there are no hours");
        let outcome = desk.run_at("9999-12-30T22:00:00.999999999Z", &[]);
        assert_eq!(outcome.exit_code(), 0, "{zone}: {:?}", outcome.problems);
    }
}

#[test]
fn hour_of_ninety_minutes_and_hours_that_begin_at_half_past_close_at_their_ends() {
    // Lord Howe goes back by half an hour, from 02:00 to 01:30, at 15:00 UTC.
    let desk = Desk::new("Australia/Lord_Howe");
    desk.run_at("2023-04-01T14:30:00Z", &[record(1, "2023-04-01T14:00:00Z"), record(2, "2023-04-01T13:59:59Z")]);
    desk.run_at("2023-04-01T15:30:00Z", &[record(3, "2023-04-01T15:29:59.999Z"), record(4, "2023-04-01T15:30:00Z")]);
    desk.run_at("2023-04-01T15:39:59Z", &[]);
    assert!(!parts(&desk).iter().any(|(name, _)| name.starts_with("2023-04-02T01")), "{:?}", parts(&desk));
    desk.run_at("2023-04-01T15:40:00Z", &[]);
    assert!(parts(&desk).contains(&("2023-04-02T01/0".to_owned(), 2)), "{:?}", parts(&desk));
    let desk = Desk::new("Asia/Kolkata");
    desk.run_at("2023-03-10T00:40:00Z", &[record(1, "2023-03-10T00:29:59.999Z"), record(2, "2023-03-10T00:30:00Z")]);
    desk.run_at("2023-03-10T01:40:00Z", &[]);
    lake_is(&desk, &[("2023-03-10T05/0", 1), ("2023-03-10T06/0", 1)]);
}

#[test]
fn day_that_a_zone_leaves_out_keeps_no_hour_open() {
    // Samoa had no 30 December 2011: midnight after the 29th was the 31st, at 10:00 UTC.
    let desk = Desk::new("Pacific/Apia");
    desk.run_at("2011-12-30T09:59:00Z", &[record(1, "2011-12-30T09:59:00Z")]);
    desk.run_at("2011-12-30T10:10:00Z", &[record(2, "2011-12-30T10:00:00Z")]);
    lake_is(&desk, &[("2011-12-29T23/0", 1)]);
    desk.run_at("2011-12-30T11:10:00Z", &[]);
    lake_is(&desk, &[("2011-12-29T23/0", 1), ("2011-12-31T00/0", 1)]);
}
