//! Many hours: a million records of 24, 2 400 and 100 000 hours, in order and in none, files in and lake out; the same pages again; and one
//! hour of three million.
//!
//! Needs 2 KB of disk a record.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use super::support::{ETL, Place, Used, target};
use etl::simulate::Options;

const RECORDS: u64 = 1_000_000;
const LARGE_HOUR: u64 = 3_000_000;

/// Prints what hours cost.
pub fn hours() {
    for hours in [24, 2_400, 100_000] {
        let place = place(RECORDS, hours);
        run(&place, &format!("1 M records, {hours} hours in order"), RECORDS, hours);
        shuffle(&place.path("pages"));
        place.clear();
        run(&place, &format!("1 M records, {hours} hours in no order"), RECORDS, hours);
    }
    for each in [2_000, 30_000] {
        let place = place(RECORDS, RECORDS / each);
        let first = place.run();
        again(&place, first, &format!("1 M records, {each} an hour"));
    }
    large_hour();
}

/// All in the present hour: the first run commits them and leaves the hour open, the second seals.
fn large_hour() {
    let start = Timestamp::from_second(Timestamp::now().as_second() / 3_600 * 3_600).expect("a time");
    let interval = Duration::from_micros(1_150);
    let place = Place::with_pages(LARGE_HOUR, Options { start, interval, ..Options::default() });
    let received = place.run();
    print("3 M records of one hour, received", received);
    let sealed = place.measure(&[ETL, "run", "--drain"], &[]);
    print("3 M records of one hour, sealed", sealed);
    let restored = place.measure(&[ETL, "restore"], &[]);
    print("3 M records of one hour, restored", restored);
    let verified = place.measure(&[ETL, "verify", "--deep"], &[]);
    print("3 M records of one hour, verified deeply", verified);
    for (what, used) in
        [("receiving", received), ("sealing", sealed), ("restore", restored), ("verify --deep", verified)]
    {
        target(&format!("    peak memory, {what}"), 128.0, used.peak, "MiB");
    }
    target("    CPU of verify --deep, of the restore's", 2.0, verified.cpu / restored.cpu, "×");
    let first = Used { cpu: received.cpu + sealed.cpu, ..received };
    again(&place, first, "3 M records of one hour");
}

/// The same pages, under other names.
fn again(place: &Place, first: Used, what: &str) {
    std::fs::rename(place.path("pages"), place.path("again")).expect("pages");
    let text = std::fs::read_to_string(place.path("etl.toml")).expect("a configuration");
    std::fs::write(place.path("etl.toml"), text.replace("file:pages/", "file:again/")).expect("a configuration");
    let again = place.run();
    print(&format!("{what}, again"), again);
    target("    CPU of the same pages again, of the first time's", 0.7, again.cpu / first.cpu, "×");
    target("    peak memory", 128.0, again.peak, "MiB");
}

fn print(what: &str, Used { cpu, wall, peak }: Used) {
    println!("{what:<44} {cpu:>8.1} s CPU {wall:>8.1} s wall {peak:>8.1} MiB peak");
}

fn place(records: u64, hours: u64) -> Place {
    let interval = Duration::from_secs(hours * 3_600) / u32::try_from(records + 1).expect("so many records");
    let place = Place::with_pages(records, Options { interval, ..Options::default() });
    let text = std::fs::read_to_string(place.path("etl.toml")).expect("a configuration");
    // Some of the hours are in the future.
    std::fs::write(place.path("etl.toml"), format!("{text}[hours]\nmax_future = \"36000d\"\n"))
        .expect("a configuration");
    place
}

fn run(place: &Place, what: &str, records: u64, hours: u64) {
    let used @ Used { cpu, peak, .. } = place.run();
    print(what, used);
    target("    peak memory", 128.0, peak, "MiB");
    target(
        "    CPU, of 4.9 µs a record and 1 ms an hour",
        1.0,
        cpu / (records as f64 * 4.9e-6 + hours as f64 * 1e-3),
        "×",
    );
}

/// Puts the elements of all pages into no order.
fn shuffle(pages: &Path) {
    let entries = std::fs::read_dir(pages).expect("pages").map(|entry| entry.expect("a page").path());
    let mut paths: Vec<_> = entries.collect();
    paths.sort_unstable();
    let page = |path| serde_json::from_slice::<Vec<serde_json::Value>>(&std::fs::read(path).expect("a page"));
    let mut all: Vec<_> = paths.iter().flat_map(|path| page(path).expect("an array")).collect();
    let each = all.len().div_ceil(paths.len());
    fastrand::Rng::with_seed(7).shuffle(&mut all);
    for (path, some) in paths.iter().zip(all.chunks(each)) {
        std::fs::write(path, serde_json::to_vec(some).expect("a page")).expect("a page");
    }
}
