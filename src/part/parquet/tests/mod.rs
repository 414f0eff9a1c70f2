//! That a part gives its lines back, whatever its records are.

mod damage;

use std::borrow::Cow;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use bytes::Bytes;
use jiff::tz::TimeZone;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;

use super::{Columns, ParquetWriter, content_of, for_each_line};
use crate::config::{ColumnKind, LoadColumn};
use crate::digest::Sha256;
use crate::hour::format::Compression;
use crate::hour::part::PartIdentity;
use crate::record::row::{Codecs, Compactor};
use crate::record::schema::IN_DATE;
use crate::record::{Dating, Fields, Value, generated, python};

pub(super) fn compactor() -> Compactor {
    Compactor::new(&Codecs::default())
}

/// Columns of every kind, beside those that are always there.
pub(super) fn columns() -> Columns {
    let configured = [
        ("a", ColumnKind::Int64),
        ("b", ColumnKind::Float64),
        ("c", ColumnKind::Boolean),
        ("d", ColumnKind::Timestamp),
        ("raw_raw", ColumnKind::String),
    ];
    let configured = configured.map(|(name, kind)| LoadColumn { name: name.to_owned(), kind });
    Columns::new(&configured, &TimeZone::UTC).unwrap()
}

/// Each record's line, with its newline.
fn lines_of(records: &[Fields<'_>]) -> Vec<u8> {
    let (compactor, mut lines) = (compactor(), Vec::new());
    for fields in records {
        compactor.write_row(fields, &mut lines);
        lines.push(b'\n');
    }
    lines
}

/// The object of these lines, handed over `piece` bytes at a time.
pub(super) fn object(
    lines: &[u8],
    columns: &Columns,
    compression: Compression,
    piece: usize,
) -> (Vec<u8>, PartIdentity) {
    let (mut object, compactor) = (Vec::new(), compactor());
    let mut writer = ParquetWriter::begin(columns, &compactor, compression, &mut object).unwrap();
    lines.chunks(piece).for_each(|some| writer.write(some).unwrap());
    let identity = writer.finish(lines.iter().filter(|byte| **byte == b'\n').count() as u64).unwrap();
    (object, identity)
}

/// The lines, each with its newline.
pub(super) fn lines_back(object: &[u8]) -> std::io::Result<(Vec<u8>, Sha256)> {
    let mut lines = Vec::new();
    let sha256 = for_each_line(object, &mut |line| {
        lines.extend_from_slice(line.as_bytes());
        lines.push(b'\n');
    })?;
    Ok((lines, sha256))
}

fn come_back(lines: &[u8], columns: &Columns, compression: Compression) -> Vec<u8> {
    let (object, identity) = object(lines, columns, compression, 1 << 16);
    let (back, sha256) = lines_back(&object).unwrap();
    assert_eq!(String::from_utf8(back).unwrap(), String::from_utf8(lines.to_vec()).unwrap());
    assert_eq!(sha256, Sha256::of(lines));
    assert_eq!(identity.content_sha256, sha256.to_string());
    assert_eq!((identity.sha256, identity.bytes), (Sha256::of(&object).to_string(), object.len() as u64));
    assert_eq!(content_of(&object).unwrap(), (sha256, identity.rows));
    object
}

const TIMES: [&str; 6] = [
    "2023-03-10T01:48:11.818Z",
    "2023-03-10T01:48:11Z",
    "2023-03-10 01:48:11,818",
    "1999-12-31T23:59:59.999999999Z",
    "2016-12-31T23:59:60.25Z",
    "0000-01-01T00:00:00.000Z",
];

/// Fields with a date somewhere among them, and many of the names that columns have.
fn dated_fields() -> impl Strategy<Value = Fields<'static>> {
    let key = prop_oneof![
        4 => prop::sample::select(vec![
            "user_id", "record_id", "product_id", "activity", "url", "method", "name", "detail", "a", "b", "c", "d", "raw_raw",
            "extra", "raw", "event_time", "event_time_text", "Name", "",
        ]).prop_map(Cow::Borrowed),
        1 => any::<String>().prop_map(Cow::Owned),
    ];
    let detail = prop::collection::vec(
        (prop::sample::select(vec!["message", "levelname", "x"]).prop_map(Cow::Borrowed), generated::value()),
        0..3,
    );
    let detail = detail.prop_map(|fields| Value::Dict(unique(fields)));
    let value = prop_oneof![4 => generated::value(), 1 => detail, 1 => prop::sample::select(&TIMES[..]).prop_map(|at| Value::Str(at.into()))];
    let fields =
        prop_oneof![3 => prop::collection::vec((key, value), 0..12).prop_map(unique), 1 => generated::fields()];
    (fields, prop::sample::select(&TIMES[..]), any::<prop::sample::Index>()).prop_map(|(mut fields, at, place)| {
        fields.retain(|(key, _)| key != IN_DATE);
        let place = place.index(fields.len() + 1);
        fields.insert(place, (IN_DATE.into(), Value::Str(at.into())));
        fields
    })
}

fn unique(fields: Fields<'static>) -> Fields<'static> {
    let mut kept: Fields<'static> = Vec::new();
    for (key, value) in fields {
        if !kept.iter().any(|(known, _)| *known == key) {
            kept.push((key, value));
        }
    }
    kept
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn every_line_comes_back_byte_for_byte(records in prop::collection::vec(dated_fields(), 0..12), zstd in any::<bool>()) {
        let compression = if zstd { Compression::Zstd } else { Compression::Gzip };
        come_back(&lines_of(&records), &columns(), compression);
    }

    #[test]
    fn same_lines_give_the_same_bytes_however_they_are_cut(
        records in prop::collection::vec(dated_fields(), 0..8), piece in 1_usize..3000,
    ) {
        let lines = lines_of(&records);
        let [first, second] = [usize::MAX, piece].map(|piece| object(&lines, &columns(), Compression::Zstd, piece));
        prop_assert_eq!(first, second);
    }
}

/// Records that Python's literals spell, a line each, behind what they are.
fn records_in(text: &str) -> Vec<Fields<'_>> {
    let records = text.lines().filter_map(|line| match python::parse(line.split_once('\t')?.1) {
        Ok(Value::Dict(fields)) => Dating::of_the_origin(TimeZone::UTC).date(fields).ok().map(|record| record.fields),
        _ => None,
    });
    records.collect()
}

#[test]
fn odd_records_come_back() {
    let records = records_in(include_str!("../../../../tests/fixtures/odd-records.txt"));
    assert!(records.len() > 40, "{}", records.len());
    come_back(&lines_of(&records), &columns(), Compression::Gzip);
    let mixed = records.into_iter().enumerate().map(|(n, mut record)| {
        if n % 3 == 0 {
            record.reverse();
        }
        record
    });
    come_back(&lines_of(&mixed.collect::<Vec<_>>()), &columns(), Compression::Zstd);
}

/// The rows of an object, by column.
fn rows(object: Vec<u8>) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(object)).unwrap().with_batch_size(1 << 20);
    reader.build().unwrap().next().unwrap().unwrap()
}

fn cell(rows: &RecordBatch, column: &str, row: usize) -> String {
    let column = rows.column_by_name(column).unwrap();
    arrow_text(column, row)
}

fn arrow_text(column: &ArrayRef, row: usize) -> String {
    if column.is_null(row) {
        return "-".to_owned();
    }
    match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(row).to_owned(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Timestamp(..) => column.as_primitive::<TimestampMicrosecondType>().value(row).to_string(),
        DataType::Struct(_) => {
            let members: Vec<String> =
                column.as_struct().columns().iter().map(|member| arrow_text(member, row)).collect();
            members.join("|")
        }
        other => format!("{other}"),
    }
}

const ID: &str = "bc8960a923b8c1e9392456de3eb13b9046685257bdd640fb06671ad11c80317f";

#[test]
fn usual_record_is_in_its_columns_and_nowhere_else() {
    let usual = format!(
        "usual\t{{'user_id': '{ID}', 'record_id': 26869, 'activity': 'purchase', 'url': '/api/products/product/', 'method': \
         'GET', 'name': 'json_logger', 'inDate': '2023-03-24T17:05:37.432Z', 'detail': {{'message': 'POST view', 'levelname': 'INFO'}}}}"
    );
    let product = "product\t{'user_id': 7, 'record_id': 26870, 'product_id': 5, 'name': 'json_logger', 'inDate': '2023-03-24T17:05:37Z'}";
    let records = format!("{usual}\n{product}");
    let columns = Columns::new(&[], &TimeZone::UTC).unwrap();
    let rows = rows(come_back(&lines_of(&records_in(&records)), &columns, Compression::Zstd));
    let schema = rows.schema();
    let names: Vec<String> =
        schema.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect();
    let expected = [
        "event_time Timestamp(\u{b5}s, \"UTC\")",
        "event_time_text Utf8",
        "user_id Utf8",
        "record_id Int64",
        "product_id Int64",
        "activity Utf8",
        "url Utf8",
        "method Utf8",
        "name Utf8",
        "detail Struct(\"message\": Utf8, \"levelname\": Utf8)",
        "extra Utf8",
        "raw Utf8",
        "line Utf8",
    ];
    assert_eq!(names, expected);
    let row = |row| schema.fields().iter().map(|field| cell(&rows, field.name(), row)).collect::<Vec<_>>().join(" ");
    assert_eq!(
        row(0),
        format!("1679677537432000 - {ID} 26869 - purchase /api/products/product/ GET json_logger POST view|INFO - - -")
    );
    assert_eq!(
        row(1),
        "1679677537000000 2023-03-24T17:05:37Z 7 26870 5 - - - json_logger - {\"user_id\":7} - -",
        "a known field of another type is no reason to keep the whole record"
    );
}

#[test]
fn line_from_before_a_dictionary_gained_an_entry_comes_back_as_it_is() {
    let old = "{\"method\":0,\"method_raw\":\"GET\",\"inDate\":\"230310014811818\"}\n";
    let new = "{\"method\":1,\"inDate\":\"230310014811818\"}\n";
    let rows = rows(come_back([new, old, new, old, old].concat().as_bytes(), &columns(), Compression::Gzip));
    assert_eq!([0, 1].map(|row| cell(&rows, "line", row)), ["-", old.trim_end()]);
    assert_eq!([0, 1].map(|row| cell(&rows, "method", row)), ["GET", "GET"]);
}

#[test]
fn part_from_before_a_column_was_added_is_read() {
    let lines = lines_of(&records_in(
        "x\t{'inDate': '2023-03-24T17:05:37.432Z', 'a': 7}\ny\t{'inDate': '2023-03-24T17:05:37.432Z', 'a': 8}",
    ));
    let before = Columns::new(&[], &TimeZone::UTC).unwrap();
    let rows_before = rows(come_back(&lines, &before, Compression::Zstd));
    assert_eq!(cell(&rows_before, "extra", 1), "{\"a\":8}");
    assert_eq!(cell(&rows_before, "raw", 1), "-", "the order of fields is learned");
    let rows_after = rows(come_back(&lines, &columns(), Compression::Zstd));
    assert_eq!((cell(&rows_after, "a", 1).as_str(), cell(&rows_after, "extra", 1).as_str()), ("8", "-"));
}

#[test]
fn part_without_lines_and_a_wrong_number_of_them_are_told_apart() {
    let (compactor, columns) = (compactor(), columns());
    come_back(b"", &columns, Compression::Gzip);
    for (lines, rows) in [("", 1), ("{\"inDate\":\"230310014811818\"}\n", 2), ("{\"inDate\":\"230310014811818\"}", 1)] {
        let mut writer = ParquetWriter::begin(&columns, &compactor, Compression::Gzip, Vec::new()).unwrap();
        writer.write(lines.as_bytes()).unwrap();
        assert!(writer.finish(rows).unwrap_err().to_string().contains("were written as a part of"), "{lines} {rows}");
    }
    for line in ["{}\n", "{\"url\":7,\"inDate\":\"230310014811818\"}\n", "x\n"] {
        let mut writer = ParquetWriter::begin(&columns, &compactor, Compression::Gzip, Vec::new()).unwrap();
        writer.write(line.as_bytes()).unwrap();
        assert!(writer.finish(1).unwrap_err().to_string().starts_with("a line is no row: "), "{line}");
    }
}

/// A disk with so much room.
struct Full(usize);

impl std::io::Write for Full {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn disk_that_is_full_is_told_as_such() {
    let lines = lines_of(&records_in(include_str!("../../../../tests/fixtures/odd-records.txt")));
    let (compactor, columns) = (compactor(), columns());
    for room in [3, 4, 100, 3_000, 9_000] {
        let write = || {
            let mut writer = ParquetWriter::begin(&columns, &compactor, Compression::Gzip, Full(room))?;
            writer.write(&lines)?;
            writer.finish(lines.iter().filter(|byte| **byte == b'\n').count() as u64)
        };
        assert_eq!(write().unwrap_err().kind(), std::io::ErrorKind::StorageFull, "{room}");
    }
}

#[test]
fn records_of_another_source_have_the_configured_columns_and_their_time() {
    let place = crate::pointer::Pointer::parse("/meta/at").unwrap();
    let format = crate::hour::time::TimeFormat::parse("epoch-ms").unwrap();
    let dating = Dating::new(place, format, TimeZone::UTC);
    let configured = [LoadColumn { name: "kind".to_owned(), kind: ColumnKind::String }];
    let columns = Columns::of_records(&configured, &dating).unwrap();
    let literals = [
        "{'kind': 'click', 'meta': {'at': 1679677537432, 'seq': 1}, 'record_id': 'x'}",
        "{'meta': {'at': 1679677537433.5}, 'inDate': 7, 'url_raw': None}",
    ];
    let records = literals.map(|literal| match python::parse(literal) {
        Ok(Value::Dict(fields)) => fields,
        _ => panic!("{literal}"),
    });
    let rows = rows(come_back(&lines_of(&records), &columns, Compression::Zstd));
    let names: Vec<String> = rows.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["event_time", "event_time_text", "kind", "extra", "raw", "line"]);
    let row = |row| names.iter().map(|name| cell(&rows, name, row)).collect::<Vec<_>>().join(" ");
    let extra = r#"{"meta":{"at":1679677537432,"seq":1},"record_id":"x"}"#;
    assert_eq!(row(0), format!("1679677537432000 - click {extra} - -"));
    assert!(row(1).starts_with("1679677537433500 - - {"), "{}", row(1));
}
