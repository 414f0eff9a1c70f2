//! The limits that the system sets for this process: open files, file size, quota, inodes. For threads: [`super::threads`].
//!
//! Invariant: reaching a limit is an error of this machine (exit 74) that names the limit and how to raise it, never the silent end
//! by a signal, a panic, or damage.

use std::error::Error as Cause;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nix::libc;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::statvfs::statvfs;

/// Makes a file that reaches its size limit a failed write instead of the end of the process.
pub fn survive_large_files() {
    // Where the system refuses the handler, the signal ends the process, as it does by default.
    let _ = signal_hook::flag::register(libc::SIGXFSZ, Arc::new(AtomicBool::new(false)));
}

/// How to raise the limit that `cause` reports, if it reports one.
#[must_use]
pub fn remedy(cause: &(dyn Cause + 'static)) -> Option<String> {
    std::iter::successors(Some(cause), |cause| (*cause).source()).find_map(|cause| of_system(cause.downcast_ref()?))
}

fn of_system(error: &io::Error) -> Option<String> {
    match error.kind() {
        io::ErrorKind::FileTooLarge => Some(raise("the size of a file", "-f", "LimitFSIZE=", Resource::RLIMIT_FSIZE)),
        io::ErrorKind::QuotaExceeded => {
            Some("the disk quota of this user is used up: free some space of it, or have it raised".to_owned())
        }
        _ => match code(error)? {
            libc::EMFILE => Some(raise("open files", "-n", "LimitNOFILE=", Resource::RLIMIT_NOFILE)),
            libc::ENFILE => Some("the whole system has too many files open: raise fs.file-max".to_owned()),
            _ => None,
        },
    }
}

/// The system's number of an error. Libraries that wrap an error often keep its number in the text only.
fn code(error: &io::Error) -> Option<i32> {
    error.raw_os_error().or_else(|| {
        let text = error.to_string();
        let (_, rest) = text.split_once("os error ").or_else(|| text.split_once("code: "))?;
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest.get(..end)?.parse().ok()
    })
}

fn raise(of: &str, flag: &str, unit: &str, resource: Resource) -> String {
    let limit = getrlimit(resource).map(|(soft, _)| format!(", {soft} here")).unwrap_or_default();
    format!("raise the limit on {of}: `ulimit {flag}`{limit}; {unit} in a systemd unit")
}

/// Whether the disk of `path` has free space but no free inode.
#[must_use]
pub fn is_without_inodes(path: &Path) -> bool {
    let stat = path.ancestors().find_map(|path| statvfs(path).ok());
    stat.is_some_and(|stat| stat.files() > 0 && stat.files_available() == 0 && stat.blocks_available() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_recognized_however_libraries_wrap_them() {
        for (number, expected) in [
            (libc::EMFILE, Some("open files")),
            (libc::ENFILE, Some("fs.file-max")),
            (libc::EFBIG, Some("the size of a file")),
            (libc::EDQUOT, Some("quota")),
            (libc::ENOSPC, None),
            (libc::EIO, None),
        ] {
            let io = || io::Error::from_raw_os_error(number);
            let wrapped: [Box<dyn Cause>; 3] = [
                Box::new(io()),
                Box::new(io::Error::new(io().kind(), format!("{:?}", io()))),
                Box::new(io::Error::new(io().kind(), format!("at path x: {}", io()))),
            ];
            for cause in &wrapped {
                let found = remedy(&**cause);
                assert_eq!(found.is_some(), expected.is_some(), "{cause:?}: {found:?}");
                assert!(expected.is_none_or(|text| found.unwrap().contains(text)), "{cause:?}");
            }
        }
    }
}
