//! What somebody else did to the objects is named by `verify`, and none of it comes out of `restore`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use etl::hour::format::{Encoding, Format};
use etl::hour::part::PartIdentity;
use etl::part::codec::Codec;
use etl::part::parquet::Columns;
use etl::record::row::{Codecs, Compactor};
use etl::store::PartMeta;
use flate2::{Compression, GzBuilder};
use jiff::tz::TimeZone;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::cli::{Place, Ran, gunzip, record};
use crate::support::form::{GZIP, OTHERS, PARQUET, form, in_form, in_other_forms};
use crate::support::intruder::Intruder;
use crate::support::{TestS3, s3, unique_prefix};

/// Hours with two logs each.
const HOURS: u64 = 8;

fn key(prefix: &str, hour: u64, part: u32) -> String {
    form().key(&format!("{prefix}data/2023_y/03_m/10_d/{hour:02}_h/part-{part:05}.ndjson.gz"))
}

/// A place that has uploaded eight hours, whoever can write there, and the prefix of its keys.
fn lake() -> (Place, Intruder, String) {
    let place = filled("to = \"file:lake\"", None);
    let lake = place.path("lake");
    (place, Intruder::Lake(lake), String::new())
}

fn bucket() -> Option<(Place, Intruder, String)> {
    let at = s3()?;
    let prefix = unique_prefix("restore");
    Some((filled(&at.load(&prefix), Some(&at)), Intruder::in_bucket(&at), prefix))
}

fn filled(load: &str, store: Option<&TestS3>) -> Place {
    let mut place = Place::new(&format!("[source]\nurl = \"file:pages/*\"\n[load]\n{load}\n"));
    store.into_iter().for_each(|at| place.trust(at));
    let log = |n: u64| record(1000 + n, &format!("2023-03-10T{:02}:00:0{}.000Z", n / 2, n % 2));
    place.page("pages/1", &(0..2 * HOURS).map(log).collect::<Vec<_>>());
    place.etl(&["run"]).exits(0);
    place
}

/// The record ids that came out, and how often.
fn ids(ran: &Ran) -> BTreeMap<u64, u32> {
    let mut ids = BTreeMap::new();
    for line in ran.out.lines() {
        *ids.entry(serde_json::from_str::<Value>(line).unwrap()["record_id"].as_u64().unwrap()).or_default() += 1;
    }
    ids
}

/// The ids of these hours, once each.
fn of_hours(hours: impl IntoIterator<Item = u64>) -> BTreeMap<u64, u32> {
    hours.into_iter().flat_map(|hour| [(1000 + 2 * hour, 1), (1001 + 2 * hour, 1)]).collect()
}

/// What `verify` finds, as fault and key.
fn findings(place: &Place) -> BTreeSet<(String, String)> {
    let found = place.etl(&["verify", "--json"]).exits(76).json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    found["findings"].as_array().unwrap().iter().map(|f| (text(&f["fault"]), text(&f["key"]))).collect()
}

/// What rows are written with by default.
fn compactor() -> Compactor {
    Compactor::new(&Codecs::default())
}

/// A sound part of the same hour and size with other records, and what a store would say of it.
fn other_part(object: &[u8], meta: Option<PartMeta>) -> (Vec<u8>, Option<PartMeta>) {
    let text = gunzip(object).join("\n").replace("json_logger", "x") + "\n";
    let encoded = |comment: Option<Vec<u8>>| {
        let header = comment.into_iter().fold(GzBuilder::new(), GzBuilder::comment);
        let mut gzip = header.write(Vec::new(), Compression::best());
        gzip.write_all(text.as_bytes()).unwrap();
        gzip.finish().unwrap()
    };
    let bytes = if form() == PARQUET {
        let (columns, compactor) = (Columns::new(&[], &TimeZone::UTC).unwrap(), compactor());
        let format = Format { encoding: Encoding::Parquet, compression: etl::hour::format::Compression::Zstd };
        Codec::new(format, &columns, &compactor).encode(text.as_bytes()).unwrap().0
    } else if form() != GZIP {
        zstd::stream::encode_all(text.as_bytes(), 3).unwrap()
    } else {
        // What is shorter is filled up in the header, where a comment takes its length and a zero.
        let shorter = object.len().checked_sub(encoded(None).len() + 1).unwrap();
        encoded(Some(vec![b'-'; shorter]))
    };
    assert!(bytes.len() == object.len() || form() != GZIP);
    let hex = |bytes: &[u8]| Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect::<String>();
    let meta = meta.map(|m| PartMeta {
        identity: PartIdentity {
            bytes: bytes.len() as u64,
            sha256: hex(&bytes),
            content_sha256: hex(text.as_bytes()),
            ..m.identity
        },
        ..m
    });
    (bytes, meta)
}

/// Deletes, replaces, adds and renames: hours 0 and 7 stay as they are.
fn intrude(intruder: &Intruder, prefix: &str) {
    let of = |hour, part| key(prefix, hour, part);
    intruder.delete(&of(1, 0));
    // As many other bytes, with what the store said of the old ones: among the records, which a Parquet part has at its beginning.
    let mut bytes = intruder.read(&of(2, 0));
    let (at, length) = if form() == PARQUET { (4, bytes.len() / 4) } else { (bytes.len() / 2, 1) };
    bytes[at..at + length].iter_mut().for_each(|byte| *byte ^= 1);
    let meta = intruder.meta(&of(2, 0));
    intruder.write(&of(2, 0), &bytes, meta.as_ref());
    // A sound part of the same size that holds something else.
    let (bytes, meta) = other_part(&intruder.read(&of(3, 0)), intruder.meta(&of(3, 0)));
    intruder.write(&of(3, 0), &bytes, meta.as_ref());
    // Strangers: one with a name of its own, one that repeats a part.
    intruder.write(&form().key(&format!("{prefix}data/notes.txt")), b"hello", None);
    let meta = intruder.meta(&of(4, 0));
    intruder.write(&of(4, 1), &intruder.read(&of(4, 0)), meta.as_ref());
    // Into another hour, and to another number.
    intruder.rename(&of(5, 0), &key(prefix, 15, 0));
    intruder.rename(&of(6, 0), &of(6, 2));
}

fn names_each_and_restores_the_rest((place, intruder, prefix): (Place, Intruder, String)) {
    place.etl(&["verify"]).exits(0);
    let all = place.etl(&["restore"]).exits(0);
    assert_eq!((ids(&all), all.err.as_str()), (of_hours(0..HOURS), ""));
    intrude(&intruder, &prefix);
    let of = |hour, part| key(&prefix, hour, part);
    let expected = [
        ("missing", of(1, 0)),
        ("changed", of(2, 0)),
        ("changed", of(3, 0)),
        ("foreign", form().key(&format!("{prefix}data/notes.txt"))),
        ("foreign", of(4, 1)),
        ("missing", of(5, 0)),
        ("foreign", of(15, 0)),
        ("missing", of(6, 0)),
        ("foreign", of(6, 2)),
    ];
    assert_eq!(findings(&place), expected.map(|(fault, key)| (fault.to_owned(), key)).into());

    let some = place.etl(&["restore", "--log-format", "text"]).exits(76);
    let refused = [of(1, 0), of(2, 0), of(3, 0), of(4, 1), of(5, 0), of(15, 0), of(6, 0), of(6, 1)];
    let named: Vec<&str> = some.err.lines().filter_map(|l| l.split_once(" is refused")?.0.rsplit(' ').next()).collect();
    assert_eq!(BTreeSet::from_iter(named), refused.iter().map(String::as_str).collect(), "{}", some.err);
    // A part that was renamed within its hour is sound, and what is missing beside it is named.
    assert_eq!(ids(&some), of_hours([0, 4, 6, 7]));

    let ran = place.etl(&["restore", "--out", "originals", "--log-format", "text"]).exits(76);
    assert!(ran.out.is_empty() && ran.err == some.err, "{ran:?}");
    let mut names: Vec<String> =
        place.path("originals").read_dir().unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    let whole = ["2023-03-10T00.ndjson", "2023-03-10T07.ndjson"].map(str::to_owned);
    assert_eq!(names.iter().filter(|name| !name.contains("incomplete")).cloned().collect::<Vec<_>>(), whole);

    // Without state, what the objects say of themselves is what there is.
    let alone = place.etl(&["restore", "--state-dir", "nowhere", "--hour", "2023-03-10T02"]).exits(76);
    assert!(alone.out.is_empty() && alone.err.contains(&of(2, 0)), "{alone:?}");
    let alone =
        place.etl(&["restore", "--state-dir", "nowhere", "--since", "2023-03-10T06", "--until", "2023-03-10T07"]);
    assert_eq!(ids(&alone.exits(76)), of_hours([6, 7]));
}

#[test]
fn objects_of_a_lake_that_were_touched_are_named_and_refused() {
    names_each_and_restores_the_rest(lake());
}

#[test]
fn objects_in_s3_that_were_touched_are_named_and_refused() {
    bucket().into_iter().for_each(names_each_and_restores_the_rest);
}

#[test]
fn objects_in_another_form_that_were_touched_are_named_and_refused() {
    in_other_forms(|| {
        names_each_and_restores_the_rest(lake());
        bucket().into_iter().for_each(names_each_and_restores_the_rest);
    });
}

/// What engines go by, and our reader does not: statistics, indexes, what pads.
#[test]
fn byte_of_a_parquet_part_is_missed_wherever_it_stands() {
    in_form(PARQUET, || {
        let (place, intruder, prefix) = lake();
        let key = key(&prefix, 2, 0);
        let sound = intruder.read(&key);
        for at in (0..32).map(|n| n * sound.len() / 32) {
            let mut bytes = sound.clone();
            bytes[at] ^= 1;
            intruder.write(&key, &bytes, None);
            assert_eq!(findings(&place), BTreeSet::from([("changed".to_owned(), key.clone())]), "byte {at}");
            let ran = place.etl(&["restore"]);
            assert!(ran.code == 0 && ids(&ran) == of_hours(0..HOURS) || ran.code == 76, "byte {at}: {ran:?}");
        }
    });
}

#[test]
fn place_says_by_itself_in_which_form_its_parts_are() {
    for (form, seen_by) in
        OTHERS.into_iter().flat_map(|form| ["settings.json", "a part"].map(|seen_by| (form, seen_by)))
    {
        let mut place = None;
        in_form(form, || place = Some(lake().0));
        let place = place.unwrap();
        if seen_by == "a part" {
            std::fs::remove_file(place.path("lake/settings.json")).unwrap();
        }
        let by_default = Place::new("").etl(&["restore", "--from", place.path("lake").to_str().unwrap()]).exits(0);
        assert_eq!(ids(&by_default), of_hours(0..HOURS), "{seen_by}");
    }
}

#[test]
fn lake_alone_with_nothing_written_anywhere_gives_all_back() {
    let (place, ..) = lake();
    std::fs::remove_dir_all(place.path("etl-state")).unwrap();
    let elsewhere = Place::new("");
    let from = place.path("lake");
    let ran = elsewhere.etl(&["restore", "--from", from.to_str().unwrap()]).exits(0);
    assert_eq!(ids(&ran), of_hours(0..HOURS));
    assert!(!elsewhere.path("etl-state").exists());
    assert_eq!(elsewhere.etl(&["restore", "--from", "no-such-lake"]).exits(2).out, "");
}

#[test]
fn sound_rows_in_another_order_are_no_part() {
    let (place, intruder, prefix) = lake();
    let key = key(&prefix, 3, 0);
    let lines = gunzip(&intruder.read(&key));
    let mut gzip = GzBuilder::new().write(Vec::new(), Compression::new(6));
    gzip.write_all(format!("{}\n{}\n", lines[1], lines[0]).as_bytes()).unwrap();
    intruder.write(&key, &gzip.finish().unwrap(), None);
    let ran = place.etl(&["restore", "--state-dir", "nowhere", "--hour", "2023-03-10T03"]).exits(76);
    assert!(ran.err.contains("not in the order of a part"), "{ran:?}");
}
