//! What one machine does for its cluster: a tick.
//!
//! ```text
//! fetch (who owns partition 0 of pages) ► route what of pages is ours ► delete pages that have receipts ► own: each lane of ours, one after
//! the other ► delete from lanes
//! ```
//! Who owns what is asked of Kafka, and believed for the length of a step: it only saves work. Invariants: one lane is open at a time, so that
//! memory does not grow with lanes; what goes wrong with one lane, one page or one end costs only that; one process of a machine is at work, since
//! two of one name would throw each other out of the groups. A crash leaves what the steps leave; nothing is kept here.

mod deletions;
mod done;
mod drain;
mod own;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use self::done::Done;
use self::own::Owner;
use super::forward::{self, Destination};
use super::kafka::{Admin, Connection, Member, Producer};
use super::names::Names;
use super::report::{self, MachineReport};
use super::route::Router;
use super::settings::{ClusterSettings, Ours};
use super::start::{self, Cluster, Look};
use super::status_log::StatusLog;
use crate::config::{ClusterConfig, Role};
use crate::error::{Error, ErrorKind, Result};
use crate::job::lane::Seals;
use crate::job::receive::receive;
use crate::job::{Outcome, Setup, Source};
use crate::page::decode::Decoder;
use crate::state::Lock;
use crate::state::pages::journal::Journal;
use crate::stop::Stop;

/// The partition of pages whose owner asks the source.
const FETCHER: i32 = 0;
/// How long a group may take to say who owns what, beyond a session.
const REBALANCE: Duration = Duration::from_secs(30);
/// A run goes on so many times where its lanes got more meanwhile.
const ROUNDS: u32 = 100;

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
    /// Stores pages.
    pages: Producer,
    status: StatusLog,
    router: Option<Router>,
    route: Option<Member>,
    own: Option<Member>,
    owner: Owner,
    page_partitions: u32,
    last_deletion: Option<Instant>,
    /// How often what is ours had changed when the last tick began.
    changes: u64,
    /// The same, when it was last looked whether the cluster still has these lanes.
    checked: u64,
    /// Whether that look failed.
    is_outdated: bool,
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
        let route = member(Role::Route, names.route_group(settings.epoch), names.pages())?;
        let own = member(Role::Own, names.own_group(settings.epoch), names.lanes(settings.epoch))?;
        Ok(Self {
            config: config.clone(),
            pages: Producer::of_encrypted(&connection)?,
            status: StatusLog::new(&connection)?,
            owner: Owner::new(&connection, &names, &settings, &setup.state_dir)?,
            page_partitions: u32::try_from(admin.ends(&names.pages())?.len()).unwrap_or(1),
            router: None,
            connection,
            names,
            settings,
            state_dir: setup.state_dir.clone(),
            admin,
            route,
            own,
            last_deletion: None,
            changes: 0,
            checked: 0,
            is_outdated: false,
            _lock: lock,
        })
    }

    /// Does all that is there to do for this machine now.
    ///
    /// Never fails as a whole: what went wrong is in the outcome, beside what was done.
    pub fn tick(&mut self, mut tick: Tick<'_, '_, '_>) -> Outcome {
        let (at, started) = (Timestamp::now(), Instant::now());
        let mut done = Done::default();
        self.changes = self.changes_so_far();
        if let Err(error) = self.work(&mut tick, &mut done) {
            done.problems.push(error);
        }
        done.note(self.report_machine(&done, at));
        done.end(started.elapsed().as_secs_f64())
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
        self.changes = self.changes_so_far();
        if let Err(error) = self.check_lanes() {
            // The source forgets, and the brokers do not.
            if self.fetches() {
                done.note(self.fetch(tick));
            }
            return Err(error);
        }
        if tick.drain && !self.wait_for_all(tick.stop)? {
            return Ok(());
        }
        // Pages that came while no broker answered, or before another machine took over, are forwarded by whoever has them.
        if self.fetches() || self.has_pages_left() {
            done.note(self.fetch(tick));
        }
        let setup = (tick.setup)()?;
        let seals = self.seals(&setup.decoder, tick, done);
        let deletes = self.is_time_to_delete();
        let routed = if tick.drain {
            self.route_through(&setup.decoder, tick.stop, done)
        } else {
            self.route(&setup.decoder, tick.stop, done)
        };
        done.note(routed);
        if deletes {
            // What this writes to the lanes is read in what follows.
            done.note(self.delete_pages());
        }
        if tick.drain {
            self.own_through(&setup.decoder, (tick, seals), done)?;
        } else {
            self.rounds(&setup.decoder, (tick, seals), done)?;
        }
        if deletes {
            done.note(self.delete_from_lanes());
        }
        Ok(())
    }

    /// Works lanes, and routes, until they get no further.
    fn rounds(&mut self, decoder: &Decoder, (tick, seals): (&Tick<'_, '_, '_>, Seals), done: &mut Done) -> Result<()> {
        for _ in 0..ROUNDS {
            if !self.own(tick, seals, done)? || tick.stop.is_requested() {
                break;
            }
            let routed = self.route(decoder, tick.stop, done);
            done.note(routed);
        }
        Ok(())
    }

    /// Looks whether the cluster still has these lanes, whenever what is ours has changed: this machine may have been stopped for long.
    fn check_lanes(&mut self) -> Result<()> {
        if self.checked == self.changes {
            return Ok(());
        }
        let checked = ClusterSettings::check_epoch(&self.connection, self.status.producer(), self.settings.epoch);
        self.is_outdated = checked.is_err();
        self.checked = self.changes;
        checked
    }

    /// Routes this machine's files, if it has some, and says what is to be sealed then: files do not wait for hours to close; where hours
    /// are those of a live source, only not for what is late.
    fn seals(&mut self, decoder: &Decoder, tick: &Tick<'_, '_, '_>, done: &mut Done) -> Seals {
        let has_files = self.route_files(decoder, tick, done).unwrap_or_else(|error| {
            done.problems.push(error);
            false
        });
        match (tick.drain, has_files, &self.settings.source) {
            (true, ..) | (_, true, None) => Seals::All,
            (_, true, Some(_)) => Seals::Over,
            _ => Seals::Due,
        }
    }

    /// Whether this machine asks the source.
    fn fetches(&self) -> bool {
        let is_fetcher = self.route.as_ref().is_some_and(|member| member.still_owns(FETCHER));
        is_fetcher && self.config.roles.contains(&Role::Fetch)
    }

    /// Whether pages wait in this machine's journal.
    fn has_pages_left(&self) -> bool {
        let journal = Journal::at(&self.state_dir.join("fetch"));
        journal.exists() && journal.list().map_or(true, |segments| !segments.is_empty())
    }

    /// Asks the source, if that is this machine's to do, and forwards what came.
    fn fetch(&self, tick: &mut Tick<'_, '_, '_>) -> Result<Outcome> {
        let mut setup = (tick.setup)()?;
        setup.state_dir = self.state_dir.join("fetch");
        setup.status_file = None;
        // The brokers are not asked first: what the source has now is received, whether they answer or not.
        let to = Destination {
            topic: self.names.pages(),
            partitions: self.page_partitions,
            source: self.settings.source.clone().unwrap_or_default(),
        };
        let mut hand_on = |journal: &Journal| {
            let forwarded = forward::forward(journal, &to, &self.pages, tick.stop)?;
            Ok(forwarded.problems)
        };
        let source = tick.source.as_mut().filter(|_| self.fetches());
        Ok(receive(&setup, source, &mut hand_on))
    }

    /// Asks the source although no broker answers, where this machine did so before: pages wait in its journal. `None`: it did not.
    pub fn fetch_alone(config: &ClusterConfig, tick: &mut Tick<'_, '_, '_>) -> Option<Outcome> {
        if !config.roles.contains(&Role::Fetch) {
            return None;
        }
        let mut setup = (tick.setup)().ok()?;
        setup.state_dir = setup.state_dir.join("fetch");
        setup.status_file = None;
        setup.state_dir.join("journal").is_dir().then(|| receive(&setup, tick.source.as_mut(), &mut |_| Ok(Vec::new())))
    }

    /// Routes the pages of the partitions that are ours.
    fn route(&mut self, decoder: &Decoder, stop: &Stop, done: &mut Done) -> Result<()> {
        self.prepare_router()?;
        if let (Some(router), Some(member)) = (&mut self.router, &self.route) {
            done.routed(router.route(decoder, member, stop)?);
        }
        Ok(())
    }

    /// Routes this machine's files, past the topic of pages. Whether there are any to be read.
    fn route_files(&mut self, decoder: &Decoder, tick: &Tick<'_, '_, '_>, done: &mut Done) -> Result<bool> {
        let (Some(Source::Files { pattern, max_page_bytes }), true) = (&tick.source, self.route.is_some()) else {
            return Ok(false);
        };
        self.prepare_router()?;
        let Some(router) = &mut self.router else { return Ok(false) };
        let routed = router.route_files(decoder, pattern, *max_page_bytes, tick.stop)?;
        let is_whole = !routed.behind;
        done.summary.pages += routed.pages;
        done.routed(routed);
        Ok(is_whole)
    }

    fn prepare_router(&mut self) -> Result<()> {
        if self.route.is_some() && self.router.is_none() {
            let router = Router::new(&self.connection, &self.names, self.settings.epoch, self.settings.lanes)?;
            self.router = Some(router);
        }
        Ok(())
    }

    /// Works the lanes that are ours. Whether one has got further and has more by now.
    fn own(&mut self, tick: &Tick<'_, '_, '_>, seals: Seals, done: &mut Done) -> Result<bool> {
        match &self.own {
            Some(member) => self.owner.work(&self.admin, member, (tick, seals), done),
            None => Ok(false),
        }
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

    /// Whether what is ours has changed since the last tick began: somebody's lanes may wait for us.
    #[must_use]
    pub fn has_news(&self) -> bool {
        // Who was thrown out waits: two of one name would throw each other out all the time.
        !self.has_failed() && self.changes_so_far() != self.changes
    }

    fn changes_so_far(&self) -> u64 {
        [&self.route, &self.own].into_iter().flatten().map(Member::changes).sum()
    }

    /// Whether a group takes this machine no more: only joining anew helps.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.is_outdated || [&self.route, &self.own].into_iter().flatten().any(|member| member.failure().is_some())
    }

    /// Leaves the groups, so that others take over at once.
    pub fn leave(self) {
        for member in [self.route, self.own].into_iter().flatten() {
            member.leave();
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
