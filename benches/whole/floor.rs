//! A whole run, files in and lake out, against the floor: the arithmetic on the same data that no program can do without.
//!
//! The floor is page JSON, Fernet, parse, one BLAKE3 over the plaintext, one hash set, compact and serialise, gzip, with the
//! same crates and the same level, on one thread, in memory: no journal, no commit, no order, no checksum, no part that
//! survives a crash.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::io::Write;
use std::path::Path;

use super::support::{Place, median, target};
use etl::record;
use etl::record::Schema;
use etl::record::row::{Codecs, Compactor};
use etl::simulate::Options;
use fernet::Fernet;
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::tz::TimeZone;
use serde::Deserialize;

/// Runs of each kind.
const RUNS: usize = 5;
/// From so many records on, the fixed costs of a run are small enough for the targets.
const LARGE: u64 = 1_000_000;

/// Prints what runs of these sizes cost.
pub fn compare(sizes: &[u64]) {
    println!("per record, medians of {RUNS} alternating runs; `again` is the same pages once more, all of them known");
    println!("{:>9}  {:<6} {:>10} {:>10} {:>9} {:>9}", "records", "what", "CPU µs", "wall µs", "peak MiB", "of floor");
    for &records in sizes {
        let place = Place::with_pages(records, Options::default());
        let this = std::env::current_exe().expect("this program");
        let this = this.to_str().expect("a path in UTF-8");
        let mut runs = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..RUNS {
            place.clear();
            let floor = place.measure(&[this, "floor", "pages"], &[]);
            for (runs, used) in runs.iter_mut().zip([floor, place.run(), place.run()]) {
                runs.push(used);
            }
        }
        let used = runs.map(|runs| median(&runs));
        for (what, used_by) in ["floor", "run", "again"].iter().zip(used) {
            let each = |seconds: f64| seconds * 1e6 / records as f64;
            let (cpu, wall, of_floor) = (each(used_by.cpu), each(used_by.wall), used_by.cpu / used[0].cpu);
            println!("{records:>9}  {what:<6} {cpu:>10.2} {wall:>10.2} {:>9.1} {of_floor:>9.2}", used_by.peak);
        }
        if records >= LARGE {
            let [floor, run, again] = used;
            target("CPU of a run, of the floor's", 1.5, run.cpu / floor.cpu, "×");
            target("CPU of a record", 4.0, run.cpu * 1e6 / records as f64, "µs");
            target("wall on two cores, of the CPU", 0.6, run.wall / run.cpu, "×");
            target("CPU of the same pages again, of the first time's", 0.8, again.cpu / run.cpu, "×");
        }
    }
}

#[derive(Deserialize)]
struct Element<'a> {
    data: &'a str,
}

/// Of a hash, eight bytes are a hash.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.first_chunk().map_or(0, |first| u64::from_le_bytes(*first));
    }

    fn write_usize(&mut self, _: usize) {}
}

/// The floor on the pages in `dir`.
pub fn floor(dir: &Path) {
    let fernet = Fernet::new(&std::env::var("FERNET_KEY").expect("a key")).expect("a Fernet key");
    let schema = Schema::of_the_origin(TimeZone::UTC);
    let compactor = Compactor::new(&Codecs::default());
    let mut pages: Vec<_> = std::fs::read_dir(dir).expect("pages").map(|page| page.expect("a page").path()).collect();
    pages.sort();
    let mut known: HashSet<[u8; 16], BuildHasherDefault<AsItIs>> = HashSet::default();
    let mut hours = BTreeMap::<_, Vec<u8>>::new();
    for page in pages {
        let body = std::fs::read(page).expect("a page");
        for element in serde_json::from_slice::<Vec<Element<'_>>>(&body).expect("an array") {
            let plaintext = fernet.decrypt(element.data).expect("a token");
            let record = record::read(&plaintext, &schema).expect("a record");
            if known.insert(*blake3::hash(&plaintext).as_bytes().first_chunk::<16>().expect("16 bytes")) {
                let lines = hours.entry(record.hour).or_default();
                compactor.write_row(&record.fields, lines);
                lines.push(b'\n');
            }
        }
    }
    let mut bytes = 0;
    for lines in hours.into_values() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::new(etl::part::ndjson::LEVELS.gzip));
        gzip.write_all(&lines).expect("memory");
        bytes += gzip.finish().expect("memory").len();
    }
    println!("{bytes}");
}
