//! Another number of lanes: another epoch, with a topic of its own.
//!
//! The settings in the topic `status` say which epoch is in use. A change has two steps. It first marks the epoch of now as `leaving`: machines
//! that start then refuse to work, and those that are at work are seen in the groups. When all is checked, it writes the settings of the next
//! epoch. Invariant: an epoch ends only when everything in its lanes has a receipt, or when all pages are routed again. A machine that was
//! stopped during the change can still send records to the old lanes. They are not missed: the next epoch has a group of its own for
//! pages, which begins at the offsets of before the check. A crash leaves the mark, and perhaps the next topic, empty; machines refuse to work
//! until `etl cluster lanes` runs again.

use std::collections::BTreeMap;

use super::kafka::Admin;
use super::names::Names;
use super::settings::ClusterSettings;
use super::start::{self, Look};
use super::status_log::{self, StatusLog};
use super::{barrier, report, topics};
use crate::error::{Error, ErrorKind, Result};
use crate::state::files::crash_point;

/// Begins an epoch with `lanes` lanes. Does nothing where that is their number already. `reroute`: what is in the lanes of now is given up, and all pages are routed again.
///
/// # Errors
/// `Busy`: machines are at work. `Config`: there is no such cluster. `Mismatch`: the lanes still hold records without a receipt.
/// `State`: the brokers have lost some.
pub fn change(look: &Look<'_>, lanes: u32, reroute: bool) -> Result<ClusterSettings> {
    let admin = Admin::new(look.connection)?;
    let names = Names::new(look.connection.name());
    let log = StatusLog::new(look.connection)?;
    let there = start::settings_now(look, &admin, log.producer())?.ok_or_else(|| start::not_there(&names))?;
    let (now, was_left) = (ClusterSettings { leaving: None, ..there.clone() }, there.leaving.is_some());
    if now.lanes == lanes && !reroute && !was_left {
        return Ok(now);
    }
    let marked = ClusterSettings { leaving: Some(format!("{:032x}", fastrand::u128(..))), ..there };
    marked.write(&log)?;
    crash_point::at("lanes are being left");
    let change = Change { look, admin, names, log, now, reroute };
    let next = change.prepare(lanes);
    // Neither the next epoch nor that of now, if another change has begun since, or has ended.
    if start::settings_now(look, &change.admin, change.log.producer())?.as_ref() != Some(&marked) {
        return Err(Error::new(ErrorKind::Busy, "another `etl cluster lanes` is at work")
            .hint("wait until it has ended, then look at `etl cluster status`"));
    }
    let written = next.as_ref().unwrap_or(&change.now).write(&change.log);
    next.and_then(|next| written.map(|()| next))
}

/// A change on its way. From here on whoever begins to work finds that these lanes are being left; who has begun before is seen in the groups.
struct Change<'l> {
    look: &'l Look<'l>,
    admin: Admin,
    names: Names,
    log: StatusLog,
    now: ClusterSettings,
    reroute: bool,
}

impl Change<'_> {
    /// Makes sure that nothing is lost with the lanes of now, and prepares the next ones.
    fn prepare(&self, lanes: u32) -> Result<ClusterSettings> {
        let Self { admin, names, now, .. } = self;
        check_at_rest(admin, names, now.epoch)?;
        if now.lanes == lanes && !self.reroute {
            return Ok(now.clone());
        }
        // Before it is looked whether the lanes are drained: what is routed by a machine that goes on all the same is routed again.
        let routed = self.routed()?;
        if !self.reroute {
            let read =
                report::read_up_to(&status_log::read_settled(self.look.connection, self.log.producer())?, now.epoch);
            report::check_are_whole(admin, &names.lanes(now.epoch), &read)?;
            self.check_drained()?;
        }
        let next = ClusterSettings { epoch: now.epoch + 1, lanes, ..now.clone() };
        let brokers = admin.brokers()?;
        for wanted in topics::wanted(names, next.epoch, next.lanes) {
            if wanted.name == names.lanes(next.epoch) {
                admin.create(&wanted.spec(brokers))?;
            }
        }
        check_is_new(admin, names, &next)?;
        admin.commit_outside(&names.route_group(next.epoch), &names.pages(), &routed)?;
        Ok(next)
    }

    /// From where pages are routed to the next lanes.
    fn routed(&self) -> Result<BTreeMap<i32, i64>> {
        let pages = self.names.pages();
        if !self.reroute {
            return self.admin.committed(&self.names.route_group(self.now.epoch), &pages);
        }
        Ok(self.admin.ends(&pages)?.into_iter().map(|(partition, (low, _))| (partition, low)).collect())
    }

    /// All pages are routed, and everything in the lanes has receipts.
    fn check_drained(&self) -> Result<()> {
        let Self { admin, names, now, .. } = self;
        let (pages, lanes) = (names.pages(), names.lanes(now.epoch));
        let ends = admin.ends(&pages)?.into_iter().map(|(partition, (_, end))| (partition, end)).collect();
        self.check_passed(&pages, &names.route_group(now.epoch), &ends)?;
        self.check_passed(&lanes, &names.own_group(now.epoch), &barrier::lanes(self.log.producer(), names, now)?)
    }

    fn check_passed(&self, topic: &str, group: &str, ends: &BTreeMap<i32, i64>) -> Result<()> {
        let committed = self.admin.committed(group, topic)?;
        let there = self.admin.ends(topic)?;
        for (partition, end) in ends {
            let low = there.get(partition).map_or(0, |(low, _)| *low);
            let at = committed.get(partition).copied().unwrap_or(0).max(low);
            if at < *end {
                let what = format!("partition {partition} of {topic} still needs its messages from {at} to {end}");
                let hint = "seal everything first, on one machine: `etl run --drain`; where the brokers have lost what they had, \
                            --reroute routes all pages again";
                return Err(Error::new(ErrorKind::Mismatch, what).hint(hint));
            }
        }
        Ok(())
    }
}

/// Nobody routes or owns meanwhile.
fn check_at_rest(admin: &Admin, names: &Names, epoch: u32) -> Result<()> {
    for group in [names.route_group(epoch), names.own_group(epoch)] {
        let members = admin.members(&group)?;
        if let Some(member) = members.first() {
            let what =
                format!("{} machines are in the group {group}, the first of them {}", members.len(), member.client);
            let hint = "stop the service on every machine, and wait for cluster.session: then nobody works in the lanes of now";
            return Err(Error::new(ErrorKind::Busy, what).hint(hint));
        }
        // Who looks after a group takes this from outside only while it has no members; a broker that was cut off takes nothing.
        admin.commit_outside(&group, &names.status(), &BTreeMap::from([(0, 0)]))?;
    }
    Ok(())
}

/// A topic of before under the new name would be read as new.
fn check_is_new(admin: &Admin, names: &Names, next: &ClusterSettings) -> Result<()> {
    let (topic, found) = (names.lanes(next.epoch), admin.ends(&names.lanes(next.epoch))?);
    let what = if found.values().any(|(_, end)| *end != 0) {
        format!("the topic {topic} is there already, and is not empty")
    } else if found.len() as u64 != u64::from(next.lanes) {
        format!("the topic {topic} is there already, with {} partitions", found.len())
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::Mismatch, what).hint("look where it comes from; delete it if nobody needs it"))
}
