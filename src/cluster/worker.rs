//! What one machine does for its cluster: a tick.
//!
//! ```text
//! fetch (who owns partition 0 of pages) ► route what of pages is ours ► own: each lane of ours, one after the other ► delete what has receipts
//! ```
//! Who owns what is asked of Kafka, and believed for the length of a step: it only saves work. Invariants: one lane is open at a time, so that
//! memory does not grow with lanes; what goes wrong with one lane, one page or one end costs only that; one process of a machine is at work, since
//! two of one name would throw each other out of the groups. A crash leaves what the steps leave; nothing is kept here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::checkpoint::Checkpoint;
use super::forward::{self, Destination};
use super::kafka::{Admin, Connection, Member, Producer, Reader};
use super::lane_log::KafkaLane;
use super::names::Names;
use super::report::{self, LaneReport, MachineReport};
use super::route::Router;
use super::settings::{ClusterSettings, Ours};
use super::start::{self, Cluster, Look};
use super::status_log::StatusLog;
use crate::config::{ClusterConfig, Role};
use crate::error::{Error, ErrorKind, Result};
use crate::hour::range::HashRange;
use crate::job::lane::{LanePlace, LaneRequest, run_lane};
use crate::job::receive::receive;
use crate::job::{Outcome, Setup, Source, Summary};
use crate::page::decode::Decoder;
use crate::state::Lock;
use crate::state::pages::journal::Journal;
use crate::stop::Stop;

/// The partition of pages whose owner asks the source.
const FETCHER: i32 = 0;
/// How long a group may take to say who owns what, beyond a session.
const REBALANCE: Duration = Duration::from_secs(30);
/// Between two deletions from Kafka.
const DELETIONS: Duration = Duration::from_secs(60);
/// A run goes on so many times where its lanes got more meanwhile.
const ROUNDS: u32 = 100;
/// How long a run that seals everything waits for the partitions of machines that died, beyond a session.
const TAKEOVER: Duration = Duration::from_secs(45);

/// Makes what a step is told, as the configuration says for a machine alone.
pub type MakeSetup<'m, 'a> = &'m dyn Fn() -> Result<Setup<'a>>;

/// One tick.
pub struct Tick<'t, 'm, 'a> {
    /// Makes what a step is told.
    pub setup: MakeSetup<'m, 'a>,
    /// Where pages come from.
    pub source: Option<Source<'t>>,
    /// Seal everything now, whatever is still open.
    pub drain: bool,
    /// Whether to stop.
    pub stop: &'t Stop,
}

/// A machine of a cluster.
pub struct Worker {
    config: ClusterConfig,
    connection: Connection,
    names: Names,
    settings: ClusterSettings,
    state_dir: PathBuf,
    admin: Admin,
    producer: Producer,
    status: StatusLog,
    reader: Reader,
    router: Option<Router>,
    route: Option<Member>,
    own: Option<Member>,
    checkpoint: Checkpoint,
    last_deletion: Option<Instant>,
    /// What is known of lanes whose states are closed.
    places: BTreeMap<i32, LanePlace>,
    /// Everything that was received before then had been routed when it was last looked.
    caught_up: Timestamp,
    _lock: Lock,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("names", &self.names).finish_non_exhaustive()
    }
}

impl Worker {
    /// Joins the cluster: looks whether its topics promise what they have to, and whether it is ours.
    ///
    /// # Errors
    /// `Busy`: another process of this machine is at work. `Config`: the topics, the store or other settings of the cluster do not fit.
    /// `Unavailable`, `Credentials`: no broker answers, or lets us in. `State`: the state directory.
    pub fn join(config: &ClusterConfig, setup: &Setup<'_>, source: Option<String>) -> Result<Self> {
        check_roles(config)?;
        let lock = Lock::take(&made(&setup.state_dir)?)?;
        check_alone(&setup.state_dir)?;
        let connection = Connection::new(config)?;
        let ours = Ours { lanes: config.lanes, source, settings: setup.settings.clone() };
        let look = Look { connection: &connection, ours: &ours, store: &*setup.store, prefix: &setup.prefix };
        let Cluster { names, settings, admin, warnings } = start::open(&look)?;
        for warning in warnings {
            tracing::warn!("{}: {}", warning.topic, warning.what);
        }
        let member = |role: Role, group: String, topic: String| {
            let joins = config.roles.contains(&role);
            joins.then(|| Member::join(&connection, &group, &topic, role.name())).transpose()
        };
        let route = member(Role::Route, names.route_group(), names.pages())?;
        let own = member(Role::Own, names.own_group(settings.epoch), names.lanes(settings.epoch))?;
        Ok(Self {
            config: config.clone(),
            producer: Producer::new(&connection)?,
            status: StatusLog::new(&connection)?,
            reader: Reader::new(&connection)?,
            router: None,
            connection,
            names,
            settings,
            state_dir: setup.state_dir.clone(),
            admin,
            route,
            own,
            checkpoint: Checkpoint::default(),
            last_deletion: None,
            places: BTreeMap::new(),
            caught_up: Timestamp::MIN,
            _lock: lock,
        })
    }

    /// Does all that is there to do for this machine now.
    ///
    /// Never fails as a whole: what went wrong is in the outcome, beside what was done.
    pub fn tick(&mut self, mut tick: Tick<'_, '_, '_>) -> Outcome {
        let (at, started) = (Timestamp::now(), Instant::now());
        let mut done = Done { began: true, ..Done::default() };
        if let Err(error) = self.work(&mut tick, &mut done) {
            done.problems.push(error);
        }
        done.note(self.report_machine(&done, at));
        let Done { mut summary, mut problems, began } = done;
        problems.extend(summary.quarantine_problem());
        problems.sort_by_key(Error::kind);
        summary.seconds = started.elapsed().as_secs_f64();
        Outcome { summary, began, problems }
    }

    fn work(&mut self, tick: &mut Tick<'_, '_, '_>, done: &mut Done) -> Result<()> {
        let within = self.config.session + REBALANCE;
        for member in [&self.route, &self.own].into_iter().flatten() {
            if let Some(failure) = member.failure() {
                return Err(failure);
            }
            if !member.wait_for_assignment(within, tick.stop)? {
                return Ok(());
            }
        }
        if tick.drain && !self.wait_for_all(tick.stop)? {
            return Ok(());
        }
        if self.fetches() {
            done.note(self.fetch(tick));
        }
        let setup = (tick.setup)()?;
        for _ in 0..ROUNDS {
            let routed = self.route(&setup.decoder, tick.stop, done);
            done.note(routed);
            let goes_on = self.own_lanes(tick, done)?;
            if !goes_on || tick.stop.is_requested() {
                break;
            }
        }
        let deleted = self.delete();
        done.note(deleted);
        Ok(())
    }

    /// Whether this machine asks the source.
    fn fetches(&self) -> bool {
        let is_fetcher = self.route.as_ref().is_some_and(|member| member.still_owns(FETCHER));
        is_fetcher && self.config.roles.contains(&Role::Fetch)
    }

    /// Asks the source, and forwards what came.
    fn fetch(&self, tick: &mut Tick<'_, '_, '_>) -> Result<Outcome> {
        let mut setup = (tick.setup)()?;
        setup.state_dir = self.state_dir.join("fetch");
        setup.status_file = None;
        let partitions = self.admin.ends(&self.names.pages())?.len();
        let to = Destination {
            topic: self.names.pages(),
            partitions: u32::try_from(partitions).unwrap_or(1),
            source: self.settings.source.clone().unwrap_or_default(),
        };
        let mut hand_on = |journal: &Journal| {
            let forwarded = forward::forward(journal, &to, &self.producer, tick.stop)?;
            Ok(forwarded.problems)
        };
        Ok(receive(&setup, tick.source.as_mut(), &mut hand_on))
    }

    /// Routes the pages of the partitions that are ours.
    fn route(&mut self, decoder: &Decoder, stop: &Stop, done: &mut Done) -> Result<()> {
        let Some(member) = &self.route else { return Ok(()) };
        let router = match &mut self.router {
            Some(router) => router,
            None => {
                let router = Router::new(&self.connection, &self.names, self.settings.epoch, self.settings.lanes)?;
                self.router.insert(router)
            }
        };
        let routed = router.route(decoder, member, stop)?;
        done.summary.fetched += routed.elements;
        done.summary.quarantined += routed.odd;
        done.problems.extend(routed.problems);
        Ok(())
    }

    /// Works each lane that is ours. Whether a lane has got more since.
    fn own_lanes(&mut self, tick: &Tick<'_, '_, '_>, done: &mut Done) -> Result<bool> {
        let Some(member) = self.own.take() else { return Ok(false) };
        let worked = self.own_lanes_of(&member, tick, done);
        let topic = self.names.lanes(self.settings.epoch);
        let more = worked.and_then(|()| {
            let ends = self.admin.ends(&topic)?;
            let has_more = |lane: &i32| {
                let end = ends.get(lane).map_or(0, |(_, end)| u64::try_from(*end).unwrap_or(0));
                self.places.get(lane).is_some_and(|place| place.newest < end)
            };
            Ok(member.owned().iter().any(has_more))
        });
        self.own = Some(member);
        more
    }

    fn own_lanes_of(&mut self, member: &Member, tick: &Tick<'_, '_, '_>, done: &mut Done) -> Result<()> {
        self.look_whether_caught_up()?;
        let ends = self.admin.ends(&self.names.lanes(self.settings.epoch))?;
        for lane in member.owned() {
            if tick.stop.is_requested() {
                break;
            }
            let end = ends.get(&lane).map_or(0, |(_, end)| u64::try_from(*end).unwrap_or(0));
            if member.still_owns(lane) && !self.is_idle(lane, end) {
                let worked = self.own_lane(member, lane, tick, done);
                done.note(worked);
            }
        }
        Ok(())
    }

    /// Notes the time now, if all pages that are in Kafka by now are routed.
    fn look_whether_caught_up(&mut self) -> Result<()> {
        let now = Timestamp::now();
        let ends = self.admin.ends(&self.names.pages())?;
        let routed = self.admin.committed(&self.names.route_group(), &self.names.pages())?;
        let is_routed = |(partition, (low, end)): (&i32, &(i64, i64))| {
            low == end || routed.get(partition).is_some_and(|at| at >= end)
        };
        if ends.iter().all(is_routed) {
            self.caught_up = now;
        }
        Ok(())
    }

    /// Whether there is nothing to do for a lane: nothing new, and nothing without a receipt.
    fn is_idle(&mut self, lane: i32, end: u64) -> bool {
        let caught_up = self.caught_up;
        let place = self.places.get_mut(&lane).filter(|place| place.newest == end && place.needed == end);
        place.map(|place| place.closed_through = place.closed_through.max(caught_up)).is_some()
    }

    fn own_lane(&mut self, member: &Member, lane: i32, tick: &Tick<'_, '_, '_>, done: &mut Done) -> Result<()> {
        let mut setup = (tick.setup)()?;
        let number = u32::try_from(lane).unwrap_or(0);
        let range = HashRange::of_lane(number, self.settings.lanes);
        let topic = self.names.lanes(self.settings.epoch);
        setup.state_dir = self.lane_dir(lane);
        setup.settings = setup.settings.of_lane(range, format!("{topic}/{lane} of {}", self.settings.id));
        (setup.manifest, setup.status_file) = (true, None);
        made(&setup.state_dir)?;
        let mut log = KafkaLane::open(&mut self.reader, member, (&topic, lane), tick.stop)?;
        let request = LaneRequest { drain: tick.drain, caught_up: self.caught_up };
        let worked = run_lane(&setup, &mut log, request);
        let released = log.released();
        done.summary.add(&worked.summary);
        let problems: Vec<String> = worked.problems.iter().map(Error::chain).collect();
        done.problems.extend(worked.problems);
        let Some(place) = worked.place else { return Ok(()) };
        self.places.insert(lane, place.clone());
        let report = LaneReport {
            lane,
            epoch: self.settings.epoch,
            machine: self.connection.instance().to_owned(),
            place,
            released,
            problems,
        };
        report::lane(&self.status, report, &setup.state_dir)
    }

    /// Where the state of a lane is. Of another cluster, epoch or topic, it is another one.
    fn lane_dir(&self, lane: i32) -> PathBuf {
        let ClusterSettings { epoch, id, .. } = &self.settings;
        self.state_dir.join("lanes").join(format!("{epoch}-{}-{lane:04}", id.get(..8).unwrap_or(id)))
    }

    /// Deletes from Kafka what has receipts, now and then.
    fn delete(&mut self) -> Result<()> {
        if self.last_deletion.is_some_and(|last| last.elapsed() < DELETIONS) {
            return Ok(());
        }
        self.last_deletion = Some(Instant::now());
        let topic = self.names.lanes(self.settings.epoch);
        if let Some(member) = &self.own {
            let (ends, released) =
                (self.admin.ends(&topic)?, self.admin.committed(&self.names.own_group(self.settings.epoch), &topic)?);
            let is_there = |lane: &i32, at: i64| ends.get(lane).is_some_and(|(low, end)| at > *low && at <= *end);
            let below = released.into_iter().filter(|(lane, at)| member.still_owns(*lane) && is_there(lane, *at));
            self.admin.delete_records(&topic, &below.collect())?;
        }
        if self.route.as_ref().is_some_and(|member| member.still_owns(FETCHER)) {
            self.checkpoint.advance(&self.admin, &self.names, self.settings.epoch)?;
        }
        Ok(())
    }

    /// Waits until everything is this machine's. `false`: it is time to stop.
    fn wait_for_all(&self, stop: &Stop) -> Result<bool> {
        let began = Instant::now();
        let lanes: BTreeSet<i32> = (0..i32::try_from(self.settings.lanes).unwrap_or(i32::MAX)).collect();
        let pages: BTreeSet<i32> = self.admin.ends(&self.names.pages())?.into_keys().collect();
        let owned = |member: &Option<Member>| member.as_ref().map(Member::owned).unwrap_or_default();
        while owned(&self.own) != lanes || owned(&self.route) != pages {
            if began.elapsed() > self.config.session + TAKEOVER {
                return Err(self.others_are_at_work());
            }
            if stop.sleep(Duration::from_millis(100)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn others_are_at_work(&self) -> Error {
        let group = self.names.own_group(self.settings.epoch);
        let members = self.admin.members(&group).unwrap_or_default();
        let ours = format!("etl-{}-{}", self.config.name, self.connection.instance());
        let others: BTreeSet<String> = members
            .into_iter()
            .filter(|member| member.client != ours)
            .map(|member| format!("{} ({})", member.client, member.host))
            .collect();
        let others = others.into_iter().collect::<Vec<_>>().join(", ");
        Error::new(ErrorKind::Unavailable, format!("not every lane is this machine's: others are at work: {others}"))
            .hint("stop them, and run again; what they have is sealed as its hours close in any case")
    }

    fn report_machine(&self, done: &Done, started: Timestamp) -> Result<()> {
        let owned = |member: &Option<Member>| member.as_ref().map(Member::owned).unwrap_or_default();
        let report = MachineReport {
            machine: self.connection.instance().to_owned(),
            lanes: owned(&self.own),
            pages: owned(&self.route),
            fetches: self.fetches(),
            problems: done.problems.iter().map(Error::chain).collect(),
            started,
            exit: done.exit(),
            so_far: done.summary.so_far(),
        };
        report::machine(&self.status, report)
    }

    /// Whether a group takes this machine no more: only joining anew helps.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        [&self.route, &self.own].into_iter().flatten().any(|member| member.failure().is_some())
    }

    /// Leaves the groups, so that others take over at once.
    pub fn leave(self) {
        for member in [self.route, self.own].into_iter().flatten() {
            member.leave();
        }
    }
}

/// What a tick did so far.
#[derive(Default)]
struct Done {
    summary: Summary,
    problems: Vec<Error>,
    began: bool,
}

/// What a step came to.
trait Step {
    fn add_to(self, done: &mut Done);
}

impl Step for () {
    fn add_to(self, _: &mut Done) {}
}

impl Step for Outcome {
    fn add_to(self, done: &mut Done) {
        done.summary.add(&self.summary);
        done.problems.extend(self.problems);
    }
}

impl Done {
    /// How the tick ends, as far as it has come.
    fn exit(&self) -> u8 {
        let kinds = self.problems.iter().map(Error::kind);
        kinds.chain(self.summary.quarantine_problem().map(|odd| odd.kind())).min().map_or(0, ErrorKind::exit_code)
    }

    /// Notes what a step came to: its failure costs only itself.
    fn note(&mut self, step: Result<impl Step>) {
        match step {
            Ok(step) => step.add_to(self),
            Err(error) => self.problems.push(error),
        }
    }
}

/// Who asks the source is who owns a partition of pages, and so routes.
fn check_roles(config: &ClusterConfig) -> Result<()> {
    if config.roles.contains(&Role::Fetch) && !config.roles.contains(&Role::Route) {
        let what = "cluster.roles has fetch and not route: who fetches is chosen among those who route";
        return Err(Error::new(ErrorKind::Config, what).hint("add \"route\" to cluster.roles, or take \"fetch\" out"));
    }
    Ok(())
}

/// Refuses a state directory in which this machine, working alone, still has records without a receipt: nobody would look at them.
fn check_alone(dir: &Path) -> Result<()> {
    let journal = Journal::at(dir);
    if journal.exists() && !journal.list()?.is_empty() {
        let what = format!("{} has records of this machine alone that are not in the store yet", dir.display());
        let hint = "take [cluster] out, run `etl run --drain` once, and put it back; or name another state.dir";
        return Err(Error::new(ErrorKind::Config, what).hint(hint));
    }
    Ok(())
}

/// Makes a directory of ours.
fn made(dir: &Path) -> Result<PathBuf> {
    crate::state::files::access::make(dir)?;
    Ok(dir.to_owned())
}
