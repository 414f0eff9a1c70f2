//! Parts: an hour's records as objects. They are put in order ([`order`]), cut ([`cut`](mod@cut)), gathered from the log (`gather`), encoded
//! ([`seal`]), and read back ([`read`]). Only [`ndjson`] knows what their bytes look like.

pub mod cut;
pub(crate) mod gather;
mod gzip;
pub mod ndjson;
pub mod order;
pub mod parquet;
pub mod read;
pub mod seal;
#[cfg(test)]
mod tests;
