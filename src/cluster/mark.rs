//! The object that says which cluster writes below a prefix: `<prefix>cluster.json`.
//!
//! Invariant: it is created once and never changed, so two clusters cannot both believe that a prefix is theirs. Parts would be right even
//! then; but each would take the other's ids for gaps, and say of hours what is not so. A crash leaves the object, or nothing.

use std::io::Write as _;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::hour::key::cluster_key;
use crate::stop::Stop;
use crate::store::once::{self, CreateOnly, Sealed};
use crate::store::{ObjectStore, PartMeta};

/// What the object says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    schema: u32,
    /// The cluster's name.
    pub name: String,
    /// What tells it from another of its name.
    pub id: String,
    /// The id of the brokers.
    pub brokers: String,
}

impl Mark {
    /// The mark of a cluster.
    pub fn new(name: impl Into<String>, id: impl Into<String>, brokers: impl Into<String>) -> Self {
        Self { schema: 1, name: name.into(), id: id.into(), brokers: brokers.into() }
    }

    /// Reads the object. `None`: there is none.
    pub fn read(store: &dyn ObjectStore, prefix: &str) -> Result<Option<Self>> {
        let key = cluster_key(prefix);
        if store.head(&key)?.is_none() {
            return Ok(None);
        }
        serde_json::from_slice(&store.get(&key)?).map(Some).map_err(|cause| {
            Error::new(ErrorKind::Mismatch, format!("the object {key} is not what its name says"))
                .caused_by(cause)
                .hint("it was left alone: move it away, then run again")
        })
    }

    /// Creates the object, or finds that it says the same.
    ///
    /// # Errors
    /// `Config`: another cluster was faster.
    pub fn create(&self, store: &dyn ObjectStore, prefix: &str, stop: &Stop) -> Result<()> {
        let mut bytes = serde_json::to_vec(self)
            .map_err(|cause| Error::new(ErrorKind::Bug, "cannot encode the mark of the cluster").caused_by(cause))?;
        bytes.push(b'\n');
        let body = draft(&bytes)?;
        let meta = PartMeta::of_document(&bytes, "cluster", "");
        let sealed = Sealed { key: &cluster_key(prefix), body: &body, meta: &meta };
        once::upload(store, &sealed, CreateOnly::Proven, stop)?;
        match Self::read(store, prefix)? {
            Some(there) => self.check(&there, store),
            None => Err(Error::new(
                ErrorKind::Unavailable,
                format!("the object {} is not there after it was put", cluster_key(prefix)),
            )
            .hint("run again")),
        }
    }

    /// Checks that the prefix is this cluster's, as `there` says.
    ///
    /// # Errors
    /// `Config`: it is another's.
    pub fn check(&self, there: &Self, store: &dyn ObjectStore) -> Result<()> {
        let place = store.place();
        if self.name != there.name {
            let what = format!("{place} belongs to the cluster {}, and cluster.name is {}", there.name, self.name);
            return Err(Error::new(ErrorKind::Config, what).hint("choose another prefix in load.to for this cluster"));
        }
        if self.brokers != there.brokers || self.id != there.id {
            let what = format!(
                "{place} belongs to another cluster of the name {}, on brokers with the id {}",
                there.name, there.brokers
            );
            return Err(Error::new(ErrorKind::Config, what).hint(
                "choose another prefix in load.to; if that cluster is gone for good and had nothing left to upload, remove cluster.json there",
            ));
        }
        Ok(())
    }
}

/// The bytes as a file, which goes when it is dropped.
fn draft(bytes: &[u8]) -> Result<tempfile::TempPath> {
    let written = tempfile::NamedTempFile::new().and_then(|mut file| file.write_all(bytes).map(|()| file));
    let file = written.map_err(|cause| Error::disk("write a file in", &std::env::temp_dir(), cause))?;
    Ok(file.into_temp_path())
}
