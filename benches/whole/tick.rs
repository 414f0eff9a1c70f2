//! What cron pays for every few minutes: a run that fetches a page of 100 records, 60 of them new.
//!
//! Into a state directory that holds nothing else, and into one with 30 days of 2 000 records an hour, in turns. The source is
//! on loopback, the hour is the present one, so that it stays open; the lake is a directory.

use super::server::Server;
use super::support::{Place, Used, median, peak, target};
use etl::simulate::{Generator, Options};
use jiff::Timestamp;

const TICKS: u64 = 30;
const PAGE: u64 = 100;
const NEW: u64 = 60;
const HOURS: i64 = 30 * 24;
const AN_HOUR: u64 = 2_000;

/// Prints what a tick costs.
pub fn tick() {
    let now = Timestamp::now().as_second() / 3_600 * 3_600;
    let start = Timestamp::from_second(now - HOURS * 3_600).expect("a time");
    let options = Options { start, window: PAGE, ..Options::default() };
    let old = HOURS.unsigned_abs() * AN_HOUR;
    let full = Place::with_pages(old, options.clone());
    full.run();
    let empty = Place::new(full.key.clone());
    let server = Server::start();
    for place in [&full, &empty] {
        place.configure(&server.url, "to = \"file:lake\"");
    }
    let pages = Generator::new(&options).expect("a generator");
    let (mut of_empty, mut of_full) = (Vec::new(), Vec::new());
    for tick in 1..=TICKS {
        let page = empty.path("page.json");
        std::fs::write(&page, pages.page(old + NEW * tick, tick)).expect("a page");
        server.pages(vec![page]);
        of_empty.push(empty.run());
        of_full.push(full.run());
    }
    print("into an empty state, the first", of_empty[0]);
    let (empty, of_30_days) = (median(&of_empty), median(&of_full));
    print("into an empty state", empty);
    print("into 30 days of 2 000 an hour", of_30_days);
    target("CPU of a tick, empty state", 30.0, empty.cpu * 1e3, "ms");
    target("CPU of a tick with 30 days, of that with none", 1.2, of_30_days.cpu / empty.cpu, "×");
    target("peak memory of a tick", 48.0, peak(&[of_empty, of_full].concat()), "MiB");
}

fn print(what: &str, used: Used) {
    println!("{what:<34} {:>6.1} ms CPU {:>6.1} ms wall {:>6.1} MiB peak", used.cpu * 1e3, used.wall * 1e3, used.peak);
}
