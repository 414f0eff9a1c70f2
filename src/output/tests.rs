//! Tests of outputs: what stands under a name decides what is done, and nothing of others is changed. They own temporary folders only.

use std::ffi::OsStr;
use std::os::unix::fs::{lchown, symlink};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::stat::Mode;
use nix::unistd::{Uid, mkfifo};

use super::*;
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn names(dir: &Path) -> usize {
    fs::read_dir(dir).unwrap().count()
}

fn fifo(dir: &Path) -> PathBuf {
    let path = dir.join("fifo");
    mkfifo(&path, Mode::S_IRWXU).unwrap();
    path
}

#[test]
fn file_is_replaced_as_a_whole_and_keeps_its_permissions() {
    let dir = tempfile::tempdir().unwrap();
    let (new, old) = (dir.path().join("new"), dir.path().join("old"));
    fs::write(&old, "old and longer").unwrap();
    chmod(&old, 0o640);
    for path in [&new, &old] {
        replace(path, b"new", Form::PUBLIC).unwrap();
        assert_eq!(fs::read(path).unwrap(), b"new");
    }
    assert_eq!((mode(&new) | 0o044, mode(&old)), (0o644, 0o640));
    assert_eq!(names(dir.path()), 2, "nothing is left beside it");
}

#[test]
fn other_name_of_the_old_file_keeps_what_it_had() {
    let dir = tempfile::tempdir().unwrap();
    let (path, other) = (dir.path().join("a"), dir.path().join("b"));
    fs::write(&other, "theirs").unwrap();
    fs::hard_link(&other, &path).unwrap();
    replace(&path, b"ours", Form::PUBLIC).unwrap();
    assert_eq!(fs::read(&other).unwrap(), b"theirs");
}

#[test]
fn link_of_the_operator_stays_and_its_target_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, target) = (dir.path().join("www"), dir.path().join("real/page"));
    fs::create_dir(&folder).unwrap();
    fs::create_dir(dir.path().join("real")).unwrap();
    symlink("../real/page", folder.join("one")).unwrap();
    symlink("one", folder.join("two")).unwrap();
    for text in ["not there before", "there before"] {
        replace(&folder.join("two"), text.as_bytes(), Form::PUBLIC).unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), text);
    }
    assert!(folder.join("two").is_symlink() && folder.join("one").is_symlink() && !target.is_symlink());
    assert_eq!((names(&folder), names(&dir.path().join("real"))), (2, 1));
    symlink("circle", folder.join("circle")).unwrap();
    let error = replace(&folder.join("circle"), b"x", Form::PUBLIC).unwrap_err();
    assert!(error.chain().contains("circle of links"), "{}", error.chain());
}

#[test]
fn link_that_others_could_have_made_is_not_followed() {
    if !Uid::effective().is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (victim, link) = (dir.path().join("victim"), dir.path().join("www/page"));
    fs::write(&victim, "theirs").unwrap();
    fs::create_dir(link.parent().unwrap()).unwrap();
    symlink(&victim, &link).unwrap();
    let folder = link.parent().unwrap();
    // Of the folder its mode and its owner, of the link its owner.
    for (mode, owner, maker, followed) in [
        (0o777, 0, 12345, false),
        (0o1777, 0, 12345, false),
        (0o775, 0, 12345, false),
        (0o755, 12345, 12345, false),
        (0o755, 0, 12345, true),
        (0o1777, 0, 0, true),
        (0o755, 12345, 0, true),
    ] {
        chmod(folder, mode);
        std::os::unix::fs::chown(folder, Some(owner), None).unwrap();
        lchown(&link, Some(maker), None).unwrap();
        fs::write(&victim, "theirs").unwrap();
        let replaced = replace(&link, b"ours", Form::PUBLIC);
        let case = format!("{mode:o} {owner} {maker}");
        assert_eq!(replaced.is_ok(), followed, "{case}: {replaced:?}");
        assert_eq!(fs::read_to_string(&victim).unwrap() == "ours", followed, "{case}");
        assert!(followed || replaced.unwrap_err().chain().contains("another user (uid 12345)"));
        assert!(link.is_symlink() && names(folder) == 1, "{case}");
    }
}

#[test]
fn file_of_another_user_is_given_back_to_him_but_in_a_folder_of_many() {
    if !Uid::effective().is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("page");
    for (folder, kept) in [(0o755, true), (0o1777, false)] {
        chmod(dir.path(), folder);
        fs::write(&path, "old").unwrap();
        std::os::unix::fs::chown(&path, Some(12345), Some(12345)).unwrap();
        chmod(&path, 0o4640);
        replace(&path, b"new", Form::PUBLIC).unwrap();
        let meta = fs::metadata(&path).unwrap();
        assert_eq!((meta.uid() == 12345, meta.gid() == 12345, meta.mode() & 0o7777), (kept, kept, 0o640));
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn what_is_no_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("socket");
    let _listening = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for (path, kind, what) in [
        (dir.path(), ErrorKind::Usage, "is a directory"),
        (Path::new("/"), ErrorKind::Usage, "names no file"),
        (&socket, ErrorKind::Usage, "is a socket"),
        (&dir.path().join("no/such/page"), ErrorKind::State, "no/such/page"),
    ] {
        let error = replace(path, b"x", Form::PUBLIC).unwrap_err();
        assert!(error.chain().contains(what), "{}", error.chain());
        assert_eq!(error.kind(), kind, "{}", error.chain());
    }
    assert_eq!(names(dir.path()), 1);
}

#[test]
fn file_that_is_there_stays_where_that_is_wished_for() {
    let dir = tempfile::tempdir().unwrap();
    let (path, form) = (dir.path().join("tokens"), Form::PRIVATE.refusing(ErrorKind::State));
    let begun = Output::open(&path, form).unwrap();
    fs::write(&path, "theirs, a moment later").unwrap();
    for refused in [begun.finish(), replace(&path, b"ours", form)] {
        assert!(refused.unwrap_err().chain().contains("is there already"));
    }
    assert_eq!(fs::read(&path).unwrap(), b"theirs, a moment later");
    replace(Path::new("/dev/null"), b"ours", form).unwrap();
    replace(&dir.path().join("new"), b"ours", form).unwrap();
    assert_eq!(mode(&dir.path().join("new")), 0o600);
}

#[test]
fn device_stays_one() {
    replace(Path::new("/dev/null"), b"x", Form::PUBLIC).unwrap();
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
    let error = replace(Path::new("/dev/full"), b"x", Form::PUBLIC).unwrap_err();
    assert!(error.is_disk_full(), "{}", error.chain());
}

#[test]
fn pipe_gets_all_of_it_and_stays_one() {
    let dir = tempfile::tempdir().unwrap();
    let (path, page) = (fifo(dir.path()), vec![b'x'; 1 << 20]);
    let reading = {
        let path = path.clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            fs::read(path).unwrap()
        })
    };
    replace(&path, &page, Form::PUBLIC).unwrap();
    assert_eq!(reading.join().unwrap(), page);
    assert_eq!(names(dir.path()), 1);
    // It is no file whose content could be carried over, and reading it would wait for ever.
    assert_eq!(before(&path), "");
}

#[test]
fn pipe_is_waited_for_as_long_as_the_run_may_take() {
    let dir = tempfile::tempdir().unwrap();
    let path = fifo(dir.path());
    let ends = |limit| Stop::with_deadline(Some(Instant::now() + limit));
    let started = Instant::now();
    let error = replace_until(&path, b"x", Form::PUBLIC, &ends(Duration::from_millis(100))).unwrap_err();
    assert!(error.chain().contains("a pipe that nobody reads"), "{}", error.chain());
    assert!(started.elapsed() < Duration::from_secs(2));
    let error = replace_until(&path, b"x", Form::PUBLIC, &Stop::new()).unwrap_err();
    assert!(error.chain().contains("a pipe that nobody reads"), "{}", error.chain());
    assert!(started.elapsed() < Duration::from_secs(9));

    // A reader that does not read.
    let held = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let started = Instant::now();
    let stop = ends(Duration::from_millis(100));
    let error = replace_until(&path, &vec![b'x'; 1 << 20], Form::PUBLIC, &stop).unwrap_err();
    assert!(error.chain().contains("takes nothing"), "{}", error.chain());
    assert!(started.elapsed() < Duration::from_secs(2));
    drop(held);
}

#[test]
fn reader_that_goes_away_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    let path = fifo(dir.path());
    let reading = {
        let path = path.clone();
        std::thread::spawn(move || File::open(path).unwrap().read_exact(&mut [0; 10]).unwrap())
    };
    replace(&path, &vec![b'x'; 1 << 20], Form::PUBLIC).unwrap();
    reading.join().unwrap();
}

#[test]
fn draft_of_a_crash_is_known_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let begun = Output::open(&dir.path().join("page"), Form::PUBLIC).unwrap();
    let entry = fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
    assert!(is_draft(&entry) && !is_draft(&dir.path().join("page")));
    assert_ne!(entry.extension(), Some(OsStr::new("prom")), "no collector reads it");
    drop(begun);
    assert_eq!(names(dir.path()), 0);
}

#[test]
fn name_is_settled_at_the_end_and_only_in_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    let (outside, other) = (tempfile::tempdir().unwrap(), dir.path().join("other"));
    let write = || {
        let mut output = Output::open(&dir.path().join("one"), Form::PUBLIC).unwrap();
        output.write_all(b"text").unwrap();
        output
    };
    write().finish_as(&other).unwrap();
    assert_eq!(fs::read(&other).unwrap(), b"text");
    fs::remove_file(&other).unwrap();
    symlink(outside.path().join("theirs"), &other).unwrap();
    assert!(write().finish_as(&other).unwrap_err().chain().contains("other"));
    assert_eq!((names(outside.path()), names(dir.path())), (0, 1));
}

#[test]
fn file_that_grows_has_its_name_from_the_start_and_leaves_the_old_one_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (path, other) = (dir.path().join("truth"), dir.path().join("other"));
    fs::write(&other, "old").unwrap();
    fs::hard_link(&other, &path).unwrap();
    let mut begun = begin(&path, Form::PUBLIC).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"");
    begun.write_all(b"a line\n").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"a line\n");
    assert_eq!(fs::read(&other).unwrap(), b"old");
}
