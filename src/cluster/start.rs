//! Whether this machine may begin: `etl cluster init`, `etl cluster check`, and the first step of every run in a cluster.
//!
//! Invariant: nothing is fetched, routed or sealed while topics promise less than they have to, or while this machine's configuration is
//! not that of the others. A crash in `init` leaves some of the topics; it goes on where it was.

use super::kafka::{Admin, Connection, Producer, TopicState};
use super::mark::Mark;
use super::names::Names;
use super::settings::{ClusterSettings, Ours};
use super::status_log::{self, StatusLog};
use super::topics::{self, Finding, Wanted};
use crate::error::{Error, ErrorKind, Result};
use crate::stop::Stop;
use crate::store::once::CreateOnly;
use crate::store::{ObjectStore, probe};

/// What a cluster is looked at with.
pub struct Look<'a> {
    /// How brokers are reached.
    pub connection: &'a Connection,
    /// What this machine's configuration says.
    pub ours: &'a Ours,
    /// The destination.
    pub store: &'a dyn ObjectStore,
    /// What keys begin with there.
    pub prefix: &'a str,
}

impl std::fmt::Debug for Look<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Look").field("connection", &self.connection).finish_non_exhaustive()
    }
}

/// A cluster that this machine may work in.
#[derive(Debug)]
pub struct Cluster {
    /// What its topics and groups are called.
    pub names: Names,
    /// What all its machines agree on.
    pub settings: ClusterSettings,
    /// A client that is connected.
    pub admin: Admin,
    /// What should be mended, and keeps nobody from working.
    pub warnings: Vec<Finding>,
}

/// A topic, and what was found of it.
#[derive(Debug)]
pub struct Topic {
    /// How it has to be.
    pub wanted: Wanted,
    /// How it is; `None`: it is not there.
    pub state: Option<TopicState>,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// Whether it was made just now.
    pub is_new: bool,
}

/// The first step of every run.
///
/// # Errors
/// `Config`: topics, settings or prefix are not this cluster's; those of the brokers and of the store.
pub fn open(look: &Look<'_>) -> Result<Cluster> {
    let admin = Admin::new(look.connection)?;
    let names = Names::new(look.connection.name());
    let settings = settings(look, &admin)?.ok_or_else(|| not_there(&names))?;
    settings.check_stays(names.name())?;
    settings.check(look.ours, names.name())?;
    let topics = look_at(&admin, &names, settings.epoch, settings.lanes)?;
    let findings: Vec<Finding> = topics.into_iter().flat_map(|topic| topic.findings).collect();
    topics::refuse(&findings)?;
    prefix(look, &admin, &settings)?;
    Ok(Cluster { names, settings, admin, warnings: findings })
}

/// What the topic `status` records; `None`: nothing yet, or there is no such topic.
///
/// # Errors
/// Those of the brokers.
pub fn settings(look: &Look<'_>, admin: &Admin) -> Result<Option<ClusterSettings>> {
    if has_status(look, admin)? { ClusterSettings::read(&status_log::read_all(look.connection)?) } else { Ok(None) }
}

/// The same, and certainly the newest: for who writes them.
///
/// # Errors
/// Those of the brokers.
pub(super) fn settings_now(look: &Look<'_>, admin: &Admin, producer: &Producer) -> Result<Option<ClusterSettings>> {
    if !has_status(look, admin)? {
        return Ok(None);
    }
    ClusterSettings::read(&status_log::read_settled(look.connection, producer)?)
}

fn has_status(look: &Look<'_>, admin: &Admin) -> Result<bool> {
    Ok(admin.topics(&[Names::new(look.connection.name()).status()])?.into_iter().flatten().next().is_some())
}

pub(crate) fn not_there(names: &Names) -> Error {
    Error::new(ErrorKind::Config, format!("there is no cluster {} on these brokers yet", names.name()))
        .hint("make its topics with `etl cluster init`, once, from any machine")
}

/// Checks that the prefix is this cluster's.
///
/// # Errors
/// `Config`: it is another's, or nobody's.
pub fn prefix(look: &Look<'_>, admin: &Admin, settings: &ClusterSettings) -> Result<()> {
    let mark = Mark::new(look.connection.name(), &settings.id, admin.cluster_id()?);
    match Mark::read(look.store, look.prefix)? {
        Some(there) => mark.check(&there, look.store),
        None => {
            let what = format!("nothing in {} says that it belongs to the cluster {}", look.store.place(), mark.name);
            Err(Error::new(ErrorKind::Config, what).hint("run `etl cluster init`, once, from any machine"))
        }
    }
}

/// Every topic as it is.
///
/// # Errors
/// Those of the brokers.
pub fn look_at(admin: &Admin, names: &Names, epoch: u32, lanes: u32) -> Result<Vec<Topic>> {
    let (wanted, brokers) = (topics::wanted(names, epoch, lanes), admin.brokers()?);
    let states = admin.topics(&wanted.iter().map(|wanted| wanted.name.clone()).collect::<Vec<_>>())?;
    let topic = |(wanted, state): (Wanted, Option<TopicState>)| {
        let findings = wanted.findings(state.as_ref(), brokers);
        Topic { wanted, state, findings, is_new: false }
    };
    Ok(wanted.into_iter().zip(states).map(topic).collect())
}

/// Makes what is missing of a cluster: topics, settings, the mark in the store. `has_moved`: the source has another address by now.
///
/// # Errors
/// `Config`: what is there is another cluster's, or the store does not refuse to replace objects; those of the brokers and of the store.
pub fn init(look: &Look<'_>, has_moved: bool, stop: &Stop) -> Result<(ClusterSettings, Vec<Topic>)> {
    let admin = Admin::new(look.connection)?;
    let names = Names::new(look.connection.name());
    check_create_only(look)?;
    let log = StatusLog::new(look.connection)?;
    let known = settings_now(look, &admin, log.producer())?;
    if let Some(known) = &known {
        let ours = Ours { source: look.ours.source.clone().filter(|_| !has_moved), ..look.ours.clone() };
        known.check(&ours, names.name())?;
    }
    let settings = next_settings(look, &admin, known.as_ref(), has_moved)?;
    let made = make_topics(&admin, &names, &settings)?;
    if known.as_ref() != Some(&settings) {
        settings.write(&log)?;
    }
    Mark::new(names.name(), &settings.id, admin.cluster_id()?).create(look.store, look.prefix, stop)?;
    let mut topics = look_at(&admin, &names, settings.epoch, settings.lanes)?;
    topics.iter_mut().for_each(|topic| topic.is_new = made.contains(&topic.wanted.name));
    Ok((settings, topics))
}

/// What a machine that is stopped past its session still sends is kept out by this alone.
fn check_create_only(look: &Look<'_>) -> Result<()> {
    match probe::ask(look.store, look.prefix)?.create_only {
        CreateOnly::Proven => Ok(()),
        CreateOnly::NotHonoured | CreateOnly::Unknown => {
            let what = format!(
                "{} does not refuse to replace objects (If-None-Match), on which a cluster rests",
                look.store.place()
            );
            Err(Error::new(ErrorKind::Config, what)
                .hint("use a store that honours it: S3 itself does; `etl check` tries it"))
        }
    }
}

/// What is to be recorded: what is known, with a source if there was none, or as the mark of a cluster whose topics are gone says.
fn next_settings(
    look: &Look<'_>,
    admin: &Admin,
    known: Option<&ClusterSettings>,
    has_moved: bool,
) -> Result<ClusterSettings> {
    if let Some(known) = known {
        let source = if has_moved || known.source.is_none() { &look.ours.source } else { &None };
        return Ok(ClusterSettings { source: source.clone().or_else(|| known.source.clone()), ..known.clone() });
    }
    let there = Mark::read(look.store, look.prefix)?;
    let id = there.as_ref().map_or_else(|| format!("{:032x}", fastrand::u128(..)), |there| there.id.clone());
    // Before a topic is made: the prefix may be another's.
    if let Some(there) = there {
        Mark::new(look.connection.name(), &id, admin.cluster_id()?).check(&there, look.store)?;
    }
    Ok(ClusterSettings::new(look.ours, id))
}

/// Makes the topics that are missing, and names them.
fn make_topics(admin: &Admin, names: &Names, settings: &ClusterSettings) -> Result<Vec<String>> {
    let (brokers, mut made) = (admin.brokers()?, Vec::new());
    for topic in look_at(admin, names, settings.epoch, settings.lanes)? {
        if topic.state.is_none() && admin.create(&topic.wanted.spec(brokers))? {
            made.push(topic.wanted.name);
        }
    }
    Ok(made)
}
