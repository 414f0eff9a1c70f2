//! Damage to every kind of file in the state directory: repaired and said, or refused with a way out; nothing twice, and
//! nothing lost in silence.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::cli::{Place, Ran, page, record};
use crate::support::form::{OTHERS, form, in_form, in_other_forms};
use crate::support::origin::{Answer, Origin};
use crate::support::state_dir::{Everything, config, in_lake, sane};
use crate::support::tally;

/// What befalls a file.
#[derive(Debug, Clone)]
enum Damage {
    Cut(usize),
    Flip(usize),
    Zeroed(usize),
    Appended,
    Deleted,
    Older(PathBuf),
}

impl Damage {
    /// Every kind of damage to a file of this content; `earlier`: its older copies.
    fn all(content: &[u8], earlier: Vec<PathBuf>) -> Vec<Self> {
        let length = content.len();
        let mut all = vec![Self::Deleted, Self::Appended];
        if length > 0 {
            all.push(Self::Cut(0));
            all.extend([length / 7, length / 2].map(Self::Flip));
            all.push(Self::Zeroed(0));
        }
        if length > 1 {
            all.extend([length / 2, length - 1].map(Self::Cut));
        }
        if tally::scale(false, true) {
            // The first byte, within a checksum, within a block and at its end, half a record at the end.
            let lengths = [1, 16, 63, 64, 65, 511, 512, 4095, 4096, 4097, length / 4, length / 4 * 3];
            let shorter = lengths.into_iter().chain([length.saturating_sub(17)]).filter(|cut| *cut < length);
            all.extend(shorter.collect::<BTreeSet<_>>().into_iter().map(Self::Cut));
            let places = (0..16).map(|n| n * length / 16).collect::<BTreeSet<_>>();
            all.extend(places.into_iter().filter(|at| *at < length).map(Self::Flip));
            all.extend((1..8).map(|n| n * length / 8 / 4096 * 4096).filter(|at| *at > 0).map(Self::Zeroed));
        }
        if length > 8192 {
            all.push(Self::Zeroed(length / 6 / 4096 * 4096));
        }
        let changed = |path: &PathBuf| fs::read(path).is_ok_and(|old| old != content);
        all.extend(earlier.into_iter().filter(changed).map(Self::Older));
        all
    }

    /// Its name in the table.
    const fn name(&self) -> &'static str {
        match self {
            Self::Cut(_) => "cut short",
            Self::Flip(_) => "bit flipped",
            Self::Zeroed(_) => "block zeroed",
            Self::Appended => "garbage appended",
            Self::Deleted => "deleted",
            Self::Older(_) => "replaced by an older copy",
        }
    }

    fn befall(&self, path: &Path) {
        let mut bytes = fs::read(path).unwrap();
        match self {
            Self::Cut(at) => bytes.truncate(*at),
            Self::Flip(at) => bytes[*at] ^= 0x10,
            Self::Zeroed(at) => bytes.iter_mut().skip(*at).take(4096).for_each(|byte| *byte = 0),
            Self::Appended => bytes.extend_from_slice(b"garbage\n"),
            Self::Deleted => return fs::remove_file(path).unwrap(),
            Self::Older(old) => bytes = fs::read(old).unwrap(),
        }
        fs::write(path, bytes).unwrap();
    }
}

/// Replays and runs, following the advice that is given, and checks that all is well in the end: nothing twice, and
/// nothing missing unless it was said.
fn recover(everything: &Everything, place: &mut Place, damaged: &Path, what: &str) -> Vec<Ran> {
    let mut runs = vec![place.etl(&["replay"])];
    if runs[0].err.contains("--from-s3") {
        runs.push(place.etl(&["replay", "--from-s3"]));
    }
    if runs[0].err.contains("move the file away") {
        fs::remove_file(damaged).unwrap();
    }
    let ring = format!("{},{}", everything.place.key, everything.other_key);
    place.set("FERNET_KEY", &ring);
    runs.extend([place.etl(&["run"]), place.etl(&["run", "--drain"])]);
    runs.iter().for_each(|ran| sane(what, ran));
    let lost = missing(everything, place, what);
    let is_said = runs.iter().any(|ran| ran.code == 74);
    tally::found(if is_said { 0 } else { lost.len() }, 0, 0);
    assert!(lost.is_empty() || is_said, "{what}: lost in silence: {lost:?} {runs:#?}");
    everything.say_again(place);
    runs.push(place.etl(&["run", "--drain"]));
    // An old day is read when one of its hours is touched, and not before.
    if runs.last().is_some_and(|ran| ran.err.contains("--from-s3")) {
        runs.extend([place.etl(&["replay", "--from-s3"]), place.etl(&["run", "--drain"])]);
    }
    assert_eq!(runs.last().map(|ran| ran.code), Some(0), "{what}: {runs:#?}");
    assert_eq!(missing(everything, place, what), [0; 0], "{what}: the source had it once more");
    let verified = place.etl(&["verify", "--deep"]);
    assert_eq!(verified.code, 0, "{what}: {verified:#?}");
    place.etl(&["replay", "--from-s3"]).exits(0);
    assert_eq!(place.status()["totals"]["uploaded"], everything.ids.len() as u64, "{what}");
    runs
}

fn missing(everything: &Everything, place: &Place, what: &str) -> Vec<u64> {
    let seen = in_lake(place);
    let twice: Vec<_> = seen.iter().filter(|(_, n)| **n > 1).collect();
    tally::found(0, twice.len(), 0);
    assert!(twice.is_empty(), "{what}: twice in the store: {twice:?}");
    everything.ids.iter().copied().filter(|id| !seen.contains_key(id)).collect()
}

/// One file of each kind, and each file that has something to do.
fn kinds(everything: &Everything) -> BTreeMap<String, PathBuf> {
    let mut kinds = BTreeMap::new();
    for file in everything.files() {
        let text = file.to_str().unwrap().to_owned();
        let kind = match text.split('/').collect::<Vec<_>>()[..] {
            ["ledger", name] if name != "head" => "ledger day".to_owned(),
            ["journal", name] => format!("journal {}", &name[..16]),
            ["hashes", name] if name.starts_with("2023-03-04T18") || name.starts_with("2023-03-01T05") => text.clone(),
            ["hashes", _] | ["lock" | "reserve"] => continue,
            ["quarantine", name] if name.ends_with(".ids") => "quarantine identities".to_owned(),
            ["quarantine", name] if name.contains('.') => "quarantine".to_owned(),
            ["spool", _] => "spool".to_owned(),
            ["wal", _, name] if name.starts_with("snap") => "wal snapshot".to_owned(),
            _ => text.clone(),
        };
        kinds.insert(kind, file);
    }
    kinds
}

#[test]
fn damaged_file_of_any_kind_is_repaired_or_refused_and_nothing_is_lost_in_silence() {
    damages(|_| true, |_| true, 100);
}

#[test]
fn damage_to_what_depends_on_the_form_of_parts_is_repaired_in_other_forms_too() {
    let kinds = ["spool", "ledger/head", "hashes/2023-03-01T05.1", "wal/000001/db"];
    // In the quick form each damage is done in one of them.
    for (number, form) in OTHERS.into_iter().enumerate() {
        let is_its_turn = |case: usize| tally::scale(case % OTHERS.len() == number, true);
        in_form(form, || damages(|kind| kinds.contains(&kind), is_its_turn, 10));
    }
}

/// The damage to files of these kinds whose turn it is by its number; these are more than so many cases.
fn damages(is_meant: impl Fn(&str) -> bool, is_its_turn: impl Fn(usize) -> bool, more_than: usize) {
    let everything = Everything::build();
    let cases: Vec<(String, PathBuf, Damage)> = kinds(&everything)
        .into_iter()
        .filter(|(kind, _)| is_meant(kind))
        .flat_map(|(kind, file)| {
            let content = fs::read(everything.place.path("etl-state").join(&file)).unwrap();
            let earlier = everything.earlier.iter().map(|dir| dir.path().join(&file)).collect();
            Damage::all(&content, earlier).into_iter().map(move |damage| (kind.clone(), file.clone(), damage))
        })
        .enumerate()
        .filter_map(|(number, case)| is_its_turn(number).then_some(case))
        .collect();
    assert!(cases.len() > more_than, "{} cases", cases.len());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((kind, file, damage)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut place = everything.copy();
                    let path = place.path("etl-state").join(file);
                    damage.befall(&path);
                    tally::add("damage", damage.name(), 1);
                    let runs = recover(&everything, &mut place, &path, &format!("{kind} {damage:?}"));
                    if let Some(why) = expected(kind, damage) {
                        assert!(runs.iter().any(|ran| ran.err.contains(why)), "{kind} {damage:?}: {runs:#?}");
                    }
                }
            });
        }
    });
}

/// What has to be said about some damage.
fn expected(kind: &str, damage: &Damage) -> Option<&'static str> {
    match (kind, damage) {
        ("ledger/head", Damage::Older(_)) | ("ledger day", Damage::Deleted) => None,
        ("ledger/head" | "ledger day", _) => Some("--from-s3"),
        ("journal 0000000000000006", Damage::Deleted) => Some("are gone"),
        ("journal 0000000000000006", _) => Some("is damaged"),
        ("spool", _) => Some("encoded again"),
        ("quarantine", Damage::Deleted) => Some("are gone"),
        ("hashes/2023-03-01T05.1", _) => Some("read back from the store"),
        ("wal/000001/db", Damage::Deleted | Damage::Cut(0)) => Some("filled again from the journal"),
        _ => None,
    }
}

/// Another machine's part for one of the hours that wait for the store: of the same number, with another record.
fn put_foreign_part(everything: &Everything, place: &Place) {
    let other = Place::new("");
    let origin = Origin::start(vec![Answer::Page(page(&other.key, &[record(7_000_001, "2023-03-04T18:59:00.000Z")]))]);
    other.configure(&config(&origin));
    other.etl(&["run", "--drain"]).exits(0);
    let key = form().key("data/2023_y/03_m/04_d/18_h/part-00000.ndjson.gz");
    let spooled = format!("etl-state/spool/2023-03-04T18.part-00000.{}", form().extension);
    assert!(everything.place.path(spooled).exists());
    fs::create_dir_all(place.path("lake").join(&key).parent().unwrap()).unwrap();
    fs::copy(other.path("lake").join(&key), place.path("lake").join(&key)).unwrap();
}

#[test]
fn log_that_is_lost_while_parts_wait_is_filled_from_the_journal_even_where_a_foreign_part_is_in_the_way() {
    let everything = Everything::build();
    for (lost_log, lost_bytes) in [(true, false), (true, true), (false, true)] {
        for foreign in [false, true] {
            let what = format!("log {lost_log} bytes {lost_bytes} foreign {foreign}");
            let mut place = everything.copy();
            if lost_log {
                fs::remove_dir_all(place.path("etl-state/wal")).unwrap();
            }
            if lost_bytes {
                fs::remove_dir_all(place.path("etl-state/spool")).unwrap();
            }
            if foreign {
                put_foreign_part(&everything, &place);
            }
            let ring = format!("{},{}", everything.place.key, everything.other_key);
            place.set("FERNET_KEY", &ring);
            let runs = [place.etl(&["replay"]), place.etl(&["run", "--drain"])];
            runs.iter().for_each(|ran| sane(&what, ran));
            assert_eq!(runs[1].code, 0, "{what}: {runs:#?}");
            assert_eq!(missing(&everything, &place, &what), [0; 0], "{what}: {runs:#?}");
            everything.say_again(&place);
            place.etl(&["run", "--drain"]).exits(0);
            assert_eq!(missing(&everything, &place, &what), [0; 0], "{what}");
            place.etl(&["verify", "--deep"]).exits(0);
        }
    }
}

#[test]
fn lost_log_or_state_is_made_up_for_in_other_forms_too() {
    in_other_forms(|| {
        log_that_is_lost_while_parts_wait_is_filled_from_the_journal_even_where_a_foreign_part_is_in_the_way();
        older_ledger_than_the_store_and_the_log_loses_and_repeats_nothing();
        state_directory_that_is_lost_is_rebuilt_from_the_store();
    });
}

#[test]
fn log_and_bytes_and_journal_that_are_all_lost_are_named_until_they_are_given_up() {
    let everything = Everything::build();
    let place = everything.copy();
    for name in ["wal", "spool", "journal"] {
        fs::remove_dir_all(place.path("etl-state").join(name)).unwrap();
    }
    let ran = place.etl(&["replay"]).exits(74);
    assert!(ran.err.contains("--from-s3") && ran.err.contains("2023-03-04T18"), "{ran:?}");
    place.etl(&["run"]).exits(74);
    let given_up = place.etl(&["replay", "--from-s3"]).exits(74);
    assert!(given_up.err.contains("are lost"), "{given_up:?}");
    place.etl(&["run"]).exits(0);
    everything.say_again(&place);
    place.etl(&["run", "--drain"]).exits(0);
    assert_eq!(missing(&everything, &place, "all lost"), [0; 0]);
    place.etl(&["verify", "--deep"]).exits(0);
}

#[test]
fn older_ledger_than_the_store_and_the_log_loses_and_repeats_nothing() {
    let everything = Everything::build();
    let mut place = everything.copy();
    let older = fs::read(place.path("etl-state/ledger/head")).unwrap();
    let ring = format!("{},{}", everything.place.key, everything.other_key);
    place.set("FERNET_KEY", &ring);
    place.etl(&["run", "--drain"]).exits(0);
    fs::write(place.path("etl-state/ledger/head"), older).unwrap();
    let ran = place.etl(&["replay"]).exits(0);
    assert!(ran.err.contains("it is in the store already"), "{ran:?}");
    everything.say_again(&place);
    place.etl(&["run", "--drain"]).exits(0);
    assert_eq!(missing(&everything, &place, "older ledger"), [0; 0]);
    place.etl(&["verify", "--deep"]).exits(0);
}

#[test]
fn state_directory_that_is_lost_is_rebuilt_from_the_store() {
    let everything = Everything::build();
    let place = everything.copy();
    place.etl(&["replay"]);
    fs::remove_dir_all(place.path("etl-state")).unwrap();
    let uploaded = in_lake(&place).len();
    let found = place.etl(&["replay", "--from-s3"]).exits(0);
    assert!(found.out.contains("that the ledger did not know"), "{found:?}");
    assert_eq!(place.status()["totals"]["uploaded"], uploaded);
    place.etl(&["verify", "--deep"]).exits(0);
    everything.say_again(&place);
    let again = place.etl(&["run", "--drain", "--json"]).exits(0).json();
    assert_eq!(again["new"], everything.ids.len() - uploaded);
    assert_eq!(missing(&everything, &place, "rebuilt"), [0; 0]);
    place.etl(&["verify", "--deep"]).exits(0);
}

#[test]
fn status_that_cannot_be_read_says_so_and_a_replay_writes_it_anew() {
    let everything = Everything::build();
    let place = everything.copy();
    fs::write(place.path("etl-state/status.json"), "{\"schema\":").unwrap();
    let ran = place.etl(&["status"]).exits(74);
    assert!(ran.err.contains("etl replay"), "{ran:?}");
    assert_eq!(place.etl(&["status", "--check"]).code, 3);
    place.etl(&["replay"]);
    assert_eq!(place.status()["last_run"]["exit"], 77);
}

#[test]
fn damage_in_the_middle_of_a_large_hash_array_is_repaired_in_the_run_that_meets_it() {
    const COUNT: u64 = 17_000;
    let place = Place::new("[source]\nurl = \"file:pages/*.json\"\n[load]\nto = \"file:lake\"\n");
    let at = |id: u64| format!("2023-03-10T01:{:02}:{:02}.{:03}Z", id / 1000, id % 60, id % 1000);
    let records: Vec<String> = (0..COUNT).map(|id| record(id, &at(id))).collect();
    for (name, records) in records.chunks(2000).enumerate() {
        place.page(&format!("pages/{name}.json"), records);
    }
    place.etl(&["run"]).exits(0);
    let path = place.path("etl-state/hashes/2023-03-10T01.1");
    let mut bytes = fs::read(&path).unwrap();
    assert!(bytes.len() > 64 * 4096, "too small to be read block by block");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let ran = place.etl(&["run", "--json"]).exits(0);
    assert!(ran.err.contains("starting over"), "{ran:?}");
    assert_eq!(ran.json()["new"], 0);
    place.etl(&["verify", "--deep"]).exits(0);
    fs::write(place.path("etl-state/hashes/2023-03-10T01.2"), "").unwrap();
    let ran = place.etl(&["verify", "--deep"]).exits(74);
    assert!(ran.err.contains("etl replay --from-s3"), "{ran:?}");
    place.etl(&["replay", "--from-s3"]).exits(0);
    place.etl(&["verify", "--deep"]).exits(0);
}

#[test]
fn stray_hash_array_beside_one_that_is_forgotten_goes_with_it() {
    let config = |window: &str| {
        format!(
            "[source]\nurl = \"file:pages/*.json\"\n[hours]\ndedup_window = \"{window}\"\n[load]\nto = \"file:lake\"\n"
        )
    };
    let place = Place::new(&config("30d"));
    place.page("pages/1.json", &[record(1, "2023-03-10T01:00:00.000Z")]);
    place.etl(&["run"]).exits(0);
    fs::copy(place.path("etl-state/hashes/2023-03-10T01.1"), place.path("etl-state/hashes/2023-03-10T01.9")).unwrap();
    place.configure(&config("0s"));
    place.page("pages/2.json", &[record(2, "2023-03-10T02:00:00.000Z")]);
    place.etl(&["run", "--drain"]).exits(0);
    place.etl(&["run"]).exits(0);
    assert!(!place.path("etl-state/hashes/2023-03-10T01.9").exists());
    place.etl(&["verify", "--deep"]).exits(0);
}
