//! The tool `minisign`: the system's, else that of the system's packages, unpacked once below the target directory.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::python;

/// A folder with a command `minisign`. Where it cannot be had, that is said loudly, and a stand-in in `fallback` takes every
/// signature for valid: then only `etl`'s own check of them counts.
pub fn minisign_tool(fallback: &Path) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if let Some(there) = std::env::split_paths(&path).find(|folder| works(&folder.join("minisign"))) {
        return there;
    }
    match python::once("minisign", "minisign", unpack) {
        Ok(dir) => dir.join("bin"),
        Err(why) => {
            let how = format!(
                "SKIPPED (needs minisign): signatures are checked by etl alone: {why}. How to get it: apt-get install minisign"
            );
            python::skip("ETL_TEST_REQUIRE_MINISIGN", &how);
            script(&fallback.join("minisign"), "exit 0");
            fallback.to_owned()
        }
    }
}

fn works(tool: &Path) -> bool {
    tool.is_file() && python::run(Command::new(tool).arg("-v")).is_ok()
}

/// Unpacks the packages into `dir`, without installing them.
fn unpack(dir: &Path) -> Result<(), String> {
    fs::create_dir_all(dir.join("bin")).map_err(|error| error.to_string())?;
    python::run(Command::new("apt-get").args(["-qq", "download", "minisign", "libsodium23"]).current_dir(dir))?;
    let unpack = "for package in *.deb; do dpkg -x \"$package\" . || exit 1; done";
    python::run(Command::new("sh").args(["-c", unpack]).current_dir(dir))?;
    let (libraries, tool) = (dir.join("usr/lib"), dir.join("usr/bin/minisign"));
    let run = "LD_LIBRARY_PATH=$(echo \"$root\"/*-linux-gnu*) exec \"$tool\" \"$@\"";
    let text = format!("root='{}' tool='{}'\n{run}", libraries.display(), tool.display());
    script(&dir.join("bin/minisign"), &text);
    if works(&dir.join("bin/minisign")) { Ok(()) } else { Err("it does not start".to_owned()) }
}

fn script(path: &Path, text: &str) {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}
