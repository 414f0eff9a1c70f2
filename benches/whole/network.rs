//! The same work from files into a directory, and over HTTP into a real S3 server; and one hour of a million records.
//!
//! - 200 k records in 200 linked pages, 1 000 a page, 2 000 an hour, into SeaweedFS: each page is durable before the next is asked
//!   for. Against the same pages as files, into a directory.
//! - 1 M records of one hour that is not over yet, committed by a run of its own; then measured: sealing and uploading them.
//!
//! SeaweedFS comes from PyPI, or name a server as for the tests (`ETL_TEST_S3_ENDPOINT` …).

use std::time::Duration;

use super::server::Server;
use super::support::{ETL, Place, Used, median, peak, target, target_least};
use super::weed::{TestS3, s3, unique_prefix};
use etl::simulate::Options;
use jiff::Timestamp;

const RUNS: usize = 5;
const RECORDS: u64 = 200_000;
const HOUR: u64 = 1_000_000;

/// Prints what the network costs.
pub fn network() {
    let Some(s3) = s3() else { return };
    let server = Server::start();
    over_the_wire(&server, &s3);
    one_hour(&server, &s3);
}

fn print(what: &str, used: Used, records: u64) {
    let each = used.cpu * 1e6 / records as f64;
    println!("{what:<44} {each:>7.2} CPU µs a record {:>7.2} s wall {:>7.1} MiB peak", used.wall, used.peak);
}

/// The variables that let a process in.
pub fn variables(s3: &TestS3) -> [(&str, &str); 2] {
    [("AWS_ACCESS_KEY_ID", &s3.key), ("AWS_SECRET_ACCESS_KEY", &s3.secret)]
}

/// The `[load]` of a prefix that nothing is below.
fn fresh(s3: &TestS3) -> String {
    s3.load(&unique_prefix("bench"))
}

fn run(place: &Place, s3: &TestS3, args: &[&str]) -> Used {
    place.measure(&[&[ETL, "run"], args].concat(), &variables(s3))
}

fn over_the_wire(server: &Server, s3: &TestS3) {
    let place = Place::with_pages(RECORDS, Options::default());
    server.folder(&place.path("pages"));
    let (mut files, mut wire) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        place.clear();
        place.configure("file:pages/*.json", "to = \"file:lake\"");
        files.push(place.run());
        place.clear();
        place.configure(&server.url, &fresh(s3));
        wire.push(run(&place, s3, &["--drain"]));
    }
    let (files, wire) = (median(&files), median(&wire));
    print("200 k records, files to directory", files, RECORDS);
    print("200 k records, HTTP to SeaweedFS", wire, RECORDS);
    target("CPU over the wire, of that with files", 1.3, wire.cpu / files.cpu, "×");
}

/// All in the present hour: the first run commits them and leaves the hour open, the second seals and uploads.
fn one_hour(server: &Server, s3: &TestS3) {
    let start = Timestamp::from_second(Timestamp::now().as_second() / 3_600 * 3_600).expect("a time");
    let place = Place::with_pages(HOUR, Options { start, interval: Duration::from_millis(3), ..Options::default() });
    let (mut commits, mut seals) = (Vec::new(), Vec::new());
    for _ in 0..RUNS.min(3) {
        place.clear();
        place.configure(&server.url, &fresh(s3));
        server.folder(&place.path("pages"));
        commits.push(run(&place, s3, &[]));
        server.pages(Vec::new());
        seals.push(run(&place, s3, &["--drain"]));
    }
    print("1 M records of one hour, received", median(&commits), HOUR);
    print("1 M records of one hour, sealed and uploaded", median(&seals), HOUR);
    target("peak memory, receiving an hour of 1 M", 128.0, peak(&commits), "MiB");
    target("peak memory, sealing and uploading it", 128.0, peak(&seals), "MiB");
    target_least("records a second a core, sealing and uploading", 200_000.0, HOUR as f64 / median(&seals).cpu, "");
}
