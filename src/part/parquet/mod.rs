//! The other format of a part's object: Parquet, with a column for each field that queries ask for.
//!
//! Pure. The only place that encodes or decodes such objects. A part's identity is that of its compact lines, as in every format, and
//! [`for_each_line`] gives exactly the lines that [`ParquetWriter`] was given: fields become columns ([`columns`], `cells`), what does not
//! fit is kept as JSON in `extra`, and what even that would give back in another order is kept whole in `raw` (`batch`, `order`). What an
//! object needs to be read it says itself (`about`); a line that this program would write otherwise today, because a dictionary gained an
//! entry since, is kept in `line`. Invariants: the same lines give the same bytes; no object, whatever is in it, makes the
//! reader panic or take memory without bound (`pages`).
//!
//! **Why `ArrowWriter`:** the low-level column writers need 10 crates less, of 19, but keep 46 to 56 MB for a row group of 131 072 records,
//! where `ArrowWriter` keeps 17 MB: it compresses each page when it is full. This program runs beside others on machines with 1 GB.

mod about;
mod batch;
mod cells;
pub(crate) mod columns;
mod order;
mod pages;
mod reader;
#[cfg(test)]
mod tests;
mod time;
mod writer;

pub use columns::Columns;
pub use reader::{content_of, for_each_line};
pub use writer::ParquetWriter;

/// Records in a row group. Engines read one at a time, and skip those whose times they are not asked for.
const GROUP_ROWS: usize = 131_072;
/// Bytes of a row group, compressed, after which it ends early: they are held until then.
const GROUP_BYTES: usize = 16 << 20;
