//! A Java of the age that a program needs: `ETL_TEST_JAVA_HOME`, `JAVA_HOME`, one below `/usr/lib/jvm`, or that on the path.

use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The home of the first Java of one of these versions.
pub fn java(versions: RangeInclusive<u32>) -> Result<PathBuf, String> {
    let named = ["ETL_TEST_JAVA_HOME", "JAVA_HOME"].into_iter().filter_map(std::env::var_os).map(PathBuf::from);
    let installed = fs::read_dir("/usr/lib/jvm").into_iter().flatten().flatten().map(|entry| entry.path());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).filter_map(|dir| dir.parent().map(Path::to_owned));
    let mut homes = named.chain(installed).chain(on_path);
    homes
        .find(|home| version(&home.join("bin/java")).is_some_and(|version| versions.contains(&version)))
        .ok_or(format!("no Java from {} to {} here", versions.start(), versions.end()))
}

/// The first number after the word `version` of `java -version`, which goes to stderr.
fn version(java: &Path) -> Option<u32> {
    let output = Command::new(java).arg("-version").stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let (_, number) = text.split_once("version \"")?;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
