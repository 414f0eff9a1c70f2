//! A cluster as it is seen from any machine: what Kafka knows of topics and groups, and what machines said of themselves.
//!
//! Invariant: nothing is written, no group is joined, and no lock is taken, so it works beside everything else. What machines said is as
//! old as it says; who owns what, and how far groups are, is of now. What could not be learnt claims less.

mod lanes;
mod merged;
mod waiting;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::de::DeserializeOwned;

use super::kafka::{Admin, Connection, GroupMember, Reader};
use super::names::Names;
use super::report::{LaneReport, MachineReport, Reported};
use super::settings::ClusterSettings;
use super::{odd, start, status_log};
use crate::config::ClusterConfig;
use crate::error::Result;
use crate::state::pages::quarantine::OddToken;
use crate::state::status::cluster::{ClusterStatus, MachineStatus, PagesStatus, TopicStatus};
use crate::state::status::{self, Status};
use crate::stop::Stop;

pub(crate) use waiting::Waiting;

/// With more messages than these in the quarantine, tokens are not looked at one by one.
const ODD_LOOKED_AT: u64 = 50_000;

/// A cluster as of a moment.
#[derive(Debug)]
pub struct ClusterView {
    /// What is shown of it.
    pub status: ClusterStatus,
    /// What owners said of lanes, those of earlier epochs included, each with the status of its state.
    lanes: Vec<(Reported<LaneReport>, Option<Status>)>,
    machines: Vec<Reported<MachineReport>>,
    pub(crate) odd: Odd,
    pub(crate) waiting: Waiting,
}

/// What the quarantine holds.
#[derive(Debug, Default)]
pub(crate) struct Odd {
    pub(crate) count: u64,
    pub(crate) bytes: u64,
    pub(crate) reasons: BTreeMap<String, u64>,
    /// When the tokens were received. `None`: there are too many to look at each.
    pub(crate) received: Option<Vec<Timestamp>>,
}

/// What everything is read with.
struct Look<'a> {
    connection: &'a Connection,
    admin: &'a Admin,
    names: &'a Names,
    epoch: u32,
    members: Members,
}

/// Who is at work, by what a client calls itself.
#[derive(Debug, Default)]
struct Members {
    own: Vec<GroupMember>,
    route: Vec<GroupMember>,
}

impl ClusterView {
    /// Looks at the cluster of this configuration.
    ///
    /// # Errors
    /// `Unavailable`, `Credentials`: no broker answers, or lets us in. `Config`: there is no such cluster.
    pub fn read(config: &ClusterConfig, now: Timestamp) -> Result<Self> {
        let (connection, names) = (Connection::new(config)?, Names::new(&config.name));
        let admin = Admin::new(&connection)?;
        let topics = topics(&admin, &names, 1)?;
        if topics.iter().any(|topic| topic.name == names.status() && topic.partitions == 0) {
            return Err(start::not_there(&names));
        }
        let values = status_log::read_all(&connection)?;
        let settings = ClusterSettings::read(&values)?.ok_or_else(|| start::not_there(&names))?;
        let epoch = settings.epoch;
        let members =
            Members { own: admin.members(&names.own_group(epoch))?, route: admin.members(&names.route_group(epoch))? };
        let look = Look { connection: &connection, admin: &admin, names: &names, epoch, members };
        let (lanes, machines) = (lane_reports(&values), machine_reports(&values));
        let waiting = waiting::read(&look)?;
        let lane_views = lanes::all(&look, settings.lanes, &lanes)?;
        let said = |lane: &status::cluster::LaneStatus| lane.closed_through;
        let status = ClusterStatus {
            schema: 1,
            as_of: now,
            name: config.name.clone(),
            epoch,
            brokers: admin.brokers()? as u64,
            closed_through: lane_views.iter().map(said).min().flatten(),
            pages: pages(&look, waiting.pages)?,
            machines: machines_of(&look, &machines),
            lanes: lane_views,
            topics: self::topics(&admin, &names, epoch)?,
        };
        let odd = odd_tokens(&look)?;
        Ok(Self { status, lanes, machines, odd, waiting })
    }

    /// One status of all lanes, in the shape of that of a machine that works alone.
    #[must_use]
    pub(crate) fn merged(&self, now: Timestamp) -> Status {
        merged::merged(self, now)
    }
}

impl Look<'_> {
    /// What a client's machine is called.
    fn machine<'m>(&self, member: &'m GroupMember) -> &'m str {
        member.client.strip_prefix(&format!("etl-{}-", self.names.name())).unwrap_or(&member.client)
    }
}

fn tokens(connection: &Connection, admin: &Admin, topic: &str) -> Result<Vec<OddToken>> {
    let (mut reader, stop, mut all) = (Reader::new(connection)?, Stop::new(), Vec::new());
    for (partition, (low, end)) in admin.ends(topic)? {
        if low < end {
            all.extend(odd::gathered(&mut reader, topic, partition, &stop)?.tokens());
        }
    }
    Ok(all)
}

fn odd_tokens(look: &Look<'_>) -> Result<Odd> {
    let topic = look.names.quarantine();
    let messages: u64 = look.admin.ends(&topic)?.values().map(|(low, end)| between(*low, *end)).sum();
    if messages > ODD_LOOKED_AT {
        return Ok(Odd { count: messages, ..Odd::default() });
    }
    let mut odd = Odd { received: Some(Vec::new()), ..Odd::default() };
    for token in tokens(look.connection, look.admin, &topic)? {
        odd.count += 1;
        odd.bytes = odd.bytes.saturating_add(token.token.len() as u64);
        odd.received.get_or_insert_default().push(token.received);
        *odd.reasons.entry(token.reason).or_default() += 1;
    }
    Ok(odd)
}

fn lane_reports(values: &BTreeMap<String, Vec<u8>>) -> Vec<(Reported<LaneReport>, Option<Status>)> {
    let with_status = |reported: Reported<LaneReport>| {
        let text = reported.status.as_ref().map(|text| text.get().as_bytes().to_vec());
        let status = text.and_then(|text| status::parse(&text).ok());
        (reported, status)
    };
    reports(values, "lane-").into_iter().map(with_status).collect()
}

fn machine_reports(values: &BTreeMap<String, Vec<u8>>) -> Vec<Reported<MachineReport>> {
    reports(values, "machine-")
}

/// What cannot be read was said by another version: it counts as not said.
fn reports<T: DeserializeOwned>(values: &BTreeMap<String, Vec<u8>>, prefix: &str) -> Vec<Reported<T>> {
    let ours = values.iter().filter(|(key, _)| key.starts_with(prefix));
    ours.filter_map(|(_, value)| serde_json::from_slice(value).ok()).collect()
}

fn topics(admin: &Admin, names: &Names, epoch: u32) -> Result<Vec<TopicStatus>> {
    let wanted = vec![names.pages(), names.lanes(epoch), names.quarantine(), names.waiting(), names.status()];
    let found = admin.topics(&wanted)?;
    let of = |(name, state): (String, Option<super::kafka::TopicState>)| {
        let state = state.unwrap_or_default();
        let (under_replicated, without_leader) = (state.under_replicated, state.without_leader);
        TopicStatus { name, partitions: state.partitions, under_replicated, without_leader }
    };
    Ok(wanted.into_iter().zip(found).map(of).collect())
}

fn pages(look: &Look<'_>, waiting: u64) -> Result<PagesStatus> {
    let topic = look.names.pages();
    let (ends, routed) = (look.admin.ends(&topic)?, look.admin.committed(&look.names.route_group(look.epoch), &topic)?);
    let mut pages = PagesStatus { waiting, ..PagesStatus::default() };
    for (partition, (low, end)) in ends {
        pages.kept += between(low, end);
        pages.unrouted += between(routed.get(&partition).map_or(low, |at| low.max(*at)), end);
    }
    Ok(pages)
}

/// Those that Kafka counts among its members, and those that said something once.
fn machines_of(look: &Look<'_>, reports: &[Reported<MachineReport>]) -> Vec<MachineStatus> {
    let mut machines: BTreeMap<String, MachineStatus> = BTreeMap::new();
    for reported in reports {
        let said = &reported.report;
        let machine = MachineStatus {
            machine: said.machine.clone(),
            fetches: said.fetches,
            started: Some(said.started),
            reported: Some(reported.at),
            exit: Some(said.exit),
            problems: said.problems.clone(),
            ..MachineStatus::default()
        };
        machines.insert(said.machine.clone(), machine);
    }
    let of = |members: &[GroupMember], topic: &str, note: &mut dyn FnMut(&GroupMember, Vec<i32>)| {
        members.iter().for_each(|member| note(member, member.partitions.get(topic).cloned().unwrap_or_default()));
    };
    let mut at_work = |member: &GroupMember, lanes: Vec<i32>, pages: Vec<i32>| {
        let machine = machines.entry(look.machine(member).to_owned()).or_default();
        machine.machine = look.machine(member).to_owned();
        (machine.is_member, machine.host) = (true, Some(member.host.clone()));
        machine.lanes.extend(lanes);
        machine.pages.extend(pages);
    };
    of(&look.members.own, &look.names.lanes(look.epoch), &mut |member, lanes| at_work(member, lanes, Vec::new()));
    of(&look.members.route, &look.names.pages(), &mut |member, pages| at_work(member, Vec::new(), pages));
    for machine in machines.values_mut() {
        machine.fetches &= machine.is_member;
    }
    machines.into_values().collect()
}

/// How many offsets lie from one up to another.
fn between(from: i64, to: i64) -> u64 {
    u64::try_from(to.saturating_sub(from)).unwrap_or(0)
}
