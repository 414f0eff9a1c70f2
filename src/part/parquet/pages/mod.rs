//! The pages of an object, unpacked.
//!
//! Pure. The `parquet` crate unpacks gzip without a limit, and takes the number of values that a page claims to have at its word; an object may
//! come from anybody. So pages are found, checked and unpacked here, and only their values are decoded there. Invariant: a page unpacks to at
//! most what its header says, all pages of an object to at most [`MOST`], and a page claims no more values than its bytes can hold or its row
//! group has rows.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parquet::arrow::arrow_reader::RowGroups;
use parquet::basic::{Compression, Encoding, PageType, Type};
use parquet::column::page::{Page, PageIterator, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};

use self::header::Header;
use crate::record::MAX_LINE;

mod header;

/// The most bytes that a page unpacks to: one value is at most a line, and the values before it less.
const LARGEST: usize = 2 * MAX_LINE;
/// The most bytes that all pages of an object unpack to. A part has at most two of the longest lines, and its values are at most in a column,
/// in `extra` and in `raw`.
const MOST: u64 = 8 * MAX_LINE as u64;

pub(super) fn refused(what: &str) -> ParquetError {
    ParquetError::General(what.to_owned())
}

/// All row groups of an object.
pub(super) struct Groups {
    pub(super) object: Bytes,
    pub(super) metadata: ParquetMetaData,
    /// How many more bytes its pages may unpack to.
    left: Arc<AtomicU64>,
}

impl Groups {
    pub(super) fn new(object: Bytes, metadata: ParquetMetaData) -> Self {
        Self { object, metadata, left: Arc::new(AtomicU64::new(MOST)) }
    }

    fn chunk(&self, group: &RowGroupMetaData, column: usize) -> Result<Chunk> {
        let meta = group.columns().get(column).ok_or_else(|| refused("a row group lacks a column"))?;
        let rows = usize::try_from(group.num_rows()).map_err(|_| refused("a row group of less than no rows"))?;
        Ok(Chunk {
            bytes: chunk_bytes(&self.object, meta)?,
            compression: meta.compression(),
            kind: meta.column_type(),
            rows,
            values: 0,
            left: Arc::clone(&self.left),
        })
    }
}

/// The bytes of a column of a row group.
fn chunk_bytes(object: &Bytes, meta: &ColumnChunkMetaData) -> Result<Bytes> {
    let start = meta.dictionary_page_offset().filter(|at| *at > 0).unwrap_or_else(|| meta.data_page_offset());
    let start = usize::try_from(start).ok();
    let length = usize::try_from(meta.compressed_size()).ok();
    let end = start.zip(length).and_then(|(start, length)| start.checked_add(length));
    match start.zip(end) {
        Some((start, end)) if end <= object.len() => Ok(object.slice(start..end)),
        _ => Err(refused("a column lies outside of the object")),
    }
}

impl RowGroups for Groups {
    fn num_rows(&self) -> usize {
        usize::try_from(self.metadata.file_metadata().num_rows()).unwrap_or(0)
    }

    fn column_chunks(&self, column: usize) -> Result<Box<dyn PageIterator>> {
        let chunks: Result<Vec<Chunk>> =
            self.metadata.row_groups().iter().map(|group| self.chunk(group, column)).collect();
        Ok(Box::new(Chunks(chunks?.into_iter())))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(self.metadata.row_groups().iter())
    }

    fn metadata(&self) -> &ParquetMetaData {
        &self.metadata
    }
}

/// A column of all row groups.
struct Chunks(std::vec::IntoIter<Chunk>);

impl Iterator for Chunks {
    type Item = Result<Box<dyn PageReader>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|chunk| Ok(Box::new(chunk) as Box<dyn PageReader>))
    }
}

impl PageIterator for Chunks {}

/// A column of one row group: the pages that are left of it.
struct Chunk {
    bytes: Bytes,
    compression: Compression,
    kind: Type,
    /// Those of its row group.
    rows: usize,
    /// Those that its pages claimed.
    values: usize,
    left: Arc<AtomicU64>,
}

impl Chunk {
    fn header(&self) -> Result<Option<(Header, usize)>> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        Header::read(&self.bytes).map(Some).ok_or_else(|| refused("a page has no header"))
    }

    /// Takes the next page's header and packed bytes.
    fn take(&mut self) -> Result<Option<(Header, Bytes)>> {
        let Some((header, length)) = self.header()? else { return Ok(None) };
        let end = length.checked_add(header.packed).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| refused("a page is cut short"))?;
        let packed = self.bytes.slice(length..end);
        self.bytes = self.bytes.slice(end..);
        Ok(Some((header, packed)))
    }

    fn unpacked(&self, header: &Header, packed: Bytes) -> Result<Bytes> {
        let size = header.unpacked;
        let left = self.left.load(Ordering::Relaxed).checked_sub(size as u64);
        let left = left.filter(|_| size <= LARGEST).ok_or_else(|| refused("it unpacks to more than any part holds"))?;
        self.left.store(left, Ordering::Relaxed);
        let bytes = unpack(self.compression, packed, size)?;
        if bytes.len() == size { Ok(bytes) } else { Err(refused("a page is of another size than it says")) }
    }

    /// The bytes that each value of the column takes at least.
    const fn least(&self) -> usize {
        match self.kind {
            Type::BYTE_ARRAY => 4,
            _ => 8,
        }
    }

    fn page(&mut self, header: &Header, buf: Bytes) -> Result<Page> {
        let (num_values, encoding) = (header.values, header.encoding);
        let values = usize::try_from(num_values).unwrap_or(usize::MAX);
        match header.kind {
            PageType::DICTIONARY_PAGE if values > buf.len() / self.least() => Err(refused("a dictionary is cut short")),
            PageType::DICTIONARY_PAGE => Ok(Page::DictionaryPage { buf, num_values, encoding, is_sorted: false }),
            _ => {
                self.values = self.values.saturating_add(values);
                if self.values > self.rows {
                    return Err(refused("a column has more values than there are rows"));
                }
                let (def_level_encoding, rep_level_encoding) = (Encoding::RLE, Encoding::RLE);
                Ok(Page::DataPage {
                    buf,
                    num_values,
                    encoding,
                    def_level_encoding,
                    rep_level_encoding,
                    statistics: None,
                })
            }
        }
    }
}

/// Unpacks at most one byte more than `size`.
fn unpack(compression: Compression, packed: Bytes, size: usize) -> Result<Bytes> {
    let most = size as u64 + 1;
    let mut bytes = Vec::new();
    let read = match compression {
        Compression::UNCOMPRESSED => return Ok(packed),
        Compression::GZIP(_) => flate2::bufread::GzDecoder::new(&*packed).take(most).read_to_end(&mut bytes),
        // At once, which needs no window: what a frame claims of it costs nothing.
        Compression::ZSTD(_) => return Ok(zstd::bulk::decompress(&packed, size)?.into()),
        _ => return Err(refused("it is packed in a way that this program does not use")),
    };
    read.map(|_| bytes.into()).map_err(Into::into)
}

impl PageReader for Chunk {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let Some((header, packed)) = self.take()? else { return Ok(None) };
        let bytes = self.unpacked(&header, packed)?;
        self.page(&header, bytes).map(Some)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        let metadata = |(header, _): (Header, usize)| PageMetadata {
            num_rows: None,
            num_levels: usize::try_from(header.values).ok(),
            is_dict: header.kind == PageType::DICTIONARY_PAGE,
        };
        Ok(self.header()?.map(metadata))
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.take().map(|_| ())
    }
}

impl Iterator for Chunk {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}
