//! Damage to every kind of file in the state directory: repaired and said, or refused with a way out; nothing twice, and
//! nothing lost in silence.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::cli::{Place, Ran};
use crate::support::state_dir::{Everything, in_lake, sane};

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
            all.extend([length / 7, length / 2, length - 1].map(Self::Flip));
            all.push(Self::Zeroed(0));
        }
        if length > 1 {
            all.extend([1, length / 2, length - 1].map(Self::Cut));
        }
        if length > 8192 {
            all.extend([4096, length / 2 / 4096 * 4096].map(Self::Zeroed));
        }
        let changed = |path: &PathBuf| fs::read(path).is_ok_and(|old| old != content);
        all.extend(earlier.into_iter().filter(changed).map(Self::Older));
        all
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

/// What came of the runs after some damage.
#[derive(Debug)]
struct After {
    runs: Vec<Ran>,
    lost: Vec<u64>,
    lost_when_said_again: Vec<u64>,
    verified: Ran,
}

impl After {
    fn codes(&self) -> Vec<i32> {
        self.runs.iter().map(|ran| ran.code).collect()
    }
}

/// Replays and runs, checks that nothing is twice, and says what is missing.
fn recover(everything: &Everything, mut place: Place, what: &str) -> After {
    let mut runs = vec![place.etl(&["replay"])];
    let ring = format!("{},{}", everything.place.key, everything.other_key);
    place.set("FERNET_KEY", &ring);
    for args in [&["run"][..], &["run", "--drain"], &["run", "--drain"]] {
        runs.push(place.etl(args));
    }
    let lost = missing(everything, &place, what);
    everything.say_again(&place);
    for _ in 0..2 {
        runs.push(place.etl(&["run", "--drain"]));
    }
    let lost_when_said_again = missing(everything, &place, what);
    let verified = place.etl(&["verify", "--deep"]);
    runs.iter().for_each(|ran| sane(what, ran));
    sane(what, &verified);
    After { runs, lost, lost_when_said_again, verified }
}

fn missing(everything: &Everything, place: &Place, what: &str) -> Vec<u64> {
    let seen = in_lake(place);
    let twice: Vec<_> = seen.iter().filter(|(_, n)| **n > 1).collect();
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
            ["hashes", name] if name.starts_with("2023-03-04T1") || name.starts_with("2023-03-01T05") => text.clone(),
            ["hashes", _] => "hashes".to_owned(),
            ["spool", _] => "spool".to_owned(),
            ["quarantine", name] if name != "ring" => format!("quarantine {}", &name[..16]),
            ["reserve"] => continue,
            _ => text.clone(),
        };
        kinds.insert(kind, file);
    }
    kinds
}

#[test]
fn survey() {
    let everything = Everything::build();
    let only = std::env::var("ONLY").unwrap_or_default();
    let cases: Vec<(String, PathBuf, Damage)> = kinds(&everything)
        .into_iter()
        .filter(|(kind, _)| kind.contains(&only))
        .flat_map(|(kind, file)| {
            let content = fs::read(everything.place.path("etl-state").join(&file)).unwrap();
            let earlier = everything.earlier.iter().map(|dir| dir.path().join(&file)).collect();
            Damage::all(&content, earlier).into_iter().map(move |damage| (kind.clone(), file.clone(), damage))
        })
        .collect();
    println!("{} cases", cases.len());
    for (kind, file, damage) in cases {
        let place = everything.copy();
        damage.befall(&place.path("etl-state").join(&file));
        let what = format!("{kind} {damage:?}");
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| recover(&everything, place, &what)));
        match outcome {
            Ok(after) => {
                let said: Vec<&str> = after.runs[0].err.lines().take(2).collect();
                println!(
                    "{what}: {:?} lost {} then {} verify {} {}",
                    after.codes(),
                    after.lost.len(),
                    after.lost_when_said_again.len(),
                    after.verified.code,
                    said.join(" | ").chars().take(230).collect::<String>()
                );
            }
            Err(_) => println!("{what}: FAILED"),
        }
    }
}
