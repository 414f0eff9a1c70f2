//! Who can reach a state directory: only its owner may write there, and nothing in it leads elsewhere.
//!
//! One check for all: `etl check` refuses what a run refuses, and nothing else. A run makes it before it reads anything in the
//! directory. The directory itself may be a symbolic link (the owner's way to put it on another disk); a link inside could
//! make a run read, replace or delete files that are not its own. Between this check and the use, [`super::durable`] opens
//! without following links. Writes nothing.
//!
//! Some directories have many files, two of them ever more. Where others cannot get into them, their files are not gone through: no one but the
//! owner can have put anything there, and each is opened without following links.

use std::fs::{self, DirEntry, Metadata};
use std::io::ErrorKind::NotFound;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, Uid, access};

use super::durable;
use crate::error::{Error, ErrorKind, Result};

/// Group and others may write.
const WRITABLE: u32 = 0o022;
/// Group or others may pass: they can reach what is inside.
const PASSABLE: u32 = 0o011;
/// The config key that names the state directory.
const KEY: &str = "state.dir";

/// What has a file for each hour, for each day, or for each run.
const GROWING: [&str; 3] = ["hashes", "ledger", "runs"];

/// Refuses the state directory `dir` where a run could not use it, or others could change what is in it. It need not exist yet.
pub(crate) fn check(dir: &Path) -> Result<()> {
    check_writable(dir, KEY)?;
    if !dir.exists() {
        return Ok(());
    }
    let meta = fs::metadata(dir).map_err(|e| Error::disk("look at", dir, e))?;
    let me = Uid::effective();
    if mode(&meta) & WRITABLE != 0 {
        return Err(refused(format!("the state directory {} can be written by others", dir.display())).hint(way_out(
            dir,
            me,
            meta.uid(),
        )));
    }
    if !is_ours(me, meta.uid()) {
        return Err(refused(format!("the state directory {} belongs to another user", dir.display()))
            .hint(format!("run as that user, or choose another folder with {KEY}")));
    }
    let reached = mode(&meta) & PASSABLE != 0;
    for entry in fs::read_dir(dir).map_err(|e| Error::disk("list", dir, e))? {
        let entry = entry.map_err(|e| Error::disk("list", dir, e))?;
        if !is_closed(&entry, me) {
            check_entry(&entry, reached)?;
        }
    }
    Ok(())
}

/// What this user can do about a directory that others can write. Its mode is its owner's to change: of a volume (Kubernetes' `emptyDir`, or
/// one with an `fsGroup`) that is root, but a folder in it can be this user's own.
fn way_out(dir: &Path, me: Uid, owner: u32) -> String {
    let shown = dir.display();
    if me.is_root() || owner == me.as_raw() {
        return format!("chmod 700 {shown}");
    }
    format!("name a folder in it, which is made and is then this user's own: {KEY} = \"{}\"", dir.join("etl").display())
}

/// Whether an entry of the state directory is one that grows, and that nobody but its owner gets into.
fn is_closed(entry: &DirEntry, me: Uid) -> bool {
    let grows = GROWING.iter().any(|name| entry.file_name() == *name);
    let is_closed = |meta: Metadata| meta.is_dir() && meta.uid() == me.as_raw() && mode(&meta) & 0o077 == 0;
    grows && entry.metadata().is_ok_and(is_closed)
}

/// Whether a directory of `owner` is safe for the user `me`. Root can change any file anyway, as owner or not.
fn is_ours(me: Uid, owner: u32) -> bool {
    me.is_root() || owner == 0 || owner == me.as_raw()
}

/// The same for a run, which makes the directory where it does not exist.
pub(crate) fn make(dir: &Path) -> Result<()> {
    if !dir.is_dir() {
        check_writable(dir, KEY)?;
        durable::make_dir(dir)?;
    }
    check(dir)
}

/// Refuses a folder in which this user cannot write, or that cannot be made; the config key `key` names it.
pub(crate) fn check_writable(dir: &Path, key: &str) -> Result<()> {
    let there = nearest(dir);
    if !there.is_dir() {
        return Err(refused(format!("{} is not a directory", there.display()))
            .hint(format!("move it away, or choose another folder with {key}")));
    }
    access(&there, AccessFlags::W_OK | AccessFlags::X_OK).map_err(|e| {
        Error::disk("write into", &there, e.into())
            .hint(format!("give this user the folder, or choose another with {key}"))
    })
}

/// `path`, or the nearest entry above it that exists.
pub(super) fn nearest(path: &Path) -> PathBuf {
    let here = |path: &Path| if path.as_os_str().is_empty() { Path::new(".").to_owned() } else { path.to_owned() };
    let mut above = path.ancestors().map(here);
    above.find(|path| path.is_symlink() || path.exists()).unwrap_or_else(|| PathBuf::from("/"))
}

/// Checks all entries below a directory. `reached`: others get as far as here. What a run deletes meanwhile is skipped.
fn check_below(dir: &Path, reached: bool) -> Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == NotFound => return Ok(()),
        entries => entries.map_err(|e| Error::disk("list", dir, e))?,
    };
    for entry in entries {
        check_entry(&entry.map_err(|e| Error::disk("list", dir, e))?, reached)?;
    }
    Ok(())
}

fn check_entry(entry: &DirEntry, reached: bool) -> Result<()> {
    let path = entry.path();
    let kind = match entry.file_type() {
        Err(e) if e.kind() == NotFound => return Ok(()),
        kind => kind.map_err(|e| Error::disk("look at", &path, e))?,
    };
    if kind.is_symlink() {
        return Err(refused(format!("{} is a symbolic link, which is not followed", path.display()))
            .hint("put what it leads to in its place; the state directory itself may be a link"));
    }
    if !reached {
        return if kind.is_dir() { check_below(&path, false) } else { Ok(()) };
    }
    let Ok(meta) = entry.metadata() else { return Ok(()) };
    if mode(&meta) & WRITABLE != 0 {
        return Err(refused(format!("{} can be written by others", path.display()))
            .hint(format!("chmod go-w {}, or chmod 700 the state directory", path.display())));
    }
    if kind.is_dir() { check_below(&path, mode(&meta) & PASSABLE != 0) } else { Ok(()) }
}

fn mode(meta: &Metadata) -> u32 {
    meta.permissions().mode()
}

fn refused(what: String) -> Error {
    Error::new(ErrorKind::State, what)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::*;

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// A state directory of that mode, with a file two levels down.
    fn tree(mode: u32) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("wal/1")).unwrap();
        let file = dir.path().join("wal/1/db");
        fs::write(&file, "x").unwrap();
        chmod(dir.path(), mode);
        (dir, file)
    }

    #[test]
    fn directory_that_others_can_write_is_refused_and_one_that_they_can_read_is_not() {
        for (mode, accepted) in
            [(0o700, true), (0o755, true), (0o750, true), (0o770, false), (0o702, false), (0o1777, false)]
        {
            let (dir, _) = tree(mode);
            assert_eq!(check(dir.path()).is_ok(), accepted, "{mode:o}");
        }
    }

    #[test]
    fn entry_that_others_can_write_is_refused_where_they_can_reach_it() {
        for (top, middle, refused) in [(0o755, 0o755, true), (0o700, 0o755, false), (0o755, 0o700, false)] {
            let (dir, file) = tree(top);
            chmod(&dir.path().join("wal"), middle);
            chmod(&file, 0o666);
            let found = check(dir.path());
            assert_eq!(found.is_err(), refused, "{top:o} {middle:o}: {found:?}");
            chmod(&file, 0o644);
            assert!(check(dir.path()).is_ok());
        }
    }

    #[test]
    fn files_of_a_growing_directory_are_gone_through_only_where_others_get_into_it() {
        for name in GROWING {
            let (dir, _) = tree(0o755);
            let grown = dir.path().join(name);
            fs::create_dir(&grown).unwrap();
            symlink("nowhere", grown.join("2023-03-10T01.1")).unwrap();
            for (mode, refused) in [(0o700, false), (0o710, true), (0o701, true), (0o755, true), (0o777, true)] {
                chmod(&grown, mode);
                assert_eq!(check(dir.path()).is_err(), refused, "{name} {mode:o}");
            }
        }
    }

    #[test]
    fn link_inside_is_refused_at_any_depth_and_the_directory_itself_may_be_one() {
        let (dir, file) = tree(0o700);
        let outside = tempfile::tempdir().unwrap();
        let link = outside.path().join("state");
        symlink(dir.path(), &link).unwrap();
        assert!(check(&link).is_ok());
        for place in [dir.path().join("journal"), file.with_file_name("conf")] {
            symlink(outside.path().join("nowhere"), &place).unwrap();
            let error = check(dir.path()).unwrap_err();
            assert!(error.to_string().contains(place.to_str().unwrap()), "{error}");
            fs::remove_file(&place).unwrap();
        }
        chmod(dir.path(), 0o777);
        assert!(check(&link).is_err(), "the mode is that of what it leads to");
    }

    #[test]
    fn directory_that_does_not_exist_is_judged_by_the_nearest_above_it_and_not_made() {
        let dir = tempfile::tempdir().unwrap();
        check(&dir.path().join("a/b")).unwrap();
        assert!(!dir.path().join("a").exists());
        check(Path::new("no-such-directory")).unwrap();
        assert_eq!(nearest(Path::new("no-such-directory")), Path::new("."));
        fs::write(dir.path().join("file"), "").unwrap();
        symlink("nowhere", dir.path().join("link")).unwrap();
        for name in ["file", "file/state", "link"] {
            let error = check(&dir.path().join(name)).unwrap_err();
            assert!(error.to_string().contains("is not a directory"), "{name}: {error}");
            assert_eq!(make(&dir.path().join(name)).unwrap_err().to_string(), error.to_string());
        }
    }

    #[test]
    fn way_out_of_a_volume_is_one_that_its_user_can_take() {
        let hint = |me, owner| way_out(Path::new("/state"), Uid::from_raw(me), owner);
        assert_eq!((hint(7, 7), hint(0, 7)), ("chmod 700 /state".to_owned(), "chmod 700 /state".to_owned()));
        assert!(hint(7, 0).ends_with("state.dir = \"/state/etl\""), "{}", hint(7, 0));
    }

    #[test]
    fn directory_of_root_is_accepted_and_one_of_another_user_is_not() {
        let (dir, _) = tree(0o755);
        let meta = fs::metadata(dir.path()).unwrap();
        for (me, owner, accepted) in [(7, 7, true), (7, 0, true), (7, 8, false), (0, 8, true)] {
            assert_eq!(is_ours(Uid::from_raw(me), owner), accepted, "{me} {owner}");
        }
        assert!(is_ours(Uid::effective(), meta.uid()));
    }
}
