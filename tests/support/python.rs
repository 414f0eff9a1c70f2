//! Python packages for tests: a virtual environment for each purpose, made once below the target directory.
//!
//! Test processes that want the same one wait for each other under a lock. A note is written last, with what is installed, so
//! that an interrupted installation, or one of other packages, is made again.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The folder of a virtual environment with these `packages` (`name==version`); its interpreter is `bin/python`. `None`, said
/// loudly, where it is not to be had; a failure instead where `ETL_TEST_REQUIRE_PYTHON=1`.
pub fn venv(name: &str, packages: &[&str]) -> Option<PathBuf> {
    match installed(name, packages) {
        Ok(dir) => Some(dir),
        Err(why) => {
            let how = format!(
                "SKIPPED (needs Python packages): {why}. How to get them: make `python3` with its venv module and PyPI \
                 reachable, so that {} can be installed",
                packages.join(", ")
            );
            skip("ETL_TEST_REQUIRE_PYTHON", &how);
            None
        }
    }
}

/// The folder of a command: where it works already, else of a virtual environment with the package that brings it. As [`venv`].
pub fn command(command: &str, name: &str, package: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let works = |folder: &PathBuf| run(Command::new(folder.join(command)).arg("--version")).is_ok();
    let there = std::env::split_paths(&path).find(|folder| folder.join(command).is_file() && works(folder));
    there.or_else(|| venv(name, &[package]).map(|dir| dir.join("bin")))
}

/// Says that a test is skipped, or fails where the variable `required` is `1`.
#[track_caller]
pub fn skip(required: &str, how: &str) {
    assert_ne!(std::env::var(required).as_deref(), Ok("1"), "{how}");
    // Not eprintln!: the test harness would swallow it, and a skipped test has to be seen.
    let _ = writeln!(std::io::stderr(), "{how}");
}

/// The folder of a virtual environment with these packages.
pub(super) fn installed(name: &str, packages: &[&str]) -> Result<PathBuf, String> {
    once(name, &packages.join("\n"), |dir| {
        run(Command::new("python3").args(["-m", "venv"]).arg(dir))?;
        run(Command::new(dir.join("bin/python")).args(PIP).args(packages))
    })
}

/// The arguments of an installation through pip.
pub(super) const PIP: [&str; 5] = ["-m", "pip", "-q", "install", "--disable-pip-version-check"];

/// The folder `name`, into which `make` has put what `what` says, in this process or an earlier one.
pub(super) fn once(name: &str, what: &str, make: impl FnOnce(&Path) -> Result<(), String>) -> Result<PathBuf, String> {
    let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python");
    let failed = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    fs::create_dir_all(&all).map_err(|error| failed(&all, error))?;
    let (dir, lock) = (all.join(name), all.join(format!("{name}.lock")));
    let held = File::create(&lock).and_then(|file| file.lock().map(|()| file)).map_err(|error| failed(&lock, error))?;
    let note = dir.join("installed.txt");
    if fs::read_to_string(&note).is_ok_and(|noted| noted == what) {
        return Ok(dir);
    }
    if dir.exists() {
        fs::remove_dir_all(&dir).map_err(|error| failed(&dir, error))?;
    }
    make(&dir)?;
    fs::write(&note, what).map_err(|error| failed(&note, error))?;
    drop(held);
    Ok(dir)
}

/// Runs a command to its end; the error is the last line that it complained with.
pub(super) fn run(command: &mut Command) -> Result<(), String> {
    let Output { status, stderr, .. } =
        command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    let last = String::from_utf8_lossy(&stderr).lines().last().unwrap_or_default().to_owned();
    if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}: {last}")) }
}
