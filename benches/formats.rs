//! What parts cost in each format: CPU and bytes a record, for hours of a million, of 50 000 and of 2 000 records, on one core.
//!
//! `cargo bench --bench formats`; with `-- memory` what an encoder keeps while a large hour goes through it.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench that cannot go on should say so, and prints what it measured"
)]

use std::io::Write;
use std::time::Duration;

use etl::digest::Sha256;
use etl::hour::format::Compression;
use etl::page::decode::Decoder;
use etl::page::decrypt::KeyRing;
use etl::part::ndjson;
use etl::part::parquet::{Columns, ParquetWriter, content_of};
use etl::record::Schema;
use etl::record::row::{Codecs, Compactor};
use etl::secret::Secret;
use etl::simulate::{Generator, Options};
use etl::source::PageShape;
use flate2::write::GzEncoder;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

const PAGE: u64 = 1_000;
const HOURS: [u64; 3] = [1_000_000, 50_000, 2_000];
/// Each figure is the median of so many.
const TIMES: usize = 3;

/// The lines of an hour with so many records, some at a time.
struct Hour {
    pages: Generator,
    decoder: Decoder,
    records: u64,
}

impl Hour {
    fn of(records: u64) -> Self {
        let interval = Duration::from_secs(3_600) / u32::try_from(records).expect("an hour's records");
        let options = Options { window: PAGE, interval, ..Options::default() };
        let (key, dictionaries) = (options.key().to_text(), Codecs::default());
        let decoder = Decoder {
            shape: PageShape::default(),
            ring: KeyRing::new(&[Secret::new(&*key)]).expect("a key"),
            schema: Schema::of_the_origin(TimeZone::UTC),
            compactor: Compactor::new(&dictionaries),
            dictionaries: dictionaries.fingerprint(),
            max_future: SignedDuration::from_hours(1),
        };
        Self { pages: Generator::new(&options).expect("a generator"), decoder, records }
    }

    fn for_each_page(&self, mut each: impl FnMut(&[u8])) {
        let now = Timestamp::now();
        for page in 1..=self.records / PAGE {
            each(&lines(&self.decoder.page(&self.pages.page(page * PAGE, 0), now).expect("a page")));
        }
    }

    fn lines(&self) -> Vec<u8> {
        let mut all = Vec::new();
        self.for_each_page(|some| all.extend_from_slice(some));
        all
    }
}

/// The lines of a page, each with its newline. The page has them one after the other.
fn lines(page: &etl::page::decode::Decoded) -> Vec<u8> {
    let text = String::from_utf8(page.lines.clone()).expect("lines are text");
    (text.replace("}{", "}\n{") + "\n").into_bytes()
}

fn gzip(lines: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::new(ndjson::LEVELS.gzip));
    gzip.write_all(lines).expect("memory");
    digested(lines, gzip.finish().expect("memory"))
}

fn zstd(lines: &[u8]) -> Vec<u8> {
    digested(lines, ::zstd::encode_all(lines, ndjson::LEVELS.zstd).expect("memory"))
}

/// Both are digested, as they are in every format.
fn digested(lines: &[u8], object: Vec<u8>) -> Vec<u8> {
    std::hint::black_box((Sha256::of(lines), Sha256::of(&object)));
    object
}

fn parquet(lines: &[u8], compression: Compression) -> Vec<u8> {
    let (columns, compactor) = fixed();
    let mut object = Vec::new();
    let mut writer = ParquetWriter::begin(&columns, &compactor, compression, &mut object).expect("memory");
    lines.chunks(4 << 20).for_each(|some| writer.write(some).expect("rows"));
    writer.finish(lines.iter().filter(|byte| **byte == b'\n').count() as u64).expect("memory");
    object
}

fn fixed() -> (Columns, Compactor) {
    (Columns::new(&[], &TimeZone::UTC).expect("columns"), Compactor::new(&Codecs::default()))
}

/// Processor time of this process until now, in microseconds.
fn cpu() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("usage");
    #[expect(clippy::cast_precision_loss, reason = "far below what a float holds")]
    let micros = |time: TimeVal| (time.tv_sec() * 1_000_000 + time.tv_usec()) as f64;
    micros(usage.user_time()) + micros(usage.system_time())
}

/// The median of some runs, for one of `records`, in microseconds of processor time.
fn micros<T>(records: u64, mut run: impl FnMut() -> T) -> (f64, T) {
    let mut took = Vec::new();
    let mut last = None;
    let times = if records < 100_000 { 5 * TIMES } else { TIMES };
    for _ in 0..times {
        let started = cpu();
        last = Some(run());
        took.push(cpu() - started);
    }
    took.sort_by(f64::total_cmp);
    #[expect(clippy::cast_precision_loss, reason = "far below what a float holds")]
    let median = took.get(times / 2).map_or(0.0, |took| took / records as f64);
    (median, last.expect("at least one run"))
}

fn table() {
    println!("{:>10} {:<14} {:>10} {:>10} {:>8}", "records", "format", "encode us", "decode us", "bytes");
    for records in HOURS {
        let lines = Hour::of(records).lines();
        let show = |format: &str, (encode, object): (f64, Vec<u8>), decode: &dyn Fn(&[u8])| {
            let (decode, ()) = micros(records, || decode(&object));
            #[expect(clippy::cast_precision_loss, reason = "far below what a float holds")]
            let bytes = object.len() as f64 / records as f64;
            println!("{records:>10} {format:<14} {encode:>10.3} {decode:>10.3} {bytes:>8.2}");
        };
        let lines_of = |text: &mut dyn std::io::Read| {
            let mut text_of = Vec::new();
            text.read_to_end(&mut text_of).expect("text");
            std::hint::black_box(Sha256::of(&text_of));
        };
        show("ndjson gzip", micros(records, || gzip(&lines)), &|object| {
            lines_of(&mut flate2::read::GzDecoder::new(object))
        });
        show("ndjson zstd", micros(records, || zstd(&lines)), &|object| {
            lines_of(&mut ::zstd::Decoder::new(object).expect("zstd"));
        });
        for (name, compression) in [("parquet gzip", Compression::Gzip), ("parquet zstd", Compression::Zstd)] {
            show(name, micros(records, || parquet(&lines, compression)), &|object| {
                content_of(object).expect("a part");
            });
        }
    }
}

/// Peak of resident memory until now, in MB.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") / 1_000.0
}

/// A million records through an encoder, page by page, to nowhere.
fn memory() {
    Hour::of(20_000).for_each_page(|_| ());
    let before = peak();
    let (columns, compactor) = fixed();
    let mut writer = ParquetWriter::begin(&columns, &compactor, Compression::Zstd, std::io::sink()).expect("memory");
    Hour::of(1_000_000).for_each_page(|some| writer.write(some).expect("rows"));
    writer.finish(1_000_000).expect("memory");
    println!("an encoder of 1 000 000 records: {:.1} MB on top of {before:.1} MB", peak() - before);
}

fn main() {
    if std::env::args().any(|arg| arg == "memory") { memory() } else { table() }
}
