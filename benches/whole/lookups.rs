//! Look-ups in the hash array of an hour, from a thousand to ten million hashes: reads counted by the kernel, and time.
//!
//! Interpolation lands within about a block of where an evenly spread hash must be, so the number of reads hardly grows with the
//! array. Small arrays are read whole when they are opened.

use std::time::Instant;

use etl::record::ContentHash;
use etl::state::{HashArray, HashDir};

use super::support::target;

const SIZES: [u64; 5] = [1_000, 10_000, 100_000, 1_000_000, 10_000_000];
const LOOKUPS: u64 = 10_000;

/// Prints what look-ups cost.
pub fn lookups() {
    println!(
        "{:>10} {:>14} {:>15} {:>14} {:>9} {:>9}",
        "hashes", "reads to open", "reads a known", "reads a new", "µs known", "µs new"
    );
    let mut most = 0.0;
    for count in SIZES {
        let dir = tempfile::tempdir().expect("a directory");
        let hashes = HashDir::open(dir.path()).expect("a directory");
        let hour = "2023-03-10T01".parse().expect("an hour");
        let mut sorted: Vec<ContentHash> = (0..count).map(hash).collect();
        sorted.sort_unstable();
        let named = hashes.write(hour, 1, None, &sorted).expect("an array");
        let before = reads();
        let array = hashes.array(hour, named).expect("an array");
        let to_open = reads() - before;
        let step = (count / LOOKUPS).max(1);
        let known = look(&array, (0..count).step_by(usize::try_from(step).expect("a step")), true);
        let new = look(&array, count..count + LOOKUPS, false);
        println!("{count:>10} {to_open:>14} {:>15.2} {:>14.2} {:>9.2} {:>9.2}", known.0, new.0, known.1, new.1);
        most = known.0.max(new.0).max(most);
    }
    target("reads a look-up, at any size", 2.2, most, "");
}

fn hash(n: u64) -> ContentHash {
    ContentHash(*blake3::hash(&n.to_le_bytes()).as_bytes().first_chunk().expect("16 bytes"))
}

/// Reads and microseconds a look-up.
fn look(array: &HashArray, numbers: impl Iterator<Item = u64>, expected: bool) -> (f64, f64) {
    let wanted: Vec<ContentHash> = numbers.map(hash).collect();
    let (before, started) = (reads(), Instant::now());
    for hash in &wanted {
        assert_eq!(array.contains(*hash).expect("a whole array"), expected);
    }
    let micros = started.elapsed().as_secs_f64() * 1e6;
    ((reads() - before) as f64 / wanted.len() as f64, micros / wanted.len() as f64)
}

/// Reads that this process has asked the kernel for; reading the number takes the last of them each time.
fn reads() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").expect("/proc");
    let count = io.lines().find_map(|line| line.strip_prefix("syscr: ")).expect("syscr");
    count.parse().expect("a number")
}
