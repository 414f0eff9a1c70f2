//! Not a part of the program: cargo runs it before a build, so that `etl --version` can name the commit and the target.
//!
//! The commit is `ETL_COMMIT`, else what git says of this folder. Without either, as in a source archive, only the target is named.

use std::path::Path;
use std::process::Command;

fn main() {
    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let target = std::env::var("TARGET").unwrap_or_default();
    let commit = given().or_else(of_git);
    let built = commit.iter().map(|commit| format!("{commit}, ")).collect::<String>() + &target;
    println!("cargo::rustc-env=ETL_VERSION={version} ({built})");
    println!("cargo::rustc-env=ETL_COMMIT={}", commit.unwrap_or_default());
    println!("cargo::rustc-env=ETL_TARGET={target}");
    println!("cargo::rerun-if-env-changed=ETL_COMMIT");
    println!("cargo::rerun-if-changed=src/cli/build.rs");
}

/// What whoever builds says that the commit is.
fn given() -> Option<String> {
    let commit = std::env::var("ETL_COMMIT").ok()?;
    let is_plain = !commit.is_empty() && commit.chars().all(|c| c.is_ascii_alphanumeric() || "-_.+".contains(c));
    is_plain.then_some(commit)
}

/// The commit that is checked out here. A repository around this folder is not ours.
fn of_git() -> Option<String> {
    if !Path::new(".git").exists() {
        return None;
    }
    // Build again after each commit. Git writes every commit into logs/HEAD; where that is switched off, HEAD is watched.
    for file in ["logs/HEAD", "HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", file]).filter(|path| Path::new(path).exists()) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

fn git(args: &[&str]) -> Option<String> {
    // A checkout that belongs to somebody else, as in a container, is only read.
    let ran = Command::new("git").args(["-c", "safe.directory=*"]).args(args).output().ok()?;
    let text = String::from_utf8(ran.stdout).ok()?.trim().to_owned();
    (ran.status.success() && !text.is_empty()).then_some(text)
}
