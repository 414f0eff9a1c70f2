//! The statuses of all lanes as one, in the shape of that of a machine that works alone. Pure.
//!
//! Invariant: what is known by several lanes counts once. A part has one key; each lane has the parts of the others in its rows. What a
//! lane has not read yet, nobody can count: the lanes' own figures say how many messages that is.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;

use super::ClusterView;
use crate::cluster::report::{MachineReport, Reported};
use crate::hour::Hour;
use crate::hour::part::PartStage;
use crate::state::SHOWN;
use crate::state::pages::journal::Rejected;
use crate::state::status::days::{Day, KEPT};
use crate::state::status::{
    Command, HourState, HourStatus, LastRun, PartStatus, QuarantineStatus, RunSoFar, Status, is_success,
};

/// Problems of a run that are shown.
const PROBLEMS: usize = 20;

pub(super) fn merged(view: &ClusterView, now: Timestamp) -> Status {
    let mut status = of_lanes(view.lanes.iter().filter_map(|(_, status)| status.clone()), now);
    status.as_of = now;
    (status.last_run, status.last_success) = last_run(view);
    status.last_fetching_run = status.last_run.clone();
    status.journal.pages = view.status.pages.kept;
    status.journal.uncommitted = view.waiting.pages;
    let odd = &view.odd;
    (status.quarantine, status.totals.quarantined) = (
        QuarantineStatus { count: odd.count, reasons: odd.reasons.clone(), bytes: odd.bytes, held_pages: 0 },
        odd.count,
    );
    status.rejected =
        Rejected { count: view.waiting.received.iter().filter(|(_, is_no_page)| *is_no_page).count() as u64, bytes: 0 };
    status.journal.uncommitted = status.journal.uncommitted.saturating_sub(status.rejected.count);
    status.cluster = Some(view.status.clone());
    status
}

/// What the lanes know together.
fn of_lanes(lanes: impl Iterator<Item = Status>, now: Timestamp) -> Status {
    let mut all = Status::empty(now);
    let mut hours: BTreeMap<Hour, HourStatus> = BTreeMap::new();
    let (mut days, mut known_from): (BTreeMap<Date, Day>, Option<Hour>) = (BTreeMap::new(), None);
    for mut lane in lanes {
        lane.close_hours(now);
        known_from = known_from.max(first_idle(&lane));
        lane.hours.into_iter().for_each(|hour| add_hour(&mut hours, hour));
        lane.days.iter().for_each(|day| add_day(&mut days, day));
        let (sum, part) = (&mut all.totals, lane.totals);
        sum.records += part.records;
        sum.duplicates += part.duplicates;
        sum.uploaded += part.uploaded;
        sum.pending += part.pending;
        sum.parts += part.parts;
        all.hours_left_out += lane.hours_left_out;
        all.parked.count += lane.parked.count;
        all.parked.hours.extend(lane.parked.hours);
        all.journal.pinned_by.extend(lane.journal.pinned_by);
    }
    for hours in [&mut all.parked.hours, &mut all.journal.pinned_by] {
        hours.sort_unstable();
        hours.dedup();
        hours.truncate(SHOWN);
    }
    // Of hours that some lanes no longer list, what is listed is a part of the truth.
    let is_whole =
        |hour: &HourStatus| hour.state != HourState::Uploaded || known_from.is_none_or(|from| hour.hour >= from);
    all.hours = hours.into_values().filter(is_whole).collect();
    let first = days.len().saturating_sub(KEPT);
    all.days = days.into_values().skip(first).collect();
    all
}

/// The first hour without work of a lane that lists as many as it may.
fn first_idle(lane: &Status) -> Option<Hour> {
    let mut idle = lane.hours.iter().filter(|hour| hour.state == HourState::Uploaded).map(|hour| hour.hour);
    let (first, count) = (idle.clone().min(), idle.by_ref().count());
    first.filter(|_| count >= SHOWN)
}

fn add_hour(hours: &mut BTreeMap<Hour, HourStatus>, new: HourStatus) {
    let Some(known) = hours.get_mut(&new.hour) else {
        hours.insert(new.hour, new);
        return;
    };
    let (is_at_work, is_new_at_work) = (known.state != HourState::Uploaded, new.state != HourState::Uploaded);
    known.closes_at = match (is_at_work, is_new_at_work) {
        (false, true) => new.closes_at,
        (true, false) => known.closes_at,
        _ => known.closes_at.min(new.closes_at),
    };
    known.state = least_advanced(known.state, new.state);
    known.pending_records = known.pending_records.saturating_add(new.pending_records);
    known.late_records = known.late_records.saturating_add(new.late_records);
    known.uploaded_at = known.uploaded_at.max(new.uploaded_at);
    new.parts.into_iter().for_each(|part| add_part(&mut known.parts, part));
    known.parts.sort_by_key(|part| part.part);
}

const fn least_advanced(one: HourState, other: HourState) -> HourState {
    match (one, other) {
        (HourState::Open, _) | (_, HourState::Open) => HourState::Open,
        (HourState::Closed, _) | (_, HourState::Closed) => HourState::Closed,
        (HourState::Sealing, _) | (_, HourState::Sealing) => HourState::Sealing,
        (HourState::Uploaded, HourState::Uploaded) => HourState::Uploaded,
    }
}

/// Two lanes can be about to use a number; the one that is in the store has it.
fn add_part(parts: &mut Vec<PartStatus>, new: PartStatus) {
    match parts.iter_mut().find(|known| known.key == new.key) {
        Some(known) if known.state == PartStage::Sealing && new.state != PartStage::Sealing => *known = new,
        Some(_) => {}
        None => parts.push(new),
    }
}

fn add_day(days: &mut BTreeMap<Date, Day>, new: &Day) {
    let empty = || Day { day: new.day, uploaded: [0; 24], pending: [0; 24], late: [0; 24] };
    let known = days.entry(new.day).or_insert_with(empty);
    let sums = [(&mut known.uploaded, &new.uploaded), (&mut known.pending, &new.pending), (&mut known.late, &new.late)];
    for (sum, new) in sums {
        sum.iter_mut().zip(new).for_each(|(sum, new)| *sum = sum.saturating_add(*new));
    }
}

/// The last ticks of the machines that are at work as one run, and when one that asked the source last did all it should. Where none is at
/// work, those of all that said something.
fn last_run(view: &ClusterView) -> (Option<LastRun>, Option<Timestamp>) {
    let is_at_work =
        |name: &str| view.status.machines.iter().any(|machine| machine.is_member && machine.machine == name);
    let any_is = view.machines.iter().any(|said| is_at_work(&said.report.machine));
    let said: Vec<&Reported<MachineReport>> =
        view.machines.iter().filter(|said| !any_is || is_at_work(&said.report.machine)).collect();
    let success = view.machines.iter().filter(|said| said.report.fetches && is_success(said.report.exit));
    let success = success.map(|said| said.at).max();
    let Some(newest) = said.iter().max_by_key(|said| said.at) else { return (None, success) };
    let mut so_far = RunSoFar::default();
    for part in said.iter().map(|said| &said.report.so_far) {
        so_far.fetched += part.fetched;
        so_far.new += part.new;
        so_far.duplicates += part.duplicates;
        so_far.quarantined += part.quarantined;
    }
    let problem = |said: &&Reported<MachineReport>| {
        let machine = said.report.machine.clone();
        said.report.problems.clone().into_iter().map(move |problem| format!("{machine}: {problem}"))
    };
    let run = LastRun {
        started: newest.report.started,
        ended: Some(newest.at),
        exit: Some(worst(said.iter().map(|said| said.report.exit))),
        command: Command::Run,
        so_far,
        problems: said.iter().flat_map(problem).take(PROBLEMS).collect(),
        hint: None,
    };
    (Some(run), success)
}

/// The exit code that says most: one that needs a person before one that passes by itself.
fn worst(exits: impl Iterator<Item = u8>) -> u8 {
    let weight = |exit: &u8| match exit {
        0 => 0,
        65 => 1,
        75 => 2,
        _ => 3,
    };
    exits.max_by_key(weight).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(number: u32, state: PartStage) -> PartStatus {
        PartStatus { part: number, state, key: format!("part-{number}"), rows: 10, bytes: 5, sha256: String::new() }
    }

    fn hour(state: HourState, pending: u64, parts: Vec<PartStatus>) -> HourStatus {
        HourStatus {
            hour: "2023-03-10T01".parse().unwrap(),
            state,
            pending_records: pending,
            closes_at: Timestamp::UNIX_EPOCH,
            late_records: 1,
            uploaded_at: None,
            parts,
        }
    }

    fn lane(hour: HourStatus) -> Status {
        let mut status = Status::empty(Timestamp::UNIX_EPOCH);
        (status.totals.uploaded, status.totals.pending) = (10, hour.pending_records);
        let day = hour.hour.date();
        status.days = vec![Day { day, uploaded: [10; 24], pending: [0; 24], late: [0; 24] }];
        status.hours = vec![hour];
        status
    }

    #[test]
    fn lanes_are_added_up_and_parts_that_several_know_count_once() {
        use PartStage::{Sealing, Uploaded};
        let one = lane(hour(HourState::Uploaded, 0, vec![part(0, Uploaded), part(1, Uploaded)]));
        let other = lane(hour(HourState::Sealing, 7, vec![part(0, Uploaded), part(1, Sealing), part(2, Sealing)]));
        let all = of_lanes([one, other].into_iter(), Timestamp::UNIX_EPOCH);
        let [hour] = all.hours.as_slice() else { panic!("{:?}", all.hours) };
        let parts: Vec<_> = hour.parts.iter().map(|part| (part.part, part.state)).collect();
        assert_eq!(parts, [(0, Uploaded), (1, Uploaded), (2, Sealing)]);
        assert_eq!((hour.state, hour.pending_records, hour.late_records), (HourState::Sealing, 7, 2));
        assert_eq!((all.totals.uploaded, all.totals.pending), (20, 7));
        assert_eq!(all.days[0].uploaded[3], 20);
    }

    #[test]
    fn exit_that_needs_a_person_is_told_before_one_that_passes() {
        assert_eq!(worst([0, 75, 78, 65].into_iter()), 78);
        assert_eq!(worst([0, 65, 75].into_iter()), 75);
        assert_eq!(worst([].into_iter()), 0);
    }
}
