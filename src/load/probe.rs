//! Whether a store takes our objects and honours create-only, asked with an object of its own.
//!
//! The object has one fixed name outside `data/`, spelled by its content, and one fixed content: however often and by whomever it
//! is asked, one object stays, and a store that overwrites puts the same bytes there again. Nothing is deleted.

use std::io::Write;

use sha2::{Digest, Sha256};

use super::protocol::{CreateOnly, Sealed, probe_create_only};
use super::{ObjectStore, PartMeta};
use crate::error::{Error, Result};
use crate::seal::hex;

const BODY: &[u8] = b"{\"etl\":\"check: does this store honour If-None-Match?\"}\n";

/// The probe's key below `prefix`.
#[must_use]
pub fn key(prefix: &str) -> String {
    let digest = hex(&Sha256::digest(BODY));
    format!("{prefix}check/{}", digest.get(..16).unwrap_or(&digest))
}

/// Puts the probe if it is not there, and once more: whether that is refused is the answer. [`CreateOnly::Unknown`] where
/// something else has the probe's name.
///
/// # Errors
/// Those of [`ObjectStore`].
pub fn ask(store: &dyn ObjectStore, prefix: &str) -> Result<CreateOnly> {
    if store.create_only_is_certain() {
        return Ok(CreateOnly::Proven);
    }
    let key = key(prefix);
    let digest = hex(&Sha256::digest(BODY));
    let meta = PartMeta {
        sha256: digest.clone(),
        content_sha256: digest,
        rows: 1,
        hour: "check".to_owned(),
        dict: "check".to_owned(),
    };
    let body = body()?;
    if store.head(&key)?.is_none() {
        store.put_new(&key, body.path(), &meta)?;
    }
    probe_create_only(store, &Sealed { key: &key, body: body.path(), meta: &meta, size: BODY.len() as u64 })
}

fn body() -> Result<tempfile::NamedTempFile> {
    let dir = std::env::temp_dir();
    let failed = |e| Error::disk("write into", &dir, e);
    let mut file = tempfile::NamedTempFile::new().map_err(failed)?;
    file.write_all(BODY).and_then(|()| file.flush()).map_err(failed)?;
    Ok(file)
}
