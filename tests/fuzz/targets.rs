//! What is fuzzed: one function a target, each of which takes any bytes at all and panics where a promise is broken.
//!
//! Shared by the cargo-fuzz project in this folder and by `tests/suite/fuzz.rs`, which replays the corpus on stable.
//! By hand, for as long as there is time:
//! ```sh
//! cargo +nightly fuzz run --fuzz-dir tests/fuzz record
//! ```
//! A crash that is found becomes a file of `tests/fuzz/corpus/<target>/`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use etl::config::{Config, Overrides};
use etl::digest::Sha256;
use etl::hour::Hour;
use etl::hour::format::{Compression, Format};
use etl::hour::key::Layout;
use etl::page::decode::Decoder;
use etl::page::decrypt::KeyRing;
use etl::page::parse::{self, Element};
use etl::part::parquet::{self, Columns, ParquetWriter};
use etl::part::read::read_part;
use etl::pointer::Pointer;
use etl::record::Schema;
use etl::record::row::{Codecs, Compactor};
use etl::record::{self, Fields, Scratch, Value, json, python};
use etl::secret::Secret;
use etl::source::PageShape;
use etl::state::pages::journal::{Segment, SegmentId};
use hmac::{Hmac, Mac};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// A target: its name, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// All targets, by the names of their folders in `corpus/`.
pub const TARGETS: [Target; 9] = [
    ("page", page),
    ("literal", literal),
    ("token", token),
    ("record", record),
    ("row", row),
    ("part", part),
    ("parquet", parquet),
    ("journal", journal),
    ("config", config),
];

const KEY: &str = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";

static COLUMNS: LazyLock<Columns> = LazyLock::new(|| Columns::new(&[], &TimeZone::UTC).unwrap());
static COMPACTOR: LazyLock<Compactor> = LazyLock::new(|| Compactor::new(&Codecs::default()));
static DECODER: LazyLock<Decoder> = LazyLock::new(|| Decoder {
    shape: PageShape::default(),
    ring: KeyRing::new(&[Secret::new(KEY)]).unwrap(),
    schema: Schema::of_the_origin(TimeZone::UTC),
    compactor: Compactor::new(&Codecs::default()),
    dictionaries: Codecs::default().fingerprint(),
    max_future: SignedDuration::from_hours(1),
});

fn hash(fields: &[(Cow<'_, str>, Value<'_>)]) -> record::ContentHash {
    record::content_hash(fields, &mut Scratch::default())
}

/// The origin's shape and others.
static SHAPES: LazyLock<Vec<PageShape>> = LazyLock::new(|| {
    let shape = |items, token, is_encrypted| {
        let pointer = |text| Pointer::parse(text).unwrap();
        PageShape { items: pointer(items), token: pointer(token), is_encrypted }
    };
    vec![PageShape::default(), shape("/data", "", true), shape("", "/data/x", false), shape("/0/data", "", false)]
});

/// A body of the source: every element is a token or odd, and each odd one has a text.
pub fn page(body: &[u8]) {
    for elements in SHAPES.iter().filter_map(|shape| parse::parse(body, shape).ok()) {
        assert!(elements.iter().all(|element| !matches!(element, Element::Odd(bytes) if bytes.is_empty())));
        assert!(elements.len() <= body.len());
    }
    // The whole way, to records or odd tokens: none gets lost.
    let received = Timestamp::from_second(1_678_412_891).unwrap();
    if let Ok(decoded) = DECODER.page(body, received) {
        let kept = u64::try_from(decoded.records.len()).unwrap() + decoded.odd_seen;
        assert_eq!(kept, decoded.elements, "elements that are neither a record nor odd");
    }
}

/// A Python literal or JSON: what is read can be written as JSON, which reads as the same again.
pub fn literal(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    for value in [python::parse(text), json::parse(text)].into_iter().flatten() {
        if let Value::Dict(fields) = value {
            let mut written = Vec::new();
            json::write_fields(&fields, &mut written);
            let written = String::from_utf8(written).unwrap();
            let Value::Dict(again) = json::parse(&written).unwrap() else { panic!("no object: {written}") };
            assert_eq!(hash(&fields), hash(&again), "{written}");
            serde_json::from_str::<&serde_json::value::RawValue>(&written).unwrap();
        }
    }
}

/// A token: as it is, and its bytes under a signature that holds, so that they get as far as the cipher.
pub fn token(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        drop(DECODER.ring.decrypt(text));
    }
    let key: [u8; 32] = URL_SAFE.decode(KEY).unwrap().try_into().unwrap();
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&key[..16]).unwrap();
    mac.update(bytes);
    let signed = URL_SAFE.encode([bytes, &mac.finalize().into_bytes()].concat());
    let plain = DECODER.ring.decrypt(&signed);
    assert!(plain.is_err() || bytes.first() == Some(&0x80), "a version that does not exist");
}

/// A plaintext, compacted and restored: the same record, in the same hour.
pub fn record(plaintext: &[u8]) {
    let Ok(read) = record::read(plaintext, &DECODER.schema) else { return };
    let mut line = Vec::new();
    COMPACTOR.write_row(&read.fields, &mut line);
    let line = String::from_utf8(line).unwrap();
    assert!(!line.contains('\n'), "{line}");
    let restored = COMPACTOR.restore(&line).unwrap_or_else(|reason| panic!("{reason}: {line}"));
    assert_eq!(keys(&read.fields), keys(&restored), "{line}");
    assert_eq!(hash(&read.fields), hash(&restored), "{line}");
    let restored = DECODER.schema.dating.date(restored).unwrap();
    assert_eq!((restored.at, restored.hour), (read.at, read.hour), "{line}");
}

fn keys<'a>(fields: &'a Fields<'_>) -> Vec<&'a str> {
    fields.iter().map(|(key, _)| key.as_ref()).collect()
}

/// A row as found in a part: what is restored from it has this row, or one that restores to the same.
pub fn row(line: &[u8]) {
    let Ok(line) = std::str::from_utf8(line) else { return };
    let Ok(fields) = COMPACTOR.restore(line) else { return };
    let mut again = Vec::new();
    COMPACTOR.write_row(&fields, &mut again);
    let again = String::from_utf8(again).unwrap();
    assert_eq!(hash(&fields), hash(&COMPACTOR.restore(&again).unwrap()), "{line} became {again}");
    let layout = Layout::parse("{year}_y/{month}_m/{day}_d/{hour}_h").unwrap();
    if let Some((hour, part)) = layout.parse_key("p/", line) {
        assert_eq!(layout.key("p/", hour, part), line);
    }
}

/// An object as found in the store, and the same bytes as its content.
pub fn part(object: &[u8]) {
    let hour: Hour = "2023-03-10T01".parse().unwrap();
    for compression in [Compression::Gzip, Compression::Zstd] {
        drop(read_part(Format::ndjson(compression), object, &COMPACTOR, &DECODER.schema.dating, hour));
    }
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, object).unwrap();
    if let Ok(read) = read_part(Format::default(), &gzip.finish().unwrap(), &COMPACTOR, &DECODER.schema.dating, hour) {
        let lines = object.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
        assert!(read.identity.rows <= u64::try_from(lines).unwrap() && read.first <= read.last);
    }
}

/// A segment of the journal: as it is, and under a checksum that holds.
pub fn journal(bytes: &[u8]) {
    let id = SegmentId { number: 1, pages: 1 };
    drop(Segment::parse(id, bytes.to_vec()));
    if let Some((head, behind)) = bytes.split_at_checked(16) {
        let (crc, blake3) = (crc32fast::hash(behind).to_le_bytes(), *blake3::hash(behind).as_bytes());
        let offset = u64::from_le_bytes(head[8..].try_into().unwrap());
        for (magic, sum) in [(b"etlpage2", &crc[..]), (b"etlpage1", &blake3)] {
            // Of the directory: counted from the head's end in the corpus, from its start in a segment.
            let offset = offset.wrapping_add(16 + sum.len() as u64).to_le_bytes();
            let sealed = [magic, &offset, sum, behind].concat();
            if let Some(segment) = Segment::parse(id, sealed) {
                assert!(segment.pages().map(<[u8]>::len).sum::<usize>() < bytes.len());
            }
        }
    }
}

/// A configuration: accepted, or refused with a message.
pub fn config(text: &[u8]) {
    static DIR: LazyLock<PathBuf> = LazyLock::new(|| tempfile::tempdir().unwrap().keep());
    // One file a thread: the tests run side by side.
    let path = DIR.join(format!("{:?}.toml", std::thread::current().id()));
    std::fs::write(&path, text).unwrap();
    let flags = Overrides { config: Some(path.clone()), state_dir: None };
    let environment: BTreeMap<&str, &str> = BTreeMap::from([("FERNET_KEY", KEY)]);
    let ask = |name: &str| environment.get(name).map(Into::into);
    match Config::load(&flags, &ask, &DIR) {
        Ok(config) => {
            drop((config.source.location().map(drop), config.source.keys(), config.source.headers()));
            drop((config.load.destination().map(drop), config.load.s3()));
            Layout::parse(config.load.layout.template()).unwrap();
            drop(config.record.mask_key());
        }
        Err(error) => assert!(!error.chain().is_empty() && !error.chain().contains(KEY)),
    }
    std::fs::remove_file(&path).unwrap();
}

/// An object of columns: lines or an error, and always the same ones. And as lines: what is a part comes back line for line.
pub fn parquet(input: &[u8]) {
    if let Ok((lines, sha256)) = lines_of_parquet(input) {
        assert_eq!(Sha256::of(&lines), sha256);
        let rows = lines.iter().filter(|byte| **byte == b'\n').count() as u64;
        assert_eq!(parquet::content_of(input).ok(), Some((sha256, rows)));
    }
    let mut object = Vec::new();
    let mut writer = ParquetWriter::begin(&COLUMNS, &COMPACTOR, Compression::Zstd, &mut object).unwrap();
    let rows = input.iter().filter(|byte| **byte == b'\n').count() as u64;
    if writer.write(input).is_ok() && writer.finish(rows).is_ok() {
        assert_eq!(lines_of_parquet(&object).unwrap().0, input);
    }
}

fn lines_of_parquet(object: &[u8]) -> std::io::Result<(Vec<u8>, Sha256)> {
    let mut lines = Vec::new();
    let sha256 = parquet::for_each_line(object, &mut |line| {
        lines.extend_from_slice(line.as_bytes());
        lines.push(b'\n');
    })?;
    Ok((lines, sha256))
}
