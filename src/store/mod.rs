//! Parts into the store: the object-store seam and what an answer of the store means.
//!
//! Owns the [`ObjectStore`] trait. Invariant: no operation overwrites or deletes an object, and a failed look is never an absence:
//! [`ObjectStore::head`] returns `Ok(None)` only where the store itself says that nothing is there.
//!
//! [`once`] makes a PUT happen once; [`s3`] and [`lake`] are the stores.

use std::path::Path;

use crate::digest::Sha256;
use crate::error::{Error, Result};
use crate::hour::part::PartIdentity;
use crate::hour::range::HashRange;

pub mod dictionaries;
pub(crate) mod digests;
pub(crate) mod expired;
pub mod lake;
pub(crate) mod manifests;
pub(crate) mod minisign;
pub mod once;
pub(crate) mod probe;
pub mod s3;
pub(crate) mod settings;

/// How often one request is sent before the store counts as unavailable.
const TRIES: u32 = 4;

/// No part is larger than these bytes.
const LARGEST: u64 = 256 << 20;

/// What identifies a part's object; sent as user metadata and read back by HEAD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartMeta {
    /// Which part: `etl-sha256`, `etl-content-sha256`, `etl-rows`, and the object's own size.
    pub identity: PartIdentity,
    /// The event-time hour it belongs to (`etl-hour`). Empty where a `file:` store found it: the key says it.
    pub hour: String,
    /// Which dictionaries it was compacted with (`etl-dict`). Empty where a `file:` store found it: the bytes do not say.
    pub dict: String,
    /// Which hashes its records may have (`etl-range`). All, where nothing says it.
    pub range: HashRange,
}

impl PartMeta {
    /// For an object that is not a part but goes the same way: one document, not compressed.
    pub(crate) fn of_document(bytes: &[u8], hour: &str, dict: &str) -> Self {
        let sha256 = Sha256::of(bytes).to_string();
        let identity = PartIdentity { rows: 1, bytes: bytes.len() as u64, content_sha256: sha256.clone(), sha256 };
        Self { identity, hour: hour.to_owned(), dict: dict.to_owned(), range: HashRange::ALL }
    }
}

/// An object, as a look found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Size in bytes.
    pub size: u64,
    /// The store's entity tag, without quotes. It identifies nothing.
    pub etag: Option<String>,
    /// The metadata of a part of ours; `None` where any of it is missing.
    pub meta: Option<PartMeta>,
}

/// The answer to a PUT.
#[derive(Debug)]
pub enum PutAnswer {
    /// Stored now, with exactly these bytes: the store's entity tag is their MD5, or the store is a directory.
    Created {
        /// The store's entity tag, without quotes. A directory has none.
        etag: Option<String>,
    },
    /// A good answer that proves nothing: a store that encrypts has tags of its own, and so may a machine in between that is not a store.
    /// Look before you believe it.
    Unproven {
        /// The tag that it gave, without quotes.
        etag: Option<String>,
    },
    /// 412: something is there already. Look before you believe anything about it.
    Exists,
    /// 409: a conflicting operation ran. Look, then try again; never "exists".
    Conflict,
    /// Nothing was stored, perhaps because the condition was refused: 501, or 400 with a code that fits. The error is for the case
    /// that something else was.
    Refused(Error),
}

/// A store of objects that are created once and never changed.
///
/// Errors are of kind `Unavailable` (no answer, 5xx, 429: unknown whether it happened), `Credentials` (401, 403),
/// `Config` (no such S3 bucket, bad endpoint or region) or `State` (a local file or directory); each names the key or
/// path, and says whether it [concerns one object](Error::concerns_one_object). Calls block; HEAD, GET and LIST are tried a
/// few times before they fail. A PUT is sent once, and a second time only where a kept connection turned out to be closed:
/// [`once`] decides whether to send it again.
pub trait ObjectStore: Send + Sync {
    /// Where it is, for people and for the recorded settings: `s3://bucket/prefix/` or the lake's path.
    fn place(&self) -> &str;

    /// Creates the object `key` from the file at `body`, if there is none (`If-None-Match: *`). Durable on return.
    /// The caller makes sure that the bytes are those that `meta.identity` names.
    ///
    /// # Errors
    /// See the trait. After an error the object may or may not be there.
    fn put_new(&self, key: &str, body: &Path, meta: &PartMeta) -> Result<PutAnswer>;

    /// Creates the object `key` without a condition: it would replace what is there. For a store that ignores or refuses the
    /// condition, right after a look that found nothing, and never where [`once::CreateOnly::Proven`]. For a store that always
    /// honours it this is [`ObjectStore::put_new`].
    ///
    /// # Errors
    /// See the trait. After an error the object may or may not be there.
    fn put_free(&self, key: &str, body: &Path, meta: &PartMeta) -> Result<PutAnswer> {
        self.put_new(key, body, meta)
    }

    /// Looks at the object `key`. `Ok(None)`: the store says that there is none.
    ///
    /// # Errors
    /// See the trait. An error means "unknown", never "absent".
    fn head(&self, key: &str) -> Result<Option<ObjectInfo>>;

    /// Reads the whole object.
    ///
    /// # Errors
    /// See the trait; an absent object is `Mismatch`.
    fn get(&self, key: &str) -> Result<Vec<u8>>;

    /// The keys below `prefix` with their sizes, in order, a bounded page at a time to `each`.
    ///
    /// # Errors
    /// See the trait, and whatever `each` returns.
    fn list(&self, prefix: &str, each: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()>;

    /// Whether a second PUT of an existing key is certainly refused, so that the store need not be asked (a local directory: yes).
    fn create_only_is_certain(&self) -> bool;

    /// Whether it keeps the metadata of objects. If not, it cannot say which dictionaries a part was made with.
    fn keeps_metadata(&self) -> bool {
        true
    }
}
