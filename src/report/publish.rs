//! Files for others to read: replaced as a whole, so that a web server never hands out half of one.
//!
//! Written beside its place and renamed; unlike the state's files it has the permissions that the umask leaves. A crash leaves a
//! file `.NAME.PID.tmp`, which nothing reads.

use std::fs;
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};

/// Replaces the file at `target` with `bytes`.
///
/// # Errors
/// `State`, naming the path.
pub fn replace(target: &Path, bytes: &[u8]) -> Result<()> {
    let Some(name) = target.file_name() else {
        return Err(Error::new(ErrorKind::Usage, format!("{} names no file", target.display())));
    };
    let temporary = target.with_file_name(format!(".{}.{}.tmp", name.to_string_lossy(), std::process::id()));
    let written = fs::write(&temporary, bytes).map_err(|cause| Error::disk("write", target, cause));
    let placed =
        written.and_then(|()| fs::rename(&temporary, target).map_err(|cause| Error::disk("rename to", target, cause)));
    if placed.is_err() {
        // It may not be there at all.
        let _ = fs::remove_file(&temporary);
    }
    placed
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn file_is_replaced_as_a_whole_and_others_may_read_it_as_the_umask_says() {
        let dir = tempfile::tempdir().unwrap();
        let (target, plain) = (dir.path().join("status.html"), dir.path().join("plain"));
        replace(&target, b"old and longer").unwrap();
        replace(&target, b"new").unwrap();
        fs::write(&plain, b"x").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&target), mode(&plain));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is left beside it");
    }

    #[test]
    fn place_that_cannot_be_written_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = replace(&dir.path().join("no/such/status.html"), b"x").unwrap_err();
        assert!(error.chain().contains("no/such/status.html"), "{}", error.chain());
        assert_eq!(replace(Path::new("/"), b"x").unwrap_err().kind(), ErrorKind::Usage);
    }
}
