//! The fuzz targets on stable: their corpus, and seeded mutations of it. See `tests/fuzz/targets.rs` for the long way.

#[path = "../fuzz/targets.rs"]
mod targets;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use fastrand::Rng;

use self::targets::{TARGETS, Target};
use crate::support::tally;

/// Longer inputs only cost time.
const LONGEST: usize = 64 * 1024;
/// What a blind change hardly ever makes.
const WORDS: [&[u8]; 24] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b"(",
    b",)",
    b"'",
    b"\"",
    b"\\u",
    b"\\x",
    b"\\N{",
    b"\\",
    b"_raw",
    b"inDate",
    b"user_id",
    b"None",
    b"1e999",
    b"-0",
    b"\xff",
    b"\xed\xa0\x80",
    b"\0\0\0\0\0\0\0\0",
    b"\xff\xff\xff\xff\xff\xff\xff\xff",
    b"2023-03-10T01:60:60Z",
    b"\n",
];

/// The corpus of a target, by file name.
fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
    let mut files: Vec<(String, Vec<u8>)> = fs::read_dir(&dir)
        .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

/// Runs one input; what it panics with comes with the way to repeat it.
fn feed((name, target): Target, origin: &str, input: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| target(input))).is_err() {
        let found =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{name}-{}", blake3::hash(input).to_hex()));
        fs::write(&found, input).unwrap();
        panic!("{name}: {origin}: keep {} in tests/fuzz/corpus/{name}/", found.display());
    }
}

fn mutated(random: &mut Rng, input: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..random.usize(1..6) {
        change(random, &mut bytes, other);
    }
    bytes.truncate(LONGEST);
    bytes
}

/// One change: a bit, a byte, a range left out or repeated, a word, or a piece of another input.
fn change(random: &mut Rng, bytes: &mut Vec<u8>, other: &[u8]) {
    let at = random.usize(0..=bytes.len());
    let end = (at + random.usize(0..=16)).min(bytes.len());
    match random.u8(0..6) {
        0 if at < bytes.len() => bytes[at] ^= 1 << random.u8(0..8),
        1 if at < bytes.len() => bytes[at] = random.u8(..),
        2 => drop(bytes.drain(at..end)),
        3 => {
            let piece = bytes[at..end].repeat(random.usize(1..40));
            bytes.splice(at..at, piece);
        }
        4 => drop(bytes.splice(at..end, random.choice(WORDS).unwrap_or_default().iter().copied())),
        _ => {
            let from = random.usize(0..=other.len());
            let piece = other[from..(from + random.usize(0..=64)).min(other.len())].to_vec();
            drop(bytes.splice(at..end, piece));
        }
    }
}

#[test]
fn each_target_has_a_corpus_and_a_file_for_the_fuzzer() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz");
    let names = |sub: &str| {
        let entries = fs::read_dir(folder.join(sub)).unwrap().map(|entry| entry.unwrap().path());
        let mut names: Vec<String> =
            entries.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    let mut expected: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    expected.sort_unstable();
    assert_eq!(names("fuzz_targets"), expected);
    assert_eq!(names("corpus"), expected);
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    assert!(expected.iter().all(|name| manifest.contains(&format!("name = \"{name}\""))), "{manifest}");
}

#[test]
fn corpus_and_its_mutations_break_no_promise() {
    let seed = tally::seed("fuzz inputs", 8);
    let each = tally::scale(50_000, 5_000_000);
    std::thread::scope(|scope| {
        for target in TARGETS {
            scope.spawn(move || {
                let (name, files) = (target.0, corpus(target.0));
                assert!(files.len() > 2, "{name}: a corpus of {}", files.len());
                files.iter().for_each(|(file, input)| feed(target, file, input));
                let mut random = Rng::with_seed(seed ^ blake3::hash(name.as_bytes()).as_bytes()[0] as u64);
                for n in 0..each {
                    let (file, input) = &files[random.usize(0..files.len())];
                    let other = &files[random.usize(0..files.len())].1;
                    let input = mutated(&mut random, &input[..input.len().min(LONGEST)], other);
                    feed(target, &format!("{file}, mutation {n}, ETL_TEST_SEED={seed}"), &input);
                }
                tally::add("fuzz", name, each + files.len() as u64);
            });
        }
    });
}
