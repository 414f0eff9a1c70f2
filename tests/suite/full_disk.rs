//! A full disk: what was received is sealed and uploaded with the room that the reserve gives up; fetching waits.
//!
//! Needs to mount a small file system, so it runs as root on Linux and says elsewhere that it did not.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::cli::{Place, page, record};
use crate::support::origin::{Answer, Origin};
use crate::support::state_dir::in_lake;
use crate::support::tally;

/// A small file system in memory, unmounted when dropped.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    pub fn mount(at: &Path, megabytes: u32) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let size = format!("size={megabytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(at.to_owned()));
        }
        tally::skipped("no disk was full: that needs root, to mount a tmpfs");
        None
    }

    /// Leaves nothing free.
    pub fn fill(&self) {
        self.fill_but(0);
    }

    /// Leaves so many blocks of 4 KiB free.
    fn fill_but(&self, blocks: u64) {
        let mut file = std::fs::File::create(self.0.join("fill")).unwrap();
        let mut filled = 0;
        while std::io::Write::write_all(&mut file, &[0; 4096]).is_ok() {
            filled += 4096;
        }
        file.set_len(filled - (blocks * 4096).min(filled)).unwrap();
    }

    pub fn free(&self) {
        std::fs::remove_file(self.0.join("fill")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn full_disk_seals_and_uploads_what_is_there_and_fetching_waits() {
    let origin = Origin::start(vec![]);
    let url = &origin.url;
    let config = |hold: &str| {
        format!(
            "[source]\nurl = \"{url}\"\n[hours]\nlate_hold = \"{hold}\"\n[load]\nto = \"file:lake\"\n\
             [state]\ndir = \"disk/state\"\nmin_free = \"8MiB\"\n"
        )
    };
    let place = Place::new(&config("1h"));
    let Some(disk) = SmallDisk::mount(&place.path("disk"), 64) else { return };
    let answer = |n: u64| Answer::Page(page(&place.key, &[record(n, "2023-03-10T01:00:00.000Z")]));
    origin.script(vec![answer(1), answer(2)]);
    place.etl(&["run"]).exits(0);
    assert!(place.path("disk/state/reserve").exists());
    disk.fill();
    place.configure(&config("0s"));
    let ran = place.etl(&["run"]).exits(74);
    assert!(ran.err.contains("free some space"), "{}", ran.err);
    assert!(!place.path("disk/state/reserve").exists(), "the reserve was given up");
    assert_eq!(place.status()["totals"]["uploaded"], 1, "what was there went out");
    disk.free();
    place.etl(&["run"]).exits(0);
    assert_eq!(place.status()["totals"]["uploaded"], 2, "and fetching goes on");
    assert!(place.path("disk/state/reserve").exists());
    place.etl(&["verify", "--deep"]).exits(0);
}

/// A run that meets the end of the disk after so many blocks, in the middle of whatever it does then, and runs on a disk that
/// stays full.
fn full_after(blocks: u64, min_free: &str) {
    let origin = Origin::start(vec![]);
    let config = |hold: &str| {
        format!(
            "[source]\nurl = \"{}\"\nretries = 0\n[hours]\nlate_hold = \"{hold}\"\n[load]\nto = \"file:lake\"\n\
             [state]\ndir = \"disk/state\"\nmin_free = \"{min_free}\"\n",
            origin.url
        )
    };
    let (place, case) = (Place::new(&config("1h")), format!("{blocks} blocks, min_free {min_free}"));
    let Some(disk) = SmallDisk::mount(&place.path("disk"), 64) else { return };
    let answer = |n: u64| Answer::Page(page(&place.key, &[record(n, "2023-03-10T01:00:00.000Z")]));
    origin.script(vec![answer(1), answer(2)]);
    place.etl(&["run"]).exits(0);
    disk.fill_but(blocks);
    place.configure(&config("0s"));
    for _ in 0..3 {
        let ran = place.etl(&["run"]);
        assert!([0, 74].contains(&ran.code) && !ran.err.contains("panicked"), "{case}: {ran:#?}");
        assert!(ran.code == 0 || ran.err.contains("free some space"), "{case}: {ran:#?}");
    }
    assert!(in_lake(&place).contains_key(&1), "{case}: what was received went out by itself");
    disk.free();
    let ran = place.etl(&["run"]);
    assert_eq!(ran.code, 0, "{case}: {ran:#?}");
    let found = in_lake(&place);
    tally::found((1..=2).filter(|id| !found.contains_key(id)).count(), found.values().filter(|n| **n > 1).count(), 0);
    assert_eq!(found, [(1, 1), (2, 1)].into(), "{case}");
    place.etl(&["verify", "--deep"]).exits(0);
    tally::add("calls", "on a disk full by then", 1);
}

#[test]
fn disk_that_gets_full_in_the_middle_of_a_step_lets_out_what_was_received() {
    let blocks: Vec<u64> = tally::scale((0..64).step_by(9).collect(), (0..200).collect());
    for blocks in blocks {
        for min_free in ["8MiB", "1"] {
            full_after(blocks, min_free);
        }
    }
}

/// A source whose pages lead to ever another one, each with a lot of nothing in it.
fn endless(key: &str) -> Origin {
    let origin = Origin::start(vec![]);
    let next = |id: u64| {
        let body =
            page(key, &[record(id, "2023-03-10T01:00:00.000Z")]).replacen('[', &format!("[{}", " ".repeat(2 << 20)), 1);
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\nLink: </log?page={id}>; rel=\"next\"\r\n\r\n",
            body.len()
        );
        Answer::Raw([head.as_bytes(), body.as_bytes()].concat())
    };
    origin.script((1..=60).map(next).chain([Answer::Page("[]".into())]).collect());
    origin
}

#[test]
fn trail_that_is_larger_than_the_disk_pauses_and_goes_on_by_itself() {
    let place = Place::new("");
    let origin = endless(&place.key);
    place.configure(&format!(
        "[source]\nurl = \"{}\"\nretries = 0\n[hours]\nlate_hold = \"1h\"\n[load]\nto = \"file:lake\"\n\
         [state]\ndir = \"disk/state\"\nmin_free = \"16MiB\"\n",
        origin.url
    ));
    // Room for less than half of its pages, which wait for their hour besides: late records are held for an hour.
    let Some(_disk) = SmallDisk::mount(&place.path("disk"), 96) else { return };
    let ran = place.etl(&["run"]).exits(0);
    let found = in_lake(&place);
    let status = place.status();
    assert!(!found.is_empty() && found.values().all(|times| *times == 1), "{found:?}");
    assert_eq!(status["totals"]["records"], 60, "{ran:?}");
    place.etl(&["run", "--drain"]).exits(0);
    assert_eq!(in_lake(&place).len(), 60);
    assert_eq!(place.status()["journal"]["pages"], 0);
    place.etl(&["verify", "--deep"]).exits(0);
}
