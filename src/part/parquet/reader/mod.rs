//! A Parquet object as the compact lines that it was made of: the inverse of the writer.
//!
//! Pure. An object is believed only as a whole. Beside the object, memory is a page and a dictionary of each column, and one line. Invariant:
//! whatever the object is, the answer is its lines or an error: the `parquet` crate panics on some damage, and such a panic is damage like any
//! other. What is called back for each line runs outside of that.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, FieldRef, Fields};
use bytes::Bytes;
use jiff::tz::TimeZone;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use parquet::arrow::{FieldLevels, ProjectionMask, parquet_to_arrow_field_levels, parquet_to_arrow_schema};
use parquet::errors::Result as ParquetResult;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};

use self::rows::Rows;
use super::about::{About, KEY, VERSION};
use super::columns::{Column, Columns, EVENT_TIME, EVENT_TIME_TEXT, EXTRA, Kind, LINE, RAW};
use super::order::Order;
use super::pages::Groups;
use crate::digest::{Hasher, Sha256};
use crate::part::LONGEST;
use crate::record::Dating;
use crate::record::row::{Codecs, Compactor};

mod rows;

/// Rows that are unpacked at once.
const ROWS: usize = 1_024;
/// The largest footer. Ours have some kilobytes; a claim in it may cost a hundred times its bytes.
const LARGEST_FOOTER: usize = 1 << 20;
/// The most fields whose order is told.
const MOST_NAMES: usize = 1_000;
/// The most rows of a row group.
const MOST_ROWS: i64 = 1 << 20;

/// Hands the lines of an object to `each`, one at a time, whether or not all of it turns out to be sound. Gives the digest of all, each with
/// its newline. An error says why it is not a part.
pub fn for_each_line(object: &[u8], each: &mut dyn FnMut(&str)) -> io::Result<Sha256> {
    let (mut sha256, mut length) = (Hasher::default(), 0);
    for_each_row(object, &mut |line| {
        length += line.len() as u64;
        if length > LONGEST {
            return Err(no_part("it unpacks to more than any part holds"));
        }
        sha256.update(line);
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        each(std::str::from_utf8(text).map_err(|_| no_part("a line is no text"))?);
        Ok(())
    })?;
    Ok(sha256.finish())
}

/// The digest and the number of an object's lines.
pub fn content_of(object: &[u8]) -> io::Result<(Sha256, u64)> {
    let mut rows = 0;
    let sha256 = for_each_line(object, &mut |_| rows += 1)?;
    Ok((sha256, rows))
}

/// Puts the lines together, each with its newline.
fn for_each_row(object: &[u8], each: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let metadata = metadata_of(Bytes::copy_from_slice(object))?;
    let (described, total) = (Described::read(&metadata)?, metadata.metadata.file_metadata().num_rows());
    let mut batches = described.batches(&metadata)?;
    let (mut line, mut read) = (Vec::new(), 0);
    while let Some(batch) = guarded(|| Ok(batches.next().transpose()?))? {
        let rows = described.rows(&batch)?;
        for row in 0..batch.num_rows() {
            line.clear();
            rows.write_line(row, &described.compactor, &mut line).map_err(|why| no_part(&why))?;
            each(&line)?;
            read += 1;
        }
    }
    if read == total { Ok(()) } else { Err(no_part("it has other rows than its footer says")) }
}

/// Runs what may panic on a damaged object.
fn guarded<T>(action: impl FnOnce() -> ParquetResult<T>) -> io::Result<T> {
    match crate::process::panics::quietly(|| catch_unwind(AssertUnwindSafe(action))) {
        // Each layer has put its name before what is wrong.
        Ok(outcome) => outcome.map_err(|e| no_part(e.to_string().rsplit("error: ").next().unwrap_or_default())),
        Err(_) => Err(no_part("its pages do not decode")),
    }
}

fn no_part(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// The footer, where nothing in it costs more than it may.
fn metadata_of(object: Bytes) -> io::Result<Groups> {
    let footer =
        object.last_chunk::<8>().map(|[l1, l2, l3, l4, magic @ ..]| ([*l1, *l2, *l3, *l4], *magic == *b"PAR1"));
    match footer {
        Some((length, true)) if u32::from_le_bytes(length) as usize <= LARGEST_FOOTER => {}
        Some((_, true)) => return Err(no_part("its footer is larger than that of any part")),
        _ => return Err(no_part("it does not end as a Parquet object does")),
    }
    let reader = || ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Skip);
    let metadata = guarded(|| reader().parse_and_finish(&object))?;
    let rows = metadata.row_groups().iter().map(parquet::file::metadata::RowGroupMetaData::num_rows);
    let sum = rows.clone().try_fold(0, i64::checked_add);
    if rows.into_iter().any(|rows| !(0..=MOST_ROWS).contains(&rows)) || sum != Some(metadata.file_metadata().num_rows())
    {
        return Err(no_part("its row groups have other rows than any part's"));
    }
    Ok(Groups::new(object, metadata))
}

/// What an object says of itself, checked.
struct Described {
    columns: Columns,
    order: Order,
    levels: FieldLevels,
    compactor: Compactor,
}

impl Described {
    fn read(groups: &Groups) -> io::Result<Self> {
        let about = about(&groups.metadata)?;
        let (fields, levels) = levels(&groups.metadata)?;
        let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
        if let Some(missing) = about.columns.iter().find(|name| !names.contains(&name.as_str())) {
            return Err(no_part(&format!("the column {missing} is missing")));
        }
        let (&[EVENT_TIME, EVENT_TIME_TEXT, .., EXTRA, RAW, LINE], [_, _, of_fields @ .., _, _, _]) =
            (&*names, &*fields)
        else {
            return Err(no_part("it lacks columns that every part has"));
        };
        if names != about.columns {
            return Err(no_part("it has other columns than its metadata says"));
        }
        let columns: io::Result<Vec<Column>> = of_fields.iter().map(column).collect();
        let columns = Columns::of(columns?, about.time, Dating::of_the_origin(TimeZone::UTC));
        let order = Order::of(about.order, &columns);
        let stored = piece(&groups.object, about.dictionaries).unwrap_or_default();
        let dictionaries = Codecs::from_stored(stored, &about.dict);
        let dictionaries = dictionaries.ok_or_else(|| no_part("its dictionaries are not those that it names"))?;
        Ok(Self { columns, order, levels, compactor: Compactor::new(&dictionaries) })
    }

    fn batches(&self, groups: &Groups) -> io::Result<ParquetRecordBatchReader> {
        guarded(|| ParquetRecordBatchReader::try_new_with_row_groups(&self.levels, groups, ROWS, None))
    }

    fn rows<'b>(&'b self, batch: &'b RecordBatch) -> io::Result<Rows<'b>> {
        Rows::new(batch, &self.columns, &self.order)
            .ok_or_else(|| no_part("a column is of another type than any part's"))
    }
}

/// So many bytes from there.
fn piece(object: &[u8], (at, length): (u64, u64)) -> Option<&[u8]> {
    let (at, length) = (usize::try_from(at).ok()?, usize::try_from(length).ok()?);
    object.get(at..)?.get(..length)
}

fn about(metadata: &ParquetMetaData) -> io::Result<About> {
    let pairs = metadata.file_metadata().key_value_metadata();
    let ours = pairs.and_then(|pairs| pairs.iter().find(|pair| pair.key == KEY)).and_then(|pair| pair.value.as_ref());
    let ours = ours.ok_or_else(|| no_part("it was not written by this program"))?;
    let about: About = serde_json::from_str(ours).map_err(|_| no_part("its own metadata cannot be read"))?;
    match about.version {
        VERSION if about.order.len() <= MOST_NAMES => Ok(about),
        VERSION => Err(no_part("it names more fields than any part")),
        _ => Err(no_part("it was written by another version of this program")),
    }
}

/// The columns as they are read: texts as views into the pages, so that a text that comes often is in memory once.
fn levels(metadata: &ParquetMetaData) -> io::Result<(Fields, FieldLevels)> {
    let schema = metadata.file_metadata().schema_descr();
    let plain = guarded(|| parquet_to_arrow_schema(schema, None))?;
    let views: Fields = plain.fields().iter().map(with_views).collect();
    let levels = guarded(|| parquet_to_arrow_field_levels(schema, ProjectionMask::all(), Some(&views)))?;
    Ok((views, levels))
}

fn with_views(field: &FieldRef) -> Field {
    let data_type = match field.data_type() {
        DataType::Utf8 => DataType::Utf8View,
        DataType::Struct(members) => DataType::Struct(members.iter().map(with_views).collect()),
        other => other.clone(),
    };
    field.as_ref().clone().with_data_type(data_type)
}

fn column(field: &FieldRef) -> io::Result<Column> {
    let name = field.name().clone();
    let kind = Kind::of(field.data_type(), &DataType::Utf8View);
    let kind = kind.ok_or_else(|| no_part(&format!("the column {name} is of a type that no part has")))?;
    Ok(Column { name, kind })
}
