//! A look at a file of the lake: it has no metadata, so its digests and rows are computed from its content.
//!
//! Reads only. A failed read is an error, never a file that is not a part.

use std::fs::File;
use std::io::{ErrorKind as Io, Read};
use std::path::Path;

use crate::digest::{Hasher, Sha256};
use crate::error::{Error, Result};
use crate::hour::format::Format;
use crate::hour::part::PartIdentity;
use crate::hour::range::HashRange;
use crate::part::codec::content_of;
use crate::store::{ObjectInfo, PartMeta};

/// What a look says of the file at `path`.
pub(super) fn look_inside(path: &Path) -> Result<ObjectInfo> {
    let unreadable = |error| Error::disk("read", path, error);
    let mut file = File::open(path).map_err(unreadable)?;
    let mut bytes = Digested::new(&mut file);
    // What has no part's name is no part, whatever is in it.
    let format = path.to_str().and_then(Format::of_name);
    let content = format.and_then(|format| content_of(format, &mut bytes));
    // What the decoder left unread, so that the digest is of the whole file.
    std::io::copy(&mut bytes, &mut std::io::sink()).map_err(unreadable)?;
    if let Some(failed) = bytes.failed {
        // Not what the decoder made of it: a failed read says nothing about the content.
        return Err(unreadable(failed.into()));
    }
    let size = bytes.size;
    let sha256 = bytes.sha256.finish().to_string();
    let of_part = |(content, rows): (Sha256, u64)| PartMeta {
        identity: PartIdentity { rows, bytes: size, sha256, content_sha256: content.to_string() },
        hour: String::new(),
        dict: String::new(),
        range: HashRange::ALL,
    };
    Ok(ObjectInfo { size, etag: None, meta: content.map(of_part) })
}

/// A reader that digests and counts what passes, and remembers a failure.
pub(super) struct Digested<R> {
    inner: R,
    sha256: Hasher,
    size: u64,
    pub(super) failed: Option<Io>,
}

impl<R> Digested<R> {
    pub(super) fn new(inner: R) -> Self {
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
