//! Another number of lanes: another epoch, with a topic of its own.
//!
//! Only the settings in the topic `status` say which epoch counts, and they are written last. Invariant: the lanes of before are left only
//! when all that is in them has receipts, or when every page that they came from is routed again. A crash leaves the epoch of before, and
//! perhaps an empty topic, which the next try finds.

use std::collections::BTreeMap;

use super::kafka::Admin;
use super::names::Names;
use super::settings::ClusterSettings;
use super::start::{self, Look};
use super::status_log::{self, StatusLog};
use super::{report, topics};
use crate::error::{Error, ErrorKind, Result};

/// Begins an epoch with `lanes` lanes. Does nothing where that is their number already. `reroute`: what is in the lanes of now is given up, and all pages are routed again.
///
/// # Errors
/// `Busy`: machines are at work. `Config`: there is no such cluster. `Mismatch`: the lanes still hold records without a receipt.
/// `State`: the brokers have lost some.
pub fn change(look: &Look<'_>, lanes: u32, reroute: bool) -> Result<ClusterSettings> {
    let admin = Admin::new(look.connection)?;
    let names = Names::new(look.connection.name());
    let now = start::settings(look, &admin)?.ok_or_else(|| start::not_there(&names))?;
    if now.lanes == lanes && !reroute {
        return Ok(now);
    }
    check_at_rest(&admin, &names, now.epoch)?;
    if !reroute {
        check_are_whole(look, &admin, &names, now.epoch)?;
        check_drained(&admin, &names, now.epoch)?;
    }
    let next = ClusterSettings { epoch: now.epoch + 1, lanes, ..now };
    let brokers = admin.brokers()?;
    for wanted in topics::wanted(&names, next.epoch, next.lanes) {
        if wanted.name == names.lanes(next.epoch) {
            admin.create(&wanted.spec(brokers))?;
        }
    }
    check_is_empty(&admin, &names, next.epoch)?;
    if reroute {
        let first: BTreeMap<i32, i64> =
            admin.ends(&names.pages())?.into_iter().map(|(partition, (low, _))| (partition, low)).collect();
        admin.commit_outside(&names.route_group(), &names.pages(), &first)?;
    }
    next.write(&StatusLog::new(look.connection)?)?;
    Ok(next)
}

/// Nobody routes or owns meanwhile.
fn check_at_rest(admin: &Admin, names: &Names, epoch: u32) -> Result<()> {
    for group in [names.route_group(), names.own_group(epoch)] {
        let members = admin.members(&group)?;
        if let Some(member) = members.first() {
            let what =
                format!("{} machines are in the group {group}, the first of them {}", members.len(), member.client);
            let hint = "stop the service on every machine, and wait for cluster.session: then nobody works in the lanes of now";
            return Err(Error::new(ErrorKind::Busy, what).hint(hint));
        }
    }
    Ok(())
}

/// What is lost has no message left that would still be needed.
fn check_are_whole(look: &Look<'_>, admin: &Admin, names: &Names, epoch: u32) -> Result<()> {
    let (topic, read) = (names.lanes(epoch), report::read_up_to(&status_log::read_all(look.connection)?, epoch));
    let ends = admin.ends(&topic)?;
    read.into_iter().try_for_each(|(lane, read)| {
        let end = ends.get(&lane).map_or(0, |(_, end)| u64::try_from(*end).unwrap_or(0));
        report::check_is_whole(&topic, lane, read, end)
    })
}

/// All pages are routed, and everything in the lanes has receipts.
fn check_drained(admin: &Admin, names: &Names, epoch: u32) -> Result<()> {
    for (topic, group) in [(names.pages(), names.route_group()), (names.lanes(epoch), names.own_group(epoch))] {
        let committed = admin.committed(&group, &topic)?;
        for (partition, (low, end)) in admin.ends(&topic)? {
            let at = committed.get(&partition).copied().unwrap_or(0).max(low);
            if at < end {
                let what = format!("partition {partition} of {topic} still needs its messages from {at} to {end}");
                let hint = "seal everything first, on one machine: `etl run --drain`; where the brokers have lost what they had, \
                            --reroute routes all pages again";
                return Err(Error::new(ErrorKind::Mismatch, what).hint(hint));
            }
        }
    }
    Ok(())
}

/// A topic of before under the new name would be read as new.
fn check_is_empty(admin: &Admin, names: &Names, epoch: u32) -> Result<()> {
    let topic = names.lanes(epoch);
    if admin.ends(&topic)?.values().all(|(_, end)| *end == 0) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Mismatch, format!("the topic {topic} is there already, and is not empty"))
        .hint("look where it comes from; delete it if nobody needs it"))
}
