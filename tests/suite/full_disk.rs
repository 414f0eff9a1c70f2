//! A full disk: what was received is sealed and uploaded with the room that the reserve gives up; fetching waits.
//!
//! Needs to mount a small file system, so it runs as root on Linux and says elsewhere that it did not.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::cli::{Place, page, record};
use crate::support::origin::{Answer, Origin};

/// A small file system in memory, unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, megabytes: u32) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let size = format!("size={megabytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(at.to_owned()));
        }
        println!("SKIPPED (needs to mount a tmpfs): run as root to test a full disk");
        None
    }

    /// Leaves nothing free.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.0.join("fill")).unwrap();
        while std::io::Write::write_all(&mut file, &[0; 4096]).is_ok() {}
    }

    fn free(&self) {
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
