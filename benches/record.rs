//! What one record costs on its way through: read, hash, row, and back. One core, a record of the usual 288 bytes.
#![expect(missing_docs, reason = "criterion's macros write undocumented functions")]
#![expect(clippy::expect_used, reason = "a bench that cannot start should say so at once")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use etl::hour::time::TimeFormat;
use etl::pointer::Pointer;
use etl::record::row::{Codec, Codecs, Compactor};
use etl::record::{Dating, Schema, Scratch, content_hash, json, python, read};
use jiff::tz::TimeZone;

const PLAINTEXT: &str = concat!(
    "{'user_id': 'bc8960a923b8c1e9392456de3eb13b9046685257bdd640fb06671ad11c80317f', 'record_id': 26869, ",
    "'activity': 'view', 'url': '/api/products/product/', 'method': 'POST', 'name': 'json_logger', ",
    "'inDate': '2023-03-24T17:05:37.432Z', 'detail': {'message': 'POST view', 'levelname': 'INFO'}}",
);

/// The same of another source: other names, an epoch time, and so many bytes.
const OTHER: &str = concat!(
    "{'trace': 'bc8960a923b8c1e9392456de3eb13b9046685257bdd640fb06671ad11c80317f', 'sequence': 26869, 'kind': 'view', ",
    "'path': '/api/products/product/', 'verb': 'POST', 'logger': 'json_logger', 'ts': 1679677537432, ",
    "'context': {'message': 'POST view', 'level': 'INFO', 'pod': 'a-1'}}",
);

fn record(c: &mut Criterion) {
    let compactor = Compactor::new(&Codecs::default());
    let schema = Schema::of_the_origin(TimeZone::UTC);
    let record = read(PLAINTEXT.as_bytes(), &schema).expect("a record");
    let mut scratch = Scratch::default();
    let mut row = Vec::new();
    compactor.write_row(&record.fields, &mut row);
    let row = String::from_utf8(row).expect("rows are ASCII");
    let mut text = Vec::new();
    json::write_fields(&record.fields, &mut text);
    let text = String::from_utf8(text).expect("JSON is ASCII");

    let mut group = c.benchmark_group("record");
    group.throughput(Throughput::Elements(1));
    group.bench_function("parse python", |b| b.iter(|| python::parse(black_box(PLAINTEXT))));
    group.bench_function("parse json", |b| b.iter(|| json::parse(black_box(&text))));
    group.bench_function("read", |b| b.iter(|| read(black_box(PLAINTEXT.as_bytes()), &schema)));
    group.bench_function("hash", |b| b.iter(|| content_hash(black_box(&record.fields), &mut scratch)));
    group.bench_function("write_row", |b| {
        b.iter_batched_ref(
            || Vec::with_capacity(512),
            |out| compactor.write_row(black_box(&record.fields), out),
            BatchSize::SmallInput,
        );
    });
    group.bench_function("restore", |b| b.iter(|| compactor.restore(black_box(&row))));
    let mut out = Vec::new();
    group.bench_function("read + hash + write_row", |b| {
        b.iter(|| {
            let schema = Schema::of_the_origin(TimeZone::UTC);
            let record = read(black_box(PLAINTEXT.as_bytes()), &schema).expect("a record");
            out.clear();
            compactor.write_row(&record.fields, &mut out);
            content_hash(&record.fields, &mut scratch)
        });
    });
    let codecs = [
        ("trace".to_owned(), Codec::UuidPair),
        ("path".to_owned(), Codec::Dictionary([("/api/products/product/".to_owned(), 1)].into())),
        ("verb".to_owned(), Codec::Dictionary([("POST".to_owned(), 1)].into())),
    ];
    let compactor = Compactor::new(&Codecs::new(codecs.into()).expect("codecs"));
    let format = TimeFormat::parse("epoch-ms").expect("a format");
    let schema = Schema::new(Dating::new(Pointer::member("ts"), format, TimeZone::UTC));
    group.bench_function("read + hash + write_row, another source", |b| {
        b.iter(|| {
            let record = read(black_box(OTHER.as_bytes()), &schema).expect("a record");
            out.clear();
            compactor.write_row(&record.fields, &mut out);
            content_hash(&record.fields, &mut scratch)
        });
    });
    group.finish();
}

criterion_group!(benches, record);
criterion_main!(benches);
