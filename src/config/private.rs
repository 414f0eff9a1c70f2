//! Who can read a file with a secret in it, and what its user can do about that.
//!
//! Writes nothing. A user who does not own a file cannot change its mode, nor can anybody where it is mounted read-only: so
//! Kubernetes and Docker hand secrets over, owned by root and readable by a group. What root granted to the group is accepted, and
//! so is what is mounted read-only: who mounts a secret decides who gets it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::Uid;

/// A file that others can read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) mode: u32,
    /// What this user can do about it.
    pub(super) way_out: String,
}

/// Whether others can read a file who should not.
pub(super) fn is_open(path: &Path, meta: &Metadata) -> Option<Open> {
    let mounted_read_only = || statvfs(path).is_ok_and(|system| system.flags().contains(FsFlags::ST_RDONLY));
    let seen = Seen { mode: meta.mode() & 0o7777, owner: meta.uid(), me: Uid::effective().as_raw() };
    seen.judge(path, mounted_read_only)
}

/// What a decision is made of.
struct Seen {
    mode: u32,
    owner: u32,
    me: u32,
}

impl Seen {
    fn judge(&self, path: &Path, mounted_read_only: impl Fn() -> bool) -> Option<Open> {
        let (shown, root) = (path.display(), 0);
        let can_change = self.me == root || self.me == self.owner;
        let granted = self.owner == root && !can_change && self.mode & 0o004 == 0;
        if self.mode & 0o044 == 0 || ((granted || mounted_read_only()) && self.mode & 0o022 == 0) {
            return None;
        }
        let way_out = match (can_change, self.owner == root) {
            (true, _) => format!("chmod 600 {shown}"),
            (false, true) => format!(
                "have root grant it to your group alone (chgrp GROUP {shown}; chmod 640 {shown}), or hand the secret over in the \
                 environment"
            ),
            (false, false) => {
                format!("run as its owner, have him chmod 600 {shown}, or hand the secret over in the environment")
            }
        };
        Some(Open { mode: self.mode, way_out })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(mode: u32, owner: u32, me: u32, read_only: bool) -> Option<String> {
        Seen { mode, owner, me }.judge(Path::new("k"), || read_only).map(|open| open.way_out)
    }

    #[test]
    fn what_another_cannot_change_is_accepted_or_has_a_way_out_that_he_can_follow() {
        for (mode, owner, me, read_only) in
            [(0o600, 7, 7, false), (0o440, 0, 7, false), (0o640, 0, 7, false), (0o444, 0, 7, true), (0o644, 0, 0, true)]
        {
            assert_eq!(judged(mode, owner, me, read_only), None, "{mode:o} {owner} {me}");
        }
        for (mode, owner, me, read_only, says) in [
            (0o640, 7, 7, false, "chmod 600 k"),
            (0o644, 0, 0, false, "chmod 600 k"),
            (0o440, 0, 0, false, "chmod 600 k"),
            (0o444, 0, 7, false, "have root grant it"),
            (0o660, 0, 7, false, "have root grant it"),
            (0o640, 8, 7, false, "run as its owner"),
            (0o666, 7, 7, true, "chmod 600 k"),
        ] {
            let said = judged(mode, owner, me, read_only).unwrap_or_default();
            assert!(said.starts_with(says), "{mode:o} {owner} {me}: {said}");
        }
    }
}
