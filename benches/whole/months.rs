//! Months of cron: 600 hours of 2 000 records, fetched 20 times an hour, with overlap, duplicates and late records.
//!
//! A day of them the store is away. The runs are those of the library under a clock that goes with the records, because no
//! clock can be set in the shipped command. At every hundredth hour: the state directory (its blocks on disk) against its
//! live bytes, how long opening it takes, and a tick as a process of its own, this program. The last tick of an hour seals
//! the hour before.
//!
//! Live bytes are 16 a remembered record, the records without a receipt with their index, the pages that are needed, and sealed
//! bytes that wait for their upload.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use etl::hour::Clock;
use etl::job::{self, Outcome, RunRequest, Setup, Source};
use etl::net::backoff::Backoff;
use etl::simulate::{Generator, Options};
use etl::source::{Headers, HttpSettings, HttpSource, PageShape, PageUrl, Template};
use etl::state::status;
use etl::state::{Ledger, State};
use etl::stop::Stop;
use etl::store::lake::FileStore;
use jiff::{SignedDuration, Timestamp};

use super::server::Server;
use super::setup;
use super::support::{Place, Used, median, peak, target};

/// The store is away from this hour on, for a day.
const AWAY: u64 = 310;
const BACK: u64 = AWAY + 24;
const TICKS: u64 = 20;
/// New records from tick to tick; the page shows half as many again.
const NEW: u64 = 100;
/// Bytes of a record without a receipt: its line and its index entry.
const UNSEALED: u64 = 213 + 32;
/// The reserve for a full disk, and what does not grow.
const FIXED: u64 = 36 << 20;
const MIB: f64 = 1_048_576.0;

/// A clock that stands.
struct Set(Timestamp);

impl Clock for Set {
    fn now(&self) -> Timestamp {
        self.0
    }
}

/// Prints what months of cron leave.
pub fn months(hours: u64) {
    let options = Options { window: NEW * 3 / 2, late: 2.0, duplicates: 3.0, ..Options::default() };
    let place = Place::new(options.key().to_text());
    let (pages, server) = (Generator::new(&options).expect("a generator"), Server::start());
    let page = place.path("page.json");
    server.pages(vec![page.clone()]);
    println!("{hours} hours of 2 000 records, {TICKS} ticks an hour; the store is away from hour {AWAY} to {BACK}");
    println!(
        "{:>5} {:>9} {:>9} {:>9} {:>8} {:>7} | tick: CPU ms, of a sealing one, peak MiB",
        "hour", "directory", "live", "allowed", "pending", "open ms"
    );
    let mut rows = Vec::new();
    for hour in 0..hours {
        if hour == AWAY {
            fs::rename(place.path("lake"), place.path("away")).expect("a lake");
            fs::write(place.path("lake"), "in the way").expect("a file");
        } else if hour == BACK {
            fs::remove_file(place.path("lake")).expect("a file");
            fs::rename(place.path("away"), place.path("lake")).expect("a lake");
        }
        let is_shown = (hour + 1) % 100 == 0 || hour + 1 == BACK;
        let mut used = Vec::new();
        for tick in 1..=TICKS {
            let seen = (hour * TICKS + tick) * NEW;
            fs::write(&page, pages.page(seen, seen)).expect("a page");
            let now = moment(&options, seen);
            if is_shown {
                used.push(tick_apart(&place, now, &server.url));
            } else {
                let outcome = run(place.dir.path(), &place.key, now, &server.url);
                assert!(outcome.exit_code() == 0 || (AWAY..BACK).contains(&hour), "{:?}", outcome.problems);
            }
        }
        if is_shown {
            rows.push(show(&place, hour + 1, &used));
        }
    }
    summary(&rows);
}

/// When a tick sees its newest record.
fn moment(options: &Options, seen: u64) -> Timestamp {
    options.start + SignedDuration::from_millis(i64::try_from(seen * 1_800).expect("a time"))
}

/// A tick in a process of its own.
fn tick_apart(place: &Place, now: Timestamp, url: &str) -> Used {
    let this = std::env::current_exe().expect("this program");
    place.measure(&[this.to_str().expect("a path in UTF-8"), "one-tick", &now.to_string(), url], &[])
}

/// That process.
pub fn one_tick(now: &str, url: &str) {
    let key = std::env::var("FERNET_KEY").expect("a key");
    run(Path::new("."), &key, now.parse().expect("a time"), url);
}

/// What stands in a row.
struct Row {
    hour: u64,
    directory: u64,
    allowed: u64,
    open: Duration,
    tick: Used,
    peak: f64,
}

fn show(place: &Place, hour: u64, used: &[Used]) -> Row {
    let state = place.path("etl-state");
    let started = Instant::now();
    let opened = State::open(&state, &setup::settings("UTC")).expect("a state");
    let open = started.elapsed();
    drop(opened);
    let (directory, (live, pending)) = (blocks(&state), live(&state));
    let row = Row { hour, directory, allowed: live * 3 + FIXED, open, tick: median(used), peak: peak(used) };
    let most = used.iter().map(|used| used.cpu).fold(0.0, f64::max);
    let (mib, ms) = (|bytes: u64| bytes as f64 / MIB, |seconds: f64| seconds * 1e3);
    println!(
        "{hour:>5} {:>9.1} {:>9.1} {:>9.1} {pending:>8} {:>7.1} | {:>6.1} {:>6.1} {:>6.1}",
        mib(directory),
        mib(live),
        mib(row.allowed),
        ms(open.as_secs_f64()),
        ms(row.tick.cpu),
        ms(most),
        row.peak
    );
    row
}

fn summary(rows: &[Row]) {
    let largest = |of: fn(&Row) -> f64| rows.iter().map(of).fold(0.0, f64::max);
    target(
        "directory, of 3 × its live bytes + 36 MiB",
        1.0,
        largest(|row| row.directory as f64 / row.allowed as f64),
        "×",
    );
    target("opening it", 50.0, largest(|row| row.open.as_secs_f64() * 1e3), "ms");
    let cron: Vec<&Row> = rows.iter().filter(|row| row.hour != BACK).collect();
    let (first, last) = (cron[0], cron[cron.len() - 1]);
    target("CPU of a tick, the last hundred hours of the first", 1.2, last.tick.cpu / first.tick.cpu, "×");
    target("CPU of a tick", 30.0, largest(|row| row.tick.cpu * 1e3), "ms");
    target("peak memory of a tick", 48.0, largest(|row| row.peak), "MiB");
}

/// Blocks on disk of all files below `dir`.
fn blocks(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path());
    let sizes = entries.map(|path| {
        let below = if path.is_dir() { blocks(&path) } else { 0 };
        below + fs::symlink_metadata(&path).map_or(0, |meta| meta.blocks() * 512)
    });
    sizes.sum()
}

/// Live bytes, and records without a receipt.
fn live(state: &Path) -> (u64, u64) {
    let mut remembered = 0;
    let ledger = Ledger::open(state).expect("a ledger").expect("a ledger");
    let count = ledger.for_each(&mut |row| {
        remembered += row.hashes.map_or(0, |hashes| hashes.count);
        Ok(())
    });
    count.expect("a ledger");
    let status = status::read(state, Timestamp::now()).expect("a status");
    let spool = blocks(&state.join("spool"));
    let live = 16 * remembered + UNSEALED * status.totals.pending + status.journal.bytes + spool;
    (live, status.totals.pending)
}

/// A run, as `etl run` does it.
fn run(dir: &Path, key: &str, now: Timestamp, url: &str) -> Outcome {
    let (stop, clock) = (Stop::new(), Set(now));
    let store = Arc::new(FileStore::new(dir.join("lake")));
    let setup = Setup { uploads: 2, ..setup::setup(dir.join("etl-state"), key, store, &clock, &stop) };
    let http = HttpSettings {
        shape: PageShape::default(),
        headers: Headers::new([]).expect("no headers"),
        timeout: Duration::from_secs(5),
        retries: 0,
        max_page_bytes: 1 << 20,
        backoff: Backoff::SOURCE,
    };
    let mut client = HttpSource::new(http, stop.clone());
    let source =
        Source::Http { client: &mut client, template: Template::of_links(PageUrl::parse(url).expect("an address")) };
    job::run(&setup, Some(source), RunRequest::default())
}
