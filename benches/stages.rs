//! What each stage costs: a page of 1 000 records on its way through, on one core; figures are for one record.
//!
//! `benches/record.rs` looks closer at a single record; `cargo bench --bench whole` at whole runs.
#![expect(missing_docs, reason = "criterion's macros write undocumented functions")]
#![expect(clippy::expect_used, reason = "a bench that cannot start should say so at once")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use etl::hour::format::{Compression, Format};
use etl::job::intake::dedup::{Buckets, NewRecords};
use etl::page::decode::Decoder;
use etl::page::decrypt::KeyRing;
use etl::page::parse::{self, Element};
use etl::part::codec::Codec;
use etl::part::cut::{CutRules, PART_BYTES};
use etl::part::order::order;
use etl::part::seal::Encoder;
use etl::record::row::{Codecs, Compactor};
use etl::record::{Profile, Schema};
use etl::secret::Secret;
use etl::simulate::{Generator, Options};
use etl::source::{PageShape, PageSink};
use etl::state::{NewCommit, Settings, State};
use etl::stop::Stop;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

const PAGE: u64 = 1_000;

fn decoder(key: &str) -> Decoder {
    let dictionaries = Codecs::default();
    Decoder {
        shape: PageShape::default(),
        ring: KeyRing::new(&[Secret::new(key)]).expect("a key"),
        schema: Schema::of_the_origin(TimeZone::UTC),
        compactor: Compactor::new(&dictionaries),
        dictionaries: dictionaries.fingerprint(),
        max_future: SignedDuration::from_hours(1),
    }
}

fn pages() -> (Generator, Decoder, Timestamp) {
    let options = Options { window: PAGE, ..Options::default() };
    let decoder = decoder(&options.key().to_text());
    (Generator::new(&options).expect("a generator"), decoder, Timestamp::now())
}

fn in_memory(c: &mut Criterion) {
    let (pages, decoder, now) = pages();
    let body = pages.page(PAGE, 0);
    let elements = parse::parse(&body, &decoder.shape).expect("a page");
    let tokens: Vec<String> = elements
        .iter()
        .filter_map(|element| if let Element::Token(token) = element { Some(token.to_string()) } else { None })
        .collect();
    let decoded = decoder.page(&body, now).expect("a page");
    let mut group = c.benchmark_group("stages");
    group.throughput(Throughput::Elements(PAGE));
    group.bench_function("page JSON", |b| {
        b.iter(|| parse::parse(black_box(&body), &decoder.shape).expect("a page").len())
    });
    group.bench_function("Fernet", |b| {
        b.iter(|| tokens.iter().map(|token| decoder.ring.decrypt(token).expect("a token").len()).sum::<usize>());
    });
    group.bench_function("decode: all of page JSON, Fernet, parse, hash, compact", |b| {
        b.iter(|| decoder.page(black_box(&body), now).expect("a page").records.len());
    });
    let codec = Codec::lines(Compression::Gzip);
    group.bench_function("gzip and both digests", |b| {
        b.iter(|| codec.encode(black_box(&decoded.lines)).expect("memory").0.len());
    });
    group.finish();
}

/// Each compression at each level that was thought of, on an hour of few records and one of many: time and bytes for a record.
fn compressed(c: &mut Criterion) {
    let (options, now) = (Options { window: PAGE, ..Options::default() }, Timestamp::now());
    let (pages, decoder) = (Generator::new(&options).expect("a generator"), decoder(&options.key().to_text()));
    for pieces in [2, 50] {
        let page = |n: u64| decoder.page(&pages.page(n * PAGE, 0), now).expect("a page").lines;
        let lines = (1..=pieces).flat_map(page).collect::<Vec<u8>>();
        let mut group = c.benchmark_group(format!("an hour of {} 000 records", pieces));
        group.throughput(Throughput::Elements(pieces * PAGE)).sample_size(10);
        let gzip = [2, 4, 6].map(|level| (Compression::Gzip, level));
        for (compression, level) in gzip.into_iter().chain([1, 2, 3, 4, 6, 9].map(|level| (Compression::Zstd, level))) {
            let codec = Codec::lines_at(compression, level, level.cast_signed());
            let name = format!("{} {level}", compression.name());
            let bytes = codec.encode(&lines).expect("memory").0.len();
            println!("{name}: {} bytes for 10 records", bytes as u64 * 10 / (pieces * PAGE));
            group.bench_function(name, |b| b.iter(|| codec.encode(black_box(&lines)).expect("memory").0.len()));
        }
        group.finish();
    }
}

/// A state directory of its own.
struct Desk {
    _dir: tempfile::TempDir,
    state: State,
    buckets: Buckets,
}

impl Desk {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let settings = Settings {
            timezone: "UTC".into(),
            layout: "l".into(),
            format: Format::default(),
            columns: std::collections::BTreeMap::new(),
            destination: "file:lake".into(),
            record: Profile::default(),
            codecs: Codecs::default(),
            range: etl::hour::range::HashRange::ALL,
            lane: String::new(),
        };
        let state = State::open(dir.path(), &settings).expect("a state");
        Self { _dir: dir, state, buckets: Buckets::default() }
    }

    fn journal(&mut self, body: &[u8], now: Timestamp) -> etl::state::pages::journal::SegmentId {
        let mut writer = self.state.pages.journal().begin(Vec::new());
        writer.write(body).expect("a write");
        writer.end_page();
        self.state.pages.journal().append(writer, now).expect("a segment").id
    }

    /// How long it takes to sort a page, and how long to commit it.
    fn commit(&mut self, body: &[u8], decoder: &Decoder, now: Timestamp) -> (Duration, Duration) {
        let id = self.journal(body, now);
        let decoded = decoder.page(body, now).expect("a page");
        let started = Instant::now();
        for record in &decoded.records {
            self.buckets.open(&mut self.state.hours, record.hour).expect("an hour");
        }
        self.buckets.load(&mut self.state.hours, std::slice::from_ref(&decoded), &Stop::new()).expect("hashes");
        let mut new = NewRecords::default();
        self.buckets.partition(&decoded, now, &mut new).expect("hashes");
        let sorted = started.elapsed();
        let seen = self.state.hours.seen().clone();
        let NewRecords { records, duplicates, tallies, .. } = new;
        let records = &records;
        let commit =
            NewCommit { segment: id.number, pages: id.pages, received: now, records, duplicates, seen, tallies };
        self.state.hours.commit(commit).expect("a commit");
        (sorted, started.elapsed() - sorted)
    }
}

fn on_disk(c: &mut Criterion) {
    let (pages, decoder, now) = pages();
    let mut group = c.benchmark_group("stages on disk");
    group.throughput(Throughput::Elements(PAGE)).sample_size(20);
    group.bench_function("journal, durable", |b| {
        let (mut desk, body) = (Desk::new(), pages.page(PAGE, 0));
        b.iter(|| desk.journal(&body, now));
    });
    for (what, is_sort) in [("dedup and sort by hour", true), ("commit, durable", false)] {
        group.bench_function(what, |b| {
            b.iter_custom(|times| {
                let mut desk = Desk::new();
                let took = (1..=times).map(|n| desk.commit(&pages.page(n * PAGE, 0), &decoder, now));
                took.map(|(sort, commit)| if is_sort { sort } else { commit }).sum()
            });
        });
    }
    group.bench_function("seal: order, gzip, checksums, durable", |b| {
        let mut desk = Desk::new();
        desk.commit(&pages.page(PAGE, 0), &decoder, now);
        let hour = desk.state.hours.pending_hours().next().expect("an hour");
        let row = desk.state.hours.row(hour).expect("a row");
        let rules = CutRules { part_max_records: 0, part_bytes: PART_BYTES };
        let stop = Stop::new();
        b.iter(|| {
            let ordered = order(&desk.state.hours, std::slice::from_ref(&row), &stop).expect("the log");
            let ordered = ordered.expect("no stop").pop().expect("an hour");
            let encoded = Encoder::new(&desk.state.hours, rules, Codec::lines(Compression::Gzip), &stop)
                .encode(&row, &ordered, None)
                .expect("a part");
            encoded.expect("no stop").parts.len()
        });
    });
    group.finish();
}

criterion_group!(benches, in_memory, compressed, on_disk);
criterion_main!(benches);
