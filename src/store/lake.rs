//! The `file:` destination: a directory (the *lake*) that keeps what an object store keeps.
//!
//! Owns `<lake>/<key>` and `<lake>/.etl-tmp/`. Invariant: a file appears under its key whole, durable and at once, or not
//! at all, and is never replaced: it is written in `.etl-tmp/`, fsynced, then named without replacing (`renameat2` with
//! `RENAME_NOREPLACE`, or a hard link where the file system cannot do that), and its directories are fsynced.
//!
//! | crash after | in the lake | the next run |
//! |---|---|---|
//! | writing | a stray file in `.etl-tmp/` | writes it again; strays older than a day are removed |
//! | naming | the object, perhaps not yet durable | meets it, and fsyncs the directories before it says `Exists` |
//!
//! A day, because another process or machine may be writing there; the age is taken against a file that was written just
//! now, so that it is the file system's own clock on both sides.
//!
//! A file has no user metadata. A look computes it from the content: digests and rows; `hour` and `dict` stay empty.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind as Io, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use tempfile::NamedTempFile;

use super::{LARGEST, ObjectInfo, ObjectStore, PartMeta, PutAnswer};
use crate::digest::Hasher;
use crate::error::{Error, ErrorKind, Result};

const TMP: &str = ".etl-tmp";
const TMP_PREFIX: &str = "part-";
const STRAY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// A directory as an object store. Nothing is created or read before the first call.
#[derive(Debug)]
pub struct FileStore {
    root: PathBuf,
    place: String,
    /// Directories whose own entry in their parent is durable.
    durable: Mutex<HashSet<PathBuf>>,
    swept: Once,
}

impl FileStore {
    /// The lake at `root`, which is created when the first object is.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        let place = root.display().to_string();
        Self { root, place, durable: Mutex::default(), swept: Once::new() }
    }

    fn path(&self, key: &str) -> Result<PathBuf> {
        let relative = Path::new(key);
        let plain = relative.components().all(|c| matches!(c, Component::Normal(_)));
        // Compared again as text: `a//b`, `a/./b` and `a/` are other keys, but would be the same file.
        let same = relative.components().collect::<PathBuf>().as_os_str() == key;
        if key.is_empty() || !plain || !same || relative.starts_with(TMP) {
            return Err(Error::new(ErrorKind::Bug, format!("{key:?} cannot be a file below {}", self.place)));
        }
        Ok(self.root.join(relative))
    }

    /// Makes sure that `dir` exists, and that its name survives a power cut, and its parents'.
    fn ensure_dir(&self, dir: &Path) -> Result<()> {
        if self.durable.lock().unwrap_or_else(PoisonError::into_inner).contains(dir) {
            return Ok(());
        }
        let existed = dir.is_dir();
        let parent = dir.parent().map(|parent| if parent == Path::new("") { Path::new(".") } else { parent });
        if let Some(parent) = parent {
            // Above the lake, only what is missing concerns us.
            if dir.starts_with(&self.root) && dir != self.root || !existed {
                self.ensure_dir(parent)?;
            }
            match fs::create_dir(dir) {
                Err(error) if error.kind() != Io::AlreadyExists => return Err(Error::disk("create", dir, error)),
                _ => sync_parent(parent, existed)?,
            }
        }
        self.durable.lock().unwrap_or_else(PoisonError::into_inner).insert(dir.to_owned());
        Ok(())
    }

    /// A durable copy of `body` in `.etl-tmp/`. It is removed when dropped.
    fn durable_copy(&self, body: &Path) -> Result<NamedTempFile> {
        let dir = self.root.join(TMP);
        self.ensure_dir(&dir)?;
        let mut source = File::open(body).map_err(|error| Error::disk("read", body, error))?;
        let mut builder = tempfile::Builder::new();
        // Less the umask: the lake is for others to read.
        builder.prefix(TMP_PREFIX).permissions(fs::Permissions::from_mode(0o666));
        let mut copy = builder.tempfile_in(&dir).map_err(|error| Error::disk("write in", &dir, error))?;
        std::io::copy(&mut source, copy.as_file_mut()).map_err(|error| Error::disk("write", copy.path(), error))?;
        copy.as_file().sync_all().map_err(|error| Error::disk("flush", copy.path(), error))?;
        self.swept.call_once(|| remove_strays(&dir, copy.path()));
        Ok(copy)
    }
}

impl ObjectStore for FileStore {
    fn place(&self) -> &str {
        &self.place
    }

    fn put_new(&self, key: &str, body: &Path, _: &PartMeta) -> Result<PutAnswer> {
        let path = self.path(key)?;
        let dir = path.parent().unwrap_or(&self.root);
        self.ensure_dir(dir)?;
        // Asked first only to spare the copy; the answer that counts is the naming's.
        let named = if fs::symlink_metadata(&path).is_ok() {
            PutAnswer::Exists
        } else {
            match self.durable_copy(body)?.persist_noclobber(&path) {
                Ok(_) => PutAnswer::Created { etag: None },
                Err(failed) if failed.error.kind() == Io::AlreadyExists => PutAnswer::Exists,
                Err(failed) => return Err(Error::disk("create", &path, failed.error)),
            }
        };
        // Also for what was there: a crash may have come between its naming and this.
        sync_dir(dir)?;
        Ok(named)
    }

    fn head(&self, key: &str) -> Result<Option<ObjectInfo>> {
        let path = self.path(key)?;
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_file() => look_inside(&path).map(Some),
            Ok(found) => Ok(Some(ObjectInfo { size: found.len(), etag: None, meta: None })),
            Err(error) if error.kind() == Io::NotFound => Ok(None),
            Err(error) => Err(Error::disk("look at", &path, error)),
        }
    }

    fn get(&self, key: &str) -> Result<Vec<u8>> {
        let path = self.path(key)?;
        let mismatch = |what: &str| Error::new(ErrorKind::Mismatch, format!("{} {what}", path.display()));
        let failed = |error: std::io::Error| match error.kind() {
            Io::NotFound => mismatch("is not there"),
            _ => Error::disk("read", &path, error),
        };
        let mut file = File::open(&path).map_err(failed)?;
        if file.metadata().map_err(failed)?.len() > LARGEST {
            return Err(mismatch("is larger than any part"));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed)?;
        Ok(bytes)
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        let (folder, _) = prefix.rsplit_once('/').unwrap_or_default();
        let dir = if folder.is_empty() { self.root.clone() } else { self.path(folder)? };
        let below = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        walk(&dir, &below, prefix, each)
    }

    fn create_only_is_certain(&self) -> bool {
        true
    }

    fn keeps_metadata(&self) -> bool {
        false
    }
}

/// Every file below `dir` whose key starts with `prefix`, in the byte order of the keys; one directory's names in memory
/// at a time for each level. Links are named, not followed.
fn walk(dir: &Path, below: &str, prefix: &str, each: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
    let unreadable = |error| Error::disk("list", dir, error);
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == Io::NotFound => return Ok(()),
        entries => entries.map_err(unreadable)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(unreadable)?;
        let is_dir = entry.file_type().map_err(unreadable)?.is_dir();
        let key = format!("{below}{}{}", entry.file_name().to_string_lossy(), if is_dir { "/" } else { "" });
        let wanted = key.starts_with(prefix) || (is_dir && prefix.starts_with(&key));
        if wanted && !key.starts_with(TMP) {
            names.push((key, entry.file_name()));
        }
    }
    names.sort_unstable();
    for (key, name) in names {
        let path = dir.join(name);
        if key.ends_with('/') {
            walk(&path, &key, prefix, each)?;
        } else {
            let size = fs::symlink_metadata(&path).map_err(|error| Error::disk("look at", &path, error))?.len();
            each(&key, size)?;
        }
    }
    Ok(())
}

fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| Error::disk("flush", dir, error))
}

fn sync_parent(parent: &Path, child_existed: bool) -> Result<()> {
    match sync_dir(parent) {
        // A directory that we may not read, and that others made the lake in.
        Err(error) if child_existed && is_forbidden(&error) => Ok(()),
        done => done,
    }
}

fn is_forbidden(error: &Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<std::io::Error>());
    cause.is_some_and(|cause| cause.kind() == Io::PermissionDenied)
}

/// Removes what dead runs left in `dir`. Best effort: a stray costs space, nothing else.
fn remove_strays(dir: &Path, just_written: &Path) {
    let modified = |path: &Path| fs::symlink_metadata(path).and_then(|meta| meta.modified());
    let Ok(now) = modified(just_written) else { return };
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(TMP_PREFIX);
        let old = modified(&entry.path()).is_ok_and(|then| now.duration_since(then).is_ok_and(|age| age > STRAY_AFTER));
        if ours && old {
            // Another run may have removed it already.
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn look_inside(path: &Path) -> Result<ObjectInfo> {
    let unreadable = |error| Error::disk("read", path, error);
    let mut file = File::open(path).map_err(unreadable)?;
    let mut bytes = Digested::new(&mut file);
    let content = digest_content(&mut bytes);
    // What the decoder left unread, so that the digest is of the whole file.
    std::io::copy(&mut bytes, &mut std::io::sink()).map_err(unreadable)?;
    if let Some(failed) = bytes.failed {
        // Not what the decoder made of it: a failed read says nothing about the content.
        return Err(unreadable(failed.into()));
    }
    let size = bytes.size;
    let sha256 = bytes.sha256.finish().to_string();
    let of_part =
        |(content_sha256, rows)| PartMeta { sha256, content_sha256, rows, hour: String::new(), dict: String::new() };
    Ok(ObjectInfo { size, etag: None, meta: content.map(of_part) })
}

/// Digest and lines of what gunzips. `None` for what does not.
fn digest_content(bytes: &mut impl Read) -> Option<(String, u64)> {
    let mut content = BufReader::with_capacity(1 << 16, MultiGzDecoder::new(bytes));
    let (mut sha256, mut rows) = (Hasher::default(), 0_u64);
    loop {
        let chunk = content.fill_buf().ok()?;
        if chunk.is_empty() {
            return Some((sha256.finish().to_string(), rows));
        }
        sha256.update(chunk);
        let lines = chunk.iter().filter(|byte| **byte == b'\n').count();
        rows += u64::try_from(lines).ok()?;
        let read = chunk.len();
        content.consume(read);
    }
}

/// A reader that digests and counts what passes, and remembers a failure.
struct Digested<R> {
    inner: R,
    sha256: Hasher,
    size: u64,
    failed: Option<Io>,
}

impl<R> Digested<R> {
    fn new(inner: R) -> Self {
        Self { inner, sha256: Hasher::default(), size: 0, failed: None }
    }
}

impl<R: Read> Read for Digested<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer).inspect_err(|error| {
            if error.kind() != Io::Interrupted {
                self.failed = Some(error.kind());
            }
        })?;
        if let Some(chunk) = buffer.get(..read) {
            self.sha256.update(chunk);
            self.size = self.size.saturating_add(chunk.len().try_into().unwrap_or(u64::MAX));
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Barrier;

    use super::*;
    use crate::digest::Sha256;

    const KEY: &str = "data/2023_y/03_m/10_d/01_h/part-00000.ndjson.gz";

    struct Lake {
        dir: tempfile::TempDir,
        store: FileStore,
    }

    impl Lake {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let store = FileStore::new(dir.path().join("deep/lake"));
            Self { dir, store }
        }

        fn body(&self, bytes: &[u8]) -> PathBuf {
            let path = self.dir.path().join(format!("body-{}", Sha256::of(bytes)));
            fs::write(&path, bytes).unwrap();
            path
        }

        fn put(&self, key: &str, bytes: &[u8]) -> PutAnswer {
            self.store.put_new(key, &self.body(bytes), &nobody()).unwrap()
        }

        fn strays(&self) -> usize {
            fs::read_dir(self.store.root.join(TMP)).map_or(0, Iterator::count)
        }
    }

    fn nobody() -> PartMeta {
        let empty = String::new;
        PartMeta { sha256: empty(), content_sha256: empty(), rows: 0, hour: empty(), dict: empty() }
    }

    fn gz(text: &str) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn first_put_creates_and_the_second_changes_nothing() {
        let lake = Lake::new();
        assert!(matches!(lake.put(KEY, b"one"), PutAnswer::Created { etag: None }));
        assert!(matches!(lake.put(KEY, b"two"), PutAnswer::Exists));
        assert_eq!(lake.store.get(KEY).unwrap(), b"one");
        assert_eq!(lake.strays(), 0);
    }

    #[test]
    fn file_larger_than_any_part_is_no_object_to_read() {
        let lake = Lake::new();
        lake.put(KEY, b"one");
        // A file with a hole: it takes no room.
        File::options().write(true).open(lake.store.root.join(KEY)).unwrap().set_len(LARGEST + 1).unwrap();
        let error = lake.store.get(KEY).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Mismatch);
        assert!(error.to_string().contains("larger than any part"), "{error}");
    }

    #[test]
    fn object_is_for_others_to_read() {
        let lake = Lake::new();
        lake.put(KEY, b"one");
        let mode = fs::metadata(lake.store.root.join(KEY)).unwrap().permissions().mode();
        let private = tempfile::NamedTempFile::new().unwrap();
        assert_ne!(mode, fs::metadata(private.path()).unwrap().permissions().mode());
        assert_eq!(mode & 0o111, 0);
    }

    #[test]
    fn of_many_racing_puts_exactly_one_creates() {
        let lake = Lake::new();
        let bodies: Vec<_> = (0..8_u8).map(|n| lake.body(&[n; 5000])).collect();
        let (barrier, store) = (&Barrier::new(8), &lake.store);
        let answers: Vec<_> = std::thread::scope(|scope| {
            let put = |body| {
                move || {
                    barrier.wait();
                    store.put_new(KEY, body, &nobody()).unwrap()
                }
            };
            let threads: Vec<_> = bodies.iter().map(|body| scope.spawn(put(body))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let created = answers.iter().filter(|answer| matches!(answer, PutAnswer::Created { .. })).count();
        assert_eq!(created, 1, "{answers:?}");
        let there = store.get(KEY).unwrap();
        assert!(there.len() == 5000 && there.iter().all(|byte| *byte == there[0]));
    }

    #[test]
    fn look_computes_what_identifies_a_part() {
        let lake = Lake::new();
        let bytes = gz("{\"a\":1}\n{\"a\":2}\n");
        lake.put(KEY, &bytes);
        let found = lake.store.head(KEY).unwrap().unwrap();
        let meta = found.meta.unwrap();
        assert_eq!(found.size, u64::try_from(bytes.len()).unwrap());
        assert_eq!(meta.sha256, Sha256::of(&bytes).to_string());
        assert_eq!(meta.content_sha256, Sha256::of("{\"a\":1}\n{\"a\":2}\n").to_string());
        assert_eq!((meta.rows, meta.hour.as_str(), meta.dict.as_str()), (2, "", ""));
    }

    #[test]
    fn what_is_no_part_is_there_without_identity() {
        let lake = Lake::new();
        let whole = gz("{}\n");
        let mut trailing = whole.clone();
        trailing.extend_from_slice(b"garbage");
        let long = vec![b'x'; 300_000];
        for bytes in [&b""[..], b"no gzip", &long, &whole[..whole.len() - 3], &trailing] {
            let lake = Lake::new();
            lake.put(KEY, bytes);
            let found = lake.store.head(KEY).unwrap().unwrap();
            assert_eq!((found.meta, found.size), (None, u64::try_from(bytes.len()).unwrap()));
        }
        let path = lake.store.root.join(KEY);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink("nowhere", &path).unwrap();
        assert!(matches!(lake.put(KEY, b"one"), PutAnswer::Exists));
        assert_eq!(lake.store.head(KEY).unwrap().unwrap().meta, None);
    }

    #[test]
    fn absent_is_none_to_a_look_and_a_mismatch_to_a_read() {
        let lake = Lake::new();
        assert_eq!(lake.store.head(KEY).unwrap(), None);
        assert_eq!(lake.store.get(KEY).unwrap_err().kind(), ErrorKind::Mismatch);
        lake.store.list("data/", &mut |key, _| panic!("{key}")).unwrap();
        assert!(!lake.store.root.exists(), "looking creates nothing");
    }

    #[test]
    fn unreadable_is_an_error_not_an_absence() {
        let lake = Lake::new();
        lake.put("data/file", b"x");
        assert_eq!(lake.store.head("data/file/below").unwrap_err().kind(), ErrorKind::State);
    }

    #[test]
    fn failed_read_is_remembered_whatever_the_decoder_makes_of_it() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                Err(Io::TimedOut.into())
            }
        }
        let whole = std::io::Cursor::new(gz("{}\n"));
        let mut bytes = Digested::new(whole.take(15).chain(Broken));
        assert_eq!(digest_content(&mut bytes), None);
        assert_eq!(bytes.failed, Some(Io::TimedOut));
    }

    #[test]
    fn keys_cannot_leave_the_lake() {
        let lake = Lake::new();
        for key in ["", "/etc/passwd", "../x", "data/../../x", "data//x", "data/./x", "data/x/", ".etl-tmp/x", "."] {
            assert_eq!(lake.store.head(key).unwrap_err().kind(), ErrorKind::Bug, "{key}");
        }
    }

    #[test]
    fn list_is_in_key_order_and_below_the_prefix_only() {
        let lake = Lake::new();
        for key in ["data/b/1", "data/a-/1", "data/a/2", "data/a", "data2/x", "other"] {
            if key != "data/a" {
                lake.put(key, key.as_bytes());
            }
        }
        let listed = |prefix: &str| {
            let mut keys = Vec::new();
            lake.store
                .list(prefix, &mut |key, size| {
                    assert_eq!(usize::try_from(size).unwrap(), key.len());
                    keys.push(key.to_owned());
                    Ok(())
                })
                .unwrap();
            keys
        };
        assert_eq!(listed("data/"), ["data/a-/1", "data/a/2", "data/b/1"]);
        assert_eq!(listed("data/a"), ["data/a-/1", "data/a/2"]);
        assert_eq!(listed(""), ["data/a-/1", "data/a/2", "data/b/1", "data2/x", "other"]);
        assert!(listed("nothing/").is_empty());
    }

    #[test]
    fn list_stops_at_the_first_error_of_its_caller() {
        let lake = Lake::new();
        lake.put("data/1", b"");
        lake.put("data/2", b"");
        let mut seen = 0;
        let stop = lake.store.list("data/", &mut |_, _| {
            seen += 1;
            Err(Error::new(ErrorKind::Mismatch, "stop"))
        });
        assert_eq!((stop.unwrap_err().kind(), seen), (ErrorKind::Mismatch, 1));
    }

    #[test]
    fn only_strays_of_ours_older_than_a_day_are_removed() {
        let lake = Lake::new();
        let tmp = lake.store.root.join(TMP);
        fs::create_dir_all(&tmp).unwrap();
        let old = std::time::SystemTime::now() - STRAY_AFTER * 2;
        for (name, aged) in [("part-old", true), ("part-new", false), ("note", true)] {
            let file = File::create(tmp.join(name)).unwrap();
            if aged {
                file.set_modified(old).unwrap();
            }
        }
        lake.put(KEY, b"x");
        let left = |name: &str| tmp.join(name).exists();
        assert_eq!((left("part-old"), left("part-new"), left("note")), (false, true, true));
    }

    #[test]
    fn unwritable_lake_is_a_state_error_that_names_it() {
        let lake = Lake::new();
        fs::write(lake.dir.path().join("deep"), b"in the way").unwrap();
        let error = lake.store.put_new(KEY, &lake.body(b"x"), &nobody()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::State);
        assert!(error.to_string().contains("deep"), "{error}");
    }
}
