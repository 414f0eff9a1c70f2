//! The lake in a temporary directory.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::sync::Barrier;

use super::folders::STRAY_AFTER;
use super::look::Digested;
use super::*;
use crate::digest::Sha256;
use crate::hour::format::Format;
use crate::hour::part::PartIdentity;
use crate::hour::range::HashRange;
use crate::part::codec::content_of;

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
    let identity = PartIdentity { rows: 0, bytes: 0, sha256: empty(), content_sha256: empty() };
    PartMeta { identity, hour: empty(), dict: empty(), range: HashRange::ALL }
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
    assert_eq!(meta.identity.sha256, Sha256::of(&bytes).to_string());
    assert_eq!(meta.identity.content_sha256, Sha256::of("{\"a\":1}\n{\"a\":2}\n").to_string());
    assert_eq!((meta.identity.rows, meta.hour.as_str(), meta.dict.as_str()), (2, "", ""));
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
    assert_eq!(content_of(Format::default(), &mut bytes), None);
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
