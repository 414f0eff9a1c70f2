//! That no object, whatever is in it, does more than give its lines or an error.

use std::sync::Arc;

use arrow_array::{ArrayRef, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::basic;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use super::*;
use crate::record::MAX_LINE;

const ODD: &str = include_str!("../../../../tests/fixtures/odd-records.txt");

fn why(object: &[u8]) -> String {
    lines_back(object).map(|_| ()).unwrap_err().to_string()
}

fn sound(compression: Compression) -> Vec<u8> {
    object(&lines_of(&records_in(ODD)), &columns(), compression, usize::MAX).0
}

/// An object of any columns, which says of itself what another one says.
fn forged(columns: &[(&str, ArrayRef)], about: Option<&str>, compression: basic::Compression) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter(columns.iter().map(|(name, array)| (*name, Arc::clone(array)))).unwrap();
    let properties = WriterProperties::builder().set_compression(compression);
    let properties = properties.set_dictionary_page_size_limit(64 << 20).build();
    let mut object = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut object, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.flush().unwrap();
    let (at, dictionaries) = (writer.bytes_written(), Codecs::default().to_stored().unwrap());
    writer.write_all(&dictionaries).unwrap();
    if let Some(about) = about {
        let place = format!("\"dictionaries\":[{at},{}]", dictionaries.len());
        let about =
            about.split_once("\"dictionaries\":").map_or(about.to_owned(), |(head, _)| format!("{head}{place}}}"));
        writer.append_key_value_metadata(KeyValue::new("etl".to_owned(), about));
    }
    writer.close().unwrap();
    object
}

fn about_of(object: &[u8]) -> String {
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::copy_from_slice(object)).unwrap();
    let pairs = reader.metadata().file_metadata().key_value_metadata().unwrap().clone();
    pairs.into_iter().find(|pair| pair.key == "etl").unwrap().value.unwrap()
}

fn columns_of(object: Vec<u8>) -> Vec<(String, ArrayRef)> {
    let rows = rows(object);
    rows.schema().fields().iter().map(|field| field.name().clone()).zip(rows.columns().iter().cloned()).collect()
}

fn named(columns: &[(String, ArrayRef)]) -> Vec<(&str, ArrayRef)> {
    columns.iter().map(|(name, array)| (name.as_str(), Arc::clone(array))).collect()
}

#[test]
fn object_that_is_no_part_is_refused_with_words() {
    let object = sound(Compression::Gzip);
    let (about, all) = (about_of(&object), columns_of(object.clone()));
    let plain = basic::Compression::UNCOMPRESSED;
    assert!(lines_back(&forged(&named(&all), Some(&about), plain)).is_ok(), "the forger is good enough");

    assert_eq!(why(b""), "it does not end as a Parquet object does");
    assert_eq!(why(b"PAR1"), "it does not end as a Parquet object does");
    assert_eq!(why(&object[..object.len() - 1]), "it does not end as a Parquet object does");
    assert!(why(b"PAR1\0\0\0\0PAR1").contains("EOF"), "{}", why(b"PAR1\0\0\0\0PAR1"));
    assert_eq!(why(b"PAR1\xff\xff\xff\x7fPAR1"), "its footer is larger than that of any part");
    assert_eq!(why(&forged(&named(&all), None, plain)), "it was not written by this program");
    assert_eq!(why(&forged(&named(&all), Some("{}"), plain)), "its own metadata cannot be read");
    let newer = about.replace("\"version\":1", "\"version\":2");
    assert_eq!(why(&forged(&named(&all), Some(&newer), plain)), "it was written by another version of this program");
    let without = |name: &str| named(&all).into_iter().filter(|(column, _)| *column != name).collect::<Vec<_>>();
    assert_eq!(why(&forged(&without("method"), Some(&about), plain)), "the column method is missing");
    assert_eq!(why(&forged(&without("line"), Some(&about), plain)), "the column line is missing");
    let mut more = named(&all);
    more.insert(3, ("more", Arc::clone(&all[2].1)));
    assert_eq!(why(&forged(&more, Some(&about), plain)), "it has other columns than its metadata says");
    let mut other = named(&all);
    other[3].1 = Arc::new(arrow_array::Int32Array::from(vec![1; all[3].1.len()]));
    assert_eq!(why(&forged(&other, Some(&about), plain)), "the column record_id is of a type that no part has");
    let at = object.windows(3).position(|some| some == b"GET").unwrap();
    let mut another = object.clone();
    another[at] = b'P';
    assert_eq!(why(&another), "its dictionaries are not those that it names");
    let bad_extra = |text: &str| {
        let mut columns = named(&all);
        let (at, rows) = (columns.len() - 3, all[0].1.len());
        columns[at].1 = Arc::new(StringArray::from(vec![text; rows]));
        why(&forged(&columns, Some(&about), plain))
    };
    assert_eq!(bad_extra("[]"), "what is in no column is no JSON object");
    assert_eq!(bad_extra("{"), "not-a-record: the JSON text ends early at byte 1");
}

#[test]
fn object_that_unpacks_without_end_costs_bounded_memory() {
    let object = sound(Compression::Zstd);
    let (about, all) = (about_of(&object), columns_of(object));
    // A short object: a column holds one long text many times, as a dictionary does.
    let rows = all[0].1.len();
    let long = "a".repeat(8 << 20);
    assert!(rows * long.len() > 4 * MAX_LINE);
    let mut columns = named(&all);
    columns[2].1 = Arc::new(StringArray::from(vec![long.as_str(); rows]));
    let gzip = basic::Compression::GZIP(basic::GzipLevel::default());
    let bomb = forged(&columns, Some(&about), gzip);
    assert!(bomb.len() < 1 << 20, "{}", bomb.len());
    assert_eq!(why(&bomb), "it unpacks to more than any part holds");
    // One text that is longer than any, and no dictionary for it.
    let longest = "a".repeat(2 * MAX_LINE + 1);
    columns[2].1 = Arc::new(StringArray::from(
        vec![Some(longest.as_str()); 1].into_iter().chain(vec![None; rows - 1]).collect::<Vec<_>>(),
    ));
    let bomb = forged(&columns, Some(&about), gzip);
    assert_eq!(why(&bomb), "it unpacks to more than any part holds");
}

#[test]
fn page_that_is_longer_or_shorter_than_it_says_is_refused() {
    let object = sound(Compression::Gzip);
    // The size of the first page stands behind its kind: one byte, or a few.
    let at = 4;
    assert_eq!(object[at..at + 3], [0x15, 0x00, 0x15], "a data page, and a size");
    for change in [1_i8, -1] {
        let mut other = object.clone();
        other[at + 3] = other[at + 3].wrapping_add_signed(2 * change);
        assert_eq!(why(&other), "a page is of another size than it says");
    }
}

#[derive(Debug, Clone)]
enum Damage {
    Bit(prop::sample::Index, u8),
    Byte(prop::sample::Index, u8),
    Cut(prop::sample::Index, usize),
    Repeat(prop::sample::Index, usize),
    End(usize, u8),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        (at(), 0..8_u8).prop_map(|(at, bit)| Damage::Bit(at, bit)),
        (at(), any::<u8>()).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        (at(), 1..40_usize).prop_map(|(at, length)| Damage::Cut(at, length)),
        (at(), 1..40_usize).prop_map(|(at, length)| Damage::Repeat(at, length)),
        // The footer is what all else hangs on.
        (9..3_000_usize, any::<u8>()).prop_map(|(before, byte)| Damage::End(before, byte)),
    ]
}

fn damaged(mut object: Vec<u8>, damage: &[Damage]) -> Vec<u8> {
    for one in damage {
        let length = object.len();
        match one {
            Damage::Bit(at, bit) => object[at.index(length)] ^= 1 << bit,
            Damage::Byte(at, byte) => object[at.index(length)] = *byte,
            Damage::Cut(at, cut) => drop(object.drain(at.index(length)..(at.index(length) + cut).min(length))),
            Damage::Repeat(at, repeated) => {
                let at = at.index(length);
                let piece = object[at..(at + repeated).min(length)].to_vec();
                object.splice(at..at, piece);
            }
            Damage::End(before, byte) => object[length.saturating_sub(*before)] = *byte,
        }
    }
    object
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]
    #[test]
    fn damaged_object_gives_lines_or_an_error(damage in prop::collection::vec(damage(), 1..4), zstd in any::<bool>()) {
        thread_local! {
            static OBJECTS: [Vec<u8>; 2] = [sound(Compression::Gzip), sound(Compression::Zstd)];
        }
        let object = OBJECTS.with(|objects| objects[usize::from(zstd)].clone());
        let object = damaged(object, &damage);
        if let Ok((lines, sha256)) = lines_back(&object) {
            prop_assert_eq!(Sha256::of(&lines), sha256);
            prop_assert_eq!(content_of(&object).unwrap().0, sha256);
        }
    }
}
