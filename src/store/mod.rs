//! Parts into the store: the object-store seam and what an answer of the store means.
//!
//! Owns the [`ObjectStore`] trait. Invariant: no operation here overwrites or deletes an object, and a failed look is
//! never an absence: [`ObjectStore::head`] answers `Ok(None)` only where the store itself said "not there".
//!
//! [`once`] is the logic that makes a PUT happen once; [`s3`] and [`lake`] are the stores.

use std::path::Path;

use crate::error::{Error, Result};

pub mod dictionaries;
pub mod lake;
pub mod once;
pub mod probe;
pub mod s3;

/// How often one request is sent before the store counts as unavailable.
const TRIES: u32 = 4;

/// Nothing larger than these bytes can be a part.
const LARGEST: u64 = 256 << 20;

/// What identifies a part's object; sent as user metadata and read back by HEAD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartMeta {
    /// SHA-256 of the object's bytes, hex (`etl-sha256`).
    pub sha256: String,
    /// SHA-256 of the uncompressed content, hex (`etl-content-sha256`): the identity, with `rows`.
    pub content_sha256: String,
    /// Records in it (`etl-rows`).
    pub rows: u64,
    /// The event-time hour it belongs to (`etl-hour`). Empty where a `file:` store found it: the key says it.
    pub hour: String,
    /// Which dictionaries it was compacted with (`etl-dict`). Empty where a `file:` store found it: the bytes do not say.
    pub dict: String,
}

/// An object, as a look at the store found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Size in bytes.
    pub size: u64,
    /// The store's entity tag, without quotes; no identity.
    pub etag: Option<String>,
    /// The metadata of a part of ours; `None` where any of it is missing.
    pub meta: Option<PartMeta>,
}

/// The answer to a PUT.
#[derive(Debug)]
pub enum PutAnswer {
    /// Stored now, and these very bytes: the store's entity tag is their MD5, or it is a directory that did it.
    Created {
        /// The store's entity tag, without quotes. A directory has none.
        etag: Option<String>,
    },
    /// A good answer that proves nothing: a store that encrypts gives a tag of its own, and so may a machine in between that knows
    /// nothing of stores. Look before you believe it.
    Unproven {
        /// The tag that it gave, without quotes.
        etag: Option<String>,
    },
    /// 412: something is there already. Look before you believe anything about it.
    Exists,
    /// 409: a conflicting operation ran. Look, then try again; never "exists".
    Conflict,
    /// Nothing was stored, and it may be the condition that was refused: 501, or 400 with a code that says so. What it is as a failure
    /// if it was something else.
    Refused(Error),
}

/// A store of objects that are created once and never changed.
///
/// Errors are of kind `Unavailable` (no answer, 5xx, 429: unknown whether it happened), `Credentials` (401, 403),
/// `Config` (no such S3 bucket, bad endpoint or region) or `State` (a local file or directory); each names the key or
/// path, and says whether it [concerns one object](Error::concerns_one_object). Calls block; HEAD, GET and LIST are tried a
/// few times before they fail, a PUT is sent once (and again only where a connection that was kept turned out to have
/// ended): whether it may be sent again is for [`once`] to say.
pub trait ObjectStore: Send + Sync {
    /// Where it is, for people and for the recorded settings: `s3://bucket/prefix/` or the lake's path.
    fn place(&self) -> &str;

    /// Creates the object `key` from the file at `body`, if there is none (`If-None-Match: *`). Durable on return.
    /// The caller makes sure that the bytes are those that `meta.sha256` names.
    ///
    /// # Errors
    /// See the trait. After an error the object may or may not be there.
    fn put_new(&self, key: &str, body: &Path, meta: &PartMeta) -> Result<PutAnswer>;

    /// Creates the object `key` without a condition: it would replace what is there. For a store that does not honour or take the
    /// condition, right after a look that found nothing there, and never where [`once::CreateOnly::Proven`]. A store that always
    /// honours it has nothing else to offer than [`ObjectStore::put_new`].
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

    /// Whether a second PUT of an existing key is known to be refused without asking the store
    /// (a local directory: yes). `None`: ask it once.
    fn create_only_is_certain(&self) -> bool;

    /// Whether it keeps the metadata of an object. One that does not cannot say which dictionaries a part was made with.
    fn keeps_metadata(&self) -> bool {
        true
    }
}
