//! Compact lines as a Parquet object.
//!
//! Writes only to what it is given; a crash leaves a part of it. Invariant: the same lines give the same bytes, however they are cut when they
//! are handed over: what is put together follows from the lines alone.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{self, Encoding, GzipLevel, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;

use super::about::{About, KEY, VERSION};
use super::batch::Batch;
use super::columns::{Columns, EVENT_TIME, EXTRA, Kind, LINE, RAW};
use super::order::Order;
use super::{GROUP_BYTES, GROUP_ROWS};
use crate::digest::Hasher;
use crate::hour::format::Compression;
use crate::hour::part::PartIdentity;
use crate::record::row::Compactor;

/// Who wrote the object. The form is one that readers parse: they use no statistics of an author whom they cannot tell.
const CREATED_BY: &str = "etl version 1 (build 1)";
/// The levels that lines have.
const GZIP_LEVEL: u32 = 4;
const ZSTD_LEVEL: i32 = 3;
/// How many of the first lines tell the order of fields.
const SAMPLE: usize = 256;
/// How many bytes of the first lines do, where they are long.
const SAMPLE_BYTES: usize = 1 << 20;

/// Writes the lines of one part as its object, and digests both.
pub struct ParquetWriter<'c, W: Write + Send> {
    columns: &'c Columns,
    compactor: &'c Compactor,
    object: ArrowWriter<Digesting<W>>,
    batch: Batch,
    /// `None` until there are enough lines to learn it from.
    order: Option<Order>,
    /// The first lines, until the order is known; later a piece of a line.
    held: Vec<u8>,
    content: Hasher,
    rows: u64,
    scratch: Vec<u8>,
    failure: Failure,
}

impl<'c, W: Write + Send> ParquetWriter<'c, W> {
    /// Begins a part. `out` gets large pieces.
    pub fn begin(columns: &'c Columns, compactor: &'c Compactor, compression: Compression, out: W) -> io::Result<Self> {
        let failure = Failure::default();
        let out = Digesting { out, sha256: Hasher::default(), bytes: 0, failure: Arc::clone(&failure) };
        let properties = properties(columns, compression).map_err(io::Error::other)?;
        let options = ArrowWriterOptions::new()
            .with_properties(properties)
            .with_skip_arrow_metadata(true)
            .with_schema_root("schema".to_owned());
        let object = ArrowWriter::try_new_with_options(out, columns.schema(), options);
        let object = object.map_err(|error| of_output(&failure, error))?;
        Ok(Self {
            columns,
            compactor,
            object,
            batch: Batch::new(columns),
            order: None,
            held: Vec::new(),
            content: Hasher::default(),
            rows: 0,
            scratch: Vec::new(),
            failure,
        })
    }

    /// Adds a piece of the lines.
    pub fn write(&mut self, mut lines: &[u8]) -> io::Result<()> {
        if self.order.is_none() {
            self.held.extend_from_slice(lines);
            let is_enough = self.held.len() >= SAMPLE_BYTES || lines_in(&self.held) >= SAMPLE;
            return if is_enough { self.begin_with_what_is_held() } else { Ok(()) };
        }
        if !self.held.is_empty() {
            let rest_of_line = memchr::memchr(b'\n', lines).map_or(lines.len(), |end| end + 1);
            self.held.extend(lines.split_off(..rest_of_line).unwrap_or_default());
            if !self.held.ends_with(b"\n") {
                return Ok(());
            }
            let line = std::mem::take(&mut self.held);
            self.add(&line)?;
        }
        self.add_whole(lines)
    }

    /// Ends the part, of so many lines.
    pub fn finish(mut self, rows: u64) -> io::Result<PartIdentity> {
        if self.order.is_none() {
            self.begin_with_what_is_held()?;
        }
        if !self.held.is_empty() || self.rows != rows {
            return Err(io::Error::other(format!("{} lines were written as a part of {rows}", self.rows)));
        }
        self.hand_on()?;
        let about = self.about()?;
        self.object.append_key_value_metadata(KeyValue::new(KEY.to_owned(), about));
        let out = self.object.into_inner().map_err(|error| of_output(&self.failure, error))?;
        let (sha256, content_sha256) = (out.sha256.finish().to_string(), self.content.finish().to_string());
        Ok(PartIdentity { rows, bytes: out.bytes, sha256, content_sha256 })
    }

    /// Writes the dictionaries behind all rows. Gives what the object says of itself.
    fn about(&mut self) -> io::Result<String> {
        self.object.flush().map_err(|error| of_output(&self.failure, error))?;
        let (columns, dictionaries) = (self.columns.schema(), self.compactor.codecs());
        let (at, stored) = (self.object.bytes_written() as u64, dictionaries.to_stored().map_err(io::Error::other)?);
        self.object.write_all(&stored)?;
        let about = About {
            version: VERSION,
            time: self.columns.time.clone(),
            columns: columns.fields().iter().map(|field| field.name().clone()).collect(),
            order: self.order.iter().flat_map(Order::names).map(str::to_owned).collect(),
            dict: dictionaries.fingerprint(),
            dictionaries: (at, stored.len() as u64),
        };
        serde_json::to_string(&about).map_err(io::Error::other)
    }

    fn begin_with_what_is_held(&mut self) -> io::Result<()> {
        let held = std::mem::take(&mut self.held);
        let whole = whole_lines(&held);
        let sample: io::Result<Vec<Vec<String>>> = lines_of(whole).take(SAMPLE).map(|line| self.keys(line)).collect();
        self.order = Some(Order::learn(self.columns, &sample?));
        self.add_whole(&held)
    }

    fn keys(&self, line: &[u8]) -> io::Result<Vec<String>> {
        let fields = self.compactor.restore(text_of(line)?).map_err(no_row)?;
        Ok(fields.into_iter().map(|(key, _)| key.into_owned()).collect())
    }

    /// Adds the whole lines of `lines` and holds the piece behind them.
    fn add_whole(&mut self, lines: &[u8]) -> io::Result<()> {
        let whole = whole_lines(lines);
        self.held.extend(lines.get(whole.len()..).unwrap_or_default());
        self.add(whole)
    }

    fn add(&mut self, lines: &[u8]) -> io::Result<()> {
        self.content.update(lines);
        lines_of(lines).try_for_each(|line| self.add_line(text_of(line)?))
    }

    /// Adds a line, without its newline.
    fn add_line(&mut self, line: &str) -> io::Result<()> {
        let Some(order) = &self.order else { return Err(io::Error::other("the order of fields is not known")) };
        let (fields, is_certain) = self.compactor.restore_and_tell(line).map_err(no_row)?;
        let (fields, micros) = self.columns.dated(fields).map_err(no_row)?;
        let is_usual = is_certain || {
            self.scratch.clear();
            self.compactor.write_row(&fields, &mut self.scratch);
            self.scratch == line.as_bytes()
        };
        self.batch.push(order, &fields, micros, line, is_usual);
        self.rows += 1;
        if self.batch.is_full() { self.hand_on() } else { Ok(()) }
    }

    fn hand_on(&mut self) -> io::Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let rows = self.batch.take().map_err(io::Error::other)?;
        let written = self.object.write(&rows).and_then(|()| match self.object.in_progress_size() {
            GROUP_BYTES.. => self.object.flush(),
            _ => Ok(()),
        });
        written.map_err(|error| of_output(&self.failure, error))
    }
}

/// The first failure of the output. The `parquet` crate hands some on as text only, and who asks must know a full disk.
type Failure = Arc<Mutex<Option<io::Error>>>;

fn of_output(failure: &Failure, error: ParquetError) -> io::Error {
    let first = failure.lock().unwrap_or_else(PoisonError::into_inner).take();
    first.unwrap_or_else(|| io::Error::other(error))
}

/// An output whose bytes are digested and counted.
struct Digesting<W> {
    out: W,
    sha256: Hasher,
    bytes: u64,
    failure: Failure,
}

impl<W: Write> Digesting<W> {
    fn noted<T>(&self, outcome: io::Result<T>) -> io::Result<T> {
        outcome.map_err(|error| {
            let said = io::Error::from(error.kind());
            self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            said
        })
    }
}

impl<W: Write> Write for Digesting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write_all(bytes);
        self.noted(written)?;
        self.sha256.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.out.flush();
        self.noted(flushed)
    }
}

fn properties(columns: &Columns, compression: Compression) -> Result<WriterProperties, ParquetError> {
    let compression = match compression {
        Compression::Gzip => basic::Compression::GZIP(GzipLevel::try_new(GZIP_LEVEL)?),
        Compression::Zstd => basic::Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?),
    };
    let by_time = SortingColumn { column_idx: 0, descending: false, nulls_first: false };
    let mut properties = WriterProperties::builder()
        .set_created_by(CREATED_BY.to_owned())
        .set_compression(compression)
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_sorting_columns(Some(vec![by_time]));
    let numbers = columns.fields.iter().filter(|column| column.kind == Kind::Integer && column.is_rising());
    for name in numbers.map(|column| column.name.as_str()).chain([EVENT_TIME]) {
        properties = as_differences(properties, name);
    }
    for name in [EXTRA, RAW, LINE] {
        // Nobody looks for the least JSON text.
        properties = properties.set_column_statistics_enabled(ColumnPath::from(name), EnabledStatistics::None);
    }
    for name in [RAW, LINE] {
        properties = properties.set_column_dictionary_enabled(ColumnPath::from(name), false);
    }
    Ok(properties.build())
}

/// A column of numbers that rise takes a byte or two a number as differences, and a dictionary would hold each of them.
fn as_differences(properties: WriterPropertiesBuilder, name: &str) -> WriterPropertiesBuilder {
    let path = ColumnPath::from(name);
    let properties = properties.set_column_dictionary_enabled(path.clone(), false);
    properties.set_column_encoding(path, Encoding::DELTA_BINARY_PACKED)
}

fn lines_of(lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = lines;
    std::iter::from_fn(move || {
        let end = memchr::memchr(b'\n', rest)?;
        let line = rest.get(..end)?;
        rest = rest.get(end + 1..)?;
        Some(line)
    })
}

fn lines_in(lines: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', lines).count()
}

/// `lines` up to the end of the last whole one.
fn whole_lines(lines: &[u8]) -> &[u8] {
    let end = memchr::memrchr(b'\n', lines).map_or(0, |end| end + 1);
    lines.get(..end).unwrap_or_default()
}

fn text_of(line: &[u8]) -> io::Result<&str> {
    std::str::from_utf8(line).map_err(|_| no_row("it is not UTF-8"))
}

fn no_row(why: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a line is no row: {why}"))
}
