//! Parts: an hour's records as objects. They are put in order ([`order`]), cut ([`cut`](mod@cut)), gathered from the log (`gather`), encoded
//! ([`seal`]), read back ([`read`]), and put into another format (`rewrite`). What their bytes look like, [`codec`] chooses, and each format knows for itself.

pub mod codec;
pub mod cut;
pub(crate) mod gather;
mod gzip;
pub mod ndjson;
pub mod order;
mod packer;
pub mod parquet;
pub mod read;
pub(crate) mod rewrite;
pub mod seal;
#[cfg(test)]
mod tests;
mod zstd;

/// The longest text that is decoded. Parts are cut at a quarter of it, and a line has a quarter at most: what is longer is a
/// bomb, or not ours.
const LONGEST: u64 = 4 * crate::record::MAX_LINE as u64;
