//! Parts: an hour's records as objects. They are put in order ([`order`]), cut ([`cut`](mod@cut)), gathered from the log (`gather`), encoded
//! ([`seal`]), and read back ([`read`]). What their bytes look like, [`codec`] chooses, and each format knows for itself.

pub mod codec;
pub mod cut;
pub(crate) mod gather;
mod gzip;
pub mod ndjson;
pub mod order;
mod packer;
pub mod parquet;
pub mod read;
pub mod seal;
#[cfg(test)]
mod tests;
mod zstd;
