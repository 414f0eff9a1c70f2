//! The seams through which a story acts on the program: a store in memory that fails when told to, a clock, and the
//! moments at which it can be killed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use etl::error::{Error, ErrorKind, Result};
use etl::hour::Clock;
use etl::job::Progress;
use etl::store::{ObjectInfo, ObjectStore, PartMeta, PutAnswer};
use jiff::Timestamp;

use crate::support::state_dir::copy_dir;

/// How the store does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Well,
    /// From this call on it fails: each PUT after it stored, where that is said.
    FailsFrom(usize, bool),
    /// Only this call fails.
    FailsAt(usize, bool),
}

pub type Objects = BTreeMap<String, (Vec<u8>, PartMeta)>;

/// What is left when the process dies.
pub struct Image {
    pub state: tempfile::TempDir,
    pub objects: Objects,
    /// The page was said to be received by then.
    pub received: bool,
}

/// Counts the moments of a run, and takes an image at one of them.
pub struct Moments {
    pub state: PathBuf,
    pub objects: Arc<Mutex<Objects>>,
    pub left: Mutex<Option<usize>>,
    pub received: Mutex<bool>,
    pub image: Mutex<Option<Image>>,
}

impl Moments {
    fn pass(&self) {
        let mut left = self.left.lock().unwrap();
        match *left {
            Some(0) => {
                let state = in_memory();
                if self.state.exists() {
                    copy_dir(&self.state, state.path());
                }
                let objects = self.objects.lock().unwrap().clone();
                let received = *self.received.lock().unwrap();
                *self.image.lock().unwrap() = Some(Image { state, objects, received });
                *left = None;
            }
            Some(n) => *left = Some(n - 1),
            None => {}
        }
    }

    pub fn heard(&self, progress: Progress) {
        if matches!(progress, Progress::Fetched(_)) {
            *self.received.lock().unwrap() = true;
        }
        self.pass();
    }
}

pub fn in_memory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

pub struct ModelClock(pub Mutex<Timestamp>, pub Arc<Moments>);

impl Clock for ModelClock {
    fn now(&self) -> Timestamp {
        self.1.pass();
        *self.0.lock().unwrap()
    }
}

/// A store in memory that honours create-only, and fails when told to.
pub struct ModelStore {
    pub objects: Arc<Mutex<Objects>>,
    pub mood: Mood,
    pub calls: Mutex<usize>,
    pub moments: Arc<Moments>,
}

impl ModelStore {
    /// Whether this call fails, and whether it does its work before.
    fn call(&self) -> Option<bool> {
        self.moments.pass();
        let mut calls = self.calls.lock().unwrap();
        let call = *calls;
        *calls += 1;
        match self.mood {
            Mood::FailsFrom(from, stored) if call >= from => Some(stored),
            Mood::FailsAt(at, stored) if call == at => Some(stored),
            _ => None,
        }
    }
}

/// A kind that is not tried again, so that no test waits.
fn refused() -> Error {
    Error::new(ErrorKind::Credentials, "the store fails").hint("wait")
}

impl ObjectStore for ModelStore {
    fn place(&self) -> &str {
        "model:"
    }

    fn put_new(&self, key: &str, body: &Path, meta: &PartMeta) -> Result<PutAnswer> {
        let fails = self.call();
        if fails == Some(false) {
            return Err(refused());
        }
        let answer = {
            let mut objects = self.objects.lock().unwrap();
            if objects.contains_key(key) {
                PutAnswer::Exists
            } else {
                objects.insert(key.to_owned(), (std::fs::read(body).unwrap(), meta.clone()));
                PutAnswer::Created { etag: Some("etag".to_owned()) }
            }
        };
        self.moments.pass();
        if fails.is_some() { Err(refused()) } else { Ok(answer) }
    }

    fn head(&self, key: &str) -> Result<Option<ObjectInfo>> {
        if self.call().is_some() {
            return Err(refused());
        }
        let objects = self.objects.lock().unwrap();
        let info = |(bytes, meta): &(Vec<u8>, PartMeta)| ObjectInfo {
            size: bytes.len() as u64,
            etag: Some("etag".to_owned()),
            meta: Some(meta.clone()),
        };
        Ok(objects.get(key).map(info))
    }

    fn get(&self, key: &str) -> Result<Vec<u8>> {
        if self.call().is_some() {
            return Err(refused());
        }
        let gone = || Error::new(ErrorKind::Mismatch, format!("{key} is not there"));
        self.objects.lock().unwrap().get(key).map(|(bytes, _)| bytes.clone()).ok_or_else(gone)
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        if self.call().is_some() {
            return Err(refused());
        }
        let listed: Vec<(String, u64)> =
            self.objects.lock().unwrap().iter().map(|(key, (bytes, _))| (key.clone(), bytes.len() as u64)).collect();
        listed.iter().filter(|(key, _)| key.starts_with(prefix)).try_for_each(|(key, size)| each(key, *size))
    }

    fn create_only_is_certain(&self) -> bool {
        false
    }
}
