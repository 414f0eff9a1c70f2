//! What a record costs when millions are there already: the whole run of 5 M records against that of 100 k, and 100 k more
//! records into the state that has the 5 M.
//!
//! Needs 600 bytes of disk a record.

use super::support::{Place, Used, median, peak, target};
use etl::simulate::Options;
use jiff::Timestamp;

/// Runs of the large kind, each between two of the small one.
const RUNS: usize = 3;
const MANY: u64 = 5_000_000;
const FEW: u64 = 100_000;

fn each(used: Used, records: u64) -> f64 {
    used.cpu * 1e6 / records as f64
}

fn print(what: &str, used: Used, records: u64) {
    println!(
        "{what:<34} {:>8.2} CPU µs a record {:>8.1} s wall {:>7.1} MiB peak",
        each(used, records),
        used.wall,
        used.peak
    );
}

/// Prints what growth costs.
pub fn grow() {
    let many = MANY;
    let few = Place::with_pages(FEW, Options::default());
    let large = Place::with_pages(many, Options::default());
    // Other records, of other hours.
    let options = Options { seed: 1, start: later(many), ..Options::default() };
    let more = Place::with_pages(FEW, options);
    let (mut small, mut whole, mut added) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        few.clear();
        large.clear();
        small.push(few.run());
        whole.push(large.run());
        few.clear();
        small.push(few.run());
        large.configure(&format!("file:{}/*.json", more.path("pages").display()), "to = \"file:lake\"");
        added.push(large.run());
        large.configure("file:pages/*.json", "to = \"file:lake\"");
    }
    print("100 k records, empty state", median(&small), FEW);
    print(&format!("{many} records, empty state"), median(&whole), many);
    print(&format!("100 k more, {many} in the state"), median(&added), FEW);
    target(
        "CPU a record of the large run, of the small one's",
        1.2,
        each(median(&whole), many) / each(median(&small), FEW),
        "×",
    );
    target(
        "CPU a record of 100 k more, of the first 100 k's",
        1.2,
        each(median(&added), FEW) / each(median(&small), FEW),
        "×",
    );
    target("peak memory of the large run", 128.0, peak(&whole), "MiB");
}

/// A day after so many records at 2 000 an hour.
fn later(records: u64) -> Timestamp {
    let start = Options::default().start.as_second();
    let hours = i64::try_from(records / 2_000 + 24).expect("hours");
    Timestamp::from_second(start + hours * 3_600).expect("a time")
}
