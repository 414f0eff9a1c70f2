//! A cluster for people: what stands out, its lanes, its machines. Pure.

use std::fmt::Write as _;

use anstyle::Style;
use jiff::Timestamp;

use super::screen::{DIM, RED, YELLOW};
use super::table::{Align, Table, count, plural};
use super::words::{self, ago};
use crate::hour::Hour;
use crate::output::plain_text::clean;
use crate::state::status::cluster::{ClusterStatus, LaneStatus, MachineStatus};

/// What `etl cluster status` shows.
#[cfg(any(feature = "kafka", test))]
pub(crate) fn text(cluster: &ClusterStatus, now: Timestamp) -> String {
    let mut text = head(cluster);
    text.push('\n');
    text.push_str(&lanes(cluster, now));
    text.push('\n');
    text.push_str(&machines(cluster, now));
    text.push_str(&problems(cluster));
    text
}

/// What `etl status` shows of it besides: the same, but for what went wrong, which stands above already.
pub(super) fn section(cluster: &ClusterStatus, now: Timestamp) -> String {
    format!("{}\n{}\n{}\n", head(cluster), lanes(cluster, now), machines(cluster, now))
}

fn head(cluster: &ClusterStatus) -> String {
    let (lanes, brokers) = (cluster.lanes.len() as u64, plural(cluster.brokers, "broker", "brokers"));
    let mut text = format!(
        "cluster     {}: {} in epoch {}, {brokers}\n",
        clean(&cluster.name),
        plural(lanes, "lane", "lanes"),
        cluster.epoch
    );
    let _ = match cluster.closed_through {
        Some(until) if until > Timestamp::MIN => {
            writeln!(text, "closed      all hours that closed until {} UTC", words::moment(until))
        }
        _ => writeln!(text, "closed      {YELLOW}no hour that is known: a lane has not caught up yet{YELLOW:#}"),
    };
    let pages = &cluster.pages;
    let _ = write!(
        text,
        "pages       {} in Kafka, {} not routed yet",
        plural(pages.kept, "chunk", "chunks"),
        count(pages.unrouted)
    );
    if pages.waiting > 0 {
        let waiting = plural(pages.waiting, "page waits", "pages wait");
        let _ = write!(text, "; {YELLOW}{waiting}: no key opens them, or they are none{YELLOW:#}");
    }
    text.push('\n');
    let unowned: Vec<String> = cluster.unowned().map(|lane| lane.lane.to_string()).collect();
    if !unowned.is_empty() {
        let _ = writeln!(text, "unowned     {RED}nobody works on lane {}{RED:#}", unowned.join(", "));
    }
    for topic in &cluster.topics {
        if topic.without_leader > 0 {
            let what = plural(u64::from(topic.without_leader), "partition that nobody", "partitions that nobody");
            let _ = writeln!(text, "brokers     {RED}{}: {what} can read or write{RED:#}", clean(&topic.name));
        }
        if topic.under_replicated > 0 {
            let what = plural(u64::from(topic.under_replicated), "partition is", "partitions are");
            let _ = writeln!(
                text,
                "brokers     {YELLOW}{}: {what} on fewer brokers than they should be{YELLOW:#}",
                clean(&topic.name)
            );
        }
    }
    text
}

fn lanes(cluster: &ClusterStatus, now: Timestamp) -> String {
    let mut table = Table::new(&[
        ("LANE", Align::Right),
        ("OWNER", Align::Left),
        ("UNREAD", Align::Right),
        ("UNFINISHED", Align::Right),
        ("PENDING", Align::Right),
        ("OLDEST HOUR", Align::Left),
        ("CLOSED UNTIL (UTC)", Align::Left),
        ("SAID", Align::Left),
    ])
    .with_head(DIM);
    cluster.lanes.iter().for_each(|lane| table.styled(lane_row(lane, now)));
    table.render()
}

fn lane_row(lane: &LaneStatus, now: Timestamp) -> Vec<(String, Style)> {
    let plain = Style::new();
    let unless_none = |n: u64| if n == 0 { String::new() } else { count(n) };
    let owner = lane.owner.clone().map_or_else(|| ("nobody".to_owned(), RED), |owner| (owner, plain));
    let closed =
        lane.closed_through.filter(|until| *until > Timestamp::MIN).map_or_else(|| "–".to_owned(), words::moment);
    let said = lane.reported.map_or_else(|| "never".to_owned(), |at| format!("{} ago", ago(at, now)));
    let by_another = lane.reported_by.as_ref().filter(|by| lane.owner.as_ref() != Some(by));
    let said = by_another.map_or(said.clone(), |by| format!("{said}, by {by}"));
    vec![
        (lane.lane.to_string(), plain),
        owner,
        (unless_none(lane.unread), plain),
        (unless_none(lane.unfinished), plain),
        (unless_none(lane.pending), plain),
        (lane.oldest.as_ref().map_or_else(String::new, Hour::to_string), plain),
        (closed, plain),
        (said, DIM),
    ]
}

fn machines(cluster: &ClusterStatus, now: Timestamp) -> String {
    if cluster.machines.is_empty() {
        return "no machine has been at work yet: `etl run`\n".to_owned();
    }
    let mut table = Table::new(&[
        ("MACHINE", Align::Left),
        ("LANES", Align::Left),
        ("PAGES", Align::Left),
        ("FETCHES", Align::Left),
        ("LAST TICK", Align::Left),
        ("EXIT", Align::Right),
        ("HOST", Align::Left),
    ])
    .with_head(DIM);
    cluster.machines.iter().for_each(|machine| table.styled(machine_row(machine, now)));
    table.render()
}

fn machine_row(machine: &MachineStatus, now: Timestamp) -> Vec<(String, Style)> {
    let plain = Style::new();
    let numbers = |of: &[i32]| of.iter().map(i32::to_string).collect::<Vec<_>>().join(" ");
    let lanes = if machine.is_member { (numbers(&machine.lanes), plain) } else { ("not at work".to_owned(), DIM) };
    let exit_style = if matches!(machine.exit, Some(0) | None) { plain } else { YELLOW };
    vec![
        (machine.machine.clone(), plain),
        lanes,
        (numbers(&machine.pages), plain),
        ((if machine.fetches { "yes" } else { "" }).to_owned(), plain),
        (machine.reported.map_or_else(|| "never".to_owned(), |at| format!("{} ago", ago(at, now))), DIM),
        (machine.exit.map_or_else(String::new, |exit| exit.to_string()), exit_style),
        (machine.host.clone().unwrap_or_default(), DIM),
    ]
}

/// What was wrong with the last tick of each machine that is at work.
#[cfg(any(feature = "kafka", test))]
fn problems(cluster: &ClusterStatus) -> String {
    let mut text = String::new();
    for machine in cluster.machines.iter().filter(|machine| machine.is_member) {
        for problem in &machine.problems {
            let _ = writeln!(text, "{YELLOW}{}{YELLOW:#}: {}", clean(&machine.machine), clean(problem));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::status::cluster::TopicStatus;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_678_400_000 + seconds).unwrap()
    }

    #[test]
    fn what_stands_out_comes_first() {
        let lane = |lane, owner: Option<&str>| LaneStatus {
            lane,
            owner: owner.map(str::to_owned),
            unread: 0,
            unfinished: 3,
            oldest: Some("2023-03-10T01".parse().unwrap()),
            pending: 1200,
            closed_through: Some(at(0)),
            reported: Some(at(-5)),
            reported_by: Some("a".to_owned()),
            problems: Vec::new(),
        };
        let topic =
            TopicStatus { name: "logs.pages".to_owned(), partitions: 3, under_replicated: 2, without_leader: 0 };
        let machine = MachineStatus {
            machine: "a".to_owned(),
            is_member: true,
            lanes: vec![0],
            problems: vec!["the store is away".to_owned()],
            ..MachineStatus::default()
        };
        let cluster = ClusterStatus {
            name: "logs".to_owned(),
            epoch: 1,
            brokers: 3,
            closed_through: Some(at(0)),
            lanes: vec![lane(0, Some("a")), lane(1, None)],
            machines: vec![machine],
            topics: vec![topic],
            ..ClusterStatus::default()
        };
        let text = anstream::adapter::strip_str(&text(&cluster, at(0))).to_string();
        assert!(
            text.starts_with(
                "cluster     logs: 2 lanes in epoch 1, 3 brokers\nclosed      all hours that closed until "
            ),
            "{text}"
        );
        assert!(text.contains("unowned     nobody works on lane 1\n"), "{text}");
        assert!(text.contains("logs.pages: 2 partitions are on fewer brokers"), "{text}");
        assert!(text.contains("\n   0  a ") && text.contains("\n   1  nobody "), "{text}");
        assert!(text.contains("by a") && text.ends_with("a: the store is away\n"), "{text}");
    }
}
