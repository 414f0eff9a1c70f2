//! `etl export`: what it makes is the lake that it read, in another form; whatever happens on the way.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use etl::store::ObjectStore;
use serde_json::{Value, json};

use crate::support::cli::{Place, Ran, page, record};
use crate::support::form::lines;
use crate::support::proxy::{Fault, Proxy, named};
use crate::support::{TestS3, s3, unique_prefix};

/// Hours with two records each.
const HOURS: u64 = 6;
const LAKE: &str = "to = \"file:lake\"\nmanifest = true\n";

fn log(id: u64) -> String {
    let hour = id / 2 % HOURS;
    record(1000 + id, &format!("2023-03-10T{hour:02}:00:{:02}.000Z", id % 60))
}

/// A place that has uploaded six hours, one of which has a late part.
fn filled(load: &str, store: Option<&TestS3>) -> Place {
    let mut place = Place::new(&config(load));
    store.into_iter().for_each(|at| place.trust(at));
    place.page("pages/1", &(0..2 * HOURS).map(log).collect::<Vec<_>>());
    place.etl(&["run"]).exits(0);
    add(&place, "pages/2", 2 * HOURS + 4);
    place
}

fn config(load: &str) -> String {
    format!("[source]\nurl = \"file:pages/*\"\n[load]\n{load}\n")
}

/// Lets a late record come.
fn add(place: &Place, name: &str, id: u64) {
    place.page(name, &[log(id)]);
    place.etl(&["run"]).exits(0);
}

fn key(hour: u64, part: u32, suffix: &str) -> String {
    format!("data/2023_y/03_m/10_d/{hour:02}_h/part-{part:05}.ndjson.{suffix}")
}

/// All files below a folder, with their content.
fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let all = glob::glob(&format!("{}/**/*", root.display())).unwrap().map(Result::unwrap);
    let name = |path: &Path| path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
    all.filter(|path| path.is_file()).map(|path| (name(&path), std::fs::read(&path).unwrap())).collect()
}

/// What an export says of how many parts it made, found, and left.
#[track_caller]
fn counts(ran: &Ran) -> [u64; 3] {
    let done = ran.json();
    [done["parts"].as_u64().unwrap(), done["already"].as_u64().unwrap(), done["left"].as_array().unwrap().len() as u64]
}

const ZSTD: [&str; 6] = ["export", "--to", "file:zstd", "--compression", "zstd", "--json"];
const PARQUET: [&str; 8] = ["export", "--to", "file:columns", "--format", "parquet", "--compression", "zstd", "--json"];

/// The parts among files, in the order of hours and numbers.
fn parts(files: &BTreeMap<String, Vec<u8>>) -> Vec<(&String, &Vec<u8>)> {
    files.iter().filter(|(name, _)| name.starts_with("data/") || name.starts_with("parquet/")).collect()
}

#[test]
fn lake_in_another_form_is_the_same_lake_and_a_second_export_makes_nothing() {
    let place = filled(LAKE, None);
    let lake = files(&place.path("lake"));
    let restored = |from: &[&str]| place.etl(&[&["restore"], from].concat()).exits(0).out;
    assert_eq!(restored(&[]).lines().count(), 13);
    for (dir, args, suffix) in [("zstd", &ZSTD[..], ".ndjson.zst"), ("columns", &PARQUET, ".parquet")] {
        let ran = place.etl(args).exits(0);
        assert_eq!(counts(&ran), [7, 0, 0], "{ran:?}");
        let made = files(&place.path(dir));
        for ((_, from), (name, to)) in parts(&lake).into_iter().zip(parts(&made)) {
            assert!(name.ends_with(suffix), "{name}");
            assert_eq!(lines(from), lines(to), "{name}");
        }
        assert_eq!(parts(&made).len(), 7);
        let dictionaries = |of: &BTreeMap<String, Vec<u8>>| -> Vec<_> {
            let of = of.iter().filter(|(name, _)| name.starts_with("dict/"));
            of.map(|(name, bytes)| (name.clone(), bytes.clone())).collect()
        };
        assert_eq!(dictionaries(&lake), dictionaries(&made));
        assert_eq!(restored(&["--from", dir]), restored(&[]));

        let ran = place.etl(&args[..args.len() - 1]).exits(0);
        assert_eq!((&*ran.out, &*ran.err), ("nothing to export: 7 parts there already\n", ""));
        assert_eq!(files(&place.path(dir)), made);

        let back = format!("{dir}-back");
        let to = ["--to", &back, "--format", "ndjson", "--compression", "gzip"];
        place.etl(&[&["export", "--from", dir], &to[..]].concat()).exits(0);
        assert_eq!(files(&place.path(&back)), without_digests(&lake), "all bytes as they were");
    }
}

fn without_digests(lake: &BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    lake.iter().filter(|(name, _)| !name.starts_with("digest/")).map(|(name, of)| (name.clone(), of.clone())).collect()
}

#[test]
fn odd_records_come_back_from_columns_as_they_were() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let place = Place::new(&std::fs::read_to_string(fixtures.join("odd.toml")).unwrap());
    crate::support::state_dir::copy_dir(&fixtures.join("odd"), &place.path("odd"));
    place.etl(&["run"]).exits(65);
    place.etl(&PARQUET).exits(0);
    let restored = |from: &[&str]| place.etl(&[&["restore"], from].concat()).exits(0).out;
    assert_eq!(restored(&["--from", "columns"]), restored(&[]));
    assert_eq!(restored(&[]).lines().count(), 100);
}

#[test]
fn manifests_name_the_new_objects_and_digests_stay_behind() {
    let place = filled(LAKE, None);
    assert!(files(&place.path("lake")).keys().any(|name| name.starts_with("digest/")));
    place.etl(&ZSTD).exits(0);
    let (lake, zstd) = (files(&place.path("lake")), files(&place.path("zstd")));
    assert!(!zstd.keys().any(|name| name.starts_with("digest/")), "{:?}", zstd.keys());
    let manifests = lake.iter().filter(|(name, _)| name.starts_with("manifest/"));
    let manifests: Vec<(&String, [Value; 2])> = manifests
        .map(|(name, of_lake)| (name, [of_lake, &zstd[name]].map(|of| serde_json::from_slice(of).unwrap())))
        .collect();
    assert_eq!(manifests.len(), 7);
    for (name, [of_lake, of_zstd]) in manifests {
        let object = of_zstd["key"].as_str().unwrap();
        assert_eq!(object, of_lake["key"].as_str().unwrap().replace(".gz", ".zst"));
        assert_eq!(of_zstd["bytes"], zstd[object].len());
        assert_eq!(of_zstd["sha256"], etl::digest::Sha256::of(&zstd[object]).to_string(), "{name}");
        let rest = |of: &Value| {
            let mut rest = of.as_object().unwrap().clone();
            rest.retain(|name, _| !["key", "bytes", "sha256"].contains(&name.as_str()));
            rest
        };
        assert_eq!(rest(&of_zstd), rest(&of_lake), "{name}");
    }
}

#[test]
fn late_part_comes_with_the_next_export_and_some_hours_can_be_chosen() {
    let place = filled(LAKE, None);
    let some = |hours: &str| place.etl(&[&ZSTD[..], &[hours]].concat());
    assert_eq!(counts(&some("2023-03-10T02..2023-03-10T03").exits(0)), [3, 0, 0]);
    assert_eq!(counts(&some("2023-03-10T03").exits(0)), [0, 1, 0]);
    add(&place, "pages/3", 2 * HOURS + 6);
    assert_eq!(counts(&place.etl(&ZSTD).exits(0)), [5, 3, 0]);
    assert!(some("2024-03-10T03").exits(2).err.contains("choose among the hours"));
}

#[test]
fn part_that_does_not_verify_is_named_and_costs_only_itself() {
    let place = filled(LAKE, None);
    let (bad, sound) = (place.path("lake").join(key(1, 0, "gz")), place.path("lake").join(key(0, 0, "gz")));
    let whole = std::fs::read(&bad).unwrap();
    // The ledger, and the manifest, know it.
    std::fs::write(&bad, std::fs::read(sound).unwrap()).unwrap();
    let gone = place.path("lake").join(key(2, 0, "gz"));
    let moved = place.path("moved");
    std::fs::rename(&gone, &moved).unwrap();
    let ran = place.etl(&ZSTD).exits(76);
    assert_eq!(counts(&ran), [5, 0, 2], "{ran:?}");
    assert!(ran.err.contains("hour 2023-03-10T01") && ran.err.contains("belongs to hour 2023-03-10T00"), "{ran:?}");
    assert!(ran.err.contains(&key(2, 0, "gz")), "{ran:?}");
    assert_eq!(ran.json()["left"][0]["hour"], "2023-03-10T01");
    std::fs::write(&bad, whole).unwrap();
    std::fs::rename(&moved, &gone).unwrap();
    assert_eq!(counts(&place.etl(&ZSTD).exits(0)), [2, 5, 0]);
    assert_eq!(place.etl(&["restore", "--from", "zstd"]).out, place.etl(&["restore"]).out);
}

#[test]
fn part_of_other_records_is_believed_neither_with_a_state_nor_with_a_manifest_alone() {
    for has_state in [true, false] {
        let place = filled(LAKE, None);
        let other = filled("to = \"file:lake\"", None);
        // The same hour, and other records.
        let logs: Vec<String> = (0..2).map(|id| log(id).replace("json_logger", "another")).collect();
        let page = page(&place.key, &logs);
        other.page("pages/9", &logs);
        assert!(page.len() > 100);
        other.etl(&["run"]).exits(0);
        let path = place.path("lake").join(key(0, 0, "gz"));
        std::fs::copy(other.path("lake").join(key(0, 1, "gz")), &path).unwrap();
        if !has_state {
            std::fs::remove_dir_all(place.path("etl-state")).unwrap();
        }
        let ran = place.etl(&ZSTD).exits(76);
        assert_eq!(counts(&ran), [6, 0, 1], "{ran:?}");
        let who = if has_state { "the ledger says" } else { "its manifest says" };
        assert!(ran.err.contains(who), "{ran:?}");
    }
}

#[test]
fn what_somebody_else_put_there_is_named_and_left_alone() {
    let place = filled(LAKE, None);
    let foreign = place.path("zstd").join(key(1, 0, "zst"));
    std::fs::create_dir_all(foreign.parent().unwrap()).unwrap();
    std::fs::write(&foreign, "something else").unwrap();
    let ran = place.etl(&ZSTD).exits(76);
    assert_eq!(counts(&ran), [6, 0, 1], "{ran:?}");
    assert!(ran.err.contains(&key(1, 0, "zst")) && ran.err.contains("is not this part"), "{ran:?}");
    assert_eq!(std::fs::read(foreign).unwrap(), b"something else");
}

#[test]
fn place_that_cannot_take_an_export_is_refused_before_anything_is_written() {
    let place = filled(LAKE, None);
    let before = files(&place.path("lake"));
    std::os::unix::fs::symlink("lake", place.path("link")).unwrap();
    for to in ["lake", "./lake/", "file:link", "lake/data", "lake/data/2023_y", "lake/parquet/x", "link/manifest"] {
        let ran = place.etl(&["export", "--to", to, "--compression", "zstd"]).exits(2);
        assert!(ran.err.contains("among each other"), "{to}: {ran:?}");
    }
    assert_eq!(files(&place.path("lake")), before);

    place.etl(&["export", "--to", "copy"]).exits(0);
    let copy = files(&place.path("copy"));
    let refused = |args: &[&str], words: &[&str]| {
        let ran = place.etl(&[&["export", "--to", "copy"], args].concat()).exits(78);
        assert!(words.iter().all(|word| ran.err.contains(word)), "{ran:?}");
    };
    refused(&["--compression", "zstd"], &["load.compression", "gzip", "zstd"]);
    refused(&["--layout", "hive"], &["load.layout"]);
    // Without settings, as a lake of before has none, the parts tell.
    std::fs::remove_file(place.path("copy/settings.json")).unwrap();
    refused(&["--compression", "zstd"], &["ndjson with gzip", "ndjson with zstd"]);
    refused(&["--layout", "hive"], &["load.layout"]);
    std::fs::write(place.path("copy/settings.json"), &copy["settings.json"]).unwrap();
    place.configure(&format!("{}[hours]\ntimezone = \"Asia/Seoul\"\n", config(LAKE)));
    refused(&[], &["hours.timezone", "Asia/Seoul"]);
    assert_eq!(files(&place.path("copy")), copy);
}

#[test]
fn run_with_a_configuration_of_the_new_form_goes_on_from_the_export() {
    let zstd = "to = \"file:zstd\"\ncompression = \"zstd\"\nmanifest = true\n";
    let columns = "to = \"file:columns\"\nformat = \"parquet\"\ncompression = \"zstd\"\nmanifest = true\n";
    for (args, load) in [(&ZSTD[..], zstd), (&PARQUET, columns)] {
        let mut place = filled(LAKE, None);
        place.etl(args).exits(0);
        place.configure(&config(load));
        place.set("ETL_STATE_DIR", "new-state");
        let ran = place.etl(&["replay", "--from-s3", "--json"]).exits(0);
        assert_eq!(ran.json()["new"], 0, "{ran:?}");
        // The same pages again, and a record that is new.
        place.page("pages/4", &[log(2 * HOURS + 8)]);
        let ran = place.etl(&["run", "--json"]).exits(0).json();
        assert_eq!((&ran["new"], &ran["uploaded_parts"]), (&json!(1), &json!(1)), "{ran}");
        assert_eq!(restored_ids(&place, &[]).len(), 14);
        assert!(place.etl(&["verify", "--deep"]).exits(0).out.contains("8 parts"));
        place.etl(&["verify", "--digests"]).exits(0);
    }
}

/// The ids of what is restored, sorted; each is there once.
fn restored_ids(place: &Place, from: &[&str]) -> Vec<u64> {
    let out = place.etl(&[&["restore"], from].concat()).exits(0).out;
    let id = |line: &str| serde_json::from_str::<Value>(line).unwrap()["record_id"].as_u64().unwrap();
    let mut ids: Vec<u64> = out.lines().map(id).collect();
    ids.sort_unstable();
    let all = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), all, "a record twice");
    ids
}

#[test]
fn part_that_was_given_up_is_not_missing_in_the_export() {
    let place = filled(LAKE, None);
    std::fs::remove_file(place.path("lake").join(key(2, 0, "gz"))).unwrap();
    place.etl(&["repair", "--accept-loss", "2023-03-10T02"]).exits(0);
    let ran = place.etl(&ZSTD).exits(0);
    assert_eq!((counts(&ran), &ran.json()["expired"]), ([6, 0, 0], &json!(1)));
    assert_eq!(restored_ids(&place, &["--from", "zstd"]).len(), 11);
    assert_eq!(counts(&place.etl(&ZSTD).exits(0)), [0, 6, 0]);
}

#[test]
fn full_folder_for_temporary_files_is_named_and_nothing_half_is_left() {
    let mut place = filled(LAKE, None);
    place.set("TMPDIR", "/nowhere");
    let ran = place.etl(&ZSTD).exits(74);
    assert!(ran.err.contains("/nowhere") && ran.err.contains("TMPDIR"), "{ran:?}");
    place.set("TMPDIR", place.path("").to_str().unwrap());
    place.etl(&ZSTD).exits(0);
    let left = std::fs::read_dir(place.path(""))
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().starts_with("etl-export-"));
    assert_eq!(left.count(), 0);
}

/// A bucket with the lake, behind a proxy, and the prefix of the export.
struct Bucket {
    at: TestS3,
    proxy: Proxy,
    place: Place,
    source: String,
    target: String,
    format: &'static str,
}

impl Bucket {
    fn new(name: &str, format: &'static str) -> Option<Self> {
        let at = s3()?;
        let proxy = Proxy::start(&at.endpoint);
        let behind = at.behind(&proxy.endpoint);
        let (source, target) = (unique_prefix(name), unique_prefix(&format!("{name}-to")));
        let place = filled(&format!("{}manifest = true\n", behind.load(&source)), Some(&at));
        Some(Self { at, proxy, place, source, target, format })
    }

    fn args(&self) -> Vec<String> {
        let to = format!("s3://{}/{}", self.at.bucket, self.target);
        let args = ["export", "--to", &to, "--format", self.format, "--compression", "zstd", "--json"];
        args.map(str::to_owned).to_vec()
    }

    fn export(&self) -> Ran {
        self.place.etl(&self.args().iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn spawn(&self) -> std::process::Child {
        self.place.spawn(&self.args().iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Checks that the export is whole: each part once, with the identity that it has in the source.
    #[track_caller]
    fn is_whole(&self) {
        let store = self.at.store();
        let root = if self.format == "parquet" { "parquet" } else { "data" };
        let [of_source, of_target] = [(&self.source, "data"), (&self.target, root)]
            .map(|(prefix, root)| self.at.keys(&format!("{prefix}{root}/")));
        let parts = of_source.len();
        assert_eq!(of_target.len(), parts, "{of_target:?}");
        for keys in of_source.iter().zip(&of_target) {
            let [mut here, there] = [keys.0, keys.1].map(|key| store.head(key).unwrap().unwrap().meta.unwrap());
            assert!(here.identity.sha256 != there.identity.sha256, "{keys:?}");
            (here.identity.sha256, here.identity.bytes) = (there.identity.sha256.clone(), there.identity.bytes);
            assert_eq!(here, there, "{keys:?}");
            assert_eq!(lines(&store.get(keys.0).unwrap()), lines(&store.get(keys.1).unwrap()));
        }
        assert_eq!(self.at.keys(&format!("{}manifest/", self.target)).len(), parts);
        let created = self.proxy.created(&self.target);
        assert!(created.iter().all(|(path, times)| *times == 1 || path.contains("/check/")), "{created:?}");
        let from = format!("s3://{}/{}", self.at.bucket, self.target);
        assert_eq!(restored_ids(&self.place, &["--from", &from]), restored_ids(&self.place, &[]));
    }
}

#[test]
fn export_into_a_bucket_keeps_each_part_s_identity_and_a_second_one_sends_nothing() {
    let Some(bucket) = Bucket::new("export", "parquet") else { return };
    assert_eq!(counts(&bucket.export().exits(0)), [7, 0, 0]);
    bucket.is_whole();
    bucket.proxy.forget();
    assert_eq!(counts(&bucket.export().exits(0)), [0, 7, 0]);
    assert_eq!(bucket.proxy.requests("PUT "), []);
    assert_eq!(bucket.proxy.requests("GET ").iter().filter(|(line, _)| line.contains(".gz")).count(), 0);
}

#[test]
fn export_that_is_interrupted_anywhere_is_finished_by_the_next() {
    let Some(mut bucket) = Bucket::new("broken-export", "parquet") else { return };
    let store_away = Fault::Instead(named("500"));
    let faults = [("PUT ", store_away), ("PUT ", Fault::AnswerDropped), ("GET ", store_away)];
    for (round, (verb, fault)) in faults.into_iter().enumerate() {
        bucket.target = unique_prefix("broken-export-to");
        // It fails after some requests, and for good.
        let good = [3, 5, 6][round];
        let calm: Vec<(&'static str, Fault)> = vec![(verb, Fault::Drip); good];
        bucket.proxy.script(&calm);
        bucket.proxy.always(verb, fault);
        let ran = bucket.export().exits(75);
        assert!(ran.err.contains("run again") || ran.err.contains("nothing is lost"), "{ran:?}");
        bucket.proxy.calm();
        bucket.export().exits(0);
        bucket.is_whole();
    }
}

#[test]
fn killed_export_leaves_whole_objects_and_the_next_makes_the_rest() {
    let Some(bucket) = Bucket::new("killed-export", "parquet") else { return };
    // Two for the question about create-only, settings, dictionaries, a part.
    bucket.proxy.script(&[("PUT ", Fault::Drip); 5]);
    bucket.proxy.always("PUT ", Fault::HungAfter);
    let mut export = bucket.spawn();
    let since = SystemTime::now();
    while bucket.proxy.created(&bucket.target).len() < 5 {
        assert!(since.elapsed().unwrap() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(20));
    }
    export.kill().unwrap();
    export.wait().unwrap();
    bucket.proxy.calm();
    bucket.export().exits(0);
    bucket.is_whole();
}

#[test]
fn signal_ends_an_export_after_the_part_at_hand() {
    let Some(bucket) = Bucket::new("stopped-export", "ndjson") else { return };
    bucket.proxy.always("GET ", Fault::EndlessDrip);
    let mut export = bucket.spawn();
    std::thread::sleep(Duration::from_millis(500));
    let sent = std::process::Command::new("kill").args(["-TERM", &export.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let since = SystemTime::now();
    assert_eq!(export.wait().unwrap().code(), Some(143));
    assert!(since.elapsed().unwrap() < Duration::from_secs(5));
    bucket.proxy.calm();
    bucket.export().exits(0);
    bucket.is_whole();
}

#[test]
fn store_that_does_not_honour_create_only_gets_no_part() {
    let Some(bucket) = Bucket::new("overwriting-export", "ndjson") else { return };
    bucket.proxy.always("PUT ", Fault::NoCondition("501 Not Implemented", "NotImplemented"));
    let ran = bucket.export().exits(78);
    assert!(ran.err.contains("refuses to replace") && ran.err.contains("If-None-Match"), "{ran:?}");
    assert_eq!(bucket.at.keys(&format!("{}data/", bucket.target)), [] as [String; 0]);
}

#[test]
fn part_in_glacier_is_named_and_the_others_are_exported() {
    let Some(bucket) = Bucket::new("archived-export", "ndjson") else { return };
    bucket.proxy.at_keys("GET ", &["02_h/part-00000.ndjson.gz"], Fault::Instead(named("archived")));
    let ran = bucket.export();
    assert_eq!((ran.code, counts(&ran)), (75, [6, 0, 1]), "{ran:?}");
    bucket.proxy.calm();
    bucket.export().exits(0);
}
