//! Who can reach a state directory: only its owner may write there, and nothing in it leads elsewhere.
//!
//! Looked at whenever it is opened for a run, before anything in it is read. The directory itself may be a symbolic
//! link (the owner's way to put it on another disk); a link inside could make a run read, replace or delete what is
//! not its own. Between this look and the use, [`super::durable`] opens without following links. Keeps nothing.

use std::fs::{self, DirEntry, Metadata};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use nix::unistd::Uid;

use crate::error::{Error, ErrorKind, Result};

/// Group and others may write.
const WRITABLE: u32 = 0o022;
/// Group or others may pass: what is inside can be reached by them.
const PASSABLE: u32 = 0o011;

/// Refuses the state directory `dir` where others can change what is in it.
///
/// # Errors
/// `State`, naming the path and what to do.
pub(crate) fn check(dir: &Path) -> Result<()> {
    let meta = fs::metadata(dir).map_err(|e| Error::disk("look at", dir, e))?;
    if mode(&meta) & WRITABLE != 0 {
        return Err(refused(format!("the state directory {} can be written by others", dir.display()))
            .hint(format!("chmod 700 {}", dir.display())));
    }
    let me = Uid::effective();
    if !me.is_root() && ![me.as_raw(), 0].contains(&meta.uid()) {
        return Err(refused(format!("the state directory {} belongs to another user", dir.display()))
            .hint("run as that user, or choose another folder with state.dir"));
    }
    check_below(dir, mode(&meta) & PASSABLE != 0)
}

/// The entries of a directory, and those below them. `reached`: others get as far as here.
fn check_below(dir: &Path, reached: bool) -> Result<()> {
    for entry in fs::read_dir(dir).map_err(|e| Error::disk("list", dir, e))? {
        check_entry(&entry.map_err(|e| Error::disk("list", dir, e))?, reached)?;
    }
    Ok(())
}

fn check_entry(entry: &DirEntry, reached: bool) -> Result<()> {
    let path = entry.path();
    let kind = entry.file_type().map_err(|e| Error::disk("look at", &path, e))?;
    if kind.is_symlink() {
        return Err(refused(format!("{} is a symbolic link, which is not followed", path.display()))
            .hint("put what it leads to in its place; the state directory itself may be a link"));
    }
    if !reached {
        return if kind.is_dir() { check_below(&path, false) } else { Ok(()) };
    }
    // What went away meanwhile is nobody's any more.
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
}
