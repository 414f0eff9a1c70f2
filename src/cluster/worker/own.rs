//! The lanes of a machine, one after the other: the state of each is open only while it is worked.
//!
//! Keeps how far each lane was when it was last worked. It is a memory only: what counts is in the lane's state and in the group's offsets. A
//! crash leaves what [`crate::job::lane`] leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::done::Done;
use super::{Tick, made};
use crate::cluster::barrier::Ends;
use crate::cluster::kafka::{Admin, Connection, Member, Reader};
use crate::cluster::lane_log::KafkaLane;
use crate::cluster::names::Names;
use crate::cluster::report::{self, LaneReport};
use crate::cluster::settings::ClusterSettings;
use crate::cluster::status_log::{self, StatusLog};
use crate::error::{Error, Result};
use crate::hour::range::HashRange;
use crate::job::lane::{LanePlace, LaneRequest, Neighbours, Seals, run_lane};

/// How often a lane without work says how it is.
const IDLE_REPORTS: Duration = Duration::from_secs(15);

/// What works lanes.
pub(super) struct Owner {
    connection: Connection,
    machine: String,
    names: Names,
    settings: ClusterSettings,
    state_dir: PathBuf,
    reader: Reader,
    status: StatusLog,
    lanes: BTreeMap<i32, Known>,
    neighbours: Rc<Neighbours>,
    /// Everything that was received before then had been routed when it was last looked.
    caught_up: Timestamp,
}

/// What is known of a lane whose state is closed.
struct Known {
    place: LanePlace,
    released: Option<u64>,
    reported: Instant,
}

impl Owner {
    pub(super) fn new(
        connection: &Connection,
        names: &Names,
        settings: &ClusterSettings,
        state_dir: &Path,
    ) -> Result<Self> {
        Ok(Self {
            connection: connection.clone(),
            machine: connection.instance().to_owned(),
            names: names.clone(),
            settings: settings.clone(),
            state_dir: state_dir.to_owned(),
            reader: Reader::new(connection)?,
            status: StatusLog::new(connection)?,
            lanes: BTreeMap::new(),
            neighbours: Rc::default(),
            caught_up: Timestamp::MIN,
        })
    }

    /// Works each lane of `member`. Whether one has got further and has more by now.
    pub(super) fn work(
        &mut self,
        admin: &Admin,
        member: &Member,
        (tick, seals): (&Tick<'_, '_, '_>, Seals),
        done: &mut Done,
    ) -> Result<bool> {
        self.look_whether_caught_up(admin)?;
        let topic = self.names.lanes(self.settings.epoch);
        // In this order: owners of before may still go on.
        let owned = member.owned();
        let read = self.read_before(&owned)?;
        let ends = report::ends_from(admin, &topic, &read)?;
        let mut moved = Vec::new();
        for lane in owned {
            if tick.stop.is_requested() {
                return Ok(false);
            }
            let end = ends.get(&lane).copied().unwrap_or(0);
            if !member.still_owns(lane) || self.is_idle(lane, end, done) {
                continue;
            }
            let before = self.lanes.get(&lane).map(|known| known.place.newest);
            if before.is_none()
                && let Err(error) = report::check_is_whole(&topic, lane, read.get(&lane).copied().unwrap_or(0), end)
            {
                done.problems.push(error);
                continue;
            }
            let worked = self.lane(member, lane, (tick, seals), done);
            done.note(worked);
            let newest = self.lanes.get(&lane).map(|known| known.place.newest);
            moved.extend(newest.filter(|_| newest != before).map(|newest| (lane, newest)));
        }
        if moved.is_empty() {
            return Ok(false);
        }
        let ends = report::ends_from(admin, &topic, &BTreeMap::new())?;
        Ok(moved.into_iter().any(|(lane, newest)| ends.get(&lane).is_some_and(|end| newest < *end)))
    }

    /// Whether the lanes are read up to these offsets.
    pub(super) fn has_read(&self, ends: &Ends) -> bool {
        let has = |lane: &i32, end: u64| self.lanes.get(lane).is_some_and(|known| known.place.newest > end);
        ends.iter().all(|(lane, end)| has(lane, u64::try_from(*end).unwrap_or(0)))
    }

    /// How far owners of before had read the lanes that are new here: an empty state would not miss what is gone.
    fn read_before(&self, owned: &BTreeSet<i32>) -> Result<BTreeMap<i32, u64>> {
        if owned.iter().all(|lane| self.lanes.contains_key(lane)) {
            return Ok(BTreeMap::new());
        }
        Ok(report::read_up_to(&status_log::read_all(&self.connection)?, self.settings.epoch))
    }

    /// Notes the time now, if all pages that are in Kafka by now are routed.
    fn look_whether_caught_up(&mut self, admin: &Admin) -> Result<()> {
        let now = Timestamp::now();
        let ends = admin.ends(&self.names.pages())?;
        let routed = admin.committed(&self.names.route_group(self.settings.epoch), &self.names.pages())?;
        let is_routed = |(partition, (low, end)): (&i32, &(i64, i64))| {
            low == end || routed.get(partition).is_some_and(|at| at >= end)
        };
        if ends.iter().all(is_routed) {
            self.caught_up = now;
        }
        Ok(())
    }

    /// Whether there is nothing to do for a lane: nothing new, and nothing without a receipt. Then every hour that closed is in the store.
    fn is_idle(&mut self, lane: i32, end: u64, done: &mut Done) -> bool {
        let caught_up = self.caught_up;
        let idle = self.lanes.get_mut(&lane).filter(|known| known.place.newest == end && known.place.needed == end);
        let Some(known) = idle else { return false };
        known.place.closed_through = known.place.closed_through.max(caught_up);
        if known.reported.elapsed() >= IDLE_REPORTS {
            let reported = self.report(lane, Vec::new());
            done.note(reported);
        }
        true
    }

    fn lane(
        &mut self,
        member: &Member,
        lane: i32,
        (tick, seals): (&Tick<'_, '_, '_>, Seals),
        done: &mut Done,
    ) -> Result<()> {
        let mut setup = (tick.setup)()?;
        let range = HashRange::of_lane(u32::try_from(lane).unwrap_or(0), self.settings.lanes);
        let topic = self.names.lanes(self.settings.epoch);
        setup.state_dir = self.dir(lane);
        setup.settings = setup.settings.of_lane(range, format!("{topic}/{lane} of {}", self.settings.id));
        (setup.manifest, setup.status_file) = (true, None);
        made(&setup.state_dir)?;
        let mut log = KafkaLane::open(&mut self.reader, member, (&topic, lane), tick.stop)?;
        let request = LaneRequest { seals, caught_up: self.caught_up, neighbours: Rc::clone(&self.neighbours) };
        let worked = run_lane(&setup, &mut log, request);
        let released = log.released();
        done.summary.add(&worked.summary);
        let problems: Vec<String> = worked.problems.iter().map(Error::chain).collect();
        done.problems.extend(worked.problems);
        let Some(mut place) = worked.place else { return Ok(()) };
        // A late part on its way takes nothing back.
        if let Some(known) = self.lanes.get(&lane) {
            place.closed_through = place.closed_through.max(known.place.closed_through);
        }
        self.lanes.insert(lane, Known { place, released, reported: Instant::now() });
        self.report(lane, problems)
    }

    fn report(&mut self, lane: i32, problems: Vec<String>) -> Result<()> {
        let dir = self.dir(lane);
        let Some(known) = self.lanes.get_mut(&lane) else { return Ok(()) };
        known.reported = Instant::now();
        let (epoch, machine) = (self.settings.epoch, self.machine.clone());
        let (place, released) = (known.place.clone(), known.released);
        report::lane(&self.status, LaneReport { lane, epoch, machine, place, released, problems }, &dir)
    }

    /// Where the state of a lane is. Of another cluster, epoch or topic, it is another one.
    fn dir(&self, lane: i32) -> PathBuf {
        let ClusterSettings { epoch, id, .. } = &self.settings;
        self.state_dir.join("lanes").join(format!("{epoch}-{}-{lane:04}", id.get(..8).unwrap_or(id)))
    }
}
