//! Somebody else who writes to the store: what `etl` itself has no code for.

use std::fs;
use std::path::PathBuf;

use etl::store::s3::S3Store;
use etl::store::{ObjectStore, PartMeta};
use s3::creds::Credentials;
use s3::{Bucket, Region};

use super::TestS3;

/// Who writes into a lake or a bucket.
pub enum Intruder {
    Lake(PathBuf),
    Bucket { bucket: Box<Bucket>, store: Box<S3Store> },
}

impl Intruder {
    /// In a bucket.
    pub fn in_bucket(at: &TestS3) -> Self {
        let credentials = Credentials::new(Some(&at.key), Some(&at.secret), None, None, None).unwrap();
        let region = Region::Custom { region: at.region.clone(), endpoint: at.endpoint.clone() };
        let bucket = Bucket::new(&at.bucket, region, credentials).unwrap().with_path_style();
        Self::Bucket { bucket, store: Box::new(at.store()) }
    }

    fn wait<T>(what: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(what)
    }

    pub fn read(&self, key: &str) -> Vec<u8> {
        match self {
            Self::Lake(dir) => fs::read(dir.join(key)).unwrap(),
            Self::Bucket { store, .. } => store.get(key).unwrap(),
        }
    }

    /// What the store says of a part of ours.
    pub fn meta(&self, key: &str) -> Option<PartMeta> {
        match self {
            Self::Lake(_) => None,
            Self::Bucket { store, .. } => store.head(key).unwrap().unwrap().meta,
        }
    }

    pub fn delete(&self, key: &str) {
        match self {
            Self::Lake(dir) => fs::remove_file(dir.join(key)).unwrap(),
            Self::Bucket { bucket, .. } => drop(Self::wait(bucket.delete_object(key)).unwrap()),
        }
    }

    /// Writes an object over whatever is there; with this metadata, where the store has any.
    pub fn write(&self, key: &str, bytes: &[u8], meta: Option<&PartMeta>) {
        match self {
            Self::Lake(dir) => {
                let path = dir.join(key);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, bytes).unwrap();
            }
            Self::Bucket { bucket, .. } => {
                let mut request = bucket.put_object_builder(key, bytes);
                if let Some(meta) = meta {
                    request = request
                        .with_metadata("etl-sha256", &meta.identity.sha256)
                        .and_then(|r| r.with_metadata("etl-content-sha256", &meta.identity.content_sha256))
                        .and_then(|r| r.with_metadata("etl-rows", meta.identity.rows.to_string()))
                        .and_then(|r| r.with_metadata("etl-hour", &meta.hour))
                        .and_then(|r| r.with_metadata("etl-dict", &meta.dict))
                        .unwrap();
                }
                Self::wait(request.execute()).unwrap();
            }
        }
    }

    /// Renames an object, as a store's console does it.
    pub fn rename(&self, from: &str, to: &str) {
        self.write(to, &self.read(from), self.meta(from).as_ref());
        self.delete(from);
    }
}
